"""Work in threads: transfers side by side, and blocking calls beside an event loop.

``FileStorage.concurrency`` is the number of transfers that a storage can usefully run at once. They run in the
storage's executor, or in one that all storages share. The calling thread takes part, so the work is done even if all
threads of the executor are busy with jobs that wait for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: Threads of the shared executor. They mostly wait for disks and servers.
SHARED_THREADS: Final = 32

_lock: Final = threading.Lock()
_shared: list[ThreadPoolExecutor] = []


def shared_executor() -> Executor:
    """Return the executor of all storages that have none of their own."""
    with _lock:
        if not _shared:
            _shared.append(ThreadPoolExecutor(SHARED_THREADS, thread_name_prefix="depot_lite"))
        return _shared[0]


class Batch:
    """Jobs that run in parallel. After the first failure no other job starts; running jobs are completed.

    Args:
        jobs: the functions to call.
        at_once: how many may run at a time.
        executor: runs them; the shared one if None.
    """

    def __init__(self, jobs: Sequence[Callable[[], None]], at_once: int, executor: Executor | None = None) -> None:
        self._waiting = deque(enumerate(jobs))
        self._lanes = min(at_once, len(jobs))
        self._executor = executor
        self._errors: dict[int, BaseException] = {}

    def stop(self) -> None:
        """Start no other job."""
        self._waiting.clear()

    def _lane(self) -> None:
        while True:
            try:
                number, job = self._waiting.popleft()
            except IndexError:
                return
            try:
                job()
            except BaseException as error:
                self._errors[number] = error
                self.stop()

    def run(self) -> None:
        """Run the jobs in this thread and others; of several errors, raise that of the first job in the sequence."""
        others = self._submit(self._lanes - 1)
        self._lane()
        # No job is left, so a lane that has not started is cancelled: its thread might be waiting for this one.
        others = [lane for lane in others if not lane.cancel()]
        while others:
            try:
                wait(others)
                break
            except BaseException as error:  # Ctrl-C: running jobs must end before their files are removed
                self._errors.setdefault(-1, error)
                self.stop()
        self._raise_first()

    async def arun(self) -> None:
        """Run the jobs in threads without blocking the event loop; a cancellation is raised after the last one."""
        lanes = [asyncio.wrap_future(lane) for lane in self._submit(self._lanes)]
        if lanes:
            await run_to_end(asyncio.wait(lanes), self.stop)
        self._raise_first()

    def _submit(self, lanes: int) -> list[Future[None]]:
        if lanes < 1:
            return []
        executor = self._executor or shared_executor()
        return [executor.submit(contextvars.copy_context().run, self._lane) for _ in range(lanes)]

    def _raise_first(self) -> None:
        if self._errors:
            raise self._errors[min(self._errors)]


async def in_thread(call: Callable[[], T], executor: Executor | None = None) -> T:
    """Run ``call`` in a thread to its end and return its result; a cancellation is raised afterwards."""
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await run_to_end(loop.run_in_executor(executor or shared_executor(), context.run, call))


async def run_to_end(work: Awaitable[T], stop: Callable[[], Any] | None = None) -> T:
    """Wait for work that cannot be interrupted; a cancellation is raised when it has ended.

    ``stop`` is called at a cancellation, to shorten the wait.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            if stop is not None:
                stop()
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio would log that it never was
        raise cancelled
    return task.result()
