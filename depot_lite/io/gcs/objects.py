"""Objects as Google describes them: the resource of an upload, and the headers or resource of an answer.

Name, time and type are written as in filedepot, so that the two libraries read each other's files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from depot_lite.io.interfaces import FileInfo
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.objects.metadata import attempt_at, disposition_of, info_in, is_passive, metadata_of

#: filedepot's key for the type; only filedepot reads it.
_TYPE: Final = "x-depot-content-type"

#: Properties that a copy keeps, beside type and metadata: their names in resources, headers, and Google's library.
_KEPT: Final = (
    ("contentDisposition", "Content-Disposition", "content_disposition"),
    ("cacheControl", "Cache-Control", "cache_control"),
    ("contentEncoding", "x-goog-stored-content-encoding", "content_encoding"),
    ("contentLanguage", "Content-Language", "content_language"),
)
_OF_METADATA: Final = "x-goog-meta-"


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """The server's record of an object."""

    metadata: Mapping[str, str]
    content_type: str
    length: int
    when: datetime
    #: The version of the object; None if the server does not say.
    generation: int | None
    #: CRC-32C of the bytes, in the form of Google's headers.
    crc32c: str | None
    #: More properties of its resource.
    kept: Mapping[str, str]

    @classmethod
    def in_blob(cls, blob: Any) -> ObjectRecord:
        """Return the record in an object of Google's library."""
        kept = {name: getattr(blob, attribute) for name, _, attribute in _KEPT}
        return cls(
            blob.metadata or {},
            blob.content_type or OCTET_STREAM,
            blob.size,
            blob.time_created.astimezone(UTC),
            blob.generation,
            blob.crc32c,
            {name: value for name, value in kept.items() if value},
        )

    @classmethod
    def in_headers(cls, headers: Mapping[str, str]) -> ObjectRecord:
        """Return the record in the headers of an answer."""
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
            headers.get("Content-Type") or OCTET_STREAM,
            int(headers.get("x-goog-stored-content-length") or headers["Content-Length"]),
            # Some emulators do not send it.
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
    """Return the Content-Disposition of the object, unless it is left to the URL.

    A signed URL's disposition counts only if the object has none (https://github.com/rails/rails/pull/33814). So images
    have none, and can be downloaded under other names; pages are downloads, so that nobody can make a browser run them.
    """
    if is_passive(info.content_type) and not public:
        return {}
    return {"contentDisposition": disposition_of(info)}


def resource_of_copy(found: ObjectRecord, when: datetime, storage_class: str | None) -> dict[str, Any]:
    """Return the resource of a copy of an object."""
    metadata = {**found.metadata, **attempt_at(when)}
    return {**found.kept, "contentType": found.content_type, "metadata": metadata} | _of_class(storage_class)


def _of_class(storage_class: str | None) -> dict[str, str]:
    return {} if storage_class is None else {"storageClass": storage_class}


def labelled(blob: Any, resource: Mapping[str, Any]) -> Any:
    """Return a new object of Google's library, with the properties of a resource."""
    blob.content_type = resource["contentType"]
    if "contentDisposition" in resource:
        blob.content_disposition = resource["contentDisposition"]
    blob.metadata = resource["metadata"]
    if "storageClass" in resource:
        blob.storage_class = resource["storageClass"]
    return blob
