"""The colours of images: modes, transparency and colour profiles."""

from __future__ import annotations

import contextlib
import math
import re
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL import Image, ImageCms

#: The tags of elements of which a profile may have any number; two kilobytes, compressed, take minutes for a pixel. A
#: profile that has them has other tags, too, for programs that do not know them (ICC.1:2022, section 9.2).
_ELEMENTS: Final = re.compile(rb"D2B[0-3]|B2D[0-3]")

#: Shades of each colour that tell whether a profile changes any, and the difference that nobody sees.
_STEPS: Final = 9
_UNSEEN: Final = 3
#: The largest profile of which is remembered whether it changes any: those of cameras and screens, not of printers.
_MAX_REMEMBERED: Final = 65_536
#: The pixels that are converted at a time.
_BAND: Final = 1_000_000


def working_mode(image: Image.Image) -> str:
    """Return the mode in which an image is scaled, since the colours of a palette cannot be mixed."""
    transparent = image.has_transparency_data
    if image.mode in ("1", "L", "LA", "La"):
        return "LA" if transparent else "L"
    if image.mode.startswith(("I", "F")):
        return "L"
    if image.mode in ("CMYK", "LAB"):
        return image.mode
    return "RGBA" if transparent else "RGB"


def convert_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return the image in another mode."""
    if image.mode == mode:
        return image
    if image.mode.startswith("I"):
        # 16 bits: the upper eight are used. Pillow's own conversion clips at 255, which makes nearly everything white.
        return image.convert("I").point(lambda value: value * (1 / 256)).convert(mode)
    return image.convert(mode)


def greyscale(image: Image.Image) -> Image.Image:
    """Return an image of whole or real numbers of 32 bits in shades of grey.

    Real numbers from 0 to 1 are shades. Others are stretched, so that the least is black and the greatest white.
    """
    from PIL import Image

    extrema: Any = image.getextrema()
    low, high = map(float, extrema)
    if not (math.isfinite(low) and math.isfinite(high)):
        return image.convert("L")
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    scale = 255 / (high - low) if high > low else 0.0
    drawn = Image.new("L", image.size)
    step = max(1, _BAND // image.width)
    for top in range(0, image.height, step):  # a second picture of full size would take four times the memory
        band = image.crop((0, top, image.width, min(top + step, image.height)))
        drawn.paste(band.point(lambda value: value * scale + (-low * scale)).convert("L"), (0, top))
    return drawn


def flatten(image: Image.Image, fill: tuple[int, int, int, int]) -> Image.Image:
    """Return the image without transparency, in front of a colour."""
    from PIL import Image

    if image.mode not in ("LA", "RGBA"):
        return image
    below = Image.new("RGB", image.size, fill[:3])
    below.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return below


def convert_colours(
    image: Image.Image, icc: bytes | None, written: str, *, keep: bool
) -> tuple[Image.Image, bytes | None]:
    """Return the image in L, LA, RGB or RGBA, and the colour profile to write with it.

    Args:
        image: the picture.
        icc: the profile of the source.
        written: the format in which it will be written.
        keep: the profile is kept where the format has it, instead of converting the colours to sRGB.
    """
    from PIL import ImageCms

    if image.mode in ("L", "LA") and icc is not None and icc[16:20] == b"RGB ":
        image = image.convert("RGB" if image.mode == "L" else "RGBA")  # as browsers take it
    colours = image.mode.removesuffix("A") if image.mode in ("LA", "RGBA") else image.mode
    plain = _without_elements(icc or b"")
    profile = _parse_profile(plain, colours)
    if profile is not None and keep and (colours == "RGB" or (colours == "L" and written in ("JPEG", "PNG"))):
        return image, icc
    is_srgb = _is_srgb if len(plain) <= _MAX_REMEMBERED else _is_srgb.__wrapped__
    if profile is not None and not is_srgb(plain, colours):
        alpha = image.getchannel("A") if colours != image.mode else None
        with contextlib.suppress(ImageCms.PyCMSError):
            drawn = ImageCms.profileToProfile(
                image.convert(colours), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if drawn is not None:
                image = drawn
                if alpha is not None:
                    image.putalpha(alpha)
    return (image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB")), None


def _parse_profile(icc: bytes, mode: str) -> ImageCms.ImageCmsProfile | None:
    """Return the profile, or None if it is broken or describes colours of another mode."""
    from PIL import ImageCms

    try:
        if icc:
            profile = ImageCms.ImageCmsProfile(BytesIO(icc))
            space = profile.profile.xcolor_space.strip()
            return profile if {"GRAY": "L", "Lab": "LAB"}.get(space, space) == mode else None
    except (ImageCms.PyCMSError, OSError, ValueError):
        pass
    return None


def _without_elements(icc: bytes) -> bytes:
    """Return a profile in which the tags of elements have other names."""
    found = bytearray(icc)
    for at in range(132, min(132 + 12 * int.from_bytes(icc[128:132], "big"), len(icc)), 12):
        if _ELEMENTS.match(icc, at):
            found[at : at + 4] = icc[at : at + 4].lower()
    return bytes(found)


@lru_cache(maxsize=64)
def _is_srgb(icc: bytes, mode: str) -> bool:
    """Return whether a profile changes no colour, whatever its name is."""
    from PIL import Image, ImageChops, ImageCms

    if mode == "RGB":
        sample = Image.new("RGB", (_STEPS * _STEPS, _STEPS))
        levels = [255 * each // (_STEPS - 1) for each in range(_STEPS)]
        sample.putdata([(red, green, blue) for red in levels for green in levels for blue in levels])
    elif mode == "L":
        sample = Image.linear_gradient("L").crop((0, 0, 1, 256))
    else:
        return False
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        drawn = ImageCms.profileToProfile(sample, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except ImageCms.PyCMSError:
        return False
    if drawn is None:
        return False
    differences: Any = ImageChops.difference(drawn, sample.convert("RGB")).getextrema()
    return all(greatest <= _UNSEEN for _, greatest in differences)
