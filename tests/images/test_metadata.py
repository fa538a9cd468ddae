"""Removed metadata: whatever tools and cameras put beside the pixels is gone, and the pixels are not touched."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Final

import pytest
from PIL import Image, ImageChops, ImageStat

from depot_lite import images
from depot_lite.errors import ImageRefused
from depot_lite.images import FORMATS
from depot_lite.images.profiles import CURVES, PRIMARIES, profile
from tests.images import attacks
from tests.images import awkward_images as awkward
from tests.images.awkward_images import QUARTERS, chunk, near, opened, quarters, saved

SECRET: Final = b"REST-OF-THE-UNCROPPED-SCREENSHOT"

strip = partial(images.strip, formats=FORMATS)


def _xmp_of_gif() -> bytes:
    """Return the block that Adobe's programs write: its text is no sequence of blocks until the last 258 bytes."""
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0\0"
    return b"!\xff\x0bXMP DataXMP<x exif:GPSLatitude='" + SECRET + b"'/>" + trailer


def _in_gif(block: bytes) -> bytes:
    data = saved(quarters(), "GIF")
    return data[:-1] + block + b";"


def _in_png(name: bytes, data: bytes, *, crc: bytes | None = None) -> bytes:
    plain = saved(quarters(), "PNG")
    made = chunk(name, data)
    return plain[:33] + (made if crc is None else made[:-4] + crc) + plain[33:]


def _in_jpeg(code: int, data: bytes) -> bytes:
    plain = saved(quarters(), "JPEG", quality=95, subsampling=0)
    return plain[:2] + bytes((0xFF, code)) + struct.pack(">H", len(data) + 2) + data + plain[2:]


def _in_webp(name: bytes, data: bytes) -> bytes:
    plain = saved(quarters(), "WEBP", lossless=True)
    more = name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return plain[:4] + struct.pack("<I", len(plain) + len(more) - 8) + plain[8:] + more


def _in_frame_of_webp(more: bytes = b"note" + struct.pack("<I", len(SECRET)) + SECRET) -> bytes:
    data = awkward.animation("WEBP")
    begin = data.index(b"ANMF")
    size = int.from_bytes(data[begin + 4 : begin + 8], "little")
    end = begin + 8 + size + size % 2
    frame = struct.pack("<I", end - begin - 8 + len(more)) + data[begin + 8 : end] + more
    whole = data[: begin + 4] + frame + data[end:]
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


def _second_picture() -> bytes:
    """Return a JPEG with a second one behind it, as phones append previews and depth maps (MPO)."""
    second = saved(quarters(), "JPEG", comment=SECRET)
    return saved(quarters(), "JPEG", quality=95, subsampling=0) + second


def _preview_in_jfif() -> bytes:
    plain = saved(quarters(), "JPEG", quality=95, subsampling=0)
    pixels = (SECRET * 3)[:75]
    return plain[:4] + struct.pack(">H", 16 + len(pixels)) + plain[6:18] + b"\5\5" + pixels + plain[20:]


def _in_jp2(name: bytes, box: bytes) -> bytes:
    """Return a JP2 file with one more box in its header, or before its codestream."""
    data = saved(quarters(), "JPEG2000")
    start = data.index(name) - 4
    if name == b"jp2c":
        return data[:start] + box + data[start:]
    length = int.from_bytes(data[start : start + 4], "big")
    end = start + length
    return data[:start] + struct.pack(">I", length + len(box)) + data[start + 4 : end] + box + data[end:]


HIDING: Final[dict[str, Callable[[], bytes]]] = {
    "GIF, comment": lambda: saved(quarters(), "GIF", comment=SECRET),
    "GIF, XMP": lambda: _in_gif(_xmp_of_gif()),
    "GIF, another application": lambda: _in_gif(b"!\xff\x0bMGKIPTC0000" + bytes((len(SECRET),)) + SECRET + b"\0"),
    "GIF, plain text": lambda: _in_gif(b"!\x01\x0c" + bytes(12) + bytes((len(SECRET),)) + SECRET + b"\0"),
    "GIF, behind the end": lambda: saved(quarters(), "GIF") + SECRET,
    "PNG, text": lambda: _in_png(b"tEXt", b"Comment\0" + SECRET),
    "PNG, a chunk of a program's own": lambda: _in_png(b"caBX", SECRET),
    "PNG, a chunk with a wrong checksum": lambda: _in_png(b"iTXt", b"a\0\0\0\0\0" + SECRET, crc=b"\0\0\0\0"),
    "PNG, behind the end": lambda: saved(quarters(), "PNG") + SECRET,
    "JPEG, comment": lambda: _in_jpeg(0xFE, SECRET),
    "JPEG, XMP": lambda: _in_jpeg(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET),
    "JPEG, IPTC": lambda: _in_jpeg(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0" + SECRET),
    "JPEG, a maker's own": lambda: _in_jpeg(0xE5, SECRET),
    "JPEG, no profile in its place": lambda: _in_jpeg(0xE2, b"FPXR\0" + SECRET),
    "JPEG, a preview in JFIF": _preview_in_jfif,
    "JPEG, a preview beside JFIF": lambda: _in_jpeg(0xE0, b"JFXX\0\x10" + SECRET),
    "JPEG, behind the end": lambda: saved(quarters(), "JPEG", quality=95, subsampling=0) + SECRET,
    "JPEG, a second picture": _second_picture,
    "WebP, an unknown chunk": lambda: _in_webp(b"note", SECRET),
    "WebP, an unknown chunk in a frame": _in_frame_of_webp,
    "WebP, behind the end": lambda: saved(quarters(), "WEBP", lossless=True) + SECRET,
    "AVIF, behind the end": lambda: saved(quarters(), "AVIF", quality=95) + SECRET,
    "AVIF, a private box": lambda: saved(quarters(), "AVIF", quality=95) + struct.pack(">I", 40) + b"uuid" + SECRET,
    "AVIF, XMP": lambda: saved(quarters(), "AVIF", quality=95, xmp=SECRET),
    "TIFF, a second page": lambda: saved(
        quarters(), "TIFF", save_all=True, append_images=[Image.frombytes("L", (8, 4), SECRET)]
    ),
    "BMP, behind the end": lambda: saved(quarters(), "BMP") + SECRET,
    "ICO, text in a smaller picture": lambda: attacks.ico(
        saved(quarters(), "PNG"), attacks.png(16, 16, before=chunk(b"tEXt", SECRET)), sides=(96, 64)
    ),
    "ICO, behind the end": lambda: saved(quarters(), "ICO", sizes=[(96, 64)], bitmap_format="bmp") + SECRET,
    "JPEG 2000, comment": lambda: saved(quarters(), "JPEG2000", comment=SECRET),
    "JPEG 2000, comment in a codestream": lambda: saved(quarters(), "JPEG2000", comment=SECRET, no_jp2=True),
    "JPEG 2000, XMP": lambda: _in_jp2(b"jp2c", attacks.box(b"uuid", SECRET)),
    "JPEG 2000, in its header": lambda: _in_jp2(b"jp2h", attacks.box(b"xml ", SECRET)),
    "JPEG 2000, behind the end": lambda: saved(quarters(), "JPEG2000") + SECRET,
    "JPEG 2000, behind the end of a codestream": lambda: saved(quarters(), "JPEG2000", no_jp2=True) + SECRET,
}


@pytest.mark.parametrize("kind", HIDING)
def test_nothing_hides_beside_the_picture(kind: str) -> None:
    data = HIDING[kind]()
    assert SECRET in data
    made = strip(BytesIO(data))
    assert made is not None
    assert SECRET not in made.data
    assert strip(BytesIO(made.data)) is None
    image = opened(made.data)
    if getattr(image, "n_frames", 1) == 1:
        assert near(image.convert("RGB"), QUARTERS)
    if kind[:4] not in ("AVIF", "TIFF", "BMP,") and "checksum" not in kind:  # which Pillow itself refuses
        assert list(image.convert("RGB").tobytes()) == list(opened(data).convert("RGB").tobytes())


@pytest.mark.parametrize(
    "data",
    [
        saved(quarters(), "JPEG", icc_profile=awkward.wide_gamut()),
        saved(quarters(), "JPEG", progressive=True, restart_marker_blocks=2),
        awkward.adobe_cmyk(),
        saved(quarters(), "PNG", icc_profile=awkward.wide_gamut(), dpi=(300, 300)),
        awkward.animation("PNG"),
        awkward.animation("GIF"),
        awkward.animation("WEBP", icc_profile=awkward.wide_gamut()),
        saved(quarters(), "AVIF"),
    ],
    ids=lambda data: "file",
)
def test_what_makes_the_picture_stays(data: bytes) -> None:
    """Profiles, the number of repetitions, times, restarts and the meaning of inks."""
    assert strip(BytesIO(data)) is None


def test_bytes_that_fill_the_place_before_a_marker_go() -> None:
    whole = saved(quarters(), "JPEG")
    made = strip(BytesIO(whole[:-2] + b"\xff" * 100_000 + whole[-2:]))
    assert made is not None
    assert made.data == whole


@pytest.mark.parametrize(
    "data",
    [
        saved(quarters(), "JPEG")[:-2] + b"\xff\xdd\0\2" * 20_000,
        _in_frame_of_webp(b"note\0\0\0\0" * 20_000),
        saved(quarters(), "GIF")[:-1] + b"!",
        saved(quarters(), "GIF")[:-1] + b"\x21\xf9\0,",
    ],
    ids=["segments", "chunks of a frame", "an extension without a label", "an empty extension"],
)
def test_a_file_of_masses_of_parts_or_with_half_a_part_is_refused_or_rewritten(data: bytes) -> None:
    made = None
    with suppress(ImageRefused):
        made = strip(BytesIO(data))
    assert made is None or len(made.data) < 10_000


@pytest.mark.parametrize("ids", [(1, 1), (2, 3), (1, 0)])
def test_a_jpeg_that_is_turned_keeps_its_tables_whatever_their_numbers(ids: tuple[int, int]) -> None:
    """Cameras number them as they like."""
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = ids == (1, 1)
    data = bytearray(saved(quarters().convert("L" if grey else "RGB"), "JPEG", exif=exif, subsampling=0, quality=90))
    tables = [match.start() for match in re.finditer(rb"\xff\xdb", data)]
    for number, begin in zip(ids, tables, strict=False):
        data[begin + 4] = number
    frame = data.index(b"\xff\xc0")
    for each in range(data[frame + 9]):
        data[frame + 12 + 3 * each] = ids[min(each, 1)]
    made = strip(BytesIO(bytes(data)))
    assert made is not None
    expected = opened(bytes(data)).transpose(Image.Transpose.ROTATE_270)
    difference = ImageChops.difference(opened(made.data).convert("RGB"), expected.convert("RGB"))
    assert max(ImageStat.Stat(difference).mean) < 1


def test_inks_of_a_tiff_become_colours_without_their_profile() -> None:
    made = strip(BytesIO(saved(quarters().convert("CMYK"), "TIFF")))
    assert made is not None
    image = opened(made.data)
    assert image.mode == "RGB"
    assert "icc_profile" not in image.info


def test_colours_of_an_avif_that_are_numbers_are_kept_when_it_is_encoded_again() -> None:
    data = bytearray(saved(quarters(), "AVIF", quality=95) + SECRET)
    begin = data.index(b"nclx") + 4
    data[begin : begin + 4] = struct.pack(">HH", 12, 13)
    made = strip(BytesIO(bytes(data)))
    assert made is not None
    assert opened(made.data).info["icc_profile"] == profile(PRIMARIES[12], CURVES[13])


def test_the_end_that_a_jpeg_lacks_is_added() -> None:
    whole = saved(quarters(), "JPEG")
    made = strip(BytesIO(whole[:-2]))
    assert made is not None
    assert made.data == whole


def test_an_animation_that_cannot_be_rewritten_is_refused_with_its_format() -> None:
    note = Image.Exif()
    note[0x010F] = "Maker"
    with pytest.raises(ImageRefused, match="cannot be removed") as refused:
        strip(BytesIO(awkward.animation("AVIF", exif=note)))
    assert (refused.value.rule, refused.value.value) == ("format", "AVIF")
