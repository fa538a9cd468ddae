"""Retirement of a depot: the proof that another one has every file that rows name, whole.

After a migration, or a change of configuration, the old folder or bucket is to be deleted. It may go if each file that
rows name in one of the two depots, or in a composite of them, can be read whole in the other one, and if no row names
files that cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.fileid import check_file_id
from depot_lite.maintenance.copying import both_depots
from depot_lite.maintenance.ids import FileIds, packed
from depot_lite.maintenance.owners import is_same_place
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.named import DepotNames, named_files, rows_naming
from depot_lite.maintenance.rows.places import Place, places
from depot_lite.maintenance.rows.references import depots_at, where
from depot_lite.maintenance.run.pace import WORKERS, Pace, Window, iterate_off_loop
from depot_lite.maintenance.run.reports import Step, Watcher, partial_report
from depot_lite.maintenance.verdicts import Expected, FileReader, Finding, Verdict

#: Ids that are sorted at a time.
_AT_ONCE: Final = 10_000


@dataclass(slots=True)
class RetirementReport:
    """The result of looking for the files of a depot in another one."""

    depot: str
    replacement: str
    #: Files that rows name in one of them; each was looked for in the replacement.
    named: int = 0
    #: References by the name of the old depot: this name has to lead to the replacement when the old depot goes.
    by_old_name: int = 0
    #: Files that were read whole.
    whole: int = 0
    #: The size of these.
    bytes: int = 0
    #: Of these, files without a checksum in row and storage: only their length was compared.
    unchecked: int = 0
    #: Files that are missing (kind ``missing``) or damaged in the replacement, with the rows that name them.
    findings: list[Finding] = field(default_factory=list)
    #: Rows that cannot be parsed: they may name any file.
    damaged_rows: int = 0
    #: Names of depots in rows that are not configured: each may be another name of the old one.
    unconfigured: set[str] = field(default_factory=set)
    #: Whether all rows and files were read; not in the report of a search that was stopped.
    is_complete: bool = False

    @property
    def may_go(self) -> bool:
        """Whether the old depot can be deleted without the loss of a file that rows name."""
        return self.is_complete and not (self.findings or self.damaged_rows or self.unconfigured)


def prove_replaced(
    bind: Session | Engine | Connection,
    depot_name: str,
    replacement: str,
    *,
    workers: int = WORKERS,
    rate: int | None = None,
    models: Iterable[object] | None = None,
    progress: Watcher | None = None,
) -> RetirementReport:
    """Read every file that rows name whole in another depot, and return whether the old depot may go.

    It only reads. New files have to go to the replacement before it begins: files that are named later are not looked
    for. Columns outside the models are not read.

    Args:
        bind: the database; of a session, its engine is used.
        depot_name: the depot, or an alias, that is to be deleted.
        replacement: another depot or alias.
        workers: number of files read at a time.
        rate: maximum bytes per second.
        models: the declarative bases whose columns are read; by default all.
        progress: called with the `Progress` of each step.

    Raises:
        ConfigurationError: a depot is not configured, both are the same, or an argument is invalid.
        MaintenanceStopped: a table cannot be read, or both depots have their files in one place.
    """
    return _Proof(bind, depot_name, replacement, Pace(rate), models, progress).run(workers)


class _Proof:
    def __init__(
        self,
        bind: Any,
        depot_name: str,
        replacement: str,
        pace: Pace,
        models: Iterable[object] | None,
        progress: Watcher | None,
    ) -> None:
        self.report = RetirementReport(*both_depots(depot_name, replacement))
        self.database = Database(bind)
        self.places = places(models=models)
        self.progress = progress
        self.names = DepotNames()
        self.concerned = depots_at(self.report.depot) | depots_at(self.report.replacement)
        self.ids = FileIds()
        self.reader = FileReader(Depots.get(self.report.replacement), Expected(), pace)

    def run(self, workers: int) -> RetirementReport:
        off_loop(self._refuse_same_place)
        with partial_report(self.report):
            for place in self.places:
                self.database.read(place, partial(self._remember, place), self.progress)
            self._read_all(workers)
            self._settle()
        self.report.is_complete = True
        return self.report

    def _refuse_same_place(self) -> None:
        """Raise an error if the replacement reads the files of the old depot, and would go with it."""
        old, new = self.report.depot, self.report.replacement
        if is_same_place(Depots.get(old), Depots.get(new)):
            raise MaintenanceStopped(
                f"depots {old!r} and {new!r} have their files in one place, so that one does not replace the other: "
                f"{Depots.get(old)!r} and {Depots.get(new)!r}. If one is a copy of the other's folder with its owner "
                f"mark, give it a mark of its own (depot-lite claim --replace {new})"
            )

    def _remember(self, place: Place, page: list[Row]) -> None:
        for row in page:
            try:
                files = named_files(place, row)
            except MaintenanceStopped:
                self.report.damaged_rows += 1
                continue
            for each in files:
                real = self.names.real(each.depot_name)
                if real is None:
                    self.report.unconfigured.add(each.depot_name)
                elif real in self.concerned:
                    self.report.by_old_name += real == self.report.depot
                    self.ids.add([each.file_id])
                    self.reader.expected.add(each.file_id, each.size, each.checksum)

    def _read_all(self, workers: int) -> None:
        with (
            Step(self.progress, "reading files", len(self.ids)) as step,
            Window[Verdict](workers) as window,
            self.reader.pace_until_the_end(),
        ):
            for file_id in iterate_off_loop(self.ids, _AT_ONCE):
                while not window.has_room:
                    self._note(window.results(), step)
                window.submit(partial(self._verdict, file_id))
                self.report.named += 1
            while window.is_busy:
                self._note(window.results(), step)

    def _verdict(self, file_id: str) -> Verdict:
        found = self.reader.verdict(file_id)
        return found._replace(finding=Finding(file_id, "missing", "it does not exist")) if found.gone else found

    def _note(self, verdicts: Iterable[Verdict], step: Step) -> None:
        for each in verdicts:
            step.add(1, each.size)
            if each.finding is not None:
                self.report.findings.append(each.finding)
            else:
                self.report.whole += 1
                self.report.bytes += each.size
                self.report.unchecked += each.unchecked

    def _settle(self) -> None:
        """Drop the findings on files that no row names any more, and add the rows to the others."""
        rows: dict[str, list[str]] = {each.file_id: [] for each in self.report.findings}
        ids = {packed(file_id) for file_id in rows}
        wanted = dict.fromkeys(self.concerned, ids) if ids else {}
        for place, row, file in rows_naming(self.database, self.places, wanted, self.progress):
            rows[check_file_id(file.file_id)].append(where(place, row))
        findings = sorted(self.report.findings, key=lambda each: each.file_id)
        self.report.findings = [
            replace(each, rows=tuple(rows[each.file_id])) for each in findings if rows[each.file_id]
        ]
