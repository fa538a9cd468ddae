"""WAV, RF64 and AVI: the chunks of RIFF files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from depot_lite.media.reader import Reader, Unreadable
from depot_lite.media.recording import MAX_TEXT, Recording

#: The name, and the bounds of the content as they are claimed.
Chunk = tuple[bytes, int, int]

_TAGS: Final = {b"INAM": "title", b"IART": "artist", b"IPRD": "album"}
_UNKNOWN: Final = 0xFFFFFFFF


def chunks(reader: Reader, start: int, end: int) -> Iterator[Chunk]:
    """Yield the chunks between two positions. A size that is unknown, or beyond the end, reaches to the end."""
    while start + 8 <= end:
        name, size = struct.unpack("<4sI", reader.exactly(start, 8))
        yield name, start + 8, min(start + 8 + size, end)
        start += 8 + size + size % 2


def read_wave(reader: Reader, found: Recording) -> None:
    """Set the properties of a WAV file; a truncated one lasts as long as its bytes.

    Raises:
        Unreadable: there is no sound.
    """
    rate, long_size = 0, 0
    for name, start, end in chunks(reader, 12, reader.size):
        if name == b"ds64":
            (long_size,) = struct.unpack("<Q", reader.exactly(start + 8, 8))
        elif name == b"fmt ":
            (rate,) = struct.unpack("<I", reader.exactly(start + 8, 4))
        elif name == b"data" and found.duration is None:
            size = end - start
            if long_size and reader.exactly(start - 4, 4) == _UNKNOWN.to_bytes(4, "little"):
                size = min(long_size, reader.size - start)
            found.duration = size / rate if rate else None
            found.bitrate = rate * 8
        elif name == b"LIST" and reader.at(start, 4) == b"INFO":
            _read_tags(reader, start + 4, end, found)
    if not rate:
        raise Unreadable("it has no sound")


def _read_tags(reader: Reader, start: int, end: int, found: Recording) -> None:
    for name, inner, limit in chunks(reader, start, end):
        if name in _TAGS:
            text = reader.at(inner, min(limit - inner, 4 * MAX_TEXT))
            found.set_tag(_TAGS[name], _decoded(text))


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def read_avi(reader: Reader, found: Recording) -> None:
    """Set the properties in the header of an AVI file.

    Raises:
        Unreadable: there is no header.
    """
    for name, start, end in chunks(reader, 12, reader.size):
        if name == b"LIST" and reader.at(start, 4) == b"hdrl":
            _read_header(reader, start + 4, end, found)
            return
    raise Unreadable("it has no header")


def _read_header(reader: Reader, start: int, end: int, found: Recording) -> None:
    microseconds, frames = 0, 0
    for name, inner, limit in chunks(reader, start, end):
        if name == b"avih":
            header = struct.unpack("<10I", reader.exactly(inner, 40))
            microseconds, frames = header[0], header[4]
            found.width, found.height = header[8], header[9]
        elif name == b"LIST" and reader.at(inner, 4) == b"odml":
            # Of a file of several gigabytes, the first header counts the frames of its first part only.
            whole = [each for each in chunks(reader, inner + 4, limit) if each[0] == b"dmlh"]
            frames = max(frames, struct.unpack("<I", reader.exactly(whole[0][1], 4))[0]) if whole else frames
    found.duration = microseconds * frames / 1e6
