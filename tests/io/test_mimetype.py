"""Content types: those of the bytes, compared with the declared one and with that of the name."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import time
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depot_lite.io.media_types import valid_media_type
from depot_lite.io.media_types.detection import HEAD_SIZE, content_type_of

_UNKNOWN = "application/octet-stream"
_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_ODT = "application/vnd.oasis.opendocument.text"


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(4))) + chunk(b"IEND", b"")


def _zip(*entries: tuple[str, bytes], stored: bool = False) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, archive.compression)
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


def _ftyp(major: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + major + bytes(4) + b"".join(compatible)
    return struct.pack(">I", len(body) + 4) + body + bytes(100)


def _ebml(doc_type: bytes) -> bytes:
    element = b"\x42\x86\x81\x01\x42\x82" + bytes([0x80 | len(doc_type)]) + doc_type
    return b"\x1aE\xdf\xa3" + bytes([0x80 | len(element)]) + element + bytes(100)


def _ogg(codec: bytes) -> bytes:
    return b"OggS\x00\x02" + bytes(20) + b"\x01\x1e" + codec + bytes(60)


def _bmp() -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 58, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0)
        + bytes(4)
    )


def _pe() -> bytes:
    return b"MZ" + bytes(58) + struct.pack("<I", 128) + bytes(64) + b"PE\x00\x00" + bytes(20)


_TOLD_BY_THE_BYTES = [
    (_png(), "image/png"),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(50), "image/jpeg"),
    (b"GIF89a" + bytes(50), "image/gif"),
    (_bmp(), "image/bmp"),
    (b"\x00\x00\x01\x00\x01\x00\x10\x10\x00\x00" + bytes(50), "image/vnd.microsoft.icon"),
    (b"\x00\x00\x01\x00\x01\x00\x10\x10\x00\xff" + bytes(50), "image/vnd.microsoft.icon"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n\x00\x00\x00\x14ftypjp2 " + bytes(50), "image/jp2"),
    (b"\xff\x4f\xff\x51" + bytes(50), "image/j2c"),
    (b"II*\x00" + bytes(50), "image/tiff"),
    (b"P6\n# made by hand\n2 2\n255\n" + bytes(12), "image/x-portable-pixmap"),
    (b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(50), "image/webp"),
    (b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(50), "audio/wav"),
    (b"RIFF\x24\x00\x00\x00AVI LIST" + bytes(50), "video/x-msvideo"),
    (b"FORM\x00\x00\x00\x24AIFF" + bytes(50), "audio/x-aiff"),
    (_ftyp(b"isom", b"isom", b"avc1"), "video/mp4"),
    (_ftyp(b"mp42"), "video/mp4"),
    (_ftyp(b"qt  "), "video/quicktime"),
    (b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat" + bytes(50), "video/quicktime"),
    (_ftyp(b"M4A ", b"isom"), "audio/mp4"),
    (_ftyp(b"M4V "), "video/x-m4v"),
    (_ftyp(b"3gp5"), "video/3gpp"),
    (_ftyp(b"3g2a"), "video/3gpp2"),
    (_ftyp(b"avif", b"mif1"), "image/avif"),
    (_ftyp(b"heic", b"mif1"), "image/heic"),
    (_ftyp(b"mif1", b"mif1", b"heic"), "image/heic"),
    (_ftyp(b"mif1", b"miaf", b"avif"), "image/avif"),
    (_ftyp(b"mif1", b"miaf"), "image/heif"),
    (_ebml(b"webm"), "video/webm"),
    (_ebml(b"matroska"), "video/x-matroska"),
    (_ogg(b"\x01vorbis"), "audio/ogg"),
    (_ogg(b"OpusHead"), "audio/ogg"),
    (_ogg(b"\x80theora"), "video/ogg"),
    (_ogg(b"fishead\x00"), "application/ogg"),
    (b"fLaC\x00\x00\x00\x22" + bytes(50), "audio/flac"),
    (b"ID3\x04\x00\x00" + bytes(50), "audio/mpeg"),
    (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
    (b"{\\rtf1\\ansi hello}", "application/rtf"),
    (b"%!PS-Adobe-3.0\n", "application/postscript"),
    (gzip.compress(b"hello"), "application/gzip"),
    (_zip(("a.txt", b"hello")), "application/zip"),
    (b"PK\x05\x06" + bytes(18), "application/zip"),
    (_zip(("mimetype", b"application/epub+zip"), stored=True), "application/epub+zip"),
    (_zip(("mimetype", _ODT.encode()), stored=True), _ODT),
    (_zip(("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<w/>")), _DOCX),
    (_zip(("[Content_Types].xml", b"<Types/>"), ("xl/workbook.xml", b"<w/>")), _XLSX),
    (_tar(), "application/x-tar"),
    (b"7z\xbc\xaf'\x1c" + bytes(50), "application/x-7z-compressed"),
    (b"SQLite format 3\x00" + bytes(50), "application/vnd.sqlite3"),
    (_pe(), "application/vnd.microsoft.portable-executable"),
    (b"\x7fELF\x02\x01\x01" + bytes(50), "application/x-executable"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "application/x-ole-storage"),
    (b"wOF2" + bytes(50), "font/woff2"),
    (b"gimp xcf file\x00" + bytes(50), "image/x-xcf"),
    (b"\xed\xab\xee\xdb\x03\x00" + bytes(50), "application/x-rpm"),
    (b"!<arch>\ndebian-binary   \x00" + bytes(50), "application/vnd.debian.binary-package"),
]


@pytest.mark.parametrize(
    ("head", "expected"),
    _TOLD_BY_THE_BYTES,
    ids=[each[1] for each in _TOLD_BY_THE_BYTES],
)
def test_the_bytes_win_over_what_is_declared_and_over_the_name(head: bytes, expected: str) -> None:
    """Alone, and against a wrong type and a wrong name."""
    assert content_type_of(head, None, None) == expected
    assert content_type_of(head, "text/html", "page.html") == expected
    assert content_type_of(head, "text/plain; charset=utf-8", "shell.php.txt") == expected


def test_a_polyglot_is_what_its_signature_says() -> None:
    """A GIF that goes on as HTML is a GIF, and is served as one."""
    assert content_type_of(b"GIF89a/*<html><script>alert(1)</script>", "text/html", "x.html") == "image/gif"


@pytest.mark.parametrize(
    "head",
    [
        b"BM is short for benchmark",
        b"MZ, the initials",
        b"P6 is a chip",
        b"P1 1",
        b"if it rains",
        b"ID3 is a decision tree",
        b"FORM of the sonnet",
        b"RIFF in E minor",
        b"From: me\nSubject: hi\n",
        b"Version 2.0 of the plan",
        b"DOS and don'ts",
        b"CWS 1.0\nnotes",
        b"#define ANSWER 42",
        b"--- a/file\n+++ b/file",
        b"{1} and {0}",
        b"GATTACA" * 200,
        b"G" * 1000,
        b"2 < 3 and <<here>>",
        b"<3",
    ],
    ids=repr,
)
def test_a_text_that_begins_like_a_signature_stays_text(head: bytes) -> None:
    """Words at the start of a text prove nothing."""
    assert content_type_of(head, None, None) == "text/plain"
    assert content_type_of(head, "text/x-notes", None) == "text/x-notes"


@pytest.mark.parametrize(
    "head", [b"BM\x00\x01\x02\x03" * 20, b"MZ\x00\x01" * 40, b"\x00" * 600, b"\x00\x01\x00\x00"], ids=repr
)
def test_a_short_signature_without_its_header_tells_nothing(head: bytes) -> None:
    """Two bytes occur by chance in one file of 65536."""
    assert content_type_of(head, None, None) == _UNKNOWN
    assert content_type_of(head, "application/x-mine", "a.png") == "application/x-mine"


@pytest.mark.parametrize(
    ("declared", "filename", "expected"),
    [
        ("text/csv", "table.txt", "text/csv"),
        (None, "table.csv", "text/csv"),
        (None, "data.json", "application/json"),
        (None, "README.MD", "text/markdown"),
        ("application/octet-stream", "notes.md", "text/markdown"),
        ("application/octet-stream", None, "text/plain"),
        ("not a type", "table.csv", "text/csv"),
        (None, "unknown.qqq", "text/plain"),
        (None, "archive.tar.gz", "text/plain"),
        ("application/vnd.ms-excel", "prices.csv", "text/csv"),
        ("text/plain", "README.md", "text/markdown"),
        ("text/html", "notes.txt", "text/plain"),
        ("image/png", None, "text/plain"),
        ("video/mp2t", "index.ts", "text/x-typescript"),
        (None, "data:text/html,x", "text/plain"),
        (None, None, "text/plain"),
    ],
)
def test_text_is_what_it_is_called_then_declared_then_plain(
    declared: str | None, filename: str | None, expected: str
) -> None:
    """Nothing but that it is text can be seen in the bytes."""
    assert content_type_of(b"a,b\n1,2\n", declared, filename) == expected


def test_an_empty_file_is_what_it_is_declared_or_called() -> None:
    """No bytes tell nothing, not even that it is text."""
    assert content_type_of(b"", "text/csv", None) == "text/csv"
    assert content_type_of(b"", None, "a.csv") == "text/csv"
    assert content_type_of(b"", None, None) == _UNKNOWN


@pytest.mark.parametrize(
    ("declared", "filename", "expected"),
    [
        (_XLSX, None, _XLSX),
        (None, "report.docx", _DOCX),
        ("application/zip", "report.docx", _DOCX),
        ("application/x-zip-compressed", "files.zip", "application/zip"),
        (None, "book.epub", "application/epub+zip"),
        (None, "letter.odt", _ODT),
        ("application/vnd.ms-excel.sheet.macroEnabled.12", None, "application/vnd.ms-excel.sheet.macroenabled.12"),
        ("image/png", "photo.png", "application/zip"),
        ("text/html", None, "application/zip"),
    ],
)
def test_a_zip_archive_is_refined_by_a_claim_of_its_family_only(
    declared: str | None, filename: str | None, expected: str
) -> None:
    """An office file is one where the claim says so; an image it never is."""
    assert content_type_of(_zip(("a.xml", b"<a/>")), declared, filename) == expected


def test_a_zip_archive_that_names_a_foreign_type_is_not_believed() -> None:
    """The ``mimetype`` entry comes from the user too."""
    assert content_type_of(_zip(("mimetype", b"text/html"), stored=True), None, None) == "application/zip"
    assert content_type_of(_zip(("mimetype", b"x\r\ny"), stored=True), None, None) == "application/zip"


def test_an_old_office_file_is_refined_by_a_claim_of_its_family_only() -> None:
    """Word, Excel and PowerPoint of the nineties begin alike."""
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    assert content_type_of(head, None, "a.doc") == "application/msword"
    assert content_type_of(head, "application/vnd.ms-excel", "a.doc") == "application/msword"
    assert content_type_of(head, "application/vnd.ms-excel", None) == "application/vnd.ms-excel"
    assert content_type_of(head, "image/png", None) == "application/x-ole-storage"


def test_sound_without_pictures_is_refined_by_a_claim() -> None:
    """The first bytes of an MP4 or WebM do not tell whether there is a picture."""
    assert content_type_of(_ftyp(b"isom"), "audio/mp4", None) == "audio/mp4"
    assert content_type_of(_ebml(b"webm"), "audio/webm", None) == "audio/webm"
    assert content_type_of(_ftyp(b"isom"), "image/png", None) == "video/mp4"
    asf = b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa\x00b\xcel" + bytes(50)
    assert content_type_of(asf, "audio/x-ms-wma", None) == "audio/x-ms-wma"
    assert content_type_of(asf, None, "film.wmv") == "video/x-ms-wmv"
    assert content_type_of(asf, "image/png", None) == "video/x-ms-asf"


def test_an_ebml_file_of_another_kind_is_what_it_is_declared() -> None:
    """The container is known and its content is not."""
    assert content_type_of(_ebml(b"other"), "application/x-other", None) == "application/x-other"
    assert content_type_of(_ebml(b"other"), None, None) == _UNKNOWN


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("Image/PNG", "image/png"),
        ("text/plain; charset=utf-8", "text/plain"),
        (" text/plain ", "text/plain"),
        ("application/vnd.api+json", "application/vnd.api+json"),
        ("text/plain\r\nX-Evil: 1", None),
        ("text/plain\n", None),
        ('text/"plain"', None),
        ("text/plain, text/html", None),
        ("text", None),
        ("text/", None),
        ("/plain", None),
        ("text/pl\u00e4in", None),
        ("text/<script>", None),
        ("", None),
        (None, None),
        ("text/" + "x" * 200, None),
    ],
)
def test_only_a_well_formed_declared_type_counts(declared: str | None, expected: str | None) -> None:
    """RFC 9110 section 8.3.1; parameters are dropped, letters lower-cased."""
    assert valid_media_type(declared) == expected


@given(
    head=st.binary(max_size=400), declared=st.none() | st.text(max_size=40), filename=st.none() | st.text(max_size=40)
)
def test_the_result_is_always_a_well_formed_type(head: bytes, declared: str | None, filename: str | None) -> None:
    """Whatever comes in, the result can stand in a header."""
    found = content_type_of(head, declared, filename)
    assert valid_media_type(found) == found


@pytest.mark.parametrize(
    "head",
    [
        b"<!--a-->" * 1024,
        b"<!--" * 2048,
        b"<?" * 4096,
        b"<!doctype [" * 745,
        b"<!doctype x" + b"[]" * 4000,
        b"<" + b"a:" * 4095,
        b"P1 " + b"#\n \n" * 2048,
        b"P1" + b" " * 8000,
        b"PK\x03\x04" * 2048,
        b"OggS\x00" + b"\x01" * 8000,
        b"<!--a--><?b?>" * 600 + b"<!doctype ",
        b"#!" + b"/" * 8000,
        b"#!env" + b" -a" * 2700,
        b"999\n\n" * 1600,
        b"1" * 8000,
        b"<a " + b"office:mimetype =" * 480,
        b"\n%PDF-" * 1300,
        b"ID3\x03\x00\x00\x7f\x7f\x7f\x7f" + b"\xff\xfb" * 4000,
        b"\xff\xfb\x90\x64" * 2000,
    ],
    ids=lambda head: repr(head[:20]),
)
def test_hostile_bytes_take_no_longer_than_harmless_ones(head: bytes) -> None:
    """No pattern backtracks for ever: the worst takes under 50 ms where a careless one takes hours.

    Of this thread's processor time: other processes do not count.
    """
    content_type_of(head, None, None)  # the table of signatures is made at the first call
    started = time.thread_time()
    content_type_of(head, "image/png", "a.png")
    assert time.thread_time() - started < 0.05


def test_nothing_behind_the_head_is_looked_at() -> None:
    """The bytes after HEAD_SIZE make no difference, so a file may be given whole."""
    assert content_type_of(b" " * HEAD_SIZE + b"<svg/>", "image/png", None) == "text/plain"
    assert content_type_of(b" " * (HEAD_SIZE - 10) + b"<svg/>", "image/png", None) == "image/svg+xml"
