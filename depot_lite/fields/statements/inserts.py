"""INSERT: each row that is inserted with a file names one of its own.

Rows may be left out by ``ON CONFLICT DO NOTHING`` or ``INSERT IGNORE``. If the number of rows does not tell that all of
them were inserted, the database is asked after COMMIT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Insert
from sqlalchemy.orm import FromStatement, ORMExecuteState
from sqlalchemy.util import immutabledict

from depot_lite.errors import InvalidContent
from depot_lite.fields import internals
from depot_lite.fields.columns import FileColumn, files_in, has_pending
from depot_lite.fields.statements.targets import Target, each_of
from depot_lite.fields.statements.values import DistinctValues, literal_value
from depot_lite.fields.tracking.births import Row
from depot_lite.fields.tracking.outcomes import Watch
from depot_lite.fields.tracking.storing import store_all


def insert(state: ORMExecuteState, statement: Insert, target: Target) -> Any:
    """Execute an INSERT and look after its files; return None, and do nothing, if it has none."""
    _refuse_what_cannot_be_followed(statement, target)
    if any(target.is_key(each) for each in _set_on_conflict(internals.conflict_clause(statement))):
        target.as_written().watch().candidates.moved.add(target.table)
    rows = [dict(each) for each in each_of(state.parameters) if each]
    if rows:
        statement = _values_into_rows(state, statement, target, rows)
    files = InsertFiles(target)
    values = internals.values_of(statement)
    rows = [files.mapping(each, beside=values) for each in rows]
    values = files.mapping(values) if not rows else files.mapping(values, own_row=False)
    several = [[files.mapping(_mapping(statement, row)) for row in group] for group in internals.rows_of(statement)]
    has_default = any(each.has_default for each in target.columns.values())
    may_leave_out, ignores = internals.may_leave_out(statement), internals.ignores_rows(statement)
    if not files.given and not files.cleared and not (has_default and may_leave_out):
        if has_default:
            target.as_written().watch()  # so that the default finds its session
        return None
    files.store()
    if values:
        statement = statement.values({key: value for key, value in values.items() if target.find_column(key)})
    if several:
        statement = internals.changed(statement, _multi_values=tuple(several))
    if ignores:
        statement = statement.execution_options(preserve_rowcount=True)
    if rows:
        state.parameters = rows if state.is_executemany else rows[0]
    watch = target.as_written().watch()
    doubtful_before = set(watch.candidates.doubtful)
    files.enter(watch, doubtful=may_leave_out)
    result = target.invoke(state, statement, watch)
    expected = len(rows) or sum(map(len, several)) or 1
    files.written()
    if ignores and _rowcount(result) == expected:  # no row was left out, although some might have been
        watch.candidates.doubtful &= doubtful_before
    return result


def _rowcount(result: Any) -> int:
    """Return how many rows the database says it has inserted; -1 if it does not say."""
    try:
        return int(result.rowcount)
    except AttributeError:  # a result of RETURNING that SQLAlchemy has buffered has lost it
        return -1


def _values_into_rows(
    state: ORMExecuteState, statement: Insert, target: Target, rows: Sequence[dict[str, Any]]
) -> Insert:
    """Move the files that a statement names beside its parameters into these, so that each row gets one of its own."""
    values = internals.values_of(statement)
    moved = {key: column for key in values if (column := target.find_column(key)) is not None}
    if not moved:
        return statement
    by_attribute = target.mapper is not None and not isinstance(state.statement, FromStatement)
    for row in rows:
        for key, column in moved.items():
            value = values[key]
            if getattr(value, "key", None) in row:  # bindparam("photo"), given as a parameter
                value = row.pop(value.key)
            row.setdefault(column.key if by_attribute else column.column.key, value)
    left = immutabledict({key: value for key, value in values.items() if key not in moved}) or None
    return internals.changed(statement, _values=left)  # type: ignore[no-any-return]  # an Insert


def _mapping(statement: Insert, row: Any) -> Mapping[Any, Any]:
    return row if isinstance(row, Mapping) else dict(zip(statement.table.columns, row, strict=False))


def _refuse_what_cannot_be_followed(statement: Insert, target: Target) -> None:
    for each in internals.selected_names(statement):
        column = target.find_column(each)
        if column is not None:
            raise InvalidContent(
                f"{column}: INSERT ... SELECT would give one file to two rows; load and assign them: that copies"
            )
    for each in _set_on_conflict(internals.conflict_clause(statement)):
        column = target.find_column(each)
        if column is not None:
            raise InvalidContent(
                f"{column}: an upsert does not tell which file it replaced; use session.merge(), or two statements"
            )
    if any("REPLACE" in str(prefix).upper() for prefix, _ in internals.prefixes(statement)):
        raise InvalidContent(
            f"{target.table.name}: REPLACE does not tell which rows it removed; use session.merge(), or two statements"
        )


def _set_on_conflict(clause: Any) -> list[Any]:
    if clause is None:
        return []
    if clause.__visit_name__ == "on_duplicate_key_update":
        return list(clause.update)
    if clause.__visit_name__ == "on_conflict_do_update":
        return list(dict(clause.update_values_to_set))  # pairs in SQLAlchemy 2.0, a dictionary in 2.1
    return []


class InsertFiles:
    """The files of the rows of one INSERT."""

    def __init__(self, target: Target) -> None:
        #: Whether a value became none that was not given as None, as an upload without a file does.
        self.cleared = False
        #: Values and lists with files, with their columns, each row's with its key if that was given.
        self.given: list[tuple[FileColumn, Any, tuple[Any, ...] | None]] = []
        self._rows: list[Row] = []
        self._target = target
        self._distinct = DistinctValues()

    def mapping(
        self, row: Mapping[Any, Any], *, beside: Mapping[Any, Any] | None = None, own_row: bool = True
    ) -> dict[Any, Any]:
        """Return a copy of a row in which each file is going to be stored.

        Args:
            row: the values that the statement gives to a row.
            beside: the values that it gives to all rows.
            own_row: whether these are the values of one row, and not of all.
        """
        found = {key: column for key in row if (column := self._target.find_column(key)) is not None}
        if not found or not own_row:
            return dict(row)
        everything = {**(beside or {}), **row}
        return {**row, **{key: self._value(column, row[key], everything) for key, column in found.items()}}

    def _value(self, column: FileColumn, value: Any, row: Mapping[Any, Any]) -> Any:
        given = literal_value(column, value)
        accepted = column.accept(self._distinct.distinct(column, given), None, None)
        if files_in(accepted):
            self.given.append((column, accepted, self._target.key_of(row, column.table)))
        else:
            self.cleared |= given is not None
        return accepted

    def store(self) -> None:
        """Store the pending values."""
        waiting = [(column, value) for column, value, _ in self.given if has_pending(value)]
        store_all(self._target.session, waiting)

    def enter(self, watch: Watch, *, doubtful: bool) -> None:
        """Enter the rows with their files."""
        for column, value, key in self.given:
            row = watch.candidates.enter(
                column.table, key, self._target.execution_options, named=[value], doubtful=doubtful
            )
            self._rows.append(row)

    def written(self) -> None:
        """Record that the statement was executed."""
        for row in self._rows:
            row.mark_written()
