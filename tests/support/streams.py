"""Streams to upload."""

from __future__ import annotations

import io
from typing import Any


class Stream(io.RawIOBase):
    """Bytes that can be read once, as they come from a socket."""

    def __init__(self, data: bytes) -> None:
        self._left = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._left.readinto(buffer)
