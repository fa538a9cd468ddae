"""The copier of a backup: compares the listings of two depots, and copies the files that one of them lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, Literal

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped, StoredFileNotFound, UnknownDepot
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance.copying import FailureCounter, algorithm_of, both_depots, copy_file, without_frames
from depot_lite.maintenance.ids import FoundFiles, Part, Prefix, packed, prefixes, unpacked
from depot_lite.maintenance.owners import owners_of
from depot_lite.maintenance.presence import list_files
from depot_lite.maintenance.readings import Readings
from depot_lite.maintenance.rows.database import Database
from depot_lite.maintenance.rows.places import columns_of_models, places
from depot_lite.maintenance.rows.references import References
from depot_lite.maintenance.run.pace import BEAT, Pace, Window
from depot_lite.maintenance.run.reports import CopyReport, Step, Watcher

#: Files deleted per call of the storage.
_AT_ONCE: Final = 1000

#: The number of bytes of a packed id that the digits of a unit are in.
_BYTES_OF_DIGITS: Final = 2

#: File id, outcome or error, and number of bytes copied.
_CopyOutcome = tuple[str, Literal["copied", "unchanged", "gone"] | Exception, int]
#: Size, and time in seconds since 1970, of a file.
_Known = tuple[int, float]


class Copier:
    """The copier of the files of a depot to another one.

    Raises:
        ConfigurationError: a depot is not configured, or both are the same.
        MaintenanceStopped: the source cannot list all of its files.
    """

    def __init__(
        self, source: str, target: str, pace: Pace, progress: Watcher | None, *, dry_run: bool = False
    ) -> None:
        self.report = CopyReport(*both_depots(source, target), dry_run=dry_run)
        self.source, self.target = Depots.get(self.report.source), Depots.get(self.report.target)
        if not self.source.list_is_complete:
            raise MaintenanceStopped(
                f"a backup would be incomplete: {self.source!r} may leave files out of its listing"
            )
        self.pace = pace
        self.progress = progress
        self.failures = FailureCounter()
        #: By how many seconds the target's clock is ahead of the source's.
        self.ahead = 0.0
        self.part: Part | None = None
        self.surplus = FoundFiles()
        #: The number of files that all parts together may delete: each could be within the limit by itself.
        self.surplus_of_all = 0

    def list_files(self, *, allow_empty: bool = False) -> None:
        """List both depots.

        Raises:
            MaintenanceStopped: the source has no files.
            StorageFailed: a storage cannot be listed.
        """
        # The target first: files stored meanwhile are then in the source's listing only, and are copied.
        self.held = list_files(f"listing {self.report.target}", self.target, self.progress)
        self.listed = list_files(f"listing {self.report.source}", self.source, self.progress)
        self.report.listed, self.of_target = len(self.listed), len(self.held)
        # The source is asked first: if the answers take long, more is copied than necessary, and not less.
        ahead = off_loop(lambda: -(self.source.now() - self.target.now()).total_seconds())
        self.ahead = ahead if ahead > _CLOSE else 0.0
        if not self.listed and not allow_empty:
            raise MaintenanceStopped(
                f"depot {self.report.source!r} has no files: the folder may not be mounted, or the bucket or "
                "prefix may be another one; to copy a depot that is empty, allow it"
            )

    def copy(self, workers: int, *, part: Part | None = None) -> None:
        """Copy the files that the target lacks, forgetting the listings meanwhile."""
        self.part = part
        with Step(self.progress, "copying", len(self.listed)) as step, self._copying(workers, step) as window:
            for prefix in prefixes(self.listed, self.held):
                self._copy_part(prefix, window, step)
                self.listed.clear(prefix)
                self.held.clear(prefix)

    def copy_unit(self, workers: int, digits: str, step: Step, *, was_begun: bool) -> None:
        """Copy those files whose ids begin with these digits.

        Args:
            step: the step of all units, in which the files are counted.
            was_begun: whether another process may have copied some since the target was listed.
        """
        with self._copying(workers, step) as window:
            for prefix in prefixes(self.listed, self.held, digits=digits):
                self._copy_part(prefix, window, step, digits, was_begun=was_begun)

    @contextmanager
    def _copying(self, workers: int, step: Step) -> Iterator[Window[_CopyOutcome]]:
        with Window[_CopyOutcome](workers) as window:
            try:
                yield window
                while window.is_busy:
                    self._note(window.results(timeout=BEAT), step)
            except BaseException:
                self.pace.stop()
                raise
        self.report.surplus = len(self.surplus)

    def refuse_stranger(self) -> None:
        """Raise an error for a target without any file of the source, before it gets one."""
        listed, held = self.listed, self.held
        if (
            len(listed)
            and len(held)
            and not any(listed.part(each) & held.part(each) for each in prefixes(listed, held))
        ):
            raise MaintenanceStopped(
                f"depot {self.report.target!r} has {len(held)} files and none of {self.report.source!r}, so it is no "
                "backup of it: nothing was copied or deleted"
            )

    def _copy_part(
        self, prefix: Prefix, window: Window[_CopyOutcome], step: Step, digits: str = "", *, was_begun: bool = False
    ) -> None:
        known, there, known_there = self.listed.known(prefix), self.held.part(prefix), self.held.known(prefix)
        ours = self.listed.part(prefix)
        self.surplus_of_all += len(there - ours)
        for key in self._wanted(sorted(there - ours), digits):
            self.surplus.append(key, *known_there.get(key, (0, 0.0)))
        for key in self._wanted(ours, digits):
            while not window.has_room:
                self._note(window.results(timeout=BEAT), step)
            window.submit(
                partial(self._copy, unpacked(key), was_begun or key in there, known.get(key), known_there.get(key)),
            )

    def _wanted(self, keys: Iterable[bytes], digits: str) -> Iterator[bytes]:
        for key in keys:
            if (self.part is None or unpacked(key) in self.part) and key[:_BYTES_OF_DIGITS].hex().startswith(digits):
                yield key

    def prune(self, most: int | None, bind: Any, models: Iterable[object] | None) -> None:
        """Delete the files of the target that the source does not have, and that no row names."""
        allowed = max(10, min(self.of_target // 10, 1000)) if most is None else most
        if self.surplus_of_all > allowed:
            raise MaintenanceStopped(
                f"{self.surplus_of_all} of {self.of_target} files in {self.report.target!r} are not in "
                f"{self.report.source!r}, and at most {allowed} may be deleted; all others were copied"
            )
        if bind is not None and self.surplus and any(columns_of_models()):
            self._refuse_named(bind, models)
        self.report.pruned = 0
        if self.report.dry_run:
            return
        with Step(self.progress, "deleting", len(self.surplus)) as step:
            for start in range(0, len(self.surplus), _AT_ONCE):
                off_loop(partial(self._prune, [each.file_id for each in self.surplus[start : start + _AT_ONCE]]))
                step.add(min(_AT_ONCE, len(self.surplus) - start))

    def _refuse_named(self, bind: Any, models: Iterable[object] | None) -> None:
        """Raise an error if a row names a file that would be deleted, by any name of a depot: no id is used twice."""
        doomed = {packed(each.file_id) for each in self.surplus}
        readings = Readings(Database(bind), places(models=models), References(self.report.target), self.progress)
        found = {packed(each) for each in readings.read(doomed)}
        for ids in readings.references.elsewhere.values():
            for prefix in prefixes(ids):
                found |= ids.part(prefix) & doomed
        if found:
            raise MaintenanceStopped(
                f"rows name {len(found)} of the {len(doomed)} files in {self.report.target!r} that are not in "
                f"{self.report.source!r}, such as {unpacked(min(found))}: {self.report.target!r} is no backup, or "
                f"{self.report.source!r} has lost them. None was deleted; all others were copied"
            )

    def _prune(self, file_ids: list[str]) -> None:
        doomed = [each for each in file_ids if not self.source.exists(each)]  # stored since the source was listed
        failed = self.target.delete_many(doomed)
        self.report.failed |= failed
        self.report.pruned = (self.report.pruned or 0) + len(doomed) - len(failed)

    def _copy(self, file_id: str, is_there: bool, known: _Known | None, known_there: _Known | None) -> _CopyOutcome:
        try:
            if is_there and not self._has_changed(file_id, known, known_there):
                return file_id, "unchanged", 0
            if self.report.dry_run:
                return file_id, "copied", (known or _size_and_time(self.source, file_id))[0]
            info = copy_file(self.source, self.target, file_id, self.pace, file_id=file_id)
            return file_id, "copied", info.content_length
        except StoredFileNotFound:
            return file_id, "gone", 0
        except Exception as error:  # a third-party backend may raise anything
            return file_id, error, 0

    def _has_changed(self, file_id: str, known: _Known | None, known_there: _Known | None) -> bool:
        size, when = known or _size_and_time(self.source, file_id)
        try:
            size_there, when_there = known_there or _size_and_time(self.target, file_id)
        except StoredFileNotFound:  # listed but not complete: an interrupted copy
            return True
        if size != size_there:
            return True
        when_there -= self.ahead
        if when_there > when + _CLOSE:
            return False
        # Two clocks, one of which may have a resolution of seconds: checksums are more reliable, if both have one.
        sums = self.source._info(file_id).checksum, self.target._info(file_id).checksum
        if None not in sums and algorithm_of(sums[0]) == algorithm_of(sums[1]):
            return sums[0] != sums[1]
        return int(when_there) < int(when)

    def _note(self, outcomes: list[_CopyOutcome], step: Step) -> None:
        step.add(0)
        for file_id, outcome, size in outcomes:
            step.add(1, size)
            if isinstance(outcome, Exception):
                self.failures.failed(outcome)
                self.report.failed[file_id] = without_frames(outcome)
            elif outcome == "copied":
                self.failures.worked()
                self.report.files += 1
                self.report.bytes += size
            elif outcome == "gone":
                self.report.gone += 1
            else:
                self.report.unchanged += 1


#: Seconds by which two clocks may differ, so that the order of their times is uncertain.
_CLOSE: Final = 2


def _size_and_time(storage: FileStorage, file_id: str) -> _Known:
    """Return size and time of a complete file."""
    info = storage._info(file_id)
    return info.content_length, info.last_modified.timestamp()


def refuse_live(source: str, depot_name: str, *, has_database: bool) -> None:
    """Raise an error for a target whose files rows name, as if backup and depot were swapped on the command line.

    Args:
        has_database: whether the rows themselves are read before a file is deleted.
    """
    storage = Depots.get(depot_name)
    reason = next((f"it belongs to {' and '.join(found)}" for each in storage.parts if (found := owners_of(each))), "")
    uploading = {str(each): each.type.upload_storage for each in columns_of_models() if each.type is not None}
    for place, name in uploading.items():
        with suppress(UnknownDepot):  # of a part of the application that is not configured here
            if not reason and Depots.get(name).shares_files_with(storage):
                reason = f"{place} uploads to it"
    if reason:
        raise MaintenanceStopped(
            f"depot {depot_name!r} is no backup, {reason}: none of its files is deleted for not being in another depot"
        )
    if uploading and not has_database:
        raise MaintenanceStopped(
            f"rows may name files of depot {depot_name!r}, and there is no database to look: give it (bind, --url, "
            "--engine, DATABASE_URL)"
        )
    if not uploading and not any(owners_of(each) for each in Depots.get(source).parts):
        raise MaintenanceStopped(
            f"nothing tells which of {source!r} and {depot_name!r} is the backup: import the models, or claim the "
            f"other one (depot-lite claim {source})"
        )


def refuse_incomplete(source: str, *, allow_empty: bool) -> None:
    """Raise an error for a part of a composite depot, or for one with an empty part."""
    storage = Depots.get(source)
    for part in storage.parts if len(storage.parts) > 1 and not allow_empty else ():
        if next(iter(part.list()), None) is None:
            raise MaintenanceStopped(
                f"{part!r}, a part of depot {source!r}, has no files: the folder may not be mounted. None is deleted "
                "from the backup for that, unless it is allowed to be empty (allow_empty)"
            )
    for name in Depots.depot_names():
        parts = Depots.get(name).parts
        ours = [each for each in parts if each.shares_files_with(storage)]
        if ours and len(ours) < len(parts):
            raise MaintenanceStopped(
                f"depot {source!r} is a part of {name!r}, and may lack files that another part has: none is deleted "
                f"from the backup for that. Give {name!r} as the source"
            )
