"""The target of a statement, and the files in the rows that it is about to write.

The rows are read on the connection that the statement will use, and not through ``session.execute()``: a listener of
the application that hides rows from its own queries (deleted rows, rows of other tenants) must not hide them here, or
the file of a hidden row would be taken for an unused one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ClauseElement, Column, Delete, Dialect, FromClause, Insert, Table, Update, and_, inspect, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import FromStatement, Mapper, ORMExecuteState, Session
from sqlalchemy.sql import ColumnElement, visitors
from sqlalchemy.sql.elements import BindParameter, ColumnClause, TextClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import SelectBase

from depot_lite.errors import ConfigurationError, InvalidContent
from depot_lite.fields import internals
from depot_lite.fields.columns import FileColumn, columns_of_table
from depot_lite.fields.file_type import file_type, stored_files
from depot_lite.fields.tracking.births import Files
from depot_lite.fields.tracking.ledger import watch_of
from depot_lite.fields.tracking.outcomes import Watch
from depot_lite.fields.tracking.rows import RowReader, is_one_of

#: Primary key -> the files in that row.
Rows = dict[tuple[Any, ...], Files]

#: How many values a statement names at most, below the limits of databases: SQLite 32,766, PostgreSQL 65,535.
MOST_PARAMETERS: Final = 20_000

# Options that mean something to the statement itself only. A SELECT that streamed its rows would still be open at the
# next one.
_NOT_FOR_READING: Final = {"synchronize_session", "yield_per", "stream_results", "max_row_buffer", "prebuffer_rows"}


def readable_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the execution options of a statement that hold for reading before it, such as ``schema_translate_map``."""
    return {
        name: value for name, value in options.items() if name not in _NOT_FOR_READING and not name.startswith("_sa_")
    }


def each_of(parameters: Any) -> Sequence[Any]:
    """Return the sets of parameters as a list, also if one or none was given."""
    return parameters if isinstance(parameters, list | tuple) else [parameters]


def mapper_of(entity: Any) -> Mapper[Any]:
    """Return the mapper of a class or of an alias of it, configured."""
    mapper: Mapper[Any] = inspect(entity).mapper
    if not mapper.configured:  # a statement may be the first thing that a process does
        mapper.registry.configure(cascade=True)
    return mapper


def parameters_in(clause: Any) -> set[str]:
    """Return the names of the parameters in a condition."""
    found = () if clause is None else visitors.iterate(clause)
    return {each.key for each in found if isinstance(each, BindParameter)}


def _is_volatile(clause: Any) -> bool:
    """Return whether a condition may choose other rows when it is asked a second time: ``random()``, LIMIT, text."""
    found = any(isinstance(each, FunctionElement | TextClause) for each in visitors.iterate(clause))
    return found or internals.is_limited(clause)


def names_other_tables(clauses: Iterable[Any], source: FromClause) -> bool:
    """Return whether expressions need other tables than the target of the statement."""
    for clause in clauses:
        for each in visitors.iterate(clause) if isinstance(clause, ClauseElement) else ():
            if isinstance(each, SelectBase) or (
                isinstance(each, ColumnClause) and each.table is not None and each.table is not source
            ):
                return True
    return False


@dataclass(frozen=True, slots=True)
class Target:
    """The table that a statement writes to, as it is or as a mapped class sees it.

    ``source`` is the name in the statement: the table or an alias of it. ``entity`` is the class, or its alias.
    ``columns`` are the file columns that the statement may assign to; a DELETE has none.
    """

    session: Session
    table: Table
    source: FromClause
    mapper: Mapper[Any] | None
    entity: Any
    columns: Mapping[str, FileColumn]
    bind_arguments: Mapping[str, Any]
    execution_options: Mapping[str, Any]

    @classmethod
    def of(cls, state: ORMExecuteState, statement: Insert | Update | Delete) -> Target | None:
        """Return the target of a statement, None if that is no table."""
        entity = internals.parent_entity(statement)
        mapper = None if entity is None else mapper_of(entity)
        source: Any = statement.table
        table: Any = (
            getattr(source, "element", source) if mapper is None else mapper.local_table
        )  # element: of an alias
        if not isinstance(table, Table):
            return None
        if mapper is not None and mapper.class_ is entity:
            source = table
        columns = {} if isinstance(statement, Delete) else columns_of_table(table, mapper)
        arguments, options = state.bind_arguments, state.execution_options
        return cls(state.session, table, source, mapper, entity, columns, arguments, options)

    @property
    def key(self) -> list[Any]:
        """The expressions of the primary key."""
        return [self.expression(each) for each in self.table.primary_key]

    def expression(self, column: Column[Any]) -> Any:
        """Return the column as the statement spells it: as an attribute, so that criteria of the mapper apply."""
        if self.mapper is None or column not in self.mapper.columns.values():
            return self.source.c[column.key]
        return getattr(self.entity, self.mapper.get_property_by_column(column).key)

    def find_column(self, name: Any) -> FileColumn | None:
        """Return the file column that a statement or a mapping calls so: by attribute, by column, or as an object."""
        if isinstance(name, str) or hasattr(name, "__clause_element__"):
            key = name if isinstance(name, str) else name.key
            if self.mapper is not None and self.mapper.has_property(key):
                # An attribute may have the name that another one's column has.
                return self.columns.get(key)
            return next((each for each in self.columns.values() if key in (each.column.key, each.column.name)), None)
        return next((each for each in self.columns.values() if each.column.key == name.key), None)

    def refuse_other_tables(self, values: Iterable[Any], parameters: Iterable[str]) -> None:
        """Refuse an UPDATE of several tables, as MariaDB knows it, that assigns a file of another one than this.

        Args:
            values: the columns that the statement assigns to.
            parameters: the names of its parameters that are values.

        Raises:
            InvalidContent: it assigns such a file.
        """
        named = [each for each in values if not isinstance(each, str)]
        by_name = [column.column for each in parameters if (column := self.find_column(each)) is not None]
        for each in (each for each in [*named, *by_name] if file_type(each.type) is not None):
            table = getattr(each.table, "element", each.table)  # element: of an alias
            if table.fullname != self.table.fullname:
                raise InvalidContent(
                    f"{table.name}.{each.name}: an UPDATE of {self.table.name} cannot look after files of another "
                    f"table; execute an UPDATE of {table.name}"
                )

    def is_key(self, name: Any) -> bool:
        """Return whether a statement that assigns to ``name`` changes the primary key."""
        key = name if isinstance(name, str) else name.key
        return key in {each.key for each in self.table.primary_key} | {each.key for each in self.key}

    def key_of(self, row: Mapping[Any, Any], table: Table) -> tuple[Any, ...] | None:
        """Return the primary key in a table that a mapping of values gives, None if incomplete."""
        names = {name if isinstance(name, str) else name.key: value for name, value in row.items()}
        key = []
        for column in table.primary_key:
            known = self.mapper is not None and column in self.mapper.columns.values()
            attribute = self.mapper.get_property_by_column(column).key if known and self.mapper is not None else None
            value = names.get(attribute, names.get(column.key))
            key.append(value.effective_value if isinstance(value, BindParameter) else value)
        unknown = any(each is None or isinstance(each, ClauseElement) for each in key)
        return None if unknown else tuple(key)

    def connection(self) -> Connection:
        """Return the connection on which the session will execute the statement."""
        return self.session.connection(bind_arguments=dict(self.bind_arguments))

    def as_written(self) -> Target:
        """Return the target with the arguments by which SQLAlchemy finds the connection for a list of rows.

        It asks twice, first with the statement and then for the mapper only, and a session may remember the first
        question. An UPDATE by primary key leaves out the options of the statement.
        """
        if self.mapper is None or not internals.is_bulk(self.execution_options):
            return self
        self.session.get_bind(**self.bind_arguments)
        options = dict(self.execution_options)
        if "_sa_orm_update_options" in options:
            options.pop("schema_translate_map", None)
        return replace(self, bind_arguments={"mapper": self.mapper.base_mapper}, execution_options=options)

    def watch(self) -> Watch:
        """Return the watch of that connection."""
        return watch_of(self.session, self.connection())

    def flush(self) -> None:
        """Flush as the statement itself will: rows that are written by it now must have been read before."""
        if self.mapper is not None and self.execution_options.get("autoflush", True):
            internals.autoflush(self.session)

    def invoke_for(
        self, state: ORMExecuteState, statement: Any, watch: Watch, keys: Sequence[tuple[Any, ...]], *, keep: bool
    ) -> Any:
        """Send a statement for the rows that were read, and no others: they are chosen once.

        A condition such as ``random() < 0.5`` would choose others the second time, whose files nobody had seen.

        Args:
            state: of the user's statement.
            statement: its replacement.
            watch: of the connection.
            keys: the primary keys of the rows.
            keep: the statement's own condition stays (`needs_condition`).
        """
        condition = is_one_of(self.key, keys)
        whole = statement.where(condition) if keep else internals.changed(statement, _where_criteria=(condition,))
        return self.invoke(state, whole, watch)

    def invoke(self, state: ORMExecuteState, statement: Any, watch: Watch | None) -> Any:
        """Send the replacement of the user's statement; record a doubt in the watch if it raises."""
        if isinstance(state.statement, FromStatement):
            statement = internals.changed(state.statement, element=statement)
        with self.executing(watch):
            return state.invoke_statement(statement=statement, bind_arguments=dict(self.bind_arguments))

    @contextmanager
    def executing(self, watch: Watch | None) -> Iterator[None]:
        """Record a doubt if the statement raises: it may have been executed before."""
        try:
            yield
        except BaseException:
            if watch is not None:
                watch.candidates.in_doubt = True
            raise

    def condemn(self, statement: Delete, parameters: Any) -> tuple[Rows, Watch]:
        """Flush, lock the rows that a DELETE will remove, for each set of parameters, and enter their files.

        Returns the rows, and the watch of the connection.
        """
        self.flush()
        options, rows = internals.options_of(statement), dict[tuple[Any, ...], Files]()
        for each in each_of(parameters):
            rows.update(self.read_locked(statement.whereclause, each, options))
        watch = self.watch()
        for key, files in rows.items():
            watch.candidates.enter(self.table, key, self.execution_options, condemned=files.values(), deleted=True)
        return rows, watch

    def read_locked(self, where: Any, parameters: Any = None, options: Sequence[Any] = ()) -> Rows:
        """Lock the rows that match, and return their files."""
        connection = self.connection()
        reader = self._reader(connection.dialect, stored_files(self.table, self.source))
        query = self._select(reader, where, options).with_for_update(of=self._locked())
        return reader.read_locked(connection, query, parameters, readable_options(self.execution_options))

    def read_keys(self, where: Any, parameters: Any, options: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the keys of the rows that match, locking nothing.

        If the session has no connection yet, none is taken from its pool for longer than this.
        """
        chosen = readable_options(self.execution_options)
        arguments = dict(self.bind_arguments)
        bind: Any = arguments.pop("bind", None) or self.session.get_bind(**arguments)
        reader = self._reader(bind.dialect, {})
        query = self._select(reader, where, options)
        if internals.holds_connection(self.session, bind):
            return list(reader.read(self.connection(), query, parameters, chosen))
        with bind.connect() as connection:
            of_session = dict(getattr(self.session, "execution_options", None) or {})
            return list(reader.read(connection, query, parameters, {**of_session, **chosen}))

    def _reader(self, dialect: Dialect, files: Mapping[Column[Any], ColumnElement[Any]]) -> RowReader:
        if not len(self.table.primary_key):
            raise ConfigurationError(
                f"{self.table.name} has no primary key, by which the files of its rows could be followed: declare one"
            )
        return RowReader(self.key, dialect, files)

    def _select(self, reader: RowReader, where: Any, options: Sequence[Any]) -> Any:
        # Two statements that lock the same rows in the same order do not wait for each other.
        query = select(*reader.columns).order_by(*self.key).options(*options)
        return query if where is None else query.where(where)

    def _locked(self) -> Any:
        if self.source is not self.table and self.mapper is not None:
            return self.entity
        return [self.source] if self.mapper is not None else self.source

    def chosen(self, keys: Sequence[tuple[Any, ...]], where: Any) -> Any:
        """Return the condition for rows that were chosen, and that still match if that can be asked twice."""
        condition = is_one_of(self.key, keys)
        return condition if where is None or _is_volatile(where) else and_(condition, where)

    def needs_condition(self, statement: Update | Delete, values: Iterable[Any] = ()) -> bool:
        """Return whether a statement needs its own condition beside the keys of the rows that were read.

        Its values may come from other tables; and the rows of other tables, which are not locked, may have changed
        since. On PostgreSQL a table that inherits from this one may have a row with the same key, which does not
        match. ``random()`` is asked only once.
        """
        if names_other_tables(values, self.source):
            return True
        where = statement.whereclause
        if where is None or _is_volatile(where):
            return False
        return self.connection().dialect.name == "postgresql" or names_other_tables([where], self.source)
