"""add_missing_facts: rows from before their column had analyzers get their facts, and each file is read once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest
from sqlalchemy import Engine, String
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite import UploadedFile, UploadedFileField
from depot_lite.errors import ConfigurationError, StoredFileNotFound
from depot_lite.fields.analyzers import Analyzer, Duration, PdfPages
from depot_lite.fields.lists import FileList
from depot_lite.fields.validators import Candidate
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import Progress, RegenerateReport, add_missing_facts
from tests.conftest import empty
from tests.maintenance.covers import add
from tests.media import samples as of
from tests.support import files

Depots = dict[str, FileStorage]


class Length(Analyzer):
    """The number of bytes of text, and what a test asks for."""

    content_types = ("text/*",)
    error: ClassVar[Exception | None] = None
    calls: ClassVar[int] = 0

    def __init__(self, name: str = "Length") -> None:
        super().__init__()
        self._name = name

    @property
    def name(self) -> str:
        """Another one, if it comes to find other facts."""
        return self._name

    def facts_of(self, file: Candidate) -> Mapping[str, Any]:
        """Read the file."""
        Length.calls += 1
        if Length.error is not None:
            raise Length.error
        with file.open() as opened:
            return {"length": len(opened.read())}


class Base(DeclarativeBase):
    """The parent of the model here."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


class Talk(Base):
    """A recording, some handouts, and a file without analyzers."""

    __tablename__ = "facts_talk"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    recording: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(analyzers=[Duration()]))
    handouts: Mapped[FileList[UploadedFile]] = mapped_column(
        UploadedFileField(multiple=True, analyzers=[PdfPages(), Length()])
    )
    plain: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


ANALYZERS: Sequence[tuple[Any, tuple[Analyzer, ...]]] = (
    (Talk.recording, (Duration(),)),
    (Talk.handouts, (PdfPages(), Length())),
)


def declare(*, analyzers: bool = True) -> None:
    """Let the columns have analyzers or none, as if the program had been changed and started anew."""
    for attribute, found in ANALYZERS:
        attribute.type._analyzers = found if analyzers else ()


@pytest.fixture
def database(engine: Engine, depots: Depots) -> Iterator[Engine]:
    """Empty tables, whose columns have no analyzers."""
    Base.metadata.create_all(engine)
    Length.calls, Length.error = 0, None
    declare(analyzers=False)
    yield engine
    declare()
    empty(engine, Base.metadata)


def talks(engine: Engine) -> list[Talk]:
    with Session(engine, expire_on_commit=False) as session:
        return list(session.query(Talk).order_by(Talk.id))


def facts(engine: Engine) -> list[dict[str, Any]]:
    """Return the facts of all files."""
    held = [value for each in talks(engine) for value in (each.recording, *each.handouts)]
    return [dict(value.facts) for value in held if value is not None]


def backfill(bind: Any, **options: Any) -> RegenerateReport:
    return add_missing_facts(bind, models=[Base], **options)


def counted(report: RegenerateReport) -> tuple[int, int, int | None, int]:
    return report.rows, report.outdated, report.regenerated, report.changed


FACTS: list[dict[str, Any]] = [{"duration": 2.5, "bitrate": 128_000}, {"pages": 7}, {"length": 4}]


def test_rows_from_before_get_their_facts(database: Engine, depots: Depots) -> None:
    """Files and everything else stay where they are; a second run reads no file."""
    add(database, Talk(id=1, recording=files.wav(2.5), handouts=[of.packed_pdf(7), b"text"], plain=files.wav(1)))
    add(database, Talk(id=2, title="without files"))
    declare()
    before = talks(database)[0]
    assert counted(backfill(database, dry_run=True)) == (3, 2, None, 0)
    assert facts(database) == [{}, {}, {}]
    assert counted(backfill(database)) == (3, 2, 2, 0)
    assert facts(database) == FACTS
    after = talks(database)[0]
    assert after.plain == before.plain
    assert [each.path for each in after.handouts] == [each.path for each in before.handouts]
    assert (counted(backfill(database)), Length.calls) == ((3, 0, 0, 0), 1)


def test_files_that_were_analyzed_at_the_flush_are_left_out(database: Engine, depots: Depots) -> None:
    """With facts or without."""
    declare()
    add(database, Talk(id=1, recording=files.wav(2.5), handouts=[b"%PDF-1.4 broken", b"text"]))
    assert counted(backfill(database)) == (2, 0, 0, 0)


def test_an_analyzer_that_is_new_or_has_another_name_is_called_for_all(database: Engine, depots: Depots) -> None:
    """The facts of the others stay."""
    kind: Any = Talk.handouts.type
    kind._analyzers = (PdfPages(),)
    add(database, Talk(id=1, handouts=[of.packed_pdf(7), b"text"]))
    declare()
    assert counted(backfill(database)) == (1, 1, 1, 0)
    assert facts(database) == FACTS[1:]
    kind._analyzers = (PdfPages(), Length("Length 2"))
    assert (counted(backfill(database)), Length.calls) == ((1, 1, 1, 0), 2)
    assert facts(database) == FACTS[1:]


def test_a_file_that_cannot_be_analyzed_is_reported_and_read_once(database: Engine, depots: Depots) -> None:
    """The others of its row have their facts."""
    add(database, Talk(id=1, recording=files.wav(2.5)[:20], handouts=[b"%PDF-1.4 broken", b"text"]))
    declare()
    report = backfill(database)
    assert (counted(report), report.failed) == ((2, 2, 2, 0), [])
    talk = talks(database)[0]
    assert talk.recording is not None
    named = [(each.place, each.key, each.path) for each in report.unreadable]
    assert named == [
        ("facts_talk.recording", (1,), talk.recording.path),
        ("facts_talk.handouts", (1,), talk.handouts[0].path),
    ]
    assert facts(database) == [{}, {}, {"length": 4}]
    again = backfill(database)
    assert (counted(again), again.unreadable) == ((2, 0, 0, 0), [])


def test_a_file_that_is_gone_or_a_storage_that_fails_is_tried_once_in_each_run(
    database: Engine, depots: Depots
) -> None:
    """And fails no other."""
    add(database, *(Talk(id=number, handouts=[b"text", of.packed_pdf(7)]) for number in (1, 2, 3)))
    depots["default"].delete(talks(database)[1].handouts[1].file_id)
    declare()
    report = backfill(database)
    assert counted(report) == (3, 3, 3, 0)
    assert [(each.key, type(each.error)) for each in report.failed] == [((2,), StoredFileNotFound)]
    assert Length.calls == 3
    assert [each.get("pages") for each in facts(database)[1::2]] == [7, None, 7]
    again = backfill(database)
    assert (counted(again), len(again.failed), Length.calls) == ((3, 1, 0, 0), 1, 3)

    Length.error = OSError("the storage does not answer")
    add(database, Talk(id=4, handouts=[]))
    declare(analyzers=False)
    add(database, Talk(id=5, handouts=[b"text"]))
    declare()
    assert [each.key for each in backfill(database).failed] == [(2,), (5,)]
    Length.error = None
    assert [each.key for each in backfill(database).failed] == [(2,)]
    assert facts(database)[-1] == {"length": 4}


def test_an_interrupted_run_goes_on_where_it_was(database: Engine, depots: Depots) -> None:
    """What was written before stays."""
    add(database, *(Talk(id=number, handouts=[b"text"]) for number in range(1, 8)))
    declare()

    def stop(progress: Progress) -> None:
        if progress.done == 5:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("depot_lite.maintenance.run.reports._INTERVAL", 0)
        with pytest.raises(KeyboardInterrupt):
            backfill(database, columns=["facts_talk.handouts"], batch=2, progress=stop)
    assert facts(database).count({}) == 3
    assert backfill(database, limit=1).regenerated == 1
    assert backfill(database).regenerated == 2
    assert facts(database).count({}) == 0


def test_a_file_that_is_replaced_meanwhile_keeps_its_own_facts(database: Engine, depots: Depots) -> None:
    """The report counts its row."""
    add(database, Talk(id=1, handouts=[b"text"]), Talk(id=2, handouts=[b"other"]))
    declare()

    class Overtaken(Length):
        def facts_of(self, file: Candidate) -> Mapping[str, Any]:
            found = super().facts_of(file)
            if Length.calls == 1:
                add(database, Talk(id=3, handouts=[]))
                with Session(database) as session:
                    session.get_one(Talk, 1).handouts = [b"fifteen"]  # type: ignore[assignment]  # bytes are accepted too
                    session.delete(session.get_one(Talk, 2))
                    session.commit()
            return found

    kind: Any = Talk.handouts.type
    kind._analyzers = (Overtaken(),)
    assert counted(backfill(database, columns=["facts_talk.handouts"])) == (2, 2, 0, 2)
    assert facts(database) == [{"length": 7}]


def test_columns_without_analyzers_are_refused(database: Engine, depots: Depots) -> None:
    """The message names those that have some."""
    declare()
    with pytest.raises(ConfigurationError, match=r"'facts_talk\.plain' is not a column with analyzers of any model"):
        backfill(database, columns=["facts_talk.plain"])
    assert backfill(database, columns=["facts_talk.recording"], where="id < 0").rows == 0
