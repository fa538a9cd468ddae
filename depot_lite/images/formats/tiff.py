"""The measures of the first page of a TIFF (TIFF 6.0, section 2; BigTIFF)."""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from depot_lite.images.formats.measures import Measures, broken, check_row, exactly, picture_memory

#: Bytes of a value by its type; 16 and more are BigTIFF's.
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

#: How the types of whole numbers are unpacked, and their bytes; libtiff takes numbers with a sign, too.
_CODES: Final = dict(
    zip((1, 3, 4, 13, 16, 6, 8, 9, 17), zip("BHIIQbhiq", (1, 2, 4, 4, 8, 1, 2, 4, 8), strict=True), strict=True)
)
#: The types of bytes and text, which Pillow keeps as they are; it makes an object of every number.
_BYTES: Final = {1, 2, 7}

_KIND, _WIDTH, _LENGTH, _BITS, _COMPRESSION, _SAMPLES, _ROWS = 0xFE, 0x100, 0x101, 0x102, 0x103, 0x115, 0x116
_TILE_WIDTH, _TILE_LENGTH, _COLOURS = 0x142, 0x143, 0x140
#: The places and lengths of strips and tiles.
_PARTS: Final = {0x111, 0x117, 0x144, 0x145}
#: The places of other directories, all numbers of which Pillow reads.
_EXIF, _POSITION, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005

#: None, CCITT (2 to 4), LZW, JPEG, deflate (8 and 32946) and PackBits.
_COMPRESSIONS: Final = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}

_MAX_PARTS: Final = 100_000
_BYTES_PER_PART: Final = 800
_MAX_NUMBERS: Final = 65_536
_MAX_COLOURS: Final = 3 * 65_536


def measure(file: BinaryIO, size: int) -> Measures:
    """Return the measures of a TIFF: it is read whole, and a strip or a tile at a time is decoded into a buffer."""
    directory = _Directory(file, size)
    tags = directory.tags
    if tags.get(_KIND, 0) & 1:
        raise broken("begins with a preview, as raw photographs (DNG) do, and the picture behind it is not read")
    width, height = tags.get(_WIDTH, 0), tags.get(_LENGTH, 0)
    if not width or not height:
        raise broken("is broken or truncated")
    compression = tags.get(_COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise broken("is a TIFF with a compression that is not supported")
    wide = tags.get(_TILE_WIDTH, width)
    high = tags.get(_TILE_LENGTH, min(tags.get(_ROWS, height), height))
    # At least four samples of a byte, into which libtiff converts some; the buffer, and a copy of it.
    pixel = -(-tags.get(_SAMPLES, 1) * tags.get(_BITS, 1) // 8)
    buffers = 2 * max(4, pixel) * wide * high
    if compression == 1:
        # Pillow reads pixels that are not compressed from the file itself, up to the place of the next strip.
        check_row(pixel * width)
        buffers = size
    memory = size + buffers + picture_memory(width, height) + _BYTES_PER_PART * directory.parts
    return Measures(width, height, memory=memory)


class _Directory:
    """The first directory, and those inside of it.

    Raises:
        ImageRefused: by the rule ``"decodable"``: values overlap, which a reader would copy again and again; a tag is
            there twice, of which two readers may take different ones; there are masses of numbers.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._numbers, self._colours = _MAX_NUMBERS, _MAX_COLOURS
        #: The number of strips or tiles.
        self.parts = 0
        file.seek(0)
        head = exactly(file, 16)
        self._order = "<" if head[:2] == b"II" else ">"
        if self._unpack("H", head[2:4]) == 43:  # BigTIFF
            self._place, self._count, self._entry, first = "Q", "Q", "HHQ8s", head[8:16]
        else:
            self._place, self._count, self._entry, first = "I", "H", "HHI4s", head[4:8]
        #: The whole numbers by their tags, the largest of several values.
        self.tags = self._read(self._unpack(self._place, first))
        if not self.tags:
            raise broken("is broken or truncated")
        inner = self._read(self.tags.get(_EXIF, 0))
        for tag in (_POSITION, _INTEROPERABILITY):
            self._read(inner.get(tag, 0))
            self._read(self.tags.get(tag, 0))

    def _unpack(self, code: str, data: bytes) -> int:
        found: int = struct.unpack(self._order + code, data)[0]
        return found

    def _read(self, position: int) -> dict[int, int]:
        """Return the numbers of a directory, as far as the file has it."""
        if not 0 < position < self._size:
            return {}
        self._file.seek(position)
        size = struct.calcsize(self._order + self._count)
        count = self._unpack(self._count, self._file.read(size).ljust(size, b"\0"))
        entry, inline = struct.Struct(self._order + self._entry), struct.calcsize(self._order + self._place)
        data = self._file.read(min(count, 65_536) * entry.size)
        tags: dict[int, int] = {}
        seen: set[int] = set()
        left = self._size
        for tag, kind, number, value in entry.iter_unpack(data[: len(data) // entry.size * entry.size]):
            length = number * _SIZES.get(kind, 1)
            left -= length if length > inline else 0
            if left < 0:
                raise broken("has values that overlap")
            if tag in seen:
                raise broken("has two descriptions")
            seen.add(tag)
            if kind not in _BYTES:
                self._count_numbers(tag, number)
            if kind in _CODES:
                tags[tag] = self._largest(kind, value, number)
        return tags

    def _largest(self, kind: int, value: bytes, number: int) -> int:
        code, width = _CODES[kind]
        if number * width > len(value):
            # Only bits and samples have several values, and few.
            self._file.seek(min(self._unpack(self._place, value), self._size))
            number = min(number, 16)
            value = self._file.read(number * width)
            number = len(value) // width
        values = struct.unpack_from(f"{self._order}{number}{code}", value)
        if any(each < 0 for each in values):
            raise broken("is broken or truncated")
        return max(values, default=0)

    def _count_numbers(self, tag: int, number: int) -> None:
        """Count the numbers of which Pillow makes objects."""
        if tag in _PARTS:
            self.parts = max(self.parts, number)
        elif tag == _COLOURS:
            self._colours -= number
        else:
            self._numbers -= number
        if self.parts > _MAX_PARTS or self._colours < 0 or self._numbers < 0:
            raise broken("has too many parts, or too much metadata")
