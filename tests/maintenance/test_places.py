"""Where references are looked for, in however many databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import find_unused
from depot_lite.maintenance.rows.places import chosen, places
from tests.conftest import sqlite_engine
from tests.maintenance.two_databases import ARCHIVE, Detail, Here, Photo, Scan, There
from tests.support.sweeps import sweep

NOW = timedelta(0)


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[tuple[Engine, Engine]]:
    here, there = sqlite_engine(tmp_path / "here.db"), sqlite_engine(tmp_path / "there.db")
    Here.metadata.create_all(here)
    There.metadata.create_all(there)
    yield here, there
    here.dispose()
    there.dispose()


def test_every_column_of_every_table_is_a_place_once() -> None:
    """Of subclasses too, under the name that it has in the database."""
    assert sorted(map(str, places(models=[Here, There.metadata]))) == [
        "main.archive.image",
        "places_photo.image",
        "places_scan.detail",
        "places_scan.picture",
    ]


def test_protected_columns_are_places() -> None:
    """By name, with or without a schema, and by attribute."""
    found = places(["other.column", "some.other.column", Photo.id], models=[There])
    assert [str(each) for each in found if each.type is None] == [
        "other.column",
        "some.other.column",
        "places_photo.id",
    ]


def test_what_is_neither_a_base_nor_its_metadata_is_refused() -> None:
    """A class of the user's, say."""
    with pytest.raises(ConfigurationError, match="expected a declarative base"):
        places(models=[object()])


def test_a_session_reads_all_the_databases_that_it_is_bound_to(
    engines: tuple[Engine, Engine], depots: dict[str, FileStorage]
) -> None:
    """Files of both share a depot, and neither takes the other's for unused."""
    here, there = engines
    with Session(binds={Photo: here, ARCHIVE: here, There: there}) as session:
        session.add_all([Photo(image=b"photo"), Scan(image=b"scan"), Detail(image=b"whole", detail=b"detail")])
        session.commit()
        left = depots["default"].create(b"left")
        report = sweep(session, models=[Here, There])
    assert (report.named, [each.file_id for each in report.files]) == (4, [left])


def test_a_table_that_no_database_is_known_for_stops_it(
    engines: tuple[Engine, Engine], depots: dict[str, FileStorage]
) -> None:
    """Its rows cannot be seen."""
    with (
        Session(binds={Photo: engines[0], There: engines[1]}) as session,
        pytest.raises(MaintenanceStopped, match=r"main\.archive\.image cannot be read"),
    ):
        find_unused(session, "default", models=[Here, There])


def test_what_is_no_database_is_refused() -> None:
    """Before anything is looked at."""
    with pytest.raises(ConfigurationError, match="expected a Session, an Engine or a Connection"):
        find_unused("sqlite://", "default")  # type: ignore[arg-type]  # that is the point


def test_a_job_may_be_restricted_to_columns_and_rows() -> None:
    found = places(models=[Here, There])
    some = chosen(found, ["places_scan.detail", "places_scan.picture"], "id < 3 AND name = 'a:b'")
    assert [str(each) for each in some] == ["places_scan.detail", "places_scan.picture"]
    condition = str(some[0].has_value.compile(compile_kwargs={"literal_binds": True}))
    assert condition == "places_scan.detail IS NOT NULL AND (id < 3 AND name = 'a:b')"
    assert chosen(found, None, None) == found
    with pytest.raises(ConfigurationError, match=r"where: expected the columns of one table, got .*places_photo, "):
        chosen(found, None, "id < 3")
    with pytest.raises(ConfigurationError, match=r"columns: there is no file column 'places_scan.nope'; there is "):
        chosen(found, ["places_scan.nope"], None)
    with pytest.raises(ConfigurationError, match=r"columns: expected a list of names, got 'places_scan.detail'"):
        chosen(found, "places_scan.detail", None)
