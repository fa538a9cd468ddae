"""Changes to files, through objects and statements, for tests in which the database decides what becomes of them.

As `tests.fields.actions`, but one file and one list of files beside each other, and each change is flushed, so that
the database has to decide about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest
from sqlalchemy import delete, insert, inspect, update
from sqlalchemy.orm import Session

from depot_lite.fields.upload import UploadedFile
from depot_lite.manager import DepotManager
from tests.conftest import World
from tests.fields.actions import put
from tests.support.models import Document, Movie

#: Far from the numbers that a sequence of PostgreSQL reaches by itself.
FIRST: Final = 1_000_001
SECOND: Final = 1_000_002
THIRD: Final = 1_000_003

PLAN, PHOTO = b"the plan", b"the photo"
ONE, TWO, THREE = b"the first scene", b"the second scene", b"the third scene"
NEW, OTHER = b"a new file", b"another new file"

#: The files that `begin` commits.
BEFORE: Final = (PLAN, PHOTO, ONE, TWO, THREE)


@dataclass(frozen=True)
class Change:
    """Something that is done to files and flushed, and the files that there are if it is committed."""

    does: Callable[[Session], None]
    leaves: tuple[bytes, ...]

    def __call__(self, session: Session) -> None:
        """Do it, and flush."""
        self.does(session)
        session.flush()


CHANGES: Final[dict[str, Change]] = {}

_Does = Callable[[Session], None]


def change(*leaves: bytes) -> Callable[[_Does], _Does]:
    """Enter a function into the table."""

    def enter(does: _Does) -> _Does:
        CHANGES[does.__name__.strip("_")] = Change(does, leaves)
        return does

    return enter


def begin(world: World) -> None:
    """Commit the rows with which every change begins: two documents, and a movie with a list."""
    movie = Movie(id=FIRST, name="movie")
    put(movie, screenshots=[ONE, TWO, THREE])
    with world.session() as session:
        session.add(Document(id=FIRST, name="first", content=PLAN))
        session.add(Document(id=SECOND, name="second", content=PHOTO))
        session.add(movie)
        session.commit()


def read(value: UploadedFile | None) -> bytes | None:
    """Return the bytes of a value from its depot."""
    if value is None:
        return None
    with DepotManager.get_file(value.path) as stored:
        return stored.read()


def agree(world: World) -> None:
    """Check that rows and depots hold the same files, whichever these are."""
    assert set(world.rows()) == world.stored()


def nothing_lost(world: World) -> None:
    """Check that each file that a row names is there; reading it is the proof."""
    assert set(world.rows()) <= world.stored()


# --- objects ------------------------------------------------------------------------------------------------------


@change(*BEFORE, NEW)
def _insert(session: Session) -> None:
    session.add(Document(content=NEW))


@change(NEW, PHOTO, ONE, TWO, THREE)
def _replace(session: Session) -> None:
    put(session.get_one(Document, FIRST), content=NEW)


@change(OTHER, PHOTO, ONE, TWO, THREE)
def _replace_twice(session: Session) -> None:
    put(session.get_one(Document, FIRST), content=NEW)
    session.flush()
    put(session.get_one(Document, FIRST), content=OTHER)


@change(PHOTO, ONE, TWO, THREE)
def _clear(session: Session) -> None:
    session.get_one(Document, FIRST).content = None


@change(PHOTO, ONE, TWO, THREE)
def _delete(session: Session) -> None:
    session.delete(session.get_one(Document, FIRST))


@change(PHOTO, PLAN, ONE, TWO, THREE)
def _swap(session: Session) -> None:
    first, second = session.get_one(Document, FIRST), session.get_one(Document, SECOND)
    first.content, second.content = second.content, first.content


@change(*BEFORE, NEW)
def _append(session: Session) -> None:
    session.get_one(Movie, FIRST).screenshots.append(UploadedFile(NEW))


@change(PLAN, PHOTO, TWO, THREE)
def _remove(session: Session) -> None:
    session.get_one(Movie, FIRST).screenshots.pop(0)


@change(PLAN, PHOTO, NEW, TWO)
def _assign_a_list(session: Session) -> None:
    movie = session.get_one(Movie, FIRST)
    put(movie, screenshots=[NEW, movie.screenshots[1]])


@change(PLAN, PHOTO)
def _delete_a_list(session: Session) -> None:
    session.delete(session.get_one(Movie, FIRST))


@change(NEW, ONE, OTHER, NEW)
def _many_things(session: Session) -> None:
    put(session.get_one(Document, FIRST), content=NEW)
    session.delete(session.get_one(Document, SECOND))
    movie = session.get_one(Movie, FIRST)
    del movie.screenshots[1:]
    movie.screenshots.append(UploadedFile(OTHER))
    session.add(Movie(poster=NEW))


# --- statements ---------------------------------------------------------------------------------------------------


@change(*BEFORE, NEW)
def _insert_statement(session: Session) -> None:
    session.execute(insert(Document).values(content=NEW))


@change(NEW, PHOTO, ONE, TWO, THREE)
def _update_statement(session: Session) -> None:
    session.execute(update(Document).where(Document.name == "first").values(content=NEW))


@change(PLAN, PHOTO, NEW)
def _update_statement_of_a_list(session: Session) -> None:
    session.execute(update(Movie).values(screenshots=[NEW]))


@change(PHOTO, ONE, TWO, THREE)
def _delete_statement(session: Session) -> None:
    session.execute(delete(Document).where(Document.name == "first"))


@change(*BEFORE, NEW, OTHER)
def _bulk_insert(session: Session) -> None:
    session.bulk_insert_mappings(inspect(Movie), [{"poster": NEW, "screenshots": [OTHER], "extras": []}])


@change(NEW, PHOTO, ONE, TWO, THREE)
def _bulk_update(session: Session) -> None:
    session.bulk_update_mappings(inspect(Document), [{"id": FIRST, "content": NEW}])


def some_changes(*names: str) -> pytest.MarkDecorator:
    """Run a test with these changes."""
    return pytest.mark.parametrize("change", [CHANGES[name] for name in names], ids=names)


#: Runs a test with each change of the table.
every_change: Final = some_changes(*CHANGES)
#: Runs it with one of each kind.
few_changes: Final = some_changes("insert", "replace", "delete", "append", "remove", "update_statement")


def on(*databases: str) -> pytest.MarkDecorator:
    """Run a test on these databases only."""
    return pytest.mark.parametrize("engine", databases, indirect=True)


def changed_again(session: Session) -> None:
    """Replace the file of the first row, and append one to the list."""
    put(session.get_one(Document, FIRST), content=OTHER)
    session.get_one(Movie, FIRST).screenshots.append(UploadedFile(OTHER))
    session.flush()


#: What `changed_again` leaves, if it is committed after `begin`.
AGAIN: Final = (OTHER, PHOTO, ONE, TWO, THREE, OTHER)
