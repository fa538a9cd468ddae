"""Waiting for work that goes on in threads after a cancellation."""

from __future__ import annotations

from typing import Final

from depot_lite.concurrency.pools import SESSIONS, ThreadPool
from depot_lite.io.interfaces import FileStorage

#: How long anything may take, in seconds.
DEADLINE: Final = 20


def settle(*storages: FileStorage) -> None:
    """Wait until nothing goes on in the threads of the storages, and in those of sessions."""
    for storage in storages:
        pools = storage.thread_pools
        for pool in (pools.reading, pools.storing, pools.receiving):
            assert isinstance(pool, ThreadPool)
            assert pool.join(DEADLINE), pool
    assert SESSIONS.join(DEADLINE)
