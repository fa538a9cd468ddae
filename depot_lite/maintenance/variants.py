"""Variants of images that were made by a former recipe, made anew.

What is outdated the rows tell. What is up to date is left alone, so whoever was interrupted begins again and goes on
where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, DepotError, MaintenanceStopped
from depot_lite.fields.columns import files_in
from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImage, outdated, regenerate
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.mapped import MappedColumn
from depot_lite.maintenance.rows.places import Place, places
from depot_lite.maintenance.rows.references import parsed, where
from depot_lite.maintenance.run.reports import FailedRow, Step, Watcher

#: Rows that are written in one transaction.
BATCH: Final = 20


@dataclass(slots=True)
class RegenerateReport:
    """What became of images whose variants were made by a former recipe."""

    #: Rows that were looked at, of all columns together.
    rows: int = 0
    #: Of these, with variants that are not what the column makes today.
    outdated: int = 0
    #: Rows whose images were made anew; None after a dry run.
    regenerated: int | None = None
    #: Rows that were replaced or deleted before their turn came.
    changed: int = 0
    failed: list[FailedRow] = field(default_factory=list)


def regenerate_variants(
    bind: Session | Engine,
    *,
    models: Iterable[object] | None = None,
    columns: Iterable[str] | None = None,
    batch: int = BATCH,
    dry_run: bool = False,
    limit: int | None = None,
    progress: Watcher | None = None,
) -> RegenerateReport:
    """Make the variants anew that a former recipe made, and return what was done.

    The rows of a batch are locked while their images are made, and written in one transaction; SQLite lets nobody
    else write meanwhile, so that a smaller ``batch`` is kinder there. As many images are decoded at a time as
    ``workers`` of their class says. The former files go at each COMMIT.

    Args:
        bind: the database; a session lends its engine, and its own transaction is not touched.
        models: the declarative bases whose columns are looked at; all where not given.
        columns: which ones, ``"movie.poster"``; all columns of images where not given.
        batch: how many rows are written in one transaction.
        dry_run: whether outdated rows are only counted.
        limit: how many outdated rows are taken at most.
        progress: told how far it is.

    Raises:
        MaintenanceStopped: a table cannot be read or written.
        ConfigurationError: an argument cannot be.
    """
    if batch < 1:
        raise ConfigurationError(f"batch={batch!r}: 1 or more is wanted")
    if limit is not None and limit < 0:
        raise ConfigurationError(f"limit={limit!r}: 0 or more is wanted")
    work = _Work(bind, models, batch, dry_run, limit, progress)
    for each in _image_columns(models, columns):
        work.on(each)
    return work.report


# --- which columns ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ImageColumn(MappedColumn):
    """One attribute that holds images, and its column."""

    def outdated(self, held: object) -> bool:
        """Return whether anything of what an attribute holds was made by another recipe."""
        return any(self.is_outdated(each) for each in files_in(held))

    def is_outdated(self, value: Any) -> bool:
        """Return whether a value was made by another recipe."""
        variants = self.place.type.variants if self.place.type is not None else {}
        return bool(outdated(value, variants))

    def held(self, row: Row) -> Any:
        """Return what the attribute of an object holds that is loaded from a row."""
        data, kind = parsed(self.place, row), self.place.type
        if kind is None or data is None:
            return None
        if kind.multiple:
            return FileList.of(kind.upload_type.of_data(each) for each in data)
        return kind.upload_type.of_data(data)


def _image_columns(models: Iterable[object] | None, columns: Iterable[str] | None) -> list[_ImageColumn]:
    found: dict[str, _ImageColumn] = {}
    for place in places(models=models):
        if place.type is not None and issubclass(place.type.upload_type, UploadedImage):
            mapped = _mapped(place)
            if mapped is not None:
                found[str(place)] = mapped
    if columns is None:
        return list(found.values())
    if isinstance(columns, str):
        raise ConfigurationError(f"columns={columns!r}: several names are wanted, such as [{columns!r}]")
    if unknown := [each for each in columns if each not in found]:
        known = ", ".join(found) or "there is none"
        raise ConfigurationError(f"columns: {unknown[0]!r} is no column of images of a model; known: {known}")
    return [found[each] for each in dict.fromkeys(columns)]


def _mapped(place: Place) -> _ImageColumn | None:
    column = _ImageColumn.of(place)
    if column is not None and not place.key:
        raise ConfigurationError(f"{place}: without a primary key in the table, rows cannot be told apart")
    return column


# --- the work -----------------------------------------------------------------------------------------------------


class _Work:
    def __init__(
        self,
        bind: Any,
        models: Iterable[object] | None,
        batch: int,
        dry_run: bool,
        limit: int | None,
        progress: Watcher | None,
    ) -> None:
        self.bind = bind
        self.database = Database(bind)
        self.batch = batch
        self.dry_run = dry_run
        self.left = limit
        self.progress = progress
        self.report = RegenerateReport(regenerated=None if dry_run else 0)

    def on(self, column: _ImageColumn) -> None:
        """Make anew what is outdated in a column."""
        engine = column.engine(self.bind)
        with Step(self.progress, f"regenerating {column.place}", unit="rows") as step:
            for page in self._pages(column.place):
                keys = self._taken(off_loop(partial(self._outdated, column, page)))
                step.add(len(page) - len(keys))
                for start in range(0, len(keys), self.batch):
                    some = keys[start : start + self.batch]
                    if not self.dry_run:
                        self._renew(engine, column, some)
                    step.add(len(some))
                if self.left == 0:
                    return

    def _pages(self, place: Place) -> Iterator[list[Row]]:
        """Yield the rows of a column; no connection is held between two pages, while images are made."""
        after: tuple[Any, ...] = ()
        while True:
            with closing(self.database.pages(place, after=after)) as pages:  # type: ignore[type-var]  # a generator
                page = next(pages)
            if not page:
                return
            yield page
            after = page[-1].key

    def _outdated(self, column: _ImageColumn, page: list[Row]) -> list[tuple[Any, ...]]:
        found = []
        for row in page:
            self.report.rows += 1
            try:
                if column.outdated(column.held(row)):
                    found.append(row.key)
            except DepotError as error:
                self._failed(column, row.key, error)
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                damaged = MaintenanceStopped(f"{where(column.place, row)} is damaged: {error!r}")
                self._failed(column, row.key, damaged)
        return found

    def _taken(self, keys: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        if self.left is not None:
            keys = keys[: self.left]
            self.left -= len(keys)
        self.report.outdated += len(keys)
        return keys

    def _failed(self, column: _ImageColumn, key: tuple[Any, ...], error: Exception) -> None:
        self.report.failed.append(FailedRow(str(column.place), key, None, error))

    def _renew(self, engine: Engine, column: _ImageColumn, keys: list[tuple[Any, ...]]) -> None:
        """Write some rows together; where one fails, each by itself."""
        try:
            self._transact(engine, column, keys)
            return
        except (DepotError, SQLAlchemyError) as error:
            if len(keys) == 1 and isinstance(error, DepotError):
                self._failed(column, keys[0], error)
                return
        for key in keys:
            try:
                self._transact(engine, column, [key])
            except DepotError as error:
                self._failed(column, key, error)
            except SQLAlchemyError as error:
                raise MaintenanceStopped(f"{column.place} cannot be written: {error}") from error

    def _transact(self, engine: Engine, column: _ImageColumn, keys: list[tuple[Any, ...]]) -> None:
        with Session(engine, expire_on_commit=False, autoflush=False) as session:
            objects = [each for each in column.locked(session, keys) if _renewed(each, column)]
            session.commit()
        self.report.regenerated = (self.report.regenerated or 0) + len(objects)
        self.report.changed += len(keys) - len(objects)


def _renewed(target: Any, column: _ImageColumn) -> bool:
    """Assign images to be made anew in the place of those that are outdated; return whether there were any."""
    held = getattr(target, column.attribute)
    if not column.outdated(held):
        return False
    if isinstance(held, FileList):
        for number, value in enumerate(list(held)):
            if column.is_outdated(value):
                held[number] = regenerate(value)
    else:
        setattr(target, column.attribute, regenerate(held))
    return True
