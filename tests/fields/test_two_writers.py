"""Two sessions write one row, and the second one knows only its value before the first.

The file that the row really held goes, whoever wins. If both change one list, both changes are kept where the order of
the elements leaves no doubt; otherwise the second one is refused with SQLAlchemy's StaleDataError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from sqlalchemy import delete, inspect, update
from sqlalchemy.exc import SAWarning, SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.errors import DepotError, ValidationError
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import MaxCount
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.changes import agree, on, read
from tests.fields.flaky import Faults, FlakyStorage
from tests.support.models import Base, Document, Movie

ROW: Final = 1_000_001
SECOND: Final = 1_000_002
OLD, UNTOUCHED, THEIRS, OURS = b"the old file", b"an untouched file", b"their file", b"our file"
ONE, TWO, THREE = b"one", b"two", b"three"


class Serial(Base):
    """A list of files in a row that counts its versions."""

    __tablename__ = "serial"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    poster: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    screenshots: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # as SQLAlchemy declares it


@pytest.fixture
def faults() -> Faults:
    """Counts uploads."""
    return Faults()


@pytest.fixture
def depots(faults: Faults) -> Iterator[dict[str, FileStorage]]:
    """Two depots that count together."""
    with temporary_depots():
        yield {name: DepotManager.configure(name, FlakyStorage(faults)) for name in ("default", "archive")}


@dataclass
class Writers:
    """Two sessions with the same objects: both have loaded before either writes."""

    world: World
    theirs: Session
    ours: Session

    def load(self, *models: type[Any]) -> None:
        """Load the rows of the test into both sessions."""
        for session in (self.theirs, self.ours):
            found = [session.get(model, key) for model in models for key in (ROW, SECOND)]
            session.info["held"] = [each for each in found if each is not None]  # a session's own references are weak
            for each in session.info["held"]:
                assert isinstance(each, Document) or len(each.screenshots) == 3
            if self.world.engine.dialect.name == "sqlite":
                session.commit()  # a reader would keep the writer waiting


@pytest.fixture
def writers(world: World) -> Iterator[Writers]:
    """Two sessions that keep loaded values over a COMMIT, as an object in a cache or in a form does.

    Their transactions are open beside each other where the database can do that.
    """
    with world.session(expire_on_commit=False) as theirs, world.session(expire_on_commit=False) as ours:
        if world.engine.dialect.name != "sqlite":
            for session in (theirs, ours):
                session.connection(execution_options={"isolation_level": "READ COMMITTED"})
        yield Writers(world, theirs, ours)


# --- one file -----------------------------------------------------------------------------------------------------

Write = Callable[[Session, bytes], None]


def _replace(session: Session, data: bytes) -> None:
    put(session.get_one(Document, ROW), content=data)


def _replace_twice(session: Session, data: bytes) -> None:
    put(session.get_one(Document, ROW), content=b"not for long")
    session.flush()
    put(session.get_one(Document, ROW), content=data)


def _clear(session: Session, data: bytes) -> None:
    session.get_one(Document, ROW).content = None


def _rename(session: Session, data: bytes) -> None:
    session.get_one(Document, ROW).name = "renamed"


def _fill_the_other(session: Session, data: bytes) -> None:
    put(session.get_one(Document, ROW), report=data)


def _delete(session: Session, data: bytes) -> None:
    session.delete(session.get_one(Document, ROW))


def _update(session: Session, data: bytes) -> None:
    session.execute(update(Document).where(Document.id == ROW).values(content=data))


def _bulk(session: Session, data: bytes) -> None:
    session.bulk_update_mappings(inspect(Document), [{"id": ROW, "content": data}])


def _delete_statement(session: Session, data: bytes) -> None:
    session.execute(delete(Document).where(Document.id == ROW))


#: Writes, and the files that the row names afterwards; None stands for its former file, b"" for the given one.
WRITES: Final[dict[str, tuple[Write, tuple[bytes | None, ...]]]] = {
    "replace": (_replace, (b"",)),
    "replace twice": (_replace_twice, (b"",)),
    "clear": (_clear, ()),
    "rename": (_rename, (None,)),
    "fill the other": (_fill_the_other, (None, b"")),
    "delete": (_delete, ()),
    "update": (_update, (b"",)),
    "bulk": (_bulk, (b"",)),
    "delete statement": (_delete_statement, ()),
}
THAT_KEEP_THE_ROW: Final = [name for name in WRITES if not name.startswith("delete")]


@pytest.fixture
def documents(world: World) -> World:
    """Two documents with a file each."""
    with world.session() as session:
        session.add(Document(id=ROW, content=OLD))
        session.add(Document(id=SECOND, content=UNTOUCHED))
        session.commit()
    return world


def leaves(name: str, had: tuple[bytes, ...], given: bytes) -> tuple[bytes, ...]:
    """Return the files that a row names after a write: a list of its content, then of its report."""
    contents, reports = had[:1], had[1:]
    if name == "fill the other":
        return (*contents, given)
    if name == "rename":
        return had
    if name.startswith("delete"):
        return ()
    return ((given,) if WRITES[name][1] else ()) + reports


@pytest.mark.parametrize("second", WRITES)
@pytest.mark.parametrize("first", THAT_KEEP_THE_ROW)
def test_what_the_row_really_held_goes(documents: World, writers: Writers, first: str, second: str) -> None:
    """The second writer has never seen the first one's file."""
    writers.load(Document)
    WRITES[first][0](writers.theirs, THEIRS)
    writers.theirs.commit()
    WRITES[second][0](writers.ours, OURS)
    writers.ours.commit()
    had = leaves(first, (OLD,), THEIRS)
    if first == "clear" and second == "fill the other":
        expected: tuple[bytes, ...] = (OURS,)
    elif first == second == "fill the other":
        expected = (OLD, OURS)
    elif first == "fill the other" and second == "clear":
        expected = (THEIRS,)
    else:
        expected = leaves(second, had, OURS)
    documents.check(*expected, UNTOUCHED)


@pytest.mark.parametrize("end", [Session.rollback, Session.close])
@pytest.mark.parametrize("second", WRITES)
@pytest.mark.parametrize("first", THAT_KEEP_THE_ROW)
def test_a_second_writer_that_gives_up_takes_nothing(
    documents: World, writers: Writers, first: str, second: str, end: Callable[[Session], None]
) -> None:
    writers.load(Document)
    WRITES[first][0](writers.theirs, THEIRS)
    writers.theirs.commit()
    WRITES[second][0](writers.ours, OURS)
    writers.ours.flush()
    end(writers.ours)
    documents.check(*leaves(first, (OLD,), THEIRS), UNTOUCHED)


@pytest.mark.parametrize("second", ["replace", "clear", "bulk"])
@pytest.mark.parametrize("first", ["delete", "delete statement"])
def test_a_row_that_is_gone_takes_no_file(documents: World, writers: Writers, first: str, second: str) -> None:
    """StaleDataError: the new file goes with the rollback."""
    writers.load(Document)
    WRITES[first][0](writers.theirs, THEIRS)
    writers.theirs.commit()

    def write() -> None:
        WRITES[second][0](writers.ours, OURS)
        writers.ours.commit()

    with pytest.raises(StaleDataError):
        write()
    writers.ours.rollback()
    documents.check(UNTOUCHED)


@pytest.mark.parametrize("second", ["update", "delete statement"])
def test_a_statement_that_finds_no_row_leaves_nothing(documents: World, writers: Writers, second: str) -> None:
    writers.load(Document)
    _delete(writers.theirs, THEIRS)
    writers.theirs.commit()
    WRITES[second][0](writers.ours, OURS)
    writers.ours.commit()
    documents.check(UNTOUCHED)


def test_a_row_that_both_delete_takes_its_file_once(documents: World, writers: Writers) -> None:
    """SQLAlchemy warns that there was no such row."""
    writers.load(Document)
    _delete(writers.theirs, THEIRS)
    writers.theirs.commit()
    _delete(writers.ours, OURS)
    with pytest.warns(SAWarning, match="0 were matched"):
        writers.ours.commit()
    documents.check(UNTOUCHED)


def _copy(session: Session) -> None:
    first, second = session.get_one(Document, ROW), session.get_one(Document, SECOND)
    second.report = first.content


def _move(session: Session) -> None:
    first, second = session.get_one(Document, ROW), session.get_one(Document, SECOND)
    second.content, first.content = first.content, None


def _swap(session: Session) -> None:
    first, second = session.get_one(Document, ROW), session.get_one(Document, SECOND)
    first.content, second.content = second.content, first.content


def _swap_attributes(session: Session) -> None:
    first = session.get_one(Document, ROW)
    first.content, first.report = first.report, first.content


def _write_back_by_a_statement(session: Session) -> None:
    value = session.get_one(Document, ROW).content
    session.execute(update(Document).where(Document.id == SECOND).values(report=value))


@pytest.mark.parametrize("ours", [_copy, _move, _swap, _swap_attributes, _write_back_by_a_statement])
@pytest.mark.parametrize("first", ["replace", "clear", "delete", "update"])
def test_no_row_is_given_a_file_that_the_other_one_has_deleted(
    documents: World, writers: Writers, first: str, ours: Callable[[Session], None]
) -> None:
    """The file that the second session shows is gone; giving it to another row fails, or gives the existing one."""
    writers.load(Document)
    WRITES[first][0](writers.theirs, THEIRS)
    writers.theirs.commit()
    try:
        ours(writers.ours)
        writers.ours.commit()
    except (SQLAlchemyError, DepotError):
        writers.ours.rollback()
        documents.check(*leaves(first, (OLD,), THEIRS), UNTOUCHED)
    agree(documents)


# --- transactions that really meet --------------------------------------------------------------------------------


@on("postgresql", "mariadb")
@pytest.mark.parametrize("second", WRITES)
@pytest.mark.parametrize("first", ["replace", "update", "bulk"])
def test_a_second_writer_that_waits_for_the_first(documents: World, race: Any, first: str, second: str) -> None:
    """It has loaded the old file, and waits for the row until the other one has committed."""

    def ours(session: Session) -> None:
        assert read(session.get_one(Document, ROW).content) == OLD
        WRITES[second][0](session, OURS)
        session.flush()

    race(lambda session: WRITES[first][0](session, THEIRS), ours)
    documents.check(*leaves(second, (THEIRS,), OURS), UNTOUCHED)


# --- one list -----------------------------------------------------------------------------------------------------

Edit = Callable[[Any, bytes], None]


def _append(files: Any, data: bytes) -> None:
    files.append(data)


def _insert_first(files: Any, data: bytes) -> None:
    files.insert(0, data)


def _insert_second(files: Any, data: bytes) -> None:
    files.insert(1, data)


def _remove_first(files: Any, data: bytes) -> None:
    files.pop(0)


def _remove_last(files: Any, data: bytes) -> None:
    files.pop()


def _remove_all_but_one(files: Any, data: bytes) -> None:
    del files[1:]


def _replace_first(files: Any, data: bytes) -> None:
    files[0] = data


def _replace_last(files: Any, data: bytes) -> None:
    files[-1] = data


def _clear_all(files: Any, data: bytes) -> None:
    files.clear()


def _assign(files: Any, data: bytes) -> None:
    files[:] = [data]


def _reverse(files: Any, data: bytes) -> None:
    files.reverse()


def _rotate(files: Any, data: bytes) -> None:
    files[:] = [*files[1:], files[0]]


REFUSED: Final[tuple[bytes, ...]] = (b"refused",)
A, B = THEIRS, OURS

#: Their edit, ours, and the right results: one list, or several if more than one order is right.
EDITS: Final[list[tuple[Edit, Edit, list[tuple[bytes, ...]]]]] = [
    (_append, _append, [(ONE, TWO, THREE, A, B), (ONE, TWO, THREE, B, A)]),
    (_append, _remove_first, [(TWO, THREE, A)]),
    (_append, _remove_last, [(ONE, TWO, A)]),
    (_append, _insert_first, [(B, ONE, TWO, THREE, A)]),
    (_append, _insert_second, [(ONE, B, TWO, THREE, A)]),
    (_append, _replace_first, [(B, TWO, THREE, A)]),
    (_append, _remove_all_but_one, [(ONE, A)]),
    (_append, _clear_all, [(A,), REFUSED]),
    (_append, _assign, [(A, B), (B, A), REFUSED]),
    (_append, _reverse, [(THREE, TWO, ONE, A), (A, THREE, TWO, ONE), REFUSED]),
    (_remove_first, _append, [(TWO, THREE, B)]),
    (_remove_last, _append, [(ONE, TWO, B)]),
    (_remove_all_but_one, _append, [(ONE, B)]),
    (_remove_first, _remove_last, [(TWO,)]),
    (_remove_last, _remove_first, [(TWO,)]),
    (_remove_first, _remove_first, [(TWO, THREE), REFUSED]),
    (_remove_first, _insert_first, [(B, TWO, THREE), REFUSED]),
    (_remove_first, _replace_last, [(TWO, B), REFUSED]),
    (_remove_first, _replace_first, [(B, TWO, THREE), REFUSED]),
    (_remove_first, _reverse, [(THREE, TWO), REFUSED]),
    (_remove_first, _clear_all, [()]),
    (_remove_first, _assign, [(B,), REFUSED]),
    (_insert_first, _append, [(A, ONE, TWO, THREE, B)]),
    (_insert_first, _insert_second, [(A, ONE, B, TWO, THREE)]),
    (_insert_first, _insert_first, [(A, B, ONE, TWO, THREE), (B, A, ONE, TWO, THREE), REFUSED]),
    (_insert_second, _remove_last, [(ONE, A, TWO)]),
    (_replace_first, _replace_last, [(A, TWO, B)]),
    (_replace_first, _replace_first, [(A, B, TWO, THREE), (B, A, TWO, THREE), REFUSED]),
    (_replace_first, _append, [(A, TWO, THREE, B)]),
    (_clear_all, _append, [(B,), REFUSED]),
    (_clear_all, _remove_first, [(), REFUSED]),
    (_clear_all, _clear_all, [(), REFUSED]),
    (_assign, _append, [(A, B), (B, A), REFUSED]),
    (_assign, _assign, [(A, B), (B, A), REFUSED]),
    (_reverse, _append, [(THREE, TWO, ONE, B), (B, THREE, TWO, ONE), REFUSED]),
    (_reverse, _remove_first, [(THREE, TWO), REFUSED]),
    (_reverse, _rotate, [REFUSED]),
    (_rotate, _reverse, [REFUSED]),
]
every_pair = pytest.mark.parametrize(
    ("theirs", "ours", "allowed"), EDITS, ids=[f"{a.__name__.strip('_')}-{b.__name__.strip('_')}" for a, b, _ in EDITS]
)


def in_the_list(model: Any, edit: Edit, data: bytes) -> Callable[[Session], None]:
    """Return what changes the list of the row, and flushes."""

    def write(session: Session) -> None:
        edit(session.get_one(model, ROW).screenshots, data)
        session.flush()

    return write


@pytest.fixture
def lists(world: World, faults: Faults) -> World:
    """A row with a list of three files, and one with the same that counts its versions."""
    for model in (Movie, Serial):
        row = model(id=ROW)
        put(row, screenshots=[ONE, TWO, THREE])
        with world.session() as session:
            session.add(row)
            session.commit()
    faults.clear()
    return world


def held(world: World, model: Any = Movie) -> tuple[bytes, ...]:
    """Return the bytes of the files that the list of the row names, in its order."""
    with world.session() as session:
        return tuple(read(each) or b"" for each in session.get_one(model, ROW).screenshots)


def after(edit: Edit, data: bytes) -> tuple[bytes, ...]:
    """Return the list after one edit alone."""
    files = [ONE, TWO, THREE]
    edit(files, data)
    return tuple(files)


@every_pair
def test_two_changes_of_one_list_are_merged_or_refused(
    lists: World, writers: Writers, theirs: Edit, ours: Edit, allowed: list[tuple[bytes, ...]]
) -> None:
    """Never does the list name a file that is gone, and never is a file left that it does not name."""
    writers.load(Movie)
    in_the_list(Movie, theirs, THEIRS)(writers.theirs)
    writers.theirs.commit()

    def write() -> None:
        in_the_list(Movie, ours, OURS)(writers.ours)
        writers.ours.commit()

    if allowed == [REFUSED]:
        with pytest.raises(StaleDataError):
            write()
        merged = False
    elif REFUSED in allowed:
        try:
            write()
            merged = True
        except StaleDataError:
            merged = False
    else:
        write()
        merged = True
    if not merged:
        writers.ours.rollback()
    found = held(lists)
    assert found in (allowed if merged else [after(theirs, THEIRS)])
    lists.check(*found, ONE, TWO, THREE)
    if merged:  # and the object shows what its row names
        assert tuple(read(each) for each in writers.ours.get_one(Movie, ROW).screenshots) == found


@every_pair
def test_a_second_change_that_is_rolled_back_leaves_the_first_one(
    lists: World, writers: Writers, theirs: Edit, ours: Edit, allowed: list[tuple[bytes, ...]]
) -> None:
    writers.load(Movie)
    in_the_list(Movie, theirs, THEIRS)(writers.theirs)
    writers.theirs.commit()
    if allowed == [REFUSED]:
        with pytest.raises(StaleDataError):
            in_the_list(Movie, ours, OURS)(writers.ours)
    else:
        try:
            in_the_list(Movie, ours, OURS)(writers.ours)
        except StaleDataError:
            assert REFUSED in allowed
    writers.ours.rollback()
    assert held(lists) == after(theirs, THEIRS)
    lists.check(*after(theirs, THEIRS), ONE, TWO, THREE)


@every_pair
def test_a_version_counter_refuses_the_second_change(
    lists: World, writers: Writers, theirs: Edit, ours: Edit, allowed: list[tuple[bytes, ...]]
) -> None:
    """However well the changes would go together; the files of the refused one go, and it can be tried again."""
    writers.load(Serial)
    in_the_list(Serial, theirs, THEIRS)(writers.theirs)
    writers.theirs.commit()
    with pytest.raises(StaleDataError):
        in_the_list(Serial, ours, OURS)(writers.ours)
    writers.ours.rollback()
    assert held(lists, Serial) == after(theirs, THEIRS)
    lists.check(*after(theirs, THEIRS), ONE, TWO, THREE)
    if held(lists, Serial):  # there is something to remove, for those edits that remove
        in_the_list(Serial, ours, OURS)(writers.ours)
        writers.ours.commit()
    agree(lists)


@on("postgresql", "mariadb")
@every_pair
def test_two_changes_of_one_list_that_really_meet(
    lists: World, race: Any, theirs: Edit, ours: Edit, allowed: list[tuple[bytes, ...]]
) -> None:
    """The second one has loaded the list, and waits for its row until the first one has committed."""
    refused: list[StaleDataError] = []

    def second(session: Session) -> None:
        assert len(session.get_one(Movie, ROW).screenshots) == 3
        try:
            in_the_list(Movie, ours, OURS)(session)
        except StaleDataError as error:
            refused.append(error)
            session.rollback()

    race(in_the_list(Movie, theirs, THEIRS), second)
    found = held(lists)
    assert found in ([after(theirs, THEIRS)] if refused else allowed)
    assert not refused or REFUSED in allowed
    lists.check(*found, ONE, TWO, THREE)


def test_two_appends_that_merge_upload_each_file_once(lists: World, writers: Writers, faults: Faults) -> None:
    """The second one has stored its file before it saw that the list is another."""
    writers.load(Movie)
    in_the_list(Movie, _append, THEIRS)(writers.theirs)
    writers.theirs.commit()
    assert faults.uploads == 1
    in_the_list(Movie, _append, OURS)(writers.ours)
    writers.ours.commit()
    assert faults.uploads == 2
    assert faults.deletes == 0
    assert set(held(lists)) == {ONE, TWO, THREE, THEIRS, OURS}


@on("postgresql", "mariadb")
def test_two_appends_that_really_meet_upload_each_file_once(lists: World, race: Any, faults: Faults) -> None:
    def ours(session: Session) -> None:
        assert len(session.get_one(Movie, ROW).screenshots) == 3
        in_the_list(Movie, _append, OURS)(session)

    race(in_the_list(Movie, _append, THEIRS), ours)
    assert faults.uploads == 2
    assert faults.deletes == 0
    assert set(held(lists)) == {ONE, TWO, THREE, THEIRS, OURS}


@pytest.mark.parametrize("ours", [_append, _remove_first, _assign])
def test_a_list_whose_row_the_other_one_has_deleted(lists: World, writers: Writers, ours: Edit) -> None:
    """StaleDataError: the new file goes with the rollback."""
    writers.load(Movie)
    writers.theirs.delete(writers.theirs.get_one(Movie, ROW))
    writers.theirs.commit()
    with pytest.raises(StaleDataError):
        in_the_list(Movie, ours, OURS)(writers.ours)
    writers.ours.rollback()
    lists.check(ONE, TWO, THREE)


@pytest.mark.parametrize("theirs", list(dict.fromkeys(theirs for theirs, _, _ in EDITS)))
def test_a_row_whose_list_the_other_one_has_changed_is_deleted(lists: World, writers: Writers, theirs: Edit) -> None:
    """All files that it really named go."""
    writers.load(Movie)
    in_the_list(Movie, theirs, THEIRS)(writers.theirs)
    writers.theirs.commit()
    writers.ours.delete(writers.ours.get_one(Movie, ROW))
    writers.ours.commit()
    lists.check(ONE, TWO, THREE)


def test_the_list_goes_on_after_a_merge(lists: World, writers: Writers) -> None:
    """The session shows the files that the row names, so that the next change of either session is merged again."""
    writers.load(Movie)
    for number in range(3):
        for session, data in ((writers.theirs, b"theirs %d"), (writers.ours, b"ours %d")):
            movie = session.get_one(Movie, ROW)
            movie.screenshots.append(UploadedFile(data % number))
            session.commit()
    found = held(lists)
    assert found[:3] == (ONE, TWO, THREE)
    assert len(set(found)) == 9
    lists.check(*found, ONE, TWO, THREE)


@pytest.mark.parametrize("second", [_append, _remove_last])
def test_a_statement_beside_a_change_of_the_list(lists: World, writers: Writers, second: Edit) -> None:
    """A statement assigns the whole list; the change that comes after it is merged with it, or refused."""
    writers.load(Movie)
    writers.theirs.execute(update(Movie).values(screenshots=[THEIRS]))
    writers.theirs.commit()
    try:
        in_the_list(Movie, second, OURS)(writers.ours)
        writers.ours.commit()
    except StaleDataError:
        writers.ours.rollback()
    assert THEIRS in held(lists)
    lists.check(*held(lists), ONE, TWO, THREE)


# --- a list that may not have more --------------------------------------------------------------------------------


class Triptych(Base):
    """Four pictures at most."""

    __tablename__ = "triptych"
    id: Mapped[int] = mapped_column(primary_key=True)
    screenshots: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True, validators=[MaxCount(4)]))


def test_two_appends_that_together_are_too_many(lists: World, writers: Writers) -> None:
    """Each alone is allowed; the second one hears of it, and its file goes."""
    with lists.session() as session:
        session.add(Triptych(id=ROW, screenshots=[ONE, TWO, THREE]))
        session.commit()
    writers.load(Triptych)
    in_the_list(Triptych, lambda files, data: files.append(data), THEIRS)(writers.theirs)
    writers.theirs.commit()
    with pytest.raises(ValidationError, match=r"Triptych\.screenshots"):
        in_the_list(Triptych, lambda files, data: files.append(data), OURS)(writers.ours)
    writers.ours.rollback()
    assert held(lists, Triptych) == (ONE, TWO, THREE, THEIRS)
    with lists.session() as session:
        session.delete(session.get_one(Triptych, ROW))
        session.commit()
