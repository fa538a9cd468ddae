"""Servers of Google Cloud Storage for tests: an emulator in this process, and another where the environment names one.

gcp-storage-emulator keeps all that it is sent and lets everybody do everything: it takes any signature and any token.
`gcs_additions` has the features that it lacks and the storage relies on; the storage works without, as tests show too.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.oauth2.service_account import Credentials

from depot_lite.io.gcs import GCSStorage
from tests.io.gcs_additions import QuietServer, added_to
from tests.servers.running import unavailable

#: Where another server is, such as fake-gcs-server.
VARIABLE = "DEPOT_TEST_GCS_URL"


@cache
def account() -> dict[str, str]:
    """Return the content of the JSON file of a service account, with a key that nobody else knows."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "depot@project.iam.gserviceaccount.com",
        # Nobody answers there.
        "token_uri": "http://127.0.0.1:1/token",
    }


@cache
def signing() -> Credentials:
    """Return credentials that sign, and that ask nobody for a token."""
    made: Credentials = Credentials.from_service_account_info(account())  # type: ignore[no-untyped-call]
    return made.with_always_use_jwt_access(True)  # type: ignore[no-untyped-call,no-any-return]


class Server:
    """A server, and buckets of its own for each test."""

    def __init__(self, url: str, inside: Any = None) -> None:
        self.url = url
        #: The objects of the emulator.
        self.inside = inside

    @cache  # noqa: B019  # servers live as long as the tests
    def client(self) -> Any:
        """Return a client that looks behind the storage's back."""
        return storage.Client("project", AnonymousCredentials(), client_options={"api_endpoint": self.url})  # type: ignore[no-untyped-call]

    def storage(self, bucket: str, **options: Any) -> GCSStorage:
        """Return a storage on this server."""
        connection = {} if "client" in options else {"endpoint_url": self.url, "credentials": signing()}
        return GCSStorage(**{**connection, "bucket": bucket, **options})

    def uploads(self, bucket: str) -> list[str]:
        """Return the uploads that were begun and neither finished nor cancelled."""
        return [each for each, told in self.inside.resumable.items() if told["bucket"] == bucket]

    @contextmanager
    def bucket(self) -> Iterator[str]:
        """Give the name of an empty bucket, which is gone afterwards."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        made = self.client().create_bucket(name)
        try:
            yield name
        finally:
            # One whose beginning was answered and not heard stays open; Google removes it after a week.
            for upload in self.uploads(name) if self.inside else ():
                del self.inside.resumable[upload]
            for blob in self.client().list_blobs(name):
                blob.delete()
            made.delete()


@contextmanager
def emulator(*, bare: bool = False) -> Iterator[Server]:
    """Give the emulator, which answers in threads of this process.

    Args:
        bare: whether to leave it as it is.
    """
    try:
        from gcp_storage_emulator import server as emulating
    except ImportError as error:
        unavailable(f"no gcp-storage-emulator (pip install gcp-storage-emulator): {error}")
    # It warns of its own answers.
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    server = emulating.create_server("127.0.0.1", 0, in_memory=True)
    # It writes its records of all files with each change, and never reads them.
    server._storage._write_config_to_file = lambda: None
    with pytest.MonkeyPatch.context() as patch:
        if not bare:
            patch.setattr(emulating, "RequestHandler", added_to(emulating.RequestHandler))
            patch.setattr(emulating.server, "HTTPServer", QuietServer)
        server.start()
    try:
        yield Server(f"http://127.0.0.1:{server._api._httpd.server_port}", server._storage)
    finally:
        server.stop()


def other_server() -> Server:
    """Return the server that the environment names, or skip."""
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.skip(f"no server of Google's that knows conditions and pages (set {VARIABLE})")
    return Server(url)


class Requests(Counter[str]):
    """How often each operation was sent, attempts that were repeated included."""

    def __init__(self, storage: GCSStorage) -> None:
        super().__init__()
        session = storage._connection.session
        send = session.send

        def counted(request: Any, **arguments: Any) -> Any:
            self[_operation(request)] += 1
            return send(request, **arguments)

        session.send = counted  # type: ignore[method-assign]

    def taken(self) -> dict[str, int]:
        """Return the counts since the last time, and begin anew."""
        counts = dict(self)
        self.clear()
        return counts


def _operation(request: Any) -> str:
    """Return the name of a request, in Google's words or close to them."""
    method, path = request.method, request.path_url
    for part, name in _OPERATIONS:
        if part in path:
            return name if name.startswith("batch") or "rewrite" in name else f"{name} {method}"
    return f"{'media' if method == 'GET' else 'form'} {method}"


_OPERATIONS = [
    ("/batch/", "batch"),
    ("/rewriteTo/", "rewrite"),
    ("upload_id=", "piece"),
    ("uploadType=resumable", "resumable"),
    ("uploadType=multipart", "multipart"),
    ("/o?", "list"),
    ("/o/", "object"),
    ("/b/", "bucket"),
]
