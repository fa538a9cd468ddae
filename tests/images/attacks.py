"""Images that are small to upload and would be expensive to decode, one for each way to be expensive."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Final

import pillow_heif
from PIL import Image

from tests.images.awkward_images import saved


def tiff(side: int = 46_320, *, compression: int = 8, **tags: int) -> bytes:
    """Return a TIFF of one pixel with one square tile of this size."""
    data = zlib.compress(bytes(1000))
    entries = {
        256: (4, 1, 1),
        257: (4, 1, 1),
        258: (3, 1, 8),
        259: (3, 1, compression),
        262: (3, 1, 1),
        277: (3, 1, 1),
        322: (4, 1, side),
        323: (4, 1, side),
        324: (4, 1, 8),
        325: (4, 1, len(data)),
    }
    return _tiff(data, entries)


def _tiff(data: bytes, entries: dict[int, tuple[int, int, int]]) -> bytes:
    packed = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(entries.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries)) + packed + bytes(4)


def tiff_strip() -> bytes:
    """Return a TIFF with a strip of as many rows as it claims to have, but for one pixel."""
    entries = {256: (4, 1, 60_000), 257: (4, 1, 1_400), 258: (3, 1, 16), 259: (3, 1, 8), 262: (3, 1, 2)}
    entries |= {273: (4, 1, 8), 277: (3, 1, 4), 278: (4, 1, 0xFFFFFFFF), 279: (4, 1, 20), 338: (3, 1, 2)}
    return _tiff(zlib.compress(bytes(1000)), entries)


def tiff_tags() -> bytes:
    """Return a TIFF with thousands of tags that all have the same megabyte as their value."""
    entries = {256: (4, 1, 1), 257: (4, 1, 1), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8)}
    entries |= dict.fromkeys(range(40000, 44000), (7, 1000000, 8))
    return _tiff(bytes(1_000_000), entries)


def jpeg_scans(side: int = 4096, scans: int = 3000) -> bytes:
    """Return a progressive JPEG in which one scan of a few bytes is repeated."""
    data = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    starts = []
    position = data.find(b"\xff\xda")
    while position >= 0:
        starts.append(position)
        position = data.find(b"\xff\xda", position + 2)
    parts = [data[a:b] for a, b in zip(starts, [*starts[1:], len(data) - 2], strict=True)]
    repeated = min(parts[1:], key=len)
    return data[: starts[1]] + repeated * scans + data[starts[1] :]


def jpeg_junk(size: int = 40_000_000) -> bytes:
    """Return a JPEG with bytes between its first segment and the next."""
    data = saved(Image.new("L", (64, 64)), "JPEG")
    return data[:20] + bytes(size) + data[20:]


def jpeg_segments(count: int = 2_000_000) -> bytes:
    """Return a JPEG with millions of empty comments."""
    data = saved(Image.new("L", (64, 64)), "JPEG")
    return data[:2] + b"\xff\xfe\0\2" * count + data[2:]


def jpeg_metadata() -> bytes:
    """Return a JPEG with 50 MB of metadata."""
    data = saved(Image.new("L", (64, 64)), "JPEG")
    return data[:2] + (b"\xff\xe5" + struct.pack(">H", 65_535) + bytes(65_533)) * 800 + data[2:]


def jpeg_second_header() -> bytes:
    """Return a JPEG with a second frame header of 65,000 x 65,000 pixels."""
    data = saved(Image.new("L", (64, 64)), "JPEG")
    at = data.index(b"\xff\xc0")
    header = bytearray(data[at : at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]])
    header[5:9] = struct.pack(">HH", 65_000, 65_000)
    return data[:at] + data[at : at + len(header)] + bytes(header) + data[at + len(header) :]


def jpeg_tail(size: int = 70_000_000) -> bytes:
    """Return a tiny JPEG with 70 MB of coded data."""
    data = saved(Image.new("L", (64, 64)), "JPEG", progressive=True)
    return data[:-2] + b"\x55" * size + data[-2:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *, before: bytes = b"", pixels: bytes | None = None) -> bytes:
    """Return a black PNG, with these chunks before its pixels."""
    raw = zlib.compress(bytes(1 + width) * height, 9) if pixels is None else pixels
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + before + _chunk(b"IDAT", raw) + _chunk(b"IEND", b"")


def png_chunks() -> bytes:
    """Return a PNG with a million empty chunks."""
    return png(8, 8, before=_chunk(b"prVt", b"") * 1_000_000)


def png_private() -> bytes:
    """Return a PNG with 50 MB in a chunk that nobody knows."""
    return png(8, 8, before=_chunk(b"prVt", bytes(50_000_000)))


def png_empty_blocks() -> bytes:
    """Return a tiny PNG whose 70 MB of compressed data are empty blocks."""
    return png(8, 8, pixels=b"\x78\x01" + b"\0\0\0\xff\xff" * 14_000_000 + zlib.compress(bytes(72))[2:])


def _first_frame(data: bytes) -> int:
    """Return the position of the first frame of a GIF without extensions."""
    return 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)


def gif_hidden(side: int = 9_500) -> bytes:
    """Return a GIF whose large frame stands behind an extension that begins with an empty block."""
    small, large = saved(Image.new("P", (8, 8)), "GIF"), saved(Image.new("P", (side, side)), "GIF")
    # A reader for which the empty block is the end finds the small frame, and then the end of the file.
    hidden = small[_first_frame(small) : -1] + b";"
    decoy = b"".join(bytes((len(hidden[at : at + 255]),)) + hidden[at : at + 255] for at in range(0, len(hidden), 255))
    return small[: _first_frame(small)] + b"!\1\0" + decoy + b"\0" + large[_first_frame(large) :]


def gif_outside() -> bytes:
    """Return a GIF whose second frame lies far outside of its screen."""
    data = bytearray(saved(Image.new("P", (8, 8)), "GIF", save_all=True, append_images=[Image.new("P", (8, 8), 1)]))
    at = data.rindex(b"," + struct.pack("<HHHH", 0, 0, 8, 8))
    data[at + 1 : at + 9] = struct.pack("<HHHH", 60_000, 60_000, 8, 8)
    return bytes(data)


def gif_blocks() -> bytes:
    """Return a GIF with four million blocks of one byte."""
    data = saved(Image.new("P", (8, 8)), "GIF")
    at = _first_frame(data)
    return data[:at] + b"!\5" + b"\1x" * 4_000_000 + b"\0" + data[at:]


def gif_frames() -> bytes:
    """Return a GIF of 100 frames, which a recipe for animations keeps."""
    frames = [Image.new("P", (560, 560), index % 2) for index in range(100)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


def webp(side: int = 16_383) -> bytes:
    """Return a lossless WebP of one colour; its pixels take no bits."""
    data = bytearray(saved(Image.new("RGB", (100, 100), (9, 9, 9)), "WEBP", lossless=True))
    at = data.index(b"VP8L") + 9
    bits = int.from_bytes(data[at : at + 4], "little") & ~0xFFFFFFF | (side - 1) | (side - 1) << 14
    data[at : at + 4] = bits.to_bytes(4, "little")
    return bytes(data)


def avif(side: int = 7_000) -> bytes:
    """Return an AVIF that claims 64 x 64 pixels, with a frame of this size."""
    data = saved(Image.new("L", (side, side), 99), "AVIF", speed=10)
    return data.replace(
        b"ispe" + bytes(4) + struct.pack(">II", side, side), b"ispe" + bytes(4) + struct.pack(">II", 64, 64)
    )


def heic(side: int = 7_400) -> bytes:
    """Return a HEIC that claims 64 x 64 pixels, with a picture of this size."""
    out = BytesIO()
    image = pillow_heif.from_pillow(Image.new("L", (side, side), 99))
    image.save(out, enc_params={"preset": "ultrafast"})
    claim = b"ispe" + bytes(4)
    return out.getvalue().replace(claim + struct.pack(">II", side, side), claim + struct.pack(">II", 64, 64))


#: Images that are refused by their headers, with the rule.
REFUSED: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "tiff tile": (tiff, "memory"),
    "tiff tile, LZW": (lambda: tiff(compression=5), "memory"),
    "tiff strip": (tiff_strip, "memory"),
    "tiff tags": (tiff_tags, "decodable"),
    "jpeg scans": (jpeg_scans, "scans"),
    "jpeg junk": (jpeg_junk, "decodable"),
    "jpeg segments": (jpeg_segments, "decodable"),
    "jpeg metadata": (jpeg_metadata, "decodable"),
    "jpeg second header": (jpeg_second_header, "decodable"),
    "jpeg tail": (jpeg_tail, "decodable"),
    "png chunks": (png_chunks, "decodable"),
    "png private": (png_private, "decodable"),
    "png empty blocks": (png_empty_blocks, "decodable"),
    "png large": (lambda: png(9_460, 9_460), "max_pixels"),
    "gif hidden": (gif_hidden, "max_pixels"),
    "gif outside": (gif_outside, "max_pixels"),
    "gif blocks": (gif_blocks, "decodable"),
    "webp": (webp, "max_pixels"),
    "webp within the pixels": (lambda: webp(6_000), "memory"),
}

#: The same, but it takes seconds to make them.
REFUSED_LARGE: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "avif": (avif, "memory"),
    "heic": (heic, "memory"),
}

#: Images as large as any that are accepted.
ACCEPTED: Final[dict[str, Callable[[], bytes]]] = {
    "png": lambda: png(9_450, 9_450),
    "jpeg": lambda: saved(drawn(9_400, 9_400), "JPEG"),
    "jpeg, progressive": lambda: saved(drawn(8_600, 8_600), "JPEG", progressive=True, subsampling=0),
    "webp": lambda: saved(drawn(5_300, 5_300), "WEBP", method=0),
    "avif": lambda: saved(drawn(6_000, 6_000), "AVIF", speed=10),
    "tiff tile": lambda: tiff(7_500),
    "gif frames": gif_frames,
    "ico": lambda: ico(png(9_450, 9_450)),
    "jpeg 2000": lambda: saved(drawn(2_000, 1_900), "JPEG2000"),
    "jpeg 2000, blocks": lambda: jpeg2000(3_250, 3_250, block=(0, 0)),
    "jpeg 2000, precincts": lambda: jpeg2000(800, 800, precinct=0x11),
    "jpeg 2000, tiles": lambda: jpeg2000(140, 170, tile=(1, 1), components=_FOUR, data=b""),
}


def drawn(width: int, height: int) -> Image.Image:
    """Return a picture with some detail everywhere."""
    tile = Image.effect_noise((width // 20, height // 20), 80).resize((width, height))
    return Image.merge("RGB", (tile, tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT), tile))


# --- damage that the readers of formats have to notice ----------------------------------------------------------------


def box(name: bytes, content: bytes) -> bytes:
    """Return a box of an AVIF or HEIC."""
    return struct.pack(">I", 8 + len(content)) + name + content


_FTYP: Final = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")


def avif_nested(depth: int = 800) -> bytes:
    """Return an AVIF of boxes in boxes, around a megabyte."""
    content = bytes(1_000_000)
    for _ in range(depth):
        content = box(b"iprp", content)
    return _FTYP + box(b"meta", bytes(4) + content)


def avif_overlapping(count: int = 900) -> bytes:
    """Return an AVIF of one item whose parts are all the same megabyte."""
    entry = struct.pack(">HHHH", 1, 1, 0, count) + struct.pack(">II", 0, 1_000_000) * count
    places = box(b"iloc", b"\1\0\0\0\x44\0" + struct.pack(">H", 1) + entry)
    kinds = box(
        b"iinf", bytes(4) + struct.pack(">H", 1) + box(b"infe", b"\2\0\0\0" + struct.pack(">HH", 1, 0) + b"av01\0")
    )
    return _FTYP + box(b"meta", bytes(4) + kinds + places + box(b"idat", bytes(1_000_000)))


def avif_disguised() -> bytes:
    """Return an AVIF with a second description of its item, in a box where no decoder looks."""
    data = saved(Image.new("RGB", (64, 64)), "AVIF")
    start = data.index(b"meta") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    entry = b"\2\0\0\0" + struct.pack(">HH", 1, 0) + b"Exif\0"
    more = box(b"iinf", bytes(4) + struct.pack(">H", 1) + box(b"infe", entry))
    meta = struct.pack(">I", length + len(more)) + data[start + 4 : start + length] + more
    return data[:start] + meta + data[start + length :]


def jpeg_markers(count: int = 300_000) -> bytes:
    """Return a progressive JPEG with markers without segments between its scans."""
    data = saved(Image.new("L", (64, 64)), "JPEG", progressive=True)
    at = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    return data[:at] + b"\xff\1" * count + data[at:]


def jpeg_hidden_scans(side: int = 1024) -> bytes:
    """Return a JPEG with scans in what looks like the segment of a reserved marker, which libjpeg does not skip."""
    data = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    at = data.index(b"\xff\xda")
    scans = (b"\xff\xda\0\x08\1\1\0\0\0\x10" + b"\0") * 1500
    return (
        data[:at]
        + b"\xff\xdd\0\4\0\1"
        + data[at : at + 14]
        + b"\xff\2\xfe\xfe"
        + b"\xff\xdd\0\4\0\0"
        + scans
        + b"\xff\xd9"
    )


def jpeg_scan_header(length: int) -> bytes:
    """Return a JPEG with a scan header of this length."""
    data = saved(Image.new("L", (8, 8)), "JPEG")
    at = data.index(b"\xff\xda")
    return data[: at + 2] + struct.pack(">H", length) + data[at + 4 :]


def tiff_signed() -> bytes:
    """Return a TIFF with a tile whose size is given in numbers with a sign."""
    entries = {256: (4, 1, 1), 257: (4, 1, 1), 258: (3, 1, 8), 259: (3, 1, 8), 262: (3, 1, 1), 277: (3, 1, 1)}
    entries |= {322: (9, 1, 32_000), 323: (9, 1, 32_000), 324: (4, 1, 8), 325: (4, 1, 20)}
    return _tiff(zlib.compress(bytes(1000)), entries)


def bmp_run_lengths(width: int = 20_000_000) -> bytes:
    """Return a BMP of run lengths, which Pillow decodes in Python."""
    data, offset = b"\1\0\0\0", 14 + 40 + 1024
    head = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, 8, 1, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + head + bytes(1024) + data


def ico(*pictures: bytes, sides: tuple[int, int] = (16, 16), kind: int = 1) -> bytes:
    """Return an ICO of these PNG and BMP, each of which it claims to be of this size."""
    start, entries = 6 + 16 * len(pictures), b""
    for each in pictures:
        entries += struct.pack("<BBBBHHII", *sides, 0, 0, 1, 32, len(each), start)
        start += len(each)
    return struct.pack("<HHH", 0, kind, len(pictures)) + entries + b"".join(pictures)


def ico_bmp(width: int, height: int, *, bits: int = 32, compression: int = 0, header: int = 40) -> bytes:
    """Return the header of a BMP as it stands in an ICO, with the bytes of a picture of 16 x 16."""
    return struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, 0, 0, 0, 0, 0) + bytes(1100)


def _png_header(width: int, height: int) -> bytes:
    return png(1, 1).replace(struct.pack(">II", 1, 1), struct.pack(">II", width, height))


def _forged_ico(position: int, value: int) -> bytes:
    """Return an ICO with other four bytes in its only entry."""
    data = bytearray(ico(png(16, 16)))
    data[position : position + 4] = struct.pack("<I", value)
    return bytes(data)


def _marker(code: int, content: bytes) -> bytes:
    return struct.pack(">HH", code, len(content) + 2) + content


def jpeg2000(
    width: int = 64,
    height: int = 64,
    *,
    tile: tuple[int, int] | None = None,
    components: tuple[tuple[int, int, int], ...] = ((7, 1, 1),),
    layers: int = 1,
    resolutions: int = 6,
    block: tuple[int, int] = (4, 4),
    precinct: int | None = None,
    style: int = 0,
    exponent: int = 9,
    data: bytes = bytes(10),
    more: bytes = b"",
    declared: int | None = None,
) -> bytes:
    """Return a codestream whose headers declare this, with the same bytes as the data of every tile.

    Args:
        components: for each its bits less one, and the distances between its samples.
        block: the logarithms of the size of a code block, less two.
        precinct: those of a precinct, in four bits each.
        more: other markers of the header.
        declared: the length of each part of a tile.
    """
    wide, high = tile or (width, height)
    size = struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, wide, high, 0, 0, len(components) & 0xFFFF)
    custom = b"" if precinct is None else bytes((precinct,)) * resolutions
    coding = (
        bytes((bool(custom), 0)) + struct.pack(">HB", layers, 0) + bytes((resolutions - 1, *block, style, 1)) + custom
    )
    tiles = -(-width // max(wide, 1)) * -(-height // max(high, 1))
    length = 14 + len(data) if declared is None else declared
    return (
        b"\xff\x4f"
        + _marker(0xFF51, size + b"".join(bytes(each) for each in components))
        + _marker(0xFF52, coding)
        + _marker(0xFF5C, b"\x40" + bytes((exponent << 3,)) * (3 * resolutions - 2))
        + more
        + b"".join(
            struct.pack(">HHHIBBH", 0xFF90, 10, each, length, 0, 1, 0xFF93) + data for each in range(min(tiles, 65_535))
        )
        + b"\xff\xd9"
    )


def jpeg2000_styles(count: int = 3_000) -> bytes:
    """Return a codestream with thousands of coding styles, each with other precincts."""
    precincts = (bytes((each // 14, 0x11 + each % 14, 0xFF)) for each in range(count))
    return jpeg2000(more=b"".join(_marker(0xFF53, b"\0\1\2\4\4\0\1" + each) for each in precincts))


def jp2(
    codestream: bytes | None = None, *, sides: tuple[int, int] = (64, 64), before: bytes = b"", inside: bytes = b""
) -> bytes:
    """Return a JP2 file, with other boxes before the codestream, and inside of the header."""
    header = box(b"ihdr", struct.pack(">IIHBBBB", sides[1], sides[0], 1, 7, 7, 0, 0))
    header = box(b"jp2h", header + box(b"colr", struct.pack(">BBBI", 1, 0, 0, 17)) + inside)
    start = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + header + before + box(b"jp2c", jpeg2000() if codestream is None else codestream)


def _forged_box(name: bytes, length: int) -> bytes:
    """Return a JP2 file with another length of this box."""
    data = bytearray(jp2())
    at = data.index(name) - 4
    data[at : at + 4] = struct.pack(">I", length)
    return bytes(data)


_FOUR: Final[tuple[tuple[int, int, int], ...]] = ((7, 1, 1),) * 4

#: ICO and JPEG 2000, which are read on request, by what is wrong with them.
_ICO: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "ico, hidden png": (lambda: ico(png(16, 16), _png_header(30_000, 30_000)), "max_pixels"),
    "ico, second header": (lambda: ico(png(16, 16, before=_chunk(b"IHDR", b"\0\0\xff\xff" * 2))), "decodable"),
    "ico, hidden bmp": (lambda: ico(png(16, 16), ico_bmp(30_000, 60_000)), "decodable"),
    "ico, negative bmp": (lambda: ico(ico_bmp(16, -32)), "decodable"),
    "ico, bmp without pixels": (lambda: ico(ico_bmp(0, 0)), "decodable"),
    "ico, run lengths": (lambda: ico(ico_bmp(16, 32, bits=8, compression=1)), "decodable"),
    "ico, neither png nor bmp": (lambda: ico(png(16, 16), bytes(100)), "decodable"),
    "ico, png without pixels": (lambda: ico(_png_header(0, 0)), "decodable"),
    "ico, chunks": (lambda: ico(png(8, 8, before=_chunk(b"prVt", b"") * 110_000)), "decodable"),
    "ico, large": (lambda: ico(png(8, 8), bytes(33_000_000)), "decodable"),
    "ico, length": (lambda: _forged_ico(14, 0x7FFFFFFF), "decodable"),
    "ico, no length": (lambda: _forged_ico(14, 0), "decodable"),
    "ico, place": (lambda: _forged_ico(18, 0xFFFFFFF0), "decodable"),
    "ico, cut in its entries": (lambda: ico(png(16, 16))[:20], "decodable"),
    "ico, cut": (lambda: ico(png(16, 16), png(200, 200))[:-20], "decodable"),
}
_JPEG_2000: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "jpeg 2000": (lambda: jpeg2000(60_000, 60_000), "max_pixels"),
    "jpeg 2000, tiles": (lambda: jpeg2000(170, 170, tile=(1, 1), components=_FOUR, data=b""), "memory"),
    "jpeg 2000, more tiles": (lambda: jpeg2000(300, 300, tile=(1, 1), data=b""), "decodable"),
    "jpeg 2000, components": (lambda: jpeg2000(components=((7, 1, 1),) * 16_384), "decodable"),
    "jpeg 2000, no components": (lambda: jpeg2000(components=()), "decodable"),
    "jpeg 2000, blocks": (lambda: jpeg2000(4_000, 4_000, block=(0, 0)), "memory"),
    "jpeg 2000, precincts": (lambda: jpeg2000(1_500, 1_500, precinct=0x11), "memory"),
    "jpeg 2000, precincts of a pixel": (lambda: jpeg2000(900, 900, precinct=0, resolutions=1), "memory"),
    "jpeg 2000, layers": (lambda: jpeg2000(layers=65_535, resolutions=33, precinct=0x22, components=_FOUR), "memory"),
    "jpeg 2000, layers that name blocks": (
        lambda: jpeg2000(700, 700, block=(0, 0), layers=65_535, resolutions=1, data=b"\x80" * 65_535),
        "time",
    ),
    "jpeg 2000, layers of tiles": (
        lambda: jpeg2000(500, 500, tile=(8, 8), components=_FOUR, layers=1_000, resolutions=33),
        "time",
    ),
    "jpeg 2000, packets": (lambda: jpeg2000(1, 661, layers=40_000, resolutions=1, precinct=0x1F), "time"),
    "jpeg 2000, planes": (lambda: jpeg2000(2_000, 2_000, components=((15, 1, 1),) * 4, exponent=31), "time"),
    "jpeg 2000, passes that end": (
        lambda: jpeg2000(1_000, 1_000, block=(0, 0), style=4, layers=100, resolutions=1, data=bytes(4_000_000)),
        "memory",
    ),
    "jpeg 2000, styles": (jpeg2000_styles, "decodable"),
    "jpeg 2000, resolutions": (lambda: jpeg2000(resolutions=34), "decodable"),
    "jpeg 2000, other coder": (lambda: jpeg2000(style=0x40), "decodable"),
    "jpeg 2000, transformations": (lambda: jpeg2000(more=_marker(0xFF74, bytes(60_000)) * 50), "decodable"),
    "jpeg 2000, orders": (lambda: jpeg2000(more=_marker(0xFF5F, bytes(7))), "decodable"),
    "jpeg 2000, packed headers": (lambda: jpeg2000(more=_marker(0xFF60, bytes(60_000))), "decodable"),
    "jpeg 2000, comments": (lambda: jpeg2000(more=_marker(0xFF64, bytes(2)) * 200_000), "decodable"),
    "jpeg 2000, long comments": (lambda: jpeg2000(more=_marker(0xFF64, bytes(65_533)) * 100), "decodable"),
    "jpeg 2000, no pixels": (lambda: jpeg2000(0, 64, tile=(64, 64)), "decodable"),
    "jpeg 2000, no tile": (lambda: jpeg2000(tile=(0, 0)), "decodable"),
    "jpeg 2000, no distance": (lambda: jpeg2000(components=((7, 0, 1),)), "decodable"),
    "jpeg 2000, length of a part": (lambda: jpeg2000(declared=0x7FFFFFFF), "decodable"),
    "jpeg 2000, short part": (lambda: jpeg2000(declared=13), "decodable"),
    "jpeg 2000, cut": (lambda: jpeg2000(data=bytes(1_000))[:-500], "decodable"),
    "jpeg 2000, cut at a tile": (lambda: jpeg2000(tile=(32, 64), data=bytes(100))[:-116], "decodable"),
    "jp2, hidden size": (lambda: jp2(jpeg2000(9_000, 9_000)), "decodable"),
    "jp2, second header": (lambda: jp2(before=box(b"jp2h", box(b"ihdr", bytes(14)))), "decodable"),
    "jp2, second size": (lambda: jp2(inside=box(b"ihdr", bytes(14))), "decodable"),
    "jp2, size elsewhere": (lambda: jp2(before=box(b"ihdr", bytes(14))), "decodable"),
    "jp2, palette": (lambda: jp2(inside=box(b"pclr", b"\xff\xff\xff" + bytes(65_535))), "decodable"),
    "jp2, boxes": (lambda: jp2(before=box(b"free", b"") * 200_000), "decodable"),
    "jp2, boxes of the header": (lambda: jp2(inside=box(b"free", b"") * 200_000), "decodable"),
    "jp2, profile": (lambda: jp2(inside=box(b"colr", bytes(5_000_000))), "decodable"),
    "jp2, short box": (lambda: _forged_box(b"ftyp", 7), "decodable"),
    "jp2, long box": (lambda: _forged_box(b"jp2h", 0xFFFFFFFF), "decodable"),
    "jp2, longer box": (lambda: _forged_box(b"jp2h", 1), "decodable"),
    "jp2, box without an end": (lambda: _forged_box(b"jp2h", 0), "decodable"),
    "jp2, box inside": (lambda: _forged_box(b"ihdr", 0x7FFFFFFF), "decodable"),
    "jp2, cut in a box": (lambda: jp2()[:60], "decodable"),
    "jp2, no codestream": (lambda: jp2().replace(b"jp2c", b"free"), "decodable"),
}

#: Images that are refused in no time, and take no time to make.
QUICK: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "avif, nested": (avif_nested, "decodable"),
    "avif, overlapping": (avif_overlapping, "decodable"),
    "avif, disguised": (avif_disguised, "decodable"),
    "jpeg, markers": (jpeg_markers, "decodable"),
    "jpeg, hidden scans": (jpeg_hidden_scans, "decodable"),
    "jpeg, scan header of 1": (lambda: jpeg_scan_header(1), "decodable"),
    "jpeg, scan header of 2": (lambda: jpeg_scan_header(2), "decodable"),
    "tiff, signed": (tiff_signed, "memory"),
    "bmp, run lengths": (bmp_run_lengths, "max_pixels"),
    **_ICO,
    **_JPEG_2000,
}
