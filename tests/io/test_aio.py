"""Storages, awaited."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers, UploadFile

from depot_lite.errors import InvalidContent, StoredFileNotFound
from depot_lite.io.content import Content, FileIntent
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> FileStorage:
    """Each storage that needs no server."""
    return MemoryFileStorage() if request.param == "memory" else LocalFileStorage(tmp_path, durable=False)


def test_every_method_of_the_contract_can_be_awaited(storage: FileStorage) -> None:
    """Create, get, read, replace, copy, exists, list, delete and delete_many do what they do without ``await``."""

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
    """What is known of it is known at once; its bytes are awaited."""
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

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self.begun.set()
        self.go_on.wait(20)
        return super()._save(file_id, content)


def test_a_create_that_was_cancelled_leaves_no_file() -> None:
    """The thread comes to its end first, then what it stored is deleted."""
    storage = _Slow()

    async def main() -> None:
        task = asyncio.create_task(storage.aio.create(b"hello"))
        await asyncio.to_thread(storage.begun.wait, 20)
        task.cancel()
        storage.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert list(storage.list()) == []


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
    assert list(storage.list()) == []


def test_the_event_loop_goes_on_while_a_storage_works() -> None:
    """Another task runs, and only it lets the storage end."""
    storage = _Slow()

    async def other() -> None:
        await asyncio.to_thread(storage.begun.wait, 20)
        storage.go_on.set()

    async def main() -> None:
        await asyncio.gather(storage.aio.create(b"hello"), other())

    asyncio.run(main())
    assert len(list(storage.list())) == 1
