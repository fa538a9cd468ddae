"""Errors of obstore, translated to ours."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from typing import Final

from obstore import exceptions as obstore

from depot_lite.errors import StorageFailed
from depot_lite.io.objects.errors import (
    FAILED,
    FULL,
    NOT_REACHED,
    OVERLOADED,
    REFUSED,
    TIMED_OUT,
    TIMEOUT,
    UNREACHABLE,
    ErrorTable,
)

# The code and status of a server's answer are in the text of an error only.
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_OS_ERROR: Final = re.compile(r"\(os error (\d+)\)")
_TOOK: Final = re.compile(r" in (\d+(?:\.\d+)?)(m?s)\b")
#: Texts of servers that distinguish a missing bucket or container from a missing object.
_NO_CONTAINER: Final = (
    "NoSuchBucket",
    "ContainerNotFound",
    "The specified container does not exist",
    "The specified bucket does not exist",
)
_WRONG_KEYS: Final = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "InvalidAuthenticationInfo",
}
#: Codes of S3 for an object too large to copy with one request, and of servers that do not support copies.
_REFUSALS: Final = {"InvalidRequest", "InvalidArgument", "NotImplemented", "MethodNotAllowed"}
_FULL: Final = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", 507}
#: Signs of a signature or a password in a text.
_SECRETS: Final = re.compile(r"\bsig=|X-Amz-Signature=|X-Goog-Signature=|://[^/\s@]*:[^/\s@]*@")
#: Texts of obstore: a request was not sent, or not answered.
_BUILDER: Final = "builder error"
_HTTP: Final = "HTTP error"
#: The same, in the texts for programmers that follow.
_NETWORK: Final = {"kind: Timeout": TIMED_OUT, "kind: Connect": NOT_REACHED}


class _ObstoreErrors(ErrorTable):
    library = "obstore"
    # A missing object is an OSError, an invalid path or option a ValueError.
    errors = (obstore.BaseError, OSError, ValueError, NotImplementedError)
    reasons = (
        ("there is no such bucket or container", set(_NO_CONTAINER)),
        (REFUSED, {*_WRONG_KEYS, obstore.UnauthenticatedError, 401}),
        ("access is denied, or the credentials are refused ({code})", {obstore.PermissionDeniedError, 403}),
        ("it was changed meanwhile", {obstore.PreconditionError}),
        ("there is a file already", {obstore.AlreadyExistsError}),
        ("this store cannot do that", {NotImplementedError, obstore.NotSupportedError}),
        (OVERLOADED, {429, 503}),
        (FULL, _FULL),
        (FAILED, {"status"}),
        ("the address is refused; http:// needs client_options={{'allow_http': True}}", {_BUILDER}),
        (TIMEOUT, {TIMED_OUT}),
        (UNREACHABLE, {NOT_REACHED}),
        ("the server cannot be reached or did not answer", {_HTTP}),
        ("the disk fails ({disk})", {"disk"}),
        ("{library} failed ({code})", {"code"}),
    )

    def facts(self, error: BaseException) -> Mapping[str, object]:
        text, status = str(error), _status(error)
        code, number = _CODE.search(text), _OS_ERROR.search(text)
        facts: dict[str, object] = {sign: True for sign in (*_NO_CONTAINER, _BUILDER, _HTTP) if sign in text}
        if isinstance(error, TimeoutError):
            facts[TIMED_OUT] = True
        facts |= {fact: True for sign, fact in _NETWORK.items() if sign in text}
        facts["code"] = type(error).__name__ if code is None else code[1]
        if status:
            facts["status"] = status
        if number is not None:
            facts["disk"] = errno.errorcode.get(int(number[1]), number[1])
        return facts

    def is_missing(self, error: Exception) -> bool:
        """Return whether the error says that there is no such object. A missing container is another error."""
        return isinstance(error, FileNotFoundError) and not is_no_container(error)

    def may_have_arrived(self, error: Exception) -> bool:
        """Return whether the upload may have succeeded: its answer was lost, or a repeated one found the first."""
        if isinstance(error, obstore.AlreadyExistsError):
            return True
        # Every error of an upload in parts is an OSError.
        unclear = isinstance(error, obstore.GenericError | OSError) and not isinstance(error, FileNotFoundError)
        return unclear and _status(error) in {0, *range(500, 600)}

    def cause(self, error: Exception) -> Exception | None:
        return None if _SECRETS.search(str(error)) else error

    def translated(self, what: str, error: Exception) -> StorageFailed:
        failed = super().translated(what, error)
        # With the number, by which a full disk (errno.ENOSPC) becomes a StorageFull.
        number = _OS_ERROR.search(str(error))
        return failed if number is None else StorageFailed(int(number[1]), str(failed))


def seconds_of(error: BaseException) -> float:
    """Return how long a request took until it failed, as far as obstore tells."""
    found = _TOOK.search(str(error))
    return 0.0 if found is None else float(found[1]) / (1000 if found[2] == "ms" else 1)


def is_no_container(error: Exception) -> bool:
    """Return whether the error says that there is no such bucket or container."""
    return any(each in str(error) for each in _NO_CONTAINER)


def is_changed(error: Exception) -> bool:
    """Return whether the object is no longer the requested version."""
    return isinstance(error, obstore.PreconditionError)


def is_conflict(error: BaseException | None) -> bool:
    """Return whether an object was not stored because of its condition."""
    conflicts = (obstore.PreconditionError, obstore.AlreadyExistsError)
    return isinstance(error, conflicts) or (isinstance(error, FileNotFoundError) and not is_no_container(error))


def is_refusal(error: BaseException | None) -> bool:
    """Return whether the store does not support the request, in general or for an object of this size."""
    code = _CODE.search(str(error))
    return isinstance(error, NotImplementedError | obstore.NotSupportedError) or (
        code is not None and code[1] in _REFUSALS
    )


def _status(error: BaseException) -> int:
    found = _STATUS.search(str(error))
    return 0 if found is None else int(found[1])


ERRORS: Final = _ObstoreErrors()
OBSTORE_ERRORS: Final = ERRORS.errors
translating = ERRORS.translating
is_missing = ERRORS.is_missing
