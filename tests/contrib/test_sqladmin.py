"""Files in SQLAdmin: its pages and forms, with sync and async sessions, and what Chromium makes of them."""

from __future__ import annotations

import asyncio
import csv
import html
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from depot_lite.errors import ConfigurationError
from depot_lite.io.content import FileIntent
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from depot_lite.uploads import PREFIX
from tests.contrib.checks import KEY, AdminChecks, beside, run_docs
from tests.contrib.forms import Form, Part
from tests.contrib.models import picture
from tests.contrib.sqladmin_site import MovieAdmin, SQLAdminSite, uploads_closed, world


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with world(tmp_path) as engine:
        yield engine


@pytest.fixture(params=["sync", "async"])
def site(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[SQLAdminSite]:
    if request.param == "sync":
        yield SQLAdminSite(engine, engine)
        return
    made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}", poolclass=NullPool)
    yield SQLAdminSite(engine, made)
    asyncio.run(made.dispose())


class TestSQLAdmin(AdminChecks):
    """The tests of every admin, and of what only this one has."""

    def test_a_row_that_is_saved_as_new_has_copies_of_the_files(self, site: SQLAdminSite) -> None:
        before = site.add(poster=picture(), screenshots=[picture("blue"), picture("green")])
        first, _ = before.screenshots
        assert before.poster is not None
        form = site.form(1).uncheck(f"keep:{first.file_id}").choose("screenshots", ("3.png", picture()))
        assert site.post(site.url("edit", 1), **form.press("save", "Save as new")).went_on
        after, copied = site.movie(1), site.movie(2)
        assert (after.poster, after.screenshots) == (before.poster, before.screenshots)
        assert copied.poster is not None
        assert copied.poster.file_id != before.poster.file_id
        assert [each.checksum for each in copied.screenshots] == [
            before.screenshots[1].checksum,
            copied.poster.checksum,
        ]

    def test_rows_are_exported(self, site: SQLAdminSite, monkeypatch: pytest.MonkeyPatch) -> None:
        """With lists that nobody has read before."""
        site.add(
            poster=FileIntent(picture(), "a.png"), screenshots=[FileIntent(picture(), f"{each}.png") for each in "12"]
        )
        names = {"title": "Metropolis", "poster": "a.png", "screenshots": "1.png, 2.png"}
        (exported,) = csv.DictReader(site.get("/admin/movie/export/csv").text.splitlines())
        assert names.items() <= exported.items()
        monkeypatch.setattr(MovieAdmin, "use_pretty_export", True)
        (pretty,) = csv.DictReader(site.get("/admin/movie/export/csv").text.splitlines())
        assert {*names.values()} <= {*pretty.values()}
        (row,) = json.loads(site.get("/admin/movie/export/json").text)
        assert [each["filename"] for each in row["screenshots"]] == ["1.png", "2.png"]
        assert (row["title"], row["poster"]["filename"]) == ("Metropolis", "a.png")
        assert site.ask("GET", row["poster"]["url"]).content == picture()
        assert not {"depot_name", "path", "file_id"} & {*row["poster"], *row["screenshots"][0]}

    def test_rows_are_imported_without_files(self, site: SQLAdminSite, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(MovieAdmin, "can_import", True)
        answer = site.ask("POST", "/admin/movie/import", files={"csvfile": ("rows.csv", b"title\nM\n")})
        assert "Imported 1 out of 1" in answer.text
        assert (site.movie().title, site.movie().poster) == ("M", None)

    # --- files that are sent before their form ---------------------------------------------------------------------

    def send(self, site: SQLAdminSite, key: str, data: bytes, row: int | None = None, **headers: str) -> httpx.Response:
        """Send a file as the script of a form does."""
        text = html.unescape(site.page("create" if row is None else "edit", row))
        url = next(each for each in re.findall(r'data-depot-upload="([^"]*)"', text) if f"/{key}" in each)
        return site.ask("POST", url, content=data, headers={"X-Filename": "a%20%22b.png"} | headers)

    def test_a_file_is_sent_before_its_form(self, site: SQLAdminSite) -> None:
        DepotManager.configure_signing(KEY)
        answer = self.send(site, "poster", picture())
        assert answer.status_code == 201
        assert (answer.json()["type"], answer.json()["size"]) == ("image/png", f"{len(picture())} bytes")
        form = site.form().set("title", "M")
        form.parts.append(Part("poster", answer.json()["token"]))
        poster = site.saved(form).poster
        assert poster is not None
        assert poster.filename == 'a "b.png'

    def test_a_file_that_was_sent_survives_a_form_that_is_refused(self, site: SQLAdminSite) -> None:
        DepotManager.configure_signing(KEY)
        site.add(poster=picture())
        token = self.send(site, "poster", picture("blue"), 1).json()["token"]
        form = site.form(1).set("title", "longer than any title may be")
        form.parts.append(Part("poster", token))
        answer = site.save(form, 1)
        assert not answer.went_on
        assert "uploaded, not saved yet" in answer.text
        poster = site.saved(Form.of(answer.text).set("title", "M"), 1).poster
        assert poster is not None
        assert poster.filename == 'a "b.png'

    def test_what_a_column_refuses_is_said_when_the_file_is_sent(self, site: SQLAdminSite) -> None:
        DepotManager.configure_signing(KEY)
        answer = self.send(site, "poster", b"no image")
        assert (answer.status_code, answer.json()) == (422, {"errors": ["is text/plain, allowed: image/*"]})
        assert list(DepotManager.get("default").list()) == []

    def test_an_expired_token_is_refused_beside_its_field(self, site: SQLAdminSite) -> None:
        DepotManager.configure_signing(KEY)
        form = site.form().set("title", "M")
        form.parts.append(Part("poster", f"{PREFIX}no token"))
        answer = site.save(form)
        assert not answer.went_on
        assert "has expired" in beside(answer.text, "poster")

    def test_who_may_not_send_the_form_may_not_send_files(self, site: SQLAdminSite, monkeypatch: Any) -> None:
        """Nor may another site, whose pages cannot set a header."""
        DepotManager.configure_signing(KEY)
        site.add()
        url = "/admin/movie/depot/upload/poster"
        sent = {"content": picture(), "headers": {"X-Filename": "a.png"}}
        assert site.ask("POST", url, content=picture()).status_code == 403
        assert site.ask("POST", f"{url}?pk=2", **sent).status_code == 403
        assert site.ask("POST", "/admin/movie/depot/upload/title", **sent).status_code == 404
        monkeypatch.setattr(MovieAdmin, "can_create", False)
        assert site.ask("POST", url, **sent).status_code == 403
        assert site.ask("POST", f"{url}?pk=1", **sent).status_code == 201
        monkeypatch.setattr(MovieAdmin, "can_edit", False)
        assert site.ask("POST", f"{url}?pk=1", **sent).status_code == 403


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in [each for each in sys.modules if each.startswith("depot_lite.contrib.sqladmin")]:
        monkeypatch.delitem(sys.modules, each)
    monkeypatch.setitem(sys.modules, "sqladmin", None)
    with pytest.raises(ConfigurationError, match=r"needs sqladmin: pip install 'depot_lite\[sqladmin\]'"):
        importlib.import_module("depot_lite.contrib.sqladmin")


def test_the_docs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with temporary_depots(), uploads_closed():
        made = run_docs("sqladmin", tmp_path, monkeypatch)
        site = SQLAdminSite.around(made["app"], made["engine"])
        form = site.form().set("title", "M").choose("poster", ("a.png", picture()))
        assert site.save(form).went_on
        assert re.search(r'<img src="/depot/default/[^"]*" alt="a.png"', site.page("list"))
        made["engine"].dispose()
