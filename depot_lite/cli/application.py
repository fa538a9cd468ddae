"""The application that the command works for: the module that configures depots and models, and its database.

No message contains a password: URLs are printed without it and without their options, and a URL that cannot be parsed
is not printed at all.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import signal
import sys
import sysconfig
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from depot_lite.cli.errors import STOP_SIGNALS, ApplicationFailed, Stopped, one_line

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
Call = Callable[[Session | Engine], T]

# --- the module ---------------------------------------------------------------------------------------------------


def load_application(app: str) -> None:
    """Import ``package.module``, and call the factory of ``package.module:factory``.

    Raises:
        ApplicationFailed: the module or the factory does not exist, or raised an exception.
    """
    name, _, factory = app.partition(":")
    folder = str(Path.cwd())
    if sys.path[0] != folder:
        sys.path.insert(0, folder)
    if not all(part.isidentifier() for part in name.split(".")) or app.endswith(":"):
        raise ApplicationFailed(f"--app: expected package.module or package.module:factory, got {app!r}")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ApplicationFailed(
                f"--app {app!r}: there is no module {error.name!r}, neither in {folder} nor installed"
            ) from None
        raise _raised(app, error) from error
    except (Exception, SystemExit) as error:
        raise _raised(app, error) from error
    if factory:
        _call(app, module, factory)


def _call(app: str, module: object, factory: str) -> None:
    found = module
    for part in factory.split("."):
        if not hasattr(found, part):
            raise ApplicationFailed(f"--app {app!r}: the module has no {factory!r}")
        found = getattr(found, part)
    if not callable(found):
        raise ApplicationFailed(f"--app {app!r}: expected {factory!r} to be a function, got {type(found).__name__}")
    if inspect.iscoroutinefunction(found):
        raise ApplicationFailed(f"--app {app!r}: expected {factory!r} to be a plain function, got a coroutine function")
    try:
        found()
    except (Exception, SystemExit) as error:
        raise _raised(app, error) from error


def _raised(app: str, error: BaseException) -> ApplicationFailed:
    return ApplicationFailed(f"--app {app!r}: {type(error).__name__}: {one_line(error)}{_origin(error)}")


def _origin(error: BaseException) -> str:
    """Return the line of the application's own code in which an error was raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({_relative(error.filename)}, line {error.lineno})"
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<frozen")]
    libraries = (
        str(Path(__file__).parents[1]),
        *(sysconfig.get_path(each) for each in ("stdlib", "purelib", "platlib")),
    )
    of_application = [each for each in frames if not each.filename.startswith(libraries)]
    for frame in (of_application or frames)[-1:]:
        return f" ({_relative(frame.filename)}, line {frame.lineno})"
    return ""


def _relative(filename: str) -> str:
    """Return a path relative to the working directory if it lies below it."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


# --- the database -------------------------------------------------------------------------------------------------


def with_database(url: str, call: Call[T]) -> T:
    """Call a function with the database and return its result.

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
    if not isinstance(engine, Engine):
        return asyncio.run(_call_async(engine, parsed, call))
    try:
        _check_connection(engine, parsed)
        return call(engine)
    finally:
        engine.dispose()


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


def _check_connection(engine: Engine, url: URL) -> None:
    """Connect once, so that an unreachable database is reported before storages are listed."""
    try:
        with engine.connect():
            pass
    except (SQLAlchemyError, OSError) as error:
        raise _unreachable(url, error) from error


def _unreachable(url: URL, error: Exception) -> ApplicationFailed:
    return ApplicationFailed(f"database {_without_secrets(url)} cannot be reached: {one_line(error)}")


async def _call_async(engine: AsyncEngine, url: URL, call: Call[T]) -> T:
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
        return await _in_session(engine, url, call)
    except asyncio.CancelledError:
        if stopped:
            raise Stopped(stopped[0]) from None
        raise
    finally:
        for number in STOP_SIGNALS:
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
