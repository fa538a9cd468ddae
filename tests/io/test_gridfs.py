"""GridFSStorage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from depot_lite.io.gridfs import GridFSStorage
from depot_lite.testing import StorageContract
from tests.io.gridfs_server import Server, mongo_server


@pytest.fixture(scope="module", params=["mongomock", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with mongo_server(request.param) as made:
        yield made


@pytest.fixture
def database(server: Server) -> Iterator[Any]:
    with server.database() as made:
        yield made


class TestGridFSStorage(StorageContract):
    @pytest.fixture(autouse=True)
    def _where(self, server: Server, database: Any) -> None:
        self.server, self.database = server, database

    def make_storage(self, tmp_path: Path) -> GridFSStorage:
        return self.server.storage(self.database)
