"""statistics: how many files, how large, of which types, named by which columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from depot_lite.errors import ConfigurationError, UnknownDepot
from depot_lite.fields.analyzers import Duration
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import FileIntent
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance.run.reports import Progress
from depot_lite.maintenance.statistics import Amount, ColumnStatistics, LargeFile, StatisticsReport, statistics
from depot_lite.manager import DepotManager
from tests.maintenance.conftest import Base, Film
from tests.support.files import wav

Add = Callable[..., None]
Depots = dict[str, FileStorage]


def counted(bind: Any, depot_name: str | None = None, **options: Any) -> StatisticsReport:
    return statistics(bind, depot_name, models=[Base], **options)


def pdf(size: int) -> FileIntent:
    return FileIntent(b"%PDF-1.4\n" + b"x" * (size - 9), "a.pdf", "application/pdf")


def test_files_and_bytes_by_depot_type_and_column(database: Engine, committed: Add, depots: Depots) -> None:
    """And what no row names."""
    committed(
        Film(poster=pdf(100), shots=[b"1" * 10, b"2" * 20, pdf(50)], script=b"x" * 7),
        Film(poster=FileIntent(b"words", "a.txt", "text/plain")),
    )
    depots["default"].create(b"left!!")
    report = counted(database)
    default, archive = report.depots["default"], report.depots["archive"]
    assert (default.files, default.bytes, default.unnamed) == (6, 191, Amount(1, 6))
    assert (archive.files, archive.bytes, archive.unnamed) == (1, 7, Amount())
    assert default.by_type["application/pdf"] == Amount(2, 150)
    assert sum(each.files for each in default.by_type.values()) == 5
    assert sum(each.bytes for each in default.by_type.values()) == 185
    assert report.columns["upkeep_film.poster"] == ColumnStatistics(rows=2, files=2, bytes=105)
    assert report.columns["upkeep_film.shots"] == ColumnStatistics(rows=1, files=3, bytes=80)
    assert report.columns["upkeep_film.script"] == ColumnStatistics(rows=1, files=1, bytes=7)
    assert report.columns["upkeep_scene.take"] == ColumnStatistics()


def test_durations_are_those_that_rows_know(database: Engine, committed: Add, depots: Depots) -> None:
    """By type, by column and in all; a missing file has none, and neither has a row with another text there."""
    sound: Any = Film.poster.type
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sound, "_analyzers", (Duration(),))
        films = [Film(poster=wav(seconds), shots=[wav(9)]) for seconds in (1.5, 2.25, 30)]
        committed(*films, Film(poster=b"x", script=wav(4)))
    assert films[2].poster is not None
    depots["default"].delete(films[2].poster.file_id)
    report = counted(database)
    default = report.depots["default"]
    assert default.by_type["audio/wav"] == Amount(5, sum(len(wav(each)) for each in (1.5, 2.25, 9, 9, 9)), 3.75)
    assert [each.duration for each in default.by_type.values()].count(None) == 1
    assert (default.duration, report.depots["archive"].duration) == (3.75, None)
    columns = {name.partition(".")[2]: each.duration for name, each in report.columns.items()}
    assert (columns["poster"], columns["shots"], columns["script"]) == (3.75, None, None)


@pytest.mark.parametrize("duration", ["1e99", "-1", "true", '"long"', "null", "NaN", "[1]"])
def test_a_duration_that_cannot_be_is_none(database: Engine, depots: Depots, duration: str) -> None:
    """Whoever can write to the row may have put anything there."""
    path = f"archive/{depots['archive'].create(b'sound')}"
    with database.begin() as connection:
        row = f'{{"path": "{path}", "content_type": "audio/x-wav", "facts": {{"duration": {duration}}}}}'
        insert = text("INSERT INTO upkeep_film (id, shots, script) VALUES (1, '[]', :row)")
        connection.execute(insert, {"row": row})
    found = counted(database).depots["archive"]
    assert (found.by_type, found.duration) == ({"audio/x-wav": Amount(1, 5)}, None)


def test_the_largest_files_come_first_with_their_rows(database: Engine, committed: Add, depots: Depots) -> None:
    """One that no row names too."""
    films = [Film(id=number, poster=b"x" * 10 * number) for number in range(1, 10)]
    committed(*films)
    left = depots["default"].create(b"x" * 85)
    found = counted(database, "default", largest=3).depots["default"].largest
    posters = [film.poster for film in films]
    assert posters[8] is not None
    assert posters[7] is not None
    assert found == [
        LargeFile(posters[8].file_id, 90, "upkeep_film.poster of the row 9"),
        LargeFile(left, 85, None),
        LargeFile(posters[7].file_id, 80, "upkeep_film.poster of the row 8"),
    ]
    assert counted(database, "default", largest=0).depots["default"].largest == []


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_rows_that_tell_no_size_are_looked_up(database: Engine, depots: Depots, kind: str) -> None:
    """Such as filedepot wrote: in the listing, or by asking the storage."""
    storage = depots["archive"] if kind == "local" else DepotManager.configure("memory", MemoryFileStorage())
    name = "archive" if kind == "local" else "memory"
    rows = {number: storage.create(b"x" * number) for number in (5, 500)}
    with database.begin() as connection:
        for number, file_id in rows.items():
            row = json.dumps({"depot_name": name, "file_id": file_id, "path": f"{name}/{file_id}"})
            insert = text("INSERT INTO upkeep_film (id, shots, script) VALUES (:id, '[]', :row)")
            connection.execute(insert, {"id": number, "row": row})
    report = counted(database, name, largest=1)
    found = report.depots[name]
    assert (found.files, found.bytes, found.by_type) == (2, 505, {"unknown": Amount(2, 505)})
    assert found.largest == [LargeFile(rows[500], 500, "upkeep_film.script of the row 500")]
    assert report.columns["upkeep_film.script"] == ColumnStatistics(2, 2, 505)


def test_one_depot_alone_is_counted(database: Engine, committed: Add, depots: Depots) -> None:
    """Rows that name files of others count nothing, by alias or not."""
    DepotManager.alias("old", "archive")
    committed(Film(poster=b"poster", script=b"script"))
    report = counted(database, "old")
    assert list(report.depots) == ["archive"]
    assert report.columns["upkeep_film.poster"] == ColumnStatistics()
    assert report.columns["upkeep_film.script"].files == 1


def test_a_missing_file_is_named_and_has_no_bytes(database: Engine, committed: Add, depots: Depots) -> None:
    """The depot does not have it; the column names it."""
    film = Film(poster=b"poster")
    committed(film)
    assert film.poster is not None
    depots["default"].delete(film.poster.file_id)
    report = counted(database, "default")
    assert (report.depots["default"].files, report.depots["default"].bytes) == (0, 0)
    assert report.columns["upkeep_film.poster"] == ColumnStatistics(1, 1, 0)


def test_damaged_rows_and_unknown_depots_are_counted(database: Engine, depots: Depots) -> None:
    """They stop nothing."""
    with database.begin() as connection:
        for number, row in enumerate(("{", '{"path": "elsewhere/00112233-4455-4677-8899-aabbccddeeff"}')):
            insert = text("INSERT INTO upkeep_film (id, shots, script) VALUES (:id, '[]', :row)")
            connection.execute(insert, {"id": number + 1, "row": row})
    report = counted(database)
    assert (report.damaged_rows, report.unconfigured) == (1, {"elsewhere": 1})


def test_rows_and_listings_are_read_once(database: Engine, committed: Add, depots: Depots) -> None:
    """Where rows tell sizes."""
    committed(*(Film(poster=b"same size") for _ in range(30)))
    seen: list[Progress] = []
    report = counted(database, progress=seen.append, largest=5)
    steps = [each.step for each in seen if each.finished]
    assert len(steps) == len(set(steps))
    assert not any(each.startswith("looking again") for each in steps)
    assert all(each.row is not None for each in report.depots["default"].largest)


def test_arguments_that_cannot_be_are_refused(database: Engine, depots: Depots) -> None:
    """Before anything is read."""
    with pytest.raises(UnknownDepot):
        counted(database, "nowhere")
    with pytest.raises(ConfigurationError, match="largest=-1: expected a whole number from 0"):
        counted(database, largest=-1)


@pytest.mark.server
def test_on_s3_it_costs_a_listing(database: Engine, committed: Add, depots: Depots) -> None:
    """No request for a file."""
    from tests.io.s3_server import Requests, moto_server

    with moto_server() as server, server.bucket() as bucket:
        storage = server.storage(bucket)
        DepotManager.configure("s3", storage)
        committed(*(Film(poster=UploadedFile(b"x" * 9, depot_name="s3")) for _ in range(5)))
        requests = Requests(storage)
        found = counted(database, "s3").depots["s3"]
        assert (found.files, found.bytes, requests.taken()) == (5, 45, {"ListObjectsV2": 1})
