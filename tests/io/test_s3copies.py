"""Files that one S3Storage gets from another: by the server where it can, else through this process. On moto."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.config import Config

from depot_lite.errors import StorageFailed, StoredFileNotFound
from depot_lite.io.boto3 import S3Storage
from depot_lite.io.fileid import new_file_id
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.testing import some_bytes
from tests.io.s3_proxy import Fault, S3Proxy
from tests.io.s3_server import Requests, Server, moto_server

MB = 1024 * 1024
PARTS = {"multipart_threshold": 5 * MB, "multipart_chunksize": 5 * MB}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with moto_server() as made:
        yield made


@pytest.fixture
def buckets(server: Server) -> Iterator[tuple[str, str]]:
    with server.bucket() as first, server.bucket() as second:
        yield first, second


@pytest.fixture
def source(server: Server, buckets: tuple[str, str]) -> S3Storage:
    return server.storage(buckets[0], prefix="a/", transfer_config=PARTS)


@pytest.fixture
def target(server: Server, buckets: tuple[str, str]) -> S3Storage:
    return server.storage(buckets[1], prefix="b/", transfer_config=PARTS)


def known_of(storage: S3Storage, file_id: str) -> tuple[bytes, str, str, str | None]:
    with storage.get(file_id) as file:
        return file.read(), file.filename, file.content_type, file.checksum


@pytest.mark.parametrize("size", [0, 1000, 6 * MB])
def test_the_server_copies_by_itself(source: S3Storage, target: S3Storage, size: int) -> None:
    """One look at the source and one copy; no byte comes here."""
    data = some_bytes(size)
    file_id = source.create(data, "ü.txt", "application/x-a")
    asked, done = Requests(source), Requests(target)
    info = target.save_from(source, file_id)
    assert (asked.taken(), done.taken()) == ({"HeadObject": 1}, {"CopyObject": 1})
    checksum = f"crc32:{zlib.crc32(data):08x}" if size < 5 * MB else info.checksum
    assert known_of(target, info.file_id) == (data, "ü.txt", "application/x-a", checksum)
    assert (info.filename, info.content_length, info.checksum) == ("ü.txt", size, checksum)
    assert known_of(source, file_id)[0] == data


def test_what_is_there_already_costs_two_looks(source: S3Storage, target: S3Storage) -> None:
    file_id = source.create(b"bytes", "a.txt")
    target.save_from(source, file_id, file_id=file_id)
    asked, done = Requests(source), Requests(target)
    assert target.save_from(source, file_id, file_id=file_id).file_id == file_id
    assert (asked.taken(), done.taken()) == ({"HeadObject": 1}, {"HeadObject": 1})


def test_settings_of_the_target_count(server: Server, buckets: tuple[str, str], source: S3Storage) -> None:
    """Its headers and its metadata are those that a new file would get."""
    options = {"CacheControl": "max-age=7", "Metadata": {"of": "target"}}
    target = server.storage(buckets[1], upload_metadata=options)
    file_id = target.save_from(source, source.create(b"%PDF-1.7", "a.pdf")).file_id
    found = server.client().head_object(Bucket=buckets[1], Key=file_id)
    assert (found["CacheControl"], found["Metadata"]["of"]) == ("max-age=7", "target")
    assert "a.pdf" in found["ContentDisposition"]


@pytest.mark.parametrize("size", [1000, 6 * MB])
def test_what_the_server_refuses_to_copy_is_read_and_stored(
    server: Server, buckets: tuple[str, str], size: int
) -> None:
    with S3Proxy(server.url) as proxy:
        source, target = (server.storage(each, endpoint_url=proxy.url, transfer_config=PARTS) for each in buckets)
        file_id = source.create(some_bytes(size), "a.txt", "application/x-a")
        proxy.fail(Fault.DENIED, "PUT")
        info = target.save_from(source, file_id)
        assert proxy.pending() == 0
        assert known_of(target, info.file_id)[:3] == (some_bytes(size), "a.txt", "application/x-a")


def test_other_failures_of_the_server_are_raised(server: Server, buckets: tuple[str, str]) -> None:
    """Who is overloaded is not asked for twice as much."""
    config = Config(retries={"total_max_attempts": 1})
    with S3Proxy(server.url) as proxy:
        source, target = (
            server.storage(each, endpoint_url=proxy.url, connection_kwargs={"config": config}) for each in buckets
        )
        file_id = source.create(b"bytes")
        proxy.fail(Fault.BUSY, "PUT")
        with pytest.raises(StorageFailed, match="overloaded"):
            target.save_from(source, file_id)
        assert list(target.list()) == []


def test_a_copy_whose_answer_is_lost_is_there(server: Server, buckets: tuple[str, str]) -> None:
    config = Config(retries={"total_max_attempts": 1})
    with S3Proxy(server.url) as proxy:
        source, target = (
            server.storage(each, endpoint_url=proxy.url, connection_kwargs={"config": config}) for each in buckets
        )
        file_id = source.create(b"bytes")
        proxy.fail(Fault.LOSE_ANSWER, "PUT")
        assert known_of(target, target.save_from(source, file_id).file_id)[0] == b"bytes"


def test_two_servers_do_not_copy_from_each_other(server: Server, buckets: tuple[str, str]) -> None:
    with S3Proxy(server.url) as proxy:
        source, target = server.storage(buckets[0]), server.storage(buckets[1], endpoint_url=proxy.url)
        file_id = source.create(b"bytes", "a.txt")
        asked, done = Requests(source), Requests(target)
        info = target.save_from(source, file_id)
        assert (asked.taken(), done.taken()) == ({"GetObject": 1}, {"PutObject": 1})
        assert known_of(target, info.file_id)[:2] == (b"bytes", "a.txt")


def test_a_bucket_that_is_not_there_is_said(server: Server, source: S3Storage) -> None:
    file_id = source.create(b"bytes")
    with pytest.raises(StorageFailed, match="no such bucket"):
        server.storage("no-such-bucket-anywhere").save_from(source, file_id)
    with pytest.raises(StorageFailed, match="no bucket"):
        source.save_from(server.storage("no-such-bucket-anywhere"), file_id)
    with pytest.raises(StoredFileNotFound):
        source.save_from(server.storage(source._bucket), new_file_id())


@pytest.mark.parametrize("mode", ["when_required", "when_supported"])
def test_a_large_file_of_another_kind_keeps_its_checksum(
    server: Server, buckets: tuple[str, str], tmp_path: Path, mode: str
) -> None:
    """Its parts are sent with the checksum that the source knows, so the second time it is known to be there."""
    config = Config(request_checksum_calculation=mode)
    target = server.storage(buckets[0], transfer_config=PARTS, connection_kwargs={"config": config})
    data = some_bytes(11 * MB)
    for source in (MemoryFileStorage(), LocalFileStorage(tmp_path)):
        file_id = source.create(data, "a.bin")
        info = target.save_from(source, file_id, file_id=file_id)
        assert known_of(target, file_id)[0] == data
        assert target.get(file_id).checksum == info.checksum == source.get(file_id).checksum
        done = Requests(target)
        target.save_from(source, file_id, file_id=file_id)
        assert done.taken() == {"HeadObject": 1}


def test_a_large_damaged_file_leaves_no_upload(server: Server, buckets: tuple[str, str], tmp_path: Path) -> None:
    source = LocalFileStorage(tmp_path)
    target = server.storage(buckets[0], transfer_config=PARTS)
    file_id = source.create(some_bytes(11 * MB))
    path = source.get(file_id).local_path
    assert path is not None
    with path.open("r+b") as file:
        file.write(b"?")
    with pytest.raises(StorageFailed, match="damaged"):
        target.save_from(source, file_id)
    assert list(target.list()) == server.uploads(buckets[0]) == []
