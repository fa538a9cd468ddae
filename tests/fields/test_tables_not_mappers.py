"""The row decides, not the class that reaches it: bases without a file column, second mappers, tables, RETURNING."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import ForeignKey, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.statements import add, changed, table_of
from tests.support.models import Base, Document

outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])


class Entry(Base):
    """The base of a single table; it has no file column itself."""

    __tablename__ = "entry"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str | None]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "entry"}  # noqa: RUF012  # SQLAlchemy reads it


class PhotoEntry(Entry):
    """The first level with a file."""

    photo: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, nullable=True)
    __mapper_args__ = {"polymorphic_identity": "photo"}  # noqa: RUF012  # SQLAlchemy reads it


class PlainPhotoEntry(PhotoEntry):
    """A level that adds nothing."""

    __mapper_args__ = {"polymorphic_identity": "plain photo"}  # noqa: RUF012  # SQLAlchemy reads it


class FramedPhotoEntry(PlainPhotoEntry):
    """The second file, three levels below the base."""

    frame: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, nullable=True)
    __mapper_args__ = {"polymorphic_identity": "framed photo"}  # noqa: RUF012  # SQLAlchemy reads it


class NoteEntry(Entry):
    """A sister with no file."""

    __mapper_args__ = {"polymorphic_identity": "note"}  # noqa: RUF012  # SQLAlchemy reads it


def entries(world: World) -> None:
    """Commit one of each level; the names say which."""
    add(
        world,
        Entry(id=1, name="entry"),
        PhotoEntry(id=2, name="photo", photo=b"photo"),
        PlainPhotoEntry(id=3, name="plain", photo=b"plain"),
        FramedPhotoEntry(id=4, name="framed", photo=b"framed", frame=b"frame"),
        NoteEntry(id=5, name="note"),
    )


ENTRIES = (b"photo", b"plain", b"framed", b"frame")
#: Changes, the class that they go through, and the files that are left.
THROUGH: dict[str, tuple[Callable[[Session], object], tuple[bytes, ...]]] = {
    "delete(base)": (lambda session: session.execute(delete(Entry)), ()),
    "delete(base) with a condition": (
        lambda session: session.execute(delete(Entry).where(Entry.name == "framed")),
        (b"photo", b"plain"),
    ),
    "delete(base) of one class": (
        lambda session: session.execute(delete(Entry).where(Entry.kind == "plain photo")),
        (b"photo", b"framed", b"frame"),
    ),
    "delete(middle)": (lambda session: session.execute(delete(PhotoEntry)), ()),
    "delete(third level)": (lambda session: session.execute(delete(PlainPhotoEntry)), (b"photo",)),
    "delete(lowest)": (lambda session: session.execute(delete(FramedPhotoEntry)), (b"photo", b"plain")),
    "delete(sister)": (lambda session: session.execute(delete(NoteEntry)), ENTRIES),
    "delete(table)": (lambda session: session.execute(delete(table_of(Entry))), ()),
    "Query(base).delete": (lambda session: session.query(Entry).delete(), ()),
    "Query(base).filter.delete": (
        lambda session: session.query(Entry).filter(Entry.id > 2).delete(synchronize_session="fetch"),
        (b"photo",),
    ),
    "Query(middle).delete": (
        lambda session: session.query(PlainPhotoEntry).delete(synchronize_session=False),
        (b"photo",),
    ),
    "update(base) of another column": (lambda session: session.execute(update(Entry).values(name="x")), ENTRIES),
    "update(middle)": (
        lambda session: session.execute(update(PhotoEntry).values(photo=b"new")),
        (b"new",) * 3 + (b"frame",),
    ),
    "update(lowest) of the column of a level above": (
        lambda session: session.execute(update(FramedPhotoEntry).values(photo=None)),
        (b"photo", b"plain", b"frame"),
    ),
    "update(base) of a subclass's column": (
        lambda session: session.execute(
            update(Entry)
            .where(Entry.id == 2)
            .values({PhotoEntry.photo: b"new"})
            .execution_options(synchronize_session=False)
        ),
        (b"new", b"plain", b"framed", b"frame"),
    ),
    "update(table)": (
        lambda session: session.execute(
            update(table_of(Entry)).where(table_of(Entry).c.id == 4).values(photo=b"new", frame=None)
        ),
        (b"photo", b"plain", b"new"),
    ),
    "update(base) of the class": (
        lambda session: session.execute(update(Entry).where(Entry.id == 4).values(kind="photo")),
        ENTRIES,
    ),
    "objects of the base deleted": (
        lambda session: list(map(session.delete, session.scalars(select(Entry).order_by(Entry.id)).all())),
        (),
    ),
}


@pytest.mark.parametrize("name", THROUGH)
@outcome
def test_a_single_table_hierarchy_through_each_of_its_classes(world: World, name: str, commit: bool) -> None:
    """A statement reaches rows of every class below, and their file columns, which its own class does not have."""
    done, left = THROUGH[name]
    entries(world)
    with world.session() as session:
        done(session)
        (session.commit if commit else session.rollback)()
    world.check(*(left if commit else ENTRIES))


def test_a_statement_through_the_base_beside_loaded_objects(world: World) -> None:
    """They are in the session, with their files, when the statement deletes their rows."""
    entries(world)
    with world.session() as session:
        loaded = session.scalars(select(Entry)).all()
        assert len(loaded) == 5
        loaded[1].name = "changed"
        session.execute(delete(Entry).where(Entry.id.in_([2, 4])))
        session.commit()
    world.check(b"plain")


def test_a_row_whose_file_belongs_to_a_class_that_it_left(world: World) -> None:
    """The discriminator was changed by a statement: the class of the object does not know the column any more."""
    entries(world)
    with world.session() as session:
        session.execute(update(Entry).where(Entry.id == 4).values(kind="note"))
        session.commit()
        session.delete(session.get_one(Entry, 4))
        session.commit()
    world.check(b"photo", b"plain")


# --- joined tables ----------------------------------------------------------------------------------------------------


class Asset(Base):
    """The base of joined tables, without a file; the database deletes the rows of the others with its own."""

    __tablename__ = "asset"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("asset_owner.id", ondelete="CASCADE"))
    kind: Mapped[str]
    name: Mapped[str | None]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "asset"}  # noqa: RUF012  # SQLAlchemy reads it


class ImageAsset(Asset):
    """A file in a table of its own."""

    __tablename__ = "image_asset"
    id: Mapped[int] = mapped_column(ForeignKey("asset.id", ondelete="CASCADE"), primary_key=True)
    image: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"polymorphic_identity": "image"}  # noqa: RUF012  # SQLAlchemy reads it


class PosterAsset(ImageAsset):
    """A list of files in a third table."""

    __tablename__ = "poster_asset"
    id: Mapped[int] = mapped_column(ForeignKey("image_asset.id", ondelete="CASCADE"), primary_key=True)
    prints: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    __mapper_args__ = {"polymorphic_identity": "poster"}  # noqa: RUF012  # SQLAlchemy reads it


class AssetOwner(Base):
    """Deletes its assets with it; it has no file itself."""

    __tablename__ = "asset_owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    assets: Mapped[list[Asset]] = relationship(cascade="all, delete-orphan")


def assets(world: World) -> None:
    """Commit an owner of one asset of each level."""
    owned = [
        Asset(id=1, name="asset"),
        ImageAsset(id=2, name="image", image=b"image"),
        PosterAsset(id=3, name="poster", image=b"poster", prints=[b"print 1", b"print 2"]),
    ]
    add(world, AssetOwner(id=1, assets=owned))


def _taken(session: Session) -> None:
    owner = session.get_one(AssetOwner, 1)
    owner.assets.remove(session.get_one(PosterAsset, 3))
    session.flush()


ASSETS = (b"image", b"poster", b"print 1", b"print 2")
JOINED: dict[str, tuple[Callable[[Session], object], tuple[bytes, ...]]] = {
    "objects deleted": (lambda session: list(map(session.delete, session.scalars(select(Asset)).all())), ()),
    "the owner deleted": (lambda session: session.delete(session.get_one(AssetOwner, 1)), ()),
    "an asset taken from its owner": (_taken, (b"image",)),
    "delete(base)": (lambda session: session.execute(delete(Asset)), ()),
    "delete(base) with a condition": (
        lambda session: session.execute(delete(Asset).where(Asset.name == "poster")),
        (b"image",),
    ),
    "delete(table of the base)": (lambda session: session.execute(delete(table_of(Asset))), ()),
    "Query(base).delete": (lambda session: session.query(Asset).filter(Asset.id == 2).delete(), ASSETS[1:]),
    "update(base) of another column": (lambda session: session.execute(update(Asset).values(name="x")), ASSETS),
    "update(table of the middle)": (
        lambda session: session.execute(update(table_of(ImageAsset)).values(image=b"new")),
        (b"new", b"new", b"print 1", b"print 2"),
    ),
}


@pytest.mark.parametrize("name", JOINED)
@outcome
def test_joined_tables_through_their_base(world: World, name: str, commit: bool) -> None:
    """Rows of the tables below go with those of the base, by SQLAlchemy or by the database, and so do their files."""
    done, left = JOINED[name]
    assets(world)
    with world.session() as session:
        done(session)
        (session.commit if commit else session.rollback)()
    world.check(*(left if commit else ASSETS))


# --- a second mapper on the same table --------------------------------------------------------------------------------


class Sheet(Base):
    """The class that knows all columns."""

    __tablename__ = "sheet"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    scan: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))


class SheetName(Base):
    """The same rows without their files, as lists and indexes want them."""

    __table__ = table_of(Sheet)
    __mapper_args__ = {"include_properties": ["id", "name"]}  # noqa: RUF012  # SQLAlchemy reads it
    if TYPE_CHECKING:
        id: Any
        name: Any


SHEETS = (b"scan 1", b"page 1", b"scan 2", b"page 2")
SECOND: dict[str, tuple[Callable[[Session], object], tuple[bytes, ...]]] = {
    "object deleted": (lambda session: session.delete(session.get_one(SheetName, 1)), SHEETS[2:]),
    "objects deleted": (lambda session: list(map(session.delete, session.scalars(select(SheetName)).all())), ()),
    "object changed": (lambda session: setattr(session.get_one(SheetName, 1), "name", "x"), SHEETS),
    "key changed": (lambda session: setattr(session.get_one(SheetName, 1), "id", 7), SHEETS),
    "delete": (lambda session: session.execute(delete(SheetName)), ()),
    "delete with a condition": (
        lambda session: session.execute(delete(SheetName).where(SheetName.id == 2)),
        SHEETS[:2],
    ),
    "Query.delete": (lambda session: session.query(SheetName).filter(SheetName.name == "1").delete(), SHEETS[2:]),
    "update": (lambda session: session.execute(update(SheetName).values(name="x")), SHEETS),
    "bulk_update_mappings": (lambda session: session.bulk_update_mappings(SheetName, [{"id": 1, "name": "x"}]), SHEETS),
}


@pytest.mark.parametrize("name", SECOND)
@outcome
def test_a_second_mapper_without_the_file_columns(world: World, name: str, commit: bool) -> None:
    """What happens to a row through a class that knows no file happens to its files."""
    done, left = SECOND[name]
    add(world, *(Sheet(id=each, name=f"{each}", scan=b"scan %d" % each, pages=[b"page %d" % each]) for each in (1, 2)))
    with world.session() as session:
        done(session)
        session.flush()
        (session.commit if commit else session.rollback)()
    world.check(*(left if commit else SHEETS))


def test_both_mappers_in_one_flush(world: World) -> None:
    """One class replaces the file of a row, the other deletes another row, and renames a third."""
    add(world, *(Sheet(id=each, scan=b"%d" % each) for each in (1, 2, 3)))
    with world.session() as session:
        session.get_one(Sheet, 1).scan = UploadedFile(b"new")
        session.delete(session.get_one(SheetName, 2))
        session.get_one(SheetName, 3).name = "x"
        session.commit()
    world.check(b"new", b"3")


def test_one_row_through_both_mappers(world: World) -> None:
    """It gets a file through one class and is deleted through the other, in one transaction."""
    add(world, Sheet(id=1, scan=b"old"))
    with world.session() as session:
        session.get_one(Sheet, 1).scan = UploadedFile(b"new")
        session.flush()
        session.execute(delete(SheetName).where(SheetName.id == 1))
        session.commit()
    world.check()


# --- RETURNING --------------------------------------------------------------------------------------------------------


def _all(result: Any) -> None:
    assert len(result.all()) == 2


def _first(result: Any) -> None:
    assert result.first() is not None


def _one_of_them(result: Any) -> None:
    assert result.fetchone() is not None


def _nothing(result: Any) -> None:
    """The rows are not looked at."""


def _closed(result: Any) -> None:
    result.close()


def _scalars(result: Any) -> None:
    assert next(iter(result.scalars())) is not None


FETCHES = [_all, _first, _one_of_them, _nothing, _closed, _scalars]
RETURNED: dict[str, Callable[[Any], Any]] = {
    "column": lambda statement: statement.returning(Document.id),
    "file": lambda statement: statement.returning(Document.content),
    "entity": lambda statement: statement.returning(Document),
}


@pytest.mark.parametrize("kind", ["delete", "update"])
@pytest.mark.parametrize("returned", RETURNED)
@pytest.mark.parametrize("fetch", FETCHES)
@outcome
def test_returning_however_many_rows_are_fetched(
    world: World, kind: str, returned: str, fetch: Callable[[Any], None], commit: bool
) -> None:
    """The database has done all of it, whether anybody reads its result or not."""
    dialect = world.engine.dialect
    if not (dialect.delete_returning if kind == "delete" else dialect.update_returning):
        pytest.skip("the database has no RETURNING here")
    add(world, *(Document(id=each, content=b"%d" % each) for each in (1, 2, 3)))
    statement: Any = delete(Document) if kind == "delete" else update(Document).values(content=b"new")
    statement = RETURNED[returned](statement.where(Document.id < 3))
    with world.session() as session:
        fetch(session.execute(statement))
        (session.commit if commit else session.rollback)()
    after = (b"3",) if kind == "delete" else (b"new", b"new", b"3")
    world.check(*(after if commit else (b"1", b"2", b"3")))


def test_a_delete_through_the_base_that_returns(world: World) -> None:
    if not world.engine.dialect.delete_returning:
        pytest.skip("the database has no RETURNING here")
    entries(world)
    with world.session() as session:
        ids = session.scalars(delete(Entry).where(Entry.id > 2).returning(Entry.id)).all()
        assert sorted(ids) == [3, 4, 5]
        session.commit()
    world.check(b"photo")


def test_deletes_are_counted_as_without_files(world: World) -> None:
    """The rowcount is that of the statement, through whichever class."""
    entries(world)
    with world.session() as session:
        assert changed(session.execute(delete(PlainPhotoEntry))) == 2
        assert changed(session.execute(delete(Entry))) == 3
        session.commit()
    world.check()
