"""`VersionedStorage`: storages whose server copies a known version of an object, so that no bytes come here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, BinaryIO, Generic, Self, cast

from depot_lite.errors import DepotError
from depot_lite.io.content import Content
from depot_lite.io.content.sources import reading_source
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.objects.metadata import now
from depot_lite.io.objects.readers import ObjectFile, PiecewiseReader
from depot_lite.io.objects.storage import ObjectStorage, Record, Url


class ObjectVersion(ObjectFile, Generic[Record]):
    """A stored file with its storage and record, so that the server can copy exactly this version."""

    def __init__(
        self,
        info: FileInfo,
        body: BinaryIO | PiecewiseReader,
        public_url: str | None,
        storage: FileStorage,
        record: Record,
    ) -> None:
        super().__init__(info, body, public_url)
        self.storage = storage
        self.record = record


class VersionedStorage(ObjectStorage[Url, Record], Generic[Url, Record]):
    """A storage of objects whose server copies known versions, also of other buckets."""

    @abstractmethod
    def _reaches(self, source: FileStorage) -> bool:
        """Return whether the server can copy from another storage."""

    @abstractmethod
    def _refuses(self, error: DepotError) -> bool:
        """Return whether the server refused a copy, but may let the bytes be read and stored."""

    @abstractmethod
    def _description(self, info: FileInfo, record: Record) -> dict[str, Any]:
        """Return the properties of a copy under another name and type, as the server takes them."""

    @abstractmethod
    def _same_description(self, record: Record, when: datetime) -> dict[str, Any]:
        """Return the properties of a copy that differs from its source in time only."""

    @abstractmethod
    def _copy_version(
        self, source: Self, source_id: str, record: Record, file_id: str, description: Mapping[str, Any]
    ) -> None:
        """Let the server copy this version of an object; the library's own errors are raised."""

    def _store(self, file_id: str, content: Content, known: int | None = None, *, new: bool = False) -> FileInfo:
        source = content.source
        if isinstance(source, ObjectVersion) and source.storage is self:
            info = self._new_info(file_id, content.filename, content.content_type)
            return self._save_version(self, source.file_id, source.record, info)
        return super()._store(file_id, content, known, new=new)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        record, when = self._found(source_id), now()
        with self.table.translating(self._what("copy", source_id), source_id):
            self._copy_version(self, source_id, record, file_id, self._same_description(record, when))
        return replace(self._info_in(source_id, record), file_id=file_id, last_modified=when)

    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        if self._reaches(source):
            source = cast(Self, source)
            with reading_source():
                record = source._found(source_id)
            known = source._info_in(source_id, record)
            info = self._new_info(file_id, known.filename, known.content_type)
            try:
                return self._save_version(source, source_id, record, info)
            except DepotError as error:
                if not self._refuses(error):
                    raise
        return super()._save_from(source, source_id, file_id)

    def _found(self, source_id: str) -> Record:
        with self.table.translating(self._what("copy", source_id), source_id), self._looking():
            return self._look(source_id)

    def _save_version(self, source: Self, source_id: str, record: Record, info: FileInfo) -> FileInfo:
        """Let the server copy a known version of an object, perhaps with another name and type."""
        known = source._info_in(source_id, record)
        info = replace(info, content_length=known.content_length, checksum=known.checksum)
        with self.table.translating(source._what("copy", source_id), source_id):
            self._copy_version(source, source_id, record, info.file_id, self._description(info, record))
        return info
