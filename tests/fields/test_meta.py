"""Metadata that people give to files, and new names for stored files: the row changes and no byte moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from sqlalchemy import Engine, create_engine, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from depot_lite import DepotManager, FileIntent, UploadedFile, UploadedFileField
from depot_lite.errors import ConfigurationError, MetaRefused, NameRefused
from depot_lite.fields.validators import Extensions
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.testing import temporary_depots
from depot_lite.uploads import Ticket, adoptable, upload_ticket


class Base(DeclarativeBase):
    """The parent of the models of this module."""


class Poster(Base):
    """One file with declared metadata, and a list whose files may have any."""

    __tablename__ = "meta_poster"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(meta={"alt": str, "focus": tuple[float, float]}, validators=[Extensions("txt")])
    )
    shots: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))


class Other(UploadedFile):
    """Another class of values."""

    __slots__ = ()


class Scan(Base):
    """A file of another class."""

    __tablename__ = "meta_scan"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[Other | None] = mapped_column(UploadedFileField(upload_type=Other))
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True, meta={"alt": str}))


class Counted(Base):
    """A list whose row counts its versions."""

    __tablename__ = "meta_counted"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    shots: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # as SQLAlchemy declares it


@pytest.fixture
def depot() -> Iterator[FileStorage]:
    with temporary_depots():
        yield DepotManager.configure("default", MemoryFileStorage())


@pytest.fixture
def engine(depot: FileStorage, tmp_path: Any) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'meta.db'}")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def poster(engine: Engine) -> Iterator[tuple[Session, Poster]]:
    with Session(engine) as session:
        made = Poster(id=1)
        made.image = FileIntent(b"x", "a.txt", meta={"alt": "A cat", "focus": (0.5, 0.25)})  # type: ignore[assignment]  # a FileIntent is accepted too
        made.shots = [UploadedFile(b"1", filename="1.txt"), UploadedFile(b"2", filename="2.txt", meta={"n": 2})]
        session.add(made)
        session.commit()
        yield session, made


def image_of(poster: Poster | Scan) -> UploadedFile:
    assert poster.image is not None
    return poster.image


def test_metadata_comes_with_the_file(poster: tuple[Session, Poster]) -> None:
    session, made = poster
    assert (image_of(made).meta, image_of(made).as_dict()["meta"]) == ({"alt": "A cat", "focus": [0.5, 0.25]},) * 2
    assert [each.meta for each in made.shots] == [{}, {"n": 2}]
    with pytest.raises(TypeError, match="cannot be changed"):
        image_of(made).meta["alt"] = "A dog"  # type: ignore[index]
    session.expire_all()
    image_of(made).as_dict()["meta"]["alt"] = "A dog"
    assert image_of(made).meta["alt"] == "A cat"


def test_a_new_name_and_new_metadata_move_no_byte(poster: tuple[Session, Poster], depot: FileStorage) -> None:
    session, made = poster
    before, paths = sorted(depot.list()), [image_of(made).path, *(each.path for each in made.shots)]
    made.image = image_of(made).with_(filename="in a folder/b.txt", meta={"alt": "B"})
    made.shots[1] = made.shots[1].with_(filename="two.txt")
    session.commit()
    session.expunge_all()
    made = session.get_one(Poster, 1)
    assert (image_of(made).filename, image_of(made).meta) == ("b.txt", {"alt": "B"})
    assert [(each.filename, each.meta) for each in made.shots] == [("1.txt", {}), ("two.txt", {"n": 2})]
    assert [image_of(made).path, *(each.path for each in made.shots)] == paths
    assert sorted(depot.list()) == before
    assert image_of(made).file.read() == b"x"


def test_a_statement_and_a_merge_can_rename(poster: tuple[Session, Poster], engine: Engine) -> None:
    session, made = poster
    renamed = image_of(made).with_(filename="by statement.txt")
    session.execute(update(Poster).where(Poster.id == 1).values(image=renamed))
    session.commit()
    detached = Poster(id=1, image=image_of(made).with_(meta={"alt": "merged"}), shots=made.shots)
    session.rollback()
    with Session(engine) as other:
        other.merge(detached)
        other.commit()
        found = image_of(other.get_one(Poster, 1))
        assert (found.filename, found.meta, found.file.read()) == ("by statement.txt", {"alt": "merged"}, b"x")


def test_a_rollback_takes_the_new_name_back(poster: tuple[Session, Poster]) -> None:
    session, made = poster
    made.image = image_of(made).with_(filename="b.txt")
    session.flush()
    session.rollback()
    assert (image_of(made).filename, image_of(made).file.read()) == ("a.txt", b"x")


def _any(value: Any) -> Any:
    return value


REFUSED: dict[str, tuple[Callable[[UploadedFile], Any], type[Exception], str]] = {
    "extension": (lambda value: value.with_(filename="b.exe"), NameRefused, "Poster.image, 'b.exe': has the extension"),
    "no name": (lambda value: value.with_(filename=".."), NameRefused, "expected a file name, got '..'"),
    "undeclared": (
        lambda value: value.with_(meta={"at": "B"}),
        MetaRefused,
        "no metadata 'at', allowed: 'alt', 'focus'",
    ),
    "type": (lambda value: value.with_(meta={"alt": 5}), MetaRefused, "'alt': expected str, got 5"),
    "length": (
        lambda value: value.with_(meta={"focus": [1]}),
        MetaRefused,
        r"expected tuple\[float, float\], got \[1\]",
    ),
    "not JSON": (lambda value: value.with_(meta={"alt": {1}}), MetaRefused, "expected values that JSON can keep"),
    "not a number": (lambda value: value.with_(meta={"alt": float("nan")}), MetaRefused, "that JSON can keep"),
    "keys": (lambda value: value.with_(meta=_any({1: "B"})), MetaRefused, "expected a dictionary whose keys are text"),
    "a list": (lambda value: value.with_(meta=_any(["alt"])), MetaRefused, "expected a dictionary whose keys are text"),
    "pending": (lambda _: FileIntent(b"y", "y.txt", meta={"alt": True}), MetaRefused, "expected str, got True"),
}


@pytest.mark.parametrize(("change", "error", "message"), REFUSED.values(), ids=list(REFUSED))
def test_metadata_and_names_are_checked_when_they_are_assigned(
    poster: tuple[Session, Poster],
    change: Callable[[UploadedFile], Any],
    error: type[Exception],
    message: str,
) -> None:
    session, made = poster
    with pytest.raises(error, match=message):
        made.image = change(image_of(made))
    session.commit()
    assert image_of(made).filename == "a.txt"


FITTING: list[tuple[Any, Any, bool]] = [
    (str, "a", True),
    (int, 5, True),
    (int, True, False),
    (float, 5, True),
    (float, True, False),
    (bool, True, True),
    (str | None, None, True),
    (str | None, 5, False),
    (list[int], [1, 2], True),
    (list[int], [1, "2"], False),
    (tuple[int, ...], [1, 2, 3], True),
    (tuple[int, ...], 5, False),
    (dict[str, int], {"a": 1}, True),
    (dict[str, int], {"a": "b"}, False),
    (Literal["left", "right"], "left", True),
    (Literal["left", "right"], "middle", False),
    (list, [1], True),
    (dict, [1], False),
]


@pytest.mark.parametrize(("kind", "value", "fits"), FITTING)
def test_declared_types(depot: FileStorage, kind: Any, value: Any, fits: bool) -> None:
    class Local(DeclarativeBase):
        pass

    class Row(Local):
        __tablename__ = "row"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(meta={"given": kind}))

    def assign() -> Row:
        return Row(file=UploadedFile(b"x", meta={"given": value}))

    if fits:
        assert image_of_row(assign()).meta == {"given": value}
    else:
        with pytest.raises(MetaRefused, match=r"Row\.file, 'unnamed': has the metadata 'given': expected"):
            assign()


def image_of_row(row: Any) -> UploadedFile:
    value: UploadedFile = row.file
    return value


@pytest.mark.parametrize("kind", [set, bytes, list[bytes], dict[int, str], "str", Literal[b"a"]])
def test_a_type_that_json_cannot_keep_is_not_declared(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected a name, and str, int, float"):
        UploadedFileField(meta={"given": kind})


def test_a_pending_value_takes_names_and_metadata_itself(depot: FileStorage) -> None:
    value = UploadedFile(b"x", filename="a.txt")
    assert value.with_(filename="b.txt", meta={"n": 1}) is value
    value.store()
    assert (value.filename, value.meta, value.file.filename, "renamed" in value) == ("b.txt", {"n": 1}, "b.txt", False)


def test_a_copy_keeps_metadata_and_takes_a_new_name(poster: tuple[Session, Poster]) -> None:
    session, made = poster
    copied = Poster(id=2, image=image_of(made), shots=made.shots)
    image_of(copied).filename = "Copy of a.txt"  # type: ignore[misc]
    copied.shots[0].content_type = "text/csv"  # type: ignore[misc]
    session.add(copied)
    session.commit()
    image, shot = image_of(copied), copied.shots[0]
    assert (image.filename, image.file.filename, image.meta["alt"]) == ("Copy of a.txt", "Copy of a.txt", "A cat")
    assert (shot.content_type, shot.file.content_type, shot.file.read()) == ("text/csv", "text/csv", b"1")
    assert copied.shots[1].meta == {"n": 2}
    assert image.path != image_of(made).path


@pytest.mark.parametrize("meta", [{"at": "B"}, {"alt": 5}, {"focus": [1]}, {"alt": {1}}, 5])
def test_metadata_of_a_pending_value_is_checked_at_the_flush_too(engine: Engine, depot: FileStorage, meta: Any) -> None:
    """With other rules and without them, and nothing of the file is stored."""
    with Session(engine) as session:
        scan = Scan(id=6, pages=[UploadedFile(b"page")])
        scan.pages[0]["meta"] = meta
        session.add(scan)
        with pytest.raises(MetaRefused, match=r"^Scan\.pages"):
            session.commit()
        session.rollback()
        made = Poster(id=6, image=UploadedFile(b"x", filename="a.txt"))
        image_of(made)["meta"] = meta
        session.add(made)
        with pytest.raises(MetaRefused):
            session.commit()
        session.rollback()
        assert list(depot.list()) == []
        image_of(made).with_(meta={"alt": "A cat"})
        session.add(made)
        session.commit()
        assert image_of(made).meta == {"alt": "A cat"}


@pytest.mark.parametrize("kind", ["content", "column"])
def test_a_copy_of_another_class_or_name_keeps_metadata(poster: tuple[Session, Poster], kind: str) -> None:
    session, made = poster
    made.image = image_of(made).with_(filename="renamed.txt", meta={"alt": "A cat"})
    session.commit()
    given: Any = FileIntent(made.image, "renamed.txt") if kind == "content" else made.image
    copied = Scan(id=1, image=given)
    session.add(copied)
    session.commit()
    assert copied.image is not None
    assert (type(copied.image), copied.image.filename, copied.image.meta) == (Other, "renamed.txt", {"alt": "A cat"})
    assert copied.image.file.filename == "renamed.txt"
    copied.image = FileIntent(made.image, meta={})  # type: ignore[assignment]  # a FileIntent is accepted too
    session.commit()
    assert image_of(copied).meta == {}


def test_metadata_comes_with_the_token_of_a_direct_upload(engine: Engine, depot: FileStorage) -> None:
    DepotManager.configure_signing("k" * 32)
    DepotManager.make_middleware(lambda environ, start: [])
    ticket = upload_ticket("default", filename="a.txt", max_size=10)
    depot.create(b"x", file_id=_id_of(ticket))
    with Session(engine) as session:
        made = Poster(id=5)
        made.image = FileIntent(ticket.token, meta={"alt": "direct"})  # type: ignore[assignment]  # a FileIntent is accepted too
        session.add(made)
        session.commit()
        assert (image_of(made).meta, image_of(made).file.read()) == ({"alt": "direct"}, b"x")


def _id_of(ticket: Ticket) -> str:
    upload = adoptable(ticket.token)
    assert upload is not None
    return upload.file_id


# --- two sessions -----------------------------------------------------------------------------------------------------


def _rename(made: Poster) -> None:
    made.image = image_of(made).with_(filename="renamed.txt")


def _replace(made: Poster) -> None:
    made.image = UploadedFile(b"new", filename="new.txt")


def _clear(made: Poster) -> None:
    made.image = None


def _rename_first(made: Poster) -> None:
    made.shots[0] = made.shots[0].with_(filename="first.txt")


def _describe_first(made: Poster) -> None:
    made.shots[0] = made.shots[0].with_(meta={"first": True})


def _describe_second(made: Poster) -> None:
    made.shots[1] = made.shots[1].with_(meta={"second": True})


def _append(made: Poster) -> None:
    made.shots.append(UploadedFile(b"3", filename="3.txt"))


def _remove_first(made: Poster) -> None:
    del made.shots[0]


TWO: list[tuple[Callable[[Poster], None], Callable[[Poster], None], Any]] = [
    (_rename, _replace, "new.txt"),
    (_rename, _clear, None),
    (_replace, _rename, "new.txt"),
    (_append, _describe_first, [("1.txt", {"first": True}), ("2.txt", {"n": 2}), ("3.txt", {})]),
    (_rename_first, _describe_second, [("first.txt", {}), ("2.txt", {"second": True})]),
    (_rename_first, _remove_first, [("2.txt", {"n": 2})]),
    (_remove_first, _describe_first, [("2.txt", {"n": 2})]),
    (_remove_first, _describe_second, [("2.txt", {"second": True})]),
    (_rename_first, _describe_first, [("first.txt", {}), ("2.txt", {"n": 2})]),
]


@pytest.mark.parametrize(("mine", "theirs", "expected"), TWO)
def test_two_sessions_that_name_and_replace_lose_no_file(
    engine: Engine,
    depot: FileStorage,
    poster: tuple[Session, Poster],
    mine: Callable[[Poster], None],
    theirs: Callable[[Poster], None],
    expected: Any,
) -> None:
    session, made = poster
    session.expire_on_commit = False
    session.refresh(made)
    session.commit()
    with Session(engine) as other:
        theirs(other.get_one(Poster, 1))
        other.commit()
    mine(made)
    session.commit()
    session.expire_all()
    found: Any = made.image and made.image.filename
    if isinstance(expected, list):
        found = [(each.filename, dict(each.meta)) for each in made.shots]
    assert found == expected
    values = [each for each in (made.image, *made.shots) if each is not None]
    assert all(each.file.read() for each in values)
    assert len(list(depot.list())) == len(values)


def test_a_version_counter_refuses_the_second(engine: Engine, depot: FileStorage) -> None:
    with Session(engine, expire_on_commit=False) as session:
        made = Counted(id=1, shots=[UploadedFile(b"1", filename="1.txt")])
        session.add(made)
        session.commit()
        with Session(engine) as other:
            theirs = other.scalars(select(Counted)).one()
            theirs.shots[0] = theirs.shots[0].with_(meta={"n": 1})
            other.commit()
        made.shots[0] = made.shots[0].with_(filename="mine.txt")
        with pytest.raises(StaleDataError):
            session.commit()
        session.rollback()
        session.refresh(made)
        assert (made.shots[0].filename, made.shots[0].meta, made.shots[0].file.read()) == ("1.txt", {"n": 1}, b"1")
