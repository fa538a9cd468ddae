"""What objects can do to files in one transaction: the rows of the table of transaction cases.

Each action finds the two documents that `begin` has committed, and says which files are there once it is committed too.
A new one needs a decorator and three lines, and is tried with every end of a transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from sqlalchemy.orm import Session, make_transient

from tests.conftest import World
from tests.support.models import Document

#: Far from the numbers that a sequence of PostgreSQL reaches by itself.
FIRST: Final = 1_000_001
SECOND: Final = 1_000_002

PLAN, FIGURES, PHOTO = b"the plan", b"the figures", b"the photo"
NEW, OTHER = b"a new file", b"another new file"

#: The files that `begin` commits.
BEFORE: Final = (PLAN, FIGURES, PHOTO)


@dataclass(frozen=True)
class Action:
    """Something that objects do, and the files that there are if it is committed."""

    does: Callable[[Session], None]
    leaves: tuple[bytes, ...]


ACTIONS: Final[dict[str, Action]] = {}

_Does = Callable[[Session], None]


def action(*leaves: bytes) -> Callable[[_Does], _Does]:
    """Enter a function into the table."""

    def enter(does: _Does) -> _Does:
        ACTIONS[does.__name__.strip("_")] = Action(does, leaves)
        return does

    return enter


def begin(world: World) -> None:
    """Commit the two documents with which every action begins."""
    with world.session() as session:
        session.add(Document(id=FIRST, name="first", content=PLAN, report=FIGURES))
        session.add(Document(id=SECOND, name="second", content=PHOTO))
        session.commit()


def put(target: Any, **values: Any) -> None:
    """Assign content that a type checker would refuse: bytes, files, paths."""
    for name, value in values.items():
        setattr(target, name, value)


def documents(session: Session) -> tuple[Document, Document]:
    """Return the two documents."""
    return session.get_one(Document, FIRST), session.get_one(Document, SECOND)


def some_actions(*names: str) -> pytest.MarkDecorator:
    """Run a test with these actions."""
    return pytest.mark.parametrize("action", [ACTIONS[name] for name in names], ids=names)


# --- one value ----------------------------------------------------------------------------------------------------


@action(*BEFORE, NEW)
def _add(session: Session) -> None:
    session.add(Document(content=NEW))


@action(*BEFORE, NEW, OTHER)
def _add_two_files(session: Session) -> None:
    session.add(Document(content=NEW, report=OTHER))


@action(FIGURES, PHOTO, NEW)
def _replace(session: Session) -> None:
    put(documents(session)[0], content=NEW)


@action(FIGURES, PHOTO, NEW)
def _replace_twice_before_the_flush(session: Session) -> None:
    put(documents(session)[0], content=OTHER)
    put(documents(session)[0], content=NEW)


@action(FIGURES, PHOTO, NEW)
def _replace_in_three_flushes(session: Session) -> None:
    for content in (OTHER, PLAN, NEW):
        put(documents(session)[0], content=content)
        session.flush()


@action(FIGURES, PHOTO)
def _clear(session: Session) -> None:
    documents(session)[0].content = None


@action(FIGURES, PHOTO, NEW)
def _clear_and_fill(session: Session) -> None:
    documents(session)[0].content = None
    session.flush()
    put(documents(session)[0], content=NEW)


@action(FIGURES, PHOTO)
def _fill_and_clear(session: Session) -> None:
    put(documents(session)[0], content=NEW)
    session.flush()
    documents(session)[0].content = None


@action(*BEFORE, NEW)
def _fill_an_empty_attribute(session: Session) -> None:
    put(documents(session)[1], report=NEW)


@action(*BEFORE)
def _put_the_old_value_back_before_the_flush(session: Session) -> None:
    first, _ = documents(session)
    old = first.content
    put(first, content=NEW)
    first.content = old


@action(*BEFORE)
def _put_the_old_value_back_after_a_flush(session: Session) -> None:
    first, _ = documents(session)
    old = first.content
    put(first, content=NEW)
    session.flush()
    first.content = old


@action(*BEFORE)
def _put_the_old_value_back_after_clearing(session: Session) -> None:
    first, _ = documents(session)
    old, first.content = first.content, None
    session.flush()
    first.content = old


# --- rows ---------------------------------------------------------------------------------------------------------


@action(PHOTO)
def _delete(session: Session) -> None:
    session.delete(documents(session)[0])


@action()
def _delete_all(session: Session) -> None:
    for document in documents(session):
        session.delete(document)


@action(PHOTO)
def _replace_and_delete(session: Session) -> None:
    first, _ = documents(session)
    put(first, content=NEW)
    session.flush()
    session.delete(first)


@action(*BEFORE)
def _add_and_delete(session: Session) -> None:
    added = Document(content=NEW)
    session.add(added)
    session.flush()
    session.delete(added)


@action(PHOTO, NEW, FIGURES)
def _delete_and_add_the_row_with_a_file(session: Session) -> None:
    session.delete(documents(session)[0])
    session.add(Document(id=FIRST, content=NEW))


@action(PHOTO, FIGURES)
def _delete_and_add_the_row_with_none(session: Session) -> None:
    session.delete(documents(session)[0])
    session.add(Document(id=FIRST, content=None))


@action(*BEFORE)
def _delete_and_add_the_row_without_mentioning_its_files(session: Session) -> None:
    session.delete(documents(session)[0])
    session.add(Document(id=FIRST, name="again"))


@action(NEW, OTHER, FIGURES)
def _delete_and_add_both_rows(session: Session) -> None:
    for document, content in zip(documents(session), (NEW, OTHER), strict=True):
        session.delete(document)
        session.add(Document(id=document.id, content=content))


@action(PHOTO, NEW)
def _delete_flush_and_add_the_row(session: Session) -> None:
    session.delete(documents(session)[0])
    session.flush()
    session.add(Document(id=FIRST, content=NEW))


@action(PHOTO, PLAN, FIGURES)
def _delete_and_add_the_row_with_its_own_value(session: Session) -> None:
    first, _ = documents(session)
    session.delete(first)
    session.add(Document(id=FIRST, content=first.content))


# --- stored values that go elsewhere ------------------------------------------------------------------------------


@action(PLAN, PLAN, PHOTO)
def _copy_to_the_other_attribute(session: Session) -> None:
    first, _ = documents(session)
    first.report = first.content


@action(PLAN, FIGURES, PLAN)
def _copy_to_another_row(session: Session) -> None:
    first, second = documents(session)
    second.content = first.content


@action(*BEFORE, PLAN)
def _copy_to_a_new_row(session: Session) -> None:
    session.add(Document(content=documents(session)[0].content))


@action(PHOTO, PLAN)
def _copy_and_delete_the_original(session: Session) -> None:
    first, _ = documents(session)
    session.add(Document(report=first.content))
    session.delete(first)


@action(FIGURES, PLAN)
def _move_to_another_row(session: Session) -> None:
    first, second = documents(session)
    second.content, first.content = first.content, None


@action(*BEFORE)
def _swap_rows(session: Session) -> None:
    first, second = documents(session)
    first.content, second.content = second.content, first.content


@action(*BEFORE)
def _swap_attributes(session: Session) -> None:
    first, _ = documents(session)
    first.content, first.report = first.report, first.content


@action(*BEFORE)
def _swap_rows_and_swap_them_back(session: Session) -> None:
    first, second = documents(session)
    for _ in range(2):
        first.content, second.content = second.content, first.content
        session.flush()


@action(*BEFORE, PLAN, FIGURES)
def _copy_the_row_by_make_transient(session: Session) -> None:
    first, _ = documents(session)
    assert (first.content, first.report) != (None, None)
    make_transient(first)
    put(first, id=None)
    session.add(first)


# --- operations of a session on its objects -----------------------------------------------------------------------


@action(FIGURES, PHOTO, NEW)
def _replace_what_is_expired(session: Session) -> None:
    first, _ = documents(session)
    session.expire(first)
    put(first, content=NEW)


@action(FIGURES, PHOTO)
def _clear_what_is_expired(session: Session) -> None:
    first, _ = documents(session)
    session.expire(first, ["content"])
    first.content = None


@action(PHOTO)
def _delete_what_is_expired(session: Session) -> None:
    first, _ = documents(session)
    session.expire(first)
    session.delete(first)


@action(*BEFORE)
def _assign_and_expire(session: Session) -> None:
    first, _ = documents(session)
    put(first, content=NEW)
    session.expire(first, ["content"])


@action(*BEFORE)
def _assign_and_refresh(session: Session) -> None:
    first, _ = documents(session)
    put(first, content=NEW)
    with session.no_autoflush:
        session.refresh(first)


@action(FIGURES, PHOTO, NEW)
def _replace_flush_and_refresh(session: Session) -> None:
    first, _ = documents(session)
    put(first, content=NEW)
    session.flush()
    session.refresh(first)
    first.name = "refreshed"


@action(*BEFORE)
def _assign_and_expunge(session: Session) -> None:
    first, _ = documents(session)
    put(first, content=NEW)
    session.expunge(first)


@action(FIGURES, PHOTO, NEW)
def _replace_flush_and_expunge(session: Session) -> None:
    first, _ = documents(session)
    put(first, content=NEW)
    session.flush()
    session.expunge(first)


@action(*BEFORE, NEW)
def _add_flush_and_expunge(session: Session) -> None:
    added = Document(content=NEW)
    session.add(added)
    session.flush()
    session.expunge(added)


@action(*BEFORE)
def _never_add(session: Session) -> None:
    documents(session)
    Document(content=NEW)


@action(FIGURES, PHOTO, NEW)
def _merge_with_a_file(session: Session) -> None:
    session.merge(Document(id=FIRST, content=NEW))


@action(FIGURES, PHOTO)
def _merge_with_none(session: Session) -> None:
    session.merge(Document(id=FIRST, content=None))


@action(*BEFORE)
def _merge_without_mentioning_files(session: Session) -> None:
    session.merge(Document(id=FIRST, name="merged"))


@action(*BEFORE, NEW)
def _merge_a_new_row(session: Session) -> None:
    session.merge(Document(id=1_000_003, content=NEW))


@action(*BEFORE)
def _change_something_else(session: Session) -> None:
    documents(session)[0].name = "renamed"


#: Runs a test with each action of the table, once all of them are in it.
every_action: Final = some_actions(*ACTIONS)
