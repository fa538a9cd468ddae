"""Content: names, types, moving, and refusals; stored files and filedepot's helpers."""

from __future__ import annotations

import gc
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import FileStorage

from depot_lite.errors import InvalidContent, StoredFileNotFound
from depot_lite.io.content import Content, FileIntent, clean_filename, sources
from depot_lite.io.disposition import content_disposition
from depot_lite.io.interfaces import FileStorage as Storage
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.media_types import detection
from depot_lite.io.media_types.detection import Finding, Sample
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.io.utils import file_from_content
from tests.support.streams import DATA, PieceStream, bytes_of

# --- names and types --------------------------------------------------------------------------------------------------


def test_a_name_that_is_given_wins_over_the_intents_which_wins_over_the_one_found(path: Path) -> None:
    """The same holds for the declared type."""
    intent = FileIntent(path, "intended.csv", "text/csv")
    assert Content.of(path).filename == "data.bin"
    assert Content.of(intent).filename == "intended.csv"
    assert Content.of(intent, "given.txt").filename == "given.txt"
    assert Content.of(FileIntent(intent)).filename == "intended.csv"
    assert Content.of(FileIntent(intent, "outer.csv")).filename == "outer.csv"
    assert Content.of(FileIntent(FileStorage(io.BytesIO(b"x"), "up.txt"))).filename == "up.txt"
    assert Content.of(intent, content_type="text/x-a").declared_type == "text/x-a"
    assert Content.of(intent).declared_type == "text/csv"


def test_a_content_may_be_labelled_again_and_shares_its_bytes() -> None:
    """A stream is not read twice for it."""
    content = Content.of(PieceStream(b"a,b"), "a.txt")
    assert Content.of(content) is content
    again = Content.of(content, "b.csv", "text/csv")
    assert (again.filename, again.content_type, content.filename) == ("b.csv", "text/csv", "a.txt")
    assert bytes_of(again) == b"a,b"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plan.pdf", "plan.pdf"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\me\\plan.pdf", "plan.pdf"),
        ("../../x", "x"),
        ("a\x00b\r\nc\x1b.txt", "abc.txt"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("Pru\u0308fung Ma\u0308rz.pdf", "Pr\u00fcfung M\u00e4rz.pdf"),
        ("x\u061c\u200f\u200e\u2066cod.exe", "xcod.exe"),
        ("a\ufeffb\u200b\u200c\u200d\u2060\u00ad.exe", "ab.exe"),
        ("\U000e0041x\ufe0f", "x"),
        ("\u200b\u200e", None),
        ("bad\udc80.txt", "bad\ufffd.txt"),
        ("  spaced name.txt ", "spaced name.txt"),
        ("\u65e5\u672c\u8a9e.pdf", "\u65e5\u672c\u8a9e.pdf"),
        (".bashrc", ".bashrc"),
        (b"bytes.txt", "bytes.txt"),
        (Path("/tmp/path.txt"), "path.txt"),
        ("", None),
        ("   ", None),
        (".", None),
        ("..", None),
        ("folder/", None),
        ("<stdin>", None),
        ("<fdopen>", None),
        (3, None),
        (None, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_of_a_name_only_what_is_safe_is_kept(name: object, expected: str | None) -> None:
    """The last component, without what ends a header or turns the order of letters around."""
    assert clean_filename(name) == expected


def test_a_long_name_is_cut_before_its_extension() -> None:
    """To 255 bytes of UTF-8, at the border of a character."""
    assert clean_filename("a" * 300 + ".jpeg") == "a" * 250 + ".jpeg"
    assert clean_filename("a" * 251 + ".jpg") == "a" * 251 + ".jpg"
    shortened = clean_filename("\u65e5" * 100 + ".pdf")
    assert shortened == "\u65e5" * 83 + ".pdf"
    assert clean_filename("a." + "b" * 300) == "a." + "b" * 253


@given(st.text(max_size=400) | st.text(alphabet="./\\ a\x00\u65e5", max_size=400))
def test_a_cleaned_name_is_harmless_and_clean_names_stay(name: str) -> None:
    """It names no folder, fits in 255 bytes, can be encoded, and cleaning it again changes nothing."""
    cleaned = clean_filename(name)
    if cleaned is not None:
        assert not set(cleaned) & set("/\\\x00\r\n")
        assert cleaned not in ("", ".", "..")
        assert 0 < len(cleaned.encode()) <= 255
        assert clean_filename(cleaned) in (cleaned, None if cleaned.startswith("<") else cleaned)


def test_the_type_comes_from_the_bytes_then_from_what_is_declared_then_from_the_name(path: Path) -> None:
    """And is found once."""
    png = b"\x89PNG\r\n\x1a\n" + bytes(20)
    assert Content.of(png, "page.html", "text/html").content_type == "image/png"
    assert Content.of(b"a,b", "a.txt", "text/csv").content_type == "text/csv"
    assert Content.of(b"a,b", "a.csv").content_type == "text/csv"
    content = Content.of(path)
    assert content.content_type == "application/octet-stream"
    path.write_bytes(png)
    assert content.content_type == "application/octet-stream"


# --- move -------------------------------------------------------------------------------------------------------------


def test_a_type_is_recognised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bytes] = []

    def recognise(sample: Sample) -> Finding:
        calls.append(sample.head)
        return detection.recognise(sample)

    monkeypatch.setattr(sources, "recognise", recognise)
    for source in (b"%PDF-1.7", b"text", b"\0\1", io.BytesIO(b"a,b"), io.BytesIO(b"PK\3\4")):
        calls.clear()
        content = Content.of(source)
        found = content.content_type
        assert Content.of(content, "unnamed", found).content_type == found
        assert len(calls) == 1


def test_a_type_is_recognised_again_if_the_name_tells_another_one() -> None:
    content = Content.of(b"a,b", "a.txt")
    assert content.content_type == "text/plain"
    unknown = Content.of(b"\0\1")
    assert unknown.content_type == "application/octet-stream"
    assert Content.of(unknown, "a.tga", unknown.content_type).content_type == "image/x-tga"


def test_a_type_is_recognised_again_if_the_file_has_changed() -> None:
    file = io.BytesIO(b"%PDF-1.7")
    content = Content.of(file)
    assert content.content_type == "application/pdf"
    file.write(b"\x89PNG\r\n\x1a\n")
    assert Content.of(content, "unnamed", "application/pdf").content_type == "image/png"


def test_a_path_that_is_moved_is_removed_at_release(path: Path) -> None:
    """Also where it has gone before, because the storage renamed it; without ``move`` nothing is removed."""
    kept = Content.of(FileIntent(path, "a.bin"))
    kept.release()
    assert (kept.move, path.exists()) == (False, True)
    moved = Content.of(FileIntent(FileIntent(path, move=True), "b.bin"), "c.bin")
    assert (moved.move, moved.path, moved.filename) == (True, path, "c.bin")
    moved.release()
    assert not path.exists()
    moved.release()


@pytest.mark.parametrize(
    "content", [b"bytes", io.BytesIO(b"file"), "/a/str", None], ids=lambda value: type(value).__name__
)
def test_only_a_path_can_be_moved(content: object) -> None:
    """There is nothing else to rename."""
    with pytest.raises(InvalidContent, match=r"move=True\): expected a pathlib.Path, got"):
        FileIntent(content, move=True)


def test_a_symbolic_link_cannot_be_moved(path: Path) -> None:
    """Renaming it would store a link to a file that others may change."""
    link = path.with_name("link")
    link.symlink_to(path)
    assert bytes_of(link) == DATA
    with pytest.raises(InvalidContent, match="is a symbolic link"):
        Content.of(FileIntent(link, move=True))


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_text_is_refused_with_a_hint() -> None:
    """Its encoding is not known, and it may be meant as a path."""
    with pytest.raises(InvalidContent, match=r"encode it \(text.encode\(\)\).*pathlib.Path"):
        Content.of("/tmp/plan.pdf")


@pytest.mark.parametrize(
    "content",
    [None, 7, 1.5, True, [b"x"], {"file": b"x"}, object(), iter([b"x"]), FileIntent(None)],
    ids=lambda content: type(content).__name__,
)
def test_what_cannot_be_read_is_refused_by_its_type(content: object) -> None:
    """The message names the type and the expected ones."""
    with pytest.raises(InvalidContent, match=r"\w+ cannot be stored: expected bytes, a binary file, a pathlib.Path"):
        Content.of(content)


# --- stored files -----------------------------------------------------------------------------------------------------


@pytest.fixture
def storage() -> Storage:
    return MemoryFileStorage()


def test_a_stored_file_keeps_its_name_and_declares_its_type(storage: Storage) -> None:
    """It is read from its start, and knows its size without being opened."""
    with storage.get(storage.create(b"a;b", "table.csv", "text/csv")) as stored:
        assert stored.read(1) == b"a"
        content = Content.of(stored)
        assert (content.filename, content.content_type, content.size) == ("table.csv", "text/csv", 3)
        assert bytes_of(content) == b"a;b"
        assert stored.tell() == 1


def test_a_file_in_a_local_folder_can_be_copied_by_the_kernel(tmp_path: Path) -> None:
    """From one depot to another, without its bytes passing through here."""
    local = LocalFileStorage(tmp_path / "depot")
    with local.get(local.create(DATA, "a.bin")) as stored:
        content = Content.of(stored)
        assert content.path == stored.local_path
        with content.descriptor() as descriptor:
            assert os.pread(descriptor or -1, len(DATA), 0) == DATA
        assert stored.tell() == 0


def test_a_stored_file_that_has_gone_says_so(storage: Storage) -> None:
    """Our own errors are not rewritten."""
    file_id = storage.create(b"x", "a.txt")
    with storage.get(file_id) as stored:
        stored._opener = lambda: (_ for _ in ()).throw(StoredFileNotFound(file_id))
        with pytest.raises(StoredFileNotFound):
            bytes_of(stored)


# --- filedepot's names ------------------------------------------------------------------------------------------------


def test_a_file_is_made_from_every_content_for_filters_written_for_filedepot(path: Path) -> None:
    """The caller closes the new file, and not the one handed in."""
    from depot_lite.io import utils

    assert sorted(utils.__all__) == ["FileIntent", "INMEMORY_FILESIZE", "file_from_content"]
    mine = io.BytesIO(DATA)
    mine.seek(9)
    made: list[tuple[object, bool]] = [
        (DATA, True),
        (path, True),
        (PieceStream(DATA), True),
        (mine, False),
        (FileIntent(mine, "a", "b/c"), False),
        (FileStorage(mine, "a"), False),
    ]
    for content, must_close in made:
        closes, file = file_from_content(content)
        assert closes is must_close
        assert file.read() == DATA
        if must_close:
            file.close()


@pytest.mark.matrix
def test_a_stream_that_fails_leaves_no_temporary_file_open() -> None:
    """It would warn when it is collected, and warnings fail a test."""

    class Broken:
        def read(self, size: int = -1) -> bytes:
            raise OSError("reset")

    with pytest.raises(InvalidContent, match="reset"):
        file_from_content(Broken())
    gc.collect()


def test_an_intent_and_a_content_show_what_they_hold_and_no_bytes() -> None:
    """A secret in a file must not get into a log by its repr."""
    intent = FileIntent(b"secret", "a.txt", "text/plain")
    assert intent.fileinfo == (b"secret", "a.txt", "text/plain")
    assert repr(intent) == "FileIntent(bytes, 'a.txt', 'text/plain')"
    assert repr(Content.of(intent)) == "<Content 'a.txt' of bytes>"


class _Upload:
    """What frameworks make of a part of a form, as far as it is asked for."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


def test_uploads_are_known_by_their_attributes() -> None:
    """Falcon's and Werkzeug's have a stream, others a file; Django's have chunks and are named otherwise."""
    file = io.BytesIO(DATA)
    for upload in (
        _Upload(stream=file, filename="a.bin", mimetype="application/x-a"),
        _Upload(file=file, filename="a.bin", content_type="application/x-a"),
        _Upload(file=file, name="a.bin", chunks=None, content_type="application/x-a"),
    ):
        content = Content.of(upload)
        assert (content.source, content.filename, content.declared_type) == (file, "a.bin", "application/x-a")


def test_an_upload_without_a_file_is_refused() -> None:
    with pytest.raises(InvalidContent, match="_Upload contains no file"):
        Content.of(_Upload(file=None, filename="a.bin"))


@pytest.mark.parametrize("error", [ValueError("there is no file"), StoredFileNotFound("file x is not in its storage")])
def test_an_upload_whose_attributes_fail_is_refused_with_their_reason(error: Exception) -> None:
    """As Django's FieldFile without a file. Our own exceptions stay as they are."""

    class Failing:
        filename = "a.bin"

        @property
        def file(self) -> object:
            raise error

    with pytest.raises((InvalidContent, StoredFileNotFound), match=str(error)):
        Content.of(Failing())


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("\uff0e\uff0e\uff0f\uff0e\uff0e\uff0f.bashrc", "______.bashrc"),
        ("a\uff0fb.txt", "a_b.txt"),
        ("\uff0e\uff0e\uff3cevil", "___evil"),
        ("\uff1aads", "_ads"),
        ("\uff050d\uff050a", "_0d_0a"),
        ("Zo\u00eb \u2100 \ufb00", "Zoe a_c ff"),
        ("x\u202ey\u200b\u00eb", "xye"),
    ],
)
def test_no_character_becomes_a_separator_for_old_clients(name: str, plain: str) -> None:
    """A full-width slash is part of a name, and stays one: a cleaned name is not normalised afterwards."""
    assert f'filename="{plain}"' in content_disposition("attachment", name)
