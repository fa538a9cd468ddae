"""Rows that INSERT statements make: each has a file of its own, and none is left of a row that was not inserted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Insert, bindparam, func, insert, literal, select
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from depot_lite.errors import InvalidContent, StorageFailed
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import FileIntent
from tests.conftest import World
from tests.fields.bad_luck import FailingStorage
from tests.fields.statements import add, table_of, words
from tests.support.models import Account, Document, Manager, Plate, Truck


def upsert(world: World, model: Any) -> Any:
    """Return the INSERT of the database's own kind."""
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}.get(world.engine.dialect.name, mysql.insert)(
        model
    )


def ignoring(world: World, model: Any) -> Insert:
    """Return an INSERT that leaves out rows which are there already."""
    if world.engine.dialect.name == "mariadb":
        return insert(model).prefix_with("IGNORE")
    return upsert(world, model).on_conflict_do_nothing()  # type: ignore[no-any-return]  # each dialect has its own


# --- each form ----------------------------------------------------------------------------------------------------


def test_insert_stores_a_file(world: World) -> None:
    with world.session() as session:
        session.execute(insert(Document).values(name="x", content=b"c", report=b"r"))
        session.execute(insert(table_of(Document)).values(name="y", content=b"d"))
        session.execute(insert(Document).values(name="no file", content=None))
        session.commit()
    world.check(b"c", b"r", b"d")


def test_insert_takes_everything_that_an_attribute_takes(world: World, tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"path")
    add(world, Document(name="old", content=b"stored"))
    with world.session() as session:
        stored = session.scalars(select(Document.content)).one()
        given = [b"bytes", io.BytesIO(b"stream"), path, FileIntent(b"intent", "i.txt"), UploadedFile(b"made"), stored]
        session.execute(insert(Document), [{"content": each} for each in given])
        session.commit()
        assert "i.txt" in {each.filename for each in session.scalars(select(Document.content)) if each is not None}
    world.check(b"stored", b"bytes", b"stream", b"path", b"intent", b"made", b"stored")


def test_bulk_insert_leaves_the_given_dictionaries_alone(world: World) -> None:
    given: list[dict[str, Any]] = [{"name": "1", "content": b"1"}, {"name": "2", "content": None}, {"name": "3"}]
    before = [dict(each) for each in given]
    with world.session() as session:
        session.execute(insert(Document), given)
        session.commit()
    assert given == before
    world.check(b"1")


def test_insert_with_one_set_of_parameters(world: World) -> None:
    given = {"name": "1", "content": b"1"}
    with world.session() as session:
        session.execute(insert(Document), given)
        session.execute(insert(table_of(Document)), given)
        session.commit()
    assert given == {"name": "1", "content": b"1"}
    world.check(b"1", b"1")


@pytest.mark.parametrize("table", [Document, table_of(Document)])
def test_several_rows_in_one_values(world: World, table: Any) -> None:
    with world.session() as session:
        rows = [{"name": "1", "content": b"1"}, {"name": "2", "content": b"2"}, {"name": "3", "content": None}]
        session.execute(insert(table).values(rows))
        session.commit()
    world.check(b"1", b"2")


def test_rows_that_are_keyed_by_attributes_or_have_no_keys(world: World) -> None:
    with world.session() as session:
        session.execute(insert(Document).values([{Document.name: "1", Document.content: b"1"}]))
        session.execute(insert(Document).values({Document.content: b"2"}))
        session.execute(insert(table_of(Document)).values([(7, "3", b"3", None), (8, "4", None, b"4")]))
        session.commit()
    world.check(b"1", b"2", b"3", b"4")


def test_one_value_for_many_rows_becomes_a_file_for_each(world: World) -> None:
    value = UploadedFile(b"v")
    with world.session() as session:
        session.execute(insert(Document).values([{"content": value}, {"content": value}]))
        session.execute(insert(Document).values(report=b"r"), [{"name": "1"}, {"name": "2"}])
        session.execute(insert(table_of(Document)).values(report=b"t"), [{"name": "1"}, {"name": "2"}])
        session.commit()
    world.check(b"v", b"v", b"r", b"r", b"t", b"t")


def test_a_stream_for_many_rows_is_refused(world: World) -> None:
    class Once(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return 0

    value = UploadedFile(Once())
    with world.session() as session, pytest.raises(InvalidContent, match="only once"):
        session.execute(insert(Document), [{"content": value}, {"content": value}])
    world.check()


def test_values_under_a_parameter_of_another_name(world: World) -> None:
    table = table_of(Document)
    with world.session() as session:
        statement = insert(table).values(name="x", content=bindparam("upload"))
        session.execute(statement, [{"upload": b"1"}, {"upload": b"2"}])
        session.execute(statement, {"upload": b"3"})
        session.commit()
    world.check(b"1", b"2", b"3")


def test_columns_with_names_of_their_own(world: World) -> None:
    """The parameters of an ORM statement are named as attributes, those of a table as columns."""
    with world.session() as session:
        session.execute(insert(Plate), [{"number": 1, "part": 1, "image": b"1", "original": b"o"}])
        session.execute(insert(Plate).values(number=1, part=2, image=b"2"))
        session.execute(insert(table_of(Plate)), [{"number": 1, "part": 3, "image_col": b"3"}])
        session.commit()
    world.check(b"1", b"o", b"2", b"3")


def test_insert_of_subclasses(world: World) -> None:
    with world.session() as session:
        session.execute(insert(Truck), [{"picture": b"p", "manual": b"m"}, {"picture": b"q", "manual": None}])
        session.execute(insert(Manager), [{"photo": b"f", "contract": b"c"}])
        session.commit()
        assert len(session.scalars(select(Truck)).all()) == 2
    world.check(b"p", b"m", b"q", b"f", b"c")


@pytest.mark.parametrize("form", ["bulk", "values", "from_statement", "core"])
def test_insert_returning(world: World, form: str) -> None:
    with world.session() as session:
        rows = [{"name": "1", "content": b"1"}, {"name": "2", "content": b"2"}]
        if form == "bulk":
            found = session.scalars(insert(Document).returning(Document), rows).all()
        elif form == "values":
            found = session.scalars(insert(Document).values(rows).returning(Document)).all()
        elif form == "from_statement":
            statement = insert(Document).values(rows).returning(Document)
            found = session.scalars(select(Document).from_statement(statement)).all()
        else:
            table = table_of(Document)
            returned = session.execute(insert(table).returning(table.c.name, table.c.content), rows)
            assert sorted((name, value.file.read()) for name, value in returned) == [("1", b"1"), ("2", b"2")]
            found = []
        assert all(isinstance(each.content, UploadedFile) and not each.content.pending for each in found)
        assert len(found) == (0 if form == "core" else 2)
        session.commit()
    world.check(b"1", b"2")


def test_insert_sends_one_statement(world: World, queries: list[str]) -> None:
    with world.session() as session:
        session.execute(insert(Document).values(content=b"1"))
        session.execute(insert(Document), [{"content": b"2"}, {"content": b"3"}])
        assert words(queries) == ["INSERT", "INSERT"]
        session.rollback()
    world.check()


def test_an_upload_without_a_file_leaves_the_row_without_one(world: World) -> None:
    class Empty:
        filename = ""
        content_type = "application/octet-stream"

        def __init__(self) -> None:
            self.file = io.BytesIO()

    with world.session() as session:
        session.execute(insert(Document).values(content=Empty()))
        session.execute(insert(Document), [{"content": Empty()}])
        session.commit()
        assert session.scalars(select(Document.content)).all() == [None, None]
    world.check()


# --- rows that are left out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("returning", [False, True])
def test_rows_that_are_there_already_leave_no_file(world: World, returning: bool) -> None:
    add(world, Account(code="old", photo=b"old"))
    rows = [{"code": "old", "photo": b"refused"}, {"code": "new", "photo": b"new"}]
    with world.session() as session:
        statement = ignoring(world, Account)
        if returning:
            assert session.scalars(statement.returning(Account.code), rows).all() == ["new"]
        else:
            session.execute(statement, rows)
        session.execute(ignoring(world, Account).values(code="old", photo=b"refused too"))
        session.execute(ignoring(world, table_of(Account)).values(rows))
        session.commit()
    world.check(b"old", b"new")


def test_an_ignoring_insert_that_left_out_nothing_looks_nothing_up(world: World, queries: list[str]) -> None:
    with world.session() as session:
        session.execute(ignoring(world, Account).values(code="1", photo=b"1"))
        assert words(queries) == ["INSERT"]
        session.commit()
    world.check(b"1")


def test_an_upsert_of_other_columns_deletes_the_file_that_no_row_took(world: World) -> None:
    add(world, Account(id=1, code="old", photo=b"old"))
    statement = upsert(world, Account).values(
        [{"id": 1, "code": "x", "photo": b"x"}, {"id": 2, "code": "y", "photo": b"y"}]
    )
    if world.engine.dialect.name == "mariadb":
        statement = statement.on_duplicate_key_update(code="changed")
    else:
        statement = statement.on_conflict_do_update(index_elements=["id"], set_={"code": "changed"})
    with world.session() as session:
        session.execute(statement)
        session.commit()
        assert sorted(session.scalars(select(Account.code))) == ["changed", "y"]
    world.check(b"old", b"y")


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["excluded", "value", "none"])
def test_an_upsert_that_sets_a_file_is_refused(world: World, how: str) -> None:
    add(world, Account(id=1, code="old", photo=b"old"))
    statement = upsert(world, Account).values(id=1, code="x", photo=b"x")
    mariadb = world.engine.dialect.name == "mariadb"
    excluded = statement.inserted.photo if mariadb else statement.excluded.photo
    value = {"excluded": excluded, "value": b"y", "none": None}[how]
    if mariadb:
        statement = statement.on_duplicate_key_update(photo=value)
    else:
        statement = statement.on_conflict_do_update(index_elements=["id"], set_={"photo": value})
    with world.session() as session:
        with pytest.raises(InvalidContent, match=r"Account\.photo: an upsert does not tell"):
            session.execute(statement)
        session.commit()
    world.check(b"old")


def test_replace_is_refused(world: World) -> None:
    add(world, Account(id=1, code="old", photo=b"old"))
    with world.session() as session, pytest.raises(InvalidContent, match="REPLACE does not tell"):
        session.execute(insert(Account).prefix_with("OR REPLACE").values(id=1, code="new"))
    world.check(b"old")


def test_insert_from_select_of_a_file_column_is_refused(world: World) -> None:
    add(world, Document(name="a", content=b"a"))
    with world.session() as session:
        query = select(Document.name, Document.content)
        with pytest.raises(InvalidContent, match=r"Document\.content: INSERT \.\.\. SELECT"):
            session.execute(insert(Document).from_select(["name", "content"], query))
        session.execute(insert(Document).from_select(["name"], select(Document.name)))
        session.commit()
    world.check(b"a")


def test_a_sql_expression_is_refused(world: World) -> None:
    add(world, Document(name="a", content=b"a"))
    with world.session() as session:
        query = select(Document.content).limit(1).scalar_subquery()
        for expression in (query, func.lower("x"), Document.report, literal(1) + 1):
            with pytest.raises(InvalidContent, match=r"Document\.content: a statement cannot take a file from a SQL"):
                session.execute(insert(Document).values(content=expression))
        session.commit()
    world.check(b"a")


@pytest.mark.parametrize("value", ["text", {"path": "default/x"}, 7])
def test_what_is_no_file_is_refused(world: World, value: Any) -> None:
    with world.session() as session, pytest.raises(InvalidContent, match=r"Document\.content"):
        session.execute(insert(Document), [{"content": b"fine"}, {"content": value}])
    world.check()


# --- how transactions end -------------------------------------------------------------------------------------------


def test_rolled_back_rows_leave_no_file_and_their_values_can_be_inserted_again(world: World) -> None:
    value = UploadedFile(b"v")
    with world.session() as session:
        session.execute(insert(Document).values(content=value))
        assert len(world.stored()) == 1
        session.rollback()
        assert value.pending
        session.execute(insert(Document).values(content=value))
        session.commit()
        assert not value.pending
    world.check(b"v")


@pytest.mark.parametrize("release", [True, False])
def test_insert_inside_a_savepoint(world: World, release: bool) -> None:
    with world.session() as session:
        session.execute(insert(Document).values(content=b"outer"))
        savepoint = session.begin_nested()
        session.execute(insert(Document), [{"content": b"1"}, {"content": b"2"}])
        savepoint.commit() if release else savepoint.rollback()
        session.commit()
    world.check(*((b"outer", b"1", b"2") if release else (b"outer",)))


def test_a_row_that_the_database_refuses_leaves_no_file(world: World) -> None:
    add(world, Account(code="old", photo=b"old"))
    with world.session() as session:
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(insert(Account).values(code="old", photo=b"new"))
        session.commit()
    world.check(b"old")


@pytest.mark.parametrize("table", [Account, table_of(Account)])
def test_rows_before_the_refused_one_keep_their_files(world: World, table: Any) -> None:
    """SQLite keeps the rows before the failing one, and an application may catch the error and commit."""
    rows = [{"code": each, "photo": each.encode()} for each in ("1", "2", "1", "3")]
    with world.session() as session:
        with pytest.raises(IntegrityError):
            session.execute(insert(table), rows)
        if world.engine.dialect.name == "postgresql":
            session.rollback()
        session.commit()
        left = [code.encode() for code in session.scalars(select(Account.code))]
    assert left == ([b"1", b"2"] if world.engine.dialect.name == "sqlite" else [])
    world.check(*left)


def test_a_storage_that_fails_at_the_third_file_leaves_none(world: World, tmp_path: Path) -> None:
    world.depots["archive"].__class__ = FailingStorage
    value = UploadedFile(b"1")
    with world.session() as session:
        with pytest.raises(StorageFailed, match="bad luck"):
            session.execute(insert(Document), [{"content": value}, {"content": b"2"}, {"report": b"x" * 13}])
        assert world.stored() == set()
        assert value.pending
        session.execute(insert(Document).values(content=value))
        session.commit()
    world.check(b"1")
