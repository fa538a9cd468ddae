"""What an insert with a file costs, beside filedepot and sqlalchemy-file.

    python -m tests.benchmarks.bench_inserts
    python -m tests.benchmarks.bench_inserts --url postgresql+psycopg://root@127.0.0.1/test

Each contestant inserts rows with a small file into its own local folder, one row to a transaction and then all in one;
ours with and without ``durable``, which the peers do not have: they never sync a file. How many storage calls and
queries that takes is counted in test_counts.py; what sessions pay that touch no file is measured by bench_overhead.py.

The tables are called ``bench_inserts_...`` and dropped at the end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.alternating import medians, say, table
from tests.benchmarks.workers import Worker

# One process per contestant, since listeners are for all sessions of a process. It answers each line on its standard
# input with its measurements.
_WORKER = """
import gc, json, sys, time
url, folder, rows, kind = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
from sqlalchemy import Integer, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

class Base(DeclarativeBase):
    pass

{setup}

engine = create_engine(url)
if engine.dialect.name == "sqlite":
    # Python's work is measured, not the disk's.
    event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA synchronous = OFF"))
Base.metadata.create_all(engine)

def timed(work, count, clock):
    gc.collect()
    start = clock()
    work()
    return (clock() - start) / count

{work}

for line in sys.stdin:
    print(json.dumps(measure()), flush=True)
engine.dispose()
"""

_OURS = """
from depot_lite import DepotManager, UploadedFileField
from depot_lite.io.local import LocalFileStorage

DepotManager.configure("default", LocalFileStorage(folder, durable=kind == "durable"))

class Document(Base):
    __tablename__ = "bench_inserts_" + kind
    id = mapped_column(Integer, primary_key=True)
    content = mapped_column(UploadedFileField)
"""

_FILEDEPOT = """
from depot.fields.sqlalchemy import UploadedFileField
from depot.manager import DepotManager

DepotManager.configure("default", {"depot.storage_path": folder})

class Document(Base):
    __tablename__ = "bench_inserts_" + kind
    id = mapped_column(Integer, primary_key=True)
    content = mapped_column(UploadedFileField)
"""

_SQLALCHEMY_FILE = """
import os
from libcloud.storage.drivers.local import LocalStorageDriver
from sqlalchemy_file import FileField
from sqlalchemy_file.storage import StorageManager

os.makedirs(folder + "/files")
StorageManager.add_storage("default", LocalStorageDriver(folder).get_container("files"))

class Document(Base):
    __tablename__ = "bench_inserts_" + kind
    id = mapped_column(Integer, primary_key=True)
    content = mapped_column(FileField)
"""

_FILE_WORK = """
data = b"Dear Sir, " * 100

def commits():
    for number in range(rows):
        with Session(engine) as session:
            session.add(Document(content=data))
            session.commit()

def one_commit():
    with Session(engine) as session:
        session.add_all(Document(content=data) for number in range(rows))
        session.commit()

def measure():
    return [timed(each, rows, time.perf_counter) for each in (commits, one_commit)]
"""

_FILE_STEPS = ("insert and commit", "insert, one commit for all")

_CONTESTANTS: Mapping[str, tuple[str, str, str]] = {
    "depot_lite": ("fast", _OURS, "depot_lite"),
    "depot_lite, durable": ("durable", _OURS, "depot_lite"),
    "filedepot": ("filedepot", _FILEDEPOT, "depot"),
    "sqlalchemy-file": ("peer", _SQLALCHEMY_FILE, "sqlalchemy_file"),
}


class Bench:
    """Workers in a database and a temporary folder."""

    def __init__(self, url: str | None, folder: Path, rows: int, rounds: int, closing: ExitStack) -> None:
        self.url = url
        self.folder = folder
        self.rows = rows
        self.rounds = rounds
        self.closing = closing

    def worker(self, name: str, setup: str, work: str) -> Callable[[], list[float]]:
        """Start a process and return what asks it; each has a file of its own where the database is SQLite."""
        folder = self.folder / name
        folder.mkdir()
        url = self.url or f"sqlite:///{folder / 'bench.db'}"
        program = _WORKER.replace("{setup}", setup).replace("{work}", work)
        worker = Worker([sys.executable, "-c", program, url, str(folder / "files"), str(self.rows), name])
        self.closing.callback(worker.close)
        return worker.measure

    def report(self, title: str, steps: Sequence[str], workers: dict[str, Callable[[], list[float]]]) -> None:
        """Measure and print one table per step."""
        measured = medians(workers, self.rounds)
        for number, step in enumerate(steps):
            times = {name: values[number] for name, values in measured.items()}
            table(f"{title}: {step}", times, unit="us", scale=1e6, against=next(iter(times)))


def report(bench: Bench) -> None:
    """Measure the contestants that are installed."""
    workers = {}
    for name, (kind, setup, module) in _CONTESTANTS.items():
        if find_spec(module) is None:
            say(f"{name} is not installed and left out")
        else:
            workers[name] = bench.worker(kind, setup, _FILE_WORK)
    bench.report("a file of 1000 bytes", _FILE_STEPS, workers)


def _drop_tables(url: str) -> None:
    drop = """
import sys
from sqlalchemy import MetaData, create_engine
engine, metadata = create_engine(sys.argv[1]), MetaData()
metadata.reflect(engine, only=lambda name, _: name.startswith("bench_inserts_"))
metadata.drop_all(engine)
"""
    subprocess.run([sys.executable, "-c", drop, url], check=True)


def main() -> None:
    """Read the options and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a database to measure in; by default SQLite in a temporary folder")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        if options.url:
            closing.callback(_drop_tables, options.url)
        report(Bench(options.url, folder, options.rows, options.rounds, closing))


if __name__ == "__main__":
    main()
