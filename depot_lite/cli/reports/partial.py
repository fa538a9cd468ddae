"""The partial report of a job that an error or a signal ended: its findings until then."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from depot_lite.cli.check import Checks
from depot_lite.cli.reports import searches, sweeps, transfers
from depot_lite.maintenance import (
    CopyReport,
    MigrationReport,
    MissingReport,
    RegenerateReport,
    RestoreReport,
    RetirementReport,
    StatisticsReport,
    UnusedReport,
    VerifyReport,
)


def partial_data(error: BaseException, options: argparse.Namespace) -> Mapping[str, Any] | None:
    """Return the data that the report would have, for JSON; None if there is no report."""
    report = getattr(error, "report", None)
    make = _DATA.get(type(report))
    return None if make is None else make(report, options)


def partial_lines(error: BaseException, options: argparse.Namespace) -> list[str]:
    """Return the findings of a search; the failures of a job that changes something are reported elsewhere."""
    report = getattr(error, "report", None)
    make = _LINES.get(type(report))
    return [] if make is None else list(make(report, options))


def _partial_unused(report: UnusedReport, options: argparse.Namespace) -> Iterator[str]:
    """Yield nothing before files are told apart, nor if the report has objections or deleted files."""
    if (report.named or report.young or report.files) and not report.objections and not report.deleted:
        yield from sweeps.unused_found(report, options.older_than, options.trash)


def _partial_verify(report: VerifyReport, options: argparse.Namespace) -> Iterator[str]:
    if report.listed or report.damaged_rows:
        yield from searches.verify_found(report)


def _verify_data(report: VerifyReport, options: argparse.Namespace) -> Mapping[str, Any]:
    return searches.verify_report(report, with_rows=bool(options.url or options.engine)).data


def _variants_data(report: RegenerateReport, options: argparse.Namespace) -> Mapping[str, Any]:
    make = {"variants": transfers.missing_variants_report, "facts": transfers.missing_facts_report}
    return make.get(options.command, transfers.regenerate_report)(report).data


def _unused_data(report: UnusedReport, options: argparse.Namespace) -> Mapping[str, Any]:
    return sweeps.unused_report(report, options.older_than, options.trash).data


_Make = Callable[[Any, argparse.Namespace], Any]

_LINES: Final[Mapping[type, _Make]] = {
    Checks: lambda report, _: report.table() if report else (),
    MissingReport: lambda report, _: searches.missing_found(report),
    RetirementReport: lambda report, _: searches.retirement_found(report),
    StatisticsReport: lambda report, _: searches.statistics_found(report),
    UnusedReport: _partial_unused,
    VerifyReport: _partial_verify,
}

_DATA: Final[Mapping[type, _Make]] = {
    Checks: lambda report, _: {"command": "check", **report.data()},
    CopyReport: lambda report, _: transfers.copy_report(report).data,
    MigrationReport: lambda report, _: transfers.migration_report(report).data,
    MissingReport: lambda report, _: searches.missing_report(report).data,
    RegenerateReport: _variants_data,
    RestoreReport: lambda report, _: transfers.restore_report(report).data,
    RetirementReport: lambda report, _: searches.retirement_report(report).data,
    StatisticsReport: lambda report, _: searches.statistics_report(report).data,
    UnusedReport: _unused_data,
    VerifyReport: _verify_data,
}
