"""Savepoints, nested, released and rolled back in any mix: a file follows the innermost one that wrote its row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.actions import BEFORE, FIGURES, NEW, OTHER, PHOTO, PLAN, Action, begin, documents, every_action, put
from tests.support.models import Account, Document

Steps = tuple[str, ...]

#: Savepoints on their way: ``(`` begins one, ``)`` releases and ``x`` rolls back the innermost. The last sign ends the
#: transaction: COMMIT, rollback, or close() without either.
SHAPES: Final = (
    "()",
    "(x",
    "(())",
    "(()x",
    "((x)",
    "((xx",
    "()()",
    "()(x",
    "(x()",
    "(x(x",
    "(()())",
    "(()(x)",
    "((x()x",
)
ENDS: Final = ("commit", "rollback", "close")


def _end(session: Session, end: str) -> None:
    {"commit": session.commit, "rollback": session.rollback, "close": session.close}[end]()


@every_action
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("released", [True, False], ids=["released", "rolled back"])
def test_a_savepoint_decides_nothing_but_for_itself(world: World, action: Action, released: bool, end: str) -> None:
    """Changes of a released savepoint end with the transaction; those of a rolled back one leave nothing."""
    begin(world)
    with world.session() as session:
        savepoint = session.begin_nested()
        action.does(session)
        session.flush()
        if released:
            savepoint.commit()
        else:
            savepoint.rollback()
        _end(session, end)
        world.check(*action.leaves if released and end == "commit" else BEFORE)


@every_action
@pytest.mark.matrix
def test_a_second_attempt_works_in_the_same_transaction(world: World, action: Action) -> None:
    """After the savepoint was rolled back, the action has the same effect in the outer transaction as alone."""
    begin(world)
    with world.session() as session:
        savepoint = session.begin_nested()
        action.does(session)
        session.flush()
        savepoint.rollback()
        action.does(session)
        session.commit()
    world.check(*action.leaves)


# --- mixes --------------------------------------------------------------------------------------------------------


class Game:
    """Plays a shape: writes something at every step, and knows the files that rows have to name afterwards.

    The row with which it begins is replaced, a new one is added, and the one added last is cleared or deleted, so that
    each savepoint bears, condemns and condemns what another bore.
    """

    def __init__(self, session: Session, writes: str) -> None:
        self.session = session
        self.writes = writes
        self.rows: dict[int, bytes] = {}
        self.outer: list[dict[int, bytes]] = []
        self.names = (f"{number}".encode() for number in itertools.count())

    def add(self) -> None:
        """Add a row with a file."""
        document = Document(content=next(self.names))
        self.session.add(document)
        self.session.flush()
        self.rows[document.id] = document.content.file.read() if document.content else b""

    def play(self, step: str) -> None:
        """Take one step, and write something after it."""
        savepoint = self.session.get_nested_transaction()
        if step == "(":
            self.session.begin_nested()
            self.outer.append(dict(self.rows))
        elif savepoint is not None and step == ")":
            savepoint.commit()
            self.outer.pop()
        elif savepoint is not None:
            savepoint.rollback()
            self.rows = self.outer.pop()
        self.write()

    def write(self) -> None:
        """Change the oldest row, or the newest, or add one."""
        last = self.session.get_one(Document, max(self.rows))
        first = self.session.get_one(Document, min(self.rows))
        if self.writes == "replace":
            self.rows[first.id] = next(self.names)
            put(first, content=self.rows[first.id])
        elif self.writes == "delete" and last is not first:
            del self.rows[last.id]
            self.session.delete(last)
        elif self.writes == "copy":
            self.rows[first.id] = self.rows[last.id]
            first.content = last.content
            self.add()
        else:
            self.add()
        self.session.flush()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("writes", ["add", "replace", "delete", "copy"])
@pytest.mark.parametrize("shape", SHAPES)
def test_any_mix_of_savepoints_keeps_what_its_rows_name(world: World, shape: str, writes: str, end: str) -> None:
    """Each step of a mix writes files; those that the surviving rows name are there at the end, and no others."""
    with world.session() as session:
        game = Game(session, writes)
        game.add()
        session.commit()
        before = dict(game.rows)
        game.write()
        for step in shape:
            game.play(step)
        _end(session, end)
        world.check(*(game.rows if end == "commit" else before).values())


def _mixes() -> Iterator[Steps]:
    for depth in (1, 2, 3):
        yield from itertools.product(("released", "rolled back"), repeat=depth)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("ends", list(_mixes()), ids=lambda ends: ", ".join(ends))
def test_one_attribute_replaced_at_every_depth_holds_what_survived(world: World, ends: Steps, end: str) -> None:
    """The same attribute is replaced in each of several nested savepoints, which end from the inside out."""
    begin(world)
    with world.session() as session:
        first, _ = documents(session)
        held = [PLAN]
        for depth in range(len(ends)):
            session.begin_nested()
            held.append(f"depth {depth}".encode())
            put(first, content=held[-1])
            session.flush()
        for each in reversed(ends):
            savepoint = session.get_nested_transaction()
            assert savepoint is not None
            (savepoint.commit if each == "released" else savepoint.rollback)()
            survives = held.pop()
            if each == "released":
                held[-1] = survives
            assert first.content is not None
            assert first.content.file.read() == held[-1]
        _end(session, end)
    world.check(held[0] if end == "commit" else PLAN, FIGURES, PHOTO)


# --- how savepoints are written -----------------------------------------------------------------------------------


def _add_and_raise(session: Session) -> None:
    session.add(Document(content=OTHER))
    session.flush()
    raise ZeroDivisionError


def test_a_savepoint_block_that_raises_takes_its_files_along(world: World) -> None:
    """``with session.begin_nested()`` rolls back by itself; the outer transaction keeps its own files."""
    with world.session() as session:
        session.add(Document(content=NEW))
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            _add_and_raise(session)
        session.commit()
    world.check(NEW)


def test_what_was_pending_before_a_savepoint_belongs_to_the_outer_transaction(world: World) -> None:
    """``begin_nested`` flushes first: what waited then survives the savepoint's rollback."""
    begin(world)
    with world.session() as session:
        session.add(Document(content=NEW))
        put(documents(session)[0], content=OTHER)
        session.begin_nested().rollback()
        session.commit()
    world.check(NEW, OTHER, FIGURES, PHOTO)


def test_a_flush_that_fails_in_a_savepoint_takes_only_its_own_files(world: World) -> None:
    """The usual way to survive a constraint: the outer transaction and the second attempt are committed."""
    with world.session() as session:
        session.add(Account(code="same", photo=NEW))
        session.flush()
        failing = Account(code="same", photo=OTHER)
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add(failing)
        failing.code = "another"
        with session.begin_nested():
            session.add(failing)
        session.commit()
    world.check(NEW, OTHER)


@pytest.mark.parametrize("end", ENDS)
def test_a_flush_that_fails_in_the_inner_of_two_savepoints_leaves_the_outer_one(world: World, end: str) -> None:
    """Files of the outer savepoint share the fate of its rows; those of the failed flush go whatever the end."""
    begin(world)
    with world.session() as session:
        with session.begin_nested():
            put(documents(session)[0], content=NEW)
            session.add(Account(code="same"))
            session.flush()
            with pytest.raises(IntegrityError), session.begin_nested():
                session.add_all([Account(code="same"), Account(code="other", photo=OTHER)])
        _end(session, end)
    world.check(*(NEW, FIGURES, PHOTO) if end == "commit" else BEFORE)


def test_a_value_rolled_back_in_a_savepoint_can_be_assigned_again_outside(world: World) -> None:
    """It is pending again, under a new id."""
    begin(world)
    with world.session() as session:
        first, _ = documents(session)
        value = UploadedFile(NEW)
        savepoint = session.begin_nested()
        first.content = value
        session.flush()
        path = value.path
        savepoint.rollback()
        assert value.pending
        assert value.path != path
        first.content = value
        session.commit()
    world.check(NEW, FIGURES, PHOTO)


def test_a_row_deleted_in_a_rolled_back_savepoint_can_be_deleted_again(world: World) -> None:
    """The first deletion has never been; the second takes the files."""
    begin(world)
    with world.session() as session:
        for _ in range(2):
            savepoint = session.begin_nested()
            session.delete(documents(session)[0])
            session.flush()
            savepoint.rollback()
        session.delete(documents(session)[0])
        session.commit()
    world.check(PHOTO)


@pytest.mark.parametrize("finish", [Session.commit, Session.rollback, Session.close])
def test_a_session_that_ends_with_open_savepoints_ends_them_too(
    world: World, finish: Callable[[Session], None]
) -> None:
    """COMMIT releases open savepoints; rollback and close() roll them back."""
    begin(world)
    with world.session() as session:
        for content in (NEW, OTHER):
            session.begin_nested()
            put(documents(session)[0], content=content)
            session.flush()
        finish(session)
        if session.in_transaction():  # rollback() takes back the innermost savepoint only
            session.close()
    world.check(*(OTHER, FIGURES, PHOTO) if finish is Session.commit else BEFORE)
