"""prove_replaced: may the old bucket go?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.composite.fallback import FallbackStorage
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import RetirementReport, aio, claim, copy_files, migrate, prove_replaced
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.maintenance.conftest import Base, Film, Scene

Add = Callable[..., None]
Depots = dict[str, FileStorage]


def prove(bind: Any, **options: Any) -> RetirementReport:
    return prove_replaced(bind, "default", "archive", models=[Base], **options)


def films(count: int) -> list[Film]:
    return [Film(title=f"{n}", poster=b"poster %d" % n, shots=[b"one", b"two"]) for n in range(count)]


def test_a_depot_may_go_after_a_migration(database: Engine, committed: Add, depots: Depots) -> None:
    """Not before, and not without one of its files."""
    committed(*films(5), Film(script=b"in the archive already"), Scene(film="M", number=1, take=b"take"))
    before = prove(database)
    assert (before.named, before.whole, len(before.findings), before.may_go) == (17, 1, 16, False)
    assert {each.kind for each in before.findings} == {"missing"}
    assert any("upkeep_scene.take of the row M, 1" in each.rows for each in before.findings)
    migrate(database, "default", "archive", models=[Base])
    after = prove(database)
    assert (after.named, after.whole, after.by_old_name, after.findings, after.may_go) == (17, 17, 0, [], True)
    assert after.bytes == sum(depots["archive"].entry(each).size for each in depots["archive"].list())


def test_copies_under_the_same_ids_are_a_replacement(database: Engine, committed: Add, depots: Depots) -> None:
    """If the old name is given to them; the report counts the rows that need it."""
    committed(*films(3))
    copy_files("default", "archive")
    found = prove(database)
    assert (found.named, found.by_old_name, found.may_go) == (9, 9, True)


def test_a_damaged_copy_keeps_the_original_from_going(database: Engine, committed: Add, depots: Depots) -> None:
    """Files are read whole, and compared with what their rows say."""
    film = Film(poster=b"poster")
    committed(film)
    copy_files("default", "archive")
    assert film.poster is not None
    path = depots["archive"].get(film.poster.file_id).local_path
    assert path is not None
    path.write_bytes(b"POSTER")
    found = prove(database)
    assert ([each.kind for each in found.findings], found.may_go) == (["damaged"], False)
    assert found.findings[0].rows == (f"upkeep_film.poster of the row {film.id}",)


def test_rows_that_cannot_be_told_keep_it_from_going(database: Engine, committed: Add, depots: Depots) -> None:
    """Damaged ones, and those that name a depot that may be another name of it."""
    DepotManager.alias("old", "default")
    committed(Film(script=b"x"))
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE upkeep_film SET script = '{\"path\": 5'")
    assert (prove(database).damaged_rows, prove(database).may_go) == (1, False)
    file_id = depots["archive"].create(b"x")
    with database.begin() as connection:
        connection.exec_driver_sql(f"UPDATE upkeep_film SET script = '\"former/{file_id}\"'")
    assert (prove(database).unconfigured, prove(database).may_go) == ({"former"}, False)
    with database.begin() as connection:
        connection.exec_driver_sql(f"UPDATE upkeep_film SET script = '\"old/{file_id}\"'")
    assert (prove(database).by_old_name, prove(database).may_go) == (1, True)


def test_a_file_in_a_composite_has_to_be_in_the_new_part(database: Engine, committed: Add, depots: Depots) -> None:
    """Whatever name rows have for it."""
    DepotManager.configure("both", FallbackStorage(depots["archive"], depots["default"]))
    with database.begin() as connection:
        ids = [depots["default"].create(b"old"), depots["archive"].create(b"new")]
        for number, each in enumerate(ids):
            value = UploadedFile({"depot_name": "both", "file_id": each, "path": f"both/{each}"})
            connection.execute(insert(Film).values(id=number + 1, shots=[], script=value))
    found = prove(database)
    assert ([each.file_id for each in found.findings], found.whole, found.may_go) == ([ids[0]], 1, False)


def test_a_row_that_is_replaced_meanwhile_is_no_finding(database: Engine, committed: Add, depots: Depots) -> None:
    """The rows are read again."""
    film = Film(poster=b"old")
    committed(film)

    def replaced(progress: Any) -> None:
        if progress.step == "reading files" and progress.finished:
            with Session(database) as session:
                session.merge(film).poster = None
                session.commit()

    found = prove(database, progress=replaced)
    assert (found.named, found.findings, found.may_go) == (1, [], True)


def test_asynchronously(tmp_path: Path, depots: Depots) -> None:
    """As all other jobs."""
    pytest.importorskip("aiosqlite")

    async def journey() -> RetirementReport:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db")
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        found = await aio.prove_replaced(engine, "default", "archive", models=[Base])
        await engine.dispose()
        return found

    assert asyncio.run(journey()).may_go


def test_a_depot_does_not_replace_itself(database: Engine, depots: Depots) -> None:
    DepotManager.configure("memory", MemoryFileStorage())
    DepotManager.alias("same", "memory")
    with pytest.raises(ConfigurationError, match="expected two storages"):
        prove_replaced(database, "memory", "same", models=[Base])


def test_a_folder_under_a_second_name_replaces_nothing(
    database: Engine, committed: Add, depots: Depots, tmp_path: Path
) -> None:
    """It has every file, and would go together with the first; so would a composite that reads from it."""
    committed(*films(1))
    (tmp_path / "link").symlink_to(tmp_path / "media" / "default")
    DepotManager.configure("link", LocalFileStorage(tmp_path / "link"))
    for _ in range(2):  # without an owner mark, and with one
        with pytest.raises(MaintenanceStopped, match="'default' and 'link' have their files in one place"):
            prove_replaced(database, "default", "link", models=[Base])
        claim(database, "default", models=[Base])
    DepotManager.configure("both", FallbackStorage(MemoryFileStorage(), depots["default"]))
    with pytest.raises(MaintenanceStopped, match="in one place"):
        prove_replaced(database, "default", "both", models=[Base])


def test_a_bucket_of_the_same_name_on_another_server_is_another_place(
    database: Engine, committed: Add, tmp_path: Path
) -> None:
    """The owner mark of the old one is not in the new one."""

    class Bucket(LocalFileStorage):
        @property
        def location(self) -> str:
            return "films"

    with temporary_depots():
        for name in ("default", "archive"):
            DepotManager.configure(name, Bucket(tmp_path / name))
        committed(*films(1))
        copy_files("default", "archive")
        claim(database, "default", models=[Base])
        assert prove(database).may_go
