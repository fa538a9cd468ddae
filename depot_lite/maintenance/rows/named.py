"""The files that a row names, each with what the row says of it, and the rows that name certain files."""

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
from depot_lite.maintenance.rows.database import Database, Reader, Row
from depot_lite.maintenance.rows.places import Place
from depot_lite.maintenance.rows.references import ANY_ID, PATH, parsed, paths_in, where
from depot_lite.maintenance.run.reports import Step, Watcher

_QUOTED_PATH: Final = re.compile(rf'"([^"/]+)/({FILE_ID})"')


class DepotNames:
    """The real depots behind the names in rows."""

    def __init__(self) -> None:
        self._real: dict[str, str | None] = {}

    def real(self, name: str) -> str | None:
        """Return the depot that a name leads to, None where it leads nowhere."""
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
    #: Where in the value it is named.
    part: str
    #: What the row says of this file.
    said: Mapping[str, Any]

    @property
    def path(self) -> str:
        """``depot_name/file_id``, the depot as the row calls it."""
        return f"{self.depot_name}/{self.file_id}"

    @property
    def size(self) -> int | None:
        """How many bytes it has as the row says; None where it says nothing."""
        size = self.said.get("size")
        return size if type(size) is int and size >= 0 else None

    @property
    def checksum(self) -> str | None:
        """``algorithm:hexadecimal digest`` as the row says, None where it says nothing."""
        return self._text("checksum")

    @property
    def content_type(self) -> str | None:
        """The media type as the row says, None where it says nothing."""
        return self._text("content_type")

    def _text(self, key: str) -> str | None:
        held = self.said.get(key)
        return held if isinstance(held, str) and held else None


def named_paths(place: Place, row: Row) -> list[tuple[str, str]]:
    """Return depot and id of each file that a row names, each once.

    Raises:
        MaintenanceStopped: the row cannot be understood.
    """
    text = row.text
    # Nearly every row is as we write them: then what looks like a path is one, and nothing has to be parsed.
    if row.valid and "\\" not in text and text.count('"file_id"') <= text.count('"path"'):
        found = _QUOTED_PATH.findall(text)
        if found:
            return list(dict.fromkeys(found))
    return paths_in(place, row)


def named_files(place: Place, row: Row) -> list[NamedFile]:
    """Return the files that a row names, each once, with what the row says of them.

    Raises:
        MaintenanceStopped: the row cannot be understood.
    """
    data = parsed(place, row)
    found: dict[tuple[str, str], NamedFile] = {}
    # By which says most: the dictionary of a file, a path under some key, one in the list of all.
    for _, each in sorted(_walked(data, "", 1), key=lambda pair: pair[0]):
        found.setdefault((each.depot_name, each.file_id), each)
    if not found and data not in (None, []):
        raise MaintenanceStopped(f"{where(place, row)} names no file, and is not empty: {row.text[:80]!r}")
    return list(found.values())


def _walked(data: Any, at: str, rank: int) -> Iterator[tuple[int, NamedFile]]:
    if isinstance(data, dict):
        own = _own(data, at)
        if own is not None:
            yield 0, own
        for key, each in data.items():
            yield from _walked(each, f"{at}.{key}" if at else key, 2 if key == "files" else rank)
    elif isinstance(data, list):
        for number, each in enumerate(data):
            yield from _walked(each, f"{at}[{number}]", rank)
    elif isinstance(data, str) and (found := PATH.fullmatch(data)):
        yield rank, NamedFile(found[1], found[2], at, {})


def _own(data: dict[str, Any], at: str) -> NamedFile | None:
    """Return the file that a dictionary describes, None where it describes none."""
    prefix = f"{at}." if at else ""
    if isinstance(path := data.get("path"), str):
        found = PATH.fullmatch(path)
        return None if found is None else NamedFile(found[1], found[2], f"{prefix}path", data)
    name, file_id = data.get("depot_name"), data.get("file_id")
    if "path" not in data and isinstance(name, str) and isinstance(file_id, str) and ANY_ID.fullmatch(file_id):
        return NamedFile(name, file_id, f"{prefix}file_id", data)
    return None


def rows_naming(
    database: Database,
    among: Iterable[Place],
    wanted: Mapping[str, Container[bytes]],
    progress: Watcher | None = None,
) -> Iterator[tuple[Place, Row, NamedFile]]:
    """Yield the rows that name certain files, with the files; rows that cannot be understood are left out.

    Args:
        wanted: the packed ids, by the names of their depots. Where it is empty, nothing is read.
    """
    names = DepotNames()
    if not wanted:
        return
    with Reader(database, snapshot=False) as reader:
        for place in among:
            with Step(progress, f"looking again at {place}", unit="rows") as step:
                for page in reader.pages(place):
                    yield from off_loop(partial(_naming, place, page, names, wanted))
                    step.add(len(page))


def _naming(
    place: Place, page: list[Row], names: DepotNames, wanted: Mapping[str, Container[bytes]]
) -> list[tuple[Place, Row, NamedFile]]:
    found: list[tuple[Place, Row, NamedFile]] = []
    for row in page:
        try:
            if any(_is_wanted(name, file_id, names, wanted) for name, file_id in named_paths(place, row)):
                files = named_files(place, row)
                found += [
                    (place, row, each) for each in files if _is_wanted(each.depot_name, each.file_id, names, wanted)
                ]
        except MaintenanceStopped:
            continue
    return found


def _is_wanted(name: str, file_id: str, names: DepotNames, wanted: Mapping[str, Container[bytes]]) -> bool:
    real = names.real(name)
    return real is not None and packed(file_id) in wanted.get(real, ())
