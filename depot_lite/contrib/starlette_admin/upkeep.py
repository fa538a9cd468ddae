"""The jobs of the maintenance page: reports of `depot_lite.maintenance` as data for JSON.

Each job takes the database and a progress callback as its last arguments, and lists only the first files or rows. No
result is kept in a process or a session: a deletion searches again.
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
from depot_lite.durations import format_age
from depot_lite.errors import ConfigurationError, DepotError, MaintenanceStopped
from depot_lite.fields.urls import url_of
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.clearing import Outcome, clear_missing
from depot_lite.maintenance.ids import FoundFile
from depot_lite.maintenance.missing import MissingFile, MissingReport, find_missing
from depot_lite.maintenance.rows.database import Database, Row, as_text
from depot_lite.maintenance.rows.named import named_files
from depot_lite.maintenance.rows.places import Place, places
from depot_lite.maintenance.run.reports import UnusedReport, Watcher
from depot_lite.maintenance.statistics import statistics
from depot_lite.maintenance.trash import WEEK
from depot_lite.maintenance.unused import DAY, delete_unused_files, find_unused

#: Maximum number of files, rows or errors in a list.
SHOWN: Final = 100

#: The ages offered to users.
_AGES: Final = tuple(timedelta(hours=hours) for hours in (1, 6, 24, 48, 7 * 24, 30 * 24))

#: A function that returns the URL of the page to edit a row, or None.
Link = Callable[[Place, tuple[Any, ...]], str | None]


@dataclass(frozen=True, slots=True)
class Upkeep:
    """The jobs, with the settings of the application; see `find_unused` for their meaning."""

    models: Iterable[object] | None = None
    protect: Sequence[object] = ()
    keep_if: Callable[[FoundFile], bool] | None = None
    settle: timedelta = timedelta(minutes=1)
    #: Younger files may belong to an open transaction or form.
    older_than: timedelta = DAY
    max_delete: int | str | None = None
    allow_empty: Iterable[str] = ()
    ignore_columns: Iterable[str] = ()
    allow_newer: bool = False
    #: For how long files are marked before they are deleted.
    trash: timedelta = WEEK

    @property
    def ages(self) -> list[timedelta]:
        """The ages offered to users."""
        return sorted({*_AGES, self.older_than})

    def checked_age(self, seconds: object) -> timedelta:
        """Return the offered age for a number of seconds.

        Raises:
            ConfigurationError: no such age is offered.
        """
        for age in self.ages:
            if age.total_seconds() == seconds:
                return age
        raise ConfigurationError(f"older_than: expected an age from the page, got {seconds!r}")

    def count(self, depot_name: str, bind: Any, progress: Watcher) -> dict[str, Any]:
        """Count the files of a depot, and those that rows name."""
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
        """Find the files that no row names."""
        report = find_unused(bind, depot_name, older_than=age, progress=progress, **self._settings())
        now = datetime.now(UTC)
        return {
            **_counted(report),
            "unused": len(report.files),
            "size": shown_size(report.bytes),
            "before": report.before.isoformat(),
            "objections": report.objections,
            "due": report.due,
            "trash": format_age(self.trash) if self.trash else "",
            "rows": [_file(report.depot, each, now) for each in report.files[:SHOWN]],
        }

    def delete(self, depot_name: str, age: timedelta, before: datetime, bind: Any, progress: Watcher) -> dict[str, Any]:
        """Delete the unused files that were older than the age already when the page listed them."""
        limit = max(age, datetime.now(UTC) - before)
        report = delete_unused_files(
            bind, depot_name, older_than=limit, settle=self.settle, progress=progress, **self._settings()
        )
        return {
            **_counted(report),
            "deleted": report.deleted,
            "marked": report.marked,
            "waiting": report.waiting,
            "size": shown_size(report.deleted_files.bytes),
            "failed": len(report.failed),
            "rows": [{"id": each, "error": one_line(error)} for each, error in islice(report.failed.items(), SHOWN)],
        }

    def missing(self, depot_name: str, link: Link, bind: Any, progress: Watcher) -> dict[str, Any]:
        """Find the rows whose file is missing."""
        report = find_missing(bind, depot_name, models=self.models, progress=progress)
        return {
            "read": report.rows,
            "named": report.named,
            "missing": len(report.files),
            "rows": self._rows(report.files, link, bind),
            **_other_findings(report),
        }

    def clear(self, depot_name: str, shown: int, link: Link, bind: Any, progress: Watcher) -> dict[str, Any]:
        """Remove missing files from their rows, if there are no more than the user confirmed."""
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

    def _settings(self) -> dict[str, Any]:
        return {
            "protect": self.protect,
            "keep_if": self.keep_if,
            "models": self.models,
            "max_delete": self.max_delete,
            "allow_empty": self.allow_empty,
            "ignore_columns": self.ignore_columns,
            "allow_newer": self.allow_newer,
            "trash": self.trash,
        }


def depots() -> list[dict[str, Any]]:
    """Return the configuration of all depots; neither storages nor the database are accessed."""
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


# --- rows of tables -----------------------------------------------------------------------------------------------


def _counted(report: UnusedReport) -> dict[str, Any]:
    return {"listed": report.listed, "named": report.named, "young": report.young, "kept": report.kept}


def _file(depot_name: str, file: FoundFile, now: datetime) -> dict[str, Any]:
    return {
        "id": file.file_id,
        "size": shown_size(file.size),
        "age": format_age(now - file.last_modified),
        "stored": f"{file.last_modified:%Y-%m-%d %H:%M} UTC",
        "url": _url(depot_name, file.file_id),
    }


def _url(depot_name: str, file_id: str) -> str | None:
    try:
        return url_of(depot_name, file_id)
    except DepotError:  # its files are not served
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
    """Return the file name stored in the row; for a variant, the name of its original."""
    text = _text(place, file.key, database)
    with suppress(MaintenanceStopped):
        for each in [] if text is None else named_files(place, Row(file.key, text, None)):
            name = each.facts.get("filename")
            if isinstance(name, str) and file.part.startswith(each.part.removesuffix("path")):
                return name
    return None


def _text(place: Place, key: tuple[Any, ...], database: Database) -> str | None:
    """Return the current text of the row with a key."""
    if not key:
        return None
    with database.connection(place) as connection:
        conditions = [column == value for column, value in zip(place.key, key, strict=True)]
        found: Any = connection.execute(select(as_text(place, connection.dialect.name)).where(*conditions)).scalar()
    return found.decode() if isinstance(found, bytes) else found


def _other_findings(report: MissingReport) -> dict[str, Any]:
    """Return the other findings of a search: files in unconfigured depots, and damaged rows."""
    unconfigured = [{"place": each.place, "key": each.key, "path": each.path} for each in report.unconfigured[:SHOWN]]
    damaged = [{"place": each.place, "key": each.key, "error": each.error} for each in report.damaged[:SHOWN]]
    return {
        "unconfigured": len(report.unconfigured),
        "unconfigured_rows": unconfigured,
        "damaged": len(report.damaged),
        "damaged_rows": damaged,
    }
