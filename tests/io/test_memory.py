"""MemoryFileStorage: the contract, and that it takes any option."""

from __future__ import annotations

from pathlib import Path

from depot_lite.io.interfaces import FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.testing import StorageContract


class TestMemoryFileStorage(StorageContract):
    def make_storage(self, tmp_path: Path) -> MemoryFileStorage:
        return MemoryFileStorage()

    def test_it_accepts_the_options_of_any_storage(self) -> None:
        """A test's settings may stay those of the storage that it stands for."""
        storage = MemoryFileStorage("./media", storage_path="./media", bucket="b", durable="no")
        assert storage.get(storage.create(b"x")).read() == b"x"

    def test_it_writes_no_file(self, tmp_path: Path) -> None:
        """Also where its options name a folder."""
        MemoryFileStorage(storage_path=tmp_path).create(b"x")
        assert list(tmp_path.iterdir()) == []


class Plain(MemoryFileStorage):
    """A backend that cannot copy by itself."""

    _copy = FileStorage._copy


def test_a_backend_that_cannot_copy_reads_and_stores() -> None:
    storage = Plain()
    source = storage.create(b"words", "a.txt", "text/plain")
    copied = storage.copy(source)
    storage.delete(source)
    with storage.get(copied) as file:
        assert (file.read(), file.filename, file.content_type) == (b"words", "a.txt", "text/plain")


def test_file_info_is_taken_from_the_existing_file_if_there_is_no_name() -> None:
    """Filedepot's method for backends."""
    storage = MemoryFileStorage()
    with storage.get(storage.create(b"old", "old.txt", "text/plain")) as old:
        for existing in (old, lambda: old):
            assert storage.fileinfo(b"new", existing=existing)[1:] == ("old.txt", "text/plain")
        assert storage.fileinfo(b"new", "new.txt", existing=old)[1] == "new.txt"
    assert storage.fileinfo(b"new")[1] == "unnamed"
