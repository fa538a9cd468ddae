"""Images in columns: decoded once, and their variants live and die with them."""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import io
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite import images
from depot_lite.errors import ConfigurationError, DamagedReference, ImageRefused, StorageFailed
from depot_lite.fields.filters.thumbnails import WithThumbnailFilter
from depot_lite.fields.specialized.image import (
    ImageVariant,
    UploadedImage,
    UploadedImageWithThumb,
    outdated,
    regenerate,
)
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import Size
from depot_lite.images.recipes import Crop, Recipe, Thumbnail
from depot_lite.io.content import Content, FileIntent
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import World, sqlite_engine
from tests.fields.images import Failing, files, image, read
from tests.images.awkward_images import bomb_png
from tests.support.models import Base, Document
from tests.support.streams import Stream

SMALL = Thumbnail(64, 64)
RECIPES = {"small": SMALL, "square": Crop(32, 32, format="PNG")}


class Reduced(UploadedImage):
    """Its originals are no larger than 100 pixels."""

    max_size = 100
    formats = images.FORMATS


class Private(UploadedImage):
    """Its originals do not tell where they were taken."""

    strip_metadata = True


class Narrow(UploadedImage):
    """Takes small PNGs only."""

    formats = ("PNG",)
    max_pixels = 10_000


class Portrait(UploadedImage):
    """May be a file of another kind."""

    optional = True


class Enclosure(Portrait):
    """May be a file of another kind, and tells nothing about where it was made."""

    strip_metadata = True


class Whole(UploadedImage):
    """Takes no JPEG that lacks its end."""

    truncated = "refuse"


class Sitter(Base):
    """Two columns of images, whose variants differ."""

    __tablename__ = "person_with_photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    photo: Mapped[UploadedImage | None] = mapped_column(UploadedFileField(upload_type=UploadedImage, variants=RECIPES))
    icon: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, upload_storage="archive", variants={"tiny": Thumbnail(16, 16)})
    )


class Picture(Base):
    """One column of each class."""

    __tablename__ = "picture_of_each_class"
    id: Mapped[int] = mapped_column(primary_key=True)
    plain: Mapped[UploadedImage | None] = mapped_column(UploadedFileField(upload_type=UploadedImage))
    reduced: Mapped[Reduced | None] = mapped_column(UploadedFileField(upload_type=Reduced, variants=RECIPES))
    private: Mapped[Private | None] = mapped_column(UploadedFileField(upload_type=Private))
    narrow: Mapped[Narrow | None] = mapped_column(UploadedFileField(upload_type=Narrow))
    portrait: Mapped[Portrait | None] = mapped_column(UploadedFileField(upload_type=Portrait, variants=RECIPES))
    enclosure: Mapped[Enclosure | None] = mapped_column(UploadedFileField(upload_type=Enclosure))
    whole: Mapped[Whole | None] = mapped_column(UploadedFileField(upload_type=Whole, variants=RECIPES))
    thumbed: Mapped[UploadedImageWithThumb | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImageWithThumb)
    )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """SQLite alone: transactions treat all files alike, whatever their kind."""
    made = sqlite_engine(tmp_path_factory.mktemp("images") / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def size_of(data: bytes) -> tuple[int, int]:
    """Return width and height of an encoded image, every pixel of which can be decoded."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        return opened.size


@pytest.fixture
def decoded() -> Iterator[list[str]]:
    """The decodings of JPEGs and PNGs, counted by decoders of our own around Pillow's."""
    done: list[str] = []

    def counting(name: str) -> Any:
        make = getattr(Image.core, f"{name}_decoder")  # type: ignore[attr-defined]  # where Pillow's own decoders are

        def _decoder(mode: str, *args: Any) -> Any:
            done.append(name)
            return make(mode, *args)

        return _decoder

    for name in ("jpeg", "zip"):
        Image.register_decoder(name, counting(name))
    yield done
    del Image.DECODERS["jpeg"], Image.DECODERS["zip"]


# --- stored files -----------------------------------------------------------------------------------------------------


def test_an_image_is_stored_with_its_variants(world: World) -> None:
    """The original byte for byte, and the variants in the same depot, each with its size, type and name."""
    data = image()
    with world.session() as session:
        session.add(Sitter(id=1, photo=FileIntent(data, "me.jpg")))
        session.commit()
    with world.session() as session:
        photo = session.get_one(Sitter, 1).photo
        assert photo is not None
        assert (photo.width, photo.height, photo.size, photo.content_type) == (300, 200, len(data), "image/jpeg")
        assert read(photo.file) == data
        assert list(photo.variants) == ["small", "square"]
        small, square = photo.variants["small"], photo.variants["square"]
        assert (small.name, small.filename, small.content_type) == ("small", "me-small.jpg", "image/jpeg")
        assert (small.width, small.height) == size_of(read(small.file)) == (64, 43)
        assert (square.filename, square.content_type, square.recipe) == (
            "me-square.png",
            "image/png",
            RECIPES["square"].fingerprint,
        )
        assert (square.width, square.height) == size_of(read(square.file)) == (32, 32)
        assert small.size == len(read(small.file))
        assert photo.files == [photo.path, small.path, square.path]
        with small.file as stored:
            assert (stored.filename, stored.content_type) == ("me-small.jpg", "image/jpeg")
    assert len(files(world)) == 3


def test_the_row_describes_the_variants(world: World) -> None:
    with world.session() as session:
        session.add(Sitter(id=1, photo=FileIntent(image(), "me.jpg")))
        session.commit()
    with world.engine.connect() as connection:
        row = json.loads(connection.scalars(text("SELECT photo FROM person_with_photo")).one())
    small = row["variants"]["small"]
    assert (row["width"], row["height"], set(row["variants"])) == (300, 200, {"small", "square"})
    assert small == {
        "path": f"default/{small['file_id']}",
        "file_id": small["file_id"],
        "filename": "me-small.jpg",
        "width": 64,
        "height": 43,
        "content_type": "image/jpeg",
        "size": small["size"],
        "recipe": SMALL.fingerprint,
    }
    assert row["files"] == [row["path"], small["path"], row["variants"]["square"]["path"]]


def test_a_photograph_taken_upright_is_kept_and_its_variants_stand_upright(world: World) -> None:
    """Its own bytes say how it is to be turned; width and height are those that people see."""
    data = image(orientation=6)
    with world.session() as session:
        person = Sitter(id=1, photo=data)
        session.add(person)
        session.flush()
        assert person.photo is not None
        assert read(person.photo.file) == data
        assert (person.photo.width, person.photo.height) == (200, 300)
        small = person.photo.variants["small"]
        assert (small.width, small.height) == size_of(read(small.file)) == (43, 64)


def test_a_pending_image_says_that_its_variants_are_not_there_yet(world: World) -> None:
    photo = UploadedImage(image(), filename="me.jpg")
    assert (photo.width, photo.height, len(photo.variants), list(photo.variants)) == (None, None, 0, [])
    with pytest.raises(KeyError, match=r"no variant 'small': 'me\.jpg' is not stored yet, flush the session"):
        _ = photo.variants["small"]


def test_an_unknown_variant_is_told_which_there_are(world: World) -> None:
    with world.session() as session:
        person = Sitter(id=1, photo=FileIntent(image(), "me.jpg"), icon=image())
        picture = Picture(id=1, plain=FileIntent(image(), "plain.jpg"))
        session.add_all([person, picture])
        session.flush()
        assert person.photo is not None
        assert picture.plain is not None
        with pytest.raises(KeyError, match=r"no variant 'huge' of 'me\.jpg'; there is 'small', 'square'"):
            _ = person.photo.variants["huge"]
        with pytest.raises(
            KeyError, match=r"no variant 'huge' of 'plain\.jpg'; there is none: its column declares none, or"
        ):
            _ = picture.plain.variants["huge"]
        assert person.photo.variants.get("huge") is None
        assert isinstance(person.photo.variants.get("small"), ImageVariant)


def test_a_large_original_is_reduced_with_its_variants_by_one_decoding(world: World, decoded: list[str]) -> None:
    """Its row describes the stored file. An original that is small enough stays as it is, byte for byte."""
    small = image(100, 50)
    with world.session() as session:
        large = Picture(id=1, reduced=FileIntent(image(1000, 500, orientation=6), "large.jpg"))
        session.add(large)
        session.flush()
        assert decoded == ["jpeg"]
        assert large.reduced is not None
        data = read(large.reduced.file)
        assert (large.reduced.width, large.reduced.height) == size_of(data) == (50, 100)
        assert (large.reduced.filename, large.reduced.size) == ("large.jpg", len(data))
        with Image.open(io.BytesIO(data)) as opened:
            assert opened.getexif().get(0x010F) == "Camera works"
            assert opened.getexif().get_ifd(0x8825) == {}
        assert set(large.reduced.variants) == {"small", "square"}
        session.add(Picture(id=2, reduced=small))
        session.commit()
        stored = session.get_one(Picture, 2).reduced
        assert stored is not None
        assert read(stored.file) == small


def test_a_reduced_original_that_no_browser_shows_gets_another_type_and_name(world: World) -> None:
    with world.session() as session:
        picture = Picture(id=1, reduced=FileIntent(image(200, 200, "TIFF"), "scan.tif"))
        session.add(picture)
        session.flush()
        assert picture.reduced is not None
        assert (picture.reduced.filename, picture.reduced.content_type) == ("scan.jpg", "image/jpeg")


@pytest.mark.parametrize(
    ("name", "extension", "content_type"),
    [
        ("TIFF", ".tif", "image/tiff"),
        ("BMP", ".bmp", "image/bmp"),
        ("ICO", ".ico", "image/vnd.microsoft.icon"),
        ("JPEG2000", ".jp2", "image/jp2"),
    ],
)
def test_formats_that_browsers_do_not_show_get_variants_where_they_are_named(
    world: World, name: str, extension: str, content_type: str
) -> None:
    data = image(64, 64, name)
    with world.session() as session:
        session.add(Picture(id=1, reduced=FileIntent(data, f"scan{extension}")))
        session.commit()
        stored = session.get_one(Picture, 1).reduced
        assert stored is not None
        assert (stored.filename, stored.content_type) == (f"scan{extension}", content_type)
        assert (read(stored.file), stored.width, stored.height) == (data, 64, 64)
        small = stored.variants["small"]
        assert (small.content_type, size_of(read(small.file))) == ("image/jpeg", (64, 64))
        session.add(Picture(id=2, plain=FileIntent(data, "photo.jpg")))
        with pytest.raises(ImageRefused, match=f"is an image of the type {name}"):
            session.flush()


def test_metadata_is_stripped_from_the_original_where_the_class_says_so(world: World) -> None:
    """And nothing is done to an image that has none."""
    output = io.BytesIO()
    Image.new("RGB", (20, 10), "blue").save(output, "PNG")
    with world.session() as session:
        first = Picture(id=1, private=FileIntent(image(orientation=6), "here.jpg"))
        second = Picture(id=2, private=FileIntent(output.getvalue(), "blue.png"))
        session.add_all([first, second])
        session.flush()
        assert first.private is not None
        assert second.private is not None
        data = read(first.private.file)
        with Image.open(io.BytesIO(data)) as opened:
            assert dict(opened.getexif()) == {}
        assert (first.private.width, first.private.height) == size_of(data) == (200, 300)
        assert read(second.private.file) == output.getvalue()


@pytest.mark.parametrize("content", [b"%PDF-1.7 no image", image()[:200], b""], ids=["another type", "broken", "empty"])
def test_a_file_that_is_no_image_is_kept_without_variants_where_images_are_optional(
    world: World, content: bytes
) -> None:
    """A copy of it, too, and it has no variants that could be made again."""
    with world.session() as session:
        first = Picture(id=1, portrait=FileIntent(content, "file.pdf"))
        session.add(first)
        session.commit()
        value = first.portrait
        assert value is not None
        assert (value.width, value.height, dict(value.variants), outdated(value, RECIPES)) == (None, None, {}, [])
        assert value.as_dict()["width"] is None
        session.add(Picture(id=2, portrait=value))
        first.portrait = regenerate(value)
        session.commit()
        first.portrait = FileIntent(image(), "me.jpg")  # type: ignore[assignment]  # a Mapped attribute is of its value's type
        session.commit()
        assert first.portrait is not None
        assert (first.portrait.width, set(first.portrait.variants)) == (300, set(RECIPES))
    assert len(files(world)) == 4
    world.check(content, *(data for data in files(world).values() if data != content))


def test_rules_of_a_base_class_hold_where_images_are_optional() -> None:
    class Small(UploadedImage):
        validators = (Size(max="1 KB"),)

    class Kept(Small):
        optional = True

    class Mixin:
        optional = True

    class Mixed(Mixin, UploadedImage):
        pass

    assert (Kept.validators, Mixed.validators) == (Small.validators, [])
    for settings in ({"optional": "x"}, {"strip_metadata": "yes"}, {"truncated": "no"}, {"truncated": False}):
        with pytest.raises(ConfigurationError, match=f"{next(iter(settings))}.* expected"):
            type("Wrong", (UploadedImage,), {"__slots__": (), **settings})


def test_an_image_of_a_column_of_any_files_gets_variants_where_images_are_optional(world: World) -> None:
    with world.session() as session:
        session.add(Document(id=1, content=image()))
        session.commit()
        session.add(Picture(id=1))
        session.commit()
        stored = text("UPDATE picture_of_each_class SET portrait = (SELECT content FROM document WHERE id = 1)")
        session.execute(stored)
        session.execute(text("UPDATE document SET content = NULL"))
        session.commit()
        picture = session.get_one(Picture, 1)
        assert picture.portrait is not None
        assert set(outdated(picture.portrait, RECIPES)) == set(RECIPES)
        picture.portrait = regenerate(picture.portrait)
        session.commit()
        assert (picture.portrait.width, set(picture.portrait.variants)) == (300, set(RECIPES))


def test_limits_hold_where_images_are_optional(world: World) -> None:
    """And no metadata stays because an image could not be read."""
    scan = io.BytesIO()
    Image.new("RGB", (20, 10)).save(scan, "TIFF")
    for column, content, rule in (
        ("portrait", bomb_png(), "max_pixels"),
        ("enclosure", scan.getvalue(), "format"),
        ("enclosure", image()[:200], "decodable"),
        ("enclosure", b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\1\0\0\0\1\0\x08\0\3" + bytes(20), "format"),
    ):
        with world.session() as session:
            session.add(Picture(id=1, **{column: content}))
            with pytest.raises(ImageRefused) as refused:
                session.flush()
        assert refused.value.rule == rule
    with world.session() as session:
        session.add(Picture(id=1, enclosure=b"%PDF-1.7 no image"))
        session.commit()
    world.check(b"%PDF-1.7 no image")


def test_a_jpeg_that_lacks_its_end_is_taken_unless_the_class_refuses_it(world: World) -> None:
    cut = image()[:-2]
    with world.session() as session:
        session.add(Sitter(id=1, photo=cut))
        session.commit()
    with world.session() as session:
        session.add(Picture(id=1, whole=cut))
        with pytest.raises(ImageRefused, match="broken or truncated"):
            session.flush()
    assert cut in files(world).values()


def test_a_flush_decodes_each_image_once(world: World, decoded: list[str]) -> None:
    """Whatever is made of it."""
    with world.session() as session:
        session.add_all(Sitter(id=number, photo=image()) for number in range(1, 4))
        session.flush()
        assert decoded == ["jpeg", "jpeg", "jpeg"]
        session.add(Picture(id=1, thumbed=image(2000, 1000, "PNG")))
        session.flush()
        assert decoded == ["jpeg", "jpeg", "jpeg", "zip"]
        session.add(Picture(id=2, plain=image()))
        session.commit()
        assert len(decoded) == 4


# --- where it comes from ----------------------------------------------------------------------------------------------


def test_a_stream_is_stored_with_its_variants(world: World) -> None:
    """It is read once; the copy that the variants are made of is gone afterwards."""
    data = image()
    with world.session() as session, Stream(data) as stream:
        person = Sitter(id=1, photo=FileIntent(stream, "me.jpg"))
        session.add(person)
        session.commit()
        assert person.photo is not None
        assert read(person.photo.file) == data
        assert (person.photo.filename, person.photo.variants["small"].width) == ("me.jpg", 64)
    assert len(files(world)) == 3


def test_an_open_file_is_read_from_its_start_and_left_where_it_was(world: World, tmp_path: Path) -> None:
    path = tmp_path / "me.jpg"
    path.write_bytes(image())
    with world.session() as session, path.open("rb") as opened:
        opened.seek(7)
        person = Sitter(id=1, photo=opened)
        session.add(person)
        session.commit()
        assert opened.tell() == 7
        assert person.photo is not None
        assert read(person.photo.file) == path.read_bytes()


def test_a_path_that_is_handed_over_goes_at_the_commit(world: World, tmp_path: Path) -> None:
    """Whether its bytes are the original or not."""
    whole, large = tmp_path / "whole.jpg", tmp_path / "large.jpg"
    data = image()
    for path in (whole, large):
        path.write_bytes(data)
    with world.session() as session:
        session.add(Sitter(id=1, photo=FileIntent(whole, move=True)))
        session.add(Picture(id=1, reduced=FileIntent(large, move=True)))
        session.flush()
        assert whole.exists()
        assert large.exists()
        session.commit()
        assert not whole.exists()
        assert not large.exists()
    assert sorted(data == each for each in files(world).values()) == [False] * 5 + [True]


# --- transactions -----------------------------------------------------------------------------------------------------


def test_a_rollback_takes_the_variants_along_and_the_image_can_be_flushed_again(world: World) -> None:
    with world.session() as session:
        person = Sitter(id=1, photo=image())
        session.add(person)
        session.flush()
        assert len(world.stored()) == 3
        session.rollback()
        assert world.stored() == set()
        assert person.photo is not None
        assert (person.photo.pending, len(person.photo.variants), "variants" in person.photo) == (True, 0, False)
        session.add(person)
        session.commit()
        assert len(person.photo.variants) == 2
    assert len(files(world)) == 3


def test_a_replaced_image_goes_with_its_variants_and_a_rollback_keeps_them(world: World) -> None:
    with world.session() as session:
        session.add(Sitter(id=1, photo=image()))
        session.commit()
        before = files(world)
        person = session.get_one(Sitter, 1)
        person.photo = UploadedImage(image(colour="blue"))
        session.flush()
        assert len(world.stored()) == 6
        session.rollback()
        assert files(world) == before
        person.photo = UploadedImage(image(colour="blue"))
        session.commit()
        assert len(files(world)) == 3
        assert not set(before) & set(files(world))


def test_a_deleted_row_takes_its_variants_along(world: World) -> None:
    with world.session() as session:
        person = Sitter(id=1, photo=image(), icon=image())
        session.add(person)
        session.commit()
        assert len(files(world)) == 5
        session.delete(person)
        session.commit()
    assert files(world) == {}


def test_a_savepoint_that_is_rolled_back_gives_the_former_variants_back(world: World) -> None:
    with world.session() as session:
        person = Sitter(id=1, photo=image())
        session.add(person)
        session.flush()
        outer = world.stored()
        savepoint = session.begin_nested()
        person.photo = UploadedImage(image(colour="blue"))
        session.flush()
        assert len(world.stored()) == 6
        savepoint.rollback()
        session.commit()
        assert world.stored() == outer
        assert person.photo.variants["small"].path in outer
    assert set(files(world)) == outer


def test_a_copy_has_variants_of_its_own(world: World) -> None:
    """The bytes are copied in the storage, and the copy's keys name its own files."""
    with world.session() as session:
        first = Sitter(id=1, photo=FileIntent(image(), "me.jpg"))
        session.add(first)
        session.commit()
        second = Sitter(id=2, photo=first.photo)
        session.add(second)
        session.commit()
        assert first.photo is not None
        assert second.photo is not None
        ours, theirs = second.photo.variants["small"], first.photo.variants["small"]
        assert ours.path != theirs.path
        assert (ours.filename, ours.recipe, read(ours.file)) == (theirs.filename, theirs.recipe, read(theirs.file))
        assert second.photo.files == [second.photo.path, *(each.path for each in second.photo.variants.values())]
        assert len(files(world)) == 6
        session.delete(first)
        session.commit()
        assert size_of(read(second.photo.variants["small"].file)) == (64, 43)
    assert len(files(world)) == 3


def test_a_copy_has_the_variants_of_its_column(world: World) -> None:
    """Another column with other recipes, in another depot: those of the original are not copied."""
    with world.session() as session:
        person = Sitter(id=1, photo=image())
        session.add(person)
        session.commit()
        person.icon = person.photo
        session.commit()
        assert person.icon is not None
        assert list(person.icon.variants) == ["tiny"]
        assert size_of(read(person.icon.variants["tiny"].file)) == (16, 11)
        assert {path.partition("/")[0] for path in person.icon.files} == {"archive"}
        assert len(person.icon.files) == 2
    assert len(files(world)) == 5


def test_a_truncated_image_stops_the_flush_and_leaves_nothing(world: World) -> None:
    """Its header is whole, so it is found when it is decoded: before anything of it is stored."""
    with world.session() as session:
        session.add(Sitter(id=1, icon=image(), photo=FileIntent(image()[:-500], "broken.jpg")))
        with pytest.raises(ImageRefused, match="broken or truncated") as refused:
            session.flush()
        assert (refused.value.column, refused.value.filename) == ("Sitter.photo", "broken.jpg")
        session.rollback()
    assert files(world) == {}


def test_what_is_no_image_is_refused_with_the_column(world: World) -> None:
    for photo in (b"no image", b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>"):
        with world.session() as session:
            session.add(Sitter(id=1, photo=FileIntent(photo, "me.jpg")))
            with pytest.raises(ImageRefused) as refused:
                session.flush()
            assert (refused.value.column, refused.value.rule) == ("Sitter.photo", "format")
    assert files(world) == {}


def test_a_subclass_may_narrow_what_it_takes(world: World) -> None:
    """The formats and the number of pixels."""
    for photo, rule in ((image(), "format"), (image(101, 100, "PNG"), "max_pixels")):
        with world.session() as session:
            session.add(Picture(id=1, narrow=photo))
            with pytest.raises(ImageRefused) as refused:
                session.flush()
            assert (refused.value.column, refused.value.rule) == ("Picture.narrow", rule)
    with world.session() as session:
        session.add(Picture(id=1, narrow=image(100, 100, "PNG")))
        session.commit()
    assert len(files(world)) == 1


class Meeting(MemoryFileStorage):
    """Each file waits in the middle of being stored until as many others are."""

    concurrency = 3

    def __init__(self, parties: int) -> None:
        super().__init__()
        self.barrier = threading.Barrier(parties, timeout=20)

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self.barrier.wait()
        return super()._save(file_id, content)


def test_original_and_variants_are_stored_side_by_side_where_the_storage_gains_by_it(engine: Engine) -> None:
    """Three files, each of which waits for the other two; the keys are in their order all the same."""
    with temporary_depots(), Session(engine) as session:
        DepotManager.configure("default", Meeting(3))
        person = Sitter(id=1, photo=io.BytesIO(image()))
        session.add(person)
        session.flush()
        assert person.photo is not None
        assert person.photo.files == [person.photo.path, *(each.path for each in person.photo.variants.values())]
        session.rollback()
        assert list(DepotManager.get().list()) == []


class Telling(MemoryFileStorage):
    """Tells when it begins to store something."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self.begun.set()
        return super()._save(file_id, content)


def test_an_original_that_stays_as_it_is_is_stored_while_it_is_decoded(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, render = Telling(), images.render

    def late(*args: Any, **options: Any) -> Any:
        assert storage.begun.wait(60)
        return render(*args, **options)

    monkeypatch.setattr(images, "render", late)
    with temporary_depots(), Session(engine) as session:
        DepotManager.configure("default", storage)
        person = Sitter(id=1, photo=image())
        session.add(person)
        session.flush()
        assert person.photo is not None
        assert person.photo.files == [person.photo.path, *(each.path for each in person.photo.variants.values())]
        session.rollback()
        assert list(storage.list()) == []


@pytest.mark.parametrize("name", ["me.jpg", "me-small.jpg", "me-square.png"])
def test_a_file_that_cannot_be_stored_takes_the_others_along(engine: Engine, name: str) -> None:
    """And the value waits again, as it was."""
    with temporary_depots(), Session(engine) as session:
        storage = DepotManager.configure("default", Failing(name))
        person = Sitter(id=1, photo=FileIntent(image(), "me.jpg"))
        session.add(person)
        with pytest.raises(StorageFailed, match="the disk is full"):
            session.flush()
        assert list(storage.list()) == []
        assert person.photo is not None
        assert (person.photo.pending, person.photo.files, "width" in person.photo) == (True, [], False)


def test_an_async_session_stores_variants(world: World) -> None:
    async def journey() -> None:
        engine = create_async_engine(world.engine.url.set(drivername="sqlite+aiosqlite"))
        async with AsyncSession(engine) as session:
            session.add_all(Sitter(id=number, photo=image()) for number in (1, 2, 3))
            await session.commit()
            person = await session.get_one(Sitter, 1)
            person.photo = UploadedImage(image(colour="blue"))
            await session.flush()
            await session.rollback()
        await engine.dispose()

    asyncio.run(journey())
    assert len(files(world)) == 9


@pytest.mark.server
def test_variants_in_s3(engine: Engine) -> None:
    """They have URLs of their own, and the original is fetched once to make them anew."""
    from tests.io.s3_server import moto_server

    with temporary_depots(), moto_server() as server, server.bucket() as bucket, Session(engine) as session:
        storage = server.storage(bucket)
        DepotManager.configure("default", storage)
        person = Sitter(id=1, photo=image())
        session.add(person)
        session.flush()
        assert person.photo is not None
        small = person.photo.variants["small"]
        assert small.url == storage.url(small.file_id)
        assert size_of(read(small.file)) == (64, 43)
        person.photo = regenerate(person.photo)
        session.flush()
        assert size_of(read(person.photo.variants["small"].file)) == (64, 43)
        assert len(list(storage.list())) == 6
        session.rollback()
        assert list(storage.list()) == []


# --- columns and values -----------------------------------------------------------------------------------------------


def test_columns_refuse_variants_that_cannot_be() -> None:
    for variants, message in (
        ({"small/large": SMALL}, "expected a name of .*, got 'small/large'"),
        ({"": SMALL}, "expected a name of .*, got ''"),
        ({"small": (64, 64)}, r"variants\['small'\]: \(64, 64\) is not a Thumbnail, a Crop or a Pad"),
        ({"small": Recipe(64, 64)}, "is not a Thumbnail, a Crop or a Pad"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            UploadedFileField(upload_type=UploadedImage, variants=variants)
    with pytest.raises(ConfigurationError, match="UploadedFile makes no variants; use upload_type=UploadedImage"):
        UploadedFileField(variants={"small": SMALL})


def test_classes_refuse_settings_that_cannot_be() -> None:
    class Nothing(UploadedImage):
        max_size = 0

    class Unwritable(UploadedImageWithThumb):
        thumbnail_format = "PDF"

    with pytest.raises(ConfigurationError, match="width=0: expected"):
        UploadedFileField(upload_type=Nothing)
    with pytest.raises(ConfigurationError, match="format='PDF': expected"):
        UploadedFileField(upload_type=Unwritable)


def test_a_stored_image_is_pickled_and_copied_like_any_value(world: World) -> None:
    with world.session() as session:
        person = Sitter(id=1, photo=image())
        session.add(person)
        session.commit()
        photo = person.photo
        assert photo is not None
        again = [pickle.loads(pickle.dumps(photo)), copy.deepcopy(photo), UploadedImage.decode(photo.encode())]
        for each in again:
            assert type(each) is UploadedImage
            assert dict(each.variants) == dict(photo.variants)
            assert size_of(read(each.variants["small"].file)) == (64, 43)
        small = photo.variants["small"]
        assert pickle.loads(pickle.dumps(small)) == small
        assert json.loads(json.dumps(photo)) == dict(photo)


def test_a_url_of_a_variant_is_that_of_the_middleware_where_the_storage_has_none(world: World) -> None:
    DepotManager.make_middleware(None)
    with world.session() as session:
        person = Sitter(id=1, photo=image())
        session.add(person)
        session.flush()
        assert person.photo is not None
        small = person.photo.variants["small"]
        assert small.url == f"/depot/{small.path}"
        assert person.photo.url == f"/depot/{person.photo.path}"


# --- recipes that change ----------------------------------------------------------------------------------------------


def test_outdated_names_what_is_missing_in_excess_or_made_by_another_recipe(world: World) -> None:
    photo = UploadedImage(image())
    changed = {"small": Thumbnail(65, 64), "large": Thumbnail(200, 200)}
    assert outdated(photo, changed) == []
    photo.store(variants=RECIPES)
    assert outdated(photo, RECIPES) == []
    assert outdated(photo, changed) == ["small", "large", "square"]
    assert outdated(photo, {}) == ["small", "square"]


def old_photo(session: Session) -> Sitter:
    """Return a stored row whose variants were made by another recipe."""
    photo = UploadedImage(FileIntent(image(), "me.jpg"))
    photo.store(variants={"small": Thumbnail(8, 8), "former": Thumbnail(4, 4)})
    person = Sitter(id=1)
    session.add(person)
    session.flush()
    session.execute(text("UPDATE person_with_photo SET photo = :photo"), {"photo": json.dumps(photo)})
    session.commit()
    return person


def test_variants_are_regenerated_by_the_recipes_of_today(world: World) -> None:
    """The original's bytes stay as they are; the former files go at the commit."""
    with world.session() as session:
        person = old_photo(session)
        assert person.photo is not None
        before = files(world)
        data = read(person.photo.file)
        assert outdated(person.photo, RECIPES) == ["small", "square", "former"]
        person.photo = regenerate(person.photo)
        session.commit()
        assert outdated(person.photo, RECIPES) == []
        assert {name: (each.width, each.filename) for name, each in person.photo.variants.items()} == {
            "small": (64, "me-small.jpg"),
            "square": (32, "me-square.png"),
        }
        assert (read(person.photo.file), person.photo.filename) == (data, "me.jpg")
        assert person.photo.files == [person.photo.path, *(each.path for each in person.photo.variants.values())]
        assert len(files(world)) == 3
        assert not set(files(world)) & set(before)


def test_a_rollback_keeps_what_there_was_before_variants_were_regenerated(world: World) -> None:
    """Also that of a savepoint; afterwards the same value can be flushed."""
    with world.session() as session:
        person = old_photo(session)
        assert person.photo is not None
        before = files(world)
        renewed = regenerate(person.photo)
        with session.begin_nested() as savepoint:
            person.photo = renewed
            session.flush()
            assert len(world.stored()) == 6
            savepoint.rollback()
        session.commit()
        assert files(world) == before
        person.photo = renewed
        session.flush()
        session.rollback()
        assert files(world) == before
        person.photo = renewed
        session.commit()
        assert outdated(person.photo, RECIPES) == []
    assert len(files(world)) == 3


def test_an_image_that_cannot_be_decoded_any_more_is_left_as_it_is(world: World) -> None:
    """Its variants cannot be made anew, and nothing is lost by the attempt."""
    with world.session() as session:
        person = old_photo(session)
        assert person.photo is not None
        before = set(files(world))
        world.depots["default"].replace(person.photo.file_id, image()[:-500])
        person.photo = regenerate(person.photo)
        with pytest.raises(ImageRefused) as refused:
            session.flush()
        assert refused.value.column == "Sitter.photo"
        session.rollback()
    assert set(files(world)) == before


def test_variants_of_a_current_image_are_regenerated_too_where_somebody_asks(world: World) -> None:
    """And those of an image without any, as `UploadedFile` has stored it."""
    with world.session() as session:
        person = Sitter(id=1, photo=image())
        session.add(person)
        session.commit()
        assert person.photo is not None
        before = person.photo.variants["small"].path
        person.photo = regenerate(person.photo)
        assert regenerate(person.photo) is person.photo
        session.commit()
        assert person.photo.variants["small"].path != before
        photo = {key: each for key, each in person.photo.items() if key not in {"variants", "width", "height"}}
        session.execute(text("UPDATE person_with_photo SET photo = :photo"), {"photo": json.dumps(photo)})
        session.expire_all()
        assert (person.photo.width, person.photo.get("variants")) == (None, None)
        person.photo = regenerate(person.photo)
        session.commit()
        assert (person.photo.width, len(person.photo.variants)) == (300, 2)


# --- filedepot's class ------------------------------------------------------------------------------------------------


def test_an_image_with_a_thumbnail_is_filedepots(world: World) -> None:
    """Its keys, its names, its options; the thumbnail stands upright."""
    DepotManager.make_middleware(None)
    with world.session() as session:
        picture = Picture(id=1, thumbed=FileIntent(image(2048, 1024, orientation=6), "me.jpg"))
        session.add(picture)
        session.commit()
        thumbed = picture.thumbed
        assert thumbed is not None
        assert size_of(read(thumbed.file)) == (thumbed.width, thumbed.height) == (512, 1024)
        assert (thumbed.filename, thumbed.content_type) == ("me.jpg", "image/jpeg")
        with thumbed.thumb_file as thumb:
            assert (thumb.filename, thumb.content_type) == ("thumb.png", "image/png")
            assert size_of(thumb.read()) == (64, 128)
        assert thumbed["thumb_path"] == thumbed.thumb_path == f"default/{thumbed['thumb_id']}"
        assert thumbed["_thumb_public_url"] is None
        assert thumbed.thumb_url == f"/depot/{thumbed.thumb_path}"
        assert thumbed.files == [thumbed.path, thumbed.thumb_path]
    assert len(files(world)) == 2


@pytest.mark.parametrize("damage", [{}, {"thumb_id": None, "thumb_path": None}, {"thumb_id": 5, "thumb_path": [5]}])
def test_a_row_without_its_thumbnail_is_damaged(depots: dict[str, FileStorage], damage: dict[str, Any]) -> None:
    """The image itself is read all the same."""
    stored = UploadedImageWithThumb(image())
    stored.store()
    kept = {key: each for key, each in stored.items() if key not in {"thumb_id", "thumb_path", "files"}}
    value = UploadedImageWithThumb({**kept, **damage})
    for name in ("thumb_id", "thumb_path", "files"):
        with pytest.raises(DamagedReference, match=f"expected {name} of type"):
            getattr(value, name)
    with pytest.raises(DamagedReference, match="expected thumb_id of type str"):
        value.thumb_url  # noqa: B018
    assert value.as_dict()["width"] == stored.width


def test_a_transparent_image_may_have_a_thumbnail_without_transparency(depots: dict[str, FileStorage]) -> None:
    class AsJPEG(UploadedImageWithThumb):
        thumbnail_format = "JPEG"
        thumbnail_size = (50, 50)

    output = io.BytesIO()
    Image.new("RGBA", (100, 80), (255, 0, 0, 0)).save(output, "PNG")
    value = AsJPEG(output.getvalue())
    value.store()
    with value.thumb_file as thumb, Image.open(io.BytesIO(thumb.read())) as opened:
        assert (thumb.filename, opened.format, opened.size) == ("thumb.jpeg", "JPEG", (50, 40))
        assert opened.getpixel((10, 10)) == (255, 255, 255)


def test_a_copy_has_a_thumbnail_of_its_own_and_so_has_a_regenerated_image(world: World) -> None:
    with world.session() as session:
        first = Picture(id=1, thumbed=image())
        session.add(first)
        session.commit()
        second = Picture(id=2, thumbed=first.thumbed)
        session.add(second)
        session.commit()
        assert first.thumbed is not None
        assert second.thumbed is not None
        assert second.thumbed.thumb_path in second.thumbed.files
        assert second.thumbed.thumb_id != first.thumbed.thumb_id
        assert len(files(world)) == 4
        second.thumbed = regenerate(second.thumbed)
        session.commit()
        assert second.thumbed.files == [second.thumbed.path, second.thumbed.thumb_path]
        assert size_of(read(second.thumbed.thumb_file)) == (128, 85)
    assert len(files(world)) == 4


WRITTEN_BY_FILEDEPOT = """
import sys
from depot.fields.filters.thumbnails import WithThumbnailFilter
from depot.fields.specialized.image import UploadedImageWithThumb
from depot.fields.sqlalchemy import UploadedFileField
from depot.manager import DepotManager
from sqlalchemy import Column, Integer, create_engine
from sqlalchemy.orm import Session, declarative_base

folder, url, photo = sys.argv[1:]
DepotManager.configure("default", {"depot.storage_path": folder})
DepotManager.make_middleware(lambda environ, start_response: [])
Base = declarative_base()

class Album(Base):
    __tablename__ = "album"
    id = Column(Integer, primary_key=True)
    cover = Column(UploadedFileField(upload_type=UploadedImageWithThumb))
    back = Column(UploadedFileField(filters=[WithThumbnailFilter(), WithThumbnailFilter((12, 12), "PNG")]))

engine = create_engine(url)
Base.metadata.create_all(engine)
with Session(engine) as session, open(photo, "rb") as file:
    session.add(Album(id=1, cover=file, back=file))
    session.commit()
engine.dispose()
"""


class Foreign(DeclarativeBase):
    """The parent of the model whose table filedepot has made."""


class Album(Foreign):
    """The table that filedepot has made, as its user goes on to declare it."""

    __tablename__ = "album"
    id: Mapped[int] = mapped_column(primary_key=True)
    cover: Mapped[UploadedImageWithThumb | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImageWithThumb, text=True)
    )
    back: Mapped[Any] = mapped_column(
        UploadedFileField(filters=[WithThumbnailFilter(), WithThumbnailFilter((12, 12), "PNG")], text=True),
        nullable=True,
    )


@pytest.fixture
def album(tmp_path: Path) -> Iterator[Session]:
    """A session on a database that filedepot has written."""
    if importlib.util.find_spec("depot") is None:
        pytest.skip("filedepot is not installed")
    (tmp_path / "photo.jpg").write_bytes(image())
    arguments = [str(tmp_path / "files"), f"sqlite:///{tmp_path / 'album.db'}", str(tmp_path / "photo.jpg")]
    subprocess.run([sys.executable, "-c", WRITTEN_BY_FILEDEPOT, *arguments], check=True, cwd=tmp_path, timeout=120)
    engine = sqlite_engine(tmp_path / "album.db")
    with temporary_depots(), Session(engine) as session:
        DepotManager.configure("default", {"depot.storage_path": str(tmp_path / "files"), "depot.durable": "false"})
        DepotManager.make_middleware(None)
        yield session
    engine.dispose()


@pytest.mark.matrix
def test_rows_of_filedepots_image_class_are_read_copied_and_deleted(album: Session) -> None:
    """Its keys are ours, and its files go with the rows."""
    cover = album.get_one(Album, 1).cover
    assert cover is not None
    assert size_of(read(cover.thumb_file)) == (128, 85)
    assert cover.thumb_url == f"/depot/{cover.thumb_path}"
    assert (cover.width, len(cover.variants), cover.files) == (None, 0, [cover.path, cover.thumb_path])
    album.add(Album(id=2, cover=cover))
    album.commit()
    copied = album.get_one(Album, 2).cover
    assert copied is not None
    assert copied.files == [copied.path, copied.thumb_path]
    assert copied.thumb_path != cover.thumb_path
    copied_keys, ours = set(copied), UploadedImageWithThumb(image())
    ours.store()
    assert set(cover) <= set(ours)
    assert copied_keys == set(cover)
    for each in album.query(Album):
        album.delete(each)
    album.commit()
    assert set(DepotManager.get().list()) == {ours.file_id, ours.thumb_id}


@pytest.mark.matrix
def test_rows_of_filedepots_thumbnail_filter_are_read_copied_and_deleted(album: Session) -> None:
    """What our filter writes has the same keys."""
    row = album.get_one(Album, 1)
    back = row.back
    keys = {f"thumb_{size}_{each}" for size in ("128x128", "12x12") for each in ("id", "path", "url")}
    assert {key for key in back if key.startswith("thumb_")} == keys
    assert back["thumb_12x12_url"] == f"/depot/{back['thumb_12x12_path']}"
    with DepotManager.get_file(back["thumb_12x12_path"]) as theirs:
        assert size_of(theirs.read()) == (12, 8)
    row.back = UploadedFile(image())
    album.commit()
    assert {key for key in row.back if key.startswith("thumb_")} == keys
    assert row.back["thumb_12x12_url"] == f"/depot/{row.back['thumb_12x12_path']}"
    assert row.back.files == [row.back.path, row.back["thumb_128x128_path"], row.back["thumb_12x12_path"]]
    album.delete(row)
    album.commit()
    assert list(DepotManager.get().list()) == []
