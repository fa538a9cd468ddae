"""The depots of an application: names that lead to storages, one of them the default.

A depot is configured once, when the application starts, from its settings:

>>> settings = {"depot.backend": "depot_lite.io.memory.MemoryFileStorage", "debug": "true"}
>>> from depot_lite.manager import DepotManager
>>> depot = DepotManager.from_config(settings)
>>> file_id = depot.create(b"hello", "hello.txt")
>>> depot.get(file_id).filename
'hello.txt'

``configure`` does the same and gives the depot a name, under which rows remember it. So a name, once used, has to lead
to those files for as long as the rows live. To send new uploads elsewhere, configure a second depot and make it the
default, or upload through an alias and point the alias at it; a value that was stored through an alias records the real
depot.

All methods may be called from any thread. What is configured is replaced as a whole whenever something changes, so who
reads it takes no lock and never sees half of a change.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from depot_lite.errors import AlreadyConfigured, ConfigurationError, InvalidFileId, UnknownDepot
from depot_lite.io.fileid import check_file_id
from depot_lite.io.interfaces import FileStorage, StoredFile
from depot_lite.settings import build, options_in
from depot_lite.signing import Signer

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


class Middleware(Protocol):
    """Whatever serves the files of the depots and knows their URLs."""

    def url_for(self, path: str) -> str:
        """Return the URL of the file with this path (``depot_name/file_id``)."""
        ...


class WSGIMiddleware(Middleware, Protocol):
    """A `Middleware` around a WSGI application."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]:
        """Answer a request."""
        ...


@dataclass(frozen=True, slots=True)
class _State:
    """All that is configured, at one moment. Never changed: every change makes a new one."""

    depots: Mapping[str, FileStorage] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    # A depot or an alias; kept as it was given, so that a default that is an alias moves with it.
    default: str | None = None
    middleware: Middleware | None = None
    # Of the depots that have one.
    visibility: Mapping[str, str] = field(default_factory=dict)
    signer: Signer | None = None
    delete_later: Callable[[list[str]], object] | None = None

    def find(self, name: str) -> str | None:
        """Return the real depot that a name leads to. It ends: `DepotManager.alias` lets no circle in."""
        found: str | None = name
        while found is not None and found not in self.depots:
            found = self.aliases.get(found)
        return found

    def resolve(self, name: str) -> str:
        """Return the real depot that a name leads to, or raise `UnknownDepot`."""
        found = self.find(name)
        if found is None:
            raise UnknownDepot(f"there is no depot {name!r}; {self._known()}")
        return found

    def _known(self) -> str:
        if not self.depots:
            return "none has been configured (see DepotManager.configure)"
        names = [repr(each) for each in self.depots]
        names += [f"{alias!r} (alias of {target!r})" for alias, target in self.aliases.items()]
        return "there is " + ", ".join(names)


class Depots:
    """The one place where depots are configured and found. It is used as it is and never instantiated."""

    _state: ClassVar[_State] = _State()
    # Held by writers only, and while a storage is built: one that configures another depot must not wait for itself.
    _lock: ClassVar[threading.RLock] = threading.RLock()

    # --- configuring ----------------------------------------------------------------------------------------------

    @classmethod
    def configure(
        cls,
        name: str,
        config: Mapping[str, Any] | FileStorage,
        prefix: str = "depot.",
        *,
        visibility: str | None = None,
    ) -> FileStorage:
        """Give a depot its name and its storage, and return the storage. The first one becomes the default.

        Args:
            name: what rows remember, as the first part of a path: it holds no ``/`` and must not change later.
            config: the settings, as `from_config` takes them, or a storage that is ready.
            prefix: how the keys of the settings begin.
            visibility: who may read the files by their URLs, also a setting (``depot.visibility``): ``"unlisted"``,
                everybody who knows one (the default); ``"private"``, only with a signature; ``"public"``, everybody,
                and shared caches may keep them.

        Raises:
            AlreadyConfigured: the name is taken, by a depot or by an alias.
            ConfigurationError: the name or the settings cannot work.
            UnknownBackend: the ``backend`` does not lead to a storage class.
        """
        _check_name(name, "depot")
        with cls._lock:
            if name in cls._state.depots:
                raise AlreadyConfigured(f"depot {name!r} has already been configured")
            if name in cls._state.aliases:
                raise AlreadyConfigured(
                    f"{name!r} is an alias of {cls._state.aliases[name]!r}, so no depot can be called that"
                )
            whose = f"depot {name!r}"
            options = {} if isinstance(config, FileStorage) else options_in(config, prefix, whose)
            seen = _checked_visibility(options.pop("visibility", None) if visibility is None else visibility, whose)
            storage = config if isinstance(config, FileStorage) else build(options, whose)
            depots = {**cls._state.depots, name: storage}
            known = {**cls._state.visibility, name: seen}
            cls._set(depots=depots, visibility=known, default=cls._state.default or name)
        return storage

    @classmethod
    def from_config(cls, config: Mapping[str, Any], prefix: str = "depot.") -> FileStorage:
        """Return a new storage made from settings, which no depot name leads to.

        Keys that begin with the prefix are used, without it: ``backend`` is the storage class or its dotted name
        (`LocalFileStorage` where there is none), all others are the options of that class. Other keys are ignored, as
        the settings may be those of a whole application; they are never changed.

        Raises:
            ConfigurationError: an option is unknown, missing or refused by the storage.
            UnknownBackend: the ``backend`` does not lead to a storage class.
        """
        return build(options_in(config, prefix, "this depot"), "this depot")

    @classmethod
    def visibility(cls, name: str) -> str:
        """Return who may read the files of a depot by their URLs: ``unlisted``, ``private`` or ``public``.

        Raises:
            UnknownDepot: the name leads nowhere.
        """
        return cls._state.visibility[cls._state.resolve(name)]

    @classmethod
    def configure_signing(cls, *keys: str | bytes) -> None:
        """Set the keys that sign URLs and uploads. The first one signs, the others are still accepted.

        A key is secret, the same in all processes, and at least 16 bytes long, such as ``secrets.token_urlsafe(32)``.
        To change it, put the new one in front, and drop the old one when everything that it signed has expired.

        Raises:
            ConfigurationError: a key is too short, or there is none.
        """
        signer = Signer(*keys)
        with cls._lock:
            cls._set(signer=signer)

    @classmethod
    def signer(cls) -> Signer:
        """Return what signs URLs and uploads.

        Raises:
            ConfigurationError: no keys have been set.
        """
        if (signer := cls._state.signer) is None:
            raise ConfigurationError(
                "nothing can be signed without keys: call DepotManager.configure_signing when the application starts"
            )
        return signer

    @classmethod
    def set_default(cls, name: str) -> None:
        """Make a depot the default, the one that new files go to where no other is named.

        An alias is taken too, and remembered as such: when it is pointed at another depot, the default moves with it.
        """
        with cls._lock:
            cls._state.resolve(name)
            cls._set(default=name)

    @classmethod
    def alias(cls, alias: str, name: str) -> None:
        """Let a second name lead to a depot, or to another alias.

        An alias that is there already is pointed at the new depot: files that are stored from now on go there, those
        that were stored before stay where they are and are found, since rows record the real depot.

        Raises:
            UnknownDepot: ``name`` leads nowhere.
            AlreadyConfigured: ``alias`` is the name of a depot, whose files would no longer be found.
            ConfigurationError: the alias would lead back to itself, or cannot be a name.
        """
        _check_name(alias, "alias")
        with cls._lock:
            state = cls._state
            if alias in state.depots:
                raise AlreadyConfigured(f"{alias!r} is a depot; as an alias it would hide the files in it")
            state.resolve(name)
            step: str | None = name
            while step is not None:
                if step == alias:
                    raise ConfigurationError(f"alias {alias!r} of {name!r} would lead back to itself")
                step = state.aliases.get(step)
            cls._set(aliases={**state.aliases, alias: name})

    # --- finding --------------------------------------------------------------------------------------------------

    @classmethod
    def get(cls, name: str | None = None) -> FileStorage:
        """Return the storage of a depot, by its name or an alias; of the default depot where no name is given.

        Raises:
            UnknownDepot: the name leads nowhere.
            ConfigurationError: no name is given and no depot has been configured.
        """
        state = cls._state
        return state.depots[_default(state) if name is None else state.resolve(name)]

    @classmethod
    def get_default(cls) -> str:
        """Return the name of the default depot: always a real one, also where an alias was made the default.

        Raises:
            ConfigurationError: no depot has been configured.
        """
        return _default(cls._state)

    @classmethod
    def resolve_alias(cls, name: str) -> str:
        """Return the real depot that a name leads to; the name of a depot leads to itself.

        Raises:
            UnknownDepot: it leads nowhere. (filedepot returns None, which fails somewhere else, later.)
        """
        return cls._state.resolve(name)

    @classmethod
    def depot_names(cls) -> list[str]:
        """Return the names of all depots, in the order in which they were configured; aliases are not among them."""
        return list(cls._state.depots)

    @classmethod
    def aliases_of(cls, name: str) -> list[str]:
        """Return the aliases that lead to a depot, in order.

        Raises:
            UnknownDepot: there is no such depot.
        """
        state = cls._state
        real = state.resolve(name)
        return sorted(alias for alias in state.aliases if state.find(alias) == real)

    @classmethod
    def get_file(cls, path: str) -> StoredFile:
        """Return the stored file with this path (``depot_name/file_id``).

        Raises:
            InvalidFileId: this is no path.
            UnknownDepot: there is no such depot.
            StoredFileNotFound: there is no such file in it.
        """
        depot_name, file_id = _split(path)
        return cls.get(depot_name).get(file_id)

    @classmethod
    def delete_files(cls, paths: Iterable[str]) -> dict[str, Exception]:
        """Delete files of any depots in as few calls as their storages allow; return what failed: path -> error.

        Never raises, and one failure does not keep the others: it is called when a row has gone already.
        """
        by_depot: dict[str, list[str]] = {}
        for path in paths:
            depot_name, _, file_id = path.partition("/")
            by_depot.setdefault(depot_name, []).append(file_id)
        failed: dict[str, Exception] = {}
        for depot_name, file_ids in by_depot.items():
            for file_id, error in cls._delete_from(depot_name, file_ids).items():
                failed[f"{depot_name}/{file_id}"] = error
        return failed

    @classmethod
    def _delete_from(cls, depot_name: str, file_ids: list[str]) -> dict[str, Exception]:
        try:
            return cls.get(depot_name).delete_many(file_ids)
        except Exception as error:  # a backend of somebody else's may raise anything
            return dict.fromkeys(file_ids, error)

    # --- deleting later -------------------------------------------------------------------------------------------

    @classmethod
    def set_delete_later(cls, hook: Callable[[list[str]], object] | None) -> None:
        """Let a function take the files that a COMMIT has condemned, instead of deleting them there and then.

        It hands their paths (``depot_name/file_id``) to a task queue, whose task calls `delete_files`. It is called
        after the outermost COMMIT, with at most 1000 paths at a time, in the thread that committed; under
        ``AsyncSession`` in a thread beside the event loop. What it returns is not looked at. If it raises, the error is
        logged and the files are deleted at once. So are, always, the files of a transaction that rolled back and
        direct uploads that were adopted.

        Args:
            hook: the function, in the place of the one before; None to delete in the thread that commits again.

        Raises:
            ConfigurationError: this is no function, or one that has to be awaited.
        """
        if hook is not None:
            _check_hook(hook)
        with cls._lock:
            cls._set(delete_later=hook)

    @classmethod
    def get_delete_later(cls) -> Callable[[list[str]], object] | None:
        """Return the function that takes the files which a COMMIT has condemned; None if they are deleted at once."""
        return cls._state.delete_later

    # --- serving --------------------------------------------------------------------------------------------------

    @classmethod
    def url_for(
        cls,
        path: str,
        *,
        expires_in: int | timedelta | None = None,
        download: bool = False,
        filename: str | None = None,
    ) -> str:
        """Return the URL at which the middleware serves the file with this path (``depot_name/file_id``).

        It is signed if the depot is private or anything else is given, and then works ``expires_in`` from now, an hour
        where it is not given, and up to a fourth longer: the time is rounded, so that a page that is made twice has the
        same URLs and browsers find what they have kept. Behind a proxy, give the mountpoint as browsers see it.

        Args:
            expires_in: seconds, or a timedelta.
            download: whether a browser shall save the file whatever it is.
            filename: the name to save it under.

        Raises:
            ConfigurationError: there is no middleware, or no keys to sign with.
        """
        url = cls.get_middleware().url_for(path)
        private = cls._is_private(path.partition("/")[0])
        if not (private or download) and expires_in is None and filename is None:
            return url
        return f"{url}?{cls.signer().query(path, expires_in, download=download, filename=filename)}"

    @classmethod
    def _is_private(cls, depot_name: str) -> bool:
        try:
            return cls.visibility(depot_name) == "private"
        except UnknownDepot:  # no URL of its files leads anywhere
            return False

    @classmethod
    def set_middleware(cls, mw: Middleware) -> None:
        """Register what serves the files, for `url_for`.

        Raises:
            AlreadyConfigured: there is one. URLs that were given out would lead to the first, new ones to the second.
        """
        with cls._lock:
            cls._refuse_second_middleware()
            cls._set(middleware=mw)

    @classmethod
    def get_middleware(cls) -> Middleware:
        """Return the registered middleware.

        Raises:
            ConfigurationError: there is none.
        """
        if (middleware := cls._state.middleware) is None:
            raise ConfigurationError("no middleware serves the files of the depots: call DepotManager.make_middleware")
        return middleware

    @classmethod
    def _refuse_second_middleware(cls) -> None:
        if cls._state.middleware is not None:
            raise AlreadyConfigured("there is already a middleware that serves the files of the depots")

    # --- state, for tests -----------------------------------------------------------------------------------------

    @classmethod
    def _set(cls, **changes: Any) -> None:
        # Not through cls: a subclass would get depots of its own as soon as it changed something.
        Depots._state = replace(Depots._state, **changes)

    @classmethod
    def _clear(cls) -> None:
        """Forget all that is configured: depots, aliases, the middleware ... The files stay. For tests."""
        cls._restore(_State())

    @classmethod
    def _snapshot(cls) -> _State:
        """Return what is configured now, for `_restore`."""
        return cls._state

    @classmethod
    def _restore(cls, snapshot: _State) -> None:
        """Go back to what was configured at a `_snapshot`."""
        with cls._lock:
            Depots._state = snapshot


# --- names ------------------------------------------------------------------------------------------------------------


def _check_name(name: object, what: str) -> None:
    """Refuse what cannot be the first part of a path and of a URL."""
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"the name of a depot or an alias is a string that is not empty, not {name!r}")
    if "/" in name or name in {".", ".."} or not name.isprintable():
        raise ConfigurationError(
            f"{name!r} cannot be the name of {'an alias' if what == 'alias' else 'a depot'}: a path is "
            "'depot_name/file_id', so it holds no '/', no control character, and is neither '.' nor '..'"
        )


#: Who may read the files of a depot by their URLs.
_VISIBILITIES: Final = ("unlisted", "private", "public")


def _checked_visibility(value: object, whose: str) -> str:
    if value is None or value in _VISIBILITIES:
        return str(value or "unlisted")
    raise ConfigurationError(f"{whose}: visibility={value!r}: one of {', '.join(_VISIBILITIES)} is wanted")


def _check_hook(hook: object) -> None:
    """Refuse what would delete nothing if it were called."""
    if not callable(hook):
        raise ConfigurationError(f"delete_later: a function that takes a list of paths is wanted, not {hook!r}")
    if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__):
        raise ConfigurationError(
            f"delete_later: {hook!r} has to be awaited, and nothing awaits it after a COMMIT: an ordinary function is "
            "wanted, also under AsyncSession, where it runs in a thread"
        )


def _split(path: object) -> tuple[str, str]:
    """Return the name of the depot and the file id of a path, both possible."""
    depot_name, _, file_id = path.partition("/") if isinstance(path, str) else ("", "", "")
    if not (depot_name and file_id):
        raise InvalidFileId(f"{path!r} is not the path of a file: 'depot_name/file_id' is wanted")
    return depot_name, check_file_id(file_id)


def _default(state: _State) -> str:
    if state.default is None:
        raise ConfigurationError(
            "no depot has been configured: call DepotManager.configure when the application starts"
        )
    return state.resolve(state.default)
