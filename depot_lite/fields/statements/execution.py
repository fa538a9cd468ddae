"""Rows that are written by statements instead of objects, and keep to the same rules.

``session.execute(insert/update/delete ...)``, ``Query.delete`` and ``Query.update`` come here as to a listener of
``do_orm_execute``. The files that a statement is about to remove are read first, with the rows locked (``SELECT ... FOR
UPDATE``; SQLite has one writer at a time anyway), and the statement is restricted to these rows: they are chosen once,
when they are read. Files are stored before any row is locked. An UPDATE that gives one file to several
rows gives each row a file of its own (`depot_lite.fields.statements.inserts`, `depot_lite.fields.statements.updates`).

Statements that cannot be followed are refused if a file might be lost: a file from a SQL expression, INSERT ... SELECT
of a file column, an upsert that sets one, ``REPLACE``. Not seen are statements inside of others (``WITH gone AS (DELETE
...) SELECT``); their files are left to maintenance.

For ``session.bulk_*`` see `depot_lite.fields.statements.bulk`, for rows that the database removes itself
`depot_lite.fields.statements.deletes`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Delete, Insert, Table, Update
from sqlalchemy.orm import FromStatement, ORMExecuteState, Session
from sqlalchemy.sql import visitors

from depot_lite.errors import InvalidContent
from depot_lite.fields import columns, internals
from depot_lite.fields.statements.bulk import wrap_bulk_methods
from depot_lite.fields.statements.deletes import delete, tables_to_follow, track_cascades
from depot_lite.fields.statements.inserts import insert
from depot_lite.fields.statements.targets import Target
from depot_lite.fields.statements.updates import update
from depot_lite.fields.tracking.defaults import follow_defaults


def _on_execute(state: ORMExecuteState) -> Any:
    written = _written(state.statement)
    # A listener of the session's may have made another statement of it.
    if state.session.dispatch.do_orm_execute and not _concerns_files(written):
        return None
    target = Target.of(state, written)
    if target is None:
        return None
    for each in target.columns.values():
        if each.column.default is not None or each.column.onupdate is not None:
            follow_defaults(each)
    if isinstance(written, Insert):
        return insert(state, written, target) if target.columns else None
    _refuse_writing_conditions(written, target)
    if isinstance(written, Delete):
        return delete(state, written, target)
    return update(state, written, target)


def _written(statement: Any) -> Any:
    """Return the statement that writes: select(Document).from_statement(insert(Document)...) has it inside."""
    return statement.element if isinstance(statement, FromStatement) else statement


def _may_concern_files(session: Session, statement: Any) -> bool:
    """Return whether a statement has to be followed, as it is or when a listener of the session's has changed it.

    Every statement that writes comes here, also those of tables without files: hence the few calls.
    """
    return bool(session.dispatch.do_orm_execute) or _concerns_files(statement)


def _concerns_files(statement: Any) -> bool:
    """Return whether a statement writes to a table with files, or to one whose rows take others with files along."""
    if isinstance(statement, FromStatement):
        statement = statement.element
    if not isinstance(statement, Insert | Update | Delete):
        return False
    table: Any = statement.table
    if not isinstance(table, Table):
        table = getattr(table, "element", None)  # of an alias
        if not isinstance(table, Table):
            return False
    if table.fullname in tables_to_follow(table.metadata):
        return True
    mapper = internals.parent_mapper(statement)
    return mapper is not None and columns.INFO in mapper.class_manager.info


def _refuse_writing_conditions(statement: Update | Delete, target: Target) -> None:
    for each in visitors.iterate(statement.whereclause) if statement.whereclause is not None else ():
        if isinstance(each, Insert | Update | Delete):
            raise InvalidContent(
                f"{target.table.name}: a condition that itself writes rows would be executed twice, since the files "
                "of the rows are read before; execute it first, as a statement of its own"
            )


def track_statements() -> None:
    """Follow the statements of all sessions; a second call does nothing."""
    internals.follow_statements(_on_execute, _may_concern_files)
    wrap_bulk_methods()
    track_cascades()
