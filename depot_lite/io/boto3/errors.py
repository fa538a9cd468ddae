"""The one place where errors of boto3 become ours. None of them tells a secret, and each keeps its cause."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore import exceptions as botocore
from urllib3.exceptions import HTTPError

from depot_lite.errors import StorageFailed, StorageFull, StoredFileNotFound

#: Whatever boto3 raises. Bodies of responses let some errors of urllib3 through.
S3_ERRORS: Final = (botocore.BotoCoreError, botocore.ClientError, Boto3Error, HTTPError)

# A HEAD has no body to tell the code in, so there the status stands for it.
_MISSING: Final = {"NoSuchKey", "NotFound", "404"}
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
#: Amazon's buckets have no limit; those of other servers have.
_FULL: Final = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"}
#: Nothing was sent.
_UNREACHABLE: Final = (
    botocore.EndpointConnectionError,
    botocore.ConnectTimeoutError,
    botocore.ProxyConnectionError,
    botocore.SSLError,
)


@contextmanager
def failing(what: str, file_id: str | None = None) -> Iterator[None]:
    """Turn errors of boto3 into ours.

    Args:
        what: what was attempted and where, for the message: ``store s3://bucket/key``.
        file_id: the file whose absence is a `StoredFileNotFound`; not given where absence means something else.
    """
    try:
        yield
    except botocore.ParamValidationError as error:
        # Its text quotes values, of which one may be a key for encryption; and a traceback would print it as the cause.
        raise StorageFailed(f"cannot {what}: {_without_values(str(error))}") from None
    except S3_ERRORS as error:
        if file_id is not None and is_missing(error):
            raise StoredFileNotFound(f"file {file_id} is not in its storage") from error
        raise translated(what, error) from error


def translated(what: str, error: Exception) -> StorageFailed:
    """Return our error for one of boto3's."""
    kind = StorageFull if _is_full(error) else StorageFailed
    return kind(f"cannot {what}: {_reason(error)}")


def _is_full(error: BaseException | None) -> bool:
    cause = error.__cause__ or error.__context__ if isinstance(error, S3UploadFailedError) else None
    return code_of(cause or error) in _FULL


def is_missing(error: Exception) -> bool:
    """Return whether the error says that there is no such object. Where there is no bucket, it is not that."""
    return code_of(error) in _MISSING


def may_have_arrived(error: Exception) -> bool:
    """Return whether the request may have been obeyed all the same: its answer was lost, or is no answer to it.

    A request to complete a multipart upload that is repeated, after its answer was lost, finds no upload any more.
    """
    if isinstance(error, botocore.ClientError):
        return status_of(error) >= 500 or code_of(error) in {"NoSuchUpload", "RequestTimeout"}
    return isinstance(error, (botocore.HTTPClientError, HTTPError)) and not isinstance(error, _UNREACHABLE)


def code_of(error: BaseException | None) -> str:
    """Return the code that S3 gave, ``""`` for an error that is not S3's."""
    return str(_part(error, "Error").get("Code", ""))


def status_of(error: BaseException | None) -> int:
    """Return the status of the response, 0 for an error that is not S3's."""
    return int(_part(error, "ResponseMetadata").get("HTTPStatusCode", 0))


def _part(error: BaseException | None, name: str) -> dict[str, Any]:
    found: dict[str, Any] = error.response.get(name, {}) if isinstance(error, botocore.ClientError) else {}
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, botocore.ClientError):
        return _reason_of_code(code_of(error), status_of(error), _tries(error))
    if isinstance(error, _NO_CREDENTIALS):
        return "there are no credentials, or not all; give access_key_id and secret_access_key, or what boto3 reads"
    if isinstance(error, botocore.ResponseStreamingError | botocore.IncompleteReadError | ConnectionError):
        return f"the connection broke ({type(error).__name__})"
    if isinstance(error, (*_UNREACHABLE, botocore.HTTPClientError, HTTPError)):
        return f"the endpoint cannot be reached or did not answer ({type(error).__name__})"
    if isinstance(error, botocore.FlexibleChecksumError):
        return "the bytes that came are not those that were stored (their checksum differs)"
    if isinstance(error, S3UploadFailedError) and isinstance(error.__cause__ or error.__context__, Exception):
        return _reason(error.__cause__ or error.__context__)
    return f"boto3 failed ({type(error).__name__})"


def _reason_of_code(code: str, status: int, tries: int) -> str:
    if code == "NoSuchBucket":
        return "there is no such bucket"
    if code in _DENIED:
        return (
            f"access is denied ({code}); where the bucket may not be listed (s3:ListBucket), S3 says so also of files"
            " that are missing"
        )
    if code in _WRONG_KEYS:
        return f"the credentials are refused ({code})"
    if code in _THROTTLED:
        return f"the server is overloaded or throttles ({code}), also after {tries} attempts"
    if code in _FULL:
        return f"there is no space left ({code})"
    if code == "AccessControlListNotSupported":
        return "the bucket takes no ACLs; configure the depot without 'policy' and without ACL in 'upload_metadata'"
    return f"the server refuses or fails ({code}, status {status})"


def _tries(error: botocore.ClientError) -> int:
    return int(_part(error, "ResponseMetadata").get("RetryAttempts", 0)) + 1


def _without_values(text: str) -> str:
    """Return boto3's complaint about parameters without what they were."""
    text = re.sub(r"value: .*?, (?=type: |valid )", "", text, flags=re.DOTALL)
    return " ".join(text.split())
