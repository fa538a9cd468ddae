"""A program that verifies a depot slowly, and is killed: ``URL MEDIA STATE``."""

from __future__ import annotations

import json
import sys

from sqlalchemy import create_engine

from depot_lite.io.local import LocalFileStorage
from depot_lite.maintenance import verification
from depot_lite.manager import DepotManager
from tests.conftest import sqlite_engine
from tests.maintenance.conftest import Base


def main(url: str, media: str, state: str) -> None:
    """Say "begun" on stderr, and at the end the number of files read and the findings on stdout."""
    verification._INTERVAL = 0.02  # type: ignore[misc]  # it is for the tests to change
    DepotManager.configure("default", LocalFileStorage(media, durable=False))
    engine = sqlite_engine(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else create_engine(url)
    print("begun", file=sys.stderr, flush=True)  # noqa: T201  # for the test that started it
    report = verification.verify(engine, "default", state=state, rate=4_000_000, models=[Base])
    print(json.dumps([report.read, sorted(each.file_id for each in report.findings)]))  # noqa: T201  # the same
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
