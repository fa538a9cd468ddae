"""The measures of a BMP, from its header."""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from depot_lite.images.formats.measures import Measures, broken, check_pixels, check_row, exactly

#: The sizes of the headers that Pillow knows; it reads one of any other size before it refuses it.
_HEADERS: Final = {12, 40, 52, 56, 64, 108, 124}

#: Run lengths, which Pillow decodes in Python, to the end of the file.
_RUN_LENGTHS: Final = {1, 2}
_MAX_RUN_LENGTH_PIXELS: Final = 4_000_000


def measure(file: BinaryIO, size: int) -> Measures:
    """Return the measures of a BMP, and refuse one whose run lengths or rows take long."""
    file.seek(14)
    header = int.from_bytes(exactly(file, 4), "little")
    if header not in _HEADERS:
        raise broken("is broken or truncated")
    if header == 12:
        (width, height, _, bits), compression = struct.unpack("<HHHH", exactly(file, 8)), 0
    else:
        width, height, _, bits, compression = struct.unpack("<IiHHI", exactly(file, 16))
    if compression in _RUN_LENGTHS:
        check_pixels(width, abs(height), _MAX_RUN_LENGTH_PIXELS)
        if size > 65_536 + 4 * width * abs(height):
            raise broken("has more bytes than its pixels can need")
    check_row(width * bits // 8)
    return Measures(width, abs(height))
