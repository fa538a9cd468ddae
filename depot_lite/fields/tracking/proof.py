"""Which files rows name: the question that the database is asked after the end of a transaction.

All file columns of the rows concerned are read, by primary key, and compared by the paths that they hold. Keys are
compared by the database only: ``"1"`` and 1, or a padded CHAR, are one row to it and two to Python. A row whose key was
never told is looked for by its path, which reads the whole table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Dialect,
    Select,
    Table,
    Text,
    cast,
    column,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    type_coerce,
)
from sqlalchemy import table as table_of
from sqlalchemy.engine import Connection
from sqlalchemy.sql import ColumnElement, Subquery

from depot_lite.fields.columns import files_in
from depot_lite.fields.file_type import FileType, file_columns, file_type, read_as, stored_files
from depot_lite.fields.tracking.births import Row, Schemas
from depot_lite.fields.tracking.fates import Answer, End
from depot_lite.fields.tracking.rows import is_one_of, key_batches, unlimited


def names_one_of(column: Column[Any], kind: FileType, paths: Sequence[str], dialect: str) -> ColumnElement[bool]:
    """Return the condition that a column names one of these files; in a list, in any of its elements."""
    if not kind.multiple:
        expression: Any = type_coerce(column, kind)
        return expression["path"].as_string().in_(paths)  # type: ignore[no-any-return]  # it is Any
    text: Any = cast(column, Text) if dialect == "postgresql" else type_coerce(column, Text)
    return or_(*(text.contains(path.rpartition("/")[2], autoescape=True) for path in paths))


def ask(connection: Connection, end: End) -> Answer:
    """Ask which of the files rows name: by primary key, and by path where the key may be another one by now.

    Args:
        connection: outside of a transaction. One that a SELECT makes the driver begin is left to the caller.
        end: the end of the transaction.

    Raises:
        SQLAlchemyError: the database could not be asked.
        RuntimeError: a replica has answered, which may not have the transaction yet.
    """
    answer = _ask_all(connection, end)
    if answer.dirty:
        _read_committed(connection)
        answer = _ask_all(connection, end)
    return answer


def _ask_all(connection: Connection, end: End) -> Answer:
    answer = _ask(connection, end.asked)
    files = end.candidates
    if files.ended_early:
        # Rows that were committed before the rollback are there, under whatever key they may have got since.
        _find_anywhere(connection, end.asked, end.asked.keys() - answer.named, answer)
    elif not end.committed or files.in_doubt:
        # After a rollback a row names its old file again. If the row is not found, or is another one, it was deleted by
        # a COMMIT that nobody told of, or has another key: its file is looked for everywhere before it is given up.
        unwritten = {
            path
            for path in files.births
            if not (end.committed and any(row.written for row in files.rows.get(path, ())))
        }
        _find_anywhere(connection, end.asked, _unexplained(end, answer) - files.lost - unwritten, answer)
    else:
        # A row that an INSERT has left out, or to which a trigger has given another key.
        _find_anywhere(connection, end.asked, answer.absent & files.doubtful, answer)
    return answer


def _unexplained(end: End, answer: Answer) -> set[str]:
    """Return the files that no row was found to name, and whose rows were not found, or may be others by now."""
    files = end.candidates
    return {
        path
        for path in end.asked.keys() - answer.named
        if path in answer.absent
        or not any(
            row.key is None or row in files.deleted or files.explains(row, answer.files_of(row))
            for row in end.asked[path]
        )
    }


def _find_anywhere(
    connection: Connection, asked: Mapping[str, Iterable[Row]], paths: Iterable[str], answer: Answer
) -> None:
    anywhere = _ask(connection, {path: [Row(row.table, None, row.schemas) for row in asked[path]] for path in paths})
    answer.named |= anywhere.named
    answer.dirty |= anywhere.dirty


def _ask(connection: Connection, asked: Mapping[str, Iterable[Row]]) -> Answer:
    answer = Answer()
    present: set[str] = set()
    by_table: dict[tuple[Table, Schemas], dict[tuple[Any, ...] | None, set[str]]] = {}
    for path, rows in asked.items():
        for row in rows:
            by_table.setdefault((row.table, row.schemas), {}).setdefault(row.key, set()).add(path)
    for (table, schemas), by_key in by_table.items():
        options = {"schema_translate_map": dict(schemas)} if schemas else {}
        unknown = by_key.pop(None, set())
        if unknown:
            found = _find_by_path(connection, table, unknown, options, answer)
            answer.named |= found
            present |= found
        for batch in key_batches([key for key in by_key if key is not None]):
            rows_found, ambiguous = _read_by_key(connection, table, batch, options, answer)
            answer.found.update(((table, schemas, key), paths) for key, paths in rows_found)
            if ambiguous:
                answer.ambiguous.update(*by_key.values())
            _compare(by_key, batch, rows_found, answer, present)
    answer.absent = asked.keys() - present - answer.named
    return answer


def _compare(
    by_key: Mapping[Any, set[str]],
    batch: list[tuple[Any, ...]],
    rows: Sequence[tuple[tuple[Any, ...], set[str]]],
    answer: Answer,
    present: set[str],
) -> None:
    for _, paths in rows:
        answer.named |= paths
    if len(rows) == len(batch):
        present.update(*(by_key[key] for key in batch))
    else:
        # Which of the rows are missing: those whose key is none that was found. Where keys read differently in Python
        # than they were given, all count as missing, and nothing is believed to be present that is not.
        found = {key for key, _ in rows}
        present.update(*(by_key[key] for key in batch if key in found))


def _read_by_key(
    connection: Connection, table: Table, keys: list[tuple[Any, ...]], options: dict[str, Any], answer: Answer
) -> tuple[list[tuple[tuple[Any, ...], set[str]]], bool]:
    """Return the keys and paths of the rows that are there, and whether their table is ambiguous."""
    key: list[ColumnElement[Any]] = list(table.primary_key)
    files, aside = list(stored_files(table).values()), circumstances(connection.dialect, table, options)
    if aside is None:
        query: Select[Any] = select(*key, *files).where(is_one_of(key, keys))
    else:
        # Joined to one row that is always there, so that it is told even if no row is found. A user's type of a key may
        # not expect NULL.
        query = select(*(read_as(each, each.type) for each in key), *files, *aside.c)
        query = query.select_from(aside.outerjoin(table, is_one_of(key, keys)))
    rows = connection.execute(unlimited(query, connection), execution_options=options).all()
    width, end = len(key), len(key) + len(files)
    found = [
        (tuple(row[:width]), _paths_in(row[width:end])) for row in rows if aside is None or None not in row[:width]
    ]
    if aside is None:
        return found, False
    active, ambiguous, is_replica, is_dirty = rows[0][end:]
    _refuse_replica(is_replica)
    answer.hidden |= len(found) < len(keys) and bool(active)
    answer.dirty |= bool(is_dirty)
    return found, bool(ambiguous)


def circumstances(dialect: Dialect, table: Table, options: Mapping[str, Any]) -> Subquery | None:
    """Return a SELECT of one row about the circumstances of an answer; None on a database that has none.

    ``active``: row security that the transaction had switched with SET LOCAL may hide its rows after the end, and so
    may a view. ``ambiguous``, ``replica`` and ``dirty``: as in `Answer`, and in `ask`.
    """
    told: tuple[ColumnElement[Any], ...]
    no = false()
    if dialect.name == "postgresql":
        name, has_schema = _full_name(dialect, table, options)
        active: Any = func.row_security_active(name) | _is_view(name)
        ambiguous: Any = no if has_schema else _is_ambiguous(table)
        told = active, ambiguous, func.pg_is_in_recovery(), no
    elif dialect.name in {"mysql", "mariadb"}:
        told = no, no, no, _is_dirty(dialect)
    else:
        return None
    names = ("active", "ambiguous", "replica", "dirty")
    return select(*(each.label(name) for each, name in zip(told, names, strict=True))).subquery("one")


def _is_dirty(dialect: Dialect) -> ColumnElement[bool]:
    """Return whether a session of MariaDB or MySQL reads uncommitted changes of others, as an expression."""
    name = "tx_isolation" if getattr(dialect, "is_mariadb", True) else "transaction_isolation"
    return literal_column(f"@@{name}") == literal_column("'READ-UNCOMMITTED'")


def _read_committed(connection: Connection) -> None:
    """Begin a transaction that reads committed rows only, and leave the isolation level of the session as it is."""
    for statement in ("ROLLBACK", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION"):
        connection.exec_driver_sql(statement)


def _refuse_replica(is_replica: bool) -> None:
    if is_replica:
        raise RuntimeError("a replica has answered, which may lag behind the primary")


def _is_ambiguous(table: Table) -> ColumnElement[bool]:
    """Return whether more than one schema has a table of this name, as an expression of PostgreSQL's catalogue."""
    catalogue = table_of("pg_class", column("relname"), column("relkind"), schema="pg_catalog")
    same = (catalogue.c.relname == table.name) & catalogue.c.relkind.in_(["r", "p"])
    return (select(func.count() > 1).select_from(catalogue).where(same)).scalar_subquery().label("ambiguous")


def _is_view(name: str) -> ColumnElement[bool]:
    """Return whether this is a view, whose rows may be hidden and not deleted, as an expression of PostgreSQL."""
    catalogue = table_of("pg_class", column("oid"), column("relkind"), schema="pg_catalog")
    kind = select(catalogue.c.relkind == "v").where(catalogue.c.oid == func.to_regclass(name))
    return kind.scalar_subquery()


def _full_name(dialect: Dialect, table: Table, options: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the name of a table with its schema, and whether it has one."""
    translated = options.get("schema_translate_map") or {}
    prepare = dialect.identifier_preparer
    schema = translated.get(table.schema, table.schema)
    name: str = prepare.quote(table.name)
    return (name, False) if schema is None else (f"{prepare.quote_schema(schema)}.{name}", True)


def _find_by_path(
    connection: Connection, table: Table, paths: Iterable[str], options: dict[str, Any], answer: Answer
) -> set[str]:
    aside = circumstances(connection.dialect, table, options)
    if aside is not None:
        is_replica, is_dirty = connection.execute(unlimited(select(aside.c.replica, aside.c.dirty), connection)).one()
        _refuse_replica(is_replica)
        answer.dirty |= bool(is_dirty)
    named: set[str] = set()
    columns: list[tuple[Column[Any], FileType]] = [
        (each, kind) for each in file_columns(table) if (kind := file_type(each.type)) is not None
    ]
    for batch in key_batches((each,) for each in sorted(paths)):
        wanted = [path for (path,) in batch]
        conditions = [names_one_of(column, kind, wanted, connection.dialect.name) for column, kind in columns]
        query = select(*stored_files(table).values()).where(or_(*conditions) if conditions else literal(False))
        for row in connection.execute(unlimited(query, connection), execution_options=options):
            named |= _paths_in(row)
    return named


def _paths_in(values: Iterable[Any]) -> set[str]:
    """Return the files that the columns of a row name, and the variants on demand of the focus in there.

    Raises:
        RuntimeError: a reference cannot be read, and may be of any file.
    """
    found: set[str] = set()
    for value in values:
        for each in files_in(value):
            paths = each.named_paths
            if not paths:
                raise RuntimeError(f"a row has a reference that cannot be read: {dict(each)!r}")
            found.update(paths, each.focused_paths)
    return found
