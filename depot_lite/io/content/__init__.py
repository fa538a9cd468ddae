r"""Content: the bytes of a file to be stored, with a name, a type and a size.

`Content.of` accepts bytes, binary files, paths, streams that can be read once, stored files, the uploads of web
frameworks (recognised by their attributes, none is imported) and a `FileIntent` around any of them. It reads lazily,
and leaves the user's file as it was: open, at the same position. So the file must stay readable until it is stored.

>>> content = Content.of(b"%PDF-1.7 ...", "C:\\papers\\plan.pdf")
>>> content.filename, content.content_type, content.size
('plan.pdf', 'application/pdf', 12)
>>> with content.open() as file:
...     file.read(4)
b'%PDF'

Text is refused, since its encoding is unknown. A Content must not be used by several threads at the same time.
"""

from __future__ import annotations

import inspect
import io
import os
import re
import unicodedata
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Final

from depot_lite.errors import DepotError, InvalidContent, ValidationError
from depot_lite.io.content.intent import FileIntent
from depot_lite.io.content.sources import (
    CHUNK_SIZE,
    INMEMORY_FILESIZE,
    BytesSource,
    FileSource,
    PathSource,
    Source,
    WritableFile,
    label_of,
    type_of,
    unreadable,
)
from depot_lite.io.content.streams import StreamSource
from depot_lite.io.media_types.detection import Finding, type_for

__all__ = [
    "CHUNK_SIZE",
    "INMEMORY_FILESIZE",
    "Content",
    "FileIntent",
    "clean_filename",
    "is_empty_upload",
]

# Bytes of a file name in UTF-8, as supported by common file systems and by the metadata of every storage.
_NAME_LIMIT: Final = 255
_EXTENSION_LIMIT: Final = 32

# Control characters could end a header or a C string; bidirectional ones make "gpj.exe" look like "exe.jpg"; two names
# that differ in characters without width, such as joiners and tags, look alike.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
# Undecodable bytes of a path: they cannot be encoded as UTF-8, so neither databases nor headers accept them.
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


class Content:
    """Bytes to be stored, with a name, a type and a size."""

    #: The bytes, file object or path inside all wrappers (the object of filedepot's helpers).
    source: Any
    #: The last component of the given or found name, or None.
    filename: str | None
    #: The given or found type; `content_type` gives precedence to the bytes.
    declared_type: str | None
    #: ``FileIntent(..., move=True)``: the source belongs to the storage.
    move: bool

    def __init__(
        self, source: Source, filename: str | None, declared_type: str | None, *, move: bool, handed_in: object
    ) -> None:
        self._source = source
        self.source = source.given
        self.filename = filename
        self.declared_type = declared_type
        self.move = move
        # cgi.FieldStorage closes its file when it is collected, so the wrapper has to live as long as the file.
        self._handed_in = handed_in
        self._content_type: str | None = None

    @classmethod
    def of(cls, content: object, filename: str | None = None, content_type: str | None = None) -> Content:
        """Return the content of anything that can be stored.

        ``filename`` and ``content_type`` take precedence over those of a `FileIntent`, which take precedence over those
        of the content itself. Only the last component of a name is kept (some browsers send paths), without control
        characters; a name of more than 255 bytes in UTF-8 is shortened before its extension.

        Raises:
            InvalidContent: the object cannot be stored; the message lists the accepted types.
        """
        if isinstance(content, Content):
            return content._with_label(filename, content_type)
        if isinstance(content, FileIntent):
            inner, intended_name, intended_type = content.fileinfo
            found = cls.of(inner, intended_name, intended_type)._with_label(filename, content_type)
            found.move = found.move or content.move
            if found.move and found.source.is_symlink():
                raise InvalidContent(f"'{found.source}' is a symbolic link: hand over its target")
            return found
        inner, found_name, found_type = _unwrap(content)
        name = clean_filename(filename) or clean_filename(found_name)
        return cls(_source_of(inner), name, content_type or found_type, move=False, handed_in=content)

    def _with_label(self, filename: str | None, content_type: str | None) -> Content:
        if filename is None and content_type is None:
            return self
        name, declared = clean_filename(filename) or self.filename, content_type or self.declared_type
        return Content(self._source, name, declared, move=self.move, handed_in=self._handed_in)

    @property
    def content_type(self) -> str:
        """The media type: from the bytes if they reveal it, else from the name, else as declared; cached."""
        if self._content_type is None:
            self._content_type = type_for(self.finding(), self.declared_type, self.filename)
        return self._content_type

    def finding(self) -> Finding:
        """Return the types that the bytes allow; all contents of the same source recognise them once."""
        return self._source.finding()

    @property
    def labelled(self) -> Any:
        """An object from which `of` makes the same content: the original one, or a `FileIntent` if that has no label.

        ``move=True`` is not kept, so that storing the file a second time does not remove it.
        """
        if self.single_use:  # only this content has the bytes that were read already
            return FileIntent(self, self.filename, self.declared_type)
        _, name, declared_type = _unwrap(self._handed_in)
        if (clean_filename(name), declared_type) == (self.filename, self.declared_type):
            return self._handed_in
        return FileIntent(self._handed_in, self.filename, self.declared_type)

    def head(self) -> bytes:
        """Return the first bytes (`depot_lite.io.media_types.detection.HEAD_SIZE`), for the recognition of the type."""
        return self._source.head()

    @property
    def size(self) -> int | None:
        """The number of bytes, or None for a stream of unknown length."""
        return self._source.size()

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Raise this error as soon as a stream has yielded more than ``size`` bytes, also if it has done so already.

        At most one byte beyond the limit is read. Content of known size is not limited. A later call replaces the
        limit, and None removes it.
        """
        self._source.limit(size, error)

    def spool(self) -> None:
        """Make the content readable more than once: read a stream into a temporary file, unless that has been done.

        The file exists as long as the content, which can still be stored.

        Raises:
            InvalidContent: the stream cannot be read, or can no longer be read.
            ValidationError: the stream has more bytes than its limit allows.
        """
        self._source.spool()

    @property
    def path(self) -> Path | None:
        """The path of a regular file, or of a symbolic link to one, that holds exactly these bytes; or None."""
        return self._source.path()

    @property
    def single_use(self) -> bool:
        """Whether the source itself can be read only once; the bytes may be in a temporary file by now."""
        return self._source.single_use

    @property
    def rereadable(self) -> bool:
        """Whether `open` may be called more than once; for a stream only after `spool`."""
        return self._source.rereadable

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Open the bytes as a binary file.

        The user's own file remains open and is back at its position afterwards, also after an error.

        Raises:
            InvalidContent: it cannot be read, or can no longer be read; ``read()`` in the block raises it too.
        """
        return self._source.opened()

    def descriptor(self) -> AbstractContextManager[int | None]:
        """Yield a file descriptor for copying by the kernel, or None if no regular file holds exactly these bytes.

        Use it with explicit offsets (``os.pread``, ``os.copy_file_range``, ``os.sendfile``) from 0: its position
        belongs to the user and must not change. It is valid within the block.
        """
        return self._source.descriptor()

    def write_to(self, file: WritableFile) -> None:
        """Write the bytes to a file on a disk.

        Raises:
            InvalidContent: they cannot be read.
            StorageFailed: they became fewer meanwhile.
        """
        self._source.write_to(file)

    def release(self) -> None:
        """Remove a source that was handed over with ``move=True``, after it has been stored; otherwise do nothing."""
        if self.move:
            self.source.unlink(missing_ok=True)

    def __repr__(self) -> str:
        """Show the file name and the type of the source."""
        return f"<Content {self.filename!r} of {type_of(self.source)}>"


def is_empty_upload(content: object) -> bool:
    """Return whether this is a form field for which no file was chosen.

    That is an upload without a file name and without bytes, or the empty string that some forms give instead. ``b""``
    is an empty file (WebOb also gives it for such a field, which cannot be distinguished), and None is not an upload.
    """
    if isinstance(content, FileIntent):
        return is_empty_upload(content.fileinfo[0])
    if isinstance(content, str):
        return content == ""
    # An upload has a type; Django's ContentFile(b""), for example, has none.
    upload = _find_upload(content) if any(_has(content, attribute) for attribute in _TYPE_ATTRIBUTES) else None
    if upload is None:
        return False
    file, name, _ = upload
    return file is not None and clean_filename(name) is None and Content.of(file).size == 0


# --- sources ----------------------------------------------------------------------------------------------------------

#: The end of messages about content that cannot be stored.
EXPECTED: Final = "expected bytes, a binary file, a pathlib.Path, a FileIntent or an upload of a web framework"


def _source_of(given: Any) -> Source:
    """Return the source that reads an object.

    Raises:
        InvalidContent: the object cannot be read.
    """
    if isinstance(given, Path):
        return PathSource(given)
    if isinstance(given, str):
        raise InvalidContent(
            "str cannot be stored: encode it (text.encode()), or wrap it in pathlib.Path(...) if it was meant as a "
            "path. It is no token of a direct upload"
        )
    try:
        # A buffer could change between the assignment and the flush, so it is copied; bytes are not.
        return BytesSource(bytes(given)) if isinstance(given, bytes | bytearray | memoryview) else _of_file(given)
    except DepotError:
        raise
    except Exception as error:
        raise unreadable(given, error) from error


def _of_file(file: Any) -> Source:
    if not callable(getattr(file, "read", None)):
        raise InvalidContent(f"{type_of(file)} cannot be stored: {EXPECTED}")
    if isinstance(file, io.TextIOBase) or isinstance(getattr(file, "file", None), io.TextIOBase):
        raise InvalidContent(f"{label_of(file)} gives text: open it in binary mode ('rb')")
    if inspect.iscoroutinefunction(file.read):
        raise InvalidContent(f"{label_of(file)} has to be awaited: {EXPECTED}")
    readable, seekable = getattr(file, "readable", None), getattr(file, "seekable", None)
    if callable(readable) and not readable():
        raise InvalidContent(f"{label_of(file)} is not open for reading: open it with 'rb' or 'w+b'")
    if callable(seekable):
        return FileSource(file) if seekable() else StreamSource(file)
    return FileSource(file) if hasattr(file, "seek") and hasattr(file, "tell") else StreamSource(file)


# --- names ------------------------------------------------------------------------------------------------------------


def clean_filename(name: object) -> str | None:
    r"""Return the part of a name that is safe to store and to display, or None if nothing is left.

    >>> clean_filename("C:\\Users\\me\\holi\x00day.jpg")
    'holiday.jpg'
    >>> clean_filename("Pru\u0308fung.pdf") == "Pr\xfcfung.pdf"
    True
    >>> clean_filename("<stdin>"), clean_filename(3), clean_filename("..")
    (None, None, None)
    """
    if isinstance(name, bytes | os.PathLike):
        name = os.fsdecode(name)
    # A file opened by descriptor has its number as name; a file without a path, a name in angle brackets.
    if not isinstance(name, str) or (name.startswith("<") and name.endswith(">")):
        return None
    last = name.replace("\\", "/").rpartition("/")[2]
    # macOS gives letters and their accents apart: two names that look alike would be two, and rules refuse accents.
    last = unicodedata.normalize("NFC", encodable(_UNPRINTABLE.sub("", last))).strip()
    return _shorten(last) if last.strip(".") else None


def encodable(text: str) -> str:
    r"""Return text with a replacement character for each lone surrogate, which UTF-8 cannot encode.

    >>> encodable("\ud800.txt") == "\ufffd.txt"
    True
    """
    return _SURROGATES.sub("\ufffd", text)


def _shorten(name: str) -> str:
    encoded = name.encode()
    if len(encoded) <= _NAME_LIMIT:
        return name
    extension = os.path.splitext(name)[1].encode()
    if len(extension) > _EXTENSION_LIMIT:
        extension = b""
    return (encoded[: _NAME_LIMIT - len(extension)].decode(errors="ignore").rstrip() + extension.decode()).strip()


# --- uploads of web frameworks ----------------------------------------------------------------------------------------


#: The attributes that may contain the declared type; the last is cgi.FieldStorage's.
_TYPE_ATTRIBUTES: Final = ("content_type", "mimetype", "type")


def _unwrap(content: Any) -> tuple[Any, object, str | None]:
    """Return the object that holds the bytes, its name and its declared type."""
    if isinstance(content, bytes):
        return content, None, None
    if isinstance(content, Path):
        return content, content.name, None
    upload = _find_upload(content)
    if upload is not None:
        if upload[0] is None:
            raise InvalidContent(f"{type_of(content)} contains no file")
        return upload
    # A stored file has a file name. Other objects are not asked for it, since GzipFile warns at `filename`.
    named = "filename" if _get(content, "content_type") is not None else "name"
    return content, _get(content, named), _declared_type(content)


def _find_upload(content: Any) -> tuple[Any, object, str | None] | None:
    """Return file, name and type of a web framework's upload, or None for any other object.

    Uploads of Werkzeug and Falcon have a ``stream``, others (Starlette, cgi, multipart, aiohttp, Bottle) a ``file``;
    their name is ``filename``. Django's have ``chunks``, and their name is ``name``, which is the name of the form
    field in the others. Their truth value is not used: cgi.FieldStorage raises, and Werkzeug's looks at the name.
    """
    if _has(content, "file_id") and _has(content, "read"):
        return None
    for holder in ("stream", "file"):
        if _has(content, holder) and _has(content, "filename"):
            return _get(content, holder), _get(content, "filename"), _declared_type(content)
    if _has(content, "chunks") and _has(content, "file"):
        return _get(content, "file"), _get(content, "name"), _declared_type(content)
    return None


def _declared_type(content: Any) -> str | None:
    for attribute in _TYPE_ATTRIBUTES:
        value = _get(content, attribute)
        if isinstance(value, str):
            return value
    return None


def _has(content: Any, attribute: str) -> bool:
    try:
        return hasattr(content, attribute)
    except Exception:  # a property that exists and fails: Django's FieldFile.file without a file
        return True


def _get(content: Any, attribute: str) -> Any:
    # Without `reading`, since this is called ten times per upload.
    try:
        return getattr(content, attribute, None)
    except DepotError:
        raise
    except Exception as error:
        raise unreadable(content, error) from error
