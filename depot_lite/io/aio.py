"""The asynchronous interface of storages: one facade over the contract, for every backend.

For example::

    depot = DepotManager.get()
    file_id = await depot.aio.create(upload)
    async with await depot.aio.get(file_id) as stored:
        async for chunk in stored:
            ...

The work is done in threads, except by storages with a `Runner` of their own, whose work is asynchronous. A cancelled
task waits for the operation in progress; a file whose ``create`` was cancelled is deleted again. Content may also be an
asynchronous iterator of bytes, such as the body of a request: it is streamed as it arrives, in constant memory.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from depot_lite.concurrency.threads import in_thread, run_to_end
from depot_lite.errors import InvalidContent
from depot_lite.io.content import CHUNK_SIZE, FileIntent

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from depot_lite.io.interfaces import FileStorage
    from depot_lite.io.stored import FileEntry, FileInfo, StoredFile

logger: Final = logging.getLogger("depot_lite")

T = TypeVar("T")

# The number of entries of a listing that are read per call in a thread.
_PAGE: Final = 1000


class RunningCoroutine(Protocol):
    """A coroutine that runs on the event loop, for which synchronous code waits."""

    def result(self) -> bytes:
        """Wait for the result and return it."""

    def cancel(self) -> object:
        """Cancel the coroutine."""


class Runner(Protocol):
    """The way in which synchronous code of a storage runs without blocking the event loop."""

    async def run(self, call: Callable[[], T]) -> T:
        """Run ``call`` to its end and return its result; a cancellation is raised afterwards."""

    def starter(self) -> Callable[[Coroutine[Any, Any, bytes]], RunningCoroutine]:
        """Return a function by which code in `run` starts a coroutine on this event loop."""


class Threads:
    """A runner that uses the threads of a storage."""

    def __init__(self, storage: FileStorage) -> None:
        self._storage = storage

    async def run(self, call: Callable[[], T]) -> T:
        """Run ``call`` in a thread and return its result."""
        return await in_thread(call, self._storage.executor)

    def starter(self) -> Callable[[Coroutine[Any, Any, bytes]], RunningCoroutine]:
        """Return a function that starts a coroutine on this event loop from another thread."""
        return partial(asyncio.run_coroutine_threadsafe, loop=asyncio.get_running_loop())


class AsyncStoredFile:
    """An asynchronous `StoredFile`: its description is available at once, reading, seeking and closing are awaited."""

    def __init__(self, stored: StoredFile, run: Callable[[Callable[[], Any]], Any]) -> None:
        self._stored = stored
        self._run = run

    @property
    def info(self) -> FileInfo:
        """The description of the file."""
        return self._stored.info

    @property
    def file_id(self) -> str:
        """The key of the file in its storage."""
        return self._stored.file_id

    @property
    def filename(self) -> str:
        """The name under which the file was uploaded."""
        return self._stored.filename

    @property
    def content_type(self) -> str:
        """The media type of the content."""
        return self._stored.content_type

    @property
    def content_length(self) -> int:
        """The number of bytes."""
        return self._stored.content_length

    @property
    def last_modified(self) -> datetime:
        """When the file was stored, in UTC."""
        return self._stored.last_modified

    @property
    def checksum(self) -> str | None:
        """``algorithm:hexadecimal digest``, or None if none was computed."""
        return self._stored.checksum

    @property
    def public_url(self) -> str | None:
        """The storage's own URL of the file, or None if the application has to serve it."""
        return self._stored.public_url

    @property
    def local_path(self) -> Path | None:
        """The path of the bytes on this machine, or None."""
        return self._stored.local_path

    async def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes, all remaining ones if it is negative, and ``b""`` at the end."""
        data: bytes = await self._run(partial(self._stored.read, size))
        return data

    async def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it."""
        position: int = await self._run(partial(self._stored.seek, offset, whence))
        return position

    async def aclose(self) -> None:
        """Close the file; closing it again does nothing."""
        await self._run(self._stored.close)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the remaining bytes in chunks of at most 256 KiB."""
        while chunk := await self.read(CHUNK_SIZE):
            yield chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


class AsyncStorage:
    """The asynchronous methods of a `FileStorage`, with the same checks, rules and exceptions.

    Args:
        runner: the way in which they run; by default in threads.
    """

    def __init__(self, storage: FileStorage, runner: Runner | None = None) -> None:
        self._storage = storage
        self._threads = Threads(storage)
        self._runner = runner or self._threads

    async def _run(self, call: Callable[[], T]) -> T:
        return await self._runner.run(call)

    async def create(
        self,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
        *,
        file_id: str | None = None,
    ) -> str:
        """Store a new file and return its id; ``content`` may also be an asynchronous iterator of bytes.

        A cancellation waits for the storage and leaves no file behind.
        """
        storage = self._storage
        created: list[str] = []

        def create(readable: object) -> str:
            created.append(storage.create(readable, filename, content_type, file_id=file_id))
            return created[0]

        try:
            return await self._storing(content, create, self._runner)
        except asyncio.CancelledError:
            for each in created:
                await self._discard(each)
            raise

    async def _discard(self, file_id: str) -> None:
        try:
            await self._run(partial(self._storage.delete, file_id))
        except Exception as error:  # the caller has to get the cancellation
            logger.error("could not delete %s, which maintenance will find: %s", file_id, error)

    async def replace(
        self,
        file_or_id: StoredFile | str,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        """Replace the content of an existing file and return its id, which stays the same."""
        storage = self._storage

        def replace(readable: object) -> str:
            return storage.replace(file_or_id, readable, filename, content_type)

        return await self._storing(content, replace, self._runner)

    async def storing(self, content: object, store: Callable[[object], T]) -> T:
        """Run ``store``, a function that stores content, in a thread, with content that can be read there."""
        return await self._storing(content, store, self._threads)

    async def _storing(self, content: object, store: Callable[[object], T], runner: Runner) -> T:
        intent = content.fileinfo if isinstance(content, FileIntent) else None
        source = content if intent is None else intent[0]
        if not hasattr(source, "__aiter__") or hasattr(source, "read"):
            return await runner.run(partial(store, content))
        stream = AsyncChunks(aiter(source), runner.starter())
        readable = stream if intent is None else FileIntent(stream, *intent[1:])
        try:
            return await run_to_end(asyncio.ensure_future(runner.run(partial(store, readable))), stream.abandon)
        finally:
            stream.abandon()

    async def get(self, file_or_id: StoredFile | str) -> AsyncStoredFile:
        """Return the stored file."""
        return AsyncStoredFile(await self._run(partial(self._storage.get, file_or_id)), self._run)

    async def read(self, file_or_id: StoredFile | str) -> bytes:
        """Return the whole content of a file."""

        def read() -> bytes:
            with self._storage.get(file_or_id) as stored:
                return stored.read()

        return await self._run(read)

    async def delete(self, file_or_id: StoredFile | str) -> None:
        """Delete a file; a missing file is not an error."""
        await self._run(partial(self._storage.delete, file_or_id))

    async def delete_many(self, files_or_ids: Iterable[StoredFile | str]) -> dict[str, Exception]:
        """Delete files and return the failures: id -> error."""
        return await self._run(partial(self._storage.delete_many, list(files_or_ids)))

    async def exists(self, file_or_id: StoredFile | str) -> bool:
        """Return whether the file exists."""
        return await self._run(partial(self._storage.exists, file_or_id))

    async def copy(self, file_or_id: StoredFile | str, *, file_id: str | None = None) -> str:
        """Store a second, independent file with the same content, name and type; return its id."""
        return await self._run(partial(self._storage.copy, file_or_id, file_id=file_id))

    async def list(self) -> AsyncIterator[FileEntry]:
        """Yield the id of every file, lazily."""
        entries = iter(self._storage.list())
        while page := await self._run(lambda: [*islice(entries, _PAGE)]):
            for entry in page:
                yield entry


class AsyncChunks(io.RawIOBase):
    """An asynchronous iterator as a binary file for synchronous code: reading fetches the next chunk on the loop."""

    def __init__(
        self, chunks: AsyncIterator[bytes], start: Callable[[Coroutine[Any, Any, bytes]], RunningCoroutine]
    ) -> None:
        self._chunks = chunks
        self._start = start
        self._rest = b""
        self._abandoned = False
        self._fetching: RunningCoroutine | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` and return the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = self._next()
        data, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(data)] = data
        return len(data)

    def _next(self) -> bytes:
        if self._abandoned:
            raise InvalidContent("the stream was abandoned before its end: the task that stored it was cancelled")
        self._fetching = self._start(self._fetch())
        if self._abandoned:
            self._fetching.cancel()
        return self._fetching.result()

    async def _fetch(self) -> bytes:
        async for chunk in self._chunks:
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise InvalidContent(f"the stream yields {type(chunk).__name__}, expected bytes")
            if chunk:
                return bytes(chunk)
        return b""

    def abandon(self) -> None:
        """Make reading fail at once, so that nothing waits for a stream that never ends."""
        self._abandoned = True
        if self._fetching is not None:
            with suppress(RuntimeError):  # the loop is closing
                self._fetching.cancel()
