"""A stored file on its way to another storage: its bytes are held against what its storage knows of them.

Who stores it gets an error instead of the last bytes where these are not those that were stored once, and so stores
nothing. Found out afterwards, it would be too late: what was there before would be gone.
"""

from __future__ import annotations

import io
from typing import BinaryIO, Final

from depot_lite.errors import StorageFailed
from depot_lite.io.checksums import CHECKSUMS
from depot_lite.io.content import Content
from depot_lite.io.media_types import OCTET_STREAM

#: What reading up to the end takes at a time.
_STEP: Final = 1024 * 1024


class KnownContent(Content):
    """The content of a stored file, which keeps the type that it was stored with."""

    @property
    def content_type(self) -> str:
        """The type that was declared; the bytes are not asked again."""
        return self.declared_type or OCTET_STREAM


class VerifiedStream(io.RawIOBase):
    """The bytes of a file, of which the last are given only if there are as many as there should be, and the same.

    Args:
        checksum: ``algorithm:digest``. Of an algorithm that is unknown here, and of None, only the length counts; so it
            does where the reader leaves something out.
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
        """Move to a position and return it. Who goes back to the start is given all bytes, and all are summed, anew."""
        self._position = self._file.seek(offset, whence)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, all that are left if it is negative or None.

        Raises:
            StorageFailed: these would be the last, and what was read is not what was stored once.
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
            raise StorageFailed(
                f"file {self._file_id} is damaged: {self._position} bytes came where {self._length} are known"
            )
        whole = self._sum is not None and self._summed == self._length
        if whole and self._sum is not None and self._sum.hexdigest() != self._digest:
            raise StorageFailed(f"file {self._file_id} is damaged: its bytes are not those of its checksum")
