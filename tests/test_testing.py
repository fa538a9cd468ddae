"""The contract, tested by sabotage: for each of its tests a storage that breaks the rule, and that it objects to."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from uuid import NAMESPACE_URL, uuid5

import pytest

from depot_lite.errors import StorageFailed, StoredFileNotFound, UnknownDepot
from depot_lite.io.content import Content
from depot_lite.io.fileid import is_note_id, new_file_id, note_id
from depot_lite.io.interfaces import FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import StorageContract, temporary_depots

CONTRACT = [name for name in dir(StorageContract) if name.startswith("test_")]
SABOTAGES: list[tuple[str, type[FileStorage]]] = []


def breaks(test: str) -> Callable[[type[FileStorage]], type[FileStorage]]:
    """Enter a storage as one that this test of the contract has to object to."""

    def enter(storage_class: type[FileStorage]) -> type[FileStorage]:
        SABOTAGES.append((test, storage_class))
        return storage_class

    return enter


def run(test: str, storage_class: type[FileStorage], tmp_path: Path) -> None:
    class Contract(StorageContract):
        def make_storage(self, tmp_path: Path) -> FileStorage:
            return storage_class()

    getattr(Contract(), test)(tmp_path)


@pytest.mark.parametrize("test", CONTRACT)
def test_the_contract_accepts_a_storage_that_works(test: str, tmp_path: Path) -> None:
    run(test, MemoryFileStorage, tmp_path)


# --- the saboteurs ----------------------------------------------------------------------------------------------------


class Altered(MemoryFileStorage):
    """Stores the result of ``altered`` instead of the content."""

    def _save(self, file_id: str, content: Content) -> FileInfo:
        super()._save(file_id, content)
        self._files[file_id] = self.altered(*self._files[file_id])
        return self._files[file_id][0]

    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        raise NotImplementedError


@breaks("test_bytes_come_back")
class LosesTheLastByte(Altered):
    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        return info, data[:-1]


@breaks("test_bytes_come_back")
class LosesWhatIsLarge(Altered):
    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        return info, data[: 2**20]


@breaks("test_bytes_come_back")
class TellsAWrongLength(Altered):
    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        return replace(info, content_length=info.content_length + 1), data


@breaks("test_every_kind_of_content_is_stored")
class AsksForTheTypeTooLate(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        with content.open() as source:
            data = source.read()
        return super()._save(file_id, Content.of(data, content.filename, content.content_type))


@breaks("test_every_kind_of_content_is_stored")
class ReadsOncePerFile(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        content_type = content.content_type
        with content.open() as source:
            data = source.read1() if isinstance(source, io.BufferedReader) else source.read()
        return super()._save(file_id, Content.of(data, content.filename, content_type))


@breaks("test_the_source_of_a_move_is_removed_after_storing")
class RemovesTheSourceItself(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        info = super()._save(file_id, content)
        content.release()
        return info


@breaks("test_names_come_back")
class KnowsAsciiOnly(Altered):
    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        return replace(info, filename=info.filename.encode("ascii", "replace").decode()), data


@breaks("test_names_come_back")
class QuotesNames(Altered):
    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        return replace(info, filename=info.filename.replace('"', "'")), data


@breaks("test_names_come_back")
class CallsNamelessFilesDifferently(Altered):
    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        return replace(info, filename=info.filename.replace("unnamed", "file")), data


@breaks("test_two_files_of_one_name_are_two_files")
class UsesTheNameAsKey(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        return super()._save(str(uuid5(NAMESPACE_URL, content.filename or file_id)), content)


@breaks("test_content_types_come_back")
class ForgetsTheType(Altered):
    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        return replace(info, content_type="application/octet-stream"), data


@breaks("test_last_modified_is_the_time_of_storing")
class TellsNoZone(Altered):
    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        return replace(info, last_modified=info.last_modified.replace(tzinfo=None)), data


@breaks("test_last_modified_is_the_time_of_storing")
class TellsAnOldTime(Altered):
    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        return replace(info, last_modified=datetime(2001, 1, 1, tzinfo=UTC)), data


@breaks("test_a_checksum_is_right")
class SumsTheWrongBytes(Altered):
    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        return replace(info, checksum="crc32:00000000"), data


@breaks("test_a_checksum_is_right")
class SumsWithoutAName(Altered):
    def altered(self, info: FileInfo, data: bytes) -> tuple[FileInfo, bytes]:
        return replace(info, checksum=(info.checksum or "").partition(":")[2]), data


@breaks("test_save_describes_the_stored_file")
class TellsLessThanItStored(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        return replace(super()._save(file_id, content), content_length=0)


class OwnFile(MemoryFileStorage):
    """Opens files as its ``File``."""

    File: type[StoredFile]

    def _open(self, file_id: str) -> StoredFile:
        info, data = self._find(file_id)
        return self.File(info, lambda: io.BytesIO(data))


@breaks("test_a_file_can_be_read_in_pieces")
class GivesAllInOneChunk(OwnFile):
    class File(StoredFile):
        def __iter__(self) -> Iterator[bytes]:
            yield self.read()


@breaks("test_a_file_can_be_read_in_pieces")
class FillsABufferWithTheStart(OwnFile):
    class File(StoredFile):
        def readinto(self, buffer: Any, /) -> int:
            self.seek(0)
            return super().readinto(buffer)


@breaks("test_a_file_can_be_read_in_pieces")
class IgnoresTheSize(OwnFile):
    class File(StoredFile):
        def read1(self, size: int = -1, /) -> bytes:
            return self.read()


@breaks("test_a_file_can_seek")
class SeeksFromTheStartOnly(OwnFile):
    class File(StoredFile):
        def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
            return super().seek(abs(offset))


@breaks("test_a_file_can_seek")
class CannotSeekBackwards(OwnFile):
    class File(StoredFile):
        def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
            return super().seek(max(offset, self.tell()) if whence == io.SEEK_SET else offset, whence)


@breaks("test_a_closed_file_is_not_read")
class OpensAgain(OwnFile):
    class File(StoredFile):
        def _raw(self) -> BinaryIO:
            return self._opener()


@breaks("test_two_readers_do_not_disturb_each_other")
class SharesItsStreams(MemoryFileStorage):
    def __init__(self) -> None:
        super().__init__()
        self._streams: dict[str, BinaryIO] = {}

    def _open(self, file_id: str) -> StoredFile:
        info, data = self._find(file_id)
        return StoredFile(info, lambda: self._streams.setdefault(file_id, io.BytesIO(data)))


@breaks("test_local_path_holds_the_bytes")
class TellsAWrongPath(OwnFile):
    class File(StoredFile):
        @property
        def local_path(self) -> Path:
            return Path(__file__)


@breaks("test_local_path_holds_the_bytes")
class TellsNoUrl(MemoryFileStorage):
    def public_url(self, file_or_id: StoredFile | str) -> Any:
        return 7


@breaks("test_missing_files_are_not_found")
class GivesAnEmptyFileForNone(MemoryFileStorage):
    def _find(self, file_id: str) -> tuple[FileInfo, bytes]:
        nothing = FileInfo(file_id, "unnamed", "text/plain", 0, datetime.now(UTC)), b""
        return self._files.get(file_id, nothing)


@breaks("test_missing_files_are_not_found")
class RaisesItsOwnError(MemoryFileStorage):
    def _find(self, file_id: str) -> tuple[FileInfo, bytes]:
        return self._files[file_id]


@breaks("test_missing_files_are_not_found")
class ReplacesWhatIsNotThere(MemoryFileStorage):
    def replace(
        self,
        file_or_id: StoredFile | str,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        return self.create(content, filename, content_type, file_id=self._id(file_or_id))


@breaks("test_missing_files_are_not_found")
class CopiesWhatIsNotThere(MemoryFileStorage):
    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        try:
            return super()._copy(source_id, file_id)
        except StoredFileNotFound:
            return self._save(file_id, Content.of(b""))


@breaks("test_missing_files_are_not_found")
class SaysThatAllExist(MemoryFileStorage):
    def _exists(self, file_id: str) -> bool:
        return True


@breaks("test_a_given_id_is_used")
class MakesItsOwnIds(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        return super()._save(new_file_id(), content)


@breaks("test_a_given_id_is_used")
class CopiesUnderItsOwnIds(MemoryFileStorage):
    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        return super()._copy(source_id, new_file_id())


@breaks("test_deleting_removes_and_twice_is_no_error")
class DeletesNothing(MemoryFileStorage):
    def _delete(self, file_id: str) -> None:
        pass


@breaks("test_deleting_removes_and_twice_is_no_error")
class DeletesOnce(MemoryFileStorage):
    def _delete(self, file_id: str) -> None:
        self._find(file_id)
        super()._delete(file_id)


@breaks("test_deleting_removes_and_twice_is_no_error")
class DeletesAll(MemoryFileStorage):
    def _delete(self, file_id: str) -> None:
        self._files.clear()


@breaks("test_the_storage_tells_the_time")
class NowWithoutZone(MemoryFileStorage):
    def _now(self) -> datetime:
        return datetime(2026, 1, 1)  # noqa: DTZ001  # that is the point


@breaks("test_the_storage_tells_the_time")
class NowLongAgo(MemoryFileStorage):
    def _now(self) -> datetime:
        return datetime(2001, 1, 1, tzinfo=UTC)


@breaks("test_what_is_not_kept_is_not_brought_back")
class BringsBackWhatNeverWas(MemoryFileStorage):
    def _undelete(self, file_id: str, *, dry_run: bool) -> bool:
        return True


@breaks("test_a_note_is_no_file")
class ListsNotes(MemoryFileStorage):
    def list(self) -> Iterator[FileEntry]:
        return self._list()


@breaks("test_a_note_is_no_file")
class KeepsNotes(MemoryFileStorage):
    def _delete(self, file_id: str) -> None:
        if not is_note_id(file_id):
            super()._delete(file_id)


@breaks("test_a_note_is_no_file")
class WritesNotesOnce(MemoryFileStorage):
    def write_note(self, name: str, text: bytes) -> None:
        if self.read_note(name) is None:
            super().write_note(name, text)


@breaks("test_no_change_of_a_note_is_lost")
class WritesNotesInAnyCase(MemoryFileStorage):
    def _swap_note(self, file_id: str, text: bytes, version: Any) -> bool:
        return FileStorage._swap_note(self, file_id, text, version)


@breaks("test_no_change_of_a_note_is_lost")
class KeepsEmptyNotes(MemoryFileStorage):
    def read_note(self, name: str) -> bytes | None:
        return self._load_note(note_id(2))


@breaks("test_many_are_deleted_at_once")
class DeletesTheFirstOnly(MemoryFileStorage):
    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        return super()._delete_many(file_ids[:1])


@breaks("test_many_are_deleted_at_once")
class CallsMissingAFailure(MemoryFileStorage):
    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        missing = {each: self._missing(each) for each in file_ids if not self._exists(each)}
        return super()._delete_many(file_ids) | missing


IDS = "test_invalid_file_ids_are_refused_everywhere"


@breaks(IDS)
class GetsAnyId(MemoryFileStorage):
    def get(self, file_or_id: StoredFile | str) -> StoredFile:
        return self._open(self.fileid(file_or_id))


@breaks(IDS)
class LooksForAnyId(MemoryFileStorage):
    def exists(self, file_or_id: StoredFile | str) -> bool:
        return self._exists(self.fileid(file_or_id))


@breaks(IDS)
class DeletesAnyId(MemoryFileStorage):
    def delete(self, file_or_id: StoredFile | str) -> None:
        self._delete(self.fileid(file_or_id))


@breaks(IDS)
class DeletesBeforeItChecks(MemoryFileStorage):
    def delete_many(self, files_or_ids: Any) -> dict[str, Exception]:
        for each in files_or_ids:
            self.delete(each)
        return {}


@breaks(IDS)
class CopiesAnyId(MemoryFileStorage):
    def save_copy(self, file_or_id: StoredFile | str, *, file_id: str | None = None) -> FileInfo:
        return self._copy(self.fileid(file_or_id), file_id or new_file_id())


@breaks(IDS)
class CopiesToAnyId(MemoryFileStorage):
    def save_copy(self, file_or_id: StoredFile | str, *, file_id: str | None = None) -> FileInfo:
        return self._copy(self._id(file_or_id), file_id or new_file_id())


@breaks(IDS)
class SavesUnderAnyId(MemoryFileStorage):
    def save_from(self, source: FileStorage, file_or_id: StoredFile | str, *, file_id: str | None = None) -> FileInfo:
        return self._save_from(source, source._id(file_or_id), file_id or new_file_id())


@breaks(IDS)
class SavesAnyId(MemoryFileStorage):
    def save_from(self, source: FileStorage, file_or_id: StoredFile | str, *, file_id: str | None = None) -> FileInfo:
        source_id = source.fileid(file_or_id)
        return self._save_from(source, source_id, self._id(file_id) if file_id else new_file_id())


@breaks(IDS)
class CreatesAnyId(MemoryFileStorage):
    def save(self, content: Content, *, file_id: str | None = None) -> FileInfo:
        return self._save(file_id or new_file_id(), content)


@breaks(IDS)
class ReplacesAnyId(MemoryFileStorage):
    def replace(
        self,
        file_or_id: StoredFile | str,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        return self._save(self._open(self.fileid(file_or_id)).file_id, Content.of(content)).file_id


@breaks("test_replacing_keeps_the_id")
class ReplacesUnderANewId(MemoryFileStorage):
    def replace(
        self,
        file_or_id: StoredFile | str,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        self.delete(file_or_id)
        return self.create(content, filename, content_type)


@breaks("test_replacing_keeps_the_id")
class ForgetsTheNameAtReplacing(MemoryFileStorage):
    def replace(
        self,
        file_or_id: StoredFile | str,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        return self.create(content, filename, content_type, file_id=self.get(file_or_id).file_id)


@breaks("test_replacing_keeps_the_id")
class KeepsTheOldBytes(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        return self._files[file_id][0] if file_id in self._files else super()._save(file_id, content)


@breaks("test_a_file_of_another_storage_is_stored_under_its_id")
class BacksUpOnlyWhatItHas(MemoryFileStorage):
    def replace(
        self,
        file_or_id: StoredFile | str,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        self.get(file_or_id)
        return super().replace(file_or_id, content, filename, content_type)


@breaks("test_a_copy_is_independent")
class CopiesByReference(MemoryFileStorage):
    def __init__(self) -> None:
        super().__init__()
        self._sources: dict[str, str] = {}

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        self._sources[file_id] = source_id
        return replace(self._find(source_id)[0], file_id=file_id)

    def _find(self, file_id: str) -> tuple[FileInfo, bytes]:
        return super()._find(self._sources.get(file_id, file_id))


@breaks("test_a_copy_is_independent")
class CopiesTheBytesOnly(MemoryFileStorage):
    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        return self._save(file_id, Content.of(self._find(source_id)[1]))


FROM = "test_a_file_is_saved_from_another_storage"


@breaks(FROM)
class SavesTheBytesOnly(MemoryFileStorage):
    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        with source.get(source_id) as file:
            return self._save(file_id, Content.of(file.read()))


@breaks(FROM)
class SavesUnderItsOwnIds(MemoryFileStorage):
    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        return super()._save_from(source, source_id, new_file_id())


@breaks(FROM)
class MovesInsteadOfSaving(MemoryFileStorage):
    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        info = super()._save_from(source, source_id, file_id)
        source.delete(source_id)
        return info


@breaks(FROM)
class TellsOfTheSource(MemoryFileStorage):
    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        return replace(super()._save_from(source, source_id, file_id), checksum="crc32:00000000")


@breaks("test_the_type_of_the_source_is_kept")
class GuessesTheTypeAgain(MemoryFileStorage):
    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        with source.get(source_id) as file:
            return self._save(file_id, Content.of(file))


@breaks("test_a_file_is_saved_from_the_same_storage")
class HasNoFilesForItself(MemoryFileStorage):
    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        return self._save(file_id, Content.of(b"", "a.bin", "application/x-a"))


AGAIN = "test_identical_files_are_not_saved_again"


@breaks(AGAIN)
class SavesAgain(MemoryFileStorage):
    def _same(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo | None:
        return None


@breaks(AGAIN)
class BelievesTheLength(MemoryFileStorage):
    def _same(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo | None:
        return self._info(file_id)


@breaks("test_damaged_files_are_not_saved")
class VerifiesNothing(MemoryFileStorage):
    @staticmethod
    def _verified(file: StoredFile) -> Content:
        return Content.of(file.unverified())


@breaks("test_damaged_files_are_not_saved")
class VerifiesTooLate(MemoryFileStorage):
    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        with source.get(source_id) as file:
            info = self._save(file_id, Content.of(file.unverified()))
        if (info.content_length, info.checksum) != (file.content_length, file.checksum):
            self._delete(file_id)
            raise StorageFailed("damaged")
        return info


@breaks("test_missing_files_are_not_found")
class SavesWhatIsMissing(MemoryFileStorage):
    def _save_from(self, source: FileStorage, source_id: str, file_id: str) -> FileInfo:
        if not source.exists(source_id):
            return self._save(file_id, Content.of(b""))
        return super()._save_from(source, source_id, file_id)


@breaks("test_all_files_are_listed")
class ListsAPageOnly(MemoryFileStorage):
    def _list(self) -> Iterator[FileEntry]:
        yield from list(super()._list())[:10]


@breaks("test_all_files_are_listed")
class ListsTwice(MemoryFileStorage):
    def _list(self) -> Iterator[FileEntry]:
        yield from super()._list()
        yield from super()._list()


@breaks("test_all_files_are_listed")
class ListsWrongSizes(MemoryFileStorage):
    def _list(self) -> Iterator[FileEntry]:
        for each in super()._list():
            yield FileEntry.told(each, each.size + 1, each.last_modified)


@breaks("test_all_files_are_listed")
class ListsOldTimes(MemoryFileStorage):
    def _list(self) -> Iterator[FileEntry]:
        for each in super()._list():
            yield FileEntry.told(each, each.size, datetime(2001, 1, 1, tzinfo=UTC))


@breaks("test_all_files_are_listed")
class NeverKnows(MemoryFileStorage):
    class Entry(FileEntry):
        known = False

    def _list(self) -> Iterator[FileEntry]:
        for each in super()._list():
            yield self.Entry.told(each, each.size, each.last_modified)


@breaks("test_listing_is_lazy_and_survives_deletions")
class ListsAtOnce(MemoryFileStorage):
    def _list(self) -> Any:
        return list(super()._list())


@breaks("test_listing_is_lazy_and_survives_deletions")
class CannotDeleteWhileItLists(MemoryFileStorage):
    def _list(self) -> Iterator[FileEntry]:
        for file_id, (info, _) in self._files.items():
            yield FileEntry.told(file_id, info.content_length, info.last_modified)


@breaks("test_listing_is_lazy_and_survives_deletions")
class GivesSizesOfWhatIsGone(MemoryFileStorage):
    def _list(self) -> Iterator[FileEntry]:
        for each in super()._list():
            yield FileEntry(each, partial(self._look, each))

    def _look(self, file_id: str) -> tuple[int, datetime]:
        info = self._files[file_id][0] if self._exists(file_id) else None
        return (info.content_length if info else 0), datetime.now(UTC)


class StoresAsItReads(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        content_type, data = content.content_type, b""
        with content.open() as source:
            while True:
                super()._save(file_id, Content.of(data, content.filename, content_type))
                chunk = source.read(100_000)
                if not chunk:
                    return self._find(file_id)[0]
                data += chunk


breaks("test_a_failed_create_leaves_no_file")(StoresAsItReads)
breaks("test_a_failed_replace_leaves_the_old_file")(StoresAsItReads)


@breaks("test_a_failed_create_leaves_no_file")
class StoresWhatCame(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        try:
            return super()._save(file_id, content)
        except Exception:
            return super()._save(file_id, Content.of(b"", "broken", "text/plain"))


@breaks("test_a_failed_replace_leaves_the_old_file")
class DeletesBeforeItReplaces(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        self._delete(file_id)
        return super()._save(file_id, content)


@breaks("test_text_is_refused")
class EncodesText(MemoryFileStorage):
    def create(
        self,
        content: object,
        filename: str | None = None,
        content_type: str | None = None,
        *,
        file_id: str | None = None,
    ) -> str:
        data = content.encode() if isinstance(content, str) else content
        return super().create(data, filename, content_type, file_id=file_id)


@breaks("test_the_callers_file_is_left_as_it_was")
class ClosesTheFile(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        info = super()._save(file_id, content)
        content.source.close()
        return info


@breaks("test_the_callers_file_is_left_as_it_was")
class LeavesTheFileAtItsEnd(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        info = super()._save(file_id, content)
        content.source.seek(0, io.SEEK_END)
        return info


@breaks("test_the_callers_file_is_left_as_it_was")
class ReadsFromThePosition(MemoryFileStorage):
    def _save(self, file_id: str, content: Content) -> FileInfo:
        position, content_type = content.source.tell(), content.content_type
        with content.open() as source:
            source.seek(position)
            return super()._save(file_id, Content.of(source.read(), None, content_type))


@breaks("test_threads_do_not_disturb_each_other")
class BelongsToOneThread(MemoryFileStorage):
    def __init__(self) -> None:
        super().__init__()
        self._owner = threading.get_ident()

    def _save(self, file_id: str, content: Content) -> FileInfo:
        if threading.get_ident() != self._owner:
            raise StorageFailed("this storage was made in another thread")
        return super()._save(file_id, content)


@breaks("test_threads_do_not_disturb_each_other")
class KeepsOneUploadInMind(MemoryFileStorage):
    """Two uploads at once use one place for the bytes; the first two meet there for certain."""

    def __init__(self) -> None:
        super().__init__()
        self._meeting = threading.Barrier(2)
        self._numbers = itertools.count()
        self._current = Content.of(b"")

    def _save(self, file_id: str, content: Content) -> FileInfo:
        if next(self._numbers) >= 2:
            return super()._save(file_id, content)
        self._current = content
        self._meeting.wait(timeout=30)
        current = self._current
        self._meeting.wait(timeout=30)
        return super()._save(file_id, current)


@breaks("test_a_reader_sees_the_old_file_or_the_new_one")
class WritesInPlace(MemoryFileStorage):
    """Half of the new bytes are there before the other half; the second comes when a reader has seen the first."""

    def __init__(self) -> None:
        super().__init__()
        self._mixed = False
        self._seen = threading.Event()

    def _save(self, file_id: str, content: Content) -> FileInfo:
        if file_id in self._files:
            info, old = self._files[file_id]
            with content.open() as source:
                self._files[file_id] = info, source.read(1000) + old[1000:]
            self._mixed = True
            self._seen.wait(timeout=30)
        return super()._save(file_id, content)

    def _open(self, file_id: str) -> StoredFile:
        mixed, found = self._mixed, super()._open(file_id)
        if mixed:
            self._seen.set()
        return found


# --- the contract's verdict on them -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("test", "storage_class"), SABOTAGES, ids=lambda each: getattr(each, "__name__", each))
@pytest.mark.matrix
def test_the_contract_objects_to(test: str, storage_class: type[FileStorage], tmp_path: Path) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever a test raises is an objection
        run(test, storage_class, tmp_path)
    assert not isinstance(caught.value, AttributeError | NameError), "the saboteur is broken itself"


def test_every_test_of_the_contract_has_a_saboteur() -> None:
    """A test that never objects proves nothing."""
    assert set(CONTRACT) == {test for test, _ in SABOTAGES}


# --- temporary depots -------------------------------------------------------------------------------------------------


def test_temporary_depots_are_gone_afterwards() -> None:
    """Inside there is nothing of the outer configuration; afterwards it is there again, and nothing else."""
    with temporary_depots() as outer:
        outside = outer.configure("default", MemoryFileStorage())
        with temporary_depots() as inner:
            with pytest.raises(UnknownDepot):
                inner.get("default")
            inner.configure("inside", MemoryFileStorage())
        assert DepotManager.get("default") is outside
        with pytest.raises(UnknownDepot):
            DepotManager.get("inside")


def failing_test() -> None:
    with temporary_depots() as manager:
        manager.configure("inside", MemoryFileStorage())
        raise KeyError


def test_temporary_depots_are_gone_after_a_test_that_failed() -> None:
    with temporary_depots():
        with pytest.raises(KeyError):
            failing_test()
        with pytest.raises(UnknownDepot):
            DepotManager.get("inside")
