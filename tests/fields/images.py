"""Images, and a look at the files that are made of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from PIL import Image, ImageDraw

from depot_lite.errors import StorageFailed
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.memory import MemoryFileStorage
from tests.conftest import World


def image(
    width: int = 300, height: int = 200, form: str = "JPEG", *, orientation: int = 1, colour: str = "red"
) -> bytes:
    """Return an image whose left half has the colour, and which says where it was taken."""
    drawn = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(drawn).rectangle((0, 0, width // 2, height), colour)
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Camera works"
    exif.get_ifd(0x8825)[1] = "N"
    output = io.BytesIO()
    drawn.save(output, form, exif=exif)
    return output.getvalue()


def files(world: World) -> dict[str, bytes]:
    """Return the files that rows name, which are all that there are."""
    named = world.rows()
    assert set(named) == world.stored()
    return named


def read(stored: Any) -> bytes:
    with stored as file:
        data: bytes = file.read()
        return data


class Failing(MemoryFileStorage):
    """Never stores files of this name."""

    concurrency = 3

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def _save(self, file_id: str, content: Content) -> FileInfo:
        if content.filename == self.name:
            raise StorageFailed("the disk is full")
        return super()._save(file_id, content)


@contextmanager
def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> Iterator[None]:
    """Let something happen once, when the first variants are made and not yet entered in their row."""
    original, left = UploadedImage.make_variants, [1]

    def making(self: UploadedImage, *arguments: Any) -> Any:
        made = original(self, *arguments)
        if left:
            left.clear()
            happens()
        return made

    with monkeypatch.context() as patch:
        patch.setattr(UploadedImage, "make_variants", making)
        yield
    assert not left


def picture(width: int = 32, height: int = 24) -> bytes:
    """Return a PNG."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return file.getvalue()
