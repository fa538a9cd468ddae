"""Looking into files: containers that many kinds share, and short signatures that also occur by chance.

`STRUCTURES` has a function for each such type of `depot_lite.io.media_types.signatures`. It returns a `Finding`, or
None if the file is not of the type. None of them decodes a file. Each reads a bounded number of bytes behind the head
(8 KiB), and only of files that can be read at any position:

| kind | bytes behind the head |
|---|---|
| ZIP | 1 KiB at the end, 64 KiB of the list of entries, 64 KiB of each of two entries |
| OLE | 4 KiB of the list of streams |
| MP4 without a brand of its own | 16 bytes of each of 16 boxes, 64 KiB of ``moov`` |
| MPEG sound with ID3 | 16 bytes behind the tag |
| TIFF | 64 tags of the first directory |
| DOS and Windows programs | 4 bytes of the second header |
| not recognised | 512 bytes at the end, 5 at 32,769 (disk images, TGA) |
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Final

from depot_lite.io.media_types import archives, recordings
from depot_lite.io.media_types.sample import Finding, Sample

Structure = Callable[[Sample], Finding | None]


def _tiff(sample: Sample) -> Finding:
    """Return the type by the tags of the first directory: a digital negative has its version."""
    head = sample.head
    order = "<" if head.startswith(b"II") else ">"
    if head[2:4] in (b"*\x00", b"\x00*") and len(head) >= 10:
        (start,) = struct.unpack_from(f"{order}I", head, 4)
        directory = sample.at(start, 2 + 12 * 64)
        if len(directory) >= 2:
            (count,) = struct.unpack_from(f"{order}H", directory)
            for each in range(2, min(2 + 12 * count, len(directory) - 11), 12):
                if struct.unpack_from(f"{order}H", directory, each)[0] == 50706:
                    return Finding("image/x-adobe-dng", ("image/x-adobe-dng",))
    return Finding("image/tiff", ("image/tiff",))


def _by_header(pattern: bytes, media_type: str) -> Structure:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda sample: Finding(media_type, (media_type,)) if compiled.match(sample.head) else None


def _raw_jpeg_xl(sample: Sample) -> Finding | None:
    """Two bytes also occur by chance: the name or the declaration decides."""
    if sample.head.startswith(b"\xff\x0a"):
        return Finding("application/octet-stream", ("image/jxl",), "binary")
    return Finding("image/jxl")


def _mz(sample: Sample) -> Finding | None:
    """Return the type of a program for Windows, or of one for DOS, whose header has plausible sizes."""
    head = sample.head
    start = int.from_bytes(head[60:64], "little")
    if len(head) >= 64:
        mark = sample.at(start, 4)
        if mark == b"PE\x00\x00" or mark[:2] in (b"NE", b"LE", b"LX"):
            return Finding("application/vnd.microsoft.portable-executable", ("~mz",))
    pages, paragraphs = int.from_bytes(head[4:6], "little"), int.from_bytes(head[8:10], "little")
    if len(head) >= 28 and 0 < pages < 0x800 and 2 <= paragraphs < 0x800 and head[28:29] == b"\x00":
        return Finding("application/x-dos-executable", ("~mz",))
    return None


_ELF_TYPES: Final = {
    1: "application/x-object",
    2: "application/x-executable",
    3: "application/x-sharedlib",
    4: "application/x-coredump",
}


def _elf(sample: Sample) -> Finding:
    kind = int.from_bytes(sample.head[16:18], "big" if sample.head[5:6] == b"\x02" else "little")
    # A program that may be loaded anywhere has the type of a library.
    return Finding(_ELF_TYPES.get(kind, "application/x-executable"), ("~elf",))


def _cafebabe(sample: Sample) -> Finding:
    """Return the type of a Java class, or of a program for several processors of Apple: their number is small."""
    version = sample.head[4:8]
    is_apples = len(version) == 4 and int.from_bytes(version, "big") <= 40
    return Finding("application/x-mach-binary" if is_apples else "application/java-vm")


def _3ds(sample: Sample) -> Finding | None:
    size = int.from_bytes(sample.head[2:6], "little")
    return Finding("image/x-3ds") if sample.length in (None, size) or size > 16 else None


def _sqlite(sample: Sample) -> Finding:
    """Return the type by the number of the application, or by the tables on the first page."""
    head = sample.head
    if head[68:72] in (b"GPKG", b"GP10", b"GP11"):
        return Finding("application/geopackage+sqlite3")
    if head[68:72] == b"MPBX":
        return Finding("application/vnd.mbtiles")
    return Finding("application/vnd.sqlite3", ("application/vnd.sqlite3",))


def _image_or(media_type: str) -> Structure:
    """Return the type of a disk image of Apple, whose first bytes are those of its compressed blocks."""
    return lambda sample: at_the_end(sample) or Finding(media_type, (media_type,))


STRUCTURES: Final[dict[str, Structure]] = {
    **{each: _image_or(each) for each in ("application/x-bzip2", "application/x-xz")},
    "application/zip": archives.zip_archive,
    "application/x-ole-storage": archives.ole_file,
    "video/mp4": recordings.iso_media,
    "video/quicktime": recordings.quicktime,
    "video/iso.segment": recordings.segment,
    "image/jp2": recordings.jpeg_2000,
    "image/jxl": _raw_jpeg_xl,
    "video/x-matroska": recordings.matroska,
    "application/ogg": recordings.ogg,
    "video/x-ms-asf": recordings.asf,
    "audio/mpeg": recordings.mpeg_sound,
    "audio/aac": recordings.adts,
    "audio/ac3": recordings.ac3,
    "video/mp2t": recordings.transport_stream,
    "video/x-flic": recordings.flic,
    "image/tiff": _tiff,
    "application/vnd.microsoft.portable-executable": _mz,
    "application/x-executable": _elf,
    "application/java-vm": _cafebabe,
    "image/x-3ds": _3ds,
    # Two reserved words of zero, and the size of one of the existing headers.
    "image/bmp": _by_header(
        rb"(?:BM.{4}\x00{4}.{4}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]|\x28\x00{3}.{8}\x01\x00[\x01\x04\x08\x10\x18\x20])\x00",
        "image/bmp",
    ),
    # At least one image, and the zero byte of its entry, which .NET writes as 255.
    "image/vnd.microsoft.icon": _by_header(rb"\x00\x00\x01\x00[^\x00]\x00...[\x00\xff]", "image/vnd.microsoft.icon"),
    "image/x-win-bitmap": _by_header(rb"\x00\x00\x02\x00[^\x00]\x00...\x00", "image/x-win-bitmap"),
    "image/vnd.zbrush.pcx": _by_header(rb"\x0a[\x00\x02-\x05]\x01[\x01\x02\x04\x08]", "image/vnd.zbrush.pcx"),
    "image/x-portable-bitmap": _by_header(rb"P[14]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s", "image/x-portable-bitmap"),
    "image/x-portable-graymap": _by_header(rb"P[25]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s+\d+\s", "image/x-portable-graymap"),
    "image/x-portable-pixmap": _by_header(rb"P[36]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s+\d+\s", "image/x-portable-pixmap"),
    "application/x-shockwave-flash": _by_header(rb"[FCZ]WS[\x01-\x33].{3}[\x00-\x08]", "application/x-shockwave-flash"),
    "font/ttf": _by_header(
        rb"(?:\x00\x01\x00\x00|true)\x00.{7}[A-Za-z/0-9 ]{4}.{12}(?:[A-Za-z/0-9 ]{4}|\Z)", "font/ttf"
    ),
    "application/x-arj": _by_header(rb"\x60\xea.{2}[\x1e-\x2b].[\x01-\x0e].[\x00-\x0c]", "application/x-arj"),
    "application/x-tex-pk": _by_header(rb"\xf7\x59.TeX ", "application/x-tex-pk"),
    "application/x-cpio": _by_header(rb"0707[0-7]{2}|\xc7\x71.{18}[\x01-\xff]\x00.{4}[^\x00]", "application/x-cpio"),
    "application/x-dar": _by_header(rb"\x00\x00\x00\x7b.{10}[NT]", "application/x-dar"),
    "application/x-ext-image": _by_header(
        rb".{1024}.{56}\x53\xef[\x00-\x04]\x00[\x00-\x03]\x00", "application/x-ext-image"
    ),
    "application/vnd.sqlite3": _sqlite,
}


def at_the_end(sample: Sample) -> Finding | None:
    """Return the type of a file without a signature at its start, None if it has none elsewhere."""
    tail = sample.tail(512)
    if tail.startswith(b"koly\x00\x00\x00\x04"):
        return Finding("application/x-apple-diskimage")
    if tail.endswith(b"TRUEVISION-XFILE.\x00"):
        return Finding("image/x-tga")
    if tail.startswith(b"conectix"):
        return Finding("application/x-vhd-disk")
    if sample.length is not None and sample.length > 0x8006:
        descriptor = sample.at(0x8001, 5)
        if descriptor in (b"CD001", b"BEA01", b"NSR02", b"NSR03"):
            return Finding("application/x-iso9660-image", ("application/x-iso9660-image",))
    return None
