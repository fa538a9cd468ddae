"""session.bulk_save_objects, bulk_insert_mappings and bulk_update_mappings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from depot_lite.errors import InvalidContent
from depot_lite.fields.statements.bulk import wrap_bulk_methods
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import FileIntent
from tests.conftest import World
from tests.fields.statements import add, words
from tests.support.models import Account, Document, Manager, Plain, Plate, Truck


def test_bulk_save_of_new_objects(world: World) -> None:
    documents = [Document(name="1", content=b"1"), Document(name="2"), Document(name="3", content=b"3", report=b"r")]
    with world.session() as session:
        session.bulk_save_objects(documents)
        session.commit()
    assert documents[0].content is not None
    assert not documents[0].content.pending
    world.check(b"1", b"3", b"r")


def test_bulk_save_of_changed_objects(world: World) -> None:
    add(world, *(Document(id=each, name=str(each), content=b"%d" % each) for each in (1, 2, 3)))
    with world.session() as session:
        documents = list(session.scalars(select(Document).order_by(Document.id)))
    documents[0].content = UploadedFile(b"x")
    documents[1].content = None
    documents[2].name = "changed"
    with world.session() as session:
        session.bulk_save_objects(documents)
        session.commit()
    world.check(b"x", b"3")


def test_bulk_save_of_several_classes_with_return_defaults(world: World) -> None:
    objects: list[Any] = [Truck(picture=b"p", manual=b"m"), Manager(photo=b"f"), Plain(name="x")]
    with world.session() as session:
        session.bulk_save_objects(objects, return_defaults=True, preserve_order=False)
        assert all(each.id is not None for each in objects)
        session.commit()
    world.check(b"p", b"m", b"f")


def test_a_stored_value_of_another_row_becomes_a_copy(world: World) -> None:
    add(world, Document(name="old", content=b"old"))
    with world.session() as session:
        value = session.scalars(select(Document.content)).one()
        session.bulk_save_objects([Document(content=value), Document(report=value)])
        session.bulk_insert_mappings(Document, [{"content": value}, {"content": value}])
        session.commit()
    world.check(*[b"old"] * 5)


@pytest.mark.parametrize("return_defaults", [True, False])
def test_bulk_insert_mappings(world: World, return_defaults: bool) -> None:
    given: list[dict[str, Any]] = [
        {"name": "1", "content": b"1"},
        {"name": "2", "content": UploadedFile(b"2"), "report": FileIntent(b"r", "r.txt")},
        {"name": "3", "content": None},
    ]
    before = [dict(each) for each in given]
    with world.session() as session:
        session.bulk_insert_mappings(Document, given, return_defaults=return_defaults)
        session.commit()
        ids = {each.name: each.id for each in session.scalars(select(Document))}
    if return_defaults:
        assert [each.pop("id") for each in given] == [ids["1"], ids["2"], ids["3"]]
    assert given == before
    world.check(b"1", b"2", b"r")


def test_bulk_insert_mappings_of_a_joined_subclass_and_with_a_generator(world: World) -> None:
    with world.session() as session:
        session.bulk_insert_mappings(Truck, ({"picture": b"p%d" % each, "manual": b"m%d" % each} for each in (1, 2)))
        session.bulk_insert_mappings(Plate, [{"number": 1, "part": 1, "image": b"i"}], render_nulls=True)
        session.commit()
    world.check(b"p1", b"m1", b"p2", b"m2", b"i")


def test_bulk_update_mappings(world: World, queries: list[str]) -> None:
    add(world, *(Document(id=each, name=str(each), content=b"%d" % each) for each in (1, 2, 3)))
    given: list[dict[str, Any]] = [{"id": 1, "content": b"x"}, {"id": 2, "content": None}, {"id": 3, "name": "y"}]
    before = [dict(each) for each in given]
    with world.session() as session:
        document = session.get_one(Document, 1)
        queries.clear()
        session.bulk_update_mappings(Document, given)
        assert words(queries).count("SELECT") == 1
        assert document.content is not None
        assert document.content.file.read() == b"x"
        session.commit()
    assert given == before
    world.check(b"x", b"3")


def test_bulk_insert_reads_nothing(world: World, queries: list[str]) -> None:
    with world.session() as session:
        session.bulk_insert_mappings(Document, [{"content": b"1"}, {"content": b"2"}])
        session.bulk_save_objects([Document(content=b"3"), Document(content=b"4")])
        assert set(words(queries)) == {"INSERT"}
        session.rollback()
    world.check()


def test_rolled_back_objects_are_pending_again(world: World) -> None:
    document = Document(name="1", content=b"1")
    with world.session() as session:
        session.bulk_save_objects([document])
        session.bulk_insert_mappings(Document, [{"content": b"2"}])
        session.rollback()
    assert document.content is not None
    assert document.content.pending
    world.check()
    with world.session() as session:
        session.bulk_save_objects([document])
        session.commit()
    world.check(b"1")


@pytest.mark.parametrize("release", [True, False])
def test_inside_a_savepoint(world: World, release: bool) -> None:
    add(world, Document(id=1, content=b"old"))
    with world.session() as session:
        savepoint = session.begin_nested()
        session.bulk_insert_mappings(Document, [{"content": b"m"}])
        session.bulk_update_mappings(Document, [{"id": 1, "content": b"u"}])
        session.bulk_save_objects([Document(content=b"o")])
        savepoint.commit() if release else savepoint.rollback()
        session.commit()
    world.check(*((b"m", b"u", b"o") if release else (b"old",)))


@pytest.mark.parametrize("how", ["objects", "insert", "update"])
def test_what_the_database_refuses_leaves_no_file(world: World, how: str) -> None:
    add(world, Account(id=1, code="old", photo=b"old"), Account(id=2, code="other", photo=b"other"))
    with world.session() as session:
        session.add(Document(content=b"first"))
        session.flush()
        write: Callable[[], None] = {
            "objects": lambda: session.bulk_save_objects([Account(code=each, photo=b"x") for each in ("new", "old")]),
            "insert": lambda: session.bulk_insert_mappings(
                Account, [{"code": each, "photo": b"x"} for each in ("n", "old")]
            ),
            "update": lambda: session.bulk_update_mappings(
                Account, [{"id": 1, "photo": b"x"}, {"id": 2, "code": "old", "photo": b"y"}]
            ),
        }[how]
        with pytest.raises(IntegrityError), session.begin_nested():
            write()
        session.commit()
    world.check(b"old", b"other", b"first")


def test_what_is_no_file_is_refused(world: World) -> None:
    with world.session() as session:
        with pytest.raises(InvalidContent, match=r"Document\.content"):
            session.bulk_insert_mappings(Document, [{"content": b"fine"}, {"content": "text"}])
        with pytest.raises(InvalidContent, match=r"Document\.content"):
            session.bulk_update_mappings(Document, [{"id": 1, "content": "text"}])
        session.commit()
    world.check()


def test_the_methods_are_wrapped_once() -> None:
    before = [getattr(Session, f"bulk_{each}") for each in ("save_objects", "insert_mappings", "update_mappings")]
    wrap_bulk_methods()
    assert [
        getattr(Session, f"bulk_{each}") for each in ("save_objects", "insert_mappings", "update_mappings")
    ] == before
