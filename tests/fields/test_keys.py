"""Keys as the database compares them: what finds a row for SQLAlchemy finds its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pytest
from sqlalchemy import CHAR, Numeric, String, Uuid, delete, literal, select, update
from sqlalchemy.orm import Mapped, Session, make_transient_to_detached, mapped_column

from depot_lite.errors import InvalidContent
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.statements import add, changed
from tests.support.models import Base, Document, Plate

outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])

# SQLAlchemy says so of each Numeric on SQLite; keys with two decimals survive the way through a float.
pytestmark = pytest.mark.filterwarnings("ignore:Dialect sqlite.*does \\*not\\* support Decimal")


class WithFiles:
    """What all the models here have beside their key."""

    name: Mapped[str | None]
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))


class NumberKey(WithFiles, Base):
    __tablename__ = "number_key"
    id: Mapped[int] = mapped_column(primary_key=True)


class PaddedKey(WithFiles, Base):
    __tablename__ = "padded_key"
    id: Mapped[str] = mapped_column(CHAR(10), primary_key=True)


class FoldedKey(WithFiles, Base):
    """Capitals are the same as small letters; MariaDB does so unless it is told otherwise."""

    __tablename__ = "folded_key"
    id: Mapped[str] = mapped_column(String(36).with_variant(String(36, collation="NOCASE"), "sqlite"), primary_key=True)


class UuidKey(WithFiles, Base):
    __tablename__ = "uuid_key"
    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)


class DecimalKey(WithFiles, Base):
    __tablename__ = "decimal_key"
    id: Mapped[Any] = mapped_column(Numeric(10, 2), primary_key=True, autoincrement=False)


class CompositeKey(WithFiles, Base):
    __tablename__ = "composite_key"
    area: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


@dataclass(frozen=True)
class Case:
    """A key as it was written first, and as somebody gives it later; only these databases say that it is the same."""

    model: Any
    stored: Any
    given: Any
    dialects: tuple[str, ...] = ("sqlite", "postgresql", "mariadb")
    part: Any = None

    @property
    def keys(self) -> dict[str, Any]:
        return {"id": self.given, **({} if self.part is None else {"area": self.part})}

    def row(self, key: Any, **values: Any) -> Any:
        """Return a new object with this key."""
        return self.model(**{**self.keys, "id": key}, **values)

    @property
    def found(self) -> Any:
        """The condition that finds the row."""
        condition = self.model.id == literal(self.given, self.model.id.type)  # a str of its own would be a VARCHAR
        return condition if self.part is None else condition & (self.model.area == self.part)

    def detached(self, session: Session) -> Any:
        """Return an object of which nothing is known but its key."""
        made = self.row(self.given)
        for name in ("content", "pages", "name"):
            made.__dict__.pop(name, None)
        make_transient_to_detached(made)
        session.add(made)
        return made

    def loaded(self, session: Session) -> Any:
        return session.get_one(self.model, self.given if self.part is None else (self.part, self.given))


UUID: Final = "0b7d53ac-5d5a-4a9f-8c39-fbe1a0a4f0de"
CASES: dict[str, Case] = {
    "text for an integer": Case(NumberKey, 1, "1"),
    "padding left out": Case(PaddedKey, "ab", "ab"),
    "padding given": Case(PaddedKey, "ab", "ab        ", ("postgresql", "mariadb")),
    "capitals in text": Case(FoldedKey, UUID, UUID.upper(), ("sqlite", "mariadb")),
    "capitals in a UUID": Case(UuidKey, UUID, UUID.upper(), ("postgresql", "mariadb")),
    "a float for a decimal": Case(DecimalKey, Decimal("0.10"), 0.1),
    "a decimal with fewer digits": Case(DecimalKey, Decimal("1.50"), Decimal("1.5")),
    "an integer for a decimal": Case(DecimalKey, Decimal("2.00"), 2),
    "text in a composite key": Case(CompositeKey, 7, "7", part="north"),
}

OLD: Final = (b"old", b"page 1", b"page 2")
Done = Callable[[Session, Case], object]


def _replace(document: Any) -> None:
    document.content = UploadedFile(b"new")


def _append(document: Any) -> None:
    document.pages.append(UploadedFile(b"page 3"))


def _remove(document: Any) -> None:
    del document.pages[0]


def _both(document: Any) -> None:
    document.content = None
    document.pages = [UploadedFile(b"only")]


CHANGES: dict[str, tuple[Callable[[Any], None], tuple[bytes, ...]]] = {
    "replaced": (_replace, (b"new", b"page 1", b"page 2")),
    "appended": (_append, (*OLD, b"page 3")),
    "removed": (_remove, (b"old", b"page 2")),
    "emptied and listed": (_both, (b"only",)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, world: World) -> Case:
    """A row under the key as it is stored, with a file and two pages, and one beside it that nothing is done to."""
    chosen = CASES[request.param]
    if world.engine.dialect.name not in chosen.dialects:
        pytest.skip("these are two keys here")
    add(world, chosen.row(chosen.stored, content=b"old", pages=[b"page 1", b"page 2"]))
    return chosen


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("held", ["detached", "loaded"])
@outcome
def test_an_object_under_the_key_as_it_was_given(world: World, case: Case, name: str, held: str, commit: bool) -> None:
    change, after = CHANGES[name]
    with world.session() as session:
        change(case.detached(session) if held == "detached" else case.loaded(session))
        session.flush()
        (session.commit if commit else session.rollback)()
    world.check(*(after if commit else OLD))


@pytest.mark.parametrize("held", ["detached", "loaded"])
@outcome
def test_an_object_that_is_deleted_under_the_key_as_it_was_given(
    world: World, case: Case, held: str, commit: bool
) -> None:
    with world.session() as session:
        session.delete(case.detached(session) if held == "detached" else case.loaded(session))
        session.flush()
        (session.commit if commit else session.rollback)()
    world.check(*(() if commit else OLD))


@pytest.mark.parametrize("name", CHANGES)
def test_an_object_that_was_added_under_the_key_as_it_was_given(world: World, case: Case, name: str) -> None:
    """It keeps the key as it was given, through commits and a rollback, while the row has it in the database's form."""
    change, after = CHANGES[name]
    with world.session() as session:
        session.delete(case.loaded(session))
        session.commit()
        document = case.row(case.given, content=b"old", pages=[b"page 1", b"page 2"])
        session.add(document)
        session.commit()
        world.check(*OLD)
        change(document)
        session.flush()
        session.rollback()
        world.check(*OLD)
        change(document)
        session.commit()
        world.check(*after)
        session.delete(document)
        session.commit()
    world.check()


def _update(session: Session, case: Case) -> None:
    assert changed(session.execute(update(case.model).where(case.found).values(content=b"new"))) == 1


def _update_by_key(session: Session, case: Case) -> None:
    session.execute(update(case.model), [{**case.keys, "content": b"new"}])


def _update_the_list(session: Session, case: Case) -> None:
    session.execute(update(case.model), [{**case.keys, "pages": [UploadedFile(b"only")]}])


def _update_mappings(session: Session, case: Case) -> None:
    session.bulk_update_mappings(case.model, [{**case.keys, "content": b"new"}])


def _save_objects(session: Session, case: Case) -> None:
    document = case.detached(session)
    session.expunge(document)
    document.content = UploadedFile(b"new")
    session.bulk_save_objects([document])


def _delete(session: Session, case: Case) -> None:
    assert changed(session.execute(delete(case.model).where(case.found))) == 1


def _query_delete(session: Session, case: Case) -> None:
    assert session.query(case.model).filter(case.found).delete(synchronize_session=False) == 1


STATEMENTS: dict[str, tuple[Callable[[Session, Case], None], tuple[bytes, ...]]] = {
    "update": (_update, (b"new", b"page 1", b"page 2")),
    "update by key": (_update_by_key, (b"new", b"page 1", b"page 2")),
    "update of a list by key": (_update_the_list, (b"old", b"only")),
    "bulk_update_mappings": (_update_mappings, (b"new", b"page 1", b"page 2")),
    "bulk_save_objects": (_save_objects, (b"new", b"page 1", b"page 2")),
    "delete": (_delete, ()),
    "Query.delete": (_query_delete, ()),
}


@pytest.mark.parametrize("name", STATEMENTS)
@outcome
def test_a_statement_with_the_key_as_it_was_given(world: World, case: Case, name: str, commit: bool) -> None:
    execute, after = STATEMENTS[name]
    with world.session() as session:
        execute(session, case)
        (session.commit if commit else session.rollback)()
    world.check(*(after if commit else OLD))


# --- keys that change -------------------------------------------------------------------------------------------------


def _move(session: Session) -> None:
    session.get_one(Document, 1).id = 5


def _move_and_replace(session: Session) -> None:
    first = session.get_one(Document, 1)
    first.id, first.content = 5, UploadedFile(b"new")


def _move_twice(session: Session) -> None:
    first = session.get_one(Document, 1)
    first.id, first.content = 5, UploadedFile(b"newer")
    session.flush()
    first.id, first.content = 6, UploadedFile(b"new")


def _move_to_and_fro(session: Session) -> None:
    first = session.get_one(Document, 1)
    first.id, first.content = 5, UploadedFile(b"new")
    session.flush()
    first.id = 1


def _move_and_delete(session: Session) -> None:
    first = session.get_one(Document, 1)
    first.id, first.content = 5, UploadedFile(b"new")
    session.flush()
    session.delete(first)


def _take_the_place(session: Session) -> None:
    first, second = session.get_one(Document, 1), session.get_one(Document, 2)
    session.delete(first)
    session.flush()
    second.id, second.content = 1, UploadedFile(b"new")


def _change_places(session: Session) -> None:
    first, second = session.get_one(Document, 1), session.get_one(Document, 2)
    first.id, first.content = 9, UploadedFile(b"new")
    session.flush()
    second.id = 1
    session.flush()
    first.id = 2


def _switch_rows(session: Session) -> None:
    """One flush deletes an object and adds one of the same key, which SQLAlchemy makes an UPDATE of."""
    session.delete(session.get_one(Document, 1))
    session.add(Document(id=1, content=b"new"))


def _switch_rows_to_none(session: Session) -> None:
    session.delete(session.get_one(Document, 1))
    session.add(Document(id=1, content=None))


def _update_key_and_file(session: Session) -> None:
    session.execute(
        update(Document).where(Document.id == 1).values(id=5, content=b"new"),
        execution_options={"synchronize_session": False},
    )


def _shift_all(session: Session) -> None:
    session.execute(
        update(Document).values(id=Document.id + 100, content=b"new"),
        execution_options={"synchronize_session": False},
    )


def _shift_and_delete(session: Session) -> None:
    session.execute(update(Document).values(id=Document.id + 100), execution_options={"synchronize_session": False})
    session.execute(delete(Document).where(Document.id == 101))


KEYS_CHANGE: dict[str, tuple[Callable[[Session], None], tuple[bytes, ...]]] = {
    "moved": (_move, (b"1", b"2")),
    "moved and replaced": (_move_and_replace, (b"new", b"2")),
    "moved twice": (_move_twice, (b"new", b"2")),
    "moved to and fro": (_move_to_and_fro, (b"new", b"2")),
    "moved and deleted": (_move_and_delete, (b"2",)),
    "a freed key is taken": (_take_the_place, (b"new",)),
    "two change places": (_change_places, (b"new", b"2")),
    "row switch": (_switch_rows, (b"new", b"2")),
    "row switch to None": (_switch_rows_to_none, (b"2",)),
    "update of all keys, then delete": (_shift_and_delete, (b"2",)),
}


@pytest.mark.parametrize("name", KEYS_CHANGE)
@pytest.mark.parametrize("end", ["commit", "rollback", "savepoint"])
def test_keys_that_change_with_their_files(world: World, name: str, end: str) -> None:
    """The row is the same under both keys, even if another row has its old one now."""
    change, after = KEYS_CHANGE[name]
    add(world, *(Document(id=each, content=b"%d" % each) for each in (1, 2)))
    with world.session() as session:
        savepoint = session.begin_nested() if end == "savepoint" else None
        change(session)
        session.flush()
        if savepoint is not None:
            savepoint.rollback()
        (session.rollback if end == "rollback" else session.commit)()
    world.check(*(after if end == "commit" else (b"1", b"2")))


@pytest.mark.parametrize(
    ("statement", "after"), [(_update_key_and_file, (b"new", b"2")), (_shift_all, (b"new", b"new"))]
)
@outcome
def test_a_statement_that_changes_keys_and_files_at_once(
    world: World, statement: Callable[[Session], None], after: tuple[bytes, ...], commit: bool
) -> None:
    """It is done whole, or refused whole with a reason: the rows cannot be found again by the keys that were read."""
    add(world, *(Document(id=each, content=b"%d" % each) for each in (1, 2)))
    with world.session() as session:
        try:
            statement(session)
        except InvalidContent as error:
            assert "primary key" in str(error)  # noqa: PT017  # it may be refused, and need not
            after = (b"1", b"2")
        (session.commit if commit else session.rollback)()
    world.check(*(after if commit else (b"1", b"2")))


@outcome
def test_a_part_of_a_composite_key_that_changes(world: World, commit: bool) -> None:
    add(world, Plate(number=1, part=1, image=b"1", original=b"2"), Plate(number=1, part=2, image=b"3"))
    with world.session() as session:
        plate = session.scalars(select(Plate).where(Plate.part == 1)).one()
        plate.part, plate.image = 3, UploadedFile(b"new")
        session.flush()
        plate.original = None
        session.flush()
        (session.commit if commit else session.rollback)()
    world.check(*((b"new", b"3") if commit else (b"1", b"2", b"3")))


@outcome
@pytest.mark.parametrize("how", ["execute", "bulk"])
@pytest.mark.parametrize("keys", [("1", 1), (1, "1"), ("1", 1, "1"), ("1", "2", 1)], ids=str)
def test_one_key_that_is_given_twice_in_two_forms(world: World, keys: tuple[Any, ...], how: str, commit: bool) -> None:
    """The row has the file that was given last, and the others leave none."""
    if world.engine.dialect.name == "postgresql":
        pytest.skip("these are two types there")
    add(world, NumberKey(id=1, content=b"old"), NumberKey(id=2))
    mappings = [{"id": key, "content": f"{key} {position}".encode()} for position, key in enumerate(keys)]
    with world.session() as session:
        if how == "bulk":
            session.bulk_update_mappings(NumberKey, mappings)
        else:
            session.execute(update(NumberKey), mappings)
        (session.commit if commit else session.rollback)()
    last = {str(each["id"]): each["content"] for each in mappings}
    world.check(*(last.values() if commit else [b"old"]))
