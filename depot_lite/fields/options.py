"""The options of file columns that all mappers share: the class of the values, validators, analyzers and filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from depot_lite.errors import ConfigurationError
from depot_lite.fields.analyzers import Analyzer
from depot_lite.fields.interfaces import DepotFileInfo, FileFilter
from depot_lite.fields.validators.base import Validator
from depot_lite.focus import FOCUS


def checked_type(upload_type: Any) -> Any:
    """Return the class of the values.

    Raises:
        ConfigurationError: it is not a subclass of `DepotFileInfo`.
    """
    if isinstance(upload_type, type) and issubclass(upload_type, DepotFileInfo):
        return upload_type
    raise ConfigurationError(f"upload_type={upload_type!r}: expected a subclass of DepotFileInfo, such as UploadedFile")


def checked_validators(
    validators: Iterable[Any], upload_type: type[DepotFileInfo], *, multiple: bool = False
) -> tuple[Any, ...]:
    """Return the validators of a column, those of the class of its values first.

    Raises:
        ConfigurationError: one is not a validator, or counts the files of a list that the column does not have.
    """
    found = (*upload_type.validators, *_listed("validators", validators))
    for each in found:
        if isinstance(each, type):
            name = each.__name__
            raise ConfigurationError(
                f"validators={validators!r}: {name} is a class; expected an instance, such as {name}()"
            )
        if not callable(each):
            raise ConfigurationError(f"validators={validators!r}: {each!r} is neither a validator nor a function")
        if isinstance(each, Validator) and each.for_lists and not multiple:
            raise ConfigurationError(
                f"validators={validators!r}: {each!r} counts the files of a list, which needs multiple=True"
            )
    return found


def checked_filters(filters: Iterable[Any]) -> tuple[FileFilter, ...]:
    """Return the filters of a column.

    Raises:
        ConfigurationError: one is not a filter.
    """
    found = _listed("filters", filters)
    for each in found:
        if not isinstance(each, FileFilter):
            raise ConfigurationError(f"filters={filters!r}: {each!r} is not a FileFilter")
    return found


def checked_analyzers(analyzers: Iterable[Any], upload_type: type[DepotFileInfo]) -> tuple[Analyzer, ...]:
    """Return the analyzers of a column, those of the class of its values first.

    Raises:
        ConfigurationError: one is not an analyzer, or runs at no known time.
    """
    found = (*upload_type.analyzers, *_listed("analyzers", analyzers))
    for each in found:
        if not isinstance(each, Analyzer):
            raise ConfigurationError(f"analyzers={analyzers!r}: expected an instance of Analyzer, got {each!r}")
        each.check_run()
    return found


def checked_variants(variants: Any) -> dict[str, Any]:
    """Return the recipes of a column by name; the class of its values checks each of them.

    Raises:
        ConfigurationError: they are not a dictionary.
    """
    if variants is not None and not isinstance(variants, Mapping):
        raise ConfigurationError(f"variants={variants!r}: expected a dictionary of names to recipes")
    return dict(variants or {})


def checked_focus(variants: Mapping[str, Any], meta: Mapping[str, Any] | None) -> bool:
    """Return whether recipes of a column follow the focus of the image.

    Args:
        variants: the recipes by name.
        meta: the names and types of the metadata of the column; None if it accepts any.

    Raises:
        ConfigurationError: the metadata of the column has no focus.
    """
    following = [name for name, recipe in variants.items() if recipe.follows_focus]
    if following and meta is not None and FOCUS not in meta:
        raise ConfigurationError(
            f"variants[{following[0]!r}] follows the focus of the image: meta= has to declare it, as "
            f'{{"{FOCUS}": tuple[float, float]}}'
        )
    return bool(following)


def checked_storage(upload_storage: Any) -> str | None:
    """Return the name of the depot for new files, which may be configured later.

    Raises:
        ConfigurationError: it is not a name.
    """
    if upload_storage is not None and not (isinstance(upload_storage, str) and upload_storage):
        raise ConfigurationError(f"upload_storage={upload_storage!r}: expected the name of a depot or of an alias")
    return upload_storage


def _listed(option: str, given: Any) -> tuple[Any, ...]:
    if not isinstance(given, Iterable):
        raise ConfigurationError(f"{option}={given!r}: expected a list")
    return tuple(given)
