"""How many uploads a server takes at once, and how slow a client may be."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from wsgiref.util import setup_testing_defaults

import pytest

from depot_lite.asgi import DepotASGI
from depot_lite.concurrency.pools import RECEIVING_THREADS
from depot_lite.errors import ConfigurationError
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.middleware import UPLOADS_AT_ONCE, DepotMiddleware
from depot_lite.serving.fileserver import FileServer
from depot_lite.serving.receiving import IDLE, RATE, MinimumRate, TooSlow, Uploads, paced
from depot_lite.testing import temporary_depots
from depot_lite.uploads import upload_ticket
from tests.support.children import in_child
from tests.support.settling import DEADLINE, settle


class Clock:
    """The time, as a test wants it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    return made


def _send(pace: MinimumRate, clock: Clock, seconds: float, count: int) -> None:
    pace.wait()
    clock.now += seconds
    pace.receive(count)


def test_a_slow_upload_of_a_large_file_goes_through(clock: Clock) -> None:
    """A day at the least rate: there is no limit for the whole time."""
    pace = MinimumRate(30, 1000)
    for _ in range(24 * 3600 // 10):
        _send(pace, clock, 10, 10_000)


def test_a_client_that_sends_too_little_is_too_slow(clock: Clock) -> None:
    """A byte now and then is no progress; bytes sent fast before do not count for ever."""
    pace = MinimumRate(30, 1000)
    _send(pace, clock, 30, 10_000_000)
    with pytest.raises(TooSlow, match="1 bytes in 30 seconds, expected 30000"):
        _send(pace, clock, 31, 1)


def test_the_time_of_a_storage_does_not_count(clock: Clock) -> None:
    pace = MinimumRate(30, 1000)
    for _ in range(10):
        _send(pace, clock, 1, 1000)
        clock.now += 3600
        assert not pace.is_too_slow


def test_while_the_server_waits_it_can_see_that_the_client_is_too_slow(clock: Clock) -> None:
    pace = MinimumRate(30, 1000)
    pace.wait()
    clock.now += 29
    assert not pace.is_too_slow
    clock.now += 1
    assert pace.is_too_slow


@pytest.mark.parametrize(
    "options",
    [{"uploads_at_once": 0}, {"uploads_at_once": 257}, {"upload_idle": 0}, {"upload_rate": 0}, {"upload_rate": "fast"}],
)
def test_options_that_limit_nothing_or_everything_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        FileServer(**options)


def test_options_may_be_text() -> None:
    pace = FileServer(uploads_at_once="3", upload_idle="10", upload_rate="2 KiB").uploads.pace()
    assert (pace.period, pace.least) == (10, 20_480)


def test_what_a_client_sends_comes_through_until_it_stalls() -> None:
    """Also where a form of an admin is what waits."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"
        await asyncio.Event().wait()

    async def main() -> None:
        received = paced(parts(), MinimumRate(0.01, 1))
        assert (await anext(received), await anext(received)) == (b"a", b"b")
        with pytest.raises(TooSlow):
            await anext(received)

    asyncio.run(main())


class Slow(MemoryFileStorage):
    """Waits before it stores, until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self.begun.set()
        assert self.go_on.wait(DEADLINE)
        return super()._save(file_id, content)


@pytest.fixture
def depot() -> Iterator[Slow]:
    with temporary_depots():
        made = Slow()
        DepotManager.configure("default", made)
        DepotManager.configure_signing("k" * 32)
        DepotManager.set_middleware(FileServer())
        yield made
        made.go_on.set()


def _scope(url: str) -> dict[str, Any]:
    target = urlsplit(url)
    return {
        "type": "http",
        "method": "PUT",
        "path": target.path,
        "query_string": target.query.encode(),
        "headers": [(b"content-length", b"5")],
    }


async def _put(app: DepotASGI, url: str, receive: Callable[[], Any]) -> tuple[int, dict[bytes, bytes]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(_scope(url), receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


async def _whole() -> Any:
    return {"type": "http.request", "body": b"hello", "more_body": False}


def test_a_cancelled_upload_keeps_its_place_until_the_storage_has_answered(depot: Slow) -> None:
    """The storage hangs, with the whole body there. Otherwise clients that come and go would take all threads."""
    app, ticket = DepotASGI(uploads_at_once=1), upload_ticket()

    async def main() -> None:
        task = asyncio.create_task(_put(app, ticket.url, _whole))
        assert await asyncio.to_thread(depot.begun.wait, DEADLINE)
        assert (await _put(app, ticket.url, _whole))[0] == 409
        status, headers = await _put(app, upload_ticket().url, _whole)
        assert (status, int(headers[b"retry-after"]) > 0) == (503, True)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)
        assert (await _put(app, ticket.url, _whole))[0] == 409
        assert (await _put(app, upload_ticket().url, _whole))[0] == 503
        depot.go_on.set()
        await asyncio.to_thread(settle, depot)
        assert app.server.uploads.count == 0
        status, _ = await _put(app, ticket.url, _whole)
        assert status in {201, 409}  # 409: the first one was stored all the same

    asyncio.run(main())
    assert len(list(depot.list())) == 1


def test_an_upload_that_is_cancelled_before_it_has_a_thread_leaves_its_place(depot: Slow) -> None:
    app, threads = DepotASGI(uploads_at_once=RECEIVING_THREADS), RECEIVING_THREADS
    hold = threading.Event()
    for _ in range(threads):
        depot.thread_pools.receiving.submit(hold.wait, DEADLINE)

    async def main() -> None:
        task = asyncio.create_task(_put(app, upload_ticket().url, _whole))
        await asyncio.sleep(0)
        assert app.server.uploads.count == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert app.server.uploads.count == 0

    asyncio.run(main())
    hold.set()
    settle(depot)
    assert list(depot.list()) == []


def test_a_ticket_receives_one_file_at_a_time_whichever_middleware_gets_it(depot: Slow) -> None:
    """Each of them takes every ticket, and each would say that its file was stored."""
    first, second, ticket = DepotASGI(), DepotASGI(mountpoint="/files"), upload_ticket()

    async def main() -> None:
        task = asyncio.create_task(_put(first, ticket.url, _whole))
        assert await asyncio.to_thread(depot.begun.wait, DEADLINE)
        moved = ticket.url.replace("/depot/", "/files/", 1)
        assert (await _put(second, moved, _whole))[0] == 409
        wsgi = DepotMiddleware(_application)
        assert await asyncio.to_thread(_wsgi, wsgi, io.BytesIO(b"hello"), {}, ticket.url) == "409 Conflict"
        depot.go_on.set()
        assert (await task)[0] == 201

    asyncio.run(main())


@pytest.mark.matrix
def test_a_process_that_is_forked_in_the_middle_of_an_upload_has_all_its_places(depot: Slow) -> None:
    """The thread that would leave is the parent's."""
    uploads = Uploads(1, IDLE, RATE)
    assert uploads.enter("default/1") is None

    def receive() -> str:
        first = uploads.enter("default/1")
        uploads.leave("default/1")
        return f"{first} {uploads.count}"

    assert in_child(receive) == "None 0"
    assert uploads.count == 1
    uploads.leave("default/1")


@pytest.mark.parametrize(
    "seen", [*(pytest.param(each, marks=pytest.mark.matrix) for each in ("gunicorn.socket", "werkzeug.socket")), None]
)
def test_a_client_of_wsgi_that_stalls_is_given_up_where_its_socket_can_be_seen(depot: Slow, seen: str | None) -> None:
    """Its thread would wait for ever. Without the socket it ends with the connection."""
    depot.go_on.set()
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as stream:
        theirs.sendall(b"he")
        if seen is None:
            theirs.close()
        assert _wsgi(DepotMiddleware(_application, upload_idle=1), stream, {seen: ours} if seen else {}) == (
            "408 Request Timeout" if seen else "400 Bad Request"
        )
    assert list(depot.list()) == []


def test_wsgi_receives_few_uploads_at_once(depot: Slow) -> None:
    """Each one has a thread of the server."""
    app, statuses = DepotMiddleware(_application), list[str]()

    def put() -> None:
        statuses.append(_wsgi(app, io.BytesIO(b"hello"), {}))

    threads = [threading.Thread(target=put) for _ in range(UPLOADS_AT_ONCE)]
    for thread in threads:
        thread.start()
    while not statuses:
        answer = _wsgi(app, io.BytesIO(b"hello"), {}) if app.server.uploads.count == UPLOADS_AT_ONCE else ""
        if answer:
            assert answer == "503 Service Unavailable"
            depot.go_on.set()
            break
    for thread in threads:
        thread.join(DEADLINE)
    assert statuses == ["201 Created"] * UPLOADS_AT_ONCE
    assert app.server.uploads.count == 0


def _application(environ: Any, start_response: Any) -> Any:
    raise AssertionError("not asked")


def _wsgi(app: DepotMiddleware, stream: Any, more: dict[str, Any], url: str | None = None) -> str:
    target, statuses = urlsplit(url or upload_ticket().url), list[str]()
    environ = {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": target.path,
        "QUERY_STRING": target.query,
        "CONTENT_LENGTH": "5",
        "wsgi.input": stream,
        **more,
    }
    setup_testing_defaults(environ)
    assert list(app(environ, lambda status, headers, *_: statuses.append(status))) == []  # type: ignore[arg-type]
    return statuses[0]
