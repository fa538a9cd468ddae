"""A backup of all files of a depot, under the same ids.

If the depot's name is given to the storage that holds the backup, all rows continue to work. No database is needed: all
files in the listing are copied, including those that no row names.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped, StoredFileNotFound, UnknownDepot
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.options import integer
from depot_lite.maintenance.copying import Patience, algorithm_of, both_depots, copy_file, without_frames
from depot_lite.maintenance.ids import FoundFiles, ListedFiles, Part, Prefix, prefixes, unpacked
from depot_lite.maintenance.owners import owners_of
from depot_lite.maintenance.rows.places import columns_of_models
from depot_lite.maintenance.run.pace import WORKERS, Pace, Window
from depot_lite.maintenance.run.reports import Step, Watcher, partial_report


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
            Only for a target that no rows name: no owner mark, no file column that uploads to it.
        max_prune: the number of files that may be deleted. By default a tenth of the target, and at most 1000; but 10
            in any case.
        allow_empty: whether the source may be empty. A folder that is not mounted is.
        part: copy, and delete, only files of this part, while other processes see to the others.

    Raises:
        ConfigurationError: a depot is not configured, both are the same, or an argument is invalid.
        MaintenanceStopped: the source has no files, or cannot list all of them; many files in a row failed; or, with
            ``prune``, rows name files of the target, it has no file of the source's, or more files would have to be
            deleted than allowed, and none was.
        StorageFull: the target is full.
        StorageFailed: a storage cannot be listed, or the target became read-only.
    """
    backup = _Backup(source, target, Pace(rate), progress, part, dry_run=dry_run)
    if prune:
        off_loop(partial(_refuse_live, backup.report.target))
    with partial_report(backup.report):
        report = backup.run(workers, allow_empty=allow_empty, prune=prune)
        if prune and not report.failed:
            backup.prune(max_prune)
    return report


def _refuse_live(depot_name: str) -> None:
    """Raise an error for a depot whose files rows name, as if backup and depot were swapped on the command line."""
    storage = Depots.get(depot_name)
    reason = next((f"it belongs to {' and '.join(found)}" for each in storage.parts if (found := owners_of(each))), "")
    uploading = {str(each): each.type.upload_storage for each in columns_of_models() if each.type is not None}
    for place, name in uploading.items():
        with suppress(UnknownDepot):  # of a part of the application that is not configured here
            if not reason and Depots.get(name).shares_files_with(storage):
                reason = f"{place} uploads to it"
    if reason:
        raise MaintenanceStopped(
            f"depot {depot_name!r} is no backup, {reason}: none of its files is deleted for not being in another depot"
        )


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

    def run(self, workers: int, *, allow_empty: bool, prune: bool) -> CopyReport:
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
                if prune:
                    off_loop(partial(self._refuse_stranger, listed, held))
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

    def _refuse_stranger(self, listed: ListedFiles, held: ListedFiles) -> None:
        """Raise an error for a target without any file of the source, before it gets one."""
        if (
            len(listed)
            and len(held)
            and not any(listed.part(each) & held.part(each) for each in prefixes(listed, held))
        ):
            raise MaintenanceStopped(
                f"depot {self.report.target!r} has {len(held)} files and none of {self.report.source!r}, so it is no "
                "backup of it: nothing was copied or deleted"
            )

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
        if None not in sums and algorithm_of(sums[0]) == algorithm_of(sums[1]):
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
