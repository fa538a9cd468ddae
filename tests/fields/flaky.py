"""A storage that fails when it is told to, as disks and networks do unasked."""

from __future__ import annotations

from collections.abc import Callable

from depot_lite.errors import StorageFailed
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.memory import MemoryFileStorage


class Faults:
    """Which upload and which deletion fail, counted over all storages that share it; 0 stands for none.

    ``after`` lets an upload fail once its bytes are there: an answer was lost, and the storage cannot know.
    """

    def __init__(self) -> None:
        self.upload = 0
        self.delete = 0
        self.after = False
        self.error: Callable[[str], BaseException] = StorageFailed
        self.uploads = 0
        self.deletes = 0

    def clear(self) -> None:
        """Let everything succeed from now on, and count anew."""
        self.__init__()  # type: ignore[misc]  # as it was in the beginning

    def upload_counts(self) -> bool:
        """Count an upload; return whether it is the one that fails."""
        self.uploads += 1
        return self.uploads == self.upload

    def delete_counts(self) -> bool:
        """Count a deletion; return whether it is the one that fails."""
        self.deletes += 1
        return self.deletes == self.delete


class FlakyStorage(MemoryFileStorage):
    """Files in memory, and faults."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults

    def _save(self, file_id: str, content: Content) -> FileInfo:
        return self._faulty("upload", lambda: super(FlakyStorage, self)._save(file_id, content))

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        return self._faulty("copy", lambda: super(FlakyStorage, self)._copy(source_id, file_id))

    def _faulty(self, what: str, save: Callable[[], FileInfo]) -> FileInfo:
        fails = self.faults.upload_counts()
        if fails and not self.faults.after:
            raise self.faults.error(f"{what} failed before the first byte")
        info = save()
        if fails:
            raise self.faults.error(f"{what} failed after the last byte")
        return info

    def _delete(self, file_id: str) -> None:
        if self.faults.delete_counts():
            raise self.faults.error("deletion failed")
        super()._delete(file_id)
