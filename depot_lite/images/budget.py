"""How much may be decoded at the same time in the whole process: a number of bytes that threads share.

An image of a few kilobytes may need some hundred megabytes once decoded, and a server decodes as many at a time as it
has threads.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final


class Budget:
    """How many bytes of pixels may be decoded at the same time: first come, first served.

    Who wants more than there is waits until nobody else has any, so one thread alone always goes on.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """Forget who holds what: in a child process, the threads that did do not exist."""
        self._used = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, cost: int) -> Iterator[None]:
        """Hold a part of the budget; never to be entered by a thread that holds one already."""
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


#: That of this process: 24 MB for each processor, 48 MB at least.
BUDGET: Final = Budget(24_000_000 * max(2, os.cpu_count() or 1))
os.register_at_fork(after_in_child=BUDGET.reset)
