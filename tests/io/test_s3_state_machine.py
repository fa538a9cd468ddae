"""The random histories once more, with their files in S3, which saves side by side and deletes in batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from depot_lite.io.interfaces import FileStorage
from tests.conftest import sqlite_engine
from tests.fields.machine import Machine
from tests.fields.steps import KINDS, play
from tests.io.s3_server import Requests, Server, unavailable
from tests.support.models import Base

#: The requests that change no bucket.
READING = {"GetObject", "HeadObject", "HeadBucket", "ListObjectsV2"}


@contextmanager
def moto() -> Iterator[Server]:
    """Give moto without HTTP, which answers inside the client: thousands of requests take half the time."""
    try:
        from moto import mock_aws
    except ImportError as error:
        unavailable(f"no moto (pip install 'moto[s3,server]'): {error}")
    with mock_aws():
        yield Server("https://s3.us-east-1.amazonaws.com", "test", "testsecret")


def machine_on(server: Server, bucket: str) -> type[Machine]:
    """Return the machine whose depots are prefixes of a bucket: other ones in each history."""
    histories = itertools.count()
    # One client for all: making one takes longer than a history.
    requests = Requests(server.storage(bucket, client=server.client()))

    class OnS3(Machine):
        def __init__(self) -> None:
            self.history = next(histories)
            self.listed: tuple[int, set[str]] = (-1, set())
            super().__init__()

        def _new_storage(self, name: str) -> FileStorage:
            return server.storage(bucket, prefix=f"{self.history}/{name}/", client=server.client())

        def _stored(self) -> set[str]:
            """List again only when something was sent that changes a bucket: most steps send nothing."""
            changes = sum(count for name, count in requests.items() if name not in READING)
            if self.listed[0] != changes:
                self.listed = changes, super()._stored()
            return self.listed[1]

    return OnS3


def test_no_history_loses_an_object_or_leaves_one_over(tmp_path: Path) -> None:
    """Also where uploads fail before or after the object is there, and deletions of a batch are refused."""
    engine = sqlite_engine(tmp_path / "test.db")
    Base.metadata.create_all(engine)
    with moto() as server, server.bucket() as bucket:
        reached = play(engine, 40, machine=machine_on(server, bucket))
    engine.dispose()
    assert reached["step"] > 500
    assert not [kind for kind in KINDS if not reached[kind]]
