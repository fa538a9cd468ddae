"""Tags of sound: Vorbis comments, ID3v2 and ID3v1."""

from __future__ import annotations

import struct
from typing import Final

from depot_lite.media.reader import Reader
from depot_lite.media.recording import MAX_TEXT, TAGS, Recording

_LONGEST: Final = 4 * MAX_TEXT


def read_comments(reader: Reader, start: int, end: int, found: Recording) -> None:
    """Set the tags of a Vorbis comment, as FLAC and Ogg have them."""
    position = start + 4 + _little(reader, start)
    count, position = _little(reader, position), position + 4
    while count > 0 and position < end:
        size = _little(reader, position)
        name, _, text = reader.at(position + 4, min(size, _LONGEST)).partition(b"=")
        key = name.decode("ascii", "replace").lower()
        if key in TAGS:
            found.set_tag(key, text.decode(errors="replace"))
        count, position = count - 1, position + 4 + size


def _little(reader: Reader, position: int) -> int:
    (number,) = struct.unpack("<I", reader.exactly(position, 4))
    return int(number)


# --- ID3 --------------------------------------------------------------------------------------------------------------

_HEADER: Final = 10
_FRAMES: Final = {
    **dict.fromkeys(("TIT2", "TT2"), "title"),
    **dict.fromkeys(("TPE1", "TP1"), "artist"),
    **dict.fromkeys(("TALB", "TAL"), "album"),
}
_ENCODINGS: Final = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}
_UNSYNCHRONISED, _EXTENDED, _FOOTER = 0x80, 0x40, 0x10


def read_id3(reader: Reader, found: Recording) -> int:
    """Set the tags of ID3v2 at the start of the file (https://id3.org/id3v2.4.0-structure); return where they end."""
    header = reader.at(0, _HEADER)
    if len(header) < _HEADER or not header.startswith(b"ID3"):
        return 0
    version, flags = header[3], header[5]
    end = _HEADER + _seven_bits(header[6:])
    position = _HEADER
    if flags & _EXTENDED and version > 2:
        extended = reader.exactly(position, 4)
        position += _seven_bits(extended) if version == 4 else 4 + int.from_bytes(extended, "big")
    is_short = version == 2
    while position + _HEADER < min(end, reader.size):
        frame = reader.exactly(position, _HEADER)
        name = frame[: 3 if is_short else 4]
        size = int.from_bytes(frame[3:6] if is_short else frame[4:8], "big")
        if version == 4:
            size = _seven_bits(frame[4:8])
        if not name.isalnum():  # the padding
            break
        position += 6 if is_short else _HEADER
        tag = _FRAMES.get(name.decode("ascii", "replace"))
        if tag is not None:
            found.set_tag(tag, _text(reader.at(position, min(size, _LONGEST)), bool(flags & _UNSYNCHRONISED)))
        position += size
    return end + (_HEADER if flags & _FOOTER else 0)


def _seven_bits(data: bytes) -> int:
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number


def _text(data: bytes, unsynchronised: bool) -> str:
    if unsynchronised:
        data = data.replace(b"\xff\x00", b"\xff")
    return data[1:].decode(_ENCODINGS.get(data[0] if data else 0, "latin-1"), "replace")


def read_id3v1(reader: Reader, found: Recording) -> int:
    """Set the tags of ID3v1 at the end of the file that are not set yet; return where they begin."""
    start = reader.size - 128
    data = reader.at(start, 128)
    if len(data) < 128 or not data.startswith(b"TAG"):
        return reader.size
    for name, first in zip(TAGS, (3, 33, 63), strict=True):
        found.set_tag(name, data[first : first + 30].decode("latin-1"))
    return start
