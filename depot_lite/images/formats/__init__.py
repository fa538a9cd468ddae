"""The size of an image and the cost of decoding it, read from the file without a decoder.

Decoders allocate memory by numbers in the file that need not be the size of the picture: a TIFF of one pixel may have a
tile of two billion, and an AVIF of 64 x 64 pixels a frame of 16,384 x 16,384. Each module here reads one format as its
decoder does, in a bounded number of steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO, Final

from depot_lite.errors import ImageRefused
from depot_lite.images.formats import bmp, gif, ico, isobmff, jpeg, jpeg2000, png, tiff, webp
from depot_lite.images.formats.measures import Measures, check_memory, check_pixels
from depot_lite.images.headers import MAX_PIXELS

#: The largest size of a file beside its pixels, in bytes: metadata, previews, the video of a live photo.
_MAX_EXTRA: Final = 64_000_000
#: More bytes than any encoder needs for a pixel.
_MAX_BYTES_PER_PIXEL: Final = 8

#: The formats of which the decoder takes the whole file into memory.
_READ_WHOLE: Final = {"WEBP", "AVIF", "HEIF", "TIFF", "JPEG2000"}

_FORMATS: Final[dict[str, Callable[[BinaryIO, int], Measures]]] = {
    "JPEG": jpeg.measure,
    "PNG": png.measure,
    "GIF": gif.measure,
    "BMP": bmp.measure,
    "WEBP": webp.measure,
    "AVIF": isobmff.measure_avif,
    "HEIF": isobmff.measure_heif,
    "TIFF": tiff.measure,
    "ICO": ico.measure,
    "JPEG2000": jpeg2000.measure,
}


def measure(name: str, file: BinaryIO, max_pixels: int | None, max_memory: int) -> Measures:
    """Return the measures of an image of this format.

    Raises:
        ImageRefused: by the rule ``"max_pixels"``, ``"memory"``, ``"scans"`` or ``"decodable"``.
    """
    size = file.seek(0, os.SEEK_END)
    if name in _READ_WHOLE:
        check_memory(size, max_memory)
    if size > _MAX_EXTRA + _MAX_BYTES_PER_PIXEL * max(max_pixels or 0, MAX_PIXELS):
        raise _too_long(size)
    found = _FORMATS[name](file, size)
    check_pixels(found.width, found.height, max_pixels)
    if size > _MAX_EXTRA + _MAX_BYTES_PER_PIXEL * found.width * found.height * found.frames:
        raise _too_long(size)
    check_memory(found.memory, max_memory)
    return found


def _too_long(size: int) -> ImageRefused:
    return ImageRefused(f"the file has {size:,} bytes, more than its pixels can need", rule="decodable", value=size)
