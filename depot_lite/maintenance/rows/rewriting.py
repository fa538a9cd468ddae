"""A row that is written only if it still holds what was read: compare and swap in one statement, in three databases."""

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


class Rewriting:
    """The statements for the rows of one column."""

    def __init__(self, place: Place, dialect: str) -> None:
        table: Any = place.table  # one with a primary key
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
            if not isinstance(version.type, Integer):  # no counter: the mapper makes each version
                self._generator = mapper.version_id_generator
                counted = bindparam("depot_version", type_=version.type)
            if version.table is table:
                values[version] = counted
            else:
                self._version = _versioning(place, version, counted, [*key, still])
        self._update = update(table).where(*key, still).values(values)

    def swap(self, connection: Connection, row: Row, new: str) -> bool:
        """Let a row name other files, and return whether it still held what was read."""
        held = {"depot_old": row.text, **_keys(row)}
        version = {} if self._generator is None else {"depot_version": self._generator(None)}
        if self._version is not None:
            connection.execute(self._version, {**held, **version})
            version = {}
        return connection.execute(self._update, {**held, "depot_new": new, **version}).rowcount == 1

    def text(self, connection: Connection, row: Row) -> Any:
        """Return what the row holds."""
        return connection.execute(self._select, _keys(row)).scalar()


def _keys(row: Row) -> dict[str, Any]:
    return {f"depot_key_{number}": each for number, each in enumerate(row.key)}


def _exact_text(place: Place, dialect: str) -> ColumnElement[str]:
    """Return the column as text of which no two are equal that differ."""
    if dialect in {"mysql", "mariadb"}:
        return collate(cast(place.text, mysql.CHAR(charset="utf8mb4")), "utf8mb4_bin")
    return cast(place.text, Text)


def _versioning(place: Place, version: Any, counted: Any, still: list[ColumnElement[bool]]) -> Update:
    """Return the statement that advances the version in a table that this one inherits from.

    It comes before the row itself, as in a flush: of two transactions, one would else wait for the other in turn.
    """
    key = []
    for number, column in enumerate(place.key):
        known = _ancestor(column, version.table)
        if known is None:
            raise ConfigurationError(
                f"{place}: no foreign key leads to {version}, which counts the versions of its rows"
            )
        key.append(known == bindparam(f"depot_key_{number}", type_=column.type))
    held = exists(select(literal(1)).select_from(place.table).where(*still)).correlate(version.table)
    return update(version.table).where(*key, held).values({version: counted})


def _ancestor(column: Column[Any], table: Any) -> Column[Any] | None:
    """Return the column of another table that holds the same as this one, in a row of joined inheritance."""
    for key in column.foreign_keys:
        if key.column.table is table:
            return key.column
        if (found := _ancestor(key.column, table)) is not None:
            return found
    return None
