"""The demo's admin in a browser: what its films look like, and that nothing is fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from movies.films import FILMS
from movies.settings import Settings

from tests.browsing import asked_elsewhere, chromium, in_thread
from tests.examples.running import started


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, settings: Settings) -> Iterator[Any]:
    """A page of the admin with all films, on each of the two places."""
    with started(settings) as demo, in_thread(demo.app) as url:
        context = browser.new_context(base_url=url)
        yield context.new_page()
        context.close()


def pictures(page: Any, selector: str) -> list[int]:
    """Return the widths of pictures as they were sent, 0 for one that was not, once all have been tried."""
    widths: list[int] = page.eval_on_selector_all(
        selector,
        """images => Promise.all(images.map(async image => {
            image.loading = 'eager'
            await image.decode().catch(() => undefined)
            return image.naturalWidth
        }))""",
    )
    return widths


def test_films_are_looked_at_and_no_request_leaves_the_machine(page: Any) -> None:
    """The list has small variants, the page of a film plays its trailer and its soundtrack."""
    elsewhere = asked_elsewhere(page)
    page.goto("/")
    page.locator("a[href$='/movie/list']").first.click()
    page.get_by_text(FILMS[-1].title).wait_for()
    thumbs = pictures(page, "td img")
    assert len(thumbs) >= 4 * len(FILMS)
    assert set(thumbs) <= {64, 160}
    number = next(number for number, film in enumerate(FILMS, 1) if film.trailer)
    page.goto(f"/admin/movie/detail?pk={number}")
    shown = pictures(page, "td img")
    assert len(shown) == 4
    assert 0 not in shown
    for kind, seconds in (("video", 5), ("audio", 3)):
        played = page.eval_on_selector(
            kind,
            """async player => {
                player.muted = true
                const moved = new Promise(done => player.addEventListener('timeupdate', done, {once: true}))
                await player.play()
                await moved
                return [player.duration, player.error]
            }""",
        )
        assert played == [pytest.approx(seconds, abs=0.1), None]
    for path in ("/admin/movie/create", f"/admin/movie/edit?pk={number}"):
        page.goto(path)
        page.locator("input[name=title]").wait_for()
    assert elsewhere == []


def test_the_depots_are_counted(page: Any) -> None:
    """All files are named by rows: posters with two variants, screenshots with one, and the others."""
    page.goto("/admin/")
    page.get_by_role("link", name="Depots").first.click()
    row = page.locator("tr[data-depot-name]", has_text="default")
    row.get_by_role("button", name="Count").click()
    files = (3 + 3 * 2 + 2) * len(FILMS) + sum(film.trailer for film in FILMS)
    for kind in ("files", "named"):
        row.locator(f"[data-depot-number={kind}]", has_text=str(files)).wait_for()
