"""Ranges of primary keys: a table is read range by range, and no row can lie outside of all ranges.

A range has the rows above one bound and up to the next. Each row is either up to a bound or above it, whatever the
database makes of the comparison, so ranges that begin where the previous one ended, the last one without an end, cover
the table. ORDER BY only chooses the bounds: that it differs from ``>``, as for an ENUM of MariaDB, makes ranges longer
or shorter, and loses no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Dialect,
    Enum,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    and_,
    cast,
    inspect,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.postgresql.ranges import AbstractRange
from sqlalchemy.exc import NoSuchTableError, UnreflectableTableError
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

from depot_lite.errors import MaintenanceStopped
from depot_lite.fields.tracking.rows import unlimited
from depot_lite.maintenance.rows.places import Place


class _Bit(TypeDecorator[int]):
    """A BIT of MariaDB as a number."""

    impl = Integer
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the number of the bytes that drivers read."""
        return int.from_bytes(value, "big") if isinstance(value, bytes) else value


class _AsText(TypeDecorator[str]):
    """A time or a range of PostgreSQL as text: drivers cannot read infinity, and dates that Python does not have.

    Args:
        kind: its type in the database.
    """

    impl = String
    cache_ok = True

    def __init__(self, kind: TypeEngine[Any]) -> None:
        super().__init__()
        self.kind = kind

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the text of a column."""
        return cast(column, Text)

    def bind_expression(self, bindparam: BindParameter[Any]) -> ColumnElement[Any]:
        """Return the value of a text."""
        return cast(bindparam, self.kind)


def _bounded(column: Column[Any], kind: TypeEngine[Any], dialect: str) -> ColumnElement[Any]:
    """Return a column as bounds are read from it and compared with it."""
    if isinstance(kind, mysql.BIT):
        # MariaDB compares a BIT with the bytes that it is read as in one way if it uses an index, and else in another.
        return type_coerce(column, _Bit)
    if dialect == "postgresql" and isinstance(kind, TIMES):
        return type_coerce(column, _AsText(kind))
    return column


#: Types of PostgreSQL with values that Python does not have.
TIMES: Final = (DateTime, Date, AbstractRange)


@dataclass(frozen=True, slots=True)
class KeyRanges:
    """The division of a table into ranges of keys."""

    place: Place
    dialect: str
    #: The first columns of the key, if they cannot be bounded: the rows of each of their values are divided apart.
    leading: tuple[Column[Any], ...]
    #: Columns of the key by which ranges are bounded; may be empty.
    columns: tuple[ColumnElement[Any], ...]
    #: The version of SQLite's schema, if the key is a ``rowid``, which VACUUM changes; else None.
    schema_version: int | None = None

    @classmethod
    def of(cls, connection: Connection, place: Place) -> Self:
        """Return the division of a table, after a look at its columns in the database.

        Raises:
            MaintenanceStopped: a row has NULL in its primary key.
        """
        dialect = connection.dialect.name
        known = _columns_of(connection, place.table)
        _refuse_null(connection, place, known)
        types = [known.get(column.name, {}).get("type", column.type) for column in place.key]
        ordered = (n for n, each in enumerate(types) if dialect not in _MYSQL or not isinstance(each, _UNORDERED))
        first = next(ordered, len(types))
        version = _schema_version(connection, place.table) if place.key[0].name not in known else None
        columns = (
            _bounded(column, kind, dialect) for column, kind in zip(place.key[first:], types[first:], strict=True)
        )
        return cls(place, dialect, place.key[:first], tuple(columns), version)

    def check(self, connection: Connection) -> None:
        """Look whether all rows still have the keys that they had.

        Raises:
            MaintenanceStopped: they may have others.
        """
        if self.schema_version is not None and _schema_version(connection, self.place.table) != self.schema_version:
            raise MaintenanceStopped(
                f"{self.place.name} has no primary key, and the database was changed by VACUUM or ALTER TABLE while it "
                "was read: run this again"
            )

    def as_stored(self) -> Self:
        """Return the same division, with bounds as the driver gives and takes them."""
        stored = (
            each if isinstance(each.type, _Bit | _AsText) else type_coerce(each, NullType()) for each in self.columns
        )
        return replace(self, columns=tuple(stored))

    def values(self, connection: Connection) -> set[tuple[str, ...]]:
        """Return the current values of the leading columns; a single empty one without such columns."""
        if not self.leading:
            return {()}
        query: Any = select(*(type_coerce(column, String) for column in self.leading)).distinct()
        return {tuple(each) for each in connection.execute(unlimited(query, connection))}

    def part(self, values: Sequence[str]) -> ColumnElement[bool]:
        """Return the condition for rows with these values in the leading columns."""
        return and_(
            true(), *(type_coerce(column, String) == each for column, each in zip(self.leading, values, strict=True))
        )

    def bound(self, part: ColumnElement[bool], after: Sequence[Any] | None, size: int) -> Select[Any] | None:
        """Return the query for the bound of the range that begins after another bound and has ``size`` rows."""
        if not self.columns:
            return None
        query = select(*self.columns).where(part).order_by(*self.columns).limit(1).offset(size - 1)
        return query if after is None else query.where(self._above(after))

    def within(
        self, part: ColumnElement[bool], after: Sequence[Any] | None, until: Sequence[Any] | None
    ) -> ColumnElement[bool]:
        """Return the condition for the rows above one bound and up to another; None for no bound."""
        above = [] if after is None else [self._above(after)]
        return and_(part, *above, *([] if until is None else [self._up_to(until)]))

    def _above(self, bound: Sequence[Any]) -> ColumnElement[bool]:
        values = self._values(bound)
        if self.dialect in _MYSQL:
            return _compared(self.columns, values, "__gt__", "__gt__")
        found: ColumnElement[bool] = tuple_(*self.columns) > tuple_(*values)
        return self.columns[0] > values[0] if len(values) == 1 else found

    def _up_to(self, bound: Sequence[Any]) -> ColumnElement[bool]:
        values = self._values(bound)
        if self.dialect in _MYSQL:
            return _compared(self.columns, values, "__lt__", "__le__")
        found: ColumnElement[bool] = tuple_(*self.columns) <= tuple_(*values)
        return self.columns[0] <= values[0] if len(values) == 1 else found

    def _values(self, bound: Sequence[Any]) -> list[BindParameter[Any]]:
        return [BindParameter(None, each, type_=column.type) for column, each in zip(self.columns, bound, strict=True)]


_MYSQL = frozenset({"mysql", "mariadb"})

#: Types whose values ORDER BY sorts by number and ``>`` compares as text, so that no index finds them by range.
_UNORDERED = (mysql.ENUM, mysql.SET, Enum)


def _compared(columns: Sequence[Any], values: Sequence[Any], operator: str, last: str) -> ColumnElement[bool]:
    """Return the comparison of two keys column by column: for ``(a, b) > (x, y)``, MariaDB reads the whole index."""
    first: ColumnElement[bool] = getattr(columns[0], operator if len(columns) > 1 else last)(values[0])
    if len(columns) == 1:
        return first
    return or_(first, and_(columns[0] == values[0], _compared(columns[1:], values[1:], operator, last)))


def keyed(connection: Connection, place: Place) -> Place:
    """Return a place whose model has no primary key with the primary key of the table, if the database has one."""
    found, name = with_key(connection, place.table, []), str(place.column.key)
    if found is None or name in found.columns:
        return place
    column: Column[Any] = Column(name, place.column.type)
    found.append_column(column)
    return replace(place, table=found, column=column)


def with_key(connection: Connection, table: Any, names: Iterable[str]) -> Table | None:
    """Return a table with the primary key that it has in the database, and these columns; None if it has no key."""
    try:
        constraint = inspect(connection).get_pk_constraint(table.name, schema=connection.schema_for_object(table))
    except (NoSuchTableError, UnreflectableTableError):
        return None
    keys, known = constraint["constrained_columns"], _columns_of(connection, table)
    columns = [Column(each, known[each]["type"], primary_key=True) for each in keys if each in known]
    if not keys and (rowid := _rowid(connection, table, known)) is not None:
        columns = [Column(rowid, Integer, primary_key=True)]
    if not columns or len(columns) < len(keys):  # dropped meanwhile
        return None
    others = [Column(each, NullType()) for each in names if each not in keys]
    return Table(table.name, MetaData(), *columns, *others, schema=table.schema)


def _rowid(connection: Connection, table: Any, known: dict[str, Any]) -> str | None:
    """Return the name of the number that SQLite gives each row of a table without a primary key; None for a view."""
    if connection.dialect.name != "sqlite":
        return None
    master = _qualified(connection, table, "sqlite_master")
    query = f"SELECT sql FROM {master} WHERE type = 'table' AND name = :name COLLATE NOCASE"  # noqa: S608  # quoted
    made = connection.scalar(text(query), {"name": table.name})
    if made is None or made.lstrip().upper().startswith("CREATE VIRTUAL"):
        return None
    names = {each.lower() for each in known}
    return next((each for each in ("rowid", "_rowid_", "oid") if each not in names), None)


def _schema_version(connection: Connection, table: Any) -> int | None:
    if connection.dialect.name != "sqlite":
        return None
    found: int = connection.exec_driver_sql(f"PRAGMA {_qualified(connection, table, 'schema_version')}").scalar_one()
    return found


def _qualified(connection: Connection, table: Any, name: str) -> str:
    schema = connection.schema_for_object(table)
    return name if schema is None else f"{connection.dialect.identifier_preparer.quote(schema)}.{name}"


def _columns_of(connection: Connection, table: Any) -> dict[str, Any]:
    """Return the columns of a table as they are in the database, by name; empty if they cannot be told."""
    try:
        columns = inspect(connection).get_columns(table.name, schema=connection.schema_for_object(table))
    except NoSuchTableError:
        return {}
    return {each["name"]: each for each in columns}


def _refuse_null(connection: Connection, place: Place, known: dict[str, Any]) -> None:
    """Raise an error for NULL in a primary key, which compares with nothing; SQLite and views allow it."""
    nullable = [column for column in place.key if known.get(column.name, {}).get("nullable", True)]
    if nullable and connection.scalar(select(literal(1)).where(or_(*(each.is_(None) for each in nullable))).limit(1)):
        raise MaintenanceStopped(f"{place}: a row has NULL in its primary key, so rows cannot be told apart")
