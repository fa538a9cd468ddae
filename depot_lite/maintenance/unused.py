"""Unused files: finds and deletes the files that no row names.

The storage is listed first, then all references are read. In the other order, a file stored and named in between would
seem unused. From the storing of a file to the COMMIT of its row, the reference is invisible to others, so files younger
than a limit are spared: the limit has to exceed the longest transaction.

An old file can be named again: a transaction reads a row, another one replaces or moves the row's file, and the first
one writes the old value back. So all references are read a second time before anything is deleted, and not before the
transactions have ended that may have read a reference which was gone at the first reading.

Most live files that sweeps have deleted were named by rows that nobody read. So a sweep collects objections
(`depot_lite.maintenance.owners`, `limits`, `catalogue`) and stops if there are any. The files that it finds are only
marked, and deleted by a sweep some days later (`depot_lite.maintenance.trash`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import heappush, heapreplace, nlargest
from itertools import chain
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped, StoredFileNotFound
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance.catalogue import Catalogue
from depot_lite.maintenance.deletion import Deletion, DeletionLog
from depot_lite.maintenance.ids import (
    FileIds,
    FoundFile,
    KeysInOrder,
    ListedFiles,
    Prefix,
    is_derived,
    packed,
    prefixes,
    unpacked,
)
from depot_lite.maintenance.limits import DeletionLimit, EmptyTables, check_times
from depot_lite.maintenance.owners import identities, is_same_place, owner_objections
from depot_lite.maintenance.presence import absent_files, list_files
from depot_lite.maintenance.readings import Readings, variants_of
from depot_lite.maintenance.rows.database import Database
from depot_lite.maintenance.rows.places import places
from depot_lite.maintenance.rows.references import References
from depot_lite.maintenance.run.reports import Step, UnusedReport, Watcher, partial_report
from depot_lite.maintenance.trash import WEEK, Trash, current_time
from depot_lite.maintenance.unseen import unseen_objections

#: The default age below which files are spared.
DAY: Final = timedelta(hours=24)

#: The number of unused files that are no accident if all of them are newer than every file that a row names.
_MANY_NEWER: Final = 10

#: The number of files up to which another depot is asked for each of them, and not listed.
_FEW: Final = 1000


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
    allow_newer: bool = False,
    trash: timedelta = WEEK,
    progress: Watcher | None = None,
) -> UnusedReport:
    """Find the files of a depot that no row names. Nothing is deleted or marked.

    The report's ``objections`` are the reasons for which `delete_unused_files` would stop.

    Args:
        bind: the database; of a session, its engine is used.
        depot_name: a depot or an alias; by default the default depot. Columns may share a depot.
        older_than: younger files are spared, by the clock of the storage. It has to exceed the longest transaction, and
            the time for which a direct upload may wait for its row.
        protect: columns outside all models, ``"[schema.]table.column"``: files whose ids appear in them are kept.
        keep_if: called with each file that would count as unused; files for which it returns True are kept.
        models: the declarative bases whose columns are read; by default all. Files that only others name seem unused.
        max_delete: the number of files that one run may mark, and that it may delete, or their share such as ``"10%"``.
            By default a tenth of the depot or 1,000 files, whichever is less, but at least 10.
        allow_empty: tables that may be empty, ``"[schema.]table"``, and depots of which rows may name no file.
        ignore_columns: columns, given likewise, that may contain ids of unused files; ``*`` stands for anything.
        allow_newer: whether ten files or more may go that are newer than every file that a row names: a sign that the
            database was restored from a backup, or lags behind.
        trash: for how long a file is marked before it is deleted; 0 deletes at once, except files that are newer than
            every file that a row names, which are marked for a week unless ``allow_newer`` is given.
        progress: called with the `Progress` of each step.

    Raises:
        MaintenanceStopped: a row cannot be read, a protected column protects nothing, or the storage cannot list all of
            its files.
        StorageFailed: the storage cannot be listed.
        ConfigurationError: an argument is invalid.
    """
    options = _Criteria(older_than, keep_if, DeletionLimit(max_delete), EmptyTables(allow_empty), allow_newer, trash)
    return _Sweep(bind, depot_name, options, protect, models, ignore_columns, progress).find()


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
    allow_newer: bool = False,
    trash: timedelta = WEEK,
    settle: timedelta = timedelta(minutes=1),
    log: str | Path | None = None,
    progress: Watcher | None = None,
) -> UnusedReport:
    """Mark the files of a depot that no row names, and delete files that were marked longer than ``trash`` ago.

    A marked file can still be read; `undelete` takes the mark off, and so does a run that finds it named. All
    references are read a second time directly before files are deleted. Give an engine: a session bound to a connection
    with one long snapshot would see the same rows twice. Files that could not be deleted are in the report's
    ``failed``. The other arguments and the errors are those of `find_unused`.

    Args:
        settle: the duration of the longest transaction. The second reading begins no earlier than this after the first
            one, or ``older_than`` after it if that is shorter.
        log: a file to which a line is appended for each file before it is marked or deleted.

    Raises:
        MaintenanceStopped: as `find_unused`, and for each of the report's ``objections``. No file was deleted, unless
            the error's ``report`` has ``deleted_files``.
    """
    options = _Criteria(older_than, keep_if, DeletionLimit(max_delete), EmptyTables(allow_empty), allow_newer, trash)
    check_times(settle=settle)
    sweep = _Sweep(bind, depot_name, options, protect, models, ignore_columns, progress)
    with DeletionLog(log, sweep.depot_name) as opened:
        report = sweep.find(dry_run=False)
        _refuse_objections(report)
        deletion = Deletion(sweep.storage, sweep.readings, sweep.trash, older_than, opened, progress)
        try:
            return deletion.run(report, settle)
        except MaintenanceStopped as error:
            raise MaintenanceStopped(f"{error}; {report.deleted} files were deleted before", report) from error


def _refuse_objections(report: UnusedReport) -> None:
    if report.objections:
        reasons = "; ".join(report.objections)
        raise MaintenanceStopped(f"depot {report.depot!r} was not swept: {reasons}", report)


@dataclass(frozen=True, slots=True)
class _Criteria:
    """The arguments that decide about files."""

    older_than: timedelta
    keep_if: Callable[[FoundFile], bool] | None
    limit: DeletionLimit
    empty: EmptyTables
    allow_newer: bool
    trash: timedelta

    def __post_init__(self) -> None:
        check_times(older_than=self.older_than, trash=self.trash)


class _Sweep:
    def __init__(
        self,
        bind: Any,
        depot_name: str | None,
        options: _Criteria,
        protect: Iterable[object],
        models: Iterable[object] | None,
        ignore_columns: Iterable[str],
        progress: Watcher | None,
    ) -> None:
        self.options = options
        self.database = Database(bind)
        self.depot_name = Depots.resolve_alias(depot_name or Depots.get_default())
        self.storage = Depots.get(self.depot_name)
        if not self.storage.list_is_complete:
            raise MaintenanceStopped(
                f"depot {self.depot_name!r} is never swept: {self.storage!r} may leave files out of its listing"
            )
        self.places = places(protect, models)
        self.readings = Readings(self.database, self.places, References(self.depot_name), progress)
        self.catalogue = Catalogue(self.database, self.places, ignore_columns, progress)
        self.progress = progress
        #: Files that rows name as files of another depot, which lacks them.
        self.misplaced: set[bytes] = set()
        #: Variants on demand of files that rows name.
        self.derived = FileIds()
        #: The times of the newest unused files, as a heap, without variants on demand.
        self.newest: list[float] = []
        #: Unused files that are newer than every file that a row names, if they are few.
        self.newer = frozenset[bytes]()

    def find(self, *, dry_run: bool = True) -> UnusedReport:
        # The limit is computed before anything is listed: files stored later are younger.
        before = off_loop(partial(_limit, self.options.older_than, self.storage))
        report = UnusedReport(self.depot_name, before, dry_run=dry_run)
        with partial_report(report):
            self._search(report)
        return report

    def _search(self, report: UnusedReport) -> None:
        listed = list_files("listing", self.storage, self.progress)
        report.listed = len(listed)
        named = self.readings.read()
        report.objections += self._misplaced(listed, named)
        self.derived = self._variants_of(listed, named)
        self._subtract(listed, named, report)
        report.objections += self._newer(listed, named, report)
        del listed, named
        self.derived = FileIds()
        now = report.before + self.options.older_than
        self.trash = off_loop(partial(Trash.of, self.storage, self.options.trash, now, self.newer))
        for each in report.files:
            key = packed(each.file_id)
            report.due += self.trash.is_due(key)
            report.waiting += key in self.trash.marks and not self.trash.is_due(key)
        if report.files:
            report.objections += self._objections(report)

    def _objections(self, report: UnusedReport) -> Iterator[str]:
        """Yield the reasons for which these files should not be deleted."""
        limit, empty = self.options.limit, self.options.empty
        ours = identities(self.database, self.places)
        yield from off_loop(lambda: list(owner_objections(self.depot_name, ours)))
        yield from empty.depot_objections(self.depot_name, report.listed, report.named)
        yield from empty.objections(self.database, self.places)
        yield from limit.objections(len(report.files) - report.due - report.waiting, report.listed, "marked")
        yield from limit.objections(report.due, report.listed, "deleted")
        yield from unseen_objections(self.database, self.places, self.options.older_than)
        yield from self.catalogue.objections(KeysInOrder(report.files))

    def _misplaced(self, listed: FileIds, named: FileIds) -> Iterator[str]:
        """Find files that rows name in another depot, which lacks them or shares their place; yield reasons to stop.

        An id is never used twice, so such a row means the file of this depot: a depot has got another name, or its
        name leads elsewhere.
        """
        for name, ids in sorted(self.readings.references.elsewhere.items()):
            suspects = FileIds()
            for prefix in prefixes(ids, listed, named):
                keys = ids.part(prefix) & (listed.part(prefix) - named.part(prefix))
                suspects.add(map(unpacked, keys))
            if not len(suspects):
                continue
            if off_loop(partial(is_same_place, Depots.get(name), self.storage)):
                found = {packed(each) for each in suspects}
                yield _objection_to_place(name, self.depot_name, found)
            elif found := absent_files(name, suspects, self.progress, few=_FEW):
                yield _objection_to_names(name, self.depot_name, found)
            self.misplaced |= found

    def _variants_of(self, listed: FileIds, named: FileIds) -> FileIds:
        """Return the ids of the variants on demand of files that rows name, if such variants are listed.

        They are not among the named files, since they may be newer than all of them (`_newer`).
        """
        derived = FileIds()
        if off_loop(lambda: any(is_derived(key) for prefix in prefixes(listed) for key in listed.keys(prefix))):
            with Step(self.progress, "looking at variants on demand"):
                off_loop(lambda: derived.add(chain(variants_of(named), self.readings.focused)))
        return derived

    def _subtract(self, listed: ListedFiles, named: FileIds, report: UnusedReport) -> None:
        """Add the files that are listed but not named to the report."""
        with Step(self.progress, "looking at files that no row names") as step:
            for prefix in prefixes(listed, named, self.derived):
                off_loop(partial(self._subtract_part, prefix, listed, named, report, step))

    def _subtract_part(
        self, prefix: Prefix, listed: ListedFiles, named: FileIds, report: UnusedReport, step: Step
    ) -> None:
        known, ids, limit = listed.known(prefix), listed.part(prefix), report.before.timestamp()
        unnamed = ids - named.part(prefix) - self.derived.part(prefix)
        report.named += len(ids) - len(unnamed)
        report.gone += len(unnamed)
        for key, size, when in self._with_times(sorted(unnamed), known):
            report.gone -= 1
            step.add()
            if key in self.misplaced:
                report.misplaced += 1
            elif when >= limit:
                report.young += 1
            elif self.options.keep_if is not None and self.options.keep_if(_found(key, size, when)):
                report.kept += 1
            else:
                report.files.append(key, size, when)
                if is_derived(key):  # it can be made again, whatever has become of its original
                    continue
                if len(self.newest) < _MANY_NEWER:
                    heappush(self.newest, when)
                elif when > self.newest[0]:
                    heapreplace(self.newest, when)

    def _newer(self, listed: ListedFiles, named: FileIds, report: UnusedReport) -> Iterator[str]:
        """Yield a reason to stop if many files are newer than every file that a row names.

        Few of them may well be unused, and nobody should have to look at them. If files are deleted at once, these few
        are marked nevertheless, since nobody could bring them back.
        """
        few = 1 if not self.options.trash else _MANY_NEWER
        if self.options.allow_newer or not report.named or len(self.newest) < few:
            return
        newest, enough = 0.0, nlargest(few, self.newest)[-1]
        with Step(self.progress, "looking at the times of files that rows name") as step:
            for prefix in prefixes(listed, named):
                newest = off_loop(partial(self._newest, prefix, listed, named, newest, enough, step))
                if newest >= enough:  # which a random file of a current database soon is
                    return
        count = off_loop(lambda: sum(1 for _ in _newer_than(newest, report)))
        if count >= _MANY_NEWER:
            yield _objection_to_newer(count, len(report.files), newest)
        else:
            self.newer, report.newer = off_loop(lambda: frozenset(_newer_than(newest, report))), count

    def _newest(
        self, prefix: Prefix, listed: ListedFiles, named: FileIds, newest: float, enough: float, step: Step
    ) -> float:
        """Return the time of the newest file so far that a row names, or of the first that is new enough."""
        for _, _, when in self._with_times(listed.part(prefix) & named.part(prefix), listed.known(prefix)):
            newest = max(newest, when)
            step.add()
            if newest >= enough:
                break
        return newest

    def _with_times(
        self, keys: Iterable[bytes], known: dict[bytes, tuple[int, float]]
    ) -> Iterator[tuple[bytes, int, float]]:
        """Yield the files that are still there with size and time, from the listing if it contains them."""
        for key in keys:
            if key in known:
                yield key, *known[key]
                continue
            with suppress(StoredFileNotFound):
                entry = self.storage.entry(unpacked(key))
                yield key, entry.size, entry.last_modified.timestamp()


def _newer_than(when: float, report: UnusedReport) -> Iterator[bytes]:
    """Yield the unused files that are newer, without variants on demand, by their packed ids."""
    for each in report.files:
        key = packed(each.file_id)
        if each.last_modified.timestamp() > when and not is_derived(key):
            yield key


def _objection_to_names(name: str, depot_name: str, found: set[bytes]) -> str:
    real = Depots.resolve_alias(name)
    known_as = f"{name!r}" if real == name else f"{name!r}, an alias of {real!r}"
    return (
        f"rows name {len(found)} files as files of {known_as}, which lacks them, and {depot_name!r} has them, such as "
        f"{unpacked(min(found))}: these files are in use. Has the name of a depot become an alias, or been given "
        f"another storage? The name {name!r} has to lead to them"
    )


def _objection_to_place(name: str, depot_name: str, found: set[bytes]) -> str:
    return (
        f"rows name {len(found)} files as files of {name!r}, which has the same owner mark as {depot_name!r}, such as "
        f"{unpacked(min(found))}: both have their files in one place, perhaps mounted twice. If {depot_name!r} is a "
        f"copy of the folder, give it a mark of its own (depot-lite claim --replace {depot_name})"
    )


def _objection_to_newer(count: int, unused: int, newest: float) -> str:
    when = datetime.fromtimestamp(newest, UTC).isoformat(" ", "seconds")
    return (
        f"{count} of {unused} unused files are newer than every file that a row names, the newest of which is of {when}"
        ": the database may have been restored from a backup, or lag behind. If that is right, allow it (allow_newer, "
        "--allow-newer)"
    )


def _limit(older_than: timedelta, storage: FileStorage) -> datetime:
    return current_time(storage) - older_than


def _found(key: bytes, size: int, when: float) -> FoundFile:
    return FoundFile(unpacked(key), size, datetime.fromtimestamp(when, UTC))
