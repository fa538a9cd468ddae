"""Jobs that several workers share: each takes units of work until none is left.

Workers are processes on any machine. One that dies loses its lease, and its unit is done by another one, or by the next
run. The units of a migration are ranges of keys: all workers together read each table once. The units of a copy are
files whose ids begin with the same digits: each worker lists both depots, once.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.io.options import integer, seconds
from depot_lite.maintenance.copier import Copier
from depot_lite.maintenance.copying import both_depots
from depot_lite.maintenance.mover import Mover
from depot_lite.maintenance.rows.database import Database
from depot_lite.maintenance.rows.places import Place, chosen, places
from depot_lite.maintenance.rows.slices import Slice
from depot_lite.maintenance.run.pace import WORKERS, Pace
from depot_lite.maintenance.run.reports import CopyReport, MigrationReport, Progress, Step, Watcher, partial_report
from depot_lite.maintenance.run.units import LEASE, Unit, Units, engine_of

R = TypeVar("R", MigrationReport, CopyReport)

#: Rows, or about as many files, in a unit.
UNIT: Final = 10_000


def share_migration(
    bind: Session | Engine,
    source: str,
    target: str,
    *,
    rows: int = UNIT,
    lease: float = LEASE,
    workers: int = WORKERS,
    rate: int | None = None,
    models: Iterable[object] | None = None,
    columns: Iterable[str] | None = None,
    where: str | None = None,
    progress: Watcher | None = None,
) -> MigrationReport:
    """Move files from one depot to another together with other processes that call this with the same depots.

    Tenants with tables in schemas of their own (``schema_translate_map``) are different jobs.

    A unit in which rows failed, or were changed by others at each attempt, is left to another run. The last process to
    end deletes the record of the job. The other arguments and the errors are those of `migrate`.

    Args:
        bind: an engine, or a session bound to one. The table of units is in this database.
        rows: the number of rows in a unit.
        lease: seconds after which a process that is not heard of is taken for dead.

    Raises:
        MaintenanceStopped: there is no table of units: `create_units_table` makes it.
        ConfigurationError: other processes do the job with other columns, or another condition.
    """
    rows, lease = integer("rows", rows, 1, sys.maxsize), seconds("lease", lease)
    names = both_depots(source, target)
    among = chosen(places(models=models), columns, where)
    arguments = {"columns": list(map(str, among)), "where": where}
    schemas = sorted({Database(bind).schema_of(each) for each in among})
    table = Units(engine_of(bind), job_name("migrate", *names, of=schemas), arguments, lease=lease)
    watcher = _renewing(table, progress)
    mover, step = Mover(bind, *names, Pace(rate), watcher), Step(watcher, "copying")

    def move(unit: Unit) -> None:
        mover.run(workers, [among[unit.work["column"]]], within=Slice.from_json(unit.work["rows"]), step=step)

    with partial_report(mover.report), table, step:
        return _share(table, partial(_following_rows, Database(bind), among, rows), move, mover.report)


def _following_rows(database: Database, among: list[Place], size: int, last: Any) -> Any:
    """Return the work of the unit after another one: a column by its number, and a slice of its rows."""
    number, rows = (0, None) if last is None else (last["column"], Slice.from_json(last["rows"]))
    while number < len(among):
        found = database.following(among[number], rows, size)
        if found is not None:
            return {"column": number, "rows": found.to_json()}
        number, rows = number + 1, None
    return None


def share_copy(
    bind: Session | Engine,
    source: str,
    target: str,
    *,
    files: int = UNIT,
    lease: float = LEASE,
    workers: int = WORKERS,
    rate: int | None = None,
    allow_empty: bool = False,
    progress: Watcher | None = None,
) -> CopyReport:
    """Copy the files of a depot to another one together with other processes that call this with the same depots.

    These have the same names and locations in all of them, such as the same path of a folder. Each process lists both
    depots, and copies one unit after the other. A unit in which files failed is left to another run. The last process
    to end deletes the record of the job; the next run lists the depots, and copies new files. The other arguments and
    the errors are those of `copy_files`.

    Args:
        bind: an engine, or a session bound to one, of any database that has the table of units.
        files: the number of files in a unit at most, as far as sixteen, 256, 4096 or 65,536 units suffice for that. The
            first process decides.
        lease: seconds after which a process that is not heard of is taken for dead.

    Raises:
        MaintenanceStopped: there is no table of units: `create_units_table` makes it.
    """
    files, lease = integer("files", files, 1, sys.maxsize), seconds("lease", lease)
    names, began = both_depots(source, target), time.monotonic()
    table = Units(engine_of(bind), copy_name(*names), {}, lease=lease)
    watcher = _renewing(table, progress)
    copier, step = Copier(*names, Pace(rate), watcher), Step(watcher, "copying")
    report = copier.report

    def copy(unit: Unit) -> None:
        copier.copy_unit(workers, unit.work["ids"], step, was_begun=unit.was_begun)

    with partial_report(report), table:
        copier.list_files(allow_empty=allow_empty)
        with step:
            _share(table, partial(_following_ids, report.listed, files), copy, report)
    report.seconds = time.monotonic() - began
    return report


def _following_ids(listed: int, files: int, last: Any) -> Any:
    """Return the work of the unit after another one: the ids that begin with the same digits."""
    digits = _digits(listed, files) if last is None else len(last["ids"])
    number = 0 if last is None else int(last["ids"], 16) + 1
    return {"ids": f"{number:0{digits}x}"} if number < 16**digits else None


def copy_name(*names: str) -> str:
    """Return the name of the job of a copy, which tells depots with the same names and other locations apart.

    Their `location` does not serve: a folder has another one on another machine, and before it is made.
    """
    parts = [part for name in names for part in Depots.get(name).parts]
    known = [type(each).__name__ if type(each).__repr__ is object.__repr__ else repr(each) for each in parts]
    return job_name("copy", *names, of=known)


def job_name(*words: str, of: object) -> str:
    """Return the name of a job: words to read, and a sum of them and of what else tells it from other jobs.

    >>> job_name("migrate", "disk", "s3", of=["tenant1"])
    'migrate disk s3 13c67cd1073fbd62'
    """
    known = json.dumps([words, of]).encode()
    return f"{' '.join(words)[:150]} {hashlib.sha256(known).hexdigest()[:16]}"


def _digits(listed: int, files: int) -> int:
    """Return by how many hexadecimal digits the ids of a listing are divided.

    >>> [_digits(listed, 10_000) for listed in (0, 160_000, 160_001, 1_000_000_000)]
    [1, 1, 2, 4]
    """
    return next((digits for digits in (1, 2, 3) if listed <= files * 16**digits), 4)


def _renewing(table: Units, progress: Watcher | None) -> Watcher:
    def watch(told: Progress) -> None:
        table.renew()
        if progress is not None:
            progress(told)

    return watch


def _share(table: Units, following: Callable[[Any], Any], work: Callable[[Unit], Any], report: R) -> R:
    """Do units until none is left."""
    while (unit := table.take(following)) is not None:
        before = _counts(report)
        work(unit)
        done = {name: count - before[name] for name, count in _counts(report).items()}
        (table.give_back if done["failed"] or done["changed"] else table.finish)(unit, done)
    report.left = table.end()
    return report


def _counts(report: MigrationReport | CopyReport) -> dict[str, int]:
    changed = report.changed if isinstance(report, MigrationReport) else 0
    return {"files": report.files, "bytes": report.bytes, "failed": len(report.failed), "changed": changed}
