"""Renewal: variants of stored images are made, and entered in the rows of these images by compare and swap.

The images are rendered and stored while no row is locked. Then the rows are locked and read again: each image is found
by its path, and its entries are replaced in the value that the row has now. Of an image that was replaced or deleted
meanwhile, or whose variants another process has entered, the new files go. The files are born and condemned in the
ledger of a session, so the database is asked about them as about all others.

The UPDATE advances no version (``version_id_col``): variants are derived from the image, and a session that loaded the
row before writes no deleted file back, since its value takes the variants of the row. Columns with ``onupdate`` are
set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Engine, delete, false, literal, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from depot_lite.concurrency.threads import Batch
from depot_lite.errors import DepotError
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.file_type import file_columns
from depot_lite.fields.lists import FileList
from depot_lite.fields.pending import Pending
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.specialized.variants import entries_of
from depot_lite.fields.tracking.births import Birth, Files
from depot_lite.fields.tracking.ledger import frame_of, watch_of
from depot_lite.fields.tracking.proof import names_one_of
from depot_lite.fields.tracking.rows import is_one_of, read_rows
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.images.recipes import Recipe
from depot_lite.io.fileid import new_file_id

Key = tuple[Any, ...]


class _BirthOfVariant(Birth):
    """The birth of one variant, whose image was stored before."""

    def make_pending(self) -> None:
        """Leave the image as it is."""


@dataclass(eq=False)
class _Work:
    """An image whose variants are made, or removed from its row."""

    key: Key
    value: UploadedImage
    recipes: Mapping[str, Recipe]
    removed: Collection[str]
    births: dict[str, Birth] = field(default_factory=dict)
    lacking: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, Any] = field(default_factory=dict)
    error: DepotError | None = None

    def announce(self, session: Session) -> None:
        """Enter the files that are about to be stored as born."""
        for name in self.recipes:
            birth = self.births[name] = _BirthOfVariant(self.value, Pending(None), {})
            birth.announce(f"{self.value.depot_name}/{new_file_id()}")
        frame_of(session).extend(self.births.values())

    def make(self) -> None:
        """Make the variants, or note why they cannot be made."""
        ids = {name: birth.paths[0].rpartition("/")[2] for name, birth in self.births.items()}
        try:
            self.lacking, self.entries = self.value.make_variants(self.recipes, ids)
        except DepotError as error:
            error.add_note(f"while making variants of {self.value.path}")
            self.error = error


@dataclass
class Renewal:
    """The result of a renewal, by the primary keys of the rows.

    ``made`` has the names of the variants that were entered in a row or removed from it. ``failed`` are rows with an
    image whose variants cannot be made; the variants of its other images were entered.
    """

    made: dict[Key, list[str]] = field(default_factory=dict)
    failed: dict[Key, DepotError] = field(default_factory=dict)


def renew(
    engine: Engine, column: FileColumn, keys: Iterable[Key], choose: Callable[[UploadedImage], Iterable[str]]
) -> Renewal:
    """Make variants of the images in rows, enter them, and delete those that they replace.

    Args:
        engine: of the database.
        column: the attribute.
        keys: the primary keys of the rows. Rows that are gone are left out.
        choose: returns the names of the variants of an image to make again. Names without a recipe that is made now or
            later are removed.

    Raises:
        SQLAlchemyError: the database cannot be read or written. No file is left, unless the end is in doubt.
    """
    result, keys = Renewal(), list(keys)
    with engine.connect() as connection:
        found = read_rows(connection, column.table, keys, lock=False)
    with Session(engine, autoflush=False) as session:
        work = [each for key, files in found.items() for each in _work(column, key, files, choose, result)]
        if not work:
            return result
        for each in work:
            each.announce(session)
        value = work[0].value
        jobs = [each.make for each in work if each.recipes]
        off_loop(Batch(jobs, value.workers, value.depot.thread_pools.storing).run)
        made = _enter(session, column, work, result)
        session.commit()
    result.made = made
    return result


def _work(
    column: FileColumn, key: Key, files: Files, choose: Callable[[UploadedImage], Iterable[str]], result: Renewal
) -> list[_Work]:
    found = []
    for value in files_in(files[column.column]):
        try:
            names = list(choose(value)) if isinstance(value, UploadedImage) else []
        except DepotError as error:
            result.failed[key] = error
            continue
        if isinstance(value, UploadedImage) and names:
            variants = {name: column.type.variants.get(name) for name in names}
            recipes = {name: each for name, each in variants.items() if each and each.make != "on_demand"}
            found.append(_Work(key, value, recipes, [name for name in names if name not in recipes]))
    return found


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
            values.append(value if done is None or done.error else _renewed(value, done, column, names))
            if done is not None and done.error is not None:
                result.failed[key] = done.error
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


def _renewed(present: Any, work: _Work, column: FileColumn, names: list[str]) -> Any:
    """Return an image of a row with its new variants, and add their names."""
    entries, seen, known = dict(entries_of(present)), entries_of(work.value), len(names)
    for name, entry in work.entries.items():
        if name not in entries or entries[name]["recipe"] != entry["recipe"]:  # else another process was faster
            entries[name] = entry
            names.append(name)
    for name in work.removed:
        if name in entries and entries[name] == seen.get(name):
            del entries[name]
            names.append(name)
    lacking = {key: each for key, each in work.lacking.items() if key not in present}
    if len(names) == known and present.get("variants") is not None and not lacking:
        return present
    ordered = {name: entries[name] for name in (*column.type.variants, *entries) if name in entries}
    return present.with_variants(ordered, lacking)


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


def make_chosen(
    engine: Engine,
    column: FileColumn,
    key: Key | None,
    path: str,
    names: Callable[[UploadedImage], Iterable[str]],
) -> list[str]:
    """Make variants of one image, and return the names of those that were entered in its row.

    Args:
        engine: of the database.
        column: the attribute.
        key: the primary key of the row; None if it has to be found by the path.
        path: of the image. If the row does not name it any more, nothing is made.
        names: as ``choose`` of `renew`.

    Raises:
        DepotError: the variants cannot be made.
        SQLAlchemyError: the database cannot be read or written.
    """
    found = find_key(engine, column, path) if key is None else key
    if found is None:
        return []
    result = renew(engine, column, [found], partial(_names_of, path, names))
    for error in result.failed.values():
        raise error
    return result.made.get(found, [])


def _names_of(path: str, names: Callable[[UploadedImage], Iterable[str]], value: UploadedImage) -> Iterable[str]:
    return names(value) if value.get("path") == path else ()
