"""Reports of sweeps: unused files, the marks on them, and the owners of depots."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from depot_lite.cli.output import counts, format_count, format_number, listing, printable
from depot_lite.cli.reports.report import Report, dry_run, failed_files, failures
from depot_lite.durations import format_duration
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.ids import FoundFile
from depot_lite.maintenance.owners import ClaimReport
from depot_lite.maintenance.run.reports import UnusedReport
from depot_lite.maintenance.trash import WEEK, UndeleteReport

# --- unused -----------------------------------------------------------------------------------------------------------


def unused_report(report: UnusedReport, older_than: timedelta, trash: timedelta) -> Report:
    """Report the files that no row names."""
    data = {
        "command": "unused",
        "depot": report.depot,
        "dry_run": report.dry_run,
        "before": report.before,
        "listed": report.listed,
        "named": report.named,
        "young": report.young,
        "kept": report.kept,
        "gone": report.gone,
        "misplaced": report.misplaced,
        "objections": report.objections,
        "unused": len(report.files),
        "bytes": report.bytes,
        "marked": report.marked,
        "unmarked": report.unmarked,
        "waiting": report.waiting,
        "newer": report.newer,
        "due": report.due,
        "deleted": report.deleted,
        "deleted_files": map(_file, report.deleted_files),
        "failed": failed_files(report.failed),
        "files": map(_file, report.files),
    }
    found = bool(report.failed) if report.deleted is not None else bool(report.files or report.objections)
    return Report(_unused_lines(report, older_than, trash), data, found)


def _file(file: FoundFile) -> dict[str, Any]:
    return {"id": file.file_id, "size": file.size, "time": file.last_modified}


def _unused_lines(report: UnusedReport, older_than: timedelta, trash: timedelta) -> Iterator[str]:
    unused, size = format_count(len(report.files), "files"), shown_size(report.bytes)
    if report.deleted is None:
        yield f"Depot {report.depot!r}: {unused} of {format_number(report.listed)} unused, {size}"
    else:
        marked = f"{format_number(report.marked or 0)} marked and " if trash or report.marked else ""
        done = f"{marked}{format_count(report.deleted, 'files')} deleted"
        yield f"Depot {report.depot!r}: {done} of {unused} unused, {size}"
    yield from unused_found(report, older_than, trash)
    if report.objections:
        yield ""
        yield "Nothing was deleted, this was a dry run. With --delete, it would stop:"
        yield from (f"- {printable(each)}" for each in report.objections)
    elif report.deleted is None and report.files:
        yield ""
        yield f"Nothing was deleted, this was a dry run: --delete {_what_delete_does(report, trash)}."


def unused_found(report: UnusedReport, older_than: timedelta, trash: timedelta) -> Iterator[str]:
    """Yield the unused files, the counts, and the files that could not be deleted."""
    yield from listing(
        report.files,
        ("file id", "size", "stored (UTC)"),
        lambda file: (file.file_id, shown_size(file.size), f"{file.last_modified:%Y-%m-%d %H:%M:%S}"),
        right=(1,),
    )
    yield from counts(
        [
            ("listed", report.listed, ""),
            ("named", report.named, "by rows, or protected"),
            ("young", report.young, f"named by no row, younger than {format_duration(older_than)}"),
            ("kept", report.kept or None, "by the application"),
            ("gone", report.gone or None, "deleted by others meanwhile"),
            ("misplaced", report.misplaced or None, "named as files of another depot"),
            ("unused", len(report.files), ""),
            ("newer", report.newer or None, "than every file that a row names, not deleted at once"),
            ("waiting", report.waiting or None, f"marked less than {format_duration(trash or WEEK)} ago"),
            ("unmarked", report.unmarked or None, "named, kept or gone meanwhile"),
        ]
    )
    yield from failures(report.failed, "deleted")


def _what_delete_does(report: UnusedReport, trash: timedelta) -> str:
    if report.due == len(report.files):
        return "deletes them"
    new = len(report.files) - report.waiting - report.due
    if new == len(report.files):
        return f"marks them, and deletes them {format_duration(trash or WEEK)} later"
    numbers = (format_number(each) for each in (new, report.due, report.waiting))
    return "marks {}, deletes {}, and leaves {} marked".format(*numbers)


# --- undelete ---------------------------------------------------------------------------------------------------------


def undelete_report(report: UndeleteReport) -> Report:
    """Report the files that are no longer marked."""
    data = {
        "command": "undelete",
        "depot": report.depot,
        "dry_run": report.dry_run,
        "unmarked": list(report.unmarked),
        "restored": list(report.restored),
        "unknown": list(report.unknown),
    }
    return Report(_undelete_lines(report), data, bool(report.unknown))


def _undelete_lines(report: UndeleteReport) -> Iterator[str]:
    yield f"Depot {report.depot!r}: {format_count(len(report.unmarked), 'files')} no longer marked"
    yield from listing(report.unmarked, ("file id",), lambda file_id: (file_id,))
    if report.restored:
        yield ""
        yield f"{format_count(len(report.restored), 'files')} brought back:"
        yield from listing(report.restored, ("file id",), lambda file_id: (file_id,))
    if report.unknown:
        yield ""
        yield f"{format_count(len(report.unknown), 'files')} neither marked, nor kept by the storage after a deletion:"
        yield from listing(report.unknown, ("file id",), lambda file_id: (file_id,))
    yield from dry_run(report.dry_run, "changed")


# --- claim ------------------------------------------------------------------------------------------------------------


def claim_report(report: ClaimReport) -> Report:
    """Report the owners of a depot."""
    data = {
        "command": "claim",
        "depot": report.depot,
        "dry_run": report.dry_run,
        "owners": list(report.owners),
        "added": list(report.added),
        "removed": list(report.removed),
    }
    return Report(_claim_lines(report), data, found=False)


def _claim_lines(report: ClaimReport) -> Iterator[str]:
    yield f"Depot {report.depot!r} belongs to:"
    yield from (f"  {printable(each)}{' (new)' if each in report.added else ''}" for each in report.owners)
    if report.removed:
        yield "and no longer to:"
        yield from (f"  {printable(each)}" for each in report.removed)
    yield from dry_run(report.dry_run, "changed")
