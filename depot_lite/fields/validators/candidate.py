"""`Candidate`: a file that wants to be stored, as a validator sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar

from depot_lite.errors import NameRefused, ValidationError
from depot_lite.fields.validators.extensions import proven_type
from depot_lite.io.content import Content, clean_filename
from depot_lite.io.interfaces import UNNAMED, StoredFile
from depot_lite.io.media_types import OCTET_STREAM

__all__ = ["Candidate", "StoredCandidate"]

T = TypeVar("T")


class Candidate:
    """A file that wants to be stored, as a validator sees it. Nothing is read before it is asked for.

    Args:
        content: the content.
        filename: the name that it shall be stored under.
        content_type: the type that it shall be stored with, as far as its bytes do not tell.
    """

    #: The error of the limit that counts, None where there is none.
    limiting: ValidationError | None = None
    _most: int | None = None

    def __init__(self, content: Content, filename: str, content_type: str | None = None) -> None:
        self._filename = filename
        self._ready = content
        self._claimed = content_type
        self._known: dict[object, Any] = {}

    @classmethod
    def of(cls, content: object, filename: str | None = None, content_type: str | None = None) -> Candidate:
        """Return a candidate of whatever can be stored, to try a validator.

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
        """The name that the file will be stored under, ``unnamed`` where it has none.

        A validator may set it. It changes in the row only once all files of the object have passed.
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
        """The media type that the bytes show.

        Where they show none, as those of text do not, a claim counts. It does not where files of the type that is
        claimed always show it: what is called ``photo.png`` and is no PNG has the type ``application/octet-stream``.
        """
        return proven_type(self.head(), self._claimed, self.filename)

    @property
    def declared_type(self) -> str | None:
        """The type that the client claimed, None if it said nothing."""
        return self._content.declared_type

    @property
    def size(self) -> int | None:
        """The number of bytes, None for a stream of unknown length as long as nobody has opened it."""
        return self._content.size

    def head(self) -> bytes:
        """Return the first bytes, up to 8 KiB."""
        return self._content.head()

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Give a binary file at its start. The user's own is back at its position afterwards.

        A stream is read into a temporary file first, as far as its limit allows, so that it can be stored afterwards.
        """
        content = self._content
        content.spool()
        with content.open() as file:
            yield file

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Let a stream that has more than ``size`` bytes be refused with this error, wherever it is read.

        That may be in a storage, while the file is being stored: reading stops one byte behind the limit. Where
        several limits are set, the lowest counts. None takes them away.
        """
        if size is None or self._most is None or size < self._most:
            self._most, self.limiting = size, error
            self._content.limit(size, error)

    def once(self, key: object, find: Callable[[], T]) -> T:
        """Return what ``find`` returns, called only if no validator has asked for ``key`` before."""
        if key not in self._known:
            self._known[key] = find()
        found: T = self._known[key]
        return found

    def close(self) -> None:
        """Close what looking at the bytes has opened. The file can be stored all the same."""

    def __repr__(self) -> str:
        """Show which file it is."""
        return f"<{type(self).__name__} {self.filename!r}>"


class StoredCandidate(Candidate):
    """A stored file of which a copy shall be made: its keys tell about it, and it is opened for its bytes only.

    A copy has the name of its original, so setting the name does nothing.

    Args:
        keys: those of the original.
        find: what returns the stored file.
    """

    def __init__(self, keys: Mapping[str, Any], find: Callable[[], StoredFile]) -> None:
        self._filename = str(keys.get("filename") or UNNAMED)
        self._keys = keys
        self._find = find
        self._stored: StoredFile | None = None
        self._known = {}

    @property
    def _content(self) -> Content:
        return Content.of(self._file())

    def _file(self) -> StoredFile:
        if self._stored is None:
            self._stored = self._find()
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
        """The type that was found when the original was stored."""
        return str(self._keys.get("content_type") or OCTET_STREAM)

    @property
    def declared_type(self) -> None:
        """None: no client has anything to do with a copy."""
        return

    @property
    def size(self) -> int | None:
        """The number of bytes; asked of the storage where the row is one of filedepot's, which do not tell it."""
        known: int | None = self._keys.get("size")
        return self._file().content_length if known is None else known

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Do nothing, as the size is known."""

    def close(self) -> None:
        """Close the stored file, if it was opened."""
        stored, self._stored = self._stored, None
        if stored is not None:
            stored.close()
