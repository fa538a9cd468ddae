"""Greenlets in which synchronous code awaits: the event loop goes on while the code waits.

A storage whose library has asynchronous calls is written once, as synchronous code, and needs no thread under an event
loop. SQLAlchemy's asynchronous sessions work in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar, cast

from greenlet import getcurrent, greenlet

from depot_lite.concurrency.threads import finished
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
    return wait_for(finished(call)) if in_greenlet() else call()


class Greenlets:
    """A `depot_lite.io.aio.Runner` that runs a storage's synchronous code on the event loop itself."""

    async def run(self, call: Callable[[], T], drop: Callable[[T], object] | None = None) -> T:
        """Run ``call`` and return its result. A cancellation is raised at once.

        It interrupts ``call``, unless there is a ``drop``, which gets the result once there is one.
        """
        work = asyncio.ensure_future(_run(call, _in_any_case if drop is not None else _plainly))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if drop is None:
                work.cancel()
            _keep(_settled(work, drop))
            raise

    async def finish(self, call: Callable[[], T]) -> T:
        """Run ``call``, in any case, and return its result. A cancellation ends the waiting."""
        return await self.run(call, _ignore)

    def begin(self, call: Callable[[], object]) -> None:
        """Run ``call``, in any case, and wait for nothing."""
        _keep(_settled(asyncio.ensure_future(_run(call, _in_any_case)), None))

    def starter(self) -> Callable[[Coroutine[Any, Any, bytes]], _TaskHandle]:
        """Return the class that starts a coroutine from the synchronous code."""
        return _TaskHandle


#: Work that nobody waits for; the event loop itself keeps no task alive.
_background: Final[set[asyncio.Task[None]]] = set()


def _keep(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    _background.add(task)
    task.add_done_callback(_background.discard)


def _ignore(result: object) -> None:
    pass


async def _settled(work: asyncio.Task[T], drop: Callable[[T], object] | None) -> None:
    # Its error, if there is one, concerns nobody any more.
    with suppress(Exception, asyncio.CancelledError):
        result = await _in_any_case(work)
        if drop is not None:
            await _run(partial(drop, result), _in_any_case)


async def _plainly(work: Awaitable[T]) -> T:
    return await work


async def _in_any_case(work: Awaitable[T]) -> T:
    """Await work to its end, also while the event loop ends, which cancels all tasks."""
    future = asyncio.ensure_future(work)
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    return future.result()


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


async def _run(call: Callable[[], T], awaited: Callable[[Awaitable[Any]], Awaitable[Any]]) -> T:
    current = getcurrent()
    running = _StorageGreenlet(call, current)
    running.gr_context = current.gr_context  # the task's context variables
    result: Any = running.switch()
    while not running.dead:
        try:
            value = await awaited(result)
        except BaseException as error:
            result = running.throw(error)
        else:
            result = running.switch(value)
    return cast(T, result)
