"""MP3: the first frame of the stream, and the number of frames that encoders write into it."""

from __future__ import annotations

from typing import Final

from depot_lite.io.media_types.recordings import MpegFrame, mpeg_frame
from depot_lite.media import flac
from depot_lite.media.reader import Reader, Unreadable
from depot_lite.media.recording import Recording
from depot_lite.media.tags import read_id3, read_id3v1

#: The bytes behind the tags in which the first frame is looked for.
_SEARCHED: Final = 64 * 1024
#: The flags of the fields of a header of Xing, and their bytes: frames, bytes, positions and quality.
_XING: Final = ((1, 4), (2, 4), (4, 100), (8, 4))


def read(reader: Reader, found: Recording) -> None:
    """Set the properties of a file of MPEG sound, or of what else stands behind the same tags.

    A file of a variable bit rate that does not say how many frames it has is taken for one of the rate of its first.

    Raises:
        Unreadable: there are no two frames.
    """
    start = read_id3(reader, found)
    if reader.at(start, 4) == b"fLaC":
        flac.read(reader, found, start)
        return
    end = read_id3v1(reader, found)
    searched = reader.at(start, _SEARCHED)
    offset, frame = _first_frame(searched)
    frames, size, silence = _counts(searched[offset : offset + 256], frame)
    if frames:
        found.duration = max(0, frames * frame.samples - silence) / frame.hertz
        found.bitrate = round((size or end - start - offset) * 8 * frame.hertz / (frames * frame.samples))
    else:
        found.bitrate = frame.kbits * 1000
        found.duration = (end - start - offset) * 8 / found.bitrate


def _first_frame(data: bytes) -> tuple[int, MpegFrame]:
    """Return the first frame that another one follows, and its position."""
    position = data.find(b"\xff")
    while position >= 0:
        frame = mpeg_frame(data, position)
        if frame is not None and mpeg_frame(data, position + frame.length) is not None:
            return position, frame
        position = data.find(b"\xff", position + 1)
    raise Unreadable("it has no frames")


def _counts(data: bytes, frame: MpegFrame) -> tuple[int, int, int]:
    """Return the numbers of frames, of bytes, and of samples added by the encoder; each is 0 if it is not known.

    They are in a header of Xing, which LAME has extended, or one of Fraunhofer.
    """
    start = 4 + frame.side_info
    if data[start : start + 4] in (b"Xing", b"Info") and len(data) > start + 8:
        flags, position = data[start + 7], start + 8
        found = []
        for flag, size in _XING:
            found.append(int.from_bytes(data[position : position + min(size, 4)], "big") if flags & flag else 0)
            position += size if flags & flag else 0
        added = int.from_bytes(data[position + 21 : position + 24], "big")
        return found[0], found[1], (added >> 12) + (added & 0xFFF)
    if data[36:40] == b"VBRI":
        return int.from_bytes(data[50:54], "big"), int.from_bytes(data[46:50], "big"), 0
    return 0, 0, 0
