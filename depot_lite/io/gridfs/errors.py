"""Errors of pymongo, translated to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bson.errors import BSONError
from pymongo import errors as pymongo

from depot_lite.io.objects.errors import BROKEN, DENIED, REFUSED, TIMED_OUT, TIMEOUT, ErrorTable

#: There was no server, or none of the kind that is needed.
NO_SERVER: Final = "no server that can do it is reached"
#: Timeouts that say nothing of the server.
_NOT_SILENT: Final = (pymongo.WaitQueueTimeoutError, pymongo.WTimeoutError)


class _MongoErrors(ErrorTable):
    library = "pymongo"
    errors = (pymongo.PyMongoError, BSONError)
    # Codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
    reasons = (
        (NO_SERVER, {pymongo.ServerSelectionTimeoutError}),
        (TIMEOUT, {TIMED_OUT}),
        ("all connections are in use (maxPoolSize in mongouri)", {pymongo.WaitQueueTimeoutError}),
        (BROKEN, {pymongo.ConnectionFailure}),
        (REFUSED, {"code 11", "code 18"}),
        (f"{DENIED}; the user needs the role readWrite of the database", {"code 13", "code 8000"}),
        ("the server refuses or fails ({type}, {code})", {pymongo.OperationFailure}),
    )

    timeouts = frozenset({TIMEOUT, NO_SERVER})

    def facts(self, error: BaseException) -> Mapping[str, object]:
        if isinstance(error, pymongo.PyMongoError) and error.timeout and not isinstance(error, _NOT_SILENT):
            return {TIMED_OUT: True}
        return {"code": f"code {error.code}"} if isinstance(error, pymongo.OperationFailure) else {}


ERRORS: Final = _MongoErrors()
MONGO_ERRORS: Final = ERRORS.errors
translating = ERRORS.translating
