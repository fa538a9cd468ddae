"""A COMMIT that rolls back: the database has given up the transaction before, and nobody raises when it is committed.

PostgreSQL aborts a transaction at its first error, MariaDB rolls one back that was the victim of a deadlock, SQLite one
whose constraint says so. An application that catches the error and commits believes that its rows are written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Engine, create_engine, event, insert, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from depot_lite.io.interfaces import FileStorage
from tests.conftest import World, make_sqlite, sqlite_engine
from tests.fields.changes import (
    AGAIN,
    BEFORE,
    FIRST,
    OTHER,
    SECOND,
    Change,
    begin,
    changed_again,
    every_change,
    few_changes,
    on,
)
from tests.support.models import Account, Base, Document

Fails = Callable[[Session], None]


def _in_a_savepoint(session: Session, change: Change, fails: Fails) -> None:
    """Change something and catch an error inside of a savepoint, which is released."""
    with session.begin_nested():
        change(session)
        fails(session)


# --- PostgreSQL: the aborted transaction --------------------------------------------------------------------------


def _duplicate(session: Session) -> None:
    with pytest.raises(IntegrityError):
        session.execute(insert(Account), [{"code": "same"}, {"code": "same"}])


def _duplicate_file(session: Session) -> None:
    with pytest.raises(IntegrityError):
        session.execute(insert(Document).values(id=SECOND, content=OTHER))


def _division_by_zero(session: Session) -> None:
    with pytest.raises(DataError):
        session.execute(text("SELECT 1/0"))


def _statement_timeout(session: Session) -> None:
    session.execute(text("SET LOCAL statement_timeout = 1"))
    with pytest.raises(OperationalError):
        session.execute(text("SELECT pg_sleep(60)"))


def _unknown_table(session: Session) -> None:
    with pytest.raises(ProgrammingError):
        session.connection().execute(text("SELECT * FROM there_is_no_such_table"))


FAILURES: Final[dict[str, Fails]] = {
    "duplicate": _duplicate,
    "duplicate with a file": _duplicate_file,
    "division by zero": _division_by_zero,
    "statement timeout": _statement_timeout,
    "unknown table": _unknown_table,
}
every_failure = pytest.mark.parametrize("fails", FAILURES.values(), ids=FAILURES)


@on("postgresql")
@every_change
def test_a_commit_after_a_caught_error_changes_no_file(world: World, change: Change) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK: the rows name the same files as before, and nothing new is left."""
    begin(world)
    with world.session() as session:
        change(session)
        _duplicate(session)
        session.commit()
    world.check(*BEFORE)


@on("postgresql")
@few_changes
@every_failure
def test_whichever_error_it_was_that_was_caught(world: World, change: Change, fails: Fails) -> None:
    """And the session can do the same again."""
    begin(world)
    with world.session() as session:
        change(session)
        fails(session)
        session.commit()
        world.check(*BEFORE)
        change(session)
        session.commit()
    world.check(*change.leaves)


@on("postgresql")
@few_changes
def test_a_block_that_commits_at_its_end(world: World, change: Change) -> None:
    """``with session.begin()`` is a COMMIT like any other."""
    begin(world)
    with world.session() as session, session.begin():
        change(session)
        _duplicate(session)
    world.check(*BEFORE)


@on("postgresql")
@few_changes
def test_an_outer_connection_that_commits(world: World, change: Change) -> None:
    """The session has joined the transaction of its connection, and the connection commits."""
    begin(world)
    with world.engine.connect() as connection:
        with connection.begin(), Session(connection, join_transaction_mode="rollback_only") as session:
            change(session)
            _duplicate(session)
            session.commit()
        with Session(connection) as session:
            session.get_one(Document, FIRST)
    world.check(*BEFORE)


@on("postgresql")
@few_changes
def test_a_savepoint_that_was_released_before_the_error_is_gone_too(world: World, change: Change) -> None:
    begin(world)
    with world.session() as session:
        with session.begin_nested():
            change(session)
        _duplicate(session)
        session.commit()
    world.check(*BEFORE)


@on("postgresql")
@few_changes
@every_failure
def test_a_savepoint_is_rolled_back_alone_if_the_error_leaves_it(world: World, change: Change, fails: Fails) -> None:
    """The usual way to survive an error: changes outside of the savepoint are committed."""
    begin(world)

    def leave(session: Session) -> None:
        change(session)
        fails(session)
        raise ZeroDivisionError

    with world.session() as session:
        changed_again(session)
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            leave(session)
        session.commit()
    world.check(*AGAIN)


@on("postgresql")
@few_changes
@pytest.mark.parametrize("commits", [True, False], ids=["commit", "rollback"])
def test_an_error_that_is_caught_inside_of_a_savepoint(world: World, change: Change, commits: bool) -> None:
    """RELEASE is refused and says so, but nobody goes back to the savepoint: the whole transaction is aborted."""
    begin(world)
    with world.session() as session:
        changed_again(session)
        with pytest.raises(InternalError):  # InFailedSqlTransaction
            _in_a_savepoint(session, change, _duplicate)
        if commits:
            session.commit()
        else:
            session.rollback()
    world.check(*BEFORE)


@on("postgresql")
def test_a_driver_s_own_cursor_loses_nothing(world: World) -> None:
    """An error that SQLAlchemy never heard of: the rows keep their files."""
    begin(world)
    with world.session() as session:
        session.delete(session.get_one(Document, FIRST))
        session.flush()
        driver: Any = session.connection().connection.dbapi_connection
        with pytest.raises(Exception, match="division by zero"), driver.cursor() as cursor:
            cursor.execute("SELECT 1/0")
        session.commit()
    world.check(*BEFORE)


# --- MariaDB: deadlocks and lock timeouts -------------------------------------------------------------------------


@pytest.fixture
def locks(world: World) -> Iterator[None]:
    """A table of rows to lock."""
    with world.engine.begin() as connection:
        connection.execute(text("CREATE TABLE rows_to_lock (id INTEGER PRIMARY KEY, v INTEGER) ENGINE=InnoDB"))
        connection.execute(text("INSERT INTO rows_to_lock VALUES (1, 0), (2, 0)"))
    yield
    with world.engine.begin() as connection:
        connection.execute(text("DROP TABLE rows_to_lock"))


LOCK: Final = text("UPDATE rows_to_lock SET v = v + 1 WHERE id = :id")


class Deadlock:
    """Another transaction, which has done more than ours, so that ours is the victim whoever waits last."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.both_hold = threading.Barrier(2, timeout=20)

    def other(self) -> None:
        """Lock the second row, and the first one when the session has it."""
        with self.engine.connect() as connection:
            connection.execute(LOCK, {"id": 2})
            values = ", ".join(f"({number}, 0)" for number in range(100, 1100))
            connection.execute(text(f"INSERT INTO rows_to_lock VALUES {values}"))
            self.both_hold.wait()
            connection.execute(LOCK, {"id": 1})
            connection.commit()

    def __call__(self, session: Session) -> None:
        """Let the session lock the first row, and then be refused the second."""
        with ThreadPoolExecutor(1) as pool:
            session.execute(LOCK, {"id": 1})
            other = pool.submit(self.other)
            self.both_hold.wait()
            with pytest.raises(OperationalError, match="1213"):
                session.execute(LOCK, {"id": 2})
            other.result(20)


@on("mariadb")
@pytest.mark.usefixtures("locks")
@every_change
def test_a_commit_after_a_deadlock_changes_no_file(world: World, change: Change) -> None:
    """The server has rolled everything back when it says 1213; the COMMIT of an application that goes on is empty."""
    begin(world)
    with world.session() as session:
        change(session)
        Deadlock(world.engine)(session)
        session.commit()
    world.check(*BEFORE)


@on("mariadb")
@pytest.mark.usefixtures("locks")
@few_changes
def test_what_is_done_after_a_deadlock_is_committed(world: World, change: Change) -> None:
    """It is in another transaction, of which the session knows nothing."""
    begin(world)
    with world.session() as session:
        change(session)
        Deadlock(world.engine)(session)
        session.add(Document(content=OTHER))
        session.commit()
    world.check(*BEFORE, OTHER)


@on("mariadb")
@pytest.mark.usefixtures("locks")
@few_changes
def test_a_rollback_after_a_deadlock_takes_everything_back(world: World, change: Change) -> None:
    begin(world)
    with world.session() as session:
        change(session)
        Deadlock(world.engine)(session)
        session.add(Document(content=OTHER))
        session.flush()
        session.rollback()
        world.check(*BEFORE)
        change(session)
        session.commit()
    world.check(*change.leaves)


@on("mariadb")
@pytest.mark.usefixtures("locks")
@few_changes
@pytest.mark.parametrize("end", [Session.commit, Session.rollback, Session.close])
def test_a_deadlock_takes_savepoints_with_it(world: World, change: Change, end: Callable[[Session], None]) -> None:
    """There is no savepoint to release or to roll back to, and the changes before it are gone too."""
    begin(world)
    with world.session() as session:
        changed_again(session)
        with pytest.raises(OperationalError, match="1305"):
            _in_a_savepoint(session, change, Deadlock(world.engine))
        with suppress(DBAPIError):
            end(session)
    world.check(*BEFORE)


@on("mariadb")
@pytest.mark.usefixtures("locks")
@few_changes
def test_a_lock_that_is_not_had_in_time(world: World, change: Change) -> None:
    """The server rolls back the statement, or everything: the option ``innodb_rollback_on_timeout`` decides."""
    begin(world)
    with world.engine.connect() as holder, world.session() as session:
        everything = session.execute(text("SELECT @@innodb_rollback_on_timeout")).scalar_one()
        change(session)
        holder.execute(LOCK, {"id": 1})
        session.execute(text("SET SESSION innodb_lock_wait_timeout = 0"))
        with pytest.raises(OperationalError, match="1205"):
            session.execute(LOCK, {"id": 1})
        session.execute(text("SET SESSION innodb_lock_wait_timeout = DEFAULT"))
        session.commit()
    world.check(*(BEFORE if everything else change.leaves))


# --- SQLite: ON CONFLICT ROLLBACK ---------------------------------------------------------------------------------


def _without_begin(path: Path) -> Engine:
    """Return an engine that leaves BEGIN to Python's module."""
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA synchronous = OFF"))
    return engine


@pytest.fixture(params=[sqlite_engine, _without_begin], ids=["with the BEGIN recipe", "without"])
def sqlite(request: pytest.FixtureRequest, tmp_path: Path, depots: dict[str, FileStorage]) -> Iterator[World]:
    """A database with a table whose constraint ends the transaction, and with a trigger that does."""
    make_sqlite(tmp_path / "conflicts.db", Base.metadata)
    engine = request.param(tmp_path / "conflicts.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE strict (id INTEGER, code TEXT UNIQUE ON CONFLICT ROLLBACK)"))
        connection.execute(text("CREATE TABLE loose (id INTEGER, code TEXT UNIQUE)"))
        connection.execute(text("INSERT INTO strict VALUES (1, 'same')"))
        connection.execute(text("INSERT INTO loose VALUES (1, 'same')"))
        connection.execute(
            text("CREATE TRIGGER no_deletion BEFORE DELETE ON loose BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END")
        )
    world = World(engine, depots)
    begin(world)
    yield world
    engine.dispose()


CONFLICTS: Final = {
    "constraint": "INSERT INTO strict VALUES (2, 'same')",
    "statement": "INSERT OR ROLLBACK INTO loose VALUES (2, 'same')",
    "trigger": "DELETE FROM loose",
}
every_conflict = pytest.mark.parametrize("conflict", CONFLICTS.values(), ids=CONFLICTS)


def _conflict(session: Session, statement: str) -> None:
    with pytest.raises(IntegrityError):
        session.execute(text(statement))


@every_change
@pytest.mark.matrix
def test_a_commit_after_a_conflict_that_rolled_back_changes_no_file(sqlite: World, change: Change) -> None:
    """SQLite has ended the transaction, so that there is nothing that could be committed."""
    with sqlite.session() as session:
        change(session)
        _conflict(session, CONFLICTS["constraint"])
        session.commit()
    sqlite.check(*BEFORE)


@few_changes
@every_conflict
@pytest.mark.parametrize("end", [Session.commit, Session.rollback, Session.close])
@pytest.mark.matrix
def test_however_the_conflict_arose_and_the_session_ends(
    sqlite: World, change: Change, conflict: str, end: Callable[[Session], None]
) -> None:
    with sqlite.session() as session:
        change(session)
        _conflict(session, conflict)
        end(session)
        sqlite.check(*BEFORE)
        change(session)
        session.commit()
    sqlite.check(*change.leaves)


@few_changes
@pytest.mark.parametrize("end", [Session.commit, Session.rollback, Session.close])
def test_what_is_done_after_the_conflict(sqlite: World, change: Change, end: Callable[[Session], None]) -> None:
    """With the recipe each statement then commits by itself, otherwise the next one begins a transaction."""
    with sqlite.session() as session:
        change(session)
        _conflict(session, CONFLICTS["constraint"])
        session.add(Document(content=OTHER))
        session.flush()
        end(session)
    rows = sqlite.rows()
    assert set(rows) == sqlite.stored()
    assert sorted(rows.values()) in (sorted(BEFORE), sorted((*BEFORE, OTHER)))
    if end is Session.commit:
        sqlite.check(*BEFORE, OTHER)


@few_changes
@pytest.mark.parametrize("end", [Session.commit, Session.rollback, Session.close])
def test_a_conflict_takes_savepoints_with_it(sqlite: World, change: Change, end: Callable[[Session], None]) -> None:
    """There is no savepoint to release or to roll back to, and the changes before it are gone too."""
    with sqlite.session() as session:
        changed_again(session)
        with pytest.raises(OperationalError, match="no such savepoint"):
            _in_a_savepoint(session, change, lambda session: _conflict(session, CONFLICTS["constraint"]))
        with suppress(DBAPIError):
            end(session)
    sqlite.check(*BEFORE)
