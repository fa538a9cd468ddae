"""What the tests stand on: three databases, fresh depots, and the one check that every transaction test ends with."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, event, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from depot_lite.fields.columns import columns_of_mapper, paths_of
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.forks import Forks
from tests.support.databases import own_database
from tests.support.models import Base
from tests.support.selection import Selection

#: A disk in memory, where the system has one; None: where temporary files are. On a real one, to make small files and
#: to remove them is most of what thousands of tests do.
IN_MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run all tests, and not only the quick suite (tests/README.md)")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Selection(config), "selection")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """Leave the tests themselves to no garbage collection: each would look at tens of thousands of them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def sqlite_engine(path: Path | str, **options: Any) -> Engine:
    """Return an engine whose savepoints work: without the BEGIN of SQLAlchemy's recipe, a RELEASE would commit."""
    engine = create_engine(f"sqlite:///{path}", **options)

    @event.listens_for(engine, "connect")
    def _no_begin_of_its_own(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = OFF")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


@cache
def _empty_tables(metadata: MetaData, count: int) -> bytes:
    """Return a database in SQLite's format with these tables; there are more once a module was imported."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(engine)
    with engine.connect() as connection:
        made: Any = connection.connection.dbapi_connection
        content = bytes(made.serialize())
    engine.dispose()
    return content


def make_sqlite(path: Path, metadata: MetaData) -> None:
    """Make a database with these tables, as a copy, which is faster than to create each of them."""
    path.write_bytes(_empty_tables(metadata, len(metadata.tables)))


@cache
def _tables(metadata: MetaData, count: int) -> list[Table]:
    """Return them in the order of their foreign keys, which takes long; there are more once a module was imported."""
    return metadata.sorted_tables


def filled(connection: Connection, tables: Iterable[Table]) -> list[Table]:
    """Return the tables that have rows: most of the models are in no test but their own, and this is one question."""
    tables, quoted = list(tables), connection.dialect.identifier_preparer.format_table
    question = ", ".join(f"EXISTS (SELECT 1 FROM {quoted(table)})" for table in tables)
    answer = connection.exec_driver_sql(f"SELECT {question}").one()
    return [table for table, has_rows in zip(tables, answer, strict=True) if has_rows]


def empty(engine: Engine, *kinds: MetaData) -> None:
    """Delete all rows."""
    with engine.begin() as connection:
        for table in filled(connection, [each for kind in kinds for each in reversed(_tables(kind, len(kind.tables)))]):
            connection.execute(table.delete())


@pytest.fixture(scope="session", params=["sqlite", "postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine for each of the three databases, with the tables of `tests.support.models`."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            made = sqlite_engine(tmp_path_factory.mktemp("sqlite") / "test.db")
        else:
            made = create_engine(stack.enter_context(own_database(request.param)))
        stack.callback(made.dispose)
        Base.metadata.create_all(made)
        yield made


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Where processes come from that are to begin at once."""
    with Forks(tmp_path_factory.mktemp("cache")) as made:
        yield made


@pytest.fixture
def depots(tmp_path: Path) -> Iterator[dict[str, FileStorage]]:
    """Two depots on the local disk: ``default`` and ``archive``."""
    with temporary_depots():
        yield {
            name: DepotManager.configure(name, LocalFileStorage(tmp_path / "media" / name, durable=False))
            for name in ("default", "archive")
        }


class World:
    """An empty database and empty depots, and the check that they agree."""

    def __init__(self, engine: Engine, depots: dict[str, FileStorage]) -> None:
        self.engine = engine
        self.depots = depots

    def session(self, **options: Any) -> Session:
        """Return a new session."""
        return Session(self.engine, **options)

    def rows(self) -> dict[str, bytes]:
        """Return the path and the bytes of every file that a committed row names, thumbnails and all."""
        found: dict[str, bytes] = {}
        columns = {each.column: None for mapper in Base.registry.mappers for each in columns_of_mapper(mapper).values()}
        with self.engine.connect() as connection:
            has_rows = set(filled(connection, {column.table: None for column in columns}))
            for column in columns:
                if column.table in has_rows:
                    for value in connection.scalars(select(column)):
                        found.update(self._read(value))
        return found

    def _read(self, value: Any) -> dict[str, bytes]:
        read = {}
        for path in paths_of(value):
            with DepotManager.get_file(path) as stored:
                read[path] = stored.read()
        return read

    def stored(self) -> set[str]:
        """Return the path of every file in the depots."""
        return {f"{name}/{file_id}" for name, depot in self.depots.items() for file_id in depot.list()}

    def check(self, *expected: bytes) -> None:
        """Check that rows and depots hold exactly the same files, with exactly these contents in any order."""
        rows = self.rows()
        assert set(rows) == self.stored()
        assert sorted(rows.values()) == sorted(expected)


@pytest.fixture
def world(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[World]:
    """An empty world on each of the three databases."""
    yield World(engine, depots)
    empty(engine, Base.metadata)


@pytest.fixture
def queries(engine: Engine) -> Iterator[list[str]]:
    """Every statement that is sent to the database, in order, also those of which connections tell nobody."""
    sent: list[str] = []

    def _record(cursor: Any, statement: str, *args: Any) -> None:
        sent.append(statement)

    for name in ("do_execute", "do_executemany", "do_execute_no_params"):
        event.listen(engine, name, _record)
    yield sent
    for name in ("do_execute", "do_executemany", "do_execute_no_params"):
        event.remove(engine, name, _record)


@pytest.fixture
def listen() -> Iterator[Callable[..., None]]:
    """``event.listen``, undone at the end of the test."""
    made: list[tuple[Any, str, Any]] = []

    def _listen(target: Any, name: str, listener: Any, **options: Any) -> None:
        event.listen(target, name, listener, **options)
        made.append((target, name, listener))

    yield _listen
    for target, name, listener in reversed(made):
        event.remove(target, name, listener)
