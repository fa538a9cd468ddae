"""Failures of a run that ended early: the files and rows that its partial report names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from depot_lite.cli.errors import one_line
from depot_lite.maintenance.run.reports import FailedRow
from depot_lite.maintenance.verdicts import Finding


def failures_so_far(error: BaseException) -> list[tuple[str, str]]:
    """Return the files or rows that failed before an error or a signal ended a job, each with the reason."""
    report = getattr(error, "report", None)
    failed: Any = getattr(report, "failed", ())
    named = list(failed.items()) if isinstance(failed, dict) else list(failed)
    return [*map(_described, named), *map(_described, getattr(report, "findings", ()))]


def _described(failure: Any) -> tuple[str, str]:
    if isinstance(failure, FailedRow):
        key = ", ".join(map(str, failure.key)) or "without a primary key"
        path = "" if failure.path is None else f", {failure.path}"
        return f"{failure.place} of the row {key}{path}", one_line(failure.error)
    if isinstance(failure, Finding):
        return failure.file_id, f"{failure.kind}: {failure.detail}"
    file_id, error = failure
    return file_id, one_line(error)


def failure_lines(failures: list[tuple[str, str]], most: int) -> Iterator[str]:
    """Yield a line for each of the first failures, and one with the number of the others."""
    yield from (f"failed before: {name}: {reason}" for name, reason in failures[:most])
    if len(failures) > most:
        yield f"failed before: {len(failures) - most:,} more, which --json and --log name"
