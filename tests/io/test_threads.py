"""Work in threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from depot_lite.concurrency.threads import Batch, in_thread, run_to_end


class Rehearsal:
    """Jobs that meet: each waits until as many as expected are under way, which shows that they are."""

    def __init__(self, at_once: int) -> None:
        self.barrier = threading.Barrier(at_once, timeout=20)
        self.lock = threading.Lock()
        self.now = self.most = self.done = 0

    def job(self) -> None:
        """Meet the others, and count."""
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.barrier.wait()
        with self.lock:
            self.now -= 1
            self.done += 1


def _run(batch: Batch, asynchronous: bool) -> None:
    if asynchronous:
        asyncio.run(batch.arun())
    else:
        batch.run()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_as_many_jobs_as_allowed_are_under_way_and_never_more(asynchronous: bool) -> None:
    """Twelve jobs of which four at a time may run, and do: each waits for three others."""
    rehearsal = Rehearsal(4)
    batch = Batch([rehearsal.job] * 12, 4)
    _run(batch, asynchronous)
    assert (rehearsal.most, rehearsal.done) == (4, 12)


def test_jobs_are_done_in_the_calling_thread_where_one_at_a_time_is_allowed() -> None:
    """No thread is started for a storage that gains nothing from it."""
    threads: list[str] = []
    Batch([lambda: threads.append(threading.current_thread().name)] * 3, 1).run()
    assert threads == [threading.current_thread().name] * 3


def test_a_busy_executor_does_not_stop_the_work() -> None:
    """The thread that asks takes part, so work is done even while every thread of the executor waits for it."""
    release = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(release.wait, 20)
        done: list[int] = []
        jobs: list[Callable[[], None]] = [partial(done.append, number) for number in range(5)]
        jobs.append(release.set)
        Batch(jobs, 2, executor).run()
    assert sorted(done) == [0, 1, 2, 3, 4]


def test_a_thread_that_waits_for_the_work_is_not_waited_for() -> None:
    """The only thread of the executor is busy until the work is done, so its share is done by who asked."""
    release = threading.Event()
    done: list[int] = []
    with ThreadPoolExecutor(1) as executor:
        busy = executor.submit(release.wait, 20)
        Batch([partial(done.append, number) for number in range(5)], 2, executor).run()
        assert not busy.done()
        release.set()
    assert done == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_error_of_the_first_job_is_raised_when_none_is_under_way_any_more(asynchronous: bool) -> None:
    """Two jobs fail, the second earlier: which error is raised depends on their order and not on time."""
    second_failed, ended = threading.Event(), []

    def first() -> None:
        second_failed.wait(20)
        ended.append("first")
        raise ValueError("first")

    def second() -> None:
        try:
            raise KeyError("second")
        finally:
            second_failed.set()

    batch = Batch([first, second, *[lambda: ended.append("late")] * 50], 2)
    with pytest.raises(ValueError, match="first"):
        _run(batch, asynchronous)
    assert "first" in ended
    assert ended.count("late") < 50


def test_context_variables_are_seen_in_the_threads() -> None:
    """A filter that logs the request's id finds it."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("seen")
    rehearsal, found = Rehearsal(3), []

    def job() -> None:
        rehearsal.job()
        found.append(variable.get())

    Batch([job] * 3, 3).run()
    assert found == ["seen"] * 3


def test_a_cancellation_waits_for_the_thread_and_is_raised_then() -> None:
    """Nothing goes on behind the back of who cancelled."""
    begun, go_on, ended = threading.Event(), threading.Event(), []

    def call() -> None:
        begun.set()
        go_on.wait(20)
        ended.append(True)

    async def main() -> None:
        task = asyncio.create_task(in_thread(call))
        await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == [True]


def test_a_cancelled_batch_begins_no_other_job() -> None:
    """What is under way comes to its end, the rest is left."""
    begun, go_on, done = threading.Event(), threading.Event(), []

    def job() -> None:
        begun.set()
        go_on.wait(20)
        done.append(True)

    async def main() -> None:
        task = asyncio.create_task(Batch([job] * 10, 1).arun())
        await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert done == [True]


def test_what_failed_while_it_was_cancelled_leaves_no_complaint() -> None:
    """The cancellation is what is raised; asyncio does not report the error as never looked at."""
    complaints: list[object] = []

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("lost")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        task = asyncio.create_task(run_to_end(fail()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert complaints == []
