"""Storing: the pending values of a session move into their storages, all or none, and are entered as born."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import DepotError, ValidationError
from depot_lite.fields.adoption import Adoption
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.interfaces import DepotFileInfo, discard
from depot_lite.fields.pending import Pending
from depot_lite.fields.tracking import checks, transfers
from depot_lite.fields.tracking.births import Birth
from depot_lite.fields.tracking.ledger import frame_of
from depot_lite.io.interfaces import FileStorage


@dataclass(slots=True)
class _Waiting:
    """A pending value that is about to be stored, with its column and, in a list, its index."""

    column: FileColumn
    index: int | None
    value: DepotFileInfo
    pending: Pending


def store_all(session: Session, waiting: Sequence[tuple[FileColumn, Any]]) -> None:
    """Store pending values, side by side where the storages gain by it, and enter the files as born.

    Args:
        session: whose innermost transaction they are born in.
        waiting: columns, each with the value or list of its attribute. Values that are stored already stay as they are.

    Raises:
        ValidationError: a column refuses a file, or more of one object. Nothing was stored.
        InvalidContent: a file cannot be read; or it was to be uploaded by a browser, and is not there.
        DepotError: a value could not be stored, and nothing of any value is left. Of several errors, the first value's.
    """
    files = [
        _Waiting(column, index if isinstance(held, list) else None, value, pending)
        for column, held in waiting
        for index, value in enumerate(files_in(held))
        if (pending := value.follow_original()) is not None
    ]
    if not files:
        return
    adopting = [
        Adoption(str(each.column), each.value, each.pending, each.pending.adopts)
        for each in files
        if each.pending.adopts is not None and each.pending.original is None
    ]
    try:
        if adopting:
            transfers.side_by_side([(each.storage, each.open) for each in adopting])
        if any(each.column.type.validators for each in files):
            transfers.off_loop(partial(checks.check, waiting))
        _store_files(session, files)
    finally:
        if adopting:
            transfers.off_loop(partial(_close_all, adopting))


def _close_all(adopting: Sequence[Adoption]) -> None:
    for each in adopting:
        each.close()


def _store_files(session: Session, files: Sequence[_Waiting]) -> None:
    frame, births = frame_of(session), [Birth(each.value, each.pending, dict(each.value)) for each in files]
    try:
        workers = max(birth.value.workers for birth in births)
        transfers.side_by_side(_jobs(files, births), workers)
    except BaseException:
        done = [birth for birth in births if not birth.value.pending]
        transfers.off_loop(partial(discard, [path for birth in done for path in birth.value.paths]))
        for birth in done:
            birth.make_pending()
        raise
    frame.extend(births)


def _jobs(files: Sequence[_Waiting], births: Sequence[Birth]) -> list[tuple[FileStorage, Callable[[], None]]]:
    """Return the jobs with their storages; values that read the same open file are one job."""
    by_source: dict[Any, tuple[FileStorage, list[Callable[[], None]]]] = {}
    for each, birth in zip(files, births, strict=True):
        source = None if birth.pending.content is None else birth.pending.content.source
        key = id(birth) if source is None or isinstance(source, bytes | Path) else id(source)
        storage = Depots.get(birth.before["depot_name"])
        by_source.setdefault(key, (storage, []))[1].append(partial(_store, each.column, each.index, birth))
    return [(storage, partial(_one_after_the_other, jobs)) for storage, jobs in by_source.values()]


def _one_after_the_other(jobs: Sequence[Callable[[], None]]) -> None:
    for job in jobs:
        job()


def _store(column: FileColumn, index: int | None, birth: Birth) -> None:
    try:
        birth.value.store(column.type.filters, variants=column.type.variants, announce=birth.announce)
    except ValidationError as error:  # found while the file was worked on: an image that breaks off, say
        error.at(str(column), birth.before.get("filename"), index)
        raise
    except DepotError as error:
        error.add_note(f"while storing {birth.before.get('filename')!r} for {column}")
        raise
