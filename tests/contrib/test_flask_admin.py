"""Files in Flask-Admin: its pages and forms."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_admin import Admin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from depot_lite.contrib.flask_admin import ModelView
from depot_lite.errors import ConfigurationError
from depot_lite.io.content import FileIntent
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import sqlite_engine
from tests.contrib.checks import AdminChecks, Answer, Site, beside, run_docs
from tests.contrib.forms import Form, Part
from tests.contrib.models import Base, Folder, Movie, Page, Ticket, picture


class MovieAdmin(ModelView):
    """The view as a user writes it."""

    can_view_details = True
    can_export = True
    column_list = ("title", "poster", "screenshots", "script")


class FolderAdmin(ModelView):
    """With rows in its form."""

    inline_models = (Page,)


class FlaskAdminSite(Site):
    """An application with Flask-Admin in it."""

    button = ("_save", "Save")

    def __init__(self, engine: Engine) -> None:
        self.app = Flask(__name__)
        self.app.secret_key = "secret"
        self.app.config["SQLALCHEMY_DATABASE_URI"] = engine.url.render_as_string()
        self.db = SQLAlchemy(self.app)
        with self.app.app_context():
            super().__init__(engine, self.db.engine)
        self.app.wsgi_app = DepotManager.make_middleware(self.app.wsgi_app)  # type: ignore[method-assign]
        self.admin = Admin(self.app)
        self.admin.add_view(MovieAdmin(Movie, self.db))
        self.admin.add_view(ModelView(Ticket, self.db))
        self.admin.add_view(FolderAdmin(Folder, self.db))
        self.client = self.app.test_client()

    def get(self, url: str) -> Answer:
        with self.client.get(url) as answer:
            return Answer(answer.status_code, answer.get_data(as_text=True))

    def post(self, url: str, **sent: Any) -> Answer:
        with self.client.post(url, data=sent["content"], headers=sent["headers"]) as answer:
            return Answer(answer.status_code, answer.get_data(as_text=True))

    def url(self, page: str, row: int | None = None, model: str = "movie") -> str:
        place = {"list": "", "create": "new/"}.get(page, f"{page}/")
        return f"/admin/{model}/{place}" + ("" if row is None else f"?id={row}")

    def delete(self, row: int) -> Answer:
        with self.client.post("/admin/movie/delete/", data={"id": row}) as answer:
            return Answer(answer.status_code, answer.get_data(as_text=True))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    engine = sqlite_engine(tmp_path / "test.db")
    Base.metadata.create_all(engine)
    with temporary_depots():
        DepotManager.configure("default", LocalFileStorage(tmp_path / "media", durable=False))
        made = FlaskAdminSite(engine)
        yield made
        made.asking.dispose()
    engine.dispose()


class TestFlaskAdmin(AdminChecks):
    """The tests of every admin."""

    def test_exports_tell_the_names(self, site: Site) -> None:
        site.add(
            poster=FileIntent(picture(), "a.png"), screenshots=[FileIntent(picture(), f"{each}.png") for each in "12"]
        )
        rows = site.get("/admin/movie/export/csv/").text.splitlines()
        assert rows == ["Title,Poster,Screenshots,Script", 'Metropolis,a.png,"1.png, 2.png",']

    def test_rows_in_the_form_of_another_have_files_too(self, site: Site) -> None:
        form = site.form(model="folder")
        form.parts += [Part("pages-0-id", ""), Part("pages-0-scan", b"no image", "a.txt")]
        refused = site.save(form, model="folder")
        assert not refused.went_on
        assert "text/plain" in beside(refused.text, "pages-0-scan")
        form.parts[-1:] = [Part("pages-0-scan", picture(), "a.png")]
        assert site.save(form, model="folder").went_on
        again = site.form(1, "folder")
        assert len(again.values("pages-0-scan")) == 2
        assert site.save(again.choose("pages-0-scan", ("b.png", picture("blue"))), 1, "folder").went_on
        with Session(site.engine) as session:
            assert [each.scan.filename for each in session.query(Page)] == ["b.png"]

    def test_nobody_sorts_by_files(self, site: Site) -> None:
        """PostgreSQL would refuse to."""
        text = site.page("list")
        assert "Sort by Title" in text
        assert "Sort by Poster" not in text


@pytest.mark.parametrize("missing", ["flask_admin", "flask_sqlalchemy"])
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Flask-Admin without Flask-SQLAlchemy fails in its own way."""
    for each in [each for each in sys.modules if each.startswith(("flask_admin", "depot_lite.contrib.flask_admin"))]:
        monkeypatch.delitem(sys.modules, each)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigurationError, match=r"pip install 'depot_lite\[flask-admin\]'"):
        importlib.import_module("depot_lite.contrib.flask_admin")


def test_the_docs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with temporary_depots():
        made = run_docs("flask-admin", tmp_path, monkeypatch)
        client = made["app"].test_client()
        form = Form.of(client.get("/admin/movie/new/").text).set("title", "M").choose("poster", ("a.png", picture()))
        sent = form.press("_save", "Save")
        assert client.post("/admin/movie/new/", data=sent["content"], headers=sent["headers"]).status_code == 302
        assert re.search(r'<img src="/depot/default/[^"]*" alt="a.png"', client.get("/admin/movie/").text)
        with made["app"].app_context():
            made["db"].engine.dispose()
