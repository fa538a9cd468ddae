"""``session.bulk_save_objects``, ``bulk_insert_mappings`` and ``bulk_update_mappings``.

SQLAlchemy has no event for them, so these three methods of `Session` are wrapped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Final

from sqlalchemy import Table, insert, update
from sqlalchemy.orm import Session

from depot_lite.fields import columns
from depot_lite.fields.statements.inserts import InsertFiles
from depot_lite.fields.statements.targets import Target, mapper_of
from depot_lite.fields.statements.updates import UpdateByKey
from depot_lite.fields.tracking import flush as tracking


def _target(session: Session, entity: Any, clause: Callable[[Table], Any]) -> Target | None:
    mapper = mapper_of(entity)
    found = columns.columns_of_mapper(mapper)
    if not found or not isinstance(mapper.local_table, Table):
        return None
    table = mapper.local_table
    # The clause: a session that chooses its connections sends writing statements elsewhere than reading ones.
    return Target(session, table, table, mapper, mapper.class_, found, {"mapper": mapper, "clause": clause(table)}, {})


def _bulk_insert_mappings(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def bulk_insert_mappings(
        self: Session, mapper: Any, mappings: Iterable[dict[str, Any]], *args: Any, **kwargs: Any
    ) -> None:
        target = _target(self, mapper, insert)
        if target is None:
            return original(self, mapper, mappings, *args, **kwargs)
        given = list(mappings)
        files = InsertFiles(target)
        rows = [files.mapping(each) for each in given]
        files.store()
        watch = target.watch()
        files.enter(watch, doubtful=False)
        with target.executing(watch):
            original(self, mapper, rows, *args, **kwargs)
        files.written(watch)
        for before, after in zip(given, rows, strict=True):
            # With return_defaults=True the caller finds the new primary keys in his own dictionaries.
            before.update({key: value for key, value in after.items() if key not in before})
        return None

    return bulk_insert_mappings


def _bulk_update_mappings(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def bulk_update_mappings(self: Session, mapper: Any, mappings: Iterable[dict[str, Any]]) -> None:
        target = _target(self, mapper, update)
        if target is None:
            return original(self, mapper, mappings)
        with UpdateByKey(target, mappings) as by_key:
            return original(self, mapper, by_key.mappings)

    return bulk_update_mappings


def _bulk_save_objects(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def bulk_save_objects(
        self: Session,
        objects: Iterable[object],
        return_defaults: bool = False,
        update_changed_only: bool = True,
        preserve_order: bool = True,
    ) -> None:
        given = list(objects)
        with tracking.BulkSave(self, given, everything=not update_changed_only):
            original(self, given, return_defaults, update_changed_only, preserve_order)

    return bulk_save_objects


_BULK: Final = {
    "bulk_insert_mappings": _bulk_insert_mappings,
    "bulk_update_mappings": _bulk_update_mappings,
    "bulk_save_objects": _bulk_save_objects,
}

#: The mark by which a method of ours is known, so that a second call wraps nothing twice.
_OURS: Final = "_depot_lite_follows_files"


def wrap_bulk_methods() -> None:
    """Let the bulk methods of all sessions look after files; a second call does nothing."""
    for each, wrap in _BULK.items():
        original = getattr(Session, each)
        if not hasattr(original, _OURS):
            wrapped = wrap(original)
            setattr(wrapped, _OURS, True)
            setattr(Session, each, wrapped)
