"""How long an event loop is held up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class Pauses:
    """Looks at a clock every millisecond.

    ``time.thread_time`` is the processor time of the loop's thread alone: other processes do not delay it.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._longest = 0.0
        self._last = clock()

    async def tick(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(0.001)
            self._look()

    def _look(self) -> None:
        now = self._clock()
        self._longest = max(self._longest, now - self._last)
        self._last = now

    async def during(self, work: Awaitable[object]) -> tuple[float, float]:
        """Return how long ``work`` takes, and the longest pause meanwhile."""
        await asyncio.sleep(0.01)
        start = self._last = self._clock()
        self._longest = 0.0
        await work
        self._look()
        return self._last - start, self._longest
