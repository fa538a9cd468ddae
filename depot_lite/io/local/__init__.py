"""LocalFileStorage: files in a folder of this machine.

    <storage_path>/b3/b3a1c6de-....<8 hexadecimal digits>     the data: the bytes, as they came
    <storage_path>/b3/b3a1c6de-....json                       the sidecar: name, type, length, checksum, which data

The sidecar is what makes a file be there. The data is written first, under a name that nothing points to, then the
sidecar is renamed into place; both, and the folder's entry, are on the disk before ``create`` returns (unless
``durable=False``). So nobody ever reads half a file, replacing is one rename, and a crash leaves at most data without a
sidecar, which ``list`` shows and ``delete`` removes. 256 folders keep each of them small with millions of files.

Folders that filedepot wrote (``<storage_path>/<file id>/file`` and ``metadata.json``) are read, listed and deleted as
they are; replacing such a file gives it the new form.

It needs POSIX: hard links, ``flock`` and directories that can be synced.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Executor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, Final

from depot_lite.errors import ConfigurationError, DepotError, InvalidFileId, StorageFailed, StoredFileNotFound
from depot_lite.io.checksums import CHECKSUMS, checksum_algorithm
from depot_lite.io.content import Content
from depot_lite.io.fileid import ID_LENGTH, check_file_id
from depot_lite.io.interfaces import UNNAMED, FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.local.datafile import DataFile
from depot_lite.io.local.disk import is_there, locked, names, read_small, sync_folder, unlink
from depot_lite.io.local.sidecar import belongs_to, described, named_data, understood, understood_filedepot
from depot_lite.io.options import boolean, directory_mode, executor_of, integer, permissions

_SHARD: Final = re.compile(r"[0-9a-f]{2}")


class LocalStoredFile(StoredFile):
    """A file of a `LocalFileStorage`; a web server may send it by its ``local_path`` or its ``fileno()``."""

    def __init__(self, info: FileInfo, path: str, find: Callable[[str], tuple[FileInfo, str]]) -> None:
        super().__init__(info, self._open_data)
        self._path = path
        self._find = find

    @property
    def local_path(self) -> Path:
        """The path of the bytes. They never change; replacing or deleting the file removes the path."""
        return Path(self._path)

    def fileno(self) -> int:
        """Return the descriptor of the data, whose position is this file's."""
        return self._raw().fileno()

    def _open_data(self) -> BinaryIO:
        # Between get() and the first read the file may have been replaced, even more than once: then the new one is
        # read. Only where the sidecar still names what cannot be found is the file really gone.
        while True:
            try:
                # Unbuffered, so that the position of fileno() is ours: who sends by descriptor starts there.
                return open(self._path, "rb", buffering=0)
            except FileNotFoundError as error:
                info, path = self._find(self.file_id)
                if path == self._path:
                    raise StoredFileNotFound(f"the data of file {self.file_id} is not in its storage") from error
                self.info, self._path = info, path
            except OSError as error:
                raise _failure("open", self.file_id, error) from error


class LocalFileStorage(FileStorage):
    """Files below ``storage_path``, which is made when the first file is stored.

    Options may be strings, as they come from .ini files and the environment.
    """

    def __init__(
        self,
        storage_path: str | os.PathLike[str],
        *,
        # Nobody but the application may read, unless said otherwise. None leaves it to the umask. A folder gets the
        # matching right to enter it: 0o640 makes 0o750.
        file_permissions: int | str | None = 0o600,
        # Whether create() waits until the file would survive a power cut. Without it, a row that its database made
        # durable may come back without its file.
        durable: bool | str = True,
        # Computed while the file is written. True is "crc32", which costs next to nothing and notices accidents;
        # "sha256" also notices forgery, at about half the speed; False computes none.
        checksum: bool | str = True,
        # How many files a flush stores at once. Disks gain little; a network file system that waits may gain much.
        concurrency: int | str = 1,
        # The threads that do it; those that all storages share where there is none.
        executor: Executor | None = None,
    ) -> None:
        if not os.fspath(storage_path):
            raise ConfigurationError("storage_path is empty: the path of a folder is wanted")
        self._root = os.path.abspath(storage_path)
        self._file_mode = permissions("file_permissions", file_permissions)
        self._durable = boolean("durable", durable)
        self._concurrency = integer("concurrency", concurrency, 1, 1000)
        self._executor = executor_of("executor", executor)
        self._algorithm = checksum_algorithm("checksum", checksum)
        # Shard folders whose entry in the root was synced by this process. Another process's mkdir does not count: it
        # may not have come to its sync yet when our first file there is committed.
        self._shards: set[str] = set()

    @property
    def storage_path(self) -> str:
        """The absolute path of the folder."""
        return self._root

    @property
    def location(self) -> Hashable:
        """The folder, whatever links lead to it."""
        try:
            found = os.stat(self._root)
        except OSError:
            return os.path.realpath(self._root)
        return found.st_dev, found.st_ino

    def __repr__(self) -> str:
        """Show where the files are."""
        return f"LocalFileStorage({self._root!r})"

    # --- storing --------------------------------------------------------------------------------------------------

    def _save(self, file_id: str, content: Content) -> FileInfo:
        filename, content_type = content.filename or UNNAMED, content.content_type

        def fill(path: str) -> DataFile:
            if content.move and content.path is not None:
                adopted = DataFile.adopt(path, content.path, self._algorithm, self._file_mode)
                if adopted is not None:
                    return adopted
            return self._filled(path, self._algorithm, partial(_write_content, content))

        return self._store(file_id, filename, content_type, fill)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        with self._open(source_id) as source, _failing("copy", source_id):
            return self._store_copy(source, file_id, verify=False)

    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        if not isinstance(source, LocalFileStorage):
            return super()._save_from(source, source_id, file_id)
        with source._open(source_id) as file, _failing("copy", source_id):
            return self._store_copy(file, file_id, verify=True)

    def _store_copy(self, source: LocalStoredFile, file_id: str, *, verify: bool) -> FileInfo:
        """Store a file of a local storage, with its checksum, of the algorithm that it has there."""
        source.fileno()  # from here on source.info describes the bytes that are open, whoever replaces the file
        algorithm = (source.checksum or "").partition(":")[0]
        checksum = source.checksum if algorithm in CHECKSUMS else None

        def fill(path: str) -> DataFile:
            computed = self._algorithm if checksum is None else algorithm if verify else None
            return self._filled(path, computed, partial(_write_stored, source))

        return self._store(file_id, source.filename, source.content_type, fill, checksum)

    def _filled(self, path: str, algorithm: str | None, write: Callable[[DataFile], None]) -> DataFile:
        """Return a new data file with its bytes written; closed, should that fail."""
        data = DataFile.create(path, algorithm, self._file_mode)
        try:
            write(data)
        except BaseException:
            data.close()
            raise
        return data

    def _store(
        self,
        file_id: str,
        filename: str,
        content_type: str,
        fill: Callable[[str], DataFile],
        checksum: str | None = None,
    ) -> FileInfo:
        """Let ``fill`` write the data, then make it the file of this id. A failure at any line removes it again."""
        with _failing("store", file_id):
            self._make_shard(self._shard(file_id))
            path = f"{self._shard(file_id)}/{file_id}.{token_hex(4)}"
            try:
                with closing(fill(path)) as data:
                    computed = data.finish(durable=self._durable)
                    length = data.length
                if None not in (checksum, computed) and checksum != computed:
                    raise StorageFailed(
                        f"the content of file {file_id} is damaged: its bytes are not those of {checksum}"
                    )
                info = FileInfo(file_id, filename, content_type, length, datetime.now(UTC), checksum or computed)
                self._write_text(path + ".tmp", described(info, os.path.basename(path)))
                replaced = self._commit(file_id, path)
            except BaseException:
                self._take_back(file_id, path)
                raise
            if replaced is not None:
                unlink(replaced)
            self._delete_folder(file_id)
        return info

    def _write_text(self, path: str, text: bytes) -> None:
        with closing(DataFile.create(path, None, self._file_mode)) as file:
            file.write(text)
            file.finish(durable=self._durable)

    def _commit(self, file_id: str, path: str) -> str | None:
        """Rename the new sidecar into place, and return the path of the data that it takes the place of."""
        sidecar = self._sidecar(file_id)
        with locked(self._shard(file_id)) as folder:
            before = read_small(sidecar)
            # Who deleted this id meanwhile took its unfinished data too; a sidecar would name nothing.
            if not os.path.exists(path):
                raise StorageFailed(f"file {file_id} was deleted while it was stored")
            try:
                os.rename(path + ".tmp", sidecar)
                if self._durable:
                    os.fsync(folder)
            except BaseException:
                self._put_back(file_id, before)
                raise
        data = None if before is None else named_data(file_id, before)
        return None if data is None else f"{self._shard(file_id)}/{data}"

    def _put_back(self, file_id: str, before: bytes | None) -> None:
        """Make the sidecar what it was."""
        if before is None:
            unlink(self._sidecar(file_id))
        else:
            path = f"{self._shard(file_id)}/{file_id}.{token_hex(4)}.tmp"
            self._write_text(path, before)
            os.rename(path, self._sidecar(file_id))

    def _take_back(self, file_id: str, path: str) -> None:
        """Remove what a failed attempt wrote, unless the sidecar names it (it could not be put back)."""
        unlink(path + ".tmp")
        named = read_small(self._sidecar(file_id))
        if named is None or named_data(file_id, named) != os.path.basename(path):
            unlink(path)

    def _make_shard(self, shard: str) -> None:
        if shard in self._shards and os.path.isdir(shard):
            return
        self._make_folders(self._root)
        with suppress(FileExistsError):
            self._make_folder(shard)
        if self._durable:
            sync_folder(self._root)
        self._shards.add(shard)

    def _make_folders(self, path: str) -> None:
        """Make the root and the parents that it lacks; these get what the umask says, for they are not ours alone."""
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path)
        self._make_folders(parent)
        with suppress(FileExistsError):
            if path == self._root:
                self._make_folder(path)
            else:
                os.mkdir(path)
        if self._durable:
            sync_folder(parent)

    def _make_folder(self, path: str) -> None:
        if self._file_mode is None:
            os.mkdir(path)
            return
        mode = directory_mode(self._file_mode)
        os.mkdir(path, mode)
        os.chmod(path, mode)  # mkdir takes the umask's bits away

    # --- finding --------------------------------------------------------------------------------------------------

    def _open(self, file_id: str) -> LocalStoredFile:
        return LocalStoredFile(*self._find(file_id), self._find)

    def _exists(self, file_id: str) -> bool:
        with _failing("look for", file_id):
            return (
                is_there(self._sidecar(file_id))
                or (is_there(f"{self._root}/{file_id}/metadata.json") and is_there(f"{self._root}/{file_id}/file"))
                or is_there(self._sidecar(file_id))
            )

    def _find(self, file_id: str) -> tuple[FileInfo, str]:
        """Return what is known of the file, and the path of its data."""
        with _failing("read", file_id):
            # The sidecar is looked at again because replacing a folder of filedepot makes the one, then removes the
            # other: between our two looks, both can happen.
            found = self._described(file_id) or self._found_folder(file_id) or self._described(file_id)
        if found is None:
            raise self._missing(file_id)
        return found

    def _described(self, file_id: str) -> tuple[FileInfo, str] | None:
        text = read_small(self._sidecar(file_id))
        if text is None:
            return None
        info, data = understood(file_id, text)
        if data is None:
            raise StorageFailed(f"the sidecar of file {file_id} is damaged: it names no data")
        return info, f"{self._shard(file_id)}/{data}"

    def _found_folder(self, file_id: str) -> tuple[FileInfo, str] | None:
        """Return what filedepot knew of the file and its path, or None where it did not write one whole."""
        path = f"{self._root}/{file_id}/file"
        text = read_small(f"{self._root}/{file_id}/metadata.json")
        if text is None:
            return None
        try:
            return understood_filedepot(file_id, text, os.stat(path)), path
        except FileNotFoundError:
            return None

    # --- listing --------------------------------------------------------------------------------------------------

    def _list(self) -> Iterator[FileEntry]:
        shards, folders = [], False
        for name in names(self._root):
            if _SHARD.fullmatch(name):
                shards.append(name)
            elif _is_id(name) and os.path.isdir(f"{self._root}/{name}"):
                folders = True
                yield FileEntry(name, partial(self._look, name, f"{self._root}/{name}/file"))
        for shard in shards:
            # One shard's ids are remembered, since a sidecar and data, or several data, may be there for one id.
            seen: set[str] = set()
            look, folder = self._look, f"{self._root}/{shard}"
            for name in names(folder):
                # What was seen is asked first, as it is most names' second time here.
                if name[:ID_LENGTH] in seen:
                    continue
                file_id = belongs_to(name)
                if file_id is None or file_id[:2] != shard or not _is_id(file_id):
                    continue
                seen.add(file_id)
                if not (folders and os.path.isdir(f"{self._root}/{file_id}")):
                    yield FileEntry(file_id, partial(look, file_id, f"{folder}/{name}"))

    def _entry(self, file_id: str) -> FileEntry:
        return FileEntry(file_id, partial(self._look, file_id))

    def _look(self, file_id: str, seen: str | None = None) -> tuple[int, datetime]:
        """Return size and time of a listed file, or of what was seen of it where it is not whole."""
        with suppress(StoredFileNotFound):
            info, _ = self._find(file_id)
            return info.content_length, info.last_modified
        with _failing("look at", file_id):
            # Not the modification time: data that was adopted has that of its source, and a sweep that spares what is
            # young must see that it has just come.
            for path in (seen or self._unfinished(file_id), f"{self._root}/{file_id}"):
                try:
                    found = os.stat(path)
                except FileNotFoundError:
                    continue
                size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
                return size, datetime.fromtimestamp(found.st_ctime, UTC)
        raise self._missing(file_id)

    def _unfinished(self, file_id: str) -> str:
        """Return the path of data without a sidecar, or one where there is nothing."""
        shard = self._shard(file_id)
        return next((f"{shard}/{name}" for name in names(shard) if belongs_to(name) == file_id), self._sidecar(file_id))

    # --- deleting -------------------------------------------------------------------------------------------------

    def _delete(self, file_id: str) -> None:
        # Nothing is synced here: a deletion that a power cut undoes leaves a file that nobody names, and no loss.
        with _failing("delete", file_id):
            # First what filedepot wrote: where both are there, the sidecar hides it, and removing that first would for
            # a moment give the older content back.
            self._delete_folder(file_id)
            shard = self._shard(file_id)
            try:
                with locked(shard):
                    sidecar = read_small(self._sidecar(file_id))
                    unlink(self._sidecar(file_id))
            except FileNotFoundError:
                return
            data = None if sidecar is None else named_data(file_id, sidecar)
            if data is not None:
                unlink(f"{shard}/{data}")
                return
            # Only an id without a sidecar makes us read the whole shard: for what a broken-off upload left. What such
            # an upload left beside a whole file stays listed after this, and goes with the next delete.
            for name in list(names(shard)):
                if belongs_to(name) == file_id:
                    unlink(f"{shard}/{name}")

    def _delete_folder(self, file_id: str) -> None:
        """Remove what filedepot wrote under this id."""
        folder = f"{self._root}/{file_id}"
        if os.path.lexists(folder):
            unlink(f"{folder}/metadata.json")
            shutil.rmtree(folder)

    # --- paths ----------------------------------------------------------------------------------------------------

    def _shard(self, file_id: str) -> str:
        return f"{self._root}/{file_id[:2]}"

    def _sidecar(self, file_id: str) -> str:
        return f"{self._root}/{file_id[:2]}/{file_id}.json"


def _write_content(content: Content, data: DataFile) -> None:
    with content.descriptor() as descriptor:
        if descriptor is not None:
            size = content.size
            data.copy(descriptor, os.fstat(descriptor).st_size if size is None else size)
            return
    size = content.size
    with content.open() as source:
        data.stream(source)
    if size is not None and data.length < size:
        raise StorageFailed(f"the content shrank while it was stored: {data.length} of {size} bytes were there")


def _write_stored(source: LocalStoredFile, data: DataFile) -> None:
    data.copy(source.fileno(), source.content_length)


def _is_id(name: str) -> bool:
    try:
        check_file_id(name)
    except InvalidFileId:
        return False
    return True


@contextmanager
def _failing(operation: str, file_id: str) -> Iterator[None]:
    """Turn the system's errors into `StorageFailed`; our own pass."""
    try:
        yield
    except DepotError:
        raise
    except OSError as error:
        raise _failure(operation, file_id, error) from error


def _failure(operation: str, file_id: str, error: OSError) -> StorageFailed:
    reason = f"cannot {operation} file {file_id}: {error.strerror or error}"
    # With the number, by which a full disk (errno.ENOSPC) becomes a StorageFull.
    return StorageFailed(reason) if error.errno is None else StorageFailed(error.errno, reason)
