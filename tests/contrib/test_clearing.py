"""Missing files that are removed from their rows: which, which not, and when nothing is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
from sqlalchemy import Column, Engine, ForeignKey, Integer, String, Table, event, insert, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, validates

from depot_lite.errors import ConfigurationError, MaintenanceStopped, StorageFailed
from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.content import Content
from depot_lite.io.local import LocalFileStorage
from depot_lite.maintenance import Progress
from depot_lite.maintenance.clearing import ClearedReport, Outcome, clear_missing
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import empty, sqlite_engine
from tests.support.files import png

SMALL: Final = {"small": Thumbnail(2, 2)}


class Base(DeclarativeBase):
    """The parent of the models here."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


class Disc(Base):
    """Has a column of each kind, two columns as its key, and counts its versions."""

    __tablename__ = "clearing_disc"
    label: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    notes: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(text=True))
    sound: Mapped[UploadedFile | None] = mapped_column("sound_file", UploadedFileField)
    tracks: Mapped[FileList[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    photo: Mapped[UploadedImage | None] = mapped_column(UploadedFileField(upload_type=UploadedImage, variants=SMALL))
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it

    @validates("sound")
    def _is_wanted(self, key: str, value: Any) -> Any:
        if value is None and self.label == "strict":
            raise ValueError("a disc has a sound")
        return value


class Work(Base):
    """The parent of two kinds of rows. Its name comes behind those of its children, as mappers are sorted."""

    __tablename__ = "clearing_work"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    score: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "work"}  # noqa: RUF012  # SQLAlchemy reads it


class Aria(Work):
    """Has its rows in the same table."""

    __mapper_args__ = {"polymorphic_identity": "aria"}  # noqa: RUF012  # SQLAlchemy reads it


class Ballet(Work):
    """Has a table of its own, whose key has another name."""

    __tablename__ = "clearing_ballet"
    work_id: Mapped[int] = mapped_column(ForeignKey("clearing_work.id"), primary_key=True)
    plan: Mapped[UploadedFile] = mapped_column(UploadedFileField)
    __mapper_args__ = {"polymorphic_identity": "ballet"}  # noqa: RUF012  # SQLAlchemy reads it


FORMER = Table(
    "clearing_former", Base.metadata, Column("id", Integer, primary_key=True), Column("cover", UploadedFileField)
)


class Place:
    """A database and a depot, with files enough that some may be missing."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.storage = LocalFileStorage(folder, durable=False)
        DepotManager.configure("discs", self.storage)
        Base.metadata.create_all(engine)
        empty(engine, Base.metadata)
        self.add(disc := Disc(label="whole", number=0, tracks=[b"%d" % each for each in range(20)]))
        self.whole = disc.tracks

    def add(self, *objects: Any) -> None:
        with Session(self.engine, expire_on_commit=False) as session:
            session.add_all(objects)
            session.commit()

    def lose(self, *values: Any) -> None:
        """Let files go behind the back of their rows."""
        for each in values:
            self.storage.delete(each.file_id)

    def clear(self, shown: int = 20, progress: Any = None, bind: Any = None) -> ClearedReport:
        return clear_missing(bind or self.engine, "discs", shown, models=[Base], progress=progress)

    def cleared(self, **options: Any) -> dict[str, int]:
        """Return how many files came to which end."""
        return {each.value: len(files) for each, files in self.clear(**options).files.items() if files}

    def disc(self, label: str, number: int = 1) -> Disc:
        with Session(self.engine, expire_on_commit=False) as session:
            return session.get_one(Disc, (label, number))

    def at_first(self, act: Callable[[], object]) -> Callable[[Progress], None]:
        """Return what acts once, when the first row has been written and the next has not."""
        waiting = [act]

        def progress(told: Progress) -> None:
            if told.step.startswith("removing missing files of discs") and waiting:
                waiting.pop()()

        return progress


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = sqlite_engine(tmp_path_factory.mktemp("clearing") / "test.db", connect_args={"timeout": 0})
    yield made
    made.dispose()


@pytest.fixture
def place(lite: Engine, tmp_path: Path) -> Iterator[Place]:
    with temporary_depots():
        yield Place(lite, tmp_path / "discs")


def some(label: str = "some", number: int = 1, **values: Any) -> Disc:
    return Disc(label=label, number=number, **values)


def test_a_row_does_not_name_it_any_more_on_each_database(engine: Engine, tmp_path: Path) -> None:
    """A single value becomes None, a list loses that element, and existing files stay. The version advances."""
    with temporary_depots():
        place = Place(engine, tmp_path)
        disc = some(cover=b"1", notes=b"2", sound=b"3", tracks=[b"4", b"5", b"6", b"7"])
        place.add(disc)
        place.lose(disc.cover, disc.notes, disc.tracks[1], disc.tracks[3])
        report = place.clear()
        assert ({each: len(files) for each, files in report.files.items() if files}, report.named) == (
            {Outcome.REMOVED: 4},
            27,
        )
        after = place.disc("some")
        assert (after.cover, after.notes, after.sound) == (None, None, disc.sound)
        assert list(after.tracks) == [disc.tracks[0], disc.tracks[2]]
        assert after.version > disc.version
        assert place.disc("whole", 0).version == 1
        assert place.cleared() == {}
        Base.metadata.drop_all(engine)


def test_rows_of_classes_that_inherit_are_written_as_what_they_are(place: Place) -> None:
    works = [Work(score=b"1"), Aria(score=b"2"), Ballet(score=b"3", plan=b"4")]
    place.add(*works)
    place.lose(*(each.score for each in works))
    assert place.cleared() == {"removed": 3}
    with Session(place.engine) as session:
        assert [each.score for each in session.query(Work)] == [None] * 3


def test_what_is_required_stays(place: Place) -> None:
    place.add(ballet := Ballet(plan=b"1"), disc := some(cover=b"2"))
    place.lose(ballet.plan, disc.cover)
    report = place.clear()
    assert [each.path for each in report.files[Outcome.REQUIRED]] == [ballet.plan.path]
    assert len(report.files[Outcome.REMOVED]) == 1


def test_a_variant_stays_if_its_original_is_there(place: Place) -> None:
    place.add(disc := some(photo=png()))
    assert disc.photo is not None
    place.lose(disc.photo.variants["small"])
    assert place.cleared() == {"variants": 1}
    assert place.disc("some").photo == disc.photo


def test_an_original_goes_with_its_variants_and_no_file_is_deleted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was wrong can put the original back, and the variants of it are there."""
    place.add(disc := some(photo=png()), other := some(number=2, photo=png()))
    assert disc.photo is not None
    assert other.photo is not None
    small = other.photo.variants["small"]
    place.lose(disc.photo, other.photo, disc.photo.variants["small"])
    asked: list[Any] = []
    monkeypatch.setattr(DepotManager, "get_delete_later", lambda: asked.append)
    assert place.cleared() == {"removed": 3}
    assert place.storage.exists(small.file_id)
    assert asked == []


def test_what_its_model_refuses_fails_alone(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    discs = [some("fine", sound=b"1"), some("strict", sound=b"2"), some("xray", sound=b"3")]
    place.add(*discs)
    place.lose(*(each.sound for each in discs))
    report = place.clear()
    assert [each.key for each in report.files[Outcome.FAILED]] == [("strict", 1)]
    assert (str(report.errors[0]), len(report.files[Outcome.REMOVED])) == ("a disc has a sound", 2)
    assert "a disc has a sound" in caplog.text
    assert place.disc("strict").sound == discs[1].sound


def test_a_conflict_of_versions_fails_alone(place: Place, listen: Callable[..., None]) -> None:
    discs = [some(number=each, cover=b"1") for each in (1, 2)]
    place.add(*discs)
    place.lose(*(each.cover for each in discs))

    def overtake(mapper: Any, connection: Any, disc: Disc) -> None:
        if disc.number == 1:
            connection.execute(update(Disc.__table__).values(version=7))  # type: ignore[arg-type]  # a table

    listen(Disc, "before_update", overtake)
    report = place.clear()
    assert [str(each) for each in report.errors] == ["another transaction wrote the row meanwhile"]
    assert len(report.files[Outcome.REMOVED]) == 1
    assert (place.disc("some").version, place.disc("some").cover) == (1, discs[0].cover)


@pytest.mark.parametrize("how", ["replaced", "deleted", "there again"])
def test_what_changed_meanwhile_is_left(place: Place, how: str) -> None:
    discs = [some(number=each, cover=b"1") for each in (1, 2)]
    place.add(*discs)
    place.lose(*(each.cover for each in discs))

    def change() -> None:
        with Session(place.engine) as session:
            disc = session.get_one(Disc, ("some", 2))
            if how == "deleted":
                session.delete(disc)
            elif how == "replaced":
                disc.cover = Content.of(b"2")  # type: ignore[assignment]  # an upload
            elif disc.cover is not None:
                place.storage.save(Content.of(b"1"), file_id=disc.cover.file_id)
            session.commit()

    assert place.cleared(progress=place.at_first(change)) == {"removed": 1, "changed": 1}
    if how != "deleted":
        assert place.disc("some", 2).cover is not None


def test_tables_without_a_model_are_left(place: Place) -> None:
    place.add(disc := some(cover=b"1"))
    with place.engine.begin() as connection:
        connection.execute(insert(FORMER).values(id=1, cover=disc.cover))
    place.lose(disc.cover)
    assert place.cleared() == {"removed": 1, "unmapped": 1}


def test_a_stop_comes_between_two_rows(place: Place) -> None:
    discs = [some(number=each, cover=b"1") for each in (1, 2)]
    place.add(*discs)
    place.lose(*(each.cover for each in discs))

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.clear(progress=place.at_first(stop))
    assert [place.disc("some", each).cover for each in (1, 2)] == [None, discs[1].cover]


# --- when nothing is done ------------------------------------------------------------------------------------------


def test_nothing_is_done_if_more_than_half_is_missing(place: Place) -> None:
    """One more than half, and a folder that is not there at all."""
    place.lose(*place.whole[:11])
    with pytest.raises(MaintenanceStopped, match=r"^discs: 11 of 20 files .* more than half.*; no row was changed$"):
        place.clear()
    place.folder.rename(place.folder.with_name("elsewhere"))
    with pytest.raises(MaintenanceStopped, match=r"^discs: 20 of 20 files .* more than half"):
        place.clear()
    assert list(place.disc("whole", 0).tracks) == list(place.whole)


def test_half_may_be_missing(place: Place) -> None:
    place.lose(*place.whole[::2])
    assert place.cleared() == {"removed": 10}
    assert list(place.disc("whole", 0).tracks) == list(place.whole)[1::2]


def test_nothing_is_done_if_more_are_missing_than_were_shown(place: Place) -> None:
    place.lose(*place.whole[:2])
    with pytest.raises(MaintenanceStopped, match="2 files are missing now, but only 1 were confirmed"):
        place.clear(shown=1)
    assert place.cleared(shown=2) == {"removed": 2}


@pytest.mark.parametrize("method", ["_list", "_exists"])
def test_nothing_is_done_if_the_storage_does_not_answer(
    place: Place, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise StorageFailed("timeout")

    place.lose(place.whole[0])
    monkeypatch.setattr(place.storage, method, fail)
    with pytest.raises(MaintenanceStopped, match=r"^discs: the storage does not answer: timeout; no row was changed$"):
        place.clear()


def test_it_ends_when_the_storage_goes_away_meanwhile(place: Place) -> None:
    """Every file looks missing from then on; another folder may stand in its place, with files of its own."""
    discs = [some(number=each, cover=b"1") for each in (1, 2)]
    place.add(*discs)
    place.lose(*(each.cover for each in discs))

    def unmount() -> None:
        place.folder.rename(place.folder.with_name("elsewhere"))
        place.storage.create(b"of somebody else")

    with pytest.raises(MaintenanceStopped, match=r"it had when this began; 1 were removed from their rows before$"):
        place.clear(progress=place.at_first(unmount))
    assert place.disc("some", 2).cover == discs[1].cover


def test_rows_are_written_through_an_engine(place: Place) -> None:
    """Which a session lends; on a connection of the user's, nobody knows when it commits."""
    place.lose(*place.whole[:2])
    with place.engine.connect() as connection, pytest.raises(ConfigurationError, match="an engine, or a session"):
        place.clear(bind=connection)
    with Session(place.engine) as session:
        assert place.cleared(bind=session) == {"removed": 2}


def test_a_row_is_written_once(place: Place) -> None:
    """However many of its files are missing: one UPDATE, in one short transaction."""
    sent: list[str] = []

    def record(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    place.lose(*place.whole[:5])
    event.listen(place.engine, "before_cursor_execute", record)
    try:
        assert place.cleared() == {"removed": 5}
    finally:
        event.remove(place.engine, "before_cursor_execute", record)
    assert len([each for each in sent if each.startswith("UPDATE clearing_disc SET version")]) == 1
