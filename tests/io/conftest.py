"""Where the storages under test keep their files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.io.backends import Place, Servers, place_on


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as closing:
        yield Servers(closing)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Iterator[Place]:
    """An empty place of the backend that the test is run with; nothing but files may be left in it."""
    with place_on(request.param, tmp_path, servers) as made:
        yield made
        assert made.remains() == []
