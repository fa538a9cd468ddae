"""DepotASGI under uvicorn."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.servers.checks import ServerChecks, serving
from tests.servers.running import DEADLINE, Running, eventually
from tests.servers.site import AT_ONCE
from tests.servers.uploads import BODY, UploadChecks


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving("uvicorn", tmp_path_factory.mktemp("uvicorn")) as server:
        yield server


class TestUvicorn(ServerChecks):
    """All that every server does."""


class TestUploadsToUvicorn(UploadChecks):
    """Slow uploads, those that break off, and those that are refused."""

    at_once = AT_ONCE

    def test_a_server_that_is_ended_waits_for_stalled_uploads_no_longer_than_they_may_stall(
        self, tmp_path: Path
    ) -> None:
        """And leaves nothing of them."""
        with serving("uvicorn", tmp_path / "site") as server, self.stalled(server, 3) as puts:
            for put in puts:
                put.send(BODY[1000:150_000])
            assert eventually(lambda: len(server.open_files()) == 3)
            os.kill(server.pid, signal.SIGTERM)
            assert [put.status() for put in puts] == [408] * 3
            assert eventually(lambda: not _accepts(server.port))
            assert [each for each in (tmp_path / "site").rglob("*") if each.is_file()] == []


def _accepts(port: int) -> bool:
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), DEADLINE):
        return True
    return False
