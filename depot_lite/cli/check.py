"""The command ``check``: the state of all depots, for monitoring. It changes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Final

from depot_lite.cli.output import format_count, format_table, printable
from depot_lite.cli.reports.report import Report
from depot_lite.depots import Depots
from depot_lite.durations import format_duration
from depot_lite.errors import ConfigurationError, DepotError
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.missing import find_missing
from depot_lite.maintenance.run.reports import Watcher, partial_report
from depot_lite.maintenance.unused import find_unused
from depot_lite.maintenance.verification import verify

# The states of a check, and the exit codes that they lead to. Files that are lost outweigh a check that could not run.
OK: Final = "ok"
WARNING: Final = "warning"
FAILED: Final = "failed"
CRITICAL: Final = "critical"
EXIT_CODES: Final = {OK: 0, WARNING: 1, FAILED: 2, CRITICAL: 3}


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    #: None for a check of all depots.
    depot: str | None
    state: str
    detail: str
    #: Numbers, for JSON.
    counts: dict[str, Any] = field(default_factory=dict)


def check(options: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Check the configuration, and search unused, missing and damaged files, in one depot or in all."""
    names = [Depots.resolve_alias(options.depot)] if options.depot else Depots.depot_names()
    if not names:
        raise ConfigurationError("no depot has been configured")
    found = Checks()
    with partial_report(found):
        for name in names:
            found.attempt("configuration", name, partial(_configuration, name))
        found.attempt("missing", options.depot and names[0], partial(_missing, bind, options, watcher))
        for name in names:
            found.attempt("unused", name, partial(_unused, bind, name, options, watcher))
            if options.sample:
                found.attempt("verify", name, partial(_verify, bind, name, options, watcher))
    state = max((each.state for each in found), key=EXIT_CODES.__getitem__)
    data = {"command": "check", "state": state, **found.data()}
    return Report(_lines(state, found), data, state != OK, code=EXIT_CODES[state])


#: State, detail and numbers.
_Found = tuple[str, str, dict[str, Any]]


class Checks(list[Check]):
    """The results of all checks so far."""

    def attempt(self, name: str, depot: str | None, run: Callable[[], _Found]) -> None:
        """Add the result of a check; an error of it does not keep the others from running."""
        try:
            state, detail, counts = run()
        except DepotError as error:
            state, detail, counts = FAILED, " ".join(str(error).split()), {}
        self.append(Check(name, depot, state, detail, counts))

    def data(self) -> dict[str, Any]:
        """Return the results for JSON."""
        return {
            "checks": (
                {"check": each.name, "depot": each.depot, "state": each.state, "detail": each.detail, **each.counts}
                for each in self
            )
        }

    def table(self) -> Iterator[str]:
        """Yield a line for each result."""
        yield ""
        yield from format_table(
            [
                ("check", "depot", "state", ""),
                *((each.name, each.depot or "all", each.state, each.detail) for each in self),
            ]
        )


def _lines(state: str, checks: Checks) -> Iterator[str]:
    wrong = sum(each.state != OK for each in checks)
    yield (
        f"{state}: {format_count(wrong, 'checks')} of {len(checks)} found something"
        if wrong
        else f"{state}: nothing found"
    )
    yield from checks.table()


# --- the checks ---------------------------------------------------------------------------------------------------


def _configuration(name: str) -> _Found:
    """Find out whether a depot can be listed, and who else has its files."""
    storage = Depots.get(name)
    empty = not list(islice(storage.list(), 1))
    others = [each for each in Depots.depot_names() if each != name and Depots.get(each).shares_files_with(storage)]
    if Depots.visibility(name) == "private":
        Depots.signer()  # without keys, no URL of its files works
    if others:
        return WARNING, f"has the same files as {', '.join(map(printable, others))}", {"shares_files_with": others}
    return OK, f"{storage!r}{', empty' if empty else ''}", {}


def _missing(bind: Any, options: argparse.Namespace, watcher: Watcher | None) -> _Found:
    report = find_missing(bind, options.depot, progress=watcher)
    counts = {
        "rows": report.rows,
        "named": report.named,
        "missing": len(report.files),
        "unconfigured": len(report.unconfigured),
        "damaged": len(report.damaged),
    }
    parts = [
        *([f"{format_count(len(report.files), 'files')} missing"] * bool(report.files)),
        *([f"{format_count(len(report.unconfigured), 'files')} in unknown depots"] * bool(report.unconfigured)),
        *([f"{format_count(len(report.damaged), 'rows')} that cannot be read"] * bool(report.damaged)),
    ]
    named = f"of {report.named:,} that {format_count(report.rows, 'rows')} name{'s' if report.rows == 1 else ''}"
    return (CRITICAL, f"{', '.join(parts)}, {named}", counts) if parts else (OK, f"none {named}", counts)


def sweep_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `find_unused` that are options of ``unused`` and of ``check``."""
    return {
        "older_than": options.older_than,
        "protect": options.protect,
        "max_delete": options.max_delete,
        "allow_empty": options.allow_empty,
        "allow_newer": options.allow_newer,
        "ignore_columns": options.ignore_column,
        "trash": options.trash,
    }


def _unused(bind: Any, name: str, options: argparse.Namespace, watcher: Watcher | None) -> _Found:
    report = find_unused(bind, name, progress=watcher, **sweep_options(options))
    unused = len(report.files)
    counts = {
        "listed": report.listed,
        "unused": unused,
        "waiting": report.waiting,
        "bytes": report.bytes,
        "young": report.young,
        "objections": report.objections,
    }
    age = f"older than {format_duration(options.older_than)}"
    detail = f"{format_count(unused, 'files')} of {report.listed:,}, {shown_size(report.bytes)}, {age}"
    if report.waiting:
        detail += f", {report.waiting:,} marked"
    if report.objections:  # such as a depot that this database does not own
        return WARNING, f"{detail}; a sweep would stop: {report.objections[0]}", counts
    return (WARNING if unused - report.waiting > options.max_unused else OK), detail, counts


def _verify(bind: Any, name: str, options: argparse.Namespace, watcher: Watcher | None) -> _Found:
    report = verify(bind, name, sample=options.sample, workers=options.workers, rate=options.rate, progress=watcher)
    counts = {"read": report.read, "read_bytes": report.bytes, "found": len(report.findings)}
    read = f"of {report.read:,} read, {shown_size(report.bytes)}"
    if not report.findings:
        return OK, f"none damaged {read}", counts
    first = report.findings[0]
    detail = f"{format_count(len(report.findings), 'files')} wrong {read}, the first is {first.file_id}: {first.kind}"
    return CRITICAL, detail, counts
