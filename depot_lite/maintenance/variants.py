"""Regeneration of image variants that were made by an older recipe.

Rows show which variants are outdated, and up-to-date ones are skipped: an interrupted job is simply started again.
"""

from __future__ import annotations

from collections.abc import Iterable
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
from depot_lite.maintenance.rows.places import Place, chosen, places
from depot_lite.maintenance.rows.references import parsed, where
from depot_lite.maintenance.run.reports import FailedRow, Step, Watcher, partial_report

#: Rows per transaction.
BATCH: Final = 20


@dataclass(slots=True)
class RegenerateReport:
    """The result of regenerating variants."""

    #: Rows checked, in all columns.
    rows: int = 0
    #: Of these, rows whose variants differ from the column's current recipes.
    outdated: int = 0
    #: Rows whose variants were regenerated; None after a dry run.
    regenerated: int | None = None
    #: Rows that were replaced or deleted before their turn came.
    changed: int = 0
    failed: list[FailedRow] = field(default_factory=list)


def regenerate_variants(
    bind: Session | Engine,
    *,
    models: Iterable[object] | None = None,
    columns: Iterable[str] | None = None,
    where: str | None = None,
    batch: int = BATCH,
    dry_run: bool = False,
    limit: int | None = None,
    progress: Watcher | None = None,
) -> RegenerateReport:
    """Regenerate the variants that were made by an older recipe.

    The rows of a batch are locked while their images are made, and written in one transaction. SQLite blocks all other
    writers meanwhile, so a smaller ``batch`` is better there. The setting ``workers`` of the image class limits the
    number of images decoded at a time. The old files are deleted after each COMMIT.

    Args:
        bind: the database; of a session, its engine is used and its own transaction is not touched.
        models: the declarative bases whose columns are checked; by default all.
        columns: names such as ``"movie.poster"``; by default all columns of images.
        where: SQL for the rows that are checked, as it stands behind WHERE; the columns have to be of one table.
        batch: rows per transaction.
        dry_run: only count outdated rows.
        limit: maximum number of outdated rows to process.
        progress: called with the `Progress` of each step.

    Raises:
        MaintenanceStopped: a table cannot be read or written.
        ConfigurationError: an argument is invalid.
    """
    if batch < 1:
        raise ConfigurationError(f"batch: expected 1 or more, got {batch!r}")
    if limit is not None and limit < 0:
        raise ConfigurationError(f"limit: expected 0 or more, got {limit!r}")
    job = _Regeneration(bind, models, batch, dry_run, limit, progress)
    for each in _image_columns(models, columns, where):
        job.process(each)
    return job.report


# --- columns ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ImageColumn(MappedColumn):
    """An attribute that holds images, and its column."""

    def outdated(self, held: object) -> bool:
        """Return whether any image of an attribute has variants of an older recipe."""
        return any(self.is_outdated(each) for each in files_in(held))

    def is_outdated(self, value: Any) -> bool:
        """Return whether one image has variants of an older recipe."""
        variants = self.place.type.variants if self.place.type is not None else {}
        return bool(outdated(value, variants))

    def held(self, row: Row) -> Any:
        """Return the value that the attribute has after loading a row."""
        data, kind = parsed(self.place, row), self.place.type
        if kind is None or data is None:
            return None
        if kind.multiple:
            return FileList.of(kind.upload_type.of_data(each) for each in data)
        return kind.upload_type.of_data(data)


def _image_columns(
    models: Iterable[object] | None, columns: Iterable[str] | None, condition: str | None
) -> list[_ImageColumn]:
    images = [each for each in places(models=models) if _has_images(each) and _ImageColumn.of(each) is not None]
    if isinstance(columns, str):
        raise ConfigurationError(f"columns: expected a list of names, got {columns!r}")
    names = None if columns is None else list(dict.fromkeys(columns))
    known = {str(each): each for each in images}
    if invalid := [each for each in names or () if each not in known]:
        listed = ", ".join(known) or "none"
        raise ConfigurationError(f"columns: {invalid[0]!r} is not an image column of any model; there is {listed}")
    return [found for each in chosen(images, names, condition) if (found := _mapped(each)) is not None]


def _has_images(place: Place) -> bool:
    return place.type is not None and issubclass(place.type.upload_type, UploadedImage)


def _mapped(place: Place) -> _ImageColumn | None:
    column = _ImageColumn.of(place)
    if column is not None and not place.key:
        raise ConfigurationError(f"{place}: the table has no primary key, so its rows cannot be told apart")
    return column


# --- the job ------------------------------------------------------------------------------------------------------


class _Regeneration:
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

    def process(self, column: _ImageColumn) -> None:
        """Regenerate the outdated variants of a column."""
        engine = column.engine(self.bind)
        with partial_report(self.report), Step(self.progress, f"regenerating {column.place}", unit="rows") as step:
            for page in self.database.pages(column.place):
                keys = self._taken(off_loop(partial(self._outdated, column, page)))
                step.add(len(page) - len(keys))
                for start in range(0, len(keys), self.batch):
                    batch = keys[start : start + self.batch]
                    if not self.dry_run:
                        self._regenerate(engine, column, batch)
                    step.add(len(batch))
                if self.left == 0:
                    return

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

    def _regenerate(self, engine: Engine, column: _ImageColumn, keys: list[tuple[Any, ...]]) -> None:
        """Write rows in one transaction; if one fails, each in its own."""
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
            objects = [each for each in column.locked(session, keys) if _assign_outdated(each, column)]
            session.commit()
        self.report.regenerated = (self.report.regenerated or 0) + len(objects)
        self.report.changed += len(keys) - len(objects)


def _assign_outdated(target: Any, column: _ImageColumn) -> bool:
    """Assign the outdated images of an object again for regeneration; return whether there were any."""
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
