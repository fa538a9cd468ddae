"""DepotMiddleware under gunicorn, with threads."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from depot_lite.io.fileid import derived_id
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.middleware import UPLOADS_AT_ONCE
from tests.servers.checks import LARGE, ServerChecks, serving
from tests.servers.running import DEADLINE, Running
from tests.servers.site import SMALL
from tests.servers.uploads import UploadChecks


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving("gunicorn", tmp_path_factory.mktemp("gunicorn")) as server:
        yield server


class TestGunicorn(ServerChecks):
    kernel_sends = True

    def test_the_kernel_sends_a_whole_file(self, client: httpx.Client, depot: FileStorage) -> None:
        """By the server's file wrapper; a part is sent by us."""
        url = f"/depot/default/{depot.create(LARGE)}"
        before = self.sent_by(client)[1]
        assert client.get(url).content == LARGE
        assert self.sent_by(client) == ("gunicorn.http.wsgi.FileWrapper", before + len(LARGE))
        assert client.get(url, headers={"Range": "bytes=1-"}).content == LARGE[1:]
        assert self.sent_by(client) == ("depot_lite.serving.Body", before + len(LARGE))


class TestUploadsToGunicorn(UploadChecks):
    """Slow uploads, those that break off, and those that are refused."""

    at_once = UPLOADS_AT_ONCE


@pytest.mark.matrix
def test_two_workers_make_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred clients ask at once for a variant that is not there."""
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    file = io.BytesIO()
    Image.effect_noise((800, 600), 50).save(file, "PNG")
    with serving("gunicorn", tmp_path) as server, ThreadPoolExecutor(100) as clients:
        depot = DepotManager.get("default")
        file_id = depot.create(file.getvalue(), "noise.png")
        url = f"{server.url}/depot/default/{file_id}~{SMALL.fingerprint}"
        asked = [clients.submit(httpx.get, url, timeout=DEADLINE) for _ in range(100)]
        answers = [each.result() for each in asked]
        assert {each.status_code for each in answers} == {200}
        assert len({each.content for each in answers}) == 1
        assert {str(each) for each in depot.list()} == {file_id, derived_id(file_id, SMALL.fingerprint)}
