"""`DepotMiddleware`: serves the files of the depots in front of a WSGI application.

``DepotManager.make_middleware(app)`` makes one and registers it for ``DepotManager.url_for``. More may be made
directly, around one application or around each other, with different mountpoints and options, and with storages that
`DepotManager` does not know:

    app = DepotMiddleware(app, depots={"media": LocalFileStorage("/srv/media")})
    app.url_for(f"media/{file_id}")

`depot_lite.serving.fileserver` decides about access, `depot_lite.serving` makes the responses.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from depot_lite.errors import ConfigurationError, InvalidContent
from depot_lite.io.content import CHUNK_SIZE
from depot_lite.io.options import boolean
from depot_lite.serving import DEFAULT_CACHE_MAX_AGE, Response, refusal
from depot_lite.serving.fileserver import FileServer, ReadRequest, Request
from depot_lite.uploads import Upload

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class DepotMiddleware:
    """Serves ``<mountpoint>/<depot>/<file id>``, optionally followed by ``/<readable name>``.

    Other paths below the mountpoint are 404 (with ``depots``, those of their names); all other requests go to the
    application, unchanged.

    Args:
        app: the application.
        mountpoint: the path of the files below the application's. If the server mounts the application below a path
            (SCRIPT_NAME), it may begin with that path, so that url_for returns the URL that browsers need.
        cache_max_age: seconds that a browser may cache a file without revalidation; 0 requires it each time.
        replace_wsgi_filewrapper: do not use the server's ``wsgi.file_wrapper``, for servers where it is broken.
        options: those of `depot_lite.serving.fileserver.FileServer`.
    """

    def __init__(
        self,
        app: WSGIApplication,
        mountpoint: str = "/depot",
        cache_max_age: int | str = DEFAULT_CACHE_MAX_AGE,
        replace_wsgi_filewrapper: bool | str = False,
        **options: Any,
    ) -> None:
        self.app = app
        self.server = FileServer(mountpoint, cache_max_age, **options)
        if inspect.iscoroutinefunction(self.server.authorize):
            raise ConfigurationError(
                "authorize is a coroutine function, which only ASGI can await; expected an ordinary function"
            )
        self.replace_wsgi_filewrapper = boolean("replace_wsgi_filewrapper", replace_wsgi_filewrapper)
        self._prefix = f"{self.server.mountpoint}/".encode().decode("latin-1")  # as in WSGI's PATH_INFO

    def url_for(self, path: str) -> str:
        """Return the URL, without a host, of the file with this path (``depot_name/file_id``).

        Raises:
            UnknownDepot: this was made with ``depots``, and the file's is none of them.
        """
        return self.server.url_for(path)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer requests for files; pass all others to the application."""
        path = self._below_mountpoint(environ)
        if path is None or not self.server.serves(path.encode("latin-1").decode(errors="replace")):
            return self.app(environ, start_response)
        response = self._response(environ, path)
        try:
            # A new list: servers add headers of their own to it.
            start_response(_status_line(response.status), list(response.headers))
            # From here on the server closes it (PEP 3333), also if the client has disconnected.
            return self._sent(environ, response)
        except BaseException:
            response.close()
            raise

    def _below_mountpoint(self, environ: WSGIEnvironment) -> str | None:
        """Return the path below the mountpoint, None if the request is the application's."""
        prefix, script = self._prefix, environ.get("SCRIPT_NAME", "").rstrip("/")
        # Unless the mountpoint is all of SCRIPT_NAME: no path would be left to the application.
        if script and prefix.startswith(f"{script}/") and prefix != f"{script}/":
            prefix = prefix.removeprefix(script)
        path: str = environ.get("PATH_INFO", "")
        return path.removeprefix(prefix) if path.startswith(prefix) else None

    def _response(self, environ: WSGIEnvironment, path: str) -> Response:
        try:
            below = path.encode("latin-1").decode()
        except UnicodeError:
            return refusal(404)
        headers = {_header_name(name): value for name, value in environ.items() if name.startswith("HTTP_")}
        request = Request(environ["REQUEST_METHOD"], below, headers, environ.get("QUERY_STRING", ""), environ)
        found = self.server.find(request)
        if isinstance(found, Response):
            return found
        if isinstance(found, Upload):
            return self._receive(environ, request, found)
        if not found.granted and not self._authorizes(request, found):
            return refusal(403)
        return self.server.answer(request, found)

    def _receive(self, environ: WSGIEnvironment, request: Request, upload: Upload) -> Response:
        length = environ.get("CONTENT_LENGTH") or ""
        if not length and not environ.get("wsgi.input_terminated"):
            return refusal(411)  # a chunked body, for example, whose end only some servers show
        if length and not (length.isascii() and length.isdigit()):
            return refusal(400)
        body = _RequestBody(environ["wsgi.input"], int(length) if length else None)
        headers = {**request.headers, "content-length": length}
        return self.server.receive(replace(request, headers=headers), upload, body)

    def _authorizes(self, request: Request, file: ReadRequest) -> bool:
        authorize = self.server.authorize
        answer = authorize is not None and authorize(request, file.depot.name, file.file_id)
        if inspect.iscoroutine(answer):
            answer.close()  # avoids the warning that it was never awaited
        if inspect.isawaitable(answer):  # always true, whatever its result would be
            raise ConfigurationError("authorize returned an awaitable, which only ASGI can await; expected a bool")
        return bool(answer)

    def _sent(self, environ: WSGIEnvironment, response: Response) -> Iterable[bytes]:
        body = response.body
        if body is None:
            return []
        if body.length <= _AT_ONCE:
            return body.taken()
        wrapper = None if self.replace_wsgi_filewrapper else environ.get("wsgi.file_wrapper")
        # A server sends a wrapped file until its end, and some servers from its start, whatever its position.
        if wrapper is None or not body.is_whole:
            return body
        wrapped: Iterable[bytes] = wrapper(body.file, CHUNK_SIZE)
        return wrapped


@lru_cache(maxsize=256)
def _header_name(name: str) -> str:
    return name.removeprefix("HTTP_").replace("_", "-").lower()


@lru_cache
def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


class _RequestBody:
    """The body of a request as a stream that ends with it: reading beyond the end may block forever.

    Args:
        stream: the server's stream.
        length: the announced number of bytes; None if the server's stream ends by itself.
    """

    def __init__(self, stream: Any, length: int | None) -> None:
        self._stream = stream
        self._left = length

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, ``b""`` at the end.

        Raises:
            InvalidContent: the client disconnected before the end.
        """
        count = size if self._left is None else min(size, self._left)
        data: bytes = self._stream.read(count) if count else b""
        if self._left is not None:
            self._left -= len(data)
            if count and not data:
                raise InvalidContent(f"the request broke off {self._left} bytes before its end")
        return data


#: Responses up to this size, in bytes, are read before they are sent.
_AT_ONCE: Final = 64 * 1024
