"""GridFSStorage: files in a MongoDB database, as GridFS keeps them.

A file is a document in ``<collection>.files`` and its chunks of 255 KiB in ``<collection>.chunks``, as in the GridFS
specification, so that ``mongofiles`` and every driver can read it. Files of filedepot are read, listed and deleted:
their ids, 24 digits, are accepted wherever a file id is. Files of other programs are read by such ids, and neither
listed nor swept.

The file id is in ``metadata``, and each version of a file has its own ``_id``: GridFS ties chunks to ``_id``, and the
old bytes have to stay until the new ones are complete. The document is written last, so that a file appears when it is
complete. It is inserted on condition that its file id has no document, without a search before; a unique index decides
between simultaneous inserts.

The chunks are written and read without pymongo's ``GridFSBucket``, which looks for indexes at each upload, holds 48 MB
of each upload in memory, and cannot replace a file without a gap in which no file exists.

If the process dies in the middle of an upload or a deletion, chunks may stay that belong to no file. They are never
listed; `GridFSStorage.remove_orphaned_chunks` removes them. GridFS cannot copy inside the server: copies go through
this process. It has no URLs: the middleware serves the files.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, BinaryIO, Final, cast

import pymongo
from bson import Int64, ObjectId
from pymongo.errors import DuplicateKeyError

from depot_lite.errors import ConfigurationError, StorageFailed, StorageTimeout, StoredFileNotFound
from depot_lite.io.content import Content
from depot_lite.io.fileid import id_of_object_id, is_note_id, object_id_in
from depot_lite.io.gridfs.client import GridFSConnection, database_of
from depot_lite.io.gridfs.documents import (
    FILEDEPOTS,
    LISTED,
    NEWEST,
    NOT_OURS,
    Document,
    bson_now,
    entry_of,
    info_of,
    revision_of,
    versions_of,
)
from depot_lite.io.gridfs.errors import MONGO_ERRORS, translating
from depot_lite.io.gridfs.stream import CHUNK, ChunkReader, ChunkWriter
from depot_lite.io.interfaces import UNNAMED, FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.objects.silence import Patience, Silence
from depot_lite.io.objects.storage import batches
from depot_lite.io.options import executor_of, integer
from depot_lite.io.urls import UrlSigner

__all__ = ["GridFSStorage"]

logger: Final = logging.getLogger("depot_lite")

#: How many files three requests delete, and how many documents one request of a listing returns.
_DELETE_LIMIT: Final = 1000
_PAGE: Final = 1000


class GridFSStorage(FileStorage):
    """Files in GridFS. Options may be strings, as they come from .ini files and the environment.

    The first two are filedepot's, by position too.
    """

    notes_are_conditional = True

    def __init__(
        self,
        # mongodb://user:password@host/database?options, which are pymongo's (timeouts, TLS, maxPoolSize ...). It is
        # never shown. Its read preference is ignored: a file has to be readable as soon as it is stored.
        mongouri: str | None = None,
        # GridFS calls it bucket.
        collection: str = "filedepot",
        *,
        # The database, by default the one in the URI.
        database: str | None = None,
        # A pymongo.MongoClient, instead of the URI. It is not closed.
        client: Any = None,
        # How many files a flush uploads at once.
        concurrency: int | str = 8,
        # The threads for it; by default the storage has its own.
        executor: Executor | None = None,
        # How long a call may be without progress. The URI's own timeouts take precedence.
        timeout: float | str | timedelta = 60,
        # The address at which another server shows the files: URLs are this, a slash and the file id.
        public_base_url: str | None = None,
        # Signs the URLs at that address, called with a URL and the time of its expiry.
        url_signer: UrlSigner | None = None,
    ) -> None:
        patience = Patience.of(timeout, timeout)
        if (mongouri is None) == (client is None):
            raise ConfigurationError(
                f"expected either mongouri or client, got {'neither' if client is None else 'both'}"
            )
        if not collection or set(collection) & set("$\0"):
            raise ConfigurationError(f"collection={collection!r}: expected the name of a collection")
        self._concurrency = integer("concurrency", concurrency, 1, 1000)
        self._executor = executor_of("executor", executor)
        self._silence = Silence(patience)
        self._publish(public_base_url, url_signer)
        self._connection = GridFSConnection(mongouri, client, database_of(mongouri, database), collection, patience)

    @property
    def location(self) -> Hashable:
        """Database and collection, without the server, which may have several addresses."""
        return "gridfs", self._connection.database, self._connection.collection

    def __repr__(self) -> str:
        """Show where the files are."""
        return f"GridFSStorage(database={self._connection.database!r}, collection={self._connection.collection!r})"

    def close(self) -> None:
        """Close the connections. The next use opens others."""
        self._connection.close()

    def _what(self, doing: str, file_id: object) -> str:
        return (
            f"{doing} gridfs file {file_id} of {self._connection.collection!r} in database "
            f"{self._connection.database!r}"
        )

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Translate the errors of commands, and note whether the server answers."""
        began = time.monotonic()
        try:
            with translating(what):
                yield
        except StorageTimeout:
            # Before that, it has answered other commands.
            self._silence.missed(max(began, time.monotonic() - self._silence.patience.limit))
            raise
        self._silence.heard()

    # --- storing --------------------------------------------------------------------------------------------------

    def _save(self, file_id: str, content: Content) -> FileInfo:
        return cast(FileInfo, self._store(file_id, content, self._enter))

    def _note_version(self, file_id: str) -> int | None:
        try:
            return revision_of(self._find(file_id))
        except StoredFileNotFound:
            return None

    def _swap_note(self, file_id: str, text: bytes, version: int | None) -> bool:
        if type(self)._save is not GridFSStorage._save:  # it may store other bytes, such as encrypted ones
            return super()._swap_note(file_id, text, version)
        content = Content.of(text, "note.txt", "text/plain")
        return self._store(file_id, content, partial(self._enter_after, version)) is not None

    def _store(
        self, file_id: str, content: Content, enter: Callable[[str, dict[str, Any]], bool | None]
    ) -> FileInfo | None:
        """Store the chunks, and have ``enter`` insert the document.

        It returns whether the file is new, or None if it has refused the document; so does this method then.
        """
        content_type, name = content.content_type, content.filename or UNNAMED
        generation = ObjectId()
        with self._asking(self._what("store", file_id)):
            self._connection.prepare()
        try:
            with self._asking(self._what("store", file_id)):
                writer = ChunkWriter(self._connection.chunks, generation)
                with content.open() as source:
                    writer.take(source)
                document = {
                    "_id": generation,
                    "filename": name,
                    # As filedepot and older drivers do.
                    "contentType": content_type,
                    "length": Int64(writer.length),
                    "chunkSize": CHUNK,
                    "uploadDate": bson_now(),
                    "metadata": {"file_id": file_id, "revision": 0, "checksum": writer.checksum},
                }
                is_new = enter(file_id, document)
        except BaseException:
            self._forget(file_id, generation)
            raise
        if is_new is None:
            self._forget(file_id, generation)
            return None
        if not is_new:
            self._drop_older(file_id, document)
        return info_of(file_id, document)

    def _enter(self, file_id: str, document: dict[str, Any]) -> bool:
        """Insert the document of the file, and return whether the file is new."""
        if object_id_in(file_id) is None and self._is_first(file_id, document):
            return True
        while True:
            latest = self._latest(file_id, {"metadata.revision": 1})
            document["metadata"]["revision"] = 0 if latest is None else revision_of(latest) + 1
            with suppress(DuplicateKeyError):  # another writer was faster; that version is the older one
                self._connection.files.insert_one(document)
                return latest is None

    def _enter_after(self, version: int | None, file_id: str, document: dict[str, Any]) -> bool | None:
        """Insert the document if the file has this revision; None if it has none."""
        if version is None:
            return self._is_first(file_id, document) or None
        document["metadata"]["revision"] = version + 1
        try:
            self._connection.files.insert_one(document)
        except DuplicateKeyError:
            return None
        # Others may have inserted this revision and the next one, and have removed this one.
        latest = self._latest(file_id, {"metadata.revision": 1})
        return False if latest is not None and revision_of(latest) == version + 1 else None

    def _is_first(self, file_id: str, document: Mapping[str, Any]) -> bool:
        """Insert the document unless the file has one, with one request; return whether it was inserted."""
        fields = {key: each for key, each in document.items() if key != "metadata"}
        said = {f"metadata.{key}": each for key, each in document["metadata"].items() if key != "file_id"}
        try:
            done = self._connection.files.update_one(
                {"metadata.file_id": file_id}, {"$setOnInsert": fields | said}, upsert=True
            )
        except DuplicateKeyError:  # another writer was faster
            return False
        return done.matched_count == 0

    def _forget(self, file_id: str, generation: ObjectId) -> None:
        """Remove the remains of a failed upload, the document included: perhaps only its answer was lost."""
        what, limit = self._what("clean up after", file_id), self._silence.patience.read
        with suppress(StorageFailed), self._asking(what), pymongo.timeout(limit):
            self._connection.files.delete_one({"_id": generation})
            self._connection.chunks.delete_many({"files_id": generation})

    def _drop_older(self, file_id: str, document: Document) -> None:
        """Delete the versions before this one. The file is replaced already, so a failure only leaves them behind."""
        older = {"metadata.revision": {"$not": {"$gte": revision_of(document)}}}
        try:
            self._drop({"$and": [versions_of([file_id]), older]})
        except MONGO_ERRORS as error:
            logger.warning("an older version of file %s was left in %r: %s", file_id, self, type(error).__name__)

    # --- finding --------------------------------------------------------------------------------------------------

    def _latest(self, file_id: str, fields: Mapping[str, Any] | None = None) -> Document | None:
        return self._connection.files.find_one(versions_of([file_id]), fields, sort=NEWEST)

    def _find(self, file_id: str) -> Document:
        with translating(self._what("look for", file_id)):
            found = self._latest(file_id)
        if found is None:
            raise self._missing(file_id)
        return found

    def _open(self, file_id: str) -> StoredFile:
        document = self._find(file_id)
        # The reader needs the file, whose info it may renew.
        file = StoredFile(info_of(file_id, document), lambda: cast(BinaryIO, reader))
        reader = ChunkReader(
            self._connection.chunks, document, self._what("read", file_id), partial(self._renew, file_id, file)
        )
        return file

    def _renew(self, file_id: str, file: StoredFile) -> Document:
        document = self._find(file_id)
        file.info = info_of(file_id, document)
        return document

    def _exists(self, file_id: str) -> bool:
        with translating(self._what("look for", file_id)):
            return self._latest(file_id, {"_id": 1}) is not None

    def _list(self) -> Iterator[FileEntry]:
        """Yield filedepot's files, then ours. A file of filedepot that is replaced meanwhile may come twice."""
        for document in self._theirs():
            yield entry_of(id_of_object_id(str(document["_id"])), document)
        held: FileEntry | None = None
        for document in self._ours():
            if is_note_id(document["metadata"]["file_id"]):
                continue
            entry = entry_of(document["metadata"]["file_id"], document)
            if held is not None and held != entry:
                yield held
            held = entry
        if held is not None:
            yield held

    def _theirs(self) -> Iterator[Document]:
        """Yield filedepot's documents, in the order of their ids."""
        after, order = ObjectId(bytes(12)), [("_id", 1)]
        while page := self._page({**NOT_OURS, **FILEDEPOTS, "_id": {"$gt": after}}, order):
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1]["_id"]

    def _ours(self) -> Iterator[Document]:
        """Yield our documents, sorted by file and version.

        A version stored meanwhile comes after the ones that it replaces, so no file is missed.
        """
        after, seen, order = "", list[ObjectId](), [("metadata.file_id", 1), ("metadata.revision", 1)]
        while page := self._page({"metadata.file_id": {"$gte": after}, "_id": {"$nin": seen}}, order):
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1]["metadata"]["file_id"]
            there = [each["_id"] for each in page if each["metadata"]["file_id"] == last]
            after, seen = last, [*seen, *there] if last == after else there

    def _page(self, where: Mapping[str, Any], order: list[tuple[str, int]]) -> list[Document]:
        """Return the next documents. Each page is a new query: a server forgets a cursor that waits ten minutes."""
        with translating(f"list {self._connection.collection!r} in database {self._connection.database!r}"):
            # One more than possible, so that the server knows that nothing follows.
            found = self._connection.files.find(where, LISTED, sort=order, limit=_PAGE, batch_size=_PAGE + 1)
            return list(found)

    # --- deleting -------------------------------------------------------------------------------------------------

    def _delete(self, file_id: str) -> None:
        what = self._what("delete", file_id)
        self._silence.check(what)
        with self._asking(what):
            self._drop(versions_of([file_id]))

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        failed: dict[str, Exception] = {}
        for batch in batches(file_ids, _DELETE_LIMIT):
            try:
                what = self._what("delete", f"{batch[0]} and {len(batch) - 1} more")
                self._silence.check(what)
                with self._asking(what):
                    self._drop(versions_of(batch))
            except StorageFailed as error:
                failed |= dict.fromkeys(batch, error)
        return failed

    def _drop(self, where: Mapping[str, Any]) -> None:
        """Delete files: the documents first, since a file without all its chunks must not be found."""
        # A batch that holds all of them.
        with pymongo.timeout(self._silence.patience.read):  # once: it cleans up
            found = list(self._connection.files.find(where, {"_id": 1}, batch_size=10 * _DELETE_LIMIT))
        if generations := [each["_id"] for each in found]:
            self._connection.files.delete_many({"_id": {"$in": generations}})
            self._connection.chunks.delete_many({"files_id": {"$in": generations}})

    def remove_orphaned_chunks(self, older_than: timedelta = timedelta(days=1)) -> int:
        """Remove the chunks that interrupted uploads and deletions have left; return the number of their files.

        It reads the index of all chunks, which takes a while. The storage may be used meanwhile.

        Args:
            older_than: the least age of an upload; longer than any upload takes.
        """
        limit, removed = bson_now() - older_than, 0
        with translating(f"clean {self._connection.collection!r} in database {self._connection.database!r}"):
            chunks = self._connection.chunks
            batch: list[ObjectId] = []
            # Sorted, so that the index alone is read and not the bytes.
            pipeline: list[dict[str, Any]] = [{"$sort": {"files_id": 1, "n": 1}}, {"$group": {"_id": "$files_id"}}]
            for each in chunks.aggregate(pipeline, allowDiskUse=True):
                generation = each["_id"]
                # Ids of other programs may have any type, without a time.
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
