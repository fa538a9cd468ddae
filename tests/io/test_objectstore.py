"""ObjectStoreStorage in memory, in a folder, on azurite, on moto and, where there is one, on a real S3 server."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import obstore
import pytest
from werkzeug.wsgi import get_input_stream
from wsgidav.wsgidav_app import WsgiDAVApp

from depot_lite.errors import ConfigurationError, StorageFailed, StorageFull, StoredFileNotFound
from depot_lite.io.fileid import new_file_id
from depot_lite.io.objectstore import ObjectStoreStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import BreakingFile, StorageContract, some_bytes, temporary_depots
from tests.io.azurite import ACCOUNT, KEY, Azurite, azurite
from tests.io.s3_proxy import Fault, S3Proxy
from tests.io.s3_server import Server, moto_server, real_server
from tests.support.streams import Stream

MB = 1024 * 1024
PARTS: dict[str, Any] = {"part_size": 5 * MB}


@pytest.fixture(scope="module")
def azure() -> Iterator[Azurite]:
    with azurite() as made:
        yield made


@pytest.fixture
def container(azure: Azurite) -> Iterator[str]:
    with azure.container() as name:
        yield name


@pytest.fixture
def storage(azure: Azurite, container: str) -> ObjectStoreStorage:
    return azure.storage(container, **PARTS)


@pytest.fixture
def proxy(azure: Azurite) -> Iterator[S3Proxy]:
    """A proxy before azurite, which counts requests and lets them fail."""
    with S3Proxy(azure.endpoint) as made:
        yield made


@pytest.fixture
def proxied(azure: Azurite, container: str, proxy: S3Proxy) -> ObjectStoreStorage:
    return azure.storage(container, **behind(azure, container, proxy), **PARTS)


def behind(azure: Azurite, container: str, proxy: S3Proxy, **more: Any) -> dict[str, Any]:
    """Return the options of a storage whose requests go through a proxy."""
    retries = {"max_retries": 3, "backoff": {"init_backoff": 0.001, "max_backoff": 0.002}}
    config = azure.options(container, endpoint=f"{proxy.url}/{ACCOUNT}")["config"]
    return {"config": config, "retry_config": retries, **more}


@pytest.fixture(scope="module", params=["moto", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "real":
        yield real_server()
        return
    with moto_server() as made:
        yield made


@pytest.fixture
def bucket(server: Server) -> Iterator[str]:
    with server.bucket() as name:
        yield name


@pytest.fixture(scope="module")
def real_bucket() -> Iterator[tuple[Server, str]]:
    server = real_server()
    with server.bucket() as name:
        yield server, name


def s3_options(server: Server, **config: str) -> dict[str, Any]:
    keys = {"access_key_id": server.access_key, "secret_access_key": server.secret_key}
    return {
        "config": {**keys, "endpoint": server.url, "region": "us-east-1", **config},
        "client_options": {"allow_http": True},
        "retry_config": {"max_retries": 0},
    }


def on_s3(server: Server, bucket: str, prefix: str = "", **options: Any) -> ObjectStoreStorage:
    return ObjectStoreStorage(f"s3://{bucket}", prefix, **{**s3_options(server), **options})


def content_of(storage: ObjectStoreStorage, file_id: str) -> bytes:
    with storage.get(file_id) as file:
        return file.read()


# --- the contract -----------------------------------------------------------------------------------------------------


class TestInMemory(StorageContract):
    def make_storage(self, tmp_path: Path) -> ObjectStoreStorage:
        return ObjectStoreStorage("memory://", "media", part_size=5 * MB)


class TestInAFolder(StorageContract):
    def make_storage(self, tmp_path: Path) -> ObjectStoreStorage:
        return ObjectStoreStorage(f"file://{tmp_path}/files", mkdir=True, part_size=5 * MB)


class TestOnAzurite(StorageContract):
    @pytest.fixture(autouse=True)
    def _where(self, azure: Azurite, container: str) -> None:
        self.azure, self.container = azure, container

    def make_storage(self, tmp_path: Path) -> ObjectStoreStorage:
        return self.azure.storage(self.container, prefix="media/", part_size=5 * MB)


class TestOnARealS3Server(StorageContract):
    """In one bucket, since to make one takes longer than a test."""

    @pytest.fixture(autouse=True)
    def _where(self, real_bucket: tuple[Server, str]) -> None:
        self.server, self.bucket = real_bucket

    def make_storage(self, tmp_path: Path) -> ObjectStoreStorage:
        return on_s3(self.server, self.bucket, f"media/{new_file_id()}", part_size=5 * MB)


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "media", "foo://x", "s3://", "az://", "file://relative", "memory://x/y", "http://", "http://[::1", None, 7],
)
def test_a_url_that_leads_nowhere_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="url"):
        ObjectStoreStorage(url)


@pytest.mark.parametrize(
    "url",
    ["https://user:hunter2@files.example.com/x", "https://hunter2@files.example.com", "az://container?sig=hunter2"],
)
def test_a_url_with_a_secret_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ObjectStoreStorage(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)).replace(repr(url), "")
    assert "hunter2" not in str(caught.value)


OPTIONS: dict[str, Any] = {"config": {"account_name": "me", "account_key": "c2VjcmV0"}}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"config": {**OPTIONS["config"], "nonsense": "hunter2"}}, "config: unknown 'nonsense'"),
        ({**OPTIONS, "client_options": {"nonsense": "hunter2"}}, "nonsense"),
        ({**OPTIONS, "retry_config": {"nonsense": "hunter2"}}, "nonsense"),
        ({**OPTIONS, "retry_config": {"backoff": {"nonsense": 1}}}, "nonsense"),
        ({**OPTIONS, "retry_config": {"retry_timeout": "hunter2"}}, "retry_timeout"),
        ({**OPTIONS, "client_options": {"timeout": "hunter2"}}, "no store for az://container"),
        ({**OPTIONS, "config": "hunter2"}, "config: expected a dictionary"),
        ({**OPTIONS, "config": {}}, "Account must be specified"),
        ({**OPTIONS, "prefix": "../hunter2"}, "prefix"),
        ({**OPTIONS, "prefix": "a//b"}, "prefix"),
        ({**OPTIONS, "part_size": "1"}, "part_size"),
        ({**OPTIONS, "mkdir": "yes"}, "mkdir: no option"),
        ({**OPTIONS, "public_base_url": "https://me:hunter2@cdn.example.com"}, "public_base_url"),
        ({**OPTIONS, "signed_url_expiry": 8 * 24 * 3600}, "signed_url_expiry"),
        ({**OPTIONS, "concurrency": 0}, "concurrency"),
    ],
)
def test_a_bad_option_is_refused_by_its_name(
    options: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its value is not in the message, since it may be a secret."""
    for name in [each for each in os.environ if each.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match=named) as caught:
        ObjectStoreStorage("az://container", **options)
    told = "".join(traceback.format_exception(caught.value)).replace("prefix='../hunter2'", "")
    assert "hunter2" not in told.replace(repr(options), "")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("memory://", {"client_options": {"timeout": "1s"}}),
        ("memory://", {"config": {"a": "b"}}),
        ("file:///tmp", {"retry_config": {"max_retries": 1}}),
        ("http://localhost/x", {"config": {"a": "b"}}),
        ("http://localhost/x", {"public_base_url": "https://cdn.example.com"}),
        ("file:///tmp", {"public_base_url": "https://cdn.example.com"}),
    ],
)
def test_an_option_that_a_store_would_not_heed_is_refused(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        ObjectStoreStorage(url, **options)


def test_a_folder_that_is_not_there_is_refused_unless_it_may_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such folder"):
        ObjectStoreStorage(f"file://{tmp_path}/a/b")
    ObjectStoreStorage(f"file://{tmp_path}/a/b", mkdir="yes").create(b"x")


def test_options_come_as_strings_from_settings(azure: Azurite, container: str) -> None:
    options = azure.options(container)
    settings = {name: value if isinstance(value, str) else json.dumps(value) for name, value in options.items()}
    settings |= {"backend": "depot_lite.io.objectstore.ObjectStoreStorage", "part_size": "5242880", "sign_urls": "no"}
    with temporary_depots():
        depot = DepotManager.configure("default", settings, prefix="")
        assert depot.get(depot.create(b"x")).read() == b"x"
        settings["cofnig"] = settings.pop("config")
        with pytest.raises(ConfigurationError, match="unknown option 'cofnig'") as caught:
            DepotManager.configure("other", settings, prefix="")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("library", ["obstore", "greenlet"])
def test_a_missing_library_is_told_with_its_extra(library: str) -> None:
    code = f"""
import sys
sys.modules[{library!r}] = None
from depot_lite import DepotManager
try:
    DepotManager.configure("default", {{"depot.backend": "depot_lite.io.objectstore.ObjectStoreStorage"}})
except Exception as error:
    print(type(error).__name__, error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20).stdout
    assert told.startswith("ConfigurationError"), told
    assert library in told
    assert "pip install 'depot_lite[objectstore]'" in told


def test_a_folder_and_a_bucket_are_where_others_say_they_are(tmp_path: Path) -> None:
    """So that a sweep of S3Storage knows the files of one here, and of this one in two ways."""
    keys: dict[str, Any] = {"config": {"access_key_id": "k", "secret_access_key": "s"}}
    assert ObjectStoreStorage("s3://bucket", "media", **keys).location == ("s3", "bucket", "media/")
    assert ObjectStoreStorage("s3://bucket/media", **keys).location == ("s3", "bucket", "media/")
    assert ObjectStoreStorage("gs://bucket/a", "b", config={"skip_signature": "true"}).location == (
        *("gcs", "bucket", "a/b/"),
    )
    azure = ObjectStoreStorage("az://container/a", **OPTIONS)
    assert azure.location == ("azure", "me", "container", "a/")
    assert azure.location == ObjectStoreStorage("https://me.blob.core.windows.net/container", "a", **OPTIONS).location
    assert ObjectStoreStorage(f"file://{tmp_path}/", "a").location == ("local", f"file://{tmp_path}/a/")
    assert ObjectStoreStorage("memory://").location is None


def test_nothing_is_asked_before_it_has_to_be() -> None:
    """Not by constructing, and not by what needs no answer; and no secret is shown."""
    storage = ObjectStoreStorage(
        "az://container/x",
        "media",
        config={**OPTIONS["config"], "endpoint": "http://127.0.0.1:9/me"},
        client_options={"allow_http": True},
    )
    assert repr(storage) == "ObjectStoreStorage('az://container/x', prefix='media/')"
    storage.url(new_file_id())
    assert storage.public_url(new_file_id()) is None


# --- requests ---------------------------------------------------------------------------------------------------------


def test_large_content_is_sent_in_parts(proxied: ObjectStoreStorage, proxy: S3Proxy) -> None:
    """Those, and one that joins them; its checksum is kept where it can be known before."""
    data = some_bytes(11 * MB)
    for content, known in ((data, True), (Stream(data), False)):
        file_id = proxied.create(content, "a.bin")
        assert proxy.taken() == ["PUT"] * 4
        with proxied.get(file_id) as file:
            assert file.read() == data
            assert file.checksum == (f"crc32:{zlib.crc32(data):08x}" if known else None)
        proxy.taken()


@pytest.mark.parametrize("size", [5 * MB - 1, 5 * MB, 5 * MB + 1, 10 * MB])
def test_sizes_at_the_edges_come_back(size: int, tmp_path: Path) -> None:
    data = some_bytes(size)
    for url in ("memory://", f"file://{tmp_path}"):
        storage = ObjectStoreStorage(url, part_size=5 * MB)
        for content in (data, Stream(data)):
            file_id = storage.create(content)
            assert content_of(storage, file_id) == data
        assert {entry.size for entry in storage.list()} == {size}


def test_other_methods_cost_what_they_must(proxied: ObjectStoreStorage, proxy: S3Proxy) -> None:
    """One request each, two for a copy, one for many deletions; none for URLs, and sizes of listed files."""
    file_id = proxied.create(b"x")
    proxy.taken()
    assert proxied.exists(file_id)
    assert proxy.taken() == ["HEAD"]
    copied = proxied.copy(file_id)
    assert proxy.taken() == ["PUT", "HEAD"]
    assert [entry.size for entry in proxied.list()] == [1, 1]
    assert {entry.last_modified.tzinfo for entry in proxied.list()} == {UTC}
    assert proxy.taken() == ["GET", "GET"]
    assert proxied.url(file_id) is not None
    assert proxy.taken() == []
    proxied.delete(copied)
    assert proxy.taken() == ["POST"]
    assert proxied.delete_many([proxied.create(b"") for _ in range(20)]) == {}
    assert proxy.taken() == ["PUT"] * 20 + ["POST"]


def test_another_prefix_of_a_container_is_copied_there(
    azure: Azurite, container: str, proxied: ObjectStoreStorage, proxy: S3Proxy
) -> None:
    """By the store: no byte comes here."""
    archive = azure.storage(container, prefix="archive", **behind(azure, container, proxy))
    file_id = proxied.create(some_bytes(300_000), "a.bin")
    proxy.taken()
    info = archive.save_from(proxied, file_id)
    assert proxy.taken() == ["PUT", "HEAD"]
    assert (info.filename, info.content_length) == ("a.bin", 300_000)
    assert content_of(archive, info.file_id) == some_bytes(300_000)
    with pytest.raises(StoredFileNotFound):
        archive.save_from(proxied, new_file_id())
    assert list(archive.list()) == [info.file_id]


def test_what_a_store_does_not_copy_is_read_and_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 copies no object larger than 5 GB, and some web servers copy nothing."""
    storage = ObjectStoreStorage("memory://")
    file_id = storage.create(b"words", "a.txt", "text/plain")

    def refuse(*_: object) -> None:
        raise NotImplementedError("COPY")

    monkeypatch.setattr(storage._client, "copy", refuse)
    with storage.get(storage.copy(file_id)) as copied:
        assert (copied.read(), copied.filename, copied.content_type) == (b"words", "a.txt", "text/plain")
    with pytest.raises(StoredFileNotFound):
        storage.copy(new_file_id())


def test_a_name_is_as_long_as_the_server_takes() -> None:
    storage, name = ObjectStoreStorage("memory://", max_metadata_value=256), "\u0416" * 80 + ".pdf"
    assert storage.get(storage.create(b"x", name)).filename == "\u0416" * 42 + ".pdf"


def test_some_that_are_missing_do_not_keep_others_from_being_deleted(storage: ObjectStoreStorage) -> None:
    """Azure fails for them, and tells one failure of many."""
    there = [storage.create(b"") for _ in range(5)]
    assert storage.delete_many([new_file_id(), *there, new_file_id()]) == {}
    assert list(storage.list()) == []


def test_what_cannot_be_deleted_is_told(proxied: ObjectStoreStorage, proxy: S3Proxy) -> None:
    file_ids = [proxied.create(b"") for _ in range(3)]
    proxy.fail(Fault.DENIED, "POST", times=2)  # the batch, and the first one of it
    failed = proxied.delete_many(file_ids)
    assert list(failed) == file_ids[:1]
    assert isinstance(failed[file_ids[0]], StorageFailed)
    assert list(proxied.list()) == file_ids[:1]


@pytest.mark.parametrize("where", ["memory", "folder", "azure"])
def test_an_id_that_is_taken_is_not_created_again(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    storage: ObjectStoreStorage
    if where == "azure":
        storage = request.getfixturevalue("storage")
    else:
        storage = ObjectStoreStorage("memory://" if where == "memory" else f"file://{tmp_path}")
    file_id = storage.create(b"first", "a.txt")
    with pytest.raises(StorageFailed, match="there is a file already"):
        storage.create(b"second", "b.txt", file_id=file_id)
    assert content_of(storage, file_id) == b"first"
    assert storage.replace(file_id, b"third") == file_id
    assert content_of(storage, file_id) == b"third"


def test_listing_goes_beyond_one_page_and_leaves_out_what_is_not_ours() -> None:
    storage = ObjectStoreStorage("memory://", "media")
    made = {storage.create(b"x") for _ in range(2500)}
    store = storage._client.store
    for key in ("other", "media/other.txt", f"media/deeper/{new_file_id()}", f"media/{24 * 'a'}", new_file_id()):
        obstore.put(store, key, b"not ours")
    listed = list(storage.list())
    assert len(listed) == len(made)
    assert set(listed) == made
    assert all(entry.known for entry in listed)


# --- on S3 ------------------------------------------------------------------------------------------------------------


def test_s3storage_reads_what_was_stored_here_and_the_reverse(server: Server, bucket: str) -> None:
    """With name, type and checksum."""
    ours, theirs = on_s3(server, bucket, "media"), server.storage(bucket, prefix="media/")
    assert ours.location == theirs.location
    for one, other in ((ours, theirs), (theirs, ours)):
        file_id = one.create(b"words", "Grüße.txt", "text/plain")
        with other.get(file_id) as file:
            assert (file.read(), file.filename, file.content_type) == (b"words", "Grüße.txt", "text/plain")
            assert file.checksum == f"crc32:{zlib.crc32(b'words'):08x}"
    assert sorted(ours.list()) == sorted(theirs.list())


def test_a_large_upload_that_fails_leaves_no_part(server: Server, bucket: str) -> None:
    storage = on_s3(server, bucket, part_size=5 * MB)
    begun = []

    class Watched(BreakingFile):
        def readinto(self, buffer: Any, /) -> int:
            begun.extend(server.uploads(bucket))
            return super().readinto(buffer[:MB])

    with pytest.raises(Exception, match="the client has gone"):
        storage.create(Watched(17 * MB))
    assert begun, "there was no upload in parts"
    assert server.uploads(bucket) == []
    assert list(storage.list()) == []


def test_parts_that_are_refused_leave_no_part(server: Server, bucket: str) -> None:
    """Neither where a part is, nor where they are to be joined."""
    with S3Proxy(server.url) as proxy:
        retries = {"max_retries": 0}
        storage = on_s3(
            server, bucket, part_size=5 * MB, **{**s3_options(server, endpoint=proxy.url), "retry_config": retries}
        )
        for method, containing in (("PUT", "partNumber=2"), ("POST", "uploadId=")):
            proxy.fail(Fault.DENIED, method, containing=containing)
            with pytest.raises(StorageFailed, match="denied"):
                storage.create(some_bytes(11 * MB))
            assert proxy.pending() == 0
            assert server.uploads(bucket) == []
        assert list(storage.list()) == []


def test_a_server_that_is_full_says_so(server: Server, bucket: str) -> None:
    with S3Proxy(server.url) as proxy:
        retries = {"max_retries": 0}
        storage = on_s3(server, bucket, **{**s3_options(server, endpoint=proxy.url), "retry_config": retries})
        proxy.fail(Fault.FULL, "PUT")
        with pytest.raises(StorageFull):
            storage.create(b"x")
        assert proxy.pending() == 0
        assert list(storage.list()) == []


# --- failures ---------------------------------------------------------------------------------------------------------


def attempts(storage: ObjectStoreStorage) -> list[Callable[[], object]]:
    """Return what makes a request, in every way."""
    file_id = new_file_id()
    return [
        lambda: storage.create(b"x"),
        lambda: storage.create(some_bytes(5 * MB)),
        lambda: storage.get(file_id),
        lambda: storage.exists(file_id),
        lambda: storage.copy(file_id),
        lambda: storage.delete(file_id),
        lambda: list(storage.list()),
        lambda: [each for each in [*storage.delete_many([file_id]).values()] if _raise(each)],
        lambda: storage.save_from(ObjectStoreStorage("memory://"), file_id, file_id=file_id),
    ]


def _raise(error: Exception) -> bool:
    raise error


def check_all_fail(storage: ObjectStoreStorage, reason: str, *secrets: str) -> None:
    for attempt in attempts(storage):
        with pytest.raises(StorageFailed, match=reason) as caught:
            attempt()
        assert storage._address.url in str(caught.value), "the error does not say where"
        assert not isinstance(caught.value, StoredFileNotFound)
        told = "".join(traceback.format_exception(caught.value)) + repr(storage)
        assert not [each for each in secrets if each in told], "a secret is in the error"


def test_a_missing_container_is_no_missing_file(azure: Azurite) -> None:
    check_all_fail(azure.storage("no-such-container", **PARTS), "no such bucket or container", KEY)


def test_a_missing_bucket_is_no_missing_file(server: Server) -> None:
    check_all_fail(on_s3(server, "no-such-bucket", **PARTS), "no such bucket or container", server.secret_key)


def test_wrong_credentials_are_told_and_not_shown(azure: Azurite, container: str) -> None:
    key = "aHVudGVyMmh1bnRlcjI="
    options = azure.options(container, account_key=key)
    check_all_fail(azure.storage(container, config=options["config"], **PARTS), "credentials are refused", key, KEY)
    options = azure.options(container)["config"]
    del options["account_key"]
    token = "sv=2022-11-02&sr=c&sp=rwdl&se=2030-01-01T00%3A00%3A00Z&sig=aHVudGVyMg%3D%3D"
    storage = azure.storage(container, config={**options, "sas_key": token}, **PARTS)
    check_all_fail(storage, "credentials are refused", "aHVudGVyMg")


def test_wrong_keys_of_s3_are_told_and_not_shown() -> None:
    server = real_server()
    with server.bucket() as bucket:
        storage = on_s3(server, bucket, **PARTS, config=s3_options(server, secret_access_key="hunter2")["config"])
        check_all_fail(storage, "credentials are refused", "hunter2")


def test_a_server_that_cannot_be_reached_is_told(azure: Azurite) -> None:
    config = azure.options("x", endpoint=f"http://127.0.0.1:9/{ACCOUNT}")["config"]
    check_all_fail(azure.storage("container", config=config, **PARTS), "cannot be reached", KEY)
    storage = azure.storage("container", config=config, client_options={}, **PARTS)
    check_all_fail(storage, "allow_http", KEY)


def test_what_was_stored_though_its_answer_was_lost_counts_as_stored(
    proxied: ObjectStoreStorage, proxy: S3Proxy
) -> None:
    """What replaces is repeated by obstore, and what creates is not."""
    proxy.fail(Fault.LOSE_ANSWER, "PUT")
    file_id = proxied.create(b"x", "a.txt")
    assert (proxy.pending(), content_of(proxied, file_id)) == (0, b"x")
    proxy.fail(Fault.LOSE_ANSWER, "PUT", times=4)
    proxied.replace(file_id, b"y")
    assert (proxy.pending(), content_of(proxied, file_id)) == (0, b"y")
    proxy.fail(Fault.LOSE_ANSWER, "PUT", containing="comp=blocklist", times=4)
    file_id = proxied.create(some_bytes(6 * MB))
    assert (proxy.pending(), content_of(proxied, file_id)) == (0, some_bytes(6 * MB))


def test_what_was_there_before_does_not_count_as_stored(proxied: ObjectStoreStorage, proxy: S3Proxy) -> None:
    file_id = proxied.create(b"old")
    proxy.fail(Fault.CUT_REQUEST, "PUT", times=4)
    with pytest.raises(StorageFailed, match="did not answer"):
        proxied.replace(file_id, b"new")
    assert content_of(proxied, file_id) == b"old"


def test_a_body_that_breaks_off_is_continued(proxied: ObjectStoreStorage, proxy: S3Proxy) -> None:
    data = some_bytes(3 * MB)
    file_id = proxied.create(data)
    proxy.fail(Fault.CUT_ANSWER, "GET", times=2, after=MB)
    assert content_of(proxied, file_id) == data
    assert proxy.pending() == 0
    with proxied.get(file_id) as file:
        file.read(10)
        proxied.replace(file_id, some_bytes(3 * MB, 1))
        file.seek(2 * MB)
        with pytest.raises(StorageFailed, match="replaced while it was read"):
            file.read()


def test_a_full_or_forbidden_disk_is_told_with_its_number(tmp_path: Path) -> None:
    """So that the middleware answers 507 to an upload."""
    (tmp_path / "files").mkdir()
    storage = ObjectStoreStorage(f"file://{tmp_path}", "files/deeper")
    (tmp_path / "files" / "deeper").write_bytes(b"no folder")
    with pytest.raises(StorageFailed) as caught:
        storage.create(b"x")
    assert caught.value.errno
    assert str(tmp_path) in str(caught.value)


# --- in a folder ------------------------------------------------------------------------------------------------------


def test_name_and_bytes_are_one_object(tmp_path: Path) -> None:
    """So nothing can part them; a file that is not ours is damaged, and never half a file."""
    storage = ObjectStoreStorage(f"file://{tmp_path}")
    file_id = storage.create(b"words", "a.txt", "text/plain")
    assert [each.name for each in tmp_path.iterdir()] == [file_id]
    assert (tmp_path / file_id).read_bytes().endswith(b"words")
    for damaged in (b"", b"something else", (tmp_path / file_id).read_bytes()[:1000], b"x" * 5000):
        (tmp_path / file_id).write_bytes(damaged)
        with pytest.raises(StorageFailed, match="damaged"):
            storage.get(file_id)
        with pytest.raises(StorageFailed, match="damaged"):
            storage.copy(file_id)
    storage.delete(file_id)
    assert list(tmp_path.iterdir()) == []


_KILLED = """
import sys
from depot_lite.io.objectstore import ObjectStoreStorage
storage = ObjectStoreStorage(sys.argv[1], part_size=5 * 1024 * 1024)
upload = storage._client.upload(sys.argv[2], None, 5 * 1024 * 1024)
upload.write(bytes(11 * 1024 * 1024))
print("begun", flush=True)
sys.stdin.read()
"""


def test_a_process_that_dies_leaves_the_old_file(tmp_path: Path) -> None:
    storage = ObjectStoreStorage(f"file://{tmp_path}")
    file_id = storage.create(b"old", "a.txt")
    command = [sys.executable, "-c", _KILLED, f"file://{tmp_path}", file_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 2, "nothing was under way"
    assert list(storage.list()) == [file_id]
    assert content_of(storage, file_id) == b"old"


_FORKED = """
import os, sys
from depot_lite.errors import ConfigurationError
from depot_lite.io.objectstore import ObjectStoreStorage
storage = ObjectStoreStorage("memory://")
if sys.argv[1] == "used":
    storage.create(b"x")
child = os.fork()
if not child:
    try:
        print("stored", len(storage.create(b"x")), flush=True)
    except ConfigurationError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize(("before", "told"), [("unused", "stored 36"), ("used", "obstore was used before")])
def test_a_fork_is_told_instead_of_waiting_for_ever(before: str, told: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _FORKED, before]
    assert subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.startswith(told)


# --- on a web server --------------------------------------------------------------------------------------------------


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name that the base class gives it
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The URL of a folder on a WebDAV server."""
    (tmp_path / "files").mkdir()
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(tmp_path)},
            "simple_dc": {"user_mapping": {"*": True}},
            "logging": {"enable": False},
            "verbose": 0,
        }
    )

    def bounded(environ: Any, start_response: Any) -> Any:
        # Unlike others, this server's input has no end.
        return app({**environ, "wsgi.input": get_input_stream(environ)}, start_response)

    with make_server("127.0.0.1", 0, bounded, handler_class=_Silent) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_port}/files"
        finally:
            made.shutdown()
            thread.join()


def test_a_web_server_stores_files_too(web: str) -> None:
    """One by one, and none in parts; whether nobody sees half a file is up to it."""
    storage = ObjectStoreStorage(web, "media", client_options={"allow_http": True}, retry_config={"max_retries": 0})
    data = some_bytes(300_000)
    file_id = storage.create(data, "Grüße.txt", "text/plain")
    with storage.get(file_id) as file:
        assert (file.filename, file.content_type, file.content_length) == ("Grüße.txt", "text/plain", len(data))
        assert file.checksum == f"crc32:{zlib.crc32(data):08x}"
        assert file.read() == data
        file.seek(-10, io.SEEK_END)
        assert file.read() == data[-10:]
    storage.replace(file_id, b"new")
    copied = storage.copy(file_id)
    assert {entry: entry.size for entry in storage.list()} == {file_id: 3, copied: 3}
    assert storage.delete_many([file_id, new_file_id()]) == {}
    storage.delete(file_id)
    assert list(storage.list()) == [copied]
    assert (storage.exists(file_id), storage.exists(copied)) == (False, True)
    with pytest.raises(StoredFileNotFound):
        storage.get(file_id)
    with pytest.raises(StorageFailed, match="part_size"):
        storage.create(bytes(9 * MB))
    assert not storage.list_is_complete, "a sweep would trust it"
    assert storage.url(copied) is None
