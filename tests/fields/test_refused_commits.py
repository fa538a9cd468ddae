"""A COMMIT that the database refuses, because a deferred foreign key is not satisfied: everything is as it was.

PostgreSQL rolls back by itself. SQLite leaves the transaction open: the next commit on the same connection would
complete it, if nobody rolled it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Engine, create_engine, event, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool, SingletonThreadPool, StaticPool

from depot_lite.io.interfaces import FileStorage
from tests.conftest import World, empty, make_sqlite, sqlite_engine
from tests.fields.changes import BEFORE, OTHER, Change, begin, every_change, few_changes
from tests.support.models import Base, Booking, Folder

#: The folder that a booking wants and that is not there.
MISSING: Final = 4711
ONE_CONNECTION: Final[dict[str, Any]] = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}


def _without_begin(path: Path, **options: Any) -> Engine:
    """Return an engine that leaves BEGIN to Python's module, as most do."""
    engine = create_engine(f"sqlite:///{path}", **options)

    @event.listens_for(engine, "connect")
    def _check_keys(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = OFF")

    return engine


@pytest.fixture
def pooled(
    request: pytest.FixtureRequest, engine: Engine, tmp_path: Path, depots: dict[str, FileStorage]
) -> Iterator[World]:
    """A world with one connection: the next session gets the one that was refused."""
    make = {"with BEGIN": sqlite_engine, "without BEGIN": _without_begin}.get(request.param)
    if make is None:
        made = create_engine(engine.url, **ONE_CONNECTION)
    else:
        make_sqlite(tmp_path / "refused.db", Base.metadata)
        made = make(tmp_path / "refused.db", **ONE_CONNECTION)
    world = World(made, depots)
    begin(world)
    yield world
    made.dispose()
    empty(engine, Base.metadata)


#: MariaDB defers no constraint.
refusing = pytest.mark.parametrize(
    ("engine", "pooled"),
    [("sqlite", "with BEGIN"), ("sqlite", "without BEGIN"), ("postgresql", "")],
    indirect=True,
)


def refused(session: Session, change: Change) -> None:
    """Do something whose COMMIT is refused, and let it be refused."""
    change(session)
    session.add(Booking(folder_id=MISSING, ticket=OTHER))
    with pytest.raises(IntegrityError):
        session.commit()


def bookings(world: World) -> int:
    """Return how many there are: none was ever committed."""
    with world.session() as session:
        return session.scalar(select(func.count()).select_from(Booking)) or 0


End = Callable[[Session], None]
every_end = pytest.mark.parametrize("end", [Session.rollback, Session.close])


@refusing
@every_change
@pytest.mark.parametrize("end", [Session.rollback, pytest.param(Session.close, marks=pytest.mark.matrix)])
def test_a_refused_commit_changes_no_file(pooled: World, change: Change, end: End) -> None:
    with pooled.session() as session:
        refused(session, change)
        end(session)
        pooled.check(*BEFORE)
    pooled.check(*BEFORE)
    assert bookings(pooled) == 0


@refusing
@few_changes
@every_end
def test_the_next_session_of_the_connection_does_not_complete_it(pooled: World, change: Change, end: End) -> None:
    """It commits the very row that was missing."""
    with pooled.session() as session:
        refused(session, change)
        end(session)
    with pooled.session() as session:
        session.add(Folder(id=MISSING))
        session.commit()
    assert bookings(pooled) == 0
    pooled.check(*BEFORE)


@refusing
@few_changes
def test_a_session_that_was_left_open_is_not_completed_by_itself(pooled: World, change: Change) -> None:
    """The application catches the error, rolls back, satisfies the key, and commits the folder alone."""
    with pooled.session() as session:
        refused(session, change)
        session.rollback()
        session.add(Folder(id=MISSING))
        session.commit()
    assert bookings(pooled) == 0
    pooled.check(*BEFORE)


@refusing
@few_changes
def test_a_second_attempt_with_the_missing_row_works(pooled: World, change: Change) -> None:
    with pooled.session() as session:
        refused(session, change)
        session.rollback()
        session.add(Folder(id=MISSING))
        change(session)
        session.add(Booking(folder_id=MISSING, ticket=OTHER))
        session.commit()
    assert bookings(pooled) == 1
    pooled.check(*change.leaves, OTHER)


@refusing
@few_changes
def test_a_refused_block_rolls_back_by_itself(pooled: World, change: Change) -> None:
    """``with session.begin()`` and nothing after it."""

    def run(session: Session) -> None:
        with session.begin():
            change(session)
            session.add(Booking(folder_id=MISSING, ticket=OTHER))

    with pooled.session() as session:
        with pytest.raises(IntegrityError):
            run(session)
        session.add(Folder(id=MISSING))
        session.commit()
    assert bookings(pooled) == 0
    pooled.check(*BEFORE)


@refusing
@few_changes
def test_a_released_savepoint_is_refused_with_the_rest(
    pooled: World, change: Change, request: pytest.FixtureRequest
) -> None:
    """Where nothing sent a BEGIN before SAVEPOINT, its RELEASE has committed it already."""
    commits = request.node.callspec.params["pooled"] == "without BEGIN"
    with pooled.session() as session:
        with session.begin_nested():
            change(session)
        refused(session, Change(lambda session: None, BEFORE))
    with pooled.session() as session:
        session.add(Folder(id=MISSING))
        session.commit()
    assert bookings(pooled) == 0
    pooled.check(*(change.leaves if commits else BEFORE))


@pytest.mark.matrix
@refusing
@few_changes
def test_three_refused_commits_in_a_row(pooled: World, change: Change) -> None:
    with pooled.session() as session:
        for _ in range(3):
            refused(session, change)
            session.rollback()
            pooled.check(*BEFORE)
        change(session)
        session.commit()
    pooled.check(*change.leaves)


# --- sessions on a connection -------------------------------------------------------------------------------------


@refusing
@few_changes
@pytest.mark.parametrize("mode", ["conditional_savepoint", "rollback_only", "create_savepoint"])
def test_a_connection_whose_commit_is_refused(
    pooled: World, change: Change, mode: Any, request: pytest.FixtureRequest
) -> None:
    """The session has committed long ago; that nothing is there is decided by the connection that it joined."""
    if mode == "create_savepoint" and request.node.callspec.params["pooled"] == "without BEGIN":
        pytest.skip("a savepoint without BEGIN before it commits when it is released")
    with pooled.engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode=mode) as session:
            change(session)
            session.add(Booking(folder_id=MISSING, ticket=OTHER))
            session.commit()
        with pytest.raises(IntegrityError):
            outer.commit()
        outer.rollback()
        with connection.begin():
            connection.execute(Folder.__table__.insert().values(id=MISSING))  # type: ignore[attr-defined]  # a Table
    assert bookings(pooled) == 0
    pooled.check(*BEFORE)


@refusing
@few_changes
def test_a_session_that_controls_the_transaction_of_its_connection(pooled: World, change: Change) -> None:
    with pooled.engine.connect() as connection:
        connection.begin()
        with Session(connection, join_transaction_mode="control_fully") as session:
            refused(session, change)
            session.rollback()
        with Session(connection) as session:
            session.add(Folder(id=MISSING))
            session.commit()
    assert bookings(pooled) == 0
    pooled.check(*BEFORE)


@refusing
@few_changes
@every_end
def test_a_session_on_a_connection_without_a_transaction(pooled: World, change: Change, end: End) -> None:
    with pooled.engine.connect() as connection:
        with Session(connection) as session:
            refused(session, change)
            end(session)
        connection.rollback()  # close() leaves the failed transaction to the connection's owner
        with Session(connection) as session:
            session.add(Folder(id=MISSING))
            session.commit()
    assert bookings(pooled) == 0
    pooled.check(*BEFORE)


# --- pools that never reset ---------------------------------------------------------------------------------------


@few_changes
@pytest.mark.parametrize("pool", [StaticPool, SingletonThreadPool])
@pytest.mark.parametrize("make", [sqlite_engine, _without_begin], ids=["with the BEGIN recipe", "without"])
def test_a_pool_that_gives_everybody_the_same_connection(
    tmp_path: Path, depots: dict[str, FileStorage], change: Change, pool: type[Any], make: Callable[..., Engine]
) -> None:
    """As databases in memory have it; one that does not even roll back returned connections."""
    make_sqlite(tmp_path / "shared.db", Base.metadata)
    engine = make(tmp_path / "shared.db", poolclass=pool, pool_reset_on_return=None)
    world = World(engine, depots)
    begin(world)
    with world.session() as session:
        refused(session, change)
    with world.session() as session:
        session.add(Folder(id=MISSING))
        session.commit()
    assert bookings(world) == 0
    world.check(*BEFORE)
    with world.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM folder")).scalar_one() == 1
    engine.dispose()
