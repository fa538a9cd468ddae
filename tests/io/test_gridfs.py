"""GridFSStorage: the contract, the format, the requests, and failures.

On mongomock, and on a real server where DEPOT_TEST_MONGO_URL names one.
"""

from __future__ import annotations

import io
import logging
import os
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import gridfs
import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect, OperationFailure, WaitQueueTimeoutError

import depot_lite.io.gridfs
from depot_lite.errors import ConfigurationError, InvalidContent, StorageFailed, StoredFileNotFound
from depot_lite.io.fileid import id_of_object_id, new_file_id
from depot_lite.io.gridfs import GridFSStorage
from depot_lite.io.gridfs import client as gridfsclient
from depot_lite.io.gridfs.stream import CHUNK, ChunkReader, ChunkWriter
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import BreakingFile, StorageContract, some_bytes, temporary_depots
from tests.io.gridfs_server import VARIABLE, Requests, Server, databases, mongo_server
from tests.io.serving import Answers, private_depot, signed

MB: Final = 1024 * 1024


@pytest.fixture(scope="module", params=databases())
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with mongo_server(request.param) as made:
        yield made


@pytest.fixture
def database(server: Server) -> Iterator[Any]:
    with server.database() as made:
        yield made


@pytest.fixture
def storage(server: Server, database: Any) -> GridFSStorage:
    return server.storage(database)


@pytest.fixture
def requests(storage: GridFSStorage) -> Requests:
    """The requests of the storage, once the indexes are there."""
    storage.delete(storage.create(b""))
    return Requests(storage)


def test_a_real_server() -> None:
    """Says in the list of skipped tests that there was none."""
    if not os.environ.get(VARIABLE):
        pytest.skip(f"GridFS on mongomock alone: no MongoDB (set {VARIABLE})")


class TestGridFSStorage(StorageContract):
    @pytest.fixture(autouse=True)
    def _where(self, server: Server, database: Any) -> Iterator[None]:
        """Whatever a test does: every chunk belongs to a file."""
        self.server, self.database = server, database
        yield
        files = {each["_id"] for each in database["filedepot.files"].find()}
        assert {each["files_id"] for each in database["filedepot.chunks"].find()} <= files

    def make_storage(self, tmp_path: Path) -> GridFSStorage:
        return self.server.storage(self.database)


# --- the format -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 17 * CHUNK])
def test_pymongos_gridfs_reads_what_was_written(storage: GridFSStorage, database: Any, size: int) -> None:
    """As any driver does: by ``_id``, or by name."""
    data = some_bytes(size)
    file_id = storage.create(io.BytesIO(data), "plan.txt", "text/plain")
    document = database["filedepot.files"].find_one()
    assert document["metadata"]["file_id"] == file_id
    assert document["contentType"] == storage.get(file_id).content_type
    found = gridfs.GridFS(database, "filedepot").get(document["_id"])
    assert (found.read() == data, found.filename, found.length, found.chunk_size) == (True, "plan.txt", size, CHUNK)


def test_what_other_programs_wrote_is_read_by_id_and_not_listed(storage: GridFSStorage, database: Any) -> None:
    """Chunks of any size, a name of none, a type where newer drivers have it; other documents are left out."""
    other = gridfs.GridFS(database, "filedepot")
    data = some_bytes(1000)
    first = other.put(data, chunk_size=7, metadata={"contentType": "text/x-own"})
    second = other.put(b"", filename="../a/b.txt", metadata="words")
    other.put(b"x", _id="no ObjectId", last_modified="2020-01-01 00:00:00")
    with storage.get(str(first)) as file:
        assert (file.read(), file.filename, file.content_type, file.checksum) == (data, "unnamed", "text/x-own", None)
        file.seek(500)
        assert file.read(3) == data[500:503]
    with storage.get(str(second)) as file:
        assert (file.read(), file.filename, file.content_type) == (b"", "b.txt", "application/octet-stream")
    assert list(storage.list()) == []
    storage.delete(str(first))
    assert not storage.exists(str(first))
    assert other.exists(second)


def test_the_id_of_a_version_is_no_file_id(storage: GridFSStorage, database: Any) -> None:
    storage.create(b"x")
    generation = str(database["filedepot.files"].find_one()["_id"])
    with pytest.raises(StoredFileNotFound):
        storage.get(generation)
    storage.delete(generation)
    assert len(list(storage.list())) == 1


def test_an_old_version_that_a_crash_has_left_is_not_seen(
    storage: GridFSStorage, database: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The new one is read and listed, and the next replacement or deletion takes both."""
    file_id, other = storage.create(b"old"), storage.create(b"other")

    def refuse(wanted: object) -> None:
        raise AutoReconnect("the connection was reset")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "_drop", refuse)
        with caplog.at_level(logging.WARNING, "depot_lite"):
            storage.replace(file_id, b"newer")
    assert file_id in caplog.text
    with storage.get(file_id) as file:
        assert file.read() == b"newer"
    assert {each: each.size for each in storage.list()} == {file_id: 5, other: 5}
    storage.replace(file_id, b"newest")
    assert database["filedepot.files"].count_documents({}) == 2
    storage.delete_many([file_id, other])
    assert database["filedepot.files"].count_documents({}) == database["filedepot.chunks"].count_documents({}) == 0


def test_two_that_store_under_one_id_at_once_leave_one_file(
    storage: GridFSStorage, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that comes second finds the other when it inserts, and replaces it."""
    file_id = storage.create(b"first")
    latest, asked = storage._latest, []

    def stale(*given: Any) -> Any:
        asked.append(given)
        return {"metadata": {"revision": -1}} if len(asked) == 1 else latest(*given)

    monkeypatch.setattr(storage, "_latest", stale)
    assert storage.create(b"second", file_id=file_id) == file_id
    assert len(asked) == 2
    monkeypatch.undo()
    assert storage.get(file_id).read() == b"second"
    assert database["filedepot.files"].count_documents({}) == 1


@pytest.mark.parametrize("page", [1, 2, 3, 5])
def test_a_listing_goes_page_by_page(
    storage: GridFSStorage, database: Any, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """And leaves nothing out where versions of one file, which a crash has left, are in two pages."""
    monkeypatch.setattr(depot_lite.io.gridfs, "_PAGE", page)
    file_ids, files = sorted(new_file_id() for _ in range(5)), database["filedepot.files"]
    for number, file_id in enumerate(file_ids):
        storage.create(bytes(number), file_id=file_id)
    document = files.find_one({"metadata.file_id": file_ids[2]})
    for revision in (1, 2, 3):
        metadata = {**document["metadata"], "revision": revision}
        files.insert_one({**document, "_id": ObjectId(), "length": 100 * revision, "metadata": metadata})
    old = [files.insert_one({**document, "_id": ObjectId(), "last_modified": "x", "metadata": None}) for _ in range(4)]
    listed = list(storage.list())
    assert listed[:4] == [id_of_object_id(str(each.inserted_id)) for each in old]
    assert listed[4:] == file_ids
    assert [each.size for each in listed[4:]] == [0, 1, 300, 3, 4]


# --- costs ------------------------------------------------------------------------------------------------------------


def test_storing_is_two_requests_and_one_more_for_each_megabyte(storage: GridFSStorage, requests: Requests) -> None:
    """One less for an empty file, which has no chunks."""
    storage.create(b"")
    assert requests.taken() == {"files.update_one": 1}
    storage.create(b"x")
    assert requests.taken() == {"chunks.insert_many": 1, "files.update_one": 1}
    storage.create(io.BytesIO(bytes(33 * CHUNK)))
    assert requests.taken() == {"chunks.insert_many": 9, "files.update_one": 1}


def test_the_first_time_indexes_are_made(server: Server, database: Any) -> None:
    storage = server.storage(database)
    requests = Requests(storage)
    storage.create(b"x")
    assert requests.taken() == {
        "files.create_index": 1,
        "chunks.create_index": 1,
        "chunks.insert_many": 1,
        "files.update_one": 1,
    }
    assert [each["key"] for each in database["filedepot.chunks"].index_information().values()][1:] == [
        [("files_id", 1), ("n", 1)]
    ]


def test_reading_is_two_requests_and_seeking_one_more(storage: GridFSStorage, requests: Requests) -> None:
    """Pages grow as long as reading goes on, so that a part costs little and all of it few requests."""
    data = some_bytes(33 * CHUNK)
    file_id, small = storage.create(data), storage.create(b"small")
    requests.clear()
    with storage.get(small) as file:
        assert requests.taken() == {"files.find_one": 1}
        assert file.read() == b"small"
        assert file.read() == b""
    assert requests.taken() == {"chunks.find": 1}
    with storage.get(file_id) as file:
        assert file.read() == data
    assert requests.taken() == {"files.find_one": 1, "chunks.find": 9}
    with storage.get(file_id) as file:
        assert b"".join(file) == data
    assert requests.taken()["chunks.find"] <= 10
    with storage.get(file_id) as file:
        file.seek(20 * CHUNK + 5)
        file.seek(10, io.SEEK_CUR)
        assert requests.taken() == {"files.find_one": 1}
        assert file.read(10) == data[20 * CHUNK + 15 : 20 * CHUNK + 25]
        for offset, whence in ((-1, io.SEEK_SET), (0, 7)):
            with pytest.raises(ValueError, match="before the start"):
                file.seek(offset, whence)
        file.seek(-10, io.SEEK_CUR)
        assert file.read(10) == data[20 * CHUNK + 15 : 20 * CHUNK + 25]
    assert requests.taken() == {"chunks.find": 1}


def test_other_methods_cost_what_they_must(storage: GridFSStorage, requests: Requests) -> None:
    file_id = storage.create(b"x")
    requests.clear()
    assert storage.exists(file_id)
    assert requests.taken() == {"files.find_one": 1}
    assert [each.size for each in storage.list()] == [1]
    assert requests.taken() == {"files.find": 2}
    storage.copy(file_id)
    assert requests.taken() == {
        "files.find_one": 1,
        "chunks.find": 1,
        "chunks.insert_many": 1,
        "files.update_one": 1,
    }
    storage.delete(file_id)
    assert requests.taken() == {"files.find": 1, "files.delete_many": 1, "chunks.delete_many": 1}
    storage.delete(file_id)
    assert requests.taken() == {"files.find": 1}


def test_a_thousand_files_are_deleted_with_three_requests(
    storage: GridFSStorage, database: Any, requests: Requests
) -> None:
    kept = storage.create(b"kept")
    doomed = [storage.create(b"x") for _ in range(3)] + [new_file_id() for _ in range(1100)]
    requests.clear()
    assert storage.delete_many([*doomed, doomed[0]]) == {}
    assert requests.taken() == {"files.find": 2, "files.delete_many": 1, "chunks.delete_many": 1}
    assert list(storage.list()) == [kept]
    assert database["filedepot.chunks"].count_documents({}) == 1


class _Sink:
    """A collection that forgets its documents, and makes up those that it is asked for."""

    def __init__(self) -> None:
        self.most = 0

    def insert_many(self, documents: list[Any]) -> None:
        self.most = max(self.most, sum(len(each["data"]) for each in documents))

    def find(self, wanted: Mapping[str, Any], batch_size: int) -> _Sink:
        self._numbers = range(wanted["n"]["$gte"], wanted["n"]["$lt"])
        return self

    def sort(self, *_: object) -> list[dict[str, Any]]:
        return [{"n": number, "data": bytes(CHUNK)} for number in self._numbers]


class _Stream(io.RawIOBase):
    """So many bytes in uneven pieces."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        count = min(self._left, size, 99_991)
        self._left -= count
        return bytes(count)


def test_a_large_file_takes_no_more_memory_than_a_small_one() -> None:
    sink: Any = _Sink()
    size = 300 * CHUNK
    tracemalloc.start()
    try:
        writer = ChunkWriter(sink, ObjectId())
        writer.take(cast(Any, _Stream(size)))
        assert writer.length == size
        document = {"_id": ObjectId(), "length": size, "chunkSize": CHUNK}
        reader, count = ChunkReader(sink, document, "read", lambda: document), 0
        while data := reader.read(256 * 1024):
            count += len(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == size
    assert sink.most == 4 * CHUNK
    assert peak < 5 * MB


def test_serving_reads_only_what_it_sends(storage: GridFSStorage) -> None:
    """A part costs two requests; an answer without a body reads no chunk."""
    with private_depot(storage):
        ask, url = Answers().ask, signed(storage, some_bytes(2 * CHUNK))
        etag = ask(url)[1]["etag"]
        requests = Requests(storage)
        ask(url, range="bytes=300000-300010")
        assert requests.taken() == {"files.find_one": 1, "chunks.find": 1}
        assert ask(url, if_none_match=etag)[0] == 304
        assert ask(url, if_match='"x"')[0] == 412
        assert ask(url, range=f"bytes={2 * CHUNK}-")[0] == 416
        assert set(requests) == {"files.find_one"}
    for file_id in ("x", "507f1f77bcf86cd799439011", "..%2f"):
        with temporary_depots():
            DepotManager.configure("default", storage)
            assert Answers().ask(f"/depot/default/{file_id}")[0] == 404


# --- files that change or break while they are read -------------------------------------------------------------------


def test_who_begins_to_read_a_file_that_was_replaced_gets_the_new_one(storage: GridFSStorage) -> None:
    """With its name; also if no bytes are asked for, as in a verification. A deleted one is not found."""
    file_id = storage.create(b"old", "old.txt")
    ways: list[Callable[[Any], bytes]] = [lambda file: file.read(), lambda file: file.read(0) + file.read()]
    for read in ways:
        with storage.get(file_id) as file:
            storage.replace(file_id, b"newer", "new.txt")
            assert (read(file), file.filename, file.content_length) == (b"newer", "new.txt", 5)
    with storage.get(file_id) as file:
        storage.replace(file_id, b"")
        assert (file.read(), file.content_length) == (b"", 0)
    storage.replace(file_id, b"again")
    with storage.get(file_id) as file:
        storage.delete(file_id)
        with pytest.raises(StoredFileNotFound):
            file.read()


def test_a_file_that_is_replaced_in_the_middle_is_no_mixture(storage: GridFSStorage) -> None:
    data = some_bytes(20 * CHUNK)
    file_id = storage.create(data)
    with storage.get(file_id) as file, storage.get(file_id) as sought:
        file.read(10)
        sought.seek(CHUNK)
        storage.replace(file_id, bytes(20 * CHUNK))
        assert file.read(10) == data[10:20]
        with pytest.raises(StorageFailed, match="replaced while it was read"):
            file.read()
        with pytest.raises(StorageFailed, match="replaced while it was read"):
            sought.read(1)
    with storage.get(file_id) as file:
        file.read(10)
        storage.delete(file_id)
        with pytest.raises(StoredFileNotFound):
            file.read()


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, None),
        (1, None),
        (2, None),
        (1, {"$set": {"data": b"short"}}),
        (2, {"$set": {"data": bytes(CHUNK)}}),
    ],
)
def test_a_damaged_file_is_an_error(
    storage: GridFSStorage, database: Any, number: int, change: dict[str, Any] | None
) -> None:
    """A chunk is missing, too short or too long."""
    file_id = storage.create(some_bytes(3 * CHUNK - 5))
    chunks = database["filedepot.chunks"]
    if change is None:
        chunks.delete_one({"n": number})
    else:
        chunks.update_one({"n": number}, change)
    with storage.get(file_id) as file, pytest.raises(StorageFailed, match=rf"(chunk {number} (is missing|has \d+ b))"):
        file.read()


# --- failures ---------------------------------------------------------------------------------------------------------


def failing(storage: GridFSStorage, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception, after: int) -> None:
    """Let a request of a storage fail, the first ones excepted."""
    requests = Requests(storage)
    made = storage._connection._made.get(storage._connection._make)
    collection = getattr(made, name.partition(".")[0])
    original = getattr(collection, name.partition(".")[2])

    def fail(*given: Any, **named: Any) -> Any:
        if requests[name] >= after:
            raise error
        return original(*given, **named)

    monkeypatch.setattr(collection, name.partition(".")[2], fail, raising=False)


@pytest.mark.parametrize(
    ("name", "after"), [("chunks.insert_many", 0), ("chunks.insert_many", 1), ("files.update_one", 0)]
)
def test_an_upload_that_fails_leaves_nothing_and_replaces_nothing(
    storage: GridFSStorage, database: Any, monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    old = storage.create(b"old")
    failing(storage, monkeypatch, name, OperationFailure("no space", 14031), after)
    for file_id in (new_file_id(), old):
        with pytest.raises(StorageFailed, match=r"store gridfs file .* code 14031"):
            storage.create(bytes(17 * CHUNK), file_id=file_id)
    monkeypatch.undo()
    assert [(each, storage.get(each).read()) for each in storage.list()] == [(old, b"old")]
    assert database["filedepot.chunks"].count_documents({}) == 1


def test_a_document_whose_answer_was_lost_is_removed_too(
    storage: GridFSStorage, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = storage._enter

    def lost(*given: Any) -> bool:
        original(*given)
        raise AutoReconnect("the answer was lost")

    monkeypatch.setattr(storage, "_enter", lost)
    with pytest.raises(StorageFailed, match="the connection broke"):
        storage.create(b"x")
    assert database["filedepot.files"].count_documents({}) == database["filedepot.chunks"].count_documents({}) == 0


def test_a_deletion_that_is_cut_off_leaves_no_file_to_read(
    storage: GridFSStorage, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure is reported, and only chunks are left."""
    file_ids = [storage.create(b"x") for _ in range(3)]
    failing(storage, monkeypatch, "chunks.delete_many", AutoReconnect("the connection was reset"), 0)
    failed = storage.delete_many(file_ids)
    assert set(failed) == set(file_ids)
    assert all(isinstance(each, StorageFailed) and "database" in str(each) for each in failed.values())
    monkeypatch.undo()
    assert list(storage.list()) == []
    assert not any(map(storage.exists, file_ids))
    assert database["filedepot.chunks"].count_documents({}) == 3
    assert storage.remove_orphaned_chunks(timedelta(seconds=-5)) == 3
    assert database["filedepot.chunks"].count_documents({}) == 0


def test_orphaned_chunks_are_removed_when_they_are_old(storage: GridFSStorage, database: Any) -> None:
    """Not those of files, of uploads that may be under way, and of other programs."""
    kept, chunks = storage.create(b"kept"), database["filedepot.chunks"]
    gridfs.GridFS(database, "filedepot").put(b"of another program")
    now = datetime.now(UTC)
    for days in (0, 2, 3):
        generation = ObjectId.from_datetime(now - timedelta(days=days))
        chunks.insert_many([{"files_id": generation, "n": number, "data": b"left"} for number in range(2)])
    chunks.insert_one({"files_id": "something else", "n": 0, "data": b"x"})
    assert storage.remove_orphaned_chunks() == 2
    assert storage.remove_orphaned_chunks() == 0
    assert chunks.count_documents({}) == 1 + 1 + 2 + 1
    assert storage.get(kept).read() == b"kept"


def test_an_upload_whose_client_has_gone_is_no_fault_of_the_storage(storage: GridFSStorage, database: Any) -> None:
    """Also in the middle, when chunks are there already."""
    with pytest.raises(InvalidContent, match="the client has gone"):
        storage.create(BreakingFile(20 * CHUNK))
    assert database["filedepot.chunks"].count_documents({}) == 0


def test_an_index_that_another_program_has_made_is_taken(server: Server, database: Any) -> None:
    """With a name or options of its own, which the server says; and nothing else that it says is passed over."""
    for code, stored in ((85, True), (86, True), (13, False)):
        storage = server.storage(database)
        with pytest.MonkeyPatch.context() as patch:
            failing(storage, patch, "chunks.create_index", OperationFailure("is there", code), 0)
            if stored:
                assert storage.exists(storage.create(b"x"))
            else:
                with pytest.raises(StorageFailed, match=r"make the indexes of 'filedepot'.*access is denied"):
                    storage.create(b"x")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OperationFailure("Authentication failed.", 18), "credentials are refused"),
        (OperationFailure("not authorized on app", 13), "access is denied.*readWrite"),
        (WaitQueueTimeoutError("waiting"), "maxPoolSize"),
        (AutoReconnect("reset"), r"the connection broke \(AutoReconnect\)"),
    ],
)
def test_errors_say_what_to_do(
    storage: GridFSStorage, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """They name file, collection and database, and keep their cause."""
    failing(storage, monkeypatch, "files.find_one", error, 0)
    file_id = new_file_id()
    with pytest.raises(StorageFailed, match=rf"{file_id} of 'filedepot' in database 'test_.*{said}") as caught:
        storage.exists(file_id)
    assert caught.value.__cause__ is error


SECRET: Final = "hunter2"


def test_a_server_that_is_not_there_is_said_to_be_and_no_password_is_told() -> None:
    """Not before the first use; with pymongo itself."""
    uri = f"mongodb://me:{SECRET}@127.0.0.1:9/app?serverSelectionTimeoutMS=1&connectTimeoutMS=100"
    with temporary_depots():
        options = {"depot.backend": "depot.io.gridfs.GridFSStorage", "depot.mongouri": uri}
        storage = DepotManager.configure("default", options)
        assert isinstance(storage, GridFSStorage)
        try:
            attempts: list[Callable[[], object]] = [
                lambda: storage.create(b"x"),
                lambda: list(storage.list()),
            ]
            for attempt in attempts:
                with pytest.raises(StorageFailed, match="no server that can do it is reached") as caught:
                    attempt()
                assert SECRET not in f"{caught.value} {caught.value.__cause__} {caught.value!r}"
            assert SECRET not in f"{storage!r} {storage.location}"
        finally:
            storage.close()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "mongouri or client, got neither"),
        ({"mongouri": f"mongodb://me:{SECRET}@h/app", "client": object()}, "mongouri or client, got both"),
        ({"mongouri": f"mongodb://me:{SECRET}@h"}, "names no database"),
        ({"mongouri": f"mongodb://me:{SECRET}@h/?w=1"}, "names no database"),
        ({"mongouri": f"http://me:{SECRET}@h/app"}, "a URI such as 'mongodb://host/database'"),
        ({"mongouri": f"mongodb://me:{SECRET}%zz@h/app"}, "quote_plus"),
        ({"mongouri": f"mongodb://me:{SECRET}@h:port/app"}, "is invalid"),
        ({"mongouri": "mongodb://h/app", "collection": ""}, "collection=''"),
        ({"mongouri": "mongodb://h/app", "collection": "a$b"}, "collection='a\\$b'"),
        ({"mongouri": "mongodb://h/app", "concurrency": "0"}, "concurrency"),
        ({"mongouri": "mongodb://h/app", "executor": 3}, "executor"),
        ({"mongouri": "mongodb://h/app", "bucket": "b"}, "unknown option 'bucket'"),
    ],
)
def test_a_bad_option_is_named_and_no_secret_told(options: dict[str, Any], named: str) -> None:
    with temporary_depots(), pytest.raises(ConfigurationError, match=named) as caught:
        DepotManager.configure("default", {"backend": "depot_lite.io.gridfs.GridFSStorage", **options}, prefix="")
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"
    assert str(caught.value).startswith("depot 'default'")


def test_writes_that_nobody_acknowledges_are_refused() -> None:
    storage = GridFSStorage("mongodb://127.0.0.1:9/app?w=0&connect=false")
    with pytest.raises(ConfigurationError, match="w=0"):
        storage.create(b"x")
    storage.close()


def test_options_that_pymongo_refuses_later_tell_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(uri: str) -> None:
        raise ValueError(f"cannot use {uri}")

    monkeypatch.setattr(gridfsclient, "MongoClient", refuse)
    storage = GridFSStorage(f"mongodb+srv://me:{SECRET}@example.com/app")
    with pytest.raises(ConfigurationError, match="pymongo makes no client of mongouri: ValueError") as caught:
        storage.exists(new_file_id())
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# --- the client -------------------------------------------------------------------------------------------------------


def test_the_database_is_the_uris_or_the_one_that_is_given() -> None:
    """As pymongo understands it."""
    for uri, given, database in (
        ("mongodb://h1,h2:27018/app?replicaSet=r", None, "app"),
        ("mongodb://h/my%2Dapp", None, "my-app"),
        ("mongodb://h/app.collection", None, "app"),
        ("mongodb+srv://me:x@example.com/app?retryWrites=true", None, "app"),
        ("mongodb://h/app", "other", "other"),
        ("mongodb://h", "other", "other"),
    ):
        storage = GridFSStorage(uri, "media", database=given)
        assert storage.location == ("gridfs", database, "media")
        assert repr(storage) == f"GridFSStorage(database={database!r}, collection='media')"


class _Client(dict[str, Any]):
    """Stands for a MongoClient: databases by name."""

    def __init__(self, uri: str, databases: Any) -> None:
        self.closed = False
        self._databases = databases

    def __getitem__(self, name: str) -> Any:
        return self._databases[name]

    def close(self) -> None:
        self.closed = True


def test_another_server_may_show_the_files(server: Server, database: Any) -> None:
    """Below an address, by their ids."""
    storage = server.storage(database, public_base_url="https://cdn.example.org/m/")
    file_id = storage.create(b"x")
    assert storage.url(file_id) == storage.public_url(file_id) == f"https://cdn.example.org/m/{file_id}"


@pytest.fixture
def clients(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[_Client]:
    """The clients that are made, in order."""
    made: list[_Client] = []

    def make(uri: str) -> _Client:
        made.append(_Client(uri, server.client))
        return made[-1]

    monkeypatch.setattr(gridfsclient, "MongoClient", make)
    return made


def test_a_client_is_made_when_it_is_wanted_and_closed_on_request(clients: list[_Client], database: Any) -> None:
    storage = GridFSStorage(f"mongodb://h/{database.name}")
    assert clients == []
    file_id = storage.create(b"x")
    assert storage.exists(file_id)
    assert [each.closed for each in clients] == [False]
    storage.close()
    storage.close()
    assert [each.closed for each in clients] == [True]
    assert storage.get(file_id).read() == b"x"
    assert [each.closed for each in clients] == [True, False]


def test_a_client_made_before_a_fork_is_not_used_after_it(
    clients: list[_Client], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor closed: that would end the parent's."""
    storage = GridFSStorage(f"mongodb://h/{database.name}")
    file_id = storage.create(b"x")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert storage.exists(file_id)
    assert len(clients) == 2
    storage.close()
    assert [each.closed for each in clients] == [False, True]


def test_a_client_that_was_handed_over_is_not_closed(server: Server, database: Any) -> None:
    storage = server.storage(database)
    file_id = storage.create(b"x")
    storage.close()
    assert storage.exists(file_id)
    assert server.client[database.name]["filedepot.files"].count_documents({}) == 1


# --- filedepot --------------------------------------------------------------------------------------------------------


@pytest.fixture
def filedepots(server: Server, database: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Filedepot's storage in the same database."""
    module = pytest.importorskip("depot.io.gridfs")

    class Client:
        def get_default_database(self) -> Any:
            return database

    monkeypatch.setattr(module, "MongoClient", lambda uri: Client())
    return module.GridFSStorage("mongodb://h/app")


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_what_filedepot_wrote_is_read_listed_replaced_and_deleted(
    storage: GridFSStorage, filedepots: Any, database: Any
) -> None:
    """By its id, which is that of an ObjectId, and by the UUID that stands for it."""
    data = some_bytes(3 * CHUNK)
    old, other = filedepots.create(data, "Grüße.txt", "text/plain"), filedepots.create(b"other")
    file_id, ours = id_of_object_id(old), storage.create(b"ours")
    for each in (old, file_id):
        with storage.get(each) as file:
            assert (file.read(), file.filename, file.content_type) == (data, "Grüße.txt", "text/plain")
            assert (file.file_id, file.checksum) == (file_id, None)
            assert abs(datetime.now(UTC) - file.last_modified) < timedelta(minutes=5)
        assert storage.exists(each)
    listed = {each: each.size for each in storage.list()}
    assert listed == {file_id: len(data), id_of_object_id(other): 5, ours: 4}
    copied = storage.copy(old)
    assert storage.get(copied).read() == data
    for content in (b"new", b"newer"):
        assert storage.replace(old, content) == file_id
        assert not filedepots.exists(old)
        assert (storage.get(old).read(), storage.get(old).filename) == (content, "Grüße.txt")
    assert sorted(storage.list()) == sorted([*listed, copied])
    assert storage.delete_many([old, other]) == {}
    assert not storage.exists(file_id)
    assert sorted(storage.list()) == sorted([ours, copied])
    assert database["filedepot.chunks"].count_documents({}) == 1 + 3


def test_a_file_of_filedepots_is_kept_as_a_backup_and_restored(
    storage: GridFSStorage, filedepots: Any, tmp_path: Path
) -> None:
    """In a storage of any kind, under the UUID."""
    backup: FileStorage = LocalFileStorage(tmp_path / "backup", durable=False)
    old = filedepots.create(b"old", "a.txt")
    backup.save_from(storage, old, file_id=old)
    assert list(backup.list()) == list(storage.list()) == [id_of_object_id(old)]
    storage.delete(old)
    storage.save_from(backup, old, file_id=old)
    assert storage.get(old).read() == b"old"
