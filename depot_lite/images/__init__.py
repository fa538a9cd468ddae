"""Image inspection and rendering, by Pillow.

The bytes of an uploaded image are not to be trusted. The format is determined by the first bytes, never by a name, and
only the decoders that the caller allows are used. The number of pixels is read from the header and compared with the
limit before any is decoded. Any error of Pillow becomes an `ImageRefused`; errors of the file object, such as those of
a failing disk or storage, are passed on.

A rendition is drawn anew from pixels: the orientation is applied, the colours are converted as requested, and none of
the source's metadata, comments or appended bytes are kept. The source is decoded once for all recipes. A JPEG is scaled
down while it is decoded, every other image in bands, so that there is no second copy of full size; colours are
converted afterwards. Images that are decoded at the same time share a budget of 24 MB per processor, 48 MB at least. An
image that needs more waits until no other is being decoded.

Pillow is imported for the first image, and none of its global settings is changed. Up to `MAX_PIXELS` its
`DecompressionBombWarning` does not appear, since its plugins are called without `Image.open`. With a higher limit
Pillow still warns of a TIFF or GIF above it, and refuses WebP, TIFF and GIF above twice as many.

HEIC needs the extra ``heif``. Limits: only the first page of a TIFF and the largest picture of an ICO are used, and
numbers of 32 bits are stretched to 8; PNG with 16 bits per colour becomes 8 bits; the second picture of a JPEG (MPO)
and HDR gain maps are dropped. JPEG 2000 with more than four components, another order of progression, packed headers or
parts of later editions of the standard (HTJ2K) is refused.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from depot_lite.errors import ImageRefused
from depot_lite.images.budget import BUDGET
from depot_lite.images.colours import convert_colours, greyscale
from depot_lite.images.drawing import DRAFT_GAP, Plan, decode_frame, draft, draw, memory_of, reduced, rotated
from depot_lite.images.formats.measures import check_memory, picture_memory
from depot_lite.images.headers import (
    DEFAULT_FORMATS,
    EXTENSIONS,
    FORMATS,
    MAX_PIXELS,
    ImageInfo,
    Rendition,
)
from depot_lite.images.isolation import Isolation, in_worker, isolated
from depot_lite.images.metadata import WITHOUT_METADATA, avif_has_more
from depot_lite.images.recipes import OUTPUT_FORMATS, Recipe
from depot_lite.images.source import OpenedImage, open_source, refusing, releasing
from depot_lite.images.writing import jpeg_settings, rendition_of, save

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "MAX_ANIMATED_PIXELS",
    "MAX_PIXELS",
    "ImageInfo",
    "Isolation",
    "Rendition",
    "isolated",
    "probe",
    "render",
    "strip",
    "verify_image",
]

#: The largest number of pixels in all frames of an animation that is rendered as an animation.
MAX_ANIMATED_PIXELS: Final = 100_000_000


@in_worker
@releasing
def probe(
    file: BinaryIO,
    *,
    formats: Collection[str] = DEFAULT_FORMATS,
    max_pixels: int | None = MAX_PIXELS,
    truncated: str = "allow",
) -> ImageInfo:
    """Return the format, size and kind of an image from its header; no pixel is decoded.

    Args:
        file: a seekable file; it is read from its start, left at any position and never closed.
        formats: the accepted ones of `FORMATS`.
        max_pixels: the limit of width times height; None for no limit except Pillow's own.
        truncated: ``"refuse"`` for no JPEG without the marker of its end. No image is decoded to its end here.

    Raises:
        ImageRefused: by the rule ``"format"``, ``"max_pixels"`` or ``"decodable"``.
        ConfigurationError: if Pillow is missing, or a format is not in `FORMATS`.
    """
    return open_source(file, formats, max_pixels, truncated).info


@in_worker
@releasing
def verify_image(
    file: BinaryIO,
    *,
    formats: Collection[str] = DEFAULT_FORMATS,
    max_pixels: int | None = MAX_PIXELS,
    truncated: str = "allow",
) -> ImageInfo:
    """Decode the image, or the first of its frames, to its end and return what `probe` returns.

    Args:
        file: as for `probe`.
        formats: as for `probe`.
        max_pixels: as for `probe`.
        truncated: ``"allow"`` for a JPEG that lacks only its end, as browsers do; ``"refuse"`` refuses it, too.

    Raises:
        ImageRefused: as from `probe`, and by the rule ``"decodable"`` for a truncated or broken file.
    """
    source = open_source(file, formats, max_pixels, truncated)
    # Even at its smallest scale, a JPEG is read to its end, with a 64th of the memory.
    draft(source.image, (1, 1))
    with source.decoding(), refusing():
        source.load()
    return source.info


@in_worker
@releasing
def render(
    file: BinaryIO,
    recipes: Mapping[str, Recipe],
    *,
    formats: Collection[str] = DEFAULT_FORMATS,
    max_pixels: int | None = MAX_PIXELS,
    truncated: str = "allow",
) -> tuple[ImageInfo, dict[str, Rendition]]:
    """Return what `probe` returns, and a rendition per recipe, by the recipe's name.

    The image is decoded once. The largest rendition is made first, and every other one from the smallest picture that
    is at least twice as large.

    Raises:
        ImageRefused: as from `verify_image`; by the rule ``"max_pixels"`` also if a recipe keeps an animation of more
            than `MAX_ANIMATED_PIXELS`.
        ConfigurationError: also for a format that the installed Pillow cannot write.
    """
    source = open_source(file, formats, max_pixels, truncated)
    plans = {name: Plan(recipe, source.info) for name, recipe in recipes.items()}
    if not plans:
        return source.info, {}
    animated = any(plan.animated for plan in plans.values())
    if animated:
        _check_animation(source.info)
    need = max(p.need[0] for p in plans.values()), max(p.need[1] for p in plans.values())
    draft(source.image, source.encoded_size(need, DRAFT_GAP))
    pictures: dict[str, list[Image.Image]] = {name: [] for name in plans}
    durations: list[float] = []
    drawn = memory_of(plans.values(), source.info)
    if animated and source.info.format in ("GIF", "PNG"):
        # Pillow draws a frame onto the one before, with copies of both.
        drawn += 16 * source.info.width * source.info.height
    with source.decoding(drawn):
        for index in range(source.info.frames if animated else 1):
            base = decode_frame(source, need, index)
            durations.append(source.image.info.get("duration") or 0)
            due = {name: plan for name, plan in plans.items() if index == 0 or plan.animated}
            for name, picture in draw(base, due, source).items():
                pictures[name].append(picture)
            del base
        return source.info, {name: rendition_of(pictures.pop(name), plans[name], source, durations) for name in plans}


@in_worker
@releasing
def strip(
    file: BinaryIO,
    *,
    formats: Collection[str] = DEFAULT_FORMATS,
    max_pixels: int | None = MAX_PIXELS,
    truncated: str = "allow",
) -> Rendition | None:
    """Return the image at full size without position, camera, comments, preview and bytes behind its end.

    The orientation is applied, and the colour profile is kept. JPEG, PNG, WebP, GIF and JPEG 2000 lose nothing unless
    they have to be rotated; a JPEG is then written with the quantization of the source (Pillow's ``quality="keep"``).
    TIFF, BMP and the largest picture of an ICO become PNG, HEIC becomes JPEG, or PNG if it is transparent, and AVIF is
    encoded again. None if there is nothing to remove.

    Raises:
        ImageRefused: as from `verify_image`; by the rule ``"format"`` for an AVIF sequence, and for an APNG with an
            orientation, which cannot be rewritten.
    """
    source = open_source(file, formats, max_pixels, truncated)
    info = source.info
    if info.format in WITHOUT_METADATA and source.orientation == 1:
        return _without_metadata(file, info)
    if info.format == "AVIF" and not avif_has_more(file):
        return None
    if info.frames > 1:
        message = f"the metadata of an animation of the type {info.format} cannot be removed"
        raise ImageRefused(message, rule="format", value=info.format)
    return _redrawn(source)


def _without_metadata(file: BinaryIO, info: ImageInfo) -> Rendition | None:
    # The file, its parts, and these in one piece, twice while it is put together.
    memory = 4 * file.seek(0, os.SEEK_END)
    check_memory(memory, BUDGET.largest)
    with BUDGET.reserve(memory):
        file.seek(0)
        data = file.read()
        with refusing():
            clean = WITHOUT_METADATA[info.format](data)
        if clean == data:
            return None
    return Rendition(clean, info.width, info.height, info.content_type, EXTENSIONS[info.format])


def _redrawn(source: OpenedImage) -> Rendition:
    """Return the image at full size, as it is displayed, in a format that browsers show."""
    image, info = source.image, source.info
    name = "JPEG" if info.format == "HEIF" and not info.has_alpha else "PNG"
    name = info.format if info.format in OUTPUT_FORMATS else name
    options: dict[str, Any] = {"quality": 90} if name != "PNG" else {}
    if info.format == "JPEG":
        options = jpeg_settings(image)
    # A second picture if it is rotated or converted, and the coefficients of a progressive JPEG that is written.
    turned = picture_memory(info.width, info.height) * (source.orientation != 1)
    with source.decoding(turned + (source.buffers if info.format == "JPEG" else 0)):
        with refusing():
            source.load()
        drawn = rotated(image, source.orientation)
        if drawn.mode in ("I", "F"):
            drawn = greyscale(drawn)
        icc = source.icc
        if drawn.mode in ("CMYK", "LAB") and name != "JPEG":
            drawn, icc = convert_colours(drawn, icc, name, keep=True)
        if drawn.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") and name != "JPEG":
            drawn = reduced(drawn, "RGB", (1, 1))
        drawn.info = {key: value for key, value in drawn.info.items() if key == "transparency"}
        with refusing():
            return save([drawn], name, options | {"icc_profile": icc})


def _check_animation(info: ImageInfo) -> None:
    # Even a frame of one pixel has a cost.
    pixels = max(info.width * info.height, 10_000) * info.frames
    if pixels > MAX_ANIMATED_PIXELS:
        message = (
            f"the animation has {info.frames} frames of {info.width} x {info.height} pixels, more than can be rendered"
        )
        raise ImageRefused(message, rule="max_pixels", limit=MAX_ANIMATED_PIXELS, value=pixels)
