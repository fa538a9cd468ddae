"""Direct uploads: a browser sends a file straight to its storage, and the form then carries a token instead of bytes.

::

    ticket = upload_ticket(max_size="200 MiB", content_type="video/*", filename=name)   # in a view, for a user
    ...                                                     # the browser sends the file: ticket.method, ticket.url
    movie.trailer = request.form["trailer"]                 # ticket.token; the flush adopts the file

A *ticket* allows sending one file of some size and type, under an id that nobody chose, for some time. S3 takes the
file itself (a POST with a signed policy); other storages get it through ``<mountpoint>/<depot>/<file id>``, where
`depot_lite.serving.fileserver` streams it on with the same limits.

The *token* allows adopting that file. It is another signature than the one for sending: a URL is written to the logs
of servers, and who reads those must not be able to put the file into a form of his own. What is never adopted is an
unused file, which maintenance sweeps.
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
from depot_lite.io.media_types.detection import content_type_of, valid_media_type
from depot_lite.io.sizes import size_of
from depot_lite.signing import DEFAULT_EXPIRY, positive_seconds

#: How every token begins, so that a column knows one from other text.
PREFIX: Final = "depot-upload:"

#: The parameter of the URL that allows sending.
PARAMETER: Final = "ticket"

#: What the signatures are for.
_ADOPTING: Final = "upload"
_SENDING: Final = "put"

#: Seconds by which a token outlives its ticket: a large file takes its time, and so does the rest of a form.
_LONGER: Final = DEFAULT_EXPIRY

_FAMILY: Final = re.compile(r"[a-z]+/\*")


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a browser needs to send one file, and what its form has to carry then."""

    #: ``POST`` a form with the file as its last field ``file``, or ``PUT`` the file.
    method: str
    url: str
    #: The form to POST, in this order. Where the content type is open, ``Content-Type`` is left to the browser.
    fields: dict[str, str]
    #: Headers of the request.
    headers: dict[str, str]
    #: What is assigned to a file column. It is secret as long as the file has not been adopted.
    token: str
    #: Until when sending may begin, in UTC. The token works an hour longer.
    expires_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON can hold it, the time in ISO 8601."""
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
    """The file that a ticket was made for, as its signatures tell."""

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
        """The content type if it is one and not a family of them."""
        return None if self.content_type is None or _FAMILY.fullmatch(self.content_type) else self.content_type

    def takes(self, content_type: str) -> bool:
        """Return whether a file of this type may be sent.

        >>> Upload("default", "1", 9, "image/*").takes("image/png"), Upload("default", "1", 9, "image/*").takes("a/b")
        (True, False)
        """
        if self.content_type is None:
            return True
        family = self.content_type.removesuffix("*")
        return content_type == self.content_type or (family.endswith("/") and content_type.startswith(family))

    def type_of(self, head: bytes) -> str:
        """Return the type of a file that begins like this. Where the bytes do not tell, what was announced counts.

        Not for images, which always tell: what does not is none.
        """
        shows = self.content_type is not None and self.content_type.startswith("image/")
        return content_type_of(head, None, None) if shows else content_type_of(head, self.exact_type, self.filename)


def upload_ticket(
    depot_name: str | None = None,
    *,
    max_size: int | str = "10 MiB",
    content_type: str | None = None,
    filename: str | None = None,
    expires_in: int | timedelta = 600,
) -> Ticket:
    """Return a ticket for one file. Who gets it may send that file, so the application decides who does.

    It makes no request; the signing of an S3 storage may ask for credentials.

    Args:
        depot_name: where the file shall go, or an alias of it: the ``upload_storage`` of the column that will adopt it.
            The default depot where not given.
        max_size: the most bytes, also as ``"10 MiB"``.
        content_type: ``"image/png"``, ``"image/*"``, or None for any.
        filename: the name to remember, as the browser tells it before it sends the file.
        expires_in: how long sending may begin, in seconds or as a timedelta.

    Raises:
        ConfigurationError: there are no keys to sign with, no middleware that could take the file, or one of the
            arguments cannot be.
        UnknownDepot: there is no such depot.
    """
    seconds = positive_seconds(expires_in, 0)
    name = Depots.resolve_alias(Depots.get_default() if depot_name is None else depot_name)
    upload = Upload(
        name, new_upload_id(), size_of("max_size", max_size), _checked_type(content_type), clean_filename(filename)
    )
    expires_at = datetime.fromtimestamp(int(time.time()) + seconds, UTC)
    token = token_of(upload, seconds + _LONGER)
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
    url = f"{Depots.get_middleware().url_for(upload.path)}?{urlencode({PARAMETER: sending})}"
    headers = {} if upload.exact_type is None else {"Content-Type": upload.exact_type}
    return Ticket("PUT", url, {}, headers, token, expires_at)


def sweep_uploads(depot_name: str | None = None, *, older_than: timedelta = timedelta(hours=24)) -> list[str]:
    """Delete what browsers have sent and no row has adopted in time, and return the ids.

    Rows name copies, never what was sent, so nothing that a row names is ever deleted, and no database is asked. What
    was sent is known by its id, a UUID of version 8: do not give such ids (``create(file_id=...)``) to files of yours.

    Args:
        depot_name: where, or an alias of it; the default depot where not given.
        older_than: what is younger is left. It has to exceed the longest ``expires_in`` by more than an hour, and the
            longest transaction.

    Raises:
        StorageFailed: the depot cannot be listed, or a file could not be deleted. The others are.
    """
    storage, limit = Depots.get(depot_name), datetime.now(UTC) - older_than
    found = [str(each) for each in storage.list() if is_upload_id(each) and _is_older(each, limit)]
    failed = storage.delete_many(found)
    for file_id, error in failed.items():
        raise StorageFailed(f"upload {file_id} could not be deleted, nor {len(failed) - 1} others") from error
    return found


def _is_older(entry: FileEntry, limit: datetime) -> bool:
    try:
        return entry.last_modified < limit
    except StoredFileNotFound:  # adopted while we look
        return False


def token_of(upload: Upload, expires_in: int) -> str:
    """Return the token that allows adopting a file, for so many seconds.

    Raises:
        ConfigurationError: there are no keys to sign with.
    """
    return PREFIX + Depots.signer().token(_ADOPTING, _facts(upload), expires_in)


def adoptable(token: str) -> Upload | None:
    """Return the upload that a token allows adopting, None where the token is not ours, or has expired."""
    return _signed(_ADOPTING, token.removeprefix(PREFIX)) if token.startswith(PREFIX) else None


def receivable(signature: str) -> Upload | None:
    """Return the upload that the ``ticket`` of a URL allows sending, None where it is not ours, or has expired."""
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
    except ConfigurationError:  # nothing was ever signed, and who sends such a thing shall not cause an error
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
            f"content_type={content_type!r}: a type such as 'image/png' is wanted, or a family such as 'image/*'"
        )
    return found
