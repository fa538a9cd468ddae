"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import uvicorn
from PIL import Image

from tests.servers.running import DEADLINE, eventually, unavailable

CHROMIUM: Final = Path("/usr/bin/chromium")

#: No name of another machine is known to the browser. ``localhost`` is another site than ``127.0.0.1``.
_NOWHERE: Final = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
#: Requests to this machine, or to the browser itself.
_HERE: Final = ("http://127.0.0.1:", "blob:", "data:", "chrome:", "chrome-extension:")


@contextmanager
def chromium() -> Iterator[Any]:
    """Give a browser; skip if there is none, or fail in CI."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        unavailable(f"no playwright (pip install playwright): {error}")
    if not CHROMIUM.exists():
        unavailable(f"no {CHROMIUM} (apt-get install chromium)")
    with sync_playwright() as playwright:
        # As root it has no sandbox of its own. headless: said here, since what Playwright says is another mode, which
        # has no viewer for PDF.
        arguments = ["--no-sandbox", "--headless=new", "--autoplay-policy=no-user-gesture-required", _NOWHERE]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), headless=False, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def in_thread(app: Any) -> Iterator[str]:
    """Serve an ASGI application in a thread of this process, and give its URL."""
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert eventually(lambda: server.started or not thread.is_alive())
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE)


def asked_elsewhere(page: Any) -> list[str]:
    """Return the list into which the URLs of all requests to other machines go. None of them gets there."""
    asked: list[str] = []

    def note(request: Any) -> None:
        if not request.url.startswith(_HERE):
            asked.append(request.url)

    page.on("request", note)
    return asked


def painted(page: Any, colour: tuple[int, int, int]) -> bool:
    """Return whether a page comes to show more than a thousand points of a colour."""

    def look() -> bool:
        with Image.open(io.BytesIO(page.screenshot())) as seen:
            colours = seen.convert("RGB").getcolors(seen.width * seen.height)
        return any(found == colour and count > 1000 for count, found in colours or ())

    return eventually(look)
