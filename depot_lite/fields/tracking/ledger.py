"""The ledger of a session: the births in each of its savepoints, and the connections through which it writes.

Events do not tell how a transaction ended; the database does (`depot_lite.fields.tracking.outcomes`). The events of a
session say only which values become pending again, and when its connections are back in their pools, so that files
may be deleted::

    after_commit            of a savepoint: its births become those of the enclosing transaction
    after_rollback          of a savepoint: the values that were born in it become pending again
    after_transaction_end   files are deleted
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event
from sqlalchemy.orm import Session, attributes

from depot_lite.fields import columns, internals
from depot_lite.fields.columns import files_in
from depot_lite.fields.tracking import outcomes
from depot_lite.fields.tracking.births import Birth
from depot_lite.fields.tracking.outcomes import Watch
from depot_lite.fields.tracking.rows import Flush
from depot_lite.fields.tracking.transfers import delete_at_end

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import SessionTransaction

#: Where a session keeps its ledger: in ``session.info``.
LEDGER: Final = "depot_lite.ledger"


class Ledger:
    """The files of a session in one transaction.

    ``root`` is this transaction. ``frames`` are the births of each open savepoint, and of the transaction itself.
    ``unbound`` are files that were stored and never given to the database.
    """

    def __init__(self, session: Session, root: SessionTransaction) -> None:
        self.session = session
        self.root = root
        self.frames: dict[SessionTransaction, list[Birth]] = {}
        self.watches: set[Watch] = set()
        self.unbound: list[str] = []
        self.flush = Flush()

    def lose(self, births: Iterable[Birth]) -> None:
        """Make values pending again whose savepoint was rolled back, or that were never bound."""
        for birth in births:
            for watch in self.watches:
                watch.candidates.lose(birth)
            if not birth.bound:
                self.unbound += birth.paths
            birth.end()
            birth.make_pending()

    def end(self) -> None:
        """Delete the files whose fate is decided, once the transaction has ended."""
        for watch in self.watches:
            watch.leave(self.root)
            if watch.gone:
                _expire_values_of(self.session, watch.gone, pending=True)
        self.lose([birth for births in self.frames.values() for birth in births if not birth.bound and not birth.ended])
        if self.unbound:
            delete_at_end([], self.unbound)


def _known_ledger(session: Session) -> Ledger | None:
    """Return the ledger of a session, or None; ``Session(info=other.info)`` copies the ledger of another session."""
    found: Ledger | None = session.info.get(LEDGER)
    return found if found is not None and found.session is session else None


def ledger_of(session: Session) -> Ledger:
    """Return the ledger of a session's transaction, a new one if it has none yet.

    A transaction is begun if the session has none.

    Raises:
        InvalidRequestError: the session was made with ``autobegin=False``, and none was begun.
    """
    found, root = _known_ledger(session), session.get_transaction() or internals.begin(session)
    if found is not None and found.root is not root:
        # A listener that was told of its end before ours has begun another transaction, or has raised.
        found.end()
        found = None
    if found is None:
        found = session.info[LEDGER] = Ledger(session, root)
        internals.listen_first(session, _AT_END)
    return found


def frame_of(session: Session) -> list[Birth]:
    """Return the births of the innermost savepoint or transaction of a session; begin a transaction if needed."""
    savepoint, ledger = session.get_nested_transaction(), ledger_of(session)
    if savepoint is not None:
        internals.listen_first(session, _OF_SAVEPOINTS)
    return ledger.frames.setdefault(savepoint or ledger.root, [])


def watch_of(session: Session, connection: Connection) -> Watch:
    """Return the watch of a connection through which the session is about to write."""
    ledger, watch = ledger_of(session), outcomes.watch(connection)
    watch.candidates.options = connection.get_execution_options()
    watch.transactions.add(ledger.root)
    ledger.watches.add(watch)
    return watch


def spare(session: Session, paths: Iterable[str]) -> None:
    """Keep files that rows stopped naming in the last flush; in case of doubt they are left to the sweep."""
    for watch in ledger_of(session).watches:
        for path in paths:
            watch.candidates.spare(path)


# --- how transactions end -----------------------------------------------------------------------------------------


def _after_commit(session: Session) -> None:
    found = _known_ledger(session)
    savepoint = session.get_nested_transaction() if found is not None else None
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
    found = _known_ledger(session)
    savepoint = session.get_nested_transaction() if found is not None else None
    if found is not None and savepoint is not None:
        _lose(session, found, savepoint)


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    found = _known_ledger(session)
    if found is None:
        return
    if transaction.nested:
        _lose(session, found, transaction)
    elif transaction.parent is None and found.root is not session.get_transaction():
        del session.info[LEDGER]
        found.end()


def _lose(session: Session, found: Ledger, savepoint: SessionTransaction) -> None:
    births = found.frames.pop(savepoint, None)
    if births:
        found.lose(births)
        _expire_values_of(session, births)


def _expire_values_of(session: Session, births: Sequence[Birth], *, pending: bool = False) -> None:
    """Let no object show files that have gone. SQLAlchemy expires only attributes that a flush wrote, at a rollback.

    Args:
        session: with the objects.
        births: of the files.
        pending: also where objects hold the values themselves, which are pending again: after a COMMIT that has not
            written them, no flush would.
    """
    paths = {path for birth in births for path in birth.paths}
    values = {id(birth.value) for birth in births} if pending else ()
    for target in session.identity_map.values():
        for key in columns.columns_of_mapper(attributes.instance_state(target).mapper):
            held = attributes.instance_dict(target).get(key)
            if any(id(each) in values or not paths.isdisjoint(each.paths) for each in files_in(held)):
                session.expire(target, [key])


# The listeners are those of the single session: a listener of all sessions costs those without files, too. They come
# before the session's others, which may begin another transaction; only those of its class come earlier.
_AT_END: Final = {"after_transaction_end": _after_transaction_end}
_OF_SAVEPOINTS: Final = {"after_commit": _after_commit, "after_rollback": _after_rollback}


def listen(target: Any, listeners: Mapping[str, Callable[..., None]]) -> None:
    """Add listeners to a target that does not have them yet."""
    for name, listener in listeners.items():
        if not event.contains(target, name, listener):
            event.listen(target, name, listener)
