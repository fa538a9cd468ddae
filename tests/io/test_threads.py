"""Work in threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import pytest

from depot_lite.concurrency.pools import ThreadPool
from depot_lite.concurrency.threads import Batch, Closing, finished, in_thread, run_to_end

#: How long anything may take, in seconds.
DEADLINE: Final = 20


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


class OneCall(ThreadPoolExecutor):
    """Is shut down when it has taken one call."""

    def submit(self, *given: Any, **more: Any) -> Future[Any]:
        future = super().submit(*given, **more)
        self.shutdown(wait=False)
        return future


@pytest.mark.parametrize("asynchronous", [False, True])
def test_where_an_executor_is_shut_down_no_other_job_begins(
    asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that runs is waited for, or known to run."""
    go_on, done = threading.Event(), list[int]()

    def job() -> None:
        assert go_on.wait(DEADLINE)
        done.append(1)

    executor = OneCall(1)
    batch = Batch([job] * 9, 4, executor)
    stop = batch.stop

    def stop_and_go_on() -> None:
        stop()
        go_on.set()

    monkeypatch.setattr(batch, "stop", stop_and_go_on)
    with pytest.raises(RuntimeError, match="shutdown"):
        _run(batch, asynchronous)
    for each in batch.under_way:
        each.result(DEADLINE)
    assert len(done) <= 1
    executor.shutdown()
    assert len(done) <= 1


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


class Held:
    """A call that waits in its thread until it is let go, and what became of its result."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.dropped: list[object] = []

    def call(self) -> str:
        self.begun.set()
        assert self.go_on.wait(DEADLINE)
        return "result"


def test_a_cancellation_is_raised_at_once_and_the_result_is_dropped() -> None:
    """In the thread of the call, when that has ended."""
    held, pool = Held(), ThreadPool("test")

    async def main() -> None:
        task = asyncio.create_task(in_thread(held.call, pool, held.dropped.append))
        await asyncio.to_thread(held.begun.wait, DEADLINE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)
        assert held.dropped == []

    asyncio.run(main())
    held.go_on.set()
    assert pool.join(DEADLINE)
    assert held.dropped == ["result"]


def test_a_cancellation_between_the_end_of_the_call_and_that_of_the_task_drops_the_result_too() -> None:
    """The result is there, and nobody gets it."""
    held, pool = Held(), ThreadPool("test")

    async def main() -> None:
        task = asyncio.create_task(in_thread(held.call, pool, held.dropped.append))
        await asyncio.to_thread(held.begun.wait, DEADLINE)
        held.go_on.set()
        assert pool.join(DEADLINE)  # the loop does not turn meanwhile, so the task has not been told
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert pool.join(DEADLINE)
    assert held.dropped == ["result"]


def test_a_call_that_has_not_begun_when_its_task_is_cancelled_never_begins() -> None:
    """The only thread is busy; the second call leaves the queue."""
    held, pool, done = Held(), ThreadPool("test", 1), []

    async def main() -> None:
        first = asyncio.create_task(in_thread(held.call, pool))
        await asyncio.to_thread(held.begun.wait, DEADLINE)
        second = asyncio.create_task(in_thread(lambda: done.append(2), pool, held.dropped.append))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(second, DEADLINE)
        held.go_on.set()
        assert await first == "result"

    asyncio.run(main())
    assert pool.join(DEADLINE)
    assert (done, held.dropped) == ([], [])


def test_what_has_to_be_finished_is_done_although_its_task_was_cancelled_in_the_queue() -> None:
    held, pool, done = Held(), ThreadPool("test", 1), []

    async def main() -> None:
        first = asyncio.create_task(in_thread(held.call, pool))
        await asyncio.to_thread(held.begun.wait, DEADLINE)
        second = asyncio.create_task(finished(lambda: done.append(2), pool))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(second, DEADLINE)
        held.go_on.set()
        await first

    asyncio.run(main())
    assert pool.join(DEADLINE)
    assert done == [2]


def test_a_loop_that_is_closed_before_the_call_ends_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    held, pool = Held(), ThreadPool("test")
    loop = asyncio.new_event_loop()
    task = loop.create_task(in_thread(held.call, pool))
    loop.run_until_complete(asyncio.sleep(0))
    assert held.begun.wait(DEADLINE)
    loop.close()
    held.go_on.set()
    assert pool.join(DEADLINE)
    assert caplog.messages == []
    task.get_coro().close()  # nothing runs it any more


def test_a_cancelled_batch_begins_no_other_job_and_does_not_wait() -> None:
    """Running jobs come to their end in the background, and the batch reports them."""
    held, done, pool = Held(), [], ThreadPool("test", 1)
    batch = Batch([lambda: done.append(held.call())] * 10, 2, pool)

    async def main() -> None:
        task = asyncio.create_task(batch.arun())
        await asyncio.to_thread(held.begun.wait, DEADLINE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)
        assert (len(batch.under_way), done) == (1, [])

    asyncio.run(main())
    held.go_on.set()
    assert pool.join(DEADLINE)
    assert done == ["result"]
    assert batch.under_way[0].done()


def test_what_failed_while_it_was_cancelled_leaves_no_complaint() -> None:
    """The cancellation is raised, and asyncio does not report the error as never retrieved."""
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


def test_a_resource_is_closed_by_its_last_user_if_it_is_given_up_meanwhile() -> None:
    """And by who gives it up otherwise; never twice, and nobody uses it afterwards."""
    closed: list[str] = []
    closing = Closing(lambda: closed.append("closed"))
    assert closing.use(lambda: closing.give_up()) is False
    assert closed == ["closed"]
    assert closing.give_up() is False
    with pytest.raises(ValueError, match="closed"):
        closing.use(lambda: None)
    assert Closing(lambda: None).give_up() is True
