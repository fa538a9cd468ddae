"""Restoration: copies files back from a backup, under the same ids, so that rows find them again.

With a database, only files come back that rows name and that the depot lacks: a backup may also hold files whose rows
were deleted since, at the request of their owners perhaps. A file that the depot has is never touched.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped, StoredFileNotFound
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance.copying import FailureCounter, both_depots, copy_file, without_frames
from depot_lite.maintenance.limits import count_of
from depot_lite.maintenance.missing import find_missing
from depot_lite.maintenance.run.pace import WORKERS, Pace, Window, iterate_off_loop
from depot_lite.maintenance.run.reports import Step, TransferReport, Watcher, partial_report


@dataclass(slots=True)
class RestoreReport(TransferReport):
    """The result of a restoration."""

    #: Files that the depot has.
    present: int = 0
    #: Ids of files that rows name, and that neither the depot nor the backup has.
    lost: list[str] = field(default_factory=list)
    #: File id -> error for files that could not be copied.
    failed: dict[str, Exception] = field(default_factory=dict)
    #: Whether only files were restored that rows name.
    with_rows: bool = False


def restore_files(
    bind: Session | Engine | Connection | None,
    source: str,
    target: str,
    *,
    workers: int = WORKERS,
    rate: int | None = None,
    limit: int | None = None,
    dry_run: bool = False,
    models: Iterable[object] | None = None,
    progress: Watcher | None = None,
) -> RestoreReport:
    """Copy the files that a depot lacks from a backup, under the same ids. Each copy is verified.

    Args:
        bind: the database, whose rows name the files to restore. None restores all files of the backup, also if their
            rows no longer exist.
        source: the depot, or alias, that holds the backup.
        target: the depot, or alias, that lacks files.
        workers: number of files copied at a time.
        rate: maximum bytes per second.
        limit: number of files to restore at most.
        dry_run: only report the files that would be restored.
        models: the declarative bases whose columns are read; by default all.
        progress: called with the `Progress` of each step.

    Raises:
        ConfigurationError: a depot is not configured, both are the same, or an argument is invalid.
        MaintenanceStopped: a table cannot be read, the backup cannot list all files, or many files in a row failed.
        StorageFull: the depot is full.
        StorageFailed: a storage cannot be read, or the depot became read-only.
    """
    restoration = _Restoration(source, target, Pace(rate), progress, count_of("limit", limit), dry_run=dry_run)
    if bind is None:
        return restoration.run(restoration.of_backup(), workers)
    restoration.report.with_rows = True
    return restoration.run(restoration.of_rows(bind, models), workers)


#: File id, outcome or error, and number of bytes copied.
_RestoreOutcome = tuple[str, Literal["restored", "present", "lost"] | Exception, int]

#: Ids listed at a time in a thread.
_AT_ONCE: Final = 1000


class _Restoration:
    def __init__(
        self, source: str, target: str, pace: Pace, progress: Watcher | None, limit: int | None, *, dry_run: bool
    ) -> None:
        self.report = RestoreReport(*both_depots(source, target), dry_run=dry_run)
        self.source, self.target = Depots.get(self.report.source), Depots.get(self.report.target)
        self.pace = pace
        self.progress = progress
        self.failures = FailureCounter()
        self.limit = limit
        self.under_way = 0

    def of_rows(self, bind: Any, models: Iterable[object] | None) -> list[str]:
        """Return the ids of the files that rows name and that the depot lacks."""
        with partial_report(self.report):
            missing = find_missing(bind, self.report.target, models=models, progress=self.progress)
        self.report.present = missing.named - len(missing.files)
        return list(dict.fromkeys(each.path.partition("/")[2] for each in missing.files))

    def of_backup(self) -> Iterator[str]:
        """Yield the ids of all files of the backup."""
        if not self.source.list_is_complete:
            raise MaintenanceStopped(
                f"a restoration would be incomplete: {self.source!r} may leave files out of its listing"
            )
        yield from iterate_off_loop(map(str, self.source.list()), _AT_ONCE)

    def run(self, file_ids: Iterable[str], workers: int) -> RestoreReport:
        began = time.monotonic()
        total = len(file_ids) if isinstance(file_ids, list) else None
        with (
            partial_report(self.report),
            Window[_RestoreOutcome](workers) as window,
            Step(self.progress, "restoring", total) as step,
        ):
            try:
                for file_id in file_ids:
                    while window.is_busy and not (window.has_room and self._allows_another()):
                        self._note(window.results(), step)
                    if not self._allows_another():
                        break
                    self.under_way += 1
                    window.submit(partial(self._restore, file_id))
                while window.is_busy:
                    self._note(window.results(), step)
            finally:
                self.pace.stop()
        self.report.seconds = time.monotonic() - began
        return self.report

    def _allows_another(self) -> bool:
        return self.limit is None or self.report.files + self.under_way < self.limit

    def _restore(self, file_id: str) -> _RestoreOutcome:
        try:
            if _is_whole(self.target, file_id):
                return file_id, "present", 0
            if self.report.dry_run:
                return file_id, "restored", self.source._info(file_id).content_length
            info = copy_file(self.source, self.target, file_id, self.pace, file_id=file_id)
            return file_id, "restored", info.content_length
        except StoredFileNotFound:
            return file_id, "lost", 0
        except Exception as error:  # a third-party backend may raise anything
            return file_id, error, 0

    def _note(self, outcomes: list[_RestoreOutcome], step: Step) -> None:
        for file_id, outcome, size in outcomes:
            step.add(1, size)
            self.under_way -= 1
            if isinstance(outcome, Exception):
                self.failures.failed(outcome)
                self.report.failed[file_id] = without_frames(outcome)
            elif outcome == "restored":
                self.failures.worked()
                self.report.files += 1
                self.report.bytes += size
            elif outcome == "present":
                self.report.present += 1
            elif self.report.with_rows:  # without rows: an unfinished file of the backup
                self.report.lost.append(file_id)


def _is_whole(storage: FileStorage, file_id: str) -> bool:
    """Return whether a storage has a file, and not only the beginning of an interrupted upload."""
    try:
        storage._info(file_id)
    except StoredFileNotFound:
        return False
    return True
