"""Files that are sent before their form is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.errors import ConfigurationError, InvalidContent, SeveralRefused, SizeRefused, StorageFailed
from depot_lite.fields.columns import FileColumn, columns_of_class
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.staging import stage
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import ContentTypes, Extensions, MatchingType, MaxCount, Size
from depot_lite.io.content import Content
from depot_lite.io.fileid import is_upload_id
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.uploads import adoptable, sweep_uploads
from tests.conftest import sqlite_engine

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


class Base(DeclarativeBase):
    """The parent of the models here."""


class Paper(Base):
    """With rules, without, and a list."""

    __tablename__ = "paper"
    id: Mapped[int] = mapped_column(primary_key=True)
    scan: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[Size("1 kB"), ContentTypes("image/*"), Extensions("png")])
    )
    named: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[MatchingType(extension="correct")])
    )
    free: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="archive"))
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True, validators=[MaxCount(1)]))


Base.registry.configure()


def column(key: str) -> FileColumn:
    return columns_of_class(Paper)[key]


@pytest.fixture(autouse=True)
def _signing(depots: dict[str, FileStorage]) -> None:
    DepotManager.configure_signing("a key that is long enough")


@pytest.fixture
def database() -> Iterator[Engine]:
    made = sqlite_engine(":memory:")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


class Stream(io.RawIOBase):
    """Comes once, and breaks off where told to."""

    def __init__(self, data: bytes, *, broken: bool = False) -> None:
        self.left = data
        self.broken = broken

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        if not self.left and self.broken:
            raise ConnectionResetError("gone")
        part, self.left = self.left[:size], self.left[size:]
        return part


def nothing_is_stored(depots: dict[str, FileStorage]) -> bool:
    return not any(list(each.list()) for each in depots.values())


def test_a_staged_file_is_adopted_by_its_token(database: Engine, depots: dict[str, FileStorage]) -> None:
    staged = stage(column("scan"), Stream(PNG), "scan.png", "text/html")
    assert (staged.info.content_type, staged.info.content_length, staged.info.filename) == (
        "image/png",
        108,
        "scan.png",
    )
    assert is_upload_id(staged.upload.file_id)
    with Session(database) as session:
        paper = Paper(scan=staged.token)
        session.add(paper)
        session.commit()
        assert paper.scan is not None
        assert (paper.scan.filename, paper.scan.file.read()) == ("scan.png", PNG)
        assert list(depots["default"].list()) == [paper.scan.file_id]


def test_it_goes_to_the_depot_of_its_column(depots: dict[str, FileStorage]) -> None:
    staged = stage(column("free"), b"letter", "letter.txt", None)
    assert staged.upload.depot_name == "archive"
    assert depots["archive"].get(staged.upload.file_id).read() == b"letter"


def test_what_its_column_has_against_it_is_said_together_and_nothing_is_stored(depots: dict[str, FileStorage]) -> None:
    with pytest.raises(SeveralRefused) as refused:
        stage(column("scan"), Stream(b"Dear Sir"), "scan.txt", "image/png")
    assert [each.rule for each in refused.value.errors] == ["content_type", "extension"]
    assert nothing_is_stored(depots)


def test_a_stream_is_read_no_further_than_the_limit_of_its_column(depots: dict[str, FileStorage]) -> None:
    stream = Stream(PNG + bytes(50_000))
    with pytest.raises(SizeRefused):
        stage(column("scan"), stream, "scan.png", None)
    assert len(stream.left) > 40_000
    assert nothing_is_stored(depots)


def test_a_column_without_a_limit_has_that_of_the_caller(depots: dict[str, FileStorage]) -> None:
    with pytest.raises(SizeRefused, match=r"Paper.free, 'a': is larger than 1 KiB"):
        stage(column("free"), Stream(bytes(1025)), "a", None, max_size=1024)
    assert stage(column("free"), Stream(bytes(1024)), "a", None, max_size=1024).info.content_length == 1024


def test_one_of_a_list_is_held_against_the_rules_of_one() -> None:
    """How many there will be is known by the form."""
    assert stage(column("pages"), b"1", "1", None).info.filename == "1"
    assert stage(column("pages"), b"2", "2", None).info.filename == "2"


def test_a_name_that_validators_correct_is_corrected_at_once() -> None:
    staged = stage(column("named"), PNG, "scan.jpg", None)
    found = adoptable(staged.token)
    assert found is not None
    assert staged.info.filename == found.filename == "scan.png"


def test_a_stream_that_breaks_off_leaves_nothing(depots: dict[str, FileStorage]) -> None:
    with pytest.raises(InvalidContent):
        stage(column("free"), Stream(b"half", broken=True), "a", None)
    assert nothing_is_stored(depots)


def test_a_storage_that_fails_says_so() -> None:
    class Full(MemoryFileStorage):
        """Takes nothing."""

        def _save(self, file_id: str, content: Content) -> FileInfo:
            raise StorageFailed("no space left")

    DepotManager.configure("full", Full())
    full = FileColumn("Paper", "x", column("free").column, UploadedFileField(upload_storage="full"))
    with pytest.raises(StorageFailed, match="no space left"):
        stage(full, b"a", "a", None)


def test_without_keys_nothing_is_read() -> None:
    DepotManager._set(signer=None)
    stream = Stream(b"a")
    with pytest.raises(ConfigurationError, match="configure_signing"):
        stage(column("free"), stream, "a", None)
    assert stream.left == b"a"


def test_what_no_form_adopts_is_swept(depots: dict[str, FileStorage]) -> None:
    staged = stage(column("pages"), b"1", "1", None)
    assert sweep_uploads() == []
    assert sweep_uploads(older_than=timedelta(seconds=-5)) == [staged.upload.file_id]
    assert nothing_is_stored(depots)
