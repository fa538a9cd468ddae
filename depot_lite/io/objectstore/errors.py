"""The one place where errors of obstore become ours. None of them tells a secret, and each keeps its cause."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from obstore import exceptions as obstore

from depot_lite.errors import DepotError, StorageFailed, StorageFull, StoredFileNotFound

#: Whatever obstore raises. What is missing is an OSError, a bad path or option a ValueError.
OBSTORE_ERRORS: Final = (obstore.BaseError, OSError, ValueError, NotImplementedError)

# What servers say is in the text only: the code in the XML or JSON of their answer, and its status.
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_OS_ERROR: Final = re.compile(r"\(os error (\d+)\)")
#: How servers say that a bucket or container is missing, where they say which of the two is.
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
#: What S3 says of an object that is too large to be copied with one request, and others of what they never copy.
_REFUSALS: Final = {"InvalidRequest", "InvalidArgument", "NotImplemented", "MethodNotAllowed"}
#: Amazon's buckets have no limit; those of other servers have.
_FULL: Final = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"}
#: How a text begins that may quote what was signed or sent to log in.
_SECRETS: Final = re.compile(r"\bsig=|X-Amz-Signature=|X-Goog-Signature=|://[^/\s@]*:[^/\s@]*@")


@contextmanager
def failing(what: str, file_id: str | None = None) -> Iterator[None]:
    """Turn errors of obstore into ours.

    Args:
        what: what was attempted and where, for the message: ``store az://container/key``.
        file_id: the file whose absence is a `StoredFileNotFound`; not given where absence means something else.
    """
    try:
        yield
    except DepotError:
        raise
    except OBSTORE_ERRORS as error:
        if file_id is not None and is_missing(error):
            raise StoredFileNotFound(f"file {file_id} is not in its storage") from error
        raise translated(what, error) from _without_secrets(error)


def translated(what: str, error: Exception) -> StorageFailed:
    """Return our error for one of obstore's."""
    reason = f"cannot {what}: {_reason(error)}"
    # With the number, by which a full disk (errno.ENOSPC) becomes a StorageFull.
    number = _OS_ERROR.search(str(error))
    if number is not None:
        return StorageFailed(int(number[1]), reason)
    told = _CODE.search(str(error))
    full = _status(error) == 507 or (told is not None and told[1] in _FULL)
    return StorageFull(reason) if full else StorageFailed(reason)


def is_missing(error: Exception) -> bool:
    """Return whether the error says that there is no such object. Where there is no container, it is not that."""
    return isinstance(error, FileNotFoundError) and not is_no_container(error)


def is_no_container(error: Exception) -> bool:
    """Return whether the error says that there is no such bucket or container."""
    return any(each in str(error) for each in _NO_CONTAINER)


def is_changed(error: Exception) -> bool:
    """Return whether the object is another one than was asked for."""
    return isinstance(error, obstore.PreconditionError)


def is_refusal(error: BaseException | None) -> bool:
    """Return whether the store does not do what it was asked for, at all or with an object as large as this."""
    told = _CODE.search(str(error))
    return isinstance(error, NotImplementedError | obstore.NotSupportedError) or (
        told is not None and told[1] in _REFUSALS
    )


def may_have_arrived(error: Exception) -> bool:
    """Return whether an upload may be there all the same: its answer was lost, or a repeated one found the first."""
    if isinstance(error, obstore.AlreadyExistsError):
        return True
    # Of uploads in parts every error is an OSError.
    unclear = isinstance(error, obstore.GenericError | OSError) and not isinstance(error, FileNotFoundError)
    return unclear and _status(error) in {0, *range(500, 600)}


def _status(error: Exception) -> int:
    found = _STATUS.search(str(error))
    return 0 if found is None else int(found[1])


def _reason(error: Exception) -> str:
    text, status = str(error), _status(error)
    told = _CODE.search(text)
    code = type(error).__name__ if told is None else told[1]
    if is_no_container(error):
        return "there is no such bucket or container"
    if code in _WRONG_KEYS or isinstance(error, obstore.UnauthenticatedError) or status == 401:
        return f"the credentials are refused ({code})"
    if isinstance(error, obstore.PermissionDeniedError) or status == 403:
        return f"access is denied, or the credentials are refused ({code})"
    if isinstance(error, obstore.PreconditionError):
        return "it was changed meanwhile"
    if isinstance(error, obstore.AlreadyExistsError):
        return "there is a file already"
    if isinstance(error, NotImplementedError | obstore.NotSupportedError):
        return "this store cannot do that"
    return _of_transport(text, status, code)


def _of_transport(text: str, status: int, code: str) -> str:
    if status in {429, 503}:
        return f"the server is overloaded or throttles ({code})"
    if status:
        return f"the server refuses or fails ({code}, status {status})"
    if "builder error" in text:
        return "the address is not taken; one of http:// needs client_options={'allow_http': True}"
    if "HTTP error" in text:
        return "the server cannot be reached or did not answer"
    number = _OS_ERROR.search(text)
    if number is not None:
        return f"the disk fails ({errno.errorcode.get(int(number[1]), number[1])})"
    return f"obstore failed ({code})"


def _without_secrets(error: Exception) -> Exception | None:
    """Return the cause to chain, which a traceback prints; None for one that quotes a secret."""
    return None if _SECRETS.search(str(error)) else error
