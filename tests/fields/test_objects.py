"""What may be assigned and what becomes of it: copies, streams, handed over files, filters, uploads without a file."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from depot_lite.errors import InvalidContent
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import FileIntent
from depot_lite.io.interfaces import FileStorage
from tests.conftest import World
from tests.fields.actions import BEFORE, FIGURES, FIRST, NEW, OTHER, PHOTO, PLAN, begin, documents, put
from tests.support.models import Album, Document, Signed
from tests.support.streams import Stream

outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])


def _end(session: Session, commit: bool) -> None:
    session.flush()
    (session.commit if commit else session.rollback)()


# --- copies ---------------------------------------------------------------------------------------------------------


def test_a_copy_has_a_file_of_its_own_in_the_depot_of_its_column(world: World, depots: dict[str, FileStorage]) -> None:
    """Name, type and bytes are the same; path and depot are not, and the copy outlives the original."""
    begin(world)
    with world.session() as session:
        first, _ = documents(session)
        original = first.content
        assert original is not None
        first.report = original
        session.commit()
        assert first.content is not None
        assert first.report is not None
        assert first.content.path == original.path
        assert first.report.path.startswith("archive/")
        assert first.report.filename == original.filename
        assert depots["archive"].exists(first.report.file_id)
        first.content = None
        session.commit()
    world.check(PLAN, PHOTO)


@outcome
def test_a_copy_becomes_the_type_of_its_column(world: World, commit: bool) -> None:
    """Between columns of the same type the second file is copied too, and its key names the copy."""
    with world.session() as session:
        session.add(Album(id=1_000_001, letter=b"dear"))
        session.commit()
        album = session.get_one(Album, 1_000_001)
        album.second = album.letter
        _end(session, commit)
        if commit:
            assert album.second is not None
            assert album.letter is not None
            assert album.second.signature == album.letter.signature
            assert album.second["signature_path"].startswith("archive/")
    world.check(*(b"DEAR", b"signed: dear") * (2 if commit else 1))


@outcome
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
def test_a_stored_value_of_another_type_is_stored_anew(world: World, commit: bool, loaded: bool) -> None:
    """The column's own type processes the content as any other; the original stays with its attribute."""
    with world.session() as session:
        session.add(Album(id=1_000_001, plain=NEW, letter=b"old"))
        session.commit()
        album = session.get_one(Album, 1_000_001)
        if loaded:
            assert album.letter is not None
        put(album, letter=album.plain)
        _end(session, commit)
    world.check(NEW, *(NEW.upper(), b"signed: " + NEW) if commit else (b"OLD", b"signed: old"))


@outcome
def test_a_copy_of_a_value_with_filters_runs_none_of_them_again(world: World, commit: bool) -> None:
    """Its files, of whatever kind, are copied one by one."""
    with world.session() as session:
        session.add(Album(id=1_000_001, cover=b"cover"))
        session.commit()
        session.add(Album(cover=session.get_one(Album, 1_000_001).cover))
        _end(session, commit)
    world.check(*(b"cover", b"cov") * (2 if commit else 1))


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_duplicate_of_a_value_that_is_assigned_to_its_own_row_moves_nothing(world: World, duplicate: Any) -> None:
    """The row names that file already."""
    begin(world)
    stored = world.stored()
    with world.session() as session:
        first, _ = documents(session)
        first.content = duplicate(first.content)
        session.commit()
    assert world.stored() == stored
    world.check(*BEFORE)


def test_a_stored_value_of_a_detached_object_is_copied(world: World) -> None:
    """Kept from an earlier request, say; the copy is made even if it is the only thing that happens."""
    begin(world)
    with world.session() as session:
        value = documents(session)[0].content
    with world.session() as session:
        documents(session)[1].report = value
        session.commit()
    world.check(*BEFORE, PLAN)


def test_a_copy_of_what_is_gone_fails_and_leaves_nothing(world: World) -> None:
    """The original was deleted by a transaction in between."""
    begin(world)
    with world.session() as session:
        value = documents(session)[0].content
        documents(session)[0].content = None
        session.commit()
    with world.session() as session:
        put(documents(session)[1], content=NEW)
        documents(session)[1].report = value
        with pytest.raises(FileNotFoundError):
            session.commit()
        session.rollback()
    world.check(FIGURES, PHOTO)


@outcome
def test_one_pending_value_on_two_rows_is_two_files(world: World, commit: bool) -> None:
    """The second attribute gets a value of its own with the same content."""
    value = UploadedFile(NEW)
    with world.session() as session:
        session.add_all([Document(content=value, report=value), Document(content=value)])
        _end(session, commit)
    world.check(*[NEW] * 3 if commit else ())


@outcome
def test_a_value_that_is_born_in_this_transaction_is_copied_too(world: World, commit: bool) -> None:
    """Stored by a flush and assigned to a second row before COMMIT; the first is deleted in the same transaction."""
    with world.session() as session:
        born = Document(content=NEW)
        session.add(born)
        session.flush()
        session.add(Document(content=born.content))
        session.flush()
        session.delete(born)
        _end(session, commit)
    world.check(*(NEW,) if commit else ())


@outcome
def test_an_object_that_is_moved_to_another_session_keeps_its_pending_value(world: World, commit: bool) -> None:
    """Expunged before the flush, changed, and added to a second session, which stores it."""
    begin(world)
    with world.session() as session:
        document, _ = documents(session)
        put(document, content=NEW)
        session.expunge(document)
        session.commit()
    world.check(*BEFORE)
    with world.session() as session:
        session.add(document)
        _end(session, commit)
    world.check(*(NEW, FIGURES, PHOTO) if commit else BEFORE)


# --- streams and handed over files ----------------------------------------------------------------------------------


def test_a_stream_that_went_with_a_rollback_is_refused_at_the_second_flush(world: World) -> None:
    """Its bytes are gone: the error says so, nothing else is lost, and the object can be mended."""
    document = Document(content=Stream(NEW), report=OTHER)
    with world.session() as session:
        session.add(document)
        session.flush()
        session.rollback()
        session.add(document)
        with pytest.raises(InvalidContent, match="stored only once"):
            session.flush()
        world.check()
        put(document, content=NEW)
        session.add(document)
        session.commit()
    world.check(NEW, OTHER)


def test_a_file_that_can_seek_is_stored_again_after_a_rollback(world: World) -> None:
    """It is read from its start each time, and is neither closed nor moved."""
    file = io.BytesIO(NEW)
    file.seek(3)
    document = Document(content=file)
    with world.session() as session:
        session.add(document)
        session.flush()
        session.rollback()
        session.add(document)
        session.commit()
    world.check(NEW)
    assert (file.closed, file.tell()) == (False, 3)


@pytest.mark.parametrize("end", ["commit", "rollback", "close", "savepoint", "nothing flushed"])
def test_a_file_that_is_handed_over_is_kept_until_commit(world: World, tmp_path: Path, end: str) -> None:
    """``move=True``: the source is removed after COMMIT and stays in every other case."""
    source = tmp_path / "plan.pdf"
    source.write_bytes(NEW)
    with world.session() as session:
        savepoint = session.begin_nested()
        session.add(Document(content=FileIntent(source, move=True)))
        if end != "nothing flushed":
            session.flush()
            assert source.read_bytes() == NEW
        if end == "savepoint":
            savepoint.rollback()
        if end in ("commit", "savepoint"):
            session.commit()
        elif end == "rollback":
            savepoint.rollback()
            session.rollback()
    assert source.exists() is (end != "commit")
    world.check(*(NEW,) if end == "commit" else ())


def test_a_file_that_is_handed_over_can_be_committed_at_the_second_attempt(world: World, tmp_path: Path) -> None:
    """After a rollback the source is still whole."""
    source = tmp_path / "plan.pdf"
    source.write_bytes(NEW)
    document = Document(content=FileIntent(source, move=True))
    with world.session() as session:
        session.add(document)
        session.flush()
        session.rollback()
        session.add(document)
        session.commit()
    assert not source.exists()
    world.check(NEW)


def test_a_handed_over_file_that_is_replaced_in_the_same_transaction_stays(world: World, tmp_path: Path) -> None:
    """No committed row holds its bytes, so the source is the only place where they are."""
    source = tmp_path / "plan.pdf"
    source.write_bytes(OTHER)
    with world.session() as session:
        document = Document(content=FileIntent(source, move=True))
        session.add(document)
        session.flush()
        put(document, content=NEW)
        session.commit()
    assert source.read_bytes() == OTHER
    world.check(NEW)


# --- filters and types of values ------------------------------------------------------------------------------------


@outcome
def test_every_file_that_a_filter_or_type_stores_belongs_to_the_value(world: World, commit: bool) -> None:
    """They are born together, are replaced together, and die together."""
    with world.session() as session:
        session.add(Album(id=1_000_001, cover=b"cover", letter=b"letter"))
        session.commit()
    old = (b"cover", b"cov", b"LETTER", b"signed: letter")
    world.check(*old)
    with world.session() as session:
        put(session.get_one(Album, 1_000_001), cover=b"second", letter=b"next")
        _end(session, commit)
    world.check(*(b"second", b"sec", b"NEXT", b"signed: next") if commit else old)
    with world.session() as session:
        session.delete(session.get_one(Album, 1_000_001))
        _end(session, commit)
    world.check(*() if commit else old)


@pytest.mark.parametrize("attribute", ["cover", "letter", "second"])
def test_a_filter_or_type_that_refuses_leaves_nothing(world: World, attribute: str) -> None:
    """Both had stored a second file already; the value is pending as before, and its neighbour too."""
    album = Album(plain=NEW, **{attribute: b"bad"})
    with world.session() as session:
        session.add(album)
        with pytest.raises(ValueError, match="this is bad"):
            session.commit()
        world.check()
        value = getattr(album, attribute)
        assert value.pending
        assert value.files == []
        setattr(album, attribute, None)
        session.commit()
    world.check(NEW)


def test_the_second_attempt_runs_the_filters_again(world: World) -> None:
    """Nothing of the first attempt is in the value: neither its files nor its keys."""
    album = Album(cover=b"cover", letter=b"letter")
    with world.session() as session:
        session.add(album)
        session.flush()
        session.rollback()
        assert album.cover is not None
        assert "preview" not in album.cover
        session.add(album)
        session.commit()
        assert isinstance(album.letter, Signed)
        assert album.letter.signature == b"signed: letter"
        assert album.cover["preview"]["path"] in album.cover.files
    world.check(b"cover", b"cov", b"LETTER", b"signed: letter")


# --- uploads without a file -----------------------------------------------------------------------------------------


def _empty_upload() -> Any:
    return SimpleNamespace(filename="", file=io.BytesIO(b""), content_type="application/octet-stream")


@pytest.mark.parametrize("state", ["loaded", "expired", "not loaded yet"])
def test_an_upload_without_a_file_leaves_the_attribute_as_it_was(world: World, state: str) -> None:
    """An edit form that was sent with nothing chosen keeps the file, loaded or not, and clears nothing."""
    begin(world)
    stored = world.stored()
    with world.session() as session:
        if state == "loaded":
            first, _ = documents(session)
            assert first.content is not None
        else:
            options = [] if state == "expired" else [sqlalchemy.orm.defer(Document.content)]
            first = session.get_one(Document, FIRST, options=options)
        if state == "expired":
            session.expire(first)
        put(first, content=_empty_upload(), name="renamed")
        session.commit()
        assert first.name == "renamed"
        assert first.content is not None
        assert first.content.file.read() == PLAN
    assert world.stored() == stored
    world.check(*BEFORE)


def test_an_upload_without_a_file_leaves_a_pending_value(world: World) -> None:
    """The file that was assigned before is stored."""
    document = Document(content=NEW)
    put(document, content=_empty_upload(), report=_empty_upload())
    with world.session() as session:
        session.add(document)
        session.commit()
        assert document.report is None
    world.check(NEW)


# --- part of a session ----------------------------------------------------------------------------------------------


@outcome
@pytest.mark.skipif(not sqlalchemy.__version__.startswith("2.0"), reason="SQLAlchemy 2.1 has no flush(objects)")
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_a_flush_of_some_objects_stores_their_files_only(world: World, commit: bool) -> None:
    """The others stay pending until their own flush."""
    first, second = Document(content=NEW), Document(content=OTHER)
    with world.session() as session:
        session.add_all([first, second])
        session.flush([first])
        assert second.content is not None
        assert second.content.pending
        assert len(world.stored()) == 1
        _end(session, commit)
    world.check(*(NEW, OTHER) if commit else ())


def test_a_pending_value_that_is_assigned_again_has_files_of_its_own(world: World) -> None:
    """A column of another class makes a value of its own of it; its rollback is none of the committed one's."""
    value = UploadedFile(b"letter")
    with world.session() as session:
        album = Album(letter=value)
        session.add(album)
        session.commit()
        world.check(b"LETTER", b"signed: letter")
        put(album, letter=value)
        session.flush()
        session.rollback()
        world.check(b"LETTER", b"signed: letter")
        put(album, letter=value)
        session.commit()
    world.check(b"LETTER", b"signed: letter")
