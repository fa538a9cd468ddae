"""SQL as text that ends a transaction or a savepoint, or gives the name of a table to another one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from depot_lite.fields.tracking.births import Candidates
from depot_lite.fields.tracking.outcomes import notice_text
from tests.conftest import World, sqlite_engine
from tests.fields.changes import BEFORE, Change, begin, every_change, few_changes, nothing_lost, on
from tests.fields.statements import table_of
from tests.support.models import Document

ends = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])


@every_change
def test_a_savepoint_is_rolled_back(world: World, change: Change) -> None:
    begin(world)
    with world.session() as session:
        session.execute(text("SAVEPOINT here"))
        change(session)
        session.execute(text("  /* back */ ROLLBACK TO SAVEPOINT here"))
        session.commit()
    world.check(*BEFORE)


@every_change
def test_the_transaction_is_rolled_back_and_the_session_commits(world: World, change: Change) -> None:
    begin(world)
    with world.session() as session:
        change(session)
        session.execute(text("ROLLBACK"))
        session.commit()
    world.check(*BEFORE)


@every_change
def test_the_transaction_is_committed_and_the_session_rolls_back(world: World, change: Change) -> None:
    """Although the driver has begun another one meanwhile."""
    begin(world)
    with world.session() as session:
        change(session)
        session.execute(text("COMMIT"))
        session.execute(text("SELECT 1"))
        session.rollback()
    world.check(*change.leaves)


#: Statements, the dialect, and their effect: none, or a flag of the candidates.
NOTICED: dict[tuple[str, str], str | None] = {
    ("rollback", "sqlite"): "in_doubt",
    ("ROLLBACK TO x", "mariadb"): "in_doubt",
    ("ABORT", "postgresql"): "in_doubt",
    ("-- why\n  Rollback  to savepoint x", "postgresql"): "in_doubt",
    ("ROLLBACK PREPARED 'x'", "postgresql"): None,
    ("commit", "sqlite"): "ended_early",
    ("/* why */ END", "postgresql"): "ended_early",
    ("COMMIT PREPARED 'x'", "postgresql"): None,
    ("USE elsewhere", "mariadb"): "renamed",
    ("SELECT 'USE elsewhere'", "mariadb"): None,
    ("create temp table Document (id int)", "sqlite"): "renamed",
    ("CREATE OR REPLACE TEMPORARY TABLE `document` (id int)", "mariadb"): "renamed",
    ("create temp table document (id int)", "postgresql"): None,
    ("create temp table documents (id int)", "sqlite"): None,
    ("create table document (id int)", "sqlite"): None,
    ("alter table document rename to old", "postgresql"): "renamed",
    ("alter table page rename to old", "sqlite"): None,
    ("alter table document add column x int", "sqlite"): None,
    ("rename table document to old", "mariadb"): "renamed",
}


def test_statements_are_noticed() -> None:
    found: dict[tuple[str, str], str | None] = {}
    for statement, dialect in NOTICED:
        files = Candidates()
        files.condemn("default/a", files.row(table_of(Document), (1,)))
        notice_text(files, statement, dialect)
        flags = [name for name in ("in_doubt", "ended_early", "renamed") if getattr(files, name)]
        found[statement, dialect] = flags[0] if flags else None
    assert found == NOTICED


# --- names --------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(world: World) -> Iterator[Engine]:
    """An engine whose connections are used by nobody else."""
    sqlite = world.engine.dialect.name == "sqlite"
    made = sqlite_engine(str(world.engine.url.database)) if sqlite else create_engine(world.engine.url)
    begin(world)
    yield made
    made.dispose()


TEMPORARY = "CREATE TEMPORARY TABLE {} (id INTEGER PRIMARY KEY, name TEXT, content TEXT, report TEXT)"


def _go_on(session: Session, change: Change, how: str) -> None:
    if how == "savepoint":
        with session.begin_nested() as savepoint:
            change(session)
            savepoint.rollback()
    change(session)
    if how == "error":
        with pytest.raises(DBAPIError):
            session.execute(text("nonsense"))


hows = pytest.mark.parametrize("how", ["plain", "savepoint", "error"])


@on("sqlite", "mariadb")
@few_changes
@hows
@ends
def test_a_temporary_table_gets_the_name(
    world: World, own: Engine, change: Change, how: str, commit: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then the rows were those of the table that it hides."""
    with Session(own) as session:
        _go_on(session, change, how)
        session.execute(text(TEMPORARY.format("document")))
        session.execute(text(TEMPORARY.format("movie")))
        (session.commit if commit else session.rollback)()
    own.dispose()
    nothing_lost(world)
    assert sorted(world.rows().values()) == sorted(change.leaves if commit else BEFORE)
    logged = {str(each.args[0]) for each in caplog.records if isinstance(each.args, tuple) and each.args}
    assert world.stored() <= set(world.rows()) | logged


@on("mariadb")
@few_changes
@hows
@ends
def test_another_database_is_used(
    world: World, own: Engine, change: Change, how: str, commit: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It has tables of the same names, with other rows."""
    there = f"{world.engine.url.database}_there"
    with own.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {there}")
        for name in ("document", "movie"):
            connection.exec_driver_sql(f"CREATE TABLE {there}.{name} LIKE {name}")
    try:
        with Session(own) as session:
            _go_on(session, change, how)
            session.execute(text(f"USE {there}"))
            (session.commit if commit else session.rollback)()
    finally:
        own.dispose()
        with world.engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {there}")
    nothing_lost(world)
    assert sorted(world.rows().values()) == sorted(change.leaves if commit else BEFORE)
    logged = {str(each.args[0]) for each in caplog.records if isinstance(each.args, tuple) and each.args}
    assert world.stored() <= set(world.rows()) | logged


@on("sqlite", "mariadb")
def test_a_temporary_table_of_another_name(world: World, own: Engine) -> None:
    """Changes nothing."""
    with Session(own) as session:
        session.delete(session.get_one(Document, 1_000_001))
        session.flush()
        session.execute(text(TEMPORARY.format("documents_of_today")))
        session.commit()
    world.check(*BEFORE[1:])
