"""Images, looked at and rendered: the door to Pillow, which `depot_lite.images.source` opens for it.

Whoever uploads an image chooses its bytes, so nothing here trusts them. The format is told by the first bytes, never by
a name, and only the decoders that a caller allows are tried. The number of pixels is read from the header and compared
with the limit before any is decoded. Whatever Pillow then raises becomes an `ImageRefused`; what the file object itself
raises, a disk or a storage that failed, goes through.

A rendition is drawn anew from pixels: orientation applied, colours as asked, and nothing of the source's metadata,
comments or appended bytes in it. One decoding serves all recipes. A JPEG is scaled down while it is decoded, every
other image in bands, so that no second copy of full size is made; colours are converted after that. How much is decoded
at the same time in the whole process is bounded: by 24 MB for each processor, 48 MB at least. An image that needs more
waits until it is alone.

Pillow is imported when the first image comes, and none of its global settings is changed. Its own
`DecompressionBombWarning` does not appear, since its plugins are called without `Image.open`, up to `MAX_PIXELS`.
With a higher limit Pillow still warns of a TIFF or GIF above it, and refuses WebP, TIFF and GIF above twice as many.

HEIC needs the extra ``heif``. Limits: of a TIFF the first page is taken; PNG with 16 bits per colour becomes 8 bits;
the second picture of a JPEG (MPO) and HDR gain maps are left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from depot_lite.errors import ConfigurationError, ImageRefused
from depot_lite.images.budget import BUDGET
from depot_lite.images.chunks import png_without_notes, webp_without_notes
from depot_lite.images.headers import CONTENT_TYPES, EXTENSIONS, FORMATS, MAX_PIXELS, ImageInfo
from depot_lite.images.recipes import OUTPUT_FORMATS, Frame, Pad, Recipe
from depot_lite.images.source import Source, open_source, refusing

if TYPE_CHECKING:
    from PIL import Image, ImageCms

__all__ = [
    "FORMATS",
    "MAX_ANIMATED_PIXELS",
    "MAX_PIXELS",
    "ImageInfo",
    "Rendition",
    "probe",
    "render",
    "strip",
    "verify",
]

#: The most pixels that the frames of an animation may have together, where it is rendered as one.
MAX_ANIMATED_PIXELS: Final = 100_000_000

# Pillow's numbers, so that no module of it is needed: Image.Transpose by EXIF orientation, Image.Resampling.LANCZOS.
_TRANSPOSE: Final = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_LANCZOS: Final = 1

# What the last, good resampling shrinks by at least; a coarser and faster method may do the rest. 2 is Pillow's default
# for `thumbnail`. The decoder of JPEG scales well enough to come nearer.
_GAP: Final = 2.0
_DRAFT_GAP: Final = 1.5


@dataclass(frozen=True, slots=True)
class Rendition:
    """An image that was made: its bytes, and what they are."""

    data: bytes
    width: int
    height: int
    content_type: str
    #: With its dot: ``".webp"``.
    extension: str


def probe(file: BinaryIO, *, formats: Collection[str] = FORMATS, max_pixels: int | None = MAX_PIXELS) -> ImageInfo:
    """Return what the header of an image says; no pixel is decoded.

    Args:
        file: seekable; it is read from its beginning, left anywhere and never closed.
        formats: which of `FORMATS` are taken.
        max_pixels: the most that width times height may be; None for no limit but those of Pillow.

    Raises:
        ImageRefused: by the rule ``"format"``, ``"max_pixels"`` or ``"decodable"``.
        ConfigurationError: if Pillow is missing, or a format is none of `FORMATS`.
    """
    return open_source(file, formats, max_pixels).info


def verify(file: BinaryIO, *, formats: Collection[str] = FORMATS, max_pixels: int | None = MAX_PIXELS) -> ImageInfo:
    """Return what the header says, after the image, or the first of its frames, has been decoded to its end.

    Raises:
        ImageRefused: as from `probe`, and by the rule ``"decodable"`` for a file that is truncated or broken.
    """
    source = open_source(file, formats, max_pixels)
    # The smallest scale of JPEG reads all of its bytes too, and needs a 64th of the memory.
    _draft(source.image, (1, 1))
    with BUDGET.taken(source.cost()), refusing():
        source.image.load()
    return source.info


def render(
    file: BinaryIO,
    recipes: Mapping[str, Recipe],
    *,
    formats: Collection[str] = FORMATS,
    max_pixels: int | None = MAX_PIXELS,
) -> tuple[ImageInfo, dict[str, Rendition]]:
    """Return what the header says, and the rendition of each recipe under the recipe's name.

    The image is decoded once. The largest rendition is made first, and each other from the smallest picture that is at
    least twice as large.

    Raises:
        ImageRefused: as from `verify`; by the rule ``"max_pixels"`` also where a recipe asks for an animation of more
            than `MAX_ANIMATED_PIXELS`.
        ConfigurationError: also for a format that this Pillow cannot write.
    """
    source = open_source(file, formats, max_pixels)
    plans = {name: _Plan(recipe, source.info) for name, recipe in recipes.items()}
    if not plans:
        return source.info, {}
    animated = any(plan.animated for plan in plans.values())
    if animated:
        _check_animation(source.info)
    need = max(p.need[0] for p in plans.values()), max(p.need[1] for p in plans.values())
    _draft(source.image, source.raw(need, _DRAFT_GAP))
    pictures: dict[str, list[Image.Image]] = {name: [] for name in plans}
    durations: list[float] = []
    with BUDGET.taken(source.cost()):
        for index in range(source.info.frames if animated else 1):
            base = _base(source, need, index)
            durations.append(source.image.info.get("duration") or 0)
            wanted = {name: plan for name, plan in plans.items() if index == 0 or plan.animated}
            for name, picture in _pictures(base, wanted, source).items():
                pictures[name].append(picture)
            del base
        return source.info, {name: _encoded(pictures.pop(name), plans[name], source, durations) for name in plans}


def strip(
    file: BinaryIO, *, formats: Collection[str] = FORMATS, max_pixels: int | None = MAX_PIXELS
) -> Rendition | None:
    """Return the image at full size without position, camera, comments and preview; None where it has none of these.

    The orientation is applied, and the colour profile stays. PNG and WebP lose nothing unless they have to be turned.
    JPEG is written with the quantization of the source (Pillow's ``quality="keep"``). TIFF becomes PNG, HEIC becomes
    JPEG. GIF has no EXIF data and BMP nothing at all: None.

    Raises:
        ImageRefused: as from `verify`; by the rule ``"format"`` for an AVIF sequence, which cannot be rewritten.
    """
    source = open_source(file, formats, max_pixels)
    image, info = source.image, source.info
    if info.format in ("PNG", "WEBP") and source.orientation == 1:
        return _without_notes(file, info)
    if info.format in ("GIF", "BMP") or not _is_marked(source):
        return None
    if info.frames > 1:
        raise ImageRefused("an animation of this kind cannot be freed of its metadata", rule="format", value="AVIF")
    name = {"TIFF": "PNG", "HEIF": "JPEG"}.get(info.format, info.format)
    options: dict[str, Any] = {"quality": 90} if name != "PNG" else {}
    if info.format == "JPEG":
        options = _as_before(image)
    with BUDGET.taken(source.cost()):
        with refusing():
            image.load()
        drawn = _turned(image, source.orientation)
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") and name != "JPEG":
            drawn = _in_mode(drawn, "RGB")
        drawn = drawn.copy() if drawn is image else drawn
        drawn.info = {key: value for key, value in drawn.info.items() if key == "transparency"}
        return _saved([drawn], name, options | {"icc_profile": source.icc})


def _check_animation(info: ImageInfo) -> None:
    # A frame costs something even where it has one pixel.
    pixels = max(info.width * info.height, 10_000) * info.frames
    if pixels > MAX_ANIMATED_PIXELS:
        message = (
            f"the animation has {info.frames} frames of {info.width} x {info.height} pixels, more than can be drawn"
        )
        raise ImageRefused(message, rule="max_pixels", limit=MAX_ANIMATED_PIXELS, value=pixels)


# --- drawing ----------------------------------------------------------------------------------------------------------


class _Plan:
    """A recipe for one image: which part of it, how large, as what."""

    def __init__(self, recipe: Recipe, info: ImageInfo) -> None:
        self.recipe = recipe
        self.frame: Frame = recipe.frame(info.width, info.height)
        left, top, right, bottom = self.frame.box
        self.whole = (left, top, right, bottom) == (0, 0, info.width, info.height)
        #: How large the whole image is at the scale of the rendition.
        self.need = (
            info.width * self.frame.size[0] / (right - left),
            info.height * self.frame.size[1] / (bottom - top),
        )
        own = info.format if info.format in OUTPUT_FORMATS else "PNG" if info.has_alpha else "JPEG"
        self.format = recipe.format or own
        self.animated = recipe.animated and info.frames > 1 and self.format != "JPEG"


def _draft(image: Image.Image, size: tuple[int, int]) -> None:
    """Let a JPEG be scaled down while it is decoded, to no less than this size."""
    if image.format == "JPEG" and min(size) > 0:
        image.draft(None, size)


def _base(source: Source, need: tuple[float, float], index: int) -> Image.Image:
    """Return a frame as displayed, in a mode that can be scaled, and not much larger than needed."""
    image = source.image
    with refusing():
        image.seek(index)
        image.load()
        wide, high = source.raw(need, _GAP)
        factor = max(1, min(image.width // wide, image.height // high))
        return _turned(_reduced(image, _working_mode(image), factor), source.orientation)


def _reduced(image: Image.Image, mode: str, factor: int) -> Image.Image:
    if factor == 1 or (image.mode == mode and mode in ("L", "RGB", "CMYK")):
        drawn = _in_mode(image, mode)
        return drawn if factor == 1 else drawn.reduce(factor)
    from PIL import Image

    # In bands of about a million pixels: converting all of it would be a second copy of full size, or a third.
    base = Image.new(mode, (-(-image.width // factor), -(-image.height // factor)))
    step = factor * max(1, 1_000_000 // (image.width * factor))
    for top in range(0, image.height, step):
        band = image.crop((0, top, image.width, min(top + step, image.height)))
        base.paste(_in_mode(band, mode).reduce(factor), (0, top // factor))
    return base


def _working_mode(image: Image.Image) -> str:
    """Return the mode in which an image is scaled: colours are mixed there, while a palette has none between two."""
    clear = image.has_transparency_data
    if image.mode in ("1", "L", "LA", "La"):
        return "LA" if clear else "L"
    if image.mode.startswith(("I", "F")):
        return "L"
    if image.mode in ("CMYK", "LAB"):
        return image.mode
    return "RGBA" if clear else "RGB"


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode:
        return image
    if image.mode.startswith("I"):
        # 16 bits: the upper eight. Pillow's own conversion would cut off at 255, and nearly all would be white.
        return image.convert("I").point(lambda value: value * (1 / 256)).convert(mode)
    return image.convert(mode)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    from PIL import Image

    return image if orientation == 1 else image.transpose(Image.Transpose(_TRANSPOSE[orientation]))


def _pictures(base: Image.Image, plans: Mapping[str, _Plan], source: Source) -> dict[str, Image.Image]:
    """Return the finished picture of each plan, the largest being drawn first."""
    candidates, found = [base], {}
    for name, plan in sorted(plans.items(), key=lambda item: -item[1].need[0] * item[1].need[1]):
        drawn = _scaled(candidates, plan, source.info)
        if plan.whole:
            candidates.append(drawn)
        found[name] = _finished(drawn, plan, source)
    return found


def _scaled(candidates: list[Image.Image], plan: _Plan, info: ImageInfo) -> Image.Image:
    wide, high = plan.need
    best = next((c for c in reversed(candidates) if c.width >= _GAP * wide and c.height >= _GAP * high), candidates[0])
    across, down = best.width / info.width, best.height / info.height
    left, top, right, bottom = plan.frame.box
    box = left * across, top * down, min(right * across, best.width), min(bottom * down, best.height)
    return best.resize(plan.frame.size, _LANCZOS, box=box, reducing_gap=_GAP)


def _finished(image: Image.Image, plan: _Plan, source: Source) -> Image.Image:
    from PIL import Image

    image, profile = _coloured(image, plan, source.icc)
    fill = plan.recipe.fill
    if isinstance(plan.recipe, Pad):
        clear = plan.format != "JPEG" and (fill[3] < 255 or image.mode in ("LA", "RGBA"))
        image = _flat(image, fill) if plan.format == "JPEG" else image
        canvas = Image.new(
            "RGBA" if clear else "RGB", (plan.recipe.width, plan.recipe.height), fill[: 4 if clear else 3]
        )
        canvas.paste(
            image.convert(canvas.mode), ((canvas.width - image.width) // 2, (canvas.height - image.height) // 2)
        )
        image = canvas
    elif plan.format == "JPEG":
        image = _flat(image, fill)
    if plan.format != "PNG" and image.mode == "LA":
        image = image.convert("RGBA")
    # Pillow writes comments and profiles that it finds here, even into another format.
    image.info = {"icc_profile": profile} if profile else {}
    return image


def _flat(image: Image.Image, fill: tuple[int, int, int, int]) -> Image.Image:
    from PIL import Image

    if image.mode not in ("LA", "RGBA"):
        return image
    below = Image.new("RGB", image.size, fill[:3])
    below.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return below


def _coloured(image: Image.Image, plan: _Plan, icc: bytes | None) -> tuple[Image.Image, bytes | None]:
    """Return the image in L, LA, RGB or RGBA, and the profile that still has to go with it."""
    from PIL import ImageCms

    colours = image.mode.removesuffix("A") if image.mode in ("LA", "RGBA") else image.mode
    profile = _profile(icc, colours)
    keep = plan.recipe.icc == "keep" and (colours == "RGB" or (colours == "L" and plan.format in ("JPEG", "PNG")))
    if profile is not None and keep:
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


def _profile(icc: bytes | None, mode: str) -> ImageCms.ImageCmsProfile | None:
    """Return a profile that describes colours of this mode; a broken one, or one for other colours, counts as none."""
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


# --- writing ----------------------------------------------------------------------------------------------------------

# What `metadata=True` keeps, by EXIF tag: a list of what is known to be harmless, since everything else is not (serial
# numbers, position, the preview from before the image was cropped, notes in a format of the maker's own).
_KEPT: Final = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
_KEPT_OF_EXPOSURE: Final = (
    *(0x829A, 0x829D, 0x8822, 0x8827, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9201, 0x9202, 0x9203, 0x9204, 0x9205),
    *(0x9207, 0x9208, 0x9209, 0x920A, 0x9290, 0x9291, 0x9292, 0xA402, 0xA403, 0xA405, 0xA406, 0xA433, 0xA434),
)
_EXPOSURE: Final = 0x8769


def _encoded(pictures: list[Image.Image], plan: _Plan, source: Source, durations: list[float]) -> Rendition:
    options: dict[str, Any] = {}
    if plan.recipe.quality is not None and plan.format in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = plan.recipe.quality
    if plan.recipe.metadata and plan.format != "GIF" and (exif := _kept(source.exif)):
        options["exif"] = exif
    if profile := pictures[0].info.pop("icc_profile", None):
        options["icc_profile"] = profile
    if len(pictures) > 1:
        options |= _motion(plan.format, source, durations)
    return _saved(pictures, plan.format, options)


def _saved(pictures: list[Image.Image], name: str, options: dict[str, Any]) -> Rendition:
    from PIL import Image

    # Filled by the plugins, which are all imported where the source was opened.
    if name not in Image.SAVE:
        raise ConfigurationError(f"this Pillow writes no {name}; take one that does, or another format in the recipe")
    if len(pictures) > 1:
        options = {"save_all": True, "append_images": pictures[1:]} | options
    out = BytesIO()
    pictures[0].save(out, name, **options)
    width, height = pictures[0].size
    return Rendition(out.getvalue(), width, height, CONTENT_TYPES[name], EXTENSIONS[name])


def _motion(name: str, source: Source, durations: list[float]) -> dict[str, Any]:
    """Return how long each frame stays, in milliseconds, and how often all are shown, in the words of a format."""
    # As the number of times, 0 being for ever. GIF counts repetitions and says nothing for once; AVIF says nothing.
    loop = source.image.info.get("loop", None if source.info.format == "GIF" else 0)
    times = 1 if loop is None else loop + 1 if loop and source.info.format == "GIF" else loop
    options: dict[str, Any] = {"duration": [round(duration) for duration in durations]}
    if name == "GIF":
        # Each frame is drawn whole, so what it leaves clear must not show the one before.
        return options | {"disposal": 2} | ({} if times == 1 else {"loop": max(times - 1, 0)})
    return options if name == "AVIF" else options | {"loop": times}


def _kept(exif: Image.Exif) -> bytes | None:
    from PIL import Image

    clean = Image.Exif()
    try:
        clean.update({tag: exif[tag] for tag in _KEPT if tag in exif})
        exposure = exif.get_ifd(_EXPOSURE)
        found: dict[int, Any] = {tag: exposure[tag] for tag in _KEPT_OF_EXPOSURE if tag in exposure}
        if found:
            clean.get_ifd(_EXPOSURE).update(found)
        return clean.tobytes() if len(clean) or found else None
    except Exception:  # EXIF that can be read and not written is no reason to refuse the picture
        return None


def _is_marked(source: Source) -> bool:
    """Return whether there is anything to strip from a file that has to be drawn anew for it."""
    image = source.image
    if source.info.format != "JPEG":
        return bool(len(source.exif) or image.info.get("exif") or image.info.get("xmp"))
    harmless = (("APP0", b"JFIF"), ("APP2", b"ICC_PROFILE"), ("APP14", b"Adobe"))
    segments: list[tuple[str, bytes]] = getattr(image, "applist", [])
    return not all(any(name == n and data.startswith(begin) for n, begin in harmless) for name, data in segments)


def _as_before(image: Image.Image) -> dict[str, Any]:
    from PIL import JpegImagePlugin

    return {
        "qtables": getattr(image, "quantization", None),
        "subsampling": JpegImagePlugin.get_sampling(image),
        "progressive": bool(image.info.get("progressive")),
    }


def _without_notes(file: BinaryIO, info: ImageInfo) -> Rendition | None:
    file.seek(0)
    clean = (png_without_notes if info.format == "PNG" else webp_without_notes)(file.read())
    if clean is None:
        return None
    return Rendition(clean, info.width, info.height, info.content_type, EXTENSIONS[info.format])
