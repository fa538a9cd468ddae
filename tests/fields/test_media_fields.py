"""Files of any kind in columns, with variants where an image of them can be made."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine
from sqlalchemy.orm import Mapped, mapped_column

from depot_lite import UploadedMedia, images
from depot_lite.errors import ImageRefused, StoredFileNotFound
from depot_lite.fields.specialized import media
from depot_lite.fields.specialized.image import outdated, regenerate
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.content import Content, FileIntent
from depot_lite.io.interfaces import StoredFile
from depot_lite.manager import DepotManager
from depot_lite.previews import pool
from tests.conftest import World, sqlite_engine
from tests.fields.images import files, image, read
from tests.images.awkward_images import bomb_png
from tests.previews import samples
from tests.support.models import Base
from tests.support.streams import Stream

RECIPES = {"poster": Thumbnail(64, 64, format="WEBP"), "tile": Crop(32, 32)}


class Bare(UploadedMedia):
    """Tells nothing about where it was made."""

    strip_metadata = True


class Lesson(Base):
    """Media with variants of each time."""

    __tablename__ = "lesson_with_media"
    id: Mapped[int] = mapped_column(primary_key=True)
    recording: Mapped[UploadedMedia | None] = mapped_column(
        UploadedFileField(upload_type=UploadedMedia, variants=RECIPES)
    )
    script: Mapped[UploadedMedia | None] = mapped_column(
        UploadedFileField(
            upload_type=UploadedMedia,
            upload_storage="archive",
            variants={"page": Thumbnail(50, 50, make="on_demand")},
        )
    )
    bare: Mapped[Bare | None] = mapped_column(UploadedFileField(upload_type=Bare, variants=RECIPES))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """SQLite alone: transactions treat all files alike, whatever their kind."""
    made = sqlite_engine(tmp_path_factory.mktemp("media") / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()
    pool.close_pool()


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", "text")
    return out.getvalue()


def stored(world: World, content: Any, attribute: str = "recording") -> UploadedMedia:
    with world.session() as session:
        session.add(Lesson(id=1, **{attribute: content}))
        session.commit()
    with world.session() as session:
        value = getattr(session.get_one(Lesson, 1), attribute)
        assert isinstance(value, UploadedMedia)
        return value


@pytest.mark.parametrize(
    ("content", "content_type", "size", "poster"),
    [
        (samples.pdf(samples.COLOURS), "application/pdf", (None, None), (43, 64)),
        (samples.video(), "video/mp4", (320, 180), (64, 36)),
        (b"Dear Sir,\n", "text/plain", (None, None), (49, 64)),
        (image(), "image/jpeg", (300, 200), (64, 43)),
    ],
)
def test_a_file_of_which_an_image_can_be_made_has_variants(
    content: bytes, content_type: str, size: tuple[int | None, int | None], poster: tuple[int, int], world: World
) -> None:
    value = stored(world, content)
    assert read(value.file) == content
    assert (value.content_type, (value.width, value.height)) == (content_type, size)
    found = value.variants["poster"]
    assert (found.content_type, (found.width, found.height)) == ("image/webp", poster)
    assert value.variants["tile"].content_type == "image/jpeg"
    with Image.open(io.BytesIO(read(found.file))) as opened:
        opened.load()
        assert opened.size == poster
    assert len(files(world)) == 3
    assert outdated(value, RECIPES) == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(archive(), id="zip"),
        pytest.param(FileIntent(archive(), "a.pdf", "application/pdf"), id="zip called PDF"),
        pytest.param(samples.encrypted(), id="encrypted"),
        pytest.param(FileIntent(samples.sound_only(), "a.mp4", "video/mp4"), id="sound only"),
        pytest.param(samples.video()[:3000], id="truncated"),
        pytest.param(image()[:200], id="broken image"),
    ],
)
def test_any_other_file_is_stored_without_variants(content: Any, world: World) -> None:
    value = stored(world, content)
    assert (dict(value.variants), value.width) == ({}, None)
    assert value.as_dict()["variants"] == {}
    assert outdated(value, RECIPES) == []
    assert len(files(world)) == 1


@pytest.mark.parametrize("content", [archive(), FileIntent(samples.sound_only(), "a.mp4", "video/mp4")])
def test_picture_of_a_file_that_has_none_is_empty(content: Any, world: World) -> None:
    """A browser would show a broken image. A page may name the variants that other files of the column have."""
    value = stored(world, content)
    assert value.picture(alt="Lesson 1") == value.picture(next(iter(RECIPES))) == ""
    with pytest.raises(KeyError, match="unheard-of"):
        value.picture("unheard-of")


def test_limits_of_images_hold(world: World) -> None:
    with world.session() as session:
        session.add(Lesson(id=1, recording=bomb_png()))
        with pytest.raises(ImageRefused) as refused:
            session.flush()
    assert refused.value.rule == "max_pixels"
    world.check()


def test_metadata_of_a_video_is_not_kept_where_it_has_to_go(world: World) -> None:
    with world.session() as session:
        session.add(Lesson(id=1, bare=samples.video()))
        with pytest.raises(ImageRefused):
            session.flush()
    world.check()
    assert set(stored(world, samples.pdf(), "bare").variants) == set(RECIPES)


def test_a_stream_and_a_path_have_variants(world: World, tmp_path: Any) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(samples.video())
    with world.session() as session:
        session.add(Lesson(id=1, recording=path))
        session.add(Lesson(id=2, recording=FileIntent(Stream(samples.pdf()), "a.pdf")))
        session.commit()
        first, second = (session.get_one(Lesson, number).recording for number in (1, 2))
        assert first is not None
        assert second is not None
        assert first.variants["poster"].filename == "a-poster.webp"
        assert set(second.variants) == set(RECIPES)


def test_a_rollback_leaves_nothing(world: World) -> None:
    with world.session() as session:
        session.add(Lesson(id=1, recording=samples.video()))
        session.flush()
        session.rollback()
    world.check()


def test_a_preview_is_made_when_its_extra_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then the file is stored without variants, and the log says it once."""
    media._lacking.clear()
    with monkeypatch.context() as patch, caplog.at_level(logging.INFO, "depot_lite"):
        patch.setattr("depot_lite.previews.find_spec", lambda name: None)
        with world.session() as session:
            session.add_all(Lesson(id=number, recording=samples.pdf()) for number in (2, 3))
            session.flush()
            session.rollback()
        value = stored(world, samples.pdf())
    assert [each.getMessage() for each in caplog.records].count(
        "previews of PDF need pypdfium2: pip install 'depot_lite[pdf]'"
    ) == 1
    assert [each.url for each in value.variants.values()] == [None, None]
    assert outdated(value, RECIPES) == list(RECIPES)
    with world.session() as session:
        lesson = session.get_one(Lesson, 1)
        assert lesson.recording is not None
        lesson.recording = regenerate(lesson.recording)
        session.commit()
        assert lesson.recording is not None
        assert set(lesson.recording.variants) == set(RECIPES)
    assert len(files(world)) == 3


def test_an_old_variant_is_made_again(world: World) -> None:
    value = stored(world, samples.video())
    assert outdated(value, RECIPES | {"tile": Crop(16, 16)}) == ["tile"]
    with world.session() as session:
        lesson = session.get_one(Lesson, 1)
        lesson.recording = regenerate(value)
        session.commit()
        assert lesson.recording is not None
        assert set(lesson.recording.variants) == set(RECIPES)
    assert len(files(world)) == 3


def test_a_worker_that_crashes_leaves_the_file_without_variants(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "depot_lite"), images.isolated(seconds=1):
        value = stored(world, FileIntent(samples.nested_forms(), "bomb.pdf"))
    assert (dict(value.variants), len(files(world))) == ({}, 1)
    assert "'bomb.pdf': " in caplog.text


def test_a_variant_on_demand_is_made_of_the_preview(world: World) -> None:
    value = stored(world, samples.video(), "script")
    assert (value.width, len(files(world))) == (None, 1)
    page = value.variants["page"]
    with page.file as made:
        assert made.content_type == "image/jpeg"
        with Image.open(io.BytesIO(made.read())) as opened:
            assert opened.size == (50, 28)


@pytest.mark.parametrize("content", [samples.encrypted(), samples.sound_only(), b"%PDF-1.7 broken"])
def test_a_variant_on_demand_that_cannot_be_made_is_not_found(content: bytes, world: World) -> None:
    value = stored(world, content, "script")
    variant = value.variants.get("page")
    if variant is not None:
        with pytest.raises(StoredFileNotFound, match="cannot be made"):
            variant.file  # noqa: B018 - a property
    assert (variant is None) == (value.content_type == "audio/mp4")
    assert len(files(world)) == 1


def test_a_stored_video_is_read_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have gigabytes, in a storage far away."""
    head, tail = samples.with_gap(samples.video(), 20_000_000)
    value = stored(world, head + bytes(20_000_000) + tail)
    assert value.size is not None
    assert value.size > 20_000_000
    read_bytes, counts = StoredFile.read, list[int]()

    def counting(self: StoredFile, size: int | None = -1, /) -> bytes:
        data = read_bytes(self, size)
        counts.append(len(data))
        return data

    monkeypatch.setattr(StoredFile, "read", counting)
    with DepotManager.get_file(value.path) as original:
        assert UploadedMedia.rendition_of(original, Thumbnail(50, 50)).width == 50
    with DepotManager.get_file(value.path) as original, UploadedMedia._at_hand(Content.of(original)) as source:
        assert value._render(source, {"a": Thumbnail(40, 40)})[1]["a"].width == 40
    assert 0 < sum(counts) < 4_000_000
