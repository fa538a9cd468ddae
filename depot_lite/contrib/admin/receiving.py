"""Uploads that a browser sends before their form: receives and checks a file, and responds with a token.

For Starlette. The route of the admin checks permissions first.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Final
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from depot_lite.contrib.admin.refusals import BUSY
from depot_lite.depots import Depots
from depot_lite.errors import ImagesBusy, InvalidContent, StorageFailed, StorageFull, ValidationError
from depot_lite.fields.columns import FileColumn
from depot_lite.fields.staging import Staged, stage
from depot_lite.io.fileid import new_upload_id
from depot_lite.io.sizes import shown_size
from depot_lite.serving import RETRY_AFTER
from depot_lite.serving.receiving import AT_ONCE, IDLE, RATE, TooSlow, Uploads

_log = logging.getLogger("depot_lite")

#: Those of all admins of this process.
_uploads: Final = Uploads(AT_ONCE, IDLE, RATE)


async def receive(request: Request, column: FileColumn, *, max_size: int | None) -> Response:
    """Stage the file in the body of the request, and return the response that `files.js` expects.

    Args:
        max_size: maximum bytes for columns without a `Size` rule.
    """
    name = unquote(request.headers.get("x-filename", "")) or None
    store = partial(_stage, column, name, request.headers.get("content-type"), max_size)
    depot_name, upload = Depots.find(column.type.upload_storage).name, new_upload_id()
    if _uploads.enter(upload) is not None:
        return JSONResponse(
            {"errors": ["could not be received: too many others are"]}, 503, {"Retry-After": RETRY_AFTER}
        )
    try:
        staged = await _uploads.receive(upload, depot_name, _body(request), store)
    except TooSlow:
        return JSONResponse({"errors": ["arrived too slowly"]}, 408)
    except ValidationError as error:
        return JSONResponse({"errors": [each for messages in error.by_field.values() for each in messages]}, 422)
    except (InvalidContent, ClientDisconnect):
        return JSONResponse({"errors": ["did not arrive whole"]}, 400)
    except ImagesBusy:
        return JSONResponse({"errors": [BUSY]}, 503, {"Retry-After": "30"})
    except StorageFailed as error:
        _log.error("an upload for %s could not be stored: %s", column, " ".join(str(error).split()))
        if isinstance(error, StorageFull):
            return JSONResponse({"errors": ["there is no space left"]}, 507)
        return JSONResponse({"errors": ["could not be stored"]}, 503, {"Retry-After": RETRY_AFTER})
    data = {"token": staged.token, "type": staged.info.content_type, "size": shown_size(staged.info.content_length)}
    return JSONResponse(data, 201)


def _stage(
    column: FileColumn, name: str | None, content_type: str | None, max_size: int | None, content: object
) -> Staged:
    return stage(column, content, name, content_type, max_size=max_size)


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for part in request.stream():
        if part:
            yield part
