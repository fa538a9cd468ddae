"""ObjectStoreStorage: files wherever obstore puts them: Azure Blob Storage, S3, Google Cloud Storage, a folder, memory.

The key of an object is ``prefix`` and the file id. In the cloud, name, type and checksum are attributes of the object;
folders and web servers keep none, so there they are a header before the bytes, in the same object.

The constructor makes no request. A small file is stored with one request, a large one in parts, with constant memory.
In every store, an object appears when it is complete, not before.

Under an event loop, ``storage.aio`` awaits obstore, and uses threads only to read content from disks and other blocking
sources.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Executor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from depot_lite.concurrency.greenlets import Greenlets, run_blocking
from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.io.aio import AsyncChunks, AsyncStorage
from depot_lite.io.content import Content
from depot_lite.io.fileid import checked_or_new
from depot_lite.io.interfaces import FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.objects.options import max_value_of
from depot_lite.io.objects.readers import ObjectFile, SummedReader
from depot_lite.io.objects.silence import Patience
from depot_lite.io.objects.storage import ObjectStorage, entries_below
from depot_lite.io.objectstore.client import StoreClient
from depot_lite.io.objectstore.errors import (
    ERRORS,
    OBSTORE_ERRORS,
    is_changed,
    is_conflict,
    is_no_container,
    is_refusal,
    translating,
)
from depot_lite.io.objectstore.files import InAttributes, InHeader, attributes_of, info_of
from depot_lite.io.objectstore.options import CLOUDS, address_of, prefix_of, stores_of
from depot_lite.io.objectstore.stream import ChunkedBody, ObjectReader
from depot_lite.io.objectstore.urls import ObjectUrls
from depot_lite.io.options import integer
from depot_lite.io.urls import UrlSigner

if TYPE_CHECKING:
    from obstore import PutMode

__all__ = ["ObjectStoreStorage"]

T = TypeVar("T")
#: The store's record of an object, and its metadata.
Record = tuple[Any, Mapping[str, str]]

#: How many bytes obstore gets at a time, and how many parts stores accept.
_STEP: Final = 1024 * 1024
_PART_LIMIT: Final = 10_000
#: The smallest part that S3 accepts, and the largest plausible one.
_PARTS: Final = (5 * 1024 * 1024, 1024**3)


class ObjectStoreStorage(ObjectStorage[str | None, Record]):
    """Files at ``url``. Options may be strings, as they come from .ini files and the environment; dictionaries as JSON.

    For example ``url="az://container"`` with ``config={"account_name": "...", "account_key": "..."}``. obstore looks
    for options that are not set in the environment.

    `ObjectStorage` describes the options for URLs and threads. Name, disposition and type of a signed URL are heeded by
    Azure, with an account key, and by no other store: there, a URL with any of them is None, and the application has to
    serve the file. Public are the files of a storage with a ``public_base_url``.
    """

    table = ERRORS

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
        # Make the folder of a file:// URL if it is missing.
        mkdir: bool | str = False,
        sign_urls: bool | str = True,
        signed_url_expiry: int | str | timedelta = 3600,
        public_base_url: str | None = None,
        url_signer: UrlSigner | None = None,
        # The longest value of one attribute of an object that the server takes: 256 for Swift.
        max_metadata_value: int | str | None = None,
        # Content of this size and more is sent in parts of this size, so many at a time.
        part_size: int | str = 8 * 1024 * 1024,
        parts_at_once: int | str = 4,
        concurrency: int | str = 16,
        executor: Executor | None = None,
        timeout: float | str | timedelta = 60,
        copy_timeout: float | str | timedelta = 300,
    ) -> None:
        patience = Patience.of(timeout, copy_timeout)
        self._address, prefix = address_of(url), prefix_of(prefix)
        urls = sign_urls, signed_url_expiry, public_base_url
        super().__init__(prefix, concurrency, executor, *urls, patience, url_signer)
        self._max_value = max_value_of(max_metadata_value)
        self._part_size = integer("part_size", part_size, *_PARTS)
        self._layout = self._new_layout()
        self._adapt_to(self._address.kind)
        given = (config, client_options, retry_config, credential_provider, mkdir)
        stores = stores_of(self._address, *given, patience)
        self._client = StoreClient(stores, integer("parts_at_once", parts_at_once, 1, 100), self._silence)
        self._urls = ObjectUrls(self._client, self._address, provided=credential_provider is not None)

    def _adapt_to(self, kind: str) -> None:
        """Note the differences between the kinds of stores."""
        # obstore replaces no known version of a file in a folder.
        self.notes_are_conditional = kind not in {"local", "http"}
        if kind == "s3":
            self._no_version = {"e_tag": '"00000000000000000000000000000000"'}
        # A web server may limit its listings without saying so.
        self.list_is_complete = kind != "http"
        # Whether the container is known to exist.
        self._seen = kind not in CLOUDS

    def _new_layout(self) -> InAttributes | InHeader:
        """Return the layout of the metadata in this store."""
        if self._address.kind in CLOUDS or self._address.kind == "memory":
            return InAttributes(dashes=self._address.kind != "azure")
        if self._public_base_url is not None:
            raise ConfigurationError(f"public_base_url: a store at {self._address.url} has no attributes for it")
        return InHeader()

    @property
    def location(self) -> Hashable:
        """Kind, container and prefix, for S3 as in `S3Storage`; without the server, which may have several names."""
        return self._address.location(self._client.store, self._prefix)

    @property
    def aio(self) -> AsyncStorage:
        """The same methods, awaited. obstore is awaited too, without threads of Python's."""
        return AsyncStorage(self, Greenlets())

    def __repr__(self) -> str:
        """Show where the files are."""
        return f"ObjectStoreStorage({self._address.url!r}, prefix={self._prefix!r})"

    @property
    def _root(self) -> str:
        return f"{self._address.url.rstrip('/')}/"

    # --- storing --------------------------------------------------------------------------------------------------

    def create(
        self,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
        *,
        file_id: str | None = None,
    ) -> str:
        """Store a new file and return its id; a small one is refused if the id has a file already.

        The store itself refuses, so that one of two simultaneous calls fails. No store does so for files sent in parts.

        Raises:
            StorageFailed: as `FileStorage.create`, and for an id that has a file.
        """
        opened = Content.of(content, filename, content_type)
        info = self._store(checked_or_new(file_id), opened, new=True)
        opened.release()
        return info.file_id

    def _reading(self, content: Content) -> Callable[[Callable[[], T]], T]:
        """Return how to read content: in a thread if an event loop would wait for a disk or a stream."""
        source = content.source
        in_memory = isinstance(source, bytes | bytearray | memoryview | io.BytesIO | AsyncChunks) or (
            isinstance(source, tempfile.SpooledTemporaryFile) and not source._rolled  # type: ignore[attr-defined]  # not public
        )
        return super()._reading(content) if in_memory else run_blocking

    def _put(self, info: FileInfo, data: bytes, *, new: bool) -> None:
        self._put_in_mode(info, data, "create" if new and self._can_refuse else "overwrite")

    def _put_in_mode(self, info: FileInfo, data: bytes, mode: PutMode) -> None:
        metadata = attributes_of(info, self._max_value)
        attributes, header = self._layout.encode(metadata)
        with self._sending(info.file_id, metadata):
            self._client.put(self._key(info.file_id), header + data, attributes, mode)

    def _version_in(self, record: Record) -> Any:
        return {name: record[0][name] for name in ("e_tag", "version") if record[0][name] is not None}

    def _put_if(self, info: FileInfo, data: bytes, version: Any) -> bool | None:
        if not self._can_refuse:
            return None
        try:
            self._put_in_mode(info, data, "create" if version is None else version)
        except StorageFailed as error:
            if is_conflict(error.__cause__):
                return False
            if is_refusal(error.__cause__):
                return None
            raise
        return True

    @property
    def _can_refuse(self) -> bool:
        """Whether the store can refuse to replace an object."""
        config: Mapping[str, Any] = getattr(self._client.store, "config", {})
        return self._address.kind != "http" and config.get("conditional_put") != "disabled"

    def _put_large(self, info: FileInfo, content: SummedReader, size: int | None, *, new: bool) -> Mapping[str, str]:
        """Store content in parts, several at a time."""
        metadata = attributes_of(info, self._max_value)
        attributes, header = self._layout.encode(metadata)
        what = self._what("store", info.file_id)
        if self._address.kind == "http":
            raise StorageFailed(f"cannot {what}: a web server accepts no parts; a larger part_size avoids them")
        with translating(what):
            part_size = max(self._part_size, -(-(size or 0) // _PART_LIMIT))
            upload = self._client.upload(self._key(info.file_id), attributes, part_size)
        try:
            piece = header + content.read(_STEP)
            while piece:
                with translating(what):
                    upload.write(piece)
                piece = content.read(_STEP)
            with self._sending(info.file_id, metadata):
                upload.finish()
        except BaseException as error:
            upload.abort(error)
            raise
        return metadata

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        return self._copy_of(self, source_id, file_id)

    def _copy_of(self, source: ObjectStoreStorage, source_id: str, file_id: str) -> FileInfo:
        """Let the store copy an object, and return the info of the copy: the source may be replaced meanwhile."""
        try:
            with translating(source._what("copy", source_id), source_id):
                self._client.copy(source._key(source_id), self._key(file_id))
        except StorageFailed as error:
            if is_refusal(error.__cause__):
                return super()._save_from(source, source_id, file_id)
            raise
        try:
            return self._info(file_id)
        except BaseException:
            self._delete(file_id)
            raise

    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        if isinstance(source, ObjectStoreStorage) and source._client.store == self._client.store:
            return self._copy_of(source, source_id, file_id)
        return super()._save_from(source, source_id, file_id)

    # --- finding --------------------------------------------------------------------------------------------------

    def _open(self, file_id: str) -> StoredFile:
        what = self._what("read", file_id)
        with translating(what, file_id):
            result = self._client.get(self._key(file_id))
            body = self._client.body(result)
            first = self._begin(body)
            metadata = self._decoded(what, result.attributes, first)
            info = info_of(file_id, result.meta, metadata, self._layout.header)
        reader = ObjectReader(
            ChunkedBody(body, self._client.following, first[self._layout.header :]),
            info.content_length,
            what,
            partial(self._body_from, file_id, result.meta["e_tag"]),
        )
        return ObjectFile(info, reader, self._url_beside(file_id))

    def _begin(self, body: Any) -> memoryview:
        """Return the start of a body, with at least the header."""
        first = b""
        while len(first) < self._layout.header and (chunk := self._client.following(body)) is not None:
            first += bytes(chunk)
        return memoryview(first)

    def _decoded(self, what: str, attributes: Any, first: memoryview | bytes) -> Mapping[str, str]:
        metadata = self._layout.decode(attributes, bytes(first[: self._layout.header]))
        if metadata is None:
            raise StorageFailed(f"cannot {what}: it has no header: it is damaged, or was not stored by depot_lite")
        return metadata

    def _body_from(self, file_id: str, etag: str | None, start: int) -> ChunkedBody:
        """Return the body of the same object from a position on."""
        condition = {} if etag is None else {"if_match": etag}
        with translating(self._what("read", file_id), file_id):
            try:
                result = self._client.get(
                    self._key(file_id), range={"offset": start + self._layout.header}, **condition
                )
            except OBSTORE_ERRORS as error:
                if is_changed(error):
                    raise StorageFailed(f"file {file_id} was replaced while it was read") from error
                raise
        return ChunkedBody(self._client.body(result), self._client.following)

    def _look(self, file_id: str) -> Record:
        if not self._layout.header:
            result = self._client.get(self._key(file_id), head=True)
            return result.meta, self._decoded("", result.attributes, b"")
        result = self._client.get(self._key(file_id))
        first = self._begin(self._client.body(result, self._layout.header))
        return result.meta, self._decoded(self._what("look at", file_id), result.attributes, first)

    def _probe(self, file_id: str) -> object:
        return self._client.get(self._key(file_id), head=True)

    def _info_in(self, file_id: str, record: Record) -> FileInfo:
        return info_of(file_id, *record, self._layout.header)

    def _metadata_in(self, record: Record) -> Mapping[str, str]:
        return record[1]

    def _check_container(self) -> None:
        if self._seen:
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
            with translating(self._what("list", "")):
                page = next(pages, None)
            if page is None:
                return
            yield from self._entries(page)

    def _entries(self, page: list[Any]) -> Iterator[FileEntry]:
        # A web server lists paths from its root, and obstore leaves them so.
        prefix = self._address.key(self._prefix) if self._address.kind == "http" else self._prefix
        header = self._layout.header
        return entries_below(prefix, ((each["path"], each["size"] - header, each["last_modified"]) for each in page))

    # --- deleting -------------------------------------------------------------------------------------------------

    def _delete_object(self, key: str) -> None:
        self._client.delete([key])

    @property
    def _batch_limit(self) -> int:
        return 256 if self._address.kind == "azure" else 1000

    def _delete_batch(self, file_ids: list[str]) -> dict[str, Exception]:
        try:
            self._client.delete([self._key(each) for each in file_ids])
        except OBSTORE_ERRORS as error:
            if ERRORS.nobody_answers(error):
                return dict.fromkeys(file_ids, ERRORS.translated(self._what("delete", file_ids[0]), error))
            # obstore reports one failure of a batch, and some stores fail for missing objects: so one by one.
            return self._delete_each(file_ids)
        return {}

    # --- URLs -----------------------------------------------------------------------------------------------------

    @property
    def has_urls(self) -> bool:
        """Whether the storage has URLs of its own: with a ``public_base_url``, or where it can sign."""
        return self._public_base_url is not None or (self._sign_urls and self._urls.can_sign)

    @property
    def _public(self) -> bool:
        return self._public_base_url is not None

    def _signed_url(self, key: str, expires_in: int, headers: Mapping[str, str]) -> str | None:
        return self._urls.signed(key, expires_in, headers)

    def _unsigned_url(self, key: str) -> None:
        return None
