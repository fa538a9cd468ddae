"""Readings: the files of a depot that all rows name, as of one moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from depot_lite.errors import MaintenanceStopped
from depot_lite.io.fileid import derived_id, is_file_id
from depot_lite.maintenance.ids import FileIds, is_derived, packed, unpacked
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.places import Place
from depot_lite.maintenance.rows.references import References, parsed
from depot_lite.maintenance.run.reports import Watcher
from depot_lite.renditions import fingerprints


@dataclass(slots=True)
class Readings:
    """A reader of all references to a depot, which reads them as often as asked."""

    database: Database
    places: list[Place]
    references: References
    progress: Watcher | None
    #: The ids of variants on demand of the focus that rows have, as the last reading found them.
    focused: FileIds = field(default_factory=FileIds)
    #: When the last reading began, by the monotonic clock.
    begun: float = 0.0
    #: The number of references found so far.
    _found: int = 0

    def read(self, only: set[bytes] | None = None) -> FileIds:
        """Return the ids that rows name; with ``only``, those among the given packed ids.

        Raises:
            MaintenanceStopped: a row cannot be read, or a protected column protects nothing.
        """
        self.begun = monotonic()
        self.references.elsewhere.clear()
        self.focused = FileIds()
        named = FileIds()
        for place in self.places:
            before = self._found
            rows = self.database.read(place, partial(self._remember, place, named, only), self.progress)
            if place.type is None and rows and self._found == before:
                raise MaintenanceStopped(
                    f"{place} is protected, but none of its {rows} values contains a file id: is it the right "
                    "column, and are the ids in it written out?"
                )
        return named

    def _remember(self, place: Place, named: FileIds, only: set[bytes] | None, page: list[Row]) -> None:
        found = self.references.in_rows(place, page)
        self._found += len(found)
        focused = list(_focused_in(place, page))
        self.focused.add(focused)
        if only is not None:
            if any(map(is_derived, only)):
                found = [*found, *variants_of([unpacked(packed(each)) for each in found]), *focused]
            found = [each for each in found if packed(each) in only]
        named.add(found)


def _focused_in(place: Place, page: Iterable[Row]) -> Iterator[str]:
    """Yield the ids of the variants on demand that depend on the focus in rows."""
    kind = place.type
    variants = {} if kind is None else kind.variants
    if kind is None or not any(each.follows_focus and each.make == "on_demand" for each in variants.values()):
        return
    for row in page:
        data = parsed(place, row)
        for each in data if isinstance(data, list) else [data]:
            if isinstance(each, dict):
                value = kind.upload_type.of_data(each).declare_variants(variants)
                yield from (path.partition("/")[2] for path in value.focused_paths)


def variants_of(file_ids: Iterable[str]) -> Iterator[str]:
    """Yield the ids of the variants on demand of files, by all declared recipes that are the same for all images."""
    declared = fingerprints()
    return (derived_id(each, fingerprint) for each in file_ids if is_file_id(each) for fingerprint in declared)
