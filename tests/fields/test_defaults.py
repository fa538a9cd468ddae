"""Columns whose ``default=`` or ``onupdate=`` makes a file: each row owns one, whatever statement wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, Integer, MetaData, String, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.errors import InvalidContent, StorageFailed
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import Size
from depot_lite.io.content import Content, FileIntent
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from tests.fields.own_tables import OwnWorld, own_world
from tests.fields.statements import table_of

outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])

#: Far from the numbers that a sequence of PostgreSQL reaches by itself.
ROW = 1_000_001


class Base(DeclarativeBase):
    """The parent of the models here."""

    metadata = MetaData()


def _named(context: Any) -> UploadedFile:
    """Return a file that is made of another column of the row that is being written."""
    return UploadedFile(f"for {context.get_current_parameters()['name']}".encode())


def _list_named(context: Any) -> list[Any]:
    name = context.get_current_parameters()["name"].encode()
    return [b"1 for " + name, UploadedFile(b"2 for " + name)]


def _make(table: str, single: Any, several: Any, **options: Any) -> type[Any]:
    """Return a class whose columns have these defaults."""
    columns = {
        "id": mapped_column(Integer, primary_key=True),
        "name": mapped_column(String(100), nullable=False, unique=True),
        "cover": mapped_column(UploadedFileField(), **dict.fromkeys(options, single)),
        "pages": mapped_column(
            UploadedFileField(multiple=True, upload_storage="archive"), **dict.fromkeys(options, several)
        ),
    }
    return type(table.title(), (Base,), {"__tablename__": table, **columns})


def _nothing(name: bytes) -> list[bytes]:
    return []


def _constant(*contents: bytes) -> Callable[[bytes], list[bytes]]:
    return lambda name: list(contents)


#: By name: the defaults of the single column and of the list, and the files of a row of that name.
GIVEN: dict[str, tuple[Any, Any, Callable[[bytes], list[bytes]]]] = {
    "bytes": (b"cover", [b"1", b"2"], _constant(b"cover", b"1", b"2")),
    "intents": (FileIntent(b"cover", "c.txt"), [FileIntent(b"1", "1.txt")], _constant(b"cover", b"1")),
    "callable bytes": (lambda: b"cover", lambda: [b"1", b"2"], _constant(b"cover", b"1", b"2")),
    "callable values": (
        lambda: UploadedFile(b"cover"),
        lambda: [UploadedFile(b"1"), UploadedFile(b"2")],
        _constant(b"cover", b"1", b"2"),
    ),
    "callable tuple": (lambda: None, lambda: (b"1", UploadedFile(b"2")), _constant(b"1", b"2")),
    "callable nothing": (lambda: None, list, _nothing),
    "of the context": (_named, _list_named, lambda name: [b"for " + name, b"1 for " + name, b"2 for " + name]),
}
WITH_DEFAULT = {
    name: (_make(f"default_{number}", cover, pages, default=True), files)
    for number, (name, (cover, pages, files)) in enumerate(GIVEN.items())
}
WITH_ONUPDATE = {
    name: (_make(f"onupdate_{number}", cover, pages, onupdate=True), files)
    for number, (name, (cover, pages, files)) in enumerate(GIVEN.items())
}
#: The value itself is the default, as nobody can write it before the depots are configured.
SHARED: list[Any] = []


def _shared() -> Any:
    return SHARED[0]


class SharedValue(Base):
    """Its default gives the same object to each row."""

    __tablename__ = "default_shared"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, default=_shared)
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True), default=lambda: [_shared()] * 2)


class Checked(Base):
    """Its default is too large for its column."""

    __tablename__ = "default_checked"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    before: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, default=lambda: b"fine")
    cover: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[Size(5)]), default=lambda: b"much too long"
    )


class Wrong(Base):
    """Its default is no file."""

    __tablename__ = "default_wrong"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    before: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, default=lambda: b"fine")
    cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, default=lambda: "no file")


class Full(Base):
    """Its default goes to a storage that is full."""

    __tablename__ = "default_full"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    before: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, default=lambda: b"fine")
    cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="full"), default=lambda: b"x")


class FullStorage(LocalFileStorage):
    """Has no room left."""

    def _save(self, file_id: str, content: Content) -> FileInfo:
        raise StorageFailed("disk full")


COLUMNS = tuple(
    f"{table.name}.{column.name}"
    for table in Base.metadata.tables.values()
    for column in table.columns
    if isinstance(column.type, UploadedFileField)
)


@pytest.fixture
def world(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[OwnWorld]:
    with own_world(engine, depots, Base.metadata, *COLUMNS) as made:
        yield made


def _end(session: Session, commit: bool) -> None:
    session.flush()
    (session.commit if commit else session.rollback)()


# --- default ----------------------------------------------------------------------------------------------------------

Insert = Callable[[Session, Any, list[str]], Any]


def _rows(names: list[str]) -> list[dict[str, Any]]:
    return [{"name": each} for each in names]


def _flush(session: Session, rows: list[Any]) -> None:
    session.add_all(rows)
    session.flush()


#: Ways to write rows of these names without a word about files.
INSERTS: dict[str, Insert] = {
    "flush": lambda session, kind, names: _flush(session, [kind(name=each) for each in names]),
    "flush with keys": lambda session, kind, names: _flush(
        session, [kind(id=ROW + n, name=each) for n, each in enumerate(names)]
    ),
    "single": lambda session, kind, names: [session.execute(insert(kind).values(name=each)) for each in names],
    "single, parameters": lambda session, kind, names: [session.execute(insert(kind), each) for each in _rows(names)],
    "executemany": lambda session, kind, names: session.execute(insert(kind), _rows(names)),
    "values": lambda session, kind, names: session.execute(insert(kind).values(_rows(names))),
    "table, single": lambda session, kind, names: [
        session.execute(insert(table_of(kind)).values(name=each)) for each in names
    ],
    "table, executemany": lambda session, kind, names: session.execute(insert(table_of(kind)), _rows(names)),
    "table, values": lambda session, kind, names: session.execute(insert(table_of(kind)).values(_rows(names))),
    "bulk_insert_mappings": lambda session, kind, names: session.bulk_insert_mappings(kind, _rows(names)),
    "bulk_insert_mappings, defaults returned": lambda session, kind, names: session.bulk_insert_mappings(
        kind, _rows(names), return_defaults=True
    ),
    "bulk_save_objects": lambda session, kind, names: session.bulk_save_objects([kind(name=each) for each in names]),
}
every_insert = pytest.mark.parametrize("write", INSERTS.values(), ids=list(INSERTS))
every_default = pytest.mark.parametrize(("kind", "files"), WITH_DEFAULT.values(), ids=list(WITH_DEFAULT))

NAMES = ["a", "b", "c"]


@every_insert
@every_default
@outcome
def test_each_row_owns_the_file_of_its_default(
    world: OwnWorld, write: Insert, kind: Any, files: Callable[[bytes], list[bytes]], commit: bool
) -> None:
    if write is INSERTS["values"] and kind is WITH_DEFAULT["of the context"][0]:
        pytest.skip("SQLAlchemy itself does not find the parameters of several rows of a mapped class")
    with world.session() as session:
        write(session, kind, NAMES)
        _end(session, commit)
    world.check(*[file for each in NAMES for file in files(each.encode())] if commit else ())


@every_insert
@outcome
@pytest.mark.parametrize("make", [lambda: UploadedFile(b"x"), lambda: b"x"], ids=["value", "bytes"])
def test_one_object_for_all_rows_becomes_a_file_for_each(
    world: OwnWorld, write: Insert, make: Callable[[], Any], commit: bool
) -> None:
    """In one transaction and in the next one, where the object has been stored long since."""
    SHARED[:] = [make()]
    with world.session() as session:
        write(session, SharedValue, NAMES)
        _end(session, commit)
    world.check(*[b"x"] * 9 if commit else ())
    with world.session() as session:
        session.add(SharedValue(id=ROW + 10, name="later"))
        session.commit()
    world.check(*[b"x"] * (12 if commit else 3))


@pytest.mark.parametrize("given", [None, b"given", UploadedFile], ids=["None", "bytes", "value"])
def test_a_default_does_not_come_where_a_value_was_given(world: OwnWorld, given: Any) -> None:
    """Its file is never made."""
    kind, _ = WITH_DEFAULT["callable values"]
    value = given(b"given") if given is UploadedFile else given
    with world.session() as session:
        session.execute(insert(kind).values(name="statement", cover=value, pages=[]))
        session.add(kind(name="flush", cover=value, pages=[]))
        session.commit()
    # SQLAlchemy takes None in an attribute for nothing given.
    world.check(*[b"cover"] if given is None else [b"given"] * 2)


@every_default
def test_the_object_holds_the_file_that_its_row_names(
    world: OwnWorld, kind: Any, files: Callable[[bytes], list[bytes]]
) -> None:
    """After the flush it is there to be read, changed, and replaced."""
    with world.session() as session:
        made = kind(name="a")
        session.add(made)
        session.flush()
        held = [made.cover] * (made.cover is not None) + list(made.pages)
        assert not any(each.pending for each in held)
        assert sorted(each.file.read() for each in held) == sorted(files(b"a"))
        made.cover = b"new"
        made.pages.append(b"page")
        session.commit()
        assert made.pages[-1].file.read() == b"page"
    expected = [each for each in files(b"a") if each not in {b"cover", b"for a"}]
    world.check(b"new", b"page", *expected)


@every_default
def test_the_list_of_a_default_goes_with_its_row(
    world: OwnWorld, kind: Any, files: Callable[[bytes], list[bytes]]
) -> None:
    with world.session() as session:
        session.execute(insert(kind), _rows(NAMES))
        session.commit()
        for each in session.scalars(select(kind)).all():
            session.delete(each)
        session.commit()
    world.check()


@every_insert
def test_what_the_database_refuses_leaves_no_default_behind(world: OwnWorld, write: Insert) -> None:
    """In a savepoint, so that the transaction goes on."""
    kind, files = WITH_DEFAULT["callable values"]
    with world.session() as session:
        session.add(kind(id=ROW + 50, name="b"))
        session.flush()
        with pytest.raises(IntegrityError), session.begin_nested():
            write(session, kind, NAMES)
        session.commit()
    world.check(*files(b"b"))


@every_insert
@pytest.mark.parametrize("release", [True, False], ids=["released", "rolled back"])
def test_a_savepoint_decides(world: OwnWorld, write: Insert, release: bool) -> None:
    kind, files = WITH_DEFAULT["callable bytes"]
    with world.session() as session:
        savepoint = session.begin_nested()
        write(session, kind, NAMES)
        savepoint.commit() if release else savepoint.rollback()
        session.commit()
    world.check(*[file for each in NAMES for file in files(each.encode())] if release else ())


@every_insert
@pytest.mark.parametrize(
    ("kind", "error"),
    [(Checked, ValueError), (Wrong, InvalidContent), (Full, StorageFailed)],
    ids=["too large", "no file", "storage full"],
)
def test_a_default_that_cannot_be_stored_raises_as_itself(
    world: OwnWorld, tmp_path: Any, write: Insert, kind: Any, error: type[Exception]
) -> None:
    """Nothing of the row is left, whichever of its columns came first."""
    DepotManager.configure("full", FullStorage(tmp_path / "full"))
    with world.session() as session:
        with pytest.raises(error) as caught:
            write(session, kind, NAMES)
        assert type(caught.value).__module__.startswith("depot_lite")
        session.rollback()
    world.check()


# --- onupdate ---------------------------------------------------------------------------------------------------------

#: Ways to rename the rows of these ids without a word about files.
Rename = Callable[[Session, Any, dict[int, str]], Any]


def _flushed(session: Session, kind: Any, names: dict[int, str]) -> None:
    for key, each in names.items():
        session.get_one(kind, key).name = each
    session.flush()


def _expired(session: Session, kind: Any, names: dict[int, str]) -> None:
    for key, each in names.items():
        row = session.get_one(kind, key)
        session.expire(row)
        row.name = each
    session.flush()


def _saved(session: Session, kind: Any, names: dict[int, str]) -> None:
    rows = [session.get_one(kind, key) for key in names]
    for row in rows:
        session.expunge(row)
        row.name = names[row.id]
    session.bulk_save_objects(rows)


def _parameters(names: dict[int, str]) -> list[dict[str, Any]]:
    return [{"id": key, "name": each} for key, each in names.items()]


UPDATES: dict[str, Rename] = {
    "flush": _flushed,
    "flush, expired": _expired,
    "statement": lambda session, kind, names: [
        session.execute(update(kind).where(kind.id == key).values(name=each)) for key, each in names.items()
    ],
    "statement on the table": lambda session, kind, names: [
        session.execute(update(table_of(kind)).where(table_of(kind).c.id == key).values(name=each))
        for key, each in names.items()
    ],
    "by primary key": lambda session, kind, names: session.execute(update(kind), _parameters(names)),
    "bulk_update_mappings": lambda session, kind, names: session.bulk_update_mappings(kind, _parameters(names)),
    "bulk_save_objects": _saved,
}
every_update = pytest.mark.parametrize("write", UPDATES.values(), ids=list(UPDATES))
every_onupdate = pytest.mark.parametrize(("kind", "files"), WITH_ONUPDATE.values(), ids=list(WITH_ONUPDATE))


def _begin(world: OwnWorld, kind: Any, *names: str) -> list[bytes]:
    """Commit rows with files of their own."""
    with world.session() as session:
        for number, each in enumerate(names):
            row = kind(id=ROW + number, name=each, cover=b"old " + each.encode(), pages=[b"old page " + each.encode()])
            session.add(row)
        session.commit()
    old = [start + each.encode() for each in names for start in (b"old ", b"old page ")]
    world.check(*old)
    return old


@every_update
@every_onupdate
@outcome
def test_the_file_of_onupdate_takes_the_place_of_the_old_one(
    world: OwnWorld, write: Rename, kind: Any, files: Callable[[bytes], list[bytes]], commit: bool
) -> None:
    """Each changed row gets its own, and its old file goes with COMMIT; a row that is left alone keeps its files."""
    old = _begin(world, kind, "a", "b", "c")
    with world.session() as session:
        write(session, kind, {ROW: "x", ROW + 1: "y"})
        _end(session, commit)
    after = [*files(b"x"), *files(b"y"), b"old c", b"old page c"]
    world.check(*after if commit else old)


def test_onupdate_does_not_come_where_a_value_was_given(world: OwnWorld) -> None:
    """The given value is written; the other column changes by itself."""
    kind, _ = WITH_ONUPDATE["callable values"]
    _begin(world, kind, "a", "b")
    with world.session() as session:
        session.execute(update(kind).where(kind.id == ROW).values(cover=b"given"))
        row = session.get_one(kind, ROW + 1)
        row.cover, row.pages = b"given too", []
        session.commit()
    world.check(b"given", b"1", b"2", b"given too")


@every_update
@pytest.mark.parametrize("release", [True, False], ids=["released", "rolled back"])
def test_a_savepoint_decides_what_onupdate_has_done(world: OwnWorld, write: Rename, release: bool) -> None:
    kind, files = WITH_ONUPDATE["callable values"]
    old = _begin(world, kind, "a")
    with world.session() as session:
        savepoint = session.begin_nested()
        write(session, kind, {ROW: "x"})
        savepoint.commit() if release else savepoint.rollback()
        session.commit()
    world.check(*files(b"x") if release else old)


@every_update
def test_onupdate_after_onupdate_keeps_the_last_file(world: OwnWorld, write: Rename) -> None:
    """In one transaction, and in two."""
    kind, files = WITH_ONUPDATE["callable bytes"]
    _begin(world, kind, "a")
    with world.session() as session:
        for each in ("x", "y"):
            write(session, kind, {ROW: each})
        session.commit()
        world.check(*files(b"y"))
        write(session, kind, {ROW: "z"})
        session.commit()
    world.check(*files(b"z"))


@every_update
def test_what_the_database_refuses_leaves_the_old_files(world: OwnWorld, write: Rename) -> None:
    kind, _ = WITH_ONUPDATE["callable values"]
    old = _begin(world, kind, "a", "b")
    with world.session() as session:
        with pytest.raises(IntegrityError), session.begin_nested():
            write(session, kind, {ROW: "b"})
        session.commit()
    world.check(*old)


@every_update
def test_the_object_holds_what_onupdate_has_written(world: OwnWorld, write: Rename) -> None:
    """At the latest when it is loaded anew; it never holds a file that is gone."""
    kind, _ = WITH_ONUPDATE["callable values"]
    _begin(world, kind, "a")
    with world.session() as session:
        row = session.get_one(kind, ROW)
        write(session, kind, {ROW: "x"})
        session.commit()
        row = session.get_one(kind, ROW)
        assert [each.file.read() for each in (row.cover, *row.pages)] == [b"cover", b"1", b"2"]
        row.pages.append(b"3")
        session.commit()
        assert row.pages
    with world.session() as session:
        # The change of the list was an UPDATE too, which gave the row another cover; the list is the one given.
        assert [each.file.read() for each in session.get_one(kind, ROW).pages] == [b"1", b"2", b"3"]
    world.check(b"cover", b"1", b"2", b"3")
