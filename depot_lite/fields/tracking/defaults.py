"""Defaults of columns that give files, and ``onupdate``: each row gets a file of its own, stored while it is written.

A default may read the row's other values from its context, so it is called where SQLAlchemy calls it: when the
statement is about to be executed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnDefault
from sqlalchemy.engine import Connection

from depot_lite.errors import DepotError, InvalidContent
from depot_lite.fields import columns, internals
from depot_lite.fields.columns import NOT_LOADED, FileColumn, has_pending
from depot_lite.fields.tracking import outcomes
from depot_lite.fields.tracking.births import Row
from depot_lite.fields.tracking.ledger import watch_of
from depot_lite.fields.tracking.storing import store_all


def store_default(column: FileColumn, value: Any, connection: Connection) -> Any:
    """Store the file or list that a default gives to one row, and return it.

    Raises:
        InvalidContent: no session writes through this connection.
    """
    accepted = column.accept(columns.for_one_row(value), None, NOT_LOADED)
    if not has_pending(accepted):
        return accepted
    session = outcomes.writing_session(connection)
    if session is None:
        raise InvalidContent(
            f"{column}: the default gives a file, and connection.execute() has no session that would look after it; "
            "use session.execute()"
        )
    store_all(session, [(column, accepted)])
    row = Row(column.table, None)
    row.mark_written()  # nothing tells when the statement has been executed
    watch_of(session, connection).candidates.enter(row, named=[accepted])
    return accepted


def follow_defaults(column: FileColumn) -> None:
    """Store the files that the default and the ``onupdate`` of a column give; a second call does nothing."""
    if column.has_default:
        return
    for default in (column.column.default, column.column.onupdate):
        if isinstance(default, ColumnDefault) and (default.is_callable or default.is_scalar):
            for_update = default is column.column.onupdate
            columns.remember_default(column.column, default, for_update=for_update)
            internals.set_default(column.column, _storing(column, default), for_update=for_update)


def _storing(column: FileColumn, default: ColumnDefault) -> Callable[[Any], Any]:
    def give(context: Any) -> Any:
        try:
            value = default.arg(context) if default.is_callable else default.arg
            return store_default(column, value, context.root_connection)
        except DepotError as error:
            internals.keep_class(error)
            raise

    return give
