"""Numbers and times that are out of range: the error names the argument, its value and the values that it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Final

import pytest
from sqlalchemy import Engine

from depot_lite.errors import ConfigurationError
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import (
    copy_files,
    create_units_table,
    delete_unused_files,
    find_unused,
    migrate,
    regenerate_variants,
    restore_files,
    share_copy,
    share_migration,
    statistics,
    verify,
)
from depot_lite.manager import DepotManager
from tests.conftest import sqlite_engine
from tests.maintenance.conftest import Base

BOTH: Final = ("default", "archive")
COUNTS: Final = (-1, 1.5, "x", True, 10**30)
TIMES: Final = (timedelta(seconds=-1), timedelta.max, 3600, "1h")

JOBS: Final[dict[tuple[Callable[..., Any], str], tuple[Any, ...]]] = {
    (partial(migrate, source="default", target="archive", models=[Base]), "limit"): COUNTS,
    (partial(restore_files, source="archive", target="default", models=[Base]), "limit"): COUNTS,
    (partial(regenerate_variants, models=[Base]), "limit"): COUNTS,
    (partial(regenerate_variants, models=[Base]), "batch"): (0, *COUNTS),
    (partial(statistics, models=[Base]), "largest"): (None, *COUNTS),
    (partial(verify, depot_name="default", models=[Base]), "sample"): (0, -1, 1.01, math.nan, "x", None, True),
    (partial(verify, depot_name="default", models=[Base]), "workers"): (0, 1001, *COUNTS),
    (partial(migrate, source="default", target="archive", models=[Base]), "rate"): (0, *COUNTS),
    (partial(share_migration, source="default", target="archive", models=[Base]), "rows"): (0, *COUNTS),
    (partial(share_migration, source="default", target="archive", models=[Base]), "lease"): (0, -1, math.inf, "x"),
    (partial(share_copy, source="default", target="archive"), "files"): (0, *COUNTS),
    (partial(share_copy, source="default", target="archive"), "lease"): (0, -1, math.nan, None),
    (partial(find_unused, models=[Base]), "older_than"): TIMES,
    (partial(find_unused, models=[Base]), "trash"): TIMES,
    (partial(delete_unused_files, models=[Base]), "settle"): TIMES,
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """SQLite alone: no database sees these numbers."""
    made = sqlite_engine(tmp_path_factory.mktemp("numbers") / "test.db")
    create_units_table(made)
    yield made
    made.dispose()


@pytest.mark.parametrize(
    ("job", "name", "value"),
    [
        pytest.param(job, name, value, id=f"{job.func.__name__} {name}={value!r}")  # type: ignore[attr-defined]
        for (job, name), values in JOBS.items()
        for value in values
    ],
)
def test_a_number_out_of_range_is_named(
    database: Engine, depots: object, job: Callable[..., Any], name: str, value: Any
) -> None:
    """Before anything is read or written."""
    with pytest.raises(ConfigurationError) as refused:
        job(database, **{name: value})
    assert str(refused.value).startswith(f"{name}={value!r}: expected ")


@pytest.mark.parametrize("value", COUNTS)
def test_a_wrong_number_of_files_to_prune_copies_nothing(depots: object, value: Any) -> None:
    """It was noticed when all files were copied."""
    for name in ("one", "two"):
        DepotManager.configure(name, MemoryFileStorage())
    DepotManager.get("one").create(b"x")
    with pytest.raises(ConfigurationError, match=r"^max_prune=.*: expected a whole number from 0 to"):
        copy_files("one", "two", max_prune=value)
    assert list(DepotManager.get("two").list()) == []


def test_zero_moves_and_restores_nothing(database: Engine, depots: object) -> None:
    """It is a limit like others."""
    assert migrate(database, *BOTH, limit=0, models=[Base]).files == 0
    DepotManager.get("archive").create(b"x")
    assert restore_files(None, *reversed(BOTH), limit=0).files == 0
