"""Statistics: how many files there are and how large, by depot, by type and by column.

First the storages are listed, then the rows are read, as for unused files: a file that is stored and named in between
is not counted as one that no row names.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, MaintenanceStopped, StoredFileNotFound
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance.ids import ListedFiles, packed, unpacked
from depot_lite.maintenance.rows.database import Database, Reader, Row
from depot_lite.maintenance.rows.named import DepotNames, NamedFile, named_files, rows_naming
from depot_lite.maintenance.rows.places import Place, places
from depot_lite.maintenance.rows.references import where
from depot_lite.maintenance.run.reports import Step, Watcher

#: What the type of a file is called of which the row tells none: a thumbnail, mostly.
UNKNOWN: Final = "unknown"


@dataclass(slots=True)
class Amount:
    """So many files of so many bytes."""

    files: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count a file."""
        self.files += 1
        self.bytes += size


@dataclass(frozen=True, slots=True)
class LargeFile:
    """One of the largest files of a depot."""

    file_id: str
    size: int
    #: A row that names it, ``movie.poster of the row 7``; None where none does.
    row: str | None


@dataclass(slots=True)
class DepotStatistics:
    """What is in a depot."""

    files: int = 0
    bytes: int = 0
    #: Files that no row names, also those of transactions that are under way.
    unnamed: Amount = field(default_factory=Amount)
    #: The files that rows name, by the content type that the row tells.
    by_type: dict[str, Amount] = field(default_factory=dict)
    #: The largest first.
    largest: list[LargeFile] = field(default_factory=list)


@dataclass(slots=True)
class ColumnStatistics:
    """What the rows of a column name, in the depots that were looked at."""

    #: Rows that name a file in one of them.
    rows: int = 0
    files: int = 0
    #: Together, those that are missing left out.
    bytes: int = 0


@dataclass(slots=True)
class StatisticsReport:
    """How many files there are, and how large."""

    depots: dict[str, DepotStatistics] = field(default_factory=dict)
    #: By ``movie.poster``.
    columns: dict[str, ColumnStatistics] = field(default_factory=dict)
    #: Rows that cannot be understood: their files count as files that no row names.
    damaged_rows: int = 0
    #: Files that rows name in depots that are not configured, by the names of these.
    unconfigured: dict[str, int] = field(default_factory=dict)


def statistics(
    bind: Session | Engine | Connection,
    depot_name: str | None = None,
    *,
    largest: int = 10,
    models: Iterable[object] | None = None,
    progress: Watcher | None = None,
) -> StatisticsReport:
    """Return how many files there are, how large, of which types, and which columns name them.

    Which files there are the listing says, and who names them and of which type they are the rows do. A size is the
    listing's where the storage tells sizes there, else the row's; where neither knows, the storage is asked file by
    file. Uploads that are under way, or were cut off, are in the listing and count.

    Args:
        bind: the database; a session lends its engine.
        depot_name: a depot or an alias; all depots where not given.
        largest: how many of the largest files of each depot are named.
        models: the declarative bases whose columns are read; all where not given.
        progress: told how far it is.

    Raises:
        MaintenanceStopped: a table cannot be read.
        StorageFailed: a storage cannot be listed.
        ConfigurationError: an argument cannot be.
    """
    if largest < 0:
        raise ConfigurationError(f"largest={largest!r}: 0 or more is wanted")
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
        self.depots: dict[str, _Depot] = {}
        known = Depots.depot_names() if depot_name is None else [depot_name]
        for name in dict.fromkeys(Depots.resolve_alias(each) for each in known):
            self.depots[name] = _Depot(Depots.get(name), largest)

    def count(self) -> StatisticsReport:
        for name, depot in self.depots.items():
            entries = iter(depot.storage.list())
            with Step(self.progress, f"listing {name}") as step:
                while count := off_loop(partial(depot.listed.take, entries)):
                    step.add(count)
        self._read_rows()
        for name, depot in self.depots.items():
            self.report.depots[name] = self._joined(name, depot)
        return self.report

    # --- rows -----------------------------------------------------------------------------------------------------

    def _read_rows(self) -> None:
        with Reader(self.database, snapshot=True) as reader:
            for number, place in enumerate(self.places):
                with Step(self.progress, f"reading {place}", unit="rows") as step:
                    for page in reader.pages(place):
                        off_loop(partial(self._remember, number, place, page))
                        step.add(len(page))

    def _remember(self, number: int, place: Place, page: list[Row]) -> None:
        column = self.report.columns[str(place)]
        for row in page:
            try:
                files = named_files(place, row)
            except MaintenanceStopped:
                self.report.damaged_rows += 1
                continue
            ours = [(self.depots.get(self._real(each) or ""), each) for each in files]
            column.rows += any(depot is not None for depot, _ in ours)
            for depot, each in ours:
                if depot is not None:
                    kind = self.types.setdefault(each.content_type or UNKNOWN, len(self.types))
                    depot.name(each, kind, number, partial(where, place, row))

    def _real(self, file: NamedFile) -> str | None:
        real = self.names.real(file.depot_name)
        if real is None:
            self.report.unconfigured[file.depot_name] = self.report.unconfigured.get(file.depot_name, 0) + 1
        return real

    # --- both together --------------------------------------------------------------------------------------------

    def _joined(self, name: str, depot: _Depot) -> DepotStatistics:
        found, types, columns = DepotStatistics(), list(self.types), [*self.report.columns.values()]
        with Step(self.progress, f"counting {name}", len(depot.listed)) as step:
            for number in range(256):
                off_loop(partial(self._join, depot, number, found, types, columns))
                step.add(found.files - step.done)
        found.largest = self._largest(name, depot)
        return found

    def _join(
        self, depot: _Depot, number: int, found: DepotStatistics, types: list[str], columns: list[ColumnStatistics]
    ) -> None:
        named = depot.named(number)
        for file_id, size in depot.sizes(number, named):
            found.files += 1
            found.bytes += size
            keep_largest(depot.heap, (size, file_id, file_id in named), self.largest)
            if file_id in named:
                found.by_type.setdefault(types[named[file_id][0].type], Amount()).add(size)
            else:
                found.unnamed.add(size)
            for each in named.get(file_id, ()):
                columns[each.place].bytes += size
        for naming in named.values():
            for each in naming:
                columns[each.place].files += 1

    def _largest(self, name: str, depot: _Depot) -> list[LargeFile]:
        rows = {key: row for _, key, row in depot.said}
        # Rows of filedepot tell no size. Only where one of them names a large file, the rows are read once more.
        if unknown := {key for _, key, is_named in depot.heap if is_named and key not in rows}:
            for place, row, file in rows_naming(self.database, self.places, {name: unknown}, self.progress):
                rows.setdefault(packed(file.file_id), where(place, row))
        return [LargeFile(unpacked(key), size, rows.get(key)) for size, key, _ in sorted(depot.heap, reverse=True)]


class _Named(NamedTuple):
    """What a row says of a file."""

    size: int
    type: int
    place: int


class _Depot:
    """What is known of a depot while it is counted: about 60 bytes for each file."""

    def __init__(self, storage: FileStorage, largest: int) -> None:
        self.storage = storage
        self.listed = ListedFiles()
        #: The largest files: size, id, whether a row names it.
        self.heap: list[tuple[int, bytes, bool]] = []
        #: The same by what the rows say: size, id, row.
        self.said: list[tuple[int, bytes, str]] = []
        self._parts = [bytearray() for _ in range(256)]
        self._largest = largest

    def name(self, file: NamedFile, kind: int, place: int, row: Callable[[], str]) -> None:
        """Enter that a row names a file."""
        key = packed(file.file_id)
        self._parts[key[0]] += _RECORD.pack(key, -1 if file.size is None else file.size, kind, place)
        full = len(self.said) >= self._largest
        if file.size is not None and self._largest and not (full and (file.size, key) <= self.said[0][:2]):
            keep_largest(self.said, (file.size, key, row()), self._largest)

    def named(self, number: int) -> dict[bytes, list[_Named]]:
        """Return what rows say of the files whose ids begin with a byte, and forget it."""
        found: dict[bytes, list[_Named]] = {}
        for key, *said in _RECORD.iter_unpack(self._parts[number]):
            found.setdefault(key, []).append(_Named(*said))
        self._parts[number] = bytearray()
        return found

    def sizes(self, number: int, named: dict[bytes, list[_Named]]) -> Iterator[tuple[bytes, int]]:
        """Yield the listed files whose ids begin with a byte, and their sizes; those that have gone are left out."""
        known, listed = self.listed.known(number), self.listed.part(number)
        for key in listed:
            said = max((each.size for each in named.get(key, ())), default=-1)
            if key in known:
                yield key, known[key][0]
            elif said >= 0:
                yield key, said
            else:
                try:
                    yield key, self.storage.entry(unpacked(key)).size
                except StoredFileNotFound:
                    continue


def keep_largest(heap: list[Any], item: tuple[Any, ...], count: int) -> None:
    """Put an item into a heap of the largest ones, so many at most."""
    if len(heap) < count:
        heapq.heappush(heap, item)
    elif heap and item > heap[0]:
        heapq.heapreplace(heap, item)


_RECORD: Final = struct.Struct("<16sqIH")
