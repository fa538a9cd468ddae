"""Storing: the pending values of a session move into their storages, all or none, and are entered as born."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import DepotError, ValidationError
from depot_lite.fields.adoption import Adoption, adoptions
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.interfaces import discard
from depot_lite.fields.tracking import checks, transfers
from depot_lite.fields.tracking.births import Birth
from depot_lite.fields.tracking.ledger import frame_of
from depot_lite.io.interfaces import FileStorage


def store_all(session: Session, waiting: Sequence[tuple[FileColumn, Any]]) -> None:
    """Store pending values, side by side where the storages gain by it, and enter the files as born.

    Args:
        session: whose innermost transaction they are born in.
        waiting: columns, each with the value or list of its attribute.

    Raises:
        ValidationError: a column refuses a file, or more of one object. Nothing was stored.
        InvalidContent: a file cannot be read; or it was to be uploaded by a browser, and is not there.
        DepotError: a value could not be stored, and nothing of any value is left. Of several errors, the first value's.
    """
    if not waiting:
        return
    for _, held in waiting:
        for value in files_in(held):
            value.follow_original()
    adopting = list(adoptions((column, value) for column, held in waiting for value in files_in(held)))
    try:
        transfers.side_by_side([(each.storage, each.open) for each in adopting])
        _check_and_store(session, waiting)
    finally:
        if adopting:
            transfers.off_loop(partial(_close_all, adopting))


def _close_all(adopting: Sequence[Adoption]) -> None:
    for each in adopting:
        each.close()


def _check_and_store(session: Session, waiting: Sequence[tuple[FileColumn, Any]]) -> None:
    if any(column.type.validators for column, _ in waiting):
        transfers.off_loop(partial(checks.check, waiting))
    frame, births = frame_of(session), list(_births(waiting))
    try:
        workers = max((birth.value.workers for _, _, birth in births), default=1)
        transfers.side_by_side(_jobs(births), workers)
    except BaseException:
        done = [birth for _, _, birth in births if not birth.value.pending]
        transfers.off_loop(partial(discard, [path for birth in done for path in birth.value.paths]))
        for birth in done:
            birth.make_pending()
        raise
    frame.extend(birth for _, _, birth in births)


def _births(waiting: Sequence[tuple[FileColumn, Any]]) -> Iterator[tuple[FileColumn, int | None, Birth]]:
    """Yield the births of pending values, each with its column and, in a list, its index."""
    for column, held in waiting:
        for index, value in enumerate(files_in(held)):
            state = value.waiting()
            if state is not None:
                yield column, index if isinstance(held, list) else None, Birth(value, *state)


def _jobs(births: Sequence[tuple[FileColumn, int | None, Birth]]) -> list[tuple[FileStorage, Callable[[], None]]]:
    """Return the jobs with their storages; values that read the same open file are one job."""
    by_source: dict[Any, tuple[FileStorage, list[Callable[[], None]]]] = {}
    for column, index, birth in births:
        source = None if birth.pending.content is None else birth.pending.content.source
        key = id(birth) if source is None or isinstance(source, bytes | Path) else id(source)
        storage = Depots.get(birth.before["depot_name"])
        by_source.setdefault(key, (storage, []))[1].append(partial(_store, column, index, birth))
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
