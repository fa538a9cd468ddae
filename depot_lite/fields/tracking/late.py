"""Late values: assigned while a flush runs, by a ``before_insert`` listener, say, after it has stored the others.

They are accepted and stored when they are bound to the statement that writes their row.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from depot_lite.fields import columns, internals
from depot_lite.fields.columns import files_in
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.tracking.flush import FLUSHING, Slot, held_now, slots_of
from depot_lite.fields.tracking.ledger import ledger_of, watch_of
from depot_lite.fields.tracking.rows import key_in, old_key_in
from depot_lite.fields.tracking.storing import store_all

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def accept_late(value: Any) -> Any:
    """Return the value for bound content that is not a value yet, as if it had been assigned to its object.

    A listener of the application may put it into the ``__dict__`` of an object whose row is being written right now. It
    is found among the objects of the flush; content that no object holds is returned as it is.
    """
    flushing = FLUSHING.get()
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
    watch, table = watch_of(session, connection), slot.table
    if slot.state.key is None:
        row = watch.candidates.enter(table, find_key=partial(key_in, slot.state, table), named=[value])
        ledger_of(session).flush.inserted.setdefault(slot.state, []).append(row)
    else:
        watch.candidates.enter(table, old_key_in(slot.state, table), named=[value], updated=True)
