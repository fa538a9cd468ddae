"""The measures of an ICO: of its largest picture, by the header of the picture itself.

The directory of an ICO gives each picture a width and a height of one byte; the PNG or BMP inside may have others. So
each entry is measured by its own header, and the decoder gets the largest picture and nothing else of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Final

from depot_lite.images.formats import png
from depot_lite.images.formats.measures import Measures, broken, exactly

#: More bytes than any icon has: the largest picture is read whole.
_MAX_SIZE: Final = 32_000_000
_MAX_ENTRIES: Final = 255

#: Larger pictures are PNG.
_MAX_BMP_SIDE: Final = 256
_BMP_HEADERS: Final = {40, 52, 56, 64, 108, 124}

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A picture of an ICO, by its own header."""

    width: int
    height: int
    #: Per pixel; 32 for a PNG.
    bits: int
    is_png: bool
    start: int
    length: int

    def read(self, file: BinaryIO) -> bytes:
        """Return the bytes of a PNG, or an ICO with this BMP as its only picture."""
        file.seek(self.start)
        data = exactly(file, self.length)
        if self.is_png:
            return data
        sides = self.width % 256, self.height % 256
        return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", *sides, 0, 0, 1, self.bits, self.length, 22) + data


def measure(file: BinaryIO, size: int) -> Measures:
    """Return the measures of the largest picture."""
    if size > _MAX_SIZE:
        raise broken("has more bytes than an icon needs")
    found = _largest(file)
    if found.is_png:
        inner = png.measure(BytesIO(found.read(file)), found.length)
        return Measures(inner.width, inner.height, memory=found.length)
    # The pixels, their transparency and a copy with both, made in one step by Pillow.
    return Measures(found.width, found.height, memory=found.length + 12 * found.width * found.height)


def largest_picture(file: BinaryIO) -> tuple[str, BinaryIO]:
    """Return the format of the largest picture, which is PNG or ICO, and a file with this picture only."""
    found = _largest(file)
    return "PNG" if found.is_png else "ICO", BytesIO(found.read(file))


def _largest(file: BinaryIO) -> _Entry:
    """Return the entry with the most pixels, and of those with as many the one with the most bits per pixel."""
    return max(_entries(file), key=lambda entry: (entry.width * entry.height, entry.bits))


def _entries(file: BinaryIO) -> Iterator[_Entry]:
    """Yield the pictures of an ICO.

    Raises:
        ImageRefused: by the rule ``"decodable"`` if there are none, or one cannot be read.
    """
    file.seek(4)
    count = int.from_bytes(exactly(file, 2), "little")
    if not 0 < count <= _MAX_ENTRIES:
        raise broken("has no pictures, or too many")
    for length, start in struct.iter_unpack("<8xII", exactly(file, 16 * count)):
        file.seek(start)
        head = exactly(file, min(length, 24)).ljust(24, b"\0")
        file.seek(start + length - 1)
        exactly(file, 1)
        yield _png(start, length, head) if head.startswith(_PNG_SIGNATURE) else _bmp(start, length, head)


def _png(start: int, length: int, head: bytes) -> _Entry:
    width, height = struct.unpack(">II", head[16:24])
    if head[12:16] != b"IHDR" or not width or not height:
        raise broken("is broken or truncated")
    return _Entry(width, height, 32, True, start, length)


def _bmp(start: int, length: int, head: bytes) -> _Entry:
    header, width, twice, _, bits, compression = struct.unpack("<IiiHHI", head[:20])
    # The height counts the colours and the mask of transparency.
    height = twice // 2
    if header not in _BMP_HEADERS or compression or not 0 < width <= _MAX_BMP_SIDE or not 0 < height <= _MAX_BMP_SIDE:
        raise broken("is broken or truncated")
    return _Entry(width, height, bits, False, start, length)
