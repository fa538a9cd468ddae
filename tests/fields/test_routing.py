"""Sessions that choose their connection: rows are read where they are written, and asked for there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.horizontal_shard import ShardedSession, set_shard_id
from sqlalchemy.orm import Session, defer
from sqlalchemy.sql.dml import UpdateBase

from depot_lite.fields.columns import paths_of
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from tests.conftest import sqlite_engine
from tests.fields.statements import changed, table_of
from tests.support.models import Base, Document, Movie

COLUMNS = (Document.content, Document.report, Movie.poster, Movie.screenshots, Movie.extras)
TABLES = [table_of(Document), table_of(Movie)]


def database(path: Path) -> Engine:
    """Return a new database with the tables of these tests."""
    engine = sqlite_engine(path)
    Base.metadata.create_all(engine, TABLES)
    return engine


def named(*engines: Engine) -> list[str]:
    """Return the path of each file that the rows of some databases name, as often as it is named."""
    found: list[str] = []
    for engine in engines:
        with engine.connect() as connection:
            for column in COLUMNS:
                found += [path for value in connection.scalars(select(column)) for path in paths_of(value)]
    return found


def check(depots: dict[str, FileStorage], *engines: Engine, expected: list[bytes]) -> None:
    """Check that the rows of some databases together name each file once, with these contents, and nothing is left."""
    paths = named(*engines)
    stored = [f"{name}/{file_id}" for name, depot in depots.items() for file_id in depot.list()]
    assert sorted(paths) == sorted(stored)
    contents = []
    for path in paths:
        with DepotManager.get_file(path) as file:
            contents.append(file.read())
    assert sorted(contents) == sorted(expected)


# --- a leader and a follower ----------------------------------------------------------------------------------------


@dataclass
class Pair:
    """Two databases: all writes go to the leader, and the follower is behind."""

    leader: Engine
    follower: Engine
    kind: Callable[[Pair], Session]

    def session(self) -> Session:
        """Return a session that chooses between them."""
        return self.kind(self)

    def detached(self, kind: Any, *options: Any) -> Any:
        """Return an object as the leader has it, in no session."""
        with Session(self.leader, expire_on_commit=False) as session:
            return session.get_one(kind, 1, options=options)


def by_the_recipe(pair: Pair) -> Session:
    """SQLAlchemy's recipe for reading and writing, in the form of its manual."""

    class RoutingSession(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **_: Any) -> Any:
            return pair.leader if self._flushing or isinstance(clause, UpdateBase) else pair.follower

    return RoutingSession(expire_on_commit=False)


def sticky(pair: Pair) -> Session:
    """As in advanced-alchemy: a session that has written reads from the leader until the transaction ends."""

    class StickySession(Session):
        wrote = False

        def get_bind(self, mapper: Any = None, *, clause: Any = None, **_: Any) -> Any:
            locks = getattr(clause, "_for_update_arg", None) is not None
            self.wrote = self.wrote or self._flushing or isinstance(clause, UpdateBase) or locks
            return pair.leader if self.wrote else pair.follower

        def commit(self) -> None:
            super().commit()
            self.wrote = False

        def rollback(self) -> None:
            super().rollback()
            self.wrote = False

    return StickySession(expire_on_commit=False)


@pytest.fixture(params=[by_the_recipe, sticky])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    made = Pair(database(tmp_path / "leader.db"), database(tmp_path / "follower.db"), request.param)
    yield made
    made.leader.dispose()
    made.follower.dispose()


@pytest.fixture(params=["no rows", "stale rows"])
def lagging(request: pytest.FixtureRequest, pair: Pair, depots: dict[str, FileStorage]) -> Pair:
    """A leader with two documents and a movie; its follower knows nothing of them, or their rows as they were once."""
    with Session(pair.leader) as session:
        session.add_all(Document(id=number, name="stale", content=b"stale") for number in (1, 2))
        session.add(Movie(id=1, screenshots=[b"stale"]))
        session.commit()
    if request.param == "stale rows":
        with pair.leader.connect() as source, pair.follower.begin() as target:
            for table in TABLES:
                for row in source.exec_driver_sql(f"SELECT * FROM {table.name}").all():
                    marks = ", ".join("?" * len(row))
                    target.exec_driver_sql(f"INSERT INTO {table.name} VALUES ({marks})", tuple(row))
    with Session(pair.leader) as session:
        for document in session.scalars(select(Document)):
            document.name, document.content = f"name {document.id}", UploadedFile(b"%d" % document.id)
        session.get_one(Movie, 1).screenshots = [UploadedFile(b"first"), UploadedFile(b"second")]
        session.commit()
    check(depots, pair.leader, expected=BEFORE)
    return pair


BEFORE = [b"1", b"2", b"first", b"second"]
Change = Callable[[Session, Pair], object]
CHANGES: dict[str, tuple[Change, list[bytes]]] = {}


def change(*expected: bytes) -> Callable[[Change], Change]:
    """Enter a change, and the files that it leaves after a commit."""

    def enter(made: Change) -> Change:
        CHANGES[made.__name__] = made, list(expected)
        return made

    return enter


def held(session: Session, pair: Pair, kind: Any, *options: Any) -> Any:
    """Return an object of the leader's in this session, without a look at the follower."""
    found = pair.detached(kind, *options)
    session.add(found)
    return found


@change(b"new", b"2", b"first", b"second")
def object_replaced(session: Session, pair: Pair) -> None:
    held(session, pair, Document).content = UploadedFile(b"new")


@change(b"new", b"2", b"first", b"second")
def expired_object_replaced(session: Session, pair: Pair) -> None:
    document = held(session, pair, Document)
    session.expire(document, ["content"])
    document.content = UploadedFile(b"new")


@change(b"new", b"2", b"first", b"second")
def deferred_object_replaced(session: Session, pair: Pair) -> None:
    held(session, pair, Document, defer(Document.content)).content = UploadedFile(b"new")


@change(b"2", b"first", b"second")
def object_emptied(session: Session, pair: Pair) -> None:
    held(session, pair, Document).content = None


@change(b"2", b"first", b"second")
def object_deleted(session: Session, pair: Pair) -> None:
    session.delete(held(session, pair, Document))


@change(b"2", b"first", b"second")
def deferred_object_deleted(session: Session, pair: Pair) -> None:
    session.delete(held(session, pair, Document, defer(Document.content)))


@change(b"1", b"2", b"first", b"second", b"third")
def list_appended(session: Session, pair: Pair) -> None:
    held(session, pair, Movie).screenshots.append(UploadedFile(b"third"))


@change(b"1", b"2", b"second")
def list_element_removed(session: Session, pair: Pair) -> None:
    del held(session, pair, Movie).screenshots[0]


@change(b"1", b"2", b"first", b"second", b"added", b"listed")
def objects_added(session: Session, pair: Pair) -> None:
    session.add_all([Document(id=3, content=b"added"), Movie(id=2, screenshots=[b"listed"])])


@change(b"1", b"2", b"first", b"second", b"3", b"4")
def insert_executed(session: Session, pair: Pair) -> None:
    session.execute(insert(Document), [{"id": 3, "content": b"3"}, {"id": 4, "content": b"4"}])


@change(b"new", b"2", b"first", b"second")
def update_executed(session: Session, pair: Pair) -> None:
    assert changed(session.execute(update(Document).where(Document.name == "name 1").values(content=b"new"))) == 1


@change(b"1", b"first", b"second")
def update_to_none_executed(session: Session, pair: Pair) -> None:
    session.execute(update(Document).where(Document.id == 2).values(content=None))


@change(b"new", b"2", b"only")
def update_by_key_executed(session: Session, pair: Pair) -> None:
    session.execute(update(Document), [{"id": 1, "content": b"new"}])
    session.execute(update(Movie), [{"id": 1, "screenshots": [UploadedFile(b"only")]}])


@change(b"1", b"first", b"second")
def delete_executed(session: Session, pair: Pair) -> None:
    assert changed(session.execute(delete(Document).where(Document.name == "name 2"))) == 1


@change()
def tables_deleted(session: Session, pair: Pair) -> None:
    session.execute(delete(table_of(Document)))
    session.execute(delete(table_of(Movie)))


@change(b"2", b"first", b"second")
def delete_returning_executed(session: Session, pair: Pair) -> None:
    statement = delete(Document).where(Document.id == 1).returning(Document.id)
    assert session.execute(statement).scalars().all() == [1]


@change(b"new", b"first", b"second")
def query_updated_and_deleted(session: Session, pair: Pair) -> None:
    session.query(Document).filter(Document.id == 1).update({Document.content: b"new"}, synchronize_session=False)
    session.query(Document).filter(Document.id == 2).delete(synchronize_session=False)


@change(b"1", b"2", b"first", b"second", b"3")
def mappings_inserted(session: Session, pair: Pair) -> None:
    session.bulk_insert_mappings(Document, [{"id": 3, "content": b"3"}])


@change(b"new", b"2", b"only")
def mappings_updated(session: Session, pair: Pair) -> None:
    session.bulk_update_mappings(Document, [{"id": 1, "content": b"new"}])
    session.bulk_update_mappings(Movie, [{"id": 1, "screenshots": [UploadedFile(b"only")]}])


@change(b"new", b"2", b"first", b"second")
def object_saved_in_bulk(session: Session, pair: Pair) -> None:
    document = pair.detached(Document)
    document.content = UploadedFile(b"new")
    session.bulk_save_objects([document])


@change(b"new", b"2", b"first", b"second")
def deferred_object_saved_in_bulk(session: Session, pair: Pair) -> None:
    document = pair.detached(Document, defer(Document.content))
    document.content = UploadedFile(b"new")
    session.bulk_save_objects([document])


@change(b"1", b"2", b"first", b"second", b"3")
def new_object_saved_in_bulk(session: Session, pair: Pair) -> None:
    session.bulk_save_objects([Document(id=3, content=b"3")])


#: SQLAlchemy asks for their connection without a clause and outside of a flush: the recipe sends them astray.
ASTRAY = {"insert_executed", "update_by_key_executed"}


def _skip_if_astray(pair: Pair, name: str) -> None:
    if pair.kind is by_the_recipe and name in ASTRAY:
        pytest.skip("the recipe writes this to the follower, with or without files")


@pytest.mark.matrix
@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_follower_that_is_behind_decides_nothing(
    lagging: Pair, depots: dict[str, FileStorage], name: str, end: str
) -> None:
    """The rows of the leader and the depots agree, and after a rollback both are as they were."""
    _skip_if_astray(lagging, name)
    made, expected = CHANGES[name]
    with lagging.session() as session:
        made(session, lagging)
        session.flush()
        (session.commit if end == "commit" else session.rollback)()
    check(depots, lagging.leader, expected=expected if end == "commit" else BEFORE)


@pytest.mark.matrix
@pytest.mark.parametrize("name", CHANGES)
def test_a_savepoint_beside_a_follower_that_is_behind(lagging: Pair, depots: dict[str, FileStorage], name: str) -> None:
    """A rollback to a savepoint leaves rows and files as they were; the rest of the transaction counts."""
    _skip_if_astray(lagging, name)
    made, _ = CHANGES[name]
    with lagging.session() as session:
        session.add(Document(id=9, content=b"before"))
        session.flush()
        with session.begin_nested() as savepoint:
            made(session, lagging)
            session.flush()
            savepoint.rollback()
        session.commit()
    check(depots, lagging.leader, expected=[*BEFORE, b"before"])


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("lagging", ["no rows"], indirect=True)
def test_rows_that_the_recipe_sends_astray_have_their_files(
    lagging: Pair, depots: dict[str, FileStorage], end: str
) -> None:
    """An INSERT with many parameters goes wherever SQLAlchemy sends it, and its rows are asked for there."""
    with lagging.session() as session:
        session.execute(insert(Document), [{"id": 3, "content": b"3"}, {"id": 4, "content": b"4"}])
        (session.commit if end == "commit" else session.rollback)()
    expected = [*BEFORE, b"3", b"4"] if end == "commit" else BEFORE
    check(depots, lagging.leader, lagging.follower, expected=expected)


BY_KEY: dict[str, Callable[[Session, Any], object]] = {
    "update": lambda session, options: session.execute(
        update(Document), [{"id": 1, "content": b"new"}, {"id": 2, "name": "x"}], **options
    ),
    "insert": lambda session, options: session.execute(insert(Document), [{"id": 3, "content": b"new"}], **options),
}


@pytest.mark.parametrize("lagging", ["stale rows"], indirect=True)
@pytest.mark.parametrize("end", ["commit", "rollback", "error"])
@pytest.mark.parametrize("name", BY_KEY)
def test_a_list_of_rows_is_read_and_asked_for_where_sqlalchemy_writes_it(
    lagging: Pair, depots: dict[str, FileStorage], name: str, end: str
) -> None:
    """By the recipe that is the follower, whose rows have files of their own here."""
    with Session(lagging.follower) as session:
        session.execute(update(Document).values(content=b"of the follower"))
        session.execute(update(Movie).values(screenshots=[]))
        session.commit()
    both = lagging.leader, lagging.follower
    with lagging.session() as session:
        BY_KEY[name](session, {})
        if end == "error":
            with pytest.raises(SQLAlchemyError):
                session.execute(text("nonsense"))
        (session.rollback if end == "rollback" else session.commit)()
    paths = named(*both)
    assert sorted(paths) == sorted(f"{name}/{file_id}" for name, depot in depots.items() for file_id in depot.list())
    contents = [DepotManager.get_file(path).read() for path in paths]
    assert (b"new" in contents) == (end != "rollback")


@pytest.mark.parametrize("end", ["commit", "rollback", "error"])
@pytest.mark.parametrize("name", BY_KEY)
def test_the_bind_of_a_statement_is_asked_only_if_sqlalchemy_writes_there(
    two: Two, depots: dict[str, FileStorage], name: str, end: str
) -> None:
    """SQLAlchemy ignores ``bind_arguments`` of a list of rows, and leaves the other database alone."""
    with Session(two.first) as session:
        session.add(Document(id=2))
        session.commit()
        BY_KEY[name](session, {"bind_arguments": {"bind": two.second}})
        if end == "error":
            with pytest.raises(SQLAlchemyError):
                session.execute(text("nonsense"))
        (session.rollback if end == "rollback" else session.commit)()
    before = [b"document of the first"] if end == "rollback" or name == "insert" else []
    expected = [*DECOYS, b"movie of the second", *before, *([] if end == "rollback" else [b"new"])]
    check(depots, two.first, two.second, expected=expected)


@pytest.mark.parametrize("lagging", ["stale rows"], indirect=True)
@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("how", ["replaced", "deleted"])
@pytest.mark.matrix
def test_an_object_that_was_read_from_the_follower(
    lagging: Pair, depots: dict[str, FileStorage], end: str, how: str
) -> None:
    """The object remembers a former file of the row; the file that goes is its last one."""
    with lagging.session() as session:
        document = session.get_one(Document, 1)
        assert document.name == "stale"
        if how == "replaced":
            document.content = UploadedFile(b"new")
        else:
            session.delete(document)
        session.flush()
        (session.commit if end == "commit" else session.rollback)()
    after = [b"2", b"first", b"second", *([b"new"] if how == "replaced" else [])]
    check(depots, lagging.leader, expected=after if end == "commit" else BEFORE)


# --- binds ----------------------------------------------------------------------------------------------------------


@dataclass
class Two:
    """Two databases with rows of the same keys, in which different models live; the others are decoys."""

    first: Engine
    second: Engine


@pytest.fixture
def two(tmp_path: Path, depots: dict[str, FileStorage]) -> Iterator[Two]:
    made = Two(database(tmp_path / "first.db"), database(tmp_path / "second.db"))
    for name, engine in (("first", made.first), ("second", made.second)):
        with Session(engine) as session:
            session.add(Document(id=1, name="x", content=f"document of the {name}".encode()))
            session.add(Movie(id=1, name="x", screenshots=[f"movie of the {name}".encode()]))
            session.commit()
    yield made
    made.first.dispose()
    made.second.dispose()


DECOYS = [b"document of the second", b"movie of the first"]
BINDS: dict[str, Callable[[Two], Any]] = {
    "classes": lambda two: {Document: two.first, Movie: two.second},
    "tables": lambda two: {table_of(Document): two.first, table_of(Movie): two.second},
    "a class and the base": lambda two: {Base: two.second, Document: two.first, table_of(Movie): two.second},
}


def _delete_objects(session: Session) -> None:
    for kind in (Document, Movie):
        session.delete(session.get_one(kind, 1))


def _replace_objects(session: Session) -> None:
    session.get_one(Document, 1).content = UploadedFile(b"new")
    session.get_one(Movie, 1).screenshots = [UploadedFile(b"new")]


def _delete_rows(session: Session) -> None:
    for kind in (Document, Movie):
        session.execute(delete(kind).where(kind.name == "x"))


def _empty_tables(session: Session) -> None:
    for table in TABLES:
        session.execute(delete(table))


def _update_rows(session: Session) -> None:
    session.execute(update(Document).where(Document.name == "x").values(content=b"new"))
    session.execute(update(Movie).where(Movie.name == "x").values(screenshots=[UploadedFile(b"new")]))


def _update_by_key(session: Session) -> None:
    session.execute(update(Document), [{"id": 1, "content": b"new"}])
    session.bulk_update_mappings(Movie, [{"id": 1, "screenshots": [UploadedFile(b"new")]}])


#: Changes, and the content of the changed rows afterwards.
DONE: dict[str, tuple[Callable[[Session], None], list[bytes]]] = {
    "objects deleted": (_delete_objects, []),
    "objects replaced": (_replace_objects, [b"new", b"new"]),
    "rows deleted": (_delete_rows, []),
    "tables emptied": (_empty_tables, []),
    "rows updated": (_update_rows, [b"new", b"new"]),
    "rows updated by key": (_update_by_key, [b"new", b"new"]),
}


@pytest.mark.parametrize("binds", BINDS)
@pytest.mark.parametrize("name", DONE)
@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.matrix
def test_each_model_is_looked_after_in_its_own_database(
    two: Two, depots: dict[str, FileStorage], binds: str, name: str, end: str
) -> None:
    """One transaction spans both databases; rows of the same keys in the other one are not touched, nor their files."""
    done, expected = DONE[name]
    with Session(binds=BINDS[binds](two)) as session:
        done(session)
        session.flush()
        (session.commit if end == "commit" else session.rollback)()
    meant = expected if end == "commit" else [b"document of the first", b"movie of the second"]
    check(depots, two.first, two.second, expected=DECOYS + meant)


# --- shards ---------------------------------------------------------------------------------------------------------


@dataclass
class Shards:
    """Two databases that share one table's rows among them; some keys are in both."""

    engines: dict[str, Engine]

    def session(self) -> Any:
        """Return a session that asks both shards if it is not told which."""
        made: Any = ShardedSession
        return made(
            shards=dict(self.engines),
            shard_chooser=lambda mapper, instance, clause=None: "eu" if instance is None else instance.name,
            identity_chooser=lambda mapper, key, **_: list(self.engines),
            execute_chooser=lambda context: list(self.engines),
        )

    def check(self, depots: dict[str, FileStorage], *expected: bytes) -> None:
        check(depots, *self.engines.values(), expected=list(expected))


@pytest.fixture
def shards(tmp_path: Path, depots: dict[str, FileStorage]) -> Iterator[Shards]:
    """Each shard with two documents; number 1 is in both, the others are not."""
    made = Shards({name: database(tmp_path / f"{name}.db") for name in ("eu", "us")})
    with made.session() as session:
        for name, other in (("eu", 2), ("us", 3)):
            session.add(Document(id=1, name=name, content=f"{name} 1".encode()))
            session.add(Document(id=other, name=name, content=f"{name} {other}".encode()))
            session.flush()
        session.commit()
    yield made
    for engine in made.engines.values():
        engine.dispose()


SHARDED = [b"eu 1", b"eu 2", b"us 1", b"us 3"]


def one(session: Session, name: str, key: int = 1) -> Document:
    """Return the document of a key that a shard holds."""
    return session.scalars(select(Document).where(Document.id == key).options(set_shard_id(name))).one()


def _replace_one(session: Session) -> None:
    one(session, "us").content = UploadedFile(b"new")


def _delete_one(session: Session) -> None:
    session.delete(one(session, "us"))


def _delete_beside_replace(session: Session) -> None:
    """Two objects of the same class and key, in two databases, in one flush."""
    one(session, "eu").content = UploadedFile(b"new")
    session.delete(one(session, "us"))


def _replace_expired(session: Session) -> None:
    document = one(session, "us", 3)
    session.expire(document)
    document.content = UploadedFile(b"new")


US = set_shard_id("us")
#: Changes, and the content of all shards together afterwards.
IN_SHARDS: dict[str, tuple[Callable[[Any], object], list[bytes]]] = {
    "object replaced": (_replace_one, [b"eu 1", b"eu 2", b"new", b"us 3"]),
    "object deleted": (_delete_one, [b"eu 1", b"eu 2", b"us 3"]),
    "objects of one key": (_delete_beside_replace, [b"new", b"eu 2", b"us 3"]),
    "expired object replaced": (_replace_expired, [b"eu 1", b"eu 2", b"us 1", b"new"]),
    "update of one row": (
        lambda session: session.execute(update(Document).where(Document.id == 3).values(content=b"new")),
        [b"eu 1", b"eu 2", b"us 1", b"new"],
    ),
    "update of rows in each": (
        lambda session: session.execute(update(Document).where(Document.id == 1).values(content=b"new")),
        [b"new", b"eu 2", b"new", b"us 3"],
    ),
    "update to None": (lambda session: session.execute(update(Document).values(content=None)), []),
    "update of one shard": (
        lambda session: session.execute(update(Document).values(content=b"new").options(US)),
        [b"eu 1", b"eu 2", b"new", b"new"],
    ),
    "delete of one row": (
        lambda session: session.execute(delete(Document).where(Document.id == 3)),
        [b"eu 1", b"eu 2", b"us 1"],
    ),
    "delete of rows in each": (
        lambda session: session.execute(delete(Document).where(Document.id == 1)),
        [b"eu 2", b"us 3"],
    ),
    "delete by a value": (
        lambda session: session.execute(delete(Document).where(Document.name == "us")),
        [b"eu 1", b"eu 2"],
    ),
    "delete of one shard": (lambda session: session.execute(delete(Document).options(US)), [b"eu 1", b"eu 2"]),
    "delete of all": (lambda session: session.execute(delete(Document)), []),
    "query deletes": (
        lambda session: session.query(Document).filter(Document.id == 1).delete(synchronize_session=False),
        [b"eu 2", b"us 3"],
    ),
    "insert into one shard": (
        lambda session: session.execute(insert(Document).values(id=7, name="us", content=b"7").options(US)),
        [*SHARDED, b"7"],
    ),
    "insert of rows into one shard": (
        lambda session: session.execute(
            insert(Document).values([{"id": key, "content": b"%d" % key} for key in (7, 8)]).options(US)
        ),
        [*SHARDED, b"7", b"8"],
    ),
}


@pytest.mark.parametrize("name", IN_SHARDS)
@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.matrix
def test_the_rows_of_every_shard(shards: Shards, depots: dict[str, FileStorage], name: str, end: str) -> None:
    """The shards and the depots agree: each row has a file of its own, and no file is left."""
    done, expected = IN_SHARDS[name]
    with shards.session() as session:
        done(session)
        session.flush()
        (session.commit if end == "commit" else session.rollback)()
    shards.check(depots, *(expected if end == "commit" else SHARDED))


def test_a_row_that_is_inserted_into_every_shard_has_a_file_in_each(
    shards: Shards, depots: dict[str, FileStorage]
) -> None:
    """The statement is executed once for each shard; a file that two rows shared would be lost with the first."""
    with shards.session() as session:
        session.execute(insert(Document).values(id=7, name="both", content=b"7"))
        session.commit()
    shards.check(depots, *SHARDED, b"7", b"7")
    with shards.session() as session:
        session.execute(delete(Document).where(Document.id == 7).options(US))
        session.commit()
    shards.check(depots, *SHARDED, b"7")


def test_a_statement_counts_the_rows_of_every_shard(shards: Shards) -> None:
    """As it does for models without files."""
    with shards.session() as session:
        assert changed(session.execute(update(Document).where(Document.id == 1).values(content=b"new"))) == 2
        assert changed(session.execute(delete(Document))) == 4
        session.commit()
