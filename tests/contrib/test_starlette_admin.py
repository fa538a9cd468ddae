"""The pages of starlette-admin, with forms as browsers without scripts send them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import Engine, NullPool, event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from starlette_admin.contrib.sqla import Admin, ModelView

from depot_lite.contrib.admin import receiving
from depot_lite.contrib.starlette_admin import FilesField
from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.fields.columns import columns_of_class, paths_of
from depot_lite.fields.upload import UploadedFile
from depot_lite.manager import DepotManager
from depot_lite.serving.receiving import IDLE, RATE, TooSlow, Uploads
from depot_lite.testing import temporary_depots
from depot_lite.uploads import adoptable
from tests.conftest import sqlite_engine
from tests.contrib.admin_site import Base, Movie, Scene, configure, site
from tests.contrib.damage import DAMAGE, damage, held
from tests.media.samples import mp4, packed_pdf
from tests.support.files import png

#: Without a slash, behind which a name would begin.
HOSTILE: Final = '"><script>alert(1)<img src=x onerror=alert(1)>.png'
SVG: Final = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


class Client:
    """A browser without scripts."""

    def __init__(self, app: Any, engine: Engine, admin: Admin) -> None:
        self.engine = engine
        self.admin = admin
        self.sent = httpx.ASGITransport(app)
        self.cookies = httpx.Cookies()

    def ask(self, method: str, url: str, **options: Any) -> httpx.Response:
        import anyio

        async def asked() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=self.sent, base_url="http://admin.test", cookies=self.cookies
            ) as client:
                answer = await client.request(method, url, **options)
                self.cookies = client.cookies
                return answer

        return anyio.run(asked)

    def page(self, path: str) -> str:
        answer = self.ask("GET", f"/admin/{path}")
        assert answer.status_code == 200, answer.text
        return answer.text

    @property
    def token(self) -> str:
        if "starlette_admin_csrftoken" not in self.cookies:
            self.page("movie/create")
        return str(self.cookies["starlette_admin_csrftoken"])

    def send(self, path: str, *values: tuple[str, Any]) -> httpx.Response:
        """Send a form: texts, and files as ``(name, bytes, type)``."""
        parts = [(name, value if isinstance(value, tuple) else (None, value)) for name, value in values]
        return self.ask("POST", f"/admin/{path}", files=[("csrftoken", (None, self.token)), *parts])

    def upload(self, data: bytes, name: str = "a.png", field: str = "poster", **headers: str) -> httpx.Response:
        """Send one file before its form, as the script does."""
        told = {"X-CSRFToken": self.token, "X-Filename": quote(name), **headers}
        return self.ask("POST", f"/admin/plugins/depot/upload/movie?field={field}", content=data, headers=told)

    def movie(self) -> Movie:
        with Session(self.engine, expire_on_commit=False) as session:
            return session.query(Movie).one()

    def check(self) -> None:
        """Check that rows and depot hold the same files."""
        with Session(self.engine) as session:
            rows = [*session.query(Movie), *session.query(Scene)]
            named = {
                path for row in rows for key in columns_of_class(type(row)) for path in paths_of(getattr(row, key))
            }
            assert named == {f"default/{each}" for each in DepotManager.get("default").list()}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = sqlite_engine(tmp_path / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def client(engine: Engine, tmp_path: Path) -> Iterator[Client]:
    with temporary_depots():
        configure(tmp_path / "media")
        app, admin = site(engine)
        yield Client(app, engine, admin)


@pytest.fixture
def stored(engine: Engine, client: Client) -> Movie:
    """A movie with a poster and two shots."""
    with Session(engine, expire_on_commit=False) as session:
        movie = Movie(
            title="Alien",
            poster=UploadedFile(png(60, 90), filename="poster.png"),
            shots=[UploadedFile(b"1", filename="one.txt"), UploadedFile(b"2", filename="two.txt")],
        )
        session.add(movie)
        session.commit()
        return movie


def values(page: str, name: str) -> list[str]:
    """Return the values that a form would send under a name, as it stands."""
    tags = re.findall(rf'<input [^>]*name="{name}"[^>]*>', page)
    sent = [each for each in tags if "checkbox" not in each or " checked" in each]
    return [html.unescape(found[1]) for each in sent if (found := re.search(r'value="([^"]*)"', each))]


def errors(page: str) -> dict[str, str]:
    """Return what stands beside the fields."""
    found = re.findall(r'<div class="invalid-feedback" id="([\w.]+)-error">(.*?)</div>', page, re.DOTALL)
    return {name: html.unescape(said) for name, said in found}


def test_file_columns_are_recognised_with_no_code_in_the_view(client: Client) -> None:
    view = ModelView(Movie)
    fields = {each.name: each for each in view.fields}
    assert [name for name, each in fields.items() if isinstance(each, FilesField)] == ["poster", "shots", "media"]
    assert [name for name, each in fields.items() if each.orderable] == ["id", "title"]
    assert [fields[name].required for name in ("poster", "shots", "media")] == [False, False, False]


def test_a_field_can_be_declared(client: Client) -> None:
    class View(ModelView):
        fields = ("id", FilesField("poster", column=Movie.poster, label="Plakat"))  # type: ignore[assignment]

    assert View(Movie).fields[1].label == "Plakat"
    with pytest.raises(
        ConfigurationError, match=r"FilesField\('title'\): expected a file column, got column=Movie.title"
    ):
        _ = FilesField("title", column=Movie.title).files


def test_a_row_is_made_with_its_files(client: Client) -> None:
    form = [
        ("title", "Alien"),
        ("poster", ("p.png", png(60, 90), "image/png")),
        ("shots", ("1.txt", b"1", "text/plain")),
        ("shots", ("2.txt", b"2", "text/plain")),
        ("media", ("", b"", "application/octet-stream")),
    ]
    assert client.send("movie/create", *form).status_code == 303
    movie = client.movie()
    assert movie.poster is not None
    assert (movie.poster.filename, movie.poster.width) == ("p.png", 60)
    assert [each.filename for each in movie.shots] == ["1.txt", "2.txt"]
    assert movie.media is None
    client.check()


def test_a_form_without_a_new_file_keeps_the_old_ones(client: Client, stored: Movie) -> None:
    page = client.page("movie/edit?pk=1")
    form = [(name, each) for name in ("poster", "shots", "media") for each in values(page, name)]
    empty = [(name, ("", b"", "application/octet-stream")) for name in ("poster", "shots", "media")]
    assert client.send("movie/edit?pk=1", ("title", "Aliens"), *form, *empty).status_code == 303
    movie = client.movie()
    assert (movie.title, movie.poster, movie.shots) == ("Aliens", stored.poster, stored.shots)
    client.check()


@pytest.mark.parametrize("text", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_row_is_shown_kept_cleared_and_deleted(client: Client, stored: Movie, text: str) -> None:
    """On every page, in columns of one file and of several; a form that changes nothing of it leaves it."""
    damage(client.engine, poster=text, shots=text)
    for page in (client.page("movie/list"), client.page("movie/detail?pk=1"), client.page("movie/edit?pk=1")):
        assert "<script>document" not in page
        assert "<img src=x" not in page
        assert "n" * 1000 not in page
    form = [(name, each) for name in ("poster", "shots") for each in values(page, name)]
    assert client.send("movie/edit?pk=1", ("title", "Aliens"), *form).status_code == 303
    assert [held(client.engine, name) for name in ("title", "poster", "shots")] == ["Aliens", text, text]
    cleared = [(name, each) for name, each in form if each.startswith("seen:")]
    assert client.send("movie/edit?pk=1", ("title", "Aliens"), *cleared).status_code == 303
    assert (held(client.engine, "poster"), held(client.engine, "shots")) == (None, "[]")
    damage(client.engine, poster=text, shots=text)
    headers = {"X-CSRFToken": client.token}
    assert client.ask("POST", "/admin/_api/movie/action?name=delete&pks=1", headers=headers).status_code == 200
    assert held(client.engine, "title") is None


def test_a_list_with_a_damaged_reference_takes_no_more_before_it_is_removed(client: Client, stored: Movie) -> None:
    damage(client.engine, shots='["two.txt"]')
    seen = values(client.page("movie/edit?pk=1"), "shots")
    new = ("shots", ("3.txt", b"3", "text/plain"))
    answer = client.send("movie/edit?pk=1", ("title", "Alien"), *(("shots", each) for each in seen), new)
    assert answer.status_code == 422
    assert errors(answer.text) == {"shots": "has a damaged reference: remove it first"}
    assert client.send("movie/edit?pk=1", ("title", "Alien"), ("shots", seen[0]), new).status_code == 303
    assert [each.filename for each in client.movie().shots] == ["3.txt"]


def test_a_form_that_says_nothing_of_files_keeps_them_too(client: Client, stored: Movie) -> None:
    assert client.send("movie/edit?pk=1", ("title", "Aliens")).status_code == 303
    assert client.movie().shots == stored.shots


def test_files_are_replaced_cleared_removed_added_and_put_in_order(client: Client, stored: Movie) -> None:
    one, two = (each.file_id for each in stored.shots)
    form = [
        ("title", "Alien"),
        *[("poster", each) for each in values(client.page("movie/edit?pk=1"), "poster")],
        ("poster", ("new.png", png(9, 9), "image/png")),
        *[("shots", f"seen:{each}") for each in (one, two)],
        ("shots", f"keep:{two}"),
        ("shots", ("3.txt", b"3", "text/plain")),
    ]
    assert client.send("movie/edit?pk=1", *form).status_code == 303
    movie = client.movie()
    assert movie.poster is not None
    assert movie.poster.filename == "new.png"
    assert [each.filename for each in movie.shots] == ["two.txt", "3.txt"]
    client.check()
    seen = [("poster", each) for each in values(client.page("movie/edit?pk=1"), "poster") if each.startswith("seen:")]
    assert client.send("movie/edit?pk=1", ("title", "Alien"), *seen).status_code == 303
    assert client.movie().poster is None
    client.check()


def test_what_is_refused_stands_beside_its_field_and_everything_else_survives(client: Client, stored: Movie) -> None:
    """The other inputs, files that are there, their order, and files that were sent before."""
    token = client.upload(b"3", "three.txt", "shots").json()["token"]
    one, two = (each.file_id for each in stored.shots)
    form = [
        ("title", "Changed"),
        *[("poster", each) for each in values(client.page("movie/edit?pk=1"), "poster")],
        ("poster", ("new.txt", b"text", "image/png")),
        *[("shots", each) for each in (f"seen:{one}", f"seen:{two}", f"keep:{two}", token, f"keep:{one}")],
    ]
    answer = client.send("movie/edit?pk=1", *form)
    assert answer.status_code == 422
    assert errors(answer.text) == {"poster": "is text/plain, allowed: image/*"}
    assert values(answer.text, "title") == ["Changed"]
    assert "poster.png" in answer.text
    assert values(answer.text, "shots") == [f"seen:{one}", f"seen:{two}", f"keep:{two}", token, f"keep:{one}"]
    assert client.movie().poster == stored.poster
    again = [(name, each) for name in ("title", "poster", "shots") for each in values(answer.text, name)]
    assert client.send("movie/edit?pk=1", *again).status_code == 303
    movie = client.movie()
    assert (movie.title, movie.poster) == ("Changed", stored.poster)
    assert [each.filename for each in movie.shots] == ["two.txt", "three.txt", "one.txt"]
    client.check()


def test_a_file_is_not_lost_with_the_one_that_would_have_replaced_it(client: Client, stored: Movie) -> None:
    """The script has taken the old one out of the form, and a refused file does not come back with the form."""
    assert stored.poster is not None
    seen = ("poster", f"seen:{stored.poster.file_id}")
    answer = client.send("movie/edit?pk=1", ("title", "A"), seen, ("poster", ("new.txt", b"text", "image/png")))
    again = [("poster", each) for each in values(answer.text, "poster")]
    assert again == [seen, ("poster", f"keep:{stored.poster.file_id}")]
    assert client.send("movie/edit?pk=1", ("title", "A"), *again).status_code == 303
    assert client.movie().poster == stored.poster


def test_too_many_files_are_refused(client: Client, stored: Movie) -> None:
    kept = [("shots", each) for each in values(client.page("movie/edit?pk=1"), "shots")]
    more = [("shots", (f"{each}.txt", b"x", "text/plain")) for each in range(3)]
    answer = client.send("movie/edit?pk=1", ("title", "Alien"), *kept, *more)
    assert errors(answer.text) == {"shots": "5 files, at most 4 are allowed"}
    client.check()


def test_a_token_that_is_not_ours_is_refused(client: Client) -> None:
    answer = client.send("movie/create", ("title", "Alien"), ("poster", "depot-upload:forged"))
    assert errors(answer.text)["poster"].startswith("the token of the upload has expired, or was not made here")


def test_a_form_of_another_kind_is_refused(client: Client) -> None:
    assert client.send("movie/create", ("title", "Alien"), ("poster", "default/some-path")).status_code == 400


def test_two_who_edit_the_same_row_lose_nothing_of_each_other(client: Client, stored: Movie) -> None:
    seen = client.page("movie/edit?pk=1")
    lists = [("shots", each) for each in values(seen, "shots")]
    posters = [("poster", each) for each in values(seen, "poster")]
    first = client.send(
        "movie/edit?pk=1", ("title", "A"), *lists, ("shots", ("of A.txt", b"A", "text/plain")), *posters[:1],
        ("poster", ("of A.png", png(5, 5), "image/png")),
    )  # fmt: skip
    assert first.status_code == 303
    second = client.send(
        "movie/edit?pk=1", ("title", "B"), *lists, ("shots", ("of B.txt", b"B", "text/plain")), *posters[:1],
        ("poster", ("of B.png", png(6, 6), "image/png")),
    )  # fmt: skip
    assert second.status_code == 422
    assert errors(second.text) == {"poster": "was changed meanwhile: there is 'of A.png' now"}
    # The form that comes back has shown it, so sending it again is meant.
    again = [(name, each) for name in ("title", "poster", "shots") for each in values(second.text, name)]
    answer = client.send("movie/edit?pk=1", *again, ("poster", ("of B.png", png(6, 6), "image/png")))
    assert answer.status_code == 303
    movie = client.movie()
    assert movie.poster is not None
    assert (movie.title, movie.poster.filename) == ("B", "of B.png")
    assert [each.filename for each in movie.shots] == ["one.txt", "two.txt", "of A.txt"]
    client.check()


class TestUploads:
    """Files that are sent before their form."""

    def test_one_is_held_against_the_rules_of_its_column_at_once(self, client: Client) -> None:
        answer = client.upload(b"text", "a.png")
        assert answer.status_code == 422
        assert any("image/*" in each for each in answer.json()["errors"])
        large = client.upload(png(9, 9) + bytes(30_000))
        assert (large.status_code, large.json()) == (422, {"errors": ["is larger than 20 kB"]})
        client.check()

    def test_one_is_adopted_by_its_form(self, client: Client) -> None:
        answer = client.upload(png(60, 90), "Grüße ☕.png")
        assert answer.status_code == 201
        told = answer.json()
        assert (told["type"], told["size"]) == ("image/png", f"{len(png(60, 90))} bytes")
        assert client.send("movie/create", ("title", "Alien"), ("poster", told["token"])).status_code == 303
        movie = client.movie()
        assert movie.poster is not None
        assert movie.poster.filename == "Grüße ☕.png"
        client.check()

    def test_only_who_may_write_the_field_may_send(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        assert client.upload(png(), field="title").status_code == 403
        assert client.upload(png(), field="nothing").status_code == 403
        url = "/admin/plugins/depot/upload/nobody?field=poster"
        assert client.ask("POST", url, content=png(), headers={"X-CSRFToken": client.token}).status_code == 404
        forged = client.upload(png(), **{"X-CSRFToken": "forged"})
        assert (forged.status_code, forged.text) == (403, "CSRF token invalid")
        monkeypatch.setattr(client.admin._find_view_by_key("movie"), "writable", False)
        assert client.upload(png()).status_code == 403
        client.check()

    @pytest.mark.parametrize(("error", "status"), [(None, 503), (28, 507)])
    def test_a_storage_that_fails_is_no_error_of_the_page(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, error: int | None, status: int
    ) -> None:
        def fail(*args: object) -> None:
            raise StorageFailed("no") if error is None else StorageFailed(error, "no space left")

        monkeypatch.setattr(DepotManager.get("default"), "_save", fail)
        answer = client.upload(png())
        assert answer.status_code == status
        monkeypatch.undo()
        client.check()

    def test_a_slow_client_is_given_up(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: object) -> None:
            raise TooSlow("1 byte in 30 seconds")

        monkeypatch.setattr(DepotManager.get("default"), "_save", fail)
        answer = client.upload(png())
        assert (answer.status_code, answer.json()) == (408, {"errors": ["arrived too slowly"]})

    def test_there_are_not_too_many_at_once(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        limit = Uploads(1, IDLE, RATE)
        monkeypatch.setattr(receiving, "_uploads", limit)
        assert limit.enter("another") is None
        refused = client.upload(png())
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert refused.json() == {"errors": ["could not be received: too many others are"]}
        limit.leave("another")
        assert client.upload(png()).status_code == 201
        assert client.upload(b"no image").status_code == 422
        assert limit.count == 0

    def test_what_a_flush_has_against_a_file_stands_beside_its_field(self, client: Client) -> None:
        """It was sent, and has gone since."""
        told = client.upload(b"3", "three.txt", "media").json()
        depot = DepotManager.get("default")
        depot.delete_many(list(depot.list()))
        answer = client.send("movie/create", ("title", "Alien"), ("media", told["token"]))
        assert (answer.status_code, errors(answer.text)) == (
            422,
            {"media": "'three.txt' was never uploaded, or was adopted already"},
        )
        assert values(answer.text, "title") == ["Alien"]

    def test_a_flush_that_cannot_store_says_so(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: object) -> None:
            raise StorageFailed("no")

        monkeypatch.setattr(DepotManager.get("default"), "_save", fail)
        answer = client.send("movie/create", ("title", "Alien"), ("media", ("a", b"a", "text/plain")))
        assert answer.status_code == 422
        assert "could not be stored: try again" in errors(answer.text).values()
        with Session(client.engine) as session:
            assert session.query(Movie).count() == 0

    def test_without_keys_files_go_with_the_form(self, client: Client) -> None:
        assert "data-depot-upload=" in client.page("movie/create")
        DepotManager._set(signer=None)
        assert "data-depot-upload=" not in client.page("movie/create")


class TestRowsWithinRows:
    """Forms within the form of another row."""

    @pytest.fixture
    def scene(self, client: Client, stored: Movie) -> Scene:
        with Session(client.engine, expire_on_commit=False) as session:
            scene = Scene(movie_id=stored.id, name="Ash", picture=UploadedFile(png(), filename="ash.png"))
            session.add(scene)
            session.commit()
            return scene

    def scenes(self, client: Client) -> list[tuple[str | None, str]]:
        with Session(client.engine) as session:
            return [(each.name, each.picture.filename) for each in session.query(Scene).order_by(Scene.id)]

    def test_one_is_made_with_its_file(self, client: Client, stored: Movie) -> None:
        field = "inlines.scene.0.picture"
        told = client.upload(png(), "ripley.png", field)
        assert told.status_code == 201
        form = [("title", "Alien"), ("inlines.scene.0.name", "Ripley"), (field, told.json()["token"])]
        assert client.send("movie/edit?pk=1", *form).status_code == 303
        assert self.scenes(client) == [("Ripley", "ripley.png")]
        client.check()

    def test_one_keeps_its_file_through_an_error(self, client: Client, scene: Scene) -> None:
        """The row was not loaded for that form, so that its file is shown by nothing but its being there."""
        file_id = scene.picture.file_id
        form = [
            ("title", "Alien"),
            ("inlines.scene.0.pk", str(scene.id)),
            ("inlines.scene.0.name", "Ash"),
            *[("inlines.scene.0.picture", each) for each in (f"seen:{file_id}", f"keep:{file_id}")],
            ("inlines.scene.1.name", "Bishop"),
        ]
        answer = client.send("movie/edit?pk=1", *form)
        assert errors(answer.text) == {"inlines.scene.1.picture": "This field is required."}
        assert values(answer.text, r"inlines\.scene\.0\.picture") == [f"seen:{file_id}", f"keep:{file_id}"]
        more = ("inlines.scene.1.picture", ("bishop.png", png(), "image/png"))
        assert client.send("movie/edit?pk=1", *form, more).status_code == 303
        assert self.scenes(client) == [("Ash", "ash.png"), ("Bishop", "bishop.png")]
        client.check()

    def test_what_is_required_cannot_be_removed(self, client: Client, scene: Scene) -> None:
        form = [
            ("title", "Alien"),
            ("inlines.scene.0.pk", str(scene.id)),
            ("inlines.scene.0.picture", f"seen:{scene.picture.file_id}"),
        ]
        answer = client.send("movie/edit?pk=1", *form)
        assert errors(answer.text) == {"inlines.scene.0.picture": "This field is required."}


def test_names_are_escaped_everywhere(client: Client, engine: Engine) -> None:
    with Session(engine) as session:
        shots = [UploadedFile(png(), filename=HOSTILE), UploadedFile(SVG, filename='x.svg" onload="alert(1)')]
        session.add(Movie(title="Alien", poster=UploadedFile(png(), filename=HOSTILE), shots=shots))
        session.commit()
    for path in ("movie/list", "movie/detail?pk=1", "movie/edit?pk=1"):
        page = client.page(path)
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert 'x.svg" ' not in page
        assert HOSTILE in html.unescape(page)


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [("a.mp4", mp4(), "video/mp4 · 640 × 360 · 0:02 · "), ("a.pdf", packed_pdf(7), "application/pdf · 7 pages · ")],  # noqa: RUF001  # the sign of multiplication
)
def test_facts_are_shown(client: Client, engine: Engine, name: str, content: bytes, shown: str) -> None:
    with Session(engine) as session:
        session.add(Movie(title="Alien", media=UploadedFile(content, filename=name)))
        session.commit()
    assert shown in client.page("movie/detail?pk=1")
    assert shown in client.page("movie/edit?pk=1")


def test_what_would_run_is_a_card(client: Client, engine: Engine) -> None:
    with Session(engine) as session:
        session.add(Movie(title="Alien", media=UploadedFile(SVG, filename="x.svg")))
        session.commit()
    page = client.page("movie/detail?pk=1")
    assert "no preview of image/svg+xml" in page
    assert not re.search(r"<(img|iframe|object|embed)[^>]*/depot/", page)


def test_a_depot_that_is_gone_hides_no_page(client: Client, stored: Movie) -> None:
    with client.engine.begin() as connection:
        connection.execute(text("UPDATE movie SET poster = replace(poster, 'default', 'gone')"))
    assert "poster.png" in client.page("movie/list")
    assert "not served here" in client.page("movie/detail?pk=1")
    assert "poster.png" in client.page("movie/edit?pk=1")


def test_an_export_has_the_names(client: Client, stored: Movie) -> None:
    form = [("format", "csv"), ("scope", "selected"), ("fields", "title"), ("fields", "shots")]
    answer = client.send("_api/movie/action?name=export&pks=1", *form)
    assert answer.text.splitlines() == ["Title,Shots", 'Alien,"one.txt, two.txt"']


@pytest.mark.parametrize("action", ["row-action?name=delete&pk=1", "action?name=delete&pks=1"])
def test_deleting_the_row_deletes_its_files(client: Client, stored: Movie, action: str) -> None:
    depot = DepotManager.get("default")
    assert len(list(depot.list())) == 4
    answer = client.ask("POST", f"/admin/_api/movie/{action}", headers={"X-CSRFToken": client.token})
    assert answer.status_code == 200
    assert list(depot.list()) == []
    client.check()


def test_lists_stay_fast_with_ten_thousand_rows(client: Client, stored: Movie, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page takes the same few queries, and none of them asks a storage."""
    asked: list[str] = []
    event.listen(client.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a storage was asked")

    def queries(path: str) -> int:
        asked.clear()
        client.page(path)
        return len([each for each in asked if each.startswith("SELECT")])

    few = queries("movie/list?page_size=100")
    with client.engine.begin() as connection:
        numbers = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
        copies = "SELECT n.i, 'Alien ' || n.i, poster, shots, media FROM n, movie WHERE movie.id = 1"
        connection.execute(text(f"INSERT INTO movie (id, title, poster, shots, media) {numbers} {copies}"))
    depot = DepotManager.get("default")
    for name in ("_open", "_info", "_exists", "_list", "_save", "_delete"):
        assert hasattr(depot, name), name
        monkeypatch.setattr(depot, name, never)
    assert [queries(f"movie/list?page_size=100&page={each}") for each in (1, 50, 100)] == [few] * 3
    assert few == 2


def test_an_asynchronous_engine_does_the_same(client: Client, tmp_path: Path) -> None:
    """Create, edit, refuse, conflict, and delete, on a session that loads nothing by itself."""
    made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/test.db", poolclass=NullPool)
    DepotManager._set(middleware=None)
    app, admin = site(made)
    asynchronous = Client(app, client.engine, admin)
    form = [("title", "Alien"), ("poster", ("p.png", png(60, 90), "image/png")), ("shots", ("1", b"1", "text/plain"))]
    assert asynchronous.send("movie/create", *form).status_code == 303
    page = asynchronous.page("movie/edit?pk=1")
    old = [(name, each) for name in ("poster", "shots") for each in values(page, name)]
    refused = asynchronous.send("movie/edit?pk=1", ("title", "A"), *old, ("poster", ("new.png", b"text", "image/png")))
    assert errors(refused.text) == {"poster": "is text/plain, allowed: image/*"}
    changed = asynchronous.send(
        "movie/edit?pk=1", ("title", "A"), *old, ("poster", ("new.png", png(9, 9), "image/png"))
    )
    assert changed.status_code == 303
    late = asynchronous.send("movie/edit?pk=1", ("title", "B"), *old, ("poster", ("late.png", png(8, 8), "image/png")))
    assert errors(late.text) == {"poster": "was changed meanwhile: there is 'new.png' now"}
    told = asynchronous.upload(b"gone", "gone.txt", "media").json()
    DepotManager.get("default").delete(adoptable(told["token"]).file_id)  # type: ignore[union-attr]
    gone = asynchronous.send("movie/edit?pk=1", ("title", "B"), ("media", told["token"]))
    assert errors(gone.text) == {"media": "'gone.txt' was never uploaded, or was adopted already"}
    assert asynchronous.movie().title == "A"
    asynchronous.check()
    headers = {"X-CSRFToken": asynchronous.token}
    assert asynchronous.ask("POST", "/admin/_api/movie/action?name=delete&pks=1", headers=headers).status_code == 200
    assert list(DepotManager.get("default").list()) == []
