"""The cost of moving files while an application runs, beside a loop that only copies them.

    python -m tests.benchmarks.bench_migrate [--files 1000] [--size 100000] [--rounds 5] [--url URL]
    python -m tests.benchmarks.bench_migrate --s3 http://127.0.0.1:7480 [--files 200]
    python -m tests.benchmarks.bench_migrate --url URL --delay 5 --files 3000

- ``loop``: ``target.create(source.get(file_id))`` for all files, from as many threads.
- ``migrate``: `depot_lite.maintenance.migration.migrate`, which reads rows, copies, verifies, and rewrites each row.

From one folder to another; with ``--s3`` from a bucket to a folder. The keys of the server are those of the tests
(DEPOT_TEST_S3_ACCESS_KEY, DEPOT_TEST_S3_SECRET_KEY); with ``--s3 moto`` it is moto, in a process of its own. The rows
are in SQLite unless ``--url`` names another database, which ``--delay`` moves away by as many milliseconds. Both take
turns, in empty targets, and medians of the time are told.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import boto3
from sqlalchemy import Engine, create_engine, delete
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.boto3 import S3Storage
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.maintenance.migration import migrate
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.benchmarks.alternating import medians, say, table
from tests.benchmarks.delaying import delayed

WORKERS: Final = 16
LIMIT: Final = 1.3


class Base(DeclarativeBase):
    """The parent of the benchmark's model."""


class Poster(Base):
    """One file a row."""

    __tablename__ = "bench_migrate_poster"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Contest:
    """The same files, copied and moved again and again."""

    def __init__(self, engine: Engine, source: FileStorage, folder: Path, files: int, size: int) -> None:
        self.engine = engine
        self.source = source
        self.folder = folder
        data = [os.urandom(size) for _ in range(4)]
        with ThreadPoolExecutor(WORKERS) as threads:
            self.ids = list(threads.map(lambda number: source.create(data[number % 4], "poster.jpg"), range(files)))

    def loop(self) -> tuple[float]:
        """Copy the files, and do nothing else."""
        with self._target() as target, ThreadPoolExecutor(WORKERS) as threads:
            began = time.perf_counter()
            list(threads.map(lambda file_id: _copy(self.source, target, file_id), self.ids))
            return (time.perf_counter() - began,)

    def migrate(self) -> tuple[float]:
        """Move the files of rows."""
        with self._target() as target, temporary_depots():
            DepotManager.configure("source", self.source)
            DepotManager.configure("target", target)
            self._write_rows()
            began = time.perf_counter()
            report = migrate(self.engine, "source", "target", workers=WORKERS, models=[Base])
            seconds = time.perf_counter() - began
        if report.rows != len(self.ids):
            raise SystemExit(f"{report.rows} of {len(self.ids)} rows were moved")
        return (seconds,)

    @contextmanager
    def _target(self) -> Iterator[FileStorage]:
        folder = self.folder / uuid.uuid4().hex
        yield LocalFileStorage(folder)
        shutil.rmtree(folder)

    def _write_rows(self) -> None:
        with Session(self.engine) as session:
            session.connection().execute(delete(Poster.__table__))  # type: ignore[arg-type]
            session.connection().execute(
                Poster.__table__.insert(),  # type: ignore[attr-defined]
                [{"image": UploadedFile(_row(each))} for each in self.ids],
            )
            session.commit()


def _copy(source: FileStorage, target: FileStorage, file_id: str) -> None:
    with source.get(file_id) as file:
        target.create(file)


def _row(file_id: str) -> dict[str, Any]:
    return {
        "depot_name": "source",
        "file_id": file_id,
        "path": f"source/{file_id}",
        "files": [f"source/{file_id}"],
        "filename": "poster.jpg",
        "content_type": "image/jpeg",
        "uploaded_at": "2026-11-22 10:00:00",
        "_public_url": None,
    }


@contextmanager
def moto() -> Iterator[str]:
    """Give the URL of moto in a process of its own, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            while server.poll() is None:
                with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@contextmanager
def s3(url: str) -> Iterator[FileStorage]:
    """Give a storage in a bucket of its own."""
    with ExitStack() as closing:
        if url == "moto":
            url = closing.enter_context(moto())
        access_key = os.environ.get("DEPOT_TEST_S3_ACCESS_KEY", "test")
        secret_key = os.environ.get("DEPOT_TEST_S3_SECRET_KEY", "testsecret")
        client = boto3.Session().client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
        )
        bucket = f"bench-{uuid.uuid4().hex[:12]}"
        client.create_bucket(Bucket=bucket)
        storage = S3Storage(access_key, secret_key, bucket, "us-east-1", endpoint_url=url)
        yield storage
        storage.delete_many(list(storage.list()))
        client.delete_bucket(Bucket=bucket)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url")
    parser.add_argument("--delay", type=float, metavar="MILLISECONDS")
    parser.add_argument("--s3", metavar="URL")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as closing:
        folder = Path(name)
        url = given.url or f"sqlite:///{folder}/bench.db"
        engine = create_engine(closing.enter_context(delayed(url, given.delay)) if given.delay else url)
        Base.metadata.create_all(engine)
        source = LocalFileStorage(folder / "source") if given.s3 is None else closing.enter_context(s3(given.s3))
        contest = Contest(engine, source, folder, given.files, given.size)
        times = medians({"loop": contest.loop, "migrate": contest.migrate}, given.rounds)
        Base.metadata.drop_all(engine)
        engine.dispose()
    title = f"{given.files} files of {given.size} bytes, {WORKERS} threads, {engine.dialect.name}"
    table(title, {name: each[0] for name, each in times.items()}, unit="ms", scale=1000, against="loop")
    say(f"\n{times['migrate'][0] / times['loop'][0]:.2f} times the loop; {LIMIT} is the limit")


if __name__ == "__main__":
    main()
