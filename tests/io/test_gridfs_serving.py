"""Files of GridFS through the middleware, which sends them itself: GridFS has no URLs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from wsgiref.util import setup_testing_defaults

import pytest

from depot_lite.io.gridfs import GridFSStorage
from depot_lite.io.gridfs.stream import CHUNK
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots
from tests.io.gridfs_server import Requests, Server, databases, mongo_server

SIZE: Final = 5 * CHUNK + 7
DATA: Final = some_bytes(SIZE)


@pytest.fixture(scope="module", params=databases())
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with mongo_server(request.param) as made:
        yield made


@pytest.fixture
def storage(server: Server) -> Iterator[GridFSStorage]:
    with server.database() as database, temporary_depots():
        made = server.storage(database)
        DepotManager.configure("default", made)
        DepotManager.configure("private", server.storage(database, "private"), visibility="private")
        DepotManager.configure_signing("the key of these tests")
        DepotManager.make_middleware(lambda environ, start_response: [], mountpoint="/depot")
        yield made


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the middleware's answer."""
    path, _, query = url.partition("?")
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    setup_testing_defaults(environ)
    answer: list[Any] = []

    def start_response(*given: Any) -> Any:
        answer.extend(given)

    body: Any = DepotManager.get_middleware()(environ, start_response)  # type: ignore[operator]
    try:
        sent = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return int(answer[0][:3]), {name.lower(): value for name, value in answer[1]}, sent


@pytest.fixture
def url(storage: GridFSStorage) -> str:
    return DepotManager.url_for(f"default/{storage.create(DATA, 'plan.bin')}")


def test_a_file_is_sent_whole_and_head_has_its_headers(url: str) -> None:
    status, headers, body = ask(url)
    assert (status, body == DATA, headers["content-length"]) == (200, True, str(SIZE))
    assert headers["accept-ranges"] == "bytes"
    assert ask(url, "HEAD")[1:] == (headers, b"")


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        (f"bytes={CHUNK - 1}-{CHUNK}", slice(CHUNK - 1, CHUNK + 1)),
        (f"bytes={4 * CHUNK}-", slice(4 * CHUNK, None)),
        ("bytes=-10", slice(-10, None)),
        (f"bytes=5-{SIZE + 100}", slice(5, None)),
    ],
)
def test_a_part_is_sent(url: str, asked: str, part: slice) -> None:
    status, headers, body = ask(url, range=asked)
    assert (status, body == DATA[part], headers["content-length"]) == (206, True, str(len(DATA[part])))


def test_a_part_costs_two_requests(url: str, storage: GridFSStorage) -> None:
    requests = Requests(storage)
    ask(url, range="bytes=300000-300010")
    assert requests.taken() == {"files.find_one": 1, "chunks.find": 1}


def test_what_cannot_be_sent_is_refused(url: str, storage: GridFSStorage) -> None:
    """In the order of the specification; nothing of the chunks is asked for."""
    etag = ask(url)[1]["etag"]
    requests = Requests(storage)
    assert ask(url, "DELETE")[0] == 405
    assert ask(url, if_none_match=etag)[0] == 304
    assert ask(url, if_match='"x"')[0] == 412
    assert ask(url, range=f"bytes={SIZE}-")[0] == 416
    assert set(requests) == {"files.find_one"}
    storage.delete(url.rpartition("/")[2])
    for path in (url, "/depot/default/x", "/depot/default/507f1f77bcf86cd799439011", "/depot/default/..%2f"):
        assert ask(path)[0] == 404


def test_a_page_is_a_download(storage: GridFSStorage) -> None:
    url = DepotManager.url_for(f"default/{storage.create(b'<!DOCTYPE html><script>x</script>', 'a.html')}")
    headers = ask(url)[1]
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"


def test_a_private_file_wants_a_signature(storage: GridFSStorage) -> None:
    path = f"private/{DepotManager.get('private').create(b'secret')}"
    url = DepotManager.url_for(path)
    assert ask(url)[::2] == (200, b"secret")
    assert ask(url.partition("?")[0])[0] == ask(f"{url}x")[0] == 403


def test_a_storage_has_no_urls_of_its_own(storage: GridFSStorage) -> None:
    file_id = storage.create(b"x")
    assert (storage.has_urls, storage.url(file_id), storage.public_url(file_id)) == (False, None, None)
    assert storage.upload_form(file_id, max_size=10) is None
