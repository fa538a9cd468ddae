"""DepotMiddleware under gunicorn, with threads."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from depot_lite.io.interfaces import FileStorage
from tests.servers.checks import LARGE, ServerChecks, serving
from tests.servers.running import Running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving("gunicorn", tmp_path_factory.mktemp("gunicorn")) as server:
        yield server


class TestGunicorn(ServerChecks):
    def test_the_kernel_sends_a_whole_file(self, client: httpx.Client, depot: FileStorage) -> None:
        """By the server's file wrapper; a part is sent by us."""
        url = f"/depot/default/{depot.create(LARGE)}"
        before = self.sent_by(client)[1]
        assert client.get(url).content == LARGE
        assert self.sent_by(client) == ("gunicorn.http.wsgi.FileWrapper", before + len(LARGE))
        assert client.get(url, headers={"Range": "bytes=1-"}).content == LARGE[1:]
        assert self.sent_by(client) == ("depot_lite.serving.Body", before + len(LARGE))
