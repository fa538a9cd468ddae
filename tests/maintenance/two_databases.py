"""Models of two databases."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile


class Here(DeclarativeBase):
    """The models of one database."""


class There(DeclarativeBase):
    """The models of another."""


class Photo(Here):
    __tablename__ = "places_photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Scan(There):
    __tablename__ = "places_scan"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedFile | None] = mapped_column("picture", UploadedFileField)


class Detail(Scan):
    """In the table of its parent."""

    detail: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


#: Without a class.
ARCHIVE = Table(
    "archive", Here.metadata, Column("id", Integer, primary_key=True), Column("image", UploadedFileField), schema="main"
)
