"""A TCP proxy between a test and its database, which cuts the connection at a chosen message.

One thread for each connection forwards bytes. Database protocols are question and answer, so that what arrives at once
from the client is one message: a statement, a COMMIT.

    with Proxy.before(url) as proxy:
        engine = create_engine(proxy.url)
        ...
        proxy.cut(asking=b"COMMIT")        # the message that holds these bytes does not reach the server
        proxy.cut(answering=b"COMMIT")     # it does, and was obeyed; its answer goes nowhere
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Self

from sqlalchemy import URL

_SIZE = 1 << 16

#: In the clear, so that the proxy can read the statements. MariaDB's driver needs no saying.
_PLAIN = {"postgresql": {"sslmode": "disable", "gssencmode": "disable"}, "mariadb": {"ssl_disabled": "true"}}


class _Fate(Enum):
    FORWARD = auto()
    CUT = auto()
    CUT_ANSWER = auto()


class Proxy:
    """Listens on a port of its own and forwards to the server; `cut` says when it stops."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._decide: Callable[[bytes], _Fate] = lambda message: _Fate.FORWARD
        self._instead: Callable[[], None] | None = None
        #: How many messages clients have sent since `cut` or the beginning.
        self.messages = 0
        #: The message at which a connection was cut as planned.
        self.cut_at: bytes | None = None
        self._closed = False
        self._start(self._accept)

    @property
    def port(self) -> int:
        """Where to connect to."""
        port: int = self._listener.getsockname()[1]
        return port

    @classmethod
    @contextmanager
    def before(cls, url: URL) -> Iterator[tuple[Self, URL]]:
        """Give a proxy before the server of a URL, and the URL that leads through it."""
        proxy = cls((url.host or "127.0.0.1", url.port or 0))
        try:
            through = url.set(host="127.0.0.1", port=proxy.port)
            yield proxy, through.update_query_dict(_PLAIN[url.get_backend_name().replace("mysql", "mariadb")])
        finally:
            proxy.close()

    # --- plans ----------------------------------------------------------------------------------------------------

    def cut(
        self,
        *,
        asking: bytes | None = None,
        answering: bytes | None = None,
        number: int | None = None,
        skip: int = 0,
        instead: Callable[[], None] | None = None,
    ) -> None:
        """Cut once, at the first message that matches; everything else is forwarded.

        Args:
            asking: the message with these bytes does not reach the server.
            answering: the answer to the message with these bytes does not reach the client.
            number: the n-th message from now, the first being 0, does not reach the server.
            skip: how many messages that match are forwarded before.
            instead: called in the proxy's thread at the moment of the cut; then everything is forwarded after all.
        """
        matching = iter(range(skip + 1))

        def decide(message: bytes) -> _Fate:
            found = _Fate.FORWARD
            if (asking is not None and asking in message) or number == self.messages - 1:
                found = _Fate.CUT
            elif answering is not None and answering in message:
                found = _Fate.CUT_ANSWER
            return found if found is not _Fate.FORWARD and next(matching) == skip else _Fate.FORWARD

        with self._lock:
            self.messages, self.cut_at = 0, None
            self._instead, self._decide = instead, decide

    def cut_now(self) -> None:
        """Cut every connection that is open."""
        with self._lock:
            for each in self._open:
                _shut_down(each)

    # --- threads --------------------------------------------------------------------------------------------------

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._start(self._forward, client)

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            with self._lock:
                self._open |= {client, server}
            try:
                if self._closed:
                    return
                # A database that finds its client gone may reset the connection instead of closing it.
                with suppress(ConnectionError):
                    self._talk(client, server)
            finally:
                with self._lock:
                    self._open -= {client, server}

    def _talk(self, client: socket.socket, server: socket.socket) -> None:
        fate = _Fate.FORWARD
        while True:
            for each in select.select([client, server], [], [])[0]:
                data = each.recv(_SIZE)
                if not data:
                    return
                if each is client:
                    fate = self._fate(data)
                if fate is (_Fate.CUT if each is client else _Fate.CUT_ANSWER):
                    if self._instead is None:
                        return
                    self._instead()
                    fate = _Fate.FORWARD
                (server if each is client else client).sendall(data)

    def _fate(self, message: bytes) -> _Fate:
        with self._lock:
            self.messages += 1
            fate = self._decide(message)
            if fate is not _Fate.FORWARD:
                self.cut_at, self._decide = message, lambda message: _Fate.FORWARD
        return fate

    def close(self) -> None:
        """Close every connection and wait for the threads."""
        self._closed = True
        _shut_down(self._listener)
        self._listener.close()
        self.cut_now()
        for thread in self._threads:
            thread.join()


def _shut_down(each: socket.socket) -> None:
    with suppress(OSError):  # the other side was faster
        each.shutdown(socket.SHUT_RDWR)
