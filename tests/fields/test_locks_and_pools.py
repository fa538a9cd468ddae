"""No bytes move while the database waits: no row is locked for a transfer, and no connection is kept for one.

The storage does the looking around: in the middle of a transfer it lets another session work, or counts the connections
that are out of the pool.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, delete, event, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, defer

from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import World, empty, sqlite_engine
from tests.support.async_world import DRIVERS, AsyncWorld
from tests.support.models import Base, Document, Movie

Look = Callable[[bytes], object]


class WatchedStorage(MemoryFileStorage):
    """Calls a function with the bytes in the middle of each upload and of each deletion, and keeps the results."""

    def __init__(self) -> None:
        super().__init__()
        self.on_save: Look | None = None
        self.on_delete: Look | None = None
        self.seen: list[object] = []
        self.errors: list[BaseException] = []

    def _look(self, look: Look | None, data: bytes) -> None:
        if look is not None:
            try:
                self.seen.append(look(data))
            except BaseException as error:  # a deletion only logs errors, and the test would not notice them
                self.errors.append(error)

    def _save(self, file_id: str, content: Content) -> FileInfo:
        with content.open() as source:
            data = source.read()
        self._look(self.on_save, data)
        return super()._save(file_id, content)

    def _delete(self, file_id: str) -> None:
        if file_id in self._files:
            self._look(self.on_delete, self._files[file_id][1])
        super()._delete(file_id)

    def checked(self) -> list[object]:
        """Return the observations, once there are some and nothing failed."""
        assert self.errors == []
        assert self.seen
        return self.seen


@pytest.fixture
def storage() -> WatchedStorage:
    return WatchedStorage()


@pytest.fixture
def depots(storage: WatchedStorage) -> Iterator[dict[str, FileStorage]]:
    with temporary_depots():
        yield {
            "default": DepotManager.configure("default", storage),
            "archive": DepotManager.configure("archive", MemoryFileStorage()),
        }


@pytest.fixture
def aworld(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[AsyncWorld]:
    yield AsyncWorld(engine, depots)
    empty(engine, Base.metadata)


OLD = (b"1", b"2", b"shot")


def rows(world: World) -> None:
    """Commit two documents and a movie."""
    with world.session() as session:
        session.add_all(Document(id=each, name="x", content=b"%d" % each) for each in (1, 2))
        session.add(Movie(id=1, name="x", screenshots=[b"shot"]))
        session.commit()


def detached(world: World, kind: Any, key: int = 1, *options: Any) -> Any:
    """Return an object as it is in the database, in no session."""
    with world.session(expire_on_commit=False) as session:
        return session.get_one(kind, key, options=options)


# --- changes ----------------------------------------------------------------------------------------------------------

Work = Callable[[Session, World], object]


def replace(session: Session, world: World) -> None:
    document = detached(world, Document)
    session.add(document)
    document.content = UploadedFile(b"new")
    session.flush()


def replace_at_commit(session: Session, world: World) -> None:
    document = detached(world, Document)
    session.add(document)
    document.content = UploadedFile(b"new")
    session.commit()


def replace_deferred(session: Session, world: World) -> None:
    document = detached(world, Document, 1, defer(Document.content))
    session.add(document)
    document.content = UploadedFile(b"new")
    session.flush()


def replace_two(session: Session, world: World) -> None:
    for key in (1, 2):
        document = detached(world, Document, key)
        session.add(document)
        document.content = UploadedFile(b"new")
    session.flush()


def delete_beside_add(session: Session, world: World) -> None:
    document = detached(world, Document)
    session.add(document)
    session.delete(document)
    session.add(Document(id=3, content=b"new"))
    session.flush()


def append(session: Session, world: World) -> None:
    movie = detached(world, Movie)
    session.add(movie)
    movie.screenshots.append(UploadedFile(b"new"))
    session.flush()


def assign_list(session: Session, world: World) -> None:
    movie = detached(world, Movie)
    session.add(movie)
    movie.screenshots = [UploadedFile(b"new")]
    session.flush()


def update_executed(session: Session, world: World) -> None:
    session.execute(update(Document).where(Document.id == 1).values(content=UploadedFile(b"new")))


def update_of_a_list_executed(session: Session, world: World) -> None:
    session.execute(update(Movie).where(Movie.id == 1).values(screenshots=[UploadedFile(b"new")]))


def update_by_key_executed(session: Session, world: World) -> None:
    session.execute(update(Document), [{"id": 1, "content": b"new"}])


def query_updated(session: Session, world: World) -> None:
    session.query(Document).filter(Document.id == 1).update({"content": b"new"}, synchronize_session=False)


def mappings_updated(session: Session, world: World) -> None:
    session.bulk_update_mappings(Document, [{"id": 1, "content": b"new"}])


def object_saved(session: Session, world: World) -> None:
    document = detached(world, Document)
    document.content = UploadedFile(b"new")
    session.bulk_save_objects([document])


#: Changes of existing rows, and the files of the depot after a commit.
CHANGES: dict[Work, tuple[bytes, ...]] = {
    replace: (b"new", b"2", b"shot"),
    replace_at_commit: (b"new", b"2", b"shot"),
    replace_deferred: (b"new", b"2", b"shot"),
    replace_two: (b"new", b"new", b"shot"),
    delete_beside_add: (b"new", b"2", b"shot"),
    append: (*OLD, b"new"),
    assign_list: (b"1", b"2", b"new"),
    update_executed: (b"new", b"2", b"shot"),
    update_of_a_list_executed: (b"1", b"2", b"new"),
    update_by_key_executed: (b"new", b"2", b"shot"),
    query_updated: (b"new", b"2", b"shot"),
    mappings_updated: (b"new", b"2", b"shot"),
    object_saved: (b"new", b"2", b"shot"),
}


def add(session: Session, world: World) -> None:
    session.add(Document(id=3, content=b"new"))
    session.flush()


def add_at_commit(session: Session, world: World) -> None:
    session.add(Document(id=3, content=b"new"))
    session.commit()


def add_at_an_autoflush(session: Session, world: World) -> None:
    session.add(Document(id=3, content=b"new"))
    assert len(session.scalars(select(Document)).all()) == 3


def insert_executed(session: Session, world: World) -> None:
    session.execute(insert(Document).values(id=3, content=UploadedFile(b"new")))


def inserts_executed(session: Session, world: World) -> None:
    session.execute(insert(Document), [{"id": 3, "content": b"new"}])


def mappings_inserted(session: Session, world: World) -> None:
    session.bulk_insert_mappings(Document, [{"id": 3, "content": b"new"}])


def new_object_saved(session: Session, world: World) -> None:
    session.bulk_save_objects([Document(id=3, content=b"new")])


ADDS: list[Work] = [
    add,
    add_at_commit,
    add_at_an_autoflush,
    insert_executed,
    inserts_executed,
    mappings_inserted,
    new_object_saved,
]
WORKS = CHANGES | dict.fromkeys(ADDS, (*OLD, b"new"))

# --- locks ------------------------------------------------------------------------------------------------------------

TIMEOUT = {"postgresql": "SET LOCAL lock_timeout = '1s'", "mariadb": "SET innodb_lock_wait_timeout = 1"}
with_rows_to_lock = pytest.mark.parametrize("engine", ["postgresql", "mariadb"], indirect=True)


def change_names(world: World) -> Look:
    """Return what writes to all rows that the others could have locked, on a connection of its own."""

    def look(data: bytes) -> None:
        with world.engine.connect() as connection:
            connection.execute(text(TIMEOUT[world.engine.dialect.name]))
            for table in ("document", "movie"):
                connection.execute(text(f"UPDATE {table} SET name = 'meanwhile' WHERE id IN (1, 2)"))
            connection.commit()
            connection.invalidate()  # with its timeout

    return look


@with_rows_to_lock
@pytest.mark.parametrize("work", CHANGES)
def test_no_row_is_locked_while_a_file_is_stored(world: World, storage: WatchedStorage, work: Work) -> None:
    """Another session writes to the very rows in the middle of the upload, and both changes are there afterwards."""
    rows(world)
    storage.on_save = change_names(world)
    with world.session() as session:
        work(session, world)
        session.commit()
    storage.checked()
    storage.on_save = None
    with world.session() as session:
        names = [*session.scalars(select(Document.name).where(Document.id < 3)), *session.scalars(select(Movie.name))]
    assert set(names) == {"meanwhile"}
    world.check(*CHANGES[work])


@with_rows_to_lock
@pytest.mark.parametrize("work", [replace, append, update_executed, mappings_updated])
def test_no_row_is_locked_while_a_file_is_stored_in_a_savepoint(
    world: World, storage: WatchedStorage, work: Work
) -> None:
    rows(world)
    storage.on_save = change_names(world)
    with world.session() as session:
        with session.begin_nested():
            work(session, world)
        session.commit()
    storage.checked()
    storage.on_save = None
    world.check(*CHANGES[work])


@with_rows_to_lock
@pytest.mark.parametrize("work", [replace, append, update_executed, update_by_key_executed])
def test_no_row_is_locked_while_a_file_is_stored_by_an_async_session(
    aworld: AsyncWorld, storage: WatchedStorage, work: Work
) -> None:
    rows(aworld)
    storage.on_save = change_names(aworld)

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            await session.run_sync(work, aworld)
            await session.commit()

    aworld.run(journey)
    storage.checked()
    storage.on_save = None
    aworld.check(*CHANGES[work])


@with_rows_to_lock
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_no_row_is_locked_while_files_are_deleted(world: World, storage: WatchedStorage, end: str) -> None:
    rows(world)
    with world.session() as session:
        replace_two(session, world)
        storage.on_delete = change_names(world)
        (session.commit if end == "commit" else session.rollback)()
    storage.checked()
    storage.on_delete = None
    world.check(*(CHANGES[replace_two] if end == "commit" else OLD))


# --- connections ------------------------------------------------------------------------------------------------------

TIGHT: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.5}


@pytest.fixture
def tight(world: World) -> Iterator[Engine]:
    """An engine that has one connection, for the same database."""
    if world.engine.dialect.name == "sqlite":
        made = sqlite_engine(str(world.engine.url.database), **TIGHT)
    else:
        made = create_engine(world.engine.url, **TIGHT)
    yield made
    made.dispose()


@pytest.mark.parametrize("work", WORKS)
def test_a_session_that_holds_no_connection_takes_none_while_it_stores(
    world: World, tight: Engine, storage: WatchedStorage, work: Work
) -> None:
    """It may wait for the storage as long as it likes: nobody waits for it."""
    rows(world)
    storage.on_save = lambda data: tight.pool.checkedout()  # type: ignore[attr-defined]  # that of a QueuePool
    with Session(tight) as session:
        work(session, world)
        session.commit()
    assert set(storage.checked()) == {0}
    storage.on_save = None
    world.check(*WORKS[work])


def _delete_object(session: Session, world: World) -> None:
    session.delete(session.get_one(Document, 1))


def _delete_executed(session: Session, world: World) -> None:
    session.execute(delete(Document).where(Document.id == 1))


def _remove(session: Session, world: World) -> None:
    del session.get_one(Movie, 1).screenshots[0]


@pytest.mark.parametrize(
    ("work", "left"),
    [
        (replace, CHANGES[replace]),
        (assign_list, CHANGES[assign_list]),
        (update_executed, CHANGES[update_executed]),
        (mappings_updated, CHANGES[mappings_updated]),
        (_delete_object, OLD[1:]),
        (_delete_executed, OLD[1:]),
        (_remove, OLD[:2]),
    ],
)
def test_the_connection_is_back_while_replaced_files_are_deleted(
    world: World, tight: Engine, storage: WatchedStorage, work: Work, left: tuple[bytes, ...]
) -> None:
    """With one connection in all, another session reads and writes in the middle of the deletion."""
    rows(world)

    def look(data: bytes) -> object:
        with Session(tight) as other:
            other.execute(update(Document).where(Document.id == 2).values(name="meanwhile"))
            other.commit()
            return other.scalar(select(Document.name).where(Document.id == 2))

    with Session(tight) as session:
        work(session, world)
        storage.on_delete = look
        session.commit()
    assert set(storage.checked()) == {"meanwhile"}
    storage.on_delete = None
    world.check(*left)


class _Stop(Exception):
    pass


def _rollback(session: Session) -> None:
    session.rollback()


def _close(session: Session) -> None:
    session.close()


def _leave(session: Session) -> None:
    with pytest.raises(_Stop), session:
        raise _Stop


@pytest.mark.parametrize("work", [add, replace, append, inserts_executed, update_executed])
@pytest.mark.parametrize("end", [_rollback, _close, _leave])
def test_the_connection_is_back_while_new_files_are_deleted(
    world: World, tight: Engine, storage: WatchedStorage, work: Work, end: Callable[[Session], None]
) -> None:
    """The same after a rollback, however it comes about."""
    rows(world)

    def look(data: bytes) -> object:
        with Session(tight) as other:
            return other.scalar(select(Document.name).where(Document.id == 2))

    session = Session(tight)
    work(session, world)
    storage.on_delete = look
    end(session)
    session.close()
    assert set(storage.checked()) == {"x"}
    storage.on_delete = None
    world.check(*OLD)


def test_a_storage_that_waits_keeps_nobody_waiting(world: World, tight: Engine, storage: WatchedStorage) -> None:
    """A thread hangs in a deletion; ten transactions of others go by before it is let go."""
    rows(world)
    begun, go_on = threading.Event(), threading.Event()

    def look(data: bytes) -> bool:
        begun.set()
        return go_on.wait(20)

    def commit() -> None:
        with Session(tight) as session:
            replace(session, world)
            storage.on_delete = look
            session.commit()

    thread = threading.Thread(target=commit)
    thread.start()
    assert begun.wait(20)
    for number in range(10):
        with Session(tight) as session:
            session.get_one(Document, 2).name = f"change {number}"
            session.commit()
    assert len(world.stored()) == 4
    go_on.set()
    thread.join(20)
    assert storage.checked() == [True]
    storage.on_delete = None
    world.check(*CHANGES[replace])


# --- the same with AsyncSession ---------------------------------------------------------------------------------------


@asynccontextmanager
async def tight_async(world: World, **options: Any) -> AsyncIterator[AsyncEngine]:
    """An asynchronous engine that has one connection."""
    url = world.engine.url.set(drivername=DRIVERS[world.engine.dialect.name])
    engine = create_async_engine(url, **TIGHT | options)
    if world.engine.dialect.name == "sqlite":

        @event.listens_for(engine.sync_engine, "connect")
        def _connect(connection: Any, record: Any) -> None:
            connection.isolation_level = None

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

    try:
        yield engine
    finally:
        await engine.dispose()


@pytest.mark.parametrize(
    "work", [add, replace, replace_deferred, append, inserts_executed, update_executed, object_saved]
)
def test_an_async_session_that_holds_no_connection_takes_none_while_it_stores(
    aworld: AsyncWorld, storage: WatchedStorage, work: Work
) -> None:
    rows(aworld)

    async def main() -> None:
        async with tight_async(aworld) as engine:
            pool: Any = engine.pool
            storage.on_save = lambda data: pool.checkedout()
            async with AsyncSession(engine) as session:
                await session.run_sync(work, aworld)
                await session.commit()

    asyncio.run(main())
    assert set(storage.checked()) == {0}
    storage.on_save = None
    aworld.check(*WORKS[work])


@pytest.mark.parametrize("work", [replace, update_executed, append, assign_list])
@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_the_connection_of_an_async_session_is_back_while_files_are_deleted(
    aworld: AsyncWorld, storage: WatchedStorage, work: Work, end: str
) -> None:
    """The thread that deletes asks the event loop for a transaction of somebody else's, and gets it."""
    if work is append and end == "commit":
        pytest.skip("this deletes nothing")
    rows(aworld)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with tight_async(aworld) as engine:

            async def others() -> str | None:
                async with AsyncSession(engine) as other:
                    await other.execute(update(Document).where(Document.id == 2).values(name="meanwhile"))
                    await other.commit()
                    return await other.scalar(select(Document.name).where(Document.id == 2))

            def look(data: bytes) -> object:
                return asyncio.run_coroutine_threadsafe(others(), loop).result(10)

            async with AsyncSession(engine) as session:
                await session.run_sync(work, aworld)
                storage.on_delete = look
                if end == "commit":
                    await session.commit()
                elif end == "rollback":
                    await session.rollback()
            storage.on_delete = None

    asyncio.run(main())
    assert set(storage.checked()) == {"meanwhile"}
    aworld.check(*(CHANGES[work] if end == "commit" else OLD))


@pytest.mark.matrix
def test_twenty_tasks_on_one_connection_of_which_some_are_cancelled(
    aworld: AsyncWorld, storage: WatchedStorage
) -> None:
    """Each row has the file that its task left there, wherever the task was stopped.

    Some commit, some roll back, some are cancelled while they wait for the connection, store, or delete.
    """
    with aworld.session() as session:
        session.add_all(Document(id=each, content=b"old %d" % each) for each in range(1, 21))
        session.commit()
    tasks: dict[int, asyncio.Task[None]] = {}
    commits, waits, stores, deletes, rolls_back = 1, 2, 3, 4, 0  # by the remainder; the first one has the connection

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def cancel(data: bytes) -> None:
            what, number = data.split()
            kind = int(number) % 5
            if (what, kind) in {(b"new", stores), (b"old", deletes)}:
                loop.call_soon_threadsafe(tasks[int(number)].cancel)

        storage.on_save = storage.on_delete = cancel
        async with tight_async(aworld, pool_timeout=20) as engine:

            async def task(number: int) -> None:
                async with AsyncSession(engine, expire_on_commit=False) as session:
                    document = await session.get_one(Document, number)
                    document.content = UploadedFile(b"new %d" % number)
                    await session.flush()
                    if number % 5 == rolls_back:
                        await session.rollback()
                    else:
                        await session.commit()

            for number in range(1, 21):
                tasks[number] = asyncio.create_task(task(number))
            await asyncio.sleep(0)
            for number in range(1, 21):
                if number % 5 == waits:
                    tasks[number].cancel()
            results = await asyncio.gather(*tasks.values(), return_exceptions=True)
        for number, result in enumerate(results, 1):
            if number % 5 in {waits, stores, deletes}:
                assert isinstance(result, asyncio.CancelledError), (number, result)
            else:
                assert result is None, (number, result)

    asyncio.run(main())
    storage.checked()
    storage.on_save = storage.on_delete = None
    aworld.check(*(b"new %d" % each if each % 5 in {commits, deletes} else b"old %d" % each for each in range(1, 21)))
