"""Validators of columns: driven directly, and by sessions."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import Engine, String
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, configure_mappers, mapped_column

from depot_lite.errors import (
    ConfigurationError,
    CountRefused,
    InvalidContent,
    NameRefused,
    SeveralRefused,
    SizeRefused,
    StoredFileNotFound,
    TypeRefused,
    UnknownDepot,
    ValidationError,
)
from depot_lite.fields.columns import FileColumn, columns_of_class
from depot_lite.fields.lists import FileList
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.tracking.checks import check
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import (
    Candidate,
    ContentTypes,
    Extensions,
    Image,
    MatchingType,
    MaxCount,
    Size,
    Validator,
)
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from tests.conftest import sqlite_engine
from tests.fields.contents import JPEG, PNG, Endless
from tests.support.models import Document

LOOKED_AT: list[str] = []


def remember(file: Candidate) -> None:
    """Note that a file was looked at, and refuse an evil one."""
    LOOKED_AT.append(file.filename)
    if b"evil" in file.head():
        raise ValueError("is evil")


class Base(DeclarativeBase):
    """Models of these tests only, so that others need not know their tables."""


class Person(Base):
    """A file column of every kind."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(100))
    photo: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[Size("1 KiB"), ContentTypes("image/*"), MatchingType("correct")])
    )
    letter: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[Size(20_000), Extensions("txt", "md"), remember])
    )
    anything: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    pages: Mapped[list[UploadedFile]] = mapped_column(
        UploadedFileField(multiple=True, validators=[MaxCount(2), Size(10)])
    )


configure_mappers()
COLUMNS = columns_of_class(Person)


@pytest.fixture(autouse=True)
def _fresh(depots: dict[str, FileStorage]) -> None:
    LOOKED_AT.clear()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = sqlite_engine(tmp_path / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def column(*validators: Any, multiple: bool = False) -> FileColumn:
    """Return a column with these validators, of which no mapper knows."""
    type_ = UploadedFileField(validators=validators, multiple=multiple)
    return FileColumn("Person", "file", COLUMNS["photo"].column, type_)


def stored(depots: dict[str, FileStorage]) -> int:
    return sum(len(list(depot.list())) for depot in depots.values())


def refused(*waiting: tuple[FileColumn, Any]) -> list[str]:
    """Return what `check` says, an empty list if it has nothing to say."""
    try:
        check(waiting)
    except ValidationError as error:
        return [str(each) for each in error.errors]
    return []


# --- one call ---------------------------------------------------------------------------------------------------------


def test_a_file_that_complies_passes() -> None:
    check([(COLUMNS["photo"], UploadedFile(PNG, filename="a.png")), (COLUMNS["letter"], None)])


def test_a_single_error_comes_out_as_itself() -> None:
    value = UploadedFile(bytes(2000), filename="a.txt")
    with pytest.raises(SizeRefused) as caught:
        check([(column(Size(1000)), value)])
    error = caught.value
    assert (error.column, error.filename, error.index, error.rule) == ("Person.file", "a.txt", None, "max_size")
    assert str(error) == "Person.file, 'a.txt': is 2 KiB, at most 1000 bytes are allowed"
    assert error.by_field == {"file": ["is 2 KiB, at most 1000 bytes are allowed"]}
    assert value.pending


def test_all_that_is_wrong_with_a_file_comes_out_together() -> None:
    """Each with its own class, in the order of the validators."""
    with pytest.raises(SeveralRefused) as caught:
        check([(column(Size(3), ContentTypes("image/*"), Extensions("png")), UploadedFile(b"text", filename="a.txt"))])
    assert [type(each) for each in caught.value.errors] == [SizeRefused, TypeRefused, NameRefused]
    assert caught.value.by_field == {
        "file": [
            "is 4 bytes, at most 3 bytes are allowed",
            "is text/plain, allowed: image/*",
            "has the extension 'txt', allowed: png",
        ]
    }
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.by_field, str(again)) == (caught.value.by_field, str(caught.value))


def test_a_broken_image_is_one_message() -> None:
    """A second `Image` has nothing to add, and a file that is too large, or no image at all, is not decoded."""
    file = io.BytesIO()
    Pillow.effect_noise((100, 100), 50).save(file, "PNG")
    broken = column(Image(min_width=500), Image(decode=False), Image())
    assert refused((broken, UploadedFile(b"\x89PNG\r\n\x1a\n", filename="a.png"))) == [
        "Person.file, 'a.png': the image is broken or truncated"
    ]
    text = column(Image(), ContentTypes("image/*"))
    assert refused((text, UploadedFile(b"text", filename="a.png"))) == [
        "Person.file, 'a.png': is text/plain, allowed: image/*"
    ]
    large = column(Image(), Size(100))
    assert [each.partition(": ")[2][:3] for each in refused((large, UploadedFile(file.getvalue())))] == ["is "]


def test_an_image_is_decoded_once_for_all_validators() -> None:
    """Two read no more of the file than one does."""

    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    taken = []
    for validators in ([Image()], [Image(), Image(max_width=100)]):
        file = Counting(_picture())
        check([(column(*validators), UploadedFile(file, filename="a.png"))])
        taken.append(file.taken)
    assert taken[0] == taken[1] > len(_picture())


def _picture() -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (4, 4)).save(file, "PNG")
    return file.getvalue()


def test_the_same_message_comes_once() -> None:
    assert refused((column(Size(3), Size(3)), UploadedFile(b"text", filename="a"))) == [
        "Person.file, 'a': is 4 bytes, at most 3 bytes are allowed"
    ]


# --- objects ----------------------------------------------------------------------------------------------------------


def test_what_belongs_to_one_object_is_told_together() -> None:
    """And only the first object that has errors is."""
    first, second = Person(), Person()
    for person in first, second:
        person.photo = UploadedFile(b"text", filename="a.png")
        person.letter = UploadedFile(b"evil", filename="a.txt")
    waiting = [(COLUMNS[key], getattr(person, key)) for key in ("photo", "letter") for person in (first, second)]
    with pytest.raises(SeveralRefused) as caught:
        check(waiting)
    assert caught.value.by_field == {"photo": ["is text/plain, allowed: image/*"], "letter": ["is evil"]}
    assert LOOKED_AT == ["a.txt"]


def test_without_an_owner_each_file_stands_for_itself() -> None:
    values = [UploadedFile(b"evil", filename=name) for name in ("a.txt", "b.txt")]
    assert refused(*[(COLUMNS["letter"], value) for value in values]) == ["Person.letter, 'a.txt': is evil"]


def test_columns_without_validators_are_not_looked_at() -> None:
    stream = Endless()
    value = UploadedFile(stream, filename="a")
    check([(COLUMNS["anything"], value)])
    assert stream.taken == 8192  # for its type, when the value was made


def test_stored_values_are_not_looked_at() -> None:
    value = UploadedFile(b"evil", filename="a.txt")
    value.store()
    check([(COLUMNS["letter"], value)])
    assert LOOKED_AT == []


def test_refused_values_can_be_checked_again() -> None:
    """A stream that gave too much is refused again, and so is one that was looked at."""
    limited, stream = column(Size(20_000)), Endless()
    value = UploadedFile(stream, filename="a")
    with_look = column(Size(20_000), _open)
    for _ in range(2):
        assert refused((with_look, value)) == ["Person.file, 'a': is larger than 19.5 KiB"]
    assert stream.taken == 20_001
    check([(limited, value)])  # nobody reads it
    for _ in range(2):
        with pytest.raises(SizeRefused, match=r"^Person\.file, 'a': is larger than 19\.5 KiB$"):
            value.store()
    assert stream.taken == 20_001


def _open(file: Candidate) -> None:
    with file.open() as opened:
        opened.read()


def test_a_refused_stream_goes_where_it_is_allowed() -> None:
    """The limit of the first column does not follow it, if it was not read too far."""
    value = UploadedFile(Endless(30_000), filename="a.txt")
    assert refused((column(Size(20_000), Extensions("md")), value)) != []
    value.store()
    assert value.size == 30_000


# --- corrections ------------------------------------------------------------------------------------------------------


def test_names_are_corrected_once_everything_has_passed() -> None:
    person = Person()
    person.photo = UploadedFile(JPEG, filename="a.png")
    person.letter = UploadedFile(b"evil", filename="a.txt")
    waiting = [(COLUMNS[key], getattr(person, key)) for key in ("photo", "letter")]
    assert refused(*waiting) == ["Person.letter, 'a.txt': is evil"]
    assert person.photo.filename == "a.png"
    check(waiting[:1])
    assert person.photo.filename == "a.jpg"
    person.photo.store()
    assert (person.photo.filename, person.photo.file.filename, person.photo.content_type) == (
        "a.jpg",
        "a.jpg",
        "image/jpeg",
    )


def test_every_validator_sees_the_corrected_name_and_errors_the_one_that_was_sent() -> None:
    """Whichever stands first: nobody gets an extension that is not allowed by means of a correction."""
    value = UploadedFile(b"<!DOCTYPE html>", filename="a.png")
    assert refused((column(Extensions("png"), MatchingType("correct")), value)) == [
        "Person.file, 'a.png': has the extension 'html', allowed: png"
    ]


def test_a_function_may_correct_a_name() -> None:
    def lower(file: Candidate) -> None:
        file.filename = file.filename.lower()

    value = UploadedFile(b"text", filename="A.TXT")
    check([(column(lower), value)])
    value.store()
    assert (value.filename, value.file.filename) == ("a.txt", "a.txt")


# --- copies -----------------------------------------------------------------------------------------------------------


def test_a_copy_is_judged_by_the_keys_of_its_original(depots: dict[str, FileStorage]) -> None:
    original = UploadedFile(b"a letter", filename="a.txt")
    original.store()
    depots["default"].delete(original.file_id)
    copy = UploadedFile.copy_of(original)
    check([(column(Size(8), Extensions("txt"), ContentTypes("text/plain")), copy)])
    assert refused((column(Size(7), Extensions("md"), ContentTypes("image/*")), copy)) == [
        "Person.file, 'a.txt': is 8 bytes, at most 7 bytes are allowed",
        "Person.file, 'a.txt': has the extension 'txt', allowed: md",
        "Person.file, 'a.txt': is text/plain, allowed: image/*",
    ]
    with pytest.raises(StoredFileNotFound) as caught:
        check([(COLUMNS["letter"], copy)])
    assert caught.value.__notes__ == ["while checking 'a.txt' for Person.letter"]


def test_a_copy_is_opened_for_its_bytes() -> None:
    original = UploadedFile(b"evil", filename="a.txt")
    original.store()
    copy = UploadedFile.copy_of(original)
    assert refused((COLUMNS["letter"], copy)) == ["Person.letter, 'a.txt': is evil"]
    assert copy.pending


# --- functions --------------------------------------------------------------------------------------------------------


def test_a_value_error_of_a_function_is_a_refusal() -> None:
    def is_json(file: Candidate) -> None:
        with file.open() as opened:
            json.load(opened)

    with pytest.raises(ValidationError) as caught:
        check([(column(is_json), UploadedFile(b"{", filename="a.json"))])
    assert (caught.value.rule, caught.value.filename) == ("is_json", "a.json")
    assert caught.value.message.startswith("Expecting property name")
    assert isinstance(caught.value.__cause__, json.JSONDecodeError)
    check([(column(is_json), UploadedFile(b"{}", filename="a.json"))])


def test_a_function_is_named_even_if_it_says_nothing() -> None:
    def no(file: Candidate, *, strictly: bool = True) -> None:
        raise ValueError

    class Never:
        def __call__(self, file: Candidate) -> None:
            raise ValidationError("never")

    value = UploadedFile(b"", filename="a")
    assert refused((column(no, functools.partial(no, strictly=False)), value)) == ["Person.file, 'a': is refused by no"]
    with pytest.raises(ValidationError) as caught:
        check([(column(Never()), value)])
    assert (caught.value.rule, caught.value.message) == ("Never", "never")


def test_other_errors_are_no_refusals() -> None:
    def broken(file: Candidate) -> None:
        raise UnknownDepot("a mistake in the program")

    with pytest.raises(UnknownDepot):
        check([(column(broken), UploadedFile(b"", filename="a"))])
    with pytest.raises(ConfigurationError):
        UploadedFileField(validators=["pdf"])


def test_what_cannot_be_read_says_for_which_column() -> None:
    file = io.BytesIO(b"text")
    value = UploadedFile(file, filename="a.txt")
    file.close()
    with pytest.raises(InvalidContent, match="closed before its bytes were stored") as caught:
        check([(COLUMNS["letter"], value)])
    assert caught.value.__notes__ == ["while checking 'a.txt' for Person.letter"]


def test_a_validator_of_ones_own_may_be_a_class() -> None:
    class Even(Validator):
        def __call__(self, file: Candidate) -> None:
            if file.size is not None and file.size % 2:
                raise ValueError("is odd")

        def check_list(self, count: int) -> None:
            if count % 2:
                raise ValueError("an odd number of files")

    assert refused((column(Even()), UploadedFile(b"1", filename="a"))) == ["Person.file, 'a': is odd"]
    several = column(Even(), multiple=True)
    with pytest.raises(SeveralRefused) as caught:
        check([(several, FileList.of([UploadedFile(b"1", filename="a")]))])
    assert caught.value.by_field == {"file": ["an odd number of files", "a: is odd"]}


# --- lists ------------------------------------------------------------------------------------------------------------


def test_errors_in_a_list_tell_which_element() -> None:
    done = UploadedFile(bytes(20), filename="a")
    done.store()
    held = FileList.of([done, *[UploadedFile(b"x" * size, filename=f"{size}.txt") for size in (1, 11, 12)]])
    with pytest.raises(SeveralRefused) as caught:
        check([(COLUMNS["pages"], held)])
    assert [(type(each), each.index, each.filename) for each in caught.value.errors] == [
        (CountRefused, None, None),
        (SizeRefused, 2, "11.txt"),
        (SizeRefused, 3, "12.txt"),
    ]
    assert caught.value.by_field == {
        "pages": [
            "4 files, at most 2 are allowed",
            "11.txt: is 11 bytes, at most 10 bytes are allowed",
            "12.txt: is 12 bytes, at most 10 bytes are allowed",
        ]
    }


def test_a_stream_in_a_list_tells_which_element_it_is_when_it_is_stored() -> None:
    endless = UploadedFile(Endless(), filename="b.txt")
    files = FileList.of([UploadedFile(b"1", filename="a.txt"), endless])
    check([(column(Size(20_000), multiple=True), files)])
    with pytest.raises(SizeRefused) as caught:
        endless.store()
    assert str(caught.value) == "Person.file[1], 'b.txt': is larger than 19.5 KiB"
    assert caught.value.at("Person.file", "b.txt").index == 1


def test_a_list_without_new_files_is_left_alone() -> None:
    """It may have become too long by a change of the rules."""
    values = [UploadedFile(b"x", filename="a") for _ in range(3)]
    for value in values:
        value.store()
    check([(COLUMNS["pages"], FileList.of(values))])


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_a_refused_flush_leaves_nothing_and_can_be_mended(engine: Engine, depots: dict[str, FileStorage]) -> None:
    with Session(engine) as session:
        person = Person(photo=UploadedFile(JPEG, filename="a.png"), letter=b"evil", anything=b"whatever")
        session.add(person)
        with pytest.raises(SeveralRefused) as caught:
            session.commit()
        assert caught.value.by_field == {
            "letter": ["has no extension, allowed: txt, md", "is evil"],
        }
        assert stored(depots) == 0
        session.rollback()
        person.letter = UploadedFile(b"good", filename="a.txt")
        session.add(person)
        session.commit()
        assert person.photo is not None
        assert (person.photo.filename, stored(depots)) == ("a.jpg", 3)


def test_an_endless_stream_is_refused_while_it_is_stored(engine: Engine, depots: dict[str, FileStorage]) -> None:
    """Nothing shows it before; files stored beside it are removed."""
    stream = Endless()
    with Session(engine) as session:
        letter = UploadedFile(stream, filename="a.txt")
        session.add(Person(letter=letter, anything=b"whatever"))
        with pytest.raises(SizeRefused) as caught:
            session.commit()
        assert str(caught.value) == "Person.letter, 'a.txt': is larger than 19.5 KiB"
        assert (stream.taken, stored(depots), letter.pending) == (20_001, 0, True)


def test_a_stream_that_was_looked_at_is_stored_even_after_a_rollback(
    engine: Engine, depots: dict[str, FileStorage]
) -> None:
    class Scan(Base):
        __tablename__ = "scan"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(validators=[_open]))

    Base.metadata.create_all(engine)
    with Session(engine) as session:
        scan = Scan(file=UploadedFile(Endless(2_000_000), filename="a.bin"))
        session.add(scan)
        session.flush()
        session.rollback()
        assert stored(depots) == 0
        session.add(scan)
        session.commit()
        assert scan.file is not None
        with scan.file.file as file:
            assert file.read() == b"x" * 2_000_000
    Base.registry._dispose_cls(Scan)
    Base.metadata.remove(Base.metadata.tables["scan"])


def test_lists_are_checked_by_sessions(engine: Engine, depots: dict[str, FileStorage]) -> None:
    with Session(engine) as session:
        person = Person(pages=[b"1", b"2"])
        session.add(person)
        session.commit()
        person.pages.append(UploadedFile(b"much too long", filename="c.txt"))
        with pytest.raises(SeveralRefused) as caught:
            session.commit()
        assert caught.value.by_field == {
            "pages": ["3 files, at most 2 are allowed", "c.txt: is 13 bytes, at most 10 bytes are allowed"]
        }
        session.rollback()
        assert stored(depots) == 2


async def _async_refusal(path: Path) -> dict[str, list[str]]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    try:
        async with AsyncSession(engine) as session:
            session.add(Person(photo=UploadedFile(Endless(), filename="a.png"), letter=b"evil"))
            with pytest.raises(ValidationError) as caught:
                await session.commit()
            return caught.value.by_field
    finally:
        await engine.dispose()


def test_asynchronous_sessions_check_too(engine: Engine, tmp_path: Path, depots: dict[str, FileStorage]) -> None:
    assert asyncio.run(_async_refusal(tmp_path / "test.db")) == {
        "photo": ["is larger than 1 KiB", "is text/plain, allowed: image/*"],
        "letter": ["has no extension, allowed: txt, md", "is evil"],
    }
    assert stored(depots) == 0


def test_a_file_of_another_model_is_copied_and_checked(engine: Engine) -> None:
    """The document's column had no rules."""
    assert not columns_of_class(Document)["content"].type.validators
    value = UploadedFile(PNG, filename="a.png")
    value.store()
    with Session(engine) as session:
        session.add(Person(letter=value))
        with pytest.raises(NameRefused, match="has the extension 'png', allowed: txt, md"):
            session.flush()
    assert DepotManager.get_file(value.path).read() == PNG
