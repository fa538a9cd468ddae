"""Sweeps in tests about something else than what may stop them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from depot_lite.maintenance import UnusedReport, claim, delete_unused_files
from depot_lite.maintenance.rows.places import places
from depot_lite.manager import DepotManager


def consent(depot_name: str, models: Sequence[object]) -> dict[str, Any]:
    """Return the options with which many or all files may go, and tables may be empty."""
    tables = {place.name for place in places(models=models)}
    depot = DepotManager.resolve_alias(depot_name)
    return {"models": models, "max_delete": "100%", "allow_empty": [*tables, depot], "allow_newer": True}


def sweep(bind: Any, depot_name: str = "default", *, models: Sequence[object], **options: Any) -> UnusedReport:
    """Delete all unused files of a depot that this database claims, however young and many they are."""
    claim(bind, depot_name, models=models)
    return delete_unused_files(
        bind,
        depot_name,
        **{"older_than": timedelta(0), "trash": timedelta(0), **consent(depot_name, models), **options},
    )
