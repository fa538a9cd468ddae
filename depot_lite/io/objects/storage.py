"""`ObjectStorage`: the template of a storage of objects.

It has the steps of each method: options, metadata, checksum, one request or several, the decision about a lost answer.
A backend has the requests.
"""

from __future__ import annotations

import logging
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Generic, TypeVar, cast

from depot_lite.errors import ConfigurationError, StorageFailed, StorageTimeout, StoredFileNotFound
from depot_lite.io.content import Content
from depot_lite.io.fileid import is_file_id, is_note_id
from depot_lite.io.interfaces import UNNAMED, FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.objects.errors import ErrorTable
from depot_lite.io.objects.metadata import ATTEMPT, crc32_of, format_crc32, now, parse_crc32, response_headers
from depot_lite.io.objects.options import expiry_of
from depot_lite.io.objects.readers import SummedReader
from depot_lite.io.objects.silence import DEFAULT, Patience, Silence
from depot_lite.io.options import boolean, executor_of, integer
from depot_lite.io.urls import UrlSigner

logger: Final = logging.getLogger("depot_lite")

#: str for a storage whose files all have URLs, else ``str | None``.
Url = TypeVar("Url", bound=str | None)
#: The server's description of an object.
Record = TypeVar("Record")
T = TypeVar("T")


class ObjectStorage(FileStorage, Generic[Url, Record]):
    """A storage whose files are objects, each with a key and perhaps a URL."""

    table: ClassVar[ErrorTable]
    #: Content of at least so many bytes is sent in parts.
    _part_size: int

    def __init__(
        self,
        # The start of all keys.
        prefix: str,
        # How many files a flush uploads at once.
        concurrency: int | str,
        # The threads for it; by default the storage has its own.
        executor: Executor | None,
        # Whether `url` signs. Unsigned URLs work only if the objects are public.
        sign_urls: bool | str,
        # How long a signed URL works at least, in seconds or as a timedelta.
        signed_url_expiry: int | str | timedelta,
        # The address at which a CDN or the server itself shows the objects: URLs are this, a slash and the key.
        public_base_url: str | None,
        # How long a call may be without progress, and how long the server may take to copy or complete a file.
        patience: Patience = DEFAULT,
        # Signs the URLs at that address, called with a URL and the time of its expiry.
        url_signer: UrlSigner | None = None,
    ) -> None:
        self._prefix = prefix
        self._concurrency = integer("concurrency", concurrency, 1, 1000)
        self._executor = executor_of("executor", executor)
        self._sign_urls = boolean("sign_urls", sign_urls)
        self._expiry = expiry_of("signed_url_expiry", signed_url_expiry)
        self._publish(public_base_url, url_signer)
        if url_signer is not None and not self._sign_urls:
            raise ConfigurationError("sign_urls and url_signer contradict each other")
        self._silence = Silence(patience)

    @property
    @abstractmethod
    def _root(self) -> str:
        """The URL of the bucket, with a slash at its end."""

    def _key(self, file_id: str) -> str:
        return self._prefix + file_id

    def _what(self, doing: str, file_id: str) -> str:
        """Return the attempt and its object, for messages."""
        return f"{doing} {self._root}{self._key(file_id)}"

    # --- storing --------------------------------------------------------------------------------------------------

    @abstractmethod
    def _put(self, info: FileInfo, data: bytes, *, new: bool) -> None:
        """Store content that is in memory, with one request; with ``new``, replace nothing if the server can do so."""

    @abstractmethod
    def _put_large(self, info: FileInfo, content: SummedReader, size: int | None, *, new: bool) -> Mapping[str, str]:
        """Store content in parts and return the metadata of its object. After any failure, no part stays."""

    def _save(self, file_id: str, content: Content) -> FileInfo:
        return self._store(file_id, content)

    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        with self._opened(source, source_id) as file:
            return self._store(file_id, self._verified(file), parse_crc32(file.checksum))

    def _store(self, file_id: str, content: Content, known: int | None = None, *, new: bool = False) -> FileInfo:
        """Store content.

        Args:
            known: its CRC-32, if it is certain before the content is read.
            new: whether the id is a new one, under which nothing is to be replaced.
        """
        read = self._reading(content)
        info = self._new_info(file_id, content.filename, read(lambda: content.content_type))
        if known is None and content.size is not None and content.size >= self._part_size:
            known = read(lambda: crc32_of(content))
        with content.open() as source:
            head = read(lambda: source.read(self._part_size))
            if len(head) < self._part_size:
                info = replace(info, content_length=len(head), checksum=format_crc32(zlib.crc32(head)))
                self._put(info, head, new=new)
                return info
            info = replace(info, checksum=None if known is None else format_crc32(known))
            summed = self._summed(head, lambda size: read(lambda: source.read(size)), known)
            metadata = self._put_large(info, summed, content.size, new=new)
        info = replace(info, content_length=summed.length)
        return info if known is not None else self._add_checksum(info, metadata, format_crc32(summed.sum))

    def _new_info(self, file_id: str, filename: str | None, content_type: str) -> FileInfo:
        return FileInfo(file_id, filename or UNNAMED, content_type, 0, now())

    def _reading(self, content: Content) -> Callable[[Callable[[], T]], T]:
        """Return how to read content, which may block."""
        return lambda read: read()

    def _summed(self, head: bytes, read: Callable[[int], bytes], known: int | None) -> SummedReader:
        return SummedReader(head, read, known)

    def _add_checksum(self, info: FileInfo, metadata: Mapping[str, str], checksum: str) -> FileInfo:
        """Add the checksum of a stream to its object, if possible, and return the info of the file.

        The metadata were sent before it was known.
        """
        return info

    # --- notes ----------------------------------------------------------------------------------------------------

    #: The version of no object, by which servers are recognised that ignore conditions; None if they never do.
    _no_version: Any = None
    #: Until the server turns out to have no conditional writes, and whether it is known to have them.
    notes_are_conditional = True
    _obeys_conditions = False

    def _version_in(self, record: Record) -> Any:
        """Return the version of an object, for `_put_if`."""
        return None

    def _put_if(self, info: FileInfo, data: bytes, version: Any) -> bool | None:
        """Store content that is in memory if the object has this version; if it is None, if there is no object.

        Return whether it was stored; None if the server has no conditions.
        """
        return None

    def _note_version(self, file_id: str) -> Any:
        try:
            with self.table.translating(self._what("look at", file_id), file_id), self._looking():
                return self._version_in(self._look(file_id))
        except StoredFileNotFound:
            return None

    def _swap_note(self, file_id: str, text: bytes, version: Any) -> bool:
        # A subclass may store other bytes than it is given, such as encrypted ones.
        if self.notes_are_conditional and type(self)._save is ObjectStorage._save:
            stored = self._put_note(file_id, text, version)
            # A server that cannot compare versions refuses them all.
            if stored or (stored is False and self._note_version(file_id) != version):
                return stored
            self.notes_are_conditional = False
            logger.warning("%r has no conditional writes: of two changes of a note at once, one may be lost", self)
        return super()._swap_note(file_id, text, version)

    def _put_note(self, file_id: str, text: bytes, version: Any) -> bool | None:
        """Store a note on condition, and return whether it was stored; None if the server obeys no conditions."""
        info = self._new_info(file_id, "note.txt", "text/plain")
        info = replace(info, content_length=len(text), checksum=format_crc32(zlib.crc32(text)))
        if version is not None and self._no_version is not None and not self._obeys_conditions:
            if self._put_if(info, text, self._no_version) is not False:
                return None
            self._obeys_conditions = True
        return self._put_if(info, text, version)

    # --- errors ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _sending(self, file_id: str, metadata: Mapping[str, str]) -> Iterator[None]:
        """Translate the errors of an upload. A lost answer is no error if the object was stored."""
        with self.table.translating(self._what("store", file_id)):
            try:
                yield
            except self.table.errors as error:
                self._unless_stored(file_id, metadata, error)

    def _unless_stored(self, file_id: str, metadata: Mapping[str, str], error: Exception) -> None:
        """Raise the error of an upload, unless the object was stored and the answer was lost.

        The metadata name the attempt that made an object. An object of another attempt does not count. A server that
        was silent is not asked: another call to it would take as long again.
        """
        errors: tuple[type[Exception], ...] = (*self.table.errors, StorageFailed)
        if self.table.is_lost(error):
            try:
                found = self._metadata_in(self._look(file_id))
            except errors:
                raise error from None
            if found.get(ATTEMPT) == metadata[ATTEMPT]:
                return
        raise error

    # --- finding --------------------------------------------------------------------------------------------------

    @abstractmethod
    def _look(self, file_id: str) -> Record:
        """Return the server's record of an object; the library's own errors are raised."""

    @abstractmethod
    def _info_in(self, file_id: str, record: Record) -> FileInfo:
        """Return the info of a file."""

    @abstractmethod
    def _metadata_in(self, record: Record) -> Mapping[str, str]:
        """Return the metadata of an object."""

    @abstractmethod
    def _check_container(self) -> None:
        """Raise if the bucket or container does not exist.

        The answer about a missing object may not say so. The first such answer is checked, lest a typing error in the
        container's name make all files look missing.
        """

    def _probe(self, file_id: str) -> object:
        """Raise the library's error if there is no such object."""
        return self._look(file_id)

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Check the container if an object is missing."""
        try:
            yield
        except self.table.errors as error:
            if self.table.is_missing(error):
                self._check_container()
            raise

    def _info(self, file_id: str) -> FileInfo:
        with self.table.translating(self._what("look at", file_id), file_id), self._looking():
            return self._info_in(file_id, self._look(file_id))

    def _exists(self, file_id: str) -> bool:
        with self.table.translating(self._what("look for", file_id)):
            return self._unless_missing(lambda: self._probe(file_id))

    def _unless_missing(self, call: Callable[[], object]) -> bool:
        """Make a request about an object, and return False if there is no such object."""
        try:
            with self._looking():
                call()
        except self.table.errors as error:
            if not self.table.is_missing(error):
                raise
            return False
        return True

    # --- deleting -------------------------------------------------------------------------------------------------

    @abstractmethod
    def _delete_object(self, key: str) -> None:
        """Delete an object; an error of the library if it is missing counts as success."""

    def _delete(self, file_id: str) -> None:
        what = self._what("delete", file_id)
        self._silence.check(what)
        with self.table.translating(what):
            self._unless_missing(lambda: self._delete_object(self._key(file_id)))

    @property
    @abstractmethod
    def _batch_limit(self) -> int:
        """How many files one request deletes."""

    @abstractmethod
    def _delete_batch(self, file_ids: list[str]) -> dict[str, Exception]:
        """Delete files with one request; return the failures."""

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        failed: dict[str, Exception] = {}
        for batch in batches(file_ids, self._batch_limit):
            try:
                self._silence.check(self._what("delete", batch[0]))
                failed |= self._delete_batch(batch)
            except StorageTimeout as error:
                failed |= dict.fromkeys(batch, error)
        return failed

    def _delete_each(self, file_ids: list[str]) -> dict[str, Exception]:
        """Delete files with a request for each; return the failures."""
        return super()._delete_many(file_ids)

    # --- URLs -----------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _public(self) -> bool:
        """Whether the objects can be read without a signature."""

    @abstractmethod
    def _signed_url(self, key: str, expires_in: int, headers: Mapping[str, str]) -> Url:
        """Return a signed URL with headers of its answer; None if the storage cannot sign it."""

    @abstractmethod
    def _unsigned_url(self, key: str) -> Url:
        """Return the server's own URL of an object."""

    def url(
        self,
        file_or_id: StoredFile | str,
        *,
        expires_in: int | timedelta | None = None,
        filename: str | None = None,
        disposition: str | None = None,
        content_type: str | None = None,
    ) -> Url:
        """Return a URL at which the server gives the file: signed, unless configured otherwise; None if it has none.

        It stays the same for a fourth of ``expires_in``, so that browsers find the file in their caches; it works for
        up to that much longer. Class docstrings say which storages heed name, disposition and type. An unsigned URL
        gives the ones stored with the object.
        """
        file_id = self._id(file_or_id)
        expiry = self._expiry if expires_in is None else expiry_of("expires_in", expires_in)
        headers = response_headers(filename, disposition, content_type)
        if self._public_base_url is not None:
            return cast(Url, self._signed_at_public_base(file_id, expiry))
        if not self._sign_urls:
            return self._plain_url(file_id)
        with self.table.translating(self._what("sign a URL of", file_id)):
            return self._signed_url(self._key(file_id), expiry, headers)

    def public_url(self, file_or_id: StoredFile | str) -> str | None:
        """Return the URL without a signature, None if the objects are not public."""
        file_id = self._id(file_or_id)
        return self._plain_url(file_id) if self._public and self._url_signer is None else None

    def _url_beside(self, file_id: str) -> str | None:
        """Return the public URL of a file that is opened; notes have none."""
        return None if is_note_id(file_id) else self.public_url(file_id)

    def _public_path(self, file_id: str) -> str:
        return self._key(file_id)

    def _plain_url(self, file_id: str) -> Url:
        if self._public_base_url is not None:
            return cast(Url, self._url_at_public_base(file_id))
        with self.table.translating(self._what("find the URL of", file_id)):
            return self._unsigned_url(self._key(file_id))


def batches(file_ids: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield the ids, without duplicates, in lists of up to ``size``."""
    unique = list(dict.fromkeys(file_ids))
    for start in range(0, len(unique), size):
        yield unique[start : start + size]


def entries_below(prefix: str, objects: Iterable[tuple[str, int, datetime]]) -> Iterator[FileEntry]:
    """Yield the files among objects, which are key, size and time; those in further folders are not ours."""
    start = len(prefix)
    for key, size, when in objects:
        if key.startswith(prefix) and is_file_id(key[start:]):
            yield FileEntry.told(key[start:], size, when)
