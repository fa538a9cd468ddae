"""Variants that are made after the COMMIT: the hook gets each committed image once, and rows name what is there."""

from __future__ import annotations

import asyncio
import datetime
import enum
import json
import threading
import uuid
from collections.abc import Iterator
from decimal import Decimal
from types import NoneType
from typing import Any, ClassVar

import pytest
from sqlalchemy import (
    Engine,
    Enum,
    LargeBinary,
    Numeric,
    String,
    TypeDecorator,
    Uuid,
    delete,
    insert,
    inspect,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.errors import ConfigurationError, ImageRefused
from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImage, regenerate
from depot_lite.fields.specialized.media import UploadedMedia
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import aio, claim, delete_unused_files, make_missing_variants, make_variants
from depot_lite.manager import DepotManager
from tests.conftest import empty
from tests.fields.images import meanwhile, picture
from tests.previews import samples
from tests.support.async_world import AsyncWorld

on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

VARIANTS = {
    "small": Thumbnail(8, 8),
    "large": Thumbnail(16, 16, make="later"),
    "square": Crop(4, 4, make="on_demand"),
}


def images(**options: Any) -> UploadedFileField:
    return UploadedFileField(upload_type=UploadedImage, variants=VARIANTS, **options)


class Base(DeclarativeBase):
    """Tables of this module."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


class Photo(Base):
    """An image, some more in a list, a count of versions, and a number that each UPDATE sets."""

    __tablename__ = "later_photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    image: Mapped[UploadedImage | None] = mapped_column(images())
    more: Mapped[FileList[UploadedImage]] = mapped_column(images(multiple=True))
    version: Mapped[int] = mapped_column()
    touched: Mapped[int | None] = mapped_column(onupdate=1)
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it


class LateScriptPhoto(Base):
    """An image, in a class whose name no other module has."""

    __tablename__ = "later_portrait"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(images())


class Optional(UploadedImage):
    """Another file than an image is kept, too."""

    optional = True


class Attachment(Base):
    """A file that may be an image, and one that may have a preview."""

    __tablename__ = "later_attachment"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[Optional | None] = mapped_column(UploadedFileField(upload_type=Optional, variants=VARIANTS))
    late: Mapped[Optional | None] = mapped_column(
        UploadedFileField(upload_type=Optional, variants={"large": VARIANTS["large"]})
    )
    media: Mapped[UploadedMedia | None] = mapped_column(
        UploadedFileField(upload_type=UploadedMedia, variants={"page": Thumbnail(8, 8, format="PNG", make="later")})
    )


class Queue:
    """A queue that carries JSON and runs its tasks when it is told to."""

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.threads: set[threading.Thread] = set()

    def send(self, *job: Any) -> None:
        """Take an image: this is the hook."""
        self.threads.add(threading.current_thread())
        self.tasks.append(json.dumps(job))

    @property
    def paths(self) -> list[str]:
        """The paths of the images that wait, in order."""
        return [json.loads(task)[3] for task in self.tasks]

    def run(self, engine: Engine) -> list[list[str]]:
        """Run all tasks, and return the names of the variants that each has made."""
        tasks, self.tasks = self.tasks, []
        return [make_variants(engine, *json.loads(task)) for task in tasks]


@pytest.fixture
def database(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[Engine]:
    """Empty tables."""
    Base.metadata.create_all(engine)
    yield engine
    empty(engine, Base.metadata)


@pytest.fixture
def queue(depots: dict[str, FileStorage]) -> Queue:
    """A queue, which is the hook."""
    made = Queue()
    DepotManager.set_process_later(made.send)
    return made


def values(engine: Engine) -> list[UploadedImage]:
    """Return the images of all rows."""
    with Session(engine) as session:
        photos = session.query(Photo).order_by(Photo.id).all()
        return [each for photo in photos for each in (photo.image, *photo.more) if each is not None]


def variants(engine: Engine) -> list[list[str]]:
    """Return the names of the variants of the images of all rows, whose files have to be there."""
    found = []
    for value in values(engine):
        assert all(DepotManager.get_file(path).content_length for path in value.paths)
        found.append(sorted(value["variants"]))
    return found


def check(engine: Engine, depots: dict[str, FileStorage]) -> None:
    """Check that the depots have the files that rows name, and no others."""
    named = {path for value in values(engine) for path in value.paths}
    assert named == {f"{name}/{file_id}" for name, depot in depots.items() for file_id in depot.list()}


BOTH = ["large", "small"]


def test_a_committed_image_goes_to_the_queue_and_its_variants_into_the_row(
    database: Engine, queue: Queue, depots: dict[str, FileStorage]
) -> None:
    """Those of a list one by one; the images keep their paths, and a second run makes nothing."""
    with Session(database) as session:
        photo = Photo(id=7, image=picture(), more=[picture(), picture()])
        session.add(photo)
        session.flush()
        assert queue.tasks == []
        session.commit()
        held = [each for each in (photo.image, *photo.more) if each is not None]
    model = f"{__name__}:Photo"
    sent = {path: rest for *rest, path in map(json.loads, queue.tasks)}
    assert sent == {
        value.path: [model, [7], attribute] for attribute, value in zip(("image", "more", "more"), held, strict=True)
    }
    assert variants(database) == [["small"]] * 3
    tasks = queue.tasks[:]
    assert queue.run(database) == [["large"]] * 3
    assert variants(database) == [BOTH] * 3
    assert [each.path for each in values(database)] == [each.path for each in held]
    queue.tasks = tasks
    assert queue.run(database) == [[]] * 3
    check(database, depots)


@pytest.mark.parametrize("end", ["rollback", "close", "savepoint", "replaced", "deleted"])
def test_an_image_that_no_row_names_in_the_end_never_goes_to_the_queue(
    database: Engine, queue: Queue, depots: dict[str, FileStorage], end: str
) -> None:
    """Nor does any other than the last of a transaction."""
    with Session(database) as session:
        savepoint = session.begin_nested() if end == "savepoint" else None
        photo = Photo(id=1, image=picture())
        session.add(photo)
        session.flush()
        if savepoint is not None:
            savepoint.rollback()
        elif end == "replaced":
            photo.image = UploadedImage(picture(30, 30))
        elif end == "deleted":
            session.delete(photo)
        elif end == "rollback":
            session.rollback()
        if end != "close":
            session.commit()
    assert queue.paths == [each.path for each in values(database)]
    assert len(queue.paths) == (end == "replaced")
    queue.run(database)
    check(database, depots)


def test_a_released_savepoint_waits_for_the_outermost_commit(database: Engine, queue: Queue) -> None:
    """Also where the session has joined the transaction of a connection."""
    with database.connect() as connection, connection.begin() as transaction:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            with session.begin_nested():
                session.add(Photo(id=1, image=picture()))
            session.commit()
        assert queue.tasks == []
        transaction.commit()
    assert len(queue.tasks) == 1


def test_statements_and_bulk_methods_send_their_images_too(
    database: Engine, queue: Queue, depots: dict[str, FileStorage]
) -> None:
    """Where the key was never told, the row is found by the path."""
    with Session(database) as session:
        session.execute(insert(Photo).values(image=UploadedImage(picture()), version=1, more=[]))
        session.execute(insert(Photo), [{"image": UploadedImage(picture()), "version": 1, "more": []}] * 2)
        session.bulk_save_objects([Photo(image=picture(), version=1)])
        session.commit()
    assert len(queue.tasks) == 4
    assert queue.run(database) == [["large"]] * 4
    with Session(database) as session:
        session.execute(update(Photo).values(image=UploadedImage(picture(20, 20))))
        session.commit()
    assert len(queue.tasks) == 4
    queue.run(database)
    assert variants(database) == [BOTH] * 4
    check(database, depots)


@pytest.mark.parametrize("how", ["flush", "statement"])
def test_a_row_whose_key_changes_in_the_transaction_that_stores_its_image_is_found(
    database: Engine, queue: Queue, how: str
) -> None:
    """By the path: which key it has in the end is not certain."""
    with Session(database) as session:
        session.add_all([photo := Photo(id=1, image=picture()), Photo(id=2, image=picture())])
        session.flush()
        if how == "flush":
            photo.id = 7
        else:
            session.execute(update(Photo).where(Photo.id == 1).values(id=7))
        session.commit()
    assert None in [json.loads(task)[1] for task in queue.tasks]
    assert queue.run(database) == [["large"]] * 2
    assert variants(database) == [BOTH] * 2


def test_a_commit_as_text_is_one(database: Engine, queue: Queue) -> None:
    """The session has rolled back, and the row is there."""
    with Session(database) as session:
        session.add(Photo(id=1, image=picture()))
        session.flush()
        session.execute(text("COMMIT"))
        session.rollback()
    assert queue.paths == [each.path for each in values(database)]


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_an_image_that_goes_before_the_task_runs_gets_no_variants(
    database: Engine, queue: Queue, depots: dict[str, FileStorage], change: str
) -> None:
    """Nor one that goes while they are made: their files go with it."""
    for number in (1, 2):
        with Session(database) as session:
            session.add(Photo(id=number, image=picture()))
            session.commit()

    def goes(number: int) -> None:
        with Session(database) as session:
            photo = session.get_one(Photo, number)
            if change == "replaced":
                photo.image = UploadedImage(picture(20, 20))
            else:
                session.delete(photo)
            session.commit()

    goes(1)
    with pytest.MonkeyPatch.context() as patch, meanwhile(patch, lambda: goes(2)):
        assert queue.run(database) == ([[], [], ["large"]] if change == "replaced" else [[], []])
    assert queue.run(database) == ([["large"]] if change == "replaced" else [])
    check(database, depots)


def test_without_a_hook_they_are_made_before_commit_returns(database: Engine, depots: dict[str, FileStorage]) -> None:
    """After the COMMIT: another transaction sees the row before."""
    seen = []

    def look() -> None:
        seen.extend(variants(database))

    with (
        Session(database) as session,
        pytest.MonkeyPatch.context() as patch,
        meanwhile(patch, look),
    ):
        photo = Photo(id=1, image=picture())
        session.add(photo)
        session.commit()
        assert photo.image is not None
        assert sorted(photo.image["variants"]) == BOTH
    assert seen == [["small"]]
    check(database, depots)


@pytest.mark.parametrize("fallback", ["now", "none"])
def test_a_hook_that_fails_does_not_fail_the_commit(
    database: Engine, depots: dict[str, FileStorage], caplog: pytest.LogCaptureFixture, fallback: Any
) -> None:
    """It is called once, and the variants are made here or left to the next upkeep, as configured."""
    calls = []

    def fail(*job: Any) -> None:
        calls.append(job)
        raise OSError("the queue is down")

    DepotManager.set_process_later(fail, fallback=fallback)
    with Session(database) as session:
        session.add(Photo(id=1, image=picture(), more=[picture()]))
        session.commit()
    assert len(calls) == 1
    assert variants(database) == [BOTH if fallback == "now" else ["small"]] * 2
    assert "the process_later hook failed for 2 files" in caplog.text
    assert ("left to make_missing_variants" in caplog.text) == (fallback == "none")
    report = make_missing_variants(database, models=[Base])
    assert report.regenerated == (0 if fallback == "now" else 2)
    assert variants(database) == [BOTH] * 2
    check(database, depots)


@on_sqlite
def test_a_hook_that_returns_a_coroutine_is_taken_for_one_that_failed(
    database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing awaits it."""

    async def send(*job: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="has to be awaited"):
        DepotManager.set_process_later(send)
    DepotManager.set_process_later(lambda *job: send(*job))
    with Session(database) as session:
        session.add(Photo(id=1, image=picture()))
        session.commit()
    assert variants(database) == [BOTH]
    assert "nothing awaits here" in caplog.text


@on_sqlite
def test_variants_that_cannot_be_made_are_logged(
    database: Engine, depots: dict[str, FileStorage], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a hook the commit does not fail; the task of a queue does."""

    def damage() -> None:
        raise ImageRefused("it is broken", rule="decodable")

    with pytest.MonkeyPatch.context() as patch, meanwhile(patch, damage), Session(database) as session:
        session.add(Photo(id=1, image=picture()))
        session.commit()
    assert "are left to make_missing_variants" in caplog.text
    assert variants(database) == [["small"]]
    (value,) = values(database)
    depots["default"].replace(value.file_id, b"no image any more")
    with pytest.raises(ImageRefused):
        make_variants(database, f"{__name__}:Photo", [1], "image", value.path)
    check(database, depots)


@on_sqlite
def test_a_file_that_is_no_image_gets_none(database: Engine, queue: Queue) -> None:
    """It was kept as it is."""
    with Session(database) as session:
        session.add_all([Attachment(id=1, file=b"text"), Attachment(id=2, file=picture())])
        session.commit()
    assert [json.loads(task)[1] for task in queue.tasks] == [[2]]


@on_sqlite
def test_previews_are_made_later_and_a_file_without_one_is_tried_once(database: Engine, queue: Queue) -> None:
    """Of a video, and of a PDF that is encrypted."""
    with Session(database) as session:
        session.add_all([Attachment(id=1, media=samples.video()), Attachment(id=2, media=samples.encrypted())])
        session.commit()
        assert sorted(queue.run(database)) == [[], ["page"]]
        report = make_missing_variants(database, models=[Base])
        assert (report.outdated, report.failed) == (0, [])
        video, secret = (session.get_one(Attachment, number).media for number in (1, 2))
        assert video is not None
        assert secret is not None
        assert (list(video["variants"]), secret["variants"]) == (["page"], {})
        assert video.width is not None


@on_sqlite
def test_an_image_that_cannot_be_decoded_after_all_is_tried_once(database: Engine, queue: Queue) -> None:
    """Its header was good; the row remembers that nothing can be made of it, until it is regenerated."""
    with Session(database) as session:
        session.add(Attachment(id=1, late=picture()[:-30]))
        session.commit()
        assert queue.run(database) == [[]]
        report = make_missing_variants(database, models=[Base])
        assert (report.outdated, report.changed) == (0, 0)
        attachment = session.get_one(Attachment, 1)
        assert attachment.late is not None
        assert dict(attachment.late.variants) == {}
        attachment.late = regenerate(attachment.late)
        session.commit()
        assert "preview" not in attachment.late
    assert queue.run(database) == [[]]


# --- sessions that have loaded the row before -------------------------------------------------------------------------


def test_a_session_that_has_loaded_the_row_before_keeps_the_variants(
    database: Engine, queue: Queue, depots: dict[str, FileStorage]
) -> None:
    """It edits an image and a list that it remembers without them, and its version is the one that it knows."""
    with Session(database, expire_on_commit=False) as session:
        photo = Photo(id=1, image=picture(), more=[picture(), picture()])
        session.add(photo)
        session.commit()
        assert photo.image is not None
        queue.run(database)
        assert sorted(photo.image["variants"]) == ["small"]
        photo.image = photo.image.with_(meta={"alt": "A photo"})
        photo.more[0] = photo.more[0].with_(meta={"alt": "Another"})
        photo.more.reverse()
        session.commit()
        assert photo.version == 2
    assert variants(database) == [BOTH] * 3
    image, *more = values(database)
    assert (image.meta, more[1].meta) == ({"alt": "A photo"}, {"alt": "Another"})
    check(database, depots)


def test_a_session_that_has_loaded_the_row_before_takes_the_variants_along(
    database: Engine, queue: Queue, depots: dict[str, FileStorage]
) -> None:
    """It replaces or deletes an image that it remembers without them."""
    with Session(database, expire_on_commit=False) as session:
        session.add_all([photo := Photo(id=1, image=picture()), gone := Photo(id=2, image=picture())])
        session.commit()
        queue.run(database)
        photo.image = UploadedImage(picture(20, 20))
        session.delete(gone)
        session.commit()
    check(database, depots)


def test_columns_with_onupdate_are_set_and_versions_stay(database: Engine, queue: Queue) -> None:
    """As the documentation says."""
    with Session(database) as session:
        photo = Photo(id=1, image=picture())
        session.add(photo)
        session.commit()
        queue.run(database)
        session.refresh(photo)
        assert (photo.version, photo.touched) == (1, 1)


def test_a_statement_that_writes_a_value_without_its_variants_has_them_made_again(
    database: Engine, queue: Queue, depots: dict[str, FileStorage]
) -> None:
    """It gives the row a copy of the image, which has none yet; those of the former image go with it."""
    with Session(database, expire_on_commit=False) as session:
        session.add_all([photo := Photo(id=1, image=picture()), other := Photo(id=2, image=picture())])
        session.commit()
        queue.run(database)
        session.execute(update(Photo).where(Photo.id == 1).values(image=photo.image))
        session.bulk_update_mappings(inspect(Photo), [{"id": 2, "image": other.image, "version": 1}])
        session.commit()
    assert queue.run(database) == [["large"]] * 2
    assert variants(database) == [BOTH] * 2
    check(database, depots)


def test_a_copy_has_the_variants_of_its_original_or_waits_for_its_own(
    database: Engine, queue: Queue, depots: dict[str, FileStorage]
) -> None:
    """The original is not decoded again for those that are made later."""
    with Session(database) as session:
        photo = Photo(id=1, image=picture())
        session.add(photo)
        session.commit()
        session.add(Photo(id=2, image=photo.image))
        session.commit()
        assert len(queue.tasks) == 2
        queue.run(database)
        session.expire_all()
        session.add(Photo(id=3, image=photo.image))
        session.commit()
    assert queue.tasks == []
    assert variants(database) == [BOTH] * 3
    check(database, depots)


# --- asynchronous -----------------------------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("has_queue", [True, False])
def test_asynchronous_sessions(
    aworld: AsyncWorld, database: Engine, depots: dict[str, FileStorage], has_queue: bool
) -> None:
    """The hook runs beside the event loop; so are variants made without one."""
    queue = Queue()
    DepotManager.set_process_later(queue.send if has_queue else None)

    async def journey(engine: Any) -> None:
        async with AsyncSession(engine) as session:
            session.add(Photo(id=1, image=picture(), more=[picture()]))
            await session.commit()
            assert threading.main_thread() not in queue.threads
            assert variants(database) == [["small"] if has_queue else BOTH] * 2
            await session.execute(delete(Photo))
            await session.rollback()
        for task in queue.tasks:
            assert await aio.make_variants(engine, *json.loads(task)) == ["large"]

    aworld.run(journey)
    assert variants(database) == [BOTH] * 2
    check(database, depots)


@on_sqlite
def test_a_cancelled_commit_makes_them_all_the_same(aworld: AsyncWorld, database: Engine) -> None:
    """The cancellation waits, since the transaction has ended."""

    async def journey(engine: Any) -> None:
        session = AsyncSession(engine)
        session.add(Photo(id=1, image=picture()))
        await session.flush()
        task = asyncio.create_task(session.commit())
        loop = asyncio.get_running_loop()
        with pytest.MonkeyPatch.context() as patch, meanwhile(patch, lambda: loop.call_soon_threadsafe(task.cancel)):
            (error,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(error, asyncio.CancelledError | NoneType)
        await session.close()

    aworld.run(journey)
    assert variants(database) == [BOTH]


# --- names and keys ---------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    """A key that is one of a few."""

    RED = 1


class Initials:
    """A key of the application's own kind."""

    def __init__(self, letters: str) -> None:
        self.letters = letters

    def __eq__(self, other: object) -> bool:
        """Return whether the letters are the same."""
        return isinstance(other, Initials) and other.letters == self.letters

    def __hash__(self) -> int:
        """Return the hash of the letters."""
        return hash(self.letters)


class InitialsType(TypeDecorator[Initials]):
    """The column type of such a key."""

    impl = String(10)
    cache_ok = True

    def process_bind_param(self, value: Initials | None, dialect: Any) -> str | None:
        """Return the letters."""
        return None if value is None else value.letters

    def process_result_value(self, value: str | None, dialect: Any) -> Initials | None:
        """Return the key."""
        return None if value is None else Initials(value)


KEYS: dict[str, tuple[Any, Any, Any]] = {
    "integer": (None, 3, 3),
    "text": (String(20), "a b", "a b"),
    "uuid": (Uuid(), uuid.UUID(int=5), str(uuid.UUID(int=5))),
    "uuid as text": (Uuid(as_uuid=False), uuid.UUID(int=5).hex, uuid.UUID(int=5).hex),
    "date": (None, datetime.date(2026, 11, 30), "2026-11-30"),
    "datetime": (None, datetime.datetime.fromisoformat("2026-11-30T17:40:05"), "2026-11-30T17:40:05"),
    "decimal": (Numeric(8, 2), Decimal("1.50"), "1.50"),
    "enum": (Enum(Colour), Colour.RED, "RED"),
    "bytes": (LargeBinary(16), b"\x00\xff", "00ff"),
    "own type": (InitialsType(), Initials("ab"), "ab"),
}


class KeyBase(DeclarativeBase):
    """Tables with keys of all kinds."""


def _table_with_key(number: int, name: str) -> Any:
    kind, key, _ = KEYS[name]
    attributes = {
        "__tablename__": f"later_key_{number}",
        "__module__": __name__,
        "__annotations__": {"id": Mapped[type(key)], "part": Mapped[int]},  # type: ignore[misc]  # known at run time only
        "id": mapped_column(kind, primary_key=True),
        "part": mapped_column(primary_key=True),
        "image": mapped_column(images()),
    }
    return type(f"Key{number}", (KeyBase,), attributes)


WITH_KEYS = {name: _table_with_key(number, name) for number, name in enumerate(KEYS)}


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_all_kinds_go_through_json(
    engine: Engine, queue: Queue, depots: dict[str, FileStorage], name: str
) -> None:
    """And find their row again."""
    _, key, encoded = KEYS[name]
    model = WITH_KEYS[name]
    if name == "bytes" and engine.dialect.name == "mariadb":
        pytest.skip("MariaDB has no BLOB as a key")
    model.__table__.create(engine)
    try:
        with Session(engine) as session:
            session.add(model(id=key, part=2, image=picture()))
            session.commit()
        assert [json.loads(task)[1] for task in queue.tasks] == [[encoded, 2]]
        assert queue.run(engine) == [["large"]]
    finally:
        model.__table__.drop(engine)


@on_sqlite
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: "elsewhere:Photo"}, "found 0: import the models"),
        ({1: ["x", 2]}, "is not a primary key"),
        ({2: "picture"}, "has no attribute 'picture'"),
    ],
)
def test_a_task_that_does_not_know_its_image_says_so(database: Engine, change: dict[int, Any], message: str) -> None:
    """The models have to be imported by the worker."""
    job: list[Any] = [f"{__name__}:Photo", [1], "image", "default/x"]
    for number, each in change.items():
        job[number] = each
    with pytest.raises(ConfigurationError, match=message):
        make_variants(database, *job)


@on_sqlite
def test_models_of_a_script_are_found_by_a_worker_that_imports_it(database: Engine, queue: Queue) -> None:
    """They are in ``__main__`` of the one, and in a module of the other."""
    with Session(database) as session:
        session.add(LateScriptPhoto(id=1, image=picture()))
        session.commit()
    ((_, *rest),) = (json.loads(task) for task in queue.tasks)
    assert make_variants(database, "__main__:LateScriptPhoto", *rest) == ["large"]


def test_files_of_a_worker_that_was_killed_are_found_by_the_sweep(
    database: Engine, queue: Queue, depots: dict[str, FileStorage]
) -> None:
    """It has stored a variant, and not entered it; the task runs again."""
    with Session(database) as session:
        session.add(Photo(id=1, image=picture()))
        session.commit()
    (value,) = values(database)
    _, entries = value.make_variants({"large": VARIANTS["large"]}, {"large": str(uuid.uuid4())})
    assert queue.run(database) == [["large"]]
    assert entries["large"]["file_id"] in set(depots["default"].list())
    zero = datetime.timedelta(0)
    empty = ["later_attachment", "later_portrait"]
    options: dict[str, Any] = {"models": [Base], "allow_empty": empty, "allow_newer": True}
    claim(database, "default")
    delete_unused_files(database, "default", older_than=zero, trash=zero, max_delete=1, **options)
    check(database, depots)
