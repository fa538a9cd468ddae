"""Outages: which part of a composite storage was down a moment ago, so that not every call waits for it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from depot_lite.errors import StorageFailed, StoredFileNotFound
from depot_lite.io.interfaces import FileStorage


class Outage:
    """The memory of one storage that did not answer, in this process.

    While it is remembered, calls fail at once. When the time is over, one caller tries again. The others go on failing
    until it knows more, or for as long again. Threads may overwrite the state at the same time: then two callers try.

    Args:
        storage: the part, for messages.
        seconds: how long it is not asked again.
    """

    def __init__(self, storage: FileStorage, seconds: float) -> None:
        self._storage = storage
        self._seconds = seconds
        self._failure: StorageFailed | None = None
        # When it may be tried again.
        self._until = 0.0

    def __reduce__(self) -> Any:
        """Let composites be copied and pickled: a copy remembers nothing, since other processes have other clocks."""
        return Outage, (self._storage, self._seconds)

    def check(self) -> None:
        """Raise StorageFailed if the storage is down, and not to be tried now."""
        failure = self._failure
        if failure is not None and monotonic() < self._until:
            refusal = type(failure)(f"{self._storage!r} is down and is not asked for a while: {failure}")
            refusal.is_down = True
            raise refusal

    @contextmanager
    def asked(self) -> Iterator[list[Exception]]:
        """Ask the storage, and remember the outcome. An error that is no answer, such as an interrupt, tells nothing.

        Failures that a call returns instead of raising are put into the list.

        Raises:
            StorageFailed: it is down, and was not asked.
        """
        self.check()
        if self._failure is not None:
            self._until = monotonic() + self._seconds
        returned = list[Exception]()
        try:
            yield returned
        except (StorageFailed, StoredFileNotFound) as error:
            self.note(error)
            raise
        down = (each for each in returned if isinstance(each, StorageFailed) and each.is_down)
        self.note(next(down, None))

    def note(self, error: Exception | None) -> None:
        """Remember how a call has ended. That the source of a copy could not be read tells nothing."""
        if isinstance(error, StorageFailed) and error.of_source:
            return
        if isinstance(error, StorageFailed) and error.is_down:
            self.begin(error)
        else:
            self._failure = None

    def begin(self, error: StorageFailed) -> None:
        """Remember that nobody answered."""
        # Without its traceback, which would keep the caller's variables.
        self._failure = type(error)(str(error))
        self._until = monotonic() + self._seconds
