"""A statement was executed, something raised, and the application commits nevertheless: written files are owned.

The error may come from a listener of the user's (auditing, tracing), from an event of the ORM's, or from whoever
fetches the rows: the database has done its part, and only it knows which files its rows name now.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import InvalidRequestError, PendingRollbackError, StatementError
from sqlalchemy.orm import ORMExecuteState, Session

from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.statements import add, table_of
from tests.fields.values import read
from tests.support.models import Document, Movie, Truck

Listen = Callable[..., None]

#: Far from the numbers that a sequence of PostgreSQL reaches by itself.
ONE, TWO, THREE = 1_000_001, 1_000_002, 1_000_003

OLD = (b"one", b"one report", b"two", b"poster", b"1", b"2")


class TracingFailed(Exception):
    """An error of a user's listener."""


def begin(world: World) -> None:
    """Commit the rows with which each case begins."""
    movie: Any = Movie
    document: Any = Document
    add(
        world,
        document(id=ONE, name="one", content=b"one", report=b"one report"),
        document(id=TWO, name="two", content=b"two"),
        movie(id=ONE, poster=b"poster", screenshots=[b"1", b"2"]),
    )
    world.check(*OLD)


def without(*gone: bytes) -> tuple[bytes, ...]:
    """Return the old files but for some."""
    return tuple(each for each in OLD if each not in gone)


@dataclass(frozen=True)
class Case:
    """A statement; its first word in SQL; and the files if everything sent until the error is committed."""

    run: Callable[[Session], Any]
    word: str
    leaves: tuple[bytes, ...]


def _save(session: Session, **values: Any) -> None:
    row = session.get_one(Document, ONE)
    session.expunge(row)
    for key, value in values.items():
        setattr(row, key, value)
    session.bulk_save_objects([row])


#: Those that are executed: `session.execute` leaves the transaction open when they raise.
EXECUTED: dict[str, Case] = {
    "update": Case(
        lambda session: session.execute(update(Document).where(Document.id == ONE).values(content=b"new")),
        "UPDATE",
        (b"new", *without(b"one")),
    ),
    "update, unsynchronized": Case(
        lambda session: session.execute(
            update(Document).values(content=UploadedFile(b"new")), execution_options={"synchronize_session": False}
        ),
        "UPDATE",
        (b"new", b"new", *without(b"one", b"two")),
    ),
    "update to none": Case(
        lambda session: session.execute(update(Document).values(content=None)), "UPDATE", without(b"one", b"two")
    ),
    "update of a list": Case(
        lambda session: session.execute(update(Movie).values(screenshots=[b"new 1", b"new 2"])),
        "UPDATE",
        (b"new 1", b"new 2", *without(b"1", b"2")),
    ),
    "update of the table": Case(
        lambda session: session.execute(update(table_of(Document)).values(report=b"new")),
        "UPDATE",
        (b"new", b"new", *without(b"one report")),
    ),
    "update by primary key": Case(
        lambda session: session.execute(
            update(Document), [{"id": ONE, "content": b"new 1"}, {"id": TWO, "content": b"new 2"}]
        ),
        "UPDATE",
        (b"new 1", b"new 2", *without(b"one", b"two")),
    ),
    "update by primary key in two statements": Case(
        lambda session: session.execute(
            update(Document), [{"id": ONE, "content": b"new 1"}, {"id": TWO, "report": b"second"}]
        ),
        "UPDATE",
        (b"new 1", *without(b"one")),
    ),
    "Query.update": Case(
        lambda session: session.query(Document).filter_by(id=TWO).update({"content": b"new"}),
        "UPDATE",
        (b"new", *without(b"two")),
    ),
    "insert": Case(
        lambda session: session.execute(insert(Document).values(content=b"new", report=UploadedFile(b"new report"))),
        "INSERT",
        (b"new", b"new report", *OLD),
    ),
    "insert into the table": Case(
        lambda session: session.execute(insert(table_of(Document)).values(content=b"new")), "INSERT", (b"new", *OLD)
    ),
    "insert of a list": Case(
        lambda session: session.execute(insert(Movie).values(screenshots=[b"new 1", b"new 2"])),
        "INSERT",
        (b"new 1", b"new 2", *OLD),
    ),
    "insert executemany": Case(
        lambda session: session.execute(insert(Document), [{"content": b"new 1"}, {"content": b"new 2"}]),
        "INSERT",
        (b"new 1", b"new 2", *OLD),
    ),
    "insert of several rows": Case(
        lambda session: session.execute(insert(Document).values([{"content": b"new 1"}, {"content": b"new 2"}])),
        "INSERT",
        (b"new 1", b"new 2", *OLD),
    ),
    "delete": Case(
        lambda session: session.execute(delete(Document).where(Document.id == ONE)),
        "DELETE",
        without(b"one", b"one report"),
    ),
    "delete from the table": Case(
        lambda session: session.execute(delete(table_of(Document))), "DELETE", without(b"one", b"one report", b"two")
    ),
    "Query.delete": Case(lambda session: session.query(Movie).delete(), "DELETE", without(b"poster", b"1", b"2")),
}

#: Those whose errors SQLAlchemy answers with a rollback of its own.
ROLLED_BACK: dict[str, Case] = {
    "bulk_insert_mappings": Case(
        lambda session: session.bulk_insert_mappings(Document, [{"content": b"new 1"}, {"content": b"new 2"}]),
        "INSERT",
        OLD,
    ),
    "bulk_insert_mappings, joined": Case(
        lambda session: session.bulk_insert_mappings(Truck, [{"kind": "truck", "picture": b"p", "manual": b"m"}]),
        "INSERT",
        OLD,
    ),
    "bulk_update_mappings": Case(
        lambda session: session.bulk_update_mappings(
            Document, [{"id": ONE, "content": b"new 1"}, {"id": TWO, "content": b"new 2"}]
        ),
        "UPDATE",
        OLD,
    ),
    "bulk_save_objects, new": Case(
        lambda session: session.bulk_save_objects([Document(content=b"new 1"), Document(content=b"new 2")]),
        "INSERT",
        OLD,
    ),
    "bulk_save_objects, changed": Case(lambda session: _save(session, content=UploadedFile(b"new")), "UPDATE", OLD),
    "flush, new": Case(
        lambda session: (session.add(Document(content=b"new")), session.flush()),  # type: ignore[func-returns-value]  # a sequence of two
        "INSERT",
        OLD,
    ),
    "flush, changed": Case(
        lambda session: (setattr(session.get_one(Document, ONE), "content", b"new"), session.flush()),  # type: ignore[func-returns-value]  # as above
        "UPDATE",
        OLD,
    ),
    "flush, deleted": Case(
        lambda session: (session.delete(session.get_one(Document, ONE)), session.flush()),  # type: ignore[func-returns-value]  # as above
        "DELETE",
        OLD,
    ),
}

CASES = EXECUTED | ROLLED_BACK


def complete(case: Case) -> tuple[bytes, ...]:
    """Return what there is when all that the case sends was sent."""
    return (*case.leaves, b"second") if case is EXECUTED["update by primary key in two statements"] else case.leaves


every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
executed = pytest.mark.parametrize("case", EXECUTED.values(), ids=list(EXECUTED))
loaded_first = pytest.mark.parametrize("loaded", [False, True], ids=["nothing loaded", "all loaded"])


@pytest.fixture
def fails(world: World, listen: Listen) -> Callable[..., list[str]]:
    """Let the first statement that begins with a word raise; return a list that is empty once it did."""

    def arm(event: str, word: str, error: type[BaseException] = TracingFailed) -> list[str]:
        armed = [word]

        def trace(connection: Any, cursor: Any, statement: str, *args: Any) -> None:
            if armed and statement.startswith(armed[0]):
                armed.clear()
                raise error(f"while tracing {statement}")

        listen(world.engine, event, trace)
        return armed

    return arm


def loads(session: Session, wanted: bool) -> list[Any]:
    """Load and return all objects with their files, if asked to."""
    found: list[Any] = []
    if wanted:
        found = [*session.scalars(select(Document)), *session.scalars(select(Movie))]
        assert all(each.content for each in found if isinstance(each, Document))
        assert all(list(each.screenshots) for each in found if isinstance(each, Movie))
    return found


def commit(session: Session) -> None:
    """Commit, as an application does that goes on after an error; roll back where SQLAlchemy refuses to."""
    try:
        session.commit()
    except PendingRollbackError:
        session.rollback()


def reads_everything(world: World, session: Session) -> None:
    """Check that the files that objects of the session show can be read."""
    for row in list(session.identity_map.values()):
        try:
            session.refresh(row)
        except InvalidRequestError:
            continue  # its row is deleted, which SQLAlchemy has not noticed
        held: list[Any] = [*row.screenshots, row.poster] if isinstance(row, Movie) else []
        held += [row.content, row.report] if isinstance(row, Document) else []
        assert all(read([each]) for each in held if each is not None)
    session.rollback()


# --- the statement ran ------------------------------------------------------------------------------------------------


@every_case
@loaded_first
@pytest.mark.parametrize("end", [commit, Session.rollback], ids=["commit", "rollback"])
def test_a_listener_raises_after_the_statement(
    world: World, fails: Any, case: Case, loaded: bool, end: Callable[[Session], None]
) -> None:
    """The files that rows name by then stay, and no others."""
    begin(world)
    armed = fails("after_cursor_execute", case.word)
    with world.session() as session:
        held = loads(session, loaded)
        with pytest.raises(TracingFailed):
            case.run(session)
        assert not armed
        end(session)
        world.check(*case.leaves if end is commit else OLD)
        reads_everything(world, session)
        del held


@every_case
def test_a_listener_raises_after_the_statement_in_a_savepoint(world: World, fails: Any, case: Case) -> None:
    """The savepoint is rolled back, and the transaction goes on."""
    begin(world)
    armed = fails("after_cursor_execute", case.word)
    with world.session() as session:
        held = loads(session, wanted=True)
        with pytest.raises(TracingFailed), session.begin_nested():
            case.run(session)
        assert not armed
        session.add(Document(id=THREE, content=b"beside"))
        session.commit()
        world.check(*OLD, b"beside")
        reads_everything(world, session)
        del held


@executed
def test_the_savepoint_is_released_nevertheless(world: World, fails: Any, case: Case) -> None:
    """The application catches the error inside of it."""
    begin(world)
    fails("after_cursor_execute", case.word)
    with world.session() as session:
        with session.begin_nested(), pytest.raises(TracingFailed):
            case.run(session)
        session.commit()
        world.check(*case.leaves)


@executed
def test_the_application_tries_again(world: World, fails: Any, case: Case) -> None:
    """In the same transaction: an insert makes its rows twice, everything else is done once."""
    begin(world)
    fails("after_cursor_execute", case.word)
    with world.session() as session:
        with pytest.raises(TracingFailed):
            case.run(session)
        case.run(session)
        session.commit()
    new = [each for each in case.leaves if each not in OLD] if case.word == "INSERT" else []
    world.check(*complete(case), *new)


@executed
def test_what_was_written_is_replaced_afterwards(world: World, fails: Any, case: Case) -> None:
    """By statements that remove all rows: whatever was left of the first one goes with them."""
    begin(world)
    fails("after_cursor_execute", case.word)
    with world.session() as session:
        with pytest.raises(TracingFailed):
            case.run(session)
        session.execute(delete(Document))
        session.execute(delete(Movie))
        session.add(Document(content=b"last"))
        session.commit()
    world.check(b"last")


@pytest.mark.matrix
@pytest.mark.parametrize("event", ["before_cursor_execute", "after_cursor_execute"])
@executed
def test_a_cancellation_takes_the_connection_with_it(world: World, fails: Any, case: Case, event: str) -> None:
    """SQLAlchemy gives the connection up, and with it everything that was not committed."""
    begin(world)
    with world.session() as session:
        session.add(Document(content=b"before"))
        session.flush()
        fails(event, case.word, asyncio.CancelledError)
        with pytest.raises(asyncio.CancelledError):
            case.run(session)
        gc.collect()  # a cursor that is still in a traceback would keep SQLite's transaction open
        left: tuple[bytes, ...] = OLD
        try:
            session.commit()
            left = (*OLD, b"before")  # SQLAlchemy 2.0 does not notice errors of before_cursor_execute listeners
        except (PendingRollbackError, StatementError):
            session.rollback()
    world.check(*left)


# --- the statement did not run ----------------------------------------------------------------------------------------


@every_case
@loaded_first
def test_a_listener_raises_before_the_statement(world: World, fails: Any, case: Case, loaded: bool) -> None:
    """Nothing was written, so everything is as it was."""
    begin(world)
    armed = fails("before_cursor_execute", case.word)
    with world.session() as session:
        held = loads(session, loaded)
        with pytest.raises(TracingFailed):
            case.run(session)
        assert not armed
        commit(session)
        world.check(*OLD)
        reads_everything(world, session)
        del held


@executed
def test_an_unrelated_statement_of_the_same_transaction_stays(world: World, fails: Any, case: Case) -> None:
    begin(world)
    with world.session() as session:
        session.execute(insert(Document).values(content=b"first"))
        fails("before_cursor_execute", case.word)
        with pytest.raises(TracingFailed):
            case.run(session)
        session.add(Document(content=b"last"))
        session.commit()
    world.check(*OLD, b"first", b"last")


# --- listeners of the ORM ---------------------------------------------------------------------------------------------


@executed
@pytest.mark.parametrize("first", [True, False], ids=["before ours", "after ours"])
def test_a_do_orm_execute_listener_raises_when_it_has_executed(
    world: World, listen: Listen, case: Case, first: bool
) -> None:
    """It has invoked the statement itself, and then something else failed."""
    begin(world)

    def audited(state: ORMExecuteState) -> Any:
        if state.is_select:
            return None
        result = state.invoke_statement()
        result.close()
        raise TracingFailed

    with world.session() as session:
        listen(Session if first else session, "do_orm_execute", audited, **({"insert": True} if first else {}))
        with pytest.raises(TracingFailed):
            case.run(session)
        session.commit()
    world.check(*complete(case))


@executed
def test_a_do_orm_execute_listener_refuses_the_statement(world: World, listen: Listen, case: Case) -> None:
    begin(world)

    def refuse(state: ORMExecuteState) -> None:
        if not state.is_select:
            raise TracingFailed

    with world.session() as session:
        listen(session, "do_orm_execute", refuse)
        with pytest.raises(TracingFailed):
            case.run(session)
        session.commit()
    world.check(*OLD)


@pytest.mark.parametrize("name", ["update", "update of a list", "update by primary key", "Query.update"])
@pytest.mark.parametrize("end", [Session.commit, Session.rollback], ids=["commit", "rollback"])
def test_a_refresh_listener_raises(world: World, listen: Listen, name: str, end: Callable[[Session], None]) -> None:
    """SQLAlchemy tells the loaded objects of the UPDATE, after the database has done it."""
    begin(world)
    case = EXECUTED[name]

    def refreshed(target: Any, context: Any, attributes: Any) -> None:
        raise TracingFailed

    with world.session() as session:
        held = loads(session, wanted=True)
        for each in (Document, Movie):
            listen(each, "refresh", refreshed)
        with pytest.raises(TracingFailed):
            case.run(session)
        end(session)
        world.check(*case.leaves if end is Session.commit else OLD)
        del held


def test_a_load_listener_raises_while_rows_are_fetched(world: World, listen: Listen) -> None:
    """INSERT ... RETURNING: the rows are there, the objects are not."""
    begin(world)

    def loaded(target: Any, context: Any) -> None:
        raise TracingFailed

    with world.session() as session:
        listen(Document, "load", loaded)
        with pytest.raises(TracingFailed):
            session.scalars(insert(Document).returning(Document), [{"content": b"new 1"}, {"content": b"new 2"}]).all()
        session.commit()
    world.check(b"new 1", b"new 2", *OLD)


def test_a_result_that_nobody_fetches(world: World) -> None:
    """The rows were inserted when the statement was executed."""
    begin(world)
    with world.session() as session:
        result = session.execute(
            insert(Document).returning(Document.id), [{"content": b"new 1"}, {"content": b"new 2"}]
        )
        result.close()
        session.commit()
    world.check(b"new 1", b"new 2", *OLD)


# --- lists that only the session holds --------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("how", ["update by primary key", "bulk_update_mappings", "update", "update of the table"])
@pytest.mark.parametrize("held", [False, True], ids=["nobody holds the object", "somebody does"])
@pytest.mark.parametrize("new", [False, True], ids=["loaded", "flushed"])
@pytest.mark.parametrize("end", [Session.commit, Session.rollback], ids=["commit", "rollback"])
def test_a_list_whose_object_nobody_holds(
    world: World, how: str, held: bool, new: bool, end: Callable[[Session], None]
) -> None:
    """Object and list hold one another, until a statement puts another list in its place."""
    begin(world)
    movie: Any = Movie
    values = {"screenshots": [b"new 1", UploadedFile(b"new 2")]}
    with world.session() as session:
        if new:
            keeps = movie(id=TWO, screenshots=[b"first"])
            session.add(keeps)
            session.flush()
        else:
            keeps = session.get_one(Movie, ONE)
            assert len(keeps.screenshots) == 2
        key = keeps.id
        if not held:
            del keeps
            gc.collect()
        if how == "update by primary key":
            session.execute(update(Movie), [{"id": key, **values}])
        elif how == "bulk_update_mappings":
            session.bulk_update_mappings(movie, [{"id": key, **values}])
        elif how == "update":
            session.execute(update(Movie).where(Movie.id == key).values(**values))
        else:
            table = table_of(Movie)
            session.execute(update(table).where(table.c.id == key).values(**values))
        again = session.get_one(Movie, key, populate_existing=True)
        assert read(again.screenshots) == [b"new 1", b"new 2"]
        end(session)
    after = (b"new 1", b"new 2", *(OLD if new else without(b"1", b"2")))
    world.check(*after if end is Session.commit else OLD)
