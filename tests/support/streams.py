"""Content to upload: bytes, and streams of them."""

from __future__ import annotations

import io
from typing import Any, Final

from depot_lite.io.content import Content

#: Longer than a head, and no text.
DATA: Final = bytes(range(256)) * 40


def bytes_of(content: object) -> bytes:
    with Content.of(content).open() as file:
        return file.read()


class Stream(io.RawIOBase):
    """Bytes that can be read once, as they come from a socket."""

    def __init__(self, data: bytes) -> None:
        self._left = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._left.readinto(buffer)


class PieceStream:
    """A socket-like source: it can be read once, in pieces of its own choice."""

    def __init__(self, data: bytes, piece: int = 7) -> None:
        self._file = io.BytesIO(data)
        self._piece = piece

    def read(self, size: int = -1) -> bytes:
        return self._file.read(self._piece if size < 0 else min(size, self._piece))
