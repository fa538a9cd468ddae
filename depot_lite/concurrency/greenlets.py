"""Greenlets in which synchronous code awaits: the event loop goes on while the code waits.

A storage whose library has asynchronous calls is written once, as synchronous code, and needs no thread under an event
loop. SQLAlchemy's asynchronous sessions work in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from greenlet import getcurrent, greenlet

from depot_lite.concurrency.threads import in_thread, run_to_end
from depot_lite.errors import InvalidContent

T = TypeVar("T")


class _StorageGreenlet(greenlet):
    """A greenlet of `Greenlets`, in which `wait_for` may be called."""


def in_greenlet() -> bool:
    """Return whether the caller runs in a greenlet on an event loop, and so must not block."""
    return isinstance(getcurrent(), _StorageGreenlet)


def wait_for(work: Awaitable[T]) -> T:
    """Await ``work`` and return its result; to be called only if `in_greenlet` returns True."""
    parent = getcurrent().parent
    assert parent is not None  # noqa: S101  # for mypy: only a thread's first greenlet has none
    return cast(T, parent.switch(work))


def run_blocking(call: Callable[[], T]) -> T:
    """Return the result of a call that may block; it runs in a thread if `in_greenlet` returns True."""
    return wait_for(in_thread(call)) if in_greenlet() else call()


class Greenlets:
    """A `depot_lite.io.aio.Runner` that runs a storage's synchronous code on the event loop itself."""

    async def run(self, call: Callable[[], T]) -> T:
        """Run ``call`` to its end and return its result; a cancellation is raised afterwards."""
        return await run_to_end(_run(call))

    def starter(self) -> Callable[[Coroutine[Any, Any, bytes]], _TaskHandle]:
        """Return the class that starts a coroutine from the synchronous code."""
        return _TaskHandle


class _TaskHandle:
    """A coroutine started by synchronous code."""

    def __init__(self, work: Coroutine[Any, Any, bytes]) -> None:
        self._task = asyncio.ensure_future(work)

    def result(self) -> bytes:
        """Wait for the result and return it."""
        try:
            return wait_for(self._task)
        except asyncio.CancelledError:
            # The coroutine was cancelled, not the code that waits here, which runs to its end in any case.
            raise InvalidContent("the stream was abandoned before its end") from None

    def cancel(self) -> object:
        """Cancel the coroutine."""
        return self._task.cancel()


async def _run(call: Callable[[], T]) -> T:
    current = getcurrent()
    running = _StorageGreenlet(call, current)
    running.gr_context = current.gr_context  # the task's context variables
    result: Any = running.switch()
    while not running.dead:
        try:
            value = await result
        except BaseException as error:
            result = running.throw(error)
        else:
            result = running.switch(value)
    return cast(T, result)
