"""Session events -> ledger -> storages. The only writer of the ledgers of sessions.

What each event means::

    before_flush            what is pending is stored and entered as born; old values that nobody loaded are looked up
    after_insert/update     the row's files are entered as named, those of the replaced value as condemned
    after_delete            the row's files are entered as condemned
    after_commit            of a savepoint: its frame is merged into the enclosing one
                            of the outermost transaction: its condemned files are deleted
    after_rollback,
    after_transaction_end   the born files of a frame that has not committed are deleted

Values that appear while a flush runs (assigned in a ``before_insert`` listener, say) are stored when their row is
written (`store_late`). Sessions that touch no file pay for a look-up per object in a flush.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event, select, tuple_
from sqlalchemy.orm import Mapper, Session, attributes

from depot_lite.errors import DepotError, ValidationError
from depot_lite.fields import columns, outcomes, transfers
from depot_lite.fields.columns import FileColumn
from depot_lite.fields.interfaces import DepotFileInfo, discard
from depot_lite.fields.outcomes import Birth
from depot_lite.io.interfaces import FileStorage
from depot_lite.ledger import Frame, Ledger
from depot_lite.manager import DepotManager

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import InstanceState, SessionTransaction

#: Where a session keeps its ledger: in ``session.info``.
LEDGER: Final = "depot_lite.ledger"

# How many primary keys one SELECT of old values names.
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class _Slot:
    """One file attribute of one object."""

    state: InstanceState[Any]
    column: FileColumn

    @property
    def value(self) -> Any:
        """What the attribute holds, None where it holds nothing or is not loaded."""
        return self.state.dict.get(self.column.key)

    @property
    def changed(self) -> bool:
        """Whether the attribute was set since the last flush."""
        return self.column.key in self.state.committed_state

    @property
    def old_unknown(self) -> bool:
        """Whether the row holds a value that was never loaded."""
        if self.state.key is None:
            return False
        if self.changed:
            return columns.unknown(self.state.committed_state[self.column.key])
        return self.column.key not in self.state.dict

    @property
    def old(self) -> DepotFileInfo | None:
        """What the row held at the last flush, if that is known."""
        old = self.state.committed_state.get(self.column.key) if self.changed else self.value
        return old if isinstance(old, DepotFileInfo) else None

    def remember_old(self, old: Any) -> None:
        """Enter what the row turned out to hold."""
        if self.changed:
            self.state.committed_state[self.column.key] = old
        else:
            attributes.set_committed_value(self.state.obj(), self.column.key, old)


def ledger_of(session: Session) -> Ledger | None:
    """Return the ledger of a session, or None if it had nothing to do with files yet."""
    ledger: Ledger | None = session.info.get(LEDGER)
    return ledger


def frame_of(session: Session) -> Frame:
    """Return the frame of the innermost savepoint or transaction of a session; begins one where there is none."""
    ledger: Ledger = session.info.setdefault(LEDGER, Ledger())
    return ledger.frame(session.get_nested_transaction() or session.get_transaction() or session.begin())


def rows_written(frame: Frame, connection: Connection) -> None:
    """Enter that the frame's rows were written through this connection, so that their end is known."""
    outcomes.watch(connection)
    frame.rows_in[connection] = outcomes.innermost(connection)


# --- flush --------------------------------------------------------------------------------------------------------


def _before_flush(session: Session, context: Any, instances: Sequence[Any] | None) -> None:
    if not columns.any_type_made():
        return
    chosen = None if not instances else {id(each) for each in instances}
    living = list(_slots([*session.new, *session.dirty], chosen))
    _look_up_old(session, [slot for slot in living if slot.changed] + list(_slots(session.deleted, chosen)))
    for slot in living:
        _own_file(slot)
    store_all(session, [(slot.column, slot.value) for slot in living if _is_pending(slot.value)])


def _slots(objects: Iterable[Any], chosen: set[int] | None) -> Iterator[_Slot]:
    for each in objects:
        found = columns.columns_of_class(type(each))
        if found and (chosen is None or id(each) in chosen):
            state = attributes.instance_state(each)
            for column in found.values():
                yield _Slot(state, column)


def _own_file(slot: _Slot) -> None:
    """Give the row a copy where it was assigned a stored file that is not its own: the owner may delete it any time."""
    value = slot.value
    if not isinstance(value, DepotFileInfo) or value.pending or (slot.state.key is not None and not slot.changed):
        return
    old = slot.old if slot.state.key is not None else None
    if old is None or old.get("path") != value.get("path"):
        slot.state.dict[slot.column.key] = slot.column.copy(value, slot.state)


def store_all(session: Session, waiting: Sequence[tuple[FileColumn, DepotFileInfo]]) -> None:
    """Store pending values, side by side where their storages gain by it, and enter their files as born.

    If one fails, nothing of any of them is left, and its error is raised; of several, that of the first value.
    """
    if not waiting:
        return
    frame = frame_of(session)
    births = [(column, Birth(value, *state)) for column, value in waiting if (state := value.waiting()) is not None]
    try:
        workers = max((birth.value.workers for _, birth in births), default=1)
        transfers.side_by_side(_jobs(frame, births), workers)
    except BaseException:
        done = [birth for _, birth in births if not birth.value.pending]
        transfers.off_loop(partial(discard, [path for birth in done for path in birth.value.paths]))
        for birth in done:
            birth.value.revert(birth.pending, birth.before)
        raise


def _jobs(frame: Frame, births: Sequence[tuple[FileColumn, Birth]]) -> list[tuple[FileStorage, Callable[[], None]]]:
    """Return what is to be done, with the storage that it is done in; what reads the same open file is one job."""
    by_source: dict[Any, tuple[FileStorage, list[Callable[[], None]]]] = {}
    for column, birth in births:
        source = None if birth.pending.content is None else birth.pending.content.source
        key = id(birth) if source is None or isinstance(source, bytes | Path) else id(source)
        storage = DepotManager.get(birth.before["depot_name"])
        by_source.setdefault(key, (storage, []))[1].append(partial(_store, frame, column, birth))
    return [(storage, partial(_one_after_the_other, jobs)) for storage, jobs in by_source.values()]


def _one_after_the_other(jobs: Sequence[Callable[[], None]]) -> None:
    for job in jobs:
        job()


def _store(frame: Frame, column: FileColumn, birth: Birth) -> None:
    try:
        birth.value.store(
            column.type.filters, variants=column.type.variants, announce=lambda path: frame.bear(path, birth)
        )
    except ValidationError as error:  # found while the file was worked on: an image that breaks off, say
        error.at(str(column), birth.before.get("filename"))
        raise
    except DepotError as error:
        error.add_note(f"while storing {birth.before.get('filename')!r} for {column}")
        raise


def store_late(value: DepotFileInfo) -> bool:
    """Store a pending value whose row is being written right now; return False if no session writes it."""
    owner = value.owner
    state = None if owner is None else owner[0]()
    session = None if state is None else state.session
    if owner is None or state is None or session is None:
        return False
    column = columns.columns_of_mapper(state.mapper)[owner[1]]
    slot = _Slot(state, column)
    if slot.old_unknown:
        _look_up_old(session, [slot])
    store_all(session, [(column, value)])
    return True


class Saved:
    """The objects of one ``bulk_save_objects``, for which SQLAlchemy fires no event but a rollback's.

    Args:
        session: the session that saves them; the objects themselves are in none.
        objects: new ones, and detached ones that were changed.
    """

    def __init__(self, session: Session, objects: Sequence[Any]) -> None:
        self._session = session
        self._slots = [slot for slot in _slots(objects, None) if slot.state.key is None or slot.changed]
        if not self._slots:
            return
        _look_up_old(session, self._slots)
        self._old = [slot.old if slot.state.key is not None else None for slot in self._slots]
        for slot in self._slots:
            _own_file(slot)
        store_all(session, [(slot.column, slot.value) for slot in self._slots if _is_pending(slot.value)])

    def done(self) -> None:
        """Enter what the rows name now, and what they do not name any more."""
        for slot, old in zip(self._slots, self._old if self._slots else (), strict=True):
            connection = self._session.connection(bind_arguments={"mapper": slot.state.mapper})
            _replaced(self._session, connection, old, slot.value)


def _is_pending(value: Any) -> bool:
    return isinstance(value, DepotFileInfo) and value.pending


# --- old values that nobody loaded --------------------------------------------------------------------------------


def _look_up_old(session: Session, slots: Iterable[_Slot]) -> None:
    """Read what rows hold in attributes that were replaced, or whose object is deleted, without having been loaded.

    The rows are locked, as the flush is about to change them anyway: what is read is what will be overwritten.
    """
    by_mapper: dict[Mapper[Any], dict[tuple[Any, ...], list[_Slot]]] = {}
    for slot in slots:
        if slot.old_unknown and slot.state.key is not None:
            by_mapper.setdefault(slot.state.mapper, {}).setdefault(tuple(slot.state.key[1]), []).append(slot)
    for mapper, by_key in by_mapper.items():
        connection = session.connection(bind_arguments={"mapper": mapper})
        keys = sorted(by_key)
        for start in range(0, len(keys), _BATCH):
            _look_up_batch(connection, mapper, {key: by_key[key] for key in keys[start : start + _BATCH]})


def look_up_in_flush(column: FileColumn, state: InstanceState[Any]) -> None:
    """Read what the row holds where a listener of the user's sets an attribute that nobody has loaded.

    It may do so after our ``before_flush`` and ``before_update``, the last moments at which we look. Outside of a flush
    nothing is read: those will.
    """
    session = state.session
    slot = _Slot(state, column)
    if session is None or not session._flushing or not slot.old_unknown:  # there is no public name for it
        return
    _look_up_old(session, [slot])
    # SQLAlchemy is about to enter the value as unknown, unless one is entered already.
    if not slot.changed and column.key in state.dict:
        state.committed_state[column.key] = slot.value


def _look_up_batch(connection: Connection, mapper: Mapper[Any], by_key: dict[tuple[Any, ...], list[_Slot]]) -> None:
    primary = mapper.primary_key
    wanted = {slot.column.key: slot.column for slots in by_key.values() for slot in slots}
    condition = primary[0].in_([key[0] for key in by_key]) if len(primary) == 1 else tuple_(*primary).in_(list(by_key))
    query = (
        select(*primary, *(column.column for column in wanted.values()))
        .select_from(mapper.persist_selectable)
        .where(condition)
        .order_by(*primary)
        .with_for_update()
    )
    for row in connection.execute(query):
        found = dict(zip(wanted, row[len(primary) :], strict=True))
        for slot in by_key.get(tuple(row[: len(primary)]), ()):
            slot.remember_old(found[slot.column.key])


# --- rows ---------------------------------------------------------------------------------------------------------


def _after_save(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Enter what a written row names, and what it named before."""
    state = attributes.instance_state(target)
    session = state.session
    if session is None:
        return
    before = state if state.key is not None else _row_taken_over(session, mapper, target)
    for column in columns.columns_of_mapper(mapper).values():
        slot = _Slot(state, column)
        if before is not state and column.key not in state.dict:
            continue  # SQLAlchemy leaves alone what the new object of a row does not mention: the row names it still
        if slot.changed or before is not state:
            old = None if before is None else _Slot(before, column).old
            _replaced(session, connection, old, slot.value)


def _row_taken_over(session: Session, mapper: Mapper[Any], target: Any) -> InstanceState[Any] | None:
    """Return the deleted object whose row this new one takes over, where SQLAlchemy makes one UPDATE of the two."""
    existing = session.identity_map.get(mapper.identity_key_from_instance(target))
    if existing is None or existing is target or existing not in session.deleted:
        return None
    return attributes.instance_state(existing)


def _before_update(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Look up what ``before_flush`` could not: objects that a cascade or another listener has brought in since."""
    state = attributes.instance_state(target)
    unseen = [slot for slot in _slots_of(mapper, state) if slot.changed and slot.old_unknown]
    if state.session is not None and unseen:
        _look_up_old(state.session, unseen)
        for slot in unseen:
            _own_file(slot)


def _slots_of(mapper: Mapper[Any], state: InstanceState[Any]) -> list[_Slot]:
    return [_Slot(state, column) for column in columns.columns_of_mapper(mapper).values()]


def _replaced(session: Session, connection: Connection, old: DepotFileInfo | None, new: Any) -> None:
    if old is not None and not (isinstance(new, DepotFileInfo) and new.get("path") == old.get("path")):
        _condemn(session, connection, old)
    _name(session, connection, new)


def _before_delete(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Look up what ``before_flush`` could not, for the same reason."""
    state = attributes.instance_state(target)
    if state.session is not None:
        _look_up_old(state.session, _slots_of(mapper, state))


def _after_delete(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    state = attributes.instance_state(target)
    for column in columns.columns_of_mapper(mapper).values():
        if state.session is not None:
            _condemn(state.session, connection, _Slot(state, column).old)


def _name(session: Session, connection: Connection, value: Any) -> None:
    if isinstance(value, DepotFileInfo):
        frame = frame_of(session)
        rows_written(frame, connection)
        for path in value.paths:
            frame.name(path)


def _condemn(session: Session, connection: Connection, value: Any) -> None:
    if isinstance(value, DepotFileInfo) and not value.pending:
        frame = frame_of(session)
        rows_written(frame, connection)
        for path in value.paths:
            frame.condemn(path)


# --- how transactions end -----------------------------------------------------------------------------------------


def _after_commit(session: Session) -> None:
    ledger = ledger_of(session)
    if not ledger:
        return
    savepoint = session.get_nested_transaction()
    if savepoint is None:
        frame = ledger.take(session.get_transaction())
        if frame is not None:
            _committed(frame)
        return
    frame = ledger.take(savepoint)
    if frame is not None:
        if any(outcomes.release_committed(connection) for connection in frame.rows_in):
            outcomes.committed(frame)
            return
        outer = ledger.frame(_enclosing(savepoint))
        outer.absorb(frame)
        # The savepoint is released: its rows live in the enclosing transaction of each connection from now on.
        outer.rows_in.update({connection: outcomes.innermost(connection) for connection in frame.rows_in})


def _enclosing(savepoint: SessionTransaction) -> SessionTransaction:
    outer = savepoint.parent or savepoint
    while outer.parent is not None and not outer.nested:  # a flush that is under way
        outer = outer.parent
    return outer


def _committed(frame: Frame) -> None:
    joined = [connection for connection in frame.rows_in if connection.in_transaction()]
    if joined:
        outcomes.hand_over(joined[0], frame)
    else:
        outcomes.committed(frame)


def _after_rollback(session: Session) -> None:
    ledger = ledger_of(session)
    if ledger:
        _rolled_back(ledger.take(session.get_nested_transaction() or session.get_transaction()))


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    ledger = ledger_of(session)
    if ledger:
        _rolled_back(ledger.take(transaction))


def _rolled_back(frame: Frame | None) -> None:
    if frame is None:
        return
    if any(outcomes.uncertain(connection) for connection in frame.rows_in):
        outcomes.unknown(frame, outcomes.BROKEN)
        return
    if any(outcomes.autocommits(connection) for connection in frame.rows_in):
        outcomes.unknown(frame, outcomes.AUTOCOMMIT)
        return
    joined = [each for each, transaction in frame.rows_in.items() if outcomes.lives_on(each, transaction)]
    if joined:
        # Closed without COMMIT, but the rows are in a transaction that somebody else began and may yet commit.
        outcomes.hand_over(joined[0], frame)
    else:
        outcomes.rolled_back(frame)


_MAPPER_EVENTS: Final[dict[str, Callable[..., None]]] = {
    "after_insert": _after_save,
    "before_update": _before_update,
    "after_update": _after_save,
    "before_delete": _before_delete,
    "after_delete": _after_delete,
}

_SESSION_EVENTS: Final[dict[str, Callable[..., None]]] = {
    "before_flush": _before_flush,
    "after_commit": _after_commit,
    "after_rollback": _after_rollback,
    "after_transaction_end": _after_transaction_end,
}


def track_mapper(mapper: Mapper[Any]) -> None:
    """Follow the rows of a mapper that has file attributes."""
    for name, listener in _MAPPER_EVENTS.items():
        if not event.contains(mapper, name, listener):
            event.listen(mapper, name, listener)


def track_sessions() -> None:
    """Follow all sessions; a second call does nothing."""
    for name, listener in _SESSION_EVENTS.items():
        if not event.contains(Session, name, listener):
            event.listen(Session, name, listener)
