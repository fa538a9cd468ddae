"""Storages whose servers do not answer, answer slowly, or stop in the middle."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.config import Config
from google.api_core.exceptions import ServiceUnavailable
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from depot_lite import DepotManager
from depot_lite.errors import StorageFailed, StorageTimeout, StoredFileNotFound
from depot_lite.io.boto3 import S3Storage
from depot_lite.io.composite import CompositeStorage
from depot_lite.io.composite.fallback import FallbackStorage
from depot_lite.io.composite.mirror import MirrorStorage
from depot_lite.io.fileid import new_file_id
from depot_lite.io.gcs import GCSStorage
from depot_lite.io.gridfs import GridFSStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.io.objects.silence import Patience, Silence
from depot_lite.io.objectstore import ObjectStoreStorage
from depot_lite.maintenance import find_missing
from depot_lite.testing import some_bytes, temporary_depots
from tests.io.backends import Servers
from tests.io.gcs_server import emulator, signing
from tests.io.hung import SilentServer, deaf_server, silent_server
from tests.io.s3_proxy import Fault, S3Proxy
from tests.io.s3_server import moto_server
from tests.support.models import Base, Document

MB: Final = 1024 * 1024
#: How much longer than the timeout a call may take, because the machine has other work.
SLACK: Final = 4.0
KINDS: Final = ("s3", "gcs", "obstore", "gridfs")


def storage_at(kind: str, address: str, timeout: float = 0.9, *, scheme: str = "http", **more: Any) -> Any:
    """Return a storage on a server, with its client, which takes a second to make."""
    storage = _storage_at(kind, address, timeout, scheme, more)
    storage.url(new_file_id())
    _made.append(storage)
    return storage


_made: Final[list[Any]] = []


@pytest.fixture(autouse=True)
def _closing() -> Iterator[None]:
    """Close the clients of MongoDB, which have threads."""
    yield
    while _made:
        storage = _made.pop()
        if isinstance(storage, GridFSStorage):
            storage.close()


def _storage_at(kind: str, address: str, timeout: float, scheme: str, more: dict[str, Any]) -> Any:
    url, options = f"{scheme}://{address}", {"timeout": timeout, **more}
    if kind == "gridfs":
        return GridFSStorage(f"mongodb://{address}/app", timeout=timeout)
    options = {"copy_timeout": timeout, **options}
    if kind == "gcs":
        return GCSStorage(bucket="bucket", credentials=signing(), endpoint_url=url, **options)
    if kind == "s3":
        return S3Storage("key", "secret", "bucket", "us-east-1", endpoint_url=url, **options)
    config = {"access_key_id": "key", "secret_access_key": "secret", "region": "us-east-1", "endpoint": url}
    return ObjectStoreStorage("s3://bucket", config=config, client_options={"allow_http": True}, **options)


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with silent_server() as server:
        yield server


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + SLACK


CALLS: Final[dict[str, Callable[[Any], object]]] = {
    "create": lambda storage: storage.create(b"x"),
    "create in parts": lambda storage: storage.create(bytes(9 * MB)),
    "get": lambda storage: storage.get(new_file_id()).read(),
    "exists": lambda storage: storage.exists(new_file_id()),
    "list": lambda storage: list(storage.list()),
    "copy": lambda storage: storage.copy(new_file_id()),
    "delete": lambda storage: storage.delete(new_file_id()),
    "replace": lambda storage: storage.replace(new_file_id(), b"x"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_calls_to_a_silent_server_end(silent: SilentServer, kind: str, call: str) -> None:
    storage = storage_at(kind, silent.address)
    with within(0.9), pytest.raises(StorageTimeout):
        CALLS[call](storage)


@pytest.mark.parametrize("kind", KINDS)
def test_many_deletions_on_a_silent_server_end(silent: SilentServer, kind: str) -> None:
    """Not one after the other, and not batch by batch."""
    storage, doomed = storage_at(kind, silent.address), [new_file_id() for _ in range(5000)]
    with within(0.9):
        failed = storage.delete_many(doomed)
    assert failed.keys() == {*doomed}
    assert {type(each) for each in failed.values()} == {StorageTimeout}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", ["create", "get", "delete"])
def test_calls_to_a_server_that_takes_no_connection_end(kind: str, call: str) -> None:
    with deaf_server() as address, within(0.9), pytest.raises(StorageTimeout):
        CALLS[call](storage_at(kind, address))


@pytest.mark.parametrize("kind", ["s3", "gcs", "obstore"])
def test_a_handshake_that_hangs_ends(silent: SilentServer, kind: str) -> None:
    with within(0.9), pytest.raises(StorageTimeout):
        storage_at(kind, silent.address, scheme="https").create(b"x")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("address", ["127.0.0.1:1", "nobody.invalid:80"], ids=["refused", "no name"])
def test_where_nobody_is_calls_end_as_soon(kind: str, address: str) -> None:
    storage, doomed = storage_at(kind, address), [new_file_id() for _ in range(3000)]
    with within(0.9), pytest.raises(StorageFailed) as caught:
        storage.create(b"x")
    assert caught.value.is_down
    with within(0.9):
        assert storage.delete_many(doomed).keys() == {*doomed}


@pytest.mark.parametrize("kind", ["s3", "gcs", "obstore"])
def test_a_proxy_that_hangs_is_given_up(silent: SilentServer, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", silent.url)
    monkeypatch.setenv("http_proxy", silent.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with within(0.9), pytest.raises(StorageTimeout):
        storage_at(kind, "192.0.2.1:80").exists(new_file_id())
    assert silent.count


@pytest.mark.parametrize("kind", ["s3", "gcs", "obstore"])
def test_many_threads_wait_no_longer_than_one(silent: SilentServer, kind: str) -> None:
    storage = storage_at(kind, silent.address)

    def call(_: int) -> None:
        with pytest.raises(StorageTimeout):
            storage.get(new_file_id())

    with ThreadPoolExecutor(40) as pool, within(3):
        list(pool.map(call, range(40)))


@pytest.mark.parametrize("kind", ["s3", "gcs", "obstore"])
def test_urls_and_forms_make_no_request(silent: SilentServer, kind: str) -> None:
    storage = storage_at(kind, silent.address)
    assert storage.url(new_file_id())
    storage.public_url(new_file_id())
    storage.upload_form(new_file_id(), max_size=10)
    assert silent.count == 0


def test_options_of_the_client_win(silent: SilentServer) -> None:
    config = Config(read_timeout=0.2, retries={"total_max_attempts": 4})
    storage = storage_at("s3", silent.address, timeout=60, connection_kwargs={"config": config})
    with within(3), pytest.raises(StorageTimeout):
        storage.exists(new_file_id())
    assert silent.count == 4


# --- servers that stop in the middle, or are slow -----------------------------------------------------------------


@contextmanager
def behind_a_proxy(kind: str, servers: Servers, timeout: float, **more: object) -> Iterator[tuple[Any, S3Proxy]]:
    server = servers.get(emulator if kind == "gcs" else moto_server)
    with server.bucket() as bucket, S3Proxy(server.url) as proxy:
        options: dict[str, Any] = {"timeout": timeout, "copy_timeout": timeout, **more}
        if kind == "gcs":
            storage: Any = server.storage(bucket, endpoint_url=proxy.url, **options)
        elif kind == "s3":
            sizes = {"multipart_threshold": 5 * MB, "multipart_chunksize": 5 * MB}
            storage = server.storage(bucket, **{"endpoint_url": proxy.url, "transfer_config": sizes, **options})
        else:
            keys = {"access_key_id": "test", "secret_access_key": "testsecret", "region": "us-east-1"}
            config, client = {**keys, "endpoint": proxy.url}, {"allow_http": True}
            storage = ObjectStoreStorage(f"s3://{bucket}", config=config, client_options=client, **options)
        yield storage, proxy
        proxy.recover()
        assert server.uploads(bucket) == []


on_kinds = pytest.mark.parametrize("kind", ["s3", "gcs", "obstore"])


@on_kinds
def test_a_slow_download_goes_on_beyond_the_timeout(kind: str, servers: Servers) -> None:
    with behind_a_proxy(kind, servers, 3.0) as (storage, proxy):
        file_id = storage.create(some_bytes(300_000))
        proxy.taken()
        proxy.fail(Fault.SLOW_ANSWER, "GET")
        began = time.monotonic()
        assert storage.get(file_id).read() == some_bytes(300_000)
        assert time.monotonic() - began > 3
        assert proxy.taken() == ["GET"]


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_a_slow_upload_goes_on_beyond_the_timeout(kind: str, servers: Servers) -> None:
    """It is large enough to be seen moving: sockets take some megabytes at once. obstore does not look."""
    whole = {"transfer_config": {"multipart_threshold": 64 * MB}} if kind == "s3" else {"chunk_size": 64 * MB}
    with behind_a_proxy(kind, servers, 6.0, **whole) as (storage, proxy):
        proxy.fail(Fault.SLOW_REQUEST, "PUT")
        began = time.monotonic()
        file_id = storage.create(some_bytes(32 * MB))
        assert time.monotonic() - began > 3
        assert proxy.taken().count("PUT") == 1
        assert storage.get(file_id).read() == some_bytes(32 * MB)


@on_kinds
def test_a_download_that_stalls_is_resumed(kind: str, servers: Servers) -> None:
    data = some_bytes(2 * MB)
    with behind_a_proxy(kind, servers, 3.0) as (storage, proxy):
        file_id = storage.create(data)
        proxy.fail(Fault.STALL_ANSWER, "GET", after=MB)
        assert storage.get(file_id).read() == data
        assert proxy.pending() == 0


@on_kinds
def test_a_download_that_stalls_for_good_is_given_up(kind: str, servers: Servers) -> None:
    with behind_a_proxy(kind, servers, 3.0) as (storage, proxy):
        file_id = storage.create(some_bytes(2 * MB))
        proxy.fail(Fault.STALL_ANSWER, "GET", after=MB)
        proxy.fail(Fault.HANG, "GET", times=9)
        with within(3.0), storage.get(file_id) as file, pytest.raises(StorageTimeout):
            file.read()
        proxy.recover()
        proxy.fail(Fault.STALL_ANSWER, "GET", times=9)
        with within(3.0), pytest.raises(StorageTimeout):
            storage.get(file_id).read()


@on_kinds
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.STALL_REQUEST])
@pytest.mark.parametrize("size", [1000, 11 * MB])
def test_an_upload_that_stalls_is_given_up_and_leaves_nothing(
    kind: str, fault: Fault, size: int, servers: Servers
) -> None:
    with behind_a_proxy(kind, servers, 1.5) as (storage, proxy):
        for method in ("PUT", "POST"):
            proxy.fail(fault, method, containing="partNumber" if size > MB and kind != "gcs" else "", times=9)
        with within(1.5), pytest.raises(StorageTimeout):
            storage.create(some_bytes(size))
        assert "HEAD" not in proxy.taken()
        proxy.recover()
        assert list(storage.list()) == []


def test_a_completion_has_a_timeout_of_its_own(servers: Servers) -> None:
    """And fails when that is over, too; the upload is aborted."""
    server = servers.get(moto_server)
    sizes = {"multipart_threshold": 5 * MB, "multipart_chunksize": 5 * MB}
    with server.bucket() as bucket, S3Proxy(server.url) as proxy:
        options = {"endpoint_url": proxy.url, "transfer_config": sizes, "timeout": 1.5}
        patient = server.storage(bucket, copy_timeout=30, **options)
        proxy.fail(Fault.SLOW_REQUEST, "POST", containing="uploadId")
        file_id = patient.create(some_bytes(11 * MB))
        assert list(patient.list()) == [file_id]
        hasty = server.storage(bucket, copy_timeout=0.5, **options)
        proxy.fail(Fault.HANG, "POST", containing="uploadId", times=9)
        with within(1.5), pytest.raises(StorageTimeout):
            hasty.create(some_bytes(11 * MB))
        assert server.uploads(bucket) == []


def test_a_listing_that_stalls_is_given_up(servers: Servers) -> None:
    with behind_a_proxy("s3", servers, 1.5) as (storage, proxy):
        storage.create(b"x")
        proxy.fail(Fault.STALL_ANSWER, "GET", times=9, after=10)
        with within(1.5), pytest.raises(StorageTimeout):
            list(storage.list())


@pytest.mark.parametrize("kind", ["s3", "gcs"])
@pytest.mark.parametrize("call", ["delete", "delete_many", "copy"])
def test_what_is_asked_once_is_repeated_if_the_connection_broke_at_once(kind: str, call: str, servers: Servers) -> None:
    """As one does that was kept while the server restarted. After a COMMIT, nobody would delete the file again."""
    with behind_a_proxy(kind, servers, 6.0) as (storage, proxy):
        file_ids = [storage.create(b"x") for _ in range(2)]
        for method in ("POST", "DELETE", "PUT"):
            proxy.fail(Fault.CUT_REQUEST, method)
        if call == "copy":
            assert storage.get(storage.copy(file_ids[0])).read() == b"x"
        elif call == "delete":
            storage.delete(file_ids[0])
            assert not storage.exists(file_ids[0])
        else:
            assert storage.delete_many(file_ids) == {}
            assert list(storage.list()) == []
        assert proxy.pending() < 3


def test_a_slow_request_that_fails_in_passing_is_repeated() -> None:
    """A piece may take longer to be sent than requests are repeated for."""
    storage, attempts = storage_at("gcs", "127.0.0.1:1", 0.3), []

    def send() -> str:
        attempts.append(threading.Event().wait(0.3))
        if len(attempts) == 1:
            raise ServiceUnavailable("try again")  # type: ignore[no-untyped-call]  # Google's own lack
        return "sent"

    assert storage._connection.repeated(send) == "sent"
    assert len(attempts) == 2


def test_a_silence_begins_after_the_last_answer() -> None:
    """A request that took five minutes in vain says nothing of the server that has answered others meanwhile."""
    silence, began = Silence(Patience(60.0, 300.0)), time.monotonic() - 300
    silence.heard()
    assert silence.missed(began) < 5
    silence.check("delete")
    unheard = Silence(Patience(60.0, 300.0))
    assert unheard.missed(began) >= 300
    with pytest.raises(StorageTimeout):
        unheard.check("delete")


# --- flushes ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A database in memory, whose connection is closed: Python 3.13 warns of one that is not."""
    made = create_engine("sqlite://")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 10, 100])
def test_a_flush_against_a_silent_server_ends(engine: Engine, silent: SilentServer, kind: str, count: int) -> None:
    """With its rollback, however many files it has."""
    with temporary_depots():
        DepotManager.configure("default", storage_at(kind, silent.address))
        with Session(engine) as session, within(0.9):
            session.add_all([Document(content=b"%d" % each) for each in range(count)])
            with pytest.raises(StorageTimeout):
                session.flush()
            session.rollback()
            assert session.scalars(select(Document)).all() == []


@pytest.mark.parametrize("kind", ["s3", "obstore"])
def test_an_asynchronous_flush_against_a_silent_server_ends(silent: SilentServer, kind: str, tmp_path: Path) -> None:
    async def flush() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'db'}")
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            session.add_all([Document(content=b"%d" % each) for each in range(30)])
            with pytest.raises(StorageTimeout):
                await session.commit()
            await session.rollback()
        await engine.dispose()

    with temporary_depots(), within(0.9):
        DepotManager.configure("default", storage_at(kind, silent.address))
        asyncio.run(flush())


def test_a_file_that_was_stored_without_an_answer_is_deleted_once(engine: Engine, servers: Servers) -> None:
    """No row names it, and the next attempt stores another one."""
    with behind_a_proxy("s3", servers, 1.5) as (storage, proxy), temporary_depots():
        DepotManager.configure("default", storage)
        with Session(engine) as session:
            session.add(document := Document(content=b"late"))
            proxy.fail(Fault.SILENCE, "PUT", times=2)
            with pytest.raises(StorageTimeout):
                session.commit()
            session.rollback()
            assert proxy.taken() == ["PUT", "PUT", "POST"]
            assert list(storage.list()) == []
            session.add(document)
            session.commit()
            assert document.content is not None
            assert list(storage.list()) == [document.content.file_id]
            assert document.content.file.read() == b"late"


# --- parts of composite storages ------------------------------------------------------------------------------------


def test_a_mirror_remembers_that_a_part_is_down(silent: SilentServer) -> None:
    """It reads from the others at once, says of no file that it is missing, and stores none."""
    near, file_id = MemoryFileStorage(), new_file_id()
    near.create(b"near", file_id=file_id)
    mirror = MirrorStorage(storage_at("s3", silent.address), near, retry_after=60)
    with pytest.raises(StorageTimeout):
        mirror.create(b"x")
    asked = silent.count
    with within(0):
        assert mirror.get(file_id).read() == b"near"
        for call in (mirror.get, mirror.exists, lambda missing: mirror.entry(missing).size):
            with pytest.raises(StorageFailed) as caught:
                call(new_file_id())
            assert not isinstance(caught.value, StoredFileNotFound)
        with pytest.raises(StorageFailed, match="is down"):
            mirror.create(b"x")
        with pytest.raises(StorageFailed, match="is down"):
            list(mirror.list())
        assert mirror.delete_many([file_id]).keys() == {file_id}
    assert silent.count == asked
    assert list(near.list()) == []


def test_a_fallback_remembers_that_a_part_is_down(silent: SilentServer) -> None:
    new, file_id = MemoryFileStorage(), new_file_id()
    new.create(b"new", file_id=file_id)
    fallback = FallbackStorage(new, storage_at("gcs", silent.address), retry_after="1m")
    with pytest.raises(StorageTimeout):
        fallback.get(new_file_id())
    asked = silent.count
    with within(0):
        assert fallback.get(file_id).read() == b"new"
        fallback.create(b"x")
        for call in (fallback.get, fallback.exists, fallback.copy):
            with pytest.raises(StorageFailed) as caught:
                call(new_file_id())
            assert not isinstance(caught.value, StoredFileNotFound)
    assert silent.count == asked


def test_rows_whose_storage_is_down_are_not_missing(engine: Engine, silent: SilentServer) -> None:
    near = MemoryFileStorage()
    with temporary_depots():
        DepotManager.configure("default", near)
        with Session(engine) as session:
            session.add(document := Document(content=b"x"))
            session.commit()
            assert document.content is not None
            near.delete(document.content.file_id)
    with temporary_depots():
        DepotManager.configure("default", MirrorStorage(near, storage_at("s3", silent.address)))
        for _ in range(2):
            with pytest.raises(StorageFailed):
                find_missing(engine, models=[Base])


@pytest.mark.matrix
@pytest.mark.parametrize("kind", [MirrorStorage, FallbackStorage])
def test_a_part_that_stops_in_the_middle_of_a_file_is_down(kind: type[CompositeStorage], servers: Servers) -> None:
    with behind_a_proxy("s3", servers, 1.5) as (storage, proxy):
        near = MemoryFileStorage()
        composite, data = kind(storage, near, retry_after=60), some_bytes(2 * MB)
        file_id = composite.create(data)
        proxy.taken()
        proxy.fail(Fault.STALL_ANSWER, "GET", after=MB)
        proxy.fail(Fault.HANG, "GET", times=9)
        with composite.get(file_id) as file, pytest.raises(StorageTimeout):
            file.read()
        proxy.taken()
        if kind is MirrorStorage:
            assert composite.get(file_id).read() == data
        else:
            with pytest.raises(StorageTimeout, match="is down"):
                composite.get(file_id)
        assert proxy.taken() == []


def test_an_answer_that_is_no_outage_is_not_remembered(servers: Servers) -> None:
    with behind_a_proxy("s3", servers, 1.5) as (storage, proxy):
        fallback = FallbackStorage(storage, MemoryFileStorage(), retry_after=60)
        file_id = fallback.create(b"x")
        proxy.fail(Fault.DENIED, "GET", times=9)
        with pytest.raises(StorageFailed, match="denied"):
            fallback.get(file_id)
        proxy.recover()
        assert fallback.get(file_id).read() == b"x"
