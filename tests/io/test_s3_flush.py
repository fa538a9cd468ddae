"""How a session's transfers to S3 share threads, connections and the event loop: counted, as times only hint at it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from depot_lite.errors import StorageFailed
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.boto3 import S3Storage
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.io.s3_server import Server, moto_server
from tests.support.async_world import AsyncWorld
from tests.support.models import Document

T = TypeVar("T")


class CountingExecutor(ThreadPoolExecutor):
    """Counts its jobs."""

    given = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Count, and do it."""
        self.given += 1
        return super().submit(fn, *args, **kwargs)


class Senders:
    """The threads that send requests, and how many of them are in the middle of one at most."""

    def __init__(self, storage: S3Storage, *, meeting: int = 0) -> None:
        # Each upload waits until so many are under way, which shows that they are.
        self._meeting = threading.Barrier(meeting, timeout=20) if meeting else None
        self.threads: set[threading.Thread] = set()
        self.operations: set[str] = set()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        storage._client.meta.events.register("before-send.s3", self._begin)
        storage._client.meta.events.register("after-call.s3", self._end)

    def _begin(self, event_name: str = "", **_: object) -> None:
        operation = event_name.rpartition(".")[2]
        with self._lock:
            self.threads.add(threading.current_thread())
            self.operations.add(operation)
            self._now += 1
            self.most = max(self.most, self._now)
        if self._meeting is not None and operation == "PutObject":
            self._meeting.wait()

    def _end(self, **_: object) -> None:
        with self._lock:
            self._now -= 1


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with moto_server() as made:
        yield made


@pytest.fixture
def executor() -> Iterator[CountingExecutor]:
    with CountingExecutor(32) as made:
        yield made


@pytest.fixture
def storage(server: Server, executor: CountingExecutor) -> Iterator[S3Storage]:
    with server.bucket() as bucket:
        yield server.storage(bucket, executor=executor)


@pytest.fixture
def world(engine: Engine, storage: S3Storage) -> Iterator[AsyncWorld]:
    """An empty world with one depot, which is on S3."""
    with temporary_depots():
        depots: dict[str, FileStorage] = {"default": DepotManager.configure("default", storage)}
        yield AsyncWorld(engine, depots)
    with engine.begin() as connection:
        connection.execute(Document.__table__.delete())  # type: ignore[attr-defined]  # declared as a FromClause


def _refuse_one() -> Callable[..., None]:
    """Return a listener that turns the first answer it sees into a refusal."""
    left = [403]

    def refuse(http_response: Any, parsed: dict[str, Any], **_: object) -> None:
        if left:
            http_response.status_code = left.pop()
            parsed["Error"] = {"Code": "AccessDenied"}

    return refuse


def _documents(number: int) -> list[Document]:
    return [Document(content=b"%d" % each) for each in range(number)]


def _flush(world: AsyncWorld, asynchronous: bool, number: int) -> None:
    """Flush so many attachments in one transaction, and roll it back."""

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add_all(_documents(number))
            await session.flush()
            await session.rollback()

    if asynchronous:
        world.run(journey)
        return
    with world.session() as session:
        session.add_all(_documents(number))
        session.flush()
        session.rollback()


@pytest.mark.parametrize(("asynchronous", "threads"), [(False, 15), (True, 17)])
def test_a_flush_sends_sixteen_requests_at_once_and_never_more(
    world: AsyncWorld,
    storage: S3Storage,
    executor: CountingExecutor,
    caplog: pytest.LogCaptureFixture,
    asynchronous: bool,
    threads: int,
) -> None:
    """Each of 64 uploads waits for fifteen others. Connections are kept for all of them, so that none is thrown away.

    The executor is given one piece of work per thread and not one per file: an event loop is woken as seldom. A session
    without one takes part itself. With one, the deletion after the rollback is a piece of work, too.
    """
    senders = Senders(storage, meeting=16)
    with caplog.at_level(logging.WARNING, "urllib3"):
        _flush(world, asynchronous, 64)
    assert (senders.most, executor.given) == (16, threads)
    assert caplog.messages == []
    world.check()


def test_no_request_is_sent_from_the_thread_of_the_event_loop(world: AsyncWorld, storage: S3Storage) -> None:
    """Neither by a flush or a commit, nor by what cleans up after a rollback and after a flush that failed."""
    senders = Senders(storage)

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            document = Document(content=b"one")
            session.add_all([document, *_documents(3)])
            await session.commit()
            document.content = UploadedFile(b"two")
            await session.flush()
            await session.rollback()
            await session.refresh(document)
            document.content = UploadedFile(b"three")
            await session.commit()
            session.add_all([Document(content=b"good"), Document(content=b"refused")])
            storage._client.meta.events.register("after-call.s3.PutObject", _refuse_one())
            with pytest.raises(StorageFailed, match="denied"):
                await session.flush()
            await session.rollback()

    world.run(journey)
    assert senders.operations == {"PutObject", "DeleteObjects"}
    assert threading.main_thread() not in senders.threads
    world.check(b"three", b"0", b"1", b"2")
