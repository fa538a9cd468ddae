"""Maintenance beside an application that never rests, killed with SIGKILL again and again: no row loses its file.

So is the worker that makes its variants, by tasks and on demand.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from depot_lite.maintenance import claim, make_missing_variants
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.forks import ROOT, Forks
from tests.maintenance import upkeep
from tests.maintenance.upkeep import Reel
from tests.support.sweeps import sweep

#: How long the writer writes, in seconds. UPKEEP_SECONDS=600 for a hunt.
SECONDS: Final = float(os.environ.get("UPKEEP_SECONDS", "9"))

#: One and a half seconds more than the longest transaction.
EMPTY: Final = [f"--allow-empty={each}" for each in ("old", "new", "upkeep_reel")]
SWEEP: Final = ["--older-than", "3.5s", "--delete", "--yes", "--trash=0", "--max-delete=100%", "--allow-newer", *EMPTY]
COMMANDS: Final = [
    ["migrate", "old", "new"],
    ["unused", "old", *SWEEP],
    ["migrate", "new", "old"],
    ["unused", "new", *SWEEP],
    # The last value of an option counts: these mark files, and delete those of the marking before.
    ["unused", "old", *SWEEP, "--trash=1s"],
    ["unused", "new", *SWEEP, "--trash=1s"],
    ["variants", "--missing", "--batch", "1"],
    ["verify", "old"],
    ["verify", "new"],
]


class Upkeep:
    """The processes of one run: the writer, and commands and workers that are killed."""

    def __init__(self, url: str, folder: Path, seed: int, forks: Forks) -> None:
        self.url = url
        self.folder = folder
        self.forks = forks
        self.luck = random.Random(seed)
        self.environment = {**os.environ, "UPKEEP_FOLDER": str(folder), "PYTHONPATH": os.getcwd()}
        self.killed: Counter[str] = Counter()
        self.reports: dict[str, list[dict[str, Any]]] = {}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let the application write meanwhile."""
        arguments = [sys.executable, "-m", "tests.maintenance.upkeep", self.url, str(self.luck.random())]
        writer = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment, text=True
        )
        try:
            yield
            told, _ = writer.communicate("", timeout=60)
            assert writer.returncode == 0
            done, failed = map(int, told.split())
            assert done > failed
        finally:
            writer.kill()
            writer.wait()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let one worker after the other make variants meanwhile, each until it is killed."""
        over, luck, errors = threading.Event(), random.Random(self.luck.random()), list[BaseException]()
        arguments = ["tests.maintenance.upkeep_worker", self.url]

        def work() -> None:
            try:
                while not over.is_set():
                    with self.forks.start(*arguments, str(luck.random()), cwd=ROOT, env=self.environment) as process:
                        process.wait_for_a_word(60)
                        over.wait(luck.uniform(0, 3) * luck.choice([0.1, 1]))
                        process.kill()
                        _, told = process.communicate(60)
                        assert process.returncode == -signal.SIGKILL, told
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        for error in errors:
            raise error

    def command(self, words: list[str], *, patience: float) -> None:
        """Run a command, and kill it if its work takes longer than that, its start not counted."""
        # DEPOT_LITE_APP and DATABASE_URL are not read there: a user types these arguments.
        arguments = ["--app", "tests.maintenance.upkeep", "--url", self.url, "--json", *words]
        with self.forks.start("depot_lite", *arguments, cwd=ROOT, env=self.environment) as process:
            process.wait_for_a_word(60)
            try:
                told, said = process.communicate(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate(60)
                self.killed[words[0]] += 1
                return
            # 1: something was found. A row that could not be moved, say, since its writer held it all the time.
            assert process.returncode in {0, 1}, (words, process.returncode, said)
        self.reports.setdefault(words[0], []).append(json.loads(told))

    def has_worked(self) -> bool:
        """Return whether commands that came to their end have moved and deleted, and workers have made variants."""
        moved = sum(each["rows"] for each in self.reports.get("migrate", ()))
        deleted = sum(each["deleted"] for each in self.reports.get("unused", ()))
        done = self.folder / "done"
        return bool(moved and deleted and done.exists() and set(done.read_text().split()) == {"task", "request"})


@pytest.fixture
def upkeep_engine(engine: Engine) -> Iterator[Engine]:
    upkeep.Base.metadata.create_all(engine)
    yield engine
    upkeep.Base.metadata.drop_all(engine)


@pytest.mark.matrix
def test_no_row_loses_its_file_and_no_file_outlives_its_row(
    upkeep_engine: Engine, tmp_path: Path, forks: Forks
) -> None:
    """Whatever is killed, and when: transactions take up to 2 s, and the sweep spares files younger than 3.5 s."""
    seed = random.SystemRandom().randrange(1 << 32) if "UPKEEP_SECONDS" in os.environ else 7
    url = upkeep_engine.url.render_as_string(hide_password=False)
    url += "?timeout=30" if upkeep_engine.dialect.name == "sqlite" else ""
    run = Upkeep(url, tmp_path, seed, forks)
    with temporary_depots():
        upkeep.configure(tmp_path)
        for name in ("old", "new"):
            claim(upkeep_engine, name, models=[upkeep.Base])
    until = time.monotonic() + SECONDS
    with run.writing(), run.working():
        number = 0
        # Until some were killed, and others came to their end and had something to do: else nothing was shown.
        while time.monotonic() < until or len(run.killed) < 2 or not run.has_worked():
            # In the middle of its work, or while it waits: for a row lock, or a sweep for transactions.
            words = run.luck.choice(COMMANDS)
            longest = 5 if words[0] == "unused" else 1
            run.command(words, patience=run.luck.uniform(0, longest) * run.luck.choice([0.02, 0.1, 1]))
            run.command(COMMANDS[number % len(COMMANDS)], patience=60)
            number += 1
    with temporary_depots():
        upkeep.configure(tmp_path)
        check(upkeep_engine)


def check(engine: Engine) -> None:
    """Check that each row can read its files, and has its variants, and that one more sweep leaves no other file."""
    assert make_missing_variants(engine, models=[upkeep.Base]).failed == []
    with Session(engine) as session:
        values = [
            value
            for reel in session.scalars(select(Reel))
            for value in (reel.poster, *reel.shots, reel.cover, reel.note)
            if value is not None
        ]
    for value in values:
        upkeep.check(value)
    for name in ("old", "new"):
        report = sweep(engine, name, models=[upkeep.Base])
        assert report.failed == {}
    left = {f"{name}/{file_id}" for name in ("old", "new") for file_id in DepotManager.get(name).list()}
    on_demand = {path for value in values for path in value.derived_paths}
    assert left - on_demand == {path for value in values for path in value.paths}
    assert all({"small", "large"} == set(value["variants"]) for value in values if "variants" in value)
    assert left, "nothing was stored: nothing was shown"
