"""Rows with their files in GridFS: what transactions promise, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.errors import AutoReconnect
from sqlalchemy import Engine, delete

from depot_lite.errors import StorageFailed
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.gridfs import GridFSStorage
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots
from tests.conftest import World, sqlite_engine
from tests.fields.actions import BEFORE, Action, begin, every_action
from tests.fields.ends import End, some_ends
from tests.io.gridfs_server import Requests, Server, databases, mongo_server
from tests.support.models import Base, Document


@pytest.fixture(scope="module", params=databases())
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with mongo_server(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """SQLite alone: that the databases differ is tested with local files."""
    made = sqlite_engine(tmp_path_factory.mktemp("gridfs") / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def database(server: Server) -> Iterator[Any]:
    with server.database() as made:
        yield made


@pytest.fixture
def storage(server: Server, database: Any) -> GridFSStorage:
    return server.storage(database)


@pytest.fixture
def depots(server: Server, database: Any, storage: GridFSStorage) -> Iterator[dict[str, FileStorage]]:
    """One database, with a collection for each depot."""
    with temporary_depots():
        archive = server.storage(database, "archive")
        yield {name: DepotManager.configure(name, made) for name, made in (("default", storage), ("archive", archive))}


@pytest.fixture(autouse=True)
def _no_chunk_is_left(database: Any, depots: dict[str, FileStorage]) -> Iterator[None]:
    """Whatever a test does: every chunk belongs to a file."""
    yield
    for collection in ("filedepot", "archive"):
        files = {each["_id"] for each in database[f"{collection}.files"].find()}
        assert {each["files_id"] for each in database[f"{collection}.chunks"].find()} <= files


def test_files_live_and_die_with_their_rows(world: World) -> None:
    with world.session() as session:
        session.add_all([Document(id=1, content=b"1", report=b"r"), Document(id=2, content=some_bytes(9_000_000))])
        session.commit()
        world.check(b"1", b"r", some_bytes(9_000_000))
        session.get_one(Document, 1).content = UploadedFile(b"new")
        session.commit()
        world.check(b"new", b"r", some_bytes(9_000_000))
        session.execute(delete(Document).where(Document.id == 2))
        session.commit()
        world.check(b"new", b"r")


def test_an_upload_that_fails_stops_the_flush(
    world: World, storage: GridFSStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the storage's error; the files that were stored before it go."""
    original, count = GridFSStorage._enter, iter(range(5))

    def enter(self: GridFSStorage, *given: Any) -> bool:
        if next(count) == 3:
            raise AutoReconnect("the connection was reset")
        return original(self, *given)

    monkeypatch.setattr(GridFSStorage, "_enter", enter)
    with world.session() as session:
        session.add_all([Document(id=number, content=b"x") for number in range(5)])
        with pytest.raises(StorageFailed, match="connection broke"):
            session.commit()
    world.check()


def test_each_attachment_costs_the_requests_it_must(world: World, storage: GridFSStorage) -> None:
    """Two to store, two to read, three to delete all at once, and none to load a row and show its file's name."""
    storage.delete(storage.create(b"the indexes are there"))
    requests = Requests(storage)
    with world.session() as session:
        session.add_all([Document(id=number, content=b"x") for number in range(10)])
        session.commit()
        assert requests.taken() == {"chunks.insert_many": 10, "files.update_one": 10}
        documents = [session.get_one(Document, number) for number in range(10)]
        for document in documents:
            assert document.content is not None
            assert document.content.filename == "unnamed"
        assert requests.taken() == {}
        for document in documents:
            session.delete(document)
        session.commit()
        assert requests.taken() == {"files.find": 1, "files.delete_many": 1, "chunks.delete_many": 1}


@every_action
@some_ends("commit", "roll back a savepoint and commit")
def test_the_table_of_transaction_cases_holds_with_gridfs_below(world: World, action: Action, end: End) -> None:
    """Every action, committed and rolled back; the other ends differ in nothing that a storage sees."""
    begin(world)
    with world.session() as session:
        end.run(session, action)
    world.check(*action.leaves if end.commits else BEFORE)
