"""Sources: the places where bytes come from, each read in its own way.

    Source
    +- BytesSource     in memory
    +- PathSource      a path, opened by us and closed again
    +- FileSource      the user's file: read from its start, put back to its position, never closed
    +- StreamSource    the user's stream: read once, up to a limit, or into a temporary file that can be read again

They keep the user's objects apart from the storages. A storage gets a reader of ours whose ``close()`` closes nothing
of the user's, and an error of the user's object comes out as `InvalidContent`, while that of the storage is its own.
"""

from __future__ import annotations

import inspect
import io
import os
import stat
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from depot_lite.errors import DepotError, InvalidContent, ValidationError
from depot_lite.io.media_types.detection import HEAD_SIZE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: How much is read, written or sent at once.
CHUNK_SIZE: Final = 256 * 1024

#: Bytes of a stream that are kept in memory; more go to a temporary file (filedepot's number).
INMEMORY_FILESIZE: Final = 1024 * 1024

_WANTED: Final = "bytes, a binary file, a pathlib.Path, a FileIntent or an upload of a web framework is wanted"

# Files whose read() gives what their descriptor gives. A subclass may change that, so these are the very types.
_BUFFERED: Final = (io.BufferedReader, io.BufferedRandom)
_PLAIN: Final = (io.FileIO, io.BytesIO, *_BUFFERED)


@contextmanager
def blaming(given: Any) -> Iterator[None]:
    """Turn what goes wrong in the user's object into an `InvalidContent` that says so; our own errors pass."""
    try:
        yield
    except DepotError:
        raise
    except Exception as error:
        raise unreadable(given, error) from error


def unreadable(given: Any, error: Exception) -> InvalidContent:
    """Return the error for an object of the user's that raised another when it was read."""
    if _known(given, "closed") is True:
        return InvalidContent(
            f"{shown(given)} was closed before its bytes were stored ({error}): assign a path or bytes, or keep it"
            " open until the flush"
        )
    return InvalidContent(f"{shown(given)} cannot be read: {error}")


def _known(given: Any, attribute: str) -> Any:
    """Return an attribute of the user's object for a message about it, which must not fail in its turn."""
    try:
        return getattr(given, attribute, None)
    except Exception:
        return None


def shown(given: Any) -> str:
    """Return what an error message calls the user's object: its name, else its type."""
    name = given if isinstance(given, Path) else _known(given, "name")
    return f"'{name}'" if isinstance(name, str | Path) and str(name) else f"the {type_of(given)}"


def type_of(given: object) -> str:
    """Return the type of something as an error message names it."""
    cls = type(given)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


class _Reader(io.RawIOBase):
    """The user's file as a storage sees it."""

    def __init__(self, file: Any, *, before: bytes = b"", seekable: bool = True) -> None:
        self._file = file
        self._before = before
        self._seekable = seekable
        self._readinto = file.readinto if type(file) in _PLAIN else None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether it can be read again."""
        return self._seekable

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` and return the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        if self._before:
            data, self._before = self._before[: len(view)], self._before[len(view) :]
        elif self._readinto is not None:
            with blaming(self._file):
                return int(self._readinto(view))
        else:
            with blaming(self._file):
                data = self._read(len(view))
        view[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if isinstance(data, str):
            raise InvalidContent(f"{shown(self._file)} gives text: open it in binary mode ('rb')")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise InvalidContent(f"{shown(self._file)} gives {type_of(data)} where bytes are wanted")
        if len(data) > size:
            raise InvalidContent(f"{shown(self._file)} gives {len(data)} bytes where at most {size} are wanted")
        return bytes(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position and return it."""
        if not self._seekable:
            raise io.UnsupportedOperation("a stream cannot seek")
        with blaming(self._file):
            self._file.seek(offset, whence)
            return int(self._file.tell())


class Source(ABC):
    """One kind of place where bytes come from. ``given`` is what the user handed in, below all wrappers."""

    #: Whether what was given comes once, so that only this source has its bytes.
    once = False

    def __init__(self, given: Any) -> None:
        self.given = given

    @property
    def rereadable(self) -> bool:
        """Whether it can be opened more than once."""
        return True

    def spool(self) -> None:
        """Make it readable more than once, if it is not yet."""

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Let reading a stream stop with this error once it has given more than ``size`` bytes.

        Of everything else the size is known before it is read.
        """

    @abstractmethod
    def size(self) -> int | None:
        """Return the number of bytes, None if only reading tells."""

    @abstractmethod
    def opened(self, buffer_size: int = CHUNK_SIZE) -> AbstractContextManager[BinaryIO]:
        """Give the bytes as a binary file at its start."""

    def head(self) -> bytes:
        """Return the first bytes, which tell the type."""
        with self.opened(HEAD_SIZE) as file:
            return file.read(HEAD_SIZE)

    def path(self) -> Path | None:
        """Return a regular file that holds exactly these bytes."""
        return None

    @contextmanager
    def descriptor(self) -> Iterator[int | None]:
        """Give the descriptor of a regular file that holds exactly these bytes."""
        yield None


class BytesSource(Source):
    """Bytes in memory."""

    given: bytes

    def size(self) -> int:
        """Return their number."""
        return len(self.given)

    def head(self) -> bytes:
        """Return the first of them."""
        return self.given[:HEAD_SIZE]

    @contextmanager
    def opened(self, buffer_size: int = CHUNK_SIZE) -> Iterator[BinaryIO]:
        """Give them without a copy."""
        with io.BytesIO(self.given) as file:
            yield file


class PathSource(Source):
    """A path. What it leads to may change after it was assigned, so every use looks again."""

    given: Path

    def __init__(self, given: Path) -> None:
        super().__init__(given)
        self.size()

    def _checked(self, found: os.stat_result) -> int:
        # A pipe would block, and a device never end.
        if not stat.S_ISREG(found.st_mode):
            kind = "a directory" if stat.S_ISDIR(found.st_mode) else "no regular file"
            raise InvalidContent(f"'{self.given}' is {kind}: the path of a regular file is wanted")
        return found.st_size

    def size(self) -> int:
        """Return what the file system says."""
        with blaming(self.given):
            return self._checked(self.given.stat())

    def path(self) -> Path:
        """Return it."""
        return self.given

    @contextmanager
    def _file(self) -> Iterator[io.FileIO]:
        # Looked at before it is opened, since opening a pipe waits for its writer, and after, since it may be another.
        self.size()
        with blaming(self.given):
            file = io.FileIO(self.given)
        with file:
            self._checked(os.fstat(file.fileno()))
            yield file

    @contextmanager
    def opened(self, buffer_size: int = CHUNK_SIZE) -> Iterator[BinaryIO]:
        """Give the file, which is closed again."""
        with self._file() as file, io.BufferedReader(_Reader(file), buffer_size) as reader:
            yield reader

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Give the descriptor of the file, which is closed again."""
        with self._file() as file:
            yield file.fileno()


class FileSource(Source):
    """A file of the user's that can be read from its start as often as wanted."""

    def size(self) -> int:
        """Return where its end is."""
        if hasattr(self.given, "file_id") and isinstance(self.given.content_length, int):
            return self.given.content_length  # a stored file knows it without being opened
        with self._position_kept(), blaming(self.given):
            self.given.seek(0, io.SEEK_END)
            return int(self.given.tell())

    @contextmanager
    def _position_kept(self) -> Iterator[None]:
        with blaming(self.given):
            position = self.given.tell()
        try:
            yield
        except BaseException:
            with suppress(Exception):  # the error that comes first is the one that tells
                self.given.seek(position)
            raise
        with blaming(self.given):
            self.given.seek(position)

    @contextmanager
    def opened(self, buffer_size: int = CHUNK_SIZE) -> Iterator[BinaryIO]:
        """Give the file from its start, and put it back to its position."""
        with self._position_kept():
            with blaming(self.given):
                self.given.seek(0)
            with io.BufferedReader(_Reader(self.given), buffer_size) as reader:
                yield reader

    def _fileno(self) -> int | None:
        """Return the descriptor of a regular file whose bytes are what ``read`` gives."""
        with blaming(self.given), suppress(io.UnsupportedOperation):
            file: Any = self.given
            if type(file) is tempfile.SpooledTemporaryFile:
                # Asked for its fileno() it would move from memory to disk; only one that has moved can serve us.
                file = getattr(file, "_file", None) if getattr(file, "_rolled", False) else None
            elif type(file) is tempfile._TemporaryFileWrapper:
                file = file.file
            # Not any file with a fileno(): that of a GzipFile leads to the compressed bytes.
            raw = file.raw if type(file) in _BUFFERED else file
            if type(raw) is io.FileIO or isinstance(getattr(file, "local_path", None), Path):
                file.flush()
                number = int(file.fileno())
                return number if stat.S_ISREG(os.fstat(number).st_mode) else None
        return None

    def path(self) -> Path | None:
        """Return the path of an open file, if it leads there still."""
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
        """Give the descriptor of the user's file, with everything written to it so far."""
        yield self._fileno()


class _StreamReader(_Reader):
    """The user's stream as a storage sees it, up to the limit."""

    def __init__(self, source: StreamSource, before: bytes) -> None:
        super().__init__(source.given, before=before, seekable=False)
        self._source = source
        self._count = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer``; at most one byte more than is allowed is taken from the stream."""
        view = memoryview(buffer).cast("B")
        most = self._source.most
        count = super().readinto(view if most is None else view[: max(most - self._count, 0) + 1])
        self._count += count
        self._source.passed(self._count)
        return count


class StreamSource(Source):
    """A stream of the user's. Its head is kept for whoever asks for the type before the bytes."""

    once = True

    def __init__(self, given: Any) -> None:
        super().__init__(given)
        #: How many bytes it may have, None if as many as it has.
        self.most: int | None = None
        self._error: ValidationError | None = None
        self._seen = 0
        self._head: bytes | None = None
        self._consumed = False
        self._spooled: FileSource | None = None

    @property
    def rereadable(self) -> bool:
        """Whether its bytes are in a temporary file."""
        return self._spooled is not None

    def size(self) -> int | None:
        """Return None, or the number of bytes that were spooled."""
        return None if self._spooled is None else self._spooled.size()

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Let reading stop with this error once more than ``size`` bytes came; None takes the limit away."""
        self.most, self._error = size, error

    def passed(self, count: int) -> None:
        """Note that reading has come so far, and raise the error of the limit behind it."""
        self._seen = max(self._seen, count)
        if self.most is not None and self._error is not None and self._seen > self.most:
            raise self._error

    def _check(self) -> None:
        if self._consumed:
            self.passed(0)  # one that broke the limit does so again, rather than having gone
            raise InvalidContent(f"{shown(self.given)} is a stream and can be stored only once: assign the file again")

    def head(self) -> bytes:
        """Return the first bytes, also after the stream was read if they were asked for before."""
        if self._head is None and self._spooled is not None:
            self._head = self._spooled.head()
        if self._head is None:
            self._check()
            self._consumed = True  # and stays so if this fails in the middle: what was read could not be given again
            self._head = self._read_head()
            self._consumed = False
        return self._head

    def _read_head(self) -> bytes:
        # Not through a BufferedReader, which reads ahead what it would take with it.
        reader, head = _StreamReader(self, b""), b""
        while len(head) < HEAD_SIZE and (piece := reader.read(HEAD_SIZE - len(head))):
            head += piece
        return head

    def spool(self) -> None:
        """Read the stream into a temporary file, in memory if it is small, which goes with this object.

        Raises:
            InvalidContent: the stream cannot be read, or no longer.
            ValidationError: it has more bytes than the limit allows.
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
        """Give the stream, the first time; the temporary file as often as wanted."""
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
        """Give the descriptor of the temporary file, if there is one on disk."""
        if self._spooled is None:
            yield None
            return
        self.passed(self._seen)
        with self._spooled.descriptor() as number:
            yield number


def source_of(given: Any) -> Source:
    """Choose how something is read, or refuse it.

    Raises:
        InvalidContent: nothing here can read it.
    """
    if isinstance(given, bytes | bytearray | memoryview):
        # A buffer could be changed between the assignment and the flush, so it is copied. Bytes are not.
        with blaming(given):
            return BytesSource(bytes(given))
    if isinstance(given, Path):
        return PathSource(given)
    if isinstance(given, str):
        raise InvalidContent(
            "str cannot be stored: encode it (text.encode()), or wrap it in pathlib.Path(...) if it was meant as a path"
        )
    if not callable(getattr(given, "read", None)):
        raise InvalidContent(f"{type_of(given)} cannot be stored: {_WANTED}")
    with blaming(given):
        return _of_file(given)


def _of_file(file: Any) -> Source:
    if isinstance(file, io.TextIOBase) or isinstance(getattr(file, "file", None), io.TextIOBase):
        raise InvalidContent(f"{shown(file)} gives text: open it in binary mode ('rb')")
    if inspect.iscoroutinefunction(file.read):
        raise InvalidContent(f"{shown(file)} has to be awaited: {_WANTED}")
    readable, seekable = getattr(file, "readable", None), getattr(file, "seekable", None)
    if callable(readable) and not readable():
        raise InvalidContent(f"{shown(file)} is not open for reading: open it with 'rb' or 'w+b'")
    if callable(seekable):
        return FileSource(file) if seekable() else StreamSource(file)
    return FileSource(file) if hasattr(file, "seek") and hasattr(file, "tell") else StreamSource(file)
