"""Rows that the database removes by itself, with ON DELETE CASCADE: their files go with them."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, MetaData, Table, delete, select
from sqlalchemy.orm import Session

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.statements.deletes import constraints_of
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.statements import add, changed, table_of, words
from tests.support.models import Box, Comment, Document, Folder, Item, Note, Plain, Shelf


@pytest.fixture
def shelves(world: World) -> World:
    """Two shelves with two boxes each; in each box an item and a note, called as their box."""
    for shelf in (1, 2):
        add(world, Shelf(id=shelf))
        for box in (shelf * 10, shelf * 10 + 1):
            add(world, Box(id=box, shelf_id=shelf))
            add(world, Item(box_id=box, photo=b"i%d" % box), Note(box_id=box, sketch=b"n%d" % box))
    return world


NOTES = (b"n10", b"n11", b"n20", b"n21")


def test_a_deleted_object_takes_the_files_of_all_rows_below(shelves: World) -> None:
    with shelves.session() as session:
        session.delete(session.get_one(Shelf, 1))
        session.commit()
    shelves.check(b"i20", b"i21", *NOTES)


def test_a_delete_statement_takes_the_files_of_all_rows_below(shelves: World) -> None:
    with shelves.session() as session:
        assert changed(session.execute(delete(Shelf).where(Shelf.id == 1))) == 1
        session.execute(delete(table_of(Box)).where(table_of(Box).c.id == 20))
        session.commit()
    shelves.check(b"i21", *NOTES)


def test_rollback_brings_all_of_them_back(shelves: World) -> None:
    with shelves.session() as session:
        session.delete(session.get_one(Shelf, 1))
        session.flush()
        savepoint = session.begin_nested()
        session.execute(delete(Shelf))
        savepoint.rollback()
        session.rollback()
    shelves.check(b"i10", b"i11", b"i20", b"i21", *NOTES)


def test_a_row_that_is_moved_in_the_same_flush_keeps_its_file(shelves: World) -> None:
    with shelves.session() as session:
        shelf, box, item = session.get_one(Shelf, 1), session.get_one(Box, 10), session.scalars(select(Item)).first()
        assert item is not None
        box.shelf_id = 2
        session.delete(shelf)
        session.commit()
    shelves.check(b"i10", b"i20", b"i21", *NOTES)


def test_a_file_that_is_replaced_in_the_same_flush_goes_too(shelves: World) -> None:
    with shelves.session() as session:
        item = session.scalars(select(Item).where(Item.box_id == 10)).one()
        item.photo = UploadedFile(b"new")
        session.flush()
        session.delete(session.get_one(Shelf, 1))
        session.commit()
    shelves.check(b"i20", b"i21", *NOTES)


def test_an_orphan_takes_the_files_below(shelves: World) -> None:
    with shelves.session() as session:
        shelf = session.get_one(Shelf, 1)
        shelf.boxes.clear()
        session.commit()
    shelves.check(b"i20", b"i21", *NOTES)


def test_rows_that_answer_each_other(world: World) -> None:
    """A table that refers to itself, to any depth, by object and by statement."""
    for each in (1, 11):
        add(world, Comment(id=each, picture=b"%d" % each))
        for below in (each + 1, each + 2):
            add(world, Comment(id=below, parent_id=below - 1, picture=b"%d" % below))
    add(world, Comment(id=21, picture=b"21"))
    with world.session() as session:
        session.execute(delete(Comment).where(Comment.id == 1))
        session.delete(session.get_one(Comment, 12))
        session.commit()
    world.check(b"11", b"21")


def test_a_circle_of_rows_ends(world: World) -> None:
    add(world, Comment(id=1, picture=b"1"), Comment(id=3, picture=b"3"))
    add(world, Comment(id=2, parent_id=1, picture=b"2"))
    with world.session() as session:
        session.get_one(Comment, 1).parent_id = 2
        session.flush()
        if world.engine.dialect.name == "mariadb":
            session.get_one(Comment, 1).parent_id = None  # MariaDB cannot delete the circle
        session.execute(delete(Comment).where(Comment.id == 1), execution_options={"synchronize_session": False})
        session.commit()
    world.check(b"3")


def test_a_database_that_does_not_keep_to_the_constraint_keeps_the_files(world: World) -> None:
    """SQLite leaves the rows below where they are, unless it is told otherwise for each connection."""
    if world.engine.dialect.name != "sqlite":
        pytest.skip("only SQLite forgets its constraints")
    add(world, Box(id=1), Item(photo=b"i"))
    with world.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE item SET box_id = 1")
        connection.commit()
        driver = connection.connection.dbapi_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys = OFF")
        with Session(connection) as session:
            session.execute(delete(Box))
            session.commit()
        connection.commit()
        driver.execute("PRAGMA foreign_keys = ON")
    world.check(b"i")


def test_each_table_below_is_read_once_before_and_once_after(shelves: World, queries: list[str]) -> None:
    with shelves.session() as session:
        for shelf in session.scalars(select(Shelf)):
            session.delete(shelf)
        queries.clear()
        session.flush()
        assert words(queries) == ["SELECT", "SELECT", "DELETE"]
        queries.clear()
        session.commit()
    assert words(queries) == ["SELECT"]
    shelves.check(*NOTES)


def test_parents_without_such_children_cost_nothing(world: World, queries: list[str]) -> None:
    """Only the deleted object's own row is read."""
    add(world, Plain(id=1), Document(id=1), Plain(id=2))
    with world.session() as session:
        plain, document = session.get_one(Plain, 1), session.get_one(Document, 1)
        session.delete(plain)
        session.delete(document)
        queries.clear()
        session.flush()
        session.execute(delete(Plain))
        assert sorted(words(queries)) == ["DELETE", "DELETE", "DELETE", "SELECT"]
        session.commit()


def test_only_constraints_that_lead_to_files_are_followed() -> None:
    assert [each.table.name for each in constraints_of(table_of(Shelf))] == ["box"]
    assert [each.table.name for each in constraints_of(table_of(Box))] == ["item"]
    assert constraints_of(table_of(Folder)) == ()
    assert constraints_of(table_of(Plain)) == ()


def test_a_table_that_is_declared_later_is_found() -> None:
    metadata = MetaData()
    parent = Table("parent", metadata, Column("id", Integer, primary_key=True))
    Table("unknown", metadata, Column("id", ForeignKey("nowhere.id", ondelete="CASCADE"), primary_key=True))
    assert constraints_of(parent) == ()
    Table(
        "child",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("parent_id", ForeignKey("parent.id", ondelete="cascade")),
        Column("file", UploadedFileField),
    )
    assert [each.table.name for each in constraints_of(parent)] == ["child"]


def test_a_column_and_a_foreign_key_that_are_added_to_a_known_table_are_found() -> None:
    metadata = MetaData()
    parent = Table("parent", metadata, Column("id", Integer, primary_key=True))
    child = Table("child", metadata, Column("id", Integer, primary_key=True), Column("parent_id", Integer))
    child.append_constraint(ForeignKeyConstraint(["parent_id"], ["parent.id"], ondelete="CASCADE"))
    assert constraints_of(parent) == ()
    child.append_column(Column("file", UploadedFileField))
    assert [each.table.name for each in constraints_of(parent)] == ["child"]
    grandparent = Table("grandparent", metadata, Column("id", Integer, primary_key=True))
    assert constraints_of(grandparent) == ()
    parent.append_constraint(ForeignKeyConstraint(["id"], ["grandparent.id"], ondelete="CASCADE"))
    assert [each.table.name for each in constraints_of(grandparent)] == ["parent"]
