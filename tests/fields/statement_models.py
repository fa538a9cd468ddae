"""The models of the statement tests: constraints that stop a statement, and rows that the database removes itself."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from tests.models import Base


class Ticket(Base):
    """A row that the database refuses if there is another with its code."""

    __tablename__ = "ticket"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    scan: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


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
