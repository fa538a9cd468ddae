"""The ways in which a transaction of a session can end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests.fields.actions import (
    OTHER,
)
from tests.support.models import Account

Does = Callable[[Session], None]


End = Callable[[Session, Does], None]


class Stop(Exception):
    """An error of the user's own code in the middle of a transaction."""


def _commit(session: Session, does: Does) -> None:
    does(session)
    session.commit()


def _flush_and_commit(session: Session, does: Does) -> None:
    does(session)
    session.flush()
    session.commit()


def _block(session: Session, does: Does) -> None:
    with session.begin():
        does(session)


def _rollback(session: Session, does: Does) -> None:
    does(session)
    session.rollback()


def _flush_and_rollback(session: Session, does: Does) -> None:
    does(session)
    session.flush()
    session.rollback()


def _close(session: Session, does: Does) -> None:
    does(session)
    session.close()


def _flush_and_close(session: Session, does: Does) -> None:
    does(session)
    session.flush()
    session.close()


def _flush_and_invalidate(session: Session, does: Does) -> None:
    does(session)
    session.flush()
    session.invalidate()


def _do_and_stop(session: Session, does: Does) -> None:
    does(session)
    session.flush()
    raise Stop


def _exception_in_with_session(session: Session, does: Does) -> None:
    with pytest.raises(Stop), session:
        _do_and_stop(session, does)


def _exception_in_block(session: Session, does: Does) -> None:
    with pytest.raises(Stop), session.begin():
        _do_and_stop(session, does)


def _failed_flush(session: Session, does: Does) -> None:
    does(session)
    session.add_all([Account(code="same", photo=OTHER), Account(code="same")])
    with pytest.raises(IntegrityError):
        session.flush()
    session.rollback()


def _failed_flush_after_a_good_one(session: Session, does: Does) -> None:
    does(session)
    session.flush()
    session.add_all([Account(code="same", photo=OTHER), Account(code="same")])
    with pytest.raises(IntegrityError):
        session.commit()
    session.close()


COMMITTED: Final[dict[str, End]] = {
    "commit": _commit,
    "flush and commit": _flush_and_commit,
    "session.begin()": _block,
}


NOT_COMMITTED: Final[dict[str, End]] = {
    "flush and rollback": _flush_and_rollback,
    "flush and close": _flush_and_close,
    "exception in with Session": _exception_in_with_session,
    "failed flush": _failed_flush,
}


# These differ from the others in SQLAlchemy's part only, so that they are tried with some actions and not with each.
ALSO_NOT_COMMITTED: Final[dict[str, End]] = {
    "rollback": _rollback,
    "close": _close,
    "flush and invalidate": _flush_and_invalidate,
    "exception in session.begin()": _exception_in_block,
    "failed flush after a good one": _failed_flush_after_a_good_one,
}


def end(session: Session, commit: bool) -> None:
    """Flush, and commit or roll back."""
    session.flush()
    (session.commit if commit else session.rollback)()
