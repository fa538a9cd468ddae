"""Compare and swap for rows: one UPDATE that takes effect only if the row still has the value that was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Text,
    Update,
    bindparam,
    cast,
    collate,
    exists,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import mysql, postgresql

from depot_lite.errors import ConfigurationError
from depot_lite.maintenance.rows.database import Row, as_text
from depot_lite.maintenance.rows.places import Place


class RowSwap:
    """The compare-and-swap statements of one column."""

    def __init__(self, place: Place, dialect: str) -> None:
        table: Any = place.table  # it has a primary key
        key = [column == bindparam(f"depot_key_{n}", type_=column.type) for n, column in enumerate(place.key)]
        still = _exact_text(place, dialect) == bindparam("depot_old", type_=Text)
        new: ColumnElement[Any] = bindparam("depot_new", type_=Text)
        if dialect == "postgresql" and not place.is_text:
            new = cast(new, postgresql.JSONB)
        self._select = select(as_text(place, dialect)).where(*key)
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
        self._update = update(table).where(*key, still).values(values)

    def swap(self, connection: Connection, row: Row, new: str) -> bool:
        """Write a new value to a row, and return whether the row still had the value that was read."""
        held = {"depot_old": row.text, **_keys(row)}
        version = {} if self._generator is None else {"depot_version": self._generator(None)}
        if self._version is not None:
            connection.execute(self._version, {**held, **version})
            version = {}
        return connection.execute(self._update, {**held, "depot_new": new, **version}).rowcount == 1

    def text(self, connection: Connection, row: Row) -> Any:
        """Return the current value of the row."""
        return connection.execute(self._select, _keys(row)).scalar()


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
