"""Verification of a file while it is copied to another storage.

Reading raises an error instead of returning the last bytes if the content does not match its length and checksum, so
that the target stores nothing. A check afterwards would be too late, since a file may have been replaced by then.
"""

from __future__ import annotations

import io
from typing import BinaryIO, Final

from depot_lite.errors import StorageFailed
from depot_lite.io.checksums import CHECKSUMS
from depot_lite.io.content import Content
from depot_lite.io.media_types import OCTET_STREAM

#: The number of bytes per step when all are read.
_STEP: Final = 1024 * 1024


class KnownContent(Content):
    """The content of a stored file, which keeps its type."""

    @property
    def content_type(self) -> str:
        """The type of the stored file; the bytes are not examined again."""
        return self.declared_type or OCTET_STREAM


class VerifiedStream(io.RawIOBase):
    """The bytes of a file, of which the last are returned only if length and checksum are right.

    Args:
        checksum: ``algorithm:digest``. Only the length is verified if it is None, the algorithm is not supported, or
            the reader skips bytes.
    """

    def __init__(self, file: BinaryIO, file_id: str, length: int, checksum: str | None) -> None:
        self._file = file
        self._file_id = file_id
        self._length = length
        self._algorithm, _, self._digest = (checksum or "").partition(":")
        self._position = 0
        self._begin()

    def _begin(self) -> None:
        make = CHECKSUMS.get(self._algorithm)
        self._sum = None if make is None else make()
        self._summed = 0

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
        """Move to a position and return it. From the start, the checksum is computed anew."""
        self._position = self._file.seek(offset, whence)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, all remaining ones if it is negative or None.

        Raises:
            StorageFailed: the end is reached, and the content is damaged.
        """
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(_STEP), b""))
        data = self._file.read(size)
        self._take(data)
        if size and (not data or self._position >= self._length):
            self._check()
        return data

    def _take(self, data: bytes) -> None:
        if self._position == 0:
            self._begin()
        if self._position == self._summed:
            if self._sum is not None:
                self._sum.update(memoryview(data))
            self._summed += len(data)
        self._position += len(data)

    def _check(self) -> None:
        if self._position != self._length:
            raise StorageFailed(f"file {self._file_id} is damaged: expected {self._length} bytes, got {self._position}")
        whole = self._sum is not None and self._summed == self._length
        if whole and self._sum is not None and self._sum.hexdigest() != self._digest:
            raise StorageFailed(f"file {self._file_id} is damaged: its content does not match its checksum")
