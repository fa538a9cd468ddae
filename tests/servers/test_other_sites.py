"""A browser with pages of another site: what Chromium lets them do with our files."""

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
