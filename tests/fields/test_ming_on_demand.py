"""Variants on demand of images in documents of Ming: they go with their original, made or not."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from ming import create_datastore, schema
from ming.odm import FieldProperty, MappedClass, ODMSession
from PIL import Image

from depot_lite.errors import StoredFileNotFound
from depot_lite.fields.ming import DepotExtension, UploadedFileProperty
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots

SESSION: Final[Any] = ODMSession(bind=create_datastore("mim:///depot_lite_on_demand"), extensions=[DepotExtension])
VARIANTS: Final = {"now": Thumbnail(6, 6), "square": Crop(4, 4, make="on_demand")}


class Portrait(MappedClass):  # type: ignore[misc]  # Ming's classes are untyped
    class __mongometa__:  # noqa: N801  # Ming looks for this name
        session = SESSION
        name = "portrait"

    _id = FieldProperty(schema.ObjectId)
    image: Any = UploadedFileProperty(upload_type=UploadedImage, variants=VARIANTS)


@pytest.fixture(autouse=True)
def depot() -> Iterator[FileStorage]:
    """A depot in memory, and no documents."""
    with temporary_depots():
        yield DepotManager.configure("default", MemoryFileStorage())
    SESSION.clear()
    SESSION.db.portrait.delete_many({})


def picture(colour: str = "red") -> bytes:
    """Return a PNG."""
    file = io.BytesIO()
    Image.new("RGB", (16, 12), colour).save(file, "PNG")
    return file.getvalue()


def make(image: UploadedImage) -> str:
    """Make the variant of an image, and return its id."""
    with image.variants["square"].file as file:
        assert Image.open(io.BytesIO(file.read())).size == (4, 4)
    return image.variants["square"].file_id


def named() -> set[str]:
    """Return the ids of the files that documents name."""
    images = [each["image"] for each in SESSION.db.portrait.find() if each["image"]]
    return {path.partition("/")[2] for image in images for path in image["files"]}


def replace(portrait: Any) -> None:
    portrait.image = picture("blue")


def clear(portrait: Any) -> None:
    portrait.image = None


def delete(portrait: Any) -> None:
    portrait.delete()


def remove(portrait: Any) -> None:
    Portrait.query.remove({"_id": portrait._id})


@pytest.mark.parametrize("act", [replace, clear, delete, remove], ids=lambda each: each.__name__)
def test_they_go_with_their_original(depot: FileStorage, act: Callable[[Any], None]) -> None:
    """And those of other documents stay."""
    portrait, other = Portrait(image=picture()), Portrait(image=picture("green"))
    SESSION.flush()
    image, kept = portrait.image, make(other.image)
    make(image)
    act(portrait)
    SESSION.flush()
    assert set(depot.list()) == named() | {kept}
    with pytest.raises(StoredFileNotFound):
        image.variants["square"].file.close()
    assert set(depot.list()) == named() | {kept}


def test_a_loaded_document_has_them_and_a_copy_has_its_own(depot: FileStorage) -> None:
    """The URL needs no storage."""
    Portrait(image=picture())
    SESSION.flush()
    SESSION.clear()
    portrait = Portrait.query.find().one()
    assert list(portrait.image["variants"]) == ["now"]
    DepotManager.make_middleware(lambda environ, start_response: [])
    assert portrait.image.variants["square"].url.startswith(f"/depot/default/{portrait.image.file_id}~")
    made = make(portrait.image)
    copy = Portrait(image=portrait.image)
    SESSION.flush()
    assert make(copy.image) != made
    portrait.delete()
    SESSION.flush()
    assert set(depot.list()) == named() | {copy.image.variants["square"].file_id}


def test_those_of_an_image_whose_document_is_not_written_go(
    depot: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have asked for them before the flush has failed."""
    portrait = Portrait(image=picture())

    def fail(*given: Any, **options: Any) -> None:
        (original,) = (each for each in depot.list() if depot.get(each).filename == "unnamed")
        assert portrait.image.file_id == original
        make(portrait.image)
        raise OSError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr(SESSION.impl, "save", fail)
        patch.setattr(SESSION.impl, "insert", fail, raising=False)
        with pytest.raises(OSError, match="no connection"):
            SESSION.flush()
    assert list(depot.list()) == []
    SESSION.flush()
    assert set(depot.list()) == named()
