"""Extensions of file names: groups of them, and what they say about the type of a file.

The groups have the names that Piccolo gives them, and hold what it has and more. SVG is among the images as it is
there; it can contain scripts, so depot_lite serves it as a download only, and `Image` refuses it.
"""

from __future__ import annotations

import mimetypes
import os
import re
from typing import Final

from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.media_types.detection import content_type_of, valid_media_type

#: Sound.
AUDIO_EXTENSIONS: Final = ("aac", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav")
#: Tables.
DATA_EXTENSIONS: Final = ("csv", "json", "ods", "tsv", "xlsx")
#: Documents of office programs.
DOCUMENT_EXTENSIONS: Final = ("docx", "epub", "odp", "odt", "pdf", "pptx")
#: Pictures.
IMAGE_EXTENSIONS: Final = ("avif", "gif", "heic", "jpeg", "jpg", "png", "svg", "tif", "tiff", "webp")
#: Text.
TEXT_EXTENSIONS: Final = ("md", "rtf", "txt")
#: Films.
VIDEO_EXTENSIONS: Final = ("m4v", "mkv", "mov", "mp4", "ogv", "webm")
#: All of the groups.
ALLOWED_EXTENSIONS: Final = (
    *AUDIO_EXTENSIONS,
    *DATA_EXTENSIONS,
    *DOCUMENT_EXTENSIONS,
    *IMAGE_EXTENSIONS,
    *TEXT_EXTENSIONS,
    *VIDEO_EXTENSIONS,
)

# What web servers are set up to run wherever it stands in a name (with Apache's AddHandler "shell.php.jpg" is run), and
# programs of Windows, whose desktop hides the last extension. Not what is active in a browser only ("page.html.pdf",
# "logo.svg.png" are everyday names): there the type counts. Not "com", which ends many a name of a company.
_RUN: Final = re.compile(
    r"ph(?:p\d*|ps|t|tml\d?|ar)|asp|aspx|asa|asax|ascx|ashx|asmx|cer|cshtml|jspx?|jspf|jsw|jsv|jhtml|cfml?|cfc|f?cgi|pl|pm"
    r"|py|pyc|pyw|rb|lua|shtml|stm|shtm|htaccess|exe|bat|cmd|scr|pif|msi|cpl|dll|hta|vb[es]?|js[eb]|ws[fh]?|ps1|sh"
)

TEXT: Final = "text/plain"


def extension_of(filename: str) -> str:
    """Return the last extension in lower case, without its dot; ``""`` where there is none.

    >>> extension_of("Plan.PDF"), extension_of("backup.tar.gz"), extension_of(".htaccess"), extension_of("shell.php.")
    ('pdf', 'gz', '', '')
    """
    return os.path.splitext(filename)[1][1:].lower()


def run_inside(stem: str) -> str | None:
    """Return the first extension, in a name without its last one, that some web server would run the file for.

    >>> run_inside("shell.PHP5"), run_inside(".php"), run_inside("v1.2 of php"), run_inside("shell.asp;")
    ('php5', 'php', None, 'asp')
    """
    # IIS ended a name at a semicolon, NTFS does at a colon, and Windows drops blanks at the end.
    inner = (re.split("[;:%]", each)[0].strip().lower() for each in stem.split(".")[1:])
    return next((each for each in inner if _RUN.fullmatch(each)), None)


def renamed(filename: str, media_type: str) -> str | None:
    """Return the name with the extension of a type; None if no extension of the type is known.

    >>> renamed("photo.png", "image/jpeg"), renamed("all.tar.gz", "application/zip"), renamed("x.png", OCTET_STREAM)
    ('photo.jpg', 'all.zip', None)
    """
    extension = _USUAL.get(media_type) or mimetypes.guess_extension(media_type)
    if media_type == OCTET_STREAM or extension is None:
        return None
    stem, last = os.path.splitext(filename)
    if last.lower() in _COMPRESSED:
        stem = re.sub(r"(?i)(?<=.)\.tar$", "", stem)
    return stem + extension


_COMPRESSED: Final = {".gz", ".bz2", ".xz", ".zst"}
# Where `mimetypes` knows several and takes another, or, depending on the system, none.
_USUAL: Final = {
    "application/gzip": ".gz",
    "application/pdf": ".pdf",
    "application/rtf": ".rtf",
    "application/vnd.microsoft.portable-executable": ".exe",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/xml": ".xml",
    "application/zip": ".zip",
    "audio/flac": ".flac",
    "audio/midi": ".mid",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/heic": ".heic",
    "image/heif": ".heif",
    "image/jpeg": ".jpg",
    "image/jxl": ".jxl",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/tiff": ".tif",
    "image/vnd.microsoft.icon": ".ico",
    "image/webp": ".webp",
    "text/html": ".html",
    "text/plain": ".txt",
    "video/mp4": ".mp4",
    "video/mpeg": ".mpg",
    "video/ogg": ".ogv",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
}

# --- what a type that is claimed says about the bytes ---------------------------------------------------------------

# Files of these types tell what they are with their first bytes, so one that does not is none.
_TELLING: Final = frozenset(
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
# Files of these types need not tell, but are no text.
_NO_TEXT: Final = frozenset({"audio/aac", "audio/mp4", "audio/mpeg", "video/mpeg", "video/quicktime"})

# Other names for what the bytes tell.
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
# Types that one file may rightly be called by: the container is the same, or the one is a kind of the other.
_FAMILIES: Final = (
    re.compile(r"(?:audio|video)/(?:mp4|quicktime|3gpp2?|x-m4[abpv])"),
    re.compile(r"(?:audio|video)/(?:webm|(?:x-)?matroska(?:-3d)?)"),
    re.compile(r"(?:audio|video|application)/ogg|audio/(?:opus|x-opus\+ogg|vorbis|speex|x-speex)"),
    re.compile(r"image/hei[cf](?:-sequence)?"),
    re.compile(r"(?:audio|video)/(?:x-ms-.+|asf)|application/vnd\.ms-asf"),
    re.compile(r"(?:audio|video)/mpeg"),
    # Pictures of cameras are TIFF inside.
    re.compile(r"image/(?:tiff|x-.+|vnd\..+|dng)"),
    # Adobe Illustrator writes PDF under the extension of PostScript.
    re.compile(r"application/(?:pdf|postscript|illustrator)"),
    re.compile(r"font/.+|application/(?:x-font-.+|vnd\.ms-opentype|font-.+)"),
    re.compile(r"(?:application|text)/xml|.+\+xml"),
)
# What the bytes of many formats look like; claims of the kind application/* refine it, if their own files do not tell.
_CONTAINERS: Final = frozenset(
    {"application/zip", "application/gzip", "application/x-ole-storage", "application/xml", "application/x-tar"}
)
_SAYS_NOTHING: Final = re.compile(
    r"(?:application|binary)/octet-stream|application/(?:x-)?(?:unknown|download|force-download|binary)"
)
_TEXTUAL: Final = re.compile(r"text/.+|.+\+xml|application/(?:xml|rtf|json|postscript|javascript)")


def proven_type(head: bytes, claim: str | None, filename: str | None) -> str:
    """Return the type of a file by its first bytes; a claim counts only if files of that type need not tell theirs.

    >>> proven_type(b"random", "image/png", "a.png"), proven_type(b"a,b", "text/csv", None)
    ('text/plain', 'text/csv')
    """
    found = content_type_of(head, claim, filename)
    return _bare(head) if _unproven(head, found) else found


def contradicting(head: bytes, claim: str | None, *, declared: bool = False) -> str | None:
    """Return the type that the first bytes show where it contradicts a claim, None where the two go together.

    Text that was declared as ``text/plain`` may be any text; an extension says more.

    >>> contradicting(b"GIF89a...", "image/png"), contradicting(b"a,b", "text/csv"), contradicting(b"x", None)
    ('image/gif', None, None)
    """
    claim = valid_media_type(claim)
    if not head or claim is None or _SAYS_NOTHING.fullmatch(claim):
        return None
    claim = _ALIASES.get(claim, claim)
    found = content_type_of(head, claim, None)
    if found == claim:
        return _bare(head) if _unproven(head, claim) else None
    found = _ALIASES.get(found, found)
    if declared and claim == TEXT and _TEXTUAL.fullmatch(found):
        return None
    return None if _together(found, claim) else found


def _bare(head: bytes) -> str:
    return content_type_of(head, None, None)


def _unproven(head: bytes, claim: str) -> bool:
    bare = _bare(head)
    if bare == TEXT and claim in _NO_TEXT:
        return True
    return bare in (OCTET_STREAM, TEXT) and (claim in _TELLING or _ZIPPED.fullmatch(claim) is not None)


def _together(found: str, claim: str) -> bool:
    if found == claim or any(family.fullmatch(found) and family.fullmatch(claim) for family in _FAMILIES):
        return True
    if claim == "application/zip":
        return _ZIPPED.fullmatch(found) is not None
    if found == "application/xml" and claim.startswith("text/") and claim != "text/html":
        return True
    return found in _CONTAINERS and claim.startswith("application/") and claim not in _TELLING


def type_of_name(filename: str) -> str | None:
    """Return the type that the extension of a name stands for, None if it is none that is known.

    >>> type_of_name("plan.pdf"), type_of_name("plan"), type_of_name("all.tar.gz")
    ('application/pdf', None, 'application/gzip')
    """
    found = content_type_of(b"", None, filename)
    return None if found == OCTET_STREAM else found
