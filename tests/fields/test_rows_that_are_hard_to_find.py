"""Files of rows that are hard to find at the end: in another schema, under another key, or half of a statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, Integer, TypeDecorator, bindparam, create_engine, event, insert, select, text, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.errors import InvalidContent
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from tests.conftest import World, sqlite_engine
from tests.fields.actions import put
from tests.fields.statements import add, table_of
from tests.support.models import Base, Document

#: Far from the numbers that a sequence of PostgreSQL reaches by itself.
ROW = 1_000_001
OTHER_ROW = 1_000_002

either_end = pytest.mark.parametrize("end", [Session.commit, Session.rollback], ids=["commit", "rollback"])


class Stamp(Base):
    """A row with a name that no other has."""

    __tablename__ = "stamp"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    image: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


def _stamps(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "image": name.encode()} for name in names]


def _is_postgresql(world: World) -> bool:
    """Return whether an error ends all that a transaction has done."""
    return world.engine.dialect.name == "postgresql"


# --- schemas ------------------------------------------------------------------------------------------------------


class OfTenant(DeclarativeBase):
    """The parent of what each tenant has tables of."""


class Contract(OfTenant):
    """A row that each tenant has in a table of the same name."""

    __tablename__ = "contract"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    scan: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Tenants(World):
    """Two schemas with the same table, on an engine of their own, whose connections are not those of other tests."""

    def __init__(self, engine: Engine, depots: dict[str, FileStorage], schemas: list[str]) -> None:
        super().__init__(engine, depots)
        self.schemas = schemas

    def of(self, schema: str) -> Session:
        """Return a session whose connections write to this schema."""
        return Session(self.engine.execution_options(schema_translate_map={None: schema}))

    def rows(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for schema in self.schemas:
            with self.of(schema) as session:
                for value in session.scalars(select(Contract.scan)):
                    found.update(self._read(value))
        return found


@pytest.fixture
def tenants(engine: Engine, depots: dict[str, FileStorage], tmp_path: Path) -> Iterator[Tenants]:
    """A contract with the same key for each of two tenants."""
    is_sqlite = engine.dialect.name == "sqlite"
    # On MariaDB a schema is a database, of which the server has one set for all processes that test.
    schemas = [each if is_sqlite else f"{engine.url.database}_{each}" for each in ("first", "second")]
    if is_sqlite:
        own = sqlite_engine(tmp_path / "main.db")

        @event.listens_for(own, "connect")
        def _attach(connection: Any, record: Any) -> None:
            for schema in schemas:
                connection.execute(f"ATTACH '{tmp_path / schema}.db' AS {schema}")
    else:
        own = create_engine(engine.url)
        with own.begin() as connection:
            for schema in schemas:
                connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    world = Tenants(own, depots, schemas)
    for schema in schemas:
        OfTenant.metadata.create_all(own.execution_options(schema_translate_map={None: schema}))
        with world.of(schema) as session:
            session.add(Contract(id=ROW, scan=schema.encode()))
            session.commit()
    yield world
    own.dispose()
    if not is_sqlite:
        cascade = "CASCADE" if engine.dialect.name == "postgresql" else ""
        with engine.begin() as connection:
            for schema in schemas:
                connection.exec_driver_sql(f"DROP SCHEMA {schema} {cascade}")


@pytest.fixture
def searched(tenants: Tenants) -> Tenants:
    """Tenants that are chosen by their ``search_path``."""
    if not _is_postgresql(tenants):
        pytest.skip("only PostgreSQL has a search_path")
    return tenants


def _both(tenants: Tenants) -> list[bytes]:
    return [each.encode() for each in tenants.schemas]


@pytest.fixture(params=["nowhere", "elsewhere"])
def then(request: pytest.FixtureRequest, searched: Tenants) -> str:
    """Where the name of the table leads once the transaction is over: to no table, or to that of the other tenant."""
    if request.param == "elsewhere":

        @event.listens_for(searched.engine, "connect")
        def _choose(connection: Any, record: Any) -> None:
            connection.execute(f"SET search_path TO {searched.schemas[1]}")
            connection.commit()

        searched.engine.dispose()
    return str(request.param)


@pytest.mark.parametrize("word", ["SET", "SET LOCAL"])
def test_a_rollback_that_takes_the_search_path_back_keeps_the_old_file(searched: Tenants, then: str, word: str) -> None:
    """The row with the same key in the table of the other tenant names another file."""
    with searched.session() as session:
        session.execute(text(f"{word} search_path TO {searched.schemas[0]}"))
        put(session.get_one(Contract, ROW), scan=b"new")
        session.flush()
        session.rollback()
    assert sorted(searched.rows().values()) == sorted(_both(searched))
    if then == "elsewhere":
        assert searched.rows().keys() == searched.stored()


@pytest.mark.usefixtures("then")
def test_a_commit_that_ends_the_search_path_keeps_the_new_file(searched: Tenants) -> None:
    """The transaction is in doubt, because it has met an error, and its rows are nowhere to be seen after COMMIT."""
    with searched.session() as session:
        session.execute(text(f"SET LOCAL search_path TO {searched.schemas[0]}"))
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(insert(Contract).values(id=ROW, scan=b"refused"))
        session.add(Contract(id=OTHER_ROW, scan=b"new"))
        session.commit()
    assert sorted(searched.rows().values()) == sorted([b"new", *_both(searched)])


def _replace_contract(session: Session) -> None:
    put(session.get_one(Contract, ROW), scan=b"in vain")


def _delete_contract(session: Session) -> None:
    session.delete(session.get_one(Contract, ROW))


@pytest.mark.usefixtures("then")
@pytest.mark.parametrize("change", [_replace_contract, _delete_contract])
@pytest.mark.parametrize("there", [True, False], ids=["the other has the row", "the other has no such row"])
def test_a_commit_that_ends_the_search_path_keeps_what_a_savepoint_brought_back(
    searched: Tenants, change: Callable[[Session], None], there: bool
) -> None:
    """A row was replaced in vain, or deleted in vain, and cannot be found after COMMIT."""
    first, second = searched.schemas
    if not there:
        with searched.of(second) as session:
            session.delete(session.get_one(Contract, ROW))
            session.commit()
    with searched.session() as session:
        session.execute(text(f"SET LOCAL search_path TO {first}"))
        with session.begin_nested() as savepoint:
            change(session)
            session.flush()
            savepoint.rollback()
        session.commit()
    assert sorted(searched.rows().values()) == sorted(_both(searched) if there else [first.encode()])


@either_end
def test_a_schema_translate_map_that_is_changed_before_the_end(
    tenants: Tenants, end: Callable[[Session], None]
) -> None:
    """A row is in the schema that it was written to, whatever the connection translates later."""
    first, second = tenants.schemas
    with tenants.session() as session:
        session.connection(execution_options={"schema_translate_map": {None: first}})
        put(session.get_one(Contract, ROW), scan=b"new")
        session.flush()
        session.connection().execution_options(schema_translate_map={None: second})
        end(session)
    tenants.check(b"new" if end is Session.commit else first.encode(), second.encode())


@either_end
def test_a_schema_translate_map_that_sqlalchemy_leaves_out(tenants: Tenants, end: Callable[[Session], None]) -> None:
    """An UPDATE by primary key goes to the schema of the connection, whatever the statement says."""
    first, second = tenants.schemas
    with tenants.of(first) as session:
        options = {"schema_translate_map": {None: second}}
        session.execute(update(Contract), [{"id": ROW, "scan": b"new"}], execution_options=options)
        end(session)
    tenants.check(b"new" if end is Session.commit else first.encode(), second.encode())


# --- statements of which a part is done ---------------------------------------------------------------------------


def test_a_batch_before_the_refused_one_keeps_its_files(world: World) -> None:
    """Rows are inserted two at a time; the second pair is refused."""
    with world.session() as session:
        with pytest.raises(IntegrityError):
            session.execute(
                insert(Stamp).returning(Stamp.id),
                _stamps("a", "b", "c", "a"),
                execution_options={"insertmanyvalues_page_size": 2},
            )
        session.commit()
    world.check(*(() if _is_postgresql(world) else (b"a", b"b")))


@pytest.mark.parametrize("how", ["objects", "statement"])
def test_a_batch_before_the_refused_one_keeps_its_files_in_autocommit(world: World, how: str) -> None:
    """There the rows of the first pair stay, whatever the session believes."""
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "insertmanyvalues_page_size": 2}
    # A new engine: on SQLite, that of the other tests sends BEGIN by itself.
    engine = create_engine(world.engine.url, **options)
    with Session(engine) as session:
        if how == "objects":
            session.add_all([Stamp(**each) for each in _stamps("a", "b", "c", "a")])
            with pytest.raises(IntegrityError):
                session.flush()
        else:
            with pytest.raises(IntegrityError):
                session.execute(insert(Stamp).returning(Stamp.id), _stamps("a", "b", "c", "a"))
        session.rollback()
    engine.dispose()
    # SQLite does not say in which order it inserts several rows, so that SQLAlchemy inserts objects one at a time.
    one_by_one = how == "objects" and world.engine.dialect.name == "sqlite"
    world.check(b"a", b"b", *((b"c",) if one_by_one else ()))


@pytest.mark.parametrize("savepoint", [True, False], ids=["in a savepoint", "in the transaction"])
def test_an_insert_after_which_a_listener_raised_keeps_its_file(
    world: World, listen: Callable[..., None], savepoint: bool
) -> None:
    """The database has done it. Another one that it refuses says nothing about the first."""
    failing = [True]

    def audit(connection: Any, cursor: Any, statement: str, *args: Any) -> None:
        if failing and statement.startswith("INSERT"):
            failing.clear()
            raise RuntimeError("audit")

    listen(world.engine, "after_cursor_execute", audit)
    with world.session() as session:
        with pytest.raises(RuntimeError, match="audit"):
            session.execute(insert(Stamp).values(name="a", image=b"done"))
        with pytest.raises(IntegrityError), session.begin_nested() if savepoint else nullcontext():
            session.execute(insert(Stamp).values(name="a", image=b"refused"))
        session.commit()
    world.check(*(() if _is_postgresql(world) and not savepoint else (b"done",)))


class Voucher(Base):
    """A row in a table that knows no transactions, on MariaDB."""

    __tablename__ = "voucher"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    image: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __table_args__ = {"mysql_engine": "MyISAM", "mariadb_engine": "MyISAM"}  # noqa: RUF012  # SQLAlchemy reads it


def _of_values(session: Session) -> None:
    session.execute(insert(Voucher).values(_stamps("a", "b", "a")))


def _of_parameters(session: Session) -> None:
    session.execute(insert(Voucher).returning(Voucher.id), _stamps("a", "b", "a"))


def _of_objects(session: Session) -> None:
    session.add_all([Voucher(**each) for each in _stamps("a", "b", "a")])
    session.flush()


@pytest.mark.parametrize("fill", [_of_values, _of_parameters, _of_objects])
@either_end
def test_a_refused_insert_of_several_rows_keeps_the_files_of_those_before(
    world: World, fill: Callable[[Session], None], end: Callable[[Session], None]
) -> None:
    """MyISAM keeps the rows inserted before the one that it refuses."""
    with world.session() as session:
        with pytest.raises(IntegrityError):
            fill(session)
        if fill is _of_objects:
            session.rollback()
        end(session)
    world.check(*((b"a", b"b") if world.engine.dialect.name == "mariadb" else ()))


# --- keys that change ---------------------------------------------------------------------------------------------


class Shop(Base):
    """Has a key that its wares follow."""

    __tablename__ = "shop"
    code: Mapped[str] = mapped_column(primary_key=True)


class Ware(Base):
    """A row whose key changes with that of its shop."""

    __tablename__ = "ware"
    shop: Mapped[str] = mapped_column(ForeignKey("shop.code", onupdate="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    picture: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


def _by_cascade(session: Session) -> None:
    session.get_one(Shop, "a").code = "b"
    session.flush()


def _by_sql(session: Session) -> None:
    session.execute(text("UPDATE ware SET number = number + 100"))


def _by_statement(session: Session) -> None:
    table = table_of(Ware)
    session.execute(update(table).values(number=table.c.number + 100))


def _by_many(session: Session) -> None:
    table = table_of(Ware)
    statement = update(table).where(table.c.number == bindparam("old"))
    session.execute(statement, [{"old": number, "number": number + 100} for number in (1, 2)])


def _replace_in_vain(session: Session) -> tuple[bytes, ...]:
    with session.begin_nested() as savepoint:
        put(session.get_one(Ware, ("a", 1)), picture=b"in vain")
        session.flush()
        savepoint.rollback()
    return (b"old",)


def _insert_and_be_refused(session: Session) -> tuple[bytes, ...]:
    session.add(Ware(shop="a", number=2, picture=b"new"))
    session.flush()
    with pytest.raises(IntegrityError), session.begin_nested():
        session.execute(text("INSERT INTO ware (shop, number) VALUES ('a', 2)"))
    return (b"old", b"new")


def _replace_and_be_refused(session: Session) -> tuple[bytes, ...]:
    put(session.get_one(Ware, ("a", 1)), picture=b"new")
    session.flush()
    with pytest.raises(IntegrityError), session.begin_nested():
        session.execute(text("INSERT INTO ware (shop, number) VALUES ('a', 1)"))
    return (b"new",)


@pytest.mark.parametrize("move", [_by_cascade, _by_sql, _by_statement, _by_many])
@pytest.mark.parametrize("begin", [_replace_in_vain, _insert_and_be_refused, _replace_and_be_refused])
@either_end
def test_a_row_whose_key_changes_after_a_doubt_keeps_its_file(
    world: World,
    begin: Callable[[Session], tuple[bytes, ...]],
    move: Callable[[Session], None],
    end: Callable[[Session], None],
) -> None:
    """It is asked about at the end, when it has a key that no object knows of."""
    add(world, Shop(code="a"))
    add(world, Ware(shop="a", number=1, picture=b"old"))
    with world.session() as session:
        leaves = begin(session)
        move(session)
        end(session)
    world.check(*(leaves if end is Session.commit else (b"old",)))


class Coded(Base):
    """Has another key for the mapper than the table has."""

    __tablename__ = "coded"
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(unique=True)
    file: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"primary_key": [id]}  # noqa: RUF012  # SQLAlchemy reads it


class Tool(Base):
    """The parent of one whose key has another name."""

    __tablename__ = "tool"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "tool"}  # noqa: RUF012  # SQLAlchemy reads it


class Drill(Tool):
    """Joined table inheritance with a key of its own name."""

    __tablename__ = "drill"
    tool_number: Mapped[int] = mapped_column(ForeignKey("tool.id"), primary_key=True)
    file: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"polymorphic_identity": "drill"}  # noqa: RUF012  # SQLAlchemy reads it


def _insert(session: Session, model: type[Any]) -> tuple[bytes, ...]:
    session.add(model(id=OTHER_ROW, file=b"new"))
    return (b"old", b"new")


def _replace(session: Session, model: type[Any]) -> tuple[bytes, ...]:
    put(session.get_one(model, ROW), file=b"new")
    return (b"new",)


def _insert_and_replace(session: Session, model: type[Any]) -> tuple[bytes, ...]:
    made = model(id=OTHER_ROW, file=b"first")
    session.add(made)
    session.flush()
    put(made, file=b"new")
    return (b"old", b"new")


def _delete(session: Session, model: type[Any]) -> tuple[bytes, ...]:
    session.delete(session.get_one(model, ROW))
    return ()


@pytest.mark.parametrize("change", [_insert, _replace, _insert_and_replace, _delete])
@pytest.mark.parametrize("model", [Coded, Drill])
@pytest.mark.parametrize("savepoint", [True, False], ids=["in a savepoint", "in the transaction"])
@either_end
def test_a_model_whose_key_is_not_that_of_its_table(
    world: World,
    model: type[Any],
    change: Callable[[Session, type[Any]], tuple[bytes, ...]],
    savepoint: bool,
    end: Callable[[Session], None],
) -> None:
    """An end that is tried in a savepoint ends that; the transaction is committed then."""
    add(world, model(id=ROW, file=b"old"))
    with world.session() as session:
        nested = session.begin_nested() if savepoint else None
        leaves = change(session, model)
        session.flush()
        if nested is not None and end is Session.rollback:
            nested.rollback()
            session.commit()
        else:
            end(session)
    world.check(*(leaves if end is Session.commit else (b"old",)))


@pytest.mark.parametrize("model", [Coded, Drill])
@either_end
def test_an_expired_object_whose_key_is_not_that_of_its_table(
    world: World, model: type[Any], end: Callable[[Session], None]
) -> None:
    """If the object does not know the key of the table, the replaced file cannot be found, and stays."""
    add(world, model(id=ROW, file=b"old"))
    with world.session() as session:
        found = session.get_one(model, ROW)
        session.expire(found)
        put(found, file=b"new")
        session.flush()
        end(session)
    assert list(world.rows().values()) == [b"new" if end is Session.commit else b"old"]
    if model is Drill:
        assert world.rows().keys() == world.stored()


# --- version counters ---------------------------------------------------------------------------------------------


class Ledger(Base):
    """Counts its versions, unlike some who write to its rows."""

    __tablename__ = "counted_ledger"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it


@pytest.fixture
def stale(world: World) -> Iterator[tuple[World, Session, Ledger]]:
    """A ledger that is loaded, and has been written to since by a statement that does not count."""
    ledger = Ledger(id=ROW, cover=b"cover")
    put(ledger, pages=[b"1", b"2"])
    add(world, ledger)
    with world.session(expire_on_commit=False) as session:
        loaded = session.get_one(Ledger, ROW)
        session.commit()
        with world.session() as other:
            other.execute(update(Ledger).where(Ledger.id == ROW).values(cover=b"theirs", pages=[b"3"]))
            other.commit()
        yield world, session, loaded


def test_a_list_of_a_stale_object_that_counts_its_versions_is_refused(stale: tuple[World, Session, Ledger]) -> None:
    """The version is as it was, so the database would not refuse: files that others put there would be lost."""
    world, session, ledger = stale
    ledger.pages.append(UploadedFile(b"4"))
    with pytest.raises(StaleDataError):
        session.commit()
    session.rollback()
    world.check(b"theirs", b"3")


def test_a_file_of_a_stale_object_that_counts_its_versions_replaces_the_others(
    stale: tuple[World, Session, Ledger],
) -> None:
    """The files that the row holds are replaced, not those that the object remembers."""
    world, session, ledger = stale
    put(ledger, cover=b"ours")
    session.commit()
    world.check(b"ours", b"3")


# --- values in two places -----------------------------------------------------------------------------------------


@either_end
def test_a_pending_file_of_an_object_is_refused_in_a_row_of_a_connection(
    world: World, end: Callable[[Session], None]
) -> None:
    """Its object has not stored it yet, and it will be its owner."""
    with world.session() as session:
        document = Document(id=ROW, content=b"content")
        session.add(document)
        with pytest.raises(InvalidContent):
            session.connection().execute(table_of(Document).insert(), {"id": OTHER_ROW, "content": document.content})
        end(session)
    world.check(*((b"content",) if end is Session.commit else ()))


# --- rows that fall with others -----------------------------------------------------------------------------------


class Hive(Base):
    """A row with which others fall."""

    __tablename__ = "hive"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Bee(Base):
    """A row that the database deletes by itself."""

    __tablename__ = "bee"
    id: Mapped[int] = mapped_column(primary_key=True)
    hive_id: Mapped[int | None] = mapped_column(ForeignKey("hive.id", ondelete="CASCADE"))
    portrait: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


@pytest.mark.matrix
def test_the_rows_below_many_deleted_objects_are_read_together(world: World, queries: list[str]) -> None:
    """Not once for each of three hundred."""
    add(world, *(Hive(id=number) for number in range(301)))
    add(world, *(Bee(hive_id=number, portrait=b"%d" % number) for number in (0, 150, 299, 300)))
    with world.session() as session:
        for hive in session.scalars(select(Hive).where(Hive.id < 300)):
            session.delete(hive)
        queries.clear()
        session.flush()
        read = [each for each in queries if each.startswith("SELECT") and "bee" in each]
        session.commit()
    assert 1 <= len(read) <= 3, read
    world.check(b"300")


# --- another row has taken the key ------------------------------------------------------------------------------------


def _take_the_key(session: Session, **values: Any) -> None:
    session.expunge_all()
    session.execute(text(f"UPDATE document SET id = {OTHER_ROW} WHERE id = {ROW}"))
    session.add(Document(id=ROW, **values))
    session.flush()
    with suppress(DBAPIError), session.begin_nested():
        session.execute(text("SELECT nothing FROM nowhere"))


@pytest.mark.parametrize("values", [{"content": b"of the other"}, {}], ids=["file", "none"])
@pytest.mark.parametrize("begun", ["inserted", "replaced", "cleared"])
@either_end
def test_after_an_error_a_row_that_has_left_its_key_to_another(
    world: World, begun: str, values: dict[str, Any], end: Callable[[Session], None]
) -> None:
    """An error alone makes the library ask; the row that has the key now is another one, and tells nothing."""
    if begun != "inserted":
        add(world, Document(id=ROW, content=b"old"))
    with world.session() as session:
        if begun == "inserted":
            session.add(Document(id=ROW, content=b"new"))
        else:
            put(session.get_one(Document, ROW), content=b"new" if begun == "replaced" else None)
        session.flush()
        _take_the_key(session, **values)
        end(session)
    if end is Session.rollback:
        world.check(*([] if begun == "inserted" else [b"old"]))
    else:
        world.check(*([] if begun == "cleared" else [b"new"]), *values.values())


#: A trigger that gives each new row another key.
MOVES_KEYS = {
    "postgresql": (
        "CREATE OR REPLACE FUNCTION move_key() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN NEW.id = NEW.id + 100; RETURN NEW; END$$",
        "CREATE TRIGGER move_key BEFORE INSERT ON stamp FOR EACH ROW EXECUTE FUNCTION move_key()",
    ),
    "mariadb": ("CREATE TRIGGER move_key BEFORE INSERT ON stamp FOR EACH ROW SET NEW.id = NEW.id + 100",),
}


def _upsert(dialect: str, *, updates: bool) -> Any:
    if dialect == "mariadb":
        statement = mysql.insert(Stamp)
        return statement.on_duplicate_key_update(name="changed") if updates else statement.prefix_with("IGNORE")
    made = postgresql.insert(Stamp)
    updated = made.on_conflict_do_update(index_elements=["name"], set_={"name": "changed"})
    return updated if updates else made.on_conflict_do_nothing()


@pytest.mark.parametrize("updates", [True, False], ids=["update", "nothing"])
def test_an_upsert_to_whose_row_a_trigger_gives_another_key(world: World, updates: bool) -> None:
    dialect = world.engine.dialect.name
    if dialect == "sqlite":
        pytest.skip("SQLite's triggers cannot change the row that is inserted")
    add(world, Stamp(id=ROW, name="there", image=b"there"))
    with world.engine.begin() as connection:
        for statement in MOVES_KEYS[dialect]:
            connection.exec_driver_sql(statement)
    try:
        with world.session() as session:
            for id_, name in enumerate(["a", "b", "there"], ROW + 1):
                session.execute(_upsert(dialect, updates=updates).values(id=id_, name=name, image=name.encode()))
            session.commit()
    finally:
        with world.engine.begin() as connection:
            connection.exec_driver_sql(f"DROP TRIGGER move_key{' ON stamp' if dialect == 'postgresql' else ''}")
    world.check(b"there", b"a", b"b")


def test_an_upsert_that_gives_the_row_of_another_upsert_another_key(world: World) -> None:
    dialect = world.engine.dialect.name
    with world.session() as session:
        session.execute(_upsert(dialect, updates=True).values(id=ROW, name="a", image=b"a"))
        made: Any = {"mariadb": mysql, "postgresql": postgresql, "sqlite": sqlite}[dialect].insert(Stamp)
        moved = {"id": ROW + 50}
        if dialect == "mariadb":
            made = made.on_duplicate_key_update(**moved)
        else:
            made = made.on_conflict_do_update(index_elements=["name"], set_=moved)
        session.execute(made.values(id=OTHER_ROW, name="a"))
        session.execute(insert(Stamp).values(id=ROW, name="b", image=b"b"))
        session.commit()
    world.check(b"a", b"b")


# --- keys, replicas, and two objects of one row -------------------------------------------------------------------


class Negated(TypeDecorator[int]):
    """Kept with the other sign, by code that expects no NULL: a primary key never is."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return -value

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return -value


class Cell(Base):
    """A row with such a key."""

    __tablename__ = "cell"
    id: Mapped[int] = mapped_column(Negated, primary_key=True, autoincrement=False)
    image: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


@either_end
def test_a_key_whose_type_does_not_expect_null(world: World, end: Callable[[Session], None]) -> None:
    add(world, Cell(id=1, image=b"one"), Cell(id=2, image=b"two"), Cell(id=3, image=b"three"))
    with world.session() as session:
        session.delete(session.get_one(Cell, 1))
        put(session.get_one(Cell, 2), image=b"new")
        session.flush()
        end(session)
    world.check(*((b"new", b"three") if end is Session.commit else (b"one", b"two", b"three")))


def test_a_replica_that_answers_is_not_believed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """PostgreSQL tells whether a server is one; here it is made to say so, and shows the row as it was."""
    if not _is_postgresql(world):
        pytest.skip("MariaDB's replicas do not tell, and SQLite has none")
    add(world, Document(id=ROW, content=b"old"))
    schema = "lagging"
    with world.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        connection.exec_driver_sql(
            f"CREATE FUNCTION {schema}.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'"
        )
    engine = create_engine(world.engine.url, connect_args={"options": f"-csearch_path={schema},pg_catalog,public"})
    try:
        with Session(engine) as session:
            put(session.get_one(Document, ROW), content=b"new")
            session.commit()
        assert len(world.stored()) == 2
        assert "a replica has answered" in caplog.text
    finally:
        engine.dispose()
        with world.engine.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    assert list(world.rows().values()) == [b"new"]


class Face(Base):
    """A second mapper of the documents' table, with the same file."""

    __table__ = Document.__table__
    content = Document.__table__.c.content


def test_two_objects_of_one_row_in_one_flush(world: World) -> None:
    """The file that the later UPDATE gives is the row's, and that of the earlier one goes."""
    add(world, Document(id=ROW, content=b"old"))
    with world.session() as session:
        document, face = session.get_one(Document, ROW), session.get_one(Face, ROW)
        put(document, content=b"of the document")
        put(face, content=b"of the face")
        session.commit()
    assert len(world.rows()) == len(world.stored()) == 1
