"""Variants made by real task queues whose workers are killed at random while images come, change and go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import celery
import dramatiq
import pytest
import taskiq
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.maintenance import claim, delete_unused_files, make_missing_variants
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import empty
from tests.fields.later_program import VARIANTS, Base, Photo
from tests.support.brokers import BROKERS

ROOT = Path(__file__).parents[2]
PROGRAM = "tests.fields.later_program"

WORKERS = {
    celery: ["celery", "-A", PROGRAM, "worker", "--pool", "solo", "--without-gossip", "--without-mingle"],
    dramatiq: ["dramatiq", PROGRAM, "--processes", "1", "--threads", "2"],
    taskiq: ["taskiq", "worker", f"{PROGRAM}:broker", "--workers", "1"],
}

#: How many workers have to die.
DEATHS = 4


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("queue", "broker", "engine"),
    [
        pytest.param(celery, "redis", "postgresql", id="celery-redis-postgresql"),
        pytest.param(celery, "rabbitmq", "mariadb", id="celery-rabbitmq-mariadb"),
        pytest.param(dramatiq, "redis", "mariadb", id="dramatiq-redis-mariadb"),
        pytest.param(taskiq, "redis", "sqlite", id="taskiq-redis-sqlite"),
        pytest.param(taskiq, "redis", "postgresql", id="taskiq-redis-postgresql"),
    ],
    indirect=["engine"],
)
def test_workers_that_are_killed_leave_rows_that_can_read_their_variants(
    queue: object, broker: str, engine: Engine, tmp_path: Path
) -> None:
    """Tasks are lost, repeated and broken off: rows name what is there, and upkeep makes and deletes the rest."""
    Base.metadata.create_all(engine)
    with ExitStack() as stack:
        stack.callback(empty, engine, Base.metadata)
        stack.enter_context(temporary_depots())
        depot = DepotManager.configure("default", LocalFileStorage(tmp_path / "media", durable=False))
        claim(engine, "default")
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            "LATER_FOLDER": str(tmp_path),
            "LATER_DATABASE": engine.url.render_as_string(hide_password=False),
            "LATER_QUEUE": getattr(queue, "__name__", ""),
            "LATER_BROKER": stack.enter_context(BROKERS[broker](tmp_path)),
        }
        work_and_die(stack, WORKERS[queue], environment, tmp_path)
        assert (tmp_path / "made").read_text()
        make_missing_variants(engine, models=[Base])
        zero = timedelta(0)
        assert variants_and_files(engine) <= stored(depot)
        delete_unused_files(
            engine, "default", older_than=zero, trash=zero, models=[Base], allow_newer=True, max_delete="100%"
        )
        assert variants_and_files(engine) == stored(depot)


def variants_and_files(engine: Engine) -> set[str]:
    """Return the paths of all files that rows name; each image has to have all its variants."""
    with Session(engine) as session:
        photos = session.query(Photo).all()
        images = [each for photo in photos for each in (photo.image, *photo.more) if each is not None]
    assert all(set(image["variants"]) == set(VARIANTS) for image in images)
    return {path for image in images for path in image.paths}


def stored(depot: FileStorage) -> set[str]:
    """Return the paths of all files that there are."""
    return {f"default/{file_id}" for file_id in depot.list()}


def work_and_die(stack: ExitStack, command: list[str], environment: dict[str, str], folder: Path) -> None:
    """Run a program that writes, and a worker after another until enough of them have died."""
    log = stack.enter_context((folder / "log").open("w"))
    writer = stack.enter_context(
        subprocess.Popen([sys.executable, "-m", PROGRAM], stdin=subprocess.PIPE, env=environment, cwd=ROOT, stderr=log)
    )
    deaths = folder / "deaths"
    deaths.touch()
    while len(deaths.read_text()) < DEATHS:
        worker = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
        watchdog = threading.Timer(60, partial(os.killpg, worker.pid, signal.SIGKILL))
        watchdog.start()
        worker.wait()
        assert watchdog.is_alive(), (folder / "log").read_text()[-4000:]
        watchdog.cancel()
    assert writer.poll() is None, (folder / "log").read_text()[-4000:]
    assert writer.stdin is not None
    writer.stdin.close()
    assert writer.wait(60) == 0
