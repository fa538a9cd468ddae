"""Sessions that touch no file: how often they call the library, counted, and that nothing of it stays with them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

import depot_lite
from tests.conftest import World
from tests.fields.statements import add
from tests.support.models import Document, Plain

KEYS = (1001, 1002)
OURS = str(Path(depot_lite.__file__).parent)


def calls_of_ours(action: Callable[[], object]) -> int:
    """Return how many functions of the library are called while something is done."""
    found: Counter[bool] = Counter()

    def count(frame: FrameType, kind: str, argument: object) -> None:
        found[kind == "call" and frame.f_code.co_filename.startswith(OURS)] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(before)
    return found[True]


@pytest.fixture
def session(world: World) -> Session:
    """A session of a process that has stored files, with an object that has none."""
    add(world, Document(content=b"a"), *(Plain(id=key, name="a") for key in KEYS))
    return world.session()


def test_the_end_of_a_transaction_calls_nothing(session: Session) -> None:
    with session:
        session.execute(select(Plain)).all()
        with session.begin_nested():
            pass
        assert calls_of_ours(session.commit) == 0
        session.execute(select(Plain)).all()
        assert calls_of_ours(session.rollback) == 0
    assert "info" not in vars(session)


def test_a_flush_calls_one_function(session: Session) -> None:
    with session:
        session.add_all(Plain(name="b") for _ in range(10))
        assert calls_of_ours(session.flush) == 1


def test_a_deleted_object_is_looked_at_once(session: Session) -> None:
    with session:
        first, second = (session.get_one(Plain, key) for key in KEYS)
        session.delete(first)
        session.flush()  # looks at the tables
        session.delete(second)
        assert calls_of_ours(session.flush) <= 1 + 2


def test_a_select_calls_one_function(session: Session) -> None:
    with session:
        assert calls_of_ours(lambda: session.execute(select(Plain)).all()) == 1


@pytest.mark.parametrize("statement", [insert(Plain).values(name="b"), update(Plain).values(name="b"), delete(Plain)])
def test_a_statement_that_writes_calls_five_functions(session: Session, statement: object) -> None:
    with session:
        session.execute(statement)  # type: ignore[call-overload]  # one of three kinds
        assert calls_of_ours(lambda: session.execute(statement)) <= 5  # type: ignore[call-overload]  # as above


def test_a_session_that_had_files_listens_until_it_is_gone(session: Session) -> None:
    with session:
        for content in (b"b", b"c"):
            session.add(Document(content=content))
            session.commit()
        session.add(Plain(name="b"))
        # Its own listener of ends, called for the flush and for the transaction.
        assert calls_of_ours(session.commit) <= 1 + 2 * 2
