"""Reports of the commands: lines to read, data for JSON, and whether anything was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from depot_lite.cli.output import counts, format_count, format_number, listing, printable
from depot_lite.durations import format_duration, format_elapsed
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.backup import CopyReport
from depot_lite.maintenance.ids import FoundFile
from depot_lite.maintenance.migration import MigrationReport
from depot_lite.maintenance.missing import DamagedRow, MissingFile, MissingReport
from depot_lite.maintenance.owners import ClaimReport
from depot_lite.maintenance.restoration import RestoreReport
from depot_lite.maintenance.retirement import RetirementReport
from depot_lite.maintenance.run.reports import UnusedReport
from depot_lite.maintenance.statistics import DepotStatistics, StatisticsReport
from depot_lite.maintenance.trash import UndeleteReport
from depot_lite.maintenance.variants import RegenerateReport
from depot_lite.maintenance.verdicts import Finding
from depot_lite.maintenance.verification import VerifyReport


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a command in both forms."""

    lines: Iterable[str]
    #: The keys of the JSON document; an iterator becomes an array.
    data: Mapping[str, Any]
    #: Whether anything was found that needs attention.
    found: bool
    #: Bytes to be written instead of lines.
    content: Iterable[bytes] | None = None
    #: The exit code of a command that has more than the two below.
    code: int | None = None

    @property
    def exit_code(self) -> int:
        """The exit code: 1 if anything was found, else 0."""
        return int(self.found) if self.code is None else self.code


# --- unused -------------------------------------------------------------------------------------------------------


def unused_report(report: UnusedReport, older_than: timedelta, trash: timedelta) -> Report:
    """Report the files that no row names."""
    data = {
        "command": "unused",
        "depot": report.depot,
        "dry_run": report.deleted is None,
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
        "due": report.due,
        "deleted": report.deleted,
        "deleted_files": map(_file, report.deleted_files),
        "failed": ({"id": file_id, "error": str(error)} for file_id, error in report.failed.items()),
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
        marked = f"{format_number(report.marked or 0)} marked and " if trash else ""
        done = f"{marked}{format_count(report.deleted, 'files')} deleted"
        yield f"Depot {report.depot!r}: {done} of {unused} unused, {size}"
    yield from listing(
        report.files,
        ("file id", "size", "stored (UTC)"),
        lambda file: (file.file_id, shown_size(file.size), _time(file.last_modified)),
        right=(1,),
    )
    yield from counts(
        [
            ("listed", report.listed, ""),
            ("named", report.named, "by rows, or protected"),
            ("young", report.young, f"named by no row, younger than {format_duration(older_than)}"),
            *([("kept", report.kept, "by the application")] if report.kept else []),
            *([("gone", report.gone, "deleted by others meanwhile")] if report.gone else []),
            *([("misplaced", report.misplaced, "named as files of another depot")] if report.misplaced else []),
            ("unused", len(report.files), ""),
            *(
                [("waiting", report.waiting, f"marked less than {format_duration(trash)} ago")]
                if report.waiting
                else []
            ),
            *([("unmarked", report.unmarked, "named, kept or gone meanwhile")] if report.unmarked else []),
        ]
    )
    yield from _failures(report.failed, "deleted")
    if report.objections:
        yield ""
        yield "Nothing was deleted, this was a dry run. With --delete, it would stop:"
        yield from (f"- {printable(each)}" for each in report.objections)
    elif report.deleted is None and report.files:
        yield ""
        yield f"Nothing was deleted, this was a dry run: --delete {_what_delete_does(report, trash)}."


def _what_delete_does(report: UnusedReport, trash: timedelta) -> str:
    if report.due == len(report.files):
        return "deletes them"
    new = len(report.files) - report.waiting - report.due
    if new == len(report.files):
        return f"marks them, and deletes them {format_duration(trash)} later"
    numbers = (format_number(each) for each in (new, report.due, report.waiting))
    return "marks {}, deletes {}, and leaves {} marked".format(*numbers)


# --- undelete -----------------------------------------------------------------------------------------------------


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
    yield from _dry_run(report.dry_run, "changed")


# --- claim --------------------------------------------------------------------------------------------------------


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
    yield from _dry_run(report.dry_run, "changed")


# --- missing ------------------------------------------------------------------------------------------------------


def missing_report(report: MissingReport) -> Report:
    """Report the rows that name missing files."""
    data = {
        "command": "missing",
        "rows": report.rows,
        "named": report.named,
        "missing": len(report.files),
        "doubt": report.doubt,
        "unconfigured": map(_missing_file, report.unconfigured),
        "damaged": map(_damaged_row, report.damaged),
        "files": map(_missing_file, report.files),
    }
    return Report(_missing_lines(report), data, bool(report.files or report.unconfigured or report.damaged))


def _missing_file(file: MissingFile) -> dict[str, Any]:
    return {"column": file.place, "key": list(file.key), "path": file.path, "part": file.part}


def _damaged_row(row: DamagedRow) -> dict[str, Any]:
    return {"column": row.place, "key": list(row.key), "error": row.error}


def _missing_lines(report: MissingReport) -> Iterator[str]:
    rows = format_count(report.rows, "rows")
    yield f"{format_count(len(report.files), 'files')} missing of {format_number(report.named)} that {rows} name"
    yield from _missing_table(report.files)
    if report.doubt is not None:
        yield ""
        yield report.doubt
    if report.unconfigured:
        yield ""
        yield f"{format_count(len(report.unconfigured), 'files')} in depots that are not configured:"
        yield from _missing_table(report.unconfigured)
    if report.damaged:
        yield ""
        yield f"{format_count(len(report.damaged), 'rows')} that cannot be understood:"
        yield from listing(
            report.damaged, ("column", "key", "error"), lambda row: (row.place, _key(row.key), row.error)
        )


def _missing_table(files: Sequence[MissingFile]) -> Iterator[str]:
    return listing(
        files,
        ("column", "key", "named by", "path"),
        lambda file: (file.place, _key(file.key), file.part, file.path),
    )


# --- verify -------------------------------------------------------------------------------------------------------


def verify_report(report: VerifyReport, *, with_rows: bool) -> Report:
    """Report the files that are damaged or unreadable."""
    data = {
        "command": "verify",
        "depot": report.depot,
        "with_rows": with_rows,
        "resumed": report.resumed,
        "listed": report.listed,
        "read": report.read,
        "bytes": report.bytes,
        "unchecked": report.unchecked,
        "gone": report.gone,
        "unfinished": report.unfinished,
        "damaged_rows": report.damaged_rows,
        "found": len(report.findings),
        "files": map(_finding, report.findings),
    }
    return Report(_verify_lines(report, with_rows), data, bool(report.findings or report.damaged_rows))


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.file_id,
        "kind": finding.kind,
        "detail": finding.detail,
        "rows": list(finding.rows),
    }


def _verify_lines(report: VerifyReport, with_rows: bool) -> Iterator[str]:
    wrong = f"{format_count(len(report.findings), 'files')} wrong" if report.findings else "nothing wrong"
    read = f"{format_number(report.read)} of {format_count(report.listed, 'files')} read, {shown_size(report.bytes)}"
    yield f"Depot {report.depot!r}: {wrong}, {read}"
    yield from listing(
        report.findings,
        ("file id", "is", "what was found", "named by"),
        lambda each: (each.file_id, each.kind, each.detail, "; ".join(each.rows[:3]) or "no row"),
    )
    yield from counts(
        [
            ("listed", report.listed, ""),
            ("read", report.read, "in several runs" if report.resumed else ""),
            *([("unchecked", report.unchecked, "no checksum is known: only the length")] if report.unchecked else []),
            *([("gone", report.gone, "deleted meanwhile")] if report.gone else []),
            *([("unfinished", report.unfinished, "uploads under way or cut off")] if report.unfinished else []),
            *([("damaged rows", report.damaged_rows, "see `missing`")] if report.damaged_rows else []),
            ("wrong", len(report.findings), ""),
        ]
    )
    if not with_rows:
        yield ""
        yield "Without a database (--url), files were held against what their storage remembers of them."


# --- stats --------------------------------------------------------------------------------------------------------


def statistics_report(report: StatisticsReport) -> Report:
    """Report the number and size of files."""
    data = {
        "command": "stats",
        "depots": {name: _depot(found) for name, found in report.depots.items()},
        "columns": {name: asdict(found) for name, found in report.columns.items()},
        "damaged_rows": report.damaged_rows,
        "unconfigured": report.unconfigured,
    }
    return Report(_statistics_lines(report), data, bool(report.damaged_rows or report.unconfigured))


def _depot(found: DepotStatistics) -> dict[str, Any]:
    return {
        "files": found.files,
        "bytes": found.bytes,
        "unnamed": asdict(found.unnamed),
        "by_type": {name: asdict(amount) for name, amount in found.by_type.items()},
        "largest": [{"id": each.file_id, "size": each.size, "row": each.row} for each in found.largest],
    }


def _statistics_lines(report: StatisticsReport) -> Iterator[str]:
    for name, found in report.depots.items():
        yield f"Depot {name!r}: {format_count(found.files, 'files')}, {shown_size(found.bytes)}"
        yield from _amounts(found)
        largest = [(each.file_id, shown_size(each.size), each.row or "no row") for each in found.largest]
        yield from listing(largest, ("largest", "size", "named by"), right=(1,))
        yield ""
    yield "Columns"
    columns = sorted(report.columns.items(), key=lambda item: -item[1].bytes)
    rows = [
        (name, format_number(each.rows), format_number(each.files), shown_size(each.bytes)) for name, each in columns
    ]
    yield from listing(rows, ("column", "rows", "files", "size"), right=(1, 2, 3))
    if report.damaged_rows:
        yield ""
        yield f"{format_count(report.damaged_rows, 'rows')} cannot be understood: see `missing`."
    for name, count in report.unconfigured.items():
        yield ""
        yield f"{format_count(count, 'files')} in depot {printable(name)!r}, which is not configured: see `missing`."


def _amounts(found: DepotStatistics) -> Iterator[str]:
    """Yield the types of files in a depot, largest total first, and the files that no row names."""
    types = sorted(found.by_type.items(), key=lambda item: -item[1].bytes)
    if found.unnamed.files:
        types.append(("named by no row", found.unnamed))
    rows = [(name, format_number(amount.files), shown_size(amount.bytes)) for name, amount in types]
    yield from listing(rows, ("type", "files", "size"), right=(1, 2))


# --- copy ---------------------------------------------------------------------------------------------------------


def copy_report(report: CopyReport) -> Report:
    """Report the files copied to another depot."""
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
        "surplus": report.surplus,
        "pruned": report.pruned,
        "seconds": round(report.seconds, 3),
        "failed": ({"id": file_id, "error": str(error)} for file_id, error in report.failed.items()),
    }
    return Report(_copy_lines(report), data, bool(report.failed))


def _copy_lines(report: CopyReport) -> Iterator[str]:
    did = "to be copied" if report.dry_run else "copied"
    size = shown_size(report.bytes)
    yield f"{report.source!r} to {report.target!r}: {format_count(report.files, 'files')} {did}, {size}{_took(report)}"
    yield from counts(
        [
            ("listed", report.listed, ""),
            (did, report.files, ""),
            ("unchanged", report.unchanged, "there already"),
            *([("gone", report.gone, "deleted meanwhile, or not whole yet")] if report.gone else []),
            *([("surplus", report.surplus, "not in the source")] if report.surplus else []),
            *([("pruned", report.pruned, "deleted of these")] if report.pruned else []),
            *([("failed", len(report.failed), "")] if report.failed else []),
        ]
    )
    yield from _failures(report.failed, "copied")
    yield from _dry_run(report.dry_run, "copied")


def _took(report: CopyReport | MigrationReport | RestoreReport) -> str:
    if report.dry_run or report.seconds < 1:
        return ""
    return f" in {format_elapsed(report.seconds)}, {shown_size(int(report.bytes / report.seconds))}/s"


# --- restore ------------------------------------------------------------------------------------------------------


def restore_report(report: RestoreReport) -> Report:
    """Report the files copied back from a backup."""
    data = {
        "command": "restore",
        "source": report.source,
        "target": report.target,
        "dry_run": report.dry_run,
        "with_rows": report.with_rows,
        "restored": report.files,
        "bytes": report.bytes,
        "present": report.present,
        "seconds": round(report.seconds, 3),
        "lost": iter(report.lost),
        "failed": ({"id": file_id, "error": str(error)} for file_id, error in report.failed.items()),
    }
    return Report(_restore_lines(report), data, bool(report.failed or report.lost))


def _restore_lines(report: RestoreReport) -> Iterator[str]:
    did = "to be restored" if report.dry_run else "restored"
    size = shown_size(report.bytes)
    yield f"{report.source!r} to {report.target!r}: {format_count(report.files, 'files')} {did}, {size}{_took(report)}"
    yield from counts(
        [
            (did, report.files, "that rows name" if report.with_rows else ""),
            ("present", report.present, f"in {report.target!r}, left as they are"),
            *([("lost", len(report.lost), f"in neither of them: see `missing {report.target}`")] * bool(report.lost)),
            *([("failed", len(report.failed), "")] * bool(report.failed)),
        ]
    )
    yield from _failures(report.failed, "restored")
    if report.lost:
        yield ""
        yield from listing(report.lost, ("lost",), lambda file_id: (file_id,))
    yield from _dry_run(report.dry_run, "restored")


# --- may-go -------------------------------------------------------------------------------------------------------


def retirement_report(report: RetirementReport) -> Report:
    """Report whether a depot may be deleted."""
    data = {
        "command": "may-go",
        "depot": report.depot,
        "replacement": report.replacement,
        "may_go": report.may_go,
        "named": report.named,
        "by_old_name": report.by_old_name,
        "whole": report.whole,
        "bytes": report.bytes,
        "unchecked": report.unchecked,
        "damaged_rows": report.damaged_rows,
        "unconfigured": sorted(report.unconfigured),
        "found": len(report.findings),
        "files": map(_finding, report.findings),
    }
    return Report(_retirement_lines(report), data, not report.may_go)


def _retirement_lines(report: RetirementReport) -> Iterator[str]:
    answer = "may go" if report.may_go else "may NOT go"
    named = f"{format_number(report.whole)} of {format_count(report.named, 'files')} that rows name"
    yield f"Depot {report.depot!r} {answer}: {named} are whole in {report.replacement!r}, {shown_size(report.bytes)}"
    yield from listing(
        report.findings,
        ("file id", "is", "what was found", "named by"),
        lambda each: (each.file_id, each.kind, each.detail, "; ".join(each.rows[:3])),
    )
    if report.unchecked:
        yield ""
        yield f"{format_count(report.unchecked, 'files')} have no checksum: only the length was compared."
    if report.damaged_rows or report.unconfigured:
        names = ", ".join(printable(repr(each)) for each in sorted(report.unconfigured))
        depots = f", and depots that are not configured: {names}" if names else ""
        yield ""
        yield f"Rows may name other files: {format_count(report.damaged_rows, 'damaged rows')}{depots}. See `missing`."
    if report.may_go and report.by_old_name:
        yield ""
        references = format_count(report.by_old_name, "references")
        yield f"{references} use the name {report.depot!r}: configure it with the new storage."


# --- migrate ------------------------------------------------------------------------------------------------------


def migration_report(report: MigrationReport) -> Report:
    """Report the rows moved to another depot."""
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
        "units_left": report.left,
        "seconds": round(report.seconds, 3),
        "failed": (
            {"column": each.place, "key": list(each.key), "path": each.path, "error": str(each.error)}
            for each in report.failed
        ),
    }
    return Report(_migration_lines(report), data, bool(report.failed or report.changed))


def _migration_lines(report: MigrationReport) -> Iterator[str]:
    did = "to be moved" if report.dry_run else "moved"
    moved = f"{format_count(report.rows, 'rows')} with {format_count(report.files, 'files')} {did}"
    yield f"{report.source!r} to {report.target!r}: {moved}, {shown_size(report.bytes)}{_took(report)}"
    yield from counts(
        [
            (did, report.rows, "rows"),
            ("skipped", report.skipped, "rows that name nothing in the source"),
            *(
                [("changed", report.changed, "rows that others changed meanwhile: migrate again")]
                * (report.changed > 0)
            ),
            *([("failed", len(report.failed), "rows")] * bool(report.failed)),
            *([("left", report.left, "units that others have, or in which rows failed")] * bool(report.left)),
        ]
    )
    if report.failed:
        yield ""
        yield f"{format_count(len(report.failed), 'rows')} could not be moved and are as they were:"
        yield from listing(
            report.failed,
            ("column", "key", "file", "why"),
            lambda each: (each.place, _key(each.key), each.path or "", each.error),
        )
    yield from _dry_run(report.dry_run, "moved")
    if not report.dry_run:
        yield ""
        yield f"The files in {report.source!r} are still there: `unused {report.source}` finds them."


# --- regenerate ---------------------------------------------------------------------------------------------------


def regenerate_report(report: RegenerateReport) -> Report:
    """Report the images whose variants were outdated."""
    data = {
        "command": "regenerate",
        "dry_run": report.regenerated is None,
        "rows": report.rows,
        "outdated": report.outdated,
        "regenerated": report.regenerated,
        "changed": report.changed,
        "failed": ({"column": each.place, "key": list(each.key), "error": str(each.error)} for each in report.failed),
    }
    return Report(_regenerate_lines(report), data, bool(report.failed))


def _regenerate_lines(report: RegenerateReport) -> Iterator[str]:
    if report.regenerated is None:
        outdated = format_count(report.outdated, "rows")
        yield f"{outdated} of {format_number(report.rows)} with variants of a former recipe"
    else:
        yield f"{format_count(report.regenerated, 'rows')} with variants made anew, of {format_number(report.rows)}"
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
        yield f"{format_count(len(report.failed), 'rows')} could not be done and are as they were:"
        yield from listing(
            report.failed, ("column", "key", "why"), lambda each: (each.place, _key(each.key), each.error)
        )
    yield from _dry_run(report.regenerated is None and report.outdated > 0, "made")


# --- parts of reports ---------------------------------------------------------------------------------------------


def _failures(failed: Mapping[str, Exception], action: str) -> Iterator[str]:
    """Yield the files for which an action failed, with the errors."""
    if failed:
        yield ""
        yield f"{format_count(len(failed), 'files')} could not be {action}:"
        yield from listing(list(failed.items()), ("file", "why"))


def _dry_run(is_dry: bool, action: str) -> Iterator[str]:
    """Yield the last line of a dry run."""
    if is_dry:
        yield ""
        yield f"Nothing was {action}, this was a dry run."


def _key(key: tuple[Any, ...]) -> str:
    return ", ".join(map(str, key)) or "(no primary key)"


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"
