"""Files of other storages, and listings."""
# ruff: noqa: S101  # these are tests

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from depot_lite.errors import StorageFailed, StoredFileNotFound
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileInfo, StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.testing.content import some_bytes
from depot_lite.testing.rules import LARGE, Rules, checksum_of, raising, read


class TransferRules(Rules):
    """Files of other storages, and listings."""

    # --- files of other storages -------------------------------------------------------------------------------------

    def test_a_file_is_saved_from_another_storage(self, tmp_path: Path) -> None:
        """``save_from`` copies bytes, name and type of a file, and describes the stored file; the source stays."""
        storage, other = self.make_storage(tmp_path), MemoryFileStorage()
        for size, given in ((0, None), (10, new_file_id()), (LARGE, new_file_id()), (LARGE + 1, None)):
            data = some_bytes(size)
            source = other.create(data, "Grüße.txt", "application/x-a")
            for each in (source, other.get(source)):
                info = storage.save_from(other, each, file_id=given)
                assert given in {None, info.file_id}, f"expected the id {given}, got {info.file_id}"
                with storage.get(info.file_id) as file:
                    assert (file.read(), file.content_length) == (data, size), "other bytes were stored"
                    assert (file.filename, file.content_type) == ("Grüße.txt", "application/x-a")
                    assert (info.filename, info.content_type) == ("Grüße.txt", "application/x-a")
                    assert (info.content_length, info.checksum) == (size, file.checksum)
                    assert file.checksum is None or file.checksum == checksum_of(file.checksum.partition(":")[0], data)
            assert read(other, source) == data, "the source changed"

    def test_the_type_of_the_source_is_kept(self, tmp_path: Path) -> None:
        """The type was detected when the source was stored and is not detected again, even if the bytes contradict."""
        storage, other = self.make_storage(tmp_path), Mislabelled()
        info = storage.save_from(other, other.create(b"%PDF-1.7\n1 0 obj\n", "a.bin"))
        assert info.content_type == storage.get(info.file_id).content_type == "application/x-mislabelled"

    def test_a_file_is_saved_from_the_same_storage(self, tmp_path: Path) -> None:
        """Without an id this is a copy; under its own id the file stays as it is."""
        storage, data = self.make_storage(tmp_path), some_bytes(LARGE)
        source = storage.create(data, "a.bin", "application/x-a")
        copied = storage.save_from(storage, source).file_id
        assert copied != source
        assert storage.save_from(storage, source, file_id=source).file_id == source
        for each in (source, copied):
            with storage.get(each) as file:
                assert (file.read(), file.filename, file.content_type) == (data, "a.bin", "application/x-a")
        assert sorted(storage.list()) == sorted([source, copied])

    def test_identical_files_are_not_saved_again(self, tmp_path: Path) -> None:
        """If the id already has the same bytes, none are read; other bytes of the same length are replaced."""
        storage, other, file_id = self.make_storage(tmp_path), Counting(), new_file_id()
        source = other.create(some_bytes(1000, 1), "a.bin")
        storage.create(some_bytes(1000, 2), "b.bin", file_id=file_id)
        first = storage.save_from(other, source, file_id=file_id)
        assert (read(storage, file_id), first.filename) == (some_bytes(1000, 1), "a.bin"), "other bytes were kept"
        comparable = first.checksum is not None and first.checksum.startswith("crc32:")
        other.reads = 0
        second = storage.save_from(other, source, file_id=file_id)
        assert not (comparable and other.reads), "an identical file was read again"
        assert (second.file_id, second.filename, second.content_length) == (file_id, "a.bin", 1000)
        assert read(storage, file_id) == some_bytes(1000, 1)

    def test_damaged_files_are_not_saved(self, tmp_path: Path) -> None:
        """If bytes do not match the checksum or the length, no file is stored, and an existing one stays."""
        storage, file_id = self.make_storage(tmp_path), new_file_id()
        storage.create(b"old", "old.txt", file_id=file_id)
        for size in (1000, LARGE):
            data = some_bytes(size)
            for damaged in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1], data + b"x", b""):
                other = Damaged(damaged)
                source = other.create(data)
                for given in (None, file_id):
                    with raising(StorageFailed, f"{len(damaged)} damaged bytes were stored"):
                        storage.save_from(other, source, file_id=given)
        assert list(storage.list()) == [file_id], "a damaged file was left behind"
        with storage.get(file_id) as file:
            assert (file.read(), file.filename) == (b"old", "old.txt")

    # --- listing -----------------------------------------------------------------------------------------------------

    def test_all_files_are_listed(self, tmp_path: Path) -> None:
        """Each id is listed once, as a string with size and time; an empty storage lists none."""
        storage = self.make_storage(tmp_path)
        assert list(storage.list()) == []
        sizes = {storage.create(b"x" * size): size for size in range(20)}
        storage.replace(next(iter(sizes)), b"")
        entries = list(storage.list())
        assert sorted(entries) == sorted(sizes), "the listing differs from the stored files"
        for entry in entries:
            assert isinstance(entry, str)
            assert entry.size == sizes[entry], f"expected the size {sizes[entry]}, got {entry.size}"
            assert entry.last_modified.utcoffset() == timedelta(0)
            assert abs(datetime.now(UTC) - entry.last_modified) < timedelta(minutes=5)
            assert entry.known, "size and time were read, but are not known"

    def test_listing_is_lazy_and_survives_deletions(self, tmp_path: Path) -> None:
        """``list`` reads as it goes, and anew each time; a file deleted meanwhile has no size or the listed one."""
        storage = self.make_storage(tmp_path)
        file_ids = {storage.create(b"x") for _ in range(10)}
        listing = storage.list()
        assert isinstance(storage._list(), Iterator), "_list() did not return an iterator"
        assert set(listing) == set(listing) == file_ids, "list() can be iterated only once"
        seen = set()
        for entry in listing:
            storage.delete(entry)
            with suppress(StoredFileNotFound):
                assert entry.size == 1, "a deleted file has another size than before"
            seen.add(entry)
        assert seen == file_ids
        assert list(storage.list()) == []


class Mislabelled(MemoryFileStorage):
    """A storage that reports another type than was stored."""

    def _find(self, file_id: str) -> tuple[FileInfo, bytes]:
        info, data = super()._find(file_id)
        return replace(info, content_type="application/x-mislabelled"), data


class Counting(MemoryFileStorage):
    """A storage that counts how often a file's bytes are requested."""

    reads = 0

    def _open(self, file_id: str) -> StoredFile:
        info, data = self._find(file_id)

        def opened() -> BinaryIO:
            self.reads += 1
            return io.BytesIO(data)

        return StoredFile(info, opened)


class Damaged(MemoryFileStorage):
    """A storage that returns other bytes than were stored."""

    def __init__(self, damaged: bytes) -> None:
        super().__init__()
        self._damaged = damaged

    def _find(self, file_id: str) -> tuple[FileInfo, bytes]:
        return super()._find(file_id)[0], self._damaged
