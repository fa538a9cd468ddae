"""Defaults of columns that give files, and ``onupdate``: each row gets a file of its own, stored while it is written.

A default may read the row's other values from its context, so it is called where SQLAlchemy calls it: when the
statement is about to be executed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnDefault, Insert, Table

from depot_lite.errors import ConfigurationError, DepotError, InvalidContent
from depot_lite.fields import internals
from depot_lite.fields.columns import DEFAULTS, NOT_LOADED, FileColumn, files_in, has_pending
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.tracking import outcomes
from depot_lite.fields.tracking.ledger import watch_of
from depot_lite.fields.tracking.storing import store_all


def for_one_row(value: Any) -> Any:
    """Return a value given to many rows for one of them: a twin of a pending value, which can be stored only once."""
    if isinstance(value, list | tuple):
        return [for_one_row(each) for each in value]
    return value.twin() if isinstance(value, DepotFileInfo) and value.pending else value


def computed_for_update(column: FileColumn, parameters: Mapping[str, Any]) -> Any:
    """Return the value of a column's ``onupdate`` for a row that a statement updates with these parameters."""
    default = DEFAULTS[column.column][True]
    return for_one_row(default.arg(_UpdateContext(parameters)) if default.is_callable else default.arg)


@dataclass(frozen=True, slots=True)
class _UpdateContext:
    """The context for ``onupdate`` functions, of an UPDATE that has not been compiled yet."""

    current_parameters: Mapping[str, Any]

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> Mapping[str, Any]:
        """Return the values that the statement assigns."""
        return self.current_parameters


def store_default(column: FileColumn, value: Any, context: Any) -> Any:
    """Store the file or list that a default gives to one row, and return it.

    Raises:
        InvalidContent: no session writes through this connection, or the statement is an INSERT ... SELECT.
    """
    accepted = column.accept(for_one_row(value), None, NOT_LOADED)
    insert, connection = internals.executed_insert(context), context.root_connection
    if insert is not None and insert.select is not None and files_in(accepted):
        raise InvalidContent(
            f"{column}: INSERT ... SELECT would give the one file of the column's default to all new rows; insert rows "
            "with values, or leave the column empty: from_select(..., include_defaults=False)"
        )
    if not has_pending(accepted):
        return accepted
    session = outcomes.writing_session(connection)
    if session is None:
        raise InvalidContent(
            f"{column}: the default gives a file, and connection.execute() has no session that would look after it; "
            "use session.execute()"
        )
    store_all(session, [(column, accepted)])
    candidates = watch_of(session, connection).candidates
    doubtful = insert is not None and internals.may_leave_out(insert)
    key = _inserted_key(context, insert, column.table) if insert is not None and doubtful else None
    row = candidates.enter(column.table, key, context.execution_options, named=[accepted], doubtful=doubtful)
    row.mark_written()  # no event tells when the statement has been executed
    return accepted


def _inserted_key(context: Any, insert: Insert, table: Table) -> tuple[Any, ...] | None:
    """Return the primary key that an INSERT gives to the row which is written, None if incomplete."""
    if internals.rows_of(insert):  # SQLAlchemy does not tell the parameters of one of several rows
        return None
    key = tuple(context.get_current_parameters().get(each.key) for each in table.primary_key)
    return None if None in key else key


def refuse_expression(column: Column[Any], table: Table) -> None:
    """Refuse a default, or an ``onupdate``, of a file column that is a SQL expression other than ``null()``.

    Raises:
        ConfigurationError: the rows would own one file.
    """
    for name, default in (("default", column.default), ("onupdate", column.onupdate)):
        if isinstance(default, ColumnDefault) and default.is_clause_element and not internals.is_null(default.arg):
            raise ConfigurationError(
                f"{table.name}.{column.name}: {name}= cannot take a file from a SQL expression, since two rows would "
                "own one file; give a function that returns bytes, a file or an upload"
            )


def follow_defaults(column: FileColumn) -> None:
    """Store the files that the default and the ``onupdate`` of a column give; a second call does nothing."""
    if column.has_default:
        return
    refuse_expression(column.column, column.table)
    for default in (column.column.default, column.column.onupdate):
        if isinstance(default, ColumnDefault):
            for_update = default is column.column.onupdate
            if default.is_clause_element:
                default = ColumnDefault(lambda: None)  # it is null(): all others were refused
            DEFAULTS.setdefault(column.column, {})[for_update] = default
            internals.set_default(column.column, _storing(column, default), for_update=for_update)


def _storing(column: FileColumn, default: ColumnDefault) -> Callable[[Any], Any]:
    def give(context: Any) -> Any:
        try:
            value = default.arg(context) if default.is_callable else default.arg
            return store_default(column, value, context)
        except DepotError as error:
            internals.keep_class(error)
            raise

    return give
