"""Adoption: the token of a direct upload is assigned to an attribute, and the flush stores a copy of the uploaded file.

Assigning verifies the signature only. The flush opens the uploaded file and treats it like any other content: its type
is detected from its bytes, the column's validators check it, and variants are made. The row gets a copy with a new id,
made by the storage itself if it can. The copy is made from the opened file, so a client that still has the ticket
cannot replace a file after it was checked.

The uploaded file is deleted after COMMIT (`depot_lite.fields.tracking.outcomes`). A rollback keeps it, and the token
can be used again, also several times within a transaction: each value gets a copy of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from depot_lite.depots import Depots
from depot_lite.errors import InvalidContent, SizeRefused, StoredFileNotFound, TypeRefused
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.pending import Pending
from depot_lite.io.content import Content, FileIntent
from depot_lite.io.content.sources import FileSource
from depot_lite.io.interfaces import FileStorage, StoredFile
from depot_lite.io.media_types.detection import HEAD_SIZE, type_for
from depot_lite.io.sizes import exact_size
from depot_lite.uploads import PREFIX, Upload, adoptable

T = TypeVar("T", bound=DepotFileInfo)


def is_token(value: object) -> bool:
    """Return whether this is the token of a direct upload, or a `FileIntent` of one."""
    content = value.fileinfo[0] if isinstance(value, FileIntent) else value
    return isinstance(content, str) and content.startswith(PREFIX)


def pending_value(kind: type[T], content: object, upload_storage: str | None = None) -> T:
    """Return a pending value for content, or for the token of a direct upload.

    Args:
        upload_storage: the depot, or an alias; None for the default depot.

    Raises:
        InvalidContent: it cannot be stored, or is a token that was not made here, has expired or is for another depot.
    """
    if isinstance(content, str | FileIntent) and is_token(content):
        return adopting(kind, content, upload_storage)
    return kind.of_content(content, upload_storage)


def adopting(kind: type[T], given: str | FileIntent, upload_storage: str | None) -> T:
    """Return a pending value that will adopt the file of a token.

    Args:
        given: the token, or a `FileIntent` with the name to remember instead of the ticket's, and metadata.
        upload_storage: the depot of the column, or an alias; None for the default depot.

    Raises:
        InvalidContent: the token was not made here, has expired, or is for another depot.
    """
    intent = given if isinstance(given, FileIntent) else FileIntent(given)
    token, filename, _ = intent.fileinfo
    upload = adoptable(token)
    if upload is None:
        raise InvalidContent("the token of the upload has expired, or was not made here: upload the file again")
    depot_name = Depots.find(upload_storage).name
    if upload.depot_name != depot_name:
        raise InvalidContent(f"expected a token for depot {depot_name!r}, got one for {upload.depot_name!r}")
    return kind.adopting(upload, filename, intent.meta)


@dataclass(slots=True)
class Adoption:
    """A pending value that adopts an uploaded file in the current flush."""

    column: str
    value: DepotFileInfo
    pending: Pending
    upload: Upload

    @property
    def storage(self) -> FileStorage:
        """The storage that has the uploaded file."""
        return Depots.get(self.upload.depot_name)

    def open(self) -> None:
        """Find the uploaded file and make it the content of the value.

        Raises:
            InvalidContent: the file does not exist.
            ValidationError: the file exceeds the size of the ticket, or has another type. Storages that receive uploads
                directly may not enforce either.
        """
        try:
            stored = self.storage.get(self.upload.file_id)
        except StoredFileNotFound as error:
            raise InvalidContent(
                f"{self.column}: {self.value['filename']!r} was never uploaded, or was adopted already"
            ) from error
        try:
            self._take(stored)
        except BaseException:
            stored.close()
            raise

    def _take(self, stored: StoredFile) -> None:
        upload, filename = self.upload, self.value["filename"]
        head = stored.read(HEAD_SIZE)
        stored.seek(0)
        source = _SourceWithHead(stored, head)
        media_type = type_for(source.finding(), upload.exact_type, filename)
        if stored.content_length > upload.max_size:
            message = f"has {exact_size(stored.content_length)}; at most {exact_size(upload.max_size)} were announced"
            raise SizeRefused(message, rule="max_size", limit=upload.max_size, value=stored.content_length).at(
                self.column, filename
            )
        if not upload.takes(media_type):
            raise TypeRefused(
                f"is of type {media_type}; {upload.content_type} was announced",
                rule="content_type",
                limit=upload.content_type,
                value=media_type,
            ).at(self.column, filename)
        # The storage has the name and type that the browser declared, which prove nothing.
        stored.info = replace(stored.info, filename=filename, content_type=media_type)
        self.pending.content = content = Content(source, filename, media_type, move=False, handed_in=stored)
        self.value.update(content_type=content.content_type, size=stored.content_length)

    def release(self) -> Content | None:
        """Detach the file, and return the content to close. The next flush of a pending value opens it again."""
        content, self.pending.content, self.pending.handed_in = self.pending.content, None, None
        return content


class _SourceWithHead(FileSource):
    """A file whose first bytes have been read: reading them again would be another request."""

    def __init__(self, given: StoredFile, head: bytes) -> None:
        super().__init__(given)
        self._head = head

    def head(self) -> bytes:
        """Return the first bytes."""
        return self._head
