"""The models of the transaction tests: one of each way in which a class can have a file."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import ForeignKey, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, composite, deferred, mapped_column, relationship

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile


class Base(DeclarativeBase):
    """The parent of every model here; strings have a length, because MariaDB wants one."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


class Document(Base):
    """Two file columns, one of them in a depot of its own."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    report: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="archive"))


class Folder(Base):
    """Has pages that are deleted with it, or when they are taken out of it."""

    __tablename__ = "folder"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    pages: Mapped[list[Page]] = relationship(back_populates="folder", cascade="all, delete-orphan")


class Page(Base):
    """A row that lives in a folder."""

    __tablename__ = "page"
    id: Mapped[int] = mapped_column(primary_key=True)
    folder_id: Mapped[int | None] = mapped_column(ForeignKey("folder.id"))
    folder: Mapped[Folder | None] = relationship(back_populates="pages")
    scan: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Employee(Base):
    """Single table inheritance."""

    __tablename__ = "employee"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    photo: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}  # noqa: RUF012  # SQLAlchemy reads it


class Manager(Employee):
    """Has a file of its own in the same table."""

    contract: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, nullable=True)
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012  # SQLAlchemy reads it


class Vehicle(Base):
    """Joined table inheritance."""

    __tablename__ = "vehicle"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    picture: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}  # noqa: RUF012  # SQLAlchemy reads it


class Truck(Vehicle):
    """Has a file in its own table."""

    __tablename__ = "truck"
    id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)
    manual: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"polymorphic_identity": "truck"}  # noqa: RUF012  # SQLAlchemy reads it


class WithAttachment:
    """A mixin that brings a file column along."""

    attachment: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Letter(WithAttachment, Base):
    """Concrete inheritance begins here."""

    __tablename__ = "letter"
    id: Mapped[int] = mapped_column(primary_key=True)


class ExpressLetter(Letter):
    """Concrete table inheritance: a table with all columns of its own."""

    __tablename__ = "express_letter"
    id: Mapped[int] = mapped_column(primary_key=True)
    attachment: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"concrete": True}  # noqa: RUF012  # SQLAlchemy reads it


class Invoice(WithAttachment, Base):
    """A second class with the mixin's column."""

    __tablename__ = "invoice"
    id: Mapped[int] = mapped_column(primary_key=True)


class Captioned:
    """The value of a composite attribute: a file and its caption."""

    def __init__(self, image: UploadedFile | None, caption: str | None) -> None:
        self.image = image
        self.caption = caption

    def __composite_values__(self) -> tuple[UploadedFile | None, str | None]:
        return self.image, self.caption

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Captioned) and self.__composite_values__() == other.__composite_values__()

    __hash__ = None  # type: ignore[assignment]  # as the file it holds


class Plate(Base):
    """A composite attribute, a column with another name than its attribute, and a deferred one."""

    __tablename__ = "plate"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    part: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    image: Mapped[UploadedFile | None] = mapped_column("image_col", UploadedFileField)
    caption: Mapped[str | None] = mapped_column("caption_col")
    captioned: Mapped[Captioned] = composite(Captioned, "image", "caption")
    original: Mapped[UploadedFile | None] = deferred(mapped_column("original_col", UploadedFileField(text=True)))
