"""The bytes of an object: on their way in with their checksums, and on their way out with seeking and resuming."""

from __future__ import annotations

import io
import zlib
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, Final, cast

from requests import Response

from depot_lite.errors import DepotError, StorageFailed
from depot_lite.io.gcs.errors import ERRORS, GCS_ERRORS
from depot_lite.io.gcs.objects import Found, new_crc32c
from depot_lite.io.interfaces import FileInfo, FileStorage, StoredFile
from depot_lite.io.objects.readers import PiecewiseReader

#: What is left of a body is read at `close`, up to this much, so that the connection serves the next request.
#: A gap up to this much is read over: a new request takes longer.
_CHEAP: Final = 64 * 1024
_STEP: Final = 1024 * 1024
#: How often in a row a body may break off before any more of it has come.
_TRIES: Final = 4


class SummedReader:
    """The rest of a stream behind what was read of it already, with length and checksums of all that went through."""

    def __init__(self, head: bytes, source: BinaryIO, expected: int | None) -> None:
        #: How many bytes were read.
        self.length = 0
        #: Their CRC-32, which is ours.
        self.sum = 0
        self._crc32c = new_crc32c()
        self._head = memoryview(head)
        self._source = source
        self._expected = expected

    @property
    def crc32c(self) -> str:
        """Their CRC-32C, which is Google's, as Google has it."""
        return b64encode(self._crc32c.digest()).decode()

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer at the end only.

        Raises:
            StorageFailed: at the end, if these were not the bytes whose checksum was announced.
        """
        taken = bytes(self._head[:size])
        self._head = self._head[size:]
        data = taken if len(taken) == size else taken + self._source.read(size - len(taken))
        self.length += len(data)
        self.sum = zlib.crc32(data, self.sum)
        self._crc32c.update(data)
        if len(data) < size and self._expected not in {None, self.sum}:
            raise StorageFailed("the content changed while it was stored")
        return data


class RangeReader(PiecewiseReader):
    """The bytes of an object, from the answer that came with it and, after a seek or a reset, from a range of it.

    A range is asked for of the same generation, so that nobody reads half of one version and half of another. Bytes
    that are read from the first to the last are held against Google's checksum.
    """

    def __init__(self, answer: Response, found: Found, what: str, request: Callable[[int], Response]) -> None:
        super().__init__(found.length)
        self._answer: Response | None = answer
        self._expected = found.crc32c
        self._what = what
        self._request = request
        # Where the answer stands.
        self._answer_position = 0
        # Of the bytes from the start on, and how many they are.
        self._crc32c = new_crc32c()
        self._summed = 0

    def _piece(self, size: int) -> bytes:
        """Return some of the bytes at the position, at least one."""
        for attempt in range(1, _TRIES + 1):
            try:
                answer = self._placed()
                piece = cast(bytes, answer.raw.read(min(size, _STEP), decode_content=False))
                if not piece:  # some servers close the connection instead of resetting it
                    raise ConnectionResetError("the body ended early")
            except DepotError:  # of the request for a range, which has been repeated already
                self._drop()
                raise
            except (*GCS_ERRORS, OSError) as error:
                self._drop()
                if attempt == _TRIES:
                    raise ERRORS.translated(self._what, error) from error
            else:
                self._answer_position += len(piece)
                self._check(piece)
                return piece
        raise AssertionError("the last attempt returns or raises")

    def _placed(self) -> Response:
        """Return the answer, brought to the position."""
        gap = self._position - self._answer_position
        if self._answer is not None and 0 < gap <= _CHEAP:
            self._answer_position += len(self._answer.raw.read(gap, decode_content=False))
            gap = self._position - self._answer_position
        if self._answer is None or gap:
            self._drop()
            self._answer = self._request(self._position)
            self._answer_position = self._position
        return self._answer

    def _check(self, piece: bytes) -> None:
        """Sum what follows the bytes that were summed, and compare at the end."""
        if self._position != self._summed:
            return
        self._crc32c.update(piece)
        self._summed += len(piece)
        whole = self._summed == self._length and self._expected is not None
        if whole and b64encode(self._crc32c.digest()).decode() != self._expected:
            raise StorageFailed(
                f"cannot {self._what}: the bytes that came are not those that were stored (their checksum differs)"
            )

    def _drop(self) -> None:
        """Close the answer, and the connection with it."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def close(self) -> None:
        """Give the connection back, at the price of reading what little is left; a second time does nothing."""
        answer = getattr(self, "_answer", None)
        if answer is not None and self._length - self._answer_position <= _CHEAP:
            # Nobody wants these bytes, so whatever is wrong with them is nobody's loss.
            with suppress(*GCS_ERRORS, OSError):
                answer.raw.read(decode_content=False)
        if answer is not None:
            self._drop()
        super().close()


def body_of(answer: Response, found: Found, what: str, request: Callable[[int], Response]) -> BinaryIO:
    """Return the bytes of an object as a file: in memory if they are few, which have come with the headers by then.

    So who does not close a small file keeps no connection.
    """
    reader = RangeReader(answer, found, what, request)
    if found.length > _CHEAP:
        return cast(BinaryIO, reader)
    with reader:
        return io.BytesIO(reader.read())


class GCSStoredFile(StoredFile):
    """A file of a `GCSStorage`, whose bytes are on their way since `get`; the server can copy just this version."""

    def __init__(
        self, info: FileInfo, body: BinaryIO, public_url: str | None, storage: FileStorage, found: Found
    ) -> None:
        super().__init__(info, lambda: body)
        self._body = body
        self._public_url = public_url
        self.storage = storage
        self.found = found

    @property
    def public_url(self) -> str | None:
        """The URL that needs no signature, or None where the file is not public."""
        return self._public_url

    def close(self) -> None:
        """Give the connection back, read or not; a second time does nothing."""
        if hasattr(self, "_body"):
            self._body.close()
        super().close()


def summed(data: bytes) -> str:
    """Return the CRC-32C of bytes as Google has it."""
    crc32c: Any = new_crc32c()
    crc32c.update(data)
    return b64encode(crc32c.digest()).decode()
