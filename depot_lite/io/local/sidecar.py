"""Sidecars: the description that a local storage writes beside the bytes of a file; also filedepot's metadata."""

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


def encode_sidecar(info: FileInfo, data: str) -> bytes:
    """Return the text of the sidecar of a file whose bytes are in the data file with this name."""
    known = asdict(info) | {"last_modified": info.last_modified.isoformat(), "data": data}
    del known["file_id"]
    return json.dumps(known).encode("ascii")


def decode_sidecar(file_id: str, text: bytes) -> tuple[FileInfo, str | None]:
    """Return the description in a sidecar and the name of the data file, or None if that is not a name for this id.

    Raises:
        StorageFailed: the sidecar is damaged.
    """
    known = _parse(file_id, text)
    try:
        when = datetime.fromisoformat(known["last_modified"])
        told = (known["filename"], known["content_type"], known["content_length"], when, known["checksum"])
    except (KeyError, TypeError, ValueError) as error:
        raise StorageFailed(f"the sidecar of file {file_id} is damaged: {error!r}") from error
    return FileInfo(file_id, *told), _data_of(file_id, known)


def data_name(file_id: str, text: bytes) -> str | None:
    """Return the name of the data file in a sidecar, or None if it is damaged or not a name for this id."""
    try:
        return _data_of(file_id, _parse(file_id, text))
    except StorageFailed:
        return None


def _data_of(file_id: str, known: dict[str, Any]) -> str | None:
    name = known.get("data")
    return name if isinstance(name, str) and id_of_name(name) == file_id else None


def id_of_name(name: str) -> str | None:
    """Return the first 36 characters of the name of a data file or a sidecar, or None for any other name."""
    return name[:ID_LENGTH] if _ENDING.fullmatch(name, ID_LENGTH) else None


def decode_filedepot(file_id: str, text: bytes, data: os.stat_result) -> FileInfo:
    """Return the description in filedepot's ``metadata.json``; old versions lack length and time.

    Raises:
        StorageFailed: the file is damaged.
    """
    known = _parse(file_id, text)
    try:
        when = datetime.strptime(known["last_modified"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        when = datetime.fromtimestamp(data.st_mtime, UTC)
    content_type = known.get("content_type") or OCTET_STREAM
    return FileInfo(file_id, known.get("filename") or UNNAMED, content_type, data.st_size, when)


def _parse(file_id: str, text: bytes) -> dict[str, Any]:
    try:
        known = json.loads(text.decode())  # given bytes, it would guess the encoding
    except ValueError as error:
        raise StorageFailed(f"the description of file {file_id} is damaged: {error}") from error
    if not isinstance(known, dict):
        raise StorageFailed(f"the description of file {file_id} is damaged: expected a JSON object")
    return known
