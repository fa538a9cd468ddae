"""FLAC (RFC 9639): the blocks STREAMINFO and VORBIS_COMMENT."""

from __future__ import annotations

from depot_lite.media.reader import Reader, Unreadable
from depot_lite.media.recording import Recording
from depot_lite.media.tags import read_comments

_STREAMINFO, _COMMENT = 0, 4


def read(reader: Reader, found: Recording, start: int = 0) -> None:
    """Set the properties of the stream whose mark is at ``start``.

    Raises:
        Unreadable: there is no stream, or it breaks off.
    """
    if reader.at(start, 4) != b"fLaC":
        raise Unreadable("it has no mark")
    position, is_last = start + 4, False
    while not is_last:
        head, size = reader.number(position, 1), reader.number(position + 1, 3)
        is_last, kind, position = bool(head & 0x80), head & 0x7F, position + 4
        if kind == _STREAMINFO:
            found.duration = duration(reader, position)
        elif kind == _COMMENT:
            read_comments(reader, position, position + size, found)
        position += size
    if found.duration:
        found.bitrate = round((reader.size - position) * 8 / found.duration)


def duration(reader: Reader, streaminfo: int) -> float:
    """Return the seconds that a block STREAMINFO gives; 0 if it does not know the number of samples."""
    numbers = reader.number(streaminfo + 10, 8)
    rate, samples = numbers >> 44, numbers & (1 << 36) - 1
    return samples / rate if rate else 0
