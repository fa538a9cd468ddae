"""A worker of Dramatiq in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
from dramatiq.brokers.stub import StubBroker


@contextmanager
def working(broker: StubBroker) -> Iterator[None]:
    """Run a worker."""
    worker = dramatiq.Worker(broker, worker_timeout=10, worker_threads=2)
    worker.start()
    try:
        yield
    finally:
        worker.stop()
