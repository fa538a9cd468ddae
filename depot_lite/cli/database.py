"""The database that the command line works on, whichever driver its URL names.

No message tells a password: URLs are shown without it and without their options, and one that cannot be understood
is not shown at all.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from depot_lite.cli.failures import AppFailed, one_line
from depot_lite.cli.signals import STOPPING, Stopped

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
Call = Callable[[Session | Engine], T]


def with_database(url: str, call: Call[T]) -> T:
    """Return what a call returns that is given the database: an engine, or a session in a greenlet of asyncio.

    Raises:
        AppFailed: the URL cannot be used, or the database cannot be reached.
    """
    made = _url(url)
    try:
        engine = _async_engine(made) if made.get_dialect().is_async else create_engine(made)
    except NoSuchModuleError:
        raise AppFailed(f"SQLAlchemy knows no database {made.drivername!r} (--url, DATABASE_URL)") from None
    except ImportError as error:
        # The only one without a name is SQLAlchemy's own, about greenlet.
        module = error.name or "greenlet"
        raise AppFailed(
            f"{made.drivername!r} needs the module {module!r}, which is not installed; the URL may name another "
            "driver, as in postgresql+psycopg://"
        ) from error
    except (SQLAlchemyError, ValueError, TypeError) as error:
        raise AppFailed(f"database {shown(made)}: {one_line(error)}") from error
    if not isinstance(engine, Engine):
        return asyncio.run(_awaited(engine, made, call))
    try:
        _reach(engine, made)
        return call(engine)
    finally:
        engine.dispose()


def _async_engine(url: URL) -> AsyncEngine:
    # Imported here: it needs greenlet, which SQLAlchemy 2.1 no longer installs by itself, and other drivers do not.
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(url)


def _url(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        wanted = "dialect+driver://user:password@host/database is wanted"
        raise AppFailed(f"the database's URL cannot be understood; {wanted} (--url, DATABASE_URL)") from None
    # SQLite would make a new, empty database, and then say that a table is not there.
    name = url.database or ":memory:"
    is_file = url.get_backend_name() == "sqlite" and name != ":memory:" and not name.startswith("file:")
    if is_file and not os.path.exists(name):
        raise AppFailed(f"database {shown(url)} cannot be reached: there is no file {name!r}")
    return url


def shown(url: URL) -> str:
    """Return a URL without what is secret in it."""
    return url.set(query={}).render_as_string(hide_password=True)


def _reach(engine: Engine, url: URL) -> None:
    """Connect, so that what cannot be reached is known before storages are listed."""
    try:
        with engine.connect():
            pass
    except (SQLAlchemyError, OSError) as error:
        raise _unreachable(url, error) from error


def _unreachable(url: URL, error: Exception) -> AppFailed:
    return AppFailed(f"database {shown(url)} cannot be reached: {one_line(error)}")


async def _awaited(engine: AsyncEngine, url: URL, call: Call[T]) -> T:
    stopped: list[int] = []
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        stopped.append(number)
        if task is not None:
            task.cancel()

    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop, number)
    try:
        return await _in_session(engine, url, call)
    except asyncio.CancelledError:
        if stopped:
            raise Stopped(stopped[0]) from None
        raise
    finally:
        for number in STOPPING:
            with suppress(ValueError):
                loop.remove_signal_handler(number)
        await engine.dispose()


async def _in_session(engine: AsyncEngine, url: URL, call: Call[T]) -> T:
    from sqlalchemy.ext.asyncio import AsyncSession

    try:
        async with engine.connect():
            pass
    except (SQLAlchemyError, OSError, ImportError, ValueError) as error:  # the last two: greenlet is not installed
        raise _unreachable(url, error) from error
    async with AsyncSession(engine) as session:
        return await session.run_sync(call)
