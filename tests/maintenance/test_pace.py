"""Pace and Window: how fast bytes move, and how many transfers there are."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance.run.pace import Pace, Window


def test_a_rate_holds_over_all_threads() -> None:
    """A hundred thousand bytes at a million a second take a tenth of a second, however many threads there are."""
    pace, began = Pace(1_000_000), time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(pace.take, [10_000] * 10))
    assert time.monotonic() - began >= 0.0999


def test_a_file_is_read_at_the_pace_and_whole() -> None:
    """Its name and type are those of the file, its bytes come in order, from any position."""
    storage = MemoryFileStorage()
    data = bytes(range(256)) * 400
    pace, began = Pace(1_000_000), time.monotonic()
    with storage.get(storage.create(data, "a.bin")) as stored, pace.paced(stored) as paced:
        assert (paced.filename, paced.content_length) == ("a.bin", len(data))
        assert paced.read() == data
        assert time.monotonic() - began >= 0.1
        paced.seek(1000)
        assert paced.read(5) == data[1000:1005]
        assert paced.tell() == 1005


def test_without_a_rate_a_file_is_left_as_it_is() -> None:
    """So that storages can copy it as they like."""
    storage = MemoryFileStorage()
    with storage.get(storage.create(b"x")) as stored:
        assert Pace(None).paced(stored) is stored


def test_stopping_ends_a_wait() -> None:
    """Nobody waits hours for the rest of a large file."""
    pace = Pace(1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pace.take, 1_000_000)
        pace.stop()
        with pytest.raises(MaintenanceStopped):
            waiting.result()


@pytest.mark.parametrize("rate", [0, -1, 1.5, True, "fast"])
def test_a_rate_that_cannot_be_is_refused(rate: object) -> None:
    with pytest.raises(ConfigurationError, match="rate="):
        Pace(rate)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, -1, 1001, "many"])
def test_a_number_of_workers_that_cannot_be_is_refused(workers: object) -> None:
    with pytest.raises(ConfigurationError, match="workers="):
        Window(workers)  # type: ignore[arg-type]


def test_a_slow_job_holds_up_no_other() -> None:
    """Results come as they are ready."""
    slow = threading.Event()
    with Window[int](2) as window:
        window.submit(lambda: int(slow.wait(20)) + 100)
        found: list[int] = []
        for number in range(20):
            window.submit(lambda number=number: number)  # type: ignore[misc]
            while not window.has_room:
                found += window.results()
        while len(found) < 20:
            found += window.results()
        assert sorted(found) == list(range(20))
        slow.set()
        assert window.results() == [101]
        assert window.results() == []


def test_all_workers_are_busy_at_once_and_no_more() -> None:
    """As many jobs as there are workers meet; one more would have had to wait."""
    meeting = threading.Barrier(4)
    with Window[int](4) as window:
        for _ in range(8):
            window.submit(lambda: meeting.wait(20))
        assert not window.has_room
        found: list[int] = []
        while ready := window.results():
            found += ready
    assert sorted(found) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_what_a_job_raises_is_raised_where_results_are_taken() -> None:
    """And running jobs come to their end."""
    ended = threading.Event()

    def fail() -> None:
        raise ValueError("no")

    with Window[None](2) as window:
        window.submit(ended.set)
        window.submit(fail)
        with pytest.raises(ValueError, match="no"):
            _take_all(window)
    assert ended.is_set()


def _take_all(window: Window[None]) -> None:
    while window.results():
        pass
