"""Reports and progress of maintenance jobs, as plain data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from depot_lite.maintenance.ids import FoundFiles


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a step: ``listing``, ``reading movie.poster``, ``deleting``."""

    step: str
    #: Units done.
    done: int
    #: Units in total; None if not known.
    total: int | None = None
    #: The unit: ``files``, ``rows`` or ``seconds``.
    unit: str = "files"
    #: Bytes moved or read so far; None for steps that move none.
    bytes: int | None = None
    #: Whether the step has ended.
    finished: bool = False


#: A progress callback: called in the working thread, a few times per second at most, and at the end of each step, even
#: if it was interrupted.
Watcher = Callable[[Progress], Any]


class Step:
    """A context manager for one step of a job, which reports its progress to a watcher."""

    def __init__(self, watcher: Watcher | None, name: str, total: int | None = None, unit: str = "files") -> None:
        self._watcher = watcher
        self._name = name
        self._unit = unit
        self._next = 0.0
        self.total = total
        self.done = 0
        self.bytes: int | None = None

    def add(self, count: int = 1, size: int | None = None) -> None:
        """Count units done, and their bytes."""
        self.done += count
        if size is not None:
            self.bytes = (self.bytes or 0) + size
        if self._watcher is not None and time.monotonic() >= self._next:
            self._tell(finished=False)
            self._next = time.monotonic() + _INTERVAL

    def __enter__(self) -> Step:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._watcher is not None:
            self._tell(finished=kind is None)

    def _tell(self, *, finished: bool) -> None:
        if self._watcher is not None:
            self._watcher(Progress(self._name, self.done, self.total, self._unit, self.bytes, finished))


@contextmanager
def partial_report(report: Any) -> Iterator[None]:
    """Give the report of a job as far as it went to the error, or the signal, that ends it: as ``error.report``."""
    try:
        yield
    except BaseException as error:
        error.__dict__["report"] = report
        raise


#: Minimum seconds between two calls of a watcher.
_INTERVAL: Final = 0.1


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row of which something could not be done."""

    #: ``table.column``.
    place: str
    #: The primary key.
    key: tuple[Any, ...]
    #: The file that caused the error, if one did.
    path: str | None
    error: Exception


@dataclass(slots=True)
class RegenerateReport:
    """The result of making variants or facts for rows."""

    #: Rows checked, in all columns.
    rows: int = 0
    #: Of these, rows that lack variants, a placeholder or facts, or whose variants are of former recipes.
    outdated: int = 0
    #: Rows whose variants were regenerated, or whose facts were entered; None after a dry run.
    regenerated: int | None = None
    #: Rows that were replaced or deleted before their turn came.
    changed: int = 0
    #: Rows of which something could not be made; another run tries them again.
    failed: list[FailedRow] = field(default_factory=list)
    #: Files without facts that analyzers cannot read, since they are broken or encrypted, say. No other run tries them.
    unreadable: list[FailedRow] = field(default_factory=list)


@dataclass(slots=True)
class UnusedReport:
    """The files of a depot that no row names."""

    depot: str
    #: Only files stored before this time count as unused.
    before: datetime
    #: Files in the listing, including partial ones.
    listed: int = 0
    #: Of these, files named by a row or a protected column.
    named: int = 0
    #: Not named, but too young to count as unused: a transaction may be about to name them.
    young: int = 0
    #: Not named and old enough, but kept by the ``keep_if`` hook.
    kept: int = 0
    #: Not named, and deleted by others before they were checked.
    gone: int = 0
    #: Named by a row as files of another depot, which lacks them or has its files in the same place. They are in use,
    #: since ids are never used twice.
    misplaced: int = 0
    #: Whether nothing was to be marked or deleted.
    dry_run: bool = True
    #: The reasons for which a deletion stops.
    objections: list[str] = field(default_factory=list)
    #: The unused files: marked ones, waiting ones, and files selected for deletion.
    files: FoundFiles = field(default_factory=FoundFiles)
    #: Of these, files that an earlier run marked, whose time has not come.
    waiting: int = 0
    #: Of these, files that an earlier run marked and whose time has come; all files if nothing is marked first.
    due: int = 0
    #: Of these, files that are newer than every file that a row names, and are marked although ``trash`` is 0.
    newer: int = 0
    #: Number of files that this run marked; None after a dry run.
    marked: int | None = None
    #: Number of marks taken off, of files that are named, kept or gone.
    unmarked: int = 0
    #: Number of deleted files; None after a dry run.
    deleted: int | None = None
    #: The deleted files.
    deleted_files: FoundFiles = field(default_factory=FoundFiles)
    #: File id -> error for failed deletions; the other files were deleted nevertheless.
    failed: dict[str, Exception] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The total size of the unused files."""
        return self.files.bytes


@dataclass(slots=True)
class TransferReport:
    """The result of copying files from one depot to another."""

    source: str
    target: str
    #: Files copied, or to be copied in a dry run.
    files: int = 0
    #: The total size of these.
    bytes: int = 0
    dry_run: bool = False
    seconds: float = 0.0


@dataclass(slots=True)
class MigrationReport(TransferReport):
    """The result of a migration."""

    #: Rows that name copies now, or would after a dry run.
    rows: int = 0
    #: Rows that name no file of the source, or are in another part.
    skipped: int = 0
    #: Rows that other transactions changed at each attempt; another run moves them.
    changed: int = 0
    #: Rows whose files could not be copied, or that could not be rewritten.
    failed: list[FailedRow] = field(default_factory=list)
    #: Units of a shared migration that are not done: other processes have them, or rows in them failed.
    left: int = 0


@dataclass(slots=True)
class CopyReport(TransferReport):
    """The result of copying the files of a depot."""

    #: Files in the listing of the source.
    listed: int = 0
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
    #: Units of a shared copy that are not done: other processes have them, or files in them failed.
    left: int = 0
