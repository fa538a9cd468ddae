"""Direct uploads: a browser sends a file straight to its storage, and the form carries a token instead of bytes.

::

    ticket = upload_ticket(max_size="200 MiB", content_type="video/*", filename=name)   # in a view, for a user
    ...                                                     # the browser sends the file: ticket.method, ticket.url
    movie.trailer = request.form["trailer"]                 # ticket.token; the flush adopts the file

A *ticket* allows sending one file, within limits of size, type and time, under a random id. S3 receives the file itself
(a POST with a signed policy); other storages get it through ``<mountpoint>/<depot>/<file id>``, where
`depot_lite.serving.fileserver` passes it on with the same limits.

The *token* allows adopting that file. Its signature differs from the one for sending: URLs are written to server logs,
and reading a log must not allow putting the file into another form. A file that is never adopted is an unused file,
which maintenance sweeps.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, StorageFailed, StoredFileNotFound
from depot_lite.io.content import clean_filename
from depot_lite.io.fileid import is_upload_id, new_upload_id
from depot_lite.io.interfaces import FileEntry
from depot_lite.io.media_types import valid_media_type
from depot_lite.io.media_types.detection import content_type_of
from depot_lite.io.media_types.vocabulary import matches
from depot_lite.io.sizes import size_of
from depot_lite.signing import DEFAULT_EXPIRY, positive_seconds

#: The beginning of every token, by which a column tells it from other text.
PREFIX: Final = "depot-upload:"

#: The parameter of the URL that allows sending.
PARAMETER: Final = "ticket"

#: The purposes of the signatures.
_ADOPTING: Final = "upload"
_SENDING: Final = "put"

#: Seconds by which a token outlives its ticket: sending a large file and filling in a form take time.
_GRACE: Final = DEFAULT_EXPIRY

_FAMILY: Final = re.compile(r"[a-z]+/\*")


@dataclass(frozen=True, slots=True)
class Ticket:
    """The request by which a browser sends one file, and the token for its form."""

    #: ``POST`` a form with the file as its last field ``file``, or ``PUT`` the file.
    method: str
    url: str
    #: The fields to POST, in this order. If the ticket allows several types, the browser adds ``Content-Type``.
    fields: dict[str, str]
    #: Headers of the request.
    headers: dict[str, str]
    #: The text to assign to a file column. It is secret until the file has been adopted.
    token: str
    #: The latest time to begin sending, in UTC. The token works an hour longer.
    expires_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return the ticket as data for JSON, with the time in ISO 8601."""
        return {
            "method": self.method,
            "url": self.url,
            "fields": dict(self.fields),
            "headers": dict(self.headers),
            "token": self.token,
            "expires_at": self.expires_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Upload:
    """The file that a ticket was made for, as its signatures describe it."""

    depot_name: str
    file_id: str
    #: In bytes.
    max_size: int
    #: ``image/png``, ``image/*``, or None for any.
    content_type: str | None = None
    filename: str | None = None

    @property
    def path(self) -> str:
        """``depot_name/file_id``."""
        return f"{self.depot_name}/{self.file_id}"

    @property
    def exact_type(self) -> str | None:
        """The content type, None if the ticket allows several."""
        return None if self.content_type is None or _FAMILY.fullmatch(self.content_type) else self.content_type

    def takes(self, content_type: str) -> bool:
        """Return whether a file of this type may be sent.

        >>> Upload("default", "1", 9, "image/*").takes("image/png"), Upload("default", "1", 9, "image/*").takes("a/b")
        (True, False)
        """
        return self.content_type is None or matches(content_type, self.content_type)

    def type_of(self, head: bytes) -> str:
        """Return the content type of a file with this beginning; if the bytes do not show it, the announced type.

        Images are never recognised by their announcement: a file whose bytes show no image type is not an image.
        """
        is_image = self.content_type is not None and self.content_type.startswith("image/")
        return content_type_of(head, None, None) if is_image else content_type_of(head, self.exact_type, self.filename)


def upload_ticket(
    depot_name: str | None = None,
    *,
    max_size: int | str = "10 MiB",
    content_type: str | None = None,
    filename: str | None = None,
    expires_in: int | timedelta = 600,
) -> Ticket:
    """Return a ticket for one file. Anyone with the ticket can send the file, so check the user first.

    No request is made, except that an S3 storage may fetch credentials for signing.

    Args:
        depot_name: a depot or an alias, the same as ``upload_storage`` of the column that will adopt the file; the
            default depot if not given.
        max_size: the maximal number of bytes, also as ``"10 MiB"``.
        content_type: ``"image/png"``, ``"image/*"``, or None for any.
        filename: the file's name, which the browser knows before it sends the file.
        expires_in: the time in which sending may begin, in seconds or as a timedelta.

    Raises:
        ConfigurationError: an argument is invalid, no signing keys have been set, or no middleware could receive the
            file.
        UnknownDepot: there is no such depot.
    """
    seconds = positive_seconds(expires_in, 0)
    name = Depots.find(depot_name).name
    upload = Upload(
        name, new_upload_id(), size_of("max_size", max_size), _checked_type(content_type), clean_filename(filename)
    )
    expires_at = datetime.fromtimestamp(int(time.time()) + seconds, UTC)
    token = token_of(upload, seconds + _GRACE)
    if not Depots.hides_storage(name):
        form = Depots.get(name).upload_form(
            upload.file_id,
            max_size=upload.max_size,
            content_type=upload.content_type,
            filename=upload.filename,
            expires_in=seconds,
        )
        if form is not None:
            return Ticket("POST", form[0], form[1], {}, token, expires_at)
    sending = Depots.signer().token(_SENDING, _facts(upload), seconds)
    url = f"{Depots.path_for(upload.path)}?{urlencode({PARAMETER: sending})}"
    headers = {} if upload.exact_type is None else {"Content-Type": upload.exact_type}
    return Ticket("PUT", url, {}, headers, token, expires_at)


def sweep_uploads(depot_name: str | None = None, *, older_than: timedelta = timedelta(hours=24)) -> list[str]:
    """Delete direct uploads that no row adopted in time, and return their ids.

    Rows name copies, never the uploads themselves, so no file that a row names is deleted, and no database is needed.
    Uploads are recognised by their ids, UUIDs of version 8: do not use such ids in ``create(file_id=...)``.

    Args:
        depot_name: a depot or an alias; the default depot if not given.
        older_than: younger uploads stay. It has to exceed the longest ``expires_in`` by more than an hour, and the
            longest transaction.

    Raises:
        ConfigurationError: ``older_than`` is no timedelta.
        StorageFailed: the depot cannot be listed, or a file could not be deleted; the other files were.
    """
    given: Any = older_than
    if not isinstance(given, timedelta):
        raise ConfigurationError(f"older_than={older_than!r}: expected a timedelta")
    storage, limit = Depots.get(depot_name), datetime.now(UTC) - older_than
    found = [str(each) for each in storage.list() if is_upload_id(each) and _is_older(each, limit)]
    failed = storage.delete_many(found)
    for file_id, error in failed.items():
        raise StorageFailed(
            f"{len(failed)} of {len(found)} uploads could not be deleted, {file_id} among them"
        ) from error
    return found


def _is_older(entry: FileEntry, limit: datetime) -> bool:
    try:
        return entry.last_modified < limit
    except StoredFileNotFound:  # adopted meanwhile
        return False


def token_of(upload: Upload, expires_in: int) -> str:
    """Return the token that allows adopting a file; it works for ``expires_in`` seconds.

    Raises:
        ConfigurationError: no signing keys have been set.
    """
    return PREFIX + Depots.signer().token(_ADOPTING, _facts(upload), expires_in)


def adoptable(token: str) -> Upload | None:
    """Return the upload that a token allows adopting, None if the token is invalid or has expired."""
    return _signed(_ADOPTING, token.removeprefix(PREFIX)) if token.startswith(PREFIX) else None


def receivable(signature: str) -> Upload | None:
    """Return the upload that the ``ticket`` of a URL allows sending, None if it is invalid or has expired."""
    return _signed(_SENDING, signature)


def _facts(upload: Upload) -> dict[str, Any]:
    return {
        "depot": upload.depot_name,
        "file_id": upload.file_id,
        "max_size": upload.max_size,
        "content_type": upload.content_type,
        "filename": upload.filename,
    }


def _signed(purpose: str, signed: str) -> Upload | None:
    try:
        signer = Depots.signer()
    except ConfigurationError:  # without keys no signature is valid, and a forged one must not cause an error
        return None
    facts = signer.facts(purpose, signed)
    if facts is None:
        return None
    return Upload(facts["depot"], facts["file_id"], facts["max_size"], facts["content_type"], facts["filename"])


def _checked_type(content_type: str | None) -> str | None:
    if content_type is None:
        return None
    found = valid_media_type(content_type)
    if found is None or ("*" in found and not _FAMILY.fullmatch(found)):
        raise ConfigurationError(
            f"content_type={content_type!r}: expected a type such as 'image/png', or a family such as 'image/*'"
        )
    return found
