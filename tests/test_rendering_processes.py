"""Variants on demand in several processes, and in one that is killed."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.io.local import LocalFileStorage
from depot_lite.maintenance import claim, delete_unused_files
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.rendering import RECIPE

pytestmark = pytest.mark.matrix

NOW = timedelta(0)


class Base(DeclarativeBase):
    """The parent of the model here."""


class Canvas(Base):
    """An image."""

    __tablename__ = "rendering_canvas"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField((), UploadedImage, variants={"small": RECIPE})
    )


@pytest.fixture
def media(tmp_path: Path) -> Iterator[Path]:
    """The folder of a depot."""
    folder = tmp_path / "media"
    with temporary_depots():
        DepotManager.configure("default", LocalFileStorage(folder, durable=False))
        yield folder


@pytest.fixture
def database(tmp_path: Path, media: Path) -> Iterator[Engine]:
    """A database with an image."""
    engine = create_engine(f"sqlite:///{tmp_path}/test.db")
    Base.metadata.create_all(engine)
    claim(engine, "default", models=[Base])
    file = io.BytesIO()
    Image.effect_noise((1200, 900), 50).save(file, "PNG")
    with Session(engine) as session:
        session.add(Canvas(id=1, image=file.getvalue()))
        session.commit()
    yield engine
    engine.dispose()


def image_in(database: Engine) -> UploadedImage:
    with Session(database) as session:
        image = session.get_one(Canvas, 1).image
        assert image is not None
        return image


@contextmanager
def child(media: Path, file_id: str, point: str = "end") -> Iterator[Any]:
    """A process that is ready to make a variant; it is killed at the end."""
    command = [sys.executable, "-m", "tests.rendering", str(media), file_id, point]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def go(process: Any) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_leave_one_file(database: Engine, media: Path) -> None:
    """Each renders once at most, for fifty threads."""
    image = image_in(database)
    with child(media, image.file_id) as one, child(media, image.file_id) as other:
        go(one)
        go(other)
        answers = [each.stdout.readline().split() for each in (one, other)]
    counts, sums = zip(*answers, strict=True)
    assert set(counts) <= {"0", "1"}
    assert "1" in counts
    assert len(set(sums)) == 1
    assert {str(each) for each in DepotManager.get().list()} == {image.file_id, image.variants["small"].file_id}


@pytest.mark.parametrize("point", ["rendering", "storing"])
def test_a_process_that_is_killed_leaves_nothing(database: Engine, media: Path, point: str) -> None:
    """The next request makes the variant; a sweep removes the rest."""
    image = image_in(database)
    before = files_below(media)
    for number in range(2):
        with child(media, image.file_id, point) as process:
            go(process)
            assert process.stdout.readline() == f"{point}\n"
        if number == 0:
            sweep(database)
            assert files_below(media) == before
    with image.variants["small"].file as file:
        assert Image.open(io.BytesIO(file.read())).size == (64, 48)
    sweep(database)
    left = {each[:36] for each in files_below(media) - before}
    assert left == {image.variants["small"].file_id}
    assert {str(each) for each in DepotManager.get().list()} == {image.file_id, image.variants["small"].file_id}
    with Session(database) as session:
        session.delete(session.get_one(Canvas, 1))
        session.commit()
    assert list(DepotManager.get().list()) == []


def files_below(media: Path) -> set[str]:
    return {each.name for each in media.rglob("*") if each.is_file()}


def sweep(database: Engine) -> None:
    delete_unused_files(database, models=[Base], older_than=NOW, trash=NOW, settle=NOW, allow_newer=True)
