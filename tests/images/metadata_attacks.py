"""Images whose metadata, directories or descriptions are expensive to read, or are read differently by two readers."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Final

import pillow_heif
from PIL import Image

from tests.images.attacks import _chunk, _tiff, box
from tests.images.awkward_images import saved

_RATIONAL: Final = b"\7\1\2\3\5\1\2\3"


def exif(tag: int, count: int) -> bytes:
    """Return EXIF data in which one entry consists of fractions; Pillow makes an object of each."""
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + struct.pack("<HHII", tag, 5, count, 50)
    return (head + struct.pack("<HHII", 0x128, 3, 1, 2) + bytes(4)).ljust(50, b"\0") + _RATIONAL * count


# --- JPEG -------------------------------------------------------------------------------------------------------------


def _jpeg(mode: str = "L") -> bytes:
    return saved(Image.new(mode, (64, 64)), "JPEG")


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def jpeg_exif_segments() -> bytes:
    """Return a JPEG with thousands of EXIF segments, which Pillow joins one by one."""
    data = _jpeg()
    return data[:2] + _segment(0xE1, b"Exif\0\0" + bytes(3180)) * 9900 + data[2:]


def jpeg_exif_resolution(size: int = 30_000_000) -> bytes:
    """Return a JPEG whose resolution consists of millions of fractions, in EXIF data of many segments."""
    data, long = _jpeg(), exif(0x11A, size // 8)
    parts = [long[at : at + 65_000] for at in range(0, len(long), 65_000)]
    return data[:2] + b"".join(_segment(0xE1, b"Exif\0\0" + part) for part in parts) + data[data.index(b"\xff\xdb") :]


def jpeg_components() -> bytes:
    """Return a JPEG with frame headers of thousands of components."""
    data = _jpeg()
    at = data.index(b"\xff\xc0")
    return data[:at] + _segment(0xC0, data[at + 4 : at + 13] + bytes(65_499)) * 480 + data[at:]


def jpeg_few_components() -> bytes:
    """Return a JPEG with fewer components than it claims, and a comment that would have to be removed."""
    data = saved(Image.new("RGB", (64, 64)), "JPEG", comment=b"x")
    at = data.index(b"\xff\xc0")
    return data[:at] + _segment(0xC0, data[at + 4 : at + 13]) + data[at + 19 :]


def jpeg_hidden_segments(marker: int, count: int = 2_000_000) -> bytes:
    """Return a JPEG with a segment that Pillow does not skip: for it, the first scan is within another segment."""
    data = _jpeg()
    scan = data[data.index(b"\xff\xda") :]
    swallowing = b"\xff\xe5" + struct.pack(">H", len(scan))
    head = data[: -len(scan)] + _segment(marker, swallowing) + scan[:-2]
    return head + b"\xff\xfe\0\2" * count + scan


# --- colour profiles --------------------------------------------------------------------------------------------------


def profile(count: int) -> bytes:
    """Return a colour profile whose transformation consists of the same matrix, ``count`` times."""
    matrix = b"matf" + struct.pack(">IHH", 0, 3, 3) + struct.pack(">12f", *(1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0))
    elements = b"mpet" + struct.pack(">IHHI", 0, 3, 3, count)
    elements += struct.pack(">II", 16 + 8 * count, len(matrix)) * count + matrix
    identity = struct.pack(">9i", *(65_536 * (at % 4 == 0) for at in range(9)))
    table = b"mft1" + bytes(4) + b"\3\3\2\0" + identity + bytes(range(256)) * 3 + bytes(24) + bytes(range(256)) * 3
    tags = struct.pack(">I", 2) + b"A2B0" + struct.pack(">II", 156, len(table))
    tags += b"D2B0" + struct.pack(">II", 156 + len(table), len(elements))
    head = bytearray(128)
    head[4:24] = b"lcms" + b"\4\x30\0\0" + b"mntr" + b"RGB " + b"XYZ "
    head[36:40], head[68:80] = b"acsp", struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    data = bytes(head) + tags + table + elements
    return struct.pack(">I", len(data)) + data[4:]


def png_profile() -> bytes:
    """Return a PNG of two kilobytes whose profile takes minutes."""
    return saved(Image.new("RGB", (64, 64)), "PNG", icc_profile=profile(120_000))


def webp_profile() -> bytes:
    """Return a WebP with a profile of 48 MB."""
    return saved(Image.new("RGB", (64, 64)), "WEBP", icc_profile=profile(6_000_000))


# --- PNG --------------------------------------------------------------------------------------------------------------


def png(
    width: int = 8, height: int = 8, *, bits: int = 8, kind: int = 0, before: bytes = b"", after: bytes = b""
) -> bytes:
    """Return a black PNG of this kind, with chunks before and behind its pixels."""
    row = bytes(1 + -(-width * bits * {0: 1, 2: 3, 3: 1, 6: 4}[kind] // 8))
    packer = zlib.compressobj(9)
    rows = 1 + 10_000_000 // len(row)
    pixels = [packer.compress(row * min(rows, height - at)) for at in range(0, height, rows)]
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)) + before,
            _chunk(b"IDAT", b"".join(pixels) + packer.flush()) + after,
            _chunk(b"IEND", b""),
        )
    )


def png_unpacked(name: bytes, head: bytes, count: int = 20_000) -> bytes:
    """Return a PNG with thousands of chunks that unpack to a megabyte each, which Pillow would not count."""
    return png(before=_chunk(name, head + zlib.compress(bytes(1_000_000), 9)) * count)


def png_wide_text() -> bytes:
    """Return a PNG with texts of which a character outside of the BMP makes each take four bytes in memory."""
    text = zlib.compress(("\U0001f600" + "a" * 1_000_000).encode(), 9)
    return png(9400, 9400, kind=2, before=b"".join(_chunk(b"iTXt", b"%d\0\1\0\0\0" % n + text) for n in range(63)))


def png_profile_text(text: bytes) -> bytes:
    """Return a PNG with EXIF data as a text, as ImageMagick writes it."""
    return png(before=_chunk(b"tEXt", b"Raw profile type exif\0" + text))


def png_empty_blocks(before: bytes = b"", after: bytes = b"", size: int = 100_000_000) -> bytes:
    """Return a tiny PNG of empty blocks, and chunks that make it look large."""
    data = png(before=before, after=after)
    at, end = data.index(b"IDAT") - 4, data.index(b"IDAT") + 8
    end += int.from_bytes(data[at : at + 4], "big")
    return data[:at] + _chunk(b"IDAT", b"\x78\1" + b"\0\0\0\xff\xff" * (size // 5)) + data[end:]


def png_second_header() -> bytes:
    """Return a tiny PNG with a second header, behind its pixels, of a large one."""
    return png_empty_blocks(after=_chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 0, 0, 0, 0)))


def png_second_pixels(size: int = 400_000_000) -> bytes:
    """Return a PNG with pixels in a second place, which Pillow reads at once to skip them."""
    return png(9400, 9400, after=_chunk(b"tEXt", b"a\0b") + _chunk(b"IDAT", bytes(size)))


def png_junk_in_pixels(size: int = 400_000_000) -> bytes:
    """Return a PNG with junk behind its pixels, in the same chunk, which Pillow reads at once to skip it."""
    data = png(9400, 9400, kind=6)
    at = data.index(b"IDAT")
    length = int.from_bytes(data[at - 4 : at], "big")
    return data[: at - 4] + _chunk(b"IDAT", data[at + 4 : at + 4 + length] + bytes(size)) + data[at + 8 + length :]


def png_frames() -> bytes:
    """Return an animation of two large frames, of which Pillow has several copies at a time."""
    frames = [Image.new("RGBA", (6000, 6000), (each, 0, 0, 99)) for each in (1, 2)]
    return saved(frames[0], "PNG", save_all=True, append_images=frames[1:], disposal=2, blend=1, compress_level=1)


def gif_two_frames() -> bytes:
    """Return the same as a GIF."""
    first, second = (Image.new("P", (6500, 6500), each) for each in (0, 1))
    second.putpalette(bytes(range(256)) * 3)
    return saved(first, "GIF", save_all=True, append_images=[second], disposal=2, transparency=0)


def webp_frames_in_frames(depth: int = 3000) -> bytes:
    """Return an animation with frames in frames, which decoders ignore."""
    frames = [Image.new("RGB", (16, 16), (each, 0, 0)) for each in (0, 99)]
    data, inner = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]), b""
    for _ in range(depth):
        inner = b"ANMF" + struct.pack("<I", 16 + len(inner)) + bytes(16) + inner
    at = data.index(b"ANMF") + 4
    length = int.from_bytes(data[at : at + 4], "little")
    found = data[:at] + struct.pack("<I", length + len(inner)) + data[at + 4 : at + 4 + length + length % 2]
    found += inner + data[at + 4 + length + length % 2 :]
    return found[:4] + struct.pack("<I", len(found) - 8) + found[8:]


# --- TIFF and BMP -----------------------------------------------------------------------------------------------------

_GREY: Final = {258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, 8)}
_GREY_8: Final = {256: (4, 1, 8), 257: (4, 1, 8), 279: (4, 1, 64), **_GREY}


def tiff_values(tag: int, kind: int, value: bytes, count: int) -> bytes:
    """Return a TIFF with one value, ``count`` times, under a tag."""
    return _tiff(bytes(64) + value * count, _GREY_8 | {tag: (kind, count, 72)})


def tiff_strips(count: int = 2_000_000) -> bytes:
    """Return a TIFF of two rows with millions of strips."""
    rows = {257: (4, 1, 2), 278: (4, 1, 1), 273: (4, count, 72)}
    return _tiff(bytes(64) + struct.pack("<I", 8) * count, _GREY_8 | rows)


def tiff_rows(height: int = 39_000_000) -> bytes:
    """Return a TIFF of one column with a strip for each pixel."""
    return _tiff(zlib.compress(b"\0"), _GREY_8 | {256: (4, 1, 1), 257: (4, 1, height), 259: (3, 1, 8), 278: (4, 1, 1)})


def tiff_exif(count: int = 3_000_000, kind: int = 4) -> bytes:
    """Return a TIFF with EXIF data, in a directory of its own, of millions of fractions."""
    inner = struct.pack("<H", 1) + struct.pack("<HHII", 0x9000, 5, count, 90) + bytes(4)
    return _tiff(bytes(64) + inner + _RATIONAL * count, _GREY_8 | {34_665: (kind, 1, 72)})


def tiff_tag_twice() -> bytes:
    """Return a TIFF whose tile has two widths, of which readers may take either."""
    data = bytearray(_tiff(zlib.compress(bytes(100)), _GREY_8 | {322: (4, 1, 32), 323: (4, 1, 32), 324: (4, 1, 8)}))
    data[data.index(struct.pack("<H", 323), len(data) - 60)] -= 1
    return bytes(data)


def tiff_wide(width: int = 30_000_000) -> bytes:
    """Return a TIFF of one long row, of which Pillow makes a copy for each 64 KB."""
    return _tiff(bytes(width), _GREY_8 | {256: (4, 1, width), 257: (4, 1, 1), 279: (4, 1, width)})


def bmp(width: int, data: bytes, *, compression: int = 0, header: int = 40) -> bytes:
    """Return a BMP of one row of 256 colours."""
    info = struct.pack("<IiiHHIIiiII", header, width, 1, 1, 8, compression, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(data), 0, 0, 1078) + info + bytes(1024) + data


# --- AVIF and HEIC ----------------------------------------------------------------------------------------------------


def _full_box(name: bytes, content: bytes, version: int = 0) -> bytes:
    return box(name, bytes((version, 0, 0, 0)) + content)


def _found(data: bytes, name: bytes) -> bytes:
    at = data.index(name) - 4
    return data[at : at + int.from_bytes(data[at : at + 4], "big")]


Item = tuple[bytes, bytes, tuple[int, ...], Mapping[bytes, list[int]]]


def isobmff(brand: bytes, items: list[Item], properties: list[bytes], method: int = 0) -> bytes:
    """Return an AVIF or HEIC of these items, from the number 1: kind, content, properties and references to items."""
    entries, references, uses = [], b"", struct.pack(">I", len(items))
    for number, (kind, _, numbers, named) in enumerate(items, 1):
        entries.append(_full_box(b"infe", struct.pack(">HH", number, 0) + kind + b"\0", 2))
        uses += struct.pack(">HB", number, len(numbers)) + bytes(numbers)
        for name, targets in named.items():
            references += box(name, struct.pack(f">HH{len(targets)}H", number, len(targets), *targets))

    def described(position: int) -> bytes:
        places = b"\x44\0" + struct.pack(">H", len(items))
        for number, (_, content, _, _) in enumerate(items, 1):
            places += struct.pack(">HHHHII", number, method, 0, 1, position, len(content))
            position += len(content)
        content = _full_box(b"hdlr", bytes(4) + b"pict" + bytes(13)) + _full_box(b"pitm", struct.pack(">H", 1))
        content += _full_box(b"iloc", places, 1)
        content += _full_box(b"iinf", struct.pack(">H", len(items)) + b"".join(entries))
        content += _full_box(b"iref", references) if references else b""
        content += box(b"iprp", box(b"ipco", b"".join(properties)) + _full_box(b"ipma", uses))
        return box(b"ftyp", brand + bytes(4) + b"mif1miaf" + brand) + _full_box(b"meta", content)

    head = described(len(described(0)) + 8)
    return head + box(b"mdat", b"".join(content for _, content, _, _ in items))


def _size(width: int, height: int) -> bytes:
    return _full_box(b"ispe", struct.pack(">II", width, height))


_PIXELS: Final = _full_box(b"pixi", b"\3\x08\x08\x08")


def _av1() -> tuple[bytes, bytes]:
    data = saved(Image.new("RGB", (64, 64)), "AVIF", speed=10)
    return _found(data, b"av1C"), _found(data, b"mdat")[8:]


def _hevc(side: int) -> tuple[bytes, bytes]:
    out = BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (side, side))).save(out, enc_params={"preset": "ultrafast"})
    return _found(out.getvalue(), b"hvcC"), _found(out.getvalue(), b"mdat")[8:]


def avif_exif(count: int = 3_000_000) -> bytes:
    """Return an AVIF whose orientation consists of millions of fractions; Pillow reads it when it opens the file."""
    configuration, picture = _av1()
    items: list[Item] = [
        (b"av01", picture, (1, 2, 3), {}),
        (b"Exif", bytes(4) + exif(0x112, count), (), {b"cdsc": [1]}),
    ]
    return isobmff(b"avif", items, [_size(64, 64), configuration, _PIXELS])


def avif_layers(count: int = 1000) -> bytes:
    """Return an AVIF whose item consists of many frames."""
    configuration, picture = _av1()
    item: Item = (b"av01", picture + bytes((0x1A, 1, 0)) * count, (1, 2, 3), {})
    return isobmff(b"avif", [item], [_size(64, 64), configuration, _PIXELS])


def avif_padding(size: int = 470_000_000) -> bytes:
    """Return an AVIF whose item is followed by padding, within the item."""
    configuration, picture = _av1()
    length = bytes((size >> 7 * at & 127 | (at < 4) << 7) for at in range(5))
    item: Item = (b"av01", b"".join((picture, b"\x7a", length, bytes(size))), (1, 2, 3), {})
    return isobmff(b"avif", [item], [_size(64, 64), configuration, _PIXELS])


def avif_samples(count: int = 2_500_000) -> bytes:
    """Return a sequence with more samples in its only chunk than in the table of their lengths."""
    frames = [Image.new("RGB", (64, 64), (each, 0, 0)) for each in (0, 30, 60)]
    data = bytearray(saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10))
    for name, at, number in ((b"stsz", 8, 24), (b"stsc", 16, count)):
        at += data.index(name)
        data[at : at + 4] = struct.pack(">I", number)
    return bytes(data) + box(b"free", bytes(24 * count))


def heic_components(kind: bytes, targets: list[int], count: int = 0, side: int = 2048) -> bytes:
    """Return a HEIC of 64 x 64 pixels that consists of many large pictures."""
    configuration, picture = _hevc(side)
    content = b"\0\1" + (b"\x0b\x0b" if kind == b"grid" else bytes(8)) + struct.pack(">II", 64, 64)
    content += b"" if kind == b"grid" else bytes(8 * len(targets))
    items: list[Item] = [(kind, content, (1, 3), {b"dimg": targets})]
    items += [(b"hvc1", picture, (2, 4, 3), {})] * count
    return isobmff(b"heic", items, [_size(64, 64), _size(side, side), _PIXELS, configuration])


def heic_pictures(count: int = 100) -> bytes:
    """Return a HEIC whose item consists of many pictures."""
    configuration, picture = _hevc(64)
    return isobmff(b"heic", [(b"hvc1", picture * count, (1, 2, 3), {})], [_size(64, 64), configuration, _PIXELS])


def heic_elsewhere() -> bytes:
    """Return a HEIC whose picture is within another item, where readers may look at different places."""
    configuration, picture = _hevc(64)
    return isobmff(b"heic", [(b"hvc1", picture, (1, 2, 3), {})], [_size(64, 64), configuration, _PIXELS], method=2)


#: Images that are refused in no time, with the rule; those of the second table take longer to make.
QUICK: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "jpeg, few components": (jpeg_few_components, "decodable"),
    "jpeg, hidden segments": (partial(jpeg_hidden_segments, 0xF0, 10), "decodable"),
    "jpeg, segments hidden by JPG": (partial(jpeg_hidden_segments, 0xC8, 10), "decodable"),
    "jpeg, segments hidden by DHP": (partial(jpeg_hidden_segments, 0xDE, 10), "decodable"),
    "png, no palette": (partial(png, kind=3), "decodable"),
    "tiff, strips": (partial(tiff_strips, 200_000), "decodable"),
    "tiff, rows": (tiff_rows, "memory"),
    "tiff, exif": (partial(tiff_exif, 70_000), "decodable"),
    "tiff, exif by another type": (partial(tiff_exif, 70_000, 13), "decodable"),
    "tiff, tag twice": (tiff_tag_twice, "decodable"),
    "tiff, fractions": (partial(tiff_values, 296, 5, _RATIONAL, 70_000), "decodable"),
    "tiff, bits": (partial(tiff_values, 258, 3, b"\1\2", 70_000), "decodable"),
    "tiff, old JPEG": (lambda: _tiff(bytes(64), _GREY_8 | {259: (3, 1, 6)}), "decodable"),
    "bmp, header": (lambda: bmp(8, bytes(8), header=0xFFFFFFF0), "decodable"),
    "bmp, long run lengths": (lambda: bmp(8, b"\1\1" * 50_000, compression=1), "decodable"),
    "bmp, wide": (lambda: bmp(3_000_000, bytes(3_000_000)), "decodable"),
    "avif, layers": (avif_layers, "decodable"),
    "heic, pictures": (heic_pictures, "decodable"),
    "heic, elsewhere": (heic_elsewhere, "decodable"),
    "heic, one picture many times": (lambda: heic_components(b"iovl", [2] * 9, 1, 64), "decodable"),
}
LARGE: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "jpeg, exif segments": (jpeg_exif_segments, "decodable"),
    "jpeg, exif resolution": (jpeg_exif_resolution, "decodable"),
    "jpeg, components": (jpeg_components, "decodable"),
    "jpeg, hidden segments, many": (partial(jpeg_hidden_segments, 0xF0), "decodable"),
    "png, frames that are not there": (
        lambda: png_empty_blocks(_chunk(b"acTL", b"\x7f\xff\xff\xff" + bytes(4))),
        "decodable",
    ),
    "png, second header": (png_second_header, "decodable"),
    "png, second pixels": (png_second_pixels, "decodable"),
    "png, junk in pixels": (png_junk_in_pixels, "memory"),
    "tiff, wide": (tiff_wide, "decodable"),
    "webp, profile": (webp_profile, "decodable"),
    "avif, exif": (avif_exif, "decodable"),
    "avif, padding": (avif_padding, "decodable"),
    "avif, samples": (avif_samples, "decodable"),
    "heic, grid": (lambda: heic_components(b"grid", list(range(2, 146)), 144), "decodable"),
}
#: Images that are decoded, without what is expensive about them.
CHEAP: Final[dict[str, Callable[[], bytes]]] = {
    "png, profile": png_profile,
    "png, EXIF of lines": lambda: png_profile_text(b"\n" * 31_000_000),
    "png, EXIF of fractions": lambda: png_profile_text(b"\nexif\n 1\n" + exif(0x112, 1_500_000).hex().encode()),
    "png, unpacked profiles": partial(png_unpacked, b"iCCP", b"a\0\0"),
    "png, unpacked texts without names": partial(png_unpacked, b"zTXt", b"\0\0"),
    "png, wide texts": png_wide_text,
    "png, narrow": lambda: png(3, 20_000_000, bits=16),
}
#: Animations of which single frames are rendered.
FRAMES: Final[dict[str, Callable[[], bytes]]] = {"png": png_frames, "gif": gif_two_frames}
