"""Limits of a sweep: the share of a depot that one run may delete, and tables that may be empty.

Most mistakes that make live files look unused make many of them look unused: the wrong database, an empty table, a
column that no model has. So a sweep that would delete much, or that found nothing to hold the files against, stops.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from sqlalchemy import literal, select
from sqlalchemy.exc import SQLAlchemyError

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.io.options import integer
from depot_lite.maintenance.rows.database import Database
from depot_lite.maintenance.rows.places import Place

#: Without a limit of the user's: a tenth of the depot, but at most 1,000 files, and not less than 10.
_SHARE, _MOST, _LEAST = 0.1, 1000, 10

#: The longest time that an option may be: now minus the time has to be a date.
_LONGEST: Final = timedelta(days=36525)

_EXPECTED: Final = "max_delete: expected a number of files such as 500, or a share such as '10%'"


def count_of(option: str, value: object, lowest: int = 0) -> int | None:
    """Return a number of files or rows, or None for no limit.

    Raises:
        ConfigurationError: it is no whole number, or too low.

    >>> count_of("limit", -1)
    Traceback (most recent call last):
    depot_lite.errors.ConfigurationError: limit=-1: expected a whole number from 0 to 9223372036854775807
    """
    return None if value is None else integer(option, value, lowest, sys.maxsize)


def check_times(**times: object) -> None:
    """Raise ConfigurationError unless all are timedeltas from 0 to 100 years.

    >>> check_times(older_than=3)
    Traceback (most recent call last):
    depot_lite.errors.ConfigurationError: older_than=3: expected a timedelta from 0 to 100 years
    """
    for option, time in times.items():
        if not isinstance(time, timedelta) or not timedelta(0) <= time <= _LONGEST:
            raise ConfigurationError(f"{option}={time!r}: expected a timedelta from 0 to 100 years")


class DeletionLimit:
    """The number of files of a depot that one sweep may delete.

    Args:
        given: a number of files, a share such as ``"10%"``, or None for the default.

    Raises:
        ConfigurationError: it is neither.

    >>> DeletionLimit(None).of(50_000), DeletionLimit(None).of(3), DeletionLimit("25%").of(1000), DeletionLimit(7).of(3)
    (1000, 10, 250, 7)
    """

    def __init__(self, given: int | str | None) -> None:
        text = "" if given is None or isinstance(given, bool) else str(given).strip()
        self._share: float | None = None
        self._count: int | None = None
        if given is None:
            return
        try:
            if text.endswith("%"):
                self._share = float(text.removesuffix("%")) / 100
            else:
                self._count = int(text)
        except ValueError:
            raise ConfigurationError(f"{_EXPECTED}, got {given!r}") from None
        if not 0 <= (self._share or 0) <= 1 or (self._count or 0) < 0:
            raise ConfigurationError(f"{_EXPECTED}, got {given!r}")

    def of(self, listed: int) -> int:
        """Return the limit for a depot with so many files."""
        if self._count is not None:
            return self._count
        if self._share is not None:
            return int(self._share * listed)
        return max(_LEAST, min(int(_SHARE * listed), _MOST))

    def objections(self, doomed: int, listed: int, verb: str) -> Iterator[str]:
        """Yield a reason to stop if more files are to be deleted (or marked) than the limit allows."""
        if doomed > (limit := self.of(listed)):
            yield (
                f"{doomed} of {listed} files would be {verb}, and the limit is {limit}: if that is right, raise it "
                f"(max_delete, --max-delete {doomed})"
            )


class EmptyTables:
    """The tables without rows, and the depots without references, that the user has looked at.

    Args:
        allowed: names of tables, ``"table"`` or ``"schema.table"``, and of depots.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        if isinstance(allowed, str):
            raise ConfigurationError(f"allow_empty: expected a list of names, got {allowed!r}")
        self._allowed = frozenset(allowed)

    def objections(self, database: Database, places: Iterable[Place]) -> Iterator[str]:
        """Yield a reason to stop if a table has no rows and is not allowed to be empty."""
        tables = {place.name: place for place in places}
        if empty := [name for name in tables if name not in self._allowed and _is_empty(database, tables[name])]:
            those = f"table {empty[0]} is" if len(empty) == 1 else f"tables {', '.join(empty)} are"
            yield (
                f"{those} empty, and files look unused if their rows are elsewhere: if that is right, allow it "
                f"(allow_empty, {' '.join(f'--allow-empty {name}' for name in empty)})"
            )

    def depot_objections(self, depot_name: str, listed: int, named: int) -> Iterator[str]:
        """Yield a reason to stop if no row names any file of a depot and it is not allowed to be unreferenced."""
        if not named and depot_name not in self._allowed:
            yield (
                f"no row names a file in depot {depot_name!r}, which lists {listed}: this may be another database or "
                f"another storage. If that is right, allow it (allow_empty, --allow-empty {depot_name})"
            )


def _is_empty(database: Database, place: Place) -> bool:
    try:
        with database.connection(place) as connection:
            found = connection.execute(select(literal(1)).select_from(place.table).limit(1)).first()
            if database.owns_transactions(place):
                connection.rollback()
    except SQLAlchemyError as error:
        raise MaintenanceStopped(f"{place} cannot be read: {getattr(error, 'orig', None) or error}") from error
    return found is None
