"""Refocus: variants that show another point of their image than its metadata has by now are made again in the flush.

They are stored before their row is written, and born in the open transaction; the former ones are condemned with the
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
from depot_lite.fields.columns import files_in
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.lists import FileList
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
    from depot_lite.fields.tracking.flush import Slot


@dataclass
class _Remake:
    """A stored image whose focus has moved, and the variants that are made again."""

    slot: Slot
    index: int
    value: UploadedImage
    recipes: Mapping[str, Recipe]
    births: Mapping[str, VariantBirth]
    entries: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, slot: Slot, index: int, value: DepotFileInfo) -> _Remake | None:
        """Return the image if it needs other variants, else None."""
        if not isinstance(value, UploadedImage) or value.pending:
            return None
        variants, owner = slot.column.type.variants, (weakref.ref(slot.state), slot.column.key)
        names, recipes = moved_variants(value, variants, "now"), for_meta(variants, value.get("meta"))
        births = {name: VariantBirth(value, Pending(None, owner=owner), {}) for name in names}
        return cls(slot, index, value, {name: recipes[name] for name in names}, births) if names else None

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
            column = self.slot.column
            if isinstance(error, ValidationError):
                error.at(str(column), self.value.get("filename"), self.index if column.type.multiple else None)
            elif isinstance(error, DepotError):
                error.add_note(f"while making variants of {self.value.path} for {column}")
            raise

    def show(self) -> None:
        """Let the attribute hold the image with its new variants."""
        renewed = self.value.with_variants({**entries_of(self.value), **self.entries}, {})
        for birth in self.births.values():
            birth.value = renewed
        if isinstance(held := self.slot.value, FileList):
            held.put(self.index, renewed)
        else:
            self.slot.state.dict[self.slot.column.key] = renewed


def refocus(session: Session, slots: Iterable[Slot]) -> None:
    """Make variants of images whose focus has moved, and let the attributes hold the images with them.

    Args:
        session: that is about to write the images.
        slots: the attributes.

    Raises:
        DepotError: variants could not be made, and none of them are left.
    """
    work = [
        found
        for slot in slots
        if slot.column.type.follows_focus
        for index, value in enumerate(files_in(slot.value))
        if (found := _Remake.of(slot, index, value)) is not None
    ]
    if not work:
        return
    frame, attempt = frame_of(session), Attempt([])
    births = [birth for each in work for birth in each.births.values()]
    try:
        attempt.side_by_side([(each.value.depot, partial(each.make, attempt)) for each in work], work[0].value.workers)
    except BaseException as error:
        attempt.give_up()
        for birth in births:
            birth.end()
        # A cancelled task does not wait for a storage.
        transfers.delete([path for each in work for path in each.paths], wait=isinstance(error, Exception))
        raise
    finally:
        attempt.end()
    frame.extend(births)
    for each in work:
        each.show()
