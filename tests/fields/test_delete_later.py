"""A hook that takes the files that a COMMIT condemned: each path once, no others, and nothing is left if it fails."""

from __future__ import annotations

import asyncio
import contextvars
import io
import json
import logging
import threading
from collections.abc import Callable

import pytest
from PIL import Image
from sqlalchemy import create_engine, delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.util import greenlet_spawn

from depot_lite.concurrency.pools import THREADS
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.tracking import transfers
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.uploads import adoptable, upload_ticket
from tests.conftest import World
from tests.fields.actions import BEFORE, FIGURES, NEW, OTHER, PHOTO, PLAN, Action, begin, documents, every_action, put
from tests.fields.ends import End, every_end
from tests.support.async_world import AsyncWorld
from tests.support.models import Base, Box, Document, Item, Movie, Plain, Shelf

on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class Cover(Base):
    """An image with two variants."""

    __tablename__ = "delete_later_cover"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"small": Thumbnail(8, 8), "square": Crop(4, 4)})
    )


class Queue:
    """A task queue that carries JSON and runs its tasks when it is told to."""

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.threads: set[threading.Thread] = set()

    def send(self, paths: list[str]) -> None:
        """Take the paths: this is the hook."""
        self.threads.add(threading.current_thread())
        self.tasks.append(json.dumps(paths))

    @property
    def batches(self) -> list[list[str]]:
        """The paths of each task that waits."""
        return [json.loads(task) for task in self.tasks]

    @property
    def paths(self) -> list[str]:
        """The paths of all of them, in order."""
        return sorted(path for batch in self.batches for path in batch)

    def run(self, *, times: int = 1) -> None:
        """Run all tasks, more than once as a queue does whose worker died before it could say that it was done."""
        batches, self.tasks = self.batches, []
        for batch in batches * times:
            assert DepotManager.delete_files(batch) == {}


@pytest.fixture
def queue(depots: dict[str, FileStorage]) -> Queue:
    """A queue of files to delete; it ends with the depots of the test."""
    made = Queue()
    DepotManager.set_delete_later(made.send)
    return made


def unnamed(world: World) -> list[str]:
    """Return the files in the depots that no row names, every row having its own."""
    named = set(world.rows())
    assert named <= world.stored()
    return sorted(world.stored() - named)


@every_action
@every_end
def test_the_queue_gets_each_file_that_no_row_names_any_more_exactly_once(
    world: World, queue: Queue, action: Action, end: End
) -> None:
    """Whatever objects do: files that no row names wait in the queue, and after a rollback there are none."""
    begin(world)
    with world.session() as session:
        end.run(session, action)
    assert queue.paths == unnamed(world)
    assert queue.paths == [] or end.commits
    queue.run(times=2)
    world.check(*action.leaves if end.commits else BEFORE)


@pytest.mark.matrix
@every_action
def test_the_queue_gets_them_under_an_asynchronous_session(aworld: AsyncWorld, queue: Queue, action: Action) -> None:
    """Through each asynchronous driver, and beside the event loop."""
    begin(aworld)

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            await session.run_sync(action.does)
            await session.commit()

    aworld.run(journey)
    assert queue.paths == unnamed(aworld)
    assert threading.main_thread() not in queue.threads
    queue.run()
    aworld.check(*action.leaves)


def test_the_old_file_can_be_read_until_the_task_runs(world: World, queue: Queue) -> None:
    """The row has changed; the file can be read by its path a little longer."""
    begin(world)
    with world.session() as session:
        document = documents(session)[0]
        assert document.content is not None
        old = document.content.path
        put(document, content=NEW)
        session.commit()
    assert queue.batches == [[old]]
    with DepotManager.get_file(old) as stored:
        assert stored.read() == PLAN
    queue.run()
    world.check(NEW, FIGURES, PHOTO)


def test_a_released_savepoint_waits_for_the_outermost_commit(world: World, queue: Queue) -> None:
    """RELEASE condemns nothing for good; files of a savepoint that was rolled back go at the end, and into no queue."""
    begin(world)
    with world.session() as session:
        first, second = documents(session)
        with session.begin_nested():
            put(first, content=NEW)
            savepoint = session.begin_nested()
            put(second, content=OTHER)
            session.flush()
            assert len(world.stored()) == 5
            savepoint.rollback()
        assert queue.tasks == []
        assert len(world.stored()) == 5
        session.commit()
    assert len(queue.paths) == 1
    assert len(world.stored()) == 4
    queue.run()
    world.check(NEW, FIGURES, PHOTO)


def test_a_value_whose_file_waits_to_be_deleted_can_be_stored_again(world: World, queue: Queue) -> None:
    """It was born and condemned in one transaction. It gets another id, so the late task cannot hit it."""
    with world.session(expire_on_commit=False) as session:
        document = Document(content=NEW)
        session.add(document)
        session.flush()
        session.delete(document)
        session.commit()
        assert (len(queue.paths), queue.paths) == (1, unnamed(world))
        assert document.content is not None
        assert document.content.pending
        session.add(Document(content=document.content))
        session.commit()
    assert len(world.stored()) == 2
    queue.run()
    world.check(NEW)


# --- whichever way the row is written -----------------------------------------------------------------------------


def _delete_statement(session: Session) -> None:
    session.execute(delete(Document).where(Document.content.is_not(None)))


def _update_statement(session: Session) -> None:
    session.execute(update(Document).values(content=NEW))


def _bulk_update(session: Session) -> None:
    ids = session.scalars(select(Document.id)).all()
    session.bulk_update_mappings(Document, [{"id": each, "content": OTHER} for each in ids])


def _cascade(session: Session) -> None:
    session.execute(delete(Shelf))


@pytest.mark.parametrize("does", [_delete_statement, _update_statement, _bulk_update, _cascade])
def test_statements_and_cascades_go_the_same_way(world: World, queue: Queue, does: Callable[[Session], None]) -> None:
    """They write into the same frame, so that one call takes all."""
    begin(world)
    with world.session() as session:
        session.add(Shelf(id=1))
        session.flush()
        session.add(Box(id=1, shelf_id=1))
        session.flush()
        session.add_all([Item(box_id=1, photo=b"one"), Item(box_id=1, photo=b"two")])
        session.commit()
        does(session)
        session.commit()
    assert len(queue.tasks) == 1
    assert len(queue.paths) >= 2
    assert queue.paths == unnamed(world)
    queue.run()
    assert unnamed(world) == []


def test_of_a_list_the_elements_that_were_taken_out_go_with_all_their_files(world: World, queue: Queue) -> None:
    """An element of ``extras`` has a second file beside it."""
    with world.session() as session:
        movie = Movie(screenshots=[b"1", b"2", b"3"], extras=[b"a", b"b"])
        session.add(movie)
        session.commit()
        gone = [movie.screenshots[1].path, *movie.extras[0].paths]
        assert len(gone) == 3
        put(movie, screenshots=[movie.screenshots[0], b"4", movie.screenshots[2]])
        del movie.extras[0]
        session.commit()
    assert queue.paths == sorted(gone) == unnamed(world)
    queue.run()
    world.check(b"1", b"4", b"3", b"B", b"signed: b")


def test_a_replaced_image_goes_with_its_variants(world: World, queue: Queue) -> None:
    """All paths of the old value are in one task."""
    images = []
    for colour in ("red", "blue"):
        output = io.BytesIO()
        Image.new("RGB", (40, 30), colour).save(output, "PNG")
        images.append(output.getvalue())
    with world.session() as session:
        cover = Cover(image=images[0])
        session.add(cover)
        session.commit()
        assert cover.image is not None
        old = list(cover.image.paths)
        assert len(old) == 3
        put(cover, image=images[1])
        session.commit()
    assert (len(queue.tasks), queue.paths) == (1, sorted(old))
    queue.run()
    assert (len(world.rows()), unnamed(world)) == (3, [])


# --- whichever way the transaction ends ---------------------------------------------------------------------------


@pytest.mark.parametrize("outer_end", ["commit", "rollback"])
def test_a_session_that_joined_a_transaction_waits_for_its_end(world: World, queue: Queue, outer_end: str) -> None:
    """Its own commit hands nothing on; the connection's does, and the connection's rollback does not."""
    begin(world)
    with world.engine.connect() as connection:
        outer = connection.begin()
        for content in (NEW, OTHER):  # twice, and one frame becomes of both
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                put(documents(session)[0], content=content)
                session.commit()
        assert queue.tasks == []
        {"commit": outer.commit, "rollback": outer.rollback}[outer_end]()
    assert len(queue.paths) == (2 if outer_end == "commit" else 0)
    assert queue.paths == unnamed(world)
    queue.run()
    world.check(*(OTHER, FIGURES, PHOTO) if outer_end == "commit" else BEFORE)


@pytest.mark.parametrize("engine", ["mariadb"], indirect=True)  # PostgreSQL has to be set up for it, SQLite cannot
def test_a_prepared_transaction_hands_on_in_its_second_phase(world: World, queue: Queue) -> None:
    begin(world)
    with world.session(twophase=True) as session:
        put(documents(session)[0], content=NEW)
        session.prepare()
        assert queue.tasks == []
        session.commit()
        assert len(queue.paths) == 1
    queue.run()
    world.check(NEW, FIGURES, PHOTO)


def test_a_session_in_autocommit_hands_on_when_it_commits(world: World, queue: Queue) -> None:
    begin(world)
    # A new engine: on SQLite, that of the other tests sends BEGIN by itself.
    engine = create_engine(world.engine.url, isolation_level="AUTOCOMMIT")
    with Session(engine) as session:
        put(documents(session)[0], content=NEW)
        session.flush()
        assert queue.tasks == []
        session.commit()
    engine.dispose()
    assert len(queue.paths) == 1
    queue.run()
    world.check(NEW, FIGURES, PHOTO)


def test_an_adopted_upload_does_not_wait(world: World, queue: Queue) -> None:
    """Its token is refused as soon as the file has gone, which is promised for the end of the COMMIT."""
    DepotManager.configure_signing("a key that is long enough")
    DepotManager.make_middleware(lambda environ, start_response: [])
    begin(world)
    token = upload_ticket().token
    upload = adoptable(token)
    assert upload is not None
    world.depots["default"].create(NEW, file_id=upload.file_id)
    with world.session() as session:
        first = documents(session)[0]
        assert first.content is not None
        old = first.content.path
        put(first, content=token)
        session.commit()
    assert upload.path not in world.stored()
    assert queue.batches == [[old]]
    queue.run()
    world.check(NEW, FIGURES, PHOTO)


def test_without_a_hook_files_are_deleted_by_the_commit_again(world: World, queue: Queue) -> None:
    begin(world)
    DepotManager.set_delete_later(None)
    with world.session() as session:
        put(documents(session)[0], content=NEW)
        session.commit()
        world.check(NEW, FIGURES, PHOTO)
    assert queue.tasks == []


# --- batches, and a hook that fails -------------------------------------------------------------------------------


def _many(world: World, number: int) -> list[str]:
    """Commit a movie with many files, and then without; return their paths."""
    with world.session() as session:
        movie = Movie(screenshots=[b"%d" % each for each in range(number)])
        session.add(movie)
        session.commit()
        paths = [each.path for each in movie.screenshots]
        movie.screenshots.clear()
        session.commit()
    return paths


@pytest.mark.matrix
@on_sqlite
def test_more_than_a_thousand_paths_come_in_batches(world: World, queue: Queue) -> None:
    """A message of a queue has a limit."""
    paths = _many(world, 2001)
    assert [len(batch) for batch in queue.batches] == [1000, 1000, 1]
    assert queue.paths == sorted(paths)
    queue.run()
    world.check()


def _queue_is_down(paths: list[str]) -> None:
    paths.clear()  # the list is the hook's
    raise ConnectionRefusedError("the queue is down")


async def _send(paths: list[str]) -> None:
    pass


@pytest.mark.parametrize(
    ("hook", "reason"), [(_queue_is_down, "the queue is down"), (lambda paths: _send(paths), "returned a coroutine")]
)
def test_if_the_hook_fails_the_commit_deletes(
    world: World, caplog: pytest.LogCaptureFixture, hook: Callable[[list[str]], object], reason: str
) -> None:
    """The application hears nothing of it, the log does; and no file is left."""
    begin(world)
    DepotManager.set_delete_later(hook)
    with world.session() as session:
        first, second = documents(session)
        put(first, content=NEW, report=None)
        session.commit()
        world.check(NEW, PHOTO)
        session.delete(second)
        session.commit()
    world.check(NEW)
    assert [(each.name, each.levelno) for each in caplog.records] == [("depot_lite", logging.ERROR)] * 2
    assert "so 2 files are deleted here" in caplog.text
    assert reason in caplog.text


def test_if_the_hook_fails_an_asynchronous_commit_deletes(aworld: AsyncWorld, caplog: pytest.LogCaptureFixture) -> None:
    begin(aworld)
    DepotManager.set_delete_later(_queue_is_down)

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            await session.run_sync(lambda inner: put(documents(inner)[0], content=NEW))
            await session.commit()

    aworld.run(journey)
    aworld.check(NEW, FIGURES, PHOTO)
    assert "the queue is down" in caplog.text


@pytest.mark.matrix
@on_sqlite
def test_a_hook_that_fails_half_way_is_not_asked_again(
    world: World, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue keeps the files that it has; the rest is deleted here, without waiting for another timeout."""
    calls = []

    def breaks_down(paths: list[str]) -> None:
        calls.append(len(paths))
        if len(calls) == 2:
            raise TimeoutError("the queue went down")
        queue.send(paths)

    DepotManager.set_delete_later(breaks_down)
    paths = _many(world, 2001)
    assert calls == [1000, 1000]
    assert "so 1001 files are deleted here" in caplog.text
    assert (len(queue.paths), queue.paths) == (1000, unnamed(world))
    assert set(queue.paths) < set(paths)
    queue.run()
    world.check()


def test_the_hook_may_use_a_session_of_its_own(world: World) -> None:
    """A queue may live in the same database: the commit is over, and its locks are free."""
    begin(world)

    def into_a_table(paths: list[str]) -> None:
        with world.session() as other:
            other.add_all(Plain(name=path) for path in paths)
            other.commit()

    DepotManager.set_delete_later(into_a_table)
    with world.session() as session:
        put(documents(session)[0], content=NEW, report=OTHER)
        session.commit()
        waiting = session.scalars(select(Plain.name)).all()
    assert sorted(str(path) for path in waiting) == unnamed(world)
    assert len(waiting) == 2


# --- beside the event loop ----------------------------------------------------------------------------------------


class SlowQueue(Queue):
    """A queue whose hook waits until somebody lets it go on."""

    who: contextvars.ContextVar[str] = contextvars.ContextVar("who")

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.seen: list[str] = []

    def send(self, paths: list[str]) -> None:
        """Wait, and take the paths."""
        self.begun.set()
        assert self.go_on.wait(20)
        self.seen.append(self.who.get())
        super().send(paths)
        self.ended.set()


def test_hooks_that_hang_stop_no_other_work(aworld: AsyncWorld) -> None:
    """As many as there are threads for them."""
    meeting, go_on = threading.Barrier(THREADS + 1, timeout=20), threading.Event()

    def hang(paths: list[str]) -> None:
        meeting.wait()
        go_on.wait(20)

    DepotManager.set_delete_later(hang)

    async def commit() -> None:
        await greenlet_spawn(transfers.delete_at_end, ["default/a"], [])

    async def journey(engine: AsyncEngine) -> None:
        hanging = [asyncio.create_task(commit()) for _ in range(THREADS)]
        await asyncio.to_thread(meeting.wait)
        try:
            assert await asyncio.wait_for(greenlet_spawn(transfers.off_loop, lambda: "done"), 20) == "done"
        finally:
            go_on.set()
            await asyncio.gather(*hanging)

    aworld.run(journey)


@pytest.mark.parametrize("cancelled", [False, True])
def test_the_event_loop_goes_on_while_the_hook_waits(aworld: AsyncWorld, cancelled: bool) -> None:
    """It waits for the loop, and would wait for ever if the loop waited for it. A cancellation lets it finish."""
    begin(aworld)
    queue = SlowQueue()
    DepotManager.set_delete_later(queue.send)

    async def journey(engine: AsyncEngine) -> None:
        queue.who.set("this request")
        async with AsyncSession(engine) as session:
            await session.run_sync(lambda inner: put(documents(inner)[0], content=NEW))
            task = asyncio.create_task(session.commit())
            assert await asyncio.to_thread(queue.begun.wait, 20)
            if cancelled:
                task.cancel()
                await asyncio.sleep(0)
            queue.go_on.set()
            assert await asyncio.wait([task])
            assert task.cancelled() is cancelled
        assert await asyncio.to_thread(queue.ended.wait, 20)  # a cancelled task does not wait for the hook

    aworld.run(journey)
    assert (len(queue.paths), queue.paths) == (1, unnamed(aworld))
    assert queue.seen == ["this request"]
    queue.run()
    aworld.check(NEW, FIGURES, PHOTO)
