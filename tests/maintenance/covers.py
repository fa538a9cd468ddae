"""Covers of records: images with variants, in each kind of table."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from PIL import Image
from sqlalchemy import Engine, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.columns import paths_of
from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.images.recipes import Crop, Recipe, Thumbnail
from depot_lite.io.interfaces import FileStorage
from tests.conftest import empty

Depots = dict[str, FileStorage]


FORMER: dict[str, Recipe] = {"small": Thumbnail(16, 16), "dropped": Thumbnail(8, 8)}


TODAY: dict[str, Recipe] = {"small": Thumbnail(20, 20), "square": Crop(10, 10)}


class Base(DeclarativeBase):
    """The parent of the models here."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


def images(**options: Any) -> UploadedFileField:
    return UploadedFileField(upload_type=UploadedImage, variants=FORMER, **options)


class Cover(Base):
    """One image, many images, and a file that is no image."""

    __tablename__ = "variants_cover"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    kind: Mapped[str]
    front: Mapped[UploadedImage | None] = mapped_column(images())
    pages: Mapped[FileList[UploadedImage]] = mapped_column(images(multiple=True))
    text: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "cover"}  # noqa: RUF012  # SQLAlchemy reads it


class Foldout(Cover):
    """An image in a table of its own."""

    __tablename__ = "variants_foldout"
    id: Mapped[int] = mapped_column(ForeignKey(Cover.id), primary_key=True)
    inside: Mapped[UploadedImage | None] = mapped_column(images())
    __mapper_args__ = {"polymorphic_identity": "foldout"}  # noqa: RUF012  # SQLAlchemy reads it


class Sleeve(Cover):
    """An image in the table of its parent."""

    spine: Mapped[UploadedImage | None] = mapped_column(images(), nullable=True)
    __mapper_args__ = {"polymorphic_identity": "sleeve"}  # noqa: RUF012  # SQLAlchemy reads it


COLUMNS = (Cover.front, Cover.pages, Foldout.inside, Sleeve.spine)


@contextmanager
def covers(engine: Engine) -> Iterator[Engine]:
    """Give empty tables, whose columns make their former variants."""
    Base.metadata.create_all(engine)
    recipes(FORMER)
    yield engine
    recipes(FORMER)
    empty(engine, Base.metadata)


def recipes(variants: dict[str, Recipe]) -> None:
    """Let all columns make these variants, as if the program had been changed and started anew."""
    for attribute in COLUMNS:
        kind: Any = attribute.type
        kind._variants = dict(variants)


def picture(width: int = 60, height: int = 40) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(stream, "PNG")
    return stream.getvalue()


def add(engine: Engine, *objects: Any) -> None:
    with Session(engine, expire_on_commit=False) as session:
        session.add_all(objects)
        session.commit()


def check_files(engine: Engine, depots: Depots) -> None:
    """Check that rows and depots hold exactly the same files."""
    assert named_files(engine) == stored_files(depots)


def stored_files(depots: Depots) -> set[str]:
    return {f"{name}/{file_id}" for name, depot in depots.items() for file_id in depot.list()}


def named_files(engine: Engine) -> set[str]:
    with Session(engine) as session:
        held = [
            getattr(each, key, None)
            for each in session.query(Cover)
            for key in ("front", "pages", "text", "inside", "spine")
        ]
        return {path for each in held for path in paths_of(each)}
