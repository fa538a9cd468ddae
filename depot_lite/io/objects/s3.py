"""What an object tells of its file: the headers and metadata that an upload writes and a request gets.

Name and time are written as filedepot does, so that each reads what the other wrote.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Final
from urllib.parse import quote, unquote

from depot_lite.errors import ConfigurationError
from depot_lite.io.content import clean_filename
from depot_lite.io.disposition import INLINE_TYPES, content_disposition
from depot_lite.io.interfaces import UNNAMED, FileInfo
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.media_types.detection import valid_media_type

#: Keys of the metadata; the first two are filedepot's.
_FILENAME: Final = "x-depot-filename"
_MODIFIED: Final = "x-depot-modified"
_CHECKSUM: Final = "x-depot-checksum"
#: Which attempt to upload made the object: how an upload whose answer was lost is known again.
ATTEMPT: Final = "x-depot-attempt"
_TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
#: Headers of an object that a copy keeps; its metadata is kept too.
_KEPT: Final = ("ContentType", "ContentDisposition", "CacheControl", "ContentEncoding", "ContentLanguage")


def described(info: FileInfo, upload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an upload: those of every one, and those of this file."""
    shown_as = "inline" if valid_media_type(info.content_type) in INLINE_TYPES else "attachment"
    metadata = {
        **upload["Metadata"],
        # Headers are ASCII, so it is encoded, as filedepot does.
        _FILENAME: quote(info.filename, safe="!#$&+-.^_`|~"),
        **_new_attempt(info.last_modified),
    }
    if info.checksum is not None:
        metadata[_CHECKSUM] = info.checksum
    return {
        # Who opens the object by its URL gets no page that runs, and saves it under its name.
        "ContentDisposition": content_disposition(shown_as, info.filename),
        **upload,
        "ContentType": info.content_type,
        "Metadata": metadata,
    }


def copied(found: Mapping[str, Any], when: datetime, upload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a copy of an object, given the headers of its source."""
    kept = {name: found[name] for name in _KEPT if name in found}
    return {**upload, **kept, "Metadata": found["Metadata"] | _new_attempt(when)}


def _new_attempt(when: datetime) -> dict[str, str]:
    return {_MODIFIED: when.strftime(_TIME_FORMAT), ATTEMPT: token_hex(8)}


def overrides(filename: str | None, disposition: str | None, content_type: str | None) -> dict[str, str]:
    """Return the parameters of GetObject for the headers of its answer."""
    found = {}
    if disposition not in {None, "inline", "attachment"}:
        raise ConfigurationError(f"disposition={disposition!r}: 'inline' or 'attachment' is wanted")
    if disposition is not None or filename is not None:
        # A name alone is one to save under.
        found["ResponseContentDisposition"] = content_disposition(disposition or "attachment", filename or "")
    if content_type is not None:
        if valid_media_type(content_type) is None or not content_type.isprintable() or not content_type.isascii():
            raise ConfigurationError(f"content_type={content_type!r}: a type such as 'image/png' is wanted")
        found["ResponseContentType"] = content_type
    return found


def understood(file_id: str, found: Mapping[str, Any]) -> FileInfo:
    """Return what the headers of an object tell; filedepot wrote some of them, and others none."""
    metadata = found.get("Metadata", {})
    filename = clean_filename(unquote(metadata.get(_FILENAME, "")))
    try:
        when = datetime.strptime(metadata.get(_MODIFIED, ""), _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        when = found["LastModified"].astimezone(UTC)
    content_type = found.get("ContentType") or OCTET_STREAM
    checksum = _checksum_of(found) or metadata.get(_CHECKSUM)
    return FileInfo(file_id, filename or UNNAMED, content_type, found["ContentLength"], when, checksum)


def _checksum_of(found: Mapping[str, Any]) -> str | None:
    """Return the CRC-32 that S3 computed; that of a multipart upload may be one of its parts' checksums."""
    told = found.get("ChecksumCRC32")
    if not told or "-" in told or found.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    return f"crc32:{b64decode(told).hex()}"


def encoded(crc32: int) -> str:
    """Return a CRC-32 as S3 has it."""
    return b64encode(crc32.to_bytes(4, "big")).decode()
