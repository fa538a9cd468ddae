"""The one place where errors of Google's libraries become ours. None tells a secret, and each keeps its cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from google.api_core import exceptions as google
from google.auth import exceptions as auth
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from requests.exceptions import ConnectTimeout, RequestException
from urllib3.exceptions import HTTPError

from depot_lite.errors import StorageFailed, StoredFileNotFound

#: Whatever Google's libraries raise. Bodies of responses let errors of urllib3 through.
GCS_ERRORS: Final = (
    google.GoogleAPIError,
    auth.GoogleAuthError,
    InvalidResponse,
    DataCorruption,
    RequestException,
    HTTPError,
)


@contextmanager
def failing(what: str, file_id: str | None = None) -> Iterator[None]:
    """Turn errors of Google's libraries into ours.

    Args:
        what: what was attempted and where, for the message: ``store gs://bucket/key``.
        file_id: the file whose absence is a `StoredFileNotFound`; not given where absence means something else.
    """
    try:
        yield
    except GCS_ERRORS as error:
        if file_id is not None and is_missing(error):
            raise StoredFileNotFound(f"file {file_id} is not in its storage") from error
        raise translated(what, error) from error


def translated(what: str, error: BaseException) -> StorageFailed:
    """Return our error for one of Google's."""
    return StorageFailed(f"cannot {what}: {_reason(error)}")


def is_missing(error: BaseException | None) -> bool:
    """Return whether the error says that there is no such object, or no bucket that it could be in."""
    return status_of(error) == 404


def may_have_arrived(error: BaseException) -> bool:
    """Return whether the request may have been obeyed all the same: its answer was lost, or is no answer to it.

    A condition that does not hold may be one that the first attempt has met: it is repeated when its answer is lost.
    """
    if status := status_of(error):
        return status >= 500 or status in {408, 410, 412}
    return isinstance(error, RequestException | HTTPError) and not isinstance(error, ConnectTimeout)


def is_passing(error: BaseException) -> bool:
    """Return whether what failed may succeed the next time.

    https://cloud.google.com/storage/docs/retry-strategy
    """
    if status := status_of(error):
        return status in {408, 429, 500, 502, 503, 504}
    return isinstance(error, RequestException | HTTPError | auth.TransportError)


def status_of(error: BaseException | None) -> int:
    """Return the status of the response, 0 for an error that is no response."""
    if isinstance(error, InvalidResponse):
        return int(error.response.status_code)
    return int(error.code or 0) if isinstance(error, google.GoogleAPICallError) else 0


def _reason(error: BaseException) -> str:
    if status := status_of(error):
        return _reason_of_status(status, _text_of(error))
    if isinstance(error, auth.DefaultCredentialsError):
        return "there are no credentials; give credentials, or what GOOGLE_APPLICATION_CREDENTIALS names"
    if isinstance(error, auth.RefreshError):
        return "the credentials are refused, or the server that gives tokens for them does not answer (RefreshError)"
    if isinstance(error, auth.GoogleAuthError):
        return f"the credentials cannot be used ({type(error).__name__})"
    if isinstance(error, DataCorruption):
        return "the bytes that came are not those that were stored (their checksum differs)"
    if isinstance(error, RequestException | HTTPError):
        return f"the endpoint cannot be reached or did not answer, or the connection broke ({type(error).__name__})"
    return f"google-cloud-storage failed ({type(error).__name__})"


def _reason_of_status(status: int, text: str) -> str:
    if status == 404:
        return "there is no such bucket"
    if status == 401:
        return "the credentials are refused (401)"
    if status == 403:
        return "access is denied (403)"
    if status == 400 and "uniform bucket-level access" in text.lower():
        return "the bucket takes no ACLs (uniform bucket-level access); configure the depot without 'policy'"
    if status in {429, 503}:
        return f"the server is overloaded or throttles ({status}), also after it was asked again"
    return f"the server refuses or fails (status {status})"


def _text_of(error: BaseException) -> str:
    return str(error.message) if isinstance(error, google.GoogleAPICallError) else ""
