"""Verification: reads the files of a depot whole and compares them with the records of the storage and the rows.

Files are read in the order of their ids. So an interrupted run can resume from a state file that contains the last id
and the findings.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.fileid import check_file_id
from depot_lite.io.interfaces import FileEntry
from depot_lite.maintenance.ids import FileIds, packed
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.named import DepotNames, named_files, rows_naming
from depot_lite.maintenance.rows.places import Place, places
from depot_lite.maintenance.rows.references import where
from depot_lite.maintenance.run.checkpoint import Checkpoint
from depot_lite.maintenance.run.pace import Pace, Window, iterate_off_loop
from depot_lite.maintenance.run.reports import Step, Watcher, partial_report
from depot_lite.maintenance.verdicts import Expected, FileReader, Finding, Verdict, is_there

#: Seconds between two writes of a state file.
_INTERVAL: Final = 2.0

#: Ids per call of a thread.
_AT_ONCE: Final = 1000

#: Files that may be finished while an earlier one is still being read.
_AHEAD: Final = 10_000


@dataclass(slots=True)
class VerifyReport:
    """The damaged files of a depot."""

    depot: str
    #: Files in the listing of the last run.
    listed: int = 0
    #: Files read. This and all counts below include the runs that were resumed.
    read: int = 0
    #: Bytes read.
    bytes: int = 0
    #: Files without a known checksum, of which only the length was checked.
    unchecked: int = 0
    #: Files that were deleted meanwhile.
    gone: int = 0
    #: Partial files that no row names: uploads in progress, or interrupted ones.
    unfinished: int = 0
    #: Rows that cannot be parsed, so that their files were compared with the records of the storage only.
    damaged_rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    #: Whether an interrupted run was resumed.
    resumed: bool = False


def verify(
    bind: Session | Engine | Connection | None,
    depot_name: str | None = None,
    *,
    sample: float = 1.0,
    state: str | Path | None = None,
    workers: int = 4,
    rate: int | None = None,
    progress: Watcher | None = None,
    models: Iterable[object] | None = None,
) -> VerifyReport:
    """Find the files of a depot that are damaged, too short, too long, or unreadable.

    A file is reported only after a second reading, since an application may replace it during the first one.

    Args:
        bind: the database, whose rows contain lengths and checksums, too; None to rely on the storage only.
        depot_name: a depot or an alias; by default the default depot.
        sample: the share of files to read, chosen at random: 0.01 for one in a hundred; at least one file is read.
        state: a file in which progress is recorded, so that the next run resumes if this one is interrupted. A run that
            completes deletes it.
        workers: number of files read at a time.
        rate: maximum bytes per second, for all files together.
        progress: called with the `Progress` of each step.
        models: the declarative bases whose columns are read; by default all.

    Raises:
        ConfigurationError: an argument is invalid, or the state belongs to another depot, sample or kind of run.
        MaintenanceStopped: a table cannot be read, or the state cannot be written.
        StorageFailed: the storage cannot be listed.
    """
    share: object = sample
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise ConfigurationError(f"sample={sample!r}: expected a number above 0 and up to 1")
    return _Verification(bind, depot_name, sample, state, workers, Pace(rate), progress, models).run()


class _Verification:
    def __init__(
        self,
        bind: Any,
        depot_name: str | None,
        sample: float,
        state: str | Path | None,
        workers: int,
        pace: Pace,
        progress: Watcher | None,
        models: Iterable[object] | None,
    ) -> None:
        self.database = None if bind is None else Database(bind)
        self.depot_name = Depots.resolve_alias(depot_name or Depots.get_default())
        self.storage = Depots.get(self.depot_name)
        self.places = [] if bind is None else places(models=models)
        self.workers = workers
        self.progress = progress
        self.report = VerifyReport(self.depot_name)
        job = {"command": "verify", "depot": self.depot_name, "sample": sample, "rows": bind is not None}
        self.journal = off_loop(lambda: _SavedProgress(None if state is None else Checkpoint(state, job), self.report))
        self.sample = _Sample(sample, self.journal.seed)
        self.reader = FileReader(self.storage, Expected(), pace)

    def run(self) -> VerifyReport:
        # Rows first: a file whose row was read cannot be an upload in progress afterwards.
        with partial_report(self.report):
            self._read_rows()
            self._read_all(self._chosen())
            self._settle()
        self.journal.forget()
        return self.report

    def _is_due(self, file_id: str) -> bool:
        return file_id > self.journal.position and file_id in self.sample

    # --- rows -----------------------------------------------------------------------------------------------------

    def _read_rows(self) -> None:
        if self.database is None:
            return
        names = DepotNames()
        self.report.damaged_rows = 0
        for place in self.places:
            self.database.read(place, partial(self._remember, place, names), self.progress)

    def _remember(self, place: Place, names: DepotNames, page: list[Row]) -> None:
        for row in page:
            try:
                files = named_files(place, row)
            except MaintenanceStopped:
                self.report.damaged_rows += 1
                continue
            for each in files:
                if names.real(each.depot_name) == self.depot_name and self._is_due(each.file_id):
                    self.reader.expected.add(each.file_id, each.size, each.checksum)

    # --- reading --------------------------------------------------------------------------------------------------

    def _chosen(self) -> FileIds:
        """Return the ids of the files to be read."""
        chosen, least, entries = FileIds(), _Least(self.sample), iter(self.storage.list())
        self.report.listed = 0
        with Step(self.progress, "listing") as step:
            while count := off_loop(partial(self._take, entries, chosen, least)):
                step.add(count)
        if not len(chosen) and least.file_id is not None and not self.journal.position:
            chosen.add([least.file_id])
        return chosen

    def _take(self, entries: Iterator[FileEntry], chosen: FileIds, least: _Least) -> int:
        some = list(islice(entries, 10_000))
        self.report.listed += len(some)
        chosen.add(each for each in some if self._is_due(each))
        if not len(chosen):
            least.see(some)
        return len(some)

    def _read_all(self, chosen: FileIds) -> None:
        order = _VerdictQueue()
        with Step(self.progress, "reading files", len(chosen)) as step:
            try:
                # In this order: after an exception, threads stop waiting for the pace before they are joined.
                with Window[tuple[int, Verdict]](self.workers) as window, self.reader.pace_until_the_end():
                    for number, file_id in enumerate(iterate_off_loop(chosen, _AT_ONCE)):
                        order.hand_out(number, file_id)
                        window.submit(partial(self.reader.numbered, number, file_id))
                        while not window.has_room or len(order) > _AHEAD:
                            self._record(window.results(), order, step)
                    while len(order):
                        self._record(window.results(), order, step)
            finally:
                off_loop(self.journal.save)

    def _record(self, results: Iterable[tuple[int, Verdict]], order: _VerdictQueue, step: Step) -> None:
        for number, verdict in results:
            step.add(1, verdict.size)
            for file_id, each in order.add(number, verdict):
                self.journal.record(file_id, each)
        if self.journal.is_due:
            off_loop(self.journal.save)

    def _settle(self) -> None:
        """Drop the findings on files deleted meanwhile, and add the rows to the others."""
        named: dict[str, list[str]] = {each.file_id: [] for each in self.report.findings}
        if self.database is not None and named:
            ids = {self.depot_name: {packed(file_id) for file_id in named}}
            for place, row, file in rows_naming(self.database, self.places, ids, self.progress):
                named[check_file_id(file.file_id)].append(where(place, row))
        found, self.report.findings = self.report.findings, []
        for each in found:
            if off_loop(partial(is_there, self.storage, each.file_id)):
                self.report.findings.append(replace(each, rows=tuple(named[each.file_id])))
            else:
                self.report.gone += 1


# --- the sample ---------------------------------------------------------------------------------------------------


class _Sample:
    """A random sample of ids, always the same for the same seed."""

    def __init__(self, part: float, seed: str) -> None:
        self._limit = None if part == 1 else int(part * 2**64)
        self._seed = seed.encode()

    def __contains__(self, file_id: str) -> bool:
        return self._limit is None or self.rank(file_id) < self._limit

    def rank(self, file_id: str) -> int:
        return int.from_bytes(blake2b(file_id.encode(), digest_size=8, key=self._seed).digest())


class _Least:
    """The single file of a sample that would otherwise be empty."""

    def __init__(self, sample: _Sample) -> None:
        self._sample = sample
        self.file_id: str | None = None

    def see(self, file_ids: Iterable[str]) -> None:
        known = () if self.file_id is None else (self.file_id,)
        self.file_id = min((*known, *file_ids), key=self._sample.rank, default=None)


# --- progress -----------------------------------------------------------------------------------------------------


class _SavedProgress:
    """The position and the results of a run, saved from time to time."""

    def __init__(self, checkpoint: Checkpoint | None, report: VerifyReport) -> None:
        self._checkpoint = checkpoint
        self._report = report
        self.position, self.seed = "", secrets.token_hex(16)
        saved = None if checkpoint is None else checkpoint.load()
        if saved is not None:
            self._resume(saved)
        self.save()  # at once, so that an unwritable state is noticed before any file is read

    def _resume(self, saved: Mapping[str, Any]) -> None:
        try:
            position, seed = saved["position"], saved["seed"]
            counts = {name: saved[name] for name in _COUNTS}
            findings = [Finding(**{**each, "rows": tuple(each["rows"])}) for each in saved["findings"]]
            if (
                not isinstance(position, str)
                or not isinstance(seed, str)
                or {type(n) for n in counts.values()} != {int}
            ):
                raise TypeError("a value is of the wrong type")
        except (KeyError, TypeError) as error:
            raise ConfigurationError(f"the state is damaged: {error!r}; delete it to start over") from error
        self.position, self.seed = position, seed
        self._report.findings, self._report.resumed = findings, True
        for name, count in counts.items():
            setattr(self._report, name, count)

    def record(self, file_id: str, verdict: Verdict) -> None:
        """Record the next file in the order of ids."""
        report = self._report
        report.read += verdict.read
        report.bytes += verdict.size
        report.unchecked += verdict.unchecked
        report.gone += verdict.gone
        report.unfinished += verdict.unfinished
        if verdict.finding is not None:
            report.findings.append(verdict.finding)
        self.position = file_id

    @property
    def is_due(self) -> bool:
        """Whether it is time to save."""
        return self._checkpoint is not None and time.monotonic() >= self._next

    def save(self) -> None:
        if self._checkpoint is not None:
            counts = {name: getattr(self._report, name) for name in _COUNTS}
            findings = [asdict(each) for each in self._report.findings]
            self._checkpoint.save({"position": self.position, "seed": self.seed, **counts, "findings": findings})
        self._next = time.monotonic() + _INTERVAL

    def forget(self) -> None:
        if self._checkpoint is not None:
            off_loop(self._checkpoint.remove)


_COUNTS: Final = ("read", "bytes", "unchecked", "gone", "unfinished")


class _VerdictQueue:
    """A queue that returns verdicts in the order of ids, whatever the order of completion."""

    def __init__(self) -> None:
        self._file_ids: dict[int, str] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._next = 0

    def __len__(self) -> int:
        """Return the number of files handed out but not returned."""
        return len(self._file_ids)

    def hand_out(self, number: int, file_id: str) -> None:
        self._file_ids[number] = file_id

    def add(self, number: int, verdict: Verdict) -> Iterator[tuple[str, Verdict]]:
        """Add a verdict, and yield all verdicts whose turn has come."""
        self._verdicts[number] = verdict
        while self._next in self._verdicts:
            yield self._file_ids.pop(self._next), self._verdicts.pop(self._next)
            self._next += 1
