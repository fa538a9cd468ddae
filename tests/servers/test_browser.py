"""A browser and our answers: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.uploads import adoptable, upload_ticket
from tests.browsing import chromium, painted
from tests.servers.checks import serving
from tests.servers.running import Running
from tests.servers.site import PAGES
from tests.support.files import VIDEO, pdf, png

#: A page that says so when it runs: by its title, and by a request.
SCRIPT: Final = "document.title = 'it ran'; fetch('/it-ran')"
HTML: Final = f"<!DOCTYPE html><title>harmless</title><script>{SCRIPT}</script>".encode()
SVG: Final = f'<svg xmlns="http://www.w3.org/2000/svg"><title>harmless</title><script>{SCRIPT}</script></svg>'.encode()


def video() -> bytes:
    """Return 20 seconds that a player cannot begin before it has read the end.

    The index of ``tiny.mp4`` (ffmpeg's testsrc in VP9) is its last box; 16 MB of nothing are put before that.
    """
    data = VIDEO.read_bytes()
    index = data.index(b"moov") - 4
    nothing = 16 * 1024 * 1024
    return data[:index] + struct.pack(">I", nothing) + b"free" + bytes(nothing - 8) + data[index:]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving("uvicorn", tmp_path_factory.mktemp("browser")) as server:
        (server.folder / PAGES).mkdir()
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, server: Running) -> Iterator[Any]:
    context = browser.new_context(base_url=server.url, accept_downloads=True)
    yield context.new_page()
    context.close()


@pytest.fixture
def depot() -> FileStorage:
    return DepotManager.get("default")


def url_of(depot: FileStorage, data: bytes, name: str, content_type: str | None = None) -> str:
    return DepotManager.url_for(f"default/{depot.create(data, name, content_type)}")


def add_page(server: Running, html: str) -> None:
    (server.folder / PAGES / "page").write_text(f"<!DOCTYPE html>{html}")


def asked_of(page: Any) -> list[str]:
    """Return the list into which the paths of all requests go."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(re.sub("https?://[^/]*", "", request.url)))
    return asked


def test_a_video_is_played_and_seeking_in_it_works(page: Any, server: Running, depot: FileStorage) -> None:
    """By ranges: the end first, where the index is, and not the nothing before it."""
    ranges: list[str] = []
    page.on("response", lambda answer: ranges.append(answer.headers.get("content-range", "")))
    data = video()
    add_page(server, f'<video muted src="{url_of(depot, data, "film.mp4", "video/mp4")}"></video>')
    page.goto("/page")
    played = page.evaluate("""async () => {
        const video = document.querySelector('video')
        const event = name => new Promise(done => video.addEventListener(name, done, {once: true}))
        if (video.readyState < 2) await event('loadeddata')
        const seeked = event('seeked')
        video.currentTime = 15
        await seeked
        const moved = event('timeupdate')
        await video.play()
        await moved
        return [video.duration, video.videoWidth, video.currentTime >= 15, video.error]
    }""")
    assert played == [20, 64, True, None]
    starts = [int(found[1]) for told in ranges if (found := re.match(r"bytes (\d+)-\d+/", told))]
    assert 0 in starts
    # Chromium begins a little before the position that it needs.
    assert max(starts) > data.index(b"moov") - 100_000


def test_a_picture_is_shown(page: Any, server: Running, depot: FileStorage) -> None:
    """In a page, and opened by itself."""
    url = url_of(depot, png(), "a.png")
    width = "document.images[0].naturalWidth"
    add_page(server, f'<img src="{url}">')
    page.goto("/page")
    assert page.evaluate(width) == 3
    page.goto(url)
    assert (page.evaluate(width), page.evaluate("document.contentType")) == (3, "image/png")


def test_a_pdf_is_shown(page: Any, depot: FileStorage) -> None:
    """By the viewer, which our policy lets work: the page of the document is painted."""
    page.goto(url_of(depot, pdf(), "a.pdf"))
    assert painted(page, (255, 0, 0))


@pytest.mark.parametrize(
    ("data", "name", "content_type"),
    [
        (HTML, "a.html", "text/html"),
        (SVG, "a.svg", "image/svg+xml"),
        (HTML, "photo.png", "image/png"),
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><body/></html>", "a.xml", "text/xml"),
    ],
    ids=["HTML", "SVG", "HTML called PNG", "XML"],
)
def test_what_would_run_is_saved(page: Any, depot: FileStorage, data: bytes, name: str, content_type: str) -> None:
    asked = asked_of(page)
    url = url_of(depot, data, name, content_type)
    with page.expect_download() as download, pytest.raises(Exception, match=r"Download is starting|ERR_ABORTED"):
        page.goto(url)
    assert download.value.suggested_filename == name
    assert Path(download.value.path()).read_bytes() == data
    assert asked == [url]


@pytest.mark.parametrize("content", [HTML, SVG], ids=["HTML", "SVG"])
def test_it_does_not_run_inside_a_page_either(page: Any, server: Running, depot: FileStorage, content: bytes) -> None:
    """A frame saves it; for a picture, a script and a style it is nothing."""
    url = url_of(depot, content, "a.html" if content is HTML else "a.svg")
    asked = asked_of(page)
    add_page(
        server, f'<title>page</title><img src="{url}"><script src="{url}"></script><link rel=stylesheet href="{url}">'
    )
    page.goto("/page")
    assert page.evaluate("[document.images[0].naturalWidth, document.title]") == [0, "page"]
    assert sorted(set(asked)) == sorted({"/page", url})


@pytest.mark.parametrize("policy", [True, False], ids=["with our policy", "without it"])
@pytest.mark.parametrize(("data", "shown_as"), [(HTML, "text/html"), (SVG, "image/svg+xml")], ids=["HTML", "SVG"])
def test_the_sandbox_holds_if_a_browser_shows_it_all_the_same(
    page: Any, depot: FileStorage, data: bytes, shown_as: str, policy: bool
) -> None:
    """Our answer with another type, as a browser sees it that does not believe us; without the policy it runs."""
    asked = asked_of(page)

    def change(route: Any) -> None:
        answer = route.fetch()
        headers = {**answer.headers, "content-type": shown_as, "content-disposition": "inline"}
        if not policy:
            del headers["content-security-policy"]
        route.fulfill(response=answer, headers=headers)

    page.route("**/depot/**", change)
    url = url_of(depot, data, "a.html")
    if policy:
        page.goto(url)
        assert page.title() == "harmless"
        assert asked == [url]
    else:
        with page.expect_request("**/it-ran"):  # which the page may send after it is loaded
            page.goto(url)
        assert page.title() == "it ran"


def test_a_text_is_shown_as_text(page: Any, depot: FileStorage) -> None:
    """Whatever is written in it, and in UTF-8."""
    page.goto(url_of(depot, "Grüße 😀".encode(), "a.txt"))
    assert page.evaluate("[document.contentType, document.body.innerText]") == ["text/plain", "Grüße 😀"]


def test_a_download_has_the_name_that_was_signed(page: Any, depot: FileStorage) -> None:
    path = f"default/{depot.create(png(), 'a.png')}"
    url = DepotManager.url_for(path, download=True, filename='Grüße "7%".png')
    with page.expect_download() as download, pytest.raises(Exception, match=r"Download is starting|ERR_ABORTED"):
        page.goto(url)
    # Chromium itself leaves no quote in a name.
    assert download.value.suggested_filename == "Grüße _7%_.png"


def test_a_browser_asks_no_second_time_for_what_it_keeps(page: Any, server: Running, depot: FileStorage) -> None:
    """It shows a file that the server no longer has."""
    file_id = depot.create(png(), "a.png")
    add_page(server, f'<img src="{DepotManager.url_for(f"default/{file_id}")}">')
    for _ in range(2):
        page.goto("/page")
        assert page.evaluate("document.images[0].naturalWidth") == 3
        depot.delete(file_id)


def test_a_browser_sends_a_file_by_itself_with_the_script_of_the_docs(
    page: Any, server: Running, depot: FileStorage
) -> None:
    """The ticket is the application's, the bytes go to the server, and the form holds the token."""
    docs = Path(__file__).parents[2] / "docs" / "uploads.md"
    script = docs.read_text().partition("```javascript\n")[2].partition("```")[0]
    asked: list[dict[str, Any]] = []

    def give_ticket(route: Any) -> None:
        asked.append(route.request.post_data_json)
        route.fulfill(json=upload_ticket(filename=asked[0]["filename"], content_type="image/*").as_dict())

    page.route("**/uploads", give_ticket)
    add_page(
        server, f"<input type=file id=trailer><input type=hidden name=trailer><script type=module>{script}</script>"
    )
    page.goto("/page")
    page.set_input_files("#trailer", {"name": "a.png", "mimeType": "image/png", "buffer": png()})
    page.wait_for_function("document.querySelector('input[name=trailer]').value")
    found = adoptable(page.input_value("input[name=trailer]"))
    assert found is not None
    with depot.get(found.file_id) as stored:
        assert (stored.read(), stored.filename, stored.content_type) == (png(), "a.png", "image/png")
    assert asked == [{"filename": "a.png", "type": "image/png", "size": len(png())}]
