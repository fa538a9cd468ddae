"""Transfers of a session: side by side where storages gain by it, off the event loop under `AsyncSession`; deletions.

SQLAlchemy runs the session of an `AsyncSession` in a greenlet, and so our listeners. There, work is handed to threads
of its storage and awaited (``await_only``), so that the loop goes on. A cancellation is raised at once.
Files that are stored by then are deleted in the background; `depot_lite.fields.tracking.storing` looks after uploads in
progress.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Final, TypeVar

from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from depot_lite.concurrency.pools import HOOKS, SESSIONS
from depot_lite.concurrency.threads import Batch, ended, finished, run_to_end
from depot_lite.depots import Depots, discard
from depot_lite.errors import UnknownDepot
from depot_lite.fields.interfaces import logger
from depot_lite.io.interfaces import FileStorage

T = TypeVar("T")


def awaiting() -> bool:
    """Return whether this runs for an `AsyncSession`; greenlet, which that needs, need not be installed."""
    return sys.modules.get("greenlet") is not None and in_greenlet()


def side_by_side(
    jobs: Sequence[tuple[FileStorage, Callable[[], None]]], workers: int = 1, left: list[Future[None]] | None = None
) -> None:
    """Do the jobs, as many at once as their storages gain from but at least ``workers``, one storage after the other.

    Args:
        jobs: each with its storage.
        workers: at least so many at once.
        left: gets the calls that are in progress after a cancellation.

    Raises:
        Exception: of the first job that failed, in the order of the jobs. No other has begun after it, and none is
            in progress any more.
        asyncio.CancelledError: the task was cancelled. Some jobs may be in progress.
    """
    by_storage: dict[int, tuple[FileStorage, list[Callable[[], None]]]] = {}
    for storage, job in jobs:
        by_storage.setdefault(id(storage), (storage, []))[1].append(job)
    for storage, its_jobs in by_storage.values():
        if len(its_jobs) == 1 and not awaiting():
            its_jobs[0]()
            continue
        batch = Batch(its_jobs, max(workers, storage.concurrency), storage.thread_pools.storing)
        if not awaiting():
            batch.run()
            continue
        try:
            await_only(batch.arun())
        finally:
            if left is not None:
                left += batch.under_way


def off_loop(call: Callable[[], T]) -> T:
    """Return the result of ``call``, without holding up an event loop; a cancellation is raised afterwards."""
    return await_only(run_to_end(finished(call))) if awaiting() else call()


def clean_up(call: Callable[[], None]) -> None:
    """Do something after a success or an error, without holding up an event loop; a cancellation does not wait."""
    if not awaiting():
        call()
    elif isinstance(sys.exc_info()[1], asyncio.CancelledError):  # it is being raised
        SESSIONS.submit(contextvars.copy_context().run, call)
    else:
        await_only(finished(call))


def to_the_end(call: Callable[[], None]) -> None:
    """Do something to its end, when nothing may fail any more, without holding up an event loop."""
    try:
        off_loop(call)
    except asyncio.CancelledError as error:
        _put_off(error)


def after_end(call: Callable[[], None], executor: Executor = SESSIONS) -> None:
    """Do something at the end of a transaction, when nothing may fail any more, without holding up an event loop.

    A cancellation that comes meanwhile is put off until the session has noted how its transaction ended. ``call`` is
    then not waited for.
    """
    try:
        await_only(finished(call, executor)) if awaiting() else call()
    except asyncio.CancelledError as error:
        _put_off(error)


def _put_off(error: asyncio.CancelledError) -> None:
    uncancel()
    cancel(error)


def uncancel() -> None:
    """Take back the cancellation that has just been raised, so that the task's count of them is as before."""
    task = _task()
    if task is not None:
        task.uncancel()  # asyncio.timeout() counts them


def cancel(error: asyncio.CancelledError) -> None:
    """Cancel the task anew, with the same message; it notices when it waits the next time."""
    task = _task()
    if task is not None:
        task.cancel(*error.args)  # anyio tells by the message which scope was cancelled


def _task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # there is no event loop
        return None


# --- deleting ---------------------------------------------------------------------------------------------------------

#: How many paths a `DepotManager.set_delete_later` hook gets at a time: as many as S3 deletes in one request, and about
#: 50 kB as JSON.
PATHS_PER_CALL: Final = 1000


def delete(paths: Iterable[str], *, wait: bool = True) -> None:
    """Delete files; log those that fail, and leave them to maintenance.

    Args:
        paths: of any depots.
        wait: until they are deleted, or the task is cancelled; otherwise an event loop goes on at once.
    """
    if not awaiting():
        discard(paths)
        return
    by_executor: dict[Executor, list[str]] = {}
    for path in paths:
        by_executor.setdefault(_executor_for(path), []).append(path)
    work = [executor.submit(contextvars.copy_context().run, discard, some) for executor, some in by_executor.items()]
    if wait:
        await_only(ended(work))


def _executor_for(path: str) -> Executor:
    try:
        return Depots.get(path.partition("/")[0]).thread_pools.storing
    except UnknownDepot:
        return SESSIONS


def delete_at_end(replaced: list[str], unused: list[str]) -> None:
    """Delete files. Errors are logged with the paths, and the remaining files are left to maintenance.

    Args:
        replaced: paths that committed rows named until now. A ``delete_later`` hook takes them over.
        unused: paths that no committed row has named.
    """
    try:
        hook = Depots.get_delete_later()
        if hook is not None and replaced:
            after_end(partial(_hand_over, hook, replaced), HOOKS)
            replaced = []
        try:
            delete([*replaced, *unused])
        except asyncio.CancelledError as error:
            _put_off(error)
    except BaseException as error:  # an executor that is shut down, or an interrupt
        paths = [*replaced, *unused]
        logger.exception("up to %d files are left to maintenance: %s ...", len(paths), ", ".join(paths[:1]))
        if not isinstance(error, Exception):
            raise


def _hand_over(hook: Callable[[list[str]], object], paths: list[str]) -> None:
    """Give paths to the hook, and delete the rest if it raises."""
    discard(_not_taken(hook, paths))


def _not_taken(hook: Callable[[list[str]], object], paths: list[str]) -> list[str]:
    """Give paths to the hook, and return the rest if it raises.

    It is not called again after an error: each call might wait for the timeout of a queue that is down.
    """
    for start in range(0, len(paths), PATHS_PER_CALL):
        try:
            answer = hook(paths[start : start + PATHS_PER_CALL])
            if inspect.iscoroutine(answer):  # of a lambda, which set_delete_later() cannot recognise
                answer.close()
                raise TypeError("the hook returned a coroutine, which nothing awaits here")
        except Exception:  # the hook is code of the application
            left = paths[start:]
            logger.exception("the delete_later hook failed, so %d files are deleted here: %s ...", len(left), left[0])
            return left
    return []
