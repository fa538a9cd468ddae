"""The ways in which a transaction with an action in it can end, for worlds where the whole table takes too long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest
from sqlalchemy.orm import Session

from tests.fields.actions import Action


@dataclass(frozen=True)
class End:
    """A transaction around an action, and whether the action counts afterwards."""

    run: Callable[[Session, Action], None]
    commits: bool


def _commit(session: Session, action: Action) -> None:
    action.does(session)
    session.commit()


def _rollback(session: Session, action: Action) -> None:
    action.does(session)
    session.flush()
    session.rollback()


def _close(session: Session, action: Action) -> None:
    action.does(session)
    session.flush()
    session.close()


def _release_and_commit(session: Session, action: Action) -> None:
    with session.begin_nested():
        action.does(session)
    session.commit()


def _release_and_rollback(session: Session, action: Action) -> None:
    with session.begin_nested():
        action.does(session)
    session.rollback()


def _roll_back_a_savepoint_and_commit(session: Session, action: Action) -> None:
    savepoint = session.begin_nested()
    action.does(session)
    session.flush()
    savepoint.rollback()
    session.commit()


ENDS: Final = {
    "commit": End(_commit, True),
    "rollback": End(_rollback, False),
    "close": End(_close, False),
    "release and commit": End(_release_and_commit, True),
    "release and roll back": End(_release_and_rollback, False),
    "roll back a savepoint and commit": End(_roll_back_a_savepoint_and_commit, False),
}


def some_ends(*names: str) -> pytest.MarkDecorator:
    """Run a test with these ends."""
    return pytest.mark.parametrize("end", [ENDS[name] for name in names], ids=names)


#: All of them; the quick suite has those that differ most.
every_end: Final = pytest.mark.parametrize(
    "end",
    [
        pytest.param(end, id=name, marks=() if name in {"commit", "rollback"} else pytest.mark.matrix)
        for name, end in ENDS.items()
    ],
)
