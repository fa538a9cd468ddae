"""The journal of a run: how far each step has come, for a run that ends early, and the file of ``--log``."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final, TextIO

from depot_lite.cli.arguments import PROGRAM, VERSION
from depot_lite.cli.errors import ApplicationFailed
from depot_lite.cli.output import printable
from depot_lite.cli.progress import LineWriter, reached
from depot_lite.maintenance.run.reports import Progress, Watcher

#: What maintenance says of single files, such as the ids that it has deleted, at the level INFO.
_logger: Final = logging.getLogger("depot_lite")


class Journal:
    """A watcher that remembers how far each step has come, and the log of a run.

    Args:
        arguments: the words of the command line.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._steps: dict[str, Progress] = {}
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self._lines: LineWriter | None = None

    # --- progress -------------------------------------------------------------------------------------------------

    def watcher(self, shown: Watcher | None) -> Watcher:
        """Return a watcher that records each progress, and passes it on to another watcher, which shows it."""

        def watch(progress: Progress) -> None:
            with self._lock:
                self._steps[progress.step] = progress
            for each in (shown, self._lines):
                if each is not None:
                    each(progress)

        return watch

    def reached(self) -> str:
        """Return how far the steps have come, in one line; empty if nothing has been done."""
        return "; ".join(reached(each) for each in self._steps.values() if each.done)

    def steps(self) -> list[dict[str, Any]]:
        """Return how far the steps have come, for JSON."""
        return [
            {
                "step": each.step,
                "done": each.done,
                "total": each.total,
                "unit": each.unit,
                "bytes": each.bytes,
                "finished": each.finished,
            }
            for each in self._steps.values()
        ]

    # --- log ------------------------------------------------------------------------------------------------------

    def open(self, path: str) -> None:
        """Append everything from here on to a file.

        Raises:
            ApplicationFailed: the file cannot be opened.
        """
        try:
            self._file = open(path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115  # until `close`
        except OSError as error:
            raise ApplicationFailed(f"--log {path}: {error.strerror or error}") from error
        self._lines = LineWriter(self._file)
        _logger.setLevel(min(_logger.level or logging.INFO, logging.INFO))
        self.say(f"{PROGRAM} {VERSION}, process {os.getpid()}: {' '.join(map(_without_password, self._arguments))}")

    def say(self, line: str) -> None:
        """Write a line into the log, with the time."""
        if self._lines is not None:
            self._lines.write(line)

    def close(self, code: int) -> None:
        """End the log with the exit code."""
        self.say(f"exit code {code}")
        if self._file is not None:
            self._lines = None
            try:
                self._file.close()
            except OSError as error:  # of the lines that were not written until now
                show(f"warning: --log {self._file.name} is not complete: {error.strerror or error}")


class Messages(logging.Handler):
    """A handler that writes warnings to stderr as messages of the command, and everything into the log."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.INFO)
        self._journal = journal

    def __enter__(self) -> Messages:
        _logger.addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        _logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; its traceback only into the log."""
        self._journal.say(f"{record.levelname.lower()}: {self.format(record)}")
        if record.levelno >= logging.WARNING and not logging.getLogger().handlers:
            show(f"{record.levelname.lower()}: {record.getMessage()}")


def show(line: str) -> None:
    """Write a message to stderr."""
    show_lines([f"{PROGRAM}: {printable(line)}"])


def show_lines(lines: Iterable[str]) -> None:
    """Write the lines of a report to stderr."""
    try:
        sys.stderr.writelines(f"{line}\n" for line in lines)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # stderr is gone


def _without_password(word: str) -> str:
    """Return a word of the command line; of a URL, which may contain a password, only its beginning."""
    return f"{word.partition('://')[0]}://..." if "://" in word else word
