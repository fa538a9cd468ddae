"""Maintenance and variants on demand: they belong to the files that rows name, and are never missed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import pytest
from PIL import Image
from sqlalchemy import Engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite import renditions
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.fileid import derived_id, new_file_id
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import claim, delete_unused_files, find_missing, find_unused, migrate, statistics, verify
from depot_lite.maintenance.ids import packed
from depot_lite.maintenance.readings import Readings
from depot_lite.maintenance.rows.database import Database
from depot_lite.maintenance.rows.places import places
from depot_lite.maintenance.rows.references import References
from depot_lite.maintenance.run.reports import UnusedReport
from tests.conftest import empty
from tests.maintenance.conftest import NOW

VARIANTS: Final = {"webp": Thumbnail(8, 8, format="WEBP", make="on_demand"), "square": Crop(4, 4, make="on_demand")}


class Base(DeclarativeBase):
    """The parent of the model here."""


class Plate(Base):
    """An image."""

    __tablename__ = "on_demand_plate"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(UploadedFileField((), UploadedImage, variants=VARIANTS))


@pytest.fixture
def database(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[Engine]:
    """An empty table."""
    Base.metadata.create_all(engine)
    claim(engine, "default", models=[Base])
    yield engine
    empty(engine, Base.metadata)


def picture() -> bytes:
    """Return a PNG."""
    file = io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(file, "PNG")
    return file.getvalue()


def add(database: Engine, number: int) -> list[str]:
    """Commit a row, make its variants, and return the ids of its three files."""
    with Session(database) as session:
        plate = Plate(id=number, image=picture())
        session.add(plate)
        session.commit()
        assert plate.image is not None
        for each in plate.image.variants.values():
            each.file.close()
        return [plate.image.file_id, *(each.file_id for each in plate.image.variants.values())]


def forget(database: Engine, number: int) -> None:
    """Let a row name nothing, behind our back."""
    with database.begin() as connection:
        connection.execute(text("UPDATE on_demand_plate SET image = NULL WHERE id = :id"), {"id": number})


def found(report: UnusedReport) -> set[str]:
    return {each.file_id for each in report.files}


def sweep(database: Engine, **options: Any) -> UnusedReport:
    return delete_unused_files(
        database, models=[Base], older_than=NOW, trash=NOW, settle=NOW, allow_newer=True, max_delete="100%", **options
    )


def test_variants_of_named_files_stay(database: Engine, depots: dict[str, FileStorage]) -> None:
    """And those of others go with them."""
    kept, gone = add(database, 1), add(database, 2)
    forget(database, 2)
    report = find_unused(database, models=[Base], older_than=NOW)
    assert (found(report), report.named) == (set(gone), 3)
    assert sweep(database).deleted == 3
    assert {str(each) for each in depots["default"].list()} == set(kept)


def test_variants_of_former_recipes_go(database: Engine, depots: dict[str, FileStorage]) -> None:
    """As do those whose original is gone."""
    kept = add(database, 1)
    former = derived_id(kept[0], "0123456789ab")
    orphan = derived_id(new_file_id(), VARIANTS["webp"].fingerprint)
    for each in (former, orphan):
        depots["default"].create(b"made", file_id=each)
    assert found(sweep(database)) == {former, orphan}
    assert {str(each) for each in depots["default"].list()} == set(kept)


def test_a_second_reading_finds_the_variants_of_a_row_that_came_back(database: Engine) -> None:
    """They are looked for where only few files are."""
    kept = add(database, 1)
    readings = Readings(Database(database), places(models=[Base]), References("default"), None)
    assert set(readings.read({packed(kept[1])})) == {kept[1]}
    assert set(readings.read({packed(kept[0])})) == {kept[0]}
    assert set(readings.read({packed(new_file_id())})) == set()


def test_a_new_variant_hides_no_lost_rows(database: Engine, depots: dict[str, FileStorage]) -> None:
    """Ten files that are newer than all originals are a sign of a restored database, whatever was made since."""
    with Session(database) as session:
        plate = Plate(id=1, image=picture())
        session.add(plate)
        session.commit()
        lost = {depots["default"].create(b"of a lost row") for _ in range(10)}
        assert plate.image is not None
        plate.image.variants["webp"].file.close()
    report = find_unused(database, models=[Base], older_than=NOW)
    assert found(report) == lost
    assert any("newer than every file that a row names" in each for each in report.objections)


@pytest.mark.parametrize("trash", [NOW, timedelta(days=7)])
def test_former_recipes_look_like_no_lost_rows(
    database: Engine, depots: dict[str, FileStorage], trash: timedelta
) -> None:
    """Their files are newer than all originals if nothing was uploaded since, and can be made again."""
    kept = add(database, 1)
    former = {derived_id(kept[0], f"{number:012x}") for number in range(10)}
    for each in former:
        depots["default"].create(b"made", file_id=each)
    report = delete_unused_files(database, models=[Base], older_than=NOW, trash=trash, settle=NOW)
    assert (found(report), report.objections, report.newer) == (former, [], 0)
    assert (report.marked, report.deleted) == ((0, 10) if trash == NOW else (10, 0))


def test_nothing_misses_them(database: Engine, depots: dict[str, FileStorage]) -> None:
    """Made or not."""
    ids = add(database, 1)
    for _ in range(2):
        missing = find_missing(database, models=[Base])
        assert (missing.files, missing.named) == ([], 1)
        assert verify(database, "default", models=[Base]).findings == []
        for each in ids[1:]:
            depots["default"].delete(each)


def test_a_migrated_image_has_new_ones(database: Engine, depots: dict[str, FileStorage]) -> None:
    """Those of the old file are left to the sweep, as is the file itself."""
    ids = add(database, 1)
    assert migrate(database, "default", "archive", models=[Base]).files == 1
    with Session(database) as session:
        image = session.get_one(Plate, 1).image
        assert image is not None
        variant = image.variants["webp"]
        assert variant.path.startswith("archive/")
        variant.file.close()
    assert depots["archive"].exists(variant.file_id)
    assert found(find_unused(database, models=[Base], older_than=NOW)) == set(ids)
    assert found(find_unused(database, "archive", models=[Base], older_than=NOW)) == set()


def test_ids_in_rows_may_be_written_in_other_ways(database: Engine, depots: dict[str, FileStorage]) -> None:
    """As ObjectIds of filedepot's rows, or as reserved ids that no file has."""
    ids = add(database, 1)
    with database.begin() as connection:
        for number, file_id in enumerate(["507f1f77bcf86cd799439011", "6465706f-7400-0000-f000-000000000001"], 2):
            row = json.dumps({"depot_name": "default", "file_id": file_id, "path": f"default/{file_id}", "files": []})
            statement = "INSERT INTO on_demand_plate (id, image) VALUES (:id, :row)"
            connection.execute(text(statement), {"id": number, "row": row})
    kept = "507f1f77-bcf8-0000-0000-6cd799439011"
    variant = derived_id(kept, VARIANTS["webp"].fingerprint)
    for each in (kept, variant):
        depots["default"].create(b"old", file_id=each)
    assert found(sweep(database)) == set()
    assert {str(each) for each in depots["default"].list()} == {*ids, kept, variant}
    readings = Readings(Database(database), places(models=[Base]), References("default"), None)
    assert set(readings.read({packed(variant)})) == {variant}


def test_other_depots_cost_nothing(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """No ids are derived unless a file with such an id is listed."""
    with Session(database) as session:
        session.add(Plate(id=1, image=picture()))
        session.commit()
    monkeypatch.setattr(renditions, "_declared", None)
    assert found(find_unused(database, models=[Base], older_than=NOW)) == set()


def test_they_are_counted_by_themselves(database: Engine, depots: dict[str, FileStorage]) -> None:
    """Not as files that no row names."""
    add(database, 1)
    depots["default"].create(b"unused")
    found = statistics(database, "default", models=[Base]).depots["default"]
    assert (found.files, found.on_demand.files, found.unnamed.files) == (4, 2, 1)
