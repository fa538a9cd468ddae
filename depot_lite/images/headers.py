"""The names, types and signatures of image formats, and images as they are found and made."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import BinaryIO, Final

from depot_lite.errors import ConfigurationError, ImageRefused
from depot_lite.images.recipes import OUTPUT_FORMATS

#: The supported formats, by Pillow's names. JPEG includes MPO; HEIF includes the HEIC of phones.
FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "HEIF", "ICO", "JPEG2000")
#: Other names of theirs.
_ALIASES: Final = {"JPG": "JPEG", "TIF": "TIFF", "HEIC": "HEIF", "JP2": "JPEG2000"}

#: The formats that are read by default: the formats of browsers and phones.
DEFAULT_FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF")

#: The largest number of pixels: Pillow's threshold for a warning, 256 MiB at three bytes each. That is more than
#: cameras produce (61 million).
MAX_PIXELS: Final = 1024**3 // 4 // 3

#: The content type of each of `FORMATS`.
CONTENT_TYPES: Final = {name: f"image/{name.lower()}" for name in FORMATS} | {
    "ICO": "image/vnd.microsoft.icon",
    "JPEG2000": "image/jp2",
}
#: The extension of each format that can be written.
EXTENSIONS: Final = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "BMP": ".bmp",
    "WEBP": ".webp",
    "AVIF": ".avif",
    "JPEG2000": ".jp2",
}

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
    # .NET writes 255 for the zero byte of an entry.
    "ICO": re.compile(rb"\0\0\x01\0[^\0]\0.{3}[\0\xff]", re.DOTALL),
    "JPEG2000": re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
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


@dataclass(frozen=True, slots=True)
class Rendition:
    """A rendered image: its bytes, size and type."""

    data: bytes
    width: int
    height: int
    content_type: str
    #: With its dot: ``".webp"``.
    extension: str


def named_formats(formats: Collection[str]) -> tuple[str, ...]:
    """Return names of formats, in any case and also by other common names, as they are in `FORMATS`.

    Raises:
        ConfigurationError: one of them is not supported.
    """
    names = tuple(_ALIASES.get(str(each).upper(), str(each).upper()) for each in formats)
    if unsupported := [name for name in names if name not in FORMATS]:
        raise ConfigurationError(f"formats: expected some of {', '.join(FORMATS)}, got {', '.join(unsupported)}")
    return names


def format_of(file: BinaryIO, formats: Collection[str]) -> str:
    """Return the format, one of `FORMATS`, from the first bytes; the file name is ignored.

    Raises:
        ImageRefused: by the rule ``"format"`` if the format is not in ``formats``.
        ConfigurationError: if ``formats`` contains something that is not in `FORMATS`.
    """
    allowed = named_formats(formats)
    file.seek(0)
    head = file.read(64)
    found = next((name for name, signature in _SIGNATURES.items() if signature.match(head)), None)
    if found is None or found not in allowed:
        reason = "is not an image that can be read" if found is None else f"is an image of the type {found}"
        message = f"the file {reason}; {', '.join(allowed)} are accepted"
        raise ImageRefused(message, rule="format", limit=allowed, value=found)
    return found


def output_type(output_format: str | None, content_type: str) -> tuple[str | None, str]:
    """Return content type and extension of a rendition, None and ``""`` if only the decoder can tell them.

    Args:
        output_format: of the recipe; None if the format of the source is kept.
        content_type: of the source.

    >>> output_type("WEBP", "image/png"), output_type(None, "image/png"), output_type(None, "image/heif")
    (('image/webp', '.webp'), ('image/png', '.png'), (None, ''))
    """
    kept = next((name for name in OUTPUT_FORMATS if CONTENT_TYPES[name] == content_type), None)
    name = output_format or kept
    return (None, "") if name is None else (CONTENT_TYPES[name], EXTENSIONS[name])
