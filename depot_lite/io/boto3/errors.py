"""Errors of boto3, translated to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore import exceptions as botocore
from urllib3.exceptions import HTTPError

from depot_lite.io.objects.errors import (
    BROKEN,
    DAMAGED,
    DENIED,
    FAILED,
    FULL,
    NO_BUCKET,
    OVERLOADED,
    REFUSED,
    TIMED_OUT,
    TIMEOUT,
    UNREACHABLE,
    ErrorTable,
    facts_of_network,
)

# The answer to a HEAD has no body for the code, so botocore reports the status as code.
_MISSING: Final = {"NoSuchKey", "NotFound", "404"}
#: Answers to a condition: it does not hold, or there is no object; and the server has none.
CHANGED: Final = frozenset({"PreconditionFailed", "412", "NoSuchKey", "404"})
#: It was not compared, since another request was writing the object: S3 asks to send it again.
CONFLICT: Final = "ConditionalRequestConflict"
NO_CONDITIONS: Final = frozenset({"NotImplemented", "501", "MethodNotAllowed"})
_DENIED: Final = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"}
_WRONG_KEYS: Final = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
}
_THROTTLED: Final = {
    "SlowDown",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "TooManyRequests",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
    "503",
    "429",
}
_NO_CREDENTIALS: Final = (
    botocore.NoCredentialsError,
    botocore.PartialCredentialsError,
    botocore.CredentialRetrievalError,
    botocore.NoAuthTokenError,
    botocore.TokenRetrievalError,
)
_FULL: Final = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"}
#: Nothing was sent.
_UNREACHABLE: Final = (
    botocore.EndpointConnectionError,
    botocore.ConnectTimeoutError,
    botocore.ProxyConnectionError,
    botocore.SSLError,
)


class _S3Errors(ErrorTable):
    library = "boto3"
    # Bodies of responses let some errors of urllib3 through.
    errors = (botocore.BotoCoreError, botocore.ClientError, Boto3Error, HTTPError)
    reasons = (
        ("{complaint}", {botocore.ParamValidationError}),
        (NO_BUCKET, {"NoSuchBucket"}),
        (
            f"{DENIED}; where the bucket may not be listed (s3:ListBucket), S3 says so also of files that are missing",
            _DENIED,
        ),
        (REFUSED, _WRONG_KEYS),
        (f"{OVERLOADED}, also after {{attempts}}", _THROTTLED),
        (FULL, _FULL),
        (
            "the bucket takes no ACLs; configure the depot without 'policy' and without ACL in 'upload_metadata'",
            {"AccessControlListNotSupported"},
        ),
        (FAILED, {botocore.ClientError}),
        (
            "there are no credentials, or not all; give access_key_id and secret_access_key, or configure boto3's own",
            set(_NO_CREDENTIALS),
        ),
        (TIMEOUT, {TIMED_OUT}),
        (
            BROKEN,
            {
                botocore.ConnectionClosedError,
                botocore.ResponseStreamingError,
                botocore.IncompleteReadError,
                ConnectionError,
            },
        ),
        (UNREACHABLE, {*_UNREACHABLE, botocore.HTTPClientError, HTTPError}),
        (DAMAGED, {botocore.FlexibleChecksumError}),
    )

    def facts(self, error: BaseException) -> Mapping[str, object]:
        if isinstance(error, botocore.ParamValidationError):
            return {"complaint": _without_values(str(error))}
        if isinstance(error, botocore.ClientError):
            return {"code": code_of(error), "status": status_of(error), "attempts": f"{_tries(error)} attempts"}
        return facts_of_network(error)

    def is_missing(self, error: Exception) -> bool:
        """Return whether the error says that there is no such object. A missing bucket is another error."""
        return code_of(error) in _MISSING

    def may_have_arrived(self, error: Exception) -> bool:
        """Return whether the request may have succeeded: its answer was lost, or answers a retry.

        After a lost answer, the condition of the repeated request fails because the first one has succeeded.
        If completing a multipart upload is repeated because its answer was lost, the upload no longer exists.
        """
        if isinstance(error, botocore.ClientError):
            return status_of(error) >= 500 or code_of(error) in {"NoSuchUpload", "RequestTimeout", "PreconditionFailed"}
        return isinstance(error, (botocore.HTTPClientError, HTTPError)) and not isinstance(error, _UNREACHABLE)

    def cause(self, error: Exception) -> Exception | None:
        # Its text quotes values, and one may be an encryption key.
        return None if isinstance(error, botocore.ParamValidationError) else error

    def subject(self, error: BaseException) -> BaseException:
        cause = error.__cause__ or error.__context__
        return cause if isinstance(error, S3UploadFailedError) and cause is not None else error


def code_of(error: BaseException | None) -> str:
    """Return the code in S3's answer, ``""`` for other errors."""
    return str(_part(error, "Error").get("Code", ""))


def status_of(error: BaseException | None) -> int:
    """Return the status of S3's answer, 0 for other errors."""
    return int(_part(error, "ResponseMetadata").get("HTTPStatusCode", 0))


def _part(error: BaseException | None, name: str) -> dict[str, Any]:
    found: dict[str, Any] = error.response.get(name, {}) if isinstance(error, botocore.ClientError) else {}
    return found


def _tries(error: botocore.ClientError) -> int:
    return int(_part(error, "ResponseMetadata").get("RetryAttempts", 0)) + 1


def _without_values(text: str) -> str:
    """Return boto3's complaint about parameters, without their values."""
    text = re.sub(r"value: .*?, (?=type: |valid )", "", text, flags=re.DOTALL)
    return " ".join(text.split())


ERRORS: Final = _S3Errors()
S3_ERRORS: Final = ERRORS.errors
translating = ERRORS.translating
is_missing = ERRORS.is_missing
