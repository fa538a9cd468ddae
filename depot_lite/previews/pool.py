"""The worker processes that make previews, as seen by the process that started them."""

from __future__ import annotations

import atexit
import os
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, Final

from depot_lite.errors import ConfigurationError
from depot_lite.images.isolation import active
from depot_lite.images.pool import WorkerPool
from depot_lite.images.processes import BadAnswer, Options, Question, Unanswered, WorkerProcess

#: The bytes of a file that are read for one preview. Behind them, the file seems to end.
MAX_READ: Final = 128 * 1024**2
#: The bytes that a worker may ask for at once.
MAX_PART: Final = 256 * 1024

#: The limits, unless `depot_lite.images.isolated` has set others.
_DEFAULTS: Final = Options(workers=2, memory=512 * 1024**2, seconds=10, python=sys.executable)


@dataclass(frozen=True, slots=True)
class PreviewQuestion(Question):
    """A question with the file that the worker reads in parts."""

    source: BinaryIO


class PreviewProcess(WorkerProcess):
    """A process that makes one preview at a time. It asks for the parts of the file that it needs."""

    program: ClassVar[str] = "depot_lite.previews.worker"
    subject: ClassVar[str] = "preview"

    def _serve(self, question: Question) -> None:
        """Send the parts of the file that the worker asks for, until it has the answer.

        Raises:
            OSError: from the file; the worker cannot be used any more.
        """
        assert isinstance(question, PreviewQuestion)  # noqa: S101 - from `preview` only
        left = MAX_READ
        while (said := self._receive(1)) == b"r":
            offset, size = struct.unpack(">QI", self._receive(12))
            if size > MAX_PART or offset >= 2**63:
                raise BadAnswer("a part that is too large")
            began = time.monotonic()
            data = _part(question.source, offset, min(size, left))
            # The worker does not wait for a slow storage at its own expense.
            self._deadline += time.monotonic() - began if data else 0
            left -= len(data)
            try:
                self._socket.sendall(struct.pack(">I", len(data)) + data)
            except OSError:
                raise Unanswered from None
        if said != b".":
            raise BadAnswer("neither a question nor an answer")


def _part(file: BinaryIO, offset: int, size: int) -> bytes:
    """Return bytes of a file, fewer than ``size`` at its end only."""
    file.seek(offset)
    data = file.read(size)
    while data and len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


class PreviewPool(WorkerPool):
    """The worker processes that make previews."""

    process: ClassVar[type[WorkerProcess]] = PreviewProcess


_lock: Final = threading.Lock()
_current: Final[list[PreviewPool]] = []


def current_pool() -> PreviewPool:
    """Return the workers of this process, with the limits that images have now.

    Raises:
        ConfigurationError: the system is Windows.
    """
    if not hasattr(socket, "send_fds"):
        raise ConfigurationError("previews: worker processes need a Unix system")
    isolation = active()
    options = _DEFAULTS if isolation is None else isolation.options
    with _lock:
        former = [each for each in _current if each.options != options]
        if former or not _current:
            _current[:] = [PreviewPool(options)]
        found = _current[0]
    for each in former:
        each.close()
    return found


def close_pool() -> None:
    """End the workers, each when it has done its work. The next preview starts others."""
    with _lock:
        former, _current[:] = list(_current), []
    for each in former:
        each.close()


def _after_fork() -> None:
    _lock.release()
    for each in _current:
        each.reset()


atexit.register(close_pool)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork)
