"""The measures of AVIF and HEIC, from the boxes of the file and the headers of the coded pictures.

A picture consists of items, such as the tiles of a grid and a plane of transparency (ISO/IEC 23008-12, AV1 Image File
Format). A decoder allocates by the headers inside the items, which may differ from the sizes in the boxes, so both are
read. What two readers may understand differently is refused: boxes in other places, and second boxes of one kind.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from depot_lite.images.formats.coded import av1_extent, hevc_extent
from depot_lite.images.formats.measures import Measures, Steps, broken, exactly

#: The largest file that may have enough pixels for its bytes, and memory for both. It is read here, once as a whole.
_MAX_FILE: Final = 250_000_000
#: The bytes of the boxes that describe the pictures.
_MAX_DESCRIPTION: Final = 16_000_000
_MAX_PARTS: Final = 100_000
#: The largest metadata. Of EXIF data, Pillow makes an object of every number in some entries.
_MAX_METADATA: Final = {b"Exif": 1_000_000, b"mime": 32_000_000}
#: The pixels of all pictures that others consist of: about two seconds.
_MAX_COMPONENT_PIXELS: Final = 200_000_000

#: The frames of one item or sample: the layers of a picture, and frames that are not shown.
_MAX_LAYERS: Final = 16

#: The boxes that consist of boxes, by their parent; with the number of bytes before the first.
_PARENTS: Final = {
    (b"meta", b"iprp"): 0,
    (b"iprp", b"ipco"): 0,
    (b"meta", b"iinf"): 6,
    (b"meta", b"iref"): 4,
    (b"moov", b"trak"): 0,
    (b"trak", b"mdia"): 0,
    (b"mdia", b"minf"): 0,
    (b"minf", b"stbl"): 0,
    (b"stsd", b"av01"): 78,
    (b"stsd", b"hvc1"): 78,
    (b"stsd", b"hev1"): 78,
}
#: Boxes that there may be one of: in the file, or in a track.
_SINGLE: Final = {
    b"meta",
    b"moov",
    b"iprp",
    b"ipco",
    b"iinf",
    b"iref",
    b"iloc",
    b"idat",
    b"stsz",
    b"stsc",
    b"stco",
    b"co64",
}


def measure_avif(file: BinaryIO, size: int) -> Measures:
    """Return the measures of an AVIF: libavif holds the planes of all its pictures, and two copies of the canvas."""
    found = _Pictures(file, size)
    width, height = found.canvas
    memory = size + 10 * width * height + 3 * found.coded
    return Measures(width, height, max(1, found.frames), memory, colours=found.colours)


def measure_heif(file: BinaryIO, size: int) -> Measures:
    """Return the measures of a HEIC: libheif draws each picture into the canvas."""
    found = _Pictures(file, size)
    width, height = found.canvas
    return Measures(width, height, memory=size + 7 * width * height + 3 * found.largest, colours=found.colours)


class _Pictures:
    """The canvas and the coded pictures of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        if size > _MAX_FILE:
            raise broken("has more bytes than its pixels can need")
        self._file, self._size = file, size
        self._steps = Steps(_MAX_PARTS, _MAX_DESCRIPTION)
        #: The bytes that may still be read of pictures: each of the file once, by items and by samples.
        self._left = size
        self._seen: set[bytes] = set()
        #: Width and height of the largest canvas.
        self.canvas = (0, 0)
        #: The pixels of all coded pictures, and of the largest; a picture of 10 or 12 bits counts twice.
        self.coded = self.largest = 0
        #: Of the first picture, as in `Measures`.
        self.colours: tuple[int, int] | None = None
        self.frames = 0
        self._deep = 1
        for name, start, end in self._top_level():
            if name in (b"meta", b"moov"):
                self._once(name)
                self._steps.part(end - start)
                # The first sample of a sequence is its main picture, too.
                self._left = size
                file.seek(start)
                body = memoryview(exactly(file, end - start))
                self._read_items(body) if name == b"meta" else self._read_tracks(body)
        if not self.canvas[0] or not self.canvas[1]:
            raise broken("is broken or truncated")

    def _top_level(self) -> Iterator[tuple[bytes, int, int]]:
        position = 0
        while position + 8 <= self._size:
            self._steps.part()
            self._file.seek(position)
            head = self._file.read(16)
            length, start = int.from_bytes(head[:4], "big"), position + 8
            if length == 1:
                length, start = int.from_bytes(head[8:], "big"), position + 16
            end = self._size if length == 0 else min(position + length, self._size)
            if end < start:
                return  # bytes behind the image, which decoders ignore
            yield head[4:8], start, end
            position = end

    def _boxes(self, data: memoryview, parent: bytes) -> Iterator[tuple[bytes, memoryview]]:
        """Yield the name and the content of every box, those inside of others too."""
        position = 0
        while position + 8 <= len(data):
            self._steps.part()
            length, name, start = _number(data[position : position + 4]), bytes(data[position + 4 : position + 8]), 8
            if length == 1:
                length, start = _number(data[position + 8 : position + 16]), 16
            end = position + length if length else len(data)
            if end < position + start:
                raise broken("is broken or truncated")
            body = data[position + start : end]
            if name == b"trak" and parent == b"moov":
                self._seen -= {b"stsz", b"stsc", b"stco", b"co64"}
            if name in _SINGLE and (parent, name) != (b"trak", b"meta"):  # it has metadata only
                self._once(name)
            yield name, body
            skip = _PARENTS.get((parent, name))
            if skip is not None:
                yield from self._boxes(body[8 if name == b"iinf" and _number(body[:1]) else skip :], name)
            position = end

    def _once(self, name: bytes) -> None:
        if name in self._seen:
            raise broken("has two descriptions")
        self._seen.add(name)

    def _read(self, position: int, length: int) -> bytes:
        """Return bytes of pictures, each of which can be read once."""
        self._steps.part()
        self._file.seek(min(position, self._size))
        data = self._file.read(min(length, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise broken("has parts that overlap")
        return data

    def _see_canvas(self, width: int, height: int) -> None:
        if width * height > self.canvas[0] * self.canvas[1]:
            self.canvas = width, height

    def _count_picture(self, width: int, height: int, frames: int = 1) -> None:
        self._see_canvas(width, height)
        # A decoder holds at most eight reference frames.
        pixels = width * height * self._deep * min(max(frames, 1), 8)
        self.coded += pixels
        self.largest = max(self.largest, pixels)

    # --- items --------------------------------------------------------------------------------------------------------

    def _read_items(self, meta: memoryview) -> None:
        kinds: dict[int, bytes] = {}
        places, inner = memoryview(b""), memoryview(b"")
        largest = (0, 0)
        components: list[int] = []
        reference = 2
        for name, body in self._boxes(meta[4:], b"meta"):
            if name == b"infe" and _number(body[:1]) in (2, 3):
                wide = 2 if _number(body[:1]) == 2 else 4
                item = _number(body[4 : 4 + wide])
                if item in kinds:
                    raise broken("has two descriptions")
                kinds[item] = bytes(body[6 + wide : 10 + wide])
            elif name == b"ispe":
                largest = max(largest, (_number(body[4:8]), _number(body[8:12])), key=lambda size: size[0] * size[1])
            elif name == b"iref":
                reference = 4 if _number(body[:1]) else 2
            elif name == b"dimg":
                numbers = _Numbers(body)
                numbers.take(reference)
                components += [numbers.take(reference) for _ in range(min(numbers.take(2), len(body)))]
            elif name == b"iloc":
                places = body
            elif name == b"idat":
                inner = body
            else:
                self._read_configuration(name, body)
        self._see_canvas(*largest)
        for item, data in self._contents(places, inner, kinds):
            match kinds[item]:
                case b"av01":
                    self._count_picture(*av1_extent(data, self._steps, _MAX_LAYERS))
                case b"hvc1" | b"hev1":
                    self._count_picture(*hevc_extent(_units(data), self._steps, _MAX_LAYERS))
                case b"grid":
                    self._see_canvas(*_size_at(data, 4, wide=data[1:2] == b"\1"))
                case b"iovl":
                    self._see_canvas(*_size_at(data, 10, wide=data[1:2] == b"\1"))
        if not self.coded:
            self._count_picture(*largest)
        # A decoder decodes a component each time that it is named, all of it, however little of it is shown.
        if len(set(components)) < len(components) or len(components) * self.largest > _MAX_COMPONENT_PIXELS:
            raise broken("consists of too many pictures")

    def _read_configuration(self, name: bytes, body: memoryview) -> None:
        if name == b"colr" and bytes(body[:4]) == b"nclx" and self.colours is None:
            self.colours = _number(body[4:6]), _number(body[6:8])
        elif name == b"av1C":
            self._deep = max(self._deep, 2 if len(body) > 2 and body[2] & 0x40 else 1)
            self._see_canvas(*av1_extent(bytes(body[4:]), self._steps, 0)[:2])
        elif name == b"hvcC":
            self._deep = max(self._deep, 2 if len(body) > 17 and body[17] & 7 else 1)
            self._count_picture(*hevc_extent(_configured_units(bytes(body)), self._steps, 0))

    def _contents(self, places: memoryview, inner: memoryview, kinds: dict[int, bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the bytes of each picture, from the box ``iloc``."""
        reader = _Numbers(places)
        version = reader.take(1)
        reader.take(3)
        sizes, more = reader.take(1), reader.take(1)
        for _ in range(reader.take(4 if version == 2 else 2)):
            self._steps.part()
            item = reader.take(4 if version == 2 else 2)
            method = reader.take(2) & 15 if version else 0
            reader.take(2)
            base = reader.take(more >> 4)
            is_picture = kinds.get(item) in (b"av01", b"hvc1", b"hev1", b"grid", b"iovl")
            if is_picture and method > 1:
                raise broken("is of a kind that is not supported")
            metadata, most = 0, _MAX_METADATA.get(kinds.get(item, b""), 2**63)
            parts: list[bytes] = []
            for _ in range(reader.take(2)):
                self._steps.part()
                if version:
                    reader.take(more & 15)
                start, length = base + reader.take(sizes >> 4), reader.take(sizes & 15)
                metadata += length or self._size
                if metadata > most:
                    raise broken("has too many parts, or too much metadata")
                if is_picture and method == 1:
                    part = inner[start : start + length] if length else inner[start:]
                    self._steps.part(len(part))
                    parts.append(bytes(part))
                elif is_picture:
                    parts.append(self._read(start, length or self._size))
            if is_picture:
                yield item, b"".join(parts)

    # --- sequences ----------------------------------------------------------------------------------------------------

    def _read_tracks(self, moov: memoryview) -> None:
        tables: dict[bytes, memoryview] = {}
        for name, body in self._boxes(moov, b"moov"):
            if name == b"tkhd":
                width, height = struct.unpack(">II", bytes(body[-8:]).rjust(8, b"\0"))
                self._see_canvas(width >> 16, height >> 16)
                tables = {}
            elif name == b"stsd":
                self._read_sample_entry(body[8:])
            if name in (b"stsz", b"stsc", b"stco", b"co64"):
                tables[name] = body
            if len(tables) == 3:
                self._read_samples(tables)
                tables = {}

    def _read_sample_entry(self, body: memoryview) -> None:
        for name, entry in self._boxes(body, b"stsd"):
            if name in (b"av01", b"hvc1", b"hev1"):
                self._see_canvas(*struct.unpack(">HH", bytes(entry[24:28]).rjust(4, b"\0")))
            self._read_configuration(name, entry)

    def _read_samples(self, tables: dict[bytes, memoryview]) -> None:
        """Read the headers in the samples of AV1, which lie one after the other in chunks."""
        length, lengths = self._sample_lengths(_Numbers(tables[b"stsz"]))
        wide = 8 if b"co64" in tables else 4
        offsets, runs = _Numbers(tables.get(b"co64") or tables[b"stco"]), _Numbers(tables[b"stsc"])
        offsets.take(4), runs.take(8)
        first, count = runs.take(4), 0
        width = height = sample = 0
        for chunk in range(1, offsets.take(4) + 1):
            self._steps.part()
            if chunk == first:
                count = runs.take(4)
                runs.take(4)
                first = runs.take(4)
            position = offsets.take(wide)
            if sample + count > _MAX_PARTS:
                raise broken("has too many frames")
            # Samples of one length are as many as the chunks have, whatever their table says.
            for each in [length] * count if length else lengths[sample : sample + count]:
                found = av1_extent(self._read(position, each), self._steps, _MAX_LAYERS)
                width, height, position = max(width, found[0]), max(height, found[1]), position + each
            sample += count
        self.frames = max(self.frames, sample if length else len(lengths))
        self._count_picture(width, height, 8)

    def _sample_lengths(self, table: _Numbers) -> tuple[int, list[int]]:
        """Return the length that all samples have, or the length of each."""
        table.take(4)
        length, count = table.take(4), table.take(4)
        if count > _MAX_PARTS:
            raise broken("has too many frames")
        return length, [] if length else [table.take(4) for _ in range(count)]


class _Numbers:
    """Reads numbers of whole bytes, the highest first; 0 behind the end."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._position = data, 0

    def take(self, size: int) -> int:
        """Return the number in the next bytes."""
        self._position += size
        return _number(self._data[self._position - size : self._position])


def _number(data: memoryview) -> int:
    return int.from_bytes(data, "big")


def _size_at(data: bytes, position: int, *, wide: bool) -> tuple[int, int]:
    """Return a width and a height of 32 or 16 bits each."""
    numbers = _Numbers(memoryview(data)[position:])
    return numbers.take(4 if wide else 2), numbers.take(4 if wide else 2)


def _units(data: bytes) -> Iterator[bytes]:
    """Yield the NAL units of an item, each behind its length of four bytes."""
    position = 0
    while position + 4 <= len(data):
        end = position + 4 + int.from_bytes(data[position : position + 4], "big")
        yield data[position + 4 : min(end, position + 1028)]
        position = end


def _configured_units(body: bytes) -> Iterator[bytes]:
    """Yield the NAL units of the box ``hvcC`` (ISO/IEC 14496-15, section 8.3.2.1)."""
    position = 23
    for _ in range(body[22] if len(body) > 22 else 0):
        count = int.from_bytes(body[position + 1 : position + 3], "big")
        position += 3
        for _ in range(count):
            if position >= len(body):
                return
            end = position + 2 + int.from_bytes(body[position : position + 2], "big")
            yield body[position + 2 : end]
            position = end
