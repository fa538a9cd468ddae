"""Random histories of images whose variants are made later: two sessions that remember, and tasks in any order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import create_engine, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError
from sqlalchemy.pool import StaticPool

from depot_lite.errors import StoredFileNotFound
from depot_lite.fields.analyzers import Analyzer
from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImage, missing_variants
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.validators import Candidate
from depot_lite.images.recipes import Crop, Recipe, Thumbnail
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import add_missing_facts, make_missing_variants, make_variants, regenerate_variants
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.fields.images import meanwhile, picture

RECIPES: Final[list[dict[str, Recipe]]] = [
    {
        "small": Thumbnail(4, 4),
        "large": Thumbnail(8, 8, make="later"),
        "square": Crop(3, 3, make="on_demand"),
        "crop": Crop(3, 3, focus=True),
        "late": Crop(4, 4, focus=True, make="later"),
    },
    {
        "small": Thumbnail(5, 5),
        "large": Thumbnail(9, 9, make="later"),
        "new": Crop(2, 2, make="later"),
        "crop": Crop(3, 3, focus=True),
        "late": Crop(5, 5, focus=True, make="later"),
    },
]


class Length(Analyzer):
    """The number of bytes, read from the file."""

    run = "later"

    def facts_of(self, file: Candidate) -> Mapping[str, Any]:
        """Read the file."""
        with file.open() as opened:
            return {"length": len(opened.read())}


class Base(DeclarativeBase):
    """The parent of the model here."""


class Photo(Base):
    """An image, and some more."""

    __tablename__ = "later_machine_photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants=RECIPES[0], analyzers=[Length()])
    )
    more: Mapped[FileList[UploadedImage]] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants=RECIPES[0], multiple=True, analyzers=[Length()])
    )
    # Else a new row takes the key of a deleted one, which the other session remembers, and SQLAlchemy warns of that.
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # SQLAlchemy reads it


ACTIONS = ("attach", "replace", "edit", "move", "append", "remove", "reverse", "copy", "delete")
ENDS = ("commit", "commit", "commit", "rollback", "savepoint")


class Later(RuleBasedStateMachine):
    """Transactions of two sessions, and tasks that are lost, repeated, and overtaken while they work."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(temporary_depots())
        self.depot = DepotManager.configure("default", MemoryFileStorage())
        self.tasks: list[str] = []
        self.moves = 0
        DepotManager.set_process_later(lambda *job: self.tasks.append(json.dumps(job)))
        # One connection: what one session has committed, the other reads at once, unless it remembers.
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        self.stack.callback(self.engine.dispose)
        Base.metadata.create_all(self.engine)
        self.sessions = [self.stack.enter_context(Session(self.engine, expire_on_commit=False)) for _ in range(2)]
        _declare(RECIPES[0])

    def act(self, number: int, actions: list[str], end: str) -> None:
        """Do something in a session, and end its transaction."""
        session = self.sessions[number]
        try:
            savepoint = session.begin_nested() if end == "savepoint" else None
            for action in actions:
                self._do(session, action)
            session.flush()
            if savepoint is not None:
                savepoint.rollback()
            session.rollback() if end == "rollback" else session.commit()
        except (StaleDataError, ObjectDeletedError, StoredFileNotFound):  # the other session has deleted something
            session.rollback()
            session.expire_all()

    def _do(self, session: Session, action: str) -> None:
        photos = session.query(Photo).order_by(Photo.id).all()
        photo = photos[-1] if photos else None
        if photo is None or action == "attach":
            session.add(Photo(image=picture(), more=[picture(), picture(16, 20)]))
        elif action == "replace":
            photo.image = UploadedImage(picture(20, 12))
        elif action == "edit" and photo.image is not None and not photo.image.pending:
            photo.image = photo.image.with_(meta={**photo.image.meta, "alt": "a photo"})
        elif action == "move":
            self._move(photo)
        elif action == "append":
            photo.more.append(UploadedImage(picture()))
        elif action == "remove" and photo.more:
            photo.more.pop()
        elif action == "reverse":
            photo.more.reverse()
        elif action == "copy":
            photos[0].image = photo.more[0] if photo.more else None
        elif action == "delete":
            session.delete(photo)

    def _move(self, photo: Photo) -> None:
        """Give the images another focus."""
        self.moves += 1
        meta = {"focus": [self.moves % 3 / 2, 0.5]}
        if photo.image is not None:
            photo.image = photo.image.with_(meta=meta)
        if photo.more:
            photo.more[0] = photo.more[0].with_(meta=meta)

    @rule(
        number=st.integers(0, 1),
        actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3),
        end=st.sampled_from(ENDS),
    )
    def transact(self, number: int, actions: list[str], end: str) -> None:
        """A transaction."""
        self.act(number, actions, end)

    # What is drawn depends on no task: their number may differ by the time that threads take.
    @rule(number=st.integers(0, 30), stays=st.booleans())
    def run(self, number: int, stays: bool) -> None:
        """Run a task if there is one, and leave it in the queue as if its worker had died."""
        if self.tasks:
            task = self.tasks[number % len(self.tasks)]
            if not stays:
                self.tasks.remove(task)
            make_variants(self.engine, *json.loads(task))

    @rule(actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=2), number=st.integers(0, 1))
    def run_overtaken(self, actions: list[str], number: int) -> None:
        """Run a task if there is one, and commit something else while the variants are made."""
        if not self.tasks:
            return
        happens: Any = partial(self.act, number, actions, "commit")
        with pytest.MonkeyPatch.context() as patch:
            try:
                with meanwhile(patch, happens):
                    make_variants(self.engine, *json.loads(self.tasks.pop()))
            except AssertionError:  # its variants were there, or its image was not
                happens()

    @rule()
    def lose(self) -> None:
        """Lose a task if there is one."""
        del self.tasks[:1]

    @rule(number=st.integers(0, 1))
    def change_recipes(self, number: int) -> None:
        """Deploy other recipes."""
        _declare(RECIPES[number])

    @rule()
    def regenerate(self) -> None:
        """Regenerate variants."""
        report = regenerate_variants(self.engine, models=[Base])
        assert (report.failed, report.changed) == ([], 0)

    @invariant()
    def rows_and_depot_have_the_same_files(self) -> None:
        """Nothing is open between two steps."""
        named = {path for image in self.images() for path in image.paths}
        assert named == {f"default/{file_id}" for file_id in self.depot.list()}

    @invariant()
    def facts_are_those_of_the_file(self) -> None:
        """Found, or not yet."""
        assert all(image.facts.get("length") in (None, image.size) for image in self.images())

    def images(self) -> list[UploadedImage]:
        """Return the images of all rows."""
        with Session(self.engine) as session:
            photos = session.query(Photo).all()
            return [each for photo in photos for each in (photo.image, *photo.more) if each is not None]

    def teardown(self) -> None:
        """Every image gets what it lacks."""
        make_missing_variants(self.engine, models=[Base])
        add_missing_facts(self.engine, models=[Base])
        kind = inspect(Photo).columns["image"].type
        assert isinstance(kind, UploadedFileField)
        declared = kind.variants
        expected = {name for name, recipe in declared.items() if recipe.make != "on_demand"}
        for image in self.images():
            assert expected <= set(image["variants"])
            assert image.facts == {"length": image.size}
            assert missing_variants(image, declared) == []
        self.rows_and_depot_have_the_same_files()
        self.stack.close()


def _declare(recipes: dict[str, Recipe]) -> None:
    for attribute in (Photo.image, Photo.more):
        kind: Any = attribute.type
        kind._variants = recipes


Later.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestLater = pytest.mark.matrix(Later.TestCase)
