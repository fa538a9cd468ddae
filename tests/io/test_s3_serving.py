"""Files of an S3 bucket through the middleware: the redirect to a signed URL, and what becomes of the URL.

On moto, which refuses no signature, the way there; on a real server, where DEPOT_TEST_S3_URL names one, everything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest

from depot_lite.fields.upload import UploadedFile
from depot_lite.io.boto3 import S3Storage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots
from tests.io.s3_server import Server, moto_server, real_server

DATA: Final = some_bytes(300_000)
HTML: Final = b"<!DOCTYPE html><script>x</script>"


@pytest.fixture(scope="module", params=["moto", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "real":
        yield real_server()
        return
    with moto_server() as server:
        yield server


@pytest.fixture
def real(server: Server, request: pytest.FixtureRequest) -> None:
    """Skip on moto, which lets everybody read everything."""
    if request.node.callspec.params["server"] == "moto":
        pytest.skip("moto refuses nothing")


@pytest.fixture
def storage(server: Server) -> Iterator[S3Storage]:
    """A private depot in a bucket of its own."""
    with server.bucket() as bucket, temporary_depots():
        storage = server.storage(bucket)
        DepotManager.configure("default", storage, visibility="private")
        DepotManager.configure_signing("the key of these tests")
        yield storage


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name that the base class gives it
        pass


def _application(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"app"]


@contextmanager
def _serving(**options: Any) -> Iterator[httpx.Client]:
    app = DepotManager.make_middleware(_application, **options)
    with make_server("127.0.0.1", 0, app, handler_class=_Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", timeout=30) as client:
                yield client
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def client(storage: S3Storage) -> Iterator[httpx.Client]:
    with _serving() as client:
        yield client


def signed(storage: S3Storage, *content: Any, **more: Any) -> str:
    return DepotManager.url_for(f"default/{storage.create(*content)}", **more)


def test_a_signed_url_leads_to_a_signed_url_that_gives_the_file(client: httpx.Client, storage: S3Storage) -> None:
    url = signed(storage, DATA, "Grüße.png", "image/png")
    answer = client.get(url, follow_redirects=True)
    assert [each.status_code for each in answer.history] == [302]
    assert answer.history[0].headers["cache-control"] == "private, max-age=300"
    assert (answer.status_code, answer.content == DATA) == (200, True)
    expires = parse_qs(urlsplit(str(answer.url)).query)["X-Amz-Expires"]
    assert expires == [str(600 + 150)]


def test_a_part_is_had_from_there(client: httpx.Client, storage: S3Storage) -> None:
    answer = client.get(signed(storage, DATA), headers={"Range": "bytes=1000-1999"}, follow_redirects=True)
    assert (answer.status_code, answer.content) == (206, DATA[1000:2000])


def test_the_name_and_the_type_that_we_say_are_told_there(client: httpx.Client, storage: S3Storage) -> None:
    """A page is a download of no type on the storage's host, too."""
    answer = client.get(signed(storage, HTML, "a.html", "text/html"), follow_redirects=True)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="a.html"'
    url = signed(storage, "Grüße".encode(), "a.txt", "text/plain", download=True, filename="b ü.txt")
    answer = client.get(url, follow_redirects=True)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == "attachment; filename=\"b u.txt\"; filename*=UTF-8''b%20%C3%BC.txt"


def test_head_is_answered_before(client: httpx.Client, storage: S3Storage) -> None:
    answer = client.head(signed(storage, DATA))
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(DATA)))


def test_without_a_signature_nobody_is_led_anywhere(client: httpx.Client, storage: S3Storage) -> None:
    path = f"/depot/default/{storage.create(DATA)}"
    for url in (path, f"{path}?signature=x"):
        answer = client.get(url)
        assert (answer.status_code, "location" in answer.headers) == (403, False)


def test_our_signature_expires(client: httpx.Client, storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 100)
    url = signed(storage, DATA, expires_in=40)
    assert client.get(url).status_code == 302
    monkeypatch.undo()
    assert client.get(url).status_code == 403


def test_what_is_remembered_of_a_redirect_still_works(
    client: httpx.Client, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the time for which a browser may keep it."""
    now = time.time()
    url = signed(storage, DATA, expires_in=7200)
    monkeypatch.setattr(time, "time", lambda: now - 300)
    location = client.get(url).headers["location"]
    monkeypatch.undo()
    assert httpx.get(location, timeout=30).content == DATA


@pytest.mark.usefixtures("real")
def test_the_storage_s_signature_expires(
    client: httpx.Client, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 800)
    location = client.get(signed(storage, DATA)).headers["location"]
    monkeypatch.undo()
    answer = httpx.get(location, timeout=30)
    assert (answer.status_code, answer.content == DATA) == (403, False)


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.partition("?")[0],
        lambda url: url.replace("X-Amz-Expires=750", "X-Amz-Expires=7500"),
        lambda url: url.replace("inline", "attachment"),
        lambda url: url.replace("X-Amz-Signature=", "X-Amz-Signature=0"),
    ],
    ids=["no signature", "longer", "another disposition", "another signature"],
)
def test_the_storage_refuses_what_was_not_signed(
    client: httpx.Client, storage: S3Storage, change: Callable[[str], str]
) -> None:
    location = client.get(signed(storage, DATA, "a.png", "image/png")).headers["location"]
    changed = change(location)
    assert changed != location
    assert httpx.get(location, timeout=30).status_code == 200
    assert httpx.get(changed, timeout=30).status_code == 403


def test_a_proxy_sends_the_bytes_itself(storage: S3Storage) -> None:
    with _serving(proxy=True) as client:
        url = signed(storage, DATA)
        answer = client.get(url)
        assert (answer.status_code, answer.content == DATA) == (200, True)
        part = client.get(url, headers={"Range": "bytes=-5"})
        assert (part.status_code, part.content) == (206, DATA[-5:])
        assert client.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_a_value_s_urls_are_the_storage_s_own(client: httpx.Client, storage: S3Storage) -> None:
    """They work without us."""
    value = UploadedFile(DATA, filename="a.png", content_type="image/png")
    value.store()
    assert httpx.get(value.url, timeout=30).content == DATA
    url = value.url_for(expires_in=timedelta(minutes=5), download=True)
    answer = httpx.get(url, timeout=30)
    assert answer.content == DATA
    assert answer.headers["content-disposition"] == 'attachment; filename="a.png"'
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["375"]
