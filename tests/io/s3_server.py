"""S3 servers for tests: moto in this process, and a real one where the environment names it."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import boto3
import botocore.retryhandler
import botocore.session
import pytest
from botocore.config import Config
from botocore.loaders import Loader, create_loader
from botocore.retryhandler import delay_exponential

from depot_lite.io.boto3 import S3Storage

#: Where a real server is; its keys are in DEPOT_TEST_S3_ACCESS_KEY and DEPOT_TEST_S3_SECRET_KEY.
VARIABLE = "DEPOT_TEST_S3_URL"


#: What botocore has parsed of its data: more than what all tests of a storage take beside it, were it done for each.
_PARSED: Final[dict[Any, Any]] = {}


def _loader(*arguments: Any) -> Loader:
    """Return the loader of a session, as clients of one session share it."""
    made: Loader = create_loader(*arguments)
    made._cache = _PARSED
    return made


def _delay(**arguments: Any) -> float:
    """Return how long a client waits before it sends a request once more: as often as always, but not as long."""
    seconds: float = delay_exponential(**arguments)
    return seconds / 100


botocore.session.create_loader = _loader
botocore.retryhandler.delay_exponential = _delay


class Server:
    """An S3 server, and buckets of its own for each test."""

    def __init__(self, url: str, access_key: str, secret_key: str) -> None:
        self.url = url
        self.access_key = access_key
        self.secret_key = secret_key

    @cache  # noqa: B019  # servers live as long as the tests
    def client(self) -> Any:
        """Return a client that looks behind the storage's back."""
        return boto3.Session().client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
        )

    def storage(self, bucket: str, **options: Any) -> S3Storage:
        """Return a storage on this server."""
        connection = (
            {}
            if "client" in options
            else {
                "endpoint_url": self.url,
                "access_key_id": self.access_key,
                "secret_access_key": self.secret_key,
                "region_name": "us-east-1",
            }
        )
        return S3Storage(**{**connection, "bucket": bucket, **options})

    @contextmanager
    def bucket(self) -> Iterator[str]:
        """Give the name of an empty bucket, which is gone afterwards."""
        name, client = f"test-{uuid.uuid4().hex[:12]}", self.client()
        client.create_bucket(Bucket=name)
        try:
            yield name
        finally:
            for each in client.list_multipart_uploads(Bucket=name).get("Uploads", ()):
                client.abort_multipart_upload(Bucket=name, Key=each["Key"], UploadId=each["UploadId"])
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
                if objects := [{"Key": each["Key"]} for each in page.get("Contents", ())]:
                    client.delete_objects(Bucket=name, Delete={"Objects": objects})
            client.delete_bucket(Bucket=name)

    def uploads(self, bucket: str) -> list[str]:
        """Return the keys of the multipart uploads that were begun and neither completed nor aborted."""
        return [each["Key"] for each in self.client().list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


@contextmanager
def moto_server() -> Iterator[Server]:
    """Give moto, which answers in a thread of this process."""
    yield _moto()


@cache
def _moto() -> Server:
    """Start it once, until the process ends: it keeps its objects for the process, and to stop it takes long."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        unavailable(f"no moto (pip install 'moto[s3,server]'): {error}")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return Server(f"http://{host}:{port}", "test", "testsecret")


def real_server() -> Server:
    """Return the real server, or skip."""
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.skip(f"no S3 server that refuses what it should (set {VARIABLE})")
    access_key = os.environ.get("DEPOT_TEST_S3_ACCESS_KEY", "test")
    return Server(url, access_key, os.environ.get("DEPOT_TEST_S3_SECRET_KEY", "testsecret"))


def unavailable(message: str) -> None:
    """Skip, or fail in CI."""
    if os.environ.get("DEPOT_TEST_REQUIRE"):
        pytest.fail(message)
    pytest.skip(message)


class Requests(Counter[str]):
    """How often each operation was sent, attempts that were repeated included."""

    def __init__(self, storage: S3Storage) -> None:
        super().__init__()
        storage._client.meta.events.register("before-send.s3", self._count)

    def _count(self, event_name: str = "", **_: object) -> None:
        self[event_name.rpartition(".")[2]] += 1

    def taken(self) -> dict[str, int]:
        """Return the counts since the last time, and begin anew."""
        counts = dict(self)
        self.clear()
        return counts
