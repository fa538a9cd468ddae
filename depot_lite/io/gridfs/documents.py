"""The documents of GridFS: one for each version of a file, as MongoDB queries and describes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from bson import ObjectId

from depot_lite.io.content import clean_filename
from depot_lite.io.fileid import check_file_id, object_id_in
from depot_lite.io.interfaces import UNNAMED, FileEntry, FileInfo
from depot_lite.io.media_types import OCTET_STREAM

#: The order in which the newest version of a file comes first.
NEWEST: Final = [("metadata.revision", -1)]
#: The filter for documents that other programs have written, and for those among them that filedepot has written.
NOT_OURS: Final = {"metadata.file_id": {"$exists": False}}
FILEDEPOTS: Final = {"last_modified": {"$exists": True}}
#: The fields that a listing requests.
LISTED: Final = {"length": 1, "uploadDate": 1, "metadata.file_id": 1}

Document = Mapping[str, Any]


def bson_now() -> datetime:
    """Return the time in whole milliseconds, the precision of BSON."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def versions_of(file_ids: list[str]) -> dict[str, Any]:
    """Return the filter for all versions of some files, filedepot's included."""
    ours = {"metadata.file_id": file_ids[0] if len(file_ids) == 1 else {"$in": file_ids}}
    old = [ObjectId(digits) for each in file_ids if (digits := object_id_in(each)) is not None]
    return {"$or": [ours, {"_id": {"$in": old}, **NOT_OURS}]} if old else ours


def _metadata(document: Document) -> Mapping[str, Any]:
    """Return the metadata of a document, empty if another program has put something else there."""
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def revision_of(document: Document) -> int:
    """Return the number of a version of a file: the highest is the newest."""
    return int(_metadata(document).get("revision", 0))


def info_of(file_id: str, document: Document) -> FileInfo:
    """Return the description of a file."""
    metadata = _metadata(document)
    content_type = document.get("contentType") or metadata.get("contentType") or OCTET_STREAM
    name = clean_filename(document.get("filename")) or UNNAMED
    checksum = metadata.get("checksum")
    return FileInfo(
        file_id,
        name,
        str(content_type),
        int(document["length"]),
        _aware(document["uploadDate"]),
        checksum if isinstance(checksum, str) else None,
    )


def _aware(when: datetime) -> datetime:
    """Return a time of the database in UTC; clients return times with or without a zone."""
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def entry_of(file_id: str, document: Document) -> FileEntry:
    """Return the entry of a file in a listing, from its `LISTED` fields."""
    return FileEntry.told(check_file_id(file_id), int(document["length"]), _aware(document["uploadDate"]))
