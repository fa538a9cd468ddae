"""Servers that do not answer: one that is silent, and one that takes no connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class SilentServer:
    """Takes connections and all bytes, and sends none."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        #: How many connections there were.
        self.count = 0
        #: ``127.0.0.1:port``.
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.url = f"http://{self.address}"

    def run(self) -> None:
        """Take connections until the server is closed."""
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.count += 1
            self._connections.append(connection)
            thread = threading.Thread(target=self._read, args=(connection,))
            thread.start()
            self._threads.append(thread)

    @staticmethod
    def _read(connection: socket.socket) -> None:
        with suppress(OSError):
            while connection.recv(1 << 16):
                pass

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def end(self) -> None:
        """End the connections, when there are no more."""
        for each in self._connections:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()


@contextmanager
def silent_server() -> Iterator[SilentServer]:
    """Run a server that takes all and answers nothing."""
    server = SilentServer()
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
        server.end()


@contextmanager
def deaf_server() -> Iterator[str]:
    """Give the address of a server that takes no connection: those who wait for one are as many as it lets wait."""
    with socket.socket() as listening, suppress(BlockingIOError):
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            with suppress(BlockingIOError):
                each.connect(listening.getsockname())
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            for each in waiting:
                each.close()
