"""The application that the command works for: the module that configures depots and models, and the names in it."""

from __future__ import annotations

import importlib
import inspect
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from depot_lite.cli.errors import ApplicationFailed, one_line


def load_application(app: str) -> None:
    """Import ``package.module``, and call the factory of ``package.module:factory``.

    Raises:
        ApplicationFailed: the module or the factory does not exist, or raised an exception.
    """
    label = f"--app {app!r}"
    name, colon, factory = app.partition(":")
    if colon and not factory:
        raise ApplicationFailed(f"--app: expected package.module or package.module:factory, got {app!r}")
    module = _import(name, "--app", app, "package.module or package.module:factory")
    if factory:
        call_factory(_attribute(module, factory, label), label, factory)


def load_object(option: str, text: str) -> Any:
    """Return the object that ``package.module:name`` stands for; ``name`` may contain dots.

    Raises:
        ApplicationFailed: the module or the name does not exist, or the module raised an exception.
    """
    module, _, name = text.partition(":")
    if not name:
        raise ApplicationFailed(f"{option}: expected package.module:name, got {text!r}")
    return _attribute(_import(module, option, text, "package.module:name"), name, f"{option} {text!r}")


def _import(name: str, option: str, given: str, form: str) -> ModuleType:
    folder = str(Path.cwd())
    if sys.path[0] != folder:
        sys.path.insert(0, folder)
    label = f"{option} {given!r}"
    if not all(part.isidentifier() for part in name.split(".")):
        raise ApplicationFailed(f"{option}: expected {form}, got {given!r}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ApplicationFailed(
                f"{label}: there is no module {error.name!r}, neither in {folder} nor installed"
            ) from None
        raise _raised(label, error) from error
    except (Exception, SystemExit) as error:
        raise _raised(label, error) from error


def _attribute(module: ModuleType, name: str, label: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ApplicationFailed(f"{label}: the module has no {name!r}")
        found = getattr(found, part)
    return found


def call_factory(factory: Any, label: str, name: str) -> Any:
    """Call a function of the application without arguments, and return its result.

    Raises:
        ApplicationFailed: it is no function, has to be awaited, or raised an exception.
    """
    if not callable(factory):
        raise ApplicationFailed(f"{label}: expected {name!r} to be a function, got {type(factory).__name__}")
    if inspect.iscoroutinefunction(factory):
        raise ApplicationFailed(f"{label}: expected {name!r} to be a plain function, got a coroutine function")
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise _raised(label, error) from error


def _raised(label: str, error: BaseException) -> ApplicationFailed:
    return ApplicationFailed(f"{label}: {type(error).__name__}: {one_line(error)}{_origin(error)}")


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
