"""UPDATE: each row that a statement gives a file to gets a file of its own, and those that it replaces are condemned.

``update(Document).where(...).values(content=upload)`` becomes one UPDATE in which a CASE assigns to each row that was
read its own file. Some ten thousand rows fit into one statement; databases limit the number of its parameters.

``session.execute(update(Document), [{"id": 1, "content": ...}, ...])`` updates by primary key (`UpdateByKey`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Insert, Update, and_, case, literal
from sqlalchemy import update as update_of
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import ORMExecuteState, attributes
from sqlalchemy.sql import ColumnElement, visitors
from sqlalchemy.sql.elements import BindParameter, Null
from sqlalchemy.util import immutabledict

from depot_lite.errors import InvalidContent
from depot_lite.fields import tracking
from depot_lite.fields.columns import FileColumn, is_no_file, paths_of, twin_of
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.targets import Rows, Target, condemn, name

Invoke = Callable[[ORMExecuteState, Any], Any]


def each_of(parameters: Any) -> Sequence[Any]:
    """Return the sets of parameters as a list, where one or none was given, too."""
    return parameters if isinstance(parameters, list | tuple) else [parameters]


def rowcount(result: Any) -> int:
    """Return how many rows the database says it has changed; -1 where it does not say."""
    try:
        return int(result.rowcount)
    except AttributeError:  # a result of RETURNING that SQLAlchemy has buffered has lost it
        return -1


def values_of(statement: Update | Insert) -> dict[Any, Any]:
    """Return what the statement itself assigns, which SQLAlchemy shows nowhere in public."""
    ordered = getattr(statement, "_ordered_values", None)  # an UPDATE of SQLAlchemy 2.0
    return dict(ordered or statement._values or {})


def plain(column: FileColumn, value: Any) -> Any:
    """Return what was meant by a value that SQLAlchemy has made an expression of.

    Raises:
        InvalidContent: it is an expression of SQL.
    """
    if isinstance(value, BindParameter):
        return value.effective_value
    if isinstance(value, Null):
        return None
    if isinstance(value, ColumnElement) or hasattr(value, "__clause_element__"):
        raise InvalidContent(
            f"{column}: a statement cannot take a file from a SQL expression, since two rows would own one file; "
            "load the value and assign it, which makes a copy"
        )
    return value


class Once:
    """Lets each row and each attribute that a statement writes have a value of its own."""

    def __init__(self) -> None:
        self._given: dict[int, DepotFileInfo] = {}  # the values too, so that no other gets the id of one of them

    def own(self, given: Any) -> Any:
        """Return what was given, with a twin in the place of each pending value that was given before."""
        if isinstance(given, list | tuple):
            return [self.own(each) for each in given]
        if not isinstance(given, DepotFileInfo) or not given.pending:
            return given
        if id(given) in self._given:
            return given.twin()
        self._given[id(given)] = given
        return given


def update(state: ORMExecuteState, statement: Update, target: Target, invoke: Invoke) -> Any:
    """Execute an UPDATE and look after its files; return None, and do nothing, where it has none."""
    if state.is_executemany:
        return _update_many(state, statement, target, invoke)
    parameters = dict(state.parameters) if isinstance(state.parameters, Mapping) else {}
    given = _given(statement, target, parameters)
    if not given:
        return None
    _refuse_new_keys(statement, target, parameters, given)
    columns = {key: column for key in given if (column := target.named(key)) is not None}
    once = Once()
    fresh = {
        columns[key].key: columns[key].accept(once.own(value), None, None)
        for key, value in given.items()
        if not _leaves(value)
    }
    target.flush()
    rows = target.read(fresh, statement.whereclause, parameters, statement._with_options)
    new = _store_for_rows(target, fresh, list(rows))
    assigned = {key: _assigned(target, column, fresh, new) for key, column in columns.items()}
    state.parameters = parameters or None
    statement, restricted = target.restricted(_with_values(statement, assigned), rows)
    result = invoke(state, statement)
    if rows:
        _replaced(target, rows, new, whole=restricted and rowcount(result) == len(rows))
    return result


def _leaves(value: Any) -> bool:
    """Return whether this is what a form sends where no file was chosen: the row keeps what it has."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(is_no_file, value))
    return is_no_file(value)


def _given(statement: Update, target: Target, parameters: dict[str, Any]) -> dict[Any, Any]:
    """Return the files that are assigned, under the names that the user chose; take them out of the parameters."""
    in_condition = _parameters_in(statement.whereclause)
    given: dict[Any, Any] = {}
    for key, value in values_of(statement).items():
        column = target.named(key)
        if column is None:
            continue
        if isinstance(value, BindParameter) and value.key in parameters:
            given[key] = parameters[value.key] if value.key in in_condition else parameters.pop(value.key)
        else:
            given[key] = plain(column, value)
    for each in [each for each in parameters if each not in in_condition]:
        if target.named(each) is not None:
            given[each] = parameters.pop(each)
    return given


def _parameters_in(where: Any) -> set[str]:
    found = () if where is None else visitors.iterate(where)
    return {each.key for each in found if isinstance(each, BindParameter)}


def _refuse_new_keys(
    statement: Update, target: Target, parameters: Mapping[str, Any], given: Mapping[Any, Any]
) -> None:
    for each in [*values_of(statement), *parameters]:
        if target.is_key(each) and each not in _parameters_in(statement.whereclause):
            raise InvalidContent(
                f"{', '.join(str(target.named(key)) for key in given)}: an UPDATE that changes the primary key as well "
                "cannot look after files; use two statements"
            )


def _store_for_rows(target: Target, fresh: Mapping[str, Any], identities: Sequence[tuple[Any, ...]]) -> Rows:
    """Store a file of its own for each row and return them; no file where the value is None."""
    new: Rows = {}
    waiting: list[tuple[FileColumn, Any]] = []
    seen: set[int] = set()
    for identity in identities:
        new[identity] = {}
        for key, value in fresh.items():
            own = twin_of(value) if value is not None and id(value) in seen else value
            new[identity][key] = own
            if own is not None:
                seen.add(id(own))
                waiting.append((target.columns[key], own))
    tracking.store_all(target.session, waiting)
    return new


def _assigned(target: Target, column: FileColumn, fresh: Mapping[str, Any], new: Rows) -> Any:
    """Return what the UPDATE is to assign: to each row that was read its own file, to any other what it has."""
    expression = target.expression(column.column)
    if column.key not in fresh or not new:
        return expression
    if fresh[column.key] is None:
        return None
    whens = [(_is(target, identity), literal(files[column.key], column.type)) for identity, files in new.items()]
    return case(*whens, else_=expression)


def _is(target: Target, identity: tuple[Any, ...]) -> ColumnElement[bool]:
    return and_(*(column == value for column, value in zip(target.key, identity, strict=True)))


def _with_values(statement: Update, assigned: Mapping[Any, Any]) -> Update:
    """Return the statement with other values under the names that it has already, in the order that it has."""
    values: Any = update_of(statement.table).values(assigned)._values
    changed: Any = statement._generate()
    ordered = getattr(statement, "_ordered_values", None)
    if ordered:
        changed._ordered_values = [(key, values.get(key, value)) for key, value in ordered]
    else:
        changed._values = immutabledict({**(statement._values or {}), **values})
    return changed  # type: ignore[no-any-return]  # an Update, whose attributes are private


def _replaced(target: Target, old: Rows, new: Rows, *, whole: bool) -> None:
    """Enter what an UPDATE did; where it did not reach the ``whole`` of the rows, look which."""
    now = None if whole else target.read_again(old)
    frame = target.frame()
    for identity, files in old.items():
        for key, value in files.items():
            fresh = new[identity].get(key)
            if now is None or paths_of(now.get(identity, {}).get(key)) == paths_of(fresh):
                condemn(frame, [value])
                name(frame, [fresh])
    _forget(target, new)


def _forget(target: Target, new: Rows) -> None:
    """Let the objects of the session that show a replaced file load it anew.

    SQLAlchemy leaves them as they are with ``synchronize_session=False``; but the file that they show is condemned,
    and a flush that replaces it once more has to know which one the row holds by now.
    """
    if target.mapper is None:
        return
    for identity, files in new.items():
        found = target.session.identity_map.get(target.mapper.identity_key_from_primary_key(identity))
        if found is not None:
            state = attributes.instance_state(found)
            for key, value in files.items():
                if key in state.committed_state:
                    state.committed_state[key] = value
                elif key in state.dict:
                    target.session.expire(found, [key])


# --- by primary key -----------------------------------------------------------------------------------------------


def _update_many(state: ORMExecuteState, statement: Update, target: Target, invoke: Invoke) -> Any:
    mappings = list(each_of(state.parameters))
    named = [each for mapping in mappings for each in mapping] + list(values_of(statement))
    touched = {str(column): None for each in named if (column := target.named(each)) is not None}
    if not touched:
        return None
    if statement.whereclause is not None or target.mapper is None:
        raise InvalidContent(
            f"{', '.join(touched)}: an UPDATE with WHERE and several sets of parameters cannot look after files; "
            "execute one statement for each, or update by primary key"
        )
    target.flush()
    with_files = UpdateByKey(target, mappings)
    state.parameters = with_files.mappings
    with with_files:
        return invoke(state, statement)


class UpdateByKey:
    """An UPDATE of many rows by primary key: the mappings with stored values, and what they replace.

    Used as a context manager around the UPDATE.
    """

    def __init__(self, target: Target, mappings: Iterable[Mapping[str, Any]]) -> None:
        self.mappings = [dict(mapping) for mapping in mappings]
        self._target = target
        self._new: Rows = {}
        self._names = [each.key for each in target.key]
        self._once = Once()
        waiting = [found for mapping in self.mappings for found in self._accept(mapping)]
        self._keys = sorted({key for files in self._new.values() for key in files})
        self._old = self._read()
        tracking.store_all(target.session, waiting)

    def _accept(self, mapping: dict[str, Any]) -> list[tuple[FileColumn, Any]]:
        found = {each: column for each in mapping if (column := self._target.named(each)) is not None}
        for each in [each for each in found if _leaves(mapping[each])]:
            del mapping[each], found[each]
        if not found or any(each not in mapping for each in self._names):
            return []  # without its primary key SQLAlchemy will refuse it
        accepted = {
            each: column.accept(self._once.own(plain(column, mapping[each])), None, None)
            for each, column in found.items()
        }
        mapping.update(accepted)
        files = self._new.setdefault(tuple(mapping[each] for each in self._names), {})
        files.update({found[each].key: value for each, value in accepted.items()})
        return [(found[each], value) for each, value in accepted.items() if value is not None]

    def _read(self) -> Rows:
        rows = self._target.read_keys(self._keys, self._new)
        for identity in self._new.keys() - rows.keys():
            # There is no such row, or its key reads otherwise in Python: "1", 1 and Decimal(1) are one row.
            for files in self._target.read_keys(self._keys, [identity]).values():
                rows[identity] = files
        return rows

    def __enter__(self) -> UpdateByKey:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Enter what was replaced, now that the statement has run."""
        if error is None:
            self._enter(None)
        elif isinstance(error, SQLAlchemyError):
            # The rows before the failing one may have been written. PostgreSQL refuses to tell, and can only roll back.
            with contextlib.suppress(SQLAlchemyError):
                self._enter(self._read())

    def _enter(self, now: Rows | None) -> None:
        if not self._new:
            return
        frame = self._target.frame()
        for identity, files in self._new.items():
            for key, fresh in files.items() if identity in self._old else ():
                if now is None or paths_of(now.get(identity, {}).get(key)) == paths_of(fresh):
                    condemn(frame, [self._old[identity][key]])
                    name(frame, [fresh])
        _forget(self._target, self._new)
