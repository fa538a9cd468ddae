"""`WithThumbnailFilter`: thumbnails beside a file of any class, under filedepot's keys."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from PIL import Image
from sqlalchemy import Engine
from sqlalchemy.orm import Mapped, mapped_column

from depot_lite.errors import ConfigurationError, ImageRefused
from depot_lite.fields.filters.thumbnails import WithThumbnailFilter
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import FileIntent
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from tests.conftest import World, sqlite_engine
from tests.support.models import Base
from tests.support.streams import Stream


class Poster(Base):
    """Two thumbnails of each file."""

    __tablename__ = "poster_with_thumbnails"
    id: Mapped[int] = mapped_column(primary_key=True)
    scan: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(filters=[WithThumbnailFilter(), WithThumbnailFilter((40, 30), "JPEG")])
    )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """SQLite alone: the files of a filter do not depend on the database."""
    made = sqlite_engine(tmp_path_factory.mktemp("thumbnails") / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def served(world: World) -> World:
    """A world whose files are served below ``/depot``."""
    DepotManager.make_middleware(None)
    return world


def transparent(width: int = 300, height: int = 200) -> bytes:
    output = io.BytesIO()
    Image.new("RGBA", (width, height), (0, 0, 255, 0)).save(output, "PNG")
    return output.getvalue()


def upright() -> bytes:
    """Return a photograph that is to be turned by a quarter."""
    exif, output = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (300, 200), "red").save(output, "JPEG", exif=exif)
    return output.getvalue()


def test_each_size_has_its_keys_and_its_file(served: World) -> None:
    """A transparent image gets a JPEG too, on white."""
    with served.session() as session:
        session.add(Poster(id=1, scan=FileIntent(transparent(), "poster.png")))
        session.commit()
    with served.session() as session:
        scan = session.get_one(Poster, 1).scan
        assert scan is not None
        assert scan.files == [scan.path, scan["thumb_128x128_path"], scan["thumb_40x30_path"]]
        assert scan["thumb_40x30_path"] == f"default/{scan['thumb_40x30_id']}"
        assert scan["thumb_40x30_url"] == f"/depot/{scan['thumb_40x30_path']}"
        with (
            DepotManager.get_file(scan["thumb_128x128_path"]) as stored,
            Image.open(io.BytesIO(stored.read())) as opened,
        ):
            assert (stored.filename, stored.content_type, opened.size) == (
                "thumb_128x128.png",
                "image/png",
                (128, 85),
            )
        with DepotManager.get_file(scan["thumb_40x30_path"]) as stored, Image.open(io.BytesIO(stored.read())) as opened:
            assert (stored.filename, stored.content_type, opened.size) == ("thumb_40x30.jpeg", "image/jpeg", (40, 27))
            assert opened.getpixel((5, 5)) == (255, 255, 255)
    assert set(served.rows()) == served.stored()


def test_a_thumbnail_stands_upright(served: World) -> None:
    with served.session() as session:
        poster = Poster(id=1, scan=upright())
        session.add(poster)
        session.flush()
        assert poster.scan is not None
        with (
            DepotManager.get_file(poster.scan["thumb_128x128_path"]) as stored,
            Image.open(io.BytesIO(stored.read())) as opened,
        ):
            assert opened.size == (85, 128)


def test_a_stream_gets_thumbnails_of_what_was_stored(served: World) -> None:
    with served.session() as session, Stream(transparent()) as stream:
        poster = Poster(id=1, scan=stream)
        session.add(poster)
        session.commit()
        assert poster.scan is not None
        assert len(poster.scan.files) == 3
    assert set(served.rows()) == served.stored()


def test_thumbnails_live_and_die_with_the_file(served: World) -> None:
    """A rollback, a copy, whose keys name its own files, and a deletion."""
    with served.session() as session:
        first = Poster(id=1, scan=transparent())
        session.add(first)
        session.flush()
        assert len(served.stored()) == 3
        session.rollback()
        assert served.stored() == set()
        session.add(first)
        session.commit()
        second = Poster(id=2, scan=first.scan)
        session.add(second)
        session.commit()
        assert second.scan is not None
        assert second.scan["thumb_40x30_url"] == f"/depot/{second.scan['thumb_40x30_path']}"
        assert second.scan["thumb_40x30_path"] in second.scan.files
        assert len(served.stored()) == 6
        session.delete(first)
        session.commit()
        assert len(served.stored()) == 3
    assert set(served.rows()) == served.stored()


def test_what_is_no_image_is_refused_and_nothing_of_it_is_left(served: World) -> None:
    for scan in (b"no image", transparent()[:-100]):
        with served.session() as session:
            session.add(Poster(id=1, scan=FileIntent(scan, "poster.png")))
            with pytest.raises(ImageRefused) as refused:
                session.flush()
            assert (refused.value.column, refused.value.filename) == ("Poster.scan", "poster.png")
    assert served.stored() == set()


def test_a_script_without_a_middleware_stores_thumbnails_whose_url_is_found_later(world: World) -> None:
    with world.session() as session:
        session.add(Poster(id=1, scan=transparent()))
        session.commit()
        found = session.get_one(Poster, 1).scan
        assert found is not None
        assert found["thumb_128x128_url"] is None
        with pytest.raises(ConfigurationError, match="no middleware serves the files"):
            _ = found.thumb_128x128_url
        DepotManager.make_middleware(lambda environ, start: [])
        assert found.thumb_128x128_url == f"/depot/{found.thumb_128x128_path}"


def test_the_row_keeps_no_url_that_expires(depots: dict[str, FileStorage]) -> None:
    DepotManager.configure_signing("k" * 32)
    DepotManager.configure("secret", MemoryFileStorage(), visibility="private")
    DepotManager.make_middleware(None)
    value = UploadedFile(transparent(), "secret")
    value.store([WithThumbnailFilter()])
    assert value["thumb_128x128_url"] is None
    assert "signature=" in value.thumb_128x128_url


def test_sizes_and_formats_that_cannot_be_are_refused_when_the_column_is_declared() -> None:
    with pytest.raises(ConfigurationError, match="width=0: expected"):
        WithThumbnailFilter((0, 10))
    with pytest.raises(ConfigurationError, match="format='PDF': expected"):
        WithThumbnailFilter(format="PDF")
