"""After a rollback to a savepoint no object shows a file that went with it, whatever wrote it and loaded it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pytest
from sqlalchemy import insert, inspect, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import ObjectDeletedError

from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.changes import BEFORE, FIRST, NEW, ONE, OTHER, PHOTO, PLAN, THREE, TWO, begin, read
from tests.support.models import Document, Movie

Step = Callable[[Session], Any]


def _table(model: Any) -> Any:
    return model.__table__


def _bulk(session: Session) -> None:
    session.bulk_update_mappings(inspect(Document), [{"id": FIRST, "content": NEW}])
    session.bulk_update_mappings(inspect(Movie), [{"id": FIRST, "screenshots": [NEW]}])


def _update(session: Session) -> None:
    unsynchronized = {"synchronize_session": False}
    session.execute(update(Document).where(Document.id == FIRST).values(content=NEW), execution_options=unsynchronized)
    session.execute(update(Movie).values(screenshots=[NEW]), execution_options=unsynchronized)


def _synchronized(session: Session) -> None:
    session.execute(update(Document).where(Document.id == FIRST).values(content=NEW))
    session.execute(update(Movie).where(Movie.id == FIRST).values(screenshots=[NEW]))


def _by_key(session: Session) -> None:
    session.execute(update(Document), [{"id": FIRST, "content": NEW}])
    session.execute(update(Movie), [{"id": FIRST, "screenshots": [NEW]}])


def _core(session: Session) -> None:
    documents, movies = _table(Document), _table(Movie)
    session.execute(update(documents).where(documents.c.id == FIRST).values(content=NEW))
    session.execute(update(movies).values(screenshots=[NEW]))


def _query(session: Session) -> None:
    session.query(Document).filter_by(id=FIRST).update({"content": NEW}, synchronize_session=False)
    session.query(Movie).update({"screenshots": [NEW]}, synchronize_session=False)


def _objects(session: Session) -> None:
    put(session.get_one(Document, FIRST), content=NEW)
    movie = session.get_one(Movie, FIRST)
    put(movie, screenshots=[NEW])
    session.flush()


WAYS: Final[dict[str, Step]] = {
    "bulk_update_mappings": _bulk,
    "update without synchronization": _update,
    "update": _synchronized,
    "update by key": _by_key,
    "update of the table": _core,
    "query": _query,
    "objects": _objects,
}
every_way = pytest.mark.parametrize("write", WAYS.values(), ids=WAYS)


def _refresh(session: Session) -> None:
    for model in (Document, Movie):
        session.refresh(session.get_one(model, FIRST))


def _refresh_the_attributes(session: Session) -> None:
    session.refresh(session.get_one(Document, FIRST), ["content"])
    session.refresh(session.get_one(Movie, FIRST), ["screenshots"])


def _expire(session: Session) -> None:
    session.expire_all()
    assert read(session.get_one(Document, FIRST).content) == NEW
    assert [read(each) for each in session.get_one(Movie, FIRST).screenshots] == [NEW]


def _populate(session: Session) -> None:
    for model in (Document, Movie):
        session.scalars(select(model).execution_options(populate_existing=True)).all()


def _expunge_and_load(session: Session) -> None:
    session.expunge_all()
    _expire(session)


LOADS: Final[dict[str, Step]] = {
    "refresh": _refresh,
    "refresh of the attributes": _refresh_the_attributes,
    "expire": _expire,
    "populate_existing": _populate,
    "expunge and load": _expunge_and_load,
    "nothing": lambda session: None,
}
every_load = pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)


def _both(session: Session) -> tuple[Document, Movie]:
    return session.get_one(Document, FIRST), session.get_one(Movie, FIRST)


def shows(session: Session) -> list[bytes | None]:
    """Return the bytes of the files that objects show, each read from its depot."""
    document, movie = _both(session)
    return [read(document.content), *map(read, movie.screenshots)]


@every_way
@every_load
def test_objects_show_what_their_rows_name(world: World, write: Step, load: Step) -> None:
    begin(world)
    with world.session() as session:
        held = [*_both(session)]  # a session's own references are weak
        assert shows(session) == [PLAN, ONE, TWO, THREE]
        savepoint = session.begin_nested()
        write(session)
        load(session)
        held += _both(session)
        savepoint.rollback()
        assert shows(session) == [PLAN, ONE, TWO, THREE]
        session.commit()
    world.check(*BEFORE)


@every_way
@every_load
def test_objects_can_be_changed_afterwards(world: World, write: Step, load: Step) -> None:
    """An append goes to the list of the row, and a new file replaces the row's file."""
    begin(world)
    with world.session() as session:
        held = [*_both(session)]
        assert shows(session) == [PLAN, ONE, TWO, THREE]
        savepoint = session.begin_nested()
        write(session)
        load(session)
        held += _both(session)
        savepoint.rollback()
        document, movie = _both(session)
        put(document, content=OTHER)
        movie.screenshots.append(UploadedFile(OTHER))
        session.commit()
        assert shows(session) == [OTHER, ONE, TWO, THREE, OTHER]
    world.check(OTHER, PHOTO, ONE, TWO, THREE, OTHER)


@every_way
@every_load
def test_objects_that_were_loaded_inside_only(world: World, write: Step, load: Step) -> None:
    """They had shown nothing before."""
    begin(world)
    with world.session() as session:
        savepoint = session.begin_nested()
        write(session)
        load(session)
        held = _both(session)
        assert read(held[0].content) == NEW
        savepoint.rollback()
        assert shows(session) == [PLAN, ONE, TWO, THREE]
        _both(session)[1].screenshots.pop(0)
        session.commit()
    world.check(PLAN, PHOTO, TWO, THREE)


@every_way
def test_two_savepoints_within_each_other(world: World, write: Step) -> None:
    """The writes of the outer one are shown when the inner one is rolled back, and none after the outer one is."""
    begin(world)
    with world.session() as session:
        held = _both(session)
        outer = session.begin_nested()
        put(session.get_one(Document, FIRST), content=OTHER)
        session.get_one(Movie, FIRST).screenshots.append(UploadedFile(OTHER))
        inner = session.begin_nested()
        write(session)
        _refresh(session)
        inner.rollback()
        assert shows(session) == [OTHER, ONE, TWO, THREE, OTHER]
        outer.rollback()
        assert shows(session) == [PLAN, ONE, TWO, THREE]
        assert held == _both(session)
        session.commit()
    world.check(*BEFORE)


@every_way
def test_a_savepoint_that_is_released_into_one_that_is_rolled_back(world: World, write: Step) -> None:
    begin(world)
    with world.session() as session:
        held = _both(session)
        assert shows(session) == [PLAN, ONE, TWO, THREE]
        outer = session.begin_nested()
        with session.begin_nested():
            write(session)
            _refresh(session)
        outer.rollback()
        assert shows(session) == [PLAN, ONE, TWO, THREE]
        put(session.get_one(Document, FIRST), content=OTHER)
        assert held == _both(session)
        session.commit()
    world.check(OTHER, PHOTO, ONE, TWO, THREE)


@every_way
def test_the_whole_transaction_is_rolled_back_after_the_savepoint(world: World, write: Step) -> None:
    begin(world)
    with world.session() as session:
        held = _both(session)
        savepoint = session.begin_nested()
        write(session)
        _refresh(session)
        savepoint.rollback()
        session.get_one(Movie, FIRST).screenshots.append(UploadedFile(OTHER))
        session.flush()
        session.rollback()
        assert shows(session) == [PLAN, ONE, TWO, THREE]
        assert held == _both(session)
    world.check(*BEFORE)


@pytest.mark.parametrize("how", ["bulk", "statement", "table"])
def test_a_row_that_was_inserted_inside_is_not_shown(world: World, how: str) -> None:
    """An object of it shows no file that is gone: it says that its row is."""
    rows = [{"id": FIRST, "content": NEW, "report": OTHER}]
    with world.session() as session:
        savepoint = session.begin_nested()
        if how == "bulk":
            session.bulk_insert_mappings(inspect(Document), rows)
        else:
            session.execute(insert(Document if how == "statement" else _table(Document)), rows)
        document = session.get_one(Document, FIRST)
        assert read(document.content) == NEW
        savepoint.rollback()
        with suppress(ObjectDeletedError):
            assert document.content is None or document.content.pending
        session.expunge_all()
        session.commit()
    world.check()


def test_objects_that_bulk_methods_saved_inside(world: World) -> None:
    """``bulk_save_objects`` of a detached object: afterwards the session loads the file that the row names."""
    begin(world)
    with world.session(expire_on_commit=False) as session:
        document, movie = _both(session)
        assert len(movie.screenshots) == 3
    put(document, content=NEW)
    put(movie, screenshots=[NEW])
    with world.session() as session:
        held = _both(session)
        savepoint = session.begin_nested()
        session.bulk_save_objects([document, movie])
        session.expire_all()
        assert shows(session) == [NEW, NEW]
        savepoint.rollback()
        assert shows(session) == [PLAN, ONE, TWO, THREE]
        _both(session)[1].screenshots.append(UploadedFile(OTHER))
        assert held == _both(session)
        session.commit()
    world.check(*BEFORE, OTHER)


# --- COMMIT, with objects that are not expired by it --------------------------------------------------------------


def _shown(*targets: Any) -> list[bytes | None]:
    """Return the bytes of all that the objects show: of a pending file as of a stored one."""
    return [
        read(each)
        for target in targets
        for each in ([target.content] if isinstance(target, Document) else target.screenshots)
    ]


def test_objects_that_a_commit_does_not_expire_show_what_a_savepoint_of_the_connection_brought_back(
    world: World,
) -> None:
    """The session knows nothing of that savepoint."""
    begin(world)
    with world.session(expire_on_commit=False) as session:
        document, movie = session.get_one(Document, FIRST), session.get_one(Movie, FIRST)
        savepoint = session.connection().begin_nested()
        put(document, content=NEW)
        movie.screenshots.append(UploadedFile(OTHER))
        session.flush()
        savepoint.rollback()
        session.commit()
        assert _shown(document, movie) == [PLAN, ONE, TWO, THREE]
        movie.screenshots.append(UploadedFile(NEW))
        session.commit()
        assert _shown(document, movie) == [PLAN, ONE, TWO, THREE, NEW]
    world.check(*BEFORE, NEW)


PUT_BACK: Final = {
    "sqlite": (
        "CREATE TRIGGER put_back AFTER UPDATE OF content ON document WHEN OLD.content IS NOT NEW.content "
        "BEGIN UPDATE document SET content = OLD.content WHERE id = OLD.id; END",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION put_back() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN NEW.content = OLD.content; RETURN NEW; END$$",
        "CREATE TRIGGER put_back BEFORE UPDATE ON document FOR EACH ROW EXECUTE FUNCTION put_back()",
    ),
    "mariadb": ("CREATE TRIGGER put_back BEFORE UPDATE ON document FOR EACH ROW SET NEW.content = OLD.content",),
}


def test_objects_that_a_commit_does_not_expire_show_what_a_trigger_put_back(world: World) -> None:
    begin(world)
    dialect = world.engine.dialect.name
    with world.engine.begin() as connection:
        for statement in PUT_BACK[dialect]:
            connection.exec_driver_sql(statement)
    try:
        with world.session(expire_on_commit=False) as session:
            document = session.get_one(Document, FIRST)
            put(document, content=NEW)
            session.commit()
            assert _shown(document) == [PLAN]
    finally:
        with world.engine.begin() as connection:
            connection.exec_driver_sql(f"DROP TRIGGER put_back{' ON document' if dialect == 'postgresql' else ''}")
    world.check(*BEFORE)
