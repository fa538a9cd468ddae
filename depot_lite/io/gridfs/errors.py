"""The one place where errors of pymongo become ours. None of them tells a secret, and each keeps its cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bson.errors import BSONError
from pymongo import errors as pymongo

from depot_lite.errors import StorageFailed

#: Whatever pymongo raises.
MONGO_ERRORS: Final = (pymongo.PyMongoError, BSONError)

# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_WRONG_PASSWORD: Final = {11, 18}
_DENIED: Final = {13, 8000}


@contextmanager
def failing(what: str) -> Iterator[None]:
    """Turn errors of pymongo into ours.

    Args:
        what: what was attempted and where, for the message: ``store gridfs file <id> in filedepot of database app``.
    """
    try:
        yield
    except MONGO_ERRORS as error:
        raise StorageFailed(f"cannot {what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, pymongo.ServerSelectionTimeoutError):
        return "no server that can do it is reached"
    if isinstance(error, pymongo.WaitQueueTimeoutError):
        return "all connections are in use (maxPoolSize in mongouri)"
    if isinstance(error, pymongo.ConnectionFailure):
        return f"the connection broke ({type(error).__name__})"
    if isinstance(error, pymongo.OperationFailure):
        return _reason_of_code(error)
    return f"pymongo failed ({type(error).__name__})"


def _reason_of_code(error: pymongo.OperationFailure) -> str:
    code = error.code
    if code in _WRONG_PASSWORD:
        return f"the credentials are refused (code {code})"
    if code in _DENIED:
        return f"access is denied (code {code}); the role readWrite of the database is wanted"
    return f"the server refuses or fails ({type(error).__name__}, code {code})"
