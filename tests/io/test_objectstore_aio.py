"""ObjectStoreStorage, awaited: on the event loop itself, in no thread of Python's."""

from __future__ import annotations

import asyncio
import contextvars
import io
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from depot_lite.concurrency import greenlets
from depot_lite.concurrency.greenlets import Greenlets, in_greenlet, wait_for
from depot_lite.errors import InvalidContent, InvalidFileId, StorageFailed, StoredFileNotFound
from depot_lite.io.content import FileIntent
from depot_lite.io.fileid import new_file_id
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.io.objectstore import ObjectStoreStorage
from depot_lite.testing import StorageContract, some_bytes
from tests.io.azurite import Azurite, azurite

MB = 1024 * 1024
T = TypeVar("T")


class NoThreads(Executor):
    """Does nothing for nobody."""

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        raise AssertionError("a thread was used")


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Refuse every thread that a storage or an event loop would work in, unless a test is about them."""
    if "threads" not in request.fixturenames:
        monkeypatch.setattr("depot_lite.concurrency.pools.ThreadPool.submit", NoThreads().submit)
        monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", NoThreads().submit)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads in which something was done, in order."""
    used = []

    async def finished(call: Callable[[], T]) -> T:
        def named() -> T:
            used.append(threading.current_thread().name)
            return call()

        return await asyncio.to_thread(named)

    monkeypatch.setattr(greenlets, "finished", finished)
    return used


@pytest.fixture(scope="module")
def azure() -> Iterator[Azurite]:
    with azurite() as made:
        yield made


@pytest.fixture(params=["memory", "folder", "azure"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStoreStorage]:
    if request.param == "azure":
        made: Azurite = request.getfixturevalue("azure")
        with made.container() as container:
            yield made.storage(container, prefix="media", part_size=5 * MB)
    else:
        url = "memory://" if request.param == "memory" else f"file://{tmp_path}"
        yield ObjectStoreStorage(url, part_size=5 * MB)


# --- the contract, awaited --------------------------------------------------------------------------------------------


def on_a_loop(test: Callable[..., None]) -> Callable[..., None]:
    """Return a test that runs as code of a storage does under an event loop."""

    def run(self: Any, tmp_path: Path) -> None:
        asyncio.run(Greenlets().run(partial(test, self, tmp_path)))

    run.__doc__ = test.__doc__
    return run


class TestAwaited(StorageContract):
    """The storage's work is awaited in these tests, except in those that start threads, which are synchronous."""

    def make_storage(self, tmp_path: Path) -> ObjectStoreStorage:
        assert in_greenlet(), "this is no test of awaiting"
        return ObjectStoreStorage("memory://", "media", part_size=5 * MB)


for _name in [each for each in dir(StorageContract) if each.startswith("test_")]:
    setattr(TestAwaited, _name, on_a_loop(getattr(StorageContract, _name)))


@pytest.fixture(autouse=True)
def _sources_on_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read files and streams at once in the contract, some of whose contents are such."""
    if request.cls is TestAwaited:
        monkeypatch.setattr("depot_lite.io.objectstore.run_blocking", lambda call: call())


# --- the methods ------------------------------------------------------------------------------------------------------


def test_every_method_can_be_awaited(storage: ObjectStoreStorage) -> None:
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


def test_a_stored_file_is_read_and_sought_through(storage: ObjectStoreStorage) -> None:
    data = some_bytes(3 * MB)

    async def main() -> None:
        file_id = await storage.aio.create(data, "b.bin")
        async with await storage.aio.get(file_id) as stored:
            assert (stored.filename, stored.content_length) == ("b.bin", len(data))
            assert await stored.read(3) == data[:3]
            assert await stored.seek(2 * MB) == 2 * MB
            assert b"".join([chunk async for chunk in stored]) == data[2 * MB :]
            await stored.seek(5)
            assert await stored.read(5) == data[5:10]

    asyncio.run(main())


async def _chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


@pytest.mark.parametrize("size", [10, 6 * MB])
def test_an_asynchronous_iterator_is_stored_as_it_comes(storage: ObjectStoreStorage, size: int) -> None:
    """Small or in parts; a name may be given with it."""

    async def main() -> None:
        chunks = _chunks(b"%PDF-1.7 ", b"", b"x" * size, b"end")
        file_id = await storage.aio.create(FileIntent(chunks, "a.pdf"))
        assert await storage.aio.read(file_id) == b"%PDF-1.7 " + b"x" * size + b"end"
        stored = await storage.aio.get(file_id)
        assert (stored.content_type, stored.filename) == ("application/pdf", "a.pdf")
        await stored.aclose()

    asyncio.run(main())


def test_what_is_in_memory_needs_no_thread(storage: ObjectStoreStorage) -> None:
    """Bytes, files in memory and spooled uploads that did not grow."""
    with tempfile.SpooledTemporaryFile(MB) as spooled:
        spooled.write(b"spooled")

        async def main() -> None:
            for content in (b"spooled", bytearray(b"spooled"), io.BytesIO(b"spooled"), spooled):
                assert await storage.aio.read(await storage.aio.create(content)) == b"spooled"

        asyncio.run(main())


def test_ids_and_content_are_checked_as_they_are_without_await(storage: ObjectStoreStorage) -> None:
    async def main() -> None:
        depot = storage.aio
        for attempt in (
            depot.get("../x"),
            depot.delete("x"),
            depot.delete_many(["x"]),
            depot.exists("x"),
            depot.copy("x"),
            depot.create(b"", file_id="x"),
            depot.replace("x", b""),
        ):
            with pytest.raises(InvalidFileId):
                await attempt
        with pytest.raises(InvalidContent):
            await depot.create("text")
        taken = await depot.create(b"first")
        with pytest.raises(StorageFailed, match="there is a file already"):
            await depot.create(b"second", file_id=taken)
        assert [entry async for entry in depot.list()] == [taken]

    asyncio.run(main())


def test_many_are_stored_at_the_same_time(storage: ObjectStoreStorage) -> None:
    """Each in the context of its task."""
    who: contextvars.ContextVar[int] = contextvars.ContextVar("who")
    seen: list[tuple[int, int]] = []

    class Named(io.BytesIO):
        def __init__(self, number: int) -> None:
            super().__init__(some_bytes(200_000, number))
            self.number = number

        def read(self, size: int | None = -1, /) -> bytes:
            seen.append((self.number, who.get()))
            return super().read(size)

    async def store(number: int) -> bytes:
        who.set(number)
        return await storage.aio.read(await storage.aio.create(Named(number)))

    async def main() -> list[bytes]:
        return await asyncio.gather(*map(store, range(20)))

    assert asyncio.run(main()) == [some_bytes(200_000, number) for number in range(20)]
    assert all(number == found for number, found in seen)


def test_the_event_loop_goes_on_while_the_store_works(azure: Azurite) -> None:
    """Twenty uploads are under way at once, and something else runs meanwhile."""

    async def main(storage: ObjectStoreStorage) -> int:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        turning = asyncio.ensure_future(turn())
        await asyncio.gather(*(storage.aio.create(some_bytes(100_000, number)) for number in range(20)))
        turning.cancel()
        return turns

    with azure.container() as container:
        assert asyncio.run(main(azure.storage(container))) > 20


# --- what blocks ------------------------------------------------------------------------------------------------------


class Stream(io.RawIOBase):
    """Bytes that come once, and say in which thread they were wanted."""

    def __init__(self, data: bytes, wanted: list[threading.Thread]) -> None:
        self._data = io.BytesIO(data)
        self._wanted = wanted

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self._wanted.append(threading.current_thread())
        return self._data.readinto(buffer)


def test_what_may_block_is_read_in_threads(threads: list[str], tmp_path: Path) -> None:
    """A stream, a file on a disk and a file of another storage; the loop's own thread waits for none of them."""
    storage, other = ObjectStoreStorage("memory://", part_size=5 * MB), MemoryFileStorage()
    data, wanted = some_bytes(6 * MB), cast(list[threading.Thread], [])
    path = tmp_path / "a.bin"
    path.write_bytes(data)

    async def main() -> None:
        with path.open("rb") as file, other.get(other.create(data)) as stored:
            for content in (path, file, stored, Stream(data, wanted)):
                threads.clear()
                assert await storage.aio.read(await storage.aio.create(content)) == data
                assert threads, f"{content} was read on the event loop"

    asyncio.run(main())
    assert wanted
    assert threading.main_thread() not in wanted


# --- failures and cancellations ---------------------------------------------------------------------------------------


def test_an_iterator_that_fails_leaves_nothing(storage: ObjectStoreStorage) -> None:
    async def broken(size: int) -> AsyncIterator[bytes]:
        yield b"x" * size
        raise ConnectionResetError("the client has gone")

    async def main() -> None:
        for size in (10, 11 * MB):
            with pytest.raises(InvalidContent, match="the client has gone"):
                await storage.aio.create(broken(size))

    asyncio.run(main())
    assert list(storage.list()) == []


def test_a_create_that_was_cancelled_leaves_no_file(storage: ObjectStoreStorage) -> None:
    """Whenever the cancellation comes: the loop does not end before the upload has ended and was deleted."""

    async def main(turns: int) -> None:
        task = asyncio.create_task(storage.aio.create(some_bytes(100_000)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for turns in (0, 1, 2, 3):
        asyncio.run(main(turns))
    assert list(storage.list()) == []


def test_a_cancelled_create_does_not_wait_for_a_stream_that_never_ends(storage: ObjectStoreStorage) -> None:
    async def main(size: int) -> None:
        asked = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            yield b"x" * size
            asked.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(storage.aio.create(endless()))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for size in (10, 11 * MB):
        asyncio.run(main(size))
    assert list(storage.list()) == []


def test_a_failure_of_the_store_is_ours(azure: Azurite) -> None:
    async def main() -> None:
        depot = azure.storage("no-such-container", part_size=5 * MB).aio
        for attempt in (
            depot.create(b"x"),
            depot.create(some_bytes(6 * MB)),
            depot.get(new_file_id()),
            depot.delete(new_file_id()),
            anext(depot.list()),
        ):
            with pytest.raises(StorageFailed, match="no such bucket or container"):
                await attempt

    asyncio.run(main())


# --- greenlets --------------------------------------------------------------------------------------------------------


def test_synchronous_code_awaits_and_raises() -> None:
    """Results of awaiting come back, and errors too, through the code's own handlers."""
    assert not in_greenlet()

    async def answer(number: int) -> int:
        await asyncio.sleep(0)
        if number < 0:
            raise ValueError(number)
        return number

    def work() -> list[Any]:
        assert in_greenlet()
        found: list[Any] = [wait_for(answer(1))]
        try:
            wait_for(answer(-1))
        except ValueError as error:
            found.append(error.args)
        return [*found, wait_for(answer(2))]

    assert asyncio.run(Greenlets().run(work)) == [1, (-1,), 2]

    def fail() -> None:
        wait_for(answer(-2))

    with pytest.raises(ValueError, match="-2"):
        asyncio.run(Greenlets().run(fail))


def test_a_thread_started_from_it_does_not_await(threads: list[str]) -> None:
    """It has no loop, and blocks as threads do."""
    storage = ObjectStoreStorage("memory://")

    async def main() -> bytes:
        file_id = await storage.aio.create(b"x")
        return await Greenlets().run(lambda: greenlets.run_blocking(lambda: storage.get(file_id).read()))

    assert asyncio.run(main()) == b"x"
    assert len(threads) == 1
