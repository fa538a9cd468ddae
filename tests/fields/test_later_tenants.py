"""Variants that are made later for tenants that have a schema each (``schema_translate_map``)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import make_variants
from depot_lite.manager import DepotManager
from tests.conftest import sqlite_engine
from tests.fields.images import picture

TENANT: ContextVar[str] = ContextVar("TENANT")
TENANTS = ("first", "second")


class Base(DeclarativeBase):
    """The parent of the model here."""


class Badge(Base):
    """A row that each tenant has in a table of the same name."""

    __tablename__ = "later_badge"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"large": Thumbnail(8, 8, make="later")})
    )


def attach(connection: Any, folder: Path) -> None:
    for each in TENANTS:
        connection.execute(f"ATTACH '{folder / each}.db' AS {each}")


@pytest.fixture
def database(tmp_path: Path, depots: dict[str, FileStorage]) -> Iterator[Engine]:
    """A table for each tenant."""
    engine = sqlite_engine(tmp_path / "main.db")
    event.listen(engine, "connect", lambda connection, record: attach(connection, tmp_path))
    for each in TENANTS:
        Base.metadata.create_all(of(engine, each))
    yield engine
    engine.dispose()


def of(engine: Any, tenant: str) -> Any:
    """Return an engine whose statements go to the schema of a tenant."""
    return engine.execution_options(schema_translate_map={None: tenant})


def variants(database: Engine) -> dict[str, list[str]]:
    """Return the variants in the rows of each tenant."""
    found = {}
    for tenant in TENANTS:
        with Session(of(database, tenant)) as session:
            found[tenant] = [name for row in session.query(Badge) if row.image for name in row.image["variants"]]
    return found


@pytest.fixture
def tasks(depots: dict[str, FileStorage]) -> list[str]:
    """The tasks that a hook has sent, each with its tenant: as docs/images.md has it."""
    sent: list[str] = []
    DepotManager.set_process_later(lambda *job: sent.append(json.dumps([TENANT.get(), *job])))
    return sent


def run(database: Engine, tasks: list[str]) -> None:
    """Run the tasks, each for its tenant."""
    for tenant, *job in map(json.loads, tasks):
        assert make_variants(of(database, tenant), *job) == ["large"]


def test_the_hook_knows_the_tenant_of_the_commit(database: Engine, tasks: list[str]) -> None:
    """By the context in which ``commit()`` was called."""
    for tenant in TENANTS:
        TENANT.set(tenant)
        with Session(of(database, tenant)) as session:
            session.add(Badge(id=1, image=picture()))
            session.commit()
    assert [json.loads(task)[0] for task in tasks] == list(TENANTS)
    run(database, tasks[1:])
    assert variants(database) == {"first": [], "second": ["large"]}


def test_so_it_does_under_an_asynchronous_session(database: Engine, tasks: list[str], tmp_path: Path) -> None:
    """Two tasks of the event loop commit at once."""

    async def commit(engine: Any, tenant: str) -> None:
        TENANT.set(tenant)
        async with AsyncSession(of(engine, tenant)) as session:
            session.add(Badge(id=1, image=picture()))
            await session.commit()

    async def main() -> None:
        engine = create_async_engine(database.url.set(drivername="sqlite+aiosqlite"))
        event.listen(engine.sync_engine, "connect", lambda connection, record: attach(connection.cursor(), tmp_path))
        await asyncio.gather(*(commit(engine, each) for each in TENANTS))
        await engine.dispose()

    asyncio.run(main())
    run(database, tasks)
    assert variants(database) == {each: ["large"] for each in TENANTS}


def test_without_a_hook_they_are_made_in_the_schema_of_the_transaction(database: Engine) -> None:
    """Nobody has to name it."""
    with Session(of(database, "second")) as session:
        session.add(Badge(id=1, image=picture()))
        session.commit()
    assert variants(database) == {"first": [], "second": ["large"]}
