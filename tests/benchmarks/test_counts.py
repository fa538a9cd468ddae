"""No storage call and no query more than needed: counted, since a stopwatch would only guess."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, delete, select, update
from sqlalchemy.orm import defer

from depot_lite.fields.tracking import LEDGER
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.benchmarks.counting import CountingStorage
from tests.conftest import World
from tests.models import Document, Folder


@pytest.fixture
def depots() -> Iterator[dict[str, FileStorage]]:
    """The depots of all tests here count."""
    with temporary_depots():
        yield {name: DepotManager.configure(name, CountingStorage()) for name in ("default", "archive")}


@pytest.fixture
def depot(depots: dict[str, FileStorage]) -> CountingStorage:
    counting = depots["default"]
    assert isinstance(counting, CountingStorage)
    return counting


@pytest.fixture
def ten(world: World, depot: CountingStorage, queries: list[str]) -> World:
    """Ten rows with a file each, and nothing counted yet."""
    with world.session() as session:
        session.add_all(Document(id=number, name="n", content=f"{number}".encode()) for number in range(1, 11))
        session.commit()
    depot.taken()
    queries.clear()
    return world


def kinds(queries: list[str]) -> list[str]:
    """Return the first word of each statement, and forget them."""
    found = [each.split(maxsplit=1)[0].upper() for each in queries]
    queries.clear()
    return [each for each in found if each not in {"BEGIN", "PRAGMA", "SAVEPOINT", "RELEASE"}]


def test_an_insert_stores_each_file_once_and_reads_nothing_back(
    world: World, depot: CountingStorage, queries: list[str]
) -> None:
    """Neither from the storage nor from the database, and the statement is SQLAlchemy's own."""
    with world.session() as session:
        session.add(Document(id=1, content=b"1"))
        session.commit()
    assert depot.taken() == {"save": 1}
    assert kinds(queries) == ["INSERT"]
    with world.session() as session:
        session.add_all(Document(id=number, content=b"1", report=b"2") for number in range(2, 12))
        session.commit()
    assert depot.taken() == {"save": 10}
    assert kinds(queries) == ["INSERT"]


def test_loading_rows_makes_no_storage_call(ten: World, depot: CountingStorage, queries: list[str]) -> None:
    """Nor does asking them for what the row knows: name, type, size, checksum, path, time."""
    with ten.session() as session:
        for document in session.scalars(select(Document)):
            assert document.content is not None
            value = document.content
            assert (value.filename, value.content_type) == ("unnamed", "text/plain")
            assert value.size in {1, 2}
            assert value.path == f"default/{value.file_id}"
            assert value.checksum is not None
            assert value.uploaded_at is not None
        assert kinds(queries) == ["SELECT"]
        assert depot.taken() == {}
        assert value.file.read() in {b"1", b"10"}
        assert depot.taken() == {"open": 1}


def test_a_replacement_is_one_save_and_one_delete(ten: World, depot: CountingStorage, queries: list[str]) -> None:
    with ten.session() as session:
        document = session.get_one(Document, 1)
        queries.clear()
        document.content = UploadedFile(b"new")
        session.flush()
        assert depot.taken() == {"save": 1}
        session.commit()
    assert depot.taken() == {"delete_many": 1}
    assert kinds(queries) == ["UPDATE"]


def test_what_was_never_loaded_is_looked_up_with_one_query(
    ten: World, depot: CountingStorage, queries: list[str]
) -> None:
    """The old values of ten objects together, whose file column was deferred."""
    with ten.session() as session:
        documents = session.scalars(select(Document).options(defer(Document.content))).all()
        queries.clear()
        for document in documents:
            document.content = UploadedFile(b"new")
        session.commit()
    assert kinds(queries) == ["SELECT", "UPDATE"]
    assert depot.taken() == {"save": 10, "delete_many": 1}


def test_ten_deleted_objects_are_one_delete(ten: World, depot: CountingStorage, queries: list[str]) -> None:
    """One call, and one statement, where the objects are loaded."""
    with ten.session() as session:
        documents = session.scalars(select(Document)).all()
        queries.clear()
        for document in documents:
            session.delete(document)
        session.commit()
    assert depot.taken() == {"delete_many": 1}
    assert kinds(queries) == ["DELETE"]


def test_a_rollback_is_one_delete(world: World, depot: CountingStorage) -> None:
    with world.session() as session:
        session.add_all(Document(id=number, content=b"1") for number in range(1, 11))
        session.flush()
        depot.taken()
        session.rollback()
    assert depot.taken() == {"delete_many": 1}


def test_a_copy_is_one_copy(ten: World, depot: CountingStorage, queries: list[str]) -> None:
    """Made inside the storage: no byte comes through us."""
    with ten.session() as session:
        original = session.get_one(Document, 1).content
        queries.clear()
        session.add(Document(id=11, content=original))
        session.commit()
    assert depot.taken() == {"copy": 1}
    assert kinds(queries) == ["INSERT"]


def test_a_change_of_another_column_touches_no_file(ten: World, depot: CountingStorage, queries: list[str]) -> None:
    with ten.session() as session:
        for document in session.scalars(select(Document)):
            document.name = "changed"
        queries.clear()
        session.commit()
        assert LEDGER not in session.info
    assert depot.taken() == {}
    assert kinds(queries) == ["UPDATE"]


def test_statements_read_what_they_remove_once(ten: World, depot: CountingStorage, queries: list[str]) -> None:
    """DELETE: one SELECT before it. UPDATE of the file column as well; of another column nothing is added."""
    with ten.session() as session:
        session.execute(update(Document).values(name="changed"))
        assert kinds(queries) == ["UPDATE"]
        session.execute(update(Document).where(Document.id == 1).values(content=None))
        assert kinds(queries) == ["SELECT", "UPDATE"]
        session.execute(delete(Document))
        assert kinds(queries) == ["SELECT", "DELETE"]
        session.commit()
    assert depot.taken() == {"delete_many": 1}
    ten.check()


def test_a_session_that_touches_no_file_makes_no_ledger(world: World, depot: CountingStorage, engine: Engine) -> None:
    """It adds, changes, deletes, uses savepoints and rolls back: nothing is kept and nothing is asked for."""
    with world.session() as session:
        session.add(Folder(id=1, name="plain"))
        session.commit()
        with session.begin_nested():
            session.get_one(Folder, 1).name = "changed"
        session.commit()
        session.execute(update(Folder).values(name="by statement"))
        session.delete(session.get_one(Folder, 1))
        session.rollback()
        session.add(Document(id=1, name="without a file"))
        session.commit()
        assert LEDGER not in session.info
    assert depot.taken() == {}
