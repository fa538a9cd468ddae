"""Objects as S3 describes them: the arguments of an upload, and the headers of an answer.

Name and time are written as in filedepot, so that the two libraries read each other's files.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from depot_lite.io.interfaces import FileInfo
from depot_lite.io.objects.metadata import attempt_at, disposition_of, info_in, metadata_of, parse_crc32

#: Headers of an object that a copy keeps; its metadata is kept too.
_KEPT: Final = ("ContentType", "ContentDisposition", "CacheControl", "ContentEncoding", "ContentLanguage")


def arguments_of(info: FileInfo, upload: Mapping[str, Any], max_value: int | None) -> dict[str, Any]:
    """Return the arguments of an upload of this file.

    Args:
        upload: the arguments of all uploads.
        max_value: the longest value of an entry of the metadata; None for no limit.
    """
    return {
        "ContentDisposition": disposition_of(info),
        **upload,
        "ContentType": info.content_type,
        "Metadata": {**upload["Metadata"], **metadata_of(info, max_value)},
    }


def arguments_of_copy(found: Mapping[str, Any], when: datetime, upload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a copy of an object, given the headers of its source."""
    kept = {name: found[name] for name in _KEPT if name in found}
    return {**upload, **kept, "Metadata": found["Metadata"] | attempt_at(when)}


def info_of(file_id: str, found: Mapping[str, Any]) -> FileInfo:
    """Return a file's info from the headers of its object."""
    return info_in(
        found.get("Metadata", {}),
        file_id,
        found.get("ContentType"),
        found["ContentLength"],
        found["LastModified"],
        _checksum_of(found),
    )


def _checksum_of(found: Mapping[str, Any]) -> str | None:
    """Return the CRC-32 that S3 computed; after a multipart upload it may be a checksum of the parts' checksums."""
    encoded = found.get("ChecksumCRC32")
    if not encoded or "-" in encoded or found.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    return f"crc32:{b64decode(encoded).hex()}"


def encode_crc32(checksum: str | None) -> str:
    """Return the CRC-32 of a file in the form of S3's headers."""
    return b64encode((parse_crc32(checksum) or 0).to_bytes(4, "big")).decode()
