"""What Chromium makes of the pages of SQLAdmin with files in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from depot_lite.io.content import FileIntent
from depot_lite.manager import DepotManager
from tests.browsing import asked_elsewhere, chromium, in_thread, painted
from tests.contrib.checks import KEY
from tests.contrib.damage import DAMAGE, damage
from tests.contrib.forms import NASTY
from tests.contrib.models import SVG
from tests.contrib.sqladmin_site import SQLAdminSite, world
from tests.support.files import VIDEO, pdf, png

BLUE = (0, 0, 255)
#: Where an image in a page has been drawn.
DRAWN = "each => each.complete && each.naturalWidth > 0"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SQLAdminSite]:
    with world(tmp_path) as engine:
        yield SQLAdminSite(engine, engine)


@pytest.fixture
def page(browser: Any, site: SQLAdminSite) -> Iterator[Any]:
    """A page that asks no other machine for anything, and in which nothing goes wrong or pops up."""
    with in_thread(site.app) as url:
        context = browser.new_context(base_url=url)
        page = context.new_page()
        wrong: list[str] = []
        elsewhere = asked_elsewhere(page)

        def dismiss(dialog: Any) -> None:
            wrong.append(dialog.message)
            dialog.dismiss()

        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", dismiss)
        yield page
        context.close()
    assert (elsewhere, wrong) == ([], [])


def a_file(name: str, data: bytes, content_type: str = "image/png") -> dict[str, Any]:
    return {"name": name, "mimeType": content_type, "buffer": data}


def items(page: Any, field: str) -> list[str]:
    """Return the names of the files that a field shows, in their order; those that will go in brackets."""
    found = page.locator(f".depot-edit:has(#{field}) [data-depot-item]").all()
    gone = ["depot-removed" in each.get_attribute("class") for each in found]
    named = [each.get_attribute("data-depot-name") for each in found]
    return [f"[{name}]" if away else name for name, away in zip(named, gone, strict=True)]


def save(page: Any) -> None:
    page.click("input[name=save][value=Save]")
    page.wait_for_url("**/list")


@pytest.mark.parametrize("keys", [False, True], ids=["with the form", "before the form"])
def test_files_are_chosen_looked_at_and_saved(page: Any, site: SQLAdminSite, keys: bool) -> None:
    if keys:
        DepotManager.configure_signing(KEY)
    page.goto("/admin/movie/create")
    page.fill("#title", "Metropolis")
    page.set_input_files("#poster", a_file("a.png", png(90, 60)))
    page.set_input_files("#screenshots", [a_file("1.png", png()), a_file("2.png", png())])
    page.set_input_files("#screenshots", a_file("3.png", png()))
    assert (items(page, "poster"), items(page, "screenshots")) == (["a.png"], ["1.png", "2.png", "3.png"])
    page.click("[aria-label='Move 3.png up']")
    page.click("[aria-label='Remove 1.png']")
    page.click("[aria-label='Look at a.png']")
    page.wait_for_function(f"[...document.querySelectorAll('dialog img')].some({DRAWN})")
    page.keyboard.press("Escape")
    save(page)
    movie = site.movie()
    assert movie.poster is not None
    assert movie.poster.filename == "a.png"
    assert [each.filename for each in movie.screenshots] == ["3.png", "2.png"]
    page.wait_for_function(f"[...document.querySelectorAll('.depot-thumb img')].every({DRAWN})")


def test_stored_files_are_replaced_removed_and_put_in_another_order(page: Any, site: SQLAdminSite) -> None:
    shots = [FileIntent(png(), f"{each}.png") for each in "123"]
    site.add(poster=FileIntent(png(), "a.png"), screenshots=shots, script=b"FADE IN")
    page.goto("/admin/movie/edit/1")
    page.set_input_files("#poster", a_file("new.png", png()))
    page.click("[aria-label='Move 1.png down']")
    page.click("[aria-label='Remove 3.png']")
    page.click("[aria-label='Remove unnamed']")
    assert (items(page, "poster"), items(page, "script")) == (["[a.png]", "new.png"], ["[unnamed]"])
    assert items(page, "screenshots") == ["2.png", "1.png", "[3.png]"]
    save(page)
    movie = site.movie()
    assert movie.poster is not None
    assert (movie.poster.filename, movie.script) == ("new.png", None)
    assert [each.filename for each in movie.screenshots] == ["2.png", "1.png"]


def test_an_error_is_seen_beside_its_field_and_other_inputs_survive(page: Any, site: SQLAdminSite) -> None:
    site.add(poster=FileIntent(png(), "a.png"), screenshots=[FileIntent(png(), f"{each}.png") for each in "12"])
    page.goto("/admin/movie/edit/1")
    page.fill("#title", "M")
    page.click("[aria-label='Move 1.png down']")
    page.set_input_files("#poster", a_file("a.txt", b"no image", "text/plain"))
    page.click("input[name=save][value=Save]")
    message = page.locator(".form-group:has(#poster) .invalid-feedback")
    message.wait_for(state="visible")
    assert message.inner_text() == "is text/plain, allowed: image/*"
    assert page.locator(".invalid-feedback:visible").count() == 1
    assert (page.input_value("#title"), items(page, "screenshots")) == ("M", ["2.png", "1.png"])
    save(page)
    movie = site.movie()
    assert movie.poster is not None
    assert (movie.title, movie.poster.filename) == ("M", "a.png")
    assert [each.filename for each in movie.screenshots] == ["2.png", "1.png"]


def test_a_file_that_is_refused_is_so_before_the_form_is_sent(page: Any, site: SQLAdminSite) -> None:
    DepotManager.configure_signing(KEY)
    page.goto("/admin/movie/create")
    page.set_input_files("#poster", a_file("a.txt", b"no image", "text/plain"))
    page.get_by_text("a.txt is text/plain, allowed: image/*").wait_for(state="visible")
    page.fill("#title", "M")
    page.set_input_files("#poster", a_file("a.png", png()))
    save(page)
    assert site.movie().poster is not None


def test_a_detail_page_plays_and_draws(page: Any, site: SQLAdminSite) -> None:
    site.add(
        poster=FileIntent(png(90, 60, BLUE), "a.png"),
        screenshots=[FileIntent(png(), "1.png")],
        script=FileIntent(VIDEO.read_bytes(), "film.mp4"),
    )
    page.goto("/admin/movie/details/1")
    page.wait_for_function(f"[...document.querySelectorAll('.depot-media img')].every({DRAWN})")
    assert page.evaluate("document.querySelector('.depot-media video').play().then(() => 'it plays')") == "it plays"
    page.click(".depot-open")
    page.locator("dialog img").wait_for(state="visible")
    assert painted(page, BLUE)


def test_a_detail_page_shows_a_pdf(page: Any, site: SQLAdminSite) -> None:
    site.add(script=FileIntent(pdf(), "a.pdf"))
    page.goto("/admin/movie/details/1")
    page.locator(".depot-document").scroll_into_view_if_needed()
    assert painted(page, (255, 0, 0))


def test_names_and_drawings_run_nothing(page: Any, site: SQLAdminSite) -> None:
    """The fixture fails for what pops up; an image of the name's would be asked for at ``x``."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    site.add(poster=FileIntent(png(), NASTY), script=FileIntent(SVG, NASTY.replace("png", "svg")))
    for url in ("list", "details/1", "edit/1"):
        page.goto(f"/admin/movie/{url}")
        assert page.title() == "Admin"
    page.set_input_files("#script", a_file(NASTY, SVG, "image/svg+xml"))
    assert items(page, "script") == [f"[{NASTY.replace('png', 'svg')}]", NASTY]
    save(page)
    assert not [each for each in asked if each.endswith("/x")]


def test_a_damaged_reference_is_a_card_that_can_be_removed(page: Any, site: SQLAdminSite, tmp_path: Path) -> None:
    before = site.add(screenshots=[FileIntent(png(), "kept.png")]).screenshots
    damage(site.engine, poster=DAMAGE["markup"], screenshots=json.dumps(["lost.png", dict(before[0])]))
    for url in ("list", "details/1", "edit/1"):
        page.goto(f"/admin/movie/{url}")
        assert page.get_by_text("damaged reference").first.is_visible()
        assert page.title() == "Admin"
        page.screenshot(path=tmp_path / f"{url.partition('/')[0]}.png", full_page=True)
    assert (items(page, "poster"), items(page, "screenshots")) == (
        ["damaged reference"],
        ["damaged reference", "kept.png"],
    )
    for _ in range(2):
        page.get_by_role("button", name="Remove damaged reference").first.click()
    save(page)
    assert (site.movie(1).poster, site.movie(1).screenshots) == (None, before)
