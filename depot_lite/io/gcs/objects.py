"""What an object tells of its file: the resource that an upload writes, and the headers or the resource that are read.

Name, time and type are written as filedepot does, so that each reads what the other wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from secrets import token_hex
from typing import Any, Final
from urllib.parse import quote, unquote

from google_crc32c import Checksum

from depot_lite.errors import ConfigurationError
from depot_lite.io.content import clean_filename
from depot_lite.io.disposition import INLINE_TYPES, content_disposition
from depot_lite.io.interfaces import UNNAMED, FileInfo
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.media_types.detection import valid_media_type

#: Keys of the metadata; the first three are filedepot's.
_FILENAME: Final = "x-depot-filename"
_MODIFIED: Final = "x-depot-modified"
_TYPE: Final = "x-depot-content-type"
_CHECKSUM: Final = "x-depot-checksum"
#: Which attempt to upload made the object: how an upload whose answer was lost is known again.
ATTEMPT: Final = "x-depot-attempt"
_TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S"

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
            blob.content_type or OCTET_STREAM,
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
            headers.get("Content-Type") or OCTET_STREAM,
            int(headers.get("x-goog-stored-content-length") or headers["Content-Length"]),
            # An emulator may not say it.
            parsedate_to_datetime(when).astimezone(UTC) if when else datetime.now(UTC),
            None if generation is None else int(generation),
            hashes.get("crc32c"),
            {name: value for name, value in kept.items() if value and value != "identity"},
        )

    def info(self, file_id: str) -> FileInfo:
        """Return what is known of the file; filedepot wrote some of it, and others none."""
        filename = clean_filename(unquote(self.metadata.get(_FILENAME, "")))
        try:
            when = datetime.strptime(self.metadata.get(_MODIFIED, ""), _TIME_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            when = self.when
        checksum = self.metadata.get(_CHECKSUM)
        return FileInfo(file_id, filename or UNNAMED, self.content_type, self.length, when, checksum)


def described(info: FileInfo, storage_class: str | None, *, public: bool) -> dict[str, Any]:
    """Return the resource of a new object.

    Args:
        public: whether it has URLs that are not signed.
    """
    metadata = {
        # It may come back as a header, which is ASCII, so it is encoded, as filedepot does.
        _FILENAME: quote(info.filename, safe="!#$&+-.^_`|~"),
        _TYPE: info.content_type,
        **_new_attempt(info.last_modified),
    }
    resource = {"contentType": info.content_type, "metadata": metadata | checksum_of(info)}
    return resource | _disposition(info, public=public) | _of_class(storage_class)


def _disposition(info: FileInfo, *, public: bool) -> dict[str, str]:
    """Return how a browser treats the object, where that is not left to the URL.

    What a signed URL says counts only where the object says nothing (https://github.com/rails/rails/pull/33814). So an
    image says nothing, lest it could not be downloaded under another name, and a page says that it is a download, lest
    anybody could have it run.
    """
    passive = valid_media_type(info.content_type) in INLINE_TYPES
    if passive and not public:
        return {}
    return {"contentDisposition": content_disposition("inline" if passive else "attachment", info.filename)}


def checksum_of(info: FileInfo) -> dict[str, str]:
    """Return the part of an object's metadata that tells the checksum, nothing where none is known."""
    return {} if info.checksum is None else {_CHECKSUM: info.checksum}


def copied(found: Found, when: datetime, storage_class: str | None) -> dict[str, Any]:
    """Return the resource of a copy of an object."""
    metadata = {**found.metadata, **_new_attempt(when)}
    return {**found.kept, "contentType": found.content_type, "metadata": metadata} | _of_class(storage_class)


def _of_class(storage_class: str | None) -> dict[str, str]:
    return {} if storage_class is None else {"storageClass": storage_class}


def _new_attempt(when: datetime) -> dict[str, str]:
    return {_MODIFIED: when.strftime(_TIME_FORMAT), ATTEMPT: token_hex(8)}


def labelled(blob: Any, resource: Mapping[str, Any]) -> Any:
    """Give the library's object, of which nothing is known yet, what a resource says, and return it."""
    blob.content_type = resource["contentType"]
    if "contentDisposition" in resource:
        blob.content_disposition = resource["contentDisposition"]
    blob.metadata = resource["metadata"]
    if "storageClass" in resource:
        blob.storage_class = resource["storageClass"]
    return blob


def overrides(filename: str | None, disposition: str | None, content_type: str | None) -> dict[str, str]:
    """Return the parameters of a URL's query for headers of the answer."""
    found = {}
    if disposition not in {None, "inline", "attachment"}:
        raise ConfigurationError(f"disposition={disposition!r}: 'inline' or 'attachment' is wanted")
    if disposition is not None or filename is not None:
        # A name alone is one to save under.
        found["response-content-disposition"] = content_disposition(disposition or "attachment", filename or "")
    if content_type is not None:
        if valid_media_type(content_type) is None or not (content_type.isprintable() and content_type.isascii()):
            raise ConfigurationError(f"content_type={content_type!r}: a type such as 'image/png' is wanted")
        found["response-content-type"] = content_type
    return found


def new_crc32c() -> Any:
    """Return a CRC-32C of nothing, which is told of bytes and tells its digest."""
    return Checksum()  # type: ignore[no-untyped-call]  # its own lack
