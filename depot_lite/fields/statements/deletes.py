"""DELETE: the files of the rows are condemned, and the files of rows that the database removes with them.

Rows that refer to a deleted row by ``ON DELETE CASCADE`` go without the session: with ``passive_deletes=True``, and
when ``delete(Parent)`` is executed. So before the rows of such a parent are deleted, the rows that will go with them
are read and locked, from table to table, down to the last ones that have files. Their files are entered as condemned;
whether the rows have gone is asked after COMMIT, as of all others. (SQLite without ``PRAGMA foreign_keys = ON`` knows
the constraint and leaves them.)

Only what SQLAlchemy's metadata shows is known: a cascade that the database has and the `Table` objects do not, one to a
table of another `MetaData`, one done by a trigger, and one to a table without a primary key are not seen. Their files
are left to maintenance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Column, Delete, ForeignKeyConstraint, FromClause, MetaData, Table, and_, event, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import NoReferenceError
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, attributes

from depot_lite.fields.file_type import file_columns, stored_files
from depot_lite.fields.statements.targets import MOST_PARAMETERS, Rows, Target, parameters_in, readable_options
from depot_lite.fields.tracking.ledger import ledger_of, watch_of
from depot_lite.fields.tracking.rows import RowReader, is_one_of, key_batches, old_key_in


def delete(state: ORMExecuteState, statement: Delete, target: Target) -> Any:
    """Execute a DELETE and look after the files of its rows."""
    rows, watch = target.condemn(statement, state.parameters)
    if constraints_of(target.table):
        options = readable_options(state.execution_options)
        enter_cascaded(target.session, target.connection(), target.table, rows, seen=set(), options=options)
    if state.is_executemany:  # a list of keys cannot be sent with several sets of parameters
        return target.invoke(state, statement, watch)
    keep = target.needs_condition(statement)
    if isinstance(state.parameters, Mapping) and not keep:
        names = parameters_in(statement.whereclause)
        state.parameters = {key: value for key, value in state.parameters.items() if key not in names} or None
    results = [
        target.invoke_for(state, statement, watch, keys, keep=keep)
        for keys in key_batches(rows, max(1, MOST_PARAMETERS // len(target.table.primary_key))) or [[]]
    ]
    return results[0].merge(*results[1:]) if len(results) > 1 else results[0]


# --- cascades ---------------------------------------------------------------------------------------------------------

# The key for the following in the ``info`` of a MetaData. A weak dictionary would hold it for ever, since a constraint
# refers to its table and the table to its MetaData.
_TO_FOLLOW: Final = "depot_lite.to_follow"

Constraints = tuple[ForeignKeyConstraint, ...]


def constraints_of(table: Table) -> Constraints:
    """Return the constraints through which rows that have files, or lead to such, fall with a row of the table."""
    return tables_to_follow(table.metadata).get(table.fullname, ())


def tables_to_follow(metadata: MetaData) -> Mapping[str, Constraints]:
    """Return the `constraints_of` each table that has some, or files of its own, by its full name."""
    known: tuple[int, Mapping[str, Constraints]] | None = metadata.info.get(_TO_FOLLOW)
    if known is None or known[0] != len(metadata.tables):
        # A table that was declared since may refer to a known one.
        known = metadata.info[_TO_FOLLOW] = (len(metadata.tables), _constraints_by_parent(metadata))
    return known[1]


def _constraints_by_parent(metadata: MetaData) -> dict[str, Constraints]:
    by_parent: dict[Table, list[ForeignKeyConstraint]] = {}
    for table in metadata.tables.values():
        for constraint in table.foreign_key_constraints if table.primary_key.columns else ():
            parent = _referred(constraint)
            if parent is not None and (constraint.ondelete or "").upper() == "CASCADE":
                by_parent.setdefault(parent, []).append(constraint)
    leading = _leading_to_files(metadata, by_parent)
    return {
        table.fullname: tuple(each for each in by_parent.get(table, ()) if each.table in leading) for table in leading
    }


def _referred(constraint: ForeignKeyConstraint) -> Table | None:
    try:
        return constraint.referred_table
    except NoReferenceError:  # it names a table that has not been declared, or never will be
        return None


def _leading_to_files(metadata: MetaData, by_parent: Mapping[Table, list[ForeignKeyConstraint]]) -> set[Table]:
    leading = {table for table in metadata.tables.values() if file_columns(table)}
    before = -1
    while len(leading) != before:
        before = len(leading)
        leading |= {parent for parent, found in by_parent.items() if any(each.table in leading for each in found)}
    return leading


def enter_cascaded(
    session: Session,
    connection: Connection,
    table: Table,
    keys: Iterable[tuple[Any, ...]],
    *,
    seen: set[tuple[Table, tuple[Any, ...]]],
    without: Collection[FromClause] = (),
    options: Mapping[str, Any] | None = None,
) -> None:
    """Read and lock the rows that are deleted with rows of a table, from table to table, and enter their files.

    Args:
        session: the session that deletes the rows.
        connection: the connection on which it deletes them.
        table: the table whose rows are about to be deleted.
        keys: their primary keys.
        seen: rows that were followed before, which are left out: a table may refer to itself. Those of ``keys`` and of
            all that is deleted with them are added.
        without: tables that are followed by themselves, such as the other tables of the same object.
        options: execution options for reading.
    """
    new = [each for each in keys if (table, each) not in seen]
    seen.update((table, each) for each in new)
    for constraint in constraints_of(table) if new else ():
        child = constraint.table
        if child not in without:
            found = _read_referring(connection, constraint, new, options or {})
            for key, files in found.items():
                if any(files.values()):
                    watch = watch_of(session, connection)
                    watch.candidates.enter(child, key, options, condemned=files.values())
            enter_cascaded(session, connection, child, found, seen=seen, options=options)


def _read_referring(
    connection: Connection,
    constraint: ForeignKeyConstraint,
    parents: Iterable[tuple[Any, ...]],
    options: Mapping[str, Any],
) -> Rows:
    # Under another name, as it may be the child's own table. The join locks the parents that have children, too.
    child, parent = constraint.table, constraint.referred_table.alias()
    reader = RowReader(list(child.primary_key), connection.dialect, stored_files(child))
    refers = and_(*(each.parent == parent.c[each.column.key] for each in constraint.elements))
    rows: Rows = {}
    for batch in key_batches(parents):
        query = select(*reader.columns).select_from(child).join(parent, refers)
        query = query.where(is_one_of(list(parent.primary_key), batch)).with_for_update()
        rows.update(reader.read(connection, query, options=options))
    return rows


# --- flush --------------------------------------------------------------------------------------------------------


def _before_cascade(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Read the rows that are deleted with an object, and with the others of its kind that the session deletes.

    Not before the flush: by now it has written the rows that it moves from one parent to another.
    """
    for table in mapper.tables:
        if isinstance(table, Table) and tables_to_follow(table.metadata).get(table.fullname):
            _enter_rows_below(mapper, connection, target)
            return


def _enter_rows_below(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    session = attributes.instance_state(target).session
    if session is None:
        return
    flush = ledger_of(session).flush
    together = [attributes.instance_state(target)]
    if mapper not in flush.cascaded_mappers:  # the first of its kind: the others are read with it
        flush.cascaded_mappers.add(mapper)
        together += [attributes.instance_state(each) for each in session.deleted]
    states = [state for state in together if state.mapper is mapper and state.key is not None]
    for table in mapper.tables:
        if isinstance(table, Table):
            others = [each for each in mapper.tables if each is not table]
            keys = [key for state in states if (key := old_key_in(state, table)) is not None]
            enter_cascaded(session, connection, table, keys, seen=flush.cascaded, without=others)


def _forget_tables(part: object, table: object) -> None:
    """Look at the tables anew when one of them has got a column or a foreign key."""
    if isinstance(table, Table):
        table.metadata.info.pop(_TO_FOLLOW, None)


def track_cascades() -> None:
    """Follow the rows that fall with deleted objects of all sessions; a second call does nothing."""
    if not event.contains(Mapper, "before_delete", _before_cascade):
        event.listen(Mapper, "before_delete", _before_cascade)
        for part in (Column, ForeignKeyConstraint):
            event.listen(part, "after_parent_attach", _forget_tables)
