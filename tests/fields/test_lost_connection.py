"""Connections that break: at each statement, and during COMMIT, when nobody knows whether the rows are there.

A proxy stands between the session and the database and cuts the line for real. After each cut, every committed row can
read its file; files are deleted only where the database has surely forgotten their rows.
"""

from __future__ import annotations

import logging
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from tests.conftest import World, sqlite_engine
from tests.proxy import Proxy
from tests.support.models import Base, Document, Folder, Page

ROW = 1_000_001
OLD, NEW = b"the old file", b"the new file"

behind_a_line = pytest.mark.parametrize("engine", ["postgresql", "mariadb"], indirect=True)


@dataclass
class Line:
    """A world, and an engine that reaches it through a proxy."""

    world: World
    proxy: Proxy
    engine: Engine

    def connect(self) -> None:
        """Make a connection, so that the messages of its handshake are not among those that are cut."""
        with self.engine.connect():
            pass

    def cut_commit(self, *, arrives: bool, skip: int = 0) -> None:
        """Cut at the next COMMIT: before it reaches the server, or before its answer comes back."""
        if arrives:
            self.proxy.cut(answering=b"COMMIT", skip=skip)
        else:
            self.proxy.cut(asking=b"COMMIT", skip=skip)


@pytest.fixture
def line(world: World) -> Iterator[Line]:
    """A line to each database that has one."""
    with Proxy.before(world.engine.url) as (proxy, url):
        engine = create_engine(url)
        yield Line(world, proxy, engine)
        engine.dispose()


def committed(world: World) -> Document:
    """Commit a row with the old file and return it."""
    with world.session(expire_on_commit=False) as session:
        document = Document(id=ROW, content=OLD)
        session.add(document)
        session.commit()
    return document


def path_of(document: Document) -> str:
    assert isinstance(document.content, UploadedFile)
    return document.content.path


def kept(caplog: pytest.LogCaptureFixture) -> set[str]:
    """Return the paths that the log says were kept."""
    paths = set()
    for record in caplog.records:
        if record.levelno == logging.WARNING and isinstance(record.args, tuple):
            paths.add(str(record.args[0]))
    return paths


# --- COMMIT -------------------------------------------------------------------------------------------------------


@behind_a_line
def test_a_commit_whose_answer_is_lost_keeps_the_new_file(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    """The row is committed and names the new file, as another connection shows: so the replaced one goes."""
    old = path_of(committed(line.world))
    with Session(line.engine) as session:
        document = session.get_one(Document, ROW)
        document.content = UploadedFile(NEW)
        session.flush()
        new = path_of(document)
        line.cut_commit(arrives=True)
        with pytest.raises(DBAPIError) as caught:
            session.commit()
        assert caught.value.connection_invalidated
        session.rollback()
        assert path_of(session.get_one(Document, ROW)) == new
    line.world.check(NEW)
    assert line.world.stored() == {new} != {old}
    assert kept(caplog) == set()


@behind_a_line
def test_a_commit_that_never_arrives_keeps_both_files(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    """COMMIT may still arrive, whatever another connection shows. The row reads the old file, the log names the new."""
    old = path_of(committed(line.world))
    with Session(line.engine) as session:
        document = session.get_one(Document, ROW)
        document.content = UploadedFile(NEW)
        session.flush()
        new = path_of(document)
        line.cut_commit(arrives=False)
        with pytest.raises(DBAPIError):
            session.commit()
        session.rollback()
        assert path_of(session.get_one(Document, ROW)) == old
    assert line.world.rows() == {old: OLD}
    assert line.world.stored() == {old, new}
    assert kept(caplog) == {new}


@behind_a_line
@pytest.mark.parametrize("arrives", [True, False])
def test_a_deleted_rows_file_stays_when_the_commit_breaks(line: Line, arrives: bool) -> None:
    """Another connection proves nothing about a row that it does not show.

    PostgreSQL may hide it (row security, another ``search_path``), and MariaDB may have used another database.
    """
    old = path_of(committed(line.world))
    with Session(line.engine) as session:
        session.delete(session.get_one(Document, ROW))
        session.flush()
        line.cut_commit(arrives=arrives)
        with pytest.raises(DBAPIError):
            session.commit()
    assert line.world.rows() == ({} if arrives else {old: OLD})
    assert line.world.stored() == {old}


@pytest.mark.parametrize("engine", ["mariadb"], indirect=True)
def test_a_broken_connection_that_used_another_database(line: Line) -> None:
    """The new connection uses that of the URL, whose table of the same name has no such row."""
    there = f"{line.world.engine.url.database}_used"
    with line.world.engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {there}")
        connection.exec_driver_sql(f"CREATE TABLE {there}.document LIKE document")
    try:
        with Session(line.engine) as session:
            session.execute(text(f"USE {there}"))
            session.add(Document(id=ROW, content=OLD))
            session.commit()
            document = session.get_one(Document, ROW)
            old = path_of(document)
            document.content = UploadedFile(NEW)
            session.flush()
            line.proxy.cut(asking=b"SELECT 1")
            with pytest.raises(DBAPIError):
                session.execute(text("SELECT 1"))
            session.rollback()
        assert old in line.world.stored()
    finally:
        with line.world.engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {there}")


@behind_a_line
@pytest.mark.parametrize("arrives", [True, False])
def test_adding_an_object_again_after_a_broken_commit_gives_one_readable_row(line: Line, arrives: bool) -> None:
    """Either the database refuses the second row, or it is the only one; never is there a row without a file."""
    line.connect()
    line.cut_commit(arrives=arrives)
    with Session(line.engine) as session:
        document = Document(content=NEW)
        session.add(document)
        with pytest.raises(DBAPIError):
            session.commit()
        assert line.proxy.cut_at is not None
        session.rollback()
        session.add(document)
        if arrives:
            with pytest.raises(IntegrityError):
                session.commit()
        else:
            session.commit()
    assert list(line.world.rows().values()) == [NEW]
    # The file of the first attempt is there in both cases; that of a refused second one is not.
    assert len(line.world.stored()) == (1 if arrives else 2)


@behind_a_line
def test_a_session_works_on_after_a_broken_commit(line: Line) -> None:
    """The next transaction of the same session, on a new connection, is tracked like the first."""
    line.connect()
    line.cut_commit(arrives=False)
    with Session(line.engine) as session:
        session.add(Document(content=b"lost"))
        with pytest.raises(DBAPIError):
            session.commit()
        session.rollback()
        left = line.world.stored()
        session.add(Document(id=ROW, content=OLD))
        session.commit()
        session.get_one(Document, ROW).content = UploadedFile(NEW)
        session.commit()
        session.get_one(Document, ROW).content = UploadedFile(b"not committed")
        session.flush()
        session.rollback()
    assert list(line.world.rows().values()) == [NEW]
    assert line.world.stored() == left | set(line.world.rows())


# --- every other statement ----------------------------------------------------------------------------------------


def _insert(session: Session) -> None:
    session.add(Document(content=b"inserted", report=b"and reported"))


def _replace(session: Session) -> None:
    session.get_one(Document, ROW).content = UploadedFile(b"replaced")


def _replace_in_savepoints(session: Session) -> None:
    document = session.get_one(Document, ROW)
    with session.begin_nested():
        document.content = UploadedFile(b"replaced")
    savepoint = session.begin_nested()
    document.content = UploadedFile(b"replaced again")
    session.flush()
    savepoint.rollback()


def _delete(session: Session) -> None:
    session.delete(session.get_one(Document, ROW))
    session.flush()
    session.add(Document(content=b"inserted"))


def _statements(session: Session) -> None:
    session.query(Document).filter_by(id=ROW).update({"report": b"updated"})
    session.query(Document).filter_by(id=ROW).delete()


CASES = [_insert, _replace, _replace_in_savepoints, _delete, _statements]


def _in_a_session(engine: Engine, case: Callable[[Session], None]) -> None:
    with Session(engine) as session:
        case(session)
        session.commit()


@behind_a_line
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.strip("_"))
def test_a_connection_cut_at_any_statement_leaves_rows_and_files_as_they_were(
    line: Line, case: Callable[[Session], None]
) -> None:
    """Whichever message is the one that does not arrive, up to the one before COMMIT."""
    committed(line.world)
    tried: list[bytes] = []
    while not tried or b"COMMIT" not in tried[-1]:
        line.connect()
        line.proxy.cut(number=len(tried))
        with pytest.raises(DBAPIError):
            _in_a_session(line.engine, case)
        assert line.proxy.cut_at is not None
        tried.append(line.proxy.cut_at)
        if b"COMMIT" not in tried[-1]:
            line.world.check(OLD)
    assert len(tried) >= 2  # PyMySQL sends no BEGIN


# --- COMMIT that is interrupted, or refused -----------------------------------------------------------------------


class TimeLimit(Exception):
    """The error that a task queue raises in its worker from a signal handler."""


@pytest.fixture(params=[KeyboardInterrupt, TimeLimit])
def interruption(request: pytest.FixtureRequest) -> Iterator[type[BaseException]]:
    """An exception that SIGUSR1 raises in the main thread, at whatever line that is."""

    def interrupt(number: int, frame: object) -> None:
        raise request.param

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield request.param
    signal.signal(signal.SIGUSR1, before)


def interrupt_the_test() -> None:
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGUSR1)


@behind_a_line
def test_an_interrupted_commit_keeps_the_file_that_the_row_names(line: Line, interruption: type[BaseException]) -> None:
    """A signal handler that raises while the answer is awaited: the row is committed, its file must be there."""
    committed(line.world)
    with Session(line.engine) as session:
        document = session.get_one(Document, ROW)
        document.content = UploadedFile(NEW)
        session.flush()
        new = path_of(document)
        line.proxy.cut(answering=b"COMMIT", instead=interrupt_the_test)
        with pytest.raises(interruption):
            session.commit()
    assert line.world.rows() == {new: NEW}
    assert line.world.stored() == {new}


class _Interrupted(sqlite3.Connection):
    """Raises once its COMMIT is done, or before."""

    error: type[BaseException] | None = None
    before = False

    def commit(self) -> None:
        if self.error is None or not self.before:
            super().commit()
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeLimit])
def test_an_interrupted_commit_keeps_the_file_that_the_row_names_on_sqlite(
    tmp_path: Path,
    depots: dict[str, FileStorage],
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    before: bool,
) -> None:
    """A COMMIT of SQLite waits for the disk, and Ctrl-C may come then. A transaction still open is rolled back.

    After Ctrl-C SQLAlchemy gives the connection up, so that nothing says that COMMIT will never arrive.
    """
    engine = sqlite_engine(tmp_path / "test.db", connect_args={"factory": _Interrupted})
    Base.metadata.create_all(engine)
    world = World(engine, depots)
    old = path_of(committed(world))
    with world.session() as session:
        document = session.get_one(Document, ROW)
        document.content = UploadedFile(NEW)
        session.flush()
        new = path_of(document)
        monkeypatch.setattr(_Interrupted, "error", error)
        monkeypatch.setattr(_Interrupted, "before", before)
        with pytest.raises(error):
            session.commit()
        monkeypatch.undo()
    assert world.rows() == ({old: OLD} if before else {new: NEW})
    given_up = error is KeyboardInterrupt
    assert world.stored() == ({new} if not before else {old, new} if given_up else {old})
    engine.dispose()


#: A table whose constraint is looked at when COMMIT is sent.
DEFERRED = """
    CREATE TABLE deferred (id INTEGER PRIMARY KEY, other INTEGER REFERENCES deferred (id) DEFERRABLE INITIALLY DEFERRED)
"""
#: A row that such a COMMIT refuses.
REFUSED = text("INSERT INTO deferred VALUES (1, 99)")

with_deferred_constraints = pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def deferred(engine: Engine) -> Iterator[None]:
    """The table; MariaDB has no such thing."""
    with engine.begin() as connection:
        connection.execute(text(DEFERRED))
    yield
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE deferred"))


@with_deferred_constraints
@pytest.mark.usefixtures("deferred")
def test_a_commit_that_the_database_refuses_is_a_rollback(world: World) -> None:
    """The database said no, so that nothing is unknown: born files are deleted, replaced ones stay."""
    committed(world)
    with world.session() as session:
        document = Document(report=b"new")
        session.add(document)
        session.get_one(Document, ROW).content = UploadedFile(NEW)
        session.execute(REFUSED)
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        world.check(OLD)
        session.add(document)
        session.commit()
    world.check(OLD, b"new")


# --- several connections, and sessions that join one --------------------------------------------------------------


def _write_through_two(first: Engine, second: Engine) -> Session:
    """Return a session with a file of its own for each of two engines."""
    session = Session(binds={Document: first, Folder: second, Page: second})
    session.add_all([Document(content=b"document"), Folder(pages=[Page(scan=b"page")])])
    session.flush()
    return session


@behind_a_line
@pytest.mark.parametrize("arrives", [True, False])
def test_what_one_database_committed_keeps_its_file_when_the_other_breaks(line: Line, arrives: bool) -> None:
    """Of two COMMITs the second breaks: the first one's row is there, and so is its file."""
    other = create_engine(line.engine.url)
    with _write_through_two(line.engine, other) as session:
        line.cut_commit(arrives=arrives, skip=1)
        with pytest.raises(DBAPIError):
            session.commit()
    other.dispose()
    rows = line.world.rows()
    assert len(rows) == (2 if arrives else 1)
    assert len(line.world.stored()) == 2
    assert set(rows) <= line.world.stored()


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("deferred")
def test_what_one_database_committed_keeps_its_file_when_the_other_refuses(
    world: World, listen: Callable[..., None]
) -> None:
    """Of two COMMITs the second is refused: the first one's row is there, and so is its file."""
    other = create_engine(world.engine.url)
    commits: list[Connection] = []

    def refuse_the_second(connection: Connection) -> None:
        commits.append(connection)
        if len(commits) == 2:
            connection.execute(REFUSED)

    with _write_through_two(world.engine, other) as session:
        for connection in (session.connection({"mapper": Document}), session.connection({"mapper": Page})):
            event.listen(connection, "commit", refuse_the_second)
        with pytest.raises(IntegrityError):
            session.commit()
    other.dispose()
    rows = world.rows()
    assert len(rows) == 1
    assert set(rows) <= world.stored()


@behind_a_line
@pytest.mark.parametrize("arrives", [True, False])
def test_a_broken_commit_of_the_joined_connection_keeps_what_its_rows_may_name(
    line: Line, arrives: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The session has committed long ago; that its rows are committed is decided by the connection that it joined."""
    old = path_of(committed(line.world))
    with line.engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, expire_on_commit=False) as session:
            document = session.get_one(Document, ROW)
            document.content = UploadedFile(NEW)
            session.commit()
            new = path_of(document)
        line.cut_commit(arrives=arrives)
        with pytest.raises(DBAPIError):
            outer.commit()
        outer.rollback()
    assert line.world.rows() == ({new: NEW} if arrives else {old: OLD})
    assert line.world.stored() == ({new} if arrives else {old, new})
    assert kept(caplog) == (set() if arrives else {new})


@with_deferred_constraints
@pytest.mark.usefixtures("deferred")
def test_a_refused_commit_of_the_joined_connection_is_a_rollback(world: World) -> None:
    """Also when the connection commits something else afterwards."""
    committed(world)
    with world.engine.connect() as connection:
        outer = connection.begin()
        with Session(connection) as session:
            session.get_one(Document, ROW).content = UploadedFile(NEW)
            session.execute(REFUSED)
            session.commit()
        with pytest.raises(IntegrityError):
            outer.commit()
        outer.rollback()
        if connection.dialect.name == "sqlite":  # SQLite leaves the refused transaction open
            connection.connection.rollback()
        world.check(OLD)
        with connection.begin():
            connection.execute(text("INSERT INTO deferred VALUES (2, 2)"))
    world.check(OLD)
