"""Rows that DELETE statements remove, and what holds for every statement."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, event, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import ORMExecuteState, Session, aliased, with_loader_criteria

from depot_lite.errors import ConfigurationError, InvalidContent
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.statements import add, changed, table_of, words
from tests.support.models import (
    Document,
    Employee,
    ExpressLetter,
    Folder,
    Letter,
    Manager,
    Page,
    Plain,
    Plate,
    Truck,
    Vehicle,
)


def three(world: World) -> None:
    """Commit three documents: a, b and c."""
    add(world, *(Document(name=each, content=each.encode(), report=each.upper().encode()) for each in "abc"))


# --- which files go -----------------------------------------------------------------------------------------------


def test_delete_takes_the_files_of_the_rows_it_removes(world: World) -> None:
    three(world)
    with world.session() as session:
        assert changed(session.execute(delete(Document).where(Document.name != "b"))) == 2
        assert len(world.stored()) == 6
        session.commit()
    world.check(b"b", b"B")


def test_delete_without_a_condition_takes_all(world: World) -> None:
    three(world)
    with world.session() as session:
        assert changed(session.execute(delete(Document))) == 3
        session.commit()
    world.check()


def test_delete_on_the_table_itself_takes_files_too(world: World) -> None:
    three(world)
    table = table_of(Document)
    with world.session() as session:
        session.execute(delete(table).where(table.c.name == "a"))
        session.commit()
    world.check(b"b", b"B", b"c", b"C")


def test_query_delete_takes_files_too(world: World) -> None:
    three(world)
    with world.session() as session:
        assert session.query(Document).filter(Document.name.in_(["a", "c"])).delete() == 2
        session.commit()
    world.check(b"b", b"B")


def test_delete_of_more_rows_than_one_condition_names_takes_all_files(world: World) -> None:
    with world.session() as session:
        session.execute(insert(Document), [{"name": "x", "content": b"one"}] + [{"name": "x"}] * 600)
        session.execute(insert(Document), [{"name": "x", "content": b"two"}])
        session.commit()
        assert changed(session.execute(delete(Document).where(Document.name == "x"))) == 602
        session.commit()
    world.check()


def test_deleted_objects_that_were_only_flushed_by_the_statement_are_tracked(world: World) -> None:
    """The statement flushes the session first, so that it deletes objects that were just added."""
    with world.session() as session:
        session.add(Document(name="new", content=b"new"))
        session.execute(delete(Document))
        session.commit()
    world.check()


def test_delete_with_parameters_of_its_own(world: World) -> None:
    three(world)
    with world.session() as session:
        given = {"which": "a"}
        session.execute(delete(Document).where(Document.name == bindparam("which")), given)
        assert given == {"which": "a"}
        session.commit()
    world.check(b"b", b"B", b"c", b"C")


def test_delete_with_several_sets_of_parameters(world: World) -> None:
    three(world)
    table = table_of(Document)
    with world.session() as session:
        session.execute(delete(table).where(table.c.name == bindparam("which")), [{"which": "a"}, {"which": "c"}])
        session.commit()
    world.check(b"b", b"B")


@pytest.mark.parametrize("returning", ["entity", "column", "from_statement"])
def test_delete_returning_takes_the_files(world: World, returning: str) -> None:
    if not world.engine.dialect.delete_returning:
        pytest.skip("the database has no DELETE ... RETURNING")
    three(world)
    with world.session() as session:
        statement = delete(Document).where(Document.name == "a")
        if returning == "column":
            assert session.scalars(statement.returning(Document.name)).all() == ["a"]
        elif returning == "entity":
            gone = session.scalars(statement.returning(Document), execution_options={"synchronize_session": False})
            assert [each.content.file.read() for each in gone if each.content] == [b"a"]
        else:
            gone = session.scalars(select(Document).from_statement(statement.returning(Document)))
            assert [each.name for each in gone] == ["a"]
        session.commit()
    world.check(b"b", b"B", b"c", b"C")


@pytest.mark.parametrize("form", ["in", "exists", "using"])
def test_delete_with_a_condition_on_another_table(world: World, form: str) -> None:
    if form == "using" and world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no DELETE ... USING")
    add(
        world, Folder(name="old", pages=[Page(scan=b"1"), Page(scan=b"2")]), Folder(name="new", pages=[Page(scan=b"3")])
    )
    condition: Any = {
        "in": Page.folder_id.in_(select(Folder.id).where(Folder.name == "old")),
        "exists": exists().where(Folder.id == Page.folder_id, Folder.name == "old"),
        "using": (Folder.id == Page.folder_id) & (Folder.name == "old"),
    }[form]
    with world.session() as session:
        options = {"synchronize_session": False}  # MariaDB cannot return what such a DELETE removes
        assert changed(session.execute(delete(Page).where(condition), execution_options=options)) == 2
        session.commit()
    world.check(b"3")


def test_delete_through_an_alias_of_the_table(world: World) -> None:
    three(world)
    other = table_of(Document).alias("other")
    if world.engine.dialect.name == "mariadb":
        pytest.skip("this MariaDB wants another syntax for it")
    with world.session() as session:
        session.execute(delete(other).where(other.c.name == "a"))
        session.commit()
    world.check(b"b", b"B", b"c", b"C")


def test_delete_of_a_subclass_leaves_its_siblings(world: World) -> None:
    """The criterion of single table inheritance belongs to the statement."""
    add(world, Employee(photo=b"e"), Manager(photo=b"m", contract=b"c"))
    with world.session() as session:
        assert changed(session.execute(delete(Manager))) == 1
        session.commit()
    world.check(b"e")


def test_delete_of_a_joined_subclass_takes_the_files_of_its_own_table(world: World) -> None:
    """SQLAlchemy removes the row of the subclass alone; the parent's row stays, and so does its file."""
    add(world, Truck(picture=b"p", manual=b"m"), Vehicle(picture=b"v"))
    with world.session() as session:
        session.execute(delete(Truck), execution_options={"synchronize_session": False})
        session.commit()
    world.check(b"p", b"v")


def test_delete_of_a_concrete_subclass_and_a_composite_key(world: World) -> None:
    add(world, Letter(attachment=b"l"), ExpressLetter(attachment=b"x"))
    add(world, Plate(number=1, part=1, image=b"1", original=b"o"), Plate(number=1, part=2, image=b"2"))
    with world.session() as session:
        session.execute(delete(ExpressLetter))
        session.execute(delete(Plate).where(Plate.part == 1))
        session.commit()
    world.check(b"l", b"2")


def test_criteria_of_a_listener_save_rows(world: World) -> None:
    """A listener of the application adds a condition to the statement, before or after ours is called."""
    three(world)

    def only_b(state: ORMExecuteState) -> None:
        state.statement = state.statement.options(with_loader_criteria(Document, Document.name == "b"))

    with world.session() as session:
        event.listen(session, "do_orm_execute", only_b)
        assert changed(session.execute(delete(Document))) == 1
        session.commit()
    world.check(b"a", b"A", b"c", b"C")


def test_rows_that_a_listener_hides_from_queries_are_seen(world: World, listen: Callable[..., None]) -> None:
    """What an application hides from its own SELECTs is there nevertheless, and is deleted with its files."""
    three(world)

    def hide(state: ORMExecuteState) -> None:
        if state.is_select:
            state.statement = state.statement.options(with_loader_criteria(Document, Document.name != "a"))

    listen(Session, "do_orm_execute", hide)
    with world.session() as session:
        assert changed(session.execute(delete(Document))) == 3
        session.commit()
    world.check()


# --- the session afterwards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("synchronize", ["auto", "evaluate", "fetch", False])
def test_deleted_objects_are_gone_from_the_session(world: World, synchronize: Any) -> None:
    three(world)
    with world.session() as session:
        first, second, _ = session.scalars(select(Document).order_by(Document.id)).all()
        statement = delete(Document).where(Document.name == "a")
        session.execute(statement, execution_options={"synchronize_session": synchronize})
        assert (first in session) is (synchronize is False)
        assert second in session
        session.commit()
    world.check(b"b", b"B", b"c", b"C")


# --- how transactions end -----------------------------------------------------------------------------------------


def test_rollback_brings_rows_and_files_back(world: World) -> None:
    three(world)
    with world.session() as session:
        session.execute(delete(Document))
        session.rollback()
    world.check(b"a", b"A", b"b", b"B", b"c", b"C")


@pytest.mark.parametrize("release", [True, False])
def test_delete_inside_a_savepoint(world: World, release: bool) -> None:
    three(world)
    with world.session() as session:
        session.execute(delete(Document).where(Document.name == "a"))
        savepoint = session.begin_nested()
        session.execute(delete(Document).where(Document.name == "b"))
        savepoint.commit() if release else savepoint.rollback()
        session.commit()
    world.check(*((b"c", b"C") if release else (b"b", b"B", b"c", b"C")))


def test_delete_that_the_database_refuses_takes_nothing(world: World) -> None:
    add(world, Truck(picture=b"p", manual=b"m"), Vehicle(picture=b"v"))
    with world.session() as session:
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(delete(Vehicle))
        session.commit()
    world.check(b"p", b"m", b"v")


def test_delete_that_fails_at_the_second_parameters_takes_what_is_gone(world: World) -> None:
    """SQLite and MariaDB keep the changes of the first ones, and an application may catch the error and commit."""
    add(world, Vehicle(id=1, picture=b"v"), Truck(id=2, picture=b"p", manual=b"m"))
    table = table_of(Vehicle)
    with world.session() as session:
        with pytest.raises(IntegrityError):
            session.execute(delete(table).where(table.c.id == bindparam("which")), [{"which": 1}, {"which": 2}])
        if world.engine.dialect.name == "postgresql":
            session.rollback()
        session.commit()
    world.check(*((b"v", b"p", b"m") if world.engine.dialect.name == "postgresql" else (b"p", b"m")))


# --- arguments that are passed on, and costs ------------------------------------------------------------------------


def test_execution_options_and_bind_arguments_hold_for_what_is_read(world: World) -> None:
    """``schema_translate_map``, which only the right table can answer, and a session that is bound to nothing."""
    three(world)
    if world.engine.dialect.name == "sqlite":
        schema: Any = "main"
    else:
        with world.engine.connect() as connection:
            function = "current_schema" if world.engine.dialect.name == "postgresql" else "database"
            schema = connection.scalar(select(getattr(func, function)()))
    options = {"schema_translate_map": {None: schema}}
    with Session() as session:
        statement = delete(Document).where(Document.name == "a")
        session.execute(statement, execution_options=options, bind_arguments={"bind": world.engine})
        session.commit()
    world.check(b"b", b"B", b"c", b"C")


def test_delete_reads_once(world: World, queries: list[str]) -> None:
    three(world)
    with world.session() as session:
        queries.clear()
        session.execute(delete(Document).where(Document.name == "a"))
        assert words(queries) == ["SELECT", "DELETE"]
        session.rollback()


def test_statements_on_tables_without_files_are_left_alone(world: World, queries: list[str]) -> None:
    with world.session() as session:
        session.execute(insert(Plain), [{"name": "x"}])
        session.execute(update(Plain).values(name="y"))
        session.execute(delete(Plain).where(Plain.name == "y"))
        assert words(queries) == ["INSERT", "UPDATE", "DELETE"]
        assert "IN (" not in queries[-1]
        session.rollback()


# --- refusals -----------------------------------------------------------------------------------------------------


def test_a_fresh_file_outside_of_a_session_is_refused(world: World) -> None:
    with world.engine.begin() as connection:
        for statement in (insert(Document), update(Document)):
            with pytest.raises(InvalidContent, match=r"not stored yet.* by session\.execute\(\)"):
                connection.execute(statement.values(content=UploadedFile(b"x")))
            with pytest.raises(InvalidContent, match=r"bytes is not a stored file.* an assignment to an attribute"):
                connection.execute(statement.values(content=b"x"))
    world.check()


def test_a_stored_value_and_none_may_be_written_outside_of_a_session(world: World) -> None:
    value = UploadedFile(b"x")
    value.store()
    with world.engine.begin() as connection:
        connection.execute(insert(Document).values(content=value, report=None))
    world.check(b"x")


def test_a_condition_that_writes_is_refused(world: World) -> None:
    """Its rows would be written twice, as the files are read with the same condition."""
    if world.engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has statements that write inside of WITH")
    three(world)
    written = insert(Plain).values(name="x").returning(Plain.id).cte()
    with world.session() as session, pytest.raises(InvalidContent, match="executed twice"):
        session.execute(delete(Document).where(Document.id.in_(select(written.c.id))))
    world.check(b"a", b"A", b"b", b"B", b"c", b"C")


def test_a_table_without_a_primary_key_is_refused(world: World) -> None:
    from sqlalchemy import Column, MetaData, Table

    table = Table("keyless", MetaData(), Column("file", UploadedFileField))
    with world.session() as session, pytest.raises(ConfigurationError, match="keyless has no primary key"):
        session.execute(delete(table))


def test_delete_through_an_alias_of_the_class(world: World) -> None:
    """SQLAlchemy or the database may refuse it; where they do not, the files go with the rows."""
    three(world)
    other = aliased(Document)
    with world.session() as session:
        try:
            session.execute(delete(other).where(other.name == "a"), execution_options={"synchronize_session": False})
        except SQLAlchemyError:
            session.rollback()
        left = session.scalars(select(Document.name)).all()
        session.commit()
    world.check(*(each for name in left if name for each in (name.encode(), name.upper().encode())))


@pytest.mark.matrix
@pytest.mark.parametrize(
    "what", ["session.execute(insert(Document).values(content=b'1'))", "session.execute(delete(Document))"]
)
def test_a_statement_may_be_the_first_thing_that_a_process_does(tmp_path: Path, what: str) -> None:
    """Mappers that nobody has used yet are not configured, and their file attributes must be known all the same.

    SQLite has no lock on rows: a transaction that reads them to write them later has to begin as one that writes.
    """
    program = f"""
        from sqlalchemy import create_engine, delete, event, insert, text
        from sqlalchemy.orm import Session
        from depot_lite import DepotManager
        from tests.support.models import Base, Document
        DepotManager.configure("default", {{"depot.storage_path": "media"}})
        engine = create_engine("sqlite:///rows.db")
        Base.metadata.create_all(engine)
        sent = []
        event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2].split()[0]))
        with Session(engine) as session:
            {what}
            session.commit()
        print(*sent, len(list(DepotManager.get().list())))
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    expected = ["INSERT", "1"] if "insert" in what else ["BEGIN", "SELECT", "DELETE", "0"]
    assert run.stdout.split() == expected, run.stderr
