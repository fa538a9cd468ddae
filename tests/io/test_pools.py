"""Pools of threads."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import pytest

from depot_lite.concurrency.pools import ThreadPool
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from tests.support.children import in_child
from tests.support.settling import settle

#: How long anything may take, in seconds.
DEADLINE: Final = 20


def _threads_named(name: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith(name)]


def test_there_are_as_many_threads_as_work_and_never_more_than_the_limit() -> None:
    """None without work; each call waits for the others, which shows that they run at once."""
    pool, meeting = ThreadPool("test limit", 4), threading.Barrier(4, timeout=DEADLINE)
    assert pool.threads == 0
    calls = [pool.submit(meeting.wait) for _ in range(12)]
    assert sorted(each.result(DEADLINE) for each in calls) == sorted([0, 1, 2, 3] * 3)
    assert pool.threads == 4
    assert {each.name for each in _threads_named("test limit")} == {f"test limit {number}" for number in range(1, 5)}


def test_a_thread_that_is_free_takes_the_next_call() -> None:
    """One after the other, no second thread is started."""
    pool = ThreadPool("test free", 4)
    names = set()
    for _ in range(20):
        names.add(pool.submit(lambda: threading.current_thread().name).result(DEADLINE))
        assert pool.join(DEADLINE)
    assert names == {"test free 1"}


def test_threads_without_work_end() -> None:
    pool = ThreadPool("test idle", 8, idle=0.01)
    meeting = threading.Barrier(8, timeout=DEADLINE)
    for each in [pool.submit(meeting.wait) for _ in range(8)]:
        each.result(DEADLINE)
    for thread in _threads_named("test idle"):
        thread.join(DEADLINE)
    assert (_threads_named("test idle"), pool.threads) == ([], 0)
    assert pool.submit(lambda: "again").result(DEADLINE) == "again"


def test_fifty_storages_without_work_have_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    storages = [LocalFileStorage(tmp_path / str(number)) for number in range(50)]
    assert all(each.thread_pools.reading for each in storages)
    assert threading.active_count() <= before  # those of other tests may end meanwhile


def test_an_error_comes_out_and_its_thread_goes_on() -> None:
    pool = ThreadPool("test error", 1)

    def fail() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        pool.submit(fail).result(DEADLINE)
    assert pool.submit(lambda: 7).result(DEADLINE) == 7


@pytest.mark.parametrize("fails", [False, True])
def test_a_thread_that_waits_keeps_neither_a_result_nor_an_error(fails: bool) -> None:
    """Images are large, and an error keeps the frames in which it was raised."""

    class Large(Exception):
        def __init__(self) -> None:
            references.append(weakref.ref(self))

    def call() -> Large:
        if fails:
            raise Large
        return Large()

    references: list[weakref.ref[Large]] = []
    pool = ThreadPool("test memory", 1)
    future: Future[Large] | None = pool.submit(call)
    assert pool.join(DEADLINE)
    assert future is not None
    assert future.done()
    future = None
    assert references[0]() is None


def test_a_call_that_is_cancelled_in_the_queue_is_not_made() -> None:
    pool, go_on, made = ThreadPool("test queue", 1), threading.Event(), list[int]()
    busy = pool.submit(go_on.wait, DEADLINE)
    queued = pool.submit(made.append, 1)
    assert queued.cancel()
    go_on.set()
    assert busy.result(DEADLINE)
    assert pool.join(DEADLINE)
    assert made == []


def test_where_no_thread_can_be_started_the_caller_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is one at least, the call waits for it."""
    pool, go_on = ThreadPool("test full", 4), threading.Event()
    busy = pool.submit(go_on.wait, DEADLINE)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        waiting = pool.submit(lambda: "done")
        with pytest.raises(RuntimeError, match="start"):
            ThreadPool("test none").submit(lambda: None)
    go_on.set()
    assert (busy.result(DEADLINE), waiting.result(DEADLINE)) == (True, "done")


def test_a_forked_process_has_threads_of_its_own() -> None:
    """The parent's are busy, others wait, and a call is queued: the child starts with none of it."""
    storage, go_on = MemoryFileStorage(), threading.Event()
    pool = storage.thread_pools.storing
    meeting = threading.Barrier(33, timeout=DEADLINE)

    def hang() -> None:
        meeting.wait()
        go_on.wait(DEADLINE)

    hanging: list[Future[Any]] = [pool.submit(hang) for _ in range(32)]
    meeting.wait()
    hanging.append(pool.submit(lambda: None))
    reading = storage.thread_pools.reading.submit(lambda: None)
    reading.result(DEADLINE)
    try:
        assert in_child(lambda: _use(storage)) == "stored"
    finally:
        go_on.set()
    assert all(each.exception(DEADLINE) is None for each in hanging)


def test_a_child_of_a_thread_counts_its_threads_from_zero() -> None:
    """The thread that has forked goes on in the child, and ends."""
    pool, told = ThreadPool("test fork", 2, idle=0.01), os.pipe()

    def fork() -> int:
        if child := os.fork():
            return os.waitpid(child, 0)[1]
        forked = threading.current_thread()

        def tell() -> None:
            forked.join(DEADLINE)
            os.write(told[1], b"%d" % pool.threads)
            os._exit(0)

        threading.Thread(target=tell).start()
        return 0

    assert pool.submit(fork).result(DEADLINE) == 0
    assert os.read(told[0], 10) == b"0"
    for each in told:
        os.close(each)


def _use(storage: MemoryFileStorage) -> str:
    pools = storage.thread_pools
    pools.reading.submit(lambda: None).result(DEADLINE)
    return pools.storing.submit(lambda: "stored").result(DEADLINE)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pool: pickle.loads(pickle.dumps(pool))])
def test_a_copy_of_a_storage_has_threads_of_its_own(copied: Callable[[Any], Any], tmp_path: Path) -> None:
    storage = LocalFileStorage(tmp_path)
    storage.thread_pools.storing.submit(lambda: None).result(DEADLINE)
    settle(storage)
    other = copied(storage)
    assert other.thread_pools.storing is not storage.thread_pools.storing
    assert other.thread_pools.storing.submit(lambda: 5).result(DEADLINE) == 5


_PROGRAM: Final = """
import threading
from depot_lite.concurrency.pools import ThreadPool
begun = threading.Event()

def work():
    begun.set()
    threading.main_thread().join()
    {and_then}
    print("ended", flush=True)

ThreadPool("x", awaited={awaited}).submit(work)
assert begun.wait(20)
"""


@pytest.mark.parametrize(
    ("awaited", "and_then", "printed"), [(True, "pass", "ended"), (False, "threading.Event().wait()", "")]
)
def test_the_end_of_a_process_waits_for_what_is_stored_and_not_for_what_is_read(
    awaited: bool, and_then: str, printed: str
) -> None:
    """A read that hangs does not keep the process; what stores a file has some seconds."""
    program = _PROGRAM.format(awaited=awaited, and_then=and_then)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert (ran.stdout.strip(), ran.stderr) == (printed, "")
