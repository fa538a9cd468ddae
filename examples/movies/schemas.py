"""The JSON schemas of movies and their files."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel

from depot_lite import ImageVariant, UploadedFile, UploadedImage
from movies.models import Movie


class FileSchema(BaseModel):
    """A file. Its URL works for an hour, without a login."""

    filename: str
    content_type: str
    size: int | None
    checksum: str | None
    url: str

    @classmethod
    def of(cls, file: UploadedFile) -> Self:
        """Return the schema of a stored file."""
        return cls(**_keys_of(file))


class VariantSchema(BaseModel):
    """A variant of an image. The size of one that is made on demand is not known."""

    url: str | None
    width: int | None
    height: int | None
    size: int | None
    content_type: str | None

    @classmethod
    def of(cls, variant: ImageVariant) -> Self:
        """Return the schema of a variant."""
        return cls(
            url=variant.url,
            width=variant.width,
            height=variant.height,
            size=variant.size,
            content_type=variant.content_type,
        )


class ImageSchema(FileSchema):
    """An image with its variants."""

    width: int | None
    height: int | None
    variants: dict[str, VariantSchema]

    @classmethod
    def of(cls, file: UploadedFile) -> Self:
        """Return the schema of a stored image."""
        assert isinstance(file, UploadedImage)
        variants = {name: VariantSchema.of(each) for name, each in file.variants.items()}
        return cls(**_keys_of(file), width=file.width, height=file.height, variants=variants)


class MovieSchema(BaseModel):
    """A movie with all its files."""

    id: int
    title: str
    year: int
    poster: ImageSchema | None
    screenshots: list[ImageSchema]
    trailer: FileSchema | None
    soundtrack: FileSchema | None
    script: FileSchema | None

    @classmethod
    def of(cls, movie: Movie) -> Self:
        """Return the schema of a movie whose files are stored."""
        return cls(
            id=movie.id,
            title=movie.title,
            year=movie.year,
            poster=None if movie.poster is None else ImageSchema.of(movie.poster),
            screenshots=[ImageSchema.of(each) for each in movie.screenshots],
            trailer=_file_schema(movie.trailer),
            soundtrack=_file_schema(movie.soundtrack),
            script=_file_schema(movie.script),
        )


class PageSchema(BaseModel):
    """A page of the list of movies."""

    movies: list[MovieSchema]
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


def _file_schema(file: UploadedFile | None) -> FileSchema | None:
    return None if file is None else FileSchema.of(file)
