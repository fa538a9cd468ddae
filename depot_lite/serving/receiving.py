"""Receiving: how many uploads a server takes at once, and how slow a client may be.

There is no limit for the whole time, because a large file may take hours over a slow line. Only the time spent waiting
for the client counts, not that of a storage.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, TypeVar

from depot_lite.concurrency.threads import Closing
from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, InvalidContent
from depot_lite.io.options import integer
from depot_lite.io.sizes import size_of
from depot_lite.serving import RETRY_AFTER, Response, refusal

T = TypeVar("T")

#: The most uploads at once that a server can be told to take: each one has a thread.
_MOST_AT_ONCE: Final = 256

#: By default, how many uploads are received at once, and at how many seconds without a byte, and bytes per second, one
#: is given up.
AT_ONCE: Final = 64
IDLE: Final = 30
RATE: Final = 1024


class TooSlow(InvalidContent):
    """Raised when a client sends its file too slowly."""


class MinimumRate:
    """The speed at which a client sends one file.

    Args:
        period: the longest time without a byte, in seconds, and the time over which the rate is measured.
        rate: the least number of bytes per second.
    """

    def __init__(self, period: float, rate: int) -> None:
        self.period = period
        #: The number of bytes of a period.
        self.least = round(period * rate)
        self._waited, self._received = 0.0, 0
        self._since: float | None = None

    def wait(self) -> None:
        """Note that the server waits for the client from now on."""
        self._since = time.monotonic()

    def receive(self, count: int) -> None:
        """Note that the client has sent so many bytes.

        Raises:
            TooSlow: it has been too slow.
        """
        self._waited, self._since = self.waited, None
        self._received += count
        if self._waited >= self.period:
            if self._received < self.least:
                raise self.too_slow()
            self._waited, self._received = 0.0, 0

    @property
    def waited(self) -> float:
        """The seconds that the server has waited in this period."""
        since = self._since
        return self._waited + (0.0 if since is None else time.monotonic() - since)

    @property
    def is_too_slow(self) -> bool:
        """Whether the server still waits, although the period is over and the client has sent too little."""
        return self._since is not None and self.waited >= self.period and self._received < self.least

    def too_slow(self) -> TooSlow:
        """Return the error for the client."""
        return TooSlow(f"the client has sent {self._received} bytes in {self.period:g} seconds, expected {self.least}")


async def paced(parts: AsyncIterator[bytes], pace: MinimumRate) -> AsyncIterator[bytes]:
    """Yield the bytes that a client sends.

    Raises:
        TooSlow: it sends too slowly.
    """
    while True:
        pace.wait()
        try:
            async with asyncio.timeout(pace.period):
                part = await anext(parts)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise pace.too_slow() from error
        pace.receive(len(part))
        yield part


class Uploads:
    """The uploads that a server receives at the moment.

    Args:
        at_once: how many there may be.
        idle: seconds without a byte after which an upload is given up.
        rate: bytes per second that a client has to send at least, on an average of ``idle`` seconds.

    Raises:
        ConfigurationError: one of the arguments is invalid.
    """

    def __init__(self, at_once: int | str, idle: int | str, rate: int | str) -> None:
        self._at_once = integer("uploads_at_once", at_once, 1, _MOST_AT_ONCE)
        self._idle = integer("upload_idle", idle, 1, 3600)
        self._rate = size_of("upload_rate", rate)
        if not self._rate:
            raise ConfigurationError(f"upload_rate={rate!r}: expected at least 1 byte per second")

    def enter(self, path: str) -> Response | None:
        """Enter the upload of a file, which has to `leave`; or return the response if it cannot be received now."""
        with _entering:
            if path in _receiving:
                return refusal(409, ("Retry-After", RETRY_AFTER))
            if self.count >= self._at_once:
                return refusal(503, ("Retry-After", RETRY_AFTER))
            _receiving[path] = self
            return None

    def leave(self, path: str) -> None:
        """Note that an upload has ended."""
        with _entering:
            _receiving.pop(path, None)  # it is missing in a child that was forked meanwhile

    async def receive(self, path: str, depot_name: str, parts: AsyncIterator[bytes], store: Callable[[object], T]) -> T:
        """Store a file that a client sends, and return the result. The upload has entered, and leaves at the end.

        A cancellation does not wait for the storage. The upload then leaves when its thread has ended.

        Args:
            path: of the upload.
            depot_name: of the depot whose threads are used.
            parts: from the client.
            store: takes a stream.

        Raises:
            UnknownDepot: there is no such depot.
            TooSlow: the client sends too slowly.
        """
        place = Closing(partial(self.leave, path))
        try:
            body = paced(parts, self.pace())
            return await Depots.get(depot_name).aio.receive(body, lambda content: place.use(partial(store, content)))
        finally:
            if place.give_up():
                self.leave(path)

    @property
    def count(self) -> int:
        """The number of uploads at the moment."""
        return sum(each is self for each in [*_receiving.values()])

    def pace(self) -> MinimumRate:
        """Return the pace of one upload."""
        return MinimumRate(self._idle, self._rate)


#: The uploads of this process: path -> who receives it. A ticket works with every middleware, so all share this.
_receiving: Final[dict[str, Uploads]] = {}
_entering: Final = threading.Lock()


def _forget_parent() -> None:
    _receiving.clear()  # its threads, which would leave, are not in the child
    _entering.release()


os.register_at_fork(before=_entering.acquire, after_in_parent=_entering.release, after_in_child=_forget_parent)
