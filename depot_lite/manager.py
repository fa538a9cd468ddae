"""`DepotManager`: the depots of an application and their middleware, under filedepot's names."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, TypeVar

from depot_lite.asgi import DepotASGI
from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError
from depot_lite.middleware import DepotMiddleware
from depot_lite.serving.fileserver import FileServer

M = TypeVar("M", DepotMiddleware, DepotASGI)


class DepotManager(Depots):
    """The depots of an application, configured and found through class methods; it is never instantiated."""

    @classmethod
    def make_middleware(cls, app: Any, **options: Any) -> DepotMiddleware:
        """Wrap a WSGI application in a `DepotMiddleware`, which serves the files, and register it for `url_for`.

        Args:
            app: the WSGI application, which gets all other requests.
            options: the options of ``depot_lite.middleware.DepotMiddleware``.

        Raises:
            AlreadyConfigured: one with other options has been registered; it keeps serving.
            ConfigurationError: an option is unknown, or has a wrong value; a depot is private, and nothing signs its
                URLs.
        """
        return cls._registered(DepotMiddleware, app, options)

    @classmethod
    def make_asgi_middleware(cls, app: Any = None, **options: Any) -> DepotASGI:
        """Return a `DepotASGI` around an ASGI application, or one to mount, and register it for `url_for`.

        Args:
            app: the ASGI application, which gets all other requests; None to mount the `DepotASGI` in an application.
            options: the options of ``depot_lite.asgi.DepotASGI``.

        Raises:
            AlreadyConfigured: one with other options has been registered; it keeps serving.
            ConfigurationError: an option is unknown, or has a wrong value; a depot is private, and nothing signs its
                URLs.
        """
        return cls._registered(DepotASGI, app, options)

    @classmethod
    def _registered(cls, kind: type[M], app: Any, options: dict[str, Any]) -> M:
        """Return a middleware around the application, and register it unless one with the same options is."""
        _check_options(kind, options)
        settings = {"class": kind, **options}
        with cls._lock:
            cls._state.refuse_second_middleware(settings)
            middleware = kind(app, **options)
            cls._check_private_depots(middleware.server)
            if cls._state.middleware is None:
                cls._set(middleware=middleware, middleware_options=settings)
        return middleware

    @classmethod
    def _check_private_depots(cls, server: FileServer) -> None:
        """Refuse private depots whose files nobody could read, before the first request does.

        Raises:
            ConfigurationError: there are neither signing keys nor URLs of the storage nor an ``authorize`` hook.
                With ``proxy=True``, URLs of the storage do not count.
        """
        unsigned = cls._state.signer is None and server.authorize is None
        for depot in cls._state.registry.depots.values() if unsigned else ():
            has_urls = depot.storage.has_urls and not server.hides_storage(depot.name)
            if depot.visibility == "private" and not has_urls:
                raise ConfigurationError(
                    f"depot {depot.name!r} is private, but nothing signs its URLs: call DepotManager.configure_signing "
                    "before the middleware is made, or give it an authorize hook"
                )


def _check_options(middleware: type, options: Iterable[str]) -> None:
    """Refuse options that neither a middleware nor its `FileServer` has, and storages of its own."""
    if "depots" in options:
        raise ConfigurationError(
            "depots: the middleware that DepotManager makes serves the depots of DepotManager, whose URLs it knows; "
            f"make a {middleware.__module__}.{middleware.__name__}(app, depots=...) for other storages"
        )
    own, shared = (inspect.signature(each).parameters for each in (middleware, FileServer))
    known = [each for each in {**own, **shared} if each not in {"app", "options", "depots"}]
    unknown = [each for each in options if each not in known]
    if unknown:
        raise ConfigurationError(
            f"{middleware.__name__}: unknown option {', '.join(unknown)}; the options are {', '.join(known)}"
        )


# filedepot's functions of this module.
get_depot = DepotManager.get
get_file = DepotManager.get_file
configure = DepotManager.configure
set_default = DepotManager.set_default
