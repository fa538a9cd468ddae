"""What maintenance tells: how far it is, and what it found. Plain data; nothing here is printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from depot_lite.maintenance.ids import FoundFiles


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is: ``listing``, ``reading movie.poster``, ``deleting``."""

    step: str
    #: How many are done.
    done: int
    #: Of how many; None where nobody knows.
    total: int | None = None
    #: What is counted: ``files`` or ``rows``.
    unit: str = "files"
    #: How many bytes were moved or read so far; None where none are.
    bytes: int | None = None
    #: Whether the step is over.
    finished: bool = False


#: What is told of progress: called in the thread that works, a few times a second at most, and at the end of each step.
Watcher = Callable[[Progress], Any]


class Step:
    """One step of a job, which tells a watcher how far it is; a context manager."""

    def __init__(self, watcher: Watcher | None, name: str, total: int | None = None, unit: str = "files") -> None:
        self._watcher = watcher
        self._name = name
        self._unit = unit
        self._next = 0.0
        self.total = total
        self.done = 0
        self.bytes: int | None = None

    def add(self, count: int = 1, size: int | None = None) -> None:
        """Count what was done, and its bytes."""
        self.done += count
        if size is not None:
            self.bytes = (self.bytes or 0) + size
        if self._watcher is not None and time.monotonic() >= self._next:
            self._tell(finished=False)
            self._next = time.monotonic() + _INTERVAL

    def __enter__(self) -> Step:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._watcher is not None and kind is None:
            self._tell(finished=True)

    def _tell(self, *, finished: bool) -> None:
        if self._watcher is not None:
            self._watcher(Progress(self._name, self.done, self.total, self._unit, self.bytes, finished))


#: Seconds between two calls of a watcher.
_INTERVAL: Final = 0.1


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row that was left as it was."""

    #: ``table.column``.
    place: str
    #: Its primary key.
    key: tuple[Any, ...]
    #: The file that is to blame, where it is one.
    path: str | None
    error: Exception


@dataclass(slots=True)
class UnusedReport:
    """Which files of a depot no row names."""

    depot: str
    #: What is older counts as unused.
    before: datetime
    #: Files in the listing, whole or not.
    listed: int = 0
    #: Of these, named by a row or by what is protected.
    named: int = 0
    #: Not named, and too young to be called unused: a transaction may be about to name them.
    young: int = 0
    #: Not named, old enough, and kept by the ``keep_if`` hook.
    kept: int = 0
    #: Not named, and gone by themselves before they were looked at.
    gone: int = 0
    #: The unused files. After a deletion, those that were to be deleted.
    files: FoundFiles = field(default_factory=FoundFiles)
    #: How many were deleted; None after a dry run.
    deleted: int | None = None
    #: File id -> error, where a deletion failed. The other files were deleted nevertheless.
    failed: dict[str, Exception] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of the unused files together."""
        return self.files.bytes
