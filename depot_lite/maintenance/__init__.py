"""Maintenance: what storages hold, held against what rows name.

    from depot_lite.maintenance import delete_unused_files

    with Session(engine) as session:
        report = delete_unused_files(session, "posters", older_than=timedelta(days=2))
        print(report.deleted, report.bytes)

Every function returns a report, takes a ``progress`` callback, and prints nothing. ``depot_lite.maintenance.aio`` has
the same for asynchronous sessions, ``depot-lite`` on the command line shows them.
"""

from __future__ import annotations

from depot_lite.maintenance.ids import FoundFile
from depot_lite.maintenance.reports import Progress, UnusedReport, Watcher
from depot_lite.maintenance.unused import delete_unused_files, find_unused

__all__ = [
    "FoundFile",
    "Progress",
    "UnusedReport",
    "Watcher",
    "delete_unused_files",
    "find_unused",
]
