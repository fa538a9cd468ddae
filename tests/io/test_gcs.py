"""GCSStorage on gcp-storage-emulator.

The emulator takes every signature and every token: that Google refuses wrong ones is not shown here. Signatures are
compared with those of Google's own library. If DEPOT_TEST_GCS_URL names another server, the contract runs on it too.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import traceback
import tracemalloc
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
from depot.io.gcs import GCSStorage as FiledepotGCSStorage
from google.api_core.exceptions import from_http_status
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage as google_storage
from google.cloud.storage._signing import generate_signed_url_v4
from requests import Response

from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.io.content import Content
from depot_lite.io.fileid import new_file_id
from depot_lite.io.gcs import GCSStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import StorageContract, some_bytes, temporary_depots
from tests.io.gcs_additions import PAGE
from tests.io.gcs_server import Requests, Server, account, emulator, other_server, signing
from tests.io.s3_proxy import Fault, S3Proxy
from tests.support.streams import Stream

KB: Final = 1024
#: The size of pieces here: the smallest that Google takes.
PIECE: Final = 256 * KB


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with emulator() as made:
        yield made


@pytest.fixture
def bucket(server: Server) -> Iterator[str]:
    with server.bucket() as name:
        yield name


class TestGCSStorage(StorageContract):
    @pytest.fixture(autouse=True)
    def _where(self, server: Server, bucket: str) -> None:
        self.server, self.bucket = server, bucket

    def make_storage(self, tmp_path: Path) -> GCSStorage:
        return self.server.storage(self.bucket, prefix="media/", chunk_size=2 * KB * KB)


class TestGCSStorageElsewhere(StorageContract):
    """On the server that the environment names."""

    @pytest.fixture(autouse=True)
    def _where(self) -> Iterator[None]:
        server = other_server()
        with server.bucket() as bucket:
            self.server, self.bucket = server, bucket
            yield

    def make_storage(self, tmp_path: Path) -> GCSStorage:
        return self.server.storage(self.bucket, prefix="media/", chunk_size=2 * KB * KB)


@pytest.fixture
def storage(server: Server, bucket: str) -> GCSStorage:
    return server.storage(bucket, chunk_size=PIECE)


@pytest.fixture
def requests(storage: GCSStorage) -> Requests:
    return Requests(storage)


def content_of(storage: GCSStorage, file_id: str) -> bytes:
    with storage.get(file_id) as file:
        return file.read()


def resource_of(server: Server, bucket: str, name: str) -> dict[str, Any]:
    """Return all that the emulator keeps of an object."""
    return dict(server.inside.objects[bucket][name])


# --- requests ---------------------------------------------------------------------------------------------------------


def test_large_content_is_sent_in_pieces(storage: GCSStorage, requests: Requests) -> None:
    """Of a stream, the checksum is told afterwards."""
    data = some_bytes(2 * PIECE + 1)
    known = storage.create(data)
    assert requests.taken() == {"resumable POST": 1, "piece PUT": 3}
    once = storage.save(Content.of(Stream(data)))
    assert requests.taken() == {"resumable POST": 1, "piece PUT": 3, "object GET": 1, "object PATCH": 1}
    for file_id in (known, once.file_id):
        with storage.get(file_id) as file:
            assert file.checksum == once.checksum == f"crc32:{zlib.crc32(data):08x}"
            assert file.read() == data


def test_other_methods_cost_what_they_must(storage: GCSStorage, requests: Requests) -> None:
    """One request each, two for a copy, one for a hundred deletions; none for URLs, and sizes of listed files."""
    file_id = storage.create(b"x")
    requests.clear()
    assert storage.exists(file_id)
    assert requests.taken() == {"object GET": 1}
    copied = storage.copy(file_id)
    assert requests.taken() == {"object GET": 1, "rewrite": 1}
    assert [entry.size for entry in storage.list()] == [1, 1]
    assert {entry.last_modified.tzinfo for entry in storage.list()} == {UTC}
    assert requests.taken() == {"list GET": 2}
    storage.url(file_id)
    storage.public_url(file_id)
    assert requests.taken() == {}
    storage.delete(copied)
    assert requests.taken() == {"object DELETE": 1}
    assert storage.delete_many([file_id, *(new_file_id() for _ in range(100))]) == {}
    # Once it is looked whether the bucket is there, since something was missing.
    assert requests.taken() == {"batch": 2, "list GET": 1}
    assert storage.delete_many([]) == {}
    assert requests.taken() == {}


def test_constructing_makes_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the environment are looked for at the first use, since that may ask the network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a client was made")

    monkeypatch.setattr(google_storage, "Client", refuse)
    made = GCSStorage(bucket="b", endpoint_url="http://127.0.0.1:1", create_bucket=True)
    assert repr(made) == "GCSStorage('b', prefix='')"
    assert made.concurrency == 16
    assert made.location == ("gcs", "b", "")


def test_listing_goes_page_by_page(storage: GCSStorage, server: Server, bucket: str, requests: Requests) -> None:
    """The second page is asked for when the first was looked at; foreign names are left out."""
    made = server.client().bucket(bucket)
    for number in range(PAGE + 2):
        made.blob(f"8{number:07x}-0000-4000-8000-000000000000").upload_from_string(b"")
    made.blob("0-other").upload_from_string(b"")
    made.blob(f"folder/{new_file_id()}").upload_from_string(b"")
    listed = iter(storage.list())
    next(listed)
    assert requests.taken() == {"list GET": 1}
    assert len(list(listed)) == PAGE + 1
    assert requests.taken() == {"list GET": 1}


@pytest.mark.parametrize(
    "answer", [{}, {"kind": "storage#object"}, {"kind": "storage#objects", "items": [{"name": "b3a1c6de"}]}, []]
)
def test_a_listing_that_may_not_be_all_is_an_error(storage: GCSStorage, answer: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage._connection, "json", lambda *_, **__: answer)
        with pytest.raises(StorageFailed, match="no listing"):
            list(storage.list())


def test_a_page_that_comes_again_is_an_error(storage: GCSStorage) -> None:
    answer = {"kind": "storage#objects", "nextPageToken": "x"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage._connection, "json", lambda *_, **__: answer)
        with pytest.raises(StorageFailed, match="same page"):
            list(storage.list())


def test_memory_does_not_grow_with_the_content(storage: GCSStorage) -> None:
    """Two pieces are in it, in whatever way they are sent or read."""

    class Zeros(io.RawIOBase):
        left = 64 * PIECE

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any, /) -> int:
            count = min(len(buffer), self.left)
            self.left -= count
            buffer[:count] = bytes(count)
            return count

    def put(url: str, data: bytes, headers: dict[str, str], **more: Any) -> Response:
        """Take everything and keep nothing."""
        answer = Response()
        last, _, total = headers["Content-Range"].rpartition("-")[2].partition("/")
        answer.status_code = 308 if total == "*" else 200
        answer.headers["Range"] = f"bytes=0-{last}"
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage._connection.session, "put", put)
        patch.setattr(storage, "_add_checksum", lambda info, *_: info)
        tracemalloc.start()
        try:
            assert storage.save(Content.of(Zeros())).content_length == 64 * PIECE
            assert tracemalloc.get_traced_memory()[1] < 8 * PIECE
        finally:
            tracemalloc.stop()


def test_a_small_file_keeps_no_connection(storage: GCSStorage) -> None:
    """Its bytes are here with the headers; so they can be read when it has gone."""
    file_id = storage.create(b"small")
    with storage.get(file_id) as file:
        storage.delete(file_id)
        assert file.read() == b"small"
        assert (file.seek(1), file.read()) == (1, b"mall")


# --- stored objects ---------------------------------------------------------------------------------------------------


def test_an_object_tells_type_name_and_checksum(server: Server, bucket: str) -> None:
    """Without an ACL; pages are stored as attachments. Google is told the CRC-32C."""
    storage = server.storage(bucket, prefix="a b/ü~+c/", storage_class="NEARLINE")
    file_id = storage.create(b"<html><script>", 'Zoë "7".html', "text/html")
    found = resource_of(server, bucket, f"a b/ü~+c/{file_id}")
    assert (found["contentType"], found["storageClass"], found["acl"]) == ("text/html", "NEARLINE", [])
    assert found["contentDisposition"].startswith('attachment; filename="Zoe _7_.html"')
    assert found["metadata"]["x-depot-filename"] == "Zo%C3%AB%20%227%22.html"
    assert found["metadata"]["x-depot-content-type"] == "text/html"
    assert found["metadata"]["x-depot-checksum"] == f"crc32:{zlib.crc32(b'<html><script>'):08x}"
    copied = resource_of(server, bucket, f"a b/ü~+c/{storage.copy(file_id)}")
    kept = ("contentType", "storageClass", "contentDisposition", "crc32c")
    assert [copied[each] for each in kept] == [found[each] for each in kept]
    assert copied["metadata"]["x-depot-attempt"] != found["metadata"]["x-depot-attempt"]


def test_what_a_browser_shows_leaves_its_disposition_to_the_url(server: Server, bucket: str) -> None:
    """If URLs are signed; and a type that it would run is a download everywhere."""

    def said(storage: GCSStorage, file_id: str) -> str | None:
        found: str | None = resource_of(server, bucket, file_id).get("contentDisposition")
        return found

    private, public = server.storage(bucket), server.storage(bucket, sign_urls=False)
    for storage, image in ((private, None), (public, 'inline; filename="a.png"')):
        file_id = storage.create(b"\x89PNG\r\n\x1a\n", "a.png")
        with storage.get(file_id) as file:
            again = storage.save(Content.of(file, "a.png")).file_id
        assert said(storage, file_id) == said(storage, again) == said(storage, storage.copy(file_id)) == image
        assert said(storage, storage.create(b"<html>", "a.html")) == 'attachment; filename="a.html"'


def test_what_a_browser_sent_is_a_download_until_it_is_adopted(server: Server, bucket: str) -> None:
    storage, file_id = server.storage(bucket), new_file_id()
    blob = server.client().bucket(bucket).blob(file_id)
    blob.content_disposition = "attachment"
    blob.upload_from_string(b"\x89PNG\r\n\x1a\n", "image/png")
    with storage.get(file_id) as file:
        adopted = storage.save(Content.of(file, "a.png")).file_id
    assert "contentDisposition" not in resource_of(server, bucket, adopted)


def test_an_acl_is_asked_for_where_the_policy_says_so(server: Server, bucket: str) -> None:
    """With each way of storing."""
    storage = server.storage(bucket, policy="public-read", chunk_size=PIECE)
    session, asked = storage._connection.session, list[str]()
    send = session.send

    def noted(request: Any, **more: Any) -> Any:
        asked.append(request.path_url)
        return send(request, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "send", noted)
        storage.copy(storage.create(b"x"))
        storage.create(some_bytes(PIECE))
    asked = [url for url in asked if ("uploadType" in url or "rewriteTo" in url) and "upload_id" not in url]
    assert len(asked) == 3
    assert all("redefinedAcl=publicRead" in url for url in asked)


def test_filedepot_reads_what_we_wrote_and_we_what_it_wrote(
    server: Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its settings by position, and its credentials in a file."""
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account()))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    settings = ("project", signing(), bucket, "private", None, "files/")
    theirs, ours = FiledepotGCSStorage(*settings), GCSStorage(*settings)
    old = theirs.create(b"old", "Grüße.txt", "text/plain")
    with ours.get(old) as file:
        assert (file.read(), file.filename, file.content_type) == (b"old", "Grüße.txt", "text/plain")
        assert abs(datetime.now(UTC) - file.last_modified) < timedelta(minutes=1)
    new = ours.create(b"new", "写真.txt", "text/plain")
    found = theirs.get(new)
    assert (found.read(), found.filename, found.content_type) == (b"new", "写真.txt", "text/plain")
    assert sorted(ours.list()) == sorted([old, new])
    from_file = GCSStorage(None, str(path), bucket, "private", None, "files/")
    assert from_file.url(new) is not None


def test_what_somebody_else_put_there_is_read(storage: GCSStorage, server: Server, bucket: str) -> None:
    file_id = new_file_id()
    server.client().bucket(bucket).blob(file_id).upload_from_string(b"foreign")
    with storage.get(file_id) as file:
        assert (file.read(), file.filename, file.checksum) == (b"foreign", "unnamed", None)
        assert abs(datetime.now(UTC) - file.last_modified) < timedelta(minutes=1)


def test_the_emulator_alone_is_enough() -> None:
    """For who develops with it, without what these tests add."""
    with emulator(bare=True) as server, server.bucket() as bucket:
        storage = server.storage(bucket, chunk_size=PIECE)
        for data in (b"", b"small", some_bytes(3 * PIECE)):
            file_id = storage.create(data, "a.bin", "application/x-a")
            for each in (file_id, storage.copy(file_id)):
                assert content_of(storage, each) == data
                assert storage.get(each).filename == "a.bin"
        assert len(list(storage.list())) == 6
        assert storage.delete_many(storage.list()) == {}
        assert list(storage.list()) == []


def test_under_a_new_id_nothing_is_overwritten(storage: GCSStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that we have made and that is taken all the same is no reason to lose a file; one that was given may be."""
    file_id = storage.create(b"there")
    monkeypatch.setattr("depot_lite.io.gcs.new_file_id", lambda: file_id)
    for content in (b"other", some_bytes(PIECE)):
        with pytest.raises(StorageFailed, match="there is a file already"):
            storage.create(content)
    assert content_of(storage, file_id) == b"there"
    storage.create(b"given", file_id=file_id)
    assert content_of(storage, file_id) == b"given"


def test_a_file_of_another_bucket_is_copied_by_the_server(server: Server, bucket: str, storage: GCSStorage) -> None:
    """With its name, its type and its checksum; no byte comes here."""
    with server.bucket() as other:
        source = server.storage(other, prefix="old/")
        file_id = source.create(some_bytes(1000), "Grüße.txt", "application/x-a")
        requests, reading = Requests(storage), Requests(source)
        info = storage.save_from(source, file_id)
        assert (requests.taken(), reading.taken()) == ({"rewrite": 1}, {"object GET": 1})
        assert storage.get(info.file_id).info.checksum == info.checksum == f"crc32:{zlib.crc32(some_bytes(1000)):08x}"
        with storage.get(info.file_id) as file:
            assert (file.read(), file.filename, file.content_type) == (some_bytes(1000), "Grüße.txt", "application/x-a")


def test_what_is_copied_is_what_was_opened(storage: GCSStorage) -> None:
    source = storage.create(b"opened")
    with storage.get(source) as file:
        storage.replace(source, b"another")
        with pytest.raises(StorageFailed, match="replaced while it was copied"):
            storage.save(Content.of(file))
    assert list(storage.list()) == [source]


def test_bytes_that_changed_on_the_way_are_noticed(
    storage: GCSStorage, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the server when it stores; by us when we read."""
    monkeypatch.setattr("depot_lite.io.gcs.stream.SummedReader.crc32c", "AAAAAA==")
    with pytest.raises(StorageFailed, match="status 400"):
        storage.create(some_bytes(3 * PIECE))
    assert list(storage.list()) == server.uploads(bucket) == []
    file_id = storage.create(b"whole")
    server.inside._store.write_bytes(f"{bucket}/{file_id}", b"whale")
    with pytest.raises(StorageFailed, match="checksum differs"):
        content_of(storage, file_id)


# --- options ----------------------------------------------------------------------------------------------------------

DAMAGED: Final = {**account(), "private_key": "hush"}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "bucket"),
        ({"bucket": "gs://a"}, "bucket"),
        ({"bucket": "a", "policy": "everybody"}, "policy"),
        ({"bucket": "a", "endpoint_url": "127.0.0.1"}, "endpoint_url"),
        ({"bucket": "a", "endpoint_url": "http://me:hush@localhost"}, "endpoint_url"),
        ({"bucket": "a", "public_base_url": "cdn"}, "public_base_url"),
        ({"bucket": "a", "sign_urls": "maybe"}, "sign_urls"),
        ({"bucket": "a", "signed_url_expiry": 700_000}, "signed_url_expiry"),
        ({"bucket": "a", "concurrency": "0"}, "concurrency"),
        ({"bucket": "a", "chunk_size": "big"}, "chunk_size"),
        ({"bucket": "a", "retry_for": 0}, "retry_for"),
        ({"bucket": "a", "client": object(), "project_id": "x"}, "client"),
        ({"bucket": "a", "credentials": "/nowhere/hush.json"}, "credentials"),
        ({"bucket": "a", "credentials": '{"private_key": "hush"'}, "credentials"),
        ({"bucket": "a", "credentials": {"private_key": "hush"}}, "credentials"),
        ({"bucket": "a", "credentials": DAMAGED}, "credentials"),
        ({"bucket": "a", "credentials": json.dumps(DAMAGED)}, "credentials"),
        ({"bucket": "a", "credentials": {"type": "external_account", "token_url": "hush"}}, "external_account"),
        ({"bucket": "a", "credentials": 7}, "credentials"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], named: str) -> None:
    """With its depot, and nothing that is secret."""
    with temporary_depots() as manager, pytest.raises(ConfigurationError, match=named) as caught:
        manager.configure("photos", {"backend": GCSStorage, **options}, prefix="")
    assert "depot 'photos'" in str(caught.value)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_ini_files_options_are_understood(server: Server, bucket: str) -> None:
    """And credentials as filedepot takes them."""
    for credentials in (account(), json.dumps(account()), signing()):
        storage = server.storage(
            bucket,
            credentials=credentials,
            sign_urls="no",
            signed_url_expiry="60",
            concurrency="4",
            chunk_size="1000000",
            create_bucket="off",
            retry_for="60",
        )
        file_id = new_file_id()
        assert storage.url(file_id) == f"{server.url}/{bucket}/{file_id}"
        assert storage.concurrency == 4
        assert storage._connection.client.project == "project"


def test_a_ready_client_is_used(server: Server, bucket: str) -> None:
    """One whose credentials sign nothing has no URLs, so that the application serves the files."""
    storage = server.storage(bucket, client=server.client())
    file_id = storage.create(b"x")
    assert content_of(storage, file_id) == b"x"
    assert storage.url(file_id) is None
    assert storage.upload_form(file_id, max_size=1) is None


def test_the_bucket_is_made_at_first_use_where_that_is_wanted(server: Server) -> None:
    name = f"made-{new_file_id()}"
    storage = server.storage(name, create_bucket="yes")
    requests = Requests(storage)
    storage.delete_many([storage.create(b"x"), storage.create(b"y")])
    assert requests["multipart POST"] == 2
    server.client().bucket(name).delete()
    nameless = server.storage(name, create_bucket=True, credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    with pytest.raises(StorageFailed, match="project_id is missing"):
        nameless.create(b"x")


def test_the_library_is_an_extra() -> None:
    """Where it is missing, the depot's error says what to install."""
    code = """
import sys
sys.modules["google.cloud"] = None
from depot_lite import DepotManager
try:
    DepotManager.configure("photos", {"depot.backend": "depot.io.gcs.GCSStorage", "depot.bucket": "b"})
except Exception as error:
    print(type(error).__name__, error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("ConfigurationError depot 'photos': ")
    assert "pip install 'depot_lite[gcs]'" in told


# --- URLs -------------------------------------------------------------------------------------------------------------


def query_of(url: str | None) -> dict[str, str]:
    assert url is not None
    return dict(parse_qsl(urlsplit(url).query))


def test_a_signature_is_googles(server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same time and expiry, also with strange characters."""
    storage = server.storage(bucket, prefix="a b/ü~+c/")
    monkeypatch.setattr(time, "time", lambda: 1_800_000_007)
    file_id = new_file_id()
    ours = storage.url(file_id, expires_in=400, filename='Zoë "7".txt', content_type="text/plain; charset=utf-8")
    asked = query_of(ours)
    theirs = generate_signed_url_v4(
        signing(),
        f"/{bucket}/a%20b/%C3%BC~%2Bc/{file_id}",
        timedelta(seconds=500),
        api_access_endpoint=server.url,
        response_type="text/plain; charset=utf-8",
        response_disposition=asked["response-content-disposition"],
        _request_timestamp="20270115T080000Z",
    )
    assert asked == query_of(theirs)
    assert ours == theirs


def test_public_urls_are_for_what_is_public(server: Server, bucket: str) -> None:
    """By policy, without signing, or through a CDN; otherwise there is no public URL, and `url` is signed."""
    file_id = new_file_id()
    plain = f"{server.url}/{bucket}/{file_id}"
    private = server.storage(bucket)
    assert private.public_url(file_id) is None
    stored = private.create(b"x")
    assert private.get(stored).public_url is None
    public = server.storage(bucket, policy="public-read")
    assert public.public_url(file_id) == plain
    assert str(public.url(file_id)).startswith(f"{plain}?")
    assert public.get(stored).public_url == f"{server.url}/{bucket}/{stored}"
    unsigned = server.storage(bucket, sign_urls=False)
    assert unsigned.url(file_id) == unsigned.public_url(file_id) == plain
    cdn = server.storage(bucket, public_base_url="https://cdn.example.com/m/", prefix="ü/")
    assert cdn.url(file_id) == cdn.public_url(file_id) == f"https://cdn.example.com/m/%C3%BC/{file_id}"


def test_urls_lead_to_the_server_as_browsers_reach_it(server: Server, bucket: str) -> None:
    """Requests go to the other address, and the signature is for the host in the URL."""
    storage = server.storage(bucket, public_endpoint_url="https://files.example.org/")
    file_id = storage.create(b"x")
    assert storage.exists(file_id)
    same = GCSStorage("project", signing(), bucket, endpoint_url="https://files.example.org")
    assert storage.url(file_id) == same.url(file_id)
    form = storage.upload_form(file_id, max_size=1)
    assert form is not None
    assert form[0] == f"https://files.example.org/{bucket}/"
    public = server.storage(bucket, sign_urls=False, public_endpoint_url="https://files.example.org")
    assert public.url(file_id) == f"https://files.example.org/{bucket}/{file_id}"


def test_googles_addresses() -> None:
    storage = GCSStorage("project", signing(), "bucket", sign_urls=False)
    file_id = new_file_id()
    assert storage.url(file_id) == f"https://storage.googleapis.com/bucket/{file_id}"


def test_a_form_names_everything_but_the_file(server: Server, bucket: str, requests: Requests) -> None:
    """The policy has every field, the size and the type, and nobody's ACL; it is signed, and makes no request."""
    storage = server.storage(bucket, prefix="media/", policy="public-read")
    sent, file_id = Requests(storage), new_file_id()
    form = storage.upload_form(file_id, max_size=1000, content_type="image/*", filename="Zoë.png", expires_in=60)
    assert form is not None
    assert sent.taken() == {}
    url, fields = form
    assert url == f"{server.url}/{bucket}/"
    assert fields["key"] == f"media/{file_id}"
    assert fields["Content-Disposition"] == "attachment; filename=\"Zoe.png\"; filename*=UTF-8''Zo%C3%AB.png"
    assert fields["x-goog-meta-x-depot-filename"] == "Zo%C3%AB.png"
    assert not {"acl", "Content-Type"} & set(fields)
    policy = json.loads(b64decode(fields["policy"]))
    assert ["content-length-range", 0, 1000] in policy["conditions"]
    assert ["starts-with", "$Content-Type", "image/"] in policy["conditions"]
    named = {name for each in policy["conditions"] if isinstance(each, dict) for name in each}
    assert set(fields) - {"policy", "x-goog-signature"} <= named
    left = datetime.fromisoformat(policy["expiration"]) - datetime.now(UTC)
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)
    untyped = storage.upload_form(file_id, max_size=1)
    assert untyped is not None
    assert untyped[1]["Content-Type"] == "application/octet-stream"
    closed = server.storage(bucket, policy="project-private").upload_form(file_id, max_size=1)
    assert closed is not None
    assert closed[1]["acl"] == "project-private"


# --- errors -----------------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_said_to_be(server: Server) -> None:
    """By every method; a file in it is not just missing."""
    attempts: list[Callable[[GCSStorage], object]] = [
        lambda storage: storage.create(b"x"),
        lambda storage: storage.create(some_bytes(9_000_000)),
        lambda storage: storage.get(new_file_id()),
        lambda storage: storage.exists(new_file_id()),
        lambda storage: storage.copy(new_file_id()),
        lambda storage: storage.delete(new_file_id()),
        lambda storage: list(storage.list()),
    ]
    for attempt in attempts:
        with pytest.raises(StorageFailed, match=r"no (such )?bucket") as caught:
            attempt(server.storage("no-such-bucket-anywhere"))
        assert "no-such-bucket-anywhere" in str(caught.value)
        assert caught.value.__cause__ is not None
    (failed,) = server.storage("no-such-bucket-anywhere").delete_many([new_file_id()]).values()
    assert "there is no bucket" in str(failed)


def test_credentials_that_nobody_accepts_are_said_to_be(server: Server, bucket: str) -> None:
    """Here the server for tokens does not answer; the error has no part of the key."""
    storage = server.storage(bucket, credentials=account(), retry_for=1)
    storage._connection.pause = 2
    with pytest.raises(StorageFailed, match="credentials cannot be used") as caught:
        storage.create(b"x")
    told = "".join(traceback.format_exception(caught.value)) + repr(storage) + repr(vars(storage))
    assert account()["private_key"][40:80] not in told


def test_no_credentials_at_all_are_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    storage = GCSStorage(bucket="b")
    attempts: list[Callable[[], object]] = [lambda: storage.create(b"x"), lambda: storage.url(new_file_id())]
    for attempt in attempts:
        with pytest.raises(StorageFailed, match="there are no credentials"):
            attempt()


def test_an_endpoint_that_is_not_there_is_said_to_be_unreachable() -> None:
    storage = GCSStorage("project", signing(), "b", endpoint_url="http://127.0.0.1:1", retry_for=1)
    storage._connection.pause = 2
    with pytest.raises(StorageFailed, match="cannot be reached"):
        storage.create(b"x")


@pytest.mark.parametrize(
    ("status", "text", "told"),
    [
        (401, "who", "credentials are refused"),
        (403, "no", "access is denied"),
        (400, "Cannot use ACL API ... when uniform bucket-level access is enabled", "takes no ACLs"),
        (418, "teapot", "status 418"),
    ],
)
def test_what_the_server_says_is_told(
    server: Server, bucket: str, storage: GCSStorage, status: int, text: str, told: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise from_http_status(status, text)  # type: ignore[no-untyped-call]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage._connection.session, "request", refuse)
        with pytest.raises(StorageFailed, match=told) as caught:
            storage.create(b"x")
    assert f"gs://{bucket}/" in str(caught.value)


def test_what_a_batch_refuses_is_asked_for_again(storage: GCSStorage) -> None:
    """By itself; only a file that is refused then fails."""
    first, second = storage.create(b"1"), storage.create(b"2")
    requests = Requests(storage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage._connection, "delete", lambda keys: [429, 403])
        assert storage.delete_many([first, second]) == {}
    assert requests.taken() == {"object DELETE": 2}
    assert list(storage.list()) == []


def test_a_server_without_batches_is_asked_for_each(storage: GCSStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    file_ids = [storage.create(b"x") for _ in range(3)]

    def no_batch(*_: object, **__: object) -> None:
        raise ValueError("Bad response: not multi-part")

    monkeypatch.setattr("google.cloud.storage.batch.Batch.finish", no_batch)
    assert storage.delete_many(file_ids) == {}
    assert list(storage.list()) == []


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(server: Server) -> Iterator[S3Proxy]:
    with S3Proxy(server.url) as made:
        yield made


@pytest.fixture
def through(server: Server, bucket: str, proxy: S3Proxy) -> GCSStorage:
    """A storage behind the proxy, which repeats without waiting long, and gives up soon."""
    made = server.storage(bucket, endpoint_url=proxy.url, chunk_size=PIECE)
    made._connection.pause = 0.001
    return made


def patiently(storage: GCSStorage, *, repeats: bool) -> None:
    """Say whether what failed is repeated."""
    storage._connection._retry_for = 60 if repeats else 0


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.CUT_REQUEST, Fault.LOSE_ANSWER])
def test_one_fault_of_an_upload_is_nobodys_business(through: GCSStorage, proxy: S3Proxy, fault: Fault) -> None:
    """Of any of its requests; only bytes that the server lacks are sent again."""
    data = some_bytes(3 * PIECE)
    attempts = [("POST", b"small"), ("POST", data), ("PUT", data)]
    for method, content in attempts:
        proxy.fail(fault, method, after=500)
        file_id = through.create(content)
        assert proxy.pending() == 0
        assert content_of(through, file_id) == content
    proxy.fail(fault, "PUT", containing="upload_id", times=4, after=500)
    assert content_of(through, through.create(Stream(data))) == data
    assert len(list(through.list())) == 4


def test_a_lost_answer_does_not_meet_its_own_condition(through: GCSStorage, proxy: S3Proxy) -> None:
    """Repeated, the request finds the object that it has made itself."""
    proxy.fail(Fault.LOSE_ANSWER, "POST")
    file_id = through.create(b"there")
    assert proxy.pending() == 0
    assert proxy.taken() == ["POST", "POST", "GET"]
    assert content_of(through, file_id) == b"there"


def test_a_checksum_that_cannot_be_told_afterwards_is_not_missed(through: GCSStorage, proxy: S3Proxy) -> None:
    """The file is whole without it."""
    patiently(through, repeats=False)
    proxy.fail(Fault.BUSY, "GET")
    info = through.save(Content.of(Stream(some_bytes(2 * PIECE))))
    assert info.checksum is through.get(info.file_id).checksum is None
    assert content_of(through, info.file_id) == some_bytes(2 * PIECE)


def test_a_depot_is_configured_by_filedepots_settings(server: Server, bucket: str) -> None:
    with temporary_depots():
        depot = DepotManager.configure(
            "default",
            {
                "depot.backend": "depot.io.gcs.GCSStorage",
                "depot.project_id": "project",
                "depot.credentials": signing(),
                "depot.bucket": bucket,
                "depot.policy": "private",
                "depot.storage_class": "STANDARD",
                "depot.prefix": "media/",
                "depot.endpoint_url": server.url,
            },
        )
        assert DepotManager.get_file(f"default/{depot.create(b'hello')}").read() == b"hello"
