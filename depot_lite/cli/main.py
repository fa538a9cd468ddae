"""The command ``depot-lite``: runs one command and returns its exit code."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from datetime import timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from depot_lite.cli import reports
from depot_lite.cli.application import load_application, with_database
from depot_lite.cli.arguments import PROGRAM, parse_arguments
from depot_lite.cli.errors import OutputFailed, Stopped, WrongUsage, one_line, watch_signals
from depot_lite.cli.output import json_document, open_output, printable, with_line_ends, write
from depot_lite.cli.progress import show_progress
from depot_lite.cli.reports import Report
from depot_lite.durations import format_duration
from depot_lite.errors import ConfigurationError, DepotError
from depot_lite.maintenance.backup import copy_files
from depot_lite.maintenance.migration import migrate
from depot_lite.maintenance.missing import find_missing
from depot_lite.maintenance.owners import claim
from depot_lite.maintenance.run.reports import Watcher
from depot_lite.maintenance.statistics import statistics
from depot_lite.maintenance.trash import undelete
from depot_lite.maintenance.unused import delete_unused_files, find_unused
from depot_lite.maintenance.variants import regenerate_variants
from depot_lite.maintenance.verification import verify

# Exit codes.
NOTHING_FOUND: Final = 0
FOUND: Final = 1
COULD_NOT_RUN: Final = 2

#: The command asks before it deletes younger files: few transactions last as long.
_YOUNG: Final = timedelta(minutes=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with its arguments, those of the process by default, and return the exit code."""
    watch_signals()
    if sys.stderr is None:  # closed: messages are dropped
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # as long as the process
    arguments = sys.argv[1:] if arguments is None else arguments
    command = None
    try:
        options = parse_arguments(arguments)
        command = _COMMANDS[options.command]
        return _run(command, options)
    except Stopped as stopped:
        after_stop = "" if command is None else f": {command.after_stop}"
        _print_message(f"stopped by {stopped}{after_stop}")
        return 128 + stopped.number
    except Exception as error:
        _print_message(f"error: {_describe(error)}")
        if "--traceback" in arguments:
            traceback.print_exc(file=sys.stderr)
        return COULD_NOT_RUN


def _run(command: _Command, arguments: argparse.Namespace) -> int:
    output = open_output()
    with redirect_stdout(sys.stderr):  # the application's own prints are not part of the report
        if arguments.app is None:
            raise WrongUsage("no application given: --app package.module, or DEPOT_LITE_APP in the environment")
        if command.database == "needed" and not arguments.url:
            raise WrongUsage("no database given: --url URL, or DATABASE_URL in the environment")
        _confirm(arguments)
        load_application(arguments.app)
        report = _execute(command, arguments)
    try:
        write(output, json_document(report.data) if arguments.json else with_line_ends(report.lines))
    except OutputFailed as error:
        raise OutputFailed(f"the work is done, but {error}") from error
    return FOUND if report.found else NOTHING_FOUND


def _execute(command: _Command, arguments: argparse.Namespace) -> Report:
    with show_progress(sys.stderr, quiet=arguments.quiet) as watcher:
        if command.database == "none" or not arguments.url:
            return command.execute(arguments, None, watcher)
        return with_database(arguments.url, lambda bind: command.execute(arguments, bind, watcher))


def _confirm(arguments: argparse.Namespace) -> None:
    """Ask before deleting files that an open transaction may be about to name."""
    if arguments.command != "unused" or not arguments.delete or arguments.yes or arguments.older_than >= _YOUNG:
        return
    time = format_duration(arguments.older_than)
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        raise WrongUsage(
            f"--delete --older-than {time} may delete files of transactions that have not committed, and nobody "
            "can be asked here: --yes states that no transaction lasts as long"
        )
    sys.stderr.write(
        f"Files of transactions that last longer than {time} and have not committed will be lost.\nType yes to go on: "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "yes":
        raise WrongUsage("nothing was deleted")


# --- messages -----------------------------------------------------------------------------------------------------


def _print_message(line: str) -> None:
    try:
        sys.stderr.write(f"{PROGRAM}: {printable(line)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # stderr is gone


def _describe(error: Exception) -> str:
    """Return an error in one line, with a hint at --traceback if that would show more."""
    if isinstance(error, WrongUsage | OutputFailed | ConfigurationError):
        return one_line(error)
    name = "" if isinstance(error, DepotError) else f"{type(error).__name__}: "
    hint = "" if name == "" and error.__cause__ is None else " (--traceback shows more)"
    return f"{name}{one_line(error)}{hint}"


# --- the commands -------------------------------------------------------------------------------------------------


class _Command(NamedTuple):
    """A command, and its needs."""

    execute: Callable[[argparse.Namespace, Any, Watcher | None], Report]
    #: ``needed``, ``useful`` or ``none``.
    database: str
    #: The state in which a signal leaves the work, and how to continue.
    after_stop: str


def _unused(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    delete = partial(delete_unused_files, settle=arguments.settle, log=arguments.log)
    report = (delete if arguments.delete else find_unused)(
        bind,
        arguments.depot,
        older_than=arguments.older_than,
        protect=arguments.protect,
        max_delete=arguments.max_delete,
        allow_empty=arguments.allow_empty,
        ignore_columns=arguments.ignore_column,
        trash=arguments.trash,
        progress=watcher,
    )
    return reports.unused_report(report, arguments.older_than, arguments.trash)


def _undelete(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    return reports.undelete_report(undelete(arguments.depot, arguments.ids or None))


def _claim(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    return reports.claim_report(claim(bind, arguments.depot, replace=arguments.replace))


def _missing(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    return reports.missing_report(find_missing(bind, arguments.depot, progress=watcher))


def _verify(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    report = verify(
        bind,
        arguments.depot,
        sample=arguments.sample,
        state=arguments.state,
        workers=arguments.workers,
        rate=arguments.rate,
        progress=watcher,
    )
    return reports.verify_report(report, with_rows=bind is not None)


def _stats(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    return reports.statistics_report(statistics(bind, arguments.depot, largest=arguments.largest, progress=watcher))


def _copy(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    report = copy_files(
        arguments.source,
        arguments.target,
        workers=arguments.workers,
        rate=arguments.rate,
        dry_run=arguments.dry_run,
        progress=watcher,
    )
    return reports.copy_report(report)


def _migrate(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    report = migrate(
        bind,
        arguments.source,
        arguments.target,
        workers=arguments.workers,
        rate=arguments.rate,
        dry_run=arguments.dry_run,
        progress=watcher,
    )
    return reports.migration_report(report)


def _regenerate(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    report = regenerate_variants(
        bind,
        columns=arguments.columns or None,
        batch=arguments.batch,
        dry_run=arguments.dry_run,
        limit=arguments.limit,
        progress=watcher,
    )
    return reports.regenerate_report(report)


_CONTINUES: Final = "nothing is half done, and the same command goes on with what is left"
_RESTARTS: Final = "nothing was changed, and the same command begins anew"

_COMMANDS: Final = {
    "unused": _Command(_unused, "needed", _CONTINUES),
    "claim": _Command(_claim, "needed", _RESTARTS),
    "undelete": _Command(_undelete, "none", _CONTINUES),
    "missing": _Command(_missing, "needed", _RESTARTS),
    "verify": _Command(_verify, "useful", f"{_RESTARTS}, or goes on where --state FILE says"),
    "stats": _Command(_stats, "needed", _RESTARTS),
    "migrate": _Command(_migrate, "needed", _CONTINUES),
    "copy": _Command(_copy, "none", _CONTINUES),
    "regenerate": _Command(_regenerate, "needed", _CONTINUES),
}
