"""`Candidate`: a file that is about to be stored, as validators see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar

from depot_lite.errors import NameRefused, ValidationError
from depot_lite.io.content import Content, clean_filename
from depot_lite.io.interfaces import UNNAMED, StoredFile
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.media_types.detection import Finding, type_for
from depot_lite.io.on_disk import OnDisk, content_source

__all__ = ["Candidate", "StoredCandidate"]

T = TypeVar("T")


class Candidate:
    """A file that is about to be stored, as validators see it. Its content is read only on demand.

    Args:
        content: the content.
        filename: the name to store it under.
        content_type: the claimed type, used if the bytes do not show a type.
    """

    #: The error of the lowest limit; None without a limit.
    limiting: ValidationError | None = None
    _most: int | None = None

    def __init__(self, content: Content, filename: str, content_type: str | None = None) -> None:
        self._filename = filename
        self._ready = content
        self._claimed = content_type
        self._cache: dict[object, Any] = {}

    @classmethod
    def of(cls, content: object, filename: str | None = None, content_type: str | None = None) -> Candidate:
        """Return a candidate for any content that can be stored, to try a validator.

        >>> Candidate.of(b"a,b", "table.csv").content_type
        'text/csv'
        """
        ready = Content.of(content, filename, content_type)
        return Candidate(ready, ready.filename or UNNAMED, ready.declared_type)

    @property
    def _content(self) -> Content:
        return self._ready

    @property
    def filename(self) -> str:
        """The name that the file will be stored under, ``unnamed`` by default.

        A validator may set it. The value gets the new name once all files of the object have passed.
        """
        return self._filename

    @filename.setter
    def filename(self, name: str) -> None:
        cleaned = clean_filename(name)
        if cleaned is None:
            raise NameRefused("has no usable name", rule="filename", value=name)
        self._filename = cleaned

    @property
    def content_type(self) -> str:
        """The media type that the bytes show; if they allow several, the type of the name, then the claimed type.

        Some types are always shown by the bytes: a file called ``photo.png`` that is not a PNG has the type
        ``application/octet-stream``.
        """
        return type_for(self.finding(), self._claimed, self.filename)

    @property
    def declared_type(self) -> str | None:
        """The type that the client declared, or None."""
        return self._content.declared_type

    @property
    def size(self) -> int | None:
        """The number of bytes; None for a stream of unknown length that has not been opened yet."""
        return self._content.size

    def head(self) -> bytes:
        """Return the first bytes, up to 8 KiB."""
        return self._content.head()

    def finding(self) -> Finding:
        """Return the types that the bytes allow."""
        return self._content.finding()

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the content as a binary file, at its start. A file of the user keeps its position.

        A stream is first copied to a temporary file, up to its limit, so that it can be stored afterwards.
        """
        content = self._content
        content.spool()
        with content.open() as file:
            yield file

    def spool(self) -> None:
        """Make the content readable more than once: copy a stream to a temporary file.

        Raises:
            InvalidContent: the stream cannot be read.
            ValidationError: the stream has more bytes than its limit allows.
        """
        self._content.spool()

    def on_disk(self) -> OnDisk:
        """Return a context manager that gives a path with the whole content: ``with file.on_disk() as path:``.

        The path has the suffix of the file's name, and exists within the block. It must only be read.
        """
        return OnDisk(lambda closing: content_source(self._content, self.filename, self.content_type, closing))

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Raise the error when more than ``size`` bytes are read from a stream.

        This may happen in a storage, while the file is being stored: reading stops one byte beyond the limit. The
        lowest of several limits counts. None removes the limit.
        """
        if size is None or self._most is None or size < self._most:
            self._most, self.limiting = size, error
            self._content.limit(size, error)

    def cached(self, key: object, compute: Callable[[], T]) -> T:
        """Return the result of ``compute``, shared by all validators that use the same key."""
        if key not in self._cache:
            self._cache[key] = compute()
        found: T = self._cache[key]
        return found

    def close(self) -> None:
        """Close the files opened to read the content. It can still be stored."""

    def __repr__(self) -> str:
        """Show the name of the file."""
        return f"<{type(self).__name__} {self.filename!r}>"


class StoredCandidate(Candidate):
    """A stored file that is about to be copied. Its keys describe it; it is opened only to read its bytes.

    A copy has the name of its original, so setting the name does nothing.

    Args:
        keys: the keys of the original.
        open_original: returns the stored file.
    """

    def __init__(self, keys: Mapping[str, Any], open_original: Callable[[], StoredFile]) -> None:
        self._filename = str(keys.get("filename") or UNNAMED)
        self._keys = keys
        self._open_original = open_original
        self._stored: StoredFile | None = None
        self._cache = {}

    @property
    def _content(self) -> Content:
        return Content.of(self._file())

    def _file(self) -> StoredFile:
        if self._stored is None:
            self._stored = self._open_original()
        return self._stored

    @property
    def filename(self) -> str:
        """The name of the original."""
        return self._filename

    @filename.setter
    def filename(self, name: str) -> None:
        pass

    @property
    def content_type(self) -> str:
        """The type of the original."""
        return str(self._keys.get("content_type") or OCTET_STREAM)

    @property
    def declared_type(self) -> None:
        """None: the copy does not come from a client."""
        return

    @property
    def size(self) -> int | None:
        """The number of bytes; from the storage if the row is filedepot's, which does not have it."""
        known: int | None = self._keys.get("size")
        return self._file().content_length if known is None else known

    def spool(self) -> None:
        """Do nothing, since a stored file can be read again."""

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Do nothing, since the size is known."""

    def close(self) -> None:
        """Close the stored file, if it was opened."""
        stored, self._stored = self._stored, None
        if stored is not None:
            stored.close()
