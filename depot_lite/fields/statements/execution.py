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
`depot_lite.fields.statements.cascades`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Delete, Insert, Table, Update
from sqlalchemy.orm import FromStatement, ORMExecuteState, Session
from sqlalchemy.sql import visitors

from depot_lite.errors import InvalidContent
from depot_lite.fields import columns, internals
from depot_lite.fields.columns import file_columns
from depot_lite.fields.statements.bulk import wrap_bulk_methods
from depot_lite.fields.statements.cascades import constraints_of, enter_cascaded, track_cascades
from depot_lite.fields.statements.inserts import insert
from depot_lite.fields.statements.targets import (
    MOST_PARAMETERS,
    Rows,
    Target,
    mapper_of,
    parameters_in,
    readable_options,
)
from depot_lite.fields.statements.updates import each_of, update
from depot_lite.fields.tracking import defaults
from depot_lite.fields.tracking.rows import batches


def _on_execute(state: ORMExecuteState) -> Any:
    written = _written(state.statement)
    if not _concerns_files(written):
        return None
    target = _target(state, written)
    if target is None:
        return None
    if isinstance(written, Insert):
        return insert(state, written, target, _invoke) if target.columns else None
    _refuse_writing_conditions(written, target)
    if isinstance(written, Delete):
        return _delete(state, written, target)
    return update(state, written, target, _invoke) if target.columns else None


_WRITES: Final = (Insert, Update, Delete)


def _written(statement: Any) -> Any:
    """Return the statement that writes: select(Document).from_statement(insert(Document)...) has it inside."""
    return statement.element if isinstance(statement, FromStatement) else statement


def _may_concern_files(session: Session, statement: Any) -> bool:
    """Return whether a statement has to be followed. A listener of the session's may yet make another of it."""
    return bool(session.dispatch.do_orm_execute) or _concerns_files(_written(statement))


def _concerns_files(statement: Any) -> bool:
    """Return whether a statement writes to a table with files, or to one whose rows take others with files along."""
    if not isinstance(statement, _WRITES):
        return False
    source: Any = statement.table
    table = getattr(source, "element", source)  # of an alias
    if not isinstance(table, Table):
        return False
    if file_columns(table) or constraints_of(table):
        return True
    mapper = internals.parent_mapper(statement)
    return mapper is not None and columns.INFO in mapper.class_manager.info


def _target(state: ORMExecuteState, statement: Insert | Update | Delete) -> Target | None:
    entity = internals.parent_entity(statement)
    mapper = None if entity is None else mapper_of(entity)
    source: Any = statement.table
    table: Any = getattr(source, "element", source) if mapper is None else mapper.local_table  # element: of an alias
    if not isinstance(table, Table):
        return None
    # Of a hierarchy in one table, an UPDATE through a parent may name the columns of a child.
    found = columns.columns_of_table(table)
    if mapper is not None:
        mapped = columns.columns_of_mapper(mapper)
        known = {each.column for each in mapped.values()}
        found = {key: each for key, each in found.items() if each.column not in known and key not in mapped} | dict(
            mapped
        )
    for each in found.values():
        defaults.follow_defaults(each)
    return Target(
        state.session,
        table,
        table if mapper is not None and mapper.class_ is entity else source,
        mapper,
        entity,
        found,
        state.bind_arguments,
        state.execution_options,
    )


def _invoke(state: ORMExecuteState, target: Target, statement: Insert | Update | Delete) -> Any:
    """Send the statement that took the place of the user's."""
    whole: Any = statement
    if isinstance(state.statement, FromStatement):
        whole = internals.changed(state.statement, element=statement)
    return state.invoke_statement(statement=whole, bind_arguments=dict(target.bind_arguments))


def _refuse_writing_conditions(statement: Update | Delete, target: Target) -> None:
    for each in visitors.iterate(statement.whereclause) if statement.whereclause is not None else ():
        if isinstance(each, Insert | Update | Delete):
            raise InvalidContent(
                f"{target.table.name}: a condition that itself writes rows would be executed twice, since the files "
                "of the rows are read before; execute it first, as a statement of its own"
            )


# --- DELETE -------------------------------------------------------------------------------------------------------


def _delete(state: ORMExecuteState, statement: Delete, target: Target) -> Any:
    target.flush()
    where, options = statement.whereclause, internals.options_of(statement)
    rows: Rows = {}
    for parameters in each_of(state.parameters):
        rows.update(target.read_locked(where, parameters, options))
    watch = target.watch()
    for key, files in rows.items():
        row = target.row(watch, key)
        watch.candidates.enter(row, condemned=files.values(), deleted=True)
    options_to_read = readable_options(state.execution_options)
    enter_cascaded(target.session, target.connection(), target.table, rows, seen=set(), options=options_to_read)
    if state.is_executemany:  # a list of keys cannot be sent with several sets of parameters
        with target.executing(watch):
            return _invoke(state, target, statement)
    keep = target.needs_condition(statement)
    if isinstance(state.parameters, Mapping) and not keep:
        names = parameters_in(where)
        state.parameters = {key: value for key, value in state.parameters.items() if key not in names} or None
    results = []
    for keys in batches(rows, max(1, MOST_PARAMETERS // len(target.table.primary_key))) or [[]]:
        with target.executing(watch):
            results.append(_invoke(state, target, target.restricted(statement, keys, keep=keep)))
    return results[0].merge(*results[1:]) if len(results) > 1 else results[0]


def track_statements() -> None:
    """Follow the statements of all sessions; a second call does nothing."""
    internals.follow_statements(_on_execute, _may_concern_files)
    wrap_bulk_methods()
    track_cascades()
