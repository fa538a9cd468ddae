"""The trash: files are marked first and deleted later, a mark can be taken off, and a log names what went."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, cast, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, InvalidFileId, MaintenanceStopped, StorageFailed
from depot_lite.io.composite.fallback import FallbackStorage
from depot_lite.io.composite.mirror import MirrorStorage
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileEntry, FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import Progress, claim, find_unused, undelete
from depot_lite.maintenance.trash import load_marks, update_marks
from depot_lite.manager import DepotManager
from tests.maintenance.conftest import NOW, Base, Film
from tests.support import sweeps

Add = Callable[..., None]
Depots = dict[str, FileStorage]

WEEK = timedelta(days=7)

#: Marks first.
sweep = partial(sweeps.sweep, models=[Base], trash=WEEK)


def name_it(engine: Engine, file_id: str) -> None:
    """Let a row name a file, as something that knows nothing of us would."""
    value: Any = bindparam("value", json.dumps({"path": f"default/{file_id}"}))
    if engine.dialect.name == "postgresql":
        value = cast(value, postgresql.JSONB)
    with engine.begin() as connection:
        connection.execute(Film.__table__.insert().values(shots=text("'[]'"), poster=value))  # type: ignore[attr-defined]


def backdate(storage: FileStorage, age: timedelta = WEEK) -> None:
    """Make all marks older."""
    marks = load_marks(storage)
    update_marks(storage, marks, {})
    update_marks(storage, (), {key: when - age.total_seconds() for key, when in marks.items()})


@pytest.fixture
def storage(database: Engine, committed: Add, depots: Depots) -> FileStorage:
    """The default depot, with a file that a row names."""
    committed(Film(poster=b"named"))
    return depots["default"]


class TestMarks:
    def test_files_are_marked_first_and_deleted_a_week_later(self, database: Engine, storage: FileStorage) -> None:
        """A marked file can be read; it waits until its time has come."""
        left = storage.create(b"left")
        report = sweep(database)
        assert (report.marked, report.deleted, [each.file_id for each in report.files]) == (1, 0, [left])
        with storage.get(left) as file:
            assert file.read() == b"left"
        report = sweep(database)
        assert (report.marked, report.deleted, report.waiting, report.due) == (0, 0, 1, 0)
        backdate(storage)
        found = find_unused(database, "default", older_than=NOW, models=[Base])
        assert (found.due, found.waiting, found.deleted) == (1, 0, None)
        report = sweep(database)
        assert (report.deleted, [each.file_id for each in report.deleted_files]) == (1, [left])
        assert not storage.exists(left)
        assert storage.read_note("trash") is None

    def test_a_marked_file_that_a_row_names_is_unmarked(self, database: Engine, storage: FileStorage) -> None:
        """And is marked anew if no row names it any longer."""
        left = storage.create(b"left")
        sweep(database)
        name_it(database, left)
        backdate(storage)
        report = sweep(database)
        assert (report.unmarked, report.deleted, len(load_marks(storage))) == (1, 0, 0)
        assert storage.exists(left)

    def test_what_is_named_while_it_waits_for_transactions_is_not_deleted(
        self, database: Engine, storage: FileStorage
    ) -> None:
        """All rows are read again before the first deletion; a file named by then is unmarked."""
        saved, gone = storage.create(b"saved"), storage.create(b"gone")
        sweep(database)
        backdate(storage)

        def watch(progress: Progress) -> None:
            if progress.step == "looking at columns that no model has" and progress.finished:
                name_it(database, saved)

        report = sweep(database, progress=watch)
        assert ([each.file_id for each in report.files], report.deleted, report.unmarked) == ([gone], 1, 1)
        assert (storage.exists(saved), load_marks(storage)) == (True, {})

    def test_without_trash_files_go_at_once(self, database: Engine, storage: FileStorage) -> None:
        """Marked or not; marks do not stay behind."""
        storage.create(b"marked")
        sweep(database)
        storage.create(b"not marked")
        report = sweep(database, trash=timedelta(0))
        assert (report.deleted, report.marked, storage.read_note("trash")) == (2, 0, None)

    def test_without_trash_the_newest_files_are_marked(self, database: Engine, storage: FileStorage) -> None:
        """They may be all that is left of rows that a restored database lacks, and nobody could bring them back."""
        left = storage.create(b"left")
        found = find_unused(database, "default", older_than=NOW, trash=NOW, models=[Base])
        assert (found.newer, found.due, len(found.files)) == (1, 0, 1)
        report = sweep(database, trash=NOW, allow_newer=False)
        assert (report.newer, report.marked, report.deleted) == (1, 1, 0)
        assert storage.exists(left)
        name_it(database, storage.create(b"newer"))
        report = sweep(database, trash=NOW, allow_newer=False)
        assert (report.newer, report.deleted, load_marks(storage)) == (0, 1, {})

    @pytest.mark.matrix
    def test_without_trash_the_newest_files_go_a_week_after_they_were_marked(
        self, database: Engine, storage: FileStorage
    ) -> None:
        """A mark that was taken off meanwhile keeps the file."""
        left, kept = storage.create(b"left"), storage.create(b"kept")
        sweep(database, trash=NOW, allow_newer=False)
        backdate(storage)

        def watch(progress: Progress) -> None:
            if progress.step == "looking at columns that no model has" and progress.finished:
                undelete("default", [kept])

        report = sweep(database, trash=NOW, allow_newer=False, progress=watch)
        assert ([each.file_id for each in report.deleted_files], report.kept) == ([left], 1)
        assert storage.exists(kept)

    def test_a_mark_is_as_old_as_the_later_clock_says(
        self, database: Engine, storage: FileStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A machine whose clock is behind made marks that were old once it was set."""
        storage.create(b"left")
        monkeypatch.setattr(storage, "now", lambda: datetime.now(UTC) + timedelta(days=8))
        sweep(database)
        (when,) = load_marks(storage).values()
        assert timedelta(days=7, hours=23) < datetime.fromtimestamp(when, UTC) - datetime.now(UTC)

    @pytest.mark.parametrize("note", [b"{}", b"depot_lite trash 2\n", b"depot_lite trash 1\nx 1\n", b"\xff"])
    def test_marks_that_cannot_be_understood_stop_it(self, database: Engine, storage: FileStorage, note: bytes) -> None:
        """A later version may have written them."""
        storage.create(b"left")
        storage.write_note("trash", note)
        with pytest.raises(MaintenanceStopped, match="the trash of LocalFileStorage"):
            sweep(database)
        with pytest.raises(MaintenanceStopped, match="the trash of LocalFileStorage"):
            undelete("default")

    def test_a_mark_that_cannot_be_taken_off_loses_no_report(
        self, database: Engine, storage: FileStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its file is gone, and the next run forgets it."""
        left = storage.create(b"left")
        sweep(database)
        backdate(storage)

        def full(self: FileStorage, file_id: str, text: bytes, version: object) -> bool:
            raise StorageFailed("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(type(storage), "_swap_note", full)
            assert sweep(database).deleted == 1
        assert "the marks of 1 deleted files of default were left: the disk is full" in caplog.text
        assert (storage.exists(left), len(load_marks(storage))) == (False, 1)
        assert (sweep(database).unmarked, load_marks(storage)) == (1, {})

    def test_nothing_is_deleted_if_marks_cannot_be_written(
        self, database: Engine, storage: FileStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first half fails, so the second does not begin."""
        storage.create(b"due")
        sweep(database)
        backdate(storage)
        storage.create(b"new")

        def full(self: FileStorage, file_id: str, text: bytes, version: object) -> bool:
            raise StorageFailed("the disk is full")

        monkeypatch.setattr(type(storage), "_swap_note", full)
        with pytest.raises(StorageFailed, match="full"):
            sweep(database)
        assert len(list(storage.list())) == 3

    @pytest.mark.parametrize("option", ["trash", "older_than"])
    @pytest.mark.parametrize("time", [timedelta(seconds=-1), "7d", 3600])
    def test_what_is_no_duration_is_refused(
        self, database: Engine, storage: FileStorage, option: str, time: Any
    ) -> None:
        with pytest.raises(ConfigurationError, match=rf"{option}=.*: expected a timedelta from 0 to 100 years"):
            sweep(database, **{option: time})

    @pytest.mark.matrix
    def test_the_limit_counts_marks_and_deletions_apart(self, database: Engine, storage: FileStorage) -> None:
        """A run marks as many as it may delete."""
        for _ in range(2):
            storage.create(b"left")
        sweep(database, max_delete=2)
        backdate(storage)
        for _ in range(2):
            storage.create(b"left")
        report = sweep(database, max_delete=2)
        assert (report.marked, report.deleted) == (2, 2)
        backdate(storage)
        with pytest.raises(MaintenanceStopped, match="2 of 3 files would be deleted, and the limit is 1"):
            sweep(database, max_delete=1)


class TestUndelete:
    def test_marks_are_taken_off(self, database: Engine, storage: FileStorage) -> None:
        """Of given files, or of all; a file that is not marked is named."""
        one, two, other = storage.create(b"1"), storage.create(b"2"), new_file_id()
        sweep(database)
        report = undelete("default", [one, other])
        assert (report.unmarked, report.unknown) == ((one,), (other,))
        assert undelete("default").unmarked == (two,)
        backdate(storage)
        assert sweep(database).deleted == 0

    def test_an_id_that_is_none_is_refused(self, storage: FileStorage) -> None:
        """Before anything is changed."""
        with pytest.raises(InvalidFileId):
            undelete("default", ["x"])

    def test_what_is_undeleted_while_a_sweep_runs_stays(self, database: Engine, storage: FileStorage) -> None:
        """Until its last moment before the deletion, and without a new mark."""
        one, two = storage.create(b"1"), storage.create(b"2")
        sweep(database)
        backdate(storage)

        def watch(progress: Progress) -> None:
            if progress.step == "looking at columns that no model has" and progress.finished:
                undelete("default", [one])

        report = sweep(database, progress=watch)
        assert ([each.file_id for each in report.deleted_files], report.kept) == ([two], 1)
        assert (storage.exists(one), load_marks(storage)) == (True, {})


class TestLog:
    def test_each_file_is_named_before_it_goes(
        self, database: Engine, storage: FileStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With its size, and with the error if it could not be deleted; later runs append."""
        left, log = storage.create(b"12345"), tmp_path / "sweep.log"
        sweep(database, log=log)
        backdate(storage)
        monkeypatch.setattr(
            type(storage), "_delete_many", lambda self, ids: dict.fromkeys(ids, StorageFailed("the disk\nis read-only"))
        )
        report = sweep(database, log=str(log))
        assert (report.deleted, list(report.failed)) == (0, [left])
        lines = [line.split(" ", 1)[1] for line in log.read_text().splitlines()]
        assert lines == [
            f"mark default/{left} 5",
            f"delete default/{left} 5",
            f"failed default/{left} the disk is read-only",
        ]
        assert all(datetime.fromisoformat(line.split(" ")[0]) for line in log.read_text().splitlines())

    @pytest.mark.matrix
    def test_it_names_what_went_before_a_run_was_stopped(
        self, database: Engine, storage: FileStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By a signal, here; the next run does the rest, and no mark of a deleted file stays."""
        monkeypatch.setattr("depot_lite.maintenance.deletion._AT_ONCE", 2)
        left = {storage.create(b"left") for _ in range(5)}
        sweep(database)
        backdate(storage)

        def watch(progress: Progress) -> None:
            if progress.step == "deleting" and progress.done == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr("depot_lite.maintenance.run.reports._INTERVAL", 0)
        with pytest.raises(KeyboardInterrupt):
            sweep(database, progress=watch, log=tmp_path / "log")
        gone = left - set(storage.list())
        assert {line.split("/")[1][:36] for line in (tmp_path / "log").read_text().splitlines()} == gone
        assert (len(gone), len(load_marks(storage))) == (2, 3)
        assert sweep(database).deleted == 3

    def test_without_a_log_the_logger_names_what_went_before_a_run_was_stopped(
        self,
        database: Engine,
        storage: FileStorage,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Nothing else would, since there is no report."""
        monkeypatch.setattr("depot_lite.maintenance.deletion._AT_ONCE", 1)
        monkeypatch.setattr("depot_lite.maintenance.run.reports._INTERVAL", 0)
        left = {storage.create(b"left") for _ in range(3)}

        def watch(progress: Progress) -> None:
            if progress.step == "deleting" and progress.done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sweep(database, trash=NOW, progress=watch)
        gone = left - set(storage.list())
        assert {each.getMessage() for each in caplog.records} == {f"delete default/{each} 4" for each in gone}
        assert len(gone) == 2

    def test_a_log_that_cannot_be_written_stops_it(
        self, database: Engine, storage: FileStorage, tmp_path: Path
    ) -> None:
        """Before anything is read."""
        with pytest.raises(ConfigurationError, match="cannot be written"):
            sweep(database, log=tmp_path / "missing" / "log")

    def test_a_log_on_a_full_disk_stops_it_before_a_file_goes(self, database: Engine, storage: FileStorage) -> None:
        """It would not name what went."""
        left = storage.create(b"left")
        with pytest.raises(MaintenanceStopped, match="log /dev/full cannot be written: No space left on device"):
            sweep(database, trash=NOW, log="/dev/full")
        assert storage.exists(left)

    def test_a_log_may_be_a_pipe(self, database: Engine, storage: FileStorage) -> None:
        """As standard error is in a container; it cannot be synced."""
        left, (reader, writer) = storage.create(b"left"), os.pipe()
        with open(reader) as lines:
            try:
                assert sweep(database, trash=NOW, log=f"/dev/fd/{writer}").deleted == 1
            finally:
                os.close(writer)
            assert f"delete default/{left} 4\n" in lines.read()


class TestReadings:
    def test_all_rows_are_read_twice_however_many_files_there_are(
        self, database: Engine, storage: FileStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Once to find the files, and once directly before the first of them is deleted."""
        monkeypatch.setattr("depot_lite.maintenance.deletion._AT_ONCE", 2)
        for _ in range(9):
            storage.create(b"left")
        readings: list[str] = []

        def watch(progress: Progress) -> None:
            if progress.finished and progress.step == "reading upkeep_film.poster":
                readings.append(progress.step)

        assert sweep(database, trash=NOW, progress=watch).deleted == 9
        assert len(readings) == 2

    @pytest.mark.matrix
    def test_they_are_read_again_where_deletions_take_long(
        self, database: Engine, storage: FileStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Longer than a file may be young: an old file may be named by then. If it fails, the error has the report."""
        monkeypatch.setattr("depot_lite.maintenance.deletion._AT_ONCE", 1)
        clock = [1000.0]
        for module in ("readings", "deletion"):
            monkeypatch.setattr(f"depot_lite.maintenance.{module}.monotonic", lambda: clock[0])
        delete = type(storage)._delete_many
        left = [storage.create(b"left") for _ in range(4)]
        gone: list[str] = []

        def slow(self: FileStorage, ids: list[str]) -> dict[str, Exception]:
            clock[0] += 3601
            gone.extend(ids)
            if len(gone) == 1:
                name_it(database, next(each for each in left if each not in gone))
            if len(gone) == 2:
                with database.begin() as connection:
                    connection.execute(text("UPDATE upkeep_film SET script = '{'"))
            return delete(self, ids)

        monkeypatch.setattr(type(storage), "_delete_many", slow)
        monkeypatch.setattr("depot_lite.maintenance.unused._limit", lambda *_: datetime(2100, 1, 1, tzinfo=UTC))
        with pytest.raises(MaintenanceStopped, match=r"upkeep_film\.script .*; 2 files were deleted before") as stopped:
            sweep(database, trash=NOW, older_than=timedelta(hours=1), settle=NOW)
        assert {each.file_id for each in stopped.value.report.deleted_files} == set(gone)
        assert (len(gone), len(list(storage.list()))) == (2, 3)

    def test_a_file_in_a_column_that_has_no_path_is_named(self, database: Engine, storage: FileStorage) -> None:
        """By its id alone, in a list with others too."""
        ids = [storage.create(b"x") for _ in range(4)]
        values = [
            {"file_id": ids[0]},
            {"file_id": ids[1], "path": None},
            [{"path": f"default/{ids[2]}", "file_id": ids[2], "files": [f"default/{ids[2]}"]}, {"file_id": ids[3]}],
        ]
        with database.begin() as connection:
            for value in values:
                statement = text("INSERT INTO upkeep_film (shots, script) VALUES ('[]', :value)")
                connection.execute(statement, {"value": json.dumps(value)})
        assert sweep(database, trash=NOW).deleted == 0

    @pytest.mark.parametrize(
        "spelling", [str.upper, lambda each: each.replace("-", ""), "{{{}}}".format, "ab{}0".format]
    )
    def test_protected_ids_are_found_in_every_spelling(
        self, database: Engine, storage: FileStorage, spelling: Callable[[str], str]
    ) -> None:
        """Upper case, 32 digits, in braces, within other digits."""
        left = storage.create(b"left")
        with database.begin() as connection:
            connection.execute(Film.__table__.update().values(title=spelling(left)))  # type: ignore[attr-defined]
        assert sweep(database, trash=NOW, protect=[Film.title], ignore_columns=["*.*"]).deleted == 0

    def test_a_protected_column_that_protects_nothing_stops_it(self, database: Engine, storage: FileStorage) -> None:
        """It has values, and none of them is an id: the ids may be written as nobody expects."""
        storage.create(b"left")
        with database.begin() as connection:
            connection.execute(Film.__table__.update().values(title="nothing"))  # type: ignore[attr-defined]
        with pytest.raises(MaintenanceStopped, match=r"upkeep_film\.title is protected, but none of its 1 values"):
            sweep(database, protect=[Film.title])


class TestClocks:
    def test_a_clock_that_is_ahead_condemns_no_fresh_file(
        self, database: Engine, committed: Add, depots: Depots, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The age of a file is measured by the storage's clock."""

        class Ahead(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + timedelta(hours=25)

        committed(Film(poster=b"named"))
        depots["default"].create(b"fresh")
        monkeypatch.setattr("depot_lite.maintenance.trash.datetime", Ahead)
        report = sweep(database, older_than=timedelta(days=1), trash=NOW)
        assert (report.young, report.deleted) == (1, 0)

    @pytest.mark.parametrize("make", [MirrorStorage, FallbackStorage])
    def test_the_clock_of_each_part_of_a_composite_counts(
        self, database: Engine, committed: Add, depots: Depots, make: Callable[..., FileStorage]
    ) -> None:
        """A server that is behind tells times that seem old to everybody else."""

        class Behind(MemoryFileStorage):
            def _now(self) -> datetime:
                return super()._now() - timedelta(hours=25)

            def _list(self) -> Iterator[FileEntry]:
                for each in super()._list():
                    yield FileEntry.told(each, each.size, each.last_modified - timedelta(hours=25))

        committed(Film(poster=b"named"))
        both = DepotManager.configure("both", make(Behind(), MemoryFileStorage()))
        both.create(b"fresh")
        report = sweep(database, "both", older_than=timedelta(days=1), trash=NOW)
        assert (report.young, report.deleted) == (1, 0)


class TestSeveralAtOnce:
    @pytest.mark.matrix
    def test_two_sweeps_at_once_delete_each_file_once(
        self, database: Engine, committed: Add, depots: Depots, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Or twice, which is no error; files that rows name stay."""
        committed(*(Film(poster=f"{number}".encode()) for number in range(5)))
        memory = DepotManager.configure("memory", MemoryFileStorage())
        for _ in range(50):
            memory.create(b"left")
        claim(database, "memory", models=[Base])
        barrier, reports = threading.Barrier(2, timeout=60), list[Any]()

        def run() -> None:
            def watch(progress: Progress) -> None:
                if progress.step == "listing" and progress.finished:
                    barrier.wait()

            reports.append(sweep(database, "memory", trash=NOW, progress=watch))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert [each.failed for each in reports] == [{}, {}]
        assert list(memory.list()) == []
        with Session(database) as session:
            assert all(film.poster and film.poster.file.read() for film in session.query(Film))
