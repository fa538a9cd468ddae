"""Metadata that storages of objects keep beside the bytes: name, time and checksum, under filedepot's keys."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from secrets import token_hex
from typing import Final
from urllib.parse import quote, unquote

from depot_lite.errors import ConfigurationError
from depot_lite.io.content import CHUNK_SIZE, Content, clean_filename
from depot_lite.io.disposition import INLINE_TYPES, content_disposition
from depot_lite.io.interfaces import UNNAMED, FileInfo, StoredFile
from depot_lite.io.media_types import OCTET_STREAM, valid_media_type

#: Keys of the metadata; the first two are filedepot's.
_FILENAME: Final = "x-depot-filename"
MODIFIED: Final = "x-depot-modified"
_CHECKSUM: Final = "x-depot-checksum"
#: The attempt to upload that made the object: recognises an upload whose answer was lost.
ATTEMPT: Final = "x-depot-attempt"
_TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S"


def now() -> datetime:
    """Return the time in whole seconds, the precision of the metadata."""
    return datetime.now(UTC).replace(microsecond=0)


def time_of(header: str | None) -> datetime:
    """Return the time in the ``Date`` header of an answer; without one, the time of this machine."""
    try:
        return parsedate_to_datetime(header or "").astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)


def metadata_of(info: FileInfo, max_value: int | None = None) -> dict[str, str]:
    """Return the metadata of a new object, with the mark of this attempt to store it.

    Args:
        max_value: the longest value that the server takes; a longer name is shortened there, the row keeps it whole.
    """
    return {
        _FILENAME: _encoded_name(info.filename, max_value),
        **attempt_at(info.last_modified),
        **checksum_metadata(info.checksum),
    }


def _encoded_name(filename: str, max_size: int | None) -> str:
    """Return a name in ASCII, as headers need it and filedepot writes it; a long one without the end of its stem."""
    encoded = _encode(filename)
    if max_size is None or len(encoded) <= max_size:
        return encoded
    stem, extension = os.path.splitext(filename)
    if len(_encode(extension)) > max_size // 2:
        stem, extension = filename, ""
    left, kept = max_size - len(_encode(extension)), ""
    for character in map(_encode, stem):
        left -= len(character)
        if left < 0:
            break
        kept += character
    return kept + _encode(extension)


def _encode(text: str) -> str:
    return quote(text, safe="!#$&+-.^_`|~")


def attempt_at(when: datetime) -> dict[str, str]:
    """Return the metadata that differ between an object and its copy: time and mark of the attempt."""
    return {MODIFIED: when.strftime(_TIME_FORMAT), ATTEMPT: token_hex(8)}


def checksum_metadata(checksum: str | None) -> dict[str, str]:
    """Return the metadata of a checksum, empty for None."""
    return {} if checksum is None else {_CHECKSUM: checksum}


def info_in(
    metadata: Mapping[str, str],
    file_id: str,
    content_type: str | None,
    length: int,
    last_modified: datetime,
    checksum: str | None = None,
) -> FileInfo:
    """Return a file's info from the metadata of its object; filedepot wrote some of them, other programs none.

    Args:
        last_modified: the server's time, for objects without our own.
        checksum: the server's checksum, preferred to the one in the metadata.
    """
    filename = clean_filename(unquote(metadata.get(_FILENAME, "")))
    try:
        when = datetime.strptime(metadata.get(MODIFIED, ""), _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        when = last_modified.astimezone(UTC)
    checksum = checksum or metadata.get(_CHECKSUM)
    return FileInfo(file_id, filename or UNNAMED, content_type or OCTET_STREAM, length, when, checksum)


def is_passive(content_type: str) -> bool:
    """Return whether a browser may show content of this type: it runs nothing."""
    return valid_media_type(content_type) in INLINE_TYPES


def disposition_of(info: FileInfo) -> str:
    """Return the Content-Disposition of an object: at its URL no page runs, and files are saved under their names."""
    return content_disposition("inline" if is_passive(info.content_type) else "attachment", info.filename)


def response_headers(filename: str | None, disposition: str | None, content_type: str | None) -> dict[str, str]:
    """Return the headers that a URL asks for, as the parameters of S3's and Google's query strings.

    Raises:
        ConfigurationError: the disposition or the type is invalid.
    """
    found = {}
    if disposition not in {None, "inline", "attachment"}:
        raise ConfigurationError(f"disposition: expected 'inline' or 'attachment', got {disposition!r}")
    if disposition is not None or filename is not None:
        # A name alone is one to save under.
        found["response-content-disposition"] = content_disposition(disposition or "attachment", filename or "")
    if content_type is not None:
        if valid_media_type(content_type) is None or not (content_type.isprintable() and content_type.isascii()):
            raise ConfigurationError(f"content_type: expected a type such as 'image/png', got {content_type!r}")
        found["response-content-type"] = content_type
    return found


def crc32_of(content: Content) -> int | None:
    """Return the CRC-32 of large content before it is sent, None if reading it twice is impossible or expensive.

    The metadata of a multipart upload are sent first, so this is the last chance to compute it for servers that compute
    none. A file of another storage may have to be downloaded.
    """
    if not content.rereadable or isinstance(content.source, StoredFile):
        return None
    crc32 = 0
    with content.open() as source:
        while chunk := source.read(CHUNK_SIZE):
            crc32 = zlib.crc32(chunk, crc32)
    return crc32


def parse_crc32(checksum: str | None) -> int | None:
    """Return the CRC-32 in a checksum of `FileInfo`, None for other algorithms.

    >>> parse_crc32("crc32:000000ff"), parse_crc32("sha256:00")
    (255, None)
    """
    algorithm, _, digest = (checksum or "").partition(":")
    return int(digest, 16) if algorithm == "crc32" else None


def format_crc32(crc32: int) -> str:
    """Return a CRC-32 in the form of `FileInfo`.

    >>> format_crc32(255)
    'crc32:000000ff'
    """
    return f"crc32:{crc32:08x}"
