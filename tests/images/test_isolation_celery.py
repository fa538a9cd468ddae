"""Worker processes for images in the processes of Celery, which it forks for its tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from tests.images import awkward_images as awkward

_TASKS = """
import os, threading
from io import BytesIO

from celery import Celery
from depot_lite import images
from depot_lite.errors import ImageRefused
from depot_lite.images.recipes import Thumbnail
from tests.images.awkward_recipes import Crashing

folder = {folder!r}
app = Celery("tasks", broker="filesystem://", backend="file://" + folder + "/results")
app.conf.update(
    broker_transport_options={{"data_folder_in": folder + "/queue", "data_folder_out": folder + "/queue"}},
    worker_enable_remote_control=False,
)
workers = images.isolated(workers=2, seconds=5)
image = bytes.fromhex({image!r})
images.probe(BytesIO(image))  # the process that forks has a worker already

@app.task
def thumbnail(crash=False):
    try:
        made = images.render(BytesIO(image), {{"a": (Crashing if crash else Thumbnail)(20, 20)}})[1]["a"]
    except ImageRefused as error:
        return error.rule
    return [made.width, os.getpid(), workers._idle[-1]._process.pid]
"""


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Path]:
    """A folder with the module ``tasks``, and a running worker of Celery with two processes."""
    for name in ("queue", "results"):
        (tmp_path / name).mkdir()
    image = awkward.saved(awkward.quarters(), "PNG").hex()
    (tmp_path / "tasks.py").write_text(_TASKS.format(folder=str(tmp_path), image=image))
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency", "2"]
    options = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [*command, *options], cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield tmp_path
        finally:
            process.terminate()
            assert process.wait(60) == 0


@pytest.mark.matrix
def test_the_processes_of_celery_decode_in_workers_of_their_own(
    application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And go on after an image that ended one."""
    monkeypatch.syspath_prepend(str(application))
    app = Celery("tasks", broker="filesystem://", backend=f"file://{application}/results", set_as_current=False)
    folders = dict.fromkeys(("data_folder_in", "data_folder_out"), f"{application}/queue")
    app.conf.update(broker_transport_options=folders)
    with app:
        first, crashed, *others = [
            app.send_task("tasks.thumbnail", args=[crash]) for crash in (False, True, False, False, False)
        ]
        assert crashed.get(timeout=60) == "decodable"
        made = [first.get(timeout=60), *(each.get(timeout=60) for each in others)]
    assert {width for width, _, _ in made} == {20}
    # No process uses the worker of another, nor that of the process that forked it.
    pairs = {(process, worker) for _, process, worker in made}
    assert len(pairs) == len({worker for _, worker in pairs})
