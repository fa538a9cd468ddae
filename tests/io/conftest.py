"""Where the storages under test keep their files, and the rows that name them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.conftest import sqlite_engine
from tests.io.backends import Place, Servers, place_on
from tests.support.models import Base
from tests.support.streams import DATA


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """SQLite alone: that the databases differ is tested with local files."""
    made = sqlite_engine(tmp_path_factory.mktemp("rows") / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file to upload."""
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path
