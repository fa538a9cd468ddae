"""MP4, M4A and QuickTime (ISO 14496-12): the boxes ``moov``, and ``moof`` of fragmented files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from depot_lite.media.reader import Reader, Unreadable
from depot_lite.media.recording import MAX_TEXT, Recording

#: The name, and the bounds of the content.
Box = tuple[bytes, int, int]

_MAX_TRACKS: Final = 100
_TAGS: Final = {b"\xa9nam": "title", b"\xa9ART": "artist", b"\xa9alb": "album"}
#: The flags of ``trun``, and the bytes of the optional fields of a sample, the duration first (section 8.8.8).
_DATA_OFFSET, _FIRST_FLAGS, _DURATION = 0x1, 0x4, 0x100
_SAMPLE_FIELDS: Final = (_DURATION, 0x200, 0x400, 0x800)


def boxes(reader: Reader, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two positions, up to one whose size cannot be."""
    while start + 8 <= end:
        header = reader.exactly(start, 8)
        size, name, head = int.from_bytes(header[:4], "big"), header[4:], 8
        if size == 1:
            size, head = reader.number(start + 8, 8), 16
        elif size == 0:
            size = end - start
        if size < head:
            return
        yield name, start + head, min(start + size, end)
        start += size


def _find(reader: Reader, start: int, end: int, *path: bytes) -> Box | None:
    """Return the first box with this path."""
    found: Box | None = None
    for wanted in path:
        found = next((each for each in boxes(reader, start, end) if each[0] == wanted), None)
        if found is None:
            return None
        _, start, end = found
    return found


@dataclass(slots=True)
class _Track:
    """A track, and how far its fragments reach, in its own units of time."""

    scale: int = 0
    #: The duration of a sample that says nothing else, from ``trex``.
    sample: int = 0
    reached: int = 0


@dataclass(slots=True)
class _Movie:
    scale: int = 0
    duration: int = 0
    tracks: dict[int, _Track] = field(default_factory=dict)
    width: int | None = None
    height: int | None = None
    is_fragmented: bool = False
    whole: int = 0


def read(reader: Reader, found: Recording) -> None:
    """Set the properties of the movie.

    Raises:
        Unreadable: there is no readable movie.
    """
    moov = _find(reader, 0, reader.size, b"moov")
    if moov is None:
        raise Unreadable("it has no movie")
    _, start, end = moov
    movie = _movie(reader, start, end)
    found.width, found.height = movie.width, movie.height
    _read_tags(reader, start, end, found)
    duration = movie.duration / movie.scale if movie.scale else 0
    found.duration = max(duration, _fragmented(reader, movie, end)) if movie.is_fragmented else duration


def _movie(reader: Reader, start: int, end: int) -> _Movie:
    movie = _Movie()
    for name, inner, limit in boxes(reader, start, end):
        if name == b"mvhd":
            movie.scale, movie.duration = _times(reader, inner, 12, 20)
        elif name == b"trak" and len(movie.tracks) < _MAX_TRACKS:
            _read_track(reader, inner, limit, movie)
        elif name == b"mvex":
            movie.is_fragmented = True
            _read_defaults(reader, inner, limit, movie)
    return movie


def _times(reader: Reader, start: int, at: int, at_if_long: int) -> tuple[int, int]:
    """Return the units per second and the duration of ``mvhd`` or ``mdhd``; all bits set mean that it is unknown."""
    is_long = reader.number(start, 1) == 1
    position, size = start + (at_if_long if is_long else at), 8 if is_long else 4
    duration = reader.number(position + 4, size)
    return reader.number(position, 4), 0 if duration == 256**size - 1 else duration


def _read_track(reader: Reader, start: int, end: int, movie: _Movie) -> None:
    header, handler = _find(reader, start, end, b"tkhd"), _find(reader, start, end, b"mdia", b"hdlr")
    media = _find(reader, start, end, b"mdia", b"mdhd")
    if header is None or handler is None or media is None:
        return
    is_long = reader.number(header[1], 1) == 1
    track_id = reader.number(header[1] + (20 if is_long else 12), 4)
    movie.tracks.setdefault(track_id, _Track(_times(reader, media[1], 12, 20)[0]))
    if movie.width is None and reader.exactly(handler[1] + 8, 4) == b"vide":
        _read_size(reader, header[1] + (52 if is_long else 40), movie)


def _read_size(reader: Reader, position: int, movie: _Movie) -> None:
    """Set the size of a track as it is displayed, from its matrix (section 8.3.2) and its size."""
    values = reader.exactly(position, 44)
    a, b, _, c, d = (int.from_bytes(values[each : each + 4], "big", signed=True) / 65536 for each in range(0, 20, 4))
    width, height = (int.from_bytes(values[each : each + 4], "big") / 65536 for each in (36, 40))
    if abs(a * d - b * c) == 1:  # turned or mirrored; phones turn their films by 90 degrees
        width, height = abs(a) * width + abs(c) * height, abs(b) * width + abs(d) * height
    if width >= 1 and height >= 1:
        movie.width, movie.height = round(width), round(height)


def _read_defaults(reader: Reader, start: int, end: int, movie: _Movie) -> None:
    for name, inner, _ in boxes(reader, start, end):
        if name == b"mehd":
            movie.whole = reader.number(inner + 4, 8 if reader.number(inner, 1) == 1 else 4)
        elif name == b"trex" and len(movie.tracks) < _MAX_TRACKS:
            track = movie.tracks.setdefault(reader.number(inner + 4, 4), _Track())
            track.sample = reader.number(inner + 12, 4)


# --- fragments --------------------------------------------------------------------------------------------------------


def _fragmented(reader: Reader, movie: _Movie, end: int) -> float:
    """Return the duration in seconds, from ``mehd`` or from the fragments; 0 if neither gives one."""
    if movie.whole and movie.scale:
        return movie.whole / movie.scale
    for name, inner, limit in boxes(reader, _last_fragments(reader) or end, reader.size):
        if name == b"moof":
            for each, start, inner_end in boxes(reader, inner, limit):
                if each == b"traf":
                    _read_fragment(reader, start, inner_end, movie)
    return max((each.reached / each.scale for each in movie.tracks.values() if each.scale), default=0)


def _last_fragments(reader: Reader) -> int | None:
    """Return where the last fragments of all tracks begin, from the index at the end of the file (section 8.8.9)."""
    tail = reader.at(reader.size - 16, 16)
    if tail[4:8] != b"mfro":
        return None
    index = reader.size - int.from_bytes(tail[12:], "big")
    found = []
    for name, start, end in boxes(reader, index, reader.size):
        if name != b"mfra":
            return None
        for each, inner, limit in boxes(reader, start, end):
            if each == b"tfra" and (count := reader.number(inner + 12, 4)):
                wide = 8 if reader.number(inner, 1) == 1 else 4
                lengths = reader.number(inner + 8, 4)
                entry = 2 * wide + sum((lengths >> shift & 3) + 1 for shift in (0, 2, 4))
                last = inner + 16 + (count - 1) * entry
                if last + entry > limit:
                    return None
                found.append(reader.number(last + wide, wide))
    first = min(found, default=None)
    return first if first is not None and reader.at(first + 4, 4) == b"moof" else None


def _read_fragment(reader: Reader, start: int, end: int, movie: _Movie) -> None:
    track, sample, total = _Track(), 0, 0
    for name, inner, _ in boxes(reader, start, end):
        flags = reader.number(inner + 1, 3)
        if name == b"tfhd":
            track = movie.tracks.get(reader.number(inner + 4, 4), track)
            position = inner + 8 + (8 if flags & 1 else 0) + (4 if flags & 2 else 0)
            sample = reader.number(position, 4) if flags & 8 else track.sample
        elif name == b"tfdt":
            track.reached = reader.number(inner + 4, 8 if reader.number(inner, 1) == 1 else 4)
        elif name == b"trun":
            total += _samples(reader, inner, flags, sample)
    track.reached += total


def _samples(reader: Reader, start: int, flags: int, sample: int) -> int:
    """Return the sum of the durations of the samples of a ``trun``."""
    count = reader.number(start + 4, 4)
    if not flags & _DURATION:
        return count * sample
    first = start + 8 + (4 if flags & _DATA_OFFSET else 0) + (4 if flags & _FIRST_FLAGS else 0)
    entry = 4 * sum(1 for each in _SAMPLE_FIELDS if flags & each)
    data = reader.exactly(first, count * entry)
    return sum(int.from_bytes(data[each : each + 4], "big") for each in range(0, len(data), entry))


# --- tags -------------------------------------------------------------------------------------------------------------


def _read_tags(reader: Reader, start: int, end: int, found: Recording) -> None:
    meta = _find(reader, start, end, b"udta", b"meta")
    if meta is None:
        return
    ilst = _find(reader, meta[1] + 4, meta[2], b"ilst")
    for name, inner, limit in boxes(reader, ilst[1], ilst[2]) if ilst else ():
        data = _find(reader, inner, limit, b"data") if name in _TAGS else None
        if data is not None:
            text = reader.at(data[1] + 8, min(data[2] - data[1] - 8, 4 * MAX_TEXT))
            found.set_tag(_TAGS[name], text.decode(errors="replace"))
