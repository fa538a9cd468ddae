"""Processes that begin at once: copies of one that has imported what most of them import.

To start Python and to import SQLAlchemy takes longer than the work of a command in a test. Each process imports our own
modules itself, so that a forgotten import is noticed. The start of Python, its signals and terminals are tested with
`subprocess`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

ROOT: Final = Path(__file__).parents[1]

_IMPORTED: Final = (
    "aiomysql",
    "aiosqlite",
    "argparse",
    "asyncpg",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "itsdangerous",
    "PIL.Image",
    "psycopg",
    "pymysql",
    "pytest",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
)


class Fork:
    """A process: a part of what `subprocess.Popen` has."""

    def __init__(self, status: int, out: int, err: int) -> None:
        # The bytes read of each until now; None once it was closed.
        self._read = {status: b"", out: b"", err: b""}
        self._open = {status, out, err}
        self._status, self._out, self._err = status, out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        for fd in self._read:
            os.close(fd)

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        self._wait(lambda: b"\n" in self._read[self._status], 60)
        pid, _, code = self._read[self._status].partition(b"\n")
        if not code:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def wait_for_a_word(self, timeout: float) -> None:
        """Wait until it has written to stderr, or has ended."""
        self._wait(lambda: bool(self._read[self._err]), timeout)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for its end, and return its stdout and stderr."""
        self._wait(lambda: False, timeout)
        return self._read[self._out].decode(), self._read[self._err].decode()

    @property
    def returncode(self) -> int:
        """Its exit code, or the negative number of the signal that ended it."""
        return int(self._read[self._status].partition(b"\n")[2])

    def _wait(self, enough: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            for fd in self._open:
                selector.register(fd, selectors.EVENT_READ)
            while self._open and not enough():
                found = selector.select(max(0, deadline - time.monotonic()))
                if not found:
                    raise subprocess.TimeoutExpired("a fork", timeout)
                for key, _ in found:
                    data = os.read(key.fd, 65536)
                    self._read[key.fd] += data
                    if not data:
                        selector.unregister(key.fd)
                        self._open.remove(key.fd)


class Forks:
    """The process that all are copies of, and a folder for their compiled modules."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def __enter__(self) -> Self:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the tests
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._control.close()
        self._process.wait()

    def start(self, module: str, *words: str, cwd: Path, env: Mapping[str, str], stdout: int | None = None) -> Fork:
        """Start ``python -m module words...``, with nothing on stdin."""
        pipes = [os.pipe() for _ in range(3)]
        (status, tell), (out, write_out), (err, write_err) = pipes
        environment = {**env, "PYTHONPYCACHEPREFIX": str(self.cache)}
        request = {"module": module, "words": words, "cwd": str(cwd), "env": environment}
        try:
            handed = [tell, write_out if stdout is None else stdout, write_err]
            socket.send_fds(self._control, [json.dumps(request).encode()], handed)
        finally:
            for _, theirs in pipes:
                os.close(theirs)
        return Fork(status, out, err)


# --- the process itself -----------------------------------------------------------------------------------------------


class _Request(NamedTuple):
    module: str
    words: list[str]
    cwd: str
    env: dict[str, str]


def _next_fork(control: socket.socket) -> _Request | None:
    """Fork for each request, and return it in the fork; return None when there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while True:
        data, fds, _, _ = socket.recv_fds(control, 1 << 20, 3)
        if not data:
            return None
        if os.fork() == 0:
            control.close()
            if _forked_and_watched(*fds):
                return _Request(**json.loads(data))
        for fd in fds:
            os.close(fd)


def _forked_and_watched(tell: int, out: int, err: int) -> bool:
    """Return in a fork; the process that called tells its number and its exit code, and ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        for number, fd in ((1, out), (2, err)):
            os.dup2(fd, number)
        for fd in (tell, out, err):
            os.close(fd)
        return True
    os.close(out)
    os.close(err)
    with suppress(OSError):  # whoever asked may be gone
        os.write(tell, b"%d\n" % pid)
        os.write(tell, b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def _main() -> None:
    for name in _IMPORTED:
        if find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)
    gc.freeze()  # these objects stay: no process needs to look at them again when it ends
    with socket.socket(fileno=int(sys.argv[1])) as control:
        request = _next_fork(control)
    if request is None:
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request.env)
    os.chdir(request.cwd)
    sys.path[0] = request.cwd
    sys.argv[1:] = request.words
    sys.pycache_prefix, sys.dont_write_bytecode = request.env["PYTHONPYCACHEPREFIX"], False
    # Where they lead was looked at when they were made.
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115  # as Python does
    sys.stderr = sys.__stderr__ = open(2, "w", errors="backslashreplace", buffering=1, closefd=False)  # type: ignore[misc]  # noqa: SIM115  # the same
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
