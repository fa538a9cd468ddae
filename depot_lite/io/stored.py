"""Stored files: `FileInfo` describes one, `FileEntry` is its line in a listing, `StoredFile` reads it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from depot_lite.io.content import CHUNK_SIZE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: What a file is called when nobody gave it a name (filedepot's word).
UNNAMED: Final = "unnamed"


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a storage knows of one file.

    ``content_length`` is in bytes, ``last_modified`` an aware time in UTC, ``checksum`` an algorithm and its
    hexadecimal digest (``sha256:9f86d0...``) or None where none was computed.
    """

    file_id: str
    filename: str
    content_type: str
    content_length: int
    last_modified: datetime
    checksum: str | None = None


class FileEntry(str):
    """A file id that `FileStorage.list` yields, with the ``size`` (bytes) and ``last_modified`` (UTC) of the file.

    ``known`` says whether the listing told them. Otherwise they are looked up when asked, and both raise
    `StoredFileNotFound` where the file has gone since it was listed and was not looked at before.
    """

    __slots__ = ("_known", "_look")

    _look: Callable[[], tuple[int, datetime]]
    _known: tuple[int, datetime] | None

    def __new__(cls, file_id: str, look: Callable[[], tuple[int, datetime]]) -> Self:
        """Name the file, and say how its size and time are found."""
        entry = str.__new__(cls, file_id)
        entry._look = look
        entry._known = None
        return entry

    @classmethod
    def told(cls, file_id: str, size: int, last_modified: datetime) -> Self:
        """Return the entry of a file whose size and time the listing told."""
        entry = str.__new__(cls, file_id)
        entry._known = (size, last_modified)
        return entry

    def _details(self) -> tuple[int, datetime]:
        if self._known is None:
            self._known = self._look()
        return self._known

    @property
    def known(self) -> bool:
        """Whether size and time are known without a look at the storage: they were told, or looked up before."""
        return self._known is not None

    @property
    def size(self) -> int:
        """The number of bytes of the file."""
        return self._details()[0]

    @property
    def last_modified(self) -> datetime:
        """When the file was last changed, in UTC."""
        return self._details()[1]


class StoredFile(io.BufferedIOBase):
    """A stored file: what is known of it, and its bytes, readable and seekable from the start.

    It is opened at the first read, so asking for ``filename`` or ``content_length`` costs nothing more. Iterating gives
    chunks of bytes (not lines). It is a context manager; ``close()`` may be called more than once.
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
        """The name that the file came with."""
        return self.info.filename

    @property
    def name(self) -> str:
        """The same as ``filename``, as file objects have it."""
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
        """``algorithm:hexadecimal digest``, or None where none was computed."""
        return self.info.checksum

    @property
    def public_url(self) -> str | None:
        """The storage's own URL of the file, or None where the application has to serve it."""
        return None

    @property
    def local_path(self) -> Path | None:
        """The path of the bytes on this machine, or None. To be read only; it is never part of a URL."""
        return None

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
        """Return up to ``size`` bytes, all that are left if it is negative or None, and ``b""`` at the end."""
        return self._raw().read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        """Return what one read gives."""
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
        """Yield the rest of the content in chunks of at most 256 KiB, where other files give lines."""
        while chunk := self.read(CHUNK_SIZE):
            yield chunk

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        stream, self._stream = getattr(self, "_stream", None), None
        if stream is not None:
            stream.close()
        super().close()

    def __repr__(self) -> str:
        """Show what is known of the file."""
        return (
            f"<{type(self).__name__} {self.file_id} {self.filename!r} {self.content_type} {self.content_length} bytes>"
        )
