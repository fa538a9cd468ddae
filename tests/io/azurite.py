"""Azure Blob Storage for tests: Microsoft's azurite, in a process of its own."""

from __future__ import annotations

import base64
import hmac
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from depot_lite.io.objectstore import ObjectStoreStorage
from tests.servers.running import unavailable

#: Where its command ``azurite-blob`` is, if neither the path nor the folder into which .ci/run installs it has it.
VARIABLE: Final = "DEPOT_TEST_AZURITE"
INSTALLED: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "depot_lite" / "azurite"

#: The account that every azurite has.
ACCOUNT: Final = "devstoreaccount1"
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_VERSION: Final = "2021-08-06"
#: The headers that a signature covers and that are not sent.
_BLANK: Final = 12 * "\n"
_LISTENS: Final = re.compile(r"listens on (http://\S+)")


class Azurite:
    """A running azurite, and containers of its own for each test."""

    def __init__(self, url: str) -> None:
        self.endpoint = f"{url}/{ACCOUNT}"

    @contextmanager
    def container(self) -> Iterator[str]:
        """Give the name of an empty container, which is gone afterwards."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self._ask("PUT", name)
        try:
            yield name
        finally:
            self._ask("DELETE", name)

    def _ask(self, method: str, container: str) -> None:
        """Make or delete a container, signed with the account's key: obstore does neither."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
        signed = "".join(f"{name}:{value}\n" for name, value in headers.items())
        text = f"{method}{_BLANK}{signed}/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
        signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), "sha256")).decode()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
        httpx.request(method, f"{self.endpoint}/{container}?restype=container", headers=headers).raise_for_status()

    def options(self, container: str, **config: str) -> dict[str, Any]:
        """Return the options of a storage here."""
        return {
            "url": f"az://{container}",
            "config": {"account_name": ACCOUNT, "account_key": KEY, "endpoint": self.endpoint, **config},
            "client_options": {"allow_http": True},
            "retry_config": {"max_retries": 0},
        }

    def storage(self, container: str, **options: Any) -> ObjectStoreStorage:
        """Return a storage here."""
        return ObjectStoreStorage(**{**self.options(container), **options})


@contextmanager
def azurite() -> Iterator[Azurite]:
    """Run it on a free port, with everything in memory."""
    found = os.environ.get(VARIABLE) or shutil.which("azurite-blob") or INSTALLED / "node_modules/.bin/azurite-blob"
    if not Path(found).exists() or not shutil.which("node"):
        unavailable(f"no azurite (npm install --prefix {INSTALLED} azurite; or set {VARIABLE})")
    command = [str(found), "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry", "--silent"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield Azurite(_address(process))
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _address(process: subprocess.Popen[str]) -> str:
    """Return the URL that it says once it listens."""
    said = ""
    for line in process.stdout or ():
        said += line
        if listens := _LISTENS.search(line):
            return listens[1]
    pytest.fail(f"azurite does not start: {said}")
