"""Tables of PostgreSQL that inherit from one with files: their rows may have the keys of other rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from tests.conftest import World
from tests.fields.statements import add, changed
from tests.support.models import Document


@pytest.fixture
def parent(world: World) -> Iterator[World]:
    """A document "own", and one that inherits, with the same key and another name."""
    if world.engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has tables that inherit")
    add(world, Document(id=1, name="own", content=b"old"))
    with world.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE heir () INHERITS (document)")
        connection.exec_driver_sql("INSERT INTO heir (id, name) VALUES (1, 'heir')")
    yield world
    with world.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE heir")


def names(world: World) -> list[Any]:
    with world.engine.connect() as connection:
        return sorted(connection.execute(select(Document.name)).scalars())


def test_delete_leaves_the_row_of_the_other_table_that_does_not_match(parent: World) -> None:
    with parent.session() as session:
        assert changed(session.execute(delete(Document).where(Document.name == "own"))) == 1
        session.commit()
    assert names(parent) == ["heir"]
    parent.check()


def test_update_leaves_the_row_of_the_other_table_that_does_not_match(parent: World) -> None:
    with parent.session() as session:
        statement = update(Document).where(Document.name == "own").values(name="changed", content=b"new")
        assert changed(session.execute(statement)) == 1
        session.commit()
    assert names(parent) == ["changed", "heir"]
    parent.check(b"new")
