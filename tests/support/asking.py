"""Requests for files, over WSGI and ASGI alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote
from wsgiref.util import setup_testing_defaults

import pytest

from depot_lite.asgi import DepotASGI
from depot_lite.io.interfaces import StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.middleware import DepotMiddleware
from depot_lite.testing import temporary_depots

KEY: Final = "the key of these tests"

Answer = tuple[int, dict[str, str], bytes]
Ask = Callable[..., Answer]


class Elsewhere(MemoryFileStorage):
    """A storage that has URLs of its own, which contain the arguments that they were made with."""

    def url(
        self,
        file_or_id: StoredFile | str,
        *,
        expires_in: int | timedelta | None = None,
        filename: str | None = None,
        disposition: str | None = None,
        content_type: str | None = None,
    ) -> str:
        return f"https://elsewhere/{self._id(file_or_id)}?{expires_in}&{filename}&{disposition}&{content_type}"


def application(*_: Any) -> Any:
    raise AssertionError("this is no request for the application")


def over_wsgi(method: str, url: str, headers: dict[str, str], options: dict[str, Any]) -> Answer:
    path, _, query = url.partition("?")
    environ: dict[str, Any] = {"PATH_INFO": unquote(path), "QUERY_STRING": query, "REQUEST_METHOD": method}
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    setup_testing_defaults(environ)
    started: list[Any] = []

    def start_response(*given: Any) -> Any:
        started.append(given)

    body: Any = DepotMiddleware(application, **options)(environ, start_response)
    data = b"".join(body)
    if hasattr(body, "close"):
        body.close()
    [(status, told)] = started
    return int(status.split()[0]), {name.lower(): value for name, value in told}, data


def over_asgi(method: str, url: str, headers: dict[str, str], options: dict[str, Any]) -> Answer:
    path, _, query = url.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    asyncio.run(DepotASGI(application, **options)(scope, receive, send))
    told = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(each["body"] for each in sent[1:])


@pytest.fixture(autouse=True)
def _depots() -> Iterator[None]:
    with temporary_depots():
        DepotManager.configure_signing(KEY)
        yield


@pytest.fixture(params=[over_wsgi, over_asgi], ids=["WSGI", "ASGI"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Ask as a client does; options of the middleware by name, headers of the request as ``headers``."""

    def _ask(url: str, method: str = "GET", headers: dict[str, str] | None = None, **options: Any) -> Answer:
        answer: Answer = request.param(method, url, headers or {}, options)
        return answer

    return _ask


def signed(path: str, expires_in: int | None = None, **more: Any) -> str:
    return f"/depot/{path}?{DepotManager.signer().query(path, expires_in, **more)}"
