"""The programs of docs/images.md whose variants are made later, as they are printed there, in their queues."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dramatiq
import pytest
import taskiq
from dramatiq.brokers.stub import StubBroker
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite import DepotManager, Thumbnail, UploadedFileField, UploadedImage
from depot_lite.io.local import LocalFileStorage
from depot_lite.testing import temporary_depots
from tests.fields.images import image
from tests.support.brokers import redis
from tests.support.dramatiq_worker import working

ROOT = Path(__file__).parents[1]


def example(first_words: str) -> str:
    """Return the one block of the page's section that holds these words."""
    section = (ROOT / "docs/images.md").read_text().partition("## Later\n")[2].partition("\n## ")[0]
    (found,) = [each.partition("```")[0] for each in section.split("```python\n")[1:] if first_words in each]
    return found


# --- Celery -----------------------------------------------------------------------------------------------------------


@pytest.mark.matrix
def test_the_program_for_celery(tmp_path: Path) -> None:
    """Run as a script by the one who uploads, and imported by the worker."""
    (tmp_path / "photos.py").write_text(example("import Celery"))
    (tmp_path / "me.jpg").write_bytes(image())
    with redis(tmp_path) as url:
        environment = os.environ | {"BROKER_URL": url, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        subprocess.run([sys.executable, "photos.py", "me.jpg"], cwd=tmp_path, env=environment, check=True, timeout=60)
        assert variants_in(tmp_path) == [["icon"]]
        command = [sys.executable, "-m", "celery", "-A", "photos", "worker", "--pool", "solo", "--loglevel", "INFO"]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as worker:
            watchdog = threading.Timer(60, worker.kill)
            watchdog.start()
            assert worker.stdout is not None
            said = ""
            for line in worker.stdout:
                said += line
                if "succeeded in" in line:
                    break
            worker.terminate()
            said += worker.stdout.read()
            watchdog.cancel()
    assert "photos.make_later" in said, said
    assert variants_in(tmp_path) == [["icon", "page"]]


def variants_in(folder: Path) -> list[list[str]]:
    """Return the names of the variants in the rows of the program's database."""
    engine = create_engine(f"sqlite:///{folder / 'photos.db'}")
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT image ->> '$.variants' FROM photo").scalars().all()
    engine.dispose()
    return [sorted(json.loads(each)) for each in found]


# --- Dramatiq and Taskiq ----------------------------------------------------------------------------------------------


class OwnBase(DeclarativeBase):
    """Apart from the other models."""


class Photo(OwnBase):
    """An image."""

    __tablename__ = "docs_later"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"page": Thumbnail(20, 20, make="later")})
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """A database, and a depot."""
    with temporary_depots():
        DepotManager.configure("default", LocalFileStorage(tmp_path / "media"))
        engine = create_engine(f"sqlite:///{tmp_path / 'test.db'}")
        OwnBase.metadata.create_all(engine)
        yield engine
        engine.dispose()


def tasks(first_words: str, monkeypatch: pytest.MonkeyPatch, folder: Path, **modules: dict[str, Any]) -> ModuleType:
    """Import the tasks of the page, with the modules of an application that they import."""
    (folder / "tasks.py").write_text(example(first_words))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(sys.modules, "tasks", ModuleType("tasks"))
    del sys.modules["tasks"]
    for name, content in {"": {}, **modules}.items():
        module = ModuleType(f"myapp.{name}" if name else "myapp")
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    importlib.invalidate_caches()
    return importlib.import_module("tasks")


def names(engine: Engine) -> list[str]:
    """Return the names of the variants of the image."""
    with Session(engine) as session:
        (value,) = session.scalars(select(Photo.image))
        assert value is not None
        return list(value["variants"])


def test_the_tasks_for_dramatiq(database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker makes the variant."""
    before = dramatiq.broker.global_broker
    broker = StubBroker()
    dramatiq.set_broker(broker)
    made = tasks("import dramatiq", monkeypatch, tmp_path, models={"engine": database})
    with Session(database) as session:
        session.add(Photo(image=image()))
        session.commit()
    assert names(database) == []
    with working(broker):
        broker.join(made.make_later.queue_name, timeout=20_000)
    assert names(database) == ["page"]
    broker.close()
    dramatiq.broker.global_broker = before


def test_the_tasks_for_taskiq(database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker without a server runs them in the event loop."""

    async def main() -> None:
        engine = create_async_engine(database.url.set(drivername="sqlite+aiosqlite"))
        broker = taskiq.InMemoryBroker()
        application: dict[str, dict[str, Any]] = {"models": {"engine": engine}, "broker": {"broker": broker}}
        made = tasks("async def make_later", monkeypatch, tmp_path, **application)
        await made.startup()
        async with AsyncSession(engine) as session:
            session.add(Photo(image=image()))
            await session.commit()
        await broker.wait_all()
        await broker.shutdown()
        await engine.dispose()

    asyncio.run(main())
    assert names(database) == ["page"]
