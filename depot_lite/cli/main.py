"""The command ``depot-lite``: runs one command and returns its exit code."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any, Final, TextIO

from depot_lite.cli.application import load_application
from depot_lite.cli.arguments import parse_arguments
from depot_lite.cli.commands import COMMANDS, Command
from depot_lite.cli.database import with_database, with_engine
from depot_lite.cli.errors import JobRunning, OutputFailed, Stopped, WrongUsage, one_line, watch_signals
from depot_lite.cli.failures import failure_lines, failures_so_far
from depot_lite.cli.journal import Journal, Messages, show, show_lines
from depot_lite.cli.locks import only_run
from depot_lite.cli.output import LINES, json_document, open_output, with_line_ends, write, write_bytes
from depot_lite.cli.phases import phases_of
from depot_lite.cli.progress import show_progress
from depot_lite.cli.reports.partial import partial_data, partial_lines
from depot_lite.cli.reports.report import Report
from depot_lite.depots import Depots
from depot_lite.durations import format_duration
from depot_lite.errors import ConfigurationError, DepotError
from depot_lite.maintenance.memory import MEMORY, limited_memory

# Exit codes of runs without a report; `Report` has the others.
COULD_NOT_RUN: Final = 2
#: EX_TEMPFAIL of sysexits.h: the same command may work later.
RUNNING: Final = 75

#: The version of the JSON documents: keys may be added to a version, but never change or disappear.
SCHEMA: Final = 1

#: The command asks before it deletes younger files: few transactions last as long.
_YOUNG: Final = timedelta(minutes=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with its arguments, those of the process by default, and return the exit code."""
    watch_signals()
    if sys.stderr is None:  # closed: messages are dropped
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # as long as the process
    run = _Run(sys.argv[1:] if arguments is None else arguments)
    with Messages(run.journal):
        code = run.execute()
    run.journal.close(code)
    return code


class _Run:
    """One run of the command, from its arguments to its exit code."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = arguments
        self.journal = Journal(arguments)
        self.options = argparse.Namespace(command=None)
        # Whether a part of the report was written, which another document must not follow.
        self.has_begun = False

    def execute(self) -> int:
        """Run the command and return its exit code; an error or a signal is reported, not raised."""
        try:
            self.options = parse_arguments(self.arguments)
            if self.options.log is not None:
                self.journal.open(self.options.log)
            return self._run(COMMANDS[self.options.command])
        except Stopped as stopped:
            after_stop = COMMANDS[self.options.command].after_stop if self.options.command else ""
            message = f"stopped by {stopped}{after_stop and f': {after_stop}'}"
            return self._end(message, stopped, 128 + stopped.number)
        except Exception as error:
            code = RUNNING if isinstance(error, JobRunning) else COULD_NOT_RUN
            return self._end(f"error: {_describe(error)}", error, code)

    def _run(self, command: Command) -> int:
        output = open_output()
        with redirect_stdout(sys.stderr):  # the application's own prints are not part of the report
            if command.database != "no application":
                self._load(command)
            with limited_memory(self.options.memory or MEMORY):
                report = self._execute(command)
        if report.content is None and self.options.log is not None:
            report = self._logged(report)
        self._write(output, report)
        return report.exit_code

    def _logged(self, report: Report) -> Report:
        """Return the report, whose first line is written into the log."""
        lines = iter(report.lines)
        first = next(lines, "")
        self.journal.say(first)
        return replace(report, lines=chain([first], lines))

    def _load(self, command: Command) -> None:
        if self.options.app is None:
            raise WrongUsage("no application given: --app package.module, or DEPOT_LITE_APP in the environment")
        if command.database == "needed" and not (self.options.url or self.options.engine):
            raise WrongUsage(
                "no database given: --url URL, --engine package.module:name, or DATABASE_URL in the environment"
            )
        _confirm(self.options)
        load_application(self.options.app)

    def _execute(self, command: Command) -> Report:
        with show_progress(sys.stderr, phases_of(self.options), quiet=self.options.quiet) as shown:
            watcher = self.journal.watcher(shown)

            def call(bind: Any) -> Report:
                alone = command.is_exclusive(self.options)
                with only_run(_real_job(self.options), bind) if alone else nullcontext():
                    return command.execute(self.options, bind, watcher)

            uses = any(vars(self.options).get(each) for each in ("share", "prune"))
            needless = command.database in {"none", "no application"} and not uses
            if needless or not (self.options.url or self.options.engine):
                return call(None)
            if self.options.engine:
                return with_engine(self.options.engine, call)
            return with_database(self.options.url, call)

    def _write(self, output: TextIO, report: Report) -> None:
        self.has_begun = True
        data = {"schema": SCHEMA, **report.data}
        try:
            if report.content is not None:
                write_bytes(output, report.content)
            else:
                write(output, json_document(data) if self.options.json else with_line_ends(report.lines))
        except OutputFailed as error:
            raise OutputFailed(f"the work is done, but {error}") from error

    def _end(self, message: str, error: BaseException, code: int) -> int:
        """Report the end of a run that has no report, and how far it has come."""
        reached = self.journal.reached()
        if reached:
            reached = f"progress of {_job(self.options)}: {reached}"
            show(reached)
            self.journal.say(reached)
        self._tell_what_was_found(error)
        show(message)
        self.journal.say(message)
        if "--traceback" in self.arguments and isinstance(error, Exception):
            traceback.print_exception(error, file=sys.stderr)
        if ("--json" in self.arguments or getattr(self.options, "json", False)) and not self.has_begun:
            self._write_error(message, error, code)
        return code

    def _tell_what_was_found(self, error: BaseException) -> None:
        failures = failures_so_far(error)
        if lines := partial_lines(error, self.options):
            show("found until then, which is not all:")
            show_lines(lines)
        else:
            for line in failure_lines(failures, LINES):
                show(line)
        for line in failure_lines(failures, len(failures)):
            self.journal.say(line)

    def _write_error(self, message: str, error: BaseException, code: int) -> None:
        document = {
            "schema": SCHEMA,
            "command": self.options.command,
            "job": _job(self.options) or None,
            "error": {"type": type(error).__name__, "message": message.removeprefix("error: ")},
            "exit": code,
            "progress": self.journal.steps(),
            "failed": [{"name": name, "error": reason} for name, reason in failures_so_far(error)],
            "partial": partial_data(error, self.options),
        }
        with suppress(OutputFailed):
            write(open_output(), json_document(document))


def _job(options: argparse.Namespace) -> str:
    """Return the name of a job: the command and its depots."""
    words = [getattr(options, name, None) for name in ("command", "depot", "replacement", "source", "target")]
    if options.command in {"unused", "claim"} and options.depot is None:
        with suppress(ConfigurationError):  # no depot is configured
            words.append(Depots.get_default())
    return " ".join(each for each in words if each)


def _real_job(options: argparse.Namespace) -> str:
    """Return the name of a job with the real names of its depots, for its lock; the parts of a job are jobs."""
    depots = [getattr(options, name) for name in ("depot", "source", "target") if hasattr(options, name)]
    part = getattr(options, "part", None)
    names = [Depots.resolve_alias(each or Depots.get_default()) for each in depots]
    return " ".join([options.command, *names, *([] if part is None else [f"part {part}"])])


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


def _describe(error: Exception) -> str:
    """Return an error in one line, with a hint at --traceback if that would show more."""
    if isinstance(error, WrongUsage | OutputFailed | ConfigurationError):
        return one_line(error)
    name = "" if isinstance(error, DepotError) else f"{type(error).__name__}: "
    hint = "" if name == "" and error.__cause__ is None else " (--traceback shows more)"
    return f"{name}{one_line(error)}{hint}"
