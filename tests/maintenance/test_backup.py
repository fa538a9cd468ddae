"""copy_files: a backup under the same ids, and copy_file, which verifies."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from depot_lite.errors import ConfigurationError, MaintenanceStopped, StorageFailed, StorageFull, UnknownDepot
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.composite.fallback import FallbackStorage
from depot_lite.io.composite.mirror import MirrorStorage
from depot_lite.io.content import Content
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileEntry, FileInfo, FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance.backup import copy_files
from depot_lite.maintenance.copying import copy_file
from depot_lite.maintenance.ids import Part
from depot_lite.maintenance.owners import claim
from depot_lite.maintenance.run.pace import Pace
from depot_lite.maintenance.run.reports import CopyReport, Progress
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import empty

Made = Callable[[], FileStorage]
Prune = Callable[..., CopyReport]


class Base(DeclarativeBase):
    """The parent of the model here."""


class Owned(Base):
    """Rows whose files are in a depot that only some tests configure."""

    __tablename__ = "backup_owned"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="uploads_of_owned"))


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    from tests.io.s3_server import moto_server

    with moto_server() as made:
        yield made


@pytest.fixture(
    params=[
        *("local-local", "local-memory", "memory-local"),
        *(pytest.param(each, marks=pytest.mark.server) for each in ("local-s3", "s3-local", "s3-s3")),
    ]
)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[FileStorage, FileStorage]]:
    """The depots ``media`` and ``backup``, in different storages."""
    with temporary_depots(), ExitStack() as stack:

        def s3(name: str) -> FileStorage:
            server = request.getfixturevalue("s3")
            storage: FileStorage = server.storage(stack.enter_context(server.bucket()))
            return storage

        kinds: dict[str, Callable[[str], FileStorage]] = {
            "local": lambda name: LocalFileStorage(tmp_path / name, durable=False),
            "memory": lambda name: MemoryFileStorage(),
            "s3": s3,
        }
        source, _, target = request.param.partition("-")
        yield (
            DepotManager.configure("media", kinds[source]("media")),
            DepotManager.configure("backup", kinds[target]("backup")),
        )


@pytest.fixture
def local(tmp_path: Path) -> Iterator[tuple[LocalFileStorage, LocalFileStorage]]:
    with temporary_depots():
        media = LocalFileStorage(tmp_path / "media", durable=False)
        backup = LocalFileStorage(tmp_path / "backup", durable=False)
        DepotManager.configure("media", media)
        DepotManager.configure("backup", backup)
        yield media, backup


@pytest.fixture
def prune(engine: Engine) -> Iterator[Prune]:
    """`copy_files` that prunes, with the empty table of the model here."""
    Base.metadata.create_all(engine)
    yield partial(copy_files, prune=True, bind=engine, models=[Base])
    empty(engine, Base.metadata)


def content(storage: FileStorage) -> dict[str, tuple[bytes, str, str]]:
    found = {}
    for file_id in storage.list():
        with storage.get(file_id) as file:
            found[str(file_id)] = file.read(), file.filename, file.content_type
    return found


def counts(report: CopyReport) -> tuple[int, int, int, int, int]:
    return report.files, report.bytes, report.unchanged, report.gone, len(report.failed)


def test_a_backup_holds_what_the_depot_holds(pair: tuple[FileStorage, FileStorage]) -> None:
    """Under the same ids, with names and types; the second run has nothing to do."""
    media, backup = pair
    for number in range(40):
        media.create(b"%d" % number, f"{number}.txt", "text/plain")
    kept = backup.create(b"of an earlier time")
    assert counts(copy_files("media", "backup")) == (40, 70, 0, 0, 0)
    held = content(backup)
    assert held.pop(kept)[0] == b"of an earlier time"
    assert held == content(media)
    assert counts(copy_files("media", "backup")) == (0, 0, 40, 0, 0)


def test_a_replacement_of_equal_length_is_noticed_by_a_clock_that_is_behind(depots: object) -> None:
    """The copy seems to be newer than the replacement."""

    class Behind(MemoryFileStorage):
        def _now(self) -> datetime:
            return super()._now() - timedelta(hours=1)

        def _list(self) -> Iterator[FileEntry]:
            for each in super()._list():
                yield FileEntry.told(each, each.size, each.last_modified - timedelta(hours=1))

    source, target = DepotManager.configure("one", Behind()), DepotManager.configure("two", MemoryFileStorage())
    file_id = source.create(b"old")
    assert (copy_files("one", "two").files, copy_files("one", "two").files) == (1, 0)
    source.replace(file_id, b"new")
    assert (copy_files("one", "two").files, copy_files("one", "two").files) == (1, 0)
    with target.get(file_id) as file:
        assert file.read() == b"new"


def test_a_file_that_was_replaced_is_copied_again(pair: tuple[FileStorage, FileStorage]) -> None:
    """Also by as many bytes as before, and at the same second."""
    media, backup = pair
    one, other = media.create(b"before", "a.txt"), media.create(b"stays", "b.txt")
    copy_files("media", "backup")
    media.replace(one, b"behind", "a.txt")
    assert counts(copy_files("media", "backup"))[:3] == (1, 6, 1)
    assert content(backup) == content(media)
    media.replace(one, b"longer than before", "a.txt")
    assert counts(copy_files("media", "backup"))[:3] == (1, 18, 1)
    assert content(backup) == content(media)
    assert set(content(backup)) == {one, other}


def test_the_backup_takes_the_name_of_the_depot(local: tuple[LocalFileStorage, LocalFileStorage]) -> None:
    """Paths in rows lead to the same bytes then."""
    media, backup = local
    path = "media/" + media.create(b"text", "a.txt")
    copy_files("media", "backup")
    with temporary_depots():
        DepotManager.configure("media", backup)
        with DepotManager.get_file(path) as file:
            assert file.read() == b"text"


def test_a_dry_run_copies_nothing(pair: tuple[FileStorage, FileStorage]) -> None:
    media, backup = pair
    media.create(b"12345")
    report = copy_files("media", "backup", dry_run=True)
    assert counts(report) == (1, 5, 0, 0, 0)
    assert report.dry_run
    assert content(backup) == {}


def test_one_file_that_fails_does_not_keep_the_others(local: tuple[LocalFileStorage, LocalFileStorage]) -> None:
    """A file whose bytes are not those that were stored is not copied, and told of."""
    media, backup = local
    damaged, whole = media.create(b"damaged"), media.create(b"whole")
    path = media.get(damaged).local_path
    assert path is not None
    path.write_bytes(b"DAMAGED")
    report = copy_files("media", "backup")
    assert counts(report) == (1, 5, 0, 0, 1)
    assert list(report.failed) == [damaged]
    assert isinstance(report.failed[damaged], StorageFailed)
    assert set(content(backup)) == {whole}


def test_files_that_go_away_and_files_under_way_are_no_error(tmp_path: Path) -> None:
    """Files that are listed and already gone, and data that has no sidecar yet."""

    class Gone(LocalFileStorage):
        def _list(self) -> Iterator[FileEntry]:
            yield from super()._list()
            yield FileEntry(new_file_id(), lambda: (1, datetime.now(UTC)))

    with temporary_depots():
        media = Gone(tmp_path / "media", durable=False)
        DepotManager.configure("media", media)
        DepotManager.configure("backup", MemoryFileStorage())
        whole = media.create(b"whole")
        under_way = new_file_id()
        (tmp_path / "media" / under_way[:2]).mkdir(exist_ok=True)
        (tmp_path / "media" / under_way[:2] / f"{under_way}.01234567").write_bytes(b"half")
        report = copy_files("media", "backup")
        assert counts(report) == (1, 5, 0, 2, 0)
        assert [str(each) for each in DepotManager.get("backup").list()] == [whole]


def test_a_copy_that_was_cut_off_is_made_again(local: tuple[LocalFileStorage, LocalFileStorage]) -> None:
    """Killed between the data and the sidecar: listed, with all of its bytes, and not there."""
    media, backup = local
    file_id = media.create(b"whole")
    folder = Path(backup.storage_path) / file_id[:2]
    folder.mkdir(parents=True)
    (folder / f"{file_id}.01234567").write_bytes(b"whole")
    assert list(backup.list()) == [file_id]
    assert counts(copy_files("media", "backup")) == (1, 5, 0, 0, 0)
    assert content(backup) == content(media)


def test_a_full_target_stops_it() -> None:
    """With the error, and at once: every other file would fail, too."""

    class Full(MemoryFileStorage):
        def _save(self, file_id: str, content: Content) -> FileInfo:
            if len(self._files) == 3:
                raise StorageFailed(errno.ENOSPC, "cannot store: no space left")
            return super()._save(file_id, content)

    with temporary_depots():
        media = DepotManager.configure("media", MemoryFileStorage())
        full = DepotManager.configure("backup", Full())
        for _ in range(300):
            media.create(b"x")
        with pytest.raises(StorageFull, match="no space left"):
            copy_files("media", "backup")
        assert len(list(full.list())) == 3


def test_a_target_that_is_gone_stops_it() -> None:
    """Not after a million attempts."""

    class Away(MemoryFileStorage):
        attempts = 0

        def _save(self, file_id: str, content: Content) -> FileInfo:
            self.attempts += 1
            raise StorageFailed("cannot store: the endpoint cannot be reached")

    with temporary_depots():
        media = DepotManager.configure("media", MemoryFileStorage())
        away = Away()
        DepotManager.configure("backup", away)
        for _ in range(1000):
            media.create(b"x")
        with pytest.raises(MaintenanceStopped, match="100 files in a row failed"):
            copy_files("media", "backup")
        assert away.attempts < 200


def test_a_source_that_may_leave_files_out_is_not_backed_up() -> None:
    class Lagging(MemoryFileStorage):
        list_is_complete = False

    with temporary_depots():
        DepotManager.configure("media", Lagging())
        DepotManager.configure("backup", MemoryFileStorage())
        with pytest.raises(MaintenanceStopped, match="incomplete"):
            copy_files("media", "backup")


def test_depots_that_cannot_be_are_refused(local: tuple[LocalFileStorage, LocalFileStorage]) -> None:
    """Also two names of one depot."""
    DepotManager.alias("current", "media")
    with pytest.raises(ConfigurationError, match="both lead to"):
        copy_files("media", "current")
    with pytest.raises(UnknownDepot):
        copy_files("media", "nowhere")


def test_progress_tells_files_and_bytes(local: tuple[LocalFileStorage, LocalFileStorage]) -> None:
    media, _ = local
    for _ in range(5):
        media.create(b"12345")
    told: list[Progress] = []
    copy_files("media", "backup", progress=told.append)
    assert told[-1] == Progress("copying", 5, 5, "files", 25, finished=True)


@pytest.mark.matrix
def test_a_rate_is_kept(local: tuple[LocalFileStorage, LocalFileStorage]) -> None:
    """The bytes are the same ones then."""
    media, backup = local
    media.create(os.urandom(60_000))
    media.create(os.urandom(60_000))
    report = copy_files("media", "backup", rate=600_000)
    assert report.seconds >= 0.2
    assert content(backup) == content(media)


@pytest.mark.parametrize("checksum", ["sha256", False])
def test_a_copy_without_a_comparable_checksum_is_read_back(tmp_path: Path, checksum: str | bool) -> None:
    """A target that stores other bytes is found out, and nothing of the copy stays."""

    class Rotten(MemoryFileStorage):
        def _save(self, file_id: str, content: Content) -> FileInfo:
            info = super()._save(file_id, content)
            self._files[file_id] = info, self._files[file_id][1].replace(b"right", b"wrong")
            return info

    source = LocalFileStorage(tmp_path / "source", durable=False, checksum=checksum)
    one, other = source.create(b"right"), source.create(b"rather")
    target = Rotten()
    copied = copy_file(source, target, other, Pace(None))
    assert copied.content_length == 6
    with pytest.raises(StorageFailed, match="came out different"):
        copy_file(source, target, one, Pace(None))
    assert list(target.list()) == [copied.file_id]


def test_a_file_that_is_newer_in_the_source_by_hours_is_copied(
    local: tuple[LocalFileStorage, LocalFileStorage],
) -> None:
    """Where the clocks leave no doubt, and the bytes are others."""
    media, backup = local
    file_id = media.create(b"newer")
    backup.create(b"older", file_id=file_id)
    sidecar = Path(backup.storage_path) / file_id[:2] / f"{file_id}.json"
    text = sidecar.read_text()
    before = datetime.now(UTC) - timedelta(hours=3)
    assert f"{datetime.now(UTC):%Y-%m-%d}" in text
    sidecar.write_text(text.replace(f"{datetime.now(UTC):%Y-%m-%d}", f"{before - timedelta(days=1):%Y-%m-%d}"))
    assert counts(copy_files("media", "backup")) == (1, 5, 0, 0, 0)
    assert content(backup) == content(media)


class TestWhatTheSourceLacks:
    """copy_files(prune=True): a backup that only grows keeps the files of users who were deleted."""

    @pytest.mark.matrix
    def test_it_is_deleted_if_that_is_asked_for(self, pair: tuple[FileStorage, FileStorage], prune: Prune) -> None:
        source, target = pair
        ids = [source.create(b"%d" % number) for number in range(30)]
        assert copy_files("media", "backup").files == 30
        source.delete_many(ids[:5])
        report = copy_files("media", "backup")
        assert (report.surplus, report.pruned, len(list(target.list()))) == (5, None, 30)
        report = prune("media", "backup", dry_run=True)
        assert (report.surplus, report.pruned, len(list(target.list()))) == (5, 0, 30)
        report = prune("media", "backup")
        assert (report.surplus, report.pruned, report.failed) == (5, 5, {})
        assert content(target) == content(source)

    def test_more_than_a_tenth_is_a_mistake(
        self, local: tuple[LocalFileStorage, LocalFileStorage], prune: Prune
    ) -> None:
        """Such as another folder; none is deleted, and everything was copied."""
        source, target = local
        source.create(b"copied before")
        copy_files("media", "backup")
        ids = [target.create(b"%d" % number) for number in range(110)]
        new = source.create(b"new")
        with pytest.raises(MaintenanceStopped, match="110 of 111 files in 'backup' are not in 'media', and at most 11"):
            prune("media", "backup")
        assert len(list(target.list())) == 112
        assert target.exists(new)
        assert prune("media", "backup", max_prune=110).pruned == 110
        assert not any(map(target.exists, ids))
        with pytest.raises(ConfigurationError, match="max_prune=-1"):
            prune("media", "backup", max_prune=-1)

    def test_it_stays_if_a_file_could_not_be_copied(
        self, local: tuple[LocalFileStorage, LocalFileStorage], prune: Prune
    ) -> None:
        """The backup is incomplete then, and its old files may be the only ones left."""
        source, target = local
        source.create(b"copied before")
        copy_files("media", "backup")
        damaged = source.create(b"damaged")
        path = source.get(damaged).local_path
        assert path is not None
        path.write_bytes(b"DAMAGED")
        old = target.create(b"old")
        report = prune("media", "backup")
        assert (list(report.failed), report.pruned) == ([damaged], None)
        assert target.exists(old)

    def test_a_file_that_is_stored_meanwhile_stays(
        self, local: tuple[LocalFileStorage, LocalFileStorage], prune: Prune
    ) -> None:
        """The source is asked again for each."""
        source, target = local
        source.create(b"x")
        copy_files("media", "backup")
        back = target.create(b"back")

        def put_back(progress: Progress) -> None:
            if progress.step == "copying" and not source.exists(back):
                source.save_from(target, back, file_id=back)

        report = prune("media", "backup", progress=put_back)
        assert (report.surplus, report.pruned) == (1, 0)
        assert target.exists(back)

    def test_a_source_and_a_backup_that_were_swapped_lose_nothing(
        self, local: tuple[LocalFileStorage, LocalFileStorage], engine: Engine, prune: Prune
    ) -> None:
        """The depot is newer than its backup, and its newest files are all that the backup lacks."""
        live, backup = local
        for number in range(20):
            live.create(b"%d" % number)
        copy_files("media", "backup")
        new = live.create(b"new")
        claim(engine, "media", models=[Base])
        with pytest.raises(MaintenanceStopped, match=r"'media' is no backup, it belongs to"):
            prune("backup", "media", max_prune=100)
        assert live.exists(new)
        assert not backup.exists(new)

    def test_a_depot_that_a_column_uploads_to_is_no_backup(
        self, local: tuple[LocalFileStorage, LocalFileStorage], prune: Prune
    ) -> None:
        """Also if nobody claimed it, and under any of its names."""
        DepotManager.configure("other", MemoryFileStorage())
        DepotManager.set_default("other")
        DepotManager.alias("uploads_of_owned", "media")
        copy_files("media", "backup", allow_empty=True)
        local[1].create(b"x")
        with pytest.raises(MaintenanceStopped, match=r"'media' is no backup, \S+ uploads to it"):
            prune("backup", "media")

    @pytest.mark.parametrize("name", ["uploads_of_owned", "media"])
    def test_a_file_that_a_row_names_stays(
        self, local: tuple[LocalFileStorage, LocalFileStorage], engine: Engine, prune: Prune, name: str
    ) -> None:
        """The name of a depot became an alias of its copy before the newest files were copied."""
        live, backup = local
        for number in range(12):
            live.create(b"%d" % number)
        copy_files("media", "backup")
        new = [live.create(b"new") for _ in range(3)]
        DepotManager.alias("uploads_of_owned", "backup")
        DepotManager.set_default("backup")
        backup.create(b"newer")
        with engine.begin() as connection:
            insert = text("INSERT INTO backup_owned (id, file) VALUES (:id, :file)")
            for number, file_id in enumerate(new[1:], 1):
                value = json.dumps({"path": f"{name}/{file_id}", "files": [f"{name}/{file_id}"]})
                connection.execute(insert, {"id": number, "file": value})
        for dry_run in (True, False):
            with pytest.raises(MaintenanceStopped, match="rows name 2 of the 3 files in 'media' that are not in 'back"):
                prune("backup", "media", dry_run=dry_run)
        assert all(map(live.exists, new))
        empty(engine, Base.metadata)
        assert prune("backup", "media").pruned == 3

    def test_with_models_the_rows_have_to_be_read(self, local: tuple[LocalFileStorage, LocalFileStorage]) -> None:
        """Nothing is copied without a database, since the rows would not be read in the end."""
        live, backup = local
        live.create(b"x")
        with pytest.raises(MaintenanceStopped, match=r"no database to look: give it \(bind, --url"):
            copy_files("media", "backup", prune=True)
        assert list(backup.list()) == []

    def test_without_models_the_source_has_to_be_claimed(
        self,
        local: tuple[LocalFileStorage, LocalFileStorage],
        engine: Engine,
        monkeypatch: pytest.MonkeyPatch,
        prune: Prune,
    ) -> None:
        """Nothing else tells a backup from a depot, if both are swapped by an application that imports no models."""
        live, _ = local
        live.create(b"old")
        copy_files("media", "backup")
        new = live.create(b"new")
        monkeypatch.setattr("depot_lite.maintenance.copier.columns_of_models", lambda: iter(()))
        with pytest.raises(MaintenanceStopped, match=r"nothing tells which of 'backup' and 'media' is the backup"):
            prune("backup", "media")
        assert live.exists(new)
        claim(engine, "media", models=[Base])
        assert prune("media", "backup").pruned == 0

    @pytest.mark.parametrize("kind", [FallbackStorage, MirrorStorage])
    def test_a_part_of_a_composite_is_no_source(
        self, local: tuple[LocalFileStorage, LocalFileStorage], kind: Callable[..., FileStorage], prune: Prune
    ) -> None:
        """Files that only the other part has are in the backup, and stay there."""
        new, old = local[0], MemoryFileStorage()
        DepotManager.configure("both", kind(new, old))
        new.create(b"new")
        old.create(b"old")
        assert prune("both", "backup").files == 2
        with pytest.raises(MaintenanceStopped, match=r"'media' is a part of 'both', .* Give 'both' as the source"):
            prune("media", "backup")
        assert len(list(local[1].list())) == 2

    def test_a_composite_with_a_part_that_is_not_mounted_is_no_source(
        self, local: tuple[LocalFileStorage, LocalFileStorage], prune: Prune
    ) -> None:
        """The backup may be all that can be read of its files."""
        new, old = local[0], MemoryFileStorage()
        DepotManager.configure("both", FallbackStorage(new, old))
        new.create(b"new")
        lost = old.create(b"old")
        assert prune("both", "backup").files == 2
        old.delete(lost)  # as if it were not mounted
        with pytest.raises(MaintenanceStopped, match=r"MemoryFileStorage\(\), a part of depot 'both', has no files"):
            prune("both", "backup")
        assert local[1].exists(lost)
        assert prune("both", "backup", allow_empty=True).pruned == 1

    def test_the_limit_is_that_of_all_parts_together(
        self, local: tuple[LocalFileStorage, LocalFileStorage], prune: Prune
    ) -> None:
        """Each of them is within it."""
        source, target = local
        source.create(b"copied before")
        copy_files("media", "backup")
        old = {target.create(b"old") for _ in range(11)}
        for number in (1, 2, 3):
            with pytest.raises(MaintenanceStopped, match=r"11 of 12 files .* at most 10 may be deleted"):
                prune("media", "backup", part=Part(number, 3))
        assert old <= set(target.list())

    def test_another_source_deletes_nothing_even_at_the_second_attempt(
        self, local: tuple[LocalFileStorage, LocalFileStorage], prune: Prune
    ) -> None:
        """A backup of few files is within the limit."""
        source, target = local
        source.create(b"of another site")
        ids = {target.create(b"%d" % number) for number in range(9)}
        for _ in range(2):
            with pytest.raises(MaintenanceStopped, match="'backup' has 9 files and none of 'media'"):
                prune("media", "backup")
        assert set(target.list()) == ids


def test_a_depot_without_files_is_not_copied_by_mistake(local: tuple[LocalFileStorage, LocalFileStorage]) -> None:
    """A folder that is not mounted is empty, and a nightly backup would report success for years."""
    with pytest.raises(MaintenanceStopped, match="depot 'media' has no files: the folder may not be mounted"):
        copy_files("media", "backup")
    assert copy_files("media", "backup", allow_empty=True).files == 0


def test_several_processes_share_a_job(local: tuple[LocalFileStorage, LocalFileStorage], prune: Prune) -> None:
    """Each copies, and deletes, its part, and nobody a file of another one."""
    source, target = local
    source.create(b"copied before")
    copy_files("media", "backup")
    for number in range(60):
        source.create(b"%d" % number)
    old = [target.create(b"old") for _ in range(9)]
    reports = [prune("media", "backup", part=Part(number, 3)) for number in (1, 2, 3)]
    assert sum(report.files for report in reports) == 60
    assert sum(report.pruned or 0 for report in reports) == len(old)
    assert min(report.files for report in reports) > 5
    assert content(source) == content(target)
    with pytest.raises(ConfigurationError, match="part=4: expected a whole number from 1 to 3"):
        Part(4, 3)
