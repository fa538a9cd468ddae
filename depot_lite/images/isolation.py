"""Isolation: decoding in worker processes, with limits that the operating system enforces.

A decoder that crashes, or takes all memory or time, ends a worker and not the server. Each worker is a `WorkerProcess`,
started for the first images and kept for later ones.
"""

from __future__ import annotations

import atexit
import os
import pickle
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, BinaryIO, Concatenate, Final, ParamSpec, TypeVar

from depot_lite.errors import AlreadyConfigured, ConfigurationError
from depot_lite.images.budget import MAX_SECONDS
from depot_lite.images.formats import measure
from depot_lite.images.headers import DEFAULT_FORMATS, MAX_PIXELS, format_of
from depot_lite.images.pool import WorkerPool
from depot_lite.images.processes import Options, Question
from depot_lite.images.source import refusing
from depot_lite.io.sizes import size_of

P = ParamSpec("P")
T = TypeVar("T")

#: Pixels in all frames up to which an image counts as small, if it takes no seconds: one worker takes only those.
_SMALL: Final = 4_000_000


class Isolation(WorkerPool):
    """The worker processes that decode images. A context manager that ends them."""

    def call(self, name: str, file: BinaryIO, *arguments: Any, **options: Any) -> Any:
        """Return the result of the function of `depot_lite.images` with this name.

        Raises:
            ImageRefused: as from the function, and from `ask`.
            ImagesBusy: as from `ask`.
            ConfigurationError: as from `ask`.
        """
        # Measured here, without a decoder.
        formats, max_pixels = options.get("formats", DEFAULT_FORMATS), options.get("max_pixels", MAX_PIXELS)
        format_found = format_of(file, formats)
        with refusing():
            found = measure(format_found, file, max_pixels, self.options.memory)
        large = found.width * found.height * found.frames > _SMALL or found.seconds > MAX_SECONDS
        # Errors of the file, and of a recipe that cannot be sent, are the caller's.
        request = pickle.dumps((name, arguments, options))
        with tempfile.TemporaryFile() as copy:
            file.seek(0)
            shutil.copyfileobj(file, copy, 1024 * 1024)
            copy.flush()
            recipes = set(arguments[0] if arguments else options.get("recipes", ())) if name == "render" else {""}
            return self.ask(Question(name, request, recipes, [copy.fileno()]), large=large)

    def close(self) -> None:
        """End the workers, each when it has done its work, and decode in this process again."""
        super().close()
        with _configuring:
            if _active == [self]:
                _active.clear()


_configuring: Final = threading.Lock()
_active: Final[list[Isolation]] = []


def active() -> Isolation | None:
    """Return the workers that are in use, None if images are decoded in this process."""
    return _active[0] if _active else None


def isolated(
    workers: int = 2, memory: int | str = "512 MiB", seconds: float = 10, python: str | None = None
) -> Isolation:
    """Decode images in worker processes from now on. They are started for the first images.

    Args:
        workers: the number of processes. With two or more, one of them takes only images of up to 4 megapixels.
        memory: bytes, or text such as ``"1 GiB"``: what an image may take. It replaces the limit of 480 MB.
        seconds: processor time for one image.
        python: the path of the interpreter; by default `sys.executable`, which is not one in some embedding servers.

    Raises:
        ConfigurationError: a value is out of range, or the system is Windows.
        AlreadyConfigured: workers are in use with other options.
    """
    if type(workers) is not int or workers < 1:
        raise ConfigurationError(f"workers={workers!r}: expected a number of processes, 1 or more")
    if type(seconds) not in (int, float) or not 0 < seconds < 86_400:
        raise ConfigurationError(f"seconds={seconds!r}: expected seconds of processor time, such as 10")
    if not hasattr(socket, "send_fds"):
        raise ConfigurationError("isolated: worker processes need a Unix system")
    options = Options(workers, size_of("memory", memory), seconds, python or sys.executable)
    if options.memory < 64 * 1024**2:
        raise ConfigurationError(f"memory={memory!r}: expected 64 MiB or more")
    with _configuring:
        if not _active:
            _active.append(Isolation(options))
        current = _active[0]
    different = ", ".join(
        f"{each.name}={getattr(current.options, each.name)!r}"
        for each in fields(options)
        if getattr(current.options, each.name) != getattr(options, each.name)
    )
    if different:
        raise AlreadyConfigured(f"images are isolated already, with {different}; close() that first")
    return current


def in_worker(function: Callable[Concatenate[BinaryIO, P], T]) -> Callable[Concatenate[BinaryIO, P], T]:
    """Have a function of `depot_lite.images` run in a worker if there are any."""

    @wraps(function)
    def call(file: BinaryIO, /, *args: P.args, **options: P.kwargs) -> T:
        workers = active()
        if workers is None:
            return function(file, *args, **options)
        found: T = workers.call(function.__name__, file, *args, **options)
        return found

    return call


def _after_fork() -> None:
    for each in _active:
        each.reset()


@atexit.register
def _at_exit() -> None:
    for each in _active:
        each.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
