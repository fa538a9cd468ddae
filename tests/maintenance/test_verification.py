"""verify: damage is found whatever it is, nothing that is whole is blamed, and a killed run goes on where it was."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from depot_lite.errors import ConfigurationError, MaintenanceStopped, StorageFailed
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileEntry, FileStorage, StoredFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance.run.reports import Progress
from depot_lite.maintenance.verification import VerifyReport, verify
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.forks import ROOT, Forks
from tests.maintenance.conftest import Base, Film

Add = Callable[..., None]
Depots = dict[str, FileStorage]


def verified(bind: Any, depot_name: str = "default", **options: Any) -> VerifyReport:
    return verify(bind, depot_name, models=[Base], **options)


def kinds(report: VerifyReport) -> dict[str, str]:
    return {each.file_id: each.kind for each in report.findings}


def data_of(storage: FileStorage, file_id: str) -> Path:
    with storage.get(file_id) as stored:
        assert stored.local_path is not None
        return stored.local_path


def damage(storage: FileStorage, file_id: str) -> None:
    """Change one byte in the middle of a file on the disk."""
    path = data_of(storage, file_id)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def test_what_is_whole_is_not_blamed(database: Engine, committed: Add, depots: Depots) -> None:
    """Large files, empty ones, those that rows name and those that none does."""
    committed(Film(poster=b"x" * 1_000_000, shots=[b"", b"two"]), Film(poster=b"another"))
    left = depots["default"].create(b"unused")
    report = verified(database)
    assert (report.findings, report.listed, report.read, report.unchecked) == ([], 5, 5, 0)
    assert report.bytes == 1_000_000 + 3 + 7 + 6
    assert depots["default"].exists(left)


@pytest.mark.parametrize("checksum", ["crc32", "sha256"])
def test_a_damaged_file_is_found_by_its_checksum(tmp_path: Path, checksum: str) -> None:
    """One bit, of either kind of checksum."""
    with temporary_depots():
        storage = DepotManager.configure("default", LocalFileStorage(tmp_path, checksum=checksum))
        ids = [storage.create(random.randbytes(100_000)) for _ in range(10)]
        damage(storage, ids[3])
        report = verify(None, "default")
        assert kinds(report) == {ids[3]: "damaged"}
        assert checksum in report.findings[0].detail
        assert report.read == 10


@pytest.mark.parametrize("length", [0, 5, 50])
def test_another_length_is_found_without_a_checksum(tmp_path: Path, length: int) -> None:
    """Files without a checksum are counted, and their length is looked at."""
    with temporary_depots():
        storage = DepotManager.configure("default", LocalFileStorage(tmp_path, checksum=False))
        ids = [storage.create(b"0123456789") for _ in range(3)]
        path = data_of(storage, ids[0])
        path.chmod(0o600)
        path.write_bytes(b"x" * length)
        report = verify(None, "default")
        assert set(kinds(report)) == {ids[0]}
        assert report.unchecked >= 2


def test_a_file_that_cannot_be_read_is_found(depots: Depots) -> None:
    """And the others are read."""

    class Broken(MemoryFileStorage):
        def _open(self, file_id: str) -> StoredFile:
            if file_id == broken:
                raise StorageFailed("input/output error")
            return super()._open(file_id)

    storage = DepotManager.configure("broken", Broken())
    ids = [storage.create(b"x") for _ in range(5)]
    broken = ids[2]
    report = verify(None, "broken")
    assert [(each.file_id, each.kind) for each in report.findings] == [(broken, "unreadable")]
    assert "input/output error" in report.findings[0].detail
    assert report.read == 4


def test_the_rows_that_name_a_damaged_file_are_told(database: Engine, committed: Add, depots: Depots) -> None:
    """With table, column and key."""
    film = Film(id=7, poster=b"poster")
    committed(film, Film(poster=b"another"))
    assert film.poster is not None
    damage(depots["default"], film.poster.file_id)
    report = verified(database)
    assert [(each.file_id, each.rows) for each in report.findings] == [
        (film.poster.file_id, ("upkeep_film.poster of the row 7",))
    ]


@pytest.mark.parametrize(
    ("key", "value", "kind"), [("size", 99, "wrong length"), ("checksum", "crc32:00000000", "damaged")]
)
def test_a_file_is_held_against_its_row(
    database: Engine, committed: Add, depots: Depots, key: str, value: object, kind: str
) -> None:
    """The storage may have been replaced by one that remembers the wrong file."""
    film = Film(id=1, script=b"script")
    committed(film, Film(id=2, script=b"right"))
    assert film.script is not None
    row = json.dumps({**film.script, key: value})
    with database.begin() as connection:
        connection.execute(text("UPDATE upkeep_film SET script = :row WHERE id = 1"), {"row": row})
    report = verified(database, "archive")
    assert kinds(report) == {film.script.file_id: kind}
    assert verify(None, "archive").findings == []


def test_a_row_with_another_kind_of_checksum_is_checked_by_it(tmp_path: Path, database: Engine, committed: Add) -> None:
    """Both are summed in one reading."""
    DepotManager.configure("strong", LocalFileStorage(tmp_path / "strong", checksum="sha256"))
    film = Film(id=1, script=UploadedFile(b"123456789", depot_name="strong"))
    committed(film, Film(id=2, script=UploadedFile(b"other", depot_name="strong")))
    assert film.script is not None
    for checksum, expected in (("crc32:cbf43926", []), ("crc32:cbf43927", ["damaged"])):
        row = json.dumps({**film.script, "checksum": checksum})
        with database.begin() as connection:
            connection.execute(text("UPDATE upkeep_film SET script = :row WHERE id = 1"), {"row": row})
        report = verified(database, "strong")
        assert [each.kind for each in report.findings] == expected
        assert report.bytes == 14


def test_files_that_are_deleted_meanwhile_are_no_finding(depots: Depots) -> None:
    """Between the listing and the reading."""
    storage = depots["default"]
    ids = sorted(storage.create(b"x") for _ in range(10))

    def delete(progress: Progress) -> None:
        if progress.step == "listing" and progress.finished:
            storage.delete(ids[3])

    report = verify(None, "default", progress=delete)
    assert (report.findings, report.gone, report.read) == ([], 1, 9)


def test_a_damaged_file_that_is_deleted_before_the_end_is_no_finding(depots: Depots) -> None:
    """Every reported file still exists."""
    storage = depots["default"]
    ids = sorted(storage.create(b"some bytes") for _ in range(3))
    damage(storage, ids[0])

    def delete(progress: Progress) -> None:
        if progress.step == "reading files" and progress.finished:
            storage.delete(ids[0])

    report = verify(None, "default", progress=delete)
    assert (report.findings, report.gone, report.read) == ([], 1, 3)


def test_an_unfinished_upload_is_counted_unless_a_row_names_it(
    database: Engine, committed: Add, depots: Depots, tmp_path: Path
) -> None:
    """A row that names it was told once that it is whole."""
    film = Film(poster=b"poster")
    committed(film)
    assert film.poster is not None
    storage = depots["default"]
    for file_id in (film.poster.file_id, storage.create(b"another")):
        data = data_of(storage, file_id)
        for each in data.parent.iterdir():
            if each.name.startswith(file_id) and each != data:
                each.unlink()
    report = verified(database)
    assert kinds(report) == {film.poster.file_id: "unreadable"}
    assert (report.unfinished, report.read) == (1, 0)
    assert verify(None, "default").unfinished == 2


def test_a_file_that_is_replaced_while_it_is_read_is_not_damaged(depots: Depots) -> None:
    """`FileStorage.replace` keeps the id; what seems wrong is read a second time."""

    class Replacing(MemoryFileStorage):
        def _open(self, file_id: str) -> StoredFile:
            opened = super()._open(file_id)
            if left:
                left.clear()
                info = opened.info
                self.replace(file_id, b"other bytes")
                return StoredFile(info, super()._open(file_id)._opener)
            return opened

    left = [1]
    storage = DepotManager.configure("busy", Replacing())
    storage.create(b"some bytes")
    assert verify(None, "busy").findings == []
    assert not left


class TestSample:
    def test_a_part_of_the_files_is_read(self, depots: Depots) -> None:
        """About as many as were asked for, and not the same ones each time."""

        class Watched(MemoryFileStorage):
            def _open(self, file_id: str) -> StoredFile:
                seen.add(file_id)
                return super()._open(file_id)

        seen = set[str]()
        storage = DepotManager.configure("many", Watched())
        for _ in range(400):
            storage.create(b"x")
        read: list[set[str]] = []
        for _ in range(2):
            seen.clear()
            report = verify(None, "many", sample=0.25)
            read.append(set(seen))
            assert report.listed == 400
            assert report.read == len(seen)
            assert 40 < len(seen) < 180
        assert read[0] != read[1]

    def test_one_file_is_read_at_least(self, depots: Depots) -> None:
        """Where there is one."""
        storage = DepotManager.configure("few", MemoryFileStorage())
        assert verify(None, "few", sample=1e-9).read == 0
        for _ in range(10):
            storage.create(b"x")
        assert verify(None, "few", sample=1e-9).read == 1

    @pytest.mark.parametrize("sample", [0, -1, 1.01, float("nan")])
    def test_what_is_no_part_is_refused(self, depots: Depots, sample: float) -> None:
        """Before anything is read."""
        with pytest.raises(ConfigurationError, match=r"sample=.*: expected"):
            verify(None, "default", sample=sample)


class TestState:
    def test_a_run_that_came_to_its_end_leaves_no_state(self, depots: Depots, tmp_path: Path) -> None:
        """Nor anything else."""
        depots["default"].create(b"x")
        folder = tmp_path / "state"
        folder.mkdir()
        assert verify(None, "default", state=folder / "run.json").read == 1
        assert list(folder.iterdir()) == []

    @pytest.mark.parametrize("sample", [1.0, 0.5])
    def test_an_interrupted_run_goes_on_where_it_was(self, depots: Depots, tmp_path: Path, sample: float) -> None:
        """Earlier findings are in the report, and no file is read twice but those that were being read."""
        state, opened = tmp_path / "run.json", list[str]()

        class Interrupted(MemoryFileStorage):
            def _open(self, file_id: str) -> StoredFile:
                if len(opened) == stop_at:
                    raise KeyboardInterrupt
                opened.append(file_id)
                if file_id in wrong:
                    raise StorageFailed("unreadable")
                return super()._open(file_id)

            def _entry(self, file_id: str) -> FileEntry:
                return next(each for each in self._list() if each == file_id)

        stop_at, wrong = -1, set[str]()
        storage = DepotManager.configure("interrupted", Interrupted())
        wrong = {storage.create(b"x") for _ in range(20)}
        for _ in range(80):
            storage.create(b"x")
        runs = []
        for stop_at in (15, 20, -1):  # noqa: B007  # Interrupted looks at it
            opened.clear()
            try:
                report = verify(None, "interrupted", sample=sample, state=state, workers=1)
            except KeyboardInterrupt:
                assert state.exists()
            runs.append(set(opened))
        read = set().union(*runs)
        assert report.resumed
        assert report.read + len(report.findings) == len(read)
        assert set(kinds(report)) == wrong & read
        assert sum(map(len, runs)) <= len(read) + 4
        assert len(read) == 100 or sample < 1
        assert not state.exists()

    def test_the_state_of_another_run_is_refused(self, depots: Depots, tmp_path: Path) -> None:
        """Of another depot, another sample, or with rows; and a file that is no state at all stays as it is."""
        state = tmp_path / "run.json"
        job = {"version": 1, "command": "verify", "depot": "default", "sample": 1.0, "rows": False}
        state.write_text(json.dumps({"job": job, "progress": {}}))
        for depot_name, sample in (("archive", 1.0), ("default", 0.5)):
            with pytest.raises(ConfigurationError, match=r"got .*depot='default'"):
                verify(None, depot_name, sample=sample, state=state)
        for content, message in (
            ("{}", "expected the state file of a job"),
            ("{", "cannot be read"),
            (state.read_text(), "damaged"),
        ):
            state.write_text(content)
            with pytest.raises(ConfigurationError, match=message):
                verify(None, "default", state=state)
            assert state.read_text() == content

    def test_a_state_that_is_no_file_is_not_read(self, depots: Depots) -> None:
        """A device may have no end."""
        with pytest.raises(ConfigurationError, match="expected the path of a regular file"):
            verify(None, "default", state="/dev/zero")

    def test_a_state_that_cannot_be_written_is_noticed_before_anything_is_read(
        self, depots: Depots, tmp_path: Path
    ) -> None:
        """Not after an hour."""
        steps: list[Progress] = []
        with pytest.raises(MaintenanceStopped, match="cannot be written"):
            verify(None, "default", state=tmp_path / "nowhere" / "run.json", progress=steps.append)
        assert steps == []


@pytest.mark.matrix
def test_a_run_that_is_killed_again_and_again_comes_to_the_same_end(
    database: Engine, committed: Add, depots: Depots, tmp_path: Path, forks: Forks
) -> None:
    """By SIGKILL, at random points: every damaged file is told once, and every file counted once."""
    films = [Film(poster=random.randbytes(60_000)) for _ in range(100)]
    committed(*films)
    wrong = []
    for film in random.sample(films, 10):
        assert film.poster is not None
        damage(depots["default"], film.poster.file_id)
        wrong.append(film.poster.file_id)
    url = database.url.render_as_string(hide_password=False)
    state = tmp_path / "run.json"
    words = (url, str(tmp_path / "media" / "default"), str(state))
    kills = 0
    for kills in range(40):
        killed, line = run_and_kill(forks, 1.3 + kills / 5, *words)  # in the end long enough for a busy machine
        if not killed:
            break
        if state.exists():
            assert json.loads(state.read_text())["job"]["depot"] == "default"
    assert kills > 0
    assert json.loads(line) == [100, sorted(wrong)]
    assert not state.exists()


def run_and_kill(forks: Forks, longest: float, *words: str) -> tuple[bool, str]:
    """Return whether the process was killed after some of its work, and else its last line."""
    with forks.start("tests.maintenance.slowly", *words, cwd=ROOT, env=os.environ) as process:
        process.wait_for_a_word(60)
        try:
            line, said = process.communicate(timeout=random.uniform(0.1, longest))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate(60)
            return True, ""
        assert (process.returncode, said) == (0, "begun\n")
        return False, line


@pytest.mark.matrix
def test_a_rate_is_kept(depots: Depots) -> None:
    """Two hundred kilobytes at a megabyte a second take a fifth of a second, however many threads there are."""
    for _ in range(4):
        depots["default"].create(b"x" * 50_000)
    start = time.monotonic()
    verify(None, "default", rate=1_000_000, workers=4)
    assert time.monotonic() - start > 0.15


@pytest.mark.parametrize(("option", "value"), [("workers", 0), ("rate", 0), ("rate", -5)])
def test_arguments_that_cannot_be_are_refused(depots: Depots, option: str, value: Any) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigurationError, match=f"{option}="):
        verify(None, "default", **{option: value})


@pytest.mark.server
def test_a_file_that_was_changed_behind_s3_is_found(depots: Depots) -> None:
    """With two requests for each file, and one for the listing."""
    from tests.io.s3_server import Requests, moto_server

    with moto_server() as server, server.bucket() as bucket:
        storage = server.storage(bucket)
        DepotManager.configure("s3", storage)
        ids = [storage.create(b"some bytes") for _ in range(6)]
        found = server.client().head_object(Bucket=bucket, Key=ids[1])
        server.client().put_object(
            Bucket=bucket, Key=ids[1], Body=b"SOME BYTES", Metadata=found["Metadata"], ContentType=found["ContentType"]
        )
        assert kinds(verify(None, "s3")) == {ids[1]: "damaged"}
        storage.delete(ids[1])
        requests = Requests(storage)
        report = verify(None, "s3")
        assert (report.read, report.findings, report.unchecked) == (5, [], 0)
        taken = requests.taken()
        assert taken["ListObjectsV2"] == 1
        assert sum(taken.values()) <= 1 + 2 * 5
