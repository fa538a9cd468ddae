"""What storages of objects have in common: times in whole seconds, and the CRC-32 of what is about to be sent."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime

from depot_lite.io.content import CHUNK_SIZE, Content
from depot_lite.io.interfaces import StoredFile


def now() -> datetime:
    """Return the time as the metadata can tell it: in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def crc32_of(content: Content) -> int | None:
    """Return the CRC-32 of large content before it is sent, None where reading it twice is impossible or costs much.

    The metadata of a multipart upload are sent first, so there is no other time to learn it for servers that compute
    none. A file of another storage may have to be downloaded.
    """
    if not content.rereadable or isinstance(content.source, StoredFile):
        return None
    crc32 = 0
    with content.open() as source:
        while chunk := source.read(CHUNK_SIZE):
            crc32 = zlib.crc32(chunk, crc32)
    return crc32


def crc32_in(checksum: str | None) -> int | None:
    """Return the CRC-32 that a checksum of `FileInfo` is, None where it is another one.

    >>> crc32_in("crc32:000000ff"), crc32_in("sha256:00")
    (255, None)
    """
    algorithm, _, digest = (checksum or "").partition(":")
    return int(digest, 16) if algorithm == "crc32" else None


def shown(crc32: int) -> str:
    """Return a CRC-32 as `FileInfo` has it."""
    return f"crc32:{crc32:08x}"
