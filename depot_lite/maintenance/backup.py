"""Files copied from one storage to another: each one verified, or all of them, for a backup.

A backup keeps the ids. So the depot's name can be given to the storage that holds the backup, and rows go on working.
No database is asked: what the storage lists is copied, files that no row names included.
"""

from __future__ import annotations

import errno
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
from depot_lite.maintenance.ids import ListedFiles, unpacked
from depot_lite.maintenance.run.pace import WORKERS, Pace, Window
from depot_lite.maintenance.run.reports import Step, Watcher

# --- one file ---------------------------------------------------------------------------------------------------------


def copy_file(
    source: FileStorage, target: FileStorage, source_id: str, pace: Pace, *, file_id: str | None = None
) -> FileInfo:
    """Copy a file to another storage, hold the copy against the original, and return what was stored.

    Args:
        file_id: the id that the copy gets; a new one where not given.

    Raises:
        StoredFileNotFound: there is no such file.
        StorageFailed: one of the storages failed, or the copy is not what the original is. No copy is left then.
    """
    if pace.rate is None and type(source) is type(target):
        # Only these may copy in the server or the kernel; with others, one request tells the file and gives its bytes.
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
    """Return whether length and checksum are the same; a copy with another kind of checksum is read once more."""
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
    """Return the next bytes, as many as in each call but the last: a storage may give fewer than it was asked for."""
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
    """Says when failures are no longer those of single files: the target is full, or a storage is gone."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def worked(self) -> None:
        """Note a file that was copied."""
        self._in_a_row = 0

    def failed(self, error: Exception) -> None:
        """Note a file that was not copied.

        Raises:
            StorageFull: the target is full.
            StorageFailed: the target became read-only.
            MaintenanceStopped: so many files failed one after the other that others will, too.
        """
        if isinstance(error, StoredFileNotFound):
            return
        if takes_no_more(error):
            raise error
        self._in_a_row += 1
        if self._in_a_row >= _TOO_MANY:
            raise MaintenanceStopped(f"{self._in_a_row} files one after the other failed, now: {error}") from error


_TOO_MANY: Final = 100


def both_depots(source: str, target: str) -> tuple[str, str]:
    """Return the real names of two depots.

    Raises:
        ConfigurationError: one is not configured, or they are the same.
    """
    names = Depots.resolve_alias(source), Depots.resolve_alias(target)
    if Depots.get(names[0]) is Depots.get(names[1]):
        raise ConfigurationError(f"source={source!r}, target={target!r}: both lead to the storage of {names[1]!r}")
    return names


def without_frames(error: Exception) -> Exception:
    """Return an error for a report, without the frames of the calls that raised it, which hold on to much memory."""
    each: BaseException | None = error
    while each is not None:
        each = each.with_traceback(None).__cause__ or each.__context__
    return error


# --- all files --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class CopyReport:
    """What was copied of a depot."""

    source: str
    target: str
    #: Files in the listing of the source.
    listed: int = 0
    #: Files that were copied; in a dry run, that would be.
    files: int = 0
    #: Their size.
    bytes: int = 0
    #: Files that the target holds already.
    unchanged: int = 0
    #: Files that went away meanwhile, or whose upload is still under way.
    gone: int = 0
    #: File id -> error, where a file could not be copied.
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
) -> CopyReport:
    """Copy the files of a depot to another one, under the same ids, and return what was done: a backup.

    Copied is what the target lacks, has with another length, or has from before the file was replaced. Each copy is
    verified. Nothing is ever deleted in the target that was there before. A file that fails is in the report's
    ``failed``, and the others are copied nevertheless.

    Args:
        source: a depot or an alias.
        target: another one.
        workers: how many files at once.
        rate: at most so many bytes a second.
        progress: told how far it is.
        dry_run: only say what would be copied.

    Raises:
        ConfigurationError: the depots are not configured or the same, or an argument cannot be.
        MaintenanceStopped: the source cannot tell all of its files, or one file after the other failed.
        StorageFailed: a storage cannot be listed, or the target became read-only.
        StorageFull: the target is full.
    """
    return _Backup(source, target, Pace(rate), progress, dry_run=dry_run).run(workers)


#: What became of a file.
_Outcome = tuple[str, Literal["copied", "unchanged", "gone"] | Exception, int]
#: Size, and time in seconds since 1970.
_Known = tuple[int, float]


class _Backup:
    def __init__(self, source: str, target: str, pace: Pace, progress: Watcher | None, *, dry_run: bool) -> None:
        self.report = CopyReport(*both_depots(source, target), dry_run=dry_run)
        self.source, self.target = Depots.get(self.report.source), Depots.get(self.report.target)
        if not self.source.list_is_complete:
            raise MaintenanceStopped(f"a backup would be short: {self.source!r} may leave files out of its listing")
        self.pace = pace
        self.progress = progress
        self.patience = Patience()

    def run(self, workers: int) -> CopyReport:
        began = time.monotonic()
        with Window[_Outcome](workers) as window:
            try:
                # The target first: what is stored meanwhile is in the source's listing only, and copied.
                held, listed = self._listed(self.target), self._listed(self.source)
                self.report.listed = len(listed)
                with Step(self.progress, "copying", len(listed)) as step:
                    for number in range(256):
                        self._copy_part(number, listed, held, window, step)
                        listed.clear(number)
                        held.clear(number)
                    while window.is_busy:
                        self._note(window.results(), step)
            finally:
                self.pace.stop()
        self.report.seconds = time.monotonic() - began
        return self.report

    def _listed(self, storage: FileStorage) -> ListedFiles:
        listed, entries = ListedFiles(), iter(storage.list())
        with Step(self.progress, "listing") as step:
            while count := off_loop(partial(listed.take, entries)):
                step.add(count)
        return listed

    def _copy_part(
        self, number: int, listed: ListedFiles, held: ListedFiles, window: Window[_Outcome], step: Step
    ) -> None:
        known, there, known_there = listed.known(number), held.part(number), held.known(number)
        for key in listed.part(number):
            while not window.has_room:
                self._note(window.results(), step)
            window.submit(
                partial(self._copy, unpacked(key), key in there, known.get(key), known_there.get(key)),
            )

    def _copy(self, file_id: str, is_there: bool, known: _Known | None, known_there: _Known | None) -> _Outcome:
        try:
            if is_there and not self._has_changed(file_id, known, known_there):
                return file_id, "unchanged", 0
            if self.report.dry_run:
                return file_id, "copied", (known or _looked_at(self.source, file_id))[0]
            info = copy_file(self.source, self.target, file_id, self.pace, file_id=file_id)
            return file_id, "copied", info.content_length
        except StoredFileNotFound:
            return file_id, "gone", 0
        except Exception as error:  # a backend of somebody else's may raise anything
            return file_id, error, 0

    def _has_changed(self, file_id: str, known: _Known | None, known_there: _Known | None) -> bool:
        size, when = known or _looked_at(self.source, file_id)
        try:
            size_there, when_there = known_there or _looked_at(self.target, file_id)
        except StoredFileNotFound:  # listed, but not whole: a copy that was cut off
            return True
        if size != size_there:
            return True
        if when_there > when + _CLOSE:
            return False
        # Two clocks, of which one may tell no more than seconds: the content says more, where both know a checksum.
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


#: Seconds within which two clocks, and two ways of telling the time, do not say which was first.
_CLOSE: Final = 2


def _looked_at(storage: FileStorage, file_id: str) -> _Known:
    """Return what the storage knows of a whole file."""
    info = storage._info(file_id)
    return info.content_length, info.last_modified.timestamp()
