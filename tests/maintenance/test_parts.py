"""The parts of a composite storage under names of their own: unused, missing and statistics say the same of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from depot_lite.io.composite.fallback import FallbackStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.maintenance import find_missing, find_unused, statistics
from depot_lite.maintenance.clearing import Outcome, clear_missing
from depot_lite.maintenance.statistics import ColumnStatistics
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.maintenance.conftest import NOW, Base, Film


@pytest.fixture
def files(database: Engine, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The ids of a file in the part ``new`` and one in the part ``old``, which rows name in the whole, ``default``."""
    with temporary_depots():
        old, new = (LocalFileStorage(tmp_path / name, durable=False) for name in ("old", "new"))
        DepotManager.configure("default", FallbackStorage(new, old))
        DepotManager.configure("old", LocalFileStorage(tmp_path / "old", durable=False))
        DepotManager.configure("new", LocalFileStorage(tmp_path / "new", durable=False))
        with Session(database) as session:
            session.add_all(films := [Film(poster=b"123"), Film(poster=b"4567")])
            session.commit()
            moved, kept = (film.poster.file_id for film in films if film.poster)
        old.save_from(new, kept, file_id=kept)
        new.delete(kept)
        yield moved, kept


def test_a_file_that_a_row_names_in_the_whole_is_named_in_its_part(database: Engine, files: tuple[str, str]) -> None:
    """It is neither unused nor unnamed there, and not missing."""
    report = statistics(database, models=[Base])
    for name, count in (("default", 2), ("old", 1), ("new", 1)):
        unused = find_unused(database, name, older_than=NOW, models=[Base])
        missing = find_missing(database, name, models=[Base])
        assert (len(unused.files), unused.named, missing.files, missing.named) == (0, count, [], 2)
        assert (report.depots[name].files, report.depots[name].unnamed.files) == (count, 0)
        assert [each.row for each in report.depots[name].largest if each.row is None] == []
    assert report.columns["upkeep_film.poster"] == ColumnStatistics(rows=2, files=2, bytes=7)


def test_a_file_that_a_row_names_is_missing_if_no_part_has_it(database: Engine, files: tuple[str, str]) -> None:
    """And is cleared from its row; one that the other part has stays."""
    moved, kept = files
    DepotManager.get("old").delete(kept)
    for name in ("default", "old", "new"):
        assert [each.path for each in find_missing(database, name, models=[Base]).files] == [f"default/{kept}"]
    report = clear_missing(database, "new", 1, models=[Base])
    assert [each.path for each in report.files[Outcome.REMOVED]] == [f"default/{kept}"]
    with Session(database) as session:
        assert [film.poster.file_id for film in session.query(Film) if film.poster] == [moved]


def test_most_files_missing_says_what_that_usually_means(database: Engine, files: tuple[str, str]) -> None:
    """A storage that is not mounted, mostly; not if there are few."""
    assert find_missing(database, models=[Base]).doubt is None
    for name, part in zip(files, ("new", "old"), strict=True):
        DepotManager.get(part).delete(name)
    doubt = find_missing(database, models=[Base]).doubt
    assert doubt is not None
    assert doubt.startswith("All of the named files are missing. That usually means that the storage is not mounted")
