"""Renditions look like the original in a browser: Chromium decides."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from itertools import product
from typing import Any, Final

import pytest
from PIL import Image, ImageChops, ImageCms, ImageStat

from depot_lite import Thumbnail, images
from depot_lite.images.profiles import PRIMARIES, profile
from tests.browsing import chromium
from tests.images import awkward_images as awkward
from tests.images.awkward_images import chunk, oriented, quarters, saved

#: Draws a picture on a canvas and returns its size and its pixels, in sRGB.
_DRAW: Final = """async ([data, type]) => {
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([Uint8Array.from(atob(data), (each) => each.charCodeAt(0))], {type}));
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.width, canvas.height, btoa(Array.from(pixels, (each) => String.fromCharCode(each)).join(""))];
}"""

Case = Callable[[], bytes]


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with chromium() as browser:
        page = browser.new_page()
        page.goto("about:blank")
        yield page


def shown(page: Any, data: bytes, content_type: str) -> Image.Image:
    """Return what the browser shows."""
    width, height, pixels = page.evaluate(_DRAW, [base64.b64encode(data).decode(), content_type])
    return Image.frombytes("RGBA", (width, height), base64.b64decode(pixels))


# --- the pictures -----------------------------------------------------------------------------------------------------


def photograph(mode: str = "RGB", size: tuple[int, int] = (97, 61)) -> Image.Image:
    """Return a picture with all shades: smooth, and of odd size."""
    across, down = Image.linear_gradient("L").resize(size), Image.linear_gradient("L").rotate(90).resize(size)
    return Image.merge("RGB", (across, down, ImageChops.invert(across))).convert(mode)


def clear(size: tuple[int, int] = (97, 61)) -> Image.Image:
    """Return a picture that is clear on the left and opaque on the right."""
    image = photograph("RGBA", size)
    image.putalpha(Image.linear_gradient("L").rotate(90).resize(size))
    return image


def _cut_out() -> Image.Image:
    """Return a picture that is clear on the left; Chromium shows what is nearly clear in an AVIF as clear."""
    image = photograph("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 40, 61))
    return image


def _coloured(primaries: int, curve: int) -> bytes:
    """Return an AVIF whose colours are numbers, instead of a profile."""
    data = saved(photograph(), "AVIF", quality=95, subsampling="4:4:4")
    begin = data.index(b"nclx") + 4
    return data[:begin] + struct.pack(">HH", primaries, curve) + data[begin + 4 :]


def _grey_in_linear_light(name: str) -> bytes:
    return saved(photograph("L"), name, icc_profile=_linear())


def _png(*chunks: tuple[bytes, bytes], image: Image.Image | None = None) -> bytes:
    plain = saved(image or photograph(), "PNG")
    return plain[:33] + b"".join(chunk(name, data) for name, data in chunks) + plain[33:]


def _gamma(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def _chromaticities(*numbers: float) -> tuple[bytes, bytes]:
    return b"cHRM", b"".join(struct.pack(">I", round(each * 100_000)) for each in numbers)


_ADOBE: Final = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)


def _sixteen_bits(mode: str) -> bytes:
    return saved(photograph().convert("L").convert("I").point(lambda value: value * 257).convert(mode), "PNG")


def _hidden_default() -> bytes:
    """Return an APNG whose first picture is no frame of the animation: browsers that know APNG never show it."""
    frames = [quarters().transpose(Image.Transpose.ROTATE_180), quarters()]
    return saved(quarters(colours=((0, 0, 0),) * 4), "PNG", save_all=True, default_image=True, append_images=frames)


def _cut(size: int, **options: Any) -> bytes:
    data = saved(photograph(size=(400, 300)), "JPEG", **options)
    return data[:-size]


def _palette(bits: int) -> bytes:
    return saved(photograph().quantize(1 << bits), "PNG", bits=bits)


def _behind_the_pixels(data: bytes, name: bytes) -> bytes:
    """Return a PNG whose chunk of this name stands behind the pixels."""
    begin = data.index(name) - 4
    end = begin + 12 + int.from_bytes(data[begin : begin + 4], "big")
    rest = data[:begin] + data[end:]
    last = rest.index(b"IEND") - 4
    return rest[:last] + data[begin:end] + rest[last:]


def _xmp(name: str) -> bytes:
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    if name == "PNG":
        return _png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
    return saved(photograph(), name, xmp=packet)


def _linear() -> bytes:
    """Return a profile of linear light with the name of sRGB."""
    return profile(PRIMARIES[1], (1.0,))


def _profile_with_gamma(number: int, gamma: float) -> bytes:
    return profile(PRIMARIES[number], (gamma,))


_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_GREY: Final = ("L", "LA", "1")

CASES: Final[dict[str, Case]] = {
    **{
        f"{name} turned {number}": partial(oriented, number, name)
        for name, number in product(("JPEG", "PNG", "WEBP", "AVIF"), range(1, 9))
    },
    **{f"{name} with an orientation in XMP": partial(_xmp, name) for name in ("JPEG", "PNG", "WEBP", "AVIF")},
    "PNG turned behind its pixels": lambda: _behind_the_pixels(oriented(6, "PNG"), b"eXIf"),
    **{f"PNG of mode {mode}": partial(saved, photograph(mode), "PNG") for mode in ("RGB", *_GREY)},
    **{f"PNG with a palette of {bits} bits": partial(_palette, bits) for bits in (1, 2, 4, 8)},
    "PNG with transparency": lambda: saved(clear(), "PNG"),
    "PNG with a clear colour": lambda: saved(quarters(), "PNG", transparency=awkward.RED),
    "PNG with a clear grey": lambda: saved(quarters().convert("L"), "PNG", transparency=77),
    "PNG with a palette and transparency": awkward.palette_with_transparency,
    "PNG of 16 bits": lambda: _sixteen_bits("I;16"),
    "APNG": lambda: awkward.animation("PNG"),
    "APNG with a hidden picture": _hidden_default,
    **{
        f"PNG with the primaries {number} and the curve {curve}": partial(_png, (b"cICP", bytes((number, curve, 0, 1))))
        for number, curve in [
            *((number, 13) for number in (1, 4, 5, 6, 9, 11, 12, 22)),
            *((1, curve) for curve in (1, 4, 5, 6, 7, 8, 14, 15)),
            (9, 14),
        ]
    },
    **{f"PNG with the gamma {value}": partial(_png, _gamma(value)) for value in (0.3, 0.45455, 0.46, 0.6, 1)},
    "PNG with the primaries of Adobe RGB": lambda: _png(_gamma(0.45455), _chromaticities(*_ADOBE)),
    "PNG with primaries and no gamma": lambda: _png(_chromaticities(*_ADOBE)),
    "PNG with primaries that make no colours": lambda: _png(_gamma(0.45455), _chromaticities(*[0.3] * 8)),
    "PNG that is sRGB, whatever its gamma": lambda: _png((b"sRGB", b"\0"), _gamma(1)),
    "grey PNG with a gamma": lambda: _png(_gamma(1), image=photograph("L")),
    "grey PNG with coded colours": lambda: _png((b"cICP", bytes((1, 8, 0, 1))), image=photograph("L")),
    "PNG with a profile and coded colours": lambda: _behind_the_header(
        saved(photograph(), "PNG", icc_profile=_linear())
    ),
    **{
        f"{name} in linear light": partial(saved, photograph(), name, icc_profile=_linear(), quality=95)
        for name in ("JPEG", "PNG", "WEBP", "AVIF")
    },
    **{
        f"{name} in sRGB": partial(saved, photograph(), name, icc_profile=_SRGB, quality=95)
        for name in ("JPEG", "PNG", "WEBP", "AVIF")
    },
    **{
        f"{name} with exchanged colours": partial(
            saved, photograph(), name, icc_profile=awkward.wide_gamut(), quality=95
        )
        for name in ("JPEG", "PNG", "WEBP", "AVIF")
    },
    **{
        f"PNG with a profile of {number} and {gamma}": partial(
            saved, photograph(), "PNG", icc_profile=_profile_with_gamma(number, gamma)
        )
        for number, gamma in product((1, 9, 12), (1.8, 2.2, 2.6))
    },
    "PNG with megabytes of text": lambda: _png((b"zTXt", b"a\0\0" + _packed(bytes(3_000_000)))),
    "PNG with a profile of noise": lambda: _png((b"iCCP", b"a\0\0" + _packed(bytes(range(256)) * 6000))),
    "PNG with a wrong checksum beside its pixels": lambda: _wrong(_png((b"tEXt", b"a\0b")), b"tEXt"),
    "PNG with a wrong checksum of its gamma": lambda: _wrong(_png(_gamma(1)), b"gAMA"),
    **{
        f"JPEG, {name}": partial(saved, photograph(), "JPEG", **options)
        for name, options in dict[str, dict[str, Any]](
            {
                "progressive": {"progressive": True},
                "without reduced colours": {"subsampling": 0},
                "with half of the colours": {"subsampling": 1},
                "with restarts": {"restart_marker_blocks": 1},
                "of bad quality": {"quality": 5},
            }
        ).items()
    },
    "grey JPEG": lambda: saved(photograph("L"), "JPEG"),
    "grey JPEG with a profile of colours": lambda: saved(photograph("L"), "JPEG", icc_profile=awkward.wide_gamut()),
    "JPEG of four inks": awkward.adobe_cmyk,
    "JPEG with a second picture": lambda: saved(photograph(), "JPEG") + saved(quarters(), "JPEG"),
    "WebP without losses": lambda: saved(clear(), "WEBP", lossless=True, exact=True),
    "WebP with losses and transparency": lambda: saved(clear(), "WEBP", quality=95),
    "animated WebP": lambda: awkward.animation("WEBP"),
    "GIF": lambda: saved(photograph(), "GIF"),
    "GIF with a comment": lambda: saved(photograph(), "GIF", comment=b"a"),
    "animated GIF": lambda: awkward.animation("GIF"),
    "AVIF that is clear in parts": lambda: saved(_cut_out(), "AVIF", quality=95),
    **{
        f"AVIF with the primaries {number} and the curve {curve}": partial(_coloured, number, curve)
        for number, curve in [(1, 8), (1, 13), (1, 2), (9, 13), (12, 13), (12, 2), (12, 1), (2, 2)]
    },
    "grey JPEG in linear light": partial(_grey_in_linear_light, "JPEG"),
    "grey PNG in linear light": partial(_grey_in_linear_light, "PNG"),
    "AVIF without reduced colours": lambda: saved(photograph(), "AVIF", quality=95, subsampling="4:4:4"),
    "AVIF of part of the levels": lambda: saved(photograph(), "AVIF", quality=95, range="limited"),
}


def _packed(data: bytes) -> bytes:
    return zlib.compress(data)


def _wrong(data: bytes, name: bytes) -> bytes:
    """Return a PNG whose chunk of this name has a wrong checksum."""
    begin = data.index(name)
    end = begin + 4 + int.from_bytes(data[begin - 4 : begin], "big")
    return data[:end] + bytes(4) + data[end + 4 :]


def _behind_the_header(data: bytes) -> bytes:
    return data[:33] + chunk(b"cICP", bytes((12, 13, 0, 1))) + data[33:]


@pytest.mark.parametrize("name", CASES)
def test_a_rendition_looks_like_its_original(page: Any, name: str) -> None:
    data = CASES[name]()
    info, made = images.render(BytesIO(data), {"it": Thumbnail(10_000, 10_000, format="PNG")})
    original, ours = shown(page, data, info.content_type), shown(page, made["it"].data, "image/png")
    assert (info.width, info.height) == original.size == ours.size
    # As it looks in front of white: the colour of a clear pixel is nothing that anybody sees.
    white = Image.new("RGBA", original.size, "white")
    pictures = [Image.alpha_composite(white, each).convert("RGB") for each in (original, ours)]
    difference = ImageChops.difference(*pictures)
    assert max(ImageStat.Stat(difference).mean) <= 2
    extrema: Any = difference.getextrema()
    assert max(greatest for _, greatest in extrema) <= 24


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
@pytest.mark.parametrize("size", [1, 2, 20])
def test_a_jpeg_that_lacks_its_end_has_all_that_the_browser_shows(page: Any, size: int, options: Any) -> None:
    """It has more: Chromium leaves the last rows out."""
    data = _cut(size, **options)
    _, made = images.render(BytesIO(data), {"it": Thumbnail(10_000, 10_000, format="PNG")})
    original, ours = shown(page, data, "image/jpeg"), shown(page, made["it"].data, "image/png")
    seen = original.getchannel("A")
    assert ImageStat.Stat(seen).mean[0] > 230
    difference = ImageChops.difference(original.convert("RGB"), ours.convert("RGB"))
    assert max(ImageStat.Stat(difference, seen).mean) <= 2


def test_the_pictures_are_many() -> None:
    assert len(CASES) >= 100
