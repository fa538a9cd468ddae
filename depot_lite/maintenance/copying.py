"""Copies of single files between storages, verified; and when a job that copies many is to stop."""

from __future__ import annotations

import errno
from typing import Final

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, MaintenanceStopped, StorageFailed, StorageFull, StoredFileNotFound
from depot_lite.io.checksums import CHECKSUMS
from depot_lite.io.content import CHUNK_SIZE, Content
from depot_lite.io.interfaces import FileInfo, FileStorage, StoredFile
from depot_lite.maintenance.run.pace import Pace


def copy_file(
    source: FileStorage, target: FileStorage, source_id: str, pace: Pace, *, file_id: str | None = None
) -> FileInfo:
    """Copy a file to another storage, verify the copy, and return its `FileInfo`.

    Args:
        file_id: the id of the copy; by default a new one.

    Raises:
        StoredFileNotFound: the file does not exist.
        StorageFailed: a storage failed, or the copy differs from the original. No copy is left then.
    """
    if pace.rate is None and type(source) is type(target):
        # Storages of one type may copy in the server or the kernel. Otherwise one request gives both info and bytes.
        info, original = target.save_from(source, source_id, file_id=file_id), source._info(source_id)
    else:
        with source.get(source_id) as stored, pace.paced(stored) as paced:
            info, original = target.save(Content.of(paced), file_id=file_id), stored.info
    try:
        if not _is_same(info, original, source, target):
            raise StorageFailed(
                f"file {source_id} came out different as {info.file_id}: it has {original.content_length} bytes, "
                f"{original.checksum}, and the copy {info.content_length} bytes, {info.checksum}"
            )
    except BaseException:
        target.delete(info.file_id)
        raise
    return info


def _is_same(copy: FileInfo, original: FileInfo, source: FileStorage, target: FileStorage) -> bool:
    """Return whether length and checksum match; a copy with another kind of checksum is read again."""
    if copy.content_length != original.content_length:
        return False
    if original.checksum is not None and algorithm_of(original.checksum) == algorithm_of(copy.checksum):
        return original.checksum == copy.checksum
    with target.get(copy.file_id).unverified() as copied:
        if algorithm_of(original.checksum) in CHECKSUMS:
            return _sum(copied, algorithm_of(original.checksum)) == original.checksum
        with source.get(original.file_id) as stored:
            return _same_bytes(copied, stored)


def algorithm_of(checksum: str | None) -> str:
    """Return the name of the algorithm of a checksum; empty without a checksum."""
    return (checksum or "").partition(":")[0]


def _sum(file: StoredFile, algorithm: str) -> str:
    found = CHECKSUMS[algorithm]()
    for chunk in file:
        found.update(memoryview(chunk))
    return f"{algorithm}:{found.hexdigest()}"


def _same_bytes(one: StoredFile, other: StoredFile) -> bool:
    while True:
        chunk = _exactly(one)
        if chunk != _exactly(other):
            return False
        if not chunk:
            return True


def _exactly(file: StoredFile) -> bytes:
    """Return the next full chunk; only the last one is shorter. A single read of a storage may return less."""
    parts, missing = [], CHUNK_SIZE
    while missing and (data := file.read(missing)):
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


# --- when to stop -----------------------------------------------------------------------------------------------------


def takes_no_more(error: Exception) -> bool:
    """Return whether an error says that nothing more can be stored: the target is full, or became read-only."""
    return isinstance(error, StorageFull) or (isinstance(error, StorageFailed) and error.errno == errno.EROFS)


class FailureCounter:
    """A counter that tells failures of single files from a full target or a lost storage."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def worked(self) -> None:
        """Record a copied file."""
        self._in_a_row = 0

    def failed(self, error: Exception) -> None:
        """Record a file that could not be copied.

        Raises:
            StorageFull: the target is full.
            StorageFailed: the target became read-only.
            MaintenanceStopped: so many files in a row failed that the others probably would, too.
        """
        if isinstance(error, StoredFileNotFound):
            return
        if takes_no_more(error):
            raise error
        self._in_a_row += 1
        if self._in_a_row >= _TOO_MANY:
            raise MaintenanceStopped(f"{self._in_a_row} files in a row failed, the last one with: {error}") from error


_TOO_MANY: Final = 100


def both_depots(source: str, target: str) -> tuple[str, str]:
    """Return the real names of two depots.

    Raises:
        ConfigurationError: a depot is not configured, or both have the same storage.
    """
    names = Depots.resolve_alias(source), Depots.resolve_alias(target)
    if Depots.get(names[0]) is Depots.get(names[1]):
        raise ConfigurationError(
            f"source={source!r}, target={target!r}: expected two storages, but both lead to the storage of {names[1]!r}"
        )
    return names


def without_frames(error: Exception) -> Exception:
    """Return an error without its traceback, whose frames would keep much memory alive in a report."""
    each: BaseException | None = error
    while each is not None:
        each = each.with_traceback(None).__cause__ or each.__context__
    return error
