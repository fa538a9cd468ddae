"""Rows and files that filedepot has left in a database and in GridFS: their ids are ObjectIds, of 24 digits.

filedepot's storage makes the files, on mongomock. The rows are as it writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from bson import ObjectId
from sqlalchemy import Engine, Text, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.fileid import check_file_id, id_of_object_id
from depot_lite.io.gridfs import GridFSStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.maintenance import find_missing, find_unused, migrate, statistics, verify
from depot_lite.maintenance.backup import copy_files
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import sqlite_engine
from tests.io.gridfs_server import Server, mongo_server
from tests.support.sweeps import sweep

filedepots = pytest.importorskip("depot.io.gridfs")
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

NOW: Final = timedelta(0)


class Base(DeclarativeBase):
    pass


class Letter(Base):
    __tablename__ = "letter"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(text=True))
    note: Mapped[str | None] = mapped_column(Text)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = sqlite_engine(tmp_path / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def server() -> Iterator[Server]:
    with mongo_server("mongomock") as made:
        yield made


@pytest.fixture
def database(server: Server) -> Iterator[Any]:
    with server.database() as made:
        yield made


@pytest.fixture
def storage(server: Server, database: Any) -> Iterator[GridFSStorage]:
    with temporary_depots():
        made = server.storage(database)
        DepotManager.configure("default", made)
        yield made


@pytest.fixture
def old(database: Any, engine: Engine, storage: GridFSStorage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of three files, of which two rows name the first two."""

    class Client:
        def get_default_database(self) -> Any:
            return database

    monkeypatch.setattr(filedepots, "MongoClient", lambda uri: Client())
    theirs = filedepots.GridFSStorage("mongodb://h/app")
    made = [theirs.create(content, f"{content.decode()}.txt") for content in (b"one", b"two", b"unused")]
    with engine.begin() as connection:
        for number, file_id in enumerate(made[:2], 1):
            path = f"default/{file_id}"
            value = {"depot_name": "default", "file_id": file_id, "path": path, "files": [path]}
            value |= {"filename": "a.txt", "content_type": "text/plain", "uploaded_at": "2020-01-02 03:04:05"}
            insert = text("INSERT INTO letter (id, content) VALUES (:id, :content)")
            connection.execute(insert, {"id": number, "content": json.dumps({**value, "_public_url": None})})
    return made


def contents(storage: GridFSStorage) -> list[bytes]:
    return sorted(storage.get(each).read() for each in storage.list())


def test_rows_go_on_working(engine: Engine, storage: GridFSStorage, old: list[str]) -> None:
    """Read, served under their URLs, copied to other rows, replaced and deleted."""
    DepotManager.make_middleware(lambda environ, start_response: [], mountpoint="/depot")
    with Session(engine) as session:
        first, second = session.scalars(select(Letter).order_by(Letter.id))
        assert first.content is not None
        assert (first.content.file_id, first.content.url) == (old[0], f"/depot/default/{old[0]}")
        with first.content.file as file:
            assert file.read() == b"one"
        session.add(Letter(id=3, content=first.content))
        second.content = UploadedFile(b"new")
        session.commit()
        copy = session.get_one(Letter, 3).content
        assert copy is not None
        assert old[0] not in json.dumps(dict(copy))
        assert contents(storage) == [b"new", b"one", b"one", b"unused"]
        session.delete(first)
        session.rollback()
        assert storage.exists(old[0])
        session.delete(first)
        session.commit()
    assert contents(storage) == [b"new", b"one", b"unused"]


def test_a_sweep_takes_what_no_row_names_and_nothing_else(
    engine: Engine, storage: GridFSStorage, old: list[str]
) -> None:
    named = {each.file_id for each in find_unused(engine, older_than=NOW, models=[Base]).files}
    assert named == {id_of_object_id(old[2])}
    with engine.begin() as connection:
        connection.execute(text("UPDATE letter SET note = :note WHERE id = 1"), {"note": f"see {old[2]}."})
    protected = find_unused(engine, older_than=NOW, models=[Base], protect=["letter.note"])
    assert list(protected.files) == []
    assert sweep(engine, models=[Base], ignore_columns=["letter.note"]).deleted == 1
    assert contents(storage) == [b"one", b"two"]


def test_what_is_missing_and_what_is_damaged_is_found(
    engine: Engine, storage: GridFSStorage, old: list[str], database: Any
) -> None:
    assert find_missing(engine, models=[Base]).files == []
    assert verify(engine, models=[Base]).findings == []
    storage.delete(old[0])
    missing = find_missing(engine, models=[Base]).files
    assert [(each.key, each.path) for each in missing] == [((1,), f"default/{old[0]}")]
    database["filedepot.chunks"].delete_many({"files_id": ObjectId(old[1])})
    findings = verify(engine, models=[Base]).findings
    assert [each.file_id for each in findings] == [id_of_object_id(old[1])]
    assert findings[0].rows == ("letter.content of the row 2",)


def test_files_are_counted_moved_and_kept_as_a_backup(
    engine: Engine, storage: GridFSStorage, old: list[str], tmp_path: Path
) -> None:
    for name in ("backup", "new"):
        DepotManager.configure(name, LocalFileStorage(tmp_path / name, durable=False))
    counted = statistics(engine, models=[Base]).depots["default"]
    assert (counted.files, counted.unnamed.files) == (3, 1)
    copy_files("default", "backup")
    assert sorted(DepotManager.get("backup").list()) == sorted(map(id_of_object_id, old))
    migrate(engine, "default", "new", models=[Base])
    with Session(engine) as session:
        for letter, content in zip(session.scalars(select(Letter).order_by(Letter.id)), (b"one", b"two"), strict=True):
            assert letter.content is not None
            assert (letter.content.depot_name, letter.content.file.read()) == ("new", content)
            assert check_file_id(letter.content.file_id) == letter.content.file_id
    assert sweep(engine, models=[Base]).deleted == 3
    assert contents(storage) == []
