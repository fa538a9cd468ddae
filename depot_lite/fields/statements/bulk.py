"""``session.bulk_save_objects``, ``bulk_insert_mappings`` and ``bulk_update_mappings``.

SQLAlchemy has no event for them, so these three methods of `Session` are wrapped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Table, insert, update
from sqlalchemy.orm import Mapper, Session, attributes

from depot_lite.fields import columns
from depot_lite.fields.columns import NOT_LOADED
from depot_lite.fields.statements.inserts import InsertFiles
from depot_lite.fields.statements.targets import Target, mapper_of
from depot_lite.fields.statements.updates import UpdateByKey
from depot_lite.fields.tracking import later
from depot_lite.fields.tracking.births import Row
from depot_lite.fields.tracking.flush import Slot, slots_of
from depot_lite.fields.tracking.ledger import watch_of
from depot_lite.fields.tracking.outcomes import Watch
from depot_lite.fields.tracking.refocus import refocus
from depot_lite.fields.tracking.rows import key_in, old_key_in, read_rows
from depot_lite.fields.tracking.storing import store_all


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
        files.written()
        for before, after in zip(given, rows, strict=True):
            # With return_defaults=True the caller finds the new primary keys in its own dictionaries.
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


class BulkSave:
    """The objects of one ``bulk_save_objects``, for which SQLAlchemy fires no event but a rollback's.

    Used as a context manager around SQLAlchemy's method.

    Args:
        session: the session that saves them; the objects themselves are in none.
        objects: new ones, and detached ones that were changed.
        everything: all attributes are written, not only changed ones.
    """

    def __init__(self, session: Session, objects: Sequence[Any], *, everything: bool = False) -> None:
        self._session = session
        self._rows: list[Row] = []
        self._watches: set[Watch] = set()
        slots = [
            slot
            for slot in slots_of(map(attributes.instance_state, objects))
            if slot.is_written or (everything and slot.column.key in slot.state.dict)
        ]
        for slot in slots:
            slot.accept()
            # SQLAlchemy writes to the row that the object names by now; it may have been loaded from another one.
            slot.copy_foreign(NOT_LOADED if _is_of_its_row(slot) else None)
        store_all(session, [(slot.column, slot.value) for slot in slots])
        refocus(session, slots)
        by_table: dict[tuple[Mapper[Any], Table], list[Slot]] = {}
        for slot in slots:
            by_table.setdefault((slot.state.mapper, slot.table), []).append(slot)
        for (mapper, table), its_slots in by_table.items():
            self._enter(mapper, table, its_slots)

    def _enter(self, mapper: Mapper[Any], table: Table, slots: Sequence[Slot]) -> None:
        connection = self._session.connection(bind_arguments={"mapper": mapper, "clause": update(table)})
        watch = watch_of(self._session, connection)
        self._watches.add(watch)
        keys = {slot: key_in(slot.state, table) for slot in slots if slot.state.key is not None}
        held = read_rows(connection, table, {key for key in keys.values() if key is not None}) if keys else {}
        for slot in slots:
            if slot in keys:
                files = held.get(keys[slot] or (), {}).get(slot.column.column)
                if _is_of_its_row(slot):
                    slot.reconcile(files)
                    refocus(self._session, [slot])
                named, in_row = [slot.value] if slot.changed else [], held.get(keys[slot] or ())
                row = watch.candidates.enter(
                    table, keys[slot], named=named, condemned=[files], held=in_row, updated=True
                )
                if slot.changed:
                    later.enter_moved(self._session, watch.candidates, row, slot.column, files, slot.value)
            else:
                find_key = partial(key_in, slot.state, table)
                self._rows.append(watch.candidates.enter(table, find_key=find_key, named=[slot.value]))

    def __enter__(self) -> BulkSave:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Record that the rows are written, or a doubt if SQLAlchemy's method raised."""
        for watch in self._watches:
            watch.candidates.in_doubt |= error is not None
        for row in self._rows if error is None else ():
            row.mark_written()


def _is_of_its_row(slot: Slot) -> bool:
    """Return whether a detached object still has the primary key that it was loaded with."""
    table = slot.table
    return slot.state.key is not None and key_in(slot.state, table) == old_key_in(slot.state, table)


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
        with BulkSave(self, given, everything=not update_changed_only):
            original(self, given, return_defaults, update_changed_only, preserve_order)

    return bulk_save_objects


_BULK: Final = {
    "bulk_insert_mappings": _bulk_insert_mappings,
    "bulk_update_mappings": _bulk_update_mappings,
    "bulk_save_objects": _bulk_save_objects,
}

#: The mark of a wrapped method, so that a second call wraps nothing twice.
_OURS: Final = "_depot_lite_follows_files"


def wrap_bulk_methods() -> None:
    """Let the bulk methods of all sessions look after files; a second call does nothing."""
    for each, wrap in _BULK.items():
        original = getattr(Session, each)
        if not hasattr(original, _OURS):
            wrapped = wrap(original)
            setattr(wrapped, _OURS, True)
            setattr(Session, each, wrapped)
