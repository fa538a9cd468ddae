"""The state machine that plays histories of images: with variants made in the flush, by tasks and on demand."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import precondition
from PIL import Image
from sqlalchemy import Engine, String, event, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from depot_lite import rendering
from depot_lite.errors import StorageFailed, StoredFileNotFound
from depot_lite.fields.specialized.image import UploadedImage, missing_variants
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Recipe, Thumbnail
from depot_lite.maintenance import make_missing_variants, make_variants, regenerate_variants
from depot_lite.manager import DepotManager
from depot_lite.renditions import derived_paths
from tests.fields.history import ATTRIBUTES, rule
from tests.fields.machine import Machine, attributes
from tests.fields.steps import picks
from tests.support import models
from tests.support.sweeps import sweep

#: Those that are made on demand stay the same: the files of former ones are left to the sweep.
ON_DEMAND: Final[dict[str, Recipe]] = {
    "content": Crop(3, 3, make="on_demand"),
    "report": Thumbnail(3, 3, format="GIF", make="on_demand"),
}

#: The recipes of each attribute, before and after a deployment.
RECIPES: Final[list[dict[str, dict[str, Recipe]]]] = [
    {
        "content": {"small": Thumbnail(4, 4), "large": Thumbnail(6, 6, make="later")},
        "report": {"one": Thumbnail(5, 5, make="later"), "two": Crop(2, 2, make="later")},
    },
    {
        "content": {"small": Thumbnail(5, 5), "new": Thumbnail(6, 6, make="later")},
        "report": {"one": Thumbnail(4, 4, make="later"), "two": Crop(2, 2)},
    },
]


class Sketch(UploadedImage):
    """An image that is stored after the one before: else it would depend on the threads which of them fails."""

    workers = 1


class Base(DeclarativeBase):
    """The parent of the model here."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


def _images(attribute: str, **options: Any) -> UploadedFileField:
    return UploadedFileField(upload_type=Sketch, variants=_variants(attribute, 0), **options)


def _variants(attribute: str, number: int) -> dict[str, Recipe]:
    return {**RECIPES[number][attribute], "on": ON_DEMAND[attribute]}


class Drawing(Base):
    """Two images, one of them in a depot of its own."""

    __tablename__ = "variant_machine_drawing"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[Sketch | None] = mapped_column(_images("content"))
    report: Mapped[Sketch | None] = mapped_column(_images("report", upload_storage="archive"))


def create_tables(engine: Engine) -> None:
    """Create the tables that the machine needs, and no others: each sweep reads all."""
    Base.metadata.create_all(engine)
    models.Base.metadata.create_all(engine, tables=[models.Folder.__table__, models.Page.__table__])  # type: ignore[list-item]  # they are tables


def declare(number: int) -> None:
    """Deploy other recipes."""
    for attribute in ATTRIBUTES:
        kind: Any = getattr(Drawing, attribute).type
        kind._variants = _variants(attribute, number)


class Killed(BaseException):
    """The end of a worker, which cleans up nothing."""


class Refused(Exception):
    """A COMMIT that is refused."""


#: More deletions than a step has.
MANY: Final = 1000

#: The errors of those whose storage fails.
FAILURES: Final = (StorageFailed, PermissionError, KeyboardInterrupt, Killed)


class VariantMachine(Machine):
    """What applications, their task queue and their visitors do with images, in any order."""

    model: Any = Drawing

    def __init__(self) -> None:
        super().__init__()
        declare(0)
        self.tasks: list[str] = []
        # Images that lack variants.
        self.lacking: set[str] = set()
        # The fingerprint of the variant on demand of each image that was committed.
        self.owners: dict[str, str] = {}
        # Originals that were to be deleted, and were not: their variants on demand are left to the sweep as well.
        self.left: set[str] = set()
        # The files of a task that has made its variants, and not entered them.
        self.unnamed: set[str] = set()
        # Whether the session may hold locks, for which the task of another connection would wait forever.
        self.has_written = False
        self.queue("takes")

    def _bytes(self) -> bytes:
        """Return a PNG; no other has the same bytes."""
        number, file = next(self.numbers), io.BytesIO()
        Image.new("RGB", (8, 7), (number >> 16 & 255, number >> 8 & 255, number & 255)).save(file, "PNG")
        return file.getvalue()

    # --- the queue ------------------------------------------------------------------------------------------------

    @rule(how=st.sampled_from(["takes", "takes", "takes", "is down", "none"]))
    def set_queue(self, how: str) -> None:
        self.queue(how)

    def queue(self, how: str) -> None:
        """Let the queue take tasks, or refuse them; without one, variants are made before ``commit()`` returns."""

        def send(*job: Any) -> None:
            if how == "is down":
                raise OSError("no connection")
            self.tasks.append(json.dumps(job))

        self.has_queue = how != "none"
        if self.has_queue:
            DepotManager.set_process_later(send, fallback="none")
        else:
            DepotManager.set_process_later(None)

    def _try(self, step: Callable[[], object]) -> bool:
        self.has_written = True
        for storage in self.storages.values():
            if not self.has_queue and storage.error is KeyboardInterrupt:
                storage.error = PermissionError  # the other would come after COMMIT, which has succeeded
            if storage.deletes_to_fail:
                storage.deletes_to_fail = MANY  # the order of the files of a row is not always the same
        return super()._try(step)

    def _transaction_ended(self) -> None:
        self.has_written = False
        super()._transaction_ended()

    def _is_free(self) -> bool:
        """Return whether others can write."""
        return not (self.session.in_transaction() if self.engine.dialect.name == "sqlite" else self.has_written)

    def _work(self, kind: str, work: Callable[[], object]) -> bool:
        """Do the work of another process, which may fail only if that was asked for."""
        armed = [each for each in self.storages.values() if each.saves_left is not None]
        try:
            work()
        except Refused:
            self.reached[f"{kind} failed"] += 1
            return False
        except FAILURES:
            assert any(each.saves_left is None for each in armed)
            self.reached[f"{kind} failed"] += 1
            return False
        self.reached[kind] += 1
        return all(each.saves_left is not None for each in armed)

    def _task(self, number: int) -> list[Any]:
        """Return a task, if possible one that has something to do."""
        jobs: list[list[Any]] = list(map(json.loads, self.tasks))
        jobs = [job for job in jobs if job[3] in self.lacking] or jobs
        return jobs[number % len(jobs)]

    @precondition(lambda self: self.tasks and self._is_free())
    @rule(number=picks, stays=st.booleans())
    def run_task(self, number: int, stays: bool) -> None:
        """Run a task, and leave it in the queue, to be run again."""
        job = self._task(number)
        if not stays:
            self.tasks.remove(json.dumps(job))
        self._work("task", lambda: make_variants(self.engine, *job))
        self.check()

    #: Once more, so that it comes twice as often.
    run_task_again = run_task

    @precondition(lambda self: self.tasks and self._is_free())
    @rule(number=picks, saves=st.integers(0, 1), after=st.booleans())
    def run_task_whose_storage_fails(self, number: int, saves: int, after: bool) -> None:
        self._run_task_that("fails", number, saves, after)

    @precondition(lambda self: self.tasks and self._is_free())
    @rule(number=picks, saves=st.integers(0, 1), after=st.booleans())
    def run_task_that_is_killed(self, number: int, saves: int, after: bool) -> None:
        """It cleans up nothing."""
        self._run_task_that("is killed", number, saves, after)

    @precondition(lambda self: self.tasks and self._is_free())
    @rule(number=picks)
    def run_task_whose_commit_is_refused(self, number: int) -> None:
        with refusing(self.engine):
            self._run_task_that("is refused", number)

    def _run_task_that(self, dies: str, number: int, saves: int | None = None, after: bool = False) -> None:
        job = self._task(number)
        storage = self.storages[job[3].partition("/")[0]]
        storage.saves_left, storage.after_save = saves, after
        storage.error = Killed if dies == "is killed" else StorageFailed
        before, storage.deletes_to_fail = storage.deletes_to_fail, MANY if dies == "is killed" else 0
        self._work(f"task that {dies}", lambda: make_variants(self.engine, *job))
        storage.saves_left, storage.deletes_to_fail = None, before
        self.check()

    @precondition(lambda self: self.tasks)
    @rule(
        number=picks,
        change=st.sampled_from(["replaced", "edited", "deleted", "none"]),
        end=st.sampled_from(["commit", "commit", "rollback", "close"]),
    )
    def run_task_meanwhile(self, number: int, change: str, end: str) -> None:
        """End the transaction of the session while the task has made its variants, and not entered them."""
        self._change(self._task(number), change)
        job, original, ended = self._task(number), UploadedImage.make_variants, list[str]()

        def make(value: UploadedImage, *arguments: Any) -> Any:
            before = self._stored()
            try:
                return original(value, *arguments)
            finally:
                if not ended:
                    ended.append(end)
                    self.unnamed = self._stored() - before
                    self._end(end)
                    self.unnamed = set()

        with mock.patch.object(UploadedImage, "make_variants", make):
            is_done = self._work("task", lambda: make_variants(self.engine, *job))
        self.reached["task overtaken"] += is_done and bool(ended)
        if not ended:
            self._end(end)
        self.check()

    def _change(self, job: list[Any], how: str) -> None:
        """Change the row of a task, if it has a known key."""
        (row,), attribute = job[1] or [None], job[2]
        if row not in self.now:
            return
        if how == "replaced":
            data = self._bytes()
            self._assign(row, attribute, data, data)
        elif how == "edited":
            self._edit(row, attribute)
        elif how == "deleted" and inspect(self._object(row)).persistent:
            self.session.delete(self.objects.pop(row))
            del self.now[row]

    def _end(self, how: str) -> None:
        if how == "close":
            self._close()
        elif how == "commit" and self._try(self.session.commit):
            self._committed()
        else:
            self._roll_back()

    @precondition(lambda self: self.tasks)
    @rule(number=picks)
    def lose_task(self, number: int) -> None:
        self.tasks.pop(number % len(self.tasks))

    # --- upkeep ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self._is_free())
    @rule(how=st.sampled_from(["missing", "missing", "regenerate", "other recipes", "first recipes"]))
    def upkeep(self, how: str) -> None:
        if how in {"missing", "regenerate"}:
            self._upkeep(make_missing_variants if how == "missing" else regenerate_variants)
        else:
            declare(how == "other recipes")

    def _upkeep(self, job: Callable[..., Any]) -> None:
        reports: list[Any] = []
        if self._work("upkeep", lambda: reports.append(job(self.engine, models=[Base]))):
            assert (reports[0].failed, reports[0].changed) == ([], 0)
            self.check()
            assert self.lacking == set()
        self.check()

    def _committed_rows(self) -> dict[int, dict[str, Any]]:
        found = super()._committed_rows()
        self.lacking.clear()
        for attribute, value in (pair for files in found.values() for pair in files.items()):
            if value is not None:
                self.owners[value.path] = ON_DEMAND[attribute].fingerprint
                if missing_variants(value, getattr(Drawing, attribute).type.variants):
                    self.lacking.add(value.path)
        return found

    @precondition(lambda self: not self.session.in_transaction())
    @rule(once_in_a_while=st.integers(0, 3))
    def sweep(self, once_in_a_while: int) -> None:
        """Delete all that no row names, however young it is."""
        if not once_in_a_while:
            self._sweep()

    def _sweep(self) -> None:
        for name, storage in self.storages.items():
            storage.deletes_to_fail = 0
            self.reached["delete failed"] += len(storage.leaked)
            assert sweep(self.engine, name, models=[Base]).failed == {}
            assert storage.leaked == set()
        self.left.clear()
        self.reached["sweep"] += 1
        self.check()

    # --- edits and requests ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.now)
    @rule(number=picks, attribute=attributes)
    def edit(self, number: int, attribute: str) -> None:
        """Change the metadata of a committed image, whose file stays."""
        self._edit(self._pick(number), attribute)

    def _edit(self, row: int, attribute: str) -> None:
        drawing, data = self._object(row), self.now[row][attribute]
        value = getattr(drawing, attribute)
        if value is not None and value.path in self.committed_paths:
            self._assign(row, attribute, value.with_(meta={"alt": f"{next(self.numbers)}"}), data)
            self.reached["edited"] += 1

    @precondition(lambda self: self.now or self.replaced)
    @rule(number=picks, attribute=attributes, replaced=st.booleans())
    def request(self, number: int, attribute: str, replaced: bool) -> None:
        """Ask for a variant on demand: of a row, or of an image that was replaced and may be gone."""
        value = self._value(number, attribute, replaced)
        if value is not None:
            self._request(value)

    @precondition(lambda self: self.now or self.replaced)
    @rule(number=picks, attribute=attributes, end=st.sampled_from(["commit", "commit", "rollback", "close"]))
    def request_meanwhile(self, number: int, attribute: str, end: str) -> None:
        """End the transaction of the session while the variant has been made, and is not stored."""
        value = self._value(number, attribute, replaced=not self.now)
        if value is None:
            return
        original, ended = rendering._rendered, list[str]()

        def render(*arguments: Any) -> Any:
            content = original(*arguments)
            ended.append(end)
            self._end(end)
            return content

        with mock.patch.object(rendering, "_rendered", render):
            self._request(value)
        self.reached["request overtaken"] += bool(ended)

    def _value(self, number: int, attribute: str, replaced: bool) -> Any:
        """Return a stored value; None if there is none here."""
        if replaced and self.replaced:
            value: Any = self.replaced[-1 - number % len(self.replaced)][2]
            is_own = value.path in self.committed_paths
        elif self.now:
            row = self._pick(number)
            value = getattr(self._object(row), attribute)
            is_own = self.now[row] == self.levels[-1].get(row)
        else:
            return None
        # A file of another attribute shows its variants until the flush copies it. They would not go with it.
        if value is None or value.pending or not is_own:
            return None
        fingerprint = value.variants["on"].recipe
        return value if self.owners.get(value.path, fingerprint) == fingerprint else None

    def _request(self, value: Any) -> None:
        storage = self.storages[value.depot_name]
        armed = storage.saves_left is not None
        try:
            with value.variants["on"].file as file, Image.open(file) as picture:
                assert picture.width == 3
        except StoredFileNotFound:
            assert not storage.exists(value.file_id)
            assert value.path not in self.committed_paths
            self.reached["requested too late"] += 1
        except FAILURES:
            assert armed
            assert storage.saves_left is None
            self.left.add(value.path)
            self.reached["request failed"] += 1
        else:
            self.reached["requested"] += 1

    # --- what must hold -------------------------------------------------------------------------------------------

    def _beside(self) -> set[str]:
        """Return the paths of variants on demand, and of those of a task that works."""
        self.left |= self._leaked()
        originals = self.committed_paths | self.left
        return self.unnamed.union(*(derived_paths(path, ON_DEMAND.values()) for path in originals))

    def teardown(self) -> None:
        """Let upkeep make what is missing, and delete the rest."""
        try:
            self._do(self._close)
            for storage in self.storages.values():
                storage.saves_left = None
            self._upkeep(make_missing_variants)
            self._sweep()
        finally:
            super().teardown()


@contextmanager
def refusing(engine: Engine) -> Iterator[None]:
    """Let COMMIT be refused."""

    def refuse(connection: Any) -> None:
        raise Refused

    event.listen(engine, "commit", refuse)
    try:
        yield
    finally:
        event.remove(engine, "commit", refuse)
