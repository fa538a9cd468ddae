"""Asynchronous maintenance: the functions of `depot_lite.maintenance` for asynchronous sessions and engines.

    from depot_lite.maintenance import aio as maintenance

    async with AsyncSession(engine) as session:
        report = await maintenance.delete_unused_files(session, "posters")

Arguments, reports and errors are the same: SQLAlchemy runs the same code in a greenlet. Storages are accessed in
threads, so the event loop is not blocked. A cancellation waits for transfers in progress. ``progress`` is a plain
function, called in the thread of the event loop or in another one.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from depot_lite.errors import ConfigurationError
from depot_lite.maintenance import (
    backup,
    facts,
    migration,
    missing,
    owners,
    restoration,
    retirement,
    sharing,
    trash,
    unused,
    variants,
    verification,
)
from depot_lite.maintenance.run import units
from depot_lite.maintenance.run.reports import CopyReport
from depot_lite.maintenance.statistics import statistics as count_all

__all__ = [
    "add_missing_facts",
    "claim",
    "copy_files",
    "create_units_table",
    "delete_unused_files",
    "find_missing",
    "find_unused",
    "make_missing_variants",
    "make_variants",
    "migrate",
    "prove_replaced",
    "regenerate_variants",
    "restore_files",
    "share_copy",
    "share_migration",
    "statistics",
    "undelete",
    "verify",
]

P = ParamSpec("P")
T = TypeVar("T")

#: The ways in which asynchronous code gives the database.
AsyncBind = AsyncSession | AsyncEngine | AsyncConnection


async def _run(bind: AsyncBind | None, call: Callable[[Any], T]) -> T:
    """Call a function with the synchronous session or connection behind ``bind`` and return its result."""
    if isinstance(bind, AsyncSession | AsyncConnection):
        return await bind.run_sync(call)
    if bind is not None and not isinstance(bind, AsyncEngine):
        raise ConfigurationError(f"expected an AsyncSession, an AsyncEngine or an AsyncConnection, got {bind!r}")
    # This session never connects: it provides the engine, or without one only the greenlet.
    async with AsyncSession(bind) as session:
        return await session.run_sync(call)


def _awaited(
    function: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[AsyncBind, P], Coroutine[Any, Any, T]]:
    """Return the function for asynchronous binds."""

    @wraps(function)
    async def awaited(bind: AsyncBind, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await _run(bind, lambda sync_bind: function(sync_bind, *args, **kwargs))

    return awaited


def _awaited_without_rows(
    function: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[AsyncBind | None, P], Coroutine[Any, Any, T]]:
    """Return the function for asynchronous binds, or None as the bind."""

    @wraps(function)
    async def awaited(bind: AsyncBind | None, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await _run(bind, lambda sync_bind: function(None if bind is None else sync_bind, *args, **kwargs))

    return awaited


def _awaited_without_bind(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the asynchronous form of a function that needs no database."""

    @wraps(function)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> T:
        return await _run(None, lambda _: function(*args, **kwargs))

    return awaited


@wraps(backup.copy_files)
async def copy_files(source: str, target: str, *, bind: AsyncBind | None = None, **options: Any) -> CopyReport:
    """Copy the files of a depot to another one under the same ids, as a backup."""
    return await _run(
        bind, lambda sync: backup.copy_files(source, target, bind=None if bind is None else sync, **options)
    )


claim = _awaited(owners.claim)
find_unused = _awaited(unused.find_unused)
delete_unused_files = _awaited(unused.delete_unused_files)
find_missing = _awaited(missing.find_missing)
verify = _awaited_without_rows(verification.verify)
statistics = _awaited(count_all)
migrate = _awaited(migration.migrate)
undelete = _awaited_without_bind(trash.undelete)
create_units_table = _awaited(units.create_units_table)
share_copy = _awaited(sharing.share_copy)
share_migration = _awaited(sharing.share_migration)
prove_replaced = _awaited(retirement.prove_replaced)
restore_files = _awaited_without_rows(restoration.restore_files)
#: Takes no connection, since it commits.
add_missing_facts = _awaited(facts.add_missing_facts)
make_missing_variants = _awaited(variants.make_missing_variants)
make_variants = _awaited(variants.make_variants)
regenerate_variants = _awaited(variants.regenerate_variants)
