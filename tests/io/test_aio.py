"""Storages, awaited."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from starlette.datastructures import Headers, UploadFile

from depot_lite.concurrency.greenlets import Greenlets
from depot_lite.errors import InvalidContent, StoredFileNotFound
from depot_lite.io.aio import AsyncStorage
from depot_lite.io.content import Content, FileIntent
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileInfo, FileStorage, StoredFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from tests.support.settling import DEADLINE, settle


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> FileStorage:
    """Each storage that needs no server."""
    return MemoryFileStorage() if request.param == "memory" else LocalFileStorage(tmp_path, durable=False)


def test_every_method_of_the_contract_can_be_awaited(storage: FileStorage) -> None:
    """Create, get, read, replace, copy, exists, list, delete and delete_many work as they do without ``await``."""

    async def main() -> None:
        depot = storage.aio
        file_id = await depot.create(b"hello", "hello.txt")
        assert await depot.read(file_id) == b"hello"
        assert await depot.replace(file_id, b"again") == file_id
        copied = await depot.copy(file_id)
        assert await depot.exists(copied)
        assert {entry async for entry in depot.list()} == {file_id, copied}
        await depot.delete(copied)
        assert await depot.delete_many([file_id, copied]) == {}
        assert [entry async for entry in depot.list()] == []
        with pytest.raises(StoredFileNotFound):
            await depot.get(file_id)

    asyncio.run(main())


def test_a_stored_file_can_be_read_seeked_and_iterated(storage: FileStorage) -> None:
    """Its facts are known at once; its bytes are awaited."""
    data = bytes(range(256)) * 3000

    async def main() -> None:
        file_id = await storage.aio.create(data, "b.bin")
        async with await storage.aio.get(file_id) as stored:
            assert (stored.filename, stored.content_length, stored.file_id) == ("b.bin", len(data), file_id)
            with storage.get(file_id) as file:
                known = (file.info, file.content_type, file.last_modified, file.checksum, file.local_path)
            assert known == (
                *(stored.info, stored.content_type, stored.last_modified, stored.checksum, stored.local_path),
            )
            assert stored.public_url is None
            assert await stored.read(3) == data[:3]
            assert await stored.seek(1000) == 1000
            assert b"".join([chunk async for chunk in stored]) == data[1000:]
        with pytest.raises(ValueError, match="closed"):
            await stored.read()

    asyncio.run(main())


def test_listing_goes_beyond_one_page() -> None:
    """Two and a half pages of entries come, each once."""
    storage = MemoryFileStorage()
    made = {storage.create(b"") for _ in range(2500)}

    async def main() -> list[str]:
        return [entry async for entry in storage.aio.list()]

    listed = asyncio.run(main())
    assert len(listed) == 2500
    assert set(listed) == made


async def _chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


def test_an_asynchronous_iterator_is_stored_as_it_comes(storage: FileStorage) -> None:
    """Empty chunks in between are no end, and a name may be given with it."""

    async def main() -> None:
        file_id = await storage.aio.create(_chunks(b"%PDF-1.7 ", b"", b"x" * 600_000, b"end"), "a.pdf")
        assert await storage.aio.read(file_id) == b"%PDF-1.7 " + b"x" * 600_000 + b"end"
        assert (await storage.aio.get(file_id)).content_type == "application/pdf"
        other = await storage.aio.create(FileIntent(_chunks(b"a,b"), "t.csv", "text/csv"))
        assert (await storage.aio.get(other)).filename == "t.csv"

    asyncio.run(main())


def test_an_upload_of_starlette_is_stored(storage: FileStorage) -> None:
    """Its ``read`` is awaited, but its file is there for a thread."""
    upload = UploadFile(io.BytesIO(b"hello"), filename="h.txt", headers=Headers({"content-type": "text/plain"}))

    async def main() -> None:
        file_id = await storage.aio.create(upload)
        assert await storage.aio.read(file_id) == b"hello"

    asyncio.run(main())


def test_an_iterator_that_fails_leaves_nothing(storage: FileStorage) -> None:
    """The error comes out as one of the content, and chained."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 500_000
        raise ConnectionResetError("the client has gone")

    async def main() -> None:
        with pytest.raises(InvalidContent, match="the client has gone"):
            await storage.aio.create(broken())

    asyncio.run(main())
    assert list(storage.list()) == []


def test_text_from_an_iterator_is_refused(storage: FileStorage) -> None:
    """Only bytes can be stored."""

    async def text() -> AsyncIterator[str]:
        yield "hello"

    async def main() -> None:
        with pytest.raises(InvalidContent, match="str"):
            await storage.aio.create(text())

    asyncio.run(main())


class _Slow(MemoryFileStorage):
    """Waits before it stores, until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.saved = 0
        self.on_save: Callable[[], object] = lambda: None

    def _wait(self) -> None:
        self.begun.set()
        self.on_save()
        assert self.go_on.wait(DEADLINE)
        self.saved += 1

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self._wait()
        return super()._save(file_id, content)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        self._wait()
        return super()._copy(source_id, file_id)


def test_a_create_that_was_cancelled_leaves_no_file() -> None:
    """The cancellation is raised at once; a file that the thread stores afterwards is deleted."""
    storage = _Slow()

    async def main() -> None:
        task = asyncio.create_task(storage.aio.create(b"hello"))
        await asyncio.to_thread(storage.begun.wait, DEADLINE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)
        assert list(storage.list()) == []
        storage.go_on.set()
        await asyncio.to_thread(settle, storage)

    asyncio.run(main())
    assert storage.saved == 1
    assert list(storage.list()) == []


def test_a_copy_that_was_cancelled_leaves_no_file() -> None:
    storage = _Slow()
    storage.go_on.set()
    original = storage.create(b"hello")
    storage.begun.clear()
    storage.go_on.clear()

    async def main() -> None:
        task = asyncio.create_task(storage.aio.copy(original))
        await asyncio.to_thread(storage.begun.wait, DEADLINE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)

    asyncio.run(main())
    storage.go_on.set()
    settle(storage)
    assert (storage.saved, list(storage.list())) == (2, [original])


@pytest.mark.parametrize("steps", range(12))
def test_a_create_may_be_cancelled_at_any_step(storage: FileStorage, steps: int) -> None:
    """With content at hand, and with content that comes in chunks. Either there is a file and an id, or neither."""

    async def create(content: object) -> str | None:
        task = asyncio.create_task(storage.aio.create(content))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        try:
            return await asyncio.wait_for(task, DEADLINE)
        except asyncio.CancelledError:
            return None

    async def main() -> set[str | None]:
        return {await create(b"hello"), await create(_chunks(b"x" * 300_000, b"y" * 300_000))}

    made = asyncio.run(main())
    settle(storage)
    assert set(storage.list()) == made - {None}


def test_a_create_in_the_queue_that_is_cancelled_never_begins() -> None:
    """Forty calls of which thirty-two hang: all of them return at once, and eight have stored nothing."""
    storage = _Slow()
    hanging = threading.Barrier(33, timeout=DEADLINE)
    storage.on_save = hanging.wait

    async def main() -> None:
        tasks = [asyncio.create_task(storage.aio.create(b"%d" % number)) for number in range(40)]
        await asyncio.to_thread(hanging.wait)
        for task in tasks:
            task.cancel()
        done, waiting = await asyncio.wait(tasks, timeout=DEADLINE)
        assert (len(done), waiting) == (40, set())
        assert all(task.cancelled() for task in tasks)

    asyncio.run(main())
    storage.go_on.set()
    settle(storage)
    assert storage.saved == 32
    assert list(storage.list()) == []


def test_calls_that_hang_stop_no_other_storage_and_no_reading(tmp_path: Path) -> None:
    """Forty uploads to one storage hang; another one stores and reads, and the same one reads."""
    slow, other = _Slow(), LocalFileStorage(tmp_path, durable=False)
    there = super(_Slow, slow)._save(new_file_id(), Content.of(b"there")).file_id

    async def main() -> None:
        hanging = [asyncio.create_task(slow.aio.create(b"x")) for _ in range(40)]
        await asyncio.to_thread(slow.begun.wait, DEADLINE)
        async with asyncio.timeout(DEADLINE):
            assert await other.aio.read(await other.aio.create(b"hello")) == b"hello"
            assert await slow.aio.read(there) == b"there"
        slow.go_on.set()
        await asyncio.gather(*hanging)

    asyncio.run(main())


class _SlowToRead(MemoryFileStorage):
    """Its files wait before each read, until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.streams: list[io.BytesIO] = []

    def _open(self, file_id: str) -> StoredFile:
        storage = self

        class Stream(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                storage.begun.set()
                assert storage.go_on.wait(DEADLINE)
                return super().read(size)

        def opened() -> io.BytesIO:
            self.streams.append(Stream(data))
            return self.streams[-1]

        info, data = self._find(file_id)
        return StoredFile(info, opened)


def test_a_read_that_is_cancelled_returns_at_once_and_its_thread_closes_the_file() -> None:
    storage = _SlowToRead()
    file_id = storage.create(b"hello")

    async def read() -> None:
        async with await storage.aio.get(file_id) as stored:
            await stored.read()

    async def main() -> None:
        task = asyncio.create_task(read())
        await asyncio.to_thread(storage.begun.wait, DEADLINE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)
        assert not storage.streams[0].closed
        storage.go_on.set()
        await asyncio.to_thread(settle, storage)

    asyncio.run(main())
    assert storage.streams[0].closed


class _SlowToClose(MemoryFileStorage):
    """A storage whose files are closed when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on, self.closed = threading.Event(), threading.Event()
        self.opened = list[StoredFile]()

    def _open(self, file_id: str) -> StoredFile:
        self.opened.append(super()._open(file_id))
        self.opened[0].close = self._close  # type: ignore[method-assign]
        return self.opened[0]

    def _close(self) -> None:
        assert self.go_on.wait(DEADLINE)
        self.closed.set()


@pytest.mark.parametrize("runner", [None, Greenlets()])
def test_a_cancellation_does_not_wait_until_a_file_is_closed(runner: Greenlets | None) -> None:
    """With greenlets it is closed on the event loop itself, once the task has ended."""
    storage = _SlowToClose()
    file_id = storage.create(b"x")
    if runner is not None:
        storage.go_on.set()

    async def use(opened: asyncio.Event) -> None:
        async with await AsyncStorage(storage, runner).get(file_id):
            opened.set()
            await asyncio.Event().wait()

    async def main() -> None:
        opened = asyncio.Event()
        task = asyncio.create_task(use(opened))
        await opened.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)
        assert runner is not None or not storage.closed.is_set()
        storage.go_on.set()
        assert await asyncio.to_thread(storage.closed.wait, DEADLINE)

    asyncio.run(main())


def test_a_file_whose_reading_was_cancelled_cannot_be_read_on() -> None:
    """Bytes would be missing, as the read that was cancelled gets some."""
    storage = _SlowToRead()
    file_id = storage.create(b"hello")

    async def main() -> None:
        stored = await storage.aio.get(file_id)
        task = asyncio.create_task(stored.read(2))
        await asyncio.to_thread(storage.begun.wait, DEADLINE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        storage.go_on.set()
        await asyncio.to_thread(settle, storage)
        with pytest.raises(ValueError, match="cancelled"):
            await stored.read(2)
        assert not storage.streams[0].closed
        await stored.aclose()

    asyncio.run(main())
    assert storage.streams[0].closed


def test_a_cancelled_create_does_not_wait_for_a_stream_that_never_ends(storage: FileStorage) -> None:
    """The stream is given up, which makes the storage give up too."""
    asked = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 500_000
        asked.set()
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(storage.aio.create(endless()))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    settle(storage)
    assert list(storage.list()) == []


def test_the_event_loop_goes_on_while_a_storage_works() -> None:
    """Another task runs, and only it lets the storage end."""
    storage = _Slow()

    async def other() -> None:
        await asyncio.to_thread(storage.begun.wait, DEADLINE)
        storage.go_on.set()

    async def main() -> None:
        await asyncio.gather(storage.aio.create(b"hello"), other())

    asyncio.run(main())
    assert len(list(storage.list())) == 1
