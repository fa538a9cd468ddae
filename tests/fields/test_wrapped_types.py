"""Types around ours: variants for a dialect, and types of the user's that are made of `UploadedFileField`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Dialect, Engine, Integer, String, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import TypeDecorator

from depot_lite.errors import InvalidContent, SizeRefused
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import Size
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.interfaces import FileStorage
from tests.fields.images import image
from tests.fields.own_tables import OwnWorld, own_world
from tests.fields.statements import table_of
from tests.fields.values import plant, read

outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])

#: Far from the numbers that a sequence of PostgreSQL reaches by itself.
ROW = 1_000_001


class Passing(TypeDecorator[Any]):
    """A type of the user's that passes everything through."""

    impl = UploadedFileField
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Hand it on."""
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Hand it on."""
        return value


class Bare(TypeDecorator[Any]):
    """A type of the user's that only gives ours another name."""

    impl = UploadedFileField
    cache_ok = True


class Twice(TypeDecorator[Any]):
    """A type of the user's around another one of the user's."""

    impl = Passing
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Hand it on."""
        return value


class Boxed(TypeDecorator[Any]):
    """A type of the user's whose attributes show something else than our values."""

    impl = UploadedFileField
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Put it into a box."""
        return value and {"boxed": value}


class Base(DeclarativeBase):
    """The parent of the models here."""


#: By name: what makes the type of a column, given our own options.
TYPES: dict[str, Callable[..., Any]] = {
    "variant": lambda **options: UploadedFileField(**options).with_variant(
        UploadedFileField(text=True, **options), "mysql", "mariadb", "sqlite"
    ),
    "variant of text": lambda **options: UploadedFileField(text=True, **options).with_variant(
        UploadedFileField(**options), "postgresql"
    ),
    "passing": lambda **options: Passing(**options),
    "passing text": lambda **options: Passing(text=True, **options),
    "bare": lambda **options: Bare(**options),
    "twice": lambda **options: Twice(**options),
    "passing variant": lambda **options: Passing(**options).with_variant(Passing(text=True, **options), "sqlite"),
}


def _model(number: int, make: Callable[..., Any]) -> type[Any]:
    columns = {
        "id": mapped_column(Integer, primary_key=True),
        "name": mapped_column(String(100)),
        "cover": mapped_column(make(upload_storage="archive")),
        "pages": mapped_column("pages_col", make(multiple=True)),
        "small": mapped_column(make(validators=[Size(10)])),
        "photo": mapped_column(make(upload_type=UploadedImage, variants={"tiny": Thumbnail(8, 8)})),
    }
    return type(f"Wrapped{number}", (Base,), {"__tablename__": f"wrapped_type_{number}", **columns})


class Parcel(Base):
    """Shows boxes, of a file and of a list."""

    __tablename__ = "wrapped_type_boxed"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(100))
    cover: Mapped[Any | None] = mapped_column(Boxed, nullable=True)
    pages: Mapped[Any] = mapped_column("pages_col", Boxed(multiple=True), nullable=True)


MODELS = {name: _model(number, make) for number, (name, make) in enumerate(TYPES.items())}
every_model = pytest.mark.parametrize("kind", MODELS.values(), ids=list(MODELS))

COLUMNS = tuple(
    f"{name}.{column.name}"
    for name, table in Base.metadata.tables.items()
    for column in table.columns
    if column.name in {"cover", "pages_col", "small", "photo"}
)


@pytest.fixture
def world(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[OwnWorld]:
    with own_world(engine, depots, Base.metadata, *COLUMNS) as made:
        yield made


OLD = (b"cover", b"1", b"2", b"small")


def _old(world: OwnWorld, kind: Any) -> None:
    with world.session() as session:
        session.add(kind(id=ROW, name="old", cover=b"cover", pages=[b"1", b"2"], small=b"small"))
        session.commit()
    world.check(*OLD)


def _end(session: Session, commit: bool) -> None:
    session.flush()
    (session.commit if commit else session.rollback)()


@every_model
def test_a_file_is_attached_and_read_back(world: OwnWorld, depots: dict[str, FileStorage], kind: Any) -> None:
    """As values of the column's class, in the column's depot, and once as JSON."""
    _old(world, kind)
    with world.session() as session:
        row = session.get_one(kind, ROW)
        assert isinstance(row.cover, UploadedFile)
        assert row.cover.depot_name == "archive"
        assert read([row.cover, *row.pages, row.small]) == list(OLD)
        assert row.photo is None
        (cover,) = session.scalars(select(kind.cover))
        assert cover == row.cover
    for each in world.raw():
        assert set(each) >= {"path", "depot_name", "file_id", "files", "filename"}


@every_model
@outcome
def test_a_new_row(world: OwnWorld, kind: Any, commit: bool) -> None:
    with world.session() as session:
        row = kind(id=ROW, cover=UploadedFile(b"cover"), pages=[b"1"])
        assert row.cover.pending
        assert row.cover.depot_name == "archive"
        session.add(row)
        session.add(kind(id=ROW + 1))
        _end(session, commit)
        if commit:
            assert session.get_one(kind, ROW + 1).pages == []
    world.check(*(b"cover", b"1") if commit else ())


@every_model
@outcome
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
def test_files_are_replaced(world: OwnWorld, kind: Any, loaded: bool, commit: bool) -> None:
    _old(world, kind)
    with world.session() as session:
        row = session.get_one(kind, ROW)
        if not loaded:
            session.expire(row)
        row.cover, row.small = b"new", None
        row.pages = [b"3", *row.pages[1:]]
        _end(session, commit)
    world.check(*(b"new", b"3", b"2") if commit else OLD)


@every_model
@outcome
def test_a_list_is_changed(world: OwnWorld, kind: Any, commit: bool) -> None:
    _old(world, kind)
    with world.session() as session:
        pages = session.get_one(kind, ROW).pages
        pages.append(b"3")
        session.flush()
        del pages[0]
        _end(session, commit)
    world.check(*(b"cover", b"small", b"2", b"3") if commit else OLD)


@every_model
@outcome
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
def test_a_row_is_deleted(world: OwnWorld, kind: Any, loaded: bool, commit: bool) -> None:
    _old(world, kind)
    with world.session() as session:
        row = session.get_one(kind, ROW)
        if not loaded:
            session.expire(row)
        session.delete(row)
        _end(session, commit)
    world.check(*() if commit else OLD)


@every_model
def test_an_unchanged_row_is_not_written(world: OwnWorld, kind: Any, queries: list[str]) -> None:
    """Values compare as ours do, in a flush and in a merge."""
    _old(world, kind)
    with world.session() as session:
        row = session.get_one(kind, ROW)
        row.cover = row.cover  # as a form does
        row.pages = list(row.pages)
        queries.clear()
        session.flush()
        assert not [each for each in queries if each.startswith(("UPDATE", "INSERT"))]
        session.commit()
    world.check(*OLD)


@every_model
def test_another_row_gets_copies(world: OwnWorld, kind: Any) -> None:
    _old(world, kind)
    with world.session() as session:
        row = session.get_one(kind, ROW)
        session.add(kind(id=ROW + 1, cover=row.cover, pages=row.pages, small=row.small))
        session.commit()
        session.delete(row)
        session.commit()
    world.check(*OLD)


#: Statements on the old row and beside it, and the files after COMMIT.
STATEMENTS: dict[str, tuple[Callable[[Session, Any], Any], tuple[bytes, ...]]] = {
    "insert": (
        lambda session, kind: session.execute(insert(kind).values(cover=b"c", pages=[b"p"])),
        (*OLD, b"c", b"p"),
    ),
    "insert into the table": (
        lambda session, kind: session.execute(insert(table_of(kind)).values(cover=b"c", pages_col=[b"p"])),
        (*OLD, b"c", b"p"),
    ),
    "executemany": (
        lambda session, kind: session.execute(
            insert(kind), [{"cover": b"c", "pages": []}, {"cover": b"d", "pages": [b"p"]}]
        ),
        (*OLD, b"c", b"d", b"p"),
    ),
    "several rows": (
        lambda session, kind: session.execute(insert(kind).values([{"cover": b"c"}, {"cover": b"d"}])),
        (*OLD, b"c", b"d"),
    ),
    "update": (
        lambda session, kind: session.execute(update(kind).where(kind.id == ROW).values(cover=b"c", pages=[b"p"])),
        (b"c", b"p", b"small"),
    ),
    "update of the table": (
        lambda session, kind: session.execute(update(table_of(kind)).values(cover=b"c", small=None)),
        (b"c", b"1", b"2"),
    ),
    "update by primary key": (
        lambda session, kind: session.execute(update(kind), [{"id": ROW, "cover": b"c", "pages": [b"p"]}]),
        (b"c", b"p", b"small"),
    ),
    "delete": (lambda session, kind: session.execute(delete(kind).where(kind.name == "old")), ()),
    "delete from the table": (lambda session, kind: session.execute(delete(table_of(kind))), ()),
    "Query.delete": (lambda session, kind: session.query(kind).filter_by(id=ROW).delete(), ()),
    "bulk_insert_mappings": (
        lambda session, kind: session.bulk_insert_mappings(kind, [{"cover": b"c", "pages": [b"p"]}]),
        (*OLD, b"c", b"p"),
    ),
    "bulk_update_mappings": (
        lambda session, kind: session.bulk_update_mappings(kind, [{"id": ROW, "cover": b"c", "pages": [b"p"]}]),
        (b"c", b"p", b"small"),
    ),
    "bulk_save_objects": (
        lambda session, kind: session.bulk_save_objects([kind(cover=b"c", pages=[b"p"])]),
        (*OLD, b"c", b"p"),
    ),
}


@every_model
@pytest.mark.parametrize(("write", "leaves"), STATEMENTS.values(), ids=list(STATEMENTS))
@outcome
def test_statements(
    world: OwnWorld, kind: Any, write: Callable[[Session, Any], Any], leaves: tuple[bytes, ...], commit: bool
) -> None:
    _old(world, kind)
    with world.session() as session:
        write(session, kind)
        _end(session, commit)
    world.check(*leaves if commit else OLD)


@every_model
@pytest.mark.parametrize("release", [True, False], ids=["released", "rolled back"])
def test_a_savepoint(world: OwnWorld, kind: Any, release: bool) -> None:
    _old(world, kind)
    with world.session() as session:
        savepoint = session.begin_nested()
        row = session.get_one(kind, ROW)
        row.cover = b"new"
        session.flush()
        session.execute(update(kind).values(small=b"by sql"))
        savepoint.commit() if release else savepoint.rollback()
        session.commit()
        assert read([row.cover, row.small]) == ([b"new", b"by sql"] if release else [b"cover", b"small"])
    world.check(*(b"new", b"1", b"2", b"by sql") if release else OLD)


@every_model
def test_what_was_written_behind_our_back_is_owned(world: OwnWorld, kind: Any) -> None:
    """Values that did not come through the attribute."""
    with world.session() as session:
        row = kind(id=ROW)
        plant(row, cover=b"cover", pages=[b"1", UploadedFile(b"2")], small=UploadedFile(b"small"))
        session.add(row)
        session.commit()
    world.check(*OLD)


@every_model
def test_validators_and_variants_are_those_of_the_column(world: OwnWorld, kind: Any) -> None:
    data = image(20, 10)
    with world.session() as session:
        row = kind(id=ROW, photo=data)
        session.add(row)
        session.commit()
        assert isinstance(row.photo, UploadedImage)
        assert list(row.photo.variants) == ["tiny"]
        row.small = b"much too long"
        with pytest.raises(SizeRefused):
            session.flush()
        session.rollback()
        session.delete(row)
        session.commit()
    world.check()


@every_model
@pytest.mark.parametrize("value", [{"path": "default/x"}, "text", 5])
def test_what_is_no_file_is_refused_where_it_is_assigned(world: OwnWorld, kind: Any, value: Any) -> None:
    for key in ("cover", "pages"):
        with pytest.raises(InvalidContent, match=rf"\.{key}: "):
            setattr(kind(), key, value if key == "cover" else [value])


@every_model
def test_rows_are_found_by_whether_they_have_a_file(world: OwnWorld, kind: Any) -> None:
    """A missing file is NULL in the database."""
    _old(world, kind)
    with world.session() as session:
        assert session.scalars(select(kind.id).where(kind.cover.is_not(None))).all() == [ROW]
        assert session.scalars(select(kind.id).where(kind.photo.is_(None))).all() == [ROW]


@every_model
def test_text_and_json_are_stored_as_such(world: OwnWorld, kind: Any, engine: Engine) -> None:
    """Never JSON within JSON: the text in the row is the reference itself."""
    _old(world, kind)
    with engine.connect() as connection:
        for name in ("cover", "pages_col"):
            (found,) = connection.exec_driver_sql(f"SELECT {name} FROM {kind.__tablename__}").one()
            data = json.loads(found) if isinstance(found, str) else found
            assert isinstance(data, dict if name == "cover" else list)


# --- attributes that differ from their rows -----------------------------------------------------------------------


def _parcel(session: Session) -> Any:
    return session.get_one(Parcel, ROW)


#: Changes of the parcel, and the files after COMMIT.
BOXED: dict[str, tuple[Callable[[Session], Any], tuple[bytes, ...]]] = {
    "insert": (lambda session: session.add(Parcel(id=ROW + 1, cover=UploadedFile(b"new"))), (b"cover", b"1", b"new")),
    "insert by a statement": (
        lambda session: session.execute(insert(Parcel).values(id=ROW + 1, pages=[b"new"])),
        (b"cover", b"1", b"new"),
    ),
    "replace": (lambda session: setattr(_parcel(session), "cover", UploadedFile(b"new")), (b"new", b"1")),
    "replace a list": (lambda session: setattr(_parcel(session), "pages", [b"new"]), (b"cover", b"new")),
    "update": (lambda session: session.execute(update(Parcel).values(cover=b"new")), (b"new", b"1")),
    "bulk": (
        lambda session: session.bulk_update_mappings(Parcel.__mapper__, [{"id": ROW, "cover": b"new"}]),
        (b"new", b"1"),
    ),
    "delete": (lambda session: session.delete(_parcel(session)), ()),
    "delete by a statement": (lambda session: session.execute(delete(Parcel)), ()),
}
boxed = pytest.mark.parametrize(("does", "leaves"), BOXED.values(), ids=BOXED)


def _begin_boxed(world: OwnWorld) -> None:
    with world.session() as session:
        session.add(Parcel(id=ROW, cover=UploadedFile(b"cover"), pages=[b"1"]))
        session.commit()


@boxed
@outcome
def test_a_type_that_shows_something_else(
    world: OwnWorld, does: Callable[[Session], Any], leaves: tuple[bytes, ...], commit: bool
) -> None:
    """Rows are read as they are stored."""
    _begin_boxed(world)
    with world.session() as session:
        does(session)
        _end(session, commit)
    world.check(*leaves if commit else (b"cover", b"1"))


@boxed
@pytest.mark.parametrize("savepoint", [True, False])
def test_a_type_that_shows_something_else_after_an_error(
    world: OwnWorld, does: Callable[[Session], Any], leaves: tuple[bytes, ...], savepoint: bool
) -> None:
    """After an error the new files are asked about, too; after a rolled-back savepoint the old ones."""
    _begin_boxed(world)
    with world.session() as session:
        if savepoint:
            with session.begin_nested() as inner:
                does(session)
                session.flush()
                inner.rollback()
        else:
            does(session)
            session.flush()
            with pytest.raises(DBAPIError):
                session.execute(text("nonsense"))
        session.commit()
    kept = not savepoint and world.engine.dialect.name != "postgresql"
    world.check(*leaves if kept else (b"cover", b"1"))


def test_a_reference_that_cannot_be_read_keeps_what_is_asked_about(
    world: OwnWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the row holds may be a name of the file."""
    _begin_boxed(world)
    with world.session() as session:
        before = world.stored()
        _parcel(session).cover = UploadedFile(b"new")
        session.flush()
        session.execute(text("UPDATE wrapped_type_boxed SET cover = '{}'"))
        session.commit()
    assert before < world.stored()
    assert "cannot be read" in caplog.text
    with world.session() as session:
        session.execute(text("DELETE FROM wrapped_type_boxed"))
        session.commit()
