"""INSERT: each row that is inserted with a file names one of its own, and the files of rows that were left out go.

A row may be left out by ``ON CONFLICT DO NOTHING`` or ``INSERT IGNORE``. Where the number of rows does not tell that
all of them were inserted, the paths are looked up in the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import FromStatement, ORMExecuteState
from sqlalchemy.util import immutabledict

from depot_lite.errors import InvalidContent
from depot_lite.fields import tracking
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.targets import Target, name
from depot_lite.fields.updates import Invoke, Once, each_of, plain, rowcount, values_of


def insert(state: ORMExecuteState, statement: Insert, target: Target, invoke: Invoke) -> Any:
    """Execute an INSERT and look after its files; return None, and do nothing, where it has none."""
    _refuse_what_cannot_be_followed(statement, target)
    rows = [dict(each) for each in each_of(state.parameters) if each]
    if rows:
        statement = _values_into_rows(state, statement, target, rows)
    stored = Stored(target)
    rows = [stored.mapping(each) for each in rows]
    values = stored.mapping(values_of(statement))
    several = [[stored.mapping(_mapping(statement, row)) for row in group] for group in statement._multi_values]
    if not stored.waiting and not stored.cleared:
        return None
    tracking.store_all(target.session, stored.waiting)
    statement = (
        statement.values({key: value for key, value in values.items() if target.named(key)}) if values else statement
    )
    if several:
        statement = statement._generate()
        statement._multi_values = tuple(several)
    if _ignores(statement):
        statement = statement.execution_options(preserve_rowcount=True)
    if rows:
        state.parameters = rows if state.is_executemany else rows[0]
    try:
        result = invoke(state, statement)
    except SQLAlchemyError:
        if state.is_executemany:
            name(target.frame(), list(_in_doubt(target, stored)))
        raise
    expected = len(rows) or sum(map(len, several)) or 1
    if _may_leave_out(statement, result, expected):
        name(target.frame(), target.found_in_rows(stored.waiting))
    elif stored.waiting:
        name(target.frame(), stored.values)
    return result


def _values_into_rows(
    state: ORMExecuteState, statement: Insert, target: Target, rows: Sequence[dict[str, Any]]
) -> Insert:
    """Move the files that a statement names beside its parameters into these, so that each row gets one of its own."""
    values = values_of(statement)
    moved = {key: column for key in values if (column := target.named(key)) is not None}
    if not moved:
        return statement
    by_attribute = target.mapper is not None and not isinstance(state.statement, FromStatement)
    for row in rows:
        for key, column in moved.items():
            value = values[key]
            if getattr(value, "key", None) in row:  # bindparam("photo"), given as a parameter
                value = row.pop(value.key)
            row.setdefault(column.key if by_attribute else column.column.key, value)
    statement = statement._generate()
    statement._values = immutabledict({key: value for key, value in values.items() if key not in moved}) or None
    return statement


def _mapping(statement: Insert, row: Any) -> Mapping[Any, Any]:
    return row if isinstance(row, Mapping) else dict(zip(statement.table.columns, row, strict=False))


def _in_doubt(target: Target, stored: Stored) -> Iterator[Any]:
    """Yield the values of the rows that were inserted before one failed: the application may yet commit those."""
    try:
        yield from target.found_in_rows(stored.waiting)
    except SQLAlchemyError:  # PostgreSQL refuses to be asked. It rolls back, and the files go with it, named or not.
        yield from stored.values


def _may_leave_out(statement: Insert, result: Any, expected: int) -> bool:
    """Return whether some of the rows may not have been inserted."""
    if _ignores(statement):
        return rowcount(result) != expected
    return statement._post_values_clause is not None


def _ignores(statement: Insert) -> bool:
    """Return whether rows that are there already are left out, and the database counts those that were not."""
    clause = statement._post_values_clause
    return bool(statement._prefixes) if clause is None else clause.__visit_name__ == "on_conflict_do_nothing"


def _refuse_what_cannot_be_followed(statement: Insert, target: Target) -> None:
    for each in statement._select_names or () if statement.select is not None else ():
        column = target.named(each)
        if column is not None:
            raise InvalidContent(
                f"{column}: INSERT ... SELECT would give one file to two rows; load and assign them: that copies"
            )
    for each in _set_on_conflict(statement._post_values_clause):
        column = target.named(each)
        if column is not None:
            raise InvalidContent(
                f"{column}: an upsert does not tell which file it replaced; use session.merge(), or two statements"
            )
    if any("REPLACE" in str(prefix).upper() for prefix, _ in statement._prefixes):
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


class Stored:
    """Collects the files of the rows of one INSERT."""

    def __init__(self, target: Target) -> None:
        self.waiting: list[tuple[FileColumn, Any]] = []
        #: Whether a value became none that was not given as None, as an upload without a file does.
        self.cleared = False
        self._target = target
        self._once = Once()

    @property
    def values(self) -> list[Any]:
        """What the rows will hold."""
        return [value for _, value in self.waiting]

    def mapping(self, row: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return a copy of a row in which each file is one that is going to be stored."""
        return {key: self._value(key, value) for key, value in row.items()}

    def _value(self, key: Any, value: Any) -> Any:
        column = self._target.named(key)
        if column is None:
            return value
        given = plain(column, value)
        accepted = column.accept(self._once.own(given), None, None)
        if not files_in(accepted):
            self.cleared |= given is not None
            return accepted
        self.waiting.append((column, accepted))
        return accepted
