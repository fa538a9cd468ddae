"""DepotASGI mounted in the frameworks that its users have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from litestar import Litestar, asgi
from starlette.applications import Starlette
from starlette.routing import Mount

from depot_lite.asgi import DepotASGI
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots


@pytest.fixture
def depot() -> Iterator[FileStorage]:
    with temporary_depots():
        yield DepotManager.configure("default", MemoryFileStorage())


def _starlette() -> Any:
    return Starlette(routes=[Mount("/depot", DepotASGI())])


def _fastapi() -> Any:
    app = FastAPI()
    app.mount("/depot", DepotASGI())
    return app


def _litestar() -> Any:
    return Litestar(route_handlers=[asgi("/depot", is_mount=True, copy_scope=True)(DepotASGI())])


def _in_front() -> Any:
    return DepotASGI(Litestar(route_handlers=[]))


APPLICATIONS = {"Starlette": _starlette, "FastAPI": _fastapi, "Litestar": _litestar, "in front of Litestar": _in_front}


@pytest.mark.parametrize("make", APPLICATIONS.values(), ids=list(APPLICATIONS))
def test_files_are_served_below_the_mountpoint_and_nowhere_else(make: Callable[[], Any], depot: FileStorage) -> None:
    file_id = depot.create(b"hello", "a file.txt")

    async def answers() -> list[tuple[int, bytes]]:
        paths = [
            f"/depot/default/{file_id}",
            f"/depot/default/{file_id}/a%20file.txt",
            f"/default/{file_id}",
            "/depot/x",
        ]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(make()), base_url="http://test") as client:
            found = [await client.get(path) for path in paths]
        return [(each.status_code, each.content if each.status_code == 200 else b"") for each in found]

    assert asyncio.run(answers()) == [(200, b"hello"), (200, b"hello"), (404, b""), (404, b"")]


def test_an_application_in_an_application_is_given_the_path_that_browsers_see(depot: FileStorage) -> None:
    file_id = depot.create(b"hello")
    inner, outer = FastAPI(), FastAPI()
    inner.mount("/depot", DepotASGI(mountpoint="/api/depot"))
    outer.mount("/api", inner)

    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url="http://test") as client:
            return await client.get(f"/api/depot/default/{file_id}")

    assert asyncio.run(answer()).content == b"hello"
