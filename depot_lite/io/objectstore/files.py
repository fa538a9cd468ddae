"""The metadata of files in a store: name, type and checksum.

Stores in the cloud keep them as attributes of the object, in the form of `S3Storage`, so that the two storages read
each other's files. Folders and web servers keep none: there they are a header of fixed length before the bytes. One
object has both, so that it is replaced, copied and deleted in one step, and no crash can separate them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from depot_lite.errors import StorageFailed
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.objects.metadata import MODIFIED, disposition_of, info_in, metadata_of

#: Length and start of a header. Listings have the lengths of objects, which include it.
HEADER: Final = 2048
_MAGIC: Final = b"depot_lite file 1\n"

_TYPE: Final = "Content-Type"
_DISPOSITION: Final = "Content-Disposition"


def attributes_of(info: FileInfo, max_value: int | None) -> dict[str, str]:
    """Return the metadata of a new object, with the mark of this attempt to store it."""
    metadata = metadata_of(info, max_value)
    # Copies made by the store keep the attributes, and would have the time of their source.
    del metadata[MODIFIED]
    return {_TYPE: info.content_type, _DISPOSITION: disposition_of(info), **metadata}


def info_of(file_id: str, record: Mapping[str, Any], metadata: Mapping[str, str], header: int) -> FileInfo:
    """Return a file's info from its metadata and the store's record of the object."""
    return info_in(metadata, file_id, metadata.get(_TYPE), record["size"] - header, record["last_modified"])


class InAttributes:
    """Attributes of an object. Azure takes no dash in their names."""

    header: Final = 0

    def __init__(self, *, dashes: bool) -> None:
        self._dashes = dashes

    def encode(self, metadata: Mapping[str, str]) -> tuple[dict[str, str] | None, bytes]:
        """Return the attributes to send with the bytes, and the header to send before them."""
        if self._dashes:
            return dict(metadata), b""
        return {name.replace("-", "_") if name.startswith("x-") else name: text for name, text in metadata.items()}, b""

    def decode(self, attributes: Mapping[str, str], header: bytes) -> Mapping[str, str] | None:
        """Return the metadata of an object."""
        return {name.replace("_", "-") if name.startswith("x_") else name: text for name, text in attributes.items()}


class InHeader:
    """A header before the bytes."""

    header: Final = HEADER

    def encode(self, metadata: Mapping[str, str]) -> tuple[dict[str, str] | None, bytes]:
        """Return the attributes to send with the bytes, and the header to send before them."""
        # The disposition is for readers of the object's URL, which would read the header too.
        text = json.dumps({name: value for name, value in metadata.items() if name != _DISPOSITION})
        header = _MAGIC + text.encode().ljust(HEADER - len(_MAGIC) - 1) + b"\n"
        if len(header) != HEADER:
            raise StorageFailed("name and type of the file are too long to be stored")
        return None, header

    def decode(self, attributes: Mapping[str, str], header: bytes) -> Mapping[str, str] | None:
        """Return the metadata of an object, None without a header: the file is not ours."""
        if len(header) != HEADER or not header.startswith(_MAGIC):
            return None
        try:
            metadata: dict[str, str] = json.loads(header[len(_MAGIC) :])
        except ValueError:
            return None
        return metadata
