"""No storage call and no query more than needed: counted, since a stopwatch would only guess."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, defer

from depot_lite.fields.tracking.ledger import LEDGER
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.benchmarks.counting import CountingStorage
from tests.conftest import World
from tests.support.models import Account, Document, Folder, Movie

Change = Callable[[Session, int], None]


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
    """Nor does asking them for facts that the row has: name, type, size, checksum, path, time."""
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
    # One locking read of the row, the statement, and one question after COMMIT.
    assert kinds(queries) == ["SELECT", "UPDATE", "SELECT"]


def test_what_was_never_loaded_is_looked_up_with_one_query(
    ten: World, depot: CountingStorage, queries: list[str]
) -> None:
    """The old values of ten objects together, whose file column was deferred; after COMMIT they are asked for again."""
    with ten.session() as session:
        documents = session.scalars(select(Document).options(defer(Document.content))).all()
        queries.clear()
        for document in documents:
            document.content = UploadedFile(b"new")
        session.commit()
    assert kinds(queries) == ["SELECT", "UPDATE", "SELECT"]
    assert depot.taken() == {"save": 10, "delete_many": 1}


def test_ten_deleted_objects_are_one_delete(ten: World, depot: CountingStorage, queries: list[str]) -> None:
    """One call, and one statement between the two questions."""
    with ten.session() as session:
        documents = session.scalars(select(Document)).all()
        queries.clear()
        for document in documents:
            session.delete(document)
        session.commit()
    assert depot.taken() == {"delete_many": 1}
    assert kinds(queries) == ["SELECT", "DELETE", "SELECT"]


def test_a_rollback_is_one_question_and_one_delete(world: World, depot: CountingStorage, queries: list[str]) -> None:
    with world.session() as session:
        session.add_all(Document(id=number, content=b"1") for number in range(1, 11))
        session.flush()
        depot.taken()
        assert kinds(queries) == ["INSERT"]
        session.rollback()
    assert depot.taken() == {"delete_many": 1}
    assert kinds(queries) == ["SELECT"]


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
    """One SELECT before DELETE and before UPDATE of the file column; of another column nothing is added.

    After COMMIT one question for both, as they concern one table.
    """
    with ten.session() as session:
        session.execute(update(Document).values(name="changed"))
        assert kinds(queries) == ["UPDATE"]
        session.execute(update(Document).where(Document.id == 1).values(content=None))
        assert kinds(queries) == ["SELECT", "UPDATE"]
        session.execute(delete(Document))
        assert kinds(queries) == ["SELECT", "DELETE"]
        session.commit()
    assert kinds(queries) == ["SELECT"]
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


def test_a_session_without_files_makes_no_query_more(world: World, depot: CountingStorage, queries: list[str]) -> None:
    """Each statement is SQLAlchemy's own, at the end of the transaction too; so it is where no file is in a row."""
    with world.session() as session:
        session.add(Folder(id=1, name="plain"))
        session.commit()
        assert kinds(queries) == ["INSERT"]
        session.get_one(Folder, 1).name = "changed"
        session.commit()
        assert kinds(queries) == ["SELECT", "UPDATE"]
        session.execute(update(Folder).values(name="by statement"))
        session.execute(delete(Folder))
        session.rollback()
        assert kinds(queries) == ["UPDATE", "DELETE"]
        session.add(Document(id=1, name="without a file"))
        session.flush()
        session.rollback()
        assert kinds(queries) == ["INSERT"]
    assert depot.taken() == {}


# --- how many questions -----------------------------------------------------------------------------------------------


def _objects_replaced(session: Session, count: int) -> None:
    for document in session.scalars(select(Document)):
        document.content = UploadedFile(b"new")


def _objects_emptied(session: Session, count: int) -> None:
    for document in session.scalars(select(Document)):
        document.content = None


def _objects_deleted(session: Session, count: int) -> None:
    for document in session.scalars(select(Document)).all():
        session.delete(document)


def _updated(session: Session, count: int) -> None:
    session.execute(update(Document).values(content=None))


def _updated_by_key(session: Session, count: int) -> None:
    session.execute(update(Document), [{"id": number, "content": None} for number in range(1, count + 1)])


def _mappings_updated(session: Session, count: int) -> None:
    session.bulk_update_mappings(Document, [{"id": number, "content": None} for number in range(1, count + 1)])


def _deleted(session: Session, count: int) -> None:
    session.execute(delete(Document))


@pytest.mark.matrix
@pytest.mark.parametrize("count", [1, 10, 700])
@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize(
    ("change", "own"),
    [
        (_objects_replaced, 1),
        (_objects_emptied, 1),
        (_objects_deleted, 1),
        (_updated, 0),
        (_updated_by_key, 0),
        (_mappings_updated, 0),
        (_deleted, 0),
    ],
)
def test_two_selects_by_primary_key_for_each_table_and_500_rows(
    world: World, depot: CountingStorage, queries: list[str], change: Change, own: int, count: int, end: str
) -> None:
    """One locking read, and one question after the end; ``own`` is how many SELECTs the change itself is made of."""
    with world.session() as session:
        session.add_all(Document(id=number, name="n", content=b"old") for number in range(1, count + 1))
        session.commit()
    depot.taken()
    queries.clear()
    with world.session() as session:
        change(session, count)
        session.flush()
        (session.commit if end == "commit" else session.rollback)()
    selects = [each for each in queries if each.lstrip().upper().startswith("SELECT")]
    assert own + 1 <= len(selects) <= own + 2 * math.ceil(count / 500)
    calls = depot.taken()
    assert calls.keys() <= {"save", "delete_many"}
    assert calls.get("delete_many", 0) <= math.ceil(count / 500)


def test_two_tables_are_asked_for_once_each(world: World, queries: list[str]) -> None:
    """Two questions before, two after."""
    with world.session() as session:
        session.add_all([Document(id=1, content=b"1"), Movie(id=1, poster=b"2", screenshots=[b"3"])])
        session.commit()
        document, movie = session.get_one(Document, 1), session.get_one(Movie, 1)
        queries.clear()
        document.content, movie.poster, movie.screenshots = None, None, []
        session.commit()
    assert sorted(kinds(queries)) == ["SELECT"] * 4 + ["UPDATE"] * 2
    world.check()


def test_append_to_a_list_is_a_locking_read_and_a_question(
    world: World, depot: CountingStorage, queries: list[str]
) -> None:
    """Nothing is condemned; but a trigger may have put the old list back, without an error."""
    with world.session() as session:
        session.add(Movie(id=1, screenshots=[b"first"]))
        session.commit()
        movie = session.get_one(Movie, 1)
        depot.taken()
        queries.clear()
        movie.screenshots.append(UploadedFile(b"second"))
        session.commit()
    selects = [each for each in queries if each.startswith("SELECT")]
    assert kinds(queries) == ["SELECT", "UPDATE", "SELECT"]
    if world.engine.dialect.name != "sqlite":
        assert "FOR UPDATE" in selects[0]
    assert depot.taken() == {"save": 1}
    world.check(b"first", b"second")


def test_a_flush_and_a_rollback_are_one_question(ten: World, depot: CountingStorage, queries: list[str]) -> None:
    """For new rows there is nothing to be locked; for those that were replaced there is one locking read."""
    with ten.session() as session:
        session.add(Document(id=11, content=b"11"))
        session.flush()
        session.rollback()
        assert kinds(queries) == ["INSERT", "SELECT"]
        session.get_one(Document, 1).content = UploadedFile(b"new")
        queries.clear()
        session.flush()
        session.rollback()
        assert kinds(queries) == ["SELECT", "UPDATE", "SELECT"]
    assert depot.taken() == {"save": 2, "delete_many": 2}


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_unique_violation_with_a_key_of_the_servers_does_not_scan_the_table(
    world: World, depot: CountingStorage, queries: list[str], end: str
) -> None:
    """The key of the row is not known, and the database refused the statement whole: there is nothing to look for."""
    with world.session() as session:
        session.add(Account(code="a", photo=b"old"))
        session.commit()
        depot.taken()
        queries.clear()
        session.add(Account(code="a", photo=b"new"))
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
        (session.commit if end == "commit" else session.rollback)()
    assert kinds(queries) == ["INSERT"]
    assert depot.taken() == {"save": 1, "delete_many": 1}
    world.check(b"old")


@pytest.mark.parametrize("kind", ["insert", "inserts", "mappings", "objects"])
def test_inserts_make_no_query_and_no_storage_call_more(
    world: World, depot: CountingStorage, queries: list[str], kind: str
) -> None:
    """By statement and in bulk: the statement is SQLAlchemy's own, and each file is saved once."""
    with world.session() as session:
        if kind == "insert":
            session.execute(insert(Document).values(id=1, content=b"1"))
        elif kind == "inserts":
            session.execute(insert(Document), [{"id": number, "content": b"1"} for number in (1, 2)])
        elif kind == "mappings":
            session.bulk_insert_mappings(Document, [{"id": number, "content": b"1"} for number in (1, 2)])
        else:
            session.bulk_save_objects([Document(id=number, content=b"1") for number in (1, 2)])
        session.commit()
    assert kinds(queries) == ["INSERT"]
    assert depot.taken() == {"save": 1 if kind == "insert" else 2}


# --- lists whose order changes ----------------------------------------------------------------------------------------


def _swap(files: Any) -> None:
    files[0], files[1] = files[1], files[0]


def _swap_far(files: Any) -> None:
    files[0], files[-1] = files[-1], files[0]


def _shuffle(files: Any) -> None:
    random.Random(7).shuffle(files)  # any order will do


def _sort(files: Any) -> None:
    files.sort(key=lambda file: file.filename, reverse=True)


def _reverse(files: Any) -> None:
    files.reverse()


def _rotate(files: Any) -> None:
    files[:] = files[2:] + files[:2]


def _slice(files: Any) -> None:
    files[1:3] = files[2], files[1]


def _reversed_slice(files: Any) -> None:
    files[:] = files[::-1]


def _pop_and_insert(files: Any) -> None:
    files.insert(0, files.pop())


def _rotate_one_by_one(files: Any) -> None:
    first = files[0]
    for index in range(len(files) - 1):
        files[index] = files[index + 1]
    files[-1] = first


@pytest.mark.parametrize(
    "reorder",
    [
        _swap,
        _swap_far,
        _shuffle,
        _sort,
        _reverse,
        _rotate,
        _slice,
        _reversed_slice,
        _pop_and_insert,
        _rotate_one_by_one,
    ],
)
@pytest.mark.parametrize("how", ["loaded", "new", "assigned", "rolled back"])
def test_the_order_of_a_list_stores_nothing_anew(
    world: World, depot: CountingStorage, reorder: Callable[[Any], None], how: str
) -> None:
    """As with any list of Python's: the same files in another order, none of them copied, none of them deleted."""
    names = [f"{number}.txt" for number in range(5)]
    with world.session() as session:
        movie = Movie(id=1, screenshots=[UploadedFile(name.encode(), filename=name) for name in names])
        session.add(movie)
        if how == "new":
            reorder(movie.screenshots)
        session.commit()
        assert depot.taken() == {"save": 5}
        paths = {file.filename: file.path for file in movie.screenshots}
        expected = list(movie.screenshots)
        reorder(expected)
        if how == "assigned":
            files = list(movie.screenshots)
            reorder(files)
            movie.screenshots = files
        else:
            reorder(movie.screenshots)
        session.flush()
        assert depot.taken() == {}
        if how == "rolled back":
            before = names
            session.rollback()
        else:
            before = [file.filename for file in expected]
            session.commit()
        assert depot.taken() == {}
        assert [file.filename for file in movie.screenshots] == before
        assert {file.filename: file.path for file in movie.screenshots} == paths
    world.check(*(name.encode() for name in names))


def test_a_swap_beside_a_replacement_stores_only_the_replacement(world: World, depot: CountingStorage) -> None:
    """Two elements change places and a third is replaced: one save, one deletion."""
    with world.session() as session:
        movie = Movie(id=1, screenshots=[b"0", b"1", b"2"])
        session.add(movie)
        session.commit()
        depot.taken()
        files = movie.screenshots
        files[0], files[1] = files[1], files[0]
        files[2] = UploadedFile(b"new")
        session.commit()
        assert [file.file.read() for file in movie.screenshots] == [b"1", b"0", b"new"]
    calls = depot.taken()
    assert (calls.get("save"), calls.get("copy"), calls.get("delete_many")) == (1, None, 1)
    world.check(b"0", b"1", b"new")


def test_an_element_that_is_in_a_list_twice_is_copied_once(world: World, depot: CountingStorage) -> None:
    """No two elements share a file, in the end; what counts is the list at the flush."""
    with world.session() as session:
        movie = Movie(id=1, screenshots=[b"0", b"1"])
        session.add(movie)
        session.commit()
        depot.taken()
        movie.screenshots[1] = movie.screenshots[0]
        session.commit()
        assert len({file.path for file in movie.screenshots}) == 2
    assert depot.taken() == {"copy": 1, "delete_many": 1}
    world.check(b"0", b"0")
