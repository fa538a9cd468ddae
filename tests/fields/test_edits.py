"""The files of a form, compared with those that the row holds by now."""

from __future__ import annotations

import io

import pytest
from sqlalchemy import update
from starlette.datastructures import Headers, UploadFile

from depot_lite.errors import EditRefused, InvalidContent, ValidationError
from depot_lite.fields.edits import FileEdit, Kept
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.support.models import Document, Movie


def names(files: list[UploadedFile]) -> list[str]:
    return [each.filename for each in files]


def new(name: str) -> UploadedFile:
    return UploadedFile(name.encode(), filename=name)


def movie_with(world: World, *files: str) -> list[str]:
    """Commit a movie with such screenshots, and return their ids."""
    with world.session() as session:
        movie = Movie(screenshots=[new(each) for each in files])
        session.add(movie)
        session.commit()
        return [each.file_id for each in movie.screenshots]


def edited(world: World, edit: FileEdit) -> list[str]:
    """Commit an edit of the only movie, and return the names of its screenshots."""
    with world.session() as session:
        movie = session.query(Movie).one()
        movie.screenshots = edit  # type: ignore[assignment]  # as whatever can be stored
        session.commit()
        return names(movie.screenshots)


def upload(data: bytes, name: str) -> UploadFile:
    return UploadFile(io.BytesIO(data), filename=name, headers=Headers({"content-type": "text/plain"}))


class TestTheForm:
    """What its values mean."""

    def test_texts_are_what_was_seen_and_what_stays(self) -> None:
        edit = FileEdit.of_form(["seen:1", "seen:2", "keep:2"])
        assert (edit.seen, edit.kept, edit.new, edit.is_change) == (("1", "2"), ["2"], [], True)

    def test_uploads_and_tokens_are_new_in_their_order(self) -> None:
        sent = upload(b"a", "a.txt")
        edit = FileEdit.of_form(["depot-upload:token", "seen:1", "keep:1", sent])
        assert edit.items == ("depot-upload:token", Kept("1"), sent)

    @pytest.mark.parametrize("values", [[], [""], [UploadFile(io.BytesIO(), filename="")]])
    def test_a_form_without_any_of_it_changes_nothing(self, values: list[object]) -> None:
        assert not FileEdit.of_form(values).is_change

    def test_a_file_stays_once(self) -> None:
        assert FileEdit.of_form(["seen:1", "seen:1", "keep:1", "keep:1"]).items == (Kept("1"),)

    def test_other_text_is_refused(self) -> None:
        with pytest.raises(InvalidContent, match=r"expected an upload, .*, got '/etc/passwd'"):
            FileEdit.of_form(["/etc/passwd"])


class TestOneFile:
    """A column of one file."""

    def of(self, world: World, edit: FileEdit) -> str | None:
        with world.session() as session:
            document = session.query(Document).one()
            document.content = edit  # type: ignore[assignment]  # as whatever can be stored
            session.commit()
            return None if document.content is None else document.content.filename

    @pytest.fixture
    def file_id(self, world: World) -> str:
        with world.session() as session:
            document = Document(content=new("old"))
            session.add(document)
            session.commit()
            assert document.content is not None
            return document.content.file_id

    def test_it_stays(self, world: World, file_id: str, queries: list[str]) -> None:
        assert self.of(world, FileEdit([Kept(file_id)], seen=[file_id])) == "old"
        assert not [each for each in queries if each.startswith("UPDATE")]
        world.check(b"old")

    def test_nothing_in_the_form_leaves_it(self, world: World, file_id: str) -> None:
        assert self.of(world, FileEdit()) == "old"

    def test_it_is_replaced(self, world: World, file_id: str) -> None:
        assert self.of(world, FileEdit([new("new")], seen=[file_id])) == "new"
        world.check(b"new")

    def test_a_new_one_counts_more_than_one_that_stays(self, world: World, file_id: str) -> None:
        assert self.of(world, FileEdit([Kept(file_id), new("new")], seen=[file_id])) == "new"

    def test_it_is_cleared(self, world: World, file_id: str) -> None:
        assert self.of(world, FileEdit(seen=[file_id])) is None
        world.check()

    def test_a_file_that_the_form_did_not_show_is_not_replaced(self, world: World, file_id: str) -> None:
        with pytest.raises(
            EditRefused, match=r"Document.content: was changed meanwhile: there is 'old' now"
        ) as refused:
            self.of(world, FileEdit([new("new")], seen=["another"]))
        assert refused.value.by_field == {"content": ["was changed meanwhile: there is 'old' now"]}
        world.check(b"old")

    def test_nor_cleared(self, world: World, file_id: str) -> None:
        assert self.of(world, FileEdit(seen=["another"])) == "old"

    def test_what_somebody_cleared_stays_away(self, world: World, file_id: str) -> None:
        with world.session() as session:
            session.execute(update(Document).values(content=None))
            session.commit()
        assert self.of(world, FileEdit([Kept(file_id)], seen=[file_id])) is None
        assert self.of(world, FileEdit([new("new")], seen=[file_id])) == "new"

    def test_a_new_row_takes_what_is_new(self, world: World) -> None:
        with world.session() as session:
            document = Document(content=FileEdit([new("new")]), report=FileEdit())
            session.add(document)
            session.commit()
        world.check(b"new")

    def test_an_id_of_another_row_leads_nowhere(self, world: World, file_id: str) -> None:
        with world.session() as session:
            document = Document(content=FileEdit([Kept(file_id)], seen=[file_id]))
            session.add(document)
            session.commit()
            assert document.content is None
        world.check(b"old")

    def test_a_deferred_attribute_is_loaded(self, world: World, file_id: str) -> None:
        with world.session() as session:
            document = session.query(Document).one()
            session.expire(document, ["content"])
            document.content = FileEdit(seen=[file_id])  # type: ignore[assignment]  # as whatever can be stored
            session.commit()
        world.check()


class TestSeveralFiles:
    """A column of many files."""

    def test_one_is_removed(self, world: World) -> None:
        one, two, three = movie_with(world, "1", "2", "3")
        assert edited(world, FileEdit([Kept(one), Kept(three)], seen=[one, two, three])) == ["1", "3"]
        world.check(b"1", b"3")

    def test_the_order_is_changed_and_a_new_one_put_between(self, world: World) -> None:
        one, two = movie_with(world, "1", "2")
        assert edited(world, FileEdit([Kept(two), new("new"), Kept(one)], seen=[one, two])) == ["2", "new", "1"]
        world.check(b"1", b"2", b"new")

    def test_new_ones_come_last_without_scripts(self, world: World) -> None:
        one, two = movie_with(world, "1", "2")
        form = [f"seen:{one}", f"seen:{two}", f"keep:{one}", f"keep:{two}", upload(b"3", "3"), upload(b"4", "4")]
        assert edited(world, FileEdit.of_form(form)) == ["1", "2", "3", "4"]

    def test_all_are_removed(self, world: World) -> None:
        ids = movie_with(world, "1", "2")
        assert edited(world, FileEdit(seen=ids)) == []
        world.check()

    def test_nothing_changes_and_nothing_is_written(self, world: World, queries: list[str]) -> None:
        ids = movie_with(world, "1", "2")
        queries.clear()
        assert edited(world, FileEdit(map(Kept, ids), seen=ids)) == ["1", "2"]
        assert edited(world, FileEdit()) == ["1", "2"]
        assert not [each for each in queries if each.startswith("UPDATE")]

    def test_what_somebody_added_meanwhile_stays(self, world: World) -> None:
        one, two, _ = movie_with(world, "1", "2", "of another tab")
        assert edited(world, FileEdit([Kept(two)], seen=[one, two])) == ["2", "of another tab"]
        assert edited(world, FileEdit([Kept(two), new("new")], seen=[two])) == ["2", "of another tab", "new"]

    def test_so_it_does_where_the_order_changed(self, world: World) -> None:
        one, two, _ = movie_with(world, "1", "2", "of another tab")
        assert edited(world, FileEdit([Kept(two), Kept(one)], seen=[one, two])) == ["2", "1", "of another tab"]

    def test_what_somebody_removed_meanwhile_stays_away(self, world: World) -> None:
        (two,) = movie_with(world, "2")
        assert edited(world, FileEdit([Kept("removed"), Kept(two), new("3")], seen=["removed", two])) == ["2", "3"]
        assert edited(world, FileEdit([Kept(two), Kept("removed")], seen=["removed", two])) == ["2", "3"]

    def test_an_order_that_somebody_changed_meanwhile_stays(self, world: World) -> None:
        two, one = movie_with(world, "2", "1")
        assert edited(world, FileEdit([Kept(one), Kept(two)], seen=[one, two])) == ["2", "1"]

    def test_a_refusal_leaves_the_list(self, world: World) -> None:
        (one,) = movie_with(world, "1")
        with pytest.raises(InvalidContent):
            edited(world, FileEdit([Kept(one), 7], seen=[one]))
        assert edited(world, FileEdit()) == ["1"]

    def test_it_stands_in_a_statement(self, world: World) -> None:
        """A row that a statement names holds nothing that an edit could keep."""
        movie_with(world, "1")
        with world.session() as session:
            session.execute(update(Movie).values(screenshots=FileEdit([new("new")])))
            session.commit()
        world.check(b"new")


def test_a_refusal_is_a_validation_error() -> None:
    assert issubclass(EditRefused, ValidationError)
