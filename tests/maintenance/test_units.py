"""Units of work: several workers share a job, and another one takes over the unit of a dead one."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Semaphore, current_thread, main_thread
from threading import enumerate as enumerate_threads
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, inspect, select, update
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateSchema, DropSchema

from depot_lite.errors import ConfigurationError, MaintenanceStopped, StorageFailed
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.maintenance import Progress, create_units_table, share_copy, share_migration
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.run.units import METADATA, UNITS, Unit, Units
from depot_lite.maintenance.sharing import copy_name
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.forks import ROOT, Fork, Forks
from tests.maintenance import upkeep
from tests.maintenance.conftest import Base, Film, Scene

Add = Callable[..., None]
Depots = dict[str, FileStorage]


@pytest.fixture
def table(engine: Engine) -> Iterator[Engine]:
    create_units_table(engine)
    create_units_table(engine)  # it may be there
    yield engine
    METADATA.drop_all(engine)


@pytest.fixture
def tenants(table: Engine) -> Iterator[list[Session]]:
    """Two schemas with the same tables in one database; the table of units is in the common one."""
    if table.dialect.name == "sqlite":
        pytest.skip("an attached database belongs to one connection")
    names = [f"{table.url.database}_{number}" for number in range(2)]
    engines = [table.execution_options(schema_translate_map={None: name}) for name in names]
    with table.begin() as connection:
        for name in names:
            connection.execute(CreateSchema(name))
    for each in engines:
        Base.metadata.create_all(each)
    yield [Session(table, binds={Base: each}) for each in engines]
    with table.begin() as connection:
        for name in names:
            connection.execute(DropSchema(name, cascade=table.dialect.name == "postgresql"))


def rows(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(UNITS).order_by(UNITS.c.number)).mappings())


def years_later(engine: Engine, number: int | None = None) -> None:
    """Let the lease of a unit run out, or all."""
    these = update(UNITS) if number is None else update(UNITS).where(UNITS.c.number == number)
    with engine.begin() as connection:
        connection.execute(these.values(renewed_at=UNITS.c.renewed_at - 1e8))


def damaged(storage: FileStorage, file_id: str) -> Callable[[], Any]:
    """Damage a file, and return a function that mends it."""
    path = storage.get(file_id).local_path
    assert path is not None
    whole = path.read_bytes()
    path.write_bytes(b"damaged")
    return partial(path.write_bytes, whole)


def share(bind: Any, **options: Any) -> Any:
    return share_migration(bind, "default", "archive", models=[Base], **{"rows": 10, **options})


def interrupt(worker: Units) -> None:
    with suppress(KeyboardInterrupt), worker:
        raise KeyboardInterrupt


def up_to(most: int) -> Callable[[Any], Any]:
    """Return how the units of a job follow each other, whose work is a number."""
    return lambda last: (last or 0) + 1 if (last or 0) < most else None


def test_each_unit_is_taken_once(table: Engine) -> None:
    """By whoever is first, from any number of processes; the last worker to end deletes the record."""
    workers = [Units(table, "job", {}) for _ in range(3)]
    taken: list[int] = []

    def work(units: Units) -> None:
        while (unit := units.take(up_to(12))) is not None:
            taken.append(unit.work)
            units.finish(unit, {"files": unit.work})

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, workers))
    assert sorted(taken) == list(range(1, 13))
    assert [row["result"] for row in rows(table)][1:] == [f'{{"files": {number}}}' for number in range(1, 13)]
    assert [each.end() for each in workers] == [0, 0, 0]
    assert rows(table) == []


def test_the_unit_of_a_dead_worker_is_taken_by_another(table: Engine) -> None:
    """Once its lease is over, and not before; if it finishes then, that does not count."""
    dead, other, late = (Units(table, "job", {}) for _ in range(3))
    following = up_to(2)
    first, second = dead.take(following), other.take(following)
    assert first is not None
    assert second is not None
    assert (first.work, second.work, other.take(following)) == (1, 2, None)
    years_later(table, 1)
    taken = late.take(following)
    assert taken == Unit(1, 1, was_begun=True)
    dead.finish(first, {})
    dead.give_back(first)
    assert dead.end() == 2
    late.renew()
    late.finish(first, {})
    assert late.end() == 1


def test_a_worker_notices_that_its_unit_is_lost(table: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """It stops if it is at work, and logs it if it has done the unit, whose counts are those of the other."""
    lost, other = Units(table, "job", {}, lease=0), Units(table, "job", {})
    unit = lost.take(up_to(1))
    years_later(table, 1)
    assert other.take(up_to(1)) == Unit(1, 1, was_begun=True)
    with pytest.raises(MaintenanceStopped, match="unit 1 was lost, as nothing was heard of this process for 0 s"):
        lost.renew()
    assert unit is not None
    lost.finish(unit, {"files": 1})
    assert "unit 1 was done, but had been taken by another process" in caplog.text
    assert [(row["finished_at"], row["worker"]) for row in rows(table)[1:]] == [(None, other.worker)]


@contextmanager
def awaiting_renewals(engine: Engine) -> Iterator[Callable[[], None]]:
    """Provide a function that waits until another thread has renewed leases twice, the second time from now on."""
    renewals = Semaphore(0)

    def note(connection: Connection) -> None:
        if current_thread() is not main_thread():
            renewals.release()

    def wait() -> None:
        while renewals.acquire(blocking=False):
            pass
        for _ in range(2):
            assert renewals.acquire(timeout=60)

    event.listen(engine, "commit", note)
    try:
        yield wait
    finally:
        event.remove(engine, "commit", note)


def test_leases_are_renewed_while_a_worker_does_nothing_else(table: Engine) -> None:
    """Before it has a unit, as during a listing, and while it waits, as for a lock."""
    with awaiting_renewals(table) as wait, Units(table, "job", {"columns": ["a"]}, lease=0.01) as worker:
        years_later(table)
        wait()
        with pytest.raises(ConfigurationError, match="as it was begun with"):
            Units(table, "job", {"columns": ["b"]}, lease=1000)
        assert worker.take(up_to(1)) == Unit(1, 1)
        years_later(table)
        wait()
        assert Units(table, "job", {"columns": ["a"]}, lease=1000).take(up_to(1)) is None
        worker.renew()
        assert worker.end() == 1
    assert not any(each.name == "depot_lite.leases" for each in enumerate_threads())


def test_a_unit_that_was_lost_in_the_meantime_is_noticed_at_the_next_step(table: Engine) -> None:
    """Whichever of them renews the lease next."""

    def work() -> None:
        with Units(table, "job", {}, lease=0.01) as lost:
            assert lost.take(up_to(1)) == Unit(1, 1)
            with table.begin() as connection:
                connection.execute(update(UNITS).where(UNITS.c.number == 1).values(worker="another"))
            while True:  # until the next renewal
                lost.renew()

    with pytest.raises(MaintenanceStopped, match="unit 1 was lost"):
        work()
    assert [row["worker"] for row in rows(table)[1:]] == ["another"]


def test_a_worker_that_renews_its_lease_keeps_its_unit(table: Engine) -> None:
    """Often asked, it writes now and then."""
    worker = Units(table, "job", {}, lease=0)
    worker.renew()  # it has none
    assert worker.take(up_to(1)) is not None
    before = rows(table)[1]["renewed_at"]
    with table.begin() as connection:
        connection.execute(update(UNITS).values(renewed_at=before - 1000))
    patient = Units(table, "job", {}, lease=5000)
    assert patient.take(up_to(1)) is None
    worker.renew()
    assert rows(table)[1]["renewed_at"] >= before
    assert rows(table)[1]["worker"] == worker.worker


def test_jobs_are_apart_and_their_arguments_are_agreed_upon(table: Engine) -> None:
    """Other columns would leave files out."""
    one, other = Units(table, "one", {"columns": ["a"]}), Units(table, "other", {})
    assert [each.take(up_to(1)) for each in (one, other)] == [Unit(1, 1), Unit(1, 1)]
    message = """job 'one': expected {"columns": ["a"]}, as it was begun with, got {"columns": ["b"]}"""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Units(table, "one", {"columns": ["b"]})


def test_a_job_without_a_live_worker_begins_anew(table: Engine) -> None:
    """Whatever it was begun with; a worker that comes back after that has no part in it."""
    late = Units(table, "job", {"columns": ["a"]})
    assert late.take(up_to(2)) == Unit(1, 1)
    years_later(table)
    new = Units(table, "job", {"columns": ["b"]})
    assert late.take(up_to(2)) is None
    assert new.take(up_to(2)) == Unit(1, 1)
    late.finish(Unit(1, 1), {})
    assert late.end() == 1
    assert [row["worker"] for row in rows(table)] == [new.worker, new.worker]


def test_a_worker_between_two_units_is_alive(table: Engine) -> None:
    """The job goes on, and others may join it, but not begin it anew."""
    one = Units(table, "job", {})
    unit = one.take(up_to(2))
    years_later(table)
    assert unit is not None
    one.finish(unit, {})
    assert Units(table, "job", {}).take(up_to(2)) == Unit(2, 2)
    with pytest.raises(ConfigurationError, match="as it was begun with"):
        Units(table, "job", {"columns": ["b"]})


def test_a_worker_that_stops_leaves_the_others_alone(table: Engine) -> None:
    """Its unit is free at once, and the job goes on; after the last one it can begin anew."""
    other = Units(table, "job", {})
    stopped = Units(table, "job", {})
    assert [each.take(up_to(2)) for each in (stopped, other)] == [Unit(1, 1), Unit(2, 2)]
    interrupt(stopped)
    with pytest.raises(ConfigurationError, match="as it was begun with"):
        Units(table, "job", {"columns": ["b"]})
    other.finish(Unit(2, 2), {})
    assert other.take(up_to(2)) == Unit(1, 1, was_begun=True)
    interrupt(other)
    assert Units(table, "job", {"columns": ["b"]}).take(up_to(2)) == Unit(1, 1)


def test_a_worker_that_comes_to_take_when_all_is_over_begins_nothing(table: Engine) -> None:
    """The record of the job is gone: its first unit would be done a second time."""
    slow, quick = Units(table, "job", {}), Units(table, "job", {})
    unit = quick.take(up_to(1))
    assert unit is not None
    quick.finish(unit, {})

    def while_it_thinks(last: Any) -> Any:
        assert quick.end() == 0
        return (last or 0) + 1

    assert slow.take(while_it_thinks) is None
    assert (slow.take(up_to(9)), slow.end(), rows(table)) == (None, 0, [])
    assert Units(table, "job", {"other": 1}).take(up_to(1)) == Unit(1, 1)


def test_no_table_is_made_without_being_asked_for(database: Engine) -> None:
    """The message names the command."""
    with pytest.raises(MaintenanceStopped, match="depot_lite_units cannot be used; `depot-lite create-units` makes it"):
        share(database)
    assert not inspect(database).has_table("depot_lite_units")


def test_a_tenant_may_have_a_table_in_its_schema(table: Engine, tenants: list[Session]) -> None:
    """The one in the common schema is another, and a dry run does not take it for that of the tenant."""
    tenant = tenants[0].get_bind(Film)
    assert isinstance(tenant, Engine)
    dry = partial(create_units_table, tenant, dry_run=True)
    assert (dry(), create_units_table(tenant), dry()) == (False, True, True)
    METADATA.drop_all(table)
    assert (create_units_table(table, dry_run=True), dry()) == (False, True)


def test_a_session_of_several_engines_has_the_table_in_one(engine: Engine, database: Engine, depots: Depots) -> None:
    """That of the first model with files; without any, the message says that one was expected."""
    several = Session(binds={Base: database})
    assert create_units_table(several)
    assert inspect(database).has_table(UNITS.name)
    with several.begin():
        several.add_all(Film(poster=b"%d" % number) for number in range(20))
    assert (share(several, columns=["upkeep_film.poster"]).rows, share_copy(several, "default", "archive").left) == (
        20,
        0,
    )
    METADATA.drop_all(engine)
    with pytest.raises(ConfigurationError, match="expected an engine, or a session bound to one, to commit rows, got"):
        create_units_table(Session())


class TestMigration:
    @pytest.fixture(autouse=True)
    def units_table(self, table: Engine) -> None:
        """Each test has the table."""

    @pytest.mark.matrix
    def test_workers_share_it(self, database: Engine, committed: Add, depots: Depots) -> None:
        """No file is copied twice, and the last one clears the record."""
        committed(*(Film(poster=b"%d" % number) for number in range(40)))
        with ThreadPoolExecutor(3) as threads:
            reports = list(threads.map(lambda _: share(database), range(3)))
        assert sum(report.rows for report in reports) == 40 == len(list(depots["archive"].list()))
        with Session(database) as session:
            named = {film.poster.depot_name for film in session.scalars(select(Film)) if film.poster}
        assert named == {"archive"}
        assert min(report.left for report in reports) == 0
        assert rows(database) == []

    @pytest.mark.matrix
    def test_it_goes_on_where_it_was_stopped(self, database: Engine, committed: Add, depots: Depots) -> None:
        """The next run begins anew at once, also with another condition, and skips the rows that were moved."""
        committed(*(Film(poster=b"%d" % number) for number in range(40)))

        def stop(progress: Progress) -> None:
            if progress.done > 20:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt) as stopped:
            share(database, workers=1, rate=100, progress=stop)
        moved = stopped.value.__dict__["report"].rows
        assert 20 <= moved < 40
        assert [row["finished_at"] is not None for row in rows(database)[1:]][:2] == [True, True]
        again: list[Any] = []
        report = share(database, where="title IS NULL", columns=["upkeep_film.poster"], progress=again.append)
        assert (report.left, rows(database)) == (0, [])
        assert len(list(depots["archive"].list())) == 40
        assert [(each.step, each.done) for each in again if each.finished] == [("copying", 40 - moved)]
        assert report.rows == 40 - moved

    @pytest.mark.matrix
    def test_a_unit_with_failures_is_left_to_another_run(
        self, database: Engine, committed: Add, depots: Depots
    ) -> None:
        """The others are done, and the job is over: it can begin anew, also with another condition."""
        committed(*(Film(poster=b"%d" % number) for number in range(20)))
        with Session(database) as session:
            films = [film.poster for film in session.scalars(select(Film)) if film.poster is not None]
        mend = damaged(depots["default"], films[0].file_id)
        report = share(database)
        assert (report.rows, len(report.failed), report.left) == (19, 1, 1)
        assert isinstance(report.failed[0].error, StorageFailed)
        other = share(database, columns=["upkeep_film.poster"], where="title IS NULL")
        assert (other.rows, len(other.failed), other.left, rows(database)) == (0, 1, 1, [])
        mend()
        assert (share(database).rows, rows(database)) == (1, [])

    def test_a_connection_is_refused(self, database: Engine, depots: Depots) -> None:
        """Its transaction is not ours to commit."""
        with database.connect() as connection, pytest.raises(ConfigurationError, match="expected an engine"):
            share(connection)

    def test_tenants_have_jobs_of_their_own(self, database: Engine, depots: Depots, tenants: list[Session]) -> None:
        """The second one was told that all is done, when the units of the first one were all there were."""
        for tenant in tenants:
            tenant.add_all(Scene(film="f", number=number, take=b"%d" % number) for number in range(30))
            tenant.commit()
            tenant.close()
        others: list[Any] = []

        def other_tenant(told: Progress) -> None:
            if not others:
                others.append(None)
                others[0] = share(tenants[1], columns=["upkeep_scene.take"])

        first = share(tenants[0], columns=["upkeep_scene.take"], progress=other_tenant)
        assert [(each.rows, each.left) for each in (first, others[0])] == [(30, 0), (30, 0)]
        assert rows(database) == []

    @pytest.mark.parametrize("workers", [1, 3])
    @pytest.mark.matrix
    def test_all_workers_together_read_a_table_once(
        self, database: Engine, committed: Add, depots: Depots, workers: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each of sixteen units read the whole table."""
        committed(*(Film(poster=b"%d" % number) for number in range(40)))
        read: list[int] = []
        original = Database.pages

        def counted(*args: Any, **options: Any) -> Iterator[list[Row]]:
            for page in original(*args, **options):
                read.append(len(page))
                yield page

        monkeypatch.setattr(Database, "pages", counted)
        with ThreadPoolExecutor(workers) as threads:
            reports = list(threads.map(lambda _: share(database, columns=["upkeep_film.poster"]), range(workers)))
        assert sum(report.rows for report in reports) == sum(read) == 40
        assert max(read) <= 10

    def test_a_job_has_the_same_columns_for_all(self, database: Engine, committed: Add, depots: Depots) -> None:
        """Another worker would pass over what this one leaves out."""
        committed(*(Film(poster=b"%d" % number, script=b"script") for number in range(4)))

        refusals: list[Progress] = []

        def refused(progress: Progress) -> None:
            refusals.append(progress)
            for options in () if progress.finished else ({}, {"columns": ["upkeep_film.poster"], "where": "id > 7"}):
                with pytest.raises(ConfigurationError, match=r"expected .*upkeep_film.poster.*, as it was begun with"):
                    share(database, **options)

        report = share(database, columns=["upkeep_film.poster"], where="title IS NULL", progress=refused)
        assert (report.rows, report.left, refusals[0].finished) == (4, 0, False)


class TestCopy:
    @pytest.fixture(autouse=True)
    def units_table(self, table: Engine) -> None:
        """Each test has the table."""

    def test_workers_share_it(self, table: Engine, depots: Depots) -> None:
        """No file is copied twice, and the last one clears the record; another run finds nothing to copy."""
        ids = {depots["default"].create(b"%d" % number) for number in range(40)}
        with ThreadPoolExecutor(3) as threads:
            reports = list(threads.map(lambda _: share_copy(table, "default", "archive"), range(3)))
        assert sum(report.files for report in reports) == 40
        assert set(depots["archive"].list()) == ids
        assert rows(table) == []
        assert depots["archive"].create(b"surplus") not in ids
        again = share_copy(table, "default", "archive")
        assert (again.listed, again.files, again.unchanged, again.surplus, again.left) == (40, 0, 40, 1, 0)

    @pytest.mark.matrix
    def test_many_files_are_many_units(self, table: Engine, depots: Depots) -> None:
        """The first process divides the ids, and the others follow it."""
        for number in range(40):
            depots["default"].create(b"%d" % number)
        told: list[Progress] = []
        units: set[str] = set()

        def watch(progress: Progress) -> None:
            told.append(progress)
            units.update(json.loads(row["work"])["ids"] for row in rows(table)[1:])

        report = share_copy(table, "default", "archive", files=2, progress=watch)
        assert (report.files, report.left, {len(each) for each in units}) == (40, 0, {2})
        assert [(each.step, each.done) for each in told if each.finished][2:] == [("copying", 40)]

    def test_a_unit_with_failures_is_left_to_another_run(self, table: Engine, depots: Depots) -> None:
        """The others are done."""
        ids = [depots["default"].create(b"%d" % number) for number in range(20)]
        mend = damaged(depots["default"], ids[0])
        report = share_copy(table, "default", "archive")
        assert (report.files, list(report.failed), report.left) == (19, [ids[0]], 1)
        mend()
        report = share_copy(table, "default", "archive")
        assert (report.files, report.left, rows(table)) == (1, 0, [])

    @pytest.mark.parametrize("end", ["a damaged file", "a killed process"])
    @pytest.mark.matrix
    def test_every_run_copies_what_is_new(self, table: Engine, depots: Depots, end: str) -> None:
        """A job that had not ended well stayed open for ever, and no unit that was done once was looked at again."""
        ids = [depots["default"].create(b"%d" % number) for number in range(40)]
        if end == "a damaged file":
            damaged(depots["default"], ids[0])
            assert share_copy(table, "default", "archive").left == 1
        else:
            killed = Units(table, copy_name("default", "archive"), {})
            for number in range(16):
                unit = killed.take(lambda last: {"ids": "0" if last is None else f"{int(last['ids'], 16) + 1:x}"})
                assert unit is not None
                if number < 15:
                    killed.finish(unit, {})
            years_later(table)
        for number in range(30):
            depots["default"].create(b"new %d" % number)
        report = share_copy(table, "default", "archive")
        missing = set(depots["default"].list()) - set(depots["archive"].list())
        assert (missing, rows(table)) == (set(report.failed), [])
        depots["default"].delete(ids[0])
        depots["default"].create(b"the last")
        report = share_copy(table, "default", "archive")
        assert (report.files, report.left, set(depots["default"].list()) - set(depots["archive"].list())) == (
            1,
            0,
            set(),
        )

    @pytest.mark.matrix
    def test_applications_with_depots_of_the_same_names_have_jobs_of_their_own(
        self, table: Engine, depots: Depots, tmp_path: Path
    ) -> None:
        """One of them was told that all is done, when the units of the other were all there were."""
        other = Units(table, copy_name("default", "archive"), {})
        assert other.take(lambda last: {"ids": "0"}) is not None
        with temporary_depots():
            for name in ("default", "archive"):
                DepotManager.configure(name, LocalFileStorage(tmp_path / name, durable=False))
            for number in range(300):
                DepotManager.get("default").create(b"%d" % number)
            report = share_copy(table, "default", "archive")
        assert (report.files, report.left) == (300, 0)

    @pytest.mark.matrix
    def test_a_slow_file_keeps_its_unit(self, table: Engine, depots: Depots) -> None:
        """It was copied by a second process, once its lease had run out."""
        depots["default"].create(bytes(200_000))
        began, second = Event(), partial(share_copy, table, "default", "archive", lease=1.5)

        def watch(told: Progress) -> None:
            if told.step == "copying" and not told.finished:
                began.set()

        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(second, rate=50_000, progress=watch)
            assert began.wait(60)
            others = []
            while not first.done():
                others.append(second())
        assert (first.result().files, sum(each.files for each in others)) == (1, 0)
        assert len(others) > 1

    def test_an_empty_source_is_refused(self, table: Engine, depots: Depots) -> None:
        """As by a copy that is not shared; the job is left as it was begun."""
        with pytest.raises(MaintenanceStopped, match="has no files: the folder may not be mounted"):
            share_copy(table, "default", "archive")
        assert share_copy(table, "default", "archive", allow_empty=True).left == 0

    @pytest.mark.matrix
    def test_what_a_killed_process_has_begun_is_done_by_another(
        self, table: Engine, tmp_path: Path, forks: Forks
    ) -> None:
        """Once its lease is over; a run before that does the other units, and says that one is left."""
        with temporary_depots():
            upkeep.configure(tmp_path)
            ids = {DepotManager.get("old").create(bytes(1000)) for _ in range(300)}  # some begin with 0
        url = table.url.render_as_string(hide_password=False)
        words = ["--app=tests.maintenance.upkeep", f"--url={url}", "copy", "old", "new", "--share", "--json"]
        environment = {**os.environ, "UPKEEP_FOLDER": str(tmp_path)}

        def start(*more: str) -> Fork:
            return forks.start("depot_lite", *words, *more, cwd=ROOT, env=environment)

        with start("--rate=1") as killed:
            until = time.monotonic() + 60
            while len(rows(table)) < 2:
                assert time.monotonic() < until
            killed.kill()
            killed.communicate(60)
        assert [each["number"] for each in rows(table) if each["finished_at"] is None] == [0, 1]
        with start() as other:
            assert (json.loads(other.communicate(60)[0])["units_left"], other.returncode) == (1, 1)
        years_later(table, 1)
        with start() as last:
            assert (json.loads(last.communicate(60)[0])["units_left"], last.returncode) == (0, 0)
        with temporary_depots():
            upkeep.configure(tmp_path)
            assert set(DepotManager.get("new").list()) == ids
        assert rows(table) == []

    def test_files_that_a_dead_process_has_copied_are_not_copied_again(self, table: Engine, depots: Depots) -> None:
        """Although they came after the target was listed."""
        ids = [depots["default"].create(b"%d" % number) for number in range(40)]
        dead = Units(table, copy_name("default", "archive"), {})
        unit = dead.take(lambda last: {"ids": "0"})
        assert unit is not None
        years_later(table, 1)
        done: list[str] = []

        def die(progress: Progress) -> None:
            if progress.step == "listing" and progress.finished and progress.done == 40:
                for each in ids:
                    if each.startswith("0"):
                        depots["archive"].save_from(depots["default"], each, file_id=each)
                        done.append(each)

        report = share_copy(table, "default", "archive", progress=die)
        assert (report.files, report.unchanged, report.left) == (40 - len(done), len(done), 0)
