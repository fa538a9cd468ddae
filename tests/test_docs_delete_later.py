"""The tasks of docs/transactions.md, as they are printed there, in the queues that they are written for."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Middleware, Retries
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.testing import temporary_depots
from tests.conftest import sqlite_engine
from tests.support.dramatiq_worker import working

PAGE = Path(__file__).parents[1] / "docs" / "transactions.md"


class OwnBase(DeclarativeBase):
    """Apart from the other models: SQLite is enough here."""


class Letter(OwnBase):
    """A row with a file."""

    __tablename__ = "docs_delete_later"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


def example(first_words: str) -> str:
    """Return the one block of the page's section that holds these words."""
    section = PAGE.read_text().partition("## Deleting later\n")[2].partition("\n## ")[0]
    blocks = [each.partition("```")[0] for each in section.split("```python\n")[1:]]
    (found,) = [each for each in blocks if first_words in each]
    return found


class Application:
    """A program that has its tasks from the docs page, in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.media = folder / "media"
        self.engine = sqlite_engine(folder / "test.db")
        OwnBase.metadata.create_all(self.engine)
        monkeypatch.syspath_prepend(folder)
        for name in ("tasks", "myapp", "myapp.depots", "myapp.celery"):  # removed again, with their imports
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
            del sys.modules[name]
        self.write("myapp/__init__.py", "")
        self.write(
            "myapp/depots.py",
            "from depot_lite import DepotManager\n"
            f"DepotManager.configure('default', {{'depot.storage_path': {str(self.media)!r}}})\n",
        )

    def write(self, name: str, source: str) -> None:
        """Write a module."""
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text(source)

    def start(self, tasks: str) -> ModuleType:
        """Write the tasks and import them, as the application and its workers do."""
        self.write("tasks.py", tasks)
        importlib.invalidate_caches()
        return importlib.import_module("tasks")

    def attach_and_replace(self) -> str:
        """Commit a row and then another file for it; return the path of the first."""
        with Session(self.engine) as session:
            letter = Letter(content=b"old")
            session.add(letter)
            session.commit()
            assert letter.content is not None
            path = letter.content.path
            letter.content = UploadedFile(b"new")
            session.commit()
        return path

    def files(self) -> set[bytes]:
        """Return the contents of all files that there are."""
        depot = LocalFileStorage(self.media)
        found = set()
        for file_id in depot.list():
            with depot.get(file_id) as stored:
                found.add(stored.read())
        return found


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    """An application without depots, until it imports them."""
    with temporary_depots():
        made = Application(tmp_path, monkeypatch)
        yield made
        made.engine.dispose()


# --- Dramatiq -----------------------------------------------------------------------------------------------------


class Failures(Middleware):
    """Tells that a task has failed."""

    def __init__(self) -> None:
        self.first = threading.Event()
        self.errors: list[str] = []

    def after_process_message(self, broker: Any, message: Any, *, result: Any = None, exception: Any = None) -> None:
        """Note the error of a task."""
        if exception is not None:
            self.errors.append(str(exception))
            self.first.set()


@pytest.fixture
def broker() -> Iterator[StubBroker]:
    """Dramatiq's own broker for tests, which does not wait as long as others between two attempts."""
    before = dramatiq.broker.global_broker
    made = StubBroker(middleware=[Retries(min_backoff=1, max_backoff=50), Failures()])
    dramatiq.set_broker(made)
    yield made
    made.close()
    dramatiq.broker.global_broker = before


def test_dramatiq_deletes_later(application: Application, broker: StubBroker) -> None:
    """The old file is there until a worker runs, and then it is not."""
    tasks = application.start(example("import dramatiq"))
    application.attach_and_replace()
    assert application.files() == {b"old", b"new"}
    with working(broker):
        broker.join(tasks.delete_files.queue_name, timeout=20_000)
    assert application.files() == {b"new"}


def test_dramatiq_tries_again_if_its_worker_does_not_know_the_depot(
    application: Application, broker: StubBroker
) -> None:
    """As soon as the worker is put right, the file goes."""
    (failures,) = [each for each in broker.middleware if isinstance(each, Failures)]
    tasks = application.start(example("import dramatiq"))
    path = application.attach_and_replace()
    with ExitStack() as stack:
        with temporary_depots():  # none, for the worker
            stack.enter_context(working(broker))
            assert failures.first.wait(20)
        broker.join(tasks.delete_files.queue_name, timeout=20_000)
    assert application.files() == {b"new"}
    assert f"could not delete {{'{path}': UnknownDepot(" in failures.errors[0]


# --- Celery -------------------------------------------------------------------------------------------------------

CELERY = """
from celery import Celery

folder = {folder!r}
app = Celery(
    "myapp",
    broker="filesystem://",
    broker_transport_options=dict(
        data_folder_in=folder, data_folder_out=folder, control_folder=folder + "/control", polling_interval=0.05
    ),
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=False,
)
"""

#: A worker in which the depot is missing until the first task has failed.
LATE = """
import sys
from functools import partial

from celery.signals import task_retry
from depot_lite import DepotManager

configure = partial(DepotManager.configure, "default", {{"depot.storage_path": {media!r}}})
if "worker" in sys.argv:
    task_retry.connect(lambda **_: configure(), weak=False)
else:
    configure()
"""


def celery_works(folder: Path, until: str) -> str:
    """Run a worker, a process, until it says this; return all that it said."""
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "solo", "--loglevel", "INFO"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    said = ""
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    ) as worker:
        assert worker.stdout is not None
        watchdog = threading.Timer(60, worker.kill)
        watchdog.start()
        for line in worker.stdout:
            said += line
            if until in line:
                break
        worker.terminate()
        said += worker.stdout.read()
        watchdog.cancel()
    assert until in said, said
    return said


@pytest.fixture
def celery_application(application: Application) -> Iterator[Application]:
    """An application with Celery, whose messages are files."""
    (application.folder / "messages").mkdir()
    application.write("myapp/celery.py", CELERY.format(folder=str(application.folder / "messages")))
    yield application
    sys.modules["myapp.celery"].app.close()


def _replace(application: Application) -> None:
    application.attach_and_replace()


def _replace_awaited(application: Application) -> None:
    async def main() -> None:
        engine = create_async_engine(application.engine.url.set(drivername="sqlite+aiosqlite"))
        async with AsyncSession(engine, expire_on_commit=False) as session:
            letter = Letter(content=b"old")
            session.add(letter)
            await session.commit()
            letter.content = UploadedFile(b"new")
            await session.commit()
        await engine.dispose()

    asyncio.run(main())


@pytest.mark.parametrize("replace", [_replace, _replace_awaited])
def test_celery_deletes_later_and_tries_again(
    celery_application: Application, replace: Callable[[Application], None]
) -> None:
    """Its worker is a process of its own, which learns of the depot only after it has failed once."""
    application = celery_application
    application.write("myapp/depots.py", LATE.format(media=str(application.media)))
    application.start(example("@app.task"))
    replace(application)
    assert application.files() == {b"old", b"new"}
    said = celery_works(application.folder, until="succeeded in")
    assert "UnknownDepot(" in said
    assert said.count("] received") == 2
    assert application.files() == {b"new"}
