"""`RenderedImage`: an image of whose original renditions are made, and stored beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import PurePath
from typing import Any, ClassVar, Final, Literal, Self

from depot_lite import images
from depot_lite.concurrency.threads import Batch
from depot_lite.errors import ImageRefused
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.specialized.presentation import PREVIEW, ImagePresentation
from depot_lite.fields.specialized.recipes import apply_recipes
from depot_lite.fields.specialized.variants import entries_of
from depot_lite.fields.upload import UploadedFile, at_hand
from depot_lite.images import ImageInfo, Rendition
from depot_lite.images.placeholder import SOURCE, placeholder_of
from depot_lite.images.recipes import Recipe
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo, StoredFile

#: The name of a rendition that no variant can have.
PLACEHOLDER: Final = "(placeholder)"


class RenderedImage(ImagePresentation):
    """An image whose renditions are made by the settings of its class; `UploadedImage` says when."""

    __slots__ = ()

    #: The maximum of width times height; None for no limit. Decompression bombs are refused by their headers.
    max_pixels: ClassVar[int | None] = images.MAX_PIXELS
    #: The allowed formats. The decoders of other formats are never called.
    formats: ClassVar[Collection[str]] = images.DEFAULT_FORMATS
    #: Whether to remove the metadata of the original, such as position and camera.
    strip_metadata: ClassVar[bool] = False
    #: ``"allow"`` takes a JPEG that lacks only its end, as browsers do; ``"refuse"`` refuses it, decoded or not.
    truncated: ClassVar[Literal["allow", "refuse"]] = "allow"
    #: Whether the row gets a placeholder to show until the image is loaded (`blurhash`, `dominant_colour`).
    placeholder: ClassVar[bool] = False

    derived_keys: ClassVar[Sequence[str]] = (
        *(*UploadedFile.derived_keys, "variants", "files", "width", "height", PREVIEW),
        *("blurhash", "dominant_colour"),
    )

    @classmethod
    def rendition_of(cls, original: StoredFile, recipe: Recipe) -> Rendition:
        """Return a rendition of a stored original, for variants on demand.

        Raises:
            ImageRefused: it is not an image that this class accepts.
        """
        options: dict[str, Any] = {"formats": cls.formats, "max_pixels": cls.max_pixels, "truncated": cls.truncated}
        with at_hand(Content.of(original)) as source, source.open() as file:
            return images.render(file, {"": recipe}, **options)[1][""]

    # --- making ---------------------------------------------------------------------------------------------------

    @classmethod
    def _at_hand(cls, content: Content) -> AbstractContextManager[Content]:
        """Provide content that can be read several times, whole."""
        return at_hand(content)

    def _render(
        self, source: Content, recipes: dict[str, Recipe], reduction: Recipe | None = None, *, strip: bool | None = None
    ) -> tuple[ImageInfo | None, dict[str, Rendition]]:
        """Return the header data of the image, and the renditions by the names of their recipes.

        For a file that is no image and is kept nevertheless: None, and no renditions.
        """
        strip = self.strip_metadata if strip is None else strip
        options = {"formats": self.formats, "max_pixels": self.max_pixels, "truncated": self.truncated}
        with source.open() as file:
            try:
                return apply_recipes(file, recipes, reduction, strip=strip, **options)
            except ImageRefused as error:
                if not self._is_kept(error, source.content_type):
                    raise
                return None, {}

    @classmethod
    def _is_kept(cls, error: ImageRefused, content_type: str) -> bool:
        """Return whether a file is stored although it is no image, or cannot be decoded.

        Metadata that has to go would stay in an image or a film that cannot be decoded, or is of another format.
        """
        if cls.strip_metadata:
            return cls.optional and error.rule == "format" and not content_type.startswith(("image/", "video/"))
        return cls.optional and error.rule in ("format", "decodable")

    @staticmethod
    def _placeholder_keys(made: dict[str, Rendition]) -> dict[str, str]:
        """Take the source of the placeholder out of the renditions, and return the keys that it gives."""
        if PLACEHOLDER not in made:
            return {}
        found = placeholder_of(made.pop(PLACEHOLDER).data)
        return {"blurhash": found.blurhash, "dominant_colour": found.dominant_colour}

    # --- storing --------------------------------------------------------------------------------------------------

    def _store_renditions(
        self, made: Mapping[str, Rendition], ids: Mapping[str, str], jobs: Sequence[Callable[[], None]] = ()
    ) -> dict[str, FileInfo]:
        """Store renditions under these ids, and do other jobs beside that."""
        storage, stored = self.depot, dict[str, FileInfo]()

        def store(name: str, rendition: Rendition) -> None:
            content = Content.of(rendition.data, self._name_of(name, rendition), rendition.content_type)
            stored[name] = storage.save(content, file_id=ids[name])

        jobs = [*jobs, *(partial(store, name, rendition) for name, rendition in made.items())]
        Batch(jobs, storage.concurrency, storage.thread_pools.storing).run()
        return stored

    def _name_of(self, name: str, rendition: Rendition) -> str:
        return f"{stem_of(self.filename)}-{name}{rendition.extension}"

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

    # --- variants of a stored image -------------------------------------------------------------------------------

    def make_variants(
        self, recipes: Mapping[str, Recipe], ids: Mapping[str, str]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Make variants of this stored image, and return keys that the row lacks, and the entries of the variants.

        The keys include those of the placeholder. For a file of which no image can be made, and that was kept
        nevertheless, there are no entries.

        Args:
            recipes: of the variants, by name.
            ids: the ids of their files, by name.

        Raises:
            ImageRefused: the stored original cannot be decoded.
            StoredFileNotFound: it is gone.
        """
        rendered = {**recipes, PLACEHOLDER: SOURCE} if self.lacks_placeholder else dict(recipes)
        with self.file as original, self._at_hand(Content.of(original)) as source:
            info, made = self._render(source, rendered, strip=False)
        lacking: dict[str, Any] = self._placeholder_keys(made)
        stored = self._store_renditions(made, ids)
        if self._is_refused(info) and not entries_of(self):
            lacking[PREVIEW] = False
        elif info is not None and "width" not in self:
            lacking.update(width=info.width, height=info.height)
        return lacking, {name: self._entry(made[name], stored[name], recipes[name]) for name in made}

    @property
    def lacks_placeholder(self) -> bool:
        """Whether this stored image is from before its class had a `placeholder`."""
        return self.placeholder and "blurhash" not in self and not self.pending and not self._is_other(self)

    def _is_refused(self, info: ImageInfo | None) -> bool:
        """Return whether no image can be made of the file, by the answer of `_render`."""
        return info is None

    def with_variants(self, entries: Mapping[str, Any], lacking: Mapping[str, Any]) -> Self:
        """Return this stored image with other variants.

        Args:
            entries: all its variants, by name.
            lacking: the keys that its row lacks.
        """
        former = {each["path"] for each in entries_of(self).values()}
        files = [path for path in self.paths if path not in former]
        files += [each["path"] for each in entries.values()]
        return self._with_data({**self, **lacking, "variants": dict(entries), "files": files})

    def updated_from(self, present: DepotFileInfo, is_born: Callable[[str], bool]) -> Self:
        """Return this stored image with the variants that its row has by now, and those that it is about to get."""
        updated = super().updated_from(present, is_born)
        if self.get("variants") == present.get("variants"):
            return updated
        born = {name: each for name, each in entries_of(self).items() if is_born(each["path"])}
        return updated.with_variants({**entries_of(updated), **born}, {}) if born else updated


def stem_of(filename: str | None) -> str:
    """Return a file name without its extension, with which the names of renditions begin."""
    return PurePath(filename or "unnamed").stem
