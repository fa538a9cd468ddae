"""FallbackStorage: files move from one storage to another while the application runs.

    new, old = DepotManager.from_config(...), DepotManager.from_config(...)
    DepotManager.configure("media", FallbackStorage(new, old))      # in every process, before anything is moved

New files go to the first storage. A file is read from the first storage that has it, so files can be moved gradually,
and rows do not change. `depot_lite.maintenance.copy_files` copies the old files; when it finds nothing left to copy,
configure ``media`` with the new storage alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from depot_lite.errors import StoredFileNotFound
from depot_lite.io.composite import CompositeStorage
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.stored import FileInfo

T = TypeVar("T")


class FallbackStorage(CompositeStorage):
    """A storage that reads from the first of several that has the file, writes to the first, and deletes from all.

    If a storage fails, its error is raised: it may have the file, so no older bytes from another storage are returned.

    It has no URLs of its own, since finding out which storage has a file takes a request. So the application serves the
    files as long as there are two storages.

    Args:
        storages: the new one first.
    """

    def _save(self, file_id: str, content: Content) -> FileInfo:
        return self._ask(self._storages[0], lambda first: first._save(file_id, content))

    def _delete(self, file_id: str) -> None:
        # The new one last: if an old one fails, the file still exists, and no older one appears in its place.
        for each in reversed(self._storages):
            self._ask(each, lambda part: part._delete(file_id))

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        failed: dict[str, Exception] = {}
        for each in reversed(self._storages):
            failed |= self._delete_from(each, [file_id for file_id in file_ids if file_id not in failed])
        return failed

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        first = self._storages[0]
        for each in self._storages:
            try:
                return self._transfer(each, source_id, first, file_id)
            except StoredFileNotFound:
                continue
        raise self._missing(source_id)

    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        return self._ask(self._storages[0], lambda first: first._save_from(source, source_id, file_id))

    def _upload_form(
        self, file_id: str, max_size: int, content_type: str | None, filename: str | None, expires_in: int
    ) -> tuple[str, dict[str, str]] | None:
        return self._storages[0]._upload_form(file_id, max_size, content_type, filename, expires_in)

    def _first(self, file_id: str, ask: Callable[[FileStorage], T]) -> T:
        for each in self._storages:
            try:
                return self._ask(each, ask)
            except StoredFileNotFound:
                continue
        raise self._missing(file_id)
