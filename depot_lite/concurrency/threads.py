"""Work in threads: transfers side by side, and blocking calls beside an event loop.

A storage says how many transfers at once it gains from (``FileStorage.concurrency``). They run in an executor: the one
that was given to the storage, or one that all storages share. The thread that asked takes part, so work is done even if
every thread of the executor is busy with work that waits for this.
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

#: Threads of the shared executor: they wait for disks and servers, hardly for the processor.
SHARED_THREADS: Final = 32

_lock: Final = threading.Lock()
_shared: list[ThreadPoolExecutor] = []


def shared_executor() -> Executor:
    """Return the executor of who brings none of his own."""
    with _lock:
        if not _shared:
            _shared.append(ThreadPoolExecutor(SHARED_THREADS, thread_name_prefix="depot_lite"))
        return _shared[0]


class Batch:
    """Jobs to be done side by side. After the first failure no other begins; those under way come to their end.

    Args:
        jobs: what is to be done.
        at_once: how many at a time.
        executor: where; the shared one if None.
    """

    def __init__(self, jobs: Sequence[Callable[[], None]], at_once: int, executor: Executor | None = None) -> None:
        self._waiting = deque(enumerate(jobs))
        self._lanes = min(at_once, len(jobs))
        self._executor = executor
        self._errors: dict[int, BaseException] = {}

    def stop(self) -> None:
        """Begin no other job."""
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
        """Do the jobs in this thread and others, and raise the error of the first job that failed, in their order."""
        others = self._submit(self._lanes - 1)
        self._lane()
        # Nothing is left to begin, so a lane that no thread had time for is not waited for: it might wait for us.
        others = [lane for lane in others if not lane.cancel()]
        while others:
            try:
                wait(others)
                break
            except BaseException as error:  # Ctrl-C: what is under way must end before anything is cleaned up
                self._errors.setdefault(-1, error)
                self.stop()
        self._raise_first()

    async def arun(self) -> None:
        """Do the jobs in threads while the event loop goes on; a cancellation is raised once all have ended."""
        lanes = [asyncio.wrap_future(lane) for lane in self._submit(self._lanes)]
        if lanes:
            await finished(asyncio.wait(lanes), self.stop)
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
    """Return what ``call`` returns, which runs in a thread to its end; a cancellation is raised after it."""
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await finished(loop.run_in_executor(executor or shared_executor(), context.run, call))


async def finished(work: Awaitable[T], stop: Callable[[], Any] | None = None) -> T:
    """Wait for the end of something that cannot be interrupted, and raise a cancellation that came meanwhile then.

    ``stop`` is called at a cancellation: it may shorten the wait.
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
            task.exception()  # looked at, or asyncio would complain that nobody did
        raise cancelled
    return task.result()
