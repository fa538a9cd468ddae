"""Images, looked at and rendered: the only door to Pillow.

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
import errno
import math
import os
import re
import struct
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from depot_lite.errors import ConfigurationError, DepotError, ImageRefused
from depot_lite.recipes import OUTPUT_FORMATS, Frame, Pad, Recipe

if TYPE_CHECKING:
    from PIL import Image, ImageCms

#: The decoders that may be used, under Pillow's names. JPEG includes MPO, HEIF the HEIC of phones.
FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "HEIF")

#: The most pixels an image may have: as many as Pillow takes without a warning, 256 MiB at three bytes each. That is
#: more than cameras make (61 million) and less than what hurts (4 bytes each, once decoded).
MAX_PIXELS: Final = 1024**3 // 4 // 3

#: The most pixels that the frames of an animation may have together, where it is rendered as one.
MAX_ANIMATED_PIXELS: Final = 100_000_000

_CONTENT_TYPES: Final = {name: f"image/{name.lower()}" for name in FORMATS}
_EXTENSIONS: Final = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "AVIF": ".avif"}

_SIGNATURES: Final = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "WEBP": re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL),
    # The brand mif1 is the container only; whether AV1 or HEVC is inside is said by the brands that follow.
    "AVIF": re.compile(rb".{4}ftyp(?:avi[fs]|m[is]f1.{4}(?:.{4}){0,8}?avi[fs])", re.DOTALL),
    "HEIF": re.compile(rb".{4}ftyp(?:he[iv][cmsx]|m[is]f1)", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
}

# Pillow's numbers, so that no module of it is needed: Image.Transpose by EXIF orientation, Image.Resampling.LANCZOS.
_TRANSPOSE: Final = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_LANCZOS: Final = 1

# What the last, good resampling shrinks by at least; a coarser and faster method may do the rest. 2 is Pillow's default
# for `thumbnail`. The decoder of JPEG scales well enough to come nearer.
_GAP: Final = 2.0
_DRAFT_GAP: Final = 1.5


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header of an image says."""

    #: One of `FORMATS`.
    format: str
    content_type: str
    #: In pixels, as displayed: the orientation in its EXIF data is applied.
    width: int
    height: int
    #: 1 for a still image, and for a TIFF of several pages.
    frames: int
    #: Whether its form has transparency; its pixels may be opaque all the same.
    has_alpha: bool


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
    return _open(file, formats, max_pixels).info


def verify(file: BinaryIO, *, formats: Collection[str] = FORMATS, max_pixels: int | None = MAX_PIXELS) -> ImageInfo:
    """Return what the header says, after the image, or the first of its frames, has been decoded to its end.

    Raises:
        ImageRefused: as from `probe`, and by the rule ``"decodable"`` for a file that is truncated or broken.
    """
    source = _open(file, formats, max_pixels)
    # The smallest scale of JPEG reads all of its bytes too, and needs a 64th of the memory.
    _draft(source.image, (1, 1))
    with _BUDGET.taken(source.cost()), _refusing():
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
    source = _open(file, formats, max_pixels)
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
    with _BUDGET.taken(source.cost()):
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
    source = _open(file, formats, max_pixels)
    image, info = source.image, source.info
    if info.format in ("PNG", "WEBP") and source.orientation == 1:
        return _without_chunks(file, info)
    if info.format in ("GIF", "BMP") or not _is_marked(source):
        return None
    if info.frames > 1:
        raise ImageRefused("an animation of this kind cannot be freed of its metadata", rule="format", value="AVIF")
    name = {"TIFF": "PNG", "HEIF": "JPEG"}.get(info.format, info.format)
    options: dict[str, Any] = {"quality": 90} if name != "PNG" else {}
    if info.format == "JPEG":
        options = _as_before(image)
    with _BUDGET.taken(source.cost()):
        with _refusing():
            image.load()
        drawn = _turned(image, source.orientation)
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") and name != "JPEG":
            drawn = _in_mode(drawn, "RGB")
        drawn = drawn.copy() if drawn is image else drawn
        drawn.info = {key: value for key, value in drawn.info.items() if key == "transparency"}
        return _saved([drawn], name, options | {"icc_profile": source.icc})


# --- opening ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """An image whose header has been read."""

    image: Image.Image
    info: ImageInfo
    #: As in EXIF, 1 to 8: what is still to be done after decoding.
    orientation: int
    exif: Image.Exif
    icc: bytes | None

    def raw(self, size: tuple[float, float], gap: float) -> tuple[int, int]:
        """Return a displayed size as it is before the orientation is applied, ``gap`` times as large."""
        width, height = size if self.orientation < 5 else size[::-1]
        return math.ceil(width * gap), math.ceil(height * gap)

    def cost(self) -> int:
        """Return how many bytes decoding takes, roughly: Pillow has four for a pixel of several channels."""
        pixels = self.image.width * self.image.height
        cost = pixels * {"1": 1, "L": 1, "P": 1, "I;16": 2}.get(self.image.mode, 4)
        if self.info.format in ("WEBP", "AVIF", "HEIF"):
            # Their libraries hold pictures of their own, which are copied.
            return 4 * cost
        if self.image.info.get("progressive"):
            # The coefficients of the whole image, two bytes each and half as many again for the colours.
            return cost + 3 * self.info.width * self.info.height
        return cost


def _open(file: BinaryIO, formats: Collection[str], max_pixels: int | None) -> _Source:
    _need_pillow()
    name = _format(file, formats)
    frames = 1
    with _refusing():
        # GIF and WebP are looked at before Pillow does, since opening them already reserves their canvas, or warns.
        if name == "GIF":
            width, height, frames = _gif_extent(file)
            _check_pixels(width, height, max_pixels)
        elif name == "WEBP":
            _check_pixels(*_webp_canvas(file), max_pixels)
        image = _plugin(name, file)
        _check_pixels(image.width, image.height, max_pixels)
        exif = _exif(image)
        if name in ("PNG", "WEBP", "AVIF"):
            frames = int(getattr(image, "n_frames", 1))
    # Pillow turns a TIFF itself, and libheif a HEIC.
    orientation = 1 if name in ("TIFF", "HEIF") else exif.get(0x0112, 1)
    if orientation not in _TRANSPOSE:
        orientation = 1
    width, height = image.size if orientation < 5 else image.size[::-1]
    info = ImageInfo(name, _CONTENT_TYPES[name], width, height, max(frames, 1), image.has_transparency_data)
    return _Source(image, info, orientation, exif, image.info.get("icc_profile") or None)


def _format(file: BinaryIO, formats: Collection[str]) -> str:
    allowed = [str(name).upper().replace("JPG", "JPEG") for name in formats]
    if unknown := [name for name in allowed if name not in FORMATS]:
        raise ConfigurationError(f"formats has {', '.join(unknown)}; wanted are some of {', '.join(FORMATS)}")
    file.seek(0)
    head = file.read(64)
    found = next((name for name, signature in _SIGNATURES.items() if signature.match(head)), None)
    if found is None or found not in allowed:
        what = "is not an image that can be read" if found is None else f"is an image of the type {found}"
        message = f"the file {what}; {', '.join(allowed)} are taken"
        raise ImageRefused(message, rule="format", limit=tuple(allowed), value=found)
    return found


def _plugin(name: str, file: BinaryIO) -> Image.Image:
    """Return the image, opened by its own plugin: `Image.open` would warn, and take an MPO for something else."""
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    file.seek(0)
    match name:
        case "JPEG":
            return JpegImagePlugin.JpegImageFile(file)
        case "PNG":
            return PngImagePlugin.PngImageFile(file)
        case "GIF":
            return GifImagePlugin.GifImageFile(file)
        case "WEBP":
            return WebPImagePlugin.WebPImageFile(file)
        case "AVIF":
            return AvifImagePlugin.AvifImageFile(file)
        case "BMP":
            return BmpImagePlugin.BmpImageFile(file)
        case "TIFF":
            # A copy: libtiff would read through the descriptor of a real file, behind the back of Python's buffer.
            return TiffImagePlugin.TiffImageFile(BytesIO(file.read()))
        case _:
            return _heif(file)


def _heif(file: BinaryIO) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        message = "images of the type HEIC cannot be read here (pip install 'depot_lite[heif]')"
        raise ImageRefused(message, rule="format", value="HEIF") from None
    # Its class, not its `register_heif_opener`: that would change what every other user of Pillow opens.
    return pillow_heif.HeifImageFile(file)  # type: ignore[no-untyped-call]  # its constructor has no annotations


@cache
def _need_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401 - the others follow where they are used
    except ImportError as error:
        raise ConfigurationError("images need Pillow: pip install 'depot_lite[images]'") from error


def _exif(image: Image.Image) -> Image.Exif:
    from PIL import Image

    try:
        # Not the method of PNG, which decodes the image to look for what stands behind its pixels.
        return Image.Image.getexif(image)
    except Exception:  # whatever is wrong with the notes, the picture may be whole
        return Image.Exif()


def _gif_extent(file: BinaryIO) -> tuple[int, int, int]:
    """Return width, height and number of the frames of a GIF: a frame may be larger than the screen it stands on."""
    file.seek(6)
    width, height, flags = struct.unpack("<HHB2x", file.read(7))
    _skip_palette(file, flags)
    frames = 0
    while block := file.read(1):
        if block == b",":
            left, top, wide, high, flags = struct.unpack("<HHHHB", file.read(9))
            width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
            _skip_palette(file, flags)
        elif block == b";":
            break
        elif block != b"!":
            continue
        file.read(1)
        while (size := file.read(1)) not in (b"", b"\0"):
            file.seek(size[0], os.SEEK_CUR)
    return width, height, frames


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << (flags & 7) + 1, os.SEEK_CUR)


def _webp_canvas(file: BinaryIO) -> tuple[int, int]:
    """Return the size in the header of a WebP (RFC 9649, sections 2.5 to 2.7)."""
    file.seek(0)
    head = file.read(30).ljust(30, b"\0")
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


# --- limits -----------------------------------------------------------------------------------------------------------


def _check_pixels(width: int, height: int, limit: int | None) -> None:
    if limit is not None and width * height > limit:
        message = f"the image has {width} x {height} pixels, more than {limit:,} in all"
        raise ImageRefused(message, rule="max_pixels", limit=limit, value=width * height)


def _check_animation(info: ImageInfo) -> None:
    # A frame costs something even where it has one pixel.
    pixels = max(info.width * info.height, 10_000) * info.frames
    if pixels > MAX_ANIMATED_PIXELS:
        message = (
            f"the animation has {info.frames} frames of {info.width} x {info.height} pixels, more than can be drawn"
        )
        raise ImageRefused(message, rule="max_pixels", limit=MAX_ANIMATED_PIXELS, value=pixels)


# Errors of the file object that stand for a corrupt offset and not for a disk or a connection that failed.
_SEEKS: Final = (None, errno.EINVAL, errno.EOVERFLOW)


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Turn what Pillow raises at broken data, which may be nearly anything, into an `ImageRefused`."""
    from PIL import Image

    try:
        yield
    except DepotError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRefused("the image has too many pixels", rule="max_pixels", limit=MAX_PIXELS) from error
    except (ConnectionError, TimeoutError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _SEEKS:
            raise
        raise ImageRefused("the image is broken or truncated", rule="decodable") from error


class _Budget:
    """How many bytes of pixels may be decoded at the same time: first come, first served.

    Who wants more than there is waits until nobody else has any, so one thread alone always goes on.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """Forget who holds what: in a child process, the threads that did do not exist."""
        self._used = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, cost: int) -> Iterator[None]:
        """Hold a part of the budget; never to be entered by a thread that holds one already."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and self._fits(cost))
                self._used += cost
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= cost
                self._changed.notify_all()

    def _fits(self, cost: int) -> bool:
        return self._used == 0 or self._used + cost <= self._limit


_BUDGET: Final = _Budget(24_000_000 * max(2, os.cpu_count() or 1))
os.register_at_fork(after_in_child=_BUDGET.reset)

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


def _base(source: _Source, need: tuple[float, float], index: int) -> Image.Image:
    """Return a frame as displayed, in a mode that can be scaled, and not much larger than needed."""
    image = source.image
    with _refusing():
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


def _pictures(base: Image.Image, plans: Mapping[str, _Plan], source: _Source) -> dict[str, Image.Image]:
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


def _finished(image: Image.Image, plan: _Plan, source: _Source) -> Image.Image:
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


def _encoded(pictures: list[Image.Image], plan: _Plan, source: _Source, durations: list[float]) -> Rendition:
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
    return Rendition(out.getvalue(), width, height, _CONTENT_TYPES[name], _EXTENSIONS[name])


def _motion(name: str, source: _Source, durations: list[float]) -> dict[str, Any]:
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


def _is_marked(source: _Source) -> bool:
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


# The chunks that say nothing of the pixels. RFC 9649 section 2.7.1 gives the bits of VP8X: EXIF is 8, XMP 4.
_NOTES: Final = {b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"EXIF", b"XMP "}


def _without_chunks(file: BinaryIO, info: ImageInfo) -> Rendition | None:
    """Return a PNG or WebP without its notes and without what was appended, every other byte as it was."""
    file.seek(0)
    data = file.read()
    png = info.format == "PNG"
    kept, position, dropped = [data[: 8 if png else 12]], 8 if png else 12, False
    end = len(data) if png else min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while position + 8 <= end:
        size = int.from_bytes(data[position : position + 4], "big") + 12
        name = data[position + 4 : position + 8]
        if not png:
            size = int.from_bytes(data[position + 4 : position + 8], "little") + 8
            size, name = size + size % 2, data[position : position + 4]
        chunk = data[position : position + size]
        if name == b"VP8X":
            chunk = chunk[:8] + bytes((chunk[8] & ~0x0C,)) + chunk[9:]
        if name in _NOTES:
            dropped = True
        else:
            kept.append(chunk)
        position += size
        if name == b"IEND":
            break
    if not dropped:
        return None
    clean = b"".join(kept)
    if not png:
        clean = clean[:4] + (len(clean) - 8).to_bytes(4, "little") + clean[8:]
    return Rendition(clean, info.width, info.height, info.content_type, _EXTENSIONS[info.format])
