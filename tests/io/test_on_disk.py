"""A file under a path: a link on a local disk, a temporary file elsewhere, and nothing left afterwards."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from depot_lite import DepotManager, StorageFailed, StoredFileNotFound, UploadedFile
from depot_lite.fields.validators.candidate import Candidate
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.io.on_disk import DiskSource, OnDisk
from depot_lite.testing import temporary_depots
from tests.io.backends import Servers, place_on


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.server)])
def value(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Iterator[UploadedFile]:
    """A stored file on a local disk, and in storages that have no paths."""
    with place_on(request.param, tmp_path, servers) as place, temporary_depots():
        DepotManager.configure("default", place.storage("default"))
        value = UploadedFile(b"a,b\n" * 1000, filename="table.csv")
        value.store()
        yield value


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_value_is_a_path_within_the_block(value: UploadedFile, folder: Path) -> None:
    with value.on_disk() as path, value.on_disk() as other:
        assert (path.read_bytes(), path.suffix) == (b"a,b\n" * 1000, ".csv")
        assert path != other
        assert path.parent.stat().st_mode & 0o077 == 0
        if value.file.local_path is not None:
            assert path.samefile(value.file.local_path)
    assert not path.exists()
    assert list(folder.iterdir()) == []
    assert value.file.read() == b"a,b\n" * 1000


def test_an_error_in_the_block_removes_the_path_too(value: UploadedFile, folder: Path) -> None:
    with pytest.raises(RuntimeError, match="scanner"), value.on_disk():
        raise RuntimeError("scanner")
    assert list(folder.iterdir()) == []


def test_async_with(value: UploadedFile, folder: Path) -> None:
    async def size() -> int:
        async with value.on_disk() as path:
            return path.stat().st_size

    assert asyncio.run(size()) == 4000
    assert list(folder.iterdir()) == []


def test_two_tasks_have_paths_of_their_own(value: UploadedFile, folder: Path) -> None:
    async def both() -> tuple[Path, Path]:
        async with value.on_disk() as one, value.file.on_disk() as other:
            assert one.read_bytes() == other.read_bytes() == b"a,b\n" * 1000
        await asyncio.gather(*(size_on_disk() for _ in range(4)))
        return one, other

    async def size_on_disk() -> None:
        async with value.on_disk() as path:
            await asyncio.sleep(0)
            assert path.stat().st_size == 4000

    one, other = asyncio.run(both())
    assert one != other
    assert list(folder.iterdir()) == []


def test_one_context_manager_can_be_used_again_but_not_at_once(value: UploadedFile, folder: Path) -> None:
    """The second path would replace the first one, which nobody would remove then."""
    on_disk = value.on_disk()
    for _ in range(2):
        with on_disk as path:
            with pytest.raises(RuntimeError, match="is in use"), on_disk:
                pytest.fail("two paths from one context manager")
            assert path.stat().st_size == 4000
        assert list(folder.iterdir()) == []


def test_an_error_in_an_async_block_removes_the_path_too(value: UploadedFile, folder: Path) -> None:
    async def fail() -> None:
        async with value.on_disk():
            raise RuntimeError("scanner")

    with pytest.raises(RuntimeError, match="scanner"):
        asyncio.run(fail())
    assert list(folder.iterdir()) == []


def test_a_file_that_is_deleted_meanwhile_stays_within_the_block(value: UploadedFile, folder: Path) -> None:
    with value.on_disk() as path:
        value.depot.delete(value.file_id)
        assert path.read_bytes() == b"a,b\n" * 1000
    assert list(folder.iterdir()) == []
    with pytest.raises(StoredFileNotFound), value.on_disk():
        pytest.fail("a lost file was given")
    assert list(folder.iterdir()) == []


def test_a_stored_file_is_a_path(value: UploadedFile) -> None:
    with value.file as stored, stored.on_disk() as path:
        assert path.read_bytes() == b"a,b\n" * 1000


@pytest.mark.parametrize("read", [0, 6, 4000])
def test_a_stored_file_stands_where_it_was(value: UploadedFile, read: int) -> None:
    with value.file as stored:
        before = stored.read(read)
        with stored.on_disk() as path:
            assert path.read_bytes() == b"a,b\n" * 1000
        assert stored.tell() == read
        assert before + stored.read() == b"a,b\n" * 1000


def test_a_renamed_value_has_the_suffix_of_its_new_name(value: UploadedFile) -> None:
    with value.with_(filename="table.TXT").on_disk() as path:
        assert path.suffix == ".TXT"


@pytest.mark.parametrize(
    ("filename", "content_type", "suffix"),
    [
        ("plan", "application/pdf", ".pdf"),
        ("plan", "application/octet-stream", ""),
        ("a." + "x" * 40, "text/plain", ""),
    ],
)
def test_a_name_without_a_suffix_gets_that_of_its_type(filename: str, content_type: str, suffix: str) -> None:
    with OnDisk(lambda _: DiskSource(filename, content_type, None, lambda: io.BytesIO(b"x"))) as path:
        assert path.suffix == suffix


@pytest.mark.parametrize("stream", [False, True])
def test_a_pending_value_and_a_candidate_can_still_be_stored(tmp_path: Path, stream: bool) -> None:
    class Stream(io.RawIOBase):
        data = io.BytesIO(b"content")

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self.data.readinto(buffer)

    with temporary_depots():
        DepotManager.configure("default", MemoryFileStorage())
        value = UploadedFile(io.BufferedReader(Stream()) if stream else b"content", filename="a.txt")
        with value.on_disk() as path:
            assert (path.read_bytes(), path.suffix) == (b"content", ".txt")
        value.store()
        assert value.file.read() == b"content"
    with Candidate.of(b"content", "b.txt").on_disk() as path:
        assert (path.read_bytes(), path.suffix) == (b"content", ".txt")

    async def of_a_candidate() -> bytes:
        async with Candidate.of(b"content", "b.txt").on_disk() as path:
            return path.read_bytes()

    assert asyncio.run(of_a_candidate()) == b"content"


def test_a_lost_file_and_a_damaged_one_leave_nothing(folder: Path) -> None:
    with temporary_depots():
        storage = DepotManager.configure("default", MemoryFileStorage())
        value = UploadedFile(b"content", filename="a.txt")
        value.store()
        stored = value.file
        stored.info = type(stored.info)(
            **{name: getattr(stored.info, name) for name in stored.info.__slots__ if name != "checksum"},
            checksum="crc32:00000000",
        )
        with pytest.raises(StorageFailed, match="does not match its checksum"), stored.on_disk():
            pytest.fail("a damaged file was given")
        storage.delete(value.file_id)
        with pytest.raises(StoredFileNotFound), value.on_disk():
            pytest.fail("a lost file was given")
    assert list(folder.iterdir()) == []


def test_where_no_link_can_be_made_the_file_is_copied(value: UploadedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    with value.on_disk() as path:
        assert path.read_bytes() == b"a,b\n" * 1000
    monkeypatch.setattr(os, "symlink", refuse)
    with value.on_disk() as path:
        assert (path.read_bytes(), path.is_symlink()) == (b"a,b\n" * 1000, False)


def test_a_task_that_is_cancelled_meanwhile_leaves_nothing(folder: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    def find(closing: ExitStack) -> DiskSource:
        began.set()
        go_on.wait(10)
        return DiskSource("a.txt", "text/plain", None, lambda: io.BytesIO(b"x"))

    async def enter() -> None:
        async with OnDisk(find):
            pytest.fail("it was cancelled")

    async def cancel() -> None:
        task = asyncio.create_task(enter())
        await asyncio.to_thread(began.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        while os.listdir(folder):  # noqa: ASYNC110  # the thread removes it at its end, and tells nobody
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(cancel(), 10))
    assert list(folder.iterdir()) == []
