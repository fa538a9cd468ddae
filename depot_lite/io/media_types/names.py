"""File names: the media types of their extensions, and the usual extensions of media types."""

from __future__ import annotations

import mimetypes
import os
import re
from typing import Final

from depot_lite.io.media_types import OCTET_STREAM


def with_usual_extension(filename: str, media_type: str) -> str | None:
    """Return a file name with the usual extension of a type in place of its own; None if the type has none.

    >>> with_usual_extension("photo.png", "image/jpeg"), with_usual_extension("all.tar.gz", "application/zip")
    ('photo.jpg', 'all.zip')
    """
    extension = _USUAL.get(media_type) or mimetypes.guess_extension(media_type)
    if media_type == OCTET_STREAM or extension is None:
        return None
    stem, last = os.path.splitext(filename)
    if last.lower() in _COMPRESSED:
        stem = re.sub(r"(?i)(?<=.)\.tar$", "", stem)
    return stem + extension


_COMPRESSED: Final = {".gz", ".bz2", ".xz", ".zst"}
# Types for which `mimetypes` chooses another extension, or, depending on the system, knows none.
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
