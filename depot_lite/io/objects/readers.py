"""Readers of remote bytes, which behave like files; and the counterpart, which sums the bytes that are sent."""

from __future__ import annotations

import io
import zlib
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, ClassVar, Final, Generic, Protocol, TypeVar, cast

from depot_lite.errors import DepotError, StorageFailed
from depot_lite.io.interfaces import FileInfo, StoredFile
from depot_lite.io.objects.errors import ErrorTable

_STEP: Final = 1024 * 1024
#: How often in a row a body may break off before any more of it has come.
_TRIES: Final = 4


class PiecewiseReader(io.RawIOBase):
    """A file of remote bytes. A subclass gets the bytes at the position; seeking makes no request.

    Args:
        length: the number of bytes.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._position = 0

    @abstractmethod
    def _piece(self, size: int) -> bytes | memoryview:
        """Return 1 to ``size`` of the bytes at the position, without moving it."""

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
        """Move to a position and return it. The next read requests the bytes there."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError(f"seek({offset}, {whence}): the position is before the start, or whence is invalid")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return ``size`` bytes, fewer at the end only, all of them if it is negative or None.

        Raises:
            StorageFailed: the storage does not send them.
        """
        left = max(0, self._length - self._position)
        missing = left if size is None or size < 0 else min(size, left)
        pieces = []
        while missing:
            piece = self._piece(missing)
            self._position += len(piece)
            missing -= len(piece)
            pieces.append(piece)
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)


class _Closable(Protocol):
    def close(self) -> None: ...


ObjectBody = TypeVar("ObjectBody", bound=_Closable)


class ResumingReader(PiecewiseReader, Generic[ObjectBody]):
    """The bytes of an object, from the body that came with it and, after a seek or a break, from a range of it.

    Args:
        body: the body from the start on.
        length: the number of bytes.
        what: the attempt, for messages.
        request: returns the body from a position on. It has to belong to the same object, so that nobody reads
            half of one version and half of another.
    """

    #: The translation of the errors that a body raises.
    table: ClassVar[ErrorTable]
    #: Errors that would come again.
    lasting: ClassVar[tuple[type[Exception], ...]] = ()
    #: How often in a row nothing of a body may come in time.
    patience: ClassVar[int] = 2
    #: A gap up to this much is read over: a new request takes longer.
    nearby: ClassVar[int] = 64 * 1024
    #: How much of a body is read at `close`, so that its connection serves the next request.
    leftover: ClassVar[int] = 64 * 1024

    _body: ObjectBody | None = None

    def __init__(self, body: ObjectBody, length: int, what: str, request: Callable[[int], ObjectBody]) -> None:
        super().__init__(length)
        self._body = body
        self._what = what
        self._request = request
        self._body_position = 0

    @abstractmethod
    def _take(self, body: ObjectBody, size: int) -> bytes | memoryview:
        """Return up to ``size`` of the next bytes of a body, none at its end."""

    def _piece(self, size: int) -> bytes | memoryview:
        errors: tuple[type[Exception], ...] = (*self.table.errors, OSError)
        for attempt in range(1, _TRIES + 1):
            try:
                body = self._body_at_position()
                piece = self._take(body, min(size, _STEP))
                if not piece:  # some servers close the connection instead of resetting it
                    raise ConnectionResetError("the body ended early")
                self._body_position += len(piece)
                return piece
            except DepotError:  # of the request for a range, which the library has repeated already
                self._drop()
                raise
            except errors as error:
                self._drop()
                in_vain = attempt >= self.patience and self.table.is_timeout(error)
                if attempt == _TRIES or in_vain or isinstance(error, self.lasting):
                    raise self.table.translated(self._what, error) from self.table.cause(error)
        raise AssertionError("the last attempt returns or raises")

    def _body_at_position(self) -> ObjectBody:
        while self._body is not None and 0 < (gap := self._position - self._body_position) <= self._nearby():
            if not (skipped := self._take(self._body, min(gap, _STEP))):
                break
            self._body_position += len(skipped)
        if self._body is None or self._position != self._body_position:
            self._drop()
            self._body = self._request(self._position)
            self._body_position = self._position
        return self._body

    def _nearby(self) -> int:
        return self.nearby

    def _drop(self) -> None:
        """Close the body, and the connection with it."""
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def close(self) -> None:
        """Give the connection back, at the price of reading a small rest; a second time does nothing."""
        if self._body is not None and self._length - self._body_position <= self.leftover:
            # Nobody gets these bytes, so an error in them does not matter.
            with suppress(*self.table.errors, OSError):
                # One more than there can be, so that the end is seen.
                self._take(self._body, self.leftover + 1)
        self._drop()
        super().close()


class ObjectFile(StoredFile):
    """A stored file whose bytes are on their way since ``get``."""

    _reader: BinaryIO | io.RawIOBase | None = None

    def __init__(self, info: FileInfo, reader: BinaryIO | io.RawIOBase, public_url: str | None) -> None:
        super().__init__(info, lambda: cast(BinaryIO, reader))
        self._reader = reader
        self._public_url = public_url

    @property
    def public_url(self) -> str | None:
        """The URL that needs no signature, or None if the file is not public."""
        return self._public_url

    def close(self) -> None:
        """Give the connection back, read or not; a second time does nothing."""
        if self._reader is not None:
            self._reader.close()
        super().close()


class SummedReader:
    """The content of an upload, with length and CRC-32 of the bytes that went through.

    It has no method but ``read``, so that boto3 takes it as it comes, part by part.

    Args:
        head: the bytes that were read already.
        read: returns up to so many of the bytes after them, all of them if it is negative.
        expected: the CRC-32 that was announced, None if none was.
    """

    def __init__(self, head: bytes, read: Callable[[int], bytes], expected: int | None) -> None:
        #: The number of bytes that were read.
        self.length = 0
        #: Their CRC-32.
        self.sum = 0
        self._head = memoryview(head)
        self._read = read
        self._expected = expected

    def read(self, size: int = -1, /) -> bytes:
        """Return ``size`` bytes, fewer at the end only.

        Raises:
            StorageFailed: at the end, if the bytes do not have the checksum that was announced.
        """
        taken = bytes(self._head if size < 0 else self._head[:size])
        self._head = self._head[len(taken) :]
        data = taken if len(taken) == size else taken + self._read(size - len(taken) if size >= 0 else -1)
        self.length += len(data)
        self.sum = zlib.crc32(data, self.sum)
        if (size < 0 or len(data) < size) and self._expected not in {None, self.sum}:
            raise StorageFailed("the content changed while it was stored")
        return data
