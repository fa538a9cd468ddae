"""Maintenance, awaited: the same reports, and an event loop that goes on."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, cast, insert, select, text
from sqlalchemy import Text as SqlText
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from depot_lite import maintenance as synchronous
from depot_lite.errors import ConfigurationError, UnknownDepot
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileEntry, FileStorage, StoredFile
from depot_lite.io.local import LocalFileStorage, LocalStoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import aio
from depot_lite.manager import DepotManager
from tests.maintenance import covers
from tests.maintenance.conftest import NOW, Base, Film
from tests.support.async_world import AsyncWorld
from tests.support.pauses import Pauses
from tests.support.sweeps import consent

Add = Callable[..., None]
Depots = dict[str, FileStorage]

#: How long the loop may be held up, in seconds of its own thread's processor time.
LONGEST = 0.05


@pytest.fixture
def aworld(database: Engine, depots: Depots) -> AsyncWorld:
    """An asynchronous engine for the tables of maintenance."""
    return AsyncWorld(database, depots)


@pytest.fixture
def pictures(engine: Engine, depots: Depots) -> Iterator[AsyncWorld]:
    """The same for the tables with images."""
    with covers.covers(engine) as database:
        yield AsyncWorld(database, depots)


async def on_each(engine: AsyncEngine, call: Callable[[Any], Awaitable[Any]]) -> list[Any]:
    """Return the results of a call with an engine, a session and a connection."""
    reports = [await call(engine)]
    async with AsyncSession(engine) as session:
        reports.append(await call(session))
    async with engine.connect() as connection:
        reports.append(await call(connection))
    return reports


@pytest.mark.matrix
def test_every_bind_gives_the_same_report(aworld: AsyncWorld, committed: Add, depots: Depots) -> None:
    """Sessions, engines and connections, of each function that only looks."""
    film = Film(poster=b"poster", shots=[b"one"], script=b"script")
    committed(film)
    left = depots["default"].create(b"left")

    async def journey(engine: AsyncEngine) -> None:
        for found in await on_each(engine, lambda bind: aio.find_unused(bind, older_than=NOW, models=[Film])):
            assert [each.file_id for each in found.files] == [left]
        for report in await on_each(engine, lambda bind: aio.find_missing(bind, models=[Film])):
            assert (report.named, report.files) == (3, [])
        for report in await on_each(engine, lambda bind: aio.verify(bind, "default", models=[Film])):
            assert (report.read, report.findings) == (3, [])
        for report in await on_each(engine, lambda bind: aio.statistics(bind, "default", models=[Film])):
            assert report.depots["default"].files == 3

    aworld.run(journey)


@pytest.mark.matrix
def test_what_writes_is_awaited_too(aworld: AsyncWorld, committed: Add, depots: Depots) -> None:
    """Deleting, moving and copying."""
    committed(Film(poster=b"poster"))
    left = depots["default"].create(b"left")
    backup = DepotManager.configure("backup", MemoryFileStorage())

    async def journey(engine: AsyncEngine) -> None:
        await aio.claim(engine, "default", models=[Base])
        report = await aio.delete_unused_files(
            engine, "default", older_than=NOW, trash=NOW, **consent("default", [Base])
        )
        assert (report.deleted, depots["default"].exists(left)) == (1, False)
        await aio.copy_files("default", "backup")
        assert set(backup.list()) == set(depots["default"].list())
        backup.create(b"deleted since")
        assert (await aio.copy_files("default", "backup", prune=True, bind=engine, models=[Base])).pruned == 1
        async with AsyncSession(engine) as session:
            await aio.migrate(session, "default", "archive", models=[Base])
        async with AsyncSession(engine) as session:
            poster = (await session.scalars(select(Film.poster))).one()
            assert poster is not None
            assert poster.depot_name == "archive"
        assert (await aio.find_missing(engine, models=[Base])).files == []

    aworld.run(journey)


def test_a_depot_is_verified_without_a_database(depots: Depots) -> None:
    """None is no bind."""
    depots["default"].create(b"x")
    assert asyncio.run(aio.verify(None, "default")).read == 1


@pytest.mark.matrix  # it takes seconds of the clock
def test_variants_are_regenerated(pictures: AsyncWorld, depots: Depots) -> None:
    """The loop turns while images are decoded."""
    covers.add(pictures.engine, *(covers.Cover(front=covers.picture(1200, 900)) for _ in range(6)))
    covers.recipes(covers.TODAY)

    async def journey(engine: AsyncEngine) -> None:
        pause = await longest_pause(lambda: aio.regenerate_variants(engine, models=[covers.Base], batch=3))
        assert pause < LONGEST
        async with AsyncSession(engine) as session:
            report = await aio.regenerate_variants(session, models=[covers.Base])
            assert (report.rows, report.outdated) == (12, 0)

    pictures.run(journey)
    covers.check_files(pictures.engine, depots)


async def longest_pause(work: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """Return how long the loop's thread computed between two turns of the loop: the shortest of up to three times.

    It is processor time, so that other processes do not count; they still slow it down, but not each time.
    """
    longest: list[float] = []
    while len(longest) < 3 and not any(pause < LONGEST for pause in longest):
        pauses = Pauses(time.thread_time)
        ticking = asyncio.create_task(pauses.tick())
        try:
            longest.append((await pauses.during(work()))[1])
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
    return min(longest)


def write_rows(engine: Engine, file_ids: list[str]) -> None:
    """Write rows as flushes would have written them."""
    value: Any = bindparam("value", type_=SqlText)
    if engine.dialect.name == "postgresql":
        value = cast(value, postgresql.JSONB)
    statement = insert(Film.__table__).values(poster=value, shots=text("'[]'"))  # type: ignore[arg-type]
    rows = []
    for file_id in file_ids:
        path = f"default/{file_id}"
        row = {"depot_name": "default", "file_id": file_id, "path": path, "files": [path], "filename": "poster.jpg"}
        rows.append(
            {"value": json.dumps({**row, "content_type": "image/jpeg", "size": 1, "checksum": "crc32:8cdc1683"})}
        )
    with engine.begin() as connection:
        connection.execute(statement, rows)


@pytest.mark.matrix  # it takes seconds of the clock
@pytest.mark.parametrize("name", ["find_unused", "find_missing", "verify", "statistics"])
def test_the_loop_is_not_held_up(aworld: AsyncWorld, depots: Depots, tmp_path: Path, name: str) -> None:
    """Twelve thousand rows, in several pages, and as many files; the loop looks at a clock each millisecond."""
    storage = MemoryFileStorage()
    depots_before = DepotManager._snapshot()
    DepotManager._clear()
    try:
        DepotManager.configure("default", storage)
        ids = [storage.create(b"x") for _ in range(12_000)]
        write_rows(aworld.engine, ids)

        async def journey(engine: AsyncEngine) -> None:
            function: Any = getattr(aio, name)
            assert await longest_pause(lambda: function(engine, "default", models=[Base])) < LONGEST

        aworld.run(journey)
    finally:
        DepotManager._restore(depots_before)


class Waiting(MemoryFileStorage):
    """Waits at the first file until somebody lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.opened = 0
        self.listed = 0

    def _open(self, file_id: str) -> StoredFile:
        self.opened += 1
        self.begun.set()
        assert self.go_on.wait(20)
        return super()._open(file_id)

    def _list(self) -> Iterator[FileEntry]:
        self.listed += 1
        return super()._list()


def test_a_cancellation_ends_the_work_after_what_is_under_way(
    aworld: AsyncWorld, depots: Depots, tmp_path: Path
) -> None:
    """No other file is begun, no thread goes on, and the state says how far it was."""
    storage = DepotManager.configure("waiting", Waiting())
    assert isinstance(storage, Waiting)
    for _ in range(50):
        storage.create(b"x")
    state = tmp_path / "run.json"

    async def journey(engine: AsyncEngine) -> None:
        task = asyncio.create_task(aio.verify(engine, "waiting", workers=2, state=state, models=[Base]))
        await asyncio.to_thread(storage.begun.wait, 20)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        storage.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        opened = storage.opened
        assert opened <= 4
        await asyncio.sleep(0)
        assert storage.opened == opened
        assert state.exists()
        report = await aio.verify(engine, "waiting", state=state, models=[Base])
        assert (report.resumed, report.read, report.findings) == (True, 50, [])

    aworld.run(journey)


def test_errors_come_through(aworld: AsyncWorld) -> None:
    """And other objects are refused."""

    async def journey(engine: AsyncEngine) -> None:
        with pytest.raises(UnknownDepot):
            await aio.find_missing(engine, "nowhere", models=[Base])
        with pytest.raises(ConfigurationError, match="an AsyncSession"):
            await aio.find_missing(engine.sync_engine, models=[Base])  # type: ignore[arg-type]
        async with engine.connect() as connection:
            with pytest.raises(ConfigurationError, match="an engine"):
                await aio.regenerate_variants(connection, models=[covers.Base])

    aworld.run(journey)


def test_every_function_is_awaited_under_its_name() -> None:
    """Whatever the package exports that takes a database, or copies files."""
    functions = {name for name in synchronous.__all__ if inspect.isfunction(getattr(synchronous, name))}
    functions.remove("limited_memory")  # a context manager
    assert functions <= set(aio.__all__)
    for name in aio.__all__:
        assert inspect.iscoroutinefunction(getattr(aio, name))
        assert getattr(aio, name).__doc__


def test_a_session_keeps_its_own_transaction(aworld: AsyncWorld, committed: Add) -> None:
    """Its uncommitted changes are neither seen nor ended."""
    committed(Film(poster=b"poster"))

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            film = Film(poster=UploadedFile(b"more"))
            session.add(film)
            assert (await aio.find_missing(session, models=[Base])).named == 1
            assert film in session.new

    aworld.run(journey)


def test_a_folder_on_the_disk_is_looked_at_in_threads(depots: Depots, tmp_path: Path) -> None:
    """The thread of the loop touches no file."""
    threads = set[str]()

    class Watched(LocalFileStorage):
        def _open(self, file_id: str) -> LocalStoredFile:
            threads.add(threading.current_thread().name)
            return super()._open(file_id)

    storage = DepotManager.configure("watched", Watched(tmp_path / "watched", durable=False))
    storage.create(b"x", file_id=new_file_id())
    threads.clear()
    assert asyncio.run(aio.verify(None, "watched")).read == 1
    assert threads
    assert threading.main_thread().name not in threads
