"""`ObjectStorage`: keys, URLs, deletion in batches and lost answers, for storages of objects."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import ClassVar, Generic, TypeVar, cast
from urllib.parse import quote

from depot_lite.errors import StorageFailed
from depot_lite.io.fileid import is_file_id, is_note_id
from depot_lite.io.interfaces import FileEntry, FileStorage, StoredFile
from depot_lite.io.objects.errors import ErrorTable
from depot_lite.io.objects.metadata import ATTEMPT, response_headers
from depot_lite.io.objects.options import seconds, web_address
from depot_lite.io.options import boolean, executor_of, integer

#: str for a storage whose files all have URLs, else ``str | None``.
Url = TypeVar("Url", bound=str | None)


class ObjectStorage(FileStorage, Generic[Url]):
    """A storage whose files are objects, each with a key and perhaps a URL."""

    table: ClassVar[ErrorTable]

    def __init__(
        self,
        # The start of all keys.
        prefix: str,
        # How many files a flush uploads at once.
        concurrency: int | str,
        # The threads for it; by default all storages share some.
        executor: Executor | None,
        # Whether `url` signs. Unsigned URLs work only if the objects are public.
        sign_urls: bool | str,
        # How long a signed URL works at least, in seconds or as a timedelta.
        signed_url_expiry: int | str | timedelta,
        # The address at which a CDN or the server itself shows the objects: URLs are this, a slash and the key.
        public_base_url: str | None,
    ) -> None:
        self._prefix = prefix
        self._concurrency = integer("concurrency", concurrency, 1, 1000)
        self._executor = executor_of("executor", executor)
        self._sign_urls = boolean("sign_urls", sign_urls)
        self._expiry = seconds("signed_url_expiry", signed_url_expiry)
        self._public_base_url = web_address("public_base_url", public_base_url)

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
    def _metadata(self, file_id: str) -> Mapping[str, str]:
        """Return the metadata of an object, with one request."""

    def _unless_stored(self, file_id: str, metadata: Mapping[str, str], error: Exception) -> None:
        """Raise the error of an upload, unless the object was stored and the answer was lost.

        The metadata name the attempt that made an object. An object of another attempt does not count.
        """
        errors: tuple[type[Exception], ...] = (*self.table.errors, StorageFailed)
        if self.table.may_have_arrived(error):
            try:
                found = self._metadata(file_id)
            except errors:
                raise error from None
            if found.get(ATTEMPT) == metadata[ATTEMPT]:
                return
        raise error

    # --- deleting -------------------------------------------------------------------------------------------------

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
            failed |= self._delete_batch(batch)
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
        expiry = self._expiry if expires_in is None else seconds("expires_in", expires_in)
        headers = response_headers(filename, disposition, content_type)
        if not self._sign_urls or self._public_base_url is not None:
            return self._plain_url(file_id)
        with self.table.translating(self._what("sign a URL of", file_id)):
            return self._signed_url(self._key(file_id), expiry, headers)

    def public_url(self, file_or_id: StoredFile | str) -> str | None:
        """Return the URL without a signature, None if the objects are not public."""
        file_id = self._id(file_or_id)
        return self._plain_url(file_id) if self._public else None

    def _url_beside(self, file_id: str) -> str | None:
        """Return the public URL of a file that is opened; notes have none."""
        return None if is_note_id(file_id) else self.public_url(file_id)

    def _plain_url(self, file_id: str) -> Url:
        if self._public_base_url is not None:
            return cast(Url, f"{self._public_base_url}/{quote(self._key(file_id), safe='/~')}")
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
