"""The two places of the demo: SQLite and the local disk, PostgreSQL and S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from movies.models import Base
from movies.settings import Settings
from sqlalchemy import create_engine

from tests.examples.running import Demo, started
from tests.io.s3_server import Server, moto_server
from tests.support.databases import own_database


@pytest.fixture(scope="session")
def s3() -> Iterator[Server]:
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with own_database("postgresql") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"], ids=["SQLite and disk", "PostgreSQL and S3"])
def environment(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The variables for the demo, and behind them an empty database and an empty storage."""
    found = {"MOVIES_HOME": str(tmp_path / "home")}
    if request.param == "sqlite":
        yield found
        return
    s3: Server = request.getfixturevalue("s3")
    url: str = request.getfixturevalue("postgresql")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with s3.bucket() as bucket:
        yield {
            **found,
            "MOVIES_DATABASE_URL": url,
            "MOVIES_S3_BUCKET": bucket,
            "MOVIES_S3_ENDPOINT_URL": s3.url,
        }
    engine = create_engine(url)
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return Settings.of(environment)


@pytest.fixture
def demo(environment: dict[str, str]) -> Iterator[Demo]:
    """The demo without a movie."""
    settings = Settings.of(environment)
    with started(Settings(**{**vars(settings), "samples": False})) as demo:
        yield demo
