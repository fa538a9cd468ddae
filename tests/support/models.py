"""The models of the tests: one of each way in which a class can have a file.

A model that one module alone needs is in that module. The sites of the admins and the command's shop are applications
with models of their own.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import Dialect, ForeignKey, ForeignKeyConstraint, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, composite, deferred, mapped_column, relationship

from depot_lite.fields.interfaces import FileFilter
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.manager import DepotManager
from tests.support.streams import bytes_of


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


# --- constraints, versions, filters and types of values ---------------------------------------------------------------


class Account(Base):
    """A row that the database refuses if there is another with its code."""

    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    photo: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


def _can_defer(*args: object, dialect: Dialect, **_: object) -> bool:
    return dialect.name in {"sqlite", "postgresql"}


class Booking(Base):
    """A row that the database refuses at COMMIT if its folder does not exist (MariaDB never does)."""

    __tablename__ = "booking"
    id: Mapped[int] = mapped_column(primary_key=True)
    folder_id: Mapped[int | None]
    ticket: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __table_args__ = (
        ForeignKeyConstraint(["folder_id"], ["folder.id"], deferrable=True, initially="DEFERRED").ddl_if(
            callable_=_can_defer
        ),
    )


class Parcel(Base):
    """A row that counts its versions."""

    __tablename__ = "parcel"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    label: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # as SQLAlchemy declares it


class Preview(FileFilter):
    """Stores a second file beside each, and then refuses bad content."""

    def on_save(self, uploaded_file: Any) -> None:
        """Store the first three bytes."""
        content = bytes_of(uploaded_file.original_content)
        path, file_id = uploaded_file.store_content(content[:3], "preview.bin")
        uploaded_file.preview = {"path": path, "id": file_id}
        if content == b"bad":
            raise ValueError("this is bad")


class Signed(UploadedFile):
    """Stores something else than it was given, and a signature beside it."""

    __slots__ = ()

    def process_content(self, content: Any, filename: str | None = None, content_type: str | None = None) -> None:
        """Store the content in capitals, and the signature in a file of its own."""
        content = bytes_of(content)
        super().process_content(content.upper(), filename, content_type)
        self.signature_path, _ = self.store_content(b"signed: " + content, "signature.txt")
        if content == b"bad":
            raise ValueError("this is bad")

    @property
    def signature(self) -> bytes:
        """The bytes of the signature."""
        with DepotManager.get_file(self["signature_path"]) as stored:
            return stored.read()


class Album(Base):
    """Columns with filters, with a type of values of their own, and with both."""

    __tablename__ = "album"
    id: Mapped[int] = mapped_column(primary_key=True)
    cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(filters=[Preview()]))
    letter: Mapped[Signed | None] = mapped_column(UploadedFileField(upload_type=Signed))
    second: Mapped[Signed | None] = mapped_column(UploadedFileField(upload_type=Signed, upload_storage="archive"))
    plain: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Movie(Base):
    """One file and two lists of files, one of them in another depot and with a second file beside each."""

    __tablename__ = "movie"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    poster: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    screenshots: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    extras: Mapped[list[Signed]] = mapped_column(
        UploadedFileField(upload_type=Signed, upload_storage="archive", multiple=True)
    )


class Person(Base):
    """Has a passport that lives and dies with it, and papers that go when they are taken away."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    passport: Mapped[Passport | None] = relationship(
        back_populates="person", cascade="all, delete-orphan", single_parent=True
    )


class Passport(Base):
    """One to one, with a file."""

    __tablename__ = "passport"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    person: Mapped[Person | None] = relationship(back_populates="passport")
    scan: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


# --- rows that the database removes itself ----------------------------------------------------------------------------


class Shelf(Base):
    """Has no file itself; the database removes its boxes with it."""

    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True)
    boxes: Mapped[list[Box]] = relationship(back_populates="shelf", cascade="all, delete-orphan", passive_deletes=True)


class Box(Base):
    """Has no file either; the database removes its items with it."""

    __tablename__ = "box"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelf.id", ondelete="CASCADE"))
    shelf: Mapped[Shelf | None] = relationship(back_populates="boxes")


class Item(Base):
    """A row at the end of two cascades."""

    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[int | None] = mapped_column(ForeignKey("box.id", ondelete="CASCADE"))
    photo: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Note(Base):
    """A row that stays when its box goes."""

    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[int | None] = mapped_column(ForeignKey("box.id", ondelete="SET NULL"))
    sketch: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Comment(Base):
    """A row that falls with the one that it answers, and with it all that answer it."""

    __tablename__ = "comment"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("comment.id", ondelete="CASCADE"))
    picture: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Plain(Base):
    """A row with no file near it."""

    __tablename__ = "plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
