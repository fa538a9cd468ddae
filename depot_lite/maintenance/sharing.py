"""Jobs that several workers share: each takes units of work until none is left.

Workers are processes on any machine. One that dies loses its lease, and its unit is done by another one, or by the next
run. A unit is one of N parts of all files by their ids; to find its rows, a worker reads all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from depot_lite.maintenance.copying import both_depots
from depot_lite.maintenance.migration import MigrationReport, migrate
from depot_lite.maintenance.run.pace import WORKERS
from depot_lite.maintenance.run.reports import Progress, Watcher
from depot_lite.maintenance.run.units import LEASE, Units, engine_of


def share_migration(
    bind: Session | Engine,
    source: str,
    target: str,
    *,
    units: int = 16,
    lease: float = LEASE,
    workers: int = WORKERS,
    rate: int | None = None,
    models: Iterable[object] | None = None,
    progress: Watcher | None = None,
) -> MigrationReport:
    """Move files from one depot to another together with other processes that call this with the same depots.

    A unit in which rows failed, or were changed by others at each attempt, is left to another run. When all units are
    done, the record of the job is deleted. The other arguments and the errors are those of `migrate`.

    Args:
        bind: an engine, or a session bound to one. The table of units is in this database.
        units: the number of parts; the same for all processes, and not less than there are of them.
        lease: seconds after which a process that is not heard of is taken for dead.

    Raises:
        MaintenanceStopped: there is no table of units: `create_units_table` makes it.
        ConfigurationError: the job was begun with another number of units.
    """
    names = both_depots(source, target)
    table = Units(engine_of(bind), f"migrate {names[0]} {names[1]}", units, lease=lease)
    total = MigrationReport(*names)
    while (part := table.take()) is not None:

        def watch(told: Progress, part: Any = part) -> None:
            table.renew(part)
            if progress is not None:
                progress(told)

        try:
            report = migrate(bind, *names, workers=workers, rate=rate, models=models, part=part, progress=watch)
        except BaseException as error:
            if (partial := getattr(error, "report", None)) is not None:
                _add(total, partial)
                error.__dict__["report"] = total
            table.give_back(part)
            raise
        _add(total, report)
        _end(table, part, report)
    total.left = table.left
    if not total.left:
        table.forget()
    return total


def _end(table: Units, part: Any, report: MigrationReport) -> None:
    record = {"rows": report.rows, "files": report.files, "bytes": report.bytes, "seconds": report.seconds}
    end = table.give_back if report.failed or report.changed else table.finish
    end(part, record)


def _add(total: MigrationReport, report: MigrationReport) -> None:
    total.rows += report.rows
    total.files += report.files
    total.bytes += report.bytes
    total.skipped += report.skipped
    total.changed += report.changed
    total.failed += report.failed
    total.seconds += report.seconds
