"""Values that did not come through the attribute: whatever an object holds when it is flushed is what its row owns.

SQLModel, listeners and code of the user's own put values into an instance's ``__dict__`` that no event has shown us.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Mapped, Session, mapped_column, validates

from depot_lite.errors import InvalidContent, SizeRefused, StorageFailed
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import Size
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.content import Content, FileIntent
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.uploads import adoptable, upload_ticket
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.images import image
from tests.fields.session_ends import end
from tests.fields.statements import add
from tests.fields.values import plant, read
from tests.support.models import Album, Base, Document, Movie

Listen = Callable[..., None]

outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])

#: Far from the numbers that a sequence of PostgreSQL reaches by itself.
ROW = 1_000_001
OTHER_ROW = 1_000_002


class Portrait(Base):
    """Images of one row, of which variants are made."""

    __tablename__ = "portrait_of_values"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"small": Thumbnail(16, 16)})
    )
    photos: Mapped[list[UploadedImage]] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"small": Thumbnail(16, 16)}, multiple=True)
    )


class Limited(Base):
    """Takes small files only."""

    __tablename__ = "limited_values"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(validators=[Size(10)]))
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(validators=[Size(10)], multiple=True))


class Catalogue(Base):
    """Its validators give back values of their own."""

    __tablename__ = "catalogue_of_values"
    id: Mapped[int] = mapped_column(primary_key=True)
    cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))

    @validates("cover")
    def _named(self, key: str, value: Any) -> Any:
        return UploadedFile(b"validated " + value, filename="cover.txt") if isinstance(value, bytes) else value

    @validates("pages")
    def _not_empty(self, key: str, values: Any) -> Any:
        return [each for each in values if each]


# --- one file ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A value, made from the session, the object that gets it and a folder; and the files that it adds."""

    make: Callable[[Session, Any, Path], Any]
    leaves: tuple[bytes, ...]


def _path(folder: Path) -> Path:
    path = folder / "new.txt"
    path.write_bytes(b"new")
    return path


def _of_other_row(session: Session, *names: str) -> Any:
    other = session.get_one(Document, OTHER_ROW)
    return [getattr(other, name) for name in names]


def _of_another_object(session: Session) -> Any:
    other = Document(content=b"new")
    session.add(other)
    return other.content


def _of_another_attribute(target: Any) -> Any:
    put(target, report=b"new")
    return target.report


def _born(session: Session) -> Any:
    other = Document(content=b"new")
    session.add(other)
    session.flush()
    return other.content


ONE: dict[str, Case] = {
    "a value": Case(lambda session, target, folder: UploadedFile(b"new"), (b"new",)),
    "bytes": Case(lambda session, target, folder: b"new", (b"new",)),
    "an intent": Case(lambda session, target, folder: FileIntent(b"new", "new.txt"), (b"new",)),
    "a stream": Case(lambda session, target, folder: io.BytesIO(b"new"), (b"new",)),
    "a path": Case(lambda session, target, folder: _path(folder), (b"new",)),
    "a stored value of another row": Case(
        lambda session, target, folder: _of_other_row(session, "content")[0], (b"other",)
    ),
    "a value stored in this transaction": Case(lambda session, target, folder: _born(session), (b"new", b"new")),
    "a pending value of another object": Case(
        lambda session, target, folder: _of_another_object(session), (b"new", b"new")
    ),
    "a pending value of another attribute": Case(
        lambda session, target, folder: _of_another_attribute(target), (b"new", b"new")
    ),
}
one_file = pytest.mark.parametrize("case", ONE.values(), ids=list(ONE))


@one_file
@outcome
@pytest.mark.parametrize("assigned", [False, True], ids=["nothing before", "after an assignment"])
def test_a_new_object_owns_what_it_holds(
    world: World, tmp_path: Path, case: Case, assigned: bool, commit: bool
) -> None:
    """A file assigned before and overwritten behind our back is never stored, or goes with the transaction."""
    add(world, Document(id=OTHER_ROW, content=b"other"))
    with world.session() as session:
        target = Document()
        if assigned:
            put(target, content=b"assigned first")
        plant(target, content=case.make(session, target, tmp_path))
        session.add(target)
        end(session, commit)
        if commit:
            assert isinstance(target.content, UploadedFile)
            assert read([target.content]) == [case.leaves[0]]
    world.check(b"other", *case.leaves if commit else ())


@one_file
@outcome
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
def test_a_row_owns_what_its_object_holds(world: World, tmp_path: Path, case: Case, loaded: bool, commit: bool) -> None:
    """The file that it replaces goes with COMMIT, whether anybody had loaded it or not."""
    add(world, Document(id=OTHER_ROW, content=b"other"), Document(id=ROW, content=b"old"))
    with world.session() as session:
        target = session.get_one(Document, ROW)
        if not loaded:
            session.expire(target)
        plant(target, content=case.make(session, target, tmp_path))
        end(session, commit)
    world.check(b"other", *case.leaves if commit else (b"old",))


@one_file
@outcome
def test_bulk_save_owns_what_objects_hold(world: World, tmp_path: Path, case: Case, commit: bool) -> None:
    add(world, Document(id=OTHER_ROW, content=b"other"))
    with world.session() as session:
        target = Document()
        plant(target, content=case.make(session, target, tmp_path))
        session.flush()
        session.bulk_save_objects([target])
        end(session, commit)
    world.check(b"other", *case.leaves if commit else ())


@outcome
def test_its_own_stored_file_may_be_planted_again(world: World, commit: bool) -> None:
    """Nothing moves: the row names this file already."""
    add(world, Document(id=ROW, content=b"old"))
    stored = world.stored()
    with world.session() as session:
        target = session.get_one(Document, ROW)
        plant(target, content=target.content, name="renamed")
        end(session, commit)
        plant(target, content=UploadedFile.decode(target.content.encode()))  # type: ignore[union-attr]  # it has one
        end(session, commit)
    assert world.stored() == stored
    world.check(b"old")


@outcome
def test_a_planted_none_takes_the_file_away(world: World, commit: bool) -> None:
    add(world, Document(id=ROW, content=b"old", report=b"report"))
    with world.session() as session:
        plant(session.get_one(Document, ROW), content=None)
        end(session, commit)
    world.check(b"report", *() if commit else (b"old",))


def test_after_a_rollback_a_planted_value_is_stored_anew(world: World) -> None:
    """As one that was assigned would be: it is pending again, and the object can be added again."""
    target = Document()
    plant(target, content=UploadedFile(b"new"))
    with world.session() as session:
        session.add(target)
        end(session, commit=False)
        world.check()
        session.add(target)
        session.commit()
    world.check(b"new")


@outcome
def test_a_savepoint_takes_a_planted_value_with_it(world: World, commit: bool) -> None:
    add(world, Document(id=ROW, content=b"old"))
    with world.session() as session:
        target = session.get_one(Document, ROW)
        savepoint = session.begin_nested()
        plant(target, content=b"new")
        session.flush()
        savepoint.commit() if commit else savepoint.rollback()
        session.commit()
        assert read([target.content]) == [b"new" if commit else b"old"]
    world.check(b"new" if commit else b"old")


def test_a_planted_value_of_another_kind_becomes_the_columns(world: World, depots: dict[str, FileStorage]) -> None:
    """Type, depot and filters are those of the column."""
    with world.session() as session:
        album = Album(id=ROW)
        plant(album, cover=b"cover", letter=UploadedFile(b"dear"), second=b"sir")
        session.add(album)
        session.commit()
        assert album.letter is not None
        assert album.second is not None
        assert album.letter.signature == b"signed: dear"
        assert album.second.depot_name == "archive"
    world.check(b"cover", b"cov", b"DEAR", b"signed: dear", b"SIR", b"signed: sir")


# --- refusals ---------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, Callable[[], Any]]] = {
    "a dictionary": ("content", lambda: {"path": "default/x", "file_id": "x", "depot_name": "default", "files": []}),
    "text": ("content", lambda: "text"),
    "a number": ("content", lambda: 5),
    "a list for one file": ("content", lambda: [b"x"]),
    "a file for a list": ("pages", lambda: b"x"),
    "a value for a list": ("pages", lambda: UploadedFile(b"x")),
    "a list with text": ("pages", lambda: [b"x", "text"]),
    "a list with a dictionary": ("pages", lambda: [{"path": "default/x", "files": []}]),
}


@pytest.mark.parametrize(("key", "make"), REFUSED.values(), ids=list(REFUSED))
@pytest.mark.parametrize("new", [True, False], ids=["new", "loaded"])
def test_what_is_no_file_is_refused_by_the_flush(world: World, key: str, make: Callable[[], Any], new: bool) -> None:
    """The error is ours, names the attribute, and leaves nothing behind."""
    add(world, Limited(id=ROW, content=b"old", pages=[b"page"]))
    with world.session() as session:
        session.add(Document(content=b"beside"))
        target = Limited() if new else session.get_one(Limited, ROW)
        plant(target, **{key: make()})
        session.add(target)
        with pytest.raises(InvalidContent, match=rf"Limited\.{key}"):
            session.flush()
        session.rollback()
    world.check(b"old", b"page")


@pytest.mark.parametrize("kind", [bytes, UploadedFile])
@pytest.mark.parametrize("key", ["content", "pages"])
def test_the_validators_of_the_column_see_planted_values(world: World, key: str, kind: Any) -> None:
    value = kind(b"much too long")
    with world.session() as session:
        target = Limited()
        plant(target, **{key: value if key == "content" else [value]})
        session.add_all([target, Document(content=b"beside")])
        with pytest.raises(SizeRefused):
            session.commit()
        session.rollback()
    world.check()


class FullStorage(LocalFileStorage):
    """Has no room left."""

    def _save(self, file_id: str, content: Content) -> FileInfo:
        raise StorageFailed("disk full")


@pytest.mark.parametrize("commit", [True, False], ids=["the application commits", "it rolls back"])
def test_a_storage_that_fails_leaves_the_flush_as_itself(
    world: World, depots: dict[str, FileStorage], tmp_path: Path, commit: bool
) -> None:
    """A caught StorageFailed is StorageFailed; files that the session committed before stay."""
    DepotManager.configure("full", FullStorage(tmp_path / "full"))
    with world.session() as session:
        session.add(Document(content=b"first"))
        session.commit()
        target = Document()
        plant(target, report=b"beside", content=UploadedFile(b"x", "full"))
        session.add(target)
        with pytest.raises(StorageFailed, match="disk full"):
            session.flush()
        session.rollback()
        if commit:
            session.commit()
    world.check(b"first")


# --- lists ------------------------------------------------------------------------------------------------------------


def _movie(session: Session) -> Any:
    return session.get_one(Movie, OTHER_ROW)


LISTS: dict[str, Case] = {
    "values": Case(lambda session, target, folder: [UploadedFile(b"1"), UploadedFile(b"2")], (b"1", b"2")),
    "bytes": Case(lambda session, target, folder: [b"1", b"2"], (b"1", b"2")),
    "all kinds": Case(
        lambda session, target, folder: [FileIntent(b"1", "1.txt"), io.BytesIO(b"2"), _path(folder)],
        (b"1", b"2", b"new"),
    ),
    "one value twice": Case(lambda session, target, folder: [UploadedFile(b"1")] * 2, (b"1", b"1")),
    "stored values of another row": Case(
        lambda session, target, folder: list(_movie(session).screenshots), (b"other 1", b"other 2")
    ),
    "the list of another object": Case(
        lambda session, target, folder: _movie(session).screenshots, (b"other 1", b"other 2")
    ),
    "new ones and those of another row": Case(
        lambda session, target, folder: [b"1", _movie(session).screenshots[1]], (b"1", b"other 2")
    ),
    "nothing": Case(lambda session, target, folder: [], ()),
}
lists = pytest.mark.parametrize("case", LISTS.values(), ids=list(LISTS))


def _other_movie(world: World) -> None:
    add(world, Movie(id=OTHER_ROW, screenshots=[b"other 1", b"other 2"]))


@lists
@outcome
def test_a_new_object_owns_the_files_of_a_plain_list(world: World, tmp_path: Path, case: Case, commit: bool) -> None:
    _other_movie(world)
    with world.session() as session:
        target = Movie()
        plant(target, screenshots=case.make(session, target, tmp_path))
        session.add(target)
        end(session, commit)
        if commit:
            assert read(target.screenshots) == list(case.leaves)
    world.check(b"other 1", b"other 2", *case.leaves if commit else ())


@lists
@outcome
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
def test_a_row_owns_the_files_of_a_plain_list(
    world: World, tmp_path: Path, case: Case, loaded: bool, commit: bool
) -> None:
    """Those that it replaces go with COMMIT."""
    _other_movie(world)
    add(world, Movie(id=ROW, screenshots=[b"old 1", b"old 2"]))
    with world.session() as session:
        target = session.get_one(Movie, ROW)
        if not loaded:
            session.expire(target)
        plant(target, screenshots=case.make(session, target, tmp_path))
        end(session, commit)
    world.check(b"other 1", b"other 2", *case.leaves if commit else (b"old 1", b"old 2"))


@outcome
def test_a_plain_list_of_what_was_assigned_is_what_is_stored(world: World, commit: bool) -> None:
    """What SQLModel leaves there: SQLAlchemy's event has run, and the list it was given takes the place of ours."""
    files = [UploadedFile(b"1"), UploadedFile(b"2")]
    target = Movie()
    target.screenshots = files
    plant(target, screenshots=files)
    with world.session() as session:
        session.add(target)
        end(session, commit)
    world.check(*(b"1", b"2") if commit else ())


@outcome
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
def test_a_plain_list_may_keep_some_of_the_row(world: World, loaded: bool, commit: bool) -> None:
    """What stays in it stays where it is, and the rest goes."""
    add(world, Movie(id=ROW, screenshots=[b"1", b"2", b"3"]))
    with world.session() as session:
        target = session.get_one(Movie, ROW)
        first, _, third = target.screenshots
        paths = [third.path, first.path]
        if not loaded:
            session.expire(target)
        plant(target, screenshots=[third, b"new", first])
        end(session, commit)
        if commit:
            assert read(target.screenshots) == [b"3", b"new", b"1"]
            assert [target.screenshots[0].path, target.screenshots[2].path] == paths
    world.check(*(b"1", b"3", b"new") if commit else (b"1", b"2", b"3"))


def test_after_the_flush_the_list_is_one_that_tells_of_its_changes(world: World) -> None:
    """A plain list would keep its later changes to itself."""
    with world.session() as session:
        target = Movie()
        plant(target, screenshots=[b"1", b"2"])
        session.add(target)
        session.flush()
        put_into: Any = target.screenshots
        put_into.append(b"3")
        session.flush()
        del put_into[0]
        session.commit()
        assert read(target.screenshots) == [b"2", b"3"]
    world.check(b"2", b"3")


def test_a_plain_list_is_not_changed(world: World) -> None:
    """It is the user's own, and may be used again."""
    given: list[Any] = [b"1", UploadedFile(b"2")]
    before = list(given)
    with world.session() as session:
        for _ in range(2):
            target = Movie()
            plant(target, screenshots=given)
            session.add(target)
            session.flush()
            assert all(now is then for now, then in zip(given, before, strict=True))
        session.commit()
    world.check(b"1", b"2", b"1", b"2")


@outcome
def test_both_lists_and_the_single_file_at_once(world: World, commit: bool) -> None:
    """Each by the options of its column."""
    add(world, Movie(id=ROW, poster=b"old", screenshots=[b"old 1"], extras=[b"old 2"]))
    with world.session() as session:
        target = session.get_one(Movie, ROW)
        plant(target, poster=b"p", screenshots=[b"s"], extras=[UploadedFile(b"e")])
        end(session, commit)
    world.check(*(b"p", b"s", b"E", b"signed: e") if commit else (b"old", b"old 1", b"OLD 2", b"signed: old 2"))


# --- tokens of direct uploads -----------------------------------------------------------------------------------------


@pytest.fixture
def token(depots: dict[str, FileStorage]) -> str:
    """The token of a file that a browser has sent to the default depot."""
    DepotManager.configure_signing("a key that is long enough")
    DepotManager.make_middleware(lambda environ, start_response: [])
    made = upload_ticket(filename="sent.txt").token
    found = adoptable(made)
    assert found is not None
    DepotManager.get().create(b"sent", found.filename, "text/plain", file_id=found.file_id)
    return made


@pytest.mark.parametrize("key", ["poster", "screenshots"])
@outcome
def test_a_planted_token_is_adopted(world: World, token: str, key: str, commit: bool) -> None:
    """After a rollback the upload is where it was, and the token works again."""
    uploaded = world.stored()
    target = Movie()
    plant(target, **{key: token if key == "poster" else [token]})
    with world.session() as session:
        session.add(target)
        end(session, commit)
        if not commit:
            assert world.stored() == uploaded
            session.expunge_all()
            session.add(Movie(poster=token))
            session.commit()
    assert not uploaded & world.stored()
    world.check(b"sent")


def test_a_planted_token_that_was_never_used_is_refused(world: World, token: str) -> None:
    nothing = upload_ticket().token
    uploaded = world.stored()
    with world.session() as session:
        target = Document()
        plant(target, content=nothing)
        session.add(target)
        with pytest.raises(InvalidContent, match="never uploaded"):
            session.commit()
        session.rollback()
    assert world.stored() == uploaded


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["assigned", "planted", "planted over an assignment"])
@pytest.mark.parametrize("kind", [UploadedFile, bytes, UploadedImage])
def test_what_comes_into_a_column_of_images_gets_variants(world: World, how: str, kind: Any) -> None:
    """Also a value of the class that makes none."""
    data = image(40, 20)
    portrait = Portrait()
    values = {"photo": kind(data), "photos": [kind(data), kind(data)]}
    if how == "assigned":
        put(portrait, **values)
    else:
        if how != "planted":
            put(portrait, photo=b"x", photos=[b"y"])
        plant(portrait, **values)
    with world.session() as session:
        session.add(portrait)
        session.commit()
        assert portrait.photo is not None
        for each in (portrait.photo, *portrait.photos):
            assert isinstance(each, UploadedImage)
            assert (each.width, each.height, list(each.variants)) == (40, 20, ["small"])
            assert each.file.read() == data
    rows = world.rows()
    assert set(rows) == world.stored()
    assert len(rows) == 6


# --- listeners and validators that give back other objects ------------------------------------------------------------

RETURNED: dict[str, tuple[Callable[[Document, Any], Any], tuple[bytes, ...]]] = {
    "a value": (lambda target, value: UploadedFile(b"returned"), (b"returned",)),
    "bytes": (lambda target, value: b"returned", (b"returned",)),
    "an intent": (lambda target, value: FileIntent(b"returned", "x.txt"), (b"returned",)),
    "the assigned value": (lambda target, value: value, (b"assigned",)),
    "None": (lambda target, value: None, ()),
    "the file of another attribute": (lambda target, value: target.report, (b"report",)),
}


@pytest.mark.parametrize(("give", "leaves"), RETURNED.values(), ids=list(RETURNED))
@outcome
@pytest.mark.parametrize("new", [True, False], ids=["new", "loaded"])
def test_a_set_listener_may_give_back_another_file(
    world: World,
    listen: Listen,
    give: Callable[[Document, Any], Any],
    leaves: tuple[bytes, ...],
    commit: bool,
    new: bool,
) -> None:
    """The row owns the file that the last listener returned."""
    Base.registry.configure()
    if not new:
        add(world, Document(id=ROW, content=b"old"))
    with world.session() as session:
        target = Document() if new else session.get_one(Document, ROW)
        put(target, report=b"report")
        session.add(target)
        listen(
            Document.content,
            "set",
            lambda target, value, old, initiator: give(target, value),
            retval=True,
        )
        put(target, content=b"assigned")
        end(session, commit)
    world.check(*(b"report", *leaves) if commit else () if new else (b"old",))


def _in_order(files: Any) -> list[Any]:
    return sorted(files, key=lambda each: each.filename)


GIVEN_BACK: dict[str, tuple[Callable[[Any], Any], list[bytes]]] = {
    "a sorted list": (_in_order, [b"1", b"2", b"3"]),
    "a tuple": (tuple, [b"3", b"1", b"2"]),
    "a list of bytes": (lambda files: [b"x", b"y"], [b"x", b"y"]),
    "a list with one more": (lambda files: [*files, UploadedFile(b"more")], [b"3", b"1", b"2", b"more"]),
    "a shorter list": (lambda files: list(files)[:1], [b"3"]),
    "an empty list": (lambda files: [], []),
    "None": (lambda files: None, []),
}


@pytest.mark.parametrize(("give", "leaves"), GIVEN_BACK.values(), ids=list(GIVEN_BACK))
@outcome
@pytest.mark.parametrize("new", [True, False], ids=["new", "loaded"])
def test_a_set_listener_may_give_back_another_list(
    world: World, listen: Listen, give: Callable[[Any], Any], leaves: list[bytes], commit: bool, new: bool
) -> None:
    """Registered after ours, it hands SQLAlchemy a list that we have never seen."""
    Base.registry.configure()
    if not new:
        add(world, Movie(id=ROW, screenshots=[b"old"]))
    listen(Movie.screenshots, "set", lambda target, value, old, initiator: give(value), retval=True)
    with world.session() as session:
        target = Movie() if new else session.get_one(Movie, ROW)
        target.screenshots = [UploadedFile(each, filename=f"{each.decode()}.txt") for each in (b"3", b"1", b"2")]
        session.add(target)
        end(session, commit)
        if commit:
            assert read(target.screenshots) == leaves
    world.check(*leaves if commit else () if new else (b"old",))


def test_a_set_listener_may_keep_what_the_row_has(world: World, listen: Listen) -> None:
    """A listener that puts the new files behind those that are there already."""
    Base.registry.configure()
    add(world, Movie(id=ROW, screenshots=[b"1", b"2"]))
    listen(
        Movie.screenshots,
        "set",
        lambda target, value, old, initiator: [*(old if isinstance(old, list) else ()), *value],
        retval=True,
        active_history=True,
    )
    with world.session() as session:
        put(session.get_one(Movie, ROW), screenshots=[b"3"])
        session.commit()
        assert read(session.get_one(Movie, ROW).screenshots) == [b"1", b"2", b"3"]
    world.check(b"1", b"2", b"3")


@outcome
@pytest.mark.parametrize("kind", [UploadedFile, bytes])
def test_validates_may_give_back_other_objects(world: World, commit: bool, kind: Any) -> None:
    with world.session() as session:
        session.add(Catalogue(id=ROW, cover=b"old", pages=[b"old 1", b"old 2"]))
        session.commit()
        catalogue = session.get_one(Catalogue, ROW)
        catalogue.cover = kind(b"new")
        catalogue.pages = [kind(b"new 1"), kind(b"new 2"), catalogue.pages[1]]
        end(session, commit)
        if commit:
            assert read(catalogue.pages) == [b"new 1", b"new 2", b"old 2"]
    cover = b"validated new" if kind is bytes else b"new"
    after = (cover, b"new 1", b"new 2", b"old 2")
    world.check(*after if commit else (b"validated old", b"old 1", b"old 2"))


def test_what_a_before_listener_plants_in_the_flush_is_owned(world: World, listen: Listen) -> None:
    """It comes after ours has looked at the objects."""

    def before(mapper: Any, connection: Any, target: Any) -> None:
        plant(target, screenshots=[b"1", UploadedFile(b"2")], poster=b"poster")

    listen(Movie, "before_insert", before)
    listen(Movie, "before_update", before)
    with world.session() as session:
        session.add(Movie(id=ROW))
        session.commit()
        world.check(b"1", b"2", b"poster")
        session.get_one(Movie, ROW).name = "renamed"
        session.commit()
    world.check(b"1", b"2", b"poster")
