"""MongoDB for tests: mongomock in this process, and a real one where the environment names it."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import mongomock
from mongomock import helpers
from mongomock.gridfs import enable_gridfs_integration
from pymongo import MongoClient

from depot_lite.io.gridfs import GridFSStorage
from depot_lite.io.objects.clients import PerProcess

#: Where a real server is: mongodb://user:password@host/?options.
VARIABLE: Final = "DEPOT_TEST_MONGO_URL"

# pymongo's own GridFS, through which filedepot and other programs look at the files, takes mongomock's collections too.
enable_gridfs_integration()  # type: ignore[no-untyped-call]

# pymongo gives a view of a dictionary, which mongomock would keep and find unlike any list.
_listed: Any = helpers.create_index_list
helpers.create_index_list = lambda keys, *more: _listed(keys if isinstance(keys, str) else list(keys), *more)


def databases() -> list[str]:
    """Return the servers that tests run on. `test_gridfs` reports a missing real one."""
    return ["mongomock", *(["real"] if os.environ.get(VARIABLE) else [])]


class Server:
    """A MongoDB server, and a database of its own for each test."""

    def __init__(self, client: Any) -> None:
        self.client = client

    @contextmanager
    def database(self) -> Iterator[Any]:
        """Give an empty database, which is gone afterwards."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        try:
            yield self.client[name]
        finally:
            self.client.drop_database(name)

    def storage(self, database: Any, collection: str = "filedepot", **options: Any) -> GridFSStorage:
        """Return a storage in a database."""
        return GridFSStorage(None, collection, client=self.client, database=database.name, **options)


@contextmanager
def mongo_server(kind: str) -> Iterator[Server]:
    """Give mongomock, or the real server if there is one; skip otherwise."""
    if kind == "mongomock":
        yield Server(mongomock.MongoClient())
        return
    client: Any = MongoClient(os.environ[VARIABLE])
    try:
        yield Server(client)
    finally:
        client.close()


class Requests(Counter[str]):
    """How often each method of a storage's two collections was called, which each are one request."""

    def __init__(self, storage: GridFSStorage) -> None:
        super().__init__()
        connection = storage._connection
        made = connection._made.get(connection._make)
        watched = {each: _Watched(getattr(made, each), each, self) for each in ("files", "chunks")}
        connection._made = PerProcess()
        connection._made.get(lambda: made._replace(**cast(Any, watched)))

    def taken(self) -> dict[str, int]:
        """Return the counts since the last time, and begin anew."""
        counts = dict(self)
        self.clear()
        return counts


class _Watched:
    """A collection whose methods are counted."""

    def __init__(self, collection: Any, name: str, counts: Counter[str]) -> None:
        self._collection, self._name, self._counts = collection, name, counts

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._collection, method)

        def counted(*given: Any, **named: Any) -> Any:
            self._counts[f"{self._name}.{method}"] += 1
            return found(*given, **named)

        return counted
