"""What an object tells of its file: the resource that an upload writes, and the headers or the resource that are read.

Name, time and type are written as filedepot does, so that each reads what the other wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from depot_lite.io.interfaces import FileInfo
from depot_lite.io.objects.metadata import NO_TYPE, attempt_at, disposition_of, info_in, is_passive, metadata_of

#: filedepot's key for the type, written for its sake.
_TYPE: Final = "x-depot-content-type"

#: What of an object a copy keeps, beside its type and its metadata: as a resource has it, as headers have it, and as
#: Google's library has it.
_KEPT: Final = (
    ("contentDisposition", "Content-Disposition", "content_disposition"),
    ("cacheControl", "Cache-Control", "cache_control"),
    ("contentEncoding", "x-goog-stored-content-encoding", "content_encoding"),
    ("contentLanguage", "Content-Language", "content_language"),
)
_OF_METADATA: Final = "x-goog-meta-"


@dataclass(frozen=True, slots=True)
class Found:
    """An object that was looked at."""

    metadata: Mapping[str, str]
    content_type: str
    length: int
    when: datetime
    #: Which version of the object this is; None where the server does not say.
    generation: int | None
    #: CRC-32C of the bytes in base64, as Google has it.
    crc32c: str | None
    #: More of its resource.
    kept: Mapping[str, str]

    @classmethod
    def in_blob(cls, blob: Any) -> Found:
        """Return what Google's library has found out."""
        kept = {name: getattr(blob, attribute) for name, _, attribute in _KEPT}
        return cls(
            blob.metadata or {},
            blob.content_type or NO_TYPE,
            blob.size,
            blob.time_created.astimezone(UTC),
            blob.generation,
            blob.crc32c,
            {name: value for name, value in kept.items() if value},
        )

    @classmethod
    def in_headers(cls, headers: Mapping[str, str]) -> Found:
        """Return what comes with the bytes."""
        kept = {name: headers.get(header, "") for name, header, _ in _KEPT}
        hashes = dict(each.strip().partition("=")[::2] for each in headers.get("x-goog-hash", "").split(","))
        when = headers.get("Last-Modified")
        generation = headers.get("x-goog-generation")
        return cls(
            {
                name.lower().removeprefix(_OF_METADATA): value
                for name, value in headers.items()
                if name.lower().startswith(_OF_METADATA)
            },
            headers.get("Content-Type") or NO_TYPE,
            int(headers.get("x-goog-stored-content-length") or headers["Content-Length"]),
            # An emulator may not say it.
            parsedate_to_datetime(when).astimezone(UTC) if when else datetime.now(UTC),
            None if generation is None else int(generation),
            hashes.get("crc32c"),
            {name: value for name, value in kept.items() if value and value != "identity"},
        )

    def info(self, file_id: str) -> FileInfo:
        """Return the file's info."""
        return info_in(self.metadata, file_id, self.content_type, self.length, self.when)


def resource_of(info: FileInfo, storage_class: str | None, *, public: bool) -> dict[str, Any]:
    """Return the resource of a new object.

    Args:
        public: whether it has URLs that are not signed.
    """
    resource = {"contentType": info.content_type, "metadata": {_TYPE: info.content_type, **metadata_of(info)}}
    return resource | _disposition(info, public=public) | _of_class(storage_class)


def _disposition(info: FileInfo, *, public: bool) -> dict[str, str]:
    """Return how a browser treats the object, where that is not left to the URL.

    What a signed URL says counts only where the object says nothing (https://github.com/rails/rails/pull/33814). So an
    image says nothing, lest it could not be downloaded under another name, and a page says that it is a download, lest
    anybody could have it run.
    """
    if is_passive(info.content_type) and not public:
        return {}
    return {"contentDisposition": disposition_of(info)}


def resource_of_copy(found: Found, when: datetime, storage_class: str | None) -> dict[str, Any]:
    """Return the resource of a copy of an object."""
    metadata = {**found.metadata, **attempt_at(when)}
    return {**found.kept, "contentType": found.content_type, "metadata": metadata} | _of_class(storage_class)


def _of_class(storage_class: str | None) -> dict[str, str]:
    return {} if storage_class is None else {"storageClass": storage_class}


def labelled(blob: Any, resource: Mapping[str, Any]) -> Any:
    """Give the library's object, of which nothing is known yet, what a resource says, and return it."""
    blob.content_type = resource["contentType"]
    if "contentDisposition" in resource:
        blob.content_disposition = resource["contentDisposition"]
    blob.metadata = resource["metadata"]
    if "storageClass" in resource:
        blob.storage_class = resource["storageClass"]
    return blob
