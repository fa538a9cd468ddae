"""Rows that UPDATE statements change: each gets a file of its own, and the replaced one goes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, event, func, null, select, update
from sqlalchemy.exc import IntegrityError, PendingRollbackError

from depot_lite.errors import InvalidContent, StorageFailed
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.bad_luck import FailingStorage
from tests.fields.statements import add, changed, table_of, words
from tests.support.models import Account, Document, Employee, Folder, Manager, Page, Plate, Truck


class EmptyUpload:
    """The upload of a form in which no file was chosen."""

    filename = ""
    content_type = "application/octet-stream"

    def __init__(self) -> None:
        self.file = io.BytesIO()


def three(world: World) -> None:
    """Commit three documents: 1, 2 and 3, called a, b and c."""
    add(world, *(Document(id=number, name=name, content=name.encode()) for number, name in enumerate("abc", 1)))


# --- each form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [Document, table_of(Document)])
def test_update_replaces_the_files_of_the_rows_it_changes(world: World, table: Any) -> None:
    three(world)
    name = table_of(Document).c.name
    with world.session() as session:
        assert changed(session.execute(update(table).where(name == "a").values(content=b"new"))) == 1
        assert len(world.stored()) == 4
        session.commit()
    world.check(b"new", b"b", b"c")


def test_one_value_for_many_rows_becomes_a_file_for_each(world: World) -> None:
    three(world)
    with world.session() as session:
        assert changed(session.execute(update(Document).values(content=UploadedFile(b"v"), report=b"r"))) == 3
        session.commit()
    world.check(b"v", b"v", b"v", b"r", b"r", b"r")


@pytest.mark.matrix
def test_many_rows_in_one_update(world: World) -> None:
    """More rows than one condition names."""
    with world.session() as session:
        session.bulk_insert_mappings(Document, [{"name": "x"}] * 510)
        session.execute(update(Document).values(report=b"r"))
        session.commit()
    world.check(*[b"r"] * 510)


@pytest.mark.parametrize("table", [Document, table_of(Document)])
def test_none_clears(world: World, table: Any) -> None:
    three(world)
    with world.session() as session:
        session.execute(update(table).where(table_of(Document).c.name != "b").values(content=None))
        session.commit()
        assert session.scalars(select(Document.name).where(Document.content.is_(None))).all() == ["a", "c"]
    world.check(b"b")


def test_an_update_of_other_columns_is_left_alone(world: World, queries: list[str]) -> None:
    three(world)
    with world.session() as session:
        queries.clear()
        session.execute(update(Document).values(name="x"))
        assert words(queries) == ["UPDATE"]
        session.commit()
    world.check(b"a", b"b", b"c")


def test_an_update_of_no_rows_stores_nothing(world: World) -> None:
    value = UploadedFile(b"v")
    with world.session() as session:
        assert changed(session.execute(update(Document).where(Document.name == "x").values(content=value))) == 0
        session.commit()
    assert value.pending
    world.check()


def test_an_update_reads_keys_then_rows_and_asks_once(world: World, queries: list[str]) -> None:
    """The keys before anything is stored, so that no row is locked meanwhile; the rows under a lock."""
    three(world)
    with world.session() as session:
        queries.clear()
        session.execute(update(Document).values(content=b"x"))
        assert words(queries) == ["SELECT", "SELECT", "UPDATE"]
        queries.clear()
        session.commit()
    assert words(queries) == ["SELECT"]
    world.check(b"x", b"x", b"x")


def test_an_update_of_one_row_by_its_key_reads_it_once(world: World, queries: list[str]) -> None:
    add(world, Document(id=1, content=b"old"))
    with world.session() as session:
        queries.clear()
        session.execute(update(Document).where(Document.id == 1).values(content=b"x"))
        assert words(queries) == ["SELECT", "UPDATE"]
        session.commit()
    world.check(b"x")


def test_query_update(world: World) -> None:
    three(world)
    with world.session() as session:
        assert session.query(Document).filter_by(name="a").update({"content": b"x", "name": "y"}) == 1
        assert session.query(Document).filter_by(name="b").update({Document.content: None}) == 1
        session.commit()
    world.check(b"x", b"c")


def test_a_stored_value_becomes_a_copy(world: World) -> None:
    three(world)
    with world.session() as session:
        value = session.scalars(select(Document.content).where(Document.name == "a")).one()
        session.execute(update(Document).where(Document.name != "c").values(content=value))
        session.commit()
    world.check(b"a", b"a", b"c")


def test_ordered_values_keep_their_order(world: World, queries: list[str]) -> None:
    three(world)
    with world.session() as session:
        statement = update(Document).where(Document.name == "a")
        session.execute(statement.ordered_values((Document.content, b"x"), (Document.name, "y")))
        assert queries[-1].index("content=") < queries[-1].index("name=")
        session.commit()
    world.check(b"x", b"b", b"c")


def test_values_given_as_parameters(world: World) -> None:
    three(world)
    given = {"which": "a", "content": b"x"}
    other = {"which": "b", "upload": b"y"}
    with world.session() as session:
        session.execute(update(Document).where(Document.name == bindparam("which")), given)
        statement = update(Document).where(Document.name == bindparam("which")).values(content=bindparam("upload"))
        session.execute(statement, other)
        session.commit()
    assert given == {"which": "a", "content": b"x"}
    assert other == {"which": "b", "upload": b"y"}
    world.check(b"x", b"y", b"c")


def test_an_upload_without_a_file_keeps_the_files(world: World) -> None:
    three(world)
    with world.session() as session:
        session.execute(update(Document).values(content=EmptyUpload(), name="same"))
        session.execute(update(Document), [{"id": 1, "content": EmptyUpload(), "name": "other"}])
        session.commit()
        assert sorted(filter(None, session.scalars(select(Document.name)))) == ["other", "same", "same"]
    world.check(b"a", b"b", b"c")


@pytest.mark.parametrize("form", ["entity", "column", "from_statement"])
def test_update_returning(world: World, form: str) -> None:
    if not world.engine.dialect.update_returning:
        pytest.skip("the database has no UPDATE ... RETURNING")
    three(world)
    with world.session() as session:
        statement = update(Document).where(Document.name != "b").values(content=b"x")
        if form == "entity":
            found = session.scalars(statement.returning(Document)).all()
            assert [each.content.file.read() for each in found if each.content] == [b"x", b"x"]
        elif form == "column":
            assert sorted(filter(None, session.scalars(statement.returning(Document.name)))) == ["a", "c"]
        else:
            found = session.scalars(select(Document).from_statement(statement.returning(Document))).all()
            assert [each.content.file.read() for each in found if each.content] == [b"x", b"x"]
        session.commit()
    world.check(b"x", b"x", b"b")


@pytest.mark.parametrize("form", ["in", "from"])
def test_a_condition_on_another_table(world: World, form: str) -> None:
    add(
        world, Folder(name="old", pages=[Page(scan=b"1"), Page(scan=b"2")]), Folder(name="new", pages=[Page(scan=b"3")])
    )
    inside = Page.folder_id.in_(select(Folder.id).where(Folder.name == "old"))
    condition = inside if form == "in" else (Page.folder_id == Folder.id) & (Folder.name == "old")
    with world.session() as session:
        session.execute(update(Page).where(condition).values(scan=b"x"))
        session.commit()
    world.check(b"x", b"x", b"3")


def test_subclasses_and_columns_with_names_of_their_own(world: World) -> None:
    add(world, Employee(photo=b"e"), Manager(photo=b"m", contract=b"c"), Truck(picture=b"p", manual=b"t"))
    add(world, Plate(number=1, part=1, image=b"1"), Plate(number=1, part=2, image=b"2"))
    with world.session() as session:
        session.execute(update(Manager).values(photo=b"M"))
        session.execute(update(Truck).values(manual=b"T"), execution_options={"synchronize_session": False})
        session.execute(update(Plate).values(image=b"I"))
        session.execute(update(table_of(Plate)).where(Plate.part == 1).values(original_col=b"O"))
        session.commit()
    world.check(b"e", b"M", b"c", b"p", b"T", b"I", b"I", b"O")


def test_criteria_of_a_listener_save_rows(world: World) -> None:
    three(world)

    def only_b(state: Any) -> None:
        if state.is_update:
            state.statement = state.statement.where(Document.name == "b")

    with world.session() as session:
        event.listen(session, "do_orm_execute", only_b)
        session.execute(update(Document).values(content=b"x"))
        session.commit()
    world.check(b"a", b"x", b"c")


# --- by primary key -------------------------------------------------------------------------------------------------


def test_update_by_primary_key(world: World, queries: list[str]) -> None:
    three(world)
    given: list[dict[str, Any]] = [{"id": 1, "content": b"x"}, {"id": 2, "content": None}, {"id": 3, "name": "z"}]
    before = [dict(each) for each in given]
    with world.session() as session:
        queries.clear()
        session.execute(update(Document), given)
        assert words(queries).count("SELECT") == 1
        session.commit()
    assert given == before
    world.check(b"x", b"c")


def test_update_by_primary_key_of_joined_and_composite_classes(world: World) -> None:
    add(world, Truck(id=1, picture=b"p", manual=b"m"), Plate(number=1, part=2, image=b"i", original=b"o"))
    with world.session() as session:
        session.execute(update(Truck), [{"id": 1, "picture": b"P", "manual": b"M"}])
        session.execute(update(Plate), [{"number": 1, "part": 2, "image": b"I"}])
        session.commit()
    world.check(b"P", b"M", b"I", b"o")


def test_one_row_that_is_named_twice_keeps_the_last_file(world: World) -> None:
    three(world)
    with world.session() as session:
        session.execute(update(Document), [{"id": 1, "content": b"x"}, {"id": 1, "content": b"y"}])
        session.commit()
    world.check(b"y", b"b", b"c")


def test_a_primary_key_that_reads_otherwise_names_the_row_all_the_same(world: World) -> None:
    """The database takes "1" for 1; Python does not, and the file must not be taken for one that no row names."""
    three(world)
    with world.session() as session:
        session.execute(
            update(Document), [{"id": "1", "content": b"x"}], execution_options={"synchronize_session": False}
        )
        session.commit()
    world.check(b"x", b"b", b"c")


def test_several_parameters_with_a_condition_are_refused(world: World) -> None:
    three(world)
    table = table_of(Document)
    statement = update(table).where(table.c.name == bindparam("which"))
    with world.session() as session:
        with pytest.raises(InvalidContent, match=r"document\.content: an UPDATE with WHERE and several"):
            session.execute(statement, [{"which": "a", "content": b"x"}, {"which": "b", "content": b"y"}])
        session.execute(statement.values(name="z"), [{"which": "a"}, {"which": "b"}])
        session.commit()
    world.check(b"a", b"b", b"c")


def test_rows_before_the_refused_one_keep_their_new_files(world: World) -> None:
    """SQLite and MariaDB keep the changes before the failing row; an application may catch the error."""
    add(world, *(Account(id=each, code=str(each), photo=str(each).encode()) for each in (1, 2, 3)))
    rows = [{"id": 1, "code": "x", "photo": b"x"}, {"id": 2, "code": "3", "photo": b"y"}, {"id": 3, "code": "z"}]
    with world.session() as session:
        with pytest.raises(IntegrityError):
            session.execute(update(Account), rows)
        if world.engine.dialect.name == "postgresql":
            session.rollback()
        session.commit()
    world.check(b"1" if world.engine.dialect.name == "postgresql" else b"x", b"2", b"3")


# --- the session afterwards -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("synchronize", ["auto", "evaluate", "fetch", False])
@pytest.mark.parametrize("by_key", [True, False])
def test_objects_show_the_stored_file_afterwards(world: World, synchronize: Any, by_key: bool) -> None:
    if by_key and synchronize == "fetch":
        pytest.skip("SQLAlchemy has no such strategy for updates by primary key")
    three(world)
    options = {"synchronize_session": synchronize}
    with world.session() as session:
        documents = session.scalars(select(Document).order_by(Document.id)).all()
        if by_key:
            rows: list[dict[str, Any]] = [{"id": 1, "content": b"x"}, {"id": 2, "content": None}]
            session.execute(update(Document), rows, execution_options=options)
        else:
            session.execute(update(Document).where(Document.id == 1).values(content=b"x"), execution_options=options)
            session.execute(update(Document).where(Document.id == 2).values(content=None), execution_options=options)
        first, second, third = (each.content for each in documents)
        assert isinstance(first, UploadedFile)
        assert first.file.read() == b"x"
        assert second is None
        assert third is not None
        assert third.file.read() == b"c"
        documents[0].content = UploadedFile(b"y")
        documents[1].content = UploadedFile(b"z")
        session.commit()
    world.check(b"y", b"z", b"c")


def test_a_change_that_waits_knows_what_the_row_holds_now(world: World) -> None:
    """The object was given a file, then a statement gave its row another, which the flush replaces."""
    three(world)
    with world.session(autoflush=False) as session:
        document = session.get_one(Document, 1)
        document.content = UploadedFile(b"waiting")
        statement = update(Document).where(Document.id == 1).values(content=b"between")
        session.execute(statement, execution_options={"synchronize_session": False})
        session.commit()
    world.check(b"waiting", b"b", b"c")


def test_objects_show_the_old_file_after_a_savepoint_was_rolled_back(world: World) -> None:
    three(world)
    with world.session() as session:
        document = session.get_one(Document, 1)
        savepoint = session.begin_nested()
        session.execute(update(Document), [{"id": 1, "content": b"x"}])
        session.execute(update(Document).where(Document.id == 1).values(content=b"y"))
        savepoint.rollback()
        assert document.content is not None
        assert document.content.file.read() == b"a"
        session.commit()
    world.check(b"a", b"b", b"c")


# --- how transactions end -------------------------------------------------------------------------------------------


def test_rollback_brings_the_old_files_back(world: World) -> None:
    three(world)
    value = UploadedFile(b"v")
    with world.session() as session:
        session.execute(update(Document).values(content=value))
        session.rollback()
        assert value.pending
        session.execute(update(Document).where(Document.id == 1).values(content=value))
        session.commit()
    world.check(b"v", b"b", b"c")


@pytest.mark.parametrize("release", [True, False])
def test_update_inside_a_savepoint(world: World, release: bool) -> None:
    three(world)
    with world.session() as session:
        session.execute(update(Document).where(Document.id == 1).values(content=b"x"))
        savepoint = session.begin_nested()
        session.execute(update(Document).where(Document.id < 3).values(content=b"y"))
        savepoint.commit() if release else savepoint.rollback()
        session.commit()
    world.check(*((b"y", b"y", b"c") if release else (b"x", b"b", b"c")))


def test_an_update_that_the_database_refuses_changes_no_file(world: World) -> None:
    add(world, *(Account(code=each, photo=each.encode()) for each in "ab"))
    with world.session() as session:
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(update(Account).values(code="same", photo=b"x"))
        session.commit()
    world.check(b"a", b"b")


def test_a_storage_that_fails_leaves_the_rows_as_they_were(world: World, tmp_path: Path) -> None:
    three(world)
    world.depots["archive"].__class__ = FailingStorage
    with world.session() as session:
        with pytest.raises(StorageFailed, match="bad luck"):
            session.execute(update(Document).values(content=b"new", report=b"x" * 13))
        session.commit()
    world.check(b"a", b"b", b"c")


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_sql_expression_is_refused(world: World) -> None:
    three(world)
    with world.session() as session:
        for expression in (Document.report, func.lower("x"), select(Document.content).limit(1).scalar_subquery()):
            with pytest.raises(InvalidContent, match=r"Document\.content: a statement cannot take a file from a SQL"):
                session.execute(update(Document).values(content=expression))
        session.commit()
    world.check(b"a", b"b", b"c")


def test_a_new_primary_key_together_with_a_file_is_refused(world: World) -> None:
    three(world)
    with world.session() as session:
        with pytest.raises(InvalidContent, match=r"Document\.content: an UPDATE that changes the primary key"):
            session.execute(update(Document).values(id=Document.id + 10, content=b"x"))
        session.execute(update(Document).values(id=Document.id + 10))
        session.commit()
    world.check(b"a", b"b", b"c")


# --- statements that are written otherwise ----------------------------------------------------------------------------


def test_null_in_sql_takes_the_file_away(world: World) -> None:
    add(world, Document(id=1, content=b"old", report=b"kept"))
    with world.session() as session:
        session.execute(update(Document).values(content=null()))
        session.commit()
    world.check(b"kept")


def test_values_in_an_order_store_their_files(world: World) -> None:
    add(world, Document(id=1, name="old", content=b"old"))
    with world.session() as session:
        statement = update(Document).where(Document.id == 1)
        session.execute(statement.ordered_values((Document.name, "new"), (Document.content, b"new")))
        session.commit()
        assert session.get_one(Document, 1).name == "new"
    world.check(b"new")


def test_update_or_replace_is_refused(world: World) -> None:
    """It may remove rows that it does not tell of."""
    add(world, Document(id=1, content=b"old"))
    with world.session() as session, pytest.raises(InvalidContent, match="UPDATE OR REPLACE"):
        session.execute(update(Document).prefix_with("OR REPLACE").values(content=b"new"))
    world.check(b"old")


def test_several_sets_of_parameters_with_a_condition_are_refused(world: World) -> None:
    add(world, Document(id=1, name="a", content=b"a"), Document(id=2, name="b", content=b"b"))
    statement = update(Document).where(Document.name == bindparam("which")).values(content=bindparam("new"))
    with world.session() as session, pytest.raises(InvalidContent, match="several sets of parameters"):
        session.execute(
            statement,
            [{"which": "a", "new": b"1"}, {"which": "b", "new": b"2"}],
            execution_options={"synchronize_session": False},
        )
    world.check(b"a", b"b")


def test_a_flush_of_a_transaction_that_has_failed_stores_nothing(world: World) -> None:
    add(world, Document(id=1, content=b"old"))
    with world.session() as session:
        session.add(Document(id=1, content=b"the same key"))
        with pytest.raises(IntegrityError):
            session.flush()
        before = world.stored()
        session.add(Document(id=2, content=b"new"))
        with pytest.raises(PendingRollbackError):
            session.flush()
        assert world.stored() == before
    world.check(b"old")
