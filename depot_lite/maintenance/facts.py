"""Facts that rows lack: from before their column had analyzers, or those that a task queue has lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from depot_lite.fields.analyzers import missing_analyzers
from depot_lite.fields.file_type import FileType
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.tracking.renewal import Todo
from depot_lite.maintenance.renewals import BATCH, Chosen, RenewalJob
from depot_lite.maintenance.run.reports import RegenerateReport, Watcher


def add_missing_facts(
    bind: Session | Engine,
    *,
    models: Iterable[object] | None = None,
    columns: Iterable[str] | None = None,
    where: str | None = None,
    batch: int = BATCH,
    dry_run: bool = False,
    limit: int | None = None,
    progress: Watcher | None = None,
) -> RegenerateReport:
    """Call the analyzers that were not called for the files of rows, and enter the facts that they find.

    These are the files from before their column had such an analyzer, those whose job a task queue has lost, and those
    whose storage failed. Files stay where they are. No row is locked while files are read; the facts of a batch are
    entered in one transaction. Of a file that was replaced meanwhile, nothing is entered.

    A file that an analyzer cannot read is entered as analyzed, so that no other run reads it. If nothing was found
    about it, it is in ``unreadable`` of the report. Files that are gone, or whose storage fails, are in ``failed``:
    they are read once in this run, and again in the next.

    Args:
        bind: the database; of a session, its engine is used and its own transaction is not touched.
        models: the declarative bases whose columns are checked; by default all.
        columns: names such as ``"movie.trailer"``; by default all columns with analyzers.
        where: SQL for the rows that are checked, as it stands behind WHERE; the columns have to be of one table.
        batch: rows per transaction.
        dry_run: only count rows that lack facts.
        limit: maximum number of rows to process.
        progress: called with the `Progress` of each step.

    Returns:
        the report, whose ``outdated`` are the rows that lacked facts, ``regenerated`` those that were written.

    Raises:
        MaintenanceStopped: a table cannot be read or written.
        ConfigurationError: an argument is invalid.
    """
    options: dict[str, Any] = {"batch": batch, "dry_run": dry_run, "limit": limit, "progress": progress}
    job = RenewalJob(bind, "analyzing", _missing, **options)
    return job.run(Chosen(models, columns, where).of_kind(_has_analyzers, "a column with analyzers"))


def _missing(kind: FileType, value: DepotFileInfo) -> Todo:
    return Todo(analyzers=missing_analyzers(value, kind.analyzers))


def _has_analyzers(kind: FileType) -> bool:
    return bool(kind.analyzers)
