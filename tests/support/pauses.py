"""How long an event loop is held up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable


class Pauses:
    """Looks at the clock every millisecond."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._last = time.perf_counter()

    async def tick(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(0.001)
            self._look()

    def _look(self) -> None:
        now = time.perf_counter()
        self._longest = max(self._longest, now - self._last)
        self._last = now

    async def during(self, work: Awaitable[object]) -> tuple[float, float]:
        """Return how long ``work`` takes, and the longest pause meanwhile."""
        await asyncio.sleep(0.01)
        start = self._last = time.perf_counter()
        self._longest = 0.0
        await work
        self._look()
        return self._last - start, self._longest
