"""The pictures of the documentation, taken of the demo in Chromium.

PYTHONPATH=examples python -m tests.examples.screenshots docs/_static/admin
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from movies.films import FILMS
from movies.pictures import poster, screenshot
from movies.settings import Settings
from PIL import Image

from tests.browsing import chromium, in_thread
from tests.examples.running import started

#: The part of a page that is seen without scrolling, in pixels.
VIEW: Final = {"width": 1440, "height": 860}


def picture(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def listed(page: Any) -> None:
    page.goto("/admin/movie/list")


def looked_at(page: Any) -> None:
    number = next(number for number, film in enumerate(FILMS, 1) if film.trailer)
    page.goto(f"/admin/movie/detail?pk={number}")
    page.eval_on_selector("video", "video => { video.muted = true; video.currentTime = 2 }")
    page.eval_on_selector_all("td img", "images => Promise.all(images.map(image => image.decode()))")
    page.eval_on_selector_all("iframe", "frames => frames.forEach(frame => { frame.loading = 'eager' })")
    page.wait_for_load_state("networkidle")


def looked_at_closely(page: Any) -> None:
    looked_at(page)
    page.locator("[data-depot-open]").nth(1).click()


def edited(page: Any) -> None:
    """One file is being sent, one was refused, one will be removed, one will be replaced."""
    page.route(
        "**/upload/**", lambda route: None if "slow" in route.request.headers["x-filename"] else route.continue_()
    )
    page.goto("/admin/movie/edit?pk=1")
    page.set_input_files("#poster", picture("new-poster.jpg", poster(FILMS[1])))
    page.set_input_files(
        "#screenshots",
        [picture("night.jpg", screenshot(FILMS[1], 0.7)), picture("slow.jpg", screenshot(FILMS[4], 0.3))],
    )
    page.locator(".depot-item", has_text="night.jpg").locator("input[type=hidden]").wait_for(state="attached")
    page.set_input_files("#script", {"name": "script.exe", "mimeType": "application/pdf", "buffer": b"MZ" + bytes(99)})
    page.get_by_role("alert").wait_for()
    page.get_by_role("group", name="Screenshots").get_by_role("button", name="Remove").first.click()


def swept(page: Any) -> None:
    page.goto("/admin/depots")
    for name in ("Count", "Find unused", "Find missing"):
        page.get_by_role("button", name=name).first.click()
        page.wait_for_load_state("networkidle")


PAGES: Final[dict[str, tuple[Callable[[Any], None], bool, str]]] = {
    "list": (listed, False, "light"),
    "detail": (looked_at, True, "light"),
    "look": (looked_at_closely, False, "dark"),
    "edit": (edited, True, "light"),
    "depots": (swept, True, "light"),
}


def taken(page: Any, name: str) -> bytes:
    """Return the picture of a page, in so few colours that it is small."""
    show, full, scheme = PAGES[name]
    show(page)
    page.evaluate("scheme => { document.documentElement.dataset.bsTheme = scheme }", scheme)
    with Image.open(io.BytesIO(page.screenshot(full_page=full, animations="disabled"))) as seen:
        made = io.BytesIO()
        seen.convert("RGB").quantize(192, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
    return made.getvalue()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        started(Settings(Path(home))) as demo,
        in_thread(demo.app) as url,
        chromium() as browser,
    ):
        for name in PAGES:
            page = browser.new_page(base_url=url, viewport=VIEW)
            (folder / f"{name}.png").write_bytes(taken(page, name))
            page.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
