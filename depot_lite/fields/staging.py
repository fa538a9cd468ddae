"""Staging: a file is sent before its form is, held against the rules of its column, and waits in the depot.

The form then carries a token (`depot_lite.uploads`) instead of bytes: what is wrong with a file is said at once, a form
that comes back with an error has lost nothing, and a commit moves no bytes through the application. What is never
adopted is swept by `sweep_uploads`, a day later as a rule.
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

#: How long the token of a staged file works, in seconds: people leave forms open over a lunch.
TOKEN_EXPIRY: Final = 12 * 3600


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that waits for its form."""

    #: What is assigned to the attribute.
    token: str
    upload: Upload
    info: FileInfo


def stage(
    column: FileColumn, content: object, filename: str | None, content_type: str | None, *, max_size: int | None = None
) -> Staged:
    """Store a file that a form of this column may adopt.

    Args:
        content: whatever can be assigned to the column; a stream is read once, and no further than its limits.
        filename: the name that the browser tells.
        content_type: the type that the browser tells.
        max_size: the most bytes, where the column has no `Size` of its own.

    Raises:
        ValidationError: the file breaks a rule of the column; `SeveralRefused` if it breaks more. Nothing was stored.
        InvalidContent: it cannot be read, or broke off. Nothing was stored.
        StorageFailed: the storage could not store it.
        ConfigurationError: there are no keys to sign with.
    """
    Depots.signer()  # before anything is read
    value = column.type.upload_type(FileIntent(content, filename, content_type), column.type.upload_storage)
    waiting = value.waiting()
    if waiting is None or waiting[0].content is None:
        raise TypeError(f"{value!r} has no content of its own")
    sent = waiting[0].content
    if max_size is not None:
        message = f"is larger than {shown_size(max_size)}"
        sent.limit(max_size, SizeRefused(message, rule="max_size", limit=max_size).at(str(column), filename))
    checks.check([(column, value)])
    depot_name, file_id, named = str(value["depot_name"]), new_upload_id(), str(value["filename"])
    sent.filename = named
    info = Depots.get(depot_name).save(sent, file_id=file_id)
    # The content type is left open: what counts is what the bytes say when the file is adopted, as it did here.
    upload = Upload(depot_name, file_id, info.content_length, None, named)
    return Staged(token_of(upload, TOKEN_EXPIRY), upload, replace(info, filename=named))
