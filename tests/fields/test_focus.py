"""Crops that follow the focus of their image: rows name those of their point, and the files of other points go."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any, Final

import pytest
from PIL import Image
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Mapped, Session, mapped_column

from depot_lite.errors import ConfigurationError, MetaRefused, StorageFailed, StoredFileNotFound
from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImage, outdated, regenerate
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.content import FileIntent
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import make_missing_variants, make_variants, regenerate_variants
from depot_lite.manager import DepotManager
from tests.conftest import World
from tests.fields.images import Failing, meanwhile
from tests.support.async_world import AsyncWorld
from tests.support.models import Base

VARIANTS: Final = {
    "plain": Thumbnail(8, 8),
    "square": Crop(4, 4, format="PNG", focus=True),
    "late": Crop(5, 5, format="PNG", focus=True, make="later"),
    "lazy": Crop(6, 6, format="PNG", focus=True, make="on_demand"),
}
#: Points, and the colours of the stripes that they are in.
LEFT, MIDDLE, RIGHT = (0.1, 0.5), (0.5, 0.5), (0.9, 0.5)
COLOURS: Final = {LEFT: (255, 0, 0), MIDDLE: (0, 128, 0), RIGHT: (0, 0, 255)}

on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class FocusPhoto(Base):
    """An image, a list of them, one whose metadata is declared, and one with a crop that is made later."""

    __tablename__ = "focus_photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(UploadedFileField((), UploadedImage, variants=VARIANTS))
    more: Mapped[FileList[UploadedImage]] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants=VARIANTS, multiple=True)
    )
    declared: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(
            upload_type=UploadedImage,
            variants={"square": VARIANTS["square"]},
            meta={"focus": tuple[float, float] | None, "alt": str},
        )
    )
    late: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"late": VARIANTS["late"]})
    )


def picture() -> bytes:
    """Return a PNG of three stripes."""
    image = Image.new("RGB", (30, 10), COLOURS[MIDDLE])
    image.paste(COLOURS[LEFT], (0, 0, 10, 10))
    image.paste(COLOURS[RIGHT], (20, 0, 30, 10))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def focused(point: object = None, **meta: Any) -> UploadedImage:
    """Return a new image with this focus."""
    return UploadedImage(picture(), filename="me.png", meta=meta if point is None else {"focus": point, **meta})


def move(photo: FocusPhoto, point: object) -> None:
    """Give the image of a row another focus."""
    assert photo.image is not None
    photo.image = photo.image.with_(meta={"alt": "A photo"} if point is None else {"focus": point})


def add(world: World, point: object = None) -> None:
    """Commit a row."""
    with world.session() as session:
        session.add(FocusPhoto(id=1, image=focused(point)))
        session.commit()


def lazy_path(photo: FocusPhoto) -> str:
    """Make the variant on demand of an image, and return its path."""
    assert photo.image is not None
    variant = photo.image.variants["lazy"]
    variant.file.close()
    return variant.path


def check(world: World) -> None:
    """Check that rows and depots hold the same files."""
    assert set(world.rows()) == world.stored()


def point_of(image: UploadedImage | None, name: str) -> tuple[float, float]:
    """Return the point that a variant shows."""
    assert image is not None
    with image.variants[name].file as file, Image.open(io.BytesIO(file.read())) as opened:
        pixel: Any = opened.convert("RGB").getpixel((2, 2))
    return max(COLOURS, key=lambda point: -sum(abs(a - b) for a, b in zip(pixel, COLOURS[point], strict=True)))


def shows(world: World, point: Any, *names: str) -> bool:
    """Return whether the variants of the image in the row show this point."""
    with world.session() as session:
        image = session.get_one(FocusPhoto, 1).image
        return all(point_of(image, name) == point for name in names or VARIANTS.keys() - {"plain"})


def test_an_upload_has_the_crops_of_its_point(world: World) -> None:
    """And a row without a point those of the centre."""
    with world.session() as session:
        intent = FileIntent(picture(), "me.png", meta={"focus": list(RIGHT)})
        session.add(FocusPhoto(id=1, image=focused(LEFT), more=[focused(RIGHT), focused(), intent]))
        session.commit()
        photo = session.get_one(FocusPhoto, 1)
        points = [LEFT, RIGHT, MIDDLE, RIGHT]
        for image, point in zip([photo.image, *photo.more], points, strict=True):
            assert {point_of(image, name) for name in ("square", "late", "lazy")} == {point}
            assert outdated(image, VARIANTS) == []  # type: ignore[arg-type]  # there is an image
    assert {path for path in world.stored() if path[-22] == "5"} == world.stored() - world.rows().keys()


@pytest.mark.parametrize("end", ["commit", "rollback", "savepoint", "released"])
@pytest.mark.parametrize("points", [[RIGHT], [RIGHT, LEFT], [RIGHT, MIDDLE], [None], [RIGHT, "delete"]], ids=str)
def test_another_point_replaces_the_crops(world: World, points: list[Any], end: str) -> None:
    """However often it changes: those of the last point are there in the end, and no others."""
    add(world, MIDDLE)
    with world.session() as session:
        photo = session.get_one(FocusPhoto, 1)
        former = {photo.image["path"], lazy_path(photo), photo.image.variants["plain"].path}  # type: ignore[index,union-attr]
        savepoint = session.begin_nested() if end in ("savepoint", "released") else None
        for point in points:
            if point == "delete":
                session.delete(photo)
            else:
                move(photo, point)
            session.flush()
        if savepoint is not None:
            savepoint.rollback() if end == "savepoint" else savepoint.commit()
        session.rollback() if end == "rollback" else session.commit()
    if points[-1] == "delete" and end not in ("rollback", "savepoint"):
        assert world.stored() == set()
        return
    point = points[-1] or MIDDLE if end in ("commit", "released") else MIDDLE
    assert shows(world, point)
    with world.session() as session:
        photo = session.get_one(FocusPhoto, 1)
        assert photo.image["path"] in former  # type: ignore[index]  # there is an image
        assert photo.image.variants["plain"].path in former  # type: ignore[union-attr]
        assert world.stored() == {*world.rows(), lazy_path(photo)}


def test_the_crop_on_demand_of_a_former_point_goes(world: World) -> None:
    """With COMMIT, and not before; that of a point that is rolled back goes, too."""
    add(world, LEFT)
    with world.session() as session:
        photo = session.get_one(FocusPhoto, 1)
        left = lazy_path(photo)
        move(photo, RIGHT)
        session.flush()
        right = lazy_path(photo)
        assert {left, right} <= world.stored()
        session.rollback()
        assert world.stored() == {*world.rows(), left}
        move(photo, RIGHT)
        session.commit()
        assert lazy_path(photo) == right
    assert world.stored() == {*world.rows(), right}


def test_an_upload_that_gets_its_point_later_in_the_transaction(world: World) -> None:
    """The value that was stored first stays stored, and its source is released."""
    with world.session() as session:
        photo = FocusPhoto(id=1, image=focused(LEFT))
        session.add(photo)
        session.flush()
        lazy_path(photo)
        move(photo, RIGHT)
        session.commit()
        assert photo.image is not None
        assert not photo.image.pending
    assert shows(world, RIGHT)
    with world.session() as session:
        photo = session.get_one(FocusPhoto, 1)
        assert world.stored() == {*world.rows(), lazy_path(photo)}
        session.delete(photo)
        session.commit()
    assert world.stored() == set()


def test_an_upload_that_is_rolled_back_leaves_no_crops(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Of any point; there is no doubt about files that can be made again."""
    with world.session() as session:
        photo = FocusPhoto(id=1, image=focused(LEFT))
        session.add(photo)
        session.flush()
        for point in (RIGHT, MIDDLE):
            lazy_path(photo)
            move(photo, point)
            session.flush()
        session.rollback()
    check(world)
    assert caplog.messages == []


def test_a_value_with_crops_that_were_rolled_back_gets_others(world: World) -> None:
    """It names files that have gone; the row must not."""
    add(world, LEFT)
    with world.session() as session:
        photo = session.get_one(FocusPhoto, 1)
        move(photo, RIGHT)
        session.flush()
        kept = photo.image
        session.rollback()
        photo.image = kept
        session.commit()
    assert shows(world, RIGHT)


def test_elements_of_lists(world: World) -> None:
    """Each by itself."""
    with world.session() as session:
        session.add(FocusPhoto(id=1, more=[focused(LEFT), focused(LEFT)]))
        session.commit()
        photo = session.get_one(FocusPhoto, 1)
        paths = [each["variants"]["square"]["path"] for each in photo.more]
        photo.more[1] = photo.more[1].with_(meta={"focus": RIGHT})
        photo.more.reverse()
        session.commit()
        assert [point_of(each, "square") for each in photo.more] == [RIGHT, LEFT]
        assert photo.more[1]["variants"]["square"]["path"] == paths[0]
    check(world)


def test_two_sessions_move_one_point(world: World) -> None:
    """The last one decides, and no file of the first is left."""
    add(world, LEFT)
    with world.session(expire_on_commit=False) as first, world.session(expire_on_commit=False) as second:
        mine, theirs = first.get_one(FocusPhoto, 1), second.get_one(FocusPhoto, 1)
        for session in (first, second):
            session.commit()  # a snapshot would hide the change
        move(mine, MIDDLE)
        move(theirs, RIGHT)
        first.commit()
        second.commit()
    assert shows(world, RIGHT)
    with world.session() as session:
        assert world.stored() == {*world.rows(), lazy_path(session.get_one(FocusPhoto, 1))}


def test_a_list_that_another_session_has_moved(world: World) -> None:
    """The one that only adds an image leaves the point of the other alone."""
    with world.session() as session:
        session.add(FocusPhoto(id=1, more=[focused(LEFT)]))
        session.commit()
    with world.session(expire_on_commit=False) as first, world.session(expire_on_commit=False) as second:
        mine, theirs = first.get_one(FocusPhoto, 1), second.get_one(FocusPhoto, 1)
        for session in (first, second):
            session.commit()
        mine.more[0] = mine.more[0].with_(meta={"focus": RIGHT})
        first.commit()
        theirs.more.append(focused(MIDDLE))
        second.commit()
    with world.session() as session:
        images = session.get_one(FocusPhoto, 1).more
        assert [point_of(each, "square") for each in images] == [RIGHT, MIDDLE]
        assert [tuple(each.meta["focus"]) for each in images] == [RIGHT, MIDDLE]
    check(world)


def test_copies_and_statements(world: World) -> None:
    """A copy has crops of its own point, also by an UPDATE, which stores a copy."""
    add(world, LEFT)
    with world.session() as session:
        photo = session.get_one(FocusPhoto, 1)
        assert photo.image is not None
        session.add(FocusPhoto(id=2, image=photo.image))
        session.add(FocusPhoto(id=3, image=photo.image.with_(meta={"focus": RIGHT})))
        session.flush()
        moved = photo.image.with_(meta={"focus": MIDDLE})
        session.execute(update(FocusPhoto).where(FocusPhoto.id == 1).values(image=moved))
        session.commit()
        photos = [session.get_one(FocusPhoto, number) for number in (1, 2, 3)]
        for photo, point in zip(photos, (MIDDLE, LEFT, RIGHT), strict=True):
            assert [point_of(photo.image, name) for name in ("square", "late")] == [point] * 2
        photos[0].image = regenerate(photos[0].image)  # type: ignore[type-var]  # there is an image
        session.commit()
        assert point_of(photos[0].image, "square") == MIDDLE
    check(world)


def test_a_detached_object_is_saved(world: World) -> None:
    """By `bulk_save_objects`, which fires no events, and by `merge`."""
    add(world, LEFT)
    for save, point in ((Session.bulk_save_objects, RIGHT), (Session.merge, MIDDLE)):
        with world.session(expire_on_commit=False) as session:
            photo = session.get_one(FocusPhoto, 1)
            assert photo.more == []
        move(photo, point)
        with world.session() as session:
            saved: Any = [photo] if save is Session.bulk_save_objects else photo
            save(session, saved)
            session.commit()
        assert shows(world, point, "square", "late")
        check(world)


@on_sqlite
def test_a_failure_leaves_nothing(world: World) -> None:
    """The crops are stored before the row is written."""
    storage = Failing("")
    DepotManager.configure("failing", storage)
    with world.session() as session:
        photo = FocusPhoto(id=1, image=UploadedImage(picture(), "failing", filename="me.png"))
        session.add(photo)
        session.commit()
        before = {str(each) for each in storage.list()}
        storage.name = "me-square.png"
        move(photo, LEFT)
        with pytest.raises(StorageFailed, match="the disk is full") as failed:
            session.flush()
        assert any("FocusPhoto.image" in note for note in failed.value.__notes__)
        assert {str(each) for each in storage.list()} == before
        session.rollback()
        assert photo.image is not None
        storage.delete(photo.image.file_id)
        move(photo, LEFT)
        with pytest.raises(StoredFileNotFound):
            session.flush()


@on_sqlite
def test_renaming_makes_nothing_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither does the same point, in other words, nor a row whose crop has no point yet."""
    add(world, LEFT)

    def never(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(UploadedImage, "make_variants", never)
    with world.session() as session:
        photo = session.get_one(FocusPhoto, 1)
        assert photo.image is not None
        photo.image = photo.image.with_(filename="you.png", meta={"focus": [0.1001, 0.4999], "alt": "A photo"})
        session.commit()
    check(world)


# --- later ------------------------------------------------------------------------------------------------------------


class Queue:
    """A queue that runs its tasks when it is told to."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.tasks: list[str] = []
        DepotManager.set_process_later(lambda *job: self.tasks.append(json.dumps(job)))

    def run(self) -> list[list[str]]:
        """Return the names of the variants that each task has made."""
        tasks, self.tasks = self.tasks, []
        return [make_variants(self.engine, *json.loads(each)) for each in tasks]


def test_a_queue_gets_the_image_once(world: World) -> None:
    """Until then the row names the former crop; afterwards its file is gone."""
    queue = Queue(world.engine)
    add(world, LEFT)
    assert queue.run() == [["late"]]
    with world.session() as session:
        photo = session.get_one(FocusPhoto, 1)
        move(photo, MIDDLE)
        session.flush()
        move(photo, RIGHT)
        session.commit()
    assert len(queue.tasks) == 1
    assert (shows(world, RIGHT, "square"), shows(world, LEFT, "late")) == (True, True)
    check(world)
    assert queue.run() == [["late"]]
    assert shows(world, RIGHT, "late")
    check(world)


def test_a_column_with_nothing_but_later_crops(world: World) -> None:
    """The flush stores and condemns no file, and the queue gets the image nevertheless."""
    queue = Queue(world.engine)
    with world.session() as session:
        photo = FocusPhoto(id=1, late=focused(LEFT))
        session.add(photo)
        session.commit()
        for point in (RIGHT, MIDDLE):
            assert queue.run() == [["late"]]
            session.refresh(photo)
            assert photo.late is not None
            photo.late = photo.late.with_(meta={"focus": point})
            session.commit()
    assert queue.run() == [["late"]]
    with world.session() as session:
        assert point_of(session.get_one(FocusPhoto, 1).late, "late") == MIDDLE
    check(world)


def test_a_rollback_sends_nothing(world: World) -> None:
    """Of a savepoint, or of all; neither does a change of another key."""
    queue = Queue(world.engine)
    add(world, LEFT)
    queue.run()
    with world.session() as session:
        photo = session.get_one(FocusPhoto, 1)
        move(photo, RIGHT)
        session.flush()
        session.rollback()
        with session.begin_nested() as savepoint:
            move(photo, RIGHT)
            session.flush()
            savepoint.rollback()
        assert photo.image is not None
        photo.image = photo.image.with_(meta={"focus": LEFT, "alt": "A photo"})
        session.commit()
        move(photo, RIGHT)
        session.flush()
        session.delete(photo)
        session.commit()
    assert queue.tasks == []
    check(world)


def test_a_task_that_was_overtaken_enters_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change that overtook it has sent another one."""
    queue = Queue(world.engine)
    add(world, LEFT)

    def overtake() -> None:
        with world.session() as session:
            move(session.get_one(FocusPhoto, 1), RIGHT)
            session.commit()

    with meanwhile(monkeypatch, overtake):
        assert queue.run() == [[]]
    check(world)
    assert queue.run() == [["late"]]
    assert shows(world, RIGHT)


@on_sqlite
def test_maintenance_makes_what_a_queue_has_lost(world: World) -> None:
    """Both jobs do."""
    queue = Queue(world.engine)
    add(world, LEFT)
    queue.run()
    for point, job in ((RIGHT, make_missing_variants), (MIDDLE, regenerate_variants)):
        with world.session() as session:
            move(session.get_one(FocusPhoto, 1), point)
            session.commit()
        queue.tasks.clear()
        for expected in (1, 0):
            report = job(world.engine, columns=["focus_photo.image"])
            assert (report.outdated, report.regenerated) == (expected, expected)
        assert shows(world, point)
        with world.session() as session:
            assert world.stored() == {*world.rows(), lazy_path(session.get_one(FocusPhoto, 1))}


@on_sqlite
def test_an_asynchronous_session_moves_the_point(aworld: AsyncWorld) -> None:
    """The crops are made in threads."""

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            photo = FocusPhoto(id=1, image=focused(LEFT), more=[focused(LEFT)])
            session.add(photo)
            await session.commit()
            move(photo, RIGHT)
            photo.more[0] = photo.more[0].with_(meta={"focus": RIGHT})
            await session.commit()
            await session.refresh(photo)
            for image in (photo.image, *photo.more):
                for name in ("square", "late"):
                    assert await asyncio.to_thread(point_of, image, name) == RIGHT

    aworld.run(journey)
    check(aworld)


# --- points that are none ---------------------------------------------------------------------------------------------

WRONG: Final = [(1.1, 0), (-0.1, 0), (0.5,), (0.5, 0.5, 0.5), "left", 0.5, {"x": 0.5, "y": 0.5}, (True, 0), ("0", "1")]


@on_sqlite
@pytest.mark.parametrize("point", WRONG, ids=str)
def test_what_is_no_point_is_refused(world: World, point: Any) -> None:
    """With the name of the column, before anything is stored: at the assignment, or at the flush."""
    expected = r"FocusPhoto.image.* has the metadata 'focus': expected two numbers from 0 to 1, \[x, y\]"
    with pytest.raises(MetaRefused, match=expected):
        FocusPhoto(id=1, image=focused(point))
    with world.session() as session:
        photo = FocusPhoto(id=1, image=focused(LEFT))
        session.add(photo)
        assert photo.image is not None
        photo.image["meta"] = {"focus": point}
        with pytest.raises(MetaRefused, match=expected):
            session.flush()
        session.rollback()
    assert world.stored() == set()
    add(world)
    with world.session() as session, pytest.raises(MetaRefused, match=expected):
        move(session.get_one(FocusPhoto, 1), point)


@on_sqlite
def test_none_is_no_focus(world: World) -> None:
    """Of a column whose metadata is declared, too."""
    add(world, LEFT)
    with world.session() as session:
        photo = session.get_one(FocusPhoto, 1)
        assert photo.image is not None
        photo.image = photo.image.with_(meta={"focus": None})
        photo.declared = focused(RIGHT, alt="A photo")
        session.commit()
        assert point_of(photo.declared, "square") == RIGHT
        with pytest.raises(MetaRefused, match=r"FocusPhoto.declared"):
            photo.declared = photo.declared.with_(meta={"focus": [2, 2]})
        photo.declared = photo.declared.with_(meta={"focus": None, "alt": "A photo"})
        session.commit()
        assert point_of(photo.declared, "square") == MIDDLE
    assert shows(world, MIDDLE)


@on_sqlite
@pytest.mark.parametrize("meta", [{"focus": [7, 7]}, {"focus": "left"}, "text", None, {"focus": [float("nan"), 0]}])
def test_a_row_without_a_point_counts_as_the_centre(world: World, depots: dict[str, FileStorage], meta: Any) -> None:
    """Somebody may have written it by SQL."""
    add(world, LEFT)
    with world.session() as session:
        image = session.get_one(FocusPhoto, 1).image
    assert image is not None
    read = UploadedImage.of_data({**image, "meta": meta}).declare_variants(VARIANTS)
    assert read.variants["lazy"].recipe == VARIANTS["lazy"].for_meta({"focus": MIDDLE}).fingerprint
    assert outdated(read, VARIANTS) == ["square", "late"]


def test_declarations_fit() -> None:
    """A column that declares its metadata has to declare the focus."""
    variants = {"square": Crop(4, 4, focus=True)}
    with pytest.raises(ConfigurationError, match=r"variants\['square'\] follows the focus of the image"):
        UploadedFileField(upload_type=UploadedImage, variants=variants, meta={"alt": str})
    assert UploadedFileField(upload_type=UploadedImage, variants=variants, meta={"focus": list[float]}).follows_focus
    assert not UploadedFileField(upload_type=UploadedImage, variants={"plain": Crop(4, 4)}).follows_focus
