"""What ``list`` of an S3Storage costs beside obstore's, and beside bare boto3.

    python -m tests.benchmarks.bench_listing http://127.0.0.1:7480
    python -m tests.benchmarks.bench_listing http://127.0.0.1:7480 --objects 100000
    python -m tests.benchmarks.bench_listing http://127.0.0.1:7480 --milliseconds 50

The objects lie on a real server, such as radosgw, whose keys are those of the tests (DEPOT_TEST_S3_ACCESS_KEY and
DEPOT_TEST_S3_SECRET_KEY). Each contestant takes key, size and time of each object. The wall time contains the work of
the server, the processor time only that of the client. "page by page" is ours with one request at a time, and
``--milliseconds`` puts the server that far away. obstore, which is written in Rust, comes by
``pip install obstore``.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import boto3
from botocore.config import Config

from depot_lite.io.boto3 import S3Storage
from depot_lite.io.fileid import new_file_id
from tests.benchmarks.alternating import medians, say, table
from tests.benchmarks.delaying import delayed

THREADS = 32
LIMIT = 3.0
PREFIX = "media/"
ACCESS_KEY = os.environ.get("DEPOT_TEST_S3_ACCESS_KEY", "test")
SECRET_KEY = os.environ.get("DEPOT_TEST_S3_SECRET_KEY", "testsecret")


def bare_client(url: str) -> Any:
    """Return the client that the storage is compared with."""
    return boto3.Session().client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=Config(max_pool_connections=THREADS, request_checksum_calculation="when_required"),
    )


@contextmanager
def filled_bucket(client: Any, objects: int) -> Iterator[str]:
    """Give the name of a bucket with so many small objects, which is gone afterwards."""
    bucket = f"bench-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    keys = [PREFIX + new_file_id() for _ in range(objects)]
    batches = [keys[start : start + 1000] for start in range(0, objects, 1000)]

    def delete(batch: list[str]) -> None:
        client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True})

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            list(pool.map(lambda key: client.put_object(Bucket=bucket, Key=key, Body=b"x"), keys))
            yield bucket
        finally:
            list(pool.map(delete, batches))
            client.delete_bucket(Bucket=bucket)


def timed(work: Callable[[], Iterator[tuple[Any, int, Any]]], objects: int) -> Callable[[], tuple[float, float]]:
    """Return what measures wall and processor time of one listing, in microseconds an object."""

    def run() -> tuple[float, float]:
        gc.collect()
        wall, process = time.perf_counter(), time.process_time()
        count = sum(size for _, size, _ in work())
        wall, process = time.perf_counter() - wall, time.process_time() - process
        if count != objects:
            raise SystemExit(f"{count} bytes were listed instead of {objects}")
        return wall / objects * 1e6, process / objects * 1e6

    return run


def contestants(url: str, client: Any, bucket: str) -> dict[str, Callable[[], Iterator[tuple[Any, int, Any]]]]:
    """Return the ways to list the bucket; each yields key, size and time."""
    # By name, since nothing but this needs it.
    obstore = importlib.import_module("obstore")
    store = importlib.import_module("obstore.store").S3Store(
        bucket,
        endpoint=url,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    storages = {
        concurrency: S3Storage(
            ACCESS_KEY, SECRET_KEY, bucket, "us-east-1", endpoint_url=url, prefix=PREFIX, concurrency=concurrency
        )
        for concurrency in (1, 16)
    }

    def by_obstore() -> Iterator[tuple[Any, int, Any]]:
        for page in obstore.list(store, prefix=PREFIX, chunk_size=1000):
            for each in page:
                yield each["path"], each["size"], each["last_modified"]

    def by_boto3() -> Iterator[tuple[Any, int, Any]]:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX, Delimiter="/"):
            for each in page.get("Contents", ()):
                yield each["Key"], each["Size"], each["LastModified"]

    def by_us(concurrency: int) -> Iterator[tuple[Any, int, Any]]:
        for each in storages[concurrency].list():
            yield each, each.size, each.last_modified

    ours = {"S3Storage.list": partial(by_us, 16), "page by page": partial(by_us, 1)}
    return {"obstore": by_obstore, **ours, "boto3": by_boto3}


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url", help="where the server is")
    arguments.add_argument("--objects", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--milliseconds", type=float, default=0, help="of an answer on its way")
    given = arguments.parse_args()
    with filled_bucket(bare_client(given.url), given.objects) as bucket, delayed(given.url, given.milliseconds) as far:
        url = f"http://{far.host}:{far.port}"
        ways = contestants(url, bare_client(url), bucket)
        measured = medians({name: timed(work, given.objects) for name, work in ways.items()}, given.rounds)
    for number, title in enumerate(("wall time, the server's included", "processor time of the client")):
        each = {name: values[number] for name, values in measured.items()}
        table(f"{given.objects} objects, an object: {title}", each, unit="us", scale=1, against="obstore")
    by_page = measured["page by page"][0]
    say(f"\n{measured['S3Storage.list'][0] / by_page:.2f} times the listing page by page")
    say(f"page by page {by_page / measured['obstore'][0]:.2f} times obstore's listing; {LIMIT} is the limit")


if __name__ == "__main__":
    main()
