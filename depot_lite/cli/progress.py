"""Progress on stderr: a bar on a terminal, lines with times in a log.

Only the bar needs ``rich``, so it is imported there and nowhere else.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO

from depot_lite.cli.errors import ApplicationFailed
from depot_lite.cli.output import format_count, format_number, printable
from depot_lite.cli.phases import Position
from depot_lite.durations import format_elapsed
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.run.reports import Progress, Watcher

#: Seconds between two lines about a step in progress.
INTERVAL: Final = 10.0


@contextmanager
def show_progress(stream: TextIO, phases: Sequence[str] = (), *, quiet: bool) -> Iterator[Watcher | None]:
    """Provide a watcher that writes progress to a stream; None if it is to be quiet.

    Args:
        phases: the names of the steps, or the beginnings of their names.

    Raises:
        ApplicationFailed: the stream is a terminal, and `rich` is not installed.
    """
    if quiet:
        yield None
    elif stream.isatty() and os.environ.get("TERM") != "dumb":
        with _bar(stream, phases) as watcher:
            yield watcher
    else:
        yield LineWriter(stream)


# --- lines --------------------------------------------------------------------------------------------------------


class _StepTimes:
    """The times at which a step began and was last reported."""

    def __init__(self, now: float) -> None:
        self.began = now
        self.reported = now


class LineWriter:
    """A watcher that writes a line at the end of each step, and one every ten seconds until then."""

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._now = now
        self._steps: dict[str, _StepTimes] = {}
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        """Write a line about a step if one is due."""
        with self._lock:
            now = self._clock()
            times = self._steps.setdefault(progress.step, _StepTimes(now))
            if progress.finished:
                del self._steps[progress.step]
                self.write(_finished_line(progress, now - times.began))
            elif now - times.reported >= INTERVAL:
                times.reported = now
                self.write(_progress_line(progress, now - times.began))

    def write(self, line: str) -> None:
        """Write a line, behind the time in UTC."""
        try:
            self._stream.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(self._now()))} {printable(line)}\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the reader of the log is gone; the work continues


def _finished_line(progress: Progress, seconds: float) -> str:
    parts = [format_count(progress.done, progress.unit), *_bytes(progress, seconds), f"in {format_elapsed(seconds)}"]
    return f"{progress.step}: {', '.join(parts)}"


def _progress_line(progress: Progress, seconds: float) -> str:
    parts = [_done(progress), *_bytes(progress, seconds)]
    if progress.total and 0 < progress.done <= progress.total:
        parts.append(f"{format_elapsed(seconds / progress.done * (progress.total - progress.done))} left")
    return f"{progress.step}: {', '.join(parts)} ..."


def reached(progress: Progress) -> str:
    """Return a step and how far it has come: ``copying: 41,000 of 303,112 files, 18.9 GiB``."""
    return f"{progress.step}: {', '.join([_done(progress), *_bytes(progress, 0)])}"


def _done(progress: Progress) -> str:
    if progress.total is None or progress.finished:
        return format_count(progress.done, progress.unit)
    return f"{format_number(progress.done)} of {format_count(progress.total, progress.unit)}"


def _bytes(progress: Progress, seconds: float) -> list[str]:
    if progress.bytes is None:
        return []
    return [shown_size(progress.bytes), *([_speed(progress.bytes / seconds)] if seconds >= 1 else [])]


def _speed(rate: float) -> str:
    return f"{shown_size(int(rate))}/s"


# --- the bar ------------------------------------------------------------------------------------------------------


@contextmanager
def _bar(stream: TextIO, phases: Sequence[str]) -> Iterator[Watcher]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Display
        from rich.table import Column
    except ImportError as error:
        raise ApplicationFailed(
            "progress bars need rich: pip install 'depot_lite[cli]' (not needed with --quiet, or with stderr in a file)"
        ) from error
    console = Console(file=stream, highlight=False, markup=False)
    texts = ("{task.description}", *(f"{{task.fields[{field}]}}" for field in _FIELDS))
    # One line, however narrow the terminal is.
    label, *fields = (TextColumn(each, markup=False, table_column=Column(no_wrap=True)) for each in texts)
    display = Display(
        label, BarColumn(), TaskProgressColumn(), *fields, console=console, redirect_stdout=False, transient=True
    )
    with display:
        console.show_cursor(True)  # a second Ctrl-C ends the process, which could not show it again
        yield _BarDrawer(display, Position(phases))


class _BarDrawer:
    """A watcher that draws one bar for the whole job, of the step under way."""

    def __init__(self, display: Any, position: Position) -> None:
        self._display = display
        self._position = position
        self._task: Any = None
        self._step: str | None = None
        self._began = 0.0
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        """Draw how far a step has come; a finished one stays until the next begins."""
        with self._lock:
            now = time.monotonic()
            if self._step != progress.step:
                self._begin(progress.step, now)
            self._display.update(
                self._task, total=progress.total, completed=progress.done, **_fields(progress, now - self._began)
            )
            if progress.finished:
                self._step = None

    def _begin(self, step: str, now: float) -> None:
        self._step, self._began = step, now
        if self._task is not None:  # another one instead of `reset`, which would keep the total of the step before
            self._display.remove_task(self._task)
        label, fields = printable(self._position.label(step)), dict.fromkeys(_FIELDS, "")
        self._task = self._display.add_task(label, total=None, **fields)


_FIELDS: Final = ("count", "rate", "size", "left")


def _fields(progress: Progress, seconds: float) -> dict[str, str]:
    done = format_count(progress.done, progress.unit)
    if progress.total is not None:
        done = f"{format_number(progress.done)}/{format_count(progress.total, progress.unit)}"
    rate = f"{format_number(int(progress.done / seconds))}/s" if seconds >= 1 else ""
    left = ""
    if progress.total and 0 < progress.done <= progress.total and seconds >= 1:
        left = f"{format_elapsed(seconds / progress.done * (progress.total - progress.done))} left"
    return {"count": done, "rate": rate, "size": " ".join(_bytes(progress, seconds)), "left": left}
