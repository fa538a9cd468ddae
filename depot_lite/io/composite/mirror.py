"""MirrorStorage: each file is in two storages, or more, before its row is committed.

    DepotManager.configure("media", MirrorStorage(near, far))

What happens when one of them fails:

- *storing*: the flush fails with StorageFailed, the transaction is rolled back, and the file is in neither. No row is
  committed whose file is in one storage only.
- *opening*: the next one answers, and the failure is logged. An error is raised only if none can. What breaks off while
  it is read is not continued from another.
- *deleting*, after COMMIT: the file goes from those that answer. What stays in another is logged, and is an unused
  file, which maintenance sweeps.
- *a crash* in the middle of storing leaves a file in one storage that no row names: an unused file, too.

A storage that lost files, or joined later, is filled by ``copy_files(near, far)`` of `depot_lite.maintenance`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar

from depot_lite.errors import StorageFailed, StoredFileNotFound
from depot_lite.io.composite import CompositeStorage
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.stored import FileInfo, StoredFile

T = TypeVar("T")

_log = logging.getLogger("depot_lite")


class MirrorStorage(CompositeStorage):
    """Writes to all storages before it returns, reads from the first that can, and deletes from all.

    URLs are those of the first storage that has any. A file that a browser sends goes through the application, which
    stores it in all.

    Args:
        storages: the one to read from first.
    """

    @property
    def concurrency(self) -> int:
        """How many transfers at once any of them gains from."""
        return max(each.concurrency for each in self._storages)

    # --- storing ---------------------------------------------------------------------------------------------------

    def _save(self, file_id: str, content: Content) -> FileInfo:
        _ = content.content_type  # before the bytes: those of a stream come once
        if not content.rereadable:
            content.spool()
        return self._in_all(file_id, lambda each: each._save(file_id, content))

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        return self._in_all(file_id, lambda each: self._copied(each, source_id, file_id))

    def _copied(self, storage: FileStorage, source_id: str, file_id: str) -> FileInfo:
        try:
            return storage._copy(source_id, file_id)
        except StoredFileNotFound:  # this one has lost it, or joined later
            others = (each for each in self._storages if each is not storage and each._exists(source_id))
            holder = next(others, None)
            if holder is None:
                raise
            return storage._save_from(holder, source_id, file_id)

    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        return self._in_all(file_id, lambda each: each._save_from(source, source_id, file_id))

    def _in_all(self, file_id: str, store: Callable[[FileStorage], FileInfo]) -> FileInfo:
        """Store a file in all storages, or in none, and return what the first one says of it."""
        infos: list[FileInfo] = []
        for each in self._storages:
            try:
                infos.append(store(each))
            except BaseException as error:
                self._undo(file_id, self._storages[: len(infos)], each)
                if isinstance(error, StorageFailed):
                    error.add_note(f"{file_id} could not be stored in {each!r}, and so in none")
                raise
        return infos[0]

    @staticmethod
    def _undo(file_id: str, done: Iterable[FileStorage], failed: FileStorage) -> None:
        """Let storages hold what they held before; the one that failed does, as it left everything as it was.

        Where it does not answer, nothing is deleted: there may be rows that name an older file with this id. That of a
        flush, which was never used before, goes with its rollback.
        """
        for each in done:
            try:
                if failed._exists(file_id):
                    each._save_from(failed, file_id, file_id)
                else:
                    each._delete(file_id)
            except Exception as error:
                _log.error("%s is in %r and not in %r, and is left to maintenance: %s", file_id, each, failed, error)

    # --- reading ---------------------------------------------------------------------------------------------------

    def _first(self, file_id: str, ask: Callable[[FileStorage], T]) -> T:
        failure: StorageFailed | None = None
        for each in self._storages:
            try:
                return ask(each)
            except StoredFileNotFound:
                _log.warning("%s is not in %r", file_id, each)
            except StorageFailed as error:
                _log.warning("%s cannot be had from %r: %s", file_id, each, error)
                failure = failure or error
        if failure is not None:  # it may have the file
            raise failure
        raise self._missing(file_id)

    def _exists(self, file_id: str) -> bool:
        try:
            self._first(file_id, _found(file_id))
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
            failed = each._delete_many(file_ids) | failed
        return failed

    # --- URLs ------------------------------------------------------------------------------------------------------

    @property
    def has_urls(self) -> bool:
        """Whether any of them may have URLs of its own."""
        return any(each.has_urls for each in self._storages)

    def public_url(self, file_or_id: StoredFile | str) -> str | None:
        """Return the URL of the first storage that has any."""
        return next((url for each in self._storages if (url := each.public_url(file_or_id)) is not None), None)

    def url(
        self,
        file_or_id: StoredFile | str,
        *,
        expires_in: int | timedelta | None = None,
        filename: str | None = None,
        disposition: str | None = None,
        content_type: str | None = None,
    ) -> str | None:
        """Return the URL of the first storage that has any."""
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


def _found(file_id: str) -> Callable[[FileStorage], bool]:
    def ask(storage: FileStorage) -> bool:
        if not storage._exists(file_id):
            raise StoredFileNotFound(file_id)
        return True

    return ask
