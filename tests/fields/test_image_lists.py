"""Many images in one column: each element has variants of its own, which follow it wherever it goes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from depot_lite.errors import CountRefused, ImageRefused, SeveralRefused, StorageFailed
from depot_lite.fields.specialized.image import UploadedImage, regenerate
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.validators import MaxCount
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.content import FileIntent
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.images import Failing, files, image, read
from tests.support.models import Base


class Film(Base):
    """A poster, and up to three screenshots; both are images, with different variants."""

    __tablename__ = "film_with_screenshots"
    id: Mapped[int] = mapped_column(primary_key=True)
    poster: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"cover": Crop(40, 60)})
    )
    screenshots: Mapped[list[UploadedImage]] = mapped_column(
        UploadedFileField(
            multiple=True,
            upload_type=UploadedImage,
            upload_storage="archive",
            variants={"small": Thumbnail(64, 64), "square": Crop(32, 32, format="PNG")},
            validators=[MaxCount(3)],
        )
    )


_COLOURS = {(True, False, False): "red", (False, True, False): "lime", (False, False, True): "blue"}


def shot(colour: str) -> UploadedImage:
    """Return a pending image that is called by the colour of its left half."""
    return UploadedImage(image(colour=colour), filename=f"{colour}.jpg")


def add(world: World, *colours: str, poster: str | None = None) -> None:
    """Commit the film 1, with screenshots of these colours."""
    with world.session() as session:
        film = Film(id=1, poster=None if poster is None else shot(poster), screenshots=[shot(each) for each in colours])
        session.add(film)
        session.commit()


def shown(value: UploadedImage) -> str:
    """Return the colour of an image, which is that of its variants too, and by which all of them are called."""
    stored = {"": value.file, **{f"-{name}": each.file for name, each in value.variants.items()}}
    colour = value.filename.partition(".")[0]
    for name, file in stored.items():
        assert file.filename.partition(".")[0] == colour + name
        with Image.open(io.BytesIO(read(file))) as opened:
            pixel: Any = opened.convert("RGB").getpixel((2, opened.height // 2))
            assert _COLOURS[tuple(channel > 127 for channel in pixel)] == colour
    return colour


def check(world: World, *screenshots: str, poster: str | None = None, **others: tuple[str, ...]) -> None:
    """Check the files of the film 1, of others as ``_2=("red",)``, that all variants are there, and no other file."""
    expected = {1: screenshots, **{int(name[1:]): colours for name, colours in others.items()}}
    with world.session() as session:
        films = {film.id: film for film in session.scalars(select(Film))}
        assert {number: tuple(map(shown, film.screenshots)) for number, film in films.items()} == expected
        for film in films.values():
            assert [list(each.variants) for each in film.screenshots] == [["small", "square"]] * len(film.screenshots)
        covers = [film.poster for film in films.values() if film.poster is not None]
        assert [(shown(each), list(each.variants)) for each in covers] == ([(poster, ["cover"])] if poster else [])
        paths = [path for film in films.values() for each in film.screenshots for path in each.files]
        paths += [path for each in covers for path in each.files]
    assert len(paths) == 3 * sum(map(len, expected.values())) + 2 * len(covers)
    assert set(paths) == set(files(world))
    assert len(set(paths)) == len(paths)


# --- what lives and dies ----------------------------------------------------------------------------------------------


def test_each_image_of_a_list_is_stored_with_its_variants(world: World) -> None:
    """In the depot of the list, beside a poster that has others."""
    add(world, "red", "lime", "blue", poster="red")
    check(world, "red", "lime", "blue", poster="red")
    with world.session() as session:
        first = session.get_one(Film, 1).screenshots[0]
        small, square = first.variants["small"], first.variants["square"]
        assert (first.width, first.height) == (300, 200)
        assert (small.filename, small.width, small.height) == ("red-small.jpg", 64, 43)
        assert (square.filename, square.width, square.height) == ("red-square.png", 32, 32)
        assert first.files == [first.path, small.path, square.path]
        assert {path.partition("/")[0] for path in first.files} == {"archive"}


def test_an_image_that_is_appended_leaves_the_others_where_they_are(world: World) -> None:
    add(world, "red")
    before = files(world)
    with world.session() as session:
        film = session.get_one(Film, 1)
        film.screenshots.append(shot("lime"))
        session.flush()
        assert len(world.stored()) == 6
        session.commit()
    check(world, "red", "lime")
    assert before.items() <= files(world).items()


def test_an_image_that_is_removed_takes_its_variants_along_at_the_commit(world: World) -> None:
    add(world, "red", "lime", "blue")
    with world.session() as session:
        film = session.get_one(Film, 1)
        gone = set(film.screenshots.pop(1).files)
        session.flush()
        assert gone < world.stored()
        session.commit()
    check(world, "red", "blue")
    assert not gone & world.stored()


def test_an_image_that_is_replaced_takes_its_variants_along(world: World) -> None:
    add(world, "red", "lime")
    with world.session() as session:
        session.get_one(Film, 1).screenshots[0] = shot("blue")
        session.commit()
    check(world, "blue", "lime")


def test_another_order_moves_no_file(world: World) -> None:
    add(world, "red", "lime", "blue")
    before = files(world)
    with world.session() as session:
        session.get_one(Film, 1).screenshots.sort(key=lambda each: each.filename)
        session.commit()
    check(world, "blue", "lime", "red")
    assert files(world) == before


def test_a_deleted_row_takes_all_variants_along(world: World) -> None:
    add(world, "red", "lime", poster="blue")
    assert len(world.stored()) == 8
    with world.session() as session:
        session.delete(session.get_one(Film, 1))
        session.commit()
    assert files(world) == {}


# --- rollbacks --------------------------------------------------------------------------------------------------------


def test_a_rollback_takes_new_variants_back_and_keeps_the_former_and_the_images_can_be_flushed_again(
    world: World,
) -> None:
    add(world, "red", "lime")
    before = files(world)
    with world.session() as session:
        film, new = session.get_one(Film, 1), shot("blue")
        for _ in range(2):
            film.screenshots[0] = new
            session.flush()
            assert len(world.stored()) == 9
            session.rollback()
            assert files(world) == before
            assert (new.pending, len(new.variants), "variants" in new) == (True, 0, False)
        check(world, "red", "lime")
        film.screenshots[0] = new
        session.commit()
    check(world, "blue", "lime")


def test_a_savepoint_that_is_rolled_back_gives_the_former_variants_back(world: World) -> None:
    add(world, "red")
    with world.session() as session:
        film = session.get_one(Film, 1)
        film.screenshots.append(shot("lime"))
        session.flush()
        outer = world.stored()
        savepoint = session.begin_nested()
        film.screenshots[:] = [shot("blue"), film.screenshots[1]]
        session.flush()
        assert len(world.stored()) == 9
        savepoint.rollback()
        assert list(map(shown, film.screenshots)) == ["red", "lime"]
        session.commit()
    assert world.stored() == outer
    check(world, "red", "lime")


# --- what goes elsewhere ----------------------------------------------------------------------------------------------


def test_a_list_that_is_assigned_to_another_row_is_copied_with_its_variants(world: World) -> None:
    """The copies have files of their own: they stay when the originals go."""
    add(world, "red", "lime")
    with world.session() as session:
        session.add(Film(id=2, screenshots=session.get_one(Film, 1).screenshots))
        session.commit()
        check(world, "red", "lime", _2=("red", "lime"))
        ours, theirs = (session.get_one(Film, number).screenshots[0].variants["small"] for number in (2, 1))
        assert (ours.recipe, ours.width, read(ours.file)) == (theirs.recipe, theirs.width, read(theirs.file))
        session.get_one(Film, 1).screenshots.clear()
        session.commit()
    check(world, _2=("red", "lime"))


def test_an_image_that_is_moved_to_another_row_has_its_variants_there(world: World) -> None:
    add(world, "red", "lime")
    with world.session() as session:
        other = Film(id=2)
        session.add(other)
        other.screenshots.append(session.get_one(Film, 1).screenshots.pop(0))
        session.commit()
    check(world, "lime", _2=("red",))


def test_the_same_image_twice_is_two_images_with_their_variants(world: World) -> None:
    add(world, "red")
    with world.session() as session:
        film = session.get_one(Film, 1)
        film.screenshots.append(film.screenshots[0])
        session.commit()
        check(world, "red", "red")
        del film.screenshots[0]
        session.commit()
    check(world, "red")


def test_an_image_has_the_variants_of_the_attribute_that_it_goes_to(world: World) -> None:
    """From the list to the poster and from the poster into the list, in one flush and between two depots."""
    add(world, "red", "lime", poster="blue")
    with world.session() as session:
        film = session.get_one(Film, 1)
        put(film, poster=film.screenshots[0], screenshots=[film.poster, film.screenshots[1]])
        session.commit()
    check(world, "blue", "lime", poster="red")


@pytest.mark.matrix
def test_one_image_of_a_list_is_regenerated(world: World) -> None:
    add(world, "red", "lime")
    before = files(world)
    with world.session() as session:
        film = session.get_one(Film, 1)
        film.screenshots[1] = regenerate(film.screenshots[1])
        session.flush()
        session.rollback()
        assert files(world) == before
        film.screenshots[1] = regenerate(film.screenshots[1])
        session.commit()
        kept, renewed = film.screenshots
        assert set(kept.files) < set(before)
        assert not set(renewed.files) & set(before)
    check(world, "red", "lime")


# --- statements -------------------------------------------------------------------------------------------------------


def test_statements_write_and_delete_lists_with_all_variants(world: World) -> None:
    add(world, "red", "lime")
    with world.session() as session:
        session.add(Film(id=2, screenshots=[shot("blue")]))
        session.flush()
        session.execute(update(Film).values(screenshots=[shot("lime"), shot("red")]))
        session.commit()
        check(world, "lime", "red", _2=("lime", "red"))
        session.execute(delete(Film).where(Film.id == 2))
        session.commit()
    check(world, "lime", "red")


def test_keys_of_variants_are_selected_from_sql(world: World) -> None:
    add(world, "red", "lime")
    width = Film.screenshots[1]["variants"]["small"]["width"].as_integer()
    with world.session() as session:
        assert session.scalars(select(Film.id).where(width == 64)).all() == [1]
        assert session.scalars(select(Film.id).where(width > 64)).all() == []


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_a_list_of_images_tells_which_of_them(world: World) -> None:
    """Everything at once, before anything is stored."""
    add(world, "red", "lime")
    before = files(world)
    with world.session() as session:
        film = session.get_one(Film, 1)
        film.screenshots.insert(0, UploadedImage(b"no image", filename="notes.jpg"))
        film.screenshots.append(shot("blue"))
        with pytest.raises(SeveralRefused) as refused:
            session.flush()
        assert [(type(each), each.rule, each.column, each.index, each.filename) for each in refused.value.errors] == [
            (CountRefused, "max_count", "Film.screenshots", None, None),
            (ImageRefused, "format", "Film.screenshots", 0, "notes.jpg"),
        ]
        messages = refused.value.by_field["screenshots"]
        assert messages[0] == "4 files, at most 3 are allowed"
        assert messages[1].startswith("notes.jpg: the file is not an image that can be read;")
        session.rollback()
        assert files(world) == before
        film.screenshots.append(shot("blue"))
        session.commit()
    check(world, "red", "lime", "blue")


def test_an_image_that_breaks_off_is_named_and_the_others_leave_nothing(world: World) -> None:
    """Its header is whole, so it is found when it is decoded, while others of the list may be stored already."""
    add(world, "red")
    before = files(world)
    with world.session() as session:
        film = session.get_one(Film, 1)
        film.screenshots += [shot("lime"), UploadedImage(FileIntent(image()[:-500], "broken.jpg"))]
        with pytest.raises(ImageRefused, match="broken or truncated") as refused:
            session.flush()
        assert (refused.value.column, refused.value.filename) == ("Film.screenshots", "broken.jpg")
        session.rollback()
        assert files(world) == before
    check(world, "red")


def test_an_image_that_breaks_off_tells_its_index(world: World) -> None:
    with world.session() as session:
        session.add(Film(id=1, screenshots=[shot("red"), UploadedImage(image()[:-500], filename="broken.jpg")]))
        with pytest.raises(ImageRefused) as refused:
            session.flush()
        assert refused.value.index == 1


def test_a_variant_that_cannot_be_stored_takes_the_other_images_along(engine: Engine) -> None:
    """And all of them wait again, as they were."""
    with temporary_depots(), Session(engine) as session:
        storage = DepotManager.configure("archive", Failing("lime-square.png"))
        film = Film(id=1, screenshots=[shot("red"), shot("lime")])
        session.add(film)
        with pytest.raises(StorageFailed, match="the disk is full"):
            session.flush()
        assert list(storage.list()) == []
        assert [(each.pending, each.files, "width" in each) for each in film.screenshots] == [(True, [], False)] * 2
