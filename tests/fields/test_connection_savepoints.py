"""Savepoints of the connection, which the session does not know: changes rolled back with them leave nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from sqlalchemy.orm import Session

from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.changes import (
    BEFORE,
    FIRST,
    ONE,
    PHOTO,
    PLAN,
    SECOND,
    THREE,
    TWO,
    Change,
    begin,
    every_change,
    few_changes,
)
from tests.support.models import Document, Movie

End = Callable[[Session], None]

ENDS: Final[dict[str, End]] = {"commit": Session.commit, "rollback": Session.rollback, "close": Session.close}
every_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
released_or_not = pytest.mark.parametrize("released", [True, False], ids=["released", "rolled back"])


@every_change
@released_or_not
@every_end
def test_a_savepoint_of_the_connection_decides_for_itself(
    world: World, change: Change, released: bool, end: End
) -> None:
    """As one of the session would."""
    begin(world)
    with world.session() as session:
        savepoint = session.connection().begin_nested()
        change(session)
        if released:
            savepoint.commit()
        else:
            savepoint.rollback()
        end(session)
    world.check(*(change.leaves if released and end is Session.commit else BEFORE))


@few_changes
@released_or_not
def test_the_first_thing_in_a_transaction_is_no_exception(world: World, change: Change, released: bool) -> None:
    """Nor are objects that were loaded, and changed, before the savepoint began."""
    begin(world)
    with world.session(autoflush=False) as session:
        session.get_one(Document, FIRST).name = "renamed"
        assert len(session.get_one(Movie, FIRST).screenshots) == 3
        savepoint = session.connection().begin_nested()
        change(session)
        if released:
            savepoint.commit()
        else:
            savepoint.rollback()
        session.commit()
    world.check(*(change.leaves if released else BEFORE))


def _fill(session: Session) -> None:
    put(session.get_one(Document, SECOND), report=b"outside")
    session.flush()


@few_changes
@released_or_not
@every_end
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_done_outside_of_it_is_the_transaction_s(
    world: World, change: Change, released: bool, end: End, when: str
) -> None:
    """Before the savepoint or after it."""
    begin(world)
    with world.session() as session:
        if when == "before":
            _fill(session)
        savepoint = session.connection().begin_nested()
        change(session)
        if released:
            savepoint.commit()
        else:
            savepoint.rollback()
        if when == "after":
            session.expire_all()
            _fill(session)
        end(session)
    if end is Session.commit:
        world.check(*(change.leaves if released else BEFORE), b"outside")
    else:
        world.check(*BEFORE)


@every_end
@pytest.mark.parametrize("outer", ["session", "connection"])
@pytest.mark.parametrize("outer_released", [True, False])
@pytest.mark.parametrize("inner_released", [True, False])
def test_savepoints_of_both_kinds_within_each_other(
    world: World, outer: str, outer_released: bool, inner_released: bool, end: End
) -> None:
    """A file follows the innermost that wrote its row."""
    begin(world)
    with world.session() as session:
        around = session.begin_nested() if outer == "session" else session.connection().begin_nested()
        put(session.get_one(Document, FIRST), content=b"outer")
        session.flush()
        within = session.connection().begin_nested() if outer == "session" else session.begin_nested()
        put(session.get_one(Document, SECOND), content=b"inner")
        session.get_one(Movie, FIRST).screenshots.append(UploadedFile(b"inner"))
        session.flush()
        for savepoint, released in ((within, inner_released), (around, outer_released)):
            if released:
                savepoint.commit()
            else:
                savepoint.rollback()
        end(session)
    if end is not Session.commit or not outer_released:
        world.check(*BEFORE)
    elif inner_released:
        world.check(b"outer", b"inner", b"inner", ONE, TWO, THREE)
    else:
        world.check(b"outer", PHOTO, ONE, TWO, THREE)


@few_changes
@pytest.mark.parametrize("attempts", [2, 3])
def test_several_savepoints_one_after_the_other(world: World, change: Change, attempts: int) -> None:
    """All but the last are rolled back."""
    begin(world)
    with world.session() as session:
        for attempt in range(attempts):
            session.expire_all()
            savepoint = session.connection().begin_nested()
            change(session)
            if attempt < attempts - 1:
                savepoint.rollback()
                session.expunge_all()
            else:
                savepoint.commit()
        session.commit()
    world.check(*change.leaves)


@few_changes
@released_or_not
@pytest.mark.parametrize("commits", [True, False], ids=["commit", "rollback"])
def test_a_savepoint_around_a_session_that_has_joined(
    world: World, change: Change, released: bool, commits: bool
) -> None:
    """The session commits; its connection decides twice."""
    begin(world)
    with world.engine.connect() as connection:
        outer = connection.begin()
        savepoint = connection.begin_nested()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            change(session)
            session.commit()
        if released:
            savepoint.commit()
        else:
            savepoint.rollback()
        if commits:
            outer.commit()
        else:
            outer.rollback()
    world.check(*(change.leaves if released and commits else BEFORE))


def test_a_replaced_file_survives_the_savepoint_that_replaced_it(world: World) -> None:
    """The row reads its old file already before the transaction ends, and can be given another."""
    begin(world)
    with world.session() as session:
        document = session.get_one(Document, FIRST)
        savepoint = session.connection().begin_nested()
        put(document, content=b"not this")
        session.flush()
        savepoint.rollback()
        session.refresh(document)
        assert document.content is not None
        assert document.content.file.read() == PLAN
        put(document, content=b"but this")
        session.commit()
    world.check(b"but this", PHOTO, ONE, TWO, THREE)
