"""Reports of searches, which only read: missing and damaged files, statistics, and whether a depot may go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from depot_lite.cli.output import counts, format_count, format_number, listing, printable
from depot_lite.cli.reports.report import Report, key_text
from depot_lite.durations import format_playing_time
from depot_lite.io.fileid import is_derived_id
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.missing import DamagedRow, MissingFile, MissingReport
from depot_lite.maintenance.retirement import RetirementReport
from depot_lite.maintenance.statistics import Amount, ColumnStatistics, DepotStatistics, StatisticsReport
from depot_lite.maintenance.verdicts import Finding
from depot_lite.maintenance.verification import VerifyReport

# --- missing ----------------------------------------------------------------------------------------------------------


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
    names = f"{rows} name{'s' if report.rows == 1 else ''}"
    yield f"{format_count(len(report.files), 'files')} missing of {format_number(report.named)} that {names}"
    yield from missing_found(report)


def missing_found(report: MissingReport) -> Iterator[str]:
    """Yield the tables of the findings."""
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
            report.damaged, ("column", "key", "error"), lambda row: (row.place, key_text(row.key), row.error)
        )


def _missing_table(files: Sequence[MissingFile]) -> Iterator[str]:
    return listing(
        files,
        ("column", "key", "named by", "path"),
        lambda file: (file.place, key_text(file.key), file.part, file.path),
    )


# --- verify -----------------------------------------------------------------------------------------------------------


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


def _finding_table(findings: Sequence[Finding]) -> Iterator[str]:
    return listing(
        findings,
        ("file id", "is", "what was found", "named by"),
        lambda each: (each.file_id, each.kind, each.detail, "; ".join(each.rows[:3]) or "no row"),
    )


def _verify_lines(report: VerifyReport, with_rows: bool) -> Iterator[str]:
    wrong = f"{format_count(len(report.findings), 'files')} wrong" if report.findings else "nothing wrong"
    read = f"{format_number(report.read)} of {format_count(report.listed, 'files')} read, {shown_size(report.bytes)}"
    yield f"Depot {report.depot!r}: {wrong}, {read}"
    yield from verify_found(report)
    if not with_rows:
        yield ""
        yield "Without a database (--url), files were held against what their storage remembers of them."


def verify_found(report: VerifyReport) -> Iterator[str]:
    """Yield the findings and the counts."""
    yield from _finding_table(report.findings)
    yield from counts(
        [
            ("listed", report.listed, ""),
            ("read", report.read, "in several runs" if report.resumed else ""),
            ("unchecked", report.unchecked or None, "no checksum is known: only the length"),
            ("gone", report.gone or None, "deleted meanwhile"),
            ("unfinished", report.unfinished or None, "uploads under way or cut off"),
            ("damaged rows", report.damaged_rows or None, "see `missing`"),
            ("wrong", len(report.findings), ""),
        ]
    )


# --- stats ------------------------------------------------------------------------------------------------------------


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
        "duration": found.duration,
        "unnamed": asdict(found.unnamed),
        "on_demand": asdict(found.on_demand),
        "by_type": {name: asdict(amount) for name, amount in found.by_type.items()},
        "largest": [{"id": each.file_id, "size": each.size, "row": each.row} for each in found.largest],
    }


def _statistics_lines(report: StatisticsReport) -> Iterator[str]:
    for name, found in report.depots.items():
        length = "" if found.duration is None else f", {format_playing_time(found.duration)} of sound and films"
        yield f"Depot {name!r}: {format_count(found.files, 'files')}, {shown_size(found.bytes)}{length}"
        yield from _amounts(found)
        largest = [(each.file_id, shown_size(each.size), each.row or _unnamed(each.file_id)) for each in found.largest]
        yield from listing(largest, ("largest", "size", "named by"), right=(1,))
        yield ""
    yield "Columns"
    columns = sorted(report.columns.items(), key=lambda item: -item[1].bytes)
    rows = [(name, format_number(each.rows), *_measures(each)) for name, each in columns]
    yield from listing(*_with_durations(rows, ("column", "rows", "files", "size", "duration")), right=(1, 2, 3, 4))
    yield from _damaged_rows(report)
    for name, count in report.unconfigured.items():
        yield ""
        yield f"{format_count(count, 'files')} in depot {printable(name)!r}, which is not configured: see `missing`."


def _unnamed(file_id: str) -> str:
    return "no row, made on demand" if is_derived_id(file_id) else "no row"


def statistics_found(report: StatisticsReport) -> Iterator[str]:
    """Yield the counts until a count was stopped; files are counted when all rows have been read."""
    yield ""
    for name, found in report.depots.items():
        yield f"Depot {name!r}: {format_count(found.files, 'files')} listed"
    rows = [(name, format_number(each.rows)) for name, each in report.columns.items() if each.rows]
    yield from listing(rows, ("column", "rows"), right=(1,))
    yield from _damaged_rows(report)


def _damaged_rows(report: StatisticsReport) -> Iterator[str]:
    if report.damaged_rows:
        yield ""
        yield f"{format_count(report.damaged_rows, 'rows')} cannot be understood: see `missing`."


def _amounts(found: DepotStatistics) -> Iterator[str]:
    """Yield the types of files in a depot, largest total first, and the files that no row names."""
    types = sorted(found.by_type.items(), key=lambda item: -item[1].bytes)
    if found.on_demand.files:
        types.append(("variants on demand", found.on_demand))
    if found.unnamed.files:
        types.append(("named by no row", found.unnamed))
    rows = [(name, *_measures(amount)) for name, amount in types]
    yield from listing(*_with_durations(rows, ("type", "files", "size", "duration")), right=(1, 2, 3))


def _measures(found: Amount | ColumnStatistics) -> tuple[str, str, str]:
    duration = "" if found.duration is None else format_playing_time(found.duration)
    return format_number(found.files), shown_size(found.bytes), duration


def _with_durations(
    rows: Sequence[tuple[str, ...]], headings: tuple[str, ...]
) -> tuple[Sequence[tuple[str, ...]], tuple[str, ...]]:
    """Return a table without its last column, that of durations, if it is empty."""
    if any(row[-1] for row in rows):
        return rows, headings
    return [row[:-1] for row in rows], headings[:-1]


# --- may-go -----------------------------------------------------------------------------------------------------------


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
    yield from retirement_found(report)
    if report.may_go and report.by_old_name:
        yield ""
        references = format_count(report.by_old_name, "references")
        yield f"{references} use the name {report.depot!r}: configure it with the new storage."


def retirement_found(report: RetirementReport) -> Iterator[str]:
    """Yield the reasons to keep the old depot."""
    yield from _finding_table(report.findings)
    if report.unchecked:
        yield ""
        yield f"{format_count(report.unchecked, 'files')} have no checksum: only the length was compared."
    if report.damaged_rows or report.unconfigured:
        names = ", ".join(printable(repr(each)) for each in sorted(report.unconfigured))
        depots = f", and depots that are not configured: {names}" if names else ""
        yield ""
        yield f"Rows may name other files: {format_count(report.damaged_rows, 'damaged rows')}{depots}. See `missing`."
