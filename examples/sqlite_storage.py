"""A custom storage: small files in a table of SQLite, in one portable database file.

    DepotManager.configure("notes", {"depot.backend": "sqlite_storage.SQLiteStorage", "depot.path": "notes.db"})

A storage has five methods. `depot_lite.io.interfaces` describes their contract, and `StorageContract` of
`depot_lite.testing` tests it (tests/examples/test_sqlite_storage.py).
"""

from __future__ import annotations

import hashlib
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from depot_lite import FileEntry, FileStorage, StorageFailed, StoredFile
from depot_lite.io.content import Content
from depot_lite.io.interfaces import UNNAMED, FileInfo

_TABLE = "CREATE TABLE IF NOT EXISTS file (id TEXT PRIMARY KEY, name TEXT, type TEXT, time TEXT, sum TEXT, data BLOB)"


class SQLiteStorage(FileStorage):
    """Files in the SQLite database at ``path``."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._execute(_TABLE)

    def _execute(self, statement: str, *values: Any) -> list[Any]:
        """Run one statement in its own transaction, and translate the errors of the database."""
        try:
            with closing(sqlite3.connect(self._path, timeout=30)) as database, database:
                return database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StorageFailed(f"{self._path}: {error}") from error

    def _save(self, file_id: str, content: Content) -> FileInfo:
        kind, name = (
            content.content_type,
            content.filename or UNNAMED,
        )  # before the bytes, which may be readable only once
        with content.open() as source:
            data = source.read()
        time, checksum = datetime.now(UTC), f"sha256:{hashlib.sha256(data).hexdigest()}"
        # One statement, so that readers see the old or the new file, and one of them remains after a crash.
        self._execute(
            "REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?)", file_id, name, kind, time.isoformat(), checksum, data
        )
        return FileInfo(file_id, name, kind, len(data), time, checksum)

    def _open(self, file_id: str) -> StoredFile:
        found = self._execute("SELECT name, type, time, sum, data FROM file WHERE id = ?", file_id)
        if not found:
            raise self._missing(file_id)
        name, kind, time, checksum, data = found[0]
        info = FileInfo(file_id, name, kind, len(data), datetime.fromisoformat(time), checksum)
        return StoredFile(info, lambda: io.BytesIO(data))

    def _delete(self, file_id: str) -> None:
        self._execute("DELETE FROM file WHERE id = ?", file_id)

    def _exists(self, file_id: str) -> bool:
        return bool(self._execute("SELECT 1 FROM file WHERE id = ?", file_id))

    def _list(self) -> Iterator[FileEntry]:
        last = ""
        while page := self._execute(
            "SELECT id, length(data), time FROM file WHERE id > ? ORDER BY id LIMIT 1000", last
        ):
            for file_id, size, time in page:
                yield FileEntry.told(file_id, size, datetime.fromisoformat(time))
            last = page[-1][0]

    def __repr__(self) -> str:
        return f"SQLiteStorage({str(self._path)!r})"
