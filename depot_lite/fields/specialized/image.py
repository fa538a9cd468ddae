"""`UploadedImage`: an image in a column, with variants that are stored and deleted with it.

::

    class Person(Base):
        photo: Mapped[UploadedImage | None] = mapped_column(
            UploadedFileField(
                upload_type=UploadedImage,
                variants={"small": Crop(128, 128), "large": Thumbnail(1600, 1600, format="WEBP")},
            )
        )

    person.photo.variants["small"].url

An image is decoded once for all its variants. An image that is refused leaves no files: most are refused by their
headers, before anything is stored, and if a truncated image fails later, the files stored so far are deleted. Variants
are files of the same value, so a rollback, a replacement, a deletion or a copy of the value includes them.

`UploadedImageWithThumb` is filedepot's class.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any, ClassVar, Final, TypeVar

from depot_lite import images
from depot_lite.concurrency.threads import Batch
from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.specialized.variants import ImageVariant, ImageVariants
from depot_lite.fields.upload import UploadedFile, at_hand, url_of
from depot_lite.fields.validators import Image
from depot_lite.images import ImageInfo, Rendition
from depot_lite.images.recipes import Recipe, Thumbnail
from depot_lite.io.content import Content
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileInfo, StoredFile

__all__ = ["ImageVariant", "UploadedImage", "UploadedImageWithThumb", "outdated", "regenerate"]

T = TypeVar("T", bound="UploadedImage")

#: How many processors this process may use.
PROCESSORS: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

# Names of renditions that no variant can have.
_ORIGINAL: Final = "(original)"
_THUMB: Final = "(thumb)"

# Names of variants become parts of file names, and keys of JSON that queries select.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class UploadedImage(UploadedFile):
    """An image in a column, and its variants.

    The row has the keys ``width``, ``height`` and ``variants`` in addition to those of `UploadedFile`. The class
    attributes are settings: override them in a subclass, and use that as ``upload_type``.
    """

    __slots__ = ()

    #: The maximum width and height of the stored original, in pixels. A larger image is reduced and encoded again, in
    #: its own format if browsers can show it. None stores originals byte for byte.
    max_size: ClassVar[int | None] = None
    #: The maximum of width times height; None for no limit. Decompression bombs are refused by their headers.
    max_pixels: ClassVar[int | None] = images.MAX_PIXELS
    #: The allowed formats. The decoders of other formats are never called.
    formats: ClassVar[Collection[str]] = images.FORMATS
    #: Whether to remove the metadata of the original, such as position and camera.
    strip_metadata: ClassVar[bool] = False

    workers: ClassVar[int] = PROCESSORS
    validators: ClassVar[Sequence[Any]] = (Image(formats=formats, max_pixels=max_pixels, decode=False),)

    def __init_subclass__(cls, **options: Any) -> None:
        """Check the limits of the subclass before anything is stored."""
        super().__init_subclass__(**options)
        if {"formats", "max_pixels"} & cls.__dict__.keys() and "validators" not in cls.__dict__:
            cls.validators = (Image(formats=cls.formats, max_pixels=cls.max_pixels, decode=False),)

    @classmethod
    def check_variants(cls, variants: Mapping[Any, Any]) -> None:
        """Raise ConfigurationError if a name cannot be part of a file name, or a value is not a recipe."""
        for name, recipe in variants.items():
            if not isinstance(name, str) or _NAME.fullmatch(name) is None:
                raise ConfigurationError(
                    f"variants: expected a name of 1 to 64 letters, digits, '-' and '_', got {name!r}"
                )
            if not isinstance(recipe, Recipe) or type(recipe) is Recipe:
                raise ConfigurationError(f"variants[{name!r}]: {recipe!r} is not a Thumbnail, a Crop or a Pad")
        cls._recipe_of_original()

    @property
    def width(self) -> int | None:
        """The width in pixels, as the image is displayed; None while pending and in rows of other classes."""
        width: int | None = self.get("width")
        return width

    @property
    def height(self) -> int | None:
        """The height in pixels, as the image is displayed; None while pending and in rows of other classes."""
        height: int | None = self.get("height")
        return height

    @property
    def variants(self) -> Mapping[str, ImageVariant]:
        """The stored variants by name; empty while pending."""
        entries = None if self.pending else self.get("variants") or {}
        return ImageVariants(entries, self.depot_name, self.filename)

    def _variants_as_dict(self) -> dict[str, dict[str, Any]]:
        return {name: variant.as_dict() for name, variant in self.variants.items()}

    # --- storing --------------------------------------------------------------------------------------------------

    def process_content(self, content: Any, filename: str | None = None, content_type: str | None = None) -> None:
        """Make the variants of the image, store all files, and set the keys that describe them.

        Raises:
            ImageRefused: the content is not an image, is truncated, or has too many pixels. No files are left.
        """
        with at_hand(self._opened(content, filename, content_type)) as source:
            if self._is_stored_unchanged(source):
                info, made = self._render_while_storing(source)
                original, job = None, None
            else:
                info, made = self._render(source, self._recipes(), self._recipe_of_original())
                original = made.pop(_ORIGINAL, None)
                job = self._job_of_original(source, info, original)
            self._set_size(original or info)
            self._set_entries(made, self._store_all(made, job))

    def _is_stored_unchanged(self, source: Content) -> bool:
        """Return whether the original is stored byte for byte, and can be read by two threads."""
        return self.max_size is None and not self.strip_metadata and isinstance(source.source, bytes | Path)

    def _render_while_storing(self, source: Content) -> tuple[ImageInfo, dict[str, Rendition]]:
        """Return the image's header data and variants, made while another thread stores the original."""
        found: list[tuple[ImageInfo, dict[str, Rendition]]] = []
        keep = partial(super().process_content, source, source.filename, source.declared_type)
        Batch([lambda: found.append(self._render(source, self._recipes())), keep], 2).run()
        return found[0]

    def _job_of_original(self, source: Content, info: ImageInfo, original: Rendition | None) -> Callable[[], None]:
        """Return a function that stores the original, or the reduced image in its place."""
        keep, name = super().process_content, source.filename
        if original is None:
            return partial(keep, source, name, source.declared_type)
        name = name if original.content_type == info.content_type else f"{_stem(name)}{original.extension}"
        return partial(keep, original.data, name, original.content_type)

    def _recipes(self) -> dict[str, Recipe]:
        """Return the recipes of the column's variants, and those that a subclass adds under other names."""
        return dict(self._pending_state().variants)

    @classmethod
    def _recipe_of_original(cls) -> Recipe | None:
        if cls.max_size is None:
            return None
        kept = not cls.strip_metadata
        return Thumbnail(cls.max_size, cls.max_size, animated=True, icc="keep", metadata=kept)

    def _render(
        self, source: Content, recipes: dict[str, Recipe], reduction: Recipe | None = None, *, strip: bool | None = None
    ) -> tuple[ImageInfo, dict[str, Rendition]]:
        """Return the header data of the image, and the renditions by the names of their recipes."""
        formats, max_pixels = self.formats, self.max_pixels
        with source.open() as file:
            info = images.probe(file, formats=formats, max_pixels=max_pixels)
            if reduction is not None and max(info.width, info.height) > reduction.width:
                recipes = {_ORIGINAL: reduction, **recipes}
            made: dict[str, Rendition] = {}
            if recipes:
                file.seek(0)
                info, made = images.render(file, recipes, formats=formats, max_pixels=max_pixels)
            if (self.strip_metadata if strip is None else strip) and _ORIGINAL not in made:
                file.seek(0)
                stripped = images.strip(file, formats=formats, max_pixels=max_pixels)
                made |= {} if stripped is None else {_ORIGINAL: stripped}
        return info, made

    def _store_all(
        self, made: Mapping[str, Rendition], original: Callable[[], None] | None = None
    ) -> dict[str, FileInfo]:
        """Store the original and the renditions, in parallel if the storage gains by it."""
        storage = self.depot
        ids = {name: new_file_id() for name in made}
        paths = [f"{self.depot_name}/{each}" for each in ids.values()]
        for path in paths:  # here, since the threads run in any order
            self._announce(path)
        stored: dict[str, FileInfo] = {}

        def store(name: str, rendition: Rendition) -> None:
            content = Content.of(rendition.data, self._name_of(name, rendition), rendition.content_type)
            stored[name] = storage.save(content, file_id=ids[name])

        jobs = [] if original is None else [original]
        jobs += [partial(store, name, rendition) for name, rendition in made.items()]
        Batch(jobs, storage.concurrency, storage.executor).run()
        self.files.extend(paths)
        return stored

    def _name_of(self, name: str, rendition: Rendition) -> str:
        return f"{_stem(self.filename)}-{name}{rendition.extension}"

    def _set_size(self, image: ImageInfo | Rendition) -> None:
        self["width"], self["height"] = image.width, image.height

    def _set_entries(self, made: Mapping[str, Rendition], stored: Mapping[str, FileInfo]) -> None:
        """Set the keys that describe the renditions."""
        self["variants"] = {
            name: self._entry(made[name], stored[name], recipe)
            for name, recipe in self._pending_state().variants.items()
        }

    def _entry(self, rendition: Rendition, info: FileInfo, recipe: Recipe) -> dict[str, Any]:
        return {
            "path": f"{self.depot_name}/{info.file_id}",
            "file_id": info.file_id,
            "filename": info.filename,
            "width": rendition.width,
            "height": rendition.height,
            "content_type": info.content_type,
            "size": info.content_length,
            "recipe": recipe.fingerprint,
        }

    # --- copies, with the same variants or new ones ---------------------------------------------------------------

    def _copy_files(self, original: DepotFileInfo) -> None:
        """Copy all files, but make the variants again if the column has other recipes by now."""
        renew = self.get("variants", _UNCHANGED) is None
        if not renew and not _differences(original, self._pending_state().variants):
            super()._copy_files(original)
            return
        with Depots.get_file(original["path"]) as stored, at_hand(Content.of(stored)) as source:
            info, made = self._render(source, self._recipes(), strip=False)
        super()._copy_files(self._without_renditions(original))
        self._set_size(info)
        self._set_entries(made, self._store_all(made))

    @classmethod
    def _without_renditions(cls, original: DepotFileInfo) -> UploadedFile:
        """Return a stored value without its renditions."""
        renditions = cls._rendition_paths(original)
        kept = {key: each for key, each in original.items() if key != "variants"}
        return UploadedFile({**kept, "files": [path for path in original.paths if path not in renditions]})

    @classmethod
    def _rendition_paths(cls, original: DepotFileInfo) -> set[str]:
        return {each["path"] for each in (original.get("variants") or {}).values()}


_UNCHANGED: Final = object()


def _stem(filename: str | None) -> str:
    return PurePath(filename or "unnamed").stem


def _differences(value: DepotFileInfo, variants: Mapping[str, Recipe]) -> list[str]:
    made = {name: each["recipe"] for name, each in (value.get("variants") or {}).items()}
    current = {name: recipe.fingerprint for name, recipe in variants.items()}
    return [name for name in dict.fromkeys((*current, *made)) if current.get(name) != made.get(name)]


def outdated(value: UploadedImage, variants: Mapping[str, Recipe]) -> list[str]:
    """Return the names of the variants of a stored image that are missing, superfluous, or made by another recipe.

    A pending value has none: it will be stored with the recipes of its column.
    """
    return [] if value.pending else _differences(value, variants)


def regenerate(value: T) -> T:
    """Return a pending value with the same original, whose variants are made again when it is stored.

    Assign it to the attribute of the image: the flush makes the present variants of the column from a copy of the
    original in the same depot. The former files are deleted at COMMIT, like those of any replaced value, and a rollback
    keeps them. A pending value is returned as it is.

    Raises:
        ImageRefused: at the flush, if the stored original cannot be decoded.
    """
    if value.pending:
        return value
    # A copy, since another transaction may replace the image before this one commits, and delete the original: our row
    # would then name a missing file.
    renewed = type(value).copy_of(value, value.depot_name)
    renewed["variants"] = None
    return renewed


class UploadedImageWithThumb(UploadedImage):
    """An image no larger than ``max_size`` with a thumbnail: filedepot's class, with its options, keys and rows.

    The image is decoded once, for its reduction, its thumbnail and any ``variants`` of the column.
    """

    __slots__ = ()

    max_size: ClassVar[int | None] = 1024
    #: The format of the thumbnail, one of `depot_lite.images.recipes.OUTPUT_FORMATS`.
    thumbnail_format: ClassVar[str] = "PNG"
    #: The maximum width and height of the thumbnail, in pixels.
    thumbnail_size: ClassVar[tuple[int, int]] = (128, 128)

    @classmethod
    def check_variants(cls, variants: Mapping[str, Any]) -> None:
        """Check the variants and the settings of the thumbnail."""
        super().check_variants(variants)
        cls._recipe_of_thumb()

    @classmethod
    def _recipe_of_thumb(cls) -> Recipe:
        return Thumbnail(*cls.thumbnail_size, format=cls.thumbnail_format)

    @property
    def thumb_id(self) -> str:
        """The key of the thumbnail in the depot of the image."""
        return str(self["thumb_id"])

    @property
    def thumb_path(self) -> str:
        """``depot_name/thumb_id``, for `DepotManager.get_file`."""
        return str(self["thumb_path"])

    @property
    def thumb_file(self) -> StoredFile:
        """The stored thumbnail, opened again at each access."""
        return self.depot.get(self.thumb_id)

    @property
    def thumb_url(self) -> str:
        """The URL of the thumbnail, made like ``url`` of the image."""
        return url_of(self.depot_name, self.thumb_id, self.get("_thumb_public_url"))

    def _recipes(self) -> dict[str, Recipe]:
        return {_THUMB: self._recipe_of_thumb(), **super()._recipes()}

    def _name_of(self, name: str, rendition: Rendition) -> str:
        if name == _THUMB:
            return f"thumb.{self.thumbnail_format.lower()}"
        return super()._name_of(name, rendition)

    def _set_entries(self, made: Mapping[str, Rendition], stored: Mapping[str, FileInfo]) -> None:
        super()._set_entries(made, stored)
        self["thumb_id"] = file_id = stored[_THUMB].file_id
        self["thumb_path"] = f"{self.depot_name}/{file_id}"
        self["_thumb_public_url"] = self.depot.public_url(file_id)

    def _copy_files(self, original: DepotFileInfo) -> None:
        super()._copy_files(original)
        if "thumb_id" in self:
            self["_thumb_public_url"] = self.depot.public_url(self.thumb_id)

    @classmethod
    def _rendition_paths(cls, original: DepotFileInfo) -> set[str]:
        return super()._rendition_paths(original) | {str(original.get("thumb_path"))}
