"""Stored files: `FileInfo` describes one, `FileEntry` is its line in a listing, `StoredFile` reads it.

Length and checksum are verified while a file is read. Reading raises an error instead of returning the last bytes of a
damaged file, so that no reader takes it for complete: a copy stores nothing, and a client of a server sees a broken
connection. A check afterwards would be too late.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self, cast

from depot_lite.errors import StorageFailed, StoredFileNotFound
from depot_lite.io.checksums import Verification
from depot_lite.io.content import CHUNK_SIZE, Content
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.on_disk import DiskSource, OnDisk

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["UNNAMED", "FileEntry", "FileInfo", "Listing", "StoredFile"]

#: The name of a file for which none was given (as in filedepot).
UNNAMED: Final = "unnamed"


@dataclass(frozen=True, slots=True)
class FileInfo:
    """The description of a stored file.

    ``content_length`` is in bytes, ``last_modified`` an aware time in UTC, ``checksum`` an algorithm and a hexadecimal
    digest (``sha256:9f86d0...``), or None if none was computed.
    """

    file_id: str
    filename: str
    content_type: str
    content_length: int
    last_modified: datetime
    checksum: str | None = None


class FileEntry(str):
    """A file id that `FileStorage.list` yields, with the ``size`` (bytes) and ``last_modified`` (UTC) of the file.

    If the listing did not include them, they are looked up on first access, which raises `StoredFileNotFound` if the
    file was deleted in the meantime. ``known`` is True once no look-up is needed. ``unfinished`` is True if the listing
    saw only a part of the file, whose upload is in progress or was interrupted.
    """

    __slots__ = ("_known", "_look", "unfinished")

    _look: Callable[[], tuple[int, datetime]]
    _known: tuple[int, datetime] | None
    unfinished: bool

    def __new__(cls, file_id: str, look: Callable[[], tuple[int, datetime]], *, unfinished: bool = False) -> Self:
        """Create the entry of a file whose size and time ``look`` finds."""
        entry = str.__new__(cls, file_id)
        entry._look = look
        entry._known = None
        entry.unfinished = unfinished
        return entry

    @classmethod
    def told(cls, file_id: str, size: int, last_modified: datetime) -> Self:
        """Create the entry of a file whose size and time were part of the listing."""
        entry = str.__new__(cls, file_id)
        entry._known = (size, last_modified)
        entry.unfinished = False
        return entry

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # The function that looks belongs to this process; the details are known after this, or the file is gone.
        try:
            return _told, (type(self), str(self), self._details())
        except StoredFileNotFound:
            return str, (str(self),)

    def _details(self) -> tuple[int, datetime]:
        if self._known is None:
            self._known = self._look()
        return self._known

    @property
    def known(self) -> bool:
        """Whether size and time are available without asking the storage."""
        return self._known is not None

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self._details()[0]

    @property
    def last_modified(self) -> datetime:
        """When the file was last changed, in UTC."""
        return self._details()[1]


def _filled(stream: BinaryIO, data: bytes, size: int) -> bytes:
    """Return the bytes of a read and those that follow, up to ``size``; fewer only at the end of the stream."""
    pieces, missing = [data], size - len(data)
    while missing > 0 and (piece := stream.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _told(cls: type[FileEntry], file_id: str, details: tuple[int, datetime]) -> FileEntry:
    return cls.told(file_id, *details)


class Listing(Iterable[FileEntry]):
    """The files of a storage, read lazily and anew by each iteration."""

    def __init__(self, read: Callable[[], Iterator[FileEntry]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[FileEntry]:
        return self._read()


class StoredFile(io.BufferedIOBase):
    """A stored file: its description, and its bytes as a seekable binary file.

    The bytes are opened by the first read; ``filename`` or ``content_length`` do not need them. Iterating gives chunks
    of bytes (not lines). It is a context manager; ``close()`` may be called more than once.

    A damaged file raises `StorageFailed` instead of returning its last bytes: if it has another length than
    ``content_length``, or if it is read from start to end and does not match its ``checksum``.
    """

    def __init__(self, info: FileInfo, opener: Callable[[], BinaryIO]) -> None:
        self.info = info
        self._opener = opener
        self._stream: BinaryIO | None = None
        # The position of the stream; None if somebody else may have moved it.
        self._position: int | None = 0
        self._verification: Verification | None = Verification()
        # Told of failures to read: composite storages remember that a part is down.
        self._listeners: list[Callable[[StorageFailed], object]] = []

    def listen(self, listener: Callable[[StorageFailed], object]) -> None:
        """Tell a listener of each failure of the storage to read this file."""
        self._listeners.append(listener)

    @property
    def file_id(self) -> str:
        """The key of the file in its storage."""
        return self.info.file_id

    @property
    def filename(self) -> str:
        """The name under which the file was uploaded."""
        return self.info.filename

    @property
    def name(self) -> str:
        """The same as ``filename``, as an attribute of file objects."""
        return self.info.filename

    @property
    def content_type(self) -> str:
        """The media type of the content."""
        return self.info.content_type

    @property
    def content_length(self) -> int:
        """The number of bytes."""
        return self.info.content_length

    @property
    def last_modified(self) -> datetime:
        """When the file was stored, in UTC."""
        return self.info.last_modified

    @property
    def checksum(self) -> str | None:
        """``algorithm:hexadecimal digest``, or None if none was computed."""
        return self.info.checksum

    @property
    def public_url(self) -> str | None:
        """The storage's own URL of the file, or None if the application has to serve it."""
        return None

    @property
    def local_path(self) -> Path | None:
        """The path of the bytes on this machine, or None. It must not be written to, and is never part of a URL."""
        return None

    def on_disk(self) -> OnDisk:
        """Return a context manager that gives a path with the whole file, for ``with`` or ``async with``.

        The path has the suffix of the file's name, and exists within the block. It must only be read. Use an object of
        this class for nothing else meanwhile. The copy of a file that is not on this machine is verified. The file
        stands where it was afterwards; the storage is asked again only if more is read.
        """
        return OnDisk(self._returning_source)

    def _returning_source(self, closing: ExitStack) -> DiskSource:
        def rewound() -> BinaryIO:
            closing.callback(self.seek, self.tell())
            return self._rewound()

        return replace(self.disk_source(), open=rewound)

    def disk_source(self) -> DiskSource:
        """Return the name, type, path and bytes, for `OnDisk`."""
        return DiskSource(self.filename, self.content_type, self.local_path, self._rewound)

    def _rewound(self) -> BinaryIO:
        self.seek(0)
        return cast(BinaryIO, self)

    def unverified(self) -> Self:
        """Return this file, whose bytes are from now on returned as they are, damaged or not."""
        self._verification = None
        return self

    def _raw(self) -> BinaryIO:
        if self.closed:
            raise ValueError(f"file {self.file_id} is closed")
        if self._stream is None:
            with self._telling():
                self._stream = self._opener()
        return self._stream

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except StorageFailed as error:
            for listener in self._listeners:
                listener(error)
            raise

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, all remaining ones if it is negative or None, and ``b""`` at the end.

        Raises:
            StorageFailed: the storage failed, or the end is reached and the file is damaged.
        """
        size = -1 if size is None else size
        stream = self._raw()
        with self._telling():
            position = stream.tell() if self._position is None else self._position
            data = stream.read(size)
            # Beyond the end there is nothing to verify. The first read may have found another version of the file.
            expected = self.info.content_length - position
            verification = self._verification if size and expected >= 0 else None
            if verification is not None and 0 < len(data) < min(size, expected):
                data = _filled(stream, data, min(size, expected))
        self._position = end = position + len(data)
        if verification is not None:
            at_end = size < 0 or len(data) < size or end >= self.info.content_length
            verification.take(self.info, position, data, at_end=at_end)
        return data

    def read1(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, by default up to 256 KiB, as `read` does."""
        return self.read(CHUNK_SIZE if size < 0 else size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` and return the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position and return it."""
        self._position = position = self._raw().seek(offset, whence)
        return position

    def tell(self) -> int:
        """Return the position."""
        return 0 if self._stream is None and not self.closed else self._raw().tell()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the remaining bytes in chunks of at most 256 KiB, not in lines as other files do."""
        while chunk := self.read(CHUNK_SIZE):
            yield chunk

    def close(self) -> None:
        """Close the file; closing it again does nothing."""
        stream, self._stream = getattr(self, "_stream", None), None
        if stream is not None:
            stream.close()
        super().close()

    def __repr__(self) -> str:
        """Show id, name, type and length."""
        return (
            f"<{type(self).__name__} {self.file_id} {self.filename!r} {self.content_type} {self.content_length} bytes>"
        )


class KnownContent(Content):
    """The content of a stored file, which keeps its type."""

    @property
    def content_type(self) -> str:
        """The type of the stored file; the bytes are not examined again."""
        return self.declared_type or OCTET_STREAM
