"""What S3Storage costs beside bare ``put_object`` calls, and how much memory a large upload takes.

    python -m tests.benchmarks.bench_s3
    python -m tests.benchmarks.bench_s3 --large 1024      # also one file of so many MiB, in a process of its own

**Small files.** 100 files of 50 KB go to an endpoint that takes 30 ms per request, once by ``put_object`` calls from 16
threads that share one client, once by ``storage.create`` from 16 threads. The endpoint is a process of its own that
keeps nothing, so that only the client is measured.

**A large file.** It is read from a path, from an open file, and from a stream of unknown length; the peak memory is
told over that of the process before. The endpoint takes no time there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from depot_lite.io.boto3 import S3Storage
from depot_lite.testing import some_bytes
from tests.benchmarks.alternating import medians, say, table

THREADS = 16
LIMIT = 1.25

_UPLOAD = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
_COMPLETE = b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
# filedepot asks for the names of all buckets, and after each upload for the object that it has just written.
_BUCKETS = b"<ListAllMyBucketsResult><Buckets><Bucket><Name>bucket</Name></Bucket></Buckets></ListAllMyBucketsResult>"

_OF_FILEDEPOT = b"x-amz-meta-x-depot-filename: unnamed\r\nx-amz-meta-x-depot-modified: 2026-01-01 00:00:00\r\n"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Answer the requests of one connection as S3 does, after so many seconds each."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            started = time.monotonic()
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            if headers.get("expect") == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            left = int(headers.get("content-length", 0))
            while left:
                left -= len(await reader.read(min(left, 1 << 20)))
            body = b""
            if head.startswith("POST"):
                body = _UPLOAD if "?uploads" in head.partition("\r\n")[0] else _COMPLETE
            elif head.startswith("GET / "):
                body = _BUCKETS
            await asyncio.sleep(delay - (time.monotonic() - started))
            more = _OF_FILEDEPOT if head.startswith("HEAD") else b""
            writer.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\n%sContent-Length: %d\r\n\r\n%s' % (more, len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _serve(delay: float, told: Connection) -> None:
    async def run() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _answer(reader, writer, delay)

        server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def endpoint(delay: float) -> Iterator[str]:
    """Give the URL of an endpoint in a process of its own that takes ``delay`` seconds per request."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(delay, theirs))
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()
        ours.close()
        theirs.close()


def bare_client(url: str) -> Any:
    """Return the client that the storage is compared with."""
    config = Config(max_pool_connections=THREADS, request_checksum_calculation="when_required")
    return boto3.Session().client(
        "s3",
        endpoint_url=url,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
        config=config,
    )


def small(delay: float, files: int, size: int, rounds: int) -> float:
    """Print how long the files take, and return the ratio."""
    data = some_bytes(size)
    with endpoint(delay) as url, ThreadPoolExecutor(THREADS) as pool:
        client = bare_client(url)
        storage = S3Storage("key", "secret", "bucket", "us-east-1", endpoint_url=url)

        def timed(work: Callable[[int], object]) -> Callable[[], tuple[float]]:
            def run() -> tuple[float]:
                start = time.perf_counter()
                list(pool.map(work, range(files)))
                return (time.perf_counter() - start,)

            return run

        def put(number: int) -> None:
            client.put_object(Bucket="bucket", Key=str(number), Body=data, ContentType="application/octet-stream")

        times = medians(
            {"put_object": timed(put), "S3Storage.create": timed(lambda _: storage.create(data, "a"))}, rounds
        )
    seconds = {name: each[0] for name, each in times.items()}
    title = f"{files} files of {size} bytes from {THREADS} threads, {delay * 1000:.0f} ms per request"
    table(title, seconds, unit="ms", scale=1000, against="put_object")
    return seconds["S3Storage.create"] / seconds["put_object"]


_LARGE = """
import io, json, resource, sys
from pathlib import Path
from depot_lite.io.boto3 import S3Storage
from depot_lite.io.content import Content

url, path, kind = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
storage = S3Storage("key", "secret", "bucket", "us-east-1", endpoint_url=url)
storage.create(bytes(9_000_000))

class Stream(io.RawIOBase):
    def __init__(self, file): self.file = file
    def readable(self): return True
    def readinto(self, buffer): return self.file.readinto(buffer)

idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with path.open("rb") as file:
    info = storage.save(Content.of({"path": path, "file": file, "stream": Stream(file)}[kind]))
assert info.content_length == path.stat().st_size
print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) / 1024))
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
            for kind in ("path", "file", "stream"):
                start = time.perf_counter()
                told = subprocess.run(
                    [sys.executable, "-c", _LARGE, url, str(path), kind],
                    check=True,
                    capture_output=True,
                    env=os.environ,
                )
                seconds = time.perf_counter() - start
                say(f"  {size:>5} MiB {kind:<8} {seconds:>7.2f} s  {json.loads(told.stdout):>7.1f} MB over idle")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--delay", type=float, default=0.03)
    arguments.add_argument("--files", type=int, default=100)
    arguments.add_argument("--size", type=int, default=50_000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--large", type=int, default=0, help="MiB of the large file; 0 for none")
    given = arguments.parse_args()
    ratio = small(given.delay, given.files, given.size, given.rounds)
    say(f"\n{ratio:.3f} times put_object; {LIMIT} is the limit")
    if given.large:
        large(given.large)


if __name__ == "__main__":
    main()
