"""Deleting files at the end of a transaction, when nothing may fail any more."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Final

from depot_lite.depots import Depots
from depot_lite.fields.interfaces import discard, logger
from depot_lite.fields.tracking import transfers

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
        transfers.to_the_end(partial(_delete, replaced, unused))
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
