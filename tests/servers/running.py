"""Servers in processes of their own, and the files that they have open."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.servers.site import VARIABLE

#: How long anything here may take, in seconds.
DEADLINE: Final = 20
ROOT: Final = Path(__file__).parents[2]

_COMMANDS: Final = {
    "uvicorn": ["-m", "tests.servers.site", "uvicorn", "{fd}"],
    "waitress": ["-m", "tests.servers.site", "waitress", "{fd}"],
    "gunicorn": [
        *("-m", "gunicorn", "tests.servers.site:wsgi", "--bind", "fd://{fd}", "--log-level", "warning"),
        *("--worker-class", "gthread", "--threads", "8", "--worker-tmp-dir", "/dev/shm", "--no-control-socket"),
    ],
}


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    name: str
    port: int
    pid: int
    #: The folder of its depots.
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open_files(self) -> list[str]:
        """Return the files of the depots that the process and its workers have open."""
        found = []
        for pid in _family(self.pid):
            with suppress(FileNotFoundError):
                for each in Path(f"/proc/{pid}/fd").iterdir():
                    with suppress(FileNotFoundError):
                        found.append(os.readlink(each))
        return [each for each in found if each.startswith(f"{self.folder}/")]


def _family(pid: int) -> list[int]:
    """Return a process and those that it started."""
    found = [pid]
    with suppress(FileNotFoundError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += _family(int(child))
    return found


def eventually(condition: Callable[[], bool]) -> bool:
    """Return whether something becomes true before the deadline."""
    end = time.monotonic() + DEADLINE
    while not (true := condition()) and time.monotonic() < end:
        os.sched_yield()
    return true


def unavailable(message: str) -> None:
    """Skip, or fail in CI."""
    if os.environ.get("DEPOT_TEST_REQUIRE"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running(name: str, folder: Path) -> Iterator[Running]:
    """Serve the depots below a folder.

    The socket is there before the server: a client that connects waits until it accepts, and no port has to be guessed.
    """
    if importlib.util.find_spec(name) is None:
        unavailable(f"no {name} (pip install {name})")
    log = folder.with_suffix(".log")
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening, log.open("wb") as output:
        descriptor, port = listening.fileno(), listening.getsockname()[1]
        command = [sys.executable, *(each.format(fd=descriptor) for each in _COMMANDS[name])]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, VARIABLE: str(folder), "PYTHONPATH": str(ROOT)},
            pass_fds=[descriptor],
            stdout=output,
            stderr=output,
        )
    # From here on only the server holds the socket: when it ends, connections are refused and nobody waits.
    try:
        _wait(port)
        yield Running(name, port, process.pid, folder)
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        print(log.read_text())  # noqa: T201  # pytest shows it with a test that failed


def _wait(port: int) -> None:
    """Wait for the first answer."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
