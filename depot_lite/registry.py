"""The registry of depots: the depot that each name leads to, and the default.

A `Registry` never changes. Each change returns a new one, so that readers need no lock and never see half of a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from depot_lite.errors import AlreadyConfigured, ConfigurationError, InvalidFileId, UnknownDepot
from depot_lite.io.fileid import check_file_id
from depot_lite.io.interfaces import FileStorage

_VISIBILITIES: Final = ("unlisted", "private", "public")


@dataclass(frozen=True, slots=True)
class Depot:
    """A named storage, and who may read its files."""

    name: str
    storage: FileStorage
    visibility: str


@dataclass(frozen=True, slots=True)
class Registry:
    """All depots and aliases at one moment."""

    depots: Mapping[str, Depot] = field(default_factory=dict)
    #: Alias -> the depot or the other alias that it was given for.
    aliases: Mapping[str, str] = field(default_factory=dict)
    #: A depot or an alias, as given: a default that is an alias moves with the alias.
    default: str | None = None
    #: The depot that each name or alias leads to; the default depot's under None.
    names: Mapping[str | None, Depot] = field(init=False)

    def __post_init__(self) -> None:
        """Follow each alias to its depot; this ends, because `with_alias` refuses circles."""
        names: dict[str | None, Depot] = {}
        for name in (*self.depots, *self.aliases, None):
            target = self.default if name is None else name
            while target is not None and target not in self.depots:
                target = self.aliases[target]
            if target is not None:
                names[name] = self.depots[target]
        object.__setattr__(self, "names", names)

    def with_depot(self, depot: Depot) -> Registry:
        """Return the registry with one more depot; the first depot becomes the default."""
        return replace(self, depots={**self.depots, depot.name: depot}, default=self.default or depot.name)

    def with_alias(self, alias: str, name: str) -> Registry:
        """Return the registry with an alias that leads to a depot or another alias.

        Raises:
            UnknownDepot: ``name`` leads nowhere.
            AlreadyConfigured: ``alias`` is the name of a depot, whose files would no longer be found.
            ConfigurationError: the alias would lead back to itself.
        """
        if alias in self.depots:
            raise AlreadyConfigured(f"{alias!r} is a depot; as an alias it would hide the files in it")
        self.find(name)
        step: str | None = name
        while step is not None:
            if step == alias:
                raise ConfigurationError(f"alias {alias!r} of {name!r} would lead back to itself")
            step = self.aliases.get(step)
        return replace(self, aliases={**self.aliases, alias: name})

    def with_default(self, name: str) -> Registry:
        """Return the registry with another default, which may be an alias."""
        self.find(name)
        return replace(self, default=name)

    def check_new(self, name: str) -> None:
        """Check that a new depot may have this name.

        Raises:
            AlreadyConfigured: a depot or an alias has it.
        """
        if name in self.depots:
            raise AlreadyConfigured(f"depot {name!r} has already been configured")
        if name in self.aliases:
            raise AlreadyConfigured(
                f"{name!r} is an alias of {self.aliases[name]!r}; choose another name for the depot"
            )

    def find(self, name: str | None) -> Depot:
        """Return the depot that a name or an alias leads to; without a name, the default depot.

        Raises:
            UnknownDepot: it leads nowhere.
            ConfigurationError: no name is given and no depot has been configured.
        """
        if name in self.names:
            return self.names[name]
        if name is None:
            raise ConfigurationError(
                "no depot has been configured: call DepotManager.configure when the application starts"
            )
        raise UnknownDepot(f"there is no depot {name!r}; {self._configured()}")

    def aliases_of(self, name: str) -> list[str]:
        """Return the aliases that lead to a depot, sorted."""
        depot = self.find(name)
        return sorted(alias for alias in self.aliases if self.names[alias] is depot)

    def _configured(self) -> str:
        if not self.depots:
            return "none has been configured (see DepotManager.configure)"
        names = [repr(each) for each in self.depots]
        names += [f"{alias!r} (alias of {target!r})" for alias, target in self.aliases.items()]
        return "configured: " + ", ".join(names)


def check_name(name: object) -> None:
    """Check that a depot or an alias may have this name: it is the first part of paths and URLs.

    Raises:
        ConfigurationError: it may not.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"name of a depot or an alias: expected a non-empty string, got {name!r}")
    if "/" in name or name in {".", ".."} or not name.isprintable():
        raise ConfigurationError(
            f"{name!r} cannot be the name of a depot or an alias, because paths are 'depot_name/file_id': "
            "a name contains no '/' and no control characters, and is neither '.' nor '..'"
        )


def checked_visibility(value: object, label: str) -> str:
    """Return the visibility that a setting means; the default is ``unlisted``."""
    if value is None or value in _VISIBILITIES:
        return str(value or "unlisted")
    raise ConfigurationError(f"{label}: visibility={value!r}: expected one of {', '.join(_VISIBILITIES)}")


def split_path(path: object) -> tuple[str, str]:
    """Return the depot name and the file id of a path.

    Raises:
        InvalidFileId: it is not a path.
    """
    depot_name, _, file_id = path.partition("/") if isinstance(path, str) else ("", "", "")
    if not (depot_name and file_id):
        raise InvalidFileId(f"{path!r} is not the path of a file: expected 'depot_name/file_id'")
    return depot_name, check_file_id(file_id)
