"""What was found, shown: by `unused`, `missing`, `verify` and `stats`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from depot_lite.cli.text import clean, counted, number, shown_duration, shown_when
from depot_lite.cli.views import View, counts, failures, listing, shown_key
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.ids import FoundFile
from depot_lite.maintenance.missing import DamagedRow, MissingFile, MissingReport
from depot_lite.maintenance.run.reports import UnusedReport
from depot_lite.maintenance.statistics import DepotStatistics, StatisticsReport
from depot_lite.maintenance.verdicts import Finding
from depot_lite.maintenance.verification import VerifyReport

# --- unused -------------------------------------------------------------------------------------------------------


def unused(report: UnusedReport, older_than: timedelta) -> View:
    """Show which files no row names."""
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
        "unused": len(report.files),
        "bytes": report.bytes,
        "deleted": report.deleted,
        "failed": ({"id": file_id, "error": str(error)} for file_id, error in report.failed.items()),
        "files": map(_file, report.files),
    }
    found = bool(report.failed) if report.deleted is not None else bool(report.files)
    return View(_unused_lines(report, older_than), data, found)


def _file(file: FoundFile) -> dict[str, Any]:
    return {"id": file.file_id, "size": file.size, "time": file.last_modified}


def _unused_lines(report: UnusedReport, older_than: timedelta) -> Iterator[str]:
    unused, size = counted(len(report.files), "files"), shown_size(report.bytes)
    if report.deleted is None:
        yield f"Depot {report.depot!r}: {unused} of {number(report.listed)} unused, {size}"
    else:
        yield f"Depot {report.depot!r}: {counted(report.deleted, 'files')} deleted of {unused} unused, {size}"
    yield from listing(
        report.files,
        ("file id", "size", "stored (UTC)"),
        lambda file: (file.file_id, shown_size(file.size), shown_when(file.last_modified)),
        right=(1,),
    )
    yield from counts(
        [
            ("listed", report.listed, ""),
            ("named", report.named, "by rows, or protected"),
            ("young", report.young, f"named by no row, younger than {shown_duration(older_than)}"),
            *([("kept", report.kept, "by the application")] if report.kept else []),
            *([("gone", report.gone, "deleted by others meanwhile")] if report.gone else []),
            ("unused", len(report.files), ""),
        ]
    )
    yield from failures(report.failed, "deleted")
    if report.deleted is None and report.files:
        yield ""
        yield "Nothing was deleted, this was a dry run: --delete deletes them."


# --- missing ------------------------------------------------------------------------------------------------------


def missing(report: MissingReport) -> View:
    """Show which rows name files that are not there."""
    data = {
        "command": "missing",
        "rows": report.rows,
        "named": report.named,
        "missing": len(report.files),
        "unconfigured": map(_missing_file, report.unconfigured),
        "damaged": map(_damaged_row, report.damaged),
        "files": map(_missing_file, report.files),
    }
    return View(_missing_lines(report), data, bool(report.files or report.unconfigured or report.damaged))


def _missing_file(file: MissingFile) -> dict[str, Any]:
    return {"column": file.place, "key": list(file.key), "path": file.path, "part": file.part}


def _damaged_row(row: DamagedRow) -> dict[str, Any]:
    return {"column": row.place, "key": list(row.key), "error": row.error}


def _missing_lines(report: MissingReport) -> Iterator[str]:
    rows = counted(report.rows, "rows")
    yield f"{counted(len(report.files), 'files')} missing of {number(report.named)} that {rows} name"
    yield from _missing_table(report.files)
    if report.unconfigured:
        yield ""
        yield f"{counted(len(report.unconfigured), 'files')} in depots that are not configured:"
        yield from _missing_table(report.unconfigured)
    if report.damaged:
        yield ""
        yield f"{counted(len(report.damaged), 'rows')} that cannot be understood:"
        yield from listing(
            report.damaged, ("column", "key", "error"), lambda row: (row.place, shown_key(row.key), row.error)
        )


def _missing_table(files: Sequence[MissingFile]) -> Iterator[str]:
    return listing(
        files,
        ("column", "key", "named by", "path"),
        lambda file: (file.place, shown_key(file.key), file.part, file.path),
    )


# --- verify -------------------------------------------------------------------------------------------------------


def verified(report: VerifyReport, *, with_rows: bool) -> View:
    """Show which files are not what they were."""
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
    return View(_verified_lines(report, with_rows), data, bool(report.findings or report.damaged_rows))


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.file_id,
        "kind": finding.kind,
        "detail": finding.detail,
        "rows": list(finding.rows),
    }


def _verified_lines(report: VerifyReport, with_rows: bool) -> Iterator[str]:
    wrong = f"{counted(len(report.findings), 'files')} wrong" if report.findings else "nothing wrong"
    read = f"{number(report.read)} of {counted(report.listed, 'files')} read, {shown_size(report.bytes)}"
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


def counted_up(report: StatisticsReport) -> View:
    """Show how many files there are, and how large."""
    data = {
        "command": "stats",
        "depots": {name: _depot(found) for name, found in report.depots.items()},
        "columns": {name: asdict(found) for name, found in report.columns.items()},
        "damaged_rows": report.damaged_rows,
        "unconfigured": report.unconfigured,
    }
    return View(_statistics_lines(report), data, bool(report.damaged_rows or report.unconfigured))


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
        yield f"Depot {name!r}: {counted(found.files, 'files')}, {shown_size(found.bytes)}"
        yield from _amounts(found)
        largest = [(each.file_id, shown_size(each.size), each.row or "no row") for each in found.largest]
        yield from listing(largest, ("largest", "size", "named by"), right=(1,))
        yield ""
    yield "Columns"
    columns = sorted(report.columns.items(), key=lambda item: -item[1].bytes)
    rows = [(name, number(each.rows), number(each.files), shown_size(each.bytes)) for name, each in columns]
    yield from listing(rows, ("column", "rows", "files", "size"), right=(1, 2, 3))
    if report.damaged_rows:
        yield ""
        yield f"{counted(report.damaged_rows, 'rows')} cannot be understood: see `missing`."
    for name, count in report.unconfigured.items():
        yield ""
        yield f"{counted(count, 'files')} in depot {clean(name)!r}, which is not configured: see `missing`."


def _amounts(found: DepotStatistics) -> Iterator[str]:
    """Yield the types of a depot, that of most bytes first, and what no row names."""
    types = sorted(found.by_type.items(), key=lambda item: -item[1].bytes)
    if found.unnamed.files:
        types.append(("named by no row", found.unnamed))
    rows = [(name, number(amount.files), shown_size(amount.bytes)) for name, amount in types]
    yield from listing(rows, ("type", "files", "size"), right=(1, 2))
