"""The models: a movie with five kinds of files."""

from __future__ import annotations

from typing import Final

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from depot_lite import Crop, Thumbnail, UploadedFile, UploadedFileField, UploadedImage
from depot_lite.fields.validators import ContentTypes, MaxCount, Size

#: The maximum size of a trailer, also in tickets for direct uploads.
TRAILER_SIZE: Final = "50 MiB"


class Base(DeclarativeBase):
    """The base class of the models."""


class Movie(Base):
    """A film with its files."""

    __tablename__ = "movie"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    year: Mapped[int] = mapped_column()
    poster: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(
            upload_type=UploadedImage,
            validators=[Size("10 MiB"), ContentTypes("image/*")],
            variants={"thumb": Thumbnail(96, 96, format="WEBP"), "large": Thumbnail(900, 900, format="WEBP")},
        )
    )
    screenshots: Mapped[list[UploadedImage]] = mapped_column(
        UploadedFileField(
            upload_type=UploadedImage,
            multiple=True,
            validators=[Size("10 MiB"), ContentTypes("image/*"), MaxCount(12)],
            variants={"thumb": Crop(160, 90, format="WEBP")},
        )
    )
    trailer: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[Size(TRAILER_SIZE), ContentTypes("video/*")])
    )
    soundtrack: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[Size("20 MiB"), ContentTypes("audio/*")])
    )
    script: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[Size("10 MiB"), ContentTypes("application/pdf", "text/plain")])
    )


class Seeding(Base):
    """The mark that the films were added, so that they do not return after a user deletes them."""

    __tablename__ = "seeding"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
