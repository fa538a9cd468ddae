"""Staging: a file is sent before its form, checked against the rules of its column, and kept in the depot.

The form then sends a token (`depot_lite.uploads`) instead of bytes: errors of a file are shown at once, a form that is
shown again after an error keeps its files, and a commit moves no bytes through the application. `sweep_uploads` deletes
files that were never adopted, by default after a day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from depot_lite.depots import Depots
from depot_lite.errors import SizeRefused
from depot_lite.fields.columns import FileColumn
from depot_lite.fields.tracking import checks
from depot_lite.io.content import FileIntent
from depot_lite.io.fileid import new_upload_id
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.sizes import shown_size
from depot_lite.uploads import Upload, token_of

#: The lifetime of the token of a staged file, in seconds: forms may stay open for hours.
TOKEN_EXPIRY: Final = 12 * 3600


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that was stored before its form was sent."""

    #: The value to assign to the attribute.
    token: str
    upload: Upload
    info: FileInfo


def stage(
    column: FileColumn, content: object, filename: str | None, content_type: str | None, *, max_size: int | None = None
) -> Staged:
    """Store a file that a form of this column may adopt.

    Args:
        content: any content that can be assigned to the column; a stream is read once, up to its limits.
        filename: the name declared by the browser.
        content_type: the type declared by the browser.
        max_size: the maximum number of bytes, for columns without a `Size` of their own.

    Raises:
        ValidationError: the file breaks a rule of the column; `SeveralRefused` for several. Nothing was stored.
        InvalidContent: the content cannot be read, or is incomplete. Nothing was stored.
        StorageFailed: the storage failed.
        ConfigurationError: no signing keys are configured.
    """
    Depots.signer()  # before anything is read
    value = column.type.upload_type(FileIntent(content, filename, content_type), column.type.upload_storage)
    snapshot = value.snapshot()
    if snapshot is None or snapshot[0].content is None:
        raise TypeError(f"expected a pending value with content, got {value!r}")
    sent = snapshot[0].content
    if max_size is not None:
        message = f"is larger than {shown_size(max_size)}"
        sent.limit(max_size, SizeRefused(message, rule="max_size", limit=max_size).at(str(column), filename))
    checks.check([(column, value)])
    depot_name, file_id, name = str(value["depot_name"]), new_upload_id(), str(value["filename"])
    sent.filename = name
    info = Depots.get(depot_name).save(sent, file_id=file_id)
    # Without a content type: it is detected from the bytes when the file is adopted, as it was here.
    upload = Upload(depot_name, file_id, info.content_length, None, name)
    return Staged(token_of(upload, TOKEN_EXPIRY), upload, replace(info, filename=name))
