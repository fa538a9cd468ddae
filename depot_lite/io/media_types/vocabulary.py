"""The vocabulary of media types: their other names, their parents, and the extensions of file names.

It is the same on every machine: neither a table of the system nor the module `mimetypes` is asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from depot_lite.io.media_types.kinds import KINDS

#: The type of bytes of which nothing else is known (RFC 2046, section 4.5.1).
OCTET_STREAM: Final = "application/octet-stream"
TEXT: Final = "text/plain"

# RFC 9110 section 8.3.1: type "/" subtype, both of them tokens. Tokens contain no quotes and no line breaks, which
# could end a header or an HTML attribute. The length limit is in RFC 6838 section 4.2.
_MEDIA_TYPE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,127}/[!#$%&'*+.^_`|~0-9a-z-]{1,127}")


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


@dataclass(slots=True)
class Kind:
    """A kind of files. The format of `depot_lite.io.media_types.kinds` describes the properties."""

    media_type: str
    extensions: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    is_strict: bool = False
    is_text: bool = False
    runs: bool = False


_kinds: Final[dict[str, Kind]] = {}
_aliases: Final[dict[str, str]] = {}
# The types of each extension: the usual one first.
_by_extension: Final[dict[str, tuple[str, ...]]] = {}


def canonical(media_type: str) -> str:
    """Return the name that this library uses for a type with several names.

    >>> canonical("audio/x-midi"), canonical("application/x-mine")
    ('audio/midi', 'application/x-mine')
    """
    return _aliases.get(media_type, media_type)


def is_text_type(media_type: str) -> bool:
    """Return whether files of a type may be text.

    >>> is_text_type("application/atom+xml"), is_text_type("model/stl"), is_text_type("application/vnd.ms-excel")
    (True, True, False)
    """
    kind = _kinds.get(media_type)
    return (
        media_type.startswith(("text/", "message/"))
        or media_type.endswith(("+xml", "+json"))
        or (kind.is_text if kind else media_type.startswith(("application/", "chemical/", "x-")))
    )


def is_strict(media_type: str) -> bool:
    """Return whether each file of a type has a signature."""
    kind = _kinds.get(media_type)
    return kind is not None and kind.is_strict


@lru_cache(maxsize=1024)
def ancestors(media_type: str) -> tuple[str, ...]:
    """Return a type and all its parents, the nearest first.

    >>> ancestors("image/svg+xml")
    ('image/svg+xml', 'application/xml', 'text/plain')
    """
    found = [canonical(media_type)]
    for each in found:
        found.extend(parent for parent in _parents(each) if parent not in found)
    return tuple(found)


def _parents(media_type: str) -> Iterator[str]:
    kind = _kinds.get(media_type)
    if kind is not None:
        yield from kind.parents
    for suffix, parent in (("+xml", "application/xml"), ("+json", "application/json"), ("+zip", "application/zip")):
        if media_type.endswith(suffix) and "application/zip" not in (kind.parents if kind else ()):
            yield parent
    if media_type.startswith("text/") and media_type != TEXT:
        yield TEXT


def share_container(first: str, second: str) -> bool:
    """Return whether files of two types have the same container, as sound and pictures in MP4 do.

    >>> share_container("audio/mp4", "video/quicktime"), share_container("audio/mp4", "audio/ogg")
    (True, False)
    """
    others = ancestors(second)
    return any(each.startswith("~") and each in others for each in ancestors(first))


@lru_cache(maxsize=1024)
def matches(media_type: str, allowed: str) -> bool:
    """Return whether files of a type are allowed where another type, or a family such as ``image/*``, is.

    A parent allows its kinds, except those that a browser or a machine may execute: they have to be named.

    >>> matches("audio/x-midi", "audio/midi"), matches("application/vnd.oasis.opendocument.text", "application/zip")
    (True, True)
    >>> matches("image/tiff", "image/*"), matches("text/html", "text/plain")
    (True, False)
    """
    own, wanted = canonical(media_type), canonical(allowed)
    if own == wanted or (allowed.endswith("/*") and any(each.startswith(allowed[:-1]) for each in (own, media_type))):
        return True
    if wanted == TEXT and "application/xml" in ancestors(own):  # elements of XHTML run in it, whatever its root is
        return False
    return not runs(own) and wanted != OCTET_STREAM and wanted in ancestors(own)


def runs(media_type: str) -> bool:
    """Return whether a browser or a machine may execute files of a type."""
    kind = _kinds.get(media_type)
    return kind is not None and kind.runs


# --- names ------------------------------------------------------------------------------------------------------------

_NAMES: Final = {
    "makefile": "text/x-makefile",
    "gnumakefile": "text/x-makefile",
    "dockerfile": "text/x-dockerfile",
    "containerfile": "text/x-dockerfile",
    "cmakelists.txt": "text/x-cmake",
    "meson.build": "text/x-meson",
    "readme": TEXT,
    "license": TEXT,
    "copying": TEXT,
    "changelog": TEXT,
    "authors": TEXT,
    "jenkinsfile": "text/x-groovy",
    "vagrantfile": "application/x-ruby",
    "gemfile": "application/x-ruby",
    "rakefile": "application/x-ruby",
    ".ds_store": "application/x-apple-ds-store",
}


def types_of_name(filename: str | None) -> tuple[str, ...]:
    """Return the media types that belong to a name, the usual one first; empty if its extension is not known.

    >>> types_of_name("clip.ts")[:2], types_of_name("README")
    (('video/mp2t', 'text/x-typescript'), ('text/plain',))
    """
    if not filename:
        return ()
    last = filename.replace("\\", "/").rpartition("/")[2].lower().rstrip(". ")
    known = _NAMES.get(last)
    if known is not None:
        return (known,)
    # The longest extension first: .osm.pbf before .pbf.
    _, *parts = last.split(".")
    for start in range(max(len(parts) - 2, 0), len(parts)):
        found = _by_extension.get(".".join(parts[start:]))
        if found:
            return found
    return ()


def type_of_name(filename: str | None) -> str | None:
    """Return the usual media type of a name; None if its extension is not known.

    >>> type_of_name("plan.pdf"), type_of_name("plan"), type_of_name("all.tar.gz")
    ('application/pdf', None, 'application/gzip')
    """
    return next((each for each in types_of_name(filename) if each != OCTET_STREAM), None)


def with_usual_extension(filename: str, media_type: str) -> str | None:
    """Return a file name with the usual extension of a type in place of its own; None if the type has none.

    >>> with_usual_extension("photo.png", "image/jpeg"), with_usual_extension("all.tar.gz", "application/zip")
    ('photo.jpg', 'all.zip')
    """
    kind = _kinds.get(canonical(media_type))
    if kind is None or kind.media_type == OCTET_STREAM or not kind.extensions:
        return None
    stem, last = os.path.splitext(filename)
    if last.lower() in _COMPRESSED:
        stem = re.sub(r"(?i)(?<=.)\.tar$", "", stem)
    return f"{stem}.{kind.extensions[0]}"


_COMPRESSED: Final = {".gz", ".bz2", ".xz", ".zst", ".lz", ".lzma", ".lz4"}


# --- the table --------------------------------------------------------------------------------------------------------


def add(kind: Kind, aliases: Iterable[str], rare_extensions: Iterable[str] = (), *, first: bool = False) -> None:
    """Add a kind.

    Args:
        first: its extensions belong to this kind before all others.
    """
    _kinds[kind.media_type] = kind
    _aliases.update(dict.fromkeys(aliases, kind.media_type))
    for extension in kind.extensions:
        others = tuple(each for each in _by_extension.get(extension, ()) if each != kind.media_type)
        _by_extension[extension] = (kind.media_type, *others) if first else (*others, kind.media_type)
    kind.extensions.extend(rare_extensions)
    ancestors.cache_clear()
    matches.cache_clear()


def _load(table: str) -> None:
    rare: list[tuple[str, str]] = []
    for line in table.replace("\n ", " ").split("\n"):
        media_type, *words = line.split() or [""]
        if not media_type:
            continue
        usual = [word[1:] for word in words if word[0] == "." and word[-1] != "?"]
        unusual = [word[1:-1] for word in words if word[0] == "." and word[-1] == "?"]
        parents = [word[1:] for word in words if word[0] == "<"]
        kind = Kind(media_type, usual, parents, "!" in words, "text" in words, "runs" in words)
        add(kind, (word[1:] for word in words if word[0] == "="), unusual)
        rare += [(extension, media_type) for extension in unusual]
    for extension, media_type in rare:
        _by_extension[extension] = (*_by_extension.get(extension, ()), media_type)


_load(KINDS)
