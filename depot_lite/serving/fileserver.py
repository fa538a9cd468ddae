"""FileServer: the files of the depots below a path, and who may read them; for WSGI and ASGI alike.

Who may read a file:

- of an *unlisted* depot (the default): everybody who knows its URL. It cannot be guessed, but it is passed on.
- of a *private* depot: who has a URL with a signature that has not expired (`UploadedFile.url` gives such).
- of a *public* depot: as of an unlisted one; shared caches may keep the files, too.
- with an ``authorize`` hook: whom it lets, and who has a signed URL. It decides for each request, in every depot.

A URL whose signature is wrong or has expired is refused, whatever the depot.

Files are received from who has a ticket of `depot_lite.uploads`, one each; from nobody else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, InvalidContent, SizeRefused, StorageFailed, StorageFull, UnknownDepot
from depot_lite.io.content import Content
from depot_lite.io.options import boolean
from depot_lite.serving import DEFAULT_CACHE_MAX_AGE, Delivery, Response, not_found, parse_path, refusal, respond
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
    #: What follows the question mark, as it was sent.
    query: str
    #: The WSGI environ or the ASGI scope, in which a framework keeps its user.
    context: Any


#: ``authorize(request, depot_name, file_id)``: whether who asks may read the file. ASGI takes asynchronous ones, too.
Authorize = Callable[[Request, str, str], "bool | Awaitable[bool]"]


@dataclass(slots=True)
class Asked:
    """A file that was asked for, how it is to be handed out, and whether a hook has to be asked before."""

    depot_name: str
    file_id: str
    delivery: Delivery
    open: bool


class FileServer:
    """The files of all depots below one path.

    Args:
        mountpoint: where that is, as browsers see it.
        cache_max_age: how long a browser may keep a file without asking, in seconds; 0 makes it ask each time.
        proxy: send the bytes of storages that have URLs of their own too, instead of a redirect to these.
        authorize: decides who may read a file, see above.
        x_sendfile: let the web server in front send local files (Apache's mod_xsendfile, lighttpd): the answer names
            the file in ``X-Sendfile``.
        x_accel_redirect: the same for nginx: folder -> internal location, as a mapping or as ``/srv/media=/protected``.
    """

    def __init__(
        self,
        mountpoint: str = "/depot",
        cache_max_age: int | str = DEFAULT_CACHE_MAX_AGE,
        *,
        proxy: bool | str = False,
        authorize: Authorize | None = None,
        x_sendfile: bool | str = False,
        x_accel_redirect: Mapping[str, str] | str | None = None,
    ) -> None:
        self.mountpoint = _mountpoint(mountpoint)
        self.authorize = authorize
        self.cache_max_age = _seconds(cache_max_age)
        self._delivery = Delivery(self.cache_max_age, boolean("proxy", proxy), checked=authorize is not None)
        self._x_sendfile = boolean("x_sendfile", x_sendfile)
        self._locations = _locations(x_accel_redirect)

    def url_for(self, path: str) -> str:
        """Return the URL, without a host, of the file with this path (``depot_name/file_id``)."""
        return quote(f"{self.mountpoint}/{path}")

    def find(self, request: Request) -> Asked | Upload | Response:
        """Return the file that is asked for, or the answer where none is given: 405, 404 or 403, in that order.

        An `Upload` is a file that is sent to us: what takes the request gives it to `receive`, with the body.
        """
        if request.method == "PUT" and (tickets := parse_qs(request.query, keep_blank_values=True).get(PARAMETER)):
            upload = receivable(tickets[0]) if len(tickets) == 1 else None
            return upload if upload is not None and request.path == upload.path else forbidden()
        if request.method not in {"GET", "HEAD"}:
            return refusal(405, ("Allow", "GET, HEAD"))
        found = parse_path(request.path)
        if found is None:
            return not_found()
        try:
            private = Depots.visibility(found[0]) == "private"
            depot_name = Depots.resolve_alias(found[0])
        except UnknownDepot:
            return not_found()
        if not request.query or "signature" not in parse_qs(request.query, keep_blank_values=True):
            if private and self.authorize is None:
                return forbidden()
            return Asked(depot_name, found[1], self._delivery, open=self.authorize is None)
        return self._signed(request, depot_name, found)

    def _signed(self, request: Request, depot_name: str, found: tuple[str, str]) -> Asked | Response:
        try:
            grant = Depots.signer().grant("/".join(found), request.query)
        except ConfigurationError:  # without keys nothing was signed
            grant = None
        if grant is None:
            return forbidden()
        # Who keeps it must not keep it longer than the URL works.
        kept = min(self.cache_max_age, grant.left)
        delivery = replace(self._delivery, download=grant.download, filename=grant.filename, cache_max_age=kept)
        return Asked(depot_name, found[1], delivery, open=True)

    def receive(self, request: Request, upload: Upload, body: object) -> Response:
        """Store what a browser sends with a ticket, and return the answer.

        201: it is stored. 409: the ticket was used. 413 and 415: it is larger than the ticket allows, or of another
        type. 400: it broke off. 503 and 507: the storage failed, or is full. In all but the first nothing is left.

        Args:
            body: a stream that ends where the body does, and raises an error where the client has gone.
        """
        length = request.headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length) > upload.max_size:
            return refusal(413)
        try:
            return self._received(upload, body)
        except UnknownDepot:
            return not_found()
        except SizeRefused:
            return refusal(413)
        except InvalidContent:
            return refusal(400)
        except StorageFailed as error:
            _log.exception("what was uploaded as %s could not be stored", upload.path)
            return refusal(507 if isinstance(error, StorageFull) else 503)

    @staticmethod
    def _received(upload: Upload, body: object) -> Response:
        storage = Depots.get(upload.depot_name)
        if storage.exists(upload.file_id):
            return refusal(409)
        content = Content.of(body, upload.filename, upload.exact_type)
        content.limit(upload.max_size, SizeRefused("is larger than announced", rule="max_size", limit=upload.max_size))
        if not upload.takes(upload.type_of(content.head())):
            return refusal(415)
        storage.save(content, file_id=upload.file_id)
        return refusal(201)  # which tells as little as a refusal does

    def answer(self, request: Request, asked: Asked) -> Response:
        """Return the answer for a file that whoever asks may read."""
        response = self._answer(request.headers, request, asked)
        if not (self._x_sendfile or self._locations) or response.status not in {200, 206, 412, 416}:
            return response
        if response.status == 200 or (response.body is not None and self._location(response) is None):
            return self._handed_over(response)
        # What is asked of a part, or of a version, is for the web server in front, if it gets the file.
        headers = {name: value for name, value in request.headers.items() if name not in _OF_THE_SENDER}
        whole = self._handed_over(self._answer(headers, request, asked))
        if whole.status != 200 or whole.body is not None or request.method == "HEAD":
            whole.close()
            return response
        response.close()
        return whole

    @staticmethod
    def _answer(headers: Mapping[str, str], request: Request, asked: Asked) -> Response:
        return respond(request.method, headers, asked.depot_name, asked.file_id, delivery=asked.delivery)

    def _handed_over(self, response: Response) -> Response:
        location = self._location(response)
        if location is None:
            return response
        response.close()
        # Who sends the bytes says how many there are, and whether there are ranges.
        kept = tuple(each for each in response.headers if each[0] not in {"Content-Length", "Accept-Ranges"})
        return Response(response.status, (*kept, location, ("Content-Length", "0")))

    def _location(self, response: Response) -> tuple[str, str] | None:
        """Return the header by which the web server in front finds the file, None where it cannot."""
        path = None if response.body is None else response.body.file.local_path
        if path is None:
            return None
        # The folder was resolved, and the storage may know it by another name.
        real = path.resolve() if self._locations else path
        for folder, location in self._locations.items():
            if real.is_relative_to(folder):
                return "X-Accel-Redirect", quote(f"{location}/{real.relative_to(folder)}")
        return ("X-Sendfile", quote(str(path))) if self._x_sendfile else None


#: The headers of a request that only who sends the bytes can answer: it may know the file by another tag and time.
_OF_THE_SENDER: Final = frozenset({"range", "if-range", "if-match", "if-unmodified-since"})


def forbidden() -> Response:
    """Return the answer to whom neither a signature nor an ``authorize`` hook lets."""
    return refusal(403)


def _mountpoint(mountpoint: str) -> str:
    """Return the mountpoint without a slash at its end."""
    if not mountpoint.startswith("/"):
        raise ConfigurationError(f"mountpoint={mountpoint!r}: the mountpoint must be an absolute path such as '/depot'")
    parts = mountpoint.rstrip("/").split("/")[1:]
    if not parts or any(part in {"", ".", ".."} for part in parts):
        raise ConfigurationError(
            f"mountpoint={mountpoint!r}: a path such as '/depot' is wanted, with no part empty, '.' or '..'; "
            "'/' would leave no request to the application"
        )
    return "/" + "/".join(parts)


def _seconds(value: int | str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ConfigurationError(f"cache_max_age={value!r}: a number of seconds is wanted") from None


def _locations(given: Mapping[str, str] | str | None) -> dict[Path, str]:
    pairs = dict([given.split("=", 1)]) if isinstance(given, str) and "=" in given else given or {}
    if isinstance(pairs, str):
        raise ConfigurationError(f"x_accel_redirect={given!r}: 'folder=location' or a mapping is wanted")
    for folder, location in pairs.items():
        if not Path(folder).is_absolute() or not location.startswith("/"):
            raise ConfigurationError(
                f"x_accel_redirect={given!r}: an absolute folder and a location such as '/protected' are wanted"
            )
    return {Path(folder).resolve(): location.rstrip("/") for folder, location in pairs.items()}
