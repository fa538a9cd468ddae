"""Limits for transfers: their number at a time, and bytes per second."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import Any, BinaryIO, Final, Generic, TypeVar, cast

from depot_lite.errors import MaintenanceStopped
from depot_lite.fields.tracking.transfers import off_loop, to_the_end
from depot_lite.io.content import CHUNK_SIZE
from depot_lite.io.interfaces import StoredFile
from depot_lite.io.options import integer

T = TypeVar("T")

#: Seconds after which a job that waits for transfers looks up, to tell its watcher and to renew leases.
BEAT: Final = 0.25

#: The default number of transfers at a time.
WORKERS: Final = 16


def iterate_off_loop(items: Iterable[T], size: int) -> Iterator[T]:
    """Yield items that are fetched in threads, ``size`` of them at a time, so that an event loop is not blocked."""
    left = iter(items)
    while some := off_loop(lambda: list(islice(left, size))):
        yield from some


class Pace:
    """A limit of ``rate`` bytes per second for all threads together; None for no limit.

    Raises:
        ConfigurationError: the rate is not a positive number of bytes.
    """

    def __init__(self, rate: int | None) -> None:
        self.rate = None if rate is None else integer("rate", rate, 1, sys.maxsize)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._free_at = 0.0

    def take(self, size: int) -> None:
        """Wait until ``size`` more bytes fit the rate.

        Raises:
            MaintenanceStopped: `stop` was called.
        """
        if self._stopped.wait(self._delay(size)):
            raise MaintenanceStopped("the transfer was cancelled because the job was stopped")

    def _delay(self, size: int) -> float:
        if self.rate is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self.rate
            return self._free_at - now

    def stop(self) -> None:
        """End all waits, present and future."""
        self._stopped.set()

    def paced(self, stored: StoredFile) -> StoredFile:
        """Return the file with reads limited to the rate; the same file without a limit.

        With a limit, bytes have to pass through this process: no server-side copies.
        """
        if self.rate is None:
            return stored
        # A fraction of a second's bytes at a time, so that threads share the rate evenly.
        chunk = min(CHUNK_SIZE, max(4096, self.rate // 16))
        return StoredFile(stored.info, lambda: cast(BinaryIO, _PacedReader(stored, self, chunk)))


class _PacedReader(io.RawIOBase):
    """A reader of a stored file that keeps to a pace; it does not close the file."""

    def __init__(self, stored: StoredFile, pace: Pace, chunk: int) -> None:
        self._stored = stored
        self._pace = pace
        self._chunk = chunk

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        parts: list[bytes] = []
        while size:
            data = self._stored.read(self._chunk if size < 0 else min(size, self._chunk))
            if not data:
                break
            self._pace.take(len(data))
            parts.append(data)
            size -= len(data) if size > 0 else 0
        return b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._stored.seek(offset, whence)

    def tell(self) -> int:
        return self._stored.tell()


class Window(Generic[T]):
    """A context manager that runs jobs in threads, a limited number at a time, with results in order of completion.

    One thread submits jobs and takes results; ``queued`` jobs wait while it does something else. On exit, jobs that
    have not started are dropped and running ones are waited for, also after an exception.

    Raises:
        ConfigurationError: the number of workers is out of range.
    """

    def __init__(self, workers: int, queued: int | None = None) -> None:
        workers = integer("workers", workers, 1, 1000)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="depot_lite.maintenance")
        self._room = workers + (workers if queued is None else queued)
        self._under_way = 0
        self._ready: deque[Future[T]] = deque()
        self._changed = threading.Condition()

    def __enter__(self) -> Window[T]:
        return self

    def __exit__(self, *error: Any) -> None:
        to_the_end(lambda: self._threads.shutdown(wait=True, cancel_futures=True))

    @property
    def has_room(self) -> bool:
        """Whether another job can be submitted before results are taken."""
        return self._under_way < self._room

    def submit(self, job: Callable[[], T]) -> None:
        """Queue a job."""
        self._under_way += 1
        self._threads.submit(copy_context().run, job).add_done_callback(self._done)

    def _done(self, future: Future[T]) -> None:
        with self._changed:
            self._ready.append(future)
            self._changed.notify()

    @property
    def is_busy(self) -> bool:
        """Whether any results are outstanding."""
        return self._under_way > 0

    def results(self, timeout: float | None = None) -> list[T]:
        """Return the results since the last call: at least one, unless the timeout passes or none is outstanding.

        Args:
            timeout: seconds to wait for the first result; None for no limit.

        Raises:
            Exception: the exception of a job.
        """
        if timeout != 0 and self._under_way and not self._ready:
            # The thread only waits: results taken in it would be lost if the waiting task is cancelled.
            off_loop(lambda: self._wait(timeout))
        found: list[T] = []
        while self._ready:
            future = self._ready.popleft()
            self._under_way -= 1
            found.append(future.result())
        return found

    def _wait(self, timeout: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ready, timeout)
