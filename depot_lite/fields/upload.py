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

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from depot_lite.depots import Depots
from depot_lite.errors import NameRefused, StoredFileNotFound
from depot_lite.fields.frozen import FrozenDict
from depot_lite.fields.interfaces import RENAMED, DepotFileInfo
from depot_lite.fields.meta import plain_meta
from depot_lite.fields.reference import DAMAGED
from depot_lite.fields.schema import FileData, VariantData, core_schema
from depot_lite.fields.urls import names_public_url, url_of, url_or_none
from depot_lite.io.content import CHUNK_SIZE, INMEMORY_FILESIZE, Content, clean_filename, encodable
from depot_lite.io.interfaces import FileStorage, StoredFile
from depot_lite.io.on_disk import DiskSource, OnDisk, content_source

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
        return self._required("files", list)

    @property
    def filename(self) -> str:
        """The original name of the file."""
        return self._required("filename", str)

    @property
    def content_type(self) -> str:
        """The media type, detected from the bytes if possible."""
        return self._required("content_type", str)

    @property
    def size(self) -> int | None:
        """The number of bytes; None in rows of filedepot and for a pending stream of unknown length."""
        return self._optional("size", int)

    @property
    def checksum(self) -> str | None:
        """``algorithm:hexadecimal digest`` of the stored bytes; None while pending and in rows of filedepot."""
        return self._optional("checksum", str)

    @property
    def uploaded_at(self) -> datetime | None:
        """The time when the file was stored, in UTC to the second; None while pending. The key has filedepot's text."""
        text = self._optional("uploaded_at", str)
        try:
            return None if text is None else datetime.strptime(text, _UPLOADED_AT).replace(tzinfo=UTC)
        except ValueError:
            raise self._damage("uploaded_at", "like 2026-01-31 18:30:00") from None

    @property
    def meta(self) -> Mapping[str, Any]:
        """The metadata that was given with the file, or by `with_`."""
        return self._optional("meta", dict) or FrozenDict()

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that the analyzers of the column have found; empty if they found none, or have yet to run."""
        return self._optional("facts", dict) or FrozenDict()

    def with_(self, *, filename: str | None = None, meta: Mapping[str, Any] | None = None) -> Self:
        """Return a value of the same stored file with another name or other metadata; assign it to its attribute.

        No byte moves: the row changes, and URLs carry the new name. The URL of a public object of a storage keeps the
        name under which it was stored. If crops of an image follow its focus, and ``meta`` has another one, the flush
        makes them again. A pending value is changed and returned itself.

        Args:
            filename: the new name; its last component is kept.
            meta: the new metadata, in place of the former.

        Raises:
            NameRefused: the name has no usable character.
            MetaRefused: JSON cannot keep the metadata.
            DamagedReference: the row holds something else than a reference.
        """
        if self.is_damaged:
            raise self._damage_of_all()
        changed: dict[str, Any] = {} if meta is None else {"meta": plain_meta(meta)}
        if filename is not None:
            name = clean_filename(filename)
            if name is None:
                raise NameRefused(f"expected a file name, got {filename!r}", rule="filename", value=filename)
            changed |= (
                {"filename": name} if self.pending or name == self.filename else {"filename": name, RENAMED: True}
            )
        if self.pending:
            self.update(changed)
            return self
        return self._with_data({**self, **changed})

    @property
    def depot(self) -> FileStorage:
        """The storage that holds the file."""
        return Depots.get(self.depot_name)

    @property
    def file(self) -> StoredFile:
        """The stored file, opened again at each access. Reading it verifies its checksum.

        If the storage knows no checksum, the one in the row counts.

        Raises:
            StoredFileNotFound: the value is pending, or its file does not exist any more.
        """
        if self.pending:
            raise StoredFileNotFound(
                f"{self.filename!r} is not stored yet: flush the session, or read original_content"
            )
        stored = self.depot.get(self.file_id)
        if stored.info.checksum is None:
            stored.info = replace(stored.info, checksum=self.checksum)
        return stored

    def on_disk(self) -> OnDisk:
        """Return a context manager that gives a path with the whole file: ``with movie.trailer.on_disk() as path:``.

        It works with ``async with`` too. The path has the suffix of the file's name, and exists within the block. It
        must only be read: on a local disk it is a link to the stored file. A copy from another storage is verified.
        A pending value gives its content.

        Raises:
            StoredFileNotFound: in the block's beginning: the file does not exist any more.
            StorageFailed: the storage failed, or the bytes do not match their checksum.
        """

        def find(closing: ExitStack) -> DiskSource:
            if not self.pending:
                stored = closing.enter_context(self.file)
                return replace(stored.disk_source(), filename=self.filename)
            content = Content.of(self.original_content)
            return content_source(content, self.filename, content.content_type, closing)

        return OnDisk(find)

    @property
    def url(self) -> str:
        """The storage's URL of the file if it has one, signed if its files are private; else the middleware's.

        With ``make_middleware(proxy=True)`` it is always the middleware's.
        """
        return url_of(self.depot_name, self.file_id, self.get("_public_url"), label=self._label)

    @property
    def _label(self) -> str | None:
        """The name for URLs, if it differs from the name that the storage knows."""
        return clean_filename(self.get("filename")) if self.get(RENAMED) else None

    def url_for(
        self,
        *,
        expires_in: int | timedelta | None = None,
        download: bool = False,
        filename: str | None = None,
        absolute: bool = False,
    ) -> str:
        """Return a URL like `url`, with options.

        A storage with unsigned URLs ignores them: its URLs do not expire, and set neither name nor download.

        Args:
            expires_in: the minimum lifetime, in seconds or as a timedelta.
            download: whether browsers save files of every type instead of showing them.
            filename: the name to save the file under.
            absolute: whether the URL needs a scheme and a host, as in a mail. All URLs of storages and of a middleware
                with a ``base_url`` have them.

        Raises:
            ConfigurationError: ``expires_in`` is not positive, nothing serves the files, there are no signing keys, or
                the URL is to be absolute and the middleware has no ``base_url``.
        """
        name = self.filename if download and filename is None else filename
        return url_of(
            self.depot_name,
            self.file_id,
            self.get("_public_url"),
            expires_in=expires_in,
            download=download,
            filename=name,
            label=self._label,
            absolute=absolute,
        )

    def as_dict(self) -> FileData:
        """Return the file as an ordinary dictionary for other programs, ready for JSON.

        It has the same keys for every file, and neither depots nor paths. Each call signs the URLs of private files
        anew.

        Raises:
            DamagedReference: the row holds something else than a reference, or a key of the wrong type.
            InvalidFileId: the row holds an id that no file has.
            ConfigurationError: the depot is not configured, or is private, and there are no signing keys.
        """
        uploaded_at = self.uploaded_at
        return {
            "url": None
            if self.pending
            else url_or_none(self.depot_name, self.file_id, self.get("_public_url"), label=self._label),
            "filename": self.filename,
            "content_type": self.content_type,
            "size": self.size,
            "checksum": self.checksum,
            "width": self._optional("width", int),
            "height": self._optional("height", int),
            "uploaded_at": None if uploaded_at is None else uploaded_at.isoformat(),
            "variants": self._variants_as_dict(),
            "meta": self._mapping_as_dict("meta", self.meta),
            "facts": self._mapping_as_dict("facts", self.facts),
        }

    def __str__(self) -> str:
        """Return the name of the file, for templates and exports; of a damaged value, the content of its row."""
        return encodable(str(self[DAMAGED] if self.is_damaged else self.get("filename")))

    def __format__(self, spec: str) -> str:
        """Format the name of the file: ``f"{movie.poster:<30}"``."""
        return format(str(self), spec)

    def _mapping_as_dict(self, key: str, mapping: Mapping[str, Any]) -> dict[str, Any]:
        if not mapping:
            return {}
        try:
            text = json.dumps(mapping, allow_nan=False, ensure_ascii=False)
        except ValueError:  # NaN, which `json` reads
            raise self._damage(key, "of JSON") from None
        found: dict[str, Any] = json.loads(encodable(text))
        return found

    def _variants_as_dict(self) -> dict[str, VariantData]:
        return {}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let Pydantic validate, write and describe values of this class."""
        return core_schema(cls, handler)

    def __getattr__(self, name: str) -> Any:
        """Return the key of that name; the URL of a filter's file, also if none was known when it was stored."""
        found = super().__getattr__(name)
        if name.endswith("_url") and isinstance(path := self.get(f"{name[:-4]}_path"), str):
            depot_name, _, file_id = path.partition("/")
            if not names_public_url(depot_name, found):
                return url_of(depot_name, file_id)
            # A path is that of the middleware, which may have moved, or have a host today.
            return Depots.url_for(path) if found.startswith("/") and Depots.has_middleware() else found
        return found

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
