"""Settings of a connection that change what its SELECTs answer: the library's questions are answered in full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, delete, event, make_url, text, update
from sqlalchemy.orm import Session

from depot_lite.fields.tracking.proof import circumstances
from tests.conftest import World
from tests.fields.changes import BEFORE, NEW, Change, begin, every_change, few_changes, on
from tests.fields.statements import table_of
from tests.support.models import Document

ends = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])


@pytest.fixture
def own(world: World) -> Iterator[Engine]:
    """An engine whose connections keep their settings to themselves."""
    made = create_engine(world.engine.url)
    begin(world)
    yield made
    made.dispose()


@on("mariadb")
@every_change
@ends
@pytest.mark.parametrize("limit", [0, 1])
def test_sql_select_limit_between_flush_and_end(
    world: World, own: Engine, change: Change, commit: bool, limit: int
) -> None:
    with Session(own) as session:
        with session.begin_nested() as savepoint:
            change(session)
            savepoint.rollback()
        change(session)
        session.execute(text(f"SET sql_select_limit = {limit}"))
        (session.commit if commit else session.rollback)()
    world.check(*change.leaves if commit else BEFORE)


@on("mariadb")
def test_sql_select_limit_before_statements(world: World, own: Engine) -> None:
    """They write all rows that match."""
    with Session(own) as session:
        session.execute(text("SET sql_select_limit = 1"))
        session.execute(update(Document).values(content=NEW))
        session.commit()
    world.check(NEW, NEW, *BEFORE[2:])
    with Session(own) as session:
        session.execute(text("SET sql_select_limit = 1"))
        session.execute(delete(Document))
        session.commit()
    world.check(*BEFORE[2:])


# --- READ UNCOMMITTED ---------------------------------------------------------------------------------------------

LEVEL = "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"


@on("mariadb")
@few_changes
@ends
@pytest.mark.parametrize("told", [True, False], ids=["by SQLAlchemy", "by SQL"])
def test_changes_of_others_that_are_not_committed(world: World, change: Change, commit: bool, told: bool) -> None:
    """Somebody writes to the rows before they are asked about, and rolls back later: the row names its old file."""
    begin(world)
    options = {"isolation_level": "READ UNCOMMITTED"} if told else {}
    engine, ended = create_engine(world.engine.url, **options), list[bool]()
    with Session(engine) as session, world.engine.connect() as theirs:

        def write(*args: Any) -> None:
            if ended == [True]:
                ended.append(False)
                theirs.exec_driver_sql("DELETE FROM document")
                theirs.exec_driver_sql("DELETE FROM movie")

        if not told:
            session.execute(text(LEVEL))
        with session.begin_nested() as savepoint:
            change(session)
            savepoint.rollback()
        change(session)
        event.listen(engine, "commit" if commit else "rollback", lambda connection: ended.append(True))
        event.listen(engine, "do_execute", write)
        (session.commit if commit else session.rollback)()
        assert ended == [True, False]
        theirs.rollback()
        assert session.execute(text("SELECT @@tx_isolation")).scalar_one() == "READ-UNCOMMITTED"
    engine.dispose()
    world.check(*change.leaves if commit else BEFORE)


#: What each database is asked beside its rows.
ASIDE = {
    "postgresql": ["row_security_active", "pg_is_in_recovery", "pg_class"],
    "mysql": ["@@transaction_isolation = 'READ-UNCOMMITTED'"],
    "mariadb": ["@@tx_isolation = 'READ-UNCOMMITTED'"],
}


def test_the_circumstances_of_an_answer() -> None:
    """They are part of the question; SQLite has none."""
    for name, words in ASIDE.items():
        dialect = make_url(f"{name}://").get_dialect()()
        aside = circumstances(dialect, table_of(Document), {})
        assert aside is not None
        assert all(word in str(aside.element.compile(dialect=dialect)) for word in words)
    assert circumstances(make_url("sqlite://").get_dialect()(), table_of(Document), {}) is None
