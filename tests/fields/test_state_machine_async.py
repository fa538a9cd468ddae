"""The random histories once more, with the session of an `AsyncSession`: what listeners do, they do in its greenlet.

Each rule's work runs in one greenlet, as the calls of an `AsyncSession` do one by one; so the machine itself stays as
it is. It reads through the other driver to check.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from sqlalchemy.util import greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.local import LocalFileStorage
from tests.fields.machine import Machine
from tests.fields.steps import KINDS, play
from tests.support.async_world import DRIVERS

pytestmark = pytest.mark.matrix


class BesideTheLoop(LocalFileStorage):
    """A folder that refuses to hold up the event loop with an upload, and counts deletions that do not."""

    def __init__(self, path: Path, reached: Counter[str]) -> None:
        super().__init__(path, durable=False)
        self._reached = reached

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self._count("saved in a thread")
        return super()._save(file_id, content)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        self._count("copied in a thread")
        return super()._copy(source_id, file_id)

    def _count(self, kind: str) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self._reached[kind] += 1

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        # In the main thread, the machine itself sweeps.
        self._reached["deleted in a thread"] += threading.current_thread() is not threading.main_thread()
        return super()._delete_many(file_ids)


class AsyncMachine(Machine):
    """The same histories on an event loop, through an asynchronous driver."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.async_engine = asynchronous(self.engine)
        super().__init__()

    def _new_session(self) -> Session:
        return AsyncSession(self.async_engine, autoflush=False).sync_session

    def _new_storage(self, name: str) -> FileStorage:
        return BesideTheLoop(self.folder / name, self.reached)

    def _do(self, step: Callable[[], None]) -> None:
        """Run a step in the greenlet; a rule that is there already runs it directly."""
        if in_greenlet():
            step()
        else:
            self.runner.run(greenlet_spawn(step))

    def teardown(self) -> None:
        """End with the loop."""
        try:
            super().teardown()
        finally:
            self.runner.run(self.async_engine.dispose())
            self.runner.close()


def asynchronous(engine: Engine) -> AsyncEngine:
    """Return an engine for the same database through an asynchronous driver; it keeps no connection for other loops."""
    url = engine.url.set(drivername=DRIVERS[engine.dialect.name])
    made = create_async_engine(url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":

        @event.listens_for(made.sync_engine, "connect")
        def _no_begin_of_its_own(connection: Any, record: Any) -> None:
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.close()

        @event.listens_for(made.sync_engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

    return made


def test_no_history_of_an_async_session_loses_a_file_or_leaves_one_over(engine: Engine) -> None:
    """Every kind of step is reached, and no upload holds up the event loop."""
    examples = 70 if engine.dialect.name == "sqlite" else 60
    reached = play(engine, examples, machine=AsyncMachine)
    assert reached["step"] > 500
    kinds = (*KINDS, "saved in a thread", "copied in a thread", "deleted in a thread")
    assert not [kind for kind in kinds if not reached[kind]]
