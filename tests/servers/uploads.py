"""Uploads to a server that are slow, that break off, and that are refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import ClassVar, Final
from urllib.parse import urlsplit

import httpx
import pytest

from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes
from depot_lite.uploads import Ticket, upload_ticket
from tests.servers.running import DEADLINE, Running, eventually

BODY: Final = some_bytes(200_000)


class Put:
    """An upload, byte by byte."""

    def __init__(self, server: Running, ticket: Ticket, headers: str = f"Content-Length: {len(BODY)}") -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
        target = urlsplit(ticket.url)
        self.send(f"PUT {target.path}?{target.query} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode())

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end(self) -> None:
        """Send no more, as a client that lied about the length."""
        self._socket.shutdown(socket.SHUT_WR)

    def status(self) -> int:
        """Wait for the answer."""
        return int(self._socket.recv(4096).split()[1])

    def rest(self) -> bytes:
        """Return all that is sent until the server closes the connection."""
        found = b""
        while data := self._socket.recv(4096):
            found += data
        return found

    def close(self) -> None:
        self._socket.close()


class UploadChecks:
    """Uploads to one server, which the fixture ``server`` of a module gives."""

    #: The most at once.
    at_once: ClassVar[int]

    @pytest.fixture
    def uploads(self, server: Running) -> Iterator[FileStorage]:
        """The depot, which has no uploads in progress and no other files afterwards."""
        depot = DepotManager.get("default")
        before = set(depot.list())
        yield depot
        # A place is free when the server has noticed that the client has gone.
        assert eventually(lambda: self._upload(server, upload_ticket()) == 201)
        for each in set(depot.list()) - before:
            depot.delete(each)
        assert eventually(lambda: server.open_files() == [])

    @staticmethod
    def _upload(server: Running, ticket: Ticket, data: bytes = BODY) -> int:
        return httpx.put(f"{server.url}{ticket.url}", content=data, timeout=DEADLINE).status_code

    @contextmanager
    def stalled(self, server: Running, count: int) -> Iterator[list[Put]]:
        """Begin uploads that go no further."""
        with ExitStack() as closing:
            puts = [Put(server, upload_ticket()) for _ in range(count)]
            for put in puts:
                closing.callback(put.close)
                put.send(BODY[:1000])
            yield puts

    def test_stalled_uploads_stop_no_download_and_are_given_up(self, server: Running, uploads: FileStorage) -> None:
        """As many as there may be: one more is refused, files are served, and the answer comes when time is over."""
        file_id = uploads.create(b"hello")
        stored = set(uploads.list())
        with self.stalled(server, self.at_once) as puts, httpx.Client(base_url=server.url, timeout=DEADLINE) as client:
            answers = []

            def refused() -> bool:
                answers.append(client.put(upload_ticket().url, content=b"x"))
                return answers[-1].status_code == 503

            assert eventually(refused)
            assert int(answers[-1].headers["Retry-After"]) > 0
            for _ in range(20):
                assert client.get(f"/depot/default/{file_id}").content == b"hello"
            assert [put.status() for put in puts] == [408] * self.at_once
            assert [put.rest() for put in puts] == [b""] * self.at_once  # the connection is closed
        assert {each for each in uploads.list() if uploads.get(each).content_length == len(BODY)} <= stored

    def test_one_upload_per_ticket_at_a_time(self, server: Running, uploads: FileStorage) -> None:
        """The second is refused while the first is in progress, and also when it has ended."""
        ticket = upload_ticket()
        put = Put(server, ticket)
        put.send(BODY[:1000])
        assert eventually(lambda: self._upload(server, ticket, b"other") == 409)
        put.send(BODY[1000:])
        assert put.status() == 201
        put.close()
        assert self._upload(server, ticket, b"other") == 409
        file_id = urlsplit(ticket.url).path.rpartition("/")[2]
        with uploads.get(file_id) as file:
            assert file.read() == BODY

    @pytest.mark.parametrize("how", ["reset", "end"])
    def test_an_upload_that_breaks_off_leaves_nothing(self, server: Running, uploads: FileStorage, how: str) -> None:
        """Or that has fewer bytes than it announced. The ticket can be used again."""
        before, ticket = set(uploads.list()), upload_ticket()
        put = Put(server, ticket)
        put.send(BODY[:100_000])
        if how == "end":
            put.end()
        else:
            put.close()
        assert eventually(lambda: self._upload(server, ticket, b"again") == 201)
        put.close()
        assert len(set(uploads.list()) - before) == 1

    def test_an_upload_that_began_in_time_may_finish(self, server: Running, uploads: FileStorage) -> None:
        ticket = upload_ticket(expires_in=1)
        put = Put(server, ticket)
        put.send(BODY[:100_000])
        assert eventually(lambda: self._upload(server, ticket, b"late") == 403)
        put.send(BODY[100_000:])
        assert put.status() == 201
        put.close()

    def test_the_body_of_a_refused_upload_is_never_taken_for_a_request(
        self, server: Running, uploads: FileStorage
    ) -> None:
        """The connection goes on with the next request, or is closed; an unread body would be answered with 405."""
        file_id = uploads.create(b"hello")
        body = f"DELETE /depot/default/{file_id} HTTP/1.1\r\nHost: x\r\n\r\n"
        put = Put(server, upload_ticket(max_size=10), f"Content-Length: {len(body)}")
        get = f"GET /depot/default/{file_id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        put.send((body + get).encode())
        statuses = [line.split()[1] for line in put.rest().split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        put.close()
        assert statuses in ([b"413"], [b"413", b"200"])

    def test_a_chunked_upload(self, server: Running, uploads: FileStorage) -> None:
        """Its size is known at its end only; beyond that of the ticket it is refused."""
        for data, status in ((BODY, 201), (BODY * 2, 413)):
            ticket = upload_ticket(max_size=len(BODY))
            chunks = (data[start : start + 10_000] for start in range(0, len(data), 10_000))
            assert httpx.put(f"{server.url}{ticket.url}", content=chunks, timeout=DEADLINE).status_code == status
