"""Progress on stderr: a bar on a terminal, lines with times in a log.

Only the bar needs ``rich``, so it is imported there and nowhere else.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

from depot_lite.cli.errors import ApplicationFailed
from depot_lite.cli.output import format_count, format_number, printable
from depot_lite.durations import format_elapsed
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.run.reports import Progress, Watcher

#: Seconds between two lines about a step in progress.
INTERVAL: Final = 10.0


@contextmanager
def show_progress(stream: TextIO, *, quiet: bool) -> Iterator[Watcher | None]:
    """Provide a watcher that writes progress to a stream; None if it is to be quiet.

    Raises:
        ApplicationFailed: the stream is a terminal, and `rich` is not installed.
    """
    if quiet:
        yield None
    elif stream.isatty() and os.environ.get("TERM") != "dumb":
        with _bars(stream) as watcher:
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
def _bars(stream: TextIO) -> Iterator[Watcher]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Display
    except ImportError as error:
        raise ApplicationFailed(
            "progress bars need rich: pip install 'depot_lite[cli]' (not needed with --quiet, or with stderr in a file)"
        ) from error
    console = Console(file=stream, highlight=False, markup=False)
    display = Display(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        *(TextColumn(f"{{task.fields[{field}]}}", markup=False) for field in ("count", "rate", "size", "left")),
        console=console,
        redirect_stdout=False,
        transient=True,
    )
    with display:
        console.show_cursor(True)  # a second Ctrl-C ends the process, which could not show it again
        yield _BarDrawer(display)


class _BarDrawer:
    """A watcher that draws one bar, of the step under way, below a line for each finished step."""

    def __init__(self, display: Any) -> None:
        self._display = display
        self._steps: dict[str, float] = {}
        self._task: Any = None
        self._shown: str | None = None
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        """Draw the bar of a step, or the line of a finished one."""
        with self._lock:
            now = time.monotonic()
            seconds = now - self._steps.setdefault(progress.step, now)
            if progress.finished:
                del self._steps[progress.step]
                self._show(None)
                self._display.console.print(printable(_finished_line(progress, seconds)))
                return
            if self._shown != progress.step:
                self._show(progress.step)
            self._display.update(
                self._task, total=progress.total, completed=progress.done, **_fields(progress, seconds)
            )

    def _show(self, step: str | None) -> None:
        """Replace the bar by the bar of another step, or remove it for None."""
        if self._task is not None:
            self._display.remove_task(self._task)
        self._shown, self._task = step, None
        if step is not None:
            fields = dict.fromkeys(("count", "rate", "size", "left"), "")
            self._task = self._display.add_task(printable(step), total=None, **fields)


def _fields(progress: Progress, seconds: float) -> dict[str, str]:
    done = format_count(progress.done, progress.unit)
    if progress.total is not None:
        done = f"{format_number(progress.done)}/{format_count(progress.total, progress.unit)}"
    rate = f"{format_number(int(progress.done / seconds))}/s" if seconds >= 1 else ""
    left = ""
    if progress.total and 0 < progress.done <= progress.total and seconds >= 1:
        left = f"{format_elapsed(seconds / progress.done * (progress.total - progress.done))} left"
    return {"count": done, "rate": rate, "size": " ".join(_bytes(progress, seconds)), "left": left}
