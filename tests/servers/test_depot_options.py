"""Options of depots as Chromium sees them: what pages of other sites can do with files, and SVG that is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from PIL import ImageFont
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.browsing import chromium, in_thread
from tests.support.files import png

#: A font that Pillow contains.
FONT: Final = ImageFont.load_default(10).font_bytes  # type: ignore[union-attr]

#: Returns what a page can do: show an image, read it on a canvas, load a font, and fetch a file, a part of it, its
#: present version and an error.
USES: Final = """async ({image, font, text, missing}) => {
    const shown = async crossorigin => {
        const element = new Image()
        if (crossorigin) element.crossOrigin = 'anonymous'
        element.src = image + (crossorigin ? '?read' : '')
        await element.decode()
        return element
    }
    const read = async element => {
        const canvas = document.createElement('canvas')
        canvas.getContext('2d').drawImage(element, 0, 0)
        return canvas.getContext('2d').getImageData(0, 0, 1, 1).data.length === 4
    }
    const fetched = async (url, options) => {
        const response = await fetch(url, options)
        return [response.status, response.headers.get('content-range'), await response.text()]
    }
    const attempt = async use => { try { return await use() } catch { return 'blocked' } }
    return {
        shown: await attempt(async () => (await shown(false)).naturalWidth),
        read: await attempt(async () => await read(await shown(true))),
        read_without_cors: await attempt(async () => await read(await shown(false))),
        font: await attempt(async () => (await new FontFace('ours', `url(${font})`).load()).status),
        whole: await attempt(() => fetched(text)),
        part: await attempt(() => fetched(text, {headers: {Range: 'bytes=-3'}})),
        again: await attempt(() => fetched(text, {cache: 'no-cache'})),
        missing: await attempt(() => fetched(missing)),
    }
}"""

ALL: Final = {
    "shown": 3,
    "read": True,
    "read_without_cors": "blocked",
    "font": "loaded",
    "whole": [200, None, "0123456789"],
    "part": [206, "bytes 7-9/10", "789"],
    "again": [200, None, "0123456789"],
    "missing": [404, None, ""],
}
NOTHING: Final = dict.fromkeys(ALL, "blocked")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


async def _page(request: Request) -> HTMLResponse:
    return HTMLResponse("<!DOCTYPE html><title>page</title>")


@pytest.fixture
def server() -> Iterator[str]:
    with (
        temporary_depots(),
        in_thread(DepotManager.make_asgi_middleware(Starlette(routes=[Route("/page", _page)]))) as url,
    ):
        yield url


def used(browser: Any, server: str, cross_origin: Any, *, page_of: str) -> dict[str, Any]:
    """Return what a page of this origin can do with the files of a new depot."""
    depot = DepotManager.configure("default", MemoryFileStorage(), cross_origin=cross_origin)
    files = {"image": (png(), "a.png"), "font": (FONT, "a.ttf"), "text": (b"0123456789", "a.txt")}
    urls = {name: f"{server}{DepotManager.url_for(f'default/{depot.create(*file)}')}" for name, file in files.items()}
    gone = depot.create(b"gone")
    depot.delete(gone)
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(f"{page_of}/page")
        found: dict[str, Any] = page.evaluate(
            USES, {**urls, "missing": f"{server}{DepotManager.url_for(f'default/{gone}')}"}
        )
        return found
    finally:
        context.close()


@pytest.mark.parametrize("allowed", ["same-site", "any", "listed", "not listed"])
def test_a_page_of_another_site_does_what_the_depot_allows(browser: Any, server: str, allowed: str) -> None:
    elsewhere = server.replace("127.0.0.1", "localhost")
    cross_origin = {"listed": [elsewhere], "not listed": ["http://localhost:1"]}.get(allowed, allowed)
    found = used(browser, server, cross_origin, page_of=elsewhere)
    if allowed == "any":
        assert found == ALL
    elif allowed == "listed":
        # An element without `crossorigin` names no origin, so that it gets nothing.
        assert found == ALL | {"shown": "blocked"}
    else:
        assert found == NOTHING


def test_a_page_of_the_same_origin_needs_nothing(browser: Any, server: str) -> None:
    assert used(browser, server, None, page_of=server) == ALL | {"read_without_cors": True}


SVG: Final = b"""<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" onload="document.title = 'it ran'">
<title>harmless</title><rect width="40" height="40" fill="#f00"/>
<script>document.title = 'it ran'; fetch('/it-ran')</script>
<foreignObject width="9" height="9"><body xmlns="http://www.w3.org/1999/xhtml">
<img src="data:," onerror="fetch('/it-ran')"/><script>fetch('/it-ran')</script></body></foreignObject></svg>"""


@pytest.mark.parametrize("how", ["opened", "image", "frame", "object"])
def test_svg_on_request_is_shown_and_does_not_run(browser: Any, server: str, how: str) -> None:
    """On its own and inside of pages: no script, and no request."""
    depot = DepotManager.configure("default", MemoryFileStorage(), inline_types=["default", "image/svg+xml"])
    url = DepotManager.url_for(f"default/{depot.create(SVG, 'a.svg')}")
    context = browser.new_context(base_url=server, accept_downloads=True)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url.removeprefix(server)))
    try:
        page = context.new_page()
        if how == "opened":
            page.goto(url)
            assert page.evaluate("[document.contentType, document.querySelector('title').textContent]") == [
                "image/svg+xml",
                "harmless",
            ]
        else:
            page.goto("/page")
            page.evaluate(
                """async ([how, url]) => {
                    const element = document.createElement({image: 'img', frame: 'iframe', object: 'object'}[how])
                    const loaded = new Promise(done => { element.onload = element.onerror = done })
                    element[how === 'object' ? 'data' : 'src'] = url
                    document.body.append(element)
                    await loaded
                }""",
                [how, url],
            )
            if how == "image":
                assert page.evaluate("document.images[0].naturalWidth") == 40
            assert page.title() == "page"
        assert "/it-ran" not in asked
        assert page.title() != "it ran"
    finally:
        context.close()
