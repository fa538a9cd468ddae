"""Outcomes: the database is asked how a transaction ended, and files that no row names are deleted.

Each connection through which a session wrote files has a `Watch`, with the candidates of its transaction. The question
is put on the same connection, after COMMIT or ROLLBACK has been answered and before the connection goes back to its
pool. Files are deleted when the session has given the connection back, so that no connection waits for a storage.

If the connection is broken, the question is put on another one of the same engine. If that fails too, all files stay,
are logged, and are left to maintenance.
"""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import await_only, greenlet_spawn

from depot_lite.concurrency.threads import run_to_end
from depot_lite.depots import Depots
from depot_lite.fields import internals
from depot_lite.fields.columns import paths_of
from depot_lite.fields.interfaces import logger
from depot_lite.fields.tracking import proof, transfers
from depot_lite.fields.tracking.births import Birth, Candidates, Row
from depot_lite.fields.tracking.fates import EXPLAINED_BY_OTHERS, Answer, End, fates

#: Births whose values were committed, each with the row that names it, if one does.
Committed = list[tuple[Birth, Row | None]]
_followers: Final[list[Callable[[Engine, Committed], None]]] = []


class Watch:
    """The transactions of one connection, and the files that are decided at their ends.

    ``transactions`` are those of the sessions that use the connection: files are deleted when the last of them has
    ended. A session that was bound to a connection ends before the connection's own transaction does. ``gone`` are
    births whose files were deleted after a COMMIT: objects may still show them.
    """

    def __init__(self, connection: Connection) -> None:
        self.engine = connection.engine
        self.candidates = Candidates()
        self.transactions: weakref.WeakSet[SessionTransaction] = weakref.WeakSet()
        self.gone: list[Birth] = []
        self._unanswered: list[End] = []
        self._replaced: list[str] = []
        self._unused: list[str] = []
        self._perhaps_gone: dict[str, str] = {}
        self._committed: Committed = []
        self._cancelled: asyncio.CancelledError | None = None

    def settle(self, connection: Connection, *, committed: bool, over: bool, prepared: bool = False) -> None:
        """Ask which files of the transaction that has just ended are named. Raises only interrupts.

        Args:
            connection: of the transaction.
            committed: COMMIT succeeded.
            over: the transaction has surely ended.
            prepared: it is prepared, and another program will commit or roll back: nothing can be asked yet.
        """
        ended, self.candidates = self.candidates, Candidates()
        usable = _is_usable(connection)
        if ended.rows or ended.edited:
            end = End(ended, committed, over, prepared)
            if end.asked and not prepared:
                self._unanswered.append(end)
                if usable:
                    self._undisturbed(partial(self._ask_here, connection, end))
            else:
                self._judge(end, Answer())
        # A session that is closed on a broken connection does not tell that its transaction has ended.
        for transaction in [] if usable else list(self.transactions):
            session: Session | None = transaction.session
            if session is None or session.get_transaction() is not transaction:
                self.transactions.discard(transaction)
        if not self.transactions:
            self.finish()

    def leave(self, transaction: SessionTransaction) -> None:
        """Forget a session's transaction that has ended; delete files if it was the last."""
        self.transactions.discard(transaction)
        if not self.transactions:
            self.finish()

    def finish(self) -> None:
        """Ask on another connection about ends that are unanswered, and delete files. Never raises."""
        unanswered, self._unanswered = self._unanswered, []
        for end in unanswered:
            self._undisturbed(partial(self._ask_elsewhere, end))
        replaced, self._replaced = self._replaced, []
        unused, self._unused = self._unused, []
        if replaced or unused:
            transfers.delete_at_end(replaced, unused)
        perhaps_gone, self._perhaps_gone = self._perhaps_gone, {}
        if perhaps_gone:
            transfers.after_end(partial(_log_what_stays, perhaps_gone))
        committed, self._committed = self._committed, []
        for call in _followers if committed else ():
            self._undisturbed(partial(call, self.engine, committed))
        cancelled, self._cancelled = self._cancelled, None
        if cancelled is not None:
            transfers.cancel(cancelled)

    def _undisturbed(self, call: Callable[[], None]) -> None:
        """Do something that awaits, such as a query, to its end.

        A cancellation is put off until the session has noted that its transaction is over.
        """
        if not transfers.awaiting():
            call()
            return
        try:
            await_only(run_to_end(greenlet_spawn(call)))
        except asyncio.CancelledError as error:
            transfers.uncancel()
            self._cancelled = error

    def _ask_here(self, connection: Connection, end: End) -> None:
        try:
            self._judge(end, proof.ask(internals.bare(connection), end))
            self._unanswered.remove(end)
        except Exception as error:
            logger.debug("could not ask on the connection of the transaction: %s", error)
        finally:
            # The SELECT has begun a transaction of the driver's, which SQLAlchemy does not know.
            _roll_back(connection)

    def _ask_elsewhere(self, end: End) -> None:
        try:
            with self.engine.connect() as connection:
                answer = proof.ask(connection, end)
            answer.elsewhere = True
            self._judge(end, answer)
        except Exception as error:
            for path in end.asked:
                _log_doubt(path, f"the database could not be asked: {error!r}")
            for birth in _distinct(end.candidates.births.values()):
                birth.end()

    def _judge(self, end: End, answer: Answer) -> None:
        gone: set[str] = set()
        for fate in fates(end, answer, self.engine.dialect.name):
            if fate.doubt in EXPLAINED_BY_OTHERS:
                self._perhaps_gone[fate.path] = fate.doubt
            elif fate.doubt is not None:
                _log_doubt(fate.path, fate.doubt)
            else:
                gone.add(fate.path)
                files = self._replaced if fate.replaced else self._unused
                derived = end.candidates.derived.get(fate.path, ())
                files += [fate.path, *(each for each in derived if each not in end.candidates.rows)]
        for birth in _distinct(end.candidates.births.values()):
            self._end_birth(birth, gone, committed=end.committed)
            is_kept = end.committed or str(birth.value.get("path")) in answer.named
            is_later = birth.column is not None and birth.column.type.has_later_work
            if is_later and is_kept and not birth.is_among(gone):
                rows = end.candidates.rows.get(str(birth.value.get("path")), ())
                self._committed.append((birth, end.candidates.place_of(rows)))
        for birth, row in end.candidates.edited:
            if end.committed and not birth.ended and birth.value.get("path") not in gone:
                self._committed.append((birth, end.candidates.place_of([row])))

    def _end_birth(self, birth: Birth, gone: set[str], *, committed: bool) -> None:
        birth.end()
        if birth.is_among(gone):
            birth.make_pending()
            if committed:
                self.gone.append(birth)
            return
        adopts = birth.pending.adopts
        if committed and adopts is not None:
            # COMMIT promises that the token is refused from now on, as it is once its upload is deleted. That cannot
            # wait for a queue.
            self._unused.append(adopts.path)
        _release(birth)


def _distinct(births: Iterable[Birth]) -> list[Birth]:
    return list({id(each): each for each in births}.values())


def _log_doubt(path: str, doubt: str) -> None:
    logger.warning("kept %s, which a row may or may not name: %s", path, doubt)


def _log_what_stays(doubts: Mapping[str, str]) -> None:
    """Log the files that nobody else has deleted by now."""
    for path, doubt in doubts.items():
        depot_name, _, file_id = path.partition("/")
        try:
            stays = Depots.get(depot_name).exists(file_id)
        except Exception:  # of the storage: the file may still be there
            stays = True
        if stays:
            _log_doubt(path, doubt)


def _release(birth: Birth) -> None:
    content = birth.pending.content
    try:
        if content is not None and content.move:
            content.release()
    except Exception as error:  # the row is committed: a source that stays behind is only untidy
        logger.error("could not remove the source of %s: %s", birth.value.get("path"), error)


# --- watching connections -----------------------------------------------------------------------------------------


_watches: Final[weakref.WeakKeyDictionary[Connection, Watch]] = weakref.WeakKeyDictionary()


def watch(connection: Connection) -> Watch:
    """Return the watch of a connection, which follows its transactions from now on."""
    found = _watches.get(connection)
    if found is None:
        found = _watches[connection] = Watch(connection)
        internals.follow(connection, _on_end, _on_savepoint_lost, _on_text)
    return found


def writing_session(connection: Connection) -> Session | None:
    """Return a session that writes through a connection, or None."""
    found = _watches.get(connection)
    return next((each.session for each in found.transactions), None) if found is not None else None


def _on_end(connection: Connection, commits: bool, prepared: bool, end: Callable[[], None]) -> None:
    found, sendable = _watches[connection], _is_usable(connection)
    if not commits and sendable and found.candidates.rows and _is_known_to_be_over(connection):
        found.candidates.ended_early = True
    try:
        end()
    except BaseException as error:
        # Refused, by the database or by a listener: SQLAlchemy sends no ROLLBACK after that, and SQLite's transaction
        # would stay open, for the next session of this connection to commit.
        refused = surely_failed(error) or _is_usable(connection)
        over = (not commits and not found.candidates.unanswered) or not sendable or refused
        if _is_usable(connection):
            _roll_back(connection)
        # The end of the connection proves nothing about a prepared transaction, which lives on without it.
        found.settle(connection, committed=False, over=over, prepared=prepared)
        raise
    over = not found.candidates.unanswered
    found.settle(connection, committed=commits, over=over, prepared=prepared and not sendable)


def _on_savepoint_lost(connection: Connection) -> None:
    # Savepoints of a session are told to the session, which knows their births. Of this one nothing is known.
    _watches[connection].candidates.in_doubt = True


def _on_text(connection: Connection, statement: str) -> None:
    files = _watches[connection].candidates
    if files.rows:
        notice_text(files, statement, connection.dialect.name)


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
    # The values of one row, as they were before they were bound. Only errors about the values themselves count: others
    # may come from a trigger that ran after the row was written.
    rows: Any = getattr(context.execution_context, "compiled_parameters", None) or ()
    driver = context.dialect.loaded_dbapi
    refusals = (driver.IntegrityError, getattr(driver, "DataError", driver.IntegrityError))  # aiosqlite has one
    if len(rows) == 1 and isinstance(error, refusals):
        found.candidates.refuse(path for value in rows[0].values() for path in paths_of(value))


#: SQLSTATEs of "there is no transaction" and "there is no such savepoint", which went with its transaction.
_NO_TRANSACTION: Final = {"25P01", "3B001"}


def _is_usable(connection: Connection) -> bool:
    return not connection.closed and not connection.invalidated


def _is_known_to_be_over(connection: Connection) -> bool:
    """Return whether a transaction that SQLAlchemy is about to end is known to have ended already.

    In AUTOCOMMIT each statement is a transaction. The drivers know of a ``COMMIT`` that was sent as text, and of DDL on
    MariaDB, which commits, until the next statement begins another transaction.
    """
    if internals.commits_by_itself(connection):
        return True
    try:
        driver: Any = connection.connection.driver_connection
        if hasattr(driver, "is_in_transaction"):  # asyncpg
            return not driver.is_in_transaction()
        if hasattr(driver, "in_transaction"):  # sqlite3 and aiosqlite
            return not driver.in_transaction
        if isinstance(getattr(driver, "server_status", None), int):  # PyMySQL and aiomysql
            return not driver.server_status & _SERVER_STATUS_IN_TRANS
        status = getattr(getattr(driver, "info", None), "transaction_status", None)  # psycopg
        return status is not None and int(status) == 0
    except Exception:  # of an unknown driver: ROLLBACK has to be sent anyway
        return False


#: A flag of MariaDB's client protocol.
_SERVER_STATUS_IN_TRANS: Final = 1


def _roll_back(connection: Connection) -> None:
    """Roll back on the driver's connection, past SQLAlchemy's transactions."""
    try:
        if _is_usable(connection):
            connection.dialect.do_rollback(connection.connection)
    except Exception as error:
        logger.debug("could not roll back on %r, which is given up: %s", connection, error)
        with suppress(Exception):
            connection.invalidate(error)


def surely_failed(error: BaseException) -> bool:
    """Return whether COMMIT was surely not carried out: the server has refused it, or it was never sent.

    Drivers of PostgreSQL give the server's SQLSTATE, drivers of MariaDB its number. Numbers from 2000 to 2999 are of
    the client: it could not send (2006, or 0 if the socket is closed), or got no answer (2013).
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


def follow_commits(call: Callable[[Engine, Committed], None]) -> None:
    """Call a function with the committed values of columns with variants, once the connection is back in its pool.

    It must not raise. A second call does nothing.
    """
    if call not in _followers:
        _followers.append(call)


def track_errors() -> None:
    """Notice errors of the database, after which a COMMIT may be a ROLLBACK; a second call does nothing."""
    if not event.contains(Engine, "handle_error", _on_error):
        # To the class, before there is an engine: a listener that is added to one in use breaks its other threads.
        event.listen(Engine, "handle_error", _on_error)


# --- SQL as text --------------------------------------------------------------------------------------------------


def _begins(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:{words})\b(?!\s+prepared\b)", re.IGNORECASE | re.DOTALL)


_ROLLBACK: Final = _begins("rollback|abort")
_COMMIT: Final = _begins("commit|end")
_USE: Final = _begins("use")
_TEMPORARY: Final = _begins(r"create\s+(?:or\s+replace\s+)?(?:temp|temporary)\s+(?:table|view)")
_RENAME: Final = _begins(r"alter\s+table\b.*\brename|rename\s+table")


def notice_text(files: Candidates, statement: str, dialect: str) -> None:
    """Record the effect of a statement on the transaction of these candidates.

    Args:
        files: whose rows were written, or read for writing, before.
        statement: SQL as text, or DDL, that was executed.
        dialect: the name of the database's dialect. PostgreSQL tells of several tables with one name when it is asked.
    """
    if _ROLLBACK.match(statement):
        files.in_doubt = True
    elif _COMMIT.match(statement):
        files.ended_early = True
    elif _USE.match(statement):
        files.renamed = True
    elif _RENAME.match(statement) or (dialect != "postgresql" and _TEMPORARY.match(statement)):
        files.renamed = files.renamed or _names_a_table_of(files, statement)


def _names_a_table_of(files: Candidates, statement: str) -> bool:
    names = {row.table.name for rows in files.rows.values() for row in rows}
    return any(re.search(rf"\b{re.escape(name)}\b", statement, re.IGNORECASE) for name in names)
