"""`Pending`: the state of a value whose bytes have not been stored yet."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from depot_lite.io.content import Content
from depot_lite.uploads import Upload

if TYPE_CHECKING:
    from depot_lite.fields.interfaces import DepotFileInfo


@dataclass(slots=True)
class Pending:
    """The content to store, and the attribute to store it for.

    A value shares its content with its twins and copies; the rest is its own.
    """

    #: None if the content is the file of ``original`` or, outside a flush, that of ``adopts``.
    content: Content | None
    #: The stored value to copy, if one was assigned.
    original: DepotFileInfo | None = None
    depot_chosen: bool = False
    #: Set by the first attribute that takes the value; a second attribute gets a value of its own.
    owner: tuple[weakref.ref[Any], str] | None = None
    #: The files stored so far.
    paths: list[str] = field(default_factory=list)
    #: Called with the path of each file before its first byte moves.
    announce: Callable[[str], None] | None = None
    #: The argument of `process_content`, and ``original_content`` for filters.
    handed_in: Any = None
    #: The column's variants, while the value is being stored.
    variants: Mapping[str, Any] = field(default_factory=dict)
    #: The direct upload whose file becomes the content during a flush (`depot_lite.fields.adoption`).
    adopts: Upload | None = None
    #: The element of the same list of which this value is a copy. Swapping two elements duplicates one for a moment.
    duplicate_of: DepotFileInfo | None = None

    def source(self) -> Pending:
        """Return the state that has the content: an original's, if a rollback has made the original pending again."""
        state = self
        while state.original is not None and (snapshot := state.original.waiting()) is not None:
            state = snapshot[0]
        return state
