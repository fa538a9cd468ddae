"""`PiecewiseReader`: bytes that come from elsewhere in pieces, readable and seekable as those of a file."""

from __future__ import annotations

import io
from abc import abstractmethod


class PiecewiseReader(io.RawIOBase):
    """So many bytes from the start on. A subclass gives those at the position; seeking asks for nothing.

    Args:
        length: how many bytes there are.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._position = 0

    @abstractmethod
    def _piece(self, size: int) -> bytes | memoryview:
        """Return some of the bytes at the position, at least one and at most so many, and do not move."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position and return it; what is there is asked for when it is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError(f"seek({offset}, {whence}): there is no such position, before the start or nowhere")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return ``size`` bytes, fewer at the end only, all of them if it is negative or None.

        Raises:
            StorageFailed: they cannot be had.
        """
        left = max(0, self._length - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        pieces = []
        while wanted:
            piece = self._piece(wanted)
            self._position += len(piece)
            wanted -= len(piece)
            pieces.append(piece)
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
