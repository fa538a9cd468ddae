"""Rollbacks that come too late: the rows are committed already, and by now they may have other primary keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from sqlalchemy import Engine, create_engine, insert, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from depot_lite.fields.tracking.outcomes import surely_failed
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.changes import FIRST, NEW, ONE, OTHER, PHOTO, PLAN, THREE, TWO, begin, read
from tests.support.models import Document

ELSEWHERE: Final = 1_000_055

#: What `begin` commits beside the first document's file.
REST: Final = (PHOTO, ONE, TWO, THREE)


@pytest.fixture
def autocommit(world: World) -> Iterator[Engine]:
    """An engine each of whose statements is a transaction."""
    made = create_engine(world.engine.url, isolation_level="AUTOCOMMIT")
    yield made
    made.dispose()


def only_on(world: World, *dialects: str) -> None:
    if world.engine.dialect.name not in dialects:
        pytest.skip(f"this happens on {' and '.join(dialects)}")


def by_text(session: Session, engine: Engine) -> None:
    session.execute(text(f"UPDATE document SET id = {ELSEWHERE} WHERE id = {FIRST}"))


def by_another_session(session: Session, engine: Engine) -> None:
    with Session(engine) as other:
        other.get_one(Document, FIRST).id = ELSEWHERE
        other.commit()


def by_a_statement(session: Session, engine: Engine) -> None:
    session.execute(update(Document).where(Document.id == FIRST).values(id=ELSEWHERE))


@pytest.mark.parametrize("change", [by_text, by_another_session, by_a_statement], ids=lambda each: str(each.__name__))
def test_a_row_that_got_another_key_in_autocommit_keeps_its_file(
    world: World, autocommit: Engine, change: Callable[[Session, Engine], None]
) -> None:
    begin(world)
    with Session(autocommit) as session:
        put(session.get_one(Document, FIRST), content=NEW)
        session.flush()
        change(session, autocommit)
        session.rollback()
    with world.session() as session:
        assert read(session.get_one(Document, ELSEWHERE).content) == NEW
    world.check(NEW, *REST)


def test_a_row_whose_old_key_another_row_has_by_now_keeps_its_file(world: World, autocommit: Engine) -> None:
    begin(world)
    with Session(autocommit) as session:
        put(session.get_one(Document, FIRST), content=NEW)
        session.flush()
        by_text(session, autocommit)
        session.execute(insert(Document).values(id=FIRST, content=OTHER))
        session.rollback()
    world.check(NEW, OTHER, *REST)


def test_a_key_that_changed_before_a_commit_in_text(world: World) -> None:
    """The drivers tell that no transaction is open when the rollback comes."""
    begin(world)
    with world.session() as session:
        put(session.get_one(Document, FIRST), content=NEW)
        session.flush()
        by_text(session, world.engine)
        session.execute(text("COMMIT"))
        session.rollback()
    world.check(NEW, *REST)


def test_a_key_that_changed_before_ddl(world: World) -> None:
    only_on(world, "mariadb")
    begin(world)
    with world.session() as session:
        put(session.get_one(Document, FIRST), content=NEW)
        session.flush()
        by_text(session, world.engine)
        session.execute(text("CREATE TABLE late_rollback (id INTEGER)"))
        session.execute(text("DROP TABLE late_rollback"))
        session.rollback()
    world.check(NEW, *REST)


def test_a_zero_for_which_mariadb_makes_a_key(world: World, autocommit: Engine) -> None:
    only_on(world, "mariadb")
    with Session(autocommit) as session:
        session.add(Document(id=0, content=NEW))
        session.flush()
        session.rollback()
    world.check(NEW)


def test_what_autocommit_has_refused_leaves_nothing(world: World, autocommit: Engine) -> None:
    begin(world)
    with Session(autocommit) as session:
        session.add(Document(id=FIRST, content=NEW))
        with pytest.raises(DBAPIError):
            session.flush()
        session.rollback()
    world.check(PLAN, *REST)


# --- statements that were never answered --------------------------------------------------------------------------


@pytest.fixture
def impatient(world: World) -> Iterator[Engine]:
    """An engine in AUTOCOMMIT whose client gives up after a second, on a table whose rows take longer to be written."""
    only_on(world, "mariadb")
    made = create_engine(world.engine.url, isolation_level="AUTOCOMMIT", connect_args={"read_timeout": 1})
    slow = "SET @slow = SLEEP(2)"
    with world.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TRIGGER slow_insert BEFORE INSERT ON document FOR EACH ROW {slow}")
        connection.exec_driver_sql(f"CREATE TRIGGER slow_update BEFORE UPDATE ON document FOR EACH ROW {slow}")
    yield made
    with world.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER IF EXISTS slow_insert")
        connection.exec_driver_sql("DROP TRIGGER IF EXISTS slow_update")
    made.dispose()


def _added(session: Session) -> None:
    session.add(Document(content=NEW))


def _replaced(session: Session) -> None:
    put(session.get_one(Document, FIRST), content=NEW)


@pytest.mark.parametrize("does", [_added, _replaced], ids=["insert", "update"])
def test_a_statement_that_commits_by_itself_and_is_never_answered(
    world: World, impatient: Engine, does: Callable[[Session], None]
) -> None:
    """The server goes on with it: the row will name the file."""
    with world.engine.begin() as connection:  # without the wait
        connection.exec_driver_sql("DROP TRIGGER slow_insert")
    begin(world)
    with world.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER slow_insert BEFORE INSERT ON document FOR EACH ROW SET @slow = SLEEP(2)"
        )
    with Session(impatient) as session:
        does(session)
        with pytest.raises(DBAPIError, match="Lost connection"):
            session.flush()
        session.rollback()
    with world.engine.begin() as connection:  # waits until the server has done with it
        connection.exec_driver_sql("LOCK TABLES document WRITE")
        connection.exec_driver_sql("UNLOCK TABLES")
    assert NEW in world.rows().values()
    assert world.rows().keys() <= world.stored()


def test_a_row_that_a_later_trigger_refuses_keeps_its_file_without_transactions(world: World) -> None:
    """MyISAM: the row is written when its AFTER INSERT trigger raises, and stays."""
    only_on(world, "mariadb")
    with world.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE document ENGINE = MyISAM")
        connection.exec_driver_sql(
            "CREATE TRIGGER refusing AFTER INSERT ON document FOR EACH ROW SIGNAL SQLSTATE '45000'"
        )
    try:
        with world.session() as session:
            session.add(Document(content=NEW))
            with pytest.raises(DBAPIError):
                session.flush()
            session.rollback()
        world.check(NEW)
    finally:
        with world.engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER refusing")
            connection.exec_driver_sql("ALTER TABLE document ENGINE = InnoDB")


@pytest.mark.parametrize(
    ("arguments", "sent"), [((2006, "gone away"), False), ((0, ""), False), ((2013, "lost"), True), ((1213, ""), False)]
)
def test_what_a_client_of_mariadb_says_of_its_commit(arguments: tuple[Any, ...], sent: bool) -> None:
    assert surely_failed(DBAPIError("COMMIT", None, Exception(*arguments))) is not sent
