"""`UploadedFile`: the value of a file column.

>>> from depot_lite.depots import Depots
>>> from depot_lite.testing import temporary_depots
>>> with temporary_depots():
...     _ = Depots.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
...     value = UploadedFile(b"Dear Sir,", filename="letter.txt")
...     before = (value.pending, value.filename, value.content_type, value.size)
...     value.store()
...     after = (value.pending, value.file.read())
>>> before
(True, 'letter.txt', 'text/plain', 9)
>>> after
(False, b'Dear Sir,')
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from depot_lite.depots import Depots
from depot_lite.errors import StoredFileNotFound
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.io.content import CHUNK_SIZE, INMEMORY_FILESIZE, Content
from depot_lite.io.interfaces import FileStorage, StoredFile

# filedepot's format of ``uploaded_at``: UTC, to the second, without a time zone.
_UPLOADED_AT: Final = "%Y-%m-%d %H:%M:%S"


class UploadedFile(DepotFileInfo):
    """A file in a column: its name, type, size, checksum, location and bytes.

    Its keys are those of the JSON in the row: ``depot_name``, ``file_id``, ``path``, ``files``, ``filename``,
    ``content_type``, ``uploaded_at`` and ``_public_url`` as in filedepot, and ``size`` and ``checksum``. Subclasses may
    add more.
    """

    __slots__ = ()

    @property
    def depot_name(self) -> str:
        """The name of the depot, with aliases resolved."""
        return str(self["depot_name"])

    @property
    def file_id(self) -> str:
        """The key of the file in its depot."""
        return str(self["file_id"])

    @property
    def path(self) -> str:
        """``depot_name/file_id``, for `DepotManager.get_file`."""
        return str(self["path"])

    @property
    def files(self) -> list[str]:
        """The paths of all files of this value: the main file, and those made by filters and subclasses."""
        files: list[str] = self["files"]
        return files

    @property
    def filename(self) -> str:
        """The original name of the file."""
        return str(self["filename"])

    @property
    def content_type(self) -> str:
        """The media type, detected from the bytes if possible."""
        return str(self["content_type"])

    @property
    def size(self) -> int | None:
        """The number of bytes; None in rows of filedepot and for a pending stream of unknown length."""
        size: int | None = self.get("size")
        return size

    @property
    def checksum(self) -> str | None:
        """``algorithm:hexadecimal digest`` of the stored bytes; None while pending and in rows of filedepot."""
        checksum: str | None = self.get("checksum")
        return checksum

    @property
    def uploaded_at(self) -> datetime | None:
        """The time when the file was stored, in UTC to the second; None while pending. The key has filedepot's text."""
        text = self.get("uploaded_at")
        return None if text is None else datetime.strptime(text, _UPLOADED_AT).replace(tzinfo=UTC)

    @property
    def depot(self) -> FileStorage:
        """The storage that holds the file."""
        return Depots.get(self.depot_name)

    @property
    def file(self) -> StoredFile:
        """The stored file, opened again at each access.

        Raises:
            StoredFileNotFound: the value is pending, or its file does not exist any more.
        """
        if self.pending:
            raise StoredFileNotFound(
                f"{self.filename!r} is not stored yet: flush the session, or read original_content"
            )
        return self.depot.get(self.file_id)

    @property
    def url(self) -> str:
        """The storage's URL of the file if it has one, signed if its files are private; else the middleware's."""
        return url_of(self.depot_name, self.file_id, self.get("_public_url"))

    def url_for(
        self, *, expires_in: int | timedelta | None = None, download: bool = False, filename: str | None = None
    ) -> str:
        """Return a URL like `url`, with options.

        A storage with unsigned URLs ignores them: its URLs do not expire, and set neither name nor download.

        Args:
            expires_in: the minimum lifetime, in seconds or as a timedelta.
            download: whether browsers save files of every type instead of showing them.
            filename: the name to save the file under.

        Raises:
            ConfigurationError: ``expires_in`` is not positive, nothing serves the files, or there are no signing keys.
        """
        name = self.filename if download and filename is None else filename
        public_url = self.get("_public_url")
        return url_of(
            self.depot_name, self.file_id, public_url, expires_in=expires_in, download=download, filename=name
        )

    def process_content(self, content: Any, filename: str | None = None, content_type: str | None = None) -> None:
        """Store the content in the depot and set the keys that describe it.

        Subclasses that change the content pass it on to this method, with its name and type.
        """
        info, public_url = self._keep_main(content, filename, content_type)
        dict.update(
            self,
            filename=info.filename,
            content_type=info.content_type,
            size=info.content_length,
            checksum=info.checksum,
            uploaded_at=info.last_modified.strftime(_UPLOADED_AT),
            _public_url=public_url,
        )


def url_of(
    depot_name: str,
    file_id: str,
    public_url: str | None = None,
    *,
    expires_in: int | timedelta | None = None,
    download: bool = False,
    filename: str | None = None,
) -> str:
    """Return the storage's URL of a file if it has one, else ``public_url``, else the middleware's.

    Args:
        public_url: the public URL in the row, if it has one. Ignored if the depot has become private, and if any of
            the following is given.
        expires_in: the minimum lifetime, in seconds or as a timedelta.
        download: whether browsers save files of every type instead of showing them.
        filename: the name to save the file under.

    Raises:
        ConfigurationError: none of the three exists: no middleware serves the files.
    """
    disposition = "attachment" if download else None
    storage_url = Depots.get(depot_name).url(file_id, expires_in=expires_in, filename=filename, disposition=disposition)
    if storage_url is not None:
        return storage_url
    plain = expires_in is None and not download and filename is None
    if public_url is not None and plain and Depots.visibility(depot_name) != "private":
        return public_url
    return Depots.url_for(f"{depot_name}/{file_id}", expires_in=expires_in, download=download, filename=filename)


@contextmanager
def at_hand(content: Content) -> Iterator[Content]:
    """Provide content that can be read several times: itself, or a temporary copy of it.

    A stream is copied since it can be read only once, and a file in a remote storage since each reading would transfer
    it again. A copy of more than a megabyte is on disk.
    """
    is_remote = isinstance(content.source, StoredFile) and content.path is None
    if content.rereadable and not is_remote:
        yield content
        return
    with tempfile.SpooledTemporaryFile(INMEMORY_FILESIZE) as copied:
        with content.open() as file:
            shutil.copyfileobj(file, copied, CHUNK_SIZE)
        yield Content.of(copied, content.filename, content.declared_type)
