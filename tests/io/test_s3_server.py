"""S3Storage on a real server, which refuses what moto lets pass; over HTTP and behind TLS.

It is Ceph's radosgw in CI; any server does whose address is in DEPOT_TEST_S3_URL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from botocore import UNSIGNED
from botocore.config import Config

from depot_lite.errors import StorageFailed, StoredFileNotFound
from depot_lite.io.boto3 import S3Storage
from depot_lite.io.fileid import new_file_id
from depot_lite.testing import BreakingFile, StorageContract, some_bytes
from tests.io.s3_proxy import Fault, S3Proxy
from tests.io.s3_server import Requests, Server, real_server

MB = 1024 * 1024


@pytest.fixture(scope="module")
def server() -> Server:
    return real_server()


@pytest.fixture
def bucket(server: Server) -> Iterator[str]:
    with server.bucket() as name:
        yield name


@pytest.fixture
def storage(server: Server, bucket: str) -> S3Storage:
    return server.storage(bucket)


class TestS3StorageOnARealServer(StorageContract):
    @pytest.fixture(autouse=True)
    def _where(self, server: Server, bucket: str) -> None:
        self.server, self.bucket = server, bucket

    def make_storage(self, tmp_path: Path) -> S3Storage:
        return self.server.storage(self.bucket, prefix="media/")


class TestS3StorageBehindTLS(StorageContract):
    @pytest.fixture(autouse=True)
    def _where(self, server: Server, bucket: str, tmp_path: Path) -> Iterator[None]:
        certificate = tmp_path / "tls.pem"
        with S3Proxy(server.url, tls=certificate) as proxy:
            self.server, self.bucket, self.url, self.certificate = server, bucket, proxy.url, certificate
            yield

    def make_storage(self, tmp_path: Path) -> S3Storage:
        arguments = {"verify": str(self.certificate)}
        return self.server.storage(self.bucket, endpoint_url=self.url, connection_kwargs=arguments)


def test_a_certificate_that_nobody_trusts_is_refused(server: Server, bucket: str, tmp_path: Path) -> None:
    with S3Proxy(server.url, tls=tmp_path / "tls.pem") as proxy:
        config = Config(retries={"total_max_attempts": 1})
        storage = server.storage(bucket, endpoint_url=proxy.url, connection_kwargs={"config": config})
        with pytest.raises(StorageFailed, match="SSLError"):
            storage.create(b"x")
        assert proxy.taken() == []


# --- URLs -------------------------------------------------------------------------------------------------------------


def fetched(url: str) -> tuple[int, bytes, Any]:
    """Return status, body and headers of the answer."""
    try:
        with urlopen(url, timeout=30) as answer:
            return answer.status, answer.read(), answer.headers
    except HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def test_a_signed_url_gives_the_file_and_a_plain_one_does_not(storage: S3Storage) -> None:
    """Private is the default."""
    file_id = storage.create(b"bytes", "Grüße.txt", "text/plain")
    status, body, headers = fetched(storage.url(file_id))
    assert (status, body, headers["Content-Type"]) == (200, b"bytes", "text/plain")
    assert fetched(storage.url(file_id).partition("?")[0])[0] == 403


def test_a_signed_url_says_name_disposition_and_type(storage: S3Storage) -> None:
    file_id = storage.create(b"bytes", "a.txt", "text/plain")
    name = 'b"\r\nX-Evil: 1; ü.html'
    url = storage.url(file_id, filename=name, disposition="attachment", content_type="application/x-b; charset=utf-8")
    status, body, headers = fetched(url)
    assert (status, body, headers["Content-Type"]) == (200, b"bytes", "application/x-b; charset=utf-8")
    assert headers["Content-Disposition"].startswith('attachment; filename="b_X-Evil: 1; u.html"; filename*=UTF-8')
    assert headers["X-Evil"] is None


def test_a_url_is_signed_for_the_server_as_browsers_reach_it(server: Server, bucket: str) -> None:
    """And for no other host: the application uses another address, behind the proxy."""
    with S3Proxy(server.url) as proxy:
        storage = server.storage(bucket, public_endpoint_url=proxy.url)
        file_id = storage.create(b"bytes")
        assert proxy.taken() == []
        url = storage.url(file_id, filename="ü.txt")
        assert fetched(url)[:2] == (200, b"bytes")
        assert proxy.taken() == ["GET"]
        assert fetched(url.replace(proxy.url, server.url))[0] == 403


def test_strange_prefixes_are_signed_right(server: Server, bucket: str) -> None:
    storage = server.storage(bucket, prefix="a b/ü~+c&d=e/")
    assert fetched(storage.url(storage.create(b"bytes")))[:2] == (200, b"bytes")


def test_a_url_that_has_expired_is_refused(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has nearly expired is not."""
    file_id, now = storage.create(b"x"), time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now - 3600)
        expired, alive = storage.url(file_id, expires_in=60), storage.url(file_id, expires_in=4000)
    status, body, _ = fetched(expired)
    assert (status, body == b"x") == (403, False)
    assert fetched(alive)[:2] == (200, b"x")


@pytest.mark.parametrize(
    "tamper",
    [
        lambda url, other: url.replace("X-Amz-Expires=4500", "X-Amz-Expires=604800"),
        lambda url, other: url[:-1] + ("0" if url[-1] != "0" else "1"),
        lambda url, other: url.replace(urlsplit(url).path.rpartition("/")[2], other),
        lambda url, other: url + "&response-content-type=text%2Fhtml",
    ],
    ids=["longer", "signature", "another file", "type"],
)
def test_a_url_that_was_tampered_with_is_refused(storage: S3Storage, tamper: Callable[[str, str], str]) -> None:
    file_id, other = storage.create(b"x"), storage.create(b"secret")
    url = storage.url(file_id, expires_in=3600)
    assert tamper(url, other) != url
    assert fetched(tamper(url, other))[0] == 403
    assert fetched(url)[0] == 200


def test_what_is_public_needs_no_signature(server: Server, bucket: str) -> None:
    storage = server.storage(bucket, policy="public-read")
    file_id = storage.create(b"x")
    url = storage.public_url(file_id)
    assert url is not None
    assert fetched(url)[:2] == (200, b"x")
    copied = storage.public_url(storage.copy(file_id))
    assert copied is not None
    assert fetched(copied)[:2] == (200, b"x")


# --- refusals ---------------------------------------------------------------------------------------------------------


def attempts_on(storage: S3Storage, file_id: str) -> list[Callable[[], object]]:
    return [
        lambda: storage.create(b"x"),
        lambda: storage.create(some_bytes(9 * MB)),
        lambda: storage.get(file_id),
        lambda: storage.exists(file_id),
        lambda: storage.copy(file_id),
        lambda: storage.delete(file_id),
        lambda: list(storage.list()),
    ]


def test_a_wrong_secret_is_refused_and_not_told(server: Server, bucket: str, storage: S3Storage) -> None:
    """By every method, with the bucket and the key in the message and the secret nowhere."""
    file_id = storage.create(b"x")
    wrong = server.storage(bucket, secret_access_key="hush-hush")
    for attempt in attempts_on(wrong, file_id):
        with pytest.raises(StorageFailed, match=r"refused|denied") as caught:
            attempt()
        assert bucket in str(caught.value)
        assert "hush" not in str(caught.value) + repr(caught.value.__cause__)
    assert "refused" in str(wrong.delete_many([file_id])[file_id])
    assert fetched(wrong.url(file_id))[0] == 403
    assert storage.exists(file_id)


def test_anonymous_access_is_denied(server: Server, bucket: str, storage: S3Storage) -> None:
    file_id = storage.create(b"x")
    config = Config(signature_version=UNSIGNED)
    nobody = S3Storage(
        bucket=bucket,
        region_name="us-east-1",
        endpoint_url=server.url,
        connection_kwargs={"config": config, "aws_access_key_id": "a", "aws_secret_access_key": "b"},
    )
    for attempt in attempts_on(nobody, file_id):
        with pytest.raises(StorageFailed, match="denied"):
            attempt()
    assert "?" not in nobody.url(file_id)
    assert storage.exists(file_id)


def test_no_such_bucket_is_said_by_every_method(server: Server) -> None:
    storage = server.storage("no-such-bucket-anywhere")
    for attempt in attempts_on(storage, new_file_id()):
        with pytest.raises(StorageFailed, match=r"no (such )?bucket"):
            attempt()


# --- the server -------------------------------------------------------------------------------------------------------


def test_requests_are_as_few_as_they_can_be(storage: S3Storage) -> None:
    requests = Requests(storage)
    file_id = storage.create(b"x")
    assert requests.taken() == {"PutObject": 1}
    with storage.get(file_id) as file:
        file.read()
    assert requests.taken() == {"GetObject": 1}
    copied = storage.copy(file_id)
    assert requests.taken() == {"HeadObject": 1, "CopyObject": 1}
    assert storage.delete_many([file_id, copied, new_file_id()]) == {}
    assert requests.taken() == {"DeleteObjects": 1}
    with pytest.raises(StoredFileNotFound):
        storage.get(file_id)


def test_an_upload_that_breaks_off_is_aborted(server: Server, bucket: str, storage: S3Storage) -> None:
    with pytest.raises(Exception, match="the client has gone"):
        storage.create(BreakingFile(20 * MB))
    assert list(storage.list()) == server.uploads(bucket) == []


def test_a_large_copy_is_made_in_parts(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depot_lite.io.boto3.copies._COPY_LIMIT", 6 * MB)
    monkeypatch.setattr("depot_lite.io.boto3.copies._COPY_PART", 5 * MB)
    source = storage.create(some_bytes(11 * MB), "large.bin")
    with storage.get(storage.copy(source)) as file:
        assert (file.read(), file.filename) == (some_bytes(11 * MB), "large.bin")


def test_a_bucket_is_made_at_first_use(server: Server) -> None:
    name = f"made-{new_file_id()}"
    storage = server.storage(name, create_bucket=True)
    try:
        assert list(storage.list()) == []
        storage.delete(storage.create(b"x"))
    finally:
        server.client().delete_bucket(Bucket=name)


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.CUT_REQUEST, Fault.LOSE_ANSWER])
@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("size", [1000, 17 * MB])
def test_one_fault_is_nobodys_business(server: Server, bucket: str, fault: Fault, method: str, size: int) -> None:
    """Of an upload in whole or in parts, and of its last request."""
    if method == "POST" and size == 1000:
        size = 9 * MB
    with S3Proxy(server.url) as proxy:
        storage = server.storage(bucket, endpoint_url=proxy.url)
        # Of POST, the one that completes an upload.
        proxy.fail(fault, method, containing="uploadId" if method == "POST" else "", after=500)
        file_id = storage.create(some_bytes(size))
        assert proxy.pending() == 0
        proxy.fail(Fault.CUT_ANSWER, "GET", times=2, after=size // 3)
        with storage.get(file_id) as file:
            assert file.read() == some_bytes(size)
        assert list(storage.list()) == [file_id]
    assert server.uploads(bucket) == []


# --- files of other buckets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, 11 * MB])
def test_a_file_of_another_bucket_is_copied_by_the_server(
    server: Server, storage: S3Storage, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """In whole or in parts; stored in parts or in whole."""
    monkeypatch.setattr("depot_lite.io.boto3.copies._COPY_LIMIT", 6 * MB)
    monkeypatch.setattr("depot_lite.io.boto3.copies._COPY_PART", 5 * MB)
    file_id = storage.create(some_bytes(size), "ü.bin", "application/x-a")
    with server.bucket() as other:
        target = server.storage(other, prefix="b/")
        asked, done = Requests(storage), Requests(target)
        info = target.save_from(storage, file_id, file_id=file_id)
        assert asked.taken() == {"HeadObject": 1}
        assert not {"GetObject", "PutObject", "UploadPart"} & set(done.taken())
        with target.get(info.file_id) as file:
            assert (file.read(), file.filename, file.content_type) == (some_bytes(size), "ü.bin", "application/x-a")
            assert file.checksum == info.checksum == storage.get(file_id).checksum
        done.clear()
        if info.checksum is not None:
            target.save_from(storage, file_id, file_id=file_id)
            assert done.taken() == {"HeadObject": 1}


def test_what_may_not_be_read_by_the_target_is_read_by_the_source(
    server: Server, bucket: str, storage: S3Storage
) -> None:
    """The target's client has no rights, so the server refuses to copy; the error then names the target."""
    file_id = storage.create(b"bytes")
    config = Config(signature_version=UNSIGNED)
    with server.bucket() as other:
        server.client().put_bucket_acl(Bucket=other, ACL="public-read-write")
        nobody = server.storage(other, connection_kwargs={"config": config})
        done = Requests(nobody)
        info = nobody.save_from(storage, file_id)
        assert done.taken() == {"CopyObject": 1, "PutObject": 1}
        found = server.client().get_object(Bucket=other, Key=info.file_id)
        with found["Body"] as body:
            assert body.read() == b"bytes"


def test_a_long_list_comes_in_pages(server: Server, bucket: str) -> None:
    """Of a folder whose name has to be encoded, beside others."""
    storage = server.storage(bucket, prefix="a b/ü~+c&d=e%/")
    requests = Requests(storage)
    file_ids = {storage.create(b"x") for _ in range(25)}
    server.storage(bucket, prefix="a b/").create(b"other")
    requests.clear()
    storage._client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=10)
    )
    assert {each for each in storage.list() if each.size == 1 and each.known} == file_ids
    assert requests.taken() == {"ListObjectsV2": 3}
