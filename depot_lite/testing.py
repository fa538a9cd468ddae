"""For tests: the contract that every storage passes, and depots that last for one test.

The tests of a backend are a factory and its own cases:

    from depot_lite.testing import StorageContract

    class TestMyStorage(StorageContract):
        def make_storage(self, tmp_path):
            return MyStorage(tmp_path / "files")

pytest then runs every rule of `depot_lite.io.interfaces` against it. The factory gives an empty storage each time it
is called; what has to be taken down afterwards belongs in an autouse fixture of the class. To see the values that an
assertion compared, put ``pytest.register_assert_rewrite("depot_lite.testing")`` into ``conftest.py``.
"""
# ruff: noqa: S101  # assertions are what a test is made of, also one that ships

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
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileInfo, FileStorage, StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager

_Result = TypeVar("_Result")

_LARGE: Final = 5 * 1024 * 1024 + 3
_BAD_IDS: Final = ("", "..", "../../etc/passwd", "x", "B3A1C6DE-0000-4000-8000-000000000000", None, 7, "a" * 36)


@contextmanager
def temporary_depots() -> Iterator[type[DepotManager]]:
    """Give the `DepotManager` with nothing configured; at the end it is what it was before.

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
    """Return bytes that are the same for the same arguments and do not repeat."""
    return random.Random(seed).randbytes(size)  # noqa: S311  # test data keeps no secret


class BreakingFile(io.RawIOBase):
    """A stream that gives some bytes and then fails, as an upload does whose client has gone."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer until there is nothing left, then raise ConnectionResetError."""
        if not self._left:
            raise ConnectionResetError("the client has gone")
        count = min(self._left, len(buffer))
        buffer[:count] = b"x" * count
        self._left -= count
        return count


class StorageContract(ABC):
    """What a storage has to do, as pytest tests; a subclass gives ``make_storage``."""

    @abstractmethod
    def make_storage(self, tmp_path: Path) -> FileStorage:
        """Return an empty storage of the kind under test; ``tmp_path`` is pytest's."""

    # --- what was stored comes back -------------------------------------------------------------------------------

    def test_bytes_come_back(self, tmp_path: Path) -> None:
        """Empty, small and large content comes back byte for byte, with its length."""
        storage = self.make_storage(tmp_path)
        for size in (0, 1, 1000, 65536, _LARGE):
            data = some_bytes(size)
            file_id = storage.create(data)
            with storage.get(file_id) as file:
                assert file.content_length == size, f"{size} bytes were stored, content_length is {file.content_length}"
                assert file.read() == data, f"{size} bytes were stored, others were read"
                assert file.read() == b"", "there is something behind the end"

    def test_every_kind_of_content_is_stored(self, tmp_path: Path) -> None:
        """Bytes, buffers, paths, files, streams and another storage's files are stored, large ones too."""
        storage, data = self.make_storage(tmp_path), some_bytes(_LARGE)
        path = tmp_path / "content.bin"
        path.write_bytes(data)
        other = MemoryFileStorage()
        for content in (bytearray(data), memoryview(data), path, io.BytesIO(data), _Stream(data), FileIntent(data)):
            assert _read(storage, storage.create(content)) == data, f"{type(content).__name__} was stored wrongly"
        with path.open("rb") as opened, other.get(other.create(data)) as stored:
            assert _read(storage, storage.create(opened)) == data, "a file on disk was stored wrongly"
            assert _read(storage, storage.create(stored)) == data, "another storage's file was stored wrongly"

    def test_the_source_of_a_move_is_gone_once_it_is_stored(self, tmp_path: Path) -> None:
        """``FileIntent(path, move=True)`` hands the file over; ``save`` leaves it until ``release``."""
        storage, path = self.make_storage(tmp_path), tmp_path / "moved.bin"
        path.write_bytes(b"moved")
        content = Content.of(FileIntent(path, move=True))
        first = storage.save(content).file_id
        assert path.exists(), "save() has removed the source before release()"
        second = storage.create(FileIntent(path, move=True))
        assert not path.exists(), "create() has left the source"
        assert _read(storage, first) == _read(storage, second) == b"moved"

    def test_names_come_back(self, tmp_path: Path) -> None:
        """The user's name is metadata: non-ASCII, quotes and spaces come back; without one it is ``unnamed``."""
        storage = self.make_storage(tmp_path)
        names = ("plan.pdf", "Grüße aus Köln.txt", "写真.jpg", "a \"b\" 'c' %41+&;=.txt", " spaces  in.txt", "n" * 200)
        for name in names:
            wanted = Content.of(b"", name).filename
            file = storage.get(storage.create(b"x", name))
            assert file.filename == wanted, f"{name!r} was given, {file.filename!r} came back"
            assert file.name == file.filename
        assert storage.get(storage.create(b"x")).filename == "unnamed"
        hostile = storage.get(storage.create(b"x", "../a\r\nSet-Cookie: b\x00/../c.txt")).filename
        assert not set("\r\n\0/") & set(hostile), f"{hostile!r} is dangerous as a name"

    def test_two_files_of_one_name_are_two_files(self, tmp_path: Path) -> None:
        """The key is the file id, so equal names never meet."""
        storage = self.make_storage(tmp_path)
        first, second = storage.create(b"one", "photo.jpg"), storage.create(b"two", "photo.jpg")
        assert first != second
        assert (_read(storage, first), _read(storage, second)) == (b"one", b"two")

    def test_content_types_come_back(self, tmp_path: Path) -> None:
        """The type is the declared one where the bytes do not tell, else what they tell."""
        storage = self.make_storage(tmp_path)
        for content_type in ("text/plain", "application/x-thing+json", "text/plain; charset=utf-8"):
            wanted = Content.of(b"words", "a", content_type).content_type
            assert storage.get(storage.create(b"words", "a", content_type)).content_type == wanted
        assert storage.get(storage.create(b"%PDF-1.7\n1 0 obj\n")).content_type == "application/pdf"

    def test_last_modified_is_the_time_of_storing(self, tmp_path: Path) -> None:
        """``last_modified`` is aware, in UTC, and now, give or take the clock of a server."""
        storage = self.make_storage(tmp_path)
        path = tmp_path / "old.bin"
        path.write_bytes(b"old")
        for content in (b"new", path):
            when = storage.get(storage.create(content)).last_modified
            assert when.utcoffset() == timedelta(0), f"{when!r} is no time in UTC"
            assert abs(datetime.now(UTC) - when) < timedelta(minutes=5), f"{when} is not the time of storing"

    def test_a_checksum_is_right(self, tmp_path: Path) -> None:
        """Where there is a checksum, it is ``algorithm:hexadecimal digest`` of the bytes."""
        storage = self.make_storage(tmp_path)
        for size in (0, 10, _LARGE):
            data = some_bytes(size)
            file_id = storage.create(io.BytesIO(data))
            for each in (file_id, storage.copy(file_id)):
                checksum = storage.get(each).checksum
                assert checksum is None or checksum == _checksum(checksum.partition(":")[0], data), (
                    f"{checksum} is wrong"
                )

    def test_save_tells_what_was_stored(self, tmp_path: Path) -> None:
        """``save`` and ``save_copy`` return what ``get`` tells, without asking the storage again."""
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
        """``read(n)``, ``read1``, ``readinto`` and iteration give the bytes in order, from where the file stands."""
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
            assert file.read(10) == b"", "there is something behind the end"

    def test_a_closed_file_is_not_read(self, tmp_path: Path) -> None:
        """The context manager closes; closing again is no error; reading then is a ValueError, opened before or not."""
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
        """Each ``get`` gives a file of its own."""
        storage = self.make_storage(tmp_path)
        file_id = storage.create(b"abcdef")
        with storage.get(file_id) as one, storage.get(file_id) as two:
            assert (one.read(2), two.read(4), one.read(), two.read()) == (b"ab", b"abcd", b"cdef", b"ef")

    def test_local_path_holds_the_bytes(self, tmp_path: Path) -> None:
        """Where a file tells a ``local_path``, its bytes are there; ``public_url`` is a string or None."""
        storage = self.make_storage(tmp_path)
        file_id = storage.create(b"here")
        with storage.get(file_id) as file:
            assert file.local_path is None or file.local_path.read_bytes() == b"here"
            for url in (file.public_url, storage.public_url(file_id)):
                assert url is None or isinstance(url, str)

    # --- there or not ---------------------------------------------------------------------------------------------

    def test_what_is_missing_is_not_found(self, tmp_path: Path) -> None:
        """Reading, replacing and copying what is not there raise `StoredFileNotFound`; it does not exist."""
        storage, missing = self.make_storage(tmp_path), new_file_id()
        for there in (False, True):
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
            if not there:
                storage.create(b"another file")
        assert len(list(storage.list())) == 1, "an attempt on a missing file has stored something"

    def test_a_given_id_is_used(self, tmp_path: Path) -> None:
        """``create`` and ``copy`` store under the ``file_id`` they are given, and return it."""
        storage, first, second = self.make_storage(tmp_path), new_file_id(), new_file_id()
        assert storage.create(b"1", file_id=first) == first
        assert storage.copy(first, file_id=second) == second
        assert (_read(storage, first), _read(storage, second)) == (b"1", b"1")

    def test_deleting_removes_and_twice_is_no_error(self, tmp_path: Path) -> None:
        """A deleted file is gone from every method; deleting it again, or what never was, is no error."""
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
        """``delete_many`` removes all it is given, missing and repeated ids included, and nothing else."""
        storage = self.make_storage(tmp_path)
        file_ids = [storage.create(str(number).encode()) for number in range(5)]
        kept = storage.create(b"kept")
        with storage.get(file_ids[0]) as file:
            doomed: list[StoredFile | str] = [*file_ids, new_file_id(), file]
            failed = storage.delete_many(iter(doomed))
        assert failed == {}, f"deleting failed: {failed}"
        assert not any(map(storage.exists, file_ids))
        assert list(storage.list()) == [kept]
        assert storage.delete_many([]) == {}

    def test_what_is_no_file_id_is_refused_everywhere(self, tmp_path: Path) -> None:
        """Every method raises `InvalidFileId` before it does anything."""
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
        assert list(storage.list()) == [kept], "a method with a bad id has changed the storage"
        assert _read(storage, kept) == b"kept"

    # --- replace and copy -----------------------------------------------------------------------------------------

    def test_replacing_keeps_the_id(self, tmp_path: Path) -> None:
        """The bytes change; name and type do where given, else they stay; there is one file as before."""
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
        """``backup.replace(file, file)`` stores the file with its id, there before or not."""
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
        assert _read(storage, source) == data, "replacing a copy has changed its source"
        storage.delete(source)
        with storage.get(second) as copy:
            assert (copy.read(), copy.filename, copy.content_type) == (data, "a.bin", "application/x-a")
            assert copy.content_length == len(data)

    # --- files of other storages ----------------------------------------------------------------------------------

    def test_a_file_is_saved_from_another_storage(self, tmp_path: Path) -> None:
        """``save_from`` stores bytes, name and type of a file that stays where it is, and tells what was stored."""
        storage, other = self.make_storage(tmp_path), MemoryFileStorage()
        for size, given in ((0, None), (10, new_file_id()), (_LARGE, new_file_id()), (_LARGE + 1, None)):
            data = some_bytes(size)
            source = other.create(data, "Grüße.txt", "application/x-a")
            for each in (source, other.get(source)):
                info = storage.save_from(other, each, file_id=given)
                assert given in {None, info.file_id}, f"{given} was given, {info.file_id} is where it was stored"
                with storage.get(info.file_id) as file:
                    assert (file.read(), file.content_length) == (data, size), "other bytes were stored"
                    assert (file.filename, file.content_type) == ("Grüße.txt", "application/x-a")
                    assert (info.filename, info.content_type) == ("Grüße.txt", "application/x-a")
                    assert (info.content_length, info.checksum) == (size, file.checksum)
                    assert file.checksum is None or file.checksum == _checksum(file.checksum.partition(":")[0], data)
            assert _read(other, source) == data, "the source has changed"

    def test_a_type_that_the_bytes_deny_is_saved_too(self, tmp_path: Path) -> None:
        """The type is that of the source, which was found when it was stored, and is not guessed a second time."""
        storage, other = self.make_storage(tmp_path), _Mislabelled()
        info = storage.save_from(other, other.create(b"%PDF-1.7\n1 0 obj\n", "a.bin"))
        assert info.content_type == storage.get(info.file_id).content_type == "application/x-own"

    def test_a_file_is_saved_from_the_same_storage(self, tmp_path: Path) -> None:
        """It is a copy then; under its own id it is what it was."""
        storage, data = self.make_storage(tmp_path), some_bytes(_LARGE)
        source = storage.create(data, "a.bin", "application/x-a")
        copied = storage.save_from(storage, source).file_id
        assert copied != source
        assert storage.save_from(storage, source, file_id=source).file_id == source
        for each in (source, copied):
            with storage.get(each) as file:
                assert (file.read(), file.filename, file.content_type) == (data, "a.bin", "application/x-a")
        assert sorted(storage.list()) == sorted([source, copied])

    def test_what_is_there_already_is_not_saved_again(self, tmp_path: Path) -> None:
        """Where the same bytes are under the id, none is read; other bytes of that length are replaced."""
        storage, other, file_id = self.make_storage(tmp_path), _Counting(), new_file_id()
        source = other.create(some_bytes(1000, 1), "a.bin")
        storage.create(some_bytes(1000, 2), "b.bin", file_id=file_id)
        first = storage.save_from(other, source, file_id=file_id)
        assert (_read(storage, file_id), first.filename) == (some_bytes(1000, 1), "a.bin"), "other bytes were kept"
        comparable = first.checksum is not None and first.checksum.startswith("crc32:")
        other.reads = 0
        second = storage.save_from(other, source, file_id=file_id)
        assert not (comparable and other.reads), "what was there already was read again"
        assert (second.file_id, second.filename, second.content_length) == (file_id, "a.bin", 1000)
        assert _read(storage, file_id) == some_bytes(1000, 1)

    def test_what_is_damaged_is_not_saved(self, tmp_path: Path) -> None:
        """Bytes that are not those of the checksum, too few or too many: nothing is stored, what was there stays."""
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
        assert list(storage.list()) == [file_id], "what is damaged has left something"
        with storage.get(file_id) as file:
            assert (file.read(), file.filename) == (b"old", "old.txt")

    # --- listing --------------------------------------------------------------------------------------------------

    def test_all_files_are_listed(self, tmp_path: Path) -> None:
        """Each id comes once, as a string that knows size and time; an empty storage lists nothing."""
        storage = self.make_storage(tmp_path)
        assert list(storage.list()) == []
        sizes = {storage.create(b"x" * size): size for size in range(20)}
        storage.replace(next(iter(sizes)), b"")
        entries = list(storage.list())
        assert sorted(entries) == sorted(sizes), "what is listed is not what is there"
        for entry in entries:
            assert isinstance(entry, str)
            assert entry.size == sizes[entry], f"{entry.size} is not the size of the file"
            assert entry.last_modified.utcoffset() == timedelta(0)
            assert abs(datetime.now(UTC) - entry.last_modified) < timedelta(minutes=5)
            assert entry.known, "size and time were told, and are not known"

    def test_listing_is_lazy_and_bears_deletions(self, tmp_path: Path) -> None:
        """``list`` is an iterator; files deleted meanwhile have no size, or the one that was listed."""
        storage = self.make_storage(tmp_path)
        file_ids = {storage.create(b"x") for _ in range(10)}
        assert isinstance(storage.list(), Iterator), "list() gives no iterator"
        seen = set()
        for entry in storage.list():
            storage.delete(entry)
            with suppress(StoredFileNotFound):
                assert entry.size == 1, "a deleted file has another size than it had"
            seen.add(entry)
        assert seen == file_ids
        assert list(storage.list()) == []

    # --- failures -------------------------------------------------------------------------------------------------

    def test_a_failed_create_leaves_nothing(self, tmp_path: Path) -> None:
        """A stream that breaks off, early or late, leaves no file: neither to read, nor to find, nor to list."""
        storage = self.make_storage(tmp_path)
        for size in (0, 10, _LARGE, 3 * _LARGE):
            file_id = new_file_id()
            with _raising(Exception, "a stream that broke off was stored"):
                storage.create(BreakingFile(size), "a.txt", file_id=file_id)
            assert not storage.exists(file_id)
            with _raising(StoredFileNotFound, "half a file can be read"):
                storage.get(file_id)
        assert list(storage.list()) == [], "a failed create has left something"

    def test_a_failed_replace_leaves_the_old_file(self, tmp_path: Path) -> None:
        """After it the old file is there, whole, with its name; and nothing else."""
        storage, data = self.make_storage(tmp_path), some_bytes(_LARGE)
        file_id = storage.create(data, "old.txt", "text/x-old")
        for size in (0, 10, 2 * _LARGE):
            with _raising(Exception, "a stream that broke off was stored"):
                storage.replace(file_id, BreakingFile(size), "new.txt", "text/x-new")
        with storage.get(file_id) as file:
            assert (file.read(), file.filename, file.content_type) == (data, "old.txt", "text/x-old")
        assert list(storage.list()) == [file_id]

    def test_text_is_refused(self, tmp_path: Path) -> None:
        """``str`` and what is no content raise `InvalidContent`, and nothing is stored."""
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
        """It is read from its start whatever its position, and neither closed nor moved."""
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
        """Files stored, read, copied and deleted by several threads at once are all whole."""
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
        """While a file is replaced, whoever reads gets one of the versions, whole, with the name that belongs to it."""
        storage = self.make_storage(tmp_path)
        versions = {f"{number}.bin": some_bytes(400_000 + number, number) for number in range(3)}
        file_id = storage.create(versions["0.bin"], "0.bin")
        done = threading.Event()

        def work(number: int) -> None:
            if number == 0:
                for name in list(versions) * 10:
                    # A reader that saw a mixture has stopped all.
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
    """Says of each file a type of its own."""

    def _find(self, file_id: str) -> tuple[FileInfo, bytes]:
        info, data = super()._find(file_id)
        return replace(info, content_type="application/x-own"), data


class _Counting(MemoryFileStorage):
    """Knows how often bytes of a file were asked for."""

    reads = 0

    def _open(self, file_id: str) -> StoredFile:
        info, data = self._find(file_id)

        def opened() -> BinaryIO:
            self.reads += 1
            return io.BytesIO(data)

        return StoredFile(info, opened)


class _Damaged(MemoryFileStorage):
    """Gives other bytes than were stored."""

    def __init__(self, damaged: bytes) -> None:
        super().__init__()
        self._damaged = damaged

    def _find(self, file_id: str) -> tuple[FileInfo, bytes]:
        return super()._find(file_id)[0], self._damaged


class _Stream(io.RawIOBase):
    """Bytes that come once and in uneven pieces, as from a socket."""

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
    raise AssertionError(f"{otherwise}: {expected.__name__} is wanted")


def _read(storage: FileStorage, file_or_id: StoredFile | str) -> bytes:
    with storage.get(file_or_id) as file:
        return file.read()


def _checksum(algorithm: str, data: bytes) -> str:
    digest = f"{zlib.crc32(data):08x}" if algorithm == "crc32" else hashlib.new(algorithm, data).hexdigest()
    return f"{algorithm}:{digest}"


def _in_threads(work: Callable[[int], _Result], count: int) -> list[_Result]:
    """Return what ``work(0)`` ... give, each in a thread of its own; raise the first thing that one of them raised."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))
