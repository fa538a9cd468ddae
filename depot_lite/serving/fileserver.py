"""`FileServer`: the files of depots below one path, with access control; shared by WSGI and ASGI.

Access to a file:

- in an *unlisted* depot (the default): everybody who knows the URL. It cannot be guessed, but it may be passed on.
- in a *private* depot: with a signed URL that has not expired, as `UploadedFile.url` returns.
- in a *public* depot: as in an unlisted one; shared caches may keep the files, too.
- with an ``authorize`` hook: users whom the hook allows, and signed URLs. Each request to any depot calls it.

A URL whose signature is invalid or has expired is refused in every depot.

A variant on demand has the URL of its original with the fingerprint of its recipe, and the same access control. Its
file is made at the first request (`depot_lite.rendering`). If it depends on a point of its image, the URL contains a
signature of that in every depot.

Files are received only with a ticket of `depot_lite.uploads`, one file per ticket.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qs, quote

from depot_lite import rendering
from depot_lite.depots import Depots
from depot_lite.errors import (
    ConfigurationError,
    ImageRefused,
    ImagesBusy,
    InvalidContent,
    InvalidFileId,
    SizeRefused,
    StorageFailed,
    StorageFull,
    StoredFileNotFound,
    UnknownDepot,
)
from depot_lite.io.content import Content
from depot_lite.io.fileid import check_file_id, derived_id
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.options import boolean, web_address
from depot_lite.registry import Depot
from depot_lite.renditions import Requested, parse_requested
from depot_lite.serving import DEFAULT_CACHE_MAX_AGE, RETRY_AFTER, Delivery, Response, refusal, respond, unavailable
from depot_lite.serving.embedding import cross_origin_of, preflight_headers
from depot_lite.serving.options import depots_of, locations_of, mountpoint_of, seconds_of
from depot_lite.serving.receiving import AT_ONCE, IDLE, RATE, TooSlow, Uploads
from depot_lite.uploads import PARAMETER, Upload, receivable

_log = logging.getLogger("depot_lite")


@dataclass(slots=True)
class Request:
    """A request for a file, as an ``authorize`` hook sees it."""

    method: str
    #: Below the mountpoint.
    path: str
    #: Names in lower case.
    headers: Mapping[str, str]
    #: The query string, not decoded.
    query: str
    #: The WSGI environ or the ASGI scope, in which frameworks keep the user.
    context: Any


#: ``authorize(request, depot_name, file_id)``: whether the client may read the file. The id is well-formed; whether
#: there is such a file is not known yet. Under ASGI it may be asynchronous.
Authorize = Callable[[Request, str, str], "bool | Awaitable[bool]"]


@dataclass(slots=True)
class ReadRequest:
    """A requested file, with the options for sending it."""

    depot: Depot
    #: Of a variant, that of its original.
    file_id: str
    delivery: Delivery
    #: Access has been granted; otherwise the ``authorize`` hook decides.
    granted: bool
    #: Of the recipe of a variant on demand; None for the file itself.
    fingerprint: str | None = None

    @property
    def stored_id(self) -> str:
        """The id of the file to send."""
        return self.file_id if self.fingerprint is None else derived_id(self.file_id, self.fingerprint)


class FileServer:
    """The files of depots below one path.

    Args:
        mountpoint: the path, as browsers see it.
        base_url: scheme and host of URLs, such as ``https://cdn.example.org``; without it they have no host. A path in
            it precedes the mountpoint.
        cache_max_age: seconds that a browser may cache a file without revalidation; 0 requires it each time.
        proxy: hide the storages: send the bytes even if a storage has URLs of its own, instead of redirecting there.
            If this is the registered middleware, URLs of values and direct uploads lead here, too.
        authorize: the hook for access control, see above.
        x_sendfile: let the web server in front send local files (Apache's mod_xsendfile, lighttpd): the response names
            the file in ``X-Sendfile``.
        x_accel_redirect: the same for nginx: folder -> internal location, as a mapping or as ``/srv/media=/protected``.
        depots: name in URLs -> storage, to serve these instead of the depots of `DepotManager`, which need not know
            them. All other names below the path are the application's, and no uploads are received. The files are
            unlisted, unless a depot of the manager has the same storage: its visibility counts.
        uploads_at_once: how many direct uploads this receives at once in a process; others are 503 with Retry-After.
        upload_idle: seconds without a byte after which an upload is given up (408).
        upload_rate: bytes per second, also as ``"1 KiB"``, that an upload has to have on an average of ``upload_idle``
            seconds. There is no limit for the whole time.
    """

    def __init__(
        self,
        mountpoint: str = "/depot",
        cache_max_age: int | str = DEFAULT_CACHE_MAX_AGE,
        *,
        base_url: str | None = None,
        proxy: bool | str = False,
        authorize: Authorize | None = None,
        x_sendfile: bool | str = False,
        x_accel_redirect: Mapping[str, str] | str | None = None,
        depots: Mapping[str, FileStorage] | None = None,
        uploads_at_once: int | str = AT_ONCE,
        upload_idle: int | str = IDLE,
        upload_rate: int | str = RATE,
    ) -> None:
        self.uploads = Uploads(uploads_at_once, upload_idle, upload_rate)
        self.mountpoint = mountpoint_of(mountpoint)
        self._base_url = web_address("base_url", base_url) or ""
        self.authorize = authorize
        self.cache_max_age = seconds_of(cache_max_age)
        self._delivery = Delivery(self.cache_max_age, boolean("proxy", proxy), checked=authorize is not None)
        self._x_sendfile = boolean("x_sendfile", x_sendfile)
        self._locations = locations_of(x_accel_redirect)
        self._depots = None if depots is None else depots_of(depots)

    def url_for(self, path: str) -> str:
        """Return the URL of the file with this path (``depot_name/file_id``); without a ``base_url``, it has no host.

        Raises:
            UnknownDepot: the server was given ``depots``, and this one is not among them.
        """
        return f"{self._base_url}{self.path_for(path)}"

    def path_for(self, path: str) -> str:
        """Return the same URL without a host, for requests to the application itself.

        Raises:
            UnknownDepot: the server was given ``depots``, and this one is not among them.
        """
        if not self.serves(path):
            raise UnknownDepot(f"{path!r}: the middleware at {self.mountpoint} serves {', '.join(self._depots or ())}")
        return quote(f"{self.mountpoint}/{path}")

    def serves(self, path: str) -> bool:
        """Return whether a path below the mountpoint is for this server, and not for the application behind it."""
        return self._depots is None or path.partition("/")[0] in self._depots

    def hides_storage(self, depot_name: str) -> bool:
        """Return whether this is a proxy for the files of a depot, so that no URL leads to its storage."""
        return self._delivery.proxy and self.serves(depot_name)

    def _find_depot(self, name: str) -> Depot:
        return Depots.find(name) if self._depots is None else Depots.holding(name, self._depots[name])

    def find(self, request: Request) -> ReadRequest | Upload | Response:
        """Return the requested file, or the response if it is refused: 405, 404 or 403, in that order.

        OPTIONS is answered for browsers that ask for pages of other sites (204).

        An `Upload` is a file that the client sends: the caller passes it to `receive` with the body.
        """
        receives = request.method == "PUT" and self._depots is None
        if receives and (tickets := parse_qs(request.query, keep_blank_values=True).get(PARAMETER)):
            upload = receivable(tickets[0]) if len(tickets) == 1 else None
            return upload if upload is not None and request.path == upload.path else refusal(403)
        if request.method not in {"GET", "HEAD", "OPTIONS"}:
            return refusal(405, ("Allow", "GET, HEAD"))
        found = parse_path(request.path)
        try:
            depot = None if found is None else self._find_depot(found[0])
        except UnknownDepot:
            depot = None
        if request.method == "OPTIONS":
            return self._preflight(request, depot)
        if found is None or depot is None:
            return refusal(404)
        return self._find_file(request, depot, found)

    def _find_file(self, request: Request, depot: Depot, found: tuple[str, str]) -> ReadRequest | Response:
        signed = request.query and "signature" in parse_qs(request.query, keep_blank_values=True)
        if not signed and depot.visibility == "private" and self.authorize is None:
            return self.refuse(request, depot, 403)
        delivery = self._signed_delivery(request, found) if signed else self._labelled_delivery(request)
        if delivery is None:
            return self.refuse(request, depot, 403)
        requested = parse_requested(found[1])
        file_id, fingerprint, _ = requested
        if self.authorize is not None or fingerprint is not None:
            try:  # before the hook, which may ask a database: those take no NUL byte, for example
                check_file_id(file_id)
            except InvalidFileId:
                return self.refuse(request, depot, 404)
        if requested.has_point and not _is_ours(requested):
            return self.refuse(request, depot, 404)
        return ReadRequest(depot, file_id, delivery, bool(signed) or self.authorize is None, fingerprint)

    def _preflight(self, request: Request, depot: Depot | None) -> Response:
        """Return the response to a browser that asks whether a page of another site may send a request."""
        if depot is not None:
            allowed = cross_origin_of(depot, checked=self._delivery.checked)
            headers = preflight_headers(allowed, request.headers)
            if headers is not None:
                return Response(204, headers)
        return refusal(405, ("Allow", "GET, HEAD"))

    def refuse(self, request: Request, depot: Depot, status: int, *headers: tuple[str, str]) -> Response:
        """Return an empty response whose status pages of the sites see that may use the files of this depot."""
        return self._embeddable(request, depot, refusal(status, *headers))

    def unavailable(self, request: Request, file: ReadRequest, error: StorageFailed) -> Response:
        """Log why the first bytes of a file could not be read, and return the response: 503."""
        what = f"file {file.stored_id} of depot {file.depot.name!r} cannot be served"
        return self._embeddable(request, file.depot, unavailable(what, error))

    def _embeddable(self, request: Request, depot: Depot, response: Response) -> Response:
        return response.embeddable(depot, request.headers, checked=self._delivery.checked)

    def _labelled_delivery(self, request: Request) -> Delivery:
        label = request.path.split("/")[2:]
        return replace(self._delivery, label=label[0]) if label else self._delivery

    def _signed_delivery(self, request: Request, found: tuple[str, str]) -> Delivery | None:
        """Return the options that the signature of a URL grants; None if it is invalid or has expired."""
        try:
            grant = Depots.signer().grant("/".join(found), request.query)
        except ConfigurationError:  # without keys, no signature is valid
            grant = None
        if grant is None:
            return None
        # A browser must not cache the file longer than the URL works.
        max_age = min(self.cache_max_age, grant.left)
        return replace(self._delivery, download=grant.download, filename=grant.filename, cache_max_age=max_age)

    def receive(self, request: Request, upload: Upload, body: object) -> Response:
        """Store the file that a browser sends with a ticket, and return the response.

        201: it was stored. 409: the ticket was used before. 413 and 415: it is larger than the ticket allows, or of
        another type. 400: the body broke off. 503 and 507: the storage failed, or is full. Only 201 leaves a file.

        Args:
            body: a stream that ends with the body, and raises an error if the client disconnects.
        """
        length = request.headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length) > upload.max_size:
            return refusal(413)
        try:
            return self._store(upload, body)
        except UnknownDepot:
            return refusal(404)
        except SizeRefused:
            return refusal(413)
        except InvalidContent as error:
            return refusal(408 if isinstance(error, TooSlow) else 400)
        except StorageFailed as error:
            response = unavailable(f"the upload {upload.path} could not be stored", error)
            return refusal(507) if isinstance(error, StorageFull) else response

    @staticmethod
    def _store(upload: Upload, body: object) -> Response:
        storage = Depots.get(upload.depot_name)
        if storage.exists(upload.file_id):
            return refusal(409)
        content = Content.of(body, upload.filename, upload.exact_type)
        content.limit(upload.max_size, SizeRefused("is larger than announced", rule="max_size", limit=upload.max_size))
        if not upload.takes(upload.type_of(content.head())):
            return refusal(415)
        storage.save(content, file_id=upload.file_id)
        return refusal(201)  # as empty as a refusal

    def answer(self, request: Request, file: ReadRequest) -> Response:
        """Return the response for a file to which access has been granted."""
        response = self._answer(request.headers, request, file)
        if not (self._x_sendfile or self._locations) or response.status not in {200, 206, 412, 416}:
            return response
        if response.status == 200 or (response.body is not None and self._location(response) is None):
            return self._handed_over(response)
        # If the web server in front sends the file, it evaluates ranges and preconditions itself.
        headers = {name: value for name, value in request.headers.items() if name not in _FOR_THE_SENDER}
        whole = self._handed_over(self._answer(headers, request, file))
        if whole.status != 200 or whole.body is not None or request.method == "HEAD":
            whole.close()
            return response
        response.close()
        return whole

    @staticmethod
    def _answer(headers: Mapping[str, str], request: Request, file: ReadRequest) -> Response:
        return respond(request.method, headers, file.depot, file.stored_id, delivery=file.delivery)

    def make(self, file: ReadRequest, response: Response) -> Future[None] | None:
        """Return the future of a requested file if it is a variant that has to be made, else None.

        Args:
            file: the request.
            response: as `answer` has returned it.
        """
        if response.status != 404 or file.fingerprint is None:
            return None
        return rendering.make(file.depot, file.file_id, file.fingerprint)

    def answer_made(self, request: Request, file: ReadRequest, made: Future[None]) -> Response:
        """Return the response for a variant when it has been made; wait for that.

        404: there is no such original or recipe, or the original is refused as an image. 503: try again later.
        """
        try:
            made.result()
        except (StoredFileNotFound, ImageRefused):
            return self.refuse(request, file.depot, 404)
        except ImagesBusy as error:
            _log.warning("%s", error)
            return self.refuse(request, file.depot, 503, ("Retry-After", RETRY_AFTER))
        except StorageFailed as error:
            response = unavailable(f"a variant of {file.depot.name}/{file.file_id} cannot be made", error)
            return self._embeddable(request, file.depot, response)
        return self.answer(request, file)

    def _handed_over(self, response: Response) -> Response:
        location = self._location(response)
        if location is None:
            return response
        response.close()
        # The sender of the bytes sets their number, and whether it supports ranges.
        kept = tuple(each for each in response.headers if each[0] not in {"Content-Length", "Accept-Ranges"})
        return Response(response.status, (*kept, location, ("Content-Length", "0")))

    def _location(self, response: Response) -> tuple[str, str] | None:
        """Return the header that tells the web server in front where the file is, None if it cannot send it."""
        path = None if response.body is None else response.body.file.local_path
        if path is None:
            return None
        # The folders are resolved, but the storage may know them by other names.
        real = path.resolve() if self._locations else path
        for folder, location in self._locations.items():
            if real.is_relative_to(folder):
                return "X-Accel-Redirect", quote(f"{location}/{real.relative_to(folder)}")
        return ("X-Sendfile", quote(str(path))) if self._x_sendfile else None


def _is_ours(requested: Requested) -> bool:
    """Return whether this process, or another with its keys, has made the URL of a variant for one point.

    Else a client could have each image rendered, and stored, for ten thousand points.
    """
    try:
        signer = Depots.signer()
    except ConfigurationError:  # without keys, no signature is valid
        return False
    return signer.allows_variant(requested.file_id, str(requested.fingerprint), str(requested.signature))


#: Request headers that only the sender of the bytes can evaluate: its tag and time of the file may differ from ours.
_FOR_THE_SENDER: Final = frozenset({"range", "if-range", "if-match", "if-unmodified-since"})


def parse_path(path: str) -> tuple[str, str] | None:
    """Return the depot name and the file id of a path below the mountpoint, None if it is not a file's path.

    A third part is ignored: it is a readable name for links and saved files.

    >>> parse_path("default/b3a1c6de-...-e2"), parse_path("default/b3a1c6de-...-e2/plan.pdf")
    (('default', 'b3a1c6de-...-e2'), ('default', 'b3a1c6de-...-e2'))
    >>> parse_path("default/"), parse_path("default/b3a1c6de-...-e2/a/b")
    (None, None)
    """
    parts = path.split("/")
    return (parts[0], parts[1]) if all(parts) and len(parts) in {2, 3} else None
