"""The registry of depots: the depot that each name leads to, and the default; and the rest of the configuration.

A `Registry` never changes. Each change returns a new one, so that readers need no lock and never see half of a change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from types import FunctionType
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from depot_lite.errors import AlreadyConfigured, ConfigurationError, InvalidFileId, UnknownDepot
from depot_lite.io.disposition import INLINE_TYPES, parse_inline_types
from depot_lite.io.fileid import check_file_id
from depot_lite.io.interfaces import FileStorage
from depot_lite.origins import CrossOrigin, parse_cross_origin
from depot_lite.signing import Signer

_VISIBILITIES: Final = ("unlisted", "private", "public")


@dataclass(frozen=True, slots=True)
class Depot:
    """A named storage, and who may read its files."""

    name: str
    storage: FileStorage
    visibility: str
    #: The origins whose pages may use the files; None for the default of the visibility.
    cross_origin: CrossOrigin | None = None
    #: The content types that browsers display; files of all others are downloads.
    inline_types: frozenset[str] = INLINE_TYPES
    #: The settings that it was configured with; a storage that was given itself is the setting ``storage``.
    settings: Mapping[str, Any] = field(default_factory=dict)


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

    def configured(self, name: str, settings: Mapping[str, Any]) -> FileStorage | None:
        """Return the storage of a depot that was configured with the same settings, None if the name is free.

        Raises:
            AlreadyConfigured: a depot with other settings, or an alias, has the name.
        """
        if name in self.depots:
            if different := differences(self.depots[name].settings, settings):
                raise AlreadyConfigured(
                    f"depot {name!r} has already been configured, with another {different}: configure it once, when "
                    "the application starts; in tests, use depot_lite.testing.temporary_depots"
                )
            return self.depots[name].storage
        if name in self.aliases:
            raise AlreadyConfigured(
                f"{name!r} is an alias of {self.aliases[name]!r}; choose another name for the depot"
            )
        return None

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


class Middleware(Protocol):
    """A server of the depots' files, which knows their URLs."""

    def url_for(self, path: str) -> str:
        """Return the URL of the file with this path (``depot_name/file_id``)."""
        ...


@runtime_checkable
class OwnMiddleware(Middleware, Protocol):
    """A middleware of this library, which knows more than the URLs of files."""

    def path_for(self, path: str) -> str:
        """Return the URL of the file with this path, without a host."""
        ...

    def hides_storage(self, depot_name: str) -> bool:
        """Return whether all files of a depot are read and sent through the middleware, never at its storage."""
        ...


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole configuration at one moment, replaced as a whole by each change: readers need no lock."""

    registry: Registry = field(default_factory=Registry)
    middleware: Middleware | None = None
    #: The class and the options with which the middleware was made; None if it was made by the user.
    middleware_options: Mapping[str, Any] | None = None
    signer: Signer | None = None
    delete_later: Callable[[list[str]], object] | None = None
    process_later: Callable[..., object] | None = None
    #: Whether variants and facts of files that the hook has not taken are made at once.
    processes_if_refused: bool = True
    #: The middleware, if it is one of this library.
    own_middleware: OwnMiddleware | None = field(init=False)

    def __post_init__(self) -> None:
        """Look once what the middleware offers; URLs are made by the hundred."""
        middleware = self.middleware
        object.__setattr__(self, "own_middleware", middleware if isinstance(middleware, OwnMiddleware) else None)

    def refuse_second_middleware(self, options: Mapping[str, Any] | None = None) -> None:
        """Raise AlreadyConfigured if a middleware is registered, unless it was made with the same options."""
        if self.middleware is None:
            return
        known = self.middleware_options
        different = "" if options is None or known is None else differences(known, options)
        if different or options is None or known is None:
            raise AlreadyConfigured(
                f"a middleware that serves the files has already been registered{different and ', with another '}"
                f"{different}: make it once, when the application starts; in tests, use "
                "depot_lite.testing.temporary_depots"
            )


class CurrentConfiguration:
    """The configuration of this process, in class attributes."""

    _state: ClassVar[Configuration] = Configuration()
    # Held by writers only, also while a storage is built. Reentrant, because a storage may configure another depot.
    _lock: ClassVar[threading.RLock] = threading.RLock()

    @classmethod
    def _set(cls, **changes: Any) -> None:
        # Not on cls: a subclass would get a state of its own with its first change.
        CurrentConfiguration._state = replace(CurrentConfiguration._state, **changes)

    @classmethod
    def _clear(cls) -> None:
        """Reset the configuration, for tests: depots, aliases, middleware, keys, hooks. The files stay."""
        cls._restore(Configuration())

    @classmethod
    def _snapshot(cls) -> Configuration:
        """Return the configuration, for `_restore`."""
        return cls._state

    @classmethod
    def _restore(cls, snapshot: Configuration) -> None:
        """Go back to the configuration of a `_snapshot`."""
        with cls._lock:
            CurrentConfiguration._state = snapshot


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the names of the settings that differ, for messages: values may be secret."""
    missing = object()
    names = dict.fromkeys((*one, *other))
    return ", ".join(name for name in names if not _same(one.get(name, missing), other.get(name, missing)))


def _same(one: Any, other: Any) -> bool:
    # `uvicorn.run("main:app")` imports main a second time, and `create_app()` runs again in the next test: each
    # definition in them makes another function of the same code.
    if one == other or (_definition(one) is not None and _definition(one) == _definition(other)):
        return True
    # Files and the environment give text in place of paths, numbers, booleans and classes.
    return _as_text(one) == _as_text(other) and isinstance(one, str) != isinstance(other, str)


def _as_text(value: Any) -> Any:
    """Return a setting as the text for it in a file; other values as they are."""
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | float) else value


def _definition(value: Any) -> Any:
    """Return the code of a function and the values that it was made with; None for anything else."""
    if not isinstance(value, FunctionType):
        return None
    return value.__code__, value.__defaults__, value.__kwdefaults__, value.__closure__


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


def take_access(options: dict[str, Any], arguments: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return the fields of a `Depot` that say how its files may be used; take them out of its settings.

    Args:
        options: the settings.
        arguments: values that replace those of the settings, unless they are None.
        label: the depot, for errors.

    Raises:
        ConfigurationError: one of them has an invalid value.
    """
    settings = {name: options.pop(name, None) for name in arguments}
    given = {name: settings[name] if value is None else value for name, value in arguments.items()}
    return {
        "visibility": _checked_visibility(given["visibility"], label),
        "cross_origin": parse_cross_origin(given["cross_origin"], label),
        "inline_types": parse_inline_types(given["inline_types"], label),
    }


def _checked_visibility(value: object, label: str) -> str:
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
