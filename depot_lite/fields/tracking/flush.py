"""Flushes: pending values of objects are stored, and rows are entered as candidates before they are written.

Each event::

    a flush begins    foreign values are accepted, then pending values are stored: no connection is needed yet
    before_insert     the row is entered, with the files that it will name
    before_update,
    before_delete     the row is read under a lock; its files are entered, with those that take their place
    after_insert      its primary key is known

Values that appear while a flush runs (assigned in a ``before_insert`` listener, say) are stored when their row is
written (`store_late`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Table, update
from sqlalchemy.orm import Mapper, Session, attributes
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.fields import columns, internals
from depot_lite.fields.columns import NOT_LOADED, FileColumn, files_in, has_pending
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.tracking.births import Row
from depot_lite.fields.tracking.ledger import LEDGER, enter, ledger_of, listen, track_ends, watch_of
from depot_lite.fields.tracking.outcomes import Watch
from depot_lite.fields.tracking.slots import (
    Flush,
    Slot,
    key_in,
    old_key_in,
    read_rows,
    remember,
    slots_of,
    states_with_files,
    tables_with_files,
)
from depot_lite.fields.tracking.storing import store_all

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import InstanceState


# --- flush --------------------------------------------------------------------------------------------------------


def _before_flush(session: Session, instances: Sequence[object] | None) -> None:
    if not session.is_active:  # SQLAlchemy is about to refuse the flush
        return
    new, modified, deleted = map(states_with_files, internals.states_to_flush(session))
    if instances:
        chosen = {attributes.instance_state(each) for each in instances}
        new, modified, deleted = ([each for each in states if each in chosen] for states in (new, modified, deleted))
    _flushing.set(weakref.ref(session))
    slots = [slot for slot in slots_of([*new, *(each for each in modified if each not in deleted)]) if slot.is_written]
    for slot in slots:
        slot.accept()
    held = _read_unlocked(session, [slot for slot in slots if slot.may_be_of_others])
    for slot in slots:
        slot.own_files(held.get(slot, NOT_LOADED))
    store_all(session, [(slot.column, slot.value) for slot in slots if has_pending(slot.value)])
    updated = list(dict.fromkeys(slot.state for slot in slots if slot.state.key is not None))
    if updated or deleted or LEDGER in session.info:
        ledger_of(session).flush = Flush(updated, deleted)


def _read_unlocked(session: Session, slots: Iterable[Slot]) -> dict[Slot, Any]:
    """Return the files in rows, for attributes that were given stored files without having been loaded."""
    by_table: dict[tuple[Connection, Table], dict[tuple[Any, ...], list[Slot]]] = {}
    for slot in slots:
        mapper, identity = slot.state.mapper, slot.state.key
        if identity is not None:
            connection = internals.connection_in_flush(session, mapper, slot.state.obj())
            key = old_key_in(slot.state, slot.column.table)
            if key is not None:
                by_table.setdefault((connection, slot.column.table), {}).setdefault(key, []).append(slot)
    held: dict[Slot, Any] = {}
    for (connection, table), by_key in by_table.items():
        for key, files in read_rows(connection, table, by_key, lock=False).items():
            held.update((slot, files.get(slot.column.column)) for slot in by_key[key])
    return held


def accept_late(value: Any) -> Any:
    """Return the value for something that is bound and is no value, as if it had been assigned to its object.

    A listener of the user's may put it into the ``__dict__`` of an object whose row is being written right now. It is
    found among the objects of the flush; something that no object holds is returned as it is.
    """
    flushing = _flushing.get()
    session = None if flushing is None else flushing()
    for slot in _slots_in_flush(session) if session is not None and internals.is_flushing(session) else ():
        if slot.value is value:
            held_now(slot.column, slot.state)
            slot.accept()
            return slot.value
    return value


def _slots_in_flush(session: Session) -> Iterable[Slot]:
    new, modified, _ = internals.states_to_flush(session)
    return slots_of([*new, *modified])


# The session whose flush has begun last, in this thread or task.
_flushing: Final[ContextVar[weakref.ref[Session] | None]] = ContextVar("depot_lite.flushing", default=None)


def store_late(value: DepotFileInfo) -> bool:
    """Store a pending value whose row is being written right now; return False if no session writes it."""
    owner = value.owner
    state = None if owner is None else owner[0]()
    session = None if state is None else state.session
    if owner is None or state is None or session is None or not internals.is_flushing(session):
        return False
    slot = Slot(state, columns.columns_of_mapper(state.mapper)[owner[1]])
    # With the others of its list, if it is in one: they are of this row, too.
    in_list = any(each is value for each in files_in(slot.value))
    store_all(session, [(slot.column, slot.value if in_list else value)])
    connection = internals.connection_in_flush(session, state.mapper, state.obj())
    _enter_late(session, connection, slot, slot.value if in_list else value)
    return True


def _enter_late(session: Session, connection: Connection, slot: Slot, value: Any) -> None:
    watch, table = watch_of(session, connection), slot.column.table
    identity = slot.state.key
    if identity is None:
        row = watch.candidates.new_row(table, partial(key_in, slot.state, table))
        ledger_of(session).flush.inserted.setdefault(slot.state, []).append(row)
    else:
        row = watch.candidates.row(table, old_key_in(slot.state, table))
    enter(watch, row, named=[value], updated=identity is not None)


def held_now(column: FileColumn, state: InstanceState[Any]) -> Any:
    """Return the files in the row of an attribute that a listener sets during a flush, after it was looked at.

    Outside of a flush nothing is read, and the answer is SQLAlchemy's mark for "not loaded": the flush will.
    """
    session = state.session
    if session is None or state.key is None or not internals.is_flushing(session):
        return NOT_LOADED
    connection = internals.connection_in_flush(session, state.mapper, state.obj())
    _condemn_row(session, connection, state, column.table)
    held = ledger_of(session).flush.held(session, connection, state, column.table)
    return None if held is None else held.get(column.column)


def _condemn_row(
    session: Session, connection: Connection, state: InstanceState[Any], table: Table, *, deleted: bool = False
) -> None:
    """Read a row under a lock, and enter all of its files as condemned."""
    if state.key is None:
        return
    held = ledger_of(session).flush.held(session, connection, state, table)
    if held is not None and (any(held.values()) or (deleted and ledger_of(session).watches)):
        watch = watch_of(session, connection)
        row = watch.candidates.row(table, old_key_in(state, table))
        enter(watch, row, condemned=held.values())
        if deleted:
            watch.candidates.deleted.add(row)


# --- rows ---------------------------------------------------------------------------------------------------------


def _before_insert(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Enter the row with the files that it will name. Its key may be known only when it is written."""
    state = attributes.instance_state(target)
    session = state.session
    if session is None:
        return
    if session.deleted:
        _before_taking_over(session, mapper, connection, target)
    by_table: dict[Table, list[Any]] = {}
    for column in columns.columns_of_mapper(mapper).values():
        value = state.dict.get(column.key)
        if files_in(value):
            by_table.setdefault(column.table, []).append(value)
        elif column.has_default:
            watch_of(session, connection)  # so that the default finds its session
    if by_table:
        watch, rows = watch_of(session, connection), ledger_of(session).flush.inserted
        for table, values in by_table.items():
            row = watch.candidates.new_row(table, partial(key_in, state, table))
            rows.setdefault(state, []).append(row)
            enter(watch, row, named=values)


def _before_taking_over(session: Session, mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Read the row of a deleted object that a new one takes over: SQLAlchemy makes one UPDATE of the two."""
    existing = session.identity_map.get(mapper.identity_key_from_instance(target))
    if existing is not None and existing is not target and existing in session.deleted:
        for table in tables_with_files(mapper):
            _condemn_row(session, connection, attributes.instance_state(existing), table)


def _after_insert(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    state = attributes.instance_state(target)
    session = state.session
    if session is None:
        return
    found = session.info.get(LEDGER)
    for row in found.flush.inserted.pop(state, ()) if found is not None else ():
        row.mark_written()
    _enter_defaults(session, mapper, connection, state)


def _enter_defaults(session: Session, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
    """Enter the files that defaults have given to the row, whose key is known now."""
    for column in columns.columns_of_mapper(mapper).values():
        if column.has_default:
            value, key = state.dict.get(column.key), key_in(state, column.table)
            watch = watch_of(session, connection)
            enter(watch, watch.candidates.row(column.table, key), named=[value])


def _before_update(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Read the row under a lock, and enter its files of before and after."""
    state = attributes.instance_state(target)
    session = state.session
    if session is None or state.key is None:
        return
    if LEDGER in session.info:
        _follow_key(session, mapper, connection, state)
    slots = [slot for slot in slots_of([state]) if slot.is_written]
    if not slots:
        return
    flush = ledger_of(session).flush
    for slot in slots:
        table = slot.column.table
        held = flush.held(session, connection, state, table)
        files = None if held is None else held.get(slot.column.column)
        if held is None and old_key_in(state, table) is not None:
            raise StaleDataError(f"{slot.column}: the row of the object is not there any more")
        if slot.changed:
            slot.accept()
            slot.own_files(files if held is not None and columns.unknown(slot.old) else NOT_LOADED)
            if held is not None:
                slot.reconcile(files)
                if columns.unknown(slot.old):
                    state.committed_state[slot.column.key] = files  # so that SQLAlchemy leaves out unchanged values
        watch = watch_of(session, connection)
        keys = {old_key_in(state, table), key_in(state, table)} - {None}
        for key in keys or {None}:
            row = watch.candidates.row(table, key)
            remember(row, held)
            enter(watch, row, named=[slot.value] if slot.changed else (), condemned=[files], updated=True)


def _follow_key(session: Session, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
    """Let files that were entered under a row's former primary key be found under the new one."""
    for table in tables_with_files(mapper):
        old, new = old_key_in(state, table), key_in(state, table)
        if new is not None and old is not None and new != old:
            watch_of(session, connection).candidates.move(table, old, new)


def _after_update(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    state = attributes.instance_state(target)
    if state.session is not None and any(each.has_default for each in columns.columns_of_mapper(mapper).values()):
        _enter_defaults(state.session, mapper, connection, state)


def before_delete(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Read the rows of an object under a lock, and enter their files."""
    state = attributes.instance_state(target)
    if state.session is not None:
        for table in tables_with_files(mapper):
            _condemn_row(state.session, connection, state, table, deleted=True)


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
            slot.own_files(NOT_LOADED if _is_of_its_row(slot) else None)
        store_all(session, [(slot.column, slot.value) for slot in slots if has_pending(slot.value)])
        by_table: dict[tuple[Mapper[Any], Table], list[Slot]] = {}
        for slot in slots:
            by_table.setdefault((slot.state.mapper, slot.column.table), []).append(slot)
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
                row = watch.candidates.row(table, keys[slot])
                remember(row, held.get(keys[slot] or ()))
                enter(watch, row, named=[slot.value] if slot.changed else (), condemned=[files], updated=True)
            else:
                row = watch.candidates.new_row(table, partial(key_in, slot.state, table))
                self._rows.append(row)
                enter(watch, row, named=[slot.value])

    def __enter__(self) -> BulkSave:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Enter that the rows are written; doubt it if SQLAlchemy's method raised."""
        for watch in self._watches:
            watch.candidates.in_doubt |= error is not None
        for row in self._rows if error is None else ():
            row.mark_written()


def _is_of_its_row(slot: Slot) -> bool:
    """Return whether a detached object still has the primary key that it was loaded with."""
    table = slot.column.table
    return slot.state.key is not None and key_in(slot.state, table) == old_key_in(slot.state, table)


_MAPPER_EVENTS: Final[dict[str, Callable[..., None]]] = {
    "before_insert": _before_insert,
    "after_insert": _after_insert,
    "before_update": _before_update,
    "after_update": _after_update,
    "before_delete": before_delete,
}


def track_mapper(mapper: Mapper[Any]) -> None:
    """Follow the rows of a mapper that has file attributes; a second call does nothing."""
    listen(mapper, _MAPPER_EVENTS)


def track_deletions(mapper: Mapper[Any]) -> None:
    """Follow the deletions of a mapper whose table has file columns that it does not map."""
    listen(mapper, {"before_delete": before_delete})


def track_sessions() -> None:
    """Follow all sessions; a second call does nothing."""
    internals.follow_flushes(_before_flush, columns.INFO, LEDGER)
    track_ends()
