"""Errors of Google's libraries, translated to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.api_core import exceptions as google
from google.auth import exceptions as auth
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from requests.exceptions import ConnectTimeout, RequestException
from urllib3.exceptions import HTTPError

from depot_lite.io.objects.errors import (
    DAMAGED,
    DENIED,
    NO_BUCKET,
    NOT_REACHED,
    OVERLOADED,
    REFUSED,
    TIMED_OUT,
    TIMEOUT,
    UNREACHABLE,
    ErrorTable,
    facts_of_network,
)

_UNIFORM: Final = "uniform bucket-level access"


class _GoogleErrors(ErrorTable):
    library = "google-cloud-storage"
    # Bodies of responses let errors of urllib3 through.
    errors = (
        google.GoogleAPIError,
        auth.GoogleAuthError,
        InvalidResponse,
        DataCorruption,
        RequestException,
        HTTPError,
    )
    reasons = (
        (NO_BUCKET, {404}),
        (REFUSED, {401}),
        (DENIED, {403}),
        ("there is a file already", {412}),
        (f"the bucket takes no ACLs ({_UNIFORM}); configure the depot without 'policy'", {_UNIFORM}),
        (f"{OVERLOADED}, also after it was asked again", {429, 503}),
        ("the server refuses or fails (status {code})", {"code"}),
        (TIMEOUT, {TIMED_OUT}),
        (
            "there are no credentials; give credentials, or a file that GOOGLE_APPLICATION_CREDENTIALS names",
            {auth.DefaultCredentialsError},
        ),
        (
            "the credentials are refused, or the server that gives tokens for them does not answer ({type})",
            {auth.RefreshError},
        ),
        ("the credentials cannot be used ({type})", {auth.GoogleAuthError}),
        (DAMAGED, {DataCorruption}),
        (UNREACHABLE, {NOT_REACHED}),
        (
            "the endpoint cannot be reached or did not answer, or the connection broke ({type})",
            {RequestException, HTTPError},
        ),
    )

    def facts(self, error: BaseException) -> Mapping[str, object]:
        status = status_of(error)
        text = str(error.message).lower() if isinstance(error, google.GoogleAPICallError) else ""
        no_acls = {_UNIFORM: True} if status == 400 and _UNIFORM in text else {}
        return {"code": status, **no_acls} if status else facts_of_network(error)

    def is_missing(self, error: BaseException | None) -> bool:
        """Return whether the error says that there is no such object or no such bucket."""
        return status_of(error) == 404

    def may_have_arrived(self, error: BaseException) -> bool:
        """Return whether the request may have succeeded: its answer was lost, or answers a retry.

        After a lost answer, the condition of the repeated request fails because the first one has succeeded.
        """
        if status := status_of(error):
            return status >= 500 or status in {408, 410, 412}
        return isinstance(error, RequestException | HTTPError) and not isinstance(error, ConnectTimeout)


def is_passing(error: BaseException) -> bool:
    """Return whether the request may succeed when it is repeated.

    https://cloud.google.com/storage/docs/retry-strategy
    """
    if status := status_of(error):
        return status in {408, 429, 500, 502, 503, 504}
    return isinstance(error, RequestException | HTTPError | auth.TransportError)


def status_of(error: BaseException | None) -> int:
    """Return the status of the response, 0 for other errors."""
    if isinstance(error, InvalidResponse):
        return int(error.response.status_code)
    return int(error.code or 0) if isinstance(error, google.GoogleAPICallError) else 0


ERRORS: Final = _GoogleErrors()
GCS_ERRORS: Final = ERRORS.errors
translating = ERRORS.translating
is_missing = ERRORS.is_missing
