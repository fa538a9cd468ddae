"""How far the work is, on stderr: bars on a terminal, plain lines in a log.

This is the door to ``rich``, which is imported where bars are drawn, and nowhere else.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

from depot_lite.cli.failures import AppFailed
from depot_lite.cli.text import clean, counted, number, shown_time
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.run.reports import Progress, Watcher

#: Seconds between two lines about a step that goes on.
EVERY: Final = 10.0


@contextmanager
def watching(stream: TextIO, *, quiet: bool) -> Iterator[Watcher | None]:
    """Give what shows progress on a stream, as fits it; None where nobody wants to know.

    Raises:
        AppFailed: this is a terminal, and there is no `rich` to draw on it.
    """
    if quiet:
        yield None
    elif stream.isatty() and os.environ.get("TERM") != "dumb":
        with _bars(stream) as watcher:
            yield watcher
    else:
        yield Lines(stream)


# --- lines --------------------------------------------------------------------------------------------------------


class _Started:
    """When a step began, and when something was last said of it."""

    def __init__(self, now: float) -> None:
        self.since = now
        self.said = now


class Lines:
    """Writes a line when a step has ended, and one every ten seconds at most while it goes on."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._steps: dict[str, _Started] = {}
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        """Say how far a step is, if it is time."""
        with self._lock:
            now = self._clock()
            started = self._steps.setdefault(progress.step, _Started(now))
            if progress.finished:
                del self._steps[progress.step]
                self._write(_ended(progress, now - started.since))
            elif now - started.said >= EVERY:
                started.said = now
                self._write(_going_on(progress, now - started.since))

    def _write(self, line: str) -> None:
        try:
            self._stream.write(clean(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # whoever read it has gone; the work goes on


def _ended(progress: Progress, seconds: float) -> str:
    parts = [counted(progress.done, progress.unit), *_bytes(progress, seconds), f"in {shown_time(seconds)}"]
    return f"{progress.step}: {', '.join(parts)}"


def _going_on(progress: Progress, seconds: float) -> str:
    done = counted(progress.done, progress.unit)
    if progress.total is not None:
        done = f"{number(progress.done)} of {counted(progress.total, progress.unit)}"
    parts = [done, *_bytes(progress, seconds)]
    if progress.total and 0 < progress.done <= progress.total:
        parts.append(f"{shown_time(seconds / progress.done * (progress.total - progress.done))} left")
    return f"{progress.step}: {', '.join(parts)} ..."


def _bytes(progress: Progress, seconds: float) -> list[str]:
    if progress.bytes is None:
        return []
    return [shown_size(progress.bytes), *([_speed(progress.bytes / seconds)] if seconds >= 1 else [])]


def _speed(rate: float) -> str:
    return f"{shown_size(int(rate))}/s"


# --- bars ---------------------------------------------------------------------------------------------------------


@contextmanager
def _bars(stream: TextIO) -> Iterator[Watcher]:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Display
    except ImportError as error:
        raise AppFailed(
            "progress bars need rich: pip install 'depot_lite[cli]' (--quiet, or stderr in a file, does without)"
        ) from error
    console = Console(file=stream, highlight=False)
    display = Display(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        *(TextColumn(f"{{task.fields[{field}]}}", markup=False) for field in ("count", "rate", "size", "left")),
        console=console,
        redirect_stdout=False,
    )
    with display:
        console.show_cursor(True)  # a second Ctrl-C ends the process with nobody left to show it again
        yield _Bars(display)


class _Bars:
    """Draws a bar for each step."""

    def __init__(self, display: Any) -> None:
        self._display = display
        self._tasks: dict[str, tuple[Any, float]] = {}
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        """Draw how far a step is."""
        with self._lock:
            now = time.monotonic()
            if progress.step not in self._tasks:
                fields = dict.fromkeys(("count", "rate", "size", "left"), "")
                self._tasks[progress.step] = self._display.add_task(clean(progress.step), total=None, **fields), now
            task, since = self._tasks[progress.step]
            seconds = now - since
            # A step that is over is full, also where nobody knew how long it would be.
            total = max(progress.done, 1) if progress.finished else progress.total
            done = total if progress.finished else progress.done
            self._display.update(task, total=total, completed=done, **_fields(progress, seconds))
            if progress.finished:
                del self._tasks[progress.step]
                self._display.stop_task(task)


def _fields(progress: Progress, seconds: float) -> dict[str, str]:
    done = counted(progress.done, progress.unit)
    if progress.total is not None and not progress.finished:
        done = f"{number(progress.done)}/{counted(progress.total, progress.unit)}"
    rate = f"{number(int(progress.done / seconds))}/s" if seconds >= 1 else ""
    left = f"in {shown_time(seconds)}" if progress.finished else ""
    if not progress.finished and progress.total and 0 < progress.done <= progress.total and seconds >= 1:
        left = f"{shown_time(seconds / progress.done * (progress.total - progress.done))} left"
    return {"count": done, "rate": rate, "size": " ".join(_bytes(progress, seconds)), "left": left}
