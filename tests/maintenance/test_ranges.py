"""Pages of tables: every row is in exactly one, whatever the primary key is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import pytest
from sqlalchemy import (
    CHAR,
    Column,
    Connection,
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
    text,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Session, registry

from depot_lite.errors import MaintenanceStopped
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import find_missing, find_unused, migrate, statistics, verify
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.places import Place, places

ROWS = 40
PAGE = 3

#: Values whose order as text is another one than that of their numbers.
KINDS = [f"{number:02}" for number in range(ROWS, 0, -1)]

FEW = ["queued", "done", "active", "new"]


def binary(number: int) -> bytes:
    return bytes([255 - number, 0, number])


def named(number: int) -> str:
    return f"{'ä' * (number % 3)}{'B' if number % 2 else 'b'}{number}"


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
}  # fmt: skip


class World:
    """A table with one file in each row, and how to read it."""

    def __init__(self, engine: Engine, depot: FileStorage, kind: str) -> None:
        make, key = KEYS[kind]
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
def test_no_job_leaves_out_a_row(world: World, depots: dict[str, FileStorage], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 600 files with an ENUM in their keys, a sweep deleted 300, and a migration moved the other half silently."""
    monkeypatch.setattr("depot_lite.maintenance.rows.database.Database.pages.__kwdefaults__", {"size": PAGE})
    monkeypatch.setattr("depot_lite.maintenance.rows.database.Database.pages.__kwdefaults__", {"size": PAGE})
    monkeypatch.setattr("depot_lite.maintenance.migration._PAGE", PAGE)
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


@pytest.mark.parametrize("size", [1, PAGE, ROWS, ROWS + 1])
def test_a_page_has_as_many_rows_as_asked_for(world: World, size: int) -> None:
    """Of a key whose order is that of its comparison."""
    assert {len(page) for page in world.read(size)[:-1]} <= {size}
    assert len(world.named(size)) == ROWS


@keyed("enum, int")
def test_an_enum_that_is_text_to_the_model_is_read_by_its_values(world: World) -> None:
    """The database knows best what it is."""
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
