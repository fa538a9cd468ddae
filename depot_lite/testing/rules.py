"""`Rules`: a part of the contract of storages, and the assertions that all parts share."""

from __future__ import annotations

import hashlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from depot_lite.io.interfaces import FileStorage, StoredFile

Result = TypeVar("Result")

LARGE: Final = 5 * 1024 * 1024 + 3


class Rules(ABC):
    """Some rules of the contract; a subclass says which storage has to keep them."""

    @abstractmethod
    def make_storage(self, tmp_path: Path) -> FileStorage:
        """Return an empty storage of the kind under test; ``tmp_path`` is pytest's."""


@contextmanager
def raising(expected: type[Exception], otherwise: str) -> Iterator[None]:
    """Fail with the second text unless the block raises."""
    try:
        yield
    except expected:
        return
    raise AssertionError(f"{otherwise}: expected {expected.__name__}")


def read(storage: FileStorage, file_or_id: StoredFile | str) -> bytes:
    """Return the bytes of a stored file."""
    with storage.get(file_or_id) as file:
        return file.read()


def checksum_of(algorithm: str, data: bytes) -> str:
    """Return a checksum in the form of `FileInfo`."""
    digest = f"{zlib.crc32(data):08x}" if algorithm == "crc32" else hashlib.new(algorithm, data).hexdigest()
    return f"{algorithm}:{digest}"


def in_threads(work: Callable[[int], Result], count: int) -> list[Result]:
    """Return the results of ``work(0)``, ``work(1)``, ..., each in a thread of its own; raise the first error."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))
