"""Transfers of a session."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_WITHOUT_GREENLET = """
import sys
sys.modules["greenlet"] = None  # as after a failed import
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from depot_lite import DepotManager
from tests.support.models import Base, Document

depot = DepotManager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
DepotManager.alias("archive", "default")
engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
with Session(engine) as session:
    document = Document(content=b"one")
    session.add(document)
    session.commit()
    document.content = b"two"
    session.commit()
    document.content = b"three"
    session.flush()
    session.rollback()
    assert document.content.file.read() == b"two"
assert len(list(depot.list())) == 1
print("fine")
"""


@pytest.mark.matrix
def test_sessions_need_no_greenlet() -> None:
    """SQLAlchemy needs that library for asyncio only, and 2.1 does not install it by itself."""
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT_GREENLET],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert run.stdout == "fine\n", run.stderr
