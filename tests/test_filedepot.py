"""What filedepot users bring along: their rows, their storage folders, their subclasses and filters.

Rows and folders are written by filedepot itself, in a process of its own, since it listens to every session of the
process that imports it.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.interfaces import FileFilter
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io import utils
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.utils import FileIntent
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import sqlite_engine
from tests.support.streams import Stream

WRITTEN_BY_FILEDEPOT = """
import sys
from depot.fields.sqlalchemy import UploadedFileField
from depot.io.utils import FileIntent
from depot.manager import DepotManager
from sqlalchemy import Column, Integer, create_engine
from sqlalchemy.orm import Session, declarative_base

folder, url = sys.argv[1:]
DepotManager.configure("default", {"depot.storage_path": folder + "/default"})
other = {"depot.backend": "depot.io.local.LocalFileStorage", "depot.storage_path": folder + "/other"}
DepotManager.configure("other", other)
Base = declarative_base()

class Document(Base):
    __tablename__ = "document"
    id = Column(Integer, primary_key=True)
    content = Column(UploadedFileField)
    report = Column(UploadedFileField(upload_storage="other"))

engine = create_engine(url)
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add(Document(id=1, content=FileIntent(b"first", "a letter.txt", "text/plain"), report=b"report"))
    session.add(Document(id=2, content=b"second"))
    session.add(Document(id=3))
    session.commit()
engine.dispose()
"""


class Base(DeclarativeBase):
    """The parent of the models here."""


class Document(Base):
    """The table that filedepot has made, as its user goes on to declare it."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(text=True))
    report: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="other", text=True))


class Inherited:
    """A database and two folders that filedepot has written."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder

    def raw(self, number: int, column: str = "content") -> dict[str, Any]:
        """Return the JSON in a row."""
        with self.engine.connect() as connection:
            found = connection.scalar(text(f"SELECT {column} FROM document WHERE id = {number}"))
        loaded: dict[str, Any] = json.loads(found)
        return loaded

    def stored(self) -> set[str]:
        """Return the paths of all files."""
        return {f"{name}/{each}" for name in ("default", "other") for each in DepotManager.get(name).list()}

    def named(self) -> set[str]:
        """Return the paths that rows name."""
        with Session(self.engine) as session:
            found = [each for row in session.execute(select(Document.content, Document.report)) for each in row if each]
            return {path for each in found for path in each.paths}


@pytest.fixture
def inherited(tmp_path: Path) -> Iterator[Inherited]:
    """What filedepot leaves behind, configured here with the settings that it had."""
    if importlib.util.find_spec("depot") is None:
        pytest.skip("filedepot is not installed")
    folder = tmp_path / "files"
    arguments = [str(folder), f"sqlite:///{tmp_path / 'filedepot.db'}"]
    subprocess.run([sys.executable, "-c", WRITTEN_BY_FILEDEPOT, *arguments], check=True, cwd=tmp_path, timeout=120)
    engine = sqlite_engine(tmp_path / "filedepot.db")
    with temporary_depots():
        DepotManager.configure("default", {"depot.storage_path": str(folder / "default")})
        settings = {"depot.backend": "depot.io.local.LocalFileStorage", "depot.storage_path": str(folder / "other")}
        DepotManager.configure("other", settings)
        yield Inherited(engine, folder)
    engine.dispose()


@pytest.mark.server
def test_rows_of_filedepot_are_read(inherited: Inherited) -> None:
    """Names, types, times and bytes; what filedepot did not note is None."""
    assert len(inherited.stored()) == 3
    with Session(inherited.engine) as session:
        first, second, third = session.scalars(select(Document).order_by(Document.id))
        assert first.content is not None
        assert (first.content.filename, first.content.content_type) == ("a letter.txt", "text/plain")
        assert (first.content.size, first.content.checksum) == (None, None)
        assert first.content.uploaded_at is not None
        assert f"{first.content.uploaded_at:%Y-%m-%d %H:%M:%S}" == inherited.raw(1)["uploaded_at"]
        assert first.content.files == [first.content.path]
        with first.content.file as file:
            assert (file.read(), file.filename, file.content_type) == (b"first", "a letter.txt", "text/plain")
        assert first.report is not None
        assert first.report.path.startswith("other/")
        assert first.report.file.read() == b"report"
        assert second.content is not None
        assert second.content.file.read() == b"second"
        assert (third.content, third.report) == (None, None)


@pytest.mark.server
def test_rows_of_filedepot_are_searched(inherited: Inherited) -> None:
    """Its columns are text, and keys can be asked for all the same."""
    with Session(inherited.engine) as session:
        found = select(Document.id).where(Document.content["filename"].as_string() == "a letter.txt")
        assert session.scalars(found).all() == [1]


@pytest.mark.server
def test_a_row_that_nobody_changes_stays_as_it_is(inherited: Inherited) -> None:
    before = inherited.raw(1), inherited.raw(1, "report"), inherited.stored()
    with Session(inherited.engine) as session:
        row = session.get_one(Document, 1)
        row.content = row.content
        session.commit()
    assert (inherited.raw(1), inherited.raw(1, "report"), inherited.stored()) == before


@pytest.mark.server
def test_files_of_filedepot_are_replaced(inherited: Inherited) -> None:
    """The new row has filedepot's keys in filedepot's form; the old file goes at the commit, a rollback keeps it."""
    keys = inherited.raw(1).keys()
    old = inherited.raw(1)["path"]
    with Session(inherited.engine) as session:
        row: Any = session.get_one(Document, 1)
        row.content = FileIntent(b"rolled back", "new.txt", "text/plain")
        session.flush()
        session.rollback()
        assert row.content is not None
        assert row.content.file.read() == b"first"
        row.content = FileIntent(b"new", "new.txt", "text/plain")
        session.commit()
        assert row.content.file.read() == b"new"
    assert keys < inherited.raw(1).keys()
    assert old not in inherited.stored()
    assert inherited.stored() == inherited.named()


@pytest.mark.server
def test_rows_and_files_of_filedepot_are_deleted(inherited: Inherited) -> None:
    with Session(inherited.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
        assert inherited.stored() == inherited.named() == {inherited.raw(2)["path"]}
        session.get_one(Document, 2).content = None
        session.commit()
    assert inherited.stored() == inherited.named() == set()


@pytest.mark.server
def test_files_of_filedepot_are_copied(inherited: Inherited) -> None:
    """A value of filedepot's that is assigned to another row becomes a file of that row."""
    with Session(inherited.engine) as session:
        session.get_one(Document, 3).content = session.get_one(Document, 1).content
        session.commit()
        session.delete(session.get_one(Document, 1))
        session.commit()
        kept = session.get_one(Document, 3).content
        assert kept is not None
        assert (kept.filename, kept.file.read()) == ("a letter.txt", b"first")
    assert inherited.stored() == inherited.named()


# --- subclasses and filters, as filedepot's users write them ----------------------------------------------------------


class UploadedWithThumb(UploadedFile):
    """Keeps the first bytes of a file as its thumbnail."""

    thumbnail_length = 4

    def process_content(self, content: Any, filename: Any = None, content_type: Any = None) -> None:
        orig_content = content
        __, filename, content_type = FileStorage.fileinfo(orig_content)
        close_content, content = utils.file_from_content(content)
        try:
            head = content.read(self.thumbnail_length)
            content.seek(0)
            super().process_content(content, filename, content_type)
        finally:
            if close_content:
                content.close()
        thumb_path, thumb_id = self.store_content(BytesIO(head), "thumb.bin")
        self["thumb_id"] = thumb_id
        self["thumb_path"] = thumb_path
        self["_thumb_public_url"] = self.thumb_file.public_url

    @property
    def thumb_file(self) -> Any:
        return self.depot.get(self.thumb_id)

    @property
    def thumb_url(self) -> Any:
        public_url = self["_thumb_public_url"]
        if public_url:
            return public_url
        return DepotManager.get_middleware().url_for(self["thumb_path"])


class UploadedShouting(UploadedFile):
    """Changes the content that is stored."""

    def process_content(self, content: Any, filename: Any = None, content_type: Any = None) -> None:
        __, filename, content_type = FileStorage.fileinfo(content)
        close_content, content = utils.file_from_content(content)
        changed = BytesIO(content.read().upper())
        if close_content:
            content.close()
        super().process_content(changed, filename, content_type)


class WithTail(FileFilter):
    """Stores the last bytes beside the file and notes where."""

    def __init__(self, size: int = 3) -> None:
        self.size = size

    def on_save(self, uploaded_file: Any) -> None:
        close_content, content = utils.file_from_content(uploaded_file.original_content)
        try:
            output = BytesIO(content.read()[-self.size :])
        finally:
            if close_content:
                content.close()
        name = f"tail_{self.size}"
        path, file_id = uploaded_file.store_content(output, f"{name}.bin")
        uploaded_file[name + "_id"] = file_id
        uploaded_file[name + "_path"] = path
        setattr(uploaded_file, name + "_url", "/depot/" + path)


class Picture(Base):
    """Uses all of them."""

    __tablename__ = "picture"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[Any] = mapped_column(
        UploadedFileField(upload_type=UploadedWithThumb, filters=(WithTail(), WithTail(2))), nullable=True
    )
    loud: Mapped[Any] = mapped_column(UploadedFileField(upload_type=UploadedShouting, text=True), nullable=True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'pictures.db'}")
    Base.metadata.create_all(engine)
    with temporary_depots():
        DepotManager.configure("default", {"depot.storage_path": str(tmp_path / "files")})
        yield engine
    engine.dispose()


def contents() -> list[bytes]:
    """Return the bytes of all files, sorted."""
    return sorted(DepotManager.get().get(each).read() for each in DepotManager.get().list())


@pytest.fixture(params=["bytes", "intent", "intent of a file", "file"])
def upload(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """The same content, handed in differently."""
    path = tmp_path / "photo.bin"
    path.write_bytes(b"0123456789")
    with path.open("rb") as opened:
        yield {
            "bytes": b"0123456789",
            "intent": FileIntent(b"0123456789", "photo.bin", "application/x-photo"),
            "intent of a file": FileIntent(opened, "photo.bin", "application/x-photo"),
            "file": opened,
        }[request.param]


def test_a_custom_upload_type_and_its_filters_work_unchanged(engine: Engine, upload: Any) -> None:
    """The main file, the thumbnail and the files of filters belong to the value, and are read through its keys."""
    with Session(engine) as session:
        session.add(Picture(id=1, photo=upload))
        session.commit()
        photo = session.get_one(Picture, 1).photo
        assert type(photo) is UploadedWithThumb
        assert photo.filename == ("unnamed" if isinstance(upload, bytes) else "photo.bin")
        assert photo.file.read() == b"0123456789"
        assert photo.thumb_file.read() == b"0123"
        assert photo.thumb_file.filename == "thumb.bin"
        assert photo.thumb_path == f"default/{photo.thumb_id}"
        assert photo.depot.get(photo.tail_3_id).read() == b"789"
        assert DepotManager.get_file(photo.tail_2_path).read() == b"89"
        assert photo.tail_2_url == "/depot/" + photo["tail_2_path"]
        assert set(photo.files) == {photo.path, photo.thumb_path, photo.tail_3_path, photo.tail_2_path}
        assert contents() == [b"0123", b"0123456789", b"789", b"89"]


@pytest.mark.matrix
def test_all_its_files_go_with_the_value(engine: Engine, upload: Any) -> None:
    """At a rollback, when it is replaced, and when its row is deleted."""
    with Session(engine) as session:
        session.add(Picture(id=1, photo=upload))
        session.flush()
        assert len(contents()) == 4
        session.rollback()
        assert contents() == []
        session.add(Picture(id=1, photo=b"abcdef"))
        session.commit()
        session.get_one(Picture, 1).photo = b"ghijkl"
        session.commit()
        assert contents() == [b"ghij", b"ghijkl", b"jkl", b"kl"]
        session.delete(session.get_one(Picture, 1))
        session.commit()
    assert contents() == []


def test_a_filter_that_fails_leaves_nothing(engine: Engine) -> None:
    """The second filter finds a size that it cannot slice by; the main file and the first filter's go again."""
    with Session(engine) as session:
        picture = Picture(id=1, photo=b"abcdef")
        session.add(picture)
        broken = WithTail.__new__(WithTail)
        column_type: Any = Picture.__table__.c.photo.type
        before = column_type._filters
        column_type._filters = (*before, broken)
        try:
            with pytest.raises(AttributeError, match="size"):
                session.commit()
        finally:
            column_type._filters = before
        assert contents() == []
        session.rollback()
        session.add(picture)
        session.commit()
        assert len(contents()) == 4


def test_an_upload_type_gets_a_stream_whole(engine: Engine) -> None:
    """Although its first bytes were read when it was assigned, to find its type."""
    with Session(engine) as session, Stream(b"%PDF-1.7 and so on") as stream:
        session.add(Picture(id=1, loud=FileIntent(stream, "stream.pdf")))
        session.commit()
        loud = session.get_one(Picture, 1).loud
        assert (loud.file.read(), loud.filename) == (b"%PDF-1.7 AND SO ON", "stream.pdf")


@pytest.mark.matrix
def test_an_upload_type_may_change_what_is_stored(engine: Engine, upload: Any) -> None:
    with Session(engine) as session:
        session.add(Picture(id=1, loud=FileIntent(b"quiet", "q.txt", "text/plain")))
        session.add(Picture(id=2, loud=upload))
        session.commit()
        loud = session.get_one(Picture, 1).loud
        assert (loud.file.read(), loud.filename, loud.content_type, loud.size) == (b"QUIET", "q.txt", "text/plain", 5)
        assert session.get_one(Picture, 2).loud.file.read() == b"0123456789"
