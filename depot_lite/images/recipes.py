"""Recipes: descriptions of renditions of an image, as plain data.

A recipe defines the size of a rendition, the treatment of another aspect ratio, and the format. It needs no Pillow, so
that columns can be declared, compared and described anywhere; `depot_lite.images` applies it.

::

    Thumbnail(400, 400)              the whole image within 400 x 400, never enlarged
    Crop(200, 200)                   exactly 200 x 200, cropped around the centre
    Crop(200, 200, focus=True)       the same, around the point in the metadata of each image
    Pad(600, 400, background="#eee") exactly 600 x 400, the whole image centred on a background

Sizes are in pixels of the displayed image, after the EXIF orientation has been applied.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import Any, Final, Literal, NamedTuple

from depot_lite.errors import ConfigurationError
from depot_lite.focus import CENTRE, Point, point_in, with_point

#: Increased when the same recipe produces a better rendition; it is part of every fingerprint.
RECIPE_VERSION: Final = 1

#: The output formats: those that browsers display.
OUTPUT_FORMATS: Final = ("JPEG", "PNG", "WEBP", "AVIF", "GIF")

#: The longest side of a rendition: the limit of WebP (14 bits), the strictest format.
MAX_SIDE: Final = 16_383

_COLOUR: Final = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)


class Region(NamedTuple):
    """The part of a source that a rendition shows, and its size."""

    #: Left, top, right and bottom of the part, in pixels of the displayed source, possibly fractional.
    box: tuple[float, float, float, float]
    #: Width and height to which the part is scaled.
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The size and the format of a rendition; use `Thumbnail`, `Crop` or `Pad`.

    Args:
        width: the maximum or exact width in pixels.
        height: the maximum or exact height in pixels.
        format: one of `OUTPUT_FORMATS` or ``"JPG"``, in any case. With None, a format that browsers display is kept;
            otherwise an image with transparency becomes PNG and any other JPEG.
        quality: 1 to 100, for JPEG, WebP and AVIF; None for Pillow's default.
        background: ``"#rgb"``, ``"#rrggbb"``, ``"#rrggbbaa"`` or ``"transparent"``; replaces transparent pixels in a
            format without transparency (JPEG), and fills the border of `Pad`.
        animated: keep all frames of an animation if the format supports them. Otherwise the rendition is the first.
        icc: ``"srgb"`` converts to sRGB, which needs no profile; ``"keep"`` keeps colours and profile unchanged.
        metadata: keep the EXIF data on author, time, camera and exposure, but never orientation, position, preview
            or the camera's private notes. By default nothing is kept.
        make: ``"now"`` makes the rendition when the file is stored, ``"later"`` after COMMIT, and ``"on_demand"`` at
            the first request. It is no part of the fingerprint.

    Raises:
        ConfigurationError: for a value out of its range; the message names the expected range.
    """

    width: int
    height: int
    _: KW_ONLY
    format: str | None = None
    quality: int | None = None
    background: str = "#ffffff"
    animated: bool = False
    icc: Literal["srgb", "keep"] = "srgb"
    metadata: bool = False
    make: Literal["now", "later", "on_demand"] = "now"

    def __post_init__(self) -> None:
        """Check every value, and normalize the format to Pillow's name."""
        for name in ("width", "height"):
            _check_whole(self, name, MAX_SIDE)
        if self.quality is not None:
            _check_whole(self, "quality", 100)
        if self.format is not None:
            object.__setattr__(self, "format", _format(self))
        if self.background != "transparent" and not _is_colour(self.background):
            raise _wrong(self, "background", "a colour such as '#fff', '#ffffff' or '#ffffff80', or 'transparent'")
        if self.icc not in ("srgb", "keep"):
            raise _wrong(self, "icc", "'srgb' or 'keep'")
        if self.make not in ("now", "later", "on_demand"):
            raise _wrong(self, "make", "'now', 'later' or 'on_demand'")

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that identify the recipe, the same in every process.

        >>> Thumbnail(128, 128, format="jpg").fingerprint == Thumbnail(128, 128, format="JPEG").fingerprint
        True
        >>> Thumbnail(128, 128).fingerprint == Crop(128, 128).fingerprint
        False
        """
        values = [(field.name, getattr(self, field.name)) for field in fields(self) if field.name != "make"]
        text = repr((RECIPE_VERSION, type(self).__name__, values))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def fill(self) -> tuple[int, int, int, int]:
        """The background as red, green, blue and opacity, from 0 to 255 each.

        >>> Thumbnail(1, 1, background="#f80").fill, Pad(1, 1, background="transparent").fill
        ((255, 136, 0, 255), (255, 255, 255, 0))
        """
        if self.background == "transparent":
            return 255, 255, 255, 0
        digits = self.background[1:]
        if len(digits) == 3:
            digits = "".join(2 * digit for digit in digits)
        red, green, blue, opacity = bytes.fromhex((digits + "ff")[:8])
        return red, green, blue, opacity

    @property
    def follows_focus(self) -> bool:
        """Whether the rendition depends on the point in the metadata of the image: `Crop` with ``focus=True``."""
        return False

    def for_meta(self, meta: Any) -> Recipe:
        """Return the recipe for an image with this metadata: itself, unless it follows the point in there."""
        return self

    def at(self, point: Point) -> Recipe:
        """Return the recipe for an image with this point: itself, unless it follows the point."""
        return self

    def region(self, width: int, height: int) -> Region:
        """Return the part of a source of this size that is shown, and its size in the rendition."""
        raise ConfigurationError(f"{self!r} is only a size: use Thumbnail, Crop or Pad")

    def size_for(self, width: int | None, height: int | None) -> tuple[int | None, int | None]:
        """Return the size of the rendition of a source of this size; None if it depends on one that is unknown.

        >>> Thumbnail(400, 400).size_for(6000, 4000), Crop(200, 200).size_for(None, None)
        ((400, 267), (200, 200))
        """
        return (None, None) if width is None or height is None else self.region(width, height).size


@dataclass(frozen=True, slots=True)
class Thumbnail(Recipe):
    """The whole image within ``width`` x ``height``, with its aspect ratio, never enlarged.

    >>> Thumbnail(400, 400).region(6000, 4000).size
    (400, 267)
    """

    def region(self, width: int, height: int) -> Region:
        """Return the whole image, scaled down to fit."""
        return Region((0, 0, width, height), _within(width, height, self.width, self.height))


@dataclass(frozen=True, slots=True)
class Crop(Recipe):
    """Exactly ``width`` x ``height``: the image is scaled or enlarged until it covers them, and cropped.

    Args:
        focus: the point of the source that is centred as far as the edges allow: from ``(0, 0)``, the top left
            corner, to ``(1, 1)``, the bottom right one. With True, it is that of each image, ``meta["focus"]``, to a
            hundredth; the centre if the image has none.

    >>> Crop(200, 200).region(6000, 4000)
    Region(box=(1000.0, 0.0, 5000.0, 4000.0), size=(200, 200))
    """

    focus: tuple[float, float] | Literal[True] = (0.5, 0.5)

    def __post_init__(self) -> None:
        """Also check the focus."""
        Recipe.__post_init__(self)
        if self.focus is True:
            return
        try:
            x, y = (float(part) for part in self.focus)
        except (TypeError, ValueError):
            x = y = -1.0
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise _wrong(self, "focus", "two fractions from 0 to 1, (x, y), or True")
        object.__setattr__(self, "focus", (x, y))

    @property
    def follows_focus(self) -> bool:
        """Whether the rendition depends on the point in the metadata of the image."""
        return self.focus is True

    def for_meta(self, meta: Any) -> Recipe:
        """Return the recipe for an image with this metadata.

        >>> recipe = Crop(200, 200, focus=True)
        >>> recipe.for_meta({"focus": [0.25, 1]}).fingerprint == f"{recipe.fingerprint}-025100"
        True
        """
        return self.at(point_in(meta) or CENTRE) if self.follows_focus else self

    def at(self, point: Point) -> Recipe:
        """Return the recipe for an image with this point."""
        if not self.follows_focus:
            return self
        values = {field.name: getattr(self, field.name) for field in fields(Crop)}
        return _CropAt(**{**values, "focus": (point[0] / 100, point[1] / 100), "point": point, "of": self})

    def region(self, width: int, height: int) -> Region:
        """Return the largest part with the required aspect ratio, as near to the focus as possible."""
        scale = min(width / self.width, height / self.height)
        wide, high = min(self.width * scale, width), min(self.height * scale, height)
        x, y = (0.5, 0.5) if self.focus is True else self.focus
        left = min(max(x * width - wide / 2, 0), width - wide)
        top = min(max(y * height - high / 2, 0), height - high)
        return Region((left, top, left + wide, top + high), (self.width, self.height))

    def size_for(self, width: int | None, height: int | None) -> tuple[int | None, int | None]:
        """Return the exact size, whatever that of the source."""
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class _CropAt(Crop):
    """A crop of images with one point; ``of`` is the recipe that follows the point, maybe of a subclass."""

    _: KW_ONLY
    point: Point
    of: Crop

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the recipe with the point."""
        return with_point(self.of.fingerprint, self.point)

    def region(self, width: int, height: int) -> Region:
        """Return the region of the recipe for the point."""
        return replace(self.of, focus=self.focus).region(width, height)


@dataclass(frozen=True, slots=True)
class Pad(Recipe):
    """Exactly ``width`` x ``height``: the whole image, never enlarged, centred on ``background``.

    The background may be transparent, except in JPEG. If ``format`` is None and the rendition becomes a JPEG, a
    transparent background is white.

    >>> Pad(600, 400).region(400, 400).size
    (400, 400)
    """

    def __post_init__(self) -> None:
        """Refuse a transparent background in a format that has no transparency."""
        Recipe.__post_init__(self)
        if self.format == "JPEG" and self.fill[3] < 255:
            raise _wrong(self, "background", "an opaque colour, since JPEG has no transparency")

    def region(self, width: int, height: int) -> Region:
        """Return the whole image, scaled down to fit."""
        return Region((0, 0, width, height), _within(width, height, self.width, self.height))

    def size_for(self, width: int | None, height: int | None) -> tuple[int | None, int | None]:
        """Return the exact size, whatever that of the source."""
        return self.width, self.height


def for_meta(recipes: Mapping[str, Recipe], meta: Any) -> dict[str, Recipe]:
    """Return the recipes of a column, by name, for an image with this metadata."""
    return {name: recipe.for_meta(meta) for name, recipe in recipes.items()}


def _within(width: int, height: int, most_wide: int, most_high: int) -> tuple[int, int]:
    scale = min(1.0, most_wide / width, most_high / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _check_whole(recipe: Recipe, name: str, most: int) -> None:
    value = getattr(recipe, name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise _wrong(recipe, name, f"a whole number from 1 to {most}")


def _format(recipe: Recipe) -> str:
    name = str(recipe.format).upper()
    name = "JPEG" if name == "JPG" else name
    if name not in OUTPUT_FORMATS:
        raise _wrong(recipe, "format", f"one of {', '.join(OUTPUT_FORMATS)}, or None to keep the source's format")
    return name


def _is_colour(text: object) -> bool:
    return isinstance(text, str) and _COLOUR.fullmatch(text) is not None


def _wrong(recipe: Recipe, name: str, expected: str) -> ConfigurationError:
    return ConfigurationError(f"{type(recipe).__name__}: {name}={getattr(recipe, name)!r}: expected {expected}")
