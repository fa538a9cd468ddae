"""Refocus: variants that show another point of their image than its metadata by now are made again in the flush.

They are stored before the row is written, and born in the open transaction; the former ones are condemned with the
value that the row holds until then. Variants that are made later are left to `depot_lite.fields.tracking.later`, and
those on demand have other URLs.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from depot_lite.depots import discard
from depot_lite.errors import DepotError, ValidationError
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.pending import Pending
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.specialized.variants import entries_of, moved_variants
from depot_lite.fields.tracking import transfers
from depot_lite.fields.tracking.births import VariantBirth
from depot_lite.fields.tracking.ledger import frame_of
from depot_lite.fields.tracking.storing import Attempt
from depot_lite.images.recipes import Recipe, for_meta
from depot_lite.io.fileid import new_file_id

if TYPE_CHECKING:
    from sqlalchemy.orm import InstanceState


@dataclass
class _Remake:
    """A stored image whose focus has moved, and the variants that are made again."""

    column: FileColumn
    index: int | None
    value: UploadedImage
    recipes: Mapping[str, Recipe]
    births: Mapping[str, VariantBirth]
    entries: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, column: FileColumn, owner: Any, index: int | None, value: DepotFileInfo) -> _Remake | None:
        """Return the image if it needs other variants, else None."""
        if not isinstance(value, UploadedImage) or value.pending:
            return None
        names, recipes = (
            moved_variants(value, column.type.variants, "now"),
            for_meta(column.type.variants, value.get("meta")),
        )
        births = {name: VariantBirth(value, Pending(None, owner=owner), {}) for name in names}
        return cls(column, index, value, {name: recipes[name] for name in names}, births) if names else None

    @property
    def paths(self) -> list[str]:
        """The files that may have been stored."""
        return [path for birth in self.births.values() for path in birth.paths]

    def make(self, attempt: Attempt) -> None:
        """Store the variants.

        Raises:
            ImageRefused: the original cannot be decoded.
            StoredFileNotFound: it is gone.
            StorageFailed: the storage failed.
        """
        ids = {name: new_file_id() for name in self.births}
        try:
            attempt.raise_if_given_up()
            for name, birth in self.births.items():
                birth.announce(f"{self.value.depot_name}/{ids[name]}")
            _, self.entries = self.value.make_variants(self.recipes, ids)
            attempt.raise_if_given_up()
        except BaseException as error:
            if attempt.is_given_up:  # nobody waits for this thread
                discard(self.paths)
            if isinstance(error, ValidationError):
                error.at(str(self.column), self.value.get("filename"), self.index)
            elif isinstance(error, DepotError):
                error.add_note(f"while making variants of {self.value.path} for {self.column}")
            raise

    def made(self) -> UploadedImage:
        """Return the image with its new variants."""
        renewed = self.value.with_variants({**entries_of(self.value), **self.entries}, {})
        for birth in self.births.values():
            birth.value = renewed
        return renewed


def refocused(session: Session, held: Iterable[tuple[FileColumn, InstanceState[Any], Any]]) -> dict[int, DepotFileInfo]:
    """Make variants of images whose focus has moved; return these images with them, by the ids of the former values.

    Args:
        session: that is about to write the images.
        held: attributes, each with its object and with the value or list that it holds.

    Raises:
        DepotError: variants could not be made, and none of them are left.
    """
    work = [
        found
        for column, state, value in held
        if column.type.follows_focus
        for index, each in enumerate(files_in(value))
        if (found := _Remake.of(column, (weakref.ref(state), column.key), _index(column, index), each)) is not None
    ]
    if not work:
        return {}
    frame, attempt = frame_of(session), Attempt([])
    try:
        attempt.side_by_side([(each.value.depot, partial(each.make, attempt)) for each in work], work[0].value.workers)
    except BaseException as error:
        attempt.give_up()
        for birth in (birth for each in work for birth in each.births.values()):
            birth.end()
        # A cancelled task does not wait for a storage.
        transfers.delete([path for each in work for path in each.paths], wait=isinstance(error, Exception))
        raise
    finally:
        attempt.end()
    for each in work:
        frame.extend(each.births.values())
    return {id(each.value): each.made() for each in work}


def _index(column: FileColumn, index: int) -> int | None:
    return index if column.type.multiple else None
