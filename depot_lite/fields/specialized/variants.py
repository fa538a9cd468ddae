"""`ImageVariant`: a variant of a stored image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from depot_lite.depots import Depots
from depot_lite.fields.upload import url_of, url_or_none
from depot_lite.io.interfaces import StoredFile


@dataclass(frozen=True, slots=True)
class ImageVariant:
    """A variant of a stored image, as described in the row.

    ``size`` is in bytes, ``width`` and ``height`` are in pixels. ``recipe`` is the `Recipe.fingerprint` of its recipe.
    """

    name: str
    depot_name: str
    path: str
    file_id: str
    filename: str
    width: int
    height: int
    content_type: str
    size: int
    recipe: str

    @property
    def file(self) -> StoredFile:
        """The stored file, opened again at each access.

        Raises:
            StoredFileNotFound: the file does not exist any more.
        """
        return Depots.get(self.depot_name).get(self.file_id)

    @property
    def url(self) -> str:
        """The storage's URL of the file if it has one, signed if its files are private; else the middleware's."""
        return url_of(self.depot_name, self.file_id)

    def as_dict(self) -> dict[str, Any]:
        """Return the variant as an ordinary dictionary for other programs: URL, name, type, size and dimensions."""
        keys = ("filename", "content_type", "size", "width", "height")
        return {"url": url_or_none(self.depot_name, self.file_id), **{key: getattr(self, key) for key in keys}}

    def url_for(
        self, *, expires_in: int | timedelta | None = None, download: bool = False, filename: str | None = None
    ) -> str:
        """Return a URL with options, as `UploadedFile.url_for` does."""
        name = self.filename if download and filename is None else filename
        return url_of(self.depot_name, self.file_id, expires_in=expires_in, download=download, filename=name)


class ImageVariants(Mapping[str, ImageVariant]):
    """The variants of one image, by name.

    Args:
        entries: the entries of the row by name; None for an image that is not stored yet.
        depot_name: the depot that holds them.
        filename: the name of the image, for messages.
    """

    def __init__(self, entries: Mapping[str, Any] | None, depot_name: str, filename: str) -> None:
        self._entries = entries
        self._depot_name = depot_name
        self._filename = filename

    def __getitem__(self, name: str) -> ImageVariant:
        """Return the variant of that name.

        Raises:
            KeyError: the image has no such variant; the message names those it has.
        """
        entry = (self._entries or {}).get(name)
        if entry is not None:
            keys = {key: entry[key] for key in _ENTRY_KEYS}
            return ImageVariant(name=name, depot_name=self._depot_name, **keys)
        if self._entries is None:
            raise KeyError(f"no variant {name!r}: {self._filename!r} is not stored yet, flush the session")
        existing = ", ".join(map(repr, self._entries)) or "none"
        raise KeyError(f"no variant {name!r} of {self._filename!r}; there is {existing}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries or ())

    def __len__(self) -> int:
        return len(self._entries or ())

    def __repr__(self) -> str:
        return repr(dict(self))


# The keys of an entry in the row: the depot is part of the path, and the name is the key of the entry.
_ENTRY_KEYS = tuple(name for name in ImageVariant.__dataclass_fields__ if name not in {"name", "depot_name"})
