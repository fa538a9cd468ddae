"""Two transactions at once: a row that the other one saved from our statement keeps its file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, event, insert, select, update
from sqlalchemy.orm import Session

from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.statement_models import Box, Item
from tests.fields.test_statements import add, changed
from tests.models import Document, Folder, Page

Statement = Callable[[Session], Any]


@pytest.fixture
def race(world: World) -> Iterator[Callable[[Statement, Statement], Any]]:
    """Execute a statement while another transaction holds its rows; return what it returned.

    The second one has done its work and not committed when ours is sent; it commits when ours waits for it.
    """
    if world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    sent = threading.Event()

    def notice(connection: Connection, cursor: Any, statement: str, *args: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            sent.set()

    event.listen(world.engine, "before_cursor_execute", notice)

    def execute(ours: Statement) -> Any:
        with Session(world.engine) as session:
            result = ours(session)
            session.commit()
        return result

    with ThreadPoolExecutor(1) as pool:

        def run(theirs: Statement, ours: Statement) -> Any:
            with Session(world.engine) as session:
                theirs(session)
                session.flush()
                waiting: Future[Any] = pool.submit(execute, ours)
                assert sent.wait(20)
                _until_blocked(world.engine, waiting)
                session.commit()
            return waiting.result(20)

        yield run
    event.remove(world.engine, "before_cursor_execute", notice)


WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist "
    "ON id = trx_mysql_thread_id WHERE trx_state = 'LOCK WAIT' AND db = database()",
}


def _until_blocked(engine: Engine, waiting: Future[Any]) -> None:
    """Ask the database until somebody waits for a lock; it is what all of these tests are about."""
    with engine.connect() as connection:
        for _ in range(100):
            wait([waiting], 0.15)  # MariaDB answers with what it knew before, if it is asked again within 0.1 s
            if connection.exec_driver_sql(WAITING[engine.dialect.name]).scalar_one():
                return
            connection.rollback()
            assert not waiting.done(), "the statement did not wait"
    pytest.fail("nobody waits for a lock")


@pytest.fixture
def documents(world: World) -> World:
    """Three documents of the name x."""
    add(world, *(Document(id=each, name="x", content=b"%d" % each) for each in (1, 2, 3)))
    return world


def test_a_row_that_does_not_match_any_more_keeps_its_file(documents: World, race: Any) -> None:
    def theirs(session: Session) -> None:
        session.execute(update(Document).where(Document.id == 2).values(name="saved"))

    def ours(session: Session) -> int:
        return changed(session.execute(delete(Document).where(Document.name == "x")))

    assert race(theirs, ours) == 2
    documents.check(b"2")


def test_an_update_leaves_the_file_of_a_row_that_does_not_match_any_more(documents: World, race: Any) -> None:
    def theirs(session: Session) -> None:
        session.execute(update(Document).where(Document.id == 2).values(name="saved"))

    def ours(session: Session) -> int:
        statement = update(Document).where(Document.name == "x").values(content=b"new")
        return changed(session.execute(statement))

    assert race(theirs, ours) == 2
    documents.check(b"new", b"2", b"new")


def test_a_row_that_the_other_one_deletes(documents: World, race: Any) -> None:
    def theirs(session: Session) -> None:
        session.delete(session.get_one(Document, 2))

    def ours(session: Session) -> int:
        return changed(session.execute(delete(Document).where(Document.name == "x")))

    assert race(theirs, ours) == 2
    documents.check()


@pytest.mark.parametrize("statement", [delete(Document), update(Document).values(content=b"ours")])
def test_a_file_that_the_other_one_replaces(documents: World, race: Any, statement: Any) -> None:
    """What is read is what the other transaction committed, so its file goes and not the one before."""

    def theirs(session: Session) -> None:
        session.get_one(Document, 2).content = UploadedFile(b"theirs")

    race(theirs, lambda session: session.execute(statement).close())
    documents.check(*([] if statement.is_delete else [b"ours"] * 3))


def test_updates_by_primary_key_wait_for_the_other_one(documents: World, race: Any) -> None:
    def theirs(session: Session) -> None:
        session.get_one(Document, 2).content = UploadedFile(b"theirs")

    race(theirs, lambda session: session.bulk_update_mappings(Document, [{"id": 2, "content": b"ours"}]))
    documents.check(b"1", b"ours", b"3")


def test_a_row_that_comes_in_between_is_not_deleted_unseen(documents: World, race: Any) -> None:
    """Another row begins to match while the statement waits: it goes with its file, or it stays with it."""

    def theirs(session: Session) -> None:
        session.execute(update(Document).where(Document.id == 2).values(name="saved"))
        session.execute(insert(Document).values(id=4, name="x", content=b"4"))

    def ours(session: Session) -> None:
        session.execute(delete(Document).where(Document.name == "x"))

    race(theirs, ours)
    with documents.session() as session:
        left = list(session.scalars(select(Document.id).order_by(Document.id)))
    assert left in ([2], [2, 4])
    documents.check(*(b"%d" % each for each in left))


def test_a_condition_on_another_table_that_changes_after_the_rows_were_read(
    world: World, listen: Callable[..., None]
) -> None:
    """The other table's rows are not locked: the statement counts as many rows, and they are others."""
    if world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    add(world, Folder(id=1, name="old"), Folder(id=2, name="new"))
    add(world, Page(folder_id=1, scan=b"1"), Page(folder_id=2, scan=b"2"))

    def swap(connection: Connection, cursor: Any, statement: str, *args: Any) -> None:
        if statement.startswith("DELETE"):
            with world.engine.begin() as other:
                other.exec_driver_sql("UPDATE folder SET name = CASE name WHEN 'old' THEN 'new' ELSE 'old' END")

    listen(world.engine, "before_cursor_execute", swap)
    with world.session() as session:
        if world.engine.dialect.name == "mariadb":
            session.connection(execution_options={"isolation_level": "READ COMMITTED"})
        session.execute(
            delete(Page).where(Page.folder_id.in_(select(Folder.id).where(Folder.name == "old"))),
            execution_options={"synchronize_session": False},
        )
        session.commit()
    world.check(b"1", b"2")


def test_a_row_below_that_is_moved_away_keeps_its_file(world: World, race: Any) -> None:
    add(world, Box(id=1), Box(id=2))
    add(world, Item(id=1, box_id=1, photo=b"1"), Item(id=2, box_id=1, photo=b"2"))

    def theirs(session: Session) -> None:
        session.get_one(Item, 1).box_id = 2

    race(theirs, lambda session: session.execute(delete(Box).where(Box.id == 1)).close())
    world.check(b"1")
