"""Transfers of a session: side by side where storages gain by it, off the event loop under `AsyncSession`; deletions.

SQLAlchemy runs the session of an `AsyncSession` in a greenlet, and so our listeners. There, work is handed to threads
and awaited (``await_only``), so that the loop goes on. A cancellation waits for transfers that are under way: nothing
is left half done.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from depot_lite.concurrency.threads import Batch, in_thread, run_to_end
from depot_lite.depots import Depots
from depot_lite.fields.interfaces import discard, logger
from depot_lite.io.interfaces import FileStorage

T = TypeVar("T")


def _awaiting() -> bool:
    """Return whether this runs for an `AsyncSession`; greenlet, which that needs, need not be installed."""
    return sys.modules.get("greenlet") is not None and in_greenlet()


def side_by_side(jobs: Sequence[tuple[FileStorage, Callable[[], None]]], workers: int = 1) -> None:
    """Do the jobs, as many at once as their storages gain from but at least ``workers``, one storage after the other.

    Raises:
        Exception: of the first job that failed, in the order of the jobs. No other has begun after it, and none is
            under way any more.
    """
    by_storage: dict[int, tuple[FileStorage, list[Callable[[], None]]]] = {}
    for storage, job in jobs:
        by_storage.setdefault(id(storage), (storage, []))[1].append(job)
    for storage, its_jobs in by_storage.values():
        if len(its_jobs) == 1 and not _awaiting():
            its_jobs[0]()
            continue
        batch = Batch(its_jobs, max(workers, storage.concurrency), storage.executor)
        if _awaiting():
            await_only(batch.arun())
        else:
            batch.run()


def off_loop(call: Callable[[], T]) -> T:
    """Return the result of ``call``, without holding up an event loop."""
    return await_only(in_thread(call)) if _awaiting() else call()


def to_the_end(call: Callable[[], None]) -> None:
    """Do something at the end of a transaction, when nothing may fail any more, without holding up an event loop.

    A cancellation that comes meanwhile is put off until the session has noted how its transaction ended.
    """
    try:
        off_loop(call)
    except asyncio.CancelledError as error:
        uncancel()
        cancel(error)


def undisturbed(call: Callable[[], None]) -> None:
    """Do something that awaits, such as a query, to its end.

    Raises:
        asyncio.CancelledError: the task was cancelled meanwhile.
    """
    if _awaiting():
        await_only(run_to_end(greenlet_spawn(call)))
    else:
        call()


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


def delete_at_end(replaced: list[str], unused: list[str]) -> None:
    """Delete files. Errors are logged with the paths, and the remaining files are left to maintenance.

    Args:
        replaced: paths that committed rows named until now. A ``delete_later`` hook takes them over.
        unused: paths that no committed row has named.
    """
    try:
        to_the_end(partial(_delete, replaced, unused))
    except BaseException as error:  # an executor that is shut down, or an interrupt
        paths = [*replaced, *unused]
        logger.exception("up to %d files are left to maintenance: %s ...", len(paths), paths[0])
        if not isinstance(error, Exception):
            raise


def _delete(replaced: list[str], unused: list[str]) -> None:
    hook = Depots.get_delete_later()
    if hook is not None:
        replaced = _hand_over(hook, replaced)
    discard([*replaced, *unused])


def _hand_over(hook: Callable[[list[str]], object], paths: list[str]) -> list[str]:
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
