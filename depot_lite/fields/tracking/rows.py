"""Rows: the primary keys that objects have in tables, and the files in rows, read under a lock before they are written.

The files in the row now will be replaced, whatever the session remembers.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Dialect, Select, Table, select, type_coerce
from sqlalchemy.orm import LoaderCallableStatus, Mapper, Session
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeEngine, UserDefinedType

from depot_lite.fields import internals
from depot_lite.fields.columns import NOT_LOADED
from depot_lite.fields.file_type import file_columns, file_type
from depot_lite.fields.tracking.births import Files, Row
from depot_lite.fields.tracking.keys import is_one_of, key_batches

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import InstanceState


class ReadAs(UserDefinedType[Any]):
    """The type of an expression that is read as another type, except that NULL is None to it."""

    cache_ok = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        self.of = of

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return the processor of the other type, which is not called for NULL."""
        load = self.of.dialect_impl(dialect).result_processor(dialect, coltype)
        return None if load is None else lambda value: None if value is None else load(value)


def read_as(column: ColumnElement[Any], kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return the expression that selects a column, read as another type."""
    expression = column.type.column_expression(column)
    return type_coerce(column if expression is None else expression, ReadAs(kind))


def as_stored(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a file column as its rows name files, whatever a user's TypeDecorator around its type makes of them."""
    kind = file_type(column.type)
    return column if kind is None or kind is column.type else read_as(column, kind)


#: More rows than a table can have: an explicit LIMIT is stronger than ``sql_select_limit``.
_ALL_ROWS: Final = 2**64 - 1


def unlimited(query: Select[Any], connection: Connection) -> Select[Any]:
    """Return a query for all of its rows, although a session of MariaDB may have set ``sql_select_limit``."""
    return query.limit(_ALL_ROWS) if connection.dialect.name in {"mysql", "mariadb"} else query


def key_in(state: InstanceState[Any], table: Table) -> tuple[Any, ...] | None:
    """Return the present primary key of an object in one of its tables, None if incomplete."""
    key = tuple(state.dict.get(name) if name is not None else None for name in _key_attributes(state.mapper, table))
    return None if None in key else key


def old_key_in(state: InstanceState[Any], table: Table) -> tuple[Any, ...] | None:
    """Return the primary key that an object's row has in a table until the flush, None if incomplete.

    As SQLAlchemy finds it: by the attributes, which a statement may have changed in the meantime, rather than by the
    identity.
    """
    mapper, identity = state.mapper, () if state.key is None else state.key[1]
    of_mapper = [_attribute_name(mapper, each) for each in mapper.primary_key]
    of_joined = table not in {each.table for each in mapper.primary_key}
    key = []
    for position, name in enumerate(_key_attributes(mapper, table)):
        value = state.committed_state.get(name, state.dict.get(name, NOT_LOADED))
        if isinstance(value, LoaderCallableStatus) or value is None:
            if name in of_mapper:
                value = identity[of_mapper.index(name)]
            elif of_joined:
                # A subclass has an attribute of its own for its key, whose columns are in the order of its parent's.
                value = identity[position]
        key.append(value)
    return None if any(each is None or isinstance(each, LoaderCallableStatus) for each in key) else tuple(key)


_KEY_ATTRIBUTES: Final[weakref.WeakKeyDictionary[Mapper[Any], dict[Table, list[Any]]]] = weakref.WeakKeyDictionary()


def _key_attributes(mapper: Mapper[Any], table: Table) -> list[Any]:
    """Return the names of the attributes of a table's primary key, None for columns that are not mapped."""
    known = _KEY_ATTRIBUTES.setdefault(mapper, {})
    if table not in known:
        known[table] = [_attribute_name(mapper, each) for each in table.primary_key]
    return known[table]


def _attribute_name(mapper: Mapper[Any], column: Any) -> Any:
    """Return the name of the attribute of a column, None if not mapped."""
    return mapper.get_property_by_column(column).key if column in mapper.columns.values() else None


def keys_in(state: InstanceState[Any], table: Table) -> tuple[tuple[Any, ...] | None, tuple[Any, ...] | None]:
    """Return the primary keys that an object's row has in a table until the flush and after it."""
    return old_key_in(state, table), key_in(state, table)


def changed_keys(state: InstanceState[Any]) -> Iterator[tuple[Table, tuple[Any, ...], tuple[Any, ...]]]:
    """Yield the tables in which an object is about to get another primary key, each with the old and the new one."""
    for table in tables_with_files(state.mapper):
        old, new = keys_in(state, table)
        if new is not None and old is not None and new != old:
            yield table, old, new


def tables_with_files(mapper: Mapper[Any]) -> list[Table]:
    """Return the tables of a mapper that have file columns, mapped ones or not."""
    return [each for each in mapper.tables if isinstance(each, Table) and file_columns(each)]


def read_rows(
    connection: Connection,
    table: Table,
    keys: Iterable[tuple[Any, ...]],
    options: Mapping[str, Any] | None = None,
    *,
    lock: bool = True,
) -> dict[tuple[Any, ...], Files]:
    """Return the files in rows, and lock the rows in the order of their keys.

    Absent rows are left out. The database says which key is which row: a key that comes back otherwise than
    it was asked for (``"1"`` as 1, a padded CHAR, a UUID in other letters) is looked up by itself.
    """
    if lock:
        begin_writing(connection)
    found: dict[tuple[Any, ...], Files] = {}
    for batch in key_batches(sorted(keys, key=repr)):
        rows = _select_rows(connection, table, batch, options, lock=lock)
        found.update((each, rows[each]) for each in batch if each in rows)
        if len(rows.keys() & set(batch)) < len(rows):
            for each in batch:
                if each not in found and (single := _select_rows(connection, table, [each], options, lock=lock)):
                    found[each] = next(iter(single.values()))
    return found


def _select_rows(
    connection: Connection,
    table: Table,
    keys: list[tuple[Any, ...]],
    options: Mapping[str, Any] | None,
    *,
    lock: bool,
) -> dict[tuple[Any, ...], Files]:
    key, files = list(table.primary_key), file_columns(table)
    query = select(*key, *map(as_stored, files)).where(is_one_of(key, keys))
    if lock:
        query = query.order_by(*key).with_for_update()
    rows = connection.execute(unlimited(query, connection), execution_options=dict(options or {}))
    return {tuple(row[: len(key)]): dict(zip(files, row[len(key) :], strict=True)) for row in rows}


def begin_writing(connection: Connection) -> None:
    """Let SQLite begin the transaction now, as one that writes.

    It knows no locks of rows, and Python's sqlite3 module sends BEGIN only before the first statement that writes: what
    is read before could be changed by others until then.
    """
    if connection.dialect.name == "sqlite" and connection.dialect.driver in {"pysqlite", "aiosqlite"}:
        sqlite: Any = connection.connection.dbapi_connection
        sqlite = getattr(sqlite, "driver_connection", None) or getattr(sqlite, "_connection", sqlite)
        if not sqlite.in_transaction and sqlite.isolation_level is not None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")


@dataclass(eq=False, slots=True)
class Flush:
    """The flush that is under way: the rows that it will write, with their files of before."""

    updated: Sequence[InstanceState[Any]] = ()
    deleted: Sequence[InstanceState[Any]] = ()
    inserted: dict[InstanceState[Any], list[Row]] = field(default_factory=dict)
    #: Rows, and mappers with all their objects to delete, whose cascades were followed.
    cascaded: set[tuple[Table, tuple[Any, ...]]] = field(default_factory=set)
    cascaded_mappers: set[Mapper[Any]] = field(default_factory=set)
    _held: dict[tuple[InstanceState[Any], Table], Files] = field(default_factory=dict)
    _read: set[tuple[InstanceState[Any], Table]] = field(default_factory=set)

    def held(self, session: Session, connection: Connection, state: InstanceState[Any], table: Table) -> Files | None:
        """Return the files in the row of an object in a table, locked; None if there is no such row.

        The rows of all objects that the flush will write to the table are read with it.
        """
        if (state, table) not in self._read:
            self._look_up(session, connection, state, table)
        return self._held.get((state, table))

    def _look_up(self, session: Session, connection: Connection, state: InstanceState[Any], table: Table) -> None:
        among = self.deleted if state in self.deleted else self.updated
        together = [state, *(each for each in among if each is not state and _is_written_to(each, table))]
        if session.connection_callable is not None:  # each object may have a connection of its own
            chosen = [internals.connection_in_flush(session, each.mapper, each.obj()) for each in together]
            together = [each for each, its_own in zip(together, chosen, strict=True) if its_own is connection]
        by_key: dict[tuple[Any, ...], list[InstanceState[Any]]] = {}
        for each in together:
            if each.key is not None and (each, table) not in self._read:
                self._read.add((each, table))
                key = old_key_in(each, table)
                if key is not None:
                    by_key.setdefault(key, []).append(each)
        for key, files in read_rows(connection, table, by_key).items():
            self._held.update(((each, table), files) for each in by_key[key])


def _is_written_to(state: InstanceState[Any], table: Table) -> bool:
    return table in state.mapper.tables
