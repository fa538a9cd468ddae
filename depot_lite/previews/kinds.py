"""The types of files that can have previews."""

from __future__ import annotations

from typing import Final

#: FFmpeg's reader for each type of video. No other one is used: some open the files and addresses that a file names.
CONTAINERS: Final = {
    **dict.fromkeys(("video/mp4", "video/quicktime", "video/x-m4v", "video/3gpp", "video/3gpp2"), "mov"),
    **dict.fromkeys(("video/webm", "video/x-matroska"), "matroska"),
    "video/ogg": "ogg",
    "video/x-msvideo": "avi",
}

_TEXTS: Final = {"application/json", "application/xml", "application/yaml", "application/toml"}


def kind_of(content_type: str) -> str | None:
    """Return ``"pdf"``, ``"video"`` or ``"text"``; None for a type without previews.

    >>> kind_of("video/webm"), kind_of("text/csv"), kind_of("application/zip")
    ('video', 'text', None)
    """
    if content_type == "application/pdf":
        return "pdf"
    if content_type in CONTAINERS:
        return "video"
    return "text" if content_type.startswith("text/") or content_type in _TEXTS else None
