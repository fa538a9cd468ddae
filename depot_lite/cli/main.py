"""``depot-lite``: the command, from its words to its exit code."""

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

from depot_lite.cli import findings, moves
from depot_lite.cli.app import load_app
from depot_lite.cli.database import with_database
from depot_lite.cli.failures import OutputFailed, WrongUsage, one_line
from depot_lite.cli.output import document, lines, open_output, write
from depot_lite.cli.progress import watching
from depot_lite.cli.signals import Stopped, watch_signals
from depot_lite.cli.text import clean, shown_duration
from depot_lite.cli.views import View
from depot_lite.cli.words import PROGRAM, parsed
from depot_lite.errors import ConfigurationError, DepotError
from depot_lite.maintenance.backup import copy_files
from depot_lite.maintenance.migration import migrate
from depot_lite.maintenance.missing import find_missing
from depot_lite.maintenance.run.reports import Watcher
from depot_lite.maintenance.statistics import statistics
from depot_lite.maintenance.unused import delete_unused_files, find_unused
from depot_lite.maintenance.variants import regenerate_variants
from depot_lite.maintenance.verification import verify

#: What the exit code says.
NOTHING_FOUND: Final = 0
FOUND: Final = 1
COULD_NOT_RUN: Final = 2

#: Who deletes younger files is asked: few transactions last as long.
_YOUNG: Final = timedelta(minutes=1)


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words say, and return the exit code."""
    watch_signals()
    if sys.stderr is None:  # closed: then nobody is told anything
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # as long as the process
    words = sys.argv[1:] if words is None else words
    command = None
    try:
        arguments = parsed(words)
        command = _COMMANDS[arguments.command]
        return _run(command, arguments)
    except Stopped as stopped:
        goes_on = "" if command is None else f": {command.goes_on}"
        _say(f"stopped by {stopped}{goes_on}")
        return 128 + stopped.number
    except Exception as error:
        _say(f"error: {_described(error)}")
        if "--traceback" in words:
            traceback.print_exc(file=sys.stderr)
        return COULD_NOT_RUN


def _run(command: _Command, arguments: argparse.Namespace) -> int:
    output = open_output()
    with redirect_stdout(sys.stderr):  # what an application prints is no part of the report
        if arguments.app is None:
            raise WrongUsage("which application? --app package.module, or DEPOT_LITE_APP in the environment")
        if command.database == "needed" and not arguments.url:
            raise WrongUsage("which database? --url URL, or DATABASE_URL in the environment")
        _confirm(arguments)
        load_app(arguments.app)
        view = _view(command, arguments)
    try:
        write(output, document(view.data) if arguments.json else lines(view.lines))
    except OutputFailed as error:
        raise OutputFailed(f"the work is done, but {error}") from error
    return FOUND if view.found else NOTHING_FOUND


def _view(command: _Command, arguments: argparse.Namespace) -> View:
    with watching(sys.stderr, quiet=arguments.quiet) as watcher:
        if command.database == "none" or not arguments.url:
            return command.view(arguments, None, watcher)
        return with_database(arguments.url, lambda bind: command.view(arguments, bind, watcher))


def _confirm(arguments: argparse.Namespace) -> None:
    """Ask before files are deleted that a transaction may be about to name."""
    if arguments.command != "unused" or not arguments.delete or arguments.yes or arguments.older_than >= _YOUNG:
        return
    time = shown_duration(arguments.older_than)
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        raise WrongUsage(
            f"--delete --older-than {time} may delete files of transactions that have not committed, and here nobody "
            "can be asked: --yes says that none lasts as long"
        )
    sys.stderr.write(
        f"Files of transactions that last longer than {time} and have not committed will be lost.\nType yes to go on: "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "yes":
        raise WrongUsage("nothing was deleted")


# --- what is said -------------------------------------------------------------------------------------------------


def _say(line: str) -> None:
    try:
        sys.stderr.write(f"{PROGRAM}: {clean(line)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody listens


def _described(error: Exception) -> str:
    """Return an error in one line, with how to learn more where that may help."""
    if isinstance(error, WrongUsage | OutputFailed | ConfigurationError):
        return one_line(error)
    name = "" if isinstance(error, DepotError) else f"{type(error).__name__}: "
    more = "" if name == "" and error.__cause__ is None else " (--traceback shows more)"
    return f"{name}{one_line(error)}{more}"


# --- the commands -------------------------------------------------------------------------------------------------


class _Command(NamedTuple):
    """What a command does."""

    view: Callable[[argparse.Namespace, Any, Watcher | None], View]
    #: ``needed``, ``useful`` or ``none``.
    database: str
    #: How to go on after it was stopped.
    goes_on: str


def _unused(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> View:
    call = partial(delete_unused_files, settle=arguments.settle) if arguments.delete else find_unused
    report = call(bind, arguments.depot, older_than=arguments.older_than, protect=arguments.protect, progress=watcher)
    return findings.unused(report, arguments.older_than)


def _missing(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> View:
    return findings.missing(find_missing(bind, arguments.depot, progress=watcher))


def _verify(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> View:
    report = verify(
        bind,
        arguments.depot,
        sample=arguments.sample,
        state=arguments.state,
        workers=arguments.workers,
        rate=arguments.rate,
        progress=watcher,
    )
    return findings.verified(report, with_rows=bind is not None)


def _stats(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> View:
    return findings.counted_up(statistics(bind, arguments.depot, largest=arguments.largest, progress=watcher))


def _copy(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> View:
    report = copy_files(
        arguments.source,
        arguments.target,
        workers=arguments.workers,
        rate=arguments.rate,
        dry_run=arguments.dry_run,
        progress=watcher,
    )
    return moves.copied(report)


def _migrate(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> View:
    report = migrate(
        bind,
        arguments.source,
        arguments.target,
        workers=arguments.workers,
        rate=arguments.rate,
        dry_run=arguments.dry_run,
        progress=watcher,
    )
    return moves.migrated(report)


def _regenerate(arguments: argparse.Namespace, bind: Any, watcher: Watcher | None) -> View:
    report = regenerate_variants(
        bind,
        columns=arguments.columns or None,
        batch=arguments.batch,
        dry_run=arguments.dry_run,
        limit=arguments.limit,
        progress=watcher,
    )
    return moves.regenerated(report)


_AGAIN: Final = "nothing is half done, and the same command goes on with what is left"
_READS: Final = "nothing was changed, and the same command begins anew"

_COMMANDS: Final = {
    "unused": _Command(_unused, "needed", _AGAIN),
    "missing": _Command(_missing, "needed", _READS),
    "verify": _Command(_verify, "useful", f"{_READS}, or goes on where --state FILE says"),
    "stats": _Command(_stats, "needed", _READS),
    "migrate": _Command(_migrate, "needed", _AGAIN),
    "copy": _Command(_copy, "none", _AGAIN),
    "regenerate": _Command(_regenerate, "needed", _AGAIN),
}
