"""LocalFileStorage: files in a folder of this machine.

    <storage_path>/b3/b3a1c6de-....<8 hexadecimal digits>     the data: the bytes, unchanged
    <storage_path>/b3/b3a1c6de-....json                       the sidecar: name, type, length, checksum, data file

A file exists if it has a sidecar. The data is written first, under a new name; then the sidecar is renamed into place.
Both, and the folder's entry, are on the disk before ``create`` returns (unless ``durable=False``). So no reader ever
sees half a file, a replacement is a single rename, and a crash leaves at most data without a sidecar, which ``list``
yields and ``delete`` removes. With 256 folders, each remains small even with millions of files.

Folders written by filedepot (``<storage_path>/<file id>/file`` and ``metadata.json``) are read, listed and deleted;
replacing such a file converts it to the new form.

The storage needs POSIX: hard links, ``flock`` and directories that can be synced.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, cast

from depot_lite.errors import ConfigurationError, DepotError, StorageFailed, StoredFileNotFound
from depot_lite.io.checksums import CHECKSUMS, checksum_algorithm, damaged
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local.disk import (
    DataFile,
    commit,
    data_name,
    decode_filedepot,
    id_of_name,
    locked,
    make_folders,
    names_in,
    read_sidecar,
    read_small,
    remove_with_data,
    unlink,
)
from depot_lite.io.local.listing import found_files
from depot_lite.io.on_disk import DiskSource
from depot_lite.io.options import boolean, directory_mode, executor_of, integer, permissions
from depot_lite.io.stored import UNNAMED, FileEntry, FileInfo, StoredFile
from depot_lite.io.urls import UrlSigner


class LocalStoredFile(StoredFile):
    """A file of a `LocalFileStorage`, which a web server may send by its ``local_path`` or its ``fileno()``."""

    def __init__(self, info: FileInfo, path: str, find: Callable[[str], tuple[FileInfo, str]]) -> None:
        super().__init__(info, self._open_data)
        self._path = path
        self._find = find

    @property
    def local_path(self) -> Path:
        """The path of the bytes, which never change; replacing or deleting the file removes the path."""
        return Path(self._path)

    def fileno(self) -> int:
        """Return the descriptor of the data, whose position is the position of this file."""
        self._position = None
        return self._raw().fileno()

    def disk_source(self) -> DiskSource:
        """Return the name, type, path and bytes, for `OnDisk`; the length has been checked."""
        self._raw()
        return super().disk_source()

    def _open_data(self) -> BinaryIO:
        # The file may have been replaced, even repeatedly, between get() and the first read; then the new one is read.
        # It is missing only if the sidecar still names the data that cannot be found.
        while True:
            try:
                # Unbuffered, so that the descriptor has the position of this file, from which servers send.
                file = FileIO(self._path)
            except FileNotFoundError as error:
                info, path = self._find(self.file_id)
                if path == self._path:
                    raise StoredFileNotFound(
                        f"the data of file {self.file_id} is not in {os.path.dirname(self._path)!r}"
                    ) from error
                self.info, self._path = info, path
            except OSError as error:
                raise _failure("open", self.file_id, error) from error
            else:
                # At once, since servers may send the bytes by themselves, and read nothing that could be verified.
                length = os.fstat(file.fileno()).st_size
                if length != self.info.content_length and self._verification is not None:
                    file.close()
                    raise damaged(self.info, length)
                return cast(BinaryIO, file)


class LocalFileStorage(FileStorage):
    """A storage of files in the folder ``storage_path``, which is created with the first file.

    Options may be strings, as in .ini files and the environment.
    """

    notes_are_conditional = True

    def __init__(
        self,
        storage_path: str | os.PathLike[str],
        *,
        # By default only the user of the application may read. None applies the umask. Folders get the matching
        # permission to enter them: 0o640 becomes 0o750.
        file_permissions: int | str | None = 0o600,
        # Whether create() waits until the file would survive a power cut. Otherwise a committed row may have lost its
        # file after one.
        durable: bool | str = True,
        # Computed while the file is written. True means "crc32", which costs little and detects accidents; "sha256"
        # also detects forgery, at about half the speed; False computes none.
        checksum: bool | str = True,
        # The number of files that a flush stores at once. Disks gain little, network file systems may gain much.
        concurrency: int | str = 1,
        # The threads for this; by default the storage has its own.
        executor: Executor | None = None,
        # The address at which a web server shows the folder: URLs are this, a slash and the path of the data.
        public_base_url: str | None = None,
        # Signs the URLs at that address, called with a URL and the time of its expiry.
        url_signer: UrlSigner | None = None,
    ) -> None:
        if not os.fspath(storage_path):
            raise ConfigurationError("storage_path is empty: expected the path of a folder")
        self._root = os.path.abspath(storage_path)
        self._file_mode = permissions("file_permissions", file_permissions)
        self._folder_mode = None if self._file_mode is None else directory_mode(self._file_mode)
        self._durable = boolean("durable", durable)
        self._concurrency = integer("concurrency", concurrency, 1, 1000)
        self._executor = executor_of("executor", executor)
        self._algorithm = checksum_algorithm("checksum", checksum)
        self._publish(public_base_url, url_signer)
        # Shard folders whose entry in the root was synced by this process. A folder made by another process does not
        # count, since that process may not have synced it when the first file of this one is committed.
        self._shards: set[str] = set()

    @property
    def storage_path(self) -> str:
        """The absolute path of the folder."""
        return self._root

    @property
    def location(self) -> Hashable:
        """Device and inode of the folder, so that links to it have the same location."""
        try:
            found = os.stat(self._root)
        except OSError:
            return os.path.realpath(self._root)
        return found.st_dev, found.st_ino

    def __repr__(self) -> str:
        """Show the folder."""
        return f"LocalFileStorage({self._root!r})"

    # --- storing --------------------------------------------------------------------------------------------------

    def _save(self, file_id: str, content: Content) -> FileInfo:
        filename, content_type = content.filename or UNNAMED, content.content_type

        def fill(path: str) -> DataFile:
            return DataFile.of_content(path, content, self._algorithm, self._file_mode, durable=self._durable)

        return self._store(file_id, filename, content_type, fill)

    def _note_version(self, file_id: str) -> str | None:
        """Return the name of the note's data file, which is another one each time."""
        found = self._read_sidecar(file_id)
        return None if found is None else found[1]

    def _swap_note(self, file_id: str, text: bytes, version: str | None) -> bool:
        with _failing("store", file_id):
            self._make_shard(self._shard(file_id))
            # Not the lock of the shard, which storing takes.
            with locked(self._root):
                return self._note_version(file_id) == version and super()._swap_note(file_id, text, version)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        with self._open(source_id) as source, _failing("copy", source_id):
            return self._store_copy(source, file_id, verify=False)

    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        if not isinstance(source, LocalFileStorage):
            return super()._save_from(source, source_id, file_id)
        with source._open(source_id) as file, _failing("copy", source_id):
            return self._store_copy(file, file_id, verify=True)

    def _store_copy(self, source: LocalStoredFile, file_id: str, *, verify: bool) -> FileInfo:
        """Store a file of a local storage, and keep its checksum and algorithm."""
        source.fileno()  # opens the data, so that source.info describes it even if the file is replaced
        algorithm = (source.checksum or "").partition(":")[0]
        checksum = source.checksum if algorithm in CHECKSUMS else None

        def fill(path: str) -> DataFile:
            computed = self._algorithm if checksum is None else algorithm if verify else None
            return DataFile.filled(path, copy, computed, self._file_mode, durable=self._durable)

        def copy(data: DataFile) -> None:
            data.copy(source.fileno(), source.content_length)

        return self._store(file_id, source.filename, source.content_type, fill, checksum)

    def _store(
        self,
        file_id: str,
        filename: str,
        content_type: str,
        fill: Callable[[str], DataFile],
        checksum: str | None = None,
    ) -> FileInfo:
        """Have ``fill`` write the data, and make it the file of this id. After any failure it is removed again."""
        with _failing("store", file_id):
            self._make_shard(self._shard(file_id))
            path = f"{self._shard(file_id)}/{file_id}.{token_hex(4)}"
            try:
                data = fill(path)
                if None not in (checksum, data.checksum) and checksum != data.checksum:
                    raise StorageFailed(
                        f"the content of file {file_id} is damaged: expected {checksum}, got {data.checksum}"
                    )
                now, checksum = datetime.now(UTC), checksum or data.checksum
                info = FileInfo(file_id, filename, content_type, data.length, now, checksum)
                commit(path, info, self._file_mode, durable=self._durable)
            except BaseException:
                self._discard(file_id, path)
                raise
            self._delete_folder(file_id)
        return info

    def _discard(self, file_id: str, path: str) -> None:
        """Remove the data of a failed attempt, unless the sidecar names it because it could not be restored."""
        unlink(path + ".tmp")
        named = read_small(self._sidecar(file_id))
        if named is None or data_name(file_id, named) != os.path.basename(path):
            unlink(path)

    def _make_shard(self, shard: str) -> None:
        if shard in self._shards and os.path.isdir(shard):
            return
        make_folders(self._root, self._folder_mode, shard, durable=self._durable)
        self._shards.add(shard)

    # --- finding --------------------------------------------------------------------------------------------------

    def _open(self, file_id: str) -> LocalStoredFile:
        return LocalStoredFile(*self._find(file_id), self._find)

    def _exists(self, file_id: str) -> bool:
        with _failing("look for", file_id):
            return (
                _is_file(self._sidecar(file_id))
                or (_is_file(f"{self._root}/{file_id}/metadata.json") and _is_file(f"{self._root}/{file_id}/file"))
                or _is_file(self._sidecar(file_id))
            )

    def _find(self, file_id: str) -> tuple[FileInfo, str]:
        """Return the description of the file and the path of its data."""
        with _failing("read", file_id):
            # The sidecar is read again, because between the first two attempts a folder of filedepot may be replaced:
            # the sidecar is created, then the folder removed.
            found = self._read_sidecar(file_id) or self._find_folder(file_id) or self._read_sidecar(file_id)
        if found is None:
            raise self._missing(file_id)
        return found

    def _read_sidecar(self, file_id: str) -> tuple[FileInfo, str] | None:
        found = read_sidecar(self._sidecar(file_id), file_id)
        return None if found is None else (found[0], f"{self._shard(file_id)}/{found[1]}")

    def _find_folder(self, file_id: str) -> tuple[FileInfo, str] | None:
        """Return description and path of a file in filedepot's form, or None if it has none that is complete."""
        path = f"{self._root}/{file_id}/file"
        text = read_small(f"{self._root}/{file_id}/metadata.json")
        with suppress(FileNotFoundError):
            return None if text is None else (decode_filedepot(file_id, text, os.stat(path)), path)
        return None

    def _public_path(self, file_id: str) -> str | None:
        with suppress(StoredFileNotFound, StorageFailed):  # the middleware's URL tells which
            return self._find(file_id)[1].removeprefix(f"{self._root}/")
        return None

    # --- listing --------------------------------------------------------------------------------------------------

    def _list(self) -> Iterator[FileEntry]:
        for file_id, path, unfinished in found_files(self._root):
            yield FileEntry(file_id, partial(self._look, file_id, path), unfinished=unfinished)

    def _entry(self, file_id: str) -> FileEntry:
        return FileEntry(file_id, partial(self._look, file_id))

    def _look(self, file_id: str, seen: str | None = None) -> tuple[int, datetime]:
        """Return size and time of a listed file, or of the unfinished data ``seen`` if it is not complete."""
        with suppress(StoredFileNotFound):
            info, _ = self._find(file_id)
            return info.content_length, info.last_modified
        with _failing("look at", file_id):
            # Not the modification time: adopted data keeps the time of its source, and a sweep that spares recent files
            # must see that this one is recent.
            for path in (seen or self._unfinished(file_id), f"{self._root}/{file_id}"):
                try:
                    found = os.stat(path)
                except FileNotFoundError:
                    continue
                size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
                return size, datetime.fromtimestamp(found.st_ctime, UTC)
        raise self._missing(file_id)

    def _unfinished(self, file_id: str) -> str:
        """Return the path of data without a sidecar, or a path that does not exist."""
        shard = self._shard(file_id)
        return next(
            (f"{shard}/{name}" for name in names_in(shard) if id_of_name(name) == file_id), self._sidecar(file_id)
        )

    def _now(self) -> datetime:
        """Return the time of the file system, which a file server may tell."""
        try:
            with tempfile.TemporaryFile(dir=self._root) as file:
                return datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
        except OSError:  # nothing was stored yet, or the disk is full or read-only
            return datetime.now(UTC)

    # --- deleting -------------------------------------------------------------------------------------------------

    def _delete(self, file_id: str) -> None:
        # Nothing is synced: a deletion undone by a power cut leaves an unused file, which is no loss.
        with _failing("delete", file_id):
            # The folder of filedepot first: if both exist, the sidecar hides the folder, and removing the sidecar first
            # would for a moment bring the older content back.
            self._delete_folder(file_id)
            shard = self._shard(file_id)
            try:
                if remove_with_data(shard, self._sidecar(file_id), file_id):
                    return
            except FileNotFoundError:
                return
            # Only for an id without a sidecar the whole shard is read, to find the data of an interrupted upload. Such
            # data beside a complete file remains listed, and is removed by the next delete.
            for name in list(names_in(shard)):
                if id_of_name(name) == file_id:
                    unlink(f"{shard}/{name}")

    def _delete_folder(self, file_id: str) -> None:
        """Remove the folder that filedepot wrote for this id."""
        folder = f"{self._root}/{file_id}"
        if os.path.lexists(folder):
            unlink(f"{folder}/metadata.json")
            shutil.rmtree(folder)

    # --- paths ----------------------------------------------------------------------------------------------------

    def _shard(self, file_id: str) -> str:
        return f"{self._root}/{file_id[:2]}"

    def _sidecar(self, file_id: str) -> str:
        return f"{self._root}/{file_id[:2]}/{file_id}.json"


@contextmanager
def _failing(operation: str, file_id: str) -> Iterator[None]:
    """Turn errors of the system into `StorageFailed`; a `DepotError` is passed on."""
    try:
        yield
    except DepotError:
        raise
    except OSError as error:
        raise _failure(operation, file_id, error) from error


def _failure(operation: str, file_id: str, error: OSError) -> StorageFailed:
    reason = f"cannot {operation} file {file_id}: {error.strerror or error}"
    if error.filename is not None:  # a folder that is missing, or that others own
        reason += f": {error.filename!r}"
    # With the number, by which a full disk (errno.ENOSPC) becomes a StorageFull.
    return StorageFailed(reason) if error.errno is None else StorageFailed(error.errno, reason)


def _is_file(path: str) -> bool:
    """Return whether a regular file exists."""
    # os.path.exists would return False for a missing permission.
    with suppress(FileNotFoundError, NotADirectoryError):
        return stat.S_ISREG(os.stat(path).st_mode)
    return False
