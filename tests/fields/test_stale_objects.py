"""Detached objects that are older than their rows, and come back: from a cache, from a form, from another process.

What goes is the file that the row really held, not the one that the object remembers; and a file that is gone comes
into no row again.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, Final

import pytest
from sqlalchemy import inspect, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.errors import DepotError
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.changes import FIRST, NEW, ONE, PHOTO, PLAN, SECOND, THREE, TWO, agree, begin, read
from tests.support.models import Document, Movie

MEANWHILE: Final = b"what the row holds meanwhile"


def _as_it_is(value: Any) -> Any:
    return value


def _pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


Keep = Callable[[Any], Any]
kept = pytest.mark.parametrize("keep", [_as_it_is, _pickled], ids=["detached", "pickled"])


def stale(world: World, keep: Keep = _as_it_is) -> tuple[Document, Movie]:
    """Return objects of rows that somebody else has changed since they were loaded."""
    begin(world)
    with world.session(expire_on_commit=False) as session:
        document, movie = session.get_one(Document, FIRST), session.get_one(Movie, FIRST)
        assert len(movie.screenshots) == 3
        session.commit()
    with world.session() as session:
        put(session.get_one(Document, FIRST), content=MEANWHILE)
        other = session.get_one(Movie, FIRST)
        put(other, screenshots=[other.screenshots[1], MEANWHILE, other.screenshots[2]])
        session.commit()
    world.check(MEANWHILE, PHOTO, TWO, MEANWHILE, THREE)
    kept: tuple[Document, Movie] = keep((document, movie))
    return kept


#: The files in the rows of `stale`, except the first document's file and the movie's list.
OTHERS: Final = (PHOTO, TWO, MEANWHILE, THREE)
DOCUMENTS: Final = (MEANWHILE, PHOTO)


def listed(world: World) -> list[bytes | None]:
    """Return the bytes of the files that the row's list names, in its order."""
    with world.session() as session:
        return [read(each) for each in session.get_one(Movie, FIRST).screenshots]


# --- bulk_save_objects --------------------------------------------------------------------------------------------


@kept
def test_a_file_that_bulk_save_objects_replaces_is_the_row_s(world: World, keep: Keep) -> None:
    document, _ = stale(world, keep)
    put(document, content=NEW)
    with world.session() as session:
        session.bulk_save_objects([document])
        session.commit()
    world.check(NEW, *OTHERS)


@kept
def test_a_file_that_bulk_save_objects_clears_is_the_row_s(world: World, keep: Keep) -> None:
    document, _ = stale(world, keep)
    document.content = None
    with world.session() as session:
        session.bulk_save_objects([document])
        session.commit()
    world.check(*OTHERS)


def test_bulk_save_objects_of_something_else_leaves_the_file(world: World) -> None:
    document, _ = stale(world)
    document.name = "renamed"
    with world.session() as session:
        session.bulk_save_objects([document])
        session.commit()
    world.check(MEANWHILE, *OTHERS)


@pytest.mark.parametrize("end", [Session.rollback, Session.close])
def test_bulk_save_objects_that_is_rolled_back_changes_nothing(world: World, end: Callable[[Session], None]) -> None:
    document, movie = stale(world)
    put(document, content=NEW)
    put(movie, screenshots=[NEW])
    with world.session() as session:
        session.bulk_save_objects([document, movie])
        end(session)
    world.check(MEANWHILE, *OTHERS)


def test_bulk_save_objects_of_a_row_that_is_gone_leaves_nothing(world: World) -> None:
    document, _ = stale(world)
    with world.session() as session:
        session.delete(session.get_one(Document, FIRST))
        session.commit()
    put(document, content=NEW)
    with world.session() as session, pytest.raises(StaleDataError):
        session.bulk_save_objects([document])
    world.check(*OTHERS)


@pytest.mark.parametrize("how", ["all attributes", "all attributes with a list", "mappings", "statement by key"])
def test_a_stale_value_is_not_written_back(world: World, how: str) -> None:
    """Its file is gone: that is an error, or the row keeps its file. It never names a missing one."""
    document, movie = stale(world)
    values = [{"id": FIRST, "content": document.content}]
    try:
        with world.session() as session:
            if how.startswith("all attributes"):
                saved = movie if "list" in how else document
                saved.name = "renamed"
                session.bulk_save_objects([saved], update_changed_only=False)
            elif how == "mappings":
                session.bulk_update_mappings(inspect(Document), values)
            else:
                session.execute(update(Document), values)
            session.commit()
    except (SQLAlchemyError, DepotError):
        world.check(MEANWHILE, *OTHERS)
    agree(world)


# --- merge(load=False) --------------------------------------------------------------------------------------------


@kept
def test_a_file_that_is_replaced_after_a_merge_without_loading_is_the_row_s(world: World, keep: Keep) -> None:
    document, _ = stale(world, keep)
    with world.session() as session:
        put(session.merge(document, load=False), content=NEW)
        session.commit()
    world.check(NEW, *OTHERS)


def test_a_file_that_is_cleared_after_a_merge_without_loading_is_the_row_s(world: World) -> None:
    document, _ = stale(world)
    with world.session() as session:
        session.merge(document, load=False).content = None
        session.commit()
    world.check(*OTHERS)


@kept
def test_a_row_that_is_deleted_after_a_merge_without_loading_takes_all_it_held(world: World, keep: Keep) -> None:
    with world.session() as session:
        for each in stale(world, keep):
            session.delete(session.merge(each, load=False))
        session.commit()
    world.check(PHOTO)


def test_a_merge_without_loading_writes_nothing(world: World) -> None:
    with world.session() as session:
        merged = [session.merge(each, load=False) for each in stale(world)]
        merged[0].name = "renamed"
        session.commit()
    world.check(MEANWHILE, *OTHERS)


@pytest.mark.parametrize("end", [Session.rollback, Session.close])
def test_a_merge_without_loading_that_is_rolled_back(world: World, end: Callable[[Session], None]) -> None:
    document, movie = stale(world)
    with world.session() as session:
        put(session.merge(document, load=False), content=NEW)
        session.merge(movie, load=False).screenshots.pop()
        session.flush()
        end(session)
    world.check(MEANWHILE, *OTHERS)


def test_a_stale_file_is_given_to_no_other_row(world: World) -> None:
    """The object that was merged still shows it, but it is gone."""
    document, _ = stale(world)
    try:
        with world.session() as session:
            merged = session.merge(document, load=False)
            session.get_one(Document, SECOND).report = merged.content
            session.commit()
    except (SQLAlchemyError, DepotError):
        world.check(MEANWHILE, *OTHERS)
    agree(world)


# --- merge, and add -----------------------------------------------------------------------------------------------


@kept
def test_an_ordinary_merge_does_not_write_a_stale_value_back(world: World, keep: Keep) -> None:
    """It loads the row and assigns the object's file, which is gone."""
    document, movie = stale(world, keep)
    try:
        with world.session() as session:
            session.merge(document)
            session.merge(movie)
            session.commit()
    except (SQLAlchemyError, DepotError):
        world.check(MEANWHILE, *OTHERS)
    agree(world)


@kept
def test_a_detached_object_that_is_added_and_changed(world: World, keep: Keep) -> None:
    document, movie = stale(world, keep)
    with world.session() as session:
        session.add_all([document, movie])
        put(document, content=NEW)
        session.delete(movie)
        session.commit()
    world.check(NEW, PHOTO)


# --- lists --------------------------------------------------------------------------------------------------------


def _append(movie: Movie) -> None:
    movie.screenshots.append(UploadedFile(NEW))


def _remove_the_last(movie: Movie) -> None:
    movie.screenshots.pop()


def _remove_what_is_gone(movie: Movie) -> None:
    movie.screenshots.pop(0)


def _assign(movie: Movie) -> None:
    put(movie, screenshots=[NEW])


EDITS: Final[list[tuple[Callable[[Movie], None], list[list[bytes]] | None]]] = [
    (_append, [[TWO, MEANWHILE, THREE, NEW]]),
    (_remove_the_last, [[TWO, MEANWHILE]]),
    (_remove_what_is_gone, None),
    (_assign, None),
]


def _add(session: Session, movie: Movie, edit: Callable[[Movie], None]) -> None:
    session.add(movie)
    edit(movie)


def _merge(session: Session, movie: Movie, edit: Callable[[Movie], None]) -> None:
    edit(session.merge(movie, load=False))


def _save(session: Session, movie: Movie, edit: Callable[[Movie], None]) -> None:
    edit(movie)
    session.bulk_save_objects([movie])


@kept
@pytest.mark.parametrize("how", [_add, _merge, _save])
@pytest.mark.parametrize(("edit", "allowed"), EDITS)
def test_a_stale_list_is_merged_or_refused(
    world: World,
    keep: Keep,
    how: Callable[[Session, Movie, Callable[[Movie], None]], None],
    edit: Callable[[Movie], None],
    allowed: list[list[bytes]] | None,
) -> None:
    """Never does the row name a file that is gone; the file of the other one is lost in no case."""
    _, movie = stale(world, keep)
    refused = False
    with world.session() as session:
        try:
            how(session, movie, edit)
            session.commit()
        except StaleDataError:
            session.rollback()
            refused = True
    found = listed(world)
    if refused:
        assert found == [TWO, MEANWHILE, THREE]
    elif allowed is not None:
        assert found in allowed
    if how is not _save or found != [NEW]:  # a bulk method that assigns a whole list may mean it
        assert MEANWHILE in found
    world.check(*DOCUMENTS, *(each for each in found if each is not None))


# --- bulk_save_objects of objects that have another key by now ----------------------------------------------------


def test_bulk_save_objects_writes_to_the_row_that_the_object_names_by_now(world: World) -> None:
    """SQLAlchemy updates the row of the present key; the one that the object was loaded from stays as it is."""
    begin(world)
    with world.session() as session:
        document = session.get_one(Document, FIRST)
    document.id = SECOND
    put(document, content=NEW)
    with world.session() as session:
        session.bulk_save_objects([document])
        session.commit()
    with world.session() as session:
        assert read(session.get_one(Document, SECOND).content) == NEW
        assert read(session.get_one(Document, FIRST).content) == PLAN
    world.check(PLAN, NEW, ONE, TWO, THREE)


def test_a_list_that_bulk_save_objects_writes_to_another_row_is_copied(world: World) -> None:
    begin(world)
    with world.session() as session:
        session.add(Movie(id=SECOND, screenshots=[MEANWHILE]))
        session.commit()
        movie = session.get_one(Movie, FIRST)
        assert len(movie.screenshots) == 3
    movie.id = SECOND
    movie.screenshots.append(UploadedFile(NEW))
    with world.session() as session:
        session.bulk_save_objects([movie])
        session.commit()
    with world.session() as session:
        assert [read(each) for each in session.get_one(Movie, SECOND).screenshots] == [ONE, TWO, THREE, NEW]
    world.check(PLAN, PHOTO, ONE, TWO, THREE, ONE, TWO, THREE, NEW)


def test_two_objects_of_one_row_in_one_bulk_save(world: World) -> None:
    """The row names the later file; the other one goes."""
    begin(world)
    copies = []
    for content in (NEW, MEANWHILE):
        with world.session() as session:
            copies.append(session.get_one(Document, FIRST))
        put(copies[-1], content=content)
    with world.session() as session:
        session.bulk_save_objects(copies)
        session.commit()
    world.check(MEANWHILE, PHOTO, ONE, TWO, THREE)
