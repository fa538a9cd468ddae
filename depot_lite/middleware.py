"""DepotMiddleware: serves the files of the depots in front of a WSGI application.

Usually made by ``DepotManager.make_middleware(app)``, which also registers it for ``DepotManager.url_for``. By hand
there may be several, around one application or around each other, with different mountpoints and options.

What is answered is decided in `depot_lite.serving`. **Everybody who knows the URL of a file can read it.** An
application that decides by user serves its files by itself, or puts its check around this middleware.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from depot_lite.errors import ConfigurationError
from depot_lite.io.content import CHUNK_SIZE
from depot_lite.io.options import boolean
from depot_lite.serving import DEFAULT_CACHE_MAX_AGE, Response, not_found, parse_path, respond

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class DepotMiddleware:
    """Serves ``<mountpoint>/<depot>/<file id>``, with or without ``/<a name for people>`` behind it.

    What else is below the mountpoint is not found; every other request goes to the application, unchanged.
    """

    def __init__(
        self,
        app: WSGIApplication,
        # The path of the files below the application's. Where the server mounts the application itself (SCRIPT_NAME),
        # it may begin with that too, so that url_for gives what a browser has to ask for.
        mountpoint: str = "/depot",
        # How long a browser may keep a file without asking, in seconds; 0 makes it ask each time.
        cache_max_age: int | str = DEFAULT_CACHE_MAX_AGE,
        # Do without the server's wsgi.file_wrapper, for servers whose own does not work.
        replace_wsgi_filewrapper: bool | str = False,
    ) -> None:
        self.app = app
        self.mountpoint = _mountpoint(mountpoint)
        self.cache_max_age = _seconds(cache_max_age)
        self.replace_wsgi_filewrapper = boolean("replace_wsgi_filewrapper", replace_wsgi_filewrapper)
        self._prefix = f"{self.mountpoint}/".encode().decode("latin-1")  # as WSGI has it in PATH_INFO

    def url_for(self, path: str) -> str:
        """Return the URL, without a host, of the file with this path (``depot_name/file_id``)."""
        return quote(f"{self.mountpoint}/{path}")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request for a file, hand any other to the application."""
        path = self._below_mountpoint(environ)
        if path is None:
            return self.app(environ, start_response)
        with ExitStack() as closing:
            response = closing.enter_context(self._response(environ, path))
            status = HTTPStatus(response.status)
            # A new list: servers add headers of their own to it.
            start_response(f"{status.value} {status.phrase}", list(response.headers))
            sent = self._sent(environ, response)
            # The server closes it from here on, as PEP 3333 has it, also when the client has gone.
            closing.pop_all()
        return sent

    def _below_mountpoint(self, environ: WSGIEnvironment) -> str | None:
        """Return what follows the mountpoint in the path, None where the request is the application's."""
        prefix, script = self._prefix, environ.get("SCRIPT_NAME", "").rstrip("/")
        # Not where the mountpoint is all of SCRIPT_NAME: nothing would be left for the application.
        if script and prefix.startswith(f"{script}/") and prefix != f"{script}/":
            prefix = prefix.removeprefix(script)
        path: str = environ.get("PATH_INFO", "")
        return path.removeprefix(prefix) if path.startswith(prefix) else None

    def _response(self, environ: WSGIEnvironment, path: str) -> Response:
        try:
            found = parse_path(path.encode("latin-1").decode())
        except UnicodeError:
            found = None
        if found is None:
            return not_found()
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        return respond(environ["REQUEST_METHOD"], headers, *found, cache_max_age=self.cache_max_age)

    def _sent(self, environ: WSGIEnvironment, response: Response) -> Iterable[bytes]:
        if response.body is None:
            return []
        wrapper = None if self.replace_wsgi_filewrapper else environ.get("wsgi.file_wrapper")
        # A server sends a wrapped file until its end, and some from its very start, whatever its position is.
        if wrapper is None or not response.body.is_whole:
            return response.body
        wrapped: Iterable[bytes] = wrapper(response.body.file, CHUNK_SIZE)
        return wrapped


def _mountpoint(mountpoint: str) -> str:
    """Return the mountpoint without a slash at its end."""
    if not mountpoint.startswith("/"):
        raise ConfigurationError(f"mountpoint={mountpoint!r}: the mountpoint must be an absolute path such as '/depot'")
    parts = mountpoint.rstrip("/").split("/")[1:]
    if not parts or any(part in {"", ".", ".."} for part in parts):
        raise ConfigurationError(
            f"mountpoint={mountpoint!r}: a path such as '/depot' is wanted, with no part empty, '.' or '..'; "
            "'/' would leave no request to the application"
        )
    return "/" + "/".join(parts)


def _seconds(value: int | str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ConfigurationError(f"cache_max_age={value!r}: a number of seconds is wanted") from None
