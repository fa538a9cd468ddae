"""Pages of tables: every row is in exactly one, whatever the primary key is made of."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
from sqlalchemy import (
    ARRAY,
    CHAR,
    Column,
    Connection,
    Date,
    DateTime,
    Engine,
    Enum,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Uuid,
    event,
    insert,
    table,
    text,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.postgresql import TSTZRANGE, Range
from sqlalchemy.orm import Session, registry

from depot_lite.errors import MaintenanceStopped
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import find_missing, find_unused, migrate, statistics, verify
from depot_lite.maintenance.rows.blocks import Blocks
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.places import Place, places
from depot_lite.maintenance.rows.slices import Slice
from tests.conftest import sqlite_engine

ROWS = 40
PAGE = 3

#: Values whose order as text is another one than that of their numbers.
KINDS = [f"{number:02}" for number in range(ROWS, 0, -1)]

FEW = ["queued", "done", "active", "new"]


def binary(number: int) -> bytes:
    return bytes([255 - number, 0, number])


def named(number: int) -> str:
    return f"{'ä' * (number % 3)}{'B' if number % 2 else 'b'}{number}"


def day(number: int) -> datetime:
    return datetime(2020, 1, 1 + number % 7, tzinfo=UTC)


BINARY = LargeBinary(3).with_variant(mysql.VARBINARY(3), "mysql", "mariadb")


def columns(*types: Any) -> list[Column[Any]]:
    return [Column(f"k{number}", each, primary_key=True, autoincrement=False) for number, each in enumerate(types)]


#: The columns of a primary key, and its value in each row.
KEYS: dict[str, tuple[Callable[[], list[Column[Any]]], Callable[[int], tuple[Any, ...]]]] = {
    "int": (lambda: columns(Integer), lambda n: (n,)),
    "enum": (lambda: columns(Enum(*KINDS, name="kind")), lambda n: (KINDS[n],)),
    "enum, int": (lambda: columns(Enum(*FEW, name="state"), Integer), lambda n: (FEW[n % 4], n)),
    "int, enum": (lambda: columns(Integer, Enum(*FEW, name="state")), lambda n: (n // 4, FEW[n % 4])),
    "enum, enum, int": (
        lambda: columns(Enum(*FEW, name="one"), Enum("z", "a", name="two"), Integer),
        lambda n: (FEW[n % 4], "za"[n % 2], n),
    ),
    "int, int, int": (lambda: columns(Integer, Integer, Integer), lambda n: (n // 16, n // 4 % 4, n % 4)),
    "padded": (lambda: columns(CHAR(12)), lambda n: (f"x{n}",)),
    "padded, int": (lambda: columns(CHAR(12), Integer), lambda n: (f"x{n // 5}", n % 5)),
    "text of both cases": (lambda: columns(String(20)), lambda n: (named(n),)),
    "text, text": (lambda: columns(String(20), String(20)), lambda n: (named(n // 7), named(n % 7))),
    "binary": (lambda: columns(BINARY), lambda n: (binary(n),)),
    "uuid": (lambda: columns(Uuid()), lambda n: (uuid5(UUID(int=1), str(n)),)),
    "numeric": (lambda: columns(Numeric(8, 3)), lambda n: (Decimal(n) / 8,)),
    "float": (lambda: columns(Float(24)), lambda n: (n / 7 - 2,)),
    "bit": (lambda: columns(Integer().with_variant(mysql.BIT(12), "mysql", "mariadb")), lambda n: (n * 100,)),
}  # fmt: skip

#: Keys of PostgreSQL.
ARRAYS: dict[str, tuple[Callable[[], list[Column[Any]]], Callable[[int], tuple[Any, ...]]]] = {
    "array": (lambda: columns(ARRAY(Integer)), lambda n: ([n % 3, n],)),
    "timestamp, int": (lambda: columns(DateTime, Integer), lambda n: (day(n).replace(tzinfo=None), n)),
    "timestamptz, int": (lambda: columns(DateTime(True), Integer), lambda n: (day(n), n)),
    "int, date": (lambda: columns(Integer, Date), lambda n: (n, date(2020, 1, 1 + n % 7))),
    "range": (lambda: columns(TSTZRANGE, Integer), lambda n: (Range(day(n)), n)),
}

#: What Python cannot read, in a column of each key.
UNREADABLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "timestamp, int": ("k0", ("infinity", "-infinity", "0044-03-15 BC")),
    "timestamptz, int": ("k0", ("infinity", "-infinity", "20000-01-01 12:00+00")),
    "int, date": ("k1", ("infinity", "-infinity", "0044-03-15 BC")),
    "range": ("k0", ("[2020-01-01,infinity]", "[-infinity,2020-01-01)", "[2020-01-01,20000-01-01)")),
}


class World:
    """A table with one file in each row, and how to read it."""

    def __init__(self, engine: Engine, depot: FileStorage, kind: str) -> None:
        make, key = (KEYS | ARRAYS)[kind]
        self.engine = engine
        self.metadata = MetaData()
        made = make()
        self.table = Table(
            "ranges_thing", self.metadata, *made, Column("scan", UploadedFileField), Column("n", Integer)
        )
        self.model = type("Thing", (), {})
        registry(metadata=self.metadata).map_imperatively(self.model, self.table)
        self.metadata.create_all(engine)
        self.ids = [depot.create(b"scan") for _ in range(ROWS)]
        with engine.begin() as connection:
            values = [self.values(number, key(number)) for number in range(ROWS)]
            connection.execute(insert(self.table), values)

    def values(self, number: int, key: tuple[Any, ...]) -> dict[str, Any]:
        file_id = self.ids[number]
        value = UploadedFile({"depot_name": "default", "file_id": file_id, "path": f"default/{file_id}"})
        return {"scan": value, "n": number, **{f"k{place}": each for place, each in enumerate(key)}}

    @property
    def place(self) -> Place:
        return places(models=[self.metadata])[0]

    def read(self, size: int = PAGE, bind: Any = None) -> list[list[Row]]:
        return list(Database(bind or self.engine).pages(self.place, size=size))

    def named(self, size: int = PAGE) -> list[str]:
        """Return the ids that were read, in their order."""
        return [json.loads(row.text)["file_id"] for page in self.read(size) for row in page]


@pytest.fixture
def world(engine: Engine, depots: dict[str, FileStorage], request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(engine, depots["default"], getattr(request, "param", "int"))
    yield made
    made.metadata.drop_all(engine)
    engine.dispose()  # statements that psycopg has prepared know the types that are gone


def keyed(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("world", kinds or list(KEYS), indirect=True)


@keyed()
def test_every_row_is_read_once(world: World) -> None:
    """With any kind of key, on each database, in pages that end in the middle of equal values."""
    assert sorted(world.named()) == sorted(world.ids)
    assert sorted(world.named(1)) == sorted(world.ids)


@keyed("enum", "enum, int", "int, enum")
@pytest.mark.matrix
def test_no_job_leaves_out_a_row(world: World, depots: dict[str, FileStorage], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 600 files with an ENUM in their keys, a sweep deleted 300, and a migration moved the other half silently."""
    monkeypatch.setattr(
        "depot_lite.maintenance.rows.database.Database.pages.__kwdefaults__",
        {"size": PAGE, "within": None, "exact": False},
    )
    monkeypatch.setattr("depot_lite.maintenance.mover._PAGE", PAGE)
    models = [world.metadata]
    unused = find_unused(world.engine, "default", older_than=timedelta(0), models=models)
    assert (unused.listed, unused.named, len(unused.files)) == (ROWS, ROWS, 0)
    found = find_missing(world.engine, models=models)
    assert (found.rows, found.named, found.files) == (ROWS, ROWS, [])
    assert verify(world.engine, "default", models=models).read == ROWS
    assert statistics(world.engine, models=models).columns["ranges_thing.scan"].files == ROWS
    moved = migrate(world.engine, "default", "archive", models=models)
    assert (moved.rows, moved.files, moved.failed) == (ROWS, ROWS, [])
    assert find_unused(world.engine, "archive", older_than=timedelta(0), models=models).named == ROWS
    assert len(find_unused(world.engine, "default", older_than=timedelta(0), models=models).files) == ROWS


@keyed("float")
def test_rows_that_their_key_does_not_find_are_reported(world: World, depots: dict[str, FileStorage]) -> None:
    """A rounded number finds few rows: a migration left out the others, and said that nothing was left."""
    moved = migrate(world.engine, "default", "archive", models=[world.metadata])
    assert moved.rows + len(moved.failed) == ROWS
    assert all("the database does not find the row by its key" in str(each.error) for each in moved.failed)
    assert bool(moved.failed) == (world.engine.dialect.name != "sqlite")
    assert len(list(depots["archive"].list())) == moved.rows


def test_a_key_may_be_an_array(engine: Engine, depots: dict[str, FileStorage]) -> None:
    """Python cannot hash it."""
    if engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has arrays")
    world = World(engine, depots["default"], "array")
    try:
        moved = migrate(engine, "default", "archive", models=[world.metadata])
        assert (moved.rows, moved.failed) == (ROWS, [])
    finally:
        world.metadata.drop_all(engine)


@pytest.mark.parametrize("kind", UNREADABLE)
def test_keys_that_python_cannot_read_stop_no_reading(
    engine: Engine, depots: dict[str, FileStorage], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as infinity, the end of many periods. A migration finds rows by their keys, and says which column it is."""
    if engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has infinity")
    world, (column, values) = World(engine, depots["default"], kind), UNREADABLE[kind]
    models = [world.metadata]
    try:
        with engine.begin() as connection:
            connection.execute(
                text("CREATE TABLE ranges_other AS SELECT k0, k1, n, scan::text AS note FROM ranges_thing")
            )
            connection.execute(text("ALTER TABLE ranges_other ADD PRIMARY KEY (k0, k1)"))
            for name in ("ranges_thing", "ranges_other"):
                for number, value in enumerate(values):
                    connection.execute(text(f"UPDATE {name} SET {column} = '{value}' WHERE n % 4 = {number}"))
        assert sorted(world.named()) == sorted(world.ids)
        database, last, found = Database(engine), None, list[str]()
        while (last := database.following(world.place, last, 7)) is not None:
            last = Slice.from_json(json.loads(json.dumps(last.to_json())))
            found += [
                json.loads(row.text)["file_id"] for page in database.pages(world.place, within=last) for row in page
            ]
        assert sorted(found) == sorted(world.ids)
        with pytest.raises(
            MaintenanceStopped, match=rf"a value in ranges_thing\.{column}, in the primary key, that Python"
        ):
            migrate(engine, "default", "archive", models=models)
        assert migrate(engine, "default", "archive", models=models, where="n % 4 = 3").rows == ROWS // 4
        depots["default"].delete(world.ids[0])
        (missing,) = find_missing(engine, models=models).files
        assert str(missing.key).count(values[0].strip("[)]").split(",")[-1].split()[0]) == 1
        monkeypatch.setattr("depot_lite.maintenance.catalogue._PAGE", PAGE)
        with engine.begin() as connection:
            connection.execute(text("UPDATE ranges_thing SET scan = NULL WHERE n = 1"))
        objections = find_unused(engine, "default", older_than=timedelta(0), models=models).objections
        (reason,) = (each for each in objections if "ranges_other" in each)
        assert f"contains the id of a file that would be deleted, {world.ids[1]}" in reason
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS ranges_other"))
        world.metadata.drop_all(engine)
        engine.dispose()


@pytest.mark.parametrize("size", [1, PAGE, ROWS, ROWS + 1])
def test_a_page_has_as_many_rows_as_asked_for(world: World, size: int) -> None:
    """Of a key whose order is that of its comparison."""
    assert {len(page) for page in world.read(size)[:-1]} <= {size}
    assert len(world.named(size)) == ROWS


@keyed()
@pytest.mark.matrix
def test_slices_hold_every_row_once(world: World) -> None:
    """Written down for other processes and read again, with any kind of key."""
    database, found, last = Database(world.engine), [], None
    while (last := database.following(world.place, last, 7)) is not None:
        last = Slice.from_json(json.loads(json.dumps(last.to_json())))
        found.append([row for page in database.pages(world.place, size=PAGE, within=last) for row in page])
    assert sorted(json.loads(row.text)["file_id"] for rows in found for row in rows) == sorted(world.ids)
    if world.engine.dialect.name == "postgresql":
        assert max(map(len, found)) == 7
        assert len(found) in {6, 7}


def test_rows_that_are_added_at_the_end_are_in_the_last_slice(world: World) -> None:
    """They have no other."""
    database = Database(world.engine)
    last = database.following(world.place, None, ROWS + 1)
    assert last is not None
    with world.engine.begin() as connection:
        connection.execute(insert(world.table), [world.values(0, (1000,))])
    assert sum(map(len, database.pages(world.place, within=last))) == ROWS + 1
    assert database.following(world.place, last, ROWS) is None


def test_a_key_that_cannot_be_written_down_is_refused() -> None:
    """The message says what to do instead."""
    with pytest.raises(MaintenanceStopped, match=r"a value of the type object, .*: share the job by parts"):
        Slice(until=(object(),)).to_json()
    key = (1, "x", b"x", Decimal("1.5"), UUID(int=1), datetime(2026, 1, 2, 3, tzinfo=UTC), timedelta(1, 2, 3), 0.1)
    assert Slice.from_json(json.loads(json.dumps(Slice(until=key).to_json()))) == Slice(until=key)


def test_a_uuid_of_asyncpg_is_written_as_one() -> None:
    """Its class is derived from Python's: a shared migration stopped at the first unit."""
    uuid = pytest.importorskip("asyncpg.pgproto.pgproto").UUID(str(UUID(int=1)))
    assert type(uuid) is not UUID
    assert Slice(until=(uuid,)).to_json()["until"] == [{"uuid": str(UUID(int=1))}]


@keyed("enum, int")
def test_an_enum_that_is_text_to_the_model_is_read_by_its_values(world: World) -> None:
    """The database compares the keys itself."""
    if world.engine.dialect.name == "postgresql":
        pytest.skip("does not compare an enum with text")
    for column in world.table.primary_key:
        if isinstance(column.type, Enum):
            column.type = String(20)
    assert sorted(world.named()) == sorted(world.ids)
    assert max(map(len, world.read())) == PAGE


@keyed("enum, int")
def test_a_value_that_the_model_does_not_know_stops_the_reading(world: World) -> None:
    """A row that cannot be read is never left out in silence."""
    state: Any = world.table.c.k0
    state.type = Enum("queued", "done", "active", name="state")
    with pytest.raises(MaintenanceStopped, match="cannot be read: 'new' is not among the defined enum values"):
        world.named()


@keyed("enum, int")
def test_a_value_that_appears_meanwhile_is_read(world: World) -> None:
    """The values are asked for again, until there is no other."""
    with world.engine.begin() as connection:
        connection.execute(world.table.delete().where(world.table.c.k0 == "new"))
    pages = Database(world.engine).pages(world.place, size=PAGE)
    read = [*next(pages)]
    with world.engine.begin() as connection:
        connection.execute(insert(world.table), [world.values(number, ("new", 1000 + number)) for number in range(9)])
    assert sum(row.key[0] == "new" for page in [read, *pages] for row in page) == 9


@keyed("int", "int, int, int", "text, text")
def test_a_row_of_an_object_without_files_ends_no_page_early(world: World) -> None:
    """Rows with NULL count for the range, and are not read."""
    with world.engine.begin() as connection:
        connection.execute(update(world.table).where(world.table.c.n.between(5, 30)).values(scan=None))
    assert sorted(world.named()) == sorted(world.ids[:5] + world.ids[31:])


def test_a_row_fewer_than_counted_is_an_error(world: World) -> None:
    """A driver that loses a row, or a view that answers differently each time."""

    def lose(connection: Connection, cursor: Any, statement: str, *args: Any) -> tuple[str, Any]:
        lost = statement.replace("count(*) AS", "count(*) + 1 AS")
        return lost, args[0]

    event.listen(world.engine, "before_cursor_execute", lose, retval=True)
    try:
        with pytest.raises(MaintenanceStopped, match=r"ranges_thing.scan: 3 rows were read, but the database counts 4"):
            world.read()
    finally:
        event.remove(world.engine, "before_cursor_execute", lose)


def test_rows_that_are_written_while_a_page_is_empty_are_read(world: World) -> None:
    """The count then comes from a second statement, which sees more."""
    with world.engine.begin() as connection:
        connection.execute(update(world.table).values(scan=None))
    pending = [world.values(number, (number,))["scan"] for number in range(PAGE)]

    def write(connection: Connection, cursor: Any, statement: str, *args: Any) -> None:
        if pending and "count(*) AS" in statement and "IS NOT NULL" in statement and "json" not in statement.lower():
            value = pending.pop()
            pending.clear()
            connection.execute(update(world.table).where(world.table.c.n == 0).values(scan=value))

    event.listen(world.engine, "before_cursor_execute", write)
    try:
        found = world.read()
    finally:
        event.remove(world.engine, "before_cursor_execute", write)
    assert not pending
    assert sum(map(len, found)) == 1


def test_a_table_whose_bounds_lead_nowhere_is_streamed(world: World) -> None:
    """A type that reads another value than the one stored; with it, one range would follow the same one for ever."""

    class Shifted(Integer):
        def result_processor(self, dialect: Any, coltype: object) -> Any:
            return lambda value: value - 100

    world.table.c.k0.type = Shifted()
    assert sorted(world.named()) == sorted(world.ids)


def test_a_model_with_a_key_that_is_none_is_read_whole(world: World) -> None:
    """Several rows with one key, as in a view, are in one page."""
    seen = MetaData()
    view = Table("ranges_view", seen, Column("k", Integer, primary_key=True), Column("scan", UploadedFileField))
    model = type("Seen", (), {})
    registry(metadata=seen).map_imperatively(model, view)
    with world.engine.begin() as connection:
        connection.execute(text("CREATE VIEW ranges_view AS SELECT 7 * (n / 20) AS k, scan FROM ranges_thing"))
    try:
        rows = [row for page in Database(world.engine).pages(places(models=[seen])[0], size=PAGE) for row in page]
        assert len(rows) == ROWS
        with world.engine.begin() as connection:
            connection.execute(text("DROP VIEW ranges_view"))
            connection.execute(text("CREATE VIEW ranges_view AS SELECT nullif(n, 11) AS k, scan FROM ranges_thing"))
        with pytest.raises(MaintenanceStopped, match="NULL in its primary key"):
            list(Database(world.engine).pages(places(models=[seen])[0], size=PAGE))
    finally:
        with world.engine.begin() as connection:
            connection.execute(text("DROP VIEW ranges_view"))


@keyed("int", "text, text", "enum, int")
def test_a_protected_column_is_read_by_the_key_of_its_table(world: World) -> None:
    """In short transactions, although nobody has said what its key is; and a view of it is streamed."""
    place = places(["ranges_thing.scan"], models=[world.metadata])[-1]
    assert not place.key
    pages = []
    for page in Database(world.engine).pages(place, size=PAGE):
        assert world.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # every pool of the tests has it
        pages.append(page)
    rows = [row for page in pages for row in page]
    assert sorted(json.loads(row.text)["file_id"] for row in rows) == sorted(world.ids)
    assert {row.key for row in rows} == {()}
    with world.engine.begin() as connection:
        connection.execute(text("CREATE VIEW ranges_view AS SELECT scan FROM ranges_thing"))
    try:
        view = places(["ranges_view.scan"], models=[world.metadata])[-1]
        assert sum(map(len, Database(world.engine).pages(view, size=PAGE))) == ROWS
    finally:
        with world.engine.begin() as connection:
            connection.execute(text("DROP VIEW ranges_view"))
    missing = places(["nothing.scan"], models=[world.metadata])[-1]
    with pytest.raises(MaintenanceStopped, match=r"nothing.scan cannot be read"):
        list(Database(world.engine).pages(missing))


def test_no_transaction_and_no_connection_is_held_between_two_pages(world: World) -> None:
    """So that ALTER TABLE waits for one page at most."""
    for page in Database(world.engine).pages(world.place, size=PAGE):
        assert page
        assert world.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # every pool of the tests has it


def test_the_transaction_of_a_connection_goes_on(world: World) -> None:
    """Its uncommitted rows are read, and it is the user's to end."""
    with world.engine.connect() as connection, Session(connection) as session:
        connection.execute(update(world.table).where(world.table.c.n == 0).values(scan=None))
        assert sum(map(len, world.read(bind=session))) == ROWS - 1
        assert connection.in_transaction()
        connection.rollback()
    assert len(world.named()) == ROWS


@keyed()
@pytest.mark.matrix
def test_keys_are_compared_as_on_mariadb(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Column by column, and text in the first columns value by value; the other databases give the same rows."""
    if world.engine.dialect.name == "postgresql":
        pytest.skip("does not compare an enum or a UUID with text")
    monkeypatch.setattr("depot_lite.maintenance.rows.ranges._MYSQL", {"sqlite", "mysql", "mariadb"})
    assert sorted(world.named()) == sorted(world.ids)
    monkeypatch.setattr("depot_lite.maintenance.rows.ranges._UNORDERED", (String,))
    assert sorted(world.named()) == sorted(world.ids)


@keyed("int, int, int", "enum, int")
def test_a_range_of_a_key_of_several_columns_is_looked_up(world: World) -> None:
    """By the index, from the bound on: otherwise each page reads the table from its beginning."""
    if world.engine.dialect.name == "sqlite":
        pytest.skip("has no statistics to read that from")
    statements: list[tuple[str, Any]] = []

    def note(connection: Connection, cursor: Any, statement: str, parameters: Any, *args: Any) -> None:
        if "count(*)" in statement:
            statements.append((statement, parameters))

    event.listen(world.engine, "before_cursor_execute", note)
    try:
        world.read()
    finally:
        event.remove(world.engine, "before_cursor_execute", note)
    with world.engine.connect() as connection:
        if world.engine.dialect.name == "postgresql":
            connection.execute(text("SET enable_seqscan = off"))
            plans = [
                "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", given).scalars().all())
                for statement, given in statements[2:6]
            ]
            assert all(plan.count("Index Cond: ((ROW(k0") == 2 and "Seq Scan" not in plan for plan in plans), plans
        else:
            for statement, given in statements[2:6]:
                for line in connection.exec_driver_sql(f"EXPLAIN {statement}", given).mappings():
                    assert line["type"] in {"range", "ref"}, line


@keyed("int", "int, int, int")
def test_an_alter_table_waits_for_no_reading(world: World) -> None:
    """Behind one that waits, every SELECT of the application would wait, too."""
    for number, _ in enumerate(Database(world.engine).pages(world.place, size=PAGE)):
        with world.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL lock_timeout = '1s'"))
            elif connection.dialect.name != "sqlite":
                connection.execute(text("SET SESSION lock_wait_timeout = 1"))
            connection.execute(text(f"ALTER TABLE ranges_thing ADD COLUMN added{number} INTEGER"))


def test_blocks_are_read_one_page_after_the_other(tmp_path: Path) -> None:
    """SQLite has no blocks; it has the function here that tells whether a table was written anew."""
    engine, files = sqlite_engine(tmp_path / "blocks.db"), iter([7, 8])
    blocks = Blocks("heap", oid=1, file=7, count=501, oldest=99)
    with engine.connect() as connection:
        assert Blocks.of(connection, table("heap")) is None
        driver: Any = connection.connection.dbapi_connection
        driver.create_function("pg_relation_filenode", 1, lambda oid: next(files))
        pages = [str(each) for each in blocks.conditions()]
        blocks.check(connection)
        with pytest.raises(MaintenanceStopped, match="heap has no primary key, and was written anew"):
            blocks.check(connection)
    engine.dispose()
    bounds = [("(0,0)", "(250,0)"), ("(250,0)", "(500,0)"), ("(500,0)", "(750,0)")]
    assert pages == [f"(ctid >= '{start}'::tid AND ctid < '{end}'::tid)" for start, end in bounds]
    assert "'99'::xid" in str(blocks.changed)


class TestWithoutKey:
    """A table that has no primary key in the database."""

    @pytest.fixture(autouse=True)
    def heap(self, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """A dozen blocks of rows, each of which names a file of the world."""
        monkeypatch.setattr("depot_lite.maintenance.rows.blocks._AT_ONCE", 1)
        with world.engine.begin() as connection:
            connection.execute(text("CREATE TABLE ranges_heap AS SELECT scan, n FROM ranges_thing"))
            for _ in range(3):
                connection.execute(text("INSERT INTO ranges_heap SELECT scan, n FROM ranges_thing"))
        yield
        with world.engine.begin() as connection:
            connection.execute(text("DROP TABLE ranges_heap"))

    @pytest.fixture
    def place(self, world: World) -> Place:
        return places(["ranges_heap.scan"], models=[world.metadata])[-1]

    def test_all_rows_are_read(self, world: World, place: Place) -> None:
        """In short transactions where rows have a place of their own; MariaDB knows none."""
        count = 0
        for page in Database(world.engine).pages(place, size=PAGE):
            count += len(page)
            if world.engine.dialect.name in {"postgresql", "sqlite"}:
                assert world.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # every pool of the tests has it
                assert len(page) < 2 * ROWS
        assert count == 4 * ROWS

    def test_a_table_without_blocks_of_its_own_is_read_by_one_statement(self, world: World) -> None:
        """Those of Citus have none here, and other access methods another use of them."""
        if world.engine.dialect.name != "postgresql":
            pytest.skip("has no access methods")
        with world.engine.connect() as connection:
            assert Blocks.of(connection, table("ranges_heap")) is not None
            for statement in (
                "CREATE ACCESS METHOD ranges_method TYPE TABLE HANDLER heap_tableam_handler",
                "CREATE TABLE ranges_other USING ranges_method AS SELECT scan, n FROM ranges_heap",
                "CREATE TABLE ranges_none AS SELECT scan, n FROM ranges_heap LIMIT 0",
            ):
                connection.execute(text(statement))
            for name in ("ranges_other", "ranges_none"):
                assert Blocks.of(connection, table(name)) is None
            connection.rollback()

    def test_a_row_that_moves_to_where_was_read_already_is_read(self, world: World, place: Place) -> None:
        """An UPDATE of PostgreSQL writes it into any block that has room."""
        if world.engine.dialect.name not in {"postgresql", "sqlite"}:
            pytest.skip("reads it by one statement")
        run(
            world.engine,
            "DELETE FROM ranges_heap WHERE n < 20",
            *(["VACUUM ranges_heap"] if world.engine.dialect.name == "postgresql" else []),
        )
        pages = Database(world.engine).pages(place, size=PAGE)
        read = list(next(pages))
        rows = 4 * ROWS // 2
        assert len(read) < rows // 2
        run(world.engine, "UPDATE ranges_heap SET n = n + 1000")
        if world.engine.dialect.name == "postgresql":
            with world.engine.connect() as connection:
                assert "(0," in "".join(connection.scalars(text("SELECT ctid::text FROM ranges_heap")))
        read += [row for page in pages for row in page]
        named = {json.loads(row.text)["file_id"] for row in read}
        assert named == set(world.ids[20:])

    def test_a_table_that_is_written_anew_meanwhile_stops_the_reading(self, world: World, place: Place) -> None:
        """Its rows may be anywhere then."""
        statement = {"postgresql": "VACUUM FULL ranges_heap", "sqlite": "VACUUM"}.get(world.engine.dialect.name)
        if statement is None:
            pytest.skip("reads it by one statement")
        pages = Database(world.engine).pages(place, size=PAGE)
        next(pages)
        run(world.engine, statement)
        with pytest.raises(MaintenanceStopped, match=r"ranges_heap.* has no primary key, .*: run this again"):
            list(pages)


def run(engine: Engine, *statements: str) -> None:
    """Execute statements outside of a transaction."""
    if engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(engine.url.database), isolation_level=None)) as plain:
            for each in statements:
                plain.execute(each)
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for each in statements:
            connection.execute(text(each))
