"""Metadata and new names stay with a file wherever the file goes: other depots, backups, rows, variants and forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite import Crop, DepotManager, FileEdit, UploadedFileField, UploadedImage
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance.backup import copy_files
from depot_lite.maintenance.migration import migrate
from depot_lite.maintenance.restoration import restore_files
from depot_lite.maintenance.variants import regenerate_variants
from depot_lite.testing import temporary_depots
from tests.conftest import sqlite_engine
from tests.io.backends import Place, on
from tests.support.files import png


class Base(DeclarativeBase):
    """The parent of the model of this module."""


def _images(**options: Any) -> UploadedFileField:
    return UploadedFileField(upload_type=UploadedImage, variants={"small": Crop(4, 4)}, **options)


class Album(Base):
    """An image and a list of images, with variants."""

    __tablename__ = "kept_album"
    id: Mapped[int] = mapped_column(primary_key=True)
    cover: Mapped[UploadedImage | None] = mapped_column(_images())
    pages: Mapped[list[UploadedImage]] = mapped_column(_images(multiple=True))


@pytest.fixture
def depots(place: Place) -> Iterator[dict[str, FileStorage]]:
    with temporary_depots():
        yield {each: DepotManager.configure(each, place.storage(each)) for each in ("default", "archive", "backup")}


@pytest.fixture
def engine(depots: dict[str, FileStorage], tmp_path: Path) -> Iterator[Engine]:
    """A row whose files were stored with metadata, and then renamed."""
    made = sqlite_engine(tmp_path / "albums.db")
    Base.metadata.create_all(made)
    with Session(made) as session:
        album = Album(id=1)
        album.cover = UploadedImage(png(8, 8), filename="old.png", meta={"alt": "first"})
        album.pages = [UploadedImage(png(8, 8), filename=f"{each}.png", meta={"n": each}) for each in range(2)]
        session.add(album)
        session.commit()
        assert album.cover is not None
        album.cover = album.cover.with_(filename="cover.png", meta={"alt": "A cat", "focus": (0.5, 0.25)})
        album.pages[1] = album.pages[1].with_(filename="page.png", meta={"n": 7})
        session.commit()
    yield made
    made.dispose()


KEPT = [
    ("cover.png", {"alt": "A cat", "focus": [0.5, 0.25]}),
    ("0.png", {"n": 0}),
    ("page.png", {"n": 7}),
]


def check(engine: Engine, depot: str, *, key: int = 1) -> None:
    """Check that a row has its names and metadata, and files in this depot."""
    with Session(engine) as session:
        album = session.get_one(Album, key)
        assert album.cover is not None
        files = [album.cover, *album.pages]
        assert [(each.filename, each.meta) for each in files] == KEPT
        for each in files:
            assert each.depot_name == depot
            assert all(DepotManager.get_file(path).read() for path in each.files)
            assert each.variants["small"].file.read()


@on("local", "memory", "s3")
def test_migration(engine: Engine, depots: dict[str, FileStorage]) -> None:
    report = migrate(engine, "default", "archive", models=[Base])
    assert report.failed == []
    check(engine, "archive")


@on("local", "memory", "s3")
@pytest.mark.matrix
def test_backup_and_restoration(engine: Engine, depots: dict[str, FileStorage]) -> None:
    copy_files("default", "backup")
    depots["default"].delete_many([str(each) for each in depots["default"].list()])
    restore_files(engine, "backup", "default", models=[Base])
    check(engine, "default")


@on("local", "memory", "s3")
@pytest.mark.matrix
def test_new_variants(engine: Engine, depots: dict[str, FileStorage], monkeypatch: pytest.MonkeyPatch) -> None:
    columns: Any = Album.__table__.c
    for column in (columns.cover, columns.pages):
        monkeypatch.setitem(column.type.variants, "small", Crop(3, 3))
    report = regenerate_variants(engine, models=[Base])
    assert report.regenerated == 2  # attributes
    check(engine, "default")
    with Session(engine) as session:
        assert {each.variants["small"].width for each in session.get_one(Album, 1).pages} == {3}


@on("local", "memory", "s3")
def test_copies_in_another_row(engine: Engine, depots: dict[str, FileStorage]) -> None:
    with Session(engine) as session:
        album = session.get_one(Album, 1)
        session.add(Album(id=2, cover=album.cover, pages=album.pages))
        session.commit()
        session.delete(album)
        session.commit()
    check(engine, "default", key=2)


@on("local", "memory", "s3")
def test_forms(engine: Engine, depots: dict[str, FileStorage]) -> None:
    with Session(engine) as session:
        album = session.scalars(select(Album)).one()
        assert album.cover is not None
        ids = [each.file_id for each in album.pages]
        album.cover = FileEdit.of_form([f"seen:{album.cover.file_id}", f"keep:{album.cover.file_id}"])  # type: ignore[assignment]  # taken by columns
        album.pages = FileEdit.of_form([*(f"seen:{each}" for each in ids), *(f"keep:{each}" for each in reversed(ids))])  # type: ignore[assignment]  # taken by columns
        session.commit()
        album.pages.reverse()
        session.commit()
    check(engine, "default")
