"""Sources of bytes, each read in its own way.

    Source
    +- BytesSource     in memory
    +- PathSource      a path, opened here and closed again
    +- FileSource      the user's file: read from its start, put back to its position, never closed
    +- StreamSource    the user's stream: read once, up to a limit (`depot_lite.io.content.streams`)

They separate the user's objects from the storages. A storage gets a reader whose ``close()`` does not close the user's
file. An error of the user's object becomes an `InvalidContent`; errors of the storage are not affected.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

from depot_lite.errors import DepotError, InvalidContent, StorageFailed, ValidationError
from depot_lite.io.media_types.detection import HEAD_SIZE, Finding, Sample, recognise

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: The number of bytes that are read, written or sent at once.
CHUNK_SIZE: Final = 256 * 1024

#: The number of bytes that are written to a file on a disk at once.
_WRITTEN_AT_ONCE: Final = 1024 * 1024

#: The size up to which a spooled stream is kept in memory; a longer one goes to disk (filedepot's value).
INMEMORY_FILESIZE: Final = 1024 * 1024

# Files whose read() returns the bytes of their descriptor. Subclasses may change that, so exact types are compared.
_BUFFERED: Final = (io.BufferedReader, io.BufferedRandom)
_PLAIN: Final = (io.FileIO, io.BytesIO, *_BUFFERED)


@contextmanager
def reading(given: Any) -> Iterator[None]:
    """Turn errors of the user's object into `InvalidContent`; a `DepotError` is passed on."""
    try:
        yield
    except DepotError as error:
        _mark(error)
        raise
    except Exception as error:
        raise unreadable(given, error) from error


@contextmanager
def reading_source() -> Iterator[None]:
    """Mark the failures of a storage that is read from: they tell nothing about the target."""
    try:
        yield
    except StorageFailed as error:
        _mark(error)
        raise


def _mark(error: DepotError) -> None:
    if isinstance(error, StorageFailed):
        error.of_source = True


def unreadable(given: Any, error: Exception) -> InvalidContent:
    """Return the `InvalidContent` for an error that the user's object raised."""
    if _attribute_or_none(given, "closed") is True:
        return InvalidContent(
            f"{label_of(given)} was closed before its bytes were stored ({error}): assign a path or bytes, or keep it"
            " open until the flush"
        )
    return InvalidContent(f"{label_of(given)} cannot be read: {error}")


def _attribute_or_none(given: Any, attribute: str) -> Any:
    """Return an attribute of the user's object for an error message, or None if that fails."""
    try:
        return getattr(given, attribute, None)
    except Exception:
        return None


def label_of(given: Any) -> str:
    """Return the name of the user's object for error messages, or its type if it has none."""
    name = given if isinstance(given, Path) else _attribute_or_none(given, "name")
    return f"'{name}'" if isinstance(name, str | Path) and str(name) else f"the {type_of(given)}"


def type_of(given: object) -> str:
    """Return the name of an object's type for error messages."""
    cls = type(given)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


class SourceReader(io.RawIOBase):
    """The user's file, to be read by a storage."""

    def __init__(self, file: Any, *, before: bytes = b"", seekable: bool = True) -> None:
        self._file = file
        self._before = before
        self._seekable = seekable
        self._readinto = file.readinto if type(file) in _PLAIN else None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether the file can be read again."""
        return self._seekable

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` and return the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        if self._before:
            data, self._before = self._before[: len(view)], self._before[len(view) :]
        elif self._readinto is not None:
            with reading(self._file):
                return int(self._readinto(view))
        else:
            with reading(self._file):
                data = self._read(len(view))
        view[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if isinstance(data, str):
            raise InvalidContent(f"{label_of(self._file)} gives text: open it in binary mode ('rb')")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise InvalidContent(f"{label_of(self._file)} gives {type_of(data)}, expected bytes")
        if len(data) > size:
            raise InvalidContent(f"{label_of(self._file)} gives {len(data)} bytes, expected at most {size}")
        return bytes(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position and return it."""
        if not self._seekable:
            raise io.UnsupportedOperation("a stream cannot seek")
        with reading(self._file):
            self._file.seek(offset, whence)
            return int(self._file.tell())


class WritableFile(Protocol):
    """A file on a disk, to which a content is written."""

    def write(self, data: bytes) -> None:
        """Append bytes."""

    def copy(self, source: int, size: int) -> None:
        """Write the first ``size`` bytes of another descriptor, whose position does not change."""


class Source(ABC):
    """The base class of sources. ``given`` is the user's object inside all wrappers."""

    #: Whether the object can be read only once, so that its bytes may exist only in this source.
    single_use = False

    def __init__(self, given: Any) -> None:
        self.given = given
        # The first bytes and the finding: recognition is most of the cost of a small file.
        self._recognised: tuple[bytes, Finding] | None = None

    @property
    def rereadable(self) -> bool:
        """Whether the source can be opened more than once."""
        return True

    def spool(self) -> None:
        """Make the source readable more than once."""

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Raise this error as soon as a stream has yielded more than ``size`` bytes.

        The size of all other sources is known before they are read.
        """

    @abstractmethod
    def size(self) -> int | None:
        """Return the number of bytes, or None if it is not known before reading."""

    @abstractmethod
    def opened(self, buffer_size: int = CHUNK_SIZE) -> AbstractContextManager[BinaryIO]:
        """Open the bytes as a binary file."""

    def head(self) -> bytes:
        """Return the first bytes, for the recognition of the type."""
        with self.opened(HEAD_SIZE) as file:
            return file.read(HEAD_SIZE)

    def finding(self) -> Finding:
        """Return the types that the bytes allow."""
        head = self.head()
        if self._recognised is None or self._recognised[0] != head:  # a file can change until it is stored
            has_more = len(head) == HEAD_SIZE
            sample = Sample(head, self.size() if has_more else None, self.read_at if has_more else None)
            self._recognised = head, recognise(sample)
        return self._recognised[1]

    def read_at(self, start: int, size: int) -> bytes:
        """Return bytes from a position for the recognition of the type, b"" if they can be read once only."""
        return b""

    def path(self) -> Path | None:
        """Return the path of a regular file that holds exactly these bytes, or None."""
        return None

    @contextmanager
    def descriptor(self) -> Iterator[int | None]:
        """Yield the descriptor of a regular file that holds exactly these bytes, or None."""
        yield None

    def write_to(self, file: WritableFile) -> None:
        """Write the bytes to a file, by the kernel if a regular file holds them."""
        with self.descriptor() as descriptor:
            if descriptor is not None:
                size = self.size()
                file.copy(descriptor, os.fstat(descriptor).st_size if size is None else size)
                return
        size, written = self.size(), 0
        with self.opened() as source:
            while chunk := source.read(_WRITTEN_AT_ONCE):
                file.write(chunk)
                written += len(chunk)
        if size is not None and written < size:
            raise StorageFailed(f"the content shrank while it was stored: expected {size} bytes, got {written}")


class BytesSource(Source):
    """Bytes in memory."""

    given: bytes

    def size(self) -> int:
        """Return the number of bytes."""
        return len(self.given)

    def head(self) -> bytes:
        """Return the first bytes."""
        return self.given[:HEAD_SIZE]

    def read_at(self, start: int, size: int) -> bytes:
        """Return bytes from a position."""
        return self.given[start : start + size]

    @contextmanager
    def opened(self, buffer_size: int = CHUNK_SIZE) -> Iterator[BinaryIO]:
        """Open the bytes without copying them."""
        with io.BytesIO(self.given) as file:
            yield file


class PathSource(Source):
    """A path. Its file may change after the assignment, so it is checked again at every use."""

    given: Path

    def __init__(self, given: Path) -> None:
        super().__init__(given)
        self.size()

    def _checked(self, found: os.stat_result) -> int:
        # A pipe would block, and a device never end.
        if not stat.S_ISREG(found.st_mode):
            kind = "a directory" if stat.S_ISDIR(found.st_mode) else "a device, pipe or socket"
            raise InvalidContent(f"'{self.given}': expected the path of a regular file, got {kind}")
        return found.st_size

    def size(self) -> int:
        """Return the size of the file at this moment."""
        with reading(self.given):
            return self._checked(self.given.stat())

    def path(self) -> Path:
        """Return the path."""
        return self.given

    @contextmanager
    def _file(self) -> Iterator[io.FileIO]:
        # Checked before it is opened, since opening a pipe blocks, and afterwards, since it may have been replaced.
        self.size()
        with reading(self.given):
            file = io.FileIO(self.given)
        with file:
            self._checked(os.fstat(file.fileno()))
            yield file

    @contextmanager
    def opened(self, buffer_size: int = CHUNK_SIZE) -> Iterator[BinaryIO]:
        """Open the file, and close it afterwards."""
        with self._file() as file, io.BufferedReader(SourceReader(file), buffer_size) as reader:
            yield reader

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Yield the descriptor of the opened file, and close it afterwards."""
        with self._file() as file:
            yield file.fileno()

    def read_at(self, start: int, size: int) -> bytes:
        """Return bytes from a position."""
        with self._file() as file, reading(self.given):
            file.seek(start)
            return file.read(size)


class FileSource(Source):
    """A seekable file of the user, which can be read any number of times."""

    def size(self) -> int:
        """Return the position of the end."""
        if hasattr(self.given, "file_id") and isinstance(self.given.content_length, int):
            return self.given.content_length  # a stored file knows its length without being opened
        with self._position_kept(), reading(self.given):
            self.given.seek(0, io.SEEK_END)
            return int(self.given.tell())

    @contextmanager
    def _position_kept(self) -> Iterator[None]:
        with reading(self.given):
            position = self.given.tell()
        try:
            yield
        except BaseException:
            with suppress(Exception):  # the first error is the relevant one
                self.given.seek(position)
            raise
        with reading(self.given):
            self.given.seek(position)

    @contextmanager
    def opened(self, buffer_size: int = CHUNK_SIZE) -> Iterator[BinaryIO]:
        """Open the file from its start, and restore its position afterwards."""
        with self._position_kept():
            with reading(self.given):
                self.given.seek(0)
            with io.BufferedReader(SourceReader(self.given), buffer_size) as reader:
                yield reader

    def read_at(self, start: int, size: int) -> bytes:
        """Return bytes from a position; of a stored file none, since each would be a request to its storage."""
        if hasattr(self.given, "file_id"):
            return b""
        with self._position_kept():
            with reading(self.given):
                self.given.seek(start)
            with io.BufferedReader(SourceReader(self.given), size) as reader:
                return reader.read(size)

    def _fileno(self) -> int | None:
        """Return the descriptor of a regular file with the same bytes as ``read``, or None."""
        with reading(self.given), suppress(io.UnsupportedOperation):
            file: Any = self.given
            if type(file) is tempfile.SpooledTemporaryFile:
                # fileno() would move the file from memory to disk, so it is called only if the file is on disk already.
                file = getattr(file, "_file", None) if getattr(file, "_rolled", False) else None
            elif type(file) is tempfile._TemporaryFileWrapper:
                file = file.file
            # Not every fileno() can be used: that of a GzipFile gives the compressed bytes.
            raw = file.raw if type(file) in _BUFFERED else file
            if type(raw) is io.FileIO or isinstance(getattr(file, "local_path", None), Path):
                file.flush()
                number = int(file.fileno())
                return number if stat.S_ISREG(os.fstat(number).st_mode) else None
        return None

    def path(self) -> Path | None:
        """Return the path of the open file, or None if the path no longer leads to it."""
        number = self._fileno()
        found = getattr(self.given, "local_path", None) or getattr(self.given, "name", None)
        if number is None or not isinstance(found, str | bytes | Path):
            return None
        candidate = Path(os.fsdecode(found))
        with suppress(OSError):  # renamed or removed since it was opened
            if os.path.samestat(candidate.stat(), os.fstat(number)):
                return candidate
        return None

    @contextmanager
    def descriptor(self) -> Iterator[int | None]:
        """Yield the descriptor of the user's file, flushed, or None."""
        yield self._fileno()
