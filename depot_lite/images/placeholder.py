"""Placeholders: 28 characters that describe a blurred image, its dominant colour, and the picture that they stand for.

The characters are those of BlurHash (https://blurha.sh), with four times three waves, or three times four for an
upright image.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple

from depot_lite.errors import ConfigurationError
from depot_lite.images.recipes import Thumbnail

if TYPE_CHECKING:
    from PIL import Image

#: The rendition that a placeholder is computed from. A larger one gives the same waves.
SOURCE: Final = Thumbnail(32, 32, format="PNG")

#: The longest side of the drawn placeholder, in pixels. Browsers scale it up smoothly.
_SIDE: Final = 12
#: Among how many colours the dominant one is chosen.
_COLOURS: Final = 8


class Placeholder(NamedTuple):
    """A placeholder as it is kept in a row."""

    #: BlurHash, 28 characters.
    blurhash: str
    #: ``#rrggbb``.
    dominant_colour: str


def placeholder_of(rendition: bytes) -> Placeholder:
    """Return the placeholder of an image from its rendition by `SOURCE`. Transparent pixels count as white.

    Raises:
        ConfigurationError: the library ``blurhash`` is not installed.
    """
    from PIL import Image

    with Image.open(BytesIO(rendition), formats=["PNG"]) as opened:
        opaque = Image.alpha_composite(Image.new("RGBA", opened.size, "white"), opened.convert("RGBA")).convert("RGB")
    width, height = opaque.size
    data = opaque.tobytes()
    rows = [
        [list(data[at : at + 3]) for at in range(3 * width * row, 3 * width * (row + 1), 3)] for row in range(height)
    ]
    waves = (4, 3) if width >= height else (3, 4)
    try:
        from blurhash import encode
    except ImportError as error:
        raise ConfigurationError("placeholders need blurhash: pip install 'depot_lite[images]'") from error
    return Placeholder(str(encode(rows, *waves)), _dominant_colour(opaque))


def _dominant_colour(image: Image.Image) -> str:
    """Return the most frequent of a few colours."""
    few = image.quantize(_COLOURS)
    counts = few.histogram()
    index = counts.index(max(counts))
    red, green, blue = (few.getpalette() or [])[3 * index : 3 * index + 3]
    return f"#{red:02x}{green:02x}{blue:02x}"


@lru_cache(maxsize=4096)
def data_url(blurhash: str, width: int, height: int) -> str:
    """Return the placeholder as a PNG of about 400 bytes in a ``data:`` URL, for ``<img src>`` and CSS.

    Args:
        blurhash: as `placeholder_of` gives it.
        width: of the image, in pixels; only the aspect ratio counts.
        height: of the image.

    Raises:
        ValueError: the text is no BlurHash.
        ConfigurationError: Pillow or ``blurhash`` is not installed.
    """
    try:
        from blurhash import decode
        from PIL import Image
    except ImportError as error:
        raise ConfigurationError("placeholders need blurhash and Pillow: pip install 'depot_lite[images]'") from error
    scale = _SIDE / max(width, height, 1)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    try:
        rows = decode(blurhash, *size)
    except KeyError:
        raise ValueError(f"{blurhash!r} is no BlurHash") from None
    file = BytesIO()
    Image.frombytes("RGB", size, bytes(value for row in rows for pixel in row for value in pixel)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
