"""The demo as an application in this process, on each of the two places that its documentation names."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from movies.app import create_app
from movies.database import Database
from movies.settings import Settings

from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots


class Demo:
    """The application, seen by a client and in its database."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    @property
    def database(self) -> Database:
        database: Database = self.app.state.database
        return database

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request and return the answer."""
        (answer,) = self.ask_together([(method, path, options)])
        return answer

    def ask_together(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Send requests at the same time and return the answers in order."""

        async def answers() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://movies.test") as client:
                return await asyncio.gather(*(client.request(method, path, **more) for method, path, more in requests))

        return asyncio.run(answers())

    def read(self, url: str) -> bytes:
        """Return the bytes at the URL of a file, here or in its storage."""
        if url.startswith("/"):
            answer = self.ask("GET", url)
            assert answer.status_code == 200
            return answer.content
        with urllib.request.urlopen(url, timeout=20) as opened:
            return bytes(opened.read())

    def create(self, **files: Any) -> dict[str, Any]:
        """Make a movie and return it as the API shows it."""
        answer = self.ask("POST", "/api/movies", data={"title": "Test", "year": "1999"}, files=files or None)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def list(self) -> list[dict[str, Any]]:
        """Return all movies."""
        found: list[dict[str, Any]] = self.ask("GET", "/api/movies?size=100").json()["movies"]
        return found

    def stored(self) -> set[str]:
        """Return the paths of all files in all depots."""
        return {f"{name}/{each}" for name in DepotManager.depot_names() for each in DepotManager.get(name).list()}


@contextmanager
def started(settings: Settings) -> Iterator[Demo]:
    """Start the demo, and end it."""
    with temporary_depots():
        demo = Demo(create_app(settings))
        try:
            yield demo
        finally:
            demo.database.engine.dispose()
