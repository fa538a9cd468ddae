"""Ids, deletion, replacement and copies."""
# ruff: noqa: S101  # these are tests

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from depot_lite.errors import InvalidFileId, StoredFileNotFound
from depot_lite.io.fileid import new_file_id, note_id
from depot_lite.io.interfaces import StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.testing.content import some_bytes
from depot_lite.testing.rules import LARGE, Rules, raising, read

BAD_IDS: Final = ("", "..", "../../etc/passwd", "x", "B3A1C6DE-0000-4000-8000-000000000000", None, 7, "a" * 36)


class ChangingRules(Rules):
    """Ids, deletion, replacement and copies."""

    # --- existing and missing files ----------------------------------------------------------------------------------

    def test_missing_files_are_not_found(self, tmp_path: Path) -> None:
        """Reading, replacing and copying a missing file raise `StoredFileNotFound`; it does not exist."""
        storage, missing = self.make_storage(tmp_path), new_file_id()
        for has_others in (False, True):
            attempts: list[Callable[[], object]] = [
                lambda: storage.get(missing),
                lambda: storage.replace(missing, b"new", "a.txt"),
                lambda: storage.copy(missing),
                lambda: storage.save_from(MemoryFileStorage(), missing),
                lambda: storage.save_from(MemoryFileStorage(), missing, file_id=missing),
                lambda: storage.save_from(storage, missing),
            ]
            for attempt in attempts:
                with raising(StoredFileNotFound, "a missing file was found"):
                    attempt()
            assert not storage.exists(missing)
            if not has_others:
                storage.create(b"another file")
        assert len(list(storage.list())) == 1, "an attempt on a missing file stored one"

    def test_a_given_id_is_used(self, tmp_path: Path) -> None:
        """``create`` and ``copy`` store under a given ``file_id``, and return it."""
        storage, first, second = self.make_storage(tmp_path), new_file_id(), new_file_id()
        assert storage.create(b"1", file_id=first) == first
        assert storage.copy(first, file_id=second) == second
        assert (read(storage, first), read(storage, second)) == (b"1", b"1")

    def test_deleting_removes_and_twice_is_no_error(self, tmp_path: Path) -> None:
        """No method finds a deleted file; deleting it again, or a file that never existed, is no error."""
        storage = self.make_storage(tmp_path)
        file_id, kept = storage.create(b"gone"), storage.create(b"kept")
        with storage.get(file_id) as file:
            assert storage.exists(file_id)
            assert storage.exists(file)
            storage.delete(file)
        storage.delete(file_id)
        storage.delete(new_file_id())
        assert not storage.exists(file_id)
        with raising(StoredFileNotFound, "a deleted file was found"):
            storage.get(file_id)
        assert list(storage.list()) == [kept]
        assert read(storage, kept) == b"kept"

    def test_many_are_deleted_at_once(self, tmp_path: Path) -> None:
        """``delete_many`` removes the given files only; missing and repeated ids are no errors."""
        storage = self.make_storage(tmp_path)
        file_ids = [storage.create(str(number).encode()) for number in range(5)]
        kept = storage.create(b"kept")
        with storage.get(file_ids[0]) as file:
            to_delete: list[StoredFile | str] = [*file_ids, new_file_id(), file]
            failed = storage.delete_many(iter(to_delete))
        assert failed == {}, f"deleting failed: {failed}"
        assert not any(map(storage.exists, file_ids))
        assert list(storage.list()) == [kept]
        assert storage.delete_many([]) == {}

    def test_invalid_file_ids_are_refused_everywhere(self, tmp_path: Path) -> None:
        """Every method raises `InvalidFileId` before it changes anything."""
        storage = self.make_storage(tmp_path)
        kept = storage.create(b"kept")
        for bad in BAD_IDS:
            attempts: list[Callable[[Any], object]] = [
                storage.get,
                storage.exists,
                storage.delete,
                storage.copy,
                lambda bad: storage.replace(bad, b"new"),
                lambda bad: storage.delete_many([kept, bad]),
                lambda bad: storage.save_from(storage, bad),
            ]
            if bad is not None:
                attempts.append(lambda bad: storage.create(b"new", file_id=bad))
                attempts.append(lambda bad: storage.copy(kept, file_id=bad))
                attempts.append(lambda bad: storage.save_from(storage, kept, file_id=bad))
            for attempt in attempts:
                with raising(InvalidFileId, f"{bad!r} was taken for a file id"):
                    attempt(bad)
        assert list(storage.list()) == [kept], "a method with an invalid id changed the storage"
        assert read(storage, kept) == b"kept"

    # --- replace and copy --------------------------------------------------------------------------------------------

    def test_the_storage_tells_the_time(self, tmp_path: Path) -> None:
        """Before anything is stored, and afterwards; by its own clock, which may be some minutes wrong."""
        storage = self.make_storage(tmp_path)
        for _ in range(2):
            now = storage.now()
            assert now.tzinfo is not None, "now() has no time zone"
            assert abs(now - datetime.now(UTC)) < timedelta(hours=1)
            storage.create(b"x")

    def test_what_is_not_kept_is_not_brought_back(self, tmp_path: Path) -> None:
        """Neither a file that never existed nor an existing one."""
        storage = self.make_storage(tmp_path)
        assert storage.undelete(new_file_id()) is False
        assert storage.undelete(storage.create(b"x")) is False

    def test_a_note_is_no_file(self, tmp_path: Path) -> None:
        """It is read back and replaced, it is not listed, and other methods refuse its id."""
        storage = self.make_storage(tmp_path)
        kept = storage.create(b"kept")
        assert storage.read_note("owners") is None
        storage.write_note("owners", b"text")
        storage.write_note("owners", b"another")
        assert storage.read_note("owners") == b"another"
        assert storage.read_note("trash") is None
        assert list(storage.list()) == [kept], "a note was listed"
        for call in (storage.get, storage.delete, storage.exists, storage.entry):
            with raising(InvalidFileId, "a method accepted the id of a note"):
                call(note_id(1))
        storage.write_note("owners", b"")
        assert storage.read_note("owners") is None, "an empty note was not removed"

    def test_no_change_of_a_note_is_lost(self, tmp_path: Path) -> None:
        """Others are made between the reading and the writing: all are in the note, unless it is not conditional."""
        storage, calls = self.make_storage(tmp_path), list[bytes]()

        def change(note: bytes) -> bytes:
            calls.append(note)
            if len(calls) == 1:
                storage.update_note("trash", lambda other: other + b"theirs ")
                storage.update_note("trash", lambda other: other + b"too ")
            return note + b"ours "

        for before in (b"", b"earlier "):
            calls.clear()
            storage.write_note("trash", before)
            storage.update_note("trash", change)
            allowed = {b"theirs too ours "} | (set() if storage.notes_are_conditional else {b"ours "})
            assert (storage.read_note("trash") or b"").removeprefix(before) in allowed, "a change of a note was lost"
        storage.update_note("trash", lambda _: b"")
        assert storage.read_note("trash") is None, "an empty note is none"
        storage.update_note("trash", lambda note: note + b"again")
        assert storage.read_note("trash") == b"again"

    def test_replacing_keeps_the_id(self, tmp_path: Path) -> None:
        """The bytes change; name and type change if given; the number of files stays."""
        storage = self.make_storage(tmp_path)
        file_id = storage.create(b"old content", "old.txt", "text/x-old")
        assert storage.replace(file_id, b"new") == file_id
        file = storage.get(file_id)
        assert (file.read(), file.content_length) == (b"new", 3)
        assert (file.filename, file.content_type) == ("old.txt", "text/x-old")
        file.close()
        assert storage.replace(storage.get(file_id), b"newer", "new.csv", "text/csv") == file_id
        file = storage.get(file_id)
        assert (file.read(), file.filename, file.content_type) == (b"newer", "new.csv", "text/csv")
        file.close()
        assert list(storage.list()) == [file_id]

    def test_a_file_of_another_storage_is_stored_under_its_id(self, tmp_path: Path) -> None:
        """``backup.replace(file, file)`` stores the file under its id, whether the id exists or not."""
        storage, other = self.make_storage(tmp_path), MemoryFileStorage()
        file_id = other.create(b"one", "a.txt", "text/plain")
        for data in (b"one", b"two"):
            other.replace(file_id, data)
            with other.get(file_id) as file:
                assert storage.replace(file, file) == file_id
            with storage.get(file_id) as stored:
                assert (stored.read(), stored.filename, stored.content_type) == (data, "a.txt", "text/plain")

    def test_a_copy_is_independent(self, tmp_path: Path) -> None:
        """A copy has the bytes, name and type of its source, an id of its own, and outlives the source."""
        storage, data = self.make_storage(tmp_path), some_bytes(LARGE)
        source = storage.create(data, "a.bin", "application/x-a")
        first, second = storage.copy(source), storage.copy(storage.get(source))
        assert len({source, first, second}) == 3
        storage.replace(first, b"changed")
        assert read(storage, source) == data, "replacing a copy changed its source"
        storage.delete(source)
        with storage.get(second) as copy:
            assert (copy.read(), copy.filename, copy.content_type) == (data, "a.bin", "application/x-a")
            assert copy.content_length == len(data)
