"""ObjectStoreStorage in memory, in a folder, on azurite and, where there is one, on a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from depot_lite.io.objectstore import ObjectStoreStorage
from depot_lite.testing import StorageContract
from tests.io.azurite import Azurite, azurite
from tests.io.s3_server import Server, real_server


@pytest.fixture(scope="module")
def azure() -> Iterator[Azurite]:
    with azurite() as made:
        yield made


class TestInMemory(StorageContract):
    def make_storage(self, tmp_path: Path) -> ObjectStoreStorage:
        return ObjectStoreStorage("memory://", "media")


class TestInAFolder(StorageContract):
    def make_storage(self, tmp_path: Path) -> ObjectStoreStorage:
        return ObjectStoreStorage(f"file://{tmp_path}/files", mkdir=True)


class TestOnAzurite(StorageContract):
    @pytest.fixture(autouse=True)
    def _where(self, azure: Azurite) -> Iterator[None]:
        with azure.container() as self.container:
            self.azure = azure
            yield

    def make_storage(self, tmp_path: Path) -> ObjectStoreStorage:
        return self.azure.storage(self.container, prefix="media/")


class TestOnARealS3Server(StorageContract):
    @pytest.fixture(autouse=True)
    def _where(self) -> Iterator[None]:
        self.server = real_server()
        with self.server.bucket() as self.bucket:
            yield

    def make_storage(self, tmp_path: Path) -> ObjectStoreStorage:
        return s3_storage(self.server, self.bucket, prefix="media/")


def s3_storage(server: Server, bucket: str, prefix: str = "") -> ObjectStoreStorage:
    return ObjectStoreStorage(
        f"s3://{bucket}",
        prefix,
        config={
            "access_key_id": server.access_key,
            "secret_access_key": server.secret_key,
            "endpoint": server.url,
            "region": "us-east-1",
        },
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
