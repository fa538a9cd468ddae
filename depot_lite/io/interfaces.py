"""The contract between depot_lite and a storage.

Who writes a backend subclasses `FileStorage` and gives it the methods whose names begin with an underscore; file ids
are checked and content is recognised before they are called. The rules, each of which
`depot_lite.testing.StorageContract` tests:

- A file is there whole or not at all. ``create`` that fails leaves nothing, and nobody ever reads half a file.
- What was stored comes back byte for byte, with its name, type and length.
- Reading what is not there raises `StoredFileNotFound`; deleting it is no error, however often.
- The key in the backend is the file id. The user's file name is metadata and never part of a path or a key.
- ``list`` leaves out no whole file, or ``list_is_complete`` is False, and then the storage is never swept.
- Two storages that hold the same files have the same ``location``, so that neither takes the other's for unused.
- A backend's own errors come out as `StorageFailed`, chained, and say nothing of secrets.
- All methods may be called from many threads at once.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self, cast

from depot_lite.errors import StoredFileNotFound
from depot_lite.io.aio import AsyncStorage
from depot_lite.io.content import CHUNK_SIZE, Content
from depot_lite.io.fileid import check_file_id, new_file_id
from depot_lite.io.verified import KnownContent, VerifiedStream

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


class FileStorage(ABC):
    """A place for files. The public methods are the same for every backend; the underscored ones make a backend."""

    #: Whether ``list`` never leaves out a file that is whole and stays. Maintenance never sweeps where it may.
    list_is_complete: bool = True

    #: How many transfers at once, and where: what `concurrency` and `executor` tell. A backend sets its options here.
    _concurrency: int = 1
    _executor: Executor | None = None

    # --- what a backend gives -------------------------------------------------------------------------------------

    @abstractmethod
    def _save(self, file_id: str, content: Content) -> FileInfo:
        """Store the content under the id and return what was stored.

        Ask for ``content.content_type`` before the bytes: those of a stream come once.
        Where the id holds a file already, its old bytes stay readable until the new ones are whole. On any failure
        what was there before is there still and nothing else: no part, no upload left open.
        """

    @abstractmethod
    def _open(self, file_id: str) -> StoredFile:
        """Return the file, or raise `StoredFileNotFound` (through `_missing`)."""

    @abstractmethod
    def _delete(self, file_id: str) -> None:
        """Remove the file and whatever an unfinished `_save` left under its id. No error if there is none."""

    @abstractmethod
    def _exists(self, file_id: str) -> bool:
        """Return whether the file is there, whole."""

    @abstractmethod
    def _list(self) -> Iterator[FileEntry]:
        """Yield each id in the storage once, in any order, holding no more than one page of them in memory.

        It may include ids whose file is not whole (an upload that is under way, or was cut off), never leave out one
        that is and stays there. A backend that may, because its listing lags behind or breaks off unnoticed, sets
        ``list_is_complete`` to False.
        """

    def _entry(self, file_id: str) -> FileEntry:
        """Return what `_list` yields for this id. Backends that list unfinished files, and look later, override it."""

        def look() -> tuple[int, datetime]:
            info = self._info(file_id)
            return info.content_length, info.last_modified

        return FileEntry(file_id, look)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        """Store a second file with the same content, name and type. Backends that can do it inside do."""
        with self._open(source_id) as source:
            return self._save(file_id, Content.of(source))

    def _info(self, file_id: str) -> FileInfo:
        """Return what is known of the file, or raise `StoredFileNotFound`. Backends that can do it for less do."""
        with self._open(file_id) as file:
            return file.info

    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        """Store a file of another storage under the id, as `_save` does; raise where its bytes are not what they were.

        Backends that can let the bytes move without this process do, for the sources that they know, and come here for
        the others.
        """
        with source._open(source_id) as file:
            return self._save(file_id, self._verified(file))

    @staticmethod
    def _verified(file: StoredFile) -> Content:
        """Return the content of another storage's file, with its name and type; what is damaged cannot be read."""
        file.read(0)  # from here on file.info describes the bytes that are open, whoever replaces the file
        stream = VerifiedStream(cast(BinaryIO, file), file.file_id, file.content_length, file.checksum)
        return KnownContent.of(StoredFile(file.info, lambda: cast(BinaryIO, stream)))

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        """Remove all; go on after a failure; return the failures. Backends with batches override it."""
        failed: dict[str, Exception] = {}
        for file_id in file_ids:
            try:
                self._delete(file_id)
            except Exception as error:
                failed[file_id] = error
        return failed

    @staticmethod
    def _missing(file_id: str) -> StoredFileNotFound:
        """Return the error for a file that is not there."""
        return StoredFileNotFound(f"file {file_id} is not in its storage")

    @property
    def concurrency(self) -> int:
        """How many transfers at once this storage gains from: 1 where they would only wait for each other."""
        return self._concurrency

    @property
    def executor(self) -> Executor | None:
        """Where transfers of this storage run that run in threads; None is the executor that all storages share."""
        return self._executor

    @property
    def location(self) -> Hashable:
        """What two storages have in common that may hold the same files; None where a backend cannot tell.

        A sweep takes all depots at one location for one, so that the same folder may be configured under two names.
        """
        return None

    @property
    def parts(self) -> tuple[FileStorage, ...]:
        """The storages that hold the files: this one, or those that it is made of."""
        return (self,)

    def shares_files_with(self, other: FileStorage) -> bool:
        """Return whether the other storage may hold files of this one: it is the same, or at the same `location`."""
        return any(
            one is two or (one.location is not None and one.location == two.location)
            for one in self.parts
            for two in other.parts
        )

    @property
    def has_urls(self) -> bool:
        """Whether the storage may have URLs of its own: whether it overrides ``url`` or ``public_url``."""
        kind = type(self)
        return kind.url is not FileStorage.url or kind.public_url is not FileStorage.public_url

    @property
    def aio(self) -> AsyncStorage:
        """The same methods, awaited: ``await depot.aio.get(file_id)``."""
        return AsyncStorage(self)

    # --- what everybody calls -------------------------------------------------------------------------------------

    def create(
        self,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
        *,
        file_id: str | None = None,
    ) -> str:
        """Store a new file and return its id.

        Args:
            content: anything that `depot_lite.io.content.Content` takes: bytes, a binary file, a path, an upload.
            filename: the name to remember; taken from the content where not given, ``unnamed`` where it has none.
            content_type: the declared type, which counts where the bytes do not tell.
            file_id: an id that was never used before; a new one where not given.

        Raises:
            InvalidContent: the content cannot be stored.
            StorageFull: the storage has no space left.
            StorageFailed: the storage could not store it. Nothing is left of any failed attempt.
        """
        opened = Content.of(content, filename, content_type)
        file_id = self.save(opened, file_id=file_id).file_id
        opened.release()
        return file_id

    def save(self, content: Content, *, file_id: str | None = None) -> FileInfo:
        """Store content that is ready and return what was stored; ``create`` for who wants to know more than the id.

        The source of a `FileIntent` with ``move=True`` stays until `Content.release` is called.
        """
        return self._save(new_file_id() if file_id is None else check_file_id(file_id), content)

    def get(self, file_or_id: StoredFile | str) -> StoredFile:
        """Return the stored file; its bytes are opened at the first read.

        Raises:
            InvalidFileId: this is no file id.
            StoredFileNotFound: there is no such file.
        """
        return self._open(self._id(file_or_id))

    def replace(
        self,
        file_or_id: StoredFile | str,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        """Give an existing file other content and return its id, which stays.

        Name and type stay too where neither is given nor known from the content. ``backup.replace(file, file)`` with a
        file of another storage stores it under the same id, whether it was there before or not.

        Raises:
            StoredFileNotFound: there is no such file.
        """
        file_id = self._id(file_or_id)
        if isinstance(file_or_id, StoredFile) and file_or_id is content:
            self._save(file_id, Content.of(content, filename, content_type))
            return file_id
        with ExitStack() as closing:
            existing = closing.enter_context(self._open(file_id))
            opened = Content.of(content, filename, content_type)
            if opened.filename is None:
                opened = Content.of(content, existing.filename, content_type or existing.content_type)
        self._save(file_id, opened)
        opened.release()
        return file_id

    def delete(self, file_or_id: StoredFile | str) -> None:
        """Delete a file; if there is none, that is no error."""
        self._delete(self._id(file_or_id))

    def delete_many(self, files_or_ids: Iterable[StoredFile | str]) -> dict[str, Exception]:
        """Delete files, in batches where the storage can; return what could not be deleted: id -> error.

        One failure does not keep the others. All ids are checked before any file is deleted.
        """
        return self._delete_many([self._id(each) for each in files_or_ids])

    def exists(self, file_or_id: StoredFile | str) -> bool:
        """Return whether the file is there."""
        return self._exists(self._id(file_or_id))

    def list(self) -> Iterator[FileEntry]:
        """Yield the id of every file, lazily; each entry knows its ``size`` and ``last_modified``.

        Files of uploads that are under way, or were cut off by a crash, are listed too: that is how a sweep finds them.
        """
        return self._list()

    def entry(self, file_or_id: StoredFile | str) -> FileEntry:
        """Return the entry that ``list`` has for a file: also for one whose upload is under way, or was cut off.

        Its ``size`` and ``last_modified`` raise `StoredFileNotFound` where there is none.
        """
        return self._entry(self._id(file_or_id))

    def copy(self, file_or_id: StoredFile | str, *, file_id: str | None = None) -> str:
        """Store a second, independent file with the same content, name and type; return its id.

        Raises:
            StoredFileNotFound: there is no such file.
        """
        return self.save_copy(file_or_id, file_id=file_id).file_id

    def save_copy(self, file_or_id: StoredFile | str, *, file_id: str | None = None) -> FileInfo:
        """Do what ``copy`` does and return what was stored."""
        return self._copy(self._id(file_or_id), new_file_id() if file_id is None else check_file_id(file_id))

    def save_from(self, source: FileStorage, file_or_id: StoredFile | str, *, file_id: str | None = None) -> FileInfo:
        """Store a file of another storage (or of this one) here and return what was stored.

        It has the name and the type that it has there, and its bytes, which are held against the checksum that the
        source knows. The bytes move inside the server or the kernel where the two storages can do that, else in pieces.

        Where there is a ``file_id`` here of the same length and checksum already, that is what is returned, and nothing
        is stored: who repeats what was cut off goes on where it was. Checksums of two algorithms cannot be compared, so
        then the file is stored again. A new id is not looked for.

        Args:
            file_or_id: the file in ``source``.
            file_id: the id that it gets here; a new one where not given.

        Raises:
            StoredFileNotFound: there is no such file in ``source``.
            StorageFailed: one of the two failed, or the bytes are not what they were; nothing is left of the attempt.
        """
        source_id = source._id(file_or_id)
        if file_id is None:
            file_id = new_file_id()
        elif (there := self._same(source, source_id, file_id := check_file_id(file_id))) is not None:
            return there
        return self._copy(source_id, file_id) if source is self else self._save_from(source, source_id, file_id)

    def _same(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo | None:
        """Return what is known of the file here, if it is there and has the bytes of the other."""
        try:
            there = self._info(file_id)
        except StoredFileNotFound:
            return None
        if source is self and source_id == file_id:
            return there
        wanted = source._info(source_id)
        same = (there.content_length, there.checksum) == (wanted.content_length, wanted.checksum)
        return there if same and there.checksum is not None else None

    def public_url(self, file_or_id: StoredFile | str) -> str | None:
        """Return the storage's own URL of a file, or None where the application has to serve it; makes no request."""
        self._id(file_or_id)
        return None

    def url(
        self,
        file_or_id: StoredFile | str,
        *,
        expires_in: int | timedelta | None = None,
        filename: str | None = None,
        disposition: str | None = None,
        content_type: str | None = None,
    ) -> str | None:
        """Return a URL at which the storage itself gives the file to whoever has it, or None where it has none.

        Makes no request, so that a page may show hundreds; the file need not be there.

        Args:
            expires_in: how long the URL works, at least; in seconds. The storage says where it is not given.
            filename: the name to save the file under.
            disposition: ``inline`` or ``attachment``.
            content_type: the type to send it with.

        Raises:
            ConfigurationError: one of these cannot be.
        """
        self._id(file_or_id)
        return None

    def upload_form(
        self,
        file_id: str,
        *,
        max_size: int,
        content_type: str | None = None,
        filename: str | None = None,
        expires_in: int = 600,
    ) -> tuple[str, dict[str, str]] | None:
        """Return the form with which a browser sends a file to the storage itself: its URL, and its fields in order.

        None where the storage takes none, so that the application has to receive the file. The file goes last, in the
        field ``file``. The storage refuses what is larger than ``max_size`` bytes, and any other id. Makes no request.

        Args:
            file_id: the id that the file will have.
            max_size: in bytes.
            content_type: ``image/png``; ``image/*``, of which the browser names one in the field ``Content-Type``; or
                None, with which the file is stored as one of no type.
            filename: the name to remember.
            expires_in: how long the form works, in seconds.
        """
        return self._upload_form(check_file_id(file_id), max_size, content_type, filename, expires_in)

    def _upload_form(
        self, file_id: str, max_size: int, content_type: str | None, filename: str | None, expires_in: int
    ) -> tuple[str, dict[str, str]] | None:
        """Return the form, for `upload_form`. Backends that take files from browsers override it."""
        return None

    # --- filedepot's helpers --------------------------------------------------------------------------------------

    @staticmethod
    def fileid(file_or_id: Any) -> Any:
        """Return the id of a stored file, or the id itself (filedepot's helper)."""
        return getattr(file_or_id, "file_id", file_or_id)

    @staticmethod
    def fileinfo(
        fileobj: object, filename: str | None = None, content_type: str | None = None, existing: Any = None
    ) -> tuple[Any, str, str]:
        """Return the content, name and type that storing ``fileobj`` would use (filedepot's helper).

        ``existing`` is a stored file, or a callable that returns one, whose name and type count where none is known.
        """
        content = Content.of(fileobj, filename, content_type)
        if content.filename is None and existing is not None:
            known = existing() if callable(existing) else existing
            return content.source, known.filename, known.content_type
        return content.source, content.filename or UNNAMED, content.content_type

    def _id(self, file_or_id: StoredFile | str) -> str:
        return check_file_id(self.fileid(file_or_id))
