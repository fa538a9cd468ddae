"""Analyzers that run after the COMMIT: one job for each file finds its facts, and rows have those of their own file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from sqlalchemy import Engine, String
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite import DepotManager, UploadedFile, UploadedFileField, UploadedImage
from depot_lite.errors import ConfigurationError, ImageRefused, StoredFileNotFound
from depot_lite.fields.analyzers import Analyzer, AudioTags, Dimensions, Duration
from depot_lite.fields.lists import FileList
from depot_lite.fields.validators import Candidate
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import make_variants
from tests.conftest import empty
from tests.fields.images import picture
from tests.media import samples as of
from tests.support import files

on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class Watched(Analyzer):
    """The length, and a look at what happens while it is found."""

    run = "later"
    happens: ClassVar[Callable[[], object] | None] = None
    calls: ClassVar[int] = 0

    def facts_of(self, file: Candidate) -> Mapping[str, Any]:
        """Return the length of the file."""
        Watched.calls += 1
        happens, Watched.happens = Watched.happens, None
        if happens is not None:
            happens()
        with file.open() as opened:
            return {"length": len(opened.read())}


@contextmanager
def meanwhile(happens: Callable[[], object]) -> Iterator[None]:
    """Let something happen once, while facts are found and not yet entered in their row."""
    Watched.happens = staticmethod(happens)
    yield
    assert Watched.happens is None


class Base(DeclarativeBase):
    """Tables of this module."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


class Clip(Base):
    """Files whose facts are found at both times, some in a list, and an image that has later variants, too."""

    __tablename__ = "later_clip"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(analyzers=[Dimensions(), Duration(run="later"), AudioTags(run="later")])
    )
    more: Mapped[FileList[UploadedFile]] = mapped_column(UploadedFileField(analyzers=[Watched()], multiple=True))
    image: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(
            upload_type=UploadedImage,
            variants={"small": Thumbnail(8, 8), "large": Thumbnail(16, 16, make="later")},
            analyzers=[Watched()],
        )
    )


FILM = of.mp4(of.times(b"mvhd", 1000, 2500), of.track(), of.itunes({b"\xa9nam": b"Title"}))
NOW = {"width": 640, "height": 360}
FACTS = {**NOW, "duration": 2.5, "bitrate": round(len(FILM) * 8 / 2.5), "title": "Title"}


@pytest.fixture
def database(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[Engine]:
    """Empty tables."""
    Base.metadata.create_all(engine)
    Watched.calls = 0
    yield engine
    empty(engine, Base.metadata)


@pytest.fixture
def queue(depots: dict[str, FileStorage]) -> list[str]:
    """The tasks that the hook was given, as JSON."""
    tasks: list[str] = []
    DepotManager.set_process_later(lambda *job: tasks.append(json.dumps(job)))
    return tasks


def run(queue: list[str], engine: Engine) -> list[list[str]]:
    """Run all tasks, and return the names of the variants that each has made."""
    tasks, queue[:] = queue[:], []
    return [make_variants(engine, *json.loads(task)) for task in tasks]


def add(engine: Engine, **values: Any) -> None:
    with Session(engine) as session:
        session.add(Clip(id=1, **values))
        session.commit()


def clip(engine: Engine) -> Clip:
    with Session(engine, expire_on_commit=False) as session:
        return session.get_one(Clip, 1)


def facts(value: UploadedFile | None) -> dict[str, Any]:
    assert value is not None
    return dict(value.facts)


def check(engine: Engine, depots: dict[str, FileStorage]) -> None:
    """Check that the depots have the files that rows name, and no others."""
    with Session(engine) as session:
        held = [value for each in session.query(Clip) for value in (each.content, *each.more, each.image)]
    named = {path for value in held if value is not None for path in value.paths}
    assert named == {f"{name}/{file_id}" for name, depot in depots.items() for file_id in depot.list()}


def test_the_task_finds_the_facts_and_the_file_keeps_its_path(
    database: Engine, queue: list[str], depots: dict[str, FileStorage]
) -> None:
    """Those of the flush stay, files in a list have one task each, and a second run calls nothing."""
    add(database, content=FILM, more=[b"one", b"three"])
    before = clip(database)
    assert (facts(before.content), [facts(each) for each in before.more]) == (NOW, [{}, {}])
    assert sorted(json.loads(task)[2] for task in queue) == ["content", "more", "more"]
    tasks = queue[:]
    assert run(queue, database) == [[], [], []]
    after = clip(database)
    assert (facts(after.content), [facts(each) for each in after.more]) == (FACTS, [{"length": 3}, {"length": 5}])
    assert [each.path for each in after.more] == [each.path for each in before.more]
    queue[:] = tasks
    run(queue, database)
    assert Watched.calls == 2
    assert clip(database).more == after.more
    check(database, depots)


def test_one_job_makes_variants_and_facts(database: Engine, queue: list[str], depots: dict[str, FileStorage]) -> None:
    """In one UPDATE."""
    add(database, image=picture())
    assert len(queue) == 1
    assert run(queue, database) == [["large"]]
    image = clip(database).image
    assert image is not None
    assert (sorted(image["variants"]), facts(image)) == (["large", "small"], {"length": image.size})
    check(database, depots)


def test_without_a_hook_they_are_found_before_commit_returns(database: Engine, depots: dict[str, FileStorage]) -> None:
    """After the COMMIT: another transaction sees the row before."""
    seen = []
    with meanwhile(lambda: seen.append([facts(each) for each in clip(database).more])):
        add(database, content=FILM, more=[b"one"])
    assert seen == [[{}]]
    assert (facts(clip(database).content), facts(clip(database).more[0])) == (FACTS, {"length": 3})


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_of_a_file_that_goes_meanwhile_nothing_is_written(
    database: Engine, queue: list[str], depots: dict[str, FileStorage], change: str
) -> None:
    """The row has the facts of its own file, found by the task of that."""
    add(database, more=[b"one"], image=picture())

    def goes() -> None:
        with Session(database) as session:
            found = session.get_one(Clip, 1)
            if change == "deleted":
                session.delete(found)
            else:
                found.more = [b"fifteen"]  # type: ignore[assignment]  # bytes are accepted too
                found.image = UploadedImage(picture(20, 12))
            session.commit()

    with meanwhile(goes):
        assert run(queue, database)[:2] == [[], []]
    check(database, depots)
    if change == "replaced":
        assert run(queue, database) == [[], ["large"]]
        found = clip(database)
        assert found.image is not None
        assert (facts(found.more[0]), facts(found.image)) == ({"length": 7}, {"length": found.image.size})
    check(database, depots)


def test_all_else_that_changes_meanwhile_stays(
    database: Engine, queue: list[str], depots: dict[str, FileStorage]
) -> None:
    """The order of a list, and metadata; and of two tasks at once, both find the same."""
    add(database, more=[b"one", b"three"])
    first = queue[0]

    def changes() -> None:
        with Session(database) as session:
            found = session.get_one(Clip, 1)
            found.more[0] = found.more[0].with_(meta={"alt": "first"})
            found.more.reverse()
            session.commit()
        make_variants(database, *json.loads(first))

    with meanwhile(changes):
        run(queue, database)
    assert [(facts(each), dict(each.meta)) for each in clip(database).more] == [
        ({"length": 5}, {}),
        ({"length": 3}, {"alt": "first"}),
    ]
    check(database, depots)


def test_a_session_that_has_loaded_the_row_before_keeps_the_facts(
    database: Engine, queue: list[str], depots: dict[str, FileStorage]
) -> None:
    """It edits a file and a list that it remembers without them."""
    with Session(database, expire_on_commit=False) as session:
        found = Clip(id=1, content=FILM, more=[b"one", b"three"])
        session.add(found)
        session.commit()
        run(queue, database)
        assert found.content is not None
        found.content = found.content.with_(meta={"alt": "A film"})
        found.more.reverse()
        session.commit()
    after = clip(database)
    assert after.content is not None
    assert (facts(after.content), after.content.meta) == (FACTS, {"alt": "A film"})
    assert [facts(each) for each in after.more] == [{"length": 5}, {"length": 3}]


def test_facts_are_entered_also_if_variants_cannot_be_made(
    database: Engine, queue: list[str], depots: dict[str, FileStorage]
) -> None:
    """The task fails for the variants."""
    add(database, image=picture())
    image = clip(database).image
    assert image is not None
    depots["default"].replace(image.file_id, b"no image")
    with pytest.raises(ImageRefused):
        run(queue, database)
    after = clip(database).image
    assert after is not None
    assert (facts(after), after["variants"]) == ({"length": 8}, image["variants"])
    check(database, depots)


@on_sqlite
def test_a_copy_has_the_facts_of_its_original_or_waits_for_its_own(database: Engine, queue: list[str]) -> None:
    """A later analyzer is called once for a file and its copies."""
    add(database, more=[b"one"])
    run(queue, database)
    with Session(database) as session:
        session.add(Clip(id=2, more=session.get_one(Clip, 1).more))
        session.commit()
        assert facts(session.get_one(Clip, 2).more[0]) == {"length": 3}
    assert (queue, Watched.calls) == ([], 1)


@on_sqlite
def test_a_broken_file_fails_nothing_and_is_read_once(
    database: Engine, queue: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Its row remembers that it has no facts."""
    add(database, content=FILM[:30])
    tasks = queue[:]
    assert run(queue, database) == [[]]
    content = clip(database).content
    assert content is not None
    assert content["analyzed"] == ["Dimensions", "Duration", "AudioTags"]
    assert (facts(content), [each for each in caplog.records if each.levelname != "DEBUG"]) == ({}, [])
    queue[:] = tasks
    assert run(queue, database) == [[]]
    assert clip(database).content == content


@on_sqlite
def test_a_file_that_is_gone_fails_the_task_and_never_the_commit(
    database: Engine, queue: list[str], depots: dict[str, FileStorage], caplog: pytest.LogCaptureFixture
) -> None:
    """So that its queue tries again."""
    add(database, more=[b"one"])
    depots["default"].delete(clip(database).more[0].file_id)
    with pytest.raises(StoredFileNotFound):
        run(queue, database)
    assert "analyzed" not in clip(database).more[0]

    class Lost(Watched):
        def facts_of(self, file: Candidate) -> Mapping[str, Any]:
            raise OSError("the storage does not answer")

    kind: Any = Clip.more.type
    DepotManager.set_process_later(None)
    with pytest.MonkeyPatch.context() as patch, Session(database) as session:
        patch.setattr(kind, "_analyzers", (Lost(),))
        session.add(Clip(id=2, more=[b"three"]))
        session.commit()
        assert facts(session.get_one(Clip, 2).more[0]) == {}
    assert "are left to make_missing_variants and add_missing_facts" in caplog.text


# --- options ----------------------------------------------------------------------------------------------------------


def test_it_runs_now_unless_told_otherwise() -> None:
    given: list[Analyzer] = [Duration(), Duration(run="later"), Watched(), Watched(run="now")]
    assert [each.run for each in given] == ["now", "later", "later", "now"]
    assert [repr(each) for each in given[:2]] == ["Duration()", "Duration(run='later')"]


def test_it_runs_at_a_time_that_is_known() -> None:
    with pytest.raises(ConfigurationError, match="Duration: run='on_demand': expected 'now' or 'later'"):
        Duration(run="on_demand")  # type: ignore[arg-type]  # that is the mistake

    class Own(Analyzer):
        run = "soon"  # type: ignore[assignment]  # another one

        def __init__(self) -> None:
            """Have no option."""

        def facts_of(self, file: Candidate) -> Mapping[str, Any]:
            return {}

    with pytest.raises(ConfigurationError, match="Own: run='soon'"):
        UploadedFileField(analyzers=[Own()])


def test_a_wave_that_is_cut_off_has_the_facts_of_its_header() -> None:
    """Only a file without any fact is unreadable."""
    found = Duration().facts_of(Candidate.of(files.wav(2.5)[:100], "sound.wav"))
    assert "duration" in found
