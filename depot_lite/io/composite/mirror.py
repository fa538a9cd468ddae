"""MirrorStorage: each file is in two or more storages before its row is committed.

    DepotManager.configure("media", MirrorStorage(near, far))

If one of them fails:

- *storing*: the flush fails with StorageFailed, the transaction is rolled back, and the file is in neither. No row is
  committed whose file is in only one storage.
- *opening*: the next one is used, and the failure is logged. An error is raised only if all fail. A read that breaks
  off is not continued from another storage.
- *deleting*, after COMMIT: the file is deleted from the others. The failure is logged; the remaining file is unused,
  and maintenance sweeps it.
- *a crash* while storing may leave a file in one storage that no row names: an unused file, too.

A storage that lost files, or was added later, is filled by ``copy_files(near, far)`` of `depot_lite.maintenance`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar

from depot_lite.errors import StorageFailed, StoredFileNotFound
from depot_lite.io.composite import CompositeStorage
from depot_lite.io.content import Content
from depot_lite.io.fileid import check_file_id, new_file_id
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.stored import FileInfo, StoredFile

T = TypeVar("T")

_log = logging.getLogger("depot_lite")


class MirrorStorage(CompositeStorage):
    """A storage that writes to all of several storages before it returns, reads from one, and deletes from all.

    URLs are those of the first storage with URLs. Direct uploads of browsers go through the application, which stores
    them in all.

    Args:
        storages: the storages, in the order in which they are read from.
    """

    @property
    def concurrency(self) -> int:
        """The largest number of transfers that are useful at once for any of the storages."""
        return max(each.concurrency for each in self._storages)

    # --- storing ---------------------------------------------------------------------------------------------------

    def save(self, content: Content, *, file_id: str | None = None) -> FileInfo:
        """Store prepared content and return its info. After a failure, no storage that answers keeps a new file."""
        if file_id is None:
            return self._save_in_all(new_file_id(), content, new=True)
        return self._save(check_file_id(file_id), content)

    def _save(self, file_id: str, content: Content) -> FileInfo:
        return self._save_in_all(file_id, content)

    def _save_in_all(self, file_id: str, content: Content, *, new: bool = False) -> FileInfo:
        _ = content.content_type  # before the bytes, because a stream can be read only once
        if not content.rereadable:
            content.spool()
        return self._in_all(file_id, lambda each: self._ask(each, lambda part: part._save(file_id, content)), new=new)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        return self._in_all(file_id, lambda each: self._copy_into(each, source_id, file_id))

    def _copy_into(self, storage: FileStorage, source_id: str, file_id: str) -> FileInfo:
        try:
            return self._transfer(storage, source_id, storage, file_id)
        except StoredFileNotFound:  # it has lost the file, or was added later
            others = [each for each in self._storages if each is not storage]
            holder = next((each for each in others if self._ask(each, lambda part: part._exists(source_id))), None)
            if holder is None:
                raise
            return self._transfer(holder, source_id, storage, file_id)

    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        return self._in_all(
            file_id, lambda each: self._ask(each, lambda part: part._save_from(source, source_id, file_id))
        )

    def _in_all(self, file_id: str, store: Callable[[FileStorage], FileInfo], *, new: bool = False) -> FileInfo:
        """Store a file in all storages or in none, and return the description by the first one."""
        self._check(*self._storages)  # before any of them stores it
        infos: list[FileInfo] = []
        for each in self._storages:
            try:
                infos.append(store(each))
            except BaseException as error:
                self._undo(file_id, self._storages[: len(infos)], each, new=new)
                if isinstance(error, StorageFailed):
                    error.add_note(f"{file_id} could not be stored in {each!r}, so it was stored in none")
                raise
        return infos[0]

    def _undo(self, file_id: str, done: Iterable[FileStorage], failed: FileStorage, *, new: bool) -> None:
        """Restore the previous state of the storages, from the one that failed: its own state has not changed.

        If that one does not answer, nothing is deleted, since rows may name an older file with this id, unless it is a
        new one. The new file of a flush is deleted by the rollback.
        """
        for each in done:
            try:
                if not new and self._ask(failed, lambda part: part._exists(file_id)):
                    self._transfer(failed, file_id, each, file_id)
                else:
                    self._ask(each, lambda part: part._delete(file_id))
            except Exception as error:
                _log.error("%s is in %r but not in %r, and is left to maintenance: %s", file_id, each, failed, error)

    def _change_note(self, file_id: str, change: Callable[[bytes | None], bytes]) -> None:
        super()._change_note(file_id, change)
        first, *others = self._storages

        def as_first(_: bytes | None) -> bytes:
            # As it is now: another process may have changed it since.
            return self._ask(first, lambda part: part._load_note(file_id)) or b""

        for each in others:
            self._ask(each, lambda part: part._change_note(file_id, as_first))

    # --- reading ---------------------------------------------------------------------------------------------------

    def _first(self, file_id: str, ask: Callable[[FileStorage], T]) -> T:
        failure: StorageFailed | None = None
        for each in self._storages:
            try:
                return self._ask(each, ask)
            except StoredFileNotFound:
                _log.warning("%s is not in %r", file_id, each)
            except StorageFailed as error:
                _log.warning("%s cannot be read from %r: %s", file_id, each, error)
                failure = failure or error
        if failure is not None:  # the storage that failed may have the file
            raise failure
        raise self._missing(file_id)

    def _exists(self, file_id: str) -> bool:
        try:
            self._first(file_id, _look_for(file_id))
        except StoredFileNotFound:
            return False
        return True

    # --- deleting --------------------------------------------------------------------------------------------------

    def _delete(self, file_id: str) -> None:
        for error in self._delete_many([file_id]).values():
            raise error

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        failed: dict[str, Exception] = {}
        for each in self._storages:
            failed = self._delete_from(each, file_ids) | failed
        return failed

    # --- URLs ------------------------------------------------------------------------------------------------------

    @property
    def has_urls(self) -> bool:
        """Whether any of the storages may have URLs of its own."""
        return any(each.has_urls for each in self._storages)

    def public_url(self, file_or_id: StoredFile | str) -> str | None:
        """Return the URL by the first storage that has any, None if that one signs its URLs."""
        for each in self._storages:
            url = each.public_url(file_or_id)
            if url is not None or each.url(file_or_id) is not None:
                return url
        return None

    def url_for_row(self, file_id: str) -> str | None:
        """Return the URL for a row by the first storage that has one."""
        return next((url for each in self._storages if (url := each.url_for_row(file_id)) is not None), None)

    def url(
        self,
        file_or_id: StoredFile | str,
        *,
        expires_in: int | timedelta | None = None,
        filename: str | None = None,
        disposition: str | None = None,
        content_type: str | None = None,
    ) -> str | None:
        """Return the URL by the first storage that has one."""
        self._id(file_or_id)
        for each in self._storages:
            url = each.url(
                file_or_id,
                expires_in=expires_in,
                filename=filename,
                disposition=disposition,
                content_type=content_type,
            )
            if url is not None:
                return url
        return None


def _look_for(file_id: str) -> Callable[[FileStorage], bool]:
    def ask(storage: FileStorage) -> bool:
        if not storage._exists(file_id):
            raise StoredFileNotFound(file_id)
        return True

    return ask
