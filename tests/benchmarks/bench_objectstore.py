"""What ObjectStoreStorage costs on S3 beside S3Storage, awaited beside in threads, and beside bare obstore.

    python -m tests.benchmarks.bench_objectstore
    python -m tests.benchmarks.bench_objectstore --large 1024      # also one file of so many MiB
    DEPOT_TEST_S3_URL=http://... python -m tests.benchmarks.bench_objectstore      # also on a real server

**Small files.** 100 files of 50 KB go to an endpoint that takes 30 ms per request: from 16 threads, and from one event
loop, with 16 and with 100 at once. The endpoint is a process of its own that keeps nothing, so that only the client is
measured. Without a delay, the work of the client is measured, in wall time and in processor time.

**On a real server** they are stored, read and deleted, by each in turn.

**A large file** is read from a path and from a stream of unknown length; the peak memory is told over that of the
process before.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import obstore

from depot_lite.io.boto3 import S3Storage
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.objectstore import ObjectStoreStorage
from depot_lite.testing import some_bytes
from tests.benchmarks.alternating import medians, say, table
from tests.benchmarks.bench_s3 import endpoint

THREADS = 16


def storages(url: str, bucket: str, key: str = "key", secret: str = "secret") -> tuple[S3Storage, ObjectStoreStorage]:
    """Return one of each, for the same bucket."""
    return S3Storage(key, secret, bucket, "us-east-1", endpoint_url=url), ObjectStoreStorage(
        f"s3://{bucket}",
        config={"access_key_id": key, "secret_access_key": secret, "region": "us-east-1", "endpoint": url},
        client_options={"allow_http": True},
    )


def _timed(work: Callable[[], object]) -> Callable[[], tuple[float, float]]:
    def run() -> tuple[float, float]:
        wall, processor = time.perf_counter(), time.process_time()
        work()
        return time.perf_counter() - wall, time.process_time() - processor

    return run


def _awaited(storage: FileStorage, data: bytes, files: int, at_once: int) -> Callable[[], object]:
    async def create(limit: asyncio.Semaphore) -> str:
        async with limit:
            return await storage.aio.create(data, "a")

    async def main() -> None:
        limit = asyncio.Semaphore(at_once)
        await asyncio.gather(*(create(limit) for _ in range(files)))

    return lambda: asyncio.run(main())


def small(delay: float, files: int, size: int, rounds: int) -> None:
    """Print how long the files take, by each."""
    data = some_bytes(size)
    with endpoint(delay) as url, ThreadPoolExecutor(THREADS) as pool:
        s3, ours = storages(url, "bucket")
        attributes: Any = {"Content-Type": "application/octet-stream"}

        def put(number: int) -> object:
            return obstore.put(ours._client.store, str(number), data, attributes=attributes)

        works: dict[str, Callable[[], object]] = {
            "S3Storage, threads": lambda: list(pool.map(lambda _: s3.create(data, "a"), range(files))),
            "obstore.put, threads": lambda: list(pool.map(put, range(files))),
            "ObjectStore, threads": lambda: list(pool.map(lambda _: ours.create(data, "a"), range(files))),
            "S3Storage.aio, 16 at once": _awaited(s3, data, files, 16),
            "ObjectStore.aio, 16 at once": _awaited(ours, data, files, 16),
            "S3Storage.aio, 100 at once": _awaited(s3, data, files, 100),
            "ObjectStore.aio, 100 at once": _awaited(ours, data, files, 100),
        }
        times = medians({name: _timed(work) for name, work in works.items()}, rounds)
    title = f"{files} files of {size} bytes, {delay * 1000:.0f} ms per request"
    for what, index in ((title, 0), (f"{title}: processor time", 1)):
        seconds = {name: each[index] for name, each in times.items()}
        table(what, seconds, unit="ms", scale=1000, against="S3Storage, threads")


def real(url: str, files: int, size: int, rounds: int) -> None:
    """Print how long files take on a real server: to be stored, to be read, and to be deleted."""
    keys = os.environ.get("DEPOT_TEST_S3_ACCESS_KEY", "test"), os.environ.get("DEPOT_TEST_S3_SECRET_KEY", "testsecret")
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=keys[0], aws_secret_access_key=keys[1], region_name="us-east-1"
    )
    bucket, data = f"bench-{uuid.uuid4().hex[:12]}", some_bytes(size)
    client.create_bucket(Bucket=bucket)
    try:
        with ThreadPoolExecutor(THREADS) as pool:

            def turn(storage: FileStorage) -> Callable[[], Sequence[float]]:
                def run() -> Sequence[float]:
                    moments = [time.perf_counter()]
                    ids = list(pool.map(lambda _: storage.create(data, "a"), range(files)))
                    moments.append(time.perf_counter())
                    assert all(each == data for each in pool.map(lambda each: storage.get(each).read(), ids))
                    moments.append(time.perf_counter())
                    assert storage.delete_many(ids) == {}
                    moments.append(time.perf_counter())
                    return [after - before for before, after in itertools.pairwise(moments)]

                return run

            s3, ours = storages(url, bucket, *keys)
            times = medians({"S3Storage": turn(s3), "ObjectStoreStorage": turn(ours)}, rounds)
        for index, doing in enumerate(("stored", "read", "deleted")):
            title = f"{files} files of {size} bytes {doing} on {url} from {THREADS} threads"
            table(
                title, {name: each[index] for name, each in times.items()}, unit="ms", scale=1000, against="S3Storage"
            )
    finally:
        client.delete_bucket(Bucket=bucket)


_LARGE = """
import io, json, sys
from pathlib import Path
from depot_lite.io.content import Content
from tests.benchmarks.bench_objectstore import storages

url, path, kind, which = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
storage = storages(url, "bucket")[which]
storage.create(bytes(9_000_000))

class Stream(io.RawIOBase):
    def __init__(self, file): self.file = file
    def readable(self): return True
    def readinto(self, buffer): return self.file.readinto(buffer)

def memory(which):
    return int(Path("/proc/self/status").read_text().partition(which + ":")[2].split()[0]) / 1024

Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
idle = memory("VmRSS")
with path.open("rb") as file:
    info = storage.save(Content.of({"path": path, "stream": Stream(file)}[kind]))
assert info.content_length == path.stat().st_size
print(json.dumps(memory("VmHWM") - idle))
"""


def large(mebibytes: int) -> None:
    """Print how long a large file takes, and how much memory over that of the process before."""
    say(f"\n{mebibytes} MiB in parts, beside a quarter of it")
    with tempfile.TemporaryDirectory() as folder, endpoint(0) as url:
        for size in (mebibytes // 4, mebibytes):
            path = Path(folder) / "large.bin"
            with path.open("wb") as file:
                for _ in range(size):
                    file.write(os.urandom(1 << 20))
            for kind in ("path", "stream"):
                for which, name in enumerate(("S3Storage", "ObjectStoreStorage")):
                    start = time.perf_counter()
                    command = [sys.executable, "-c", _LARGE, url, str(path), kind, str(which)]
                    told = subprocess.run(command, check=True, capture_output=True)
                    seconds = time.perf_counter() - start
                    memory = json.loads(told.stdout)
                    say(f"  {size:>5} MiB {kind:<7} {name:<19} {seconds:>7.2f} s  {memory:>7.1f} MB over idle")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--delay", type=float, default=0.03)
    arguments.add_argument("--files", type=int, default=100)
    arguments.add_argument("--size", type=int, default=50_000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--large", type=int, default=0, help="MiB of the large file; 0 for none")
    given = arguments.parse_args()
    for delay in (given.delay, 0.0):
        small(delay, given.files, given.size, given.rounds)
    if url := os.environ.get("DEPOT_TEST_S3_URL"):
        real(url, given.files, given.size, given.rounds)
    if given.large:
        large(given.large)


if __name__ == "__main__":
    main()
