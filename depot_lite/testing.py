"""Test support: the contract that every storage passes, and depots that last for one test.

The tests of a backend are a factory and the backend's special cases:

    from depot_lite.testing import StorageContract

    class TestMyStorage(StorageContract):
        def make_storage(self, tmp_path):
            return MyStorage(tmp_path / "files")

pytest then runs every rule of `depot_lite.io.interfaces` against it. The factory returns an empty storage on each call;
cleaning up belongs in an autouse fixture of the class. To see the values that an assertion compared, put
``pytest.register_assert_rewrite("depot_lite.testing")`` into ``conftest.py``.
"""
# ruff: noqa: S101  # tests assert, also those that ship

from __future__ import annotations

import hashlib
import io
import itertools
import random
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from depot_lite.errors import InvalidContent, InvalidFileId, StorageFailed, StoredFileNotFound
from depot_lite.io.content import Content, FileIntent
from depot_lite.io.fileid import new_file_id, note_id
from depot_lite.io.interfaces import FileInfo, FileStorage, StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager

_Result = TypeVar("_Result")

_LARGE: Final = 5 * 1024 * 1024 + 3
_BAD_IDS: Final = ("", "..", "../../etc/passwd", "x", "B3A1C6DE-0000-4000-8000-000000000000", None, 7, "a" * 36)


@contextmanager
def temporary_depots() -> Iterator[type[DepotManager]]:
    """Provide the `DepotManager` without any configuration, and restore the previous one at the end.

    >>> with temporary_depots() as manager:
    ...     _ = manager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
    ...     manager.get_file("default/" + manager.get().create(b"Hello")).read()
    b'Hello'
    """
    before = DepotManager._snapshot()
    DepotManager._clear()
    try:
        yield DepotManager
    finally:
        DepotManager._restore(before)


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Return pseudo-random bytes, which are the same for the same arguments."""
    return random.Random(seed).randbytes(size)  # noqa: S311  # test data is no secret


class BreakingFile(io.RawIOBase):
    """A stream that fails after some bytes, like an upload whose client disconnects."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer until no bytes are left, then raise ConnectionResetError."""
        if not self._left:
            raise ConnectionResetError("the client has gone")
        count = min(self._left, len(buffer))
        buffer[:count] = b"x" * count
        self._left -= count
        return count


class StorageContract(ABC):
    """The contract of a storage as pytest tests; a subclass implements ``make_storage``."""

    @abstractmethod
    def make_storage(self, tmp_path: Path) -> FileStorage:
        """Return an empty storage of the kind under test; ``tmp_path`` is pytest's."""

    # --- stored files come back -----------------------------------------------------------------------------------

    def test_bytes_come_back(self, tmp_path: Path) -> None:
        """Empty, small and large content comes back byte for byte, with its length."""
        storage = self.make_storage(tmp_path)
        for size in (0, 1, 1000, 65536, _LARGE):
            data = some_bytes(size)
            file_id = storage.create(data)
            with storage.get(file_id) as file:
                assert file.content_length == size, f"expected content_length {size}, got {file.content_length}"
                assert file.read() == data, f"of {size} stored bytes, other bytes were read"
                assert file.read() == b"", "bytes were read beyond the end"

    def test_every_kind_of_content_is_stored(self, tmp_path: Path) -> None:
        """Bytes, buffers, paths, files, streams and another storage's files are stored, large ones too."""
        storage, data = self.make_storage(tmp_path), some_bytes(_LARGE)
        path = tmp_path / "content.bin"
        path.write_bytes(data)
        other = MemoryFileStorage()
        for content in (bytearray(data), memoryview(data), path, io.BytesIO(data), _Stream(data), FileIntent(data)):
            assert _read(storage, storage.create(content)) == data, f"{type(content).__name__} was stored incorrectly"
        with path.open("rb") as opened, other.get(other.create(data)) as stored:
            assert _read(storage, storage.create(opened)) == data, "a file on disk was stored incorrectly"
            assert _read(storage, storage.create(stored)) == data, "another storage's file was stored incorrectly"

    def test_the_source_of_a_move_is_removed_after_storing(self, tmp_path: Path) -> None:
        """``FileIntent(path, move=True)`` gives the file away; ``save`` keeps the source until ``release``."""
        storage, path = self.make_storage(tmp_path), tmp_path / "moved.bin"
        path.write_bytes(b"moved")
        content = Content.of(FileIntent(path, move=True))
        first = storage.save(content).file_id
        assert path.exists(), "save() removed the source before release()"
        second = storage.create(FileIntent(path, move=True))
        assert not path.exists(), "create() did not remove the source"
        assert _read(storage, first) == _read(storage, second) == b"moved"

    def test_names_come_back(self, tmp_path: Path) -> None:
        """The user's name is metadata: non-ASCII, quotes and spaces come back; without one it is ``unnamed``."""
        storage = self.make_storage(tmp_path)
        names = ("plan.pdf", "Grüße aus Köln.txt", "写真.jpg", "a \"b\" 'c' %41+&;=.txt", " spaces  in.txt", "n" * 200)
        for name in names:
            expected = Content.of(b"", name).filename
            file = storage.get(storage.create(b"x", name))
            assert file.filename == expected, f"expected the name {expected!r}, got {file.filename!r}"
            assert file.name == file.filename
        assert storage.get(storage.create(b"x")).filename == "unnamed"
        hostile = storage.get(storage.create(b"x", "../a\r\nSet-Cookie: b\x00/../c.txt")).filename
        assert not set("\r\n\0/") & set(hostile), f"{hostile!r} is dangerous as a name"

    def test_two_files_of_one_name_are_two_files(self, tmp_path: Path) -> None:
        """The key is the file id, so equal names do not collide."""
        storage = self.make_storage(tmp_path)
        first, second = storage.create(b"one", "photo.jpg"), storage.create(b"two", "photo.jpg")
        assert first != second
        assert (_read(storage, first), _read(storage, second)) == (b"one", b"two")

    def test_content_types_come_back(self, tmp_path: Path) -> None:
        """The type is detected from the bytes; if they do not show it, the declared type counts."""
        storage = self.make_storage(tmp_path)
        for content_type in ("text/plain", "application/x-thing+json", "text/plain; charset=utf-8"):
            expected = Content.of(b"words", "a", content_type).content_type
            assert storage.get(storage.create(b"words", "a", content_type)).content_type == expected
        assert storage.get(storage.create(b"%PDF-1.7\n1 0 obj\n")).content_type == "application/pdf"

    def test_last_modified_is_the_time_of_storing(self, tmp_path: Path) -> None:
        """``last_modified`` is aware, in UTC, and the present time, up to the difference of clocks."""
        storage = self.make_storage(tmp_path)
        path = tmp_path / "old.bin"
        path.write_bytes(b"old")
        for content in (b"new", path):
            when = storage.get(storage.create(content)).last_modified
            assert when.utcoffset() == timedelta(0), f"expected a time in UTC, got {when!r}"
            assert abs(datetime.now(UTC) - when) < timedelta(minutes=5), f"{when} is not the time of storing"

    def test_a_checksum_is_right(self, tmp_path: Path) -> None:
        """A checksum, if there is one, is the ``algorithm:hexadecimal digest`` of the bytes."""
        storage = self.make_storage(tmp_path)
        for size in (0, 10, _LARGE):
            data = some_bytes(size)
            file_id = storage.create(io.BytesIO(data))
            for each in (file_id, storage.copy(file_id)):
                checksum = storage.get(each).checksum
                assert checksum is None or checksum == _checksum(checksum.partition(":")[0], data), (
                    f"{checksum} is wrong"
                )

    def test_save_describes_the_stored_file(self, tmp_path: Path) -> None:
        """``save`` and ``save_copy`` return the same description as ``get``."""
        storage = self.make_storage(tmp_path)
        saved = storage.save(Content.of(b"12345", "five.txt", "text/plain"))
        for info in (saved, storage.save_copy(saved.file_id)):
            file = storage.get(info.file_id)
            assert (info.filename, info.content_type, info.content_length) == ("five.txt", "text/plain", 5)
            assert (file.file_id, file.filename, file.content_type) == (info.file_id, info.filename, info.content_type)
            assert (file.content_length, file.checksum) == (info.content_length, info.checksum)
            assert abs(file.last_modified - info.last_modified) < timedelta(minutes=5)

    # --- the file that get() returns ------------------------------------------------------------------------------

    def test_a_file_can_be_read_in_pieces(self, tmp_path: Path) -> None:
        """``read(n)``, ``read1``, ``readinto`` and iteration return the bytes in order, from the file's position."""
        storage, data = self.make_storage(tmp_path), some_bytes(_LARGE)
        with storage.get(storage.create(data)) as file:
            assert file.readable()
            assert file.tell() == 0
            assert file.read(10) == data[:10]
            assert file.read(0) == b""
            buffer = bytearray(20)
            assert file.readinto(buffer) == 20
            assert bytes(buffer) == data[10:30]
            assert file.tell() == 30
            piece = file.read1(7)
            assert 0 < len(piece) <= 7
            chunks = list(file)
            assert piece + b"".join(chunks) == data[30:]
            assert max(map(len, chunks)) <= 256 * 1024, "a chunk is larger than 256 KiB"
            assert file.readinto(buffer) == 0

    def test_a_file_can_seek(self, tmp_path: Path) -> None:
        """``seek`` works from the start, the position and the end, forwards and backwards."""
        storage, data = self.make_storage(tmp_path), some_bytes(300_000)
        with storage.get(storage.create(data)) as file:
            assert file.seekable()
            assert file.seek(299_000) == 299_000
            assert file.read() == data[299_000:]
            assert file.seek(-5, io.SEEK_END) == 299_995
            assert file.read(2) == data[-5:-3]
            assert file.seek(-3, io.SEEK_CUR) == 299_994
            assert file.read(1) == data[299_994:299_995]
            assert file.seek(0) == 0
            assert file.read() == data
            file.seek(400_000)
            assert file.read(10) == b"", "bytes were read beyond the end"

    def test_a_closed_file_is_not_read(self, tmp_path: Path) -> None:
        """The context manager closes. Closing again is no error; reading is a ValueError, opened before or not."""
        storage = self.make_storage(tmp_path)
        file_id = storage.create(b"text")
        with storage.get(file_id) as unread, storage.get(file_id) as read:
            read.read(1)
        for file in (unread, read):
            assert file.closed
            file.close()
            for attempt in (file.read, file.tell, lambda file=file: file.seek(0), lambda file=file: file.read1(1)):
                with _raising(ValueError, "a closed file was read"):
                    attempt()

    def test_two_readers_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """Each ``get`` returns an independent file."""
        storage = self.make_storage(tmp_path)
        file_id = storage.create(b"abcdef")
        with storage.get(file_id) as one, storage.get(file_id) as two:
            assert (one.read(2), two.read(4), one.read(), two.read()) == (b"ab", b"abcd", b"cdef", b"ef")

    def test_local_path_holds_the_bytes(self, tmp_path: Path) -> None:
        """If a file has a ``local_path``, its bytes are there; ``public_url`` is a string or None."""
        storage = self.make_storage(tmp_path)
        file_id = storage.create(b"here")
        with storage.get(file_id) as file:
            assert file.local_path is None or file.local_path.read_bytes() == b"here"
            for url in (file.public_url, storage.public_url(file_id)):
                assert url is None or isinstance(url, str)

    # --- existing and missing files ---------------------------------------------------------------------------------

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
                with _raising(StoredFileNotFound, "a missing file was found"):
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
        assert (_read(storage, first), _read(storage, second)) == (b"1", b"1")

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
        with _raising(StoredFileNotFound, "a deleted file was found"):
            storage.get(file_id)
        assert list(storage.list()) == [kept]
        assert _read(storage, kept) == b"kept"

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
        for bad in _BAD_IDS:
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
                with _raising(InvalidFileId, f"{bad!r} was taken for a file id"):
                    attempt(bad)
        assert list(storage.list()) == [kept], "a method with an invalid id changed the storage"
        assert _read(storage, kept) == b"kept"

    # --- replace and copy -----------------------------------------------------------------------------------------

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
            with _raising(InvalidFileId, "a method accepted the id of a note"):
                call(note_id(1))
        storage.write_note("owners", b"")
        assert storage.read_note("owners") is None, "an empty note was not removed"

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
        storage, data = self.make_storage(tmp_path), some_bytes(_LARGE)
        source = storage.create(data, "a.bin", "application/x-a")
        first, second = storage.copy(source), storage.copy(storage.get(source))
        assert len({source, first, second}) == 3
        storage.replace(first, b"changed")
        assert _read(storage, source) == data, "replacing a copy changed its source"
        storage.delete(source)
        with storage.get(second) as copy:
            assert (copy.read(), copy.filename, copy.content_type) == (data, "a.bin", "application/x-a")
            assert copy.content_length == len(data)

    # --- files of other storages ----------------------------------------------------------------------------------

    def test_a_file_is_saved_from_another_storage(self, tmp_path: Path) -> None:
        """``save_from`` copies bytes, name and type of a file, and describes the stored file; the source stays."""
        storage, other = self.make_storage(tmp_path), MemoryFileStorage()
        for size, given in ((0, None), (10, new_file_id()), (_LARGE, new_file_id()), (_LARGE + 1, None)):
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
                    assert file.checksum is None or file.checksum == _checksum(file.checksum.partition(":")[0], data)
            assert _read(other, source) == data, "the source changed"

    def test_the_type_of_the_source_is_kept(self, tmp_path: Path) -> None:
        """The type was detected when the source was stored and is not detected again, even if the bytes contradict."""
        storage, other = self.make_storage(tmp_path), _Mislabelled()
        info = storage.save_from(other, other.create(b"%PDF-1.7\n1 0 obj\n", "a.bin"))
        assert info.content_type == storage.get(info.file_id).content_type == "application/x-mislabelled"

    def test_a_file_is_saved_from_the_same_storage(self, tmp_path: Path) -> None:
        """Without an id this is a copy; under its own id the file stays as it is."""
        storage, data = self.make_storage(tmp_path), some_bytes(_LARGE)
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
        storage, other, file_id = self.make_storage(tmp_path), _Counting(), new_file_id()
        source = other.create(some_bytes(1000, 1), "a.bin")
        storage.create(some_bytes(1000, 2), "b.bin", file_id=file_id)
        first = storage.save_from(other, source, file_id=file_id)
        assert (_read(storage, file_id), first.filename) == (some_bytes(1000, 1), "a.bin"), "other bytes were kept"
        comparable = first.checksum is not None and first.checksum.startswith("crc32:")
        other.reads = 0
        second = storage.save_from(other, source, file_id=file_id)
        assert not (comparable and other.reads), "an identical file was read again"
        assert (second.file_id, second.filename, second.content_length) == (file_id, "a.bin", 1000)
        assert _read(storage, file_id) == some_bytes(1000, 1)

    def test_damaged_files_are_not_saved(self, tmp_path: Path) -> None:
        """If bytes do not match the checksum or the length, no file is stored, and an existing one stays."""
        storage, file_id = self.make_storage(tmp_path), new_file_id()
        storage.create(b"old", "old.txt", file_id=file_id)
        for size in (1000, _LARGE):
            data = some_bytes(size)
            for damaged in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1], data + b"x", b""):
                other = _Damaged(damaged)
                source = other.create(data)
                for given in (None, file_id):
                    with _raising(StorageFailed, f"{len(damaged)} damaged bytes were stored"):
                        storage.save_from(other, source, file_id=given)
        assert list(storage.list()) == [file_id], "a damaged file was left behind"
        with storage.get(file_id) as file:
            assert (file.read(), file.filename) == (b"old", "old.txt")

    # --- listing --------------------------------------------------------------------------------------------------

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
        """``list`` is an iterator; a file deleted meanwhile has no size, or the size that was listed."""
        storage = self.make_storage(tmp_path)
        file_ids = {storage.create(b"x") for _ in range(10)}
        assert isinstance(storage._list(), Iterator), "_list() did not return an iterator"
        seen = set()
        for entry in storage.list():
            storage.delete(entry)
            with suppress(StoredFileNotFound):
                assert entry.size == 1, "a deleted file has another size than before"
            seen.add(entry)
        assert seen == file_ids
        assert list(storage.list()) == []

    # --- failures -------------------------------------------------------------------------------------------------

    def test_a_failed_create_leaves_no_file(self, tmp_path: Path) -> None:
        """A stream that breaks off, early or late, leaves no file that can be read, found or listed."""
        storage = self.make_storage(tmp_path)
        for size in (0, 10, _LARGE, 3 * _LARGE):
            file_id = new_file_id()
            with _raising(Exception, "a broken stream was stored"):
                storage.create(BreakingFile(size), "a.txt", file_id=file_id)
            assert not storage.exists(file_id)
            with _raising(StoredFileNotFound, "a partial file can be read"):
                storage.get(file_id)
        assert list(storage.list()) == [], "a failed create left a file behind"

    def test_a_failed_replace_leaves_the_old_file(self, tmp_path: Path) -> None:
        """The old file stays complete, with its name and type, and no other file is left."""
        storage, data = self.make_storage(tmp_path), some_bytes(_LARGE)
        file_id = storage.create(data, "old.txt", "text/x-old")
        for size in (0, 10, 2 * _LARGE):
            with _raising(Exception, "a broken stream was stored"):
                storage.replace(file_id, BreakingFile(size), "new.txt", "text/x-new")
        with storage.get(file_id) as file:
            assert (file.read(), file.filename, file.content_type) == (data, "old.txt", "text/x-old")
        assert list(storage.list()) == [file_id]

    def test_text_is_refused(self, tmp_path: Path) -> None:
        """``str`` and other objects that are not content raise `InvalidContent`, and no file is stored."""
        storage = self.make_storage(tmp_path)
        file_id = storage.create(b"old")
        for bad in ("text", io.StringIO("text"), 7, None):
            with _raising(InvalidContent, f"{bad!r} was stored"):
                storage.create(bad)
            with _raising(InvalidContent, f"{bad!r} was stored"):
                storage.replace(file_id, bad)
        assert list(storage.list()) == [file_id]
        assert _read(storage, file_id) == b"old"

    def test_the_callers_file_is_left_as_it_was(self, tmp_path: Path) -> None:
        """The file is read from its start, whatever its position; it is neither closed nor moved."""
        storage, data = self.make_storage(tmp_path), some_bytes(_LARGE)
        path = tmp_path / "mine.bin"
        path.write_bytes(data)
        with path.open("rb") as on_disk:
            for file in (io.BytesIO(data), on_disk):
                file.seek(1000)
                file_id = storage.create(file)
                storage.replace(file_id, file)
                assert not file.closed, "the caller's file was closed"
                assert file.tell() == 1000, "the caller's file was moved"
                assert file.read(5) == data[1000:1005]
                assert _read(storage, file_id) == data

    # --- threads --------------------------------------------------------------------------------------------------

    def test_threads_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """Files that several threads store, read, copy and delete at once are all complete."""
        storage = self.make_storage(tmp_path)

        def work(number: int) -> list[str]:
            kept = []
            for turn in range(5):
                data = some_bytes(50_000 + turn, number)
                file_id = storage.create(data)
                assert _read(storage, storage.copy(file_id)) == data
                storage.delete(storage.create(data))
                kept.append(file_id)
            assert [_read(storage, each) for each in kept] == [some_bytes(50_000 + turn, number) for turn in range(5)]
            return kept

        kept = _in_threads(work, 4)
        assert len(set(itertools.chain(*kept))) == 20
        assert len(list(storage.list())) == 40

    def test_a_reader_sees_the_old_file_or_the_new_one(self, tmp_path: Path) -> None:
        """While a file is replaced, readers get one complete version, with the name that belongs to it."""
        storage = self.make_storage(tmp_path)
        versions = {f"{number}.bin": some_bytes(400_000 + number, number) for number in range(3)}
        file_id = storage.create(versions["0.bin"], "0.bin")
        done = threading.Event()

        def work(number: int) -> None:
            if number == 0:
                for name in list(versions) * 10:
                    # A reader that saw a mixture has stopped the test.
                    if not done.is_set():
                        storage.replace(file_id, versions[name], name)
                done.set()
            while not done.is_set():
                with storage.get(file_id) as file:
                    data = b"".join(file)
                    assert data == versions[file.filename], "a reader saw a mixture of two versions"
                    assert file.content_length == len(data)

        def guarded(number: int) -> None:
            try:
                work(number)
            finally:
                done.set()

        _in_threads(guarded, 3)
        assert list(storage.list()) == [file_id]


class _Mislabelled(MemoryFileStorage):
    """A storage that reports another type than was stored."""

    def _find(self, file_id: str) -> tuple[FileInfo, bytes]:
        info, data = super()._find(file_id)
        return replace(info, content_type="application/x-mislabelled"), data


class _Counting(MemoryFileStorage):
    """A storage that counts how often a file's bytes are requested."""

    reads = 0

    def _open(self, file_id: str) -> StoredFile:
        info, data = self._find(file_id)

        def opened() -> BinaryIO:
            self.reads += 1
            return io.BytesIO(data)

        return StoredFile(info, opened)


class _Damaged(MemoryFileStorage):
    """A storage that returns other bytes than were stored."""

    def __init__(self, damaged: bytes) -> None:
        super().__init__()
        self._damaged = damaged

    def _find(self, file_id: str) -> tuple[FileInfo, bytes]:
        return super()._find(file_id)[0], self._damaged


class _Stream(io.RawIOBase):
    """A stream that can be read once, in uneven pieces, like a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        piece = self._data.read(min(len(buffer), 9973))
        buffer[: len(piece)] = piece
        return len(piece)


@contextmanager
def _raising(expected: type[Exception], otherwise: str) -> Iterator[None]:
    try:
        yield
    except expected:
        return
    raise AssertionError(f"{otherwise}: expected {expected.__name__}")


def _read(storage: FileStorage, file_or_id: StoredFile | str) -> bytes:
    with storage.get(file_or_id) as file:
        return file.read()


def _checksum(algorithm: str, data: bytes) -> str:
    digest = f"{zlib.crc32(data):08x}" if algorithm == "crc32" else hashlib.new(algorithm, data).hexdigest()
    return f"{algorithm}:{digest}"


def _in_threads(work: Callable[[int], _Result], count: int) -> list[_Result]:
    """Return the results of ``work(0)``, ``work(1)``, ..., each in a thread of its own; raise the first error."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))
