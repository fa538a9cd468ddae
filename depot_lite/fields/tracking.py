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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event
from sqlalchemy.orm import Mapper, Session, attributes

from depot_lite.errors import DepotError, ValidationError
from depot_lite.fields import checks, columns, outcomes, transfers
from depot_lite.fields.adoption import Adoption, adoptions
from depot_lite.fields.columns import FileColumn, files_in, has_pending
from depot_lite.fields.interfaces import DepotFileInfo, discard
from depot_lite.fields.outcomes import Birth
from depot_lite.fields.slots import Slot, look_up_old, slots_of, slots_of_state
from depot_lite.io.interfaces import FileStorage
from depot_lite.ledger import Frame, Ledger
from depot_lite.manager import DepotManager

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import InstanceState, SessionTransaction

#: Where a session keeps its ledger: in ``session.info``.
LEDGER: Final = "depot_lite.ledger"


def ledger_of(session: Session) -> Ledger | None:
    """Return the ledger of a session, or None if it had nothing to do with files yet."""
    ledger: Ledger | None = session.info.get(LEDGER)
    return ledger


def frame_of(session: Session) -> Frame:
    """Return the frame of the innermost savepoint or transaction of a session; begins one where there is none."""
    ledger: Ledger = session.info.setdefault(LEDGER, Ledger())
    return ledger.frame(session.get_nested_transaction() or session.get_transaction() or session.begin())


def spare(session: Session, paths: Iterable[str]) -> None:
    """Let files stay that rows stopped naming in the last flush: who is not sure leaves them to the sweep."""
    frame = frame_of(session)
    for path in paths:
        frame.name(path)


def rows_written(frame: Frame, connection: Connection) -> None:
    """Enter that the frame's rows were written through this connection, so that their end is known."""
    outcomes.watch(connection)
    frame.rows_in[connection] = outcomes.innermost(connection)


# --- flush --------------------------------------------------------------------------------------------------------


def _before_flush(session: Session, context: Any, instances: Sequence[Any] | None) -> None:
    if not columns.any_type_made():
        return
    chosen = None if not instances else {id(each) for each in instances}
    living = list(slots_of([*session.new, *session.dirty], chosen))
    look_up_old(session, [slot for slot in living if slot.changed] + list(slots_of(session.deleted, chosen)))
    for slot in living:
        slot.own_files()
    store_all(session, [(slot.column, slot.value) for slot in living if has_pending(slot.value)])


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
    frame = frame_of(session)
    births = list(_births(waiting))
    try:
        workers = max((birth.value.workers for _, _, birth in births), default=1)
        transfers.side_by_side(_jobs(frame, births), workers)
    except BaseException:
        done = [birth for _, _, birth in births if not birth.value.pending]
        transfers.off_loop(partial(discard, [path for birth in done for path in birth.value.paths]))
        for birth in done:
            birth.value.revert(birth.pending, birth.before)
        raise


def _births(waiting: Sequence[tuple[FileColumn, Any]]) -> Iterator[tuple[FileColumn, int | None, Birth]]:
    """Yield what is pending, with its column and, where it is in a list, its index there."""
    for column, held in waiting:
        for index, value in enumerate(files_in(held)):
            state = value.waiting()
            if state is not None:
                yield column, index if isinstance(held, list) else None, Birth(value, *state)


def _jobs(
    frame: Frame, births: Sequence[tuple[FileColumn, int | None, Birth]]
) -> list[tuple[FileStorage, Callable[[], None]]]:
    """Return what is to be done, with the storage that it is done in; what reads the same open file is one job."""
    by_source: dict[Any, tuple[FileStorage, list[Callable[[], None]]]] = {}
    for column, index, birth in births:
        source = None if birth.pending.content is None else birth.pending.content.source
        key = id(birth) if source is None or isinstance(source, bytes | Path) else id(source)
        storage = DepotManager.get(birth.before["depot_name"])
        by_source.setdefault(key, (storage, []))[1].append(partial(_store, frame, column, index, birth))
    return [(storage, partial(_one_after_the_other, jobs)) for storage, jobs in by_source.values()]


def _one_after_the_other(jobs: Sequence[Callable[[], None]]) -> None:
    for job in jobs:
        job()


def _store(frame: Frame, column: FileColumn, index: int | None, birth: Birth) -> None:
    try:
        birth.value.store(
            column.type.filters, variants=column.type.variants, announce=lambda path: frame.bear(path, birth)
        )
    except ValidationError as error:  # found while the file was worked on: an image that breaks off, say
        error.at(str(column), birth.before.get("filename"), index)
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
    slot = Slot(state, columns.columns_of_mapper(state.mapper)[owner[1]])
    if slot.old_unknown:
        look_up_old(session, [slot])
    # With the others of its list, if it is in one: they are of this row, too.
    in_list = any(each is value for each in files_in(slot.value))
    store_all(session, [(slot.column, slot.value if in_list else value)])
    return True


class Saved:
    """The objects of one ``bulk_save_objects``, for which SQLAlchemy fires no event but a rollback's.

    Args:
        session: the session that saves them; the objects themselves are in none.
        objects: new ones, and detached ones that were changed.
    """

    def __init__(self, session: Session, objects: Sequence[Any]) -> None:
        self._session = session
        self._slots = [slot for slot in slots_of(objects, None) if slot.state.key is None or slot.changed]
        if not self._slots:
            return
        look_up_old(session, self._slots)
        self._old = [slot.old if slot.state.key is not None else None for slot in self._slots]
        for slot in self._slots:
            slot.own_files()
        store_all(session, [(slot.column, slot.value) for slot in self._slots if has_pending(slot.value)])

    def done(self) -> None:
        """Enter what the rows name now, and what they do not name any more."""
        for slot, old in zip(self._slots, self._old if self._slots else (), strict=True):
            connection = self._session.connection(bind_arguments={"mapper": slot.state.mapper})
            _replaced(self._session, connection, old, slot.value)


# --- rows ---------------------------------------------------------------------------------------------------------


def _after_save(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Enter what a written row names, and what it named before."""
    state = attributes.instance_state(target)
    session = state.session
    if session is None:
        return
    before = state if state.key is not None else _row_taken_over(session, mapper, target)
    for column in columns.columns_of_mapper(mapper).values():
        slot = Slot(state, column)
        # An UPDATE leaves alone what was not assigned, even where a new object takes over the row of another: the row
        # names it still. An INSERT writes what there is.
        if slot.changed or before is None:
            old = None if before is None else Slot(before, column).old
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
    unseen = [slot for slot in slots_of_state(mapper, state) if slot.changed and slot.old_unknown]
    if state.session is not None and unseen:
        look_up_old(state.session, unseen)
        for slot in unseen:
            slot.own_files()


def _replaced(session: Session, connection: Connection, old: Any, new: Any) -> None:
    kept = {value.get("path") for value in files_in(new)}
    _condemn(session, connection, [value for value in files_in(old) if value.get("path") not in kept])
    _name(session, connection, files_in(new))


def _before_delete(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Look up what ``before_flush`` could not, for the same reason."""
    state = attributes.instance_state(target)
    if state.session is not None:
        look_up_old(state.session, slots_of_state(mapper, state))


def _after_delete(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    state = attributes.instance_state(target)
    for column in columns.columns_of_mapper(mapper).values():
        if state.session is not None:
            _condemn(state.session, connection, files_in(Slot(state, column).old))


def _name(session: Session, connection: Connection, values: Sequence[DepotFileInfo]) -> None:
    if values:
        frame = frame_of(session)
        rows_written(frame, connection)
        for value in values:
            for path in value.paths:
                frame.name(path)


def _condemn(session: Session, connection: Connection, values: Sequence[DepotFileInfo]) -> None:
    stored = [value for value in values if not value.pending]
    if stored:
        frame = frame_of(session)
        rows_written(frame, connection)
        for value in stored:
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
            _condemn_adopted(frame)
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


def _condemn_adopted(frame: Frame) -> None:
    """Condemn the uploads of which rows have copies now, so that nobody adopts them a second time."""
    copies = {path: birth.pending.adopts for path, birth in frame.born.items() if birth.pending.adopts is not None}
    if copies:
        for path in copies.keys() - set(frame.condemned):
            frame.condemn(copies[path].path)


def _committed(frame: Frame) -> None:
    _condemn_adopted(frame)
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
