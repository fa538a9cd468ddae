"""Variants on demand die with their originals, whether they have been made or not, and never before."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from PIL import Image
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Mapped, Session, mapped_column

from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from tests.conftest import World
from tests.support.async_world import AsyncWorld
from tests.support.models import Base, Document

VARIANTS: Final = {
    "now": Thumbnail(6, 6),
    "webp": Thumbnail(8, 8, format="WEBP", make="on_demand"),
    "square": Crop(4, 4, make="on_demand"),
}
#: A committed row has so many files: the original, and one variant.
BESIDE: Final = 2

on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class Slide(Base):
    """An image, and a list of them."""

    __tablename__ = "on_demand_slide"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(UploadedFileField((), UploadedImage, variants=VARIANTS))
    more: Mapped[FileList[UploadedImage]] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants=VARIANTS, multiple=True)
    )


class Handout(Base):
    """An image with other variants."""

    __tablename__ = "on_demand_handout"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField((), UploadedImage, variants={"print": Thumbnail(9, 9, make="on_demand")})
    )


def picture(colour: str = "red") -> bytes:
    """Return a PNG."""
    file = io.BytesIO()
    Image.new("RGB", (16, 12), colour).save(file, "PNG")
    return file.getvalue()


def make(image: UploadedImage | None) -> set[str]:
    """Make the variants of an image, and return their paths."""
    assert image is not None
    made = [image.variants[name] for name in ("webp", "square")]
    for each in made:
        each.file.close()
    return {each.path for each in made}


def add(world: World, number: int = 1, *more: bytes) -> set[str]:
    """Commit a row whose variants are all made, and return the paths of these."""
    with world.session() as session:
        slide = Slide(id=number, image=picture(), more=list(more))
        session.add(slide)
        session.commit()
        return make(slide.image).union(*map(make, slide.more))


def replace(session: Session) -> None:
    session.get_one(Slide, 1).image = UploadedImage(picture("blue"))


def set_to_none(session: Session) -> None:
    session.get_one(Slide, 1).image = None


def delete_object(session: Session) -> None:
    session.delete(session.get_one(Slide, 1))


def delete_by_statement(session: Session) -> None:
    session.execute(delete(Slide).where(Slide.id == 1))


def update_by_statement(session: Session) -> None:
    session.execute(update(Slide).where(Slide.id == 1).values(image=UploadedImage(picture("blue"))))


ACTIONS: Final = [replace, set_to_none, delete_object, delete_by_statement, update_by_statement]


@pytest.mark.parametrize("act", ACTIONS, ids=lambda each: each.__name__)
def test_they_go_with_their_original(world: World, act: Callable[[Session], None]) -> None:
    """However the row loses it; a rollback keeps both."""
    made, others = add(world), add(world, 2)
    with world.session() as session:
        act(session)
        session.flush()
        session.rollback()
    assert made | others <= world.stored()
    with world.session() as session:
        act(session)
        session.commit()
    assert world.stored() == set(world.rows()) | others


def test_they_go_with_an_element_of_a_list(world: World) -> None:
    """And those of the others stay."""
    add(world, 1, picture("green"), picture("blue"))
    with world.session() as session:
        slide = session.get_one(Slide, 1)
        kept = make(slide.image) | make(slide.more[1])
        del slide.more[0]
        session.commit()
    assert world.stored() == set(world.rows()) | kept


def test_those_of_an_image_that_is_rolled_back_go(world: World) -> None:
    """Somebody may have asked for them before COMMIT."""
    with world.session() as session:
        slide = Slide(id=1, image=picture())
        session.add(slide)
        session.flush()
        make(slide.image)
        session.rollback()
    world.check()


def test_those_of_a_savepoint_go(world: World) -> None:
    """And those of the transaction stay."""
    with world.session() as session:
        slide = Slide(id=1, image=picture())
        session.add(slide)
        session.flush()
        kept = make(slide.image)
        with session.begin_nested() as savepoint:
            slide.image = UploadedImage(picture("blue"))
            session.flush()
            make(slide.image)
            savepoint.rollback()
        session.commit()
    assert world.stored() == set(world.rows()) | kept
    assert len(world.rows()) == BESIDE


def test_a_copy_has_its_own(world: World) -> None:
    """They do not go with those of the first row."""
    add(world)
    with world.session() as session:
        second = Slide(id=2, image=session.get_one(Slide, 1).image)
        session.add(second)
        session.commit()
        made = make(second.image)
        session.delete(session.get_one(Slide, 1))
        session.commit()
    assert world.stored() == set(world.rows()) | made


@on_sqlite
def test_a_value_keeps_the_variants_of_its_column(world: World) -> None:
    """Also if it is assigned to another attribute, whose own value is not loaded: the flush copies it."""
    add(world)
    with world.session() as session:
        session.add(handout := Handout(id=1, image=picture("green")))
        session.commit()
        slide = session.get_one(Slide, 1)
        handout.image = slide.image
        assert slide.image is not None
        assert set(slide.image.variants) == set(VARIANTS)
        session.commit()
        assert handout.image is not None
        assert set(handout.image.variants) == {"print"}


def test_a_renamed_image_keeps_them(world: World) -> None:
    """Its file stays, and so do they."""
    made = add(world)
    with world.session() as session:
        slide = session.get_one(Slide, 1)
        assert slide.image is not None
        slide.image = slide.image.with_(filename="other.png")
        session.commit()
    assert world.stored() == set(world.rows()) | made


@on_sqlite
def test_a_hook_takes_them_with_the_original(world: World) -> None:
    """A worker that has not imported the models deletes them."""
    made = add(world)
    taken: list[str] = []
    DepotManager.set_delete_later(lambda paths: taken.append(json.dumps(paths)))
    with world.session() as session:
        delete_object(session)
        session.commit()
    [paths] = [json.loads(each) for each in taken]
    assert len(paths) == BESIDE + len(made)
    assert made < set(paths)
    assert DepotManager.delete_files(paths) == {}
    world.check()


@on_sqlite
def test_an_asynchronous_session_deletes_them(aworld: AsyncWorld) -> None:
    """In threads of their storage."""

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            slide = Slide(id=1, image=picture())
            session.add(slide)
            await session.commit()
            await asyncio.to_thread(make, slide.image)
            await session.delete(slide)
            await session.commit()

    aworld.run(journey)
    aworld.check()


class Asked(MemoryFileStorage):
    """A storage that notes what it is told to delete."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[list[str]] = []

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        self.deleted.append(file_ids)
        return super()._delete_many(file_ids)


@on_sqlite
def test_one_call_deletes_all(world: World, depots: dict[str, FileStorage]) -> None:
    """The original first: who makes a variant meanwhile looks for it afterwards. Other columns ask for nothing else."""
    storage = Asked()
    DepotManager.configure("asked", storage)
    with world.session() as session:
        slide = Slide(id=1, image=UploadedImage(picture(), "asked"))
        document = Document(id=1, content=b"text")
        session.add_all([slide, document])
        session.commit()
        image: Any = slide.image
        paths = [image.path, *image.derived_paths, image.variants["now"].path]
        assert (len(paths), document.content.derived_paths) == (4, [])  # type: ignore[union-attr]  # it has a file
        session.delete(slide)
        session.commit()
    [deleted] = storage.deleted
    assert sorted(deleted) == sorted(path.partition("/")[2] for path in paths)
    main = deleted.index(image.file_id)
    assert deleted[main : main + 3] == [path.partition("/")[2] for path in paths[:3]]


def test_a_forged_row_deletes_no_variants_of_others(world: World) -> None:
    """Its path leads to another depot's file, which is not its own."""
    made = add(world)
    forged = UploadedImage({"depot_name": "archive", "file_id": "../x", "path": "archive/../x", "files": list(made)})
    assert forged.declare_variants(VARIANTS).derived_paths == []
    damaged = UploadedImage.damaged("no JSON").declare_variants(VARIANTS)
    assert damaged.derived_paths == []
