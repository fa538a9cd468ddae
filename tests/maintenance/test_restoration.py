"""restore_files: files that a depot lacks come back from a backup."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.errors import ConfigurationError, MaintenanceStopped, StorageFull
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import Content
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileEntry, FileInfo, StoredFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import find_missing
from depot_lite.maintenance.restoration import RestoreReport, restore_files
from depot_lite.maintenance.run.reports import Progress
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import sqlite_engine


class Base(DeclarativeBase): ...


class Letter(Base):
    __tablename__ = "restored_letter"
    id: Mapped[int] = mapped_column(primary_key=True)
    scan: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Backup(MemoryFileStorage):
    """A storage with a file that was never finished, and files that cannot be read."""

    broken: str | None = None
    unfinished: str | None = None

    def _list(self) -> Iterator[FileEntry]:
        yield from super()._list()
        if self.unfinished is not None:
            yield FileEntry.told(self.unfinished, 0, datetime.now(UTC))

    def _open(self, file_id: str) -> StoredFile:
        if file_id == self.broken:
            raise RuntimeError("the tape is torn")
        return super()._open(file_id)


class Full(MemoryFileStorage):
    """A storage without space."""

    def _save(self, file_id: str, content: Content) -> FileInfo:
        raise StorageFull(errno.ENOSPC, "no space left")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = sqlite_engine(tmp_path / "letters.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def backup(engine: Engine) -> Iterator[Backup]:
    """A depot ``letters`` with three files that rows name, and its backup with one file more."""
    with temporary_depots():
        letters = DepotManager.configure("letters", MemoryFileStorage())
        made = Backup()
        DepotManager.configure("backup", made)
        with Session(engine) as session:
            session.add_all(Letter(scan=f"letter {number}".encode()) for number in range(3))
            session.commit()
        for file_id in letters.list():
            made.save_from(letters, file_id, file_id=str(file_id))
        made.create(b"of a row that was deleted")
        yield made


def scans(engine: Engine) -> list[bytes]:
    """Return the bytes of all rows."""
    with Session(engine) as session:
        return sorted(each.scan.file.read() for each in session.query(Letter) if each.scan is not None)


def lose(count: int) -> list[str]:
    letters = DepotManager.get("letters")
    lost = sorted(map(str, letters.list()))[:count]
    letters.delete_many(lost)
    return lost


def restore(engine: Engine, source: str, target: str, **options: Any) -> RestoreReport:
    """Restore the files that rows of this module name: other modules have models in other databases."""
    return restore_files(engine, source, target, models=[Base], **options)


ALL = [b"letter 0", b"letter 1", b"letter 2"]


def test_a_file_whose_restoration_was_killed_is_restored(engine: Engine, backup: Backup, tmp_path: Path) -> None:
    """A folder lists what is left of it, which counted as the file: nothing was missing, and nothing came back."""
    [file_id] = lose(1)
    with temporary_depots():
        DepotManager.configure("backup", backup)
        DepotManager.configure("letters", LocalFileStorage(tmp_path / "disk", durable=False))
        (tmp_path / "disk" / file_id[:2]).mkdir(parents=True)
        (tmp_path / "disk" / file_id[:2] / f"{file_id}.0123abcd").write_bytes(b"lett")
        assert len(find_missing(engine, "letters", models=[Base]).files) == 3
        report = restore(engine, "backup", "letters")
        assert (report.files, report.present, report.lost) == (3, 0, [])
        assert scans(engine) == ALL


def test_what_rows_name_comes_back(engine: Engine, backup: Backup) -> None:
    lose(2)
    seen: list[Progress] = []
    report = restore(engine, "backup", "letters", progress=seen.append)
    assert (report.files, report.bytes, report.present, report.lost, report.failed) == (2, 16, 1, [], {})
    assert scans(engine) == ALL
    assert seen[-1] == Progress("restoring", 2, 2, "files", 16, finished=True)


def test_all_files_come_back_without_rows(engine: Engine, backup: Backup) -> None:
    """An unfinished upload in the backup is no file."""
    lose(3)
    backup.unfinished = new_file_id()
    report = restore_files(None, "backup", "letters")
    assert (report.files, report.present, report.lost) == (4, 0, [])
    assert scans(engine) == ALL
    assert restore_files(None, "backup", "letters").present == 4


def test_a_dry_run_and_a_limit(engine: Engine, backup: Backup) -> None:
    lose(3)
    dry = restore(engine, "backup", "letters", dry_run=True)
    assert (dry.files, dry.bytes, list(DepotManager.get("letters").list())) == (3, 24, [])
    for workers in (1, 8):
        assert restore(engine, "backup", "letters", limit=1, workers=workers).files == 1
    assert len(list(DepotManager.get("letters").list())) == 2
    assert restore_files(None, "backup", "letters", limit=1).files == 1


def test_what_is_in_neither_is_lost(engine: Engine, backup: Backup) -> None:
    lost = lose(1)
    backup.delete_many(lost)
    report = restore(engine, "backup", "letters")
    assert (report.files, report.lost) == (0, lost)


def test_a_failure_keeps_no_other_file(engine: Engine, backup: Backup) -> None:
    backup.broken = lose(3)[1]
    report = restore(engine, "backup", "letters")
    assert (report.files, {file_id: str(error) for file_id, error in report.failed.items()}) == (
        2,
        {backup.broken: "the tape is torn"},
    )


def test_a_full_depot_ends_it(engine: Engine, backup: Backup) -> None:
    DepotManager.configure("full", Full())
    with pytest.raises(StorageFull):
        restore_files(None, "backup", "full")


def test_a_backup_that_cannot_be_listed_is_refused(engine: Engine, backup: Backup) -> None:
    backup.list_is_complete = False
    with pytest.raises(MaintenanceStopped, match="a restoration would be incomplete"):
        restore_files(None, "backup", "letters")
    lose(1)
    assert restore(engine, "backup", "letters").files == 1


def test_both_depots_must_differ(backup: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected two storages"):
        restore_files(None, "backup", "backup")
