"""Moves: rows whose files go to another depot, and the values that these rows get."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped, UnknownDepot
from depot_lite.fields.relocation import relocated
from depot_lite.maintenance.rows.database import Row
from depot_lite.maintenance.rows.places import Place
from depot_lite.maintenance.rows.references import parsed, paths_in


@dataclass(slots=True, eq=False)
class Move:
    """A row being moved."""

    place: Place
    row: Row
    #: Depot and id of all files that the row names.
    named: list[tuple[str, str]]
    #: Ids of its files in the source -> ids of their copies; None until copied.
    ids: dict[str, str | None]
    tries: int = 1
    #: Files that are not copied yet.
    left: int = 0
    bytes: int = 0
    path: str | None = None
    error: Exception | None = None

    @property
    def copies(self) -> list[str]:
        """The ids of the copies."""
        return [each for each in self.ids.values() if each is not None]

    def fail(self, error: Exception, path: str | None = None) -> None:
        """Remember the first error."""
        if self.error is None:
            self.error, self.path = error, path

    def sizes(self) -> dict[str, int]:
        """Return the sizes of files that the row knows: file id -> bytes."""
        return _sizes_in(parsed(self.place, self.row))


@dataclass(frozen=True, slots=True)
class Relocation:
    """The way of files from one depot to another, by the real names of both."""

    source: str
    target: str

    def named(self, place: Place, row: Row) -> list[tuple[str, str]]:
        """Return depot and id of the files that a row names; none if its text contains no name of the source."""
        if "\\" not in row.text and not any(name in row.text for name in self.names):
            return []
        return paths_in(place, row)

    @property
    def names(self) -> list[str]:
        """The names of the source in rows."""
        return [self.source, *Depots.aliases_of(self.source)]

    def is_source(self, name: str) -> bool:
        """Return whether a name in a row is one of the source."""
        try:
            return Depots.resolve_alias(name) == self.source
        except UnknownDepot:  # not an alias of the source
            return False

    def new_text(self, move: Move) -> str:
        """Return the value of a row whose files were copied."""
        data = parsed(move.place, move.row)
        if isinstance(data, list):  # its elements may be in different depots
            return json.dumps([self._relocated(move, each, self._named_by(move, each)) for each in data])
        return json.dumps(self._relocated(move, data, move.named))

    def _named_by(self, move: Move, element: Any) -> list[tuple[str, str]]:
        try:
            return paths_in(move.place, move.row._replace(text=json.dumps(element)))
        except MaintenanceStopped:  # an empty element
            return []

    def _relocated(self, move: Move, data: Any, named: list[tuple[str, str]]) -> Any:
        """Return one value with its files replaced by their copies."""
        moved = {f"{name}/{file_id}": f"{name}/{file_id}" for name, file_id in named}
        for name, file_id in named:
            if self.is_source(name):
                for each in (name, *self.names):
                    moved[f"{each}/{file_id}"] = f"{self.target}/{move.ids[file_id]}"
        return relocated(data, moved)


def _sizes_in(data: Any) -> dict[str, int]:
    """Return the sizes of files stored in a row: file id -> bytes."""
    found: dict[str, int] = {}
    if isinstance(data, dict):
        file_id, size = data.get("file_id"), data.get("size", data.get("content_length"))
        if isinstance(file_id, str) and isinstance(size, int):
            found[file_id] = size
    for each in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        found |= _sizes_in(each)
    return found
