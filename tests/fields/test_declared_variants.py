"""Stored values know the variants that their column declares, in whatever way they came to be."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator

import pytest
from PIL import Image
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.interfaces import FileStorage

VARIANTS = {"small": Thumbnail(8, 8), "square": Crop(4, 4, make="on_demand")}


class Base(DeclarativeBase):
    """Tables of this module."""


class Photo(Base):
    """One image, and a list of them."""

    __tablename__ = "declared_photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(UploadedFileField((), UploadedImage, variants=VARIANTS))
    more: Mapped[FileList[UploadedImage]] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants=VARIANTS, multiple=True)
    )
    plain: Mapped[UploadedImage | None] = mapped_column(UploadedFileField((), UploadedImage))


def picture() -> bytes:
    """Return a PNG."""
    file = io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def engine(depots: dict[str, FileStorage]) -> Iterator[Engine]:
    """A database in memory, with a row."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        photo = Photo(id=1, image=picture(), more=[picture()], plain=picture())
        session.add(photo)
        session.flush()
        assert photo.image is not None
        assert photo.image.declared_variants == photo.more[0].declared_variants == VARIANTS  # just stored
        session.commit()
    yield engine
    engine.dispose()


def test_values_of_rows_know_them(engine: Engine) -> None:
    """As do the elements of lists; a column without variants declares none."""
    with Session(engine) as session:
        photo = session.get_one(Photo, 1)
        assert photo.image is not None
        assert photo.plain is not None
        assert photo.image.declared_variants == photo.more[0].declared_variants == VARIANTS
        assert photo.plain.declared_variants == {}


def test_copies_and_pickles_know_them(engine: Engine) -> None:
    """A page may be drawn by another process."""
    with Session(engine) as session:
        image = session.get_one(Photo, 1).image
        assert image is not None
        for each in (
            copy.copy(image),
            copy.deepcopy(image),
            pickle.loads(pickle.dumps(image)),
            image.with_(meta={"alt": "Red"}),
        ):
            assert each.declared_variants == VARIANTS


def test_a_value_that_moves_knows_those_of_its_new_column(engine: Engine) -> None:
    """A copy in another column has the variants of that one."""
    with Session(engine) as session:
        photo = session.get_one(Photo, 1)
        assert photo.plain is not None
        photo.image, photo.plain = photo.plain, photo.image
        session.flush()
        assert photo.image is not None
        assert photo.plain is not None
        assert (photo.image.declared_variants, photo.plain.declared_variants) == (VARIANTS, {})


def test_a_variant_on_demand_is_not_made_with_the_file(engine: Engine) -> None:
    """The row has the others."""
    with Session(engine) as session:
        image = session.get_one(Photo, 1).image
        assert image is not None
        assert list(image["variants"]) == ["small"]
        assert len(image.files) == 2
