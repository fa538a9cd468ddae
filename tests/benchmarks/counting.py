"""A storage that counts its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileEntry, FileInfo, StoredFile
from depot_lite.io.memory import MemoryFileStorage


class CountingStorage(MemoryFileStorage):
    """Files in memory, and how often each method of the backend was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def taken(self) -> dict[str, int]:
        """Return the calls since the last time, and begin anew."""
        calls, self.calls = self.calls, Counter()
        return dict(calls)

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self.calls["save"] += 1
        return super()._save(file_id, content)

    def _open(self, file_id: str) -> StoredFile:
        self.calls["open"] += 1
        return super()._open(file_id)

    def _exists(self, file_id: str) -> bool:
        self.calls["exists"] += 1
        return super()._exists(file_id)

    def _list(self) -> Iterator[FileEntry]:
        self.calls["list"] += 1
        return super()._list()

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        self.calls["copy"] += 1
        return super()._copy(source_id, file_id)

    def _delete(self, file_id: str) -> None:
        self.calls["delete"] += 1
        super()._delete(file_id)

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        self.calls["delete_many"] += 1
        for file_id in file_ids:
            super()._delete(file_id)
        return {}
