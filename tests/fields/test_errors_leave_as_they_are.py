"""Our exceptions leave a flush, a commit and a statement as themselves, and name the user's mistake."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Mapped, Session, mapped_column

from depot_lite.errors import DepotError, InvalidContent, SizeRefused, StorageFailed, ValidationError
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import Size
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import World, empty
from tests.fields.statements import table_of
from tests.support.async_world import AsyncWorld
from tests.support.models import Base

Listen = Callable[..., None]
#: The defaults of `Supplied`, by the name of the attribute.
SUPPLY: dict[str, Any] = {}


class Guarded(Base):
    """Takes ten bytes at most."""

    __tablename__ = "guarded"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(validators=[Size("10 B")]))
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True, validators=[Size("10 B")]))


class Supplied(Base):
    """Gets its files from defaults, if there are any."""

    __tablename__ = "supplied"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    content: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[Size("10 B")]),
        default=lambda: SUPPLY.get("content"),
        onupdate=lambda: SUPPLY.get("onupdate"),
    )
    pages: Mapped[list[UploadedFile]] = mapped_column(
        UploadedFileField(multiple=True, validators=[Size("10 B")]), default=lambda: SUPPLY.get("pages", [])
    )


class FailingStorage(MemoryFileStorage):
    """Cannot take a file that says that it fails."""

    def _save(self, file_id: str, content: Content) -> FileInfo:
        with content.open() as source:
            if source.read() == b"fails":
                raise StorageFailed("the disk is full")
        return super()._save(file_id, content)


@pytest.fixture
def depots() -> Iterator[dict[str, FileStorage]]:
    with temporary_depots():
        yield {name: DepotManager.configure(name, FailingStorage()) for name in ("default", "archive")}


@pytest.fixture
def aworld(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[AsyncWorld]:
    yield AsyncWorld(engine, depots)
    empty(engine, Base.metadata)


@pytest.fixture(autouse=True)
def supply() -> Iterator[None]:
    yield
    SUPPLY.clear()


#: Values, and the errors that they cause.
MISTAKES: dict[str, tuple[Any, type[DepotError], type[Exception]]] = {
    "refused by a validator": (b"many more bytes than ten", SizeRefused, ValueError),
    "refused by the storage": (b"fails", StorageFailed, OSError),
    "not a file": ("text", InvalidContent, TypeError),
}

# --- where the file comes from ----------------------------------------------------------------------------------------

Place = Callable[[Session, Any, Listen], object]


def attribute_of_a_new_object(session: Session, bad: Any, listen: Listen) -> None:
    session.add(Guarded(content=bad))
    session.flush()


def attribute_of_an_object(session: Session, bad: Any, listen: Listen) -> None:
    session.get_one(Guarded, 1).content = bad
    session.flush()


def at_commit(session: Session, bad: Any, listen: Listen) -> None:
    session.add(Guarded(content=bad))
    session.commit()


def at_an_autoflush(session: Session, bad: Any, listen: Listen) -> None:
    session.add(Guarded(content=bad))
    session.scalars(select(Guarded)).all()


def in_a_savepoint(session: Session, bad: Any, listen: Listen) -> None:
    with session.begin_nested():
        session.add(Guarded(content=bad))


def new_list(session: Session, bad: Any, listen: Listen) -> None:
    session.add(Guarded(pages=[b"good", bad]))
    session.flush()


def element_of_a_list(session: Session, bad: Any, listen: Listen) -> None:
    session.get_one(Guarded, 1).pages.append(bad)
    session.flush()


def before_insert(session: Session, bad: Any, listen: Listen) -> None:
    listen(Guarded, "before_insert", lambda mapper, connection, target: setattr(target, "content", bad))
    session.add(Guarded())
    session.flush()


def before_insert_at_commit(session: Session, bad: Any, listen: Listen) -> None:
    listen(Guarded, "before_insert", lambda mapper, connection, target: setattr(target, "content", bad))
    session.add(Guarded())
    session.commit()


def list_in_before_insert(session: Session, bad: Any, listen: Listen) -> None:
    listen(Guarded, "before_insert", lambda mapper, connection, target: setattr(target, "pages", [bad]))
    session.add(Guarded())
    session.flush()


def before_update(session: Session, bad: Any, listen: Listen) -> None:
    listen(Guarded, "before_update", lambda mapper, connection, target: setattr(target, "content", bad))
    session.get_one(Guarded, 1).name = "changed"
    session.flush()


def element_in_before_update(session: Session, bad: Any, listen: Listen) -> None:
    listen(Guarded, "before_update", lambda mapper, connection, target: target.pages.append(bad))
    session.get_one(Guarded, 1).name = "changed"
    session.flush()


def before_flush(session: Session, bad: Any, listen: Listen) -> None:
    def assign(session: Session, *_: Any) -> None:
        for each in session.new:
            if isinstance(each, Guarded):
                each.content = bad

    listen(session, "before_flush", assign)
    session.add(Guarded())
    session.flush()


def default(session: Session, bad: Any, listen: Listen) -> None:
    SUPPLY["content"] = bad
    session.add(Supplied())
    session.flush()


def default_of_a_list(session: Session, bad: Any, listen: Listen) -> None:
    SUPPLY["pages"] = [bad]
    session.add(Supplied())
    session.flush()


def default_of_many(session: Session, bad: Any, listen: Listen) -> None:
    SUPPLY["content"] = bad
    session.add_all(Supplied() for _ in range(3))
    session.commit()


def onupdate(session: Session, bad: Any, listen: Listen) -> None:
    SUPPLY["onupdate"] = bad
    session.get_one(Supplied, 1).name = "changed"
    session.flush()


def default_of_an_insert(session: Session, bad: Any, listen: Listen) -> None:
    SUPPLY["content"] = bad
    session.execute(insert(Supplied).values(name="x"))


def default_of_mappings(session: Session, bad: Any, listen: Listen) -> None:
    SUPPLY["content"] = bad
    session.bulk_insert_mappings(Supplied, [{"name": "x"}])


def onupdate_of_an_update(session: Session, bad: Any, listen: Listen) -> None:
    SUPPLY["onupdate"] = bad
    session.execute(update(Supplied).values(name="x"))


def insert_executed(session: Session, bad: Any, listen: Listen) -> None:
    session.execute(insert(Guarded).values(content=bad))


def inserts_executed(session: Session, bad: Any, listen: Listen) -> None:
    session.execute(insert(Guarded), [{"content": b"good"}, {"content": bad}])


def insert_of_a_list_executed(session: Session, bad: Any, listen: Listen) -> None:
    session.execute(insert(Guarded), [{"pages": [bad]}])


def update_executed(session: Session, bad: Any, listen: Listen) -> None:
    session.execute(update(Guarded).where(Guarded.id == 1).values(content=bad))


def update_by_key_executed(session: Session, bad: Any, listen: Listen) -> None:
    session.execute(update(Guarded), [{"id": 1, "content": bad}])


def query_updated(session: Session, bad: Any, listen: Listen) -> None:
    session.query(Guarded).update({"content": bad})


def mappings_inserted(session: Session, bad: Any, listen: Listen) -> None:
    session.bulk_insert_mappings(Guarded, [{"content": bad}])


def mappings_updated(session: Session, bad: Any, listen: Listen) -> None:
    session.bulk_update_mappings(Guarded, [{"id": 1, "content": bad}])


def objects_saved(session: Session, bad: Any, listen: Listen) -> None:
    session.bulk_save_objects([Guarded(content=bad)])


PLACES: list[Place] = [
    attribute_of_a_new_object,
    attribute_of_an_object,
    at_commit,
    at_an_autoflush,
    in_a_savepoint,
    new_list,
    element_of_a_list,
    before_insert,
    before_insert_at_commit,
    list_in_before_insert,
    before_update,
    element_in_before_update,
    before_flush,
    default,
    default_of_a_list,
    default_of_many,
    onupdate,
    default_of_an_insert,
    default_of_mappings,
    onupdate_of_an_update,
    insert_executed,
    inserts_executed,
    insert_of_a_list_executed,
    update_executed,
    update_by_key_executed,
    query_updated,
    mappings_inserted,
    mappings_updated,
    objects_saved,
]


def rows(world: World) -> None:
    """Commit a row of each model that has files already."""
    with world.session() as session:
        session.add(Guarded(id=1, name="old", content=b"old", pages=[b"page"]))
        session.add(Supplied(id=1, name="old", content=b"other"))
        session.commit()


def check(error: BaseException, kind: type[DepotError], parent: type[Exception]) -> None:
    """Check that an exception is one of ours and nothing else, and that it can be sent to another process."""
    assert type(error) is kind
    assert isinstance(error, parent)
    assert not isinstance(error, SQLAlchemyError)
    assert str(error)
    sent = pickle.loads(pickle.dumps(error))
    assert (type(sent), str(sent)) == (type(error), str(error))


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("place", PLACES)
def test_an_exception_of_ours_leaves_as_it_is(world: World, listen: Listen, place: Place, mistake: str) -> None:
    """Wherever the file was assigned: its type is that which is documented, and after a rollback all is well."""
    rows(world)
    bad, kind, parent = MISTAKES[mistake]
    session = world.session()
    with pytest.raises(Exception) as caught:  # noqa: PT011  # check() says which
        place(session, bad, listen)
    check(caught.value, kind, parent)
    if isinstance(caught.value, ValidationError):
        assert (caught.value.rule, caught.value.value) == ("max_size", 24)
        assert caught.value.column is not None
        assert caught.value.column.partition(".")[2] in {"content", "pages"}
    session.rollback()
    world.check(b"old", b"page", b"other")
    SUPPLY.clear()
    session.add(Supplied(id=7, content=b"next"))
    session.commit()
    session.close()
    world.check(b"old", b"page", b"other", b"next")


@pytest.mark.parametrize("place", [attribute_of_a_new_object, before_insert, default, onupdate, default_of_an_insert])
def test_except_storage_failed_catches_it(world: World, listen: Listen, place: Place) -> None:
    """As users write it; and ``except OSError`` with it, which filedepot's users have."""
    rows(world)
    for expected in (StorageFailed, OSError, DepotError):
        with world.session() as session:
            try:
                place(session, b"fails", listen)
            except expected as error:
                assert "the disk is full" in str(error)  # noqa: PT017  # that it can be caught so is the claim
            else:
                pytest.fail("nothing was raised")
    world.check(b"old", b"page", b"other")


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("place", [attribute_of_a_new_object, at_commit, default, onupdate, update_executed])
def test_an_exception_of_ours_leaves_an_async_session_as_it_is(
    aworld: AsyncWorld, listen: Listen, place: Place, mistake: str
) -> None:
    rows(aworld)
    bad, kind, parent = MISTAKES[mistake]

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            with pytest.raises(Exception) as caught:  # noqa: PT011  # check() says which
                await session.run_sync(place, bad, listen)
            check(caught.value, kind, parent)

    aworld.run(journey)
    aworld.check(b"old", b"page", b"other")


# --- messages of refusals ---------------------------------------------------------------------------------------------


def refusal(world: World, **values: Any) -> str:
    """Return the message about a value that a connection inserts, behind the back of every session."""
    with pytest.raises(InvalidContent) as caught, world.engine.begin() as connection:
        connection.execute(insert(table_of(Guarded)), {"name": "x", **values})
    check(caught.value, InvalidContent, TypeError)
    return str(caught.value)


RAW = {"dict": {"path": "default/x"}, "str": "text", "bytes": b"raw"}


@pytest.mark.parametrize("kind", RAW)
def test_a_raw_value_that_a_connection_binds_is_named(world: World, kind: str) -> None:
    """The message has the type of the given value, and differs from that about a pending file."""
    message = refusal(world, content=RAW[kind])
    assert kind in message
    assert message.replace(kind, "") != refusal(world, content=UploadedFile(b"x")).replace("UploadedFile", "")
    world.check()


@pytest.mark.parametrize("kind", ["dict", "str"])
def test_what_a_session_would_not_take_either_is_not_sent_to_one(world: World, kind: str) -> None:
    assert "session.execute" not in refusal(world, content=RAW[kind])


def test_a_pending_file_that_a_connection_binds_is_sent_to_a_session(world: World) -> None:
    """Here the advice is right: no session follows the statements of a connection."""
    message = refusal(world, content=UploadedFile(b"x"))
    assert "session.execute()" in message
    assert ".content: 'unnamed' is not stored yet" in message
    assert "session.execute()" in refusal(world, pages=[UploadedFile(b"x")])
    world.check()


@pytest.mark.parametrize("kind", [*RAW, "UploadedFile"])
def test_what_is_no_list_is_told_that_a_list_was_expected(world: World, kind: str) -> None:
    value = RAW[kind] if kind in RAW else UploadedFile(b"x")
    message = refusal(world, pages=value)
    assert "list" in message
    assert kind in message
    assert "session.execute" not in message
    world.check()


def test_three_mistakes_have_three_messages(world: World) -> None:
    messages = [
        refusal(world, content={"path": "default/x"}),
        refusal(world, content=UploadedFile(b"x")),
        refusal(world, pages=UploadedFile(b"x")),
    ]
    for each in ("dict", "UploadedFile"):
        messages = [message.replace(each, "") for message in messages]
    assert len(set(messages)) == 3


EXECUTED: dict[str, Callable[[Session, dict[str, Any]], object]] = {
    "insert": lambda session, values: session.execute(insert(Guarded).values(**values)),
    "inserts": lambda session, values: session.execute(insert(Guarded), [values]),
    "update": lambda session, values: session.execute(update(Guarded).where(Guarded.id == 1).values(**values)),
    "update by key": lambda session, values: session.execute(update(Guarded), [{"id": 1, **values}]),
    "table": lambda session, values: session.execute(insert(table_of(Guarded)).values(**values)),
    "mappings": lambda session, values: session.bulk_insert_mappings(Guarded, [values]),
}


@pytest.mark.parametrize("how", EXECUTED)
@pytest.mark.parametrize("kind", ["dict", "str"])
@pytest.mark.parametrize("column", ["content", "pages"])
def test_who_used_a_session_is_not_told_to_use_one(world: World, how: str, kind: str, column: str) -> None:
    """The message names the column, and the expected value."""
    rows(world)
    with world.session() as session, pytest.raises(InvalidContent) as caught:
        EXECUTED[how](session, {column: RAW[kind]})
    check(caught.value, InvalidContent, TypeError)
    assert column in str(caught.value)
    assert "session.execute" not in str(caught.value)
    world.check(b"old", b"page", b"other")
