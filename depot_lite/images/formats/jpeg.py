"""The measures of a JPEG: its frame header, the coefficients that are held, and the number of scans (ITU-T T.81)."""

from __future__ import annotations

import os
import re
from typing import BinaryIO, Final

from depot_lite.errors import ImageRefused
from depot_lite.images.formats.measures import Measures, Steps, broken, exactly

#: The largest number of scans; encoders write about ten. Each is a pass over the whole image.
MAX_SCANS: Final = 100
#: The largest number of pixels in all scans: about a second.
MAX_SCANNED_PIXELS: Final = 2_000_000_000

_MAX_SEGMENTS: Final = 10_000
_MAX_METADATA: Final = 32_000_000
#: Segments of EXIF data, which Pillow joins one by one, and reads to find the resolution.
_MAX_EXIF_SEGMENTS: Final = 16

# Huffman coding only: baseline, extended and progressive. No browser shows arithmetic coding or lossless JPEG.
_FRAMES: Final = {0xC0, 0xC1, 0xC2}
_OTHER_FRAMES: Final = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xDE}
#: The markers that Pillow passes without their segments, whose bytes it reads as further markers. libjpeg knows none.
_UNKNOWN: Final = {*range(0x02, 0xC0), 0xC8, 0xDF, *range(0xF0, 0xFE)}
_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
#: The markers without a segment: TEM, RST0 to RST7 and SOI.
_BARE: Final = {0x01, *range(0xD0, 0xD9)}

_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_PART: Final = 65_536


def measure(file: BinaryIO, size: int) -> Measures:
    """Return the measures of a JPEG, and refuse one with so many scans that it takes seconds."""
    header = _frame_header(file)
    if header is None:
        raise broken("is broken or truncated")
    progressive, height, width, sampling = header
    if not width or not height or not sampling:
        raise broken("has no pixels")
    length = int.from_bytes(exactly(file, 2), "big") - 2
    if length < 1:
        raise broken("is broken or truncated")
    first = exactly(file, length)
    if not progressive and first[0] >= len(sampling):
        return Measures(width, height)  # decoded in one pass, with a few rows in memory
    scans, steps = 1, Steps(_MAX_SEGMENTS, _MAX_METADATA)
    while _next_scan(file, steps):
        _segment(file)
        scans += 1
        if scans > min(MAX_SCANS, max(10, MAX_SCANNED_PIXELS // (width * height))):
            message = f"the image is drawn in more than {scans - 1} passes, more than can be decoded in time"
            raise ImageRefused(message, rule="scans", limit=scans - 1)
    return Measures(width, height, memory=_coefficients(width, height, sampling))


def has_end(file: BinaryIO) -> bool:
    """Return whether the marker of the end follows the coded data; decoders of reduced pictures do not miss it."""
    before = b""
    if _frame_header(file) is None:
        return False
    while part := file.read(_PART):
        if b"\xff\xd9" in before + part:
            return True
        before = part[-1:]
    return False


def has_all_scans(file: BinaryIO) -> bool:
    """Return whether the scans of a JPEG, the last of which may be cut off, have each coefficient of each component."""
    header, steps = _frame_header(file), Steps(_MAX_SEGMENTS, _MAX_METADATA)
    found: set[tuple[int, int]] = set()
    more = header is not None
    while more:
        scan = _segment(file)
        if len(scan) > 5 and len(scan) == 4 + 2 * scan[0] and not scan[-1] & 15:  # the lowest bits are among them
            found.update((each, number) for each in scan[1:-3:2] for number in range(scan[-3], scan[-2] + 1))
        more = _next_scan(file, steps)
    return header is not None and len(found) == 64 * len(header[3])


def _frame_header(file: BinaryIO) -> tuple[bool, int, int, list[tuple[int, int]]] | None:
    """Return whether the JPEG is progressive, its height and width, and the sampling factors of its components.

    The file is left behind the marker of the first scan, as by Pillow, which keeps every segment before it.
    """
    steps, exif = Steps(_MAX_SEGMENTS, _MAX_METADATA), Steps(_MAX_EXIF_SEGMENTS, _MAX_METADATA)
    found = None
    file.seek(2)
    while byte := file.read(1):
        if byte != b"\xff":
            steps.junk()
            continue
        while (marker := file.read(1)) == b"\xff":
            steps.junk()
        code = marker[0] if marker else 0
        if code == _SOS:
            return found
        if code in _BARE or code in (0, _EOI):
            steps.junk(2)
            continue
        if code in _OTHER_FRAMES or code in _UNKNOWN:
            raise broken("is a JPEG of a kind that is not supported")
        length = max(int.from_bytes(exactly(file, 2), "big") - 2, 0)
        steps.part(length)
        segment = exactly(file, length)
        if code == _APP1 and segment.startswith(b"Exif\0\0"):
            exif.part()
        if code in _FRAMES:
            # Pillow reads as many components as there are bytes, of every header.
            if found is not None or len(segment) < 6 or len(segment) != 6 + 3 * segment[5]:
                raise broken("is broken or truncated")
            height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
            factors = segment[7::3]
            found = code == 0xC2, height, width, [(factor >> 4, factor & 15) for factor in factors]
    return None


def _next_scan(file: BinaryIO, steps: Steps) -> bool:
    """Move behind the marker of the next scan; return whether there is one."""
    while (code := _next_marker(file)) not in (_EOI, _SOS):
        steps.part()
        if code < 0xC0:
            # With restart intervals, libjpeg skips a reserved marker, and not the bytes behind it.
            raise broken("is broken or truncated")
        if code not in _BARE:
            _segment(file)
    return code == _SOS


def _segment(file: BinaryIO) -> bytes:
    """Return the content of the segment that follows its marker, as far as it is there."""
    return file.read(max(int.from_bytes(file.read(2), "big") - 2, 0))


def _next_marker(file: BinaryIO) -> int:
    """Move behind the next marker in coded data and return its code; the end of the file ends the image, too."""
    before = b""
    while part := file.read(_PART):
        data = before + part
        if match := _MARKER.search(data):
            file.seek(match.end() - len(data), os.SEEK_CUR)
            return data[match.end() - 1]
        before = data[-1:]
    return _EOI


def _coefficients(width: int, height: int, sampling: list[tuple[int, int]]) -> int:
    """Return the bytes of the coefficients of the whole image, two for each sample."""
    across = max(1, *(h for h, _ in sampling))
    down = max(1, *(v for _, v in sampling))
    blocks = sum(-(-width * h // (8 * across)) * -(-height * v // (8 * down)) for h, v in sampling)
    return 128 * blocks
