"""`Measures`: the size of an image and the memory that its decoder takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

from depot_lite.errors import ImageRefused

#: The number of bytes between the parts of a file that a reader skips, as decoders do.
_MAX_JUNK: Final = 65_536

#: The largest number of bytes in a row of pixels that are not compressed: Pillow copies a row for each 64 KB of it.
_MAX_ROW: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Measures:
    """The size of an image, and the memory that its decoder takes.

    Pillow's picture is part of the memory of WebP, AVIF, HEIC, TIFF and JPEG 2000, and is to be added for the other
    formats.
    """

    #: In pixels, before an orientation is applied; the largest canvas that is allocated.
    width: int
    height: int
    frames: int = 1
    #: In bytes: coefficients, tiles, the whole file, the buffers of a library.
    memory: int = 0
    #: The memory of a file that was made to take much, if that is more; such an image is decoded alone.
    at_worst: int = 0
    #: For which the decoder stops all threads of the process, at worst.
    seconds: float = 0.0
    #: The primaries and the curve of the colours, as numbers of ITU-T H.273, if the file has them beside its pixels.
    colours: tuple[int, int] | None = None


class Steps:
    """Counts the parts of a file, so that one of many tiny parts is refused instead of read for minutes."""

    def __init__(self, limit: int, max_bytes: int) -> None:
        self._parts, self._bytes, self._junk = limit, max_bytes, _MAX_JUNK

    def part(self, size: int = 0) -> None:
        """Count a part, and the bytes that a decoder keeps of it."""
        self._parts -= 1
        self._bytes -= size
        if self._parts < 0 or self._bytes < 0:
            raise broken("has too many parts, or too much metadata")

    def junk(self, size: int = 1) -> None:
        """Count bytes that belong to no part."""
        self._junk -= size
        if self._junk < 0:
            raise broken("has too many bytes that belong to no part of it")


def broken(reason: str) -> ImageRefused:
    """Return the error of an image that no decoder should see."""
    return ImageRefused(f"the image {reason}", rule="decodable")


def exactly(file: BinaryIO, size: int) -> bytes:
    """Return the next bytes of a file.

    Raises:
        ImageRefused: by the rule ``"decodable"``: the file ends before.
    """
    data = file.read(size)
    if len(data) < size:
        raise broken("is broken or truncated")
    return data


def picture_memory(width: int, height: int, pixel: int = 4) -> int:
    """Return the bytes of a picture of Pillow, also if it is rotated: a row has a pointer, and four bytes at least."""
    return pixel * width * height + 11 * max(width, height)


def check_row(size: int) -> None:
    """Raise ImageRefused by the rule ``"decodable"`` if a row of this many bytes, not compressed, takes too long."""
    if size > _MAX_ROW:
        raise broken("has rows that are too long")


def check_pixels(width: int, height: int, limit: int | None) -> None:
    """Raise ImageRefused by the rule ``"max_pixels"`` if there are more pixels than the limit; None means no limit."""
    if limit is not None and width * height > limit:
        message = f"the image has {width} x {height} pixels, more than {limit:,} in all"
        raise ImageRefused(message, rule="max_pixels", limit=limit, value=width * height)


def check_time(needed: float, limit: float) -> None:
    """Raise ImageRefused by the rule ``"time"`` if decoding may stop all threads for more seconds than the limit."""
    if needed > limit:
        message = f"the image may take {needed:.1f} seconds to be decoded, more than {limit:g}"
        raise ImageRefused(message, rule="time", limit=limit, value=needed)


def check_memory(needed: int, limit: int) -> None:
    """Raise ImageRefused by the rule ``"memory"`` if decoding takes more bytes than the limit."""
    if needed > limit:
        message = f"the image needs about {needed // 10**6} MB of memory to be decoded, more than {limit // 10**6} MB"
        raise ImageRefused(message, rule="memory", limit=limit, value=needed)
