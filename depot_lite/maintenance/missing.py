"""Missing files: rows whose file does not exist.

References are read first, then storages are asked, then the rows are read again: a file is reported only if a row still
names it after it was found to be gone. Ids are never used twice, so such a file cannot come back, and files that a
running application replaces meanwhile are not reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped
from depot_lite.maintenance.ids import FileIds
from depot_lite.maintenance.presence import absent_files
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.named import DepotNames, NamedFile, named_files, named_paths, rows_naming
from depot_lite.maintenance.rows.places import Place, chosen, places
from depot_lite.maintenance.rows.references import depots_at
from depot_lite.maintenance.run.reports import Watcher, partial_report


@dataclass(frozen=True, slots=True)
class MissingFile:
    """A file that a row names and that does not exist."""

    #: The table and the column: ``movie.poster``.
    place: str
    #: The primary key of the row; empty if the table has none.
    key: tuple[Any, ...]
    #: The path as stored in the row: ``depot_name/file_id``.
    path: str
    #: Position in the value: ``path`` for the file itself, ``variants.small.path``, ``[2].path`` in a list.
    part: str


@dataclass(frozen=True, slots=True)
class DamagedRow:
    """A row whose column cannot be parsed."""

    place: str
    key: tuple[Any, ...]
    error: str


@dataclass(slots=True)
class MissingReport:
    """The rows that name missing files."""

    #: Rows read, in all columns.
    rows: int = 0
    #: Files that these rows name in the depots searched.
    named: int = 0
    files: list[MissingFile] = field(default_factory=list)
    #: Files in depots that are not configured and therefore cannot be checked.
    unconfigured: list[MissingFile] = field(default_factory=list)
    damaged: list[DamagedRow] = field(default_factory=list)

    @property
    def doubt(self) -> str | None:
        """The usual reason if more than half of the named files are missing; None otherwise."""
        if 2 * len(self.files) <= self.named:
            return None
        share = "All" if len(self.files) >= self.named else "More than half"
        return (
            f"{share} of the named files are missing. That usually means that the storage is not mounted, that this is "
            "another folder, bucket or prefix, or that the database was restored from another time than the storage. "
            "Change no row before you know which."
        )


def find_missing(
    bind: Session | Engine | Connection,
    depot_name: str | None = None,
    *,
    models: Iterable[object] | None = None,
    columns: Iterable[str] | None = None,
    where: str | None = None,
    progress: Watcher | None = None,
) -> MissingReport:
    """Return the rows whose file is missing. This is a diagnosis: damaged rows are reported and stop nothing.

    A file whose storing was interrupted counts as missing. Whether the bytes are right is the question of
    `depot_lite.maintenance.verify`, which reads them.

    Args:
        bind: the database; of a session, its engine is used. A connection inside a transaction with one snapshot
            sees rows as they were, so that files replaced since then seem missing.
        depot_name: a depot or an alias, with the depots that may hold the same files, such as a composite of it; by
            default all depots that rows name.
        models: the declarative bases whose columns are read; by default all.
        columns: the columns that are read, such as ``"movie.poster"``; by default all.
        where: SQL for the rows that are read, as it stands behind WHERE; the columns have to be of one table.
        progress: called with the `Progress` of each step.

    Raises:
        MaintenanceStopped: a table cannot be read.
        StorageFailed: a storage cannot be asked.
        ConfigurationError: an argument is invalid.
    """
    return _Search(bind, depot_name, chosen(places(models=models), columns, where), progress).find()


class _Search:
    def __init__(self, bind: Any, depot_name: str | None, among: list[Place], progress: Watcher | None) -> None:
        self.database = Database(bind)
        self.only = None if depot_name is None else depots_at(Depots.resolve_alias(depot_name))
        self.places = among
        self.progress = progress
        self.names = DepotNames()
        self.report = MissingReport()
        self.named: dict[str, FileIds] = {}

    def find(self) -> MissingReport:
        with partial_report(self.report):
            for place in self.places:
                self.database.read(place, partial(self._remember, place), self.progress)
            gone = {each: absent_files(each, self.named.pop(each), self.progress) for each in list(self.named)}
            wanted = {depot_name: keys for depot_name, keys in gone.items() if keys}
            for place, row, file in rows_naming(self.database, self.places, wanted, self.progress):
                self.report.files.append(_missing(place, row, file))
        return self.report

    def _remember(self, place: Place, page: list[Row]) -> None:
        self.report.rows += len(page)
        found: dict[str, list[str]] = {}
        for row in page:
            try:
                paths = named_paths(place, row)
            except MaintenanceStopped as error:
                self.report.damaged.append(DamagedRow(str(place), row.key, str(error)))
                continue
            for name, file_id in paths:
                real = self.names.real(name)
                if real is None:
                    self._unconfigured(place, row, f"{name}/{file_id}")
                elif self.only is None or real in self.only:
                    found.setdefault(real, []).append(file_id)
        for real, file_ids in found.items():
            self.named.setdefault(real, FileIds()).add(file_ids)
            self.report.named += len(file_ids)

    def _unconfigured(self, place: Place, row: Row, path: str) -> None:
        self.report.unconfigured += [
            _missing(place, row, each) for each in named_files(place, row) if each.path == path
        ]


def _missing(place: Place, row: Row, file: NamedFile) -> MissingFile:
    return MissingFile(str(place), row.key, file.path, file.part)
