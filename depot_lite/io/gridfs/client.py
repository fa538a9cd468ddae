"""The client of a `GridFSStorage`, and its two collections."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from pymongo import ASCENDING, MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri

from depot_lite.errors import ConfigurationError
from depot_lite.io.gridfs.errors import MONGO_ERRORS, translating
from depot_lite.io.objects.clients import PerProcess

_SCHEMES: Final = ("mongodb://", "mongodb+srv://")
#: IndexOptionsConflict, IndexKeySpecsConflict: another program has made it, with a name or with options of its own.
_THERE_ALREADY: Final = {85, 86}


class Made(NamedTuple):
    """A client and the two collections."""

    client: Any
    files: Collection[dict[str, Any]]
    chunks: Collection[dict[str, Any]]


class GridFSConnection:
    """The client of a `GridFSStorage`, which all threads share, and its collections.

    The client is not made in the constructor: ``mongodb+srv`` asks the name server.
    """

    def __init__(self, uri: str | None, ready: Any, database: str, collection: str) -> None:
        self._uri = uri
        self._ready = ready
        self.database = database
        self.collection = collection
        self._made = PerProcess[Made]()
        self._indexed = False

    @property
    def files(self) -> Collection[dict[str, Any]]:
        """The collection of what is known of each file."""
        return self._made.get(self._make).files

    @property
    def chunks(self) -> Collection[dict[str, Any]]:
        """The collection of the bytes."""
        return self._made.get(self._make).chunks

    def close(self) -> None:
        """Close the client, unless it was handed over. The next use makes another."""
        made = self._made.take()
        if made is not None and self._ready is None:
            made.client.close()

    def prepare(self) -> None:
        """Make the indexes, once. The first is GridFS's own; the second keeps two writers of one file id apart."""
        if self._indexed:
            return
        made = self._made.get(self._make)
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

    def _make(self) -> Made:
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
        return Made(client, files, chunks)

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
