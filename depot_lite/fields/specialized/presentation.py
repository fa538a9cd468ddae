"""`ImagePresentation`: an image on a page: its size, its variants, its placeholder, and their HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal, cast

from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.schema import ImageData, VariantData
from depot_lite.fields.specialized import markup
from depot_lite.fields.specialized.variants import ImageVariant, ImageVariants, entries_of
from depot_lite.fields.upload import UploadedFile
from depot_lite.images.placeholder import data_url
from depot_lite.images.recipes import for_meta

#: A key of rows whose file can have no variants, as was found when they were made.
PREVIEW: Final = "preview"


class ImagePresentation(UploadedFile):
    """An image as pages and APIs show it; `UploadedImage` stores it."""

    __slots__ = ()

    #: Whether a file that is no image is kept, without variants, instead of refused.
    optional: ClassVar[bool] = False
    #: The URL of a variant that the column declares and the row does not have yet, unless it is made on demand:
    #: ``"original"`` for that of the original, ``"none"`` for None.
    unmade_variants: ClassVar[Literal["original", "none"]] = "original"

    @property
    def width(self) -> int | None:
        """The width in pixels, as the image is displayed; None while pending and in rows of other classes."""
        return self._optional("width", int)

    @property
    def height(self) -> int | None:
        """The height in pixels, as the image is displayed; None while pending and in rows of other classes."""
        return self._optional("height", int)

    @property
    def variants(self) -> Mapping[str, ImageVariant]:
        """The variants by name, those of the row and those that the column declares; empty while pending."""
        entries = None if self.pending else entries_of(self)
        declared = {} if self._is_other(self) else for_meta(self.declared_variants, self.get("meta"))
        return ImageVariants(self, entries, declared, show_original=self.unmade_variants == "original")

    @property
    def blurhash(self) -> str | None:
        """The BlurHash of the image (https://blurha.sh), 28 characters; None if the class has no `placeholder`."""
        return self._optional("blurhash", str)

    @property
    def dominant_colour(self) -> str | None:
        """The most frequent colour of the image, as ``#rrggbb``; None if the class has no `placeholder`."""
        return self._optional("dominant_colour", str)

    @property
    def placeholder_url(self) -> str | None:
        """A blurred picture of a few pixels as a ``data:`` URL of about 400 bytes; None without a `blurhash`.

        Raises:
            DamagedReference: the row has another text there.
        """
        if self.blurhash is None:
            return None
        try:
            return data_url(self.blurhash, self.width or 1, self.height or 1)
        except ValueError:
            raise self._damage("blurhash", "as UploadedImage writes it") from None

    def srcset(self, *names: str) -> str:
        """Return the value of a ``srcset`` attribute with these variants, by default all; empty while pending.

        Variants of the same width are listed once: no variant is wider than its original. In a template that does not
        escape by itself, it has to be escaped.

        Raises:
            KeyError: the column declares no variant of such a name.
        """
        return markup.srcset(self._sources(names))

    def picture(
        self, *names: str, sizes: str | None = None, alt: str | None = None, **attributes: object
    ) -> markup.Html:
        """Return a ``<picture>`` with these variants, by default all, as HTML that templates do not escape.

        It has the size of the image, so that the page does not move while it loads, and the placeholder, if there is
        one, as its background; ``loading`` is ``"lazy"`` unless given. Empty while pending, and for a
        file that is no image and has no variants.

        Args:
            names: of variants.
            sizes: the width of the image on the page, such as ``"(min-width: 60em) 50vw, 100vw"``.
            alt: the text for those who do not see the image, by default ``meta["alt"]``.
            attributes: others of the ``<img>``, such as ``class_="wide"``; None leaves one out.

        Raises:
            KeyError: the column declares no variant of such a name.
            ValueError: an attribute has no valid name.
        """
        if self.pending:
            return markup.Html()
        defaults = {"alt": self.meta.get("alt", "") if alt is None else alt, "width": self.width, "height": self.height}
        if self.blurhash is not None:
            background = f"{self.dominant_colour} url({self.placeholder_url}) center / cover no-repeat"
            defaults["style"] = f"background: {background}"
        given = {**defaults, "loading": "lazy", **markup.attributes_of(attributes)}
        return markup.picture(self._sources(names), self, sizes=sizes, attributes=given)

    def _sources(self, names: Sequence[str]) -> list[ImageVariant]:
        if self.pending:
            return []
        variants = self.variants
        # A file that is no image lacks those that its column declares.
        return [variants[name] for name in names or variants if name in variants or name not in self.declared_variants]

    def as_dict(self) -> ImageData:
        """Return the image as `UploadedFile.as_dict` does, with its placeholder if it has one."""
        data = cast("ImageData", super().as_dict())
        if self.blurhash is not None:
            data |= {"blurhash": self.blurhash, "dominant_colour": self.dominant_colour}
        return data

    def _variants_as_dict(self) -> dict[str, VariantData]:
        return {name: variant.as_dict() for name, variant in self.variants.items()}

    @classmethod
    def _is_other(cls, value: DepotFileInfo) -> bool:
        """Return whether a stored file was kept although it is no image; of other columns, it may be one."""
        is_refused = "width" not in value or value.get(PREVIEW) is False
        return cls.optional and is_refused and value.get("variants") is not None
