"""What a local storage writes down beside the bytes of a file, and what filedepot wrote."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from depot_lite.errors import StorageFailed
from depot_lite.io.fileid import ID_LENGTH
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.stored import UNNAMED, FileInfo

_ENDING: Final = re.compile(r"\.(?:json|[0-9a-f]{8}(?:\.tmp)?)")


def described(info: FileInfo, data: str) -> bytes:
    """Return the text of the sidecar of a file whose bytes are in the data file of that name."""
    known = asdict(info) | {"last_modified": info.last_modified.isoformat(), "data": data}
    del known["file_id"]
    return json.dumps(known).encode("ascii")


def understood(file_id: str, text: bytes) -> tuple[FileInfo, str | None]:
    """Return what a sidecar tells, and the name of the data file; None where that cannot be one of this id.

    Raises:
        StorageFailed: it is damaged.
    """
    known = _parsed(file_id, text)
    try:
        when = datetime.fromisoformat(known["last_modified"])
        told = (known["filename"], known["content_type"], known["content_length"], when, known["checksum"])
    except (KeyError, TypeError, ValueError) as error:
        raise StorageFailed(f"the sidecar of file {file_id} is damaged: {error!r}") from error
    return FileInfo(file_id, *told), _data_of(file_id, known)


def named_data(file_id: str, text: bytes) -> str | None:
    """Return the name of the data file that a sidecar names; None where that cannot be one of this id."""
    try:
        return _data_of(file_id, _parsed(file_id, text))
    except StorageFailed:
        return None


def _data_of(file_id: str, known: dict[str, Any]) -> str | None:
    name = known.get("data")
    return name if isinstance(name, str) and belongs_to(name) == file_id else None


def belongs_to(name: str) -> str | None:
    """Return the first 36 characters of the name of a data file or a sidecar; None where it is neither."""
    return name[:ID_LENGTH] if _ENDING.fullmatch(name, ID_LENGTH) else None


def understood_filedepot(file_id: str, text: bytes, data: os.stat_result) -> FileInfo:
    """Return what filedepot's ``metadata.json`` tells; its old versions wrote no length and no time.

    Raises:
        StorageFailed: it is damaged.
    """
    known = _parsed(file_id, text)
    try:
        when = datetime.strptime(known["last_modified"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        when = datetime.fromtimestamp(data.st_mtime, UTC)
    content_type = known.get("content_type") or OCTET_STREAM
    return FileInfo(file_id, known.get("filename") or UNNAMED, content_type, data.st_size, when)


def _parsed(file_id: str, text: bytes) -> dict[str, Any]:
    try:
        known = json.loads(text.decode())  # of bytes it would guess the encoding
    except ValueError as error:
        raise StorageFailed(f"the description of file {file_id} is damaged: {error}") from error
    if not isinstance(known, dict):
        raise StorageFailed(f"the description of file {file_id} is damaged: it is no JSON object")
    return known
