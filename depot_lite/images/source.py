"""Opened images: the header has been read within limits, and no pixel decoded.

The bytes of an uploaded image are not to be trusted, so only the decoders that the caller allows are used, and any
error of Pillow becomes an `ImageRefused`.
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Final

from depot_lite.errors import ConfigurationError, DepotError, ImageRefused
from depot_lite.images.headers import (
    CONTENT_TYPES,
    MAX_PIXELS,
    ImageInfo,
    check_pixels,
    format_of,
    gif_extent,
    webp_canvas,
)

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """An image whose header has been read."""

    image: Image.Image
    info: ImageInfo
    #: The EXIF orientation, 1 to 8, that is still to be applied after decoding.
    orientation: int
    exif: Image.Exif
    icc: bytes | None

    def encoded_size(self, size: tuple[float, float], gap: float) -> tuple[int, int]:
        """Return a displayed size, times ``gap``, as it is before the orientation is applied."""
        width, height = size if self.orientation < 5 else size[::-1]
        return math.ceil(width * gap), math.ceil(height * gap)

    def cost(self) -> int:
        """Return roughly how many bytes decoding takes: Pillow uses four per pixel of several channels."""
        pixels = self.image.width * self.image.height
        cost = pixels * {"1": 1, "L": 1, "P": 1, "I;16": 2}.get(self.image.mode, 4)
        if self.info.format in ("WEBP", "AVIF", "HEIF"):
            # Their libraries decode into buffers of their own, which are then copied.
            return 4 * cost
        if self.image.info.get("progressive"):
            # The coefficients of the whole image: two bytes each, and half as many again for the colours.
            return cost + 3 * self.info.width * self.info.height
        return cost


def open_source(file: BinaryIO, formats: Collection[str], max_pixels: int | None) -> OpenedImage:
    """Open an image of one of these formats and read its header; no pixel is decoded.

    Raises:
        ImageRefused: by the rule ``"format"``, ``"max_pixels"`` or ``"decodable"``.
        ConfigurationError: if Pillow is missing, or a format is not in `FORMATS`.
    """
    _require_pillow()
    name = format_of(file, formats)
    frames = 1
    with refusing():
        # GIF and WebP are checked first, since Pillow allocates their canvas, or warns, when it opens them.
        if name == "GIF":
            width, height, frames = gif_extent(file)
            check_pixels(width, height, max_pixels)
        elif name == "WEBP":
            check_pixels(*webp_canvas(file), max_pixels)
        image = _plugin(name, file)
        check_pixels(image.width, image.height, max_pixels)
        exif = _exif(image)
        if name in ("PNG", "WEBP", "AVIF"):
            frames = int(getattr(image, "n_frames", 1))
    # Pillow turns a TIFF itself, and libheif a HEIC.
    orientation = 1 if name in ("TIFF", "HEIF") else exif.get(0x0112, 1)
    if orientation not in range(1, 9):
        orientation = 1
    width, height = image.size if orientation < 5 else image.size[::-1]
    info = ImageInfo(name, CONTENT_TYPES[name], width, height, max(frames, 1), image.has_transparency_data)
    return OpenedImage(image, info, orientation, exif, image.info.get("icc_profile") or None)


def _plugin(name: str, file: BinaryIO) -> Image.Image:
    """Open the image by its own plugin: `Image.open` would warn, and open an MPO as something else."""
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
            # A copy: libtiff would read a real file through its descriptor, bypassing Python's buffer.
            return TiffImagePlugin.TiffImageFile(BytesIO(file.read()))
        case _:
            return _heif(file)


def _heif(file: BinaryIO) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        message = "images of the type HEIC cannot be read: pip install 'depot_lite[heif]'"
        raise ImageRefused(message, rule="format", value="HEIF") from None
    # Its class, not `register_heif_opener`, which would change the behaviour of Pillow in the whole process.
    return pillow_heif.HeifImageFile(file)  # type: ignore[no-untyped-call]  # its constructor has no annotations


@cache
def _require_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401 - the others follow where they are used
    except ImportError as error:
        raise ConfigurationError("images need Pillow: pip install 'depot_lite[images]'") from error


def _exif(image: Image.Image) -> Image.Exif:
    from PIL import Image

    try:
        # Not the method of PNG, which decodes the image to find EXIF data behind the pixels.
        return Image.Image.getexif(image)
    except Exception:  # the picture may be intact even if its EXIF data is not
        return Image.Exif()


# Errors of the file object that come from a corrupt offset, not from a failed disk or connection.
_BAD_SEEK: Final = (None, errno.EINVAL, errno.EOVERFLOW)


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn errors of Pillow, which broken data makes nearly arbitrary, into an `ImageRefused`."""
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
        if isinstance(error, OSError) and error.errno not in _BAD_SEEK:
            raise
        raise ImageRefused("the image is broken or truncated", rule="decodable") from error
