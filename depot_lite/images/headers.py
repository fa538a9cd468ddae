"""Image headers: the format and the declared number of pixels.

They are read without Pillow, which allocates the canvas of a GIF or a WebP, or warns of its size, when it opens one.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import BinaryIO, Final

from depot_lite.errors import ConfigurationError, ImageRefused

#: The supported formats, by Pillow's names. JPEG includes MPO; HEIF includes the HEIC of phones.
FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "HEIF")

#: The largest number of pixels: Pillow's threshold for a warning, 256 MiB at three bytes each. That is more than
#: cameras produce (61 million).
MAX_PIXELS: Final = 1024**3 // 4 // 3

#: The content type of each of `FORMATS`.
CONTENT_TYPES: Final = {name: f"image/{name.lower()}" for name in FORMATS}
#: The extension of each format that can be written.
EXTENSIONS: Final = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "AVIF": ".avif"}

_SIGNATURES: Final = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "WEBP": re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL),
    # The brand mif1 is only the container; the brands that follow tell AV1 from HEVC.
    "AVIF": re.compile(rb".{4}ftyp(?:avi[fs]|m[is]f1.{4}(?:.{4}){0,8}?avi[fs])", re.DOTALL),
    "HEIF": re.compile(rb".{4}ftyp(?:he[iv][cmsx]|m[is]f1)", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
}


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The format, size and kind of an image, from its header."""

    #: One of `FORMATS`.
    format: str
    content_type: str
    #: In pixels, as displayed: after the EXIF orientation has been applied.
    width: int
    height: int
    #: 1 for a still image, also for a TIFF with several pages.
    frames: int
    #: Whether the pixel format has transparency; all pixels may be opaque nevertheless.
    has_alpha: bool


def format_of(file: BinaryIO, formats: Collection[str]) -> str:
    """Return the format, one of `FORMATS`, from the first bytes; the file name is ignored.

    Raises:
        ImageRefused: by the rule ``"format"`` if the format is not in ``formats``.
        ConfigurationError: if ``formats`` contains something that is not in `FORMATS`.
    """
    allowed = [str(name).upper().replace("JPG", "JPEG") for name in formats]
    if unsupported := [name for name in allowed if name not in FORMATS]:
        raise ConfigurationError(f"formats: expected some of {', '.join(FORMATS)}, got {', '.join(unsupported)}")
    file.seek(0)
    head = file.read(64)
    found = next((name for name, signature in _SIGNATURES.items() if signature.match(head)), None)
    if found is None or found not in allowed:
        reason = "is not an image that can be read" if found is None else f"is an image of the type {found}"
        message = f"the file {reason}; {', '.join(allowed)} are accepted"
        raise ImageRefused(message, rule="format", limit=tuple(allowed), value=found)
    return found


def gif_extent(file: BinaryIO) -> tuple[int, int, int]:
    """Return the extent of all frames of a GIF, which may exceed its declared screen, and their number."""
    file.seek(6)
    width, height, flags = struct.unpack("<HHB2x", file.read(7))
    _skip_palette(file, flags)
    frames = 0
    while block := file.read(1):
        if block == b",":
            left, top, wide, high, flags = struct.unpack("<HHHHB", file.read(9))
            width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
            _skip_palette(file, flags)
        elif block == b";":
            break
        elif block != b"!":
            continue
        file.read(1)
        while (size := file.read(1)) not in (b"", b"\0"):
            file.seek(size[0], os.SEEK_CUR)
    return width, height, frames


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << (flags & 7) + 1, os.SEEK_CUR)


def webp_canvas(file: BinaryIO) -> tuple[int, int]:
    """Return width and height from the header of a WebP (RFC 9649, sections 2.5 to 2.7)."""
    file.seek(0)
    head = file.read(30).ljust(30, b"\0")
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def check_pixels(width: int, height: int, limit: int | None) -> None:
    """Raise ImageRefused by the rule ``"max_pixels"`` if there are more pixels than the limit; None means no limit."""
    if limit is not None and width * height > limit:
        message = f"the image has {width} x {height} pixels, more than {limit:,} in all"
        raise ImageRefused(message, rule="max_pixels", limit=limit, value=width * height)
