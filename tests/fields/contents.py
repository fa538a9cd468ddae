"""Contents that validators look at."""

from __future__ import annotations

import io
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


JPEG = b"\xff\xd8\xff\xe0" + bytes(20)


class Endless(io.RawIOBase):
    """A stream without an end, which counts the bytes that were read."""

    def __init__(self, length: int | None = None) -> None:
        self.taken = 0
        self._length = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = len(buffer) if self._length is None else min(len(buffer), self._length - self.taken)
        buffer[:count] = b"x" * count
        self.taken += count
        return count
