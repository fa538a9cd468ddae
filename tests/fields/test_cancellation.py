"""Tasks that are cancelled while a storage hangs: they return at once, and no file is lost or left."""

from __future__ import annotations

import asyncio
import io
import threading
import types
from collections.abc import Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, BinaryIO

import pytest
from PIL import Image
from sqlalchemy import Engine, insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from depot_lite.concurrency.threads import ended
from depot_lite.errors import InvalidContent, StorageFailed
from depot_lite.fields.columns import columns_of_class
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.tracking import storing
from depot_lite.fields.upload import UploadedFile
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo, StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from depot_lite.uploads import upload_ticket
from tests.conftest import empty
from tests.support.async_world import AsyncWorld
from tests.support.models import Base, Document
from tests.support.settling import DEADLINE, settle


class Checked(Base):
    """A column whose validator calls back into the test."""

    @staticmethod
    def check() -> None:
        """Called by the validator."""

    __tablename__ = "cancelled_checked"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(validators=[lambda _: Checked.check()]))


class Pictured(Base):
    """An image with two variants."""

    __tablename__ = "cancelled_pictured"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"small": Thumbnail(64, 64), "icon": Crop(16, 16)})
    )


class Hanging(MemoryFileStorage):
    """Hangs in the operations that it is told to, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.hangs: set[str] = set()
        self.fails = False
        self.saves = 0
        self.fails_after: int | None = None

    def _hang(self, operation: str) -> None:
        if operation in self.hangs:
            self.begun.set()
            assert self.go_on.wait(DEADLINE)

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self.saves += 1
        self._hang("save")
        if self.fails or (self.fails_after is not None and self.saves > self.fails_after):
            raise StorageFailed("down")
        info = super()._save(file_id, content)
        self._hang("saved")
        return info

    def _open(self, file_id: str) -> StoredFile:
        self._hang("open")
        file = super()._open(file_id)
        if "close" in self.hangs:
            close = file.close
            file.close = lambda: (self._hang("close"), close())[1]  # type: ignore[method-assign, func-returns-value]
        return file

    def _delete(self, file_id: str) -> None:
        if file_id in self._files:
            self._hang("delete")
        super()._delete(file_id)


@pytest.fixture
def storage() -> Hanging:
    return Hanging()


@pytest.fixture
def hung(engine: Engine, storage: Hanging) -> Iterator[AsyncWorld]:
    """A world whose default depot hangs when it is told to."""
    with temporary_depots():
        depots = {
            "default": DepotManager.configure("default", storage),
            "archive": DepotManager.configure("archive", MemoryFileStorage()),
        }
        yield AsyncWorld(engine, depots)
    storage.go_on.set()
    empty(engine, Base.metadata)
    assert storing._settling == []


async def _cancelled(storage: Hanging, work: Any) -> None:
    """Cancel work while the storage hangs; it ends before the storage does."""
    task = asyncio.ensure_future(work)
    assert await asyncio.to_thread(storage.begun.wait, DEADLINE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, DEADLINE)


@pytest.mark.parametrize("where", ["save", "saved"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_cancelled_flush_leaves_nothing_when_its_uploads_have_settled(
    hung: AsyncWorld, storage: Hanging, where: str, fails: bool
) -> None:
    """Its transaction has ended long before. Other files of the flush do not begin."""
    documents = [Document(content=b"%d" % number) for number in range(10)]
    storage.hangs, storage.fails = {where}, fails and where == "save"

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add_all(documents)
            await _cancelled(storage, session.commit())
            await session.rollback()
        storage.go_on.set()
        await asyncio.to_thread(settle, storage)

    hung.run(journey)
    assert storage.saves == 1
    hung.check()
    assert all(document.content is not None and document.content.pending for document in documents)
    ids = {document.content["file_id"] for document in documents if document.content is not None}
    assert len(ids) == 10


@pytest.mark.parametrize("content", ["bytes", "file"])
def test_a_second_flush_of_the_same_values_waits_until_the_first_has_settled(
    hung: AsyncWorld, storage: Hanging, content: str
) -> None:
    """In the same session, without a rollback: the file of the first attempt goes, that of the second is there."""
    storage.hangs = {"save"}
    data = b"x" * 100_000
    document = Document(content=data if content == "bytes" else UploadedFile(io.BytesIO(data)))

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(document)
            await _cancelled(storage, session.commit())
            second = asyncio.create_task(session.commit())
            for _ in range(20):
                await asyncio.sleep(0)
            assert (second.done(), storage.saves) == (False, 1)
            storage.go_on.set()
            await asyncio.wait_for(second, DEADLINE)

    hung.run(journey)
    settle(storage)
    assert storage.saves == 2
    hung.check(data)


def test_values_that_an_earlier_attempt_has_stored_are_left_alone(hung: AsyncWorld, storage: Hanging) -> None:
    document = Document(content=b"x")
    with hung.session() as session:
        session.add(document)
        session.flush()
        storing._store_values(session, [(columns_of_class(Document)["content"], document.content)], storing.Attempt([]))
        session.commit()
    assert storage.saves == 1
    hung.check(b"x")


def test_waiting_for_an_earlier_attempt_can_be_cancelled_too(hung: AsyncWorld, storage: Hanging) -> None:
    storage.hangs = {"save"}

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(Document(content=b"x"))
            await _cancelled(storage, session.commit())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await session.commit()
            storage.go_on.set()
            await session.commit()

    hung.run(journey)
    settle(storage)
    hung.check(b"x")


def test_a_session_in_a_thread_waits_for_the_attempt_of_a_task(hung: AsyncWorld, storage: Hanging) -> None:
    """The values are handed to a session without an event loop."""
    storage.hangs = {"save"}
    document = Document(content=b"x")

    def commit() -> None:
        with hung.session() as session:
            session.add(document)
            session.commit()

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(document)
            await _cancelled(storage, session.flush())
            session.expunge(document)
        with ThreadPoolExecutor(1) as executor:
            second = executor.submit(commit)
            storage.go_on.set()
            second.result(DEADLINE)

    hung.run(journey)
    settle(storage)
    assert storage.saves == 2
    hung.check(b"x")


def test_two_values_of_one_open_file_are_never_read_at_once(hung: AsyncWorld, storage: Hanging) -> None:
    """The first attempt still reads the file when another value of it is flushed: that one waits."""
    data = b"x" * 1_000_000
    file = io.BytesIO(data)
    storage.hangs = {"save"}

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(Document(content=UploadedFile(file)))
            await _cancelled(storage, session.commit())
        async with AsyncSession(engine) as session:
            session.add(Document(content=UploadedFile(file)))
            second = asyncio.create_task(session.commit())
            for _ in range(20):
                await asyncio.sleep(0)
            assert storage.saves == 1
            storage.go_on.set()
            await asyncio.wait_for(second, DEADLINE)

    hung.run(journey)
    settle(storage)
    hung.check(data)


def test_a_stream_that_a_cancelled_flush_has_read_is_refused_clearly(hung: AsyncWorld, storage: Hanging) -> None:
    class Stream(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return 0

    storage.hangs = {"saved"}

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(Document(content=UploadedFile(io.BufferedReader(Stream()))))
            await _cancelled(storage, session.commit())
            storage.go_on.set()
            with pytest.raises(InvalidContent, match="only once"):
                await session.commit()

    hung.run(journey)
    settle(storage)
    hung.check()


def test_a_timeout_ends_a_flush_in_time(hung: AsyncWorld, storage: Hanging) -> None:
    """``asyncio.timeout`` raises its own error, and the session goes on."""
    storage.hangs = {"save"}

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(Document(content=b"x"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await session.flush()
            assert not storage.go_on.is_set()
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await session.rollback()
            session.add(Document(content=None, report=b"other"))
            await session.commit()

    hung.run(journey)
    storage.go_on.set()
    settle(storage)
    hung.check(b"other")


def test_a_failed_flush_that_is_cancelled_while_it_deletes_leaves_pending_values(
    hung: AsyncWorld, storage: Hanging
) -> None:
    """The first file was stored, the second failed, and deleting the first one hangs: no row may name it later."""
    storage.hangs = {"delete"}
    documents = [Document(content=b"first"), Document(content=b"second")]

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add_all(documents)
            storage.fails_after = 1
            await _cancelled(storage, session.commit())
            assert all(each.content is not None and each.content.pending for each in documents)
            storage.fails_after = None
            storage.hangs = set()
            await session.commit()
        storage.go_on.set()

    hung.run(journey)
    settle(storage)
    hung.check(b"first", b"second")


def test_the_variants_of_an_image_do_not_begin_after_a_cancellation(hung: AsyncWorld, storage: Hanging) -> None:
    """The original hangs; what its thread would store after it is not stored."""
    picture = io.BytesIO()
    Image.new("RGB", (300, 200), "red").save(picture, "PNG")
    storage.hangs = {"save"}

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(Pictured(photo=picture.getvalue()))
            await _cancelled(storage, session.commit())
            begun = storage.saves
            storage.go_on.set()
            await asyncio.to_thread(settle, storage)
            assert storage.saves == begun
            assert hung.stored() == set()
            await session.commit()

    hung.run(journey)
    settle(storage)
    assert len(hung.stored()) == 3
    assert set(hung.rows()) == hung.stored()


def test_a_statement_that_is_cancelled_leaves_nothing(hung: AsyncWorld, storage: Hanging) -> None:
    storage.hangs = {"save"}

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            rows = [{"name": name, "content": name.encode()} for name in "abc"]
            await _cancelled(storage, session.execute(insert(Document), rows))
            await session.rollback()

    hung.run(journey)
    storage.go_on.set()
    settle(storage)
    hung.check()


@pytest.mark.parametrize("where", ["open", "save", "close"])
def test_a_direct_upload_whose_adoption_is_cancelled_can_be_adopted_again(
    hung: AsyncWorld, storage: Hanging, where: str
) -> None:
    """While it is opened, copied, or closed: it is closed when that has ended, and not before."""
    DepotManager.configure_signing("k" * 32)
    DepotManager.make_asgi_middleware()
    ticket = upload_ticket()
    sent = ticket.url.partition("?")[0].rpartition("/")[2]
    storage.create(b"sent", file_id=sent)
    storage.saves = 0
    storage.hangs = {where}

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(Document(content=ticket.token))
            await _cancelled(storage, session.commit())
            storage.go_on.set()
            await session.commit()

    hung.run(journey)
    settle(storage)
    hung.check(b"sent")


def test_a_flush_may_be_cancelled_while_a_validator_reads(hung: AsyncWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content is in use until the validator has ended."""
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(DEADLINE)

    monkeypatch.setattr(Checked, "check", staticmethod(wait))

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(Checked(content=UploadedFile(io.BytesIO(b"hello"), filename="a.txt")))
            task = asyncio.create_task(session.commit())
            assert await asyncio.to_thread(begun.wait, DEADLINE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, DEADLINE)
            assert not go_on.is_set()
            go_on.set()
            await session.commit()

    hung.run(journey)
    hung.check(b"hello")


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_an_end_that_is_cancelled_while_it_deletes_does_not_wait_and_deletes_all_the_same(
    hung: AsyncWorld, storage: Hanging, end: str
) -> None:
    """The transaction has ended as it was told to."""

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            document = Document(content=b"old")
            session.add(document)
            await session.commit()
            document.content = UploadedFile(b"new")
            await session.flush()
            storage.hangs = {"delete"}
            await _cancelled(storage, session.commit() if end == "commit" else session.rollback())
        assert len(hung.stored()) == 2
        storage.go_on.set()
        await asyncio.to_thread(settle, storage)

    hung.run(journey)
    hung.check(b"new" if end == "commit" else b"old")


def test_a_depot_that_hangs_stops_no_flush_of_another_one(hung: AsyncWorld, storage: Hanging) -> None:
    """Forty flushes hang in the default depot; one stores, replaces and deletes in the archive."""
    storage.hangs = {"save"}

    async def hang(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            session.add(Document(content=b"x"))
            await session.flush()

    async def journey(engine: AsyncEngine) -> None:
        hanging = [asyncio.create_task(hang(engine)) for _ in range(40)]
        assert await asyncio.to_thread(storage.begun.wait, DEADLINE)
        async with asyncio.timeout(DEADLINE), AsyncSession(engine, expire_on_commit=False) as session:
            document = Document(report=b"old")
            session.add(document)
            await session.commit()
            document.report = UploadedFile(b"new")
            await session.commit()
        for task in hanging:
            task.cancel()
        done, waiting = await asyncio.wait(hanging, timeout=DEADLINE)
        assert (len(done), waiting) == (40, set())

    hung.run(journey)
    storage.go_on.set()
    settle(storage)
    assert storage.saves <= 32
    hung.check(b"new")


class Opened(MemoryFileStorage):
    """Knows which files are open."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: list[io.BytesIO] = []

    def _open(self, file_id: str) -> StoredFile:
        info, data = self._find(file_id)

        def opened() -> BinaryIO:
            self.streams.append(io.BytesIO(data))
            return self.streams[-1]

        return StoredFile(info, opened)


@types.coroutine
def _stepping(work: Coroutine[Any, Any, None], number: int, late: bool) -> Generator[Any, Any, int]:
    """Do some work, cancel it at one of its waits for a storage, and return how many there were otherwise.

    Waits for the database do not count: a driver may leave its connection, and so its locks, to the garbage collector.
    If ``late``, the cancellation comes when the awaited result is there already, and the task does not know yet.
    """
    step, resume = 0, partial(work.send, None)
    task = asyncio.current_task()
    assert task is not None
    while True:
        try:
            future = resume()
        except StopIteration:
            return step
        step += _waits_for_storage(work)
        if step != number or task.cancelling():
            pass
        elif late:
            future.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()
        try:
            value = yield future
        except BaseException as error:
            resume = partial(work.throw, error)
        else:
            resume = partial(work.send, value)


def _waits_for_storage(work: Any) -> bool:
    while work is not None:
        if getattr(work, "cr_code", None) is ended.__code__:
            return True
        work = getattr(work, "cr_await", None)
    return False


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("action", ["attach", "replace", "delete", "adopt", "copy"])
def test_a_task_may_be_cancelled_at_every_await(engine: Engine, action: str, late: bool) -> None:
    """One await later each time, until there are no more: rows and files always match afterwards."""
    with temporary_depots():
        depot = Opened()
        depots = {
            "default": DepotManager.configure("default", depot),
            "archive": DepotManager.configure("archive", MemoryFileStorage()),
        }
        DepotManager.configure_signing("k" * 32)
        DepotManager.make_asgi_middleware()
        world = AsyncWorld(engine, depots)

        async def main(asynchronous: AsyncEngine) -> None:
            number = 1
            while await _is_cancelled_at(world, asynchronous, action, number, late):
                number += 1
            assert number > 2

        world.run(main)
    empty(engine, Base.metadata)


async def _is_cancelled_at(world: AsyncWorld, engine: AsyncEngine, action: str, number: int, late: bool) -> bool:
    """Do something, cancel it at one await, check rows and files, and return whether it was cancelled."""
    depot = world.depots["default"]
    assert isinstance(depot, Opened)
    with world.session() as session:
        session.add(Document(id=1, content=b"old", report=b"report"))
        session.commit()
    ticket = upload_ticket()
    sent = ticket.url.partition("?")[0].rpartition("/")[2]
    if action == "adopt":
        depot.create(b"sent", file_id=sent)

    async def act() -> None:
        async with AsyncSession(engine) as session:
            document = await session.get_one(Document, 1)
            if action == "delete":
                await session.delete(document)
            elif action == "replace":
                document.content = UploadedFile(b"new")
                document.report = UploadedFile(b"new report")
            elif action == "adopt":
                document.content = ticket.token  # type: ignore[assignment]  # which the column takes
            elif action == "copy":
                session.add(Document(id=2, content=document.content, report=document.content))
            else:
                session.add(Document(id=2, content=b"second", report=b"second report"))
            await session.commit()

    async def stepping() -> int:
        return await _stepping(act(), number, late)

    task = asyncio.create_task(stepping())
    done, _ = await asyncio.wait([task], timeout=DEADLINE)
    assert done
    reached = task.cancelled() or task.result() >= number
    await asyncio.to_thread(settle, *world.depots.values())
    depot.delete(sent)
    assert set(world.rows()) == world.stored(), f"cancelled at await {number}"
    assert all(stream.closed for stream in depot.streams)
    with world.session() as session:
        for document in session.query(Document):
            session.delete(document)
        session.commit()
    assert world.stored() == set()
    return reached
