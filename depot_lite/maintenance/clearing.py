"""Missing files, removed from the rows that name them.

A storage that is not mounted, or has a wrong prefix, makes files look missing. So they are looked for anew, and nothing
is done where more than half of what rows name is missing. Before each row is written, the storage is asked for its file
once more, and then for files that it had when the work began. No file is deleted: one that comes back after all, and
what is left of a value, such as a thumbnail, is an unused file then.

Each row is written in a transaction of its own, as an object of its model, whose rules apply.
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

#: By how many of its files a storage is recognised.
_KNOWN: Final = 10

#: Where a value names the file itself. Whatever it names elsewhere was made of that one.
_ORIGINAL: Final = frozenset({"path", "file_id"})


class Outcome(Enum):
    """What became of a missing file."""

    REMOVED = "removed"
    #: Its row does not name it any more, or it is there.
    CHANGED = "changed"
    #: The column cannot be empty.
    REQUIRED = "required"
    #: Its original is there, so it can be made again.
    VARIANT = "variants"
    #: The table has no model, or no primary key.
    UNMAPPED = "unmapped"
    #: The row could not be written.
    FAILED = "failed"


@dataclass(slots=True)
class ClearedReport:
    """What became of the missing files of a depot."""

    #: Files that rows name in the depot.
    named: int = 0
    files: dict[Outcome, list[MissingFile]] = field(default_factory=lambda: {each: [] for each in Outcome})
    #: Why, for each of the failed ones.
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
        shown: how many were missing when somebody looked and agreed. If more are by now, nothing is done.

    Raises:
        MaintenanceStopped: the storage does not answer, is probably not the right one, or a table cannot be read. The
            message says whether anything was removed before.
        ConfigurationError: an argument cannot be.
    """
    return _Clearing(bind, depot_name, models, progress).clear(shown)


class _Clearing:
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
        """Do all of it, row by row."""
        with self._asking():
            # Before the search: a storage that is taken for the right one has these at its end, too.
            self.known = off_loop(self._some_files)
            found = find_missing(self.bind, self.depot_name, models=self.models, progress=self.progress)
        self.report.named = found.named
        self._check(found, shown)
        title = f"removing missing files of {self.depot_name} from their rows"
        with Step(self.progress, title, len(found.files)) as step:
            for _, files in groupby(found.files, lambda file: (file.place, file.key)):
                of_row = list(files)
                self._on_row(of_row)
                step.add(len(of_row))
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
            raise self._stopped(f"{missing} files are missing by now, and {shown} were when they were shown")

    def _on_row(self, files: list[MissingFile]) -> None:
        column, key = self.columns[files[0].place], files[0].key
        if column is None or not key:
            self._enter(Outcome.UNMAPPED, files)
            return
        engine = column.engine(self.bind)
        # Not within the transaction, so that nobody waits for a storage that is slow.
        with self._asking():
            gone = off_loop(partial(self._gone, files))
        self._enter(Outcome.CHANGED, [each for each in files if each not in gone])
        try:
            outcomes = _cleared(engine, column, key, [each.path for each in gone])
        except Exception as error:  # the rules of a model are somebody else's code, and other rows can be written
            self._failed(gone, error)
            return
        for each in gone:
            self._enter(outcomes[each.path], [each])

    def _gone(self, files: list[MissingFile]) -> list[MissingFile]:
        """Return those that the storage does not have, as sure as it is the same storage still."""
        gone = [each for each in files if not self.storage.exists(each.path.rpartition("/")[2])]
        if gone and not any(map(self.storage.exists, self.known)):
            raise self._stopped("the storage has none of the files any more that it had when this began")
        return gone

    def _enter(self, outcome: Outcome, files: list[MissingFile]) -> None:
        self.report.files[outcome] += files

    def _failed(self, files: list[MissingFile], error: Exception) -> None:
        if isinstance(error, StaleDataError):
            error = MaintenanceStopped("somebody else wrote the row meanwhile")
        elif not isinstance(error, DepotError):
            _log.warning("%s could not be removed from its row", files[0].path, exc_info=error)
        self._enter(Outcome.FAILED, files)
        self.report.errors += [error] * len(files)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except StorageFailed as error:
            raise self._stopped(f"the storage does not answer: {error}") from error

    def _stopped(self, reason: str) -> MaintenanceStopped:
        removed = len(self.report.files[Outcome.REMOVED])
        done = f"{removed} were removed from their rows before" if removed else "no row was changed"
        return MaintenanceStopped(f"{self.depot_name}: {reason}; {done}")


# --- one row ------------------------------------------------------------------------------------------------------


def _cleared(engine: Engine, column: MappedColumn, key: tuple[Any, ...], paths: Collection[str]) -> dict[str, Outcome]:
    """Remove the files from a row as far as that can be, and return what became of each."""
    if not paths:
        return {}
    with Session(engine, autoflush=False) as session:
        target = next(iter(column.locked(session, [key])), None)
        lost, outcomes = _looked_at(column, key, target, paths)
        if Outcome.REMOVED in outcomes.values():
            kept = [each for each in files_in(getattr(target, column.attribute)) if each not in lost]
            setattr(target, column.attribute, kept if _is_list(column) else None)
            session.flush()
            spare(session, [path for each in lost for path in each.paths])
            session.commit()
    return outcomes


def _looked_at(
    column: MappedColumn, key: tuple[Any, ...], target: Any, paths: Collection[str]
) -> tuple[list[DepotFileInfo], dict[str, Outcome]]:
    """Return the values of an object whose original is among the files, and what is to become of each file."""
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
