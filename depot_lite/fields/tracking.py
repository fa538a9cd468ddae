"""Session events -> ledger -> storages. The only writer of the ledgers of sessions.

What each event means::

    before_flush            foreign values are accepted, then what is pending is stored: no connection is needed yet
    before_insert           the row is entered as a candidate, with the files that it will name
    before_update,
    before_delete           the row is read under a lock; what it holds is entered, with what takes its place
    after_insert            its primary key is known
    after_commit            of a savepoint: its births become those of the enclosing transaction
    after_rollback          of a savepoint: the values that were born in it become pending again
    after_transaction_end   files are deleted

What the database did is not concluded from these: it is asked (`depot_lite.fields.outcomes`). Values that appear while a
flush runs (assigned in a ``before_insert`` listener, say) are stored when their row is written (`store_late`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnDefault, Table, event, update
from sqlalchemy.orm import Mapper, Session, attributes

from depot_lite.errors import DepotError, InvalidContent, ValidationError
from depot_lite.fields import checks, columns, internals, ledger, outcomes, transfers
from depot_lite.fields.adoption import Adoption, adoptions
from depot_lite.fields.columns import FileColumn, files_in, has_pending, paths_of
from depot_lite.fields.interfaces import DepotFileInfo, discard
from depot_lite.fields.ledger import Birth, Row, Schemas, birth_of
from depot_lite.fields.outcomes import Watch
from depot_lite.fields.slots import (
    Files,
    Slot,
    key_in,
    old_key_in,
    read_rows,
    slots_of,
    slots_of_state,
    tables_with_files,
)
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import InstanceState, SessionTransaction

#: Where a session keeps its ledger: in ``session.info``.
LEDGER: Final = "depot_lite.ledger"


class Ledger:
    """What a session has to do with files in one transaction.

    ``frames`` are the births of each open savepoint, and of the transaction itself. ``unbound`` are files that were
    stored and never given to the database.
    """

    def __init__(self) -> None:
        self.frames: dict[SessionTransaction, list[Birth]] = {}
        self.watches: set[Watch] = set()
        self.unbound: list[str] = []
        self.flush = Flush()

    def lose(self, births: Iterable[Birth]) -> set[str]:
        """Make the values of births pending again, which went with a savepoint or were never bound; return their paths."""
        lost: set[str] = set()
        for birth in births:
            lost.update(birth.paths)
            for watch in self.watches:
                watch.candidates.lose(birth)
            if not birth.bound:
                self.unbound += birth.paths
            ledger.end(birth)
            birth.make_pending()
        return lost


class Flush:
    """What the flush that is under way will write to rows that exist, and what these held before."""

    def __init__(self, updated: Sequence[InstanceState[Any]] = (), deleted: Sequence[InstanceState[Any]] = ()) -> None:
        self._updated = updated
        self._deleted = deleted
        self._held: dict[tuple[InstanceState[Any], Table], Files] = {}
        self._read: set[tuple[InstanceState[Any], Table]] = set()
        self.inserted: dict[InstanceState[Any], list[Row]] = {}

    def held(
        self, session: Session, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any], table: Table
    ) -> Files | None:
        """Return what the row of an object holds in a table, locked; None if there is no such row.

        The rows of all objects that the flush will write to the table are read with it.
        """
        if (state, table) not in self._read:
            self._look_up(session, mapper, connection, state, table)
        return self._held.get((state, table))

    def _look_up(
        self, session: Session, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any], table: Table
    ) -> None:
        together = [state]
        if session.connection_callable is None:  # otherwise each object may have a connection of its own
            among = self._deleted if state in self._deleted else self._updated
            together += [each for each in among if each is not state and _is_written_to(each, table)]
        by_key: dict[tuple[Any, ...], list[InstanceState[Any]]] = {}
        for each in together:
            if each.key is not None and (each, table) not in self._read:
                by_key.setdefault(old_key_in(each.mapper, table, each.key[1]), []).append(each)
                self._read.add((each, table))
        for key, files in read_rows(connection, table, by_key).items():
            self._held.update(((each, table), files) for each in by_key[key])


def _is_written_to(state: InstanceState[Any], table: Table) -> bool:
    return table in state.mapper.tables


def ledger_of(session: Session) -> Ledger:
    """Return the ledger of a session, a new one if it had nothing to do with files yet."""
    found: Ledger = session.info.setdefault(LEDGER, Ledger())
    return found


def frame_of(session: Session) -> list[Birth]:
    """Return the births of the innermost savepoint or transaction of a session; begin one if there is none."""
    transaction = session.get_nested_transaction() or session.get_transaction() or session.begin()
    return ledger_of(session).frames.setdefault(transaction, [])


def watch_of(session: Session, connection: Connection) -> Watch:
    """Return the watch of a connection through which the session is about to write."""
    watch = outcomes.watch(connection)
    root = session.get_transaction()
    if root is not None:
        watch.parties.add(root)
    ledger_of(session).watches.add(watch)
    return watch


def enter(
    watch: Watch,
    row: Row,
    *,
    named: Iterable[Any] = (),
    condemned: Iterable[Any] = (),
    doubtful: bool = False,
) -> None:
    """Enter values that a row will name, and values that it names no longer; before the statement is sent.

    Args:
        doubtful: the statement may leave out the row, without an error.
    """
    kept = set()
    for value in named:
        for path in paths_of(value):
            kept.add(path)
            if birth_of(path) is not None:
                watch.candidates.enter(path, row, doubtful=doubtful)
    for value in condemned:
        for path in paths_of(value):
            if path not in kept:
                watch.candidates.enter(path, row, doubtful=True)


def spare(session: Session, paths: Iterable[str]) -> None:
    """Let files stay that rows stopped naming in the last flush: who is not sure leaves them to the sweep."""
    for watch in ledger_of(session).watches:
        for path in paths:
            watch.candidates.spare(path)


# --- flush --------------------------------------------------------------------------------------------------------


def _before_flush(session: Session, context: Any, instances: Sequence[Any] | None) -> None:
    if not columns.any_type_made() or not session.is_active:  # SQLAlchemy is about to refuse the flush
        return
    _flushing.set(weakref.ref(session))
    chosen = None if not instances else {id(each) for each in instances}
    slots = [slot for slot in slots_of([*session.new, *session.dirty], chosen) if slot.is_written]
    deleted = list(dict.fromkeys(slot.state for slot in slots_of(session.deleted, chosen)))
    for slot in slots:
        slot.accept()
    held = _read_unlocked(session, [slot for slot in slots if slot.may_be_of_others])
    for slot in slots:
        slot.own_files(held.get(slot, attributes.NO_VALUE))
    store_all(session, [(slot.column, slot.value) for slot in slots if has_pending(slot.value)])
    updated = list(dict.fromkeys(slot.state for slot in slots if slot.state.key is not None))
    if updated or deleted or LEDGER in session.info:
        ledger_of(session).flush = Flush(updated, deleted)


def _read_unlocked(session: Session, slots: Iterable[Slot]) -> dict[Slot, Any]:
    """Return what rows hold, of attributes that were given stored files without having been loaded."""
    by_table: dict[tuple[Connection, Table], dict[tuple[Any, ...], list[Slot]]] = {}
    for slot in slots:
        mapper, identity = slot.state.mapper, slot.state.key
        if identity is not None:
            connection = internals.connection_in_flush(session, mapper, slot.state.obj())
            key = old_key_in(mapper, slot.column.table, identity[1])
            by_table.setdefault((connection, slot.column.table), {}).setdefault(key, []).append(slot)
    held: dict[Slot, Any] = {}
    for (connection, table), by_key in by_table.items():
        for key, files in read_rows(connection, table, by_key, lock=False).items():
            held.update((slot, files.get(slot.column.column)) for slot in by_key[key])
    return held


def store_all(session: Session, waiting: Sequence[tuple[FileColumn, Any]]) -> None:
    """Store what is pending, side by side where the storages gain by it, and enter the files as born.

    Args:
        session: whose innermost transaction they are born in.
        waiting: what attributes are to hold, values or lists, with their columns.

    Raises:
        ValidationError: a column refuses a file, or more of one object. Nothing was stored.
        InvalidContent: a file cannot be read; or it was to be uploaded by a browser, and is not there.
        DepotError: one could not be stored. Nothing of any of them is left; of several errors, that of the first value.
    """
    if not waiting:
        return
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
    births = list(_births(waiting))
    try:
        workers = max((birth.value.workers for _, _, birth in births), default=1)
        transfers.side_by_side(_jobs(births), workers)
    except BaseException:
        done = [birth for _, _, birth in births if not birth.value.pending]
        transfers.off_loop(partial(discard, [path for birth in done for path in birth.value.paths]))
        for birth in done:
            birth.make_pending()
        raise
    frame_of(session).extend(birth for _, _, birth in births)


def _births(waiting: Sequence[tuple[FileColumn, Any]]) -> Iterator[tuple[FileColumn, int | None, Birth]]:
    """Yield what is pending, with its column and, if it is in a list, its index there."""
    for column, held in waiting:
        for index, value in enumerate(files_in(held)):
            state = value.waiting()
            if state is not None:
                yield column, index if isinstance(held, list) else None, Birth(value, *state)


def _jobs(births: Sequence[tuple[FileColumn, int | None, Birth]]) -> list[tuple[FileStorage, Callable[[], None]]]:
    """Return what is to be done, with the storage that it is done in; what reads the same open file is one job."""
    by_source: dict[Any, tuple[FileStorage, list[Callable[[], None]]]] = {}
    for column, index, birth in births:
        source = None if birth.pending.content is None else birth.pending.content.source
        key = id(birth) if source is None or isinstance(source, bytes | Path) else id(source)
        storage = DepotManager.get(birth.before["depot_name"])
        by_source.setdefault(key, (storage, []))[1].append(partial(_store, column, index, birth))
    return [(storage, partial(_one_after_the_other, jobs)) for storage, jobs in by_source.values()]


def _one_after_the_other(jobs: Sequence[Callable[[], None]]) -> None:
    for job in jobs:
        job()


def _store(column: FileColumn, index: int | None, birth: Birth) -> None:
    try:
        birth.value.store(
            column.type.filters, variants=column.type.variants, announce=partial(ledger.announce, birth)
        )
    except ValidationError as error:  # found while the file was worked on: an image that breaks off, say
        error.at(str(column), birth.before.get("filename"), index)
        raise
    except DepotError as error:
        error.add_note(f"while storing {birth.before.get('filename')!r} for {column}")
        raise


def accept_late(value: Any) -> Any:
    """Return what an object holds in the place of something that is no value, as if it had been assigned.

    A listener of the user's may put it into the ``__dict__`` of an object whose row is being written right now. It is found
    among the objects of the flush; what no object holds is returned as it is.
    """
    session = _flushing.get(None)
    session = None if session is None else session()
    for slot in slots_of([*session.new, *session.dirty]) if session is not None else ():
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
    if owner is None or state is None or session is None:
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
    mapper, identity = slot.state.mapper, slot.state.key
    if identity is None:
        row = Row(table, None, find_key=partial(key_in, mapper, table, slot.state))
        ledger_of(session).flush.inserted.setdefault(slot.state, []).append(row)
    else:
        row = watch.candidates.row(table, old_key_in(mapper, table, identity[1]))
    enter(watch, row, named=[value])


def held_now(column: FileColumn, state: InstanceState[Any]) -> Any:
    """Return what a row holds whose attribute a listener sets while its flush is under way, after we have looked.

    Outside of a flush nothing is read, and the answer is SQLAlchemy's mark for "not loaded": the flush will.
    """
    session = state.session
    if session is None or state.key is None or not internals.is_flushing(session):
        return attributes.NO_VALUE
    connection = internals.connection_in_flush(session, state.mapper, state.obj())
    _condemn_row(session, connection, state, column.table)
    held = ledger_of(session).flush.held(session, state.mapper, connection, state, column.table)
    return None if held is None else held.get(column.column)


def _condemn_row(session: Session, connection: Connection, state: InstanceState[Any], table: Table) -> None:
    """Read a row under a lock, and enter all that it holds."""
    if state.key is None:
        return
    held = ledger_of(session).flush.held(session, state.mapper, connection, state, table)
    if held is not None and any(held.values()):
        watch = watch_of(session, connection)
        row = watch.candidates.row(table, old_key_in(state.mapper, table, state.key[1]))
        enter(watch, row, condemned=held.values())


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
            row = Row(table, None, find_key=partial(key_in, mapper, table, state))
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
        row.is_written()
    _enter_defaults(session, mapper, connection, state)


def _enter_defaults(session: Session, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
    """Enter what a default of a column has given to the row, whose key is known now."""
    for column in columns.columns_of_mapper(mapper).values():
        if column.has_default:
            value, key = state.dict.get(column.key), key_in(mapper, column.table, state)
            watch = watch_of(session, connection)
            enter(watch, watch.candidates.row(column.table, key), named=[value])


def _before_update(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Read the row under a lock, and enter what it holds and what it will hold."""
    state = attributes.instance_state(target)
    session = state.session
    if session is None or state.key is None:
        return
    if LEDGER in session.info:
        _follow_key(session, mapper, connection, state)
    slots = [slot for slot in slots_of_state(mapper, state) if slot.is_written]
    if not slots:
        return
    flush = ledger_of(session).flush
    for slot in slots:
        table = slot.column.table
        held = flush.held(session, mapper, connection, state, table)
        files = None if held is None else held.get(slot.column.column)
        if slot.changed:
            slot.accept()
            slot.own_files(files if held is not None and columns.unknown(slot.old) else attributes.NO_VALUE)
            if held is not None:
                slot.reconcile(files)
        watch = watch_of(session, connection)
        keys = {old_key_in(mapper, table, state.key[1]), key_in(mapper, table, state)} - {None}
        for key in keys:
            row = watch.candidates.row(table, key)
            enter(watch, row, named=[slot.value] if slot.changed else (), condemned=[files])


def _follow_key(session: Session, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
    """Let files that were entered under a row's former primary key be found under the new one."""
    identity = () if state.key is None else state.key[1]
    for table in tables_with_files(mapper):
        old, new = old_key_in(mapper, table, identity), key_in(mapper, table, state)
        if new is not None and new != old:
            watch_of(session, connection).candidates.move(table, old, new)


def _after_update(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    state = attributes.instance_state(target)
    if state.session is not None and any(each.has_default for each in columns.columns_of_mapper(mapper).values()):
        _enter_defaults(state.session, mapper, connection, state)


def before_delete(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Read the rows of an object under a lock, and enter what they hold."""
    state = attributes.instance_state(target)
    if state.session is not None:
        for table in tables_with_files(mapper):
            _condemn_row(state.session, connection, state, table)


class BulkSave:
    """The objects of one ``bulk_save_objects``, for which SQLAlchemy fires no event but a rollback's.

    Used as a context manager around SQLAlchemy's method.

    Args:
        session: the session that saves them; the objects themselves are in none.
        objects: new ones, and detached ones that were changed.
        everything: all attributes are written, not only those that were changed.
    """

    def __init__(self, session: Session, objects: Sequence[Any], *, everything: bool = False) -> None:
        self._session = session
        self._rows: list[Row] = []
        self._watches: set[Watch] = set()
        slots = [slot for slot in slots_of(objects) if slot.is_written or (everything and slot.column.key in slot.state.dict)]
        for slot in slots:
            slot.accept()
            slot.own_files()
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
        keys = {slot: old_key_in(mapper, table, slot.state.key[1]) for slot in slots if slot.state.key is not None}
        held = read_rows(connection, table, set(keys.values())) if keys else {}
        for slot in slots:
            if slot in keys:
                files = held.get(keys[slot], {}).get(slot.column.column)
                slot.reconcile(files)
                row = watch.candidates.row(table, keys[slot])
                enter(watch, row, named=[slot.value] if slot.changed else (), condemned=[files])
            else:
                row = Row(table, None, find_key=partial(key_in, mapper, table, slot.state))
                self._rows.append(row)
                enter(watch, row, named=[slot.value])

    def __enter__(self) -> BulkSave:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Enter that the rows are written; doubt it if SQLAlchemy's method raised."""
        for watch in self._watches:
            watch.candidates.in_doubt |= error is not None
        for row in self._rows if error is None else ():
            row.is_written()


# --- defaults -----------------------------------------------------------------------------------------------------


def store_default(column: FileColumn, value: Any, connection: Connection) -> Any:
    """Return what a default of a column gives to one row: a stored value of its own, or a list of such.

    Raises:
        InvalidContent: no session writes through this connection.
    """
    accepted = column.accept(columns.own_of(value), None, attributes.NO_VALUE)
    if not has_pending(accepted):
        return accepted
    session = outcomes.writing_session(connection)
    if session is None:
        raise InvalidContent(
            f"{column}: the default gives a file, and connection.execute() has no session that would look after it; "
            "use session.execute()"
        )
    store_all(session, [(column, accepted)])
    row = Row(column.table, None)
    row.is_written()  # by a statement of which nobody tells when it was executed
    enter(watch_of(session, connection), row, named=[accepted])
    return accepted


def follow_defaults(column: FileColumn) -> None:
    """Let what the default and the ``onupdate`` of a column give be stored; a second call does nothing."""
    if column.has_default:
        return
    for default in (column.column.default, column.column.onupdate):
        if isinstance(default, ColumnDefault) and (default.is_callable or default.is_scalar):
            for_update = default is column.column.onupdate
            columns.remember_default(column.column, default, for_update=for_update)
            internals.set_default(column.column, _storing(column, default), for_update=for_update)


def _storing(column: FileColumn, default: ColumnDefault) -> Callable[[Any], Any]:
    def give(context: Any) -> Any:
        with internals.own_errors():
            value = default.arg(context) if default.is_callable else default.arg
            return store_default(column, value, context.root_connection)

    return give


# --- how transactions end -----------------------------------------------------------------------------------------


def _after_commit(session: Session) -> None:
    found: Ledger | None = session.info.get(LEDGER)
    savepoint = session.get_nested_transaction()
    if found is not None and savepoint is not None:
        births = found.frames.pop(savepoint, None)
        if births:
            found.frames.setdefault(_enclosing(savepoint), []).extend(births)


def _enclosing(savepoint: SessionTransaction) -> SessionTransaction:
    outer = savepoint.parent or savepoint
    while outer.parent is not None and not outer.nested:  # a flush that is under way
        outer = outer.parent
    return outer


def _after_rollback(session: Session) -> None:
    found: Ledger | None = session.info.get(LEDGER)
    savepoint = session.get_nested_transaction()
    if found is not None and savepoint is not None:
        _lose(session, found, savepoint)


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    found: Ledger | None = session.info.get(LEDGER)
    if found is None:
        return
    if transaction.parent is not None:
        if transaction.nested:
            _lose(session, found, transaction)
        return
    del session.info[LEDGER]
    for watch in found.watches:
        watch.leave(transaction)
    found.lose([birth for births in found.frames.values() for birth in births if not birth.bound and not birth.ended])
    if found.unbound:
        transfers.to_the_end(partial(discard, found.unbound))


def _lose(session: Session, found: Ledger, savepoint: SessionTransaction) -> None:
    births = found.frames.pop(savepoint, None)
    if births:
        _expire_what_shows(session, found.lose(births))


def _expire_what_shows(session: Session, paths: set[str]) -> None:
    """Let no object go on showing files that went with a savepoint: SQLAlchemy expires only what a flush has written."""
    for target in session.identity_map.values():
        for key in columns.columns_of_class(type(target)):
            held = attributes.instance_dict(target).get(key)
            if held is not None and not paths.isdisjoint(paths_of(held)):
                session.expire(target, [key])


_MAPPER_EVENTS: Final[dict[str, Callable[..., None]]] = {
    "before_insert": _before_insert,
    "after_insert": _after_insert,
    "before_update": _before_update,
    "after_update": _after_update,
    "before_delete": before_delete,
}

_SESSION_EVENTS: Final[dict[str, Callable[..., None]]] = {
    "before_flush": _before_flush,
    "after_commit": _after_commit,
    "after_rollback": _after_rollback,
    "after_transaction_end": _after_transaction_end,
}


def _listen(target: Any, listeners: Mapping[str, Callable[..., None]]) -> None:
    for name, listener in listeners.items():
        if not event.contains(target, name, listener):
            event.listen(target, name, listener)


def track_mapper(mapper: Mapper[Any]) -> None:
    """Follow the rows of a mapper that has file attributes; a second call does nothing."""
    _listen(mapper, _MAPPER_EVENTS)


def track_deletions(mapper: Mapper[Any]) -> None:
    """Follow the deletions of a mapper whose table has file columns that it does not map."""
    _listen(mapper, {"before_delete": before_delete})


def track_sessions() -> None:
    """Follow all sessions; a second call does nothing."""
    _listen(Session, _SESSION_EVENTS)
    outcomes.track_errors()
