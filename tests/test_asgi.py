"""DepotASGI in this process: message by message, mounted in applications, and when clients go and storages fail."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from depot_lite import asgi
from depot_lite.asgi import PART_SIZE, DepotASGI
from depot_lite.concurrency.pools import THREADS
from depot_lite.errors import StorageFailed
from depot_lite.io.interfaces import StoredFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots
from tests.support.settling import settle

#: Three whole parts and a rest.
DATA: Final = some_bytes(3 * PART_SIZE + 7)
#: Long enough for anything that happens here at all.
DEADLINE: Final = 20


class Watched(MemoryFileStorage):
    """A storage that knows which of its files are open, and calls back before it reads.

    ``on_read`` is called before each read with the position, and ``on_close`` before each closing, in their threads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_read: Callable[[int], object] = lambda position: None
        self.on_close: Callable[[], object] = lambda: None
        self.opened: list[_Stream] = []

    def _open(self, file_id: str) -> StoredFile:
        info, data = self._find(file_id)
        return StoredFile(info, partial(self._stream, data))

    def _stream(self, data: bytes) -> BinaryIO:
        self.opened.append(_Stream(self, data))
        return self.opened[-1]

    @property
    def open_files(self) -> int:
        return sum(not each.closed for each in self.opened)


class _Stream(io.BytesIO):
    def __init__(self, storage: Watched, data: bytes) -> None:
        super().__init__(data)
        self.storage = storage

    def read(self, size: int | None = -1, /) -> bytes:
        self.storage.on_read(self.tell())
        return super().read(size)

    def close(self) -> None:
        assert not self.closed
        self.storage.on_close()
        super().close()


class Gate:
    """A place where a thread waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def wait(self) -> bool:
        self.reached.set()
        assert self.opened.wait(DEADLINE)
        return True


def _gone(position: int = 0) -> None:
    raise StorageFailed("the disk has gone")


@pytest.fixture
def storage() -> Iterator[Watched]:
    """The default depot, with the check that all its files are closed in the end."""
    made = Watched()
    with temporary_depots():
        DepotManager.configure("default", made)
        yield made
        assert made.open_files == 0


class Client:
    """A client and the server between it and the application, message by message.

    Args:
        stop_after: hang up once so many messages have been sent to it.
        extensions: the extensions that the server offers.
        headers: of the request; as bytes, and as often as a test wants.
    """

    def __init__(
        self,
        path: str,
        *,
        method: str = "GET",
        root_path: str = "",
        stop_after: int | None = None,
        extensions: dict[str, Any] | None = None,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": root_path,
            "query_string": b"",
            "headers": headers or [],
        }
        if extensions is not None:
            self.scope["extensions"] = extensions
        self.sent: list[Any] = []
        self.stop_after = stop_after
        self.gone = asyncio.Event()

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if len(self.sent) == self.stop_after:
            self.gone.set()
        await asyncio.sleep(0)

    async def ask(self, app: Any) -> None:
        await asyncio.wait_for(app(self.scope, self.receive, self.send), DEADLINE)

    @property
    def status(self) -> int:
        assert self.sent[0]["type"] == "http.response.start"
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        told = self.sent[0]["headers"]
        assert len(dict(told)) == len(told)
        return dict(told)

    @property
    def body(self) -> bytes:
        return b"".join(each["body"] for each in self.sent[1:])

    @property
    def complete(self) -> bool:
        return not self.sent[-1].get("more_body", False)


def asked(app: Any, path: str, **options: Any) -> Client:
    """Return a client that has its answer."""

    async def _ask() -> Client:
        client = Client(path, **options)
        await client.ask(app)
        return client

    return asyncio.run(_ask())


async def inner(scope: Any, receive: Any, send: Any) -> None:
    """Tell which request came through."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"app: {scope['root_path']}|{scope['path']}".encode()})


class TestMessages:
    @pytest.mark.parametrize("size", [0, 1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, len(DATA)])
    def test_a_file_comes_in_parts_and_ends(self, storage: Watched, size: int) -> None:
        client = asked(DepotASGI(), f"/depot/default/{storage.create(DATA[:size], 'a.txt')}")
        assert (client.status, client.body == DATA[:size]) == (200, True)
        assert client.headers[b"content-length"] == str(size).encode()
        assert client.headers[b"content-disposition"].endswith(b'; filename="a.txt"')
        assert [each.get("more_body", False) for each in client.sent[1:]] == (
            [True] * (-(-size // PART_SIZE) - 1) + [False]
        )

    def test_head_opens_nothing(self, storage: Watched) -> None:
        client = asked(DepotASGI(), f"/depot/default/{storage.create(DATA)}", method="HEAD")
        assert (client.status, client.headers[b"content-length"]) == (200, str(len(DATA)).encode())
        assert (client.body, storage.opened) == (b"", [])

    @pytest.mark.parametrize(
        ("wanted", "part"),
        [
            ("bytes=0-0", slice(0, 1)),
            ("bytes=5-", slice(5, None)),
            (f"bytes=-{PART_SIZE + 1}", slice(-PART_SIZE - 1, None)),
        ],
    )
    def test_a_range_is_sent_and_no_byte_more(self, storage: Watched, wanted: str, part: slice) -> None:
        path = f"/depot/default/{storage.create(DATA)}"
        client = asked(DepotASGI(), path, headers=[(b"Range", wanted.encode())])
        assert (client.status, client.body == DATA[part]) == (206, True)
        start, stop, _ = part.indices(len(DATA))
        assert client.headers[b"content-range"] == f"bytes {start}-{stop - 1}/{len(DATA)}".encode()

    def test_what_a_client_has_is_not_sent(self, storage: Watched) -> None:
        """Also where it sent its tags in several lines."""
        path = f"/depot/default/{storage.create(DATA)}"
        tag = asked(DepotASGI(), path).headers[b"etag"]
        lines = [(b"if-none-match", b'"x"'), (b"if-none-match", tag), (b"if-none-match", b'"y"')]
        client = asked(DepotASGI(), path, headers=lines)
        assert (client.status, client.body) == (304, b"")

    def test_cookies_that_come_one_by_one_are_all_seen(self, storage: Watched) -> None:
        """As HTTP/2 sends them (RFC 9113 section 8.2.3)."""
        seen: list[str] = []

        def authorize(request: Any, *_: str) -> bool:
            seen.append(request.headers["cookie"])
            return True

        path = f"/depot/default/{storage.create(DATA)}"
        asked(DepotASGI(authorize=authorize), path, headers=[(b"cookie", b"session=1"), (b"cookie", b"lang=en")])
        assert seen == ["session=1; lang=en"]

    def test_a_server_that_sends_files_gets_the_path(self, tmp_path: Path) -> None:
        """Only whole files that have a path."""
        offered: dict[str, Any] = {"http.response.pathsend": {}}
        with temporary_depots():
            local = DepotManager.configure("local", LocalFileStorage(tmp_path, durable=False))
            memory = DepotManager.configure("memory", MemoryFileStorage())
            file_id = local.create(DATA)
            client = asked(DepotASGI(), f"/depot/local/{file_id}", extensions=offered)
            path = client.sent[1].pop("path")
            assert client.sent[1:] == [{"type": "http.response.pathsend"}]
            assert client.headers[b"content-length"] == str(len(DATA)).encode()
            assert Path(path).read_bytes() == DATA
            ranged = asked(
                DepotASGI(), f"/depot/local/{file_id}", extensions=offered, headers=[(b"range", b"bytes=1-3")]
            )
            assert (ranged.status, ranged.body) == (206, DATA[1:4])
            assert asked(DepotASGI(), f"/depot/local/{local.create(b'')}", extensions=offered).body == b""
            assert asked(DepotASGI(), f"/depot/memory/{memory.create(DATA)}", extensions=offered).body == DATA
            assert asked(DepotASGI(), f"/depot/local/{file_id}", method="HEAD", extensions=offered).body == b""
            assert asked(DepotASGI(), f"/depot/local/{file_id}", extensions={}).body == DATA


class TestPlaces:
    @pytest.mark.parametrize(
        ("mountpoint", "root", "path", "served"),
        [
            ("/depot", "", "/depot/{file}", True),
            ("/depot/", "", "/depot/{file}", True),
            ("/a/b", "", "/a/b/{file}", True),
            # Below the application, wherever that is; with the root path in the path, as ASGI has it, and without.
            ("/depot", "/app", "/app/depot/{file}", True),
            ("/depot", "/app", "/depot/{file}", True),
            ("/depot", "/app/", "/app/depot/{file}", True),
            # As a browser sees it, which is what url_for gives.
            ("/app/depot", "/app", "/app/depot/{file}", True),
            ("/app/depot", "/app", "/depot/{file}", True),
            ("/app/depot", "", "/app/depot/{file}", True),
            ("/app/depot", "/ap", "/ap/app/depot/{file}", True),
            # An application that is mounted where the files would be goes on working.
            ("/depot", "/depot", "/depot/{file}", False),
            ("/depot", "/depot", "/depot/depot/{file}", True),
            ("/depot", "", "/depot", False),
            ("/depot", "", "/depots/{file}", False),
            ("/depot", "", "", False),
        ],
    )
    def test_the_mountpoint_is_found_in_front_of_an_application(
        self, storage: Watched, mountpoint: str, root: str, path: str, served: bool
    ) -> None:
        path = path.replace("{file}", f"default/{storage.create(b'data')}")
        client = asked(DepotASGI(inner, mountpoint), path, root_path=root)
        assert client.body == (b"data" if served else f"app: {root}|{path}".encode())

    @pytest.mark.parametrize("root", ["", "/api"])
    @pytest.mark.parametrize("outer", ["", "/v1"])
    @pytest.mark.parametrize("mountpoint", ["/depot", "as browsers see it"])
    def test_it_is_mounted_in_an_application_that_is_mounted_behind_a_proxy(
        self, storage: Watched, root: str, outer: str, mountpoint: str
    ) -> None:
        """Mount, which FastAPI's mount is too; nested, and below the root path of a proxy."""
        mountpoint = f"{root}{outer}/depot" if mountpoint != "/depot" else mountpoint
        app = Starlette(routes=[Mount("/depot", DepotASGI(mountpoint=mountpoint))])
        if outer:
            app = Starlette(routes=[Mount(outer, app)])
        path = f"{root}{outer}/depot/default/{storage.create(b'data')}"
        assert asked(app, path, root_path=root).body == b"data"
        assert asked(app, f"{path}/a name.txt", root_path=root).body == b"data"
        assert asked(app, f"{root}{outer}/depot/default", root_path=root).status == 404
        assert asked(app, f"{path}/a/b", root_path=root).status == 404

    def test_alone_it_is_an_application(self, storage: Watched) -> None:
        path = f"/depot/default/{storage.create(b'data')}"
        assert asked(DepotASGI(), path).body == b"data"
        client = asked(DepotASGI(), "/other")
        assert (client.status, client.body) == (404, b"")

    def test_several_serve_below_their_own_mountpoints(self, storage: Watched) -> None:
        app = DepotASGI(DepotASGI(inner, "/inner", 1), "/outer", 2)
        for mountpoint, age in (("/inner", 1), ("/outer", 2)):
            client = asked(app, f"{mountpoint}/default/{storage.create(b'data')}")
            assert client.headers[b"cache-control"] == f"private, immutable, max-age={age}".encode()
        assert asked(app, "/depot").body == b"app: |/depot"

    def test_what_is_no_http_is_the_application_s(self) -> None:
        """Untouched, whatever its path is."""
        seen: list[Any] = []

        async def app(*given: Any) -> None:
            seen.append(given)

        async def _nothing(*_: Any) -> None:
            raise AssertionError("nothing is received or sent")

        for scope in ({"type": "lifespan"}, {"type": "websocket", "path": "/depot/x/y"}, {"type": "new"}):
            asyncio.run(DepotASGI(app)(scope, _nothing, _nothing))  # type: ignore[arg-type]  # never called
            assert seen.pop() == (scope, _nothing, _nothing)

    def test_alone_it_begins_and_ends_with_the_server(self) -> None:
        sent: list[str] = []
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message["type"])

        asyncio.run(DepotASGI()({"type": "lifespan"}, receive, send))
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    def test_alone_it_has_no_websocket(self) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(DepotASGI()({"type": "websocket", "path": "/depot/x/y"}, receive, send))
        assert sent == [{"type": "websocket.close"}]

    def test_storages_that_the_manager_does_not_know_are_served_side_by_side(self) -> None:
        media, reports = MemoryFileStorage(), MemoryFileStorage()
        middle = DepotASGI(inner, depots={"media": media})
        outer = DepotASGI(middle, depots={"reports": reports})
        for storage, name, each in ((media, "media", middle), (reports, "reports", outer)):
            client = asked(outer, each.url_for(f"{name}/{storage.create(name.encode())}"))
            assert (client.status, client.body) == (200, name.encode())
        assert asked(outer, "/depot/other/x").body == b"app: |/depot/other/x"
        assert asked(DepotASGI(depots={"media": media}), "/depot/other/x").status == 404

    def test_a_client_library_gets_it_through_a_whole_application(self, storage: Watched) -> None:
        """Through Starlette, with a middleware that puts itself between both ends."""

        async def page(request: Request) -> PlainTextResponse:
            return PlainTextResponse(DepotManager.url_for(f"default/{file_id}"))

        async def dispatch(request: Request, call_next: Any) -> Any:
            response = await call_next(request)
            response.headers["X-Seen"] = "yes"
            return response

        async def _run() -> tuple[httpx.Response, httpx.Response]:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                url = (await client.get("/")).text
                return await client.get(url), await client.get(url, headers={"Range": "bytes=3-9"})

        file_id = storage.create(DATA)
        made = DepotManager.make_asgi_middleware()
        seen = Middleware(BaseHTTPMiddleware, dispatch=dispatch)
        app = Starlette(routes=[Route("/", page), Mount("/depot", made)], middleware=[seen])
        whole, part = asyncio.run(_run())
        assert (whole.status_code, whole.content == DATA, whole.headers["x-seen"]) == (200, True, "yes")
        assert (part.status_code, part.content) == (206, DATA[3:10])


class TestClientsThatGo:
    @pytest.mark.parametrize("stop_after", [1, 2, 3])
    def test_nothing_more_is_sent_and_the_file_is_closed(self, storage: Watched, stop_after: int) -> None:
        """No more than the part that was being read is read."""
        positions: list[int] = []
        storage.on_read = positions.append
        path = f"/depot/default/{storage.create(some_bytes(20 * PART_SIZE))}"
        client = asked(DepotASGI(), path, stop_after=stop_after)
        assert not client.complete
        assert len(client.sent) <= stop_after + 1
        assert len(positions) <= stop_after + 2
        assert storage.open_files == 0

    def test_a_server_that_refuses_to_send_is_told_no_other_error(self, storage: Watched) -> None:
        """As servers may, once the client has gone; also where the next part fails at that moment."""
        storage.on_read = lambda position: _gone() if position else None

        async def _run() -> None:
            client = Client(f"/depot/default/{storage.create(DATA)}")

            async def send(message: Any) -> None:
                if message["type"] == "http.response.body":
                    raise ConnectionResetError("the client has gone")

            with pytest.raises(ConnectionResetError):
                await DepotASGI()(client.scope, client.receive, send)

        complaints = _complaints_of(_run)
        assert (complaints, storage.open_files) == ([], 0)

    @pytest.mark.parametrize("when", [0, PART_SIZE, 2 * PART_SIZE])
    @pytest.mark.parametrize("times", [1, 3])
    def test_a_cancellation_is_raised_at_once_and_the_thread_that_reads_closes_the_file(
        self, storage: Watched, when: int, times: int
    ) -> None:
        """While it is opened, or a part is read; and however often it comes, as from anyio's scopes."""
        gate = Gate()
        storage.on_read = lambda position: gate.wait() if position == when else None
        client = Client(f"/depot/default/{storage.create(DATA)}")
        assert _complaints_of(partial(_cancel, storage, client, client.send, gate, gate.reached, times)) == []

    def test_a_client_that_leaves_before_its_file_is_opened_keeps_no_others_waiting(
        self, storage: Watched, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its place in the queue of the storage is free, and a file that is opened later is closed."""
        monkeypatch.setattr(asgi, "_SLOW", 0.0)
        reading, go_on = threading.Event(), threading.Event()

        def wait(position: int) -> None:
            reading.set()
            assert go_on.wait(DEADLINE)

        async def _run() -> None:
            first, second = (Client(f"/depot/default/{storage.create(DATA)}") for _ in range(2))
            tasks = [asyncio.ensure_future(first.ask(DepotASGI()))]
            assert await asyncio.to_thread(reading.wait, DEADLINE)
            for _ in range(THREADS - 1):
                storage.thread_pools.reading.submit(go_on.wait, DEADLINE)
            tasks.append(asyncio.ensure_future(second.ask(DepotASGI())))
            await asyncio.sleep(0)
            first.gone.set()
            second.gone.set()
            await asyncio.gather(*tasks)
            assert (first.sent, second.sent, storage.open_files) == ([], [], 1)
            read_later: list[int] = []
            storage.on_read = read_later.append
            go_on.set()
            await asyncio.to_thread(settle, storage)
            assert (read_later, storage.open_files) == ([], 0)

        storage.on_read = wait
        assert _complaints_of(_run) == []

    def test_a_cancellation_while_a_part_is_sent_does_not_wait_for_the_next_one(self, storage: Watched) -> None:
        """Which is read meanwhile, from the file that is to be closed."""
        gate = Gate()
        storage.on_read = lambda position: gate.wait() if position else None
        client = Client(f"/depot/default/{storage.create(DATA)}")

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        assert _complaints_of(partial(_cancel, storage, client, send, gate, gate.reached)) == []

    def test_a_cancellation_does_not_wait_until_the_file_is_closed(self, storage: Watched) -> None:
        gate, sending = Gate(), threading.Event()
        storage.on_close = gate.wait
        client = Client(f"/depot/default/{storage.create(DATA[: PART_SIZE + 1])}")

        async def send(message: Any) -> None:
            if not message.get("more_body", True):
                sending.set()
                await asyncio.Event().wait()

        assert _complaints_of(partial(_cancel, storage, client, send, gate, sending)) == []


async def _cancel(
    storage: Watched, client: Client, send: Callable[[Any], Any], gate: Gate, moment: threading.Event, times: int = 1
) -> None:
    """Cancel a request at a moment, and see that it ends at once, and that its file is closed after the gate opens."""
    task = asyncio.ensure_future(DepotASGI()(client.scope, client.receive, send))
    assert await asyncio.to_thread(moment.wait, DEADLINE)
    for _ in range(times):
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, DEADLINE)
    assert storage.open_files == 1
    gate.opened.set()
    await asyncio.to_thread(settle, storage)
    assert storage.open_files == 0


class TestStoragesThatFail:
    @pytest.mark.parametrize("how", ["an error", "too short"])
    def test_in_the_middle_the_answer_is_not_ended(self, storage: Watched, how: str) -> None:
        """The server cuts the connection off then, by which the client sees that it has not all."""

        def fail(position: int) -> None:
            if position == 2 * PART_SIZE:
                if how == "an error":
                    _gone()
                storage.opened[-1].truncate(2 * PART_SIZE)

        storage.on_read = fail

        async def _run() -> None:
            client = Client(f"/depot/default/{storage.create(DATA)}")
            with pytest.raises(StorageFailed, match="disk has gone" if how == "an error" else "is damaged: expected"):
                await client.ask(DepotASGI())
            assert not client.complete
            assert client.body == DATA[: 2 * PART_SIZE]

        assert _complaints_of(_run) == []

    def test_at_the_first_byte_the_answer_is_an_error(self, storage: Watched, caplog: pytest.LogCaptureFixture) -> None:
        """As with WSGI; the application's own handlers of errors never see it."""
        storage.on_read = _gone
        client = asked(DepotASGI(), path := f"/depot/default/{storage.create(DATA)}")
        assert (client.status, client.body, client.complete) == (503, b"", True)
        assert path.rpartition("/")[2] in caplog.text
        assert "the disk has gone" in caplog.text
        assert storage.open_files == 0


class TestTheEventLoop:
    def test_it_answers_others_while_a_storage_is_slow(self, storage: Watched) -> None:
        """One reads and waits; meanwhile another comes and goes."""
        gate = Gate()
        slow, fast = (f"/depot/default/{storage.create(data)}" for data in (DATA, b"fast"))
        storage.on_read = lambda position: gate.wait() if len(storage.opened) == 1 else None

        async def _run() -> None:
            app = DepotASGI(inner)
            waiting, passing, other = Client(slow), Client(fast), Client("/")
            task = asyncio.ensure_future(waiting.ask(app))
            assert await asyncio.to_thread(gate.reached.wait, DEADLINE)
            await passing.ask(app)
            await other.ask(app)
            assert (passing.body, other.body, waiting.sent) == (b"fast", b"app: |/", [])
            gate.opened.set()
            await task
            assert waiting.body == DATA

        asyncio.run(_run())

    @pytest.mark.parametrize("kind", ["a function", "a coroutine function"])
    def test_it_answers_others_while_a_hook_waits(self, storage: Watched, kind: str) -> None:
        gate = Gate()
        path = f"/depot/default/{storage.create(b'data')}"

        def check(*_: Any) -> bool:
            return gate.wait()

        async def acheck(*_: Any) -> bool:
            return await asyncio.to_thread(check)

        async def _run() -> None:
            hook: Callable[..., bool | Awaitable[bool]] = check if kind == "a function" else acheck
            app = DepotASGI(inner, authorize=hook)
            waiting, other = Client(path), Client("/")
            task = asyncio.ensure_future(waiting.ask(app))
            assert await asyncio.to_thread(gate.reached.wait, DEADLINE)
            await other.ask(app)
            assert (other.body, waiting.sent) == (b"app: |/", [])
            gate.opened.set()
            await task
            assert waiting.body == b"data"

        asyncio.run(_run())

    def test_a_part_is_read_while_the_one_before_is_sent(self, storage: Watched) -> None:
        """And none before that: two of them are in memory, however large the file is and slow the client."""
        positions: list[int] = []

        async def _run() -> None:
            client = Client(f"/depot/default/{storage.create(DATA)}")
            second = threading.Event()

            def note(position: int) -> None:
                positions.append(position)
                if position:
                    second.set()

            storage.on_read = note

            async def send(message: Any) -> None:
                if message.get("more_body") and len(client.sent) == 1:
                    assert await asyncio.to_thread(second.wait, DEADLINE)
                    assert positions == [0, PART_SIZE]
                await client.send(message)

            await DepotASGI()(client.scope, client.receive, send)
            assert client.body == DATA

        asyncio.run(_run())
        assert positions == [0, PART_SIZE, 2 * PART_SIZE, 3 * PART_SIZE]

    def test_many_at_a_time_get_what_they_asked_for(self, storage: Watched) -> None:
        files = {f"/depot/default/{storage.create(data)}": data for data in (some_bytes(700_000, n) for n in range(8))}

        async def _run() -> list[tuple[str, bytes]]:
            clients = [Client(path) for path in files for _ in range(4)]
            await asyncio.gather(*(client.ask(DepotASGI()) for client in clients))
            return [(client.scope["path"], client.body) for client in clients]

        assert all(body == files[path] for path, body in asyncio.run(_run()))


def _complaints_of(run: Callable[[], Awaitable[None]]) -> list[Any]:
    """Run it, and return what asyncio said of tasks whose errors nobody looked at."""
    complaints: list[Any] = []

    async def _run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        await run()

    asyncio.run(_run())
    return complaints
