"""Slices of tables: ranges of keys, each made where the one before ended, by whichever process needs the next.

To find the end of a slice, the database walks along the index by so many keys. So a table is divided while it is read,
with keys of any kind, and nobody counts or reads it first. The bounds are values as the driver gives and takes them,
without the conversions of the column's type, and are written as JSON, so that any process understands them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Self
from uuid import UUID

from sqlalchemy import ColumnElement, Connection

from depot_lite.errors import MaintenanceStopped
from depot_lite.maintenance.rows.ranges import KeyRanges

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows of a table above one key and up to another."""

    #: Their values in the columns of the key that cannot be bounded, such as an ENUM of MariaDB.
    values: tuple[str, ...] = ()
    #: The bounds; None for no bound.
    after: Key | None = None
    until: Key | None = None
    #: The values of such columns whose rows are in earlier slices.
    earlier: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def following(cls, connection: Connection, ranges: KeyRanges | None, last: Slice | None, size: int) -> Self | None:
        """Return the slice with the next ``size`` rows; None after the last one.

        The last one has no end, so that it has the rows that are added meanwhile. A table without a key is one slice.
        """
        if ranges is None:
            return None if last is not None else cls()
        ranges = ranges.as_stored()
        if last is not None and last.until is not None:
            values, after, earlier = last.values, last.until, last.earlier
        else:
            earlier = () if last is None else (*last.earlier, last.values)
            left = sorted(ranges.values(connection) - set(earlier)) if ranges.leading else [()][len(earlier) :]
            if not left:
                return None
            values, after = left[0], None
        query = ranges.bound(ranges.part(values), after, size)
        found = None if query is None else connection.execute(query).first()
        # The same bound again is a value that is read otherwise than it is stored, such as a rounded FLOAT.
        until = None if found is None or tuple(found) == after else tuple(found)
        return cls(values, after, until, earlier)

    def condition(self, ranges: KeyRanges) -> ColumnElement[bool]:
        """Return the condition of its rows."""
        ranges = ranges.as_stored()
        return ranges.within(ranges.part(self.values), self.after, self.until)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` understands.

        Raises:
            MaintenanceStopped: a value of the key is of a type that is not known here.
        """
        bounds = {"after": self.after, "until": self.until}
        written: dict[str, Any] = {
            name: [_written(each) for each in key] for name, key in bounds.items() if key is not None
        }
        return written | {"values": self.values, "earlier": self.earlier}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return a slice as it was written."""
        after, until = (_read(data.get(name)) for name in ("after", "until"))
        return cls(tuple(data["values"]), after, until, tuple(map(tuple, data["earlier"])))


#: Types of values in keys that JSON does not have, how they are written and read. A datetime is a date, too.
_TYPES: Final[dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]]] = {
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "timedelta": (timedelta, lambda each: [each.days, each.seconds, each.microseconds], lambda each: timedelta(*each)),
}


def _written(value: Any) -> Any:
    if type(value) in {int, str, float, bool}:
        return value
    for name, (kind, write, _) in _TYPES.items():
        if isinstance(value, kind):  # asyncpg has a class of its own for UUIDs, derived from Python's
            return {name: write(value)}
    raise MaintenanceStopped(
        f"a primary key has a value of the type {type(value).__name__}, which cannot be written down for other "
        "processes: share the job by parts (--part 1/4) instead"
    )


def _read(key: Sequence[Any] | None) -> Key | None:
    if key is None:
        return None
    return tuple(
        _TYPES[name][2](each[name]) if isinstance(each, dict) and (name := next(iter(each))) else each for each in key
    )
