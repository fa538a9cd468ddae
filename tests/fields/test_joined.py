"""Sessions joined to a connection whose transaction somebody else began, as test suites do it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

import pytest
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from tests.conftest import World
from tests.fields.actions import BEFORE, FIGURES, NEW, OTHER, PHOTO, PLAN, Action, begin, documents, put, some_actions
from tests.support.models import Document

Mode = Literal["conditional_savepoint", "rollback_only", "control_fully", "create_savepoint"]

MODES: Final[tuple[Mode, ...]] = ("conditional_savepoint", "rollback_only", "control_fully", "create_savepoint")

#: The end of the transaction before the session is closed.
SESSION_ENDS: Final = ("commit", "rollback", "close")

few = some_actions("add", "replace_in_three_flushes", "delete", "swap_rows")
modes = pytest.mark.parametrize("mode", MODES)
session_ends = pytest.mark.parametrize("session_end", SESSION_ENDS)
outer_ends = pytest.mark.parametrize("outer_end", ["commit", "rollback", "close"])


def _work(connection: Connection, mode: Mode, does: Callable[[Session], None], end: str) -> None:
    """Let a session do something on the connection, and end it."""
    with Session(connection, join_transaction_mode=mode) as session:
        does(session)
        session.flush()
        {"commit": session.commit, "rollback": session.rollback, "close": session.close}[end]()


@contextmanager
def _outer(world: World, end: str) -> Iterator[Connection]:
    """Give a connection in a transaction, and end it, as far as the session has left anything to end."""
    with world.engine.connect() as connection:
        outer = connection.begin()
        yield connection
        if outer.is_active:
            {"commit": outer.commit, "rollback": outer.rollback, "close": outer.close}[end]()
        else:
            outer.close()


def _kept_by_session(mode: Mode, end: str) -> bool:
    """Return whether the rows are still in the outer transaction once the session has ended."""
    if mode in ("create_savepoint", "control_fully"):
        return end == "commit"
    return end != "rollback"  # close() of a session that controls only rollbacks leaves its rows where they are


@few
@modes
@session_ends
@outer_ends
def test_files_follow_the_rows_to_the_end_of_the_outer_transaction(
    world: World, action: Action, mode: Mode, session_end: str, outer_end: str
) -> None:
    """Whoever decides about the rows in a mode decides about the files."""
    begin(world)
    with _outer(world, outer_end) as connection:
        _work(connection, mode, action.does, session_end)
    decided = mode == "control_fully" or outer_end == "commit"
    world.check(*action.leaves if decided and _kept_by_session(mode, session_end) else BEFORE)


@some_actions("replace_in_three_flushes", "copy_and_delete_the_original")
@modes
@session_ends
@pytest.mark.parametrize("savepoint_end", ["commit", "rollback"])
@pytest.mark.parametrize("outer_end", ["commit", "rollback"])
def test_files_follow_the_rows_through_the_users_own_savepoint(
    world: World, action: Action, mode: Mode, session_end: str, savepoint_end: str, outer_end: str
) -> None:
    """The session runs inside a savepoint that the user has made on the connection."""
    begin(world)
    with _outer(world, outer_end) as connection:
        savepoint = connection.begin_nested()
        _work(connection, mode, action.does, session_end)
        if savepoint.is_active:
            {"commit": savepoint.commit, "rollback": savepoint.rollback}[savepoint_end]()
            kept = savepoint_end == "commit" and _kept_in_savepoint(mode, session_end)
        else:
            kept = mode == "control_fully" and session_end == "commit"
    world.check(*action.leaves if kept and outer_end == "commit" else BEFORE)


def _kept_in_savepoint(mode: Mode, end: str) -> bool:
    """Return whether the rows are still in the user's savepoint once the session has ended."""
    if mode == "rollback_only":
        return end != "rollback"
    return end == "commit"


@pytest.mark.parametrize("ends", list(itertools.product(("commit", "rollback"), repeat=2)), ids=", ".join)
@pytest.mark.parametrize("outer_end", ["commit", "rollback"])
def test_each_of_the_users_savepoints_decides_for_itself(world: World, ends: tuple[str, str], outer_end: str) -> None:
    """Two savepoints on the connection, one after the other, each with a session in it."""
    begin(world)
    left = [PLAN, FIGURES, PHOTO]
    with _outer(world, outer_end) as connection:
        for end, content in zip(ends, (NEW, OTHER), strict=True):
            savepoint = connection.begin_nested()
            _work(connection, "create_savepoint", lambda each: put(documents(each)[0], content=content), "commit")  # noqa: B023  # called at once
            if end == "commit":
                savepoint.commit()
                left[0] = content
            else:
                savepoint.rollback()
    world.check(*left if outer_end == "commit" else BEFORE)


@modes
def test_nothing_is_deleted_while_the_outer_transaction_is_open(world: World, mode: Mode) -> None:
    """Until the one that decides has decided, the file that was replaced and the new one are both there."""
    begin(world)
    stored = world.stored()
    with _outer(world, "commit") as connection:
        _work(connection, mode, lambda session: put(documents(session)[0], content=NEW), "commit")
        if mode != "control_fully":
            assert stored < world.stored()
    world.check(NEW, FIGURES, PHOTO)


# --- the connection after COMMIT ----------------------------------------------------------------------------------


@pytest.mark.parametrize("detached", [False, True])
def test_condemned_files_go_as_soon_as_the_connection_has_committed(world: World, detached: bool) -> None:
    """Once COMMIT has been answered, whether the connection is used again or not; until then the old file is there."""
    begin(world)
    with world.engine.connect() as connection:
        if detached:
            connection.detach()
        before = world.stored()
        with connection.begin():
            _work(connection, "create_savepoint", lambda each: put(documents(each)[0], content=NEW), "commit")
            assert world.stored() > before
        world.check(NEW, FIGURES, PHOTO)
        with connection.begin():
            _work(connection, "create_savepoint", lambda each: each.delete(documents(each)[0]), "commit")
        world.check(PHOTO)


# --- several sessions on one connection ---------------------------------------------------------------------------


@pytest.mark.parametrize("outer_end", ["commit", "rollback"])
def test_several_sessions_on_one_connection_add_up(world: World, outer_end: str) -> None:
    """The second session finds the rows of the first, replaces their files, and the outer transaction decides."""
    begin(world)
    with _outer(world, outer_end) as connection:
        _work(
            connection, "create_savepoint", lambda each: put(documents(each)[0], content=b"first session's"), "commit"
        )
        _work(connection, "create_savepoint", lambda each: put(documents(each)[0], content=b"lost"), "rollback")
        _work(connection, "create_savepoint", lambda each: put(documents(each)[0], content=NEW), "commit")
        _work(connection, "create_savepoint", lambda each: each.add(Document(content=b"lost")), "close")
        _work(connection, "create_savepoint", lambda each: each.add(Document(content=OTHER)), "commit")
    world.check(*(NEW, FIGURES, PHOTO, OTHER) if outer_end == "commit" else BEFORE)


@pytest.mark.parametrize("outer_end", ["commit", "rollback"])
def test_sessions_of_different_modes_on_one_connection_add_up(world: World, outer_end: str) -> None:
    """One that only flushes, one in a savepoint, and one that commits without being listened to."""
    begin(world)
    with _outer(world, outer_end) as connection:
        _work(connection, "rollback_only", lambda each: each.add(Document(content=b"1")), "close")
        _work(connection, "create_savepoint", lambda each: each.add(Document(content=b"lost")), "rollback")
        _work(connection, "conditional_savepoint", lambda each: put(documents(each)[0], content=NEW), "commit")
    world.check(*(b"1", NEW, FIGURES, PHOTO) if outer_end == "commit" else BEFORE)


@pytest.mark.parametrize("outer_end", ["commit", "rollback"])
def test_savepoints_of_the_session_inside_of_an_outer_transaction(world: World, outer_end: str) -> None:
    """The session's own savepoints end as ever; what survives them waits for the outer end."""
    begin(world)
    with (
        _outer(world, outer_end) as connection,
        Session(connection, join_transaction_mode="create_savepoint") as session,
    ):
        session.begin_nested()
        put(documents(session)[0], content=NEW)
        session.flush()
        session.get_nested_transaction().commit()  # type: ignore[union-attr]  # begun three lines above
        session.begin_nested()
        put(documents(session)[1], content=b"lost")
        session.flush()
        session.get_nested_transaction().rollback()  # type: ignore[union-attr]  # begun four lines above
        session.commit()
        session.add(Document(content=OTHER))
        session.commit()
    world.check(*(NEW, FIGURES, PHOTO, OTHER) if outer_end == "commit" else BEFORE)


def test_a_second_outer_transaction_on_the_same_connection_is_another_one(world: World) -> None:
    """The first is rolled back and the second committed: only the second's files are there."""
    with world.engine.connect() as connection:
        for content, end in ((b"lost", "rollback"), (NEW, "commit"), (b"lost too", "rollback"), (OTHER, "commit")):
            outer = connection.begin()
            _work(connection, "create_savepoint", lambda each, add=content: each.add(Document(content=add)), "commit")  # type: ignore[misc]  # a default, to bind the loop's value
            {"commit": outer.commit, "rollback": outer.rollback}[end]()
    world.check(NEW, OTHER)


def test_a_connection_that_is_closed_in_its_transaction_takes_the_files_along(world: World) -> None:
    """The pool rolls back a transaction that was left open."""
    begin(world)
    connection = world.engine.connect()
    connection.begin()
    _work(connection, "create_savepoint", lambda each: put(documents(each)[0], content=NEW), "commit")
    connection.close()
    world.check(*BEFORE)


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_a_test_suites_fixture_rolls_everything_back(world: World, end: str) -> None:
    """SQLAlchemy's recipe: code under test commits, rolls back and goes on, and the fixture leaves nothing of it."""
    begin(world)
    with _outer(world, "rollback") as connection:
        session = Session(connection, join_transaction_mode="create_savepoint")
        put(documents(session)[0], content=NEW)
        session.commit()
        session.add(Document(content=OTHER))
        {"commit": session.commit, "rollback": session.rollback, "close": session.close}[end]()
        session.close()
    world.check(*BEFORE)
