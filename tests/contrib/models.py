"""The model that SQLAdmin and Flask-Admin are shown with, and the files that it takes and refuses."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from PIL import Image
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from depot_lite.fields.analyzers import AudioTags, Duration
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import ContentTypes, MaxCount, Size
from depot_lite.images.recipes import Thumbnail

SVG: Final = b'<svg xmlns="http://www.w3.org/2000/svg"><script>document.title = "it ran"</script></svg>'


class Base(DeclarativeBase):
    """The parent of the models here."""


#: How often each name was looked at that the flush is to refuse, though it was fine when the form was checked.
_LOOKS: Final[dict[str, int]] = {}


@contextmanager
def refused_late(name: str) -> Iterator[None]:
    """Let the column of scripts refuse a file by this name at the second look."""
    _LOOKS[name] = 0
    yield
    assert _LOOKS.pop(name) == 2


def _late(candidate: Any) -> None:
    if candidate.filename in _LOOKS:
        _LOOKS[candidate.filename] += 1
        if _LOOKS[candidate.filename] > 1:
            raise ValueError("is refused late")


class Movie(Base):
    """With an image, several images, and whatever else."""

    __tablename__ = "movie"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(20))
    poster: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(
            upload_type=UploadedImage,
            variants={"small": Thumbnail(64, 64, format="PNG")},
            validators=[Size("20 KiB"), ContentTypes("image/*")],
        )
    )
    screenshots: Mapped[list[UploadedFile]] = mapped_column(
        UploadedFileField(multiple=True, validators=[ContentTypes("image/*"), MaxCount(4)])
    )
    script: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[_late], analyzers=[Duration(), AudioTags()])
    )


class Ticket(Base):
    """Has to have a file."""

    __tablename__ = "ticket"
    id: Mapped[int] = mapped_column(primary_key=True)
    scan: Mapped[UploadedFile] = mapped_column(UploadedFileField)


class Folder(Base):
    """Has pages that are edited in its form."""

    __tablename__ = "folder"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    pages: Mapped[list[Page]] = relationship(back_populates="folder", cascade="all, delete-orphan")


class Page(Base):
    """A page of a folder."""

    __tablename__ = "page"
    id: Mapped[int] = mapped_column(primary_key=True)
    folder_id: Mapped[int] = mapped_column(ForeignKey("folder.id"))
    folder: Mapped[Folder] = relationship(back_populates="pages")
    scan: Mapped[UploadedFile] = mapped_column(UploadedFileField(validators=[ContentTypes("image/*")]))


def picture(colour: str = "red", size: int = 100) -> bytes:
    """Return a PNG."""
    made = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(made, "PNG")
    return made.getvalue()
