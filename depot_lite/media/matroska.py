"""WebM and Matroska (RFC 9559): the elements Info, Tracks and Tags of the segment."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from depot_lite.media.reader import Reader, Unreadable
from depot_lite.media.recording import MAX_TEXT, TAGS, Recording

#: The id, and the bounds of the content.
Element = tuple[int, int, int]

_SEGMENT, _SEEK_HEAD, _CLUSTER = 0x18538067, 0x114D9B74, 0x1F43B675
_INFO, _TRACKS, _TAGS = 0x1549A966, 0x1654AE6B, 0x1254C367
_SEEK, _SEEK_ID, _SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
_SCALE, _DURATION, _TITLE = 0x2AD7B1, 0x4489, 0x7BA9
_TRACK, _VIDEO = 0xAE, 0xE0
_PIXEL_WIDTH, _PIXEL_HEIGHT, _WIDTH, _HEIGHT, _UNIT = 0xB0, 0xBA, 0x54B0, 0x54BA, 0x54B2
_TAG, _SIMPLE_TAG, _NAME, _STRING = 0x7373, 0x67C8, 0x45A3, 0x4487
_NAMES: Final = {each: each for each in TAGS}


def _vint(reader: Reader, position: int, longest: int, *, marked: bool) -> tuple[int, int]:
    """Return a number of variable length (RFC 8794, section 4) and its length; -1 if all its bits are set."""
    first = reader.number(position, 1)
    length = 9 - first.bit_length()
    if length > longest:
        raise Unreadable("it has a number that is too long")
    number = reader.number(position, length)
    if marked:
        return number, length
    rest = number & ((1 << 7 * length) - 1)
    return (-1 if rest == (1 << 7 * length) - 1 else rest), length


def elements(reader: Reader, start: int, end: int) -> Iterator[Element]:
    """Yield the elements between two positions. One of unknown size has all that follows."""
    while start + 2 <= end:
        element, id_length = _vint(reader, start, 4, marked=True)
        size, size_length = _vint(reader, start + id_length, 8, marked=False)
        start += id_length + size_length
        stop = end if size < 0 else min(start + size, end)
        yield element, start, stop
        start = stop


def read(reader: Reader, found: Recording) -> None:
    """Set the properties of the segment; the duration only if its header has one.

    Raises:
        Unreadable: there is no segment.
    """
    for element, start, end in elements(reader, 0, reader.size):
        if element == _SEGMENT:
            for wanted, inner, limit in _parts(reader, start, end):
                _READERS[wanted](reader, inner, limit, found)
            return
    raise Unreadable("it has no segment")


def _parts(reader: Reader, start: int, end: int) -> Iterator[Element]:
    """Yield Info, Tracks and Tags, each once: those before the first cluster, and others that the index names."""
    seen, index = set[int](), dict[int, int]()
    for element, inner, limit in elements(reader, start, end):
        if element == _CLUSTER:
            break
        if element == _SEEK_HEAD:
            index.update(_positions(reader, inner, limit))
        elif element in _READERS and element not in seen:
            seen.add(element)
            yield element, inner, limit
    for element in _READERS.keys() & index.keys() - seen:
        part = next(elements(reader, start + index[element], end), None)
        if part is not None and part[0] == element:
            yield part


def _positions(reader: Reader, start: int, end: int) -> Iterator[tuple[int, int]]:
    for element, inner, limit in elements(reader, start, end):
        if element == _SEEK:
            entry = {each: _number(reader, *bounds) for each, *bounds in elements(reader, inner, limit)}
            if _SEEK_ID in entry and _SEEK_POSITION in entry:
                yield entry[_SEEK_ID], entry[_SEEK_POSITION]


def _number(reader: Reader, start: int, end: int) -> int:
    return reader.number(start, min(end - start, 8))


def _text(reader: Reader, start: int, end: int) -> str:
    return reader.at(start, min(end - start, 4 * MAX_TEXT)).decode(errors="replace")


def _read_info(reader: Reader, start: int, end: int, found: Recording) -> None:
    scale, duration = 1_000_000, 0.0
    for element, inner, limit in elements(reader, start, end):
        if element == _SCALE:
            scale = _number(reader, inner, limit)
        elif element == _DURATION and limit - inner in (4, 8):
            (duration,) = struct.unpack(">f" if limit - inner == 4 else ">d", reader.exactly(inner, limit - inner))
        elif element == _TITLE:
            found.set_tag("title", _text(reader, inner, limit))
    found.duration = duration * scale / 1e9


def _read_tracks(reader: Reader, start: int, end: int, found: Recording) -> None:
    for track, inner, limit in elements(reader, start, end):
        for element, video, last in elements(reader, inner, limit) if track == _TRACK else ():
            if element == _VIDEO and found.width is None:
                found.width, found.height = _size(reader, video, last)


def _size(reader: Reader, start: int, end: int) -> tuple[int | None, int | None]:
    """Return the size as it is displayed: in other units than pixels it is a ratio only."""
    values = {each: _number(reader, *bounds) for each, *bounds in elements(reader, start, end) if each in _MEASURES}
    in_pixels = not values.get(_UNIT, 0)
    width, height = values.get(_PIXEL_WIDTH), values.get(_PIXEL_HEIGHT)
    return (values.get(_WIDTH) or width, values.get(_HEIGHT) or height) if in_pixels else (width, height)


_MEASURES: Final = {_PIXEL_WIDTH, _PIXEL_HEIGHT, _WIDTH, _HEIGHT, _UNIT}


def _read_tags(reader: Reader, start: int, end: int, found: Recording) -> None:
    for tag, inner, limit in elements(reader, start, end):
        for element, simple, last in elements(reader, inner, limit) if tag == _TAG else ():
            if element == _SIMPLE_TAG:
                texts = {each: _text(reader, *bounds) for each, *bounds in elements(reader, simple, last)}
                name = _NAMES.get(texts.get(_NAME, "").lower())
                if name is not None:
                    found.set_tag(name, texts.get(_STRING, ""))


_READERS: Final = {_INFO: _read_info, _TRACKS: _read_tracks, _TAGS: _read_tags}
