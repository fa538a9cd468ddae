"""Statements that leave out a file column whose default, or ``onupdate``, gives a file."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Insert,
    Integer,
    MetaData,
    Table,
    bindparam,
    func,
    insert,
    literal_column,
    null,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from depot_lite.errors import ConfigurationError, InvalidContent
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.statements import add, table_of, words
from tests.support.models import Base


class Defaulted(Base):
    __tablename__ = "statement_default"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(unique=True)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, default=lambda: b"default")
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True), default=list)


class Renewed(Base):
    """Its files are made anew, or taken away, by each UPDATE."""

    __tablename__ = "statement_onupdate"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, onupdate=lambda: b"renewed")


class Emptied(Base):
    __tablename__ = "statement_null"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, default=null(), onupdate=null())


def _own(world: World) -> Any:
    """Return the ``insert()`` of the database."""
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}.get(world.engine.dialect.name, mysql.insert)


def ignoring(world: World, target: Any) -> Insert:
    """Return an INSERT that leaves out rows which are there already."""
    if world.engine.dialect.name == "mariadb":
        return insert(target).prefix_with("IGNORE")
    return _own(world)(target).on_conflict_do_nothing()  # type: ignore[no-any-return]  # each dialect has its own


def renaming(world: World, target: Any) -> Insert:
    """Return an INSERT that gives rows which are there already another name."""
    statement = _own(world)(target)
    if world.engine.dialect.name == "mariadb":
        return statement.on_duplicate_key_update(name=text("'renamed'"))  # type: ignore[no-any-return]  # each has its own
    return statement.on_conflict_do_update(index_elements=["id"], set_={"name": "renamed"})  # type: ignore[no-any-return]


# --- rows that are left out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("target", [Defaulted, table_of(Defaulted)], ids=["class", "table"])
@pytest.mark.parametrize("leaves_out", [ignoring, renaming])
def test_the_default_of_a_row_that_is_left_out_leaves_no_file(
    world: World, leaves_out: Any, target: Any, end: str
) -> None:
    add(world, Defaulted(id=1, name="old"))
    with world.session() as session:
        session.execute(leaves_out(world, target).values(id=1, name="new"))
        session.execute(leaves_out(world, target).values(id=2, name="second"))
        (session.commit if end == "commit" else session.rollback)()
    world.check(*[b"default"] * (2 if end == "commit" else 1))


@pytest.mark.parametrize("target", [Defaulted, table_of(Defaulted)], ids=["class", "table"])
@pytest.mark.parametrize("leaves_out", [ignoring, renaming])
def test_some_of_several_rows_are_left_out(world: World, leaves_out: Any, target: Any) -> None:
    add(world, Defaulted(id=1, name="old"))
    with world.session() as session:
        session.execute(leaves_out(world, target), [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}])
        session.execute(leaves_out(world, target).values([{"id": 1, "name": "x"}, {"id": 3, "name": "z"}]))
        session.commit()
    world.check(*[b"default"] * 3)


def test_a_row_without_its_key_that_is_left_out_leaves_no_file(world: World) -> None:
    add(world, Defaulted(name="old"))
    with world.session() as session:
        session.execute(ignoring(world, Defaulted).values(name="old"))
        session.commit()
    world.check(b"default")


def test_an_insert_that_left_out_nothing_looks_no_default_up(world: World, queries: list[str]) -> None:
    with world.session() as session:
        session.execute(ignoring(world, Defaulted).values(id=1, name="new"))
        queries.clear()
        session.commit()
    assert words(queries) == []
    world.check(b"default")


# --- INSERT ... SELECT ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [Defaulted, table_of(Defaulted)], ids=["class", "table"])
def test_insert_from_select_of_rows_with_a_default_is_refused(world: World, target: Any) -> None:
    add(world, Defaulted(id=1), Defaulted(id=2))
    with world.session() as session:
        query = select(Defaulted.id + 100)
        with pytest.raises(InvalidContent, match=r"content: INSERT \.\.\. SELECT would give the one file"):
            session.execute(insert(target).from_select(["id"], query))
        session.commit()
    world.check(b"default", b"default")


def test_insert_from_select_without_defaults_gives_no_file(world: World) -> None:
    add(world, Emptied(id=1), Defaulted(id=1))
    with world.session() as session:
        statement = insert(Emptied).from_select(["id"], select(Defaulted.id + 100))
        session.execute(statement)
        session.execute(insert(Renewed).from_select(["id"], select(Defaulted.id), include_defaults=False))
        session.commit()
        assert session.get_one(Emptied, 101).content is None
        assert session.get_one(Renewed, 1).content is None
    world.check(b"default")


# --- SQL expressions as defaults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", [literal_column("content"), func.lower("x"), text("NULL")], ids=str)
@pytest.mark.parametrize("name", ["default", "onupdate"])
@pytest.mark.parametrize("multiple", [False, True], ids=["one", "many"])
def test_a_sql_expression_as_default_is_refused_when_the_table_is_declared(
    expression: Any, name: str, multiple: bool
) -> None:
    kind = UploadedFileField(multiple=multiple)
    with pytest.raises(ConfigurationError, match=rf"copied\.cover: {name}= cannot take a file from a SQL expression"):
        Table(
            "copied", MetaData(), Column("id", Integer, primary_key=True), Column("cover", kind, **{name: expression})
        )


def test_a_sql_expression_as_default_is_refused_when_the_class_is_declared() -> None:
    class Own(DeclarativeBase):
        pass

    with pytest.raises(ConfigurationError, match=r"copied\.cover: default="):

        class Copied(Own):
            __tablename__ = "copied"
            id: Mapped[int] = mapped_column(primary_key=True)
            cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, default=literal_column("id"))


def test_a_default_of_the_server_and_expressions_of_other_columns_are_no_matter() -> None:
    Table(
        "served",
        MetaData(),
        Column("id", Integer, primary_key=True, default=func.random()),
        Column("cover", UploadedFileField, server_default=text("NULL")),
        Column("pages", UploadedFileField(multiple=True), server_default="[]"),
    )


def test_null_as_onupdate_takes_the_file_away(world: World) -> None:
    add(world, *(Emptied(id=number, content=b"%d" % number) for number in range(1, 5)), Emptied(id=5))
    with world.session() as session:
        session.get_one(Emptied, 1).name = "x"
        session.execute(update(Emptied).where(Emptied.id == 2).values(name="x"))
        session.execute(update(Emptied), [{"id": 3, "name": "x"}])
        session.commit()
        assert session.get_one(Emptied, 5).content is None
    world.check(b"4")


# --- onupdate ---------------------------------------------------------------------------------------------------------


def test_an_update_with_several_parameters_that_onupdate_concerns_is_refused(world: World) -> None:
    add(world, Renewed(id=1, content=b"old"))
    table = table_of(Renewed)
    with world.session() as session:
        statement = update(table).where(table.c.id == bindparam("number"))
        with pytest.raises(InvalidContent, match=r"content: an UPDATE with WHERE and several sets of parameters"):
            session.execute(statement, [{"number": 1, "name": "x"}, {"number": 2, "name": "y"}])
        session.commit()
    world.check(b"old")


# --- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [insert(Defaulted).values(content=b"new"), insert(table_of(Defaulted)).values(content=b"new"), None],
    ids=["values", "table", "list"],
)
def test_an_insert_takes_its_connection_when_its_files_are_stored(world: World, statement: Any) -> None:
    """No connection waits for a transfer."""
    taken: list[int] = []

    class Observed(UploadedFile):
        def process_content(self, *args: Any, **options: Any) -> None:
            taken.append(world.engine.pool.checkedout())  # type: ignore[attr-defined]  # that of a QueuePool
            super().process_content(*args, **options)

    with world.session() as session:
        if statement is None:
            session.execute(insert(Defaulted), [{"content": Observed(b"new")}])
        else:
            session.execute(statement.values(content=Observed(b"new")))
        session.commit()
    assert taken == [0]
    world.check(b"new")
