"""PNG as browsers read it: a decoder gets the chunks of the picture, and colours come from any of four kinds of chunks.

Pillow refuses a PNG with much compressed text, a large profile, or a wrong checksum beside the pixels. None of these
concerns the picture.
"""

from __future__ import annotations

import io
import struct
import zlib
from bisect import bisect_right
from typing import BinaryIO, Final

from depot_lite.images.profiles import CURVES, PRIMARIES, profile

#: The chunks that are passed on whatever their checksum says: the decoder complains where a browser does.
_PIXELS: Final = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT"}
#: The others that are passed on, if their checksum is right.
_BESIDE: Final = {b"tRNS", b"eXIf"}
_COLOURS: Final = {b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"}
#: The largest chunk that is read here, and the largest profile, in bytes. Profiles of printers have up to 4 MB.
_MAX_CHUNK: Final = 8_000_000
_MAX_PROFILE: Final = 16_000_000
#: A gamma that is so near to 1/2.2 stands for sRGB, as for browsers.
_NEARLY: Final = 0.05


def picture_of(file: BinaryIO) -> tuple[BinaryIO, bytes | None]:
    """Return a file with the chunks of the picture only, and its colour profile.

    The checksums of pixels are left to the decoder. The file ends where the chunks do.
    """
    parts: list[tuple[int, int]] = [(0, 8)]
    found: dict[bytes, bytes] = {}
    position, grey = 8, False
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            break
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        end = position + length + 12
        if name == b"IHDR":
            grey = file.read(10)[9:] in (b"\0", b"\4")
        if name in _PIXELS or (name in _BESIDE and _is_right(file, position, length)):
            if parts[-1][1] == position:
                parts[-1] = parts[-1][0], end
            else:
                parts.append((position, end))
        elif name in _COLOURS and name not in found and _is_right(file, position, length):
            file.seek(position + 8)
            found[name] = file.read(length)
        if name == b"IEND":
            break
        position = end
    file.seek(0)
    return (file if len(parts) == 1 else io.BufferedReader(_Parts(file, parts), 65_536)), _profile(found, grey)


def _is_right(file: BinaryIO, position: int, length: int) -> bool:
    """Return whether the checksum of a chunk matches its name and data."""
    if length > _MAX_CHUNK:
        return False
    file.seek(position + 4)
    data = file.read(length + 8)
    return len(data) == length + 8 and zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "big")


def _profile(chunks: dict[bytes, bytes], grey: bool) -> bytes | None:
    """Return the profile of an image; None if it is sRGB, or not known.

    The order follows the PNG specification, third edition, section 4.3. HDR (PQ and HLG) counts as sRGB.
    """
    if (code := chunks.get(b"cICP")) is not None and len(code) == 4 and code[0] in PRIMARIES and code[2] == 0:
        curve = CURVES.get(code[1])
        return None if curve is None else profile(None if grey else PRIMARIES[code[0]], curve)
    if b"iCCP" in chunks:
        return _unpacked(chunks[b"iCCP"])
    if b"sRGB" in chunks:
        return None
    gamma = int.from_bytes(chunks.get(b"gAMA", b"")[:4], "big") / 100_000
    numbers = chunks.get(b"cHRM", b"")
    points = PRIMARIES[1]
    if len(numbers) == 32:
        white, *others = ((x / 100_000, y / 100_000) for x, y in struct.iter_unpack(">II", numbers))
        points = others[0], others[1], others[2], white
    elif abs(2.2 * gamma - 1) < _NEARLY:
        return None
    try:
        return profile(None if grey else points, (1 / gamma,)) if gamma else None
    except (ZeroDivisionError, struct.error):  # points that make no colours
        return None


def _unpacked(chunk: bytes) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(chunk.partition(b"\0")[2][1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return data if unpacker.eof else None


class _Parts(io.RawIOBase):
    """Parts of a file, one after the other."""

    def __init__(self, file: BinaryIO, parts: list[tuple[int, int]]) -> None:
        self._file = file
        self._begins = [begin for begin, _ in parts]
        self._starts = [0]
        for begin, end in parts:
            self._starts.append(self._starts[-1] + end - begin)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io.RawIOBase takes any buffer
        number = bisect_right(self._starts, self._position) - 1
        if number >= len(self._begins):
            return 0
        within = self._position - self._starts[number]
        self._file.seek(self._begins[number] + within)
        data = self._file.read(min(len(buffer), self._starts[number + 1] - self._position))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
