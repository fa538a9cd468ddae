"""Refusals name the column and the user's mistake."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import JSON, Column, Integer, MetaData, Table, bindparam, func, insert, null, select, text, update
from sqlalchemy.orm import Session

from depot_lite.errors import InvalidContent, StoredFileNotFound
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from tests.conftest import World
from tests.fields.statements import add, table_of
from tests.support.models import Document, Movie, Shelf, Truck, Vehicle

EXPRESSIONS: dict[str, Callable[[], Any]] = {
    "text": lambda: text("NULL"),
    "function": func.now,
    "null": null,
    "JSON.NULL": lambda: JSON.NULL,
    "subquery": lambda: select(Document.content).limit(1).scalar_subquery(),
    "attribute": lambda: Document.report,
    "column": lambda: table_of(Document).c.report,
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_that_is_assigned(name: str) -> None:
    with pytest.raises(
        InvalidContent, match=r"Document\.content: an attribute cannot take a file from a SQL expression"
    ):
        Document(content=EXPRESSIONS[name]())
    with pytest.raises(InvalidContent, match=r"Movie\.screenshots: an attribute cannot take a file from a SQL"):
        Movie(screenshots=EXPRESSIONS[name]())


@pytest.mark.parametrize("name", [each for each in EXPRESSIONS if each != "null"])
def test_an_expression_in_a_statement(world: World, name: str) -> None:
    add(world, Document(id=1, content=b"old"))
    with world.session() as session:
        for statement in (update(Document), insert(Document), update(table_of(Document))):
            with pytest.raises(InvalidContent, match=r"content: .* cannot take a file from a SQL expression"):
                session.execute(statement.values(content=EXPRESSIONS[name]()))
        session.commit()
    world.check(b"old")


@pytest.mark.parametrize("value", [b"new", None], ids=["new", "None"])
def test_an_update_that_assigns_a_file_of_another_table(world: World, value: bytes | None) -> None:
    """MariaDB can update several tables at once; the others could not execute these statements."""
    add(world, Truck(id=1, picture=b"picture", manual=b"manual"), Document(id=1, content=b"old"), Shelf(id=1))
    joined = update(Truck).where(table_of(Truck).c.id == table_of(Vehicle).c.id)
    statements = [
        joined.values(picture=value),
        joined.values({Vehicle.picture: value, Truck.manual: b"new"}),
        update(Document).where(Document.id == Truck.id).values({"name": "new", table_of(Truck).c.manual: value}),
        update(Shelf).where(Shelf.id == Document.id).values({Shelf.id: 2, Document.content: value}),
    ]
    with world.session() as session:
        for statement in statements:
            with pytest.raises(InvalidContent, match=r"\.(picture|manual|content): .* files of another table; execute"):
                session.execute(statement)
        with pytest.raises(InvalidContent, match=r"vehicle\.picture: an UPDATE of truck cannot"):
            session.execute(joined, {"picture": value})
        session.commit()
    world.check(b"picture", b"manual", b"old")


class Once(io.BytesIO):
    """A stream that cannot be read again."""

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("given", [lambda: Once(b"x"), lambda: UploadedFile(Once(b"x"))], ids=["stream", "value"])
def test_a_stream_for_several_rows(world: World, given: Callable[[], Any]) -> None:
    add(world, Document(name="x", content=b"1"), Document(name="x", content=b"2"))
    with world.session() as session:
        with pytest.raises(
            InvalidContent, match=r"Document\.content: .* read only once, and the statement would store"
        ):
            session.execute(update(Document).where(Document.name == "x").values(content=given()))
        session.commit()
    world.check(b"1", b"2")


def test_a_copy_of_a_file_that_is_gone(world: World) -> None:
    add(world, Document(id=1, content=UploadedFile(b"1", filename="plan.txt")), Document(id=2))
    with world.session() as session:
        value = session.get_one(Document, 1).content
        assert value is not None
        session.get_one(Document, 2).report = value
        DepotManager.delete_files([value["path"]])
        with pytest.raises(
            StoredFileNotFound, match=r"Document\.report: 'plan\.txt' cannot be copied: file .* is not in"
        ):
            session.flush()


UNSTORED: dict[str, Callable[[Session], Any]] = {
    "connection": lambda session: session.connection().execute(
        insert(table_of(Document)).values(content=UploadedFile(b"x"))
    ),
    "text": lambda session: session.execute(
        text("UPDATE document SET content = :file").bindparams(
            bindparam("file", type_=table_of(Document).c.content.type)
        ),
        {"file": UploadedFile(b"x")},
    ),
}


@pytest.mark.parametrize("name", UNSTORED)
def test_a_file_that_nothing_stores(world: World, name: str) -> None:
    with world.session() as session:
        with pytest.raises(InvalidContent, match=r"^document\.content: 'unnamed' is not stored yet\. .*; not by text"):
            UNSTORED[name](session)
        session.rollback()
    world.check()


def test_a_condition_with_a_file_that_is_not_stored(depots: dict[str, FileStorage]) -> None:
    with pytest.raises(InvalidContent, match=r"document\.content: a condition cannot compare with 'unnamed'"):
        select(Document).where(Document.content == UploadedFile(b"x"))
    with pytest.raises(InvalidContent, match=r"document\.content: a condition cannot compare with 'unnamed'"):
        select(Document).where(Document.content.in_([UploadedFile(b"x")]))


def test_the_columns_of_one_type_are_named_if_they_are_few() -> None:
    kind = UploadedFileField()
    assert kind.column_names == "UploadedFileField()"
    columns: list[Column[Any]] = [Column(name, kind) for name in ("first", "second", "third", "fourth")]
    for number, column in enumerate(columns):
        Table(f"owner_{number}", MetaData(), Column("id", Integer, primary_key=True), column)
        kinds = [f"owner_{position}.{each.name}" for position, each in enumerate(columns[: number + 1])]
        assert kind.column_names == (" or ".join(kinds) if number < 3 else "UploadedFileField()")
