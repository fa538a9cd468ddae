"""How many transfers are in flight, and how many bytes a second they move."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, BinaryIO, Final, Generic, TypeVar, cast

from depot_lite.errors import MaintenanceStopped
from depot_lite.fields.tracking.transfers import off_loop, to_the_end
from depot_lite.io.content import CHUNK_SIZE
from depot_lite.io.interfaces import StoredFile
from depot_lite.io.options import integer

T = TypeVar("T")

#: Transfers in flight where nothing else is said.
WORKERS: Final = 16


class Pace:
    """At most ``rate`` bytes a second, over all threads together; as many as there are where it is None.

    Raises:
        ConfigurationError: the rate is no positive number of bytes.
    """

    def __init__(self, rate: int | None) -> None:
        self.rate = None if rate is None else integer("rate", rate, 1, sys.maxsize)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._free_at = 0.0

    def take(self, size: int) -> None:
        """Return when ``size`` bytes may have moved.

        Raises:
            MaintenanceStopped: `stop` was called.
        """
        if self._stopped.wait(self._delay(size)):
            raise MaintenanceStopped("the transfer was given up, because the whole was stopped")

    def _delay(self, size: int) -> float:
        if self.rate is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self.rate
            return self._free_at - now

    def stop(self) -> None:
        """End every wait, now and from now on."""
        self._stopped.set()

    def paced(self, stored: StoredFile) -> StoredFile:
        """Return the file, read no faster than this; the same one where there is no limit.

        With a limit no storage copies by itself, as its bytes would not come by here.
        """
        if self.rate is None:
            return stored
        # No more at once than comes in a fraction of a second, so that threads share the rate evenly.
        chunk = min(CHUNK_SIZE, max(4096, self.rate // 16))
        return StoredFile(stored.info, lambda: cast(BinaryIO, _Paced(stored, self, chunk)))


class _Paced(io.RawIOBase):
    """Reads a stored file at a pace; it does not close it."""

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
    """Jobs in threads of their own, so many at once; results come as they are ready. A context manager.

    One thread hands jobs in and takes results, as long as there is room. At the end, what has not begun is dropped and
    what is under way is waited for, whatever happened.

    Raises:
        ConfigurationError: this is no number of workers.
    """

    def __init__(self, workers: int) -> None:
        workers = integer("workers", workers, 1, 1000)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="depot_lite.maintenance")
        # As many again wait, so that no thread idles while the one that hands in writes to the database.
        self._room = 2 * workers
        self._under_way = 0
        self._ready: deque[Future[T]] = deque()
        self._changed = threading.Condition()

    def __enter__(self) -> Window[T]:
        return self

    def __exit__(self, *error: Any) -> None:
        to_the_end(lambda: self._threads.shutdown(wait=True, cancel_futures=True))

    @property
    def has_room(self) -> bool:
        """Whether another job should be handed in before results are taken."""
        return self._under_way < self._room

    def submit(self, job: Callable[[], T]) -> None:
        """Hand in a job."""
        self._under_way += 1
        self._threads.submit(copy_context().run, job).add_done_callback(self._done)

    def _done(self, future: Future[T]) -> None:
        with self._changed:
            self._ready.append(future)
            self._changed.notify()

    @property
    def is_busy(self) -> bool:
        """Whether there are results to come."""
        return self._under_way > 0

    def results(self, timeout: float | None = None) -> list[T]:
        """Return what has become ready since the last time: at least one result, unless time runs out or none is left.

        Args:
            timeout: how many seconds to wait for a result; as long as it takes where it is None.

        Raises:
            Exception: what a job raised.
        """
        if timeout != 0 and self._under_way and not self._ready:
            # Only waits: what is taken in a thread would be lost with a cancellation of the task that waits for it.
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
