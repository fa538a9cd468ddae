"""The model of the application that the command works for, here and in its process."""

from __future__ import annotations

import os

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from depot_lite.fields.analyzers import Duration, PdfPages
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.images.recipes import Thumbnail

#: A new recipe, for the process whose environment says so.
WIDTH = int(os.environ.get("SHOP_WIDTH", "16"))
#: A variant of another name, for such a process.
NEW = {"new": Thumbnail(4, 4, make="later")} if "SHOP_NEW" in os.environ else {}


#: Analyzers, for such a process.
ANALYZERS = [PdfPages(), Duration()] if "SHOP_ANALYZERS" in os.environ else []


class Base(DeclarativeBase):
    """The parent of the model."""


class Product(Base):
    """A file, and an image with a variant."""

    __tablename__ = "shop_product"
    id: Mapped[int] = mapped_column(primary_key=True)
    manual: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(analyzers=ANALYZERS))
    photo: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"small": Thumbnail(WIDTH, WIDTH), **NEW})
    )
