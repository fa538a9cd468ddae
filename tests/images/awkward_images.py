"""The images that go wrong elsewhere, made here: small, exact, and the same on every run.

Most show `QUARTERS`: red, green, blue and yellow from the top left to the bottom right, so that a picture that was
turned, mirrored, inverted or bleached is recognised by four pixels.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from io import BytesIO
from typing import Any

import pillow_heif
from PIL import Image, ImageCms

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 180, 30), (30, 30, 220), (230, 220, 40)
QUARTERS = (RED, GREEN, BLUE, YELLOW)

Colour = int | tuple[int, ...]


def quarters(
    width: int = 96, height: int = 64, mode: str = "RGB", colours: tuple[Colour, ...] = QUARTERS
) -> Image.Image:
    """Return an image of four colours."""
    image = Image.new(mode, (width, height))
    for index, colour in enumerate(colours):
        left, top = width // 2 * (index % 2), height // 2 * (index // 2)
        image.paste(colour, (left, top, left + width // 2, top + height // 2))
    return image


def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def oriented(orientation: int, name: str = "JPEG", *, maker: str | None = None) -> bytes:
    """Return an image that is displayed as `quarters` once its EXIF orientation has been applied."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    image = quarters()
    if orientation in undo:
        image = image.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    if maker is not None:
        exif[0x010F] = maker
    return saved(image, name, exif=exif)


def from_a_phone(**options: Any) -> bytes:
    """Return a JPEG with a position, a maker, a serial number, a time, XMP, a comment and orientation 6."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = 6, "Maker", "Phone 1"
    exif[0x8769] = {0x9003: "2024:05:06 07:08:09", 0x829A: 0.01, 0xA431: "SERIAL-4711", 0x927C: b"private notes"}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 14.0), 3: "E", 4: (11.0, 34.0, 31.0)}
    image = quarters().transpose(Image.Transpose.ROTATE_90)
    return saved(image, "JPEG", exif=exif, xmp=b"<x:xmpmeta>PLACE</x:xmpmeta>", comment=b"REMARK", **options)


def adobe_cmyk() -> bytes:
    """Return a JPEG in CMYK as Photoshop writes it, with all four inks inverted."""
    return saved(quarters().convert("CMYK"), "JPEG", quality=95, subsampling=0)


def grey16() -> bytes:
    """Return a PNG of 16 bits: 0, a quarter, a half and all of the white there is."""
    rows = [struct.pack("<48H48H", *[left] * 48, *[right] * 48) for left, right in ((0, 0x4000), (0x8000, 0xFFFF))]
    return saved(Image.frombytes("I;16", (96, 64), rows[0] * 32 + rows[1] * 32), "PNG")


def palette_with_transparency() -> bytes:
    """Return a PNG with a palette, in which the top left quarter is clear and nothing else is."""
    image = Image.new("P", (96, 64))
    image.putpalette([part for colour in QUARTERS for part in colour])
    for index in range(4):
        image.paste(index, (48 * (index % 2), 32 * (index // 2), 48 * (index % 2) + 48, 32 * (index // 2) + 32))
    return saved(image, "PNG", transparency=0)


def animation(name: str, frames: int = 3, size: tuple[int, int] = (96, 64), **options: Any) -> bytes:
    """Return red, green, blue, each for 100 ms longer than the one before, shown for ever."""
    pictures = [Image.new("RGB", size, QUARTERS[index % 3]) for index in range(frames)]
    durations = [100 * (index + 1) for index in range(frames)]
    given = {"save_all": True, "append_images": pictures[1:], "duration": durations, "loop": 0} | options
    if name == "WEBP":
        given["lossless"] = True
    return saved(pictures[0], name, **given)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@cache
def bomb_png(width: int = 50_000, height: int = 50_000) -> bytes:
    """Return a PNG of one bit per pixel, all of them there: 2,500 million pixels in 1.4 MB."""
    packer = zlib.compressobj(1)
    rows = bytes(100 * (1 + (width + 7) // 8))
    data = b"".join([*(packer.compress(rows) for _ in range(height // 100)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bomb_webp() -> bytes:
    """Return the header of a WebP of 16,383 x 16,383 pixels."""
    lossless = b"VP8L" + struct.pack("<IBI", 5, 0x2F, 16_382 | 16_382 << 14) + b"\0"
    return b"RIFF" + struct.pack("<I", 4 + len(lossless)) + b"WEBP" + lossless


def bomb_gif() -> bytes:
    """Return a GIF whose screen is one pixel, and whose frame is 65,535 x 65,535."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x02\x4c\x01\x00;"


def html_and_gif() -> bytes:
    """Return a GIF that a browser which is told so reads as a page: its comment and its end are a script."""
    script = b"<script>alert(document.domain)</script>"
    return saved(quarters(), "GIF", comment=b"<html>" + script) + script


@cache  # it contains the time of its making
def wide_gamut() -> bytes:
    """Return an RGB profile with red and green exchanged, which no viewer can mistake for sRGB.

    It is the sRGB profile of LittleCMS, the tags of two of its primaries being swapped.
    """
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    for position in range(132, 132 + 12 * count, 12):
        name = bytes(profile[position : position + 4])
        profile[position : position + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(name, name)
    start = bytes(profile).find(b"\0s\0R\0G\0B")
    while start >= 0:
        profile[start : start + 8] = b"\0T\0e\0s\0t"
        start = bytes(profile).find(b"\0s\0R\0G\0B")
    return bytes(profile)


def opened(data: bytes) -> Image.Image:
    """Return an image, decoded."""
    image = Image.open(BytesIO(data))
    image.load()
    return image


def four(image: Image.Image) -> list[Any]:
    """Return the colours in the middle of the quarters."""
    wide, high = image.size
    return [image.getpixel((wide * x // 4, high * y // 4)) for y in (1, 3) for x in (1, 3)]


def near(image: Image.Image, colours: tuple[Colour, ...], tolerance: int = 6) -> bool:
    """Return whether the quarters have these colours, as far as lossy formats keep them."""
    pairs = [(a, b) for found, wanted in zip(four(image), colours, strict=True) for a, b in _parts(found, wanted)]
    return all(abs(a - b) <= tolerance for a, b in pairs)


def _parts(found: Any, wanted: Any) -> list[tuple[int, int]]:
    found, wanted = (part if isinstance(part, tuple) else (part,) for part in (found, wanted))
    return list(zip(found, wanted, strict=True))


def heic(**options: Any) -> bytes:
    """Return a HEIC as phones write it; needs pillow-heif."""
    out = BytesIO()
    pillow_heif.from_pillow(quarters()).save(out, quality=95, **options)
    return out.getvalue()
