"""DepotASGI: serves the files of the depots to an ASGI server; in front of an application, or mounted in one.

    app.mount("/depot", DepotASGI())                    # Starlette, FastAPI
    asgi("/depot", is_mount=True, copy_scope=True)(DepotASGI())    # a route handler of Litestar
    app = DepotASGI(app, mountpoint="/depot")           # in front of any application

and ``DepotManager.set_middleware(...)`` lets `DepotManager.url_for` give its URLs; `DepotManager.make_asgi_middleware`
does both. Who may read a file is decided in `depot_lite.serving.fileserver`, what is answered in `depot_lite.serving`.

The event loop never waits for a storage: opening a file and reading its first part is one step in a thread, each
further part is one more, begun while the part before it is sent. Where the server offers to send a file by its path
(``http.response.pathsend``), it does.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, Final, Self
from urllib.parse import unquote

from depot_lite.concurrency.threads import in_thread
from depot_lite.depots import Depots
from depot_lite.errors import InvalidContent, UnknownDepot
from depot_lite.serving import DEFAULT_CACHE_MAX_AGE, Body, Response, not_found
from depot_lite.serving.fileserver import Asked, FileServer, Request, forbidden
from depot_lite.uploads import Upload

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Frameworks have types of their own for the three.
ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]

#: Bytes of one part. Each costs a step in a thread and a copy in the server; two of them are in memory at a time.
PART_SIZE: Final = 256 * 1024


class DepotASGI:
    """Serves ``<mountpoint>/<depot>/<file id>``, with or without ``/<a name for people>`` behind it.

    What else is below the mountpoint is not found; every other request goes to the application, unchanged.

    Args:
        app: the application; None where this is mounted in one.
        mountpoint: the path of the files as browsers see it, also where an application mounts this there.
        cache_max_age: how long a browser may keep a file without asking, in seconds; 0 makes it ask each time.
        options: those of `depot_lite.serving.fileserver.FileServer`.
    """

    def __init__(
        self,
        app: ASGIApplication | None = None,
        mountpoint: str = "/depot",
        cache_max_age: int | str = DEFAULT_CACHE_MAX_AGE,
        **options: Any,
    ) -> None:
        self.app = app
        self.server = FileServer(mountpoint, cache_max_age, **options)

    def url_for(self, path: str) -> str:
        """Return the URL, without a host, of the file with this path (``depot_name/file_id``)."""
        return self.server.url_for(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a file, hand any other to the application."""
        path = self._below_mountpoint(scope) if scope["type"] == "http" else None
        if path is not None:
            await self._serve(self._request(scope, path), receive, send)
        elif self.app is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _send(not_found(), b"", receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "lifespan":
            await _live(receive, send)

    def _below_mountpoint(self, scope: Scope) -> str | None:
        """Return what follows the mountpoint in the path, None where the request is the application's."""
        path, root = scope["path"], scope.get("root_path", "").rstrip("/")
        # A path holds the root path today; before ASGI said so, servers and frameworks took it away.
        path = path.removeprefix(root) if path.startswith(f"{root}/") else path
        prefix = f"{self.server.mountpoint}/"
        if self.app is None and f"{root}/".endswith(prefix):
            prefix = "/"  # an application mounted this there, itself being wherever a proxy has it
        elif root and prefix.startswith(f"{root}/") and prefix != f"{root}/":
            # Not where the mountpoint is all of the root path: nothing would be left for the application.
            prefix = prefix.removeprefix(root)
        if self.app is None and not path.startswith(prefix):
            # Litestar takes away where it has mounted this, and says so nowhere but here.
            path, prefix = _as_sent(scope), f"{self.server.mountpoint}/"
        return path.removeprefix(prefix) if path.startswith(prefix) else None

    @staticmethod
    def _request(scope: Scope, path: str) -> Request:
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            # One that was sent in several lines is one (RFC 9110 section 5.3); HTTP/2 sends cookies so.
            joined = "; " if name == "cookie" else ", "
            headers[name] = f"{headers[name]}{joined}{value}" if name in headers else value
        return Request(scope["method"], path, headers, scope.get("query_string", b"").decode("latin-1"), scope)

    async def _serve(self, request: Request, receive: Receive, send: Send) -> None:
        asked: Asked | Upload | Response = self.server.find(request)
        if isinstance(asked, Upload):
            asked = await self._received(request, asked, receive)
        if isinstance(asked, Asked) and not asked.open and not await self._lets(request, asked):
            asked = forbidden()
        if isinstance(asked, Response):
            await _send(asked, b"", receive, send)
            return
        opened: list[Response] = []
        try:
            part = await in_thread(partial(self._opened, request, asked, opened))
            await _send(opened[0], part, receive, send)
        finally:
            # Also where a cancellation came while it was opened, whose result nobody gets.
            for response in opened:
                if response.body is not None and not response.body.closed:
                    await in_thread(response.close)

    async def _received(self, request: Request, upload: Upload, receive: Receive) -> Response:
        """Return the answer to a file that is sent to us. Each part is fetched when the storage wants it."""
        try:
            storage = Depots.get(upload.depot_name)
        except UnknownDepot:
            return not_found()
        return await storage.aio.storing(_RequestBody(receive), partial(self.server.receive, request, upload))

    async def _lets(self, request: Request, asked: Asked) -> bool:
        authorize = self.server.authorize
        if authorize is None:
            return False
        call = partial(authorize, request, asked.depot_name, asked.file_id)
        answer = call() if inspect.iscoroutinefunction(authorize) else await in_thread(call)
        return bool(await answer if inspect.isawaitable(answer) else answer)

    def _opened(self, request: Request, asked: Asked, opened: list[Response]) -> bytes:
        """Put the answer into ``opened`` and return the first part of its body; one that is all in it is closed."""
        response = self.server.answer(request, asked)
        opened.append(response)
        body = response.body
        if body is None or (_offers_paths(request.context) and body.is_whole and body.file.local_path is not None):
            return b""
        part = body.read(PART_SIZE) if body.left else b""
        if not body.left:
            response.close()
        return part


def _as_sent(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or b""
    return unquote(raw.partition(b"?")[0].decode("latin-1"))


def _offers_paths(scope: Scope) -> bool:
    return "http.response.pathsend" in (scope.get("extensions") or {})


async def _send(response: Response, part: bytes, receive: Receive, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = response.body
    if body is None or not body.left:
        await send({"type": "http.response.body", "body": part})
    elif not part:
        await send({"type": "http.response.pathsend", "path": str(body.file.local_path)})
    else:
        await _stream(body, part, receive, send)


async def _stream(body: Body, part: bytes, receive: Receive, send: Send) -> None:
    """Send what is left, reading the next part while one is sent, until the client has gone."""
    gone = asyncio.ensure_future(_disconnected(receive))
    following: asyncio.Future[bytes] | None = None
    try:
        while part and not gone.done():
            following = asyncio.ensure_future(in_thread(partial(body.read, PART_SIZE))) if body.left else None
            await send({"type": "http.response.body", "body": part, "more_body": following is not None})
            part = b"" if following is None else await following
    finally:
        gone.cancel()
        # The part that is being read comes from the file that is closed next. What failed here failed for nobody. A
        # cancellation in here ends this no sooner: gather waits for all, and a thread comes to its end.
        await asyncio.gather(*([gone] if following is None else [gone, following]), return_exceptions=True)


async def _live(receive: Receive, send: Send) -> None:
    """Begin and end with the server, with nothing to do for it."""
    message: Message = {"type": ""}
    while message["type"] != "lifespan.shutdown":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})


class _RequestBody:
    """The body of a request, part by part."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._more = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next part.

        Raises:
            InvalidContent: the client has gone before it had sent all.
        """
        if not self._more:
            raise StopAsyncIteration
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise InvalidContent("the request broke off")
        self._more = message.get("more_body", False)
        return bytes(message.get("body", b""))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
