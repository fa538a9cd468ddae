"""Removal of metadata from PNG and WebP, chunk by chunk: no pixel is decoded, so none is changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

# The chunks that do not affect the pixels. RFC 9649 section 2.7.1 gives the bits of VP8X: EXIF is 8, XMP 4.
_METADATA: Final = {b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"EXIF", b"XMP "}


def png_without_metadata(data: bytes) -> bytes | None:
    """Return a PNG without metadata and without bytes after its end; None if it has no metadata."""
    return _without_metadata_chunks(data[:8], _png_chunks(data))


def webp_without_metadata(data: bytes) -> bytes | None:
    """Return a WebP without metadata, also according to its header; None if it has no metadata."""
    clean = _without_metadata_chunks(data[:12], _webp_chunks(data))
    return None if clean is None else clean[:4] + (len(clean) - 8).to_bytes(4, "little") + clean[8:]


def _without_metadata_chunks(head: bytes, chunks: Iterator[tuple[bytes, bytes]]) -> bytes | None:
    kept, dropped = [head], False
    for name, chunk in chunks:
        if name in _METADATA:
            dropped = True
        else:
            kept.append(chunk)
    return b"".join(kept) if dropped else None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the bytes of each chunk up to the end of the image."""
    position, name = 8, b""
    while position + 8 <= len(data) and name != b"IEND":
        size = int.from_bytes(data[position : position + 4], "big") + 12
        name = data[position + 4 : position + 8]
        yield name, data[position : position + size]
        position += size


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the bytes of each chunk, up to the length that the header tells."""
    position, end = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while position + 8 <= end:
        size = int.from_bytes(data[position + 4 : position + 8], "little") + 8
        size += size % 2
        name, chunk = data[position : position + 4], data[position : position + size]
        if name == b"VP8X":
            chunk = chunk[:8] + bytes((chunk[8] & ~0x0C,)) + chunk[9:]
        yield name, chunk
        position += size
