"""DepotMiddleware: real requests to a real server, and what only WSGI's own rules show."""

from __future__ import annotations

import http.client
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from depot_lite.errors import AlreadyConfigured, ConfigurationError, UnknownDepot
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import StoredFile
from depot_lite.io.local import LocalFileStorage, LocalStoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.middleware import DepotMiddleware
from depot_lite.testing import some_bytes, temporary_depots

DATA = b"\x89PNG\r\n\x1a\n" + some_bytes(99_992)


class WatchedLocal(LocalFileStorage):
    """A local storage that remembers the files that it gave out."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, durable=False)
        self.given: list[StoredFile] = []

    def _open(self, file_id: str) -> LocalStoredFile:
        file = super()._open(file_id)
        self.given.append(file)
        return file


class WatchedMemory(MemoryFileStorage):
    """A memory storage that remembers the files that it gave out."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[StoredFile] = []

    def _open(self, file_id: str) -> StoredFile:
        file = super()._open(file_id)
        self.given.append(file)
        return file


Watched = WatchedLocal | WatchedMemory


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Tell which request came through."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"app: {environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode("latin-1")]


class _Handler(WSGIRequestHandler):
    """Writes nothing to the console; an error of the application is the test's."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name that the base class gives it
        pass


class _Server(WSGIServer):
    """One request after the other: when one is answered, all that the one before opened is closed."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is what some tests are about."""


@contextmanager
def serving(app: WSGIApplication) -> Iterator[int]:
    """Serve an application and give the port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.set_app(app)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


Answer = tuple[int, dict[str, str], bytes]


def request(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    """Send a request and return status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=sent)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    """Each of the two storages as the default depot, with the check that all files are closed in the end."""
    made: Watched = WatchedLocal(tmp_path / "media") if request.param == "local" else WatchedMemory()
    with temporary_depots():
        DepotManager.configure("default", made)
        yield made
        assert all(file.closed for file in made.given)


@pytest.fixture(params=["the server's file_wrapper", "our chunks"])
def port(request: pytest.FixtureRequest, storage: Watched) -> Iterator[int]:
    """A server with the middleware, which sends whole files in either way."""
    ours = request.param == "our chunks"
    with serving(DepotManager.make_middleware(application, replace_wsgi_filewrapper=ours)) as port:
        yield port


class TestRequests:
    def test_a_file_comes_back_as_it_was_stored(self, port: int, storage: Watched) -> None:
        file_id = storage.create(DATA, "naïve.png", "image/png")
        status, headers, body = request(port, DepotManager.url_for(f"default/{file_id}"))
        assert (status, body) == (200, DATA)
        assert headers["content-length"] == str(len(DATA))
        assert headers["accept-ranges"] == "bytes"
        assert headers["content-disposition"] == "inline; filename=\"naive.png\"; filename*=UTF-8''na%C3%AFve.png"

    def test_head_has_the_headers_and_no_body(self, port: int, storage: Watched) -> None:
        url = f"/depot/default/{storage.create(DATA)}"
        _, got, _ = request(port, url)
        status, headers, body = request(port, url, "HEAD")
        assert (status, body) == (200, b"")
        assert headers | {"date": ""} == got | {"date": ""}

    def test_an_empty_file_is_served(self, port: int, storage: Watched) -> None:
        status, headers, body = request(port, f"/depot/default/{storage.create(b'')}")
        assert (status, headers["content-length"], body) == (200, "0", b"")

    @pytest.mark.parametrize(
        ("wanted", "part"),
        [
            ("bytes=0-0", slice(0, 1)),
            ("bytes=70000-80000", slice(70_000, 80_001)),
            ("bytes=99990-", slice(99_990, None)),
            ("bytes=-10", slice(-10, None)),
            ("bytes=0-", slice(None)),
        ],
    )
    def test_a_range_is_sent_and_no_byte_more(self, port: int, storage: Watched, wanted: str, part: slice) -> None:
        status, headers, body = request(port, f"/depot/default/{storage.create(DATA)}", Range=wanted)
        assert (status, body) == (206, DATA[part])
        start, stop, _ = part.indices(len(DATA))
        assert headers["content-range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
        assert headers["content-length"] == str(stop - start)

    def test_a_range_behind_the_end_is_416(self, port: int, storage: Watched) -> None:
        status, headers, body = request(port, f"/depot/default/{storage.create(DATA)}", Range="bytes=100000-")
        assert (status, headers["content-range"], body) == (416, "bytes */100000", b"")

    def test_an_interrupted_download_is_resumed(self, port: int, storage: Watched) -> None:
        """With the tag of the first part; once the file is another, the whole of it comes."""
        file_id = storage.create(DATA)
        url = f"/depot/default/{file_id}"
        _, headers, first = request(port, url, Range="bytes=0-49999")
        status, _, rest = request(port, url, Range="bytes=50000-", If_Range=headers["etag"])
        assert (status, first + rest) == (206, DATA)
        storage.replace(file_id, b"other")
        status, _, whole = request(port, url, Range="bytes=50000-", If_Range=headers["etag"])
        assert (status, whole) == (200, b"other")

    def test_what_a_browser_has_is_not_sent_again(self, port: int, storage: Watched) -> None:
        file_id = storage.create(DATA)
        url = f"/depot/default/{file_id}"
        _, headers, _ = request(port, url)
        assert request(port, url, If_None_Match=headers["etag"])[0] == 304
        assert request(port, url, If_Modified_Since=headers["last-modified"])[0] == 304
        assert request(port, url, If_None_Match='"other"')[2] == DATA
        assert request(port, url, If_Match='"other"')[0] == 412
        storage.replace(file_id, b"other")
        assert request(port, url, If_None_Match=headers["etag"])[2] == b"other"

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
    def test_nothing_is_changed_through_it(self, port: int, storage: Watched, method: str) -> None:
        file_id = storage.create(DATA)
        status, headers, body = request(port, f"/depot/default/{file_id}", method)
        assert (status, headers["allow"], body) == (405, "GET, HEAD", b"")
        assert storage.exists(file_id)

    def test_a_page_of_html_is_a_download(self, port: int, storage: Watched) -> None:
        """Whatever it was called."""
        file_id = storage.create(b"<!DOCTYPE html><script>steal()</script>", "photo.png", "image/png")
        _, headers, _ = request(port, f"/depot/default/{file_id}")
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-disposition"].startswith("attachment;")
        assert headers["x-content-type-options"] == "nosniff"

    def test_no_name_adds_a_header(self, port: int, storage: Watched) -> None:
        file_id = storage.create(b"x", 'a"\r\nSet-Cookie: stolen=1\r\n\r\n<script>')
        _, headers, body = request(port, f"/depot/default/{file_id}")
        assert "set-cookie" not in headers
        assert body == b"x"


class TestPaths:
    @pytest.mark.parametrize("name", ["plan.pdf", "two%20words.pdf", "%E5%A0%B1.pdf", "%FF", "..%00"])
    def test_a_name_for_people_is_ignored(self, port: int, storage: Watched, name: str) -> None:
        """Also one that is not even UTF-8, which is not found rather than an error."""
        url = f"/depot/default/{storage.create(DATA)}/{name}"
        assert request(port, url)[0] == (404 if name == "%FF" else 200)

    @pytest.mark.parametrize(
        "path",
        [
            "/depot/",
            "/depot/default",
            "/depot/default/",
            "/depot//{id}",
            "/depot/default/{id}/",
            "/depot/default/{id}/a/b",
            "/depot/default//{id}",
            "/depot/x/default/{id}",
            "/depot/nowhere/{id}",
            "/depot/default/../default/{id}",
            "/depot/default/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            "/depot/default/{id}%00",
            "/depot/default/{id}%0a",
            "/depot/default/{id}x",
            "/depot/%ff/{id}",
            "/depot/{id}/default",
            "/depot/{id}",
        ],
    )
    def test_nothing_else_below_the_mountpoint_is_found(self, port: int, storage: Watched, path: str) -> None:
        """And nothing tells why, or where files are."""
        file_id = storage.create(DATA)
        status, headers, body = request(port, path.replace("{id}", file_id))
        assert (status, body) == (404, b"")
        assert set(headers) == {"date", "server", "content-type", "content-length", "cache-control"}

    @pytest.mark.parametrize("path", ["/", "/depot", "/depots/default/x", "/other", "/a/depot/default/x", "/Depot/x/y"])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_every_other_path_is_the_application_s(self, port: int, path: str, method: str) -> None:
        assert request(port, path, method)[2] == f"app: |{path}".encode()

    def test_a_depot_may_have_any_name(self, tmp_path: Path) -> None:
        """Characters that a URL cannot hold are escaped, and understood when they come back."""
        with temporary_depots():
            depot = DepotManager.configure("médias & co?#%2F", MemoryFileStorage())
            with serving(DepotManager.make_middleware(application, mountpoint="/fichiers privés")) as port:
                url = DepotManager.url_for(f"médias & co?#%2F/{depot.create(DATA)}")
                assert url.startswith("/fichiers%20priv%C3%A9s/m%C3%A9dias%20%26%20co%3F%23%252F/")
                assert request(port, url)[2] == DATA


class TestClosing:
    @pytest.mark.matrix
    @pytest.mark.parametrize("ours", [False, True], ids=["the server's file_wrapper", "our chunks"])
    @pytest.mark.parametrize("wanted", [None, "bytes=1-"], ids=["whole", "part"])
    def test_a_client_that_goes_away_leaves_nothing_open(
        self, storage: Watched, ours: bool, wanted: str | None, tmp_path: Path
    ) -> None:
        """It hangs up after the first bytes of a file that fits in no socket's buffer."""
        file_id = storage.create(some_bytes(32 * 1024 * 1024))
        with serving(DepotMiddleware(application, replace_wsgi_filewrapper=ours)) as port:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                # Without waiting for the rest: the server's next write fails.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(f"GET /depot/default/{file_id} HTTP/1.0\r\nRange: {wanted}\r\n\r\n".encode())
                assert client.recv(1000).startswith(b"HTTP/1.0 20")
            # The server answers one request after the other, so now it has done with that one.
            assert request(port, "/")[0] == 200
            assert [file.closed for file in storage.given] == [True]
            assert not [path for path in _open_paths() if path.startswith(str(tmp_path))]

    def test_a_server_that_cannot_begin_leaves_nothing_open(self, storage: Watched) -> None:
        """It refuses a second ``start_response``, say, or a header."""

        def refusing(*_: Any) -> Any:
            raise AssertionError("headers have been sent")

        path = f"/depot/default/{storage.create(DATA)}"
        with pytest.raises(AssertionError, match="headers have been sent"):
            DepotMiddleware(application)(environ(path), refusing)
        assert [file.closed for file in storage.given] == [True]

    @pytest.mark.parametrize("storage", ["local"], indirect=True)
    def test_a_file_wrapper_that_fails_leaves_nothing_open(self, storage: Watched) -> None:
        def failing(*_: Any) -> Any:
            raise OSError("no sendfile")

        path = f"/depot/default/{storage.create(DATA)}"
        with pytest.raises(OSError, match="no sendfile"):
            call(DepotMiddleware(application), path, **{"wsgi.file_wrapper": failing})
        assert [file.closed for file in storage.given] == [True]

    def test_an_answer_that_is_closed_before_it_began_leaves_nothing_open(self, storage: Watched) -> None:
        path = f"/depot/default/{storage.create(DATA)}"
        for sent in ({}, {"HTTP_RANGE": "bytes=1-"}):
            _, _, body = call(DepotMiddleware(application), path, **sent)
            body.close()
        assert [file.closed for file in storage.given] == [True, True]


def _open_paths() -> list[str]:
    """Return what this process has open."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        link = Path("/proc/self/fd", descriptor)
        with suppress(FileNotFoundError):  # another thread has closed it by now
            found.append(os.readlink(link))
    return found


def environ(path: str, **more: Any) -> WSGIEnvironment:
    """Return the environment of a request."""
    made: WSGIEnvironment = {"PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": ""}
    setup_testing_defaults(made)
    return made | more


def call(app: WSGIApplication, path: str, **more: Any) -> tuple[str, list[tuple[str, str]], Any]:
    """Call an application as a server does; the caller closes the body."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        started.append((status, headers))
        return BytesIO().write

    body = app(environ(path, **more), start_response)
    return *started[0], body


class TestWSGI:
    @pytest.mark.parametrize("path", ["/", "/depot/default/{id}", "/depot/default/x"])
    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
    def test_it_keeps_to_the_rules(self, storage: Watched, path: str, method: str) -> None:
        """As wsgiref's validator checks them, with and without the server's file_wrapper."""
        app = validator(DepotMiddleware(_valid_application))
        path = path.replace("{id}", storage.create(DATA))
        for more in ({}, {"wsgi.file_wrapper": FileWrapper}, {"HTTP_RANGE": "bytes=1-5"}):
            _, _, body = call(app, path, REQUEST_METHOD=method, **more)
            assert sum(len(chunk) for chunk in body) >= 0
            body.close()

    def test_a_whole_file_goes_to_the_server_s_file_wrapper(self, storage: Watched) -> None:
        """Which sends it without us, from its start and by its descriptor. Nothing is gained by that without one."""
        path = f"/depot/default/{storage.create(DATA)}"
        wrapped: list[StoredFile] = []

        def file_wrapper(file: Any, size: int) -> FileWrapper:
            wrapped.append(file)
            assert file.tell() == 0
            assert os.pread(file.fileno(), 5, 0) == DATA[:5]
            return FileWrapper(file, size)

        _, _, body = call(DepotMiddleware(application), path, **{"wsgi.file_wrapper": file_wrapper})
        assert b"".join(body) == DATA
        body.close()
        assert wrapped == (storage.given if isinstance(storage, WatchedLocal) else [])

    @pytest.mark.parametrize("part", ["bytes=0-99999", "bytes=100000-"])
    def test_a_part_of_a_file_does_not(self, storage: Watched, part: str) -> None:
        """A server would send it to its end, and some from its start."""
        path = f"/depot/default/{storage.create(bytes(200_000))}"

        def file_wrapper(*_: Any) -> Any:
            raise AssertionError("this is not all of the file")

        more = {"wsgi.file_wrapper": file_wrapper, "HTTP_RANGE": part}
        status, _, body = call(DepotMiddleware(application), path, **more)
        assert status == "206 Partial Content"
        body.close()

    def test_a_small_file_is_read_and_closed_before_the_answer_begins(self, storage: Watched) -> None:
        """To set up a transfer by the server would cost more."""
        path = "/depot/default/" + storage.create(b"a small file")

        def file_wrapper(*_: Any) -> Any:
            raise AssertionError("this is too small")

        _, _, body = call(DepotMiddleware(application), path, **{"wsgi.file_wrapper": file_wrapper})
        assert body == [b"a small file"]
        assert [file.closed for file in storage.given] == [True]

    def test_the_server_s_file_wrapper_can_be_done_without(self, storage: Watched) -> None:
        """The option is filedepot's, and may be a string as it comes from an .ini file."""
        path = f"/depot/default/{storage.create(DATA)}"

        def file_wrapper(*_: Any) -> Any:
            raise AssertionError("not wanted")

        app = DepotMiddleware(application, replace_wsgi_filewrapper="true")
        _, _, body = call(app, path, **{"wsgi.file_wrapper": file_wrapper})
        assert b"".join(body) == DATA
        body.close()

    def test_headers_that_a_server_adds_do_not_stay(self, storage: Watched) -> None:
        """Servers write into the list that they get: it is a new one each time."""
        app = DepotMiddleware(application)
        _, headers, _ = call(app, "/depot/x/y")
        headers.append(("Set-Cookie", "a=b"))
        assert ("Set-Cookie", "a=b") not in call(app, "/depot/x/y")[1]

    @pytest.mark.parametrize(
        ("mountpoint", "script", "path", "served"),
        [
            # As filedepot has it: below the application, wherever that is.
            ("/depot", "", "/depot/{file}", True),
            ("/depot", "/app", "/depot/{file}", True),
            ("/depot", "/", "/depot/{file}", True),
            ("/depot", "/app", "/app/depot/{file}", False),
            ("/depot/", "", "/depot/{file}", True),
            ("/static/files", "", "/static/files/{file}", True),
            # As a browser sees it, which is what url_for gives.
            ("/app/depot", "/app", "/depot/{file}", True),
            ("/app/depot", "/app/", "/depot/{file}", True),
            ("/app/depot", "", "/app/depot/{file}", True),
            ("/app/depot", "/app", "/app/depot/{file}", False),
            ("/app/depot", "/ap", "/app/depot/{file}", True),
            # An application that is mounted where the files would be goes on working.
            ("/depot", "/depot", "/{file}", False),
            ("/depot", "/depot", "/depot/{file}", True),
            ("/depot", "", "", False),
        ],
    )
    def test_the_mountpoint_is_found_wherever_the_application_is(
        self, storage: Watched, mountpoint: str, script: str, path: str, served: bool
    ) -> None:
        path = path.replace("{file}", f"default/{storage.create(DATA)}")
        _, _, body = call(DepotMiddleware(application, mountpoint), path, SCRIPT_NAME=script)
        assert b"".join(body) == (DATA if served else f"app: {script}|{path}".encode())
        if served:
            body.close()


def _valid_application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []


class TestOptions:
    def test_they_are_filedepot_s(self) -> None:
        """By name and by position, with its defaults."""
        plain = DepotMiddleware(application)
        assert (plain.server.mountpoint, plain.server.cache_max_age) == ("/depot", 604800)
        assert plain.replace_wsgi_filewrapper is False
        given = DepotMiddleware(application, "/f", 60, True)
        assert (given.server.mountpoint, given.server.cache_max_age) == ("/f", 60)
        assert given.replace_wsgi_filewrapper is True

    def test_cache_max_age_is_told_to_the_browser(self, storage: Watched) -> None:
        """It may be a string as it comes from an .ini file."""
        path = f"/depot/default/{storage.create(DATA)}"
        _, headers, _ = call(DepotMiddleware(application, cache_max_age="60"), path, REQUEST_METHOD="HEAD")
        assert dict(headers)["Cache-Control"] == "private, immutable, max-age=60"

    @pytest.mark.parametrize(
        "mountpoint", ["depot", "", "/", "//", "//host/depot", "/a//b", "/a/../b", "/.", "https://x/y"]
    )
    def test_a_mountpoint_that_cannot_work_is_refused(self, mountpoint: str) -> None:
        with pytest.raises(ConfigurationError, match=f"mountpoint={mountpoint!r}"):
            DepotMiddleware(application, mountpoint)

    def test_other_options_that_cannot_work_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="cache_max_age='a week': expected a number of seconds"):
            DepotMiddleware(application, cache_max_age="a week")
        with pytest.raises(ConfigurationError, match="replace_wsgi_filewrapper='maybe'"):
            DepotMiddleware(application, replace_wsgi_filewrapper="maybe")

    def test_url_for_is_the_mountpoint_and_the_path(self) -> None:
        file_id = new_file_id()
        assert DepotMiddleware(application).url_for(f"default/{file_id}") == f"/depot/default/{file_id}"
        assert DepotMiddleware(application, "/a/b/").url_for("my files/x") == "/a/b/my%20files/x"


class TestSeveral:
    def test_the_manager_makes_one_and_knows_its_urls(self, storage: Watched) -> None:
        made = DepotManager.make_middleware(application, mountpoint="/files")
        assert isinstance(made, DepotMiddleware)
        assert DepotManager.get_middleware() is made
        assert DepotManager.url_for("default/x") == "/files/default/x"
        with pytest.raises(AlreadyConfigured, match="registered, with another mountpoint: make it once"):
            DepotManager.make_middleware(application)

    def test_the_same_options_are_registered_again(self, storage: Watched) -> None:
        """Also with a function that was defined again, as by ``uvicorn.run("main:app")``, which imports main twice."""

        def make(path: str) -> DepotMiddleware:
            def authorize(request: object, path: str) -> bool:
                return bool(path)

            return DepotManager.make_middleware(application, authorize=authorize)

        first = make("a")
        assert make("b") is not first
        assert DepotManager.get_middleware() is first
        with pytest.raises(AlreadyConfigured, match="registered, with another authorize: make it once"):
            DepotManager.make_middleware(application, authorize=lambda request, path: True)

    def test_a_middleware_of_ones_own_is_registered_once(self, storage: Watched) -> None:
        DepotManager.set_middleware(DepotMiddleware(application))
        with pytest.raises(AlreadyConfigured, match="has already been registered: make it once"):
            DepotManager.make_middleware(application)

    def test_depots_of_its_own_are_a_dictionary(self, storage: Watched) -> None:
        with pytest.raises(
            ConfigurationError, match=r"depots=\['media'\]: expected a dictionary of names and storages"
        ):
            DepotMiddleware(application, depots=["media"])

    def test_options_that_are_refused_register_nothing(self, storage: Watched) -> None:
        """So that the corrected call is the first one."""
        with pytest.raises(ConfigurationError):
            DepotManager.make_middleware(application, mountpoint="files")
        DepotManager.make_middleware(application, mountpoint="/files")

    def test_each_serves_below_its_own_mountpoint(self, storage: Watched) -> None:
        """Around each other, with options of their own."""
        inner = DepotMiddleware(application, "/inner", cache_max_age=1)
        outer = DepotMiddleware(inner, "/outer", cache_max_age=2)
        file_id = storage.create(DATA)
        with serving(outer) as port:
            for mountpoint, age in (("/inner", 1), ("/outer", 2)):
                _, headers, body = request(port, f"{mountpoint}/default/{file_id}")
                assert (headers["cache-control"], body) == (f"private, immutable, max-age={age}", DATA)
            assert request(port, "/depot")[2] == b"app: |/depot"

    def test_storages_that_the_manager_does_not_know_are_served_side_by_side(self) -> None:
        """At one mountpoint, together with the manager's own; each knows the URLs of its files."""
        media, reports, own = (MemoryFileStorage() for _ in range(3))
        with temporary_depots():
            DepotManager.configure("default", own)
            inner = DepotManager.make_middleware(application)
            middle = DepotMiddleware(inner, depots={"média": media})
            outer = DepotMiddleware(middle, depots={"reports": reports}, authorize=lambda *_: False)
            stored = (own, "default", inner), (media, "média", middle), (reports, "reports", outer)
            urls = [each.url_for(f"{name}/{storage.create(name.encode())}") for storage, name, each in stored]
            with serving(outer) as port:
                answers = [request(port, url) for url in urls]
                other = request(port, "/depot/other/x")
        assert [(status, body.decode()) for status, _, body in answers] == [(200, "default"), (200, "média"), (403, "")]
        assert other[0] == 404
        with pytest.raises(UnknownDepot, match=r"'default/x': the middleware at /depot serves média"):
            middle.url_for("default/x")

    def test_a_storage_that_the_manager_keeps_private_stays_private(self) -> None:
        storage = MemoryFileStorage()
        path = f"again/{storage.create(DATA)}"
        with temporary_depots():
            DepotManager.configure("mine", storage, visibility="private")
            app = DepotMiddleware(application, depots={"again": storage})
            assert call(app, app.url_for(path))[0].startswith("403")
            DepotManager.configure_signing("a key that is long enough")
            query = DepotManager.signer().query(path)
            status, _, body = call(app, app.url_for(path), QUERY_STRING=query)
            assert (status, b"".join(body)) == ("200 OK", DATA)

    def test_depots_of_its_own_receive_nothing_and_are_storages(self) -> None:
        app = DepotMiddleware(application, depots={"media": MemoryFileStorage()})
        put = call(app, "/depot/media/x", REQUEST_METHOD="PUT", QUERY_STRING="upload=x")
        assert put[0].startswith("405")
        refused: Any = {"media": "/srv/media"}
        with pytest.raises(ConfigurationError, match=r"'media': '/srv/media'.*expected a storage"):
            DepotMiddleware(application, depots=refused)
        with pytest.raises(ConfigurationError, match=r"depot_lite.middleware.DepotMiddleware\(app, depots=...\)"):
            DepotManager.make_middleware(application, depots={"media": MemoryFileStorage()})

    def test_many_clients_at_a_time_get_what_they_asked_for(self, storage: Watched) -> None:
        """Nothing of a request is kept in the middleware."""
        app = DepotMiddleware(application)
        paths = {
            f"/depot/default/{storage.create(data)}": data for data in (some_bytes(100_000, seed) for seed in range(8))
        }
        wrong: list[str] = []

        def ask() -> None:
            for path, data in paths.items():
                _, _, body = call(app, path, HTTP_RANGE="bytes=7-")
                if b"".join(body) != data[7:]:
                    wrong.append(path)
                body.close()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
