"""Slots: the file attributes of objects that a flush is about to write, beside the files of their rows.

Before a row is written, its files are read under a lock (`Flush`): the files in the row now will be replaced,
whatever the session remembers.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Column, Table, select
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.fields import columns, internals
from depot_lite.fields.columns import NOT_LOADED, FileColumn, file_columns, files_in, paths_of
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.lists import FileList, merged
from depot_lite.fields.tracking.births import Row, birth_of
from depot_lite.fields.tracking.checks import check_count
from depot_lite.fields.tracking.proof import batches, is_one_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import InstanceState

#: The file columns of a row, with their values, lists, or None.
Files = Mapping[Column[Any], Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """One file attribute of one object."""

    state: InstanceState[Any]
    column: FileColumn

    @property
    def value(self) -> Any:
        """The value or list of the attribute; None if it is empty or not loaded."""
        return self.state.dict.get(self.column.key)

    @property
    def changed(self) -> bool:
        """Whether the attribute was set, or its list changed, since the last flush."""
        return self.column.key in self.state.committed_state

    @property
    def old(self) -> Any:
        """The value, list or None that the row held when the session looked last, or `NOT_LOADED`."""
        if self.changed:
            return self.state.committed_state[self.column.key]
        return self.state.dict.get(self.column.key, NOT_LOADED)

    @property
    def is_written(self) -> bool:
        """Whether a flush will write the attribute: SQLAlchemy leaves out unchanged ones."""
        if self.state.key is None:
            return True
        if not self.changed:
            return self.column.column.onupdate is not None and self.state.modified
        old = self.old
        return columns.is_not_loaded(old) or not self.column.type.compare_values(old, self.value)

    @property
    def may_be_of_others(self) -> bool:
        """Whether the attribute holds stored files of which nobody knows whether they are the row's own."""
        if self.state.key is None or not columns.is_not_loaded(self.old):
            return False
        return any(not value.pending for value in files_in(self.value))

    def accept(self) -> None:
        """Accept a value that came past the attribute's listener, by ``__dict__`` say, as if it was assigned.

        Raises:
            InvalidContent: the attribute holds something that cannot be stored.
        """
        value = self.value
        if value is None and not (self.column.type.multiple and self.column.key in self.state.dict):
            return
        if not self.column.is_accepted(value, self.state):
            held = self.old if self.state.key is not None and not columns.is_not_loaded(self.old) else None
            self.state.dict[self.column.key] = self.column.accept(value, self.state, held)

    def copy_foreign(self, held: Any = NOT_LOADED) -> None:
        """Give the row copies of the stored files that are not its own: their owners may delete them any time.

        Args:
            held: the files that the row holds, if it was read; by default those that the session remembers.
        """
        if columns.is_not_loaded(held):
            held = None if self.state.key is None else self.old
        own_paths, value = columns.main_paths(held), self.value
        copied = self.column.copy_foreign(
            value, self.state, lambda each: each.get("path") in own_paths or _is_born_of(each, self.state)
        )
        if copied is not value:
            self.state.dict[self.column.key] = copied

    def reconcile(self, held: Any) -> None:
        """Merge the object's files with those that its row has by now, so that no deleted file is named.

        Changes of two sessions to one list are merged. A stored value that the row does not name any more gives way to
        the one that it names now.

        Raises:
            StaleDataError: both have changed the order of the list, or the model has a version counter.
            ValidationError: the two together have put more files into the list than it may have.
        """
        value, old = self.value, self.old
        if isinstance(value, FileList):
            if isinstance(old, FileList) and list(old) != list(files_in(held)):
                counted = self.state.mapper.version_id_col is not None
                together = None if counted else merged(old, value, held)
                if together is None:
                    reason = "the model counts its versions" if counted else "both have changed its order"
                    raise StaleDataError(
                        f"{self.column}: another transaction has changed the list meanwhile, and {reason}; "
                        "load the object again"
                    )
                if len(together) > max(len(value), len(files_in(held))):
                    check_count(self.column, len(together))
                value.take(together)
        elif isinstance(value, DepotFileInfo) and not value.pending and birth_of(str(value.get("path"))) is None:
            known = {each.get("path") for each in files_in(held)}
            self.state.dict[self.column.key] = value if value.get("path") in known else held


def _is_born_of(value: DepotFileInfo, state: InstanceState[Any]) -> bool:
    """Return whether this object has stored the value itself, in its open transaction."""
    birth = birth_of(str(value.get("path")))
    owner = birth.pending.owner if birth is not None and birth.value is value else None
    return owner is not None and owner[0]() is state


def slots_of(states: Iterable[InstanceState[Any]]) -> Iterator[Slot]:
    """Yield the file attributes of objects."""
    for state in states:
        for column in columns.columns_of_mapper(state.mapper).values():
            yield Slot(state, column)


def states_with_files(states: Iterable[InstanceState[Any]]) -> list[InstanceState[Any]]:
    """Return the states of objects that have file attributes."""
    return [state for state in states if columns.INFO in state.manager.info]


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
    of_mapper = [_attribute(mapper, each) for each in mapper.primary_key]
    of_joined = table not in {each.table for each in mapper.primary_key}
    key = []
    for position, name in enumerate(_key_attributes(mapper, table)):
        value = state.committed_state.get(name, state.dict.get(name, NOT_LOADED))
        if columns.is_not_loaded(value) or value is None:
            if name in of_mapper:
                value = identity[of_mapper.index(name)]
            elif of_joined:
                # A subclass has an attribute of its own for its key, whose columns are in the order of its parent's.
                value = identity[position]
        key.append(value)
    return None if any(each is None or columns.is_not_loaded(each) for each in key) else tuple(key)


_KEYS: Final[weakref.WeakKeyDictionary[Mapper[Any], dict[Table, list[Any]]]] = weakref.WeakKeyDictionary()


def _key_attributes(mapper: Mapper[Any], table: Table) -> list[Any]:
    """Return the names of the attributes of a table's primary key, None for columns that are not mapped."""
    known = _KEYS.setdefault(mapper, {})
    if table not in known:
        known[table] = [_attribute(mapper, each) for each in table.primary_key]
    return known[table]


def _attribute(mapper: Mapper[Any], column: Any) -> Any:
    """Return the name of the attribute of a column, None if not mapped."""
    return mapper.get_property_by_column(column).key if column in mapper.columns.values() else None


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
    for batch in batches(sorted(keys, key=repr)):
        rows = _read(connection, table, batch, options, lock=lock)
        found.update((each, rows[each]) for each in batch if each in rows)
        if len(rows.keys() & set(batch)) < len(rows):
            for each in batch:
                if each not in found and (single := _read(connection, table, [each], options, lock=lock)):
                    found[each] = next(iter(single.values()))
    return found


def _read(
    connection: Connection,
    table: Table,
    keys: list[tuple[Any, ...]],
    options: Mapping[str, Any] | None,
    *,
    lock: bool,
) -> dict[tuple[Any, ...], Files]:
    key, files = list(table.primary_key), file_columns(table)
    query = select(*key, *files).where(is_one_of(key, keys))
    if lock:
        query = query.order_by(*key).with_for_update()
    rows = connection.execute(query, execution_options=dict(options or {}))
    return {tuple(row[: len(key)]): dict(zip(files, row[len(key) :], strict=True)) for row in rows}


def remember(row: Row, held: Files | None) -> None:
    """Enter the files that a row named when the transaction read it first."""
    if held is not None:
        row.written = True
        if row.before is None:
            row.before = {path for value in held.values() for path in paths_of(value)}


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


class Flush:
    """The flush that is under way: the rows that it will write, with their files of before."""

    def __init__(self, updated: Sequence[InstanceState[Any]] = (), deleted: Sequence[InstanceState[Any]] = ()) -> None:
        self._updated = updated
        self._deleted = deleted
        self._held: dict[tuple[InstanceState[Any], Table], Files] = {}
        self._read: set[tuple[InstanceState[Any], Table]] = set()
        self.inserted: dict[InstanceState[Any], list[Row]] = {}
        #: Rows, and mappers with all their objects to delete, whose cascades were followed.
        self.cascaded: set[tuple[Table, tuple[Any, ...]]] = set()
        self.cascaded_mappers: set[Mapper[Any]] = set()

    def held(self, session: Session, connection: Connection, state: InstanceState[Any], table: Table) -> Files | None:
        """Return the files in the row of an object in a table, locked; None if there is no such row.

        The rows of all objects that the flush will write to the table are read with it.
        """
        if (state, table) not in self._read:
            self._look_up(session, connection, state, table)
        return self._held.get((state, table))

    def _look_up(self, session: Session, connection: Connection, state: InstanceState[Any], table: Table) -> None:
        among = self._deleted if state in self._deleted else self._updated
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
