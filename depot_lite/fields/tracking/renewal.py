"""Renewal: variants, placeholders and facts of stored files are made, and entered in their rows by compare and swap.

Images are rendered and stored, and files analyzed, while no row is locked. Then the rows are locked and read again:
each file is found by its path, and its entries are replaced in the value that the row has now. Of a file that was
replaced or deleted meanwhile nothing is entered, and its new variants go, as do those that another process has entered
before. They are born and condemned in the ledger of a session, so the database is asked about them as about all others.

The UPDATE advances no version (``version_id_col``): all of this is derived from the file, and a session that loaded the
row before writes no deleted file back, since its value takes the variants of the row. Columns with ``onupdate`` are
set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, delete, false, literal, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from depot_lite.concurrency.threads import Batch
from depot_lite.depots import Depots
from depot_lite.errors import DepotError
from depot_lite.fields.analyzers import Analyzer, Findings, analyze_stored, keys_of
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.file_type import file_columns
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.lists import FileList
from depot_lite.fields.pending import Pending
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.specialized.variants import entries_of
from depot_lite.fields.tracking.births import Birth, Files, VariantBirth
from depot_lite.fields.tracking.ledger import frame_of, watch_of
from depot_lite.fields.tracking.proof import names_one_of
from depot_lite.fields.tracking.rows import is_one_of, read_rows
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.images.recipes import Recipe, for_meta
from depot_lite.io.fileid import new_file_id

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Todo:
    """What has to be made of a stored file; false if that is nothing."""

    #: The names of variants. Those without a recipe that is made now or later are removed.
    variants: Sequence[str] = ()
    analyzers: Sequence[Analyzer] = ()
    placeholder: bool = False

    def __bool__(self) -> bool:
        """Return whether anything has to be made."""
        return bool(self.variants or self.analyzers or self.placeholder)


#: Returns what has to be made of a stored file.
Choice = Callable[[DepotFileInfo], Todo]


@dataclass(eq=False)
class _Work:
    """A file whose variants, placeholder and facts are made, or whose variants are removed from its row."""

    key: Key
    value: DepotFileInfo
    recipes: Mapping[str, Recipe]
    removed: Collection[str]
    todo: Todo
    done: Callable[[], object]
    births: dict[str, Birth] = field(default_factory=dict)
    lacking: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, Any] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    refused: DepotError | None = None

    @property
    def error(self) -> Exception | None:
        """The reason why something could not be made, and has to be tried again."""
        return self.refused or self.findings.failed

    def announce(self, session: Session) -> None:
        """Enter the files that are about to be stored as born."""
        for name in self.recipes:
            birth = self.births[name] = VariantBirth(self.value, Pending(None), {})
            birth.announce(f"{self.value['depot_name']}/{new_file_id()}")
        frame_of(session).extend(self.births.values())

    def make(self) -> None:
        """Make everything, or note why it cannot be made."""
        if self.todo.analyzers:
            self.findings = analyze_stored(self.value, self.todo.analyzers)
        if isinstance(self.value, UploadedImage) and (self.recipes or self.todo.placeholder):
            self._make_variants(self.value)
        self.done()

    def _make_variants(self, value: UploadedImage) -> None:
        ids = {name: birth.paths[0].rpartition("/")[2] for name, birth in self.births.items()}
        try:
            self.lacking, self.entries = value.make_variants(self.recipes, ids)
        except DepotError as error:
            error.add_note(f"while making variants of {value.path}")
            self.refused = error


@dataclass
class Renewal:
    """The result of a renewal, by the primary keys of the rows.

    ``made`` are the rows that were written, each with the names of the variants that were entered in it or removed from
    it. ``failed`` are rows with a file of which something cannot be made; everything else was entered. ``unreadable``
    are the files, by their paths, that were analyzed without finding a fact, since an analyzer cannot read them.
    """

    made: dict[Key, list[str]] = field(default_factory=dict)
    failed: dict[Key, Exception] = field(default_factory=dict)
    unreadable: dict[Key, dict[str, Exception]] = field(default_factory=dict)


def renew(
    engine: Engine, column: FileColumn, keys: Iterable[Key], choose: Choice, done: Callable[[], object] = lambda: None
) -> Renewal:
    """Make variants, placeholders and facts of the files in rows, enter them, and delete the variants they replace.

    Args:
        engine: of the database.
        column: the attribute.
        keys: the primary keys of the rows. Rows that are gone are left out.
        choose: returns what has to be made of a file.
        done: called after each file of which something was made, in the thread that made it.

    Raises:
        SQLAlchemyError: the database cannot be read or written. No file is left, unless the end is in doubt.
    """
    result, keys = Renewal(), list(keys)
    with engine.connect() as connection:
        found = read_rows(connection, column.table, keys, lock=False)
    with Session(engine, autoflush=False) as session:
        work = [each for key, files in found.items() for each in _work(column, key, files, choose, done, result)]
        if not work:
            return result
        for each in work:
            each.announce(session)
        off_loop(_batch(work).run)
        made = _enter(session, column, work, result)
        session.commit()
    result.made = made
    return result


def _work(
    column: FileColumn, key: Key, files: Files, choose: Choice, done: Callable[[], object], result: Renewal
) -> list[_Work]:
    found = []
    for value in files_in(files[column.column]):
        try:
            todo = choose(value)
        except DepotError as error:
            result.failed[key] = error
            continue
        if todo:
            variants = for_meta(column.type.variants, value.get("meta"))
            recipes = {name: variants[name] for name in todo.variants if name in variants}
            recipes = {name: each for name, each in recipes.items() if each.make != "on_demand"}
            removed = [name for name in todo.variants if name not in recipes]
            found.append(_Work(key, value, recipes, removed, todo, done))
    return found


def _batch(work: Sequence[_Work]) -> Batch:
    """Return the jobs: images one for each processor, and facts, which are read, as many as their storage takes."""
    storage = Depots.get(work[0].value["depot_name"])
    renders = any(each.recipes or each.todo.placeholder for each in work)
    at_once = work[0].value.workers if renders else storage.concurrency
    return Batch([each.make for each in work], at_once, storage.thread_pools.storing)


def _enter(session: Session, column: FileColumn, work: Sequence[_Work], result: Renewal) -> dict[Key, list[str]]:
    """Enter variants in their rows, under a lock, and return the names by the keys of the rows."""
    connection, table, made = session.connection(), column.table, dict[Key, list[str]]()
    _begin_writing(connection, column)
    candidates, by_row = watch_of(session, connection).candidates, dict[Key, dict[str, _Work]]()
    for each in work:
        by_row.setdefault(each.key, {})[each.value.path] = each
    for key, files in read_rows(connection, table, by_row).items():
        held, names = files[column.column], list[str]()
        values = []
        for value in files_in(held):
            done = by_row[key].get(str(value.get("path")))
            values.append(value if done is None else _renewed(value, done, column, names))
            if done is not None:
                _note_errors(done, result)
        if values == list(files_in(held)):
            continue
        new: Any = FileList.of(values) if column.type.multiple else values[0]
        candidates.enter(table, key, named=[new], condemned=[held], held=files, updated=True)
        # An ``onupdate`` of another file column would store a file.
        others = {each: each for each in file_columns(table) if each is not column.column and each.onupdate is not None}
        connection.execute(
            update(table)
            .where(is_one_of(list(table.primary_key), [key]))
            .values({**others, column.column: literal(new, column.type)})
        )
        made[key] = names
    return made


def _note_errors(work: _Work, result: Renewal) -> None:
    found, error = work.findings, work.error
    if error is not None:
        result.failed[work.key] = error
    if found.unreadable is not None and found.analyzed and not found.facts:
        result.unreadable.setdefault(work.key, {})[work.value["path"]] = found.unreadable


def _renewed(present: Any, work: _Work, column: FileColumn, names: list[str]) -> Any:
    """Return a file of a row with its new variants and facts, and add the names of the variants."""
    value = present.with_keys(keys_of(work.findings, present))
    if not (work.todo.variants or work.todo.placeholder) or work.refused is not None:
        return value
    entries, seen, known = dict(entries_of(present)), entries_of(work.value), len(names)
    recipes = for_meta({name: column.type.variants[name] for name in work.entries}, present.get("meta"))
    for name, entry in work.entries.items():
        if recipes[name] != work.recipes[name]:  # the image was given another focus meanwhile
            continue
        if name not in entries or entries[name]["recipe"] != entry["recipe"]:  # else another process was faster
            entries[name] = entry
            names.append(name)
    for name in work.removed:
        if name in entries and entries[name] == seen.get(name):
            del entries[name]
            names.append(name)
    lacking = {key: each for key, each in work.lacking.items() if key not in present}
    if len(names) == known and present.get("variants") is not None and not lacking:
        return value
    ordered = {name: entries[name] for name in (*column.type.variants, *entries) if name in entries}
    return value.with_variants(ordered, lacking)


def _begin_writing(connection: Connection, column: FileColumn) -> None:
    """Let SQLite begin a transaction that writes, however it is configured; one that has read could be overtaken."""
    if connection.dialect.name == "sqlite":
        connection.execute(delete(column.table).where(false()))


def find_key(engine: Engine, column: FileColumn, path: str) -> Key | None:
    """Return the primary key of the row that names a file, None if no row does; reads the whole table."""
    with engine.connect() as connection:
        names = names_one_of(column.column, column.type, [path], connection.dialect.name)
        row = connection.execute(select(*column.table.primary_key).where(names).limit(1)).first()
    return None if row is None else tuple(row)


def make_chosen(engine: Engine, column: FileColumn, key: Key | None, path: str, choose: Choice) -> list[str]:
    """Make variants and facts of one file, and return the names of the variants that were entered in its row.

    Args:
        engine: of the database.
        column: the attribute.
        key: the primary key of the row; None if it has to be found by the path.
        path: of the file. If the row does not name it any more, nothing is made.
        choose: as of `renew`.

    Raises:
        DepotError: the variants cannot be made, or the file cannot be read.
        SQLAlchemyError: the database cannot be read or written.
    """
    found = find_key(engine, column, path) if key is None else key
    if found is None:
        return []
    result = renew(engine, column, [found], lambda value: choose(value) if value.get("path") == path else Todo())
    for error in result.failed.values():
        raise error
    return result.made.get(found, [])
