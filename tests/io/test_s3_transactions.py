"""Rows with their files in S3: what transactions promise, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select

from depot_lite.errors import StorageFailed
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.boto3 import S3Storage
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots
from tests.conftest import World, sqlite_engine
from tests.fields.actions import BEFORE, Action, begin, every_action
from tests.fields.ends import End, some_ends
from tests.io.s3_server import Requests, Server, moto_server
from tests.support.models import Base, Document


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with moto_server() as made:
        yield made


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """SQLite alone: that the databases differ is tested with local files."""
    made = sqlite_engine(tmp_path_factory.mktemp("s3") / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def storage(server: Server) -> Iterator[S3Storage]:
    with server.bucket() as bucket:
        yield server.storage(bucket, prefix="default/")


@pytest.fixture
def depots(server: Server, storage: S3Storage) -> Iterator[dict[str, FileStorage]]:
    """One bucket, with a prefix for each depot."""
    with temporary_depots():
        archive = server.storage(storage._bucket, prefix="archive/")
        yield {name: DepotManager.configure(name, made) for name, made in (("default", storage), ("archive", archive))}


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


def test_a_rollback_leaves_what_was(world: World) -> None:
    with world.session() as session:
        session.add(Document(id=1, content=b"kept"))
        session.commit()
        session.get_one(Document, 1).content = UploadedFile(b"new")
        session.add(Document(id=2, content=b"second"))
        session.flush()
        with session.begin_nested() as savepoint:
            session.add(Document(id=3, content=b"third"))
            session.flush()
            savepoint.rollback()
        session.rollback()
    world.check(b"kept")


def test_an_upload_that_fails_stops_the_flush(world: World, storage: S3Storage) -> None:
    """With the storage's error; the files that were stored before it go."""
    requests = Requests(storage)

    def refuse(http_response: Any, parsed: dict[str, Any], **_: object) -> None:
        if requests["PutObject"] >= 3:
            http_response.status_code = 403
            parsed["Error"] = {"Code": "AccessDenied"}

    storage._client.meta.events.register("after-call.s3.PutObject", refuse)
    with world.session() as session:
        session.add_all([Document(id=number, content=b"x") for number in range(5)])
        with pytest.raises(StorageFailed, match="denied"):
            session.commit()
    world.check()


def test_each_attachment_costs_the_requests_it_must(world: World, storage: S3Storage) -> None:
    """One to store, one to read, a share of one to delete, and none to load a row and show its file's name and URL."""
    requests = Requests(storage)
    with world.session() as session:
        session.add_all([Document(id=number, content=f"{number}".encode()) for number in range(10)])
        session.commit()
        assert requests.taken() == {"PutObject": 10}
    with world.session() as session:
        documents = session.scalars(select(Document).order_by(Document.id)).all()
        for document in documents:
            assert document.content is not None
            assert document.content.filename == "unnamed"
            assert document.content.url == storage.url(document.content.file_id)
        assert requests.taken() == {}
        for number, document in enumerate(documents):
            assert document.content is not None
            with document.content.file as file:
                assert file.read() == f"{number}".encode()
        assert requests.taken() == {"GetObject": 10}
        for document in documents:
            document.content = UploadedFile(b"new")
        session.commit()
        assert requests.taken() == {"PutObject": 10, "DeleteObjects": 1}
        for document in documents:
            session.delete(document)
        session.commit()
        assert requests.taken() == {"DeleteObjects": 1}


@every_action
@some_ends("commit", "roll back a savepoint and commit")
def test_the_table_of_transaction_cases_holds_with_s3_below(world: World, action: Action, end: End) -> None:
    """Every action, committed and rolled back; the other ends differ in nothing that a storage sees."""
    begin(world)
    with world.session() as session:
        end.run(session, action)
    world.check(*action.leaves if end.commits else BEFORE)
