"""DepotMiddleware: serves the files of the depots in front of a WSGI application.

Usually made by ``DepotManager.make_middleware(app)``, which also registers it for ``DepotManager.url_for``. By hand
there may be several, around one application or around each other, with different mountpoints and options.

Who may read a file is decided in `depot_lite.serving.fileserver`, what is answered in `depot_lite.serving`.
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
from depot_lite.serving import DEFAULT_CACHE_MAX_AGE, Response, not_found, refusal
from depot_lite.serving.fileserver import Asked, FileServer, Request, forbidden
from depot_lite.uploads import Upload

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class DepotMiddleware:
    """Serves ``<mountpoint>/<depot>/<file id>``, with or without ``/<a name for people>`` behind it.

    What else is below the mountpoint is not found; every other request goes to the application, unchanged.

    Args:
        app: the application.
        mountpoint: the path of the files below the application's. Where the server mounts the application itself
            (SCRIPT_NAME), it may begin with that too, so that url_for gives what a browser has to ask for.
        cache_max_age: how long a browser may keep a file without asking, in seconds; 0 makes it ask each time.
        replace_wsgi_filewrapper: do without the server's ``wsgi.file_wrapper``, for servers whose own does not work.
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
            raise ConfigurationError("authorize is a coroutine function, which only an ASGI server can wait for")
        self.replace_wsgi_filewrapper = boolean("replace_wsgi_filewrapper", replace_wsgi_filewrapper)
        self._prefix = f"{self.server.mountpoint}/".encode().decode("latin-1")  # as WSGI has it in PATH_INFO

    def url_for(self, path: str) -> str:
        """Return the URL, without a host, of the file with this path (``depot_name/file_id``)."""
        return self.server.url_for(path)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request for a file, hand any other to the application."""
        path = self._below_mountpoint(environ)
        if path is None:
            return self.app(environ, start_response)
        response = self._response(environ, path)
        try:
            # A new list: servers add headers of their own to it.
            start_response(_status_line(response.status), list(response.headers))
            # The server closes it from here on, as PEP 3333 has it, also when the client has gone.
            return self._sent(environ, response)
        except BaseException:
            response.close()
            raise

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
            below = path.encode("latin-1").decode()
        except UnicodeError:
            return not_found()
        headers = {_header_name(name): value for name, value in environ.items() if name.startswith("HTTP_")}
        request = Request(environ["REQUEST_METHOD"], below, headers, environ.get("QUERY_STRING", ""), environ)
        asked = self.server.find(request)
        if isinstance(asked, Response):
            return asked
        if isinstance(asked, Upload):
            return self._received(environ, request, asked)
        if not asked.open and not self._lets(request, asked):
            return forbidden()
        return self.server.answer(request, asked)

    def _received(self, environ: WSGIEnvironment, request: Request, upload: Upload) -> Response:
        length = environ.get("CONTENT_LENGTH") or ""
        if not length and not environ.get("wsgi.input_terminated"):
            return refusal(411)  # chunked, say: where such a body ends, only some servers tell
        if length and not (length.isascii() and length.isdigit()):
            return refusal(400)
        body = _RequestBody(environ["wsgi.input"], int(length) if length else None)
        headers = {**request.headers, "content-length": length}
        return self.server.receive(replace(request, headers=headers), upload, body)

    def _lets(self, request: Request, asked: Asked) -> bool:
        authorize = self.server.authorize
        answer = authorize is not None and authorize(request, asked.depot_name, asked.file_id)
        if inspect.iscoroutine(answer):
            answer.close()  # or Python would complain that nobody awaited it
        if inspect.isawaitable(answer):  # which is true, whatever it would say
            raise ConfigurationError("authorize has to be awaited, which only an ASGI server can do")
        return bool(answer)

    def _sent(self, environ: WSGIEnvironment, response: Response) -> Iterable[bytes]:
        body = response.body
        if body is None:
            return []
        if body.left <= _AT_ONCE:
            # To set up a transfer by the server costs more than to read as little, and the file is closed at once.
            with response:
                return list(body)
        wrapper = None if self.replace_wsgi_filewrapper else environ.get("wsgi.file_wrapper")
        # A server sends a wrapped file until its end, and some from its very start, whatever its position is.
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
    """The body of a request as a stream that ends with it: to read further may take for ever.

    Args:
        stream: the server's.
        length: how many bytes the client has announced; None where the server's stream ends by itself.
    """

    def __init__(self, stream: Any, length: int | None) -> None:
        self._stream = stream
        self._left = length

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, ``b""`` at the end.

        Raises:
            InvalidContent: the client has gone before it had sent all.
        """
        wanted = size if self._left is None else min(size, self._left)
        data: bytes = self._stream.read(wanted) if wanted else b""
        if self._left is not None:
            self._left -= len(data)
            if wanted and not data:
                raise InvalidContent(f"the request broke off {self._left} bytes before its end")
        return data


#: Bytes that are read before the answer is begun.
_AT_ONCE: Final = 64 * 1024
