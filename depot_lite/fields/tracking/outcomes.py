"""How transactions end: the database is asked which files rows name, and what none of them names is deleted.

Each connection through which a session wrote files has a `Watch`, with the candidates of its transaction. When COMMIT
or ROLLBACK has been answered, and before the connection goes back to its pool, it is asked on the same connection.
Files are deleted later, when the session has given the connection back, so that no connection waits for a storage.

A question that cannot be asked on its connection, because that is broken, is asked on another one of the same engine.
If that fails too, all files stay, which is logged, and are left to maintenance.
"""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, SessionTransaction

from depot_lite.depots import Depots
from depot_lite.fields import internals
from depot_lite.fields.columns import paths_of
from depot_lite.fields.interfaces import discard, logger
from depot_lite.fields.tracking import proof, transfers
from depot_lite.fields.tracking.births import Birth, Candidates, Row

#: How many paths a `DepotManager.set_delete_later` hook is given at a time: as many as S3 deletes in one request, and
#: some 50 kB as JSON.
AT_ONCE: Final = 1000


@dataclass(eq=False)
class _End:
    """The end of one transaction.

    ``committed`` says that COMMIT succeeded. ``over`` says that the transaction is surely over: it is not if COMMIT was
    sent and never answered, as it may still arrive.
    """

    candidates: Candidates
    committed: bool
    over: bool


class Watch:
    """What is known of the transactions of one connection.

    ``parties`` are the sessions' transactions that use it: files are deleted when the last of them has ended. A session
    that was bound to a connection ends before the connection's own transaction does.
    """

    def __init__(self, connection: Connection) -> None:
        self.engine = connection.engine
        self.candidates = Candidates()
        self.parties: weakref.WeakSet[SessionTransaction] = weakref.WeakSet()
        #: Births that came to nothing although objects may still show them: their transaction was committed.
        self.gone: list[Birth] = []
        self._unanswered: list[_End] = []
        self._condemned: list[str] = []
        self._unwanted: list[str] = []
        self._cancelled: asyncio.CancelledError | None = None

    def settle(self, connection: Connection, *, committed: bool, over: bool) -> None:
        """Ask what became of the files of a transaction that has just ended. Raises nothing but what interrupts it."""
        ended, self.candidates = self.candidates, Candidates()
        if ended:
            self._unanswered.append(_End(ended, committed, over))
            if _is_usable(connection):
                self._undisturbed(partial(self._settle, connection, self._unanswered[-1]))
        # A session that is closed on a broken connection does not tell that its transaction has ended.
        for party in [] if _is_usable(connection) else list(self.parties):
            session: Session | None = party.session
            if session is None or session.get_transaction() is not party:
                self.parties.discard(party)
        if not self.parties:
            self.finish()

    def leave(self, party: SessionTransaction) -> None:
        """Take a session's transaction that has ended; delete what there is to delete if it was the last."""
        self.parties.discard(party)
        if not self.parties:
            self.finish()

    def _undisturbed(self, call: Callable[[], None]) -> None:
        """Do something to its end: the transaction is over, which its session has to note before it is cancelled."""
        try:
            transfers.undisturbed(call)
        except asyncio.CancelledError as error:
            transfers.uncancel()
            self._cancelled = error

    def _settle(self, connection: Connection, end: _End) -> None:
        try:
            asked = end.candidates.to_ask(committed=end.committed)
            answer = _answer(internals.bare(connection), end, asked) if asked else proof.Answer()
            self._decide(end, asked, answer, is_postgresql=connection.dialect.name == "postgresql")
            self._unanswered.remove(end)
        except Exception as error:
            logger.debug("could not ask on the connection of the transaction: %s", error)
        finally:
            # A SELECT has begun a transaction of the driver's, of which SQLAlchemy does not know.
            _roll_back(connection)

    def _decide(self, end: _End, asked: Mapping[str, object], answer: proof.Answer, *, is_postgresql: bool) -> None:
        for path in end.candidates.rows:
            if path not in asked:
                birth = end.candidates.births.get(path)
                if not (end.committed and birth is not None and birth.bound):  # else a row that was inserted names it
                    self._unwanted.append(path)
            elif path not in answer.named:
                is_new = path in end.candidates.births or path in end.candidates.lost
                reason = _reason_to_keep_new(path, end, answer) if is_new else None
                if not is_new:
                    reason = _reason_to_keep_old(path, end, answer, is_postgresql=is_postgresql)
                if reason is not None:
                    _keep(path, reason)
                elif end.committed and path not in end.candidates.lost:
                    self._condemned.append(path)
                else:
                    self._unwanted.append(path)
        gone = {*self._condemned, *self._unwanted}
        for birth in _distinct(end.candidates.births.values()):
            self._end_birth(birth, gone, committed=end.committed)

    def _end_birth(self, birth: Birth, gone: set[str], *, committed: bool) -> None:
        birth.end()
        if not gone.isdisjoint(birth.paths):
            birth.make_pending()
            if committed:
                self.gone.append(birth)
            return
        adopts = birth.pending.adopts
        if committed and adopts is not None:
            # A token is refused as soon as its upload has gone, which COMMIT promises: that cannot wait for a queue.
            self._unwanted.append(adopts.path)
        _release(birth)

    def finish(self) -> None:
        """Ask what is still unanswered on another connection, and delete files. Never raises."""
        unanswered, self._unanswered = self._unanswered, []
        for end in unanswered:
            self._undisturbed(partial(self._settle_elsewhere, end))
        condemned, self._condemned = self._condemned, []
        unwanted, self._unwanted = self._unwanted, []
        if condemned or unwanted:
            delete_at_end(condemned, unwanted)
        cancelled, self._cancelled = self._cancelled, None
        if cancelled is not None:
            transfers.cancel(cancelled)

    def _settle_elsewhere(self, end: _End) -> None:
        asked: Mapping[str, Iterable[Row]] = end.candidates.rows
        try:
            asked = end.candidates.to_ask(committed=end.committed)
            with self.engine.connect() as connection:
                answer = _answer(connection, end, asked)
            self._decide(end, asked, answer, is_postgresql=self.engine.dialect.name == "postgresql")
        except Exception as error:
            for path in asked:
                _keep(path, f"the database could not be asked: {error!r}")
            for birth in _distinct(end.candidates.births.values()):
                birth.end()


def _reason_to_keep_new(path: str, end: _End, answer: proof.Answer) -> str | None:
    """Return why a file that the transaction has stored stays although no row was found that names it."""
    files = end.candidates
    if not end.over:
        return "the connection broke while COMMIT was awaited, which may still take effect"
    if not end.committed and not files.ended_early:
        return None
    if path in answer.ambiguous:
        return "several schemas have its table, and the search_path may have been another one"
    if not end.committed:
        return None
    if files.in_doubt or path in files.lost or path in files.condemned or path in files.doubtful:
        return None
    if not files.deleted.isdisjoint(files.rows[path]):
        return "row-level security, or a view, may hide its row" if answer.hidden else None
    # The row was updated, and COMMIT succeeded. If it names again what it named before, a trigger has put that back. If
    # it names another file that this transaction has given to it, that one came later. If it is not found, or names
    # unknown files, something that nobody knows of has changed its key, and another row has that key now.
    known = files.condemned | files.births.keys()
    for row in files.rows[path]:
        found = None if row.key is None else answer.found.get((row.table, row.schemas, row.key))
        if found and (found == row.before or any(row in files.rows.get(each, ()) for each in found & known)):
            return None
    return "its row was not found again, or names another file"


def _reason_to_keep_old(path: str, end: _End, answer: proof.Answer, *, is_postgresql: bool) -> str | None:
    """Return why a file stays that a row has named before the transaction, although no row was found that names it."""
    if path in answer.absent and answer.hidden:
        return "row-level security, or a view, may hide its row"
    if end.committed and path in answer.ambiguous and end.candidates.in_doubt:
        return "several schemas have its table, and the search_path may have been another one"
    if end.committed:
        return None
    # Whether something is known to have been committed, by whatever.
    if end.candidates.ended_early or not end.candidates.births.keys().isdisjoint(answer.named):
        return None
    if path in answer.ambiguous:
        return "several schemas have its table, and the search_path may have been another one"
    if is_postgresql and path in answer.absent:
        return "its row is not there after a rollback, and nothing tells of a COMMIT before"
    return None


def _answer(connection: Connection, end: _End, asked: Mapping[str, Iterable[Row]]) -> proof.Answer:
    answer = proof.ask(connection, asked)
    files = end.candidates
    if files.ended_early:
        # What was committed before the rollback is there, under whatever key it may have got since.
        answer.named |= _named_anywhere(connection, asked, asked.keys() - answer.named)
    elif not end.committed or files.in_doubt:
        # After a rollback a row that had named a file names it again. One that is not found has gone by a COMMIT that
        # nobody knows of, or has a key that nobody knows of: it is looked for everywhere before its file is given up.
        unwritten = {
            path
            for path in files.births
            if not (end.committed and any(row.written for row in files.rows.get(path, ())))
        }
        answer.named |= _named_anywhere(connection, asked, answer.absent - files.lost - unwritten)
    return answer


def _named_anywhere(connection: Connection, asked: Mapping[str, Iterable[Row]], paths: Iterable[str]) -> set[str]:
    """Look for files in all rows of the tables that may name them."""
    anywhere = {path: [Row(row.table, None, row.schemas) for row in asked[path]] for path in paths}
    return proof.ask(connection, anywhere).named


def _distinct(births: Iterable[Birth]) -> list[Birth]:
    return list({id(each): each for each in births}.values())


def _keep(path: str, reason: str) -> None:
    logger.warning("kept %s, which a row may or may not name: %s", path, reason)


def _release(birth: Birth) -> None:
    try:
        if birth.pending.content is not None:
            birth.pending.content.release()
    except Exception as error:  # the row is committed: a source that stays behind is only untidy
        logger.error("could not remove the source of %s: %s", birth.value.get("path"), error)


# --- deleting -----------------------------------------------------------------------------------------------------


def delete_at_end(condemned: list[str], unwanted: list[str]) -> None:
    """Delete files at the end of a transaction. Never raises: what cannot be deleted is logged."""
    try:
        transfers.to_the_end(partial(_delete, condemned, unwanted))
    except BaseException as error:  # an executor that is shut down, say, or an interrupt in the middle
        logger.exception(
            "up to %d files are left to maintenance: %s ...", len(condemned) + len(unwanted), [*condemned, *unwanted][0]
        )
        if not isinstance(error, Exception):
            raise


def _delete(condemned: list[str], unwanted: list[str]) -> None:
    hook = Depots.get_delete_later()
    if hook is not None:
        condemned = _hand_on(hook, condemned)
    discard([*condemned, *unwanted])


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


# --- watching connections -----------------------------------------------------------------------------------------


_watches: Final[weakref.WeakKeyDictionary[Connection, Watch]] = weakref.WeakKeyDictionary()


def watch(connection: Connection) -> Watch:
    """Return the watch of a connection, which follows its transactions from now on."""
    found = _watches.get(connection)
    if found is None:
        found = _watches[connection] = Watch(connection)
        internals.follow(connection, _on_end, _on_savepoint_lost)
    return found


def writing_session(connection: Connection) -> Session | None:
    """Return a session that writes through a connection; None if none does."""
    found = _watches.get(connection)
    return next((party.session for party in found.parties), None) if found is not None else None


def _on_end(connection: Connection, commits: bool, end: Callable[[], None]) -> None:
    found, sendable, prepared = _watches[connection], _is_usable(connection), _is_twophase(connection)
    if not commits and sendable and found.candidates and internals.is_known_to_be_over(connection):
        found.candidates.ended_early = True
    try:
        end()
    except BaseException as error:
        # Refused, by the database or by a listener: SQLAlchemy sends no ROLLBACK after that, and SQLite's transaction
        # would stay open, for the next session of this connection to commit.
        refused = is_answer(error) or (_is_usable(connection) and not prepared)
        over = (not commits and not found.candidates.unanswered) or not sendable or refused
        if _is_usable(connection):
            _roll_back(connection)
        found.settle(connection, committed=False, over=over)
        raise
    # What was prepared lives on without its connection, and may be committed by anybody.
    over = (sendable or not prepared) and not found.candidates.unanswered
    found.settle(connection, committed=commits, over=over)


def _on_savepoint_lost(connection: Connection) -> None:
    # The session's own savepoints tell their session, which knows what was born in them; of others nobody does.
    _watches[connection].candidates.in_doubt = True


def _on_error(context: ExceptionContext) -> None:
    error: Any = context.original_exception
    internals.restore_error(error)
    found = None if context.connection is None else _watches.get(context.connection)
    if found is None:
        return
    found.candidates.in_doubt = True
    if getattr(error, "sqlstate", None) in _NO_TRANSACTION:
        found.candidates.ended_early = True
    if context.is_disconnect and context.connection is not None and internals.commits_by_itself(context.connection):
        found.candidates.unanswered = True
    # The values of one row, before they were bound; refused for what they are, and by nothing that came after them.
    rows: Any = getattr(context.execution_context, "compiled_parameters", None) or ()
    driver = context.dialect.loaded_dbapi
    refusals = (driver.IntegrityError, getattr(driver, "DataError", driver.IntegrityError))  # aiosqlite has one
    if len(rows) == 1 and isinstance(error, refusals):
        found.candidates.refuse(path for value in rows[0].values() for path in paths_of(value))


#: SQLSTATEs of "there is no transaction" and "there is no such savepoint", which went with its transaction.
_NO_TRANSACTION: Final = {"25P01", "3B001"}


def _is_usable(connection: Connection) -> bool:
    return not connection.closed and not connection.invalidated


def _is_twophase(connection: Connection) -> bool:
    transaction = connection.get_transaction()
    return transaction is not None and hasattr(transaction, "xid")


def _roll_back(connection: Connection) -> None:
    """Roll back what the driver has begun, without SQLAlchemy's transactions."""
    try:
        if _is_usable(connection):
            connection.dialect.do_rollback(connection.connection)
    except Exception as error:
        logger.debug("could not roll back on %r, which is given up: %s", connection, error)
        with suppress(Exception):
            connection.invalidate(error)


def is_answer(error: BaseException) -> bool:
    """Return whether COMMIT was surely not carried out: the server has refused it, or it was never sent.

    The drivers of PostgreSQL have the server's SQLSTATE, and those of MariaDB its number. Numbers from 2000 to 2999 are
    of the client: 2006, or 0 where there is no socket any more, if it could not send, and 2013 if no answer came.
    """
    original: Any = error.orig if isinstance(error, DBAPIError) else None
    if original is None:
        return False
    if getattr(original, "sqlstate", None) or getattr(original, "pgcode", None):
        return True
    number = original.args[0] if original.args else None
    if not isinstance(number, int) or isinstance(number, bool):
        return False
    return number in (0, 2006) or (number >= 1000 and not 2000 <= number < 3000)


def track_errors() -> None:
    """Notice errors of the database, after which a COMMIT may be a ROLLBACK; a second call does nothing."""
    if not event.contains(Engine, "handle_error", _on_error):
        # To the class, before there is an engine: a listener that is added to one in use breaks its other threads.
        event.listen(Engine, "handle_error", _on_error)
