"""The cost of inserting, replacing, deleting and appending, and of rollbacks: time and statements per row.

    python -m tests.benchmarks.bench_changes
    python -m tests.benchmarks.bench_changes --url "$DEPOT_TEST_POSTGRESQL_URL"
    python -m tests.benchmarks.bench_changes --checkout ../before --checkout .   # two versions, turn by turn

Files lie in memory, so that only the work of the session, of the database and of depot_lite is measured. Each
checkout has a process of its own; the processes take turns, and the medians are compared with those of the first one.
``ms`` is time by the clock, which includes the database server; ``processor`` is the processor time of the process
alone. Statements and calls of the storage are counted in one more turn that is not timed. Everything is per row; each
row is a transaction of its own, in a session of its own, unless the step says that all are one.

The tables are called ``bench_changes_...`` and dropped at the end.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, create_engine, delete, event, insert, make_url, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite import DepotManager, UploadedFile, UploadedFileField
from tests.benchmarks.alternating import medians, say
from tests.benchmarks.counting import CountingStorage
from tests.benchmarks.workers import HERE, Worker, command, commit_of, run

DATA: Final = b"Dear Sir, " * 100


class Base(DeclarativeBase):
    """The parent of the models."""


class Document(Base):
    """A row with a file."""

    __tablename__ = "bench_changes_document"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Album(Base):
    """A row with a list of files."""

    __tablename__ = "bench_changes_album"
    id: Mapped[int] = mapped_column(primary_key=True)
    photos: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))


def _file() -> UploadedFile:
    return UploadedFile(DATA)


# --- the steps, in their order: the last ones delete the rows that the first ones insert ------------------------------


def insert_each(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            session.add(Document(id=key, number=key, content=_file()))
            session.commit()


def insert_rolled_back(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            session.add(Document(id=-key, number=key, content=_file()))
            session.flush()
            session.rollback()


def replace_each(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            session.get_one(Document, key).content = _file()
            session.commit()


def replace_rolled_back(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            session.get_one(Document, key).content = _file()
            session.flush()
            session.rollback()


def replace_all(engine: Engine, keys: Sequence[int]) -> None:
    with Session(engine) as session:
        for document in session.scalars(select(Document).where(Document.id.in_(keys))):
            document.content = _file()
        session.commit()


def change_number(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            session.get_one(Document, key).number += 1
            session.commit()


def update_each(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            session.execute(update(Document).where(Document.id == key).values(content=_file()))
            session.commit()


def append_each(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            session.get_one(Album, key).photos.append(_file())
            session.commit()


def swap_each(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            photos = session.get_one(Album, key).photos
            photos[0], photos[1] = photos[1], photos[0]
            session.commit()


def remove_each(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            del session.get_one(Album, key).photos[0]
            session.commit()


def _half(keys: Sequence[int], number: int) -> Sequence[int]:
    middle = len(keys) // 2
    return keys[:middle] if number == 0 else keys[middle:]


def delete_each(engine: Engine, keys: Sequence[int]) -> None:
    for key in _half(keys, 0):
        with Session(engine) as session:
            session.delete(session.get_one(Document, key))
            session.commit()


def delete_by_statement(engine: Engine, keys: Sequence[int]) -> None:
    for key in _half(keys, 1):
        with Session(engine) as session:
            session.execute(delete(Document).where(Document.id == key))
            session.commit()


def insert_by_statement(engine: Engine, keys: Sequence[int]) -> None:
    with Session(engine) as session:
        session.execute(insert(Document), [{"id": key, "number": key, "content": _file()} for key in keys])
        session.commit()


def delete_all(engine: Engine, keys: Sequence[int]) -> None:
    with Session(engine) as session:
        for document in session.scalars(select(Document).where(Document.id.in_(keys))):
            session.delete(document)
        session.commit()


# Each with the part of the rows that it works on.
STEPS: Final[Mapping[str, tuple[Callable[[Engine, Sequence[int]], None], float]]] = {
    "insert, commit": (insert_each, 1),
    "insert, flush, rollback": (insert_rolled_back, 1),
    "load, replace, commit": (replace_each, 1),
    "load, replace, flush, rollback": (replace_rolled_back, 1),
    "replace all, one commit": (replace_all, 1),
    "load, change a number, commit": (change_number, 1),
    "execute(update), commit": (update_each, 1),
    "load, append, commit": (append_each, 1),
    "load, swap two, commit": (swap_each, 1),
    "load, remove one, commit": (remove_each, 1),
    "load, delete, commit": (delete_each, 0.5),
    "execute(delete), commit": (delete_by_statement, 0.5),
    "execute(insert) all, one commit": (insert_by_statement, 1),
    "delete all, one commit": (delete_all, 1),
}


# --- in a process of its own ------------------------------------------------------------------------------------------


def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        # Python's work is measured, not the disk's.
        event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA synchronous = OFF"))
    return engine


@contextmanager
def _albums(engine: Engine, keys: Sequence[int]) -> Iterator[None]:
    """Make a turn's albums before it and delete them after it: the next turn may be another process's."""
    with Session(engine) as session:
        session.add_all(Album(id=key, photos=[_file(), _file(), _file()]) for key in keys)
        session.commit()
    yield
    with Session(engine) as session:
        for album in session.scalars(select(Album)):
            session.delete(album)
        session.commit()


def times(engine: Engine, keys: Sequence[int]) -> list[float]:
    """Return for each step the seconds per row, then for each the seconds of processor time."""
    clock, processor = [], []
    with _albums(engine, keys):
        for step, part in STEPS.values():
            gc.collect()
            started, used = time.perf_counter(), time.process_time()
            step(engine, keys)
            processor.append((time.process_time() - used) / (len(keys) * part))
            clock.append((time.perf_counter() - started) / (len(keys) * part))
    return clock + processor


def counts(engine: Engine, storage: CountingStorage, keys: Sequence[int]) -> dict[str, list[float]]:
    """Return for each step how many statements and how many calls of the storage it makes per row."""
    statements: Counter[str] = Counter()

    def count(*_: object) -> None:
        statements["all"] += 1

    # What reaches the driver, also by a connection that fires no events.
    for name in ("do_execute", "do_executemany", "do_execute_no_params"):
        event.listen(engine, name, count)
    found = {}
    with _albums(engine, keys):
        for name, (step, part) in STEPS.items():
            statements.clear()
            storage.taken()
            step(engine, keys)
            calls = sum(storage.taken().values())
            found[name] = [statements["all"] / (len(keys) * part), calls / (len(keys) * part)]
    return found


def work(url: str, rows: int, *, counted: bool) -> None:
    """Count once, or measure whenever a line comes in."""
    keys, storage, engine = range(1, rows + 1), CountingStorage(), _engine(url)
    DepotManager.configure("default", storage)
    if counted:
        sys.stdout.write(json.dumps(counts(engine, storage, keys)))
    else:
        for _ in sys.stdin:
            sys.stdout.write(f"{json.dumps(times(engine, keys))}\n")
            sys.stdout.flush()
    engine.dispose()


# --- all of them ------------------------------------------------------------------------------------------------------


@contextmanager
def _tables(url: str) -> Iterator[None]:
    engine = create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    try:
        yield
    finally:
        Base.metadata.drop_all(engine)
        engine.dispose()


def report(url: str | None, checkouts: Sequence[Path], rows: int, rounds: int) -> None:
    """Count and measure with each checkout, and print a line for each step and checkout."""
    names = {f"{number}: {commit_of(checkout)}": checkout for number, checkout in enumerate(checkouts, 1)}
    counted: dict[str, dict[str, list[float]]] = {}
    workers = {}
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        url = url or f"sqlite:///{folder / 'bench.db'}"
        closing.enter_context(_tables(url))
        for name, checkout in names.items():
            arguments = ["--url", url, "--rows", str(rows), "--run"]
            counted[name] = run(command("bench_changes", *arguments, "count", checkout=checkout))
            worker = Worker(command("bench_changes", *arguments, "time", checkout=checkout))
            closing.callback(worker.close)
            workers[name] = worker.measure
        measured = medians(workers, rounds)
    say(f"{make_url(url).get_backend_name()}, {rows} rows, {rounds} rounds; per row")
    say(f"{'':<40}{'ms':>9}{'':>8}{'processor':>11}{'':>8}{'statements':>12}{'storage':>9}")
    first = next(iter(measured.values()))
    for number, step in enumerate(STEPS):
        say(step)
        for name, values in measured.items():
            ms, processor = (f"{values[at] * 1000:.3f}" for at in (number, number + len(STEPS)))
            slower, busier = (f"{values[at] / first[at]:.2f}x" for at in (number, number + len(STEPS)))
            statements, calls = counted[name][step]
            say(f"    {name:<36}{ms:>9}{slower:>8}{processor:>11}{busier:>8}{statements:>12.2f}{calls:>9.2f}")


def main() -> None:
    """Read the options and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a database to measure in; by default SQLite in a temporary folder")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--checkout", type=Path, action="append", help="a folder to take depot_lite from; repeat it")
    parser.add_argument("--run", choices=["time", "count"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        work(given.url, given.rows, counted=given.run == "count")
    else:
        report(given.url, given.checkout or [HERE], given.rows, given.rounds)


if __name__ == "__main__":
    main()
