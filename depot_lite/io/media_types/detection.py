"""Detection of content types: from the bytes if they reveal it, else as declared, else from the name.

Declared types and names are only claims: an HTML page called ``photo.png`` must not be served as a photo, nor be
accepted by a column for photos. So the first bytes have precedence:

- **Signatures.** `depot_lite.io.media_types.signatures` has the common formats, with their registered names. Rarer
  ones come from puremagic, a maintained library in pure Python, if the match is convincing: at least four bytes, three
  of them distinctive, in a binary file. Two bytes (``BM``, ``MZ``, ``P6``) suffice only if a matching header follows.
- **Containers.** ZIP archives, MP4, Ogg and RIFF files are examined further. If only the family can be determined (a
  ZIP archive that may be a ``.docx``), a declared type or a name of that family refines it.
- **Markup.** HTML, SVG and XML, which browsers execute, are recognised by `depot_lite.io.media_types.markup`.

The type of other text cannot be determined: CSV, JSON and Markdown have the declared type or that of the name, else
``text/plain``. No charset is added. Limits: the end of a file is never read, so bytes appended to an image are not
noticed, and a type declared for bytes without a known signature is accepted.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

import puremagic

from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.media_types.markup import markup_type
from depot_lite.io.media_types.signatures import signature_type

#: The number of bytes from the start of a file that `content_type_of` uses.
HEAD_SIZE: Final = 8192


# RFC 9110 section 8.3.1: type "/" subtype, both of them tokens. Tokens contain no quotes and no line breaks, which
# could end a header or an HTML attribute. The length limit is in RFC 6838 section 4.2.
_MEDIA_TYPE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,127}/[!#$%&'*+.^_`|~0-9a-z-]{1,127}")


def content_type_of(head: bytes, declared: str | None, filename: str | None) -> str:
    """Return the media type of a file from its first bytes, its declared type and its name.

    A declared ``application/octet-stream`` is ignored, since clients send it for unknown types.

    >>> content_type_of(b"<!DOCTYPE html><script>...", "image/png", "photo.png")
    'text/html'
    >>> content_type_of(b"a,b", "text/csv; charset=utf-8", None), content_type_of(b"# Title", None, "README.md")
    ('text/csv', 'text/markdown')
    """
    head = head[:HEAD_SIZE]
    claims = [
        claim for claim in (valid_media_type(declared), type_of_name(filename)) if claim and claim != OCTET_STREAM
    ]
    found = _from_bytes(head, claims)
    if found is not None:
        return found
    if claims:
        return claims[0]
    return "text/plain" if head and _is_text(head) else OCTET_STREAM


@lru_cache(maxsize=256)
def valid_media_type(declared: str | None) -> str | None:
    r"""Return ``type/subtype`` in lower case without parameters, or None if it is malformed.

    >>> valid_media_type("Text/HTML; charset=utf-8"), valid_media_type('image/png\r\nSet-Cookie: a="b"')
    ('text/html', None)
    """
    if declared is None:
        return None
    media_type = declared.partition(";")[0].strip(" \t").lower()
    return media_type if _MEDIA_TYPE.fullmatch(media_type) else None


def _from_bytes(head: bytes, claims: list[str]) -> str | None:
    for detect in _DETECTORS:
        found = detect(head, claims)
        if found is not None:
            return found
    return None


def _is_text(head: bytes) -> bool:
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or not _CONTROL_BYTES.search(head)


# The bytes that do not occur in text (WHATWG MIME Sniffing, section 3, "binary data byte").
_CONTROL_BYTES: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")

# --- names ------------------------------------------------------------------------------------------------------------

# Types that `mimetypes` of Python 3.11 lacks on systems without a table of their own.
_TYPES_BY_EXTENSION: Final = {
    ".7z": "application/x-7z-compressed",
    ".avif": "image/avif",
    ".docm": "application/vnd.ms-word.document.macroenabled.12",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".jar": "application/java-archive",
    ".jxl": "image/jxl",
    ".kmz": "application/vnd.google-earth.kmz",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".mkv": "video/x-matroska",
    ".odg": "application/vnd.oasis.opendocument.graphics",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".pptm": "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rar": "application/vnd.rar",
    ".rtf": "application/rtf",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xlsm": "application/vnd.ms-excel.sheet.macroenabled.12",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}
_ENCODINGS: Final = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


def type_of_name(filename: str | None) -> str | None:
    """Return the media type that belongs to the extension of a name; None if it is not known.

    >>> type_of_name("plan.pdf"), type_of_name("plan"), type_of_name("all.tar.gz")
    ('application/pdf', None, 'application/gzip')
    """
    if not filename:
        return None
    # Without the folder in front, a file called "data:text/html,x" would be taken for a URL.
    guessed, encoding = mimetypes.guess_type(f"./{filename}", strict=False)
    if encoding is not None:
        return _ENCODINGS.get(encoding)
    extension = filename[filename.rfind(".") :].lower() if "." in filename else ""
    found = valid_media_type(_TYPES_BY_EXTENSION.get(extension) or guessed)
    return None if found == OCTET_STREAM else found


# --- the library ------------------------------------------------------------------------------------------------------


def _library(head: bytes, claims: list[str]) -> str | None:
    """Return the type by puremagic. If its longest signature has several types, a claim among them decides."""
    if not head or _is_text(head):
        return None
    longest, candidates = 0, set[str]()
    for signature, media_type in _library_matches(head):
        if len(signature) > longest:
            longest, candidates = len(signature), {media_type}
        elif len(signature) == longest:
            candidates.add(media_type)
    if len(candidates) == 1:
        return next(iter(candidates))
    return next((claim for claim in claims if claim in candidates), None)


def _library_matches(head: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the convincing signatures that puremagic finds, with their types."""
    try:
        rows = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):  # no match
        return
    for row in rows:
        name = row.mime_type.lower()
        media_type = _NAMES.get(name, name)
        if _convinces(row.offset, row.byte_match) and _is_specific(media_type):
            yield row.byte_match, media_type


def _convinces(offset: int, signature: bytes) -> bool:
    # A backslash is an escape that puremagic's table has lost. The containers listed below have their own functions.
    distinctive = signature.translate(None, b"\x00\x01\x02\x03\x04\xff ")
    return (
        (offset == 0 or len(signature) >= 8)
        and len(signature) >= 4
        and len(distinctive) >= 3
        and b"\\" not in signature
        and not signature.startswith((b"<", b"PK", b"RIFF", b"FORM", b"OggS"))
    )


def _is_specific(media_type: str) -> bool:
    # The library is used for binary files only, not for mail and text.
    general = media_type == OCTET_STREAM or media_type.startswith(("text/", "message/"))
    return not general and valid_media_type(media_type) is not None


# The registered or more common names of some of puremagic's types.
_NAMES: Final = {
    "application/java": "application/java-vm",
    "application/vnd.ms-asf": "video/x-ms-asf",
    "windows/metafile": "image/wmf",
}

# --- containers -------------------------------------------------------------------------------------------------------


def _claimed(family: re.Pattern[str], claims: list[str], otherwise: str) -> str:
    """Return the first claim that belongs to this family, or ``otherwise``."""
    return next((claim for claim in claims if family.fullmatch(claim)), otherwise)


_IN_ZIP: Final = re.compile(
    r".+\+zip|application/(?:vnd\.openxmlformats-officedocument\..+|vnd\.oasis\.opendocument\..+|vnd\.ms-.+\.macroenabled\.12"
    r"|java-archive|vnd\.android\.package-archive|vnd\.google-earth\.kmz|vnd\.ms-xpsdocument|oxps|x-xpinstall|x-krita"
    r"|vnd\.apple\.(?:pages|numbers|keynote)|vnd\.comicbook\+zip|vnd\.geogebra\.file|vnd\.sketch)|model/3mf"
    r"|image/openraster"
)
_IN_OLE: Final = re.compile(
    r"application/(?:msword|vnd\.ms-(?:excel|powerpoint|outlook|project|works)|vnd\.visio|x-msi|x-mspublisher|hwp|x-hwp"
    r"|vnd\.hancom\.hwp)"
)
_AUDIO_OR_VIDEO: Final = {
    "mp4": re.compile(r"audio/mp4|video/mp4|video/x-m4v"),
    "webm": re.compile(r"audio/webm|video/webm"),
    "matroska": re.compile(r"(?:audio|video)/(?:x-)?matroska(?:-3d)?"),
    "ogg": re.compile(r"(?:audio|video|application)/ogg"),
    "asf": re.compile(r"audio/x-ms-wma|video/x-ms-wmv|video/x-ms-asf"),
}
# The first entry of an OpenDocument or EPUB file is its type, stored uncompressed.
_ZIP_MIMETYPE: Final = re.compile(rb"PK\x03\x04.{4}\x00\x00.{16}\x08\x00..mimetype", re.DOTALL)
_OFFICE_FOLDERS: Final = re.compile(rb"PK\x03\x04.{26}(word|xl|ppt)/", re.DOTALL)
_OFFICE: Final = {b"word": ".docx", b"xl": ".xlsx", b"ppt": ".pptx"}


def _zip(head: bytes, claims: list[str]) -> str | None:
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return None
    if _ZIP_MIMETYPE.match(head):
        size, extra = int.from_bytes(head[22:26], "little"), int.from_bytes(head[28:30], "little")
        stored = valid_media_type(head[38 + extra : 38 + extra + size].decode("latin-1"))
        if stored is not None and _IN_ZIP.fullmatch(stored):
            return stored
    folder = _OFFICE_FOLDERS.search(head)
    return _claimed(_IN_ZIP, claims, _TYPES_BY_EXTENSION[_OFFICE[folder[1]]] if folder else "application/zip")


def _ole(head: bytes, claims: list[str]) -> str | None:
    if not head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return None
    return _claimed(_IN_OLE, claims, "application/x-ole-storage")


_BRANDS: Final = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"hevc": "image/heic-sequence",
    b"hevx": "image/heic-sequence",
    b"mif1": "image/heif",
    b"msf1": "image/heif-sequence",
    b"crx ": "image/x-canon-cr3",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"M4P ": "audio/mp4",
    b"M4V ": "video/x-m4v",
    b"M4VH": "video/x-m4v",
}


def _iso_media(head: bytes, claims: list[str]) -> str | None:
    """Return the type by the brands of MP4, QuickTime, HEIF and AVIF files (ISO 14496-12, section 4.3)."""
    if head[4:8] in (b"moov", b"mdat", b"wide") and not _is_text(head):
        return "video/quicktime"
    if head[4:8] != b"ftyp":
        return None
    major = head[8:12]
    if major in (b"mif1", b"msf1"):
        # The general brand of images; the compatible brands name the codec.
        end = min(int.from_bytes(head[:4], "big"), 256)
        compatible = [head[start : start + 4] for start in range(16, end, 4)]
        major = next((brand for brand in compatible if brand in (b"avif", b"avis", b"heic", b"heix", b"hevc")), major)
    if major in _BRANDS:
        return _BRANDS[major]
    if major.startswith(b"3g2"):
        return "video/3gpp2"
    if major.startswith(b"3g"):
        return "video/3gpp"
    return _claimed(_AUDIO_OR_VIDEO["mp4"], claims, "video/mp4")


def _matroska(head: bytes, claims: list[str]) -> str | None:
    """Return the type by the DocType (0x4282) of the EBML header (RFC 8794, section 11.2.6)."""
    if not head.startswith(b"\x1aE\xdf\xa3"):
        return None
    doc_type = re.search(rb"\x42\x82[\x81-\x90](webm|matroska)", head[:256])
    if doc_type is None:
        return None
    if doc_type[1] == b"webm":
        return _claimed(_AUDIO_OR_VIDEO["webm"], claims, "video/webm")
    return _claimed(_AUDIO_OR_VIDEO["matroska"], claims, "video/x-matroska")


def _ogg(head: bytes, claims: list[str]) -> str | None:
    """Return the type by the codecs, whose pages come first (RFC 5334)."""
    if not head.startswith(b"OggS\x00"):
        return None
    if b"\x80theora" in head:
        return "video/ogg"
    if re.search(rb"\x01vorbis|OpusHead|\x7fFLAC|Speex   ", head[:512]):
        return "audio/ogg"
    return _claimed(_AUDIO_OR_VIDEO["ogg"], claims, "application/ogg")


_CHUNKED: Final = {
    (b"RIFF", b"WAVE"): "audio/wav",
    (b"RIFF", b"AVI "): "video/x-msvideo",
    (b"RIFF", b"WEBP"): "image/webp",
    (b"RF64", b"WAVE"): "audio/wav",
    (b"FORM", b"AIFF"): "audio/x-aiff",
    (b"FORM", b"AIFC"): "audio/x-aiff",
    (b"FORM", b"ILBM"): "image/x-ilbm",
}


def _chunked(head: bytes, claims: list[str]) -> str | None:
    return _CHUNKED.get((head[:4], head[8:12]))


def _asf(head: bytes, claims: list[str]) -> str | None:
    if not head.startswith(b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa\x00b\xcel"):
        return None
    return _claimed(_AUDIO_OR_VIDEO["asf"], claims, "video/x-ms-asf")


_DETECTORS: Final[tuple[Callable[[bytes, list[str]], str | None], ...]] = (
    signature_type,
    _zip,
    _ole,
    _iso_media,
    _matroska,
    _ogg,
    _chunked,
    _asf,
    _library,
    markup_type,
)
