"""File columns that come late or by another road: added to a configured class, reflected, automapped, imperative."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.ext.declarative import DeferredReflection
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Mapper,
    Session,
    attributes,
    column_property,
    mapped_column,
    registry,
)

from depot_lite.errors import InvalidContent
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from tests.conftest import empty
from tests.fields.own_tables import OwnWorld
from tests.fields.statements import table_of

outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])

#: Far from the numbers that a sequence of PostgreSQL reaches by itself.
ROW = 1_000_001


class Base(DeclarativeBase):
    """The parent of the classes that get columns after they were configured."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


class User(Base):
    """Has no file as long as no plugin brings one."""

    __tablename__ = "late_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "user"}  # noqa: RUF012  # SQLAlchemy reads it


class Admin(User):
    """Single table inheritance: the late columns of its parent are its own."""

    __mapper_args__ = {"polymorphic_identity": "admin"}  # noqa: RUF012  # SQLAlchemy reads it


class Member(User):
    """Joined table inheritance, with a file from the beginning."""

    __tablename__ = "late_member"
    id: Mapped[int] = mapped_column(ForeignKey("late_user.id"), primary_key=True)
    card: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"polymorphic_identity": "member"}  # noqa: RUF012  # SQLAlchemy reads it


class Early(Base):
    """Has a file from the beginning, and gets more of them."""

    __tablename__ = "late_early"
    id: Mapped[int] = mapped_column(primary_key=True)
    cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Property(Base):
    """Gets its columns by ``add_property``."""

    __tablename__ = "late_property"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str | None]


Base.registry.configure()
assigned: Any = User
assigned.cover = mapped_column(UploadedFileField)
assigned.pages = mapped_column(UploadedFileField(multiple=True))
assigned = Early
assigned.second = mapped_column("second_col", UploadedFileField(upload_storage="archive"))
assigned.pages = mapped_column(UploadedFileField(multiple=True))
table = table_of(Property)
for name, made in (
    ("cover", Column("cover", UploadedFileField)),
    ("pages", Column("pages_col", UploadedFileField(multiple=True), nullable=False)),
):
    table.append_column(made)
    Property.__mapper__.add_property(name, column_property(made) if name == "pages" else made)


class Younger(User):
    """A subclass that is made when the late columns are there already."""

    __mapper_args__ = {"polymorphic_identity": "younger"}  # noqa: RUF012  # SQLAlchemy reads it


class Article:
    """Mapped imperatively."""

    def __init__(self, **values: Any) -> None:
        for key, value in values.items():
            setattr(self, key, value)


class LateArticle(Article):
    """Mapped imperatively; its file columns come later."""


articles = registry()
article_table = Table(
    "imperative_article",
    articles.metadata,
    Column("id", Integer, primary_key=True),
    Column("cover_col", UploadedFileField),
    Column("pages", UploadedFileField(multiple=True)),
)
late_article_table = Table(
    "imperative_late_article",
    articles.metadata,
    Column("id", Integer, primary_key=True),
    Column("cover_col", UploadedFileField),
    Column("pages", UploadedFileField(multiple=True)),
)
articles.map_imperatively(Article, article_table, properties={"cover": article_table.c.cover_col})
late_mapper: Mapper[Any] = articles.map_imperatively(LateArticle, late_article_table, include_properties=["id"])
articles.configure()
late_mapper.add_property("cover", late_article_table.c.cover_col)
late_mapper.add_property("pages", late_article_table.c.pages)


# --- classes that are made from tables of the database ----------------------------------------------------------------


#: The table as another application has made it.
EXISTING = MetaData()
Table(
    "found_report",
    EXISTING,
    Column("id", Integer, primary_key=True),
    Column("title", String(100)),
    Column("cover", UploadedFileField(text=True)),
    Column("pages", UploadedFileField(multiple=True)),
)


def _reflected(engine: Engine) -> type[Any]:
    class Reflecting(DeclarativeBase):
        pass

    class Report(Reflecting):
        __table__ = Table(
            "found_report",
            Reflecting.metadata,
            Column("cover", UploadedFileField(text=True)),
            Column("pages", UploadedFileField(multiple=True)),
            autoload_with=engine,
        )

    return Report


def _deferred(engine: Engine) -> type[Any]:
    class Reflecting(DeclarativeBase):
        pass

    class Report(DeferredReflection, Reflecting):
        __tablename__ = "found_report"
        cover = mapped_column(UploadedFileField(text=True))
        pages = mapped_column(UploadedFileField(multiple=True))

    Report.prepare(engine)
    return Report


def _automapped(engine: Engine) -> type[Any]:
    automapping: Any = automap_base()

    class Report(automapping):  # type: ignore[misc]  # made at run time
        __tablename__ = "found_report"
        cover: Any = Column(UploadedFileField(text=True))
        pages: Any = Column(UploadedFileField(multiple=True))

    # Of that table alone: the classes of others would refer to each other, and outlive their registry by halves.
    automapping.prepare(autoload_with=engine, reflection_options={"only": ["found_report"]})
    return Report


def _automapped_of_tables(engine: Engine) -> type[Any]:
    metadata = MetaData()
    Table(
        "found_report",
        metadata,
        Column("cover", UploadedFileField(text=True)),
        Column("pages", UploadedFileField(multiple=True)),
        autoload_with=engine,
    )
    automapping: Any = automap_base(metadata=metadata)
    automapping.prepare()
    found: type[Any] = automapping.classes.found_report
    return found


def _automapped_by_event(engine: Engine) -> type[Any]:
    """Override the types as they are reflected, which the documentation of SQLAlchemy shows."""
    metadata = MetaData()

    @event.listens_for(metadata, "column_reflect")
    def override(inspector: Any, reflected: Table, info: Any) -> None:
        kinds = {"cover": UploadedFileField(text=True), "pages": UploadedFileField(multiple=True)}
        if reflected.name == "found_report" and info["name"] in kinds:
            info["type"] = kinds[info["name"]]

    metadata.reflect(engine, only=["found_report"])
    automapping: Any = automap_base(metadata=metadata)
    automapping.prepare()
    found: type[Any] = automapping.classes.found_report
    return found


# --- the table of cases -----------------------------------------------------------------------------------------------

#: How a class is found, its table and columns of files, its single file and its list.
KINDS: dict[str, tuple[Callable[[Engine], type[Any]], tuple[str, ...]]] = {
    "assigned": (lambda engine: User, ("cover", "pages")),
    "assigned, single table subclass": (lambda engine: Admin, ("cover", "pages")),
    "assigned, joined subclass": (lambda engine: Member, ("cover", "pages", "card")),
    "assigned, later subclass": (lambda engine: Younger, ("cover", "pages")),
    "assigned beside another": (lambda engine: Early, ("second", "pages", "cover")),
    "added to the mapper": (lambda engine: Property, ("cover", "pages")),
    "imperative": (lambda engine: Article, ("cover", "pages")),
    "imperative, late": (lambda engine: LateArticle, ("cover", "pages")),
    "reflected": (_reflected, ("cover", "pages")),
    "reflected later": (_deferred, ("cover", "pages")),
    "automapped": (_automapped, ("cover", "pages")),
    "automapped of tables": (_automapped_of_tables, ("cover", "pages")),
    "automapped by event": (_automapped_by_event, ("cover", "pages")),
}
every_kind = pytest.mark.parametrize(("find", "keys"), KINDS.values(), ids=list(KINDS))

COLUMNS = (
    "late_user.cover",
    "late_user.pages",
    "late_member.card",
    "late_early.cover",
    "late_early.second_col",
    "late_early.pages",
    "late_property.cover",
    "late_property.pages_col",
    "imperative_article.cover_col",
    "imperative_article.pages",
    "imperative_late_article.cover_col",
    "imperative_late_article.pages",
    "found_report.cover",
    "found_report.pages",
)


@pytest.fixture
def world(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[OwnWorld]:
    kinds = (Base.metadata, articles.metadata, EXISTING)
    for each in kinds:
        each.create_all(engine)
    yield OwnWorld(engine, depots, *COLUMNS)
    empty(engine, *kinds)


def _values(keys: tuple[str, ...], word: str) -> dict[str, Any]:
    return {
        key: [f"{word} {key} {n}".encode() for n in "12"] if key == "pages" else f"{word} {key}".encode()
        for key in keys
    }


def _files(values: dict[str, Any]) -> list[bytes]:
    return [each for value in values.values() for each in (value if isinstance(value, list) else [value])]


def _end(session: Session, commit: bool) -> None:
    session.flush()
    (session.commit if commit else session.rollback)()


def _old(world: OwnWorld, kind: type[Any], keys: tuple[str, ...]) -> list[bytes]:
    """Commit a row with files."""
    old = _values(keys, "old")
    with world.session() as session:
        session.add(kind(id=ROW, **old))
        session.commit()
    world.check(*_files(old))
    return _files(old)


def _put(target: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        setattr(target, key, value)


@every_kind
@outcome
@pytest.mark.parametrize("value", [bytes, UploadedFile], ids=["bytes", "values"])
def test_a_new_row_owns_its_files(world: OwnWorld, find: Any, keys: tuple[str, ...], value: Any, commit: bool) -> None:
    kind = find(world.engine)
    new = _values(keys, "new")
    with world.session() as session:
        made = kind(
            id=ROW,
            **{key: [value(e) for e in each] if isinstance(each, list) else value(each) for key, each in new.items()},
        )
        for key in keys:
            assert all(
                isinstance(each, UploadedFile) for each in ([getattr(made, key)] if key != "pages" else made.pages)
            )
        session.add(made)
        _end(session, commit)
        if commit:
            assert [each.file.read() for each in made.pages] == new["pages"]
    world.check(*_files(new) if commit else ())


@every_kind
@outcome
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
def test_the_files_of_a_row_are_replaced(
    world: OwnWorld, find: Any, keys: tuple[str, ...], loaded: bool, commit: bool
) -> None:
    kind = find(world.engine)
    old, new = _old(world, kind, keys), _values(keys, "new")
    with world.session() as session:
        row = session.get_one(kind, ROW)
        if not loaded:
            session.expire(row)
        _put(row, new)
        _end(session, commit)
    world.check(*_files(new) if commit else old)


@every_kind
@outcome
def test_a_list_is_changed(world: OwnWorld, find: Any, keys: tuple[str, ...], commit: bool) -> None:
    """A change of the list is seen, and takes effect with COMMIT."""
    kind = find(world.engine)
    old = _old(world, kind, keys)
    with world.session() as session:
        pages = session.get_one(kind, ROW).pages
        pages.append(b"new page")
        session.flush()
        del pages[0]
        _end(session, commit)
    world.check(*[each for each in old if each != b"old pages 1"] + [b"new page"] if commit else old)


@every_kind
def test_a_new_object_begins_with_an_empty_list(world: OwnWorld, find: Any, keys: tuple[str, ...]) -> None:
    """Read, changed, or left alone."""
    kind = find(world.engine)
    with world.session() as session:
        made = kind(id=ROW)
        assert made.pages == []
        made.pages.append(b"page")
        session.add_all([made, kind(id=ROW + 1)])
        session.commit()
        assert session.get_one(kind, ROW + 1).pages == []
    world.check(b"page")


@every_kind
@outcome
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
def test_a_row_goes_with_its_files(
    world: OwnWorld, find: Any, keys: tuple[str, ...], loaded: bool, commit: bool
) -> None:
    kind = find(world.engine)
    old = _old(world, kind, keys)
    with world.session() as session:
        row = session.get_one(kind, ROW)
        if not loaded:
            session.expire(row)
        session.delete(row)
        _end(session, commit)
    world.check(*() if commit else old)


@every_kind
def test_the_file_of_another_row_is_copied(world: OwnWorld, find: Any, keys: tuple[str, ...]) -> None:
    kind = find(world.engine)
    old = _old(world, kind, keys)
    with world.session() as session:
        row = session.get_one(kind, ROW)
        session.add(kind(id=ROW + 1, **{key: getattr(row, key) for key in keys}))
        session.commit()
        session.delete(row)
        session.commit()
    world.check(*old)


@every_kind
def test_what_is_no_file_is_refused(world: OwnWorld, find: Any, keys: tuple[str, ...]) -> None:
    kind = find(world.engine)
    for key in keys:
        with pytest.raises(InvalidContent, match=rf"\.{key}: "):
            setattr(kind(), key, {"path": "default/x"})


@every_kind
@outcome
def test_statements_write_and_remove_files(world: OwnWorld, find: Any, keys: tuple[str, ...], commit: bool) -> None:
    kind = find(world.engine)
    if "card" in keys:
        pytest.skip("SQLAlchemy's statements know one table each, and this class has two")
    old = _old(world, kind, keys)
    with world.session() as session:
        session.execute(insert(kind).values(id=ROW + 1, **_kind(kind), **_values(keys, "inserted")))
        session.execute(insert(kind), [{"id": ROW + n, **_kind(kind), **_values(keys, str(n))} for n in (2, 3)])
        session.execute(update(kind).where(kind.id == ROW).values(_values(keys, "new")))
        session.execute(delete(kind).where(kind.id == ROW + 3))
        _end(session, commit)
    after = [_values(keys, each) for each in ("new", "inserted", "2")]
    world.check(*[file for each in after for file in _files(each)] if commit else old)


@every_kind
@outcome
def test_bulk_methods_write_files(world: OwnWorld, find: Any, keys: tuple[str, ...], commit: bool) -> None:
    kind = find(world.engine)
    old = _old(world, kind, keys)
    with world.session() as session:
        session.bulk_insert_mappings(
            attributes.manager_of_class(kind).mapper, [{"id": ROW + 1, **_kind(kind), **_values(keys, "1")}]
        )
        session.bulk_update_mappings(attributes.manager_of_class(kind).mapper, [{"id": ROW, **_values(keys, "new")}])
        session.bulk_save_objects([kind(id=ROW + 2, **_values(keys, "2"))])
        _end(session, commit)
    after = [_values(keys, each) for each in ("new", "1", "2")]
    world.check(*[file for each in after for file in _files(each)] if commit else old)


def _kind(kind: type[Any]) -> dict[str, Any]:
    """Return the discriminator, which SQLAlchemy's bulk insert does not fill in."""
    return {"kind": kind.__mapper__.polymorphic_identity} if issubclass(kind, User) else {}


def test_rows_are_loaded_through_the_parent(world: OwnWorld) -> None:
    """The late columns belong to all of them, whatever class a row is of."""
    with world.session() as session:
        for number, kind in enumerate((User, Admin, Member, Younger)):
            session.add(kind(id=ROW + number, **_values(("cover", "pages"), kind.__name__)))
        session.commit()
    with world.session() as session:
        for row in session.scalars(select(User)):
            found: Any = row
            found.cover = b"new"
            del found.pages[0]
        session.commit()
    world.check(*[b"new"] * 4, *(f"{kind} pages 2".encode() for kind in ("User", "Admin", "Member", "Younger")))
    with world.session() as session:
        users = table_of(User)
        session.execute(delete(users).where(users.c.kind != "member"))
        for row in session.scalars(select(User)):
            session.delete(row)
        session.commit()
    world.check()


def test_a_column_may_come_between_two_transactions(engine: Engine, depots: dict[str, FileStorage]) -> None:
    """Objects that are alive already have the attribute too; rows and sessions were there before it."""

    class Plugins(DeclarativeBase):
        pass

    class Host(Plugins):
        __tablename__ = "late_host"
        id: Mapped[int] = mapped_column(primary_key=True)

    Plugins.metadata.create_all(engine)
    world = OwnWorld(engine, depots, "late_host.cover")
    try:
        with world.session() as session:
            host: Any = Host(id=ROW)
            session.add(host)
            session.commit()
            host.id  # noqa: B018  # loads it
            session.commit()
            Plugins.metadata.drop_all(engine)
            plugged: Any = Host
            plugged.cover = mapped_column(UploadedFileField)
            Plugins.metadata.create_all(engine)
            session.expunge_all()
            host = Host(id=ROW)
            host.cover = b"first"
            session.add(host)
            session.commit()
            world.check(b"first")
            host.cover = b"second"
            session.commit()
            world.check(b"second")
            session.delete(host)
            session.commit()
            world.check()
    finally:
        Plugins.metadata.drop_all(engine)


def test_two_columns_that_come_one_after_the_other(engine: Engine, depots: dict[str, FileStorage]) -> None:
    """Each is looked after from the moment it is there, however often the mappers are configured in between."""

    class Plugins(DeclarativeBase):
        pass

    class Host(Plugins):
        __tablename__ = "late_host_of_two"
        id: Mapped[int] = mapped_column(primary_key=True)

    plugged: Any = Host
    Plugins.registry.configure()
    plugged.first = mapped_column(UploadedFileField)
    assert plugged(first=b"1").first.pending
    Plugins.registry.configure()
    plugged.second = mapped_column(UploadedFileField)
    assert plugged(second=b"2").second.pending
    Plugins.metadata.create_all(engine)
    world = OwnWorld(engine, depots, "late_host_of_two.first", "late_host_of_two.second")
    try:
        with world.session() as session:
            host = plugged(id=ROW, first=b"1", second=b"2")
            session.add(host)
            session.commit()
            host.first, host.second = b"3", host.first
            session.commit()
            world.check(b"3", b"1")
            session.delete(host)
            session.commit()
        world.check()
    finally:
        Plugins.metadata.drop_all(engine)
