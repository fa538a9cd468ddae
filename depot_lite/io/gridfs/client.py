"""The client of a `GridFSStorage`, and its two collections."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from pymongo import ASCENDING, MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri

from depot_lite.errors import ConfigurationError
from depot_lite.io.gridfs.errors import MONGO_ERRORS, translating
from depot_lite.io.objects.clients import PerProcess
from depot_lite.io.objects.silence import Patience

_SCHEMES: Final = ("mongodb://", "mongodb+srv://")
#: IndexOptionsConflict, IndexKeySpecsConflict: another program has made it, with another name or other options.
_THERE_ALREADY: Final = {85, 86}


class Collections(NamedTuple):
    """A client and the two collections."""

    client: Any
    files: Collection[dict[str, Any]]
    chunks: Collection[dict[str, Any]]


class GridFSConnection:
    """The client of a `GridFSStorage`, which all threads share, and its collections.

    The client is not made in the constructor: ``mongodb+srv`` asks the name server.
    """

    def __init__(self, uri: str | None, ready: Any, database: str, collection: str, patience: Patience) -> None:
        self._uri = uri
        self._patience = patience
        self._ready = ready
        self.database = database
        self.collection = collection
        self._made = PerProcess[Collections]()
        self._indexed = False

    @property
    def files(self) -> Collection[dict[str, Any]]:
        """The collection of the files' documents."""
        return self._made.get(self._make).files

    @property
    def chunks(self) -> Collection[dict[str, Any]]:
        """The collection of the bytes."""
        return self._made.get(self._make).chunks

    def close(self) -> None:
        """Close the client, unless it is the caller's. The next use makes another."""
        made = self._made.take()
        if made is not None and self._ready is None:
            made.client.close()

    def prepare(self) -> None:
        """Make the indexes, once. The first is GridFS's; the second orders simultaneous writers of one file."""
        if self._indexed:
            return
        made = self._made.get(self._make)
        with translating(f"make the indexes of {self.collection!r} in database {self.database!r}"):
            try:
                made.chunks.create_index([("files_id", ASCENDING), ("n", ASCENDING)], unique=True)
            except OperationFailure as error:
                if error.code not in _THERE_ALREADY:
                    raise
            # Sparse: documents of filedepot and others have neither key.
            keys = [("metadata.file_id", ASCENDING), ("metadata.revision", ASCENDING)]
            made.files.create_index(keys, unique=True, sparse=True)
        self._indexed = True

    def _make(self) -> Collections:
        client = self._new_client() if self._ready is None else self._ready
        # Always from the primary: a secondary may lack the newest files, and its listing would leave them out.
        files, chunks = (
            client[self.database][f"{self.collection}.{each}"].with_options(read_preference=ReadPreference.PRIMARY)
            for each in ("files", "chunks")
        )
        if not files.write_concern.acknowledged:
            if self._ready is None:
                client.close()
            raise ConfigurationError("mongouri has w=0: failed uploads would not be noticed")
        return Collections(client, files, chunks)

    def _new_client(self) -> Any:
        try:
            return MongoClient(with_timeouts(self._uri or "", self._patience))
        except (*MONGO_ERRORS, ValueError, TypeError) as error:
            # Without text and traceback, which may quote the refused value.
            name = type(error).__name__
            raise ConfigurationError(f"pymongo makes no client of mongouri: {name}") from None


def with_timeouts(uri: str, patience: Patience) -> str:
    """Return the URI with timeouts in milliseconds, where it sets none.

    >>> with_timeouts("mongodb://localhost/app?socketTimeoutMS=9&connectTimeoutMS=9", Patience(60, 60))
    'mongodb://localhost/app?socketTimeoutMS=9&connectTimeoutMS=9&serverSelectionTimeoutMS=20000&waitQueueTimeoutMS=40000'
    """
    address, _, query = uri.partition("?")
    given = {each.partition("=")[0].lower() for each in re.split("[&;]", query)}
    if "timeoutms" in given:
        given.add("sockettimeoutms")  # pymongo takes one or the other
    timeouts = {
        "connectTimeoutMS": patience.connect,
        "socketTimeoutMS": patience.read,
        "serverSelectionTimeoutMS": patience.read,
        "waitQueueTimeoutMS": patience.limit,
    }
    ours = [f"{name}={max(1, int(1000 * each))}" for name, each in timeouts.items() if name.lower() not in given]
    path = "" if "/" in address.partition("://")[2] else "/"
    return f"{address}{path}?{'&'.join([*([query] if query else []), *ours])}"


def database_of(uri: str | None, database: str | None) -> str:
    """Return the name of the database; if not set, the name in the URI.

    Raises:
        ConfigurationError: the name is missing or the URI invalid. It is not quoted, since it may hold a password.

    >>> database_of("mongodb://localhost/app?w=majority", None)
    'app'
    """
    named = _database_in(uri) if uri is not None else ""
    if not (database or named):
        raise ConfigurationError("mongouri names no database: expected mongodb://host/database")
    return database or named


def _database_in(uri: str) -> str:
    if not uri.startswith(_SCHEMES):
        raise ConfigurationError("mongouri: expected a URI such as 'mongodb://host/database'")
    if uri.startswith(_SCHEMES[0]):  # parsing the other scheme asks the name server
        try:
            parse_uri(uri)
        except (*MONGO_ERRORS, ValueError) as error:
            raise ConfigurationError(
                f"mongouri is invalid ({type(error).__name__}): expected a URI such as 'mongodb://host/database'; "
                "user name and password have to be escaped (urllib.parse.quote_plus)"
            ) from None
    path = uri.partition("://")[2].partition("?")[0].partition("/")[2]
    return unquote(path).partition(".")[0]
