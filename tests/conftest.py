"""Fixtures of all tests: three databases, fresh depots, and the check that every test of transactions ends with."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings
from sqlalchemy import Column, Connection, Dialect, Engine, MetaData, Table, create_engine, event, select
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

DATABASES: Final = ("sqlite", "postgresql", "mariadb")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run all tests, and not only the quick suite (tests/README.md)")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Selection(config), "selection")
    # The same examples in each run, on each machine: a search for new ones is `--hypothesis-profile=search`.
    settings.register_profile("repeated", derandomize=True, deadline=None, database=None)
    settings.register_profile("quick", settings.get_profile("repeated"), max_examples=25)
    settings.register_profile("search", deadline=None, max_examples=1000)
    if config.getoption("--hypothesis-profile", None) is None:
        settings.load_profile("repeated" if config.option.all or config.option.markexpr else "quick")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a file by its parameter: its bytes make a name of pages, and are others where a time is among them."""
    return argname if isinstance(val, bytes) and len(val) > 40 else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """Leave the tests themselves to no garbage collection: each would look at tens of thousands of them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


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
def _tables(count: int, *kinds: MetaData) -> tuple[Table, ...]:
    """Return those that refer to others first, which takes long; there are more once a module was imported."""
    return tuple(table for kind in kinds for table in reversed(kind.sorted_tables))


@cache
def _columns(count: int) -> tuple[Column[Any], ...]:
    """Return those with files; there are more once a module was imported."""
    found = {each.column: None for mapper in Base.registry.mappers for each in columns_of_mapper(mapper).values()}
    return tuple(found)


def filled(connection: Connection, tables: tuple[Table, ...]) -> list[Table]:
    """Return the tables that have rows: most of the models are in no test but their own, and this is one question."""
    return [tables[number] for number in connection.exec_driver_sql(_question(connection.dialect, tables)).scalars()]


@cache
def _question(dialect: Dialect, tables: tuple[Table, ...]) -> str:
    quoted = dialect.identifier_preparer.format_table
    asked = (f"SELECT {number} WHERE EXISTS (SELECT 1 FROM {quoted(table)})" for number, table in enumerate(tables))
    return " UNION ALL ".join(asked)


def empty(engine: Engine, *kinds: MetaData) -> None:
    """Delete all rows."""
    with engine.begin() as connection:
        for table in filled(connection, _tables(sum(len(each.tables) for each in kinds), *kinds)):
            connection.execute(table.delete())


@contextmanager
def engine_for(kind: str, folder: Path) -> Iterator[Engine]:
    """An engine for an empty database of this kind; SQLite's is in the folder."""
    with ExitStack() as stack:
        if kind == "sqlite":
            made = sqlite_engine(folder / "test.db")
        else:
            made = create_engine(stack.enter_context(own_database(kind)))
        stack.callback(made.dispose)
        yield made


@pytest.fixture(scope="session", params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine for each of the three databases, with the tables of `tests.support.models`."""
    with engine_for(request.param, tmp_path_factory.mktemp("database")) as made:
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
        columns = _columns(len(Base.registry.mappers))
        with self.engine.connect() as connection:
            has_rows = set(filled(connection, tuple(dict.fromkeys(column.table for column in columns))))
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
