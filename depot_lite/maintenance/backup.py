"""A backup of all files of a depot, under the same ids.

If the depot's name is given to the storage that holds the backup, all rows continue to work. To copy, no database is
needed: all files in the listing are copied, including those that no row names. A file is copied if the target lacks it,
has it with another length, or has a copy from before the file was replaced. Each copy is verified. Files that cannot be
copied are in the report's ``failed``; the others are copied nevertheless.

Pruning deletes the files of the backup that the depot no longer has, once all others have been copied. It is refused
for a backup with an owner mark, or to which a file column uploads, and if a row names one of these files. The depot
that is copied cannot be a part of a composite one, and without models it needs an owner mark.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.maintenance.copier import Copier, refuse_incomplete, refuse_live
from depot_lite.maintenance.ids import Part
from depot_lite.maintenance.limits import count_of
from depot_lite.maintenance.run.pace import WORKERS, Pace
from depot_lite.maintenance.run.reports import CopyReport, Watcher, partial_report


def copy_files(
    source: str,
    target: str,
    *,
    workers: int = WORKERS,
    rate: int | None = None,
    progress: Watcher | None = None,
    dry_run: bool = False,
    prune: bool = False,
    max_prune: int | None = None,
    allow_empty: bool = False,
    part: Part | None = None,
    bind: Session | Engine | Connection | None = None,
    models: Iterable[object] | None = None,
) -> CopyReport:
    """Copy the files of a depot to another one under the same ids, as a backup.

    Args:
        source: a depot or an alias.
        target: another depot or alias.
        workers: number of files copied at a time.
        rate: maximum bytes per second.
        progress: called with the `Progress` of each step.
        dry_run: only report the files that would be copied.
        prune: in the end, delete the files of the target that the source does not have; otherwise none is deleted.
        max_prune: how many files all parts together may delete; by default a tenth of the target, from 10 to 1000.
        allow_empty: whether the source may be empty. A folder that is not mounted is.
        part: copy, and delete, only files of this part, while other processes see to the others.
        bind: the database, whose rows are read before anything is deleted; of a session, its engine is used. ``prune``
            needs it if there are models.
        models: the declarative bases whose columns are read; by default all.

    Raises:
        ConfigurationError: a depot is not configured, both are the same, or an argument is invalid.
        MaintenanceStopped: the source has no files, or cannot list all of them; many files in a row failed; or, with
            ``prune``, rows name files of the target, it has no file of the source, or too many would be deleted.
        StorageFull: the target is full.
        StorageFailed: a storage cannot be listed, or the target became read-only.
    """
    limit = count_of("max_prune", max_prune)
    copier = Copier(source, target, Pace(rate), progress, dry_run=dry_run)
    pruning = _Pruning(limit, bind, models) if prune else None
    return _copied(copier, pruning, workers, part, allow_empty=allow_empty)


@dataclass(frozen=True, slots=True)
class _Pruning:
    """The arguments that decide which files of the backup are deleted."""

    limit: int | None
    bind: Session | Engine | Connection | None
    models: Iterable[object] | None


def _copied(
    copier: Copier, pruning: _Pruning | None, workers: int, part: Part | None, *, allow_empty: bool
) -> CopyReport:
    began, report = time.monotonic(), copier.report
    if pruning is not None:
        off_loop(partial(refuse_live, report.source, report.target, has_database=pruning.bind is not None))
        off_loop(partial(refuse_incomplete, report.source, allow_empty=allow_empty))
    with partial_report(report):
        copier.list_files(allow_empty=allow_empty)
        if pruning is not None:
            off_loop(copier.refuse_stranger)
        copier.copy(workers, part=part)
        report.seconds = time.monotonic() - began
        if pruning is not None and not report.failed:
            copier.prune(pruning.limit, pruning.bind, pruning.models)
    return report
