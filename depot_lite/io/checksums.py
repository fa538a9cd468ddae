"""Checksums: the supported algorithms, sums of files that are written, and the verification of files that are read.

CRC-32 can be combined from parts.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.io.options import boolean

if TYPE_CHECKING:
    from depot_lite.io.stored import FileInfo


class Checksum(Protocol):
    """The used part of the interface of :mod:`hashlib`."""

    def update(self, data: memoryview, /) -> None:
        """Append bytes."""

    def hexdigest(self) -> str:
        """Return the digits of the sum."""
        ...


class Crc32:
    """CRC-32 as in gzip and S3 (RFC 1952, section 8). The sums of two threads can be joined."""

    def __init__(self) -> None:
        self._sum = 0

    def update(self, data: memoryview, /) -> None:
        """Append bytes."""
        self._sum = zlib.crc32(data, self._sum)

    def hexdigest(self) -> str:
        """Return the eight digits of the sum."""
        return f"{self._sum:08x}"

    def join(self, following: Crc32, length: int) -> None:
        """Append the ``length`` bytes whose sum is ``following``.

        >>> whole, end = Crc32(), Crc32()
        >>> whole.update(memoryview(b"1234"))
        >>> end.update(memoryview(b"56789"))
        >>> whole.join(end, 5)
        >>> whole.hexdigest()
        'cbf43926'
        """
        self._sum = _product(self._sum, _shift(length)) ^ following._sum


#: The algorithms, by the name before the colon of a checksum.
CHECKSUMS: Final[dict[str, Callable[[], Checksum]]] = {"sha256": hashlib.sha256, "crc32": Crc32}

# Only CRC-32 keeps up with copying by the kernel: two processors can share it, while SHA-256 is sequential (1.8 GB/s,
# the copy 4 GB/s). Object stores verify it too, and for the whole of a multipart upload S3 verifies only a CRC. It
# detects accidents; detecting forgery requires the option "sha256".
_DEFAULT_CHECKSUM: Final = "crc32"


def checksum_algorithm(option: str, value: object) -> str | None:
    """Return the algorithm that an option names: a key of `CHECKSUMS`, the default for true, None for false.

    Raises:
        ConfigurationError: the value is anything else.
    """
    if isinstance(value, str) and value.strip().lower() in CHECKSUMS:
        return value.strip().lower()
    try:
        return _DEFAULT_CHECKSUM if boolean(option, value) else None
    except ConfigurationError:
        expected = f"true, false, {' or '.join(CHECKSUMS)}"
        raise ConfigurationError(f"{option}={value!r}: expected {expected}") from None


# A CRC is the remainder of a polynomial over GF(2); each following byte multiplies it by x**8. In CRC-32 the highest
# bit is the term x**0, so `_ONE` and `_X8` are the polynomials 1 and x**8.
_POLYNOMIAL: Final = 0xEDB88320
_ONE: Final = 1 << 31
_X8: Final = _ONE >> 8


def _product(first: int, second: int) -> int:
    product = 0
    while first:
        if first & _ONE:
            product ^= second
        first = first << 1 & 0xFFFFFFFF
        second = second >> 1 ^ (_POLYNOMIAL if second & 1 else 0)
    return product


@lru_cache(maxsize=64)
def _shift(length: int) -> int:
    """Return x**(8 * ``length``)."""
    power, square = _ONE, _X8
    while length:
        if length & 1:
            power = _product(power, square)
        square = _product(square, square)
        length >>= 1
    return power


# --- growing files ----------------------------------------------------------------------------------------------------

_READ_BACK: Final = 1024 * 1024
#: If fewer bytes than this are to be read back, it is done at the end, without a second thread.
_WORTH_A_THREAD: Final = 8 * 1024 * 1024


class FollowingChecksum:
    """The checksum of a growing file: its bytes are read back, by a thread if there are enough."""

    def __init__(self, descriptor: int, algorithm: str) -> None:
        self._descriptor = descriptor
        self._algorithm = algorithm
        self._sum = CHECKSUMS[algorithm]()
        # The bytes from low to high are to be summed, by either thread; those above are not written yet, or summed
        # already from the end.
        self._low = 0
        self._high = 0
        self._ended = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def follow(self, written: int) -> None:
        """Note the number of bytes written so far."""
        with self._changed:
            self._high = written
            self._changed.notify()
        if self._thread is None and written - self._low >= _WORTH_A_THREAD:
            thread = threading.Thread(target=self._run, name="depot_lite checksum")
            # No thread may be available (a limit, the end of the process). Then all bytes are read back at the end.
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        try:
            self._sum_up()
        # Any error: the bytes taken and not summed are missing from the checksum.
        except Exception as error:
            self._error = error

    def _sum_up(self) -> None:
        buffer = memoryview(b"")
        while count := self._take():
            if len(buffer) < count:
                buffer = memoryview(bytearray(count))
            part = buffer[:count]
            self._read(part, self._low - count)
            self._sum.update(part)

    def _take(self) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._high > self._low)
            count = max(min(_READ_BACK, self._high - self._low), 0)
            self._low += count
            return count

    def _take_from_the_end(self) -> tuple[int, int]:
        with self._changed:
            count = max(min(_READ_BACK, self._high - self._low), 0)
            self._high -= count
            return self._high, count

    def _read(self, part: memoryview, offset: int) -> None:
        while part:
            count = os.preadv(self._descriptor, [part], offset)
            if not count:
                raise OSError(errno.EIO, "written bytes cannot be read back")
            part, offset = part[count:], offset + count

    def result(self, length: int) -> str:
        """Return ``algorithm:digest`` of all ``length`` bytes, or raise the error of the thread."""
        self._end(length)
        if self._thread is None:
            self._sum_up()
        elif isinstance(self._sum, Crc32):
            self._meet(self._thread, self._sum)
        else:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return f"{self._algorithm}:{self._sum.hexdigest()}"

    def _meet(self, thread: threading.Thread, front: Crc32) -> None:
        parts: list[tuple[Crc32, int]] = []
        buffer = memoryview(bytearray(_READ_BACK))
        while (taken := self._take_from_the_end())[1]:
            offset, count = taken
            self._read(buffer[:count], offset)
            parts.append((Crc32(), count))
            parts[-1][0].update(buffer[:count])
        thread.join()
        for part, count in reversed(parts):
            front.join(part, count)

    def stop(self) -> None:
        """End the thread without reading the rest."""
        self._end(0)
        if self._thread is not None:
            self._thread.join()

    def _end(self, written: int) -> None:
        with self._changed:
            self._ended, self._high = True, written
            self._changed.notify()


# --- verification -----------------------------------------------------------------------------------------------------


class Verification:
    """The verification of one file. Bytes are summed while they continue those from the start; others only count."""

    __slots__ = ("_sum", "_summed")

    def __init__(self) -> None:
        self._sum: Checksum | None = None
        self._summed = 0

    def take(self, info: FileInfo, position: int, data: bytes, *, at_end: bool) -> None:
        """Take the bytes that were read at a position.

        Args:
            info: the description of the file. A checksum is not verified if its algorithm is not supported.
            at_end: whether the file has no more bytes, or all that it should have were read.

        Raises:
            StorageFailed: the file is damaged.
        """
        if position == 0:
            make = CHECKSUMS.get(str(info.checksum).partition(":")[0])
            self._sum, self._summed = None if make is None else make(), 0
        end = position + len(data)
        if position == self._summed and self._sum is not None:
            self._sum.update(memoryview(data))
            self._summed = end
        if not at_end:
            return
        if end != info.content_length:
            raise damaged(info, end)
        if self._sum is not None and self._summed == end:
            _, _, digest = str(info.checksum).partition(":")
            if self._sum.hexdigest() != digest.lower():
                raise StorageFailed(f"file {info.file_id} is damaged: its content does not match its checksum")


def damaged(info: FileInfo, length: int) -> StorageFailed:
    """Return the error for a file with another length than it should have."""
    return StorageFailed(f"file {info.file_id} is damaged: expected {info.content_length} bytes, got {length}")
