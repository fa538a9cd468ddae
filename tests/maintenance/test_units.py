"""Units of work: several workers share a job, and what a dead one has begun is done by another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, select
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, MaintenanceStopped, StorageFailed
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import create_units_table, share_migration
from depot_lite.maintenance.ids import Part
from depot_lite.maintenance.run.units import METADATA, UNITS, Units
from tests.maintenance.conftest import Base, Film

Add = Callable[..., None]
Depots = dict[str, FileStorage]


@pytest.fixture
def table(engine: Engine) -> Iterator[Engine]:
    create_units_table(engine)
    create_units_table(engine)  # it may be there
    yield engine
    METADATA.drop_all(engine)


def rows(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(UNITS).order_by(UNITS.c.number)).mappings())


def share(bind: Any, **options: Any) -> Any:
    return share_migration(bind, "default", "archive", models=[Base], units=4, **options)


def test_each_unit_is_taken_once(table: Engine) -> None:
    """By whoever is first, from any number of processes."""
    workers = [Units(table, "job", 12) for _ in range(3)]
    taken: list[Part] = []

    def work(units: Units) -> None:
        while (part := units.take()) is not None:
            taken.append(part)
            units.finish(part, {"files": part.number})

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, workers))
    assert sorted(part.number for part in taken) == list(range(1, 13))
    assert workers[0].left == 0
    assert [row["result"] for row in rows(table)] == [f'{{"files": {number}}}' for number in range(1, 13)]


def test_the_unit_of_a_dead_worker_is_taken_by_another(table: Engine) -> None:
    """Once its lease is over, and not before; what it finishes then does not count."""
    dead, other, late = (Units(table, "job", 2, lease=lease) for lease in (300, 300, 0))
    first = dead.take()
    assert first == Part(1, 2)
    assert (other.take(), other.take()) == (Part(2, 2), None)
    assert late.take() == first
    dead.finish(first, {})
    assert late.left == 2
    late.renew(first)
    late.finish(first, {})
    assert late.left == 1


def test_a_worker_that_renews_its_lease_keeps_its_unit(table: Engine) -> None:
    """Often asked, it writes now and then."""
    worker = Units(table, "job", 1, lease=0)
    part = worker.take()
    assert part is not None
    before = rows(table)[0]["renewed_at"]
    worker.renew(part)
    assert rows(table)[0]["renewed_at"] >= before
    patient = Units(table, "job", 1)
    patient.renew(part)  # not its own
    assert (rows(table)[0]["worker"], patient.take()) == (worker.worker, None)


def test_jobs_are_apart_and_their_units_are_agreed_upon(table: Engine) -> None:
    """Parts of another number would leave files out."""
    one, other = Units(table, "one", 2), Units(table, "other", 3)
    assert (one.take(), other.take()) == (Part(1, 2), Part(1, 3))
    with pytest.raises(ConfigurationError, match="job 'one': expected 2 units, as it was begun with, got 3"):
        Units(table, "one", 3)
    one.forget()
    assert Units(table, "one", 3).left == 3


def test_no_table_is_made_without_being_asked_for(database: Engine) -> None:
    """The message names the command."""
    with pytest.raises(MaintenanceStopped, match="depot_lite_units cannot be used; `depot-lite create-units` makes it"):
        share(database)
    assert not inspect(database).has_table("depot_lite_units")


class TestMigration:
    @pytest.fixture(autouse=True)
    def units_table(self, table: Engine) -> None:
        """Each test has the table."""

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

    def test_it_goes_on_where_it_was_stopped(self, database: Engine, committed: Add, depots: Depots) -> None:
        """Units that are done are not looked at again, and the one that was stopped is free at once."""
        committed(*(Film(poster=b"%d" % number) for number in range(40)))
        told: list[Any] = []

        def stop(progress: Any) -> None:
            told.append(progress)
            if progress.finished and len([each for each in told if each.finished]) == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            share(database, progress=stop)
        assert [row["finished_at"] is not None for row in rows(database)] == [True, True, False, False]
        again: list[Any] = []
        report = share(database, progress=again.append)
        assert (report.left, rows(database)) == (0, [])
        assert len(list(depots["archive"].list())) == 40
        assert sum(each.finished for each in again) == 2

    def test_a_unit_with_failures_is_left_to_another_run(
        self, database: Engine, committed: Add, depots: Depots
    ) -> None:
        """Its counts are recorded; the others are done."""
        committed(*(Film(poster=b"%d" % number) for number in range(20)))
        with Session(database) as session:
            films = [film.poster for film in session.scalars(select(Film)) if film.poster is not None]
        path = depots["default"].get(films[0].file_id).local_path
        assert path is not None
        whole = path.read_bytes()
        path.write_bytes(b"damaged")
        report = share(database)
        assert (report.rows, len(report.failed), report.left) == (19, 1, 1)
        assert isinstance(report.failed[0].error, StorageFailed)
        assert [row["worker"] for row in rows(database) if row["finished_at"] is None] == [None]
        path.write_bytes(whole)
        assert (share(database).rows, rows(database)) == (1, [])

    def test_a_connection_is_refused(self, database: Engine, depots: Depots) -> None:
        """Its transaction is not ours to commit."""
        with database.connect() as connection, pytest.raises(ConfigurationError, match="expected an engine"):
            share(connection)
