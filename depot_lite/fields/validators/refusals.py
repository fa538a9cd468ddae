"""The rules that one file breaks, found out before anything of it is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from depot_lite.depots import Depots
from depot_lite.errors import DepotError, ValidationError
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.validators.base import Validator
from depot_lite.fields.validators.candidate import Candidate, StoredCandidate


def candidate_of(value: DepotFileInfo) -> Candidate:
    """Return a pending value as its validators see it."""
    waiting = value.waiting()
    if waiting is None:
        raise TypeError(f"{value!r} is not pending any more")
    keys, pending = waiting[1], waiting[0].source()
    if pending.original is not None:
        return StoredCandidate(keys, partial(Depots.get_file, pending.original["path"]))
    if pending.content is None:
        raise TypeError(f"{value!r} is pending without content")
    return Candidate(pending.content, keys["filename"], keys["content_type"])


def refusals_of(
    candidate: Candidate, validators: Sequence[Any], placed: Callable[[ValidationError], ValidationError]
) -> list[ValidationError]:
    """Return the rules that a file breaks, each once.

    Args:
        placed: says of an error which file of which attribute it is about.
    """
    found: list[ValidationError] = []
    for each in validators:
        if isinstance(each, Validator):
            each.prepare(candidate)
    if candidate.limiting is not None:  # it may come up when the file is stored
        placed(candidate.limiting)
    # What is costly comes last, and not at all if the file is refused for something that makes it pointless.
    for each in sorted(validators, key=_is_costly):
        if not (isinstance(each, Validator) and each.is_pointless(found)):
            for error in said_by(each, partial(each, candidate)):
                _add(found, placed(error))
    return found


def _is_costly(validator: object) -> bool:
    return isinstance(validator, Validator) and validator.costly


def said_by(validator: object, call: Callable[[], object]) -> Sequence[ValidationError]:
    """Return what a validator says against a file: its own errors, or what a function means by a ValueError."""
    name = _name_of(validator)
    try:
        call()
    except ValidationError as error:
        for each in error.errors:
            each.rule = each.rule or name
        return error.errors
    except DepotError:
        raise
    except ValueError as error:
        refused = ValidationError(str(error) or f"is refused by {name}", rule=name)
        refused.__cause__ = error
        return (refused,)
    return ()


def _name_of(validator: Any) -> str:
    function = validator.func if isinstance(validator, partial) else validator
    return str(getattr(function, "__name__", type(function).__name__))


def _add(found: list[ValidationError], error: ValidationError) -> None:
    known = ((each.rule, each.message) for each in found)
    if (error.rule, error.message) not in known:
        found.append(error)
