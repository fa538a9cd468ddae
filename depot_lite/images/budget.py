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

from depot_lite.errors import ImagesBusy

#: The memory that a single image may take, in bytes. It suffices for 24 megapixels in every format.
MAX_MEMORY: Final = 480_000_000

#: Seconds for which the decoder of an image may stop all threads.
MAX_SECONDS: Final = 2.0

#: Seconds that an image waits for others.
MAX_WAIT: Final = 30.0


class Budget:
    """A number of bytes that threads take and give back.

    A request beyond the limit never waits for smaller ones, nor they for it: one such request is served at a time. All
    others share the limit, first come, first served, but small requests overtake.

    Args:
        limit: the bytes that all requests share.
        largest: the bytes that one request may take; the caller checks it.
        wait: the longest wait, in seconds.
    """

    def __init__(self, limit: int, largest: int = MAX_MEMORY, wait: float = MAX_WAIT) -> None:
        self.largest = largest
        #: The limit of the seconds for which one request may stop all threads; the caller checks it.
        self.longest = MAX_SECONDS
        self._limit, self._wait = limit, wait
        self.reset()

    def reset(self) -> None:
        """Reset the budget: in a child process, the threads that took parts of it do not exist."""
        self._shared, self._alone = _Lane(self._limit), _Lane(self.largest)

    @property
    def held(self) -> int:
        """The bytes that are held now."""
        return self._shared.used + self._alone.used

    @contextlib.contextmanager
    def reserve(self, cost: int) -> Iterator[None]:
        """Hold ``cost`` bytes of the budget; a thread that holds some must not ask for more.

        Raises:
            ImagesBusy: the wait was too long.
        """
        lane = self._shared if cost <= self._limit else self._alone
        # All that is left to one image, so that no other is beside it.
        held = cost if lane is self._shared else self.largest
        lane.enter(held, self._wait)
        try:
            yield
        finally:
            lane.leave(held)


class _Lane:
    def __init__(self, limit: int) -> None:
        self._limit, self.used = limit, 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def enter(self, cost: int, wait: float) -> None:
        ticket = object()
        small = cost <= self._limit // 16
        with self._changed:
            self._queue.append(ticket)
            try:
                if not self._changed.wait_for(lambda: (small or self._queue[0] is ticket) and self._fits(cost), wait):
                    raise ImagesBusy(f"the image was not decoded: others were, for {wait:g} seconds")
                self.used += cost
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def leave(self, cost: int) -> None:
        with self._changed:
            self.used -= cost
            self._changed.notify_all()

    def _fits(self, cost: int) -> bool:
        return self.used == 0 or self.used + cost <= self._limit


#: The budget of this process: 24 MB per processor, 48 MB at least, and one larger image.
BUDGET: Final = Budget(24_000_000 * max(2, os.cpu_count() or 1))
os.register_at_fork(after_in_child=BUDGET.reset)
