"""Stored files: `FileInfo` describes one, `FileEntry` is its line in a listing, `StoredFile` reads it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self, cast

from depot_lite.errors import StoredFileNotFound
from depot_lite.io.content import CHUNK_SIZE
from depot_lite.io.on_disk import DiskSource, OnDisk
from depot_lite.io.verified import VerifiedStream

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

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
    file was deleted in the meantime. ``known`` is True once no look-up is needed.
    """

    __slots__ = ("_known", "_look")

    _look: Callable[[], tuple[int, datetime]]
    _known: tuple[int, datetime] | None

    def __new__(cls, file_id: str, look: Callable[[], tuple[int, datetime]]) -> Self:
        """Create the entry of a file whose size and time ``look`` finds."""
        entry = str.__new__(cls, file_id)
        entry._look = look
        entry._known = None
        return entry

    @classmethod
    def told(cls, file_id: str, size: int, last_modified: datetime) -> Self:
        """Create the entry of a file whose size and time were part of the listing."""
        entry = str.__new__(cls, file_id)
        entry._known = (size, last_modified)
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
    """

    def __init__(self, info: FileInfo, opener: Callable[[], BinaryIO]) -> None:
        self.info = info
        self._opener = opener
        self._stream: BinaryIO | None = None

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
        this class for nothing else meanwhile. The copy of a file that is not on this machine is verified.
        """
        return OnDisk(lambda closing: self.disk_source())

    def disk_source(self) -> DiskSource:
        """Return the name, type, path and bytes, for `OnDisk`."""
        return DiskSource(self.filename, self.content_type, self.local_path, self._verified)

    def _verified(self) -> BinaryIO:
        self.seek(0)
        return cast(BinaryIO, VerifiedStream(cast(BinaryIO, self), self.file_id, self.content_length, self.checksum))

    def _raw(self) -> BinaryIO:
        if self.closed:
            raise ValueError(f"file {self.file_id} is closed")
        if self._stream is None:
            self._stream = self._opener()
        return self._stream

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, all remaining ones if it is negative or None, and ``b""`` at the end."""
        return self._raw().read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        """Return the bytes of a single read."""
        return self.read(CHUNK_SIZE if size < 0 else size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` and return the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position and return it."""
        return self._raw().seek(offset, whence)

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
