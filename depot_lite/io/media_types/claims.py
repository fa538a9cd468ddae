"""Claimed media types, compared with the types that the bytes show.

A client declares a type, and the extension of a file name implies one. Neither proves anything.
"""

from __future__ import annotations

import re
from typing import Final

from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.media_types.detection import content_type_of, valid_media_type

TEXT: Final = "text/plain"

# Files of these types always have a signature: a file without it is not of the type.
_WITH_SIGNATURE: Final = frozenset(
    {
        *("application/gzip", "application/pdf", "application/rtf", "application/vnd.rar", "application/zip"),
        *(
            "application/x-7z-compressed",
            "audio/flac",
            "audio/midi",
            "audio/ogg",
            "audio/wav",
            "font/woff",
            "font/woff2",
        ),
        *("image/avif", "image/bmp", "image/gif", "image/heic", "image/heif", "image/jp2", "image/jpeg", "image/png"),
        *("image/tiff", "image/vnd.adobe.photoshop", "image/webp"),
        *("video/mp4", "video/ogg", "video/webm", "video/x-matroska", "video/x-msvideo"),
    }
)
_ZIPPED: Final = re.compile(
    r".+\+zip|application/(?:vnd\.openxmlformats-officedocument|vnd\.oasis\.opendocument|vnd\.ms-[a-z]+)\.[a-z0-9.-]+"
    r"|application/java-archive"
)
# Files of these types may lack a signature, but are never text.
_NEVER_TEXT: Final = frozenset({"audio/aac", "audio/mp4", "audio/mpeg", "video/mpeg", "video/quicktime"})

# Other names of the types that detection returns.
_ALIASES: Final = {
    "application/bzip2": "application/x-bzip2",
    "application/x-bzip": "application/x-bzip2",
    "application/x-dosexec": "application/vnd.microsoft.portable-executable",
    "application/x-gzip": "application/gzip",
    "application/x-msdos-program": "application/vnd.microsoft.portable-executable",
    "application/x-msdownload": "application/vnd.microsoft.portable-executable",
    "application/x-pdf": "application/pdf",
    "application/x-photoshop": "image/vnd.adobe.photoshop",
    "application/x-rar": "application/vnd.rar",
    "application/x-rar-compressed": "application/vnd.rar",
    "application/x-sqlite3": "application/vnd.sqlite3",
    "application/x-zip": "application/zip",
    "application/x-zip-compressed": "application/zip",
    "audio/aiff": "audio/x-aiff",
    "audio/m4a": "audio/mp4",
    "audio/mid": "audio/midi",
    "audio/mp3": "audio/mpeg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aac": "audio/aac",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-midi": "audio/midi",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-mpeg": "audio/mpeg",
    "audio/x-pn-wav": "audio/wav",
    "audio/x-wav": "audio/wav",
    "image/apng": "image/png",
    "image/ico": "image/vnd.microsoft.icon",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-bmp": "image/bmp",
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/x-ms-bmp": "image/bmp",
    "image/x-photoshop": "image/vnd.adobe.photoshop",
    "image/x-png": "image/png",
    "text/rtf": "application/rtf",
    "text/xml": "application/xml",
    "video/avi": "video/x-msvideo",
    "video/msvideo": "video/x-msvideo",
    "video/vnd.avi": "video/x-msvideo",
}
# Types that do not contradict each other: they share a container, or one is a kind of the other.
_FAMILIES: Final = (
    re.compile(r"(?:audio|video)/(?:mp4|quicktime|3gpp2?|x-m4[abpv])"),
    re.compile(r"(?:audio|video)/(?:webm|(?:x-)?matroska(?:-3d)?)"),
    re.compile(r"(?:audio|video|application)/ogg|audio/(?:opus|x-opus\+ogg|vorbis|speex|x-speex)"),
    re.compile(r"image/hei[cf](?:-sequence)?"),
    re.compile(r"(?:audio|video)/(?:x-ms-.+|asf)|application/vnd\.ms-asf"),
    re.compile(r"(?:audio|video)/mpeg"),
    # The raw formats of cameras are based on TIFF.
    re.compile(r"image/(?:tiff|x-.+|vnd\..+|dng)"),
    # Adobe Illustrator writes PDF into files with the extension of PostScript.
    re.compile(r"application/(?:pdf|postscript|illustrator)"),
    re.compile(r"font/.+|application/(?:x-font-.+|vnd\.ms-opentype|font-.+)"),
    re.compile(r"(?:application|text)/xml|.+\+xml"),
)
# Containers of many formats. An application/* type may use one of them, unless its files have their own signature.
_CONTAINERS: Final = frozenset(
    {"application/zip", "application/gzip", "application/x-ole-storage", "application/xml", "application/x-tar"}
)
_UNSPECIFIC: Final = re.compile(
    r"(?:application|binary)/octet-stream|application/(?:x-)?(?:unknown|download|force-download|binary)"
)
_TEXTUAL: Final = re.compile(r"text/.+|.+\+xml|application/(?:xml|rtf|json|postscript|javascript)")


def proven_type(head: bytes, claim: str | None, filename: str | None) -> str:
    """Return the type of a file by its first bytes, or the claimed type if files of that type may lack a signature.

    >>> proven_type(b"random", "image/png", "a.png"), proven_type(b"a,b", "text/csv", None)
    ('text/plain', 'text/csv')
    """
    found = content_type_of(head, claim, filename)
    return _type_of_bytes(head) if _lacks_proof(head, found) else found


def contradiction(head: bytes, claim: str | None, *, declared: bool = False) -> str | None:
    """Return the type that the first bytes show if it contradicts a claimed type, else None.

    A client may declare any text as ``text/plain`` (``declared``); the extension of a name is taken more strictly.

    >>> contradiction(b"GIF89a...", "image/png"), contradiction(b"a,b", "text/csv"), contradiction(b"x", None)
    ('image/gif', None, None)
    """
    claim = valid_media_type(claim)
    if not head or claim is None or _UNSPECIFIC.fullmatch(claim):
        return None
    claim = _ALIASES.get(claim, claim)
    found = content_type_of(head, claim, None)
    if found == claim:
        return _type_of_bytes(head) if _lacks_proof(head, claim) else None
    found = _ALIASES.get(found, found)
    if declared and claim == TEXT and _TEXTUAL.fullmatch(found):
        return None
    return None if _agree(found, claim) else found


def _type_of_bytes(head: bytes) -> str:
    return content_type_of(head, None, None)


def _lacks_proof(head: bytes, claim: str) -> bool:
    bare = _type_of_bytes(head)
    if bare == TEXT and claim in _NEVER_TEXT:
        return True
    return bare in (OCTET_STREAM, TEXT) and (claim in _WITH_SIGNATURE or _ZIPPED.fullmatch(claim) is not None)


def _agree(found: str, claim: str) -> bool:
    if found == claim or any(family.fullmatch(found) and family.fullmatch(claim) for family in _FAMILIES):
        return True
    if claim == "application/zip":
        return _ZIPPED.fullmatch(found) is not None
    if found == "application/xml" and claim.startswith("text/") and claim != "text/html":
        return True
    return found in _CONTAINERS and claim.startswith("application/") and claim not in _WITH_SIGNATURE
