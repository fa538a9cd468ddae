"""Facts: found at the flush, kept with the file, and never a reason to refuse it."""

from __future__ import annotations

import copy
import io
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import Engine, create_engine, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from depot_lite import DepotManager, FileEdit, FileIntent, UploadedFile, UploadedFileField, UploadedImage, upload_ticket
from depot_lite.errors import ConfigurationError, SizeRefused
from depot_lite.fields.analyzers import Analyzer, AudioTags, Dimensions, Duration, PdfPages, shown_facts
from depot_lite.fields.validators import Candidate, Size
from depot_lite.images.recipes import Crop
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import find_missing, migrate
from depot_lite.uploads import adoptable
from tests.media import samples as of
from tests.support import files
from tests.support.streams import PieceStream


class Head(Analyzer):
    """The first letter; in upper case of text alone."""

    content_types = ("text/*",)

    def facts_of(self, file: Candidate) -> Mapping[str, Any]:
        return {"first": file.head()[:1].decode().upper()}


class Heads(Analyzer):
    """What a test asks for, for files of every type."""

    answer: ClassVar[Any] = {}

    def facts_of(self, file: Candidate) -> Mapping[str, Any]:
        return self.answer() if callable(self.answer) else self.answer  # type: ignore[no-any-return]  # whatever it is


class Media(UploadedFile):
    """A class of values with analyzers of its own."""

    __slots__ = ()

    analyzers = (Dimensions(), Duration(), AudioTags(), PdfPages())


class Base(DeclarativeBase):
    """The parent of the models of this module."""


class Clip(Base):
    """A file of each kind of column."""

    __tablename__ = "analyzed_clip"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[Media | None] = mapped_column(UploadedFileField(upload_type=Media, analyzers=[Head()]))
    more: Mapped[list[Media]] = mapped_column(UploadedFileField(upload_type=Media, multiple=True))
    small: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[Size(max=100_000)], analyzers=[Duration()])
    )
    own: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(analyzers=[Heads(), Head()]))
    image: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"small": Crop(2, 2)}, analyzers=[Dimensions()])
    )
    plain: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


FILM = of.mp4(of.times(b"mvhd", 1000, 2500), of.track(), of.itunes({b"\xa9nam": b"Title"}))
FACTS = {"width": 640, "height": 360, "duration": 2.5, "bitrate": round(len(FILM) * 8 / 2.5), "title": "Title"}


@pytest.fixture
def engine(depots: dict[str, FileStorage]) -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def stored(session: Session, **values: Any) -> Clip:
    clip = Clip(**values)
    session.add(clip)
    session.commit()
    return clip


def facts(value: UploadedFile | None) -> dict[str, Any]:
    assert value is not None
    assert not value.pending
    return dict(value.facts)


# --- found ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("film.mp4", FILM, FACTS),
        ("sound.wav", files.wav(2.5), {"duration": 2.5, "bitrate": 128_000}),
        ("picture.png", files.png(6, 4), {"width": 6, "height": 4}),
        ("document.pdf", of.packed_pdf(7), {"pages": 7}),
        ("letter.txt", b"dear", {"first": "D"}),
        ("archive.bin", bytes(range(256)), {}),
        ("empty", b"", {}),
    ],
)
@pytest.mark.parametrize("kind", ["bytes", "path", "stream", "file", "stored file"])
def test_facts_are_found_at_the_flush(
    session: Session, tmp_path: Path, name: str, content: bytes, expected: dict[str, Any], kind: str
) -> None:
    (tmp_path / name).write_bytes(content)
    given: Any = content
    if kind == "path":
        given = tmp_path / name
    elif kind == "stream":
        given = PieceStream(content, 70_000)
    elif kind == "file":
        given = io.BytesIO(content)
        given.seek(3)
    elif kind == "stored file":
        given = DepotManager.get_file(f"default/{DepotManager.get().create(content, name)}")
    clip = stored(session, content=FileIntent(given, name))
    assert facts(clip.content) == expected
    assert clip.content is not None
    assert clip.content.file.read() == content
    if kind == "file":
        assert given.tell() == 3


def test_facts_are_a_key_of_the_row_that_nobody_changes(session: Session) -> None:
    clip = stored(session, content=FILM)
    assert clip.content is not None
    row = session.scalar(text("SELECT content FROM analyzed_clip"))
    assert json.loads(row)["facts"] == FACTS
    with pytest.raises(TypeError, match="cannot be changed"):
        clip.content.facts["duration"] = 3  # type: ignore[index]
    copied = copy.deepcopy(clip.content["facts"])
    copied["duration"] = 3
    assert clip.content.as_dict()["facts"] == FACTS


def test_a_file_without_facts_has_no_key(session: Session) -> None:
    clip = stored(session, content=b"\0", plain=FILM)
    assert clip.content is not None
    assert clip.plain is not None
    assert "facts" not in clip.content.keys() | clip.plain.keys()
    assert clip.plain.facts == clip.content.as_dict()["facts"] == {}


def test_queries_can_use_them(session: Session) -> None:
    stored(session, content=FILM)
    stored(session, content=files.wav(1))
    long = Clip.content["facts"]["duration"].as_float() > 2
    assert len(session.scalars(select(Clip).where(long)).all()) == 1


def test_lists_statements_and_direct_uploads_have_them(session: Session) -> None:
    clip = stored(session, more=[FILM, b"text"])
    assert [facts(each) for each in clip.more] == [FACTS, {}]
    session.execute(insert(Clip).values(content=FILM, more=[]))
    DepotManager.configure_signing("a key of at least thirty-two bytes")
    DepotManager.make_middleware(lambda environ, start_response: [])
    token = upload_ticket(max_size=1_000_000).token
    upload = adoptable(token)
    assert upload is not None
    DepotManager.get().create(FILM, "film.mp4", file_id=upload.file_id)
    session.add(Clip(content=token))
    session.commit()
    assert [facts(each) for each in session.scalars(select(Clip.content)) if each is not None] == [FACTS, FACTS]


@pytest.mark.anyio
async def test_they_are_found_beside_the_event_loop(depots: dict[str, FileStorage]) -> None:
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        clip = Clip(content=FILM)
        session.add(clip)
        await session.commit()
    await engine.dispose()
    assert facts(clip.content) == FACTS


# --- kept -------------------------------------------------------------------------------------------------------------


def test_they_stay_with_the_file(session: Session, engine: Engine) -> None:
    clip = stored(session, content=FILM, more=[FILM, b"text"])
    assert clip.content is not None
    clip.content = clip.content.with_(filename="other.mp4", meta={"alt": "A cat"})
    clip.more = FileEdit.of_held(clip.more)  # type: ignore[assignment]  # an edit is accepted too
    session.commit()
    assert (facts(clip.content), clip.content.meta) == (FACTS, {"alt": "A cat"})
    assert [facts(each) for each in clip.more] == [FACTS, {}]
    migrate(engine, "default", "archive", models=[Base])
    session.expire_all()
    assert clip.content.depot_name == "archive"
    assert facts(clip.content) == FACTS


def test_copies_have_them(session: Session) -> None:
    clip = stored(session, content=FILM)
    for each in (Clip(content=clip.content), Clip(plain=clip.content), Clip(more=[clip.content])):
        session.add(each)
        session.commit()
        held = each.content or each.plain or each.more[0]
        assert facts(held) == FACTS


def test_a_copy_of_a_file_without_facts_gets_them(session: Session) -> None:
    old = stored(session, plain=FILM)
    assert facts(stored(session, content=old.plain).content) == FACTS
    old.content = old.plain  # type: ignore[assignment]  # the column makes a value of its class of it
    old.small = old.plain
    session.commit()
    assert facts(old.small) == {name: FACTS[name] for name in ("duration", "bitrate")}


def test_a_new_file_has_facts_of_its_own(session: Session) -> None:
    clip = stored(session, content=FILM)
    clip.content = files.wav(1)  # type: ignore[assignment]  # bytes are accepted too
    session.flush()
    assert facts(clip.content) == {"duration": 1.0, "bitrate": 128_000}
    session.rollback()
    assert facts(clip.content) == FACTS


def test_after_a_rollback_a_file_is_analyzed_again(session: Session) -> None:
    clip = Clip(content=FILM)
    session.add(clip)
    session.flush()
    session.rollback()
    assert clip.content is not None
    assert (clip.content.pending, "facts" in clip.content) == (True, False)
    assert facts(stored(session, content=clip.content).content) == FACTS


def test_images_have_them_beside_their_variants(session: Session) -> None:
    clip = stored(session, image=files.png(6, 4))
    other = stored(session, image=clip.image)
    assert other.image is not None
    assert (facts(other.image), list(other.image.variants)) == ({"width": 6, "height": 4}, ["small"])


# --- never a reason to refuse -----------------------------------------------------------------------------------------


def _fail(error: BaseException) -> Any:
    def fail() -> None:
        raise error

    return staticmethod(fail)


@pytest.mark.parametrize(
    "answer",
    [
        *(_fail(each) for each in (ValueError("no"), OSError("disk"), MemoryError(), RecursionError(), KeyError("x"))),
        None,
        ["list"],
        {1: "a"},
        {"a": float("nan")},
        {"a": b"bytes"},
        {"a": "\0"},
        {"a": "\ud800"},
        {"a": {"b": f"default/{new_file_id()}"}},
    ],
)
def test_an_analyzer_that_fails_gives_no_facts(
    session: Session, answer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Heads, "answer", answer)
    with caplog.at_level(logging.DEBUG, "depot_lite"):
        clip = stored(session, own=FileIntent(b"text", "name.txt"))
    assert facts(clip.own) == {"first": "T"}
    (line,) = [each.getMessage() for each in caplog.records if "Heads" in each.getMessage()]
    assert "'name.txt'" in line


def test_a_broken_file_is_stored_without_facts(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    broken = {"film.mp4": FILM[:30], "page.pdf": files.pdf()[:-20], "picture.png": files.png()[:20]}
    with caplog.at_level(logging.INFO, "depot_lite"):
        clip = stored(session, more=[FileIntent(content, name) for name, content in broken.items()])
    assert [facts(each) for each in clip.more] == [{}, {}, {}]
    assert not [each for each in caplog.records if each.levelno > logging.INFO]


def test_a_tag_names_no_file_of_others(session: Session, engine: Engine) -> None:
    """Maintenance takes everything in a row that looks like a path for one."""
    other = f"default/{new_file_id()}"
    clip = stored(session, content=of.flac(tags={"title": other, "album": "Album"}))
    assert facts(clip.content) == {"duration": 2.5}
    assert find_missing(engine, "default", models=[Base]).named == 1


def test_a_stream_is_refused_by_its_size_as_ever(session: Session) -> None:
    session.add(Clip(small=FileIntent(PieceStream(files.wav(20), 5000), "sound.wav")))
    with pytest.raises(SizeRefused):
        session.commit()
    session.rollback()
    assert not list(DepotManager.get().list())


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [[Duration], ["duration"], [lambda file: {}], 5])
def test_an_analyzer_is_an_instance(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="analyzers="):
        UploadedFileField(analyzers=given)


def test_those_of_the_class_come_first() -> None:
    head = Head()
    assert UploadedFileField(upload_type=Media, analyzers=[head]).analyzers == (*Media.analyzers, head)


def test_they_change_neither_the_cache_key_nor_migrations() -> None:
    kind = UploadedFileField(analyzers=[Duration()])
    assert kind._static_cache_key == UploadedFileField()._static_cache_key
    assert repr(kind) == "UploadedFileField()"
    assert kind.copy().analyzers == kind.analyzers


# --- rows and people --------------------------------------------------------------------------------------------------


def test_facts_are_shown_whatever_they_are() -> None:
    assert shown_facts({"duration": 59.6, "pages": 2, "bitrate": 1.5e6}) == {
        "duration": "1:00",
        "pages": "2 pages",
        "bitrate": "1500 kbit/s",
    }
    odd = {"duration": "long", "pages": -1, "width": 5, "a": "x" * 999, "b\ud800": [1], "bitrate": float("nan")}
    assert shown_facts(odd) == {
        "duration": "long",
        "pages": "-1",
        "width": "5",
        "a": "x" * 200,
        "b\ufffd": "[1]",
        "bitrate": "nan",
    }
    assert len(shown_facts({str(each): each for each in range(1000)})) == 20
