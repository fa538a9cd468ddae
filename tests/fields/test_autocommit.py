"""Connections on which a rollback brings nothing back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from tests.conftest import World
from tests.support.models import Base, Document


@pytest.mark.parametrize("how", ["create_engine", "execution_options"])
def test_a_row_that_was_written_in_autocommit_keeps_its_file_when_the_session_rolls_back(
    world: World, how: str
) -> None:
    """In AUTOCOMMIT the row is there for good, whatever the session believes."""
    # A new engine: on SQLite, that of the other tests sends BEGIN by itself.
    made = create_engine(world.engine.url, **({"isolation_level": "AUTOCOMMIT"} if how == "create_engine" else {}))
    engine = made.execution_options(isolation_level="AUTOCOMMIT") if how == "execution_options" else made
    with Session(engine) as session:
        session.add(Document(content=b"for good"))
        session.flush()
        session.rollback()
    made.dispose()
    world.check(b"for good")


@pytest.fixture
def legacy_sqlite(tmp_path: Path, depots: dict[str, FileStorage]) -> Iterator[World]:
    """SQLite without SQLAlchemy's recipe: Python's sqlite3 module sends BEGIN when it thinks fit."""
    engine = create_engine(f"sqlite:///{tmp_path / 'legacy.db'}")
    Base.metadata.create_all(engine)
    yield World(engine, depots)
    engine.dispose()


def test_a_release_that_commits_keeps_the_file_of_its_row(legacy_sqlite: World) -> None:
    """Where nothing began a transaction before SAVEPOINT, RELEASE commits, and a rollback afterwards has no effect."""
    with legacy_sqlite.session() as session:
        with session.begin_nested():
            session.add(Document(content=b"released"))
        session.rollback()
    legacy_sqlite.check(b"released")


def test_a_release_that_commits_deletes_what_was_replaced(legacy_sqlite: World) -> None:
    """The replaced file goes at once, because the row that named it has committed to another."""
    with legacy_sqlite.session() as session:
        document = Document(content=b"old")
        session.add(document)
        session.commit()
        with session.begin_nested():
            document.content = UploadedFile(b"new")
        session.rollback()
        assert session.scalars(select(Document.name)).all() == [None]
    legacy_sqlite.check(b"new")
