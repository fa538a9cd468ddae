"""The user's own listeners: values that they assign, and their changes to files just stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session, make_transient, object_session

from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.actions import BEFORE, FIGURES, NEW, OTHER, PHOTO, PLAN, begin, documents, put
from tests.support.models import Document, Plain, Plate

Listen = Callable[..., None]

first_or_last = pytest.mark.parametrize("first", [True, False], ids=["before ours", "after ours"])
outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])


def _end(session: Session, commit: bool) -> None:
    session.flush()
    (session.commit if commit else session.rollback)()


# --- values assigned while a flush runs -----------------------------------------------------------------------------


@first_or_last
@outcome
def test_before_flush_may_assign_to_a_new_object(world: World, listen: Listen, first: bool, commit: bool) -> None:
    """A listener fills the attribute of every new object."""

    def fill(session: Session, context: Any, instances: Any) -> None:
        for each in session.new:
            put(each, content=NEW)

    listen(Session, "before_flush", fill, insert=first)
    with world.session() as session:
        session.add(Document(name="empty"))
        _end(session, commit)
    world.check(*(NEW,) if commit else ())


@first_or_last
@outcome
def test_before_flush_may_replace_a_value_that_was_assigned(
    world: World, listen: Listen, first: bool, commit: bool
) -> None:
    """Whether ours has stored the first value already or not: only the last one is there at the end."""

    def replace(session: Session, context: Any, instances: Any) -> None:
        for each in [*session.new, *session.dirty]:
            put(each, content=NEW)

    begin(world)
    listen(Session, "before_flush", replace, insert=first)
    with world.session() as session:
        put(documents(session)[0], content=b"assigned first")
        session.add(Document(content=b"assigned first"))
        _end(session, commit)
    world.check(*(NEW, NEW, FIGURES, PHOTO) if commit else BEFORE)


@first_or_last
@outcome
@pytest.mark.parametrize("name", ["before_insert", "before_update"])
def test_mapper_listeners_may_assign(world: World, listen: Listen, name: str, first: bool, commit: bool) -> None:
    """They come after our ``before_flush``; files that they assign are stored all the same."""
    begin(world)
    listen(Document, name, lambda mapper, connection, target: put(target, content=NEW), insert=first)
    with world.session() as session:
        if name == "before_insert":
            session.add(Document(content=b"assigned first", report=OTHER))
        else:
            put(documents(session)[0], report=OTHER)
        _end(session, commit)
    after = (*BEFORE, NEW, OTHER) if name == "before_insert" else (NEW, OTHER, PHOTO)
    world.check(*after if commit else BEFORE)


@first_or_last
@outcome
@pytest.mark.parametrize("value", [NEW, None])
def test_a_listener_may_assign_to_an_expired_row(
    world: World, listen: Listen, first: bool, commit: bool, value: bytes | None
) -> None:
    """Nobody has loaded the old value: it is looked up before it is overwritten."""
    begin(world)
    listen(Document, "before_update", lambda mapper, connection, target: put(target, content=value), insert=first)
    with world.session() as session:
        document, _ = documents(session)
        session.expire(document)
        document.name = "renamed"
        _end(session, commit)
    world.check(*([FIGURES, PHOTO] + ([value] if value else [])) if commit else BEFORE)


@first_or_last
@outcome
def test_a_listener_may_assign_the_stored_value_of_another_row(
    world: World, listen: Listen, first: bool, commit: bool
) -> None:
    """It becomes a copy there too."""
    begin(world)

    def copy(mapper: Any, connection: Any, target: Document) -> None:
        session = object_session(target)
        assert session is not None
        target.content = documents(session)[0].content

    listen(Document, "before_insert", copy, insert=first)
    with world.session() as session:
        documents(session)
        session.add(Document(name="copy"))
        _end(session, commit)
    world.check(*(*BEFORE, PLAN) if commit else BEFORE)


@first_or_last
@outcome
@pytest.mark.parametrize("name", ["before_flush", "before_update"])
@pytest.mark.parametrize("born", [False, True], ids=["stored before", "stored in this flush"])
def test_a_listener_may_assign_the_value_of_another_row_to_an_expired_one(
    world: World, listen: Listen, name: str, first: bool, commit: bool, born: bool
) -> None:
    """The value of the row was not loaded, and yet it becomes a copy: each row owns its file."""
    begin(world)
    with world.session() as session:
        source, target = documents(session)
        value = UploadedFile(OTHER) if born else source.content
        if born:
            source.content = value
        session.expire(target)
        target.name = "renamed"

        def assign(*args: Any) -> None:
            target.content = value

        listen(Session if name == "before_flush" else Document, name, assign, insert=first)
        _end(session, commit)
    taken = OTHER if born else PLAN
    world.check(*(taken, taken, FIGURES) if commit else BEFORE)


@outcome
def test_a_listener_may_clear_what_was_stored_a_moment_ago(world: World, listen: Listen, commit: bool) -> None:
    """Stored in before_flush and cleared in before_insert: the file belongs to no row and goes."""
    listen(Document, "before_insert", lambda mapper, connection, target: put(target, content=None))
    with world.session() as session:
        session.add(Document(content=NEW, report=OTHER))
        _end(session, commit)
    world.check(*(OTHER,) if commit else ())


@outcome
def test_a_set_listener_of_the_users_goes_along_with_ours(world: World, listen: Listen, commit: bool) -> None:
    """An attribute listener that sets another attribute of the same object."""
    begin(world)
    listen(Document.content, "set", lambda target, value, old, initiator: put(target, report=OTHER))
    with world.session() as session:
        put(documents(session)[0], content=NEW)
        _end(session, commit)
    world.check(*(NEW, OTHER, PHOTO) if commit else BEFORE)


# --- listeners and files just stored --------------------------------------------------------------------------------


@outcome
def test_a_listener_may_expunge_what_was_just_stored(world: World, listen: Listen, commit: bool) -> None:
    """The row is never written, so its file goes with either end; the object can be added again."""

    def expunge(session: Session, context: Any, instances: Any) -> None:
        for each in session.new:
            session.expunge(each)

    document = Document(content=NEW)
    with world.session() as session:
        listen(session, "before_flush", expunge)
        session.add(document)
        _end(session, commit)
    world.check()


@outcome
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
def test_a_listener_may_delete_what_was_just_stored(world: World, listen: Listen, commit: bool, loaded: bool) -> None:
    """An object is deleted in before_flush after ours has looked at it, also with attributes that nobody loaded."""
    begin(world)

    def delete(session: Session, context: Any, instances: Any) -> None:
        for each in list(session.dirty):
            session.delete(each)

    with world.session() as session:
        listen(session, "before_flush", delete)
        first, _ = documents(session)
        if not loaded:
            session.expire(first)
        put(first, content=NEW)
        _end(session, commit)
    world.check(*(PHOTO,) if commit else BEFORE)


@outcome
def test_a_listener_may_delete_a_row_with_a_deferred_attribute(world: World, listen: Listen, commit: bool) -> None:
    """Deleted in before_flush after ours: the file that nobody has loaded is looked up and goes too."""
    with world.session() as session:
        session.add(Plate(number=1, part=1, image=PLAN, original=PHOTO))
        session.commit()

    def delete(session: Session, context: Any, instances: Any) -> None:
        for each in list(session.dirty):
            session.delete(each)

    with world.session() as session:
        listen(session, "before_flush", delete)
        session.get_one(Plate, (1, 1)).caption = "changed"
        _end(session, commit)
    world.check(*() if commit else (PLAN, PHOTO))


@outcome
@pytest.mark.parametrize("value", ["bytes", "the value of another row", "None"])
def test_a_listener_may_bring_in_a_changed_object(world: World, listen: Listen, commit: bool, value: str) -> None:
    """A detached object, whose attribute was set without having been loaded, is added in before_flush after ours."""
    begin(world)
    with world.session() as session:
        first, second = documents(session)
        values = {"bytes": OTHER, "the value of another row": first.content, "None": None}
        session.expire(second)
        session.expunge(second)
    put(second, content=values[value])

    def bring_in(session: Session, context: Any, instances: Any) -> None:
        session.add(second)

    with world.session() as session:
        listen(session, "before_flush", bring_in)
        session.add(Document(content=NEW))
        _end(session, commit)
    left = {"bytes": (OTHER,), "the value of another row": (PLAN,), "None": ()}
    world.check(*(PLAN, FIGURES, NEW, *left[value]) if commit else BEFORE)


@outcome
def test_a_listener_may_add_objects_with_files(world: World, listen: Listen, commit: bool) -> None:
    """An audit row with a copy of the file, added in before_flush after ours."""

    def audit(session: Session, context: Any, instances: Any) -> None:
        for each in [each for each in session.new if each.name != "audit"]:
            session.add(Document(name="audit", content=b"audit of " + each.name.encode()))

    with world.session() as session:
        listen(session, "before_flush", audit)
        session.add(Document(name="row", content=NEW))
        _end(session, commit)
    world.check(*(NEW, b"audit of row") if commit else ())


@outcome
def test_a_listener_may_keep_the_row_of_before(world: World, listen: Listen, commit: bool) -> None:
    """SQLAlchemy's example of versioned rows: a changed object becomes a new row, in before_flush after ours."""
    begin(world)

    def keep(session: Session, context: Any, instances: Any) -> None:
        for each in [each for each in session.dirty if isinstance(each, Document)]:
            make_transient(each)
            put(each, id=None)
            session.add(each)

    with world.session() as session:
        listen(session, "before_flush", keep)
        document = documents(session)[0]
        document.name = "second version"
        _end(session, commit)
    world.check(*BEFORE, *(PLAN, FIGURES) if commit else ())
    with world.session() as session:
        session.delete(documents(session)[0])
        session.commit()
    world.check(*(PLAN, FIGURES, PHOTO) if commit else (PHOTO,))


@outcome
@pytest.mark.parametrize("of_class", [True, False], ids=["of all sessions", "of this session"])
@pytest.mark.parametrize("with_file", [True, False])
def test_a_listener_may_write_files_when_a_transaction_has_ended(
    world: World, listen: Listen, of_class: bool, with_file: bool, commit: bool
) -> None:
    """An audit row, in a savepoint of a transaction that the listener begins, before ours is told if it is the class's.

    If the transaction wrote no file, the audit row's is the first of the session.
    """
    audit, written = Document(content=OTHER), list[bool]()

    def write(session: Session, transaction: Any) -> None:
        if transaction.parent is None and not written:
            written.append(True)
            session.begin_nested()
            session.add(audit)
            session.flush()

    with world.session() as session:
        listen(Session if of_class else session, "after_transaction_end", write)
        session.add(Document(content=NEW) if with_file else Plain(name="none"))
        session.commit()
        savepoint = session.get_nested_transaction()
        assert savepoint is not None
        savepoint.rollback()
        session.add(audit)  # its file is stored a second time
        _end(session, commit)
    world.check(*(NEW,) if with_file else (), *(OTHER,) if commit else ())


@outcome
def test_a_session_with_the_info_of_another_has_files_of_its_own(world: World, commit: bool) -> None:
    """``Session(info=session.info)``, inside the transaction of the other one."""
    begin(world)
    with world.session() as session:
        put(documents(session)[0], report=OTHER)
        session.flush()
        with Session(session.connection(), info=session.info, join_transaction_mode="create_savepoint") as inner:
            put(documents(inner)[1], content=NEW)
            inner.commit()
        _end(session, commit)
    world.check(*(PLAN, OTHER, NEW) if commit else BEFORE)


@outcome
def test_after_flush_may_change_what_was_written(world: World, listen: Listen, commit: bool) -> None:
    """A value assigned in ``after_flush_postexec`` is written by the next flush, which COMMIT brings."""
    done: list[bool] = []

    def change(session: Session, context: Any) -> None:
        if not done:
            done.append(True)
            put(documents(session)[0], content=NEW)

    begin(world)
    with world.session() as session:
        listen(session, "after_flush_postexec", change)
        put(documents(session)[0], content=OTHER)
        _end(session, commit)
    world.check(*(NEW, FIGURES, PHOTO) if commit else BEFORE)


# --- listeners that raise -------------------------------------------------------------------------------------------


class Stop(Exception):
    """An error of a listener."""


def _raise(*args: Any) -> None:
    raise Stop


@pytest.mark.parametrize("first", [True, False], ids=["before ours", "after ours"])
@pytest.mark.parametrize(
    "name", ["before_flush", "after_flush", "after_flush_postexec", "before_commit", "after_begin"]
)
def test_a_session_listener_that_raises_leaves_nothing(world: World, listen: Listen, name: str, first: bool) -> None:
    """Also after ours has stored the files."""
    begin(world)
    with world.session() as session:
        changed = None if name == "after_begin" else documents(session)[0]
        listen(session if not first else Session, name, _raise, insert=first)
        if changed is not None:
            put(changed, content=NEW)
        session.add(Document(content=OTHER))
        with pytest.raises(Stop):
            session.commit()
        session.rollback()
    world.check(*BEFORE)


@first_or_last
@pytest.mark.parametrize("name", ["before_insert", "after_insert", "before_update", "after_update"])
def test_a_mapper_listener_that_raises_leaves_nothing(world: World, listen: Listen, name: str, first: bool) -> None:
    """Also after the row was written; the second attempt without it works."""
    begin(world)
    failing = [True]

    def fail_once(*args: Any) -> None:
        if failing:
            failing.clear()
            raise Stop

    listen(Document, name, fail_once, insert=first)
    with world.session() as session:
        for attempt in range(2):
            put(documents(session)[0], content=NEW)
            session.add(Document(content=OTHER))
            if not attempt:
                with pytest.raises(Stop):
                    session.commit()
                session.rollback()
                world.check(*BEFORE)
        session.commit()
    world.check(NEW, OTHER, FIGURES, PHOTO)


@first_or_last
def test_a_delete_listener_that_raises_takes_nothing(world: World, listen: Listen, first: bool) -> None:
    """The row stays, and so do its files."""
    begin(world)
    listen(Document, "after_delete", _raise, insert=first)
    with world.session() as session:
        session.delete(documents(session)[0])
        with pytest.raises(Stop):
            session.commit()
        session.rollback()
    world.check(*BEFORE)


def test_a_listener_that_raises_after_commit_does_not_undo_it(world: World, listen: Listen) -> None:
    """The rows are committed: their files stay, whichever listener raises then."""
    begin(world)
    with world.session() as session:
        put(documents(session)[0], content=NEW)
        listen(session, "after_commit", _raise)
        with pytest.raises(Stop):
            session.commit()
    world.check(NEW, FIGURES, PHOTO)


def test_a_listener_that_raises_after_commit_and_before_ours_changes_nothing(world: World, listen: Listen) -> None:
    """The rows are committed: files that they no longer name go."""
    begin(world)
    with world.session() as session:
        put(documents(session)[0], content=NEW)
        listen(Session, "after_commit", _raise, insert=True)
        with pytest.raises(Stop):
            session.commit()
    world.check(NEW, FIGURES, PHOTO)


def test_a_listener_of_the_pool_that_raises(world: World) -> None:
    """The COMMIT took effect. Files are deleted when the session's next transaction ends."""
    engine = create_engine(world.engine.url)

    def refuse(connection: Any, record: Any) -> None:
        connection.close()
        raise Stop

    with Session(engine) as session:
        session.add(Document(id=1, content=b"old"))
        session.commit()
        session.get_one(Document, 1).content = UploadedFile(b"new")
        event.listen(engine.pool, "checkin", refuse)
        with pytest.raises(Stop):
            session.commit()
        event.remove(engine.pool, "checkin", refuse)
        session.get_one(Document, 1)
        session.commit()
        world.check(b"new")
    engine.dispose()
