"""How a transaction ended, and what that means for its files.

A session knows that its own COMMIT succeeded (``after_commit``) and that it rolled back. It does not know

- whether a COMMIT took effect that was sent and never answered, because the connection broke. Then nobody knows, and
  both the born and the condemned files are kept.
- when the transaction ends that it has merely joined, because it was bound to a connection which had begun already
  (test suites do that). Then the frame waits here for the connection's own COMMIT or ROLLBACK.

So each connection through which a frame wrote rows is watched (SQLAlchemy's ``ConnectionEvents``). Those events come
before the database is asked; that a COMMIT was answered is known when the connection is used again or goes back to its
pool.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, ExceptionContext

from depot_lite.fields import transfers
from depot_lite.fields.interfaces import DepotFileInfo, Pending, discard, logger
from depot_lite.ledger import Frame, Ledger
from depot_lite.manager import DepotManager

#: How many paths a `DepotManager.set_delete_later` hook is given at a time: as many as S3 deletes in one request, and
#: some 50 kB as JSON.
AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Birth:
    """Where a born file comes from: what makes its value pending again if the file goes with a rollback."""

    value: DepotFileInfo
    pending: Pending
    before: dict[str, Any]


def committed(frame: Frame) -> None:
    """Delete the condemned files, or let them be deleted later, and the sources of files that were handed over.

    A value whose file was born and condemned in the same transaction becomes pending again: its object may have been
    expunged before its row was written, and be added a second time. Never raises.
    """
    condemned, births = frame.condemned, _births(frame)
    # A token is refused as soon as its upload has gone, which COMMIT promises: that cannot wait for a queue.
    adopted = {birth.pending.adopts.path for birth in births if birth.pending.adopts is not None}
    if condemned:
        transfers.to_the_end(partial(_delete, condemned, adopted))
    gone = set(condemned)
    for birth in births:
        if birth.value.get("path") in gone:
            _make_pending(birth)
        else:
            _release(birth)


def _delete(condemned: list[str], adopted: set[str]) -> None:
    hook = DepotManager.get_delete_later()
    if hook is None:
        discard(condemned)
    else:
        discard([path for path in condemned if path in adopted])
        discard(_hand_on(hook, [path for path in condemned if path not in adopted]))


def _hand_on(hook: Callable[[list[str]], object], paths: list[str]) -> list[str]:
    """Give the paths to the hook, and return those that it did not take because it raised.

    It is not asked again then: each call might wait for a queue that is down until some timeout has passed.
    """
    for start in range(0, len(paths), AT_ONCE):
        try:
            answer = hook(paths[start : start + AT_ONCE])
            if inspect.iscoroutine(answer):  # of a lambda say, which could not be refused when it was set
                answer.close()
                raise TypeError("it returned a coroutine, which nothing awaits here")
        except Exception:  # a hook is somebody else's code
            left = paths[start:]
            logger.exception("the delete_later hook failed, so %d files are deleted here: %s ...", len(left), left[0])
            return left
    return []


def _discard(paths: list[str]) -> None:
    if paths:
        transfers.to_the_end(partial(discard, paths))


def _make_pending(birth: Birth) -> None:
    if not birth.value.pending:
        birth.value.revert(birth.pending, birth.before)


def _release(birth: Birth) -> None:
    try:
        if birth.pending.content is not None:
            birth.pending.content.release()
    except Exception as error:  # the row is committed: a source that stays behind is only untidy
        logger.error("could not remove the source of %s: %s", birth.value.get("path"), error)


def rolled_back(frame: Frame) -> None:
    """Delete the born files and make their values pending again, so that they can be flushed a second time."""
    _discard(list(frame.born))
    for birth in _births(frame):
        _make_pending(birth)


def unknown(frame: Frame, reason: str) -> None:
    """Keep all files, since nobody knows which rows there are; say why."""
    for path in {*frame.born, *frame.condemned}:
        logger.warning("kept %s, which a row may or may not name: %s", path, reason)


def _births(frame: Frame) -> list[Birth]:
    return list({id(birth): birth for birth in frame.born.values()}.values())


# --- watching connections -----------------------------------------------------------------------------------------


#: Why nobody knows, said in the log.
BROKEN: Final = "COMMIT was sent and its answer did not come through (a broken connection, or a listener that raised)"
AUTOCOMMIT: Final = "it was rolled back on a connection in AUTOCOMMIT"


class _Phase(Enum):
    OPEN = "no COMMIT was sent"
    COMMITTING = "COMMIT was sent"
    REFUSED = "COMMIT was sent and the database said no"


class _Watch:
    """What is known of one connection, and the frames that wait for its end."""

    def __init__(self) -> None:
        self.phase = _Phase.OPEN
        self.ledger = Ledger()
        # Frames of a savepoint that is being released: which transaction encloses it can be asked at the next event.
        self.released: list[Frame] = []

    def settle(self, connection: Connection) -> None:
        """Give the frames of released savepoints to the transaction that encloses them."""
        frames, self.released = self.released, []
        for frame in frames:
            self.ledger.put(innermost(connection), frame)

    def take_all(self) -> list[Frame]:
        """Remove and return every waiting frame."""
        frames, self.released = self.released, []
        taken = [self.ledger.take(transaction) for transaction in self.ledger.transactions()]
        return [*(frame for frame in taken if frame is not None), *frames]


_watches: Final[weakref.WeakKeyDictionary[Connection, _Watch]] = weakref.WeakKeyDictionary()
_engines: Final[weakref.WeakSet[Engine]] = weakref.WeakSet()
# Connections of which a COMMIT was sent while frames wait, by the id of their DBAPI connection, which is all that the
# pool tells when it gets one back.
_unanswered: Final[dict[int, _Watch]] = {}
_lock: Final = threading.Lock()


def innermost(connection: Connection) -> Any:
    """Return the savepoint or transaction of the connection in which a row written now would live."""
    return connection.get_nested_transaction() or connection.get_transaction()


def watch(connection: Connection) -> None:
    """Follow what becomes of the connection's transactions; a second call does nothing."""
    with _lock:
        if connection not in _watches:
            _watches[connection] = _Watch()
        # To the engine and not to the connection: a session has a new one for each transaction, and nine listeners cost
        # as much as the INSERT.
        if connection.engine not in _engines:
            _engines.add(connection.engine)
            for name, listener in _LISTENERS.items():
                event.listen(connection.engine, name, _if_watched(listener))
            event.listen(connection.engine, "handle_error", _on_error)
            event.listen(connection.engine, "checkin", _on_checkin)


def _if_watched(listener: Callable[..., None]) -> Callable[..., None]:
    def _of_any_connection(connection: Connection, *args: Any) -> None:
        if connection in _watches:
            listener(connection, *args)

    return _of_any_connection


def lives_on(connection: Connection, transaction: Any) -> bool:
    """Return whether rows that were written in ``transaction`` may still be committed by somebody else."""
    return not connection.closed and not connection.invalidated and transaction is not None and transaction.is_active


def uncertain(connection: Connection) -> bool:
    """Return whether a COMMIT was sent on the connection of which nobody knows what became."""
    found = _watches.get(connection)
    return found is not None and found.phase is _Phase.COMMITTING


def autocommits(connection: Connection) -> bool:
    """Return whether every statement on the connection commits by itself, so that a rollback brings nothing back."""
    level = connection.get_execution_options().get("isolation_level")
    if level is None:  # the level that create_engine() was given, which SQLAlchemy shows nowhere in public
        level = connection.engine.dialect._on_connect_isolation_level
    return level == "AUTOCOMMIT"


def release_committed(connection: Connection) -> bool:
    """Return whether the RELEASE of a savepoint was a COMMIT.

    It is where nothing had begun a transaction before: with Python's sqlite3 module, which sends BEGIN only before the
    first INSERT, UPDATE or DELETE, unless SQLAlchemy's recipe for savepoints on SQLite is followed.
    """
    if connection.dialect.driver != "pysqlite":
        return False
    sqlite: Any = connection.connection.dbapi_connection
    return not sqlite.in_transaction


def hand_over(connection: Connection, frame: Frame) -> None:
    """Let the frame wait for the end of the connection's own transaction."""
    found = _watches[connection]
    found.settle(connection)
    found.ledger.put(innermost(connection), frame)


def _on_begin(connection: Connection) -> None:
    found = _watches[connection]
    if found.phase is _Phase.COMMITTING:
        _answered(found)
    found.phase = _Phase.OPEN


def _on_commit(connection: Connection, *args: Any) -> None:
    found = _watches[connection]
    found.phase = _Phase.COMMITTING
    if found.ledger or found.released:
        _unanswered[id(connection.connection.dbapi_connection)] = found


def _on_rollback(connection: Connection, *args: Any) -> None:
    found = _watches[connection]
    for frame in found.take_all():
        rolled_back(frame)


def _on_rollback_twophase(connection: Connection, *args: Any) -> None:
    _watches[connection].phase = _Phase.OPEN  # what was prepared is given up
    _on_rollback(connection)


def _on_savepoint(connection: Connection, name: str | None) -> None:
    _watches[connection].settle(connection)


def _on_rollback_savepoint(connection: Connection, name: str, context: None) -> None:
    found = _watches[connection]
    found.settle(connection)
    frame = found.ledger.take(connection.get_nested_transaction())
    if frame is not None:
        rolled_back(frame)


def _on_release_savepoint(connection: Connection, name: str, context: None) -> None:
    found = _watches[connection]
    found.settle(connection)
    frame = found.ledger.take(connection.get_nested_transaction())
    if frame is not None:
        found.released.append(frame)


_LISTENERS: Final[dict[str, Callable[..., None]]] = {
    "begin": _on_begin,
    "commit": _on_commit,
    "rollback": _on_rollback,
    "savepoint": _on_savepoint,
    "rollback_savepoint": _on_rollback_savepoint,
    "release_savepoint": _on_release_savepoint,
    "prepare_twophase": _on_commit,
    "commit_twophase": _on_commit,
    "rollback_twophase": _on_rollback_twophase,
}


def _on_error(context: ExceptionContext) -> None:
    found = None if context.connection is None else _watches.get(context.connection)
    if found is None or found.phase is not _Phase.COMMITTING:
        return
    if _is_an_answer(context):
        found.phase = _Phase.REFUSED
        # SQLAlchemy sends no ROLLBACK after a COMMIT that was refused, so this is the last that is heard of it.
        for frame in found.take_all():
            rolled_back(frame)
    else:
        for frame in found.take_all():
            unknown(frame, BROKEN)
    for key in [key for key, each in list(_unanswered.items()) if each is found]:
        _unanswered.pop(key, None)  # nothing waits any more, and a broken connection never goes back to its pool


def _is_an_answer(context: ExceptionContext) -> bool:
    """Return whether the database said no.

    Anything but the driver's own errors was raised in here while the answer was awaited, by a signal handler say: a
    worker's time limit or Ctrl-C. The COMMIT may have taken effect all the same.
    """
    return isinstance(context.original_exception, context.dialect.loaded_dbapi.Error) and not context.is_disconnect


def _on_checkin(dbapi_connection: Any, record: Any) -> None:
    found = _unanswered.pop(id(dbapi_connection), None)
    if found is not None and found.phase is _Phase.COMMITTING:
        _answered(found)


def _answered(found: _Watch) -> None:
    for frame in found.take_all():
        committed(frame)
