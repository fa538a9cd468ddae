"""Two-phase commit: XA on MariaDB, prepared transactions on PostgreSQL; SQLite has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from tests.conftest import World
from tests.fields.actions import (
    ACTIONS,
    BEFORE,
    FIGURES,
    NEW,
    OTHER,
    PHOTO,
    Action,
    begin,
    documents,
    every_action,
    put,
)
from tests.support.models import Account, Booking, Document

Listen = Callable[..., None]

two_phase = pytest.mark.parametrize("engine", ["postgresql", "mariadb"], indirect=True)  # SQLite cannot


@pytest.fixture(autouse=True)
def _prepares(engine: Engine) -> None:
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            if not int(connection.scalar(text("SHOW max_prepared_transactions")) or 0):
                pytest.skip("this PostgreSQL has max_prepared_transactions = 0; those of .ci/services have more")


class Refused(Exception):
    """The error of a listener in the place of a database that cannot prepare."""


def _refuse(*args: Any) -> None:
    raise Refused


@two_phase
@every_action
def test_a_two_phase_commit_keeps_what_its_rows_name(world: World, action: Action) -> None:
    """Condemned files go once the second phase has succeeded."""
    begin(world)
    with world.session(twophase=True) as session:
        action.does(session)
        session.commit()
        world.check(*action.leaves)


@two_phase
@every_action
def test_prepared_and_committed(world: World, action: Action) -> None:
    """Between the two phases nothing is deleted: a prepared transaction may still go either way."""
    begin(world)
    stored = world.stored()
    with world.session(twophase=True) as session:
        action.does(session)
        session.prepare()
        assert stored <= world.stored()
        session.commit()
    world.check(*action.leaves)


@two_phase
@every_action
def test_prepared_and_rolled_back(world: World, action: Action) -> None:
    """The rollback of a prepared transaction takes the new files and leaves the old ones."""
    begin(world)
    with world.session(twophase=True) as session:
        action.does(session)
        session.prepare()
        session.rollback()
        world.check(*BEFORE)
        action.does(session)
        session.commit()
    world.check(*action.leaves)


@two_phase
def test_prepared_and_closed(world: World) -> None:
    """close() rolls a prepared transaction back."""
    begin(world)
    with world.session(twophase=True) as session:
        put(documents(session)[0], content=NEW)
        session.prepare()
    world.check(*BEFORE)


@two_phase
@pytest.mark.parametrize("end", [Session.rollback, Session.close])
def test_rolled_back_before_it_was_prepared(world: World, end: Callable[[Session], None]) -> None:
    """A two-phase transaction that never came to its first phase."""
    begin(world)
    with world.session(twophase=True) as session:
        put(documents(session)[0], content=NEW)
        session.flush()
        end(session)
    world.check(*BEFORE)


@two_phase
@every_action
def test_a_failure_to_prepare_is_a_rollback(world: World, action: Action, listen: Listen) -> None:
    """The first phase fails: nothing of the transaction is left, and the second attempt works."""
    begin(world)
    with world.session(twophase=True) as session:
        action.does(session)
        listen(session.connection(), "prepare_twophase", _refuse)
        with pytest.raises(Refused):
            session.commit()
        session.rollback()
    world.check(*BEFORE)
    with world.session(twophase=True) as session:
        action.does(session)
        session.commit()
    world.check(*action.leaves)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)  # MariaDB checks constraints at once
def test_a_constraint_that_fails_at_prepare_is_a_rollback(world: World) -> None:
    """PostgreSQL checks deferred constraints in the first phase. Psycopg then raises once more, while it rolls back."""
    begin(world)
    with world.session(twophase=True) as session:
        put(documents(session)[0], content=NEW)
        session.add(Booking(folder_id=4711, ticket=OTHER))
        with pytest.raises(DBAPIError):
            session.commit()
    world.check(*BEFORE)


@two_phase
def test_a_flush_that_fails_before_it_was_prepared_is_a_rollback(world: World) -> None:
    """COMMIT flushes first, and comes to no phase at all."""
    begin(world)
    with world.session(twophase=True) as session:
        put(documents(session)[0], content=NEW)
        session.add_all([Account(code="same", photo=OTHER), Account(code="same")])
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
    world.check(*BEFORE)


@two_phase
@pytest.mark.parametrize("commit", [True, False])
def test_savepoints_inside_of_a_two_phase_transaction(world: World, commit: bool) -> None:
    """They are merged and rolled back as in any other."""
    begin(world)
    with world.session(twophase=True) as session:
        with session.begin_nested():
            put(documents(session)[0], content=NEW)
        savepoint = session.begin_nested()
        session.add(Document(content=OTHER))
        session.flush()
        savepoint.rollback()
        session.prepare()
        if commit:
            session.commit()
    world.check(*(NEW, FIGURES, PHOTO) if commit else BEFORE)


# --- prepared, and then the connection broke ----------------------------------------------------------------------

#: By dialect: queries for the number of a connection, to end it, whether it is gone, and for prepared transactions.
NUMBER: Final = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT connection_id()"}
KILL: Final = {"postgresql": "SELECT pg_terminate_backend({}, 20000)", "mariadb": "KILL {}"}
GONE: Final = {
    "postgresql": "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {}",
    "mariadb": "SELECT count(*) = 0 FROM information_schema.processlist WHERE id = {}",
}
FINISH: Final = {"postgresql": "{} PREPARED '{}'", "mariadb": "XA {} '{}'"}

#: MariaDB forgets a prepared transaction that has written nothing.
WRITING: Final = ("add", "replace_and_delete", "swap_rows")
ENDS: Final[dict[str, Callable[[Session], None]]] = {
    "commit": Session.commit,
    "rollback": Session.rollback,
    "close": Session.close,
    "invalidate": Session.invalidate,
}


@pytest.fixture
def other(engine: Engine) -> Iterator[Engine]:
    """An engine of somebody else's."""
    made = create_engine(engine.url, isolation_level="AUTOCOMMIT")
    yield made
    made.dispose()


@two_phase
@pytest.mark.parametrize("action", [ACTIONS[name] for name in WRITING], ids=WRITING)
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("recovery", ["COMMIT", "ROLLBACK"])
def test_a_prepared_transaction_lives_on_without_its_connection(
    world: World,
    other: Engine,
    action: Action,
    end: Callable[[Session], None],
    recovery: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Somebody commits it later or rolls it back: until then each of its files may be named, and all stay."""
    begin(world)
    dialect = other.dialect.name
    session = world.session(twophase=True)
    action.does(session)
    session.flush()
    number = session.connection().exec_driver_sql(NUMBER[dialect]).scalar_one()
    transaction: Any = session.connection().get_transaction()
    session.prepare()
    before = world.stored()
    with other.connect() as connection:
        connection.exec_driver_sql(KILL[dialect].format(number))
        while not connection.exec_driver_sql(GONE[dialect].format(number)).scalar_one():
            pass
        with suppress(DBAPIError):
            end(session)
        with suppress(DBAPIError):
            session.close()
        assert world.stored() == before
        connection.exec_driver_sql(FINISH[dialect].format(recovery, transaction.xid))
    rows = world.rows()
    assert sorted(rows.values()) == sorted(action.leaves if recovery == "COMMIT" else BEFORE)
    logged = {str(each.args[0]) for each in caplog.records if isinstance(each.args, tuple) and each.args}
    assert world.stored() <= set(rows) | logged
