"""Renewals: jobs that make again, or for the first time, what is derived from the files of rows.

Originals stay where they are. Rows show what is outdated or missing, and others are skipped: an interrupted job is
simply started again.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from depot_lite.errors import ConfigurationError, DepotError, MaintenanceStopped
from depot_lite.fields.columns import FileColumn, columns_of_mapper, files_in
from depot_lite.fields.file_type import FileType
from depot_lite.fields.interfaces import DepotFileInfo, logger
from depot_lite.fields.lists import FileList
from depot_lite.fields.tracking.renewal import Renewal, Todo, renew
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.options import integer
from depot_lite.maintenance.limits import count_of
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.mapped import MappedColumn
from depot_lite.maintenance.rows.places import Place, chosen, places
from depot_lite.maintenance.rows.references import parsed, where
from depot_lite.maintenance.run.reports import FailedRow, RegenerateReport, Step, Watcher, partial_report

#: Rows per transaction.
BATCH: Final = 20

Key = tuple[Any, ...]
#: Returns what has to be made of a file, from the type of its column.
Choice = Callable[[FileType, DepotFileInfo], Todo]


@dataclass(frozen=True, slots=True)
class RenewedColumn(MappedColumn):
    """An attribute whose files are renewed, and its column."""

    @property
    def file_column(self) -> FileColumn:
        """The attribute, as its class knows it."""
        return columns_of_mapper(self.mapper)[self.attribute]

    def held(self, row: Row) -> Any:
        """Return the value that the attribute has after loading a row."""
        data, kind = parsed(self.place, row), self.place.type
        if kind is None or data is None:
            return None
        if kind.multiple:
            return FileList.of(kind.upload_type.of_data(each) for each in data)
        return kind.upload_type.of_data(data)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows that a job takes.

    Args:
        models: the declarative bases whose columns are taken; None for all.
        columns: names such as ``"movie.poster"``; None for all.
        where: SQL for the rows, as it stands behind WHERE.
    """

    models: Iterable[object] | None
    columns: Iterable[str] | None
    where: str | None

    def of_kind(self, is_taken: Callable[[FileType], bool], kind: str) -> list[RenewedColumn]:
        """Return the columns.

        Args:
            is_taken: returns whether a column of this type can be taken.
            kind: the name of such a column, for errors.

        Raises:
            ConfigurationError: a name is not that of such a column, or its table has no primary key.
        """
        known = {
            str(each): each
            for each in places(models=self.models)
            if each.type is not None and is_taken(each.type) and RenewedColumn.of(each) is not None
        }
        if isinstance(self.columns, str):
            raise ConfigurationError(f"columns: expected a list of names, got {self.columns!r}")
        names = None if self.columns is None else list(dict.fromkeys(self.columns))
        if invalid := [each for each in names or () if each not in known]:
            listed = ", ".join(known) or "none"
            raise ConfigurationError(f"columns: {invalid[0]!r} is not {kind} of any model; there is {listed}")
        found = chosen(list(known.values()), names, self.where)
        return [column for each in found if (column := _mapped(each)) is not None]


def _mapped(place: Place) -> RenewedColumn | None:
    column = RenewedColumn.of(place)
    if column is not None and not place.key:
        raise ConfigurationError(f"{place}: the table has no primary key, so its rows cannot be told apart")
    return column


class RenewalJob:
    """A job that renews the files of rows.

    Args:
        bind: the database.
        name: of the steps, in front of the name of a column.
        choose: returns what has to be made of a file.
        batch: rows per transaction.
        dry_run: only count rows.
        limit: maximum number of rows to renew.
        progress: called with the `Progress` of each step.

    Raises:
        ConfigurationError: an argument is invalid.
    """

    def __init__(
        self,
        bind: Any,
        name: str,
        choose: Choice,
        *,
        batch: int,
        dry_run: bool,
        limit: int | None,
        progress: Watcher | None,
    ) -> None:
        self.bind = bind
        self.name = name
        self.choose = choose
        self.database = Database(bind)
        self.batch = integer("batch", batch, 1, sys.maxsize)
        self.dry_run = dry_run
        self.left = count_of("limit", limit)
        self.progress = progress
        self.report = RegenerateReport(regenerated=None if dry_run else 0)

    def run(self, columns: Iterable[RenewedColumn]) -> RegenerateReport:
        """Renew the files in these columns, and return the report."""
        with partial_report(self.report):
            for each in columns:
                self._process(each)
        return self.report

    def _process(self, column: RenewedColumn) -> None:
        engine, name = column.engine(self.bind), f"{self.name} {column.place}"
        total = None if self.progress is None else self.database.count(column.place)
        with Step(self.progress, name, total) as step:
            for page in self.database.pages(column.place, exact=True):
                found = _Page()
                off_loop(partial(self._look, column, page, found))
                if step.total is not None:  # each row counted as one file until it was read
                    step.total += found.files - len(page)
                step.add(found.files - sum(found.waiting.values()))
                for keys in self._batches(found.waiting):
                    counter = _FileCounter(step, sum(found.waiting[key] for key in keys))
                    if not self.dry_run:
                        self._renew(engine, column, keys, counter)
                    counter.add_rest()
                if self.left == 0:
                    return

    def _look(self, column: RenewedColumn, page: list[Row], found: _Page) -> None:
        """Find the rows of a page that have to be renewed."""
        kind = column.file_column.type
        for row in page:
            self.report.rows += 1
            try:
                files = files_in(column.held(row))
                found.files += len(files)
                if waiting := sum(bool(self.choose(kind, each)) for each in files):
                    found.waiting[row.key] = waiting
            except DepotError as error:
                self._failed(column, row.key, error)
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                damaged = MaintenanceStopped(f"{where(column.place, row)} is damaged: {error!r}")
                self._failed(column, row.key, damaged)

    def _batches(self, waiting: Iterable[Key]) -> Iterator[list[Key]]:
        """Yield the keys of rows to renew, as many as the limit allows."""
        keys = list(waiting)
        if self.left is not None:
            keys = keys[: self.left]
            self.left -= len(keys)
        self.report.outdated += len(keys)
        for start in range(0, len(keys), self.batch):
            yield keys[start : start + self.batch]

    def _failed(self, column: RenewedColumn, key: Key, error: Exception) -> None:
        self.report.failed.append(FailedRow(str(column.place), key, None, error))

    def _renew(self, engine: Engine, column: RenewedColumn, keys: list[Key], counter: _FileCounter) -> None:
        """Write rows in one transaction; if one fails, each in its own."""
        try:
            self._transact(engine, column, keys, counter)
            return
        except (DepotError, SQLAlchemyError) as error:
            if len(keys) == 1 and isinstance(error, DepotError):
                self._failed(column, keys[0], error)
                return
        for key in keys:
            try:
                self._transact(engine, column, [key], counter)
            except DepotError as error:
                self._failed(column, key, error)
            except SQLAlchemyError as error:
                raise MaintenanceStopped(f"{column.place} cannot be written: {error}") from error

    def _transact(self, engine: Engine, column: RenewedColumn, keys: list[Key], counter: _FileCounter) -> None:
        choose = partial(self.choose, column.file_column.type)
        self._record(column, keys, renew(engine, column.file_column, keys, choose, counter.add))

    def _record(self, column: RenewedColumn, keys: list[Key], result: Renewal) -> None:
        for key, error in result.failed.items():
            self._failed(column, key, error)
        for key in result.made.keys() & result.unreadable.keys():
            for path, unreadable in result.unreadable[key].items():
                self.report.unreadable.append(FailedRow(str(column.place), key, path, unreadable))
                logger.info("%s, row %s: no facts of %s: %s", column.place, key, path, unreadable)
        self.report.regenerated = (self.report.regenerated or 0) + len(result.made)
        self.report.changed += len(keys) - len(result.made.keys() | result.failed.keys())


class _Page:
    """The findings in a page of rows."""

    def __init__(self) -> None:
        self.files = 0
        #: The rows to renew, by their keys, each with the number of its files to renew.
        self.waiting: dict[Key, int] = {}


class _FileCounter:
    """A counter of the files of a batch, each of which is done once, in any thread and however often it is tried."""

    def __init__(self, step: Step, files: int) -> None:
        self._step = step
        self._left = files
        self._lock = threading.Lock()

    def add(self) -> None:
        """Count a file."""
        with self._lock:
            if self._left:
                self._left -= 1
                self._step.add()

    def add_rest(self) -> None:
        """Count the files that are left, such as those of rows that are gone."""
        with self._lock:
            self._step.add(self._left)
            self._left = 0
