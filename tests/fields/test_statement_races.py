"""Two transactions at once: a row that the other one saved from our statement keeps its file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.orm import Session

from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.statements import add, changed
from tests.support.models import Box, Document, Folder, Item, Page


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
    """The row is read as the other transaction committed it, so its file goes and not the one before."""

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
    """The other table's rows are not locked: a row that the condition does not choose any more stays, with its file."""
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
