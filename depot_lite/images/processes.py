"""`WorkerProcess`: a process that decodes images, as seen by the process that started it.

It is a new interpreter, not a fork, so this works in threaded servers and in the daemonic processes of Celery. It
receives the file as a descriptor and the request by pickle. Its answer is JSON and the bytes of images, and is checked:
a worker cannot be trusted any more once it has decoded a hostile image. Its program is `depot_lite.images.worker`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from depot_lite.errors import ConfigurationError, ImageRefused
from depot_lite.images.headers import CONTENT_TYPES, EXTENSIONS, ImageInfo, Rendition

_log = logging.getLogger("depot_lite")

#: A worker that uses no processor time, because it was stopped, say, has this many times as long.
_PATIENCE: Final = 6
#: Seconds in which a worker starts.
_START: Final = 60
_MAX_ANSWER: Final = 1_000_000

#: The variables of the environment that a worker needs.
_ENVIRONMENT: Final = {"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "HOME", "VIRTUAL_ENV"}


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of `isolated`."""

    workers: int
    #: In bytes.
    memory: int
    seconds: float
    python: str


@dataclass(frozen=True, slots=True)
class Question:
    """A call of a function, with the renditions that its answer may have."""

    function: str
    request: bytes
    #: The names of the renditions.
    renditions: set[str]
    #: The descriptor of the file, if it is passed on.
    descriptors: list[int]


class Unanswered(Exception):
    """The worker ended, or did not answer in time."""


class BadAnswer(Exception):
    """The worker sent something else than an answer."""


class WorkerProcess:
    """A process that decodes one image at a time."""

    #: The module with its program.
    program: ClassVar[str] = "depot_lite.images.worker"
    #: A description of the job, for messages.
    subject: ClassVar[str] = "image"

    def __init__(self, options: Options) -> None:
        self._options = options
        self._timed_out = False
        #: Whether the last question has been read.
        self.has_begun = False
        self._socket, theirs = socket.socketpair()
        # The path is passed on, since the program may have changed it.
        program = f"import sys; sys.path[:] = {sys.path!r}; import {self.program} as worker; worker.main()"
        arguments = [str(theirs.fileno()), str(options.memory), str(options.seconds)]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter that the application chose
                [options.python, "-c", program, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the server, which may be told to finish its requests
                # No secrets of the application.
                env={name: os.environ[name] for name in _ENVIRONMENT & os.environ.keys()},
            )
        try:
            # Importing Pillow takes a while.
            self._deadline = time.monotonic() + _START
            ready = self._receive(1)
        except Unanswered:
            ready = b""
        if ready != b"+":
            self.end()
            raise ConfigurationError(
                f"isolated: the worker process does not start: {options.python} ended with the exit code "
                f"{self._process.returncode}"
            )

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def ask(self, question: Question) -> Any:
        """Have the worker call a function, and return its result.

        Raises:
            Unanswered: the worker ended, or did not answer in time.
            BadAnswer: it answered with something else.
        """
        self._deadline = time.monotonic() + _PATIENCE * self._options.seconds + _START
        self.has_begun = False
        try:
            socket.send_fds(self._socket, [struct.pack(">I", len(question.request))], question.descriptors)
            self._socket.sendall(question.request)
        except OSError:
            raise Unanswered from None
        if self._receive(1) != b"+":
            raise BadAnswer("no question was read")
        self.has_begun = True
        self._serve(question)
        try:
            (length,) = struct.unpack(">I", self._receive(4))
            if length > _MAX_ANSWER:
                raise BadAnswer("an answer that is too long")
            return self._result(json.loads(self._receive(length)), question)
        except (ImageRefused, ConfigurationError):
            raise
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise BadAnswer("no answer of this function") from error

    def _serve(self, question: Question) -> None:
        """Answer the requests of the worker before its own answer; it has none unless a subclass overrides this."""

    def _receive(self, size: int) -> bytes:
        data, taken = bytearray(size), 0
        view = memoryview(data)
        while taken < size:
            left = self._deadline - time.monotonic()
            try:
                self._socket.settimeout(max(left, 0.001))
                count = self._socket.recv_into(view[taken:])
            except TimeoutError:
                self._timed_out = True
                raise Unanswered from None
            except OSError:
                raise Unanswered from None
            if not count:
                raise Unanswered
            taken += count
        return bytes(data)

    def _result(self, answer: dict[str, Any], question: Question) -> Any:
        if refused := answer.get("refused"):
            message, rule, limit, value = refused
            raise ImageRefused(str(message), rule=str(rule), limit=limit, value=value)
        if message := answer.get("misconfigured"):
            raise ConfigurationError(str(message))
        info = None if answer["info"] is None else _info(*answer["info"])
        entries = answer["renditions"]
        if (
            not (question.renditions if question.function == "render" else set())
            <= entries.keys()
            <= question.renditions
        ):
            raise BadAnswer("other renditions")
        if sum(int(entry[3]) for entry in entries.values()) > self._options.memory:
            raise BadAnswer("renditions that are too large")
        made = {str(name): self._rendition(*entry) for name, entry in entries.items()}
        if question.function in ("strip", "preview"):
            return made.get("")
        if info is None:
            raise BadAnswer("no description of the image")
        return (info, made) if question.function == "render" else info

    def _rendition(self, name: str, width: int, height: int, size: int) -> Rendition:
        data = self._receive(_checked(size, self._options.memory))
        return Rendition(data, _checked(width), _checked(height), CONTENT_TYPES[name], EXTENSIONS[name])

    def refusal(self) -> ImageRefused:
        """Return the error for an image whose worker ended, or does not answer."""
        code = self._process.returncode
        if self._timed_out or code == -signal.SIGXCPU:
            message = f"the {self.subject} takes more than {self._options.seconds:g} seconds to be decoded"
            return ImageRefused(message, rule="time", limit=self._options.seconds)
        _log.warning("a worker for %ss ended with the exit code %s", self.subject, code)
        return ImageRefused(f"the {self.subject} cannot be decoded", rule="decodable")

    def end(self) -> None:
        """End the process, and wait for that."""
        self._socket.close()
        if not self._timed_out:
            # At the end of the connection it ends by itself, if it has not been ended.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Leave the process to the process that started it."""
        self._socket.close()
        self._process.poll()


def _info(name: str, width: int, height: int, frames: int, has_alpha: bool) -> ImageInfo:
    content_type = CONTENT_TYPES[name]
    return ImageInfo(str(name), content_type, _checked(width), _checked(height), _checked(frames), bool(has_alpha))


def _checked(number: int, most: int = 2**31) -> int:
    """Return a number of an answer."""
    if type(number) is not int or not 0 < number <= most:
        raise BadAnswer(f"the number {number!r}")
    return number
