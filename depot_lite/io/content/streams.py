"""`StreamSource`: a stream of the user, read once, up to a limit, or into a temporary file that can be read again."""

from __future__ import annotations

import io
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from depot_lite.errors import InvalidContent, ValidationError
from depot_lite.io.content.sources import CHUNK_SIZE, INMEMORY_FILESIZE, FileSource, Source, SourceReader, label_of
from depot_lite.io.media_types.detection import HEAD_SIZE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _StreamReader(SourceReader):
    """The user's stream, to be read by a storage up to the limit."""

    def __init__(self, source: StreamSource, before: bytes) -> None:
        super().__init__(source.given, before=before, seekable=False)
        self._source = source
        self._count = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer``; at most one byte beyond the limit is read from the stream."""
        view = memoryview(buffer).cast("B")
        most = self._source.most
        count = super().readinto(view if most is None else view[: max(most - self._count, 0) + 1])
        self._count += count
        self._source.passed(self._count)
        return count


class StreamSource(Source):
    """A stream of the user. Its first bytes are kept, so that the type can be recognised before it is read."""

    single_use = True

    def __init__(self, given: Any) -> None:
        super().__init__(given)
        #: The limit of its bytes, None for no limit.
        self.most: int | None = None
        self._error: ValidationError | None = None
        self._seen = 0
        self._head: bytes | None = None
        self._consumed = False
        self._spooled: FileSource | None = None

    @property
    def rereadable(self) -> bool:
        """Whether the bytes are in a temporary file."""
        return self._spooled is not None

    def size(self) -> int | None:
        """Return the number of spooled bytes, or None before that."""
        return None if self._spooled is None else self._spooled.size()

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Raise this error as soon as there were more than ``size`` bytes; None removes the limit."""
        self.most, self._error = size, error

    def passed(self, count: int) -> None:
        """Note the number of bytes read, and raise the error if it exceeds the limit."""
        self._seen = max(self._seen, count)
        if self.most is not None and self._error is not None and self._seen > self.most:
            raise self._error

    def _check(self) -> None:
        if self._consumed:
            self.passed(0)  # a stream beyond its limit raises that error again
            message = f"{label_of(self.given)} is a stream and can be stored only once: assign the file again"
            raise InvalidContent(message)

    def head(self) -> bytes:
        """Return the first bytes; after the stream was read, only if this was called before."""
        if self._head is None and self._spooled is not None:
            self._head = self._spooled.head()
        if self._head is None:
            self._check()
            self._consumed = True  # remains so after a failure, since the bytes read until then are lost
            self._head = self._read_head()
            self._consumed = False
        return self._head

    def _read_head(self) -> bytes:
        # Without a BufferedReader, which would read ahead and lose the bytes.
        reader, head = _StreamReader(self, b""), b""
        while len(head) < HEAD_SIZE and (piece := reader.read(HEAD_SIZE - len(head))):
            head += piece
        return head

    def read_at(self, start: int, size: int) -> bytes:
        """Return bytes from a position of the temporary file; a stream that can be read once shows its head only."""
        return b"" if self._spooled is None else self._spooled.read_at(start, size)

    def spool(self) -> None:
        """Read the stream into a temporary file, in memory if it is small, which is removed with this object.

        Raises:
            InvalidContent: the stream cannot be read, or can no longer be read.
            ValidationError: the stream has more bytes than the limit allows.
        """
        if self._spooled is not None:
            return
        with ExitStack() as closing:
            file = closing.enter_context(tempfile.SpooledTemporaryFile(INMEMORY_FILESIZE))
            with self.opened() as stream:
                while chunk := stream.read(CHUNK_SIZE):
                    file.write(chunk)
            weakref.finalize(self, file.close)
            closing.pop_all()
        self._spooled = FileSource(file)

    @contextmanager
    def opened(self, buffer_size: int = CHUNK_SIZE) -> Iterator[BinaryIO]:
        """Open the stream once, or the temporary file any number of times."""
        if self._spooled is not None:
            self.passed(self._seen)
            with self._spooled.opened(buffer_size) as file:
                yield file
            return
        self._check()
        self._consumed = True
        with io.BufferedReader(_StreamReader(self, self._head or b""), buffer_size) as reader:
            yield reader

    @contextmanager
    def descriptor(self) -> Iterator[int | None]:
        """Yield the descriptor of the temporary file if it is on disk, or None."""
        if self._spooled is None:
            yield None
            return
        self.passed(self._seen)
        with self._spooled.descriptor() as number:
            yield number
