"""Short words for statements and their results."""

from __future__ import annotations

from typing import Any

from tests.conftest import World


def add(world: World, *objects: Any) -> None:
    """Commit some objects."""
    with world.session() as session:
        session.add_all(objects)
        session.commit()


def changed(result: Any) -> int:
    """Return the number of rows that the database says a statement has changed."""
    return int(result.rowcount)


def table_of(model: Any) -> Any:
    """Return the table of a class, for statements that know no class."""
    return model.__table__


def words(queries: list[str]) -> list[str]:
    """Return the first word of each statement, without the BEGIN that only SQLite is sent in words."""
    return [word for each in queries if (word := each.split()[0]) != "BEGIN"]
