"""The API of the demo, on SQLite and the local disk and on PostgreSQL and S3."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from movies.models import Movie
from movies.seed import TRAILER
from PIL import Image
from sqlalchemy import event, func, select

from depot_lite.io.boto3 import S3Storage
from depot_lite.manager import DepotManager
from tests.examples.running import Demo
from tests.io.s3_server import Requests

PDF = b"%PDF-1.4\n% a script\n"
WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0\1\0\x08\0data\0\0\0\0"
Part = tuple[str, bytes, str]


def png(name: str = "a.png", colour: str = "red") -> Part:
    file = io.BytesIO()
    Image.new("RGB", (400, 300), colour).save(file, "PNG")
    return name, file.getvalue(), "image/png"


def webm(name: str = "trailer.webm") -> Part:
    return name, TRAILER.read_bytes(), "video/webm"


def urls(movie: dict[str, Any]) -> list[str]:
    """Return the URLs of all files of a movie."""
    images = [each for each in (movie["poster"], *movie["screenshots"]) if each]
    others = [each for each in (movie["trailer"], movie["soundtrack"], movie["script"]) if each]
    variants = [variant for image in images for variant in image["variants"].values()]
    return [each["url"] for each in (*images, *others, *variants)]


def test_a_movie_is_made_with_all_its_files(demo: Demo) -> None:
    answer = demo.ask(
        "POST",
        "/api/movies",
        data={"title": "Grüße", "year": "1999"},
        files=[
            ("poster", png("poster.png")),
            ("screenshots", png("1.png", "green")),
            ("screenshots", png("2.png", "blue")),
            ("trailer", webm()),
            ("soundtrack", ("theme.wav", WAV, "audio/wav")),
            ("script", ("script.pdf", PDF, "application/pdf")),
        ],
    )
    assert answer.status_code == 201
    movie = demo.ask("GET", f"/api/movies/{answer.json()['id']}").json()
    assert (movie["title"], movie["year"]) == ("Grüße", 1999)
    assert [each["filename"] for each in movie["screenshots"]] == ["1.png", "2.png"]
    kinds = {name: movie[name]["content_type"] for name in ("poster", "trailer", "soundtrack", "script")}
    assert kinds == {
        "poster": "image/png",
        "trailer": "video/webm",
        "soundtrack": "audio/wav",
        "script": "application/pdf",
    }
    thumb = movie["poster"]["variants"]["thumb"]
    assert (thumb["width"], thumb["height"], thumb["content_type"]) == (96, 72, "image/webp")
    assert demo.read(movie["poster"]["url"]) == png()[1]
    assert demo.read(movie["trailer"]["url"]) == TRAILER.read_bytes()
    assert demo.read(movie["script"]["url"]) == PDF
    assert Image.open(io.BytesIO(demo.read(thumb["url"]))).size == (96, 72)
    assert len(urls(movie)) == len(demo.stored())


def test_a_movie_needs_no_file(demo: Demo) -> None:
    """An upload field that was left empty, as browsers send it, is no file."""
    fields = [
        *(f'name="{name}"; filename=""' for name in ("poster", "screenshots", "script")),
        'name="title"',
        'name="year"',
    ]
    parts = [f"--x\r\nContent-Disposition: form-data; {each}\r\n\r\n" for each in fields]
    body = "\r\n".join([*parts[:3], f"{parts[3]}Test", f"{parts[4]}1999", "--x--\r\n"])
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = demo.ask("POST", "/api/movies", content=body.encode(), headers=headers)
    assert answer.status_code == 201, answer.text
    movie = answer.json()
    assert (movie["poster"], movie["screenshots"], movie["script"]) == (None, [], None)
    assert demo.stored() == set()


def test_files_are_read_by_signed_urls_only(demo: Demo) -> None:
    demo.create(poster=png())
    for path in demo.stored():
        assert demo.ask("GET", f"/depot/{path}").status_code == 403


def test_the_list_has_pages_and_asks_no_storage(demo: Demo) -> None:
    """As many queries for many movies as for one."""
    for _ in range(5):
        demo.create(poster=png(), screenshots=png())
    depot = DepotManager.get()
    requests = Requests(depot) if isinstance(depot, S3Storage) else None
    queries: list[str] = []
    event.listen(demo.database.engine, "before_cursor_execute", lambda *args: queries.append(args[2]))
    page = demo.ask("GET", "/api/movies?page=2&size=2").json()
    assert len([each for each in queries if each.startswith("SELECT")]) == 2
    assert (page["page"], page["pages"], page["total"]) == (2, 3, 5)
    assert [each["id"] for each in page["movies"]] == [each["id"] for each in demo.list()][2:4]
    assert not requests
    assert demo.ask("GET", "/api/movies?page=9").json()["movies"] == []
    assert demo.ask("GET", "/api/movies?size=101").status_code == 422


def test_a_poster_is_replaced_and_the_one_before_is_gone(demo: Demo) -> None:
    movie = demo.create(poster=png("old.png"), screenshots=png("kept.png"))
    before = demo.stored()
    answer = demo.ask("PUT", f"/api/movies/{movie['id']}/poster", files={"poster": png("new.png", "blue")})
    assert answer.status_code == 200
    assert answer.json()["poster"]["filename"] == "new.png"
    assert demo.read(answer.json()["poster"]["url"]) == png(colour="blue")[1]
    # Of the screenshot both files are there still; of the poster all three are new.
    assert len(before & demo.stored()) == 2
    assert len(demo.stored()) == 5


def test_screenshots_are_appended(demo: Demo) -> None:
    movie = demo.create(screenshots=png("1.png"))
    more = [("screenshots", png("2.png")), ("screenshots", png("3.png"))]
    shown = demo.ask("POST", f"/api/movies/{movie['id']}/screenshots", files=more).json()
    assert [each["filename"] for each in shown["screenshots"]] == ["1.png", "2.png", "3.png"]
    assert demo.list() == [shown]


def test_of_several_who_append_at_once_none_is_lost(demo: Demo) -> None:
    path = f"/api/movies/{demo.create()['id']}/screenshots"
    names = [f"{number}.png" for number in range(6)]
    answers = demo.ask_together([("POST", path, {"files": {"screenshots": png(name)}}) for name in names])
    assert {each.status_code for each in answers} == {200}
    (movie,) = demo.list()
    assert sorted(each["filename"] for each in movie["screenshots"]) == names
    assert len(demo.stored()) == 2 * len(names)


def test_a_movie_is_deleted_with_its_files(demo: Demo) -> None:
    kept = demo.create(poster=png("kept.png"))
    movie = demo.create(poster=png(), screenshots=png(), trailer=webm())
    assert len(demo.stored()) == 3 + 6
    assert demo.ask("DELETE", f"/api/movies/{movie['id']}").status_code == 204
    assert len(demo.stored()) == 3
    assert demo.list() == [kept]


def test_what_is_refused_is_told_by_field_and_nothing_is_stored(demo: Demo) -> None:
    answer = demo.ask(
        "POST",
        "/api/movies",
        data={"title": "Test", "year": "1999"},
        files=[
            ("poster", ("page.png", b"<html><script>alert(1)</script>", "image/png")),
            *[("screenshots", png(f"{number}.png")) for number in range(13)],
            ("trailer", webm()),
            ("script", png("script.pdf")),
        ],
    )
    assert answer.status_code == 422
    assert answer.json()["detail"].keys() == {"poster", "screenshots", "script"}
    assert answer.json()["detail"]["screenshots"] == ["13 files, at most 12 are allowed"]
    with demo.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Movie)) == 0
    assert demo.stored() == set()


def test_a_refused_poster_leaves_the_old_one(demo: Demo) -> None:
    movie = demo.create(poster=png())
    answer = demo.ask("PUT", f"/api/movies/{movie['id']}/poster", files={"poster": ("a.txt", b"text", "text/plain")})
    assert (answer.status_code, list(answer.json()["detail"])) == (422, ["poster"])
    assert demo.list() == [movie]
    assert demo.read(movie["poster"]["url"]) == png()[1]


def test_a_form_without_a_title_is_refused(demo: Demo) -> None:
    answer = demo.ask("POST", "/api/movies", data={"title": "", "year": "1"}, files={"poster": png()})
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", "title"], ["body", "year"]]
    assert demo.stored() == set()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", {}),
        ("DELETE", "", {}),
        ("PUT", "/poster", {"files": {"poster": png()}}),
        ("POST", "/screenshots", {"files": {"screenshots": png()}}),
        ("PUT", "/trailer", {"json": {"token": "none"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_not_there_is_not_found(demo: Demo, method: str, path: str, body: dict[str, Any]) -> None:
    assert demo.ask(method, f"/api/movies/17{path}", **body).status_code == 404
    assert demo.stored() == set()


def send(demo: Demo, ticket: dict[str, Any], data: bytes) -> int:
    """Send a file as the ticket says, and return the status."""
    if ticket["method"] == "PUT":
        return demo.ask("PUT", ticket["url"], content=data, headers=ticket["headers"]).status_code
    fields = {"Content-Type": "video/webm", **ticket["fields"]}
    return httpx.post(ticket["url"], data=fields, files={"file": data}).status_code


def test_a_trailer_is_sent_straight_to_the_storage(demo: Demo) -> None:
    movie = demo.create()
    ticket = demo.ask("POST", "/api/uploads", json={"filename": "big.webm"}).json()
    assert send(demo, ticket, TRAILER.read_bytes()) in {201, 204}
    path = f"/api/movies/{movie['id']}/trailer"
    adopted = demo.ask("PUT", path, json={"token": ticket["token"]})
    assert adopted.status_code == 200
    trailer = adopted.json()["trailer"]
    assert (trailer["filename"], trailer["content_type"]) == ("big.webm", "video/webm")
    assert demo.read(trailer["url"]) == TRAILER.read_bytes()
    assert len(demo.stored()) == 1
    assert demo.ask("PUT", path, json={"token": ticket["token"]}).status_code == 422
    assert demo.list()[0]["trailer"]["checksum"] == trailer["checksum"]


@pytest.mark.parametrize("token", ["depot-upload:forged", "/etc/passwd"])
def test_a_token_that_we_did_not_make_is_refused(demo: Demo, token: str) -> None:
    movie = demo.create()
    answer = demo.ask("PUT", f"/api/movies/{movie['id']}/trailer", json={"token": token})
    assert answer.status_code == 422
    assert demo.list()[0]["trailer"] is None


def test_a_page_of_another_site_changes_nothing(demo: Demo) -> None:
    """A form needs no script and no permission to send files here, so it has to be refused here."""
    movie = demo.create()
    for site in ("cross-site", "same-site"):
        headers = {"Sec-Fetch-Site": site}
        assert demo.ask("DELETE", f"/api/movies/{movie['id']}", headers=headers).status_code == 403
        assert demo.ask("POST", "/api/uploads", json={"filename": "a"}, headers=headers).status_code == 403
        assert demo.ask("GET", "/api/movies", headers=headers).status_code == 200
    assert demo.list() == [movie]


def test_the_first_page_leads_to_the_admin(demo: Demo) -> None:
    answer = demo.ask("GET", "/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/admin/")
    assert demo.ask("GET", "/admin/").status_code == 200
    # FastAPI's own would load its scripts from another host.
    assert demo.ask("GET", "/docs").status_code == 404


def test_files_go_to_the_place_that_the_environment_names(demo: Demo, environment: dict[str, str]) -> None:
    demo.create(trailer=webm())
    (path,) = demo.stored()
    media = Path(environment["MOVIES_HOME"], "media")
    if "MOVIES_S3_BUCKET" in environment:
        assert path.startswith("s3/")
        assert demo.database.engine.dialect.name == "postgresql"
        assert not media.exists()
    else:
        assert path.startswith("local/")
        assert demo.database.engine.dialect.name == "sqlite"
        assert media.is_dir()
