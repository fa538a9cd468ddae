"""Files of a bucket of Google's through the middleware: the redirect to a signed URL, and what the URL asks for.

The emulator refuses no signature, so this shows the way there, and what is asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest

from depot_lite.fields.upload import UploadedFile
from depot_lite.io.gcs import GCSStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots
from tests.io.gcs_server import Server, emulator

DATA: Final = some_bytes(300_000)
HTML: Final = b"<!DOCTYPE html><script>x</script>"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with emulator() as made:
        yield made


@pytest.fixture
def storage(server: Server) -> Iterator[GCSStorage]:
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
def client(storage: GCSStorage) -> Iterator[httpx.Client]:
    with _serving() as client:
        yield client


def signed(storage: GCSStorage, *content: Any, **more: Any) -> str:
    return DepotManager.url_for(f"default/{storage.create(*content)}", **more)


def query_of(answer: httpx.Response) -> dict[str, list[str]]:
    return parse_qs(urlsplit(str(answer.url)).query)


def test_a_signed_url_leads_to_a_signed_url_that_gives_the_file(client: httpx.Client, storage: GCSStorage) -> None:
    url = signed(storage, DATA, "Grüße.png", "image/png")
    answer = client.get(url, follow_redirects=True)
    assert [each.status_code for each in answer.history] == [302]
    assert answer.history[0].headers["cache-control"] == "private, max-age=300"
    assert (answer.status_code, answer.content == DATA) == (200, True)
    assert query_of(answer)["X-Goog-Expires"] == [str(600 + 150)]


def test_a_part_is_had_from_there(client: httpx.Client, storage: GCSStorage) -> None:
    answer = client.get(signed(storage, DATA), headers={"Range": "bytes=1000-1999"}, follow_redirects=True)
    assert (answer.status_code, answer.content) == (206, DATA[1000:2000])


def test_the_name_and_the_type_that_we_say_are_told_there(client: httpx.Client, storage: GCSStorage) -> None:
    """A page is a download on the storage's host, too, whatever the URL says. Google has its own mind of types."""
    answer = client.get(signed(storage, HTML, "a.html", "text/html"), follow_redirects=True)
    assert query_of(answer)["response-content-type"] == ["application/octet-stream"]
    assert answer.headers["content-disposition"] == 'attachment; filename="a.html"'
    url = signed(storage, "Grüße".encode(), "a.txt", "text/plain", download=True, filename="b ü.txt")
    answer = client.get(url, follow_redirects=True)
    assert query_of(answer)["response-content-type"] == ["text/plain; charset=utf-8"]
    assert answer.headers["content-disposition"] == "attachment; filename=\"b u.txt\"; filename*=UTF-8''b%20%C3%BC.txt"


def test_head_is_answered_before(client: httpx.Client, storage: GCSStorage) -> None:
    answer = client.head(signed(storage, DATA))
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(DATA)))


def test_without_a_signature_nobody_is_led_anywhere(client: httpx.Client, storage: GCSStorage) -> None:
    path = f"/depot/default/{storage.create(DATA)}"
    for url in (path, f"{path}?signature=x"):
        answer = client.get(url)
        assert (answer.status_code, "location" in answer.headers) == (403, False)


def test_our_signature_expires(client: httpx.Client, storage: GCSStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 100)
    url = signed(storage, DATA, expires_in=40)
    assert client.get(url).status_code == 302
    monkeypatch.undo()
    assert client.get(url).status_code == 403


def test_what_is_remembered_of_a_redirect_still_works(
    client: httpx.Client, storage: GCSStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the time for which a browser may keep it."""
    now = time.time()
    url = signed(storage, DATA, expires_in=7200)
    monkeypatch.setattr(time, "time", lambda: now - 300)
    location = client.get(url).headers["location"]
    monkeypatch.undo()
    assert httpx.get(location, timeout=30).content == DATA


def test_a_proxy_sends_the_bytes_itself(storage: GCSStorage) -> None:
    with _serving(proxy=True) as client:
        url = signed(storage, DATA)
        answer = client.get(url)
        assert (answer.status_code, answer.content == DATA) == (200, True)
        part = client.get(url, headers={"Range": "bytes=-5"})
        assert (part.status_code, part.content) == (206, DATA[-5:])
        assert client.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_a_value_s_urls_are_the_storage_s_own(client: httpx.Client, storage: GCSStorage) -> None:
    """They work without us."""
    value = UploadedFile(DATA, filename="a.png", content_type="image/png")
    value.store()
    assert httpx.get(value.url, timeout=30).content == DATA
    url = value.url_for(expires_in=timedelta(minutes=5), download=True)
    answer = httpx.get(url, timeout=30)
    assert answer.content == DATA
    assert answer.headers["content-disposition"] == 'attachment; filename="a.png"'
    assert parse_qs(urlsplit(url).query)["X-Goog-Expires"] == ["375"]


def test_what_cannot_be_signed_is_served_by_us(server: Server) -> None:
    """With credentials that hold no key, as those of a machine."""
    with server.bucket() as bucket, temporary_depots():
        storage = server.storage(bucket, client=server.client())
        DepotManager.configure("default", storage, visibility="private")
        DepotManager.configure_signing("the key of these tests")
        with _serving() as client:
            answer = client.get(signed(storage, DATA))
            assert (answer.status_code, answer.content == DATA) == (200, True)


def test_what_is_public_is_led_to_its_plain_url(server: Server) -> None:
    with server.bucket() as bucket, temporary_depots():
        storage = server.storage(bucket, policy="public-read")
        DepotManager.configure("default", storage)
        with _serving() as client:
            file_id = storage.create(DATA)
            answer = client.get(f"/depot/default/{file_id}")
            assert answer.headers["location"] == f"{server.url}/{bucket}/{file_id}"
            assert httpx.get(answer.headers["location"]).content == DATA
