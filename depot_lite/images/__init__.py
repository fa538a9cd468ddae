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

HEIC needs the extra ``heif``. Limits: only the first page of a TIFF is used; PNG with 16 bits per colour becomes 8
bits; the second picture of a JPEG (MPO) and HDR gain maps are dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from depot_lite.errors import ConfigurationError, ImageRefused
from depot_lite.images.budget import BUDGET
from depot_lite.images.chunks import png_without_metadata, webp_without_metadata
from depot_lite.images.colours import convert_colours, convert_mode, flatten, working_mode
from depot_lite.images.headers import CONTENT_TYPES, EXTENSIONS, FORMATS, MAX_PIXELS, ImageInfo
from depot_lite.images.recipes import OUTPUT_FORMATS, Pad, Recipe, Region
from depot_lite.images.source import OpenedImage, open_source, refusing

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "FORMATS",
    "MAX_ANIMATED_PIXELS",
    "MAX_PIXELS",
    "ImageInfo",
    "Rendition",
    "probe",
    "render",
    "strip",
    "verify_image",
]

#: The largest number of pixels in all frames of an animation that is rendered as an animation.
MAX_ANIMATED_PIXELS: Final = 100_000_000

# Pillow's numbers, so that no module of it is needed: Image.Transpose by EXIF orientation, Image.Resampling.LANCZOS.
_TRANSPOSE: Final = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_LANCZOS: Final = 1

# The least factor by which the final, good resampling shrinks; a faster and coarser method may do the rest. 2 is
# Pillow's default for `thumbnail`. The decoder of JPEG scales well enough for a smaller factor.
_GAP: Final = 2.0
_DRAFT_GAP: Final = 1.5


@dataclass(frozen=True, slots=True)
class Rendition:
    """A rendered image: its bytes, size and type."""

    data: bytes
    width: int
    height: int
    content_type: str
    #: With its dot: ``".webp"``.
    extension: str


def probe(file: BinaryIO, *, formats: Collection[str] = FORMATS, max_pixels: int | None = MAX_PIXELS) -> ImageInfo:
    """Return the format, size and kind of an image from its header; no pixel is decoded.

    Args:
        file: a seekable file; it is read from its start, left at any position and never closed.
        formats: the accepted ones of `FORMATS`.
        max_pixels: the limit of width times height; None for no limit except Pillow's own.

    Raises:
        ImageRefused: by the rule ``"format"``, ``"max_pixels"`` or ``"decodable"``.
        ConfigurationError: if Pillow is missing, or a format is not in `FORMATS`.
    """
    return open_source(file, formats, max_pixels).info


def verify_image(
    file: BinaryIO, *, formats: Collection[str] = FORMATS, max_pixels: int | None = MAX_PIXELS
) -> ImageInfo:
    """Decode the image, or the first of its frames, to its end and return what `probe` returns.

    Raises:
        ImageRefused: as from `probe`, and by the rule ``"decodable"`` for a truncated or broken file.
    """
    source = open_source(file, formats, max_pixels)
    # Even at its smallest scale, a JPEG is read to its end, with a 64th of the memory.
    _draft(source.image, (1, 1))
    with BUDGET.reserve(source.cost()), refusing():
        source.image.load()
    return source.info


def render(
    file: BinaryIO,
    recipes: Mapping[str, Recipe],
    *,
    formats: Collection[str] = FORMATS,
    max_pixels: int | None = MAX_PIXELS,
) -> tuple[ImageInfo, dict[str, Rendition]]:
    """Return what `probe` returns, and a rendition per recipe, by the recipe's name.

    The image is decoded once. The largest rendition is made first, and every other one from the smallest picture that
    is at least twice as large.

    Raises:
        ImageRefused: as from `verify_image`; by the rule ``"max_pixels"`` also if a recipe keeps an animation of more
            than `MAX_ANIMATED_PIXELS`.
        ConfigurationError: also for a format that the installed Pillow cannot write.
    """
    source = open_source(file, formats, max_pixels)
    plans = {name: _Plan(recipe, source.info) for name, recipe in recipes.items()}
    if not plans:
        return source.info, {}
    animated = any(plan.animated for plan in plans.values())
    if animated:
        _check_animation(source.info)
    need = max(p.need[0] for p in plans.values()), max(p.need[1] for p in plans.values())
    _draft(source.image, source.encoded_size(need, _DRAFT_GAP))
    pictures: dict[str, list[Image.Image]] = {name: [] for name in plans}
    durations: list[float] = []
    with BUDGET.reserve(source.cost()):
        for index in range(source.info.frames if animated else 1):
            base = _decode_frame(source, need, index)
            durations.append(source.image.info.get("duration") or 0)
            due = {name: plan for name, plan in plans.items() if index == 0 or plan.animated}
            for name, picture in _draw(base, due, source).items():
                pictures[name].append(picture)
            del base
        return source.info, {name: _rendition_of(pictures.pop(name), plans[name], source, durations) for name in plans}


def strip(
    file: BinaryIO, *, formats: Collection[str] = FORMATS, max_pixels: int | None = MAX_PIXELS
) -> Rendition | None:
    """Return the image at full size without position, camera, comments and preview; None if it has none of these.

    The orientation is applied, and the colour profile is kept. PNG and WebP lose nothing unless they have to be
    rotated. JPEG is written with the quantization of the source (Pillow's ``quality="keep"``). TIFF becomes PNG, HEIC
    becomes JPEG. For GIF, which has no EXIF data, and BMP, which has no metadata, the result is None.

    Raises:
        ImageRefused: as from `verify_image`; by the rule ``"format"`` for an AVIF sequence, which cannot be rewritten.
    """
    source = open_source(file, formats, max_pixels)
    image, info = source.image, source.info
    if info.format in ("PNG", "WEBP") and source.orientation == 1:
        return _without_metadata(file, info)
    if info.format in ("GIF", "BMP") or not _has_metadata(source):
        return None
    if info.frames > 1:
        raise ImageRefused("the metadata of an animation of this type cannot be removed", rule="format", value="AVIF")
    name = {"TIFF": "PNG", "HEIF": "JPEG"}.get(info.format, info.format)
    options: dict[str, Any] = {"quality": 90} if name != "PNG" else {}
    if info.format == "JPEG":
        options = _jpeg_settings(image)
    with BUDGET.reserve(source.cost()):
        with refusing():
            image.load()
        drawn = _rotate(image, source.orientation)
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") and name != "JPEG":
            drawn = convert_mode(drawn, "RGB")
        drawn = drawn.copy() if drawn is image else drawn
        drawn.info = {key: value for key, value in drawn.info.items() if key == "transparency"}
        return _save([drawn], name, options | {"icc_profile": source.icc})


def _check_animation(info: ImageInfo) -> None:
    # Even a frame of one pixel has a cost.
    pixels = max(info.width * info.height, 10_000) * info.frames
    if pixels > MAX_ANIMATED_PIXELS:
        message = (
            f"the animation has {info.frames} frames of {info.width} x {info.height} pixels, more than can be rendered"
        )
        raise ImageRefused(message, rule="max_pixels", limit=MAX_ANIMATED_PIXELS, value=pixels)


# --- drawing ----------------------------------------------------------------------------------------------------------


class _Plan:
    """A recipe applied to one image: the part to use, its size and its format."""

    def __init__(self, recipe: Recipe, info: ImageInfo) -> None:
        self.recipe = recipe
        self.region: Region = recipe.region(info.width, info.height)
        left, top, right, bottom = self.region.box
        self.whole = (left, top, right, bottom) == (0, 0, info.width, info.height)
        #: The size of the whole image at the scale of the rendition.
        self.need = (
            info.width * self.region.size[0] / (right - left),
            info.height * self.region.size[1] / (bottom - top),
        )
        default = info.format if info.format in OUTPUT_FORMATS else "PNG" if info.has_alpha else "JPEG"
        self.format = recipe.format or default
        self.animated = recipe.animated and info.frames > 1 and self.format != "JPEG"


def _draft(image: Image.Image, size: tuple[int, int]) -> None:
    """Have a JPEG scaled down while it is decoded, but not below this size."""
    if image.format == "JPEG" and min(size) > 0:
        image.draft(None, size)


def _decode_frame(source: OpenedImage, need: tuple[float, float], index: int) -> Image.Image:
    """Return a frame as displayed, in a mode that can be scaled, and little larger than needed."""
    image = source.image
    with refusing():
        image.seek(index)
        image.load()
        wide, high = source.encoded_size(need, _GAP)
        factor = max(1, min(image.width // wide, image.height // high))
        return _rotate(_reduce(image, working_mode(image), factor), source.orientation)


def _reduce(image: Image.Image, mode: str, factor: int) -> Image.Image:
    if factor == 1 or (image.mode == mode and mode in ("L", "RGB", "CMYK")):
        drawn = convert_mode(image, mode)
        return drawn if factor == 1 else drawn.reduce(factor)
    from PIL import Image

    # In bands of about a million pixels, since converting the whole image would make copies of full size.
    base = Image.new(mode, (-(-image.width // factor), -(-image.height // factor)))
    step = factor * max(1, 1_000_000 // (image.width * factor))
    for top in range(0, image.height, step):
        band = image.crop((0, top, image.width, min(top + step, image.height)))
        base.paste(convert_mode(band, mode).reduce(factor), (0, top // factor))
    return base


def _rotate(image: Image.Image, orientation: int) -> Image.Image:
    from PIL import Image

    return image if orientation == 1 else image.transpose(Image.Transpose(_TRANSPOSE[orientation]))


def _draw(base: Image.Image, plans: Mapping[str, _Plan], source: OpenedImage) -> dict[str, Image.Image]:
    """Return the finished picture of each plan; the largest is drawn first."""
    candidates, found = [base], {}
    for name, plan in sorted(plans.items(), key=lambda item: -item[1].need[0] * item[1].need[1]):
        drawn = _scale(candidates, plan, source.info)
        if plan.whole:
            candidates.append(drawn)
        found[name] = _finish(drawn, plan, source)
    return found


def _scale(candidates: list[Image.Image], plan: _Plan, info: ImageInfo) -> Image.Image:
    wide, high = plan.need
    best = next((c for c in reversed(candidates) if c.width >= _GAP * wide and c.height >= _GAP * high), candidates[0])
    across, down = best.width / info.width, best.height / info.height
    left, top, right, bottom = plan.region.box
    box = left * across, top * down, min(right * across, best.width), min(bottom * down, best.height)
    return best.resize(plan.region.size, _LANCZOS, box=box, reducing_gap=_GAP)


def _finish(image: Image.Image, plan: _Plan, source: OpenedImage) -> Image.Image:
    from PIL import Image

    image, profile = convert_colours(image, source.icc, plan.format, keep=plan.recipe.icc == "keep")
    fill = plan.recipe.fill
    if isinstance(plan.recipe, Pad):
        transparent = plan.format != "JPEG" and (fill[3] < 255 or image.mode in ("LA", "RGBA"))
        image = flatten(image, fill) if plan.format == "JPEG" else image
        canvas = Image.new(
            "RGBA" if transparent else "RGB", (plan.recipe.width, plan.recipe.height), fill[: 4 if transparent else 3]
        )
        canvas.paste(
            image.convert(canvas.mode), ((canvas.width - image.width) // 2, (canvas.height - image.height) // 2)
        )
        image = canvas
    elif plan.format == "JPEG":
        image = flatten(image, fill)
    if plan.format != "PNG" and image.mode == "LA":
        image = image.convert("RGBA")
    # Pillow writes comments and profiles found here, even into another format.
    image.info = {"icc_profile": profile} if profile else {}
    return image


# --- writing ----------------------------------------------------------------------------------------------------------

# The EXIF tags that `metadata=True` keeps. Only those known to be harmless are listed; others include serial numbers,
# the position, the preview from before the image was cropped, and the maker's private notes.
_KEPT_TAGS: Final = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
_KEPT_EXPOSURE_TAGS: Final = (
    *(0x829A, 0x829D, 0x8822, 0x8827, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9201, 0x9202, 0x9203, 0x9204, 0x9205),
    *(0x9207, 0x9208, 0x9209, 0x920A, 0x9290, 0x9291, 0x9292, 0xA402, 0xA403, 0xA405, 0xA406, 0xA433, 0xA434),
)
_EXPOSURE: Final = 0x8769


def _rendition_of(pictures: list[Image.Image], plan: _Plan, source: OpenedImage, durations: list[float]) -> Rendition:
    options: dict[str, Any] = {}
    if plan.recipe.quality is not None and plan.format in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = plan.recipe.quality
    if plan.recipe.metadata and plan.format != "GIF" and (exif := _kept_exif(source.exif)):
        options["exif"] = exif
    if profile := pictures[0].info.pop("icc_profile", None):
        options["icc_profile"] = profile
    if len(pictures) > 1:
        options |= _animation_options(plan.format, source, durations)
    return _save(pictures, plan.format, options)


def _save(pictures: list[Image.Image], name: str, options: dict[str, Any]) -> Rendition:
    from PIL import Image

    # Filled by the plugins, all of which were imported to open the source.
    if name not in Image.SAVE:
        raise ConfigurationError(f"this Pillow cannot write {name}; choose another format, or another Pillow")
    if len(pictures) > 1:
        options = {"save_all": True, "append_images": pictures[1:]} | options
    out = BytesIO()
    pictures[0].save(out, name, **options)
    width, height = pictures[0].size
    return Rendition(out.getvalue(), width, height, CONTENT_TYPES[name], EXTENSIONS[name])


def _animation_options(name: str, source: OpenedImage, durations: list[float]) -> dict[str, Any]:
    """Return the options for the duration of each frame, in milliseconds, and the number of repetitions."""
    # `times` is the number of runs, 0 for ever. GIF counts repetitions, and has no entry for one run; AVIF has none.
    loop = source.image.info.get("loop", None if source.info.format == "GIF" else 0)
    times = 1 if loop is None else loop + 1 if loop and source.info.format == "GIF" else loop
    options: dict[str, Any] = {"duration": [round(duration) for duration in durations]}
    if name == "GIF":
        # Each frame is complete, so the previous one must not show through its transparent pixels.
        return options | {"disposal": 2} | ({} if times == 1 else {"loop": max(times - 1, 0)})
    return options if name == "AVIF" else options | {"loop": times}


def _kept_exif(exif: Image.Exif) -> bytes | None:
    from PIL import Image

    clean = Image.Exif()
    try:
        clean.update({tag: exif[tag] for tag in _KEPT_TAGS if tag in exif})
        exposure = exif.get_ifd(_EXPOSURE)
        found: dict[int, Any] = {tag: exposure[tag] for tag in _KEPT_EXPOSURE_TAGS if tag in exposure}
        if found:
            clean.get_ifd(_EXPOSURE).update(found)
        return clean.tobytes() if len(clean) or found else None
    except Exception:  # EXIF data that can be read but not written is no reason to refuse the image
        return None


def _has_metadata(source: OpenedImage) -> bool:
    """Return whether a file that would have to be re-encoded has anything to strip."""
    image = source.image
    if source.info.format != "JPEG":
        return bool(len(source.exif) or image.info.get("exif") or image.info.get("xmp"))
    harmless = (("APP0", b"JFIF"), ("APP2", b"ICC_PROFILE"), ("APP14", b"Adobe"))
    segments: list[tuple[str, bytes]] = getattr(image, "applist", [])
    return not all(any(name == n and data.startswith(begin) for n, begin in harmless) for name, data in segments)


def _jpeg_settings(image: Image.Image) -> dict[str, Any]:
    from PIL import JpegImagePlugin

    return {
        "qtables": getattr(image, "quantization", None),
        "subsampling": JpegImagePlugin.get_sampling(image),
        "progressive": bool(image.info.get("progressive")),
    }


def _without_metadata(file: BinaryIO, info: ImageInfo) -> Rendition | None:
    file.seek(0)
    clean = (png_without_metadata if info.format == "PNG" else webp_without_metadata)(file.read())
    if clean is None:
        return None
    return Rendition(clean, info.width, info.height, info.content_type, EXTENSIONS[info.format])
