"""Variants of stored images: those that are made later, those that rows lack, and those of an older recipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session, configure_mappers

from depot_lite.fields.columns import mapped_attribute
from depot_lite.fields.file_type import FileType
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.specialized.image import UploadedImage, missing_variants, outdated
from depot_lite.fields.tracking.later import column_named, key_from_json, lacking
from depot_lite.fields.tracking.renewal import Todo, make_chosen
from depot_lite.maintenance.renewals import BATCH, Chosen, RenewalJob
from depot_lite.maintenance.rows.mapped import engine_of
from depot_lite.maintenance.run.reports import RegenerateReport, Watcher


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
    options: dict[str, Any] = {"batch": batch, "dry_run": dry_run, "limit": limit, "progress": progress}
    job = RenewalJob(bind, "regenerating", _outdated, **options)
    return job.run(Chosen(models, columns, where).of_kind(_has_images, "an image column"))


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
    options: dict[str, Any] = {"batch": batch, "dry_run": dry_run, "limit": limit, "progress": progress}
    job = RenewalJob(bind, "making variants of", _missing, **options)
    return job.run(Chosen(models, columns, where).of_kind(_has_images, "an image column"))


def make_variants(
    bind: Session | Engine, model: str, key: Sequence[Any] | None, attribute: str, path: str
) -> list[str]:
    """Make the variants of one file that are to be made later, and return the names of those that were made.

    This is the task for the arguments of a `DepotManager.set_process_later` hook. It also calls the analyzers that run
    later, and enters their facts. A second run makes nothing, and of two at once one makes the variants. If the file
    was replaced or deleted in the meantime, nothing is made or kept.

    Args:
        bind: the database; of a session, its engine is used and its own transaction is not touched.
        model: the name of the model, ``"package.module:Class"``; it has to be imported.
        key: the primary key of the row; with None the row is found by the path, which reads the whole table.
        attribute: the name of the attribute.
        path: the path of the file.

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


def _outdated(kind: FileType, value: DepotFileInfo) -> Todo:
    if not isinstance(value, UploadedImage):
        return Todo()
    return Todo(outdated(value, kind.variants), placeholder=value.lacks_placeholder)


def _missing(kind: FileType, value: DepotFileInfo) -> Todo:
    return Todo(missing_variants(value, kind.variants))


def _has_images(kind: FileType) -> bool:
    return issubclass(kind.upload_type, UploadedImage)
