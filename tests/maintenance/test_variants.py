"""regenerate_variants: variants of a former recipe are made anew, and nothing else is touched."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, ImageRefused, StoredFileNotFound
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.maintenance.run.reports import Progress, RegenerateReport
from depot_lite.maintenance.variants import regenerate_variants
from tests.fields.images import meanwhile
from tests.maintenance.covers import (
    TODAY,
    Base,
    Cover,
    Depots,
    Foldout,
    Sleeve,
    add,
    check_files,
    covers,
    picture,
    recipes,
)


@pytest.fixture
def database(engine: Engine, depots: Depots) -> Iterator[Engine]:
    with covers(engine) as made:
        yield made


def renew(bind: Any, **options: Any) -> RegenerateReport:
    return regenerate_variants(bind, models=[Base], **options)


def names(value: UploadedImage | None) -> dict[str, tuple[int, int]]:
    """Return the stored variants with the sizes that their bytes have."""
    assert value is not None
    found = {}
    for name in value["variants"]:
        with value.variants[name].file as stored, Image.open(io.BytesIO(stored.read())) as opened:
            found[name] = opened.size
    return found


def test_variants_are_made_by_the_recipes_of_today(database: Engine, depots: Depots) -> None:
    """Single images, lists, and images of subclasses in either kind of table; the former files go."""
    add(
        database,
        Cover(id=1, front=picture(), pages=[picture(), picture(40, 60)], text=b"text"),
        Foldout(id=2, front=picture(), inside=picture()),
        Sleeve(id=3, spine=picture()),
        Cover(id=4),
    )
    recipes(TODAY)
    report = renew(database)
    assert (report.outdated, report.regenerated, report.changed, report.failed) == (5, 5, 0, [])
    with Session(database) as session:
        cover, foldout, sleeve = (session.get_one(Cover, number) for number in (1, 2, 3))
        assert isinstance(foldout, Foldout)
        assert isinstance(sleeve, Sleeve)
        for each in (cover.front, cover.pages[0], foldout.front, foldout.inside, sleeve.spine):
            assert names(each) == {"small": (20, 13), "square": (10, 10)}
        assert names(cover.pages[1]) == {"small": (13, 20), "square": (10, 10)}
    check_files(database, depots)
    again = renew(database)
    assert (again.outdated, again.regenerated) == (0, 0)


def test_what_is_up_to_date_stays_as_it_is(database: Engine, depots: Depots) -> None:
    """Other rows, and the other elements of a list."""
    add(database, Cover(id=1, pages=[picture()]))
    recipes(TODAY)
    add(database, Cover(id=2, front=picture()))
    with Session(database) as session:
        session.get_one(Cover, 1).pages.append(UploadedImage(picture()))
        session.commit()
        before = list(session.get_one(Cover, 1).pages)
        front = session.get_one(Cover, 2).front
        assert front is not None
    assert renew(database).regenerated == 1
    with Session(database) as session:
        after = list(session.get_one(Cover, 1).pages)
        assert [each.path for each in after] == [each.path for each in before]
        assert (after[0] == before[0], after[1] == before[1]) == (False, True)
        assert session.get_one(Cover, 2).front == front
    check_files(database, depots)


def test_a_dry_run_changes_nothing(database: Engine, depots: Depots) -> None:
    """It counts."""
    add(database, Cover(id=1, front=picture()), Cover(id=2, front=picture()))
    recipes(TODAY)
    before = set(depots["default"].list())
    report = renew(database, dry_run=True)
    assert (report.outdated, report.regenerated) == (2, None)
    assert set(depots["default"].list()) == before


def test_images_from_before_get_their_placeholder(
    database: Engine, depots: Depots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With their variants or alone; originals and variants stay, and a second run renders nothing."""
    add(database, Cover(id=1, front=picture(), pages=[picture(), picture(40, 60)], text=b"text"))
    before = held(database)
    monkeypatch.setattr(UploadedImage, "placeholder", True)
    assert renew(database, dry_run=True).outdated == 2
    report = renew(database)
    assert (report.outdated, report.regenerated, report.failed) == (2, 2, [])
    after = held(database)
    assert [(each.path, each["variants"]) for each in after] == [(each.path, each["variants"]) for each in before]
    assert [(len(each.blurhash or ""), each.dominant_colour) for each in after] == [(28, "#ff0000")] * 3
    check_files(database, depots)
    assert renew(database).outdated == 0


def test_a_session_that_has_loaded_the_row_before_keeps_its_placeholder(
    database: Engine, depots: Depots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it keeps variants; and the placeholder of an image that was replaced meanwhile is not entered."""
    add(database, *(Cover(id=number, front=picture()) for number in (1, 2, 3)))
    monkeypatch.setattr(UploadedImage, "placeholder", True)
    with meanwhile(monkeypatch, partial(replace_front, database)):
        report = renew(database, columns=["variants_cover.front"])
    assert (report.outdated, report.regenerated, report.changed) == (3, 1, 2)
    with Session(database, expire_on_commit=False) as session:
        monkeypatch.setattr(UploadedImage, "placeholder", False)
        cover = Cover(id=4, front=picture())
        session.add(cover)
        session.commit()
        monkeypatch.setattr(UploadedImage, "placeholder", True)
        assert renew(database).regenerated == 1
        assert cover.front is not None
        assert cover.front.blurhash is None
        cover.front = cover.front.with_(meta={"alt": "A cover"})
        session.commit()
        session.refresh(cover)
        assert cover.front.blurhash is not None
    check_files(database, depots)


def held(engine: Engine) -> list[UploadedImage]:
    """Return the images of all rows."""
    with Session(engine) as session:
        found = session.query(Cover).order_by(Cover.id).all()
        return [image for each in found for image in (each.front, *each.pages) if image is not None]


def test_progress_moves_with_each_file_and_has_a_total(
    database: Engine, depots: Depots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for the images of a list, those that fail, and rows that are gone meanwhile; each is counted once."""
    monkeypatch.setattr("depot_lite.maintenance.run.reports._INTERVAL", 0)
    add(database, *(Cover(id=number, pages=[picture(), picture()]) for number in range(1, 4)), Cover(id=4))
    recipes(TODAY)
    add(database, Cover(id=5, pages=[picture()]))
    with Session(database) as session:
        depots["default"].delete(session.get_one(Cover, 2).pages[0].file_id)
    seen: list[Progress] = []

    def watch(progress: Progress) -> None:
        seen.append(progress)
        if progress.done == 2:
            with Session(database) as session:
                session.delete(session.get_one(Cover, 3))
                session.commit()

    report = renew(database, columns=["variants_cover.pages"], progress=watch)
    assert (report.regenerated, report.changed, len(report.failed)) == (2, 1, 1)
    assert {(each.step, each.unit, each.total) for each in seen} == {("regenerating variants_cover.pages", "files", 7)}
    # The image of today is counted at once, and the end is told as well.
    assert [each.done for each in seen] == [1, 2, 3, 4, 5, 6, 7, 7, 7]


def test_one_that_fails_does_not_keep_the_others(database: Engine, depots: Depots) -> None:
    """An original that has gone, and one that is no image any more."""
    covers = [Cover(id=number, front=picture()) for number in range(1, 7)]
    add(database, *covers)
    fronts = [cover.front for cover in covers]
    assert fronts[1] is not None
    assert fronts[4] is not None
    depots["default"].delete(fronts[1].file_id)
    depots["default"].replace(fronts[4].file_id, b"no image at all")
    recipes(TODAY)
    report = renew(database, batch=4)
    assert (report.outdated, report.regenerated) == (6, 4)
    errors = {each.key[0]: each.error for each in report.failed}
    assert set(errors) == {2, 5}
    assert isinstance(errors[2], StoredFileNotFound)
    assert isinstance(errors[5], ImageRefused)
    assert {each.place for each in report.failed} == {"variants_cover.front"}
    recipes(TODAY)
    again = renew(database)
    assert (again.outdated, again.regenerated, len(again.failed)) == (2, 0, 2)


def test_columns_and_a_limit_say_what_is_taken(database: Engine, depots: Depots) -> None:
    """The next call takes the rest."""
    add(database, *(Cover(id=number, front=picture(), pages=[picture()]) for number in range(1, 6)))
    recipes(TODAY)
    assert renew(database, columns=["variants_cover.front"], where="id < 0").rows == 0
    assert renew(database, columns=["variants_cover.front"], limit=3).regenerated == 3
    assert renew(database, columns=["variants_cover.front"], limit=3).regenerated == 2
    assert renew(database, columns=["variants_cover.front"]).regenerated == 0
    assert renew(database, limit=0).regenerated == 0
    assert renew(database).regenerated == 5
    check_files(database, depots)


def replace_front(engine: Engine) -> None:
    with Session(engine) as session:
        session.get_one(Cover, 2).front = UploadedImage(picture(30, 30))
        session.delete(session.get_one(Cover, 3))
        session.commit()


def test_a_row_that_is_replaced_before_its_turn_is_left_alone(database: Engine, depots: Depots) -> None:
    """It is looked at as it is when it is locked."""
    add(database, *(Cover(id=number, front=picture()) for number in range(1, 4)))
    recipes(TODAY)
    left = [1]

    def meanwhile(progress: Progress) -> None:
        if left and not progress.finished:
            left.clear()
            replace_front(database)

    # The first report of progress comes after the first batch, of one row.
    report = renew(database, columns=["variants_cover.front"], batch=1, progress=meanwhile)
    assert not left
    assert (report.outdated, report.regenerated, report.changed, report.failed) == (3, 1, 2, [])
    with Session(database) as session:
        assert names(session.get_one(Cover, 2).front) == {"small": (20, 20), "square": (10, 10)}
    check_files(database, depots)


@pytest.mark.parametrize("begins", ["by itself", "as its driver does"])
def test_an_image_that_is_replaced_while_its_variants_are_made_stays_replaced(
    database: Engine, depots: Depots, monkeypatch: pytest.MonkeyPatch, begins: str
) -> None:
    """No row is locked meanwhile, and the variants of the old image go."""
    engine = database
    if begins != "by itself":
        if database.dialect.name != "sqlite":
            pytest.skip("a matter of SQLite's driver")
        engine = create_engine(database.url)
    add(engine, *(Cover(id=number, front=picture()) for number in range(1, 4)))
    recipes(TODAY)
    with meanwhile(monkeypatch, partial(replace_front, database)):
        report = renew(engine)
    assert (report.outdated, report.regenerated, report.changed, report.failed) == (3, 1, 2, [])
    with Session(engine) as session:
        assert names(session.get_one(Cover, 2).front) == {"small": (20, 20), "square": (10, 10)}
    check_files(engine, depots)
    if engine is not database:
        engine.dispose()


def test_all_else_in_the_row_stays_also_if_it_is_changed_meanwhile(
    database: Engine, depots: Depots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The original keeps its path, and another session has given it a name and metadata."""
    add(database, Cover(id=1, front=picture(), pages=[picture(), picture(40, 60)]))
    with Session(database) as session:
        before = session.get_one(Cover, 1)
        paths = [each.path for each in (before.front, *before.pages) if each is not None]
    recipes(TODAY)

    def edit() -> None:
        with Session(database) as session:
            cover = session.get_one(Cover, 1)
            assert cover.front is not None
            cover.front = cover.front.with_(meta={"alt": "A sleeve"})
            cover.pages.reverse()
            session.commit()

    with meanwhile(monkeypatch, edit):
        assert renew(database).regenerated == 2
    with Session(database) as session:
        cover = session.get_one(Cover, 1)
        assert cover.front is not None
        assert [cover.front.path, *(each.path for each in reversed(cover.pages))] == paths
        assert cover.front.meta == {"alt": "A sleeve"}
        assert names(cover.front) == {"small": (20, 13), "square": (10, 10)}
        assert [names(each)["small"] for each in cover.pages] == [(13, 20), (20, 13)]
    check_files(database, depots)


def test_of_two_at_once_one_enters_its_variants(
    database: Engine, depots: Depots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of the other go, of which its report tells."""
    add(database, Cover(id=1, front=picture()))
    recipes(TODAY)
    reports = list[RegenerateReport]()
    with meanwhile(monkeypatch, lambda: reports.append(renew(database))):
        reports.append(renew(database))
    assert [(each.regenerated, each.changed) for each in reports] == [(1, 0), (0, 1)]
    check_files(database, depots)


def test_an_interrupted_run_leaves_no_file_and_the_next_does_the_rest(
    database: Engine, depots: Depots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a batch."""
    add(database, *(Cover(id=number, front=picture()) for number in range(1, 8)))
    recipes(TODAY)
    original, calls = UploadedImage.make_variants, [0]

    def interrupted(self: UploadedImage, *arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise KeyboardInterrupt
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(UploadedImage, "make_variants", interrupted)
        with pytest.raises(KeyboardInterrupt):
            renew(database, batch=3)
    check_files(database, depots)
    assert renew(database).regenerated == 4
    check_files(database, depots)


def test_a_session_lends_its_engine_and_keeps_its_transaction(database: Engine, depots: Depots) -> None:
    """Its uncommitted changes stay uncommitted."""
    add(database, Cover(id=1, front=picture()))
    recipes(TODAY)
    with Session(database) as session:
        assert renew(session).regenerated == 1
        assert not session.in_transaction()


def test_what_cannot_commit_by_itself_is_refused(database: Engine, depots: Depots) -> None:
    """A connection, and a session that is bound to one."""
    add(database, Cover(id=1, front=picture()))
    recipes(TODAY)
    with database.connect() as connection, Session(connection) as session:
        for bind in (connection, session):
            with pytest.raises(ConfigurationError, match="an engine"):
                renew(bind)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch=0: expected"),
        ({"limit": -1}, "limit=-1: expected"),
        ({"columns": "variants_cover.front"}, "a list of names"),
        ({"columns": ["variants_cover.text"]}, "is not an image column"),
        ({"columns": ["nowhere.front"]}, "there is variants_cover.front"),
    ],
)
def test_arguments_that_cannot_be_are_refused(database: Engine, options: dict[str, Any], message: str) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigurationError, match=message):
        renew(database, **options)
