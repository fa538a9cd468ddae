"""A stored file comes back: its bytes, name, type, time and checksum."""
# ruff: noqa: S101  # these are tests

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

from depot_lite.io.content import Content, FileIntent
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.testing.content import Stream, some_bytes
from depot_lite.testing.rules import LARGE, Rules, checksum_of, raising, read


class StoringRules(Rules):
    """A stored file comes back: its bytes, name, type, time and checksum."""

    # --- stored files come back --------------------------------------------------------------------------------------

    def test_bytes_come_back(self, tmp_path: Path) -> None:
        """Empty, small and large content comes back byte for byte, with its length."""
        storage = self.make_storage(tmp_path)
        for size in (0, 1, 1000, 65536, LARGE):
            data = some_bytes(size)
            file_id = storage.create(data)
            with storage.get(file_id) as file:
                assert file.content_length == size, f"expected content_length {size}, got {file.content_length}"
                assert file.read() == data, f"of {size} stored bytes, other bytes were read"
                assert file.read() == b"", "bytes were read beyond the end"

    def test_every_kind_of_content_is_stored(self, tmp_path: Path) -> None:
        """Bytes, buffers, paths, files, streams and another storage's files are stored, large ones too."""
        storage, data = self.make_storage(tmp_path), some_bytes(LARGE)
        path = tmp_path / "content.bin"
        path.write_bytes(data)
        other = MemoryFileStorage()
        for content in (bytearray(data), memoryview(data), path, io.BytesIO(data), Stream(data), FileIntent(data)):
            assert read(storage, storage.create(content)) == data, f"{type(content).__name__} was stored incorrectly"
        with path.open("rb") as opened, other.get(other.create(data)) as stored:
            assert read(storage, storage.create(opened)) == data, "a file on disk was stored incorrectly"
            assert read(storage, storage.create(stored)) == data, "another storage's file was stored incorrectly"

    def test_the_source_of_a_move_is_removed_after_storing(self, tmp_path: Path) -> None:
        """``FileIntent(path, move=True)`` gives the file away; ``save`` keeps the source until ``release``."""
        storage, path = self.make_storage(tmp_path), tmp_path / "moved.bin"
        path.write_bytes(b"moved")
        content = Content.of(FileIntent(path, move=True))
        first = storage.save(content).file_id
        assert path.exists(), "save() removed the source before release()"
        second = storage.create(FileIntent(path, move=True))
        assert not path.exists(), "create() did not remove the source"
        assert read(storage, first) == read(storage, second) == b"moved"

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
        assert (read(storage, first), read(storage, second)) == (b"one", b"two")

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
        for size in (0, 10, LARGE):
            data = some_bytes(size)
            file_id = storage.create(io.BytesIO(data))
            for each in (file_id, storage.copy(file_id)):
                checksum = storage.get(each).checksum
                assert checksum is None or checksum == checksum_of(checksum.partition(":")[0], data), (
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

    # --- the file that get() returns ---------------------------------------------------------------------------------

    def test_a_file_can_be_read_in_pieces(self, tmp_path: Path) -> None:
        """``read(n)``, ``read1``, ``readinto`` and iteration return the bytes in order, from the file's position."""
        storage, data = self.make_storage(tmp_path), some_bytes(LARGE)
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
                with raising(ValueError, "a closed file was read"):
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
