"""An application with SQLAdmin in it, for its tests with a client and with a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, ClassVar, Self
from unittest.mock import patch

import httpx
from sqladmin import Admin
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from wtforms.validators import Length

from depot_lite.asgi import DepotASGI
from depot_lite.contrib.sqladmin import ModelView
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import sqlite_engine
from tests.contrib.checks import Answer, Site
from tests.contrib.models import Base, Movie, Ticket


class MovieAdmin(ModelView, model=Movie):
    """The view as a user writes it."""

    column_list: ClassVar[list[Any]] = ["title", Movie.poster, "screenshots", "script"]
    form_args: ClassVar[dict[str, dict[str, Any]]] = {"title": {"validators": [Length(max=20)]}}
    save_as = True


class TicketAdmin(ModelView, model=Ticket):
    """Nothing said at all."""


class SQLAdminSite(Site):
    """An application with SQLAdmin in it."""

    def __init__(self, engine: Engine, admin_engine: Engine | AsyncEngine) -> None:
        super().__init__(engine, admin_engine.sync_engine if isinstance(admin_engine, AsyncEngine) else admin_engine)
        self.app = Starlette()
        self.app.mount("/depot", DepotASGI())
        self.admin = Admin(self.app, admin_engine)
        self.admin.add_view(MovieAdmin)
        self.admin.add_view(TicketAdmin)

    @classmethod
    def around(cls, app: Starlette, engine: Engine) -> Self:
        """Return a site that is there already."""
        site = cls.__new__(cls)
        Site.__init__(site, engine, engine)
        site.app = app
        return site

    def ask(self, method: str, url: str, **sent: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, url, **sent)

        return asyncio.run(ask())

    def get(self, url: str) -> Answer:
        answer = self.ask("GET", url)
        return Answer(answer.status_code, answer.text)

    def post(self, url: str, **sent: Any) -> Answer:
        answer = self.ask("POST", url, **sent)
        return Answer(answer.status_code, answer.text)

    def url(self, page: str, row: int | None = None, model: str = "movie") -> str:
        return f"/admin/{model}/{page}" + ("" if row is None else f"/{row}")

    def delete(self, row: int) -> Answer:
        answer = self.ask("DELETE", f"/admin/movie/delete?pks={row}")
        return Answer(answer.status_code, answer.text)


@contextmanager
def uploads_closed() -> Iterator[None]:
    """Close the files of all forms at the end: SQLAdmin leaves them to the garbage collector."""
    made: list[Any] = []

    def make(*args: Any, **options: Any) -> Any:
        made.append(SpooledTemporaryFile(*args, **options))  # noqa: SIM115  # closed below
        return made[-1]

    with patch("starlette.formparsers.SpooledTemporaryFile", make):
        yield
    for each in made:
        each.close()


@contextmanager
def world(folder: Path) -> Iterator[Engine]:
    """Give an empty database and an empty depot."""
    engine = sqlite_engine(folder / "test.db")
    Base.metadata.create_all(engine)
    with temporary_depots(), uploads_closed():
        DepotManager.configure("default", LocalFileStorage(folder / "media", durable=False))
        DepotManager.set_middleware(DepotASGI())
        yield engine
    engine.dispose()
