"""`DepotASGI`: serves the files of the depots over ASGI, in front of an application or mounted in one.

    app.mount("/depot", DepotASGI())                    # Starlette, FastAPI
    asgi("/depot", is_mount=True, copy_scope=True)(DepotASGI())    # a route handler of Litestar
    app = DepotASGI(app, mountpoint="/depot")           # in front of any application

``DepotManager.set_middleware(...)`` registers it for `DepotManager.url_for`; `DepotManager.make_asgi_middleware`
makes and registers it. `depot_lite.serving.fileserver` decides about access, `depot_lite.serving` makes the responses.

The event loop never waits for a storage. Opening a file and reading its first part is one step in a thread; each
further part is another step, which runs while the previous part is sent. The threads are those in which the storage
reads (`depot_lite.concurrency.pools`): uploads and other storages have their own. A server that can send a file by its
path (``http.response.pathsend``) does so.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, Self, TypeVar
from urllib.parse import unquote

from depot_lite.concurrency.pools import ThreadPool
from depot_lite.concurrency.threads import Closing, ended, finished, in_thread
from depot_lite.errors import InvalidContent, StorageFailed, UnknownDepot
from depot_lite.serving import DEFAULT_CACHE_MAX_AGE, Body, Response, refusal
from depot_lite.serving.fileserver import FileServer, ReadRequest, Request
from depot_lite.uploads import Upload

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Frameworks have types of their own for the three.
ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]

T = TypeVar("T")

#: Bytes of one part. Each part costs a step in a thread and a copy in the server; two are in memory at a time.
PART_SIZE: Final = 256 * 1024


class DepotASGI:
    """Serves ``<mountpoint>/<depot>/<file id>``, optionally followed by ``/<readable name>``.

    Other paths below the mountpoint are 404 (with ``depots``, those of their names); all other requests go to the
    application, unchanged.

    Args:
        app: the application; None if this is mounted in one.
        mountpoint: the path of the files as browsers see it, also if this is mounted there.
        cache_max_age: seconds that a browser may cache a file without revalidation; 0 requires it each time.
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer requests for files; pass all others to the application."""
        path = self._below_mountpoint(scope) if scope["type"] == "http" else None
        if path is not None and self.server.serves(path):
            await self._serve(self._request(scope, path), receive, send)
        elif self.app is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _send(refusal(404), b"", receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "lifespan":
            await _serve_lifespan(receive, send)

    def _below_mountpoint(self, scope: Scope) -> str | None:
        """Return the path below the mountpoint, None if the request is the application's."""
        path, root = scope["path"], scope.get("root_path", "").rstrip("/")
        # The path includes the root path; older servers and frameworks, from before ASGI specified this, strip it.
        path = path.removeprefix(root) if path.startswith(f"{root}/") else path
        prefix = f"{self.server.mountpoint}/"
        if self.app is None and f"{root}/".endswith(prefix):
            prefix = "/"  # mounted at the mountpoint, in an application that may itself be below a proxy's path
        elif root and prefix.startswith(f"{root}/") and prefix != f"{root}/":
            # Unless the mountpoint is all of the root path: no path would be left to the application.
            prefix = prefix.removeprefix(root)
        if self.app is None and not path.startswith(prefix):
            # Litestar strips its mount path; only raw_path still contains it.
            path, prefix = _as_sent(scope), f"{self.server.mountpoint}/"
        return path.removeprefix(prefix) if path.startswith(prefix) else None

    @staticmethod
    def _request(scope: Scope, path: str) -> Request:
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            # Several lines of one header are joined (RFC 9110 section 5.3); HTTP/2 splits cookies.
            separator = "; " if name == "cookie" else ", "
            headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
        return Request(scope["method"], path, headers, scope.get("query_string", b"").decode("latin-1"), scope)

    async def _serve(self, request: Request, receive: Receive, send: Send) -> None:
        found: ReadRequest | Upload | Response = self.server.find(request)
        if isinstance(found, Upload):
            found = await self._receive(request, found, receive)
        if isinstance(found, ReadRequest) and not found.granted and not await self._authorizes(request, found):
            found = self.server.refuse(request, found.depot, 403)
        if isinstance(found, Response):
            await _send(found, b"", receive, send)
            return
        threads = found.depot.storage.thread_pools.reading
        opened = await _unless_disconnected(self._opened(request, found, threads), receive)
        if opened is None:
            return
        response, part = opened
        body = response.body
        if body is None:
            await _send(response, part, receive, send)
            return
        closing = Closing(body.close)
        try:
            await _send(response, part, receive, send, partial(_read, closing, body, threads))
        except asyncio.CancelledError:  # which does not wait for a storage
            if not body.file.closed and closing.give_up():
                threads.submit(body.close)
            raise
        finally:
            # Unless a part is still being read: then the thread that reads closes the file.
            if not body.file.closed and closing.give_up():
                await finished(body.close, threads)

    async def _receive(self, request: Request, upload: Upload, receive: Receive) -> Response:
        """Store a file that a client sends and return the response. Parts are received when the storage needs them."""
        uploads = self.server.uploads
        refused = uploads.enter(upload.path)
        if refused is not None:
            return refused
        store = partial(self.server.receive, request, upload)
        try:
            return await uploads.receive(upload.path, upload.depot_name, _RequestBody(receive), store)
        except UnknownDepot:
            return refusal(404)

    async def _authorizes(self, request: Request, file: ReadRequest) -> bool:
        authorize = self.server.authorize
        if authorize is None:
            return False
        call = partial(authorize, request, file.depot.name, file.file_id)
        answer = call() if inspect.iscoroutinefunction(authorize) else await in_thread(call, _HOOKS)
        return bool(await answer if inspect.isawaitable(answer) else answer)

    async def _opened(self, request: Request, file: ReadRequest, threads: Executor) -> tuple[Response, bytes]:
        """Return what `_open` does. A variant is made first if it is not there, and no thread waits for that."""
        answer = partial(self.server.answer, request, file)
        opened = await in_thread(partial(self._open, request, file, answer), threads, _close_opened)
        made = self.server.make(file, opened[0])
        if made is None:
            return opened
        await ended([made])
        answer = partial(self.server.answer_made, request, file, made)
        return await in_thread(partial(self._open, request, file, answer), threads, _close_opened)

    def _open(self, request: Request, file: ReadRequest, answer: Callable[[], Response]) -> tuple[Response, bytes]:
        """Return the response and the first part of its body; close it if that is the last. 503: the storage fails."""
        response = answer()
        body = response.body
        if body is None or (_offers_paths(request.context) and body.is_whole and body.file.local_path is not None):
            return response, b""
        try:
            part = body.read(PART_SIZE) if body.left else b""
        except StorageFailed as error:
            response.close()
            return self.server.unavailable(request, file, error), b""
        except BaseException:
            response.close()
            raise
        if not body.left:
            response.close()
        return response, part


#: Runs ``authorize`` hooks that are not asynchronous.
_HOOKS: Final = ThreadPool("depot_lite authorize")


#: Seconds after which a request that waits for its storage looks whether its client is still there.
_SLOW: Final = 1.0


async def _unless_disconnected(work: Coroutine[Any, Any, T], receive: Receive) -> T | None:
    """Return the result of work, None if the client has disconnected meanwhile.

    Clients that come and go would otherwise fill the queue of a slow storage, and others wait for them.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # for mypy: this is a coroutine
    watching: asyncio.Task[None] | None = None
    left = ended = False

    def leave(watched: asyncio.Task[None]) -> None:
        nonlocal left
        # It may have been scheduled before the work ended: then it cannot be removed any more.
        if not ended and not watched.cancelled() and watched.exception() is None:
            left = True
            task.cancel()

    def watch() -> None:
        nonlocal watching
        watching = asyncio.ensure_future(_wait_for_disconnect(receive))
        watching.add_done_callback(leave)

    begin = asyncio.get_running_loop().call_later(_SLOW, watch)
    try:
        return await work
    except asyncio.CancelledError:
        if left and not task.uncancel():
            return None
        raise
    finally:
        ended = True
        begin.cancel()
        if watching is not None:
            watching.cancel()


def _close_opened(opened: tuple[Response, bytes]) -> None:
    opened[0].close()


async def _read(closing: Closing, body: Body, threads: Executor) -> bytes:
    return await in_thread(partial(closing.use, partial(body.read, PART_SIZE)), threads)


def _as_sent(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or b""
    return unquote(raw.partition(b"?")[0].decode("latin-1"))


def _offers_paths(scope: Scope) -> bool:
    return "http.response.pathsend" in (scope.get("extensions") or {})


async def _send(
    response: Response, part: bytes, receive: Receive, send: Send, read: Callable[[], Awaitable[bytes]] | None = None
) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = response.body
    if body is None or read is None or not body.left:
        await send({"type": "http.response.body", "body": part})
    elif not part:
        await send({"type": "http.response.pathsend", "path": str(body.file.local_path)})
    else:
        await _stream(body, part, receive, send, read)


async def _stream(body: Body, part: bytes, receive: Receive, send: Send, read: Callable[[], Awaitable[bytes]]) -> None:
    """Send the remaining parts, reading the next one while one is sent, until the client disconnects."""
    disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
    following: asyncio.Future[bytes] | None = None
    try:
        while part and not disconnected.done():
            following = asyncio.ensure_future(read()) if body.left else None
            await send({"type": "http.response.body", "body": part, "more_body": following is not None})
            part = b"" if following is None else await following
    finally:
        tasks: list[asyncio.Future[Any]] = [disconnected] if following is None else [disconnected, following]
        for task in tasks:
            task.cancel()
        # The errors of the part that is read concern nobody any more, and its thread is not waited for.
        await asyncio.gather(*tasks, return_exceptions=True)


async def _serve_lifespan(receive: Receive, send: Send) -> None:
    """Acknowledge the server's startup and shutdown."""
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
            InvalidContent: the client disconnected before the end.
        """
        if not self._more:
            raise StopAsyncIteration
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise InvalidContent("the request broke off")
        self._more = message.get("more_body", False)
        return bytes(message.get("body", b""))


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
