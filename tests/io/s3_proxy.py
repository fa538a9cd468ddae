"""An HTTP proxy between a storage and its S3 server, which fails when it is told to, as networks do unasked.

    with S3Proxy(server.url) as proxy:
        proxy.fail(Fault.BUSY, "PUT", times=2)
        storage = server.storage(bucket, endpoint_url=proxy.url)

The host name is forwarded as the client sent it, since it is signed. With ``tls=path`` the
proxy speaks HTTPS, and writes its key and certificate there.
"""

from __future__ import annotations

import http.client
import ipaddress
import select
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PIECE = 1 << 16
_BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


_DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Not for you.</Message></Error>"
_FULL = b"<?xml version='1.0'?><Error><Code>XMinioStorageFull</Code><Message>No space left.</Message></Error>"


class Fault(Enum):
    """What happens to a request."""

    #: It is answered with 503 and does not reach the server.
    BUSY = auto()
    #: It is answered with 403 and does not reach the server.
    DENIED = auto()
    #: It is answered with 507 and does not reach the server.
    FULL = auto()
    #: The connection is reset when a part of its body has come; nothing reaches the server.
    CUT_REQUEST = auto()
    #: The server has obeyed; the connection is reset instead of an answer.
    LOSE_ANSWER = auto()
    #: The connection is reset in the middle of the body of the answer.
    CUT_ANSWER = auto()
    #: The server has obeyed; nothing is sent until the client gives up.
    SILENCE = auto()
    #: Nothing reaches the server, and nothing is sent until the client gives up.
    HANG = auto()
    #: A part of its body is read, and nothing more, until the client gives up; nothing reaches the server.
    STALL_REQUEST = auto()
    #: A part of the body of the answer is sent, and nothing more until the client gives up.
    STALL_ANSWER = auto()
    #: Its body is read in ten pieces, with a pause after each.
    SLOW_REQUEST = auto()
    #: The body of the answer is sent in ten pieces, with a pause before each.
    SLOW_ANSWER = auto()


#: The pause of slow requests and answers, in seconds.
PAUSE = 0.35

_ANSWERS = {Fault.BUSY: (503, _BUSY), Fault.DENIED: (403, _DENIED), Fault.FULL: (507, _FULL)}


class S3Proxy:
    """Listens on a port of its own; `fail` says what goes wrong next."""

    def __init__(self, upstream: str, *, tls: Path | None = None) -> None:
        self._upstream = urlsplit(upstream)
        self._lock = threading.Lock()
        self._connections: set[http.client.HTTPConnection] = set()
        self._faults: list[tuple[Fault, str, str, int]] = []
        #: Method and path of every request that came, repeated ones included.
        self.requests: list[tuple[str, str]] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        if tls is not None:
            _write_certificate(tls)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self._server.context = context
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def fail(self, fault: Fault, method: str, *, containing: str = "", times: int = 1, after: int = 0) -> None:
        """Let the next requests fail that match.

        Args:
            containing: what their path or query holds.
            after: how many bytes of the body pass before it is cut.
        """
        with self._lock:
            self._faults += [(fault, method, containing, after)] * times

    def recover(self) -> None:
        """Let no more requests fail."""
        with self._lock:
            self._faults.clear()

    def pending(self) -> int:
        """Return how many faults have not happened."""
        with self._lock:
            return len(self._faults)

    def taken(self) -> list[str]:
        """Return the methods of the requests since the last time."""
        with self._lock:
            methods = [method for method, _ in self.requests]
            self.requests.clear()
        return methods

    def _take(self, method: str, path: str) -> tuple[Fault | None, int]:
        with self._lock:
            self.requests.append((method, path))
            for number, (fault, wanted, containing, after) in enumerate(self._faults):
                if wanted == method and containing in path:
                    del self._faults[number]
                    return fault, after
        return None, 0

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(_Handler):
            def handle_one(self) -> None:
                proxy._serve(self)

        return Handler

    def _serve(self, request: _Handler) -> None:
        fault, after = self._take(request.command, request.path)
        length = int(request.headers.get("Content-Length", 0))
        if fault is Fault.CUT_REQUEST:
            request.rfile.read(min(after, length))
            request.reset()
            return
        if fault is Fault.STALL_REQUEST:
            request.rfile.read(min(after, length))
            request.wait_until_closed()
            return
        body = request.read_slowly(length) if fault is Fault.SLOW_REQUEST else request.rfile.read(length)
        if fault is Fault.HANG:
            request.wait_until_closed()
            return
        if fault in _ANSWERS:
            status, told = _ANSWERS[fault]
            request.answer(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(told)))], told)
            return
        connection = http.client.HTTPConnection(self._upstream.hostname or "", self._upstream.port)
        self._connections.add(connection)
        try:
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name.lower() not in {"connection", "expect"}:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _OF_CONNECTION]
            # An answer to HEAD has the length of a body that it does not send.
            headers += [] if "Content-Length" in dict(headers) else [("Content-Length", str(len(data)))]
        finally:
            self._connections.discard(connection)
            connection.close()
        if fault is Fault.SILENCE:
            request.wait_for_the_client()
        if fault in {Fault.LOSE_ANSWER, Fault.SILENCE}:
            request.reset()
        elif fault is Fault.CUT_ANSWER:
            request.answer(answer.status, headers, data[:after])
            request.reset()
        elif fault is Fault.STALL_ANSWER:
            request.answer(answer.status, headers, data[:after])
            request.wait_until_closed()
        elif fault is Fault.SLOW_ANSWER:
            request.answer(answer.status, headers, data, piece=len(data) // 10 + 1, pause=PAUSE)
        else:
            request.answer(answer.status, headers, data)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.end_connections()
        for each in list(self._connections):  # the server has not answered a client that is gone
            with suppress(OSError, AttributeError):
                each.sock.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()


_OF_CONNECTION = {"connection", "transfer-encoding", "date", "server", "keep-alive"}


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    context: ssl.SSLContext | None = None

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def server_bind(self) -> None:
        # A request that is read slowly is to be sent slowly: here the system would take 32 MB of it at once.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        super().server_bind()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # Here and not in the thread that accepts: a handshake may fail, and others wait.
        if self.context is not None:
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError:  # a client that does not trust us
                request.close()
                return
        self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone: that is what tests are about."""

    def end_connections(self) -> None:
        """End the connections that clients keep, for which their threads wait."""
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.handle_one()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  # how the base class finds them

    def answer(
        self, status: int, headers: list[tuple[str, str]], data: bytes, *, piece: int = _PIECE, pause: float = 0
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            for start in range(0, len(data), piece):
                if pause:
                    self.wfile.flush()
                    time.sleep(pause)
                self.wfile.write(data[start : start + piece])
        self.wfile.flush()

    def read_slowly(self, length: int) -> bytes:
        """Return the body of the request."""
        pieces = []
        for _ in range(10):
            pieces.append(self.rfile.read(length // 10))
            time.sleep(PAUSE)
        return b"".join([*pieces, self.rfile.read(length % 10)])

    def wait_until_closed(self) -> None:
        """Wait until the client closes the connection, whatever it still sends."""
        self.close_connection = True
        waiting = select.poll()
        waiting.register(self.connection, select.POLLRDHUP)
        waiting.poll()

    def reset(self) -> None:
        """Reset the connection."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            self.connection.close()

    def wait_for_the_client(self) -> None:
        """Wait until the client closes the connection."""
        with suppress(OSError):
            self.connection.recv(1)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that it has there
        """Say nothing."""


def _write_certificate(path: Path) -> None:
    """Write a certificate for 127.0.0.1, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
