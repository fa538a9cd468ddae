"""Failures, and threads that work side by side."""
# ruff: noqa: S101  # these are tests

from __future__ import annotations

import io
import itertools
import threading
from pathlib import Path

from depot_lite.errors import InvalidContent, StoredFileNotFound
from depot_lite.io.fileid import new_file_id
from depot_lite.testing.content import BreakingFile, some_bytes
from depot_lite.testing.rules import LARGE, Rules, in_threads, raising, read


class FailingRules(Rules):
    """Failures, and threads that work side by side."""

    # --- failures ----------------------------------------------------------------------------------------------------

    def test_a_failed_create_leaves_no_file(self, tmp_path: Path) -> None:
        """A stream that breaks off, early or late, leaves no file that can be read, found or listed."""
        storage = self.make_storage(tmp_path)
        for size in (0, 10, LARGE, 3 * LARGE):
            file_id = new_file_id()
            with raising(Exception, "a broken stream was stored"):
                storage.create(BreakingFile(size), "a.txt", file_id=file_id)
            assert not storage.exists(file_id)
            with raising(StoredFileNotFound, "a partial file can be read"):
                storage.get(file_id)
        assert list(storage.list()) == [], "a failed create left a file behind"

    def test_a_failed_replace_leaves_the_old_file(self, tmp_path: Path) -> None:
        """The old file stays complete, with its name and type, and no other file is left."""
        storage, data = self.make_storage(tmp_path), some_bytes(LARGE)
        file_id = storage.create(data, "old.txt", "text/x-old")
        for size in (0, 10, 2 * LARGE):
            with raising(Exception, "a broken stream was stored"):
                storage.replace(file_id, BreakingFile(size), "new.txt", "text/x-new")
        with storage.get(file_id) as file:
            assert (file.read(), file.filename, file.content_type) == (data, "old.txt", "text/x-old")
        assert list(storage.list()) == [file_id]

    def test_text_is_refused(self, tmp_path: Path) -> None:
        """``str`` and other objects that are not content raise `InvalidContent`, and no file is stored."""
        storage = self.make_storage(tmp_path)
        file_id = storage.create(b"old")
        for bad in ("text", io.StringIO("text"), 7, None):
            with raising(InvalidContent, f"{bad!r} was stored"):
                storage.create(bad)
            with raising(InvalidContent, f"{bad!r} was stored"):
                storage.replace(file_id, bad)
        assert list(storage.list()) == [file_id]
        assert read(storage, file_id) == b"old"

    def test_the_callers_file_is_left_as_it_was(self, tmp_path: Path) -> None:
        """The file is read from its start, whatever its position; it is neither closed nor moved."""
        storage, data = self.make_storage(tmp_path), some_bytes(LARGE)
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
                assert read(storage, file_id) == data

    # --- threads -----------------------------------------------------------------------------------------------------

    def test_threads_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """Files that several threads store, read, copy and delete at once are all complete."""
        storage = self.make_storage(tmp_path)

        def work(number: int) -> list[str]:
            kept = []
            for turn in range(5):
                data = some_bytes(50_000 + turn, number)
                file_id = storage.create(data)
                assert read(storage, storage.copy(file_id)) == data
                storage.delete(storage.create(data))
                kept.append(file_id)
            assert [read(storage, each) for each in kept] == [some_bytes(50_000 + turn, number) for turn in range(5)]
            return kept

        kept = in_threads(work, 4)
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

        in_threads(guarded, 3)
        assert list(storage.list()) == [file_id]
