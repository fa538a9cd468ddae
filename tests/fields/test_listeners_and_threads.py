"""An engine in use gets no listeners: another thread may be inside of one of its events."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, delete, event, insert, update
from sqlalchemy.orm import Session

from depot_lite.fields.upload import UploadedFile
from tests.conftest import World, sqlite_engine
from tests.support.models import Document, Movie

#: The head of each program: a process in which no file has been attached yet.
HEAD = """
    import sys
    import threading
    from sqlalchemy import create_engine, event, text
    from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
    from depot_lite.fields.sqlalchemy import UploadedFileField
    from depot_lite.fields.upload import UploadedFile
    from depot_lite.manager import DepotManager
    from depot_lite.io.memory import MemoryFileStorage

    depot = DepotManager.configure("default", MemoryFileStorage())

    class Base(DeclarativeBase):
        pass

    class Document(Base):
        __tablename__ = "document"
        id: Mapped[int] = mapped_column(primary_key=True)
        content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)

    BEGIN = "BEGIN"
    engine = create_engine(f"sqlite:///{sys.argv[1]}", connect_args={"timeout": 20})

    @event.listens_for(engine, "connect")
    def no_begin_of_its_own(connection, record):
        connection.isolation_level = None

    inside = threading.Event()

    @event.listens_for(engine, "begin")
    def begin(connection):
        if BEGIN == "BEGIN IMMEDIATE" and threading.current_thread() is not threading.main_thread():
            inside.set()
        connection.exec_driver_sql(BEGIN)

    def in_thread(work):
        errors = []
        def run():
            try:
                work()
            except BaseException as error:
                errors.append(error)
                raise
        thread = threading.Thread(target=run)
        thread.start()
        return thread, errors

    def joined(thread, errors):
        thread.join(30)
        assert not thread.is_alive(), "the other thread hangs"
        assert not errors, errors
"""

#: Two threads that write as SQLAlchemy's recipe for SQLite has it: the second waits inside of ``begin`` for the first.
TWO_WRITERS = """
    BEGIN = "BEGIN IMMEDIATE"
    Base.metadata.create_all(engine)

    def other():
        with engine.begin() as connection:
            connection.execute(text("UPDATE document SET id = id"))

    with Session(engine) as session:
        session.connection()
        thread = in_thread(other)
        assert inside.wait(20)
        session.add(Document(content=b"x"))
        session.commit()
    joined(*thread)
    assert len(list(depot.list())) == 1
    print("both are done")
"""

#: A thread that stands inside of an event of the engine while the first file is attached, replaced and deleted.
INSIDE_OF_AN_EVENT = """
    Base.metadata.create_all(engine)
    go_on = threading.Event()

    def stand(*args):
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            assert go_on.wait(20)

    event.listen(engine, sys.argv[2], stand)
    event.listen(engine, sys.argv[2], lambda *args: None)

    def other():
        with engine.connect() as connection:
            with connection.begin():
                with connection.begin_nested():
                    connection.execute(text("SELECT 1")).all()
                connection.begin_nested().rollback()
            connection.execute(text("SELECT 1")).all()
            connection.rollback()

    thread = in_thread(other)
    assert inside.wait(20)
    with Session(engine) as session:
        document = Document(content=b"x")
        with session.begin_nested():
            session.add(document)
        session.rollback()
    go_on.set()
    joined(*thread)
    print("both are done")
"""

EVENTS = [
    "begin",
    "commit",
    "rollback",
    "savepoint",
    "rollback_savepoint",
    "release_savepoint",
    "before_execute",
    "after_execute",
    "before_cursor_execute",
    "after_cursor_execute",
    "engine_connect",
    "checkout",
    "checkin",
    "reset",
]


def run(program: str, path: Path, *arguments: str) -> None:
    """Run a program in a process of its own, with warnings as errors; those of its threads as well."""
    code = textwrap.dedent(HEAD) + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
        check=False,
    )
    assert (done.stdout, done.returncode) == ("both are done\n", 0), done.stderr


@pytest.mark.matrix
def test_the_first_file_of_a_process_while_another_thread_waits_for_the_database(tmp_path: Path) -> None:
    """Every process that follows the recipe with BEGIN IMMEDIATE can meet this with its first upload."""
    run(TWO_WRITERS, tmp_path / "test.db")


@pytest.mark.matrix
@pytest.mark.parametrize("name", EVENTS)
def test_the_first_file_of_a_process_while_another_thread_is_inside_of_an_event(tmp_path: Path, name: str) -> None:
    """The listeners of an engine are run through one by one; adding one meanwhile would break that."""
    run(INSIDE_OF_AN_EVENT, tmp_path / "test.db", name)


# --- what an engine has -----------------------------------------------------------------------------------------------


@pytest.fixture(params=["with BEGIN", "as it comes"])
def fresh(request: pytest.FixtureRequest, world: World) -> Iterator[Engine]:
    """An engine that nobody has used, for the same database."""
    if world.engine.dialect.name == "sqlite" and request.param == "with BEGIN":
        made = sqlite_engine(str(world.engine.url.database))
    else:
        made = create_engine(world.engine.url)
    yield made
    made.dispose()


def listeners(engine: Engine) -> dict[str, list[object]]:
    """Return all listeners of an engine, its dialect and its pool, by event."""
    found: dict[str, list[object]] = {}
    for owner in (engine, engine.dialect, engine.pool):
        dispatch: Any = owner.dispatch
        for name in dispatch._event_names:  # no public name; its attributes are what SQLAlchemy runs through
            found[f"{type(owner).__name__}.{name}"] = list(getattr(dispatch, name))
    return found


def _whole_life(engine: Engine) -> None:
    """Attach, replace, delete, roll back, by objects and statements, with savepoints."""
    with Session(engine) as session:
        session.add(Document(id=1, content=b"1"))
        session.add(Movie(id=1, screenshots=[b"2"]))
        session.commit()
        session.get_one(Document, 1).content = UploadedFile(b"3")
        session.get_one(Movie, 1).screenshots.append(UploadedFile(b"4"))
        session.flush()
        session.rollback()
        savepoint = session.begin_nested()
        session.get_one(Document, 1).content = UploadedFile(b"5")
        session.flush()
        savepoint.rollback()
        session.execute(insert(Document).values(id=2, content=b"6"))
        session.execute(update(Document).where(Document.id == 1).values(content=b"7"))
        session.commit()
        session.bulk_update_mappings(Document, [{"id": 1, "content": b"8"}])
        session.execute(delete(Document).where(Document.id == 2))
        session.delete(session.get_one(Movie, 1))
        session.commit()


def test_an_engine_has_the_same_listeners_after_its_sessions_looked_after_files(world: World, fresh: Engine) -> None:
    """From the first connection on, when the dialect has added its own listeners, none is added or taken away."""
    with fresh.connect():
        before = listeners(fresh)
    _whole_life(fresh)
    assert listeners(fresh) == before
    world.check(b"8")


def test_an_engine_in_the_midst_of_a_transaction_has_the_same_listeners(world: World, fresh: Engine) -> None:
    """Not even for a while: another thread could be inside of an event just then."""
    with fresh.connect():
        before = listeners(fresh)
    with Session(fresh) as session:
        session.add(Document(id=1, content=b"1"))
        session.flush()
        assert listeners(fresh) == before
        with session.begin_nested():
            session.get_one(Document, 1).content = UploadedFile(b"2")
        assert listeners(fresh) == before
        session.commit()
    assert listeners(fresh) == before
    world.check(b"2")


def test_listeners_that_are_run_through_while_a_file_is_attached(world: World, fresh: Engine) -> None:
    """The same by its effect: each event of the engine attaches a file through another session, and goes on."""
    if fresh.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    busy: list[str] = []
    attached: list[str] = []

    def attach(name: str) -> None:
        if not busy:
            busy.append(name)
            try:
                with Session(fresh) as session:
                    session.add(Document(content=name.encode()))
                    session.flush()
                    session.rollback()
                attached.append(name)
            finally:
                busy.clear()

    names = ["begin", "commit", "rollback", "before_cursor_execute", "after_cursor_execute", "savepoint"]
    for name in names:
        # Once to attach, once to be run through after that.
        event.listen(fresh, name, lambda *args, name=name: attach(name))
        event.listen(fresh, name, lambda *args: None)
    with Session(fresh) as session:
        with session.begin_nested():
            session.add(Document(content=b"mine"))
        session.commit()
        session.add(Document(content=b"no"))
        session.flush()
        session.rollback()
    assert set(attached) == set(names)
    world.check(b"mine")
