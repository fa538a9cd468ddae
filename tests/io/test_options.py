"""Options that say how transfers go side by side."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.support.models import Base, Document


class Watched(LocalFileStorage):
    """Remembers which threads stored, and lets each wait for as many as may be at work."""

    def __init__(self, storage_path: str, **options: Any) -> None:
        super().__init__(storage_path, durable=False, **options)
        self.threads: set[str] = set()
        self.together = threading.Barrier(self.concurrency, timeout=20)

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self.together.wait()
        self.threads.add(threading.current_thread().name)
        return super()._save(file_id, content)


def _flush(storage: Watched, files: int) -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with temporary_depots():
        DepotManager.configure("default", storage)
        with Session(engine) as session:
            session.add_all([Document(content=str(number).encode()) for number in range(files)])
            session.flush()
            session.rollback()
    engine.dispose()


def test_a_flush_stores_in_the_executor_that_was_given(tmp_path: Path) -> None:
    """Three at once: two of its threads and the one that flushes."""
    with ThreadPoolExecutor(8, thread_name_prefix="mine") as executor:
        storage = Watched(str(tmp_path), concurrency="3", executor=executor)
        _flush(storage, 9)
    others = storage.threads - {threading.current_thread().name}
    assert others
    assert all(name.startswith("mine") for name in others)


def test_a_local_folder_stores_one_file_after_the_other_unless_told_otherwise(tmp_path: Path) -> None:
    """In the thread that flushes, where filters may do anything."""
    storage = Watched(str(tmp_path))
    _flush(storage, 5)
    assert storage.threads == {threading.current_thread().name}


@pytest.mark.parametrize("wrong", [0, "none", 1.5, True])
def test_a_concurrency_that_is_no_number_of_transfers_is_refused(tmp_path: Path, wrong: Any) -> None:
    """The option and its value are named."""
    with pytest.raises(ConfigurationError, match="concurrency="):
        LocalFileStorage(tmp_path, concurrency=wrong)


def test_processes_cannot_be_the_executor(tmp_path: Path) -> None:
    """They would not see the open files that are to be stored."""
    with ProcessPoolExecutor(1) as executor, pytest.raises(ConfigurationError, match="executor="):
        LocalFileStorage(tmp_path, executor=executor)


@pytest.mark.server
def test_s3_takes_an_executor_too() -> None:
    """And transfers sixteen at once by default."""
    from depot_lite.io.boto3 import S3Storage

    with ThreadPoolExecutor(1) as executor:
        storage = S3Storage("key", "secret", "bucket", executor=executor)
        given: Executor | None = storage.executor
    assert given is executor
    assert storage.concurrency == 16
