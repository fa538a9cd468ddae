"""The second half of a sweep: marks unused files, and deletes files that were marked long enough ago.

All references are read again directly before the first deletion, and again if the deletions take longer than files may
be young: in that time an old file may have come to be named. Each file is written to a log before it is deleted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from stat import S_ISREG
from time import monotonic, sleep
from typing import Final, TextIO

from depot_lite.errors import ConfigurationError, DepotError, MaintenanceStopped
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance.ids import FoundFile, FoundFiles, packed
from depot_lite.maintenance.readings import Readings
from depot_lite.maintenance.run.reports import Step, UnusedReport, Watcher, partial_report
from depot_lite.maintenance.trash import Trash, load_marks, time_of_marks, update_marks

_log: Final = logging.getLogger("depot_lite")

#: Files deleted per call of the storage.
_AT_ONCE: Final = 1000

#: The least number of seconds after which references, and marks, are read again while files are deleted.
_READING: Final = 60.0


class DeletionLog:
    """A text file with a line for each file that is marked or deleted, written before that is done.

    Args:
        path: the file, which is appended to; None for no log.

    Raises:
        ConfigurationError: the file cannot be opened.
    """

    def __init__(self, path: str | Path | None, depot_name: str) -> None:
        self._depot_name = depot_name
        self._closing = ExitStack()
        self._file: TextIO | None = None
        if path is not None:
            try:
                self._file = self._closing.enter_context(Path(path).open("a", encoding="utf-8"))  # noqa: SIM115  # as long as the log
            except OSError as error:
                raise ConfigurationError(f"log {path} cannot be written: {error}") from error

    def __enter__(self) -> DeletionLog:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # of lines that could not be written, which has been raised already
            self._closing.close()

    def write(self, action: str, files: Iterable[tuple[str, object]]) -> None:
        """Write a line for each file id, with a detail; it is on the disk when this returns.

        Raises:
            MaintenanceStopped: it cannot be written.
        """
        if self._file is None:
            return
        when = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._file.writelines(f"{when} {action} {self._depot_name}/{each} {detail}\n" for each, detail in files)
            self._file.flush()
            if S_ISREG(os.fstat(self._file.fileno()).st_mode):  # and not a pipe or a terminal
                os.fsync(self._file.fileno())
        except OSError as error:
            raise MaintenanceStopped(f"log {self._file.name} cannot be written: {error.strerror or error}") from error

    def write_late(self, action: str, files: Iterable[tuple[str, object]]) -> None:
        """Without a log, write the same lines to the logger."""
        if self._file is None:
            for file_id, detail in files:
                _log.warning("%s %s/%s %s", action, self._depot_name, file_id, detail)


@dataclass(slots=True)
class Deletion:
    """The deletion of the files that a search has found."""

    storage: FileStorage
    readings: Readings
    trash: Trash
    older_than: timedelta
    log: DeletionLog
    progress: Watcher | None
    _due: dict[bytes, FoundFile] = field(default_factory=dict)
    _new: dict[bytes, FoundFile] = field(default_factory=dict)
    #: When the marks were last compared with those in the storage.
    _looked: float = 0.0

    def run(self, report: UnusedReport, settle: timedelta) -> UnusedReport:
        """Mark the files of a report, or delete them, and return the report."""
        with partial_report(report):
            self._run(report, settle)
        return report

    def _run(self, report: UnusedReport, settle: timedelta) -> None:
        report.deleted, report.marked = 0, 0
        for each in report.files:
            key = packed(each.file_id)
            (self._due if self.trash.is_due(key) else self._new)[key] = each
        if self._due:
            self._settle(min(settle, self.older_than))
            self._read_again(report)
        self._mark(report)
        with Step(self.progress, "deleting", len(self._due)) as step:
            try:
                self._delete(report, step)
            except BaseException:
                self.log.write_late("delete", ((each.file_id, each.size) for each in report.deleted_files))
                raise
            finally:
                self._forget_marks(report)

    def _forget_marks(self, report: UnusedReport) -> None:
        """Take off the marks of deleted files. If that fails, the next run does it."""
        done = self.trash.marks.keys() & {packed(each.file_id) for each in report.deleted_files}
        try:
            off_loop(partial(update_marks, self.storage, done, {}))
        except DepotError as error:
            _log.warning("the marks of %s deleted files of %s were left: %s", len(done), report.depot, error)

    def _settle(self, time: timedelta) -> None:
        """Wait until this time has passed since the references were read."""
        until = self.readings.begun + time.total_seconds()
        if monotonic() >= until:
            return
        whole = round(time.total_seconds())
        with Step(self.progress, "waiting for transactions to end", whole, unit="seconds") as step:
            while (left := until - monotonic()) > 0:
                off_loop(partial(sleep, min(left, 0.5)))
                step.done = round(time.total_seconds() - left)
                step.add(0)

    def _read_again(self, report: UnusedReport) -> None:
        """Drop the files that are named by now, or that somebody has undeleted."""
        named = {packed(each) for each in self.readings.read(self._due.keys() | self._new.keys())}
        report.named += len(named)
        self._drop(report, named)
        self._drop_undeleted(report)

    def _drop_undeleted(self, report: UnusedReport) -> None:
        """Drop the files whose marks somebody has taken off since they were found."""
        self._looked = monotonic()
        if marked := self._due.keys() & self.trash.marks.keys():
            undeleted = marked - off_loop(partial(load_marks, self.storage)).keys()
            report.kept += len(undeleted)
            self._drop(report, undeleted)

    def _drop(self, report: UnusedReport, keys: set[bytes]) -> None:
        if not keys:
            return
        for key in keys:
            self._due.pop(key, None)
            self._new.pop(key, None)
        left, report.files = report.files, FoundFiles()
        for each in left:
            if (key := packed(each.file_id)) not in keys:
                report.files.append(key, each.size, each.last_modified.timestamp())

    def _mark(self, report: UnusedReport) -> None:
        """Mark the new files, and take off the marks of files that are named, kept, or gone."""
        added = {key: each for key, each in self._new.items() if key not in self.trash.marks}
        stale = self.trash.marks.keys() - self._new.keys() - self._due.keys()
        self.log.write("mark", ((each.file_id, each.size) for each in added.values()))
        when = off_loop(partial(time_of_marks, self.storage)) if added else 0.0
        off_loop(partial(update_marks, self.storage, stale, dict.fromkeys(added, when)))
        report.marked, report.unmarked = len(added), len(stale)

    def _delete(self, report: UnusedReport, step: Step) -> None:
        patience = max(self.older_than.total_seconds(), _READING)
        while self._due:
            if monotonic() - self.readings.begun > patience:
                self._read_again(report)
            elif monotonic() - self._looked > _READING:
                self._drop_undeleted(report)
            batch = [self._due[key] for key in list(self._due)[:_AT_ONCE]]
            self.log.write("delete", ((each.file_id, each.size) for each in batch))
            failed = off_loop(partial(self.storage.delete_many, [each.file_id for each in batch]))
            report.failed |= failed
            for each in batch:
                del self._due[packed(each.file_id)]
                if each.file_id not in failed:
                    report.deleted_files.append(packed(each.file_id), each.size, each.last_modified.timestamp())
            report.deleted = len(report.deleted_files)
            step.add(len(batch), sum(each.size for each in batch if each.file_id not in failed))
            self.log.write("failed", ((each, " ".join(str(error).split())) for each, error in failed.items()))
