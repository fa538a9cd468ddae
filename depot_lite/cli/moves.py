"""What was done, shown: by `migrate`, `copy` and `regenerate`."""

from __future__ import annotations

from collections.abc import Iterator

from depot_lite.cli.text import counted, number, shown_time
from depot_lite.cli.views import View, counts, failures, listing, shown_key
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.backup import CopyReport
from depot_lite.maintenance.migration import MigrationReport
from depot_lite.maintenance.variants import RegenerateReport

# --- copy ---------------------------------------------------------------------------------------------------------


def copied(report: CopyReport) -> View:
    """Show what was copied of a depot."""
    data = {
        "command": "copy",
        "source": report.source,
        "target": report.target,
        "dry_run": report.dry_run,
        "listed": report.listed,
        "copied": report.files,
        "bytes": report.bytes,
        "unchanged": report.unchanged,
        "gone": report.gone,
        "seconds": round(report.seconds, 3),
        "failed": ({"id": file_id, "error": str(error)} for file_id, error in report.failed.items()),
    }
    return View(_copied_lines(report), data, bool(report.failed))


def _copied_lines(report: CopyReport) -> Iterator[str]:
    did = "to be copied" if report.dry_run else "copied"
    size = shown_size(report.bytes)
    yield f"{report.source!r} to {report.target!r}: {counted(report.files, 'files')} {did}, {size}{_took(report)}"
    yield from counts(
        [
            ("listed", report.listed, ""),
            (did, report.files, ""),
            ("unchanged", report.unchanged, "there already"),
            *([("gone", report.gone, "deleted meanwhile, or not whole yet")] if report.gone else []),
            *([("failed", len(report.failed), "")] if report.failed else []),
        ]
    )
    yield from failures(report.failed, "copied")
    if report.dry_run:
        yield ""
        yield "Nothing was copied, this was a dry run."


def _took(report: CopyReport | MigrationReport) -> str:
    if report.dry_run or report.seconds < 1:
        return ""
    return f" in {shown_time(report.seconds)}, {shown_size(int(report.bytes / report.seconds))}/s"


# --- migrate ------------------------------------------------------------------------------------------------------


def migrated(report: MigrationReport) -> View:
    """Show what was moved from one depot to another."""
    data = {
        "command": "migrate",
        "source": report.source,
        "target": report.target,
        "dry_run": report.dry_run,
        "rows": report.rows,
        "files": report.files,
        "bytes": report.bytes,
        "skipped": report.skipped,
        "changed": report.changed,
        "seconds": round(report.seconds, 3),
        "failed": (
            {"column": each.place, "key": list(each.key), "path": each.path, "error": str(each.error)}
            for each in report.failed
        ),
    }
    return View(_migrated_lines(report), data, bool(report.failed or report.changed))


def _migrated_lines(report: MigrationReport) -> Iterator[str]:
    did = "to be moved" if report.dry_run else "moved"
    what = f"{counted(report.rows, 'rows')} with {counted(report.files, 'files')} {did}, {shown_size(report.bytes)}"
    yield f"{report.source!r} to {report.target!r}: {what}{_took(report)}"
    yield from counts(
        [
            (did, report.rows, "rows"),
            ("skipped", report.skipped, "rows that name nothing in the source"),
            *(
                [("changed", report.changed, "rows that others changed meanwhile: migrate again")]
                * (report.changed > 0)
            ),
            *([("failed", len(report.failed), "rows")] * bool(report.failed)),
        ]
    )
    if report.failed:
        yield ""
        yield f"{counted(len(report.failed), 'rows')} could not be moved and are as they were:"
        yield from listing(
            report.failed,
            ("column", "key", "file", "why"),
            lambda each: (each.place, shown_key(each.key), each.path or "", each.error),
        )
    yield ""
    if report.dry_run:
        yield "Nothing was moved, this was a dry run."
    else:
        yield f"The files in {report.source!r} are still there: `unused {report.source}` finds them."


# --- regenerate ---------------------------------------------------------------------------------------------------


def regenerated(report: RegenerateReport) -> View:
    """Show what became of images whose variants were made by a former recipe."""
    data = {
        "command": "regenerate",
        "dry_run": report.regenerated is None,
        "rows": report.rows,
        "outdated": report.outdated,
        "regenerated": report.regenerated,
        "changed": report.changed,
        "failed": ({"column": each.place, "key": list(each.key), "error": str(each.error)} for each in report.failed),
    }
    return View(_regenerated_lines(report), data, bool(report.failed))


def _regenerated_lines(report: RegenerateReport) -> Iterator[str]:
    if report.regenerated is None:
        yield f"{counted(report.outdated, 'rows')} of {number(report.rows)} with variants of a former recipe"
    else:
        yield f"{counted(report.regenerated, 'rows')} with variants made anew, of {number(report.rows)}"
    yield from counts(
        [
            ("looked at", report.rows, "rows"),
            ("outdated", report.outdated, "rows"),
            *([("changed", report.changed, "rows that others changed or deleted meanwhile")] * (report.changed > 0)),
            *([("failed", len(report.failed), "rows")] * bool(report.failed)),
        ]
    )
    if report.failed:
        yield ""
        yield f"{counted(len(report.failed), 'rows')} could not be done and are as they were:"
        yield from listing(
            report.failed, ("column", "key", "why"), lambda each: (each.place, shown_key(each.key), each.error)
        )
    if report.regenerated is None and report.outdated:
        yield ""
        yield "Nothing was made, this was a dry run."
