"""Storages of objects behind a proxy, which counts their requests and lets them fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
from botocore.config import Config

from tests.io.azurite import ACCOUNT, azurite
from tests.io.backends import Servers
from tests.io.gcs_server import emulator
from tests.io.s3_proxy import S3Proxy
from tests.io.s3_server import moto_server

MB: Final = 1024 * 1024


@dataclass
class Link:
    """A storage and the proxy before its server. A request that fails is repeated soon, and given up soon."""

    storage: Any
    proxy: S3Proxy
    #: The method of the request that stores a small file; parts are sent with PUT.
    method: str
    #: Content of so many bytes is sent in parts.
    part: int
    #: How often a request is sent before it has failed.
    tries: int
    #: Returns the uploads that were begun and neither finished nor cancelled.
    uploads: Callable[[], list[str]]
    #: The parameters of a signed URL: disposition and expiry in seconds.
    disposition: str = "response-content-disposition"
    expiry: str = ""

    def method_of(self, size: int) -> str:
        """Return the method of the requests that store so many bytes."""
        return "PUT" if size >= self.part else self.method

    def read(self, file_id: str) -> bytes:
        """Return the bytes of a file."""
        with self.storage.get(file_id) as file:
            data: bytes = file.read()
        return data


@contextmanager
def _s3(servers: Servers) -> Iterator[Link]:
    server = servers.get(moto_server)
    sizes = {"multipart_threshold": 5 * MB, "multipart_chunksize": 5 * MB}
    repeats = {"config": Config(retries={"mode": "legacy", "total_max_attempts": 3}, read_timeout=2)}
    with server.bucket() as bucket, S3Proxy(server.url) as proxy:
        options = {"endpoint_url": proxy.url, "connection_kwargs": repeats, "transfer_config": sizes}
        storage = server.storage(bucket, **options)
        yield Link(storage, proxy, "PUT", 5 * MB, 3, lambda: server.uploads(bucket), expiry="X-Amz-Expires")


@contextmanager
def _gcs(servers: Servers) -> Iterator[Link]:
    server = servers.get(emulator)
    with server.bucket() as bucket, S3Proxy(server.url) as proxy:
        # The smallest pieces that Google takes.
        storage = server.storage(bucket, endpoint_url=proxy.url, chunk_size=MB // 4)
        storage._connection.pause = 0.001
        storage._connection._retry_for = 0
        yield Link(storage, proxy, "POST", MB // 4, 1, lambda: server.uploads(bucket), expiry="X-Goog-Expires")


@contextmanager
def _azure(servers: Servers) -> Iterator[Link]:
    server = servers.get(azurite)
    retries = {"max_retries": 3, "backoff": {"init_backoff": 0.001, "max_backoff": 0.002}}
    with server.container() as container, S3Proxy(server.endpoint) as proxy:
        config = server.options(container, endpoint=f"{proxy.url}/{ACCOUNT}")["config"]
        storage = server.storage(container, config=config, retry_config=retries, part_size=5 * MB)
        # Blocks that belong to no blob are not listed, and go by themselves.
        yield Link(storage, proxy, "PUT", 5 * MB, 4, list, disposition="rscd")


_LINKS: Final = {"s3": _s3, "gcs": _gcs, "azure": _azure}

every_link: Final = pytest.mark.parametrize("link", _LINKS, indirect=True)


def on_links(*names: str) -> pytest.MarkDecorator:
    """Run a test with some of them."""
    return pytest.mark.parametrize("link", names, indirect=True)


@contextmanager
def link_to(name: str, servers: Servers) -> Iterator[Link]:
    """Give an empty storage; afterwards no upload may be open."""
    with _LINKS[name](servers) as made:
        yield made
        assert made.uploads() == []
