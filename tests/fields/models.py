"""More models of the transaction tests: those with constraints, versions, filters and types of values of their own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, ForeignKey, ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from depot_lite.fields.interfaces import FileFilter
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import Content
from depot_lite.manager import DepotManager
from tests.models import Base


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


def _bytes_of(content: Any) -> bytes:
    with Content.of(content).open() as file:
        return file.read()


class Preview(FileFilter):
    """Stores a second file beside each, and then refuses what is bad."""

    def on_save(self, uploaded_file: Any) -> None:
        """Store the first three bytes."""
        content = _bytes_of(uploaded_file.original_content)
        path, file_id = uploaded_file.store_content(content[:3], "preview.bin")
        uploaded_file.preview = {"path": path, "id": file_id}
        if content == b"bad":
            raise ValueError("this is bad")


class Signed(UploadedFile):
    """Stores something else than it was given, and a signature beside it."""

    __slots__ = ()

    def process_content(self, content: Any, filename: str | None = None, content_type: str | None = None) -> None:
        """Store the content in capitals, and the signature in a file of its own."""
        content = _bytes_of(content)
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
