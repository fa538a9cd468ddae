"""Responses to requests for files, independent of the server's protocol.

`respond` takes a method, headers, a depot and a file id, and returns a `Response`: status, headers, and the stored file
with the range to send. It knows neither WSGI nor ASGI, so that both give the same answers.

>>> from depot_lite.testing import temporary_depots
>>> with temporary_depots() as manager:
...     depot = manager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
...     with respond("GET", {"range": "bytes=-5"}, "default", depot.create(b"Hello world")) as response:
...         response.status, b"".join(response.body)
(206, b'world')

Everybody who knows the URL of a file can read it: only the file id, which cannot be guessed, protects it. A 404 gives
no reason, and no answer contains a path or an error of a storage.

Uploads are hostile. A browser executes HTML, SVG, XML and scripts in the name of the site that serves them, so only
passive types (`depot_lite.io.disposition.INLINE_TYPES`, or the ``inline_types`` of the depot) are shown; all others are
downloads without a type.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import PurePath
from typing import Final, Self
from urllib.parse import quote

from depot_lite.depots import Depots
from depot_lite.errors import InvalidFileId, StorageFailed, StoredFileNotFound, UnknownDepot
from depot_lite.io.content import CHUNK_SIZE
from depot_lite.io.disposition import SANDBOXED_TYPES, content_disposition
from depot_lite.io.interfaces import FileInfo, StoredFile
from depot_lite.registry import Depot
from depot_lite.serving.conditions import failed_precondition, requested_range
from depot_lite.serving.embedding import cross_origin_of, embedding_headers
from depot_lite.serving.presentation import presentation_of

_log = logging.getLogger("depot_lite")

#: Seconds that a browser may cache a file: a week, as in filedepot.
DEFAULT_CACHE_MAX_AGE: Final = 3600 * 24 * 7

#: After how many seconds a client may try again.
RETRY_AFTER: Final = "5"


class Body:
    """A range of a stored file to send, iterated in chunks. It has to be closed.

    It is not a generator, because a generator that was never started runs no ``finally`` when it is closed.
    """

    def __init__(self, file: StoredFile, part: range) -> None:
        #: The file, at the first byte to send.
        self.file = file
        #: The position of the first byte.
        self.start = part.start
        #: The number of bytes, and of those still to be read.
        self.length = self.left = len(part)
        self._first = b""

    @property
    def is_whole(self) -> bool:
        """Whether this is the whole file, so that a server may send it until its end."""
        return self.length == self.file.content_length

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes: fewer at the end, or if the storage has no more of them ready.

        Raises:
            StorageFailed: the file ends too early, or is damaged. The server then closes the connection before the end
                of the body, so that the client notices.
        """
        chunk = self.file.read(min(size, self.left))
        if not chunk and self.left:
            raise StorageFailed(f"file {self.file.file_id} ends {self.left} bytes too early")
        self.left -= len(chunk)
        return chunk

    def __iter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Read the first chunk, which iterating returns first: a storage that is down fails here, as in `read`."""
        self._first = next(self, b"")

    def __next__(self) -> bytes:
        """Return the next chunk, as `read` does."""
        if self._first:
            first, self._first = self._first, b""
            return first
        if not self.left:
            raise StopIteration
        return self.read(CHUNK_SIZE)

    def taken(self) -> list[bytes]:
        """Return all chunks and close the file: reading a small file costs less than handing it over."""
        try:
            return list(self)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self.file.close()


@dataclass(slots=True)
class Response:
    """A response: status, headers in order, and body. It has to be closed; it is a context manager."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Body | None = None

    def embeddable(self, depot: Depot, request_headers: Mapping[str, str], *, checked: bool) -> Self:
        """Add the headers that say which other sites may use the response, and return it."""
        allowed = cross_origin_of(depot, checked=checked)
        self.headers = (*self.headers, *embedding_headers(allowed, request_headers, self.status))
        return self

    def close(self) -> None:
        """Close the file, if there is one; a second time does nothing."""
        if self.body is not None:
            self.body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Options for sending a file."""

    #: Seconds that the browser may cache the file without revalidation. The content of a file id does not change, so
    #: revalidation is only necessary if the application replaces files in place: 0 requires it each time.
    cache_max_age: int = DEFAULT_CACHE_MAX_AGE
    #: Send the bytes even if the storage has URLs of its own, instead of redirecting there.
    proxy: bool = False
    #: Make the browser save the file, whatever its type.
    download: bool = False
    #: The name to save it under, instead of the file's name.
    filename: str | None = None
    #: The name in the URL, which anybody can change: used if it has the extension of the file's name.
    label: str | None = None
    #: Access was checked for this user, so no shared cache may keep the file, even of a public depot.
    checked: bool = False

    def name_of(self, info: FileInfo) -> str:
        """Return the name to save a file under."""
        if self.filename is not None:
            return self.filename
        if self.label is not None and PurePath(self.label).suffix.lower() == PurePath(info.filename).suffix.lower():
            return self.label
        return info.filename


def respond(
    method: str,
    headers: Mapping[str, str],
    depot: str | Depot,
    file_id: str,
    *,
    cache_max_age: int = DEFAULT_CACHE_MAX_AGE,
    delivery: Delivery | None = None,
) -> Response:
    """Return the response to a request for a file. The caller has checked that the client may read it.

    Args:
        method: the request's method, unchanged.
        headers: the request's headers, with names in lower case.
        depot: the name of a depot, an alias, or the depot itself.
        file_id: any string; it is checked here.
        cache_max_age: as in `Delivery`, if nothing else of it is needed.
        delivery: options for sending the file.
    """
    if method not in {"GET", "HEAD"}:
        return refusal(405, ("Allow", "GET, HEAD"))
    delivery = delivery or Delivery(cache_max_age)
    try:
        found = Depots.find(depot) if isinstance(depot, str) else depot
    except UnknownDepot:
        return refusal(404)
    try:
        response = _respond(method, headers, found, file_id, delivery)
    except (InvalidFileId, StoredFileNotFound):
        response = refusal(404)
    except StorageFailed as error:
        response = unavailable(f"file {file_id} of depot {found.name!r} cannot be served", error)
    return response.embeddable(found, headers, checked=delivery.checked)


def _respond(method: str, headers: Mapping[str, str], depot: Depot, file_id: str, delivery: Delivery) -> Response:
    file, response = depot.storage.get(file_id), None
    try:
        # HEAD is answered here: a URL that a storage has signed for GET refuses it, and its headers are known.
        redirects = method == "GET" and not delivery.proxy
        url = _storage_url(depot, file, delivery) if redirects else None
        if url is not None:
            return _redirect(url, delivery.cache_max_age)
        response = _answer(method, headers, depot, file, delivery)
        return response
    finally:
        if response is None or response.body is None:
            file.close()


def _storage_url(depot: Depot, file: StoredFile, delivery: Delivery) -> str | None:
    """Return the storage's URL of the file, None if it has none."""
    info, storage, has_urls = file.info, depot.storage, depot.storage.has_urls
    # In backends written for filedepot the file has it, in ours the storage.
    public = file.public_url or (storage.public_url(file) if has_urls else None)
    # A private depot grants access for a while, and that URL lasts.
    if public is not None and depot.visibility != "private" and not delivery.download and delivery.filename is None:
        return public
    if not has_urls:
        return None
    presentation = presentation_of(info.content_type, depot.inline_types - SANDBOXED_TYPES)
    return storage.url(
        file,
        expires_in=_REDIRECT_EXPIRY,
        filename=delivery.name_of(info),
        disposition=presentation.disposition(download=delivery.download),
        content_type=presentation.sent_type,
    )


def _answer(method: str, headers: Mapping[str, str], depot: Depot, file: StoredFile, delivery: Delivery) -> Response:
    """Return the response for an existing file; the file is opened if its bytes are sent."""
    info = file.info
    response = _evaluate(method, headers, depot, file, delivery)
    if response.body is not None:
        # Opened before the headers are sent: a file that was deleted meanwhile is still a 404.
        file.seek(response.body.start)
        if file.info is not info:
            # It was replaced before it was opened, so its length may differ. It is open now, so this happens only once.
            return _answer(method, headers, depot, file, delivery)
    return response


def _evaluate(method: str, headers: Mapping[str, str], depot: Depot, file: StoredFile, delivery: Delivery) -> Response:
    """Return the response according to RFC 9110, in the order of its section 13.2.2."""
    info = file.info
    etag, modified = _etag(info), _modified(info)
    failed = failed_precondition(headers, etag, modified)
    if failed == 412:
        return refusal(412)
    public = depot.visibility == "public" and not delivery.checked
    validators = _validators(etag, modified, delivery.cache_max_age, public=public)
    if failed == 304:
        return Response(304, validators)
    length = info.content_length
    presentation = presentation_of(info.content_type, depot.inline_types)
    saved_as = content_disposition(presentation.disposition(download=delivery.download), delivery.name_of(info))
    described = (*validators, *presentation.headers, ("Content-Disposition", saved_as))
    # Range is defined for GET only (section 14.2).
    if method == "HEAD":
        return Response(200, (*described, ("Content-Length", str(length))))
    part = requested_range(headers, etag, modified, length)
    if part is None:
        return Response(200, (*described, ("Content-Length", str(length))), Body(file, range(length)))
    if not part:
        return refusal(416, ("Content-Range", f"bytes */{length}"), ("Accept-Ranges", "bytes"))
    partial = ("Content-Range", f"bytes {part.start}-{part.stop - 1}/{length}"), ("Content-Length", str(len(part)))
    return Response(206, (*described, *partial), Body(file, part))


# --- headers ----------------------------------------------------------------------------------------------------------


def _etag(info: FileInfo) -> str | None:
    """Return a strong validator, None if the storage has no checksum: time and length would be a weak one.

    It is hashed, because the checksum of a third-party storage may contain any character.
    """
    if info.checksum is None:
        return None
    identity = f"{info.file_id} {info.content_length} {info.checksum}"
    return f'"{hashlib.sha256(identity.encode()).hexdigest()[:32]}"'


def _modified(info: FileInfo) -> datetime:
    """Return the time for Last-Modified: in whole seconds, never in the future (RFC 9110 section 8.8.2.1)."""
    return min(info.last_modified.astimezone(UTC), datetime.now(UTC)).replace(microsecond=0)


# With a type although there is no body, because WSGI's validator requires one.
_NO_BODY: Final = ("Content-Type", "text/plain"), ("Content-Length", "0"), ("Cache-Control", "no-store")


def refusal(status: int, *headers: tuple[str, str]) -> Response:
    """Return an empty response, which is not cached: a pending file has its URL before it is stored."""
    return Response(status, (*headers, *_NO_BODY))


def unavailable(what: str, error: StorageFailed) -> Response:
    """Log in one line why a storage could not answer, and return the response: the client may try again soon.

    A storage that is down fails for each request, and a traceback shows nothing but the way to its client.
    """
    _log.error("%s: %s", what, " ".join(str(error).split()) or type(error).__name__)
    return refusal(503, ("Retry-After", RETRY_AFTER))


def _redirect(url: str, cache_max_age: int) -> Response:
    """Return a redirect to the storage's URL, cached no longer than a signature in it works."""
    max_age = min(cache_max_age, _REDIRECT_EXPIRY // 2)
    headers = (
        # Characters that a URL cannot contain, line breaks above all, are escaped; all others stay as they were signed.
        ("Location", quote(url, safe="%/:=&?~#+!$,;'@()*[]")),
        ("Content-Type", "text/plain"),
        ("Content-Length", "0"),
        ("Cache-Control", f"private, max-age={max_age}" if max_age > 0 else "no-store"),
    )
    return Response(302, headers)


#: Seconds that the URL in a redirect works. Browsers cache the redirect half as long.
_REDIRECT_EXPIRY: Final = 600


def _validators(
    etag: str | None, modified: datetime, cache_max_age: int, *, public: bool
) -> tuple[tuple[str, str], ...]:
    # `private`: a shared cache cannot tell who may read the file.
    scope = "public" if public else "private"
    caching = f"{scope}, immutable, max-age={cache_max_age}" if cache_max_age > 0 else f"{scope}, no-cache"
    tagged = () if etag is None else (("ETag", etag),)
    return (*tagged, ("Last-Modified", format_datetime(modified, usegmt=True)), ("Cache-Control", caching))
