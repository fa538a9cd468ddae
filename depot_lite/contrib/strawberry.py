"""A type of Strawberry, for GraphQL, for files.

::

    @strawberry.type
    class Movie:
        title: str
        poster: File | None

    Movie(title=movie.title, poster=File.of(movie.poster))

Mutations take files by Strawberry's own scalar ``Upload``, or as tokens of direct uploads.
"""

from __future__ import annotations

from typing import Any

import strawberry
from strawberry.scalars import JSON

from depot_lite.fields.upload import UploadedFile

__all__ = ["File", "FileVariant"]


@strawberry.type
class FileVariant:
    """A variant of an image; ``size`` is in bytes, ``width`` and ``height`` are in pixels, as far as they are known."""

    name: str
    url: str | None
    filename: str
    content_type: str | None
    size: float | None
    width: int | None
    height: int | None


@strawberry.type
class File:
    """A file, with the keys of `UploadedFile.as_dict`; ``size`` is no Int, which ends at 2 GiB."""

    url: str | None
    filename: str
    content_type: str
    size: float | None
    checksum: str | None
    width: int | None
    height: int | None
    uploaded_at: str | None
    variants: list[FileVariant]
    meta: JSON
    facts: JSON

    @classmethod
    def of(cls, value: UploadedFile | None) -> File | None:
        """Return the file of an attribute, None if it has none."""
        if value is None:
            return None
        data: dict[str, Any] = {**value.as_dict()}
        data["variants"] = [FileVariant(name=name, **each) for name, each in data["variants"].items()]
        return cls(**data)
