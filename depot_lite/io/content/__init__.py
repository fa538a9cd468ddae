r"""Content: whatever a user hands in, made into bytes with a name, a type and a size.

`Content.of` takes bytes, binary files, paths, streams that can be read once, stored files, the uploads of web
frameworks (recognised by their attributes, none is imported) and a `FileIntent` around any of them. It reads nothing
until it is asked, and leaves the user's file as it found it: open, at the same position. So the file has to stay
readable until it was stored.

>>> content = Content.of(b"%PDF-1.7 ...", "C:\\papers\\plan.pdf")
>>> content.filename, content.content_type, content.size
('plan.pdf', 'application/pdf', 12)
>>> with content.open() as file:
...     file.read(4)
b'%PDF'

Text is refused, since only its author knows the encoding that was meant. A Content is used by one thread at a time.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from depot_lite.errors import DepotError, InvalidContent, ValidationError
from depot_lite.io.content.sources import CHUNK_SIZE, INMEMORY_FILESIZE, Source, blaming, source_of, type_of, unreadable
from depot_lite.io.media_types.detection import content_type_of

__all__ = [
    "CHUNK_SIZE",
    "INMEMORY_FILESIZE",
    "Content",
    "FileIntent",
    "clean_filename",
    "file_from_content",
    "is_empty_upload",
]

# Bytes of a file name in UTF-8: what the usual file systems take, and what fits in the metadata of every storage.
_NAME_LIMIT: Final = 255
_EXTENSION_LIMIT: Final = 32

# Control characters would end a header or a C string early; the bidirectional ones make "gpj.exe" look like "exe.jpg".
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
# Undecodable bytes of a path: UTF-8 has no place for them, so neither a database nor a header takes them.
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


class FileIntent:
    """Content together with the name and type that it shall be stored under.

    What is given here wins over what the content says of itself. ``move=True`` hands a `pathlib.Path` over: the file
    belongs to the storage then, which may rename instead of copy it, and is gone from its old place once it is stored.

    Raises:
        InvalidContent: ``move=True`` with something else than a path.

    >>> FileIntent(b"a,b", "table.csv", "text/csv").fileinfo
    (b'a,b', 'table.csv', 'text/csv')
    """

    def __init__(
        self, content: Any, filename: str | None = None, content_type: str | None = None, *, move: bool = False
    ) -> None:
        if move and not isinstance(content, Path):
            raise InvalidContent(f"FileIntent(..., move=True) needs a pathlib.Path, not {type_of(content)}")
        self._fileinfo = (content, filename, content_type)
        self.move = move

    @property
    def fileinfo(self) -> tuple[Any, str | None, str | None]:
        """The content, the name and the type as they were given."""
        return self._fileinfo

    def __repr__(self) -> str:
        """Show what was given."""
        content, filename, content_type = self._fileinfo
        move = ", move=True" if self.move else ""
        return f"FileIntent({type_of(content)}, {filename!r}, {content_type!r}{move})"


class Content:
    """What a user handed in, ready to be stored."""

    #: The bytes, file object or path below all wrappers (what filedepot's helpers see).
    source: Any
    #: Last component of the name that was given or found, None where there is none.
    filename: str | None
    #: The type that was given or found. `content_type` trusts the bytes more.
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
        """Return the content of whatever can be stored.

        ``filename`` and ``content_type`` win over those of a `FileIntent`, which win over what is found. Of a name only
        the last component is kept (some browsers send whole paths), without control characters; beyond 255 bytes of
        UTF-8 the part before the extension is cut.

        Raises:
            InvalidContent: this cannot be stored; the message says what can.
        """
        if isinstance(content, Content):
            return content._relabelled(filename, content_type)
        if isinstance(content, FileIntent):
            inner, intended_name, intended_type = content.fileinfo
            found = cls.of(inner, intended_name, intended_type)._relabelled(filename, content_type)
            found.move = found.move or content.move
            if found.move and found.source.is_symlink():
                raise InvalidContent(f"'{found.source}' is a symbolic link: hand over the file that it points to")
            return found
        inner, found_name, found_type = _unwrapped(content)
        name = clean_filename(filename) or clean_filename(found_name)
        return cls(source_of(inner), name, content_type or found_type, move=False, handed_in=content)

    def _relabelled(self, filename: str | None, content_type: str | None) -> Content:
        if filename is None and content_type is None:
            return self
        return Content(
            self._source,
            clean_filename(filename) or self.filename,
            content_type or self.declared_type,
            move=self.move,
            handed_in=self._handed_in,
        )

    @property
    def content_type(self) -> str:
        """The media type: from the bytes where they tell, else as declared, else from the name. Found once."""
        if self._content_type is None:
            self._content_type = content_type_of(self._source.head(), self.declared_type, self.filename)
        return self._content_type

    @property
    def labelled(self) -> Any:
        """What was handed in, from which `of` makes the same content: itself, or a `FileIntent` where it says less.

        It does not hand over what ``move=True`` did, so that who stores it a second time takes nothing away.
        """
        if self._source.once:  # its bytes may have been read, and are here
            return FileIntent(self, self.filename, self.declared_type)
        found = Content.of(self._handed_in)
        if (found.filename, found.declared_type) == (self.filename, self.declared_type):
            return self._handed_in
        return FileIntent(self._handed_in, self.filename, self.declared_type)

    def head(self) -> bytes:
        """Return the first bytes, as many as tell the type (`depot_lite.io.media_types.detection.HEAD_SIZE`)."""
        return self._source.head()

    @property
    def size(self) -> int | None:
        """The number of bytes, None for a stream of unknown length."""
        return self._source.size()

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Let reading a stream stop with this error once it has given more than ``size`` bytes, now or at any time.

        Not one byte more than the first one too many is taken from it. Content whose size is known is not limited. A
        later call takes the place of an earlier one, and None takes the limit away.
        """
        self._source.limit(size, error)

    def spool(self) -> None:
        """Make the content readable more than once: read a stream into a temporary file, if it is not there yet.

        The file lives as long as the content, so what was spooled can still be stored.

        Raises:
            InvalidContent: the stream cannot be read, or no longer.
            ValidationError: it has more bytes than its limit allows.
        """
        self._source.spool()

    @property
    def path(self) -> Path | None:
        """A regular file on this machine that holds exactly these bytes, or None. It may be a symbolic link."""
        return self._source.path()

    @property
    def rereadable(self) -> bool:
        """Whether `open` may be called more than once; for a stream, whose bytes come once, not before `spool`."""
        return self._source.rereadable

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Give the bytes as a binary file at its start.

        The file that was handed in stays open and is back at its position afterwards, whatever happened.

        Raises:
            InvalidContent: it cannot be read, or no longer; ``read()`` in the block raises it too.
        """
        with self._source.opened() as file:
            yield file

    def descriptor(self) -> AbstractContextManager[int | None]:
        """Give a file descriptor to copy from in the kernel, or None where no regular file holds exactly these bytes.

        Use it with explicit offsets (``os.pread``, ``os.copy_file_range``, ``os.sendfile``) from 0: its own position
        belongs to the user and must not move. The block's end closes it if it is ours.
        """
        return self._source.descriptor()

    def release(self) -> None:
        """Remove the source that was handed over with ``move=True``, once it is stored. Otherwise do nothing."""
        if self.move:
            self.source.unlink(missing_ok=True)

    def __repr__(self) -> str:
        """Show where the bytes come from, and their name."""
        return f"<Content {self.filename!r} of {type_of(self.source)}>"


def is_empty_upload(content: object) -> bool:
    """Return whether this is the part of a form that was sent with no file chosen.

    That is an upload without a file name and without bytes, or the empty string that some forms give instead. ``b""``
    is an empty file (WebOb gives it for such a part too, which nothing here could tell apart), and None is no upload.
    """
    if isinstance(content, FileIntent):
        return is_empty_upload(content.fileinfo[0])
    if isinstance(content, str):
        return content == ""
    # An upload has a type; a file of Django's that is none, such as ContentFile(b""), has not.
    upload = _upload_in(content) if any(_has(content, attribute) for attribute in _DECLARED) else None
    if upload is None:
        return False
    file, name, _ = upload
    return file is not None and clean_filename(name) is None and Content.of(file).size == 0


def file_from_content(content: object) -> tuple[bool, BinaryIO]:
    """Return whether the caller has to close it, and the content as a file object at its start (filedepot's helper)."""
    found = Content.of(content)
    source = found.source
    if isinstance(source, bytes):
        return True, io.BytesIO(source)
    if isinstance(source, Path):
        return True, source.open("rb")
    if not found._source.once:
        with blaming(source):
            source.seek(0)
        return False, source
    with ExitStack() as closing:
        file = closing.enter_context(tempfile.SpooledTemporaryFile(INMEMORY_FILESIZE))
        with found.open() as opened:
            while chunk := opened.read(CHUNK_SIZE):
                file.write(chunk)
        file.seek(0)
        closing.pop_all()  # the caller's from here on
        return True, cast(BinaryIO, file)


# --- names ------------------------------------------------------------------------------------------------------------


def clean_filename(name: object) -> str | None:
    r"""Return the part of a name that is safe to remember and to show, None if nothing is left.

    >>> clean_filename("C:\\Users\\me\\holi\x00day.jpg")
    'holiday.jpg'
    >>> clean_filename("<stdin>"), clean_filename(3), clean_filename("..")
    (None, None, None)
    """
    if isinstance(name, bytes | os.PathLike):
        name = os.fsdecode(name)
    # The name of a file made from a descriptor is its number; that of a file without a place is in brackets.
    if not isinstance(name, str) or (name.startswith("<") and name.endswith(">")):
        return None
    last = name.replace("\\", "/").rpartition("/")[2]
    last = _SURROGATES.sub("\ufffd", _UNPRINTABLE.sub("", last)).strip()
    return _shortened(last) if last.strip(".") else None


def _shortened(name: str) -> str:
    encoded = name.encode()
    if len(encoded) <= _NAME_LIMIT:
        return name
    extension = os.path.splitext(name)[1].encode()
    if len(extension) > _EXTENSION_LIMIT:
        extension = b""
    return (encoded[: _NAME_LIMIT - len(extension)].decode(errors="ignore").rstrip() + extension.decode()).strip()


# --- what is inside a wrapper -----------------------------------------------------------------------------------------


#: Where the declared type may be found; the last is cgi.FieldStorage's.
_DECLARED: Final = ("content_type", "mimetype", "type")


def _unwrapped(content: Any) -> tuple[Any, object, str | None]:
    """Return what holds the bytes, and the name and type found with it."""
    if isinstance(content, bytes):
        return content, None, None
    if isinstance(content, Path):
        return content, content.name, None
    upload = _upload_in(content)
    if upload is not None:
        if upload[0] is None:
            raise InvalidContent(f"{type_of(content)} holds no file")
        return upload
    # A stored file has a name of its own; asked only then, since GzipFile warns at `filename`.
    named = "filename" if _get(content, "content_type") is not None else "name"
    return content, _get(content, named), _declared(content)


def _upload_in(content: Any) -> tuple[Any, object, str | None] | None:
    """Return file, name and type of a web framework's upload; None if it is something else.

    Werkzeug's and Falcon's hold a ``stream``, the others (Starlette, cgi, multipart, aiohttp, Bottle) a ``file``, and
    tell the ``filename``. Django's tells it as ``name`` (which is the field of the form in the others), and has
    ``chunks``. None of them is asked for its truth: cgi.FieldStorage raises, and Werkzeug's says whether it has a name.
    """
    if _has(content, "file_id") and _has(content, "read"):
        return None
    for holder in ("stream", "file"):
        if _has(content, holder) and _has(content, "filename"):
            return _get(content, holder), _get(content, "filename"), _declared(content)
    if _has(content, "chunks") and _has(content, "file"):
        return _get(content, "file"), _get(content, "name"), _declared(content)
    return None


def _declared(content: Any) -> str | None:
    for attribute in _DECLARED:
        value = _get(content, attribute)
        if isinstance(value, str):
            return value
    return None


def _has(content: Any, attribute: str) -> bool:
    try:
        return hasattr(content, attribute)
    except Exception:  # a property that is there and fails: Django's FieldFile.file without a file
        return True


def _get(content: Any, attribute: str) -> Any:
    # Not in `blaming`: it is done ten times for each upload.
    try:
        return getattr(content, attribute, None)
    except DepotError:
        raise
    except Exception as error:
        raise unreadable(content, error) from error
