"""Colours: profiles are known by what they do, and a PNG says in four ways which colours it has."""

from __future__ import annotations

import struct
from functools import partial
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageCms

from depot_lite import Thumbnail, images
from depot_lite.images import FORMATS
from depot_lite.images.profiles import CURVES, PRIMARIES, profile
from tests.images import awkward_images as awkward
from tests.images.awkward_images import QUARTERS, chunk, four, near, opened, quarters, saved

render = partial(images.render, formats=FORMATS)


def drawn(data: bytes, **options: Any) -> Image.Image:
    return opened(render(BytesIO(data), {"it": Thumbnail(96, 64, format="PNG", **options)})[1]["it"].data)


def in_linear_light(colour: int) -> int:
    """Return what a value of linear light is in sRGB."""
    value = colour / 255
    return round(255 * (12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055))


LINEAR = tuple(tuple(map(in_linear_light, colour)) for colour in QUARTERS)
GAMMA = (b"gAMA", struct.pack(">I", 100_000))


def png(*chunks: tuple[bytes, bytes], image: Image.Image | None = None) -> bytes:
    plain = saved(image or quarters(), "PNG")
    return plain[:33] + b"".join(chunk(name, data) for name, data in chunks) + plain[33:]


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_profile_is_srgb_by_its_curve_and_not_by_its_name(name: str) -> None:
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    assert near(drawn(saved(quarters(), name, quality=95, icc_profile=made.tobytes())), QUARTERS)
    linear = profile(PRIMARIES[1], (1.0,))
    assert near(drawn(saved(quarters(), name, quality=98, icc_profile=linear)), LINEAR, tolerance=24)


def test_a_profile_that_is_made_of_srgb_changes_nothing() -> None:
    assert near(drawn(saved(quarters(), "PNG", icc_profile=profile(PRIMARIES[1], CURVES[13]))), QUARTERS, tolerance=1)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([GAMMA], LINEAR),
        ([(b"sRGB", b"\0"), GAMMA], QUARTERS),
        ([(b"cICP", bytes((1, 8, 0, 1)))], LINEAR),
        ([(b"cICP", bytes((1, 13, 0, 1))), GAMMA], QUARTERS),
        ([(b"gAMA", struct.pack(">I", 46_000))], QUARTERS),
        ([(b"gAMA", bytes(4))], QUARTERS),
        ([(b"gAMA", b"")], QUARTERS),
        ([GAMMA, (b"cHRM", bytes(32))], QUARTERS),
        ([(b"cICP", b"\1")], QUARTERS),
        ([(b"iCCP", b"no profile")], QUARTERS),
    ],
)
def test_a_png_says_its_colours_without_a_profile(chunks: list[tuple[bytes, bytes]], expected: Any) -> None:
    assert near(drawn(png(*chunks)), expected)


def test_greys_have_a_gamma_as_well() -> None:
    grey = quarters(mode="L", colours=(10, 60, 120, 250))
    expected = [in_linear_light(each) for each in (10, 60, 120, 250)]
    found = four(drawn(png(GAMMA, image=grey)).convert("L"))
    assert all(abs(a - b) <= 3 for a, b in zip(found, expected, strict=True))


def test_a_profile_made_of_numbers_is_kept_where_that_is_asked() -> None:
    made = drawn(png(GAMMA), icc="keep")
    assert near(made, QUARTERS)
    assert made.info["icc_profile"] == profile(PRIMARIES[1], (1.0,))


def _broken(data: bytes, name: bytes) -> bytes:
    end = data.index(name) + 4 + int.from_bytes(data[data.index(name) - 4 :][:4], "big")
    return data[:end] + bytes(4) + data[end + 4 :]


@pytest.mark.parametrize(
    "data",
    [
        _broken(png((b"tEXt", b"a\0b")), b"tEXt"),
        _broken(png(GAMMA), b"gAMA"),
        png((b"zTXt", b"a\0\0" + b"x")),
        png((b"iTXt", b"a\0\0\0\0\0" + bytes(1_100_000))),
        png((b"iCCP", b"a\0\0" + bytes(1_300_000))),
        png(*[(b"tEXt", b"a\0b")] * 500),
    ],
    ids=["text with a wrong checksum", "gamma with a wrong checksum", "broken text", "long text", "profile", "many"],
)
def test_what_is_beside_the_pixels_of_a_png_refuses_none(data: bytes) -> None:
    assert near(drawn(data), QUARTERS)


def test_a_png_with_pixels_of_a_wrong_checksum_is_left_to_the_decoder() -> None:
    """Its pixels are in parts with something between them, which a decoder never sees."""
    plain = saved(awkward.quarters(400, 300), "PNG")
    begin = plain.index(b"IDAT") + 4
    pixels = plain[begin : begin + int.from_bytes(plain[begin - 8 : begin - 4], "big")]
    parts = [pixels[:50], pixels[50:]]
    between = b"".join(chunk(b"IDAT", part) + chunk(b"teSt", b"note") for part in parts)
    assert near(drawn(plain[:33] + chunk(b"teSt", b"") + between + chunk(b"IEND", b"")), QUARTERS)


@pytest.mark.parametrize("kind", ["F", "I", "I;16"])
@pytest.mark.parametrize("size", [(96, 64), pytest.param((3000, 2000), marks=pytest.mark.matrix)])
def test_numbers_of_a_tiff_are_shades(kind: str, size: tuple[int, int]) -> None:
    """Real ones from 0 to 1 are; whole ones of 32 bits, and greater real ones, are stretched."""
    levels = {
        "F": (0.0, 0.25, 0.5, 1.0),
        "I": (-1000, 249_250, 499_500, 1_000_000),
        "I;16": (0, 16_384, 32_768, 65_535),
    }
    wide, high = size
    image = Image.new(kind[0], size)
    for number, value in enumerate(levels[kind]):
        left, top = wide // 2 * (number % 2), high // 2 * (number // 2)
        image.paste(value, (left, top, left + wide // 2, top + high // 2))
    found = four(drawn(saved(image.convert(kind), "TIFF")).convert("L"))
    assert all(abs(a - b) <= 2 for a, b in zip(found, (0, 64, 128, 255), strict=True))
