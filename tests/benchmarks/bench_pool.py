"""How many writers a connection pool serves while files are uploaded, and how long a reader waits for a connection.

    python -m tests.benchmarks.bench_pool                                   # DEPOT_TEST_POSTGRESQL_URL, or --url
    python -m tests.benchmarks.bench_pool --write append --pools 10
    python -m tests.benchmarks.bench_pool --checkout ../before --checkout .  # two versions, turn by turn

Each of 60 threads replaces the file of a row of its own, again and again, in a storage that takes 300 ms per request;
they share a pool of connections to PostgreSQL with a thread that does nothing but read one small row of another table.
Every run is a process of its own. The writers go one of two ways:

- ``in one go``: load, assign, commit. Files uploaded during the flush are uploaded while the session holds the
  connection that it loaded the row with.
- ``given back``: load, commit, assign, commit, in a session with ``expire_on_commit=False``. The first commit gives the
  connection back to the pool before the upload begins.

With ``--write append`` all of them append to the list of one row, of a model without a version counter; with
``--write counted`` of one with a counter, and who is refused by it loads the row again and repeats.

A write is an upload and the deletion of the old file. If nothing but the storage holds them up, 60 writers do 100 a
second; a pool of 10 allows 17 if a connection is held during both requests, 33 if during one. The last columns have
the requests per write, and the state afterwards: writes that had to be repeated, files that a row
names and that are gone, and files that no row names. ``appended`` is how many of the committed appends the row still
has.

The tables are called ``bench_pool_...`` and dropped at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from depot_lite import DepotManager, UploadedFile, UploadedFileField
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo, StoredFile
from depot_lite.io.memory import MemoryFileStorage
from tests.benchmarks.alternating import say
from tests.benchmarks.workers import HERE, command, commit_of, run

# A thread that gave a connection back and asks at once for another one is served before those that have been waiting:
# a few of the writers would keep the pool to themselves. A server's thread has an answer to send in between.
PAUSE: Final = 0.005
READ_EVERY: Final = 0.01


class Base(DeclarativeBase):
    """The parent of the models."""


class Document(Base):
    """A row with a file, one for each writer."""

    __tablename__ = "bench_pool_document"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Album(Base):
    """A row with a list of files, one for all writers."""

    __tablename__ = "bench_pool_album"
    id: Mapped[int] = mapped_column(primary_key=True)
    photos: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))


class CountedAlbum(Base):
    """The same with a version counter."""

    __tablename__ = "bench_pool_counted"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    photos: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it


class Plain(Base):
    """A row without a file, for the reader."""

    __tablename__ = "bench_pool_plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class SlowStorage(MemoryFileStorage):
    """Files in memory, with requests that take a while, as those to an object storage do; it counts them."""

    _concurrency = 16

    def __init__(self) -> None:
        super().__init__()
        self.delay = 0.0
        self.saves = 0
        self.deletes = 0
        self._counting = threading.Lock()

    def _request(self, *, saves: int = 0, deletes: int = 0) -> None:
        with self._counting:
            self.saves += saves
            self.deletes += deletes
        time.sleep(self.delay)

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self._request(saves=1)
        return super()._save(file_id, content)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        self._request(saves=1)
        return super()._copy(source_id, file_id)

    def _open(self, file_id: str) -> StoredFile:
        self._request()
        return super()._open(file_id)

    def _exists(self, file_id: str) -> bool:
        self._request()
        return super()._exists(file_id)

    def _delete(self, file_id: str) -> None:
        self._request(deletes=1)
        super()._delete(file_id)

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        self._request(deletes=1)
        for file_id in file_ids:
            super()._delete(file_id)
        return {}


# --- the writers ------------------------------------------------------------------------------------------------------

Change = Callable[[Session, int], Callable[[bytes], object]]


def _replace(session: Session, number: int) -> Callable[[bytes], object]:
    document = session.get_one(Document, number)

    def assign(data: bytes) -> None:
        document.content = UploadedFile(data)

    return assign


def _append(session: Session, number: int) -> Callable[[bytes], object]:
    photos = session.get_one(Album, 1).photos
    return lambda data: photos.append(UploadedFile(data))


def _append_counted(session: Session, number: int) -> Callable[[bytes], object]:
    photos = session.get_one(CountedAlbum, 1).photos
    return lambda data: photos.append(UploadedFile(data))


CHANGES: Final[Mapping[str, Change]] = {"replace": _replace, "append": _append, "counted": _append_counted}


def in_one_go(engine: Engine, change: Change, number: int, data: bytes) -> None:
    """Load, assign, commit."""
    with Session(engine) as session:
        assign = change(session, number)
        assign(data)
        session.commit()


def given_back(engine: Engine, change: Change, number: int, data: bytes) -> None:
    """Load, give the connection back, assign, commit."""
    with Session(engine, expire_on_commit=False) as session:
        assign = change(session, number)
        session.commit()
        assign(data)
        session.commit()


WAYS: Final = {"in one go": in_one_go, "given back": given_back}


# --- one run, in a process of its own ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """The settings of one run."""

    write: str
    way: str
    pool: int
    writers: int
    delay: float
    size: int
    warm: float
    seconds: float


class Run:
    """Writers and a reader, and when they did what."""

    def __init__(self, engine: Engine, load: Load) -> None:
        self.engine = engine
        self.load = load
        self.stop = threading.Event()
        self.written: list[float] = []
        self.refused: list[float] = []
        self.reads: list[tuple[float, float]] = []

    def write(self, number: int) -> None:
        """Write until stopped; a write that a version counter refuses is counted, and the loop repeats it."""
        way, change, data = WAYS[self.load.way], CHANGES[self.load.write], bytes(self.load.size)
        while not self.stop.wait(PAUSE):
            try:
                way(self.engine, change, number, data)
            except StaleDataError:
                self.refused.append(time.perf_counter())
            else:
                self.written.append(time.perf_counter())

    def read(self) -> None:
        """Read one row every few milliseconds until stopped."""
        query = select(Plain.name).where(Plain.id == 1)
        while not self.stop.wait(READ_EVERY):
            start = time.perf_counter()
            with Session(self.engine) as session:
                session.execute(query).scalar_one()
            self.reads.append((start, time.perf_counter()))

    def go(self) -> dict[str, float]:
        """Let all of them work, and return rates and times of the seconds after the warming up."""
        with ThreadPoolExecutor(self.load.writers + 1) as threads:
            working = [threads.submit(self.read)]
            working += [threads.submit(self.write, number) for number in range(1, self.load.writers + 1)]
            try:
                self.stop.wait(self.load.warm)
                start = time.perf_counter()
                self.stop.wait(self.load.seconds)
            finally:
                self.stop.set()
            end = time.perf_counter()
            for each in working:
                each.result()
        # A read counts if any part of it was in the time that is measured: the long ones matter.
        reads = [done - begun for begun, done in self.reads if done > start and begun < end]
        return {
            "writes": sum(start < each <= end for each in self.written) / (end - start),
            "refused": sum(start < each <= end for each in self.refused) / (end - start),
            "median": statistics.median(reads),
            "most": max(reads),
            "reads": len(reads),
        }


def _fill(engine: Engine, writers: int) -> None:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Plain(id=1, name="plain"))
        session.add_all(Document(id=number, content=UploadedFile(b"first")) for number in range(1, writers + 1))
        session.add_all([Album(id=1, photos=[]), CountedAlbum(id=1, photos=[])])
        session.commit()


def _named(engine: Engine) -> tuple[set[str], int]:
    """Return the ids of the files that rows name, and how many are in a list."""
    with Session(engine) as session:
        single = [each.file_id for each in session.scalars(select(Document.content)) if each is not None]
        albums = [*session.scalars(select(Album)), *session.scalars(select(CountedAlbum))]
        listed = [photo.file_id for album in albums for photo in album.photos]
    return {str(each) for each in single + listed}, len(listed)


def measure(url: str, load: Load) -> dict[str, float]:
    """Make the tables, let the writers and the reader work, and return the measurements and the state afterwards."""
    storage = SlowStorage()
    DepotManager.configure("default", storage)
    engine = create_engine(url, pool_size=load.pool, max_overflow=0, pool_timeout=300)
    try:
        _fill(engine, load.writers)
        storage.saves = storage.deletes = 0
        storage.delay = load.delay
        work = Run(engine, load)
        found = work.go()
        storage.delay = 0.0
        named, listed = _named(engine)
        stored: set[str] = set(storage.list())
        found |= {"all": len(work.written), "saves": storage.saves, "deletes": storage.deletes, "listed": listed}
        return found | {"missing": len(named - stored), "unused": len(stored - named)}
    finally:
        Base.metadata.drop_all(engine)
        engine.dispose()


# --- all runs ---------------------------------------------------------------------------------------------------------


def report(url: str, checkouts: Sequence[Path], loads: Sequence[Load]) -> None:
    """Measure each load with each checkout, and print a line for each."""
    first = loads[0]
    say(f"{first.writers} writers, {first.delay * 1000:.0f} ms per request, {first.seconds:.0f} s each")
    titles = ("writes/s", "read", "at most", "saves", "deletes", "repeated", "missing", "unused", "appended")
    say(f"{'commit':<10}{'write':<9}{'way':<12}{'pool':>4}" + "".join(f"{each:>11}" for each in titles))
    for load in loads:
        for checkout in checkouts:
            arguments = ["--url", url, "--run", json.dumps(asdict(load))]
            say(_line(commit_of(checkout), load, run(command("bench_pool", *arguments, checkout=checkout))))


def _line(commit: str, load: Load, found: Mapping[str, Any]) -> str:
    writes = max(found["all"], 1)
    values = (
        f"{found['writes']:.1f}",
        f"{found['median'] * 1000:.1f} ms",
        f"{found['most'] * 1000:.0f} ms",
        f"{found['saves'] / writes:.2f}",
        f"{found['deletes'] / writes:.2f}",
        f"{found['refused']:.1f}/s",
        f"{found['missing']}",
        f"{found['unused']}",
        "-" if load.write == "replace" else f"{found['listed']}/{found['all']}",
    )
    return f"{commit:<10}{load.write:<9}{load.way:<12}{load.pool:>4}" + "".join(f"{each:>11}" for each in values)


def main() -> None:
    """Read the options and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    url = os.environ.get("DEPOT_TEST_POSTGRESQL_URL")
    parser.add_argument(
        "--url", default=url, required=url is None, help="PostgreSQL; tables are made and dropped there"
    )
    parser.add_argument("--write", choices=list(CHANGES), nargs="+", default=["replace"])
    parser.add_argument("--way", choices=list(WAYS), nargs="+", default=list(WAYS))
    parser.add_argument("--pools", type=int, nargs="+", default=[5, 10, 20], help="sizes of the pool")
    parser.add_argument("--writers", type=int, default=60)
    parser.add_argument("--delay", type=float, default=0.3, help="seconds per request to the storage")
    parser.add_argument("--size", type=int, default=1000, help="bytes of a file")
    parser.add_argument("--warm", type=float, default=2.0, help="seconds before the measuring begins")
    parser.add_argument("--seconds", type=float, default=6.0, help="seconds that are measured")
    parser.add_argument("--checkout", type=Path, action="append", help="a folder to take depot_lite from; repeat it")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        sys.stdout.write(json.dumps(measure(given.url, Load(**json.loads(given.run)))))
        return
    loads = [
        Load(write, way, pool, given.writers, given.delay, given.size, given.warm, given.seconds)
        for write in given.write
        for pool in given.pools
        for way in given.way
    ]
    report(given.url, given.checkout or [HERE], loads)


if __name__ == "__main__":
    main()
