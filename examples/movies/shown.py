"""What the API shows of a movie and its files."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel

from depot_lite import ImageVariant, UploadedFile, UploadedImage
from movies.models import Movie


class ShownFile(BaseModel):
    """A file. Its URL works for an hour, for whoever has it."""

    filename: str
    content_type: str
    size: int | None
    checksum: str | None
    url: str

    @classmethod
    def of(cls, file: UploadedFile) -> Self:
        """Return what is shown of a stored file."""
        return cls(**_keys_of(file))


class ShownVariant(BaseModel):
    """What was made of an image."""

    url: str
    width: int
    height: int
    size: int
    content_type: str

    @classmethod
    def of(cls, variant: ImageVariant) -> Self:
        """Return what is shown of a variant."""
        return cls(
            url=variant.url,
            width=variant.width,
            height=variant.height,
            size=variant.size,
            content_type=variant.content_type,
        )


class ShownImage(ShownFile):
    """An image with its variants."""

    width: int | None
    height: int | None
    variants: dict[str, ShownVariant]

    @classmethod
    def of(cls, file: UploadedFile) -> Self:
        """Return what is shown of a stored image."""
        assert isinstance(file, UploadedImage)
        variants = {name: ShownVariant.of(each) for name, each in file.variants.items()}
        return cls(**_keys_of(file), width=file.width, height=file.height, variants=variants)


class ShownMovie(BaseModel):
    """A movie with all its files."""

    id: int
    title: str
    year: int
    poster: ShownImage | None
    screenshots: list[ShownImage]
    trailer: ShownFile | None
    soundtrack: ShownFile | None
    script: ShownFile | None

    @classmethod
    def of(cls, movie: Movie) -> Self:
        """Return what is shown of a movie whose files are stored."""
        return cls(
            id=movie.id,
            title=movie.title,
            year=movie.year,
            poster=None if movie.poster is None else ShownImage.of(movie.poster),
            screenshots=[ShownImage.of(each) for each in movie.screenshots],
            trailer=_shown(movie.trailer),
            soundtrack=_shown(movie.soundtrack),
            script=_shown(movie.script),
        )


class ShownPage(BaseModel):
    """A part of the list of movies."""

    movies: list[ShownMovie]
    page: int
    pages: int
    total: int


def _keys_of(file: UploadedFile) -> dict[str, Any]:
    return {
        "filename": file.filename,
        "content_type": file.content_type,
        "size": file.size,
        "checksum": file.checksum,
        "url": file.url,
    }


def _shown(file: UploadedFile | None) -> ShownFile | None:
    return None if file is None else ShownFile.of(file)
