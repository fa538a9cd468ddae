"""Keys that Python reads otherwise than they are stored: statements find their rows all the same, and their files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    CHAR,
    REAL,
    DateTime,
    Float,
    ForeignKey,
    Numeric,
    String,
    TypeDecorator,
    Uuid,
    delete,
    func,
    text,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.tracking.rows import StoredKey, loaded_key
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.statements import add, changed, table_of
from tests.support.models import Base

pytestmark = pytest.mark.filterwarnings("ignore:Dialect sqlite.*does \\*not\\* support Decimal")


class SmallLetters(TypeDecorator[str]):
    impl = String(40)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value and value.lower()


class Stripped(TypeDecorator[str]):
    impl = CHAR(8)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value and value.rstrip()


class Folded(TypeDecorator[str]):
    """The database itself changes the letters, on their way in and out."""

    impl = String(40)
    cache_ok = True

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.upper(bindvalue, type_=self)

    def column_expression(self, column: Any) -> Any:
        return func.lower(column, type_=self)


class Keyed:
    name: Mapped[str | None]
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class CapitalUuid(Keyed, Base):
    __tablename__ = "read_uuid"
    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)


class MoreDigits(Keyed, Base):
    __tablename__ = "read_numeric"
    id: Mapped[Any] = mapped_column(Numeric(10, 2), primary_key=True, autoincrement=False)


class Real(Keyed, Base):
    __tablename__ = "read_real"
    id: Mapped[float] = mapped_column(REAL, primary_key=True)


class SingleFloat(Keyed, Base):
    __tablename__ = "read_float"
    id: Mapped[float] = mapped_column(Float, primary_key=True)


class Small(Keyed, Base):
    __tablename__ = "read_small"
    id: Mapped[str] = mapped_column(SmallLetters, primary_key=True)


class Padded(Keyed, Base):
    __tablename__ = "read_padded"
    id: Mapped[str] = mapped_column(Stripped, primary_key=True)


class InExpressions(Keyed, Base):
    __tablename__ = "read_expressions"
    id: Mapped[str] = mapped_column(Folded, primary_key=True)


class Stamped(Keyed, Base):
    __tablename__ = "read_stamped"
    id: Mapped[datetime] = mapped_column(DateTime, primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)


class SmallChild(Keyed, Base):
    __tablename__ = "read_small_child"
    id: Mapped[str] = mapped_column(SmallLetters, primary_key=True)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("read_small.id", ondelete="CASCADE"))


UUID = "6F9619FF-8B86-D011-B42D-00CF4FC964FF"
KEYS: dict[str, tuple[Any, Any]] = {
    "a UUID in capitals": (CapitalUuid, UUID),
    "more digits": (MoreDigits, Decimal("4.999")),
    "REAL": (Real, 0.1),
    "Float": (SingleFloat, 0.1),
    "small letters": (Small, "ABC"),
    "stripped": (Padded, "ab "),
    "expressions of SQL": (InExpressions, "ABC"),
    "CURRENT_TIMESTAMP": (Stamped, text("CURRENT_TIMESTAMP")),
}


@pytest.fixture(params=KEYS)
def model(request: pytest.FixtureRequest, world: World) -> Any:
    """A model with one row, whose file is b"old"."""
    found, key = KEYS[request.param]
    add(world, found(id=key, content=b"old"))
    return found


Execute = Callable[[Session, Any], Any]
DELETES: dict[str, Execute] = {
    "delete": lambda session, model: session.execute(delete(model)),
    "where": lambda session, model: session.execute(delete(model).where(model.name.is_(None))),
    "table": lambda session, model: session.execute(delete(table_of(model))),
}
UPDATES: dict[str, Execute] = {
    "update": lambda session, model: session.execute(update(model).values(content=b"new")),
    "where": lambda session, model: session.execute(update(model).where(model.name.is_(None)).values(content=b"new")),
    "table": lambda session, model: session.execute(update(table_of(model)).values(content=b"new")),
    "query": lambda session, model: session.query(model).update({"content": b"new"}),
}


@pytest.mark.parametrize("how", DELETES)
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
def test_delete_takes_the_row_and_its_file(world: World, model: Any, how: str, commit: bool) -> None:
    with world.session() as session:
        assert changed(DELETES[how](session, model)) == 1
        (session.commit if commit else session.rollback)()
    world.check(*([] if commit else [b"old"]))


@pytest.mark.parametrize("how", UPDATES)
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
def test_update_replaces_the_file(world: World, model: Any, how: str, commit: bool) -> None:
    with world.session() as session:
        result = UPDATES[how](session, model)
        assert (result if how == "query" else changed(result)) == 1
        (session.commit if commit else session.rollback)()
    world.check(b"new" if commit else b"old")


def test_an_object_shows_the_file_that_a_statement_gave_to_its_row(world: World, model: Any) -> None:
    with world.session() as session:
        document = session.query(model).one()
        assert document.content.file.read() == b"old"
        session.execute(update(model).values(content=b"new"), execution_options={"synchronize_session": False})
        session.commit()
    world.check(b"new")


def test_rows_whose_keys_read_alike_get_files_of_their_own(world: World) -> None:
    if world.engine.dialect.name == "mariadb":
        pytest.skip("it takes capitals for the same key")
    add(world, Small(id="abc", content=b"1"), Small(id="ABC", name="x", content=b"2"), Small(id="Abc", content=b"3"))
    with world.session() as session:
        assert changed(session.execute(update(Small).values(content=b"new"))) == 3
        session.commit()
    world.check(b"new", b"new", b"new")
    with world.session() as session:
        assert changed(session.execute(delete(Small).where(Small.name == "x"))) == 1
        session.commit()
    world.check(b"new", b"new")


def test_files_of_rows_that_are_deleted_with_such_a_row_go_with_it(world: World) -> None:
    add(world, Small(id="ABC", content=b"parent"))
    add(world, SmallChild(id="KEY", parent_id="ABC", content=b"child"))
    with world.session() as session:
        if world.engine.dialect.name == "sqlite":
            session.execute(text("PRAGMA foreign_keys = ON"))
        session.execute(delete(Small))
        session.commit()
    world.check()


def test_a_stored_key_is_none_that_reads_so() -> None:
    stored = StoredKey.of(["ABC"], ("abc",))
    assert stored == StoredKey.of(["ABC"], ("abc",))
    assert stored != ("ABC",)
    assert stored not in {("ABC",)}
    assert loaded_key(stored) == ("abc",)
    assert loaded_key(("ABC",)) == ("ABC",)
