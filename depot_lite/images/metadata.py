"""Removal of metadata from JPEG, PNG, WebP, GIF and JPEG 2000, part by part: no pixel is decoded, so none is changed.

Only the parts that make the picture are kept, so that a kind of metadata that is unknown here goes as well, and so do
bytes behind the end of the image: the remains of an uncropped picture, a video, an archive.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO, Final

from depot_lite.images.formats import jpeg2000
from depot_lite.images.formats.measures import Steps

# The chunks of the PNG specification, third edition, that change pixels, their colours or the size on paper.
_PNG: Final = {
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"),
    *(b"CgBI", b"cHRM", b"cICP", b"gAMA", b"iCCP", b"mDCV", b"cLLI", b"sBIT", b"sRGB", b"bKGD", b"pHYs"),
}
# RFC 9649, section 2.7; of the bits in VP8X, EXIF is 8 and XMP 4.
_WEBP: Final = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
#: Those within a frame, which has no frames of its own: thousands of them, one in another, would be no picture.
_WEBP_FRAME: Final = {b"VP8 ", b"VP8L", b"ALPH"}
_WEBP_FLAGS: Final = 0x0C
#: The bytes of an ANMF chunk before the chunks of its frame.
_FRAME: Final = 16


def png(data: bytes) -> bytes:
    """Return a PNG without metadata."""
    return data[:8] + b"".join(chunk for name, chunk in _png_chunks(data) if name in _PNG)


def webp(data: bytes) -> bytes:
    """Return a WebP without metadata, also according to its header."""
    chunks = _without_metadata(data[12 : 8 + int.from_bytes(data[4:8], "little")], _WEBP)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def gif(data: bytes) -> bytes:
    """Return a GIF of its frames, their times and the number of repetitions (GIF89a, sections 17 to 27)."""
    end = 13 + _palette_size(data[10])
    kept = [data[:end]]
    while end < len(data) and data[end] != 0x3B:
        begin = end
        if data[end] == 0x2C:
            end += 10 + _palette_size(data[end + 9]) + 1
            is_kept = True
        elif data[end] == 0x21:
            is_kept = data[end + 1 : end + 3] == b"\xf9\x04" or data[end + 1 : end + 14] in (
                b"\xff\x0bNETSCAPE2.0",
                b"\xff\x0bANIMEXTS1.0",
            )
            end += 3 + data[end + 2]  # Pillow reads on behind a first block that is empty
        else:  # bytes that belong to no block
            end += 1
            continue
        while end < len(data) and data[end]:
            end += 1 + data[end]
        end += 1
        if is_kept:
            kept.append(data[begin:end])
    return b"".join(kept) + b"\x3b"


# ITU-T T.81, table B.1: the tables and frames; APP0, APP2 and APP14 are looked into.
_TABLES: Final = {0xC4, 0xDB, 0xDC, 0xDD, *range(0xC0, 0xC4)}
_EOI, _SOS, _APP0, _APP2, _APP14 = 0xD9, 0xDA, 0xE0, 0xE2, 0xEE
#: The markers without a segment: TEM and SOI.
_BARE: Final = {0x01, 0xD8}
#: The end of coded data: a marker that is no restart, and no byte of data.
_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
#: The largest number of segments of a JPEG, and of chunks in the frames of a WebP.
_MAX_PARTS: Final = 10_000


def jpeg(data: bytes) -> bytes:
    """Return a JPEG of its coded pixels, their tables, the colour profile and the settings of JFIF and Adobe.

    A second picture behind the first goes, and the preview inside JFIF. An end that is missing is added.
    """
    kept, position, steps = [b"\xff\xd8"], 2, Steps(_MAX_PARTS, 0)
    while (match := _MARKER.search(data, position)) is not None and data[match.end() - 1] != _EOI:
        steps.part()
        code, begin = data[match.end() - 1], match.end()
        if code in _BARE:
            position = begin
            continue
        length = int.from_bytes(data[begin : begin + 2], "big")
        segment, position = data[begin + 2 : begin + length], begin + max(length, 2)
        if code == _SOS:
            following = _MARKER.search(data, position)
            position = following.start() if following is not None else len(data)
            kept.append(b"\xff\xda" + data[begin:position].rstrip(b"\xff"))  # which fill the place before a marker
        elif code == _APP0 and segment.startswith(b"JFIF\0"):
            kept.append(_segment(code, segment[:12].ljust(12, b"\0") + bytes(2)))
        elif code in _TABLES or (code, segment[:12]) == (_APP2, b"ICC_PROFILE\0"):
            kept.append(_segment(code, segment))
        elif code == _APP14 and segment.startswith(b"Adobe"):
            kept.append(_segment(code, segment[:12]))
    return b"".join(kept) + b"\xff\xd9"


#: The formats whose metadata is removed without decoding.
WITHOUT_METADATA: Final[dict[str, Callable[[bytes], bytes]]] = {
    "JPEG": jpeg,
    "PNG": png,
    "WEBP": webp,
    "GIF": gif,
    "JPEG2000": jpeg2000.without_metadata,
}


# What an AVIF needs, and the words in its descriptions that tell of metadata, previews and private boxes.
_AVIF: Final = {b"ftyp", b"meta", b"moov", b"mdat"}
_AVIF_MORE: Final = (b"Exif", b"mime", b"thmb", b"uuid", b"udta")


def avif_has_more(file: BinaryIO) -> bool:
    """Return whether an AVIF may have more than its picture: metadata, a preview, or bytes that belong to no part."""
    size, position = file.seek(0, io.SEEK_END), 0
    while position < size:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[8:] if head[:4] == b"\0\0\0\1" else head[:4], "big")
        if head[4:8] not in _AVIF or length < 8 or position + length > size:
            return True
        if head[4:8] in (b"meta", b"moov"):
            file.seek(position)
            description = file.read(length)
            if any(word in description for word in _AVIF_MORE):
                return True
        position += length
    return False


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the bytes of each chunk up to the end of the image."""
    position, name = 8, b""
    while position + 8 <= len(data) and name != b"IEND":
        size = int.from_bytes(data[position : position + 4], "big") + 12
        name = data[position + 4 : position + 8]
        yield name, data[position : position + size]
        position += size


def _without_metadata(data: bytes, names: Collection[bytes]) -> bytes:
    """Return the chunks with these names of a WebP, or of one of its frames."""
    kept, position = [], 0
    while position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        content = data[position + 8 : position + 8 + size]
        position += 8 + size + size % 2
        if name not in names:
            continue
        if name == b"VP8X" and content:
            content = bytes((content[0] & ~_WEBP_FLAGS,)) + content[1:]
        elif name == b"ANMF":
            content = content[:_FRAME] + _without_metadata(content[_FRAME:], _WEBP_FRAME)
        kept.append(name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2))
    return b"".join(kept)


def _palette_size(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _segment(code: int, content: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(content) + 2) + content
