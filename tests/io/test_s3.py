"""S3Storage on moto."""

from __future__ import annotations

import io
import json
import socket
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from botocore.config import Config
from depot.io.boto3 import S3Storage as FiledepotS3Storage

from depot_lite.errors import ConfigurationError, StorageFailed, StorageFull
from depot_lite.io.boto3 import S3Storage
from depot_lite.io.content import Content
from depot_lite.io.fileid import new_file_id
from depot_lite.testing import StorageContract, some_bytes
from tests.io.amazon import Amazon
from tests.io.s3_proxy import Fault, S3Proxy
from tests.io.s3_server import Requests, Server, moto_server
from tests.support.streams import Stream

MB = 1024 * 1024


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with moto_server() as made:
        yield made


@pytest.fixture
def bucket(server: Server) -> Iterator[str]:
    with server.bucket() as name:
        yield name


class TestS3Storage(StorageContract):
    @pytest.fixture(autouse=True)
    def _where(self, server: Server, bucket: str) -> None:
        self.server, self.bucket = server, bucket

    def make_storage(self, tmp_path: Path) -> S3Storage:
        return self.server.storage(self.bucket, prefix="media/")

    def test_a_reader_sees_the_old_file_or_the_new_one(self, tmp_path: Path) -> None:
        pytest.skip("moto shows an object before its metadata; tests/io/test_s3_server.py tries it on a real server")


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def storage(server: Server, bucket: str) -> S3Storage:
    return server.storage(bucket, transfer_config={"multipart_threshold": 5 * MB, "multipart_chunksize": 5 * MB})


@pytest.fixture
def requests(storage: S3Storage) -> Requests:
    return Requests(storage)


def content_of(storage: S3Storage, file_id: str) -> bytes:
    with storage.get(file_id) as file:
        return file.read()


def test_large_content_is_sent_in_parts(storage: S3Storage, requests: Requests) -> None:
    file_id = storage.create(some_bytes(11 * MB))
    assert requests.taken() == {"CreateMultipartUpload": 1, "UploadPart": 3, "CompleteMultipartUpload": 1}
    assert content_of(storage, file_id) == some_bytes(11 * MB)


def test_other_methods_cost_what_they_must(storage: S3Storage, requests: Requests) -> None:
    """One request each, two for a copy, one for a thousand deletions; none for URLs, and sizes of listed files."""
    file_id = storage.create(b"x")
    requests.clear()
    assert storage.exists(file_id)
    assert requests.taken() == {"HeadObject": 1}
    copied = storage.copy(file_id)
    assert requests.taken() == {"HeadObject": 1, "CopyObject": 1}
    assert [entry.size for entry in storage.list()] == [1, 1]
    assert {entry.last_modified.tzinfo for entry in storage.list()} == {UTC}
    assert requests.taken() == {"ListObjectsV2": 2}
    storage.url(file_id)
    storage.public_url(file_id)
    assert requests.taken() == {}
    storage.delete(copied)
    assert requests.taken() == {"DeleteObject": 1}
    assert storage.delete_many([file_id, *(new_file_id() for _ in range(1000))]) == {}
    assert requests.taken() == {"DeleteObjects": 2}
    assert storage.delete_many([]) == {}
    assert requests.taken() == {}


def test_constructing_makes_no_request_and_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are looked for at the first use, since that may ask the network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a client was made")

    monkeypatch.setattr(boto3.Session, "client", refuse)
    made = S3Storage(bucket="b", endpoint_url="http://127.0.0.1:1", create_bucket=True)
    assert repr(made) == "S3Storage('b', prefix='')"
    assert made.concurrency == 16


def test_listing_goes_page_by_page(storage: S3Storage, server: Server, bucket: str, requests: Requests) -> None:
    """The second page is asked for when the first was looked at; foreign keys are left out."""
    for number in range(7):
        server.client().put_object(Bucket=bucket, Key=f"8{number:07x}-0000-4000-8000-000000000000", Body=b"")
    server.client().put_object(Bucket=bucket, Key="0-other", Body=b"")
    server.client().put_object(Bucket=bucket, Key=f"folder/{new_file_id()}", Body=b"")
    storage._client.meta.events.register(
        "before-parameter-build.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=5)
    )
    listed = iter(storage.list())
    next(listed)
    assert requests.taken() == {"ListObjectsV2": 1}
    assert len(list(listed)) == 6
    assert requests.taken() == {"ListObjectsV2": 1}


# --- stored objects ---------------------------------------------------------------------------------------------------


def test_an_object_tells_type_name_and_checksum(storage: S3Storage, server: Server, bucket: str) -> None:
    """Without an ACL; pages are stored as attachments."""
    seen: list[dict[str, Any]] = []
    storage._client.meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: seen.append({k.lower(): v for k, v in request.headers.items()})
    )
    file_id = storage.create(b"<html><script>", 'Zoë "7".html', "text/html")
    found = server.client().head_object(Bucket=bucket, Key=file_id)
    assert found["ContentType"] == "text/html"
    assert found["ContentDisposition"].startswith('attachment; filename="Zoe _7_.html"')
    assert found["Metadata"]["x-depot-filename"] == "Zo%C3%AB%20%227%22.html"
    assert found["Metadata"]["x-depot-checksum"] == f"crc32:{zlib.crc32(b'<html><script>'):08x}"
    assert not [name for name in seen[0] if "acl" in name or "grant" in name]


def test_filedepot_reads_what_we_wrote_and_we_what_it_wrote(server: Server, bucket: str) -> None:
    """With its settings by position and its keys."""
    settings = (server.access_key, server.secret_key, bucket, "us-east-1", "private", None, server.url, "files/")
    theirs, ours = FiledepotS3Storage(*settings), S3Storage(*settings)
    old = theirs.create(b"old", "Grüße.txt", "text/plain")
    with ours.get(old) as file:
        assert (file.read(), file.filename, file.content_type) == (b"old", "Grüße.txt", "text/plain")
        assert abs(datetime.now(UTC) - file.last_modified) < timedelta(minutes=1)
    new = ours.create(b"new", "写真.txt", "text/plain")
    found = theirs.get(new)
    assert (found.read(), found.filename, found.content_type) == (b"new", "写真.txt", "text/plain")
    found.close()
    assert sorted(ours.list()) == sorted(theirs.list()) == sorted([old, new])


def test_what_somebody_else_put_there_is_read(storage: S3Storage, server: Server, bucket: str) -> None:
    file_id = new_file_id()
    server.client().put_object(Bucket=bucket, Key=file_id, Body=b"foreign")
    with storage.get(file_id) as file:
        assert (file.read(), file.filename, file.checksum) == (b"foreign", "unnamed", None)


def test_upload_metadata_goes_with_each_upload_and_copy(server: Server, bucket: str) -> None:
    options = {"CacheControl": "max-age=60", "Metadata": {"owner": "me"}, "StorageClass": "STANDARD_IA"}
    storage = server.storage(bucket, upload_metadata=json.dumps(options), storage_class="STANDARD_IA")
    small = storage.create(b"x", "a.txt")
    for file_id in (small, storage.create(some_bytes(9 * MB), "a.txt"), storage.copy(small)):
        found = server.client().head_object(Bucket=bucket, Key=file_id)
        assert found["CacheControl"] == "max-age=60"
        assert found["Metadata"]["owner"] == "me"
        assert found["StorageClass"] == "STANDARD_IA"
        assert storage.get(file_id).filename == "a.txt"


def test_a_name_is_as_long_as_the_server_takes(server: Server, bucket: str) -> None:
    """Swift refuses values of more than 256 bytes; small and large files, copies and forms keep to the limit."""
    storage, name = server.storage(bucket, max_metadata_value="256"), "\u0416" * 80 + ".pdf"
    small = storage.create(b"x", name)
    for file_id in (small, storage.create(some_bytes(9 * MB), name), storage.copy(small)):
        assert storage.get(file_id).filename == "\u0416" * 42 + ".pdf"
    form = storage.upload_form(new_file_id(), max_size=1, content_type=None, filename=name, expires_in=60)
    assert form is not None
    assert len(form[1]["x-amz-meta-x-depot-filename"]) <= 256
    whole = server.storage(bucket)
    assert whole.get(whole.create(b"x", name)).filename == name


def test_a_copy_above_the_limit_is_made_in_parts(
    storage: S3Storage, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With name, type and checksum."""
    monkeypatch.setattr("depot_lite.io.boto3.copies._COPY_LIMIT", 6 * MB)
    monkeypatch.setattr("depot_lite.io.boto3.copies._COPY_PART", 5 * MB)
    source = storage.create(some_bytes(11 * MB), "large.bin", "application/x-large")
    requests.clear()
    copied = storage.copy(source)
    assert requests["UploadPartCopy"] == 3
    assert content_of(storage, copied) == some_bytes(11 * MB)
    first, second = storage.get(source).info, storage.get(copied).info
    assert first.checksum is not None
    assert replace(second, file_id=source, last_modified=first.last_modified) == first


@pytest.mark.parametrize("size", [0, 1000, 11 * MB])
@pytest.mark.parametrize("wrap", [bytes, io.BytesIO, Stream])
def test_checksums_of_s3_itself_are_sent_and_read(
    server: Server, bucket: str, size: int, wrap: Callable[[bytes], Any]
) -> None:
    """As with Amazon: one for the whole file, in whatever way it was sent."""
    config = Config(request_checksum_calculation="when_supported", response_checksum_validation="when_supported")
    storage = server.storage(bucket, connection_kwargs={"config": config})
    data = some_bytes(size)
    info = storage.save(Content.of(wrap(data)))
    assert info.checksum == f"crc32:{zlib.crc32(data):08x}"
    with storage.get(info.file_id) as file:
        assert file.read() == data
        # moto tells of multipart uploads the checksum of the parts' checksums only, which is none of the file.
        if size < 8 * MB or wrap is not Stream:
            assert file.checksum == info.checksum


@pytest.mark.parametrize("mode", [None, "when_supported", "when_required"])
def test_the_checksum_that_a_server_knows_counts(server: Server, bucket: str, mode: str | None) -> None:
    """Also one of another program's object, unless the user says otherwise; a part is read without it."""
    config = Config(**({} if mode is None else {"response_checksum_validation": mode}))
    storage = server.storage(bucket, connection_kwargs={"config": config})
    file_id, data = new_file_id(), some_bytes(200_000)
    server.client().put_object(Bucket=bucket, Key=f"{storage._prefix}{file_id}", Body=data, ChecksumAlgorithm="CRC32")
    known = None if mode == "when_required" else f"crc32:{zlib.crc32(data):08x}"
    assert storage._info(file_id).checksum == known
    with storage.get(file_id) as file:
        assert (file.checksum, file.read()) == (known, data)
        file.seek(1000)
        assert file.read(10) == data[1000:1010]


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "bucket"),
        ({"bucket": "a", "bucket_name": "b"}, "bucket_name"),
        ({"bucket": "a", "prefix": "p/", "folder_name": "q"}, "folder_name"),
        ({"bucket": "a", "policy": "everybody"}, "policy"),
        ({"bucket": "a", "policy": "private", "upload_metadata": {"ACL": "public-read"}}, "ACL"),
        ({"bucket": "a", "upload_metadata": {"Colour": "red"}}, "Colour"),
        ({"bucket": "a", "upload_metadata": {"ChecksumSHA256": "x"}}, "ChecksumSHA256"),
        ({"bucket": "a", "upload_metadata": {"SSECustomerKey": 12345678}}, "SSECustomerKey"),
        ({"bucket": "a", "upload_metadata": "{"}, "upload_metadata"),
        ({"bucket": "a", "connection_kwargs": {"colour": "red"}}, "colour"),
        ({"bucket": "a", "connection_kwargs": {"config": 3}}, "config"),
        ({"bucket": "a", "connection_kwargs": {"region_name": "x"}, "region_name": "y"}, "region_name"),
        ({"bucket": "a", "access_key_id": "x"}, "secret_access_key"),
        ({"bucket": "a", "endpoint_url": "ftp://127.0.0.1"}, "endpoint_url"),
        ({"bucket": "a", "endpoint_url": "http://me:hush@localhost"}, "endpoint_url"),
        ({"bucket": "a", "public_base_url": "cdn"}, "public_base_url"),
        ({"bucket": "a", "public_endpoint_url": "https://example.org/s3"}, "public_endpoint_url"),
        ({"bucket": "a", "sign_urls": "maybe"}, "sign_urls"),
        ({"bucket": "a", "signed_url_expiry": 700_000}, "signed_url_expiry"),
        ({"bucket": "a", "concurrency": "0"}, "concurrency"),
        ({"bucket": "a", "transfer_config": {"colour": 1}}, "transfer_config"),
        ({"bucket": "a", "client": object(), "region_name": "x"}, "client"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        S3Storage(**options)
    assert "hush" not in str(caught.value)


def test_piccolos_and_ini_files_options_are_understood(server: Server, bucket: str) -> None:
    storage = S3Storage(
        bucket_name=bucket,
        folder_name="movies/posters",
        connection_kwargs={
            "aws_access_key_id": server.access_key,
            "aws_secret_access_key": server.secret_key,
            "endpoint_url": server.url,
            "region_name": "us-east-1",
        },
        sign_urls="no",
        signed_url_expiry="60",
        concurrency="4",
        create_bucket="off",
    )
    file_id = storage.create(b"x")
    assert server.client().head_object(Bucket=bucket, Key=f"movies/posters/{file_id}")["ContentLength"] == 1
    assert storage.url(file_id) == f"{server.url}/{bucket}/movies/posters/{file_id}"
    assert storage.concurrency == 4


def test_filedepots_bucket_without_a_name() -> None:
    assert repr(S3Storage("AKIA", "secret")) == "S3Storage('filedepot-akia', prefix='')"


def test_a_ready_client_is_used(server: Server, bucket: str) -> None:
    storage = server.storage(bucket, client=server.client())
    assert storage._client is server.client()
    file_id = storage.create(b"x")
    assert content_of(storage, file_id) == b"x"
    assert "X-Amz-Signature" in storage.url(file_id)


def test_the_bucket_is_made_at_first_use_where_that_is_wanted(server: Server) -> None:
    name = f"made-{new_file_id()}"
    storage = server.storage(name, create_bucket="yes", policy="public-read", region_name="eu-west-1")
    requests = Requests(storage)
    file_id = storage.create(b"x")
    try:
        storage.create(b"y")
        assert requests["CreateBucket"] <= 1
        assert requests["PutObject"] == 2
        where = server.client().get_bucket_location(Bucket=name)["LocationConstraint"]
        assert where == "eu-west-1"
        grants = server.client().get_object_acl(Bucket=name, Key=file_id)["Grants"]
        assert "READ" in [each["Permission"] for each in grants if "AllUsers" in each["Grantee"].get("URI", "")]
    finally:
        storage.delete_many(storage.list())
        server.client().delete_bucket(Bucket=name)


def test_checksums_are_for_amazon_alone_unless_said_otherwise() -> None:
    """Other servers may not know them, also those that the environment names."""

    def asked(**options: Any) -> str:
        made = S3Storage("key", "secret", "b", "us-east-1", **options)
        return str(made._client.meta.config.request_checksum_calculation)

    assert asked() == asked(endpoint_url="https://s3.eu-west-1.amazonaws.com") == "when_supported"
    assert asked(endpoint_url="https://s3.example.com") == asked(endpoint_url="s3.example.com") == "when_required"
    own = Config(request_checksum_calculation="when_supported")
    assert asked(endpoint_url="https://s3.example.com", connection_kwargs={"config": own}) == "when_supported"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.example.com")
        assert asked() == "when_required"


# --- URLs -------------------------------------------------------------------------------------------------------------


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def test_a_signature_is_boto3s(server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same time and expiry, also with strange characters and a session's token."""
    moment = 1_800_000_000
    arguments = {"aws_session_token": "to/ken+="}
    storage = server.storage(bucket, prefix="a b/ü~+c/", connection_kwargs=arguments)
    monkeypatch.setattr(time, "time", lambda: moment + 7)
    file_id = new_file_id()
    ours = storage.url(file_id, expires_in=400, filename='Zoë "7".txt', content_type="text/plain; charset=utf-8")
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: datetime.fromtimestamp(moment, UTC))
    asked = query_of(ours)
    params = {
        "Bucket": bucket,
        "Key": f"a b/ü~+c/{file_id}",
        "ResponseContentDisposition": asked["response-content-disposition"],
        "ResponseContentType": "text/plain; charset=utf-8",
    }
    theirs = storage._client.generate_presigned_url("get_object", Params=params, ExpiresIn=500)
    assert urlsplit(ours)[:3] == urlsplit(theirs)[:3]
    assert asked == query_of(theirs)
    assert asked["X-Amz-Date"] == "20270115T080000Z"


def test_public_urls_are_for_what_is_public(server: Server, bucket: str) -> None:
    """By policy, without signing, or through a CDN; otherwise there is no public URL, and `url` is signed."""
    file_id = new_file_id()
    plain = f"{server.url}/{bucket}/{file_id}"
    private = server.storage(bucket)
    assert private.public_url(file_id) is None
    assert private.get(private.create(b"x")).public_url is None
    public = server.storage(bucket, policy="public-read")
    assert public.public_url(file_id) == plain
    assert public.url(file_id).startswith(f"{plain}?")
    stored = public.create(b"x")
    assert public.get(stored).public_url == f"{server.url}/{bucket}/{stored}"
    unsigned = server.storage(bucket, sign_urls=False)
    assert unsigned.url(file_id) == unsigned.public_url(file_id) == plain
    cdn = server.storage(bucket, public_base_url="https://cdn.example.com/m/", prefix="ü/")
    assert cdn.url(file_id) == cdn.public_url(file_id) == f"https://cdn.example.com/m/%C3%BC/{file_id}"


def test_urls_lead_to_the_server_as_browsers_reach_it(server: Server, bucket: str) -> None:
    """Requests go to the other address; a client of the user keeps its own URLs."""
    outside = {"public_endpoint_url": "https://files.example.org/"}
    for made in (server.storage(bucket, **outside), server.storage(bucket, client=server.client(), **outside)):
        with made.get(made.create(b"x")) as file:
            assert file.read() == b"x"
            url = made.url(file, filename="a.txt")
        assert url.startswith(f"https://files.example.org/{bucket}/")
        form = made.upload_form(new_file_id(), max_size=1)
        assert form is not None
        assert form[0] == f"https://files.example.org/{bucket}"
    own = server.client().generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert own.startswith(server.url)
    public = server.storage(bucket, policy="public-read", **outside)
    assert public.public_url(file_id := new_file_id()) == f"https://files.example.org/{bucket}/{file_id}"


def test_amazons_addresses(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket is in the host name; without credentials there is an address and no signature."""
    storage = Amazon(server, "eu-west-1").attach(S3Storage("key", "secret", "bucket", "eu-west-1", sign_urls=False))
    file_id = new_file_id()
    assert storage.url(file_id) == f"https://bucket.s3.eu-west-1.amazonaws.com/{file_id}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    nobody = S3Storage(bucket="bucket", region_name="eu-west-1", policy="public-read")
    assert nobody.public_url(file_id) == storage.url(file_id)
    with pytest.raises(StorageFailed, match="no credentials"):
        nobody.url(file_id)
    with pytest.raises(StorageFailed, match="no credentials"):
        nobody.create(b"x")


# --- errors -----------------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_said_to_be(server: Server) -> None:
    """By every method; a file in it is not just missing."""
    storage = server.storage("no-such-bucket-anywhere")
    attempts: list[Callable[[], object]] = [
        lambda: storage.create(b"x"),
        lambda: storage.create(some_bytes(9 * MB)),
        lambda: storage.get(new_file_id()),
        lambda: storage.exists(new_file_id()),
        lambda: storage.copy(new_file_id()),
        lambda: list(storage.list()),
    ]
    for attempt in attempts:
        with pytest.raises(StorageFailed, match=r"no (such )?bucket") as caught:
            attempt()
        assert caught.value.__cause__ is not None
    (failed,) = storage.delete_many([new_file_id()]).values()
    assert "no such bucket" in str(failed)


def test_an_endpoint_that_is_not_there_is_said_to_be_unreachable() -> None:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=1)
    storage = S3Storage(
        "key", "hush-secret", "b", "us-east-1", endpoint_url="http://127.0.0.1:1", connection_kwargs={"config": config}
    )
    with pytest.raises(StorageFailed, match="cannot be reached") as caught:
        storage.create(b"x")
    assert "hush" not in "".join(traceback.format_exception(caught.value))
    assert "hush" not in repr(vars(storage)["_connection"])


def test_no_secret_of_a_refused_parameter_is_told(server: Server, bucket: str) -> None:
    """Botocore quotes it."""
    storage = server.storage(bucket, upload_metadata={"SSEKMSKeyId": 12345678})
    with pytest.raises(StorageFailed) as caught:
        storage.create(b"x")
    assert "12345678" not in "".join(traceback.format_exception(caught.value))


def test_a_bad_object_among_many_is_the_only_one_that_fails(storage: S3Storage) -> None:
    """An error of the server about one key is the error of that file."""
    first, second = storage.create(b"1"), storage.create(b"2")

    def answer(parsed: dict[str, Any], **_: object) -> None:
        parsed["Errors"] = [{"Key": first, "Code": "AccessDenied", "Message": "no"}]

    storage._client.meta.events.register("after-call.s3.DeleteObjects", answer)
    failed = storage.delete_many([first, second])
    assert list(failed) == [first]
    assert isinstance(failed[first], StorageFailed)
    assert "AccessDenied" in str(failed[first])


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(server: Server) -> Iterator[S3Proxy]:
    with S3Proxy(server.url) as made:
        yield made


@pytest.fixture
def through(server: Server, bucket: str, proxy: S3Proxy) -> S3Storage:
    """A storage behind the proxy, which repeats without waiting long, and gives up soon."""
    config = Config(retries={"mode": "legacy", "total_max_attempts": 3}, read_timeout=2)
    return server.storage(
        bucket,
        endpoint_url=proxy.url,
        connection_kwargs={"config": config},
        transfer_config={"multipart_threshold": 5 * MB, "multipart_chunksize": 5 * MB},
    )


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.CUT_REQUEST, Fault.LOSE_ANSWER])
@pytest.mark.parametrize("size", [1000, MB, 11 * MB])
def test_one_fault_of_an_upload_is_nobodys_business(
    through: S3Storage, server: Server, bucket: str, proxy: S3Proxy, fault: Fault, size: int
) -> None:
    proxy.fail(fault, "PUT", after=500)
    data = some_bytes(size)
    file_id = through.create(data)
    assert proxy.pending() == 0
    assert content_of(through, file_id) == data
    assert list(through.list()) == [file_id]
    assert server.uploads(bucket) == []


@pytest.mark.parametrize("size", [1000, 11 * MB])
def test_a_server_that_is_full_says_so(
    through: S3Storage, server: Server, bucket: str, proxy: S3Proxy, size: int
) -> None:
    proxy.fail(Fault.FULL, "PUT", times=9)
    with pytest.raises(StorageFull, match="no space left"):
        through.create(some_bytes(size))
    proxy.recover()
    assert server.uploads(bucket) == []
    assert list(through.list()) == []


def test_a_lost_answer_to_the_last_request_of_an_upload(
    through: S3Storage, server: Server, bucket: str, proxy: S3Proxy
) -> None:
    """Repeated, the request finds no upload any more; the object tells that it is whole."""
    proxy.fail(Fault.LOSE_ANSWER, "POST", containing="uploadId")
    file_id = through.create(some_bytes(11 * MB))
    assert proxy.pending() == 0
    assert content_of(through, file_id) == some_bytes(11 * MB)
    assert server.uploads(bucket) == []


def test_a_server_that_says_nothing_is_asked_again(server: Server, bucket: str, proxy: S3Proxy) -> None:
    config = Config(retries={"total_max_attempts": 2}, read_timeout=0.5)
    storage = server.storage(bucket, endpoint_url=proxy.url, connection_kwargs={"config": config})
    proxy.fail(Fault.SILENCE, "PUT")
    file_id = storage.create(b"x")
    assert proxy.taken() == ["PUT", "PUT"]
    proxy.fail(Fault.SILENCE, "GET", times=2)
    with pytest.raises(StorageFailed, match="did not answer"):
        storage.get(file_id)


def test_connections_are_given_back(server: Server, bucket: str, proxy: S3Proxy) -> None:
    """A file that is read, or small and closed unread, leaves its connection to the next request."""
    opened: list[object] = []
    storage = server.storage(bucket, endpoint_url=proxy.url)
    file_id = storage.create(some_bytes(50_000))
    with pytest.MonkeyPatch.context() as patch:
        connect = socket.create_connection

        def counted(*arguments: Any, **_: object) -> socket.socket:
            opened.append(arguments)
            return connect(*arguments[:2])

        patch.setattr("urllib3.util.connection.create_connection", counted)
        for _ in range(3):
            content_of(storage, file_id)
            storage.get(file_id).close()
    assert len(opened) <= 1
