"""Work in threads: transfers side by side, and blocking calls beside an event loop.

``FileStorage.concurrency`` is the number of transfers that a storage can usefully run at once. They run in the
storage's threads (`depot_lite.concurrency.pools`) or its executor. Where there is no event loop, the calling thread
takes part, so the work is done even if all threads are busy with jobs that wait for it.

A thread cannot be stopped. So a task that is cancelled gives its work up: calls that have not begun never begin, and
the results of the others are dropped.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from typing import Any, TypeVar

from depot_lite.concurrency.pools import SESSIONS

T = TypeVar("T")


class Batch:
    """Jobs that run in parallel. After the first failure no other job starts; running jobs are completed.

    Args:
        jobs: the functions to call.
        at_once: how many may run at a time.
        executor: runs them.
    """

    def __init__(self, jobs: Sequence[Callable[[], None]], at_once: int, executor: Executor = SESSIONS) -> None:
        self._waiting = deque(enumerate(jobs))
        self._lanes = min(at_once, len(jobs))
        self._executor = executor
        self._errors: dict[int, BaseException] = {}
        #: After a cancellation or an error of the executor, the jobs that are still running.
        self.under_way: list[Future[None]] = []

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
        """Run the jobs in this thread and others; if several fail, raise the error of the first in the sequence."""
        others: list[Future[None]] = []
        try:
            self._submit(self._lanes - 1, others)
            self._lane()
        except BaseException as error:  # an executor that is shut down
            self._errors[-1] = error
            self.stop()
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
        """Run the jobs in threads without blocking the event loop.

        A cancellation or an error of the executor is raised at once; `under_way` then has what goes on.
        """
        lanes: list[Future[None]] = []
        try:
            self._submit(self._lanes, lanes)
            await ended(lanes)
        except BaseException:
            self.stop()
            self.under_way = [lane for lane in lanes if not lane.cancel() and not lane.done()]
            raise
        self._raise_first()

    def _submit(self, count: int, lanes: list[Future[None]]) -> None:
        for _ in range(count):
            lanes.append(self._executor.submit(contextvars.copy_context().run, self._lane))  # noqa: PERF401  # as far as it gets

    def _raise_first(self) -> None:
        if self._errors:
            raise self._errors[min(self._errors)]


async def ended(futures: Iterable[Future[Any]]) -> None:
    """Wait until calls in threads have ended. A cancellation ends the waiting, and no call."""
    loop = asyncio.get_running_loop()
    for future in futures:
        waiter = loop.create_future()

        def wake(_: object, waiter: asyncio.Future[None] = waiter) -> None:
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(_set, waiter)

        future.add_done_callback(wake)
        await waiter


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class _Call:
    """A call whose result is dropped if the task that wants it gives it up."""

    def __init__(self, call: Callable[[], T], drop: Callable[[T], object] | None) -> None:
        self._call: Callable[[], Any] = call
        self._drop: Callable[[Any], object] | None = drop
        self._lock = threading.Lock()
        self._given_up = self._done = False

    def run(self) -> Any:
        result = self._call()
        with self._lock:
            self._done = True
            drop = self._drop if self._given_up else None
        if drop is not None:
            drop(result)
        return result

    def give_up(self) -> bool:
        """Drop the result when there is one; return whether there is one already, to be dropped by the caller."""
        with self._lock:
            self._given_up = True
            return self._done and self._drop is not None


async def in_thread(
    call: Callable[[], T], executor: Executor = SESSIONS, drop: Callable[[T], object] | None = None
) -> T:
    """Run ``call`` in a thread and return its result. A cancellation is raised at once.

    A call that has not begun then never begins. If it has begun, ``drop`` gets its result, in its thread.
    """
    work = _Call(call, drop)
    future: Future[T] = executor.submit(contextvars.copy_context().run, work.run)
    try:
        await ended([future])
    except BaseException:
        if not future.cancel() and work.give_up() and drop is not None:
            executor.submit(lambda: drop(future.result()))
        raise
    return future.result()


async def finished(call: Callable[[], T], executor: Executor = SESSIONS) -> T:
    """Run ``call`` in a thread, in any case, and return its result. A cancellation ends the waiting."""
    future = executor.submit(contextvars.copy_context().run, call)
    await ended([future])
    return future.result()


async def run_to_end(work: Awaitable[T], stop: Callable[[], Any] | None = None) -> T:
    """Wait for work that must not be interrupted; a cancellation is raised when it has ended.

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


class Closing:
    """A resource that threads use, and that is closed once: by its last user if that has not ended.

    Args:
        close: closes it.
    """

    def __init__(self, close: Callable[[], object]) -> None:
        self._close = close
        self._lock = threading.Lock()
        self._users, self._closing = 0, False

    def use(self, call: Callable[[], T]) -> T:
        """Return the result of a call that uses the resource.

        Raises:
            ValueError: it is closed, or about to be.
        """
        with self._lock:
            if self._closing:
                raise ValueError("I/O operation on closed file")
            self._users += 1
        try:
            return call()
        finally:
            with self._lock:
                self._users -= 1
                closing = self._closing and not self._users
            if closing:
                self._close()

    def give_up(self) -> bool:
        """Let nobody use the resource any more, and return whether the caller has to close it.

        Otherwise whoever uses it now does so, or whoever gave it up before.
        """
        with self._lock:
            first, self._closing = not self._closing, True
            return first and not self._users
