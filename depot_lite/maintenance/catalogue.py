"""The catalogue of a database: columns that no model has.

A renamed column, a table of old versions, the schema of a tenant, a partition that was detached, a model that was not
imported: each may name files, and no model knows of it. So the text columns of the database that are not read anyway
are searched for the ids of the files that are about to be deleted. An id is random and never used twice, so a column
that contains one names that file.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    LargeBinary,
    String,
    Table,
    and_,
    cast,
    collate,
    column,
    func,
    inspect,
    literal,
    or_,
    select,
    table,
    text,
    true,
)
from sqlalchemy import Text as TextType
from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.fields.tracking.rows import unlimited
from depot_lite.maintenance.ids import packed, unpacked
from depot_lite.maintenance.rows.blocks import Blocks
from depot_lite.maintenance.rows.database import Database, first_line
from depot_lite.maintenance.rows.places import Place
from depot_lite.maintenance.rows.ranges import KeyRanges, with_key
from depot_lite.maintenance.rows.references import ids_in
from depot_lite.maintenance.run.reports import Step, Watcher

#: A part of each id in any spelling, for the regular expressions of any database.
_PART: Final = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-|[0-9a-fA-F]{24}"
#: The length of the shortest id, an ObjectId of filedepot.
_SHORTEST: Final = 24
#: An id with its dashes, for databases without regular expressions.
_LIKE: Final = "%________-____-____-____-____________%"
_WITH_REGEXP: Final = frozenset({"postgresql", "mysql", "mariadb", "sqlite"})
#: How often a table is read that cannot be read.
_ATTEMPTS: Final = 3
#: Rows that a statement looks at, if the table has a primary key; rows fetched at a time.
_PAGE: Final = 5000
_FETCHED: Final = 500


@dataclass(frozen=True, slots=True)
class CatalogueTable:
    """A table of the database, with its columns that may contain text."""

    schema: str | None
    name: str
    columns: tuple[str, ...]
    #: Whether names without a schema mean this schema.
    is_default: bool
    #: Whether row-level security may hide rows from this user.
    hides_rows: bool = False

    @property
    def fullname(self) -> str:
        """The name, with the schema unless it is the default."""
        return self.name if self.is_default or self.schema is None else f"{self.schema}.{self.name}"


@dataclass(slots=True)
class Catalogue:
    """The search for columns that no model has.

    Args:
        ignored: columns that are not searched, ``"table.column"`` or ``"schema.table.column"``; ``*`` stands for
            anything.

    Raises:
        ConfigurationError: an element of ``ignored`` is not a column.
    """

    database: Database
    places: list[Place]
    ignored: Iterable[Any] = ()
    progress: Watcher | None = None
    #: The columns that are read anyway, in each database: the name of the table with its schema, and of the column.
    _known: dict[Engine, set[tuple[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the ignored columns."""
        self.ignored = [self.ignored] if isinstance(self.ignored, str) else list(self.ignored)
        for each in self.ignored:
            if "." not in str(each) or not all(str(each).split(".")):
                raise ConfigurationError(
                    f"ignore_columns: expected 'table.column' or 'schema.table.column', got {each!r}"
                )

    def objections(self, doomed: Container[object]) -> Iterator[str]:
        """Yield the reasons to stop: columns that contain these packed ids, or that cannot be read."""
        of_engines: dict[Engine, Place] = {}
        for place in self.places:
            with reading(self.database, place) as connection:
                of_engines.setdefault(connection.engine, place)
                # Names in a schema of the engine's `schema_translate_map` mean other tables than the models do.
                known = ".".join(filter(None, (connection.schema_for_object(_table(place)), _table(place).name)))
                self._known.setdefault(connection.engine, set()).add((known, place.column.name))
        for place in of_engines.values():
            with reading(self.database, place) as connection:
                yield from self._search(connection, doomed, is_ours=self.database.owns_transactions(place))

    def _search(self, connection: Connection, doomed: Container[object], *, is_ours: bool) -> Iterator[str]:
        with Step(self.progress, "looking at columns that no model has", unit="columns") as step:
            for each in _tables(connection):
                known = self._known[connection.engine]
                wanted = [name for name in each.columns if not self._is_known(known, each, name)]
                for name, reason in (
                    _hidden(wanted) if each.hides_rows else _found(connection, each, wanted, doomed, is_ours=is_ours)
                ):
                    full = f"{each.fullname}.{name}"
                    yield (
                        f"column {full} {reason}, and no model has it: protect it (protect, --protect {full}), or look "
                        f"at it and ignore it (ignore_columns, --ignore-column {full})"
                    )
                step.add(len(wanted))

    def _is_known(self, known: set[tuple[str, str]], each: CatalogueTable, name: str) -> bool:
        names = {f"{each.schema}.{each.name}", each.fullname}
        return any((full, name) in known for full in names) or any(
            pattern == f"{full}.{name}" or fnmatchcase(f"{full}.{name}", pattern)
            for full in names
            for pattern in self.ignored
        )


def _table(place: Place) -> Any:
    return place.table


@contextmanager
def reading(database: Database, place: Place) -> Iterator[Connection]:
    """Provide a connection, and end its transaction if it is ours."""
    try:
        with database.connection(place) as connection:
            if database.owns_transactions(place) and connection.dialect.name != "sqlite":
                # Also if the engine has AUTOCOMMIT: PostgreSQL streams in transactions only.
                connection = connection.execution_options(isolation_level="READ COMMITTED")
            yield connection
            if database.owns_transactions(place):
                connection.rollback()
    except SQLAlchemyError as error:
        raise MaintenanceStopped(f"the catalogue of the database cannot be read: {first_line(error)}") from error


# --- the search ---------------------------------------------------------------------------------------------------


def _found(
    connection: Connection, each: CatalogueTable, names: list[str], doomed: Container[object], *, is_ours: bool
) -> Iterator[tuple[str, str]]:
    """Yield the columns of a table that contain one of the ids, or cannot be read, with the reason.

    If the transaction is ours, it ends with each page of the table, so that none is long.
    """
    left, failures = list(names), 0
    while left:
        try:
            with nullcontext() if is_ours else connection.begin_nested():
                hit = _first_hit(connection, each, left, doomed, is_ours=is_ours)
        except SQLAlchemyError as error:
            _end(connection, is_ours=is_ours)
            failures += 1
            there = _columns_of(connection, each)
            _end(connection, is_ours=is_ours)
            left = [name for name in left if name in there]  # others were dropped meanwhile
            if failures < _ATTEMPTS:  # perhaps it was altered meanwhile
                continue
            yield from ((name, f"cannot be read ({first_line(error)})") for name in left)
            return
        _end(connection, is_ours=is_ours)
        if hit is None:
            return
        name, file_id = hit
        yield name, f"contains the id of a file that would be deleted, {file_id}"
        left.remove(name)


def _hidden(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    yield from ((name, "may have rows that row-level security hides from this user") for name in names)


def _end(connection: Connection, *, is_ours: bool) -> None:
    if is_ours:
        connection.rollback()


def _first_hit(
    connection: Connection, each: CatalogueTable, names: list[str], doomed: Container[object], *, is_ours: bool
) -> tuple[str, str] | None:
    """Return the first column and id among the rows of a table."""
    source: Any = table(each.name, *(column(name) for name in names), schema=each.schema)
    is_large = _has_more_than(connection, source, _PAGE)
    keyed = with_key(connection, source, names) if is_large else None
    blocks = Blocks.of(connection, source) if is_large and keyed is None else None
    source = source if keyed is None else keyed
    texts = [_as_text(connection, source.c[name]) for name in names]
    has_regexp = connection.dialect.name in _WITH_REGEXP
    # The length first: on SQLite, each regular expression is a call of a function of Python.
    matches = or_(
        *(
            and_(_length(connection, one) >= _SHORTEST, one.regexp_match(_PART) if has_regexp else one.like(_LIKE))
            for one in texts
        )
    )
    for page in _pages(connection, keyed) if blocks is None else _pages_of_blocks(connection, blocks):
        query: Any = select(*texts).select_from(source).where(page, matches).execution_options(yield_per=_FETCHED)
        with connection.execute(unlimited(query, connection)) as result:
            for row in result:
                for name, value in zip(names, row, strict=True):
                    held = value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
                    for file_id in ids_in(held):
                        if (key := packed(file_id)) in doomed:
                            return name, unpacked(key)
        _end(connection, is_ours=is_ours)
    return None


def _has_more_than(connection: Connection, source: Any, rows: int) -> bool:
    first = select(literal(1).label("one")).select_from(source).limit(rows + 1).subquery()
    return connection.scalars(select(func.count()).select_from(first)).one() > rows


def _pages(connection: Connection, source: Table | None) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions of the pages of a large table: ranges of its primary key; one for all rows without."""
    try:
        ranges = None if source is None else KeyRanges.of(connection, Place(source, next(iter(source.c))))
    except MaintenanceStopped:  # NULL in a primary key of SQLite: no range contains it
        ranges = None
    if ranges is None:
        yield true()
        return
    for values in sorted(ranges.values(connection)):
        part, after = ranges.part(values), None
        while True:
            query = ranges.bound(part, after, _PAGE)
            until = None if query is None else connection.execute(query).first()
            if until == after:  # the value read is not the value stored, such as a rounded FLOAT
                until = None
            yield ranges.within(part, after, until)
            ranges.check(connection)
            if until is None:
                break
            after = until


def _pages_of_blocks(connection: Connection, blocks: Blocks) -> Iterator[ColumnElement[bool]]:
    for page in blocks.conditions():
        yield page
        blocks.check(connection)
    yield blocks.changed


def _as_text(connection: Connection, one: ColumnElement[Any]) -> ColumnElement[str]:
    if connection.dialect.name in {"mysql", "mariadb"}:
        return cast(one, String)
    as_text = cast(one, TextType)
    # PostgreSQL matches no regular expression by the rules of a collation that takes different texts for equal.
    return collate(as_text, "C") if connection.dialect.name == "postgresql" else as_text


def _length(connection: Connection, text: ColumnElement[str]) -> ColumnElement[int]:
    # SQLite counts the characters of a text up to the first NUL, and the bytes of a BLOB.
    return func.length(cast(text, LargeBinary) if connection.dialect.name == "sqlite" else text)


def _columns_of(connection: Connection, each: CatalogueTable) -> set[str]:
    """Return the names of the columns that a table has now; none if it is gone."""
    try:
        return {found["name"] for found in inspect(connection).get_columns(each.name, schema=each.schema)}
    except NoSuchTableError:
        return set()
    except SQLAlchemyError:  # if in doubt, they are all there
        return set(each.columns)


# --- the catalogues -----------------------------------------------------------------------------------------------


def _tables(connection: Connection) -> list[CatalogueTable]:
    kinds: dict[str, Callable[[Connection], Iterable[Any]]] = {
        "postgresql": _postgresql,
        "mysql": _mysql,
        "mariadb": _mysql,
        "sqlite": _sqlite,
    }
    found: dict[tuple[Any, ...], list[str]] = {}
    for schema, name, column_name, *facts in kinds.get(connection.dialect.name, _others)(connection):
        found.setdefault((schema, name, *facts), []).append(column_name)
    return [CatalogueTable(schema, name, tuple(names), *facts) for (schema, name, *facts), names in found.items()]


def _postgresql(connection: Connection) -> Iterable[Any]:
    """Return the columns that may contain text, of tables and foreign tables; partitions are read with their table.

    A domain may stand for any type, JSONB for example, in which case it is in no category.
    """
    return connection.execute(
        text(
            "SELECT n.nspname, c.relname, a.attname, n.nspname = current_schema(), row_security_active(c.oid) "
            "FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
            "JOIN pg_type t ON t.oid = a.atttypid "
            "WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't' "
            "AND a.attnum > 0 AND NOT a.attisdropped "
            "AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%' "
            "AND (t.typcategory IN ('S', 'A', 'C') OR t.typtype = 'd' "
            "OR t.typname IN ('json', 'jsonb', 'xml', 'hstore', 'uuid')) "
            "ORDER BY 1, 2, a.attnum"
        )
    ).all()


def _mysql(connection: Connection) -> Iterable[Any]:
    """Return the columns of text and of JSON, which is text on MariaDB, in all databases that the user may read."""
    return connection.execute(
        text(
            "SELECT c.table_schema, c.table_name, c.column_name, c.table_schema = DATABASE() "
            "FROM information_schema.columns c JOIN information_schema.tables t "
            "ON t.table_schema = c.table_schema AND t.table_name = c.table_name "
            "WHERE t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') "
            "AND c.data_type IN ('char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'json', 'uuid') "
            "AND coalesce(c.character_maximum_length, 36) >= 24 "
            "AND c.table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') "
            "ORDER BY 1, 2, c.ordinal_position LIMIT 18446744073709551615"  # stronger than sql_select_limit
        )
    ).all()


def _sqlite(connection: Connection) -> Iterator[tuple[str | None, str, str, bool]]:
    """Yield all columns: the type of a column keeps no text out of it."""
    quoted = connection.dialect.identifier_preparer.quote
    for _, schema, _ in connection.exec_driver_sql("PRAGMA database_list").all():
        if schema == "temp":
            continue
        names = f"SELECT name FROM {quoted(schema)}.sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"  # noqa: S608  # quoted
        for (name,) in connection.exec_driver_sql(names).all():
            for row in connection.exec_driver_sql(f"PRAGMA {quoted(schema)}.table_info({quoted(name)})").all():
                yield schema, name, row[1], schema == "main"


def _others(connection: Connection) -> Iterator[tuple[str | None, str, str, bool]]:
    """Yield the columns of text in the default schema, by SQLAlchemy's inspection."""
    inspector = inspect(connection)
    for name in inspector.get_table_names():
        for each in inspector.get_columns(name):
            if isinstance(each["type"], String):
                yield None, name, each["name"], True


def hides_rows(connection: Connection, place: Place) -> bool:
    """Return whether row-level security applies to this user; only PostgreSQL has it."""
    if connection.dialect.name != "postgresql":
        return False
    quote, table = connection.dialect.identifier_preparer.quote, _table(place)
    quoted = ".".join(quote(each) for each in (connection.schema_for_object(table), table.name) if each)
    return bool(connection.scalar(text("SELECT row_security_active(CAST(:name AS text))"), {"name": quoted}))
