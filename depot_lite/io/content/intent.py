"""`FileIntent`: content, with the name, the type and the metadata to store it under."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depot_lite.errors import InvalidContent
from depot_lite.io.content.sources import type_of


class FileIntent:
    """Content, with the name and type under which to store it.

    They take precedence over those of the content itself. ``move=True`` hands over a file, given as `pathlib.Path`: the
    storage may rename it instead of copying it, and it is removed from its old place once it is stored. ``meta`` is
    metadata for the row, such as ``{"alt": "A cat"}``.

    Raises:
        InvalidContent: ``move=True`` with anything but a path.

    >>> FileIntent(b"a,b", "table.csv", "text/csv").fileinfo
    (b'a,b', 'table.csv', 'text/csv')
    """

    def __init__(
        self,
        content: Any,
        filename: str | None = None,
        content_type: str | None = None,
        *,
        move: bool = False,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        if move and not isinstance(content, Path):
            raise InvalidContent(f"FileIntent(..., move=True): expected a pathlib.Path, got {type_of(content)}")
        self._fileinfo = (content, filename, content_type)
        self.move = move
        self.meta = meta

    @property
    def fileinfo(self) -> tuple[Any, str | None, str | None]:
        """The content, the name and the type, as given."""
        return self._fileinfo

    def __repr__(self) -> str:
        """Show the arguments."""
        content, filename, content_type = self._fileinfo
        move = ", move=True" if self.move else ""
        return f"FileIntent({type_of(content)}, {filename!r}, {content_type!r}{move})"
