"""The memory that images may take while they are decoded, shared by all threads of the process.

An image of a few kilobytes may need hundreds of megabytes once decoded, and a server may decode one in each thread.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final


class Budget:
    """A number of bytes that threads take and give back: first come, first served.

    A request beyond the limit waits until nothing else is taken, so a single thread is never blocked.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """Reset the budget: in a child process, the threads that took parts of it do not exist."""
        self._used = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserve(self, cost: int) -> Iterator[None]:
        """Hold ``cost`` bytes of the budget; a thread that holds some must not ask for more."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and self._fits(cost))
                self._used += cost
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= cost
                self._changed.notify_all()

    def _fits(self, cost: int) -> bool:
        return self._used == 0 or self._used + cost <= self._limit


#: The budget of this process: 24 MB per processor, 48 MB at least.
BUDGET: Final = Budget(24_000_000 * max(2, os.cpu_count() or 1))
os.register_at_fork(after_in_child=BUDGET.reset)
