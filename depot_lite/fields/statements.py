"""Rows that are written by statements instead of objects, and keep to the same rules.

``session.execute(insert/update/delete ...)`` comes here through SQLAlchemy's ``do_orm_execute`` event, ``Query.delete`` and
``Query.update`` with it. What the statement is about to remove is read first, with the rows locked (``SELECT ... FOR
UPDATE``; SQLite has one writer at a time anyway), so that what was read is what is removed; where the database reports
another number of rows, it is read again, and a row that is still there keeps its file. Files are stored before the statement
is sent. An UPDATE that gives one file to several rows gives each row a file of its own.

For ``session.bulk_*`` SQLAlchemy has no event: these three methods of `Session` are wrapped (`wrap_bulk_methods`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Delete, Insert, Table, Update, and_, case, event, inspect, literal, select, tuple_
from sqlalchemy.orm import Mapper, ORMExecuteState, Session
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.elements import BindParameter, Null

from depot_lite.errors import InvalidContent
from depot_lite.fields import columns, tracking
from depot_lite.fields.columns import FileColumn
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.ledger import Frame

_BATCH: Final = 500

#: Primary key -> what the file columns of that row hold, by key.
Rows = dict[tuple[Any, ...], dict[str, DepotFileInfo | None]]


@dataclass(frozen=True, slots=True)
class _Target:
    """What a statement writes to: a table with file columns, as a mapped class sees it or as it is."""

    session: Session
    table: Table
    mapper: Mapper[Any] | None
    columns: Mapping[str, FileColumn]
    bind_arguments: dict[str, Any]
    execution_options: Mapping[str, Any]

    @property
    def key(self) -> list[Any]:
        """What identifies a row."""
        if self.mapper is None:
            return list(self.table.primary_key)
        return [self.expression(each) for each in self.mapper.local_table.primary_key]

    def expression(self, column: Any) -> Any:
        """Return the column as the statement spells it: as an attribute, so that criteria of the mapper apply."""
        if self.mapper is None:
            return column
        return getattr(self.mapper.class_, self.mapper.get_property_by_column(column).key)

    def here(self) -> dict[str, FileColumn]:
        """Return the file columns that the statement's own table has; a joined subclass shares the others."""
        return {key: each for key, each in self.columns.items() if each.column.table is self.table}

    def named(self, name: Any) -> FileColumn | None:
        """Return the file column that a statement or a mapping calls so."""
        key = name if isinstance(name, str) else name.key
        found = self.columns.get(key)
        if found is not None:
            return found
        return next((each for each in self.columns.values() if key in (each.column.key, each.column.name)), None)

    def frame(self) -> Frame:
        """Return the frame to write into, once the statement has run."""
        frame = tracking.frame_of(self.session)
        tracking.rows_written(frame, self.session.connection(bind_arguments=dict(self.bind_arguments)))
        return frame

    def read(self, keys: Iterable[str], where: Any, parameters: Any = None, options: Sequence[Any] = ()) -> Rows:
        """Lock the rows that match and return what their file columns hold."""
        wanted = list(keys)
        key = self.key
        query = (
            select(*key, *(self.expression(self.columns[each].column) for each in wanted))
            .options(*options)
            .with_for_update(of=self.table)
        )
        if where is not None:
            query = query.where(where)
        rows = self.session.execute(
            query,
            parameters,
            execution_options=dict(self.execution_options),
            bind_arguments=dict(self.bind_arguments),
        )
        return {tuple(row[: len(key)]): dict(zip(wanted, row[len(key) :], strict=True)) for row in rows}

    def read_again(self, rows: Rows) -> Rows:
        """Return what is left of rows that were read before, and what they hold now."""
        now: Rows = {}
        wanted = list(next(iter(rows.values()), {}))
        identities = list(rows)
        for start in range(0, len(identities), _BATCH):
            now.update(self.read(wanted, self.is_one_of(identities[start : start + _BATCH])))
        return now

    def is_one_of(self, identities: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
        """Return the condition that a row is one of these."""
        key = self.key
        if len(key) == 1:
            return key[0].in_([each[0] for each in identities])  # type: ignore[no-any-return]  # an attribute is Any
        return tuple_(*key).in_(identities)


def _target(session: Session, table: Any, mapper: Mapper[Any] | None, state: ORMExecuteState | None) -> _Target | None:
    if not isinstance(table, Table):
        return None
    found = columns.columns_of_table(table) if mapper is None else columns.columns_of_mapper(mapper)
    if not found:
        return None
    bind = {"mapper": mapper} if mapper is not None else {"clause": table}
    options: Mapping[str, Any] = {} if state is None else state.execution_options
    return _Target(session, table, mapper, found, bind if state is None else dict(state.bind_arguments), options)


# --- session.execute() --------------------------------------------------------------------------------------------


def _on_execute(state: ORMExecuteState) -> Any:
    statement = state.statement
    if not statement.is_dml or not columns.any_type_made():
        return None
    if not isinstance(statement, Insert | Update | Delete):
        return None
    mapper = _mapper_of(statement)
    target = _target(state.session, statement.table if mapper is None else mapper.local_table, mapper, state)
    if target is None:
        return None
    if isinstance(statement, Delete):
        return _delete(state, statement, target)
    if isinstance(statement, Update):
        return _update(state, statement, target)
    return _insert(state, statement, target)


def _mapper_of(statement: Insert | Update | Delete) -> Mapper[Any] | None:
    entity = statement.entity_description.get("entity")
    return None if entity is None else inspect(entity).mapper


def _delete(state: ORMExecuteState, statement: Delete, target: _Target) -> Any:
    if not target.here():
        return None
    rows: Rows = {}
    for parameters in _each(state.parameters):
        rows.update(target.read(target.here(), statement.whereclause, parameters, statement._with_options))
    result = state.invoke_statement()
    if rows:
        kept = {} if _rowcount(result) == len(rows) else target.read_again(rows)
        frame = target.frame()
        for identity, files in rows.items():
            if identity not in kept:
                _condemn(frame, files.values())
    return result


def _each(parameters: Any) -> Sequence[Any]:
    return parameters if isinstance(parameters, list | tuple) else [parameters]


def _rowcount(result: Any) -> int:
    """Return how many rows the database says it has changed; -1 where it does not say."""
    try:
        return int(result.rowcount)
    except AttributeError:  # a result of RETURNING that SQLAlchemy has buffered has lost it
        return -1


def _condemn(frame: Frame, values: Iterable[DepotFileInfo | None]) -> None:
    for value in values:
        for path in () if value is None else value.paths:
            frame.condemn(path)


def _name(frame: Frame, values: Iterable[DepotFileInfo | None]) -> None:
    for value in values:
        for path in () if value is None else value.paths:
            frame.name(path)


# --- UPDATE -------------------------------------------------------------------------------------------------------


def _update(state: ORMExecuteState, statement: Update, target: _Target) -> Any:
    if state.is_executemany:
        return _update_many(state, statement, target)
    given = dict(_assigned(target, _values_of(statement).items()))
    parameters = dict(state.parameters) if isinstance(state.parameters, Mapping) else {}
    for name in list(parameters):
        column = target.named(name)
        if column is not None and name not in _binds_of(statement.whereclause):
            given[column.key] = parameters.pop(name)
    if not given:
        return None
    fresh = {key: target.columns[key].accept(value, None, None) for key, value in given.items()}
    rows = target.read(given, statement.whereclause, parameters, statement._with_options)
    new = _store_for_rows(target, fresh, list(rows))
    state.parameters = parameters or None
    result = state.invoke_statement(statement=statement.values(_cases(target, fresh, new)))
    if rows:
        _replaced(target, rows, new, whole=_rowcount(result) == len(rows))
    return result


def _values_of(statement: Update | Insert) -> dict[Any, Any]:
    # SQLAlchemy shows what a statement assigns nowhere in public.
    if isinstance(statement, Update) and statement._ordered_values:
        return dict(statement._ordered_values)
    return dict(statement._values or {})


def _binds_of(where: Any) -> set[str]:
    binds = (
        [] if where is None else where._get_embedded_bindparams() if hasattr(where, "_get_embedded_bindparams") else []
    )
    return {bind.key for bind in binds}


def _assigned(target: _Target, items: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the key of each file column that is assigned, and the value that was meant."""
    for name, value in items:
        column = target.named(name)
        if column is not None:
            yield column.key, _plain(column, value)


def _plain(column: FileColumn, value: Any) -> Any:
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


def _store_for_rows(target: _Target, fresh: dict[str, Any], identities: Sequence[tuple[Any, ...]]) -> Rows:
    """Store a file of its own for each row and return them; no file where the value is None."""
    new: Rows = {}
    waiting: list[tuple[FileColumn, DepotFileInfo]] = []
    for number, identity in enumerate(identities):
        new[identity] = {key: value.twin() if value is not None and number else value for key, value in fresh.items()}
        waiting += [(target.columns[key], value) for key, value in new[identity].items() if value is not None]
    tracking.store_all(target.session, waiting)
    return new


def _cases(target: _Target, fresh: dict[str, Any], new: Rows) -> dict[Any, Any]:
    """Return what the UPDATE is to assign: to each row that was read its own file, to any other what it has."""
    assigned = {}
    for key, value in fresh.items():
        column = target.columns[key]
        expression = target.expression(column.column)
        whens = [(_is(target, identity), literal(files[key], column.type)) for identity, files in new.items()]
        assigned[expression] = None if value is None else case(*whens, else_=expression) if whens else expression
    return assigned


def _is(target: _Target, identity: tuple[Any, ...]) -> ColumnElement[bool]:
    return and_(*(column == value for column, value in zip(target.key, identity, strict=True)))


def _replaced(target: _Target, old: Rows, new: Rows, *, whole: bool) -> None:
    """Enter what an UPDATE did; where it did not reach ``whole`` of the rows, look which."""
    now = None if whole else target.read_again(old)
    frame = target.frame()
    for identity, files in old.items():
        for key, value in files.items():
            fresh = new[identity].get(key)
            if now is None or _paths(now.get(identity, {}).get(key)) == _paths(fresh):
                _condemn(frame, [value])
                _name(frame, [fresh])


def _paths(value: DepotFileInfo | None) -> list[str]:
    return [] if value is None else value.paths


def _update_many(state: ORMExecuteState, statement: Update, target: _Target) -> Any:
    mappings = list(_each(state.parameters))
    touched = {column.key for mapping in mappings for name in mapping if (column := target.named(name)) is not None}
    touched |= {key for key, _ in _assigned(target, _values_of(statement).items())}
    if not touched:
        return None
    if statement.whereclause is not None or target.mapper is None:
        raise InvalidContent(
            f"{', '.join(str(target.columns[key]) for key in touched)}: an UPDATE with WHERE and several sets of parameters "
            "cannot look after files; execute one statement for each, or update by primary key"
        )
    with_files = _UpdateByKey(target, mappings)
    state.parameters = with_files.mappings
    result = state.invoke_statement()
    with_files.done()
    return result


class _UpdateByKey:
    """An UPDATE of many rows by primary key: the mappings with stored values, and what they replace."""

    def __init__(self, target: _Target, mappings: Sequence[Mapping[str, Any]]) -> None:
        self.target = target
        self.mappings = [dict(mapping) for mapping in mappings]
        self.old: Rows = {}
        self.new: Rows = {}
        waiting: list[tuple[FileColumn, DepotFileInfo]] = []
        for mapping in self.mappings:
            waiting += self._accept(mapping)
        identities = list(self.new)
        keys = sorted({key for files in self.new.values() for key in files})
        for start in range(0, len(identities), _BATCH):
            self.old.update(target.read(keys, target.is_one_of(identities[start : start + _BATCH])))
        tracking.store_all(target.session, waiting)

    def _accept(self, mapping: dict[str, Any]) -> list[tuple[FileColumn, DepotFileInfo]]:
        found = {name: column for name in mapping if (column := self.target.named(name)) is not None}
        accepted = {name: column.accept(mapping[name], None, None) for name, column in found.items()}
        if accepted:
            mapping.update(accepted)
            files = self.new.setdefault(self._identity(mapping), {})
            files.update({found[name].key: value for name, value in accepted.items()})
        return [(found[name], value) for name, value in accepted.items() if value is not None]

    def _identity(self, mapping: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(mapping[attribute.key] for attribute in self.target.key)

    def done(self) -> None:
        """Enter what was replaced, now that the statement has run."""
        frame = self.target.frame()
        for identity, files in self.new.items():
            if identity in self.old:
                _condemn(frame, [self.old[identity][key] for key in files])
                _name(frame, files.values())


# --- INSERT -------------------------------------------------------------------------------------------------------


def _insert(state: ORMExecuteState, statement: Insert, target: _Target) -> Any:
    _refuse_what_cannot_be_followed(statement, target)
    stored = _Stored(target)
    parameters = [stored.mapping(each) for each in _each(state.parameters) if each]
    values = {name: stored.value(name, value) for name, value in _values_of(statement).items()}
    several = [[_row(stored, statement, row) for row in rows] for rows in statement._multi_values]
    if not stored.waiting:
        return None
    tracking.store_all(target.session, stored.waiting)
    if stored.changed_values:
        statement = statement.values({name: values[name] for name in stored.changed_values})
    if several:
        statement = statement._generate()
        statement._multi_values = tuple(several)
    if parameters:
        state.parameters = parameters if state.is_executemany else parameters[0]
    result = state.invoke_statement(statement=statement)
    kept = [value for _, value in stored.waiting]
    if statement._post_values_clause is not None or statement._prefixes:
        kept = _found_in_rows(target, stored.waiting)
    _name(target.frame(), kept)
    return result


def _row(stored: _Stored, statement: Insert, row: Any) -> dict[Any, Any]:
    if not isinstance(row, Mapping):
        row = dict(zip(statement.table.columns, row, strict=False))
    return {name: stored.value(name, value) for name, value in row.items()}


def _refuse_what_cannot_be_followed(statement: Insert, target: _Target) -> None:
    for name in statement._select_names or () if statement.select is not None else ():
        column = target.named(name)
        if column is not None:
            raise InvalidContent(
                f"{column}: INSERT ... SELECT would give one file to two rows; load and assign the values"
            )
    for name in _set_on_conflict(statement._post_values_clause):
        column = target.named(name)
        if column is not None:
            raise InvalidContent(
                f"{column}: an upsert does not tell which file it replaced; use session.merge(), or two statements"
            )


def _set_on_conflict(clause: Any) -> list[Any]:
    if clause is None:
        return []
    if clause.__visit_name__ == "on_duplicate_key_update":
        return list(clause.update)
    if clause.__visit_name__ == "on_conflict_do_update":
        return [name for name, _ in clause.update_values_to_set]
    return []


class _Stored:
    """Collects the files of one INSERT while its values are walked through."""

    def __init__(self, target: _Target) -> None:
        self.target = target
        self.waiting: list[tuple[FileColumn, DepotFileInfo]] = []
        self.changed_values: list[Any] = []
        self._seen: set[int] = set()

    def value(self, name: Any, value: Any) -> Any:
        """Return the value to insert: for a file column one that is going to be stored."""
        column = self.target.named(name)
        if column is None:
            return value
        accepted = column.accept(_plain(column, value), None, None)
        if accepted is not None:
            if id(accepted) in self._seen:
                accepted = accepted.twin()
            self._seen.add(id(accepted))
            self.waiting.append((column, accepted))
        self.changed_values.append(name)
        return accepted

    def mapping(self, mapping: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of a row with such values in it."""
        before = len(self.changed_values)
        row = {name: self.value(name, value) for name, value in mapping.items()}
        del self.changed_values[before:]
        return row


def _found_in_rows(target: _Target, waiting: Sequence[tuple[FileColumn, DepotFileInfo]]) -> list[DepotFileInfo]:
    """Return the values that rows hold, after an INSERT that may have left some out."""
    by_path = {value["path"]: value for _, value in waiting}
    present: set[str] = set()
    for column in {each.key: each for each, _ in waiting}.values():
        path = target.expression(column.column)["path"].as_string()
        paths = [value["path"] for each, value in waiting if each.key == column.key]
        for start in range(0, len(paths), _BATCH):
            query = select(path).where(path.in_(paths[start : start + _BATCH]))
            present.update(target.session.scalars(query, bind_arguments=dict(target.bind_arguments)))
    return [value for path, value in by_path.items() if path in present]


# --- session.bulk_*() ---------------------------------------------------------------------------------------------


def _bulk_target(session: Session, entity: Any) -> _Target | None:
    mapper: Mapper[Any] = inspect(entity).mapper
    return _target(session, mapper.local_table, mapper, None)


def _bulk_insert_mappings(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def bulk_insert_mappings(
        self: Session, mapper: Any, mappings: Iterable[dict[str, Any]], *args: Any, **kwargs: Any
    ) -> None:
        target = _bulk_target(self, mapper)
        if target is None:
            return original(self, mapper, mappings, *args, **kwargs)
        given = list(mappings)
        stored = _Stored(target)
        rows = [stored.mapping(each) for each in given]
        tracking.store_all(self, stored.waiting)
        original(self, mapper, rows, *args, **kwargs)
        _name(target.frame(), [value for _, value in stored.waiting])
        for before, after in zip(given, rows, strict=True):
            # With return_defaults=True the caller finds the new primary keys in his own dictionaries.
            before.update({name: value for name, value in after.items() if name not in before})
        return None

    return bulk_insert_mappings


def _bulk_update_mappings(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def bulk_update_mappings(self: Session, mapper: Any, mappings: Iterable[dict[str, Any]]) -> None:
        target = _bulk_target(self, mapper)
        if target is None:
            return original(self, mapper, mappings)
        with_files = _UpdateByKey(target, list(mappings))
        original(self, mapper, with_files.mappings)
        with_files.done()
        return None

    return bulk_update_mappings


def _bulk_save_objects(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def bulk_save_objects(self: Session, objects: Iterable[object], *args: Any, **kwargs: Any) -> None:
        given = list(objects)
        saved = tracking.Saved(self, given)
        original(self, given, *args, **kwargs)
        saved.done()

    return bulk_save_objects


_BULK: Final = {
    "bulk_insert_mappings": _bulk_insert_mappings,
    "bulk_update_mappings": _bulk_update_mappings,
    "bulk_save_objects": _bulk_save_objects,
}

#: The mark by which a method of ours is known, so that a second call wraps nothing twice.
_OURS: Final = "_depot_lite_follows_files"


def wrap_bulk_methods() -> None:
    """Let the bulk methods of all sessions look after files; a second call does nothing."""
    for name, wrap in _BULK.items():
        original = getattr(Session, name)
        if not hasattr(original, _OURS):
            wrapped = wrap(original)
            setattr(wrapped, _OURS, True)
            setattr(Session, name, wrapped)


def track_statements() -> None:
    """Follow the statements of all sessions; a second call does nothing."""
    if not event.contains(Session, "do_orm_execute", _on_execute):
        event.listen(Session, "do_orm_execute", _on_execute)
    wrap_bulk_methods()
