"""Maintenance and the focus of images: a row keeps the variants on demand of its point, and of no other."""

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

from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop
from depot_lite.io.fileid import derived_id
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import claim, delete_unused_files, find_missing, find_unused, statistics, verify
from depot_lite.maintenance.ids import packed
from depot_lite.maintenance.readings import Readings
from depot_lite.maintenance.rows.database import Database
from depot_lite.maintenance.rows.places import places
from depot_lite.maintenance.rows.references import References
from depot_lite.maintenance.run.reports import UnusedReport
from tests.conftest import empty
from tests.maintenance.conftest import NOW

SQUARE: Final = Crop(4, 4, focus=True, make="on_demand")
VARIANTS: Final = {"square": SQUARE, "plain": Crop(5, 5, make="on_demand")}


class Base(DeclarativeBase):
    """The parent of the model here."""


class Frame(Base):
    """An image, and a list of them."""

    __tablename__ = "focus_frame"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(UploadedFileField((), UploadedImage, variants=VARIANTS))
    more: Mapped[FileList[UploadedImage]] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants=VARIANTS, multiple=True)
    )


@pytest.fixture
def database(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[Engine]:
    """An empty table."""
    Base.metadata.create_all(engine)
    claim(engine, "default", models=[Base])
    yield engine
    empty(engine, Base.metadata)


def focused(point: Any) -> UploadedImage:
    """Return a new image with this focus."""
    file = io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(file, "PNG")
    return UploadedImage(file.getvalue(), meta={"focus": point})


def add(database: Engine) -> set[str]:
    """Commit a row, make the variants of its images, and return the ids of all files."""
    with Session(database) as session:
        frame = Frame(id=1, image=focused([0, 0.25]), more=[focused([1, 1]), focused(None)])
        session.add(frame)
        session.commit()
        images: list[Any] = [frame.image, *frame.more]
        for variant in (variant for image in images for variant in image.variants.values()):
            variant.file.close()
        return {image.file_id for image in images} | {
            variant.file_id for image in images for variant in image.variants.values()
        }


def stored(depots: dict[str, FileStorage]) -> set[str]:
    return {str(each) for each in depots["default"].list()}


def main_id(database: Engine) -> str:
    with Session(database) as session:
        image = session.get_one(Frame, 1).image
        assert image is not None
        return image.file_id


def sweep(database: Engine, trash: timedelta = NOW) -> UnusedReport:
    return delete_unused_files(
        database, models=[Base], older_than=NOW, trash=trash, settle=NOW, allow_newer=True, max_delete="100%"
    )


def found(report: UnusedReport) -> set[str]:
    return {each.file_id for each in report.files}


def test_a_sweep_keeps_those_of_the_present_point(database: Engine, depots: dict[str, FileStorage]) -> None:
    """Those of other points go, such as one whose URL somebody has kept."""
    kept = add(database)
    assert stored(depots) == kept
    assert len(kept) == 9
    former = {
        derived_id(main_id(database), SQUARE.for_meta({"focus": point}).fingerprint)
        for point in ([0.5, 0.5], [1, 1], [0.25, 0])
    }
    for each in (*former, unresolved := derived_id(main_id(database), SQUARE.fingerprint)):
        depots["default"].create(b"made", file_id=each)
    report = find_unused(database, models=[Base], older_than=NOW)
    assert (found(report), report.objections, report.named) == ({*former, unresolved}, [], 9)
    assert sweep(database).deleted == 4
    assert stored(depots) == kept
    assert sweep(database).deleted == 0


def test_a_point_that_was_set_by_sql_counts(database: Engine, depots: dict[str, FileStorage]) -> None:
    """The row decides, whoever has written it."""
    add(database)
    with Session(database) as session:
        image = session.get_one(Frame, 1).image
    assert image is not None
    moved = {**image, "meta": {"focus": [0.5, 1]}}
    with database.begin() as connection:
        connection.execute(text("UPDATE focus_frame SET image = :row"), {"row": json.dumps(moved)})
    with Session(database) as session:
        now = session.get_one(Frame, 1).image
        assert now is not None
        now.variants["square"].file.close()
    assert found(sweep(database)) == {image.variants["square"].file_id}
    assert depots["default"].exists(now.variants["square"].file_id)


def test_a_file_that_is_due_and_named_again_stays(database: Engine, depots: dict[str, FileStorage]) -> None:
    """A second reading looks for the few files that are about to go, and these may be of a point that came back."""
    add(database)
    with Session(database) as session:
        image = session.get_one(Frame, 1).image
    assert image is not None
    square, plain = (image.variants[name].file_id for name in ("square", "plain"))
    readings = Readings(Database(database), places(models=[Base]), References("default"), None)
    for only, expected in (({square}, {square}), ({plain}, {plain}), ({image.file_id}, {image.file_id})):
        assert set(readings.read(set(map(packed, only)))) == expected
    other = derived_id(image.file_id, SQUARE.for_meta({"focus": [1, 0]}).fingerprint)
    assert set(readings.read({packed(other)})) == set()


def test_nothing_misses_them_and_they_are_counted(database: Engine, depots: dict[str, FileStorage]) -> None:
    """As other variants on demand."""
    add(database)
    counted = statistics(database, "default", models=[Base]).depots["default"]
    assert (counted.files, counted.on_demand.files, counted.unnamed.files) == (9, 6, 0)
    for _ in range(2):
        assert find_missing(database, models=[Base]).files == []
        assert verify(database, "default", models=[Base]).findings == []
        for each in stored(depots):
            if each[14] == "5":
                depots["default"].delete(each)
