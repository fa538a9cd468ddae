"""What every admin has to do with files, whatever its pages look like."""

from __future__ import annotations

import html
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from depot_lite.fields.columns import paths_of
from depot_lite.io.content.intent import FileIntent
from depot_lite.io.fileid import is_upload_id
from depot_lite.manager import DepotManager
from tests.contrib.damage import DAMAGE, damage, held
from tests.contrib.forms import NASTY, Form, Part
from tests.contrib.models import SVG, Movie, Ticket, picture, refused_late
from tests.media.samples import flac

KEY = "the key of the admins' tests"


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    text: str

    @property
    def went_on(self) -> bool:
        """Whether the form was taken: the browser is sent to another page."""
        return self.status == 302


class Site(ABC):
    """An admin, and the database and the depot that it works with."""

    def __init__(self, engine: Engine, asking: Engine) -> None:
        self.engine = engine
        #: The engine of the admin itself.
        self.asking = asking

    @abstractmethod
    def get(self, url: str) -> Answer:
        """Ask for a page."""

    @abstractmethod
    def post(self, url: str, **sent: Any) -> Answer:
        """Send something."""

    @abstractmethod
    def url(self, page: str, row: int | None = None, model: str = "movie") -> str:
        """Return the URL of ``list``, ``create``, ``edit`` or ``details``."""

    @abstractmethod
    def delete(self, row: int) -> Answer:
        """Delete a movie."""

    #: The button that saves, by its name and its value.
    button: tuple[str, str] = ("save", "Save")

    def page(self, page: str, row: int | None = None, model: str = "movie") -> str:
        answer = self.get(self.url(page, row, model))
        assert answer.status == 200
        return answer.text

    def form(self, row: int | None = None, model: str = "movie") -> Form:
        return Form.of(self.page("create" if row is None else "edit", row, model))

    def save(self, form: Form, row: int | None = None, model: str = "movie") -> Answer:
        url = self.url("create" if row is None else "edit", row, model)
        return self.post(url, **form.press(*self.button))

    def saved(self, form: Form, row: int | None = None) -> Movie:
        """Save a form that has nothing wrong, and return the row."""
        answer = self.save(form, row)
        assert answer.went_on, messages(answer.text)
        return self.movie(row or 1)

    def add(self, **values: Any) -> Movie:
        with Session(self.engine) as session:
            session.add(Movie(**{"title": "Metropolis", **values}))
            session.commit()
        return self.movie()

    def movie(self, row: int = 1) -> Movie:
        """Return a movie as it is in the database; rows and depot agree, except for files sent before a form."""
        with Session(self.engine) as session:
            movies = list(session.query(Movie))
            held = [held for each in movies for held in (each.poster, each.screenshots, each.script)]
        named = [path for each in held for path in paths_of(each)]
        stored = [each for each in DepotManager.get("default").list() if not is_upload_id(each)]
        assert sorted(named) == sorted(f"default/{each}" for each in stored)
        return next(each for each in movies if each.id == row)


def run_docs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the Python of a page of the docs in a folder, as one program, and return its globals."""
    page = Path(__file__).parents[2] / "docs" / f"{name}.md"
    monkeypatch.chdir(folder)
    made: dict[str, Any] = {"__name__": f"docs_{name}"}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, page, "exec", dont_inherit=True), made)
    return made


def messages(text: str) -> list[str]:
    """Return the texts that stand beside fields or above the form as errors."""
    found = re.findall(r'<(div|li)[^>]*class="[^"]*(?:invalid-feedback|alert)[^"]*"[^>]*>(.*?)</\1>', text, re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]*>|\s+", " ", each)).strip() for _, each in found]


def beside(text: str, name: str) -> str:
    """Return what stands beside a file input, up to the next field."""
    return html.unescape(re.split(r"<label", text[text.index(f'id="{name}" name="{name}"') :])[0])


def names(files: Sequence[Any]) -> list[str]:
    return [each.filename for each in files]


class AdminChecks:
    """The tests of one admin, which the fixture ``site`` of a module gives."""

    # --- upload ----------------------------------------------------------------------------------------------------

    def test_files_are_uploaded_with_a_new_row(self, site: Site) -> None:
        form = site.form().set("title", "Metropolis")
        form.choose("poster", ("a.png", picture()))
        form.choose("screenshots", ("1.png", picture("blue")), ("2.png", picture("green")))
        movie = site.saved(form)
        assert movie.poster is not None
        assert (movie.title, movie.poster.filename) == ("Metropolis", "a.png")
        assert names(movie.screenshots) == ["1.png", "2.png"]
        with movie.poster.file as stored:
            assert stored.read() == picture()
        assert movie.script is None

    def test_a_row_needs_no_files(self, site: Site) -> None:
        movie = site.saved(site.form().set("title", "Metropolis"))
        assert (movie.poster, list(movie.screenshots)) == (None, [])

    def test_an_empty_file_is_a_file(self, site: Site) -> None:
        """Also where a form replaces another by it."""
        site.add(script=b"FADE IN")
        movie = site.saved(site.form(1).choose("script", ("empty.txt", b"")), 1)
        assert movie.script is not None
        assert (movie.script.filename, movie.script.size) == ("empty.txt", 0)

    # --- edit ------------------------------------------------------------------------------------------------------

    def test_a_form_without_new_files_keeps_all(self, site: Site) -> None:
        before = site.add(poster=picture(), screenshots=[picture("blue"), picture("green")], script=b"FADE IN")
        after = site.saved(site.form(1).set("title", "M"), 1)
        assert after.title == "M"
        assert (after.poster, after.screenshots, after.script) == (before.poster, before.screenshots, before.script)

    def test_a_file_is_replaced(self, site: Site) -> None:
        site.add(poster=picture())
        movie = site.saved(site.form(1).choose("poster", ("new.png", picture("blue"))), 1)
        assert movie.poster is not None
        assert movie.poster.filename == "new.png"

    def test_a_file_is_cleared(self, site: Site) -> None:
        before = site.add(poster=picture(), script=b"FADE IN")
        assert before.poster is not None
        movie = site.saved(site.form(1).uncheck(f"keep:{before.poster.file_id}"), 1)
        assert (movie.poster, movie.script) == (None, before.script)

    def test_one_of_several_is_removed_and_others_are_added(self, site: Site) -> None:
        first, second = site.add(screenshots=[picture("blue"), picture("green")]).screenshots
        form = site.form(1).uncheck(f"keep:{first.file_id}").choose("screenshots", ("3.png", picture()))
        after = site.saved(form, 1).screenshots
        assert after[0] == second
        assert names(after[1:]) == ["3.png"]

    def test_all_of_several_are_removed(self, site: Site) -> None:
        site.add(screenshots=[picture("blue"), picture("green")])
        form = site.form(1)
        for each in form.values("screenshots"):
            if each.startswith("keep:"):
                form.uncheck(each)
        assert list(site.saved(form, 1).screenshots) == []

    def test_several_get_another_order(self, site: Site) -> None:
        before = [each.file_id for each in site.add(screenshots=[picture("blue"), picture("green")]).screenshots]
        form = site.form(1)
        kept = [each for each in form.parts if each.value in [f"keep:{each}" for each in before]]
        kept[0].value, kept[1].value = kept[1].value, kept[0].value
        assert [each.file_id for each in site.saved(form, 1).screenshots] == before[::-1]

    def test_a_deleted_row_takes_its_files_with_it(self, site: Site) -> None:
        site.add(poster=picture(), screenshots=[picture("blue")])
        site.delete(1)
        assert list(DepotManager.get("default").list()) == []

    # --- damaged rows ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("text", DAMAGE.values(), ids=list(DAMAGE))
    def test_a_damaged_row_is_shown_kept_cleared_and_deleted(self, site: Site, text: str) -> None:
        """On every page, in columns of one file and of several; a form that changes nothing of it leaves it."""
        site.add(title="first")
        damage(site.engine, poster=text, screenshots=text)
        for page in (site.page("list"), site.page("details", 1), site.page("edit", 1)):
            assert "<script>document" not in page
            assert "<img src=x" not in page
            assert "n" * 1000 not in page
        assert site.save(site.form(1).set("title", "second"), 1).went_on
        assert (held(site.engine, "poster"), held(site.engine, "screenshots")) == (text, text)
        form = site.form(1)
        for each in [each for name in ("poster", "screenshots") for each in form.values(name) if "keep:" in each]:
            form.uncheck(each)
        assert site.save(form, 1).went_on
        assert held(site.engine, "poster") is None
        assert held(site.engine, "screenshots") == "[]"
        damage(site.engine, poster=text, screenshots=text)
        site.delete(1)
        with Session(site.engine) as session:
            assert session.query(Movie.id).all() == []

    def test_a_damaged_reference_says_what_it_is(self, site: Site) -> None:
        site.add()
        damage(site.engine, poster="trailer.mp4", screenshots='["a.png", 5, 5]')
        assert "damaged reference" in site.page("list")
        for page in (site.page("details", 1), site.page("edit", 1)):
            assert page.count('depot-name">damaged reference') == 4
            assert "trailer.mp4" in page

    def test_a_damaged_reference_is_replaced(self, site: Site) -> None:
        site.add()
        damage(site.engine, poster="trailer.mp4")
        movie = site.saved(site.form(1).choose("poster", ("new.png", picture())), 1)
        assert movie.poster is not None
        assert movie.poster.filename == "new.png"

    def test_a_list_with_a_damaged_reference_takes_no_more_before_it_is_removed(self, site: Site) -> None:
        before = site.add(screenshots=[picture()]).screenshots
        damage(site.engine, screenshots=f"[5, {json.dumps(before[0])}, 5]")
        answer = site.save(site.form(1).choose("screenshots", ("new.png", picture("blue"))), 1)
        assert not answer.went_on
        assert "has a damaged reference: remove it first" in beside(answer.text, "screenshots")
        form = site.form(1)
        for each in [each for each in form.values("screenshots") if each.startswith("keep:damaged")]:
            form.uncheck(each)
        after = site.saved(form.choose("screenshots", ("new.png", picture("blue"))), 1).screenshots
        assert after[0] == before[0]
        assert names(after[1:]) == ["new.png"]

    # --- two tabs --------------------------------------------------------------------------------------------------

    def test_two_tabs_that_add_to_a_list_both_do(self, site: Site) -> None:
        site.add(screenshots=[picture()])
        one, other = site.form(1), site.form(1)
        site.saved(one.choose("screenshots", ("one.png", picture("blue"))), 1)
        after = site.saved(other.choose("screenshots", ("other.png", picture("green"))), 1)
        assert names(after.screenshots)[1:] == ["one.png", "other.png"]

    def test_the_second_of_two_tabs_replaces_nothing_that_it_did_not_show(self, site: Site) -> None:
        """It is told so beside the field, and saving once more does not remove the file of the first."""
        site.add(poster=picture())
        one, other = site.form(1), site.form(1)
        site.saved(one.choose("poster", ("one.png", picture("blue"))), 1)
        answer = site.save(other.choose("poster", ("other.png", picture("green"))), 1)
        assert not answer.went_on
        assert "was changed meanwhile: there is 'one.png' now" in beside(answer.text, "poster")
        movie = site.saved(Form.of(answer.text), 1)
        assert movie.poster is not None
        assert movie.poster.filename == "one.png"

    def test_what_another_tab_added_is_not_removed_by_a_form_that_is_shown_twice(self, site: Site) -> None:
        site.add()
        form = site.form(1).set("title", "longer than any title may be")
        site.saved(site.form(1).choose("poster", ("one.png", picture())), 1)
        answer = site.save(form, 1)
        assert not answer.went_on
        assert site.saved(Form.of(answer.text).set("title", "M"), 1).poster is not None

    # --- refusals --------------------------------------------------------------------------------------------------

    def test_what_a_column_refuses_stands_beside_its_field_and_other_inputs_survive(self, site: Site) -> None:
        before = site.add(poster=picture(), screenshots=[picture("blue"), picture("green")])
        first, second = before.screenshots
        form = site.form(1).set("title", 'The "M"').choose("poster", ("a.txt", b"no image"))
        answer = site.save(form.uncheck(f"keep:{first.file_id}"), 1)
        assert not answer.went_on
        assert "text/plain" in beside(answer.text, "poster")
        assert "text/plain" not in beside(answer.text, "screenshots")
        again = Form.of(answer.text)
        assert again.values("title") == ['The "M"']
        assert [each for each in again.values("screenshots") if "keep" in each] == [f"keep:{second.file_id}"]
        after = site.saved(again, 1)
        assert (after.poster, list(after.screenshots)) == (before.poster, [second])

    def test_a_new_row_is_refused_in_the_same_way(self, site: Site) -> None:
        answer = site.save(site.form().set("title", "M").choose("poster", ("a.png", b"\x89PNG" + bytes(30_000))))
        assert not answer.went_on
        assert "20 KiB" in beside(answer.text, "poster")
        assert Form.of(answer.text).values("title") == ["M"]
        assert list(DepotManager.get("default").list()) == []

    def test_too_many_files_are_refused(self, site: Site) -> None:
        site.add(screenshots=[picture(), picture()])
        form = site.form(1).choose("screenshots", *((f"{each}.png", picture()) for each in range(3)))
        answer = site.save(form, 1)
        assert not answer.went_on
        assert "4" in beside(answer.text, "screenshots").partition("invalid-feedback")[2]
        assert len(site.movie().screenshots) == 2

    def test_an_error_of_another_field_removes_no_file(self, site: Site) -> None:
        """The upload is lost with the form, as in all browsers; the file that it would have replaced is kept."""
        before = site.add(poster=picture())
        assert before.poster is not None
        form = site.form(1).set("title", "longer than any title may be").choose("poster", ("new.png", picture("blue")))
        answer = site.save(form.uncheck(f"keep:{before.poster.file_id}"), 1)
        assert not answer.went_on
        after = site.saved(Form.of(answer.text).set("title", "M"), 1)
        assert (after.title, after.poster) == ("M", before.poster)

    def test_what_the_flush_refuses_stands_beside_the_field_too(self, site: Site) -> None:
        before = site.add(script=b"FADE IN")
        with refused_late("late.txt"):
            answer = site.save(site.form(1).set("title", "M").choose("script", ("late.txt", b"no")), 1)
        assert not answer.went_on
        assert "is refused late" in beside(answer.text, "script")
        assert Form.of(answer.text).values("title") == ["M"]
        assert site.saved(Form.of(answer.text), 1).script == before.script

    def test_a_forged_form_is_refused(self, site: Site) -> None:
        """Text is no file, and a file of another row is not among those of this one."""
        poster = site.add(poster=picture()).poster
        assert poster is not None
        form = site.form()
        form.parts += [Part("poster", f"keep:{poster.file_id}")]
        site.save(form.set("title", "M"))
        assert site.movie(2).poster is None
        form = site.form(1)
        form.parts += [Part("poster", "default/../../etc/passwd")]
        answer = site.save(form, 1)
        assert not answer.went_on
        assert "expected an upload" in beside(answer.text, "poster")

    def test_a_file_that_has_to_be_there_is_asked_for(self, site: Site) -> None:
        answer = site.save(site.form(model="ticket"), model="ticket")
        assert not answer.went_on
        assert "This field is required." in beside(answer.text, "scan")
        assert site.save(site.form(model="ticket").choose("scan", ("a.txt", b"1")), model="ticket").went_on
        form = site.form(1, "ticket")
        assert site.save(form, 1, "ticket").went_on
        form.uncheck(next(each for each in form.values("scan") if "keep" in each))
        assert "This field is required." in beside(site.save(form, 1, "ticket").text, "scan")
        with Session(site.engine) as session:
            assert session.get_one(Ticket, 1).scan.filename == "a.txt"

    # --- pages -----------------------------------------------------------------------------------------------------

    def test_lists_show_variants_and_never_originals(self, site: Site) -> None:
        movie = site.add(poster=picture(), script=b"FADE IN")
        text = site.page("list")
        assert movie.poster is not None
        assert f'src="{movie.poster.variants["small"].url}"' in text
        assert movie.poster.file_id not in text
        assert movie.script is not None
        assert movie.script.filename in text

    def test_lists_ask_no_storage_and_as_many_queries_as_ever(self, site: Site, monkeypatch: Any) -> None:
        queries: list[str] = []
        event.listen(site.asking, "before_cursor_execute", lambda *args: queries.append(args[2]))
        counts = []
        for _ in range(2):
            for _ in range(4):
                site.add(poster=picture(), screenshots=[picture(), picture()])
            with monkeypatch.context() as patch:
                for each in ("get", "exists", "list", "save"):
                    patch.setattr(type(DepotManager.get("default")), each, _not_asked)
                queries.clear()
                site.page("list")
                counts.append(sum(each.startswith("SELECT") for each in queries))
        assert counts == [2, 2]

    def test_detail_pages_show_each_kind(self, site: Site) -> None:
        site.add(poster=picture(), screenshots=[picture("blue"), picture("green")], script=b"%PDF-1.4 ...")
        movie, text = site.movie(), site.page("details", 1)
        assert movie.poster is not None
        assert movie.script is not None
        assert f'src="{movie.poster.url}"' in text
        assert all(f'src="{each.url}"' in text for each in movie.screenshots)
        assert f'<iframe class="depot-document" src="{movie.script.url}"' in text
        assert movie.poster.checksum is not None
        assert movie.poster.checksum in text

    def test_detail_pages_show_facts(self, site: Site) -> None:
        site.add(script=FileIntent(flac(24_000, tags={"title": NASTY}, content=bytes(9000)), "sound.flac"))
        text = site.page("details", 1)
        assert "audio/flac · 0:03 · " in text
        assert "<div>Bitrate 24 kbit/s</div>" in text
        assert f"<div>Title {html.escape(NASTY)}</div>" in html.unescape(text).replace(NASTY, html.escape(NASTY))
        assert "<img src=x" not in text

    def test_names_are_escaped_everywhere(self, site: Site) -> None:
        """A name is stored as the browser sent it, and is nothing but a name on every page."""
        form = site.form().set("title", "M").choose("poster", (NASTY, picture()))
        site.saved(form.choose("screenshots", (NASTY, picture())).choose("script", (NASTY, b"no image")))
        refused = site.save(site.form(1).choose("screenshots", (NASTY, b"no image")), 1).text
        for text in (site.page("list"), site.page("details", 1), site.page("edit", 1), refused):
            assert "onerror=alert(1)" in text
            assert "<img src=x" not in text

    def test_an_svg_is_no_picture_of_ours(self, site: Site) -> None:
        site.saved(site.form().set("title", "M").choose("script", ("a.svg", SVG)))
        text = site.page("details", 1)
        assert "no preview of image/svg+xml" in text
        assert not re.search(r'<(img|iframe|object|embed)[^>]*src="/depot', text)

    def test_scripts_and_styles_come_from_the_admin_once_for_each_page(self, site: Site) -> None:
        site.add(poster=picture(), screenshots=[picture()])
        for text in (site.page("details", 1), site.page("edit", 1), site.page("create")):
            found = re.findall(r'(?:src|href)="([^"]*/files\.(?:js|css)[^"]*)"', text)
            assert [re.sub(r".*/(files\.\w+).*", r"\1", each) for each in found] == ["files.css", "files.js"]
            for each in found:
                assert site.get(html.unescape(each)).status == 200
        assert site.get(html.unescape(found[0]).replace("files.css", "files.txt")).status == 404


def _not_asked(*args: Any, **options: Any) -> Any:
    pytest.fail("a page has asked the storage")
