"""ObjectStoreStorage: files wherever obstore puts them: Azure Blob Storage, S3, Google Cloud Storage, a folder, memory.

The key of an object is the file id behind ``prefix``. In the cloud, name, type and checksum are attributes of the
object; a folder and a web server keep none, so there they are a header in front of the bytes, in the same object.

Constructing makes no request. A small file is stored with one request, a large one in parts, in memory that does not
grow with it. Every store shows an object when it is whole and not before.

Under an event loop, ``storage.aio`` awaits what obstore does, and uses threads only to read content from disks and
other blocking sources.
"""

from __future__ import annotations

import io
import tempfile
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

from depot_lite.concurrency.greenlets import Greenlets, run_blocking
from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.io.aio import AsyncChunks, AsyncStorage
from depot_lite.io.content import Content
from depot_lite.io.fileid import checked_or_new, is_file_id
from depot_lite.io.interfaces import UNNAMED, FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.objects.metadata import crc32_in, crc32_of, now, shown
from depot_lite.io.objects.s3 import ATTEMPT, overrides
from depot_lite.io.objectstore.client import StoreClient, Upload
from depot_lite.io.objectstore.errors import (
    OBSTORE_ERRORS,
    failing,
    is_changed,
    is_missing,
    is_no_container,
    is_refusal,
    may_have_arrived,
)
from depot_lite.io.objectstore.files import InAttributes, InHeader, attributes_of, info_of
from depot_lite.io.objectstore.options import CLOUDS, place_of, prefix_of, seconds, store_of, web_address
from depot_lite.io.objectstore.stream import ObjectReader, StoredObject
from depot_lite.io.objectstore.urls import ObjectUrls
from depot_lite.io.options import boolean, executor_of, integer

__all__ = ["ObjectStoreStorage"]

T = TypeVar("T")

#: How many bytes are handed over at a time, and how many parts a store takes.
_STEP: Final = 1024 * 1024
_PART_LIMIT: Final = 10_000
#: The smallest part that S3 takes, and the largest that is no mistake.
_PARTS: Final = (5 * 1024 * 1024, 1024**3)
#: What stores delete with one request.
_BATCH: Final = {"azure": 256}
_DELETE_LIMIT: Final = 1000


class ObjectStoreStorage(FileStorage):
    """Files at ``url``. Options may be strings, as they come from .ini files and the environment; dictionaries as JSON.

    For example ``url="az://container"`` with ``config={"account_name": "...", "account_key": "..."}``. What is not
    given, obstore looks for in the environment.
    """

    def __init__(
        self,
        # s3://bucket/folder, gs://, az://, file:///folder, memory:// or https://; without secrets.
        url: str,
        # The folder below it.
        prefix: str = "",
        *,
        # obstore's S3Config, GCSConfig or AzureConfig: keys, regions, endpoints.
        config: Mapping[str, Any] | str | None = None,
        # obstore's ClientConfig: timeouts, proxies, headers, allow_http.
        client_options: Mapping[str, Any] | str | None = None,
        # obstore's RetryConfig; times may be seconds.
        retry_config: Mapping[str, Any] | str | None = None,
        # One of obstore's credential providers.
        credential_provider: Callable[[], Any] | None = None,
        # Make the folder of a file:// URL if it is not there.
        mkdir: bool | str = False,
        # Whether `url` signs.
        sign_urls: bool | str = True,
        # Seconds (or a timedelta) that a signed URL works at least.
        signed_url_expiry: int | str | timedelta = 3600,
        # Where a CDN, or a public container, shows the objects: URLs are this, a slash, the prefix and the id.
        public_base_url: str | None = None,
        # Content of so many bytes and more is sent in parts of so many bytes, so many at a time.
        part_size: int | str = 8 * 1024 * 1024,
        parts_at_once: int | str = 4,
        # How many files a flush uploads at once.
        concurrency: int | str = 16,
        # The threads that do it; those that all storages share where there is none.
        executor: Executor | None = None,
    ) -> None:
        self._place = place_of(url)
        self._prefix = prefix_of(prefix)
        self._concurrency = integer("concurrency", concurrency, 1, 1000)
        self._executor = executor_of("executor", executor)
        self._part_size = integer("part_size", part_size, *_PARTS)
        self._sign_urls = boolean("sign_urls", sign_urls)
        self._expiry = seconds("signed_url_expiry", signed_url_expiry)
        self._public_base_url = web_address("public_base_url", public_base_url)
        self._layout = self._new_layout()
        # A web server may limit how much it lists, unnoticed.
        self.list_is_complete = self._place.kind != "http"
        store = store_of(
            self._place,
            config=config,
            client_options=client_options,
            retry_config=retry_config,
            credential_provider=credential_provider,
            mkdir=mkdir,
        )
        self._client = StoreClient(store, integer("parts_at_once", parts_at_once, 1, 100))
        self._urls = ObjectUrls(self._client, self._place, provided=credential_provider is not None)
        # Whether the container is known to be there.
        self._seen = self._place.kind not in CLOUDS

    def _new_layout(self) -> InAttributes | InHeader:
        """Return where the store keeps what is known of a file."""
        if self._place.kind in CLOUDS or self._place.kind == "memory":
            return InAttributes(dashes=self._place.kind != "azure")
        if self._public_base_url is not None:
            raise ConfigurationError(f"public_base_url: a store at {self._place.url} has no attributes to show")
        return InHeader()

    @property
    def location(self) -> Hashable:
        """Kind, container and prefix; for S3 what `S3Storage` says. Not the server, since it may have several names."""
        return self._place.location(self._client.store, self._prefix)

    @property
    def aio(self) -> AsyncStorage:
        """The same methods, awaited; what obstore does is awaited too, and runs in no thread of Python's."""
        return AsyncStorage(self, Greenlets())

    def __repr__(self) -> str:
        """Show where the files are."""
        return f"ObjectStoreStorage({self._place.url!r}, prefix={self._prefix!r})"

    def _key(self, file_id: str) -> str:
        return self._prefix + file_id

    def _what(self, doing: str, file_id: str) -> str:
        return f"{doing} {self._place.url.rstrip('/')}/{self._key(file_id)}"

    # --- storing --------------------------------------------------------------------------------------------------

    def create(
        self,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
        *,
        file_id: str | None = None,
    ) -> str:
        """Store a new file and return its id; a small one is refused where the id holds a file already.

        The store itself refuses, so that of two who create at the same time one fails. No store does so for files that
        are sent in parts.

        Raises:
            StorageFailed: as `FileStorage.create`, and for an id that is taken.
        """
        opened = Content.of(content, filename, content_type)
        info = self._store(checked_or_new(file_id), opened, new=True)
        opened.release()
        return info.file_id

    def _save(self, file_id: str, content: Content) -> FileInfo:
        return self._store(file_id, content)

    def _store(self, file_id: str, content: Content, known: int | None = None, *, new: bool = False) -> FileInfo:
        """Store content; ``known`` is its CRC-32 where that is certain before it was read."""
        reading = _reading(content)
        info = FileInfo(file_id, content.filename or UNNAMED, reading(lambda: content.content_type), 0, now())
        if known is None and content.size is not None and content.size >= self._part_size:
            known = reading(lambda: crc32_of(content))
        with content.open() as source:
            head = reading(lambda: source.read(self._part_size))
            if len(head) < self._part_size:
                return self._put(info, head, new=new)
            pieces = iter(lambda: reading(lambda: source.read(_STEP)), b"")
            return self._put_large(info, head, pieces, known, content.size)

    def _put(self, info: FileInfo, data: bytes, *, new: bool) -> FileInfo:
        """Store content that is in memory, with one request."""
        info = replace(info, content_length=len(data), checksum=shown(zlib.crc32(data)))
        told = attributes_of(info)
        attributes, header = self._layout.encoded(told)
        with failing(self._what("store", info.file_id)):
            try:
                self._client.put(self._key(info.file_id), header + data, attributes, new=new and self._can_refuse)
            except OBSTORE_ERRORS as error:
                self._unless_stored(info.file_id, told, error)
        return info

    @property
    def _can_refuse(self) -> bool:
        """Whether the store can be told to store an object only if there is none."""
        config: Mapping[str, Any] = getattr(self._client.store, "config", {})
        return self._place.kind != "http" and config.get("conditional_put") != "disabled"

    def _put_large(
        self, info: FileInfo, head: bytes, pieces: Iterator[bytes], known: int | None, size: int | None
    ) -> FileInfo:
        """Store content in parts, several at a time. Whatever fails, no part stays."""
        told = attributes_of(replace(info, checksum=None if known is None else shown(known)))
        attributes, header = self._layout.encoded(told)
        what = self._what("store", info.file_id)
        part_size = max(self._part_size, -(-(size or 0) // _PART_LIMIT))
        if self._place.kind == "http":
            raise StorageFailed(f"cannot {what}: a web server takes no parts; with a larger part_size it is sent whole")
        with failing(what):
            upload = self._client.upload(self._key(info.file_id), attributes, part_size)
        try:
            length, crc32 = self._send(upload, what, header, head, pieces)
            if known not in {None, crc32}:
                raise StorageFailed("the content changed while it was stored")
            with failing(what):
                try:
                    upload.finish()
                except OBSTORE_ERRORS as error:
                    self._unless_stored(info.file_id, told, error)
        except BaseException as error:
            upload.abort(error)
            raise
        return replace(info, content_length=length, checksum=shown(crc32) if known is not None else None)

    @staticmethod
    def _send(upload: Upload, what: str, header: bytes, head: bytes, pieces: Iterator[bytes]) -> tuple[int, int]:
        """Send it and return its length and CRC-32."""
        with failing(what):
            upload.write(header + head)
        length, crc32 = len(head), zlib.crc32(head)
        for piece in pieces:
            with failing(what):
                upload.write(piece)
            length, crc32 = length + len(piece), zlib.crc32(piece, crc32)
        return length, crc32

    def _unless_stored(self, file_id: str, told: Mapping[str, str], error: Exception) -> None:
        """Raise the error of an upload, unless the object is there after all: the answer may be what was lost.

        The object tells which attempt has made it. One that was there before does not count.
        """
        if may_have_arrived(error):
            try:
                _, found = self._look(file_id)
            except (*OBSTORE_ERRORS, StorageFailed):
                raise error from None
            if found.get(ATTEMPT) == told[ATTEMPT]:
                return
        raise error

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        return self._copy_of(self, source_id, file_id)

    def _copy_of(self, source: ObjectStoreStorage, source_id: str, file_id: str) -> FileInfo:
        """Let the store copy an object, and return what the copy tells: the source may be replaced meanwhile."""
        try:
            with failing(source._what("copy", source_id), source_id):
                self._client.copy(source._key(source_id), self._key(file_id))
        except StorageFailed as error:
            if is_refusal(error.__cause__):
                return self._read_and_store(source, source_id, file_id)
            raise
        try:
            return self._info(file_id)
        except BaseException:
            self._delete(file_id)
            raise

    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        if isinstance(source, ObjectStoreStorage) and source._client.store == self._client.store:
            return self._copy_of(source, source_id, file_id)
        return self._read_and_store(source, source_id, file_id)

    def _read_and_store(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        with source._open(source_id) as file:
            return self._store(file_id, self._verified(file), crc32_in(file.checksum))

    # --- finding --------------------------------------------------------------------------------------------------

    def _open(self, file_id: str) -> StoredFile:
        what = self._what("read", file_id)
        with failing(what, file_id):
            result = self._client.get(self._key(file_id))
            body = self._client.body(result)
            first = self._begin(body)
            told = self._told(what, result.attributes, first)
            info = info_of(file_id, result.meta, told, self._layout.header)
        reader = ObjectReader(
            body,
            first[self._layout.header :],
            info.content_length,
            what,
            self._client.following,
            partial(self._body_from, file_id, result.meta["e_tag"]),
        )
        return StoredObject(info, reader, self.public_url(file_id))

    def _begin(self, body: Any) -> memoryview:
        """Return as much of a body as has the header."""
        first = b""
        while len(first) < self._layout.header and (chunk := self._client.following(body)) is not None:
            first += bytes(chunk)
        return memoryview(first)

    def _told(self, what: str, attributes: Any, first: memoryview | bytes) -> Mapping[str, str]:
        told = self._layout.decoded(attributes, bytes(first[: self._layout.header]))
        if told is None:
            raise StorageFailed(f"cannot {what}: it is damaged, or not stored by depot_lite: it has no header")
        return told

    def _body_from(self, file_id: str, etag: str | None, start: int) -> Any:
        """Return the body from a position on, of the same object."""
        condition = {} if etag is None else {"if_match": etag}
        with failing(self._what("read", file_id), file_id):
            try:
                result = self._client.get(
                    self._key(file_id), range={"offset": start + self._layout.header}, **condition
                )
            except OBSTORE_ERRORS as error:
                if is_changed(error):
                    raise StorageFailed(f"file {file_id} was replaced while it was read") from error
                raise
        return self._client.body(result)

    def _info(self, file_id: str) -> FileInfo:
        with failing(self._what("look at", file_id), file_id):
            try:
                meta, told = self._look(file_id)
            except OBSTORE_ERRORS as error:
                self._check_container(error)
                raise
        return info_of(file_id, meta, told, self._layout.header)

    def _look(self, file_id: str) -> tuple[Any, Mapping[str, str]]:
        """Return what the store says of an object, and what the object tells."""
        if not self._layout.header:
            result = self._client.get(self._key(file_id), head=True)
            return result.meta, self._told("", result.attributes, b"")
        result = self._client.get(self._key(file_id))
        first = self._begin(self._client.body(result, self._layout.header))
        return result.meta, self._told(self._what("look at", file_id), result.attributes, first)

    def _exists(self, file_id: str) -> bool:
        with failing(self._what("look for", file_id)):
            try:
                self._client.get(self._key(file_id), head=True)
            except OBSTORE_ERRORS as error:
                if not is_missing(error):
                    raise
                self._check_container(error)
                return False
        return True

    def _check_container(self, error: Exception) -> None:
        """Raise where an object is missing because its container is.

        The answer to HEAD has no body that says which. So the first time it is asked for, lest all files be called
        missing because of a typing error.
        """
        if self._seen or not is_missing(error):
            return
        try:
            next(self._client.pages(self._prefix, 1), None)
        except OBSTORE_ERRORS as other:
            if is_no_container(other):
                raise
        self._seen = True

    def _list(self) -> Iterator[FileEntry]:
        pages = self._client.pages(self._prefix)
        while True:
            with failing(self._what("list", "")):
                page = next(pages, None)
            if page is None:
                return
            yield from self._entries(page)

    def _entries(self, page: list[Any]) -> Iterator[FileEntry]:
        # A web server lists paths from its root, and obstore leaves them so.
        prefix = self._place.key(self._prefix) if self._place.kind == "http" else self._prefix
        start = len(prefix)
        for each in page:
            path: str = each["path"]
            # What is in further folders below the prefix is not ours.
            if path.startswith(prefix) and is_file_id(path[start:]):
                yield FileEntry.told(path[start:], each["size"] - self._layout.header, each["last_modified"])

    # --- deleting -------------------------------------------------------------------------------------------------

    def _delete(self, file_id: str) -> None:
        with failing(self._what("delete", file_id)):
            try:
                self._client.delete([self._key(file_id)])
            except OBSTORE_ERRORS as error:
                if not is_missing(error):
                    raise

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        unique = list(dict.fromkeys(file_ids))
        size = _BATCH.get(self._place.kind, _DELETE_LIMIT)
        failed: dict[str, Exception] = {}
        for start in range(0, len(unique), size):
            failed |= self._delete_batch(unique[start : start + size])
        return failed

    def _delete_batch(self, file_ids: list[str]) -> dict[str, Exception]:
        try:
            self._client.delete([self._key(each) for each in file_ids])
        except OBSTORE_ERRORS:
            # Of a batch obstore tells one failure, and some stores fail for what is missing: so one by one.
            return super()._delete_many(file_ids)
        return {}

    # --- URLs -----------------------------------------------------------------------------------------------------

    @property
    def has_urls(self) -> bool:
        """Whether the storage has URLs of its own: with a ``public_base_url``, or where it can sign."""
        return self._public_base_url is not None or (self._sign_urls and self._urls.can_sign)

    def url(
        self,
        file_or_id: StoredFile | str,
        *,
        expires_in: int | timedelta | None = None,
        filename: str | None = None,
        disposition: str | None = None,
        content_type: str | None = None,
    ) -> str | None:
        """Return a signed URL at which the store gives the file; None where it has none, or cannot tell what is asked.

        It stays the same for a fourth of ``expires_in``, so that a browser finds in its cache what it has; up to that
        much longer it works. Name, disposition and type are told by Azure, with an account key, and by no other store:
        there they are what the object was stored with, and with any of them the middleware has to serve the file.
        """
        file_id = self._id(file_or_id)
        expiry = self._expiry if expires_in is None else seconds("expires_in", expires_in)
        if self._public_base_url is not None or not self._sign_urls:
            return self.public_url(file_id)
        with failing(self._what("sign a URL of", file_id)):
            return self._urls.signed(self._key(file_id), expiry, overrides(filename, disposition, content_type))

    def public_url(self, file_or_id: StoredFile | str) -> str | None:
        """Return the URL without a signature, None without a ``public_base_url``."""
        file_id = self._id(file_or_id)
        if self._public_base_url is None:
            return None
        return f"{self._public_base_url}/{quote(self._key(file_id), safe='/~')}"


def _reading(content: Content) -> Callable[[Callable[[], T]], T]:
    """Return how content is read: in a thread where an event loop must not wait for a disk or a stream."""
    source = content.source
    in_memory = isinstance(source, bytes | bytearray | memoryview | io.BytesIO | AsyncChunks) or (
        isinstance(source, tempfile.SpooledTemporaryFile) and not source._rolled  # type: ignore[attr-defined]  # not public
    )
    return _here if in_memory else run_blocking


def _here(call: Callable[[], T]) -> T:
    return call()
