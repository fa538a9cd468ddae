"""UPDATE: each row gets a file of its own, and the replaced files are condemned.

``update(Document).where(...).values(content=upload)`` becomes an UPDATE in which a CASE assigns to each row that was
read its own file.

``session.execute(update(Document), [{"id": 1, "content": ...}, ...])`` updates by primary key (`UpdateByKey`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

from sqlalchemy import ColumnDefault, Table, Update, case, literal
from sqlalchemy import update as update_of
from sqlalchemy.orm import ORMExecuteState, attributes
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.util import immutabledict

from depot_lite.errors import InvalidContent
from depot_lite.fields import internals
from depot_lite.fields.columns import FileColumn, has_pending, paths_of
from depot_lite.fields.statements.targets import MOST_PARAMETERS, Rows, Target, each_of, parameters_in
from depot_lite.fields.statements.values import DistinctValues, keeps_file, literal_value, twin_of
from depot_lite.fields.tracking.defaults import computed_for_update
from depot_lite.fields.tracking.outcomes import Watch
from depot_lite.fields.tracking.rows import is_one_of, key_batches, loaded_key, read_rows
from depot_lite.fields.tracking.storing import store_all

#: Primary key -> the new files of that row, by the keys of their attributes.
NewFiles = dict[tuple[Any, ...], dict[str, Any]]


def update(state: ORMExecuteState, statement: Update, target: Target) -> Any:
    """Execute an UPDATE and look after its files; return None, and do nothing, if it has none."""
    first = each_of(state.parameters)[0] if state.parameters else None
    parameters = dict(first) if isinstance(first, Mapping) else {}
    _refuse_what_cannot_be_followed(state, statement, target, parameters)
    if not target.columns:
        return None
    by_key = state.is_executemany and statement.whereclause is None
    changes_keys = not by_key and _changes_keys(statement, target, parameters)
    if changes_keys:
        target.watch().candidates.moved.add(target.table)
    if state.is_executemany:
        return _update_many(state, statement, target)
    given = _given(statement, target, parameters)
    if not given:
        return None
    if changes_keys:
        raise InvalidContent(
            f"{', '.join(str(target.find_column(key)) for key in given)}: an UPDATE that changes the primary key as "
            "well cannot look after files; use two statements"
        )
    columns = {key: column for key in given if (column := target.find_column(key)) is not None}
    distinct = DistinctValues()
    fresh = {
        columns[key].key: columns[key].accept(distinct.distinct(columns[key], value), None, None)
        for key, value in given.items()
        if not keeps_file(value)
    }
    target.flush()
    rows, new = _read_and_stored(target, fresh, statement, parameters)
    keep = target.needs_condition(statement, internals.values_of(statement).values())
    state.parameters = parameters if keep else _without(parameters, parameters_in(statement.whereclause))
    watch = target.watch()
    per_row = len(target.table.primary_key) * (1 + len(fresh)) + len(fresh)
    results = []
    for keys in key_batches(rows, max(1, MOST_PARAMETERS // per_row)) or [[]]:
        new_here = {key: new[key] for key in keys}
        assigned = {key: _assigned(target, column, fresh, new_here) for key, column in columns.items()}
        _enter(target, watch, {key: rows[key] for key in keys}, new_here)
        results.append(target.invoke_for(state, _with_values(statement, assigned), watch, keys, keep=keep))
    _show_new_files(target, {key: new[key] for key in rows})
    return results[0].merge(*results[1:]) if len(results) > 1 else results[0]


def _refuse_what_cannot_be_followed(
    state: ORMExecuteState, statement: Update, target: Target, parameters: Mapping[str, Any]
) -> None:
    if any("REPLACE" in str(prefix).upper() for prefix, _ in internals.prefixes(statement)):
        raise InvalidContent(
            f"{target.table.name}: UPDATE OR REPLACE does not tell which rows it removed; use two statements"
        )
    if not state.is_executemany:
        values = set(parameters) - parameters_in(statement.whereclause)
        target.refuse_other_tables(internals.values_of(statement), values)


def _read_and_stored(
    target: Target, fresh: Mapping[str, Any], statement: Update, parameters: Any
) -> tuple[Rows, NewFiles]:
    """Store new files, then lock the rows that match; return the rows with their old and their new files."""
    where, options = statement.whereclause, internals.options_of(statement)
    new = _stored_for_rows(target, fresh, where, parameters, options)
    if new is None:
        rows = target.read_locked(where, parameters, options)
        return rows, {key: dict(fresh) for key in rows}
    rows = {}
    for keys in key_batches(new, MOST_PARAMETERS // len(target.table.primary_key)):
        rows.update(target.read_locked(target.chosen(keys, where), parameters, options))
    return rows, new


def _without(parameters: dict[str, Any], names: set[str]) -> dict[str, Any] | None:
    return {key: value for key, value in parameters.items() if key not in names} or None


def _given(statement: Update, target: Target, parameters: dict[str, Any]) -> dict[Any, Any]:
    """Return the files that are assigned, under the names that the user chose; take them out of the parameters."""
    in_condition = parameters_in(statement.whereclause)
    given: dict[Any, Any] = {}
    for key, value in internals.values_of(statement).items():
        column = target.find_column(key)
        if column is None:
            continue
        if isinstance(value, BindParameter) and value.key in parameters:
            given[key] = parameters[value.key] if value.key in in_condition else parameters.pop(value.key)
        else:
            given[key] = literal_value(column, value)
    for each in [each for each in parameters if each not in in_condition]:
        if target.find_column(each) is not None:
            given[each] = parameters.pop(each)
    for column in _computed(target, {target.find_column(each) for each in given}):
        values = {getattr(key, "key", key): value for key, value in internals.values_of(statement).items()} | parameters
        assigned = {key: getattr(value, "effective_value", value) for key, value in values.items()}
        given[column.column if target.mapper is None else column.key] = computed_for_update(column, assigned)
    return given


def _computed(target: Target, given: Iterable[FileColumn | None]) -> list[FileColumn]:
    """Return the columns of the table whose ``onupdate`` gives a file, and that are not given one."""
    known = {each.column for each in given if each is not None}
    return [
        each
        for each in target.columns.values()
        if each.table is target.table and each.column not in known and isinstance(each.column.onupdate, ColumnDefault)
    ]


def _changes_keys(statement: Update, target: Target, parameters: Mapping[str, Any]) -> bool:
    in_condition = parameters_in(statement.whereclause)
    assigned = [*internals.values_of(statement), *(each for each in parameters if each not in in_condition)]
    return any(target.is_key(each) for each in assigned)


def _stored_for_rows(
    target: Target, fresh: Mapping[str, Any], where: Any, parameters: Any, options: Sequence[Any]
) -> NewFiles | None:
    """Store a file of its own for each row that matches, before any of them is locked.

    Returns None if there is nothing to store, or at most one row, for which the given files suffice.
    """
    if not any(has_pending(each) for each in fresh.values()):
        return None
    if _names_one_row(target, where):
        store_all(target.session, [(target.columns[key], each) for key, each in fresh.items() if has_pending(each)])
        return None
    new: NewFiles = {}
    waiting: list[tuple[FileColumn, Any]] = []
    for identity in target.read_keys(where, parameters, options):
        new[identity] = {
            key: value if not new or value is None else twin_of(target.columns[key], value)
            for key, value in fresh.items()
        }
        waiting += [(target.columns[key], own) for key, own in new[identity].items() if has_pending(own)]
    store_all(target.session, waiting)
    return new


def _names_one_row(target: Target, where: Any) -> bool:
    """Return whether a condition says ``Document.id == 1`` of the whole primary key, and whatever else beside it."""
    if where is None:
        return False
    parts = list(where.clauses) if getattr(where, "operator", None) is operators.and_ else [where]
    named = set()
    for part in parts:
        left, right = getattr(part, "left", None), getattr(part, "right", None)
        if getattr(part, "operator", None) is operators.eq and isinstance(right, BindParameter):
            named.add(getattr(left, "key", None) if getattr(left, "table", None) is target.source else None)
    return {each.key for each in target.table.primary_key} <= named


def _assigned(target: Target, column: FileColumn, fresh: Mapping[str, Any], new: NewFiles) -> Any:
    """Return the expression that assigns its own file to each row that was read, and leaves any other as it is."""
    expression = target.expression(column.column)
    if column.key not in fresh or not new:
        return expression
    if fresh[column.key] is None:
        return None
    whens = [
        (is_one_of(target.key, [identity]), literal(files[column.key], column.column.type))
        for identity, files in new.items()
    ]
    return case(*whens, else_=expression)


def _with_values(statement: Update, assigned: Mapping[Any, Any]) -> Update:
    """Return the statement with other values under the names that it has already, in the order that it has."""
    values: Any = internals.values_of(update_of(statement.table).values(assigned))
    before = internals.values_of(statement)
    both = {key: values.get(key, value) for key, value in before.items()} | values
    if getattr(statement, "_ordered_values", None):
        return internals.changed(statement, _ordered_values=list(both.items()))  # type: ignore[no-any-return]  # an Update
    return internals.changed(statement, _values=immutabledict(both))  # type: ignore[no-any-return]  # an Update


def _enter(target: Target, watch: Watch, old: Rows, new: NewFiles) -> None:
    """Enter the old and the new files of the rows of the statement's table."""
    for identity, files in old.items():
        columns = [target.columns[key] for key in new[identity]]
        watch.candidates.enter(
            target.table,
            identity,
            target.execution_options,
            named=[new[identity][each.key] for each in columns],
            condemned=[files.get(each.column) for each in columns],
            held=files,
            updated=True,
        )


def _show_new_files(target: Target, new: NewFiles) -> None:
    """Let the objects of the session that show a replaced file load it anew.

    SQLAlchemy leaves them as they are with ``synchronize_session=False``; but the file that they show is condemned.
    """
    if target.mapper is None:
        return
    for identity, files in new.items():
        found = target.session.identity_map.get(target.mapper.identity_key_from_primary_key(loaded_key(identity)))
        if found is not None:
            state = attributes.instance_state(found)
            for key, value in files.items():
                if key in state.committed_state:
                    state.committed_state[key] = value
                elif key in state.dict:
                    target.session.expire(found, [key])


# --- by primary key -----------------------------------------------------------------------------------------------


def _update_many(state: ORMExecuteState, statement: Update, target: Target) -> Any:
    mappings = list(each_of(state.parameters))
    named = [each for mapping in mappings for each in mapping] + list(internals.values_of(statement))
    found = [column for each in named if (column := target.find_column(each)) is not None]
    touched = dict.fromkeys(map(str, [*found, *_computed(target, found)]))
    if not touched:
        return None
    if statement.whereclause is not None or target.mapper is None:
        raise InvalidContent(
            f"{', '.join(touched)}: an UPDATE with WHERE and several sets of parameters cannot look after files; "
            "execute one statement for each, or update by primary key"
        )
    target.flush()
    by_key = UpdateByKey(target.as_written(), mappings)
    state.parameters = by_key.mappings
    with by_key:  # which doubts by itself
        return target.invoke(state, statement, None)


class UpdateByKey:
    """An UPDATE of many rows by primary key: its mappings with stored values, and the files that they replace.

    Used as a context manager around the UPDATE.
    """

    def __init__(self, target: Target, mappings: Iterable[Mapping[str, Any]]) -> None:
        self.mappings = [dict(mapping) for mapping in mappings]
        self._target = target
        self._new: NewFiles = {}
        # With files that a later mapping for the same row replaces.
        self._given: dict[tuple[Any, ...], list[tuple[FileColumn, Any]]] = {}
        self._names = [each.key for each in target.key]
        self._distinct = DistinctValues()
        waiting = [found for mapping in self.mappings for found in self._accept(mapping)]
        store_all(target.session, waiting)
        self._watch = target.watch() if self._new else None
        if self._watch is not None:
            for table in {column.table for column in self._columns()}:
                self._enter(self._watch, table)

    def _columns(self) -> list[FileColumn]:
        return [self._target.columns[key] for key in {key for files in self._new.values() for key in files}]

    def _accept(self, mapping: dict[str, Any]) -> list[tuple[FileColumn, Any]]:
        if any(each not in mapping for each in self._names):
            return []  # without its primary key SQLAlchemy will refuse it
        found = {each: column for each in mapping if (column := self._target.find_column(each)) is not None}
        for column in _computed(self._target, found.values()):
            found[column.key], mapping[column.key] = column, computed_for_update(column, mapping)
        for each in [each for each in found if keeps_file(mapping[each])]:
            del mapping[each], found[each]
        accepted = {
            each: column.accept(self._distinct.distinct(column, literal_value(column, mapping[each])), None, None)
            for each, column in found.items()
        }
        mapping.update(accepted)
        if found:
            identity = tuple(mapping[each] for each in self._names)
            self._new.setdefault(identity, {}).update({found[each].key: value for each, value in accepted.items()})
            self._given.setdefault(identity, []).extend((found[each], value) for each, value in accepted.items())
        return [(found[each], value) for each, value in accepted.items() if has_pending(value)]

    def _enter(self, watch: Watch, table: Table) -> None:
        target = self._target
        # The primary keys of the tables of a joined subclass are of one length, and in one order.
        translated = target.execution_options.get("schema_translate_map")
        options = {"schema_translate_map": translated} if translated else None
        rows = read_rows(target.connection(), table, self._new, options)
        for identity, files in self._new.items():
            held, kept = rows.get(identity, {}), [target.columns[key] for key in files]
            watch.candidates.enter(
                table,
                identity,
                target.execution_options,
                named=[files[each.key] for each in kept if each.table is table],
                condemned=[
                    *(held.get(each.column) for each in kept if each.table is table),
                    *(value for column, value in self._given[identity] if value is not files[column.key]),
                ],
                held=rows.get(identity),
                updated=True,
            )
        self._enter_twins(watch, table)

    def _enter_twins(self, watch: Watch, table: Table) -> None:
        """Record that ``"3"`` and 3 may be one row, which then keeps the file of only one of them."""
        alike: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        for identity in self._new:
            alike.setdefault(tuple(map(str, identity)), []).append(identity)
        for one, other in ((one, other) for twins in alike.values() for one, other in permutations(twins, 2)):
            for column, value in self._given[one]:
                for path in paths_of(value) if column.table is table else ():
                    watch.candidates.condemn(path, watch.candidates.row(table, other, self._target.execution_options))

    def __enter__(self) -> UpdateByKey:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Let objects show the new files; record a doubt if the statement raised."""
        if self._watch is not None:
            if error is not None:
                self._watch.candidates.in_doubt = True
            else:
                _show_new_files(self._target, self._new)
