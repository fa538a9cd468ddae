"""The same promise under `AsyncSession`: the event loop goes on, and who cancels leaves nothing half done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from depot_lite.errors import StorageFailed
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import empty
from tests.support.async_world import AsyncWorld
from tests.support.models import Base, Document
from tests.support.settling import settle


class SlowStorage(MemoryFileStorage):
    """Waits in the middle of its work until somebody lets it go on."""

    concurrency = 2

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.slow = False
        self.threads: set[str] = set()

    def _wait(self) -> None:
        self.threads.add(threading.current_thread().name)
        if self.slow:
            self.begun.set()
            assert self.go_on.wait(20)

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self._wait()
        return super()._save(file_id, content)

    def _delete(self, file_id: str) -> None:
        self._wait()
        super()._delete(file_id)


@pytest.fixture
def slow(engine: Engine) -> Iterator[AsyncWorld]:
    """A world whose default depot is slow when it is told to be."""
    with temporary_depots():
        depots = {name: DepotManager.configure(name, SlowStorage()) for name in ("default", "archive")}
        yield AsyncWorld(engine, depots)
    empty(engine, Base.metadata)


def test_attach_replace_and_delete(aworld: AsyncWorld) -> None:
    """The whole life of a file, awaited."""

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            document = Document(content=b"first", report=b"report")
            session.add(document)
            await session.commit()
            aworld.check(b"first", b"report")
            document.content = UploadedFile(b"second")
            await session.commit()
            aworld.check(b"second", b"report")
            await session.delete(document)
            await session.commit()
        aworld.check()

    aworld.run(journey)


@pytest.mark.parametrize("how", ["rollback", "close", "exception", "savepoint"])
def test_what_was_flushed_and_not_committed_goes(aworld: AsyncWorld, how: str) -> None:
    """However the transaction ends without COMMIT, the new file goes and the old one stays."""

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(Document(id=1, content=b"old"))
            await session.commit()
        session = AsyncSession(engine)
        try:
            async with session:
                document = await session.get_one(Document, 1)
                savepoint = await session.begin_nested()
                document.content = UploadedFile(b"new")
                await session.flush()
                if how == "exception":
                    raise KeyError("stop")
                if how == "savepoint":
                    await savepoint.rollback()
                    await session.commit()
                elif how == "rollback":
                    await session.rollback()
        except KeyError:
            assert how == "exception"

    aworld.run(journey)
    aworld.check(b"old")


def test_a_released_savepoint_waits_for_the_commit(aworld: AsyncWorld) -> None:
    """Nothing is deleted before the outermost COMMIT."""

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            document = Document(content=b"old")
            session.add(document)
            await session.commit()
            async with session.begin_nested():
                document.content = UploadedFile(b"new")
            assert len(aworld.stored()) == 2
            await session.commit()

    aworld.run(journey)
    aworld.check(b"new")


def test_an_expired_attribute_can_be_replaced(aworld: AsyncWorld) -> None:
    """No lazy load happens where nothing can be awaited; the flush looks up the old value of the row."""

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            document = Document(content=b"old")
            session.add(document)
            await session.commit()
            document.content = UploadedFile(b"new")
            await session.commit()

    aworld.run(journey)
    aworld.check(b"new")


def test_statements_are_followed(aworld: AsyncWorld) -> None:
    """``session.execute`` with insert, update and delete."""

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            await session.execute(insert(Document), [{"name": name, "content": name.encode()} for name in "abc"])
            await session.execute(update(Document).where(Document.name == "b").values(content=b"B"))
            await session.execute(delete(Document).where(Document.name == "c"))
            await session.commit()
            assert len((await session.scalars(select(Document))).all()) == 2

    aworld.run(journey)
    aworld.check(b"a", b"B")


def test_a_flush_that_failed_can_be_tried_again(aworld: AsyncWorld) -> None:
    """After the rollback the value is pending again, with another id."""

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(Document(id=1, content=b"there"))
            await session.commit()
            document = Document(id=1, content=b"mine")
            session.add(document)
            with pytest.raises(IntegrityError):
                await session.commit()
            await session.rollback()
            aworld.check(b"there")
            document.id = 2
            session.add(document)
            await session.commit()

    aworld.run(journey)
    aworld.check(b"there", b"mine")


async def _while_it_works(storage: SlowStorage, work: Awaitable[Any]) -> int:
    """Await work that cannot end before the loop has turned a hundred times; return how often it did."""
    storage.slow = True
    task = asyncio.ensure_future(work)
    await asyncio.to_thread(storage.begun.wait, 20)
    turns = 0
    for turns in range(1, 101):  # noqa: B007  # the count is returned
        await asyncio.sleep(0)
    storage.go_on.set()
    await task
    storage.slow = False
    storage.begun.clear()
    storage.go_on.clear()
    return turns


async def _cancelled_while_it_works(storage: SlowStorage, work: Awaitable[Any]) -> None:
    storage.slow = True
    task = asyncio.ensure_future(work)
    await asyncio.to_thread(storage.begun.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    storage.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_event_loop_goes_on_while_a_flush_uploads_and_a_commit_deletes(slow: AsyncWorld) -> None:
    """The storage waits for the loop to turn: it would wait for ever if the loop waited for the storage."""
    storage = slow.depots["default"]
    assert isinstance(storage, SlowStorage)

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            document = Document(content=b"one")
            session.add(document)
            assert await _while_it_works(storage, session.flush()) == 100
            await session.commit()
            document.content = UploadedFile(b"two")
            await session.flush()
            assert await _while_it_works(storage, session.commit()) == 100
            document.content = UploadedFile(b"three")
            await session.flush()
            assert await _while_it_works(storage, session.rollback()) == 100

    slow.run(journey)
    slow.check(b"two")
    assert threading.main_thread().name not in storage.threads


def test_a_flush_that_is_cancelled_leaves_nothing(slow: AsyncWorld) -> None:
    """The upload under way comes to its end and is undone; nothing else begins; the row is not there."""
    storage = slow.depots["default"]
    assert isinstance(storage, SlowStorage)
    documents = [Document(content=str(number).encode()) for number in range(10)]

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add_all(documents)
            await _cancelled_while_it_works(storage, session.commit())
        await asyncio.to_thread(settle, storage)
        slow.check()

    slow.run(journey)
    assert all(document.content is not None and document.content.pending for document in documents)


def test_a_commit_that_is_cancelled_while_it_deletes_has_committed(slow: AsyncWorld) -> None:
    """The condemned file is deleted to the end, the row is there, and the cancellation is not lost."""
    storage = slow.depots["default"]
    assert isinstance(storage, SlowStorage)

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            document = Document(content=b"old")
            session.add(document)
            await session.commit()
            document.content = UploadedFile(b"new")
            await session.flush()
            await _cancelled_while_it_works(storage, session.commit())

    slow.run(journey)
    settle(storage)
    slow.check(b"new")


def test_a_timeout_during_a_commit_that_deletes_is_a_timeout(slow: AsyncWorld) -> None:
    """``asyncio.timeout`` counts cancellations; putting one off must not change the number."""
    storage = slow.depots["default"]
    assert isinstance(storage, SlowStorage)

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            document = Document(content=b"old")
            session.add(document)
            await session.commit()
            document.content = UploadedFile(b"new")
            await session.flush()
            storage.slow = True

            async def let_go() -> None:
                await asyncio.to_thread(storage.begun.wait, 20)
                deadline.reschedule(asyncio.get_running_loop().time())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                storage.go_on.set()

            with pytest.raises(TimeoutError):  # noqa: PT012  # the block is what times out
                async with asyncio.timeout(20) as deadline:
                    helper = asyncio.create_task(let_go())
                    await session.commit()
                    await asyncio.Event().wait()
            await helper

    slow.run(journey)
    settle(storage)
    slow.check(b"new")


def test_uploads_of_one_flush_go_side_by_side(slow: AsyncWorld) -> None:
    """Two at once, as many as the storage says it gains from: each waits for the other."""
    together = threading.Barrier(2, timeout=20)

    class Meeting(SlowStorage):
        def _save(self, file_id: str, content: Content) -> FileInfo:
            together.wait()
            return super()._save(file_id, content)

    async def journey(engine: AsyncEngine) -> None:
        with temporary_depots():
            DepotManager.configure("default", Meeting())
            async with AsyncSession(engine) as session:
                session.add_all([Document(content=str(number).encode()) for number in range(6)])
                await session.flush()
                await session.rollback()

    slow.run(journey)


def test_a_storage_that_fails_stops_the_flush(slow: AsyncWorld) -> None:
    """Its error is raised as it is, and nothing is left."""

    class Failing(MemoryFileStorage):
        def _save(self, file_id: str, content: Content) -> FileInfo:
            info = super()._save(file_id, content)
            if info.content_length == 3:
                self._delete(file_id)
                raise StorageFailed("no")
            return info

    async def journey(engine: AsyncEngine) -> None:
        with temporary_depots():
            storage = DepotManager.configure("default", Failing())
            async with AsyncSession(engine) as session:
                session.add_all([Document(content=b"x" * number) for number in range(6)])
                with pytest.raises(StorageFailed, match="no"):
                    await session.flush()
                assert list(storage.list()) == []

    slow.run(journey)
