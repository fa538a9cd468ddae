"""Compare and swap for rows: an UPDATE that takes effect only if a row still has the value that was read.

Several rows are written by one statement, after they were locked without waiting: a transaction that waits for a lock
while it holds others could deadlock with one of the application's. Rows that others have locked are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    String,
    Text,
    Update,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    collate,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import SQLAlchemyError

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.maintenance.rows.database import Database, Row, as_text
from depot_lite.maintenance.rows.places import Place
from depot_lite.maintenance.rows.references import where

#: The first versions that can skip rows which others have locked.
_SKIPS_LOCKED: Final = {"postgresql": (9, 5), "mariadb": (10, 6), "mysql": (8, 0, 1)}


class KeyNotFound(MaintenanceStopped):
    """Raised when a row is there, and is not found by the key that was read."""


class RowSwap:
    """The compare-and-swap statements of one column."""

    def __init__(self, place: Place, dialect: str) -> None:
        table: Any = place.table  # it has a primary key
        key = [column == bindparam(f"depot_key_{n}", type_=column.type) for n, column in enumerate(place.key)]
        still = _exact_text(place, dialect) == bindparam("depot_old", type_=Text)
        new: ColumnElement[Any] = bindparam("depot_new", type_=Text)
        if dialect == "postgresql" and not place.is_text:
            new = cast(new, postgresql.JSONB)
        self._place = place
        self._dialect = dialect
        self._select = select(as_text(place, dialect)).where(*key)
        self._same = select(*place.key).where(still).limit(1)
        values: dict[Any, Any] = {place.column: new}
        self._version: Update | None = None
        self._generator: Callable[[Any], Any] | None = None
        mapper = place.mapper
        if mapper is not None and mapper.version_id_col is not None and callable(mapper.version_id_generator):
            version: Any = mapper.version_id_col
            counted: Any = func.coalesce(version, 0) + 1
            if not isinstance(version.type, Integer):  # not a counter: the mapper generates each version
                self._generator = mapper.version_id_generator
                counted = bindparam("depot_version", type_=version.type)
            if version.table is table:
                values[version] = counted
            else:
                self._version = _versioning(place, version, counted, [*key, still])
        self._finds_keys = True
        self._values = values
        self._update = update(table).where(*key, still).values(values)

    def swap(self, connection: Connection, row: Row, new: str) -> bool:
        """Write a new value to a row, and return whether the row still had the value that was read."""
        held = {"depot_old": row.text, **_keys(row)}
        version = {} if self._generator is None else {"depot_version": self._generator(None)}
        if self._version is not None:
            connection.execute(self._version, {**held, **version})
            version = {}
        return connection.execute(self._update, {**held, "depot_new": new, **version}).rowcount == 1

    def takes_several(self, connection: Connection) -> bool:
        """Return whether several rows can be written by one statement."""
        known = connection.dialect.server_version_info or (0,)
        least = _SKIPS_LOCKED.get("mariadb" if getattr(connection.dialect, "is_mariadb", False) else self._dialect)
        return least is not None and known >= least and self._generator is None and self._version is None

    def lock(self, connection: Connection, rows: Sequence[Row]) -> dict[str, Any]:
        """Begin a transaction with a lock on the rows that no other one has locked, and return their texts.

        By the ``repr`` of their keys, since an array or a SET cannot be hashed.
        """
        if self._dialect in {"mysql", "mariadb"}:
            # In a small table, MariaDB reads every row, and would keep those locked that are not written.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        key = self._place.key
        query = (
            select(*key, as_text(self._place, self._dialect)).where(self._are(rows)).with_for_update(skip_locked=True)
        )
        return {repr(tuple(found[:-1])): found[-1] for found in connection.execute(query)}

    def swap_several(self, connection: Connection, pairs: Sequence[tuple[Row, str]]) -> bool:
        """Write new values to locked rows, and return whether all of them still had the values that were read."""
        old = case(*((self._is(row), bindparam(None, row.text, Text)) for row, _ in pairs))
        new: ColumnElement[Any] = case(*((self._is(row), bindparam(None, text, Text)) for row, text in pairs))
        if self._dialect == "postgresql" and not self._place.is_text:
            new = cast(new, postgresql.JSONB)
        table: Any = self._place.table
        still = self._are([row for row, _ in pairs]), _exact_text(self._place, self._dialect) == old
        statement = update(table).where(*still).values({**self._values, self._place.column: new})
        return connection.execute(statement).rowcount == len(pairs)

    def _are(self, rows: Sequence[Row]) -> ColumnElement[bool]:
        if len(self._place.key) == 1:
            return self._place.key[0].in_([row.key[0] for row in rows])
        return or_(*map(self._is, rows))

    def _is(self, row: Row) -> ColumnElement[bool]:
        return and_(*(column == each for column, each in zip(self._place.key, row.key, strict=True)))

    def text(self, connection: Connection, row: Row) -> Any:
        """Return the current value of the row.

        Raises:
            KeyNotFound: the row is there, and is not found by its key.
        """
        found = connection.execute(self._select, _keys(row)).first()
        if found is not None:
            return found[0]
        if self._finds_keys and not all(map(_is_read_as_stored, self._place.key)):
            # A file has one owner, so a row with the same value is this row. The first one stands for all others.
            same = connection.execute(self._same, {"depot_old": row.text}).first()
            # Under another key, it is a row whose key was changed meanwhile.
            self._finds_keys = same is None or repr(tuple(same)) != repr(row.key)
        if not self._finds_keys:
            raise KeyNotFound(
                f"{where(self._place, row)}: the database does not find the row by its key, which is read otherwise "
                "than it is stored, as a rounded FLOAT is"
            )
        return None


def _is_read_as_stored(column: Column[Any]) -> bool:
    """Return whether a row is certainly found by a value that was read from this column."""
    return isinstance(column.type, Integer | String | Uuid | LargeBinary) and not isinstance(column.type, mysql.SET)


def _keys(row: Row) -> dict[str, Any]:
    return {f"depot_key_{number}": each for number, each in enumerate(row.key)}


def _exact_text(place: Place, dialect: str) -> ColumnElement[str]:
    """Return the column as text that compares byte by byte."""
    if dialect in {"mysql", "mariadb"}:
        return collate(cast(place.text, mysql.CHAR(charset="utf8mb4")), "utf8mb4_bin")
    return cast(place.text, Text)


def _versioning(place: Place, version: Any, counted: Any, still: list[ColumnElement[bool]]) -> Update:
    """Return the statement that advances the version in a parent table of joined inheritance.

    It runs before the UPDATE of the row itself, in the order of a flush, so that two transactions cannot deadlock.
    """
    key = []
    for number, column in enumerate(place.key):
        known = _ancestor(column, version.table)
        if known is None:
            raise ConfigurationError(f"{place}: no foreign key leads to its version column {version}")
        key.append(known == bindparam(f"depot_key_{number}", type_=column.type))
    held = exists(select(literal(1)).select_from(place.table).where(*still)).correlate(version.table)
    return update(version.table).where(*key, held).values({version: counted})


def _ancestor(column: Column[Any], table: Any) -> Column[Any] | None:
    """Return the column of a parent table that this column refers to, in joined inheritance."""
    for key in column.foreign_keys:
        if key.column.table is table:
            return key.column
        if (found := _ancestor(key.column, table)) is not None:
            return found
    return None


class Rewriter:
    """The statements of all columns of a database, and the current values of rows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements: dict[tuple[int, str], RowSwap] = {}

    def statements(self, place: Place, dialect: str) -> RowSwap:
        """Return the statements of a column."""
        key = id(place), dialect
        if key not in self._statements:
            self._statements[key] = RowSwap(place, dialect)
        return self._statements[key]

    def row_now(self, place: Place, row: Row, connection: Connection | None) -> Row | None:
        """Return the current row; None if it is gone or has NULL.

        Raises:
            KeyNotFound: it is there, and is not found by its key.
            MaintenanceStopped: it cannot be read.
        """
        try:
            if connection is None:
                with self._database.connection(place) as new:
                    return self.row_now(place, row, new)
            try:
                text = self.statements(place, connection.dialect.name).text(connection, row)
            finally:
                if self._database.owns_transactions(place):
                    connection.rollback()
        except SQLAlchemyError as error:
            raise MaintenanceStopped(f"{where(place, row)} cannot be read: {error}") from error
        return None if text is None else Row(row.key, as_decoded(text), None)


def as_decoded(held: Any) -> Any:
    """Return text that the driver may have returned as bytes."""
    return held.decode() if isinstance(held, bytes) else held
