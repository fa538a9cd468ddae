"""The depots of an application: configured by name at startup, found by name or path, served at URLs.

A depot is configured once, from the settings of the application:

>>> settings = {"depot.backend": "depot_lite.io.memory.MemoryFileStorage", "debug": "true"}
>>> from depot_lite.manager import DepotManager
>>> depot = DepotManager.from_config(settings)
>>> file_id = depot.create(b"hello", "hello.txt")
>>> depot.get(file_id).filename
'hello.txt'

``configure`` does the same and gives the depot a name. Rows remember this name, so it has to lead to the same files for
as long as the rows live. To send new uploads elsewhere, configure a second depot and make it the default, or upload
through an alias and point the alias at it; a value stored through an alias records the real depot.

All methods may be called from any thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from depot_lite.errors import ConfigurationError, UnknownDepot
from depot_lite.hooks import LaterHooks
from depot_lite.io.interfaces import FileStorage, StoredFile
from depot_lite.registry import (
    Depot,
    Middleware,
    check_name,
    split_path,
    take_access,
)
from depot_lite.settings import build, options_in
from depot_lite.signing import Signer

_log: Final = logging.getLogger("depot_lite")


class Depots(LaterHooks):
    """The depots, configured and found through class methods; it is never instantiated."""

    # --- configuring ----------------------------------------------------------------------------------------------

    @classmethod
    def configure(
        cls,
        name: str,
        config: Mapping[str, Any] | FileStorage,
        prefix: str = "depot.",
        *,
        visibility: str | None = None,
        cross_origin: str | Iterable[str] | None = None,
        inline_types: str | Iterable[str] | None = None,
    ) -> FileStorage:
        """Configure a depot and return its storage. The first depot becomes the default.

        Configuring it again with the same settings, or text for them, does nothing and returns its storage.

        Args:
            name: the first part of paths, which rows remember: it contains no ``/`` and must not change later.
            config: the settings, as for `from_config`, or a storage.
            prefix: the beginning of the settings' keys.
            visibility: access to the files by URL, also a setting (``depot.visibility``): ``"unlisted"``, everybody who
                knows the URL (the default); ``"private"``, only with a signature; ``"public"``, everybody, and shared
                caches may keep the files.
            cross_origin: the other sites whose pages may use the files, also a setting (``depot.cross_origin``):
                ``"same-site"``, none, and other hosts of the same site may embed them (the default); ``"any"`` (the
                default of public depots); or a list of origins, such as ``["https://app.example.org"]``.
            inline_types: the content types that browsers display, also a setting (``depot.inline_types``): a list of
                types, families such as ``"image/*"``, and ``"default"`` for all that cannot run. ``"image/svg+xml"``
                has to be named. Files of all other types are downloads.

        Raises:
            AlreadyConfigured: a depot with other settings, or an alias, has this name.
            ConfigurationError: the name or the settings are invalid.
            UnknownBackend: the ``backend`` does not lead to a storage class.
        """
        check_name(name)
        with cls._lock:
            label = f"depot {name!r}"
            given = {} if isinstance(config, FileStorage) else options_in(config, prefix, label)
            options = dict(given)
            arguments = {"visibility": visibility, "cross_origin": cross_origin, "inline_types": inline_types}
            access = take_access(options, arguments, label)
            settings = {"storage": config} if isinstance(config, FileStorage) else options
            settings = {**settings, **access}
            known = cls._state.registry.configured(name, settings)
            if known is not None:
                return known
            storage = config if isinstance(config, FileStorage) else build(options, label)
            cls._set(registry=cls._state.registry.with_depot(Depot(name, storage, settings=settings, **access)))
        return storage

    @classmethod
    def from_config(cls, config: Mapping[str, Any], prefix: str = "depot.") -> FileStorage:
        """Return a new storage made from settings, without registering it under a name.

        Only keys that begin with the prefix count: ``backend`` is the storage class or its dotted name
        (`LocalFileStorage` if not given), all others are options of that class. Other keys are ignored, because the
        settings may belong to a whole application. The settings are never changed.

        Raises:
            ConfigurationError: an option is unknown, missing or refused by the storage.
            UnknownBackend: the ``backend`` does not lead to a storage class.
        """
        return build(options_in(config, prefix, "this depot"), "this depot")

    @classmethod
    def visibility(cls, name: str) -> str:
        """Return the access to a depot's files by URL: ``unlisted``, ``private`` or ``public``.

        Raises:
            UnknownDepot: the name leads nowhere.
        """
        return cls.find(name).visibility

    @classmethod
    def configure_signing(cls, *keys: str | bytes) -> None:
        """Set the keys that sign URLs and uploads. The first one signs, the others are still accepted.

        A key is secret, the same in all processes, and at least 16 bytes long, such as ``secrets.token_urlsafe(32)``.
        To change it, put the new key first, and drop the old one when all its signatures have expired.

        Raises:
            ConfigurationError: a key is too short, or none is given.
        """
        signer = Signer(*keys)
        with cls._lock:
            cls._set(signer=signer)

    @classmethod
    def signer(cls) -> Signer:
        """Return the signer of URLs and uploads.

        Raises:
            ConfigurationError: no keys have been set.
        """
        if (signer := cls._state.signer) is None:
            raise ConfigurationError(
                "no signing keys have been set: call DepotManager.configure_signing when the application starts"
            )
        return signer

    @classmethod
    def set_default(cls, name: str) -> None:
        """Make a depot the default: new files go there unless another depot is named.

        If the name is an alias that is later pointed at another depot, the default moves with it.

        Raises:
            UnknownDepot: the name leads nowhere.
        """
        with cls._lock:
            cls._set(registry=cls._state.registry.with_default(name))

    @classmethod
    def alias(cls, alias: str, name: str) -> None:
        """Let a second name lead to a depot, or to another alias.

        An existing alias is pointed at the new depot. Files stored from now on go there; files stored before stay where
        they are and are still found, because rows record the real depot.

        Raises:
            UnknownDepot: ``name`` leads nowhere.
            AlreadyConfigured: ``alias`` is the name of a depot, whose files would no longer be found.
            ConfigurationError: the alias is no valid name, or would lead back to itself.
        """
        check_name(alias)
        with cls._lock:
            cls._set(registry=cls._state.registry.with_alias(alias, name))

    # --- finding --------------------------------------------------------------------------------------------------

    @classmethod
    def find(cls, name: str | None = None) -> Depot:
        """Return a depot (its name, storage and visibility), by its name or an alias; without a name, the default.

        Raises:
            UnknownDepot: the name leads nowhere.
            ConfigurationError: no name is given and no depot has been configured.
        """
        registry = cls._state.registry
        return registry.names.get(name) or registry.find(name)

    @classmethod
    def holding(cls, name: str, storage: FileStorage) -> Depot:
        """Return a storage as a depot of this name, with the access of the configured depot that has it, if any."""
        configured = [each for each in cls._state.registry.depots.values() if each.storage is storage]
        return replace(configured[0], name=name) if configured else Depot(name, storage, "unlisted")

    @classmethod
    def get(cls, name: str | None = None) -> FileStorage:
        """Return the storage of a depot, by its name or an alias; without a name, that of the default depot.

        Raises:
            UnknownDepot: the name leads nowhere.
            ConfigurationError: no name is given and no depot has been configured.
        """
        return cls.find(name).storage

    @classmethod
    def get_default(cls) -> str:
        """Return the name of the default depot, which is never an alias.

        Raises:
            ConfigurationError: no depot has been configured.
        """
        return cls.find().name

    @classmethod
    def resolve_alias(cls, name: str) -> str:
        """Return the name of the depot that an alias leads to; the name of a depot leads to itself.

        Raises:
            UnknownDepot: it leads nowhere. (filedepot returns None, which fails later, somewhere else.)
        """
        return cls.find(name).name

    @classmethod
    def depot_names(cls) -> list[str]:
        """Return the names of all depots, without aliases, in the order of configuration."""
        return list(cls._state.registry.depots)

    @classmethod
    def aliases_of(cls, name: str) -> list[str]:
        """Return the aliases that lead to a depot, sorted.

        Raises:
            UnknownDepot: there is no such depot.
        """
        return cls._state.registry.aliases_of(name)

    @classmethod
    def get_file(cls, path: str) -> StoredFile:
        """Return the stored file with this path (``depot_name/file_id``).

        Raises:
            InvalidFileId: this is not a path.
            UnknownDepot: there is no such depot.
            StoredFileNotFound: the depot has no such file.
        """
        depot_name, file_id = split_path(path)
        return cls.get(depot_name).get(file_id)

    @classmethod
    def delete_files(cls, paths: Iterable[str]) -> dict[str, Exception]:
        """Delete files of any depots in as few calls as their storages allow; return the failures: path -> error.

        It never raises, and goes on after a failure, because it is called when the rows are already gone.
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
        except Exception as error:  # third-party backends may raise anything
            return dict.fromkeys(file_ids, error)

    # --- serving --------------------------------------------------------------------------------------------------

    @classmethod
    def url_for(
        cls,
        path: str,
        *,
        expires_in: int | timedelta | None = None,
        download: bool = False,
        filename: str | None = None,
        label: str | None = None,
        absolute: bool = False,
    ) -> str:
        """Return the URL at which the middleware serves the file with this path (``depot_name/file_id``).

        The URL is signed if the depot is private or any option is given. It then works for ``expires_in`` (an hour by
        default) and up to a fourth longer: the time is rounded, so that a page that is rendered twice has the same URLs
        and browsers can use their caches. Behind a proxy, the middleware needs the mountpoint as browsers see it.

        Args:
            expires_in: seconds, or a timedelta.
            download: whether a browser saves the file instead of showing it.
            filename: the name to save it under.
            label: the name to save it under, which an unsigned URL has as its last part. The server takes it if it has
                the extension of the stored file.
            absolute: whether the URL needs a scheme and a host, as in a mail. All URLs of a middleware with a
                ``base_url`` have them.

        Raises:
            ConfigurationError: no middleware or no signing keys have been set; or the URL is to be absolute, and the
                middleware has no ``base_url``.
        """
        url = cls.get_middleware().url_for(path)
        if absolute and not is_absolute(url):
            raise ConfigurationError(
                f"absolute=True: the middleware serves files at {url!r} and does not know its host; make it with "
                "base_url='https://files.example.org'"
            )
        private = cls._is_private(path.partition("/")[0])
        if not (private or download) and expires_in is None and filename is None:
            return url if label is None else f"{url}/{quote(label, safe='')}"
        return f"{url}?{cls.signer().query(path, expires_in, download=download, filename=filename or label)}"

    @classmethod
    def _is_private(cls, depot_name: str) -> bool:
        try:
            return cls.visibility(depot_name) == "private"
        except UnknownDepot:  # no URL of its files leads anywhere
            return False

    @classmethod
    def set_middleware(cls, mw: Middleware) -> None:
        """Register the middleware that serves the files, for `url_for`.

        Raises:
            AlreadyConfigured: one is registered. Old URLs would lead to it, new ones to the second.
        """
        with cls._lock:
            cls._state.refuse_second_middleware()
            cls._set(middleware=mw)

    @classmethod
    def get_middleware(cls) -> Middleware:
        """Return the registered middleware.

        Raises:
            ConfigurationError: none has been registered.
        """
        if (middleware := cls._state.middleware) is None:
            raise ConfigurationError(
                "no middleware serves the files: call DepotManager.make_middleware (WSGI) or make_asgi_middleware "
                "(ASGI) when the application starts"
            )
        return middleware

    @classmethod
    def has_middleware(cls) -> bool:
        """Return whether a middleware has been registered."""
        return cls._state.middleware is not None

    @classmethod
    def hides_storage(cls, depot_name: str) -> bool:
        """Return whether clients read and send a depot's files through the middleware only (``proxy=True``)."""
        own = cls._state.own_middleware
        return own is not None and own.hides_storage(depot_name)

    @classmethod
    def path_for(cls, path: str) -> str:
        """Return the unsigned URL of a file on the application's own host: without the ``base_url`` of the middleware.

        Raises:
            ConfigurationError: no middleware has been registered.
        """
        own = cls._state.own_middleware
        return cls.get_middleware().url_for(path) if own is None else own.path_for(path)


def is_absolute(url: str) -> bool:
    """Return whether a URL has a scheme and a host.

    >>> is_absolute("https://files.example.org/depot"), is_absolute("/depot")
    (True, False)
    """
    return url.lower().startswith(("https://", "http://"))


def discard(paths: Iterable[str]) -> None:
    """Delete files as `Depots.delete_files` does; log those that fail and leave them to maintenance."""
    for path, error in Depots.delete_files(paths).items():
        _log.error("could not delete %s, which is left to maintenance: %s", path, error)
