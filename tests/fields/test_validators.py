"""Validators, one by one, on candidates that no database knows."""

from __future__ import annotations

import gc
import io
import re
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from depot_lite.errors import (
    ConfigurationError,
    CountRefused,
    ImageRefused,
    InvalidContent,
    NameRefused,
    SeveralRefused,
    SizeRefused,
    TypeRefused,
    ValidationError,
)
from depot_lite.fields.validators import (
    ALLOWED_CHARACTERS,
    ALLOWED_EXTENSIONS,
    AUDIO_EXTENSIONS,
    DATA_EXTENSIONS,
    DOCUMENT_EXTENSIONS,
    IMAGE_EXTENSIONS,
    TEXT_EXTENSIONS,
    VIDEO_EXTENSIONS,
    Candidate,
    ContentTypes,
    Extensions,
    FileName,
    Image,
    MatchingType,
    MaxCount,
    Size,
    Validator,
)
from depot_lite.fields.validators.candidate import StoredCandidate
from depot_lite.fields.validators.names import executable_extension, extension_of
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.media_types.claims import contradicts_declaration, contradicts_name
from depot_lite.io.media_types.detection import Sample, recognise, type_for
from depot_lite.io.media_types.vocabulary import with_usual_extension
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.io.sizes import shown_size, size_of
from depot_lite.io.utils import file_from_content
from depot_lite.testing import BreakingFile
from tests.fields.contents import JPEG, PNG, Endless
from tests.support.streams import Stream

HTML = b"<!DOCTYPE html><script>alert(1)</script>"
PDF = b"%PDF-1.7 ..."


def refusal(validator: Any, content: Any = b"", name: str | None = None, declared: str | None = None) -> str | None:
    """Return a validator's message about a file, None if it passes."""
    candidate = Candidate.of(content, name, declared)
    if isinstance(validator, Validator):
        validator.prepare(candidate)
    try:
        validator(candidate)
    except ValidationError as error:
        return " | ".join(each.message for each in error.errors)
    return None


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (width, height), "red").save(file, kind)
    return file.getvalue()


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"content")  # without the time: the same bytes in each process
    return file.getvalue()


# --- candidates -------------------------------------------------------------------------------------------------------


def test_a_candidate_tells_about_a_file_and_leaves_it_as_it_was() -> None:
    """Its position does not move."""
    file = io.BytesIO(PDF)
    file.seek(3)
    candidate = Candidate.of(file, "plan.pdf", "text/plain")
    assert (candidate.filename, candidate.content_type, candidate.declared_type) == (
        "plan.pdf",
        "application/pdf",
        "text/plain",
    )
    assert (candidate.size, candidate.head()) == (len(PDF), PDF)
    with candidate.open() as opened:
        assert opened.read() == PDF
    assert file.tell() == 3
    assert repr(candidate) == "<Candidate 'plan.pdf'>"


def test_a_stream_can_be_looked_at_and_stored_afterwards(tmp_path: Path) -> None:
    """It is in a temporary file meanwhile, whose size is known."""
    content = Content.of(Endless(3_000_000), "a.bin")
    candidate = Candidate(content, "a.bin")
    assert (candidate.size, content.rereadable) == (None, False)
    for _ in range(2):
        with candidate.open() as opened:
            assert len(opened.read()) == 3_000_000
    assert (candidate.size, content.rereadable, content.labelled.fileinfo[0]) == (3_000_000, True, content)
    storage = LocalFileStorage(tmp_path, durable=False)
    for _ in range(2):
        with storage.get(storage.create(content)) as stored:
            assert (stored.content_length, stored.filename) == (3_000_000, "a.bin")


def test_a_file_that_looking_at_spooled_is_given_to_filedepots_helper_whole() -> None:
    """The user's stream has nothing more to give."""
    content = Content.of(Endless(10))
    content.spool()
    must_close, file = file_from_content(content)
    with file:
        assert (must_close, file.read()) == (True, b"x" * 10)


@pytest.mark.matrix
@pytest.mark.parametrize("size", [10, 2_000_000])
def test_the_temporary_file_goes_with_the_content(size: int) -> None:
    """Nobody has to close it, in memory or on disk."""
    content = Content.of(Endless(size))
    content.spool()
    with content.open() as file:
        raw = file.raw._file  # type: ignore[attr-defined]  # what lies below is what this is about
    assert (type(raw), raw.closed) == (tempfile.SpooledTemporaryFile, False)
    del content, file
    gc.collect()
    assert raw.closed


def test_a_stream_that_breaks_off_while_it_is_spooled_is_gone() -> None:
    """It says so, the second time too."""
    candidate = Candidate.of(BreakingFile(2_000_000), "a.bin")
    with pytest.raises(InvalidContent, match="the client has gone"), candidate.open():
        pass
    with pytest.raises(InvalidContent, match="can be stored only once"), candidate.open():
        pass


def test_a_name_can_be_set_to_a_clean_one_only() -> None:
    candidate = Candidate.of(b"", "a.txt")
    candidate.filename = "../b\x00.txt"
    assert candidate.filename == "b.txt"
    with pytest.raises(NameRefused, match="has no usable name"):
        candidate.filename = ".."
    assert candidate.filename == "b.txt"


def test_without_a_name_a_file_is_unnamed() -> None:
    assert Candidate.of(b"").filename == "unnamed"


def test_a_copy_tells_what_its_original_has_and_opens_it_for_its_bytes_only(tmp_path: Path) -> None:
    storage = LocalFileStorage(tmp_path, durable=False)
    file_id = storage.create(PNG, "a.png")
    asked: list[str] = []

    def find() -> Any:
        asked.append(file_id)
        return storage.get(file_id)

    candidate = StoredCandidate({"filename": "a.png", "content_type": "image/png", "size": 28}, find)
    candidate.limit(1, SizeRefused("never"))
    candidate.filename = "b.png"
    assert (candidate.filename, candidate.content_type, candidate.declared_type, candidate.size, asked) == (
        "a.png",
        "image/png",
        None,
        28,
        [],
    )
    for _ in range(2):
        with candidate.open() as opened:
            assert opened.read() == PNG
    assert asked == [file_id]
    candidate.close()
    candidate.close()
    old = StoredCandidate({}, find)  # a row of filedepot's may tell next to nothing
    assert (old.filename, old.content_type, old.size) == ("unnamed", "application/octet-stream", 28)
    old.close()


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        ("7", 7),
        ("7 B", 7),
        ("2kB", 2000),
        ("2 KB", 2000),
        ("2 KiB", 2048),
        ("1.5 MB", 1_500_000),
        ("10 MiB", 10 * 1024**2),
        (" 1 GB ", 1000**3),
        ("1GiB", 1024**3),
        ("0.5 KiB", 512),
    ],
)
def test_a_size_is_a_number_or_a_text_with_a_unit(text: int | str, size: int) -> None:
    assert size_of("max", text) == size


@pytest.mark.parametrize("value", ["", "ten", "-1", -1, 1.5, True, None, "1.3 B", "1 TB", "1 Mib/s", "1,5 MB", "٣"])
def test_what_is_no_size_is_a_mistake_in_the_configuration(value: Any) -> None:
    wanted = f"max={value!r}: expected a number of bytes, or a size such as '10 MiB' or '500 kB'"
    with pytest.raises(ConfigurationError, match=re.escape(wanted)):
        size_of("max", value)


@given(st.integers(0, 10**13))
def test_a_shown_size_is_within_a_twentieth_of_its_unit(size: int) -> None:
    shown = shown_size(size)
    number, unit = shown.split()
    exact = {"byte": 1, "bytes": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}[unit]
    assert abs(float(number) * exact - size) <= 0.051 * exact


@pytest.mark.parametrize(
    ("validator", "length", "expected"),
    [
        (Size(10), 10, None),
        (Size(10), 11, "is 11 bytes, at most 10 bytes are allowed"),
        (Size(1), 2, "is 2 bytes, at most 1 byte is allowed"),
        (Size("10 KiB"), 12595, "is 12.3 KiB, at most 10 KiB are allowed"),
        (Size("10 KiB"), 10241, "is 10241 bytes, at most 10240 bytes are allowed"),
        (Size("10 kB"), 12300, "is 12.3 kB, at most 10 kB are allowed"),
        (Size(min=1), 0, "is empty"),
        (Size(min=1), 1, None),
        (Size(min="1 KiB"), 3, "is 3 bytes, at least 1 KiB is needed"),
        (Size(min=5, max=9), 4, "is 4 bytes, at least 5 bytes are needed"),
    ],
    ids=repr,
)
def test_size_compares_the_number_of_bytes(validator: Size, length: int, expected: str | None) -> None:
    assert refusal(validator, b"x" * length) == expected
    assert refusal(validator, io.BytesIO(b"x" * length)) == expected


def test_a_refused_size_tells_programs_the_rule_the_limit_and_the_value() -> None:
    with pytest.raises(SizeRefused) as caught:
        Size("1 kB")(Candidate.of(bytes(2000)))
    assert (caught.value.rule, caught.value.limit, caught.value.value) == ("max_size", 1000, 2000)
    with pytest.raises(SizeRefused) as caught:
        Size(min=2)(Candidate.of(b"x"))
    assert (caught.value.rule, caught.value.limit, caught.value.value) == ("min_size", 2, 1)


@pytest.mark.parametrize("options", [{}, {"max": 1, "min": 2}, {"max": "much"}, {"min": "1 TB"}])
def test_a_size_that_cannot_be_is_refused_at_once(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        Size(**options)


def test_an_endless_stream_is_refused_one_byte_behind_the_limit(
    make_storage: Callable[[], FileStorage],
) -> None:
    """By the storage that reads it; nothing is left, and a second attempt is refused as the first was."""
    storage, stream = make_storage(), Endless()
    content = Content.of(stream, "a.bin")
    candidate = Candidate(content, "a.bin")
    Size("300 KiB").prepare(candidate)
    Size("300 KiB")(candidate)  # nobody knows yet
    for _ in range(2):
        with pytest.raises(SizeRefused, match=r"^is larger than 300 KiB$"):
            storage.create(content)
    assert (stream.taken, list(storage.list())) == (300 * 1024 + 1, [])


def test_a_stream_of_exactly_the_limit_is_stored(make_storage: Callable[[], FileStorage]) -> None:
    storage, stream = make_storage(), Endless(300 * 1024)
    content = Content.of(stream, "a.bin")
    candidate = Candidate(content, "a.bin")
    Size("300 KiB").prepare(candidate)
    with storage.get(storage.create(content)) as stored:
        assert stored.content_length == 300 * 1024


@pytest.mark.server
@pytest.mark.parametrize("limit", [300 * 1024, 9 * 1024**2])
def test_an_endless_stream_leaves_nothing_in_s3(limit: int) -> None:
    """Neither an object nor the parts of one, whose bytes are read in threads of boto3's."""
    from tests.io.s3_server import moto_server

    with moto_server() as server, server.bucket() as bucket:
        storage, stream = server.storage(bucket), Endless()
        content = Content.of(stream, "a.bin")
        Size(limit).prepare(Candidate(content, "a.bin"))
        with pytest.raises(SizeRefused, match="is larger than"):
            storage.create(content)
        assert (stream.taken, list(storage.list())) == (limit + 1, [])
        assert server.uploads(bucket) == []


@pytest.fixture(params=["local", "memory"])
def make_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], FileStorage]:
    if request.param == "memory":
        return MemoryFileStorage
    return lambda: LocalFileStorage(tmp_path / "files", durable=False)


def test_a_stream_is_refused_by_its_first_bytes_if_they_are_too_many() -> None:
    stream = Endless()
    candidate = Candidate.of(stream)
    assert candidate.content_type == "text/plain"
    assert stream.taken == 8192
    Size(100).prepare(candidate)
    with pytest.raises(SizeRefused, match=r"^is larger than 100 bytes$"):
        Size(100)(candidate)
    assert stream.taken == 8192


def test_the_first_bytes_of_a_stream_are_limited_too() -> None:
    stream = Endless()
    candidate = Candidate.of(stream)
    Size(100).prepare(candidate)
    for _ in range(2):
        with pytest.raises(SizeRefused, match=r"^is larger than 100 bytes$"):
            candidate.head()
    assert stream.taken == 101


def test_looking_at_an_endless_stream_stops_at_the_limit() -> None:
    """The lowest, whoever set it."""
    stream = Endless()
    candidate = Candidate.of(stream)
    for limit in (20_000, 10_000, 30_000):
        Size(limit).prepare(candidate)
    with pytest.raises(SizeRefused, match=r"^is larger than 9\.8 KiB$"), candidate.open():
        pass
    assert stream.taken == 10_001


def test_once_a_limit_is_gone_a_stream_that_broke_it_is_used_up() -> None:
    candidate = Candidate.of(Endless(200))
    Size(100).prepare(candidate)
    with pytest.raises(SizeRefused), candidate.open():
        pass
    candidate.limit(None, None)
    with pytest.raises(InvalidContent, match="can be stored only once"), candidate.open():
        pass


@pytest.mark.parametrize(
    ("length", "expected"), [(0, "is empty"), (1, "is 1 byte, at least 2 bytes are needed"), (2, None)]
)
def test_a_stream_is_long_enough_as_soon_as_its_first_bytes_are(length: int, expected: str | None) -> None:
    stream = Endless(length)
    assert refusal(Size(min=2), stream) == expected


def test_a_long_minimum_takes_the_whole_stream() -> None:
    assert refusal(Size(min=20_000), Endless(19_999)) == "is 19999 bytes, at least 20000 bytes are needed"
    assert refusal(Size(min=20_000), Endless(20_000)) is None


# --- content types ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name", "declared", "expected"),
    [
        (PNG, "a.png", None, None),
        (PNG, "a.exe", "text/html", None),
        (PDF, None, None, None),
        (b"a,b", "a.csv", None, "is text/csv, allowed: image/*, application/pdf"),
        (HTML, "a.png", "image/png", "is text/html, allowed: image/*, application/pdf"),
        (b"no image", "a.png", "image/png", "is text/plain, allowed: image/*, application/pdf"),
        (bytes(9), "a.png", "image/png", "is of an unknown type, allowed: image/*, application/pdf"),
        (b"", "a.png", "image/png", "is of an unknown type, allowed: image/*, application/pdf"),
        (bytes(9), "a.pdf", "application/pdf", "is of an unknown type, allowed: image/*, application/pdf"),
    ],
)
def test_content_types_go_by_the_bytes(content: bytes, name: str | None, declared: str | None, expected: str) -> None:
    """Neither a name nor the client can make an image of other bytes."""
    assert refusal(ContentTypes("IMAGE/*", "application/pdf"), content, name, declared) == expected


def test_text_is_what_it_is_called() -> None:
    """As its bytes tell no more."""
    assert refusal(ContentTypes("text/csv"), b"a,b", "a.csv") is None
    assert refusal(ContentTypes(" Text/CSV; charset=utf-8"), b"a,b", "a.csv") is None
    assert refusal(ContentTypes("text/csv"), b"a,b", "a.txt", "text/csv") is None
    assert refusal(ContentTypes("text/csv"), b"a,b", "a.txt") == "is text/plain, allowed: text/csv"


def test_an_office_document_is_proven_by_its_archive() -> None:
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    assert refusal(ContentTypes(word), zipped("[Content_Types].xml", "word/document.xml"), "a.docx") is None
    assert refusal(ContentTypes(word), b"no archive", "a.docx") == f"is text/plain, allowed: {word}"


@pytest.mark.parametrize("types", [(), ("image",), ("*/*",), ("image/p*",), ("/png",), ("image/",), (None,)])
def test_a_type_that_is_none_is_a_mistake_in_the_configuration(types: Any) -> None:
    with pytest.raises(ConfigurationError):
        ContentTypes(*types)


def test_validators_show_what_they_allow() -> None:
    assert repr(ContentTypes("image/*")) == "ContentTypes('image/*')"
    assert repr(Extensions("PDF", ".png")) == "Extensions('pdf', 'png')"
    assert repr(Extensions("pdf", double="allow")) == "Extensions('pdf', double='allow')"
    assert repr(Size("1 MB")) == "Size(max='1 MB', min=None)"
    assert repr(MaxCount(3)) == "MaxCount(count=3)"


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.pdf", None),
        ("A.PDF", None),
        ("backup.TAR.gz", None),
        ("v1.2 final.pdf", None),
        ("page.html.pdf", None),
        ("example.com.pdf", None),
        ("a.png", "has the extension 'png', allowed: pdf, tar.gz"),
        ("a.gz", "has the extension 'gz', allowed: pdf, tar.gz"),
        ("a", "has no extension, allowed: pdf, tar.gz"),
        (".pdf", "has no extension, allowed: pdf, tar.gz"),
        ("a.pdf.", "has no extension, allowed: pdf, tar.gz"),
        (None, "has no extension, allowed: pdf, tar.gz"),
        ("shell.php.pdf", "has the extension 'php' before its last one, which some servers would run"),
        ("shell.PHTML.x.pdf", "has the extension 'phtml' before its last one, which some servers would run"),
        (".php.pdf", "has the extension 'php' before its last one, which some servers would run"),
        ("shell.asp;.pdf", "has the extension 'asp' before its last one, which some servers would run"),
        ("shell.php .pdf", "has the extension 'php' before its last one, which some servers would run"),
        ("shell.php.tar.gz", "has the extension 'php' before its last one, which some servers would run"),
        ("shell.pdf.php", "has the extension 'php', allowed: pdf, tar.gz"),
    ],
)
def test_extensions_look_at_the_last_and_beware_of_those_before(name: str | None, expected: str | None) -> None:
    assert refusal(Extensions("pdf", ".Tar.GZ"), b"", name) == expected


def test_double_extensions_can_be_allowed() -> None:
    assert refusal(Extensions("jpg", double="allow"), b"", "shell.php.jpg") is None


def test_a_refused_extension_tells_programs_which() -> None:
    with pytest.raises(NameRefused) as caught:
        Extensions("pdf")(Candidate.of(b"", "a.exe"))
    assert (caught.value.rule, caught.value.limit, caught.value.value) == ("extension", ("pdf",), "exe")
    with pytest.raises(NameRefused) as caught:
        Extensions("pdf")(Candidate.of(b"", "a.exe.pdf"))
    assert (caught.value.rule, caught.value.value) == ("double_extension", "exe")


@pytest.mark.matrix
@given(st.text(max_size=40), st.sampled_from(["php", "PHP", "phtml", "php5", "asp", "jsp", "cgi"]))
def test_no_name_hides_an_extension_that_is_run(name: str, run: str) -> None:
    assert refusal(Extensions(*ALLOWED_EXTENSIONS), b"", f"{name}.{run}.jpg") is not None
    assert refusal(Extensions(*ALLOWED_EXTENSIONS), b"", f"{name}.{run}") is not None


@given(st.text(alphabet=st.characters(exclude_characters="./\\", exclude_categories=["C"]), min_size=1, max_size=40))
def test_a_name_with_one_dot_is_judged_by_what_is_behind_it(name: str) -> None:
    allowed = refusal(Extensions("jpg"), b"", f"x{name}.jpg")
    assert allowed is None


def test_the_groups_have_piccolos_names_and_what_is_in_them_there() -> None:
    groups = (
        (AUDIO_EXTENSIONS, {"mp3", "wav"}),
        (DATA_EXTENSIONS, {"csv", "tsv"}),
        (DOCUMENT_EXTENSIONS, {"pdf"}),
        (IMAGE_EXTENSIONS, {"gif", "jpeg", "jpg", "png", "svg", "tif", "webp"}),
        (TEXT_EXTENSIONS, {"rtf", "txt"}),
        (VIDEO_EXTENSIONS, {"mov", "mp4", "webm"}),
    )
    assert [piccolos - set(group) for group, piccolos in groups] == [set()] * 6
    assert sorted(ALLOWED_EXTENSIONS) == sorted(each for group, _ in groups for each in group)
    for each in ALLOWED_EXTENSIONS:
        assert refusal(Extensions(*ALLOWED_EXTENSIONS), b"", f"a.{each}") is None


@pytest.mark.parametrize("extensions", [(), ("",), (".",), (None,), ("a b",), ("a/b",), ("*",), (IMAGE_EXTENSIONS,)])
def test_an_extension_that_is_none_is_a_mistake_in_the_configuration(extensions: Any) -> None:
    with pytest.raises(ConfigurationError):
        Extensions(*extensions)
    with pytest.raises(ConfigurationError, match=re.escape("double='warn': expected 'refuse' or 'allow'")):
        Extensions("pdf", double="warn")  # type: ignore[arg-type]  # the test is about it


@pytest.mark.parametrize(
    ("validator", "name", "expected"),
    [
        (FileName(), "Plan_2 (final)-v1.0.pdf", None),
        (FileName(), "Übersicht & Co.pdf", "has characters in its name that are not allowed: Ü &"),
        (FileName(), "a!§$%&/b{}.txt", "has characters in its name that are not allowed: { }"),
        (FileName(), "!\u00a7$%&=.txt", "has characters in its name that are not allowed: ! \u00a7 $ % & ..."),
        (FileName(None), "Übersicht & Co.pdf", None),
        (FileName([*ALLOWED_CHARACTERS, "Ü"]), "Übersicht.pdf", None),
        (FileName(), ".profile", "has a name that begins with a dot"),
        (FileName(None), "wait..txt", "has two dots in a row in its name"),
        (FileName(None, dots="allow"), "..wait..txt", None),
        (FileName(max_length=5), "abc.pdf", "has a name of 7 characters, at most 5 are allowed"),
        (FileName(max_length=7), "abc.pdf", None),
        (
            FileName(max_length=3),
            ".ab\u00e9",
            "has a name that begins with a dot | has characters in its name that are not allowed: \u00e9"
            " | has a name of 4 characters, at most 3 are allowed",
        ),
    ],
)
def test_file_names_are_compared_character_by_character(validator: FileName, name: str, expected: str | None) -> None:
    assert refusal(validator, b"", name) == expected


@given(st.text(max_size=60))
def test_a_name_that_passes_has_nothing_but_allowed_characters(name: str) -> None:
    candidate = Candidate.of(b"", name)
    if refusal(FileName(), b"", name) is None:
        assert set(candidate.filename) <= set(ALLOWED_CHARACTERS)
        assert not candidate.filename.startswith(".")
        assert ".." not in candidate.filename


@pytest.mark.parametrize(
    "options", [{"characters": ""}, {"characters": ["ab"]}, {"characters": [1]}, {"max_length": 0}, {"dots": "keep"}]
)
def test_a_file_name_option_that_cannot_be_is_refused_at_once(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        FileName(**options)


# --- matching types ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (PNG, "a.png", None),
        (PNG, "A.PNG", None),
        (JPEG, "a.jpeg", None),
        (PNG, "a", None),
        (PNG, "a.unheard-of", None),
        (PNG, None, None),
        (b"", "a.png", None),
        (b"a,b", "a.csv", None),
        (b"# Title", "a.md", None),
        (b"{}", "a.json", None),
        (b"<?xml version='1.0'?><a/>", "a.xml", None),
        (b"<?xml version='1.0'?><a/>", "a.txt", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", None),
        (zipped("a"), "a.zip", None),
        (zipped("a"), "a.jar", None),
        (zipped("[Content_Types].xml", "word/document.xml"), "a.docx", None),
        (zipped("[Content_Types].xml", "word/document.xml"), "a.zip", None),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a.doc", None),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "encrypted.docx", None),
        (b"\x1f\x8b\x08" + bytes(20), "a.tar.gz", None),
        (b"\x1f\x8b\x08" + bytes(20), "a.svgz", None),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(12), "a.mov", None),
        (b"\x00\x00\x00\x18ftypM4A " + bytes(12), "a.mp4", None),
        (b"\xff\xfb\x90\x64" + bytes(100), "a.mp3", None),
        (b"II*\x00" + bytes(20), "a.tiff", None),
        (PDF, "a.ai", None),
        (JPEG, "a.png", "has the extension 'png' but is image/jpeg"),
        (HTML, "a.png", "has the extension 'png' but is text/html"),
        (HTML, "a.txt", "has the extension 'txt' but is text/html"),
        (PDF, "a.docx", "has the extension 'docx' but is application/pdf"),
        (zipped("a"), "a.pdf", "has the extension 'pdf' but is application/zip"),
        (b"no image", "a.png", "has the extension 'png' but is text/plain"),
        (b"no sound", "a.mp3", "has the extension 'mp3' but is text/plain"),
        (b"no archive", "a.docx", "has the extension 'docx' but is text/plain"),
        (bytes(9), "a.png", "has the extension 'png' but is of another type"),
    ],
)
def test_an_extension_must_not_contradict_the_bytes(content: bytes, name: str | None, expected: str | None) -> None:
    assert refusal(MatchingType(), content, name) == expected


@pytest.mark.parametrize(
    ("content", "declared", "expected"),
    [
        (PNG, None, None),
        (PNG, "application/octet-stream", None),
        (PNG, "binary/octet-stream", None),
        (PNG, "no type", None),
        (PNG, "image/x-png", None),
        (PNG, "image/png; name=a", None),
        (b"a,b", "text/plain", None),
        (b"a,b", "application/vnd.ms-excel", None),
        (HTML, "text/plain", None),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "application/x-zip-compressed", None),
        (b"<?xml version='1.0'?><a/>", "text/xml", None),
        (b"ID3\x03\x00" + bytes(20), "audio/mp3", None),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/x-wav", None),
        (PNG, "image/jpeg", "was sent as image/jpeg but is image/png"),
        (PNG, "text/plain", "was sent as text/plain but is image/png"),
        (HTML, "image/png", "was sent as image/png but is text/html"),
    ],
)
def test_a_declared_type_must_not_contradict_the_bytes(content: bytes, declared: str, expected: str | None) -> None:
    assert refusal(MatchingType(extension="ignore", declared="refuse"), content, "a.txt", declared) == expected
    assert refusal(MatchingType(extension="ignore"), content, "a.txt", declared) is None
    assert refusal(MatchingType(extension="ignore", declared="correct"), content, "a.txt", declared) is None


def test_both_contradictions_are_told() -> None:
    expected = "has the extension 'gif' but is image/png | was sent as image/jpeg but is image/png"
    assert refusal(MatchingType(declared="refuse"), PNG, "a.gif", "image/jpeg") == expected


@pytest.mark.parametrize(
    ("content", "name", "corrected"),
    [
        (JPEG, "photo.png", "photo.jpg"),
        (JPEG, "photo.jpeg", "photo.jpeg"),
        (JPEG, "photo.of.me.GIF", "photo.of.me.jpg"),
        (HTML, "photo.png", "photo.html"),
        (b"text", "photo.png", "photo.txt"),
        (PDF, "all.tar.gz", "all.pdf"),
        (JPEG, "photo", "photo"),
    ],
)
def test_a_wrong_extension_can_be_corrected(content: bytes, name: str, corrected: str) -> None:
    """Before other validators look at the name."""
    candidate = Candidate.of(content, name)
    MatchingType(extension="correct").prepare(candidate)
    MatchingType(extension="correct")(candidate)
    assert candidate.filename == corrected


def test_what_has_no_better_extension_is_refused() -> None:
    assert refusal(MatchingType(extension="correct"), bytes(9), "a.png") == (
        "has the extension 'png' but is of another type"
    )


def test_a_copy_keeps_its_name(tmp_path: Path) -> None:
    storage = LocalFileStorage(tmp_path, durable=False)
    file_id = storage.create(JPEG, "a.png")
    candidate = StoredCandidate({"filename": "a.png", "content_type": "image/jpeg"}, lambda: storage.get(file_id))
    MatchingType(extension="correct").prepare(candidate)
    MatchingType(extension="correct")(candidate)
    assert candidate.filename == "a.png"
    with pytest.raises(TypeRefused, match="has the extension 'png' but is image/jpeg"):
        MatchingType()(candidate)
    candidate.close()


@pytest.mark.parametrize("options", [{"extension": "mend"}, {"declared": None}])
def test_a_way_that_does_not_exist_is_refused_at_once(options: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected 'refuse' or 'correct' or 'ignore'"):
        MatchingType(**options)


@given(st.binary(max_size=300), st.text(max_size=20), st.sampled_from([None, "image/png", "text/plain", "x/y"]))
def test_whatever_the_bytes_and_the_names_types_are_found(head: bytes, name: str, claim: str | None) -> None:
    finding = recognise(Sample(head))
    assert "/" in type_for(finding, claim, name)
    assert claim is not None or not contradicts_declaration(finding, claim)
    assert not contradicts_declaration(finding, finding.media_type)
    assert not contradicts_name(finding, "name")
    assert extension_of(name) == extension_of(name).lower()
    assert executable_extension(name) is None or "." in name
    new = with_usual_extension(f"{name}.png", "image/jpeg")
    assert new is not None
    assert new.endswith(".jpg")


def test_names_from_macos_follow_the_rules_of_others() -> None:
    """There, letters and their accents are two characters each."""
    rule = FileName([*ALLOWED_CHARACTERS, *"äöüß"])
    assert refusal(rule, b"", "Pru\u0308fung Ma\u0308rz.pdf") is None


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"min_width": 40, "max_width": 40, "min_height": 20, "max_height": 20, "aspect_ratio": (2, 1)}, None),
        ({"formats": ["png"]}, None),
        ({"decode": False}, None),
        ({"min_ratio": 2, "max_ratio": 2.0}, None),
        ({"aspect_ratio": 1.99}, None),
        ({"min_width": 41}, "is 40 pixels wide, at least 41 are needed"),
        ({"max_width": 39}, "is 40 pixels wide, at most 39 are allowed"),
        ({"min_height": 21}, "is 20 pixels high, at least 21 are needed"),
        ({"max_height": 19}, "is 20 pixels high, at most 19 are allowed"),
        (
            {"max_width": 39, "max_height": 19},
            "is 40 pixels wide, at most 39 are allowed | is 20 pixels high, at most 19 are allowed",
        ),
        ({"min_ratio": 2.5}, "is 40 x 20 pixels, at least 2.5 times as wide as high is needed"),
        ({"max_ratio": 1}, "is 40 x 20 pixels, at most 1 times as wide as high is allowed"),
        ({"aspect_ratio": (16, 9)}, "is 40 x 20 pixels, expected a ratio of 16:9"),
        ({"aspect_ratio": (16, 9), "tolerance": 0.2}, None),
    ],
    ids=str,
)
def test_images_have_dimensions_within_limits(options: Any, expected: str | None) -> None:
    assert refusal(Image(**options), picture(40, 20)) == expected
    assert refusal(Image(**options), io.BytesIO(picture(40, 20))) == expected


@pytest.mark.parametrize(
    ("content", "options", "rule"),
    [
        (b"no image", {}, "format"),
        (picture(4, 4, "GIF"), {"formats": ["PNG", "JPG"]}, "format"),
        (picture(40, 20)[:-30], {}, "decodable"),
        (picture(40, 20), {"max_pixels": 799}, "max_pixels"),
    ],
)
def test_what_is_no_such_image_is_refused_for_one_reason(content: bytes, options: Any, rule: str) -> None:
    with pytest.raises(ImageRefused) as caught:
        Image(**options)(Candidate.of(content))
    assert caught.value.rule == rule


def test_an_image_that_breaks_off_passes_if_it_is_not_decoded() -> None:
    assert refusal(Image(decode=False), picture(40, 20)[:-30]) is None


def test_the_image_in_a_stream_can_be_stored_afterwards() -> None:
    data = picture(40, 20)

    content = Content.of(Stream(data))
    Image(min_width=40)(Candidate(content, "a.png"))
    with content.open() as file:
        assert file.read() == data


@pytest.mark.parametrize(
    "options",
    [
        {"formats": "PNG"},
        {"formats": []},
        {"formats": ["SVG"]},
        {"min_width": 0},
        {"max_height": 1.5},
        {"max_pixels": True},
        {"min_ratio": "2"},
        {"aspect_ratio": (16, 0)},
        {"aspect_ratio": (1, 2, 3)},
        {"tolerance": 1},
        {"min_width": 2, "max_width": 1},
        {"min_ratio": 2, "max_ratio": 1},
    ],
    ids=str,
)
def test_an_image_option_that_cannot_be_is_refused_at_once(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        Image(**options)


def test_an_image_need_not_be_looked_at_after_some_refusals() -> None:
    pointless = [TypeRefused("a"), SizeRefused("b"), ImageRefused("c", rule="decodable")]
    assert [Image().is_pointless([each]) for each in pointless] == [True] * 3
    others = [NameRefused("a"), ImageRefused("b", rule="min_width"), ValidationError("c")]
    assert not Image().is_pointless(others)


# --- lists ------------------------------------------------------------------------------------------------------------


def test_a_list_may_have_so_many_files() -> None:
    MaxCount(2).check_list(2)
    MaxCount(2)(Candidate.of(b""))
    with pytest.raises(CountRefused, match=r"^3 files, at most 2 are allowed$") as caught:
        MaxCount(2).check_list(3)
    assert (caught.value.rule, caught.value.limit, caught.value.value) == ("max_count", 2, 3)
    with pytest.raises(CountRefused, match=r"^2 files, 1 is allowed$"):
        MaxCount(1).check_list(2)


@pytest.mark.parametrize("count", [0, -1, "2", None, True])
def test_a_count_that_cannot_be_is_refused_at_once(count: Any) -> None:
    with pytest.raises(ConfigurationError):
        MaxCount(count)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_error_of_a_list_tells_which_element() -> None:
    error = SizeRefused("is empty", rule="min_size").at("Album.photos", "a.png", 2)
    assert (str(error), error.index, error.by_field) == (
        "Album.photos[2], 'a.png': is empty",
        2,
        {"photos": ["a.png: is empty"]},
    )
    several = SeveralRefused([error, SizeRefused("is large").at("Album.cover", "b.png")])
    assert several.by_field == {"photos": ["a.png: is empty"], "cover": ["is large"]}
