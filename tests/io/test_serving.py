"""Files of each kind of storage through the middleware: redirected to a signed URL of the storage, or sent by us.

moto and Google's emulator refuse no signature: wrong ones are tried on a real S3 server and azurite.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.disposition import content_disposition
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.uploads import adoptable, upload_ticket
from tests.io.backends import KINDS, WITH_URLS, Place, on
from tests.io.serving import DATA, HTML, Answers, private_depot, serving, signed
from tests.support.files import png

with_urls = on(*WITH_URLS)
every_kind = on(*KINDS)

#: The size of DATA, and of the pieces in which GridFS keeps it.
SIZE: Final = len(DATA)
CHUNK: Final = 255 * 1024


@pytest.fixture
def storage(place: Place) -> Iterator[FileStorage]:
    """A private depot, below a prefix."""
    made = place.storage("our/media")
    with private_depot(made):
        yield made


@pytest.fixture
def client(storage: FileStorage) -> Iterator[httpx.Client]:
    with serving() as client:
        yield client


Ask = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture
def ask(storage: FileStorage) -> Ask:
    return Answers().ask


def query_of(url: object) -> dict[str, list[str]]:
    return parse_qs(urlsplit(str(url)).query)


# --- redirected -------------------------------------------------------------------------------------------------------


@with_urls
def test_a_signed_url_leads_to_a_signed_url_that_gives_the_file(
    client: httpx.Client, storage: FileStorage, place: Place
) -> None:
    answer = client.get(signed(storage, DATA, "Grüße.png", "image/png"), follow_redirects=True)
    assert [each.status_code for each in answer.history] == [302]
    assert answer.history[0].headers["cache-control"] == "private, max-age=300"
    assert (answer.status_code, answer.content == DATA) == (200, True)
    if "expiry" in place.parameters:
        assert query_of(answer.url)[place.parameters["expiry"]] == [str(600 + 150)]


@with_urls
def test_a_part_comes_from_there(client: httpx.Client, storage: FileStorage) -> None:
    answer = client.get(signed(storage, DATA), headers={"Range": "bytes=1000-1999"}, follow_redirects=True)
    assert (answer.status_code, answer.content) == (206, DATA[1000:2000])


@with_urls
def test_the_url_has_our_name_and_type(client: httpx.Client, storage: FileStorage, place: Place) -> None:
    """A page is a download of no type on the storage's host, too."""

    def type_of(answer: httpx.Response) -> str:
        name = place.parameters.get("type")
        return str(answer.headers["content-type"] if name is None else query_of(answer.url)[name][0])

    answer = client.get(signed(storage, HTML, "a.html", "text/html"), follow_redirects=True)
    assert type_of(answer) == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="a.html"'
    url = signed(storage, "Grüße".encode(), "a.txt", "text/plain", download=True, filename="b ü.txt")
    answer = client.get(url, follow_redirects=True)
    assert type_of(answer) == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == content_disposition("attachment", "b ü.txt")


@with_urls
def test_head_is_answered_before(client: httpx.Client, storage: FileStorage) -> None:
    url = signed(storage, DATA)
    answer = client.head(url)
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(SIZE))
    assert client.head(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


@on("real s3")
def test_head_of_a_signed_url_is_refused_by_the_storage(client: httpx.Client, storage: FileStorage) -> None:
    """Which is why we answer it."""
    url = signed(storage, DATA)
    location = client.get(url).headers["location"]
    assert (httpx.head(location, timeout=30).status_code, client.head(url).status_code) == (403, 200)


@with_urls
def test_head_of_a_variant_on_demand_makes_it(client: httpx.Client, storage: FileStorage) -> None:
    """As GET does, and a player or a crawler asks with HEAD first."""
    variants = UploadedFileField((), UploadedImage, variants={"small": Thumbnail(11, 11, make="on_demand")}).variants
    value = UploadedImage(png(), filename="a.png")
    value.store()
    small = value.declare_variants(variants).variants["small"]
    answer = client.head(str(small.url))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert int(answer.headers["content-length"]) == len(storage.get(small.file_id).read())
    assert (
        client.get(str(small.url), follow_redirects=True).headers["content-length"] == answer.headers["content-length"]
    )


@with_urls
def test_our_signature_expires(client: httpx.Client, storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 100)
    url = signed(storage, DATA, expires_in=40)
    assert client.get(url).status_code == 302
    monkeypatch.undo()
    assert client.get(url).status_code == 403


@with_urls
def test_a_redirect_that_was_kept_still_works(
    client: httpx.Client, storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the time for which a browser may keep it."""
    now = time.time()
    url = signed(storage, DATA, expires_in=7200)
    monkeypatch.setattr(time, "time", lambda: now - 300)
    location = client.get(url).headers["location"]
    monkeypatch.undo()
    assert httpx.get(location, timeout=30).content == DATA


@on("real s3")
def test_the_storage_s_signature_expires(
    client: httpx.Client, storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 800)
    location = client.get(signed(storage, DATA)).headers["location"]
    monkeypatch.undo()
    answer = httpx.get(location, timeout=30)
    assert (answer.status_code, answer.content == DATA) == (403, False)


@on("real s3")
@pytest.mark.parametrize(
    ("signed_part", "other"),
    [
        ("?", "#"),
        ("X-Amz-Expires=750", "X-Amz-Expires=7500"),
        ("inline", "attachment"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
    ],
    ids=["no signature", "longer", "another disposition", "another signature"],
)
def test_the_storage_refuses_what_was_not_signed(
    client: httpx.Client, storage: FileStorage, signed_part: str, other: str
) -> None:
    location = client.get(signed(storage, b"\x89PNG\r\n\x1a\n" + DATA, "a.png", "image/png")).headers["location"]
    assert signed_part in location
    assert httpx.get(location, timeout=30).status_code == 200
    assert httpx.get(location.replace(signed_part, other), timeout=30).status_code == 403


@with_urls
def test_a_value_s_urls_are_the_storage_s_own(storage: FileStorage, place: Place) -> None:
    """They work without us."""
    value = UploadedFile(DATA, filename="a.png", content_type="image/png")
    value.store()
    assert httpx.get(value.url, timeout=30).content == DATA
    url = value.url_for(expires_in=timedelta(minutes=5), download=True)
    answer = httpx.get(url, timeout=30)
    assert answer.content == DATA
    assert answer.headers["content-disposition"] == 'attachment; filename="a.png"'
    if "expiry" in place.parameters:
        assert query_of(url)[place.parameters["expiry"]] == ["375"]


# --- sent by us -------------------------------------------------------------------------------------------------------


@every_kind
def test_over_http_we_send_the_bytes_if_told_to(storage: FileStorage) -> None:
    with serving(proxy=True) as client:
        url = signed(storage, DATA)
        answer = client.get(url)
        assert (answer.status_code, answer.content == DATA) == (200, True)
        part = client.get(url, headers={"Range": "bytes=-5"})
        assert (part.status_code, part.content) == (206, DATA[-5:])
        assert client.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


@with_urls
def test_a_value_s_urls_are_ours_then(storage: FileStorage) -> None:
    """And work, for a client that does not reach the storage; so does a direct upload."""
    value = UploadedFile(DATA, filename="a.png", content_type="image/png")
    value.store()
    with serving(proxy=True) as client:
        for url in (value.url, value.url_for(expires_in=60, download=True)):
            answer = client.get(url)
            assert (answer.status_code, answer.content == DATA) == (200, True)
        ticket = upload_ticket()
        assert client.request(ticket.method, ticket.url, content=DATA).status_code == 201
        upload = adoptable(ticket.token)
        assert upload is not None
        assert storage.get(upload.file_id).read() == DATA


@every_kind
def test_a_file_is_sent_whole_and_head_has_its_headers(storage: FileStorage, ask: Ask) -> None:
    url = signed(storage, DATA, "plan.bin")
    status, headers, body = ask(url)
    assert (status, body == DATA, headers["content-length"]) == (200, True, str(SIZE))
    assert headers["accept-ranges"] == "bytes"
    _, without_body, nothing = ask(url, "HEAD")
    # It may be kept for the rest of the signature's time, in seconds.
    assert headers.pop("cache-control").startswith("private, immutable, max-age=")
    assert without_body.pop("cache-control").startswith("private, immutable, max-age=")
    assert (without_body, nothing) == (headers, b"")


@every_kind
@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        (f"bytes={CHUNK - 1}-{CHUNK}", slice(CHUNK - 1, CHUNK + 1)),
        (f"bytes={CHUNK}-", slice(CHUNK, None)),
        ("bytes=-10", slice(-10, None)),
        (f"bytes=5-{SIZE + 100}", slice(5, None)),
    ],
)
def test_a_part_is_sent(storage: FileStorage, ask: Ask, asked: str, part: slice) -> None:
    status, headers, body = ask(signed(storage, DATA), range=asked)
    assert (status, body == DATA[part], headers["content-length"]) == (206, True, str(len(DATA[part])))


@every_kind
def test_a_request_that_cannot_be_met_is_refused(storage: FileStorage, ask: Ask) -> None:
    """In the order of the specification."""
    url = signed(storage, DATA)
    etag = ask(url)[1]["etag"]
    assert ask(url, "DELETE")[0] == 405
    assert ask(url, if_none_match=etag)[0] == 304
    assert ask(url, if_match='"x"')[0] == 412
    assert ask(url, range=f"bytes={SIZE}-")[0] == 416
    storage.delete(url.partition("?")[0].rpartition("/")[2])
    assert ask(url)[0] == 404


@every_kind
def test_a_page_is_a_download(storage: FileStorage, ask: Ask) -> None:
    headers = ask(signed(storage, HTML, "a.html"))[1]
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"


@every_kind
@pytest.mark.parametrize("proxy", [False, True])
def test_a_private_file_needs_a_signature(storage: FileStorage, proxy: bool) -> None:
    """Nobody without one is redirected either."""
    with serving(proxy=proxy) as client:
        url = signed(storage, b"secret")
        path = url.partition("?")[0]
        assert client.get(url, follow_redirects=True).content == b"secret"
        for refused in (path, f"{url}x", f"{path}?signature=x"):
            answer = client.get(refused)
            assert (answer.status_code, "location" in answer.headers) == (403, False)


@every_kind
def test_only_storages_with_urls_have_urls(storage: FileStorage, place: Place) -> None:
    file_id = storage.create(b"x")
    told: list[Any] = [storage.url(file_id), storage.public_url(file_id), storage.upload_form(file_id, max_size=10)]
    if not storage.has_urls:
        assert told == [None, None, None]


# --- a server that is down --------------------------------------------------------------------------------------------


@pytest.mark.server
@pytest.mark.parametrize("proxy", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_server_that_is_down_is_503(method: str, proxy: bool, caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log says which file and why; the client may try again soon."""
    from tests.io.s3_server import Server

    with socket.create_server(("127.0.0.1", 0)) as nobody:
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    storage, file_id = Server(endpoint, "key", "secret").storage("bucket", timeout=10), new_file_id()
    with private_depot(storage), serving(proxy=proxy) as client:
        answer = client.request(method, DepotManager.url_for(f"default/{file_id}"))
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (503, b"", "5")
    [record] = [each for each in caplog.records if each.name == "depot_lite"]
    assert (record.levelname, record.exc_info) == ("ERROR", None)
    assert file_id in record.getMessage()
    assert "the endpoint cannot be reached" in record.getMessage()
    assert "\n" not in record.getMessage()
