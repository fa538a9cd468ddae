"""The cost of finding the unused ones among a million stored files: time and memory.

    python -m tests.benchmarks.bench_unused [--files 1000000] [--rounds N] [--url URL] [--folder DIR]

The files lie in a local storage, 95 of 100 are named by rows of a table. Each run is a process of its own:

- ``bare``: the storage is listed, and the column is selected as a stream; nothing is done with either.
- ``unused``: `depot_lite.maintenance.find_unused`.

The table gives medians of seconds, and the most memory that was in use above the needs of the process when it has
imported everything and opened the database. Files and rows are made first, which takes minutes; with ``--folder`` they
are kept and found again by the next call.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Text, cast, create_engine, func, insert, select, type_coerce
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.local.disk import write_sidecar, write_small
from depot_lite.maintenance import find_unused
from depot_lite.manager import DepotManager

NAMED: Final = 0.95
LIMITS: Final = {"time": 2.0, "bytes": 100}
YESTERDAY: Final = datetime.now(UTC) - timedelta(days=2)


class Base(DeclarativeBase):
    """The parent of the benchmark's model."""


class Poster(Base):
    """One file a row."""

    __tablename__ = "bench_unused_poster"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


def prepare(folder: Path, url: str, files: int) -> None:
    """Make the files and the rows, as storing them one by one would have made them."""
    engine = create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    for number in range(256):
        (folder / f"{number:02x}").mkdir(parents=True, exist_ok=True)
    named = round(files * NAMED)
    with engine.begin() as connection:
        for start in range(0, files, 10_000):
            ids = [str(uuid.uuid4()) for _ in range(min(10_000, files - start))]
            for file_id in ids:
                _store(folder, file_id)
            rows = [_row(each) for each in ids[: max(0, named - start)]]
            if rows:
                connection.execute(insert(Poster), rows)
    engine.dispose()


def _store(folder: Path, file_id: str) -> None:
    data = f"{file_id}.00000000"
    info = FileInfo(file_id, "poster of a film.jpg", "image/jpeg", 4, YESTERDAY, "crc32:00000000")
    write_small(f"{folder}/{file_id[:2]}/{data}", b"data", 0o600, durable=False)
    write_sidecar(f"{folder}/{file_id[:2]}/{file_id}.json", info, data, 0o600, durable=False)


def _row(file_id: str) -> dict[str, Any]:
    data = {
        "depot_name": "default",
        "file_id": file_id,
        "path": f"default/{file_id}",
        "files": [f"default/{file_id}"],
        "filename": "poster of a film.jpg",
        "content_type": "image/jpeg",
        "uploaded_at": "2026-11-22 10:00:00",
        "content_length": 4,
        "checksum": "crc32:00000000",
    }
    return {"image": UploadedFile.loader()(json.dumps(data))}


# --- in a process of its own ------------------------------------------------------------------------------------------


def _peak() -> int:
    """Return the greatest resident size so far, in bytes."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def run(kind: str, folder: Path, url: str) -> dict[str, float]:
    """Do one of the two, and return seconds, bytes above the idle process, and the number of files found."""
    engine = create_engine(url)
    DepotManager.configure("default", LocalFileStorage(folder))
    with engine.connect() as connection:
        connection.execute(select(func.count()).select_from(Poster))
    idle, start = _peak(), time.perf_counter()
    found = _bare(engine) if kind == "bare" else len(find_unused(engine, models=[Base]).files)
    return {"seconds": time.perf_counter() - start, "bytes": _peak() - idle, "found": found}


def _bare(engine: Any) -> int:
    count = sum(1 for _ in DepotManager.get().list())
    query = select(type_coerce(Poster.image, Text))
    if engine.dialect.name == "postgresql":
        query = select(cast(Poster.image, Text))
    with engine.connect().execution_options(yield_per=5000) as connection:
        for partition in connection.execute(query).partitions():
            count -= len(partition)
    return count


def measured(kind: str, folder: Path, url: str) -> dict[str, float]:
    """Return the measurements of a process of its own."""
    arguments = ["-m", "tests.benchmarks.bench_unused", "--run", kind, "--folder", str(folder), "--url", url]
    told = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, check=True, text=True).stdout
    found: dict[str, float] = json.loads(told)
    return found


def table(folder: Path, url: str, files: int, rounds: int) -> Iterator[str]:
    """Yield the lines of the table."""
    runs: dict[str, list[dict[str, float]]] = {"bare": [], "unused": []}
    for number in range(rounds):
        for kind in list(runs)[:: 1 if number % 2 else -1]:
            runs[kind].append(measured(kind, folder, url))
    bare = statistics.median(each["seconds"] for each in runs["bare"])
    for kind, found in runs.items():
        seconds = statistics.median(each["seconds"] for each in found)
        memory = max(each["bytes"] for each in found) / files
        yield (
            f"{kind:8}{files:>10} files  {found[0]['found']:>8.0f} found  {seconds:8.2f} s  {seconds / bare:5.2f} "
            f"times (at most {LIMITS['time']})  {memory:6.1f} bytes a file (at most {LIMITS['bytes']})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Finding unused files")
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--run", choices=["bare", "unused"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        sys.stdout.write(json.dumps(run(given.run, given.folder, given.url)))
        return
    with tempfile.TemporaryDirectory(prefix="bench_unused-") as name:
        folder = given.folder or Path(name, "files")
        url = given.url or f"sqlite:///{folder}.sqlite"
        if not folder.exists():
            prepare(folder, url, given.files)
        sys.stdout.write("\n".join([*table(folder, url, given.files, given.rounds), ""]))


if __name__ == "__main__":
    main()
