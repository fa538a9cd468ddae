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
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from depot_lite.concurrency.threads import Batch
from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.specialized.presentation import PREVIEW
from depot_lite.fields.specialized.recipes import ORIGINAL, check_recipes
from depot_lite.fields.specialized.rendered import PLACEHOLDER, RenderedImage, stem_of
from depot_lite.fields.specialized.variants import ImageVariant, differences, entries_of, moved_variants
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.urls import url_of
from depot_lite.fields.validators import Image
from depot_lite.images import ImageInfo, Rendition
from depot_lite.images.placeholder import SOURCE
from depot_lite.images.recipes import Recipe, Thumbnail, for_meta
from depot_lite.io.content import Content
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileInfo, StoredFile

__all__ = ["ImageVariant", "UploadedImage", "UploadedImageWithThumb", "outdated", "regenerate"]

T = TypeVar("T", bound="UploadedImage")

#: How many processors this process may use.
PROCESSORS: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

# The name of a rendition that no variant can have.
_THUMB: Final = "(thumb)"


class UploadedImage(RenderedImage):
    """An image in a column, and its variants.

    The row has the keys ``width``, ``height`` and ``variants`` in addition to those of `UploadedFile`. The class
    attributes are settings: override them in a subclass, and use that as ``upload_type``.
    """

    __slots__ = ()

    #: The maximum width and height of the stored original, in pixels. A larger image is reduced and encoded again, in
    #: its own format if browsers can show it. None stores originals byte for byte.
    max_size: ClassVar[int | None] = None
    workers: ClassVar[int] = PROCESSORS
    #: The rule that comes from the settings of the class.
    _check: ClassVar[Image] = Image(formats=RenderedImage.formats, max_pixels=RenderedImage.max_pixels, decode=False)
    validators: ClassVar[Sequence[Any]] = (_check,)

    def __init_subclass__(cls, **options: Any) -> None:
        """Check the limits of the subclass before anything is stored."""
        super().__init_subclass__(**options)
        for name in ("strip_metadata", "optional", "placeholder"):
            if not isinstance(getattr(cls, name), bool):
                raise ConfigurationError(f"{cls.__name__}.{name} = {getattr(cls, name)!r}: expected True or False")
        if cls.unmade_variants not in ("original", "none"):
            raise ConfigurationError(
                f"{cls.__name__}.unmade_variants = {cls.unmade_variants!r}: expected 'original' or 'none'"
            )
        former, check = (
            cls._check,
            Image(formats=cls.formats, max_pixels=cls.max_pixels, truncated=cls.truncated, decode=False),
        )
        others = [each for each in cls.validators if each is not former]
        if "validators" not in cls.__dict__ and len(others) < len(cls.validators):
            cls._check, cls.validators = check, others if cls.optional else (check, *others)

    @classmethod
    def check_variants(cls, variants: Mapping[Any, Any]) -> None:
        """Raise ConfigurationError if a name cannot be part of a file name, or a value is not a recipe."""
        check_recipes(variants)
        cls._recipe_of_original()

    # --- storing --------------------------------------------------------------------------------------------------

    def process_content(self, content: Any, filename: str | None = None, content_type: str | None = None) -> None:
        """Make the variants of the image, store all files, and set the keys that describe them.

        Raises:
            ImageRefused: the content is not an image, is truncated, or has too many pixels. No files are left. If the
                class is `optional`, a file that is no image is stored without variants.
        """
        with self._at_hand(self._opened(content, filename, content_type)) as source:
            if self._is_stored_unchanged(source):
                info, made = self._render_while_storing(source)
                original, job = None, None
            else:
                info, made = self._render(source, self._recipes(), self._recipe_of_original())
                original = made.pop(ORIGINAL, None)
                job = self._job_of_original(source, info, original)
            self._set_size(original or info)
            self._set_placeholder(made)
            self._set_entries(made, self._store_all(made, job))

    def _is_stored_unchanged(self, source: Content) -> bool:
        """Return whether the original is stored byte for byte, and can be read by two threads."""
        return self.max_size is None and not self.strip_metadata and isinstance(source.source, bytes | Path)

    def _render_while_storing(self, source: Content) -> tuple[ImageInfo | None, dict[str, Rendition]]:
        """Return the image's header data and variants, made while another thread stores the original."""
        found: list[tuple[ImageInfo | None, dict[str, Rendition]]] = []
        keep = partial(super().process_content, source, source.filename, source.declared_type)
        executor = Depots.get(self.depot_name).thread_pools.storing
        Batch([lambda: found.append(self._render(source, self._recipes())), keep], 2, executor).run()
        return found[0]

    def _job_of_original(
        self, source: Content, info: ImageInfo | None, original: Rendition | None
    ) -> Callable[[], None]:
        """Return a function that stores the original, or the reduced image in its place."""
        keep, name = super().process_content, source.filename
        if original is None:
            return partial(keep, source, name, source.declared_type)
        name = name if info and original.content_type == info.content_type else f"{stem_of(name)}{original.extension}"
        return partial(keep, original.data, name, original.content_type)

    def _recipes(self) -> dict[str, Recipe]:
        """Return the recipes of the variants to make now, and those that a subclass adds under other names."""
        recipes = {name: each for name, each in self._resolved_variants().items() if each.make == "now"}
        return {**recipes, PLACEHOLDER: SOURCE} if self.placeholder else recipes

    def _resolved_variants(self) -> dict[str, Recipe]:
        """Return the recipes of the column, by name, for the metadata of this pending image."""
        return for_meta(self._pending_state().variants, self.get("meta"))

    @classmethod
    def _recipe_of_original(cls) -> Recipe | None:
        if cls.max_size is None:
            return None
        kept = not cls.strip_metadata
        return Thumbnail(cls.max_size, cls.max_size, animated=True, icc="keep", metadata=kept)

    def _store_all(
        self, made: Mapping[str, Rendition], original: Callable[[], None] | None = None
    ) -> dict[str, FileInfo]:
        """Store the original and the renditions, in parallel if the storage gains by it."""
        ids = {name: new_file_id() for name in made}
        paths = [f"{self.depot_name}/{each}" for each in ids.values()]
        for path in paths:  # here, since the threads run in any order
            self._announce(path)
        stored = self._store_renditions(made, ids, [] if original is None else [original])
        self.files.extend(paths)
        return stored

    def _set_size(self, image: ImageInfo | Rendition | None) -> None:
        if image is not None:
            self["width"], self["height"] = image.width, image.height

    def _set_placeholder(self, made: dict[str, Rendition]) -> None:
        self.update(self._placeholder_keys(made))

    def _set_entries(self, made: Mapping[str, Rendition], stored: Mapping[str, FileInfo]) -> None:
        """Set the keys that describe the renditions."""
        self.pop(PREVIEW, None)
        self["variants"] = {
            name: self._entry(made[name], stored[name], recipe)
            for name, recipe in self._resolved_variants().items()
            if name in made
        }

    # --- copies, with the same variants or new ones ---------------------------------------------------------------

    def _copy_files(self, original: DepotFileInfo) -> None:
        """Copy all files, but make the variants again if the column has other recipes by now."""
        renew = self.get("variants", _UNCHANGED) is None
        is_image = renew or not self._is_other(original)
        variants = self._resolved_variants()
        if not is_image or (not renew and not differences(original, variants, ("now",))):
            super()._copy_files(original)
            return
        with Depots.get_file(original["path"]) as stored, self._at_hand(Content.of(stored)) as source:
            info, made = self._render(source, self._recipes(), strip=False)
        super()._copy_files(self._without_renditions(original))
        self._set_size(info)
        self._set_placeholder(made)
        self._set_entries(made, self._store_all(made))

    @classmethod
    def _without_renditions(cls, original: DepotFileInfo) -> UploadedFile:
        """Return a stored value without its renditions."""
        renditions = cls._rendition_paths(original)
        kept = {key: each for key, each in original.items() if key != "variants"}
        return UploadedFile({**kept, "files": [path for path in original.paths if path not in renditions]})

    @classmethod
    def _rendition_paths(cls, original: DepotFileInfo) -> set[str]:
        return {each["path"] for each in entries_of(original).values()}


_UNCHANGED: Final = object()


def missing_variants(
    value: DepotFileInfo, variants: Mapping[str, Recipe], make: Collection[str] = ("now", "later")
) -> list[str]:
    """Return the names of the variants that a stored image lacks, of those that are to be made at one of these times.

    It lacks those that show another point than the one in its metadata, too. A file that is no image lacks none.
    """
    if not isinstance(value, UploadedImage) or value.pending or value._is_other(value):
        return []
    made, moved = entries_of(value), {name for each in make for name in moved_variants(value, variants, each)}
    return [name for name, recipe in variants.items() if recipe.make in make and (name not in made or name in moved)]


def outdated(value: UploadedImage, variants: Mapping[str, Recipe]) -> list[str]:
    """Return the names of the variants of a stored image that are missing, superfluous, or made by another recipe.

    A pending value has none: it will be stored with the recipes of its column. Neither has a file that is no image.
    """
    return [] if value.pending or value._is_other(value) else differences(value, variants)


def regenerate(value: T) -> T:
    """Return a pending value with the same original, whose variants are made again when it is stored.

    Assign it to the attribute of the image: the flush makes the present variants of the column from a copy of the
    original in the same depot. The former files are deleted at COMMIT, like those of any replaced value, and a rollback
    keeps them. A pending value is returned as it is.

    The original is copied since the value is a pending one like any other: it may be assigned to another attribute, to
    several rows by one statement, or again after a rollback, and until then the original may be gone.
    `depot_lite.maintenance.regenerate_variants` leaves it where it is: it locks the row, and enters the new variants if
    the row still names the image.

    Raises:
        ImageRefused: at the flush, if the stored original cannot be decoded.
    """
    if value.pending:
        return value
    # Another transaction may replace the image before this one commits, and delete the original: our row would then
    # name a missing file.
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
        return self._required("thumb_id", str)

    @property
    def thumb_path(self) -> str:
        """``depot_name/thumb_id``, for `DepotManager.get_file`."""
        return self._required("thumb_path", str)

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
        if _THUMB not in stored:
            return
        self["thumb_id"] = file_id = stored[_THUMB].file_id
        self["thumb_path"] = f"{self.depot_name}/{file_id}"
        self["_thumb_public_url"] = self.depot.url_for_row(file_id)

    def _copy_files(self, original: DepotFileInfo) -> None:
        super()._copy_files(original)
        if "thumb_id" in self:
            self["_thumb_public_url"] = self.depot.url_for_row(self.thumb_id)

    @classmethod
    def _rendition_paths(cls, original: DepotFileInfo) -> set[str]:
        return super()._rendition_paths(original) | {str(original.get("thumb_path"))}
