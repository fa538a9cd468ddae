"""find_unused and delete_unused_files: what no row names, all of it, and nothing else."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine, Table, Text, bindparam, cast, create_engine, event, insert, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, MaintenanceStopped, StorageFailed
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileEntry, FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import FoundFile, Progress, delete_unused_files, find_missing, find_unused
from depot_lite.maintenance.ids import limited_memory
from depot_lite.manager import DepotManager
from tests.maintenance.conftest import LOG, NOW, Base, Film, Scene, Short
from tests.support.sweeps import sweep

Add = Callable[..., None]
Depots = dict[str, FileStorage]

FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(stream, "PNG")
    return stream.getvalue()


def unused(engine: Any, depot_name: str = "default", **options: Any) -> set[str]:
    return {each.file_id for each in find_unused(engine, depot_name, older_than=NOW, models=[Base], **options).files}


delete = partial(sweep, models=[Base])


def write_raw(engine: Engine, value: str | None, table: Table = Film.__table__, column: str = "poster") -> None:  # type: ignore[assignment]
    """Write a reference as something that knows nothing of us would."""
    bound: Any = bindparam("value", value, Text)
    if engine.dialect.name == "postgresql" and column != "script":
        bound = cast(bound, postgresql.JSONB)
    names = [column, "shots"] if table is Film.__table__ else [column]
    values: dict[str, Any] = dict.fromkeys(names, text("'[]'"))
    with engine.begin() as connection:
        connection.execute(table.insert().values({**values, column: bound}))


class TestEveryKindOfReference:
    def test_nothing_that_a_row_names_is_unused(self, database: Engine, committed: Add, depots: Depots) -> None:
        """Single files, lists, thumbnails, text columns, inheritance, keys of two columns, tables without a class."""
        committed(
            Film(poster=b"poster", shots=[b"one", b"two"], cover=picture(), script=b"script"),
            Short(poster=b"short", clip=b"clip"),
            Scene(film="Metropolis", number=1, take=b"take"),
            Scene(film="Metropolis", number=2, take=b"take 2"),
            Scene(film="M", number=1, take=b"take 3"),
        )
        with Session(database) as session:
            session.execute(insert(LOG).values(number=1, attachment=b"attachment"))
            session.commit()
        left = {name: depot.create(b"left") for name, depot in depots.items()}
        assert unused(database) == {left["default"]}
        assert unused(database, "archive") == {left["archive"]}
        report = delete(database)
        assert (report.deleted, report.listed, report.named, report.failed) == (1, 12, 11, {})
        assert depots["archive"].exists(left["archive"])
        assert not depots["default"].exists(left["default"])

    def test_pages_end_where_the_next_begins(
        self, database: Engine, committed: Add, depots: Depots, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With keys of one column, of two, and none."""
        monkeypatch.setattr(
            "depot_lite.maintenance.rows.database.Database.pages.__kwdefaults__",
            {"size": 3, "within": None, "exact": False},
        )
        committed(
            *(Film(poster=f"{number}".encode()) for number in range(10)),
            *(Scene(film=name, number=number, take=b"take") for name in "abc" for number in range(3)),
        )
        with Session(database) as session:
            for number in range(7):
                session.execute(insert(LOG).values(number=number % 2, attachment=b"attachment"))
            session.commit()
        assert unused(database) == set()

    @pytest.mark.parametrize("column", ["poster", "script"])
    def test_a_reference_is_found_however_it_is_written(self, database: Engine, depots: Depots, column: str) -> None:
        """Under keys that we do not know, in other orders and spellings, in depots with other names."""
        depots["Größe"] = DepotManager.configure("Größe", MemoryFileStorage())
        DepotManager.alias("old", "default")
        ids = {number: depots["default"].create(b"x") for number in range(6)}
        large = depots["Größe"].create(b"x")
        rows: list[Any] = [
            {"depot_name": "default", "file_id": ids[0]},
            {"deep": [{"down": {"path": f"old/{ids[1]}"}}]},
            {"path": f"default/{ids[2]}", "preview": f"default/{ids[3]}", "filename": 'a "quoted\\" name/'},
            [{"path": f"default/{ids[4]}"}, {"path": f"Größe/{large}"}],
        ]
        for row in rows:
            write_raw(database, json.dumps(row), column=column)
        write_raw(database, json.dumps({"path": f"default/{ids[5]}"}).replace("/", "\\/"), column=column)
        write_raw(database, "null", column=column)
        write_raw(database, "[]", column=column)
        assert unused(database) == set()
        assert unused(database, "Größe") == set()

    @pytest.mark.parametrize("nothing", ["", " "])
    def test_blank_text_names_no_file(self, database: Engine, depots: Depots, nothing: str) -> None:
        """Columns of filedepot may hold it, and a loaded row shows None."""
        left = depots["default"].create(b"left")
        write_raw(database, nothing, column="script")
        assert unused(database) == {left}
        report = find_missing(database, models=[Base])
        assert (report.files, report.damaged) == ([], [])

    def test_the_same_id_in_another_depot_is_another_file(
        self, database: Engine, committed: Add, depots: Depots
    ) -> None:
        """A backup keeps the ids."""
        committed(film := Film(poster=b"poster"))
        with Session(database) as session:
            file_id = session.merge(film).poster.file_id  # type: ignore[union-attr]
        depots["archive"].create(b"poster", file_id=file_id)
        assert unused(database) == set()
        assert unused(database, "archive") == {file_id}

    @pytest.mark.matrix
    def test_a_folder_with_two_names_is_one(
        self, database: Engine, committed: Add, depots: Depots, tmp_path: Path
    ) -> None:
        """Files that rows name by one of them are in use by the other: also through a link, and for one twice."""
        committed(Film(poster=b"poster"))
        left = depots["default"].create(b"left")
        (tmp_path / "link").symlink_to(tmp_path / "media" / "default")
        DepotManager.configure("linked", LocalFileStorage(tmp_path / "link"))
        DepotManager.configure("same", depots["default"])
        for name in ("linked", "same", "default"):
            assert unused(database, name) == {left}

    def test_a_folder_that_is_not_there_has_nothing_unused(
        self, database: Engine, depots: Depots, tmp_path: Path
    ) -> None:
        """It is made when the first file is stored."""
        DepotManager.configure("later", LocalFileStorage(tmp_path / "later"))
        assert unused(database, "later") == set()


class TestWhatStops:
    @pytest.mark.parametrize(
        "held",
        [
            '{"path": "defau',
            "{}",
            '{"filename": "a.txt"}',
            '"text"',
            "7",
            '{"path": "gone/%s"}',
            '[{"path": ""}]',
            pytest.param("[" * 3000 + "]" * 3000, id="deep"),
        ],
    )
    def test_a_row_that_cannot_be_understood_stops_it(self, database: Engine, depots: Depots, held: str) -> None:
        """It may name anything; the message says which row it is."""
        depots["default"].create(b"left")
        write_raw(database, held.replace("%s", new_file_id()), column="script")
        with pytest.raises(MaintenanceStopped, match=r"upkeep_film\.script of the row \d+"):
            delete(database)
        assert len(list(depots["default"].list())) == 1

    def test_a_table_that_is_not_there_stops_it(self, tmp_path: Path, depots: Depots) -> None:
        """It may be that of another database, whose rows nobody can see."""
        depots["default"].create(b"left")
        engine = create_engine(f"sqlite:///{tmp_path}/empty.db")
        with pytest.raises(MaintenanceStopped, match=r"upkeep_film\.poster cannot be read: no such table"):
            delete(engine)
        engine.dispose()
        assert len(list(depots["default"].list())) == 1

    def test_without_a_model_every_file_would_seem_unused(self, database: Engine, depots: Depots) -> None:
        """As where the application was not imported."""
        depots["default"].create(b"left")
        with pytest.raises(ConfigurationError, match="import the models first"):
            delete_unused_files(
                database, "default", older_than=NOW, models=[type("Empty", (), {"metadata": Base.metadata.__class__()})]
            )
        assert len(list(depots["default"].list())) == 1

    def test_a_storage_that_may_leave_files_out_is_never_swept(self, database: Engine, depots: Depots) -> None:
        """Files that it leaves out may be there, and its listing may be old."""

        class Lagging(MemoryFileStorage):
            list_is_complete = False

        DepotManager.configure("lagging", Lagging()).create(b"left")
        with pytest.raises(MaintenanceStopped, match="'lagging' is never swept"):
            delete(database, "lagging")

    def test_a_listing_that_fails_stops_it(self, database: Engine, depots: Depots) -> None:
        """Also in the middle."""

        class Failing(MemoryFileStorage):
            def _list(self) -> Iterator[FileEntry]:
                yield from super()._list()
                raise StorageFailed("the second page cannot be listed")

        storage = DepotManager.configure("failing", Failing())
        file_id = storage.create(b"left")
        with pytest.raises(StorageFailed, match="second page"):
            delete(database, "failing")
        assert storage.exists(file_id)

    @pytest.mark.parametrize("given", ["film", "upkeep_film.", "a.b.c.d", 7, ""])
    def test_what_is_no_column_cannot_be_protected(self, database: Engine, given: object) -> None:
        """It is said before anything is looked at."""
        with pytest.raises(ConfigurationError, match="expected a column"):
            find_unused(database, "default", protect=[given], models=[Base])

    def test_a_protected_column_has_to_be_there(self, database: Engine, depots: Depots) -> None:
        """Or a typing error would protect nothing."""
        with pytest.raises(MaintenanceStopped, match=r"upkeep_film\.postr cannot be read"):
            unused(database, protect=["upkeep_film.postr"])

    def test_a_time_in_the_future_is_refused(self, database: Engine) -> None:
        """Nothing would be spared."""
        with pytest.raises(ConfigurationError, match="older_than"):
            find_unused(database, "default", older_than=timedelta(seconds=-1), models=[Base])


class TestSpared:
    def test_young_files_are_spared(self, database: Engine, depots: Depots) -> None:
        """A transaction may be about to name them."""
        depots["default"].create(b"young")
        report = delete(database, older_than=timedelta(days=1))
        assert (report.young, report.deleted, len(report.files)) == (1, 0, 0)
        assert len(list(depots["default"].list())) == 1

    def test_what_a_cut_off_upload_left_is_unused_once_it_is_old(self, database: Engine, tmp_path: Path) -> None:
        """Data without a sidecar is listed, has an age, and goes."""
        storage = LocalFileStorage(tmp_path / "cut", durable=False)
        DepotManager.configure("cut", storage)
        file_id = storage.create(b"whole")
        os.unlink(next((tmp_path / "cut").rglob("*.json")))
        assert len(find_unused(database, "cut", older_than=timedelta(hours=1), models=[Base]).files) == 0
        assert unused(database, "cut") == {file_id}
        assert delete(database, "cut").deleted == 1
        storage.write_note("owners", b"")
        assert [path for path in (tmp_path / "cut").rglob("*") if path.is_file()] == []

    def test_keep_if_is_asked_for_each_unused_file(self, database: Engine, committed: Add, depots: Depots) -> None:
        """And for no other."""
        committed(Film(poster=b"named"))
        kept, gone = depots["default"].create(b"12345"), depots["default"].create(b"1")
        asked: list[str] = []

        def keep(file: FoundFile) -> bool:
            asked.append(file.file_id)
            return file.size == 5

        report = delete(database, keep_if=keep)
        assert sorted(asked) == sorted([kept, gone])
        assert (report.kept, report.deleted) == (1, 1)
        assert depots["default"].exists(kept)

    @pytest.mark.matrix
    def test_protected_columns_keep_every_id_in_them(self, database: Engine, depots: Depots) -> None:
        """Whatever stands around it, and in whichever column of whichever table."""
        with database.begin() as connection:
            connection.execute(text("CREATE TABLE upkeep_foreign (note VARCHAR(200))"))
        try:
            ids = [depots["default"].create(b"x") for _ in range(3)]
            with database.begin() as connection:
                for note in (f"see /depot/default/{ids[0]}/name.pdf", ids[1], "nothing", None):
                    connection.execute(text("INSERT INTO upkeep_foreign VALUES (:note)"), {"note": note})
            assert unused(database, protect=["upkeep_foreign.note"]) == {ids[2]}
            assert unused(database, protect=[Film.title, "upkeep_foreign.note"]) == {ids[2]}
        finally:
            with database.begin() as connection:
                connection.execute(text("DROP TABLE upkeep_foreign"))

    def test_soft_deleted_rows_keep_their_files(self, database: Engine, committed: Add, depots: Depots) -> None:
        """Rows are read as they are, whatever a session would hide."""
        committed(Film(title="deleted", poster=b"poster"))
        with Session(database) as session:

            @event.listens_for(session, "do_orm_execute")
            def _hide(state: Any) -> None:
                pytest.fail("the session's own queries are not used")

            assert find_unused(session, "default", older_than=NOW, models=[Base]).named == 1


class TestMeanwhile:
    def test_a_file_that_is_named_after_the_listing_is_not_unused(
        self, database: Engine, committed: Add, depots: Depots
    ) -> None:
        """References are read after the listing."""
        stored = LocalFileStorage(depots["default"].storage_path, durable=False)  # type: ignore[attr-defined]

        class Busy(LocalFileStorage):
            def _list(self) -> Iterator[FileEntry]:
                yield from stored.list()
                with Session(database) as session:
                    session.add(Film(poster=b"named meanwhile"))
                    session.commit()
                yield from ()

        with_listing = Busy(stored.storage_path, durable=False)
        DepotManager.configure("busy", with_listing)
        report = find_unused(database, "busy", older_than=NOW, models=[Base])
        assert len(report.files) == 0

    def test_references_are_read_again_before_a_batch_is_deleted(self, database: Engine, depots: Depots) -> None:
        """A row that came to name an old file, as only raw SQL can make it, saves it."""
        saved, gone = depots["default"].create(b"saved"), depots["default"].create(b"gone")

        def watch(progress: Progress) -> None:
            if progress.step == "looking at files that no row names" and progress.finished:
                write_raw(database, json.dumps({"path": f"default/{saved}"}))

        report = delete(database, progress=watch)
        assert (report.deleted, [each.file_id for each in report.files]) == (1, [gone])
        assert depots["default"].exists(saved)

    def test_a_transaction_that_read_a_row_before_may_still_write_its_old_file(
        self, database: Engine, depots: Depots, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The references are not read again before such a transaction has had the time to end."""
        file_id = depots["default"].create(b"old")
        clock = [1000.0]
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            clock[0] += seconds
            if not waits:
                write_raw(database, json.dumps({"path": f"default/{file_id}"}))
            waits.append(seconds)

        monkeypatch.setattr("depot_lite.maintenance.readings.monotonic", lambda: clock[0])
        monkeypatch.setattr("depot_lite.maintenance.deletion.monotonic", lambda: clock[0])
        monkeypatch.setattr("depot_lite.maintenance.deletion.sleep", sleep)
        report = delete(database, older_than=timedelta(0), settle=timedelta(seconds=5))
        assert (waits, report.deleted) == ([], 1)  # nothing is younger than the age limit

        file_id = depots["default"].create(b"old")
        monkeypatch.setattr("depot_lite.maintenance.unused._limit", lambda *_: FUTURE)
        report = delete(database, older_than=timedelta(hours=1), settle=timedelta(seconds=5))
        assert report.deleted == 0
        assert sum(waits) == pytest.approx(5)
        assert depots["default"].exists(file_id)

    def test_a_file_that_goes_by_itself_is_no_error(self, database: Engine, depots: Depots) -> None:
        """Between the listing and the look at its age."""
        file_id = depots["default"].create(b"x")

        def watch(progress: Progress) -> None:
            if progress.step == "listing" and progress.finished:
                depots["default"].delete(file_id)

        report = find_unused(database, "default", older_than=NOW, models=[Base], progress=watch)
        assert (report.gone, len(report.files)) == (1, 0)

    @pytest.mark.matrix
    def test_one_failed_deletion_does_not_keep_the_others(self, database: Engine, depots: Depots) -> None:
        """It is in the report, and the next sweep finds the file again."""
        stuck: list[str] = []

        class Stuck(MemoryFileStorage):
            def _delete(self, file_id: str) -> None:
                if file_id in stuck:
                    raise StorageFailed("busy")
                super()._delete(file_id)

        storage = DepotManager.configure("stuck", Stuck())
        ids = [storage.create(b"x") for _ in range(3)]
        stuck.append(ids[1])
        report = delete(database, "stuck")
        assert (report.deleted, list(report.failed)) == (2, [ids[1]])
        stuck.clear()
        assert [each.file_id for each in delete(database, "stuck").files] == [ids[1]]
        assert delete(database, "stuck").deleted == 0

    def test_no_transaction_is_left_open_and_the_session_is_untouched(
        self, database: Engine, committed: Add, depots: Depots
    ) -> None:
        """A session lends its engine, and its transaction goes on."""
        committed(Film(poster=b"poster"))
        with Session(database) as session:
            session.add(film := Film(poster=b"pending"))
            session.flush()
            file_id = film.poster.file_id  # type: ignore[union-attr]
            if database.dialect.name != "sqlite":  # where another connection could not read now
                assert unused(session) == {file_id}
            session.commit()
            assert unused(session) == set()
            assert not session.in_transaction()
        assert database.pool.checkedout() == 0  # type: ignore[attr-defined]

    def test_an_engine_in_autocommit_is_read_like_any_other(self, database: Engine, depots: Depots) -> None:
        """Also where a table has no primary key and is streamed, which PostgreSQL does in transactions only."""
        with Session(database) as session:
            session.execute(insert(LOG).values(number=1, attachment=b"attachment"))
            session.commit()
        engine = database.execution_options(isolation_level="AUTOCOMMIT")
        assert unused(engine) == set()
        assert find_missing(engine, models=[Base]).rows == 1

    def test_a_session_bound_to_a_connection_is_read_in_its_transaction(self, database: Engine, depots: Depots) -> None:
        """As test suites bind it that roll everything back at the end."""
        with database.connect() as connection:
            transaction = connection.begin()
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                session.add(Film(poster=b"not committed"))
                session.commit()
                left = depots["default"].create(b"left")
                assert unused(session) == {left}
                assert transaction.is_active
            transaction.rollback()


class TestReport:
    def test_sizes_and_times_are_those_of_the_files(self, database: Engine, depots: Depots) -> None:
        """From local disks, which are asked, and from memory, whose listing tells."""
        DepotManager.configure("memory", MemoryFileStorage())
        for name in ("default", "memory"):
            file_id = DepotManager.get(name).create(b"12345")
            report = find_unused(database, name, older_than=NOW, models=[Base])
            assert (report.depot, report.bytes, len(report.files)) == (name, 5, 1)
            found = report.files[0]
            with DepotManager.get(name).get(file_id) as file:
                assert (found.file_id, found.size) == (file_id, 5)
                assert abs((found.last_modified - file.last_modified).total_seconds()) < 0.001

    def test_each_step_tells_how_far_it_is(self, database: Engine, committed: Add, depots: Depots) -> None:
        """And says when it is over."""
        committed(Film(poster=b"poster"))
        depots["default"].create(b"left")
        if database.dialect.name != "sqlite":  # servers estimate the number of rows
            with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                analyze = "ANALYZE" if database.dialect.name == "postgresql" else "ANALYZE TABLE"
                connection.execute(text(f"{analyze} upkeep_film"))
        told: list[Progress] = []
        delete(database, progress=told.append)
        finished = [(each.step, each.done, each.total, each.unit) for each in told if each.finished]
        assert finished[0] == ("listing", 2, None, "files")
        assert ("reading upkeep_film.poster", 1, 1, "rows") in finished
        assert finished[-1] == ("deleting", 1, 1, "files")

    def test_a_dry_run_deletes_nothing(self, database: Engine, depots: Depots) -> None:
        """find_unused is one."""
        depots["default"].create(b"left")
        report = find_unused(database, "default", older_than=NOW, models=[Base])
        assert report.deleted is None
        assert len(list(depots["default"].list())) == 1


@pytest.mark.matrix
def test_many_ids_with_one_first_byte_are_compared_in_little_memory(database: Engine, committed: Add) -> None:
    """By their second byte: files that rows name, in this depot or in another one that lacks them, and unused ones."""
    memory, empty = MemoryFileStorage(), MemoryFileStorage()
    DepotManager.configure("memory", memory)
    DepotManager.configure("empty", empty)
    ids = [memory.create(b"x", file_id=f"00{new_file_id()[2:]}") for _ in range(2100)]
    write_raw(database, json.dumps({"path": f"memory/{ids[0]}"}))
    write_raw(database, json.dumps({"path": f"empty/{ids[1]}"}))
    with limited_memory(1 << 20):
        report = find_unused(database, "memory", older_than=NOW, models=[Base], max_delete="100%")
    assert {each.file_id for each in report.files} == set(ids[2:])
    assert (report.listed, report.named, report.misplaced) == (2100, 1, 1)


_OTHER = "0a1b2c3d-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param({"path": f"default/{_OTHER.upper()}"}, id="capitals"),
        pytest.param({"path": _OTHER}, id="no depot"),
        pytest.param({"path": "default/", "file_id": ""}, id="no id"),
        pytest.param({}, id="nothing"),
        pytest.param("default", id="text"),
    ],
)
def test_one_damaged_value_in_a_list_stops_a_sweep(
    database: Engine, committed: Add, depots: Depots, damaged: object
) -> None:
    """It may name any file."""
    for number in range(2):
        depots["default"].create(b"left %d" % number)
    held = depots["default"].create(b"held")
    whole = {"path": f"default/{held}", "file_id": held, "depot_name": "default", "files": [f"default/{held}"]}
    for values in ([whole, damaged], [damaged, whole]):
        write_raw(database, json.dumps(values), column="shots")
    with pytest.raises(MaintenanceStopped, match="names no file, in one of its values"):
        delete(database)
    assert sum(1 for _ in depots["default"].list()) == 3
