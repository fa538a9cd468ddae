"""The limit of memory of a job, and bytes in 256 parts that are put on disk when they exceed it."""

from __future__ import annotations

import os
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import BinaryIO, Final, cast

from depot_lite.errors import MaintenanceStopped
from depot_lite.io.options import integer

#: Bytes of memory for all collections together.
MEMORY: Final = 512 << 20
_memory: Final = ContextVar("memory", default=MEMORY)

#: The number of parts, one for each first byte of an id.
PARTS: Final = 256


def memory_limit() -> int:
    """Return the bytes of memory for all collections together."""
    return _memory.get()


@contextmanager
def limited_memory(limit: int) -> Iterator[None]:
    """Limit the memory of collections that are made in this context, in bytes; what exceeds it is put on disk.

    Temporary files are in the folder of `tempfile.gettempdir`, and have no name.

    Raises:
        ConfigurationError: the limit is less than a megabyte.
    """
    token = _memory.set(integer("memory", limit, 1 << 20, sys.maxsize))
    try:
        yield
    finally:
        _memory.reset(token)


def temporary_file(owner: object) -> BinaryIO:
    """Return a file without a name, which is closed with its owner."""
    try:
        file = cast(BinaryIO, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  # closed with its owner
    except OSError as error:
        folder = tempfile.tempdir or "any folder"  # on a full disk, Python finds none
        raise MaintenanceStopped(f"no temporary file can be made in {folder}: {error}") from error
    weakref.finalize(owner, file.close)
    return file


def write(file: BinaryIO, data: bytearray) -> None:
    """Write to a temporary file.

    Raises:
        MaintenanceStopped: the disk is full.
    """
    done = 0
    try:
        while done < len(data):
            done += file.write(memoryview(data)[done:])
    except OSError as error:
        raise MaintenanceStopped(
            f"file ids exceed the limit of memory, and cannot be put on disk in {tempfile.gettempdir()}: {error}"
        ) from error


class Records:
    """Bytes in 256 parts, of which all but the last are in a temporary file."""

    def __init__(self) -> None:
        #: Bytes in memory before they are put on disk: two collections, and a part of each, are in use at a time.
        self.limit = memory_limit() // 4
        self.parts = [bytearray() for _ in range(PARTS)]
        self.lengths = [0] * PARTS
        self._runs: list[list[tuple[int, int]]] = [[] for _ in range(PARTS)]
        self._file: BinaryIO | None = None
        self._held = 0

    def add(self, number: int, data: bytes) -> None:
        """Add bytes to a part."""
        self.parts[number] += data
        self._held += len(data)
        if self._held > self.limit:
            self.spill()

    def spill(self) -> None:
        """Move all bytes to the file."""
        self._held = 0
        self._file = self._file or temporary_file(self)
        end = self._file.seek(0, os.SEEK_END)
        for number, part in enumerate(self.parts):
            if part:
                write(self._file, part)
                self._runs[number].append((end, len(part)))
                end += len(part)
                self.lengths[number] += len(part)
                self.parts[number] = bytearray()

    def length(self, number: int) -> int:
        """Return the number of bytes in a part."""
        return self.lengths[number] + len(self.parts[number])

    def chunks(self, number: int) -> Iterator[bytes]:
        """Yield the bytes of a part in the order of adding."""
        for offset, length in self._runs[number]:
            if self._file is not None:
                self._file.seek(offset)
                yield self._file.read(length)
        yield bytes(self.parts[number])

    def clear(self, number: int) -> None:
        """Forget a part."""
        self.parts[number] = bytearray()
        self.lengths[number] = 0
        self._runs[number].clear()
