"""The registry of depots: which storage each name leads to, which depot is the default, and who may read the files.

A `Registry` never changes. Each change returns a new one, so that readers need no lock and never see half of a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from depot_lite.errors import AlreadyConfigured, ConfigurationError, InvalidFileId, UnknownDepot
from depot_lite.io.fileid import check_file_id
from depot_lite.io.interfaces import FileStorage

_VISIBILITIES: Final = ("unlisted", "private", "public")


@dataclass(frozen=True, slots=True)
class Registry:
    """All depots and aliases at one moment."""

    depots: Mapping[str, FileStorage] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    #: A depot or an alias, as given: a default that is an alias moves with the alias.
    default: str | None = None
    visibility: Mapping[str, str] = field(default_factory=dict)
    #: The settings that each depot was configured with; a storage that was given itself is the setting ``storage``.
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def with_depot(self, name: str, storage: FileStorage, visibility: str, settings: Mapping[str, Any]) -> Registry:
        """Return the registry with one more depot; the first depot becomes the default."""
        return replace(
            self,
            depots={**self.depots, name: storage},
            visibility={**self.visibility, name: visibility},
            settings={**self.settings, name: settings},
            default=self.default or name,
        )

    def with_alias(self, alias: str, name: str) -> Registry:
        """Return the registry with an alias that leads to a depot or another alias.

        Raises:
            UnknownDepot: ``name`` leads nowhere.
            AlreadyConfigured: ``alias`` is the name of a depot, whose files would no longer be found.
            ConfigurationError: the alias would lead back to itself.
        """
        if alias in self.depots:
            raise AlreadyConfigured(f"{alias!r} is a depot; as an alias it would hide the files in it")
        self.resolve(name)
        step: str | None = name
        while step is not None:
            if step == alias:
                raise ConfigurationError(f"alias {alias!r} of {name!r} would lead back to itself")
            step = self.aliases.get(step)
        return replace(self, aliases={**self.aliases, alias: name})

    def with_default(self, name: str) -> Registry:
        """Return the registry with another default, which may be an alias."""
        self.resolve(name)
        return replace(self, default=name)

    def configured(self, name: str, settings: Mapping[str, Any]) -> FileStorage | None:
        """Return the storage of a depot that was configured with the same settings, None if the name is free.

        Raises:
            AlreadyConfigured: a depot with other settings, or an alias, has the name.
        """
        if name in self.depots:
            if different := differences(self.settings[name], settings):
                raise AlreadyConfigured(
                    f"depot {name!r} has already been configured, with another {different}: configure it once, when "
                    "the application starts; in tests, use depot_lite.testing.temporary_depots"
                )
            return self.depots[name]
        if name in self.aliases:
            raise AlreadyConfigured(
                f"{name!r} is an alias of {self.aliases[name]!r}; choose another name for the depot"
            )
        return None

    def resolve(self, name: str) -> str:
        """Return the name of the depot that a name or an alias leads to.

        Raises:
            UnknownDepot: it leads nowhere.
        """
        found = self._find(name)
        if found is None:
            raise UnknownDepot(f"there is no depot {name!r}; {self._configured()}")
        return found

    def resolve_default(self) -> str:
        """Return the name of the default depot, which is never an alias.

        Raises:
            ConfigurationError: no depot has been configured.
        """
        if self.default is None:
            raise ConfigurationError(
                "no depot has been configured: call DepotManager.configure when the application starts"
            )
        return self.resolve(self.default)

    def aliases_of(self, name: str) -> list[str]:
        """Return the aliases that lead to a depot, sorted."""
        depot_name = self.resolve(name)
        return sorted(alias for alias in self.aliases if self._find(alias) == depot_name)

    def _find(self, name: str) -> str | None:
        # This ends, because with_alias refuses circles.
        found: str | None = name
        while found is not None and found not in self.depots:
            found = self.aliases.get(found)
        return found

    def _configured(self) -> str:
        if not self.depots:
            return "none has been configured (see DepotManager.configure)"
        names = [repr(each) for each in self.depots]
        names += [f"{alias!r} (alias of {target!r})" for alias, target in self.aliases.items()]
        return "configured: " + ", ".join(names)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the names of the settings that differ, for messages: values may be secret."""
    missing = object()
    names = dict.fromkeys((*one, *other))
    return ", ".join(name for name in names if one.get(name, missing) != other.get(name, missing))


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
