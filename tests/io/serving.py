"""A private depot behind the middleware, over HTTP and without it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import setup_testing_defaults

import httpx

from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots

DATA: Final = some_bytes(300_000)
HTML: Final = b"<!DOCTYPE html><script>x</script>"


@contextmanager
def private_depot(storage: FileStorage) -> Iterator[None]:
    """Configure a storage as the depot ``default``, whose URLs are signed."""
    with temporary_depots():
        DepotManager.configure("default", storage, visibility="private")
        DepotManager.configure_signing("the key of these tests")
        yield


def signed(storage: FileStorage, *content: Any, **more: Any) -> str:
    """Store a file and return the URL at which we serve it."""
    return DepotManager.url_for(f"default/{storage.create(*content)}", **more)


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name that the base class gives it
        pass


def _application(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"app"]


@contextmanager
def serving(**options: Any) -> Iterator[httpx.Client]:
    """Serve the depots over HTTP, to this client."""
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


class Answers:
    """Answers of the middleware without HTTP; it sends the bytes itself."""

    def __init__(self) -> None:
        self._app: Any = DepotManager.make_middleware(_application, proxy=True)

    def ask(self, url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        path, _, query = url.partition("?")
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        setup_testing_defaults(environ)
        answer: list[Any] = []
        body: Any = self._app(environ, lambda *given: answer.extend(given))
        try:
            sent = b"".join(body)
        finally:
            if hasattr(body, "close"):
                body.close()
        return int(answer[0][:3]), {name.lower(): value for name, value in answer[1]}, sent
