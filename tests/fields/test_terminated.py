"""Connections that the server ends, and says so: an administrator wants it, or the transaction was idle too long.

A transaction that the server ended without COMMIT is rolled back; its SQLSTATE is the proof, even as answer to COMMIT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from tests.conftest import World
from tests.fields.changes import BEFORE, FIRST, Change, begin, every_change, few_changes, nothing_lost, on
from tests.support.models import Document

Terminate = Callable[[Session], None]

#: pg_terminate_backend waits until the process is gone.
TERMINATE: Final = text("SELECT pg_terminate_backend(:id, 20000)")
GONE: Final = text("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = :id")


@pytest.fixture
def other(world: World) -> Iterator[Engine]:
    """An engine of somebody else's."""
    engine = create_engine(world.engine.url, isolation_level="AUTOCOMMIT")
    begin(world)
    yield engine
    engine.dispose()


@pytest.fixture
def terminate(other: Engine) -> Terminate:
    """Something that ends the connection of a session."""

    def end(session: Session) -> None:
        if other.dialect.name == "postgresql":
            number = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with other.connect() as connection:
                assert connection.execute(TERMINATE, {"id": number}).scalar_one()
        else:
            number = session.execute(text("SELECT connection_id()")).scalar_one()
            with other.connect() as connection:
                connection.execute(text(f"KILL {number}"))

    return end


@on("postgresql", "mariadb")
@every_change
@pytest.mark.parametrize("end", [Session.rollback, Session.close], ids=["rollback", "close"])
def test_a_session_whose_connection_was_ended_leaves_nothing(
    world: World, terminate: Terminate, change: Change, end: Callable[[Session], None]
) -> None:
    """It hears of it when it ends by itself, or never."""
    with world.session() as session:
        change(session)
        terminate(session)
        with suppress(DBAPIError):  # the ROLLBACK finds no server either
            end(session)
    world.check(*BEFORE)


@on("postgresql", "mariadb")
@few_changes
def test_the_next_statement_hears_of_it(world: World, terminate: Terminate, change: Change) -> None:
    """And the session can do the same again, on another connection."""
    with world.session() as session:
        change(session)
        terminate(session)
        with pytest.raises(DBAPIError) as caught:
            session.execute(text("SELECT 1"))
        assert caught.value.connection_invalidated
        session.rollback()
        world.check(*BEFORE)
        change(session)
        session.commit()
    world.check(*change.leaves)


@on("postgresql")
@every_change
def test_the_commit_hears_of_it_from_the_server(world: World, terminate: Terminate, change: Change) -> None:
    """57P01 says that the transaction was ended without COMMIT: nothing is in doubt, and nothing is left."""
    with world.session() as session:
        change(session)
        terminate(session)
        with pytest.raises(OperationalError) as caught:
            session.commit()
        error: Any = caught.value.orig
        assert error.sqlstate == "57P01"
        session.rollback()
    world.check(*BEFORE)


@on("mariadb")
@every_change
def test_the_commit_hears_nothing_but_that_the_line_is_dead(world: World, terminate: Terminate, change: Change) -> None:
    """MariaDB says nothing that could be trusted: no row loses its file, and none is there that was not before."""
    with world.session() as session:
        change(session)
        terminate(session)
        with pytest.raises(OperationalError):
            session.commit()
        session.rollback()
    assert sorted(world.rows().values()) == sorted(BEFORE)
    nothing_lost(world)


ENDINGS: Final[dict[str, Callable[[Session], Any]]] = {
    "statement": lambda session: session.execute(text("SELECT 1")),
    "commit": Session.commit,
    "rollback": Session.rollback,
}


@on("postgresql")
@few_changes
@pytest.mark.parametrize("ends", ENDINGS.values(), ids=ENDINGS)
def test_a_transaction_that_was_idle_too_long(
    world: World, other: Engine, change: Change, ends: Callable[[Session], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """25P03, which an application meets that uploads slowly inside of a transaction.

    At COMMIT the line may break before the server's word is read; then the new file is kept, and the log says so.
    """
    with world.session() as session:
        change(session)
        number = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 1"))
        with other.connect() as connection:
            while not connection.execute(GONE, {"id": number}).scalar_one():
                pass
        with pytest.raises(DBAPIError):
            ends(session)
        session.close()
        kept = {str(record.args[0]) for record in caplog.records if isinstance(record.args, tuple) and record.args}
        assert world.stored() == set(world.rows()) | kept
        assert sorted(world.rows().values()) == sorted(BEFORE)
        session.get_one(Document, FIRST)


@on("postgresql", "mariadb")
@few_changes
def test_an_outer_connection_that_was_ended(world: World, terminate: Terminate, change: Change) -> None:
    """The session has committed; the connection that it had joined is ended before its COMMIT."""
    with world.engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="rollback_only") as session:
            change(session)
            terminate(session)
            session.commit()
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT 1"))
        outer.rollback()
    world.check(*BEFORE)


@on("postgresql", "mariadb")
@few_changes
def test_a_savepoint_of_a_connection_that_was_ended(world: World, terminate: Terminate, change: Change) -> None:
    def run(session: Session) -> None:
        with session.begin_nested():
            change(session)
            terminate(session)

    with world.session() as session:
        session.add(Document(content=b"before the savepoint"))
        with pytest.raises(DBAPIError):
            run(session)
        session.rollback()
    world.check(*BEFORE)
