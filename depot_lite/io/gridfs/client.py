"""The one client of a storage, which all threads share, and the two collections that it is for."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from pymongo import ASCENDING, MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri

from depot_lite.errors import ConfigurationError
from depot_lite.io.gridfs.errors import MONGO_ERRORS, translating

_SCHEMES: Final = ("mongodb://", "mongodb+srv://")
#: IndexOptionsConflict, IndexKeySpecsConflict: another program has made it, with a name or with options of its own.
_THERE_ALREADY: Final = {85, 86}


@dataclass(frozen=True, slots=True)
class _Made:
    process: int
    client: Any
    files: Collection[dict[str, Any]]
    chunks: Collection[dict[str, Any]]


class GridFSConnection:
    """A client that is made when it is first wanted, and again in the child after a fork.

    Not in the constructor: ``mongodb+srv`` asks the name server. And two processes that use one connection get each
    other's answers.
    """

    def __init__(self, uri: str | None, ready: Any, database: str, collection: str) -> None:
        self._uri = uri
        self._ready = ready
        self.database = database
        self.collection = collection
        self._made: _Made | None = None
        # Clients of the parent process: to close one would end what the parent is doing.
        self._inherited: list[_Made] = []
        self._lock = threading.Lock()
        self._indexed = False

    @property
    def files(self) -> Collection[dict[str, Any]]:
        """The collection of what is known of each file."""
        return self._get().files

    @property
    def chunks(self) -> Collection[dict[str, Any]]:
        """The collection of the bytes."""
        return self._get().chunks

    def close(self) -> None:
        """Close the client, unless it was handed over. The next use makes another."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None and made.process == os.getpid() and self._ready is None:
            made.client.close()

    def prepare(self) -> None:
        """Make the indexes, once. The first is GridFS's own; the second keeps two writers of one file id apart."""
        if self._indexed:
            return
        made = self._get()
        with translating(f"make the indexes of {self.collection!r} in database {self.database!r}"):
            try:
                made.chunks.create_index([("files_id", ASCENDING), ("n", ASCENDING)], unique=True)
            except OperationFailure as error:
                if error.code not in _THERE_ALREADY:
                    raise
            # Sparse: what filedepot and others wrote has neither key.
            keys = [("metadata.file_id", ASCENDING), ("metadata.revision", ASCENDING)]
            made.files.create_index(keys, unique=True, sparse=True)
        self._indexed = True

    def _get(self) -> _Made:
        made = self._made
        if made is None or made.process != os.getpid():
            with self._lock:
                made = self._made
                if made is None or made.process != os.getpid():
                    if made is not None:
                        self._inherited.append(made)
                    made = self._made = self._make()
        return made

    def _make(self) -> _Made:
        client = self._new_client() if self._ready is None else self._ready
        # From the primary always: a secondary may not have yet what was stored just now, and a listing of it would
        # leave files out.
        files, chunks = (
            client[self.database][f"{self.collection}.{each}"].with_options(read_preference=ReadPreference.PRIMARY)
            for each in ("files", "chunks")
        )
        if not files.write_concern.acknowledged:
            if self._ready is None:
                client.close()
            raise ConfigurationError("mongouri says w=0: whether a file was stored would never be known")
        return _Made(os.getpid(), client, files, chunks)

    def _new_client(self) -> Any:
        try:
            return MongoClient(self._uri)
        except (*MONGO_ERRORS, ValueError, TypeError) as error:
            # Without its text and its traceback, which may quote what was refused.
            name = type(error).__name__
            raise ConfigurationError(f"pymongo makes no client of mongouri: {name}") from None


def database_of(uri: str | None, database: str | None) -> str:
    """Return the name of the database: the one that is given, else the one in the URI.

    Raises:
        ConfigurationError: there is none, or the URI is none. It is not quoted, since it may hold a password.

    >>> database_of("mongodb://localhost/app?w=majority", None)
    'app'
    """
    named = _database_in(uri) if uri is not None else ""
    if not (database or named):
        raise ConfigurationError("mongouri names no database: mongodb://host/database is wanted")
    return database or named


def _database_in(uri: str) -> str:
    if not uri.startswith(_SCHEMES):
        raise ConfigurationError("mongouri: a URI such as 'mongodb://host/database' is wanted")
    if uri.startswith(_SCHEMES[0]):  # the other scheme asks the name server
        try:
            parse_uri(uri)
        except (*MONGO_ERRORS, ValueError) as error:
            raise ConfigurationError(
                f"mongouri is refused ({type(error).__name__}): a URI such as 'mongodb://host/database' is wanted; "
                "user name and password have to be escaped (urllib.parse.quote_plus)"
            ) from None
    path = uri.partition("://")[2].partition("?")[0].partition("/")[2]
    return unquote(path).partition(".")[0]
