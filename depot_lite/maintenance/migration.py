"""Migration of files from one depot to another while the application runs.

The files of a row are copied under new ids and verified; then one statement makes the row name the copies, provided
that the row still has the value that was read. At every moment the row names existing files: the old ones stay, for
sessions that loaded the row before, until a sweep finds that no row names them. A sweep that runs meanwhile spares the
copies because they are young.

There is no state to lose. After an interruption the migration is started again, and skips rows that name the target.
Copies that no row names are unused files of the target.

Columns store new files in the source as long as they upload to it: point their alias at the target first, then migrate.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from depot_lite.maintenance.ids import Part
from depot_lite.maintenance.limits import count_of
from depot_lite.maintenance.mover import Mover
from depot_lite.maintenance.rows.places import chosen, places
from depot_lite.maintenance.run.pace import WORKERS, Pace
from depot_lite.maintenance.run.reports import MigrationReport, Watcher


def migrate(
    bind: Session | Engine | Connection,
    source: str,
    target: str,
    *,
    workers: int = WORKERS,
    rate: int | None = None,
    dry_run: bool = False,
    models: Iterable[object] | None = None,
    columns: Iterable[str] | None = None,
    where: str | None = None,
    limit: int | None = None,
    part: Part | None = None,
    progress: Watcher | None = None,
) -> MigrationReport:
    """Move the files that rows name from one depot to another.

    If a mapper counts versions (``version_id_col``), the version advances: a session that loaded the row before gets
    `StaleDataError` instead of writing the old paths back. Columns with ``onupdate`` are set.

    Args:
        bind: an engine, or a session bound to one. Rows are committed by the hundred; no lock is waited for meanwhile.
        source: a depot or an alias.
        target: another depot or alias.
        workers: number of files copied at a time.
        rate: maximum bytes per second; without server-side copies, since the bytes pass through this process.
        dry_run: only count rows, files and bytes.
        models: the declarative bases whose columns are read; by default all.
        columns: the columns whose files are moved, such as ``"movie.poster"``; by default all.
        where: SQL for the rows whose files are moved, as it stands behind WHERE; the columns have to be of one table.
        limit: number of rows to move at most.
        part: move only rows whose first file is in this part, while other processes move the others.
        progress: called with the `Progress` of each step.

    Raises:
        ConfigurationError: a depot is not configured, both are the same, or an argument is invalid.
        MaintenanceStopped: the database cannot be read, or many files in a row failed.
        StorageFull: the target is full. Rows moved until then stay moved.
    """
    mover = Mover(bind, source, target, Pace(rate), progress, dry_run=dry_run)
    limit = count_of("limit", limit)
    return mover.run(workers, chosen(places(models=models), columns, where), limit=limit, part=part)
