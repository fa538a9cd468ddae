"""Copies between storages: single verified copies, and a backup of all files of a depot.

A backup keeps the ids. If the depot's name is given to the storage that holds the backup, all rows continue to work.
No database is needed: all files in the listing are copied, including those that no row names.
"""

from __future__ import annotations

import errno
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, MaintenanceStopped, StorageFailed, StorageFull, StoredFileNotFound
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.checksums import CHECKSUMS
from depot_lite.io.content import CHUNK_SIZE, Content
from depot_lite.io.interfaces import FileInfo, FileStorage, StoredFile
from depot_lite.io.options import integer
from depot_lite.maintenance.ids import FoundFiles, ListedFiles, Part, Prefix, prefixes, unpacked
from depot_lite.maintenance.run.pace import WORKERS, Pace, Window
from depot_lite.maintenance.run.reports import Step, Watcher

# --- one file ---------------------------------------------------------------------------------------------------------


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
    if original.checksum is not None and _algorithm(original.checksum) == _algorithm(copy.checksum):
        return original.checksum == copy.checksum
    with target.get(copy.file_id) as copied:
        if _algorithm(original.checksum) in CHECKSUMS:
            return _sum(copied, _algorithm(original.checksum)) == original.checksum
        with source.get(original.file_id) as stored:
            return _same_bytes(copied, stored)


def _algorithm(checksum: str | None) -> str:
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


class Patience:
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
            f"source={source!r}, target={target!r}: expected two storages, but both lead to that of {names[1]!r}"
        )
    return names


def without_frames(error: Exception) -> Exception:
    """Return an error without its traceback, whose frames would keep much memory alive in a report."""
    each: BaseException | None = error
    while each is not None:
        each = each.with_traceback(None).__cause__ or each.__context__
    return error


# --- all files --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class CopyReport:
    """The result of copying the files of a depot."""

    source: str
    target: str
    #: Files in the listing of the source.
    listed: int = 0
    #: Files copied, or to be copied in a dry run.
    files: int = 0
    #: The total size of these.
    bytes: int = 0
    #: Files that the target already has.
    unchanged: int = 0
    #: Files deleted meanwhile, or not completely uploaded yet.
    gone: int = 0
    #: Files of the target that the source does not have.
    surplus: int = 0
    #: Of these, files that were deleted; None unless asked for, and if files could not be copied.
    pruned: int | None = None
    #: File id -> error for files that could not be copied.
    failed: dict[str, Exception] = field(default_factory=dict)
    dry_run: bool = False
    seconds: float = 0.0


def copy_files(
    source: str,
    target: str,
    *,
    workers: int = WORKERS,
    rate: int | None = None,
    progress: Watcher | None = None,
    dry_run: bool = False,
    prune: bool = False,
    max_prune: int | None = None,
    allow_empty: bool = False,
    part: Part | None = None,
) -> CopyReport:
    """Copy the files of a depot to another one under the same ids, as a backup.

    A file is copied if the target lacks it, has it with another length, or has a copy from before the file was
    replaced. Each copy is verified. Files that cannot be copied are in the report's ``failed``; the others are copied
    nevertheless. No other file of the target is deleted, unless ``prune`` asks for it.

    Args:
        source: a depot or an alias.
        target: another depot or alias.
        workers: number of files copied at a time.
        rate: maximum bytes per second.
        progress: called with the `Progress` of each step.
        dry_run: only report the files that would be copied.
        prune: in the end, delete the files of the target that the source does not have, if all others were copied.
            Only for a target that no rows name.
        max_prune: the number of files that may be deleted. By default a tenth of the target, and at most 1000; but 10
            in any case.
        allow_empty: whether the source may be empty. A folder that is not mounted is.
        part: copy, and delete, only files of this part, while other processes see to the others.

    Raises:
        ConfigurationError: a depot is not configured, both are the same, or an argument is invalid.
        MaintenanceStopped: the source has no files, or cannot list all of them; many files in a row failed; or more
            files would have to be deleted than allowed, and none was.
        StorageFull: the target is full.
        StorageFailed: a storage cannot be listed, or the target became read-only.
    """
    backup = _Backup(source, target, Pace(rate), progress, part, dry_run=dry_run)
    report = backup.run(workers, allow_empty=allow_empty)
    if prune and not report.failed:
        backup.prune(max_prune)
    return report


#: Files deleted per call of the storage.
_AT_ONCE: Final = 1000

#: File id, outcome or error, and number of bytes copied.
_Outcome = tuple[str, Literal["copied", "unchanged", "gone"] | Exception, int]
#: Size, and time in seconds since 1970, of a file.
_Known = tuple[int, float]


class _Backup:
    def __init__(
        self, source: str, target: str, pace: Pace, progress: Watcher | None, part: Part | None, *, dry_run: bool
    ) -> None:
        self.report = CopyReport(*both_depots(source, target), dry_run=dry_run)
        self.source, self.target = Depots.get(self.report.source), Depots.get(self.report.target)
        if not self.source.list_is_complete:
            raise MaintenanceStopped(
                f"a backup would be incomplete: {self.source!r} may leave files out of its listing"
            )
        self.pace = pace
        self.progress = progress
        self.patience = Patience()
        self.part = part
        self.held = 0
        self.surplus = FoundFiles()

    def run(self, workers: int, *, allow_empty: bool) -> CopyReport:
        began = time.monotonic()
        with Window[_Outcome](workers) as window:
            try:
                # The target first: files stored meanwhile are then in the source's listing only, and are copied.
                held, listed = self._listed(self.target), self._listed(self.source)
                self.report.listed, self.held = len(listed), len(held)
                if not listed and not allow_empty:
                    raise MaintenanceStopped(
                        f"depot {self.report.source!r} has no files: the folder may not be mounted, or the bucket or "
                        "prefix may be another one; to copy a depot that is empty, allow it"
                    )
                with Step(self.progress, "copying", len(listed)) as step:
                    for prefix in prefixes(listed, held):
                        self._copy_part(prefix, listed, held, window, step)
                        listed.clear(prefix)
                        held.clear(prefix)
                    while window.is_busy:
                        self._note(window.results(), step)
            finally:
                self.pace.stop()
        self.report.surplus = len(self.surplus)
        self.report.seconds = time.monotonic() - began
        return self.report

    def _listed(self, storage: FileStorage) -> ListedFiles:
        listed, entries = ListedFiles(), iter(storage.list())
        with Step(self.progress, "listing") as step:
            while count := off_loop(partial(listed.take, entries)):
                step.add(count)
        return listed

    def _copy_part(
        self, prefix: Prefix, listed: ListedFiles, held: ListedFiles, window: Window[_Outcome], step: Step
    ) -> None:
        known, there, known_there = listed.known(prefix), held.part(prefix), held.known(prefix)
        ours = listed.part(prefix)
        for key in sorted(there - ours):
            if self.part is None or unpacked(key) in self.part:
                self.surplus.append(key, *known_there.get(key, (0, 0.0)))
        for key in ours:
            if self.part is not None and unpacked(key) not in self.part:
                continue
            while not window.has_room:
                self._note(window.results(), step)
            window.submit(
                partial(self._copy, unpacked(key), key in there, known.get(key), known_there.get(key)),
            )

    def prune(self, most: int | None) -> None:
        """Delete the files of the target that the source does not have."""
        allowed = max(10, min(self.held // 10, 1000)) if most is None else integer("max_prune", most, 0, sys.maxsize)
        if len(self.surplus) > allowed:
            raise MaintenanceStopped(
                f"{len(self.surplus)} of {self.held} files in {self.report.target!r} are not in "
                f"{self.report.source!r}, and at most {allowed} may be deleted; all others were copied"
            )
        self.report.pruned = 0
        if self.report.dry_run:
            return
        with Step(self.progress, "deleting", len(self.surplus)) as step:
            for start in range(0, len(self.surplus), _AT_ONCE):
                off_loop(partial(self._prune, [each.file_id for each in self.surplus[start : start + _AT_ONCE]]))
                step.add(min(_AT_ONCE, len(self.surplus) - start))

    def _prune(self, file_ids: list[str]) -> None:
        doomed = [each for each in file_ids if not self.source.exists(each)]  # stored since the source was listed
        failed = self.target.delete_many(doomed)
        self.report.failed |= failed
        self.report.pruned = (self.report.pruned or 0) + len(doomed) - len(failed)

    def _copy(self, file_id: str, is_there: bool, known: _Known | None, known_there: _Known | None) -> _Outcome:
        try:
            if is_there and not self._has_changed(file_id, known, known_there):
                return file_id, "unchanged", 0
            if self.report.dry_run:
                return file_id, "copied", (known or _size_and_time(self.source, file_id))[0]
            info = copy_file(self.source, self.target, file_id, self.pace, file_id=file_id)
            return file_id, "copied", info.content_length
        except StoredFileNotFound:
            return file_id, "gone", 0
        except Exception as error:  # a third-party backend may raise anything
            return file_id, error, 0

    def _has_changed(self, file_id: str, known: _Known | None, known_there: _Known | None) -> bool:
        size, when = known or _size_and_time(self.source, file_id)
        try:
            size_there, when_there = known_there or _size_and_time(self.target, file_id)
        except StoredFileNotFound:  # listed but not complete: an interrupted copy
            return True
        if size != size_there:
            return True
        if when_there > when + _CLOSE:
            return False
        # Two clocks, one of which may have a resolution of seconds: checksums are more reliable, if both have one.
        sums = self.source._info(file_id).checksum, self.target._info(file_id).checksum
        if None not in sums and _algorithm(sums[0]) == _algorithm(sums[1]):
            return sums[0] != sums[1]
        return int(when_there) < int(when)

    def _note(self, outcomes: list[_Outcome], step: Step) -> None:
        for file_id, outcome, size in outcomes:
            step.add(1, size)
            if isinstance(outcome, Exception):
                self.patience.failed(outcome)
                self.report.failed[file_id] = without_frames(outcome)
            elif outcome == "copied":
                self.patience.worked()
                self.report.files += 1
                self.report.bytes += size
            elif outcome == "gone":
                self.report.gone += 1
            else:
                self.report.unchanged += 1


#: Seconds by which two clocks may differ, so that the order of their times is uncertain.
_CLOSE: Final = 2


def _size_and_time(storage: FileStorage, file_id: str) -> _Known:
    """Return size and time of a complete file."""
    info = storage._info(file_id)
    return info.content_length, info.last_modified.timestamp()
