"""The cost of a flush that uploads to S3 beside bare ``put_object`` calls, and how long it holds up an event loop.

    python -m tests.benchmarks.bench_flush
    python -m tests.benchmarks.bench_flush --peers      # filedepot beside them, once: it takes a while

**A flush.** Rows with 50 KB each are added to a session on SQLite and flushed together, to an endpoint that takes 30 ms
per request; the same bytes are sent by ``put_object`` calls from 16 threads that share one client.

**The event loop.** A task does nothing but look at the clock every millisecond, while an `AsyncSession` flushes for
about half a second and while it commits what deletes the files again. What counts is its longest pause. Beside it
stand the pauses that are not ours: of an idle loop, of SQLAlchemy that writes rows without files, and of bare
``put_object`` calls from 16 threads, which take Python's lock from the loop as any threads do.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.boto3 import S3Storage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots
from tests.benchmarks.alternating import medians, say, table
from tests.benchmarks.bench_s3 import LIMIT, THREADS, bare_client, endpoint
from tests.support.pauses import Pauses

PAUSE_LIMIT = 0.05


class Base(DeclarativeBase):
    """The parent of the rows."""


class Document(Base):
    """A row with a file."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Plain(Base):
    """A row without."""

    __tablename__ = "plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


def _storage(url: str) -> S3Storage:
    return S3Storage("key", "secret", "bucket", "us-east-1", endpoint_url=url)


def _put(client: Any, data: bytes, number: int) -> None:
    client.put_object(Bucket="bucket", Key=str(number), Body=data, ContentType="application/octet-stream")


# --- a flush ------------------------------------------------------------------------------------------------------


def flush(delay: float, files: int, size: int, rounds: int) -> float:
    """Print how long the flush takes, and return its ratio to bare calls."""
    data = some_bytes(size)
    with (
        endpoint(delay) as url,
        ThreadPoolExecutor(THREADS) as pool,
        temporary_depots(),
        tempfile.TemporaryDirectory() as folder,
    ):
        DepotManager.configure("default", _storage(url))
        client = bare_client(url)
        engine = create_engine(f"sqlite:///{folder}/bench.db")
        Base.metadata.create_all(engine)

        def bare() -> tuple[float]:
            gc.collect()
            start = time.perf_counter()
            list(pool.map(partial(_put, client, data), range(files)))
            return (time.perf_counter() - start,)

        def one_flush() -> tuple[float]:
            with Session(engine) as session:
                gc.collect()
                start = time.perf_counter()
                session.add_all([Document(content=data) for _ in range(files)])
                session.flush()
                took = time.perf_counter() - start
                session.rollback()
            return (took,)

        times = {name: each[0] for name, each in medians({"put_object": bare, "flush": one_flush}, rounds).items()}
        engine.dispose()
    title = f"{files} files of {size} bytes in one flush, {delay * 1000:.0f} ms per request"
    table(title, times, unit="ms", scale=1000, against="put_object")
    return times["flush"] / times["put_object"]


def _filedepot(url: str, files: int, size: int, told: Connection) -> None:
    """Tell how long filedepot's flush takes, in a process of its own, since its listeners are for all sessions."""
    from depot.fields.sqlalchemy import UploadedFileField as TheirField
    from depot.manager import DepotManager as TheirManager

    class Theirs(Base):
        __tablename__ = "theirs"
        id: Mapped[int] = mapped_column(primary_key=True)
        content: Mapped[Any] = mapped_column(TheirField)

    options = {"access_key_id": "key", "secret_access_key": "secret", "bucket": "bucket", "region_name": "us-east-1"}
    options |= {"backend": "depot.io.boto3.S3Storage", "endpoint_url": url}
    TheirManager.configure("default", {f"depot.{name}": value for name, value in options.items()})
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    data = some_bytes(size)
    with Session(engine) as session:
        session.add(Theirs(content=data))
        session.flush()  # warms up
        start = time.perf_counter()
        session.add_all([Theirs(content=data) for _ in range(files)])
        session.flush()
        told.send(time.perf_counter() - start)
        session.commit()
    engine.dispose()


def peers(delay: float, files: int, size: int) -> None:
    """Print how long filedepot takes."""
    if find_spec("depot") is None:
        say("  filedepot is not installed and left out")
        return
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with endpoint(delay) as url:
        process = context.Process(target=_filedepot, args=(url, files, size, theirs))
        process.start()
        theirs.close()
        try:
            say(f"  {'filedepot, once':<28} {ours.recv() * 1000:>10.1f} ms")
        finally:
            process.join()
            ours.close()


# --- the event loop -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """The files of one flush: about half a second's work."""

    title: str
    delay: float
    files: int
    size: int


LOADS = (
    Load("one file of 50 KB, 500 ms per request", 0.5, 1, 50_000),
    Load("200 files of 50 KB, 30 ms per request", 0.03, 200, 50_000),
    Load("one file of 32 MiB, 80 ms per request", 0.08, 1, 32 << 20),
)


@contextmanager
def _ticking() -> Iterator[tuple[asyncio.Runner, Pauses]]:
    with asyncio.Runner() as runner:
        pauses = Pauses()

        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(pauses.tick())

        ticker = runner.run(begin())
        yield runner, pauses
        ticker.cancel()


async def _journey(engine: Any, pauses: Pauses, data: bytes, files: int) -> list[tuple[float, float]]:
    """Flush rows with files and commit, delete them and commit; then the same number of rows without files."""
    async with AsyncSession(engine, expire_on_commit=False) as session:
        documents = [Document(content=data) for _ in range(files)]
        session.add_all(documents)
        measured = [await pauses.during(session.flush())]
        await session.commit()
        for document in documents:
            await session.delete(document)
        await session.flush()
        measured.append(await pauses.during(session.commit()))
        session.add_all([Plain(name="n") for _ in range(files)])
        measured.append(await pauses.during(session.flush()))
        await session.rollback()
    return measured


async def _bare(client: Any, pool: ThreadPoolExecutor, data: bytes, files: int) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.gather(*[loop.run_in_executor(pool, _put, client, data, number) for number in range(files)])


_STEPS = ("flush", "commit that deletes", "flush without files", "bare put_object", "idle")


def loop(load: Load, rounds: int) -> float:
    """Print the longest pauses, and return the median of that of the worse of flush and commit."""
    data = some_bytes(load.size)
    with (
        endpoint(load.delay) as url,
        ThreadPoolExecutor(THREADS) as pool,
        tempfile.TemporaryDirectory() as folder,
        _ticking() as (runner, pauses),
    ):
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/bench.db")
        client = bare_client(url)

        async def once() -> list[tuple[float, float]]:
            gc.collect()
            with temporary_depots():
                # A new storage each time: the first upload, which makes the client, counts too.
                DepotManager.configure("default", _storage(url))
                measured = await _journey(engine, pauses, data, load.files)
            measured.append(await pauses.during(_bare(client, pool, data, load.files)))
            measured.append(await pauses.during(asyncio.sleep(load.delay)))
            return measured

        async def prepare() -> None:
            async with engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)

        runner.run(prepare())
        found = [runner.run(once()) for _ in range(rounds)]
        runner.run(engine.dispose())
    return _tell(load.title, found)


def _tell(title: str, found: Sequence[Sequence[tuple[float, float]]]) -> float:
    say(f"\n{title}: the event loop's longest pause")
    worst = 0.0
    for number, step in enumerate(_STEPS):
        took = statistics.median(each[number][0] for each in found)
        pauses = [each[number][1] for each in found]
        middle = statistics.median(pauses)
        say(f"  {step:<28} {middle * 1000:>8.1f} ms, at most {max(pauses) * 1000:>6.1f}; took {took * 1000:>7.1f} ms")
        if number < 2:
            worst = max(worst, middle)
    return worst


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--delay", type=float, default=0.03)
    arguments.add_argument("--files", type=int, default=100)
    arguments.add_argument("--size", type=int, default=50_000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--peers", action="store_true", help="filedepot too")
    given = arguments.parse_args()
    ratio = flush(given.delay, given.files, given.size, given.rounds)
    if given.peers:
        peers(given.delay, given.files, given.size)
    say(f"\n{ratio:.3f} times put_object; {LIMIT} is the limit")
    worst = max(loop(load, given.rounds) for load in LOADS)
    say(f"\n{worst * 1000:.1f} ms; {PAUSE_LIMIT * 1000:.0f} ms is the limit")


if __name__ == "__main__":
    main()
