"""What every server has to do with our answers, seen by a client."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

import httpx
import pytest

from depot_lite.io.content import FileIntent
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.serving.fileserver import FileServer
from depot_lite.testing import some_bytes, temporary_depots
from tests.servers.running import DEADLINE, Running, eventually, running
from tests.servers.site import configure

MB: Final = 1024 * 1024
DATA: Final = b"\x89PNG\r\n\x1a\n" + some_bytes(MB - 1)
LARGE: Final = some_bytes(MB) * 20 + b"end"


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Running]:
    """Run a server, with the same depots in this process, to fill them."""
    with temporary_depots(), running(name, folder) as server:
        configure(folder)
        DepotManager.set_middleware(FileServer())
        yield server


def path_of(depot: FileStorage, file_id: str) -> Path:
    """Return where a local depot has the bytes of a file."""
    with depot.get(file_id) as stored:
        assert isinstance(stored.local_path, Path)
        return stored.local_path


class ServerChecks:
    """The tests of one server, which the fixture ``server`` of a module gives."""

    #: Whether the kernel sends whole files, which nobody reads then.
    kernel_sends: ClassVar[bool] = False

    #: Whether it hangs up after an answer that has no length, as 304 has none.
    hangs_up_after_304: ClassVar[bool] = False

    @pytest.fixture
    def depot(self, server: Running) -> FileStorage:
        return DepotManager.get("default")

    @pytest.fixture
    def client(self, server: Running) -> Iterator[httpx.Client]:
        """One client, whose connection is kept."""
        with httpx.Client(base_url=server.url, timeout=DEADLINE, limits=httpx.Limits(max_connections=1)) as client:
            yield client

    def test_requests_of_all_kinds_go_through_one_connection(self, client: httpx.Client, depot: FileStorage) -> None:
        """No answer leaves a byte too many or too few behind it: the next one would begin with it."""
        url = f"/depot/default/{depot.create(DATA, 'naïve.png', 'image/png')}"
        connections = set()

        def ask(method: str = "GET", url: str = url, **headers: str) -> httpx.Response:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            with client.stream(method, url, headers=sent) as response:
                connections.add(response.extensions["network_stream"].get_extra_info("client_addr"))
                response.read()
            return response

        whole = ask()
        assert (whole.status_code, whole.content == DATA) == (200, True)
        assert whole.headers["content-length"] == str(len(DATA))
        head = ask("HEAD")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(DATA))
        for wanted, part in (
            ("bytes=0-0", slice(0, 1)),
            ("bytes=1000-", slice(1000, None)),
            ("bytes=-700000", slice(-700_000, None)),
            ("bytes=5-500004", slice(5, 500_005)),
        ):
            answer = ask(Range=wanted)
            assert (answer.status_code, answer.content == DATA[part]) == (206, True)
        assert ask(Range=f"bytes={len(DATA)}-").status_code == 416
        known = ask(If_None_Match=whole.headers["etag"])
        assert (known.status_code, known.content) == (304, b"")
        assert ask(If_Match='"x"').status_code == 412
        assert ask("DELETE").status_code == 405
        assert ask(url="/depot/default/x").status_code == 404
        assert ask(url="/other").text == "app: /other"
        assert ask(url=f"/depot/default/{depot.create(b'')}").content == b""
        assert ask().content == DATA
        assert len(connections) == (2 if self.hangs_up_after_304 else 1)

    def test_a_signed_url_is_let_and_any_other_is_not(self, client: httpx.Client, server: Running) -> None:
        path = f"private/{DepotManager.get('private').create(DATA)}"
        url = DepotManager.url_for(path, download=True, filename="plän.txt")
        answer = client.get(url)
        assert (answer.status_code, answer.content == DATA) == (200, True)
        assert (
            answer.headers["content-disposition"] == "attachment; filename=\"plan.txt\"; filename*=UTF-8''pl%C3%A4n.txt"
        )
        for wrong in (f"/depot/{path}", f"{url}x", url.replace("download=1", "download=0"), f"{url}&name=b"):
            assert client.get(wrong).status_code == 403

    def test_a_large_file_comes_byte_for_byte(self, client: httpx.Client, depot: FileStorage, server: Running) -> None:
        with client.stream("GET", f"/depot/default/{depot.create(LARGE)}") as answer:
            digest = hashlib.sha256()
            for chunk in answer.iter_bytes():
                digest.update(chunk)
        assert digest.digest() == hashlib.sha256(LARGE).digest()
        assert eventually(lambda: server.open_files() == [])

    def test_several_at_a_time_get_what_they_asked_for(self, server: Running, depot: FileStorage) -> None:
        """More than the server has threads."""
        files = {f"/depot/default/{depot.create(data)}": data for data in (some_bytes(MB, seed) for seed in range(6))}

        def ask(path: str) -> bool:
            whole = httpx.get(server.url + path, timeout=DEADLINE)
            part = httpx.get(server.url + path, timeout=DEADLINE, headers={"Range": "bytes=99-600000"})
            return (whole.content, part.content) == (files[path], files[path][99:600_001])

        with ThreadPoolExecutor(12) as pool:
            assert list(pool.map(ask, [*files, *files])) == [True] * 12
        assert eventually(lambda: server.open_files() == [])

    @pytest.mark.parametrize("asked", ["", "Range: bytes=1-\r\n"], ids=["all", "a part"])
    def test_a_client_that_hangs_up_leaves_no_file_open(
        self, server: Running, depot: FileStorage, tmp_path: Path, asked: str
    ) -> None:
        """In the middle of more than any buffer holds."""
        sparse = tmp_path / "sparse"
        sparse.touch()
        os.truncate(sparse, 200 * MB)
        file_id = depot.create(FileIntent(sparse, "sparse.bin", "application/octet-stream", move=True))
        with (
            socket.create_connection(("127.0.0.1", server.port), DEADLINE) as connection,
            connection.makefile("rb") as received,
        ):
            connection.sendall(f"GET /depot/default/{file_id} HTTP/1.1\r\nHost: x\r\n{asked}\r\n".encode())
            assert len(received.read(100_000)) == 100_000
            assert len(server.open_files()) == 1
        assert eventually(lambda: server.open_files() == [])
        assert httpx.get(f"{server.url}/depot/default/{depot.create(b'next')}").content == b"next"
        depot.delete(file_id)

    @pytest.mark.parametrize("asked", [{}, {"Range": "bytes=1-"}, {"Range": "bytes=0-3"}])
    def test_of_a_file_that_is_too_short_nothing_is_sent(
        self, server: Running, client: httpx.Client, depot: FileStorage, asked: dict[str, str]
    ) -> None:
        """Whoever would send it; and the server goes on."""
        file_id = depot.create(LARGE)
        os.truncate(path_of(depot, file_id), len(LARGE) // 2)
        assert client.get(f"/depot/default/{file_id}", headers=asked).status_code == 503
        assert eventually(lambda: server.open_files() == [])
        assert client.get("/").text == "app: /"

    @pytest.mark.parametrize("size", [1000, MB])
    def test_a_damaged_file_is_cut_off(
        self, server: Running, client: httpx.Client, depot: FileStorage, size: int
    ) -> None:
        """The client sees that it has not all of it, or gets an error; unless the kernel sends the bytes by itself."""
        file_id = depot.create(DATA[:size])
        path_of(depot, file_id).write_bytes(DATA[: size - 1] + bytes([DATA[size - 1] ^ 1]))
        if size > 1000 and self.kernel_sends:
            assert client.get(f"/depot/default/{file_id}").status_code == 200
            return
        with client.stream("GET", f"/depot/default/{file_id}") as answer:
            if answer.status_code == 200:
                with pytest.raises(httpx.RemoteProtocolError, match="closed connection without sending complete"):
                    answer.read()
            else:
                assert answer.status_code in {500, 503}
        assert client.get(f"/depot/default/{file_id}", headers={"Range": "bytes=1-"}).status_code == 206
        assert eventually(lambda: server.open_files() == [])

    @pytest.mark.parametrize(
        "path",
        [
            *(
                "%2e%2e/%2e%2e/etc/passwd",
                "..%2f..%2fetc%2fpasswd",
                "default/%2e%2e",
                "default/..%5c..%5cx",
                "default/%00",
            ),
            *("default/{id}%00", "default/{id}%0d%0aX-Evil:%201", "default/{id}%20", "default/%20{id}", "default/%ff"),
            *(
                "default/%c0%ae%c0%ae",
                "default/%EF%BC%8E%EF%BC%8E",
                "default/%D9%A1%D9%A2",
                "default%2f%2f{id}",
                "default/{ID}",
            ),
            *(
                "default\\{id}",
                "default/{id}/a/b",
                "default/%e2%80%8b{id}",
                "%64efault%00/{id}",
                "default/6465706f-7400-0000-f000-000000000001",
            ),
        ],
    )
    def test_odd_paths_lead_nowhere(self, client: httpx.Client, depot: FileStorage, path: str) -> None:
        file_id = depot.create(b"hello")
        answer = client.get(f"/depot/{path.format(id=file_id, ID=file_id.upper())}")
        assert (answer.status_code, answer.content) in {(404, b""), (400, answer.content)}
        assert "x-evil" not in answer.headers

    @pytest.mark.parametrize(
        ("name", "content_type"),
        [
            ("a\r\nX-Evil: 1.png", "image/png\r\nX-Evil: 1"),
            ('a"; filename="b.html', "text/html"),
            ("\ud800\0.svg", "x/\0"),
        ],
    )
    def test_names_and_types_add_no_header(
        self, client: httpx.Client, depot: FileStorage, name: str, content_type: str
    ) -> None:
        answer = client.get(f"/depot/default/{depot.create(b'<script>', name, content_type)}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
        assert "x-evil" not in answer.headers
        disposition = r"""attachment; filename="[^"\\]*"(; filename\*=UTF-8''[^";]*)?"""
        assert re.fullmatch(disposition, answer.headers["content-disposition"])

    def test_curl_resumes_a_download(self, server: Running, depot: FileStorage, tmp_path: Path) -> None:
        if (curl := shutil.which("curl")) is None:
            pytest.skip("no curl")
        target = tmp_path / "file"
        target.write_bytes(LARGE[:777])
        url = f"{server.url}/depot/default/{depot.create(LARGE)}"
        subprocess.run([curl, "--silent", "--fail", "--continue-at", "-", "--output", target, url], check=True)
        assert target.read_bytes() == LARGE

    def sent_by(self, client: httpx.Client) -> tuple[str, int]:
        """Return the type of the object that the server got last, and the bytes sent by the kernel so far."""
        name, count = client.get("/sent-by").text.split()
        return name, int(count)
