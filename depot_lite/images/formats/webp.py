"""The measures of a WebP, from its header and its chunks (RFC 9649, sections 2.3 to 2.7)."""

from __future__ import annotations

from typing import BinaryIO, Final

from depot_lite.images.formats.measures import Measures, Steps, broken

# Two canvases of libwebp, its buffers, the copy that Pillow takes, and Pillow's own picture.
_BYTES_PER_PIXEL: Final = 16

# Lossless pixels and transparency may have a set of Huffman tables for each block of 4 x 4 pixels; a set takes 20 bits
# of the file at least, and about 6 KB of memory.
_LOSSLESS: Final = {b"VP8L", b"ALPH", b"ANMF"}
_MAX_SETS: Final = 65_536
_BITS_PER_SET: Final = 20
_BYTES_PER_SET: Final = 6_000

_MAX_CHUNKS: Final = 10_000

#: The chunks of which Pillow takes copies.
_METADATA: Final = {b"ICCP", b"EXIF", b"XMP "}
_MAX_METADATA: Final = 32_000_000


def measure(file: BinaryIO, size: int) -> Measures:
    """Return the measures of a WebP; the file is read whole, and its canvas is allocated when it is opened."""
    file.seek(0)
    head = file.read(30).ljust(30, b"\0")
    if head[12:16] == b"VP8X":
        width, height = 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    elif head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    if not width or not height:
        raise broken("is broken or truncated")
    sets = min(_MAX_SETS, width * height // 16, 8 * _lossless_bytes(file, size) // _BITS_PER_SET)
    memory = _BYTES_PER_PIXEL * width * height + size
    return Measures(width, height, memory=memory, at_worst=memory + _BYTES_PER_SET * sets)


def _lossless_bytes(file: BinaryIO, size: int) -> int:
    """Return the size of the largest chunk that may be lossless."""
    steps, position, largest = Steps(_MAX_CHUNKS, _MAX_METADATA), 12, 0
    while position + 8 <= size:
        file.seek(position)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        steps.part(length if head[:4] in _METADATA else 0)
        if head[:4] in _LOSSLESS:
            largest = max(largest, min(length, size - position))
        position += 8 + length + length % 2
    return largest
