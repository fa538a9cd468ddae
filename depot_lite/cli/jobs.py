"""The jobs of maintenance, as commands: options in, report out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from depot_lite import maintenance
from depot_lite.cli.check import sweep_options
from depot_lite.cli.errors import WrongUsage
from depot_lite.cli.reports import searches, sweeps, transfers
from depot_lite.cli.reports.report import Report
from depot_lite.maintenance.run.reports import MigrationReport, Watcher
from depot_lite.maintenance.run.units import UNITS


def _pace(arguments: argparse.Namespace, watcher: Watcher | None) -> dict[str, Any]:
    """Return the arguments of every job that reads or copies files."""
    return {"workers": arguments.workers, "rate": arguments.rate, "progress": watcher}


def unused(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Find the files that no row names; with ``--delete``, delete them."""
    delete = partial(maintenance.delete_unused_files, settle=arguments.settle, log=arguments.log)
    report = (delete if arguments.delete else maintenance.find_unused)(
        bind, arguments.depot, progress=watcher, **sweep_options(arguments)
    )
    return sweeps.unused_report(report, arguments.older_than, arguments.trash)


def undelete(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Take the marks of a sweep off files."""
    return sweeps.undelete_report(
        maintenance.undelete(arguments.depot, arguments.ids or None, dry_run=arguments.dry_run)
    )


def claim(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Record the database as an owner of a depot."""
    report = maintenance.claim(bind, arguments.depot, replace=arguments.replace, dry_run=arguments.dry_run)
    return sweeps.claim_report(report)


def missing(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Find the rows whose file is missing."""
    report = maintenance.find_missing(
        bind, arguments.depot, columns=arguments.columns, where=arguments.where, progress=watcher
    )
    return searches.missing_report(report)


def verify(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Read the files of a depot, and find the damaged ones."""
    report = maintenance.verify(
        bind,
        arguments.depot,
        sample=arguments.sample,
        state=arguments.state,
        **_pace(arguments, watcher),
    )
    return searches.verify_report(report, with_rows=bind is not None)


def stats(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Count files and bytes."""
    return searches.statistics_report(
        maintenance.statistics(bind, arguments.depot, largest=arguments.largest, progress=watcher)
    )


def copy(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Copy the files of a depot into another."""
    if not arguments.share:
        job = partial(
            maintenance.copy_files,
            dry_run=arguments.dry_run,
            prune=arguments.prune,
            max_prune=arguments.max_prune,
            part=arguments.part,
            bind=bind,
        )
    elif arguments.part or arguments.dry_run or arguments.prune:
        raise WrongUsage("--share: expected none of --part, --dry-run and --prune with it; prune when all is copied")
    elif bind is None:
        raise WrongUsage("--share: no database given, which has the table of units: --url URL, or DATABASE_URL")
    else:
        job = partial(maintenance.share_copy, bind)
    report = job(arguments.source, arguments.target, allow_empty=arguments.allow_empty, **_pace(arguments, watcher))
    return transfers.copy_report(report)


def migrate(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Move rows and their files to another depot."""
    job: Callable[..., MigrationReport] = maintenance.share_migration
    if not arguments.share:
        job = partial(maintenance.migrate, dry_run=arguments.dry_run, part=arguments.part, limit=arguments.limit)
    elif arguments.part or arguments.dry_run or arguments.limit is not None:
        raise WrongUsage("--share: expected none of --part, --dry-run and --limit with it")
    call = partial(
        job,
        bind,
        arguments.source,
        arguments.target,
        columns=arguments.columns,
        where=arguments.where,
        **_pace(arguments, watcher),
    )
    report = call()
    for _ in range(_RUNS_FOR_CHANGED):
        if not report.changed or arguments.share or arguments.limit is not None:
            break
        try:
            report = _continued(report, call())
        except BaseException as error:
            second = error.__dict__.get("report")
            error.__dict__["report"] = report if second is None else _continued(report, second)
            raise
    return transfers.migration_report(report)


#: Further runs for rows that others changed again and again in the ones before.
_RUNS_FOR_CHANGED: Final = 3


def _continued(first: MigrationReport, second: MigrationReport) -> MigrationReport:
    """Return the report of two runs; the second one tried the rows that were left."""
    return replace(
        second,
        rows=first.rows + second.rows,
        files=first.files + second.files,
        bytes=first.bytes + second.bytes,
        skipped=first.skipped,
        seconds=first.seconds + second.seconds,
    )


def create_units(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Make the table of units of work."""
    exists = maintenance.create_units_table(bind, dry_run=arguments.dry_run)
    would_be_made = arguments.dry_run and not exists
    line = f"The table {UNITS.name} {'would be made, this was a dry run' if would_be_made else 'is there'}."
    data = {"command": "create-units", "dry_run": arguments.dry_run, "table": UNITS.name, "exists": exists}
    return Report([line], data, found=False)


def may_go(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Find out whether a depot may be deleted."""
    report = maintenance.prove_replaced(bind, arguments.depot, arguments.replacement, **_pace(arguments, watcher))
    return searches.retirement_report(report)


def regenerate(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Make outdated variants anew."""
    report = maintenance.regenerate_variants(bind, **_variants_options(arguments, watcher))
    return transfers.regenerate_report(report)


def variants(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Make the variants that rows lack."""
    if not arguments.missing:
        raise WrongUsage("expected --missing, which makes the variants that rows lack")
    report = maintenance.make_missing_variants(bind, **_variants_options(arguments, watcher))
    return transfers.missing_variants_report(report)


def facts(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Find the facts that rows lack."""
    if not arguments.missing:
        raise WrongUsage("expected --missing, which finds the facts that rows lack")
    report = maintenance.add_missing_facts(bind, **_variants_options(arguments, watcher))
    return transfers.missing_facts_report(report)


def _variants_options(arguments: argparse.Namespace, watcher: Watcher | None) -> dict[str, Any]:
    return {
        "columns": arguments.columns or None,
        "where": arguments.where,
        "batch": arguments.batch,
        "dry_run": arguments.dry_run,
        "limit": arguments.limit,
        "progress": watcher,
    }


def restore(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Copy files back from a backup."""
    if bind is None and not arguments.all:
        raise WrongUsage(
            "no database given, which has the names of the files to restore: --url URL, or DATABASE_URL in the "
            "environment; --all restores every file that DEPOT lacks, also if its row was deleted"
        )
    report = maintenance.restore_files(
        None if arguments.all else bind,
        arguments.source,
        arguments.target,
        limit=arguments.limit,
        dry_run=arguments.dry_run,
        **_pace(arguments, watcher),
    )
    return transfers.restore_report(report)
