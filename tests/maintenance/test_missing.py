"""find_missing: every row whose file is not there, and no row of which that is not so."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, Table, Text, bindparam, cast, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, StorageFailed, UnknownDepot
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileEntry, FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance.missing import MissingReport, find_missing
from depot_lite.maintenance.run.reports import Progress
from depot_lite.manager import DepotManager
from tests.maintenance.conftest import Base, Film, Scene, Short

Add = Callable[..., None]
Depots = dict[str, FileStorage]


def missing(bind: Any, depot_name: str | None = None, **options: Any) -> MissingReport:
    return find_missing(bind, depot_name, models=[Base], **options)


def told(report: MissingReport) -> list[tuple[str, tuple[Any, ...], str]]:
    return sorted((each.place, each.key, each.part) for each in report.files)


def write_raw(engine: Engine, value: str, key: int) -> None:
    """Write a reference as something that knows nothing of us would."""
    table: Any = Film.__table__
    assert isinstance(table, Table)
    bound: Any = bindparam("value", value, Text)
    if engine.dialect.name == "postgresql":
        bound = cast(bound, postgresql.JSONB)
    with engine.begin() as connection:
        connection.execute(table.insert().values({"id": key, "shots": text("'[]'"), "poster": bound}))


def write_script(engine: Engine, value: str, key: int) -> None:
    """Write text, which no database holds for JSON, into a column of text."""
    table: Any = Film.__table__
    with engine.begin() as connection:
        bound = bindparam("value", value, Text)
        connection.execute(table.insert().values({"id": key, "shots": text("'[]'"), "script": bound}))


def test_nothing_is_missing_where_all_is_there(database: Engine, committed: Add) -> None:
    """Of every kind of column."""
    committed(
        Film(poster=b"poster", shots=[b"one", b"two"], script=b"script"),
        Short(poster=b"short", clip=b"clip"),
        Scene(film="M", number=1, take=b"take"),
    )
    report = missing(database)
    assert (report.files, report.unconfigured, report.damaged, report.named) == ([], [], [], 7)


def test_a_missing_file_is_told_with_its_row(database: Engine, committed: Add, depots: Depots) -> None:
    """Table, column, primary key, path, and which file of the value it is."""
    film = Film(poster=b"poster", shots=[b"one", b"two"], script=b"script")
    short = Short(clip=b"clip")
    scene = Scene(film="M", number=7, take=b"take")
    committed(film, short, scene, Film(poster=b"another"))
    assert film.shots[1].path
    gone = [film.shots[1], film.script, short.clip, scene.take]
    for value in gone:
        assert value is not None
        value.depot.delete(value.file_id)
    report = missing(database)
    assert told(report) == [
        ("upkeep_film.script", (film.id,), "path"),
        ("upkeep_film.shots", (film.id,), "[1].path"),
        ("upkeep_scene.take", ("M", 7), "path"),
        ("upkeep_short.clip", (short.id,), "path"),
    ]
    assert {each.path for each in report.files} == {value.path for value in gone if value is not None}
    assert told(missing(database, "archive")) == [("upkeep_film.script", (film.id,), "path")]


@pytest.mark.matrix
def test_a_depot_is_meant_by_its_alias_too(database: Engine, committed: Add, depots: Depots) -> None:
    """Rows may name the alias, and so may who asks."""
    DepotManager.alias("old", "archive")
    write_raw(database, json.dumps({"path": f"old/{new_file_id()}"}), 5)
    assert (
        told(missing(database, "old")) == told(missing(database, "archive")) == [("upkeep_film.poster", (5,), "path")]
    )
    assert told(missing(database, "default")) == []


def test_what_is_made_of_an_image_is_told_by_its_key(database: Engine, depots: Depots) -> None:
    """Variants, thumbnails, and files that are only in the list of all files."""
    main, small, thumb, more = (new_file_id() for _ in range(4))
    depots["default"].create(b"x", file_id=main)
    value = {
        "path": f"default/{main}",
        "file_id": main,
        "files": [f"default/{each}" for each in (main, small, thumb, more)],
        "variants": {"small": {"path": f"default/{small}", "file_id": small}},
        "thumb_path": f"default/{thumb}",
    }
    write_raw(database, json.dumps(value), 1)
    parts = {each.path.partition("/")[2]: each.part for each in missing(database).files}
    assert parts == {small: "variants.small.path", thumb: "thumb_path", more: "files[3]"}


def test_a_depot_that_is_not_configured_is_reported_and_stops_nothing(database: Engine, depots: Depots) -> None:
    """Its files cannot be asked for; those of other depots are."""
    lost, gone = new_file_id(), new_file_id()
    write_raw(database, json.dumps([{"path": f"elsewhere/{lost}"}, {"path": f"default/{gone}"}]), 1)
    report = missing(database)
    assert [(each.key, each.path, each.part) for each in report.unconfigured] == [
        ((1,), f"elsewhere/{lost}", "[0].path")
    ]
    assert [each.path for each in report.files] == [f"default/{gone}"]


def test_a_damaged_row_is_reported_and_stops_nothing(database: Engine, committed: Add, depots: Depots) -> None:
    """JSON that breaks off, JSON that names nothing, and JSON that is nested too deeply for Python."""
    write_script(database, '{"path": "default/', 1)
    write_script(database, "[" * 3000 + "]" * 3000, 4)
    write_raw(database, '{"name": "no file"}', 2)
    gone = Film(id=3, poster=b"gone")
    committed(gone)
    assert gone.poster is not None
    depots["default"].delete(gone.poster.file_id)
    report = missing(database)
    assert [(each.place, each.key) for each in report.damaged] == [
        ("upkeep_film.poster", (2,)),
        ("upkeep_film.script", (1,)),
        ("upkeep_film.script", (4,)),
    ]
    assert told(report) == [("upkeep_film.poster", (3,), "path")]


@pytest.mark.parametrize("levels", [200, 990, 5000, 100_000])
def test_json_of_any_depth_is_reported_and_stops_nothing(database: Engine, depots: Depots, levels: int) -> None:
    """Deeper than Python's stack, or so deep that it can be parsed and no longer searched."""
    if database.dialect.name == "mariadb":
        levels = min(levels, 5000)  # in bytes: a TEXT has 64 KiB
    write_script(database, "[" * levels + "]" * levels, 1)
    lost = new_file_id()
    write_script(database, json.dumps({"path": f"default/{lost}", "file_id": lost, "depot_name": "default"}), 2)
    report = missing(database)
    assert [each.key for each in report.damaged] == [(1,)]
    assert [each.key for each in report.files] == [(2,)]


class Meanwhile(MemoryFileStorage):
    """Does something before it lists, and when it is asked for a file."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], object] = str
        self.asked: list[str] = []
        self.afterwards: Callable[[], object] = str

    def _list(self) -> Iterator[FileEntry]:
        self.before()
        return super()._list()

    def _exists(self, file_id: str) -> bool:
        self.asked.append(file_id)
        found = super()._exists(file_id)
        self.afterwards()
        return found


class Lagging(Meanwhile):
    """Its listing may leave something out."""

    list_is_complete = False

    def _list(self) -> Iterator[FileEntry]:
        raise AssertionError("nobody should rely on this listing")


def replaced(engine: Engine) -> Callable[[], None]:
    """Return what replaces the file of the only film, once."""
    left = [1]

    def replace() -> None:
        if left:
            left.clear()
            with Session(engine) as session:
                session.query(Film).one().poster = UploadedFile(b"new", depot_name="busy")
                session.commit()

    return replace


@pytest.mark.parametrize("when", ["before", "afterwards"])
def test_what_is_replaced_meanwhile_is_not_missing(database: Engine, committed: Add, depots: Depots, when: str) -> None:
    """Before the listing, and after the file was asked for: the row names another file by then."""
    storage = DepotManager.configure("busy", Meanwhile())
    assert isinstance(storage, Meanwhile)
    film = Film(poster=UploadedFile(b"old", depot_name="busy"))
    committed(film)
    assert film.poster is not None
    if when == "afterwards":
        storage.delete(film.poster.file_id)
    setattr(storage, when, replaced(database))
    report = missing(database)
    assert storage.asked == [film.poster.file_id]
    assert (report.files, report.named) == ([], 1)


def test_a_storage_that_cannot_list_all_is_asked_file_by_file(database: Engine, committed: Add, depots: Depots) -> None:
    """Its listing is not looked at."""
    storage = DepotManager.configure("lagging", Lagging())
    assert isinstance(storage, Lagging)
    films = [Film(poster=UploadedFile(b"x", depot_name="lagging")) for _ in range(5)]
    committed(*films)
    assert films[2].poster is not None
    storage.delete(films[2].poster.file_id)
    assert told(missing(database)) == [("upkeep_film.poster", (films[2].id,), "path")]
    assert len(storage.asked) == 5


def test_a_storage_that_cannot_be_asked_stops_it(database: Engine, committed: Add, depots: Depots) -> None:
    """Nothing is called missing because nobody answers."""

    class Silent(MemoryFileStorage):
        def _list(self) -> Iterator[FileEntry]:
            raise StorageFailed("no answer")

    DepotManager.configure("silent", Silent())
    committed(Film(poster=UploadedFile(b"x", depot_name="silent")))
    with pytest.raises(StorageFailed, match="no answer"):
        missing(database)
    assert missing(database, "default").files == []


def test_the_rows_are_read_once_where_nothing_is_missing(database: Engine, committed: Add, depots: Depots) -> None:
    """And the steps are told."""
    committed(Film(poster=b"poster"))
    seen: list[Progress] = []
    missing(database, progress=seen.append)
    steps = [each.step for each in seen if each.finished]
    assert steps.count("reading upkeep_film.poster") == 1
    assert "listing default" in steps
    assert not any(each.startswith("looking again") for each in steps)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_an_estimate_that_is_forbidden_ends_no_transaction_of_the_caller(database: Engine, committed: Add) -> None:
    """PostgreSQL aborts the transaction of a query that fails; without the estimate, there is no total."""
    committed(Film(poster=b"poster"))
    role = f"no_estimates_{uuid.uuid4().hex[:12]}"
    seen: list[Progress] = []
    with database.connect() as connection:
        execute = connection.exec_driver_sql
        execute(f"CREATE ROLE {role}")
        execute(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {role}")
        execute("REVOKE SELECT ON pg_catalog.pg_class FROM PUBLIC")
        execute("GRANT SELECT (oid, relname, relnamespace, relkind) ON pg_catalog.pg_class TO PUBLIC")  # not reltuples
        execute("CREATE TABLE of_the_caller (number integer)")
        execute(f"GRANT ALL ON of_the_caller TO {role}")
        execute(f"SET LOCAL ROLE {role}")
        execute("INSERT INTO of_the_caller VALUES (7)")
        found = find_missing(connection, models=[Base], columns=["upkeep_film.poster"], progress=seen.append)
        assert (found.rows, found.files) == (1, [])
        assert [each.total for each in seen if each.step == "reading upkeep_film.poster" and each.finished] == [None]
        assert execute("SELECT number FROM of_the_caller").scalar() == 7
        connection.rollback()  # and with it the role


def test_a_session_lends_its_engine_and_keeps_its_transaction(database: Engine, committed: Add) -> None:
    """Its uncommitted changes are not seen."""
    committed(Film(poster=b"poster"))
    with Session(database) as session:
        session.query(Film).one().title = "changed"
        assert missing(session).named == 1
        assert session.dirty


def test_an_unknown_depot_is_refused(database: Engine) -> None:
    """Before anything is read."""
    with pytest.raises(UnknownDepot, match="'nowhere'"):
        missing(database, "nowhere")
    with pytest.raises(ConfigurationError, match="a Session, an Engine or a Connection"):
        missing("sqlite://")


@pytest.mark.server
def test_on_s3_it_costs_the_listing_and_a_request_for_each_file_that_is_not_listed(
    database: Engine, committed: Add, depots: Depots
) -> None:
    """Not one for each file."""
    from tests.io.s3_server import Requests, moto_server

    with moto_server() as server, server.bucket() as bucket:
        storage = server.storage(bucket)
        DepotManager.configure("s3", storage)
        films = [Film(poster=UploadedFile(b"x", depot_name="s3")) for _ in range(20)]
        committed(*films)
        assert films[4].poster is not None
        storage.delete(films[4].poster.file_id)
        requests = Requests(storage)
        report = missing(database, "s3")
        assert told(report) == [("upkeep_film.poster", (films[4].id,), "path")]
        # That the bucket is there has to be asked, too: HEAD says no more than 404.
        assert requests.taken() == {"ListObjectsV2": 1, "HeadObject": 1, "HeadBucket": 1}
