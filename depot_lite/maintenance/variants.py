"""Variants of stored images: those that are made later, those that rows lack, and those of an older recipe.

Originals stay where they are. Rows show which variants are outdated or missing, and others are skipped: an interrupted
job is simply started again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, configure_mappers

from depot_lite.errors import ConfigurationError, DepotError, MaintenanceStopped
from depot_lite.fields.columns import FileColumn, columns_of_mapper, files_in, mapped_attribute
from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImage, missing_variants, outdated
from depot_lite.fields.tracking.later import column_named, key_from_json, lacking
from depot_lite.fields.tracking.renewal import make_chosen, renew
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.options import integer
from depot_lite.maintenance.limits import count_of
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.mapped import MappedColumn, engine_of
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
    #: Of these, rows whose variants differ from the column's current recipes, or that lack variants.
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
    """Regenerate the variants that are missing, or were made by an older recipe, and remove superfluous ones.

    The original of each image stays where it is, and so do its variants that are up to date. No row is locked while
    images are made; those of a batch are entered in one transaction. Of an image that was replaced meanwhile, nothing
    is kept. The setting ``workers`` of the image class limits the number of images decoded at a time. The old files are
    deleted after each COMMIT.

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
    job = _Regeneration(bind, models, batch, dry_run, limit, progress, _ImageColumn.outdated, "regenerating")
    return job.run(_image_columns(models, columns, where))


def make_missing_variants(
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
    """Make the variants that rows lack: those that a task queue has lost, and those of recipes that are new.

    Variants that are made on demand are not made. All else, and the arguments, are as for `regenerate_variants`; the
    rows that lack variants are counted as ``outdated``.

    Raises:
        MaintenanceStopped: a table cannot be read or written.
        ConfigurationError: an argument is invalid.
    """
    job = _Regeneration(bind, models, batch, dry_run, limit, progress, _ImageColumn.missing, "making variants of")
    return job.run(_image_columns(models, columns, where))


def make_variants(
    bind: Session | Engine, model: str, key: Sequence[Any] | None, attribute: str, path: str
) -> list[str]:
    """Make the variants of one image that are to be made later, and return the names of those that were made.

    This is the task for the arguments of a `DepotManager.set_process_later` hook. A second run makes nothing, and of
    two at once one makes the variants. If the image was replaced or deleted in the meantime, nothing is made or kept.

    Args:
        bind: the database; of a session, its engine is used and its own transaction is not touched.
        model: the name of the model, ``"package.module:Class"``; it has to be imported.
        key: the primary key of the row; with None the row is found by the path, which reads the whole table.
        attribute: the name of the attribute.
        path: the path of the image.

    Raises:
        ConfigurationError: there is no such model or attribute, or ``key`` is not a key of its table.
        ImageRefused: the stored original cannot be decoded.
        StorageFailed: the storage failed.
        SQLAlchemyError: the database cannot be read or written.
    """
    configure_mappers()
    column = column_named(model, attribute)
    mapped = mapped_attribute(column.column)
    engine = engine_of(bind, None if mapped is None else mapped[0])
    found = None if key is None else key_from_json(column, key, engine.dialect)
    return make_chosen(engine, column, found, path, partial(lacking, column=column))


# --- columns ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ImageColumn(MappedColumn):
    """An attribute that holds images, and its column."""

    @property
    def file_column(self) -> FileColumn:
        """The attribute, as its class knows it."""
        return columns_of_mapper(self.mapper)[self.attribute]

    def outdated(self, value: Any) -> list[str]:
        """Return the names of the variants of an image that are missing, superfluous or of an older recipe."""
        return outdated(value, self.file_column.type.variants)

    def missing(self, value: Any) -> list[str]:
        """Return the names of the variants that an image lacks."""
        return missing_variants(value, self.file_column.type.variants)

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
        choose: Callable[[_ImageColumn, Any], list[str]],
        name: str,
    ) -> None:
        self.choose = choose
        self.name = name
        self.bind = bind
        self.database = Database(bind)
        self.batch = integer("batch", batch, 1, sys.maxsize)
        self.dry_run = dry_run
        self.left = count_of("limit", limit)
        self.progress = progress
        self.report = RegenerateReport(regenerated=None if dry_run else 0)

    def run(self, columns: Iterable[_ImageColumn]) -> RegenerateReport:
        """Renew the chosen variants in these columns, and return the report."""
        for each in columns:
            self._process(each)
        return self.report

    def _process(self, column: _ImageColumn) -> None:
        engine = column.engine(self.bind)
        with partial_report(self.report), Step(self.progress, f"{self.name} {column.place}", unit="rows") as step:
            for page in self.database.pages(column.place, exact=True):
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
                if any(self.choose(column, each) for each in files_in(column.held(row))):
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
        result = renew(engine, column.file_column, keys, partial(self.choose, column))
        for key, error in result.failed.items():
            self._failed(column, key, error)
        self.report.regenerated = (self.report.regenerated or 0) + len(result.made)
        self.report.changed += len(keys) - len(result.made.keys() | result.failed.keys())
