"""`UploadedMedia`: any file in a column, with variants if an image of it can be made.

::

    class Lesson(Base):
        recording: Mapped[UploadedMedia | None] = mapped_column(
            UploadedFileField(upload_type=UploadedMedia, variants={"poster": Thumbnail(640, 640, format="WEBP")})
        )

    {% if "poster" in lesson.recording.variants %}<img src="{{ lesson.recording.variants["poster"].url }}">{% endif %}

Images have variants as with `UploadedImage`. Variants of a PDF show its first page, those of a video one of its frames,
and those of a text its first lines (`depot_lite.previews`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from typing import BinaryIO, ClassVar, Final, Literal, cast

from depot_lite import images
from depot_lite.errors import ConfigurationError, ImageRefused, ImagesBusy
from depot_lite.fields.analyzers import ALL, Analyzer
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.specialized.presentation import PREVIEW
from depot_lite.images import ImageInfo, Rendition
from depot_lite.images.recipes import Recipe
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo, StoredFile
from depot_lite.previews import can_preview, preview, require_extra

__all__ = ["UploadedMedia"]

_log = logging.getLogger("depot_lite")


class UploadedMedia(UploadedImage):
    """Any file in a column, with variants if an image of it can be made.

    The settings are those of `UploadedImage`, and hold for images. A file that has no preview, since it is encrypted or
    broken, say, is stored without variants; so is one whose preview needs an extra that is not installed, and
    `regenerate` makes its variants later. Images and videos have ``width`` and ``height``, a video at most 4096.
    """

    __slots__ = ("_refused",)

    optional: ClassVar[bool] = True
    #: A video or a PDF is no stand-in for its image.
    unmade_variants: ClassVar[Literal["original", "none"]] = "none"
    analyzers: ClassVar[Sequence[Analyzer]] = ALL

    @classmethod
    def rendition_of(cls, original: StoredFile, recipe: Recipe) -> Rendition:
        """Return a rendition of a stored original, for variants on demand.

        Raises:
            ImageRefused: it is not an image that this class accepts, and has no preview, or an extra is missing.
            ImagesBusy: others were being decoded for too long.
            ConfigurationError: no worker can start.
        """
        if not can_preview(original.content_type):
            return super().rendition_of(original, recipe)
        if not _has_extra(original.content_type):
            message = f"an extra for previews of {original.content_type} is missing"
            raise ImageRefused(message, rule="format", value=original.content_type)
        return _rendered(cast(BinaryIO, original), original.content_type, {"": recipe})[1][""]

    @classmethod
    def _at_hand(cls, content: Content) -> AbstractContextManager[Content]:
        # Previews read parts only, and a video may have gigabytes.
        if content.rereadable and can_preview(content.content_type):
            return nullcontext(content)
        return super()._at_hand(content)

    def _render(
        self, source: Content, recipes: dict[str, Recipe], reduction: Recipe | None = None, *, strip: bool | None = None
    ) -> tuple[ImageInfo | None, dict[str, Rendition]]:
        content_type = source.content_type
        stripping = self.strip_metadata if strip is None else strip
        if not can_preview(content_type) or (stripping and content_type.startswith("video/")):
            return super()._render(source, recipes, reduction, strip=strip)
        object.__setattr__(self, "_refused", False)
        if not recipes or not _has_extra(content_type):
            return None, {}
        try:
            with source.open() as file:
                info, made = _rendered(file, content_type, recipes)
            return info if content_type.startswith("video/") else None, made
        except ImageRefused as error:
            _log.info("%r: %s", source.filename, error)
            object.__setattr__(self, "_refused", True)
        except (ImagesBusy, ConfigurationError) as error:
            _log.warning("no preview of %r was made: %s", source.filename, error)
        return None, {}

    def _set_entries(self, made: Mapping[str, Rendition], stored: Mapping[str, FileInfo]) -> None:
        super()._set_entries(made, stored)
        if getattr(self, "_refused", False):
            self[PREVIEW] = False

    def _is_refused(self, info: ImageInfo | None) -> bool:
        return bool(getattr(self, "_refused", False)) if can_preview(self.content_type) else super()._is_refused(info)

    @classmethod
    def _is_other(cls, value: DepotFileInfo) -> bool:
        if can_preview(str(value.get("content_type"))):
            return value.get(PREVIEW) is False
        return super()._is_other(value)


def _rendered(
    file: BinaryIO, content_type: str, recipes: Mapping[str, Recipe]
) -> tuple[ImageInfo, dict[str, Rendition]]:
    """Return the header data and the renditions of the preview of a file."""
    picture = preview(file, content_type)
    return images.render(BytesIO(picture.data), recipes, formats=("BMP",), max_pixels=None)


_lock: Final = threading.Lock()
_lacking: Final[set[str]] = set()


def _has_extra(content_type: str) -> bool:
    """Return whether previews of this type can be made; log once if they need an extra that is not installed."""
    try:
        require_extra(content_type)
        return True
    except ConfigurationError as error:
        message = str(error)
    with _lock:
        is_known = message in _lacking
        _lacking.add(message)
    if not is_known:
        _log.info("%s", message)
    return False
