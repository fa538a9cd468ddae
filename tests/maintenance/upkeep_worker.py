"""A worker of the application that never rests: it runs tasks and requests variants on demand until it is killed.

    python -m tests.maintenance.upkeep_worker <url> <seed>

It notes each task that has made variants, and each request that was answered, in the file ``done``.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from depot_lite.errors import DepotError, StoredFileNotFound
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.maintenance import make_variants
from tests.maintenance.upkeep import LONGEST, Reel, engine_of

#: Where tasks wait. The test that starts the worker names it.
FOLDER: Final = Path(os.environ.get("UPKEEP_FOLDER", "."))


class TooLate(Exception):
    """A task that has taken longer than transactions may."""


class Worker:
    """A worker."""

    def __init__(self, engine: Engine, luck: random.Random) -> None:
        self.engine = engine
        self.luck = luck
        self.begun = 0.0
        # Images that it has seen; some of them are gone by now.
        self.seen: deque[UploadedImage] = deque(maxlen=30)
        event.listen(engine, "commit", self._refuse_to_be_late)

    def _refuse_to_be_late(self, connection: Any) -> None:
        # The rule that whoever sweeps relies on, as in `tests.maintenance.upkeep.transaction`.
        if time.monotonic() - self.begun > LONGEST:
            raise TooLate

    def work(self) -> None:
        """Run a task or answer a request."""
        self.begun = time.monotonic()
        tasks = [each for each in (FOLDER / "tasks").iterdir() if not each.suffix]
        if tasks and self.luck.random() < 0.6:
            self.run(self.luck.choice(tasks))
        else:
            self.request()

    def run(self, task: Path) -> None:
        """Run a task; some stay in the queue, and run again."""
        try:
            if make_variants(self.engine, *json.loads(task.read_text())):
                done("task")
        except (TooLate, OperationalError, DepotError):
            return  # it stays in the queue
        if self.luck.random() < 0.8:
            task.unlink()

    def request(self) -> None:
        """Request a variant on demand of an image that is in a row, or was."""
        with Session(self.engine) as session:
            covers = [each for each in session.scalars(select(Reel.cover)) if each is not None]
        self.seen.extend(self.luck.sample(covers, min(len(covers), 3)))
        if self.seen:
            try:
                with self.luck.choice(self.seen).variants["square"].file as file:
                    assert file.read(1)
                done("request")
            except StoredFileNotFound:  # its original is gone
                pass


def done(word: str) -> None:
    """Note something that was done."""
    with (FOLDER / "done").open("a") as file:
        file.write(f"{word}\n")


if __name__ == "__main__":
    url, seed = sys.argv[1:]
    worker = Worker(engine_of(url), random.Random(seed))
    while True:
        worker.work()
