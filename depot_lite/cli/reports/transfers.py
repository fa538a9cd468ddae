"""Reports of transfers: files copied, restored or moved to another depot, and variants made anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from depot_lite.cli.output import counts, format_count, format_number, listing
from depot_lite.cli.reports.report import Report, dry_run, failed_files, failures, key_text
from depot_lite.durations import format_elapsed
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.restoration import RestoreReport
from depot_lite.maintenance.run.reports import (
    CopyReport,
    FailedRow,
    MigrationReport,
    RegenerateReport,
    TransferReport,
)

_LEFT: Final = "units that others have, or in which something failed"


def _between(command: str, report: TransferReport) -> dict[str, Any]:
    return {"command": command, "source": report.source, "target": report.target, "dry_run": report.dry_run}


def _headline(report: TransferReport, done: str) -> str:
    took = ""
    if not report.dry_run and report.seconds >= 1:
        took = f" in {format_elapsed(report.seconds)}, {shown_size(int(report.bytes / report.seconds))}/s"
    return f"{report.source!r} to {report.target!r}: {done}, {shown_size(report.bytes)}{took}"


def _row(failed: FailedRow) -> dict[str, Any]:
    return {"column": failed.place, "key": list(failed.key)}


def _failed_rows(
    failed: Sequence[FailedRow], action: str, headings: Sequence[str], cells: Callable[[FailedRow], Sequence[object]]
) -> Iterator[str]:
    if failed:
        unchanged = "is as it was" if len(failed) == 1 else "are as they were"
        yield ""
        yield f"{format_count(len(failed), 'rows')} could not be {action} and {unchanged}:"
        yield from listing(failed, headings, cells)


# --- copy -------------------------------------------------------------------------------------------------------------


def copy_report(report: CopyReport) -> Report:
    """Report the files copied to another depot."""
    data = {
        **_between("copy", report),
        "listed": report.listed,
        "copied": report.files,
        "bytes": report.bytes,
        "unchanged": report.unchanged,
        "gone": report.gone,
        "surplus": report.surplus,
        "pruned": report.pruned,
        "units_left": report.left,
        "seconds": round(report.seconds, 3),
        "failed": failed_files(report.failed),
    }
    return Report(_copy_lines(report), data, bool(report.failed or report.left))


def _copy_lines(report: CopyReport) -> Iterator[str]:
    did = "to be copied" if report.dry_run else "copied"
    yield _headline(report, f"{format_count(report.files, 'files')} {did}")
    yield from counts(
        [
            ("listed", report.listed, ""),
            (did, report.files, ""),
            ("unchanged", report.unchanged, "there already"),
            ("gone", report.gone or None, "deleted meanwhile, or not whole yet"),
            ("surplus", report.surplus or None, "not in the source"),
            ("pruned", report.pruned or None, "deleted of these"),
            ("failed", len(report.failed) or None, ""),
            ("left", report.left or None, _LEFT),
        ]
    )
    yield from failures(report.failed, "copied")
    yield from dry_run(report.dry_run, "copied")


# --- restore ----------------------------------------------------------------------------------------------------------


def restore_report(report: RestoreReport) -> Report:
    """Report the files copied back from a backup."""
    data = {
        **_between("restore", report),
        "with_rows": report.with_rows,
        "restored": report.files,
        "bytes": report.bytes,
        "present": report.present,
        "seconds": round(report.seconds, 3),
        "lost": iter(report.lost),
        "failed": failed_files(report.failed),
    }
    return Report(_restore_lines(report), data, bool(report.failed or report.lost))


def _restore_lines(report: RestoreReport) -> Iterator[str]:
    did = "to be restored" if report.dry_run else "restored"
    yield _headline(report, f"{format_count(report.files, 'files')} {did}")
    yield from counts(
        [
            (did, report.files, "that rows name" if report.with_rows else ""),
            ("present", report.present, f"in {report.target!r}, left as they are"),
            ("lost", len(report.lost) or None, f"in neither of them: see `missing {report.target}`"),
            ("failed", len(report.failed) or None, ""),
        ]
    )
    yield from failures(report.failed, "restored")
    if report.lost:
        yield ""
        yield from listing(report.lost, ("lost",), lambda file_id: (file_id,))
    yield from dry_run(report.dry_run, "restored")


# --- migrate ----------------------------------------------------------------------------------------------------------


def migration_report(report: MigrationReport) -> Report:
    """Report the rows moved to another depot."""
    data = {
        **_between("migrate", report),
        "rows": report.rows,
        "files": report.files,
        "bytes": report.bytes,
        "skipped": report.skipped,
        "changed": report.changed,
        "units_left": report.left,
        "seconds": round(report.seconds, 3),
        "failed": ({**_row(each), "path": each.path, "error": str(each.error)} for each in report.failed),
    }
    return Report(_migration_lines(report), data, bool(report.failed or report.changed or report.left))


def _migration_lines(report: MigrationReport) -> Iterator[str]:
    did = "to be moved" if report.dry_run else "moved"
    yield _headline(report, f"{format_count(report.rows, 'rows')} with {format_count(report.files, 'files')} {did}")
    yield from counts(
        [
            (did, report.rows, "rows"),
            ("skipped", report.skipped, "rows that name nothing in the source"),
            ("changed", report.changed or None, "rows that others changed meanwhile: migrate again"),
            ("failed", len(report.failed) or None, "rows"),
            ("left", report.left or None, _LEFT),
        ]
    )
    yield from _failed_rows(
        report.failed,
        "moved",
        ("column", "key", "file", "why"),
        lambda each: (each.place, key_text(each.key), each.path or "", each.error),
    )
    yield from dry_run(report.dry_run, "moved")
    if not report.dry_run:
        yield ""
        yield f"The files in {report.source!r} are still there: `unused {report.source}` finds them."


# --- variants ---------------------------------------------------------------------------------------------------------


def regenerate_report(report: RegenerateReport) -> Report:
    """Report the images whose variants were outdated."""
    data = {"outdated": report.outdated, "regenerated": report.regenerated}
    return _variants_report("regenerate", report, data, "of a former recipe", "made anew", "outdated")


def missing_variants_report(report: RegenerateReport) -> Report:
    """Report the images that lacked variants."""
    data = {"missing": report.outdated, "made": report.regenerated}
    return _variants_report("variants", report, data, "that are missing", "made", "missing")


def missing_facts_report(report: RegenerateReport) -> Report:
    """Report the files that lacked facts."""
    data = {
        "command": "facts",
        "dry_run": report.regenerated is None,
        "rows": report.rows,
        "missing": report.outdated,
        "added": report.regenerated,
        "changed": report.changed,
        "unreadable": ({**_row(each), "path": each.path, "error": str(each.error)} for each in report.unreadable),
        "failed": ({**_row(each), "error": str(each.error)} for each in report.failed),
    }
    return Report(_facts_lines(report), data, bool(report.failed))


def _facts_lines(report: RegenerateReport) -> Iterator[str]:
    if report.regenerated is None:
        yield f"{format_count(report.outdated, 'rows')} of {format_number(report.rows)} with files to analyze"
    else:
        yield f"{format_count(report.regenerated, 'rows')} with files analyzed, of {format_number(report.rows)}"
    yield from _row_counts(report, "missing")
    if report.unreadable:
        yield ""
        yield f"{format_count(len(report.unreadable), 'files')} without facts, which analyzers cannot read:"
        yield from listing(
            report.unreadable,
            ("column", "key", "file", "why"),
            lambda each: (each.place, key_text(each.key), each.path or "", each.error),
        )
    yield from _row_failures(report)
    yield from dry_run(report.regenerated is None and report.outdated > 0, "analyzed")


def _variants_report(
    command: str, report: RegenerateReport, found: dict[str, Any], which: str, done: str, label: str
) -> Report:
    data = {
        "command": command,
        "dry_run": report.regenerated is None,
        "rows": report.rows,
        **found,
        "changed": report.changed,
        "failed": ({**_row(each), "error": str(each.error)} for each in report.failed),
    }
    return Report(_variants_lines(report, which, done, label), data, bool(report.failed))


def _variants_lines(report: RegenerateReport, which: str, done: str, label: str) -> Iterator[str]:
    if report.regenerated is None:
        yield f"{format_count(report.outdated, 'rows')} of {format_number(report.rows)} with variants {which}"
    else:
        yield f"{format_count(report.regenerated, 'rows')} with variants {done}, of {format_number(report.rows)}"
    yield from _row_counts(report, label)
    yield from _row_failures(report)
    yield from dry_run(report.regenerated is None and report.outdated > 0, "made")


def _row_counts(report: RegenerateReport, label: str) -> Iterator[str]:
    yield from counts(
        [
            ("looked at", report.rows, "rows"),
            (label, report.outdated, "rows"),
            ("changed", report.changed or None, "rows that others changed or deleted meanwhile"),
            ("unreadable", len(report.unreadable) or None, "files"),
            ("failed", len(report.failed) or None, "rows"),
        ]
    )


def _row_failures(report: RegenerateReport) -> Iterator[str]:
    yield from _failed_rows(
        report.failed,
        "done",
        ("column", "key", "why"),
        lambda each: (each.place, key_text(each.key), each.error),
    )
