"""The contract between depot_lite and a storage.

To write a backend, subclass `FileStorage` and implement the methods whose names begin with an underscore; they are
called with checked file ids and recognised content. The rules, all of which `depot_lite.testing.StorageContract` tests:

- A file exists as a whole or not at all. A ``create`` that fails leaves nothing, and no reader ever sees half a file.
- A file is read back byte for byte, with its name, type and length.
- Reading a missing file raises `StoredFileNotFound`; deleting it, once or repeatedly, is not an error.
- The key in the backend is the file id. The user's file name is metadata and never part of a path or a key.
- ``list`` omits no complete file, or ``list_is_complete`` is False, and then the storage is never swept.
- The notes of maintenance are stored by ``_save`` under reserved ids, and ``list`` leaves them out. If two processes
  change a note at once, no change is lost, or ``notes_are_conditional`` is False.
- Two storages that hold the same files have the same ``location``, so that neither regards the other's as unused.
- A backend's own errors become `StorageFailed`, or `StorageFull`, chained, and reveal no secrets.
- All methods may be called from many threads at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import Executor
from datetime import UTC, datetime
from functools import cached_property
from itertools import filterfalse
from typing import Any, BinaryIO, cast

from depot_lite.concurrency.pools import StoragePools
from depot_lite.errors import StoredFileNotFound
from depot_lite.io.aio import AsyncStorage
from depot_lite.io.content import Content
from depot_lite.io.content.sources import reading_source
from depot_lite.io.fileid import check_file_id, checked_or_new, id_of, is_note_id, new_file_id
from depot_lite.io.notes import StorageNotes
from depot_lite.io.stored import UNNAMED, FileEntry, FileInfo, KnownContent, Listing, StoredFile
from depot_lite.io.urls import StorageUrls

__all__ = ["UNNAMED", "FileEntry", "FileInfo", "FileStorage", "StoredFile"]


class FileStorage(StorageUrls, StorageNotes, ABC):
    """The base class of storages: the public methods are the same for all, a backend implements the private ones."""

    #: Whether ``list`` never omits a complete file that persists. If it may, maintenance never sweeps the storage.
    list_is_complete: bool = True

    #: The values of `concurrency` and `executor`, which a backend sets from its options.
    _concurrency: int = 1
    _executor: Executor | None = None

    # --- implemented by backends ----------------------------------------------------------------------------------

    @abstractmethod
    def _save(self, file_id: str, content: Content) -> FileInfo:
        """Store the content under the id and return its description.

        Read ``content.content_type`` before the bytes, because a stream can be read only once. If the id has a file
        already, its old bytes remain readable until the new ones are complete. After any failure the storage is as it
        was before: no part and no open upload is left.
        """

    @abstractmethod
    def _open(self, file_id: str) -> StoredFile:
        """Return the file, or raise `StoredFileNotFound` (through `_missing`)."""

    @abstractmethod
    def _delete(self, file_id: str) -> None:
        """Remove the file, and anything that an unfinished `_save` left under its id. A missing file is no error."""

    @abstractmethod
    def _exists(self, file_id: str) -> bool:
        """Return whether the complete file exists."""

    @abstractmethod
    def _list(self) -> Iterator[FileEntry]:
        """Yield each id in the storage once, in any order, holding at most one page of them in memory.

        It may include ids of incomplete files (of an upload in progress, or an interrupted one), each as an entry that
        is ``unfinished``, but must not omit a complete file that persists. A backend that may, because its listing lags
        behind or ends early unnoticed, sets ``list_is_complete`` to False.
        """

    def _entry(self, file_id: str) -> FileEntry:
        """Return the entry that `_list` yields for this id. Backends that list unfinished files override it."""

        def look() -> tuple[int, datetime]:
            info = self._info(file_id)
            return info.content_length, info.last_modified

        return FileEntry(file_id, look)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        """Store a second file with the same content, name and type. Override it if the backend can copy by itself."""
        with self._open(source_id) as source:
            return self._save(file_id, Content.of(source))

    def _info(self, file_id: str) -> FileInfo:
        """Return the description of the file, or raise `StoredFileNotFound`. Override it if there is a cheaper way."""
        with self._open(file_id) as file:
            return file.info

    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        """Store a file of another storage under the id, as `_save` does; raise if its bytes have changed.

        Override it if the backend can copy from some sources without this process, and call it for all others.
        """
        with self._opened(source, source_id) as file:
            return self._save(file_id, self._verified(file))

    @staticmethod
    def _opened(source: FileStorage, source_id: str) -> StoredFile:
        """Return a file of another storage; errors are marked as errors of that storage."""
        with reading_source():
            return source._open(source_id)

    @staticmethod
    def _verified(file: StoredFile) -> Content:
        """Return another storage's file as content, with its name and type; reading it raises if it is damaged."""
        with reading_source():
            file.read(0)  # opens the bytes, so that file.info describes them even if the file is replaced
        # One without a path, so that its bytes are read and verified, and not copied by the kernel.
        return KnownContent.of(StoredFile(file.info, lambda: cast(BinaryIO, file.unverified())))

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        """Remove all files and return the failures, which stop nothing. Override it if the backend has batches."""
        failed: dict[str, Exception] = {}
        for file_id in file_ids:
            try:
                self._delete(file_id)
            except Exception as error:
                failed[file_id] = error
        return failed

    def _undelete(self, file_id: str, *, dry_run: bool) -> bool:
        """Bring back a deleted file, for `undelete`. Override it if the backend keeps deleted files."""
        return False

    def _now(self) -> datetime:
        """Return the current time, for `now`. Override it if the times of files come from another machine."""
        return datetime.now(UTC)

    def _missing(self, file_id: str) -> StoredFileNotFound:
        return StoredFileNotFound(f"file {file_id} is not in {self!r}")

    @property
    def concurrency(self) -> int:
        """The number of transfers that are useful at once: 1 if they would only wait for each other."""
        return self._concurrency

    @property
    def executor(self) -> Executor | None:
        """The user's executor, which stores, deletes, and reads for `aio`; None if threads of the storage do so.

        Threads of the storage serve files, and receive content that has yet to arrive, in any case (`thread_pools`).
        """
        return self._executor

    @cached_property
    def thread_pools(self) -> StoragePools:
        """The threads in which asynchronous code uses the storage, and in which a session stores side by side."""
        return StoragePools(type(self).__name__, self.executor)

    @property
    def location(self) -> Hashable:
        """An identifier of the place of the files, equal for storages that may hold the same ones; None if unknown.

        A sweep regards all depots at one location as one, so that a folder may be configured under two names.
        """
        return None

    @property
    def parts(self) -> tuple[FileStorage, ...]:
        """The storages that hold the files: this one, or the parts of a composite one."""
        return (self,)

    def shares_files_with(self, other: FileStorage) -> bool:
        """Return whether the other storage may hold files of this one: it is the same or has the same `location`."""
        return any(
            one is two or (one.location is not None and one.location == two.location)
            for one in self.parts
            for two in other.parts
        )

    @property
    def aio(self) -> AsyncStorage:
        """The asynchronous methods: ``await depot.aio.get(file_id)``."""
        return AsyncStorage(self)

    # --- public methods -------------------------------------------------------------------------------------------

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
            content: anything that `depot_lite.io.content.Content` accepts: bytes, a binary file, a path, an upload.
            filename: the file name; by default that of the content, or ``unnamed``.
            content_type: the declared type, used if the bytes do not reveal the type.
            file_id: an id that was never used before; a new one by default.

        Raises:
            InvalidContent: the content cannot be stored.
            StorageFull: the storage has no space left.
            StorageFailed: the storage failed. A failed attempt leaves nothing behind.
        """
        opened = Content.of(content, filename, content_type)
        file_id = self.save(opened, file_id=file_id).file_id
        opened.release()
        return file_id

    def save(self, content: Content, *, file_id: str | None = None) -> FileInfo:
        """Store a `Content` and return the description of the file, where ``create`` returns the id.

        The source of a `FileIntent` with ``move=True`` remains until `Content.release` is called.
        """
        return self._save(checked_or_new(file_id), content)

    def get(self, file_or_id: StoredFile | str) -> StoredFile:
        """Return the stored file; its bytes are opened at the first read.

        Raises:
            InvalidFileId: the file id is malformed.
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
        """Replace the content of an existing file and return its id, which stays the same.

        Name and type are kept unless they are given or known from the content. ``backup.replace(file, file)`` stores a
        file of another storage under the same id, whether or not it exists here.

        Raises:
            StoredFileNotFound: there is no such file.
        """
        file_id = self._id(file_or_id)
        if isinstance(file_or_id, StoredFile) and file_or_id is content:
            self._save(file_id, Content.of(content, filename, content_type))
            return file_id
        with self._open(file_id) as existing:
            opened = Content.of(content, filename, content_type)
            if opened.filename is None:
                opened = Content.of(content, existing.filename, content_type or existing.content_type)
        self._save(file_id, opened)
        opened.release()
        return file_id

    def delete(self, file_or_id: StoredFile | str) -> None:
        """Delete a file; a missing file is not an error."""
        self._delete(self._id(file_or_id))

    def delete_many(self, files_or_ids: Iterable[StoredFile | str]) -> dict[str, Exception]:
        """Delete files, in batches if the storage has them, and return the failures: id -> error.

        A failure does not stop the others. All ids are checked before any file is deleted.
        """
        return self._delete_many([self._id(each) for each in files_or_ids])

    def undelete(self, file_or_id: StoredFile | str, *, dry_run: bool = False) -> bool:
        """Bring back a deleted file if the storage has kept it, and return whether it did, or would in a dry run.

        A bucket of S3 keeps deleted files if it has versions. Other storages keep none.
        """
        return self._undelete(self._id(file_or_id), dry_run=dry_run)

    def exists(self, file_or_id: StoredFile | str) -> bool:
        """Return whether the file exists."""
        return self._exists(self._id(file_or_id))

    def list(self) -> Iterable[FileEntry]:
        """Return the ids of all files, each as an entry with ``size`` and ``last_modified``.

        They are read lazily, and anew each time that the result is iterated.

        Files of uploads in progress, or interrupted by a crash, are listed too, so that a sweep finds them. Notes are
        not listed.
        """
        return Listing(lambda: filterfalse(is_note_id, self._list()))

    def entry(self, file_or_id: StoredFile | str) -> FileEntry:
        """Return the entry that ``list`` yields for a file, also if its upload is in progress or was interrupted.

        If there is no such file, its ``size`` and ``last_modified`` raise `StoredFileNotFound`.
        """
        return self._entry(self._id(file_or_id))

    def copy(self, file_or_id: StoredFile | str, *, file_id: str | None = None) -> str:
        """Store a second, independent file with the same content, name and type; return its id.

        Raises:
            StoredFileNotFound: there is no such file.
        """
        return self.save_copy(file_or_id, file_id=file_id).file_id

    def save_copy(self, file_or_id: StoredFile | str, *, file_id: str | None = None) -> FileInfo:
        """Copy a file as ``copy`` does and return the description of the new one."""
        return self._copy(self._id(file_or_id), checked_or_new(file_id))

    def save_from(self, source: FileStorage, file_or_id: StoredFile | str, *, file_id: str | None = None) -> FileInfo:
        """Store a file of another storage (or of this one) here and return the description of the new one.

        Name and type are kept, and the bytes are verified against the checksum in the source. They move within the
        server or the kernel if the two storages can do that, otherwise in pieces through this process.

        If ``file_id`` exists here already, with the same length and checksum, nothing is stored, so that an interrupted
        job can be repeated. Checksums of different algorithms cannot be compared; then the file is stored again.

        Args:
            file_or_id: the file in ``source``.
            file_id: the id of the new file; by default one that was never used before.

        Raises:
            StoredFileNotFound: there is no such file in ``source``.
            StorageFailed: one of the storages failed, or the file is damaged. A failed attempt leaves nothing behind.
        """
        source_id = source._id(file_or_id)
        if file_id is None:
            file_id = new_file_id()
        elif (existing := self._same(source, source_id, file_id := check_file_id(file_id))) is not None:
            return existing
        return self._copy(source_id, file_id) if source is self else self._save_from(source, source_id, file_id)

    def _same(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo | None:
        """Return the description of a file of this storage if it has the same bytes as the source, else None."""
        try:
            existing = self._info(file_id)
        except StoredFileNotFound:
            return None
        if source is self and source_id == file_id:
            return existing
        original = source._info(source_id)
        same = (existing.content_length, existing.checksum) == (original.content_length, original.checksum)
        return existing if same and existing.checksum is not None else None

    def now(self) -> datetime:
        """Return the current time by the clock from which ``list`` has its times.

        Raises:
            StorageFailed: the storage cannot be asked.
        """
        return self._now()

    # --- filedepot's helpers --------------------------------------------------------------------------------------

    @staticmethod
    def fileid(file_or_id: Any) -> Any:
        """Return the id of a stored file, or the id itself (filedepot's helper)."""
        return getattr(file_or_id, "file_id", file_or_id)

    @staticmethod
    def fileinfo(
        fileobj: object, filename: str | None = None, content_type: str | None = None, existing: Any = None
    ) -> tuple[Any, str, str]:
        """Return the content, name and type with which ``fileobj`` would be stored (filedepot's helper).

        ``existing`` is a stored file, or a callable that returns one, whose name and type are used if there is no name.
        """
        content = Content.of(fileobj, filename, content_type)
        if content.filename is None and existing is not None:
            known = existing() if callable(existing) else existing
            return content.source, known.filename, known.content_type
        return content.source, content.filename or UNNAMED, content.content_type

    _id = staticmethod(id_of)
