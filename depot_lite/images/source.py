"""Opened images: the header has been read within limits, and no pixel decoded.

The bytes of an uploaded image are not to be trusted, so only the decoders that the caller allows are used, and any
error of Pillow becomes an `ImageRefused`.
"""

from __future__ import annotations

import contextlib
import errno
import math
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache, wraps
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, Final, ParamSpec, TypeVar

from depot_lite.errors import ConfigurationError, DepotError, ImageRefused
from depot_lite.images.budget import BUDGET
from depot_lite.images.formats import ico, jpeg, jpeg2000, measure
from depot_lite.images.formats.measures import broken, check_memory, check_pixels, check_time, picture_memory
from depot_lite.images.headers import CONTENT_TYPES, MAX_PIXELS, ImageInfo, format_of
from depot_lite.images.pngs import picture_of
from depot_lite.images.profiles import profile_of_picture

if TYPE_CHECKING:
    from PIL import Image

P = ParamSpec("P")
T = TypeVar("T")

#: A JPEG lacks only its end if no more than these rows are missing, or than this part of all rows: browsers show it.
_CUT_ROWS: Final = 32
_CUT_SHARE: Final = 16

#: EXIF data in a JPEG has at most 64 KB. Reading more from another format may take any time.
_MAX_EXIF: Final = 65_536

#: The largest colour profile that is used. Those of printers have up to 3 MB.
_MAX_PROFILE: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """An image whose header has been read."""

    file: BinaryIO
    image: Image.Image
    info: ImageInfo
    #: The EXIF orientation, 1 to 8, that is still to be applied after decoding.
    orientation: int
    exif: Image.Exif
    icc: bytes | None
    #: The memory of `Measures`, in bytes.
    buffers: int
    at_worst: int
    max_pixels: int | None
    #: Whether a JPEG may lack its end.
    may_be_cut: bool

    def encoded_size(self, size: tuple[float, float], gap: float) -> tuple[int, int]:
        """Return a displayed size, times ``gap``, as it is before the orientation is applied."""
        width, height = size if self.orientation < 5 else size[::-1]
        return math.ceil(width * gap), math.ceil(height * gap)

    def cost(self, drawn: int = 0) -> int:
        """Return roughly how many bytes decoding takes, with pictures of ``drawn`` bytes beside it."""
        if self.info.format in ("WEBP", "AVIF", "HEIF", "TIFF", "JPEG2000"):
            # The drawing takes the place of a copy of the picture, which the decoder has released by then.
            return self.buffers + max(0, drawn - 4 * self.image.width * self.image.height)
        # Pillow uses four bytes for a pixel of several channels.
        pixel = {"1": 1, "L": 1, "P": 1, "I;16": 2}.get(self.image.mode, 4)
        return drawn + self.buffers + picture_memory(*self.image.size, pixel)

    @contextlib.contextmanager
    def decoding(self, drawn: int = 0) -> Iterator[None]:
        """Hold the memory of `cost`; other images may have to end first.

        Raises:
            ImageRefused: by the rule ``"memory"``.
            ImagesBusy: other images took too long.
        """
        cost = self.cost(drawn)
        check_memory(cost, BUDGET.largest)
        with BUDGET.reserve(max(cost, self.at_worst)):
            yield

    def seek(self, frame: int) -> None:
        """Move to a frame, which may be larger than the first. The still picture in front of an APNG is no frame."""
        hidden = (
            self.info.frames > 1 and self.info.format == "PNG" and bool(getattr(self.image, "default_image", False))
        )
        self.image.seek(frame + hidden)
        check_pixels(*self.image.size, self.max_pixels)

    def load(self) -> None:
        """Decode the frame.

        Raises:
            OSError: and others of Pillow's, for a broken or truncated image.
        """
        if not self.may_be_cut:
            self.image.load()
            return
        image: Any = self.image
        tiles = image.tile
        try:
            image.load()
        except OSError as error:
            if "truncated" not in str(error) or not self._lacks_only_its_end(tiles):
                raise
            image.tile = tiles
            image.load_read = _with_end(image.load_read)
            image.load()

    def _lacks_only_its_end(self, tiles: list[Any]) -> bool:
        """Return whether a JPEG that could not be decoded to its end has all but its last rows."""
        if self.buffers:  # all of its coefficients are held, so no row is there yet
            return jpeg.has_all_scans(self.file)
        missing = self.image.height - self._rows(tiles)
        reduced = max(1, round(self.encoded_size((self.info.width, self.info.height), 1)[1] / self.image.height))
        return missing <= max(_CUT_ROWS // reduced, self.image.height // _CUT_SHARE)

    def _rows(self, tiles: list[Any]) -> int:
        """Return how many rows of a JPEG were decoded before it failed."""
        from PIL import Image, ImageChops

        image: Any = self.image
        # Rows that were not decoded are zero, and so are those that are black. The latter will be so on white as well.
        black = (image.im.getbbox() or (0, 0, 0, 0))[3]
        image.im.paste((255,) * len(image.getbands()) if len(image.getbands()) > 1 else 255, (0, black, *image.size))
        image.tile = tiles
        with contextlib.suppress(OSError):
            image.load()
        return (ImageChops.invert(Image.Image()._new(image.im)).getbbox() or (0, 0, 0, 0))[3]


def _with_end(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Return a function that reads the marker of the end behind the last bytes."""
    ends = iter((b"\xff\xd9",))
    return lambda size: read(size) or next(ends, b"")


def open_source(
    file: BinaryIO, formats: Collection[str], max_pixels: int | None, truncated: str = "allow"
) -> OpenedImage:
    """Open an image of one of these formats and read its header; no pixel is decoded.

    Raises:
        ImageRefused: by the rule ``"format"``, ``"max_pixels"`` or ``"decodable"``.
        ConfigurationError: if Pillow is missing, or a format is not in `FORMATS`.
    """
    _require_pillow()
    if truncated not in ("allow", "refuse"):
        raise ConfigurationError(f"truncated: expected 'allow' or 'refuse', got {truncated!r}")
    name, profile = format_of(file, formats), None
    with refusing():
        found = measure(name, file, max_pixels, BUDGET.largest)
        check_time(found.seconds, BUDGET.longest)
        if name == "JPEG" and truncated == "refuse" and not jpeg.has_end(file):
            raise broken("is broken or truncated")
        kind, picture = ico.largest_picture(file) if name == "ICO" else (name, file)
        if kind == "PNG":
            picture, profile = picture_of(picture)
        elif kind == "JPEG2000":
            profile = jpeg2000.profile(file)
        image = _plugin(kind, picture)
        check_pixels(image.width, image.height, max_pixels)
        exif = _exif(image)
        frames = found.frames if name in ("GIF", "PNG") else 1
        if name in ("WEBP", "AVIF"):
            frames = int(getattr(image, "n_frames", 1))
        # Pillow turns a TIFF itself, and libheif a HEIC. Browsers turn no WebP.
        orientation = 1 if name in ("TIFF", "HEIF", "WEBP") else exif.get(0x0112, 1)
        has_alpha = image.has_transparency_data
    if orientation not in range(1, 9):
        orientation = 1
    width, height = image.size if orientation < 5 else image.size[::-1]
    info = ImageInfo(name, CONTENT_TYPES[name], width, height, max(frames, 1), has_alpha)
    if found.colours is not None:
        profile = profile_of_picture(*found.colours)
    icc = image.info.get("icc_profile") or profile
    if not isinstance(icc, bytes) or len(icc) > _MAX_PROFILE:  # in a TIFF, it may be of any type
        icc = None
    may_be_cut = name == "JPEG" and truncated == "allow"
    return OpenedImage(file, image, info, orientation, exif, icc, found.memory, found.at_worst, max_pixels, may_be_cut)


def _plugin(name: str, file: BinaryIO) -> Image.Image:
    """Open the image by its own plugin: `Image.open` would warn, and open an MPO as something else."""
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        IcoImagePlugin,
        Jpeg2KImagePlugin,
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
        case "ICO":
            return IcoImagePlugin.IcoImageFile(file)
        case "JPEG2000":
            _require_openjpeg()
            return Jpeg2KImagePlugin.Jpeg2KImageFile(file)
        case _:
            return _heif(file)


def _require_openjpeg() -> None:
    from PIL import features

    if not features.check("jpg_2000"):
        raise ConfigurationError("images of the type JPEG2000 need a Pillow that was built with OpenJPEG")


def _heif(file: BinaryIO) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        # Visitors read the message, developers the note.
        error = ImageRefused("images of the type HEIC cannot be read here", rule="format", value="HEIF")
        error.add_note("pip install 'depot_lite[heif]'")
        raise error from None
    # Its class, not `register_heif_opener`, which would change the behaviour of Pillow in the whole process.
    return pillow_heif.HeifImageFile(file)  # type: ignore[no-untyped-call]  # its constructor has no annotations


def import_decoders() -> None:
    """Import everything that images of any format need."""
    from PIL import (  # noqa: F401 - imported so that they are loaded
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        IcoImagePlugin,
        ImageCms,
        Jpeg2KImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    with contextlib.suppress(ImportError):
        import pillow_heif  # noqa: F401 - likewise


@cache
def _require_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401 - the others follow where they are used
    except ImportError as error:
        raise ConfigurationError("images need Pillow: pip install 'depot_lite[images]'") from error


def _exif(image: Image.Image) -> Image.Exif:
    """Return the EXIF data in front of the pixels. An orientation in XMP is not among it: no browser knows it."""
    from PIL import Image

    exif, data = Image.Exif(), image.info.get("exif") or b""
    try:
        if image.format == "TIFF":
            return image.getexif()
        if len(data) <= _MAX_EXIF:
            exif.load(data)
    except Exception:  # the picture may be intact even if its EXIF data is not
        return Image.Exif()
    return exif


def releasing(function: Callable[P, T]) -> Callable[P, T]:
    """Have a function release the picture when it raises: an error keeps the variables of the frames it has left."""

    @wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> T:
        try:
            return function(*args, **options)
        except BaseException as error:
            each: BaseException | None = error
            while each is not None:
                traceback.clear_frames(each.__traceback__)
                each = each.__cause__ or each.__context__
            raise

    return call


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
    except MemoryError as error:
        message = "the image needs more memory to be decoded than there is"
        raise ImageRefused(message, rule="memory", limit=BUDGET.largest) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _BAD_SEEK:
            raise
        raise ImageRefused("the image is broken or truncated", rule="decodable") from error
