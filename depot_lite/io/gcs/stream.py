"""The bytes of an object in Google Cloud Storage, with Google's checksum."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable
from typing import Any, BinaryIO, Final, cast

from google_crc32c import Checksum
from requests import Response

from depot_lite.errors import StorageFailed
from depot_lite.io.gcs.errors import ERRORS
from depot_lite.io.gcs.objects import ObjectRecord
from depot_lite.io.objects import readers
from depot_lite.io.objects.errors import DAMAGED

#: Files up to this size are read at once.
_SMALL: Final = 64 * 1024


class _CRC32C:
    """Google's checksum of the bytes that it was given."""

    def __init__(self, data: bytes = b"") -> None:
        self._checksum: Any = Checksum(data)  # type: ignore[no-untyped-call]  # its own lack

    def update(self, data: bytes) -> None:
        self._checksum.update(data)

    def encoded(self) -> str:
        """Return it in the form of Google's headers."""
        return b64encode(self._checksum.digest()).decode()


class SummedReader(readers.SummedReader):
    """The content of an upload, with the CRC-32C of the bytes that went through, too."""

    def __init__(self, head: bytes, read: Callable[[int], bytes], expected: int | None) -> None:
        super().__init__(head, read, expected)
        self._crc32c = _CRC32C()

    @property
    def crc32c(self) -> str:
        """The CRC-32C, in the form of Google's headers."""
        return self._crc32c.encoded()

    def read(self, size: int = -1, /) -> bytes:
        """Return ``size`` bytes, fewer at the end only."""
        data = super().read(size)
        self._crc32c.update(data)
        return data


class RangeReader(readers.ResumingReader[Response]):
    """The bytes of one generation of an object. Reading all of them in order verifies their checksum."""

    table = ERRORS

    def __init__(self, answer: Response, found: ObjectRecord, what: str, request: Callable[[int], Response]) -> None:
        super().__init__(answer, found.length, what, request)
        self._expected = found.crc32c
        # The checksum and the number of bytes from the start on.
        self._crc32c = _CRC32C()
        self._summed = 0

    def _take(self, body: Response, size: int) -> bytes:
        return cast(bytes, body.raw.read(size, decode_content=False))

    def _piece(self, size: int) -> bytes | memoryview:
        piece = super()._piece(size)
        # Only bytes that continue the sum.
        if self._position == self._summed:
            self._crc32c.update(bytes(piece))
            self._summed += len(piece)
            whole = self._summed == self._length and self._expected is not None
            if whole and self._crc32c.encoded() != self._expected:
                raise StorageFailed(f"cannot {self._what}: {DAMAGED}")
        return piece


def body_of(answer: Response, found: ObjectRecord, what: str, request: Callable[[int], Response]) -> BinaryIO:
    """Return the bytes of an object as a file: in memory if they are few, since they came with the headers.

    So a small file that is not closed keeps no connection.
    """
    reader = RangeReader(answer, found, what, request)
    if found.length > _SMALL:
        return cast(BinaryIO, reader)
    with reader:
        return io.BytesIO(reader.read())


def summed(data: bytes) -> str:
    """Return the CRC-32C of bytes, in the form of Google's headers."""
    return _CRC32C(data).encoded()
