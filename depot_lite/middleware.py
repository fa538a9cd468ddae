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
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from http import HTTPStatus
from socket import SHUT_RD, socket
from typing import TYPE_CHECKING, Any, Final

from depot_lite.errors import ConfigurationError, InvalidContent, StorageFailed
from depot_lite.io.content import CHUNK_SIZE
from depot_lite.io.options import boolean
from depot_lite.serving import DEFAULT_CACHE_MAX_AGE, Response, refusal
from depot_lite.serving.fileserver import FileServer, ReadRequest, Request
from depot_lite.serving.receiving import MinimumRate
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
        options: those of `depot_lite.serving.fileserver.FileServer`; ``uploads_at_once`` is 4 by default.
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
        # Each upload occupies a thread of the server while the client sends it.
        self.server = FileServer(mountpoint, cache_max_age, **{"uploads_at_once": UPLOADS_AT_ONCE, **options})
        if inspect.iscoroutinefunction(self.server.authorize):
            raise ConfigurationError(
                "authorize is a coroutine function, which only ASGI can await; expected an ordinary function"
            )
        self.replace_wsgi_filewrapper = boolean("replace_wsgi_filewrapper", replace_wsgi_filewrapper)
        self._prefix = f"{self.server.mountpoint}/".encode().decode("latin-1")  # as in WSGI's PATH_INFO

    def url_for(self, path: str) -> str:
        """Return the URL of the file with this path (``depot_name/file_id``); without a ``base_url``, it has no host.

        Raises:
            UnknownDepot: this was made with ``depots``, and the file's is none of them.
        """
        return self.server.url_for(path)

    def path_for(self, path: str) -> str:
        """Return the same URL without a host, for requests to the application itself."""
        return self.server.path_for(path)

    def hides_storage(self, depot_name: str) -> bool:
        """Return whether this is a proxy for the files of a depot, so that no URL leads to its storage."""
        return self.server.hides_storage(depot_name)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer requests for files; pass all others to the application."""
        path = self._below_mountpoint(environ)
        if path is None or not self.server.serves(path.encode("latin-1").decode(errors="replace")):
            return self.app(environ, start_response)
        response, body = self._answered(environ, path)
        try:
            # A new list: servers add headers of their own to it.
            start_response(_status_line(response.status), list(response.headers))
            # From here on the server closes it (PEP 3333), also if the client has disconnected.
            return body
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

    def _answered(self, environ: WSGIEnvironment, path: str) -> tuple[Response, Iterable[bytes]]:
        """Return the response to a request and its body, whose first chunk has been read."""
        try:
            below = path.encode("latin-1").decode()
        except UnicodeError:
            return refusal(404), []
        headers = {_header_name(name): value for name, value in environ.items() if name.startswith("HTTP_")}
        request = Request(environ["REQUEST_METHOD"], below, headers, environ.get("QUERY_STRING", ""), environ)
        found = self.server.find(request)
        if isinstance(found, Response):
            return found, []
        if isinstance(found, Upload):
            return self._receive(environ, request, found), []
        if not found.granted and not self._authorizes(request, found):
            return self.server.refuse(request, found.depot, 403), []
        response = self.server.answer(request, found)
        made = self.server.make(found, response)
        if made is not None:
            response = self.server.answer_made(request, found, made)
        try:
            return response, self._sent(environ, response)
        except StorageFailed as error:
            response.close()
            return self.server.unavailable(request, found, error), []
        except BaseException:
            response.close()
            raise

    def _receive(self, environ: WSGIEnvironment, request: Request, upload: Upload) -> Response:
        length = environ.get("CONTENT_LENGTH") or ""
        if not length and not environ.get("wsgi.input_terminated"):
            return refusal(411)  # a chunked body, for example, whose end only some servers show
        if length and not (length.isascii() and length.isdigit() and len(length) < 20):
            return refusal(400)
        refused = self.server.uploads.enter(upload.path)
        if refused is not None:
            return refused
        pace = self.server.uploads.pace()
        body = _RequestBody(environ["wsgi.input"], int(length) if length else None, pace)
        request = replace(request, headers={**request.headers, "content-length": length})
        try:
            with _watching(environ, pace):
                return self.server.receive(request, upload, body)
        finally:
            self.server.uploads.leave(upload.path)

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
        # A server sends a wrapped file until its end, and some servers from its start, whatever its position. It gains
        # nothing by wrapping a remote file, and waitress would read it in the thread that serves all clients.
        if wrapper is None or not body.is_whole or body.file.local_path is None:
            body.begin()
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
        pace: the minimum rate of the client.
    """

    def __init__(self, stream: Any, length: int | None, pace: MinimumRate) -> None:
        self._stream = stream
        self._left = length
        self._pace = pace

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, ``b""`` at the end.

        Raises:
            InvalidContent: the client disconnected before the end.
            TooSlow: the client sends too slowly.
        """
        # The server's stream returns when it has all bytes. More than those of a period might take longer than one.
        size = min(size, self._pace.least)
        count = size if self._left is None else min(size, self._left)
        if not count:
            return b""
        self._pace.wait()
        try:
            data: bytes = self._stream.read(count)
        except OSError as error:
            if self._pace.is_too_slow:
                raise self._pace.too_slow() from error
            raise
        self._pace.receive(len(data))
        if self._left is not None:
            self._left -= len(data)
            if not data:
                raise InvalidContent(f"the request broke off {self._left} bytes before its end")
        return data


@contextmanager
def _watching(environ: WSGIEnvironment, pace: MinimumRate) -> Iterator[None]:
    """End the reading from a client that is too slow, where the server shows its socket.

    A read of WSGI has no limit. Other servers have one themselves, or receive the body before they call us.
    """
    client = next((environ[name] for name in _SOCKETS if isinstance(environ.get(name), socket)), None)
    if client is None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(max(pace.period - pace.waited, pace.period / 10)):
            if pace.is_too_slow:
                with suppress(OSError):
                    socket.shutdown(client, SHUT_RD)  # not that of SSLSocket, which would end the encryption
                return

    threading.Thread(target=watch, name="depot_lite upload", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


#: Where servers show the socket of the client.
_SOCKETS: Final = ("gunicorn.socket", "werkzeug.socket")

#: Direct uploads at once, unless ``uploads_at_once`` is given.
UPLOADS_AT_ONCE: Final = 4

#: Responses up to this size, in bytes, are read before they are sent.
_AT_ONCE: Final = 64 * 1024
