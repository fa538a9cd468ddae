"""Synchronous code that awaits: it runs in a greenlet, which an event loop leaves and enters where it waits.

A storage whose library has awaited calls of its own is written once, and needs no thread under an event loop: whatever
it does between two calls is the same code that others run synchronously. It is how SQLAlchemy's asynchronous sessions
work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from greenlet import getcurrent, greenlet

from depot_lite.concurrency.threads import finished, in_thread
from depot_lite.errors import InvalidContent

T = TypeVar("T")


class _Running(greenlet):
    """Synchronous code under way, of which `waiting` tells whether it may wait by `awaited`."""


def waiting() -> bool:
    """Return whether this code runs in a greenlet of ours, and so must not block."""
    return isinstance(getcurrent(), _Running)


def awaited(work: Awaitable[T]) -> T:
    """Return what is awaited, while the event loop goes on; to be called where `waiting` is true."""
    parent = getcurrent().parent
    assert parent is not None  # noqa: S101  # for mypy: only a thread's first greenlet has none
    return cast(T, parent.switch(work))


def beside(call: Callable[[], T]) -> T:
    """Return what a call returns that may block: in a thread where an event loop has to go on, else here."""
    return awaited(in_thread(call)) if waiting() else call()


class Greenlets:
    """Runs a storage's synchronous code on the event loop itself, for `depot_lite.io.aio.AsyncStorage`."""

    async def run(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, which comes to its end; a cancellation is raised after it."""
        return await finished(_run(call))

    def starter(self) -> Callable[[Coroutine[Any, Any, bytes]], _Started]:
        """Return what fetches a chunk that the synchronous code wants."""
        return _Started


class _Started:
    """A coroutine that was started from synchronous code."""

    def __init__(self, work: Coroutine[Any, Any, bytes]) -> None:
        self._task = asyncio.ensure_future(work)

    def result(self) -> bytes:
        """Wait for its end."""
        try:
            return awaited(self._task)
        except asyncio.CancelledError:
            # Not the cancellation of who waits here, which comes to its end whatever happens.
            raise InvalidContent("the stream was given up before its end") from None

    def cancel(self) -> object:
        """Let it end at once."""
        return self._task.cancel()


async def _run(call: Callable[[], T]) -> T:
    current = getcurrent()
    running = _Running(call, current)
    running.gr_context = current.gr_context  # its context variables are the task's
    result: Any = running.switch()
    while not running.dead:
        try:
            value = await result
        except BaseException as error:
            result = running.throw(error)
        else:
            result = running.switch(value)
    return cast(T, result)
