"""Detection of content types: by the bytes, then by the name, then by the declaration.

Names and declarations are only claims: an HTML page called ``photo.png`` must not be served as a photo, nor be accepted
by a column for photos. So

1. **bytes** that prove a type win: signatures (`depot_lite.io.media_types.signatures`), containers that are looked into
   (`depot_lite.io.media_types.structures`), and markup that browsers execute (`depot_lite.io.media_types.markup`);
2. among the types that the bytes allow, the **name** decides: a ZIP archive may be a ``.docx``, a text may be CSV;
3. then the **declaration**. ``text/plain`` and ``application/octet-stream`` are what clients send for anything, so they
   yield to the name; a declared kind of the name's type refines it.

Text never becomes a binary type, and bytes without a signature never a type whose files all have one. No charset is
added. Nothing of this depends on the machine. A stream that can be read once shows its first 8 KiB only. Bytes that are
appended to an image, for example, are not noticed.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import Final

from depot_lite.io.media_types.markup import markup
from depot_lite.io.media_types.sample import HEAD_SIZE, Finding, Sample, is_text
from depot_lite.io.media_types.signatures import SIGNATURES, TEXT_BEGINNINGS, Signature
from depot_lite.io.media_types.structures import STRUCTURES, at_the_end
from depot_lite.io.media_types.vocabulary import (
    OCTET_STREAM,
    TEXT,
    ancestors,
    canonical,
    matches,
    type_of_name,
    types_of_name,
    valid_media_type,
)

__all__ = ["HEAD_SIZE", "Finding", "Sample", "content_type_of", "recognise", "type_for", "type_of_name"]


def content_type_of(head: bytes, declared: str | None, filename: str | None) -> str:
    """Return the media type of a file from its first bytes, its declared type and its name.

    >>> content_type_of(b"<!DOCTYPE html><script>...", "image/png", "photo.png")
    'text/html'
    >>> content_type_of(b"a,b", "application/vnd.ms-excel", "a.csv"), content_type_of(b"# Title", None, "README.md")
    ('text/csv', 'text/markdown')
    """
    return type_for(recognise(Sample(head[:HEAD_SIZE])), declared, filename)


def type_for(finding: Finding, declared: str | None, filename: str | None) -> str:
    """Return the media type of a file with these bytes, this declared type and this name."""
    names, claim = [each for each in types_of_name(filename) if each != OCTET_STREAM], _declared(declared)
    if finding.media_type in names and finding.media_type != TEXT:
        named: str | None = finding.media_type
    else:
        named = next((each for each in names if _refines(finding, each)), None)
    # A name that says no more than that binary bytes are text says nothing.
    yields = named is None or (named == TEXT and finding.rest == "binary")
    if claim is not None and _refines(finding, claim) and (yields or matches(claim, named or TEXT)):
        return claim
    return named or finding.media_type


def _refines(finding: Finding, media_type: str) -> bool:
    """Return whether the bytes allow a type, and it is not merely a parent of the one that they show."""
    if media_type in ancestors(finding.media_type)[1:]:
        return media_type in finding.within
    return finding.allows(media_type)


def _declared(declared: str | None) -> str | None:
    if declared is None:
        return None
    claim = canonical(valid_media_type(declared) or OCTET_STREAM)
    return None if claim in (OCTET_STREAM, TEXT) else claim


# --- the bytes --------------------------------------------------------------------------------------------------------

# Some programs write up to 1 KiB before a PDF, and every reader skips it.
_LATE_PDF: Final = re.compile(rb"(?:\A|[\r\n]|[\x00-\x08\x0e-\x1f\x80-\xff])%PDF-[12]\.\d")
_BEFORE_PDF: Final = 1024


def recognise(sample: Sample) -> Finding:
    """Return the types that the bytes of a file allow."""
    head = sample.head
    if not head:
        return Finding(OCTET_STREAM, rest="binary")
    # A control character hides no page from a browser.
    page = markup(head)
    if page is not None and page.media_type in _PAGES:
        return page
    words: tuple[str, ...] = ()
    for media_type, is_word in matching(head):
        if is_word and is_text(head):
            words = (*words, media_type)
            continue
        structure = STRUCTURES.get(media_type)
        found = structure(sample) if structure else Finding(media_type, () if media_type == _PDF else (media_type,))
        if found is not None:
            return found
    textual = is_text(head)
    if page is not None and (textual or head[:2] in (b"<\x00", b"\x00<")):
        return page
    if head.find(b"%PDF-", 0, _BEFORE_PDF) >= 0 and _LATE_PDF.search(head, 0, _BEFORE_PDF):
        return Finding(_PDF)
    if not textual:
        return at_the_end(sample) or Finding(OCTET_STREAM, rest="binary")
    found = _text_kind(head)
    return Finding(found.media_type, words, "text") if words else found


_PAGES: Final = frozenset({"text/html", "application/xhtml+xml", "image/svg+xml"})
_PDF: Final = "application/pdf"

# A signature that is a word may also begin a text. GIF, PDF and RTF are recognised all the same.
_NO_WORDS: Final = frozenset({"image/gif", _PDF, "application/rtf", "application/postscript", "model/vnd.dwf"})
_LONGEST_WORD: Final = 7

# A signature: its size, its type, whether it is a word, and its parts.
_Row = tuple[int, str, bool, tuple[tuple[int, bytes], ...]]
# Signatures by their first bytes, for each pair of positions between which those are.
_index: Final[dict[tuple[int, int], dict[bytes, list[_Row]]]] = {}
# The same as a list, which is faster to go through.
_places: Final[list[tuple[int, int, dict[bytes, list[_Row]]]]] = []
_LONGEST_KEY: Final = 4


def add_signature(signature: Signature) -> None:
    """Add a signature, in the form of `depot_lite.io.media_types.signatures`."""
    media_type, *rest = signature
    parts = tuple(zip(rest[::2], rest[1::2], strict=True))
    size = sum(len(each) for _, each in parts)
    printable = all(32 <= byte < 127 for _, part in parts for byte in part)
    is_word = printable and size <= _LONGEST_WORD and media_type not in _NO_WORDS
    start, first = parts[0]
    key = first[:_LONGEST_KEY]
    place = (start, start + len(key))
    if place not in _index:
        _index[place] = {}
        _places.append((*place, _index[place]))
    _index[place].setdefault(key, []).append((size, media_type, is_word, parts))


for _each in SIGNATURES:
    add_signature(_each)


def matching(head: bytes) -> list[tuple[str, bool]]:
    """Return the types whose signatures match, and whether those are words; the longest signature first."""
    rows = [
        row
        for start, end, by_key in _places
        if (key := head[start:end]) in by_key
        for row in by_key[key]
        if all(head.startswith(part, at) for at, part in row[3])
    ]
    rows.sort(key=itemgetter(0), reverse=True)
    return [(media_type, is_word) for _, media_type, is_word, _ in rows]


# --- text without markup ----------------------------------------------------------------------------------------------

_SHEBANG: Final = re.compile(rb"#!\s*(?:/\S*/)?(?:env\s+(?:-\S+\s+)*)?(\w+)")
_INTERPRETERS: Final = (
    (b"python", "text/x-python"),
    (b"perl", "application/x-perl"),
    (b"ruby", "application/x-ruby"),
    (b"node", "text/javascript"),
    (b"php", "application/x-httpd-php"),
    (b"awk", "text/x-awk"),
    (b"lua", "text/x-lua"),
    (b"tclsh", "application/x-tcl"),
    (b"wish", "application/x-tcl"),
    (b"csh", "application/x-csh"),
    (b"tcsh", "application/x-csh"),
    (b"sh", "application/x-sh"),
    (b"bash", "application/x-sh"),
    (b"zsh", "application/x-sh"),
    (b"dash", "application/x-sh"),
    (b"ksh", "application/x-sh"),
)
_FIRST_LINES: Final = (
    (re.compile(rb"\s*\d+\r?\n\d\d:\d\d:\d\d[,.]\d{3} -->"), "application/x-subrip"),
    (re.compile(rb"From \S+ +\w{3} \w{3} +\d+ \d\d:\d\d:\d\d"), "application/mbox"),
    (
        re.compile(rb"(?:Received|Return-Path|Delivered-To|X-Original-To|Message-ID|MIME-Version): .", re.I),
        "message/rfc822",
    ),
    (re.compile(rb"\s*(?:999\r?\n[^\n]*\n\s*)*+0\s*\r?\n\s*SECTION\s"), "image/vnd.dxf"),
    (re.compile(rb"solid\b[^\n]*\n\s*facet\s"), "model/stl"),
    (re.compile(rb"\{\d+\}\{\d+\}"), "text/x-microdvd"),
    (re.compile(rb":[0-9A-F]{8}[0-9A-F]*\r?\n:"), "application/x-intel-hex"),
    (re.compile(rb"S0[0-9A-F]{6,}\r?\nS[1-3]"), "application/x-srecord"),
    (re.compile(rb"#define\s+\w+_width\s+\d+"), "image/x-xbitmap"),
)


def _text_kind(head: bytes) -> Finding:
    """Return the type of a text without markup; a name or a declaration may choose another text type."""
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    found = next((media_type for beginning, media_type in TEXT_BEGINNINGS if first.startswith(beginning)), None)
    if found is None and first.startswith(b"#!"):
        shebang = _SHEBANG.match(first)
        program = shebang[1].rstrip(b"0123456789.") if shebang else b""
        found = next((media_type for name, media_type in _INTERPRETERS if program == name), None)
    if found is None:
        found = next((media_type for pattern, media_type in _FIRST_LINES if pattern.match(first)), TEXT)
    return Finding(found, rest="text")
