"""The example of a storage of one's own keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlite_storage import SQLiteStorage

from depot_lite.errors import StorageFailed
from depot_lite.manager import DepotManager
from depot_lite.testing import StorageContract, temporary_depots


class TestSQLiteStorage(StorageContract):
    """One method, which makes it."""

    def make_storage(self, tmp_path: Path) -> SQLiteStorage:
        return SQLiteStorage(tmp_path / f"{len(list(tmp_path.iterdir()))}.db")


def test_it_is_configured_by_its_name(tmp_path: Path) -> None:
    settings = {"depot.backend": "sqlite_storage.SQLiteStorage", "depot.path": str(tmp_path / "notes.db")}
    with temporary_depots():
        depot = DepotManager.configure("notes", settings)
        file_id = depot.create(b"hello", "a.txt")
        assert DepotManager.get_file(f"notes/{file_id}").read() == b"hello"


def test_its_errors_are_ours(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_bytes(b"no database" * 100)
    with pytest.raises(StorageFailed, match="file is not a database"):
        SQLiteStorage(tmp_path / "notes.db")
