"""What an object tells of its file: name, type and checksum.

Stores in the cloud keep them as attributes of the object, written as `S3Storage` writes them, so that each reads what
the other stored. A folder or a web server keeps none: there they are a header of fixed length in front of the bytes.
One object has both, and so is replaced, copied and deleted with one step, and no crash can part them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from depot_lite.errors import StorageFailed
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.objects.metadata import MODIFIED, disposition_of, info_in, metadata_of

#: Length of a header, and how it begins. Listings tell the length of objects; that of files is this much less.
HEADER: Final = 2048
_BEGINS: Final = b"depot_lite file 1\n"

_TYPE: Final = "Content-Type"
_SHOWN: Final = "Content-Disposition"


def attributes_of(info: FileInfo) -> dict[str, str]:
    """Return what is to be remembered of a file, with a mark of this attempt to store it."""
    metadata = metadata_of(info)
    # A store that copies an object copies its attributes, so a copy would have the time of its source.
    del metadata[MODIFIED]
    return {_TYPE: info.content_type, _SHOWN: disposition_of(info), **metadata}


def info_of(file_id: str, meta: Mapping[str, Any], told: Mapping[str, str], header: int) -> FileInfo:
    """Return what an object tells, given what its store says of it."""
    return info_in(told, file_id, told.get(_TYPE), meta["size"] - header, meta["last_modified"])


class InAttributes:
    """Attributes of an object. Azure takes no dash in their names."""

    header: Final = 0

    def __init__(self, *, dashes: bool) -> None:
        self._dashes = dashes

    def encoded(self, told: Mapping[str, str]) -> tuple[dict[str, str] | None, bytes]:
        """Return what is sent beside the bytes, and what is sent in front of them."""
        if self._dashes:
            return dict(told), b""
        return {name.replace("-", "_") if name.startswith("x-") else name: text for name, text in told.items()}, b""

    def decoded(self, attributes: Mapping[str, str], header: bytes) -> Mapping[str, str] | None:
        """Return what was told."""
        return {name.replace("_", "-") if name.startswith("x_") else name: text for name, text in attributes.items()}


class InHeader:
    """A header in front of the bytes."""

    header: Final = HEADER

    def encoded(self, told: Mapping[str, str]) -> tuple[dict[str, str] | None, bytes]:
        """Return what is sent beside the bytes, and what is sent in front of them."""
        # The disposition is for who reads the object by a URL, and would read the header.
        text = json.dumps({name: value for name, value in told.items() if name != _SHOWN})
        header = _BEGINS + text.encode().ljust(HEADER - len(_BEGINS) - 1) + b"\n"
        if len(header) != HEADER:
            raise StorageFailed("name and type of the file are too long to be stored")
        return None, header

    def decoded(self, attributes: Mapping[str, str], header: bytes) -> Mapping[str, str] | None:
        """Return what was told; None where there is no header, so that it is no file of ours."""
        if len(header) != HEADER or not header.startswith(_BEGINS):
            return None
        try:
            told: dict[str, str] = json.loads(header[len(_BEGINS) :])
        except ValueError:
            return None
        return told
