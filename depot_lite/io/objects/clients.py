"""Clients that are made at their first use: `PerProcess`, and the connection to a bucket."""

from __future__ import annotations

import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
Urls = TypeVar("Urls")


class PerProcess(Generic[T]):
    """A value that is made at its first use, and again in the child after a fork.

    Two processes that use one connection get each other's answers. The parent's value is kept in the child: closing it
    would end the work of the parent.
    """

    def __init__(self) -> None:
        self._made: tuple[int, T] | None = None
        self._inherited: list[tuple[int, T]] = []
        self._reset()
        _values.add(self)

    def _reset(self) -> None:
        # One of the parent's may be locked for ever in the child.
        self._lock = threading.Lock()

    def get(self, make: Callable[[], T]) -> T:
        """Return the value of this process, made by ``make`` at its first use."""
        made = self._made
        if made is None or made[0] != os.getpid():
            with self._lock:
                made = self._made
                if made is None or made[0] != os.getpid():
                    if made is not None:
                        self._inherited.append(made)
                    made = self._made = os.getpid(), make()
        return made[1]

    def take(self) -> T | None:
        """Return the value of this process, None if there was no use. The next use makes another."""
        with self._lock:
            made, self._made = self._made, None
        return made[1] if made is not None and made[0] == os.getpid() else None


_values: Final[weakref.WeakSet[PerProcess[Any]]] = weakref.WeakSet()


def _forget_parent() -> None:
    for value in list(_values):
        value._reset()


os.register_at_fork(after_in_child=_forget_parent)


class BucketConnection(ABC, Generic[Urls]):
    """The client of a storage, which all threads share, and its bucket.

    The client is not made in the constructor: looking for credentials may use the network.

    Args:
        ready: a client to use, None to make one.
        create_bucket: whether the first use makes the bucket if it is missing.
    """

    def __init__(self, bucket: str, ready: Any, *, create_bucket: bool) -> None:
        self.bucket = bucket
        self._ready = ready
        self._create_bucket = create_bucket
        self._made = PerProcess[tuple[Any, Urls]]()
        # Whether the bucket is known to exist.
        self._seen = False

    @abstractmethod
    def _new_client(self) -> Any:
        """Return a new client of the library."""

    @abstractmethod
    def _new_urls(self, client: Any) -> Urls:
        """Return the URLs of the bucket's objects."""

    @abstractmethod
    def _make_bucket(self, client: Any) -> None:
        """Make the bucket, unless it exists. Several threads may do so at once."""

    @abstractmethod
    def _look_for_bucket(self) -> None:
        """Raise `StorageFailed` if the bucket does not exist."""

    def _make(self) -> tuple[Any, Urls]:
        client = self._new_client() if self._ready is None else self._ready
        return client, self._new_urls(client)

    @property
    def client(self) -> Any:
        """The client, once the bucket has been made if that was asked for."""
        if self._create_bucket and not self._seen:
            # Without a lock: if the server is silent, threads would wait one after the other.
            self._make_bucket(self.bare_client)
            self._seen = True
        return self.bare_client

    @property
    def bare_client(self) -> Any:
        """The client, for work that needs no bucket."""
        return self._made.get(self._make)[0]

    @property
    def urls(self) -> Urls:
        """The URLs of the bucket's objects, for which the bucket need not exist."""
        return self._made.get(self._make)[1]

    def check_bucket(self) -> None:
        """Raise `StorageFailed` if the bucket does not exist.

        A server's answer about a missing object may not say that its bucket is missing. So the first such answer is
        checked, lest a typing error in the bucket's name make all files look missing.
        """
        if not self._seen:
            self._look_for_bucket()
            self._seen = True
