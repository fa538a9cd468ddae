"""Files named by rows, with the facts stored about them; and the rows that name given files."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped, UnknownDepot
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.fileid import FILE_ID
from depot_lite.maintenance.ids import packed
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.places import Place
from depot_lite.maintenance.rows.references import ANY_ID, PATH, not_too_deep, parsed, paths_in, where
from depot_lite.maintenance.run.reports import Step, Watcher

#: A million years: nothing that is longer is a duration.
_LONGEST: Final = 3e13

_QUOTED_PATH: Final = re.compile(rf'"([^"/]+)/({FILE_ID})"')


class DepotNames:
    """A cache of the depots behind the names in rows."""

    def __init__(self) -> None:
        self._real: dict[str, str | None] = {}

    def real(self, name: str) -> str | None:
        """Return the depot for a name or an alias; None if it is not configured."""
        if name not in self._real:
            try:
                self._real[name] = Depots.resolve_alias(name)
            except UnknownDepot:
                self._real[name] = None
        return self._real[name]


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file as its row names it."""

    depot_name: str
    file_id: str
    #: Position in the value, such as ``path`` or ``variants.small.path``.
    part: str
    #: The dictionary that describes the file in the row; empty if there is only a path.
    facts: Mapping[str, Any]

    @property
    def path(self) -> str:
        """``depot_name/file_id``, with the depot name from the row."""
        return f"{self.depot_name}/{self.file_id}"

    @property
    def size(self) -> int | None:
        """The size in bytes stored in the row, if any."""
        size = self.facts.get("size")
        return size if type(size) is int and size >= 0 else None

    @property
    def checksum(self) -> str | None:
        """The checksum stored in the row, ``algorithm:hexadecimal digest``, if any."""
        return self._text("checksum")

    @property
    def content_type(self) -> str | None:
        """The content type stored in the row, if any."""
        return self._text("content_type")

    @property
    def duration(self) -> float | None:
        """The duration in seconds that an analyzer has found, if any."""
        found = self.facts.get("facts")
        seconds = found.get("duration") if isinstance(found, dict) else None
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            return None
        return float(seconds) if 0 <= seconds < _LONGEST else None

    def _text(self, key: str) -> str | None:
        text = self.facts.get(key)
        return text if isinstance(text, str) and text else None


def named_paths(place: Place, row: Row) -> list[tuple[str, str]]:
    """Return depot and id of each distinct file that a row names.

    Raises:
        MaintenanceStopped: the row cannot be parsed.
    """
    text = row.text
    # Nearly every row has the form that we write. Then every string like a path is one, without parsing the JSON.
    if row.valid and "\\" not in text and text.count('"file_id"') <= text.count('"path"'):
        found = _QUOTED_PATH.findall(text)
        if found:
            return list(dict.fromkeys(found))
    return paths_in(place, row)


def named_files(place: Place, row: Row) -> list[NamedFile]:
    """Return the distinct files that a row names, with the facts stored about them.

    Raises:
        MaintenanceStopped: the row cannot be parsed.
    """
    data = parsed(place, row)
    found: dict[tuple[str, str], NamedFile] = {}
    # Most informative first: the dictionary of a file, a path under some key, a path in the list of all files.
    with not_too_deep(place, row):
        walked = sorted(_walked(data, "", 1), key=lambda pair: pair[0])
    for _, each in walked:
        found.setdefault((each.depot_name, each.file_id), each)
    if not found and data not in (None, []):
        raise MaintenanceStopped(f"{where(place, row)} names no file, and is not empty: {row.text[:80]!r}")
    return list(found.values())


def _walked(data: Any, at: str, rank: int) -> Iterator[tuple[int, NamedFile]]:
    if isinstance(data, dict):
        described = _described_file(data, at)
        if described is not None:
            yield 0, described
        for key, each in data.items():
            yield from _walked(each, f"{at}.{key}" if at else key, 2 if key == "files" else rank)
    elif isinstance(data, list):
        for number, each in enumerate(data):
            yield from _walked(each, f"{at}[{number}]", rank)
    elif isinstance(data, str) and (found := PATH.fullmatch(data)):
        yield rank, NamedFile(found[1], found[2], at, {})


def _described_file(data: dict[str, Any], at: str) -> NamedFile | None:
    """Return the file that a dictionary describes, if it describes one."""
    prefix = f"{at}." if at else ""
    path = data.get("path")
    if isinstance(path, str) and (found := PATH.fullmatch(path)):
        return NamedFile(found[1], found[2], f"{prefix}path", data)
    name, file_id = data.get("depot_name"), data.get("file_id")
    if isinstance(file_id, str) and ANY_ID.fullmatch(file_id):
        return NamedFile(name if isinstance(name, str) else "", file_id, f"{prefix}file_id", data)
    return None


def rows_naming(
    database: Database,
    among: Iterable[Place],
    ids: Mapping[str, Container[bytes]],
    progress: Watcher | None = None,
) -> Iterator[tuple[Place, Row, NamedFile]]:
    """Yield the rows that name given files, with these files; rows that cannot be parsed are skipped.

    Args:
        ids: depot name -> packed ids. If empty, nothing is read.
    """
    names = DepotNames()
    if not ids:
        return
    for place in among:
        with Step(progress, f"looking again at {place}", unit="rows") as step:
            for page in database.pages(place):
                yield from off_loop(partial(_naming, place, page, names, ids))
                step.add(len(page))


def _naming(
    place: Place, page: list[Row], names: DepotNames, ids: Mapping[str, Container[bytes]]
) -> list[tuple[Place, Row, NamedFile]]:
    found: list[tuple[Place, Row, NamedFile]] = []
    for row in page:
        try:
            if any(_is_among(name, file_id, names, ids) for name, file_id in named_paths(place, row)):
                files = named_files(place, row)
                found += [(place, row, each) for each in files if _is_among(each.depot_name, each.file_id, names, ids)]
        except MaintenanceStopped:
            continue
    return found


def _is_among(name: str, file_id: str, names: DepotNames, ids: Mapping[str, Container[bytes]]) -> bool:
    real = names.real(name)
    return real is not None and packed(file_id) in ids.get(real, ())
