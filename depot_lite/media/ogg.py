"""Ogg (RFC 3533) with Vorbis, Opus, FLAC or Speex: the first packets, and the last position of the sound."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from depot_lite.media.reader import LARGEST, Reader, Unreadable
from depot_lite.media.recording import Recording
from depot_lite.media.tags import read_comments

_HEADER: Final = 27
_FIRST_PAGES: Final = 64
_LONGEST_PACKET: Final = 128 * 1024
#: A page has at most 65,307 bytes, so this has the last one of each stream unless others are far longer.
_TAIL: Final = LARGEST
_NO_POSITION: Final = 2**64 - 1
_MARKS: Final = (b"\x03vorbis", b"OpusTags")


class _Page(NamedTuple):
    stream: int
    position: int
    content: bytes


class _Sound(NamedTuple):
    """A stream of sound: the samples per second of its positions, and the position where it begins."""

    stream: int
    rate: int
    begin: int


def read(reader: Reader, found: Recording) -> None:
    """Set the properties of the first stream of sound, and the size of a Theora video.

    Raises:
        Unreadable: there is no stream of sound.
    """
    sound: _Sound | None = None
    packets = bytearray()
    for page in _pages(reader):
        if page.content.startswith(b"\x80theora") and len(page.content) >= 20:
            found.width = int.from_bytes(page.content[14:17], "big")
            found.height = int.from_bytes(page.content[17:20], "big")
        if sound is None:
            sound = _sound(page)
        elif page.stream == sound.stream and len(packets) < _LONGEST_PACKET:
            packets += page.content
            if page.position not in (0, _NO_POSITION):  # the headers have no positions
                break
    if sound is None:
        raise Unreadable("it has no stream of sound")
    found.duration = max(0, _last_position(reader, sound.stream) - sound.begin) / sound.rate if sound.rate else 0
    mark = next((each for each in _MARKS if packets.startswith(each)), None)
    if mark is not None:
        # Longer ones, with a picture, are cut off: the tags in front of the cut are kept.
        read_comments(Reader(io.BytesIO(packets)), len(mark), len(packets), found)


def _pages(reader: Reader) -> Iterator[_Page]:
    """Yield the first pages."""
    position = 0
    for _ in range(_FIRST_PAGES):
        header = reader.at(position, _HEADER)
        if len(header) < _HEADER or not header.startswith(b"OggS"):
            return
        granule, stream = struct.unpack("<QI", header[6:18])
        lengths = reader.exactly(position + _HEADER, header[26])
        start = position + _HEADER + len(lengths)
        yield _Page(stream, granule, reader.at(start, sum(lengths)))
        position = start + sum(lengths)


def _sound(page: _Page) -> _Sound | None:
    content = page.content
    if content.startswith(b"\x01vorbis") and len(content) >= 16:
        return _Sound(page.stream, int.from_bytes(content[12:16], "little"), 0)
    if content.startswith(b"OpusHead") and len(content) >= 12:
        return _Sound(page.stream, 48_000, int.from_bytes(content[10:12], "little"))
    if content.startswith(b"\x7fFLAC") and len(content) >= 35:
        return _Sound(page.stream, int.from_bytes(content[27:30], "big") >> 4, 0)
    if content.startswith(b"Speex   ") and len(content) >= 40:
        return _Sound(page.stream, int.from_bytes(content[36:40], "little"), 0)
    return None


def _last_position(reader: Reader, stream: int) -> int:
    """Return the last position of a stream in the tail of the file, or 0 if not found."""
    tail = reader.at(max(0, reader.size - _TAIL), _TAIL)
    end = len(tail)
    while (start := tail.rfind(b"OggS", 0, end)) >= 0:
        if len(tail) >= start + 18:
            granule, found = struct.unpack("<QI", tail[start + 6 : start + 18])
            if found == stream and granule != _NO_POSITION:
                return int(granule)
        end = start + 3
    return 0
