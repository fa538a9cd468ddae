"""What a maintenance page shows and does: the reports of `depot_lite.maintenance` as plain data for JSON.

Each job takes the database and a progress callback last, and names the first files or rows only: a page is no place for
a million of them. What was found is in no process and no session; who deletes looks anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import select

from depot_lite.contrib.starlette_admin.jobs import one_line
from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, DepotError, MaintenanceStopped
from depot_lite.fields.upload import url_of
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.clearing import Outcome, clear_missing
from depot_lite.maintenance.ids import FoundFile
from depot_lite.maintenance.missing import MissingFile, MissingReport, find_missing
from depot_lite.maintenance.rows.database import Database, Row, as_text
from depot_lite.maintenance.rows.named import named_files
from depot_lite.maintenance.rows.places import Place, places
from depot_lite.maintenance.run.reports import UnusedReport, Watcher
from depot_lite.maintenance.statistics import statistics
from depot_lite.maintenance.unused import DAY, delete_unused_files, find_unused

#: How many files, rows or errors are named.
SHOWN: Final = 100

#: From which ages a user may choose.
_AGES: Final = tuple(timedelta(hours=hours) for hours in (1, 6, 24, 48, 7 * 24, 30 * 24))

#: Returns where a row can be edited, None where it cannot be.
Link = Callable[[Place, tuple[Any, ...]], str | None]


@dataclass(frozen=True, slots=True)
class Upkeep:
    """The jobs, by the real names of depots, with what the application decides; `find_unused` says what that means."""

    models: Iterable[object] | None = None
    protect: Sequence[object] = ()
    keep_if: Callable[[FoundFile], bool] | None = None
    settle: timedelta = timedelta(minutes=1)
    #: What is younger may belong to a transaction or a form that is under way.
    older_than: timedelta = DAY

    @property
    def ages(self) -> list[timedelta]:
        """The ages that a user may choose from."""
        return sorted({*_AGES, self.older_than})

    def checked_age(self, seconds: object) -> timedelta:
        """Return the age of so many seconds.

        Raises:
            ConfigurationError: it is none of those to choose from.
        """
        for age in self.ages:
            if age.total_seconds() == seconds:
                return age
        raise ConfigurationError(f"older_than={seconds!r}: one of the ages on the page is wanted")

    def count(self, depot_name: str, bind: Any, progress: Watcher) -> dict[str, Any]:
        """Return how many files a depot has, and how many of them rows name."""
        report = statistics(bind, depot_name, largest=0, models=self.models, progress=progress)
        depot = report.depots[depot_name]
        return {
            "files": depot.files,
            "size": shown_size(depot.bytes),
            "named": depot.files - depot.unnamed.files,
            "unnamed": depot.unnamed.files,
            "damaged": report.damaged_rows,
        }

    def unused(self, depot_name: str, age: timedelta, bind: Any, progress: Watcher) -> dict[str, Any]:
        """Return the files that no row names."""
        report = find_unused(bind, depot_name, older_than=age, progress=progress, **self._whose())
        now = datetime.now(UTC)
        return {
            **_counted(report),
            "unused": len(report.files),
            "size": shown_size(report.bytes),
            "before": report.before.isoformat(),
            "rows": [_file(report.depot, each, now) for each in report.files[:SHOWN]],
        }

    def delete(self, depot_name: str, age: timedelta, before: datetime, bind: Any, progress: Watcher) -> dict[str, Any]:
        """Delete the files that no row names: those that are older than the age, and were when they were shown."""
        limit = max(age, datetime.now(UTC) - before)
        report = delete_unused_files(
            bind, depot_name, older_than=limit, settle=self.settle, progress=progress, **self._whose()
        )
        left = sum(each.size for each in report.files if each.file_id in report.failed) if report.failed else 0
        return {
            **_counted(report),
            "deleted": report.deleted,
            "size": shown_size(report.bytes - left),
            "failed": len(report.failed),
            "rows": [{"id": each, "error": one_line(error)} for each, error in islice(report.failed.items(), SHOWN)],
        }

    def missing(self, depot_name: str, link: Link, bind: Any, progress: Watcher) -> dict[str, Any]:
        """Return the rows whose file is not there."""
        report = find_missing(bind, depot_name, models=self.models, progress=progress)
        return {
            "read": report.rows,
            "named": report.named,
            "missing": len(report.files),
            "rows": self._rows(report.files, link, bind),
            **_beside(report),
        }

    def clear(self, depot_name: str, shown: int, link: Link, bind: Any, progress: Watcher) -> dict[str, Any]:
        """Remove missing files from their rows, if there are not more than were shown."""
        report = clear_missing(bind, depot_name, shown, models=self.models, progress=progress)
        required, failed = (self._rows(report.files[each], link, bind) for each in (Outcome.REQUIRED, Outcome.FAILED))
        errors = [{"error": one_line(each)} for each in report.errors[:SHOWN]]
        return {
            "named": report.named,
            **{outcome.value: len(files) for outcome, files in report.files.items()},
            "required_rows": required,
            "failed_rows": [row | error for row, error in zip(failed, errors, strict=True)],
        }

    def _rows(self, files: Sequence[MissingFile], link: Link, bind: Any) -> list[dict[str, Any]]:
        """Return the first of the files as rows of a table."""
        known = {str(each): each for each in places(models=self.models)}
        database = Database(bind)
        return [_row(known[each.place], each, database, link) for each in files[:SHOWN]]

    def _whose(self) -> dict[str, Any]:
        return {"protect": self.protect, "keep_if": self.keep_if, "models": self.models}


def depots() -> list[dict[str, Any]]:
    """Return what is known of the depots without asking them or a database."""
    default = Depots.get_default() if Depots.depot_names() else None
    return [
        {
            "name": name,
            "default": name == default,
            "storage": type(Depots.get(name)).__name__,
            "aliases": Depots.aliases_of(name),
            "visibility": Depots.visibility(name),
            "swept": Depots.get(name).list_is_complete,
        }
        for name in Depots.depot_names()
    ]


def shown_age(age: timedelta) -> str:
    """Return an age in its largest unit.

    >>> shown_age(timedelta(hours=24)), shown_age(timedelta(days=2)), shown_age(timedelta(minutes=59))
    ('24 hours', '2 days', '59 minutes')
    """
    seconds = int(age.total_seconds())
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= unit * (2 if name == "days" else 1):
            count = seconds // unit
            return f"{count} {name if count != 1 else name[:-1]}"
    return f"{max(seconds, 0)} seconds"


# --- rows of tables -----------------------------------------------------------------------------------------------


def _counted(report: UnusedReport) -> dict[str, Any]:
    return {"listed": report.listed, "named": report.named, "young": report.young, "kept": report.kept}


def _file(depot_name: str, file: FoundFile, now: datetime) -> dict[str, Any]:
    return {
        "id": file.file_id,
        "size": shown_size(file.size),
        "age": shown_age(now - file.last_modified),
        "stored": f"{file.last_modified:%Y-%m-%d %H:%M} UTC",
        "url": _url(depot_name, file.file_id),
    }


def _url(depot_name: str, file_id: str) -> str | None:
    try:
        return url_of(depot_name, file_id)
    except DepotError:  # nothing serves its files
        return None


def _row(place: Place, file: MissingFile, database: Database, link: Link) -> dict[str, Any]:
    mapper = place.mapper
    return {
        "model": place.name if mapper is None else mapper.class_.__name__,
        "key": ", ".join(map(str, file.key)),
        "attribute": place.column.name if mapper is None else mapper.get_property_by_column(place.column).key,
        "part": "" if file.part == "path" else file.part.removesuffix(".path"),
        "name": _filename(place, file, database),
        "path": file.path,
        "url": link(place, file.key) if file.key else None,
    }


def _filename(place: Place, file: MissingFile, database: Database) -> str | None:
    """Return the name that the row has for a file; of a variant, that of its original."""
    text = _text(place, file.key, database)
    with suppress(MaintenanceStopped):
        for each in [] if text is None else named_files(place, Row(file.key, text, None)):
            name = each.facts.get("filename")
            if isinstance(name, str) and file.part.startswith(each.part.removesuffix("path")):
                return name
    return None


def _text(place: Place, key: tuple[Any, ...], database: Database) -> str | None:
    """Return what the row with a key holds by now."""
    if not key:
        return None
    with database.connection(place) as connection:
        here = [column == value for column, value in zip(place.key, key, strict=True)]
        found: Any = connection.execute(select(as_text(place, connection.dialect.name)).where(*here)).scalar()
    return found.decode() if isinstance(found, bytes) else found


def _beside(report: MissingReport) -> dict[str, Any]:
    """Return what else the search met: files that nobody can ask for, and rows that nobody understands."""
    unconfigured = [{"place": each.place, "key": each.key, "path": each.path} for each in report.unconfigured[:SHOWN]]
    damaged = [{"place": each.place, "key": each.key, "error": each.error} for each in report.damaged[:SHOWN]]
    return {
        "unconfigured": len(report.unconfigured),
        "unconfigured_rows": unconfigured,
        "damaged": len(report.damaged),
        "damaged_rows": damaged,
    }
