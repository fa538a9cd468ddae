"""The files of a local storage on the disk: data files with their checksums, sidecars, and the system calls for both.

Large content is copied by the kernel (``copy_file_range``, which shares blocks if the file system can, else
``sendfile``). A sidecar is the description that is written beside the data; filedepot's ``metadata.json`` is read, too.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Self

from depot_lite.errors import StorageFailed
from depot_lite.io.checksums import FollowingChecksum
from depot_lite.io.content import Content
from depot_lite.io.fileid import ID_LENGTH
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.stored import UNNAMED, FileInfo

#: The bytes per call: few at first, so that the second thread can start, then as many as were copied so far. After each
#: call the threads may wait for each other, which on a busy machine takes long.
_FIRST_STEP: Final = 4 * 1024 * 1024
_STEP: Final = 32 * 1024 * 1024
_READ_STEP: Final = 1024 * 1024

#: The file systems or the kernel do not support a call for these two files; some sandboxes raise EPERM.
_UNSUPPORTED: Final = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOTSOCK, errno.EPERM}
)


class DataFile:
    """A new file that is being written. Every method may raise an OSError; then the caller removes the file."""

    def __init__(self, descriptor: int, algorithm: str | None, mode: int | None) -> None:
        #: Bytes written so far.
        self.length = 0
        #: ``algorithm:digest`` of the finished file, if an algorithm was given.
        self.checksum: str | None = None
        self._descriptor = descriptor
        self._mode = mode
        self._behind = None if algorithm is None else FollowingChecksum(descriptor, algorithm)

    @classmethod
    def create(cls, path: str, algorithm: str | None, mode: int | None) -> Self:
        """Create an empty file, which must not exist. It gets its permissions when it is finished.

        Args:
            algorithm: a key of `CHECKSUMS`, or None for no checksum.
            mode: the permissions; None to apply the umask.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return cls(os.open(path, flags, 0o666 if mode is None else 0o600), algorithm, mode)

    @classmethod
    def filled(
        cls, path: str, fill: Callable[[Self], None], algorithm: str | None, mode: int | None, *, durable: bool
    ) -> Self:
        """Create a file, have ``fill`` write its bytes, and finish it."""
        file = cls.create(path, algorithm, mode)
        try:
            fill(file)
        except BaseException:
            file.close()
            raise
        file.finish(durable=durable)
        return file

    @classmethod
    def of_content(cls, path: str, content: Content, algorithm: str | None, mode: int | None, *, durable: bool) -> Self:
        """Create a file with the bytes of ``content``, or make its own file this one if it was handed over."""
        source = content.path if content.move else None
        adopted = None if source is None else cls.adopt(path, source, algorithm, mode)
        if adopted is not None:
            adopted.finish(durable=durable)
            return adopted
        return cls.filled(path, content.write_to, algorithm, mode, durable=durable)

    @classmethod
    def adopt(cls, path: str, source: Path, algorithm: str | None, mode: int | None) -> Self | None:
        """Link the file ``source`` to ``path``, so that no byte is copied; return None if that is not possible.

        It is not possible across file systems, or if hard links are unsupported or forbidden. It is not done if the
        file has other names, by which it could be changed later, or another owner.
        """
        try:
            found = os.stat(source, follow_symlinks=False)
            if found.st_nlink != 1 or found.st_uid != os.geteuid():
                return None
            os.link(source, path, follow_symlinks=False)
        except OSError:
            return None
        file = cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), algorithm, mode)
        file._advance(os.fstat(file._descriptor).st_size)
        return file

    def write(self, data: bytes) -> None:
        """Append bytes."""
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            view = view[written:]
            self._advance(written)

    def copy(self, source: int, size: int) -> None:
        """Fill the file with the first ``size`` bytes of another descriptor, whose position does not change."""
        calls = list(_COPY_CALLS)
        while self.length < size:
            step = min(max(self.length, _FIRST_STEP), _STEP, size - self.length)
            try:
                copied = calls[0](source, self._descriptor, step, self.length)
            except OSError as error:
                if len(calls) == 1 or error.errno not in _UNSUPPORTED:
                    raise
                copied = 0
            # On some file systems the kernel's calls return 0 instead of an error. So 0 means the end of the source
            # only if it was read.
            if not copied and len(calls) == 1:
                raise StorageFailed(f"the content shrank while it was stored: expected {size} bytes, got {self.length}")
            if copied:
                self._advance(copied)
            else:
                del calls[0]

    def _advance(self, count: int) -> None:
        self.length += count
        if self._behind is not None:
            self._behind.follow(self.length)

    def finish(self, *, durable: bool) -> None:
        """Set the permissions, sync the file if ``durable``, complete the checksum, and close the file."""
        try:
            if self._mode is not None:
                os.fchmod(self._descriptor, self._mode)
            if durable:
                os.fsync(self._descriptor)
            if self._behind is not None:
                self.checksum, self._behind = self._behind.result(self.length), None
        finally:
            self.close()

    def close(self) -> None:
        """Close the file, finished or not; closing it again does nothing."""
        if self._behind is not None:
            self._behind.stop()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _by_copy_file_range(source: int, target: int, count: int, offset: int) -> int:
    return os.copy_file_range(source, target, count, offset, offset)


def _by_sendfile(source: int, target: int, count: int, offset: int) -> int:
    os.lseek(target, offset, os.SEEK_SET)
    return os.sendfile(target, source, offset, count)


def _by_read_and_write(source: int, target: int, count: int, offset: int) -> int:
    return os.pwrite(target, os.pread(source, min(count, _READ_STEP), offset), offset)


_COPY_CALLS: Final = [
    function
    for name, function in (
        ("copy_file_range", _by_copy_file_range),
        ("sendfile", _by_sendfile),
        ("pread", _by_read_and_write),
    )
    if hasattr(os, name)
]


# --- sidecars ---------------------------------------------------------------------------------------------------------

_ENDING: Final = re.compile(r"\.(?:json|[0-9a-f]{8}(?:\.tmp)?)")


def write_sidecar(path: str, info: FileInfo, data: str, mode: int | None, *, durable: bool) -> None:
    """Write the sidecar of a file whose bytes are in the data file with this name."""
    known = asdict(info) | {"last_modified": info.last_modified.isoformat(), "data": data}
    del known["file_id"]
    write_small(path, json.dumps(known).encode("ascii"), mode, durable=durable)


def read_sidecar(path: str, file_id: str) -> tuple[FileInfo, str] | None:
    """Return the description in a sidecar and the name of the data file; None if there is no sidecar.

    Raises:
        StorageFailed: the sidecar is damaged.
    """
    text = read_small(path)
    if text is None:
        return None
    known = _parse(file_id, text)
    try:
        when = datetime.fromisoformat(known["last_modified"])
        if not (isinstance(known["content_length"], int) and isinstance(known["checksum"], str | None)):
            raise TypeError("the length or the checksum")
        told = (known["filename"], known["content_type"], known["content_length"], when, known["checksum"])
    except (KeyError, TypeError, ValueError) as error:
        raise StorageFailed(f"the sidecar of file {file_id} is damaged: {error!r}") from error
    data = _data_of(file_id, known)
    if data is None:
        raise StorageFailed(f"the sidecar of file {file_id} is damaged: it does not name its data")
    return FileInfo(file_id, *told), data


def commit(path: str, info: FileInfo, mode: int | None, *, durable: bool) -> None:
    """Make the data at ``path`` the file of its id: rename its sidecar into place, and remove the replaced data.

    Raises:
        StorageFailed: the id was deleted in the meantime.
    """
    folder, data = os.path.split(path)
    sidecar = f"{folder}/{info.file_id}.json"
    write_sidecar(path + ".tmp", info, data, mode, durable=durable)
    with locked(folder) as descriptor:
        before = read_small(sidecar)
        # A deletion of this id in the meantime has removed the unfinished data too.
        if not os.path.exists(path):
            raise StorageFailed(f"file {info.file_id} was deleted while it was stored")
        try:
            os.rename(path + ".tmp", sidecar)
            if durable:
                os.fsync(descriptor)
        except BaseException:
            if before is None:
                unlink(sidecar)
            else:
                former = f"{folder}/{info.file_id}.{token_hex(4)}.tmp"
                write_small(former, before, mode, durable=durable)
                os.rename(former, sidecar)
            raise
    replaced = None if before is None else data_name(info.file_id, before)
    if replaced is not None:
        unlink(f"{folder}/{replaced}")


def remove_with_data(folder: str, path: str, file_id: str) -> bool:
    """Remove a sidecar, under the lock of its folder, and its data file; return whether it named one."""
    with locked(folder):
        text = read_small(path)
        unlink(path)
    data = None if text is None else data_name(file_id, text)
    if data is not None:
        unlink(f"{folder}/{data}")
    return data is not None


def data_name(file_id: str, text: bytes) -> str | None:
    """Return the name of the data file in a sidecar, or None if it is damaged or not a name for this id."""
    try:
        return _data_of(file_id, _parse(file_id, text))
    except StorageFailed:
        return None


def _data_of(file_id: str, known: dict[str, Any]) -> str | None:
    name = known.get("data")
    return name if isinstance(name, str) and id_of_name(name) == file_id else None


def id_of_name(name: str) -> str | None:
    """Return the first 36 characters of the name of a data file or a sidecar, or None for any other name."""
    return name[:ID_LENGTH] if _ENDING.fullmatch(name, ID_LENGTH) else None


def decode_filedepot(file_id: str, text: bytes, data: os.stat_result) -> FileInfo:
    """Return the description in filedepot's ``metadata.json``; old versions lack length and time.

    Raises:
        StorageFailed: the file is damaged.
    """
    known = _parse(file_id, text)
    try:
        when = datetime.strptime(known["last_modified"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        when = datetime.fromtimestamp(data.st_mtime, UTC)
    content_type = known.get("content_type") or OCTET_STREAM
    return FileInfo(file_id, known.get("filename") or UNNAMED, content_type, data.st_size, when)


def _parse(file_id: str, text: bytes) -> dict[str, Any]:
    try:
        known = json.loads(text.decode())  # given bytes, it would guess the encoding
    except (ValueError, RecursionError) as error:
        raise StorageFailed(f"the description of file {file_id} is damaged: {error}") from error
    if not isinstance(known, dict) or not all(
        isinstance(known.get(key), str | None) for key in ("filename", "content_type")
    ):
        raise StorageFailed(f"the description of file {file_id} is damaged: expected a JSON object with texts")
    return known


# --- system calls -----------------------------------------------------------------------------------------------------


@contextmanager
def locked(folder: str) -> Iterator[int]:
    """Yield the folder's descriptor while it is locked against commits and deletions, also by other processes.

    Without the lock, two replacements of one file could each remove the data of the other.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)  # also unlocks it


def make_folders(path: str, mode: int | None, inner: str | None = None, *, durable: bool) -> None:
    """Make a folder, its missing parents, and a folder inside it, unless they exist.

    The umask applies to the parents, which others may share, and everywhere if the mode is None.
    """
    parent = os.path.dirname(path)
    if not os.path.isdir(path):
        make_folders(parent, None, durable=durable)
        _make_folder(path, mode, parent if durable else None)
    if inner is not None:
        _make_folder(inner, mode, path if durable else None)


def _make_folder(path: str, mode: int | None, synced: str | None) -> None:
    with suppress(FileExistsError):
        if mode is None:
            os.mkdir(path)
        else:
            os.mkdir(path, mode)
            os.chmod(path, mode)  # mkdir has applied the umask
    if synced is not None:
        sync_folder(synced)


def sync_folder(path: str) -> None:
    """Write the entries of a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_small(path: str, data: bytes, mode: int | None, *, durable: bool) -> None:
    """Write a new file with these bytes."""
    DataFile.filled(path, lambda file: file.write(data), None, mode, durable=durable)


def read_small(path: str) -> bytes | None:
    """Return the bytes of a small file, or None if it does not exist."""
    try:
        # Not open(), which makes more system calls: this is done for each file that is served.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        parts = []
        while part := os.read(descriptor, _SMALL):
            parts.append(part)
            if len(part) < _SMALL:  # only the last read of a file on a disk is short
                break
        return b"".join(parts)
    finally:
        os.close(descriptor)


#: Larger than most of these files, so that one read suffices.
_SMALL: Final = 8192


def unlink(path: str) -> None:
    """Remove a file if it exists."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def names_in(folder: str) -> Iterator[str]:
    """Yield the names in a folder, in no particular order; none if the folder does not exist."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StorageFailed(f"cannot list {folder}: {error.strerror}") from error
    with entries:
        for entry in entries:
            yield entry.name
