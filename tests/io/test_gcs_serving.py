"""Files of Google Cloud Storage that are not led to a signed URL."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.io.gcs_server import Server, emulator
from tests.io.serving import DATA, private_depot, serving, signed


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with emulator() as made:
        yield made


def test_what_cannot_be_signed_is_served_by_us(server: Server) -> None:
    """With credentials that hold no key, as those of a machine."""
    with server.bucket() as bucket:
        storage = server.storage(bucket, client=server.client())
        with private_depot(storage), serving() as client:
            answer = client.get(signed(storage, DATA))
            assert (answer.status_code, answer.content == DATA) == (200, True)


def test_what_is_public_is_led_to_its_plain_url(server: Server) -> None:
    with server.bucket() as bucket, temporary_depots():
        storage = server.storage(bucket, policy="public-read")
        DepotManager.configure("default", storage)
        with serving() as client:
            file_id = storage.create(DATA)
            answer = client.get(f"/depot/default/{file_id}")
            assert answer.headers["location"] == f"{server.url}/{bucket}/{file_id}"
            assert httpx.get(answer.headers["location"]).content == DATA
