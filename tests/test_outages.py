"""A storage that is down: 503 and one line in the log before the first byte, a broken connection after it."""

from __future__ import annotations

import io
import logging
from functools import partial
from typing import BinaryIO, Final

import pytest

from depot_lite.asgi import PART_SIZE
from depot_lite.errors import StorageFailed, StorageTimeout
from depot_lite.io.content import CHUNK_SIZE
from depot_lite.io.interfaces import StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes
from tests.support.asking import Ask, _depots, ask

__all__ = ["_depots", "ask"]  # fixtures

#: Three parts and a rest, over WSGI and ASGI alike.
LARGE: Final = some_bytes(3 * max(PART_SIZE, CHUNK_SIZE) + 7)

#: The errors of clients have several lines, and chains of causes.
ERROR: Final = "cannot open file:\n  could not connect to http://minio:9000"


class Unsteady(MemoryFileStorage):
    """A storage that is down from one step on: ``find`` a file, ``open`` it, ``read`` it, or ``read on``."""

    down: str | None = None

    def fail(self, step: str) -> None:
        if step == self.down:
            try:
                raise ConnectionRefusedError("no route")
            except OSError as error:
                raise StorageTimeout(ERROR) from error

    def _open(self, file_id: str) -> StoredFile:
        self.fail("find")
        info, data = self._find(file_id)
        return StoredFile(info, partial(self._stream, data))

    def _stream(self, data: bytes) -> BinaryIO:
        self.fail("open")
        return _Stream(self, data)


class _Stream(io.BytesIO):
    def __init__(self, storage: Unsteady, data: bytes) -> None:
        super().__init__(data)
        self.storage = storage

    def read(self, size: int | None = -1, /) -> bytes:
        self.storage.fail("read" if not self.tell() else "read on")
        return super().read(size)


@pytest.fixture
def storage() -> Unsteady:
    made = Unsteady()
    DepotManager.configure("default", made)
    return made


def only_line(caplog: pytest.LogCaptureFixture) -> str:
    """Return the one line that was logged, which is no traceback."""
    [record] = caplog.records
    assert (record.name, record.levelno, record.exc_info) == ("depot_lite", logging.ERROR, None)
    assert "\n" not in record.getMessage()
    return record.getMessage()


@pytest.mark.parametrize("size", [10, len(LARGE)], ids=["small", "large"])
@pytest.mark.parametrize("step", ["find", "open", "read"])
def test_before_the_first_byte_it_is_503(
    ask: Ask, storage: Unsteady, step: str, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    file_id = storage.create(LARGE[:size])
    storage.down = step
    status, headers, body = ask(f"/depot/default/{file_id}")
    assert (status, body, headers["retry-after"], headers["cache-control"]) == (503, b"", "5", "no-store")
    message = only_line(caplog)
    assert file_id in message
    assert "cannot open file: could not connect to http://minio:9000" in message
    storage.down = None
    assert ask(f"/depot/default/{file_id}")[2] == LARGE[:size]


def test_head_is_503_too(ask: Ask, storage: Unsteady, caplog: pytest.LogCaptureFixture) -> None:
    file_id = storage.create(b"x")
    storage.down = "find"
    status, headers, _ = ask(f"/depot/default/{file_id}", "HEAD")
    assert (status, headers["retry-after"]) == (503, "5")
    assert file_id in only_line(caplog)


def test_a_part_is_503_too(ask: Ask, storage: Unsteady, caplog: pytest.LogCaptureFixture) -> None:
    file_id = storage.create(LARGE)
    storage.down = "read on"
    status, headers, _ = ask(f"/depot/default/{file_id}", headers={"Range": "bytes=1-"})
    assert (status, headers["retry-after"]) == (503, "5")
    assert file_id in only_line(caplog)


def test_after_it_the_server_is_told_to_break_off(
    ask: Ask, storage: Unsteady, caplog: pytest.LogCaptureFixture
) -> None:
    """By the error: the length was announced, so that the client notices. The log of the server has it."""
    file_id = storage.create(LARGE)
    storage.down = "read on"
    with pytest.raises(StorageFailed, match="cannot open file"):
        ask(f"/depot/default/{file_id}")
    assert not caplog.records


def test_the_first_chunk_is_sent_once(ask: Ask, storage: Unsteady) -> None:
    for size in (CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 70_000):
        file_id = storage.create(LARGE[:size])
        assert ask(f"/depot/default/{file_id}")[2] == LARGE[:size]
