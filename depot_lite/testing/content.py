"""Content to store."""

from __future__ import annotations

import io
import random
from typing import Any


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Return pseudo-random bytes, which are the same for the same arguments."""
    return random.Random(seed).randbytes(size)  # noqa: S311  # test data is no secret


class BreakingFile(io.RawIOBase):
    """A stream that fails after some bytes, like an upload whose client disconnects."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer until no bytes are left, then raise ConnectionResetError."""
        if not self._left:
            raise ConnectionResetError("the client has gone")
        count = min(self._left, len(buffer))
        buffer[:count] = b"x" * count
        self._left -= count
        return count


class Stream(io.RawIOBase):
    """A stream that can be read once, in uneven pieces, like a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a part of the buffer."""
        piece = self._data.read(min(len(buffer), 9973))
        buffer[: len(piece)] = piece
        return len(piece)
