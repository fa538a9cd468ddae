"""DepotASGI under uvicorn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.checks import ServerChecks, serving
from tests.servers.running import Running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving("uvicorn", tmp_path_factory.mktemp("uvicorn")) as server:
        yield server


class TestUvicorn(ServerChecks):
    """All that every server does."""
