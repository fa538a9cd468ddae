"""Births, rows and candidates: the files that a transaction may store or release.

Plain data, which needs no connection. A *birth* is a file that was stored in a transaction that has not ended. A *row*
is a place where a file may be named. *Candidates* are the files of one connection's transaction, each with the rows in
which it may be named after the end, when their fates are decided (`depot_lite.fields.tracking.fates`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Column, Table

from depot_lite.fields.columns import FileColumn, files_in, paths_of
from depot_lite.fields.interfaces import DepotFileInfo, logger
from depot_lite.fields.pending import Pending

#: A ``schema_translate_map``, in a form that can be hashed.
Schemas = tuple[tuple[str | None, str | None], ...]
#: The file columns of a row, with their values, lists, or None.
Files = Mapping[Column[Any], Any]


@dataclass(eq=False)
class Birth:
    """A value that was stored in a transaction which has not ended, with its state before.

    ``bound`` says whether it was ever given to the database as a parameter. If not, no row can name its files.
    ``ended`` says that its fate is decided. ``column`` is the attribute that it was stored for. ``paths`` are all files
    that storing it has made.
    """

    value: DepotFileInfo
    pending: Pending
    before: dict[str, Any]
    column: FileColumn | None = None
    bound: bool = False
    ended: bool = False
    paths: list[str] = field(default_factory=list)

    def announce(self, path: str) -> None:
        """Enter a file whose first byte is about to be stored."""
        self.paths.append(path)
        _by_path[path] = self

    def is_among(self, gone: Set[str]) -> bool:
        """Return whether the main file of the value is among these, or a variant that was born by itself.

        A value that was given another focus stays, although variants that were stored with it go.
        """
        path = self.before.get("path")
        return path in gone if path is not None else not gone.isdisjoint(self.paths)

    def end(self) -> None:
        """Record that the fate of the files is decided."""
        self.ended = True
        for path in self.paths:
            _by_path.pop(path, None)

    def make_pending(self) -> None:
        """Make the value pending again, so that it can be flushed a second time; its files go."""
        if not self.value.pending:
            self.value.revert(self.pending, self.before)


class VariantBirth(Birth):
    """The birth of a variant of an image that was stored before, or a change of the image that calls for one."""

    def make_pending(self) -> None:
        """Leave the image as it is."""


# Which birth a path belongs to. `process_bind_param` knows only the value. Weak, as sessions may be dropped.
_by_path: Final[weakref.WeakValueDictionary[str, Birth]] = weakref.WeakValueDictionary()


def birth_of(path: str) -> Birth | None:
    """Return the birth of a file, or None if it was not stored in a transaction that is still open."""
    return _by_path.get(path)


def mark_bound(paths: Iterable[str]) -> None:
    """Record that files are named by parameters of a statement."""
    for path in paths:
        birth = _by_path.get(path)
        if birth is not None:
            birth.bound = True


class Row:
    """A row that may name files: its table, and its primary key, or None while the database has not told it.

    ``find_key`` looks whether SQLAlchemy has been told meanwhile. ``written`` says that the statement which inserts the
    row has been executed without an error. ``before`` are the files that it named when it was read first, if it was.
    """

    __slots__ = ("_key", "before", "find_key", "schemas", "table", "written")

    def __init__(
        self,
        table: Table,
        key: tuple[Any, ...] | None,
        schemas: Schemas = (),
        find_key: Callable[[], tuple[Any, ...] | None] | None = None,
    ) -> None:
        self.table = table
        self._key = key
        self.schemas = schemas
        self.find_key = find_key
        self.written = False
        self.before: set[str] | None = None

    @property
    def key(self) -> tuple[Any, ...] | None:
        """The primary key; None while it is not known."""
        if self._key is None and self.find_key is not None:
            self._key = self.find_key()
        return self._key

    def mark_written(self) -> None:
        """Record that the row was inserted, and its key if it is known by now."""
        if self.key is not None:
            self.find_key = None
        self.written = True

    def mark_read(self, held: Files) -> None:
        """Record that the row was read, and the files that it had when it was read first."""
        self.written = True
        if self.before is None:
            self.before = {path for value in held.values() for path in (*paths_of(value), *_focused_in(value))}


@dataclass(eq=False)
class Candidates:
    """The files that one transaction of a connection may have named or stopped naming, and the rows to ask about.

    ``condemned`` are files that a row has named and does not name any more, ``updated`` born ones that an UPDATE has
    given to a row. ``doubtful`` are born ones whose statement may leave out their row. ``in_doubt`` says that the
    database has reported an error, after which a COMMIT may have been a ROLLBACK. ``lost`` are files that went with a
    savepoint, ``deleted`` rows that this transaction deletes. ``moved`` are tables whose primary keys a statement has
    changed: their rows are looked for by path as well. ``left`` are primary keys that rows had before. ``ended_early``
    says that the database told of an end before COMMIT or ROLLBACK, ``unanswered`` that a statement which commits by
    itself was sent, and the connection broke, ``renamed`` that the name of a table may have come to mean another one.
    ``derived`` are the variants on demand of an original, which go with it, whether they have been made or not,
    and ``focused`` those among the condemned whose image was given another focus: they can be made again, so that they
    go in case of doubt. ``edited`` are images that need other variants after COMMIT, with their rows.
    """

    rows: dict[str, set[Row]] = field(default_factory=dict)
    births: dict[str, Birth] = field(default_factory=dict)
    condemned: set[str] = field(default_factory=set)
    updated: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    deleted: set[Row] = field(default_factory=set)
    derived: dict[str, list[str]] = field(default_factory=dict)
    focused: set[str] = field(default_factory=set)
    edited: list[tuple[Birth, Row]] = field(default_factory=list)
    moved: set[Table] = field(default_factory=set)
    left: set[tuple[Table, tuple[Any, ...]]] = field(default_factory=set)
    in_doubt: bool = False
    ended_early: bool = False
    unanswered: bool = False
    renamed: bool = False
    #: The execution options of the connection, as they are when rows are entered.
    options: Mapping[str, Any] = field(default_factory=dict)
    _keyed: dict[tuple[Table, tuple[Any, ...], Schemas], Row] = field(default_factory=dict)

    def row(
        self,
        table: Table,
        key: tuple[Any, ...] | None,
        options: Mapping[str, Any] | None = None,
        find_key: Callable[[], tuple[Any, ...] | None] | None = None,
    ) -> Row:
        """Return the row with this key, the same one each time; a new one if the key is None."""
        schemas = schemas_of(options or {}) or schemas_of(self.options)
        if key is None:
            return Row(table, None, schemas, find_key)
        found = self._keyed.get((table, key, schemas))
        if found is None:
            found = self._keyed[table, key, schemas] = Row(table, key, schemas)
        return found

    def enter(
        self,
        table: Table,
        key: tuple[Any, ...] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        find_key: Callable[[], tuple[Any, ...] | None] | None = None,
        named: Collection[Any] = (),
        condemned: Collection[Any] = (),
        held: Files | None = None,
        updated: bool = False,
        doubtful: bool = False,
        deleted: bool = False,
    ) -> Row:
        """Enter values that a row will name, and values that it names no longer; before the statement is sent.

        Returns the row.

        Args:
            table: the table of the row.
            key: its primary key; None if it is not known.
            options: the execution options of the statement, whose ``schema_translate_map`` takes precedence over that
                of the connection.
            find_key: returns the key of a row that is inserted, once it is known.
            named: values and lists that it will hold.
            condemned: values and lists that it holds until then.
            held: the files in the row, if it was read.
            updated: the statement is an UPDATE.
            doubtful: the statement may leave out the row, without an error.
            deleted: the statement deletes the row.
        """
        row = self.row(table, key, options, find_key)
        if held is not None:
            row.mark_read(held)
        if deleted:
            self.deleted.add(row)
        kept = {path for value in named for each in files_in(value) for path in each.named_paths}
        for path in kept:
            self.name(path, row, updated=updated, doubtful=doubtful)
        for value in (*named, *condemned):
            self.derive(value)
        for value in condemned:
            for each in files_in(value):
                self._condemn_file(each, row, kept)
        for path in _of_changed_focus(condemned, named):
            self.condemn(path, row)
            self.focused.add(path)
        return row

    def _condemn_file(self, value: DepotFileInfo, row: Row, kept: Set[str]) -> None:
        own, foreign = value.own_and_foreign_paths
        for path in own:
            if path not in kept:
                self.condemn(path, row)
        if foreign:
            logger.warning("%s names files that are not its own, which are kept: %s", value.get("path"), foreign)

    def name(self, path: str, row: Row, *, updated: bool = False, doubtful: bool = False) -> None:
        """Enter a born file that a row is about to name; others are named already.

        Args:
            path: the file.
            row: the row.
            updated: by an UPDATE.
            doubtful: by a statement that may leave out the row, without an error.
        """
        birth = _by_path.get(path)
        if birth is not None:
            self.rows.setdefault(path, set()).add(row)
            self.births[path] = birth
            self.condemned.discard(path)
            if updated:
                self.updated.add(path)
            if doubtful:
                self.doubtful.add(path)

    def derive(self, value: Any) -> None:
        """Enter the variants on demand of a value or a list, which go with their originals."""
        for each in files_in(value):
            if derived := each.derived_paths:
                known = self.derived.setdefault(each["path"], [])
                known += [path for path in derived if path not in known]

    def condemn(self, path: str, row: Row) -> None:
        """Enter a file that a row has named and is about to name no longer."""
        self.rows.setdefault(path, set()).add(row)
        self.condemned.add(path)
        birth = _by_path.get(path)
        if birth is not None:
            self.births[path] = birth

    def move(self, table: Table, old: tuple[Any, ...], new: tuple[Any, ...]) -> None:
        """Record that a row gets another primary key: after a rollback it is found under the old one."""
        self.left.add((table, old))
        row = self._keyed.get((table, old, schemas_of(self.options)))
        if row is not None:
            moved = self.row(table, new)
            for rows in self.rows.values():
                if row in rows:
                    rows.add(moved)

    def place_of(self, rows: Collection[Row]) -> Row | None:
        """Return the one of these rows that is there after COMMIT, without a key if it is not certain; None if none."""
        if not rows:
            return None
        first = next(iter(rows))
        keys = {row.key for row in rows if row.key is not None}
        if len(keys) != 1 or first.table in self.moved or (first.table, *keys) in self.left:
            return Row(first.table, None, first.schemas)
        return next(row for row in rows if row.key is not None)

    def lose(self, birth: Birth) -> None:
        """Remove a birth whose savepoint was rolled back: its value gets other files, these are only asked about."""
        for path in birth.paths:
            if self.births.pop(path, None) is not None:
                self.lost.add(path)
            self.condemned.discard(path)
            if not birth.bound:
                self.rows.pop(path, None)

    def refuse(self, paths: Iterable[str]) -> None:
        """Record that the database has refused a statement that would have named these files.

        If it was for one row, whose key the database would have made, the file is nowhere, and to look for it would
        read the whole table. Of several rows, some may have been inserted (MyISAM).
        """
        births = {id(birth): birth for path in paths if (birth := self.births.get(path)) is not None}
        for birth in births.values() if len(births) == 1 else ():
            rows = [row for path in birth.paths for row in self.rows.get(path, ())]
            if not any(row.written or row.key is not None for row in rows):
                birth.bound = False

    def spare(self, path: str) -> None:
        """Leave a file alone, however the transaction ends."""
        self.rows.pop(path, None)

    def explains(self, row: Row, found: set[str] | None) -> bool:
        """Return whether a row that was found may be the one that was entered: it names files known to be its own.

        Otherwise its key was changed behind our back, and another row has that key now.
        """
        known = self.condemned | self.births.keys()
        return bool(found) and (
            found == row.before or any(row in self.rows.get(each, ()) for each in (found or set()) & known)
        )


def _focused_in(held: object) -> list[str]:
    return [path for value in files_in(held) for path in value.focused_paths]


def _of_changed_focus(before: Iterable[Any], after: Iterable[Any]) -> set[str]:
    """Return the variants on demand of the former and of the new focus of files that stay in their row.

    After the end of the transaction the row tells which of the two is its own.
    """
    held = {each.get("path"): {*each.focused_paths} for value in before for each in files_in(value)}
    kept = [each for value in after for each in files_in(value) if each.get("path") in held]
    return {path for each in kept for path in held[each.get("path")].symmetric_difference(each.focused_paths)}


def schemas_of(options: Mapping[str, Any]) -> Schemas:
    """Return the ``schema_translate_map`` of execution options."""
    return tuple((options.get("schema_translate_map") or {}).items())
