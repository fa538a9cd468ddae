"""The asynchronous interface of storages: one facade over the contract, for every backend.

For example::

    depot = DepotManager.get()
    file_id = await depot.aio.create(upload)
    async with await depot.aio.get(file_id) as stored:
        async for chunk in stored:
            ...

The work is done in threads of the storage, except by storages with a `Runner` of their own, whose work is asynchronous.
A cancellation is raised at once. An operation that waits for a thread then never begins; one in progress ends in the
background: the bytes it has read are dropped, and a file that it has created is deleted. Content may also be an
asynchronous iterator of bytes, such as the body of a request: it is streamed as it arrives, in constant memory.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from depot_lite.concurrency.threads import Closing, finished, in_thread
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

    async def run(self, call: Callable[[], T], drop: Callable[[T], object] | None = None) -> T:
        """Run ``call`` and return its result. A cancellation is raised at once.

        With ``drop``, a call that has begun then runs to its end, and ``drop`` gets its result.
        """

    async def finish(self, call: Callable[[], T]) -> T:
        """Run ``call``, in any case, and return its result. A cancellation ends the waiting."""

    def begin(self, call: Callable[[], object]) -> None:
        """Run ``call``, in any case, and wait for nothing."""

    def starter(self) -> Callable[[Coroutine[Any, Any, bytes]], RunningCoroutine]:
        """Return a function by which code in `run` starts a coroutine on this event loop."""


class Threads:
    """A runner that uses threads."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def run(self, call: Callable[[], T], drop: Callable[[T], object] | None = None) -> T:
        """Run ``call`` in a thread and return its result."""
        return await in_thread(call, self._executor, drop)

    async def finish(self, call: Callable[[], T]) -> T:
        """Run ``call`` in a thread, in any case, and return its result."""
        return await finished(call, self._executor)

    def begin(self, call: Callable[[], object]) -> None:
        """Run ``call`` in a thread."""
        self._executor.submit(contextvars.copy_context().run, call)

    def starter(self) -> Callable[[Coroutine[Any, Any, bytes]], RunningCoroutine]:
        """Return a function that starts a coroutine on this event loop from another thread."""
        return partial(asyncio.run_coroutine_threadsafe, loop=asyncio.get_running_loop())


class AsyncStoredFile:
    """An asynchronous `StoredFile`: its description is available at once, reading, seeking and closing are awaited.

    After a cancellation of `read` or `seek`, whose work may go on, the file can only be closed.
    """

    def __init__(self, stored: StoredFile, runner: Runner) -> None:
        self._stored = stored
        self._runner = runner
        self._closing = Closing(stored.close)
        self._cancelled = False

    async def _use(self, call: Callable[[], T]) -> T:
        if self._cancelled:
            raise ValueError("the position is unknown, because reading or seeking was cancelled: open the file again")
        try:
            return await self._runner.run(partial(self._closing.use, call))
        except asyncio.CancelledError:
            self._cancelled = True
            raise

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
        return await self._use(partial(self._stored.read, size))

    async def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it."""
        return await self._use(partial(self._stored.seek, offset, whence))

    async def aclose(self) -> None:
        """Close the file; closing it again does nothing."""
        if self._closing.give_up():
            await self._runner.finish(self._stored.close)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the remaining bytes in chunks of at most 256 KiB."""
        while chunk := await self.read(CHUNK_SIZE):
            yield chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        if kind is None or not issubclass(kind, asyncio.CancelledError):
            await self.aclose()
        elif self._closing.give_up():  # a cancellation does not wait for the storage
            self._runner.begin(self._stored.close)


class AsyncStorage:
    """The asynchronous methods of a `FileStorage`, with the same checks, rules and exceptions.

    Args:
        runner: the way in which they run; by default in threads.
    """

    def __init__(self, storage: FileStorage, runner: Runner | None = None) -> None:
        self._storage = storage
        self._own_runner = runner

    @property
    def _reads(self) -> Runner:
        return self._own_runner or Threads(self._storage.executor or self._storage.thread_pools.reading)

    @property
    def _stores(self) -> Runner:
        return self._own_runner or Threads(self._storage.thread_pools.storing)

    async def create(
        self,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
        *,
        file_id: str | None = None,
    ) -> str:
        """Store a new file and return its id; ``content`` may also be an asynchronous iterator of bytes.

        If it is cancelled in the middle, the file is deleted once it is stored.
        """
        storage = self._storage

        def create(readable: object) -> str:
            return storage.create(readable, filename, content_type, file_id=file_id)

        return await self._storing(content, create, self._discard)

    def _discard(self, file_id: str) -> None:
        try:
            self._storage.delete(file_id)
        except Exception as error:  # the task was cancelled, and nobody waits for this one
            logger.error("could not delete %s, which maintenance will find: %s", file_id, error)

    async def replace(
        self,
        file_or_id: StoredFile | str,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        """Replace the content of an existing file and return its id, which stays the same.

        If it is cancelled in the middle, the content may be replaced anyway.
        """
        storage = self._storage

        def replace(readable: object) -> str:
            return storage.replace(file_or_id, readable, filename, content_type)

        return await self._storing(content, replace, _keep)

    async def receive(self, chunks: AsyncIterator[bytes], store: Callable[[object], T]) -> T:
        """Run ``store``, a function that stores content, in a thread that may wait for the chunks of a client."""
        return await _storing_chunks(chunks, store, Threads(self._storage.thread_pools.receiving), _keep)

    async def _storing(self, content: object, store: Callable[[object], T], drop: Callable[[T], object]) -> T:
        intent = content.fileinfo if isinstance(content, FileIntent) else None
        source = content if intent is None else intent[0]
        if not hasattr(source, "__aiter__") or hasattr(source, "read"):
            return await self._stores.run(partial(store, content), drop)

        def store_stream(stream: object) -> T:
            return store(stream if intent is None else FileIntent(stream, *intent[1:]))

        runner = self._own_runner or Threads(self._storage.thread_pools.receiving)
        return await _storing_chunks(aiter(source), store_stream, runner, drop)

    async def get(self, file_or_id: StoredFile | str) -> AsyncStoredFile:
        """Return the stored file."""
        runner = self._reads
        return AsyncStoredFile(await runner.run(partial(self._storage.get, file_or_id), _close), runner)

    async def read(self, file_or_id: StoredFile | str) -> bytes:
        """Return the whole content of a file."""

        def read() -> bytes:
            with self._storage.get(file_or_id) as stored:
                return stored.read()

        return await self._reads.run(read)

    async def delete(self, file_or_id: StoredFile | str) -> None:
        """Delete a file; a missing file is not an error."""
        await self._stores.run(partial(self._storage.delete, file_or_id))

    async def delete_many(self, files_or_ids: Iterable[StoredFile | str]) -> dict[str, Exception]:
        """Delete files and return the failures: id -> error."""
        return await self._stores.run(partial(self._storage.delete_many, list(files_or_ids)))

    async def exists(self, file_or_id: StoredFile | str) -> bool:
        """Return whether the file exists."""
        return await self._reads.run(partial(self._storage.exists, file_or_id))

    async def copy(self, file_or_id: StoredFile | str, *, file_id: str | None = None) -> str:
        """Store a second, independent file with the same content, name and type; return its id.

        If it is cancelled in the middle, the copy is deleted once it is stored.
        """
        return await self._stores.run(partial(self._storage.copy, file_or_id, file_id=file_id), self._discard)

    async def list(self) -> AsyncIterator[FileEntry]:
        """Yield the id of every file, lazily."""
        entries, runner = iter(self._storage.list()), self._reads
        while page := await runner.run(lambda: [*islice(entries, _PAGE)]):
            for entry in page:
                yield entry


def _close(stored: StoredFile) -> None:
    stored.close()


def _keep(stored: object) -> None:
    """Drop a result that leaves nothing to be undone."""


async def _storing_chunks(
    chunks: AsyncIterator[bytes], store: Callable[[object], T], runner: Runner, drop: Callable[[T], object]
) -> T:
    stream = AsyncChunks(chunks, runner.starter())
    try:
        return await runner.run(partial(store, stream), drop)
    finally:
        stream.abandon()


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
