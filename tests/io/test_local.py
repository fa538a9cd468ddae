"""LocalFileStorage beyond the contract: the files on the disk, when they appear, and which of them survive."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from depot_lite.errors import ConfigurationError, InvalidContent, StorageFailed, StorageFull, StoredFileNotFound
from depot_lite.io.composite.mirror import MirrorStorage
from depot_lite.io.content import Content, FileIntent
from depot_lite.io.content.sources import FileSource, PathSource, Source
from depot_lite.io.fileid import new_file_id
from depot_lite.io.local import LocalFileStorage, LocalStoredFile
from depot_lite.io.local.disk import names_in
from depot_lite.testing import StorageContract, some_bytes

LARGE = 20 * 1024 * 1024 + 7


class TestLocalFileStorage(StorageContract):
    def make_storage(self, tmp_path: Path) -> LocalFileStorage:
        return LocalFileStorage(tmp_path / "files", durable=False)


class TestDurableLocalFileStorageWithSha256(StorageContract):
    def make_storage(self, tmp_path: Path) -> LocalFileStorage:
        return LocalFileStorage(str(tmp_path / "files"), durable="yes", checksum="sha256", file_permissions="640")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def storage(root: Path) -> LocalFileStorage:
    return LocalFileStorage(root, durable=False)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def content_of(storage: LocalFileStorage, file_id: str) -> bytes:
    with storage.get(file_id) as file:
        return file.read()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "file_mode", "folder_mode"),
    [
        (0o600, 0o600, 0o700),
        ("0o640", 0o640, 0o750),
        ("640", 0o640, 0o750),
        (0o644, 0o644, 0o755),
        ("0o666", 0o666, 0o777),
    ],
)
def test_files_and_folders_get_the_permissions_whatever_the_umask(
    root: Path, given: int | str, file_mode: int, folder_mode: int
) -> None:
    """Data, sidecar, shard and root; who may read the files may enter the folders."""
    before = os.umask(0o077)
    try:
        storage = LocalFileStorage(root, file_permissions=given)
        file_id = storage.create(b"x")
    finally:
        os.umask(before)
    shard = root / file_id[:2]
    assert {mode_of(path) for path in shard.iterdir()} == {file_mode}
    assert {mode_of(shard), mode_of(root)} == {folder_mode}


def test_nobody_else_may_read_by_default(root: Path) -> None:
    storage = LocalFileStorage(root)
    path = root / storage.create(b"x")[:2]
    assert mode_of(root) == mode_of(path) == 0o700
    assert {mode_of(each) for each in path.iterdir()} == {0o600}


@pytest.mark.parametrize("given", [None, "none"])
def test_no_permissions_leave_them_to_the_umask(root: Path, given: str | None) -> None:
    before = os.umask(0o027)
    try:
        file_id = LocalFileStorage(root, file_permissions=given).create(b"x")
    finally:
        os.umask(before)
    assert {mode_of(path) for path in (root / file_id[:2]).iterdir()} == {0o640}
    assert mode_of(root / file_id[:2]) == 0o750


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("file_permissions", "rw-r--r--"),
        ("file_permissions", "0o1777"),
        ("file_permissions", 640),
        ("file_permissions", 0o200),
        ("file_permissions", True),
        ("file_permissions", 6.4),
        ("file_permissions", "-600"),
        ("durable", "maybe"),
        ("durable", 3),
        ("durable", ""),
        ("checksum", "md4"),
        ("checksum", None),
    ],
)
def test_a_bad_option_is_named_with_its_value(root: Path, option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LocalFileStorage(root, **{option: value})
    assert option in str(caught.value)
    assert repr(value) in str(caught.value)


def test_an_empty_path_is_refused() -> None:
    """It would mean the working directory."""
    with pytest.raises(ConfigurationError, match="storage_path"):
        LocalFileStorage("")


@pytest.mark.parametrize("word", ["no", "False", "0", " off "])
def test_words_for_no_are_understood(root: Path, word: str) -> None:
    storage = LocalFileStorage(root, durable=word, checksum=word)
    assert storage.get(storage.create(b"x")).checksum is None


def test_constructing_and_reading_make_no_folder(root: Path) -> None:
    storage = LocalFileStorage(root)
    assert list(storage.list()) == []
    assert not storage.exists(new_file_id())
    storage.delete(new_file_id())
    assert not root.exists()


def test_the_path_is_that_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path does not follow the process into another working directory."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    storage = LocalFileStorage("media/files", durable=False)
    monkeypatch.chdir(tmp_path / "elsewhere")
    file_id = storage.create(b"x")
    assert storage.storage_path == str(tmp_path / "media" / "files")
    assert (tmp_path / "media" / "files" / file_id[:2]).is_dir()


def test_a_folder_that_was_removed_is_made_again(storage: LocalFileStorage, root: Path) -> None:
    file_id = storage.create(b"x")
    shutil.rmtree(root)
    storage.create(b"y", file_id=file_id)
    assert content_of(storage, file_id) == b"y"


# --- the layout -------------------------------------------------------------------------------------------------------


def test_a_file_is_data_and_a_sidecar(storage: LocalFileStorage, root: Path) -> None:
    """The sidecar, which other programs may read, tells all that is known and which data is meant."""
    file_id = storage.create(b"hello", "grüße.txt", "text/plain")
    sidecar = json.loads((root / file_id[:2] / f"{file_id}.json").read_bytes())
    data = root / file_id[:2] / sidecar["data"]
    assert files_below(root) == sorted(f"{file_id[:2]}/{name}" for name in (f"{file_id}.json", sidecar["data"]))
    assert data.read_bytes() == b"hello"
    when = datetime.fromisoformat(sidecar.pop("last_modified"))
    assert when.utcoffset() == timedelta(0)
    assert sidecar == {
        "filename": "grüße.txt",
        "content_type": "text/plain",
        "content_length": 5,
        "checksum": f"crc32:{zlib.crc32(b'hello'):08x}",
        "data": data.name,
    }


def test_a_stored_file_tells_its_local_path(storage: LocalFileStorage) -> None:
    with storage.get(storage.create(b"hello")) as file:
        assert isinstance(file, LocalStoredFile)
        assert file.local_path.read_bytes() == b"hello"


def test_the_descriptor_stands_where_the_file_stands(storage: LocalFileStorage) -> None:
    """So a server may read some bytes and send the rest by descriptor."""
    with storage.get(storage.create(b"hello world")) as file:
        file.read(6)
        assert os.read(file.fileno(), 100) == b"world"


def test_foreign_files_are_neither_listed_nor_touched(storage: LocalFileStorage, root: Path) -> None:
    file_id = storage.create(b"x")
    shard, other = root / file_id[:2], new_file_id()
    wrong_shard = "00" if other[:2] != "00" else "01"
    foreign = [
        root / "README",
        root / other,  # a file where filedepot has a folder
        root / "lost+found" / "x",
        root / wrong_shard / f"{other}.json",  # in the shard of other ids
        root / other[:2] / f"{other}.json.bak",
        root / other[:2] / f"{other}.0123456",
        shard / "notes.txt",
        shard / f"{file_id}.json~",
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"foreign")
    assert list(storage.list()) == [file_id]
    storage.delete(file_id)
    storage.delete(file_id)
    assert [path for path in foreign if not path.exists()] == []


def test_deleting_leaves_no_file_behind(storage: LocalFileStorage, root: Path) -> None:
    for content in (b"x", b"y" * LARGE):
        storage.delete(storage.create(content))
    assert files_below(root) == []


def test_replacing_leaves_one_data_file(storage: LocalFileStorage, root: Path) -> None:
    file_id = storage.create(b"one")
    for data in (b"two", b"three"):
        storage.replace(file_id, data)
    assert len(files_below(root)) == 2


def test_deleting_a_whole_file_does_not_read_its_folder(
    storage: LocalFileStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard may hold very many files. Only an id without a sidecar is worth reading it."""
    file_id = storage.create(b"x")
    scanned: list[str] = []
    scandir = os.scandir

    def seen(path: str) -> Any:
        scanned.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", seen)
    storage.delete(file_id)
    assert scanned == []
    storage.delete(file_id)
    assert scanned == [str(root / file_id[:2])]


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".0123abcd", ".0123abcd.tmp"])
def test_what_a_broken_off_upload_left_is_listed_and_deleted_but_not_read(
    storage: LocalFileStorage, root: Path, ending: str
) -> None:
    """Data without a sidecar, and a sidecar that was not renamed yet."""
    file_id = new_file_id()
    leftover = root / file_id[:2] / (file_id + ending)
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    os.utime(leftover, (0, 0))
    assert not storage.exists(file_id)
    with pytest.raises(StoredFileNotFound):
        storage.get(file_id)
    [entry] = storage.list()
    assert (entry, entry.size, entry.unfinished) == (file_id, 4, True)
    # Data that was adopted has the modification time of its source; the sweep has to see when it came.
    assert datetime.now(UTC) - entry.last_modified < timedelta(minutes=5)
    storage.delete(file_id)
    assert files_below(root) == []


def test_a_replacement_that_broke_off_leaves_the_old_file_and_goes_in_the_end(
    storage: LocalFileStorage, root: Path
) -> None:
    file_id = storage.create(b"old")
    (root / file_id[:2] / f"{file_id}.0123abcd").write_bytes(b"half of the new")
    [entry] = storage.list()
    assert (entry.size, entry.unfinished, content_of(storage, file_id)) == (3, False, b"old")
    storage.delete(file_id)
    assert not storage.exists(file_id)
    for entry in storage.list():
        storage.delete(entry)
    assert files_below(root) == []


def test_an_upload_whose_data_was_deleted_meanwhile_fails(storage: LocalFileStorage, root: Path) -> None:
    """Else its sidecar would name nothing, and the row that names it would have lost its file."""
    file_id = new_file_id()

    class Deleting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            storage.delete(file_id)
            return super().read(size)

    with pytest.raises(StorageFailed, match="was deleted while"):
        storage.create(Deleting(b"content"), file_id=file_id)
    assert files_below(root) == []


KILLED = """
import sys, io
from depot_lite.io.local import LocalFileStorage

class Endless(io.RawIOBase):
    given = 0
    def readable(self): return True
    def readinto(self, buffer):
        self.given += len(buffer)
        if self.given > 10_000_000:
            print("writing", flush=True)
            sys.stdin.read()
        buffer[:] = b"x" * len(buffer)
        return len(buffer)

storage = LocalFileStorage(sys.argv[1])
if sys.argv[3] == "replace":
    storage.replace(sys.argv[2], Endless(), "new.txt")
else:
    storage.create(Endless(), "new.txt", file_id=sys.argv[2])
"""


@pytest.mark.parametrize("operation", ["create", "replace"])
def test_a_process_killed_while_it_stores_leaves_no_half_file(
    storage: LocalFileStorage, root: Path, operation: str
) -> None:
    """After SIGKILL the old file is there or none; written parts are listed, and deleted like a file."""
    file_id = storage.create(b"old", "old.txt") if operation == "replace" else new_file_id()
    command = [sys.executable, "-c", KILLED, str(root), file_id, operation]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    half = [path for path in root.rglob("*") if path.is_file() and path.stat().st_size > 1_000_000]
    assert len(half) == 1, "the process had written nothing yet"
    assert list(storage.list()) == [file_id]
    if operation == "replace":
        assert content_of(storage, file_id) == b"old"
    else:
        assert not storage.exists(file_id)
        with pytest.raises(StoredFileNotFound):
            storage.get(file_id)
    for _ in range(2):
        for entry in storage.list():
            storage.delete(entry)
    assert files_below(root) == []


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_files_only() -> Iterator[None]:
    """Let the system refuse files of more than 3 MB, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("kind", ["path", "bytes", "copy", "replace"])
def test_a_refused_write_leaves_nothing(
    storage: LocalFileStorage, root: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """The error is `StorageFailed`, names the file and the operation, keeps the number, and has its cause."""
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * LARGE)
    file_id = new_file_id()
    existing = storage.create(path if kind == "copy" else b"old")
    before = files_below(root)
    attempts: dict[str, Callable[[], object]] = {
        "path": lambda: storage.create(path, file_id=file_id),
        "bytes": lambda: storage.create(b"x" * LARGE, file_id=file_id),
        "copy": lambda: storage.copy(existing, file_id=file_id),
        "replace": lambda: storage.replace(existing, path),
    }
    request.getfixturevalue("small_files_only")
    with pytest.raises(StorageFailed) as caught:
        attempts[kind]()
    assert f"cannot store file {existing if kind == 'replace' else file_id}" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.errno == errno.EFBIG
    assert str(root) not in str(caught.value)
    assert files_below(root) == before
    assert content_of(storage, existing) == (b"x" * LARGE if kind == "copy" else b"old")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("kind", ["path", "bytes", "stream", "copy", "replace", "many"])
def test_a_full_disk_is_told_and_leaves_nothing(small_disk: Path, tmp_path: Path, kind: str) -> None:
    storage = LocalFileStorage(small_disk / "files")
    existing = storage.create(b"x" * 100_000)
    before = files_below(small_disk)
    large = b"y" * 200_000
    path = tmp_path / "large.bin"
    path.write_bytes(large)
    attempts: dict[str, Callable[[], object]] = {
        "path": lambda: storage.create(path),
        "bytes": lambda: storage.create(large),
        "stream": lambda: storage.create(io.BytesIO(large)),
        "copy": lambda: [storage.copy(existing) for _ in range(3)],
        "replace": lambda: storage.replace(existing, large),
        "many": lambda: [storage.create(b"") for _ in range(1000)],
    }
    with pytest.raises(StorageFull) as caught:
        attempts[kind]()
    assert caught.value.errno == errno.ENOSPC
    assert isinstance(caught.value.__cause__, OSError)
    if kind in ("copy", "many"):  # those before the disk was full
        assert {str(each) for each in storage.list()} == {Path(each).stem[:36] for each in files_below(small_disk)}
        assert all(storage.exists(each) for each in storage.list())
    else:
        assert files_below(small_disk) == before
    assert content_of(storage, existing) == b"x" * 100_000


def test_a_mirror_tells_that_one_of_its_disks_is_full(small_disk: Path, root: Path) -> None:
    """And nothing is left in the other."""
    mirror = MirrorStorage(LocalFileStorage(root), LocalFileStorage(small_disk / "files"))
    with pytest.raises(StorageFull):
        mirror.create(b"x" * 300_000)
    assert files_below(root) == files_below(small_disk) == []


def test_a_path_that_is_a_file_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    storage = LocalFileStorage(tmp_path / "file" / "media")
    with pytest.raises(StorageFailed, match=rf"cannot store file .*: Not a directory: '{tmp_path}/file/media"):
        storage.create(b"x")
    assert list(storage.list()) == []


@pytest.mark.parametrize("failing_sync", [1, 2, 3])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("kind", ["create", "replace"])
def test_a_sync_that_fails_is_a_create_that_fails(
    root: Path, monkeypatch: pytest.MonkeyPatch, failing_sync: int, error: BaseException, kind: str
) -> None:
    """Whichever it is: of the data, of the sidecar, or of the folder when the sidecar is in place already."""
    storage = LocalFileStorage(root)
    file_id = storage.create(b"old", "old.txt")
    if kind == "create":
        storage.delete(file_id)
        attempt = partial(storage.create, b"new", "new.txt", file_id=file_id)
    else:
        attempt = partial(storage.replace, file_id, b"new", "new.txt")
    before, sync, calls = files_below(root), os.fsync, []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing_sync:
            raise error
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StorageFailed if isinstance(error, OSError) else KeyboardInterrupt):
            attempt()
    assert len(calls) >= failing_sync
    assert files_below(root) == before
    if kind == "replace":
        with storage.get(file_id) as file:
            assert (file.read(), file.filename) == (b"old", "old.txt")
    else:
        assert not storage.exists(file_id)


def test_a_damaged_sidecar_is_named_and_can_be_deleted(storage: LocalFileStorage, root: Path) -> None:
    """A sidecar that leads out of its folder is damaged too."""
    for text in (b"", b"[]", b"{}", b'{"data": "../../../etc/passwd"}', b"\xff", b"[" * 99_999):
        file_id = storage.create(b"x")
        (root / file_id[:2] / f"{file_id}.json").write_bytes(text)
        with pytest.raises(StorageFailed, match=file_id):
            storage.get(file_id)
        storage.delete(file_id)
        assert files_below(root) == []


@pytest.mark.parametrize("wrong", [{"filename": []}, {"content_type": 5}, {"content_length": "1"}, {"checksum": 5}])
def test_a_sidecar_with_a_wrong_type_is_damaged(storage: LocalFileStorage, root: Path, wrong: dict[str, Any]) -> None:
    file_id = storage.create(b"x")
    sidecar = root / file_id[:2] / f"{file_id}.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_bytes()) | wrong))
    with pytest.raises(StorageFailed, match=f"of file {file_id} is damaged"):
        storage.get(file_id)


def test_a_file_that_is_missing_is_named_with_its_storage(storage: LocalFileStorage, root: Path) -> None:
    with pytest.raises(StoredFileNotFound, match=rf"is not in LocalFileStorage\('{root}'\)$"):
        storage.get(new_file_id())


def test_data_that_is_gone_is_not_found(storage: LocalFileStorage) -> None:
    with storage.get(storage.create(b"x")) as file:
        assert file.local_path is not None
        file.local_path.unlink()
        with pytest.raises(StoredFileNotFound, match=file.file_id):
            file.read()


# --- durable ----------------------------------------------------------------------------------------------------------


def test_data_sidecar_and_every_new_folder_entry_are_synced_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before ``create`` returns; a folder that is known costs no sync of its parents again."""
    synced: list[str] = []
    sync = os.fsync

    def counted(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}").removeprefix(str(tmp_path)))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    storage = LocalFileStorage(tmp_path / "new" / "files")
    file_id = storage.create(b"x")
    data = storage.get(file_id).local_path
    assert data is not None
    shard, name = f"/new/files/{file_id[:2]}", f"/new/files/{file_id[:2]}/{data.name}"
    assert synced == ["", "/new", "/new/files", name, name + ".tmp", shard]
    synced.clear()
    storage.replace(file_id, b"y")
    assert len(synced) == 3
    synced.clear()
    LocalFileStorage(tmp_path / "new" / "files").replace(file_id, b"z")
    assert "/new/files" in synced, "another process has made the shard, and may not have synced its entry yet"


def test_without_durable_nothing_is_synced(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    storage = LocalFileStorage(root, durable="false")
    file_id = storage.create(b"x")
    storage.replace(file_id, b"y")
    storage.copy(file_id)
    assert synced == []


# --- copies in the kernel ---------------------------------------------------------------------------------------------


def counting(monkeypatch: pytest.MonkeyPatch, name: str, refusing: int | None) -> list[str]:
    """Count the calls of a function of ``os``; let it fail with an error number."""
    calls: list[str] = []
    real = getattr(os, name)

    def called(*arguments: Any) -> Any:
        calls.append(name)
        if refusing is not None:
            raise OSError(refusing, os.strerror(refusing))
        return real(*arguments)

    monkeypatch.setattr(os, name, called)
    return calls


@pytest.mark.matrix
@pytest.mark.parametrize("checksum", ["crc32", "sha256", "no"])
@pytest.mark.parametrize("refused", [[], ["copy_file_range"], ["copy_file_range", "sendfile"]])
@pytest.mark.parametrize("number", [errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
def test_each_way_of_copying_gives_the_same_bytes_and_sum(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: list[str], number: int, checksum: str
) -> None:
    """If the kernel cannot do it one way, the next one is tried."""
    data = some_bytes(LARGE)
    path = tmp_path / "large.bin"
    path.write_bytes(data)
    ways = ["copy_file_range", "sendfile", "pread"]
    calls = {way: counting(monkeypatch, way, number if way in refused else None) for way in ways}
    storage = LocalFileStorage(root, durable=False, checksum=checksum)
    file_id = storage.create(path)
    used = ways[len(refused)]
    assert {way: len(calls[way]) for way in ways if way not in (used, *refused)} == dict.fromkeys(
        ways[len(refused) + 1 :], 0
    )
    assert len(calls[used]) >= 4
    assert all(len(calls[way]) == 1 for way in refused)
    with storage.get(file_id) as file:
        assert file.read() == data
        assert file.checksum == expected_checksum(checksum, data)


def expected_checksum(algorithm: str, data: bytes) -> str | None:
    if algorithm == "no":
        return None
    return f"crc32:{zlib.crc32(data):08x}" if algorithm == "crc32" else f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_kernel_that_says_nothing_was_copied_is_not_believed(
    storage: LocalFileStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over some file systems copy_file_range gives 0 for a file that is not empty."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"not empty")
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    assert content_of(storage, storage.create(path)) == b"not empty"


def test_an_error_of_the_disk_is_no_reason_to_try_another_way(
    storage: LocalFileStorage, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"content")
    counting(monkeypatch, "copy_file_range", errno.ENOSPC)
    with pytest.raises(StorageFailed) as caught:
        storage.create(path)
    assert caught.value.errno == errno.ENOSPC
    assert files_below(root) == []


def test_an_open_file_is_copied_by_the_kernel_from_its_start(
    storage: LocalFileStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And stays where the user had it."""
    data = some_bytes(LARGE)
    path = tmp_path / "large.bin"
    path.write_bytes(data)
    calls = counting(monkeypatch, "copy_file_range", None)
    with path.open("rb") as file:
        file.seek(77)
        file_id = storage.create(file)
        assert file.tell() == 77
        assert file.read(3) == data[77:80]
    assert calls
    assert content_of(storage, file_id) == data


def test_a_copy_is_made_by_the_kernel_and_keeps_the_checksum(
    storage: LocalFileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No byte comes through the process, neither to be copied nor to be summed."""
    file_id = storage.create(some_bytes(LARGE))
    kernel, read_back = counting(monkeypatch, "copy_file_range", None), counting(monkeypatch, "preadv", None)
    copy = storage.copy(file_id)
    assert kernel
    assert not read_back
    assert storage.get(copy).checksum == storage.get(file_id).checksum
    assert storage.get(copy).local_path != storage.get(file_id).local_path


def test_a_copy_gets_the_checksum_that_its_source_lacks(root: Path) -> None:
    file_id = LocalFileStorage(root, checksum=False).create(b"hello")
    storage = LocalFileStorage(root)
    assert storage.get(storage.copy(file_id)).checksum == expected_checksum("crc32", b"hello")


class ShrinkingPath(PathSource):
    def size(self) -> int:
        return 2000


class ShrinkingFile(FileSource):
    def size(self) -> int:
        return 2000


@pytest.mark.parametrize("kind", [ShrinkingPath, ShrinkingFile])
def test_a_source_that_shrinks_is_a_failure(
    storage: LocalFileStorage, root: Path, tmp_path: Path, kind: type[Source]
) -> None:
    """All announced bytes have to come; a file that is shorter than its row says would be served wrongly.

    The bytes of a path are copied by the kernel, those in memory are read.
    """
    path = tmp_path / "log.bin"
    path.write_bytes(b"x" * 1000)
    given = path if kind is ShrinkingPath else io.BytesIO(path.read_bytes())
    with pytest.raises(StorageFailed, match="expected 2000 bytes, got 1000"):
        storage.save(Content(kind(given), None, None, move=False, handed_in=given))
    assert files_below(root) == []


def test_the_thread_of_the_checksum_ends_with_the_upload(storage: LocalFileStorage, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * LARGE)
    before = set(threading.enumerate())
    storage.create(path)
    assert set(threading.enumerate()) <= before  # those of another test may end meanwhile


# --- adopting ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "upload.bin"
    path.write_bytes(some_bytes(LARGE))
    path.chmod(0o644)
    return path


def test_a_moved_file_is_adopted(storage: LocalFileStorage, source: Path) -> None:
    """The stored file is the very file; no byte was copied, and its checksum and permissions are as for any."""
    inode, data = source.stat().st_ino, source.read_bytes()
    file_id = storage.create(FileIntent(source, "video.mp4", move=True))
    assert not source.exists()
    with storage.get(file_id) as file:
        assert file.local_path is not None
        assert file.local_path.stat().st_ino == inode
        assert mode_of(file.local_path) == 0o600
        assert file.read() == data
        assert (file.content_length, file.checksum) == (LARGE, expected_checksum("crc32", data))


@pytest.mark.matrix
@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_what_cannot_be_adopted_is_copied(
    storage: LocalFileStorage, source: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """For example from another file system."""
    inode, data = source.stat().st_ino, source.read_bytes()

    def refusing(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refusing)
    file_id = storage.create(FileIntent(source, move=True))
    assert not source.exists()
    with storage.get(file_id) as file:
        assert file.read() == data
        assert os.fstat(file.fileno()).st_ino != inode


def test_a_file_from_another_file_system_is_copied(storage: LocalFileStorage, root: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == root.parent.stat().st_dev:
        pytest.skip("there is one file system only")
    path = memory / f"depot_lite-{new_file_id()}"
    try:
        path.write_bytes(b"from elsewhere")
        assert content_of(storage, storage.create(FileIntent(path, move=True))) == b"from elsewhere"
        assert not path.exists()
    finally:
        path.unlink(missing_ok=True)


def test_a_file_with_a_second_name_is_copied(storage: LocalFileStorage, source: Path, tmp_path: Path) -> None:
    """Writing to it by its other name must not change the stored file."""
    other = tmp_path / "other.bin"
    os.link(source, other)
    file_id = storage.create(FileIntent(source, move=True))
    data = other.read_bytes()
    other.write_bytes(b"changed")
    assert content_of(storage, file_id) == data


def test_an_adoption_that_is_rolled_back_leaves_the_source(storage: LocalFileStorage, root: Path, source: Path) -> None:
    """``save`` leaves it until ``release``; deleting the stored file before that takes nothing from the user."""
    data = source.read_bytes()
    content = Content.of(FileIntent(source, move=True))
    storage.delete(storage.save(content).file_id)
    assert source.read_bytes() == data
    assert files_below(root) == []


# --- filedepot's folders ----------------------------------------------------------------------------------------------


@pytest.fixture
def filedepot(root: Path) -> Any:
    return pytest.importorskip("depot.io.local").LocalFileStorage(str(root))


@pytest.mark.server
def test_filedepots_files_are_read_listed_replaced_and_deleted(
    filedepot: Any, storage: LocalFileStorage, root: Path
) -> None:
    """As they lie there, beside our own."""
    ours = storage.create(b"ours")
    read, replaced, deleted = (filedepot.create(text, "grüße.txt", "text/x-old") for text in (b"one", b"two", b"three"))
    assert sorted(storage.list()) == sorted([ours, read, replaced, deleted])
    assert {entry: entry.size for entry in storage.list()} == {ours: 4, read: 3, replaced: 3, deleted: 5}
    with storage.get(read) as file:
        assert (file.read(), file.content_length, file.checksum) == (b"one", 3, None)
        assert (file.filename, file.content_type) == ("grüße.txt", "text/x-old")
        assert abs(datetime.now(UTC) - file.last_modified) < timedelta(minutes=5)
        assert file.last_modified.utcoffset() == timedelta(0)
    assert storage.exists(replaced)
    storage.replace(replaced, b"new")
    with storage.get(replaced) as file:
        assert (file.read(), file.filename, file.content_type) == (b"new", "grüße.txt", "text/x-old")
    storage.delete(deleted)
    storage.delete(deleted)
    assert not storage.exists(deleted)
    copy = storage.copy(read)
    assert content_of(storage, copy) == b"one"
    assert sorted(storage.list()) == sorted([ours, read, replaced, copy])
    assert sorted(path.name for path in root.iterdir() if len(path.name) == 36) == [read]


def test_an_old_description_of_filedepot_may_lack_things(storage: LocalFileStorage, root: Path) -> None:
    file_id = new_file_id()
    (root / file_id).mkdir(parents=True)
    (root / file_id / "file").write_bytes(b"12345")
    (root / file_id / "metadata.json").write_text('{"filename": null, "last_modified": null}')
    with storage.get(file_id) as file:
        assert (file.filename, file.content_type) == ("unnamed", "application/octet-stream")
        assert (file.content_length, file.read()) == (5, b"12345")
        assert datetime.now(UTC) - file.last_modified < timedelta(minutes=5)


@pytest.mark.parametrize("left", ["file", "metadata.json", None])
def test_what_filedepot_left_half_done_is_listed_and_deleted_but_not_read(
    storage: LocalFileStorage, root: Path, left: str | None
) -> None:
    file_id = new_file_id()
    (root / file_id).mkdir(parents=True)
    if left is not None:
        (root / file_id / left).write_bytes(b"{}")
    assert not storage.exists(file_id)
    with pytest.raises(StoredFileNotFound):
        storage.get(file_id)
    [entry] = storage.list()
    assert (entry, entry.size) == (file_id, 2 if left == "file" else 0)
    assert datetime.now(UTC) - entry.last_modified < timedelta(minutes=5)
    storage.delete(file_id)
    assert list(root.iterdir()) == []


def test_a_replacement_of_filedepots_file_that_broke_off_counts_once(storage: LocalFileStorage, root: Path) -> None:
    """The sidecar hides the folder; both go with one deletion, and never does the older content come back."""
    file_id = storage.create(b"new")
    (root / file_id).mkdir()
    (root / file_id / "file").write_bytes(b"old")
    (root / file_id / "metadata.json").write_text("{}")
    assert list(storage.list()) == [file_id]
    assert content_of(storage, file_id) == b"new"
    storage.delete(file_id)
    assert not storage.exists(file_id)
    assert files_below(root) == []


# --- at the same time -------------------------------------------------------------------------------------------------

REPLACING = """
import sys
from depot_lite.io.local import LocalFileStorage
storage = LocalFileStorage(sys.argv[1], durable=False)
for turn in range(150):
    storage.replace(sys.argv[2], sys.argv[3].encode() * (1000 + turn), sys.argv[3])
"""


@pytest.mark.matrix
def test_processes_that_replace_and_read_one_file_see_whole_versions(storage: LocalFileStorage, root: Path) -> None:
    """And leave one data file: each removes only its own, and none forgets the one that it replaced."""
    file_id = storage.create(b"a" * 1000, "a")
    commands = [[sys.executable, "-c", REPLACING, str(root), file_id, letter] for letter in "bc"]
    processes = [subprocess.Popen(command) for command in commands]
    seen = 0
    while any(process.poll() is None for process in processes):
        with storage.get(file_id) as file:
            data = file.read()
            assert data == file.filename.encode() * file.content_length
            seen += 1
    assert [process.returncode for process in processes] == [0, 0]
    assert seen > 10
    assert len(files_below(root)) == 2


def test_a_file_that_is_replaced_before_its_first_read_is_the_new_one(storage: LocalFileStorage) -> None:
    """Its metadata changes with its bytes."""
    file_id = storage.create(b"old", "old.txt")
    with storage.get(file_id) as file:
        for turn in range(3):
            storage.replace(file_id, b"new" * turn, f"{turn}.txt")
        assert (file.read(), file.filename, file.content_length) == (b"newnew", "2.txt", 6)


def test_a_file_that_is_open_outlives_its_replacement_and_deletion(storage: LocalFileStorage) -> None:
    file_id = storage.create(b"old content")
    with storage.get(file_id) as file:
        file.read(4)
        storage.replace(file_id, b"new")
        storage.delete(file_id)
        assert file.read() == b"content"


def test_content_that_is_refused_makes_no_folder(storage: LocalFileStorage, root: Path) -> None:
    with pytest.raises(InvalidContent):
        storage.create("text")
    assert not root.exists()


# --- files of other local storages ------------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("algorithm", ["crc32", "sha256"])
@pytest.mark.parametrize("size", [0, 1000, 20 * 1024 * 1024 + 1])
def test_a_file_of_another_local_storage_comes_through_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str, size: int
) -> None:
    """No byte is read in Python, and the checksum is that of the source, of whichever algorithm."""
    source = LocalFileStorage(tmp_path / "source", checksum=algorithm)
    target = LocalFileStorage(tmp_path / "target", checksum="crc32")
    data = some_bytes(size)
    file_id = source.create(data, "a.bin", "application/x-a")
    with monkeypatch.context() as patch:
        patch.setattr(LocalStoredFile, "read", lambda *_: pytest.fail("bytes were read"))
        info = target.save_from(source, file_id, file_id=file_id)
    with target.get(file_id) as file:
        assert (file.read(), file.filename, file.content_type) == (data, "a.bin", "application/x-a")
        assert file.checksum == info.checksum == source.get(file_id).checksum
        assert str(file.checksum).startswith(f"{algorithm}:")


def test_a_file_without_a_checksum_gets_one_where_it_is_saved(tmp_path: Path) -> None:
    source, target = LocalFileStorage(tmp_path / "a", checksum=False), LocalFileStorage(tmp_path / "b")
    info = target.save_from(source, source.create(b"bytes"))
    assert info.checksum == f"crc32:{zlib.crc32(b'bytes'):08x}"


@pytest.mark.matrix
@pytest.mark.parametrize("size", [1000, 20 * 1024 * 1024])
@pytest.mark.parametrize("harm", ["changed", "shorter"])
def test_a_damaged_file_of_another_local_storage_is_not_saved(tmp_path: Path, size: int, harm: str) -> None:
    """Bytes that do not have the checksum leave nothing, and the old file stays."""
    source, target = LocalFileStorage(tmp_path / "source"), LocalFileStorage(tmp_path / "target")
    file_id = source.create(some_bytes(size))
    target.create(b"old", file_id=file_id)
    path = source.get(file_id).local_path
    assert path is not None
    with path.open("r+b") as file:
        if harm == "changed":
            file.seek(size // 2)
            file.write(b"?!")
        else:
            file.truncate(size - 1)
    for given in (None, file_id):
        with pytest.raises(StorageFailed, match=r"damaged|shrank"):
            target.save_from(source, file_id, file_id=given)
    assert list(target.list()) == [file_id]
    with target.get(file_id) as kept:
        assert kept.read() == b"old"
    assert len(list((tmp_path / "target").rglob("*.*"))) == 2


def test_a_folder_that_cannot_be_listed_is_an_error_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    assert list(names_in(f"{tmp_path}/missing")) == list(names_in(f"{tmp_path}/file")) == []
    with pytest.raises(StorageFailed, match=r"cannot list .*loop: Too many levels of symbolic links"):
        list(names_in(f"{tmp_path}/loop"))
