"""Files in documents of Ming, on its database in memory."""

from __future__ import annotations

import importlib
import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from ming import create_datastore, schema
from ming.odm import FieldProperty, MappedClass, ODMSession, ThreadLocalODMSession
from ming.odm.odmsession import SessionExtension
from PIL import Image as PillowImage
from pymongo.errors import AutoReconnect, DuplicateKeyError, ServerSelectionTimeoutError

from depot_lite.errors import (
    ConfigurationError,
    InvalidContent,
    MetaRefused,
    SeveralRefused,
    StorageFailed,
    ValidationError,
)
from depot_lite.fields.analyzers import PdfPages
from depot_lite.fields.interfaces import FileFilter
from depot_lite.fields.ming import DepotExtension, UploadedFileProperty
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import ContentTypes, FileName, MaxCount, Size
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.content import Content, FileIntent
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.fields.images import picture
from tests.support.files import pdf

SESSION: Final[Any] = ODMSession(bind=create_datastore("mim:///depot_lite"), extensions=[DepotExtension])


class Twice(FileFilter):
    """Stores the content once more, as filedepot's filters do."""

    def on_save(self, uploaded_file: Any) -> None:
        path, _ = uploaded_file.store_content(uploaded_file.original_content, "again.txt")
        uploaded_file["again"] = path


class Document(MappedClass):  # type: ignore[misc]  # Ming's classes are untyped
    class __mongometa__:  # noqa: N801  # Ming looks for this name
        session = SESSION
        name = "document"

    _id = FieldProperty(schema.ObjectId)
    name = FieldProperty(schema.String)
    content: Any = UploadedFileProperty()
    report: Any = UploadedFileProperty(upload_storage="archive", validators=[Size(max=100), FileName(max_length=20)])
    letter: Any = UploadedFileProperty(filters=[Twice()])
    print: Any = UploadedFileProperty(analyzers=[PdfPages()])


class Special(Document):
    class __mongometa__:  # noqa: N801  # Ming looks for this name
        session = SESSION
        name = "special"

    photo: Any = UploadedFileProperty(upload_type=UploadedImage, variants={"tiny": Thumbnail(16, 16)})
    poster: Any = UploadedFileProperty(
        upload_type=UploadedImage, variants={"square": Crop(8, 8, focus=True, make="on_demand")}
    )


class Endless(io.RawIOBase):
    """An upload of unknown length."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        buffer[:] = b"x" * len(buffer)
        return len(buffer)


class Failing(MemoryFileStorage):
    """Fails to store what begins with ``bad``."""

    def _save(self, file_id: str, content: Content) -> FileInfo:
        if content.head().startswith(b"bad"):
            raise StorageFailed("cannot store: it is bad")
        return super()._save(file_id, content)


@pytest.fixture(autouse=True)
def depots() -> Iterator[dict[str, FileStorage]]:
    with temporary_depots():
        yield {name: DepotManager.configure(name, Failing()) for name in ("default", "archive")}
    SESSION.clear()
    SESSION.db.document.delete_many({})
    SESSION.db.special.delete_many({})


@pytest.fixture
def check(depots: dict[str, FileStorage]) -> Callable[..., None]:
    """The check that documents and depots hold exactly the same files, with exactly these contents."""

    def check(*expected: bytes) -> None:
        named: set[str] = set()
        for found in (*SESSION.db.document.find(), *SESSION.db.special.find()):
            for value in found.values():
                if isinstance(value, dict):
                    named.update(value["files"])
        stored = {f"{name}/{file_id}": depot.get(file_id) for name, depot in depots.items() for file_id in depot.list()}
        assert named == set(stored)
        assert sorted(each.read() for each in stored.values()) == sorted(expected)

    return check


def only() -> Any:
    """Return the one document, loaded anew."""
    SESSION.clear()
    return Document.query.find().one()


class Broken:
    """Makes writing of one document fail as a database does, before or after it is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def at(self, method: str, name: str, error: Exception, *, written: bool = False) -> None:
        original = getattr(SESSION.impl, method)

        def broken(doc: Any, *given: Any, **named: Any) -> Any:
            if doc.get("name") != name:
                return original(doc, *given, **named)
            if written:
                original(doc, *given, **named)
            raise error

        self._monkeypatch.setattr(SESSION.impl, method, broken)

    def mend(self) -> None:
        self._monkeypatch.undo()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Broken:
    return Broken(monkeypatch)


# --- attach, flush, replace, delete -----------------------------------------------------------------------------------


def test_assigning_stores_nothing_and_flushing_does(check: Callable[..., None]) -> None:
    document = Document(name="a", content=FileIntent(b"hello", "a.txt", "text/plain"))
    value = document.content
    assert (value.pending, value.filename, value.content_type) == (True, "a.txt", "text/plain")
    check()
    SESSION.flush()
    check(b"hello")
    for found in (document.content, only().content):
        assert isinstance(found, UploadedFile)
        assert (found.pending, found.filename, found.size, found.depot_name) == (False, "a.txt", 5, "default")
        assert found.file.read() == b"hello"


def test_facts_are_found_at_the_flush() -> None:
    Document(print=pdf(), content=pdf())
    SESSION.flush()
    document = only()
    assert (document.print.facts, document.content.facts) == ({"pages": 1}, {})


def test_the_document_holds_what_filedepot_writes() -> None:
    """Plain BSON, with its keys, which JSON can tell too."""
    Document(content=FileIntent(b"hello", "a.txt", "text/plain"))
    SESSION.flush()
    held = SESSION.db.document.find_one()["content"]
    assert {"depot_name", "file_id", "path", "files", "filename", "content_type", "uploaded_at", "_public_url"} < set(
        held
    )
    assert held["files"] == [held["path"]] == [f"default/{held['file_id']}"]
    assert json.loads(json.dumps(held)) == held


def test_a_document_of_filedepot_s_is_read_and_its_file_goes_with_it(
    depots: dict[str, FileStorage], check: Callable[..., None]
) -> None:
    file_id = depots["default"].create(b"old", "old.txt")
    path = f"default/{file_id}"
    reference = {"depot_name": "default", "file_id": file_id, "path": path, "files": [path], "filename": "old.txt"}
    SESSION.db.document.insert_one({"name": "old", "content": reference})
    document = only()
    assert (document.content.filename, document.content.size, document.content.file.read()) == ("old.txt", None, b"old")
    document.delete()
    SESSION.flush()
    check()


def test_replacing_and_clearing_delete_the_old_file_after_the_flush(check: Callable[..., None]) -> None:
    Document(content=b"one", report=b"report")
    SESSION.flush()
    document = only()
    document.content = b"two"
    check(b"one", b"report")
    SESSION.flush()
    check(b"two", b"report")
    document.content = b"three"
    document.content = b"four"
    document.report = None
    assert document.report is None
    SESSION.flush()
    check(b"four")
    del document.content
    SESSION.flush()
    check()
    assert only().content is None


def test_an_old_file_is_there_until_its_document_is_written(
    depots: dict[str, FileStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Document(content=b"old")
    SESSION.flush()
    file_id, seen, original = document.content.file_id, [], SESSION.impl.save

    def save(*given: Any, **named: Any) -> Any:
        seen.append(depots["default"].exists(file_id))
        return original(*given, **named)

    monkeypatch.setattr(SESSION.impl, "save", save)
    document.content = b"new"
    SESSION.flush()
    assert (seen, depots["default"].exists(file_id)) == ([True], False)


def test_deleting_a_document_deletes_its_files(check: Callable[..., None]) -> None:
    Document(name="doomed", content=b"one", report=b"two")
    Document(content=b"kept")
    SESSION.flush()
    SESSION.clear()
    document = Document.query.find({"name": "doomed"}).one()
    document.content = b"never stored"
    document.delete()
    check(b"one", b"two", b"kept")
    SESSION.flush()
    check(b"kept")


def test_one_object_is_flushed_alone(check: Callable[..., None]) -> None:
    first, second = Document(content=b"1"), Document(content=b"2")
    SESSION.flush(first)
    check(b"1")
    assert (first.content.pending, second.content.pending) == (False, True)
    SESSION.flush(second)
    first.delete()
    SESSION.flush(first)
    check(b"2")


def test_what_is_dropped_before_the_flush_was_never_stored(check: Callable[..., None]) -> None:
    """Filedepot has stored it by then, and never deletes it."""
    Document(content=b"kept")
    SESSION.flush()
    document = only()
    document.content = b"dropped"
    Document(content=b"dropped too")
    SESSION.clear()
    SESSION.flush()
    check(b"kept")
    document = only()
    document.content = b"dropped"
    SESSION.refresh(document)
    again = Document.query.find({}, refresh=True).one()
    assert again.content.file.read() == b"kept"
    SESSION.flush()
    check(b"kept")


def test_a_refresh_in_place_drops_what_was_assigned(check: Callable[..., None]) -> None:
    document = Document(content=b"kept")
    SESSION.flush()
    document.content = b"dropped"
    assert Document.query.find({}, refresh=True).one() is document
    assert document.content.file.read() == b"kept"
    SESSION.flush()
    check(b"kept")


def test_a_change_of_another_attribute_touches_no_file(check: Callable[..., None]) -> None:
    Document(name="a", content=b"kept")
    SESSION.flush()
    document = only()
    path = document.content.path
    document.name = "b"
    SESSION.flush()
    assert only().content.path == path
    check(b"kept")


def test_every_kind_of_content_is_taken(tmp_path: Any, check: Callable[..., None]) -> None:
    path = tmp_path / "p.txt"
    path.write_bytes(b"path")
    for content in (b"bytes", io.BytesIO(b"file"), path, UploadedFile(b"value", "archive")):
        Document(content=content)
    SESSION.flush()
    check(b"bytes", b"file", b"path", b"value")
    assert sorted(each["content"]["depot_name"] for each in SESSION.db.document.find()) == ["archive", *["default"] * 3]


@pytest.mark.parametrize("bad", ["text", 7, {"file_id": "x", "path": "default/x"}], ids=repr)
def test_what_is_no_file_is_refused_when_it_is_assigned(bad: Any) -> None:
    document = Document(content=b"x")
    with pytest.raises(InvalidContent, match=r"^Document\.content: "):
        document.content = bad
    assert document.content.original_content == b"x"


def test_a_form_without_a_file_changes_nothing(check: Callable[..., None]) -> None:
    document = Document(content=b"kept")
    SESSION.flush()
    document.content = ""
    SESSION.flush()
    check(b"kept")


def test_each_document_owns_its_file(check: Callable[..., None]) -> None:
    """A value of another document, stored or pending, becomes a copy; the document's own value stays as it is."""
    value = UploadedFile(b"shared")
    first, second = Document(content=value), Document(content=value)
    SESSION.flush()
    check(b"shared", b"shared")
    third = Document(content=first.content, report=second.content)
    first.content = first.content
    SESSION.flush()
    check(*[b"shared"] * 4)
    first.delete()
    SESSION.flush()
    check(*[b"shared"] * 3)
    assert (third.content.file.read(), third.report.depot_name) == (b"shared", "archive")


def test_filters_classes_and_variants_make_files_that_go_with_theirs(check: Callable[..., None]) -> None:
    buffer = io.BytesIO()
    PillowImage.new("RGB", (64, 64), "red").save(buffer, "PNG")
    document = Document(letter=b"dear")
    special = Special(photo=buffer.getvalue(), content=b"inherited")
    SESSION.flush()
    assert isinstance(special.photo, UploadedImage)
    assert len(special.photo.paths) == 2
    assert len(document.letter.paths) == 2
    assert DepotManager.get_file(document.letter["again"]).read() == b"dear"
    document.letter = FileIntent(buffer.getvalue(), "a.png", meta={"alt": "A cat"})
    SESSION.flush()
    special.photo = document.letter  # of another class, so that it is stored anew
    document.letter = None
    SESSION.flush()
    assert (type(special.photo), special.photo.filename, special.photo.meta) == (
        UploadedImage,
        "a.png",
        {"alt": "A cat"},
    )
    special.photo = None
    SESSION.flush()
    check(b"inherited")


# --- refusals and failures --------------------------------------------------------------------------------------------


def test_what_breaks_rules_is_refused_at_the_flush_and_may_be_corrected(check: Callable[..., None]) -> None:
    document = Document(content=b"fine", report=FileIntent(b"x" * 101, "a" * 30 + ".txt"))
    with pytest.raises(SeveralRefused) as caught:
        SESSION.flush()
    assert {each.column for each in caught.value.errors} == {"Document.report"}
    check()
    document.report = b"x" * 100
    SESSION.flush()
    check(b"fine", b"x" * 100)


def test_a_stream_that_is_too_long_is_refused(check: Callable[..., None]) -> None:
    document = Document(report=Endless())
    with pytest.raises(ValidationError, match="larger than"):
        SESSION.flush()
    check()
    document.report = None
    SESSION.flush()


def test_an_upload_that_fails_stops_the_flush_and_leaves_nothing(check: Callable[..., None]) -> None:
    Document(name="first", content=b"1")
    second = Document(name="second", content=b"bad")
    with pytest.raises(StorageFailed):
        SESSION.flush()
    check()
    assert SESSION.db.document.count_documents({}) == 0
    second.content = b"2"
    SESSION.flush()
    check(b"1", b"2")


def test_of_a_flush_that_fails_what_was_written_stays(broken: Broken, check: Callable[..., None]) -> None:
    """The first document is written, the second is refused, the third is not tried; then the flush is repeated."""
    documents = [Document(name=name, content=name.encode()) for name in ("a", "b", "c")]
    SESSION.flush()
    for each in documents:
        each.content = each.name.encode() * 2
    broken.at("save", "b", DuplicateKeyError("refused"))
    with pytest.raises(DuplicateKeyError):
        SESSION.flush()
    check(b"aa", b"b", b"c")
    assert [each.content.pending for each in documents] == [False, True, True]
    assert [each["content"]["filename"] for each in SESSION.db.document.find()] == ["unnamed"] * 3
    broken.mend()
    SESSION.flush()
    check(b"aa", b"bb", b"cc")


def test_a_new_document_that_is_refused_leaves_no_file(broken: Broken, check: Callable[..., None]) -> None:
    broken.at("insert", "b", DuplicateKeyError("refused"))
    Document(name="a", content=b"1")
    Document(name="b", content=b"2")
    with pytest.raises(DuplicateKeyError):
        SESSION.flush()
    check(b"1")
    broken.mend()
    SESSION.flush()
    check(b"1", b"2")


def test_a_clearing_that_fails_keeps_the_file(broken: Broken, check: Callable[..., None]) -> None:
    document = Document(name="a", content=b"1")
    SESSION.flush()
    document.content = None
    broken.at("save", "a", DuplicateKeyError("refused"))
    with pytest.raises(DuplicateKeyError):
        SESSION.flush()
    check(b"1")
    assert document.content is None
    broken.mend()
    SESSION.flush()
    check()


def test_a_deletion_that_fails_keeps_the_file(broken: Broken, check: Callable[..., None]) -> None:
    document = Document(name="a", content=b"1")
    SESSION.flush()
    document.delete()
    broken.at("delete", "a", ServerSelectionTimeoutError("nobody is there"))
    with pytest.raises(ServerSelectionTimeoutError):
        SESSION.flush()
    check(b"1")
    broken.mend()
    SESSION.flush()
    check()


def test_a_document_that_was_written_before_the_error_keeps_its_new_file(
    broken: Broken, check: Callable[..., None]
) -> None:
    """As after an extension that failed behind the database: it is asked."""
    document = Document(name="a", content=b"old")
    SESSION.flush()
    document.content = b"new"
    broken.at("save", "a", RuntimeError("afterwards"), written=True)
    with pytest.raises(RuntimeError):
        SESSION.flush()
    check(b"new")


@pytest.mark.parametrize("written", [True, False])
def test_where_the_connection_broke_both_files_stay(
    broken: Broken, depots: dict[str, FileStorage], caplog: pytest.LogCaptureFixture, written: bool
) -> None:
    document = Document(name="a", content=b"old")
    SESSION.flush()
    document.content = b"new"
    broken.at("save", "a", AutoReconnect("the connection was reset"), written=written)
    with pytest.raises(AutoReconnect), caplog.at_level(logging.ERROR, "depot_lite"):
        SESSION.flush()
    assert sorted(depots["default"].get(each).read() for each in depots["default"].list()) == [b"new", b"old"]
    assert all(f"default/{each}" in caplog.text for each in depots["default"].list())
    assert only().content.file.read() == (b"new" if written else b"old")


def test_a_file_that_cannot_be_deleted_is_logged_and_the_flush_succeeds(
    depots: dict[str, FileStorage], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    document = Document(content=b"old")
    SESSION.flush()
    path, document.content = document.content.path, b"new"

    def refuse(file_id: str) -> None:
        raise StorageFailed("cannot delete")

    monkeypatch.setattr(depots["default"], "_delete", refuse)
    SESSION.flush()
    assert path in caplog.text
    assert only().content.file.read() == b"new"


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_a_session_without_the_extension_is_refused() -> None:
    """It would write references to files that are nowhere."""

    class Careless(MappedClass):  # type: ignore[misc]  # Ming's classes are untyped
        class __mongometa__:  # noqa: N801  # Ming looks for this name
            session = ODMSession(bind=create_datastore("mim:///careless"))
            name = "careless"

        _id = FieldProperty(schema.ObjectId)
        content: Any = UploadedFileProperty()

    with pytest.raises(ConfigurationError, match=r"Careless\.content.*extensions=\[DepotExtension\]"):
        Careless(content=b"x")


def test_a_session_of_each_thread_looks_after_its_files(depots: dict[str, FileStorage]) -> None:
    local: Any = ThreadLocalODMSession(bind=create_datastore("mim:///local"), extensions=[DepotExtension])

    class Local(MappedClass):  # type: ignore[misc]  # Ming's classes are untyped
        class __mongometa__:  # noqa: N801  # Ming looks for this name
            session = local
            name = "local"

        _id = FieldProperty(schema.ObjectId)
        content: Any = UploadedFileProperty()

    document: Any = Local(content=b"one")
    local.flush()
    document.content = b"two"
    ThreadLocalODMSession.flush_all()
    assert [depots["default"].get(each).read() for each in depots["default"].list()] == [b"two"]
    local.close()


def test_what_a_hook_assigns_waits_for_the_next_flush(check: Callable[..., None]) -> None:
    class Hook(SessionExtension):  # type: ignore[misc]  # Ming's classes are untyped
        def after_insert(self, obj: Any, st: Any) -> None:
            obj.content = b"second"

    SESSION.extensions.append(Hook(SESSION))
    try:
        document = Document(content=b"first")
        SESSION.flush()
        check(b"first")
        SESSION.flush()
        check(b"second")
        assert document.content.file.read() == b"second"
    finally:
        SESSION.extensions.pop()


def test_a_flush_within_a_flush_stores_nothing_twice(check: Callable[..., None]) -> None:
    class Asking(FileFilter):
        def on_save(self, uploaded_file: Any) -> None:
            SESSION.flush()

    class Curious(MappedClass):  # type: ignore[misc]  # Ming's classes are untyped
        class __mongometa__:  # noqa: N801  # Ming looks for this name
            session = SESSION
            name = "special"

        _id = FieldProperty(schema.ObjectId)
        content: Any = UploadedFileProperty(filters=[Asking()])

    curious: Any = Curious(content=b"one")
    SESSION.flush()
    check(b"one")
    curious.content = b"two"
    SESSION.flush()
    check(b"two")


def test_an_attribute_that_was_not_loaded_is_not_assigned_and_goes_with_its_document(
    check: Callable[..., None],
) -> None:
    """Ming writes no attribute that ``fields`` leaves out, so a file would be lost on the way."""
    Document(name="a", content=b"kept")
    SESSION.flush()
    SESSION.clear()
    document = Document.query.find({}, fields=("name",)).one()
    with pytest.raises(ConfigurationError, match="loaded without"):
        document.content = b"new"
    document.name = "b"
    SESSION.flush()
    check(b"kept")
    document.delete()
    SESSION.flush()
    check()


@pytest.mark.parametrize(
    "options",
    [
        {"upload_type": str},
        {"filters": [print]},
        {"validators": ["image/png"]},
        {"validators": [MaxCount(3)]},
        {"variants": {"tiny": Thumbnail(16, 16)}},
        {"analyzers": [PdfPages(run="later")]},
        {"upload_type": UploadedImage, "variants": {"tiny": Thumbnail(16, 16, make="later")}},
        {"upload_type": UploadedImage, "variants": {"square": Crop(8, 8, focus=True)}},
    ],
    ids=repr,
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        UploadedFileProperty(**options)


def test_types_are_checked_by_content(check: Callable[..., None]) -> None:
    class Typed(MappedClass):  # type: ignore[misc]  # Ming's classes are untyped
        class __mongometa__:  # noqa: N801  # Ming looks for this name
            session = SESSION
            name = "special"

        _id = FieldProperty(schema.ObjectId)
        content: Any = UploadedFileProperty(validators=[ContentTypes("image/*")])

    typed: Any = Typed(content=FileIntent(b"words", "a.png", "image/png"))
    with pytest.raises(ValidationError, match=r"Typed\.content"):
        SESSION.flush()
    typed.content = None
    SESSION.flush()
    check()


def test_removing_by_a_query_deletes_the_files_of_what_is_gone(
    check: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of all documents that it matched, and not only of those still there."""
    for name in ("a", "a", "b"):
        Document(name=name, content=name.encode(), report=b"r")
    Document(name="a")
    SESSION.flush()
    Document.query.remove({"name": "a"})
    check(b"b", b"r")
    with monkeypatch.context() as patch:
        patch.setattr(SESSION.impl, "remove", lambda *given, **named: None)
        Document.query.remove({})
    check(b"b", b"r")
    SESSION.clear()
    Document.query.remove()
    check()


@pytest.mark.parametrize("action", ["delete", "replace", "remove"])
def test_files_of_other_depots_are_kept_and_logged(
    depots: dict[str, FileStorage], caplog: pytest.LogCaptureFixture, action: str
) -> None:
    """Whoever can write to a document may have named them there."""
    name, other = list(depots)[:2]
    theirs = depots[other].create(b"theirs")
    Document(name="a", content=b"ours")
    SESSION.flush()
    SESSION.db.document.update_one({"name": "a"}, {"$push": {"content.files": f"{other}/{theirs}"}})
    assert only().content.path.startswith(f"{name}/")
    if action == "remove":
        Document.query.remove({"name": "a"})
    elif action == "delete":
        only().delete()
    else:
        only().content = b"new"
    SESSION.flush()
    assert list(depots[other].list()) == [theirs]
    assert len(list(depots[name].list())) == (1 if action == "replace" else 0)
    assert f"which are kept: ['{other}/{theirs}']" in caplog.text


def test_a_removal_that_fails_keeps_the_files(check: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    Document(content=b"1")
    SESSION.flush()

    def refuse(*given: Any, **named: Any) -> None:
        raise ServerSelectionTimeoutError("nobody is there")

    with monkeypatch.context() as patch:
        patch.setattr(SESSION.impl, "remove", refuse)
        with pytest.raises(ServerSelectionTimeoutError):
            Document.query.remove({})
    check(b"1")


def test_the_module_asks_for_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("depot_lite.fields.ming", "ming.odm"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ming.odm", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'depot_lite\[ming\]'"):
        importlib.import_module("depot_lite.fields.ming")


def test_the_module_imports_no_sqlalchemy() -> None:
    program = "import depot_lite.fields.ming, sys; print('sqlalchemy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout == "False\n"


def test_crops_follow_the_focus(depots: dict[str, FileStorage]) -> None:
    """Those of a former point are deleted by the flush that changes it."""
    image = UploadedImage(picture(), meta={"focus": [0, 0]})
    Special(poster=image)
    SESSION.flush()
    SESSION.clear()
    special, ids = Special.query.find().one(), list[str]()
    for point in ([0, 0], [1, 1], None):
        if ids:
            special.poster = special.poster.with_(meta={"focus": point})
            SESSION.flush()
        variant = special.poster.variants["square"]
        variant.file.close()
        ids.append(variant.file_id)
        assert {str(each) for each in depots["default"].list()} == {special.poster.file_id, variant.file_id}
    assert len(set(ids)) == 3
    with pytest.raises(MetaRefused, match=r"Special\.poster.* has the metadata 'focus': expected two numbers"):
        special.poster = special.poster.with_(meta={"focus": [2, 2]})
    special.delete()
    SESSION.flush()
    assert not list(depots["default"].list())
