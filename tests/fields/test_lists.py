"""Many files in one column: the list, apart from the ends of transactions."""

from __future__ import annotations

import copy
import gc
import io
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, event, insert, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.errors import DamagedReference, InvalidContent
from depot_lite.fields.lists import FileList
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo, FileStorage
from tests.conftest import sqlite_engine


class Base(DeclarativeBase):
    """The parent of the models here."""


class Film(Base):
    """A list, a list kept as text, and a single file."""

    __tablename__ = "reel"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    shots: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    stills: Mapped[list[UploadedFile]] = mapped_column("stills_col", UploadedFileField(multiple=True, text=True))
    poster: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    notes: Mapped[list[Note]] = relationship(cascade="all, delete-orphan")
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # as SQLAlchemy declares it


class Note(Base):
    """A row with a list that goes with its parent."""

    __tablename__ = "reel_note"
    id: Mapped[int] = mapped_column(primary_key=True)
    film_id: Mapped[int] = mapped_column(ForeignKey("reel.id"))
    scans: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))


@pytest.fixture
def session(tmp_path: Any, depots: dict[str, FileStorage]) -> Any:
    engine = sqlite_engine(tmp_path / "test.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def film(session: Session, *shots: bytes, **others: Any) -> Film:
    """Return a committed film with these shots."""
    made = Film(shots=list(shots), **others)
    session.add(made)
    session.commit()
    return made


def read(files: list[UploadedFile]) -> list[bytes]:
    """Return the bytes of stored files."""
    found = []
    for each in files:
        with each.file as stored:
            found.append(stored.read())
    return found


def put(target: object, **values: Any) -> None:
    """Assign values that a type checker would refuse."""
    for name, value in values.items():
        setattr(target, name, value)


def anything(files: list[UploadedFile]) -> Any:
    """Return a list into which everything goes, for the type checker."""
    return files


# --- the attribute ------------------------------------------------------------------------------------------------


def test_a_new_object_has_an_empty_list(session: Session) -> None:
    made = Film()
    assert made.shots == []
    anything(made.shots).append(b"one")
    session.add(made)
    session.commit()
    assert read(made.shots) == [b"one"]


def test_a_list_that_was_only_read_is_not_assigned(session: Session) -> None:
    """A merge would remove the files of the row."""
    made = film(session, b"one")
    other = Film(id=made.id)
    assert other.shots == []
    assert other.shots is other.shots
    merged = session.merge(other)
    session.commit()
    assert read(merged.shots) == [b"one"]


def test_a_list_that_was_read_before_the_flush_is_the_attributes_afterwards(session: Session) -> None:
    made = Film()
    shots = anything(made.shots)
    session.add(made)
    session.flush()
    shots.append(b"one")
    session.commit()
    assert read(made.shots) == [b"one"]


def test_an_object_whose_list_was_only_read_is_pickled(session: Session) -> None:
    made = Film()
    assert made.shots == []
    found = pickle.loads(pickle.dumps(made))
    anything(found.shots).append(b"one")
    session.add(found)
    session.commit()
    assert read(found.shots) == [b"one"]


def test_a_row_without_files_holds_an_empty_array(session: Session) -> None:
    session.add_all([Film(), Film(shots=None), Film(shots=[])])
    session.commit()
    assert session.execute(text("SELECT shots, stills_col FROM reel")).all() == [("[]", "[]")] * 3
    assert [each.shots for each in session.scalars(select(Film))] == [[], [], []]


def test_a_null_of_an_older_row_is_an_empty_list(session: Session) -> None:
    film(session)
    session.execute(text("UPDATE reel SET stills_col = 'null'"))
    session.expire_all()
    [found] = session.scalars(select(Film))
    anything(found.stills).append(b"one")
    session.commit()
    assert read(found.stills) == [b"one"]


def test_the_row_holds_an_array_in_the_order_of_the_list(session: Session) -> None:
    made = film(session, b"one", b"two", b"three", stills=[b"still"])
    shots, stills = session.execute(text("SELECT shots, stills_col FROM reel")).one()
    assert [each["path"] for each in json.loads(shots)] == [each.path for each in made.shots]
    assert json.loads(stills) == json.loads(json.dumps(made.stills))


def test_keys_of_elements_are_selected_from_sql(session: Session) -> None:
    made = film(session, b"one", b"%PDF-1.7")
    found = select(Film.id).where(Film.shots[1, "content_type"].as_string() == "application/pdf")
    assert session.scalars(found).all() == [made.id]
    assert session.scalar(select(Film.shots[0]["filename"].as_string())) == "unnamed"


def test_everything_that_can_be_assigned_can_be_put_into_the_list(session: Session, tmp_path: Any) -> None:
    (tmp_path / "path.bin").write_bytes(b"path")
    made = film(session)
    shots = anything(made.shots)
    shots.append(b"bytes")
    shots.extend([io.BytesIO(b"file"), tmp_path / "path.bin"])
    shots.insert(0, UploadedFile(b"value", filename="value.bin"))
    session.commit()
    assert read(made.shots) == [b"value", b"bytes", b"file", b"path"]
    assert [each.filename for each in made.shots] == ["value.bin", "unnamed", "unnamed", "path.bin"]


def test_a_tuple_and_an_iterator_are_taken_as_lists(session: Session) -> None:
    made = film(session)
    put(made, shots=(b"one", b"two"), stills=(each for each in [b"three"]))
    session.commit()
    assert (read(made.shots), read(made.stills)) == ([b"one", b"two"], [b"three"])


@pytest.mark.parametrize("value", [b"bytes", io.BytesIO(b"file"), "text", {"path": "default/1"}, 7])
def test_one_file_is_no_list(value: Any) -> None:
    with pytest.raises(InvalidContent, match=r"Film\.shots: expected a list of files, got one "):
        Film(shots=value)


@pytest.mark.parametrize("item", [None, "text", 7, {"path": "default/1"}])
def test_what_is_no_file_is_refused_and_the_list_stays_as_it_was(session: Session, item: Any) -> None:
    made = film(session, b"one")
    with pytest.raises(InvalidContent, match=r"Film\.shots"):
        anything(made.shots).extend([b"two", item])
    assert read(made.shots) == [b"one"]
    assert not session.dirty


def test_a_single_column_takes_no_list() -> None:
    with pytest.raises(InvalidContent, match=r"Film\.poster: list cannot be stored"):
        put(Film(), poster=[b"one"])


# --- forms --------------------------------------------------------------------------------------------------------


class Upload:
    """The part of a form, as Starlette has it."""

    content_type = "application/octet-stream"

    def __init__(self, filename: str, data: bytes) -> None:
        self.filename = filename
        self.file = io.BytesIO(data)


def test_a_form_without_a_chosen_file_leaves_the_list(session: Session) -> None:
    made = film(session, b"one")
    version = made.version
    put(made, shots=[Upload("", b"")])
    anything(made.shots).append(Upload("", b""))
    session.commit()
    assert (made.version, read(made.shots)) == (version, [b"one"])
    put(made, shots=[Upload("", b""), Upload("two.bin", b"two")])
    session.commit()
    assert read(made.shots) == [b"two"]


def test_a_form_without_a_chosen_file_leaves_a_list_that_is_not_loaded(session: Session) -> None:
    made = film(session, b"one")
    version = made.version
    session.expire(made)
    put(made, shots=[Upload("", b"")])
    session.commit()
    assert (made.version, read(made.shots)) == (version, [b"one"])


@pytest.mark.parametrize("several", [False, True])
def test_an_upload_field_that_was_left_empty_leaves_the_list(session: Session, several: bool) -> None:
    made, empty = film(session, b"one"), Upload("", b"")
    put(made, shots=[empty, empty] if several else empty)
    session.commit()
    assert read(made.shots) == [b"one"]


def test_a_new_object_with_a_form_without_a_chosen_file_has_an_empty_list(session: Session) -> None:
    made = film(session, stills=[Upload("", b"")])
    assert (made.shots, made.stills) == ([], [])


# --- changes ------------------------------------------------------------------------------------------------------


def test_only_what_changed_is_uploaded_and_deleted(
    session: Session, depots: dict[str, FileStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = film(session, b"one", b"two", b"three")
    before = [each.path for each in made.shots]
    saved: list[str] = []
    save = depots["default"]._save

    def counted(file_id: str, content: Content) -> FileInfo:
        saved.append(file_id)
        return save(file_id, content)

    monkeypatch.setattr(depots["default"], "_save", counted)
    made.shots.sort(key=lambda each: each.path)
    del made.shots[1]
    anything(made.shots).append(b"four")
    left = [each.path for each in made.shots]
    session.commit()
    assert [f"default/{each}" for each in saved] == left[2:]
    assert set(left[:2]) < set(before)
    assert {f"default/{each}" for each in depots["default"].list()} == set(left)


def test_a_change_that_is_undone_writes_nothing(session: Session) -> None:
    made = film(session, b"one", b"two")
    version = made.version
    made.shots.append(made.shots.pop())
    made.shots.reverse()
    made.shots.reverse()
    session.commit()
    assert (made.version, read(made.shots)) == (version, [b"one", b"two"])


def test_the_same_list_assigned_again_writes_nothing(session: Session) -> None:
    made = film(session, b"one")
    version = made.version
    made.shots = made.shots
    put(made, shots=list(made.shots))
    session.commit()
    assert (made.version, read(made.shots)) == (version, [b"one"])


def test_a_file_that_is_in_the_list_twice_is_two_files(session: Session) -> None:
    made = film(session, b"one")
    made.shots *= 2
    pending = UploadedFile(b"two")
    made.shots += [pending, pending]
    session.commit()
    assert read(made.shots) == [b"one", b"one", b"two", b"two"]
    assert len({each.path for each in made.shots}) == 4


def test_the_users_own_list_is_not_kept(session: Session) -> None:
    given: Any = [b"one"]
    made = Film(shots=given)
    given.append(b"two")
    assert (len(made.shots), given) == (1, [b"one", b"two"])


def test_a_list_that_the_object_has_given_up_cannot_be_changed(session: Session) -> None:
    made = film(session, b"one")
    old = anything(made.shots)
    put(made, shots=[b"two"])
    with pytest.raises(TypeError, match=r"Film\.shots: the object holds another list by now; change that one"):
        old.append(b"three")
    assert read(old) == [b"one"]
    session.commit()
    assert read(made.shots) == [b"two"]
    stale = anything(made.shots)
    session.expire(made)
    with pytest.raises(TypeError, match="the object holds another list by now"):
        stale.clear()


@pytest.mark.matrix
def test_a_list_keeps_its_object_alive_until_the_change_is_flushed(session: Session) -> None:
    film(session, b"one")
    session.expunge_all()
    shots = anything(session.scalars(select(Film)).one().shots)
    gc.collect()
    shots.append(b"two")
    del shots
    gc.collect()
    session.commit()
    assert read(session.scalars(select(Film)).one().shots) == [b"one", b"two"]


@pytest.mark.matrix
def test_objects_with_lists_are_collected_as_all_others(session: Session) -> None:
    film(session, b"one")
    found = session.scalars(select(Film)).one()
    assert len(found.shots) == 1
    del found
    gc.collect()
    assert len(session.identity_map) == 0


def test_a_list_that_was_selected_alone_cannot_be_changed(session: Session) -> None:
    film(session, b"one")
    [shots] = session.scalars(select(Film.shots))
    with pytest.raises(TypeError, match="this list of files belongs to no object"):
        anything(shots).append(b"two")
    assert read(shots) == [b"one"]


def test_a_detached_object_can_be_changed_and_merged(session: Session) -> None:
    made = film(session, b"one")
    assert len(made.shots) == 1
    session.expunge(made)
    anything(made.shots).append(b"two")
    merged = session.merge(made)
    session.commit()
    assert read(merged.shots) == [b"one", b"two"]


def test_a_merge_without_loading_gives_a_list_of_its_own(session: Session) -> None:
    made = film(session, b"one")
    assert len(made.shots) == 1
    session.expunge(made)
    merged = session.merge(made, load=False)
    anything(merged.shots).append(b"two")
    session.commit()
    assert (read(merged.shots), read(made.shots)) == ([b"one", b"two"], [b"one"])


# --- as a list ----------------------------------------------------------------------------------------------------


def test_a_loaded_list_does_what_a_list_does(session: Session) -> None:
    film(session, b"one", b"two")

    def fresh() -> Any:
        session.expunge_all()
        return session.scalar(select(Film.shots))

    plain = list(fresh())
    assert isinstance(fresh(), list)
    assert (len(fresh()), bool(fresh()), fresh()[1], fresh()[-2:]) == (2, True, plain[1], plain)
    assert (fresh() == plain, plain == fresh(), fresh() != plain, fresh() == fresh()) == (True, True, False, True)
    assert (plain[0] in fresh(), fresh().index(plain[1]), fresh().count(plain[0])) == (True, 1, 1)
    assert (list(reversed(fresh())), fresh().copy(), fresh() * 2) == (plain[::-1], plain, plain * 2)
    assert (plain + fresh(), fresh() + plain, [*fresh()], tuple(fresh())) == (plain * 2, plain * 2, plain, tuple(plain))
    assert repr(fresh()) == repr(plain)
    assert (str(fresh()), f"{plain[0]}") == ("unnamed, unnamed", "unnamed")
    assert (f"{fresh():.9}", f"{plain[0]:>9}") == ("unnamed, ", "  unnamed")
    assert json.loads(json.dumps(fresh())) == plain
    assert sorted(fresh(), key=lambda each: each.path) == sorted(plain, key=lambda each: each.path)
    one, two = fresh()
    assert [one, two] == plain


@pytest.mark.server
def test_a_loaded_list_is_written_by_encoders_in_c(session: Session) -> None:
    import msgspec
    import orjson

    film(session, b"one", b"two")
    session.expunge_all()
    found = session.scalars(select(Film.shots)).one()
    assert json.loads(orjson.dumps(found)) == json.loads(msgspec.json.encode(found)) == [dict(each) for each in found]


@pytest.mark.parametrize("damaged", ["broken", '{"path": "default/1"}', "5"])
def test_a_row_without_a_list_gives_a_damaged_element(session: Session, damaged: str) -> None:
    made = film(session, b"one")
    session.execute(text("UPDATE reel SET shots = :damaged"), {"damaged": damaged})
    session.commit()
    [only] = made.shots
    with pytest.raises(DamagedReference, match=r"reel\.shots of the row with the primary key \(1,\): expected JSON"):
        _ = only.filename
    setattr(made, "shots", [b"two"])  # noqa: B010  # bytes are accepted too
    session.commit()
    assert read(made.shots) == [b"two"]


def test_copies_belong_to_no_object(session: Session) -> None:
    """They may be changed as any list, and the object hears nothing of it."""
    made = film(session, b"one")
    for copied in (copy.copy(made.shots), copy.deepcopy(made.shots), made.shots.copy(), made.shots[:]):
        assert copied == made.shots
        anything(copied).extend([None, *copied])
        assert len(copied) == 3
        assert (len(made.shots), session.is_modified(made)) == (1, False)


def test_a_list_is_not_initialized_again(session: Session) -> None:
    made = film(session, b"one")
    for values in ([], [b"two"]):
        with pytest.raises(TypeError, match="cannot be initialized again: assign another one"):
            anything(made.shots).__init__(values)
    assert read(made.shots) == [b"one"]


def test_an_object_is_pickled_with_its_list(session: Session) -> None:
    made = film(session, b"one")
    assert len(made.shots) == 1
    found = pickle.loads(pickle.dumps(made))
    assert found.shots == made.shots
    session.expunge_all()
    session.add(found)
    anything(found.shots).append(b"two")
    session.commit()
    assert read(found.shots) == [b"one", b"two"]


def test_pending_files_are_not_pickled(depots: dict[str, FileStorage]) -> None:
    with pytest.raises(TypeError, match="a pending file cannot be pickled"):
        pickle.dumps(Film(shots=[b"one"]).shots)


def test_a_list_is_unhashable() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(FileList())


# --- statements ---------------------------------------------------------------------------------------------------


def test_statements_write_lists(session: Session, depots: dict[str, FileStorage]) -> None:
    rows: Any = [{"id": 1, "version": 1, "shots": [b"one", b"two"]}, {"id": 2, "version": 1, "shots": None}]
    session.execute(insert(Film), rows)
    session.execute(insert(Film).values(id=3, version=1, shots=[b"three"], stills=[]))
    session.execute(update(Film).where(Film.id > 1).values(shots=[b"four", b"five"]))
    session.commit()
    assert [read(each.shots) for each in session.scalars(select(Film).order_by(Film.id))] == [
        [b"one", b"two"],
        [b"four", b"five"],
        [b"four", b"five"],
    ]
    assert len(list(depots["default"].list())) == 6
    given: Any = [{"id": 1, "version": 1, "shots": []}, {"id": 2, "version": 1, "shots": [Upload("", b"")]}]
    session.execute(update(Film), given)
    session.execute(update(Film).where(Film.id == 3).values(shots=None))
    session.commit()
    assert [read(each.shots) for each in session.scalars(select(Film).order_by(Film.id))] == [
        [],
        [b"four", b"five"],
        [],
    ]
    assert len(list(depots["default"].list())) == 2


def test_a_stored_list_in_a_statement_is_copied(session: Session, depots: dict[str, FileStorage]) -> None:
    made = film(session, b"one")
    session.execute(insert(Film).values(id=7, version=1, shots=made.shots))
    session.commit()
    assert read(session.get_one(Film, 7).shots) == [b"one"]
    assert len(list(depots["default"].list())) == 2


def test_core_refuses_fresh_files(session: Session) -> None:
    film(session)
    with pytest.raises(InvalidContent, match=r"not stored yet.* by session\.execute\(\)"):
        session.connection().execute(update(Film.__table__).values(shots=[UploadedFile(b"one")]))  # type: ignore[arg-type]
    with pytest.raises(InvalidContent, match=r"bytes is not a stored file.* by session\.execute\(\)"):
        session.connection().execute(update(Film.__table__).values(shots=[b"one"]))  # type: ignore[arg-type]
    with pytest.raises(InvalidContent, match="expected a list of files, got bytes"):
        session.connection().execute(update(Film.__table__).values(shots=b"one"))  # type: ignore[arg-type]


# --- rows that fall, and other sessions ---------------------------------------------------------------------------


def test_children_that_are_deleted_with_their_parent_take_their_lists_along(
    session: Session, depots: dict[str, FileStorage]
) -> None:
    made = film(session, b"one", notes=[Note(scans=[b"two", b"three"]), Note()])
    made.notes.pop()
    session.commit()
    session.delete(made)
    session.commit()
    assert list(depots["default"].list()) == []


def test_a_version_counter_stops_the_second_of_two_appends(session: Session, depots: dict[str, FileStorage]) -> None:
    mine = film(session, b"one")
    session.refresh(mine)
    session.expire_on_commit = False
    session.commit()
    with Session(session.get_bind()) as other:
        anything(other.get_one(Film, mine.id).shots).append(b"theirs")
        other.commit()
    anything(mine.shots).append(b"mine")
    with pytest.raises(StaleDataError):
        session.commit()
    session.rollback()
    anything(mine.shots).append(b"mine, once more")
    session.commit()
    assert read(mine.shots) == [b"one", b"theirs", b"mine, once more"]
    assert len(list(depots["default"].list())) == 3


def test_a_row_lock_keeps_both_of_two_appends(engine: Engine, depots: dict[str, FileStorage]) -> None:
    """The second transaction waits at its SELECT ... FOR UPDATE and then sees the list that the first one committed."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time, and no row locks")
    Base.metadata.create_all(engine)
    asked = threading.Event()

    def append_another() -> None:
        with Session(engine) as session:
            event.listen(session, "do_orm_execute", lambda state: asked.set())
            anything(session.get_one(Film, 1, with_for_update=True).shots).append(b"two")
            session.commit()

    try:
        with Session(engine) as session, ThreadPoolExecutor(1) as thread:
            session.add(Film(id=1))
            session.commit()
            anything(session.get_one(Film, 1, with_for_update=True).shots).append(b"one")
            session.flush()
            second = thread.submit(append_another)
            assert asked.wait(60)
            session.commit()
            second.result(60)
            assert read(session.get_one(Film, 1, populate_existing=True).shots) == [b"one", b"two"]
        assert len(list(depots["default"].list())) == 2
    finally:
        Base.metadata.drop_all(engine)
