"""Every kind of storage, each with an empty place for the depots of one test.

A backend imports its packages when a test uses it: the storages that need none are in the quick suite.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from depot_lite.io.composite.fallback import FallbackStorage
from depot_lite.io.composite.mirror import MirrorStorage
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage

Counts = Mapping[str, int]


def _nothing() -> list[str]:
    return []


class Servers:
    """Servers that are started when the first test uses them, and run until the last test of a module has ended."""

    def __init__(self, closing: ExitStack) -> None:
        self._closing = closing
        self._running: dict[Any, Any] = {}

    def get(self, start: Callable[..., AbstractContextManager[Any]], *arguments: str) -> Any:
        """Return the server that a context manager starts."""
        if (start, arguments) not in self._running:
            self._running[start, arguments] = self._closing.enter_context(start(*arguments))
        return self._running[start, arguments]


@dataclass(frozen=True)
class Costs:
    """The requests for one file to store and one to read, and for all files of a transaction to delete."""

    store: Counts
    read: Counts
    delete: Counts


@dataclass
class Place:
    """A bucket, a folder, a database: whatever holds the depots of one test."""

    #: Makes the storage of a depot by its name.
    storage: Callable[[str], FileStorage]
    #: Returns what interrupted work has left, other than files.
    remains: Callable[[], list[str]] = _nothing
    costs: Costs | None = None
    #: Begins to count the requests of a storage; returns a function that gives the counts since the last time.
    counting: Callable[[Any], Callable[[], Counts]] | None = None
    #: Refuses each upload of a storage after the second.
    refuse: Callable[[Any, pytest.MonkeyPatch], None] | None = None
    #: The parameters of signed URLs: their expiry, and the type that they ask for.
    parameters: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def _local(folder: Path, servers: Servers) -> Iterator[Place]:
    yield Place(lambda name: LocalFileStorage(folder / name, durable=False))


@contextmanager
def _memory(folder: Path, servers: Servers) -> Iterator[Place]:
    yield Place(lambda name: MemoryFileStorage())


@contextmanager
def _fallback(folder: Path, servers: Servers) -> Iterator[Place]:
    yield Place(lambda name: FallbackStorage(LocalFileStorage(folder / name, durable=False), MemoryFileStorage()))


@contextmanager
def _mirror(folder: Path, servers: Servers) -> Iterator[Place]:
    yield Place(lambda name: MirrorStorage(LocalFileStorage(folder / name, durable=False), MemoryFileStorage()))


@contextmanager
def _obstore(folder: Path, servers: Servers) -> Iterator[Place]:
    from depot_lite.io.objectstore import ObjectStoreStorage

    yield Place(lambda name: ObjectStoreStorage((folder / name).as_uri(), mkdir=True))


@contextmanager
def _s3(folder: Path, servers: Servers) -> Iterator[Place]:
    from tests.io.s3_server import moto_server

    with _on_s3(servers.get(moto_server)) as place:
        yield place


@contextmanager
def _real_s3(folder: Path, servers: Servers) -> Iterator[Place]:
    from tests.io.s3_server import real_server

    with _on_s3(real_server()) as place:
        yield place


@contextmanager
def _on_s3(server: Any) -> Iterator[Place]:
    from tests.io.s3_server import Requests

    def refuse(storage: Any, patch: pytest.MonkeyPatch) -> None:
        requests = Requests(storage)

        def answer(http_response: Any, parsed: dict[str, Any], **_: object) -> None:
            if requests["PutObject"] >= 3:
                http_response.status_code = 403
                parsed["Error"] = {"Code": "AccessDenied"}

        storage._client.meta.events.register("after-call.s3.PutObject", answer)

    with server.bucket() as bucket:
        yield Place(
            lambda name: server.storage(bucket, prefix=f"{name}/"),
            lambda: server.uploads(bucket),
            Costs({"PutObject": 1}, {"GetObject": 1}, {"DeleteObjects": 1}),
            lambda storage: Requests(storage).taken,
            refuse,
            {"expiry": "X-Amz-Expires"},
        )


@contextmanager
def _gcs(folder: Path, servers: Servers) -> Iterator[Place]:
    from google.api_core.exceptions import from_http_status

    from tests.io.gcs_server import Requests, emulator

    def refuse(storage: Any, patch: pytest.MonkeyPatch) -> None:
        session, sent = storage._connection.session, Counter[str]()
        send = session.request

        def answer(method: str, url: str, *more: Any, **arguments: Any) -> Any:
            sent["uploads"] += "uploadType" in url
            if "uploadType" in url and sent["uploads"] >= 3:
                raise from_http_status(403, "no")  # type: ignore[no-untyped-call]
            return send(method, url, *more, **arguments)

        patch.setattr(session, "request", answer)

    server = servers.get(emulator)
    with server.bucket() as bucket:
        yield Place(
            lambda name: server.storage(bucket, prefix=f"{name}/"),
            lambda: server.uploads(bucket),
            Costs({"multipart POST": 1}, {"media GET": 1}, {"batch": 1}),
            lambda storage: Requests(storage).taken,
            refuse,
            # Google prefers the type that an object was stored with to the one in its URL.
            {"expiry": "X-Goog-Expires", "type": "response-content-type"},
        )


@contextmanager
def _gridfs(folder: Path, servers: Servers, kind: str = "mongomock") -> Iterator[Place]:
    from pymongo.errors import AutoReconnect

    from tests.io.gridfs_server import Requests, mongo_server

    def counting(storage: Any) -> Callable[[], Counts]:
        storage.delete(storage.create(b"the indexes are there"))
        return Requests(storage).taken

    def refuse(storage: Any, patch: pytest.MonkeyPatch) -> None:
        enter, entered = storage._enter, Counter[str]()

        def answer(*given: Any) -> Any:
            entered["uploads"] += 1
            if entered["uploads"] >= 3:
                raise AutoReconnect("access is denied")
            return enter(*given)

        patch.setattr(storage, "_enter", answer)

    server = servers.get(mongo_server, kind)
    with server.database() as database:

        def chunks_of_no_file() -> list[str]:
            names = {each.rpartition(".")[0] for each in database.list_collection_names()}
            return [
                f"{name}: {each['files_id']}"
                for name in names
                for each in database[f"{name}.chunks"].find()
                if database[f"{name}.files"].find_one(each["files_id"]) is None
            ]

        yield Place(
            lambda name: server.storage(database, name),
            chunks_of_no_file,
            Costs(
                {"chunks.insert_many": 1, "files.update_one": 1},
                {"files.find_one": 1, "chunks.find": 1},
                {"files.find": 1, "files.delete_many": 1, "chunks.delete_many": 1},
            ),
            counting,
            refuse,
        )


@contextmanager
def _mongodb(folder: Path, servers: Servers) -> Iterator[Place]:
    with _gridfs(folder, servers, "real") as place:
        yield place


@contextmanager
def _azure(folder: Path, servers: Servers) -> Iterator[Place]:
    from tests.io.azurite import ACCOUNT, azurite
    from tests.io.s3_proxy import Fault, S3Proxy

    azure = servers.get(azurite)
    with azure.container() as container, S3Proxy(azure.endpoint) as proxy:
        config = azure.options(container, endpoint=f"{proxy.url}/{ACCOUNT}")["config"]

        def counting(storage: Any) -> Callable[[], Counts]:
            proxy.taken()
            return lambda: Counter(proxy.taken())

        yield Place(
            lambda name: azure.storage(container, prefix=name, config=config),
            costs=Costs({"PUT": 1}, {"GET": 1}, {"POST": 1}),
            counting=counting,
            refuse=lambda storage, patch: proxy.fail(Fault.DENIED, "PUT", times=3),
        )


_BACKENDS: Final[dict[str, Callable[[Path, Servers], AbstractContextManager[Place]]]] = {
    "local": _local,
    "memory": _memory,
    "fallback": _fallback,
    "mirror": _mirror,
    "obstore": _obstore,
    "s3": _s3,
    "real s3": _real_s3,
    "gcs": _gcs,
    "gridfs": _gridfs,
    "mongodb": _mongodb,
    "azure": _azure,
}

#: Those of the quick suite.
_QUICK: Final = ("local", "memory", "fallback", "mirror")
#: Storages that are asked by requests, a real MongoDB only if there is one.
REMOTE: Final = ("s3", "gcs", "gridfs", *(("mongodb",) if os.environ.get("DEPOT_TEST_MONGO_URL") else ()), "azure")
#: Storages whose signed URLs a browser is redirected to.
WITH_URLS: Final = ("s3", "real s3", "gcs", "azure")
#: Each kind once.
KINDS: Final = (*_QUICK, "obstore", *REMOTE)


def on(*names: str) -> pytest.MarkDecorator:
    """Run a test with these backends, each of which the fixture ``place`` gives it."""
    params = [pytest.param(each, marks=() if each in _QUICK else pytest.mark.server) for each in names]
    return pytest.mark.parametrize("place", params, indirect=True)


def place_on(name: str, folder: Path, servers: Servers) -> AbstractContextManager[Place]:
    """Return an empty place of a backend."""
    return _BACKENDS[name](folder, servers)
