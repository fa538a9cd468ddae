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
passive types (`depot_lite.io.disposition.INLINE_TYPES`) are shown; all others are downloads without a type.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final, Self
from urllib.parse import quote

from depot_lite.depots import Depots
from depot_lite.errors import InvalidFileId, StorageFailed, StoredFileNotFound, UnknownDepot
from depot_lite.io.content import CHUNK_SIZE
from depot_lite.io.disposition import content_disposition
from depot_lite.io.interfaces import FileInfo, FileStorage, StoredFile
from depot_lite.serving.policy import headers_of_type, inline_type

_log = logging.getLogger("depot_lite")

#: Seconds that a browser may cache a file: a week, as in filedepot.
DEFAULT_CACHE_MAX_AGE: Final = 3600 * 24 * 7


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

    @property
    def is_whole(self) -> bool:
        """Whether this is the whole file, complete on disk, so that a server may send it until its end."""
        if self.length != self.file.content_length or self.file.local_path is None:
            return self.length == self.file.content_length
        # A server sends a file on disk until its end, and some (waitress) replace Content-Length by the file's length.
        position = self.file.tell()
        end = self.file.seek(0, io.SEEK_END)
        self.file.seek(position)
        return end == self.length

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes: fewer at the end, or if the storage has no more of them ready.

        Raises:
            StorageFailed: the file ends too early. The server then closes the connection, so that the client notices.
        """
        chunk = self.file.read(min(size, self.left))
        if not chunk and self.left:
            raise StorageFailed(f"file {self.file.file_id} ends {self.left} bytes too early")
        self.left -= len(chunk)
        return chunk

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        """Return the next chunk, as `read` does."""
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
    #: Access was checked for this user, so no shared cache may keep the file, even of a public depot.
    checked: bool = False


def respond(
    method: str,
    headers: Mapping[str, str],
    depot_name: str,
    file_id: str,
    *,
    cache_max_age: int = DEFAULT_CACHE_MAX_AGE,
    delivery: Delivery | None = None,
) -> Response:
    """Return the response to a request for a file. The caller has checked that the client may read it.

    Args:
        method: the request's method, unchanged.
        headers: the request's headers, with names in lower case.
        depot_name: a depot or an alias.
        file_id: any string; it is checked here.
        cache_max_age: as in `Delivery`, if nothing else of it is needed.
        delivery: options for sending the file.
    """
    if method not in {"GET", "HEAD"}:
        return refusal(405, ("Allow", "GET, HEAD"))
    try:
        return _respond(method, headers, depot_name, file_id, delivery or Delivery(cache_max_age))
    except (UnknownDepot, InvalidFileId, StoredFileNotFound):
        return refusal(404)
    except StorageFailed:
        _log.exception("file %s of depot %r cannot be served", file_id, depot_name)
        return refusal(503)


def _respond(method: str, headers: Mapping[str, str], depot_name: str, file_id: str, delivery: Delivery) -> Response:
    depot = Depots.find(depot_name)
    public = depot.visibility == "public" and not delivery.checked
    file, response = depot.storage.get(file_id), None
    try:
        url = None if delivery.proxy else _storage_url(method, depot.storage, file, delivery)
        if url is not None:
            return _redirect(url, delivery.cache_max_age)
        response = _answer(method, headers, file, delivery, public=public)
        return response
    finally:
        if response is None or response.body is None:
            file.close()


def _storage_url(method: str, storage: FileStorage, file: StoredFile, delivery: Delivery) -> str | None:
    """Return the storage's URL of the file, None if it has none."""
    info, has_urls = file.info, storage.has_urls
    # In backends written for filedepot the file has it, in ours the storage.
    public = file.public_url or (storage.public_url(file) if has_urls else None)
    if public is not None and not delivery.download and delivery.filename is None:
        return public
    # A signature is valid for one method, and HEAD can be answered without the storage.
    if method == "HEAD" or not has_urls:
        return None
    return storage.url(
        file,
        expires_in=_REDIRECT_EXPIRY,
        filename=delivery.filename or info.filename,
        disposition=_disposition_type(info, delivery),
        content_type=headers_of_type(info.content_type)[0][1],
    )


def _answer(method: str, headers: Mapping[str, str], file: StoredFile, delivery: Delivery, *, public: bool) -> Response:
    """Return the response for an existing file; the file is opened if its bytes are sent."""
    info = file.info
    response = _evaluate(method, headers, file, info, delivery, public=public)
    if response.body is not None:
        # Opened before the headers are sent: a file that was deleted meanwhile is still a 404.
        file.seek(response.body.start)
        if file.info is not info:
            # It was replaced before it was opened, so its length may differ. It is open now, so this happens only once.
            return _answer(method, headers, file, delivery, public=public)
    return response


def _evaluate(
    method: str, headers: Mapping[str, str], file: StoredFile, info: FileInfo, delivery: Delivery, *, public: bool
) -> Response:
    """Return the response according to RFC 9110, in the order of its section 13.2.2."""
    etag, modified = _etag(info), _modified(info)
    failed = _precondition(headers, etag, modified)
    if failed == 412:
        return refusal(412)
    validators = _validators(etag, modified, delivery.cache_max_age, public=public)
    if failed == 304:
        return Response(304, validators)
    length = info.content_length
    saved_as = content_disposition(_disposition_type(info, delivery), delivery.filename or info.filename)
    described = (*validators, *headers_of_type(info.content_type), ("Content-Disposition", saved_as))
    # Range is defined for GET only (section 14.2).
    if method == "HEAD":
        return Response(200, (*described, ("Content-Length", str(length))))
    part = _requested_range(headers, etag, modified, length)
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
_EMPTY: Final = ("Content-Type", "text/plain"), ("Content-Length", "0"), ("Cache-Control", "no-store")


def refusal(status: int, *headers: tuple[str, str]) -> Response:
    """Return an empty response, which is not cached: a pending file has its URL before it is stored."""
    return Response(status, (*headers, *_EMPTY))


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


def _disposition_type(info: FileInfo, delivery: Delivery) -> str:
    return "attachment" if delivery.download or inline_type(info.content_type) is None else "inline"


# --- preconditions (RFC 9110, sections 13 and 14) ---------------------------------------------------------------------

_ETAG: Final = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def _precondition(headers: Mapping[str, str], etag: str | None, modified: datetime) -> int | None:
    """Return 412 or 304 if a precondition fails, else None.

    The order is a MUST of RFC 9110: If-Match and If-Unmodified-Since come first, so that lost updates are detected, and
    a date counts only if no tag was sent.
    """
    if (tags := headers.get("if-match")) is not None:
        if not _lists(tags, etag, weakly=False):
            return 412
    elif (date := _date(headers.get("if-unmodified-since"))) and modified > date:
        return 412
    if (tags := headers.get("if-none-match")) is not None:
        return 304 if _lists(tags, etag, weakly=True) else None
    date = _date(headers.get("if-modified-since"))
    return 304 if date and modified <= date else None


def _lists(tags: str, etag: str | None, *, weakly: bool) -> bool:
    """Return whether a list of entity tags, or ``*``, names this one (RFC 9110 section 8.8.3.2)."""
    if tags.strip() == "*":
        return True
    return any(tag == etag and (weakly or not weak) for weak, tag in _ETAG.findall(tags))


def _date(text: str | None) -> datetime | None:
    """Return the time in a header, None if it is malformed: such a header is ignored (RFC 9110 section 13.1.3)."""
    if text is None:
        return None
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    # The oldest of the three formats names no zone; it means UTC, like the others.
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


# --- ranges -----------------------------------------------------------------------------------------------------------

# As many digits as a file's length may have. A header with more digits is ignored; int() refuses thousands of them.
_RANGE: Final = re.compile(r"([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18})")


def _requested_range(headers: Mapping[str, str], etag: str | None, modified: datetime, length: int) -> range | None:
    """Return the bytes to send: None for the whole file, an empty range if the file has none of them."""
    header = headers.get("range")
    if header is None:
        return None
    condition = headers.get("if-range")
    if condition is not None and not _continues(condition.strip(), etag, modified):
        return None
    return parse_range(header, length)


def _continues(condition: str, etag: str | None, modified: datetime) -> bool:
    """Return whether the client's partial copy is of the current file (RFC 9110 section 13.1.5)."""
    # A weak tag begins with W, which is not a date either, so it never matches.
    return condition == etag if condition.startswith('"') else _date(condition) == modified


def parse_range(header: str, length: int) -> range | None:
    """Return the bytes that a ``Range`` header requests: None for all, an empty range if the file has none of them.

    Malformed headers and other units are ignored. So are several ranges, which RFC 9110 section 14.2 allows: a hundred
    small overlapping ranges cost a server more than they are worth to a client.

    >>> parse_range("bytes=0-3", 10), parse_range("bytes=7-", 10), parse_range("bytes=-3", 10)
    (range(0, 4), range(7, 10), range(7, 10))
    >>> parse_range("bytes=10-", 10), parse_range("bytes=0-3,5-6", 10)
    (range(0, 0), None)
    """
    unit, _, listed = header.partition("=")
    ranges = [each.strip() for each in listed.split(",") if each.strip()]
    found = _RANGE.fullmatch(ranges[0]) if len(ranges) == 1 and unit.strip().lower() == "bytes" else None
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return _suffix_range(int(suffix), length)
    if last and int(last) < int(first):
        return None
    stop = min(int(last) + 1, length) if last else length
    return range(int(first), stop) if int(first) < stop else range(0)


def _suffix_range(count: int, length: int) -> range | None:
    """Return the range of the last ``count`` bytes, which is empty if ``count`` is 0."""
    if count and not length:
        # The end of an empty file is satisfiable (RFC 9110 section 14.1.2), but no Content-Range can express it.
        return None
    return range(max(0, length - count), length) if count else range(0)
