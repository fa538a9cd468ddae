"""Brokers of task queues, as processes of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

#: Where Debian keeps what its wrapper in /usr/sbin would start as another user.
_RABBITMQ = Path("/usr/lib/rabbitmq/bin")


def free_port() -> int:
    """Return a port that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run Redis, and give its URL."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "Ready to accept connections" in line:
                    break
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()


@contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """Run RabbitMQ, and give its URL."""
    if not (_RABBITMQ / "rabbitmq-server").exists():
        pytest.skip("no rabbitmq-server")
    port, names = free_port(), free_port()
    home = folder / "rabbitmq"
    home.mkdir()
    (home / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
    (home / "plugins").write_text("[].\n")
    environment = os.environ | {
        "HOME": str(home),
        "ERL_EPMD_PORT": str(names),
        "RABBITMQ_NODENAME": f"depot{port}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
    }
    server = subprocess.Popen(
        [str(_RABBITMQ / "rabbitmq-server")], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        control = [str(_RABBITMQ / "rabbitmqctl"), "--quiet"]
        subprocess.run([*control, "wait", "--pid", str(server.pid), "--timeout", "120"], env=environment, check=True)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        with suppress(subprocess.SubprocessError):
            subprocess.run([*control, "stop"], env=environment, check=True, timeout=60)
        server.kill()
        server.wait()
        subprocess.run(["epmd", "-port", str(names), "-kill"], check=False, stdout=subprocess.DEVNULL)


BROKERS = {"redis": redis, "rabbitmq": rabbitmq}
