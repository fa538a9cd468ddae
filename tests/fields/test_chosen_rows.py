"""Conditions that answer differently each time: rows are chosen once, and just these lose their files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import ForeignKey, delete, func, insert, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.statements import add, changed, table_of
from tests.support.models import Base, Comment, Document, Movie

#: True for about half of the rows, and for others each time: by chance, or because time goes on.
BY_CHANCE = {"sqlite": "random() % 2 = 0", "postgresql": "random() < 0.5", "mariadb": "rand() < 0.5"}
BY_TIME = {
    "sqlite": "(CAST(strftime('%f', 'now') * 1000 AS INTEGER) + document.id) % 2 = 0",
    "postgresql": "CAST(extract(microseconds FROM clock_timestamp()) AS integer) % 2 = 0",
    "mariadb": "microsecond(sysdate(6)) % 2 = 0",
}


def _half(world: World) -> Any:
    return text(BY_CHANCE[world.engine.dialect.name])


def _at_this_moment(world: World) -> Any:
    return text(BY_TIME[world.engine.dialect.name])


def _any_one(world: World) -> Any:
    """The key of a row drawn by lot; MariaDB draws one for each row that it looks at."""
    draw = func.rand() if world.engine.dialect.name == "mariadb" else func.random()
    return Document.id == select(Document.id).order_by(draw).limit(1).scalar_subquery()


def _any_three(world: World) -> Any:
    """Three rows in no order that anybody has asked for."""
    return Document.id.in_(select(select(Document.id).limit(3).subquery().c.id))


def _three_by_lot(world: World) -> Any:
    draw = func.rand() if world.engine.dialect.name == "mariadb" else func.random()
    return Document.id.in_(select(select(Document.id).order_by(draw).limit(3).subquery().c.id))


CONDITIONS = [_half, _at_this_moment, _any_one, _any_three, _three_by_lot]
condition = pytest.mark.parametrize("condition", CONDITIONS)
outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])


def ten(world: World) -> None:
    """Commit ten documents."""
    add(world, *(Document(id=each, name="x", content=b"%d" % each) for each in range(1, 11)))


def left(world: World) -> dict[int, bytes]:
    """Return the bytes of each document by its key."""
    with world.session() as session:
        documents = session.scalars(select(Document)).all()
        return {each.id: each.content.file.read() for each in documents if each.content is not None}


@condition
@outcome
def test_a_delete_takes_the_files_of_the_rows_that_it_counts(
    world: World, condition: Callable[[World], Any], commit: bool
) -> None:
    """Eight times in a row; the database's count and the files that are gone are the same each time."""
    ten(world)
    there = 10
    for _ in range(8):
        with world.session() as session:
            statement = delete(Document).where(condition(world))
            gone = changed(session.execute(statement, execution_options={"synchronize_session": False}))
            (session.commit if commit else session.rollback)()
        there -= gone if commit else 0
        contents = left(world)
        assert len(contents) == there
        world.check(*contents.values())
        assert contents.items() <= {each: b"%d" % each for each in range(1, 11)}.items()


@condition
@outcome
def test_an_update_replaces_the_files_of_the_rows_that_it_counts(
    world: World, condition: Callable[[World], Any], commit: bool
) -> None:
    ten(world)
    for turn in range(4):
        before, new = left(world), b"new %d" % turn
        with world.session() as session:
            statement = update(Document).where(condition(world)).values(content=new)
            count = changed(session.execute(statement, execution_options={"synchronize_session": False}))
            (session.commit if commit else session.rollback)()
        after = left(world)
        replaced = {key for key in after if after[key] == new}
        assert len(replaced) == (count if commit else 0)
        assert {key: after[key] for key in after if key not in replaced} == {
            key: before[key] for key in before if key not in replaced
        }
        world.check(*after.values())


@pytest.mark.parametrize(("condition", "rows"), [(_any_one, 1), (_any_three, 3), (_three_by_lot, 3)])
@pytest.mark.parametrize("kind", ["delete", "update"])
def test_a_statement_does_as_much_as_without_files(
    world: World, condition: Callable[[World], Any], rows: int, kind: str
) -> None:
    """Rows that were drawn by lot are not drawn again: one of ten is one of ten, each time."""
    if world.engine.dialect.name == "mariadb" and condition is _any_one:
        pytest.skip("MariaDB draws anew for each row")
    ten(world)
    for _ in range(3):
        with world.session() as session:
            statement: Any = delete(Document) if kind == "delete" else update(Document).values(content=b"new")
            statement = statement.where(condition(world)).execution_options(synchronize_session=False)
            assert changed(session.execute(statement)) == rows
            session.commit()
    world.check(*left(world).values())


@pytest.mark.parametrize("kind", ["delete", "update"])
def test_what_a_statement_returns_is_what_it_did(world: World, kind: str) -> None:
    dialect = world.engine.dialect
    if not (dialect.delete_returning if kind == "delete" else dialect.update_returning):
        pytest.skip("the database has no RETURNING here")
    ten(world)
    with world.session() as session:
        statement: Any = delete(Document) if kind == "delete" else update(Document).values(content=b"new")
        statement = statement.where(_half(world)).returning(Document.id)
        done = set(session.scalars(statement, execution_options={"synchronize_session": False}))
        session.commit()
    contents = left(world)
    if kind == "delete":
        assert contents == {each: b"%d" % each for each in range(1, 11) if each not in done}
    else:
        assert contents == {each: b"new" if each in done else b"%d" % each for each in range(1, 11)}
    world.check(*contents.values())


@pytest.mark.parametrize("kind", ["delete", "update"])
@outcome
def test_a_limit_of_the_statement_itself(world: World, kind: str, commit: bool) -> None:
    """MariaDB's ``DELETE ... LIMIT 3``, without an order."""
    if world.engine.dialect.name != "mariadb":
        pytest.skip("only MariaDB has it")
    ten(world)
    statement: Any = delete(Document) if kind == "delete" else update(Document).values(content=b"new")
    statement = statement.with_dialect_options(mariadb_limit=3, mysql_limit=3)
    with world.session() as session:
        assert changed(session.execute(statement, execution_options={"synchronize_session": False})) == 3
        (session.commit if commit else session.rollback)()
    contents = left(world)
    untouched = {each: b"%d" % each for each in range(1, 11)}.items() & contents.items()
    assert len(untouched) == (7 if commit else 10)
    assert len(contents) == (7 if commit and kind == "delete" else 10)
    world.check(*contents.values())


@pytest.mark.parametrize("kind", ["delete", "update"])
def test_rows_whose_time_has_come(world: World, kind: str) -> None:
    """``now()`` in a condition: those that are over go, those to come stay."""
    now = "CURRENT_TIMESTAMP"
    ten(world)
    statement: Any = delete(Document) if kind == "delete" else update(Document).values(content=None)
    condition = text(f"CASE WHEN document.id < 4 THEN '2001-01-01' ELSE '2999-01-01' END < CAST({now} AS CHAR(30))")
    with world.session() as session:
        done = session.execute(statement.where(condition), execution_options={"synchronize_session": False})
        assert changed(done) == 3
        session.commit()
    world.check(*(b"%d" % each for each in range(4, 11)))


# --- many rows --------------------------------------------------------------------------------------------------------


@pytest.mark.matrix
@outcome
def test_statements_over_more_rows_than_one_condition_can_name(world: World, commit: bool) -> None:
    """1,300 rows: files and lists are replaced in most of them, and most of them go."""
    with world.session() as session:
        rows = [
            {"id": key, "poster": b"first", "screenshots": [UploadedFile(b"shot")] if key % 50 == 0 else []}
            for key in range(1, 1301)
        ]
        session.execute(insert(Movie), rows)
        session.commit()
        statement = update(Movie).where(Movie.id > 100).values(poster=None, screenshots=[])
        assert changed(session.execute(statement)) == 1200
        (session.commit if commit else session.rollback)()
    world.check(*[b"first"] * (100 if commit else 1300), *[b"shot"] * (2 if commit else 26))
    with world.session() as session:
        assert changed(session.execute(delete(Movie).where(Movie.id < 1200))) == 1199
        session.commit()
    world.check(*(() if commit else [b"first"] * 101 + [b"shot"] * 3))


@pytest.mark.matrix
def test_an_update_that_gives_each_of_many_rows_a_file(world: World) -> None:
    """Each row has a file of its own afterwards."""
    with world.session() as session:
        session.execute(insert(Document), [{"id": key, "content": b"old"} for key in range(1, 1301)])
        session.commit()
        assert changed(session.execute(update(Document).where(Document.id > 100).values(content=b"new"))) == 1200
        session.commit()
    world.check(*[b"old"] * 100, *[b"new"] * 1200)


@pytest.mark.matrix
def test_updates_by_key_of_many_rows(world: World) -> None:
    with world.session() as session:
        session.execute(insert(Document), [{"id": key, "content": b"old"} for key in range(1, 1301)])
        session.commit()
        session.execute(update(Document), [{"id": key, "content": b"new"} for key in range(101, 1301)])
        session.bulk_update_mappings(Document, [{"id": key, "content": None} for key in range(1, 51)])
        session.commit()
    world.check(*[b"old"] * 50, *[b"new"] * 1200)


@pytest.mark.matrix
def test_many_objects_in_one_flush(world: World) -> None:
    """1,300 objects of which some are replaced, some deleted and the rest left alone."""
    with world.session() as session:
        session.add_all(Document(id=key, content=b"old") for key in range(1, 1301))
        session.commit()
        for document in session.scalars(select(Document)):
            if document.id <= 600:
                document.content = UploadedFile(b"new")
            elif document.id <= 1200:
                session.delete(document)
        session.commit()
    world.check(*[b"new"] * 600, *[b"old"] * 100)


# --- rows that refer to one another -----------------------------------------------------------------------------------


class Reply(Base):
    """A row that answers another one of its table; the database deletes none by itself."""

    __tablename__ = "reply"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("reply.id"))
    picture: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


def _chain(world: World, kind: Any, length: int) -> None:
    """Commit rows of which each answers the one after it, so that no order of their keys is one to delete them in."""
    with world.session() as session:
        session.execute(insert(kind), [{"id": key, "picture": b"%d" % key} for key in range(1, length + 1)])
        session.execute(update(kind).where(kind.id < length).values(parent_id=kind.id + 1))
        session.commit()


def _delete_all(session: Session, kind: Any) -> int:
    return changed(session.execute(delete(kind)))


def _delete_those_with_pictures(session: Session, kind: Any) -> int:
    return changed(session.execute(delete(kind).where(kind.picture.is_not(None))))


def _empty_the_table(session: Session, kind: Any) -> int:
    return changed(session.execute(delete(table_of(kind))))


def _query_delete(session: Session, kind: Any) -> int:
    return int(session.query(kind).delete(synchronize_session=False))


@pytest.mark.matrix
@pytest.mark.parametrize("how", [_delete_all, _delete_those_with_pictures, _empty_the_table, _query_delete])
@outcome
def test_a_statement_that_deletes_rows_which_refer_to_one_another(
    world: World, how: Callable[[Session, Any], int], commit: bool
) -> None:
    """In one statement the database allows it; in two, the first would break the references of the second."""
    if world.engine.dialect.name == "mariadb":
        pytest.skip("MariaDB looks at the references after each row")
    _chain(world, Reply, 700)
    with world.session() as session:
        assert how(session, Reply) == 700
        (session.commit if commit else session.rollback)()
    world.check(*(() if commit else (b"%d" % each for each in range(1, 701))))
    with world.session() as session:
        session.execute(delete(Reply))  # in one statement, as the cleaning of the tests would have to
        session.commit()


@outcome
def test_rows_that_fall_with_the_one_that_they_answer(world: World, commit: bool) -> None:
    """The statement names one row; the database deletes the chain behind it, and the files go with all of them."""
    _chain(world, Comment, 14)
    with world.session() as session:
        session.execute(delete(Comment).where(Comment.id == 10))
        (session.commit if commit else session.rollback)()
    world.check(*(b"%d" % each for each in (range(11, 15) if commit else range(1, 15))))


@pytest.mark.matrix
@pytest.mark.parametrize("kind", [Reply, Comment])
def test_an_update_of_rows_which_refer_to_one_another(world: World, kind: Any) -> None:
    """References and files change together."""
    _chain(world, kind, 600)
    with world.session() as session:
        assert changed(session.execute(update(kind).values(parent_id=None, picture=None))) == 600
        session.commit()
    world.check()
