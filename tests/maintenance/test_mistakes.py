"""Mistakes of operators that make live files look unused: the sweep stops, says why, and every file stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, text

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import UnusedReport, claim, copy_files, delete_unused_files, find_unused
from depot_lite.maintenance.limits import DeletionLimit
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.maintenance.conftest import NOW, Base, Film, Scene
from tests.support import sweeps
from tests.support.sweeps import consent

Add = Callable[..., None]
Depots = dict[str, FileStorage]

sweep = partial(sweeps.sweep, models=[Base])


def look(engine: Engine, depot_name: str = "default", **options: Any) -> UnusedReport:
    """Find unused files, of any age and number."""
    return find_unused(engine, depot_name, older_than=NOW, **{**consent(depot_name, [Base]), **options})


def films(count: int) -> list[Film]:
    return [Film(poster=f"{number}".encode()) for number in range(count)]


class TestNamesOfDepots:
    """An id is never used twice: a row that names it in a depot without it means the file in the other depot."""

    def test_a_depot_whose_name_became_an_alias_of_another_keeps_its_files(
        self, database: Engine, committed: Add, tmp_path: Path
    ) -> None:
        """Rows remember ``posters``, which leads to the new storage from now on."""
        with temporary_depots():
            DepotManager.configure("posters", LocalFileStorage(tmp_path / "disk", durable=False))
            committed(*films(10))
        with temporary_depots():
            disk = DepotManager.configure("disk", LocalFileStorage(tmp_path / "disk", durable=False))
            DepotManager.configure("s3", MemoryFileStorage())
            DepotManager.alias("posters", "s3")
            left = disk.create(b"left")
            report = look(database, "disk")
            assert ([each.file_id for each in report.files], report.misplaced) == ([left], 10)
            with pytest.raises(MaintenanceStopped, match=r"rows name 10 files as files of 'posters', an alias of 's3'"):
                sweep(database, "disk")
            assert len(list(disk.list())) == 11

    def test_storages_that_were_swapped_keep_their_files(
        self, database: Engine, committed: Add, depots: Depots, tmp_path: Path
    ) -> None:
        """As a moved configuration may do it."""
        committed(Film(poster=b"in default", script=b"in archive"), *films(3))
        with temporary_depots():
            for name, other in (("default", "archive"), ("archive", "default")):
                DepotManager.configure(name, LocalFileStorage(tmp_path / "media" / other, durable=False))
            for name, misplaced in (("default", 1), ("archive", 4)):
                assert (look(database, name).misplaced, len(look(database, name).files)) == (misplaced, 0)
                with pytest.raises(MaintenanceStopped, match="these files are in use"):
                    sweep(database, name)

    @pytest.mark.matrix
    def test_a_folder_that_is_mounted_twice_keeps_its_files(
        self, database: Engine, committed: Add, depots: Depots, tmp_path: Path
    ) -> None:
        """Its owner mark tells, not its device; a copy of the whole folder gets a mark of its own."""

        class Mounted(LocalFileStorage):
            @property
            def location(self) -> str:
                return f"another device: {self.storage_path}"

        committed(*films(3))
        claim(database, "default", models=[Base])
        mounted = DepotManager.configure("again", Mounted(tmp_path / "media" / "default"))
        report = look(database, "again")
        assert (len(report.files), report.misplaced) == (0, 3)
        with pytest.raises(MaintenanceStopped, match="'default', which has the same owner mark as 'again'"):
            sweep(database, "again")
        assert len(list(mounted.list())) == 3
        shutil.copytree(tmp_path / "media" / "default", tmp_path / "copy")
        DepotManager.configure("copy", LocalFileStorage(tmp_path / "copy"))
        assert look(database, "copy").misplaced == 3
        claim(database, "copy", models=[Base], replace=True)
        assert sweep(database, "copy").deleted == 3
        assert look(database).named == 3

    def test_a_copy_in_another_depot_is_no_file_that_a_row_means(
        self, database: Engine, committed: Add, depots: Depots, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The files that rows name are where rows say; also if there are so many that the depot is listed."""
        monkeypatch.setattr("depot_lite.maintenance.unused._FEW", 2)
        committed(*films(5))
        backup = DepotManager.configure("backup", MemoryFileStorage())
        copy_files("default", "backup")
        report = sweep(database, "backup")
        assert (report.deleted, report.misplaced, list(backup.list())) == (5, 0, [])


class TestLimits:
    @pytest.mark.parametrize(
        ("given", "listed", "limit"),
        [
            (None, 50_000, 1000),
            (None, 5000, 500),
            (None, 20, 10),
            ("10%", 50, 5),
            (7, 1000, 7),
            ("7", 10, 7),
            (0, 9, 0),
        ],
    )
    def test_a_limit_is_a_number_or_a_share(self, given: Any, listed: int, limit: int) -> None:
        """By default a tenth or 1,000, whichever is less, but at least 10."""
        assert DeletionLimit(given).of(listed) == limit

    @pytest.mark.parametrize("given", ["many", "", "101%", "-1", -1, True, "1.5", "%"])
    def test_what_is_no_limit_is_refused(self, database: Engine, given: Any) -> None:
        """Before anything is read."""
        with pytest.raises(ConfigurationError, match="max_delete: expected a number of files"):
            find_unused(database, "default", models=[Base], max_delete=given)

    def test_more_files_than_the_limit_are_not_deleted(self, database: Engine, committed: Add, depots: Depots) -> None:
        """The message says how many there are, and how to allow it."""
        committed(*films(5))
        left = {depots["default"].create(b"left") for _ in range(11)}
        with pytest.raises(MaintenanceStopped, match=r"11 of 16 files .* the limit is 10: .*--max-delete 11"):
            sweep(database, max_delete=None)
        assert left <= set(depots["default"].list())
        assert sweep(database, max_delete=11).deleted == 11

    def test_a_dry_run_tells_every_reason_at_once(self, database: Engine, committed: Add, depots: Depots) -> None:
        """And finds the files nevertheless."""
        for _ in range(11):
            depots["default"].create(b"left")
        claim(database, "default", models=[Base])
        report = find_unused(database, "default", older_than=NOW, models=[Base])
        assert len(report.files) == 11
        # Other tests make and drop tables on the same server, which may be in the way of a look at them.
        many, unreferenced, empty = sorted(each for each in report.objections if not each.startswith("column "))
        assert many.startswith("11 of 11 files would be marked, and the limit is 10")
        assert "--allow-empty default" in unreferenced
        assert "--allow-empty upkeep_film --allow-empty upkeep_" in empty


class TestEmptyTables:
    def test_an_empty_table_condemns_no_file(self, database: Engine, committed: Add, depots: Depots) -> None:
        """As in a database that was restored in part, or is another one."""
        committed(*films(2), Scene(film="M", number=1, take=b"take"))
        with database.begin() as connection:
            connection.execute(delete(Film))
        allowed = [each for each in consent("default", [Base])["allow_empty"] if each != "upkeep_film"]
        with pytest.raises(MaintenanceStopped, match=r"table upkeep_film is empty.*--allow-empty upkeep_film"):
            sweep(database, allow_empty=allowed)
        assert len(list(depots["default"].list())) == 3
        assert sweep(database, allow_empty=[*allowed, "upkeep_film"]).deleted == 2

    def test_a_table_with_rows_that_name_nothing_is_not_empty(
        self, database: Engine, committed: Add, depots: Depots
    ) -> None:
        """A column may be NULL in all of its rows."""
        committed(Film(), Scene(film="M", number=1, take=b"take"))
        depots["default"].create(b"left")
        allowed = [each for each in consent("default", [Base])["allow_empty"] if each != "upkeep_film"]
        assert sweep(database, allow_empty=allowed).deleted == 1

    def test_without_a_reference_no_file_is_deleted(self, database: Engine, committed: Add, depots: Depots) -> None:
        """All of them might be those of another database."""
        committed(Film(script=b"in archive"))
        depots["default"].create(b"left")
        tables = [each for each in consent("default", [Base])["allow_empty"] if each != "default"]
        with pytest.raises(
            MaintenanceStopped, match=r"no row names a file in depot .default., which lists 1: .*--allow-empty default"
        ):
            sweep(database, allow_empty=tables)
        assert sweep(database, allow_empty=[*tables, "default"]).deleted == 1

    def test_one_name_is_no_list(self, database: Engine) -> None:
        """It would be a list of letters."""
        with pytest.raises(ConfigurationError, match="expected a list of names"):
            delete_unused_files(database, "default", models=[Base], allow_empty="upkeep_film")

    def test_a_protected_table_may_not_be_empty_either(self, database: Engine, committed: Add, depots: Depots) -> None:
        """It protects nothing then."""
        committed(*films(1))
        depots["default"].create(b"left")
        with database.begin() as connection:
            connection.execute(text("CREATE TABLE upkeep_history (value VARCHAR(100))"))
        try:
            with pytest.raises(MaintenanceStopped, match="table upkeep_history is empty"):
                sweep(database, protect=["upkeep_history.value"])
        finally:
            with database.begin() as connection:
                connection.execute(text("DROP TABLE upkeep_history"))


class TestOlderDatabases:
    """A database that was restored, or lags behind, names none of the newest files."""

    @pytest.fixture(params=[None, MemoryFileStorage], ids=["disk", "listed with times"])
    def storage(self, request: pytest.FixtureRequest, depots: Depots) -> Iterator[FileStorage]:
        if request.param is None:
            yield depots["default"]
            return
        with temporary_depots():
            yield DepotManager.configure("default", request.param())

    def restore(self, engine: Engine, **options: Any) -> None:
        """Let the rows of the newest films be lost."""
        with engine.begin() as connection:
            connection.execute(delete(Film).where(Film.title == "new"))

    def test_many_files_that_are_newer_than_all_that_rows_name_stop_it(
        self, database: Engine, committed: Add, storage: FileStorage
    ) -> None:
        """Until a row names a newer one; the files of some deleted rows are no reason."""
        committed(*films(3), *(Film(poster=b"new", title="new") for _ in range(9)))
        self.restore(database)
        claim(database, "default", models=[Base])
        assert look(database, allow_newer=False).objections == []
        committed(Film(poster=b"tenth", title="new"))
        self.restore(database)
        with pytest.raises(MaintenanceStopped, match=r"10 of 10 unused files are newer .* \(allow_newer"):
            sweep(database, allow_newer=False)
        assert len(list(storage.list())) == 13
        committed(Film(poster=b"newer"))
        assert sweep(database, allow_newer=False).deleted == 10

    def test_what_was_marked_by_an_older_database_is_unmarked_by_the_real_one(
        self, database: Engine, committed: Add, storage: FileStorage
    ) -> None:
        """Each row is asked before a marked file goes, also long after its time has come."""
        committed(*films(3), *(Film(id=1_000_000 + number, poster=b"new", title="new") for number in range(10)))
        with database.begin() as connection:
            rows = connection.execute(select(Film.__table__).where(Film.title == "new")).all()
        self.restore(database)
        assert sweep(database, trash=timedelta(days=7)).marked == 10
        with database.begin() as connection:
            connection.execute(insert(Film), [each._asdict() for each in rows])
        report = sweep(database, trash=timedelta(microseconds=1))
        assert (report.unmarked, report.deleted, len(list(storage.list()))) == (10, 0, 13)
