"""The database that the command works with: of a URL, or an engine or a session of the application.

No message contains a password: URLs are printed without it and without their options, and a URL that cannot be parsed
is not printed at all.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError, UnboundExecutionError
from sqlalchemy.orm import Session, configure_mappers, scoped_session, sessionmaker

from depot_lite.cli.application import call_factory, load_object
from depot_lite.cli.errors import STOP_SIGNALS, ApplicationFailed, Stopped, one_line
from depot_lite.fields.columns import mappers_with_files

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

T = TypeVar("T")
Call = Callable[[Session | Engine], T]

# --- a URL --------------------------------------------------------------------------------------------------------


def with_database(url: str, call: Call[T]) -> T:
    """Call a function with the database behind a URL and return its result.

    The function gets an engine, or for an asynchronous driver a session in a greenlet of asyncio.

    Raises:
        ApplicationFailed: the URL cannot be used, or the database cannot be reached.
    """
    parsed = _parse_url(url)
    try:
        engine = _async_engine(parsed) if parsed.get_dialect().is_async else create_engine(parsed)
    except NoSuchModuleError:
        raise ApplicationFailed(f"SQLAlchemy knows no database {parsed.drivername!r} (--url, DATABASE_URL)") from None
    except ImportError as error:
        # The only one without a name is SQLAlchemy's own, about greenlet.
        module = error.name or "greenlet"
        raise ApplicationFailed(
            f"{parsed.drivername!r} needs the module {module!r}, which is not installed; the URL may name another "
            "driver, as in postgresql+psycopg://"
        ) from error
    except (SQLAlchemyError, ValueError, TypeError) as error:
        raise ApplicationFailed(f"database {_without_secrets(parsed)}: {one_line(error)}") from error
    return _with_object(engine, call)


def _async_engine(url: URL) -> AsyncEngine:
    # Imported here: it needs greenlet, which SQLAlchemy 2.1 no longer installs by itself, and other drivers do not.
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(url)


def _parse_url(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ApplicationFailed(
            "the database URL cannot be parsed: expected dialect+driver://user:password@host/database "
            "(--url, DATABASE_URL)"
        ) from None
    # SQLite would create an empty database, and then report a missing table.
    name = url.database or ":memory:"
    is_file = url.get_backend_name() == "sqlite" and name != ":memory:" and not name.startswith("file:")
    if is_file and not os.path.exists(name):
        raise ApplicationFailed(f"database {_without_secrets(url)} cannot be reached: there is no file {name!r}")
    return url


def _without_secrets(url: URL) -> str:
    return url.set(query={}).render_as_string(hide_password=True)


# --- an object of the application ---------------------------------------------------------------------------------


def with_engine(name: str, call: Call[T]) -> T:
    """Call a function with what ``package.module:name`` gives and return its result.

    That is an engine, a session or a sessionmaker, also an asynchronous one; a dictionary of models or bases and their
    engines; or a function that returns one of these. The function gets an engine or a session.

    Raises:
        ApplicationFailed: the name leads to nothing of that kind, or the database cannot be reached.
    """
    label = f"--engine {name!r}"
    found = load_object("--engine", name)
    if not _is_database(found) and callable(found):
        found = call_factory(found, label, name.partition(":")[2])
    if not _is_database(found):
        raise ApplicationFailed(
            f"{label}: expected an engine, a session, a sessionmaker, or a dictionary of models and engines, "
            f"got {type(found).__name__}"
        )
    return _with_object(found, call)


def _is_database(found: object) -> bool:
    return isinstance(found, Engine | Session | sessionmaker | scoped_session | Mapping) or _is_async(found)


def _is_async(found: object) -> bool:
    """Return whether an object belongs to SQLAlchemy's asyncio, which is imported only if something is used of it."""
    return any(each.__module__.startswith("sqlalchemy.ext.asyncio") for each in type(found).__mro__)


def _with_object(found: Any, call: Call[T]) -> T:
    if isinstance(found, Mapping):
        return _with_several(found, call)
    if _is_async(found):
        return asyncio.run(_until_stopped(_call_async(found, call)))
    bind = found() if isinstance(found, sessionmaker | scoped_session) else found
    try:
        _check_connection(bind)
        return call(bind)
    finally:
        if not isinstance(bind, Engine):
            bind.close()
        _dispose(bind)


def _with_several(binds: Mapping[Any, Any], call: Call[T]) -> T:
    """Call the function with a session that finds the engine of each model."""
    if any(map(_is_async, binds.values())):
        from sqlalchemy.ext.asyncio import AsyncSession

        return _with_object(AsyncSession(binds=dict(binds)), call)
    try:
        session = Session(binds=dict(binds))
    except (SQLAlchemyError, AttributeError) as error:
        raise ApplicationFailed(f"--engine: expected a dictionary of models and engines: {one_line(error)}") from error
    return _with_object(session, call)


def engines(bind: Session | Engine | None) -> list[Engine]:
    """Return the engines behind a bind; several if a session finds its engine by the model."""
    if bind is None or isinstance(bind, Engine):
        return [] if bind is None else [bind]
    try:
        found = {bind.get_bind()}
    except UnboundExecutionError:
        found = set()
        configure_mappers()
        for mapper in mappers_with_files():
            with suppress(UnboundExecutionError):  # the job says which table has no database
                found.add(bind.get_bind(mapper))
    return [each for each in found if isinstance(each, Engine)]


def _dispose(bind: Session | Engine) -> None:
    for engine in engines(bind):
        engine.dispose()


def _check_connection(bind: Session | Engine) -> None:
    """Connect once, so that an unreachable database is reported before storages are listed."""
    for engine in engines(bind):
        try:
            with engine.connect():
                pass
        except (SQLAlchemyError, OSError, ImportError, ValueError) as error:  # the last two: greenlet is not installed
            raise ApplicationFailed(
                f"database {_without_secrets(engine.url)} cannot be reached: {one_line(error)}"
            ) from error


# --- asyncio ------------------------------------------------------------------------------------------------------


async def _call_async(found: Any, call: Call[T]) -> T:
    """Call the function in a session of an asynchronous engine, sessionmaker or session."""
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    def checked(session: Session) -> T:
        _check_connection(session)
        return call(session)

    made: AsyncSession = AsyncSession(found) if isinstance(found, AsyncEngine) else found
    if not isinstance(made, AsyncSession):  # a sessionmaker
        made = made()
    try:
        async with made as session:
            return await session.run_sync(checked)
    finally:
        await made.run_sync(_dispose)


async def _until_stopped(work: Awaitable[T]) -> T:
    """Return the result of the work; a signal cancels it, and is raised as `Stopped` when it has ended."""
    stopped: list[int] = []
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        stopped.append(number)
        if task is not None:
            task.cancel()

    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop, number)
    try:
        return await work
    except asyncio.CancelledError as error:
        if stopped:
            end = Stopped(stopped[0])
            end.__dict__.update(error.__dict__)  # the report so far
            raise end from None
        raise
    finally:
        for number in STOP_SIGNALS:
            with suppress(ValueError):
                loop.remove_signal_handler(number)
