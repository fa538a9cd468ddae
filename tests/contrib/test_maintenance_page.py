"""The maintenance page in an admin that uvicorn serves: its jobs by HTTP, and what Chromium makes of it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import httpx
import pytest
from sqlalchemy import NullPool, String, create_engine, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from starlette.applications import Starlette
from starlette.requests import Request
from starlette_admin.contrib.sqla import Admin, ModelView

from depot_lite.contrib.starlette_admin import DepotPlugin
from depot_lite.contrib.starlette_admin.maintenance import MaintenanceView
from depot_lite.contrib.starlette_admin.upkeep import Upkeep
from depot_lite.errors import NameRefused, StorageFailed
from depot_lite.fields.lists import FileList
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import Content
from depot_lite.io.fileid import new_file_id, new_upload_id
from depot_lite.io.interfaces import FileEntry
from depot_lite.io.local import LocalFileStorage
from depot_lite.maintenance import claim
from depot_lite.maintenance.trash import WEEK
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.browsing import asked_elsewhere, chromium, in_thread
from tests.servers.running import DEADLINE

DAY: Final = 24 * 60 * 60
EVIL: Final = '"><img src=x onerror=alert(1)>.txt'
#: The original loads a font from another host.
BASE_HTML: Final = '{% extends "@core/base.html" %}{% block fonts %}{% endblock %}'


class Base(DeclarativeBase):
    """The parent of the models here."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


class Clip(Base):
    """Has a view, so its rows can be edited."""

    __tablename__ = "page_clip"
    id: Mapped[int] = mapped_column(primary_key=True)
    poster: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    shots: Mapped[FileList[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))


class Take(Base):
    """Two columns are its primary key."""

    __tablename__ = "page_take"
    film: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    sound: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Score(Base):
    """Cannot be without its file."""

    __tablename__ = "page_score"
    id: Mapped[int] = mapped_column(primary_key=True)
    sheet: Mapped[UploadedFile] = mapped_column(UploadedFileField)


class Unseen(Base):
    """Has no view."""

    __tablename__ = "page_unseen"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="archive"))


#: So many files of an endless listing are more than who only looks whether the storage is there takes.
MANY: Final = 1000


#: Tables may be empty, and any number of files may go.
CONSENT: Final[dict[str, Any]] = {
    "trash": timedelta(0),
    "max_delete": "100%",
    "allow_newer": True,
    "allow_empty": ("films", *Base.metadata.tables),
}


class Storage(LocalFileStorage):
    """A folder that counts how often it is listed, and whose listing may fail, or never end."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, durable=False)
        self.reset()

    def reset(self) -> None:
        self.listings = 0
        self.failure: Exception | None = None
        self.endless = False
        self.begun, self.left = threading.Event(), threading.Event()

    def _list(self) -> Iterator[FileEntry]:
        self.listings += 1
        if self.failure is not None:
            raise self.failure
        file_id, told = new_file_id(), 0
        try:
            while self.endless:
                told += 1
                if told == MANY:
                    self.begun.set()
                yield FileEntry.told(file_id, 1, datetime.now(UTC))
            yield from super()._list()
        finally:
            if told >= MANY:
                self.left.set()


class View(MaintenanceView):
    """The page, for whom its attributes let in."""

    accessible: bool
    deletes: bool
    statement: str | None

    def reset(self) -> None:
        self.accessible, self.deletes, self.statement = True, True, None

    def is_accessible(self, request: Request) -> bool:
        if self.statement is not None:  # a transaction of the request's session, which nobody has ended yet
            request.state.session.execute(text(self.statement))
        return self.accessible

    def can_delete(self, request: Request) -> bool:
        return self.deletes


@dataclass
class Site:
    """The admin, its depots and its database."""

    url: str
    view: View
    storage: Storage
    engine: Any
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=DEADLINE))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def stored(self) -> set[str]:
        return {str(each) for each in LocalFileStorage._list(self.storage)}

    def store(self, data: bytes = b"unused", *, age: int = 2 * DAY, file_id: str | None = None) -> str:
        """Store a file that no row names, some seconds ago."""
        made = self.storage.save(Content.of(data, "a.txt"), file_id=file_id or new_file_id()).file_id
        known = Path(self.storage._sidecar(made))
        when = datetime.now(UTC) - timedelta(seconds=age)
        known.write_text(json.dumps(json.loads(known.read_text()) | {"last_modified": when.isoformat()}))
        return made

    def add(self, *objects: Any) -> None:
        with Session(self.engine, expire_on_commit=False) as session:
            session.add_all(objects)
            session.commit()

    def token(self) -> dict[str, str]:
        if "starlette_admin_csrftoken" not in self.client.cookies:
            self.client.get(f"{self.url}/admin/depots")
        return {"X-CSRFToken": self.client.cookies["starlette_admin_csrftoken"]}

    def post(self, job: str, **what: Any) -> httpx.Response:
        return self.client.post(f"{self.url}/admin/depots/{job}", json={"depot": "films", **what}, headers=self.token())

    def last(self, job: str, **what: Any) -> dict[str, Any]:
        """Return the last line of a job."""
        *progress, last = [json.loads(each) for each in self.post(job, **what).iter_lines() if each]
        assert all(list(each) == ["progress"] for each in progress)
        found: dict[str, Any] = last
        return found

    def result(self, job: str, **what: Any) -> dict[str, Any]:
        last = self.last(job, **what)
        assert list(last) == ["result"], last
        found: dict[str, Any] = last["result"]
        return found


@pytest.fixture(scope="module", params=["sync"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page under uvicorn; with the parameter ``async`` the admin has asynchronous sessions."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "templates").mkdir()
    (folder / "templates" / "base.html").write_text(BASE_HTML)
    engine = create_engine(f"sqlite:///{folder}/test.db", connect_args={"timeout": 0})
    provider: Any = engine
    if request.param == "async":  # no pool: its connections belong to the loop of the server
        provider = create_async_engine(f"sqlite+aiosqlite:///{folder}/test.db", poolclass=NullPool)
    with temporary_depots():
        storage = Storage(folder / "films")
        DepotManager.configure("films", storage)
        DepotManager.configure("archive", LocalFileStorage(folder / "archive", durable=False), visibility="private")
        DepotManager.configure_signing("a key that is long enough")
        DepotManager.alias("posters", "films")
        Base.metadata.create_all(engine)
        claim(engine, "films", models=[Base])
        view = View(models=[Base], settle=timedelta(0), **CONSENT)
        with in_thread(_app(provider, view, folder / "templates")) as url, Site(url, view, storage, engine) as made:
            yield made
    engine.dispose()


def _app(provider: Any, view: View, templates: Path) -> Starlette:
    admin = Admin(provider, secret_key="x", templates_dir=str(templates), plugins=[DepotPlugin()])
    for each in (view, ModelView(Clip), ModelView(Take), ModelView(Score)):
        admin.add_view(each)
    app = Starlette()
    app.mount("/depot", DepotManager.make_asgi_middleware())
    admin.mount_to(app)
    return app


@pytest.fixture
def site(served: Site) -> Iterator[Site]:
    """The page, with empty tables and empty depots."""
    with served.engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS old"))
    Base.metadata.drop_all(served.engine)
    Base.metadata.create_all(served.engine)
    served.view.reset()
    served.storage.reset()
    for depot in map(DepotManager.get, DepotManager.depot_names()):
        depot.delete_many(list(depot.list()))
    served.storage.reset()
    yield served
    served.storage.endless = False


both = pytest.mark.parametrize("served", ["sync", "async"], indirect=True)


# --- by HTTP --------------------------------------------------------------------------------------------------------


def test_the_page_lists_the_depots_and_asks_nothing_of_them(site: Site) -> None:
    page = site.client.get(f"{site.url}/admin/depots").text
    for each in ("films", "posters", "archive", "private", "Storage", "LocalFileStorage"):
        assert each in page
    assert site.storage.listings == 0


def test_it_is_in_the_menu_and_the_way_home_is_what_it_was(site: Site) -> None:
    page = site.client.get(f"{site.url}/admin/clip/list").text
    assert re.search(r'href="[^"]*/admin/depots"', page)
    assert re.search(r'brand-link" href="[^"]*/admin/"', page)


@both
def test_files_are_counted(site: Site) -> None:
    site.add(Clip(poster=b"123"))
    site.store(b"45")
    expected = {"files": 2, "size": "5 bytes", "named": 1, "unnamed": 1, "damaged": 0}
    assert site.result("count", depot="posters") == expected


@both
def test_unused_files_are_found_and_deleted(site: Site) -> None:
    """Also an upload that no form adopted; none that a row names, or that is young."""
    site.add(Clip(poster=b"123", shots=[b"4", b"5"]))
    named, young = site.stored(), site.store(age=60)
    unused = [site.store(), site.store(file_id=new_upload_id())]
    found = site.result("unused")
    assert {each["id"] for each in found["rows"]} == set(unused)
    assert (found["unused"], found["size"], found["young"], found["rows"][0]["age"]) == (2, "12 bytes", 1, "2 days")
    assert site.client.get(f"{site.url}{found['rows'][0]['url']}").content == b"unused"
    done = site.result("delete", older_than=DAY, before=found["before"])
    assert (done["deleted"], done["size"], done["failed"], done["young"]) == (2, "12 bytes", 0, 1)
    assert site.stored() == {*named, young}


def test_unused_files_are_marked_first_by_default(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add(Clip(poster=b"123"))
    site.store()
    monkeypatch.setattr(site.view, "_upkeep", Upkeep([Base], settle=timedelta(0), **{**CONSENT, "trash": WEEK}))
    found = site.result("unused")
    assert (found["trash"], found["due"], found["objections"]) == ("7 days", 0, [])
    done = site.result("delete")
    assert (done["marked"], done["waiting"], done["deleted"], len(site.stored())) == (1, 0, 0, 2)
    site.storage.write_note("trash", b"")


def test_a_reason_to_stop_is_shown_before_anything_is_deleted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add(Clip(poster=b"123"))
    site.store()
    monkeypatch.setattr(site.view, "_upkeep", Upkeep([Base], settle=timedelta(0), max_delete=0))
    assert any("the limit is 0" in each for each in site.result("unused")["objections"])
    assert "the limit is 0" in site.last("delete")["error"]


def test_what_became_old_after_it_was_shown_is_not_deleted(site: Site) -> None:
    before = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    kept = site.store(age=2 * DAY)
    assert site.result("delete", older_than=DAY, before=before)["deleted"] == 0
    assert site.stored() == {kept}


def test_what_the_application_protects_is_spared(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a column that no model knows, or by its own rule."""
    protected, kept, unused = (site.store() for _ in range(3))
    with site.engine.begin() as connection:
        connection.execute(text("CREATE TABLE old (note TEXT)"))
        connection.execute(text("INSERT INTO old VALUES (:id)"), {"id": protected})
    upkeep = Upkeep([Base], ["old.note"], lambda file: file.file_id == kept, timedelta(0), **CONSENT)
    monkeypatch.setattr(site.view, "_upkeep", upkeep)
    found = site.result("delete")
    assert (found["deleted"], found["named"], found["kept"]) == (1, 1, 1)
    assert unused not in site.stored()


def test_what_cannot_be_deleted_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = site.store(), site.store()
    delete = site.storage._delete_many

    def fail(file_ids: list[str]) -> dict[str, Exception]:
        return delete([good]) | {bad: StorageFailed("the disk is read-only")}

    monkeypatch.setattr(site.storage, "_delete_many", fail)
    done = site.result("delete")
    assert (done["deleted"], done["failed"], done["size"]) == (1, 1, "6 bytes")
    assert done["rows"] == [{"id": bad, "error": "the disk is read-only"}]


@pytest.mark.parametrize("kind", ["sessionmaker", "async_sessionmaker", "Engine", "AsyncEngine"])
def test_the_database_may_be_another_than_the_admins(site: Site, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add(Clip(poster=b"123"))
    other = create_async_engine(site.engine.url.set(drivername="sqlite+aiosqlite"), poolclass=NullPool)
    binds = {
        "sessionmaker": sessionmaker(site.engine),
        "async_sessionmaker": async_sessionmaker(other),
        "Engine": site.engine,
        "AsyncEngine": other,
    }
    monkeypatch.setattr(site.view, "_bind", binds[kind])
    assert site.result("count")["named"] == 1


@both
def test_missing_files_are_shown_with_a_link_to_their_row(site: Site) -> None:
    clip, take = Clip(poster=b"1", shots=[b"2", b"3"]), Take(film="a,b", number=7, sound=b"4")
    site.add(clip, take)
    assert clip.poster is not None
    assert take.sound is not None
    for each in (clip.poster, clip.shots[1], take.sound):
        site.storage.delete(each.file_id)
    found = site.result("missing")
    assert (found["missing"], found["named"]) == (3, 4)
    rows = {(each["model"], each["key"], each["attribute"], each["part"]): each for each in found["rows"]}
    assert set(rows) == {("Clip", "1", "poster", ""), ("Clip", "1", "shots", "[1]"), ("Take", "a,b, 7", "sound", "")}
    assert rows["Clip", "1", "poster", ""]["name"] == clip.poster.filename
    for each in rows.values():
        assert site.client.get(each["url"]).status_code == 200


@both
def test_missing_files_are_removed_from_their_rows(site: Site) -> None:
    """Those that are required are named, with a link to their row."""
    clip, score = Clip(poster=b"1", shots=[b"2", b"3", b"4", b"5"]), Score(sheet=b"6")
    site.add(clip, score)
    assert clip.poster is not None
    for each in (clip.poster, clip.shots[1], score.sheet):
        site.storage.delete(each.file_id)
    done = site.result("clear", missing=3)
    rows, counts = done.pop("required_rows"), dict.fromkeys(("changed", "variants", "unmapped", "failed"), 0)
    assert done == counts | {"named": 6, "removed": 2, "required": 1, "failed_rows": []}
    assert [(each["model"], each["attribute"], each["path"]) for each in rows] == [("Score", "sheet", score.sheet.path)]
    assert site.client.get(rows[0]["url"]).status_code == 200
    with Session(site.engine) as session:
        found = session.get_one(Clip, 1)
        assert (found.poster, list(found.shots)) == (None, [clip.shots[0], *clip.shots[2:]])
    assert site.result("missing")["missing"] == 1


def test_why_a_row_could_not_be_written_is_told(site: Site, listen: Callable[..., None]) -> None:
    def refuse(*_: Any) -> None:
        raise NameRefused("has to stay")

    site.add(clip := Clip(poster=b"1", shots=[b"2"]))
    assert clip.poster is not None
    site.storage.delete(clip.poster.file_id)
    listen(Clip, "before_update", refuse)
    done = site.result("clear", missing=1)
    assert [(each["key"], each["error"]) for each in done["failed_rows"]] == [("1", "has to stay")]


def test_a_row_without_a_view_has_no_link(site: Site) -> None:
    site.add(row := Unseen(note=b"1"))
    assert row.note is not None
    DepotManager.get("archive").delete(row.note.file_id)
    (found,) = site.result("missing", depot="archive")["rows"]
    assert (found["model"], found["url"]) == ("Unseen", None)


def test_damaged_rows_and_depots_that_are_not_configured_are_shown(site: Site) -> None:
    other = f'{{"path": "other/{new_file_id()}"}}'
    with site.engine.begin() as connection:
        connection.execute(text("INSERT INTO page_clip (poster, shots) VALUES ('{', '[]')"))
        connection.execute(text("INSERT INTO page_clip (poster, shots) VALUES (:other, '[]')"), {"other": other})
    found = site.result("missing")
    assert (found["damaged"], found["unconfigured"]) == (1, 1)
    assert found["damaged_rows"][0]["place"] == "page_clip.poster"
    error = site.last("unused")["error"]
    assert error.startswith("page_clip.poster of the row 1 is damaged")
    assert "\n" not in error


@both
def test_an_error_is_one_line_without_secrets(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.storage.failure = RuntimeError("https://user:secret@host/ cannot be reached")
    assert site.last("unused") == {"error": "RuntimeError: the log of the server says more"}
    assert "secret" in caplog.text
    site.storage.failure = None
    with site.engine.begin() as connection:
        connection.execute(text("DROP TABLE page_take"))
    assert site.last("unused") == {"error": "page_take.sound cannot be read: no such table: page_take"}


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ({"depot": "nowhere"}, "there is no depot 'nowhere'"),
        ({"older_than": 0}, "older_than: expected an age from the page, got 0"),
        ({"before": "2026-01-01"}, "the request cannot be parsed"),
        ({"depot": ["films"]}, "the request cannot be parsed"),
        ({"missing": "1"}, "the request cannot be parsed"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(site: Site, what: dict[str, Any], error: str) -> None:
    answer = site.post("delete", **what)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)


def test_nobody_comes_in_without_access(site: Site) -> None:
    headers = site.token()
    site.view.accessible = False
    assert site.client.get(f"{site.url}/admin/depots").status_code == 403
    for job in ("count", "unused", "missing", "delete", "clear"):
        answer = site.client.post(f"{site.url}/admin/depots/{job}", json={"depot": "films"}, headers=headers)
        assert answer.status_code == 403
    assert site.storage.listings == 0


def test_some_may_only_look(site: Site) -> None:
    site.view.deletes = False
    assert [site.post(each).status_code for each in ("delete", "clear")] == [403, 403]
    assert site.post("unused").status_code == 200
    assert "data-depot-confirm" not in site.client.get(f"{site.url}/admin/depots").text


def test_a_form_of_another_site_is_refused(site: Site) -> None:
    site.token()
    answer = site.client.post(f"{site.url}/admin/depots/delete", json={"depot": "films"})
    assert (answer.status_code, answer.text) == (403, "CSRF token missing")


@both
@pytest.mark.parametrize("job", ["count", "unused", "missing", "delete", "clear"])
def test_a_job_stops_when_its_client_goes_away(site: Site, job: str) -> None:
    """And the database is free for others while it runs."""
    unused = site.store()
    site.add(Clip(poster=b"1"))
    site.storage.endless = True
    url, what = f"{site.url}/admin/depots/{job}", {"depot": "films"}
    with site.client.stream("POST", url, json=what, headers=site.token()) as answer:
        assert site.storage.begun.wait(DEADLINE)
        site.add(Clip(poster=b"2"))
        assert any('"listing' in line for line in answer.iter_lines())
    assert site.storage.left.wait(DEADLINE)
    assert unused in site.stored()


def test_the_transaction_of_the_request_has_ended_before_the_job_begins(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite lets one write at a time."""
    site.add(Clip(poster=b"1"))
    headers = site.token()
    site.view.statement = "UPDATE page_clip SET id = id"

    def write_and_list() -> Iterator[FileEntry]:
        with site.engine.begin() as connection:
            connection.execute(text("DELETE FROM page_clip"))
        return iter(())

    monkeypatch.setattr(site.storage, "_list", write_and_list)
    url = f"{site.url}/admin/depots/unused"
    answer = site.client.post(url, json={"depot": "films"}, headers=headers)
    assert '"result"' in answer.text, answer.text


# --- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as made:
        yield made


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    """The page; no request may leave the machine, and no script may fail."""
    failed: list[str] = []
    with closing(browser.new_context(base_url=site.url)) as context:
        page = context.new_page()
        elsewhere = asked_elsewhere(page)
        page.set_default_timeout(DEADLINE * 1000)
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("dialog", lambda dialog: failed.append(dialog.message))
        page.goto("/admin/depots")
        yield page
    assert (elsewhere, failed) == ([], [])


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name).click()


def results(page: Any) -> Any:
    return page.locator("[data-depot-results]")


def test_unused_files_are_deleted_after_a_confirmation(site: Site, page: Any) -> None:
    site.add(Clip(poster=b"123"))
    named = site.stored()
    for _ in range(3):
        site.store()
    press(page, "Find unused files of films")
    results(page).get_by_text("3 unused files older than 24 hours, 18 bytes.").wait_for()
    press(page, "Delete these 3 files …")
    dialog = page.get_by_role("dialog")
    assert "Depot films: 3 files that no row names, 18 bytes." in dialog.inner_text()
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    page.keyboard.press("Enter")
    assert dialog.count() == 0
    assert len(site.stored()) == 4
    press(page, "Delete these 3 files …")
    dialog.get_by_role("button", name="Delete 3 files").click()
    results(page).get_by_text("3 files deleted, 18 bytes.").wait_for()
    assert site.stored() == named
    assert page.locator("[data-depot-name=films] [data-depot-number=unused]").inner_text() == "0"
    assert "3 files deleted" in page.get_by_role("status").inner_text()


def test_files_are_counted_in_the_table(site: Site, page: Any) -> None:
    site.add(Clip(poster=b"123"))
    press(page, "Count the files of films")
    results(page).get_by_text("1 file, 3 bytes; rows name 1").wait_for()
    numbers = page.locator("[data-depot-name=films] [data-depot-number]").all_inner_texts()
    assert numbers[:3] == ["1", "3 bytes", "1"]
    assert all("not counted" in each for each in numbers[3:])


def test_a_missing_file_leads_to_its_row_whatever_its_name_is(site: Site, page: Any) -> None:
    clip = Clip(poster=Content.of(b"1", EVIL))
    site.add(clip, Clip(poster=b"2"))
    assert clip.poster is not None
    site.storage.delete(clip.poster.file_id)
    press(page, "Find missing files of films")
    row = results(page).get_by_role("row", name=clip.poster.path)
    row.wait_for()
    assert clip.poster.filename in row.inner_text()
    with page.context.expect_page() as opened:
        row.get_by_role("link").click()
    opened.value.wait_for_load_state()
    assert opened.value.url == f"{site.url}/admin/clip/edit?pk=1"


def missing_one_of(site: Site, count: int) -> Clip:
    """Let a file of a row be missing."""
    clip = Clip(shots=[b"%d" % each for each in range(count)])
    site.add(clip)
    site.storage.delete(clip.shots[0].file_id)
    return clip


def shots_of(site: Site) -> list[UploadedFile]:
    with Session(site.engine) as session:
        return list(session.get_one(Clip, 1).shots)


def test_missing_files_are_removed_from_their_rows_after_a_confirmation(site: Site, page: Any) -> None:
    clip = missing_one_of(site, 3)
    press(page, "Find missing files of films")
    press(page, "Remove it from its row …")
    dialog = page.get_by_role("dialog")
    assert "Depot films: 1 of 3 files that rows name is missing." in dialog.inner_text()
    assert "A storage that is not mounted, or a wrong folder, bucket or prefix" in dialog.inner_text()
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    page.keyboard.press("Enter")
    assert dialog.count() == 0
    assert shots_of(site) == clip.shots
    press(page, "Remove it from its row …")
    dialog.get_by_role("button", name="Remove 1 missing file from its row").click()
    results(page).get_by_text("1 missing file removed from its row.").wait_for()
    assert shots_of(site) == clip.shots[1:]
    assert page.locator("[data-depot-name=films] [data-depot-number=missing]").inner_text() == "0"
    assert page.get_by_role("button", name="Remove it").count() == 0


def test_nothing_is_removed_from_rows_when_the_folder_is_gone(site: Site, page: Any) -> None:
    """Before it is asked for, there is no button for it; afterwards it is refused."""
    clip = missing_one_of(site, 3)
    press(page, "Find missing files of films")
    results(page).get_by_text("1 file missing of 3").wait_for()
    folder = Path(site.storage._root)
    folder.rename(folder.with_name("unmounted"))
    press(page, "Remove it from its row …")
    press(page, "Remove 1 missing file from its row")
    refusal = "It failed: films: 3 of 3 files that rows name are missing, more than half"
    results(page).get_by_text(refusal).wait_for()
    assert "until then" not in results(page).inner_text()
    assert shots_of(site) == clip.shots
    press(page, "Find missing files of films")
    results(page).get_by_text("All of them: that is how a storage looks that is not mounted").wait_for()
    assert page.get_by_role("button", name="Remove").count() == 0
    folder.with_name("unmounted").rename(folder)


def test_a_job_is_stopped_by_its_button(site: Site, page: Any) -> None:
    site.storage.endless = True
    press(page, "Find unused files of films")
    page.get_by_text("listing: ").wait_for()
    assert page.get_by_role("button", name="Count the files of films").is_disabled()
    press(page, "Stop")
    results(page).get_by_text("Stopped.").wait_for()
    assert site.storage.left.wait(DEADLINE)
    assert page.get_by_role("button", name="Count the files of films").is_enabled()


def test_a_job_ends_with_its_page(site: Site, page: Any) -> None:
    site.add(Clip(poster=b"1"))
    site.storage.endless = True
    press(page, "Find missing files of films")
    page.get_by_text("listing films: ").wait_for()
    page.goto("/admin/clip/list")
    assert site.storage.left.wait(DEADLINE)


def test_the_page_warns_of_ages_that_are_not_safe(site: Site, page: Any) -> None:
    site.store(age=2 * 60 * 60)
    warning = page.get_by_text("That may be too young")
    assert not warning.is_visible()
    page.get_by_label("Unused is what no row names").select_option("1 hour")
    assert warning.is_visible()
    press(page, "Find unused files of films")
    press(page, "Delete this file …")
    assert page.get_by_role("dialog").get_by_text("such files would be lost").is_visible()


def test_an_error_stands_on_the_page(site: Site, page: Any) -> None:
    site.storage.failure = RuntimeError("secret")
    press(page, "Count the files of films")
    results(page).get_by_text("It failed: RuntimeError: the log of the server says more").wait_for()
