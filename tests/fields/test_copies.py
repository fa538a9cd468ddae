"""Copies of whole objects: a new row that is made of an old one owns copies of its files."""

from __future__ import annotations

import copy
import dataclasses
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    attributes,
    make_transient,
    mapped_column,
)

from depot_lite.errors import InvalidContent
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import FileIntent
from depot_lite.io.interfaces import FileStorage
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.own_tables import OwnWorld, own_world
from tests.fields.statements import add
from tests.fields.values import read
from tests.support.models import Album, Document, Movie
from tests.support.streams import Stream

outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])

#: Far from the numbers that a sequence of PostgreSQL reaches by itself.
ROW = 1_000_001
OTHER_ROW = 1_000_002

OLD = (b"poster", b"1", b"2", b"E", b"signed: e")


def _end(session: Session, commit: bool) -> None:
    session.flush()
    (session.commit if commit else session.rollback)()


def _movie(**values: Any) -> Movie:
    made = Movie(**values)
    put(made, poster=b"poster", screenshots=[b"1", b"2"], extras=[b"e"])
    return made


def _pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


#: Ways to duplicate an object together with its state, as it is known to SQLAlchemy.
DUPLICATES: dict[str, Callable[[Any], Any]] = {"deepcopy": copy.deepcopy, "pickle": _pickled}
every_duplicate = pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=list(DUPLICATES))


# --- instances that were stored ---------------------------------------------------------------------------------------


def _transient(target: Any, key: int) -> Any:
    """Return it as a new object with another primary key."""
    make_transient(target)
    target.id = key
    return target


@every_duplicate
@outcome
@pytest.mark.parametrize("closed", [False, True], ids=["same session", "another session"])
def test_a_duplicate_that_is_added_as_a_new_row_owns_copies(
    world: World, duplicate: Callable[[Any], Any], closed: bool, commit: bool
) -> None:
    """It outlives the original, in every column and depot."""
    add(world, _movie(id=ROW))
    with world.session() as session:
        twin = _transient(duplicate(session.get_one(Movie, ROW)), OTHER_ROW)
        if closed:
            session.close()
        with world.session() if closed else nullcontext(session) as writing:
            writing.add(twin)
            _end(writing, commit)
            world.check(*OLD, *OLD if commit else ())
            if commit:
                assert read(twin.screenshots) == [b"1", b"2"]
                writing.delete(writing.get_one(Movie, ROW))
                writing.commit()
    world.check(*OLD)


@every_duplicate
def test_a_duplicate_is_detached_and_shows_the_same_files(world: World, duplicate: Callable[[Any], Any]) -> None:
    """Whoever only reads it moves nothing, and the original goes on as it was."""
    add(world, _movie(id=ROW))
    stored = world.stored()
    with world.session() as session:
        original: Any = session.get_one(Movie, ROW)
        twin = duplicate(original)
        assert read([twin.poster, *twin.screenshots, *twin.extras]) == [b"poster", b"1", b"2", b"E"]
        assert [each.path for each in twin.screenshots] == [each.path for each in original.screenshots]
        assert twin.screenshots is not original.screenshots
        session.commit()
        assert world.stored() == stored
        original.screenshots.append(b"3")
        session.commit()
    world.check(*OLD, b"3")


@every_duplicate
@outcome
def test_a_duplicate_takes_changes_of_its_own(world: World, duplicate: Callable[[Any], Any], commit: bool) -> None:
    """Before it is added: files that it drops are not copied, and the original keeps everything."""
    add(world, _movie(id=ROW))
    with world.session() as session:
        twin = _transient(duplicate(session.get_one(Movie, ROW)), OTHER_ROW)
        put(twin, poster=b"new poster")
        del twin.screenshots[0]
        twin.screenshots.append(b"new")
        twin.extras.clear()
        session.add(twin)
        _end(session, commit)
    world.check(*OLD, *(b"new poster", b"2", b"new") if commit else ())


@every_duplicate
def test_a_duplicate_may_be_merged_into_its_own_row(world: World, duplicate: Callable[[Any], Any]) -> None:
    """It names the same row: nothing is copied, and its changes take effect there."""
    add(world, _movie(id=ROW))
    with world.session() as session:
        twin = duplicate(session.get_one(Movie, ROW))
    stored = world.stored()
    with world.session() as session:
        session.merge(twin)
        session.commit()
    assert world.stored() == stored
    put(twin, poster=b"new poster")
    with world.session() as session:
        session.merge(twin)
        session.commit()
    world.check(b"new poster", *OLD[1:])


@every_duplicate
def test_a_duplicate_may_take_the_place_of_its_original(world: World, duplicate: Callable[[Any], Any]) -> None:
    """The original is deleted and the copy added in one flush: the copies are made before the files go."""
    add(world, _movie(id=ROW))
    with world.session() as session:
        original = session.get_one(Movie, ROW)
        twin = _transient(duplicate(original), OTHER_ROW)
        session.delete(original)
        session.add(twin)
        session.commit()
    world.check(*OLD)


@every_duplicate
def test_a_duplicate_of_files_with_filters_and_types_of_their_own(
    world: World, duplicate: Callable[[Any], Any]
) -> None:
    """All files of a value are copied."""
    album = Album(id=ROW)
    put(album, cover=b"cover", letter=b"dear", second=b"sir")
    add(world, album)
    with world.session() as session:
        twin = _transient(duplicate(session.get_one(Album, ROW)), OTHER_ROW)
        session.add(twin)
        session.commit()
        assert twin.letter.signature == b"signed: dear"
        assert twin.second.depot_name == "archive"
    world.check(*(b"cover", b"cov", b"DEAR", b"signed: dear", b"SIR", b"signed: sir") * 2)


def test_a_duplicate_of_a_row_whose_files_are_gone_is_refused(world: World) -> None:
    """Between the copy and the flush the original was deleted: nothing of the new row is left."""
    add(world, _movie(id=ROW))
    with world.session() as session:
        twin = _transient(copy.deepcopy(session.get_one(Movie, ROW)), OTHER_ROW)
        session.delete(session.get_one(Movie, ROW))
        session.commit()
        session.add(twin)
        with pytest.raises(FileNotFoundError):
            session.commit()
        session.rollback()
    world.check()


def test_make_transient_of_the_object_itself_copies_its_files(world: World) -> None:
    """SQLAlchemy's own way to write a row once more."""
    add(world, _movie(id=ROW))
    with world.session() as session:
        movie = session.get_one(Movie, ROW)
        assert movie.poster is not None
        assert movie.screenshots
        assert movie.extras
        session.expunge(movie)
        session.add(_transient(movie, OTHER_ROW))
        session.commit()
    world.check(*OLD, *OLD)


def _written_by_flush(session: Session, movie: Movie) -> None:
    session.add(movie)
    session.flush()
    session.expunge(movie)


def _written_in_bulk(session: Session, movie: Movie) -> None:
    session.bulk_save_objects([movie])


writings = pytest.mark.parametrize("write", [_written_by_flush, _written_in_bulk])


@outcome
@writings
def test_an_object_that_is_written_twice_in_one_transaction(
    world: World, write: Callable[[Session, Movie], None], commit: bool
) -> None:
    """Two rows with files of their own: the second one keeps them when the first is deleted."""
    with world.session() as session:
        movie = _movie(id=ROW)
        write(session, movie)
        write(session, _transient(movie, OTHER_ROW))
        _end(session, commit)
    world.check(*(OLD + OLD if commit else ()))
    if commit:
        with world.session() as session:
            session.delete(session.get_one(Movie, ROW))
            session.commit()
        world.check(*OLD)


@outcome
def test_a_new_file_that_another_attribute_of_the_object_gets_too(world: World, commit: bool) -> None:
    """That attribute is not loaded, so that only the flush can tell what its row holds."""
    with world.session() as session:
        document = Document(id=ROW, content=b"new")
        session.add(document)
        session.flush()
        session.expire(document, ["report"])
        document.report = document.content
        _end(session, commit)
    world.check(*([b"new", b"new"] if commit else []))


@outcome
def test_an_object_that_goes_on_to_another_session_before_the_first_has_ended(world: World, commit: bool) -> None:
    if world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with world.session() as first, world.session() as second:
        movie = _movie(id=ROW)
        _written_by_flush(first, movie)
        second.add(_transient(movie, OTHER_ROW))
        second.commit()
        _end(first, commit)
    world.check(*(OLD + OLD if commit else OLD))


# --- copy.copy --------------------------------------------------------------------------------------------------------


def test_a_shallow_copy_takes_nothing_from_its_original(world: World) -> None:
    """It shares SQLAlchemy's state with the original, which is the one that a session knows."""
    add(world, _movie(id=ROW))
    with world.session() as session:
        original: Any = session.get_one(Movie, ROW)
        twin = copy.copy(original)
        assert read([twin.poster, *twin.screenshots]) == [b"poster", b"1", b"2"]
        session.add(twin)
        del twin
        original.screenshots.append(b"3")
        session.commit()
    world.check(*OLD, b"3")


def test_a_shallow_copy_of_a_new_object_is_the_same_row(world: World) -> None:
    with world.session() as session:
        original = _movie(id=ROW)
        twin = copy.copy(original)
        session.add(twin)
        session.add(original)
        session.commit()
        assert read(original.screenshots) == [b"1", b"2"]
    world.check(*OLD)


@outcome
@pytest.mark.parametrize("stored", [True, False], ids=["of a row", "of a new object"])
def test_a_shallow_copy_with_a_state_of_its_own_is_a_new_row(world: World, stored: bool, commit: bool) -> None:
    """A recipe in wide use: everything but SQLAlchemy's state is taken over as it is."""
    original = _movie(id=ROW)
    before = OLD if stored else ()
    if stored:
        add(world, original)
    with world.session() as session:
        if stored:
            original = session.get_one(Movie, ROW)
            assert original.poster
            assert original.screenshots
            assert original.extras
        twin: Any = Movie()
        twin.__dict__.update({key: each for key, each in original.__dict__.items() if key != "_sa_instance_state"})
        twin.id = OTHER_ROW
        session.add_all([original, twin])
        _end(session, commit)
        world.check(*(*OLD, *OLD) if commit else before)
        if commit:
            twin.screenshots.append(b"of the copy")
            put(original, screenshots=[b"of the original"])
            session.commit()
            world.check(*OLD, b"poster", b"E", b"signed: e", b"of the copy", b"of the original")


# --- instances that were not stored yet -------------------------------------------------------------------------------


@outcome
@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
@pytest.mark.parametrize(
    "content",
    [lambda: b"new", lambda: UploadedFile(b"new"), lambda: FileIntent(b"new", "new.txt"), lambda: io.BytesIO(b"new")],
    ids=["bytes", "value", "intent", "buffer"],
)
def test_a_pending_value_is_copied_with_its_content(
    world: World, make: Callable[[Any], Any], content: Callable[[], Any], commit: bool
) -> None:
    """Each becomes a file of its own."""
    value = UploadedFile(content()) if not isinstance(content(), UploadedFile) else content()
    try:
        twin = make(value)
    except InvalidContent:
        assert isinstance(content(), io.BytesIO)  # an open stream
        return
    assert twin.pending
    assert (twin.filename, twin.size) == (value.filename, value.size)
    with world.session() as session:
        session.add_all([Document(content=value), Document(content=twin)])
        _end(session, commit)
    world.check(*(b"new", b"new") if commit else ())


@outcome
def test_a_new_object_is_copied_with_its_pending_files(world: World, commit: bool) -> None:
    original = _movie(id=ROW)
    twin = copy.deepcopy(original)
    twin.id = OTHER_ROW
    with world.session() as session:
        session.add_all([original, twin])
        _end(session, commit)
        if commit:
            twin.screenshots.pop(0)
            session.commit()
            assert read(original.screenshots) == [b"1", b"2"]
    world.check(*(*OLD, *(each for each in OLD if each != b"1")) if commit else ())


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_an_open_stream_is_not_copied(world: World, make: Callable[[Any], Any]) -> None:
    """It can be stored only once; the original still can."""
    value = UploadedFile(Stream(b"stream"))
    with pytest.raises(InvalidContent, match="stream"):
        make(value)
    document = Document(content=value)
    with world.session() as session:
        session.add(document)
        session.commit()
    world.check(b"stream")


@pytest.mark.parametrize("key", ["poster", "screenshots"])
def test_an_object_with_an_open_stream_is_not_copied(world: World, key: str) -> None:
    movie = Movie()
    put(movie, **{key: UploadedFile(Stream(b"stream")) if key == "poster" else [UploadedFile(Stream(b"stream"))]})
    with pytest.raises(InvalidContent, match="stream"):
        copy.deepcopy(movie)
    with world.session() as session:
        session.add(movie)
        session.commit()
    world.check(b"stream")


# --- merge ------------------------------------------------------------------------------------------------------------


@outcome
@pytest.mark.parametrize("exists", [True, False], ids=["an existing row", "a new row"])
@pytest.mark.parametrize("make", [Stream, io.BytesIO], ids=["stream", "buffer"])
def test_an_instance_with_a_pending_stream_is_merged(
    world: World, make: Callable[[bytes], Any], exists: bool, commit: bool
) -> None:
    """The stream goes where the row is, though it can be read only once."""
    if exists:
        add(world, _movie(id=ROW))
    given = Movie(id=ROW)
    put(given, poster=UploadedFile(make(b"new poster")), screenshots=[UploadedFile(make(b"new 1")), make(b"new 2")])
    with world.session() as session:
        merged = session.merge(given)
        assert merged is not given
        _end(session, commit)
        if commit:
            assert read([merged.poster, *merged.screenshots]) == [b"new poster", b"new 1", b"new 2"]
    after = (b"new poster", b"new 1", b"new 2", *(OLD[3:] if exists else ()))
    world.check(*after if commit else OLD if exists else ())


def test_an_instance_is_merged_twice(world: World) -> None:
    """The same instance, without a stream, may be merged again: it names one row."""
    given = _movie(id=ROW)
    with world.session() as session:
        session.merge(given)
        session.merge(given)
        session.commit()
    world.check(*OLD)


def test_a_merged_stream_is_there_after_a_rollback(world: World) -> None:
    """A buffer can be read again; the merged file is pending once more."""
    given = Document(id=ROW)
    put(given, content=io.BytesIO(b"new"))
    with world.session() as session:
        merged = session.merge(given)
        _end(session, commit=False)
        session.add(merged)
        session.commit()
    world.check(b"new")


# --- dataclasses ------------------------------------------------------------------------------------------------------


class DataBase(MappedAsDataclass, DeclarativeBase):
    """The parent of classes that are dataclasses."""


class Record(DataBase):
    """Its constructor takes its files."""

    __tablename__ = "copied_record"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, default=None)
    pages: Mapped[list[UploadedFile]] = mapped_column(
        UploadedFileField(multiple=True, upload_storage="archive"), default_factory=list
    )


@pytest.fixture
def records(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[OwnWorld]:
    with own_world(engine, depots, DataBase.metadata, "copied_record.cover", "copied_record.pages") as made:
        yield made


def _of_dict(record: Record) -> Record:
    values = dataclasses.asdict(record)
    values.pop("id", None)
    return Record(**values)


def _of_tuple(record: Record) -> Record:
    return Record(*dataclasses.astuple(record)[1:])


REMAKE: dict[str, Callable[[Record], Record]] = {
    "replace": dataclasses.replace,
    "asdict": _of_dict,
    "astuple": _of_tuple,
    "fields": lambda record: Record(record.cover, record.pages),
}
every_remake = pytest.mark.parametrize("remake", REMAKE.values(), ids=list(REMAKE))


def _record(*pages: bytes) -> Record:
    return Record(UploadedFile(b"cover", filename="c.txt"), [UploadedFile(each) for each in pages])


@every_remake
@outcome
@pytest.mark.parametrize("empty", [False, True], ids=["with files", "without"])
def test_a_record_that_is_made_of_another_owns_copies(
    records: OwnWorld, remake: Callable[[Record], Record], empty: bool, commit: bool
) -> None:
    old = () if empty else (b"cover", b"1", b"2")
    with records.session() as session:
        session.add(Record() if empty else _record(b"1", b"2"))
        session.commit()
    with records.session() as session:
        original = session.scalars(select(Record)).one()
        twin = remake(original)
        session.add(twin)
        _end(session, commit)
        records.check(*old, *old if commit else ())
        if commit:
            assert read(twin.pages) == read(original.pages)
            session.delete(original)
            session.commit()
    records.check(*old)


@every_remake
def test_a_record_of_a_detached_one(records: OwnWorld, remake: Callable[[Record], Record]) -> None:
    """It was loaded by a session that is closed, as an object from a cache."""
    with records.session(expire_on_commit=False) as session:
        original = _record(b"1")
        session.add(original)
        session.commit()
    twin = remake(original)
    with records.session() as session:
        session.add(twin)
        session.commit()
    records.check(b"cover", b"1", b"cover", b"1")


@every_remake
@outcome
def test_a_record_of_one_that_is_not_stored_yet(
    records: OwnWorld, remake: Callable[[Record], Record], commit: bool
) -> None:
    """Each stores its own. A dictionary or tuple has nowhere to keep a pending file, and may refuse it."""
    original = _record(b"1", b"2")
    made = [original]
    try:
        made.append(remake(original))
    except InvalidContent:
        assert remake in {_of_dict, _of_tuple}
    with records.session() as session:
        session.add_all(made)
        _end(session, commit)
    records.check(*(b"cover", b"1", b"2") * len(made) if commit else ())


def test_asdict_shows_what_the_row_names(records: OwnWorld) -> None:
    """For a JSON encoder, say."""
    with records.session() as session:
        record = _record(b"1")
        session.add(record)
        session.commit()
        stored = records.stored()
        found = dataclasses.asdict(record)
        assert found["id"] == record.id
        assert found["cover"] == record.cover
        assert list(found["pages"]) == record.pages
        assert dataclasses.astuple(record)[0] == record.id
        session.commit()
        assert records.stored() == stored
    records.check(b"cover", b"1")


def test_a_file_is_replaced_by_dataclasses_replace(records: OwnWorld) -> None:
    """A replaced attribute is not copied."""
    with records.session() as session:
        session.add(_record(b"1"))
        session.commit()
        original = session.scalars(select(Record)).one()
        session.add(dataclasses.replace(original, cover=UploadedFile(b"new")))
        session.commit()
    records.check(b"cover", b"1", b"new", b"1")


@every_remake
def test_an_open_stream_of_a_record_is_stored_once(records: OwnWorld, remake: Callable[[Record], Record]) -> None:
    """The duplicate is refused; the record itself goes on."""
    original = Record(UploadedFile(Stream(b"stream")))
    with pytest.raises(InvalidContent):
        remake(original)
    with records.session() as session:
        session.add(original)
        session.commit()
    records.check(b"stream")


# --- instances that were unpickled elsewhere --------------------------------------------------------------------------


@outcome
def test_an_instance_from_a_queue_is_added_as_a_new_row(world: World, commit: bool) -> None:
    """Pickled by one process, unpickled by another that has never seen the row, which is gone by then or not."""
    add(world, _movie(id=ROW))
    with world.session() as session:
        movie = session.get_one(Movie, ROW)
        assert movie.screenshots
        sent = pickle.dumps(movie)
    with world.session() as session:
        received = _transient(pickle.loads(sent), OTHER_ROW)
        assert attributes.instance_state(received).key is None
        session.add(received)
        _end(session, commit)
        if commit:
            received.screenshots.append(b"3")
            session.commit()
    world.check(*OLD, *(*OLD, b"3") if commit else ())


@outcome
def test_an_instance_from_a_queue_is_added_to_its_own_row(world: World, commit: bool) -> None:
    """Detached, it is its row: nothing is copied."""
    add(world, _movie(id=ROW))
    with world.session() as session:
        sent = pickle.dumps(session.get_one(Movie, ROW))
    with world.session() as session:
        received: Any = pickle.loads(sent)
        session.add(received)
        received.screenshots.append(b"3")
        put(received, poster=b"new poster")
        _end(session, commit)
    world.check(*(b"new poster", *OLD[1:], b"3") if commit else OLD)
