"""`ImageVariant`: a variant of a stored image, whether its file has been made or not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import PurePath
from typing import Any, Final

from depot_lite import rendering
from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, DamagedReference, StoredFileNotFound
from depot_lite.fields.interfaces import RENAMED, DepotFileInfo
from depot_lite.fields.schema import VariantData
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.urls import url_of, url_or_none
from depot_lite.focus import is_moved
from depot_lite.images.headers import output_type
from depot_lite.images.recipes import Recipe, for_meta
from depot_lite.io.content import encodable
from depot_lite.io.fileid import derived_id
from depot_lite.io.interfaces import StoredFile
from depot_lite.renditions import Requested, has_point


@dataclass(frozen=True, slots=True)
class ImageVariant:
    """A variant of a stored image.

    ``size`` is in bytes, ``width`` and ``height`` are in pixels; each is None if it is not known. ``recipe`` is the
    `Recipe.fingerprint` of its recipe.
    """

    name: str
    depot_name: str
    path: str
    file_id: str
    filename: str
    width: int | None
    height: int | None
    content_type: str | None
    size: int | None
    recipe: str

    @property
    def file(self) -> StoredFile:
        """The stored file, opened again at each access. A variant on demand is made if it is not there.

        Raises:
            StoredFileNotFound: the file does not exist any more, or cannot be made.
        """
        return Depots.get(self.depot_name).get(self.file_id)

    @property
    def url(self) -> str | None:
        """The storage's URL of the file if it has one, signed if its files are private; else the middleware's.

        That of a variant on demand is always the middleware's, which makes the file. A variant that is not made yet
        has the URL of its original, or None (`UploadedImage.unmade_variants`).
        """
        return url_of(self.depot_name, self.file_id)

    @property
    def is_unmade(self) -> bool:
        """Whether it has yet to be made, by a task or `regenerate_variants`; a variant on demand never has."""
        return False

    def as_dict(self) -> VariantData:
        """Return the variant as an ordinary dictionary for other programs: URL, name, type, size and dimensions."""
        return {
            "url": self._url_or_none(),
            "filename": self.filename,
            "content_type": self.content_type,
            "size": self.size,
            "width": self.width,
            "height": self.height,
        }

    def _url_or_none(self) -> str | None:
        return url_or_none(self.depot_name, self.file_id)

    def url_for(
        self,
        *,
        expires_in: int | timedelta | None = None,
        download: bool = False,
        filename: str | None = None,
        absolute: bool = False,
    ) -> str | None:
        """Return a URL with options, as `UploadedFile.url_for` does."""
        name = self.filename if download and filename is None else filename
        return url_of(
            self.depot_name,
            self.file_id,
            expires_in=expires_in,
            download=download,
            filename=name,
            absolute=absolute,
        )


@dataclass(frozen=True, slots=True)
class _OnDemand(ImageVariant):
    """A variant that is made at the first request."""

    original: UploadedFile = field(repr=False, compare=False)

    @property
    def file(self) -> StoredFile:
        return rendering.made_file(Depots.find(self.depot_name), self.original.file_id, self.recipe)

    @property
    def url(self) -> str:
        return self.url_for()

    def _url_or_none(self) -> str | None:
        return self.url_for() if Depots.has_middleware() else None

    def url_for(
        self,
        *,
        expires_in: int | timedelta | None = None,
        download: bool = False,
        filename: str | None = None,
        absolute: bool = False,
    ) -> str:
        path = f"{self.depot_name}/{self._requested()}"
        name = self.filename if download and filename is None else filename
        label = self.filename if RENAMED in self.original else None
        return Depots.url_for(
            path, expires_in=expires_in, download=download, filename=name, label=label, absolute=absolute
        )

    def _requested(self) -> Requested:
        """Return the part of the URL that stands for the file.

        Raises:
            ConfigurationError: it needs a signature, and no signing keys have been set.
        """
        file_id = self.original.file_id
        if not has_point(self.recipe):
            return Requested(file_id, self.recipe)
        try:
            signature = Depots.signer().variant_signature(file_id, self.recipe)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"the URL of the variant {self.name!r}, which follows the focus of its image, is signed: {error}"
            ) from None
        return Requested(file_id, self.recipe, signature)


@dataclass(frozen=True, slots=True)
class _Unmade(ImageVariant):
    """A variant that has yet to be made: by a task, or by `regenerate_variants`.

    ``stand_in`` is the original if it is shown meanwhile, None if nothing is.
    """

    stand_in: UploadedFile | None = field(repr=False, compare=False)

    @property
    def is_unmade(self) -> bool:
        return True

    @property
    def file(self) -> StoredFile:
        if self.stand_in is None:
            raise StoredFileNotFound(f"variant {self.name!r} of {self.filename!r} has not been made yet")
        return self.stand_in.file

    @property
    def url(self) -> str | None:
        return None if self.stand_in is None else self.stand_in.url

    def _url_or_none(self) -> str | None:
        image = self.stand_in
        return None if image is None else url_or_none(image.depot_name, image.file_id, image.get("_public_url"))

    def url_for(
        self,
        *,
        expires_in: int | timedelta | None = None,
        download: bool = False,
        filename: str | None = None,
        absolute: bool = False,
    ) -> str | None:
        if self.stand_in is None:
            return None
        return self.stand_in.url_for(expires_in=expires_in, download=download, filename=filename, absolute=absolute)


class ImageVariants(Mapping[str, ImageVariant]):
    """The variants of one image, by name: those of its row, and those that its column declares.

    Args:
        image: the value.
        entries: the entries of the row by name; None for an image that is not stored yet.
        declared: the recipes of the column by name, for the metadata of the image.
        show_original: whether the original stands for a variant that has yet to be made.
    """

    def __init__(
        self,
        image: UploadedFile,
        entries: Mapping[str, Any] | None,
        declared: Mapping[str, Recipe],
        *,
        show_original: bool = True,
    ) -> None:
        self._image = image
        self._entries = entries
        self._declared = {} if entries is None else declared
        self._show_original = show_original

    def __getitem__(self, name: str) -> ImageVariant:
        """Return the variant of that name: the one in the row, unless it is on demand and has another recipe by now.

        Raises:
            KeyError: the image has no such variant, and its column declares none; the message names those that exist.
        """
        entry, recipe = (self._entries or {}).get(name), self._declared.get(name)
        outdated = recipe is not None and recipe.make == "on_demand" and entry and entry["recipe"] != recipe.fingerprint
        if entry is not None and not outdated:
            keys: dict[str, Any] = {
                key: encodable(entry[key]) if kind is str else entry[key] for key, kind in _ENTRY_KEYS.items()
            }
            return ImageVariant(name=name, depot_name=self._image.depot_name, **keys)
        if recipe is not None:
            return self._of_recipe(name, recipe)
        if self._entries is None:
            raise KeyError(f"no variant {name!r}: {self._image.filename!r} is not stored yet, flush the session")
        existing = ", ".join(map(repr, self)) or "none: its column declares none, or no image of the file can be made"
        raise KeyError(f"no variant {name!r} of {self._image.filename!r}; there is {existing}")

    def _of_recipe(self, name: str, recipe: Recipe) -> ImageVariant:
        """Return a variant that the row does not have."""
        image, fingerprint = self._image, recipe.fingerprint
        size = image._optional("width", int), image._optional("height", int)
        if recipe.make != "on_demand" and self._show_original:
            names = name, image.depot_name, image.path, image.file_id, image.filename
            return _Unmade(*names, *size, image.content_type, image.size, fingerprint, stand_in=image)
        file_id = derived_id(image.file_id, fingerprint)
        content_type, extension = output_type(recipe.format, image.content_type)
        filename = f"{PurePath(image.filename).stem}-{name}{extension}"
        names = name, image.depot_name, f"{image.depot_name}/{file_id}", file_id, filename
        details = *names, *recipe.size_for(*size), content_type, None, fingerprint
        if recipe.make == "on_demand":
            return _OnDemand(*details, original=image)
        return _Unmade(*details, stand_in=None)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._declared, *(self._entries or ())]))

    def __len__(self) -> int:
        return len({*self._declared, *(self._entries or ())})

    def __repr__(self) -> str:
        return repr(dict(self))


# The keys of an entry in the row: the depot is part of the path, and the name is the key of the entry.
_ENTRY_KEYS: Final = {
    name: int if name in {"width", "height", "size"} else str
    for name in ImageVariant.__dataclass_fields__
    if name not in {"name", "depot_name"}
}


def entries_of(value: DepotFileInfo) -> Mapping[str, Any]:
    """Return the entries of a value's variants by name.

    Raises:
        DamagedReference: the row has other data there.
    """
    entries = value.get("variants") or {}
    if isinstance(entries, dict) and all(map(_is_entry, entries.values())):
        return entries
    raise DamagedReference(entries, str(value.get("path")), "variants as UploadedImage writes them")


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and all(entry.get(key).__class__ is kind for key, kind in _ENTRY_KEYS.items())


def differences(
    value: DepotFileInfo, variants: Mapping[str, Recipe], make: Collection[str] = ("now", "later")
) -> list[str]:
    """Return the names of the variants that a value lacks, has without a recipe, or has by another recipe.

    Args:
        value: a stored image.
        variants: the recipes of its column, by name.
        make: a variant is lacking if its recipe makes it at one of these times.
    """
    made, recipes = {name: each["recipe"] for name, each in entries_of(value).items()}, _recipes_for(value, variants)
    current = {name: recipe.fingerprint for name, recipe in recipes.items() if name in made or recipe.make in make}
    return [name for name in dict.fromkeys((*current, *made)) if current.get(name) != made.get(name)]


def moved_variants(value: DepotFileInfo, variants: Mapping[str, Recipe], make: str) -> list[str]:
    """Return the names of the variants that show another point of an image than the one in its metadata.

    Args:
        value: a stored image.
        variants: the recipes of its column, by name.
        make: the time at which they are made.
    """
    if not any(recipe.follows_focus and recipe.make == make for recipe in variants.values()):
        return []
    made = entries_of(value)
    return [
        name
        for name, recipe in _recipes_for(value, variants).items()
        if recipe.make == make and name in made and is_moved(made[name]["recipe"], recipe.fingerprint)
    ]


def has_moved(before: DepotFileInfo, after: DepotFileInfo, variants: Mapping[str, Recipe], make: str) -> bool:
    """Return whether variants that are made at this time depend on a point in which the metadata of an image differ."""
    recipes = {name: recipe for name, recipe in variants.items() if recipe.make == make and recipe.follows_focus}
    return bool(recipes) and _recipes_for(before, recipes) != _recipes_for(after, recipes)


def _recipes_for(value: DepotFileInfo, variants: Mapping[str, Recipe]) -> dict[str, Recipe]:
    return for_meta(variants, value.get("meta"))
