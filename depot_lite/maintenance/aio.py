"""Maintenance, awaited: the functions of `depot_lite.maintenance` for asynchronous sessions, engines and connections.

    from depot_lite.maintenance import aio as maintenance

    async with AsyncSession(engine) as session:
        report = await maintenance.delete_unused_files(session, "posters")

Arguments, reports and errors are the same: it is the same code, which SQLAlchemy runs in a greenlet. Storages are asked
in threads, so the event loop goes on. A cancellation waits for what is under way. ``progress`` is called beside the
loop or in a thread, and is no coroutine.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from depot_lite.errors import ConfigurationError
from depot_lite.maintenance import backup, migration, missing, unused, variants, verification
from depot_lite.maintenance.statistics import statistics as count_all

__all__ = [
    "copy_files",
    "delete_unused_files",
    "find_missing",
    "find_unused",
    "migrate",
    "regenerate_variants",
    "statistics",
    "verify",
]

P = ParamSpec("P")
T = TypeVar("T")

#: The database, as asynchronous code has it.
AsyncBind = AsyncSession | AsyncEngine | AsyncConnection


async def _run(bind: AsyncBind | None, call: Callable[[Any], T]) -> T:
    """Return what ``call`` returns, which is given the synchronous session or connection behind ``bind``."""
    if isinstance(bind, AsyncSession | AsyncConnection):
        return await bind.run_sync(call)
    if bind is not None and not isinstance(bind, AsyncEngine):
        raise ConfigurationError(f"{bind!r}: an AsyncSession, an AsyncEngine or an AsyncConnection is wanted")
    # A session connects to nothing by itself: this one lends its engine, or is but the way into a greenlet.
    async with AsyncSession(bind) as session:
        return await session.run_sync(call)


def _awaited(
    function: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[AsyncBind, P], Coroutine[Any, Any, T]]:
    """Return the function for asynchronous binds."""

    @wraps(function)
    async def awaited(bind: AsyncBind, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await _run(bind, lambda lent: function(lent, *args, **kwargs))

    return awaited


def _awaited_without_rows(
    function: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[AsyncBind | None, P], Coroutine[Any, Any, T]]:
    """Return the function for asynchronous binds, or for none at all."""

    @wraps(function)
    async def awaited(bind: AsyncBind | None, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await _run(bind, lambda lent: function(None if bind is None else lent, *args, **kwargs))

    return awaited


def _awaited_without_bind(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return a function that needs no database."""

    @wraps(function)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> T:
        return await _run(None, lambda _: function(*args, **kwargs))

    return awaited


find_unused = _awaited(unused.find_unused)
delete_unused_files = _awaited(unused.delete_unused_files)
find_missing = _awaited(missing.find_missing)
verify = _awaited_without_rows(verification.verify)
statistics = _awaited(count_all)
migrate = _awaited(migration.migrate)
copy_files = _awaited_without_bind(backup.copy_files)
#: Wants a session or an engine, since it commits.
regenerate_variants = _awaited(variants.regenerate_variants)
