"""Listings of S3: on moto, and from a server with prepared answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.config import Config
from botocore.stub import Stubber

from depot_lite.errors import StorageFailed
from depot_lite.io.boto3 import S3Storage
from depot_lite.io.boto3.listing import listing
from depot_lite.io.fileid import new_file_id
from tests.io.s3_proxy import Fault, S3Proxy
from tests.io.s3_server import Requests, Server, moto_server


def id_with(digit: str) -> str:
    """Return a new file id that begins with a digit."""
    return digit + new_file_id()[1:]


# None with 0: a first page that ends there is taken for one of many.
IDS = [id_with(digit) for digit in "89a"]
WHEN = "2026-01-02T03:04:05.678Z"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with moto_server() as made:
        yield made


@pytest.fixture
def bucket(server: Server) -> Iterator[str]:
    with server.bucket() as name:
        yield name


def in_pages_of(storage: S3Storage, count: int) -> Requests:
    """Let the server give so few objects in a page, and count the requests."""

    def limit(params: dict[str, Any], **_: object) -> None:
        params["MaxKeys"] = count

    storage._client.meta.events.register("provide-client-params.s3.ListObjectsV2", limit)
    return Requests(storage)


# --- on moto ----------------------------------------------------------------------------------------------------------


def test_all_pages_are_listed_with_one_request_each(server: Server, bucket: str) -> None:
    """Size and time are known, and asking for them makes no request."""
    storage = server.storage(bucket, prefix="media/")
    sizes = {storage.create(b"x" * size, file_id=id_with(str(size + 1))): size for size in range(5)}
    requests = in_pages_of(storage, 2)
    entries = list(storage.list())
    assert all(each.known for each in entries)
    assert {each: each.size for each in entries} == sizes
    assert all(abs(datetime.now(UTC) - each.last_modified).total_seconds() < 300 for each in entries)
    assert requests.taken() == {"ListObjectsV2": 3}


def test_a_page_is_asked_for_when_it_is_wanted(server: Server, bucket: str) -> None:
    storage = server.storage(bucket)
    for digit in "1234":
        storage.create(b"x", file_id=id_with(digit))
    requests = in_pages_of(storage, 2)
    entries = iter(storage.list())
    assert requests.taken() == {}
    next(entries)
    next(entries)
    assert requests.taken() == {"ListObjectsV2": 1}
    assert len(list(entries)) == 2
    assert requests.taken() == {"ListObjectsV2": 1}


@pytest.mark.parametrize("prefix", ["", "media/", "a b/ü~+c&d=e%/", "100%", "a+", "写真-", "x&amp;<y>/"])
def test_keys_are_decoded_and_those_of_others_left_out(server: Server, bucket: str, prefix: str) -> None:
    """Other names, other folders and folders below are not ours."""
    storage = server.storage(bucket, prefix=prefix)
    file_ids = {storage.create(b"x") for _ in range(3)}
    others = [f"other/{IDS[0]}", f"{prefix}below/{IDS[1]}", f"{prefix}{IDS[2].upper()}", f"{prefix}x{IDS[2]}", "%41 +"]
    for key in [*others, f"{prefix}%{IDS[0]}", f"{prefix}+{IDS[0]}", f"{prefix} ü&<"]:
        server.client().put_object(Bucket=bucket, Key=key, Body=b"x")
    assert set(storage.list()) == file_ids


def test_what_others_ask_through_the_same_client_is_what_boto3_gives(server: Server, bucket: str) -> None:
    """Before a listing of ours, in its middle, and after it."""
    client = server.client()
    storage = server.storage(bucket, client=client)
    storage.create(b"abc")
    storage.create(b"abc")

    def theirs() -> dict[str, Any]:
        answer: dict[str, Any] = client.list_objects_v2(Bucket=bucket)
        answer.pop("ResponseMetadata")
        return answer

    untouched = boto3_answer(server, bucket)
    assert theirs() == untouched
    entries = iter(storage.list())
    next(entries)
    assert theirs() == untouched
    list(entries)
    assert theirs() == untouched
    assert {"ETag", "StorageClass", "Key", "Size", "LastModified"} <= set(untouched["Contents"][0])


def boto3_answer(server: Server, bucket: str) -> dict[str, Any]:
    """Return the listing of a client that no storage has seen."""
    answer: dict[str, Any] = Server(server.url, "test", "testsecret").client().list_objects_v2(Bucket=bucket)
    answer.pop("ResponseMetadata")
    return answer


def test_two_storages_share_a_client(server: Server, bucket: str) -> None:
    client = server.client()
    first, second = (server.storage(bucket, prefix=each, client=client) for each in ("a/", "b/"))
    one, two = first.create(b"1"), second.create(b"2")
    assert list(zip(first.list(), second.list(), strict=True)) == [(one, two)]


def test_a_client_that_makes_no_request_can_be_listed(server: Server) -> None:
    """Such as a stub of botocore's, whose answers are not parsed by anybody."""
    client = Server(server.url, "test", "testsecret").client()
    storage = server.storage("bucket", client=client)
    when = datetime(2026, 1, 1, tzinfo=UTC)
    contents = [{"Key": IDS[0], "Size": 7, "LastModified": when}]
    with Stubber(client) as stub:
        stub.add_response("list_objects_v2", {"IsTruncated": False, "Contents": contents})
        (entry,) = storage.list()
    assert (entry, entry.size, entry.last_modified) == (IDS[0], 7, when)


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.CUT_ANSWER])
def test_a_page_that_does_not_come_is_asked_for_again(server: Server, bucket: str, fault: Fault) -> None:
    file_ids = {server.storage(bucket).create(b"x", file_id=id_with(digit)) for digit in "12345"}
    with S3Proxy(server.url) as proxy:
        storage = server.storage(bucket, endpoint_url=proxy.url)
        in_pages_of(storage, 2)
        proxy.fail(fault, "GET", containing="list-type", times=2, after=300)
        assert set(storage.list()) == file_ids
        assert proxy.pending() == 0


# --- many pages -------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(server: Server, bucket: str) -> set[str]:
    """Files of which the first page has none beyond the digit 0; four of each other digit but one."""
    storage = server.storage(bucket, prefix="media/")
    for key in (f"media/below/{id_with('0')}", "media/0", "media/0x", f"other/{id_with('1')}"):
        server.client().put_object(Bucket=bucket, Key=key, Body=b"x")
    return {storage.create(b"x", file_id=id_with(digit)) for digit in "0123456789abcdf" for _ in range(4)}


@pytest.mark.parametrize("concurrency", [1, 2, 16, 100])
def test_many_pages_are_listed_side_by_side(server: Server, bucket: str, many: set[str], concurrency: int) -> None:
    storage = server.storage(bucket, prefix="media/", concurrency=concurrency)
    requests = in_pages_of(storage, 2)
    listed = [str(each) for each in storage.list()]
    assert len(listed) == len(many)
    assert set(listed) == many
    pages = requests.taken()["ListObjectsV2"]
    assert pages >= 30
    assert (listed == sorted(many)) if concurrency == 1 else pages <= 1 + 2 * 16 + 2


def test_a_page_of_many_that_fails_is_an_error(server: Server, bucket: str, many: set[str]) -> None:
    with S3Proxy(server.url) as proxy:
        storage = server.storage(
            bucket,
            prefix="media/",
            endpoint_url=proxy.url,
            connection_kwargs={"config": Config(retries={"total_max_attempts": 1})},
        )
        in_pages_of(storage, 2)
        proxy.fail(Fault.BUSY, "GET", containing="prefix=media%2Fb")
        with pytest.raises(StorageFailed, match="list"):
            list(storage.list())
        assert set(storage.list()) == many  # the second time


def test_a_listing_that_is_left_in_its_middle_asks_no_more(server: Server, bucket: str, many: set[str]) -> None:
    storage = server.storage(bucket, prefix="media/", concurrency=2)
    requests = in_pages_of(storage, 2)
    entries = iter(storage.list())
    assert str(next(entries)) in many
    del entries
    assert requests.taken()["ListObjectsV2"] <= 1 + 2 + 2


def test_a_directory_bucket_is_listed_page_by_page(server: Server, many: set[str]) -> None:
    asked = []

    def ask(**arguments: str) -> dict[str, Any]:
        asked.append(arguments["Prefix"])
        when = datetime(2026, 1, 1, tzinfo=UTC)
        contents = [{"Key": f"media/{id_with('0')}", "Size": 1, "LastModified": when}]
        token = {} if len(asked) == 3 else {"NextContinuationToken": str(len(asked))}
        return {"IsTruncated": bool(token), "Contents": contents, **token}

    assert len(list(listing(ask, "media--use1-az4--x-s3", "media/", 16))) == 3
    assert asked == ["media/"] * 3


# --- answers as they may come -----------------------------------------------------------------------------------------


def entry(file_id: str, *, size: str = "<Size>7</Size>", when: str = WHEN) -> str:
    return (
        f"<Contents><Key>{file_id}</Key><LastModified>{when}</LastModified>{size}<ETag>&quot;e&quot;</ETag></Contents>"
    )


def page(*parts: str, truncated: str = "<IsTruncated>false</IsTruncated>") -> str:
    return f"<?xml version='1.0'?><ListBucketResult xmlns='http://s3/'>{truncated}{''.join(parts)}</ListBucketResult>"


def following(token: str = "t") -> str:
    return f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"


@contextmanager
def answering(*bodies: str) -> Iterator[S3Storage]:
    """Give a storage on a server that answers with these bodies, the last one again and again."""
    left = [body.encode() for body in bodies]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that it has there
            """Say nothing."""

    told = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.daemon_threads = True
    thread = threading.Thread(target=told.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    config = Config(retries={"total_max_attempts": 1})
    url = f"http://127.0.0.1:{told.server_address[1]}"
    storage = S3Storage("a", "b", "bucket", "us-east-1", endpoint_url=url, connection_kwargs={"config": config})
    try:
        yield storage
    finally:
        storage._client.close()
        told.shutdown()
        told.server_close()
        thread.join()


GOOD = entry(IDS[0])


@pytest.mark.parametrize(
    "body",
    [
        page(GOOD),
        page(GOOD, "<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes>"),
        page(GOOD).replace("><", ">\n    <"),
        page(GOOD).replace("<Size>7</Size>", "<Size>&#55;</Size>"),
        page(GOOD, "<EncodingType>url</EncodingType>").replace(IDS[0], IDS[0].replace("-", "%2D")),
        page(GOOD).replace(WHEN, "2026-01-02T04:04:05.678+01:00"),
        # These are left to botocore.
        page(GOOD).replace(WHEN, "Fri, 02 Jan 2026 03:04:05 GMT"),
        page(GOOD).replace("<", "<s:").replace("<s:/", "</s:").replace("<s:?", "<?").replace("xmlns=", "xmlns:s="),
    ],
    ids=["plain", "folders", "indented", "references", "encoded", "zone", "old time", "prefixed"],
)
def test_a_listing_may_be_written_in_many_ways(body: str) -> None:
    with answering(body) as storage:
        (found,) = storage.list()
    assert (found, found.size, found.known) == (IDS[0], 7, True)
    assert found.last_modified.replace(microsecond=0) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert found.last_modified.tzinfo is UTC


def test_what_is_not_encoded_is_not_decoded() -> None:
    """Where the server does not say that keys are encoded, they are taken as they are."""
    with answering(page(GOOD, entry(f"%41{IDS[1]}"), entry(IDS[2].replace("-", "%2D")))) as storage:
        assert list(storage.list()) == [IDS[0]]


def test_no_object_inherits_what_another_tells() -> None:
    """Not its size, and not its time."""
    with answering(page(entry(IDS[0]), entry(IDS[1], size="<Size>8</Size>", when="2020-01-01T00:00:00Z"))) as storage:
        first, second = storage.list()
    assert (first.size, first.last_modified.year, second.size, second.last_modified.year) == (7, 2026, 8, 2020)


@pytest.mark.parametrize(
    "body",
    [
        page(GOOD)[:-30],
        page(GOOD)[:120],
        page(GOOD) + "<more/>",
        page(GOOD, truncated=""),
        page(GOOD, truncated="<IsTruncated>true</IsTruncated>"),
        page(GOOD, truncated="<IsTruncated>true</IsTruncated><NextContinuationToken/>"),
        page(GOOD, truncated="<IsTruncated>perhaps</IsTruncated>"),
        page(GOOD, truncated=following()),
        page(GOOD, entry(IDS[1], size="")),
        page(GOOD, entry(IDS[1], size="<Size>many</Size>")),
        page(GOOD, entry(IDS[1], when="yesterday")),
        page(GOOD, "<Contents><Size>7</Size></Contents>"),
        "<Welcome><To>S3</To></Welcome>",
        page(GOOD).replace("?>", "?><!DOCTYPE ListBucketResult [<!ENTITY a 'b'>]>"),
        "<html>hello",
        "",
    ],
    ids=[
        "cut off",
        "cut off early",
        "more behind it",
        "no word of the end",
        "no token",
        "an empty token",
        "perhaps",
        "the same page again",
        "no size",
        "no number",
        "no time",
        "no key",
        "another document",
        "a document type",
        "html",
        "empty",
    ],
)
def test_a_listing_that_leaves_a_doubt_fails(body: str) -> None:
    """It never leaves out objects silently."""
    with answering(body) as storage, pytest.raises(StorageFailed, match="list"):
        list(storage.list())


def test_a_second_page_that_is_damaged_fails_too() -> None:
    with answering(page(GOOD, truncated=following()), page(entry(IDS[1]))[:-9]) as storage:
        entries = iter(storage.list())
        assert next(entries) == IDS[0]
        with pytest.raises(StorageFailed, match="list"):
            list(entries)
