"""The application that the command line works for: a module that configures depots and models."""

from __future__ import annotations

import importlib
import inspect
import sys
import sysconfig
import traceback
from pathlib import Path

from depot_lite.cli.failures import AppFailed, one_line


def load_app(app: str) -> None:
    """Import ``package.module``, and call the factory of ``package.module:factory``.

    Raises:
        AppFailed: there is no such module or factory, or it raised something.
    """
    name, _, factory = app.partition(":")
    here = str(Path.cwd())
    if sys.path[0] != here:
        sys.path.insert(0, here)
    if not all(part.isidentifier() for part in name.split(".")) or app.endswith(":"):
        raise AppFailed(f"--app {app!r}: package.module or package.module:factory is wanted")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise AppFailed(
                f"--app {app!r}: there is no module {error.name!r}, neither in {here} nor installed"
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
            raise AppFailed(f"--app {app!r}: the module has no {factory!r}")
        found = getattr(found, part)
    if not callable(found):
        raise AppFailed(f"--app {app!r}: {factory!r} is {type(found).__name__}, no function")
    if inspect.iscoroutinefunction(found):
        raise AppFailed(f"--app {app!r}: {factory!r} has to be awaited; a plain function is wanted")
    try:
        found()
    except (Exception, SystemExit) as error:
        raise _raised(app, error) from error


def _raised(app: str, error: BaseException) -> AppFailed:
    return AppFailed(f"--app {app!r}: {type(error).__name__}: {one_line(error)}{_place(error)}")


def _place(error: BaseException) -> str:
    """Return where in the application's own code something was raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({_short(error.filename)}, line {error.lineno})"
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<frozen")]
    foreign = (str(Path(__file__).parents[1]), *(sysconfig.get_path(each) for each in ("stdlib", "purelib", "platlib")))
    own = [each for each in frames if not each.filename.startswith(foreign)]
    for frame in (own or frames)[-1:]:
        return f" ({_short(frame.filename)}, line {frame.lineno})"
    return ""


def _short(filename: str) -> str:
    """Return a path as seen from here, where it lies below."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
