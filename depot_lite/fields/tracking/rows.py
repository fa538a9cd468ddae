"""Rows: their primary keys, and the files in them, read under a lock before they are written.

The files in the row now will be replaced, whatever the session remembers.

A type may read something else than is stored: a UUID in capitals, a Numeric with more digits, and a TypeDecorator that
folds letters are written back in another form, which SQLite, or a column of text, takes for another key. Such a key is
kept as the driver gives it (`StoredKey`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    Column,
    Dialect,
    Double,
    Enum,
    Float,
    Integer,
    Select,
    String,
    Table,
    and_,
    bindparam,
    cast,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import LoaderCallableStatus, Mapper, Session
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from depot_lite.fields import internals
from depot_lite.fields.columns import NOT_LOADED
from depot_lite.fields.file_type import file_columns, stored_files
from depot_lite.fields.tracking.births import Files, Row

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import InstanceState

# --- keys ---------------------------------------------------------------------------------------------------------

#: How many primary keys one SELECT names.
BATCH: Final = 500


class StoredKey(tuple[Any, ...]):
    """A primary key as the driver gives it. ``loaded`` is the same key as Python reads it, which finds no row."""

    loaded: tuple[Any, ...]

    @classmethod
    def of(cls, stored: Iterable[Any], loaded: tuple[Any, ...]) -> StoredKey:
        """Return the key."""
        key = cls(stored)
        key.loaded = loaded
        return key

    def __eq__(self, other: object) -> bool:
        """Return whether this is the same key, also as the driver gives it."""
        return isinstance(other, StoredKey) and super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        """Return whether this is another key; a tuple would compare for itself."""
        return not self == other

    __hash__ = tuple.__hash__


def loaded_key(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a key as Python reads it, which the identities of objects are made of."""
    return key.loaded if isinstance(key, StoredKey) else key


class _DriverType(UserDefinedType[Any]):
    """The type of the driver's own values, which are sent and read as they are."""

    cache_ok = True


class _Untyped(GenericFunction[Any]):
    """A column without its type. A float of four bytes becomes one of eight: it equals no number that Python has."""

    inherit_cache = True
    _register = False
    name = "stored_key"
    type = _DriverType()


@compiles(_Untyped)
def _compile_untyped(element: GenericFunction[Any], compiler: Any, **kw: Any) -> str:
    column = next(iter(element.clauses))
    wide = cast(column, Double) if _is_narrow(column.type, compiler.dialect) else column
    return str(compiler.process(wide, **kw))


def _is_narrow(kind: TypeEngine[Any], dialect: Dialect) -> bool:
    """Return whether a type is a float that may have four bytes; all of SQLite's have eight."""
    impl: Any = kind.dialect_impl(dialect)
    while isinstance(impl, TypeDecorator):
        impl = impl.impl_instance
    return isinstance(impl, Float) and not isinstance(impl, Double) and dialect.name != "sqlite"


class RowReader:
    """Reads the primary keys of rows, and the files in them, with queries that select its ``columns``.

    Args:
        key: the expressions of the primary key.
        dialect: of the database.
        files: the file columns to read, each with the expression that selects it; by default none.
    """

    def __init__(
        self, key: Sequence[Any], dialect: Dialect, files: Mapping[Column[Any], ColumnElement[Any]] | None = None
    ) -> None:
        self._width, self._files = len(key), files or {}
        sent = {position: _sender(each.type, dialect) for position, each in enumerate(key)}
        # The positions of the columns whose values may read otherwise than they are stored.
        self._sent = {position: send for position, send in sent.items() if send is not None}
        untyped = [_Untyped(key[position]) for position in self._sent]
        self._start = len(key) + len(untyped)
        self.columns = [*key, *untyped, *self._files.values()]

    def read(
        self,
        connection: Connection,
        query: Select[Any],
        parameters: Any = None,
        options: Mapping[str, Any] | None = None,
    ) -> dict[tuple[Any, ...], Files]:
        """Return the files of the rows that a query finds, by primary key."""
        rows = connection.execute(unlimited(query, connection), parameters, execution_options=dict(options or {}))
        return {self._key(row): dict(zip(self._files, row[self._start :], strict=True)) for row in rows}

    def read_locked(
        self,
        connection: Connection,
        query: Select[Any],
        parameters: Any = None,
        options: Mapping[str, Any] | None = None,
    ) -> dict[tuple[Any, ...], Files]:
        """Read rows that are about to be written; the query is one ``FOR UPDATE``."""
        begin_writing(connection)
        return self.read(connection, query, parameters, options)

    def _key(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """Return the key of a row in a form that finds this row, and no other."""
        loaded, stored = tuple(row[: self._width]), list(row[: self._width])
        finds = True
        for (position, send), value in zip(self._sent.items(), row[self._width : self._start], strict=True):
            stored[position] = value
            finds &= bool(send(loaded[position]) == value)
        return loaded if finds else StoredKey.of(stored, loaded)


def _sender(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return a function that makes the driver's value of one of Python's; None if both are always equal."""
    impl = kind.dialect_impl(dialect)
    send = impl.bind_processor(dialect)
    is_exact = isinstance(impl, Integer | String) and not isinstance(impl, Enum)
    if is_exact and send is None and impl.result_processor(dialect, None) is None:
        return None
    if _is_narrow(kind, dialect) or kind.bind_expression(bindparam("key", type_=kind)) is not None:
        return lambda value: _UNKNOWN
    return send or (lambda value: value)


#: Equal to no value: the database changes all that it gets.
_UNKNOWN: Final = object()


def is_one_of(key: Sequence[Any], identities: Iterable[tuple[Any, ...]]) -> ColumnElement[bool]:
    """Return the condition that a row has one of these primary keys."""
    known = list(identities)
    stored = [tuple(each) for each in known if isinstance(each, StoredKey)]
    if not stored:
        return _is_one_of(key, known)
    plain = [each for each in known if not isinstance(each, StoredKey)]
    condition = _is_one_of([_Untyped(each) for each in key], stored)
    return or_(condition, _is_one_of(key, plain)) if plain else condition


def _is_one_of(key: Sequence[Any], known: list[tuple[Any, ...]]) -> ColumnElement[bool]:
    if len(key) == 1:
        # With the column's type, not the values': PostgreSQL does not compare a number with "1", which may be its key.
        values = bindparam(None, [each[0] for each in known], key[0].type, expanding=True, unique=True)
        return key[0].in_(values)  # type: ignore[no-any-return]  # an attribute is Any
    whole = [each for each in known if None not in each]
    # SQLite lets a part of a primary key be NULL, which is equal to nothing.
    parts = [
        and_(*(column.is_(None) if value is None else column == value for column, value in zip(key, each, strict=True)))
        for each in known
        if None in each
    ]
    return or_(tuple_(*key).in_(whole), *parts) if parts else tuple_(*key).in_(whole)


def key_batches(identities: Iterable[tuple[Any, ...]], size: int = BATCH) -> list[list[tuple[Any, ...]]]:
    """Return the keys in lists that one condition can name."""
    known = list(identities)
    return [known[start : start + size] for start in range(0, len(known), size)]


# --- keys of objects ----------------------------------------------------------------------------------------------


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


# --- files in rows ------------------------------------------------------------------------------------------------

#: More rows than a table can have: an explicit LIMIT is stronger than ``sql_select_limit``.
_ALL_ROWS: Final = 2**64 - 1


def unlimited(query: Select[Any], connection: Connection) -> Select[Any]:
    """Return a query for all of its rows, although a session of MariaDB may have set ``sql_select_limit``."""
    return query.limit(_ALL_ROWS) if connection.dialect.name in {"mysql", "mariadb"} else query


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
    key, files = list(table.primary_key), stored_files(table)
    query = select(*key, *files.values()).where(is_one_of(key, keys))
    if lock:
        query = query.order_by(*key).with_for_update()
    rows = connection.execute(unlimited(query, connection), execution_options=dict(options or {}))
    return {tuple(row[: len(key)]): dict(zip(files, row[len(key) :], strict=True)) for row in rows}


def begin_writing(connection: Connection) -> None:
    """Let SQLite begin the transaction now, as a writing one.

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
