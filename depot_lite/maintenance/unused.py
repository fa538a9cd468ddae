"""Unused files: finds and deletes the files that no row names.

The storage is listed first, then all references are read. In the other order, a file stored and named in between would
seem unused. From the storing of a file to the COMMIT of its row, the reference is invisible to others, so files younger
than a limit are spared: the limit has to exceed the longest transaction.

An old file can be named again: a transaction reads a row, another one replaces or moves the row's file, and the first
one writes the old value back. So all references are read a second time before anything is deleted, and not before the
transactions have ended that may have read a reference which was gone at the first reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic, sleep
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, MaintenanceStopped, StoredFileNotFound
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.maintenance.catalogue import Catalogue
from depot_lite.maintenance.ids import FileIds, FoundFile, FoundFiles, ListedFiles, packed, unpacked
from depot_lite.maintenance.limits import DeletionLimit, EmptyTables
from depot_lite.maintenance.owners import identities, owner_objections
from depot_lite.maintenance.presence import absent_files, list_files
from depot_lite.maintenance.rows.database import Database, Reader, Row
from depot_lite.maintenance.rows.places import Place, places
from depot_lite.maintenance.rows.references import References
from depot_lite.maintenance.run.reports import Step, UnusedReport, Watcher

#: The default age below which files are spared.
DAY: Final = timedelta(hours=24)

#: Unused files that are checked again and deleted together.
BATCH: Final = 50_000

#: The number of files up to which another depot is asked for each of them, and not listed.
_FEW: Final = 1000

#: Files deleted per call of the storage.
_AT_ONCE: Final = 1000


def find_unused(
    bind: Session | Engine | Connection,
    depot_name: str | None = None,
    *,
    older_than: timedelta = DAY,
    protect: Iterable[object] = (),
    keep_if: Callable[[FoundFile], bool] | None = None,
    models: Iterable[object] | None = None,
    max_delete: int | str | None = None,
    allow_empty: Iterable[str] = (),
    ignore_columns: Iterable[str] = (),
    progress: Watcher | None = None,
) -> UnusedReport:
    """Find the files of a depot that no row names. Nothing is deleted.

    The report's ``objections`` are the reasons for which `delete_unused_files` would stop.

    Args:
        bind: the database; of a session, its engine is used.
        depot_name: a depot or an alias; by default the default depot. Columns may share a depot.
        older_than: younger files are spared. It has to exceed the longest transaction, the time for which a direct
            upload may wait for its row, and the difference between the clocks of the storage and of this machine.
        protect: columns outside all models, ``"table.column"``: files whose ids appear in them are kept.
        keep_if: called with each file that would count as unused; files for which it returns True are kept.
        models: the declarative bases whose columns are read; by default all. Files that only other models name seem
            unused.
        max_delete: the number of files that one run may delete, or their share such as ``"10%"``. By default a tenth
            of the depot or 1,000 files, whichever is less, but at least 10.
        allow_empty: tables that may be empty, ``"table"`` or ``"schema.table"``, and depots of which rows may name no
            file.
        ignore_columns: columns outside all models that may contain ids of unused files, ``"table.column"`` or
            ``"schema.table.column"``; ``*`` stands for anything.
        progress: called with the `Progress` of each step.

    Raises:
        MaintenanceStopped: a row cannot be read, or the storage cannot list all of its files.
        StorageFailed: the storage cannot be listed.
        ConfigurationError: an argument is invalid.
    """
    limits = DeletionLimit(max_delete), EmptyTables(allow_empty)
    return _Sweep(bind, depot_name, older_than, protect, keep_if, models, limits, ignore_columns, progress).find()


def delete_unused_files(
    bind: Session | Engine | Connection,
    depot_name: str | None = None,
    *,
    older_than: timedelta = DAY,
    protect: Iterable[object] = (),
    keep_if: Callable[[FoundFile], bool] | None = None,
    models: Iterable[object] | None = None,
    max_delete: int | str | None = None,
    allow_empty: Iterable[str] = (),
    ignore_columns: Iterable[str] = (),
    settle: timedelta = timedelta(minutes=1),
    progress: Watcher | None = None,
) -> UnusedReport:
    """Delete the files of a depot that no row names.

    All references are read a second time before each batch of files is deleted. Give an engine: a session bound to a
    connection with one long snapshot would see the same rows twice. Files that could not be deleted are in the report's
    ``failed``. The other arguments and the errors are those of `find_unused`.

    Args:
        settle: the duration of the longest transaction. The second reading begins no earlier than this after the first
            one, or ``older_than`` after it if that is shorter.

    Raises:
        MaintenanceStopped: as `find_unused`, and for each of the report's ``objections``. Nothing was deleted.
    """
    limits = DeletionLimit(max_delete), EmptyTables(allow_empty)
    sweep = _Sweep(bind, depot_name, older_than, protect, keep_if, models, limits, ignore_columns, progress)
    report = sweep.find()
    if report.objections:
        raise MaintenanceStopped(f"depot {report.depot!r} was not swept: {'; '.join(report.objections)}")
    sweep.settle(min(settle, older_than), report)
    return sweep.delete(report)


class _Sweep:
    def __init__(
        self,
        bind: Any,
        depot_name: str | None,
        older_than: timedelta,
        protect: Iterable[object],
        keep_if: Callable[[FoundFile], bool] | None,
        models: Iterable[object] | None,
        limits: tuple[DeletionLimit, EmptyTables],
        ignore_columns: Iterable[str],
        progress: Watcher | None,
    ) -> None:
        if older_than < timedelta(0):
            raise ConfigurationError(f"older_than: expected 0 or more, got {older_than}")
        self.database = Database(bind)
        self.depot_name = Depots.resolve_alias(depot_name or Depots.get_default())
        self.storage = Depots.get(self.depot_name)
        if not self.storage.list_is_complete:
            raise MaintenanceStopped(
                f"depot {self.depot_name!r} is never swept: {self.storage!r} may leave files out of its listing"
            )
        self.references = References(self.depot_name)
        self.places = places(protect, models)
        self.limit, self.empty = limits
        self.catalogue = Catalogue(self.database, self.places, ignore_columns, progress)
        self.older_than = older_than
        self.keep_if = keep_if
        self.progress = progress
        #: Files that rows name as files of another depot, which lacks them.
        self.misplaced: set[bytes] = set()
        self._read_at = 0.0

    # --- search ---------------------------------------------------------------------------------------------------

    def find(self) -> UnusedReport:
        # The limit is computed before anything is listed: files stored later are younger.
        report = UnusedReport(self.depot_name, _limit(self.older_than))
        listed = list_files("listing", self.storage, self.progress)
        report.listed = len(listed)
        named = self._named()
        self._read_at = monotonic()
        report.objections += self._misplaced(listed, named)
        self._subtract(listed, named, report)
        if report.files:
            report.objections += self._objections(report)
        return report

    def _objections(self, report: UnusedReport) -> Iterator[str]:
        """Yield the reasons for which these files should not be deleted."""
        yield from owner_objections(self.depot_name, identities(self.database, self.places))
        yield from self.empty.depot_objections(self.depot_name, report.listed, report.named)
        yield from self.empty.objections(self.database, self.places)
        yield from self.limit.objections(len(report.files), report.listed, "deleted")
        yield from self.catalogue.objections({packed(each.file_id) for each in report.files})

    def _misplaced(self, listed: FileIds, named: FileIds) -> Iterator[str]:
        """Find the files that rows name in another depot, which lacks them, and yield the reasons to stop.

        An id is never used twice, so such a row means the file of this depot: a depot has got another name, or its
        name leads elsewhere.
        """
        for name, ids in sorted(self.references.elsewhere.items()):
            suspects = FileIds()
            for number in range(256):
                keys = ids.part(number) & (listed.part(number) - named.part(number))
                suspects.add(map(unpacked, keys))
                ids.clear(number)
            if found := absent_files(name, suspects, self.progress, few=_FEW):
                self.misplaced |= found
                yield _objection_to_names(name, self.depot_name, found)

    def _named(self, only: set[bytes] | None = None) -> FileIds:
        """Return the ids that rows name; with ``only``, those among the given packed ids."""
        named = FileIds()
        with Reader(self.database, snapshot=True) as reader:
            for place in self.places:
                with Step(self.progress, f"reading {place}", unit="rows") as step:
                    for page in reader.pages(place):
                        off_loop(partial(self._remember, place, page, named, only))
                        step.add(len(page))
        return named

    def _remember(self, place: Place, page: list[Row], named: FileIds, only: set[bytes] | None) -> None:
        found = self.references.in_rows(place, page)
        named.add(found if only is None else [each for each in found if packed(each) in only])

    def _subtract(self, listed: ListedFiles, named: FileIds, report: UnusedReport) -> None:
        """Add the files that are listed but not named to the report, clearing part by part."""
        with Step(self.progress, "looking at files that no row names") as step:
            for number in range(256):
                off_loop(partial(self._subtract_part, number, listed, named, report, step))

    def _subtract_part(
        self, number: int, listed: ListedFiles, named: FileIds, report: UnusedReport, step: Step
    ) -> None:
        known, ids, limit = listed.known(number), listed.part(number), report.before.timestamp()
        unnamed = ids - named.part(number)
        report.named += len(ids) - len(unnamed)
        listed.clear(number)
        named.clear(number)
        for key, size, when in self._with_times(sorted(unnamed), known, report):
            step.add()
            if key in self.misplaced:
                report.misplaced += 1
            elif when >= limit:
                report.young += 1
            elif self.keep_if is not None and self.keep_if(_found(key, size, when)):
                report.kept += 1
            else:
                report.files.append(key, size, when)

    def _with_times(
        self, keys: list[bytes], known: dict[bytes, tuple[int, float]], report: UnusedReport
    ) -> Iterator[tuple[bytes, int, float]]:
        """Yield files with size and time, from the listing if it contains them."""
        for key in keys:
            if key in known:
                yield key, *known[key]
                continue
            try:
                entry = self.storage.entry(unpacked(key))
                yield key, entry.size, entry.last_modified.timestamp()
            except StoredFileNotFound:
                report.gone += 1

    # --- deletion -------------------------------------------------------------------------------------------------

    def settle(self, time: timedelta, report: UnusedReport) -> None:
        """Wait until this time has passed since the references were read, if there are files to delete."""
        until = self._read_at + time.total_seconds()
        if not report.files or monotonic() >= until:
            return
        whole = round(time.total_seconds())
        with Step(self.progress, "waiting for transactions to end", whole, unit="seconds") as step:
            while (left := until - monotonic()) > 0:
                off_loop(partial(sleep, min(left, 0.5)))
                step.done = round(time.total_seconds() - left)
                step.add(0)

    def delete(self, report: UnusedReport) -> UnusedReport:
        """Delete the files of a report of `find`; all references are read again before each batch."""
        found, report.files, report.deleted = report.files, FoundFiles(), 0
        with Step(self.progress, "deleting", len(found)) as step:
            for start in range(0, len(found), BATCH):
                batch = {packed(each.file_id): each for each in found[start : start + BATCH]}
                for file_id in self._named(set(batch)):
                    del batch[packed(file_id)]
                    report.named += 1
                    step.add()
                self._delete_batch(list(batch.values()), report, step)
        return report

    def _delete_batch(self, files: list[FoundFile], report: UnusedReport, step: Step) -> None:
        for start in range(0, len(files), _AT_ONCE):
            doomed = files[start : start + _AT_ONCE]
            failed = off_loop(partial(self.storage.delete_many, [each.file_id for each in doomed]))
            report.failed |= failed
            report.deleted = (report.deleted or 0) + len(doomed) - len(failed)
            for each in doomed:
                report.files.append(packed(each.file_id), each.size, each.last_modified.timestamp())
            step.add(len(doomed), sum(each.size for each in doomed if each.file_id not in failed))


def _objection_to_names(name: str, depot_name: str, found: set[bytes]) -> str:
    real = Depots.resolve_alias(name)
    known_as = f"{name!r}" if real == name else f"{name!r}, an alias of {real!r}"
    return (
        f"rows name {len(found)} files as files of {known_as}, which lacks them, and {depot_name!r} has them, such as "
        f"{unpacked(min(found))}: these files are in use. Has the name of a depot become an alias, or been given "
        f"another storage? The name {name!r} has to lead to them"
    )


def _limit(older_than: timedelta) -> datetime:
    return datetime.now(UTC) - older_than


def _found(key: bytes, size: int, when: float) -> FoundFile:
    return FoundFile(unpacked(key), size, datetime.fromtimestamp(when, UTC))
