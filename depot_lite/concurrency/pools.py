"""Pools of threads: one process has several, so that work that hangs stops no work of another kind.

Each storage has pools of its own: to read, to store and delete, and to receive what clients send. Threads are started
when there is work for them, and end when there has been none for a while, so that fifty storages without work have no
thread. A process that was forked starts with none, and without the work of its parent.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import cached_property, partial
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: Threads of a pool. They mostly wait for disks and servers.
THREADS: Final = 32

#: Threads of a storage that receive what clients send: as many as one server can be told to take at once.
RECEIVING_THREADS: Final = 256

#: Seconds after which a thread without work ends.
_IDLE: Final = 10.0

#: Seconds that a process waits at its end for files that are being stored or deleted.
_AT_EXIT: Final = 10.0

_log: Final = logging.getLogger("depot_lite")


class ThreadPool(Executor):
    """Up to ``limit`` threads, which end with the process, also in the middle of a call that hangs.

    Args:
        name: of the threads, with a number.
        limit: how many there are at most.
        awaited: let the end of the process wait for work in progress, for ten seconds at most.
    """

    def __init__(self, name: str, limit: int = THREADS, *, awaited: bool = False, idle: float = _IDLE) -> None:
        self._name = name
        self._limit = limit
        self._awaited = awaited
        self._idle = idle
        self._reset()
        _pools.add(self)

    def __reduce__(self) -> Any:
        """Let storages be copied and pickled: a copy has threads of its own."""
        return partial(ThreadPool, self._name, self._limit, awaited=self._awaited, idle=self._idle), ()

    def _reset(self) -> None:
        lock = threading.Lock()
        self._changed, self._quiet = threading.Condition(lock), threading.Condition(lock)
        self._queue: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads = self._waiting = self._started = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call in one of the threads."""
        future: Future[T] = Future()
        task = future, partial(fn, *args, **kwargs)
        with self._changed:
            self._queue.append(task)
            if len(self._queue) <= self._waiting:
                self._changed.notify()
            elif self._threads < self._limit:
                self._start(task)
        return future

    def _start(self, task: tuple[Future[Any], Callable[[], Any]]) -> None:
        self._started += 1
        thread = threading.Thread(target=self._work, name=f"{self._name} {self._started}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            if not self._threads:
                self._queue.remove(task)
                raise
        else:
            self._threads += 1

    def _work(self) -> None:
        while (task := self._next()) is not None:
            future, call = task
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            # A thread that waits keeps neither a result nor an error, whose frames may hold large buffers.
            del task, future, call

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            self._waiting += 1
            if not self._queue:
                self._quiet.notify_all()
            found = self._changed.wait_for(lambda: bool(self._queue), self._idle)
            self._waiting -= 1
            if found:
                return self._queue.popleft()
            # Not below 0: a thread that has forked goes on in the child, whose pool has no thread.
            self._threads = max(0, self._threads - 1)
            return None

    def __repr__(self) -> str:
        """Show the name."""
        return f"ThreadPool({self._name!r})"

    @property
    def threads(self) -> int:
        """The number of threads."""
        return self._threads

    def join(self, timeout: float) -> bool:
        """Wait until there is no work; return False if the time is over first."""
        with self._quiet:
            return self._quiet.wait_for(lambda: not self._queue and self._waiting == self._threads, timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the threads end by themselves."""


_pools: Final[weakref.WeakSet[ThreadPool]] = weakref.WeakSet()


class StoragePools:
    """The pools of one storage.

    Args:
        name: the kind of storage, for the names of the threads.
        executor: the user's, which stores instead of `storing`.
    """

    def __init__(self, name: str, executor: Executor | None) -> None:
        self._name = name
        self._executor = executor

    @cached_property
    def reading(self) -> Executor:
        """Opens and reads files. Serving uses it, and nothing that stores does."""
        return ThreadPool(f"depot_lite {self._name} reading")

    @cached_property
    def storing(self) -> Executor:
        """Stores and deletes files, and makes variants of images."""
        return self._executor or ThreadPool(f"depot_lite {self._name} storing", awaited=True)

    @cached_property
    def receiving(self) -> Executor:
        """Stores files that have yet to arrive: its threads wait for clients."""
        return ThreadPool(f"depot_lite {self._name} receiving", RECEIVING_THREADS, awaited=True)


#: Runs what belongs to no storage, or to several: closing adopted files, asking content for its bytes, and maintenance.
SESSIONS: Final = ThreadPool("depot_lite session", awaited=True)

#: Runs ``delete_later`` hooks, which may wait for a queue that is down.
HOOKS: Final = ThreadPool("depot_lite hook", awaited=True)


def _forget_parent() -> None:
    for pool in list(_pools):
        pool._reset()


def _finish() -> None:
    end = time.monotonic() + _AT_EXIT
    unfinished = [pool for pool in list(_pools) if pool._awaited and not pool.join(max(0.0, end - time.monotonic()))]
    for pool in unfinished:
        _log.warning("the process ends before %r has stored or deleted its files, which maintenance will find", pool)


os.register_at_fork(after_in_child=_forget_parent)
atexit.register(_finish)
