"""What a request for a file is answered with, whatever the server speaks.

`respond` takes a method, the headers, a depot and a file id, and returns a `Response`: status, headers, and the stored
file with the range to send. It knows neither WSGI nor ASGI, so that both say the same.

>>> from depot_lite.testing import temporary_depots
>>> with temporary_depots() as manager:
...     depot = manager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
...     with respond("GET", {"range": "bytes=-5"}, "default", depot.create(b"Hello world")) as response:
...         response.status, b"".join(response.body)
(206, b'world')

Who knows the URL of a file can read it: a file id cannot be guessed, and is all that protects the file. Nothing is said
about a file that is not there, or why, and no path or error of a storage is ever part of an answer.

What users upload is hostile. A browser executes HTML, SVG, XML and scripts in the name of the site that serves them, so
only passive types are shown (`INLINE_TYPES`); all others are handed out as a download of no type.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final, Self
from urllib.parse import quote

from depot_lite.depots import Depots
from depot_lite.errors import InvalidFileId, StorageFailed, StoredFileNotFound, UnknownDepot
from depot_lite.io.content import CHUNK_SIZE
from depot_lite.io.disposition import INLINE_TYPES, content_disposition
from depot_lite.io.interfaces import FileStorage, StoredFile
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.media_types.detection import valid_media_type
from depot_lite.serving.conditions import precondition, wanted

_log = logging.getLogger("depot_lite")

#: How long a browser may keep a file, in seconds: a week, as filedepot has it.
DEFAULT_CACHE_MAX_AGE: Final = 3600 * 24 * 7


# A document in a sandbox has no origin, so that whatever were executed in it, by a bug of ours or of a browser, had no
# cookies and no access to the site. 'self' and the styles are for the page that a browser makes around an image or a
# video that is opened by itself.
_SANDBOX: Final = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
# Chrome and Safari apply a PDF's policy to their viewer, and show nothing in a sandbox whatever it allows, or without
# scripts and styles (https://github.com/whatwg/html/issues/3958). The viewer does not run in the name of the site.
_PDF_POLICY: Final = "base-uri 'none'; form-action 'none'"


class Body:
    """Some bytes of a stored file on their way to a client. Iterating gives them in chunks; it has to be closed.

    A class and not a generator: a generator that was never begun runs no ``finally`` when it is closed.
    """

    def __init__(self, file: StoredFile, part: range) -> None:
        #: The file, at the first byte to send.
        self.file = file
        #: Where the first of them is.
        self.start = part.start
        #: How many there are.
        self.length = self._left = len(part)

    @property
    def is_whole(self) -> bool:
        """Whether this is all of the file, and all of it is there, so that a server may send it until its end."""
        if self.length != self.file.content_length or self.file.local_path is None:
            return self.length == self.file.content_length
        # A server sends a file on the disk as long as it is, and some (waitress) say then that it was to be so long.
        position = self.file.tell()
        end = self.file.seek(0, io.SEEK_END)
        self.file.seek(position)
        return end == self.length

    @property
    def left(self) -> int:
        """How many bytes are still to be read."""
        return self._left

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self.file.closed

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer at the end or where the storage has no more of them ready.

        Raises:
            StorageFailed: the file ends too early. The server then cuts the connection off, by which the client sees
                that the file is not whole.
        """
        chunk = self.file.read(min(size, self._left))
        if not chunk and self._left:
            raise StorageFailed(f"file {self.file.file_id} ends {self._left} bytes too early")
        self._left -= len(chunk)
        return chunk

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        """Return the next chunk, as `read` does."""
        if not self._left:
            raise StopIteration
        return self.read(CHUNK_SIZE)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self.file.close()


@dataclass(slots=True)
class Response:
    """An answer: the status, the headers in order, and what to send. It has to be closed; it is a context manager."""

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


def parse_path(path: str) -> tuple[str, str] | None:
    """Return the depot and the file id of a path below the mountpoint, or None where it is no path of a file.

    A last part is for people, who like to see a name in a link and in what they save. It says nothing to us.

    >>> parse_path("default/b3a1c6de-...-e2"), parse_path("default/b3a1c6de-...-e2/plan.pdf")
    (('default', 'b3a1c6de-...-e2'), ('default', 'b3a1c6de-...-e2'))
    >>> parse_path("default/"), parse_path("default/b3a1c6de-...-e2/a/b")
    (None, None)
    """
    parts = path.split("/")
    return (parts[0], parts[1]) if all(parts) and len(parts) in {2, 3} else None


def not_found() -> Response:
    """Return the answer for whatever is not there."""
    return refusal(404)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How files are handed out, whoever may have them."""

    #: How long the browser may keep a file without asking, in seconds. It never has to ask, since a file id keeps its
    #: content; who replaces files in place says 0, which makes it ask each time.
    cache_max_age: int = DEFAULT_CACHE_MAX_AGE
    #: Send the bytes of storages that have URLs of their own too, instead of a redirect to these.
    proxy: bool = False
    #: Save the file, whatever it is.
    download: bool = False
    #: The name to save it under, instead of its own.
    filename: str | None = None
    #: Whether not everybody may have it, so that no shared cache keeps it, even of a public depot.
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
    """Return the answer to a request for a file. Whoever asks may read it: access is checked before.

    Args:
        method: as it was sent.
        headers: those of the request, with names in lower case.
        depot_name: a depot or an alias.
        file_id: anything; it is checked here.
        cache_max_age: as in `Delivery`, for who needs nothing else of it.
        delivery: how the file is handed out.
    """
    if method not in {"GET", "HEAD"}:
        return refusal(405, ("Allow", "GET, HEAD"))
    try:
        return _found(method, headers, depot_name, file_id, delivery or Delivery(cache_max_age))
    except (UnknownDepot, InvalidFileId, StoredFileNotFound):
        return not_found()
    except StorageFailed:
        _log.exception("file %s of depot %r cannot be served", file_id, depot_name)
        return refusal(503)


def _found(method: str, headers: Mapping[str, str], depot_name: str, file_id: str, delivery: Delivery) -> Response:
    storage = Depots.get(depot_name)
    public = Depots.visibility(depot_name) == "public" and not delivery.checked
    file, response = storage.get(file_id), None
    try:
        url = None if delivery.proxy else _own_url(method, storage, file, delivery)
        if url is not None:
            return _redirect(url, delivery.cache_max_age)
        response = _answer(method, headers, file, delivery, public=public)
        return response
    finally:
        if response is None or response.body is None:
            file.close()


def _own_url(method: str, storage: FileStorage, file: StoredFile, delivery: Delivery) -> str | None:
    """Return the storage's own URL, None where it has none."""
    # The file knows it in backends written as filedepot's are, the storage in ours.
    public = file.public_url or (storage.public_url(file) if storage.has_urls else None)
    if public is not None and not delivery.download and delivery.filename is None:
        return public
    # A signature is for one method, and what HEAD asks is known by now.
    if method == "HEAD" or not storage.has_urls:
        return None
    return storage.url(
        file,
        expires_in=_REDIRECT_EXPIRY,
        filename=delivery.filename or file.filename,
        disposition=_disposition(file, delivery),
        content_type=_description(file.content_type)[0][1],
    )


def _answer(method: str, headers: Mapping[str, str], file: StoredFile, delivery: Delivery, *, public: bool) -> Response:
    """Return the answer for a file that is there, with the file opened where it is sent."""
    response = _decided(method, headers, file, delivery, public=public)
    if response.body is not None:
        known = file.info
        # Opened before the headers are out: a file that has gone meanwhile is still a 404.
        file.seek(response.body.start)
        if file.info is not known:
            # It was replaced before it could be opened, and its length is another. It is open now, so this is the last
            # time.
            return _answer(method, headers, file, delivery, public=public)
    return response


def _decided(
    method: str, headers: Mapping[str, str], file: StoredFile, delivery: Delivery, *, public: bool
) -> Response:
    """Return the answer by the rules of RFC 9110, in the order of its section 13.2.2."""
    etag, modified = _etag(file), _modified(file)
    failed = precondition(headers, etag, modified)
    if failed == 412:
        return refusal(412)
    known = _validators(etag, modified, delivery.cache_max_age, public=public)
    if failed == 304:
        return Response(304, known)
    length = file.content_length
    saved_as = content_disposition(_disposition(file, delivery), delivery.filename or file.filename)
    described = (*known, *_description(file.content_type), ("Content-Disposition", saved_as))
    # Only GET has ranges (section 14.2): to HEAD, Range means nothing.
    if method == "HEAD":
        return Response(200, (*described, ("Content-Length", str(length))))
    part = wanted(headers, etag, modified, length)
    if part is None:
        return Response(200, (*described, ("Content-Length", str(length))), Body(file, range(length)))
    if not part:
        return refusal(416, ("Content-Range", f"bytes */{length}"), ("Accept-Ranges", "bytes"))
    partial = ("Content-Range", f"bytes {part.start}-{part.stop - 1}/{length}"), ("Content-Length", str(len(part)))
    return Response(206, (*described, *partial), Body(file, part))


# --- headers ----------------------------------------------------------------------------------------------------------


def _etag(file: StoredFile) -> str | None:
    """Return a strong validator, None where the storage computed no checksum: a time and a length are not strong.

    It is hashed, as the checksum of a storage of somebody else's may hold any character.
    """
    if file.checksum is None:
        return None
    known = f"{file.file_id} {file.content_length} {file.checksum}"
    return f'"{hashlib.sha256(known.encode()).hexdigest()[:32]}"'


def _modified(file: StoredFile) -> datetime:
    """Return the time as a header can tell it: in whole seconds, never in the future (RFC 9110 section 8.8.2.1)."""
    return min(file.last_modified.astimezone(UTC), datetime.now(UTC)).replace(microsecond=0)


# A type for nothing, since the checkers of WSGI want one.
_NOTHING: Final = ("Content-Type", "text/plain"), ("Content-Length", "0"), ("Cache-Control", "no-store")


def refusal(status: int, *headers: tuple[str, str]) -> Response:
    """Return an answer that tells nothing, and is not kept: a pending file has its URL before it is stored."""
    return Response(status, (*headers, *_NOTHING))


def _redirect(url: str, cache_max_age: int) -> Response:
    """Return the way to the storage's own URL, to be remembered no longer than a signature in it lives."""
    kept = min(cache_max_age, _REDIRECT_EXPIRY // 2)
    headers = (
        # What a URL cannot hold, a line break first of all, is escaped; what it can hold stays as it was signed.
        ("Location", quote(url, safe="%/:=&?~#+!$,;'@()*[]")),
        ("Content-Type", "text/plain"),
        ("Content-Length", "0"),
        ("Cache-Control", f"private, max-age={kept}" if kept > 0 else "no-store"),
    )
    return Response(302, headers)


#: How long the URL works that a client is sent on to, in seconds. A browser keeps it half as long.
_REDIRECT_EXPIRY: Final = 600


def _validators(
    etag: str | None, modified: datetime, cache_max_age: int, *, public: bool
) -> tuple[tuple[str, str], ...]:
    # `private`: a proxy that serves others as well must not keep what it does not know the readers of.
    who = "public" if public else "private"
    kept = f"{who}, immutable, max-age={cache_max_age}" if cache_max_age > 0 else f"{who}, no-cache"
    tagged = () if etag is None else (("ETag", etag),)
    return (*tagged, ("Last-Modified", format_datetime(modified, usegmt=True)), ("Cache-Control", kept))


def _disposition(file: StoredFile, delivery: Delivery) -> str:
    return "attachment" if delivery.download or _inline(file.content_type) is None else "inline"


@lru_cache
def _inline(content_type: str) -> str | None:
    """Return the type, None for one that a browser might execute."""
    media_type = valid_media_type(content_type)
    return media_type if media_type in INLINE_TYPES else None


@lru_cache
def _description(content_type: str) -> tuple[tuple[str, str], ...]:
    """Return the headers that say what a file of this type is, first, and what a browser may do with it."""
    inline = _inline(content_type)
    # Text is UTF-8 today, or has a byte order mark, which counts more than this. Without it browsers guess by country.
    sent = "text/plain; charset=utf-8" if inline == "text/plain" else inline or OCTET_STREAM
    return (
        ("Content-Type", sent),
        ("Accept-Ranges", "bytes"),
        # A browser must not find out by itself that a picture is a page.
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", _PDF_POLICY if inline == "application/pdf" else _SANDBOX),
        # Pages of other sites cannot pull a user's files into their process. Not `same-origin`: files are often served
        # from a host name of their own, beside that of the pages that show them.
        ("Cross-Origin-Resource-Policy", "same-site"),
    )
