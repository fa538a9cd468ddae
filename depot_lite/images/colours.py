"""The colours of images: modes, transparency and colour profiles."""

from __future__ import annotations

import contextlib
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageCms


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

    colours = image.mode.removesuffix("A") if image.mode in ("LA", "RGBA") else image.mode
    profile = _parse_profile(icc, colours)
    if profile is not None and keep and (colours == "RGB" or (colours == "L" and written in ("JPEG", "PNG"))):
        return image, icc
    if profile is not None and not _is_srgb(profile):
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


def _parse_profile(icc: bytes | None, mode: str) -> ImageCms.ImageCmsProfile | None:
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


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    return "srgb" in (profile.profile.profile_description or "").lower()
