"""What a statement writes to, and what the file columns of the rows that it is about to write hold.

The rows are read on the connection that the statement will use, and not through ``session.execute()``: a listener of
the application that hides rows from its own queries (deleted ones, those of another tenant) must not hide them from
us, or the file of a row that nobody may see would be taken for one that no row names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import FromClause, Table, bindparam, inspect, select, tuple_
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.sql import ColumnElement

from depot_lite.errors import ConfigurationError
from depot_lite.fields import tracking
from depot_lite.fields.columns import FileColumn, files_in, paths_of
from depot_lite.ledger import Frame

#: How many rows one condition names at most.
BATCH: Final = 500

#: Primary key -> what the file columns of that row hold, by key: a value, a `FileList`, or None.
Rows = dict[tuple[Any, ...], dict[str, Any]]

# What only means something to the statement itself. A SELECT that streamed its rows would still be open at the next
# one.
_NOT_FOR_READING: Final = {"synchronize_session", "yield_per", "stream_results", "max_row_buffer", "prebuffer_rows"}


def readable_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the execution options of a statement that hold for what is read before it, as ``schema_translate_map``."""
    return {
        name: value for name, value in options.items() if name not in _NOT_FOR_READING and not name.startswith("_sa_")
    }


def condemn(frame: Frame, values: Iterable[Any]) -> None:
    """Enter that rows do not name these values any more."""
    for value in values:
        for path in paths_of(value):
            frame.condemn(path)


def name(frame: Frame, values: Iterable[Any]) -> None:
    """Enter that rows name these values."""
    for value in values:
        for path in paths_of(value):
            frame.name(path)


def is_one_of(key: Sequence[Any], identities: Iterable[tuple[Any, ...]]) -> ColumnElement[bool]:
    """Return the condition that a row is one of these."""
    if len(key) == 1:
        # With the column's type, not the values': PostgreSQL does not compare a number with "1", which may be its key.
        values = bindparam(None, [each[0] for each in identities], key[0].type, expanding=True, unique=True)
        return key[0].in_(values)  # type: ignore[no-any-return]  # an attribute is Any
    return tuple_(*key).in_(list(identities))


def batches(identities: Iterable[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
    """Return the identities in lists that one condition can name."""
    known = list(identities)
    return [known[start : start + BATCH] for start in range(0, len(known), BATCH)]


def mapper_of(entity: Any) -> Mapper[Any]:
    """Return the mapper of a class or of an alias of it, configured: its file attributes are not known before."""
    mapper: Mapper[Any] = inspect(entity).mapper
    if not mapper.configured:  # a statement may be the first thing that a process does
        mapper.registry.configure(cascade=True)
    return mapper


@dataclass(frozen=True, slots=True)
class Target:
    """What a statement writes to: a table, as it is or as a mapped class sees it.

    ``source`` is what the statement itself names: the table or an alias of it. ``entity`` is the class, or its alias.
    """

    session: Session
    table: Table
    source: FromClause
    mapper: Mapper[Any] | None
    entity: Any
    columns: Mapping[str, FileColumn]
    bind_arguments: Mapping[str, Any]
    execution_options: Mapping[str, Any]

    @property
    def key(self) -> list[Any]:
        """What identifies a row."""
        return [self.expression(each) for each in self.table.primary_key]

    def expression(self, column: Any) -> Any:
        """Return the column as the statement spells it: as an attribute, so that criteria of the mapper apply."""
        if self.mapper is None:
            return self.source.c[column.key]
        return getattr(self.entity, self.mapper.get_property_by_column(column).key)

    def here(self) -> dict[str, FileColumn]:
        """Return the file columns that the statement's own table has; a joined subclass has others in its parent's."""
        return {key: each for key, each in self.columns.items() if each.column.table is self.table}

    def named(self, name: Any) -> FileColumn | None:
        """Return the file column that a statement or a mapping calls so: by attribute, by column, or as an object."""
        if isinstance(name, str) or hasattr(name, "__clause_element__"):
            key = name if isinstance(name, str) else name.key
            if self.mapper is not None and self.mapper.has_property(key):
                # An attribute may have the name that another one's column has.
                return self.columns.get(key)
            return next((each for each in self.columns.values() if key in (each.column.key, each.column.name)), None)
        return next((each for each in self.columns.values() if each.column.key == name.key), None)

    def is_key(self, name: Any) -> bool:
        """Return whether a statement that assigns to ``name`` changes the primary key."""
        key = name if isinstance(name, str) else name.key
        return key in {each.key for each in self.table.primary_key} | {each.key for each in self.key}

    def connection(self) -> Connection:
        """Return the connection on which the session will execute the statement."""
        return self.session.connection(bind_arguments=dict(self.bind_arguments))

    def frame(self) -> Frame:
        """Return the frame to write into, once the statement has run."""
        frame = tracking.frame_of(self.session)
        tracking.rows_written(frame, self.connection())
        return frame

    def flush(self) -> None:
        """Flush as the statement itself will: rows that are written by it now must have been read before."""
        if self.mapper is not None and self.execution_options.get("autoflush", True):
            self.session._autoflush()

    def read(self, keys: Iterable[str], where: Any, parameters: Any = None, options: Sequence[Any] = ()) -> Rows:
        """Lock the rows that match and return what their file columns hold."""
        key, wanted = self.key, list(keys)
        if not key:
            raise ConfigurationError(
                f"{self.table.name} has no primary key, by which the files of its rows could be followed: declare one"
            )
        query = (
            select(*key, *(self.expression(self.columns[each].column) for each in wanted))
            .options(*options)
            .order_by(*key)  # two statements that lock the same rows do not wait for each other
            .with_for_update(of=self._locked(wanted))
        )
        if where is not None:
            query = query.where(where)
        rows = self.connection().execute(query, parameters, execution_options=readable_options(self.execution_options))
        return {tuple(row[: len(key)]): dict(zip(wanted, row[len(key) :], strict=True)) for row in rows}

    def _locked(self, keys: Iterable[str]) -> Any:
        if self.source is not self.table and self.mapper is not None:
            return self.entity
        # The columns of a joined subclass are in several tables, and any of them may be written.
        others = {self.columns[each].column.table for each in keys} - {self.table}
        return [self.source, *others] if self.mapper is not None else self.source

    def read_keys(self, keys: Iterable[str], identities: Iterable[tuple[Any, ...]]) -> Rows:
        """Lock these rows and return what their file columns hold."""
        rows: Rows = {}
        wanted = list(keys)
        for batch in batches(identities):
            rows.update(self.read(wanted, is_one_of(self.key, batch)))
        return rows

    def read_again(self, rows: Rows) -> Rows:
        """Return what is left of rows that were read before, and what they hold now."""
        return self.read_keys(next(iter(rows.values()), {}), rows)

    def restricted(self, statement: Any, rows: Rows) -> tuple[Any, bool]:
        """Let a statement write the rows that were read and no others, and return whether it is so.

        A row that comes to match in between (committed by somebody else, or through another table of the condition)
        would lose its file unseen, and be counted in the place of one that was saved. For many rows the condition
        would be larger than databases take; those are read again after the statement.
        """
        if len(rows) > BATCH:
            return statement, False
        return statement.where(is_one_of(self.key, rows)), True

    def found_in_rows(self, waiting: Iterable[tuple[FileColumn, Any]]) -> list[Any]:
        """Return those of some values and lists that rows hold, found by the path of their first file."""
        by_column: dict[str, dict[str, Any]] = {}
        for column, held in waiting:
            by_column.setdefault(column.key, {})[files_in(held)[0]["path"]] = held
        found: list[Any] = []
        for key, by_path in by_column.items():
            expression = self.expression(self.columns[key].column)
            path = (expression[0, "path"] if self.columns[key].type.multiple else expression["path"]).as_string()
            for batch in batches((each,) for each in by_path):
                query = select(path).where(is_one_of([path], batch))
                options = readable_options(self.execution_options)
                present = self.connection().scalars(query, execution_options=options)
                found += [by_path[each] for each in present]
        return found
