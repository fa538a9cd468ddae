"""The measures of a JPEG 2000 picture: a JP2 file or a bare codestream (ISO/IEC 15444-1, annexes A, B and I).

OpenJPEG decodes a tile at a time. It keeps parameters of every tile, and for a tile its samples, and a structure for
each precinct and code block, of which a pixel may have several. A few bytes may declare 65,535 layers, 33 resolutions,
65,535 tiles or blocks of 16 samples, so all of these are counted. Whatever is not in Part 1 of the standard, or is
rare and multiplies (other orders of progression, packed headers, transformations), is refused.

Pillow does not release the GIL while OpenJPEG decodes, so that no other thread runs. Hence the time is bounded, too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import takewhile
from typing import BinaryIO, Final

from depot_lite.images.formats.measures import Measures, Steps, broken, exactly

_MAX_PARTS: Final = 100_000
#: The bytes of the boxes and markers that are read before the pixels.
_MAX_HEADERS: Final = 4_000_000

_HEADER, _CODESTREAM = b"jp2h", b"jp2c"
#: Boxes of the header, which OpenJPEG reads at other places, too.
_INNER: Final = {b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef"}
#: Of a palette, in the standard.
_MAX_COLOURS: Final = 1024

_SOC, _SIZ, _COD, _COC, _QCD, _QCC, _RGN = 0xFF4F, 0xFF51, 0xFF52, 0xFF53, 0xFF5C, 0xFF5D, 0xFF5E
_SOT, _SOD, _EOC = 0xFF90, 0xFF93, 0xFFD9
_COM: Final = 0xFF64
#: TLM, PLM, PLT and CRG, which do not concern the pixels.
_SKIPPED: Final = {0xFF55, 0xFF57, 0xFF58, 0xFF63}

_MAX_COMPONENTS: Final = 4
_MAX_TILES: Final = 65_535
_MAX_RESOLUTIONS: Final = 33
#: Each tile may have its own; encoders write one for all, or one for each component.
_MAX_STYLES: Final = 64
#: OpenJPEG decodes no more.
_MAX_PLANES: Final = 30
#: Code blocks that end after each pass, or skip the arithmetic coder.
_IN_SEGMENTS: Final = 0b101

# Bytes that OpenJPEG 2.5 allocates, with the overhead of the allocator.
_PER_TILE, _PER_TILE_COMPONENT, _PER_PRECINCT, _PER_BLOCK, _PER_SEGMENT = 15_000, 1_100, 600, 430, 60
# The rows or columns that the wavelet transformation works on at once.
_PER_LINE: Final = 64
# Seconds, about a third more than were measured: for a sample, for each pass over it, for a code block, for one that a
# packet may name, and for a packet.
_TO_SAMPLE, _TO_PASS, _TO_BLOCK, _TO_NAME, _TO_PACKET = 10e-9, 5e-9, 300e-9, 20e-9, 300e-9


@dataclass(frozen=True, slots=True)
class _Style:
    """How the samples of a component are divided: a marker COD or COC."""

    resolutions: int
    #: The logarithms of width and height of a code block, and of the precincts of each resolution.
    block: tuple[int, int]
    precincts: tuple[tuple[int, int], ...]
    in_segments: bool

    def structures(self, width: int, height: int) -> tuple[int, int, int]:
        """Return the number of precincts, the largest number of a resolution, and the number of code blocks."""
        precincts = most = blocks = 0
        for resolution, (wide, high) in enumerate(self.precincts):
            level = self.resolutions - 1 - resolution
            found = _pieces(_shrunk(width, level), wide) * _pieces(_shrunk(height, level), high)
            bands, inner = (3, 1) if resolution else (1, 0)
            across = _pieces(_shrunk(width, level + inner), min(self.block[0], wide - inner))
            down = _pieces(_shrunk(height, level + inner), min(self.block[1], high - inner))
            precincts, most, blocks = precincts + found, max(most, found), blocks + bands * across * down
        return precincts, most, blocks


def _shrunk(length: int, level: int) -> int:
    return -(-length >> level)


def _pieces(length: int, exponent: int) -> int:
    """Return the largest number of pieces between multiples of a power of two into which a length can fall."""
    return (length + (1 << exponent) - 2 >> exponent) + 1 if length else 0


def measure(file: BinaryIO, size: int) -> Measures:
    """Return the measures of a JPEG 2000 picture, and refuse one that is incomplete."""
    return _read(file, size).measures(size)


def without_metadata(data: bytes) -> bytes:
    """Return a picture without comments, boxes that do not concern the pixels, and bytes behind its end."""
    stream = _read(BytesIO(data), len(data))
    pixels = bytearray(data[stream.start : stream.end])
    for start, end in stream.comments:
        pixels[start - stream.start : end - stream.start] = b" " * (end - start)
    clean = bytes(pixels)
    if stream.start:
        header = _kept_boxes(data, 0, len(data), {b"jP  ", b"ftyp", b"rreq", _HEADER})
        return header + _box(_CODESTREAM, clean)
    return clean


def profile(file: BinaryIO) -> bytes | None:
    """Return the colour profile of a picture that has been measured; Pillow does not read it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    steps = Steps(_MAX_PARTS, _MAX_HEADERS)
    header = None if file.read(2) == b"\xff\x4f" else _find(file, 0, size, _HEADER, steps)
    place = header and _find(file, *header, b"colr", steps)
    if not place:
        return None
    file.seek(place[0])
    content = exactly(file, place[1] - place[0])
    # The method: 1 is a number of a colour space, 2 a profile, which begins behind precedence and approximation.
    return content[3:] if content[:1] == b"\2" else None


def _find(file: BinaryIO, start: int, end: int, name: bytes, steps: Steps) -> tuple[int, int] | None:
    """Return the start and end of the content of the first box of this name."""
    return next(((at, to) for found, at, to in _boxes(file, start, end, steps) if found == name), None)


def _kept_boxes(data: bytes, start: int, end: int, names: set[bytes]) -> bytes:
    """Return the boxes of these names before the codestream."""
    found = takewhile(lambda each: each[0] != _CODESTREAM, _boxes(BytesIO(data), start, end, Steps(_MAX_PARTS, 0)))
    return b"".join(
        _box(name, _kept_boxes(data, at, to, {*_INNER, b"res "}) if name == _HEADER else data[at:to])
        for name, at, to in found
        if name in names
    )


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def _read(file: BinaryIO, size: int) -> _Codestream:
    steps = Steps(_MAX_PARTS, _MAX_HEADERS)
    file.seek(0)
    bare = file.read(2) == b"\xff\x4f"
    start, end, declared = (0, size, None) if bare else _find_codestream(file, size, steps)
    stream = _Codestream(file, start, end, steps)
    if declared not in (None, (stream.height, stream.width, len(stream.components))):
        raise broken("has two descriptions")
    return stream


# --- boxes ------------------------------------------------------------------------------------------------------------


def _find_codestream(file: BinaryIO, size: int, steps: Steps) -> tuple[int, int, tuple[int, int, int]]:
    """Return the start and end of the codestream; height, width and the number of components from the header."""
    header: tuple[int, int, int] | None = None
    for name, start, end in _boxes(file, 0, size, steps):
        if name == _CODESTREAM and header is not None:
            return start, end, header
        if name in _INNER or name == _CODESTREAM or (name == _HEADER and header is not None):
            raise broken("has its parts in another order than expected")
        if name == _HEADER:
            header = _read_header(file, start, end, steps)
    raise broken("is broken or truncated")


def _boxes(file: BinaryIO, position: int, end: int, steps: Steps) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each box, and the start and end of its content."""
    while position + 8 <= end:
        steps.part()
        file.seek(position)
        length, name, start = int.from_bytes(exactly(file, 4), "big"), exactly(file, 4), position + 8
        if length == 1:
            length, start = int.from_bytes(exactly(file, 8), "big"), position + 16
        elif length == 0 and name == _CODESTREAM:
            length = end - position
        if not start <= position + length <= end:
            raise broken("is broken or truncated")
        yield name, start, position + length
        position += length


def _read_header(file: BinaryIO, start: int, end: int, steps: Steps) -> tuple[int, int, int]:
    steps.part(end - start)
    found: tuple[int, int, int] | None = None
    for name, at, _ in _boxes(file, start, end, steps):
        file.seek(at)
        if name == b"ihdr":
            if found is not None:
                raise broken("has two descriptions")
            found = struct.unpack(">IIH", exactly(file, 10))
        elif name == b"pclr" and int.from_bytes(exactly(file, 2), "big") > _MAX_COLOURS:
            raise broken("has too many colours in its palette")
    if found is None:
        raise broken("is broken or truncated")
    return found


# --- the codestream ---------------------------------------------------------------------------------------------------


class _Codestream:
    """The numbers in the headers of a codestream by which a decoder allocates."""

    def __init__(self, file: BinaryIO, start: int, end: int, steps: Steps) -> None:
        self._file, self._steps = file, steps
        #: The end is behind the last marker once it has been found.
        self.start, self.end = start, end
        #: The start and end of each comment.
        self.comments: list[tuple[int, int]] = []
        self.width = self.height = 0
        #: The precision of each component, and the distances between its samples.
        self.components: list[tuple[int, int, int]] = []
        #: Width, height and number of the tiles.
        self._tile = (0, 0, 0)
        self._styles: set[_Style] = set()
        self._layers = self._planes = self._shift = 0
        file.seek(start)
        self._read()

    def _read(self) -> None:
        """Read the headers of the image and of all parts of its tiles."""
        if self._number(2) != _SOC or self._number(2) != _SIZ:
            raise broken("is broken or truncated")
        self._read_size(self._segment())
        marker = self._read_markers(_SOT)
        if not self._styles or not self._planes:
            raise broken("is broken or truncated")
        parts: dict[int, int] = {}
        expected: dict[int, int] = {}
        while marker == _SOT:
            self._steps.part()
            start = self._file.tell() - 2
            length, tile, size, part, count = struct.unpack(">HHIBB", exactly(self._file, 10))
            end = start + size if size else self.end
            if length != 10 or tile >= self._tile[2] or parts.get(tile, 0) != part or end > self.end:
                raise broken("is broken or truncated")
            parts[tile], expected[tile] = part + 1, count or expected.get(tile, 0)
            self._read_markers(_SOD)
            if self._file.tell() > end:
                raise broken("is broken or truncated")
            self._file.seek(end)
            marker = self._number(2) if end + 2 <= self.end else _EOC
        complete = all(count in (0, parts[tile]) for tile, count in expected.items())
        if marker != _EOC or len(parts) < self._tile[2] or not complete:
            raise broken("is broken or truncated")
        self.end = self._file.tell()

    def _number(self, size: int) -> int:
        return int.from_bytes(exactly(self._file, size), "big")

    def _segment(self) -> bytes:
        length = self._number(2) - 2
        if length < 0:
            raise broken("is broken or truncated")
        self._steps.part(length)
        return exactly(self._file, length)

    def _read_size(self, segment: bytes) -> None:
        if len(segment) < 36 or not 0 < len(segment) - 36 <= 3 * _MAX_COMPONENTS:
            raise broken("is a JPEG 2000 of a kind that is not supported")
        right, bottom, left, top, wide, high, tiles_left, tiles_top, count = struct.unpack(">2xIIIIIIIIH", segment[:36])
        self.components = [(each[0] & 0x7F, each[1], each[2]) for each in struct.iter_unpack("BBB", segment[36:])]
        self.width, self.height = right - left, bottom - top
        if (
            len(self.components) != count
            or not all(depth < 31 and across and down for depth, across, down in self.components)
            or min(self.width, self.height, wide, high) <= 0
            or not (tiles_left <= left < tiles_left + wide and tiles_top <= top < tiles_top + high)
        ):
            raise broken("is broken or truncated")
        tiles = -(-(right - tiles_left) // wide) * -(-(bottom - tiles_top) // high)
        if tiles > _MAX_TILES:
            raise broken("has too many tiles")
        self._tile = min(wide, self.width), min(high, self.height), tiles

    def _read_markers(self, last: int) -> int:
        """Read markers up to this one, which has no segment, or whose segment is left to the caller."""
        while (marker := self._number(2)) != last:
            segment = self._segment()
            if marker == _COD:
                self._read_style(segment[:1], segment[5:])
                self._layers = max(self._layers, int.from_bytes(segment[2:4], "big"))
            elif marker == _COC:
                self._read_style(segment[1:2], segment[2:])
            elif marker in (_QCD, _QCC):
                self._read_planes(segment[marker == _QCC :])
            elif marker == _COM:
                self.comments.append((self._file.tell() - max(len(segment) - 2, 0), self._file.tell()))
            elif marker == _RGN:
                self._shift = max(self._shift, segment[-1] if segment else 0)
            elif marker not in _SKIPPED:
                raise broken("is a JPEG 2000 of a kind that is not supported")
        return marker

    def _read_style(self, flags: bytes, segment: bytes) -> None:
        if len(segment) < 5:
            raise broken("is broken or truncated")
        resolutions, wide, high, style = segment[0] + 1, segment[1] + 2, segment[2] + 2, segment[3]
        sizes = segment[5:] if flags[0] & 1 else b"\xff" * resolutions
        # Without the sixth bit, which stands for the coder of Part 15.
        if resolutions > _MAX_RESOLUTIONS or wide + high > 12 or style > 0x3F or len(sizes) != resolutions:
            raise broken("is a JPEG 2000 of a kind that is not supported")
        precincts = tuple((each & 15, each >> 4) for each in sizes)
        if any(0 in each for each in precincts[1:]):
            raise broken("is broken or truncated")
        self._styles.add(_Style(resolutions, (wide, high), precincts, bool(style & _IN_SEGMENTS)))
        if len(self._styles) > _MAX_STYLES:
            raise broken("has too many parts, or too much metadata")

    def _read_planes(self, segment: bytes) -> None:
        """Read how many bits the largest coefficient may have: the exponent of the band, and guard bits."""
        if len(segment) < 2:
            raise broken("is broken or truncated")
        exponents = segment[1:] if not segment[0] & 0x1F else segment[1::2]
        self._planes = max(self._planes, max(each >> 3 for each in exponents) + (segment[0] >> 5) - 1, 1)

    def measures(self, size: int) -> Measures:
        """Return what OpenJPEG and Pillow allocate, and the time that it takes at worst."""
        wide, high, tiles = self._tile
        memory = size + 4 * self.width * self.height + tiles * (_PER_TILE + _PER_TILE_COMPONENT * len(self.components))
        precincts = blocks = segments = most = samples = 0
        for depth, across, down in self.components:
            width, height = -(-wide // across), -(-high // down)
            # A coefficient, and the sample that Pillow gets, also of components that have fewer samples than pixels.
            memory += 4 * width * height + (1 << min(depth // 8, 2)) * wide * high + _PER_LINE * max(width, height)
            samples += -(-self.width // across) * -(-self.height // down)
            # A tile may have a style of its own, and keeps the structures of the tile before it.
            for style in self._styles:
                found = style.structures(width, height)
                precincts, most, blocks = precincts + found[0], max(most, found[1]), blocks + found[2]
                segments += found[2] * self._layers * (164 if style.in_segments else 2)
        # Three bits of a header, or five for a code block of the usual kind, declare a segment.
        memory += _PER_PRECINCT * precincts + _PER_BLOCK * blocks + _PER_SEGMENT * min(segments, 8 * size // 3)
        # Two bytes for each packet that there could be if all resolutions had as many precincts.
        memory += 2 * (self._layers + 1) * most * len(self.components) * max(each.resolutions for each in self._styles)
        planes = min(self._planes + self._shift, _MAX_PLANES)
        seconds = samples * (_TO_SAMPLE + _TO_PASS * (3 * planes - 2))
        seconds += tiles * (_TO_BLOCK * (3 * precincts + blocks) + _TO_PACKET * precincts * self._layers)
        # A packet takes a byte at least, so a short file has few that name blocks.
        seconds += _TO_NAME * blocks * min(tiles * self._layers, size)
        return Measures(self.width, self.height, memory=memory, seconds=seconds)
