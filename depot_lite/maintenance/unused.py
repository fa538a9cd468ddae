"""Files that no row names: found, and deleted.

First the storage is listed, then every reference is read. The other order would call a file unused that was stored and
named in between. Between a file's storing and its row's COMMIT nobody sees the reference, so what is younger than a
limit is spared: the limit has to exceed the longest transaction.

An old file may come to be named again, too: a transaction read a row, another one replaced or moved the row's file, and
the first one writes what it had read. So before anything is deleted, all references are read a second time, and not
before every transaction has ended that may have read a reference which the first reading did not find any more.
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
from depot_lite.maintenance.ids import FileIds, FoundFile, FoundFiles, ListedFiles, packed, unpacked
from depot_lite.maintenance.rows.database import Database, Reader, Row
from depot_lite.maintenance.rows.places import Place, places
from depot_lite.maintenance.rows.references import References
from depot_lite.maintenance.run.reports import Step, UnusedReport, Watcher

#: What is younger is spared where nothing else is said.
DAY: Final = timedelta(hours=24)

#: Unused files that are checked again together, and deleted then.
BATCH: Final = 50_000

#: How many of them one call deletes.
_AT_ONCE: Final = 1000


def find_unused(
    bind: Session | Engine | Connection,
    depot_name: str | None = None,
    *,
    older_than: timedelta = DAY,
    protect: Iterable[object] = (),
    keep_if: Callable[[FoundFile], bool] | None = None,
    models: Iterable[object] | None = None,
    progress: Watcher | None = None,
) -> UnusedReport:
    """Return the files of a depot that no row names. Nothing is deleted.

    Args:
        bind: the database; a session lends its engine.
        depot_name: a depot or an alias; the default depot where not given. Depots may be shared by columns.
        older_than: what is younger is spared. It has to exceed the longest transaction, the time for which a direct
            upload may wait for its row, and what the clocks of the storage and of this machine differ by.
        protect: columns that no model knows, ``"table.column"``: whatever id stands in them is no unused file's.
        keep_if: asked for each file that would be unused; what it says True to is kept.
        models: the declarative bases whose columns are read; all where not given. Files that other models name would
            seem unused.
        progress: told how far it is.

    Raises:
        MaintenanceStopped: a row cannot be read, or the storage cannot tell all of its files.
        StorageFailed: the storage cannot be listed.
        ConfigurationError: an argument cannot be.
    """
    return _Sweep(bind, depot_name, older_than, protect, keep_if, models, progress).find()


def delete_unused_files(
    bind: Session | Engine | Connection,
    depot_name: str | None = None,
    *,
    older_than: timedelta = DAY,
    protect: Iterable[object] = (),
    keep_if: Callable[[FoundFile], bool] | None = None,
    models: Iterable[object] | None = None,
    settle: timedelta = timedelta(minutes=1),
    progress: Watcher | None = None,
) -> UnusedReport:
    """Delete the files of a depot that no row names, and return which those were.

    All references are read a second time before a batch of files is deleted; a session that is bound to a connection in
    one long snapshot would see what it saw the first time, so lend an engine. What could not be deleted is in the
    report's ``failed``. The other arguments, and the errors, are those of `find_unused`.

    Args:
        settle: how long the longest transaction takes. The second reading begins no earlier than that after the first
            one, or than ``older_than`` after it where that is shorter.
    """
    sweep = _Sweep(bind, depot_name, older_than, protect, keep_if, models, progress)
    report = sweep.find()
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
        progress: Watcher | None,
    ) -> None:
        if older_than < timedelta(0):
            raise ConfigurationError(f"older_than={older_than}: a time that has passed is wanted")
        self.database = Database(bind)
        self.depot_name = Depots.resolve_alias(depot_name or Depots.get_default())
        self.storage = Depots.get(self.depot_name)
        if not self.storage.list_is_complete:
            raise MaintenanceStopped(
                f"depot {self.depot_name!r} is never swept: {self.storage!r} may leave files out of its listing"
            )
        self.references = References(self.depot_name)
        self.places = places(protect, models)
        self.older_than = older_than
        self.keep_if = keep_if
        self.progress = progress
        self._read_at = 0.0

    # --- finding --------------------------------------------------------------------------------------------------

    def find(self) -> UnusedReport:
        # By our clock, before anything is looked at: what comes later is younger.
        report = UnusedReport(self.depot_name, _limit(self.older_than))
        listed = self._listed()
        report.listed = len(listed)
        named = self._named()
        self._read_at = monotonic()
        self._subtract(listed, named, report)
        return report

    def _listed(self) -> ListedFiles:
        listed, entries = ListedFiles(), iter(self.storage.list())
        with Step(self.progress, "listing") as step:
            while count := off_loop(partial(listed.take, entries)):
                step.add(count)
        return listed

    def _named(self, only: set[bytes] | None = None) -> FileIds:
        """Return what rows name; with ``only``, nothing else is remembered."""
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
        """Enter what is listed and not named into the report, part by part, forgetting each."""
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
        for key, size, when in self._looked_at(sorted(unnamed), known, report):
            step.add()
            if when >= limit:
                report.young += 1
            elif self.keep_if is not None and self.keep_if(_found(key, size, when)):
                report.kept += 1
            else:
                report.files.append(key, size, when)

    def _looked_at(
        self, keys: list[bytes], known: dict[bytes, tuple[int, float]], report: UnusedReport
    ) -> Iterator[tuple[bytes, int, float]]:
        """Yield size and time of files, from the listing where it told them."""
        for key in keys:
            if key in known:
                yield key, *known[key]
                continue
            try:
                entry = self.storage.entry(unpacked(key))
                yield key, entry.size, entry.last_modified.timestamp()
            except StoredFileNotFound:
                report.gone += 1

    # --- deleting -------------------------------------------------------------------------------------------------

    def settle(self, time: timedelta, report: UnusedReport) -> None:
        """Wait until so much time has passed since the references were read, if there is anything to delete."""
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
        """Delete the files of a report of `find`, each batch after all references were read once more."""
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


def _limit(older_than: timedelta) -> datetime:
    return datetime.now(UTC) - older_than


def _found(key: bytes, size: int, when: float) -> FoundFile:
    return FoundFile(unpacked(key), size, datetime.fromtimestamp(when, UTC))
