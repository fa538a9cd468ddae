"""Files in every kind of mapped class: inheritance, mixins, composites, deferred columns, cascades, versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session, undefer
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.actions import NEW, OTHER, put
from tests.support.models import (
    Base,
    Captioned,
    Document,
    Employee,
    ExpressLetter,
    Folder,
    Invoice,
    Letter,
    Manager,
    Page,
    Parcel,
    Passport,
    Person,
    Plate,
    Truck,
    Vehicle,
)

outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])

#: A class, what its primary key is, and its file attributes.
KINDS: list[tuple[type[Base], dict[str, Any], tuple[str, ...]]] = [
    (Document, {"id": 1_000_001}, ("content", "report")),
    (Employee, {"id": 1_000_001}, ("photo",)),
    (Manager, {"id": 1_000_001}, ("photo", "contract")),
    (Vehicle, {"id": 1_000_001}, ("picture",)),
    (Truck, {"id": 1_000_001}, ("picture", "manual")),
    (Letter, {"id": 1_000_001}, ("attachment",)),
    (ExpressLetter, {"id": 1_000_001}, ("attachment",)),
    (Invoice, {"id": 1_000_001}, ("attachment",)),
    (Page, {"id": 1_000_001}, ("scan",)),
    (Plate, {"number": 1, "part": 2}, ("image", "original")),
    (Parcel, {"id": 1_000_001}, ("label",)),
]
every_kind = pytest.mark.parametrize(("kind", "key", "attributes"), KINDS, ids=[kind.__name__ for kind, _, _ in KINDS])


def _end(session: Session, commit: bool) -> None:
    session.flush()
    (session.commit if commit else session.rollback)()


def _old(attributes: tuple[str, ...]) -> list[bytes]:
    return [f"old {name}".encode() for name in attributes]


def _new(attributes: tuple[str, ...]) -> list[bytes]:
    return [f"new {name}".encode() for name in attributes]


def _commit_one(world: World, kind: type[Base], key: dict[str, Any], attributes: tuple[str, ...]) -> None:
    with world.session() as session:
        session.add(kind(**key, **dict(zip(attributes, _old(attributes), strict=True))))
        session.commit()
    world.check(*_old(attributes))


def _get(session: Session, kind: type[Base], key: dict[str, Any]) -> Base:
    return session.get_one(kind, tuple(key.values()))


@every_kind
@outcome
def test_a_new_row(
    world: World, kind: type[Base], key: dict[str, Any], attributes: tuple[str, ...], commit: bool
) -> None:
    """Each attribute of each kind of class stores its file with the row."""
    with world.session() as session:
        session.add(kind(**key, **dict(zip(attributes, _new(attributes), strict=True))))
        _end(session, commit)
    world.check(*_new(attributes) if commit else ())


@every_kind
@outcome
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
def test_a_replaced_file(
    world: World, kind: type[Base], key: dict[str, Any], attributes: tuple[str, ...], commit: bool, loaded: bool
) -> None:
    """The old file goes with COMMIT, whether the attribute was loaded, expired or deferred."""
    _commit_one(world, kind, key, attributes)
    with world.session() as session:
        row = _get(session, kind, key)
        if not loaded:
            session.expire(row)
        put(row, **dict(zip(attributes, _new(attributes), strict=True)))
        _end(session, commit)
    world.check(*_new(attributes) if commit else _old(attributes))


@every_kind
@outcome
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
def test_a_deleted_row(
    world: World, kind: type[Base], key: dict[str, Any], attributes: tuple[str, ...], commit: bool, loaded: bool
) -> None:
    """Every file of the row goes with COMMIT, also of attributes that nobody has loaded."""
    _commit_one(world, kind, key, attributes)
    with world.session() as session:
        row = _get(session, kind, key)
        if not loaded:
            session.expire(row)
        session.delete(row)
        _end(session, commit)
    world.check(*() if commit else _old(attributes))


@outcome
def test_a_subclass_that_is_loaded_through_its_parent(world: World, commit: bool) -> None:
    """Its own columns are not loaded with the parent's; they are looked up when the row is deleted."""
    with world.session() as session:
        session.add_all([Truck(picture=b"1", manual=b"2"), Manager(photo=b"3", contract=b"4")])
        session.commit()
    with world.session() as session:
        for row in [*session.scalars(select(Vehicle)), *session.scalars(select(Employee))]:
            session.delete(row)
        _end(session, commit)
    world.check(*() if commit else (b"1", b"2", b"3", b"4"))


# --- composite, renamed and deferred columns ------------------------------------------------------------------------


@outcome
def test_a_file_inside_of_a_composite_is_replaced_with_it(world: World, commit: bool) -> None:
    """The composite sets the attribute, which takes the file as if it had been assigned by itself."""
    with world.session() as session:
        session.add(Plate(number=1, part=1, captioned=Captioned(UploadedFile(b"old"), "old")))
        session.commit()
    with world.session() as session:
        plate = session.get_one(Plate, (1, 1))
        plate.captioned = Captioned(UploadedFile(NEW), "new")
        _end(session, commit)
        assert plate.caption == ("new" if commit else "old")
    world.check(NEW if commit else b"old")


@outcome
def test_a_deferred_attribute_that_was_undeferred_is_like_any_other(world: World, commit: bool) -> None:
    """The old value is known then, and no query looks it up."""
    with world.session() as session:
        session.add(Plate(number=1, part=1, original=b"old"))
        session.commit()
    with world.session() as session:
        plate = session.scalars(select(Plate).options(undefer(Plate.original))).one()
        put(plate, original=NEW)
        _end(session, commit)
    world.check(NEW if commit else b"old")


# --- cascades -------------------------------------------------------------------------------------------------------


def _folder(world: World) -> None:
    with world.session() as session:
        session.add(Folder(id=1_000_001, pages=[Page(scan=b"1"), Page(scan=b"2"), Page(scan=b"3")]))
        session.commit()


@outcome
def test_pages_go_with_their_folder(world: World, commit: bool) -> None:
    """A cascade deletes rows that nobody has loaded, and their files with them."""
    _folder(world)
    with world.session() as session:
        session.delete(session.get_one(Folder, 1_000_001))
        _end(session, commit)
    world.check(*() if commit else (b"1", b"2", b"3"))


@outcome
def test_pages_that_are_taken_out_of_their_folder_are_gone(world: World, commit: bool) -> None:
    """delete-orphan; one that is replaced by another in the same flush too."""
    _folder(world)
    with world.session() as session:
        folder = session.get_one(Folder, 1_000_001)
        folder.pages.sort(key=lambda page: page.id)
        del folder.pages[0]
        folder.pages[0] = Page(scan=NEW)
        _end(session, commit)
    world.check(*(NEW, b"3") if commit else (b"1", b"2", b"3"))


@outcome
def test_a_new_page_that_is_taken_out_before_the_flush_stores_nothing(world: World, commit: bool) -> None:
    """A pending orphan is never written."""
    _folder(world)
    with world.session() as session:
        folder = session.get_one(Folder, 1_000_001)
        page = Page(scan=NEW)
        folder.pages.append(page)
        folder.pages.remove(page)
        folder.name = "renamed"
        _end(session, commit)
    world.check(b"1", b"2", b"3")


@outcome
def test_a_page_that_moves_to_another_folder_keeps_its_file(world: World, commit: bool) -> None:
    """Moved, not orphaned: the row keeps its file, no copy is made."""
    _folder(world)
    stored = world.stored()
    with world.session() as session:
        folder = session.get_one(Folder, 1_000_001)
        other = Folder(name="other")
        session.add(other)
        other.pages.append(folder.pages[0])
        _end(session, commit)
    world.check(b"1", b"2", b"3")
    assert world.stored() == stored


@outcome
@pytest.mark.parametrize("replacement", [NEW, None])
def test_a_one_to_one_that_is_replaced_takes_its_file(world: World, commit: bool, replacement: bytes | None) -> None:
    """Of a relationship to one object with delete-orphan, the old row goes."""
    with world.session() as session:
        session.add(Person(id=1_000_001, passport=Passport(scan=b"old")))
        session.commit()
    with world.session() as session:
        person = session.get_one(Person, 1_000_001)
        person.passport = None if replacement is None else Passport(scan=replacement)
        _end(session, commit)
    world.check(*([replacement] if replacement else []) if commit else (b"old",))


@outcome
def test_merge_cascades_to_pages_with_files(world: World, commit: bool) -> None:
    """A merged folder brings a new page, replaces a file, and loses the pages that it does not have."""
    _folder(world)
    with world.session() as session:
        kept = sorted(session.scalars(select(Page.id)))[0]
    with world.session() as session:
        session.merge(Folder(id=1_000_001, pages=[Page(id=kept, scan=NEW), Page(scan=OTHER)]))
        _end(session, commit)
    world.check(*(NEW, OTHER) if commit else (b"1", b"2", b"3"))


# --- versions -------------------------------------------------------------------------------------------------------


def _change(session: Session, parcel: Parcel) -> None:
    put(parcel, label=NEW)


def _delete(session: Session, parcel: Parcel) -> None:
    session.delete(parcel)


@pytest.mark.parametrize("change", [_change, _delete])
@pytest.mark.filterwarnings("ignore:DELETE statement on table 'parcel':sqlalchemy.exc.SAWarning")
def test_a_row_that_somebody_else_has_changed_keeps_his_file(
    world: World, change: Callable[[Session, Parcel], None]
) -> None:
    """StaleDataError: our new file is gone, the other's file stays; the second attempt, on the fresh row, works."""
    with world.session() as session:
        session.add(Parcel(id=1_000_001, label=b"old"))
        session.commit()
    with world.session() as session:
        parcel = session.get_one(Parcel, 1_000_001)
        assert parcel.label is not None
        session.expunge(parcel)
        session.rollback()
        with world.session() as other:
            put(other.get_one(Parcel, 1_000_001), label=OTHER)
            other.commit()
        session.add(parcel)
        change(session, parcel)
        with pytest.raises(StaleDataError):
            session.commit()
        session.rollback()
        world.check(OTHER)
        change(session, session.get_one(Parcel, 1_000_001))
        session.commit()
    world.check(*(NEW,) if change is _change else ())


def test_a_row_that_somebody_else_has_deleted_leaves_nothing(world: World) -> None:
    """An UPDATE that finds no row is a StaleDataError: the new file goes with the rollback."""
    with world.session() as session:
        session.add(Document(id=1_000_001, content=b"old"))
        session.commit()
    with world.session() as session:
        document = session.get_one(Document, 1_000_001)
        session.expunge(document)
        session.rollback()
        with world.session() as other:
            other.execute(delete(Document))
            other.commit()
        session.add(document)
        put(document, content=NEW)
        with pytest.raises(StaleDataError):
            session.commit()
        session.rollback()
    world.check()
