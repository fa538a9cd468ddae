"""Rows that are written by statements instead of objects, and keep to the same rules.

``session.execute(insert/update/delete ...)`` comes here through SQLAlchemy's ``do_orm_execute`` event,
``Query.delete`` and ``Query.update`` with it. What a statement is about to remove is read first, with the rows locked
(``SELECT ... FOR UPDATE``; SQLite has one writer at a time anyway), and the statement is held to these rows, so that
what was read is what is removed; where the database reports another number of rows, they are read again, and a row
that is still there keeps its file. Files are stored before the statement is sent. An UPDATE that gives one file to
several rows gives each row a file of its own (`depot_lite.fields.inserts`, `depot_lite.fields.updates`).

What cannot be followed is refused where a file might be lost: a file from a SQL expression, INSERT ... SELECT of a
file column, an upsert that sets one, ``REPLACE``. Not seen are statements inside of others (``WITH gone AS (DELETE
...) SELECT``); their files are left to maintenance.

For ``session.bulk_*`` see `depot_lite.fields.bulk`, for rows that the database removes itself
`depot_lite.fields.cascades`.
"""

from __future__ import annotations

import contextlib
from typing import Any

from sqlalchemy import Delete, FromClause, Insert, Table, Update, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import FromStatement, ORMExecuteState, Session
from sqlalchemy.sql import visitors

from depot_lite.errors import InvalidContent
from depot_lite.fields import columns
from depot_lite.fields.bulk import wrap_bulk_methods
from depot_lite.fields.cascades import Falling, constraints_of, track_cascades
from depot_lite.fields.columns import paths_of
from depot_lite.fields.inserts import insert
from depot_lite.fields.interfaces import logger
from depot_lite.fields.targets import Rows, Target, condemn, mapper_of, readable_options
from depot_lite.fields.updates import each_of, rowcount, update


def _on_execute(state: ORMExecuteState) -> Any:
    statement = state.statement
    if not statement.is_dml or not columns.any_type_made():
        return None
    # select(Document).from_statement(insert(Document).returning(Document)): the statement is inside.
    written = statement.element if isinstance(statement, FromStatement) else statement
    if not isinstance(written, Insert | Update | Delete):
        return None
    target = _target(state, written)
    if target is None or not (target.columns or constraints_of(target.table)):
        return None
    if isinstance(written, Insert):
        return insert(state, written, target, _invoke) if target.columns else None
    _refuse_writing_conditions(written, target)
    if isinstance(written, Delete):
        return _delete(state, written, target)
    return update(state, written, target, _invoke) if target.columns else None


def _target(state: ORMExecuteState, statement: Insert | Update | Delete) -> Target | None:
    # Not statement.entity_description: it fails for update(Document.__table__).where(Document.id == 1).
    inspected = statement.table._annotations.get("parententity")
    entity = None if inspected is None else inspected.entity
    mapper = None if entity is None else mapper_of(entity)
    source: Any = statement.table
    table: Any = _table_of(source) if mapper is None else mapper.local_table
    if not isinstance(table, Table):
        return None
    found = columns.columns_of_table(table) if mapper is None else columns.columns_of_mapper(mapper)
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


def _table_of(source: FromClause) -> Any:
    return getattr(source, "element", source)  # of an alias


def _invoke(state: ORMExecuteState, statement: Insert | Update | Delete) -> Any:
    """Send the statement that took the place of the user's."""
    whole: Any = statement
    if isinstance(state.statement, FromStatement):
        whole = state.statement._generate()
        whole.element = statement
    return state.invoke_statement(statement=whole)


def _refuse_writing_conditions(statement: Update | Delete, target: Target) -> None:
    for each in visitors.iterate(statement.whereclause) if statement.whereclause is not None else ():
        if isinstance(each, Insert | Update | Delete):
            raise InvalidContent(
                f"{target.table.name}: a condition that itself writes rows would be executed twice, since the files "
                "of the rows are read before; execute it first, as a statement of its own"
            )


# --- DELETE -------------------------------------------------------------------------------------------------------


def _delete(state: ORMExecuteState, statement: Delete, target: Target) -> Any:
    here = target.here()
    if not here and not constraints_of(target.table):
        return None
    target.flush()
    rows: Rows = {}
    for parameters in each_of(state.parameters):
        rows.update(target.read(here, statement.whereclause, parameters, statement._with_options))
    falling = Falling(readable_options(state.execution_options))
    falling.follow(target.connection(), target.table, rows)
    restricted = False
    if not state.is_executemany:  # a list of values cannot be sent with several sets of parameters
        statement, restricted = target.restricted(statement, rows)
    try:
        result = _invoke(state, statement)
    except SQLAlchemyError:
        if state.is_executemany:
            # SQLite and MariaDB keep what the parameters before the failing ones did. PostgreSQL refuses to be asked,
            # and can only roll back.
            with contextlib.suppress(SQLAlchemyError):
                _gone(target, rows, falling, whole=False)
        raise
    _gone(target, rows, falling, whole=restricted and rowcount(result) == len(rows))
    if not restricted and rowcount(result) > len(rows):
        surplus = rowcount(result) - len(rows)
        logger.warning(
            "%d rows of %s came in while they were deleted; maintenance finds their files", surplus, target.table
        )
    return result


def _gone(target: Target, rows: Rows, falling: Falling, *, whole: bool) -> None:
    """Condemn the files of rows that are deleted; where that were not the ``whole`` of them, look which are left."""
    if not rows:
        return
    now = {} if whole else target.read_again(rows)
    frame = target.frame()
    for identity, files in rows.items():
        held = now.get(identity, {})
        condemn(frame, [value for key, value in files.items() if paths_of(held.get(key)) != paths_of(value)])
    falling.gone(frame)


def track_statements() -> None:
    """Follow the statements of all sessions; a second call does nothing."""
    if not event.contains(Session, "do_orm_execute", _on_execute):
        event.listen(Session, "do_orm_execute", _on_execute)
    wrap_bulk_methods()
    track_cascades()
