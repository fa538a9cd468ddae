"""`Reader`: bounded reading of a file whose bytes are not to be trusted."""

from __future__ import annotations

import io
import time
from typing import BinaryIO, Final

#: The bytes that are read of one file.
MAX_BYTES: Final = 16 * 1024**2
#: The pieces that are asked for: every loop of a parser asks for one in each round, so this ends it.
MAX_PIECES: Final = 20_000
#: Seconds that the analysis of one file takes.
MAX_SECONDS: Final = 5.0
#: The bytes of the longest piece.
LARGEST: Final = 256 * 1024

#: The bytes that are read at once: headers stand side by side.
_WINDOW: Final = 8 * 1024


class Unreadable(Exception):
    """The file is not as its format says, or would take more reading than is allowed."""


class Reader:
    """Pieces of a file, by their positions.

    Args:
        file: a seekable file; it is left at any position and never closed.
    """

    def __init__(self, file: BinaryIO | io.RawIOBase) -> None:
        self._file = file
        self._start, self._window = 0, b""
        self._bytes, self._pieces = MAX_BYTES, MAX_PIECES
        self._deadline = time.monotonic() + MAX_SECONDS
        #: The length of the file.
        self.size = file.seek(0, io.SEEK_END)

    def at(self, position: int, size: int) -> bytes:
        """Return ``size`` bytes from a position; fewer at the end of the file.

        Raises:
            Unreadable: one of the limits above is reached.
        """
        self._pieces -= 1
        if self._pieces < 0 or size > LARGEST or time.monotonic() > self._deadline:
            raise Unreadable("it would take too much reading")
        size = min(size, self.size - position)
        if size <= 0 or position < 0:
            return b""
        start = position - self._start
        if start < 0 or start + size > len(self._window):
            self._fill(position, max(size, _WINDOW))
            start = 0
        return self._window[start : start + size]

    def exactly(self, position: int, size: int) -> bytes:
        """Return ``size`` bytes from a position.

        Raises:
            Unreadable: the file ends before, or a limit is reached.
        """
        found = self.at(position, size)
        if len(found) < size:
            raise Unreadable("it ends too early")
        return found

    def number(self, position: int, size: int) -> int:
        """Return the big-endian number of ``size`` bytes at a position; raise Unreadable as `exactly`."""
        return int.from_bytes(self.exactly(position, size), "big")

    def _fill(self, position: int, size: int) -> None:
        self._file.seek(position)
        parts, left = [], size
        while left and (part := self._file.read(left)):
            parts.append(part)
            left -= len(part)
        self._bytes -= size - left
        if self._bytes < 0:
            raise Unreadable("it would take too much reading")
        self._start, self._window = position, b"".join(parts)
