"""`DepotManager`: the depots of an application, and what serves them. filedepot's name and module."""

from __future__ import annotations

from typing import Any

from depot_lite.asgi import DepotASGI
from depot_lite.depots import Depots
from depot_lite.middleware import DepotMiddleware


class DepotManager(Depots):
    """The one place where depots are configured and found. It is used as it is and never instantiated."""

    @classmethod
    def make_middleware(cls, app: Any, **options: Any) -> DepotMiddleware:
        """Wrap a WSGI application in a `DepotMiddleware`, which serves the files, and register it for `url_for`.

        Args:
            app: the WSGI application, which gets every request that is for no file.
            options: those of ``depot_lite.middleware.DepotMiddleware``.

        Raises:
            AlreadyConfigured: there is a middleware; it goes on serving.
        """
        with cls._lock:
            cls._refuse_second_middleware()
            middleware = DepotMiddleware(app, **options)
            cls.set_middleware(middleware)
        return middleware

    @classmethod
    def make_asgi_middleware(cls, app: Any = None, **options: Any) -> DepotASGI:
        """Return a `DepotASGI` around an ASGI application, or one to be mounted, and register it for `url_for`.

        Args:
            app: the ASGI application, which gets every request that is for no file; None to mount it in one.
            options: those of ``depot_lite.asgi.DepotASGI``.

        Raises:
            AlreadyConfigured: there is a middleware; it goes on serving.
        """
        with cls._lock:
            cls._refuse_second_middleware()
            middleware = DepotASGI(app, **options)
            cls.set_middleware(middleware)
        return middleware


# filedepot's functions, for who imports the module and not the class.
get_depot = DepotManager.get
get_file = DepotManager.get_file
configure = DepotManager.configure
set_default = DepotManager.set_default
