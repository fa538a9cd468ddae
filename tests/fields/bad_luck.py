"""A storage that refuses one content."""

from __future__ import annotations

from depot_lite.errors import StorageFailed
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.local import LocalFileStorage


class FailingStorage(LocalFileStorage):
    """Refuses one content."""

    def _save(self, file_id: str, content: Content) -> FileInfo:
        if content.size == 13:
            raise StorageFailed("13 bytes are bad luck")
        return super()._save(file_id, content)
