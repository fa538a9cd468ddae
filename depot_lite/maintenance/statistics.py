"""Statistics: number, size and duration of files by depot, by type and by column.

Storages are listed first, then the rows are read, as for unused files: a file that is stored and named in between does
not count as unnamed.
"""

from __future__ import annotations

import heapq
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped, StoredFileNotFound
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.options import integer
from depot_lite.maintenance.ids import ListedFiles, is_derived, packed, unpacked
from depot_lite.maintenance.memory import Records
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.named import DepotNames, NamedFile, named_files, rows_naming
from depot_lite.maintenance.rows.places import Place, places
from depot_lite.maintenance.rows.references import depots_at, where
from depot_lite.maintenance.run.reports import Step, Watcher, partial_report

#: The type of files whose row has no content type, mostly thumbnails.
UNKNOWN: Final = "unknown"


@dataclass(slots=True)
class Amount:
    """A number of files, their total size and duration."""

    files: int = 0
    bytes: int = 0
    #: Seconds, of the files whose row knows their duration (`depot_lite.fields.analyzers`); None if no row does.
    duration: float | None = None

    def add(self, size: int, duration: float | None = None) -> None:
        """Count a file."""
        self.files += 1
        self.bytes += size
        self.duration = _total(self.duration, duration)


def _total(one: float | None, other: float | None) -> float | None:
    return one if other is None else round((one or 0) + other, 3)


@dataclass(frozen=True, slots=True)
class LargeFile:
    """One of the largest files of a depot."""

    file_id: str
    size: int
    #: A row that names the file, ``movie.poster of the row 7``; None for an unnamed file.
    row: str | None


@dataclass(slots=True)
class DepotStatistics:
    """The files of a depot. A report of a count that was stopped may have ``files`` only, those listed by then."""

    files: int = 0
    bytes: int = 0
    #: Files that no row names, including files of open transactions.
    unnamed: Amount = field(default_factory=Amount)
    #: Variants on demand, which no row names; a sweep knows those whose original is gone.
    on_demand: Amount = field(default_factory=Amount)
    #: Named files by the content type in their row.
    by_type: dict[str, Amount] = field(default_factory=dict)
    #: The largest first.
    largest: list[LargeFile] = field(default_factory=list)

    @property
    def duration(self) -> float | None:
        """The total duration of sound and films in seconds, as far as rows know it; None if no row does."""
        total: float | None = None
        for each in self.by_type.values():
            total = _total(total, each.duration)
        return total


@dataclass(slots=True)
class ColumnStatistics:
    """The files that the rows of a column name in the depots counted."""

    #: Rows that name a file in one of these depots.
    rows: int = 0
    files: int = 0
    #: Total size, without missing files.
    bytes: int = 0
    #: Total duration in seconds, as far as rows know it, without missing files; None if no row does.
    duration: float | None = None


@dataclass(slots=True)
class StatisticsReport:
    """The number and size of files."""

    depots: dict[str, DepotStatistics] = field(default_factory=dict)
    #: By ``movie.poster``.
    columns: dict[str, ColumnStatistics] = field(default_factory=dict)
    #: Rows that cannot be parsed: their files count as unnamed.
    damaged_rows: int = 0
    #: Name of a depot that is not configured -> number of files that rows name in it.
    unconfigured: dict[str, int] = field(default_factory=dict)


def statistics(
    bind: Session | Engine | Connection,
    depot_name: str | None = None,
    *,
    largest: int = 10,
    models: Iterable[object] | None = None,
    progress: Watcher | None = None,
) -> StatisticsReport:
    """Count the files of depots, their bytes and the seconds that they last, by type and by column.

    The files are those in the listing; types and columns come from the rows. A size is taken from the listing if the
    storage lists sizes, else from the row, else the storage is asked for it file by file. Uploads in progress, or
    interrupted ones, are in the listing and count. Durations are those in the rows.

    Args:
        bind: the database; of a session, its engine is used.
        depot_name: a depot or an alias; by default all depots.
        largest: number of largest files to list for each depot.
        models: the declarative bases whose columns are read; by default all.
        progress: called with the `Progress` of each step.

    Raises:
        MaintenanceStopped: a table cannot be read.
        StorageFailed: a storage cannot be listed.
        ConfigurationError: an argument is invalid.
    """
    largest = integer("largest", largest, 0, sys.maxsize)
    return _Count(bind, depot_name, largest, models, progress).count()


class _Count:
    def __init__(
        self, bind: Any, depot_name: str | None, largest: int, models: Iterable[object] | None, progress: Watcher | None
    ) -> None:
        self.database = Database(bind)
        self.largest = largest
        self.places = places(models=models)
        self.progress = progress
        self.names = DepotNames()
        self.types: dict[str, int] = {}
        self.report = StatisticsReport(columns={str(place): ColumnStatistics() for place in self.places})
        self.depots: dict[str, _DepotCount] = {}
        #: The depots counted that may hold the files of a depot that rows name.
        self.shared: dict[str, list[_DepotCount]] = {"": []}
        known = Depots.depot_names() if depot_name is None else [depot_name]
        for name in dict.fromkeys(Depots.resolve_alias(each) for each in known):
            self.depots[name] = _DepotCount(Depots.get(name), largest)

    def count(self) -> StatisticsReport:
        with partial_report(self.report):
            for name, depot in self.depots.items():
                self._list(name, depot)
            self._read_rows()
            for name, depot in self.depots.items():
                self.report.depots[name] = self._joined(name, depot)
        return self.report

    def _list(self, name: str, depot: _DepotCount) -> None:
        entries = iter(depot.storage.list())
        found = self.report.depots[name] = DepotStatistics()  # until its files are counted with the rows
        with Step(self.progress, f"listing {name}") as step:
            while count := off_loop(partial(depot.listed.take, entries)):
                step.add(count)
                found.files += count

    # --- rows -----------------------------------------------------------------------------------------------------

    def _read_rows(self) -> None:
        for number, place in enumerate(self.places):
            self.database.read(place, partial(self._remember, number, place), self.progress)

    def _remember(self, number: int, place: Place, page: list[Row]) -> None:
        column = self.report.columns[str(place)]
        for row in page:
            try:
                files = named_files(place, row)
            except MaintenanceStopped:
                self.report.damaged_rows += 1
                continue
            ours = [(self._counted_with(self._real(each) or ""), each) for each in files]
            column.rows += any(depots for depots, _ in ours)
            for depots, each in ours:
                for depot, at in zip(depots, [number, *[_ELSEWHERE] * len(depots)], strict=False):
                    kind = self.types.setdefault(each.content_type or UNKNOWN, len(self.types))
                    depot.add_reference(each, kind, at, partial(where, place, row))

    def _counted_with(self, real: str) -> list[_DepotCount]:
        """Return the depots counted that may hold the files of a depot: first itself, or the first of the others."""
        if real not in self.shared:
            found = [name for name, depot in self.depots.items() if depot.storage.shares_files_with(Depots.get(real))]
            self.shared[real] = [self.depots[name] for name in sorted(found, key=lambda name: name != real)]
        return self.shared[real]

    def _real(self, file: NamedFile) -> str | None:
        real = self.names.real(file.depot_name)
        if real is None:
            self.report.unconfigured[file.depot_name] = self.report.unconfigured.get(file.depot_name, 0) + 1
        return real

    # --- the join ------------------------------------------------------------------------------------------------

    def _joined(self, name: str, depot: _DepotCount) -> DepotStatistics:
        found, types, columns = DepotStatistics(), list(self.types), [*self.report.columns.values()]
        with Step(self.progress, f"counting {name}", len(depot.listed)) as step:
            for number in range(256):
                off_loop(partial(self._join, depot, number, found, types, columns))
                step.add(found.files - step.done)
        found.largest = self._largest(name, depot)
        return found

    def _join(
        self, depot: _DepotCount, number: int, found: DepotStatistics, types: list[str], columns: list[ColumnStatistics]
    ) -> None:
        named = depot.named(number)
        for file_id, size in depot.sizes(number, named):
            found.files += 1
            found.bytes += size
            keep_largest(depot.heap, (size, file_id, file_id in named), self.largest)
            if file_id in named:
                first = named[file_id][0]
                found.by_type.setdefault(types[first.type], Amount()).add(size, first.seconds)
            else:
                (found.on_demand if is_derived(file_id) else found.unnamed).add(size)
            for each in named.get(file_id, ()):
                if each.place != _ELSEWHERE:
                    column = columns[each.place]
                    column.bytes += size
                    column.duration = _total(column.duration, each.seconds)
        for naming in named.values():
            for each in naming:
                if each.place != _ELSEWHERE:
                    columns[each.place].files += 1

    def _largest(self, name: str, depot: _DepotCount) -> list[LargeFile]:
        rows = {key: row for _, key, row in depot.largest_in_rows}
        # Rows of filedepot have no size. Only if such a row names a large file, all rows are read again.
        if without_row := {key for _, key, is_named in depot.heap if is_named and key not in rows}:
            ids = dict.fromkeys(depots_at(name), without_row)
            for place, row, file in rows_naming(self.database, self.places, ids, self.progress):
                rows.setdefault(packed(file.file_id), where(place, row))
        return [LargeFile(unpacked(key), size, rows.get(key)) for size, key, _ in sorted(depot.heap, reverse=True)]


class _CountedReference(NamedTuple):
    """A reference to a file: size and duration in the row (or -1), number of its type, number of its column."""

    size: int
    duration: float
    type: int
    place: int

    @property
    def seconds(self) -> float | None:
        """The duration, if the row knows it."""
        return None if self.duration < 0 else self.duration


class _DepotCount:
    """The files of a depot and the references to them while they are counted, in about 68 bytes per file."""

    def __init__(self, storage: FileStorage, largest: int) -> None:
        self.storage = storage
        self.listed = ListedFiles()
        #: The largest files: size, id, whether a row names the file.
        self.heap: list[tuple[int, bytes, bool]] = []
        #: The largest files according to the rows: size, id, row.
        self.largest_in_rows: list[tuple[int, bytes, str]] = []
        self._records = Records()
        self._largest = largest

    def add_reference(self, file: NamedFile, kind: int, place: int, row: Callable[[], str]) -> None:
        """Record a reference of a row."""
        key = packed(file.file_id)
        size, duration = (-1 if each is None else each for each in (file.size, file.duration))
        self._records.add(key[0], _RECORD.pack(key, size, duration, kind, place))
        full = len(self.largest_in_rows) >= self._largest
        if file.size is not None and self._largest and not (full and (file.size, key) <= self.largest_in_rows[0][:2]):
            keep_largest(self.largest_in_rows, (file.size, key, row()), self._largest)

    def named(self, number: int) -> dict[bytes, list[_CountedReference]]:
        """Return and clear the references to files whose ids begin with a byte."""
        found: dict[bytes, list[_CountedReference]] = {}
        for key, *fields in chain.from_iterable(map(_RECORD.iter_unpack, self._records.chunks(number))):
            found.setdefault(key, []).append(_CountedReference(*fields))
        self._records.clear(number)
        return found

    def sizes(self, number: int, named: dict[bytes, list[_CountedReference]]) -> Iterator[tuple[bytes, int]]:
        """Yield the listed files whose ids begin with a byte, with their sizes; deleted files are left out."""
        known, listed = self.listed.known(number), self.listed.part(number)
        for key in listed:
            size = max((each.size for each in named.get(key, ())), default=-1)
            if key in known:
                yield key, known[key][0]
            elif size >= 0:
                yield key, size
            else:
                try:
                    yield key, self.storage.entry(unpacked(key)).size
                except StoredFileNotFound:
                    continue


def keep_largest(heap: list[Any], item: tuple[Any, ...], count: int) -> None:
    """Add an item to a heap of at most ``count`` largest items."""
    if len(heap) < count:
        heapq.heappush(heap, item)
    elif heap and item > heap[0]:
        heapq.heapreplace(heap, item)


_RECORD: Final = struct.Struct("<16sqdIH")

#: The place of a reference that counts as one to another depot with the same files.
_ELSEWHERE: Final = 0xFFFF
