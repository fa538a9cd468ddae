"""GridFSStorage: files in a MongoDB database, as GridFS keeps them.

A file is a document in ``<collection>.files`` and its chunks of 255 KiB in ``<collection>.chunks``, as GridFS specifies
it, so that ``mongofiles`` and every driver read it. What filedepot wrote is read, listed and deleted: its ids, 24
digits, are taken wherever a file id is. What other programs put into the collection is read by such an id, and neither
listed nor swept.

The file id is in ``metadata``, and ``_id`` is another for each version of a file: GridFS ties chunks to ``_id``, and
the old bytes have to stay until the new ones are whole. The document comes last, so a file is there when it is whole.
It is inserted on condition that there is none of this file id, so nobody has to look first; a unique index decides
between two that do so at once.

The chunks are written and read without pymongo's ``GridFSBucket``: that one looks for indexes at each upload, holds 48
MB of each in memory, and can replace nothing without a time in which there is no file.

If the process dies in the middle of an upload or a deletion, chunks may stay that belong to no file: they are never
listed. `GridFSStorage.remove_orphaned_chunks` removes them. GridFS cannot copy inside the server: a copy goes through
this process. It has no URLs: the middleware serves the files.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, BinaryIO, Final, cast

from bson import Int64, ObjectId
from pymongo.errors import DuplicateKeyError

from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.io.content import Content, clean_filename
from depot_lite.io.fileid import check_file_id, id_of_object_id, object_id_in
from depot_lite.io.gridfs.client import GridFSConnection, database_of
from depot_lite.io.gridfs.errors import MONGO_ERRORS, failing
from depot_lite.io.gridfs.stream import CHUNK, ChunkReader, ChunkWriter
from depot_lite.io.interfaces import UNNAMED, FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.options import executor_of, integer

__all__ = ["GridFSStorage"]

logger: Final = logging.getLogger("depot_lite")

#: How many files are deleted with the same three requests, and how many documents a listing gets with one.
_DELETE_LIMIT: Final = 1000
_PAGE: Final = 1000

_NEWEST: Final = [("metadata.revision", -1)]
_NOT_OURS: Final = {"metadata.file_id": {"$exists": False}}
_FILEDEPOTS: Final = {"last_modified": {"$exists": True}}
#: What is asked of a file for a listing.
_LISTED: Final = {"length": 1, "uploadDate": 1, "metadata.file_id": 1}

_Document = Mapping[str, Any]


class GridFSStorage(FileStorage):
    """Files in GridFS. Options may be strings, as they come from .ini files and the environment.

    The first two are filedepot's, by position too.
    """

    def __init__(
        self,
        # mongodb://user:password@host/database?options, which are pymongo's (timeouts, TLS, maxPoolSize ...). It is
        # never shown. Its read preference does not count: what was just stored has to be there.
        mongouri: str | None = None,
        # GridFS calls it bucket.
        collection: str = "filedepot",
        *,
        # The database, where the URI names none or another.
        database: str | None = None,
        # A pymongo.MongoClient that is ready, instead of the URI. It is not closed.
        client: Any = None,
        # How many files a flush uploads at once.
        concurrency: int | str = 8,
        # The threads that do it; those that all storages share where there is none.
        executor: Executor | None = None,
    ) -> None:
        if (mongouri is None) == (client is None):
            raise ConfigurationError("mongouri is missing, or client is one too many: one of the two is wanted")
        if not collection or set(collection) & set("$\0"):
            raise ConfigurationError(f"collection={collection!r}: the name of a collection is wanted")
        self._concurrency = integer("concurrency", concurrency, 1, 1000)
        self._executor = executor_of("executor", executor)
        self._connection = GridFSConnection(mongouri, client, database_of(mongouri, database), collection)

    @property
    def location(self) -> Hashable:
        """Database and collection. Not the server, since one may have several addresses."""
        return "gridfs", self._connection.database, self._connection.collection

    def __repr__(self) -> str:
        """Show where the files are."""
        return f"GridFSStorage(database={self._connection.database!r}, collection={self._connection.collection!r})"

    def close(self) -> None:
        """Close the connections. Whoever uses the storage again opens others."""
        self._connection.close()

    def _what(self, doing: str, file_id: object) -> str:
        return (
            f"{doing} gridfs file {file_id} of {self._connection.collection!r} in database "
            f"{self._connection.database!r}"
        )

    # --- storing --------------------------------------------------------------------------------------------------

    def _save(self, file_id: str, content: Content) -> FileInfo:
        content_type, name = content.content_type, content.filename or UNNAMED
        generation = ObjectId()
        with failing(self._what("store", file_id)):
            self._connection.prepare()
            writer = ChunkWriter(self._connection.chunks, generation)
            try:
                with content.open() as source:
                    writer.take(source)
                document = {
                    "_id": generation,
                    "filename": name,
                    # Where filedepot and older drivers have it.
                    "contentType": content_type,
                    "length": Int64(writer.length),
                    "chunkSize": CHUNK,
                    "uploadDate": _now(),
                    "metadata": {"file_id": file_id, "revision": 0, "checksum": writer.checksum},
                }
                is_new = self._enter(file_id, document)
            except BaseException:
                self._forget(generation)
                raise
        if not is_new:
            self._drop_older(file_id, document)
        return _understood(file_id, document)

    def _enter(self, file_id: str, document: dict[str, Any]) -> bool:
        """Insert the document that makes the file, and return whether there was none before."""
        if object_id_in(file_id) is None and self._is_first(file_id, document):
            return True
        while True:
            latest = self._latest(file_id, {"metadata.revision": 1})
            document["metadata"]["revision"] = 0 if latest is None else _revision(latest) + 1
            with suppress(DuplicateKeyError):  # another came first; it is the older one then
                self._connection.files.insert_one(document)
                return latest is None

    def _is_first(self, file_id: str, document: Mapping[str, Any]) -> bool:
        """Insert the document if there is no other of this file, with one request; return whether that was so."""
        fields = {key: each for key, each in document.items() if key != "metadata"}
        said = {f"metadata.{key}": each for key, each in document["metadata"].items() if key != "file_id"}
        try:
            done = self._connection.files.update_one(
                {"metadata.file_id": file_id}, {"$setOnInsert": fields | said}, upsert=True
            )
        except DuplicateKeyError:  # another came first
            return False
        return done.matched_count == 0

    def _forget(self, generation: ObjectId) -> None:
        """Remove what a failed upload may have left: the document too, whose answer may be what was lost."""
        with suppress(*MONGO_ERRORS):
            self._connection.files.delete_one({"_id": generation})
            self._connection.chunks.delete_many({"files_id": generation})

    def _drop_older(self, file_id: str, document: _Document) -> None:
        """Delete the versions before this one. The file is replaced already: what fails is only a leftover."""
        older = {"metadata.revision": {"$not": {"$gte": _revision(document)}}}
        try:
            self._drop({"$and": [_wanted([file_id]), older]})
        except MONGO_ERRORS as error:
            logger.warning("an older version of file %s was left in %r: %s", file_id, self, type(error).__name__)

    # --- finding --------------------------------------------------------------------------------------------------

    def _latest(self, file_id: str, fields: Mapping[str, Any] | None = None) -> _Document | None:
        return self._connection.files.find_one(_wanted([file_id]), fields, sort=_NEWEST)

    def _find(self, file_id: str) -> _Document:
        with failing(self._what("look for", file_id)):
            found = self._latest(file_id)
        if found is None:
            raise self._missing(file_id)
        return found

    def _open(self, file_id: str) -> StoredFile:
        document = self._find(file_id)
        # What it is made of needs the file that it is made for.
        file = StoredFile(_understood(file_id, document), lambda: cast(BinaryIO, reader))
        reader = ChunkReader(
            self._connection.chunks, document, self._what("read", file_id), partial(self._renew, file_id, file)
        )
        return file

    def _renew(self, file_id: str, file: StoredFile) -> _Document:
        document = self._find(file_id)
        file.info = _understood(file_id, document)
        return document

    def _exists(self, file_id: str) -> bool:
        with failing(self._what("look for", file_id)):
            return self._latest(file_id, {"_id": 1}) is not None

    def _list(self) -> Iterator[FileEntry]:
        """Yield filedepot's files, then ours. One of filedepot's that is replaced meanwhile may come twice."""
        for document in self._theirs():
            yield _entry(id_of_object_id(str(document["_id"])), document)
        held: FileEntry | None = None
        for document in self._ours():
            entry = _entry(document["metadata"]["file_id"], document)
            if held is not None and held != entry:
                yield held
            held = entry
        if held is not None:
            yield held

    def _theirs(self) -> Iterator[_Document]:
        """Yield filedepot's documents, in the order of their ids."""
        after, order = ObjectId(bytes(12)), [("_id", 1)]
        while page := self._page({**_NOT_OURS, **_FILEDEPOTS, "_id": {"$gt": after}}, order):
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1]["_id"]

    def _ours(self) -> Iterator[_Document]:
        """Yield our documents, those of one file behind each other, the newest last.

        One that is stored meanwhile comes later in the index than those that it replaces, so no file is missed.
        """
        after, seen, order = "", list[ObjectId](), [("metadata.file_id", 1), ("metadata.revision", 1)]
        while page := self._page({"metadata.file_id": {"$gte": after}, "_id": {"$nin": seen}}, order):
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1]["metadata"]["file_id"]
            there = [each["_id"] for each in page if each["metadata"]["file_id"] == last]
            after, seen = last, [*seen, *there] if last == after else there

    def _page(self, wanted: Mapping[str, Any], order: list[tuple[str, int]]) -> list[_Document]:
        """Return the next documents. Each page is asked for anew: a server forgets a cursor that waits ten minutes."""
        with failing(f"list {self._connection.collection!r} in database {self._connection.database!r}"):
            # One more than can be found, so that the server knows that nothing follows.
            found = self._connection.files.find(wanted, _LISTED, sort=order, limit=_PAGE, batch_size=_PAGE + 1)
            return list(found)

    # --- deleting -------------------------------------------------------------------------------------------------

    def _delete(self, file_id: str) -> None:
        with failing(self._what("delete", file_id)):
            self._drop(_wanted([file_id]))

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        unique = list(dict.fromkeys(file_ids))
        failed: dict[str, Exception] = {}
        for start in range(0, len(unique), _DELETE_LIMIT):
            batch = unique[start : start + _DELETE_LIMIT]
            try:
                with failing(self._what("delete", f"{batch[0]} and {len(batch) - 1} more")):
                    self._drop(_wanted(batch))
            except StorageFailed as error:
                failed |= dict.fromkeys(batch, error)
        return failed

    def _drop(self, wanted: Mapping[str, Any]) -> None:
        """Delete files: the documents first, since a file without all of its chunks must not be found."""
        # All in one answer.
        found = self._connection.files.find(wanted, {"_id": 1}, batch_size=10 * _DELETE_LIMIT)
        if generations := [each["_id"] for each in found]:
            self._connection.files.delete_many({"_id": {"$in": generations}})
            self._connection.chunks.delete_many({"files_id": {"$in": generations}})

    def remove_orphaned_chunks(self, older_than: timedelta = timedelta(days=1)) -> int:
        """Remove the chunks that uploads and deletions which were cut off have left; return of how many files.

        It reads the index of all chunks, so it takes a while, and may run while the storage is used.

        Args:
            older_than: how long ago the upload began, at least; longer than any takes.
        """
        limit, removed = _now() - older_than, 0
        with failing(f"clean {self._connection.collection!r} in database {self._connection.database!r}"):
            chunks = self._connection.chunks
            batch: list[ObjectId] = []
            # Sorted, so that the index alone is read and not the bytes.
            pipeline: list[dict[str, Any]] = [{"$sort": {"files_id": 1, "n": 1}}, {"$group": {"_id": "$files_id"}}]
            for each in chunks.aggregate(pipeline, allowDiskUse=True):
                generation = each["_id"]
                # Other programs' may be anything, and tell no time.
                if isinstance(generation, ObjectId) and generation.generation_time < limit:
                    batch.append(generation)
                if len(batch) >= _PAGE:
                    removed += self._remove_chunks(batch)
                    batch = []
            return removed + self._remove_chunks(batch)

    def _remove_chunks(self, generations: list[ObjectId]) -> int:
        known = {each["_id"] for each in self._connection.files.find({"_id": {"$in": generations}}, {"_id": 1})}
        orphans = [each for each in generations if each not in known]
        if orphans:
            self._connection.chunks.delete_many({"files_id": {"$in": orphans}})
        return len(orphans)


def _now() -> datetime:
    """Return the time as BSON can tell it: in whole milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _wanted(file_ids: list[str]) -> dict[str, Any]:
    """Return the condition for all versions of some files, filedepot's among them."""
    ours = {"metadata.file_id": file_ids[0] if len(file_ids) == 1 else {"$in": file_ids}}
    old = [ObjectId(digits) for each in file_ids if (digits := object_id_in(each)) is not None]
    return {"$or": [ours, {"_id": {"$in": old}, **_NOT_OURS}]} if old else ours


def _metadata(document: _Document) -> Mapping[str, Any]:
    """Return what is said beside GridFS's own keys; other programs may have put anything there."""
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _revision(document: _Document) -> int:
    return int(_metadata(document).get("revision", 0))


def _understood(file_id: str, document: _Document) -> FileInfo:
    metadata = _metadata(document)
    content_type = document.get("contentType") or metadata.get("contentType") or OCTET_STREAM
    name = clean_filename(document.get("filename")) or UNNAMED
    checksum = metadata.get("checksum")
    return FileInfo(
        file_id,
        name,
        str(content_type),
        int(document["length"]),
        _aware(document["uploadDate"]),
        checksum if isinstance(checksum, str) else None,
    )


def _aware(when: datetime) -> datetime:
    """Return a time of the database's, which a client gives with a zone or without."""
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _entry(file_id: str, document: _Document) -> FileEntry:
    return FileEntry.told(check_file_id(file_id), int(document["length"]), _aware(document["uploadDate"]))
