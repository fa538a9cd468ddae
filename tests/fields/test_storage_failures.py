"""A storage that fails at the n-th file: before COMMIT everything is taken back, after it nothing is raised."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.orm import Session

from depot_lite.errors import StorageFailed
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import BreakingFile, temporary_depots
from tests.conftest import World
from tests.fields.actions import BEFORE, FIGURES, NEW, OTHER, PHOTO, begin, documents, put
from tests.fields.flaky import Faults, FlakyStorage
from tests.support.models import Album, Document


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def depots(faults: Faults) -> Iterator[dict[str, FileStorage]]:
    """Two depots with the same faults."""
    with temporary_depots():
        yield {name: DepotManager.configure(name, FlakyStorage(faults)) for name in ("default", "archive")}


nth_of_four = pytest.mark.parametrize("nth", [1, 2, 3, 4])
before_or_after = pytest.mark.parametrize("after", [False, True], ids=["before its bytes", "after its bytes"])


def _four_files(session: Session) -> list[Document]:
    """Replace a file, copy one, and add a row with two."""
    first, second = documents(session)
    put(first, content=b"1")
    second.report = first.report
    added = Document(content=b"3", report=b"4")
    session.add(added)
    return [first, second, added]


FOUR = (b"1", FIGURES, FIGURES, PHOTO, b"3", b"4")


@nth_of_four
@before_or_after
@pytest.mark.parametrize("error", [StorageFailed, RuntimeError, KeyboardInterrupt])
def test_an_upload_that_fails_leaves_nothing_of_the_flush(
    world: World, faults: Faults, nth: int, after: bool, error: Callable[[str], BaseException]
) -> None:
    """The exception reaches the user, each value is pending again, and the second COMMIT of the same objects works."""
    begin(world)
    stored = world.stored()
    faults.clear()
    faults.upload, faults.after, faults.error = nth, after, error
    with world.session() as session:
        changed = _four_files(session)
        with pytest.raises(error, match="failed"):  # type: ignore[call-overload]  # each of them is an exception
            session.commit()
        assert world.stored() == stored
        values = [changed[0].content, changed[1].report, changed[2].content, changed[2].report]
        assert all(value is not None and value.pending for value in values)
        faults.clear()
        session.commit()
    world.check(*FOUR)


@nth_of_four
@before_or_after
def test_an_upload_that_fails_can_be_rolled_back(world: World, faults: Faults, nth: int, after: bool) -> None:
    """After the rollback rows and files are those of before, and the same may be tried again."""
    begin(world)
    faults.clear()
    faults.upload, faults.after = nth, after
    with world.session() as session:
        _four_files(session)
        with pytest.raises(StorageFailed):
            session.flush()
        session.rollback()
        world.check(*BEFORE)
        _four_files(session)
        session.commit()
    world.check(*FOUR)


@nth_of_four
def test_an_upload_that_fails_in_a_savepoint_takes_only_what_is_in_it(world: World, faults: Faults, nth: int) -> None:
    """The files of the outer transaction are stored already and stay."""
    begin(world)
    with world.session() as session:
        session.add(Document(content=OTHER))
        session.flush()
        faults.clear()
        faults.upload = nth
        with pytest.raises(StorageFailed), session.begin_nested():
            _four_files(session)
        session.commit()
    world.check(*BEFORE, OTHER)


def test_a_failed_upload_says_which_file_of_which_attribute(world: World, faults: Faults) -> None:
    """The exception carries a note with the name of the file and the attribute."""
    faults.upload = 2
    with world.session() as session:
        session.add(Document(content=b"1", report=b"2"))
        with pytest.raises(StorageFailed) as caught:
            session.flush()
    assert caught.value.__notes__ == ["while storing 'unnamed' for Document.report"]
    world.check()


@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5])
@before_or_after
def test_a_failed_upload_of_a_filter_or_type_leaves_nothing(
    world: World, faults: Faults, nth: int, after: bool
) -> None:
    """Of a value with several files, and of the values before it, each file is taken back."""
    faults.upload, faults.after = nth, after
    with world.session() as session:
        session.add(Album(plain=b"plain", cover=b"cover", letter=b"letter"))
        with pytest.raises(StorageFailed):
            session.commit()
        assert world.stored() == set()
        faults.clear()
        session.commit()
    world.check(b"plain", b"cover", b"cov", b"LETTER", b"signed: letter")


# --- after COMMIT -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("error", [StorageFailed, RuntimeError])
def test_a_deletion_that_fails_after_commit_is_logged_and_keeps_no_other(
    world: World,
    faults: Faults,
    caplog: pytest.LogCaptureFixture,
    nth: int,
    error: Callable[[str], BaseException],
) -> None:
    """COMMIT has happened: nothing is raised, the path is named in the log, and the other files are gone."""
    begin(world)
    stored = world.stored()
    faults.clear()
    faults.delete, faults.error = nth, error
    with caplog.at_level(logging.ERROR, "depot_lite"), world.session() as session:
        for document in documents(session):
            session.delete(document)
        session.commit()
    left = world.stored()
    assert len(left) == 1
    assert left < stored
    assert world.rows() == {}
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert left.pop() in caplog.text


@pytest.mark.parametrize("nth", [1, 2])
def test_a_deletion_that_fails_in_a_rollback_is_logged(
    world: World, faults: Faults, caplog: pytest.LogCaptureFixture, nth: int
) -> None:
    """The rollback goes through, its other files are gone, and the values can be committed a second time."""
    document = Document(content=NEW, report=OTHER)
    faults.delete = nth
    with world.session() as session:
        session.add(document)
        session.flush()
        session.rollback()
        (left,) = world.stored()
        assert left in caplog.text
        session.add(document)
        session.commit()
    assert world.stored() - {left} == set(world.rows())
    assert sorted(world.rows().values()) == sorted((NEW, OTHER))


def test_a_content_that_breaks_off_leaves_nothing(world: World) -> None:
    """A client that goes away in the middle of its upload fails the flush, and its neighbours are taken back."""
    begin(world)
    with world.session() as session:
        put(documents(session)[0], content=NEW)
        session.add(Document(content=OTHER, report=BreakingFile(200_000)))
        with pytest.raises(Exception, match="the client has gone"):
            session.commit()
        session.rollback()
    world.check(*BEFORE)
