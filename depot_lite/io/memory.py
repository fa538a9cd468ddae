"""MemoryFileStorage: files in memory, for tests and examples."""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.stored import UNNAMED, FileEntry, FileInfo, StoredFile
from depot_lite.io.urls import UrlSigner


class MemoryFileStorage(FileStorage):
    """Files in the memory of this process.

    Every option is accepted, so that tests can keep the settings of the storage that this one replaces. All are ignored
    but ``public_base_url``, to which URLs add a slash and the file id, and ``url_signer``.
    """

    notes_are_conditional = True

    def __init__(
        self, *_: object, public_base_url: str | None = None, url_signer: UrlSigner | None = None, **options: object
    ) -> None:
        self._publish(public_base_url, url_signer)
        self._files: dict[str, tuple[FileInfo, bytes]] = {}
        self._lock = threading.Lock()
        self._note_lock = threading.Lock()

    def __repr__(self) -> str:
        """Show the class, without an address that would change with each run."""
        return f"{type(self).__name__}()"

    def _save(self, file_id: str, content: Content) -> FileInfo:
        content_type = content.content_type
        with content.open() as source:
            data = source.read()
        checksum = f"crc32:{zlib.crc32(data):08x}"
        name = content.filename or UNNAMED
        info = FileInfo(file_id, name, content_type, len(data), datetime.now(UTC), checksum)
        with self._lock:
            self._files[file_id] = info, data
        return info

    def _note_version(self, file_id: str) -> Any:
        return self._files.get(file_id)

    def _swap_note(self, file_id: str, text: bytes, version: Any) -> bool:
        with self._note_lock:
            return self._note_version(file_id) is version and super()._swap_note(file_id, text, version)

    def _open(self, file_id: str) -> StoredFile:
        info, data = self._find(file_id)
        return StoredFile(info, lambda: io.BytesIO(data))

    def _find(self, file_id: str) -> tuple[FileInfo, bytes]:
        with self._lock:
            found = self._files.get(file_id)
        if found is None:
            raise self._missing(file_id)
        return found

    def _delete(self, file_id: str) -> None:
        with self._lock:
            self._files.pop(file_id, None)

    def _exists(self, file_id: str) -> bool:
        with self._lock:
            return file_id in self._files

    def _list(self) -> Iterator[FileEntry]:
        with self._lock:
            files = [(file_id, info) for file_id, (info, _) in self._files.items()]
        for file_id, info in files:
            yield FileEntry.told(file_id, info.content_length, info.last_modified)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        info, data = self._find(source_id)
        copied = replace(info, file_id=file_id, last_modified=datetime.now(UTC))
        with self._lock:
            self._files[file_id] = copied, data
        return copied
