"""Maintenance: compares the files in storages with the references in rows.

    from depot_lite.maintenance import delete_unused_files

    with Session(engine) as session:
        report = delete_unused_files(session, "posters", older_than=timedelta(days=2))
        print(report.marked, report.deleted)

Every function returns a report, takes a ``progress`` callback, and prints nothing. ``depot_lite.maintenance.aio`` has
the same functions for asynchronous sessions; the command ``depot-lite`` prints their reports.
"""

from __future__ import annotations

from depot_lite.maintenance.backup import copy_files
from depot_lite.maintenance.facts import add_missing_facts
from depot_lite.maintenance.ids import FoundFile
from depot_lite.maintenance.memory import limited_memory
from depot_lite.maintenance.migration import migrate
from depot_lite.maintenance.missing import DamagedRow, MissingFile, MissingReport, find_missing
from depot_lite.maintenance.owners import ClaimReport, claim
from depot_lite.maintenance.restoration import RestoreReport, restore_files
from depot_lite.maintenance.retirement import RetirementReport, prove_replaced
from depot_lite.maintenance.run.reports import (
    CopyReport,
    FailedRow,
    MigrationReport,
    Progress,
    RegenerateReport,
    UnusedReport,
    Watcher,
)
from depot_lite.maintenance.run.units import create_units_table
from depot_lite.maintenance.sharing import share_copy, share_migration
from depot_lite.maintenance.statistics import StatisticsReport, statistics
from depot_lite.maintenance.trash import UndeleteReport, undelete
from depot_lite.maintenance.unused import delete_unused_files, find_unused
from depot_lite.maintenance.variants import make_missing_variants, make_variants, regenerate_variants
from depot_lite.maintenance.verdicts import Finding
from depot_lite.maintenance.verification import VerifyReport, verify

__all__ = [
    "ClaimReport",
    "CopyReport",
    "DamagedRow",
    "FailedRow",
    "Finding",
    "FoundFile",
    "MigrationReport",
    "MissingFile",
    "MissingReport",
    "Progress",
    "RegenerateReport",
    "RestoreReport",
    "RetirementReport",
    "StatisticsReport",
    "UndeleteReport",
    "UnusedReport",
    "VerifyReport",
    "Watcher",
    "add_missing_facts",
    "claim",
    "copy_files",
    "create_units_table",
    "delete_unused_files",
    "find_missing",
    "find_unused",
    "limited_memory",
    "make_missing_variants",
    "make_variants",
    "migrate",
    "prove_replaced",
    "regenerate_variants",
    "restore_files",
    "share_copy",
    "share_migration",
    "statistics",
    "undelete",
    "verify",
]
