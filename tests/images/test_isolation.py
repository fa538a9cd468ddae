"""Worker processes for images: the same results, and what becomes of a worker that crashes or takes too much."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from depot_lite import images
from depot_lite.errors import AlreadyConfigured, ConfigurationError, ImageRefused, ImagesBusy, StorageFailed
from depot_lite.images import isolation, pool
from depot_lite.images.budget import BUDGET
from depot_lite.images.recipes import Crop, Thumbnail
from tests.images import awkward_images as awkward
from tests.images.awkward_recipes import Crashing, Endless, Greedy, Waiting

_SMALL = awkward.saved(awkward.quarters(), "PNG")
_LARGE = awkward.saved(Image.new("L", (2100, 2000)), "PNG")
_THUMBNAIL = {"a": Thumbnail(20, 20)}


@pytest.fixture
def workers() -> Iterator[isolation.Isolation]:
    with images.isolated(workers=2, seconds=1) as found:
        yield found


def rendered(data: bytes = _SMALL, recipe: Thumbnail | Crop = _THUMBNAIL["a"]) -> images.Rendition:
    return images.render(BytesIO(data), {"a": recipe})[1]["a"]


@pytest.mark.parametrize(
    "name", ["JPEG", *(pytest.param(each, marks=pytest.mark.matrix) for each in ("PNG", "GIF", "WEBP", "AVIF", "HEIF"))]
)
def test_workers_make_the_same_images(name: str, workers: isolation.Isolation) -> None:
    data = awkward.heic() if name == "HEIF" else awkward.from_a_phone() if name == "JPEG" else awkward.animation(name)
    if name == "AVIF":  # a sequence contains the time at which it was made
        data = awkward.saved(awkward.quarters(), name)
    recipes = {"a": Thumbnail(40, 40, animated=True), "b": Crop(10, 10, format="WEBP")}

    def everything() -> list[Any]:
        file = BytesIO(data)
        return [
            images.probe(file),
            images.verify_image(file),
            images.render(file, recipes, max_pixels=10_000),
            images.strip(file) if name != "AVIF" else None,
        ]

    by_worker = everything()
    workers.close()
    assert isolation.active() is None
    assert everything() == by_worker


def test_refusals_are_those_of_the_process_itself(workers: isolation.Isolation) -> None:
    with pytest.raises(ImageRefused) as broken:
        rendered(_SMALL[:150])
    with pytest.raises(ImageRefused) as many:
        images.probe(BytesIO(_SMALL), max_pixels=100)
    with pytest.raises(ImageRefused) as other:
        images.probe(BytesIO(_SMALL), formats=["JPEG"])
    rules = [each.value.rule for each in (broken, many, other)]
    assert rules == ["decodable", "max_pixels", "format"]
    assert (many.value.limit, many.value.value) == (100, 96 * 64)
    with pytest.raises(ConfigurationError, match="expected some of JPEG"):
        images.probe(BytesIO(_SMALL), formats=["XCF"])


@pytest.mark.parametrize(
    ("recipe", "rule"),
    [
        pytest.param(Greedy(20, 20), "memory", marks=pytest.mark.matrix),
        pytest.param(Endless(20, 20), "time", marks=pytest.mark.matrix),
        (Crashing(20, 20), "decodable"),
    ],
)
def test_a_worker_that_reaches_a_limit_refuses_the_image(
    recipe: Thumbnail, rule: str, workers: isolation.Isolation, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "depot_lite"), pytest.raises(ImageRefused) as refused:
        rendered(recipe=recipe)
    assert refused.value.rule == rule
    assert ("exit code -11" in caplog.text) == (rule == "decodable")
    assert rendered().width == 20


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["TIFF", "BMP", "ICO", "JPEG2000"])
def test_workers_read_every_format_on_request(
    name: str, workers: isolation.Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, a decoder stops no threads of the server, so its time is not limited beforehand."""
    monkeypatch.setattr(BUDGET, "longest", 0.0)
    file = BytesIO(awkward.saved(awkward.quarters(), name, **({"sizes": [(96, 64)]} if name == "ICO" else {})))
    info, made = images.render(file, _THUMBNAIL, formats=[name])
    assert (info.format, info.width, made["a"].width) == (name, 96, 20)
    stripped = images.strip(file, formats=[name])
    assert stripped is not None
    assert stripped.content_type == ("image/jp2" if name == "JPEG2000" else "image/png")
    workers.close()
    if name == "JPEG2000":
        with pytest.raises(ImageRefused, match=r"may take 0\.0 seconds to be decoded, more than 0"):
            images.probe(file, formats=[name])


@pytest.mark.matrix
def test_an_image_that_ends_a_worker_has_no_second_attempt(workers: isolation.Isolation, tmp_path: Path) -> None:
    """A worker that has been idle is replaced if it turns out to be gone, but not if it ended at its work."""
    assert rendered().width == 20
    attempts = tmp_path / "attempts"
    with pytest.raises(ImageRefused):
        rendered(recipe=Crashing(20, 20, attempts=str(attempts)))
    assert attempts.read_text() == "one\n"
    assert rendered().width == 20


@pytest.mark.matrix
def test_an_image_that_needs_more_than_a_worker_has_is_not_sent_to_it() -> None:
    with images.isolated(memory="64 MiB") as workers, pytest.raises(ImageRefused) as refused:
        images.probe(BytesIO(awkward.saved(Image.new("RGB", (2300, 2000)), "WEBP")))
    assert refused.value.rule == "memory"
    assert workers.options.memory == 64 * 1024**2


_LIES = """#!{python}
import json, socket, struct, sys
from array import array
connection = socket.socket(fileno=int(sys.argv[3]))
connection.sendall(b"+")
connection.recv(100000)
answer = {answer!r}
connection.sendall(b"+" + struct.pack(">I", {length} or len(answer)) + answer + b"<script>")
connection.recv(1)
"""


@pytest.mark.parametrize(
    ("answer", "length"),
    [
        (b'{"kind": "all", "info": ["HTML", 1, 1, 1, 0], "renditions": {}}', 0),
        (b'{"kind": "all", "info": ["PNG", 1, 1, 1, 0], "renditions": {"a": ["SVG", 1, 1, 8]}}', 0),
        (b'{"kind": "all", "info": ["PNG", 1, 1, 1, 0], "renditions": {"a": ["PNG", 1, 1, 1000000000]}}', 0),
        (b'{"kind": "all", "info": null, "renditions": {}}', 0),
        (b'{"kind": "more", "info": null, "renditions": {}}', 0),
        (b"[]", 0),
        (b"\x80\x04.", 0),
        (b"", 2_000_000_000),
        (b'{"kind": "all", "info": ["PNG", -5, 1, 1, 0], "renditions": {"a": ["PNG", 1, 1, 8]}}', 0),
        (b'{"kind": "all", "info": ["PNG", Infinity, 1, 1, 0], "renditions": {"a": ["PNG", 1, 1, 8]}}', 0),
        (b'{"kind": "all", "info": ["PNG", 1, 1, 1, 0], "renditions": {"b": ["PNG", 1, 1, 8]}}', 0),
        (b"[" * 100_000, 0),
    ],
)
def test_a_worker_is_not_believed(answer: bytes, length: int, tmp_path: Path) -> None:
    liar = tmp_path / "python"
    liar.write_text(_LIES.format(python=sys.executable, answer=answer, length=length))
    liar.chmod(0o700)
    with images.isolated(python=str(liar)), pytest.raises(ImageRefused) as refused:
        rendered()
    assert refused.value.rule == "decodable"


def test_a_worker_that_was_ended_meanwhile_is_replaced(workers: isolation.Isolation) -> None:
    """By the system, for lack of memory."""
    assert rendered().width == 20
    (worker,) = workers._workers
    worker._process.kill()
    assert rendered().width == 20
    worker._process.wait(60)
    assert worker not in workers._workers


def test_a_worker_that_cannot_start_is_no_fault_of_the_image() -> None:
    with (
        images.isolated(python="/bin/false"),
        pytest.raises(ConfigurationError, match="/bin/false ended with the exit"),
    ):
        rendered()


@pytest.mark.parametrize("failure", [ConnectionResetError("gone"), StorageFailed("broken"), TimeoutError("late")])
def test_errors_of_the_file_are_passed_on(failure: Exception, workers: isolation.Isolation) -> None:
    class Failing(BytesIO):
        """A file that is read once, and fails then."""

        def seek(self, position: int, whence: int = 0, /) -> int:
            if self.tell() > 100:
                raise failure
            return super().seek(position, whence)

    with pytest.raises(type(failure)):
        images.render(Failing(_SMALL), _THUMBNAIL)


def test_a_recipe_that_cannot_be_sent_is_an_error_of_the_program(workers: isolation.Isolation) -> None:
    class Local(Thumbnail):
        pass

    with pytest.raises((AttributeError, pickle.PicklingError)):
        rendered(recipe=Local(20, 20))


def test_a_worker_knows_no_secrets(workers: isolation.Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    assert rendered().width == 20
    (worker,) = workers._workers
    assert b"hidden" not in Path(f"/proc/{worker._process.pid}/environ").read_bytes()


def test_close_ends_a_worker_that_is_at_work_when_it_is_done(tmp_path: Path) -> None:
    for name in ("runs", "goes_on"):
        os.mkfifo(tmp_path / name)
    found: list[int] = []
    workers = images.isolated(workers=1)
    recipe = Waiting(30, 30, folder=str(tmp_path))
    thread = threading.Thread(target=lambda: found.append(rendered(recipe=recipe).width))
    thread.start()
    with open(tmp_path / "runs"):
        workers.close()
        with open(tmp_path / "goes_on", "w"):
            pass
    thread.join(60)
    assert (found, workers._workers, workers._idle) == ([30], [], [])


@pytest.mark.matrix
def test_small_images_are_decoded_beside_large_ones(tmp_path: Path, workers: isolation.Isolation) -> None:
    for name in ("runs", "goes_on"):
        os.mkfifo(tmp_path / name)
    found: list[images.Rendition] = []
    waiting = Waiting(30, 30, folder=str(tmp_path))
    threads = [
        threading.Thread(target=lambda r=recipe: found.append(rendered(_LARGE, r)))
        for recipe in (waiting, Thumbnail(31, 31))
    ]
    threads[0].start()
    with open(tmp_path / "runs"):
        threads[1].start()
        assert rendered().width == 20
        assert found == []
        with open(tmp_path / "goes_on", "w"):
            pass
    for thread in threads:
        thread.join(60)
    assert [each.width for each in found] == [30, 31]


def test_a_wait_for_a_worker_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_WAIT", 0.01)
    for name in ("runs", "goes_on"):
        os.mkfifo(tmp_path / name)
    with images.isolated(workers=1):
        thread = threading.Thread(target=lambda: rendered(recipe=Waiting(30, 30, folder=str(tmp_path))))
        thread.start()
        with open(tmp_path / "runs"):
            with pytest.raises(ImagesBusy, match="others were"):
                rendered()
            with open(tmp_path / "goes_on", "w"):
                pass
        thread.join(60)
        assert rendered().width == 20


@pytest.mark.matrix
def test_a_forked_process_has_workers_of_its_own(workers: isolation.Isolation) -> None:
    """As the workers of gunicorn, which loads the application before it forks."""
    assert rendered().width == 20
    (mine,) = (worker._process.pid for worker in workers._idle)
    child = os.fork()
    if not child:
        made = rendered()
        (other,) = (worker._process.pid for worker in workers._idle)
        workers.close()
        os._exit(0 if made.width == 20 and other != mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert rendered().width == 20
    assert [worker._process.pid for worker in workers._idle] == [mine]


def _in_a_daemon(answers: Any) -> None:
    with images.isolated(workers=1):
        answers.put(rendered().width)


@pytest.mark.matrix
def test_workers_are_started_from_daemonic_processes() -> None:
    """As the processes of Celery, which multiprocessing forbids to start others."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_in_a_daemon, args=(answers,), daemon=True)
    process.start()
    assert answers.get(timeout=120) == 20
    process.join(60)


_PROGRAM = """
import sys
from io import BytesIO
from depot_lite import images
workers = images.isolated(workers=1)
images.probe(BytesIO(bytes.fromhex(sys.stdin.readline())))
print(workers._idle[0]._process.pid, flush=True)
sys.stdin.readline()
"""


@pytest.mark.matrix
@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_workers_end_with_the_process(how: signal.Signals | None) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{_SMALL.hex()}\n")
        process.stdin.flush()
        worker = os.pidfd_open(int(process.stdout.readline()))
        if how is None:
            process.stdin.write("\n")
            process.stdin.flush()
        else:
            process.send_signal(how)
        process.wait(60)
    assert select.select([worker], [], [], 60)[0] == [worker]
    os.close(worker)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "expected a number of processes"),
        ({"workers": True}, "expected a number of processes"),
        ({"seconds": 0}, "expected seconds of processor time"),
        ({"memory": "1 MiB"}, "expected 64 MiB or more"),
        ({"memory": "much"}, "expected a number of bytes"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        images.isolated(**options)
    assert isolation.active() is None


def test_the_second_call_may_repeat_the_options(workers: isolation.Isolation) -> None:
    assert images.isolated(workers=2, seconds=1) is workers
    with pytest.raises(AlreadyConfigured, match="with workers=2"):
        images.isolated(workers=3, seconds=1)
