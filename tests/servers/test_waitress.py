"""DepotMiddleware under waitress."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from depot_lite.io.interfaces import FileStorage
from tests.servers.checks import LARGE, ServerChecks, serving
from tests.servers.running import Running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving("waitress", tmp_path_factory.mktemp("waitress")) as server:
        yield server


class TestWaitress(ServerChecks):
    hangs_up_after_304 = True

    def test_a_whole_file_goes_through_the_server_s_file_wrapper(
        self, client: httpx.Client, depot: FileStorage
    ) -> None:
        """Which reads it as fast as the client takes it, and keeps no thread waiting; a part is sent by us."""
        url = f"/depot/default/{depot.create(LARGE)}"
        assert client.get(url).content == LARGE
        assert self.sent_by(client)[0] == "waitress.buffers.ReadOnlyFileBasedBuffer"
        assert client.get(url, headers={"Range": "bytes=1-"}).content == LARGE[1:]
        assert self.sent_by(client)[0] == "depot_lite.serving.Body"
