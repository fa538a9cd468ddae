"""Removal of missing files from the rows that name them.

A storage that is not mounted, or has a wrong prefix, makes files look missing. So the search is repeated, and nothing
is changed if more than half of the named files are missing. Before each row is written, the storage is asked for its
file again, and then for files that it had when the job began. No file is deleted: a file that reappears, and the rest
of a removed value, such as a thumbnail, is an unused file then.

Each row is written in its own transaction, as an object of its model, whose rules apply.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import groupby, islice
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.depots import Depots
from depot_lite.errors import DepotError, MaintenanceStopped, StorageFailed
from depot_lite.fields.columns import files_in
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.tracking.ledger import spare
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.maintenance.missing import MissingFile, MissingReport, find_missing
from depot_lite.maintenance.rows.database import Row
from depot_lite.maintenance.rows.mapped import MappedColumn
from depot_lite.maintenance.rows.named import named_files
from depot_lite.maintenance.rows.places import places
from depot_lite.maintenance.run.reports import Step, Watcher

_log: Final = logging.getLogger("depot_lite")

#: The number of present files by which a storage is recognised later.
_KNOWN: Final = 10

#: The keys under which a value names its original; every other file in it was derived from the original.
_ORIGINAL: Final = frozenset({"path", "file_id"})


class Outcome(Enum):
    """The result for one missing file."""

    REMOVED = "removed"
    #: The row no longer names the file, or the file exists.
    CHANGED = "changed"
    #: The column cannot be empty.
    REQUIRED = "required"
    #: The original exists, so the file can be regenerated.
    VARIANT = "variants"
    #: The table has no model, or no primary key.
    UNMAPPED = "unmapped"
    #: The row could not be written.
    FAILED = "failed"


@dataclass(slots=True)
class ClearedReport:
    """The missing files of a depot by outcome."""

    #: Files that rows name in the depot.
    named: int = 0
    files: dict[Outcome, list[MissingFile]] = field(default_factory=lambda: {each: [] for each in Outcome})
    #: The errors of the failed files, in the same order.
    errors: list[Exception] = field(default_factory=list)


def clear_missing(
    bind: Any,
    depot_name: str,
    shown: int,
    *,
    models: Iterable[object] | None = None,
    progress: Watcher | None = None,
) -> ClearedReport:
    """Remove the missing files of a depot from their rows.

    Args:
        bind: an engine, or a session, which lends its engine.
        shown: the number of missing files that the user confirmed. If more are missing now, nothing is changed.

    Raises:
        MaintenanceStopped: the storage does not answer, is probably not the right one, or a table cannot be read. The
            message says whether anything was removed before.
        ConfigurationError: an argument is invalid.
    """
    return _ClearJob(bind, depot_name, models, progress).clear(shown)


class _ClearJob:
    def __init__(self, bind: Any, depot_name: str, models: Iterable[object] | None, progress: Watcher | None) -> None:
        self.bind = bind
        self.depot_name = Depots.resolve_alias(depot_name)
        self.storage = Depots.get(depot_name)
        self.models = models
        self.progress = progress
        self.columns = {str(each): MappedColumn.of(each) for each in places(models=models)}
        self.known: list[str] = []
        self.report = ClearedReport()

    def clear(self, shown: int) -> ClearedReport:
        """Search again, then clear row by row."""
        with self._storage_errors():
            # Before the search: the right storage still has these files at the end.
            self.known = off_loop(self._some_files)
            found = find_missing(self.bind, self.depot_name, models=self.models, progress=self.progress)
        self.report.named = found.named
        self._check(found, shown)
        title = f"removing missing files of {self.depot_name} from their rows"
        with Step(self.progress, title, len(found.files)) as step:
            for _, files in groupby(found.files, lambda file: (file.place, file.key)):
                row_files = list(files)
                self._clear_row(row_files)
                step.add(len(row_files))
        return self.report

    def _some_files(self) -> list[str]:
        return [each for each in islice(self.storage.list(), _KNOWN) if self.storage.exists(each)]

    def _check(self, found: MissingReport, shown: int) -> None:
        missing = len(found.files)
        if 2 * missing > found.named:
            raise self._stopped(
                f"{missing} of {found.named} files that rows name are missing, more than half: the storage is probably"
                " not there, or this is another folder, bucket or prefix"
            )
        if missing > shown:
            raise self._stopped(f"{missing} files are missing now, but only {shown} were confirmed")

    def _clear_row(self, files: list[MissingFile]) -> None:
        column, key = self.columns[files[0].place], files[0].key
        if column is None or not key:
            self._record(Outcome.UNMAPPED, files)
            return
        engine = column.engine(self.bind)
        # Outside the transaction, so that a slow storage holds no locks.
        with self._storage_errors():
            gone = off_loop(partial(self._gone, files))
        self._record(Outcome.CHANGED, [each for each in files if each not in gone])
        try:
            outcomes = _clear_row(engine, column, key, [each.path for each in gone])
        except Exception as error:  # models run user code, and other rows can still be written
            self._failed(gone, error)
            return
        for each in gone:
            self._record(outcomes[each.path], [each])

    def _gone(self, files: list[MissingFile]) -> list[MissingFile]:
        """Return the files that the storage lacks, provided that it is still the same storage."""
        gone = [each for each in files if not _exists(each.path)]
        if gone and not any(map(self.storage.exists, self.known)):
            raise self._stopped("the storage no longer has any of the files that it had when this began")
        return gone

    def _record(self, outcome: Outcome, files: list[MissingFile]) -> None:
        self.report.files[outcome] += files

    def _failed(self, files: list[MissingFile], error: Exception) -> None:
        if isinstance(error, StaleDataError):
            error = MaintenanceStopped("another transaction wrote the row meanwhile")
        elif not isinstance(error, DepotError):
            _log.warning("%s could not be removed from its row", files[0].path, exc_info=error)
        self._record(Outcome.FAILED, files)
        self.report.errors += [error] * len(files)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except StorageFailed as error:
            raise self._stopped(f"the storage does not answer: {error}") from error

    def _stopped(self, reason: str) -> MaintenanceStopped:
        removed = len(self.report.files[Outcome.REMOVED])
        done = f"{removed} were removed from their rows before" if removed else "no row was changed"
        return MaintenanceStopped(f"{self.depot_name}: {reason}; {done}")


def _exists(path: str) -> bool:
    """Return whether the depot that a row names, which may be a composite with this one, has the file."""
    depot_name, _, file_id = path.partition("/")
    return Depots.get(depot_name).exists(file_id)


# --- one row ------------------------------------------------------------------------------------------------------


def _clear_row(
    engine: Engine, column: MappedColumn, key: tuple[Any, ...], paths: Collection[str]
) -> dict[str, Outcome]:
    """Remove the files from a row where possible, and return the outcome of each."""
    if not paths:
        return {}
    with Session(engine, autoflush=False) as session:
        target = next(iter(column.locked(session, [key])), None)
        lost, outcomes = _outcomes(column, key, target, paths)
        if Outcome.REMOVED in outcomes.values():
            kept = [each for each in files_in(getattr(target, column.attribute)) if each not in lost]
            setattr(target, column.attribute, kept if _is_list(column) else None)
            session.flush()
            spare(session, [path for each in lost for path in each.paths])
            session.commit()
    return outcomes


def _outcomes(
    column: MappedColumn, key: tuple[Any, ...], target: Any, paths: Collection[str]
) -> tuple[list[DepotFileInfo], dict[str, Outcome]]:
    """Return the values of an object whose original is missing, and the outcome of each missing file."""
    lost, outcomes = [], dict.fromkeys(paths, Outcome.CHANGED)
    for value in [] if target is None else files_in(getattr(target, column.attribute)):
        named = {each.path: each.part for each in named_files(column.place, Row(key, value.encode(), None))}
        outcome = Outcome.VARIANT
        if any(named.get(path) in _ORIGINAL for path in paths):
            lost.append(value)
            outcome = Outcome.REMOVED if _is_list(column) or column.place.column.nullable else Outcome.REQUIRED
        outcomes.update({path: outcome for path in paths if path in named})
    return lost, outcomes


def _is_list(column: MappedColumn) -> bool:
    return column.place.type is not None and column.place.type.multiple
