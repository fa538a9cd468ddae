"""The table of transaction cases: every action of objects x every way in which a transaction can end."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError, PendingRollbackError
from sqlalchemy.orm import Session, make_transient, scoped_session, sessionmaker

from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.actions import (
    BEFORE,
    FIGURES,
    FIRST,
    NEW,
    OTHER,
    PHOTO,
    PLAN,
    Action,
    begin,
    documents,
    every_action,
    put,
    some_actions,
)
from tests.fields.session_ends import (
    ALSO_NOT_COMMITTED,
    COMMITTED,
    NOT_COMMITTED,
    End,
)
from tests.support.models import Account, Booking, Document


@every_action
@pytest.mark.parametrize("end", COMMITTED.values(), ids=COMMITTED)
def test_what_is_committed_has_its_files_and_no_others(world: World, action: Action, end: End) -> None:
    """Committed rows read their files, the files that they named before are gone, and the session goes on."""
    begin(world)
    with world.session() as session:
        end(session, action.does)
        world.check(*action.leaves)
        session.add(Document(content=b"the next transaction's"))
        session.commit()
    world.check(*action.leaves, b"the next transaction's")


@every_action
@pytest.mark.parametrize("end", NOT_COMMITTED.values(), ids=NOT_COMMITTED)
def test_what_is_not_committed_leaves_and_takes_nothing(world: World, action: Action, end: End) -> None:
    """However a transaction ends without COMMIT, the files are those of before, and the session goes on."""
    begin(world)
    with world.session() as session:
        end(session, action.does)
        world.check(*BEFORE)
        session.add(Document(content=b"the next transaction's"))
        session.commit()
    world.check(*BEFORE, b"the next transaction's")


@some_actions("add_two_files", "replace_in_three_flushes", "delete", "swap_rows", "merge_with_a_file")
@pytest.mark.parametrize("end", ALSO_NOT_COMMITTED.values(), ids=ALSO_NOT_COMMITTED)
def test_no_other_end_without_commit_leaves_or_takes_anything(world: World, action: Action, end: End) -> None:
    """Also where nothing was flushed, where the connection is thrown away, and where the second flush fails."""
    test_what_is_not_committed_leaves_and_takes_nothing(world, action, end)


@every_action
@pytest.mark.parametrize(
    "end", [ALSO_NOT_COMMITTED["rollback"], NOT_COMMITTED["failed flush"]], ids=["rollback", "failure"]
)
def test_a_second_attempt_works_after_a_rollback(world: World, action: Action, end: End) -> None:
    """The same action, done again in the same session, ends as if the first attempt had never been."""
    begin(world)
    with world.session() as session:
        end(session, action.does)
        COMMITTED["commit"](session, action.does)
    world.check(*action.leaves)


@every_action
def test_a_session_that_keeps_its_objects_over_commits_is_no_exception(world: World, action: Action) -> None:
    """With expire_on_commit=False and autoflush=False the same files are there."""
    begin(world)
    with world.session(expire_on_commit=False, autoflush=False) as session:
        documents(session)
        COMMITTED["commit"](session, action.does)
    world.check(*action.leaves)


# --- pending again ------------------------------------------------------------------------------------------------


def test_an_object_can_be_added_a_second_time_after_a_rollback(world: World) -> None:
    """Its value is pending again under a new id, and the second COMMIT stores it."""
    document = Document(content=NEW, report=OTHER)
    with world.session() as session:
        session.add(document)
        session.flush()
        assert document.content is not None
        first_path = document.content.path
        session.rollback()
        assert document.content.pending
        assert document.content.path != first_path
        world.check()
        session.add(document)
        session.commit()
    world.check(NEW, OTHER)


def test_a_value_can_be_assigned_a_second_time_after_a_rollback(world: World) -> None:
    """The attribute has the value of the row again, and the value that was rolled back can be assigned anew."""
    begin(world)
    with world.session() as session:
        first, _ = documents(session)
        value = UploadedFile(NEW)
        first.content = value
        session.flush()
        session.rollback()
        assert first.content is not None
        assert first.content.file.read() == PLAN
        first.content = value
        session.commit()
    world.check(FIGURES, PHOTO, NEW)


@pytest.mark.parametrize("end", ["rollback", "close"])
def test_an_object_that_was_rolled_back_can_be_added_to_another_session(world: World, end: str) -> None:
    """The second session stores the file that the first one took back."""
    document = Document(content=NEW)
    with world.session() as session:
        session.add(document)
        session.flush()
        if end == "rollback":
            session.rollback()
    if end == "close":
        make_transient(document)  # SQLAlchemy believes that its row is there, since nobody has said otherwise
    world.check()
    with world.session() as session:
        session.add(document)
        session.commit()
    world.check(NEW)


# --- constraints --------------------------------------------------------------------------------------------------


def test_the_objects_of_a_failed_flush_can_be_committed_once_the_fault_is_mended(world: World) -> None:
    """The files of the failed flush are gone, its values pending again, and the second attempt stores all of them."""
    accounts = [Account(code="same", photo=NEW), Account(code="same", photo=OTHER)]
    with world.session() as session:
        session.add_all(accounts)
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        world.check()
        assert all(each.photo is not None and each.photo.pending for each in accounts)
        accounts[1].code = "another"
        session.add_all(accounts)
        session.commit()
    world.check(NEW, OTHER)


def test_a_session_that_was_not_rolled_back_after_a_failed_flush_stores_nothing(world: World) -> None:
    """SQLAlchemy refuses to go on, and no more files are stored; those of the failed flush go at the end."""
    with world.session() as session:
        session.add_all([Account(code="same", photo=NEW), Account(code="same")])
        with pytest.raises(IntegrityError):
            session.flush()
        session.add(Account(code="other", photo=OTHER))
        before = world.stored()
        with pytest.raises(PendingRollbackError):
            session.commit()
        assert world.stored() == before
    world.check()


@every_action
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)  # MariaDB checks constraints at once
def test_a_constraint_that_fails_at_commit_leaves_and_takes_nothing(world: World, action: Action) -> None:
    """The database says no to COMMIT itself: that is a rollback, and a second attempt works."""
    begin(world)
    with world.session() as session:
        action.does(session)
        session.add(Booking(folder_id=4711, ticket=OTHER))
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        world.check(*BEFORE)
        COMMITTED["commit"](session, action.does)
    world.check(*action.leaves)


# --- autoflush, threads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commit", [True, False])
def test_a_query_that_flushes_stores_like_any_flush(world: World, commit: bool) -> None:
    """What autoflush stored is kept with COMMIT and gone without."""
    begin(world)
    with world.session() as session:
        session.add(Document(name="new", content=NEW))
        put(documents(session)[0], content=OTHER)
        found = session.scalars(select(Document).where(Document.name == "new")).one()
        assert found.content is not None
        assert not found.content.pending
        if commit:
            session.commit()
    world.check(*(NEW, OTHER, FIGURES, PHOTO) if commit else BEFORE)


def test_each_thread_of_a_scoped_session_has_its_own_ledger(world: World) -> None:
    """Of threads that commit and threads that roll back at the same time, each keeps or loses its own files."""
    sessions = scoped_session(sessionmaker(world.engine))
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        try:
            start.wait()
            for turn in range(4):
                sessions.add(Document(content=f"{number}.{turn}".encode()))
                sessions.flush()
                if number % 2:
                    sessions.commit()
                else:
                    sessions.rollback()
        except BaseException as error:
            failures.append(error)
        finally:
            sessions.remove()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    world.check(*(f"{number}.{turn}".encode() for number in (1, 3) for turn in range(4)))


def test_a_scoped_session_that_is_removed_takes_its_files_along(world: World) -> None:
    """``remove()`` closes the session: nothing of an open transaction is left."""
    sessions = scoped_session(sessionmaker(world.engine))
    sessions.add(Document(content=NEW))
    sessions.flush()
    sessions.remove()
    world.check()


# --- no more than needed ------------------------------------------------------------------------------------------


def test_an_old_value_put_back_before_the_flush_moves_nothing(world: World, queries: list[str]) -> None:
    """The row is not written and the file in the depot is the one of before."""
    begin(world)
    stored = world.stored()
    with world.session() as session:
        first, _ = documents(session)
        old = first.content
        put(first, content=NEW)
        first.content = old
        queries.clear()
        session.commit()
    assert queries == []
    assert world.stored() == stored


def test_a_commit_by_hand_is_the_users_own(world: World) -> None:
    """A row that another statement wrote in the same transaction has no influence on files."""
    begin(world)
    with world.session() as session:
        put(documents(session)[0], content=NEW)
        session.execute(text("UPDATE document SET name = 'by hand' WHERE id = :id"), {"id": FIRST})
        session.commit()
    world.check(FIGURES, PHOTO, NEW)


def test_a_session_without_autobegin_begins_nothing_for_files(world: World) -> None:
    """It refuses what any statement would be refused for, and can begin afterwards."""
    row = {"id": 1, "content": NEW}
    with Session(world.engine, autobegin=False) as session:
        for write in (
            lambda: session.execute(insert(Document), [row]),
            lambda: session.bulk_insert_mappings(inspect(Document), [row]),
        ):
            with pytest.raises(InvalidRequestError):
                write()
        assert not session.in_transaction()
        world.check()
        session.begin()
        session.add(Document(id=2, content=OTHER))
        session.commit()
    world.check(OTHER)
