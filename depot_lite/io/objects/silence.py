"""Servers that do not answer: how long a storage waits for one, and when it gives up.

A request waits for `Patience.read` until the server sends its next bytes, and for `Patience.connect` until there is a
connection. A call that nobody answers repeats its request once, and gives up after two thirds of `Patience.timeout`.
The last third is for one request that cleans up after an upload, so that this, too, has an end within the timeout.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple, Self

from depot_lite.errors import StorageTimeout
from depot_lite.io.options import seconds

#: The share of a silence that was waiting, at least: a busy machine takes time between two requests.
_SHARE: Final = 0.8
#: Why a storage was not asked.
_NOT_ASKED: Final = "the server has not answered for {silence:.0f} seconds and is not asked for this"


class Patience(NamedTuple):
    """How many seconds a storage waits for its server."""

    #: A call without progress, with the request that cleans up after it.
    timeout: float
    #: The server's own work without a sign of progress: a copy, the completion of an upload in parts.
    copy_timeout: float

    @classmethod
    def of(cls, timeout: object, copy_timeout: object) -> Self:
        """Return the patience for the values of options.

        Raises:
            ConfigurationError: one of them is no positive duration.
        """
        return cls(seconds("timeout", timeout), seconds("copy_timeout", copy_timeout))

    @property
    def connect(self) -> float:
        """How long a connection may take."""
        return min(5.0, self.read)

    @property
    def read(self) -> float:
        """How long the next bytes may take."""
        return self.timeout / 3

    @property
    def limit(self) -> float:
        """How long a call waits in vain, all repetitions together."""
        return self.timeout * 2 / 3


#: The default of the options.
DEFAULT: Final = Patience(60.0, 300.0)


class Silence:
    """The silence of a server, as all threads of a storage hear it.

    The state is three numbers, which threads may overwrite at the same time: the result is late by a moment then.
    """

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        # When the first request in vain began, None if one was answered since; and when the last one ended.
        self._since: float | None = None
        self._until = 0.0
        self._heard = 0.0

    def heard(self) -> None:
        """Record that the server has answered."""
        self._since = None
        self._heard = time.monotonic()

    def missed(self, began: float) -> float:
        """Record that a request which began then was not answered; return the length of the silence."""
        since, now, began = self._since, time.monotonic(), max(began, self._heard)
        if since is None or self._is_over(began):
            self._since = since = began
        self._until = now
        return now - since

    def is_silence(self, waited: float) -> bool:
        """Return whether a request that failed had waited: a connection that the server had closed fails at once."""
        return waited >= min(1.0, self.patience.read / 2)

    def is_enough(self, waited: float, silence: float, next_one: float) -> bool:
        """Return whether a request is not to be repeated.

        Args:
            waited: how long the call has waited in vain.
            silence: how long nobody was answered, the time between requests included.
            next_one: how long the repeated request may take.
        """
        return max(waited, _SHARE * silence) + next_one > self.patience.limit * 1.01

    def check(self, what: str) -> None:
        """Raise StorageTimeout if the server was silent for the whole timeout until now.

        It is then not asked to delete anything: maintenance finds what stays.
        """
        since = self._since
        if since is not None and self._until - since >= self.patience.timeout and not self._is_over(time.monotonic()):
            raise StorageTimeout(f"cannot {what}: {_NOT_ASKED.format(silence=self._until - since)}")

    def _is_over(self, when: float) -> bool:
        """Return whether the last request was so long ago that nothing is known of the server."""
        return when - self._until > self.patience.read
