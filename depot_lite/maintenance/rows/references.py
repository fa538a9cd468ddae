"""References in rows: extracts the files that a row names from its text.

Every string in the form of a path counts as one, wherever it is in the row: this finds thumbnails, and files that a
class of values stores under its own keys. A row that cannot be parsed raises an error, since it may name any file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped, UnknownDepot
from depot_lite.io.fileid import FILE_ID
from depot_lite.maintenance.ids import FileIds
from depot_lite.maintenance.rows.database import Row
from depot_lite.maintenance.rows.places import Place

#: The end of a path at the end of a string in JSON.
_ENDS: Final = re.compile(rf'/({FILE_ID})"')
PATH: Final = re.compile(rf"([^/]+)/({FILE_ID})")
ANY_ID: Final = re.compile(FILE_ID)
#: Digits and dashes that may contain an id; an id alone.
_DIGITS: Final = re.compile(r"[0-9a-f][0-9a-f-]{22,}[0-9a-f]")
_ONE_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{24}")
#: An id in any spelling, also within a longer run of digits: upper case, or 32 digits without dashes.
_ANY_SPELLING: Final = re.compile(
    r"(?=([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}))|(?=((?<![0-9a-f])[0-9a-f]{24}(?![0-9a-f-])))"
)


class References:
    """A finder of references to the files of one depot.

    Raises:
        UnknownDepot: the depot is not configured.
    """

    def __init__(self, depot_name: str) -> None:
        self._depot_name = Depots.resolve_alias(depot_name)
        self._depots = depots_at(self._depot_name)
        self._resolved: dict[str, str] = {}
        self._prefix = f'"{depot_name}/'
        #: The key of a path before it, as the databases write JSON.
        self._keyed = f'"path": {self._prefix}', f'"path":{self._prefix}'
        #: The ids of files of other depots that rows name, by the name of the depot in the rows.
        self.elsewhere: dict[str, FileIds] = {}

    def in_rows(self, place: Place, rows: Iterable[Row]) -> list[str]:
        """Return the ids of the files of this depot that rows name, possibly with repetitions.

        Raises:
            MaintenanceStopped: a row cannot be parsed, or names a depot that is not configured.
        """
        found: list[str] = []
        if place.type is None:
            for row in rows:
                found += ids_in(row.text)  # of any depot and in any context
            return found
        ends, prefix = _ENDS.findall, self._prefix
        for row in rows:
            _, text, valid = row
            # Most rows name one depot by one name. If all strings like paths begin with it, no JSON is parsed; lists
            # are, since one of their values may name nothing.
            ids = ends(text) if valid and text[:1] == "{" else []
            is_ours = ids and text.count(prefix) == len(ids) and "\\" not in text
            paths = text.count('"path"')
            if is_ours and text.count('"file_id"') <= paths == sum(map(text.count, self._keyed)):
                found += ids if len(ids) != 2 or ids[0] != ids[1] else ids[1:]
            else:
                for name, file_id in paths_in(place, row):
                    if not name or self._real(place, row, name) in self._depots:
                        found.append(file_id)
                    else:
                        self.elsewhere.setdefault(name, FileIds()).add([file_id])
        return found

    def _real(self, place: Place, row: Row, name: str) -> str:
        if name not in self._resolved:
            try:
                self._resolved[name] = Depots.resolve_alias(name)
            except UnknownDepot as error:
                raise MaintenanceStopped(
                    f"{where(place, row)} names depot {name!r}, which is not configured: it may be another name of "
                    f"{self._depot_name!r}"
                ) from error
        return self._resolved[name]


def ids_in(text: str) -> list[str]:
    """Return every id in a text, however it is written.

    >>> ids_in("{B3A1C6DE0F5B4B6E9A3E2B1C4D5E6F70}")
    ['b3a1c6de0f5b4b6e9a3e2b1c4d5e6f70']
    """
    found: list[str] = []
    for run in _DIGITS.findall(text.lower()):
        if _ONE_ID.fullmatch(run):  # as nearly all are
            found.append(run)
        else:
            found += [first or second for first, second in _ANY_SPELLING.findall(run)]
    return found


def depots_at(depot_name: str) -> set[str]:
    """Return the depots that may hold files of this one: itself, depots at its location, and composites of these."""
    storage = Depots.get(depot_name)
    others = (name for name in Depots.depot_names() if Depots.get(name).shares_files_with(storage))
    return {depot_name, *others}


def paths_in(place: Place, row: Row) -> list[tuple[str, str]]:
    """Return depot and id of each distinct file that a row names; the depot is empty if the row gives only an id.

    Raises:
        MaintenanceStopped: the row cannot be parsed.
    """
    data = parsed(place, row)
    found: dict[tuple[str, str], None] = {}
    for each in data if isinstance(data, list) else [data]:
        with not_too_deep(place, row):
            named = dict.fromkeys(_strings(each))
        if not named and each is not None:
            value = "" if each is data else ", in one of its values"
            raise MaintenanceStopped(f"{where(place, row)} names no file{value}, and is not empty: {row.text[:80]!r}")
        found |= named
    return list(found)


def parsed(place: Place, row: Row) -> Any:
    """Return the JSON value of a row. Blank text, which columns of filedepot may hold, is None, as in a loaded row.

    Raises:
        MaintenanceStopped: the row is not valid JSON.
    """
    try:
        with not_too_deep(place, row):
            return json.loads(row.text) if row.text.strip() else None
    except ValueError as error:
        raise MaintenanceStopped(f"{where(place, row)} is damaged: {error}") from error


@contextmanager
def not_too_deep(place: Place, row: Row) -> Iterator[None]:
    """Raise `MaintenanceStopped` for a row whose value is nested deeper than Python's stack allows."""
    try:
        yield
    except RecursionError:
        raise MaintenanceStopped(f"{where(place, row)} is damaged: its lists are nested too deeply") from None


def _strings(data: Any) -> Iterator[tuple[str, str]]:
    if isinstance(data, dict):
        path, file_id, name = data.get("path"), data.get("file_id"), data.get("depot_name")
        if (
            not (isinstance(path, str) and PATH.fullmatch(path))
            and isinstance(file_id, str)
            and ANY_ID.fullmatch(file_id)
        ):
            yield name if isinstance(name, str) else "", file_id
        for each in data.values():
            yield from _strings(each)
    elif isinstance(data, list):
        for each in data:
            yield from _strings(each)
    elif isinstance(data, str) and (found := PATH.fullmatch(data)):
        yield found[1], found[2]


def where(place: Place, row: Row) -> str:
    """Return the name of a row in messages: ``movie.poster of the row 7``."""
    key = ", ".join(map(str, row.key))
    return f"{place} of the row {key}" if key else f"a row of {place}"
