"""What sessions pay that touch no file, where depot_lite is loaded: processor time beside the same without it.

    python -m tests.benchmarks.bench_overhead
    python -m tests.benchmarks.bench_overhead --url "$DEPOT_TEST_POSTGRESQL_URL"
    python -m tests.benchmarks.bench_overhead --checkout ../before --checkout .
    python -m tests.benchmarks.bench_overhead --instructions --rows 20 --starts 4

The same work on a plain model is done in processes that take turns:

- ``without``: depot_lite is never imported. There are two of them, so that the second one's ratio to the first tells
  how far the others' can be trusted.
- ``mapped``: a model with file columns exists beside the plain one and is left alone.
- ``used``: a file was stored, replaced and deleted in the same database before.

The difference is what our listeners cost. It is small, so processor time is measured, of the system too, in which a
database server has no part; and since the layout of a process's memory is drawn when it starts and makes a difference
of a percent or two for its whole life, processes are started anew several times. A ratio is that of the medians of all
turns of one start; printed are the median of the starts, and the least and the greatest.

With ``--instructions`` the processes run under valgrind, which counts the instructions that they execute: slower, and
hardly disturbed by other work on the machine. Python's garbage collector is off then: when it runs, and how long,
depends on everything that was ever imported, and differs by more than the figures sought. The instructions of the
start are left out, as the difference of runs of three rounds and of one.

To reach: 1.02, of all steps together.

The tables are called ``bench_overhead_...`` and dropped at the end.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, String, create_engine, delete, event, insert, make_url, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.benchmarks.alternating import medians, say
from tests.benchmarks.workers import HERE, Worker, command, commit_of

LIMIT: Final = 1.02
KINDS: Final = ("mapped", "used")


class Base(DeclarativeBase):
    """The parent of the models."""


class Plain(Base):
    """A row without a file."""

    __tablename__ = "bench_overhead_plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))


def file_model() -> Any:
    """Map a model with file columns and return it."""
    from depot_lite import UploadedFileField

    class Document(Base):
        __tablename__ = "bench_overhead_document"
        id: Mapped[int] = mapped_column(primary_key=True)
        content: Mapped[Any] = mapped_column(UploadedFileField)
        pages: Mapped[Any] = mapped_column(UploadedFileField(multiple=True))

    return Document


def use(engine: Engine, model: Any) -> None:
    """Store, replace and delete a file."""
    from depot_lite import DepotManager, UploadedFile
    from depot_lite.io.memory import MemoryFileStorage

    DepotManager.configure("default", MemoryFileStorage())
    with Session(engine) as session:
        document = model(content=UploadedFile(b"first"), pages=[UploadedFile(b"page")])
        session.add(document)
        session.commit()
        document.content = UploadedFile(b"second")
        session.commit()
        session.delete(document)
        session.commit()


# --- the steps: each leaves the table as it found it, with one row per key --------------------------------------------


def flush_each(engine: Engine, keys: Sequence[int]) -> None:
    with Session(engine) as session:
        for key in keys:
            session.add(Plain(id=-key, name="n"))
            session.flush()
        session.rollback()


def flush_all(engine: Engine, keys: Sequence[int]) -> None:
    with Session(engine) as session:
        session.add_all(Plain(id=-key, name="n") for key in keys)
        session.flush()
        session.rollback()


def commit_each(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            session.add(Plain(id=-key, name="n"))
            session.commit()


def delete_each(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            session.delete(session.get_one(Plain, -key))
            session.commit()


def change_each(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            plain = session.get_one(Plain, key)
            plain.name = "m" if plain.name == "n" else "n"
            session.commit()


def get_each(engine: Engine, keys: Sequence[int]) -> None:
    for key in keys:
        with Session(engine) as session:
            session.get_one(Plain, key)


def select_values(engine: Engine, keys: Sequence[int]) -> None:
    with Session(engine) as session:
        for key in keys:
            session.execute(select(Plain.id).where(Plain.id == key)).all()


def select_objects(engine: Engine, keys: Sequence[int]) -> None:
    with Session(engine) as session:
        for _ in range(10):
            session.scalars(select(Plain).where(Plain.id > 0)).all()
            session.expunge_all()


def update_each(engine: Engine, keys: Sequence[int]) -> None:
    with Session(engine) as session:
        for key in keys:
            session.execute(update(Plain).where(Plain.id == key).values(name="by statement"))
        session.rollback()


def delete_by_statement(engine: Engine, keys: Sequence[int]) -> None:
    with Session(engine) as session:
        for key in keys:
            session.execute(delete(Plain).where(Plain.id == key))
        session.rollback()


def insert_by_statement(engine: Engine, keys: Sequence[int]) -> None:
    with Session(engine) as session:
        for key in keys:
            session.execute(insert(Plain).values(id=-key, name="n"))
        session.rollback()


def savepoint_each(engine: Engine, keys: Sequence[int]) -> None:
    with Session(engine) as session:
        for key in keys:
            with session.begin_nested():
                session.add(Plain(id=-key, name="n"))
        session.rollback()


STEPS: Final[Mapping[str, Callable[[Engine, Sequence[int]], None]]] = {
    "add, flush": flush_each,
    "add all, one flush": flush_all,
    "add, commit": commit_each,
    "get, delete, commit": delete_each,
    "get, change, commit": change_each,
    "get, close": get_each,
    "select a value": select_values,
    "select all objects, 10 times": select_objects,
    "execute(update)": update_each,
    "execute(delete)": delete_by_statement,
    "execute(insert)": insert_by_statement,
    "savepoint, add": savepoint_each,
}


def database(url: str) -> Engine:
    """Return the engine, for SQLite such that Python's work is measured and not the disk's."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _no_begin_of_its_own)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def work(url: str, rows: int, kind: str, *, counted: bool = False) -> None:
    """Prepare one of the processes; then measure whenever a line comes in."""
    engine, keys = database(url), range(1, rows + 1)
    model = file_model() if kind in KINDS else None
    if model is None and "depot_lite" in sys.modules:
        raise RuntimeError("depot_lite was imported")
    for turn, _ in enumerate(sys.stdin):
        # Not before its turn, since another process works on the same tables.
        if turn == 0 and kind == "used":
            use(engine, model)
        if turn == 0:
            gc.freeze()  # imported modules are no part of the steps, and take longer to collect if there are more
        if turn == 0 and counted:
            gc.disable()
        sys.stdout.write(f"{json.dumps([_processor_time(step, engine, keys) for step in STEPS.values()])}\n")
        sys.stdout.flush()
    engine.dispose()


def _no_begin_of_its_own(connection: object, record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]  # of sqlite3
    connection.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]  # of sqlite3
    connection.execute("PRAGMA journal_mode = MEMORY")  # type: ignore[attr-defined]  # of sqlite3


def _processor_time(step: Callable[[Engine, Sequence[int]], None], engine: Engine, keys: Sequence[int]) -> float:
    if gc.isenabled():
        gc.collect()
    started = time.process_time()
    step(engine, keys)
    return time.process_time() - started


# --- all of them ------------------------------------------------------------------------------------------------------


@contextmanager
def _tables(url: str, rows: int) -> Iterator[None]:
    """Make the tables for all processes, which take turns; each step leaves the rows as they are."""
    engine = database(url)
    file_model()
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    try:
        with Session(engine) as session:
            session.execute(insert(Plain), [{"id": key, "name": "n"} for key in range(1, rows + 1)])
            session.commit()
        yield
    finally:
        Base.metadata.drop_all(engine)
        engine.dispose()


def measured(url: str, checkouts: Mapping[str, Path], rows: int, rounds: int) -> dict[str, list[float]]:
    """Start a process of each kind, let them take turns, and return the seconds of each step and of all together."""
    wanted: dict[str, tuple[str, Path | None]] = {"without": ("none", None), "without, again": ("none", None)}
    wanted |= {f"{kind}, {name}": (kind, checkout) for name, checkout in checkouts.items() for kind in KINDS}
    workers = {}
    with ExitStack() as closing:
        for name, (kind, checkout) in wanted.items():
            arguments = ["--url", url, "--rows", str(rows), "--run", kind]
            worker = Worker(command("bench_overhead", *arguments, checkout=checkout))
            closing.callback(worker.close)
            workers[name] = worker.measure
        return {name: [*values, sum(values)] for name, values in medians(workers, rounds).items()}


def report(url: str | None, checkouts: Sequence[Path], rows: int, rounds: int, starts: int) -> None:
    """Measure with each checkout, and print a table for each step and for all together."""
    names = {f"{number}: {commit_of(checkout)}": checkout for number, checkout in enumerate(checkouts, 1)}
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        url = url or f"sqlite:///{folder / 'bench.db'}"
        closing.enter_context(_tables(url, rows))
        found = [measured(url, names, rows, rounds) for _ in range(starts)]
    say(f"{make_url(url).get_backend_name()}, {rows} rows, {rounds} rounds of each of {starts} starts; processor time")
    for number, step in enumerate([*STEPS, f"all together ({LIMIT} is the limit)"]):
        say(step)
        for name in found[0]:
            ratios = [each[name][number] / each["without"][number] for each in found]
            took = statistics.median(each[name][number] for each in found) * 1000
            middle, spread = statistics.median(ratios), f"{min(ratios):.3f} to {max(ratios):.3f}"
            say(f"    {name:<24}{took:>9.1f} ms{middle:>8.3f} x without   {spread}")


# --- instructions -----------------------------------------------------------------------------------------------------


def instructions(url: str, rows: int, kind: str, seed: int) -> float:
    """Return how many instructions one round of all steps executes."""
    few, many = (_collected(url, rows, kind, seed, rounds) for rounds in (1, 3))
    return (many - few) / 2


# Python's cache of attributes goes by the addresses of names and the numbers of classes. Which of them collide depends
# on all that was made before, and makes a difference of a percent.
_ELSEWHERE: Final = """
made = [type(str(number), (), {{}}) for number in range({seed} * 101)]
made += [str(number) * 9 for number in range({seed} * 997)]
import runpy, sys
sys.argv = {arguments}
runpy.run_module("tests.benchmarks.bench_overhead", run_name="__main__", alter_sys=True)
"""


def _collected(url: str, rows: int, kind: str, seed: int, rounds: int) -> int:
    arguments = ["--url", url, "--rows", str(rows), "--run", kind, "--instructions"]
    counted = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    program = _ELSEWHERE.format(seed=seed, arguments=["bench_overhead", *arguments])
    result = subprocess.run(
        [*counted, sys.executable, "-c", program],
        input="\n" * rounds,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        cwd=HERE,
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"Collected\s*:\s*(\d+)", result.stderr)
    if found is None:
        raise RuntimeError(result.stderr)
    return int(found[1])


def report_instructions(rows: int, starts: int) -> None:
    """Count with several seeds of Python's hashes and of addresses, since both make a difference of their own."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'bench.db'}"
        with _tables(url, rows):
            for kind in ("none", *KINDS):
                found[kind] = [instructions(url, rows, kind, seed) for seed in range(1, starts + 1)]
    without = statistics.median(found["none"])
    for kind, counts in found.items():
        middle, spread = (
            statistics.median(counts) / without,
            f"{min(counts) / without:.3f} to {max(counts) / without:.3f}",
        )
        say(f"    {kind:<24}{statistics.median(counts) / 1e6:>9.1f} M{middle:>8.3f} x without   {spread}")


def main() -> None:
    """Read the options and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--starts", type=int, default=5, help="how many times the processes are started anew")
    parser.add_argument("--checkout", type=Path, action="append", help="a folder to take depot_lite from; repeat it")
    parser.add_argument("--url", help="a database to measure in; by default SQLite in a temporary folder")
    parser.add_argument("--instructions", action="store_true", help="count instructions with valgrind, on SQLite")
    parser.add_argument("--run", choices=["none", *KINDS], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.instructions and not given.run:
        report_instructions(given.rows, given.starts)
    elif given.run:
        work(given.url, given.rows, given.run, counted=given.instructions)
    else:
        report(given.url, given.checkout or [HERE], given.rows, given.rounds, given.starts)


if __name__ == "__main__":
    main()
