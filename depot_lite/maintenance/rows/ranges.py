"""Ranges of primary keys: a table is read range by range, and no row can lie outside of all ranges.

A range has the rows above one bound and up to the next. Each row is either up to a bound or above it, whatever the
database makes of the comparison, so ranges that begin where the previous one ended, the last one without an end, cover
the table. ORDER BY only chooses the bounds: that it differs from ``>``, as for an ENUM of MariaDB, makes ranges longer
or shorter, and loses no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Enum,
    MetaData,
    Select,
    String,
    Table,
    and_,
    inspect,
    literal,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import NoSuchTableError, UnreflectableTableError
from sqlalchemy.types import NullType

from depot_lite.errors import MaintenanceStopped
from depot_lite.maintenance.rows.places import Place


@dataclass(frozen=True, slots=True)
class KeyRanges:
    """The division of a table into ranges of keys."""

    place: Place
    dialect: str
    #: The first columns of the key, if they cannot be bounded: the rows of each of their values are divided apart.
    leading: tuple[Column[Any], ...]
    #: Columns of the key by which ranges are bounded; may be empty.
    columns: tuple[Column[Any], ...]

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
        return cls(place, dialect, place.key[:first], place.key[first:])

    def values(self, connection: Connection) -> set[tuple[str, ...]]:
        """Return the current values of the leading columns; a single empty one without such columns."""
        if not self.leading:
            return {()}
        texts = [type_coerce(column, String) for column in self.leading]
        return {tuple(each) for each in connection.execute(select(*texts).distinct())}

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
    """Return a place without a primary key with the one that the table has in the database, if it has one."""
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
    if not keys or not known.keys() >= set(keys):  # dropped meanwhile
        return None
    columns = [Column(each, known[each]["type"], primary_key=True) for each in keys]
    others = [Column(each, NullType()) for each in names if each not in keys]
    return Table(table.name, MetaData(), *columns, *others, schema=table.schema)


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
