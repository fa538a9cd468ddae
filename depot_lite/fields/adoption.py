"""Adoption: the token of a direct upload is assigned to an attribute, and the flush makes the row a file of it.

Assigning verifies the signature only. At flush the uploaded file is looked up and opened, and is from there on the
content of the value like any other: its type is that of its bytes, the column's validators see it, images are made of
it. What is stored is a copy, under an id of its own; the storage makes it inside where it can. So nobody who has the
ticket can change what was checked: what is copied is what was opened.

The uploaded file itself is deleted when the transaction has committed (`depot_lite.fields.tracking.outcomes`). After a
rollback it is still there, and the token can be used again, as it can within the transaction: each value has a copy of
its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from depot_lite.depots import Depots
from depot_lite.errors import InvalidContent, SizeRefused, StoredFileNotFound, TypeRefused
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.pending import Pending
from depot_lite.fields.validators.extensions import proven_type
from depot_lite.io.content import Content, FileIntent
from depot_lite.io.content.sources import FileSource
from depot_lite.io.interfaces import FileStorage, StoredFile
from depot_lite.io.media_types.detection import HEAD_SIZE
from depot_lite.io.sizes import exact_size
from depot_lite.uploads import PREFIX, Upload, adoptable

T = TypeVar("T", bound=DepotFileInfo)


def token_in(value: object) -> tuple[str, str | None] | None:
    """Return the token that was assigned, and the name that was given with it (``FileIntent(token, "plan.pdf")``)."""
    content, filename = value.fileinfo[:2] if isinstance(value, FileIntent) else (value, None)
    return (content, filename) if isinstance(content, str) and content.startswith(PREFIX) else None


def adopting(kind: type[T], token: str, filename: str | None, upload_storage: str | None) -> T:
    """Return a pending value that will adopt the file of a token.

    Args:
        filename: the name to remember, instead of the ticket's.
        upload_storage: the depot of the column, or an alias; None for the default depot.

    Raises:
        InvalidContent: the token is not ours, has expired, or is for another depot.
    """
    upload = adoptable(token)
    if upload is None:
        raise InvalidContent("the token of the upload has expired, or was not made here: upload the file again")
    depot_name = Depots.resolve_alias(Depots.get_default() if upload_storage is None else upload_storage)
    if upload.depot_name != depot_name:
        raise InvalidContent(
            f"the token is for an upload to depot {upload.depot_name!r}, and files go to {depot_name!r} here"
        )
    return kind.adopting(upload, filename)


@dataclass(slots=True)
class Adoption:
    """One value that adopts a file in the flush that is under way."""

    column: str
    value: DepotFileInfo
    pending: Pending
    upload: Upload

    @property
    def storage(self) -> FileStorage:
        """The storage that the file was sent to."""
        return Depots.get(self.upload.depot_name)

    def open(self) -> None:
        """Find the uploaded file and make it the content of the value.

        Raises:
            InvalidContent: it is not there.
            ValidationError: it is larger than the ticket allowed, or of another type. Storages that receive files
                themselves may not have looked.
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
        found = proven_type(head, upload.exact_type, filename)
        if stored.content_length > upload.max_size:
            wanted = f"has {exact_size(stored.content_length)}; at most {exact_size(upload.max_size)} were announced"
            raise SizeRefused(wanted, rule="max_size", limit=upload.max_size, value=stored.content_length).at(
                self.column, filename
            )
        if not upload.takes(found):
            raise TypeRefused(
                f"is of type {found}; {upload.content_type} was announced",
                rule="content_type",
                limit=upload.content_type,
                value=found,
            ).at(self.column, filename)
        # What a browser said of it, to a storage that received it itself, is not what it is.
        stored.info = replace(stored.info, filename=filename, content_type=found)
        source = _Looked(stored, head)
        self.pending.content = content = Content(source, filename, found, move=False, handed_in=stored)
        self.value.update(content_type=content.content_type, size=stored.content_length)

    def close(self) -> None:
        """Close the file. A value that is pending still will look for it again."""
        content, self.pending.content, self.pending.handed_in = self.pending.content, None, None
        if content is not None:
            content.source.close()


class _Looked(FileSource):
    """A file whose first bytes are known, which would be a request each time."""

    def __init__(self, given: StoredFile, head: bytes) -> None:
        super().__init__(given)
        self._head = head

    def head(self) -> bytes:
        """Return them."""
        return self._head


def adoptions(columns_and_values: Iterable[tuple[object, DepotFileInfo]]) -> Iterator[Adoption]:
    """Yield those pending values that adopt a file."""
    for column, value in columns_and_values:
        pending = value.adopting_now()
        if pending is not None and pending.adopts is not None:
            yield Adoption(str(column), value, pending, pending.adopts)
