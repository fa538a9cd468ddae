"""The bytes of an object: on their way in with their checksum, and on their way out with seeking and resuming."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, Final, cast

from botocore.exceptions import FlexibleChecksumError

from depot_lite.errors import DepotError, StorageFailed
from depot_lite.io.boto3.errors import ERRORS, S3_ERRORS
from depot_lite.io.interfaces import FileInfo, StoredFile
from depot_lite.io.objects.readers import PiecewiseReader

#: What is left of a body is read at `close`, up to this much, so that the connection serves the next request.
#: A gap up to this much is read over: a new request takes longer.
_CHEAP: Final = 64 * 1024
_STEP: Final = 1024 * 1024
#: How often in a row a body may break off before any more of it has come.
_TRIES: Final = 4


class SummedReader:
    """The rest of a stream behind what was read of it already, with length and CRC-32 of all that went through.

    It has nothing but ``read``, so that boto3 takes it as it comes, part by part.
    """

    def __init__(self, head: bytes, source: BinaryIO, expected: int | None) -> None:
        #: How many bytes were read.
        self.length = 0
        #: Their CRC-32.
        self.sum = 0
        self._head = memoryview(head)
        self._source = source
        self._expected = expected

    def read(self, size: int = -1, /) -> bytes:
        """Return ``size`` bytes, fewer at the end only.

        Raises:
            StorageFailed: at the end, if these were not the bytes whose checksum was announced.
        """
        taken = bytes(self._head if size < 0 else self._head[:size])
        self._head = self._head[len(taken) :]
        data = taken if len(taken) == size else taken + self._source.read(size - len(taken) if size >= 0 else -1)
        self.length += len(data)
        self.sum = zlib.crc32(data, self.sum)
        if (size < 0 or len(data) < size) and self._expected not in {None, self.sum}:
            raise StorageFailed("the content changed while it was stored")
        return data


class RangeReader(PiecewiseReader):
    """The bytes of an object, from the body that came with it and, after a seek or a reset, from a range of it.

    A range is asked for on condition that the object is still the same, so that nobody reads half of one version and
    half of another.
    """

    def __init__(self, body: Any, length: int, what: str, request: Callable[[int], Any]) -> None:
        super().__init__(length)
        self._body = body
        self._what = what
        self._request = request
        # Where the body stands.
        self._body_position = 0

    def _piece(self, size: int) -> bytes:
        """Return some of the bytes at the position, at least one."""
        for attempt in range(1, _TRIES + 1):
            try:
                self._place()
                piece = cast(bytes, self._body.read(min(size, _STEP)))
                if not piece:  # some servers close the connection instead of resetting it
                    raise ConnectionResetError("the body ended early")
                self._body_position += len(piece)
                if self._body_position == self._length:
                    # At its end boto3 gives the connection back, and has verified the checksum.
                    self._body.read(1)
                return piece
            except DepotError:  # of the request for a range, which boto3 has repeated already
                self._drop()
                raise
            except (*S3_ERRORS, OSError) as error:
                self._drop()
                # Bytes that do not match their checksum would not do so the next time.
                if attempt == _TRIES or isinstance(error, FlexibleChecksumError):
                    raise ERRORS.translated(self._what, error) from error
        raise AssertionError("the last attempt returns or raises")

    def _place(self) -> None:
        """Bring the body to the position."""
        gap = self._position - self._body_position
        if self._body is not None and 0 < gap <= _CHEAP:
            self._body_position += len(self._body.read(gap))
            gap = self._position - self._body_position
        if self._body is None or gap:
            self._drop()
            self._body = self._request(self._position)
            self._body_position = self._position

    def _drop(self) -> None:
        """Close the body, and the connection with it."""
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def close(self) -> None:
        """Give the connection back, at the price of reading what little is left; a second time does nothing."""
        body = getattr(self, "_body", None)
        if body is not None and self._length - self._body_position <= _CHEAP:
            # Nobody wants these bytes, so whatever is wrong with them is nobody's loss.
            with suppress(*S3_ERRORS, OSError):
                body.read()
        if body is not None:
            self._drop()
        super().close()


class S3StoredFile(StoredFile):
    """A file of an `S3Storage`, whose bytes are on their way since `get`."""

    def __init__(self, info: FileInfo, reader: RangeReader, public_url: str | None) -> None:
        super().__init__(info, lambda: cast(BinaryIO, reader))
        self._reader = reader
        self._public_url = public_url

    @property
    def public_url(self) -> str | None:
        """The URL that needs no signature, or None where the file is not public."""
        return self._public_url

    def close(self) -> None:
        """Give the connection back, read or not; a second time does nothing."""
        if hasattr(self, "_reader"):
            self._reader.close()
        super().close()
