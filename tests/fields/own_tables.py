"""Worlds for models that cannot stand among the others: their rows are read as the database has them, by no mapper."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, MetaData

from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from tests.conftest import World, empty


def references(data: Any) -> list[dict[str, Any]]:
    """Return the references in a value of a file column as the driver delivers it: JSON, as text or parsed."""
    found = json.loads(data) if isinstance(data, str) else data
    found = found if isinstance(found, list) else [found]
    assert all(isinstance(each, dict | None) for each in found), f"no reference: {data!r}"
    return [each for each in found if each is not None]


class OwnWorld(World):
    """A world whose files are named by some columns, each given as ``table.column``."""

    def __init__(self, engine: Engine, depots: dict[str, FileStorage], *columns: str) -> None:
        super().__init__(engine, depots)
        self._columns = [each.split(".") for each in columns]

    def raw(self) -> list[dict[str, Any]]:
        """Return the references of all rows."""
        quote = self.engine.dialect.identifier_preparer.quote
        with self.engine.connect() as connection:
            return [
                each
                for table, column in self._columns
                for row in connection.exec_driver_sql(f"SELECT {quote(column)} FROM {quote(table)}")
                for each in references(row[0])
            ]

    def rows(self) -> dict[str, bytes]:
        """Return the path and the bytes of every file that a committed row names."""
        read = {}
        for reference in self.raw():
            for path in {reference["path"], *reference["files"]}:
                with DepotManager.get_file(path) as stored:
                    read[path] = stored.read()
        return read


@contextmanager
def own_world(engine: Engine, depots: dict[str, FileStorage], metadata: MetaData, *columns: str) -> Iterator[OwnWorld]:
    """An empty world of these tables."""
    metadata.create_all(engine)
    yield OwnWorld(engine, depots, *columns)
    empty(engine, metadata)
