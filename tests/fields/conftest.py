"""Where the files of these tests are, and how two transactions meet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session

from depot_lite.io.interfaces import FileStorage
from tests.conftest import IN_MEMORY, World, empty
from tests.support.async_world import AsyncWorld
from tests.support.models import Base

Statement = Callable[[Session], Any]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory, where the system has a disk there: ten thousand tests make some files each.

    What concerns the disk is in tests/io, and there on one.
    """
    with TemporaryDirectory(dir=IN_MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def aworld(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[AsyncWorld]:
    """An empty world on each of the three databases."""
    yield AsyncWorld(engine, depots)
    empty(engine, Base.metadata)


@pytest.fixture
def race(world: World) -> Iterator[Callable[[Statement, Statement], Any]]:
    """Execute a statement while another transaction holds its rows; return its result.

    The second one has done its work and not committed when ours is sent; it commits when ours waits for it.
    """
    if world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    sent = threading.Event()

    def notice(connection: Connection, cursor: Any, statement: str, *args: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            sent.set()

    event.listen(world.engine, "before_cursor_execute", notice)

    def execute(ours: Statement) -> Any:
        with Session(world.engine) as session:
            result = ours(session)
            session.commit()
        return result

    with ThreadPoolExecutor(1) as pool:

        def run(theirs: Statement, ours: Statement) -> Any:
            with Session(world.engine) as session:
                theirs(session)
                session.flush()
                waiting: Future[Any] = pool.submit(execute, ours)
                assert sent.wait(20)
                _until_blocked(world.engine, waiting)
                session.commit()
            return waiting.result(20)

        yield run
    event.remove(world.engine, "before_cursor_execute", notice)


WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist "
    "ON id = trx_mysql_thread_id WHERE trx_state = 'LOCK WAIT' AND db = database()",
}


def _until_blocked(engine: Engine, waiting: Future[Any]) -> None:
    """Ask the database until somebody waits for a lock; it is what all of these tests are about."""
    with engine.connect() as connection:
        for _ in range(100):
            wait([waiting], 0.15)  # MariaDB repeats its last answer, if it is asked again within 0.1 s
            if connection.exec_driver_sql(WAITING[engine.dialect.name]).scalar_one():
                return
            connection.rollback()
            assert not waiting.done(), "the statement did not wait"
    pytest.fail("nobody waits for a lock")
