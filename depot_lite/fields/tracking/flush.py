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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Table
from sqlalchemy.orm import LoaderCallableStatus, Mapper, Session, attributes
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.fields import columns, internals
from depot_lite.fields.columns import NOT_LOADED, FileColumn, files_in
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.lists import FileList, merged
from depot_lite.fields.tracking import outcomes
from depot_lite.fields.tracking.births import birth_of
from depot_lite.fields.tracking.checks import check_count
from depot_lite.fields.tracking.ledger import LEDGER, ledger_of, listen, watch_of
from depot_lite.fields.tracking.rows import (
    Flush,
    changed_keys,
    key_in,
    keys_in,
    old_key_in,
    read_rows,
    tables_with_files,
)
from depot_lite.fields.tracking.storing import store_all

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import InstanceState


@dataclass(frozen=True, slots=True)
class Slot:
    """One file attribute of an object that a flush writes."""

    state: InstanceState[Any]
    column: FileColumn

    @property
    def value(self) -> Any:
        """The value or list of the attribute; None if it is empty or not loaded."""
        return self.state.dict.get(self.column.key)

    @property
    def changed(self) -> bool:
        """Whether the attribute was set, or its list changed, since the last flush."""
        return self.column.key in self.state.committed_state

    @property
    def old(self) -> Any:
        """The value, list or None that the row held when the session looked last, or `NOT_LOADED`."""
        if self.changed:
            return self.state.committed_state[self.column.key]
        return self.state.dict.get(self.column.key, NOT_LOADED)

    @property
    def is_written(self) -> bool:
        """Whether a flush will write the attribute: SQLAlchemy leaves out unchanged ones."""
        if self.state.key is None:
            return True
        if not self.changed:
            return self.column.column.onupdate is not None and self.state.modified
        old = self.old
        return isinstance(old, LoaderCallableStatus) or not self.column.type.compare_values(old, self.value)

    @property
    def may_be_of_others(self) -> bool:
        """Whether the attribute holds stored files of which nobody knows whether they are the row's own."""
        if self.state.key is None or not isinstance(self.old, LoaderCallableStatus):
            return False
        return any(not value.pending for value in files_in(self.value))

    def accept(self) -> None:
        """Accept a value that came past the attribute's listener, by ``__dict__`` say, as if it was assigned.

        Raises:
            InvalidContent: the attribute holds something that cannot be stored.
        """
        value = self.value
        if value is None and not (self.column.type.multiple and self.column.key in self.state.dict):
            return
        if not self.column.is_accepted(value, self.state):
            held = self.old if self.state.key is not None and not isinstance(self.old, LoaderCallableStatus) else None
            self.state.dict[self.column.key] = self.column.accept(value, self.state, held)

    def copy_foreign(self, held: Any = NOT_LOADED) -> None:
        """Give the row copies of the stored files that are not its own: their owners may delete them any time.

        Args:
            held: the files that the row holds, if it was read; by default those that the session remembers.
        """
        if isinstance(held, LoaderCallableStatus):
            held = None if self.state.key is None else self.old
        value = self.value
        copied = self.column.copy_foreign(value, self.state, [held], self._has_stored)
        if copied is not value:
            self.state.dict[self.column.key] = copied

    def _has_stored(self, value: DepotFileInfo) -> bool:
        """Return whether this attribute of the object has stored the value itself, in its open transaction.

        If an object without a row has written it, as one has after ``make_transient()``, it is another row's.
        """
        birth = birth_of(str(value.get("path")))
        if birth is None or birth.value is not value or (self.state.key is None and birth.bound):
            return False
        owner = birth.pending.owner
        return owner is not None and owner[0]() is self.state and owner[1] == self.column.key

    def reconcile(self, held: Any) -> None:
        """Merge the object's files with those that its row has by now, so that no deleted file is named.

        Changes of two sessions to one list are merged. A stored value that the row does not name any more gives way to
        the one that it names now.

        Raises:
            StaleDataError: both have changed the order of the list, or the model has a version counter.
            ValidationError: the two together have put more files into the list than it may have.
        """
        value, old = self.value, self.old
        if isinstance(value, FileList):
            if isinstance(old, FileList) and list(old) != list(files_in(held)):
                counted = self.state.mapper.version_id_col is not None
                together = None if counted else merged(old, value, held)
                if together is None:
                    reason = "the model counts its versions" if counted else "both have changed its order"
                    raise StaleDataError(
                        f"{self.column}: another transaction has changed the list meanwhile, and {reason}; "
                        "load the object again"
                    )
                if len(together) > max(len(value), len(files_in(held))):
                    check_count(self.column, len(together))
                value.take(together)
        elif isinstance(value, DepotFileInfo) and not value.pending and birth_of(str(value.get("path"))) is None:
            known = {each.get("path") for each in files_in(held)}
            self.state.dict[self.column.key] = value if value.get("path") in known else held


def slots_of(states: Iterable[InstanceState[Any]]) -> Iterator[Slot]:
    """Yield the file attributes of objects."""
    for state in states:
        for column in state.manager.info.get(columns.INFO, {}).values():
            yield Slot(state, column)


# --- flush --------------------------------------------------------------------------------------------------------


def _before_flush(session: Session, instances: Sequence[object] | None, *states: Sequence[InstanceState[Any]]) -> None:
    if not session.is_active:  # SQLAlchemy is about to refuse the flush
        return
    new, modified, deleted = states
    if instances:
        chosen = {attributes.instance_state(each) for each in instances}
        new, modified, deleted = ([each for each in group if each in chosen] for group in states)
    _flushing.set(weakref.ref(session))
    slots = [slot for slot in slots_of([*new, *(each for each in modified if each not in deleted)]) if slot.is_written]
    for slot in slots:
        slot.accept()
    held = _read_unlocked(session, [slot for slot in slots if slot.may_be_of_others])
    for slot in slots:
        slot.copy_foreign(held.get(slot, NOT_LOADED))
    store_all(session, [(slot.column, slot.value) for slot in slots])
    updated = list(dict.fromkeys(slot.state for slot in slots if slot.state.key is not None))
    if updated or deleted or LEDGER in session.info:
        ledger_of(session).flush = Flush(updated, deleted)


def _read_unlocked(session: Session, slots: Iterable[Slot]) -> dict[Slot, Any]:
    """Return the files in rows, for attributes that were given stored files without having been loaded."""
    by_table: dict[tuple[Connection, Table], dict[tuple[Any, ...], list[Slot]]] = {}
    for slot in slots:
        state, table = slot.state, slot.column.table
        connection, key = internals.connection_in_flush(session, state.mapper, state.obj()), old_key_in(state, table)
        if key is not None:
            by_table.setdefault((connection, table), {}).setdefault(key, []).append(slot)
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
    if session is None or not internals.is_flushing(session):
        return value
    new, modified, _ = internals.states_to_flush(session, columns.INFO)
    for slot in slots_of([*new, *modified]):
        if slot.value is value:
            held_now(slot.column, slot.state)
            slot.accept()
            return slot.value
    return value


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
    held = slot.value if any(each is value for each in files_in(slot.value)) else value
    store_all(session, [(slot.column, held)])
    connection = internals.connection_in_flush(session, state.mapper, state.obj())
    _enter_late(session, connection, slot, held)
    return True


def _enter_late(session: Session, connection: Connection, slot: Slot, value: Any) -> None:
    watch, table = watch_of(session, connection), slot.column.table
    identity = slot.state.key
    if identity is None:
        row = watch.candidates.new_row(table, partial(key_in, slot.state, table))
        ledger_of(session).flush.inserted.setdefault(slot.state, []).append(row)
    else:
        row = watch.candidates.row(table, old_key_in(slot.state, table))
    watch.candidates.enter(row, named=[value], updated=identity is not None)


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
        watch.candidates.enter(row, condemned=held.values(), deleted=deleted)


# --- rows ---------------------------------------------------------------------------------------------------------


def _before_insert(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Enter the row with the files that it will name. Its key may be known only when it is written."""
    state = attributes.instance_state(target)
    session = state.session
    if session is None:
        return
    if session.deleted:
        _before_taking_over(session, mapper, connection, target)
    watch, by_table = None, dict[Table, list[Any]]()
    for slot in slots_of([state]):
        if slot.value is not None:  # a before_flush listener may have added the object, after we have looked
            slot.accept()
            slot.copy_foreign()
        if files_in(slot.value):
            by_table.setdefault(slot.column.table, []).append(slot.value)
        elif slot.column.has_default:
            watch = watch_of(session, connection)  # so that the default finds its session
    if by_table:
        watch = watch or watch_of(session, connection)
        rows = ledger_of(session).flush.inserted
        for table, values in by_table.items():
            row = watch.candidates.new_row(table, partial(key_in, state, table))
            rows.setdefault(state, []).append(row)
            watch.candidates.enter(row, named=values)


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
    _enter_defaults(session, connection, state)


def _enter_defaults(session: Session, connection: Connection, state: InstanceState[Any]) -> None:
    """Enter the files that defaults have given to the row, whose key is known now."""
    for slot in slots_of([state]):
        if slot.column.has_default:
            candidates, table = watch_of(session, connection).candidates, slot.column.table
            candidates.enter(candidates.row(table, key_in(state, table)), named=[slot.value])


def _before_update(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Read the row under a lock, and enter its files of before and after."""
    state = attributes.instance_state(target)
    session = state.session
    if session is None or state.key is None:
        return
    if LEDGER in session.info:
        # Files that were entered under the row's former primary key are found under the new one.
        for table, old, new in changed_keys(state):
            watch_of(session, connection).candidates.move(table, old, new)
    slots = [slot for slot in slots_of([state]) if slot.is_written]
    if not slots:
        return
    flush, watch = ledger_of(session).flush, watch_of(session, connection)
    for slot in slots:
        table = slot.column.table
        held = flush.held(session, connection, state, table)
        keys = keys_in(state, table)
        if held is None and keys[0] is not None:
            raise StaleDataError(f"{slot.column}: the row of the object is not there any more")
        files = None if held is None else held.get(slot.column.column)
        if slot.changed:
            slot.accept()
            is_known = not isinstance(slot.old, LoaderCallableStatus)
            slot.copy_foreign(NOT_LOADED if held is None or is_known else files)
            if held is not None:
                slot.reconcile(files)
                if not is_known:
                    state.committed_state[slot.column.key] = files  # so that SQLAlchemy leaves out unchanged values
        named = [slot.value] if slot.changed else []
        for key in {*keys} - {None} or {None}:
            row = watch.candidates.row(table, key)
            watch.candidates.enter(row, named=named, condemned=[files], held=held, updated=True)


def _after_update(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    state = attributes.instance_state(target)
    if state.session is not None:
        _enter_defaults(state.session, connection, state)


def before_delete(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Read the rows of an object under a lock, and enter their files."""
    state = attributes.instance_state(target)
    if state.session is not None:
        for table in tables_with_files(mapper):
            _condemn_row(state.session, connection, state, table, deleted=True)


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
    outcomes.track_errors()
