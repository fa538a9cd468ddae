"""Flushes: pending values of objects are stored, and rows are entered as candidates before they are written.

Each event::

    a flush begins    foreign values are accepted, then pending values are stored: no connection is needed yet
    before_insert     the row is entered, with the files that it will name
    before_update,
    before_delete     the row is read under a lock; its files are entered, with those that take their place
    after_insert      its primary key is known

Values that appear while a flush runs are stored when their row is written (`depot_lite.fields.tracking.late`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from depot_lite.fields.tracking import later, outcomes
from depot_lite.fields.tracking.births import Birth, birth_of
from depot_lite.fields.tracking.checks import check_count
from depot_lite.fields.tracking.ledger import LEDGER, ledger_of, listen, watch_of
from depot_lite.fields.tracking.refocus import refocus
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
    def table(self) -> Table:
        """The table of the attribute's column."""
        return self.column.column.table

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
        """Whether the attribute holds stored files that may belong to another row: its own are not loaded."""
        if self.state.key is None or not isinstance(self.old, LoaderCallableStatus):
            return False
        return any(not value.pending for value in files_in(self.value))

    @property
    def is_settled(self) -> bool:
        """Whether the attribute holds a file that was stored for it in the open transaction."""
        return isinstance(self.value, DepotFileInfo) and self._has_stored(self.value)

    def accept(self) -> None:
        """Accept a value that bypassed the attribute's listener, by ``__dict__``, say, as if it had been assigned.

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
        """Give the row copies of the stored files that are not its own: their owners may delete them at any time.

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

        A value that an object without a row has written, as after ``make_transient()``, belongs to another row.
        """
        birth = birth_of(str(value.get("path")))
        if birth is None or birth.value is not value or (self.state.key is None and birth.bound):
            return False
        return self._is_of_here(birth)

    def _is_of_here(self, birth: Birth) -> bool:
        owner = birth.pending.owner
        return owner is not None and owner[0]() is self.state and owner[1] == self.column.key

    def _is_born(self, path: str) -> bool:
        """Return whether a file was stored for this attribute of the object, in its open transaction."""
        birth = birth_of(path)
        return birth is not None and self._is_of_here(birth)

    def reconcile(self, held: Any) -> None:
        """Merge the object's files with those that its row has now, so that no deleted file is named.

        Stored images take the variants that the row has by now. Changes of two sessions to one list are merged. A
        stored value that the row does not name any more gives way to the file that it names now.

        Raises:
            StaleDataError: both have changed the order of the list, or the model has a version counter.
            ValidationError: the two together have put more files into the list than it may have.
        """
        present = {str(each.get("path")): each for each in files_in(held)}
        value, old = self.value, self._updated(self.old, present)
        if isinstance(value, FileList):
            value.take(files_in(self._updated(value, present)))
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
            self.state.dict[self.column.key] = self._updated(value, present) if value.get("path") in present else held

    def _updated(self, value: Any, present: Mapping[str, DepotFileInfo]) -> Any:
        """Return a value or list with the variants that its stored files have in the row by now."""
        if isinstance(value, FileList):
            return FileList.of(self._updated(each, present) for each in value)
        found = present.get(str(value.get("path"))) if isinstance(value, DepotFileInfo) else None
        return value if found is None or value.pending else value.updated_from(found, self._is_born)


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
    FLUSHING.set(weakref.ref(session))
    slots = [slot for slot in slots_of([*new, *(each for each in modified if each not in deleted)]) if slot.is_written]
    for slot in slots:
        slot.accept()
    held = _read_unlocked(session, [slot for slot in slots if slot.may_be_of_others])
    for slot in slots:
        slot.copy_foreign(held.get(slot, NOT_LOADED))
    store_all(session, [(slot.column, slot.value) for slot in slots])
    refocus(session, slots)
    updated = list(dict.fromkeys(slot.state for slot in slots if slot.state.key is not None))
    if updated or deleted or LEDGER in session.info:
        ledger_of(session).flush = Flush(updated, deleted)


def _read_unlocked(session: Session, slots: Iterable[Slot]) -> dict[Slot, Any]:
    """Return the files in rows, for attributes that were given stored files without having been loaded."""
    by_table: dict[tuple[Connection, Table], dict[tuple[Any, ...], list[Slot]]] = {}
    for slot in slots:
        state, table = slot.state, slot.table
        connection, key = internals.connection_in_flush(session, state.mapper, state.obj()), old_key_in(state, table)
        if key is not None:
            by_table.setdefault((connection, table), {}).setdefault(key, []).append(slot)
    held: dict[Slot, Any] = {}
    for (connection, table), by_key in by_table.items():
        for key, files in read_rows(connection, table, by_key, lock=False).items():
            held.update((slot, files.get(slot.column.column)) for slot in by_key[key])
    return held


#: The session whose flush has begun last, in this thread or task.
FLUSHING: Final[ContextVar[weakref.ref[Session] | None]] = ContextVar("depot_lite.flushing", default=None)


def held_now(column: FileColumn, state: InstanceState[Any]) -> Any:
    """Return the files in the row of an attribute that a listener sets after the flush has looked at it.

    Outside of a flush nothing is read, and the answer is SQLAlchemy's mark for "not loaded": the flush will read it.
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
        watch.candidates.enter(table, old_key_in(state, table), condemned=held.values(), deleted=deleted)


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
        # A before_flush listener may have added the object, or set the attribute, after we have looked.
        if slot.value is not None and not slot.is_settled:
            slot.accept()
            slot.copy_foreign()
        if slot.value:
            by_table.setdefault(slot.table, []).append(slot.value)
        elif slot.column.has_default:
            watch = watch_of(session, connection)  # so that the default finds its session
    if by_table:
        watch = watch or watch_of(session, connection)
        rows = session.info[LEDGER].flush.inserted
        for table, values in by_table.items():
            row = watch.candidates.enter(table, find_key=partial(key_in, state, table), named=values)
            rows.setdefault(state, []).append(row)


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
            candidates, key = watch_of(session, connection).candidates, key_in(state, slot.table)
            candidates.enter(slot.table, key, named=[slot.value])


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
        table = slot.table
        held = flush.held(session, connection, state, table)
        keys = keys_in(state, table)
        if held is None and keys[0] is not None:
            raise StaleDataError(f"{slot.column}: the row of the object is not there any more")
        files = None if held is None else held.get(slot.column.column)
        if slot.changed:
            is_known = not isinstance(slot.old, LoaderCallableStatus)
            if not slot.is_settled:
                slot.accept()
                slot.copy_foreign(NOT_LOADED if held is None or is_known else files)
                if held is not None:
                    slot.reconcile(files)
                refocus(session, [slot])  # of a listener, or of a row that had other variants
            if held is not None and not is_known:
                state.committed_state[slot.column.key] = files  # so that SQLAlchemy leaves out unchanged values
        named = [slot.value] if slot.changed else []
        for key in {*keys} - {None} or {None}:
            watch.candidates.enter(table, key, named=named, condemned=[files], held=held, updated=True)
        if slot.changed:
            row = watch.candidates.row(table, keys[1] or keys[0])
            later.enter_moved(session, watch.candidates, row, slot.column, files, slot.value)


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
    outcomes.follow_commits(later.process)
