"""People upload and look at files: the pages of starlette-admin in Chromium."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.fileid import is_upload_id
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.browsing import asked_elsewhere, chromium, in_thread, painted
from tests.conftest import sqlite_engine
from tests.contrib.admin_site import Base, Movie, configure, site
from tests.contrib.damage import damage
from tests.support.files import VIDEO, pdf, png, wav

RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)
HOSTILE: Final = '"><script>document.title="it ran"<img src=x onerror=document.title="it-ran">.png'
SVG: Final = b'<svg xmlns="http://www.w3.org/2000/svg"><script>document.title = "it ran"</script></svg>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = sqlite_engine(tmp_path / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def url(engine: Engine, tmp_path: Path) -> Iterator[str]:
    with temporary_depots():
        configure(tmp_path / "media")
        with in_thread(site(engine)[0]) as url:
            yield url


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """A tab; nothing that it asks may leave the machine, and no script of ours may fail."""
    context = browser.new_context(base_url=url, permissions=["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.set_default_timeout(15_000)
    failed: list[Any] = []
    tab.on("pageerror", lambda error: failed.append(error))
    elsewhere = asked_elsewhere(tab)
    yield tab
    context.close()
    assert (elsewhere, failed) == ([], [])


def file(name: str, data: bytes, content_type: str) -> dict[str, Any]:
    return {"name": name, "mimeType": content_type, "buffer": data}


def picture(name: str, colour: tuple[int, int, int] = RED) -> dict[str, Any]:
    return file(name, png(60, 90, colour), "image/png")


def sent(page: Any, field: str, count: int = 1) -> None:
    """Wait until so many files of a field were sent."""
    page.locator(f"input[type=hidden][name={field}][value^='depot-upload:']").nth(count - 1).wait_for(state="attached")


def save(page: Any) -> None:
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_role("alert").filter(has_text="successfully").wait_for()


def editor(page: Any, label: str) -> Any:
    return page.get_by_role("group", name=label, exact=True)


def names(page: Any, label: str) -> list[str]:
    found: list[str] = editor(page, label).locator(".depot-item .depot-name").all_inner_texts()
    return found


def add(engine: Engine, **values: Any) -> None:
    with Session(engine) as session:
        session.add(Movie(title="Alien", **values))
        session.commit()


def movie(engine: Engine) -> Movie:
    with Session(engine, expire_on_commit=False) as session:
        return session.query(Movie).one()


def poster(engine: Engine) -> UploadedImage:
    found = movie(engine).poster
    assert found is not None
    return found


def stored() -> int:
    return len([each for each in DepotManager.get("default").list() if not is_upload_id(each)])


def test_files_of_each_kind_are_uploaded_and_looked_at(page: Any, engine: Engine) -> None:
    """The picture is drawn, the video and the sound play, the pages of the PDF are painted, the text can be read."""
    page.goto("/admin/movie/create")
    page.get_by_label("Title").fill("Alien")
    page.set_input_files("#poster", picture("poster.png"))
    kinds = [
        file("sound.wav", wav(), "audio/wav"),
        file("script.pdf", pdf(), "application/pdf"),
        file("notes.txt", "Grüße 😀".encode(), "text/plain"),
        file("data.zip", b"PK\x05\x06" + bytes(18), "application/zip"),
    ]
    page.set_input_files("#shots", kinds)
    page.set_input_files("#media", file("trailer.mp4", VIDEO.read_bytes(), "video/mp4"))
    sent(page, "shots", 4)
    sent(page, "media")
    save(page)
    page.goto("/admin/movie/detail?pk=1")
    assert (
        page.get_by_role("img", name="poster.png").evaluate("image => image.decode().then(() => image.naturalWidth)")
        == 60
    )
    for kind, name in (("video", "trailer.mp4"), ("audio", "sound.wav")):
        played = page.locator(f"{kind}[aria-label='{name}']").evaluate(
            """async media => {
                media.muted = true
                const moved = new Promise(
                    done => media.addEventListener('timeupdate', () => media.currentTime > 0 && done()))
                await media.play()
                await moved
                return [media.error, media.videoWidth || 0, media.duration > 1]
            }"""
        )
        assert played == [None, 64 if kind == "video" else 0, True]
    page.locator("iframe[title='script.pdf']").scroll_into_view_if_needed()
    assert painted(page, RED)
    text = page.locator("iframe[title='notes.txt']")
    text.scroll_into_view_if_needed()
    assert text.content_frame.locator("body").inner_text() == "Grüße 😀"
    assert page.get_by_text("no preview of application/zip").is_visible()
    facts = page.locator("figure", has_text="poster.png").inner_text()
    assert re.search(r"image/png · 60 × 90 · \d+ bytes", facts)  # noqa: RUF001  # the sign of multiplication
    with page.expect_download() as download:
        page.get_by_role("link", name="Download data.zip").click()
    assert download.value.suggested_filename == "data.zip"
    page.get_by_role("button", name="Copy the link to poster.png").click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert page.request.get(copied).body() == png(60, 90, RED)
    page.goto("/admin/movie/list")
    thumbnail = page.get_by_role("img", name="poster.png")
    assert thumbnail.evaluate("image => image.decode().then(() => image.naturalHeight)") == 90
    assert "signature=" in thumbnail.get_attribute("src")
    assert poster(engine).variants["thumb"].file_id in thumbnail.get_attribute("src")


def test_pictures_are_looked_at_one_after_the_other_with_the_keyboard(page: Any, engine: Engine) -> None:
    shots = [UploadedFile(png(60, 90, each), filename=f"{name}.png") for name, each in (("red", RED), ("green", GREEN))]
    add(engine, shots=shots)
    page.goto("/admin/movie/detail?pk=1")
    page.get_by_role("link", name="red.png", exact=True).focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("img", name="red.png").is_visible()
    page.keyboard.press("ArrowRight")
    assert dialog.get_by_role("img", name="green.png").is_visible()
    page.keyboard.press("ArrowRight")
    assert dialog.get_by_role("img", name="red.png").is_visible()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert page.evaluate("document.activeElement.matches('[data-depot-open]')")


def test_a_file_is_seen_before_it_is_saved(page: Any) -> None:
    page.goto("/admin/movie/create")
    page.set_input_files("#media", file("script.pdf", pdf(), "application/pdf"))
    page.get_by_role("button", name="Look at script.pdf").click()
    assert painted(page, RED)
    page.keyboard.press("Escape")
    page.set_input_files("#poster", picture("poster.png", GREEN))
    page.get_by_role("button", name="Look at poster.png").click()
    assert painted(page, GREEN)


def test_a_file_is_replaced_and_the_change_of_mind_costs_nothing(page: Any, engine: Engine) -> None:
    add(engine, poster=UploadedFile(png(60, 90), filename="old.png"))
    page.goto("/admin/movie/edit?pk=1")
    page.set_input_files("#poster", picture("new.png", GREEN))
    sent(page, "poster")
    assert page.locator(".depot-removed").inner_text().startswith("old.png")
    page.get_by_role("button", name="Remove new.png").click()
    assert page.locator(".depot-removed").count() == 0
    page.set_input_files("#poster", picture("new.png", GREEN))
    sent(page, "poster")
    save(page)
    assert names(page, "Poster") == ["new.png"]
    assert poster(engine).filename == "new.png"
    assert stored() == 2


def test_one_of_many_is_removed_and_undone(page: Any, engine: Engine) -> None:
    add(engine, shots=[UploadedFile(each.encode(), filename=f"{each}.txt") for each in "abc"])
    page.goto("/admin/movie/edit?pk=1")
    shots = editor(page, "Shots")
    shots.get_by_role("button", name="Remove a.txt").click()
    shots.get_by_role("button", name="Remove b.txt").click()
    assert shots.get_by_role("status").inner_text() == "b.txt will be removed when you save."
    shots.get_by_role("button", name="Keep a.txt").click()
    save(page)
    assert names(page, "Shots") == ["a.txt", "c.txt"]
    assert stored() == 2


def test_the_order_is_changed_with_buttons_and_by_dragging(page: Any, engine: Engine) -> None:
    add(engine, shots=[UploadedFile(each.encode(), filename=f"{each}.txt") for each in "abc"])
    page.goto("/admin/movie/edit?pk=1")
    shots = editor(page, "Shots")
    assert shots.get_by_role("button", name="Move a.txt up").is_disabled()
    shots.get_by_role("button", name="Move a.txt down").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert shots.get_by_role("status").inner_text() == "a.txt is number 3 of 3."
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Move a.txt up"
    save(page)
    assert [each.filename for each in movie(engine).shots] == ["b.txt", "c.txt", "a.txt"]
    items = shots.locator(".depot-item")
    items.nth(2).drag_to(items.nth(0), target_position={"x": 20, "y": 2})
    assert names(page, "Shots") == ["a.txt", "b.txt", "c.txt"]
    save(page)
    assert [each.filename for each in movie(engine).shots] == ["a.txt", "b.txt", "c.txt"]


def test_files_are_dropped(page: Any, engine: Engine) -> None:
    page.goto("/admin/movie/create")
    page.get_by_label("Title").fill("Alien")
    files = page.evaluate_handle(
        "() => { const d = new DataTransfer(); "
        "for (const n of ['a', 'b']) d.items.add(new File([n], n + '.txt', {type: 'text/plain'})); return d }"
    )
    drop = editor(page, "Shots").locator("[data-depot-drop]")
    for event in ("dragover", "drop"):
        drop.dispatch_event(event, {"dataTransfer": files})
    sent(page, "shots", 2)
    save(page)
    assert [each.filename for each in movie(engine).shots] == ["a.txt", "b.txt"]


def test_no_more_files_are_taken_than_the_column_takes(page: Any) -> None:
    page.goto("/admin/movie/create")
    page.set_input_files("#shots", [file(f"{each}.txt", b"x", "text/plain") for each in range(6)])
    assert len(names(page, "Shots")) == 4
    assert editor(page, "Shots").get_by_role("status").inner_text().startswith("At most 4 files: 2 not taken. ")


def test_what_the_column_refuses_is_said_at_once_and_can_be_tried_again(page: Any, url: str) -> None:
    page.goto("/admin/movie/create")
    page.get_by_label("Title").fill("Alien")
    page.set_input_files("#poster", file("poster.png", b"text", "image/png"))
    message = editor(page, "Poster").get_by_role("alert")
    message.wait_for()
    assert message.inner_text().startswith("poster.png is ")
    page.get_by_role("button", name="Save", exact=True).click()
    assert editor(page, "Poster").get_by_role("status").inner_text() == (
        "poster.png was not uploaded: try again, or remove it."
    )
    assert page.url == f"{url}/admin/movie/create"
    page.get_by_role("button", name="Upload poster.png again").click()
    message.wait_for()
    page.get_by_role("button", name="Remove poster.png").click()
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/movie/list")


def test_a_form_that_fails_keeps_files_and_inputs(page: Any, engine: Engine) -> None:
    add(engine, shots=[UploadedFile(b"a", filename="a.txt")])
    page.goto("/admin/movie/edit?pk=1")
    page.set_input_files("#poster", picture("poster.png"))
    page.set_input_files("#shots", file("b.txt", b"b", "text/plain"))
    sent(page, "poster")
    sent(page, "shots")
    editor(page, "Shots").get_by_role("button", name="Move b.txt up").click()
    page.get_by_label("Title").fill("")
    page.get_by_label("Title").evaluate("input => { input.required = false }")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("This field is required.").wait_for()
    assert (names(page, "Poster"), names(page, "Shots")) == (["poster.png"], ["b.txt", "a.txt"])
    page.get_by_label("Title").fill("Aliens")
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_role("alert").filter(has_text="successfully").wait_for()
    found = movie(engine)
    assert (found.title, poster(engine).filename) == ("Aliens", "poster.png")
    assert [each.filename for each in found.shots] == ["b.txt", "a.txt"]


def test_saving_waits_for_uploads(page: Any, engine: Engine) -> None:
    """The upload is held up until the button was pressed."""
    held: list[Any] = []
    page.route("**/plugins/depot/upload/**", lambda route: held.append(route))
    page.goto("/admin/movie/create")
    page.get_by_label("Title").fill("Alien")
    page.set_input_files("#poster", picture("poster.png"))
    assert page.get_by_role("progressbar", name="Upload of poster.png").is_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saving as soon as the uploads are done").wait_for()
    held[0].continue_()
    page.wait_for_url("**/movie/list")
    assert poster(engine).filename == "poster.png"


def test_an_upload_that_breaks_off_can_be_tried_again(page: Any, engine: Engine) -> None:
    page.route("**/plugins/depot/upload/**", lambda route: route.abort(), times=1)
    page.goto("/admin/movie/create")
    page.get_by_label("Title").fill("Alien")
    page.set_input_files("#poster", picture("poster.png"))
    page.get_by_text("poster.png the connection broke off").wait_for()
    page.get_by_role("button", name="Upload poster.png again").click()
    sent(page, "poster")
    save(page)
    assert stored() == 2


def test_without_scripts_the_form_works(browser: Any, url: str, engine: Engine) -> None:
    add(engine, shots=[UploadedFile(each.encode(), filename=f"{each}.txt") for each in "abc"])
    context = browser.new_context(base_url=url, java_script_enabled=False)
    page = context.new_page()
    asked_elsewhere(page)
    page.goto("/admin/movie/edit?pk=1")
    page.get_by_role("checkbox").nth(1).uncheck()
    page.set_input_files("#shots", [file("d.txt", b"d", "text/plain"), file("e.txt", b"e", "text/plain")])
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/movie/list**")
    assert [each.filename for each in movie(engine).shots] == ["a.txt", "c.txt", "d.txt", "e.txt"]
    context.close()


def test_names_and_pictures_of_enemies_do_nothing(page: Any, engine: Engine, url: str) -> None:
    """A name as hostile as they come, before and after it is saved, and an SVG with a script."""
    page.goto("/admin/movie/create")
    page.get_by_label("Title").fill("Alien")
    page.set_input_files("#shots", [picture(HOSTILE), file("x.svg", SVG, "image/svg+xml")])
    sent(page, "shots", 2)
    assert names(page, "Shots")[0] == HOSTILE
    save(page)
    for path in ("edit?pk=1", "detail?pk=1", "list"):
        page.goto(f"/admin/movie/{path}")
        page.wait_for_load_state("networkidle")
        assert "ran" not in page.title()
        assert page.locator("img[src='x']").count() == 0
    page.goto("/admin/movie/detail?pk=1")
    assert page.get_by_text("no preview of image/svg+xml").is_visible()
    page.locator("figure").first.get_by_role("link").first.click()
    assert page.get_by_role("dialog").locator(".depot-name").inner_text() == HOSTILE


def test_deleting_the_row_deletes_its_files(page: Any, engine: Engine) -> None:
    add(engine, poster=UploadedFile(png(60, 90), filename="a.png"), shots=[UploadedFile(b"1", filename="1")])
    assert stored() == 3
    page.goto("/admin/movie/detail?pk=1")
    page.get_by_text("Delete", exact=True).click()
    page.locator("#actionSubmit").click()
    page.wait_for_url("**/movie/list**")
    assert stored() == 0


def test_two_tabs_edit_the_same_row(page: Any, engine: Engine) -> None:
    add(engine, poster=UploadedFile(png(60, 90), filename="old.png"), shots=[UploadedFile(b"1", filename="1.txt")])
    other = page.context.new_page()
    asked_elsewhere(other)
    for tab in (page, other):
        tab.goto("/admin/movie/edit?pk=1")
    other.set_input_files("#poster", picture("of the other.png", GREEN))
    other.set_input_files("#shots", file("2.txt", b"2", "text/plain"))
    sent(other, "poster")
    sent(other, "shots")
    save(other)
    page.set_input_files("#poster", picture("mine.png", BLUE))
    page.set_input_files("#shots", file("3.txt", b"3", "text/plain"))
    sent(page, "poster")
    sent(page, "shots")
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_text("was changed meanwhile: there is 'of the other.png' now").wait_for()
    assert names(page, "Poster") == ["mine.png"]
    save(page)
    found = movie(engine)
    assert poster(engine).filename == "mine.png"
    assert [each.filename for each in found.shots] == ["1.txt", "2.txt", "3.txt"]
    assert stored() == 5


def test_in_the_dark_everything_can_be_read(browser: Any, url: str, engine: Engine) -> None:
    """Colours are mixed from those of the page."""
    add(engine, shots=[UploadedFile(b"1", filename="1.txt")])
    context = browser.new_context(base_url=url, color_scheme="dark")
    page = context.new_page()
    asked_elsewhere(page)
    page.goto("/admin/movie/edit?pk=1")
    page.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
    item = editor(page, "Shots").locator(".depot-item")
    with Image.open(io.BytesIO(item.screenshot())) as seen:
        shades = sorted(seen.convert("L").tobytes())
    background = shades[len(shades) // 2]
    assert background < 80
    assert shades[-1] - background > 120
    context.close()


#: A page that leads the tab elsewhere, as the one behind a forged URL would.
ELSEWHERE: Final = "<script>top.location = 'about:blank'; document.title = 'it ran'</script>"


@pytest.mark.parametrize("forged", ["javascript:top.document.title='it ran'", "/elsewhere", "//127.0.0.1/x"])
@pytest.mark.parametrize("content_type", ["application/pdf", "text/plain", "image/png", "video/mp4"])
def test_a_forged_url_runs_nothing(page: Any, engine: Engine, forged: str, content_type: str) -> None:
    """Neither where files are shown, nor behind a click."""
    page.route("**/elsewhere", lambda route: route.fulfill(body=ELSEWHERE, content_type="text/html"))
    add(engine, media=UploadedFile(pdf(), filename="script.pdf"))
    value = movie(engine).media
    assert value is not None
    damage(engine, media=json.dumps({**value, "_public_url": forged, "content_type": content_type}))
    page.goto("/admin/movie/detail?pk=1")
    shown = page.locator("figure", has_text="script.pdf")
    shown.scroll_into_view_if_needed()
    if content_type == "application/pdf":
        assert painted(page, RED)
    page.wait_for_load_state("networkidle")
    assert page.url.endswith("/admin/movie/detail?pk=1")
    assert page.title() != "it ran"
    assert not any("javascript:" in each for each in page.locator("[href], [src]").evaluate_all(_ADDRESSES))


_ADDRESSES: Final = "found => found.map(each => each.getAttribute('href') || each.getAttribute('src'))"


def test_a_damaged_reference_is_a_card_that_can_be_removed(page: Any, engine: Engine, tmp_path: Path) -> None:
    add(engine, shots=[UploadedFile(b"1", filename="one.txt")])
    kept = movie(engine).shots[0]
    damage(engine, poster=HOSTILE, shots=json.dumps(["lost.png", dict(kept)]))
    page.goto("/admin/movie/list")
    assert page.locator(".depot-thumb", has_text="damaged reference").first.is_visible()
    page.screenshot(path=tmp_path / "list.png")
    page.goto("/admin/movie/detail?pk=1")
    card = page.locator("figure", has_text="damaged reference").first
    assert HOSTILE in card.inner_text()
    page.screenshot(path=tmp_path / "detail.png", full_page=True)
    page.goto("/admin/movie/edit?pk=1")
    assert names(page, "Poster") == ["damaged reference"]
    assert names(page, "Shots") == ["damaged reference", "one.txt"]
    page.screenshot(path=tmp_path / "edit.png", full_page=True)
    for label in ("Poster", "Shots"):
        editor(page, label).get_by_role("button", name="Remove damaged reference").click()
    save(page)
    assert (movie(engine).poster, movie(engine).shots) == (None, [kept])
    assert page.title() != "it ran"
